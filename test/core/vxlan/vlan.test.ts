/** VLAN tags inside: RFC 7348, 6.1. */

import test from 'ava';
import { ISOLATION_ALONE } from '../../../core/switch/isolation.js';
import type { PortOptions } from '../../../core/topology.js';
import { tagged } from '../../support/harness.js';
import { ECT0 } from './support/ecn.js';
import { datagram, superSegment, withTrafficClass } from './support/inner.js';
import {
  BLUE,
  BROADCAST_MAC,
  container,
  delivered,
  expectWhole,
  Host,
  outersOf,
  portsOf,
  UPLINK_PORT,
  underlay4,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { outer } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const TO_ALL = datagram(HERE, { ...THERE, mac: BROADCAST_MAC, v4: '172.30.255.255' });
const FROM_THERE = datagram(THERE, { ...HERE, mac: BROADCAST_MAC, v4: '172.30.255.255' });

/** A network without VLANs. */
function host(options: ConstructorParameters<typeof Host>[1] = {}): Host {
  const one = new Host(1, options);
  one.know(2);
  one.addVtep(BLUE, vtepPort(BLUE, 2), underlay4(2));
  return one;
}

test('without VLANs tags are taken out on the way in; containers here get the frame as it came', (t) => {
  for (const deferred of [false, true]) {
    const one = host({ deferred });
    const tags: Uint8Array[] = [
      tagged(TO_ALL, 5),
      tagged(TO_ALL, 0, 7),
      tagged(TO_ALL, 5, 3, 0x88a8),
      tagged(tagged(TO_ALL, 7), 5, 3, 0x88a8),
    ];
    for (const bytes of tags) {
      const sent = one.receive(1, bytes);
      t.deepEqual(
        outersOf(sent).map(({ inner }) => inner),
        [TO_ALL],
      );
      t.deepEqual(
        delivered(sent).map((each) => each.frame),
        [bytes, bytes],
      );
      expectWhole(t, one);
    }
  }
});

test('a port whose tag stands for the network: its frames cross without it, and come back with it', (t) => {
  for (const deferred of [false, true]) {
    const one = host({ deferred, ports: { 3: { vlan: { native: 0, tagged: [77] } } } });
    const sent = one.receive(3, tagged(TO_ALL, 77, 4));
    t.deepEqual(
      outersOf(sent).map(({ inner }) => inner),
      [TO_ALL],
    );
    t.deepEqual(
      delivered(sent).map(({ frame }) => frame),
      [TO_ALL, TO_ALL],
    );
    const back = one.receive(UPLINK_PORT, outer(one.outerFrom(2), datagram(THERE, HERE)));
    t.deepEqual(
      back.map(({ port, frame }) => [port, frame]),
      [[3, tagged(datagram(THERE, HERE), 77)]],
    );
    const unicast = one.receive(3, tagged(datagram(HERE, THERE), 77));
    t.deepEqual(
      outersOf(unicast).map(({ inner }) => inner),
      [datagram(HERE, THERE)],
    );
    t.is(delivered(unicast).length, 0);
    const { frame, vnet } = superSegment(HERE, THERE, 4000, 1390);
    const withTag = {
      ...vnet,
      headerLength: (vnet?.headerLength ?? 0) + 4,
      checksumStart: (vnet?.checksumStart ?? 0) + 4,
    };
    const segments = outersOf(one.receive(3, tagged(frame, 77), withTag)).map(({ inner }) => inner);
    t.deepEqual(segments, wireFrames({ frame, vnet: virtio(vnet) }));
    expectWhole(t, one);
  }
});

test('a tagged super-packet comes out of the tunnel as segments without tags', (t) => {
  for (const checksum of [false, true]) {
    const one = host({ vxlan: { [BLUE]: { checksum } } });
    const { frame: bytes, vnet } = superSegment(HERE, THERE, 9000, 1398);
    const withTag = {
      ...vnet,
      headerLength: (vnet?.headerLength ?? 0) + 4,
      checksumStart: (vnet?.checksumStart ?? 0) + 4,
    };
    const plain = outersOf(one.receive(1, bytes, vnet)).map(({ inner }) => inner);
    t.is(plain.length, 7);
    t.deepEqual(
      outersOf(one.receive(1, tagged(bytes, 5), withTag)).map(({ inner }) => inner),
      plain,
    );
    expectWhole(t, one);
  }
});

test('without VLANs a tagged frame out of a tunnel is dropped, whatever the tag', (t) => {
  const one = host();
  const tags = [
    tagged(FROM_THERE, 5),
    tagged(FROM_THERE, 0, 7),
    tagged(FROM_THERE, 5, 0, 0x88a8),
    tagged(tagged(FROM_THERE, 7), 5),
  ];
  tags.forEach((inner, i) => {
    t.deepEqual(delivered(one.receive(UPLINK_PORT, outer(one.outerFrom(2), inner))), []);
    t.deepEqual(one.dropped(), { vxlan_vlan: i + 1 });
  });
  expectWhole(t, one);
});

/** A network with VLANs 10 and 20: ports 1 and 2 in VLAN 10 and 20, port 3 a trunk of both. */
function vlanHost(vtep: PortOptions['vlan']): Host {
  const one = new Host(1, { networks: { [BLUE]: { vlanProtocol: 0x8100 } }, gateway: false });
  for (const vid of [10, 20]) one.topology.addVlan(BLUE, vid, 1000 + vid);
  for (const port of [1, 2, 3]) one.topology.removePort(port);
  one.topology.addPort(1, BLUE, { vlan: { native: 10, tagged: [] } });
  one.topology.addPort(2, BLUE, { vlan: { native: 20, tagged: [] } });
  one.topology.addPort(3, BLUE, { vlan: { native: 0, tagged: [10, 20] } });
  one.know(2);
  one.topology.addPort(vtepPort(BLUE, 2), BLUE, {
    vtep: { address: wordsOf(underlay4(2)), floods: true, learning: true },
    isolation: ISOLATION_ALONE,
    vlan: vtep ?? null,
  });
  return one;
}

test('one VLAN is stretched: its frames cross without a tag, and no others do', (t) => {
  const one = vlanHost({ native: 10, tagged: [] });
  t.deepEqual(
    outersOf(one.receive(1, TO_ALL)).map(({ inner }) => inner),
    [TO_ALL],
  );
  t.deepEqual(outersOf(one.receive(2, TO_ALL)), []);
  t.deepEqual(
    outersOf(one.receive(3, tagged(TO_ALL, 10, 5))).map(({ inner }) => inner),
    [TO_ALL],
  );
  t.deepEqual(outersOf(one.receive(3, tagged(TO_ALL, 20))), []);
  const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2), FROM_THERE));
  t.deepEqual(
    sent.map(({ port, frame }) => [port, frame]),
    [
      [1, FROM_THERE],
      [3, tagged(FROM_THERE, 10)],
    ],
  );
  t.deepEqual(portsOf(one.receive(UPLINK_PORT, outer(one.outerFrom(2), tagged(FROM_THERE, 20)))), []);
  expectWhole(t, one);
});

test('all VLANs are stretched: tags cross', (t) => {
  const one = vlanHost({ native: 0, tagged: [10, 20] });
  t.deepEqual(
    outersOf(one.receive(1, TO_ALL)).map(({ inner }) => inner),
    [tagged(TO_ALL, 10)],
  );
  t.deepEqual(
    outersOf(one.receive(2, TO_ALL)).map(({ inner }) => inner),
    [tagged(TO_ALL, 20)],
  );
  t.deepEqual(
    outersOf(one.receive(3, tagged(TO_ALL, 20, 6))).map(({ inner }) => inner),
    [tagged(TO_ALL, 20, 6)],
  );
  const from = (inner: Uint8Array): [number, Uint8Array][] =>
    one.receive(UPLINK_PORT, outer(one.outerFrom(2), inner)).map(({ port, frame }) => [port, frame]);
  const twenty = tagged(FROM_THERE, 20, 6);
  t.deepEqual(
    from(twenty).sort(([one], [other]) => one - other),
    [
      [2, FROM_THERE],
      [3, twenty],
    ],
  );
  t.deepEqual(from(FROM_THERE), [], 'an untagged frame is in no VLAN');
  t.deepEqual(from(tagged(FROM_THERE, 30)), []);
  expectWhole(t, one);
});

test('a super-packet of a VLAN crosses as segments with its tag, or without', (t) => {
  for (const trunk of [false, true]) {
    const one = vlanHost(trunk ? { native: 0, tagged: [10, 20] } : { native: 10, tagged: [] });
    const { frame: bytes, vnet } = superSegment(HERE, THERE, 5000, 1390);
    const inners = outersOf(one.receive(1, bytes, vnet)).map(({ inner }) => inner);
    const local = one.receive(1, bytes, vnet).filter(({ port }) => port === 3);
    t.is(local.length, 1, 'the trunk here gets it whole');
    const segments = wireFrames({ frame: bytes, vnet: virtio(vnet) });
    t.deepEqual(
      inners,
      segments.map((each) => (trunk ? tagged(each, 10) : each)),
    );
    expectWhole(t, one);
  }
});

test('with a tag inside as well, congestion on the way is not lost', (t) => {
  const one = vlanHost({ native: 0, tagged: [10, 20] });
  const inner = withTrafficClass(FROM_THERE, ECT0);
  const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { trafficClass: 3 }), tagged(inner, 10)));
  t.deepEqual(
    sent.filter(({ port }) => port === 1).map(({ frame }) => frame),
    [withTrafficClass(inner, 3)],
  );
  const notCapable = outer(one.outerFrom(2, { trafficClass: 3 }), tagged(FROM_THERE, 10));
  t.deepEqual(delivered(one.receive(UPLINK_PORT, notCapable)), []);
  t.deepEqual(one.dropped(), { vxlan_ecn: 1 });
  expectWhole(t, one);
});

/** The bytes before a frame, as the harness writes them. */
function virtio(vnet: ReturnType<typeof superSegment>['vnet']): Uint8Array {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  bytes[0] = vnet?.flags ?? 0;
  bytes[1] = vnet?.gsoType ?? 0;
  view.setUint16(2, vnet?.headerLength ?? 0, true);
  view.setUint16(4, vnet?.gsoSize ?? 0, true);
  view.setUint16(6, vnet?.checksumStart ?? 0, true);
  view.setUint16(8, vnet?.checksumOffset ?? 0, true);
  return bytes;
}
