/** What leaves for the underlay: RFC 7348, 4.1, 4.3 and 5; RFC 6040, 4.1; RFC 2983. */

import test from 'ava';
import { ROUTE_UNICAST } from '../../../core/router/vrf.js';
import { frame, mac } from '../../support/harness.js';
import { filler, fragments4, framed, ipOf, udp } from '../nat/wire.js';
import { via } from '../router/lab.js';
import {
  datagram,
  type Family,
  segment,
  superSegment,
  trafficClassOf,
  unfinished,
  withTrafficClass,
} from './support/inner.js';
import {
  BLUE,
  BROADCAST_MAC,
  container,
  delivered,
  expectWhole,
  GREEN,
  Host,
  Overlay,
  outersOf,
  placesOf,
  UPLINK_PORT,
  underlayMac,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import type { Outer } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const FAMILIES: readonly Family[] = [4, 6];

/** A host with one VTEP, whose next hop is known. */
function host(options: ConstructorParameters<typeof Host>[1] = {}): Host {
  const one = new Host(1, options);
  one.know(2);
  for (const network of [BLUE, GREEN]) {
    if (options.vxlan?.[network] === null) continue;
    one.addVtep(network, vtepPort(network, 2), one.family === 4 ? '10.77.0.2' : 'fd77::2');
  }
  return one;
}

for (const family of FAMILIES) {
  test(`over IPv${family}: all fields of all headers are as the RFCs want them, and the frame inside as it came`, (t) => {
    const one = host({ family });
    const sent = datagram(HERE, THERE);
    const [packet, ...more] = one.outers(1, sent);
    t.deepEqual(more, []);
    const { sourcePort, identification, inner, ...rest } = packet;
    t.deepEqual(rest, {
      toMac: underlayMac(2),
      fromMac: underlayMac(1),
      from: one.address,
      to: family === 4 ? '10.77.0.2' : 'fd77::2',
      trafficClass: 0,
      hops: 64,
      dontFragment: true,
      destinationPort: 4789,
      checksum: 'zero',
      flags: 0x08,
      reserved: 0,
      vni: 42,
      last: 0,
    });
    t.true(sourcePort >= 49_152);
    t.true(identification >= 0);
    t.deepEqual(inner, sent);
    expectWhole(t, one);
  });
}

for (const family of FAMILIES) {
  test(`over IPv${family}: the UDP checksum is right where it is sent`, (t) => {
    const one = host({ family, vxlan: { [BLUE]: { checksum: true } } });
    // Odd and even lengths; a checksum inside that is still to come must be in the sum outside.
    for (let length = 0; length < 60; length++) {
      const sent = datagram(HERE, THERE, { data: filler(length) });
      t.is(one.outers(1, sent)[0].checksum, 'right', `${length} octets`);
      const { frame: bytes, vnet } = unfinished(segment(HERE, THERE, { data: filler(length) }));
      const [packet] = one.outers(1, bytes, vnet);
      t.is(packet.checksum, 'right', `${length} octets, unfinished`);
      t.deepEqual(packet.inner, segment(HERE, THERE, { data: filler(length) }));
    }
    expectWhole(t, one);
  });
}

test('a checksum that is still to come inside is finished before the packet leaves, with or without one outside', (t) => {
  for (const checksum of [false, true]) {
    const one = host({ vxlan: { [BLUE]: { checksum } } });
    for (const family of FAMILIES) {
      for (const whole of [
        segment(HERE, THERE, { family, data: filler(99) }),
        datagram(HERE, THERE, { family, data: filler(99) }),
      ]) {
        const { frame: bytes, vnet } = unfinished(whole);
        t.deepEqual(one.outers(1, bytes, vnet)[0].inner, whole);
      }
    }
    expectWhole(t, one);
  }
});

test('the same MACs and addresses in the lowest and the highest VNI never meet', (t) => {
  const overlay = new Overlay(2, { vxlan: { [BLUE]: { vni: 1 }, [GREEN]: { vni: 0xffffff } } });
  const there = container(2, 1);
  // Ports 1 to 3 are in one network, 4 to 6 in the other; the containers are twins.
  for (const [port, to] of [
    [1, there],
    [4, there],
  ] as const) {
    const arrivals = overlay.send(1, port, datagram(HERE, to));
    t.true(arrivals.length > 0);
    t.true(
      arrivals.every((one) => one.port <= 3 === port <= 3),
      placesOf(arrivals).join(),
    );
    t.deepEqual(
      overlay.outers.map(({ vni }) => vni),
      [port <= 3 ? 1 : 0xffffff],
    );
  }
  // Known in one of them: in the other it is still a stranger, and flooded.
  overlay.send(2, 1, datagram(there, HERE));
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(HERE, there))), ['2/1']);
  t.deepEqual(placesOf(overlay.send(1, 4, datagram(HERE, there))), ['1/5', '1/6', '2/4', '2/5', '2/6']);
  expectWhole(t, overlay);
});

test('every bit of a VNI is sent', (t) => {
  for (let bit = 0; bit < 24; bit++) {
    const one = host({ vxlan: { [BLUE]: { vni: 2 ** bit }, [GREEN]: null }, gateway: false });
    t.is(one.outers(1, datagram(HERE, THERE))[0].vni, 2 ** bit);
  }
});

test('another UDP port is sent to, and taken at', (t) => {
  const overlay = new Overlay(2, { vxlan: { [BLUE]: { udpPort: 8472 } } });
  t.deepEqual(placesOf(overlay.send(1, 1, datagram(HERE, THERE))), ['1/2', '1/3', '2/1', '2/2', '2/3']);
  t.is(overlay.outers[0].destinationPort, 8472);
  expectWhole(t, overlay);
});

// --- source port

/** Ports that packets leave from. */
const portsFrom = (packets: readonly Outer[]): number[] => packets.map(({ sourcePort }) => sourcePort);

test('the source port is of 49152 to 65535, one for each flow, and 200 flows spread', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family });
    const used = new Set<number>();
    for (let flow = 0; flow < 200; flow++) {
      const fields = { family, port: 30_000 + flow };
      const ports = portsFrom([
        ...one.outers(1, segment(HERE, THERE, fields)),
        ...one.outers(1, segment(HERE, THERE, { ...fields, data: filler(700), sequence: 5 })),
        ...one.outers(1, withTrafficClass(segment(HERE, THERE, { ...fields, flags: 'FA' }), 0x2a)),
      ]);
      t.is(ports.length, 3);
      t.is(new Set(ports).size, 1, `flow ${flow}: ${ports}`);
      t.true(ports[0] >= 49_152 && ports[0] <= 65_535);
      used.add(ports[0]);
    }
    // Of 16,384 ports, 200 flows at random meet about once.
    t.true(used.size >= 190, `${used.size} ports for 200 flows`);
    expectWhole(t, one);
  }
});

test('flows that differ in one field alone have source ports of their own', (t) => {
  const one = host();
  const different = [
    segment(HERE, THERE),
    segment(HERE, THERE, { port: 4001 }),
    segment(HERE, THERE, { toPort: 81 }),
    datagram(HERE, THERE, { port: 4000, toPort: 80 }),
    segment(HERE, { ...THERE, v4: '172.30.2.7' }),
    segment({ ...HERE, v4: '172.30.1.7' }, THERE),
    segment(HERE, THERE, { family: 6 }),
    segment(HERE, { ...THERE, v6: 'fd00:30::2:7' }, { family: 6 }),
    segment({ ...HERE, v6: 'fd00:31::1:1' }, THERE, { family: 6 }),
  ];
  const ports = different.map((bytes) => portsFrom(one.outers(1, bytes))[0]);
  t.true(new Set(ports).size >= different.length - 1, ports.join());
});

test('what a super-packet becomes leaves from the port of its flow', (t) => {
  for (const checksum of [false, true]) {
    const one = host({ vxlan: { [BLUE]: { checksum } } });
    const [before] = one.outers(1, segment(HERE, THERE));
    const { frame: bytes, vnet } = superSegment(HERE, THERE, 20_000, 1398);
    const ports = portsFrom(one.outers(1, bytes, vnet));
    t.is(ports.length, Math.ceil(20_000 / 1398));
    t.deepEqual([...new Set(ports)], [before.sourcePort]);
    expectWhole(t, one);
  }
});

test('fragments of one datagram leave from one port, so that no path overtakes another', (t) => {
  const one = host();
  const whole = udp(`${HERE.v4}:4000`, `${THERE.v4}:53`, filler(900));
  const ports = fragments4(whole, 304).flatMap((piece) => portsFrom(one.outers(1, framed(piece, THERE.mac, HERE.mac))));
  t.is(ports.length, 3);
  t.is(new Set(ports).size, 1);
});

test('frames without IP are told apart by their MACs', (t) => {
  const one = host();
  const used = new Set<number>();
  for (let i = 0; i < 64; i++) {
    const to = mac(`02:00:00:00:02:${i.toString(16)}`);
    const ports = portsFrom([
      ...one.outers(1, frame(to, [...HERE.mac], [1])),
      ...one.outers(1, frame(to, [...HERE.mac], [2, i])),
    ]);
    t.is(ports.length, 2);
    t.is(ports[0], ports[1]);
    t.true(ports[0] >= 49_152 && ports[0] <= 65_535);
    used.add(ports[0]);
  }
  t.true(used.size >= 60, `${used.size} ports`);
});

// --- TTL, DSCP, GBP

test('TTL and hop limit are those that are configured, and not the inner ones', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family, vxlan: { [BLUE]: { ttl: 17 } } });
    t.is(one.outers(1, datagram(HERE, THERE, { family }))[0].hops, 17);
  }
});

test('DSCP is what is configured; ECN goes on as it is inside', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family, vxlan: { [BLUE]: { dscp: 46 } } });
    for (const inside of FAMILIES) {
      for (let ecn = 0; ecn < 4; ecn++) {
        const sent = withTrafficClass(datagram(HERE, THERE, { family: inside }), (10 << 2) | ecn);
        const [packet] = one.outers(1, sent);
        t.is(packet.trafficClass, (46 << 2) | ecn);
        t.deepEqual(packet.inner, sent);
      }
    }
  }
});

test('an inherited DSCP is that of the packet inside, all 64 of them', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family, vxlan: { [BLUE]: { dscp: -1 } } });
    for (const inside of FAMILIES) {
      for (let value = 0; value < 256; value++) {
        const sent = withTrafficClass(datagram(HERE, THERE, { family: inside }), value);
        const [packet] = one.outers(1, sent);
        t.is(packet.trafficClass, value);
        t.is(trafficClassOf(packet.inner), value);
      }
    }
    const [other] = one.outers(1, frame([...THERE.mac], [...HERE.mac], [0x4f, 0xff, 0xff]));
    t.is(other.trafficClass, 0, 'a frame without IP has none');
  }
});

test('a group policy tag is sent where one is configured', (t) => {
  for (const gbp of [0, 100, 0xffff]) {
    const one = host({ vxlan: { [BLUE]: { gbp } } });
    const [{ flags, reserved, vni, last }] = one.outers(1, datagram(HERE, THERE));
    t.deepEqual({ flags, reserved, vni, last }, { flags: 0x88, reserved: gbp, vni: 42, last: 0 });
  }
});

test('super-packets have the same header fields as single ones', (t) => {
  for (const checksum of [false, true]) {
    for (const family of FAMILIES) {
      const one = host({ family, vxlan: { [BLUE]: { dscp: 12, ttl: 9, gbp: 77, checksum } } });
      const { frame: bytes, vnet } = superSegment(HERE, THERE, 9000, 1300);
      const packets = one.outers(1, withTrafficClass(bytes, 2), vnet);
      t.is(packets.length, 7);
      for (const { trafficClass, hops, flags, reserved, dontFragment, checksum: outside, vni } of packets) {
        const seen = { trafficClass, hops, flags, reserved, dontFragment, outside, vni };
        const expected = {
          trafficClass: (12 << 2) | 2,
          hops: 9,
          flags: 0x88,
          reserved: 77,
          dontFragment: true,
          vni: 42,
        };
        t.deepEqual(seen, { ...expected, outside: checksum ? 'right' : 'zero' });
      }
      expectWhole(t, one);
    }
  }
});

// --- the way there

test('a packet waits until the MAC of its next hop is known, and nothing is lost', (t) => {
  for (const family of FAMILIES) {
    const one = new Host(1, { family });
    one.addVtep(BLUE, vtepPort(BLUE, 2), family === 4 ? '10.77.0.2' : 'fd77::2');
    const first = one.receive(1, datagram(HERE, THERE));
    t.is(first.filter(({ port }) => port === UPLINK_PORT).length, 1, 'the question for the MAC');
    t.deepEqual(
      delivered(first).map(({ port }) => port),
      [2, 3],
      'the others are not kept waiting',
    );
    one.receive(1, datagram(HERE, THERE, { port: 4001 }));
    t.is(one.imbalance(), 0);
    t.true(one.isWhole);
    const packets = outersOf(one.sentBy(() => one.know(2)));
    t.deepEqual(
      packets.map(({ toMac }) => toMac),
      [underlayMac(2), underlayMac(2)],
    );
    t.deepEqual(
      packets.map(({ inner }) => inner),
      [datagram(HERE, THERE), datagram(HERE, THERE, { port: 4001 })],
    );
    t.is(one.held, 0);
    expectWhole(t, one);
  }
});

test('a VTEP beyond a router is sent to by that router', (t) => {
  const one = new Host(1);
  one.know(3);
  one.addVtep(BLUE, vtepPort(BLUE, 2), '192.0.2.2');
  const [a, b, c, d] = wordsOf('192.0.2.0');
  const prefix = { a, b, c, d, length: 120 };
  t.deepEqual(one.outers(1, datagram(HERE, THERE)), [], 'no route yet');
  one.dataplane.router.setRoute(1, prefix, ROUTE_UNICAST, [via(9, '10.77.0.3')]);
  const [packet] = one.outers(1, datagram(HERE, THERE));
  t.deepEqual(packet.toMac, underlayMac(3));
  t.is(packet.to, '192.0.2.2');
  one.dataplane.router.removeRoute(1, prefix);
  t.deepEqual(one.outers(1, datagram(HERE, THERE)), [], 'the route is gone');
  expectWhole(t, one);
});

test('the next hop is at another MAC: the next packet goes there', (t) => {
  const one = host();
  one.outers(1, datagram(HERE, THERE));
  const arp = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0x77, 0x55, 10, 77, 0, 2, ...underlayMac(1), 10, 77, 0, 1];
  one.receive(UPLINK_PORT, frame(underlayMac(1), [2, 0, 0, 0, 0x77, 0x55], arp, 0x0806));
  t.deepEqual(one.outers(1, datagram(HERE, THERE))[0].toMac, [2, 0, 0, 0, 0x77, 0x55]);
  expectWhole(t, one);
});

test('the uplink is down: nothing leaves, each packet is counted; up again: it goes on', (t) => {
  const one = host();
  const { router } = one.dataplane;
  const iface = router.interface(UPLINK_PORT);
  t.is(one.outers(1, datagram(HERE, THERE)).length, 1);
  one.sentBy(() => router.setInterface(UPLINK_PORT, iface, false));
  t.deepEqual(one.outers(1, datagram(HERE, THERE)), []);
  expectWhole(t, one);
  one.sentBy(() => router.setInterface(UPLINK_PORT, iface, true));
  one.sentBy(() => one.know(2));
  t.is(one.outers(1, datagram(HERE, THERE)).length, 1);
  expectWhole(t, one);
});

test('a broadcast goes to a VTEP as any other frame', (t) => {
  const one = host();
  const sent = datagram(HERE, { ...THERE, mac: BROADCAST_MAC, v4: '172.30.255.255' });
  t.deepEqual(
    one.outers(1, sent).map(({ inner }) => inner),
    [sent],
  );
  t.is(ipOf(sent)[8], 64, 'a bridge changes no TTL');
});
