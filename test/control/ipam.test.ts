import test from 'ava';
import fc from 'fast-check';
import { contains, isUnicastMac, lastOf, parseAddress, parseSubnet } from '../../control/config/address.js';
import { networkSchema } from '../../control/config/schema.js';
import { Ipam, macFromAddress } from '../../control/ipam.js';

const make = (...subnets: string[]): Ipam => new Ipam('blue', networkSchema.parse({ subnets }));

test('addresses go out from the lowest on, after the gateway, one of each subnet', (t) => {
  const ipam = make('172.30.0.0/24', 'fd00:30::/64');
  t.deepEqual(ipam.complete('a', []), { addresses: ['172.30.0.2/24', 'fd00:30::2/64'], mac: '02:42:ac:1e:00:02' });
  t.deepEqual(ipam.complete('b', []), { addresses: ['172.30.0.3/24', 'fd00:30::3/64'], mac: '02:42:ac:1e:00:03' });
  ipam.release('a');
  t.deepEqual(ipam.complete('c', []).addresses, ['172.30.0.2/24', 'fd00:30::2/64']);
});

test('what is asked for is kept and only the rest is chosen', (t) => {
  const ipam = make('172.30.0.0/24', 'fd00:30::/64');
  ipam.reserve('a', { addresses: ['172.30.0.9'], mac: '02:00:00:00:00:77' });
  t.deepEqual(ipam.complete('a', ['172.30.0.9'], '02:00:00:00:00:77'), {
    addresses: ['172.30.0.9/24', 'fd00:30::2/64'],
    mac: '02:00:00:00:00:77',
  });
});

test('a gateway that is configured is not given out, and the first address then is', (t) => {
  const ipam = new Ipam('blue', networkSchema.parse({ subnets: ['10.0.0.0/29'], gateways: ['10.0.0.2'] }));
  t.deepEqual(ipam.complete('a', []).addresses, ['10.0.0.1/29']);
  t.deepEqual(ipam.complete('b', []).addresses, ['10.0.0.3/29']);
});

test('errors name what has the address, and leave nothing reserved', (t) => {
  const ipam = make('172.30.0.0/24');
  ipam.reserve('a', { addresses: ['172.30.0.5'], mac: '02:00:00:00:00:01' });
  t.throws(() => ipam.reserve('b', { addresses: ['172.30.0.6', '172.30.0.5'] }), {
    message: 'addresses[1]: 172.30.0.5 is already an address of endpoint a',
  });
  t.throws(() => ipam.reserve('b', { addresses: ['172.30.0.1'] }), {
    message: 'addresses[0]: 172.30.0.1 is the gateway address of network blue',
  });
  t.throws(() => ipam.reserve('b', { addresses: ['172.30.0.255'] }), {
    message: 'addresses[0]: expected a host address of network blue, got 172.30.0.255',
  });
  t.throws(() => ipam.reserve('b', { addresses: ['172.30.0.6'], mac: '02:00:00:00:00:01' }), {
    message: 'mac: 02:00:00:00:00:01 is already the MAC of endpoint a',
  });
  t.false(ipam.holds('b'));
  t.notThrows(() => ipam.reserve('c', { addresses: ['172.30.0.6'] }));
});

test('a full subnet says so and gives back the other one', (t) => {
  const ipam = make('fd00::/64', '10.0.0.0/30');
  ipam.complete('a', []);
  t.throws(() => ipam.complete('b', []), { message: 'no address left in 10.0.0.0/30 of network blue' });
  t.false(ipam.holds('b'));
  ipam.release('a');
  t.deepEqual(ipam.complete('b', []).addresses, ['fd00::2/64', '10.0.0.2/30']);
});

test('a derived MAC that somebody asked for is not given twice', (t) => {
  const ipam = make('172.30.0.0/24');
  ipam.reserve('a', { addresses: ['172.30.0.200'], mac: '02:42:ac:1e:00:02' });
  const { addresses, mac } = ipam.complete('b', []);
  t.deepEqual(addresses, ['172.30.0.2/24']);
  t.not(mac, '02:42:ac:1e:00:02');
  t.true(isUnicastMac(mac));
});

test('the MAC of an IPv6 address is stable, local and unicast', (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), fc.nat(3), (value, attempt) => {
      const mac = macFromAddress({ family: 6, value }, attempt);
      t.is(mac, macFromAddress({ family: 6, value }, attempt));
      t.regex(mac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
    }),
  );
});

test('property: against a plain set: never two owners, always inside, the lowest free one, all given back', (t) => {
  const step = fc.record({ owner: fc.nat(9), release: fc.boolean() });
  fc.assert(
    fc.property(
      fc.constantFrom('10.0.0.0/29', '10.0.0.0/28', 'fd00::/125'),
      fc.array(step, { maxLength: 60 }),
      (text, steps) => {
        const subnet = parseSubnet(text);
        const ipam = make(text);
        const held = new Map<string, bigint>();
        const last = subnet.family === 4 ? lastOf(subnet) - 1n : lastOf(subnet);
        for (const { owner, release } of steps) {
          const name = `e${owner}`;
          if (release || held.has(name)) {
            ipam.release(name);
            held.delete(name);
            continue;
          }
          const taken = new Set([...held.values(), subnet.base + 1n]);
          let lowest = subnet.base + 1n;
          while (taken.has(lowest)) lowest++;
          if (lowest > last) {
            t.throws(() => ipam.complete(name, []));
            continue;
          }
          const given = parseAddress(ipam.complete(name, []).addresses[0]?.split('/')[0] ?? '');
          t.truthy(given !== null && contains(subnet, given));
          t.is(given?.value, lowest);
          held.set(name, lowest);
        }
        for (let owner = 0; owner <= 9; owner++) t.is(ipam.holds(`e${owner}`), held.has(`e${owner}`));
      },
    ),
  );
});

test('a range is what addresses are given out of; others may be asked for', (t) => {
  const ipam = new Ipam(
    'blue',
    networkSchema.parse({ subnets: ['10.0.0.0/24', 'fd00::/64'], range: ['10.0.0.128/30'] }),
  );
  const names = ['a', 'b', 'c', 'd'];
  t.deepEqual(
    names.map((name) => ipam.complete(name, []).addresses),
    [128, 129, 130, 131].map((last, index) => [`10.0.0.${last}/24`, `fd00::${index + 2}/64`]),
  );
  t.throws(() => ipam.complete('e', []), { message: 'no address left in 10.0.0.128/30 of network blue' });
  ipam.reserve('f', { addresses: ['10.0.0.7'] });
  t.deepEqual(ipam.complete('f', ['10.0.0.7']).addresses, ['10.0.0.7/24', 'fd00::6/64']);
  ipam.release('f');
  ipam.release('b');
  t.deepEqual(
    ipam.complete('e', []).addresses,
    ['10.0.0.129/24', 'fd00::3/64'],
    'not the one outside that is free too',
  );
});

test('a range at the edge of its subnet leaves the addresses out that no host can have', (t) => {
  const ipam = new Ipam('blue', networkSchema.parse({ subnets: ['10.0.0.0/24'], range: ['10.0.0.0/30'] }));
  t.deepEqual(ipam.complete('a', []).addresses, ['10.0.0.2/24']);
  t.deepEqual(ipam.complete('b', []).addresses, ['10.0.0.3/24']);
  t.throws(() => ipam.complete('c', []), { message: 'no address left in 10.0.0.0/30 of network blue' });
});

test("the gateway's MAC is nobody else's, whatever is released", (t) => {
  const ipam = new Ipam('blue', networkSchema.parse({ subnets: ['10.0.0.0/24'] }), '02:42:0a:00:00:02');
  t.is(ipam.complete('a', []).mac === '02:42:0a:00:00:02', false, 'a derived one gives way');
  ipam.release('blue');
  t.false(ipam.holds('blue'));
  t.throws(() => ipam.reserve('b', { addresses: [], mac: '02:42:0a:00:00:02' }), {
    message: 'mac: 02:42:0a:00:00:02 is the MAC of the gateway of network blue',
  });
});

test('addresses of an earlier process are kept for whom they were given, unless another asks for one by name', (t) => {
  const ipam = make('172.30.0.0/24');
  ipam.hold('a', ['172.30.0.2/24']);
  ipam.hold('b', ['172.30.0.3/24']);
  ipam.hold('c', ['172.30.0.4/24', '10.0.0.9/24', 'nonsense']);
  t.deepEqual(ipam.complete('new', []).addresses, ['172.30.0.5/24']);
  t.deepEqual(ipam.complete('b', []).addresses, ['172.30.0.3/24']);
  ipam.reserve('named', { addresses: ['172.30.0.2'] });
  t.deepEqual(ipam.complete('a', []).addresses, ['172.30.0.6/24']);
  ipam.letGo();
  t.deepEqual(ipam.complete('later', []).addresses, ['172.30.0.4/24'], 'nobody came back for it');
});

test('a loan: the highest addresses, and they go to whoever asks for one', (t) => {
  const ipam = make('172.30.0.0/24', 'fd00:30::/64');
  const told: string[] = [];
  const lend = () => ipam.lend('health:blue', '02:00:00:00:00:99', () => told.push('called back'));
  const loan = lend();
  // Not one of the last 128 of an IPv6 subnet, which are anycast addresses.
  t.deepEqual(loan.addresses, ['172.30.0.254/24', 'fd00:30::ffff:ffff:ffff:ff7f/64']);
  t.throws(() => ipam.reserve('a', { addresses: [], mac: '02:00:00:00:00:99' }), { message: /already the MAC/ });
  t.deepEqual(told, []);
  ipam.reserve('a', { addresses: ['172.30.0.254'] });
  t.deepEqual(told, ['called back']);
  t.false(ipam.holds('health:blue'));
  t.deepEqual(lend().addresses, ['172.30.0.253/24', 'fd00:30::ffff:ffff:ffff:ff7f/64']);
  // Of the loan before: it is over.
  loan.end();
  t.true(ipam.holds('health:blue'));
  ipam.reserve('b', { addresses: [], allowed_addresses: ['172.30.0.253'] });
  t.deepEqual(told, ['called back', 'called back']);
  const third = lend();
  t.deepEqual(third.addresses[0], '172.30.0.252/24');
  third.end();
  t.false(ipam.holds('health:blue'));
});

test('a loan keeps no endpoint out: the last address is called back, and then there is none to lend', (t) => {
  const ipam = make('172.30.0.0/29');
  let told = 0;
  const lend = () => ipam.lend('health:blue', '02:00:00:00:00:99', () => told++);
  t.deepEqual(lend().addresses, ['172.30.0.6/29']);
  for (const name of ['a', 'b', 'c', 'd']) ipam.complete(name, []);
  t.is(told, 0);
  t.deepEqual(ipam.complete('e', []).addresses, ['172.30.0.6/29']);
  t.is(told, 1);
  t.throws(lend, { message: 'no address left in 172.30.0.0/29 of network blue' });
  t.false(ipam.holds('health:blue'));
  ipam.release('b');
  t.deepEqual(lend().addresses, ['172.30.0.3/29']);
});
