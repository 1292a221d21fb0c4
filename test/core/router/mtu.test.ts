import test from 'ava';
import fc from 'fast-check';
import {
  readVnetHeader,
  VNET_F_NEEDS_CSUM,
  VNET_GSO_ECN,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP,
  VNET_GSO_UDP_L4,
} from '../../../core/packet/vnet.js';
import { clampMss, exceedsMtu, shrinkSegments } from '../../../core/router/mtu.js';
import { ethernet, extension, ipv4, ipv6, tcp, udp } from '../wire/build.js';
import {
  createArena,
  frameOf,
  isTransportSumRight4,
  isTransportSumRight6,
  load,
  type Offload,
  viewOf,
  withTcpSum,
} from './slots.js';

const SYN = 0x02;

function segment4(payload: number, options = 0, fields: { dontFragment?: boolean; more?: boolean } = {}): Uint8Array {
  return ethernet(
    0x0800,
    ipv4({ protocol: 6, ...fields }, tcp({ srcPort: 1, dstPort: 2, options }, new Uint8Array(payload))),
  );
}

function segment6(payload: number): Uint8Array {
  return ethernet(0x86dd, ipv6({ nextHeader: 6 }, tcp({ srcPort: 1, dstPort: 2 }, new Uint8Array(payload))));
}

function exceeds(frame: Uint8Array, mtu: number, offload: Offload = {}): boolean {
  const arena = createArena(1);
  return exceedsMtu(arena.view, load(arena, frame, offload), mtu);
}

/** The greatest packet that does not exceed must be `length`, not a byte more or less. */
function limit(
  t: { is(a: unknown, b: unknown): void },
  frame: Uint8Array,
  length: number,
  offload: Offload = {},
): void {
  t.is(exceeds(frame, length, offload), false);
  t.is(exceeds(frame, length - 1, offload), true);
}

test('a packet without GSO counts by its own length, link padding not', (t) => {
  limit(t, segment4(100), 140);
  limit(t, segment6(100), 160);
  const padded = new Uint8Array(60 + 14);
  padded.set(segment4(2));
  limit(t, padded, 42);
});

test('RFC 1812, 5.2.7.1 with GSO: the segments count, each with network and transport header, whatever hdr_len says', (t) => {
  for (const headerLength of [0, 54, 66, 200]) {
    limit(t, segment4(60_000), 1448 + 40, { gsoType: VNET_GSO_TCPV4, gsoSize: 1448, headerLength });
    limit(t, segment4(60_000, 12), 1448 + 52, { gsoType: VNET_GSO_TCPV4, gsoSize: 1448, headerLength });
    limit(t, segment6(60_000), 1428 + 60, { gsoType: VNET_GSO_TCPV6 | VNET_GSO_ECN, gsoSize: 1428, headerLength });
  }
  const chain = ethernet(
    0x86dd,
    ipv6({ nextHeader: 0 }, extension(6), tcp({ srcPort: 1, dstPort: 2 }, new Uint8Array(9000))),
  );
  limit(t, chain, 1000 + 68, { gsoType: VNET_GSO_TCPV6, gsoSize: 1000 });
  const datagrams = ethernet(0x0800, ipv4({ protocol: 17 }, udp({ srcPort: 1, dstPort: 2 }, new Uint8Array(9000))));
  limit(t, datagrams, 1200 + 28, { gsoType: VNET_GSO_UDP_L4, gsoSize: 1200 });
  limit(t, datagrams, 1480 + 20, { gsoType: VNET_GSO_UDP, gsoSize: 1480 });
});

test('a GSO packet that is one short segment counts by its length', (t) => {
  limit(t, segment4(10), 50, { gsoType: VNET_GSO_TCPV4, gsoSize: 1448 });
});

test('a GSO packet that is not what its type says counts as a whole', (t) => {
  const datagram = ethernet(0x0800, ipv4({ protocol: 17 }, udp({ srcPort: 1, dstPort: 2 }, new Uint8Array(9000))));
  limit(t, datagram, 9028, { gsoType: VNET_GSO_TCPV4, gsoSize: 100 });
  limit(t, segment4(9000), 9040, { gsoType: VNET_GSO_UDP_L4, gsoSize: 100 });
  limit(t, segment4(9000, 0, { more: true }), 9040, { gsoType: VNET_GSO_TCPV4, gsoSize: 100 });
});

test('segments of an IPv4 packet that may be fragmented are cut smaller, in handle and header', (t) => {
  const arena = createArena(1);
  const packet = load(arena, segment4(60_000, 12), { gsoType: VNET_GSO_TCPV4, gsoSize: 1448 });
  t.true(shrinkSegments(arena, packet, 1280));
  t.is(packet.gsoSize, 1280 - 52);
  readVnetHeader(arena, packet);
  t.is(packet.gsoSize, 1280 - 52);
  t.false(exceedsMtu(arena.view, packet, 1280));
  t.true(shrinkSegments(arena, packet, 1500), 'those that fit are not made larger');
  t.is(packet.gsoSize, 1280 - 52);
  t.true(shrinkSegments(arena, packet, 53));
  t.is(packet.gsoSize, 1);
});

test('no segments are cut smaller with DF, over IPv6, of UDP, without GSO, or below a byte', (t) => {
  const gso = { gsoType: VNET_GSO_TCPV4, gsoSize: 1448 };
  const datagram = ethernet(0x0800, ipv4({ protocol: 17 }, udp({ srcPort: 1, dstPort: 2 }, new Uint8Array(9000))));
  const cases: [Uint8Array, Offload, number][] = [
    [segment4(9000, 0, { dontFragment: true }), gso, 1280],
    [segment6(9000), { gsoType: VNET_GSO_TCPV6, gsoSize: 1428 }, 1280],
    [segment6(9000), gso, 1280],
    [datagram, { gsoType: VNET_GSO_UDP_L4, gsoSize: 1448 }, 1280],
    [segment4(9000), {}, 1280],
    [segment4(9000), gso, 40],
    [segment4(9000, 0, { more: true }), gso, 1280],
  ];
  for (const [frame, offload, mtu] of cases) {
    const arena = createArena(1);
    const packet = load(arena, frame, offload);
    const before = arena.bytes.slice();
    t.false(shrinkSegments(arena, packet, mtu));
    t.is(packet.gsoSize, offload.gsoSize ?? 0);
    t.deepEqual(arena.bytes, before);
  }
});

/** A SYN with these options, filled up to 32 bits, and a right checksum. */
function syn(options: number[], isIpv6 = false, flags = SYN): Uint8Array {
  const padded = [...options];
  while (padded.length % 4 !== 0) padded.push(0);
  const segment = tcp({ srcPort: 40_000, dstPort: 80, options: padded.length, flags }, Uint8Array.of(0xff, 0xff, 3));
  segment.set(padded, 20);
  return withTcpSum(
    isIpv6 ? ethernet(0x86dd, ipv6({ nextHeader: 6 }, segment)) : ethernet(0x0800, ipv4({ protocol: 6 }, segment)),
  );
}

function clamp(frame: Uint8Array, mtu: number, offload: Offload = {}): Uint8Array {
  const arena = createArena(1);
  const packet = load(arena, frame, offload);
  clampMss(arena.view, packet, mtu);
  return frameOf(arena, packet);
}

const MSS_1460 = [2, 4, 0x05, 0xb4];

test('RFC 6691: the MSS of a SYN is lowered to the MTU less the fixed headers, IPv4 and IPv6; the checksum stays right', (t) => {
  const four = clamp(syn(MSS_1460), 1280);
  t.is(viewOf(four).getUint16(56), 1240);
  t.true(isTransportSumRight4(four));
  const six = clamp(syn(MSS_1460, true), 1280);
  t.is(viewOf(six).getUint16(76), 1220);
  t.true(isTransportSumRight6(six));
  t.is(viewOf(clamp(syn(MSS_1460, false, SYN | 0x10), 1280)).getUint16(56), 1240, 'SYN and ACK too');
});

test('a smaller MSS, a missing one, and a segment without SYN stay as they are', (t) => {
  for (const frame of [
    syn([2, 4, 0x04, 0xd8]),
    syn([2, 4, 0, 1]),
    syn([]),
    syn([4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
    syn(MSS_1460, false, 0x10),
  ]) {
    t.deepEqual(clamp(frame, 1280), frame);
  }
});

test('a fragment that is not the first has no options to look at', (t) => {
  const later = syn(MSS_1460);
  viewOf(later).setUint16(20, 2);
  t.deepEqual(clamp(later, 1280), later);
});

test('a broken list of options ends the search', (t) => {
  for (const options of [
    [3, 0, ...MSS_1460],
    [3, 1, ...MSS_1460],
    [3, 60, ...MSS_1460],
    [0, ...MSS_1460],
    [2, 3, 0xff],
    [2, 6, 0xff, 0xff, 1, 1],
    [1, 1, 1, 2],
    [1, 1, 2, 4],
  ]) {
    const frame = syn(options);
    t.deepEqual(clamp(frame, 1280), frame, options.join(' '));
  }
});

test('a checksum that is still to come stays a partial sum', (t) => {
  const frame = syn(MSS_1460);
  const clamped = clamp(frame, 1280, { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: 16 });
  viewOf(frame).setUint16(56, 1240);
  t.deepEqual(clamped, frame);
});

test('property: wherever the option stands, odd places included, only it and the checksum change, and the checksum is right', (t) => {
  let changed = 0;
  fc.assert(
    fc.property(
      fc.nat(20),
      fc.integer({ min: 1, max: 65535 }),
      fc.integer({ min: 68, max: 65535 }),
      fc.boolean(),
      (at, mss, mtu, isIpv6) => {
        const frame = syn([...new Array(at).fill(1), 2, 4, mss >> 8, mss & 255], isIpv6);
        const clamped = clamp(frame, mtu, {});
        const l4 = isIpv6 ? 54 : 34;
        const wanted = Math.min(mss, Math.max(mtu - (isIpv6 ? 60 : 40), isIpv6 && mtu <= 60 ? mss : 1));
        t.is(viewOf(clamped).getUint16(l4 + 22 + at), wanted);
        t.true(isIpv6 ? isTransportSumRight6(clamped) : isTransportSumRight4(clamped));
        if (wanted !== mss) changed++;
        for (const bytes of [frame, clamped]) {
          viewOf(bytes).setUint16(l4 + 22 + at, 0);
          viewOf(bytes).setUint16(l4 + 16, 0);
        }
        t.deepEqual(clamped, frame);
      },
    ),
    { numRuns: 500 },
  );
  t.true(changed > 50);
});
