/** Coalescing: what may be merged is, byte for byte what was cut; nothing else is. */

import test from 'ava';
import fc from 'fast-check';
import { COALESCE_ALL, COALESCE_NONE, COALESCE_TCP } from '../../../core/offload/coalesce.js';
import { VNET_F_DATA_VALID } from '../../../core/packet/vnet.js';
import { hex, Lab, taken } from './lab.js';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  finishedFrame,
  gsoOf,
  layoutOf,
  NEEDS_CSUM,
  NO_OFFLOAD,
  type PacketSpec,
  PLAIN,
  PSH,
  partialFrame,
  put16,
  RST,
  SYN,
  URG,
} from './packets.js';
import { fill, packetSpecs } from './specs.js';

const LAB = new Lab();

/** Without what keeps a packet from being merged. */
function mergeable(spec: PacketSpec): PacketSpec {
  return { ...spec, tags: [], extra: 0 };
}

/** What coalescing makes of one flow's segments: the packet that was cut, or the one frame. */
function expected(spec: PacketSpec, size: number): ReturnType<typeof taken> {
  if (spec.payload.length <= size) return taken(finishedFrame(spec));
  return taken(partialFrame(spec), gsoOf(spec, size));
}

/** Segments of 100 bytes each. */
function stream(count: number, change: Partial<PacketSpec> = {}): PacketSpec {
  return { ...PLAIN, payload: fill(100 * count, 7), ...change };
}

/** Two segments of a stream, the second one changed; how many packets come out, and that they are the same bytes if two. */
function pair(change: Partial<PacketSpec>, first: Partial<PacketSpec> = {}): number {
  const before = { ...stream(1), ...first };
  const after = {
    ...before,
    identification: (before.identification + 1) & 0xffff,
    sequence: (before.sequence + before.payload.length) | 0,
    payload: fill(100, 9),
    ...change,
  };
  const frames = [finishedFrame(before), finishedFrame(after)];
  for (const frame of frames) LAB.give(frame, COALESCE_ALL);
  const got = LAB.flush();
  const bytes = got.map((packet) => packet.bytes);
  // Of another flow, the second may come out first.
  return got.length === 2 && !frames.every((frame) => bytes.includes(hex(frame))) ? -1 : got.length;
}

test('segmenting and then coalescing is the identity: bytes and virtio-net header', (t) => {
  fc.assert(
    fc.property(packetSpecs(), fc.boolean(), ({ spec: any, size }, isBundle) => {
      const spec = mergeable(any);
      const segments = LAB.cut(partialFrame(spec), gsoOf(spec, size));
      if (isBundle) t.is(LAB.giveBundle(segments, COALESCE_ALL), 0);
      else for (const segment of segments) LAB.give(segment, COALESCE_ALL);
      t.deepEqual(LAB.flush(), [expected(spec, size)]);
    }),
    { numRuns: 400 },
  );
});

test('the greatest packets there are', (t) => {
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      const spec = stream(0, { isIpv4, isTcp, payload: fill(65_535 - (isIpv4 ? 20 : 40) - (isTcp ? 32 : 8), 3) });
      for (const isBundle of [true, false]) {
        const segments = LAB.cut(partialFrame(spec), gsoOf(spec, 1398));
        if (isBundle) LAB.giveBundle(segments.slice(0, 40), COALESCE_ALL);
        for (const segment of isBundle ? segments.slice(40) : segments) LAB.give(segment, COALESCE_ALL);
        t.deepEqual(LAB.flush(), [expected(spec, 1398)]);
      }
    }
  }
});

test('a packet does not grow beyond 65,535 bytes: what follows begins another one', (t) => {
  const spec = stream(0, { payload: fill(100_000, 3) });
  const segments: Uint8Array[] = [];
  for (let at = 0, i = 0; at < 100_000; at += 1000, i++) {
    const payload = spec.payload.subarray(at, at + 1000);
    segments.push(finishedFrame({ ...spec, sequence: spec.sequence + at, identification: i, payload }));
  }
  for (const segment of segments) LAB.give(segment, COALESCE_TCP);
  const whole = { ...spec, identification: 0 };
  t.deepEqual(LAB.flush(), [
    expected({ ...whole, payload: spec.payload.subarray(0, 65_000) }, 1000),
    expected(
      { ...whole, identification: 65, sequence: spec.sequence + 65_000, payload: spec.payload.subarray(65_000) },
      1000,
    ),
  ]);
});

test('whatever differs in the headers keeps two segments apart', (t) => {
  t.is(pair({}), 1);
  for (const change of [
    { tos: 1 },
    { tos: 3 },
    { ttl: 63 },
    { dontFragment: false },
    { identification: 0x1236 },
    { identification: 0x1233 },
    { ports: [40000, 81] },
    { ports: [40001, 80] },
    { acknowledgment: 1 },
    { window: 1 },
    { flags: ACK | ECE },
    { flags: 0 },
    { options: Uint8Array.of(1, 1, 8, 10, 0, 0, 1, 3, 0, 0, 3, 4) },
    { options: Uint8Array.of(1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 5) },
    { options: Uint8Array.of(1, 1, 8, 10, 0, 0, 1, 2) },
    { options: Uint8Array.of() },
    { sequence: PLAIN.sequence + 99 },
    { sequence: PLAIN.sequence + 101 },
    { sequence: PLAIN.sequence },
    { extra: 4 },
    { tags: [1] },
    { isIpv4: false },
    { isTcp: false },
    { payload: fill(101, 3) },
    { payload: new Uint8Array(0) },
    { flags: ACK | SYN },
    { flags: ACK | RST },
    { flags: ACK | URG },
    { flags: ACK | CWR },
  ] as Partial<PacketSpec>[]) {
    t.is(pair(change), 2, JSON.stringify(change));
  }
  for (const change of [
    { tos: 1 },
    { ttl: 63 },
    { ports: [40000, 81] },
    { acknowledgment: 1 },
    { window: 1 },
    { extra: 1 },
    { sequence: PLAIN.sequence + 99 },
  ] as Partial<PacketSpec>[]) {
    t.is(pair(change, { isIpv4: false }), 2, JSON.stringify(change));
  }
  t.is(pair({}, { isIpv4: false }), 1);
});

test('each octet of Ethernet and IP headers and of TCP up to its options is looked at', (t) => {
  const may = new Set<number>();
  const first = finishedFrame(stream(1));
  const second = finishedFrame({
    ...stream(1),
    identification: PLAIN.identification + 1,
    sequence: PLAIN.sequence + 100,
    payload: fill(100, 9),
  });
  for (let at = 0; at < layoutOf(PLAIN).payload; at++) {
    for (const bit of [0x01, 0x08, 0x10, 0x80]) {
      const changed = second.slice();
      changed[at] ^= bit;
      LAB.give(first, COALESCE_ALL);
      // The checksum counts as verified, so that it is not what tells them apart.
      LAB.give(changed, COALESCE_ALL, { ...NO_OFFLOAD, vnetFlags: VNET_F_DATA_VALID });
      const got = LAB.flush();
      if (got.length === 1) may.add(at);
      else t.deepEqual(got.map(({ bytes }) => bytes).toSorted(), [hex(first), hex(changed)].toSorted());
    }
  }
  // Flags (FIN, PSH), and TCP's own checksum and urgent pointer: without URG it says nothing.
  t.deepEqual([...may], [14 + 20 + 13, 14 + 20 + 16, 14 + 20 + 17, 14 + 20 + 18, 14 + 20 + 19]);
});

test('IPv4 identifications count up, around the end as well; or are all the same where DF is set', (t) => {
  const ids = (list: readonly number[], dontFragment: boolean): number => {
    list.forEach((identification, i) => {
      const sequence = PLAIN.sequence + 100 * i;
      LAB.give(finishedFrame(stream(1, { identification, dontFragment, sequence })), COALESCE_TCP);
    });
    return LAB.flush().length;
  };
  t.is(ids([0xfffe, 0xffff, 0, 1], true), 1);
  t.is(ids([0xfffe, 0xffff, 0, 1], false), 1);
  t.is(ids([7, 7, 7, 7], true), 1);
  t.is(ids([0, 0, 0, 0], true), 1);
  t.is(ids([7, 7, 7, 7], false), 4);
  t.is(ids([7, 7, 8, 9], true), 2, 'two with the same, then two that count');
  t.is(ids([7, 8, 8, 9], true), 2);
  t.is(ids([7, 9, 11], true), 3);
  t.is(ids([7, 6, 5], true), 3);
});

test('PSH, FIN and a shorter segment end a packet, and go on with it at once', (t) => {
  for (const [flags, length] of [
    [ACK | PSH, 100],
    [ACK | FIN, 100],
    [ACK | PSH | FIN, 60],
    [ACK, 99],
    [ACK, 1],
  ]) {
    const whole = stream(0, { flags, payload: fill(200 + length, 5) });
    for (const segment of LAB.cut(partialFrame(whole), gsoOf(whole, 100))) LAB.give(segment, COALESCE_TCP);
    t.is(LAB.coalescer.held, 0);
    t.deepEqual(LAB.got.splice(0), [expected(whole, 100)]);
  }
});

test('what is merged with nothing leaves as it came; what nothing can follow is not held', (t) => {
  const data = finishedFrame(stream(1));
  for (const vnet of [
    NO_OFFLOAD,
    { ...NO_OFFLOAD, vnetFlags: VNET_F_DATA_VALID },
    { ...gsoOf(stream(1), 100), gsoType: 0, gsoSize: 0 },
  ]) {
    LAB.give(data, COALESCE_TCP, vnet, 5);
    t.is(LAB.coalescer.held, 1);
    t.deepEqual(LAB.flush(), [taken(data, vnet, 5)]);
  }
  for (const flags of [ACK | PSH, ACK | FIN, ACK | SYN, ACK | RST, ACK | URG]) {
    const frame = finishedFrame(stream(1, { flags }));
    LAB.give(frame, COALESCE_TCP);
    t.is(LAB.coalescer.held, 0);
    t.deepEqual(LAB.flush(), [taken(frame)]);
  }
  const ack = finishedFrame(stream(0));
  LAB.give(ack, COALESCE_TCP);
  t.is(LAB.coalescer.held, 0);
  t.deepEqual(LAB.flush(), [taken(ack)]);
});

test('a pure ACK of a flow goes on behind what is held of it, and before what comes then', (t) => {
  const spec = stream(4);
  const segments = LAB.cut(partialFrame(spec), gsoOf(spec, 100));
  const other = finishedFrame(stream(1, { ports: [1, 2] }));
  const ack = finishedFrame(stream(0, { acknowledgment: 99 }));
  for (const frame of [segments[0], other, segments[1], ack, segments[2], segments[3]]) LAB.give(frame, COALESCE_TCP);
  const half = spec.payload.length / 2;
  const later = { identification: PLAIN.identification + 2, sequence: PLAIN.sequence + half };
  t.deepEqual(LAB.flush(), [
    expected({ ...spec, payload: spec.payload.subarray(0, half) }, 100),
    taken(ack),
    taken(other),
    expected({ ...spec, ...later, payload: spec.payload.subarray(half) }, 100),
  ]);
});

test('CWR in the first segment is said of the packet; in a later one it begins another', (t) => {
  const spec = stream(3, { flags: ACK | CWR | ECE });
  const segments = LAB.cut(partialFrame(spec), gsoOf(spec, 100));
  for (const segment of segments) LAB.give(segment, COALESCE_TCP);
  const [packet] = LAB.flush();
  t.deepEqual(packet, expected(spec, 100));
  t.is(packet.vnet.gsoType, 0x81);
  t.is(pair({ flags: ACK | CWR }), 2);
});

test('wrong checksums: the segment passes as it is, and in order', (t) => {
  const spec = stream(5);
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      for (let broken = 0; broken < 5; broken++) {
        for (const isBundle of [true, false]) {
          const whole = { ...spec, isIpv4, isTcp };
          const segments = LAB.cut(partialFrame(whole), gsoOf(whole, 100));
          segments[broken][segments[broken].length - 1] ^= 0x40;
          if (isBundle) LAB.giveBundle(segments, COALESCE_ALL);
          else for (const segment of segments) LAB.give(segment, COALESCE_ALL);
          const got = LAB.flush();
          const alone = got.filter(({ bytes }) => bytes === hex(segments[broken]));
          t.deepEqual(alone, [taken(segments[broken])]);
          const runs = [broken, 1, 4 - broken].filter((length) => length > 0).length;
          t.is(got.length, runs, `segment ${broken}`);
          t.is(payloads(got.map(({ bytes }) => Buffer.from(bytes, 'hex'))), payloads(segments));
        }
      }
    }
  }
  const frame = finishedFrame(spec);
  frame[14 + 10] ^= 1;
  LAB.give(frame, COALESCE_ALL);
  t.is(LAB.coalescer.held, 0, 'nor is a wrong IPv4 header held');
  t.deepEqual(LAB.flush(), [taken(frame)]);
});

/** The payloads of frames of the same family, one behind the other. */
function payloads(frames: readonly Uint8Array[]): string {
  return frames
    .map((frame) => {
      const l4 = frame[12] === 0x08 ? 34 : 54;
      const isTcp = frame[l4 - (l4 === 34 ? 11 : 34)] === 6;
      return hex(frame.subarray(l4 + (isTcp ? 32 : 8)));
    })
    .join('');
}

test('checksums that are verified already, or still to come, are not looked at', (t) => {
  const spec = stream(3);
  const wrong = LAB.cut(partialFrame(spec), gsoOf(spec, 100)).map((frame) => {
    put16(frame, 14 + 20 + 16, 0xabcd);
    return frame;
  });
  const toCome = { ...gsoOf(spec, 0), gsoType: 0, headerLength: 0 };
  for (const vnet of [toCome, { ...NO_OFFLOAD, vnetFlags: VNET_F_DATA_VALID }]) {
    for (const frame of wrong) LAB.give(frame, COALESCE_TCP, vnet);
    t.deepEqual(LAB.flush(), [expected(spec, 100)]);
  }
  for (const elsewhere of [{ checksumStart: 33 }, { checksumOffset: 6 }]) {
    const vnet = { ...toCome, ...elsewhere };
    t.is(vnet.vnetFlags, NEEDS_CSUM);
    for (const frame of wrong) LAB.give(frame, COALESCE_TCP, vnet);
    t.deepEqual(
      LAB.flush(),
      wrong.map((frame) => taken(frame, vnet)),
    );
  }
});

test('a packet that has segments already passes, behind what is held of its flow', (t) => {
  const first = finishedFrame(stream(1));
  const spec = stream(3, { sequence: PLAIN.sequence + 100, identification: PLAIN.identification + 1 });
  LAB.give(first, COALESCE_TCP);
  LAB.give(partialFrame(spec), COALESCE_TCP, gsoOf(spec, 100));
  t.is(LAB.coalescer.held, 0);
  t.deepEqual(LAB.flush(), [taken(first), taken(partialFrame(spec), gsoOf(spec, 100))]);
});

test('what the port does not take is not coalesced', (t) => {
  const spec = stream(3);
  for (const [isTcp, what, count] of [
    [true, COALESCE_NONE, 3],
    [true, COALESCE_TCP, 1],
    [true, COALESCE_ALL, 1],
    [false, COALESCE_NONE, 3],
    [false, COALESCE_TCP, 3],
    [false, COALESCE_ALL, 1],
  ] as const) {
    const whole = { ...spec, isTcp };
    for (const segment of LAB.cut(partialFrame(whole), gsoOf(whole, 100))) LAB.give(segment, what);
    t.is(LAB.flush().length, count);
  }
});

test('UDP: 128 datagrams, of the same length but the last, and with checksums', (t) => {
  const spec = stream(130, { isTcp: false });
  const segments = LAB.cut(partialFrame(spec), gsoOf(spec, 100));
  for (const segment of segments) LAB.give(segment, COALESCE_ALL);
  const got = LAB.flush();
  t.deepEqual(
    got.map(({ bytes }) => bytes.length / 2 - 42),
    [12_800, 200],
  );
  t.deepEqual(got[0], expected({ ...spec, payload: spec.payload.subarray(0, 12_800) }, 100));
  t.is(pair({ payload: fill(40, 2) }, { isTcp: false }), 1);
  t.is(pair({ payload: fill(101, 2) }, { isTcp: false }), 2);
  for (const segment of segments.slice(0, 2)) {
    put16(segment, 14 + 20 + 6, 0);
    LAB.give(segment, COALESCE_ALL);
    t.is(LAB.coalescer.held, 0);
  }
  t.is(LAB.flush().length, 2);
});

test('the same flow from two ports is two flows', (t) => {
  const spec = stream(6);
  LAB.cut(partialFrame(spec), gsoOf(spec, 100)).forEach((segment, i) => {
    LAB.give(segment, COALESCE_TCP, NO_OFFLOAD, 1 + (i % 2));
  });
  t.deepEqual(
    LAB.flush().map(({ port }) => port),
    [1, 2, 1, 2, 1, 2],
    'of each every other segment is missing',
  );
});

test('more flows than are held at once: nothing is lost, and order is kept', (t) => {
  for (const flows of [63, 64, 65, 128, 200]) {
    const frames: Uint8Array[] = [];
    for (let round = 0; round < 3; round++) {
      for (let flow = 0; flow < flows; flow++) {
        const sequence = PLAIN.sequence + 100 * round;
        const identification = PLAIN.identification + round;
        frames.push(
          finishedFrame(stream(1, { ports: [flow, 80], sequence, identification, payload: fill(100, round) })),
        );
      }
    }
    for (const frame of frames) LAB.give(frame, COALESCE_TCP);
    t.true(LAB.coalescer.held <= 64);
    const got = LAB.flush();
    if (flows <= 64) t.is(got.length, flows);
    for (let flow = 0; flow < flows; flow++) {
      const ofFlow = (bytes: Uint8Array): boolean => bytes[34] === flow >> 8 && bytes[35] === (flow & 255);
      const sent = payloads(frames.filter(ofFlow));
      t.is(payloads(got.map(({ bytes }) => Buffer.from(bytes, 'hex')).filter(ofFlow)), sent);
    }
  }
});

test('fragments, IP options and extension headers pass behind all that is held', (t) => {
  const held = finishedFrame(stream(1));
  const fragment = finishedFrame(stream(1));
  put16(fragment, 14 + 6, 0x2000);
  for (const frame of [
    fragment,
    finishedFrame(stream(1, { extra: 4 })),
    finishedFrame(stream(1, { isIpv4: false, extra: 1 })),
  ]) {
    LAB.give(held, COALESCE_TCP);
    LAB.give(frame, COALESCE_TCP);
    t.is(LAB.coalescer.held, 0);
    t.deepEqual(LAB.flush(), [taken(held), taken(frame)]);
  }
});

test('what is no TCP or UDP over IP passes at once, before what is held', (t) => {
  const held = finishedFrame(stream(1));
  const arp = finishedFrame(stream(1));
  arp[13] = 0x06;
  const icmp = finishedFrame(stream(1));
  icmp[14 + 9] = 1;
  for (const frame of [arp, icmp, finishedFrame(stream(1, { tags: [9] })), new Uint8Array(0), new Uint8Array(13)]) {
    LAB.give(held, COALESCE_TCP);
    LAB.give(frame, COALESCE_TCP);
    t.deepEqual(LAB.flush(), [taken(frame), taken(held)]);
  }
});

test('no truncation and no changed octet loses a frame, or lets it be merged unless its checksums agree', (t) => {
  let merged = 0;
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      const spec = stream(2, { isIpv4, isTcp, payload: fill(40, 1) });
      const [first, second] = LAB.cut(partialFrame(spec), gsoOf(spec, 20));
      for (let length = 0; length <= second.length; length++) {
        for (const isBundle of [true, false]) {
          const cut = second.subarray(0, length);
          if (isBundle) LAB.giveBundle([first, cut], COALESCE_ALL);
          else for (const frame of [first, cut]) LAB.give(frame, COALESCE_ALL);
          const got = LAB.flush();
          if (length === second.length) t.deepEqual(got, [expected(spec, 20)]);
          else if (length > 0) t.deepEqual(got.map(({ bytes }) => bytes).toSorted(), [hex(first), hex(cut)].toSorted());
        }
      }
      for (let at = 0; at < second.length; at++) {
        for (let bit = 0; bit < 8; bit++) {
          const changed = second.slice();
          changed[at] ^= 1 << bit;
          for (const frame of [first, changed]) LAB.give(frame, COALESCE_ALL);
          const got = LAB.flush();
          merged += 2 - got.length;
          if (got.length === 2) {
            t.deepEqual(got.map(({ bytes }) => bytes).toSorted(), [hex(first), hex(changed)].toSorted());
          }
        }
      }
    }
  }
  t.is(merged, 0);
});

test('a sink that gives further packets meanwhile loses none', (t) => {
  const lab = new Lab();
  const spec = stream(3, { ports: [9, 9] });
  const segments = lab.cut(partialFrame(spec), gsoOf(spec, 100));
  const mine = stream(4);
  let left = 70;
  lab.onPacket = () => {
    if (left-- <= 0) return;
    lab.give(segments[left % 3], COALESCE_TCP);
    lab.giveBundle(segments, COALESCE_TCP);
  };
  for (let i = 0; i < 100; i++) lab.give(finishedFrame(stream(1, { ports: [i, 80] })), COALESCE_TCP);
  lab.giveBundle(lab.cut(partialFrame(mine), gsoOf(mine, 100)), COALESCE_TCP);
  const got = lab.flush();
  const bytes = got.reduce((sum, packet) => sum + packet.bytes.length / 2 - 66, 0);
  t.is(bytes, 100 * 100 + 400 + 70 * 400);
});
