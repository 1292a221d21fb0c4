/** What else looks at packets, or sends them on, around a tunnel: captures, mirrors, multicast snooping, storm control, a shared uplink. */

import test from 'ava';
import type { Observer } from '../../../core/dataplane.js';
import type { Packet } from '../../../core/packet/packet.js';
import { joins, leaves } from '../switch/multicast.js';
import { datagram, superSegment, withFromMac } from './support/inner.js';
import {
  BLUE,
  BROADCAST_MAC,
  container,
  delivered,
  expectWhole,
  fieldsOf,
  Host,
  Overlay,
  outersOf,
  placesOf,
  UPLINK_PORT,
  underlay4,
  vtepPort,
} from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { outer, readOuter } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const VTEP = vtepPort(BLUE, 2);

function host(options: ConstructorParameters<typeof Host>[1] = {}): Host {
  const one = new Host(1, { gateway: false, ...options });
  one.know(2);
  one.addVtep(BLUE, VTEP, underlay4(2));
  return one;
}

/** What a capture sees: "rx PORT" or "tx PORT", and the bytes. */
class Watch implements Observer {
  readonly seen: { readonly what: string; readonly bytes: Uint8Array }[] = [];
  private readonly one: Host;

  constructor(one: Host) {
    this.one = one;
    one.dataplane.observe(this);
  }

  received(packet: Packet): void {
    this.note(`rx ${packet.port}`, packet);
  }

  transmitted(port: number, packet: Packet): void {
    this.note(`tx ${port}`, packet);
  }

  private note(what: string, { start, length }: Packet): void {
    this.seen.push({ what, bytes: this.one.arena.bytes.slice(start, start + length) });
  }
}

test('a capture sees a frame at the VTEP as the containers see it, and at the uplink with all that is around it', (t) => {
  const one = host();
  const watch = new Watch(one);
  const sent = datagram(HERE, THERE);
  const packet = one.receive(1, sent).filter(({ port }) => port === UPLINK_PORT)[0].frame;
  t.deepEqual(watch.seen, [
    { what: 'rx 1', bytes: sent },
    { what: 'tx 2', bytes: sent },
    { what: 'tx 3', bytes: sent },
    { what: `tx ${VTEP}`, bytes: sent },
    { what: `tx ${UPLINK_PORT}`, bytes: packet },
  ]);
  watch.seen.length = 0;
  const back = datagram(THERE, HERE);
  const arriving = outer(one.outerFrom(2), back);
  one.receive(UPLINK_PORT, arriving);
  t.deepEqual(watch.seen, [
    { what: `rx ${UPLINK_PORT}`, bytes: arriving },
    { what: `rx ${VTEP}`, bytes: back },
    { what: 'tx 1', bytes: back },
  ]);
  expectWhole(t, one);
});

test('mirrors of a VTEP, and of the uplink: each copy is as the frame was there', (t) => {
  for (const deferred of [false, true]) {
    for (const checksum of [false, true]) {
      const one = host({ deferred, vxlan: { [BLUE]: { checksum } } });
      const mirrors = [
        { id: 1, fromPort: VTEP, to: 4 },
        { id: 2, fromPort: UPLINK_PORT, to: 5 },
        { id: 3, fromPort: 1, to: 6 },
      ];
      for (const each of mirrors) one.topology.addMirror({ ...each, fromNetwork: 0, incoming: true, outgoing: true });
      const sent = datagram(HERE, THERE);
      const out = one.receive(1, sent);
      const at = (port: number): Uint8Array[] => out.filter((each) => each.port === port).flatMap(wireFrames);
      t.deepEqual(at(4), [sent]);
      t.deepEqual(at(6), [sent]);
      t.deepEqual(at(5), at(UPLINK_PORT));
      t.deepEqual(
        at(5).map((bytes) => readOuter(bytes).inner),
        [sent],
      );
      const back = datagram(THERE, HERE);
      const arriving = outer(one.outerFrom(2, { checksum: 'right' }), back);
      const into = one.receive(UPLINK_PORT, arriving);
      const got = (port: number): Uint8Array[] => into.filter((each) => each.port === port).map(({ frame }) => frame);
      t.deepEqual(got(1), [back]);
      t.deepEqual(got(4), [back]);
      t.deepEqual(got(6), [back]);
      t.deepEqual(got(5), [arriving]);
      expectWhole(t, one);
    }
  }
});

test('mirrors of super-packets get them whole', (t) => {
  const one = host({ deferred: true, ports: { 5: { offload: false } }, vxlan: { [BLUE]: { checksum: true } } });
  for (const to of [4, 5])
    one.topology.addMirror({ id: to, fromPort: VTEP, to, fromNetwork: 0, incoming: true, outgoing: true });
  const { frame, vnet } = superSegment(HERE, THERE, 9000, 1390);
  const sent = one.receive(1, frame, vnet);
  const copies = sent.filter(({ port }) => port === 4);
  const cut = sent.filter(({ port }) => port === 5);
  t.deepEqual(
    cut.map((each) => each.frame),
    copies.flatMap(wireFrames),
    'or cut, where the target takes none',
  );
  t.deepEqual(
    copies.map((each) => [each.frame, fieldsOf(each.vnet)]),
    [[frame, vnet]],
  );
  expectWhole(t, one);
});

test('a mirror cannot send into a tunnel', (t) => {
  const one = host();
  const mirror = { id: 1, fromPort: 1, fromNetwork: 0, to: VTEP, incoming: true, outgoing: true };
  t.throws(() => one.topology.addMirror(mirror), { instanceOf: RangeError, message: /tunnel/ });
  expectWhole(t, one);
});

test("with multicast snooping, members on every host get a group's packets, and nobody else does", (t) => {
  const multicast = { querier: true, dropUnregistered: false };
  const overlay = new Overlay(3, { gateway: false, networks: { [BLUE]: { multicast } } });
  for (const one of overlay.hosts) one.passTo(130);
  const sender = container(1, 1);
  for (const [group, mac] of [
    ['239.5.6.7', [0x01, 0x00, 0x5e, 0x05, 0x06, 0x07]],
    ['ff15::7', [0x33, 0x33, 0, 0, 0, 7]],
  ] as const) {
    const join = (at: number, port: number): Uint8Array => withFromMac(joins(group), container(at, port).mac);
    const leave = (at: number, port: number): Uint8Array => withFromMac(leaves(group), container(at, port).mac);
    const family = group.includes(':') ? 6 : 4;
    const packet = datagram(sender, { mac, v4: group, v6: group }, { family });
    overlay.send(1, 2, join(1, 2));
    overlay.send(2, 1, join(2, 1));
    t.deepEqual(
      placesOf(overlay.send(1, 1, packet)).filter((place) => !place.startsWith('3/')),
      ['1/2', '2/1'],
      group,
    );
    overlay.send(3, 3, join(3, 3));
    t.deepEqual(placesOf(overlay.send(1, 1, packet)), ['1/2', '2/1', '3/3'], group);
    // From a host with no member of its own.
    const from2 = datagram(container(2, 3), { mac, v4: group, v6: group }, { family });
    t.deepEqual(placesOf(overlay.send(2, 3, from2)), ['1/2', '2/1', '3/3'], group);
    overlay.send(2, 1, leave(2, 1));
    for (const one of overlay.hosts) overlay.run(one.number, () => one.passTo(one.dataplane.now + 5));
    t.false(placesOf(overlay.send(1, 1, packet)).includes('2/1'), `${group}: who has left gets no more`);
    t.true(placesOf(overlay.send(1, 1, packet)).includes('1/2'), group);
  }
  // Of the link itself: everybody.
  const mdns = datagram(sender, { mac: [0x01, 0x00, 0x5e, 0, 0, 0xfb], v4: '224.0.0.251', v6: 'ff02::fb' });
  t.deepEqual(placesOf(overlay.send(1, 1, mdns)), ['1/2', '1/3', '2/1', '2/2', '2/3', '3/1', '3/2', '3/3']);
  expectWhole(t, overlay);
});

test('isolated containers of different hosts do not reach each other through a tunnel, and open ones do', (t) => {
  const overlay = new Overlay(2, { gateway: false, ports: { 3: { isolation: 1 } } });
  const [open, isolated] = [container(1, 1), container(1, 3)];
  const toAll = (from: typeof open): Uint8Array =>
    datagram(from, { ...from, mac: BROADCAST_MAC, v4: '172.30.255.255' });
  t.deepEqual(placesOf(overlay.send(1, 1, toAll(open))), ['1/2', '1/3', '2/1', '2/2']);
  // An isolated one reaches open ports only: none behind a VTEP, of which nobody knows what is there.
  t.deepEqual(placesOf(overlay.send(1, 3, toAll(isolated))), ['1/1', '1/2']);
  expectWhole(t, overlay);
});

test("on a shared uplink, whose address and MAC are the host's, tunnels work the same", (t) => {
  const overlay = new Overlay(2, { gateway: false });
  for (const one of overlay.hosts) {
    const { router } = one.dataplane;
    const shared = { ...router.interface(UPLINK_PORT), shared: true };
    one.sentBy(() => router.setInterface(UPLINK_PORT, shared, true));
    one.know(3 - one.number);
  }
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(HERE, THERE))), ['1/2', '1/3', '2/1', '2/2', '2/3']);
  t.deepEqual(placesOf(overlay.send(2, 1, datagram(THERE, HERE))), ['1/1']);
  // What is not VXLAN is still the host's.
  const one = overlay.host(1);
  const other = outer(one.outerFrom(2, { destinationPort: 4790 }), datagram(THERE, HERE));
  t.deepEqual(delivered(one.receive(UPLINK_PORT, other)), []);
  t.is(one.rxDrops(UPLINK_PORT).host_owned, 1);
  expectWhole(t, overlay);
});

test('a VTEP in quarantine, after a loop, sends and takes nothing until it is over', (t) => {
  const overlay = new Overlay(2, { gateway: false });
  const one = overlay.host(1);
  one.topology.quarantine(one.dataplane.ports[VTEP], 10);
  t.deepEqual(outersOf(one.receive(1, datagram(HERE, THERE))), []);
  t.deepEqual(delivered(one.receive(UPLINK_PORT, outer(one.outerFrom(2), datagram(THERE, HERE)))), []);
  t.is(one.rxDrops(VTEP).quarantined, 1);
  one.sentBy(() => one.passTo(11));
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(HERE, THERE))), ['1/2', '1/3', '2/1', '2/2', '2/3']);
  expectWhole(t, overlay);
});
