import test from 'ava';
import fc from 'fast-check';
import { DROP_ICMP_INVALID, DROP_IP_CHECKSUM, DROP_NO_FLOW, DROP_NONE } from '../../../core/drop.js';
import {
  embedded,
  isIcmpError,
  readEmbedded4,
  readEmbedded6,
  translateError4,
  translateError6,
} from '../../../core/nat/icmp-error.js';
import { completeChecksum } from '../../../core/packet/checksum.js';
import { VNET_F_NEEDS_CSUM } from '../../../core/packet/vnet.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { authentication, extension, fragmentHeader, icmp, ipv4, ipv6, tcp, udp } from '../wire/build.js';
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
  sealHeader,
  setAddresses,
  slowPseudoSum,
  TCP,
  UDP,
  UDP_LITE,
  writeChecksum,
} from './packets.js';

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/nat/icmp-error.test.js');

const bench = new Bench();

const INSIDE = [172, 30, 0, 2];
const OUTSIDE = [10, 77, 0, 1];
const SERVER = [192, 0, 2, 7];
const ROUTER = [198, 51, 100, 1];

function wide(octet: number): number[] {
  return new Array(16).fill(octet);
}

const INSIDE6 = wide(0x2a);
const OUTSIDE6 = wide(0x3b);
const SERVER6 = wide(0x4c);
const ROUTER6 = wide(0x5d);

function wordOf(address: readonly number[]): number {
  return new DataView(Uint8Array.from(address).buffer).getInt32(0);
}

function wordsOf(...addresses: readonly (readonly number[])[]): Int32Array {
  const view = new DataView(Uint8Array.from(addresses.flat()).buffer);
  return Int32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getInt32(4 * i));
}

/** A transport header with these ports (source in the upper half), or this identifier, and 40 octets behind. */
function segmentOf(protocol: number, ports: number): Uint8Array {
  const payload = Uint8Array.from({ length: 40 }, (_, i) => i * 5);
  const fields = { srcPort: ports >>> 16, dstPort: ports & 0xffff };
  if (protocol === TCP) return tcp(fields, payload);
  if (protocol === UDP) return udp(fields, payload);
  if (protocol === ICMP || protocol === ICMPV6) {
    return icmp(protocol === ICMP ? 8 : 128, Uint8Array.of((ports >>> 8) & 0xff, ports & 0xff, 0, 1), payload);
  }
  const segment = new Uint8Array(52).fill(0x33);
  new DataView(segment.buffer).setUint32(0, ports >>> 0);
  return segment;
}

/** An error from the router about `quote`. `word`: the second word of its header. */
function errorAbout(to: readonly number[], quote: Uint8Array, type: number, word = 0, extensions = new Uint8Array(0)) {
  const head = Uint8Array.of(word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff);
  const isIpv4 = to.length === 4;
  return seal(isIpv4 ? ROUTER : ROUTER6, to, isIpv4 ? ICMP : ICMPV6, icmp(type, head, quote, extensions));
}

function read(bytes: Uint8Array): number {
  const packet = bench.receive(bytes);
  if (!isIcmpError(bench.view, packet)) return -1;
  return bytes[0] >> 4 === 4 ? readEmbedded4(bench.view, packet) : readEmbedded6(bench.view, packet);
}

/** What is to be seen of the packet that was sent: of a checksum that is quoted in part, that part as it came. */
function cutTo(length: number, sent: Uint8Array, quote: Uint8Array, protocol: number, transport: number): Uint8Array {
  const cut = sent.slice(0, length);
  const at = transport + checksumOffset(protocol);
  const isCut = length > at && length < at + (protocol === SCTP ? 4 : 2);
  if (isCut) cut.set(quote.slice(at, length), at);
  return cut;
}

const before = 0xea611f90 | 0;
const after = 0x9c401f90 | 0;

/** What an identifier's word looks like. */
function portsFor(protocol: number, ports: number): number {
  if (protocol !== ICMP && protocol !== ICMPV6) return ports;
  return (ports << 16) | (ports & 0xffff);
}

for (const [name, protocol] of Object.entries({ TCP, UDP, ICMP, SCTP, DCCP, UDP_LITE })) {
  test(`RFC 5508 REQ-4: an error about ${name} comes to who sent it, as if nothing had been translated`, (t) => {
    for (const options of [0, 12]) {
      const sent = seal(INSIDE, SERVER, protocol, segmentOf(protocol, after), options);
      const quote = seal(OUTSIDE, SERVER, protocol, segmentOf(protocol, before), options);
      for (let length = 20 + options + 8; length <= quote.length; length++) {
        for (const [type, word] of [
          [3, 1400],
          [11, 0],
          [12, 0x09000000],
        ]) {
          t.is(read(errorAbout(OUTSIDE, quote.slice(0, length), type, word)), DROP_NONE);
          t.is(embedded.protocol, protocol);
          t.is(embedded.source, wordOf(OUTSIDE));
          t.is(embedded.destination, wordOf(SERVER));
          t.is(embedded.ports, portsFor(protocol, before));
          const ports = portsFor(protocol, after);
          translateError4(
            bench.view,
            bench.packet,
            wordOf(ROUTER),
            wordOf(INSIDE),
            wordOf(INSIDE),
            wordOf(SERVER),
            ports,
          );
          t.deepEqual(
            bench.bytes,
            errorAbout(INSIDE, cutTo(length, sent, quote, protocol, 20 + options), type, word),
            `${length} of type ${type}`,
          );
        }
      }
    }
  });
}

for (const [name, protocol] of Object.entries({ TCP, UDP, ICMPV6, SCTP, DCCP, UDP_LITE })) {
  test(`an ICMPv6 error about ${name} comes to who sent it, as if nothing had been translated`, (t) => {
    const sent = seal(INSIDE6, SERVER6, protocol, segmentOf(protocol, after));
    const quote = seal(OUTSIDE6, SERVER6, protocol, segmentOf(protocol, before));
    for (let length = 40 + 8; length <= quote.length; length++) {
      for (const [type, word] of [
        [1, 0],
        [2, 1400],
        [3, 0],
        [4, 6],
      ]) {
        t.is(read(errorAbout(OUTSIDE6, quote.slice(0, length), type, word)), DROP_NONE);
        t.is(embedded.protocol, protocol);
        t.deepEqual(embedded.words, wordsOf(OUTSIDE6, SERVER6));
        t.is(embedded.ports, portsFor(protocol, before));
        const words = wordsOf(ROUTER6, INSIDE6, INSIDE6, SERVER6);
        translateError6(bench.view, bench.packet, Int32Array.of(1, ...words), 1, portsFor(protocol, after));
        t.deepEqual(
          bench.bytes,
          errorAbout(INSIDE6, cutTo(length, sent, quote, protocol, 40), type, word),
          `${length} of type ${type}`,
        );
      }
    }
  });
}

test('RFC 5508 REQ-5: an error from inside is sent from outside, about what came from outside', (t) => {
  const came = seal(SERVER, OUTSIDE, UDP, segmentOf(UDP, 0x14510035));
  const quote = seal(SERVER, INSIDE, UDP, segmentOf(UDP, 0x14511035));
  const error = seal(INSIDE, SERVER, ICMP, icmp(3, new Uint8Array(4), quote));
  t.is(read(error), DROP_NONE);
  t.is(embedded.ports, 0x14511035);
  translateError4(
    bench.view,
    bench.packet,
    wordOf(OUTSIDE),
    wordOf(SERVER),
    wordOf(SERVER),
    wordOf(OUTSIDE),
    0x14510035,
  );
  t.deepEqual(bench.bytes, seal(OUTSIDE, SERVER, ICMP, icmp(3, new Uint8Array(4), came)));
});

test('whatever the addresses and ports, all checksums are right', (t) => {
  const address = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const property = fc.property(
    fc.constantFrom(TCP, UDP, ICMP, UDP_LITE, DCCP),
    fc.tuple(address, address, address, address, address, address),
    fc.tuple(fc.integer(), fc.integer()),
    (protocol, [source, destination, router, newRouter, newSource, newDestination], [old, ports]) => {
      const quote = seal(source, destination, protocol, segmentOf(protocol, old));
      const error = seal(router, source, ICMP, icmp(3, new Uint8Array(4), quote));
      t.is(read(error), DROP_NONE);
      const [a, b, c] = [newRouter, newSource, newDestination].map((bytes) => wordOf([...bytes]));
      translateError4(bench.view, bench.packet, a, b, b, c, portsFor(protocol, ports));
      const { bytes } = bench;
      t.true(isHeaderRight(bytes));
      t.is(readChecksum(bytes, ICMP, 20), fullChecksum(bytes, ICMP, 20));
      const inner = bytes.slice(28);
      t.true(isHeaderRight(inner));
      t.is(readChecksum(inner, protocol, 20), fullChecksum(inner, protocol, 20));
      t.deepEqual(inner, seal(newSource, newDestination, protocol, segmentOf(protocol, ports)));
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 1000, seed }), rerun);
});

test('RFC 5508 REQ-3: a wrong ICMP checksum', (t) => {
  const error = errorAbout(OUTSIDE, seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, before)), 3);
  error[23] ^= 1;
  t.is(read(error), DROP_ICMP_INVALID);
  const error6 = errorAbout(OUTSIDE6, seal(OUTSIDE6, SERVER6, UDP, segmentOf(UDP, before)), 1);
  error6[43] ^= 1;
  t.is(read(error6), DROP_ICMP_INVALID);
});

test('RFC 5508 REQ-3: a wrong checksum of the quoted header', (t) => {
  const quote = seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, before));
  quote[11] ^= 1;
  t.is(read(errorAbout(OUTSIDE, quote, 3)), DROP_IP_CHECKSUM);
});

test('RFC 5508 REQ-3: a quoted transport checksum is not checked, and stays as wrong as it was', (t) => {
  const quote = seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, before));
  writeChecksum(quote, UDP, 20, 0x1234);
  t.is(read(errorAbout(OUTSIDE, quote, 3)), DROP_NONE);
  translateError4(bench.view, bench.packet, wordOf(ROUTER), wordOf(INSIDE), wordOf(INSIDE), wordOf(SERVER), after);
  const inner = bench.bytes.slice(28);
  t.not(readChecksum(inner, UDP, 20), 0x1234);
  t.not(readChecksum(inner, UDP, 20), fullChecksum(inner, UDP, 20));
  t.is(readChecksum(bench.bytes, ICMP, 20), fullChecksum(bench.bytes, ICMP, 20));
});

test('a quoted UDP checksum of 0 stays 0', (t) => {
  const quote = seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, before));
  writeChecksum(quote, UDP, 20, 0);
  t.is(read(errorAbout(OUTSIDE, quote, 3)), DROP_NONE);
  translateError4(bench.view, bench.packet, wordOf(ROUTER), wordOf(INSIDE), wordOf(INSIDE), wordOf(SERVER), after);
  t.is(readChecksum(bench.bytes.slice(28), UDP, 20), 0);
});

test('RFC 5508 REQ-3: extensions behind the quote are left alone, be it shorter than a header', (t) => {
  const extensions = Uint8Array.of(0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 0, 0, 0x10, 0x41);
  // 28 octets, seven words: no checksum of TCP is in the quote, though octets follow where it would be.
  const quote = seal(OUTSIDE, SERVER, TCP, segmentOf(TCP, before)).slice(0, 28);
  t.is(read(errorAbout(OUTSIDE, quote, 11, 7 << 16, extensions)), DROP_NONE);
  t.is(embedded.end - embedded.l3, 28);
  translateError4(bench.view, bench.packet, wordOf(ROUTER), wordOf(INSIDE), wordOf(INSIDE), wordOf(SERVER), after);
  const sent = seal(INSIDE, SERVER, TCP, segmentOf(TCP, after)).slice(0, 28);
  t.deepEqual(bench.bytes, errorAbout(INSIDE, sent, 11, 7 << 16, extensions));
  const quote6 = seal(OUTSIDE6, SERVER6, TCP, segmentOf(TCP, before)).slice(0, 48);
  t.is(read(errorAbout(OUTSIDE6, quote6, 3, 6 << 24, extensions)), DROP_NONE);
  translateError6(bench.view, bench.packet, wordsOf(ROUTER6, INSIDE6, INSIDE6, SERVER6), 0, after);
  const sent6 = seal(INSIDE6, SERVER6, TCP, segmentOf(TCP, after)).slice(0, 48);
  t.deepEqual(bench.bytes, errorAbout(INSIDE6, sent6, 3, 6 << 24, extensions));
});

test('what is quoted beyond the quoted packet is none of it', (t) => {
  const quote = seal(OUTSIDE, SERVER, UDP, udp({ srcPort: 1, dstPort: 2 }));
  t.is(read(errorAbout(OUTSIDE, Uint8Array.of(...quote, 9, 9, 9, 9), 3)), DROP_NONE);
  t.is(embedded.end - embedded.l3, 28);
});

test('an error to another than who sent the quoted packet is not believed', (t) => {
  t.is(read(errorAbout([10, 77, 0, 2], seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, 1)), 3)), DROP_ICMP_INVALID);
  t.is(read(errorAbout(wide(1), seal(OUTSIDE6, SERVER6, UDP, segmentOf(UDP, 1)), 1)), DROP_ICMP_INVALID);
});

test('other ICMP messages are no errors that are translated', (t) => {
  const quote = seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, 1));
  const errors = Array.from({ length: 256 }, (_, type) => type).filter(
    (type) => read(errorAbout(OUTSIDE, quote, type)) >= 0,
  );
  t.deepEqual(errors, [3, 11, 12]);
  const quote6 = seal(OUTSIDE6, SERVER6, UDP, segmentOf(UDP, 1));
  const errors6 = Array.from({ length: 256 }, (_, type) => type).filter(
    (type) => read(errorAbout(OUTSIDE6, quote6, type)) >= 0,
  );
  t.deepEqual(errors6, [1, 2, 3, 4]);
});

test('quotes that name no connection', (t) => {
  const later = sealHeader(setAddresses(ipv4({ protocol: UDP, offset: 3 }, new Uint8Array(20)), OUTSIDE, SERVER));
  t.is(read(errorAbout(OUTSIDE, later, 3)), DROP_NO_FLOW, 'a later fragment');
  const nested = seal(OUTSIDE, SERVER, ICMP, icmp(3, new Uint8Array(40)));
  t.is(read(errorAbout(OUTSIDE, nested, 3)), DROP_NO_FLOW, 'an error');
  const tcpQuote = seal(OUTSIDE, SERVER, TCP, segmentOf(TCP, 1));
  for (let length = 0; length < 24; length++) {
    t.is(read(errorAbout(OUTSIDE, tcpQuote.slice(0, length), 3)), length < 20 ? DROP_ICMP_INVALID : DROP_NO_FLOW);
  }
  const echo = seal(OUTSIDE, SERVER, ICMP, segmentOf(ICMP, 1));
  t.is(read(errorAbout(OUTSIDE, echo.slice(0, 25), 3)), DROP_NO_FLOW, 'no identifier');
  const tcp6 = seal(OUTSIDE6, SERVER6, TCP, segmentOf(TCP, 1));
  for (let length = 0; length < 44; length++) {
    t.is(read(errorAbout(OUTSIDE6, tcp6.slice(0, length), 1)), length < 40 ? DROP_ICMP_INVALID : DROP_NO_FLOW);
  }
});

test('quotes that contradict themselves', (t) => {
  const bent = (change: (quote: Uint8Array) => void) => {
    const quote = seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, 1));
    change(quote);
    return read(errorAbout(OUTSIDE, quote, 3));
  };
  const resealed = (at: number, value: number) => (quote: Uint8Array) => {
    quote[at] = value;
    if (at !== 0) sealHeader(quote);
  };
  t.is(bent(resealed(0, 0x65)), DROP_ICMP_INVALID, 'version 6');
  t.is(bent(resealed(0, 0x44)), DROP_ICMP_INVALID, 'header of 16 octets');
  t.is(bent(resealed(3, 19)), DROP_ICMP_INVALID, 'total length of 19');
  t.is(bent(resealed(2, 0xff)), DROP_NONE, 'a total length beyond the quote is usual');
  const quote6 = seal(OUTSIDE6, SERVER6, UDP, segmentOf(UDP, 1));
  quote6[0] = 0x45;
  t.is(read(errorAbout(OUTSIDE6, quote6, 1)), DROP_ICMP_INVALID);
});

test('extension headers of a quoted IPv6 packet are walked past', (t) => {
  const segment = segmentOf(UDP, before);
  const quote = (first: number, ...parts: Uint8Array[]) =>
    errorAbout(OUTSIDE6, setAddresses(ipv6({ nextHeader: first }, ...parts), OUTSIDE6, SERVER6), 1);
  t.is(read(quote(0, extension(60), extension(51, 16), authentication(UDP), segment)), DROP_NONE);
  t.is(embedded.ports, before);
  t.is(embedded.protocol, UDP);
  const fragment = { nextHeader: UDP, offset: 0, more: true };
  t.is(read(quote(44, fragmentHeader(fragment), segment)), DROP_NONE);
  t.is(read(quote(44, fragmentHeader({ ...fragment, offset: 1 }), segment)), DROP_NO_FLOW);
  const routing = extension(UDP);
  routing[3] = 1;
  t.is(read(quote(43, routing, segment)), DROP_NO_FLOW, 'segments left');
  t.is(read(quote(60, ...new Array(9).fill(extension(60)), segment)), DROP_NO_FLOW, 'too many');
  t.is(read(quote(60, extension(60, 8, 200), segment)), DROP_NO_FLOW, 'beyond the quote');
  t.is(read(quote(60, extension(60))), DROP_NO_FLOW, 'cut');
});

test('of protocols without ports the quoted addresses alone are translated', (t) => {
  const quote = sealHeader(setAddresses(ipv4({ protocol: 47 }, new Uint8Array(20).fill(6)), OUTSIDE, SERVER));
  t.is(read(errorAbout(OUTSIDE, quote, 3)), DROP_NONE);
  t.is(embedded.ports, 0);
  translateError4(bench.view, bench.packet, wordOf(ROUTER), wordOf(INSIDE), wordOf(INSIDE), wordOf(SERVER), 12345);
  const sent = sealHeader(setAddresses(ipv4({ protocol: 47 }, new Uint8Array(20).fill(6)), INSIDE, SERVER));
  t.deepEqual(bench.bytes, errorAbout(INSIDE, sent, 3));
});

test('an error whose checksum is still to come gets the right one', (t) => {
  const offload = (transport: number) => ({
    flags: VNET_F_NEEDS_CSUM,
    checksumStart: transport,
    checksumOffset: 2,
  });
  const error = errorAbout(OUTSIDE, seal(OUTSIDE, SERVER, UDP, segmentOf(UDP, before)), 3);
  writeChecksum(error, ICMP, 20, 0);
  const packet = bench.receive(error, offload(20));
  t.is(readEmbedded4(bench.view, packet), DROP_NONE);
  translateError4(bench.view, packet, wordOf(ROUTER), wordOf(INSIDE), wordOf(INSIDE), wordOf(SERVER), after);
  completeChecksum(bench.arena, packet);
  t.is(readChecksum(bench.bytes, ICMP, 20), fullChecksum(bench.bytes, ICMP, 20));
  const error6 = errorAbout(OUTSIDE6, seal(OUTSIDE6, SERVER6, UDP, segmentOf(UDP, before)), 1);
  writeChecksum(error6, ICMPV6, 40, slowPseudoSum(error6.slice(8, 40), ICMPV6, error6.length - 40));
  bench.receive(error6, offload(40));
  t.is(readEmbedded6(bench.view, packet), DROP_NONE);
  translateError6(bench.view, packet, wordsOf(ROUTER6, INSIDE6, INSIDE6, SERVER6), 0, after);
  completeChecksum(bench.arena, packet);
  t.is(readChecksum(bench.bytes, ICMPV6, 40), fullChecksum(bench.bytes, ICMPV6, 40));
});

test('no quote, however broken, is read beyond its packet or throws', (t) => {
  const random = fc.property(
    fc.boolean(),
    fc.uint8Array({ maxLength: 120 }),
    fc.integer(),
    fc.boolean(),
    (isIpv6, noise, word, isHeaderKept) => {
      const quote = isIpv6
        ? seal(OUTSIDE6, SERVER6, TCP, segmentOf(TCP, 1))
        : seal(OUTSIDE, SERVER, TCP, segmentOf(TCP, 1));
      const kept = isHeaderKept ? (isIpv6 ? 6 : 20) : 0;
      const bytes = Uint8Array.of(...quote.slice(0, kept), ...noise);
      const reason = read(errorAbout(isIpv6 ? OUTSIDE6 : OUTSIDE, bytes, isIpv6 ? 1 : 3, word));
      if (reason !== DROP_NONE) return;
      t.true(embedded.end <= bench.packet.l3End && embedded.l4 <= embedded.end);
      const behind = bench.arena.bytes.slice(bench.packet.l3End, bench.packet.l3End + 64);
      if (isIpv6) translateError6(bench.view, bench.packet, wordsOf(ROUTER6, INSIDE6, INSIDE6, SERVER6), 0, after);
      else translateError4(bench.view, bench.packet, 1, 2, 3, 4, after);
      t.deepEqual(bench.arena.bytes.slice(bench.packet.l3End, bench.packet.l3End + 64), behind);
    },
  );
  t.notThrows(() => fc.assert(random, { numRuns: 3000, seed }), rerun);
});
