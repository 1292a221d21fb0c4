import { BlockList, isIPv6 } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import {
  canonicalAddress,
  canonicalMac,
  contains,
  formatAddress,
  isUnicastMac,
  overlaps,
  parseAddress,
  parseCidr,
  parseSubnet,
  subnetOf,
} from '../../control/config/address.js';

/** Text, canonical text (RFC 5952 section 4). */
const CANONICAL: readonly (readonly [string, string | null])[] = [
  ['10.0.0.1', '10.0.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8::0001', '2001:db8::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
  ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ['fe80::1%eth0', null],
  ['10.0.0.01', null],
  ['10.0.0', null],
  ['1:2:3', null],
  ['', null],
];

for (const [text, expected] of CANONICAL) {
  test(`canonical form of ${JSON.stringify(text)}`, (t) => {
    t.is(canonicalAddress(text), expected);
  });
}

const family = fc.constantFrom(4 as const, 6 as const);
const address = family.chain((f) =>
  fc.bigInt({ min: 0n, max: f === 4 ? 0xffff_ffffn : (1n << 128n) - 1n }).map((value) => ({ family: f, value })),
);

test('property: an address comes back from its text', (t) => {
  fc.assert(
    fc.property(address, (a) => {
      const text = formatAddress(a);
      t.deepEqual(parseAddress(text), a);
      t.is(isIPv6(text), a.family === 6);
    }),
  );
});

test('property: any way to write an IPv6 address has one canonical form', (t) => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const canonical = canonicalAddress(text);
      t.truthy(canonical);
      t.is(canonicalAddress(canonical ?? ''), canonical);
    }),
  );
});

test('property: contains agrees with net.BlockList', (t) => {
  const prefixed = address.chain((a) =>
    fc.record({ a: fc.constant(a), prefix: fc.integer({ min: 1, max: a.family === 4 ? 32 : 128 }), flip: fc.nat(127) }),
  );
  fc.assert(
    fc.property(prefixed, ({ a, prefix, flip }) => {
      const bits = a.family === 4 ? 32 : 128;
      const other = { family: a.family, value: a.value ^ (1n << BigInt(flip % bits)) };
      const kind = a.family === 4 ? 'ipv4' : 'ipv6';
      const model = new BlockList();
      model.addSubnet(formatAddress(a), prefix, kind);
      t.is(contains(subnetOf(a, prefix), other), model.check(formatAddress(other), kind));
    }),
  );
});

test('property: subnets overlap exactly when one contains the base of the other', (t) => {
  const subnet = address.chain((a) =>
    fc.integer({ min: 0, max: a.family === 4 ? 32 : 128 }).map((prefix) => subnetOf(a, prefix)),
  );
  fc.assert(
    fc.property(subnet, subnet, (a, b) => {
      const inside =
        contains(a, { family: b.family, value: b.base }) || contains(b, { family: a.family, value: a.base });
      t.is(overlaps(a, b), inside);
    }),
  );
});

test('prefix lengths', (t) => {
  t.is(parseCidr('10.0.0.0/33'), null);
  t.is(parseCidr('10.0.0.0/'), null);
  t.is(parseCidr('10.0.0.0/+8'), null);
  t.is(parseCidr('10.0.0.0/08'), null);
  t.is(parseCidr('fd00::/129'), null);
  t.is(parseCidr('10.0.0.0/0')?.prefix, 0);
  t.throws(() => parseSubnet('nonsense'), { message: 'not a subnet: nonsense' });
});

test('MAC addresses', (t) => {
  t.is(canonicalMac('02:42:AC:1E:00:02'), '02:42:ac:1e:00:02');
  t.is(canonicalMac('2:42:ac:1e:0:2'), null);
  t.true(isUnicastMac('02:00:00:00:00:00'));
  t.false(isUnicastMac('03:00:00:00:00:00'));
  t.false(isUnicastMac('00:00:00:00:00:00'));
});
