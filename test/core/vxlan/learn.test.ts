/** Who is behind which VTEP, who gets what is flooded, and that nothing goes round: RFC 7348, 4.1 and 4.2. */

import test from 'ava';
import { EVENT_ADDRESS, EVENT_MAC_MOVED, EVENT_VTEP_HEARD } from '../../../core/events.js';
import { tagged } from '../../support/harness.js';
import { datagram } from './support/inner.js';
import {
  BLUE,
  BROADCAST_MAC,
  container,
  delivered,
  expectWhole,
  GREEN,
  groupPort,
  Host,
  Overlay,
  outersOf,
  placesOf,
  portsOf,
  UPLINK_PORT,
  underlay4,
  underlayMac,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { outer, readOuter } from './support/outer.js';

/** First two octets of a MAC and its last four, as the dataplane has them. */
function macWords(mac: readonly number[]): [number, number] {
  return [(mac[0] << 8) | mac[1], (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]];
}

const toAll = (from: ReturnType<typeof container>): Uint8Array =>
  datagram(from, { mac: BROADCAST_MAC, v4: '172.30.255.255', v6: 'ff02::1' });

/** Everybody in a network of so many hosts, but one. */
function everybodyBut(hosts: number, host: number, port: number): string[] {
  const places = Array.from({ length: hosts }, (_, i) => [1, 2, 3].map((tap) => `${i + 1}/${tap}`)).flat();
  return places.filter((place) => place !== `${host}/${port}`).sort();
}

test('the first frame is flooded, the answer and all after it go to one VTEP', (t) => {
  const overlay = new Overlay(3);
  const [one, other] = [container(1, 1), container(2, 2)];
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, other))), everybodyBut(3, 1, 1));
  t.is(overlay.outers.length, 2);
  for (let round = 0; round < 3; round++) {
    t.deepEqual(placesOf(overlay.send(2, 2, datagram(other, one))), ['1/1']);
    t.deepEqual(
      overlay.outers.map(({ to }) => to),
      [underlay4(1)],
    );
    t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, other))), ['2/2']);
    t.deepEqual(
      overlay.outers.map(({ to }) => to),
      [underlay4(2)],
    );
  }
  expectWhole(t, overlay);
});

test('what arrives is what was sent', (t) => {
  for (const family of [4, 6] as const) {
    const overlay = new Overlay(2, { family });
    const [one, other] = [container(1, 1), container(2, 2)];
    for (const sent of [toAll(one), datagram(one, other), datagram(one, other, { family: 6 })]) {
      for (const { frame, vnet } of overlay.send(1, 1, sent)) {
        t.deepEqual(frame, sent);
        t.deepEqual([...vnet], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
      }
    }
    expectWhole(t, overlay);
  }
});

test('a MAC that moves to another host is found there with its first frame', (t) => {
  const overlay = new Overlay(3);
  const [one, mover] = [container(1, 1), container(2, 2)];
  overlay.send(2, 2, toAll(mover));
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, mover))), ['2/2']);
  overlay.send(3, 3, toAll(mover));
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, mover))), ['3/3']);
  // And home: a container that was remote is now here.
  overlay.send(1, 2, toAll(mover));
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, mover))), ['1/2']);
  t.is(overlay.carried.length, 0);
  expectWhole(t, overlay);
});

test('a static entry is found at once, and no frame from elsewhere overwrites it', (t) => {
  const overlay = new Overlay(3);
  const [one, bound] = [container(1, 1), container(2, 2)];
  const host = overlay.host(1);
  host.topology.addStatic(BLUE, 0, ...macWords(bound.mac), vtepPort(BLUE, 2));
  overlay.send(1, 1, datagram(one, bound));
  t.deepEqual(
    overlay.outers.map(({ to }) => to),
    [underlay4(2)],
  );
  const arrivals = overlay.send(3, 3, datagram(bound, one));
  t.false(
    placesOf(arrivals).some((place) => place.startsWith('1/')),
    'the thief is not heard',
  );
  t.is(host.rxDrops(vtepPort(BLUE, 3)).static_mac, 1);
  overlay.send(1, 1, datagram(one, bound));
  t.deepEqual(
    overlay.outers.map(({ to }) => to),
    [underlay4(2)],
  );
  expectWhole(t, overlay);
});

test('with learning off nothing is learned from a tunnel, and static entries do', (t) => {
  const overlay = new Overlay(3, {}, 'whole', { learning: false });
  const [one, other] = [container(1, 1), container(2, 2)];
  overlay.send(2, 2, datagram(other, one));
  overlay.send(1, 1, datagram(one, other));
  t.is(overlay.outers.length, 2, 'still unknown');
  overlay.host(1).topology.addStatic(BLUE, 0, ...macWords(other.mac), vtepPort(BLUE, 2));
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, other))), ['2/1', '2/2', '2/3'].slice(1, 2));
  t.is(overlay.outers.length, 1);
  expectWhole(t, overlay);
});

test('a VTEP that goes takes with it who was behind it', (t) => {
  const overlay = new Overlay(3);
  const [one, other] = [container(1, 1), container(2, 2)];
  overlay.send(2, 2, toAll(other));
  overlay.host(1).topology.removePort(vtepPort(BLUE, 2));
  overlay.send(1, 1, datagram(one, other));
  t.deepEqual(
    overlay.outers.map(({ to }) => to),
    [underlay4(3)],
    'unknown again',
  );
  overlay.send(2, 2, toAll(other));
  t.is(overlay.host(1).dropped().vxlan_vtep, 1, 'and not heard any more');
  expectWhole(t, overlay);
});

// --- flooding

test('three VTEPs: a broadcast reaches each container once, and no VTEP sends it on', (t) => {
  const overlay = new Overlay(3);
  for (const host of [1, 2, 3]) {
    for (const port of [1, 2, 3]) {
      t.deepEqual(placesOf(overlay.send(host, port, toAll(container(host, port)))), everybodyBut(3, host, port));
      t.is(overlay.carried.length, 2);
    }
  }
  t.deepEqual(placesOf(overlay.send(1, 4, toAll(container(1, 4)))).length, 8, 'the other network has its own');
  expectWhole(t, overlay);
});

test('a frame from a VTEP for a MAC behind another VTEP goes nowhere', (t) => {
  const overlay = new Overlay(3);
  const [one, third] = [container(1, 1), container(3, 1)];
  overlay.send(3, 1, toAll(third));
  const second = overlay.host(2);
  const sent = second.receive(UPLINK_PORT, outer(second.outerFrom(1), datagram(one, third)));
  t.deepEqual(sent, []);
  t.deepEqual(second.rxDrops(vtepPort(BLUE, 1)), { isolated: 1 });
  expectWhole(t, overlay);
});

test('frames that nobody here is to have come in from a VTEP, and are not flooded to another', (t) => {
  const overlay = new Overlay(3, { ports: {} });
  const second = overlay.host(2);
  for (const port of [1, 2, 3]) second.topology.removePort(port);
  const sent = second.receive(UPLINK_PORT, outer(second.outerFrom(1), toAll(container(1, 1))));
  t.deepEqual(sent, []);
  t.deepEqual(second.rxDrops(vtepPort(BLUE, 1)), { isolated: 1 });
  expectWhole(t, overlay);
});

test('head-end replication: one copy for each VTEP of the flood list, none for the others', (t) => {
  const overlay = new Overlay(5);
  const host = overlay.host(1);
  const one = container(1, 1);
  const targets = (): string[] => {
    overlay.send(1, 1, toAll(one));
    return overlay.outers.map(({ to }) => to).sort();
  };
  t.deepEqual(targets(), [2, 3, 4, 5].map(underlay4));
  host.topology.setFloods(vtepPort(BLUE, 3), false);
  t.deepEqual(targets(), [2, 4, 5].map(underlay4));
  host.topology.setFloods(vtepPort(BLUE, 2), false);
  host.topology.setFloods(vtepPort(BLUE, 3), true);
  t.deepEqual(targets(), [3, 4, 5].map(underlay4));
  expectWhole(t, overlay);
});

test('a VTEP that is flooded nothing is heard, learned from and answered all the same', (t) => {
  const overlay = new Overlay(2, {}, 'whole', { floods: false });
  const [one, other] = [container(1, 1), container(2, 2)];
  t.deepEqual(placesOf(overlay.send(1, 1, toAll(one))), ['1/2', '1/3']);
  const host = overlay.host(1);
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, outer(host.outerFrom(2), datagram(other, one)))), [1]);
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(one, other))), ['2/1', '2/2', '2/3']);
  t.is(overlay.outers.length, 1);
  expectWhole(t, overlay);
});

test('copies of a flood do not touch each other: containers and VTEPs get the same frame, each in its own wrapping', (t) => {
  for (const deferred of [false, true]) {
    for (const options of [{}, { vxlan: { [BLUE]: { checksum: true, dscp: -1 } } }]) {
      const host = new Host(1, { deferred, ...options });
      for (let other = 2; other <= 9; other++) {
        host.know(other);
        host.addVtep(BLUE, vtepPort(BLUE, other), underlay4(other));
      }
      const sent = toAll(container(1, 1));
      const frames = host.receive(1, sent);
      t.deepEqual(
        delivered(frames).map(({ port, frame }) => [port, frame]),
        [2, 3].map((port) => [port, sent]),
      );
      const packets = outersOf(frames);
      t.deepEqual(packets.map(({ to }) => to).sort(), [2, 3, 4, 5, 6, 7, 8, 9].map(underlay4));
      for (const { toMac, to, inner } of packets) {
        t.deepEqual(toMac, underlayMac(Number(to.split('.')[3])));
        t.deepEqual(inner, sent);
      }
      expectWhole(t, host);
    }
  }
});

test('with ports of VLANs, mirrors and VTEPs in one flood each gets its own form', (t) => {
  const host = new Host(1, {
    deferred: true,
    ports: { 3: { vlan: { native: 0, tagged: [77] } } },
  });
  for (const other of [2, 3]) {
    host.know(other);
    host.addVtep(BLUE, vtepPort(BLUE, other), underlay4(other));
  }
  host.topology.addMirror({ id: 1, fromPort: 1, fromNetwork: 0, to: 6, incoming: true, outgoing: true });
  const sent = toAll(container(1, 1));
  const frames = host.receive(1, sent);
  const byPort = new Map(delivered(frames).map(({ port, frame }) => [port, frame]));
  t.deepEqual(byPort.get(2), sent);
  t.deepEqual(byPort.get(3), tagged(sent, 77));
  t.deepEqual(
    outersOf(frames).map(({ inner }) => inner),
    [sent, sent],
  );
  expectWhole(t, host);
});

test('without free slots, copies that need one are dropped and counted, and the frame itself goes on', (t) => {
  const host = new Host(1, { slots: 2 });
  for (const other of [2, 3, 4]) {
    host.know(other);
    host.addVtep(BLUE, vtepPort(BLUE, other), underlay4(other));
  }
  const sent = host.receive(1, toAll(container(1, 1)));
  t.true(delivered(sent).length > 0);
  const lost = Object.values(host.dropped()).reduce((sum, count) => sum + count, 0);
  t.is(outersOf(sent).length + lost, 3);
  expectWhole(t, host);
});

// --- open networks and groups

const GROUP4 = '239.1.1.1';
const GROUP_MAC4 = [0x01, 0x00, 0x5e, 0x01, 0x01, 0x01];

/** Addresses of the VTEPs that control is told of. */
function heard(host: Host): number[][] {
  const { events } = host.dataplane;
  const addresses: number[][] = [];
  for (let i = 0; i < events.count; i++) {
    const at = i * 11;
    if (events.words[at] === EVENT_VTEP_HEARD)
      addresses.push([events.words[at + 1], ...events.words.subarray(at + EVENT_ADDRESS, at + EVENT_ADDRESS + 4)]);
  }
  events.clear();
  return addresses;
}

function groupHost(number: number): Host {
  const host = new Host(number, { vxlan: { [BLUE]: { open: true, groupTtl: 3, ttl: 50 } } });
  host.addVtep(BLUE, groupPort(BLUE), GROUP4);
  return host;
}

test('what is flooded goes to the group once: its MAC, its TTL', (t) => {
  const host = groupHost(1);
  const [packet, ...more] = host.outers(1, toAll(container(1, 1)));
  t.deepEqual(more, []);
  const { toMac, to, hops, inner, from } = packet;
  t.deepEqual({ toMac, to, hops, from }, { toMac: GROUP_MAC4, to: GROUP4, hops: 3, from: underlay4(1) });
  t.deepEqual(inner, toAll(container(1, 1)));
  expectWhole(t, host);
});

test('over IPv6 the same', (t) => {
  const host = new Host(1, { family: 6, vxlan: { [BLUE]: { open: true, groupTtl: 2 } } });
  host.addVtep(BLUE, groupPort(BLUE), 'ff15::1:203');
  const [{ toMac, to, hops }] = host.outers(1, toAll(container(1, 1)));
  t.deepEqual({ toMac, to, hops }, { toMac: [0x33, 0x33, 0, 1, 2, 3], to: 'ff15::1:203', hops: 2 });
  expectWhole(t, host);
});

test('a packet to the group is taken; an unknown sender is told of, a known one is learned from', (t) => {
  const host = groupHost(1);
  const [one, other] = [container(1, 1), container(2, 2)];
  const fields = host.outerFrom(2, { to: GROUP4, toMac: GROUP_MAC4 });
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, outer(fields, toAll(other)))), [1, 2, 3]);
  t.deepEqual(heard(host), [[BLUE, ...wordsOf(underlay4(2))]]);
  // Control makes it a port.
  host.know(2);
  host.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2), { floods: false });
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, outer(fields, toAll(other)))), [1, 2, 3]);
  t.deepEqual(
    host.events().filter(({ kind }) => kind === EVENT_VTEP_HEARD || kind === EVENT_MAC_MOVED),
    [],
    'nobody new is heard, and nobody has moved',
  );
  const [{ to, hops }, ...more] = host.outers(1, datagram(one, other));
  t.deepEqual({ to, hops, more }, { to: underlay4(2), hops: 50, more: [] });
  t.deepEqual(
    host.outers(1, toAll(one)).map((packet) => packet.to),
    [GROUP4],
    'floods still go to the group alone',
  );
  expectWhole(t, host);
});

test('unicast from an unknown VTEP of an open network is taken as well', (t) => {
  const host = groupHost(1);
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, outer(host.outerFrom(3), toAll(container(3, 1))))), [1, 2, 3]);
  t.deepEqual(heard(host), [[BLUE, ...wordsOf(underlay4(3))]]);
  expectWhole(t, host);
});

test('open and without a group: an unknown VTEP is told of, and heard once it is a port', (t) => {
  const host = new Host(1, { vxlan: { [BLUE]: { open: true } } });
  const packet = outer(host.outerFrom(3), toAll(container(3, 1)));
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, packet)), []);
  t.deepEqual(heard(host), [[BLUE, ...wordsOf(underlay4(3))]]);
  t.deepEqual(host.dropped(), { vxlan_vtep: 1 });
  host.addVtep(BLUE, vtepPort(BLUE, 3), underlay4(3), { floods: false });
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, packet)), [1, 2, 3]);
  t.deepEqual(heard(host), []);
  expectWhole(t, host);
});

test('a damaged packet makes nobody known', (t) => {
  const host = new Host(1, { vxlan: { [BLUE]: { open: true } } });
  host.receive(UPLINK_PORT, outer(host.outerFrom(3, { checksum: 'wrong' }), toAll(container(3, 1))));
  t.deepEqual(heard(host), []);
  host.receive(UPLINK_PORT, outer(host.outerFrom(3, { flags: 0 }), toAll(container(3, 1))));
  t.deepEqual(heard(host), []);
  expectWhole(t, host);
});

test('a flood of packets from an unknown VTEP is no flood of events', (t) => {
  const host = groupHost(1);
  for (let i = 0; i < 100; i++) host.receive(UPLINK_PORT, outer(host.outerFrom(3), toAll(container(3, 1))));
  t.true(heard(host).length <= 2);
  t.is(host.dataplane.events.lost, 0);
  expectWhole(t, host);
});

test('our own packets to the group, which a switch gave back, are not taken', (t) => {
  const host = groupHost(1);
  const [echo] = host.receive(1, toAll(container(1, 1))).filter(({ port }) => port === UPLINK_PORT);
  t.deepEqual(delivered(host.receive(UPLINK_PORT, echo.frame)), []);
  t.deepEqual(heard(host), []);
  expectWhole(t, host);
});

test('another group than the configured one is not for us', (t) => {
  const host = groupHost(1);
  const fields = host.outerFrom(2, { to: '239.1.1.2', toMac: [0x01, 0x00, 0x5e, 0x01, 0x01, 0x02] });
  t.deepEqual(delivered(host.receive(UPLINK_PORT, outer(fields, toAll(container(2, 1))))), []);
  t.deepEqual(heard(host), []);
  expectWhole(t, host);
});

test('a group beside remotes: the remotes get their own copies', (t) => {
  const host = groupHost(1);
  for (const other of [2, 3]) {
    host.know(other);
    host.addVtep(BLUE, vtepPort(BLUE, other), underlay4(other));
  }
  const packets = host.outers(1, toAll(container(1, 1)));
  t.deepEqual(packets.map(({ to }) => to).sort(), [underlay4(2), underlay4(3), GROUP4]);
  expectWhole(t, host);
});

// --- configuration while packets go

test('another local address, VNI or port takes effect with the next packet; remotes stay', (t) => {
  const host = new Host(1);
  host.know(2);
  host.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2));
  const [one, other] = [container(1, 1), container(2, 2)];
  host.receive(UPLINK_PORT, outer(host.outerFrom(2), datagram(other, one)));
  host.setLocal(BLUE, { vni: 4711, udpPort: 8472, ttl: 3 });
  const [{ vni, destinationPort, hops, to }] = host.outers(1, datagram(one, other));
  t.deepEqual({ vni, destinationPort, hops, to }, { vni: 4711, destinationPort: 8472, hops: 3, to: underlay4(2) });
  t.deepEqual(delivered(host.receive(UPLINK_PORT, outer(host.outerFrom(2), datagram(other, one)))), []);
  const fields = { vni: 4711, destinationPort: 8472 };
  t.deepEqual(portsOf(host.receive(UPLINK_PORT, outer(host.outerFrom(2, fields), datagram(other, one)))), [1]);
  expectWhole(t, host);
});

test('a VNI, a VTEP or a network cannot be taken twice, and nothing changes where that is tried', (t) => {
  const host = new Host(1);
  host.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2));
  t.throws(() => host.setLocal(GREEN, { vni: 42 }), { message: /VNI 42/ });
  t.throws(() => host.addVtep(BLUE, vtepPort(BLUE, 3), underlay4(2)), { instanceOf: RangeError });
  t.false(host.dataplane.ports[vtepPort(BLUE, 3)].live, 'no half of a port is left');
  t.throws(() => host.addVtep(BLUE, vtepPort(BLUE, 3), 'fd77::3'), { message: /family/ });
  t.throws(() => host.setLocal(BLUE, { local: wordsOf('fd77::1') }), { message: /family/ });
  t.deepEqual(host.dataplane.vxlan.vteps.local(42, 4789)?.options.local, wordsOf(underlay4(1)));
  t.throws(() => host.dataplane.vxlan.removeLocal(BLUE), { instanceOf: RangeError });
  host.topology.removePort(vtepPort(BLUE, 2));
  host.dataplane.vxlan.removeLocal(BLUE);
  t.throws(() => host.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2)), { message: /no VTEP/ });
  const sent = host.receive(UPLINK_PORT, outer(host.outerFrom(2), toAll(container(2, 1))));
  t.deepEqual(delivered(sent), []);
  expectWhole(t, host);
});

test('the frames that the uplink carried are those that were read', (t) => {
  const overlay = new Overlay(2);
  overlay.send(1, 1, toAll(container(1, 1)));
  t.is(overlay.carried.flatMap(wireFrames).map(readOuter).length, 1);
});
