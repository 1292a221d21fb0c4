/** The router as it is wired: neighbors and what waits for them, interfaces that change, VLANs, mirrors, moves, restarts, and anything at all. */

import test from 'ava';
import { Dataplane } from '../../../core/dataplane.js';
import { DROP_REASONS } from '../../../core/drop.js';
import { EVENT_ADDRESS_CONFLICT } from '../../../core/events.js';
import { ROUTER_PORT } from '../../../core/ports.js';
import { NEIGHBOR_FAILED, NEIGHBOR_REACHABLE } from '../../../core/router/neighbors.js';
import { ROUTE_UNREACHABLE } from '../../../core/router/vrf.js';
import { createRandom, loadCorpus, mutate, rerunLine, seedOfRun } from '../../support/corpus.js';
import { BROADCAST, frame, Harness, type SentFrame, tagged } from '../../support/harness.js';
import { fragmentHeader, tcp } from '../wire/build.js';
import { viewOf } from './icmp-frames.js';
import {
  A,
  A2,
  advertisement,
  arpFrame,
  B,
  B2,
  C,
  datagram,
  expectError,
  expectWhole,
  gatewayMac,
  hopped,
  Lab,
  type LabOptions,
  message,
  message4,
  OUTSIDE,
  out4,
  out6,
  outIcmp6,
  prefix,
  readArp,
  readIcmp,
  type Station,
  THE_HOST,
  UPLINK,
  via,
  withMacs,
  word4,
  words6,
} from './lab.js';

const known = (options: LabOptions = {}): Lab => new Lab(options).know(A, A2, B, B2, C, OUTSIDE, THE_HOST);

const numbered = (number: number): Uint8Array => {
  const bytes = datagram();
  bytes[25] = number;
  return bytes;
};

// --- packets that wait

for (const [family, out, answer] of [
  ['IPv4', out4, (to: Station) => arpFrame(to, 2, '10.2.0.1')],
  ['IPv6', out6, (to: Station) => advertisement(to)],
] as const) {
  test(`${family}: packets wait for the neighbor, and go in order, as they would have gone at once`, (t) => {
    const lab = new Lab().know(A);
    const asked = lab.receive(A.port, out(A, B, {}, numbered(0)));
    t.deepEqual(asked.map(({ port }) => port).sort(), [B.port, B2.port], 'everybody in the network is asked');
    if (family === 'IPv4') t.is(readArp(asked[0].frame), 'request 10.2.0.1 > 10.2.0.13');
    for (let i = 1; i < 10; i++)
      t.deepEqual(lab.receive(A.port, out(A, B, {}, numbered(i))), [], 'one request is enough');
    t.is(lab.held, 10);
    expectWhole(t, lab);
    const sent = lab.receive(B.port, answer(B));
    t.deepEqual(
      sent.map(({ frame }) => frame),
      Array.from({ length: 10 }, (_, i) => hopped(out(A, B, {}, numbered(i)), B)),
    );
    t.true(sent.every(({ port }) => port === B.port));
    t.is(lab.held, 0);
    t.deepEqual(lab.dropped(), {});
    expectWhole(t, lab);
  });

  test(`${family}: RFC 1812 4.3.3.1, RFC 4861 7.2.2: three requests a second apart, then all that waited is answered`, (t) => {
    const lab = new Lab();
    lab.passTo(lab.dataplane.now + 5); // its own announcements are over
    lab.know(A, A2);
    const first = out(A, B, {}, numbered(1));
    const second = out(A2, B, {}, numbered(2));
    lab.receive(A.port, first);
    lab.receive(A2.port, second);
    const start = lab.dataplane.now;
    for (const second of [1, 2]) {
      const asked = lab.sentBy(() => lab.passTo(start + second)).filter(({ port }) => port === B.port);
      t.is(asked.filter(({ frame }) => (frame[12] === 0x08 ? frame[13] === 6 : frame[54] === 135)).length, 1);
    }
    const answers = lab.sentBy(() => lab.passTo(start + 3));
    const code = family === 'IPv4' ? '3/1' : '1/3';
    expectError(
      t,
      answers.filter(({ port }) => port === A.port),
      A,
      code,
      first,
    );
    expectError(
      t,
      answers.filter(({ port }) => port === A2.port),
      A2,
      code,
      second,
    );
    t.deepEqual(lab.dropped(), { neighbor_failed: 2 });
    // The next is refused at once, and told so.
    expectError(t, lab.receive(A.port, first), A, code, first);
    t.deepEqual(lab.dropped(), { neighbor_failed: 3 });
    lab.receive(B.port, answer(B));
    t.deepEqual(lab.one(A.port, first).frame, hopped(first, B), 'until somebody answers');
    expectWhole(t, lab);
  });

  test(`${family}: so many packets wait a neighbor, and so many a port; older ones make room`, (t) => {
    const lab = new Lab({ slots: 200 }).know(A);
    for (let i = 0; i < 20; i++) lab.receive(A.port, out(A, B, {}, numbered(i)));
    t.is(lab.held, 16);
    t.deepEqual(lab.dropped(), { neighbor_queue: 4 });
    const sent = lab.receive(B.port, answer(B));
    t.deepEqual(
      sent.map((one) => one.frame[one.frame.length - 1]),
      Array.from({ length: 16 }, (_, i) => i + 4),
    );
    for (let host = 0; host < 80; host++) {
      lab.receive(A.port, out(A, family === 'IPv4' ? `10.2.0.${100 + host}` : `fd00:2::${1000 + host}`));
    }
    t.is(lab.held, 64);
    expectWhole(t, lab);
    while (lab.held > 0) lab.passTo(lab.dataplane.now + 1);
    expectWhole(t, lab);
  });

  test(`${family}: a next hop's packets wait as well, and go by it`, (t) => {
    const lab = new Lab().know(A);
    const [to, far] = family === 'IPv4' ? ['10.9.0.0/16', '10.9.0.9'] : ['fd09::/16', 'fd09::9'];
    lab.routeVia(to, via(2, family === 'IPv4' ? B.v4 : B.v6));
    lab.receive(A.port, out(A, far));
    const sent = lab.receive(B.port, answer(B));
    t.deepEqual(
      sent.map(({ frame }) => frame),
      [hopped(out(A, far), B)],
    );
    expectWhole(t, lab);
  });

  test(`${family}: a packet that has waited goes where the routes then lead`, (t) => {
    const lab = new Lab().know(A, C);
    lab.receive(A.port, out(A, B));
    const to = family === 'IPv4' ? `${B.v4}/32` : `${B.v6}/128`;
    lab.routeVia(to, via(3, family === 'IPv4' ? C.v4 : C.v6));
    t.deepEqual(
      lab.receive(B.port, answer(B)).map(({ port }) => port),
      [C.port],
    );
    t.is(lab.held, 0);
    lab.route(to, ROUTE_UNREACHABLE);
    t.deepEqual(
      lab.receive(A.port, out(A, B)).map(({ port }) => port),
      [A.port],
    );
    t.deepEqual(lab.dropped(), { unreachable: 1 });
    expectWhole(t, lab);
  });

  test(`${family}: a packet that waits, and whose port or network goes, is given up`, (t) => {
    const lab = new Lab().know(A, A2, C);
    lab.receive(A.port, out(A, B));
    lab.receive(C.port, out(C, B));
    lab.topology.removePort(A.port);
    t.is(lab.held, 1);
    lab.change(2, {}, false);
    t.is(lab.held, 0);
    t.deepEqual(lab.dropped(), { port_gone: 1, interface_down: 1 });
    lab.change(2, {}, true);
    lab.receive(A2.port, out(A2, B));
    lab.sentBy(() => lab.router.removeInterface(1));
    t.is(lab.held, 1);
    lab.receive(B.port, answer(B));
    t.is(lab.held, 0);
    t.deepEqual(lab.dropped(), { port_gone: 1, interface_down: 2 }, 'it came in by an interface that is gone');
    expectWhole(t, lab);
  });
}

test('neighbors that one port asks for are limited, and others are not kept waiting', (t) => {
  const lab = new Lab({ slots: 300 }).know(A, A2);
  lab.change(2, { addresses4: Int32Array.of(word4('10.2.0.1'), 0xffff0000 | 0) });
  for (let host = 0; host < 5000; host++) lab.receive(A.port, out4(A, `10.2.${10 + (host >> 7)}.${host & 127}`));
  const { neighbor_rate } = lab.dropped();
  t.true(neighbor_rate > 4000, `${neighbor_rate}`);
  lab.receive(A2.port, out4(A2, B));
  t.deepEqual(
    lab.receive(B.port, arpFrame(B, 2, '10.2.0.1')).map(({ frame }) => frame),
    [hopped(out4(A2, B), B)],
  );
  expectWhole(t, lab);
});

test('the neighbor table has its bound; the oldest make room', (t) => {
  const lab = new Lab({ slots: 64, fdbCapacity: 1024 }).know(A);
  lab.change(2, { addresses4: Int32Array.of(word4('10.2.0.1'), 0xffff0000 | 0) });
  const { neighbors } = lab.router;
  for (let number = 0; neighbors.count < neighbors.maximum; number++) {
    neighbors.setPermanent(lab.iface(2), 0, 0, 0xffff, word4('10.2.0.0') + number + 256, 0x0200, number);
  }
  lab.receive(A.port, out4(A, B));
  t.deepEqual(lab.dropped(), { neighbor_full: 1 });
  expectWhole(t, lab);
});

// --- ARP and discovery

test('RFC 826, RFC 1122 2.3.2: requests for the gateway are answered, and not flooded; others are', (t) => {
  const lab = new Lab();
  const [reply] = lab.receive(A.port, arpFrame(A, 1, '10.1.0.1'));
  t.is(readArp(reply.frame), 'reply 10.1.0.1 > 10.1.0.11');
  t.is(reply.port, A.port);
  t.deepEqual([...reply.frame.subarray(0, 12)], [...A.mac, ...gatewayMac(1)]);
  t.deepEqual(lab.receivePorts(A.port, arpFrame(A, 1, A2.v4)), [A2.port]);
  t.deepEqual(lab.receivePorts(OUTSIDE.port, arpFrame(OUTSIDE, 1, '10.4.0.1')), [OUTSIDE.port]);
  t.deepEqual(lab.receivePorts(OUTSIDE.port, arpFrame(OUTSIDE, 1, '10.4.0.9')), []);
  t.deepEqual(lab.receivePorts(A.port, arpFrame(A, 1, '10.1.0.1', { sender: '0.0.0.0' })), [A.port], 'a probe');
  t.deepEqual(lab.dropped(), { other_host: 1 });
  t.is(lab.one(B.port, out4(B, A)).port, A.port, 'who asks is known');
  expectWhole(t, lab);
});

test("RFC 5227 2.4: who claims the gateway's address is told of, contradicted, and not believed", (t) => {
  const lab = known();
  lab.passTo(lab.dataplane.now + 5);
  lab.events();
  const claim = arpFrame(A2, 2, '10.1.0.1', { sender: '10.1.0.1', to: BROADCAST });
  const sent = lab.receive(A2.port, claim);
  t.true(sent.length > 0 && sent.every(({ frame }) => readArp(frame) === 'request 10.1.0.1 > 10.1.0.1'));
  const events = lab.events().filter(({ kind }) => kind === EVENT_ADDRESS_CONFLICT);
  t.is(events.length, 1);
  t.deepEqual([events[0].domain, events[0].port, events[0].low], [1, A2.port, 2]);
  lab.receive(A2.port, claim);
  t.deepEqual(lab.dropped(), { neighbor_invalid: 2 });
  t.is(lab.one(A.port, out4(A, B)).port, B.port);
  expectWhole(t, lab);
});

test("nobody takes the gateway's MAC", (t) => {
  const lab = known();
  t.deepEqual(lab.receive(A2.port, frame(BROADCAST, gatewayMac(1))), []);
  t.deepEqual(lab.dropped(), { static_mac: 1 });
  t.is(lab.dataplane.fdb.search((1 << 16) | 0x0200, 0xfe01), ROUTER_PORT);
  t.is(lab.one(A.port, out4(A, B)).port, B.port);
  expectWhole(t, lab);
});

test("proxy ARP and discovery: answered for chosen prefixes, with the gateway's MAC, and the packets are routed", (t) => {
  const lab = new Lab({
    interfaces: {
      4: {
        proxies4: Int32Array.of(word4('10.1.0.0'), 0xffffff00 | 0),
        proxies6: Int32Array.of(...words6('fd00:1::'), 64),
      },
    },
  }).know(A, OUTSIDE);
  const [reply] = lab.receive(OUTSIDE.port, arpFrame(OUTSIDE, 1, A.v4));
  t.is(readArp(reply.frame), 'reply 10.1.0.11 > 10.4.0.16');
  t.deepEqual([...reply.frame.subarray(6, 12)], gatewayMac(UPLINK));
  t.deepEqual(lab.receive(OUTSIDE.port, arpFrame(OUTSIDE, 1, '10.2.0.13')), []);
  const solicitation = message(135, 0, 0, Uint8Array.from([...sixteen(A.v6), 1, 1, ...OUTSIDE.mac]));
  const asked = outIcmp6(
    OUTSIDE,
    'ff02::1:ff00:11',
    { hopLimit: 255, toMac: [0x33, 0x33, 0xff, 0, 0, 0x11] },
    solicitation,
  );
  t.is(readIcmp(lab.one(OUTSIDE.port, asked)).type, 136);
  t.is(lab.one(OUTSIDE.port, out4(OUTSIDE, A)).port, A.port);
  t.deepEqual(lab.dropped(), { other_host: 1 });
  expectWhole(t, lab);
});

function sixteen(address: string): Uint8Array {
  const bytes = new Uint8Array(16);
  words6(address).forEach((word, i) => {
    viewOf(bytes).setInt32(4 * i, word);
  });
  return bytes;
}

test('what a neighbor says without being asked, or says wrongly, is not believed', (t) => {
  const lab = new Lab().know(A);
  t.deepEqual(lab.receive(B.port, arpFrame(B, 2, '10.2.0.1')), [], 'a reply nobody asked for');
  t.deepEqual(lab.receive(B.port, advertisement(B)), []);
  const bad = advertisement(B);
  bad[21] = 254;
  t.deepEqual(lab.receive(B.port, bad), []);
  t.deepEqual(lab.dropped(), { neighbor_invalid: 3 });
  t.is(lab.router.neighbors.find4(2, word4(B.v4)), null);
  t.is(lab.router.neighbors.find6(2, ...words6(B.v6)), null);
  expectWhole(t, lab);
});

// --- moves

for (const [family, out, address] of [
  ['IPv4', out4, (one: Station) => one.v4],
  ['IPv6', out6, (one: Station) => one.v6],
] as const) {
  test(`${family}: a MAC that moves to another port takes its packets with it; where the bridge has forgotten it, they are flooded`, (t) => {
    const lab = known();
    for (let i = 0; i < 3; i++) t.is(lab.one(A.port, out(A, B)).port, B.port);
    lab.receive(B2.port, frame(BROADCAST, B.mac));
    for (let i = 0; i < 3; i++) t.is(lab.one(A.port, out(A, B)).port, B2.port);
    lab.receive(B.port, frame(BROADCAST, B.mac));
    for (let i = 0; i < 3; i++) t.is(lab.one(A.port, out(A, B)).port, B.port);
    for (const flush of [() => lab.topology.flush(2, 0, 0), () => lab.topology.flush(0, -1, B.port)]) {
      flush();
      for (let i = 0; i < 3; i++) t.deepEqual(lab.receivePorts(A.port, out(A, B)), [B.port, B2.port]);
      t.deepEqual(
        lab.receive(A.port, out(A, B)).map((one) => one.frame),
        [hopped(out(A, B), B), hopped(out(A, B), B)],
      );
      lab.receive(B.port, frame(BROADCAST, B.mac));
      t.is(lab.one(A.port, out(A, B)).port, B.port);
    }
    lab.topology.removePort(B.port);
    for (let i = 0; i < 3; i++) t.false(lab.receivePorts(A.port, out(A, B)).includes(B.port));
    lab.topology.addPort(B.port, 2);
    lab.know(B);
    for (let i = 0; i < 3; i++) t.is(lab.one(A.port, out(A, B)).port, B.port);
    expectWhole(t, lab);
  });

  test(`${family}: a neighbor that has another MAC from now on gets everything there, from wherever it comes`, (t) => {
    const lab = known();
    const [to, far] =
      family === 'IPv4' ? ['10.9.0.0/16', ['10.9.0.1', '10.9.0.2']] : ['fd09::/16', ['fd09::1', 'fd09::2']];
    lab.routeVia(to, via(2, address(B)));
    const all = (): Set<string> => {
      const macs = new Set<string>();
      for (const from of [A, A2, C, OUTSIDE]) {
        for (const destination of [address(B), ...far]) {
          for (let i = 0; i < 3; i++)
            macs.add([...lab.one(from.port, out(from, destination)).frame.subarray(0, 6)].join());
        }
      }
      return macs;
    };
    t.deepEqual([...all()], [B.mac.join()]);
    const successor: Station = { ...B, port: B2.port, mac: [2, 0, 0, 0, 0, 0x99] };
    lab.receive(successor.port, frame(BROADCAST, successor.mac));
    lab.resolve(successor, address(successor));
    // Some of them first, then all.
    t.is(lab.one(A.port, out(A, address(B))).port, B2.port);
    t.deepEqual([...all()], [successor.mac.join()]);
    t.deepEqual([...all()], [successor.mac.join()]);
    expectWhole(t, lab);
  });
}

// --- interfaces that change

test("an interface is given other addresses: the old ones are nobody's, the new ones answer, neighbors stay", (t) => {
  const lab = known();
  for (let i = 0; i < 3; i++) t.is(lab.one(A.port, out4(A, B)).port, B.port);
  const ping = (to: string): string => {
    const { type, code } = readIcmp(lab.one(A.port, out4(A, to, { protocol: 1 }, message4(8, 0, 1))));
    return `${type}/${code}`;
  };
  t.is(ping('10.2.0.1'), '0/0');
  const sent = lab.change(2, {
    addresses4: Int32Array.of(word4('10.2.0.3'), 0xffffff00 | 0, word4('10.22.0.1'), 0xffff0000 | 0),
  });
  t.true(
    sent.some(({ frame }) => readArp(frame) === 'request 10.2.0.3 > 10.2.0.3'),
    'it is announced',
  );
  t.is(ping('10.2.0.3'), '0/0');
  t.is(ping('10.22.0.1'), '0/0');
  t.is(lab.one(A.port, out4(A, B)).port, B.port);
  t.true(lab.receive(A.port, out4(A, '10.2.0.1')).every((one) => readArp(one.frame) === 'request 10.2.0.3 > 10.2.0.1'));
  lab.change(2, { addresses4: Int32Array.of(word4('10.22.0.1'), 0xffff0000 | 0) });
  t.is(ping('10.2.0.13'), '3/0');
  t.is(ping('10.2.0.3'), '3/0');
  while (lab.held > 0) lab.passTo(lab.dataplane.now + 1);
  expectWhole(t, lab);
});

test("an interface is given another MAC: that one is the gateway's, and what leaves comes from it", (t) => {
  const lab = known();
  for (let i = 0; i < 3; i++) lab.receive(A.port, out4(A, B));
  lab.change(1, { macLow: 0x777 });
  lab.change(2, { macLow: 0x888 });
  t.deepEqual(lab.receivePorts(A.port, out4(A, B)), [A2.port], 'the old one is any MAC');
  const bytes = out4(A, B, { toMac: [2, 0, 0, 0, 0x07, 0x77] });
  for (let i = 0; i < 3; i++)
    t.deepEqual([...lab.one(A.port, bytes).frame.subarray(0, 12)], [...B.mac, 2, 0, 0, 0, 0x08, 0x88]);
  expectWhole(t, lab);
});

test('an interface that is down answers nothing and is no way; up again it is as before', (t) => {
  const lab = known();
  for (let i = 0; i < 3; i++) lab.receive(A.port, out4(A, B));
  t.true(lab.router.neighbors.find4(2, word4(B.v4)) !== null);
  lab.change(2, {}, false);
  t.is(lab.router.neighbors.find4(2, word4(B.v4)), null, 'nobody is known there');
  expectError(t, lab.receive(A.port, out4(A, B)), A, '3/0');
  lab.change(2, {}, true);
  lab.know(B);
  for (let i = 0; i < 3; i++) t.is(lab.one(A.port, out4(A, B)).port, B.port);
  expectWhole(t, lab);
});

test('an interface that is removed takes its addresses, its neighbors and the hops over it with it', (t) => {
  const lab = known();
  lab.routeVia('10.8.0.0/16', via(2, B.v4), via(3, C.v4));
  lab.routeVia('10.9.0.0/16', via(2, B.v4));
  lab.routeVia('fd09::/16', via(2, B.v6));
  for (let i = 0; i < 3; i++) for (const to of ['10.8.0.1', '10.9.0.1', B.v4]) lab.receive(A.port, out4(A, to));
  lab.sentBy(() => lab.router.removeInterface(2));
  const vrf = lab.router.vrf(1);
  t.is(vrf.get(prefix('10.9.0.0/16')), null);
  t.is(vrf.get(prefix('fd09::/16')), null);
  t.is(vrf.get(prefix('10.2.0.0/24')), null);
  t.is(vrf.get(prefix('10.2.0.1/32')), null);
  t.is(vrf.get(prefix('fd00:2::/64')), null);
  t.is(vrf.get(prefix('10.8.0.0/16'))?.hops.length, 1);
  for (let port = 0; port < 3; port++) t.is(lab.one(A.port, out4(A, '10.8.0.1')).port, C.port);
  for (const to of ['10.9.0.1', B.v4]) expectError(t, lab.receive(A.port, out4(A, to)), A, '3/0');
  t.deepEqual(lab.receivePorts(B.port, out4(B, A)), [B2.port], 'its MAC is any MAC');
  t.is(lab.dataplane.fdb.search((2 << 16) | 0x0200, 0xfe02), 0);
  t.throws(() => lab.router.interface(2), { message: 'no interface number 2' });
  t.throws(() => lab.router.setRoute(1, prefix('10.7.0.0/16'), 1, [via(2, B.v4)]), {
    message: 'no interface number 2',
  });
  expectWhole(t, lab);
});

test('a routed port without an interface drops what comes', (t) => {
  const lab = known();
  lab.sentBy(() => lab.router.removeInterface(UPLINK));
  t.deepEqual(lab.receive(OUTSIDE.port, out4(OUTSIDE, A)), []);
  t.deepEqual(lab.dropped(), { interface_down: 1 });
  expectWhole(t, lab);
});

test('interfaces and VRFs that cannot be are refused, and nothing changes', (t) => {
  const lab = known();
  const { router } = lab;
  const iface = lab.iface(2);
  t.throws(() => router.addInterface(2, iface), { message: 'interface number 2 is taken' });
  t.throws(() => router.addInterface(9, { ...iface, vrf: 7 }), { message: 'no VRF number 7' });
  t.throws(() => router.addInterface(9, { ...iface, fid: 77 }), { message: 'no domain number 77' });
  t.throws(() => router.addInterface(9, { ...iface, port: 1 }), { message: "port number 1 is a bridge's" });
  t.throws(() => router.addVrf(1, { interconnect: true, recordRoute: false, timestamp: false }), {
    message: 'VRF number 1 is taken',
  });
  t.throws(() => router.setRoute(1, prefix('10.1.0.0/24'), 1, [via(2, B.v4)]), {
    message: 'the prefix is one of an interface',
  });
  t.false(router.removeRoute(1, prefix('10.1.0.0/24')));
  t.false(router.removeRoute(1, prefix('10.77.0.0/24')));
  t.is(lab.one(A.port, out4(A, B)).port, B.port);
  expectWhole(t, lab);
});

test('frames on a routed port that are for others on that wire are dropped', (t) => {
  const lab = known();
  t.deepEqual(lab.receive(OUTSIDE.port, out4(OUTSIDE, A, { toMac: [2, 0, 0, 0, 0, 0x44] })), []);
  t.deepEqual(lab.receive(OUTSIDE.port, frame(BROADCAST, OUTSIDE.mac)), []);
  t.deepEqual(lab.dropped(), { other_host: 2 });
  t.deepEqual(lab.receive(OUTSIDE.port, tagged(out4(OUTSIDE, A), 7)), []);
  t.deepEqual(lab.dropped(), { other_host: 2, vlan_not_allowed: 1 });
  expectWhole(t, lab);
});

test('a port in quarantine gets no routed packets', (t) => {
  const lab = known();
  for (let i = 0; i < 3; i++) lab.receive(A.port, out4(A, B));
  lab.topology.quarantine(lab.dataplane.ports[B.port], 60);
  t.deepEqual(lab.receivePorts(A.port, out4(A, B)), [B2.port], 'its MAC is forgotten, and the flood passes it by');
  lab.topology.quarantine(lab.dataplane.ports[OUTSIDE.port], 60);
  t.deepEqual(lab.receive(A.port, out4(A, OUTSIDE)), []);
  t.deepEqual(lab.dropped(), { quarantined: 1 });
  expectWhole(t, lab);
});

// --- VLANs

/** Network 1 tells VLANs apart: its gateway is in VLAN 10, A is a trunk with native VLAN 10, A2 an access port of VLAN 10. */
function vlanLab(): Lab {
  const lab = new Lab();
  lab.sentBy(() => lab.router.removeInterface(1));
  lab.topology.removePort(A.port);
  lab.topology.removePort(A2.port);
  lab.topology.removeNetwork(1);
  lab.addVlanNetwork([10, 20]);
  lab.topology.addPort(A.port, 1, { vlan: { native: 10, tagged: [20] } });
  lab.topology.addPort(A2.port, 1, { vlan: { native: 0, tagged: [10, 20] } });
  lab.sentBy(() =>
    lab.router.addInterface(1, {
      kind: 1,
      vrf: 1,
      fid: 1010,
      port: 0,
      macHigh: 0x0200,
      macLow: 0xfe01,
      mtu: 1500,
      addresses4: Int32Array.of(word4('10.1.0.1'), 0xffffff00 | 0),
      addresses6: Int32Array.of(...words6('fd00:1::1'), 64),
    }),
  );
  lab.receive(A.port, frame(BROADCAST, A.mac));
  lab.receive(A2.port, tagged(frame(BROADCAST, A2.mac), 10));
  for (const one of [A, A2]) for (const address of [one.v4, one.v6]) lab.resolve(one, address, 1);
  return lab.know(B, B2, C, OUTSIDE);
}

for (const [family, out] of [
  ['IPv4', out4],
  ['IPv6', out6],
] as const) {
  test(`${family}: the gateway of a VLAN takes frames with its tag, without, and with one that says a priority only`, (t) => {
    const lab = vlanLab();
    for (let i = 0; i < 3; i++) {
      t.deepEqual(lab.one(A.port, out(A, B)).frame, hopped(out(A, B), B));
      t.deepEqual(lab.one(A.port, tagged(out(A, B), 0, 5)).frame, hopped(out(A, B), B));
      t.deepEqual(lab.one(A.port, tagged(out(A, B), 10, 3)).frame, hopped(out(A, B), B));
      t.deepEqual(lab.one(A2.port, tagged(out(A2, B), 10)).frame, hopped(out(A2, B), B));
      t.deepEqual(lab.one(B.port, out(B, A)).frame, hopped(out(B, A), A), 'untagged where its VLAN is native');
      t.deepEqual(lab.one(B.port, out(B, A2)).frame, tagged(hopped(out(B, A2), A2), 10), 'tagged on a trunk');
      t.deepEqual(lab.one(A.port, out(A, A2)).frame, tagged(hopped(out(A, A2), A2), 10));
    }
    t.deepEqual(lab.receivePorts(A.port, tagged(out(A, B), 20)), [A2.port], "in another VLAN its MAC is nobody's");
    t.deepEqual(lab.dropped(), {});
    expectWhole(t, lab);
  });
}

test("a second tag behind that of the VLAN is refused: it would be another network's", (t) => {
  const lab = vlanLab();
  t.deepEqual(lab.receive(A2.port, tagged(tagged(out4(A2, B), 20), 10)), []);
  t.deepEqual(lab.receive(A2.port, tagged(tagged(out6(A2, B), 20), 10)), []);
  t.deepEqual(lab.receive(A.port, tagged(tagged(out4(A, B), 20), 0)), []);
  const plain = known();
  t.deepEqual(plain.receive(A.port, tagged(out4(A, B), 10)), [], 'nor a tag where none means anything');
  t.deepEqual(lab.dropped(), { vlan_not_allowed: 3 });
  t.deepEqual(plain.dropped(), { vlan_not_allowed: 1 });
  expectWhole(t, lab);
  expectWhole(t, plain);
});

test('answers of the gateway have the tag of the port they leave by: ARP, echo, errors, groups', (t) => {
  const lab = vlanLab();
  const untag = (sent: SentFrame): SentFrame => {
    t.deepEqual([...sent.frame.subarray(12, 16)], [0x81, 0, 0, 10]);
    return { ...sent, frame: Uint8Array.from([...sent.frame.subarray(0, 12), ...sent.frame.subarray(16)]) };
  };
  t.is(readArp(untag(lab.one(A2.port, tagged(arpFrame(A2, 1, '10.1.0.1'), 10))).frame), 'reply 10.1.0.1 > 10.1.0.12');
  const ping = out4(A2, '10.1.0.1', { protocol: 1 }, message4(8, 0, 9));
  t.is(readIcmp(untag(lab.one(A2.port, tagged(ping, 10)))).type, 0);
  t.is(readIcmp(untag(lab.one(A2.port, tagged(out4(A2, '10.99.0.1'), 10)))).type, 3);
  const group = outIcmp6(A2, 'ff02::1', { toMac: [0x33, 0x33, 0, 0, 0, 1] }, message(128, 0, 9));
  const back = lab.receive(A2.port, tagged(group, 10)).filter(({ port }) => port === A2.port);
  t.is(back.length, 1);
  t.is(readIcmp(untag(back[0])).type, 129);
  const native = { ...A };
  const untagged = lab.receive(
    A.port,
    outIcmp6(native, 'ff02::1', { toMac: [0x33, 0x33, 0, 0, 0, 1] }, message(128, 0, 9)),
  );
  t.is(readIcmp(untagged.filter(({ port }) => port === A.port)[0]).type, 129);
  expectWhole(t, lab);
});

// --- mirrors and captures

test('a mirror and a capture see a routed frame as it came, and as it leaves', (t) => {
  for (const deferred of [false, true]) {
    const lab = known({ deferred, ports: { 8: {} } });
    lab.topology.addNetwork(9, 300, 10);
    lab.topology.addPort(9, 9);
    const mirror = { id: 1, fromNetwork: 0, to: 9 };
    lab.topology.addMirror({ ...mirror, fromPort: A.port, incoming: true, outgoing: false });
    lab.topology.addMirror({ ...mirror, id: 2, fromPort: B.port, incoming: false, outgoing: true });
    const seen: string[] = [];
    const text = (start: number, length: number): string =>
      Buffer.from(lab.arena.bytes.slice(start, start + length)).toString('hex');
    lab.dataplane.observe({
      received: (packet) => seen.push(`in ${text(packet.start, packet.length)}`),
      transmitted: (port, packet) => seen.push(`out ${port} ${text(packet.start, packet.length)}`),
    });
    for (const bytes of [out4(A, B), out6(A, B), out4(A, B)]) {
      const hex = (one: Uint8Array): string => Buffer.from(one).toString('hex');
      const next = hopped(bytes, B);
      seen.length = 0;
      const sent = lab.receive(A.port, bytes);
      const copies = sent.filter(({ port }) => port === 9).map((copy) => hex(copy.frame));
      t.deepEqual(copies.sort(), [hex(bytes), hex(next)].sort());
      t.deepEqual(
        sent.filter(({ port }) => port === B.port).map((copy) => hex(copy.frame)),
        [hex(next)],
      );
      t.is(seen[0], `in ${hex(bytes)}`);
      t.true(seen.includes(`out ${B.port} ${hex(next)}`));
      expectWhole(t, lab);
    }
    lab.receive(A.port, out4(A, B, { ttl: 1 }));
    lab.receive(A.port, out4(A, '10.1.0.1', { protocol: 1 }, message4(8, 0, 9)));
    lab.receive(A.port, out4(A, B, {}, datagram(40000)));
    expectWhole(t, lab);
  }
});

test('a packet that waits is copied first where a mirror holds it, and leaves whole', (t) => {
  const lab = new Lab({ deferred: true }).know(A);
  lab.topology.addNetwork(9, 300, 10);
  lab.topology.addPort(9, 9);
  lab.topology.addMirror({ id: 1, fromNetwork: 0, fromPort: A.port, to: 9, incoming: true, outgoing: false });
  const copies = lab.receive(A.port, out4(A, B)).filter(({ port }) => port === 9);
  t.deepEqual(copies[0].frame, out4(A, B));
  expectWhole(t, lab);
  t.deepEqual(
    lab.receive(B.port, arpFrame(B, 2, '10.2.0.1')).map(({ frame }) => frame),
    [hopped(out4(A, B), B)],
  );
  expectWhole(t, lab);
});

// --- restart

test('a successor on the same memory routes at once where the bridge still knows the ports', (t) => {
  const first = known();
  t.is(first.one(A.port, out4(A, B)).port, B.port);
  expectWhole(t, first);
  const second = new Lab({ survivors: first.survivors });
  t.true(second.dataplane instanceof Dataplane);
  t.is(second.dataplane.fdb.search((2 << 16) | 0x0200, 0xfe02), ROUTER_PORT);
  const asked = second.receive(A.port, out4(A, B));
  t.true(asked.length > 0 && asked.every(({ frame }) => readArp(frame).startsWith('request 10.2.0.1')));
  const sent = second.receive(B.port, arpFrame(B, 2, '10.2.0.1'));
  t.deepEqual(
    sent.map(({ frame }) => frame),
    [hopped(out4(A, B), B)],
  );
  expectWhole(t, second);
});

test('a successor whose interfaces are others leaves nothing of the old gateways', (t) => {
  const first = known();
  const second = new Lab({ survivors: first.survivors, interfaces: { 1: { macLow: 0x4444 } } });
  t.is(second.dataplane.fdb.search((1 << 16) | 0x0200, 0x4444), ROUTER_PORT);
  t.is(second.dataplane.fdb.search((1 << 16) | 0x0200, 0xfe01), 0);
  t.is(second.dataplane.fdb.search((1 << 16) | 0x0200, 1), A.port, 'and keeps what the bridge has learned');
  t.deepEqual(second.receivePorts(A.port, out4(A, B)), [A2.port]);
  expectWhole(t, second);
});

// --- everything

test('each reason of the router is met, and counted under its name', (t) => {
  const met = new Set<string>();
  const run = (options: LabOptions, ...steps: ((lab: Lab) => void)[]): void => {
    const lab = known({ slots: 256, ...options });
    for (const step of steps) step(lab);
    lab.passTo(lab.dataplane.now + 70);
    for (const reason of Object.keys(lab.dropped())) met.add(reason);
    expectWhole(t, lab);
  };
  const from = (station: Station, bytes: Uint8Array) => (lab: Lab) => void lab.receive(station.port, bytes);
  const many = (count: number, step: (i: number) => Uint8Array) => (lab: Lab) => {
    for (let i = 0; i < count; i++) lab.receive(A.port, step(i));
  };
  const broken = out4(A, B);
  broken[24] ^= 1;
  const later = fragmentHeader({ nextHeader: 17, offset: 1, more: true });
  run(
    {},
    from(OUTSIDE, out4(OUTSIDE, A, { toMac: A.mac })),
    from(A, out4(A, B).subarray(0, 30)),
    from(A, broken),
    from(A, out4(A, B, { from: '127.0.0.1' })),
    from(A, out4(A, '127.0.0.1')),
    from(A, out4(A, '224.0.0.5')),
    from(A, out4(A, '10.2.0.255')),
    from(A, out4(A, '10.99.0.1')),
    from(A, out4(A, B, { ttl: 1 })),
    from(A, out4(A, B, { dontFragment: true }, datagram(3000))),
    from(A, out4(A, B, { options: Uint8Array.of(0x83, 3, 4, 0) })),
    from(A, out4(A, '10.1.0.1')),
    from(A, out4(A, '10.1.0.1', { protocol: 1 }, message4(0, 0, 0))),
    from(A, out6(A, 'fd00:1::1', { nextHeader: 44 }, later, datagram(32))),
    from(A, out6(A, 'fd00:1::1', { nextHeader: 44 }, later, datagram(16))),
    from(A, out4(A, '10.2.0.99')),
    from(B, arpFrame(B, 2, '10.2.0.1', { sender: '10.2.0.77' })),
    from(THE_HOST, out4(THE_HOST, A)),
    many(20, (i) => out4(A, '10.2.0.98', {}, numbered(i))),
    many(300, (i) => out4(A, `10.2.0.${i & 255}`)),
    many(100, (i) => out4(A, '10.1.0.1', { protocol: 1, more: true, identification: i }, message4(8, 0, 1))),
    (lab) => lab.route('10.91.0.0/16', 4),
    (lab) => lab.route('10.92.0.0/16', 5),
    from(A, out4(A, '10.91.0.1')),
    from(A, out4(A, '10.92.0.1')),
    (lab) => lab.routeVia('10.93.0.0/16', via(3, C.v4)),
    (lab) => lab.change(3, {}, false),
    from(A, out4(A, '10.93.0.1')),
  );
  run(
    { vrf: { interconnect: false }, interfaces: { 2: { internal: true } } },
    from(A, out4(A, C)),
    from(A, out4(A, B)),
  );
  run({ interfaces: { 1: { validateSource: true } } }, from(A, out4(A, B, { from: C.v4 })));
  run({ interfaces: { 4: { shared: true } } }, from(OUTSIDE, out4(OUTSIDE, '10.4.0.1')));
  run({}, (lab) => {
    const { neighbors } = lab.router;
    for (let i = 0; neighbors.count < neighbors.maximum; i++)
      neighbors.setPermanent(lab.iface(3), 0, 0, 0xffff, i + 1, 2, i);
    lab.receive(A.port, out4(A, '10.2.0.88'));
  });
  const ours = DROP_REASONS.slice(40, 69).map(({ name }) => name);
  t.deepEqual(
    ours.filter((name) => !met.has(name)),
    [],
  );
});

/** Seconds that the frames go on for at most. */
const FUZZ_TIME = 20;
const FUZZ_FRAMES = 200_000;

test('any frames at all, mutated and from captures: nothing throws, nothing is lost, every slot is back', async (t) => {
  t.timeout(180_000);
  const seed = seedOfRun();
  t.log(rerunLine(seed, 'dist/test/core/router/router.test.js'));
  const random = createRandom(seed);
  const lab = known({
    slots: 256,
    vrf: { recordRoute: true, timestamp: true },
    interfaces: { 1: { hostAccess: true }, 3: { mtu: 1280 }, 4: { mtu: 1400 } },
  });
  lab.topology.addMirror({ id: 1, fromNetwork: 0, fromPort: A2.port, to: 8, incoming: true, outgoing: true });
  lab.routeVia('0.0.0.0/0', via(4, OUTSIDE.v4), via(3, C.v4));
  lab.routeVia('::/0', via(4, OUTSIDE.v6));
  lab.recorder.deferred = true;
  lab.recorder.keep = false;
  const stations = [A, A2, B, B2, C, OUTSIDE, THE_HOST];
  const corpus = (await loadCorpus()).filter((bytes) => bytes.length >= 14 && bytes.length <= 2000);
  const groups = [BROADCAST, [0x33, 0x33, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1]];
  const make = (from: Station): Uint8Array => {
    const to = stations[random(stations.length)];
    const target = random(5) === 0 ? (random(2) === 0 ? '10.1.0.1' : `10.2.0.${random(256)}`) : to.v4;
    const target6 = random(5) === 0 ? (random(2) === 0 ? 'fd00:1::1' : `fd00:2::${random(256).toString(16)}`) : to.v6;
    switch (random(14)) {
      case 0:
        return out4(from, target, { ttl: random(3) });
      case 1:
        return out4(from, target, { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) });
      case 2:
        return out4(
          from,
          target,
          { options: Uint8Array.of(0x44, 8, 5, 0, 0, 0, 0, 0), protocol: 1 },
          message4(8, 0, 1),
        );
      case 3:
        return out4(
          from,
          '10.1.0.1',
          { protocol: 1, more: random(2) === 0, offset: random(4), identification: random(4) },
          message4(8, 0, 1, datagram(8)),
        );
      case 4:
        return out4(from, target, { dontFragment: random(2) === 0 }, datagram(1300 + random(300)));
      case 5:
        return arpFrame(from, random(2) === 0 ? 1 : 2, target);
      case 6:
        return advertisement(from, random(3) === 0 ? target6 : from.v6);
      case 7:
        return outIcmp6(from, target6, { hopLimit: random(3) }, message(128, 0, 1, datagram(30)));
      case 8:
        return out6(
          from,
          'fd00:1::1',
          { nextHeader: 44 },
          fragmentHeader({ nextHeader: 58, offset: random(3), more: random(2) === 0 }),
          datagram(16 + random(20)),
        );
      case 9:
        return out6(from, target6, {}, datagram(1200 + random(300)));
      case 10:
        return outIcmp6(
          from,
          'ff02::1',
          { toMac: [0x33, 0x33, 0, 0, 0, 1] },
          message(128 + random(10), 0, 1, datagram(40)),
        );
      case 11:
        return out4(from, target, { protocol: 6 }, tcp({ srcPort: 1, dstPort: random(4), flags: 2, options: 8 }));
      case 12:
        return tagged(out4(from, target), random(30), 0, random(2) === 0 ? 0x8100 : 0x88a8);
      default:
        return withMacs(
          corpus[random(corpus.length)].slice(),
          random(4) === 0 ? groups[random(3)] : gatewayMac(from.network),
          from.mac,
        );
    }
  };
  const end = Date.now() + FUZZ_TIME * 1000;
  let count = 0;
  for (; count < FUZZ_FRAMES && Date.now() < end; count++) {
    const from = stations[random(stations.length)];
    const bytes = random(4) === 0 ? make(from) : mutate(make(from), random);
    const vnet =
      random(6) === 0
        ? {
            flags: random(3),
            gsoType: [0, 1, 3, 4, 5, 0x81][random(6)],
            headerLength: random(80),
            gsoSize: random(1500),
            checksumStart: random(70),
            checksumOffset: random(20),
          }
        : null;
    lab.dataplane.process(lab.load(from.port, bytes, vnet));
    if (random(8) === 0) lab.recorder.flush();
    if (random(500) === 0) lab.passTo(lab.dataplane.now + 1);
    if (random(5000) === 0) shake(lab, random(5));
    if (count % 256 === 0) {
      lab.recorder.flush();
      if (!lab.isWhole || lab.dataplane.lastError !== null) break;
    }
    lab.dataplane.events.clear();
  }
  lab.recorder.flush();
  t.log(`${count} frames; ${Object.keys(lab.dropped()).length} reasons`);
  expectWhole(t, lab);
  lab.passTo(lab.dataplane.now + 100);
  t.is(lab.held, 0);
  expectWhole(t, lab);
  t.is(lab.arena.available, lab.arena.slotCount);
  t.false('internal_error' in lab.dropped());
});

/** Something is configured anew meanwhile. */
function shake(lab: Lab, what: number): void {
  if (what === 0) lab.topology.flush(0, -1, 0);
  else if (what === 1) lab.change(2, {}, false);
  else if (what === 2) lab.change(2, { mtu: 1300 }, true);
  else if (what === 3) lab.routeVia('10.2.0.128/25', via(3, C.v4));
  else lab.router.removeRoute(1, prefix('10.2.0.128/25'));
}

test('a reachable neighbor of the lab is what its name says', (t) => {
  const lab = known();
  t.is(lab.router.neighbors.find4(2, word4(B.v4))?.state, NEIGHBOR_REACHABLE);
  lab.receive(A.port, out4(A, '10.2.0.200'));
  lab.passTo(lab.dataplane.now + 3);
  t.is(lab.router.neighbors.find4(2, word4('10.2.0.200'))?.state, NEIGHBOR_FAILED);
  t.true(lab instanceof Harness);
  expectWhole(t, lab);
});
