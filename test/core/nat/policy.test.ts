/** The policy's decisions against a list of rules that is read from end to end in plain numbers, and by example. */

import test from 'ava';
import {
  MAX_RULES,
  NO_RULE,
  POLICY_ACCEPT,
  POLICY_DROP,
  POLICY_REJECT,
  Policy,
  UNKNOWN_PORT,
} from '../../../core/nat/policy.js';
import { createRandom, rerunLine, seedOfRun } from '../../support/corpus.js';
import { word4, words6 } from '../router/lab.js';
import { ANY, at, type Rule, records, rule, type Side } from './rules.js';

const TCP = 6;
const UDP = 17;

function policyOf(...rules: Rule[]): Policy {
  const policy = new Policy(new Float64Array(MAX_RULES), 7);
  policy.set(records(rules));
  return policy;
}

interface Connection {
  readonly from?: number;
  readonly to?: number;
  readonly source: string;
  readonly destination: string;
  /** Destination as it came in. */
  readonly original?: string;
  readonly protocol?: number;
  readonly port?: number;
  readonly originalPort?: number;
}

function decide(policy: Policy, connection: Connection): number {
  const { from = 1, to = 2, source, destination, protocol = TCP, port = 80 } = connection;
  const { original = destination, originalPort = port } = connection;
  if (source.includes(':')) {
    const words = Int32Array.from([...words6(source), ...words6(destination), ...words6(original)]);
    return policy.decide6(from, to, words, protocol, port, originalPort);
  }
  const [a, b, c] = [word4(source), word4(destination), word4(original)];
  return policy.decide4(from, to, a, b, c, protocol, port, originalPort);
}

test('nothing is decided where there are no rules, nor where none fits', (t) => {
  const empty = new Policy(new Float64Array(MAX_RULES), 0x12345);
  t.true(empty.isEmpty);
  t.is(empty.epoch, 0x2345);
  t.is(decide(empty, { source: '10.0.0.1', destination: '10.0.0.2' }), NO_RULE);
  t.is(empty.action(NO_RULE), POLICY_ACCEPT);
  const one = policyOf(rule(3, POLICY_DROP, { to: at('10.1.0.0/16') }));
  t.false(one.isEmpty);
  t.is(decide(one, { source: '10.0.0.1', destination: '10.2.0.1' }), NO_RULE);
  t.is(decide(one, { source: '10.0.0.1', destination: '10.1.255.255' }), 3);
});

test('the first rule that fits decides, and says what it was told to', (t) => {
  const policy = policyOf(
    rule(9, POLICY_ACCEPT, { from: at('10.0.0.5/32'), protocol: TCP, ports: [22, 22] }),
    rule(4, POLICY_REJECT, { from: at('10.0.0.0/24'), protocol: TCP }),
    rule(0, POLICY_DROP),
  );
  const of = (part: Partial<Connection>): number =>
    decide(policy, { source: '10.0.0.5', destination: '192.0.2.1', ...part });
  t.is(of({ port: 22 }), 9);
  t.is(of({ port: 23 }), 4);
  t.is(of({ port: 22, source: '10.0.0.6' }), 4);
  t.is(of({ port: 22, protocol: UDP }), 0);
  t.is(of({ source: '10.0.1.5', port: 22 }), 0);
  t.deepEqual(
    [9, 4, 0].map((number) => policy.action(number)),
    [POLICY_ACCEPT, POLICY_REJECT, POLICY_DROP],
  );
});

test('interfaces, in either direction', (t) => {
  const policy = policyOf(
    rule(1, POLICY_DROP, { from: { ...ANY, iface: 5 } }),
    rule(2, POLICY_DROP, { to: { ...ANY, iface: -6 } }),
  );
  const of = (from: number, to: number): number =>
    decide(policy, { source: '10.0.0.1', destination: '10.0.0.2', from, to });
  t.deepEqual([of(5, 6), of(6, 5), of(4, -6), of(-6, 4)], [1, NO_RULE, 2, NO_RULE]);
});

test('a rule of one family says nothing about the other; one of none is for both', (t) => {
  const policy = policyOf(
    rule(1, POLICY_DROP, { from: at('fd00:1::/32'), to: at('fd00:2::/127') }),
    rule(2, POLICY_DROP, { from: at('0.0.0.0/0') }),
    rule(3, POLICY_DROP, { from: at('10.0.0.0/8'), to: at('::/0') }),
    rule(4, POLICY_DROP, { protocol: 58 }),
  );
  const of = (source: string, destination: string, protocol = TCP): number =>
    decide(policy, { source, destination, protocol });
  t.is(of('fd00:1::9', 'fd00:2::1'), 1);
  t.is(of('fd00:1::9', 'fd00:2::2'), NO_RULE);
  t.is(of('fd00:2::9', 'fd00:2::1'), NO_RULE);
  t.is(of('fd00:2::9', 'fd00:2::1', 58), 4);
  t.is(of('10.0.0.1', '10.0.0.2'), 2);
});

test('destination and port of a published port: both before its translation, or both after', (t) => {
  const published = {
    source: '192.0.2.9',
    destination: '172.30.0.2',
    original: '198.51.100.1',
    port: 80,
    originalPort: 8080,
  };
  const of = (part: Partial<Rule>): number => decide(policyOf(rule(1, POLICY_DROP, part)), published);
  t.is(of({ to: at('198.51.100.1/32'), protocol: TCP, ports: [8080, 8080] }), 1);
  t.is(of({ to: at('172.30.0.2/32'), protocol: TCP, ports: [80, 80] }), 1);
  t.is(of({ to: at('172.30.0.2/32'), protocol: TCP, ports: [8080, 8080] }), NO_RULE);
  t.is(of({ to: at('198.51.100.1/32'), protocol: TCP, ports: [80, 80] }), NO_RULE);
  t.is(of({ protocol: TCP, ports: [8080, 8080] }), 1);
  // What is behind an interface is what the connection reaches in the end.
  t.is(of({ to: { ...ANY, iface: 2 }, protocol: TCP, ports: [8080, 8080] }), NO_RULE);
  t.is(of({ to: { ...ANY, iface: 2 }, protocol: TCP, ports: [80, 80] }), 1);
  const policy = policyOf(rule(1, POLICY_DROP, { to: at('2001:db8::1/128'), ports: [53, 53] }));
  const six = {
    source: '2001:db8:1::9',
    destination: 'fd00::2',
    original: '2001:db8::1',
    port: 5353,
    originalPort: 53,
  };
  t.is(decide(policy, six), 1);
  t.is(decide(policy, { ...six, originalPort: 5353 }), NO_RULE);
});

test('of a later fragment nobody knows the port: rules for some ports fit if they accept', (t) => {
  const of = (action: number, ports: readonly [number, number]): number =>
    decide(policyOf(rule(1, action, { protocol: UDP, ports })), {
      source: '10.0.0.1',
      destination: '10.0.0.2',
      protocol: UDP,
      port: UNKNOWN_PORT,
    });
  t.is(of(POLICY_ACCEPT, [53, 53]), 1);
  t.is(of(POLICY_DROP, [53, 53]), NO_RULE);
  t.is(of(POLICY_DROP, [0, 65_535]), 1);
});

test('hits by number; no rule is nobody', (t) => {
  const hits = new Float64Array(MAX_RULES);
  const policy = new Policy(hits, 0);
  policy.count(5);
  policy.count(5);
  policy.count(NO_RULE);
  t.is(hits[5], 2);
  t.is(
    hits.reduce((sum, count) => sum + count, 0),
    2,
  );
});

test('each change of the rules is another epoch of 16 bits; numbers out of range are refused', (t) => {
  const policy = new Policy(new Float64Array(MAX_RULES), 0xfffe);
  policy.set(new Int32Array(0));
  t.is(policy.epoch, 0xffff);
  policy.set(new Int32Array(0));
  t.is(policy.epoch, 0);
  t.throws(() => policy.set(records([rule(MAX_RULES, POLICY_DROP)])), { message: /expected 0 to 16383/ });
  t.throws(() => policy.set(records([rule(-1, POLICY_DROP)])), { instanceOf: RangeError });
});

// --- random rules

/** Whether the first `length` bits of two addresses are the same. */
function isIn(address: readonly number[], words: readonly number[], length: number, skipped: number): boolean {
  for (let bit = 0; bit < length; bit++) {
    const index = (bit + skipped) >> 5;
    const shift = 31 - ((bit + skipped) & 31);
    if (((address[index] >>> shift) & 1) !== ((words[index] >>> shift) & 1)) return false;
  }
  return true;
}

interface Packet {
  readonly family: number;
  readonly from: number;
  readonly to: number;
  readonly source: readonly number[];
  readonly destinations: readonly (readonly [address: readonly number[], port: number])[];
  readonly protocol: number;
}

function fitsSide(side: Side, address: readonly number[], family: number): boolean {
  if (side.family === 0) return true;
  return side.family === family && isIn(address, side.words, side.length, family === 4 ? 96 : 0);
}

function reference(rules: readonly Rule[], packet: Packet): number {
  const { family, from, to, source, destinations, protocol } = packet;
  for (const { number, from: sender, to: target, protocol: wanted, ports } of rules) {
    if (sender.iface !== 0 && sender.iface !== from) continue;
    if (target.iface !== 0 && target.iface !== to) continue;
    if (wanted !== 0 && wanted !== protocol) continue;
    if (!fitsSide(sender, source, family)) continue;
    const seen = target.iface === 0 ? destinations : destinations.slice(0, 1);
    const fits = ([address, port]: (typeof destinations)[number]): boolean =>
      fitsSide(target, address, family) && port >= ports[0] && port <= ports[1];
    if (seen.some(fits)) return number;
  }
  return NO_RULE;
}

test('random rules and connections: as the reference decides', (t) => {
  const seed = seedOfRun();
  const pick = createRandom(seed);
  // Few addresses, close to each other, so that prefixes of every length tell some apart.
  const address = (family: number): number[] => {
    const words = [0, 0, 0, 0].map(() => (pick(2) === 0 ? 0 : 1 << pick(32)));
    return family === 6 ? words : [0, 0, 0, words[3]];
  };
  const side = (): Side => {
    const family = [0, 4, 6][pick(3)];
    const iface = pick(3) === 0 ? 1 + pick(2) : 0;
    if (family === 0) return { ...ANY, iface };
    return { iface, family, words: address(family), length: pick(family === 4 ? 33 : 129) };
  };
  const decided = [0, 0];
  for (let round = 0; round < 300; round++) {
    const rules = Array.from({ length: 1 + pick(8) }, (_, index) => {
      const first = pick(4);
      return rule(index, pick(3), {
        from: side(),
        to: side(),
        protocol: [0, TCP, UDP][pick(3)],
        ports: [first, first + pick(3)],
      });
    });
    const policy = policyOf(...rules);
    for (let i = 0; i < 100; i++) {
      const family = pick(2) === 0 ? 4 : 6;
      const [source, destination, original] = [address(family), address(family), address(family)];
      const [port, originalPort, protocol, from, to] = [
        pick(6),
        pick(6),
        [TCP, UDP][pick(2)],
        1 + pick(2),
        1 + pick(2),
      ];
      const packet: Packet = {
        family,
        from,
        to,
        source,
        destinations: [
          [destination, port],
          [original, originalPort],
        ],
        protocol,
      };
      const found =
        family === 4
          ? policy.decide4(from, to, source[3], destination[3], original[3], protocol, port, originalPort)
          : policy.decide6(
              from,
              to,
              Int32Array.from([...source, ...destination, ...original]),
              protocol,
              port,
              originalPort,
            );
      decided[found === NO_RULE ? 0 : 1]++;
      if (found !== reference(rules, packet)) {
        t.fail(
          `${found} and not ${reference(rules, packet)} for ${JSON.stringify({ packet, rules })}\n${rerunLine(seed, 'dist/test/core/nat/policy.test.js')}`,
        );
        return;
      }
    }
  }
  // Else the generator asks nothing.
  t.true(Math.min(...decided) > 3000, `${decided} of 30000`);
});
