/** Super-packets through tunnels: cut, bundled, split and coalesced, or handed over whole by a kernel; and what a hostile peer makes of that. */

import test, { type ExecutionContext } from 'ava';
import { COUNTER_RX_PACKETS } from '../../../core/counters.js';
import { createRandom, rerunLine, seedOfRun } from '../../support/corpus.js';
import { bytesOf, filler, ipOf, read } from '../nat/wire.js';
import {
  datagram,
  type Family,
  type Loaded,
  segment,
  superDatagram,
  superSegment,
  unfinished,
  withDontFragment,
  withTrafficClass,
} from './support/inner.js';
import {
  type Arrival,
  BLUE,
  CARRIAGES,
  type Carriage,
  container,
  delivered,
  expectWhole,
  fieldsOf,
  GREEN,
  Host,
  loadedFrames,
  Overlay,
  outersOf,
  placesOf,
  TAPS,
  UPLINK_PORT,
  underlay4,
  underlay6,
  vtepPort,
} from './support/lab.js';
import { GSO_TCPV4, GSO_UDP_L4, NEEDS_CSUM, readVirtio, wireFrames } from './support/nic.js';
import { outer, outerAround, pseudoHeader, readOuter, sumOf, vxlanHeader } from './support/outer.js';
import { TUNNEL_HEADER } from './support/tunnel-nic.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const FAMILIES: readonly Family[] = [4, 6];
const CARRIED: Readonly<Record<Carriage, string>> = {
  whole: 'bundles whole',
  wire: 'packet by packet',
  uncut: 'uncut',
  'uncut-wire': 'uncut, and cut on the way',
};

/** Two hosts that know where both containers are. */
function overlay(family: Family, checksum: boolean, carriage: Carriage): Overlay {
  const one = new Overlay(2, { family, vxlan: { [BLUE]: { checksum } } }, carriage);
  one.send(1, 1, datagram(HERE, THERE));
  one.send(2, 1, datagram(THERE, HERE));
  return one;
}

/** The same segments arrive at the one container, in order, however many packets they come in. */
function expectSame(t: ExecutionContext, arrivals: readonly Arrival[], sent: Loaded, what: string): void {
  t.true(
    arrivals.every(({ host, port }) => host === 2 && port === 1),
    `${what}: ${placesOf(arrivals)}`,
  );
  const got = arrivals.flatMap(wireFrames);
  const expected = loadedFrames(sent);
  t.is(got.length, expected.length, what);
  for (const [i, bytes] of got.entries()) {
    if (Buffer.compare(bytes, expected[i]) === 0) continue;
    t.deepEqual(bytes, expected[i], `${what}: segment ${i}`);
    return;
  }
}

/** Of several segments: in a tunnel as one packet, where the uplink has an outlet and one packet can be so long. */
function expectUncut(t: ExecutionContext, one: Overlay, { frame, vnet }: Loaded, what: string): void {
  if (one.carriage === 'whole' || one.carriage === 'wire' || loadedFrames({ frame, vnet }).length < 2) return;
  const isShort = frame.length + (one.host(1).family === 4 ? 50 : 70) <= 65_535;
  t.is(one.carried.filter((sent) => sent.vnet.length === TUNNEL_HEADER).length, isShort ? 1 : 0, what);
  if (isShort) t.is(one.carried.length, 1, what);
}

/** Neither flags nor a type of segmentation. */
const PLAIN = Uint8Array.of(0, 0);

const LENGTHS = [1, 536, 1390, 1391, 2780, 20_000, 60_000, 65_000, 65_470];

for (const family of FAMILIES) {
  for (const inside of FAMILIES) {
    for (const checksum of [false, true]) {
      for (const carriage of CARRIAGES) {
        const how = `${checksum ? 'with' : 'without'} checksums, ${CARRIED[carriage]}`;
        test(`TCP over IPv${inside} over IPv${family}, ${how}: the same segments arrive`, (t) => {
          const size = 1350;
          const one = overlay(family, checksum, carriage);
          for (const length of LENGTHS) {
            const sent = superSegment(HERE, THERE, length, size, { family: inside });
            expectSame(t, one.send(1, 1, sent.frame, sent.vnet), sent, `${length}`);
            expectUncut(t, one, sent, `${length}`);
            expectWhole(t, one, `${length}`);
          }
        });

        test(`UDP over IPv${inside} over IPv${family}, ${how}: the same datagrams arrive`, (t) => {
          const one = overlay(family, checksum, carriage);
          for (const length of [1, 900, 901, 5000, 40_000]) {
            const sent = superDatagram(HERE, THERE, length, 900, inside);
            expectSame(t, one.send(1, 1, sent.frame, sent.vnet), sent, `${length}`);
            expectUncut(t, one, sent, `${length}`);
            expectWhole(t, one, `${length}`);
          }
        });
      }
    }
  }
}

for (const inside of FAMILIES) {
  test(`TCP over IPv${inside}: what was sent in one piece arrives in one piece, byte for byte`, (t) => {
    for (const carriage of CARRIAGES) {
      for (const length of [2780, 20_000, 55_000]) {
        const one = overlay(4, true, carriage);
        const sent = superSegment(HERE, THERE, length, 1390, { family: inside });
        const arrivals = one.send(1, 1, sent.frame, sent.vnet);
        const what = `${length}, ${carriage}`;
        t.is(arrivals.length, 1, what);
        t.deepEqual(arrivals[0].frame, sent.frame, what);
        t.deepEqual(fieldsOf(arrivals[0].vnet), sent.vnet, what);
        expectWhole(t, one, what);
      }
    }
  });
}

test('a super-packet leaves as few bundles as there can be, or one by one where no checksum is sent', (t) => {
  const { frame: bytes, vnet } = superSegment(HERE, THERE, 60_000, 1390);
  for (const checksum of [false, true]) {
    const one = overlay(4, checksum, 'whole').host(1);
    const sent = one.receive(1, bytes, vnet).filter(({ port }) => port === UPLINK_PORT);
    t.is(sent.length, checksum ? 1 : 44);
    for (const { frame, vnet: header } of sent) {
      const { type, size, start, offset, flags } = readVirtio(header);
      t.true(frame.length - 14 <= 65_535);
      if (checksum)
        t.deepEqual(
          { type, size, start, offset, flags },
          { type: 5, size: 8 + 14 + 40 + 1390, start: 34, offset: 6, flags: 1 },
        );
      else t.deepEqual({ type, size, start, offset, flags }, { type: 0, size: 0, start: 0, offset: 0, flags: 0 });
    }
    expectWhole(t, one);
  }
});

test('datagrams of one bundle are 128 at most', (t) => {
  const one = overlay(4, true, 'whole');
  const sent = superDatagram(HERE, THERE, 100 * 127 + 30, 100);
  expectSame(t, one.send(1, 1, sent.frame, sent.vnet), sent, '128 small ones');
  const tiny = superSegment(HERE, THERE, 20_000, 50);
  const frames = one
    .host(1)
    .receive(1, tiny.frame, tiny.vnet)
    .filter(({ port }) => port === UPLINK_PORT);
  t.true(frames.every((each) => wireFrames(each).length <= 128));
  expectSame(t, one.send(1, 1, tiny.frame, tiny.vnet), tiny, '400 small segments');
  expectWhole(t, one);
});

test('flags of TCP: CWR on the first segment, FIN and PSH on the last', (t) => {
  for (const carriage of CARRIAGES) {
    const one = overlay(4, true, carriage);
    const whole = segment(HERE, THERE, { flags: 'PFA', data: filler(5000) });
    whole[14 + 20 + 13] |= 0x80;
    const sent = unfinished(withTrafficClass(whole, 2), 1390, true);
    expectSame(t, one.send(1, 1, sent.frame, sent.vnet), sent, carriage);
    expectWhole(t, one);
  }
});

test('options of TCP are in every segment', (t) => {
  for (const carriage of CARRIAGES) {
    const one = overlay(6, true, carriage);
    const options = [1, 1, 8, 10, 0, 0, 0x12, 0x34, 0, 0, 0x56, 0x78];
    const sent = superSegment(HERE, THERE, 30_000, 1340, { options });
    expectSame(t, one.send(1, 1, sent.frame, sent.vnet), sent, carriage);
    expectWhole(t, one);
  }
});

test('flows side by side: each arrives whole and in its order', (t) => {
  for (const carriage of CARRIAGES) {
    const one = overlay(4, true, carriage);
    const frames: Loaded[] = [];
    const flows = [5001, 5002, 5003];
    for (let round = 0; round < 8; round++) {
      for (const port of flows) {
        const data = filler(700 + round);
        const before = Array.from({ length: round }, (_, i) => 700 + i).reduce((sum, length) => sum + length, 0);
        frames.push({ frame: segment(HERE, THERE, { port, data, sequence: 1000 + before }), vnet: null });
      }
    }
    const got = one
      .sendAll(1, 1, frames)
      .flatMap(wireFrames)
      .map((bytes) => read(ipOf(bytes)));
    for (const port of flows) {
      const own = got.filter(({ sourcePort }) => sourcePort === port);
      const sequence = own.map((seen) => seen.sequence);
      t.deepEqual(
        sequence,
        [...sequence].sort((a, b) => a - b),
        carriage,
      );
      t.is(
        own.reduce((sum, { payload }) => sum + payload.length, 0),
        8 * 700 + 28,
      );
    }
    expectWhole(t, one);
  }
});

test('ports that take no super-packets: the uplink sends single, finished packets, a container gets segments', (t) => {
  for (const checksum of [false, true]) {
    for (const deferred of [false, true]) {
      const ports = { [UPLINK_PORT]: { offload: false }, 1: { offload: false } };
      const one = new Overlay(2, { deferred, ports, slots: 200, vxlan: { [BLUE]: { checksum } } });
      for (const sent of [
        superSegment(HERE, THERE, 30_000, 1390),
        superSegment(HERE, THERE, 30_000, 1370, { family: 6 }),
        superDatagram(HERE, THERE, 9000, 800),
        unfinished(segment(HERE, THERE, { data: filler(77) })),
      ]) {
        const arrivals = one.send(1, 1, sent.frame, sent.vnet);
        for (const { frame, vnet } of one.carried) {
          t.deepEqual(vnet.slice(0, 2), PLAIN);
          t.is(readOuter(frame).checksum, checksum ? 'right' : 'zero');
        }
        for (const place of ['1/2', '1/3', '2/1', '2/2', '2/3']) {
          const mine = arrivals.filter(({ host, port }) => `${host}/${port}` === place);
          t.deepEqual(mine.flatMap(wireFrames), loadedFrames(sent), place);
          if (place === '2/1') for (const { vnet } of mine) t.deepEqual(vnet.slice(0, 2), PLAIN);
        }
        expectWhole(t, one);
      }
    }
  }
});

test('a super-packet to many VTEPs and to containers here: each gets all of it', (t) => {
  for (const checksum of [false, true]) {
    for (const carriage of CARRIAGES) {
      const one = new Overlay(4, { slots: 256, vxlan: { [BLUE]: { checksum } } }, carriage);
      const sent = superSegment(HERE, THERE, 30_000, 1390);
      const arrivals = one.send(1, 1, sent.frame, sent.vnet);
      for (const place of ['1/2', '1/3', '2/1', '2/2', '3/3', '4/1']) {
        const mine = arrivals.filter(({ host, port }) => `${host}/${port}` === place).flatMap(wireFrames);
        t.deepEqual(mine, loadedFrames(sent), `${place}, ${carriage}`);
      }
      expectWhole(t, one, carriage);
    }
  }
});

test('without slots for the bundles the packet is lost, counted, and nothing else', (t) => {
  for (const slots of [1, 2, 3]) {
    for (const checksum of [false, true]) {
      const one = new Host(1, { slots, deferred: true, vxlan: { [BLUE]: { checksum } } });
      one.know(2);
      one.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2));
      const { frame: bytes, vnet } = superSegment(HERE, THERE, 60_000, 1390);
      one.receive(1, bytes, vnet);
      expectWhole(t, one, `${slots}`);
      t.true((one.txDrops(vtepPort(BLUE, 2)).no_slot ?? 0) <= 1);
      // What comes after it passes as ever.
      if (slots > 1) t.is(outersOf(one.receive(1, segment(HERE, THERE))).length, 1, `${slots}`);
    }
  }
});

test('segments that are alike in all but their network, or their VTEP, are never put together', (t) => {
  const one = new Host(1, { ports: {} });
  for (const other of [2, 3]) {
    one.know(other);
    for (const network of [BLUE, GREEN]) one.addVtep(network, vtepPort(network, other), underlay4(other));
  }
  const piece = (i: number): Uint8Array =>
    withDontFragment(segment(THERE, HERE, { data: filler(500), sequence: 1000 + 500 * i }));
  // One flow, its segments in turn from two VTEPs and in two networks: in order of their numbers, as a peer could make them fit.
  const ways = [
    { host: 2, vni: 42 },
    { host: 2, vni: 43 },
    { host: 3, vni: 42 },
    { host: 3, vni: 43 },
  ];
  const frames = Array.from({ length: 12 }, (_, i) => {
    const { host, vni } = ways[i % 4];
    return { frame: outer(one.outerFrom(host, { vni }), piece(i)), vnet: null };
  });
  const sent = one.receiveAll(UPLINK_PORT, frames);
  for (const [ports, from] of [
    [TAPS[BLUE], [0, 2]],
    [TAPS[GREEN], [1, 3]],
  ] as const) {
    for (const port of ports) {
      const got = sent.filter((each) => each.port === port).flatMap(wireFrames);
      const expected = Array.from({ length: 12 }, (_, i) => i).filter((i) => from.some((way) => way === i % 4));
      const sequences = got.map((bytes) => (read(ipOf(bytes)).sequence - 1000) / 500);
      t.deepEqual(
        [...sequences].sort((a, b) => a - b),
        expected,
        `port ${port}`,
      );
    }
  }
  t.is(sent.length, 12 * 3, 'each alone: there is a gap between any two of one VTEP and network');
  const ofOne = frames.map((_, i) => ({ frame: outer(one.outerFrom(2), piece(i)), vnet: null }));
  t.is(one.receiveAll(UPLINK_PORT, ofOne).length, 3, 'of one VTEP they are one packet');
  expectWhole(t, one);
});

test('a batch of frames of containers and of several VTEPs: each goes its way', (t) => {
  const one = new Overlay(3, { vxlan: { [BLUE]: { checksum: true } } });
  const [first, second, third] = [container(1, 1), container(2, 1), container(3, 1)];
  one.send(1, 1, datagram(first, second));
  one.send(2, 1, datagram(second, first));
  one.send(3, 1, datagram(third, first));
  const receiver = one.host(1);
  const slots: number[] = [];
  for (let i = 0; i < 6; i++) {
    for (const [host, from] of [
      [2, second],
      [3, third],
    ] as const) {
      const inner = withDontFragment(segment(from, first, { port: 5000, data: filler(800), sequence: 1 + 800 * i }));
      slots.push(receiver.load(UPLINK_PORT, outer(receiver.outerFrom(host), inner)));
    }
    const out = superSegment(first, second, 5000, 1390, { sequence: 1 + 5000 * i });
    slots.push(receiver.load(1, out.frame, out.vnet));
  }
  const sent = receiver.sentBy(() => receiver.dataplane.processBatch(Int32Array.from(slots), slots.length));
  const arrived = delivered(sent)
    .flatMap(wireFrames)
    .map((bytes) => read(ipOf(bytes)));
  for (const from of [second, third]) {
    const mine = arrived.filter(({ source }) => source === from.v4).map(({ sequence }) => sequence);
    t.deepEqual(mine, [1, 801, 1601, 2401, 3201, 4001], from.v4);
  }
  t.is(delivered(sent).length, 2, 'one packet for each flow');
  t.is(outersOf(sent).length, 6 * 4);
  expectWhole(t, one);
});

// --- what a kernel hands over

/** As a kernel's VTEP does on this machine: the whole super-packet behind one outer header, its inner checksum still to come. */
function tunnelled(one: Host, inner: Loaded, outside: 'zero' | 'partial'): Loaded {
  const fields = one.outerFrom(2);
  const frame = outer(fields, inner.frame);
  const by = frame.length - inner.frame.length;
  if (outside === 'partial') {
    const l4 = by - 16;
    const sum = sumOf(pseudoHeader(bytesOf(fields.from), bytesOf(fields.to), 17, frame.length - l4));
    frame.set([sum >> 8, sum & 255], l4 + 6);
  }
  const { vnet } = inner;
  return {
    frame,
    vnet: {
      ...vnet,
      headerLength: (vnet?.headerLength ?? 0) === 0 ? 0 : (vnet?.headerLength ?? 0) + by,
      checksumStart: (vnet?.checksumStart ?? 0) + by,
    },
  };
}

function receiver(family: Family): Host {
  const one = new Host(1, { family });
  one.know(2);
  one.addVtep(BLUE, vtepPort(BLUE, 2), family === 4 ? underlay4(2) : underlay6(2));
  one.receive(1, datagram(HERE, container(1, 2)));
  return one;
}

for (const family of FAMILIES) {
  for (const inside of FAMILIES) {
    test(`the kernel's tunnelled super-packets, IPv${inside} over IPv${family}: handed on as they are`, (t) => {
      const one = receiver(family);
      // Linux makes none larger than 65,535 bytes, all headers included.
      const room = 65_535 - (family === 4 ? 50 : 70) - 14 - (inside === 4 ? 40 : 60);
      for (const outside of ['zero', 'partial'] as const) {
        for (const length of [1, 3000, room]) {
          const inner = superSegment(THERE, HERE, length, 1350, { family: inside });
          const { frame: bytes, vnet } = tunnelled(one, inner, outside);
          const sent = one.receive(UPLINK_PORT, bytes, vnet);
          t.is(sent.length, 1, `${length}, ${outside}`);
          t.deepEqual(sent[0].frame, inner.frame);
          t.deepEqual(fieldsOf(sent[0].vnet), inner.vnet);
        }
        const datagrams = superDatagram(THERE, HERE, 9000, 900, inside);
        const packet = tunnelled(one, datagrams, outside);
        const sent = one.receive(UPLINK_PORT, packet.frame, packet.vnet);
        t.deepEqual(
          sent.map((each) => each.frame),
          [datagrams.frame],
        );
        t.deepEqual(fieldsOf(sent[0].vnet), datagrams.vnet);
      }
      expectWhole(t, one);
    });

    test(`one packet of a kernel with its checksum still to come, IPv${inside} over IPv${family}`, (t) => {
      const one = receiver(family);
      for (const whole of [
        segment(THERE, HERE, { family: inside, data: filler(99) }),
        datagram(THERE, HERE, { family: inside }),
      ]) {
        const inner = unfinished(whole);
        // The outer checksum, where it is sent, is right for when the inner one is finished (Linux: local checksum offload).
        for (const checksum of ['zero', 'right'] as const) {
          const bytes = outer(one.outerFrom(2, { checksum }), whole);
          const by = bytes.length - whole.length;
          bytes.set(inner.frame, by);
          const vnet = { ...inner.vnet, checksumStart: (inner.vnet?.checksumStart ?? 0) + by };
          const sent = one.receive(UPLINK_PORT, bytes, vnet);
          t.deepEqual(sent.flatMap(wireFrames), [whole], checksum);
        }
        // Or the outer one is the card's, or nobody's.
        const bytes = outer(one.outerFrom(2, { checksum: 'wrong' }), whole);
        const l4 = family === 4 ? 34 : 54;
        const sent = one.receive(UPLINK_PORT, bytes, { flags: NEEDS_CSUM, checksumStart: l4, checksumOffset: 6 });
        t.deepEqual(sent.flatMap(wireFrames), [whole], 'outer still to come');
        t.deepEqual([...sent[0].vnet], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
      }
      expectWhole(t, one);
    });
  }
}

test('a super-packet is one packet for the counters, at each door', (t) => {
  const one = receiver(4);
  const inner = superSegment(THERE, HERE, 20_000, 1350);
  const { frame: bytes, vnet } = tunnelled(one, inner, 'zero');
  const changes = one.changes(() => one.receive(UPLINK_PORT, bytes, vnet));
  t.deepEqual(changes, { 1: { tx: 1 }, [UPLINK_PORT]: { rx: 1, local: 1 }, [vtepPort(BLUE, 2)]: { rx: 1 } });
});

// --- hostile bundles

interface Bundle {
  readonly datagrams: readonly (readonly number[])[];
  readonly gsoSize?: number;
  readonly gsoType?: number;
  readonly start?: number;
  readonly flags?: number;
}

/** A UDP super-packet from a peer. */
function bundle(one: Host, { datagrams, gsoSize, gsoType = GSO_UDP_L4, start, flags = NEEDS_CSUM }: Bundle): Loaded {
  const frame = outerAround(one.outerFrom(2, { checksum: 'wrong' }), datagrams.flat());
  const l4 = one.family === 4 ? 34 : 54;
  return {
    frame,
    vnet: {
      flags,
      gsoType,
      headerLength: l4 + 8,
      gsoSize: gsoSize ?? datagrams[0].length,
      checksumStart: start ?? l4,
      checksumOffset: 6,
    },
  };
}

const packed = (inner: Uint8Array, fields: Parameters<typeof vxlanHeader>[0] = {}): number[] => [
  ...vxlanHeader(fields),
  ...inner,
];

for (const family of FAMILIES) {
  test(`over IPv${family}: a bundle of a peer's is taken apart: equal datagrams, a shorter last one`, (t) => {
    const one = receiver(family);
    const inners = [1, 2, 3, 4, 5].map((port) => datagram(THERE, HERE, { port: 1000 + port, data: filler(200) }));
    const last = datagram(THERE, HERE, { port: 2000, data: filler(20) });
    for (const all of [inners, [...inners, last], inners.slice(0, 1)]) {
      const { frame: bytes, vnet } = bundle(one, { datagrams: all.map((inner) => packed(inner)) });
      t.deepEqual(one.receive(UPLINK_PORT, bytes, vnet).flatMap(wireFrames), all);
    }
    expectWhole(t, one);
  });

  test(`over IPv${family}: datagrams of a bundle with different VXLAN headers are no bundle`, (t) => {
    const one = receiver(family);
    const inner = datagram(THERE, HERE, { data: filler(200) });
    const others = [
      { vni: 43 },
      { vni: 41 },
      { flags: 0 },
      { flags: 0x88 },
      { reserved: 7 },
      { last: 1 },
      { flags: 0x0c, reserved: 3 },
    ];
    for (const fields of others) {
      for (const at of [1, 2]) {
        const datagrams = [0, 1, 2].map((i) => packed(inner, i === at ? fields : {}));
        const { frame: bytes, vnet } = bundle(one, { datagrams });
        const sent = one.receive(UPLINK_PORT, bytes, vnet);
        // Each taken for itself or all refused, but never into a network that its own header does not name.
        t.true(
          delivered(sent).every(({ port }) => port <= 3),
          JSON.stringify(fields),
        );
        t.true(sent.flatMap(wireFrames).length < 3, JSON.stringify(fields));
        expectWhole(t, one, JSON.stringify(fields));
      }
    }
  });

  test(`over IPv${family}: a bundle's first header says whose it is, as that of any packet`, (t) => {
    const one = receiver(family);
    const inner = datagram(THERE, HERE, { data: filler(200) });
    for (const [fields, reason] of [
      [{ vni: 4711 }, 'vxlan_vni'],
      [{ flags: 0 }, 'vxlan_malformed'],
      [{ flags: 0x0c, reserved: 3 }, 'vxlan_gpe'],
    ] as const) {
      const { frame: bytes, vnet } = bundle(one, { datagrams: [packed(inner, fields), packed(inner, fields)] });
      t.deepEqual(one.receive(UPLINK_PORT, bytes, vnet), []);
      t.is(one.rxDrops(UPLINK_PORT)[reason], 1);
    }
    expectWhole(t, one);
  });

  test(`over IPv${family}: sizes that lie, of every kind, throw nothing and lose no slot`, (t) => {
    const one = receiver(family);
    const inner = packed(datagram(THERE, HERE, { data: filler(120) }));
    const total = 3 * inner.length;
    const sizes = [
      1,
      7,
      8,
      9,
      21,
      22,
      23,
      29,
      30,
      31,
      inner.length - 1,
      inner.length + 1,
      total - 1,
      total,
      total + 1,
      0x7fff,
      0xffff,
    ];
    for (const gsoSize of sizes) {
      for (const start of [undefined, 14, 50, 70, 84, 0xffff]) {
        for (const gsoType of [GSO_UDP_L4, GSO_UDP_L4 | 0x80, GSO_TCPV4, 4, 3]) {
          for (const flags of [0, NEEDS_CSUM, 2, 3]) {
            const spec = { datagrams: [inner, inner, inner], gsoSize, gsoType, flags };
            const { frame: bytes, vnet } = bundle(one, start === undefined ? spec : { ...spec, start });
            one.receive(UPLINK_PORT, bytes, vnet);
          }
        }
      }
      expectWhole(t, one, `size ${gsoSize}`);
    }
  });
}

test('inner frames of a bundle that are cut short, or are none, are dropped one by one', (t) => {
  const one = receiver(4);
  const good = datagram(THERE, HERE, { data: filler(60) });
  const bad = good.slice();
  bad.fill(0xff, 14, 40);
  const { frame: bytes, vnet } = bundle(one, { datagrams: [packed(good), packed(bad), packed(good)] });
  const got = one.receive(UPLINK_PORT, bytes, vnet).flatMap(wireFrames);
  // A bridge does not look at what is in a frame; and what cannot be merged need not wait for what can.
  t.deepEqual(got.sort(Buffer.compare), [good, good, bad].sort(Buffer.compare));
  for (let length = 0; length < 22; length++) {
    const short = bundle(one, { datagrams: [packed(good), packed(good).slice(0, length)] });
    t.true(one.receive(UPLINK_PORT, short.frame, short.vnet).flatMap(wireFrames).length <= 1, `${length}`);
  }
  expectWhole(t, one);
});

test('a bundle, and no free slots: what finds none is counted', (t) => {
  const one = new Host(1, { slots: 1, gateway: false });
  one.know(2);
  one.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2));
  const inners = [1, 2, 3, 4].map((port) => packed(datagram(THERE, HERE, { port: 1000 + port, data: filler(200) })));
  const { frame: bytes, vnet } = bundle(one, { datagrams: inners });
  const sent = one.receive(UPLINK_PORT, bytes, vnet);
  const lost = one.rxDrops(vtepPort(BLUE, 2)).no_slot ?? 0;
  t.is(one.counter(vtepPort(BLUE, 2), COUNTER_RX_PACKETS), sent.length / 3 + lost);
  expectWhole(t, one);
});

test('random bundles: any headers, lengths and sizes', (t) => {
  const seed = seedOfRun();
  const random = createRandom(seed);
  const rerun = rerunLine(seed, 'dist/test/core/vxlan/super.test.js');
  const one = receiver(4);
  const size = (): number => [random(64), random(1500), 8 + random(40)][random(3)];
  let taken = 0;
  for (let round = 0; round < 3000; round++) {
    const stride = Math.max(1, size());
    const inner =
      random(2) === 0
        ? superSegment(THERE, HERE, 1 + random(3000), 500).frame
        : datagram(THERE, HERE, { data: filler(random(1400)) });
    const count = 1 + random(5);
    const datagrams = Array.from({ length: count }, () => {
      const fields = random(8) === 0 ? { vni: 40 + random(4), flags: random(256), reserved: random(0x1000000) } : {};
      const bytes = packed(inner, fields);
      return random(3) === 0 ? bytes.slice(0, random(bytes.length)) : bytes.slice(0, stride);
    });
    const gsoSize = random(3) === 0 ? random(0x10000) : datagrams[0].length;
    const spec = { datagrams, gsoSize, flags: random(4), gsoType: [GSO_UDP_L4, GSO_TCPV4, 4, 0, 0x85][random(5)] };
    const { frame: bytes, vnet } = bundle(one, random(4) === 0 ? { ...spec, start: random(200) } : spec);
    if (bytes.length > 65_549) continue;
    taken += one.receive(UPLINK_PORT, bytes, vnet).length;
    if (one.dataplane.lastError !== null || !one.isWhole) {
      expectWhole(t, one, `round ${round}; ${rerun}\n${Buffer.from(bytes).toString('hex')} ${JSON.stringify(vnet)}`);
      return;
    }
  }
  t.true(taken > 100, 'some are good enough to get through');
});
