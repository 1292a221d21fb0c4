/** The gateway, which every host of a stretched network has: what it says through a tunnel, and what comes back to it (core/vxlan/anycast.ts). */

import test, { type ExecutionContext } from 'ava';
import { addressOf, bytesOf, echo, framed, icmp, ipOf, read, withHops } from '../nat/wire.js';
import { arp, datagram, type Speaker, superSegment } from './support/inner.js';
import {
  BLUE,
  BROADCAST_MAC,
  container,
  expectWhole,
  GATEWAY_MAC,
  GREEN,
  hostMac,
  Overlay,
  outersOf,
  placesOf,
  UPLINK_PORT,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { outer } from './support/outer.js';

/** A container's frame to its gateway, on its way to somebody elsewhere. */
function through(from: Speaker, to: Speaker): Uint8Array {
  return datagram(from, { ...to, mac: GATEWAY_MAC });
}

/** Nothing on the underlay bears the gateway's MAC, as a source or inside ARP. */
function expectNoGateway(t: ExecutionContext, overlay: Overlay): void {
  for (const { inner } of overlay.outers) {
    const mac = GATEWAY_MAC.join(':');
    t.not([...inner.subarray(6, 12)].join(':'), mac);
    if (inner[12] === 8 && inner[13] === 6) t.not([...inner.subarray(22, 28)].join(':'), mac);
  }
}

/** Who a question on port `port` of host `host` is for: the sender's MAC and address, and what is asked for. */
function question(frame: Uint8Array): { mac: number[]; sender: string; target: string } {
  return {
    mac: [...frame.subarray(22, 28)],
    sender: [...frame.subarray(28, 32)].join('.'),
    target: [...frame.subarray(38, 42)].join('.'),
  };
}

test('routed into a tunnel: the next container is asked for by a probe, answers, and gets the packet from the host', (t) => {
  const overlay = new Overlay(2);
  const green = container(1, 4);
  const blue = container(2, 1);
  const asked = overlay.send(1, 4, through(green, blue));
  expectNoGateway(t, overlay);
  const [there] = asked.filter(({ host, port }) => host === 2 && port === 1);
  t.deepEqual(question(there.frame), { mac: hostMac(1, BLUE), sender: '0.0.0.0', target: blue.v4 });
  t.true(asked.filter(({ host }) => host === 2).every(({ port }) => port <= 3));
  const answer = overlay.send(2, 1, arp(blue, 2, '0.0.0.0', hostMac(1, BLUE)));
  expectNoGateway(t, overlay);
  t.deepEqual(placesOf(answer), ['2/1']);
  const [{ frame }] = answer;
  t.deepEqual([...frame.subarray(0, 12)], [...blue.mac, ...hostMac(1, BLUE)]);
  const { source, destination, hops } = read(ipOf(frame));
  t.deepEqual({ source, destination, hops }, { source: green.v4, destination: blue.v4, hops: 63 });
  // And back: the gateway of the other host routes, and asks in the other network.
  const back = overlay.send(2, 1, through(blue, green));
  expectNoGateway(t, overlay);
  const [question2] = back.filter(({ host, port }) => host === 1 && port === 4);
  t.deepEqual(question(question2.frame), { mac: hostMac(2, GREEN), sender: '0.0.0.0', target: green.v4 });
  const reply = overlay.send(1, 4, arp(green, 2, '0.0.0.0', hostMac(2, GREEN)));
  t.deepEqual(placesOf(reply), ['1/4']);
  t.is(read(ipOf(reply[0].frame)).destination, green.v4);
  expectWhole(t, overlay);
});

/** A neighbor advertisement (RFC 4861, 4.4): solicited, override, with the sender's MAC. */
function advertisement(from: Speaker, to: string, toMac: readonly number[]): Uint8Array {
  const data = Uint8Array.from([...bytesOf(from.v6), 2, 1, ...from.mac]);
  return framed(withHops(icmp(from.v6, to, 136, 0, 0x60000000, data), 255), toMac, from.mac);
}

test("over IPv6: the next container is asked from the link-local address of the host's MAC, and answers there", (t) => {
  const overlay = new Overlay(2);
  const green = container(1, 4);
  const blue = container(2, 1);
  const asked = overlay.send(1, 4, datagram(green, { ...blue, mac: GATEWAY_MAC }, { family: 6 }));
  expectNoGateway(t, overlay);
  const [there] = asked.filter(({ host, port }) => host === 2 && port === 1);
  const solicitation = read(ipOf(there.frame));
  // Modified EUI-64 of the host's MAC (RFC 4291, appendix A).
  const [first, ...rest] = hostMac(1, BLUE);
  const eui = [first ^ 2, rest[0], rest[1], 0xff, 0xfe, ...rest.slice(2)];
  const own = addressOf([0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...eui]);
  t.deepEqual([solicitation.type, solicitation.source, solicitation.hops], [135, own, 255]);
  t.deepEqual([...solicitation.payload.slice(0, 16)], bytesOf(blue.v6));
  t.deepEqual([...solicitation.payload.slice(16, 24)], [1, 1, ...hostMac(1, BLUE)], 'the MAC in its option');
  const arrivals = overlay.send(2, 1, advertisement(blue, own, hostMac(1, BLUE)));
  expectNoGateway(t, overlay);
  t.deepEqual(placesOf(arrivals), ['2/1']);
  t.deepEqual([...arrivals[0].frame.subarray(0, 12)], [...blue.mac, ...hostMac(1, BLUE)]);
  const { source, destination, hops } = read(ipOf(arrivals[0].frame));
  t.deepEqual(
    [source, destination],
    [green.v6, blue.v6].map((each) => addressOf(bytesOf(each))),
  );
  t.is(hops, 62, 'one less than it was sent with');
  expectWhole(t, overlay);
});

test("a packet to the host's MAC is one to its gateway: echo requests are answered", (t) => {
  const overlay = new Overlay(2);
  const blue = container(2, 1);
  const ping = framed(echo(blue.v4, '172.30.0.1', 9), hostMac(1, BLUE), blue.mac);
  // The gateway has to ask where the container is, and has then the answer for it.
  const asked = overlay.send(2, 1, ping).filter(({ host, port }) => host === 2 && port === 1);
  expectNoGateway(t, overlay);
  const arrivals =
    asked.length === 1 && asked[0].frame[13] === 6
      ? overlay.send(2, 1, arp(blue, 2, '0.0.0.0', hostMac(1, BLUE)))
      : asked;
  expectNoGateway(t, overlay);
  t.deepEqual(placesOf(arrivals), ['2/1']);
  t.deepEqual([...arrivals[0].frame.subarray(0, 12)], [...blue.mac, ...hostMac(1, BLUE)]);
  const { type, source, destination } = read(ipOf(arrivals[0].frame));
  t.deepEqual({ type, source, destination }, { type: 0, source: '172.30.0.1', destination: blue.v4 });
  expectWhole(t, overlay);
});

test('a container asks for the gateway: its own host answers, and nobody else hears of it', (t) => {
  const overlay = new Overlay(3);
  const one = container(1, 1);
  const arrivals = overlay.send(1, 1, arp(one, 1, '172.30.0.1', BROADCAST_MAC));
  t.deepEqual(placesOf(arrivals), ['1/1']);
  t.deepEqual([...arrivals[0].frame.subarray(22, 28)], GATEWAY_MAC);
  t.is(overlay.carried.length, 0);
  expectWhole(t, overlay);
});

test('a container asks for the gateway through a tunnel, having none on its side: it is told the MAC of the host', (t) => {
  const overlay = new Overlay(2);
  const host = overlay.host(1);
  const blue = container(2, 1);
  const packet = outer(host.outerFrom(2), arp(blue, 1, '172.30.0.1', BROADCAST_MAC));
  const [{ inner }, ...more] = outersOf(host.receive(UPLINK_PORT, packet));
  t.deepEqual(more, []);
  t.deepEqual([...inner.subarray(0, 12)], [...blue.mac, ...hostMac(1, BLUE)]);
  const { mac, sender, target } = question(inner);
  t.deepEqual({ mac, sender, target }, { mac: hostMac(1, BLUE), sender: '172.30.0.1', target: blue.v4 });
  expectWhole(t, overlay);
});

test('nobody on another host can be the gateway: a frame out of a tunnel with its MAC is dropped', (t) => {
  const overlay = new Overlay(2);
  const host = overlay.host(1);
  const thief = { ...container(2, 1), mac: GATEWAY_MAC };
  const packet = outer(host.outerFrom(2), datagram(thief, container(1, 1)));
  t.deepEqual(host.receive(UPLINK_PORT, packet), []);
  t.deepEqual(host.rxDrops(vtepPort(BLUE, 2)), { static_mac: 1 });
  expectWhole(t, overlay);
});

test('out of one tunnel, through the router, and into another: single packets and super-packets', (t) => {
  for (const checksum of [false, true]) {
    const overlay = new Overlay(3, { vxlan: { [BLUE]: { checksum }, [GREEN]: { checksum } } }, 'wire');
    const host = overlay.host(1);
    const blue = container(2, 1);
    const green = container(3, 4);
    // The router knows the container of the third host.
    overlay.send(3, 4, datagram(green, { ...green, mac: BROADCAST_MAC }));
    const [a, b, c, d] = wordsOf(green.v4);
    const { router } = host.dataplane;
    router.neighbors.setPermanent(router.interface(GREEN), a, b, c, d, 0x0200, 0x00000304);
    const toHost = { ...green, mac: hostMac(1, BLUE) };
    const single = datagram(blue, toHost);
    const [{ vni, to, inner }] = host.outers(UPLINK_PORT, outer(host.outerFrom(2), single));
    t.deepEqual([vni, to], [43, '10.77.0.3']);
    t.deepEqual([...inner.subarray(0, 12)], [...green.mac, ...hostMac(1, GREEN)]);
    t.is(read(ipOf(inner)).hops, 63);
    const { frame, vnet } = superSegment(blue, toHost, 15_000, 1398);
    // The host's MAC is not known yet: what is for it goes everywhere, and out again by one.
    const arrivals = overlay.send(2, 1, frame, vnet).filter((one) => one.host === 3 && one.port === 4);
    const segments = arrivals.flatMap(wireFrames);
    t.is(segments.length, 11);
    for (const [i, segment] of segments.entries()) {
      const seen = read(ipOf(segment));
      t.deepEqual([seen.sequence, seen.hops, seen.destination], [1000 + 1398 * i, 63, green.v4]);
      t.deepEqual([...segment.subarray(0, 12)], [...green.mac, ...hostMac(1, GREEN)]);
    }
    expectWhole(t, overlay);
  }
});

test('announcements of the gateway do not cross', (t) => {
  const overlay = new Overlay(3);
  for (const host of overlay.hosts) {
    const { router } = host.dataplane;
    const arrivals = overlay.run(host.number, () => {
      router.present(router.interface(BLUE));
      host.passTo(5);
    });
    t.true(arrivals.length > 0, 'containers here hear them');
    t.true(arrivals.every((one) => one.host === host.number));
    t.is(overlay.outers.length, 0);
    for (const other of [1, 2, 3]) {
      if (other !== host.number) t.true(host.txDrops(vtepPort(BLUE, other)).host_gateway > 0);
    }
  }
  expectWhole(t, overlay);
});

test("a routed super-packet crosses with the host's MAC in every segment", (t) => {
  for (const checksum of [false, true]) {
    const overlay = new Overlay(2, { vxlan: { [BLUE]: { checksum } } }, 'wire');
    const green = container(1, 4);
    const blue = container(2, 1);
    overlay.send(1, 4, through(green, blue));
    overlay.send(2, 1, arp(blue, 2, '0.0.0.0', hostMac(1, BLUE)));
    const { frame, vnet } = superSegment(green, { ...blue, mac: GATEWAY_MAC }, 20_000, 1398);
    const arrivals = overlay.send(1, 4, frame, vnet);
    expectNoGateway(t, overlay);
    const segments = arrivals.flatMap(wireFrames);
    t.is(segments.length, 15);
    let sequence = 1000;
    for (const segment of segments) {
      t.deepEqual([...segment.subarray(0, 12)], [...blue.mac, ...hostMac(1, BLUE)]);
      const seen = read(ipOf(segment));
      t.is(seen.hops, 63);
      t.is(seen.sequence, sequence);
      sequence += seen.payload.length;
    }
    expectWhole(t, overlay);
  }
});

test('the gateway has its MAC on each host, so a container that moves keeps its neighbors', (t) => {
  const overlay = new Overlay(2);
  const mover = container(1, 1);
  for (const host of [1, 2]) {
    const arrivals = overlay.send(host, 1, framed(echo(mover.v4, '172.30.0.1', 3), GATEWAY_MAC, mover.mac));
    t.deepEqual(
      placesOf(arrivals).filter((place) => place !== `${host}/1` && !place.startsWith(`${host}/`)),
      [],
    );
    t.is(arrivals.filter(({ host: at }) => at === host).length, 1, 'answered, or asked for, here');
  }
  expectWhole(t, overlay);
});
