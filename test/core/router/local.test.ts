/** Packets to the router's own addresses, as it is wired: echo, what nobody takes, fragments, extension headers, and the host's share. */

import test, { type ExecutionContext } from 'ava';
import type { SentFrame } from '../../support/harness.js';
import { extension, fragmentHeader, tcp, udp } from '../wire/build.js';
import { pseudoSum6, slowSum, viewOf } from './icmp-frames.js';
import {
  A,
  A2,
  B,
  C,
  datagram,
  expectError,
  expectWhole,
  gatewayMac,
  HOST,
  hopped,
  Lab,
  long6,
  message,
  message4,
  OUTSIDE,
  out4,
  out6,
  outIcmp6,
  readIcmp,
  type Station,
  THE_HOST,
  withMacs,
  withSum4,
} from './lab.js';

const known = (options: ConstructorParameters<typeof Lab>[0] = {}): Lab =>
  new Lab(options).know(A, A2, B, C, OUTSIDE, THE_HOST);

const GATEWAY = '10.1.0.1';
const GATEWAY_6 = 'fd00:1::1';
/** EUI-64 of 02:00:00:00:fe:01. */
const LINK_LOCAL = 'fe80::ff:fe00:fe01';

const data = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 11) & 0xff);
const ping = (from: Station, to: string, length = 56, patch = {}): Uint8Array =>
  out4(from, to, { protocol: 1, ...patch }, message4(8, 0, 0x70001, data(length)));
const ping6 = (from: Station, to: string, length = 56, patch = {}): Uint8Array =>
  outIcmp6(from, to, patch, message(128, 0, 0x70001, data(length)));

function expectReply(t: ExecutionContext, sent: readonly SentFrame[], to: Station, from: string, length = 56): void {
  t.is(sent.length, 1);
  const reply = readIcmp(sent[0]);
  const isIpv6 = from.includes(':');
  t.is(reply.type, isIpv6 ? 129 : 0);
  t.is(reply.code, 0);
  t.is(reply.rest, 0x70001);
  t.deepEqual(reply.data, data(length));
  t.is(reply.from, isIpv6 ? long6(from) : from);
  t.deepEqual([reply.port, reply.toMac, reply.fromMac], [to.port, to.mac, gatewayMac(to.network)]);
}

// --- echo

test('RFC 1812 4.3.3.6, RFC 4443 4.2: an echo request to a gateway comes back whole, from the address that was asked', (t) => {
  const lab = known();
  for (const length of [0, 1, 56, 1472 - 100]) {
    expectReply(t, lab.receive(A.port, ping(A, GATEWAY, length)), A, GATEWAY, length);
    expectReply(t, lab.receive(A.port, ping6(A, GATEWAY_6, length)), A, GATEWAY_6, length);
    expectReply(t, lab.receive(OUTSIDE.port, ping(OUTSIDE, '10.4.0.1', length)), OUTSIDE, '10.4.0.1', length);
    expectReply(t, lab.receive(A.port, ping6(A, LINK_LOCAL, length, { from: 'fe80::11' })), A, LINK_LOCAL, length);
  }
  expectReply(t, lab.receive(A.port, ping(A, '10.2.0.1')), A, '10.2.0.1');
  expectReply(t, lab.receive(A.port, ping6(A, 'fd00:2::1')), A, 'fd00:2::1');
  expectReply(t, lab.receive(A.port, ping6(A, 'fd00:1::')), A, 'fd00:1::', 56);
  t.deepEqual(lab.dropped(), {});
  expectWhole(t, lab);
});

test('an echo request is counted as taken in, its reply as a packet of our own', (t) => {
  const lab = known();
  for (const bytes of [ping(A, GATEWAY), ping6(A, GATEWAY_6)]) {
    t.deepEqual(
      lab.changes(() => lab.dataplane.process(lab.load(A.port, bytes))),
      { 1: { rx: 1, local: 1, originated: 1, tx: 1 } },
    );
  }
  expectWhole(t, lab);
});

test('RFC 1812 5.3.1, RFC 8200 3: a packet for the router itself is not dropped for a TTL of 1', (t) => {
  const lab = known();
  expectReply(t, lab.receive(A.port, ping(A, GATEWAY, 56, { ttl: 1 })), A, GATEWAY);
  expectReply(t, lab.receive(A.port, ping6(A, GATEWAY_6, 56, { hopLimit: 1 })), A, GATEWAY_6);
  expectReply(t, lab.receive(A.port, ping(A, GATEWAY, 56, { ttl: 0 })), A, GATEWAY);
  expectWhole(t, lab);
});

test('padding does not come back', (t) => {
  const lab = known();
  const short = ping(A, GATEWAY, 4);
  const padded = new Uint8Array(60).fill(0x33);
  padded.set(short);
  expectReply(t, lab.receive(A.port, padded), A, GATEWAY, 4);
  expectWhole(t, lab);
});

test('RFC 4443 4.2: an echo request to ff02::1 or ff02::2 is answered from the interface, and the others get it as well', (t) => {
  const lab = known();
  for (const [group, last] of [
    ['ff02::1', 1],
    ['ff02::2', 2],
  ] as const) {
    const bytes = ping6(A, group, 56, { toMac: [0x33, 0x33, 0, 0, 0, last] });
    const sent = lab.receive(A.port, bytes);
    t.deepEqual(sent.map(({ port }) => port).sort(), [A.port, A2.port]);
    const back = sent.filter(({ port }) => port === A.port);
    expectReply(t, back, A, GATEWAY_6);
    t.deepEqual(sent.find(({ port }) => port === A2.port)?.frame, bytes, 'unchanged');
    const local = ping6(A, group, 56, { from: 'fe80::11', toMac: [0x33, 0x33, 0, 0, 0, last] });
    expectReply(
      t,
      lab.receive(A.port, local).filter(({ port }) => port === A.port),
      A,
      LINK_LOCAL,
    );
  }
  for (const group of ['ff02::3', 'ff05::1', 'ff02:1::1', 'ff02::1:0:1']) {
    const bytes = ping6(A, group, 56, { toMac: [0x33, 0x33, 0, 0, 0, 1] });
    t.deepEqual(lab.receivePorts(A.port, bytes), [A2.port], group);
  }
  t.deepEqual(lab.dropped(), {});
  expectWhole(t, lab);
});

test('RFC 1812 4.3.2.1, RFC 4443 2.4(b): what is no request, or has a wrong checksum, is dropped in silence', (t) => {
  const lab = known();
  for (const type of [0, 4, 5, 13, 15, 17, 10, 40, 255]) {
    t.deepEqual(lab.receive(A.port, out4(A, GATEWAY, { protocol: 1 }, message4(type, 0, 0, data(8)))), []);
  }
  const wrong = ping(A, GATEWAY);
  wrong[40] ^= 1;
  t.deepEqual(lab.receive(A.port, wrong), []);
  for (const type of [1, 3, 129, 130, 200])
    t.deepEqual(lab.receive(A.port, outIcmp6(A, GATEWAY_6, {}, message(type, 0, 0, data(8)))), []);
  const wrong6 = ping6(A, GATEWAY_6);
  wrong6[70] ^= 1;
  t.deepEqual(lab.receive(A.port, wrong6), []);
  t.deepEqual(lab.receive(A.port, out4(A, GATEWAY, { protocol: 1 }, Uint8Array.of(8, 0, 0xf7, 0xff))), [], 'cut short');
  t.deepEqual(lab.dropped(), { icmp_invalid: 17 });
  expectWhole(t, lab);
});

// --- nobody takes it

test('RFC 1812 4.3.3.1, RFC 4443 3.1: what nobody at the gateway takes is answered: port, protocol, next header', (t) => {
  const lab = known();
  const closed = out4(A, GATEWAY);
  expectError(t, lab.receive(A.port, closed), A, '3/3', closed);
  expectError(t, lab.receive(A.port, out4(A, GATEWAY, { protocol: 6 }, tcp({ srcPort: 1, dstPort: 2 }))), A, '3/3');
  expectError(t, lab.receive(A.port, out4(A, GATEWAY, { protocol: 47 }, data(20))), A, '3/2');
  const closed6 = out6(A, GATEWAY_6);
  expectError(t, lab.receive(A.port, closed6), A, '1/4', closed6);
  const unknown = out6(A, GATEWAY_6, { nextHeader: 253 }, data(20));
  const sent = lab.receive(A.port, unknown);
  expectError(t, sent, A, '4/1', unknown);
  t.is(readIcmp(sent[0]).rest, 6, 'the pointer is at the next header');
  t.deepEqual(lab.receive(A.port, out6(A, GATEWAY_6, { nextHeader: 59 }, data(20))), [], 'RFC 8200 4.7');
  t.deepEqual(lab.dropped(), { not_listening: 6 });
  expectWhole(t, lab);
});

test('frames to the gateway that are neither IP nor ARP end there', (t) => {
  const lab = known();
  const bytes = withMacs(new Uint8Array(60), gatewayMac(1), A.mac);
  bytes.set([0x88, 0xb5], 12);
  t.deepEqual(lab.receive(A.port, bytes), []);
  t.deepEqual(lab.dropped(), { not_listening: 1 });
  expectWhole(t, lab);
});

// --- extension headers

test('RFC 5095, RFC 8200 4.4: a routing header with segments left is answered with parameter problem, code 0', (t) => {
  const lab = known();
  const routing = extension(58, 24);
  routing.set([0, 1], 2);
  const bytes = out6(A, GATEWAY_6, { nextHeader: 43 }, routing, message(128, 0, 1));
  const sent = lab.receive(A.port, bytes);
  expectError(t, sent, A, '4/0', bytes);
  t.is(readIcmp(sent[0]).rest, 42);
  t.deepEqual(lab.dropped(), { ip_options: 1 });
  expectWhole(t, lab);
});

/** An echo request behind one extension header, its sum right. */
function behind(kind: number, header: Uint8Array, to = GATEWAY_6): Uint8Array {
  const body = message(128, 0, 0x70001, data(56));
  const bytes = out6(A, to, { nextHeader: kind }, header, body);
  const at = bytes.length - body.length;
  viewOf(bytes).setUint16(at + 2, ~slowSum(body, pseudoSum6(bytes, body.length)) & 0xffff);
  return bytes;
}

test('RFC 8200 4.2: options that the router does not know: skip, discard, answer; padding and router alert are fine', (t) => {
  const lab = known();
  for (const kind of [0, 60]) {
    const options = (...octets: number[]): Uint8Array => {
      const header = extension(58, 8);
      header.set(octets, 2);
      return behind(kind, header);
    };
    for (const bytes of [options(1, 4, 0, 0, 0, 0), options(5, 2, 0, 0, 1, 0), options(0x1e, 4)]) {
      const [sent] = lab.receive(A.port, bytes);
      t.is(sent.frame[54], 129, 'answered');
    }
    t.deepEqual(lab.receive(A.port, options(0x5e, 4)), []);
    for (const type of [0x9e, 0xde]) {
      const sent = lab.receive(A.port, options(type, 4));
      expectError(t, sent, A, '4/2');
      t.is(readIcmp(sent[0]).rest, 42);
    }
  }
  t.deepEqual(lab.dropped(), { ip_options: 6 });
  expectWhole(t, lab);
});

test('RFC 6946: an atomic fragment is answered without waiting for others', (t) => {
  const lab = known();
  const bytes = behind(44, fragmentHeader({ nextHeader: 58, offset: 0, more: false }));
  const [sent] = lab.receive(A.port, bytes);
  t.is(readIcmp(sent).type, 129);
  t.is(lab.held, 0);
  expectWhole(t, lab);
});

// --- fragments

/** The pieces of an IPv4 packet, `size` bytes of payload each. */
function pieces4(bytes: Uint8Array, size: number): Uint8Array[] {
  const payload = bytes.subarray(34);
  const cut: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const piece = new Uint8Array([...bytes.subarray(0, 34), ...payload.subarray(at, at + size)]);
    viewOf(piece).setUint16(16, piece.length - 14);
    viewOf(piece).setUint16(20, (at + size < payload.length ? 0x2000 : 0) | (at / 8));
    cut.push(withSum4(piece));
  }
  return cut;
}

/** The same of an IPv6 packet without extension headers. */
function pieces6(from: Station, to: string, bytes: Uint8Array, size: number): Uint8Array[] {
  const payload = bytes.slice(54);
  const cut: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const header = fragmentHeader({ nextHeader: bytes[20], offset: at / 8, more: at + size < payload.length });
    cut.push(out6(from, to, { nextHeader: 44 }, header, payload.slice(at, at + size)));
  }
  return cut;
}

/** Puts the reply's fragments together: the ICMP message. */
function joined(sent: readonly SentFrame[], isIpv6: boolean): Uint8Array {
  const parts = sent.map(({ frame }) => {
    const field = viewOf(frame).getUint16(isIpv6 ? 56 : 20);
    const at = isIpv6 ? field & 0xfff8 : (field & 0x1fff) * 8;
    return { at, data: frame.slice(isIpv6 ? 62 : 34) };
  });
  parts.sort((one, other) => one.at - other.at);
  const whole = new Uint8Array(Buffer.concat(parts.map((part) => part.data)));
  if (parts.some((part, i) => i > 0 && part.at !== parts[i - 1].at + parts[i - 1].data.length))
    throw new Error('a gap');
  return whole;
}

test('RFC 1812 4.3.3.6: a ping in fragments is answered, in fragments, up to the largest there is', (t) => {
  const lab = known({ slots: 512 });
  for (const length of [1473, 5000, 65507]) {
    const cut = pieces4(ping(A, GATEWAY, length), 1480);
    const first = cut.shift() as Uint8Array;
    for (const piece of cut.reverse()) t.deepEqual(lab.receive(A.port, piece), []);
    t.is(lab.held, cut.length);
    expectWhole(t, lab);
    const sent = lab.receive(A.port, first);
    for (const { frame } of sent) t.true(frame.length <= 1514);
    const reply = joined(sent, false);
    t.is(reply[0], 0);
    t.deepEqual(reply.slice(8), data(length));
    t.is(slowSum(reply), 0xffff);
    expectWhole(t, lab);
  }
  t.deepEqual(lab.dropped(), {});
});

test('RFC 8200 5: the same over IPv6; our own packets are cut', (t) => {
  const lab = known({ slots: 512 });
  for (const [to, from] of [
    [GATEWAY_6, A.v6],
    [LINK_LOCAL, 'fe80::11'],
  ]) {
    for (const length of [1453, 5000, 60000]) {
      const station = { ...A, v6: from };
      const sent: SentFrame[] = [];
      for (const piece of pieces6(station, to, ping6(station, to, length), 1440))
        sent.push(...lab.receive(A.port, piece));
      for (const { frame } of sent) t.true(frame.length <= 1514);
      const reply = joined(sent, true);
      t.is(reply[0], 129);
      t.deepEqual(reply.slice(8), data(length));
      expectWhole(t, lab);
    }
  }
  t.deepEqual(lab.dropped(), {});
});

test('RFC 8200 4.5, RFC 5722: overlapping fragments for us take the whole datagram with them, in silence', (t) => {
  const lab = known();
  const [first, second, third] = pieces6(A, GATEWAY_6, ping6(A, GATEWAY_6, 2900), 1000);
  t.deepEqual(lab.receive(A.port, first), []);
  const overlapping = second.slice();
  viewOf(overlapping).setUint16(56, (120 << 3) | 1);
  t.deepEqual(lab.receive(A.port, overlapping), []);
  t.deepEqual(lab.receive(A.port, second), []);
  t.deepEqual(lab.receive(A.port, third), []);
  const { fragment_invalid } = lab.dropped();
  t.true(fragment_invalid >= 2);
  lab.passTo(lab.dataplane.now + 70);
  expectWhole(t, lab);
});

test('RFC 1122 3.3.2, RFC 8200 4.5: what misses its rest is given up, and its sender told', (t) => {
  const lab = known();
  const [first] = pieces4(ping(A, GATEWAY, 2000), 1480);
  const [first6] = pieces6(A, GATEWAY_6, ping6(A, GATEWAY_6, 2000), 1440);
  const [, later] = pieces4(ping(A2, GATEWAY, 2000), 1480);
  lab.receive(A.port, first);
  lab.receive(A.port, first6);
  lab.receive(A2.port, later);
  t.is(lab.held, 3);
  expectWhole(t, lab);
  const start = lab.dataplane.now;
  lab.passTo(start + 29);
  t.is(lab.held, 3);
  const sent = lab.sentBy(() => lab.passTo(start + 32));
  expectError(
    t,
    sent.filter(({ frame }) => frame[12] === 8 && frame[13] === 0),
    A,
    '11/1',
  );
  t.is(lab.held, 1);
  const sent6 = lab.sentBy(() => lab.passTo(start + 62)).filter(({ frame }) => frame[12] === 0x86);
  expectError(t, sent6, A, '3/1');
  t.deepEqual(lab.dropped(), { fragment_timeout: 3 });
  expectWhole(t, lab);
});

test('one source has only so many datagrams waiting', (t) => {
  const lab = known({ slots: 512 });
  for (let identification = 0; identification < 100; identification++) {
    lab.receive(A.port, out4(A, GATEWAY, { protocol: 1, more: true, identification }, message4(8, 0, 1, data(8))));
  }
  const { fragment_limit, ...others } = lab.dropped();
  t.true(fragment_limit > 0);
  t.is(lab.held, 100 - fragment_limit);
  t.deepEqual(others, {});
  expectWhole(t, lab);
});

test('RFC 6980 5: neighbor discovery in fragments is neither answered nor believed', (t) => {
  const lab = known();
  const target = [0xfd, 0, 0, 1, ...new Array(11).fill(0), 1];
  const solicitation = message(135, 0, 0, Uint8Array.from([...target, 1, 1, ...A.mac]));
  const whole = outIcmp6(A, GATEWAY_6, { hopLimit: 255 }, solicitation);
  for (const piece of pieces6(A, GATEWAY_6, whole, 16)) {
    piece[21] = 255;
    t.deepEqual(lab.receive(A.port, piece), []);
  }
  t.deepEqual(lab.dropped(), { neighbor_invalid: 1 });
  t.is(readIcmp(lab.one(A.port, whole)).type, 136, 'whole it is');
  expectReply(t, lab.receive(A.port, ping6(A, GATEWAY_6)), A, GATEWAY_6);
  expectWhole(t, lab);
});

// --- options

const ROUTE = Uint8Array.of(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const noted = [7, 11, 8, 10, 1, 0, 1, 0, 0, 0, 0, 0];

test('RFC 1812 5.3.13.5: record route to the gateway comes back with its address, once', (t) => {
  const lab = known({ vrf: { recordRoute: true } });
  const bytes = ping(A, GATEWAY, 56, { options: ROUTE });
  const [sent] = lab.receive(A.port, bytes);
  t.is(sent.frame[46], 0);
  t.deepEqual([...sent.frame.subarray(34, 46)], noted);
  expectWhole(t, lab);
});

test('record route is noted once, too, where the ping came in fragments', (t) => {
  const lab = known({ vrf: { recordRoute: true } });
  const body = message4(8, 0, 0x70001, data(2000));
  const first = out4(A, GATEWAY, { protocol: 1, options: ROUTE, more: true }, body.slice(0, 1400));
  const last = out4(A, GATEWAY, { protocol: 1, offset: 175 }, body.slice(1400));
  const sent = [...lab.receive(A.port, first), ...lab.receive(A.port, last)];
  const head = sent.find(({ frame }) => (viewOf(frame).getUint16(20) & 0x1fff) === 0) as SentFrame;
  t.deepEqual([...head.frame.subarray(34, 46)], noted);
  expectWhole(t, lab);
});

test('options that are refused, or broken, are refused to own addresses as well', (t) => {
  const lab = known();
  t.deepEqual(lab.receive(A.port, ping(A, GATEWAY, 8, { options: ROUTE })), []);
  t.deepEqual(lab.receive(A.port, out4(A, GATEWAY, { options: Uint8Array.of(0x83, 7, 4, 10, 2, 0, 13, 0) })), []);
  const [sent] = lab.receive(A.port, ping(A, GATEWAY, 8, { options: Uint8Array.of(0x9e, 0, 0, 0) }));
  t.is(readIcmp(sent).type, 12);
  t.deepEqual(lab.dropped(), { ip_options: 3 });
  expectWhole(t, lab);
});

// --- the host

test('with access to the host, what the gateway does not take itself goes to the host, and the host answers as the gateway', (t) => {
  const lab = known({ interfaces: { 1: { hostAccess: true } } });
  lab.resolve(THE_HOST, GATEWAY);
  lab.resolve(THE_HOST, GATEWAY_6);
  for (const bytes of [
    out4(A, GATEWAY),
    out4(A, GATEWAY, { protocol: 6 }, tcp({ srcPort: 1, dstPort: 22 })),
    out4(A, GATEWAY, { protocol: 1 }, message4(0, 0, 7)),
    out6(A, GATEWAY_6),
    outIcmp6(A, GATEWAY_6, {}, message(129, 0, 7)),
  ]) {
    const sent = lab.one(A.port, bytes);
    t.is(sent.port, THE_HOST.port);
    t.deepEqual(sent.frame, hopped(bytes, THE_HOST));
  }
  expectReply(t, lab.receive(A.port, ping(A, GATEWAY)), A, GATEWAY);
  expectReply(t, lab.receive(A.port, ping6(A, GATEWAY_6)), A, GATEWAY_6);
  for (const bytes of [out4(THE_HOST, A), out6(THE_HOST, A)]) {
    t.deepEqual(lab.one(THE_HOST.port, bytes).frame, hopped(bytes, A));
  }
  t.deepEqual(lab.dropped(), {});
  expectWhole(t, lab);
});

test('a packet that waits for the host is as it came', (t) => {
  const lab = new Lab({ interfaces: { 1: { hostAccess: true } }, vrf: { recordRoute: true } }).know(A);
  const bytes = out4(A, GATEWAY, { options: ROUTE });
  const asked = lab.receive(A.port, bytes);
  t.deepEqual(
    asked.map(({ port }) => port),
    [THE_HOST.port],
  );
  t.is(lab.held, 1);
  const sent = lab.sentBy(() => lab.resolve(THE_HOST, GATEWAY, HOST));
  t.is(sent.length, 1);
  t.is(sent[0].frame[22], 63);
  t.deepEqual(
    [...sent[0].frame.subarray(34, 46)],
    [7, 11, 8, 192, 0, 2, 7, 0, 0, 0, 0, 0],
    'one address, that of the way out',
  );
  expectWhole(t, lab);
});

test('without access nothing reaches the host, and the host nothing', (t) => {
  const lab = known({ interfaces: { 1: { hostAccess: true } } });
  expectError(t, lab.receive(C.port, out4(C, '10.3.0.1')), C, '3/3');
  expectError(t, lab.receive(B.port, out4(B, '192.0.2.7')), B, '3/13');
  const bytes = out4(THE_HOST, B);
  const [sent] = lab.receive(THE_HOST.port, bytes);
  const error = readIcmp(sent);
  t.is(`${error.type}/${error.code} ${error.to}`, '3/13 10.1.0.1');
  t.deepEqual(
    lab.receive(THE_HOST.port, out4(THE_HOST, OUTSIDE)).map((one) => readIcmp(one).code),
    [13],
  );
  t.deepEqual(lab.dropped(), { not_listening: 1, host_access: 3 });
  expectWhole(t, lab);
});

// --- a shared uplink

test("a shared interface leaves what is the host's to the host: addresses, ARP, discovery, echo", (t) => {
  const lab = known({ interfaces: { 4: { shared: true } } });
  const OWN = '10.4.0.1';
  for (const bytes of [
    ping(OUTSIDE, OWN),
    out4(OUTSIDE, OWN),
    out4(OUTSIDE, OWN, { protocol: 6 }, tcp({ srcPort: 1, dstPort: 22 })),
    out4(OUTSIDE, OWN, { protocol: 17, more: true }),
    ping6(OUTSIDE, 'fd00:4::1'),
    out6(OUTSIDE, 'fd00:4::1'),
    ping6(OUTSIDE, 'fe80::ff:fe00:fe04', 8, { from: 'fe80::16' }),
    ping6(OUTSIDE, 'ff02::1', 8, { toMac: [0x33, 0x33, 0, 0, 0, 1] }),
  ]) {
    t.deepEqual(lab.receive(OUTSIDE.port, bytes), []);
  }
  t.deepEqual(lab.dropped(), { host_owned: 8 });
  t.is(lab.one(OUTSIDE.port, out4(OUTSIDE, A)).port, A.port, 'what is for a network is ours');
  expectError(t, lab.receive(A.port, ping(A, OWN)), A, '3/13');
  t.deepEqual(lab.dropped(), { host_owned: 8, host_access: 1 });
  expectWhole(t, lab);
});

test('a network with access to the host reaches the address of a shared uplink by way of the host port', (t) => {
  const lab = known({ interfaces: { 1: { hostAccess: true }, 4: { shared: true } } });
  lab.resolve(THE_HOST, '10.4.0.1', HOST);
  for (const bytes of [ping(A, '10.4.0.1'), out4(A, '10.4.0.1', {}, udp({ srcPort: 5, dstPort: 53 }, datagram()))]) {
    t.deepEqual(lab.one(A.port, bytes).frame, hopped(bytes, THE_HOST));
  }
  t.deepEqual(lab.dropped(), {});
  expectWhole(t, lab);
});
