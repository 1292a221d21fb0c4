import test from 'ava';
import {
  MAPPING_STATUS,
  MAPPING_STATUS_BLOCKS,
  MAPPING_STATUS_FREE,
  MAPPING_STATUS_RESERVED,
  MAPPING_STATUS_USED,
  Mappings,
} from '../../../core/nat/mappings.js';
import { MAPPING_ADDRESS_AND_PORT_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { MAPPED } from '../../../core/router/address.js';
import {
  concat,
  type Flow,
  GRE,
  ICMP,
  INSIDE,
  Lab,
  linesOf,
  mapped,
  OUTSIDE,
  published,
  SETTINGS,
  TCP,
  UDP,
  wishOf,
  ZONE,
} from './mapping-lab.js';

const DEPENDENT = { mapping: MAPPING_ADDRESS_AND_PORT_DEPENDENT };

for (const [name, protocol] of [
  ['RFC 4787 REQ-1: UDP', UDP],
  ['RFC 5382 REQ-1: TCP', TCP],
] as const) {
  test(`${name} mapping is endpoint-independent, under port collision as well`, (t) => {
    const lab = new Lab();
    t.is(lab.open(protocol, 2, 5000), 5000);
    const port = lab.open(protocol, 3, 5000);
    t.not(port, 5000);
    for (const to of [1, 2]) for (const remotePort of [81, 82]) t.is(lab.open(protocol, 3, 5000, to, remotePort), port);
    for (const to of [1, 2]) for (const remotePort of [81, 82]) t.is(lab.open(protocol, 2, 5000, to, remotePort), 5000);
    t.is(lab.mappings.count, 2);
    t.is(lab.findInside(protocol, port), '3:5000');
    t.is(lab.findInside(protocol, 5000), '2:5000');
  });
}

test('RFC 4787 REQ-2: an internal address keeps its external address of a pool, also when the pool changes', (t) => {
  const lab = new Lab();
  const { mappings } = lab;
  const pool = Int32Array.of(OUTSIDE + 1, OUTSIDE + 2, OUTSIDE + 3, OUTSIDE + 4);
  const chosen = new Map<number, number>();
  const used = new Set<number>();
  const insideOf = (host: number): Int32Array => Int32Array.from(mapped(INSIDE + host));
  for (let host = 2; host < 40; host++) {
    const external = mappings.choose(ZONE, pool, true, insideOf(host));
    chosen.set(host, external);
    used.add(external);
    t.truthy(lab.take(wishOf(UDP, host, 5000), external));
    t.is(mappings.choose(ZONE, pool, true, insideOf(host)), external);
  }
  t.is(used.size, 4, 'all of the pool is used');
  const larger = Int32Array.of(OUTSIDE + 9, ...pool, OUTSIDE + 8);
  for (const [host, external] of chosen) t.is(mappings.choose(ZONE, larger, true, insideOf(host)), external);
  lab.endAll();
  const moved = [...chosen].filter(
    ([host, external]) => mappings.choose(ZONE, larger, true, insideOf(host)) !== external,
  );
  t.true(moved.length > 0, 'without mappings nothing holds it there');
});

test('a pool of IPv6 addresses, and one of a single address', (t) => {
  const { mappings } = new Lab();
  const inside = Int32Array.of(1, 2, 3, 4);
  const only = mappings.choose(ZONE, Int32Array.of(5, 6, 7, 8), false, inside);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => mappings.externalWord(only, i)),
    [5, 6, 7, 8],
  );
  const one = mappings.choose(ZONE, Int32Array.of(5, 6, 7, 8, 5, 6, 7, 9), false, inside);
  t.is(mappings.choose(ZONE, Int32Array.of(5, 6, 7, 8, 5, 6, 7, 9), false, inside), one);
  t.deepEqual(
    [0, 1, 2].map((i) => mappings.externalWord(one, i)),
    [5, 6, 7],
  );
});

for (const [name, protocol] of [
  ['RFC 4787 REQ-3: UDP', UDP],
  ['RFC 5382 REQ-7: TCP', TCP],
] as const) {
  test(`${name} ports are never overloaded`, (t) => {
    const lab = new Lab();
    const ports = new Set<number>();
    for (let host = 0; host < 500; host++) ports.add(lab.open(protocol, host, 5000));
    t.is(ports.size, 500);
    t.false(ports.has(-1));
  });
}

test('RFC 4787 REQ-3a: well-known ports stay well-known ones, and the others never become such', (t) => {
  const lab = new Lab({ firstPort: 1, lastPort: 1100 });
  t.is(lab.open(UDP, 2, 500), 500);
  const second = lab.open(UDP, 3, 500);
  t.true(second >= 1 && second <= 1023);
  for (let port = 0; port < 77; port++) t.true(lab.open(UDP, 4, 20_000 + port) >= 1024);
  t.is(lab.open(UDP, 4, 30_000), -1, 'all 77 high ports are taken');
  for (let port = 0; port < 1021; port++) t.true(lab.open(UDP, 5, port % 1024) > 0);
});

test('a well-known port gets another rather than none', (t) => {
  const lab = new Lab();
  t.true(lab.open(UDP, 2, 123) >= 1024);
});

test('RFC 4787 REQ-4: parity is kept under collision, as long as there is a port of it', (t) => {
  const lab = new Lab({ firstPort: 2000, lastPort: 2063 });
  for (let host = 1; host <= 32; host++) t.is(lab.open(UDP, host, 2000) & 1, 0);
  t.is(lab.open(UDP, 40, 2000) & 1, 1, 'no even one is left');
  for (let host = 1; host <= 31; host++) t.is(lab.open(UDP, host, 2001) & 1, 1);
  t.is(lab.open(UDP, 41, 2000), -1);
});

test('RFC 5508 REQ-1: identifiers are mapped independently of the destination, and do not collide', (t) => {
  const lab = new Lab();
  const one = lab.open(ICMP, 2, 7777);
  const other = lab.open(ICMP, 3, 7777);
  t.is(one, 7777);
  t.not(other, 7777);
  t.is(lab.open(ICMP, 2, 7777, 2), one);
  t.is(lab.open(ICMP, 3, 7777, 2), other);
});

test('RFC 7857 section 5: mappings are of one protocol', (t) => {
  const lab = new Lab();
  t.is(lab.open(TCP, 2, 5000), 5000);
  t.is(lab.findInside(UDP, 5000), null);
  t.is(lab.open(UDP, 3, 5000), 5000);
  t.is(lab.findInside(TCP, 5000), '2:5000');
});

test('RFC 7857 section 9: a thousand ports that are not kept are spread over the range, in no order', (t) => {
  const lab = new Lab();
  lab.open(TCP, 1, 5000);
  const ports = Array.from({ length: 1000 }, (_, i) => lab.open(TCP, 2 + i, 5000));
  const buckets = new Array<number>(16).fill(0);
  for (const port of ports) buckets[Math.floor(((port - 1024) * 16) / 64_512)]++;
  // Chi-square of 15 degrees of freedom: above 44 once in 10,000 seeds; the seed is fixed.
  const chi = buckets.reduce((sum, count) => sum + (count - 62.5) ** 2 / 62.5, 0);
  t.true(chi < 44, `chi-square ${chi}`);
  const near = ports.filter((port, i) => i > 0 && Math.abs(port - ports[i - 1]) <= 32).length;
  t.true(near <= 10, `${near} ports next to the one before`);
  const rising = ports.filter((port, i) => i > 0 && port > ports[i - 1]).length;
  t.true(rising > 420 && rising < 580, `${rising} rise`);
  const bits = Array.from({ length: 15 }, (_, bit) => ports.filter((port) => ((port >> bit) & 1) === 1).length);
  for (const ones of bits) t.true(ones > 420 && ones < 580, bits.join(' '));
  const other = new Lab({}, 4096, 12);
  other.open(TCP, 1, 5000);
  t.not(other.open(TCP, 2, 5000), ports[0], 'another seed, other ports');
});

test('RFC 7857 section 9: what is free behind a long run of taken ports is not taken first', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_999 });
  for (let port = 40_000; port < 40_800; port++) t.is(lab.open(TCP, 2, port), port);
  let next = 0;
  for (let i = 0; i < 100; i++) {
    if (lab.open(TCP, 3, 40_000) === 40_800) next++;
    lab.end(lab.flows[800]);
  }
  t.true(next < 50, `${next} of 100`);
});

test('the last port of the range is found, and the next flow is refused; what is given back can be taken again', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_999 });
  const ports = new Set<number>();
  for (let i = 0; i < 1000; i++) ports.add(lab.open(TCP, 2, 1024 + i));
  t.is(ports.size, 1000);
  t.is(Math.min(...ports), 40_000);
  t.is(Math.max(...ports), 40_999);
  for (let i = 0; i < 5; i++) t.is(lab.open(TCP, 3, 5000), -1);
  t.is(lab.mappings.exhausted, 5);
  t.deepEqual(lab.told, ['exhausted 3 at 0'], 'told once');
  t.is(lab.open(UDP, 3, 5000) >= 40_000, true, 'another protocol has its own');
  const given = lab.flows[400];
  lab.end(given);
  t.is(lab.open(TCP, 3, 5000), given.externalPort);
  t.is(lab.open(TCP, 3, 5001), -1);
  t.is(lab.told.length, 1, 'not at each port that comes and goes');
  for (const flow of lab.flows.slice(0, 200)) lab.end(flow);
  for (let i = 0; i < 200; i++) t.true(lab.open(TCP, 4, 1024 + i) > 0);
  t.is(lab.open(TCP, 4, 9000), -1);
  t.deepEqual(lab.told, ['exhausted 3 at 0', 'exhausted 4 at 0']);
});

test('where none is left, a port all of whose flows are about to end is given to another', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_007 });
  for (let i = 0; i < 8; i++) lab.open(TCP, 2, 5000 + i);
  const [first] = lab.flows;
  t.is(lab.open(TCP, 2, 5000, 2), first.externalPort);
  const second = lab.flows[8];
  lab.close(first);
  t.is(lab.open(TCP, 3, 6000, 3), -1, 'one of its flows goes on');
  lab.close(second);
  t.is(lab.open(TCP, 3, 6000, 1), -1, "that answer would be the first flow's");
  t.is(lab.open(TCP, 3, 6000, 3), first.externalPort);
  t.is(lab.mappings.recycled, 1);
  t.is(lab.findInside(TCP, first.externalPort), '3:6000');
  t.is(lab.open(TCP, 2, 5000, 4), -1, "it is the other's now");
  lab.end(first);
  lab.end(second);
  t.is(lab.findInside(TCP, first.externalPort), '3:6000');
  lab.endAll();
  t.is(lab.mappings.count, 0);
});

test('a flow that uses a mapping again keeps it from being given away', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_000 });
  t.is(lab.open(TCP, 2, 5000), 40_000);
  lab.close(lab.flows[0]);
  t.is(lab.open(TCP, 2, 5000, 2), 40_000);
  t.is(lab.open(TCP, 3, 5000, 3), -1);
});

test('RFC 7857 section 3: mapping by address and port shares ports between destinations, never between answers', (t) => {
  const lab = new Lab({ ...DEPENDENT, firstPort: 40_000, lastPort: 40_003 });
  for (let to = 1; to <= 100; to++) {
    const ports = new Set(Array.from({ length: 4 }, (_, i) => lab.open(TCP, 2 + i, 5000, to)));
    t.is(ports.size, 4);
    t.is(lab.open(TCP, 9, 5000, to), -1);
  }
  t.is(lab.mappings.count, 4);
  t.is(lab.findInside(TCP, 40_000), null, "it is nobody's");
  lab.endAll();
  t.is(lab.mappings.count, 0);
});

test('mapping by address and port keeps the port where the answer can be told apart', (t) => {
  const lab = new Lab(DEPENDENT);
  t.is(lab.open(UDP, 2, 5000, 1), 5000);
  t.is(lab.open(UDP, 3, 5000, 2), 5000);
  t.not(lab.open(UDP, 3, 5000, 1), 5000);
  t.is(lab.open(UDP, 3, 5000, 1, 81), 5000);
});

test('protocols without ports go to each remote once', (t) => {
  const lab = new Lab();
  t.is(lab.open(GRE, 2, 0, 1, 0), 0);
  t.is(lab.open(GRE, 3, 0, 2, 0), 0);
  t.is(lab.open(GRE, 3, 0, 1, 0), -1);
  t.is(lab.findInside(GRE, 0), null);
  t.deepEqual(lab.told, ['exhausted 3 at 0']);
  lab.end(lab.flows[0]);
  t.is(lab.open(GRE, 3, 0, 1, 0), 0);
  lab.endAll();
  t.is(lab.mappings.count, 0);
});

test('IPv6: an internal address and port likewise, beside IPv4 with the same last words', (t) => {
  const lab = new Lab();
  const { mappings } = lab;
  const external = mappings.external(ZONE, 0x20010db8, 0, 0, OUTSIDE);
  t.not(external, lab.external);
  const wish = (host: number, to: number) => ({
    protocol: UDP,
    inside: [0xfd000030 | 0, 0, 0, host],
    port: 5000,
    remote: [0x20010db8, 1, 0, to],
    remotePort: 53,
    owner: host,
  });
  t.is(lab.open(UDP, 2, 5000), 5000);
  t.is(lab.take(wish(2, 1), external)?.externalPort, 5000);
  const other = lab.take(wish(3, 1), external)?.externalPort as number;
  t.not(other, 5000);
  t.is(lab.take(wish(3, 2), external)?.externalPort, other);
  const mapping = mappings.find(ZONE, 0x20010db8, 0, 0, OUTSIDE, UDP, other);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => mappings.internalWord(mapping, i)),
    wish(3, 1).inside,
  );
  t.is(mappings.ownerOf(mapping), 3);
  t.is(mappings.find(ZONE + 1, 0x20010db8, 0, 0, OUTSIDE, UDP, other), -1);
  t.is(mappings.find(ZONE, 0x20010db8, 0, 0, OUTSIDE, UDP, other ^ 1), -1);
});

test("a port whose answers are another flow's is passed over", (t) => {
  const lab = new Lab({ ...DEPENDENT });
  t.is(lab.open(UDP, 2, 5000), 5000);
  // Its mapping is shared; with endpoint-independent mapping from now on, the next must look at the tuples, and at the ports.
  lab.mappings.configure({ ...SETTINGS, mapping: MAPPING_ENDPOINT_INDEPENDENT });
  t.not(lab.open(UDP, 3, 5000), 5000);
  const stranger = new Lab({ firstPort: 2000, lastPort: 3000 });
  stranger.tuples.isTaken4 = (_kind, _source, _destination, ports) => (ports & 0xffff) !== 2222;
  t.is(stranger.open(UDP, 3, 5000), 2222);
});

test('published ports are not given out, in their zone, at their address and of their protocol', (t) => {
  const lab = new Lab();
  lab.mappings.reserve(
    concat(
      published(TCP, mapped(0), 5000, 5000),
      published(UDP, mapped(OUTSIDE), 6000, 6001),
      published(UDP, mapped(OUTSIDE + 1), 7000, 7000),
      published(UDP, mapped(0), 7001, 7001, ZONE + 1),
      published(UDP, [0, 0, 0, 0], 7002, 7002),
    ),
  );
  t.not(lab.open(TCP, 2, 5000), 5000);
  t.is(lab.open(UDP, 2, 5000), 5000);
  t.not(lab.open(UDP, 2, 6000), 6000);
  t.not(lab.open(UDP, 2, 6001), 6001);
  for (const port of [7000, 7001, 7002]) t.is(lab.open(UDP, 2, port), port);
  lab.mappings.reserve(new Int32Array(0));
  t.is(lab.open(TCP, 3, 5000), 5000);
});

test('ports are reserved before and after the first mapping of a protocol, and bound to no IPv6 address', (t) => {
  const lab = new Lab();
  const external = lab.mappings.external(ZONE, 0x20010db8, 0, 0, 1);
  const wish = { protocol: TCP, inside: [1, 2, 3, 4], port: 5000, remote: [5, 6, 7, 8], remotePort: 80, owner: 2 };
  lab.mappings.reserve(published(TCP, [0, 0, 0, 0], 5000, 5000));
  const first = lab.take(wish, external) as Flow;
  t.not(first.externalPort, 5000);
  lab.end(first);
  lab.mappings.reserve(published(TCP, [0x20010db8, 0, 0, 1], 5001, 5001));
  t.is(lab.take(wish, external)?.externalPort, 5000);
  t.not(lab.take({ ...wish, port: 5001 }, external)?.externalPort, 5001);
});

test('at most half of the ports is kept for published ones', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_099 });
  lab.mappings.reserve(concat(published(TCP, mapped(0), 1, 65_535), published(TCP, mapped(0), 40_000, 40_029)));
  for (let i = 0; i < 70; i++) t.true(lab.open(TCP, 2, 5000 + i) >= 40_030);
  t.is(lab.open(TCP, 2, 6000), -1);
  const status = lab.mappings.status();
  t.is(status.length, MAPPING_STATUS);
  t.is(status[MAPPING_STATUS_USED], 70);
  t.is(status[MAPPING_STATUS_FREE], 0);
  t.is(status[MAPPING_STATUS_RESERVED], 30);
});

test('blocks: an internal address has its ports from one block of all protocols, which goes with its last mapping', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_255, portBlock: 64 });
  for (let i = 0; i < 64; i++) {
    const port = lab.open(TCP, 2, 5000 + i);
    t.true(port >= 40_128 && port < 40_192, `${port}`);
  }
  t.is(lab.open(TCP, 2, 6000), -1);
  t.is(lab.open(TCP, 2, 6001), -1);
  t.is(lab.open(UDP, 2, 40_130), 40_130, 'kept within the block');
  const third = lab.open(TCP, 3, 40_130);
  t.true(third >= 40_192 && third < 40_256);
  // The address leads to the block of number 2 as well.
  const sixth = lab.open(TCP, 6, 5000);
  t.true(sixth >= 40_000 && sixth < 40_064);
  t.is(lab.mappings.status()[MAPPING_STATUS_BLOCKS], 3);
  lab.open(TCP, 7, 5000);
  t.is(lab.open(TCP, 8, 5000), -1);
  t.is(lab.open(TCP, 9, 5000), -1);
  t.deepEqual(lab.told, [
    'block 40128+64 of 2',
    'exhausted 2 at 0',
    'block 40192+64 of 3',
    'block 40000+64 of 6',
    'block 40064+64 of 7',
    'exhausted 8 at 0',
  ]);
  lab.told.length = 0;
  for (const flow of lab.flows.filter(({ owner }) => owner === 2)) lab.end(flow);
  t.deepEqual(lab.told, ['freed 40128+64 of 2']);
  t.true(lab.open(TCP, 8, 5000) >= 40_128);
  t.deepEqual(lab.told, ['freed 40128+64 of 2', 'block 40128+64 of 8']);
  lab.endAll();
  t.is(lab.mappings.status()[MAPPING_STATUS_BLOCKS], 0);
});

test('blocks: one that is published as a whole is passed over; other blocks come with other settings', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_063, portBlock: 16 });
  lab.mappings.reserve(published(TCP, mapped(0), 40_000, 40_015));
  t.true(lab.open(TCP, 4, 5000) >= 40_016);
  lab.mappings.configure({ ...SETTINGS, firstPort: 50_000, lastPort: 50_063, portBlock: 32 });
  t.true(lab.open(TCP, 4, 5001) >= 50_000);
  t.deepEqual(lab.told, ['block 40016+16 of 4', 'freed 40016+16 of 4', 'block 50000+32 of 4']);
  lab.endAll();
  t.is(lab.mappings.status()[MAPPING_STATUS_BLOCKS], 0);
});

test('blocks: that one is used up is told again once an eighth has gone', (t) => {
  const lab = new Lab({ firstPort: 40_000, lastPort: 40_063, portBlock: 16 });
  const fill = () => {
    while (lab.open(TCP, 4, 5000 + lab.flows.length) >= 0);
  };
  fill();
  lab.end(lab.flows[15]);
  fill();
  t.deepEqual(lab.told, ['block 40000+16 of 4', 'exhausted 4 at 0']);
  for (let i = 0; i < 3; i++) lab.end(lab.flows[lab.flows.length - 1]);
  fill();
  t.is(lab.told.length, 3);
});

test('blocks by address and port', (t) => {
  const lab = new Lab({ ...DEPENDENT, firstPort: 40_000, lastPort: 40_031, portBlock: 16 });
  for (let to = 1; to < 50; to++) for (let i = 0; i < 16; i++) t.true(lab.open(UDP, 2, 40_000 + i, to) < 40_016);
  t.is(lab.open(UDP, 2, 5000, 1), -1);
  t.true(lab.open(UDP, 3, 5000, 1) >= 40_016);
});

test('another range: mappings out of it are not used for new flows, and end with theirs', (t) => {
  const lab = new Lab();
  t.is(lab.open(UDP, 2, 5000), 5000);
  lab.mappings.configure({ ...SETTINGS, firstPort: 49_152 });
  const port = lab.open(UDP, 2, 5000, 2);
  t.true(port >= 49_152);
  t.is(lab.open(UDP, 2, 5000, 3), port);
  t.is(lab.findInside(UDP, port), '2:5000');
  t.is(lab.mappings.count, 2);
  lab.endAll();
  t.is(lab.mappings.count, 0);
});

test('settings that cannot be are refused', (t) => {
  const { mappings } = new Lab();
  const set = (change: object) => () => mappings.configure({ ...SETTINGS, ...change });
  t.throws(set({ firstPort: 0 }), { message: 'mappings: ports 0-65535 are no range within 1-65535' });
  t.throws(set({ firstPort: 10, lastPort: 9 }), { instanceOf: RangeError });
  t.throws(set({ lastPort: 65_536 }), { instanceOf: RangeError });
  t.throws(set({ firstPort: 65_000, portBlock: 1024 }), {
    message: 'mappings: blocks of 1024 ports do not fit into 65000-65535',
  });
  t.throws(() => new Mappings(1, 1 << 22), { instanceOf: RangeError });
});

test('a mapping that is not there: release says so, close and find do nothing', (t) => {
  const { mappings, external } = new Lab();
  t.false(mappings.release(external, TCP, 5000));
  mappings.close(external, TCP, 5000);
  t.is(mappings.find(ZONE, 0, 0, MAPPED, OUTSIDE, TCP, 5000), -1);
  t.is(mappings.find(ZONE, 0, 0, MAPPED, OUTSIDE + 1, TCP, 5000), -1);
  t.is(mappings.findExternal(ZONE, 0, 0, MAPPED, OUTSIDE + 1), 0);
});

test('as many mappings as flows may be, and no more', (t) => {
  const lab = new Lab({}, 10);
  for (let i = 0; i < 11; i++) t.true(lab.open(UDP, i, 5000) > 0);
  t.is(lab.open(UDP, 99, 5000), -1);
  t.is(lab.mappings.list().length / 16, 11);
  lab.end(lab.flows[4]);
  t.true(lab.open(UDP, 99, 5000) > 0);
});

test('external addresses without mappings make room for new ones', (t) => {
  const { mappings } = new Lab();
  const inside = Int32Array.from(mapped(INSIDE));
  const held = mappings.external(ZONE, 0, 0, MAPPED, -5);
  t.true(mappings.adopt(held, UDP, 5000, inside, 5000, 2));
  for (let i = 0; i < 10_000; i++) t.true(mappings.external(ZONE, 0, 0, MAPPED, 1 + i) > 0);
  t.is(mappings.findExternal(ZONE, 0, 0, MAPPED, -5), held);
  t.is(mappings.findExternal(ZONE, 0, 0, MAPPED, 1), 0);
  t.true(mappings.release(held, UDP, 5000));
});

test('adoption after a port was given to another: whoever has flows that go on has the port', (t) => {
  const flows: readonly (readonly [host: number, port: number, isClosing: boolean])[] = [
    [2, 40_000, true],
    [3, 40_000, false],
    [2, 40_001, false],
  ];
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders) {
    const lab = new Lab();
    for (const i of order) {
      const [host, port, isClosing] = flows[i];
      const inside = Int32Array.from(mapped(INSIDE + host));
      t.true(lab.mappings.adopt(lab.external, TCP, port, inside, 5000, host, isClosing));
    }
    t.is(lab.findInside(TCP, 40_000), '3:5000', `${order}`);
    t.is(lab.findInside(TCP, 40_001), '2:5000', `${order}`);
    t.is(lab.open(TCP, 2, 5000), 40_001);
    t.is(lab.open(TCP, 3, 5000), 40_000);
  }
});

test("adoption: of two mappings, only that is an internal address's own whose flows go on", (t) => {
  for (const order of [
    [40_000, 40_001],
    [40_001, 40_000],
  ]) {
    const lab = new Lab();
    const inside = Int32Array.from(mapped(INSIDE + 2));
    for (const port of order) lab.mappings.adopt(lab.external, TCP, port, inside, 5000, 2, port === 40_000);
    t.is(lab.findInside(TCP, 40_000), null);
    t.is(lab.findInside(TCP, 40_001), '2:5000');
  }
});

test('adoption refuses ports that a protocol does not have', (t) => {
  const lab = new Lab();
  t.false(lab.mappings.adopt(lab.external, GRE, 5, Int32Array.from(mapped(INSIDE)), 5, 2));
  t.is(lab.mappings.count, 0);
});

test('adoption gives an internal address its block again', (t) => {
  const settings = { firstPort: 40_000, lastPort: 40_255, portBlock: 64 };
  const lab = new Lab(settings);
  // Both lead to the same block; the second has the next.
  lab.open(UDP, 2, 5000);
  lab.open(UDP, 6, 5000);
  const other = new Lab(settings);
  for (const { protocol, externalPort, inside, port, owner } of [...lab.flows].reverse())
    t.true(other.mappings.adopt(other.external, protocol, externalPort, Int32Array.from(inside), port, owner));
  t.deepEqual([...other.told].sort(), [...lab.told].sort());
  t.deepEqual(linesOf(other.mappings.list()), linesOf(lab.mappings.list()));
});
