import test from 'ava';
import fc from 'fast-check';
import { isInside, isOutside, makeNptv6, type Prefix6, translate } from '../../../core/nat/nptv6.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { tcp } from '../wire/build.js';
import { Bench, fullChecksum, readChecksum, seal, slowSum, TCP } from './packets.js';

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/nat/nptv6.test.js');

/** Eight groups of hexadecimal digits, no shorthand. */
function bytesOf(address: string): Uint8Array {
  const groups = address.split(':').map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function textOf(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i).toString(16)).join(':');
}

function prefix(address: string, length: number): Prefix6 {
  const view = new DataView(bytesOf(address).buffer);
  return { a: view.getInt32(0), b: view.getInt32(4), length };
}

function translated(address: string, inside: Prefix6, outside: Prefix6, outbound: boolean): string | null {
  const bytes = bytesOf(address);
  const done = translate(new DataView(bytes.buffer), 0, makeNptv6(inside, outside), outbound);
  if (!done && textOf(bytes) !== address) throw new Error('changed although refused');
  return done ? textOf(bytes) : null;
}

const ULA48 = prefix('fd01:203:405:0:0:0:0:0', 48);
const GLOBAL48 = prefix('2001:db8:1:0:0:0:0:0', 48);
const ULA64 = prefix('fd01:203:405:7:0:0:0:0', 64);
const GLOBAL64 = prefix('2001:db8:1:9:0:0:0:0', 64);

test('RFC 6296, appendix B: the example', (t) => {
  t.is(translated('fd01:203:405:1:0:0:0:1234', ULA48, GLOBAL48, true), '2001:db8:1:d550:0:0:0:1234');
  t.is(translated('2001:db8:1:d550:0:0:0:1234', ULA48, GLOBAL48, false), 'fd01:203:405:1:0:0:0:1234');
});

test('a subnet of all ones, and one whose counterpart is that, in prefixes up to 48 bits', (t) => {
  t.is(translated('fd01:203:405:ffff:0:0:0:1', ULA48, GLOBAL48, true), null);
  t.is(translated('2001:db8:1:ffff:0:0:0:1', ULA48, GLOBAL48, false), null);
  // 0x2ab0 is what completes the difference to all ones, which is written as 0.
  t.is(translated('fd01:203:405:2ab0:0:0:0:1', ULA48, GLOBAL48, true), '2001:db8:1:0:0:0:0:1');
});

test('every subnet of a /48 has a counterpart of its own, and comes back', (t) => {
  const seen = new Set<string>();
  for (let subnet = 0; subnet < 0xffff; subnet++) {
    const address = `fd01:203:405:${subnet.toString(16)}:0:0:0:1`;
    const outside = translated(address, ULA48, GLOBAL48, true) as string;
    seen.add(outside);
    if (translated(outside, ULA48, GLOBAL48, false) !== address) t.fail(address);
  }
  t.is(seen.size, 0xffff);
});

test('with a /64 the interface identifier takes up the difference, in its first word that is not all ones', (t) => {
  const out = translated('fd01:203:405:7:1:2:3:4', ULA64, GLOBAL64, true) as string;
  t.regex(out, /^2001:db8:1:9:[0-9a-f]+:2:3:4$/);
  t.is(translated(out, ULA64, GLOBAL64, false), 'fd01:203:405:7:1:2:3:4');
  const third = translated('fd01:203:405:7:ffff:ffff:3:4', ULA64, GLOBAL64, true) as string;
  t.regex(third, /^2001:db8:1:9:ffff:ffff:[0-9a-f]+:4$/);
  t.is(translated(third, ULA64, GLOBAL64, false), 'fd01:203:405:7:ffff:ffff:3:4');
  t.is(translated('fd01:203:405:7:0:0:0:0', ULA64, GLOBAL64, true), null, 'the anycast address of the subnet');
  t.is(translated('fd01:203:405:7:ffff:ffff:ffff:ffff', ULA64, GLOBAL64, true), null);
});

test('prefixes of different lengths: the shorter one has zeros up to the longer one', (t) => {
  const short = prefix('2001:db8:ffff:0:0:0:0:0', 32);
  const out = translated('fd01:203:405:1:0:0:0:1', ULA48, short, true) as string;
  t.regex(out, /^2001:db8:0:[0-9a-f]+:0:0:0:1$/);
  t.is(translated(out, ULA48, short, false), 'fd01:203:405:1:0:0:0:1');
});

test('which addresses are inside and which are outside', (t) => {
  const rule = makeNptv6(ULA48, GLOBAL48);
  const { a, b } = prefix('fd01:203:405:ffff:0:0:0:0', 64);
  t.true(isInside(rule, a, b));
  t.false(isOutside(rule, a, b));
  const near = prefix('fd01:203:406:0:0:0:0:0', 64);
  t.false(isInside(rule, near.a, near.b));
  const outside = prefix('2001:db8:1:5:0:0:0:0', 64);
  t.true(isOutside(rule, outside.a, outside.b));
  t.false(isInside(rule, outside.a, outside.b));
});

test('a prefix that leaves no word to change is refused', (t) => {
  t.throws(() => makeNptv6({ ...ULA64, length: 65 }, GLOBAL64), { message: /prefix of 65 bits; at most 64/ });
  t.notThrows(() => makeNptv6(ULA64, GLOBAL64));
});

test('any prefixes, any address: the sum stays, the way back leads home, and a packet needs no other change', (t) => {
  const bench = new Bench();
  const words = fc.tuple(fc.integer(), fc.integer());
  const property = fc.property(
    words,
    words,
    fc.integer({ min: 1, max: 64 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    ([a, b], [c, d], length, host) => {
      const rule = makeNptv6({ a, b, length }, { a: c, b: d, length });
      const inner = new DataView(host.buffer);
      inner.setInt32(0, (inner.getInt32(0) & ~rule.maskA) | rule.insideA);
      inner.setInt32(4, (inner.getInt32(4) & ~rule.maskB) | rule.insideB);
      bench.receive(seal(host, new Uint8Array(16).fill(9), TCP, tcp({ srcPort: 1, dstPort: 2 })));
      const at = bench.packet.l3 + 8;
      if (!translate(bench.view, at, rule, true)) return;
      const { bytes } = bench;
      t.true(isOutside(rule, bench.view.getInt32(at), bench.view.getInt32(at + 4)));
      t.is(slowSum(bytes.slice(8, 24)) % 0xffff, slowSum(host) % 0xffff);
      // All zeros and all ones are one number to a sum.
      t.is(readChecksum(bytes, TCP, 40) % 0xffff, fullChecksum(bytes, TCP, 40) % 0xffff);
      if (!translate(bench.view, at, rule, false)) return;
      t.deepEqual(bench.bytes.slice(8, 24), host);
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 3000, seed }), rerun);
});
