/** What somebody who means ill, or a change at the wrong moment, could have had of the router. */

import test from 'ava';
import { isMapped } from '../../../core/router/address.js';
import { tagged } from '../../support/harness.js';
import {
  A,
  A2,
  arpFrame,
  B,
  B2,
  C,
  expectError,
  expectWhole,
  HOST,
  hopped,
  Lab,
  type LabOptions,
  message,
  message4,
  OUTSIDE,
  out4,
  out6,
  outIcmp6,
  readArp,
  readIcmp,
  THE_HOST,
  UPLINK,
  via,
  word4,
  words6,
} from './lab.js';

const known = (options: LabOptions = {}): Lab => new Lab(options).know(A, A2, B, B2, C, OUTSIDE, THE_HOST);

// --- one family's addresses are not the other's

test('an IPv6 destination with a mapped look makes no shortcut for the IPv4 address in it', (t) => {
  const lab = known();
  // Its last three words are those of ::ffff:10.2.0.13, which is B's address as it is kept.
  const look = 'fd00:9::ffff:0a02:000d';
  lab.routeVia('fd00:9::/64', via(UPLINK, OUTSIDE.v6));
  for (let i = 0; i < 4; i++) t.is(lab.one(A.port, out6(A, look)).port, OUTSIDE.port);
  for (let i = 0; i < 4; i++) t.deepEqual(lab.one(A.port, out4(A, B)).frame, hopped(out4(A, B), B));
  for (let i = 0; i < 2; i++) t.is(lab.one(A.port, out6(A, look)).port, OUTSIDE.port, 'nor the other way round');
  expectWhole(t, lab);
});

test('a next hop of IPv4 is not taken for the IPv6 neighbor that has its place in the pool', (t) => {
  const lab = known();
  lab.routeVia('10.9.0.0/16', via(UPLINK, '10.4.0.99'));
  lab.resolve(OUTSIDE, '10.4.0.99');
  t.is(lab.one(A.port, out4(A, '10.9.0.1')).port, OUTSIDE.port);
  lab.router.neighbors.forget(({ a, b, c, d }) => isMapped(a, b, c) && d === word4('10.4.0.99'));
  lab.resolve({ ...OUTSIDE, mac: [2, 0, 0, 0, 0, 0x66] }, 'fd00:4::ffff:0a04:0063');
  t.is(readArp(lab.one(A.port, out4(A, '10.9.0.1')).frame), 'request 10.4.0.1 > 10.4.0.99');
});

// --- changes while packets wait

test('a packet that waits goes with its port: the network behind it may be gone when the neighbor answers', (t) => {
  const lab = new Lab().know(A, B);
  const nobody = { ...B2, v4: '10.2.0.77' };
  for (let i = 0; i < 3; i++) lab.receive(A.port, out4(A, nobody.v4));
  lab.receive(A.port, out4(A, '10.1.0.1', { protocol: 1, more: true }, message4(8, 0, 9, new Uint8Array(16))));
  lab.sentBy(() => lab.router.removeInterface(1));
  lab.topology.removePort(A.port);
  lab.topology.removePort(A2.port);
  lab.topology.removeNetwork(1);
  lab.receive(B2.port, arpFrame(nobody, 2, '10.2.0.1', { sender: nobody.v4 }));
  lab.passTo(120);
  t.is(lab.dataplane.lastError, null);
  t.like(lab.dropped(), { port_gone: 4 });
  t.is(lab.arena.available, lab.arena.slotCount);
});

test("a packet that waits is not taken for one of its port number's next owner", (t) => {
  const lab = new Lab({ interfaces: { 3: { internal: true }, 2: { hostAccess: true } } }).know(A, B, C);
  lab.receive(A.port, out4(A, '10.2.0.77'));
  lab.topology.removePort(A.port);
  lab.topology.addPort(A.port, HOST, { routed: true });
  lab.dataplane.ports[A.port].routed = lab.iface(HOST);
  t.deepEqual(lab.receive(B2.port, arpFrame({ ...B2, v4: '10.2.0.77' }, 2, '10.2.0.1', {})), []);
  t.like(lab.dropped(), { port_gone: 1 });
});

test('a tagged packet that waits for its neighbor leaves when that answers', (t) => {
  for (const tag of [10, 0]) {
    const lab = new Lab();
    lab.sentBy(() => lab.router.removeInterface(1));
    lab.topology.removePort(A.port);
    lab.topology.removePort(A2.port);
    lab.topology.removeNetwork(1);
    lab.addVlanNetwork([10]);
    lab.topology.addPort(A.port, 1, { vlan: { native: tag === 0 ? 10 : 0, tagged: [10] } });
    lab.sentBy(() => lab.router.addInterface(1, { ...gatewayOf1, fid: 1010 }));
    t.is(readArp(lab.receive(A.port, tagged(out4(A, B), tag, 3))[0].frame), 'request 10.2.0.1 > 10.2.0.13');
    const sent = lab.receive(B.port, arpFrame(B, 2, '10.2.0.1'));
    t.is(sent.length, 1);
    t.deepEqual(sent[0]?.frame, hopped(out4(A, B), B));
    t.deepEqual(lab.dropped(), {});
    expectWhole(t, lab);
  }
});

const gatewayOf1 = {
  kind: 1,
  vrf: 1,
  fid: 1,
  port: 0,
  macHigh: 0x0200,
  macLow: 0xfe01,
  mtu: 1500,
  addresses4: Int32Array.of(word4('10.1.0.1'), 0xffffff00 | 0),
  addresses6: Int32Array.of(...words6('fd00:1::1'), 64),
};

// --- offloads

test('a checksum to come must lie in the payload: whoever completes it would write over what was checked', (t) => {
  const lab = known();
  const at = (checksumStart: number, checksumOffset: number) => ({ flags: 1, checksumStart, checksumOffset });
  // TTL, source and destination of IPv4; ports of UDP; by a start in front of them, or right there.
  const places4 = [
    [14, 8],
    [14, 12],
    [14, 18],
    [30, 0],
    [34, 0],
    [34, 2],
  ];
  for (const [start, offset] of places4) t.deepEqual(lab.receive(A.port, out4(A, OUTSIDE), at(start, offset)), []);
  const places6 = [
    [14, 6],
    [14, 20],
    [38, 14],
    [54, 1],
  ];
  for (const [start, offset] of places6) t.deepEqual(lab.receive(A.port, out6(A, OUTSIDE), at(start, offset)), []);
  const later = out4(A, OUTSIDE, { offset: 80 });
  t.deepEqual(lab.receive(A.port, later, at(34, 6)), [], 'nobody asks for one in a later fragment');
  t.deepEqual(lab.dropped(), { unverifiable: 11 });
  for (let i = 0; i < 3; i++) t.is(lab.receive(A.port, out4(A, OUTSIDE), at(34, 6)).length, 1);
  for (let i = 0; i < 3; i++) t.is(lab.receive(A.port, out6(A, OUTSIDE), at(54, 6)).length, 1);
  expectWhole(t, lab);
});

test('a checksum to come behind the packet, in the padding of the frame, is none', (t) => {
  const lab = known();
  const padded = new Uint8Array(80);
  padded.set(out4(A, OUTSIDE));
  t.deepEqual(lab.receive(A.port, padded, { flags: 1, checksumStart: 34, checksumOffset: 30 }), []);
  t.deepEqual(lab.dropped(), { unverifiable: 1 });
});

// --- a shared uplink

test('a shared uplink is no way for others on its wire: the host forwards for them, or does not', (t) => {
  const lab = known({ interfaces: { [UPLINK]: { shared: true } } });
  lab.resolve({ ...OUTSIDE, mac: [2, 0, 0, 0, 0, 0x67] }, '10.4.0.99');
  lab.resolve({ ...OUTSIDE, mac: [2, 0, 0, 0, 0, 0x67] }, 'fd00:4::99');
  t.deepEqual(lab.receive(OUTSIDE.port, out4(OUTSIDE, '10.4.0.99')), []);
  t.deepEqual(lab.receive(OUTSIDE.port, out6(OUTSIDE, 'fd00:4::99')), []);
  t.deepEqual(lab.dropped(), { host_owned: 2 });
  t.is(lab.one(OUTSIDE.port, out4(OUTSIDE, A)).port, A.port);
  expectWhole(t, lab);
});

// --- sources

test('RFC 1812 4.3.2.7: no error, and no echo reply, goes to the broadcast address of a subnet', (t) => {
  const lab = known();
  for (const from of ['10.1.0.255', '10.1.0.0']) {
    t.deepEqual(lab.receive(A.port, out4(A, '10.99.0.1', { from })), []);
    t.deepEqual(lab.receive(A.port, out4(A, '10.1.0.1', { from, protocol: 1 }, message4(8, 0, 9))), []);
  }
  t.deepEqual(lab.dropped(), { no_route: 2, martian_source: 2 });
  expectError(t, lab.receive(A.port, out4(A, '10.99.0.1')), A, '3/0');
  expectWhole(t, lab);
});

test("source validation refuses the router's own addresses, and broadcasts, as sources", (t) => {
  const lab = known({ interfaces: { 1: { validateSource: true } } });
  for (const from of ['10.1.0.1', '10.1.0.255']) t.deepEqual(lab.receive(A.port, out4(A, B, { from })), []);
  t.deepEqual(lab.receive(A.port, out6(A, B, { from: 'fd00:1::1' })), []);
  t.deepEqual(lab.dropped(), { source_validation: 3 });
  t.is(lab.one(A.port, out4(A, B)).port, B.port);
  expectWhole(t, lab);
});

test('RFC 4443 4.2: an echo request to all nodes is answered only where it came from one host', (t) => {
  const lab = known();
  const toMac = [0x33, 0x33, 0, 0, 0, 1];
  for (const from of ['::', '::1', 'ff02::1']) {
    const sent = lab.receive(A.port, outIcmp6(A, 'ff02::1', { toMac, from }, message(128, 0, 9)));
    t.deepEqual(
      sent.map(({ port }) => port),
      [A2.port],
      from,
    );
  }
  expectWhole(t, lab);
});

test('RFC 8200 4.2: options in an echo request to all nodes are looked at before it is answered', (t) => {
  const lab = known();
  const toMac = [0x33, 0x33, 0, 0, 0, 1];
  const echo = outIcmp6(A, 'ff02::1', { toMac }, message(128, 0, 9)).slice(54);
  // Destination options with one that is not known: 0x40 discard, 0x80 answer to whatever it was sent to.
  const withOption = (type: number): Uint8Array =>
    out6(A, 'ff02::1', { toMac, nextHeader: 60 }, Uint8Array.from([58, 0, type, 4, 0, 0, 0, 0]), echo);
  t.deepEqual(
    lab.receive(A.port, withOption(0x40)).map(({ port }) => port),
    [A2.port],
  );
  const [error] = lab.receive(A.port, withOption(0x80)).filter(({ port }) => port === A.port);
  t.is(readIcmp(error).type, 4);
  t.is(lab.receive(A.port, withOption(0x00)).length, 2);
  expectWhole(t, lab);
});

// --- shares

test('one port that invents sources leaves errors for the others', (t) => {
  const lab = known();
  for (let i = 0; i < 3000; i++) lab.receive(A.port, out4(A, '10.99.0.1', { from: `10.1.${i >> 8}.${(i & 255) | 1}` }));
  const first = lab.router.errors.limiter.sent;
  t.true(first >= 100);
  for (let i = 0; i < 20; i++) expectError(t, lab.receive(B.port, out4(B, '10.99.0.1')), B, '3/0');
  expectWhole(t, lab);
});

test('RFC 2992: all fragments of a datagram go the same way', (t) => {
  const lab = known();
  lab.resolve({ ...OUTSIDE, mac: [2, 0, 0, 0, 0, 0x68] }, '10.4.0.98');
  lab.resolve({ ...OUTSIDE, mac: [2, 0, 0, 0, 0, 0x69] }, '10.4.0.99');
  lab.routeVia('10.9.0.0/16', via(UPLINK, '10.4.0.98'), via(UPLINK, '10.4.0.99'));
  const ways = new Set<string>();
  for (let host = 1; host < 40; host++) {
    const to = `10.9.0.${host}`;
    const parts = [out4(A, to, { more: true }), out4(A, to, { offset: 80, more: true }), out4(A, to, { offset: 160 })];
    const macs = parts.map((part) => lab.one(A.port, part).frame.subarray(0, 6).join());
    t.is(new Set(macs).size, 1, to);
    ways.add(macs[0]);
  }
  t.is(ways.size, 2);
  expectWhole(t, lab);
});
