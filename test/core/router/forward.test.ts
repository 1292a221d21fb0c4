/** Forwarding as it is wired: frames in at one port, frames out at another, byte by byte; what is refused, and what the sender hears. */

import test from 'ava';
import { VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4, VNET_GSO_TCPV6, VNET_GSO_UDP_L4 } from '../../../core/packet/vnet.js';
import { ROUTE_BLACKHOLE, ROUTE_PROHIBIT, ROUTE_UNREACHABLE } from '../../../core/router/vrf.js';
import { BROADCAST, type SentFrame, type VnetFields } from '../../support/harness.js';
import { extension, fragmentHeader, tcp } from '../wire/build.js';
import { slowSum, viewOf } from './icmp-frames.js';
import {
  A,
  A2,
  B,
  B2,
  C,
  datagram,
  expectError,
  expectWhole,
  gatewayMac,
  HOST,
  hopped,
  Lab,
  message,
  message4,
  OUTSIDE,
  out4,
  out6,
  prefix,
  readIcmp,
  THE_HOST,
  UPLINK,
  via,
  withMacs,
  withSum4,
} from './lab.js';
import { isTransportSumRight4, withTcpSum } from './slots.js';

const known = (options: ConstructorParameters<typeof Lab>[0] = {}): Lab =>
  new Lab(options).know(A, A2, B, B2, C, OUTSIDE, THE_HOST);

const frames = (sent: readonly SentFrame[]): Uint8Array[] => sent.map((one) => one.frame);

// --- the way through

for (const [family, out] of [
  ['IPv4', out4],
  ['IPv6', out6],
] as const) {
  test(`${family}: from network to network only MACs, TTL and header sum change`, (t) => {
    const lab = known();
    for (const [from, to] of [
      [A, B],
      [B2, A2],
      [C, A],
      [A, OUTSIDE],
      [OUTSIDE, C],
    ] as const) {
      const bytes = out(from, to);
      const sent = lab.one(from.port, bytes);
      t.is(sent.port, to.port);
      t.deepEqual(sent.frame, hopped(bytes, to));
    }
    t.deepEqual(
      lab.changes(() => lab.dataplane.process(lab.load(A.port, out(A, B)))),
      { 1: { rx: 1 }, 3: { tx: 1 } },
    );
    t.deepEqual(lab.dropped(), {});
    expectWhole(t, lab);
  });

  test(`${family}: within one network by way of the gateway, out to another port or back to the same`, (t) => {
    const lab = known();
    const bytes = out(A, A2);
    t.deepEqual(
      lab.receive(A.port, bytes).map((sent) => sent.port),
      [A2.port],
    );
    // A second host behind the port that the packet came from.
    const beside = { ...A2, port: A.port, mac: [2, 0, 0, 0, 0, 0x55] };
    lab.know(beside);
    t.deepEqual(lab.one(A.port, out(A, beside)).frame, hopped(out(A, beside), beside));
    expectWhole(t, lab);
  });
}

test('RFC 1812 5.3.1: the checksum after the TTL is right for all 65536 values', (t) => {
  const lab = known();
  const wrong: string[] = [];
  for (let identification = 0; identification < 65536; identification++) {
    const bytes = out4(A, B, { identification });
    const [sent] = lab.receive(A.port, bytes);
    if (sent === undefined || slowSum(sent.frame.subarray(14, 34)) !== 0xffff) wrong.push(`${identification}`);
  }
  t.deepEqual(wrong, []);
  expectWhole(t, lab);
});

test('RFC 1812 5.3.1: for every TTL one less; 0 and 1 are answered with time exceeded', (t) => {
  const lab = known();
  for (let ttl = 2; ttl < 256; ttl++) {
    t.is(lab.one(A.port, out4(A, B, { ttl })).frame[22], ttl - 1);
    t.is(lab.one(A.port, out6(A, B, { hopLimit: ttl })).frame[21], ttl - 1);
  }
  for (const ttl of [0, 1]) {
    const bytes = out4(A, B, { ttl });
    expectError(t, lab.receive(A.port, bytes), A, '11/0', bytes);
    const other = out6(A, B, { hopLimit: ttl });
    expectError(t, lab.receive(A.port, other), A, '3/0', other);
  }
  t.deepEqual(lab.dropped(), { ttl_exceeded: 4 });
  expectWhole(t, lab);
});

test('RFC 1812 5.2.5, RFC 3168: DSCP, ECN and the reserved bit pass as they are', (t) => {
  const lab = known();
  for (let tos = 0; tos < 256; tos++) {
    const bytes = out4(A, B, { tos });
    bytes[20] |= 0x80; // the reserved bit
    t.deepEqual(lab.one(A.port, withSum4(bytes)).frame, hopped(bytes, B));
    const other = out6(A, B, { trafficClass: tos });
    t.deepEqual(lab.one(A.port, other).frame, hopped(other, B));
  }
  expectWhole(t, lab);
});

test('RFC 1812 5.2.2: padding of the link the packet came by stays behind', (t) => {
  const lab = known();
  for (const bytes of [out4(A, B, {}, datagram(9)), out6(A, B, {}, datagram(9))]) {
    const padded = new Uint8Array(bytes.length + 11).fill(0x77);
    padded.set(bytes);
    for (let i = 0; i < 3; i++) t.deepEqual(lab.one(A.port, padded).frame, hopped(bytes, B));
  }
  expectWhole(t, lab);
});

test('RFC 1812 5.2.2: headers that are wrong are dropped in silence', (t) => {
  const lab = known();
  const broken = (change: (bytes: Uint8Array) => void, sum = true): Uint8Array => {
    const bytes = out4(A, B);
    change(bytes);
    return sum ? withSum4(bytes) : bytes;
  };
  const cases = [
    broken((bytes) => {
      bytes[14] = 0x55; // version
    }),
    broken((bytes) => {
      bytes[14] = 0x44; // header of 16 bytes
    }),
    broken((bytes) => {
      viewOf(bytes).setUint16(16, 19); // total length below the header's
    }),
    broken((bytes) => {
      viewOf(bytes).setUint16(16, bytes.length - 13); // one byte more than there is
    }),
    out4(A, B).subarray(0, 33), // less than a header
  ];
  for (const bytes of cases) t.deepEqual(lab.receive(A.port, bytes), []);
  t.deepEqual(lab.dropped(), { ip_malformed: 5 });
  for (let bit = 0; bit < 160; bit++) {
    const bytes = broken((frame) => {
      frame[14 + (bit >> 3)] ^= 0x80 >> (bit & 7);
    }, false);
    t.deepEqual(lab.receive(A.port, bytes), [], `bit ${bit}`);
  }
  const { ip_checksum, ip_malformed, ...others } = lab.dropped();
  t.is(ip_checksum + ip_malformed, 165);
  t.true(ip_checksum > 130);
  t.deepEqual(others, {});
  const short6 = out6(A, B);
  viewOf(short6).setUint16(18, short6.length);
  t.deepEqual(lab.receive(A.port, short6), []);
  t.is(lab.dropped().ip_malformed, ip_malformed + 1);
  expectWhole(t, lab);
});

test('RFC 1812 5.3.7, RFC 6890: martians are dropped in silence', (t) => {
  const lab = known();
  const sources = ['0.0.0.0', '0.1.2.3', '127.0.0.1', '169.254.1.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'];
  for (const from of sources) t.deepEqual(lab.receive(A.port, out4(A, B, { from })), [], from);
  const destinations = ['0.0.0.0', '0.1.2.3', '127.0.0.1', '169.254.1.1', '240.0.0.1', '255.255.255.255'];
  for (const to of destinations) t.deepEqual(lab.receive(A.port, out4(A, to)), [], to);
  t.deepEqual(lab.dropped(), { martian_source: sources.length, martian_destination: destinations.length });
  expectWhole(t, lab);
});

test('RFC 4291 2.5: no packet from or to ::, ::1, mapped addresses; none from a group', (t) => {
  const lab = known();
  const nobodies = ['::', '::1', '::ffff:a01:1'];
  for (const from of [...nobodies, 'ff02::1', 'ff0e::1'])
    t.deepEqual(lab.receive(A.port, out6(A, B, { from })), [], from);
  for (const to of nobodies) t.deepEqual(lab.receive(A.port, out6(A, to)), [], to);
  t.deepEqual(lab.dropped(), { martian_source: 5, martian_destination: 3 });
  expectWhole(t, lab);
});

test('RFC 4291 2.5.6: link-local addresses stay on their link', (t) => {
  const lab = known();
  const bytes = out6(A, B, { from: 'fe80::11' });
  const [sent] = lab.receive(A.port, bytes);
  const error = readIcmp(sent);
  t.is(`${error.type}/${error.code}`, '1/2', 'RFC 4443 3.1: beyond the scope of the source');
  t.is(error.to, 'fe80:0:0:0:0:0:0:11');
  t.deepEqual(error.toMac, A.mac);
  t.deepEqual(lab.receive(A.port, out6(A, 'fe80::13')), []);
  t.deepEqual(lab.receive(A.port, out6(A, 'febf::13')), []);
  t.deepEqual(lab.dropped(), { martian_destination: 3 });
  expectWhole(t, lab);
});

test("RFC 1812 5.3.4: a broadcast frame with a unicast packet in it is the bridge's, and not forwarded", (t) => {
  const lab = known();
  for (const bytes of [out4(A, B), out6(A, B)]) {
    withMacs(bytes, BROADCAST, A.mac);
    t.deepEqual(lab.receivePorts(A.port, bytes), [A2.port]);
    withMacs(bytes, [0x01, 0, 0x5e, 1, 1, 1], A.mac);
    t.deepEqual(lab.receivePorts(A.port, bytes), [A2.port]);
    withMacs(bytes, BROADCAST, OUTSIDE.mac);
    t.deepEqual(lab.receivePorts(OUTSIDE.port, bytes), []);
  }
  t.deepEqual(lab.dropped(), { other_host: 2 });
  expectWhole(t, lab);
});

test('RFC 1812 5.3.4, 5.3.5.1: packets to groups in a frame to the router are not forwarded, not even with TTL 1 answered', (t) => {
  const lab = known();
  for (const to of ['224.0.0.1', '239.1.2.3'])
    for (const ttl of [1, 64]) t.deepEqual(lab.receive(A.port, out4(A, to, { ttl })), []);
  for (const to of ['ff02::1', 'ff0e::1'])
    for (const hopLimit of [1, 64]) t.deepEqual(lab.receive(A.port, out6(A, to, { hopLimit })), []);
  t.deepEqual(lab.dropped(), { link_broadcast: 8 });
  expectWhole(t, lab);
});

test('RFC 1812 5.3.5.2, RFC 2644: no directed broadcast, old form included, from outside or inside', (t) => {
  const lab = known();
  for (const to of ['10.2.0.255', '10.2.0.0', '10.1.0.255', '10.4.0.255']) {
    t.deepEqual(lab.receive(A.port, out4(A, to)), [], to);
    t.deepEqual(lab.receive(OUTSIDE.port, out4(OUTSIDE, to)), [], to);
  }
  t.deepEqual(lab.dropped(), { directed_broadcast: 8 });
  expectWhole(t, lab);
});

// --- no way

test('RFC 1812 4.3.3.1, 5.2.7.1: no route, and routes that say no', (t) => {
  const lab = known();
  lab.route('10.91.0.0/16', ROUTE_BLACKHOLE);
  lab.route('10.92.0.0/16', ROUTE_UNREACHABLE);
  lab.route('10.93.0.0/16', ROUTE_PROHIBIT);
  const ask = (to: string): SentFrame[] => lab.receive(A.port, out4(A, to));
  expectError(t, ask('10.90.0.1'), A, '3/0', out4(A, '10.90.0.1'));
  t.deepEqual(ask('10.91.0.1'), []);
  expectError(t, ask('10.92.0.1'), A, '3/1');
  expectError(t, ask('10.93.0.1'), A, '3/13');
  t.deepEqual(lab.dropped(), { no_route: 1, blackhole: 1, unreachable: 1, prohibited: 1 });
  expectWhole(t, lab);
});

test('RFC 4443 3.1: no route, and routes that say no', (t) => {
  const lab = known();
  lab.route('fd91::/16', ROUTE_BLACKHOLE);
  lab.route('fd92::/16', ROUTE_UNREACHABLE);
  lab.route('fd93::/16', ROUTE_PROHIBIT);
  const ask = (to: string): SentFrame[] => lab.receive(A.port, out6(A, to));
  expectError(t, ask('2001::1'), A, '1/0', out6(A, '2001::1'));
  t.deepEqual(ask('fd91::1'), []);
  expectError(t, ask('fd92::1'), A, '1/3');
  expectError(t, ask('fd93::1'), A, '1/1');
  t.deepEqual(lab.dropped(), { no_route: 1, blackhole: 1, unreachable: 1, prohibited: 1 });
  expectWhole(t, lab);
});

test('RFC 1812 4.3.2.7, RFC 4443 2.4(e): no error about an error, a later fragment, or to nobody', (t) => {
  const lab = known();
  const quoted = out4(B, A).subarray(14, 42);
  for (const type of [3, 4, 5, 11, 12]) {
    t.deepEqual(
      lab.receive(A.port, out4(A, B, { protocol: 1, ttl: 1 }, message4(type, 0, 0, quoted))),
      [],
      `type ${type}`,
    );
  }
  t.deepEqual(lab.receive(A.port, out4(A, B, { ttl: 1, offset: 3 })), []);
  t.is(lab.receive(A.port, out4(A, B, { ttl: 1, more: true })).length, 1, 'about a first one there is');
  for (const type of [1, 2, 3, 4, 100, 127, 137]) {
    const bytes = out6(A, B, { nextHeader: 58, hopLimit: 1 }, message(type, 0, 0, out6(B, A).subarray(14)));
    t.deepEqual(lab.receive(A.port, bytes), [], `type ${type}`);
  }
  t.deepEqual(lab.dropped(), { ttl_exceeded: 14 });
  expectWhole(t, lab);
});

test('RFC 1812 4.3.2.8, RFC 4443 2.4(f): errors are limited a source, and forwarding goes on', (t) => {
  const lab = known();
  let errors = 0;
  for (let i = 0; i < 1000; i++) {
    errors += lab.receive(A.port, out4(A, B, { ttl: 1 })).length;
    t.is(lab.receive(A.port, out4(A, B)).length, 1);
  }
  t.is(errors, 50);
  expectError(t, lab.receive(A2.port, out4(A2, B, { ttl: 1 })), A2, '11/0');
  expectError(t, lab.receive(A.port, out6(A, B, { hopLimit: 1 })), A, '3/0');
  t.deepEqual(lab.dropped(), { ttl_exceeded: 1002 });
  expectWhole(t, lab);
});

test('RFC 1812 4.3.2.3, RFC 4443 2.4(c): an error quotes as much as 576, or 1280, bytes have room for', (t) => {
  const lab = known();
  const bytes = out4(A, B, { ttl: 1 }, datagram(1400));
  const [sent] = lab.receive(A.port, bytes);
  t.is(sent.frame.length, 14 + 576);
  t.deepEqual(readIcmp(sent).data, bytes.slice(14, 14 + 548));
  const other = out6(A, B, { hopLimit: 1 }, datagram(1400));
  const [sent6] = lab.receive(A.port, other);
  t.is(sent6.frame.length, 14 + 1280);
  t.deepEqual(readIcmp(sent6).data, other.slice(14, 14 + 1232));
  expectWhole(t, lab);
});

test('RFC 8200 4: headers of packets in transit pass unseen: routing type 0, hop-by-hop, destination options, unknown ones', (t) => {
  const lab = known();
  const routing = extension(17, 24);
  routing.set([0, 1], 2); // type 0, one segment left
  const unknownOption = extension(17, 8);
  unknownOption.set([0xc3, 4], 2); // "answer and discard"
  for (const bytes of [
    out6(A, B, { nextHeader: 43 }, routing, datagram()),
    out6(A, B, { nextHeader: 0 }, unknownOption, datagram()),
    out6(A, B, { nextHeader: 60 }, unknownOption, datagram()),
    out6(A, B, { nextHeader: 50 }, datagram()),
    out6(A, B, { nextHeader: 51 }, extension(17, 24, 4), datagram()),
    out6(A, B, { nextHeader: 253 }, datagram()),
    out6(A, B, { nextHeader: 59 }, datagram()),
    out6(A, B, { nextHeader: 44 }, fragmentHeader({ nextHeader: 17, offset: 0, more: false }), datagram()),
    out6(A, B, { nextHeader: 44 }, fragmentHeader({ nextHeader: 17, offset: 9, more: true }), datagram(32)),
  ]) {
    t.deepEqual(lab.one(A.port, bytes).frame, hopped(bytes, B));
  }
  expectWhole(t, lab);
});

// --- options

test('RFC 1812 5.3.13.1: unknown options pass unchanged; source routes, record route and timestamp are dropped', (t) => {
  const lab = known();
  const pass = (...octets: number[]): Uint8Array => out4(A, B, { options: Uint8Array.from(octets) });
  for (const bytes of [pass(0x9e, 4, 1, 2), pass(1, 1, 1, 0), pass(0x94, 4, 0, 0), pass(0x19, 2, 1, 1)]) {
    t.deepEqual(lab.one(A.port, bytes).frame, hopped(bytes, B));
  }
  for (const kind of [7, 0x83, 0x89]) t.deepEqual(lab.receive(A.port, pass(kind, 7, 4, 0, 0, 0, 0, 0)), []);
  t.deepEqual(lab.receive(A.port, pass(0x44, 8, 5, 0, 0, 0, 0, 0)), []);
  t.deepEqual(lab.dropped(), { ip_options: 4 });
  const broken = pass(0x9e, 1, 1, 1);
  const [sent] = lab.receive(A.port, broken);
  t.is(readIcmp(sent).type, 12, 'RFC 1812 4.3.3.5: parameter problem');
  t.is(readIcmp(sent).rest >>> 24, 21, 'at the length');
  expectWhole(t, lab);
});

test('RFC 1812 5.3.13.5: record route notes the address on the way out, where allowed', (t) => {
  const lab = known({ vrf: { recordRoute: true } });
  const bytes = out4(A, B, { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) });
  const { frame } = lab.one(A.port, bytes);
  t.deepEqual([...frame.subarray(34, 42)], [7, 7, 8, 10, 2, 0, 1, 0]);
  t.is(slowSum(frame.subarray(14, 42)), 0xffff);
  expectWhole(t, lab);
});

// --- MTU

const big = (length: number): Uint8Array => datagram(length - 20);

test('RFC 1812 5.2.7.1, RFC 1191: with DF what is larger than the next MTU is answered with that MTU', (t) => {
  const lab = known();
  for (const mtu of [1400, 1280, 576]) {
    lab.change(2, { mtu });
    const fits = out4(A, B, { dontFragment: true }, big(mtu));
    t.deepEqual(lab.one(A.port, fits).frame, hopped(fits, B));
    const bytes = out4(A, B, { dontFragment: true }, big(mtu + 1));
    const sent = lab.receive(A.port, bytes);
    expectError(t, sent, A, '3/4');
    t.is(readIcmp(sent[0]).rest, mtu);
  }
  t.deepEqual(lab.dropped(), { too_big: 3 });
  expectWhole(t, lab);
});

test('RFC 8200 4.5, RFC 4443 3.2: IPv6 is never cut in transit; the answer says the next MTU', (t) => {
  const lab = known();
  for (const mtu of [1400, 1280]) {
    lab.change(2, { mtu });
    const fits = out6(A, B, {}, datagram(mtu - 40));
    t.deepEqual(lab.one(A.port, fits).frame, hopped(fits, B));
    const sent = lab.receive(A.port, out6(A, B, {}, datagram(mtu - 39)));
    expectError(t, sent, A, '2/0');
    t.is(readIcmp(sent[0]).rest, mtu);
  }
  t.deepEqual(lab.dropped(), { too_big: 2 });
  expectWhole(t, lab);
});

/** Puts an IPv4 packet together from frames in any order: its payload, or null where a part is missing. */
function assembled(fragments: readonly Uint8Array[]): Uint8Array | null {
  const parts = fragments
    .map((bytes) => {
      const view = viewOf(bytes);
      const headerLength = (bytes[14] & 15) * 4;
      if (slowSum(bytes.subarray(14, 14 + headerLength)) !== 0xffff) throw new Error('wrong header sum');
      if (view.getUint16(16) !== bytes.length - 14) throw new Error('wrong length');
      const field = view.getUint16(20);
      return { at: (field & 0x1fff) * 8, more: (field & 0x2000) !== 0, data: bytes.slice(14 + headerLength) };
    })
    .sort((one, other) => one.at - other.at);
  let end = 0;
  for (const part of parts) {
    if (part.at !== end) return null;
    end += part.data.length;
  }
  if (parts[parts.length - 1].more) return null;
  return new Uint8Array(Buffer.concat(parts.map((part) => part.data)));
}

test('RFC 1812 5.2.6: without DF it is cut: the payload is whole, each piece fits and has its own header', (t) => {
  const lab = known();
  for (const mtu of [1400, 576, 68]) {
    lab.change(2, { mtu });
    const payload = big(1500);
    const before = lab.counter(A.port, 4);
    const sent = lab.receive(A.port, out4(A, B, {}, payload));
    t.true(sent.length > 1);
    for (const { frame, port } of sent) {
      t.is(port, B.port);
      t.true(frame.length <= 14 + mtu);
      t.is(frame[22], 63);
      t.deepEqual([...frame.subarray(0, 12)], [...B.mac, ...gatewayMac(2)]);
    }
    t.deepEqual(assembled(frames(sent)), payload);
    t.is(lab.counter(A.port, 4) - before, sent.length - 1, 'counted as copies');
    expectWhole(t, lab);
  }
});

test('RFC 1812 5.2.6: fragments are cut further, and come together with their siblings', (t) => {
  const lab = known();
  lab.change(2, { mtu: 576 });
  const payload = big(2500);
  const first = out4(A, B, { more: true }, payload.subarray(0, 1480));
  const last = out4(A, B, { offset: 185 }, payload.subarray(1480));
  const sent = [...lab.receive(A.port, last), ...lab.receive(A.port, first)];
  t.deepEqual(assembled(frames(sent)), payload);
  expectWhole(t, lab);
});

test('a packet that is cut where no slot is free is dropped as a whole', (t) => {
  const lab = known({ slots: 8 });
  lab.change(2, { mtu: 68 });
  t.deepEqual(lab.receive(A.port, out4(A, B, {}, big(1500))), []);
  t.deepEqual(lab.dropped(), { no_slot: 1 });
  expectWhole(t, lab);
});

test('fragments that nobody knows the port of are flooded, each', (t) => {
  const lab = known();
  lab.change(2, { mtu: 1000 });
  lab.topology.flush(2, 0, 0);
  const payload = big(1500);
  const sent = lab.receive(A.port, out4(A, B, {}, payload));
  for (const port of [B.port, B2.port]) {
    t.deepEqual(assembled(frames(sent.filter((one) => one.port === port))), payload);
  }
  t.is(sent.length, 4);
  expectWhole(t, lab);
});

// --- offloads

/** A TCP super-packet whose checksum is to come, as a container's kernel sends it. */
function superPacket(isIpv6: boolean, length: number, gsoSize: number, dontFragment = true): [Uint8Array, VnetFields] {
  const segment = tcp(
    { srcPort: 40000, dstPort: 80 },
    Uint8Array.from({ length }, (_, i) => i & 0xff),
  );
  segment.set([0xbe, 0xef], 16); // the sum of the pseudo-header
  const bytes = isIpv6 ? out6(A, B, { nextHeader: 6 }, segment) : out4(A, B, { protocol: 6, dontFragment }, segment);
  const l4 = isIpv6 ? 54 : 34;
  return [
    bytes,
    {
      flags: VNET_F_NEEDS_CSUM,
      gsoType: isIpv6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4,
      headerLength: l4 + 20,
      gsoSize,
      checksumStart: l4,
      checksumOffset: 16,
    },
  ];
}

for (const isIpv6 of [false, true]) {
  const family = isIpv6 ? 'IPv6' : 'IPv4';
  const headers = isIpv6 ? 60 : 40;

  test(`${family}: a super-packet is measured by its segments, and its sum left to come`, (t) => {
    const lab = known();
    const [bytes, vnet] = superPacket(isIpv6, 60000, 1500 - headers);
    const sent = lab.one(A.port, bytes, vnet);
    t.deepEqual(sent.frame, hopped(bytes, B));
    const view = viewOf(sent.vnet);
    t.is(sent.vnet[0], VNET_F_NEEDS_CSUM);
    t.is(view.getUint16(4, true), 1500 - headers);
    t.is(view.getUint16(6, true), vnet.checksumStart ?? 0);
    expectWhole(t, lab);
  });

  test(`${family}: a super-packet whose segments are too large is answered with the MTU`, (t) => {
    const lab = known();
    lab.change(2, { mtu: 1400 });
    const [bytes, vnet] = superPacket(isIpv6, 60000, 1401 - headers);
    const sent = lab.receive(A.port, bytes, vnet);
    expectError(t, sent, A, isIpv6 ? '2/0' : '3/4');
    t.is(readIcmp(sent[0]).rest, 1400);
    const [smaller, fields] = superPacket(isIpv6, 60000, 1400 - headers);
    t.is(lab.receive(A.port, smaller, fields).length, 1);
    t.deepEqual(lab.dropped(), { too_big: 1 });
    expectWhole(t, lab);
  });
}

test('without DF a super-packet is segmented smaller, not cut', (t) => {
  const lab = known();
  lab.change(2, { mtu: 1400 });
  const [bytes, vnet] = superPacket(false, 60000, 1460, false);
  const sent = lab.one(A.port, bytes, vnet);
  t.deepEqual(sent.frame, hopped(bytes, B));
  t.is(viewOf(sent.vnet).getUint16(4, true), 1360);
  expectWhole(t, lab);
});

test('a datagram of several segments that are too large cannot be cut here: its sender is told the MTU', (t) => {
  const lab = known();
  lab.change(2, { mtu: 1000 });
  const vnet = {
    flags: 1,
    gsoType: VNET_GSO_UDP_L4,
    headerLength: 42,
    gsoSize: 1400,
    checksumStart: 34,
    checksumOffset: 6,
  };
  expectError(t, lab.receive(A.port, out4(A, B, {}, datagram(5000)), vnet), A, '3/4');
  t.deepEqual(lab.dropped(), { too_big: 1 });
  expectWhole(t, lab);
});

test('a packet whose sum is to come and that is cut has it before', (t) => {
  const lab = known();
  lab.change(2, { mtu: 600 });
  const payload = datagram(1400);
  // The sum of the pseudo-header, as the kernel leaves it.
  const pseudo = Uint8Array.of(10, 1, 0, 11, 10, 2, 0, 13, 0, 17, 0x05, 0x78);
  viewOf(payload).setUint16(6, slowSum(pseudo));
  const sent = lab.receive(A.port, out4(A, B, {}, payload), { flags: 1, checksumStart: 34, checksumOffset: 6 });
  const whole = assembled(frames(sent));
  t.truthy(whole);
  t.is(slowSum(whole as Uint8Array, slowSum(pseudo)), 0xffff);
  for (const { vnet } of sent) t.deepEqual([...vnet], new Array(10).fill(0));
  expectWhole(t, lab);
});

test('RFC 6691: the MSS of a SYN is lowered to the smaller MTU of both sides, and its sum kept right', (t) => {
  const lab = known();
  const syn = (mss: number): Uint8Array => {
    const segment = tcp({ srcPort: 40000, dstPort: 80, options: 4, flags: 2 });
    segment.set([2, 4, mss >> 8, mss & 0xff], 20);
    return segment;
  };
  const mssOf = (bytes: Uint8Array): number => viewOf(bytes).getUint16(bytes.length - 2);
  lab.change(1, { mtu: 1450 });
  for (const [mtu, mss4, mss6] of [
    [1500, 1410, 1390],
    [1280, 1240, 1220],
  ]) {
    lab.change(2, { mtu });
    for (let i = 0; i < 3; i++) {
      const { frame } = lab.one(A.port, withTcpSum(out4(A, B, { protocol: 6 }, syn(1460))));
      t.is(mssOf(frame), mss4);
      t.true(isTransportSumRight4(frame));
      t.is(mssOf(lab.one(A.port, withTcpSum(out6(A, B, { nextHeader: 6 }, syn(1440)))).frame), mss6);
    }
    t.is(mssOf(lab.one(A.port, withTcpSum(out4(A, B, { protocol: 6 }, syn(500)))).frame), 500);
  }
  expectWhole(t, lab);
});

// --- routes by next hops

const flow = (port: number): Uint8Array => {
  const bytes = datagram();
  viewOf(bytes).setUint16(0, port);
  return bytes;
};

for (const [family, out, to, far, hops] of [
  ['IPv4', out4, '10.9.0.0/16', '10.9.1.1', [B.v4, B2.v4, C.v4]],
  ['IPv6', out6, 'fd09::/16', 'fd09::7', [B.v6, B2.v6, C.v6]],
] as const) {
  test(`${family}: of several next hops each gets its share of flows, and a flow keeps its own`, (t) => {
    const lab = known();
    lab.routeVia(to, via(2, hops[0]), via(2, hops[1]), via(3, hops[2]));
    const shares = new Map<number, number>();
    for (let port = 1; port <= 3000; port++) {
      const first = lab.one(A.port, out(A, far, {}, flow(port))).port;
      t.is(lab.one(A.port, out(A, far, {}, flow(port))).port, first);
      shares.set(first, (shares.get(first) ?? 0) + 1);
    }
    t.deepEqual([...shares.keys()].sort(), [B.port, B2.port, C.port]);
    for (const share of shares.values()) t.true(share > 850 && share < 1150, `${share}`);
    expectWhole(t, lab);
  });

  test(`${family}: RFC 1812 5.3.12.3: an interface that goes down takes its hops with it at once, and back`, (t) => {
    const lab = known();
    lab.routeVia(to, via(2, hops[0]), via(3, hops[2]));
    const ports = (): number[] => {
      const used = new Set<number>();
      for (let port = 1; port <= 50; port++) used.add(lab.one(A.port, out(A, far, {}, flow(port))).port);
      return [...used].sort();
    };
    t.deepEqual(ports(), [B.port, C.port]);
    lab.change(2, {}, false);
    t.deepEqual(ports(), [C.port]);
    lab.change(2, {}, true);
    lab.know(B, B2);
    t.deepEqual(ports(), [B.port, C.port]);
    lab.change(2, {}, false);
    lab.change(3, {}, false);
    expectError(t, lab.receive(A.port, out(A, far)), A, family === 'IPv4' ? '3/0' : '1/0');
    t.deepEqual(lab.dropped(), { interface_down: 1 });
    expectWhole(t, lab);
  });

  test(`${family}: the least metric has all, and the next one takes over`, (t) => {
    const lab = known();
    lab.routeVia(to, via(3, hops[2], 200), via(2, hops[0], 100));
    for (let port = 1; port <= 50; port++) t.is(lab.one(A.port, out(A, far, {}, flow(port))).port, B.port);
    lab.change(2, {}, false);
    for (let port = 1; port <= 50; port++) t.is(lab.one(A.port, out(A, far, {}, flow(port))).port, C.port);
    expectWhole(t, lab);
  });

  test(`${family}: no packet waits for a next hop as long as another works, however long it is dead`, (t) => {
    const lab = new Lab().know(A, C);
    lab.routeVia(to, via(2, hops[0]), via(3, hops[2]));
    const ports = (): number[] => {
      const used = new Set<number>();
      for (let port = 1; port <= 20; port++) used.add(lab.one(A.port, out(A, far, {}, flow(port))).port);
      return [...used].sort();
    };
    // The first packet asks for the other; several times over it fails, is forgotten, and is asked for again.
    const asked = lab.receive(A.port, out(A, far)).map(({ port }) => port);
    t.deepEqual(asked.sort(), [B.port, B2.port, C.port]);
    for (let second = 1; second <= 20; second++) {
      lab.passTo(lab.dataplane.now + 1);
      lab.receive(A.port, out(A, far));
      t.deepEqual(ports(), [C.port], `after ${second} s`);
    }
    t.is(lab.held, 0);
    t.deepEqual(lab.dropped(), {});
    lab.know(B);
    t.deepEqual(ports(), [B.port, C.port]);
    expectWhole(t, lab);
  });

  test(`${family}: where no next hop is known a flow waits for its own, and goes where one answers`, (t) => {
    const lab = new Lab().know(A);
    lab.routeVia(to, via(2, hops[0]), via(3, hops[2]));
    for (let port = 1; port <= 20; port++) lab.receive(A.port, out(A, far, {}, flow(port)));
    t.is(lab.held, 20);
    lab.know(C);
    const waiting = lab.held;
    t.true(waiting > 3 && waiting < 17, `${waiting} wait for the other`);
    for (let port = 1; port <= 20; port++) t.is(lab.one(A.port, out(A, far, {}, flow(port))).port, C.port);
    while (lab.held > 0) lab.passTo(lab.dataplane.now + 1);
    t.deepEqual(lab.dropped(), { neighbor_failed: waiting });
    expectWhole(t, lab);
  });

  test(`${family}: a route is replaced and removed while packets go, and the longest prefix wins`, (t) => {
    const lab = known();
    const length = family === 'IPv4' ? 24 : 64;
    const inner = family === 'IPv4' ? `10.9.1.0/${length}` : `fd09::/${length}`;
    const ask = (): number => lab.one(A.port, out(A, far)).port;
    lab.routeVia(to, via(2, hops[0]));
    t.is(ask(), B.port);
    lab.routeVia(to, via(2, hops[1]));
    t.is(ask(), B2.port);
    lab.routeVia(inner, via(3, hops[2]));
    t.is(ask(), C.port);
    lab.route(inner, ROUTE_BLACKHOLE);
    t.deepEqual(lab.receive(A.port, out(A, far)), []);
    t.true(lab.router.removeRoute(1, prefix(inner)));
    t.is(ask(), B2.port);
    t.true(lab.router.removeRoute(1, prefix(to)));
    expectError(t, lab.receive(A.port, out(A, far)), A, family === 'IPv4' ? '3/0' : '1/0');
    t.deepEqual(lab.dropped(), { blackhole: 1, no_route: 1 });
    expectWhole(t, lab);
  });
}

// --- source validation

test('RFC 1812 5.3.8, RFC 3704: with source validation a packet must come from where its source is', (t) => {
  const lab = known();
  lab.routeVia('10.9.0.0/16', via(1, A2.v4));
  lab.routeVia('fd09::/16', via(1, A2.v6));
  const send = (): number[] => [
    lab.receive(A.port, out4(A, B)).length,
    lab.receive(A.port, out4(A, B, { from: '10.9.1.1' })).length,
    lab.receive(A.port, out6(A, B, { from: 'fd09::1' })).length,
    lab.receive(A.port, out4(A, B, { from: C.v4 })).length,
    lab.receive(A.port, out4(A, B, { from: '198.51.100.1' })).length,
    lab.receive(A.port, out6(A, B, { from: C.v6 })).length,
  ];
  t.deepEqual(send(), [1, 1, 1, 1, 1, 1], 'off by default');
  lab.change(1, { validateSource: true });
  t.deepEqual(send(), [1, 1, 1, 0, 0, 0]);
  t.deepEqual(lab.dropped(), { source_validation: 3 });
  expectWhole(t, lab);
});

test('no packet goes on to an interface that is down', (t) => {
  const lab = known();
  lab.change(2, {}, false);
  expectError(t, lab.receive(A.port, out4(A, B)), A, '3/0');
  t.deepEqual(lab.dropped(), { no_route: 1 });
  lab.routeVia('10.9.0.0/16', via(2, B.v4));
  expectError(t, lab.receive(A.port, out4(A, '10.9.0.1')), A, '3/0');
  t.deepEqual(lab.dropped(), { no_route: 1, interface_down: 1 });
  t.is(lab.iface(HOST).port, 7);
  t.is(lab.iface(UPLINK).port, 6);
  expectWhole(t, lab);
});
