import test from 'ava';
import fc from 'fast-check';
import { DROP_FRAGMENT_INVALID, DROP_FRAGMENT_LIMIT, DROP_FRAGMENT_TIMEOUT } from '../../../core/drop.js';
import type { Arena } from '../../../core/packet/arena.js';
import { PACKET_FRAGMENT, type Packet } from '../../../core/packet/packet.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4 } from '../../../core/packet/vnet.js';
import { fragment4 } from '../../../core/router/fragment.js';
import { fragmentProblem } from '../../../core/router/fragment-header.js';
import {
  COMPLETE,
  Reassembly,
  type ReassemblyLimits,
  TIMEOUT_IPV4,
  TIMEOUT_IPV6,
} from '../../../core/router/reassembly.js';
import { DROP, HELD } from '../../../core/verdict.js';
import { createRandom, type Random } from '../../support/corpus.js';
import { ethernet, extension, fragmentHeader, icmpv6, ipv4, ipv6, udp } from '../wire/build.js';
import {
  createArena,
  frameOf,
  isHeaderSumRight,
  load,
  type Offload,
  parseAgain,
  viewOf,
  withHeaderSum,
} from './slots.js';

interface GivenUp {
  readonly frame: Uint8Array;
  readonly reason: number;
}

/** A reassembly, and who counts what becomes of the fragments. */
class Bench {
  readonly arena: Arena;
  readonly reassembly: Reassembly;
  readonly givenUp: GivenUp[] = [];
  takenIn = 0;
  /** Frames that came out whole. */
  readonly whole: Uint8Array[] = [];
  received = 0;
  dropped = 0;
  lastReason = 0;

  constructor(slots = 64, limits: ReassemblyLimits = {}) {
    this.arena = createArena(slots);
    this.reassembly = new Reassembly(this, limits);
  }

  giveUp(packet: Packet, reason: number): void {
    this.givenUp.push({ frame: frameOf(this.arena, packet), reason });
    this.arena.release(packet.slot);
  }

  takeIn(packet: Packet): void {
    this.takenIn++;
    this.arena.release(packet.slot);
  }

  receive(frame: Uint8Array, seconds = 0, domain = 1, offload: Offload = {}): number {
    const packet = load(this.arena, frame, offload);
    packet.domain = domain;
    if ((packet.flags & PACKET_FRAGMENT) === 0) throw new Error('the test wants a fragment');
    this.received++;
    const verdict = this.reassembly.receive(packet, seconds);
    if (verdict === DROP) {
      this.dropped++;
      this.lastReason = packet.reason;
    }
    if (verdict === COMPLETE) {
      parseAgain(this.arena, packet);
      if ((packet.flags & PACKET_FRAGMENT) !== 0) throw new Error('still a fragment');
      this.whole.push(frameOf(this.arena, packet));
    }
    if (verdict !== HELD) this.arena.release(packet.slot);
    this.check();
    return verdict;
  }

  /** Every fragment is somewhere, once; every slot is held or free. */
  check(): void {
    const known = this.givenUp.length + this.takenIn + this.whole.length + this.dropped + this.reassembly.held;
    if (known !== this.received) throw new Error(`${this.received} received, ${known} known of`);
    if (this.arena.available !== this.arena.slotCount - this.reassembly.held) throw new Error('slots got lost');
  }
}

function randomBytes(length: number, random: Random): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

const numbered = (length: number, first = 0) => Uint8Array.from({ length }, (_, i) => first + i * 7);

interface Part {
  /** In 8 octets. */
  readonly offset: number;
  readonly more: boolean;
  readonly identification?: number;
  readonly source?: number;
  readonly protocol?: number;
  readonly ecn?: number;
}

/** An IPv4 fragment from 172.30.0.(source). */
function part4(payload: Uint8Array, part: Part, options = 0): Uint8Array {
  const frame = ethernet(
    0x0800,
    ipv4({ protocol: part.protocol ?? 253, offset: part.offset, more: part.more, options }, payload),
  );
  const view = viewOf(frame);
  frame[15] = part.ecn ?? 0;
  view.setUint16(18, part.identification ?? 0x1234);
  view.setUint16(28, part.source ?? 3);
  return withHeaderSum(frame);
}

interface Part6 extends Part {
  readonly nextHeader?: number;
}

/** An IPv6 fragment behind these extension headers. */
function part6(payload: Uint8Array, part: Part6, headers: Uint8Array[] = [], first = 44): Uint8Array {
  const fragment = fragmentHeader({ nextHeader: part.nextHeader ?? 253, offset: part.offset, more: part.more });
  viewOf(fragment).setUint32(4, part.identification ?? 0xcafe);
  const frame = ethernet(0x86dd, ipv6({ nextHeader: first }, ...headers, fragment, payload));
  viewOf(frame).setUint16(36, part.source ?? 3);
  viewOf(frame).setUint8(15, (part.ecn ?? 0) << 4);
  return frame;
}

function shuffle<T>(list: T[], random: Random): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const other = random(i + 1);
    [list[i], list[other]] = [list[other], list[i]];
  }
  return list;
}

/** Cuts an IPv4 frame with the stage that does so. */
function cut4(frame: Uint8Array, mtu: number): Uint8Array[] {
  const arena = createArena(110);
  const slots = new Int32Array(110);
  const count = fragment4(arena, load(arena, frame), mtu, slots);
  if (count < 1) throw new Error('not cut');
  return Array.from(slots.subarray(0, count), (slot) => frameOf(arena, arena.packets[slot]));
}

/** Cuts the payload of an IPv6 packet as a source would. */
function cut6(
  payload: Uint8Array,
  size: number,
  nextHeader: number,
  headers: Uint8Array[],
  first: number,
): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const more = at + size < payload.length;
    frames.push(part6(payload.slice(at, at + size), { offset: at / 8, more, nextHeader }, headers, first));
  }
  return frames;
}

test('RFC 791, 3.2: property: a packet that was cut comes out as it was, in any order, with duplicates', (t) => {
  const bench = new Bench(260, { slots: 240 });
  fc.assert(
    fc.property(
      fc.integer({ min: 200, max: 6000 }),
      fc.integer({ min: 120, max: 1500 }),
      fc.nat(3),
      fc.nat(),
      (length, mtu, words, seed) => {
        const random = createRandom(seed);
        const options = new Array(words * 4).fill(1);
        const frame = ethernet(0x0800, ipv4({ protocol: 253, options: options.length }, randomBytes(length, random)));
        viewOf(frame).setUint16(18, seed & 0xffff);
        withHeaderSum(frame);
        if (frame.length - 14 <= mtu) return;
        const frames = shuffle(cut4(frame, mtu), random);
        const last = frames.pop() as Uint8Array;
        for (const fragment of frames) {
          t.is(bench.receive(fragment), HELD);
          if (random(4) === 0) {
            t.is(bench.receive(fragment), DROP);
            t.is(bench.lastReason, DROP_FRAGMENT_INVALID);
          }
        }
        t.is(bench.receive(last), COMPLETE);
        t.deepEqual(bench.whole.at(-1), frame);
        t.is(bench.reassembly.held, 0);
      },
    ),
    { numRuns: 200 },
  );
});

test('RFC 8200, 4.5: property: the same for IPv6, with extension headers on both sides of the fragment header', (t) => {
  const bench = new Bench(260, { slots: 240 });
  const cases = [
    { first: 44, headers: [], nextHeader: 253, behind: [] },
    { first: 0, headers: [extension(60), extension(44, 16)], nextHeader: 253, behind: [] },
    { first: 43, headers: [extension(44)], nextHeader: 60, behind: [extension(253)] },
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...cases),
      fc.integer({ min: 40, max: 6000 }),
      fc.integer({ min: 4, max: 180 }),
      fc.nat(),
      (shape, length, units, seed) => {
        const random = createRandom(seed);
        const payload = Uint8Array.from([
          ...shape.behind.flatMap((header) => [...header]),
          ...randomBytes(length, random),
        ]);
        const size = Math.max(units * 8, Math.ceil(payload.length / 800) * 8);
        if (payload.length <= size) return;
        // The headers that were there before: the last of them names what the fragment header names.
        const before = shape.headers.map((header) => header.slice());
        if (before.length > 0) before[before.length - 1][0] = shape.nextHeader;
        const whole = ethernet(
          0x86dd,
          ipv6({ nextHeader: before.length > 0 ? shape.first : shape.nextHeader }, ...before, payload),
        );
        viewOf(whole).setUint8(15, 0);
        const frames = shuffle(cut6(payload, size, shape.nextHeader, shape.headers, shape.first), random);
        const last = frames.pop() as Uint8Array;
        for (const fragment of frames) {
          t.is(bench.receive(fragment), HELD);
          if (random(4) === 0) t.is(bench.receive(fragment), DROP);
        }
        t.is(bench.receive(last), COMPLETE);
        t.deepEqual(bench.whole.at(-1), whole);
        t.is(bench.reassembly.held, 0);
      },
    ),
    { numRuns: 200 },
  );
});

test('property: random fragments agree with a slow reference: what completes, with which bytes, and what is abandoned', (t) => {
  const seen = { held: 0, complete: 0, abandoned: 0, duplicate: 0 };
  const place = fc.record({
    offset: fc.nat(4),
    units: fc.integer({ min: 1, max: 3 }),
    more: fc.boolean(),
    fill: fc.nat(1),
  });
  const bench = new Bench(40, { slots: 30 });
  let identification = 0;
  fc.assert(
    fc.property(fc.array(place, { minLength: 4, maxLength: 14 }), (places) => {
      identification++;
      const reference = new Map<number, { end: number; more: boolean; fill: number }>();
      for (const { offset, units, more, fill } of places) {
        if (offset === 0 && !more) continue;
        const end = offset + units;
        const frame = part4(new Uint8Array(units * 8).fill(fill + offset), { offset, more, identification });
        const wanted = refer(reference, offset, { end, more, fill });
        const verdict = bench.receive(frame);
        seen[wanted]++;
        t.is(verdict, { held: HELD, complete: COMPLETE, abandoned: DROP, duplicate: DROP }[wanted], wanted);
        if (wanted === 'complete') {
          const bytes = [...reference]
            .sort(([a], [b]) => a - b)
            .flatMap(([at, { end, fill }]) => new Array((end - at) * 8).fill(fill + at));
          const whole = bench.whole[bench.whole.length - 1];
          t.deepEqual([...whole.slice(34)], bytes);
          t.true(isHeaderSumRight(whole));
        }
        if (wanted === 'complete' || wanted === 'abandoned') reference.clear();
        t.is(bench.reassembly.held, reference.size);
      }
      // What is left over must not be in the way of the next run.
      bench.reassembly.tick(1000);
      t.is(bench.reassembly.held, 0);
    }),
    { numRuns: 3000 },
  );
  for (const [what, count] of Object.entries(seen)) t.true(count > 50, `${what}: ${count}`);
});

/** What is to become of a fragment, by the texts of RFC 791 and RFC 8200; keeps the set of those that are held. */
function refer(
  held: Map<number, { end: number; more: boolean; fill: number }>,
  offset: number,
  fragment: { end: number; more: boolean; fill: number },
): 'held' | 'complete' | 'abandoned' | 'duplicate' {
  const same = held.get(offset);
  if (same !== undefined && same.end === fragment.end && same.more === fragment.more && same.fill === fragment.fill)
    return 'duplicate';
  for (const [at, other] of held) {
    if (at < fragment.end && offset < other.end) return 'abandoned';
    if (!other.more && (!fragment.more || fragment.end >= other.end)) return 'abandoned';
    if (!fragment.more && other.end > fragment.end) return 'abandoned';
  }
  held.set(offset, fragment);
  const sorted = [...held].sort(([a], [b]) => a - b);
  let reached = 0;
  for (const [at, { end }] of sorted) {
    if (at !== reached) return 'held';
    reached = end;
  }
  return sorted[sorted.length - 1][1].more ? 'held' : 'complete';
}

test('RFC 8200, 4.5: overlapping fragments: the whole datagram is given up, each fragment counted, IPv4 as IPv6', (t) => {
  for (const part of [part4, part6]) {
    const bench = new Bench();
    t.is(bench.receive(part(numbered(16), { offset: 0, more: true })), HELD);
    t.is(bench.receive(part(numbered(16), { offset: 4, more: true })), HELD);
    t.is(bench.receive(part(numbered(16), { offset: 1, more: true })), DROP);
    t.is(bench.lastReason, DROP_FRAGMENT_INVALID);
    t.is(fragmentProblem.code, -1, 'silently');
    t.deepEqual(
      bench.givenUp.map(({ reason }) => reason),
      [DROP_FRAGMENT_INVALID, DROP_FRAGMENT_INVALID],
    );
    t.is(bench.reassembly.held, 0);
  }
});

test('a duplicate with other bytes is an overlap', (t) => {
  const bench = new Bench();
  bench.receive(part4(numbered(16), { offset: 2, more: true }));
  t.is(bench.receive(part4(numbered(16, 1), { offset: 2, more: true })), DROP);
  t.is(bench.reassembly.held, 0);
});

test('two ends, or something behind the end, are contradictions', (t) => {
  const last = { offset: 4, more: false };
  for (const [one, other] of [
    [part4(numbered(8), last), part4(numbered(8), { offset: 6, more: false })],
    [part4(numbered(8), last), part4(numbered(8), { offset: 6, more: true })],
    [part4(numbered(8), { offset: 6, more: true }), part4(numbered(8), last)],
    [part4(numbered(8), last), part4(numbered(8), { offset: 4, more: true })],
  ]) {
    const bench = new Bench();
    t.is(bench.receive(one), HELD);
    t.is(bench.receive(other), DROP);
    t.is(bench.reassembly.held, 0);
  }
});

test('RFC 791, 3.2: source, destination, identification and protocol tell datagrams apart; so does the domain', (t) => {
  const bench = new Bench();
  const rest = part4(numbered(8), { offset: 2, more: false });
  t.is(bench.receive(rest), HELD);
  const first = { offset: 0, more: true };
  t.is(bench.receive(part4(numbered(16), { ...first, identification: 9 })), HELD);
  t.is(bench.receive(part4(numbered(16), { ...first, source: 9 })), HELD);
  t.is(bench.receive(part4(numbered(16), { ...first, protocol: 9 })), HELD);
  t.is(bench.receive(part4(numbered(16), first), 0, 2), HELD, 'same addresses in another domain');
  const elsewhere = part4(numbered(16), first);
  elsewhere[33] = 77;
  t.is(bench.receive(withHeaderSum(elsewhere)), HELD);
  t.is(bench.receive(part4(numbered(16), first)), COMPLETE);
});

test('RFC 8200, 4.5: the next header does not tell IPv6 datagrams apart: that of the first fragment holds', (t) => {
  const bench = new Bench();
  t.is(bench.receive(part6(numbered(8), { offset: 2, more: false, nextHeader: 17 })), HELD);
  t.is(bench.receive(part6(numbered(8), { offset: 2, more: false, identification: 1 })), HELD);
  t.is(bench.receive(part6(numbered(8), { offset: 2, more: false, source: 9 })), HELD);
  t.is(bench.receive(part6(numbered(16), { offset: 0, more: true, nextHeader: 253 })), COMPLETE);
  t.is(bench.whole[0][20], 253);
});

test("the datagram has the first fragment's header, options included, and the Ethernet header of the last that came", (t) => {
  const bench = new Bench();
  const first = part4(numbered(16), { offset: 0, more: true }, 8);
  first[22] = 33;
  first[20] |= 0x80;
  withHeaderSum(first);
  t.is(bench.receive(first), HELD);
  const last = part4(numbered(5, 100), { offset: 2, more: false });
  last.fill(0x66, 6, 12);
  t.is(bench.receive(last), COMPLETE);
  const [whole] = bench.whole;
  t.deepEqual(whole.slice(6, 12), new Uint8Array(6).fill(0x66));
  t.is(whole[14], 0x47);
  t.is(whole[22], 33);
  t.is(viewOf(whole).getUint16(16), 28 + 21);
  t.is(viewOf(whole).getUint16(20), 0x8000);
  t.true(isHeaderSumRight(whole));
  t.deepEqual([...whole.slice(42)], [...numbered(16), ...numbered(5, 100)]);
});

test('link padding of fragments stays out of the datagram', (t) => {
  const bench = new Bench();
  for (const part of [part4(numbered(8), { offset: 1, more: false }), part4(numbered(8), { offset: 0, more: true })]) {
    const padded = new Uint8Array(60).fill(0x77);
    padded.set(part);
    bench.receive(padded);
  }
  t.deepEqual([...bench.whole[0].slice(34)], [...numbered(8), ...numbered(8)]);
});

test('the greatest IPv4 datagram, 65,535 bytes, comes together; its last fragment first', (t) => {
  const random = createRandom(3);
  const frame = withHeaderSum(ethernet(0x0800, ipv4({ protocol: 253 }, randomBytes(65_515, random))));
  const bench = new Bench(120, { slots: 110 });
  const verdicts = cut4(frame, 1280)
    .reverse()
    .map((fragment) => bench.receive(fragment));
  t.is(verdicts.pop(), COMPLETE);
  t.deepEqual(bench.whole[0], frame);
});

test('fragments that no datagram can have are dropped alone (RFC 791: beyond 65,535 bytes; odd lengths; empty)', (t) => {
  const bench = new Bench();
  t.is(bench.receive(part4(numbered(8), { offset: 0, more: true })), HELD);
  const gso = { gsoType: VNET_GSO_TCPV4, gsoSize: 8 };
  const partial = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: 2 };
  const cases: [string, Uint8Array, Offload][] = [
    ['beyond', part4(numbered(24), { offset: 8189, more: false }), {}],
    ['length 12 with more behind', part4(numbered(12), { offset: 1, more: true }), {}],
    ['empty with more behind', part4(new Uint8Array(0), { offset: 1, more: true }), {}],
    ['empty and last', part4(new Uint8Array(0), { offset: 1, more: false }), {}],
    ['GSO', part4(numbered(16), { offset: 1, more: true }), gso],
    ['checksum to come', part4(numbered(16), { offset: 1, more: true }), partial],
  ];
  for (const [what, frame, offload] of cases) {
    t.is(bench.receive(frame, 0, 1, offload), DROP, what);
    t.is(bench.lastReason, DROP_FRAGMENT_INVALID, what);
    t.is(fragmentProblem.code, -1, what);
    t.is(bench.reassembly.held, 1, what);
  }
  t.is(bench.receive(part4(numbered(8), { offset: 1, more: false })), COMPLETE, 'the others were not hurt');
});

test('a first header with options that makes the datagram longer than 65,535 bytes is one too many', (t) => {
  const bench = new Bench();
  bench.receive(part4(new Uint8Array(65_512), { offset: 0, more: true }));
  t.is(bench.receive(part4(numbered(3), { offset: 8189, more: false })), COMPLETE);
  bench.receive(part4(numbered(3), { offset: 8189, more: false }));
  t.is(bench.receive(part4(new Uint8Array(65_472), { offset: 0, more: true }, 40)), HELD);
  t.is(bench.receive(part4(new Uint8Array(40), { offset: 8184, more: true })), DROP);
  t.is(bench.reassembly.held, 0);
});

test('RFC 8200, 4.5: IPv6: a length that is no multiple of 8 is answered at the payload length', (t) => {
  const bench = new Bench();
  t.is(bench.receive(part6(numbered(12), { offset: 1, more: true })), DROP);
  t.deepEqual({ ...fragmentProblem }, { code: 0, pointer: 4 });
});

test('RFC 8200, 4.5: IPv6: a payload beyond 65,535 bytes is answered at the fragment offset', (t) => {
  const bench = new Bench();
  t.is(bench.receive(part6(numbered(24), { offset: 8190, more: false })), DROP);
  t.deepEqual({ ...fragmentProblem }, { code: 0, pointer: 42 });
  t.is(bench.receive(part6(numbered(24), { offset: 8190, more: false }, [extension(44)], 60)), DROP);
  t.deepEqual({ ...fragmentProblem }, { code: 0, pointer: 50 });
  t.is(bench.receive(part6(numbered(8), { offset: 8190, more: false })), DROP, 'no room in a slot');
  t.is(fragmentProblem.code, -1);
  t.is(bench.reassembly.held, 0);
});

test('RFC 7112, 5: IPv6: a first fragment without the transport header is answered with code 3', (t) => {
  const bench = new Bench();
  const short = [
    part6(udp({ srcPort: 1, dstPort: 2 }).slice(0, 8), { offset: 0, more: true, nextHeader: 6 }),
    part6(extension(58), { offset: 0, more: true, nextHeader: 60 }),
    part6(extension(253), { offset: 0, more: true, nextHeader: 60 }),
    part6(numbered(8), { offset: 0, more: true, nextHeader: 44 }),
  ];
  for (const frame of short) {
    t.is(bench.receive(frame), DROP);
    t.deepEqual({ ...fragmentProblem }, { code: 3, pointer: 0 });
  }
  t.is(bench.receive(part6(icmpv6(128, new Uint8Array(4)), { offset: 0, more: true, nextHeader: 58 })), HELD);
  t.is(fragmentProblem.code, -1);
});

test('timeouts: IPv4 after 30 s, IPv6 after 60 s (RFC 8200, 4.5), from the first that came, and each fragment is given up as it was', (t) => {
  for (const [part, timeout] of [
    [part4, TIMEOUT_IPV4],
    [part6, TIMEOUT_IPV6],
  ] as const) {
    const bench = new Bench();
    const later = part(numbered(16), { offset: 4, more: true });
    const first = part(numbered(16), { offset: 0, more: true });
    bench.receive(later, 1000);
    bench.receive(first, 1000 + timeout - 1);
    bench.reassembly.tick(1000 + timeout - 1);
    t.is(bench.reassembly.held, 2);
    bench.reassembly.tick(1000 + timeout);
    t.deepEqual(bench.givenUp, [
      { frame: first, reason: DROP_FRAGMENT_TIMEOUT },
      { frame: later, reason: DROP_FRAGMENT_TIMEOUT },
    ]);
    t.is(bench.reassembly.held, 0);
    bench.check();
  }
});

test('a fragment that comes too late begins anew, also where no tick came between', (t) => {
  const bench = new Bench();
  bench.receive(part4(numbered(16), { offset: 0, more: true }), 5);
  t.is(bench.receive(part4(numbered(16), { offset: 2, more: false }), 5 + TIMEOUT_IPV4), HELD);
  t.is(bench.givenUp.length, 1);
  t.is(bench.reassembly.held, 1);
});

test("RFC 3168, 5.3: congestion that one fragment met is the datagram's; beside a fragment without ECN it is dropped", (t) => {
  for (const part of [part4, part6]) {
    for (const [one, other, wanted] of [
      [2, 2, 2],
      [2, 3, 3],
      [3, 2, 3],
      [0, 0, 0],
      [1, 2, 1],
    ]) {
      const bench = new Bench();
      bench.receive(part(numbered(8), { offset: 0, more: true, ecn: one }));
      t.is(bench.receive(part(numbered(8), { offset: 1, more: false, ecn: other })), COMPLETE);
      const [whole] = bench.whole;
      t.is(part === part4 ? whole[15] & 3 : (whole[15] >> 4) & 3, wanted);
      if (part === part4) t.true(isHeaderSumRight(whole));
    }
    const bench = new Bench();
    bench.receive(part(numbered(8), { offset: 0, more: true, ecn: 0 }));
    t.is(bench.receive(part(numbered(8), { offset: 1, more: false, ecn: 3 })), DROP);
    t.is(bench.lastReason, DROP_FRAGMENT_INVALID);
    t.is(bench.givenUp.length, 1);
  }
});

test('the oldest datagram makes room for a new one', (t) => {
  const bench = new Bench(64, { datagrams: 4 });
  for (let i = 0; i < 5; i++) bench.receive(part4(numbered(8), { offset: 0, more: true, source: i }));
  t.is(bench.reassembly.held, 4);
  t.deepEqual(bench.givenUp, [
    { frame: part4(numbered(8), { offset: 0, more: true, source: 0 }), reason: DROP_FRAGMENT_LIMIT },
  ]);
});

test('the oldest datagram makes room for a slot', (t) => {
  const bench = new Bench(64, { slots: 4 });
  for (const source of [1, 2, 3, 1, 2, 3]) {
    bench.receive(part4(numbered(8), { offset: bench.received * 2, more: true, source }));
  }
  t.deepEqual(
    bench.givenUp.map(({ frame }) => viewOf(frame).getUint16(28)),
    [1, 1],
  );
  t.is(bench.reassembly.held, 4);
});

test('a source that has its share of datagrams, or of slots, makes room itself; others are not hurt', (t) => {
  const bench = new Bench(64, { datagrams: 64, slots: 40, perSource: 8 });
  bench.receive(part4(numbered(8), { offset: 0, more: true, source: 99 }));
  for (let i = 0; i < 100; i++)
    bench.receive(part4(numbered(8), { offset: 1, more: true, source: 1, identification: i }));
  t.is(bench.reassembly.held, 9);
  for (let i = 0; i < 100; i++)
    bench.receive(part4(numbered(8), { offset: i * 2, more: true, source: 1, identification: 1000 }));
  t.true(bench.reassembly.held <= 21);
  t.true(bench.givenUp.every(({ reason }) => reason === DROP_FRAGMENT_LIMIT));
  t.is(bench.receive(part4(numbered(8), { offset: 1, more: false, source: 99 })), COMPLETE);
});

test('bounded memory: 100,000 orphans of as many sources, and then a datagram comes through', (t) => {
  const bench = new Bench(300);
  const frame = part4(numbered(8), { offset: 0, more: true });
  for (let i = 0; i < 100_000; i++) {
    const view = viewOf(frame);
    view.setUint32(26, i);
    view.setUint16(18, i & 0xffff);
    view.setUint16(20, (i & 1) === 0 ? 0x2000 : 5);
    bench.receive(frame, (i / 10_000) | 0);
    bench.givenUp.length = 0;
    bench.received = bench.reassembly.held;
  }
  t.is(bench.reassembly.held, 64);
  t.is(bench.receive(part4(numbered(16), { offset: 0, more: true }), 10), HELD);
  t.is(bench.receive(part4(numbered(16), { offset: 2, more: false }), 10), COMPLETE);
  bench.reassembly.tick(100);
  t.is(bench.reassembly.held, 0);
  t.is(bench.arena.available, bench.arena.slotCount);
});

test('an arena without slots to spare holds nothing, and says so', (t) => {
  const bench = new Bench(3);
  t.is(bench.receive(part4(numbered(8), { offset: 0, more: true })), DROP);
  t.is(bench.lastReason, DROP_FRAGMENT_LIMIT);
  t.is(bench.reassembly.held, 0);
});
