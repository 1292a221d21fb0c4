import test from 'ava';
import fc from 'fast-check';
import { crc32c } from '../../../core/nat/crc32c.js';
import { isIcmpRequest, isTrackable, isTranslatable, portsOf, rewrite4, rewrite6 } from '../../../core/nat/rewrite.js';
import { completeChecksum } from '../../../core/packet/checksum.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4, VNET_GSO_TCPV6, VNET_GSO_UDP_L4 } from '../../../core/packet/vnet.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { authentication, extension, icmp, ipv4, ipv6, tcp, udp } from '../wire/build.js';
import {
  Bench,
  checksumOffset,
  DCCP,
  fullChecksum,
  ICMP,
  ICMPV6,
  isHeaderRight,
  readChecksum,
  SCTP,
  seal,
  setAddresses,
  slowCrc32c,
  slowPseudoSum,
  slowSum,
  TCP,
  UDP,
  UDP_LITE,
  writeChecksum,
} from './packets.js';

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/nat/rewrite.test.js');

const PROTOCOLS = [TCP, UDP, ICMP, ICMPV6, SCTP, DCCP, UDP_LITE];
const bench = new Bench();

function headerOf(protocol: number): Uint8Array {
  if (protocol === TCP) return tcp({ srcPort: 0, dstPort: 0, flags: 0x18 });
  if (protocol === UDP) return udp({ srcPort: 0, dstPort: 0 });
  if (protocol === ICMP) return icmp(8, new Uint8Array(4));
  if (protocol === ICMPV6) return icmp(128, new Uint8Array(4));
  return new Uint8Array(protocol === UDP_LITE ? 8 : 12);
}

function isIcmp(protocol: number): boolean {
  return protocol === ICMP || protocol === ICMPV6;
}

/** Writes a word of ports, or the identifier, as the protocol has them; says how it comes back from `portsOf`. */
function setPorts(segment: Uint8Array, protocol: number, ports: number): number {
  const view = new DataView(segment.buffer, segment.byteOffset);
  if (isIcmp(protocol)) {
    view.setUint16(4, ports & 0xffff);
    return (ports << 16) | (ports & 0xffff);
  }
  view.setInt32(0, ports);
  return ports | 0;
}

function segmentOf(protocol: number, ports: number, payload: Uint8Array): Uint8Array {
  const header = headerOf(protocol);
  const segment = new Uint8Array(header.length + payload.length);
  segment.set(header);
  segment.set(payload, header.length);
  if (protocol === UDP) new DataView(segment.buffer).setUint16(4, segment.length);
  setPorts(segment, protocol, ports);
  return segment;
}

function wordsOf(...addresses: readonly Uint8Array[]): Int32Array {
  const words = addresses.flatMap((address) => {
    const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
    return Array.from({ length: address.length / 4 }, (_, i) => view.getInt32(4 * i));
  });
  return Int32Array.from(words);
}

/** New addresses and ports for the packet in the bench, by the function for its family. */
function rewrite(source: Uint8Array, destination: Uint8Array, ports: number): void {
  const words = wordsOf(source, destination);
  if (source.length === 4) rewrite4(bench.view, bench.packet, words[0], words[1], ports);
  else rewrite6(bench.view, bench.packet, Int32Array.of(7, ...words), 1, ports);
}

const address = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const anyCase = fc.constantFrom(4, 16).chain((length) =>
  fc.record({
    protocol: fc.constantFrom(...PROTOCOLS.filter((protocol) => protocol !== (length === 4 ? ICMPV6 : ICMP))),
    before: fc.tuple(address(length), address(length)),
    after: fc.tuple(address(length), address(length)),
    keep: fc.constantFrom('none', 'source', 'destination', 'both'),
    ports: fc.tuple(fc.integer(), fc.integer()),
    payload: fc.uint8Array({ maxLength: 80 }),
    options: fc.constantFrom(0, 4, 40),
  }),
);

type Case = typeof anyCase extends fc.Arbitrary<infer T> ? T : never;

function newAddresses({ before, after, keep }: Case): [Uint8Array, Uint8Array] {
  const source = keep === 'source' || keep === 'both' ? before[0] : after[0];
  const destination = keep === 'destination' || keep === 'both' ? before[1] : after[1];
  return [source, destination];
}

test('every packet of every protocol is what it would be if it were built anew, and back again', (t) => {
  const property = fc.property(anyCase, (given) => {
    const { protocol, before, ports, payload, options } = given;
    const segment = segmentOf(protocol, ports[0], payload);
    const original = seal(before[0], before[1], protocol, segment, before[0].length === 4 ? options : 0);
    const [source, destination] = newAddresses(given);
    const translated = segment.slice();
    const expectedPorts = setPorts(translated, protocol, ports[1]);
    const expected = seal(source, destination, protocol, translated, before[0].length === 4 ? options : 0);
    const packet = bench.receive(original);
    if (!isTrackable(bench.view, packet)) throw new Error('not trackable');
    const back = portsOf(bench.view, packet);
    rewrite(source, destination, expectedPorts);
    t.deepEqual(bench.bytes, expected);
    t.is(portsOf(bench.view, packet), expectedPorts);
    if (protocol === TCP || protocol === UDP) {
      t.is(packet.srcPort, expectedPorts >>> 16);
      t.is(packet.dstPort, expectedPorts & 0xffff);
    }
    rewrite(before[0], before[1], back);
    t.deepEqual(bench.bytes, original);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 3000, seed }), rerun);
});

test('a checksum still to come is right once it has been made, and says the same of every segment', (t) => {
  const offloads = [TCP, UDP, ICMPV6, DCCP, UDP_LITE];
  const partial = anyCase.filter(({ protocol }) => offloads.includes(protocol));
  const property = fc.property(partial, fc.boolean(), (given, isSuper) => {
    const { protocol, before, ports, payload } = given;
    const isIpv4 = before[0].length === 4;
    const transport = isIpv4 ? 20 : 40;
    const original = seal(before[0], before[1], protocol, segmentOf(protocol, ports[0], payload));
    const length = original.length - transport;
    writeChecksum(
      original,
      protocol,
      transport,
      slowPseudoSum(original.slice(isIpv4 ? 12 : 8, transport), protocol, length),
    );
    const isSegmented = isSuper && (protocol === TCP || protocol === UDP);
    const gsoType = protocol === UDP ? VNET_GSO_UDP_L4 : isIpv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6;
    const packet = bench.receive(original, {
      flags: VNET_F_NEEDS_CSUM,
      gsoType: isSegmented ? gsoType : 0,
      gsoSize: isSegmented ? 40 : 0,
      checksumStart: transport,
      checksumOffset: checksumOffset(protocol),
    });
    const [source, destination] = newAddresses(given);
    rewrite(source, destination, ports[1]);
    const addresses = bench.bytes.slice(isIpv4 ? 12 : 8, transport);
    t.deepEqual(addresses, Uint8Array.from([...source, ...destination]));
    const field = readChecksum(bench.bytes, protocol, transport);
    t.is(field % 0xffff, slowPseudoSum(addresses, protocol, length) % 0xffff, 'the field is the pseudo-header sum');
    t.is(packet.vnetFlags, VNET_F_NEEDS_CSUM);
    if (isSegmented) return;
    completeChecksum(bench.arena, packet);
    const made = readChecksum(bench.bytes, protocol, transport);
    t.is(made % 0xffff, fullChecksum(bench.bytes, protocol, transport) % 0xffff);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 2000, seed }), rerun);
});

/** Two bytes of payload that give the packet the checksum; all other words are as they are. */
function steerTo(packet: Uint8Array, protocol: number, transport: number, wanted: number): void {
  const view = new DataView(packet.buffer, packet.byteOffset);
  const at = packet.length - 2;
  view.setUint16(at, 0);
  const sum = ~fullChecksum(packet, protocol, transport) & 0xffff;
  const word = (((~wanted & 0xffff) - sum + 2 * 0xffff) % 0xffff) & 0xffff;
  view.setUint16(at, word);
}

for (const protocol of [TCP, UDP]) {
  for (const length of [4, 16]) {
    const name = `${protocol === TCP ? 'TCP' : 'UDP'} over IPv${length === 4 ? 4 : 6}`;
    test(`${name}: each of the 65,536 checksums a packet can have comes out as computed anew`, (t) => {
      const transport = length === 4 ? 20 : 40;
      const before = [Uint8Array.of(...new Array(length).fill(0x11)), Uint8Array.of(...new Array(length).fill(0x22))];
      const after = [Uint8Array.of(...new Array(length).fill(0xc6)), before[1]];
      const packet = seal(before[0], before[1], protocol, segmentOf(protocol, 0x0fa01f90, new Uint8Array(2)));
      const seen = new Set<number>();
      const made = new Set<number>();
      for (let wanted = 0; wanted < 0x10000; wanted++) {
        steerTo(packet, protocol, transport, wanted);
        const checksum = fullChecksum(packet, protocol, transport);
        writeChecksum(packet, protocol, transport, checksum);
        seen.add(checksum);
        bench.receive(packet);
        rewrite(after[0], after[1], 0xea60_1f90 | 0);
        const bytes = bench.bytes;
        const now = readChecksum(bytes, protocol, transport);
        made.add(now);
        if (now !== fullChecksum(bytes, protocol, transport)) t.fail(`0x${wanted.toString(16)}`);
      }
      // A sum that is 0 needs nothing but zeros: one of both zeros never occurs. UDP sends the other.
      t.is(seen.size, 0xffff);
      t.is(made.size, 0xffff);
      t.is(made.has(0), protocol === TCP);
      t.is(made.has(0xffff), protocol === UDP);
    });
  }
}

test('the IPv4 header: each of the 65,536 checksums it can have comes out as computed anew', (t) => {
  const packet = seal([10, 1, 2, 3], [192, 0, 2, 1], TCP, segmentOf(TCP, 1, new Uint8Array(0)));
  const view = new DataView(packet.buffer);
  const made = new Set<number>();
  for (let identification = 0; identification < 0x10000; identification++) {
    view.setUint16(4, identification);
    view.setUint16(10, 0);
    view.setUint16(10, ~slowSum(packet.subarray(0, 20)) & 0xffff);
    bench.receive(packet);
    rewrite4(bench.view, bench.packet, 0xc6336401 | 0, 0xc0000201 | 0, 1);
    if (!isHeaderRight(bench.bytes)) t.fail(`identification ${identification}`);
    made.add(new DataView(bench.bytes.buffer).getUint16(10));
  }
  t.is(made.size, 0xffff);
  t.false(made.has(0xffff), 'never the zero that no sender computes');
});

test('UDP without a checksum stays without one, in both families', (t) => {
  for (const length of [4, 16]) {
    const address = (octet: number) => new Uint8Array(length).fill(octet);
    const packet = seal(address(1), address(2), UDP, segmentOf(UDP, 0x10002000, Uint8Array.of(1, 2, 3)));
    writeChecksum(packet, UDP, length === 4 ? 20 : 40, 0);
    bench.receive(packet);
    rewrite(address(3), address(4), 0x30004000);
    t.is(readChecksum(bench.bytes, UDP, length === 4 ? 20 : 40), 0);
    t.is(portsOf(bench.view, bench.packet), 0x30004000);
  }
});

test('what was damaged stays damaged by as much', (t) => {
  for (const protocol of [TCP, UDP, ICMP, SCTP, DCCP, UDP_LITE]) {
    const packet = seal([10, 0, 0, 1], [10, 0, 0, 2], protocol, segmentOf(protocol, 0x12345678, new Uint8Array(8)));
    packet[packet.length - 1] ^= 0x40;
    bench.receive(packet);
    rewrite4(bench.view, bench.packet, 1, 2, 0x7fff7fff);
    const { bytes } = bench;
    t.not(readChecksum(bytes, protocol, 20), fullChecksum(bytes, protocol, 20), `protocol ${protocol}`);
    bytes[bytes.length - 1] ^= 0x40;
    t.is(readChecksum(bytes, protocol, 20), fullChecksum(bytes, protocol, 20), `protocol ${protocol}, mended`);
  }
});

test('a checksum to come of a packet inside is not taken for the outer one', (t) => {
  const inner = seal([1, 1, 1, 1], [2, 2, 2, 2], TCP, segmentOf(TCP, 5, new Uint8Array(0)));
  const packet = seal([10, 0, 0, 1], [10, 0, 0, 2], UDP, segmentOf(UDP, 0x10002000, inner));
  bench.receive(packet, { flags: VNET_F_NEEDS_CSUM, checksumStart: 48, checksumOffset: 16 });
  rewrite4(bench.view, bench.packet, 0x01020304, 0x05060708, 0x30004000);
  t.is(readChecksum(bench.bytes, UDP, 20), fullChecksum(bench.bytes, UDP, 20));
  t.deepEqual(bench.bytes.slice(28), inner);
});

test('SCTP whose checksum was left to the device gets it, and the flag goes', (t) => {
  const packet = seal([10, 0, 0, 1], [10, 0, 0, 2], SCTP, segmentOf(SCTP, 0x10002000, new Uint8Array(37)));
  writeChecksum(packet, SCTP, 20, 0x1234);
  bench.receive(packet, { flags: VNET_F_NEEDS_CSUM, checksumStart: 20, checksumOffset: 8 });
  rewrite4(bench.view, bench.packet, 1, 2, 0x30004000);
  t.is(readChecksum(bench.bytes, SCTP, 20), fullChecksum(bench.bytes, SCTP, 20));
  t.is(bench.packet.vnetFlags, 0);
  t.is(bench.arena.bytes[bench.packet.start - 10], 0);
});

test('SCTP without a checksum stays without one', (t) => {
  const packet = seal([10, 0, 0, 1], [10, 0, 0, 2], SCTP, segmentOf(SCTP, 0x10002000, new Uint8Array(4)));
  writeChecksum(packet, SCTP, 20, 0);
  bench.receive(packet);
  rewrite4(bench.view, bench.packet, 1, 2, 0x30004000);
  t.is(readChecksum(bench.bytes, SCTP, 20), 0);
});

test('CRC32c: the check value of the polynomial, and lengths up to the longest packet', (t) => {
  const view = new DataView(new TextEncoder().encode('123456789').buffer);
  t.is(crc32c(view, 0, 9, 100) >>> 0, 0xe3069283);
  for (const length of [12, 13, 16, 100, 1480, 9000, 65515]) {
    const segment = Uint8Array.from({ length }, (_, i) => i * 7);
    bench.receive(seal([10, 0, 0, 1], [10, 0, 0, 2], SCTP, segment));
    rewrite4(bench.view, bench.packet, 1, 2, 0x30004000);
    t.is(readChecksum(bench.bytes, SCTP, 20), fullChecksum(bench.bytes, SCTP, 20), `${length} octets`);
  }
  t.is(slowCrc32c(new TextEncoder().encode('123456789')), 0xe3069283);
});

test('of protocols without ports the addresses alone change', (t) => {
  const payload = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  for (const protocol of [47, 50, 4]) {
    const packet = seal([10, 0, 0, 1], [10, 0, 0, 2], TCP, new Uint8Array(20));
    const plain = setAddresses(ipv4({ protocol }, payload), [10, 0, 0, 1], [10, 0, 0, 2]);
    plain.set(packet.slice(10, 12), 10);
    bench.receive(plain);
    t.true(isTrackable(bench.view, bench.packet));
    t.is(portsOf(bench.view, bench.packet), 0);
    rewrite4(bench.view, bench.packet, 1, 2, 0x30004000);
    t.deepEqual(bench.bytes.slice(20), payload);
    t.deepEqual(bench.bytes.slice(12, 20), Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2));
  }
});

test('a later fragment has its addresses changed, and no octet of its payload', (t) => {
  const payload = new Uint8Array(16).fill(0x77);
  const fragment = ipv4({ protocol: UDP, offset: 10 }, payload);
  bench.receive(fragment);
  t.false(isTrackable(bench.view, bench.packet));
  rewrite4(bench.view, bench.packet, 1, 2, 0x30004000);
  t.deepEqual(bench.bytes.slice(20), payload);
});

test('other ICMP messages keep their second word, and ICMPv6 has its addresses summed', (t) => {
  const error = icmp(3, Uint8Array.of(0, 0, 5, 0x14), new Uint8Array(28));
  bench.receive(seal([10, 0, 0, 1], [10, 0, 0, 2], ICMP, error));
  t.false(isTrackable(bench.view, bench.packet));
  rewrite4(bench.view, bench.packet, 1, 2, 0x30004000);
  t.deepEqual(bench.bytes.slice(24, 28), Uint8Array.of(0, 0, 5, 0x14));
  t.is(readChecksum(bench.bytes, ICMP, 20), fullChecksum(bench.bytes, ICMP, 20));
  const source = new Uint8Array(16).fill(1);
  const tooBig = icmp(2, Uint8Array.of(0, 0, 5, 0), new Uint8Array(48));
  bench.receive(seal(source, new Uint8Array(16).fill(2), ICMPV6, tooBig));
  t.false(isTrackable(bench.view, bench.packet));
  rewrite(new Uint8Array(16).fill(9), source, 0x30004000);
  t.deepEqual(bench.bytes.slice(44, 48), Uint8Array.of(0, 0, 5, 0));
  t.is(readChecksum(bench.bytes, ICMPV6, 40), fullChecksum(bench.bytes, ICMPV6, 40));
});

test('ICMP queries are trackable, and only the request begins a connection', (t) => {
  const cases: readonly (readonly [number, number, boolean, boolean])[] = [
    [ICMP, 8, true, true],
    [ICMP, 0, true, false],
    [ICMP, 13, true, true],
    [ICMP, 14, true, false],
    [ICMP, 15, false, false],
    [ICMP, 5, false, false],
    [ICMPV6, 128, true, true],
    [ICMPV6, 129, true, false],
    [ICMPV6, 8, false, false],
    [ICMPV6, 135, false, false],
  ];
  for (const [protocol, type, trackable, request] of cases) {
    const length = protocol === ICMP ? 4 : 16;
    const message = icmp(type, Uint8Array.of(0x12, 0x34, 0, 1));
    bench.receive(seal(new Uint8Array(length).fill(1), new Uint8Array(length).fill(2), protocol, message));
    t.is(isTrackable(bench.view, bench.packet), trackable, `${protocol} ${type}`);
    t.is(isIcmpRequest(bench.view, bench.packet), request, `${protocol} ${type}`);
    if (trackable) t.is(portsOf(bench.view, bench.packet), 0x12341234);
  }
});

test('an ICMP reply that consists of zeros verifies', (t) => {
  bench.receive(seal([10, 0, 0, 1], [10, 0, 0, 2], ICMP, icmp(0, Uint8Array.of(0, 7, 0, 0), new Uint8Array(8))));
  rewrite4(bench.view, bench.packet, 1, 2, 0);
  t.is(slowSum(bench.bytes.slice(20)), 0xffff);
  t.is(readChecksum(bench.bytes, ICMP, 20), 0xffff);
});

test('headers that are cut short are not trackable', (t) => {
  for (const [protocol, length] of [
    [TCP, 19],
    [UDP, 7],
    [ICMP, 7],
    [SCTP, 11],
    [DCCP, 11],
    [UDP_LITE, 7],
  ]) {
    bench.receive(ipv4({ protocol }, new Uint8Array(length).fill(0x50)));
    t.false(isTrackable(bench.view, bench.packet), `protocol ${protocol}`);
  }
});

test('what covers addresses, or hides them, is not translatable', (t) => {
  const segment = tcp({ srcPort: 1, dstPort: 2 });
  const routing = extension(TCP);
  bench.receive(ipv6({ nextHeader: 43 }, routing, segment));
  t.true(isTranslatable(bench.view, bench.packet), 'no segments left');
  routing[3] = 1;
  bench.receive(ipv6({ nextHeader: 60 }, extension(43), routing, segment));
  t.false(isTranslatable(bench.view, bench.packet), 'a segment left');
  bench.receive(ipv6({ nextHeader: 51 }, authentication(TCP), segment));
  t.false(isTranslatable(bench.view, bench.packet), 'AH over IPv6');
  bench.receive(ipv4({ protocol: 51 }, authentication(TCP), segment));
  t.false(isTranslatable(bench.view, bench.packet), 'AH over IPv4');
  bench.receive(ipv4({ protocol: TCP }, segment));
  t.true(isTranslatable(bench.view, bench.packet));
});
