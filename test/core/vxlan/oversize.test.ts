/** What is too large for a tunnel, in corners: links that take more than IP can say, routed packets, answers in the middle of a flood. */

import test from 'ava';
import { filler, framed, icmp, ipOf, read } from '../nat/wire.js';
import { datagram, superSegment, withDontFragment } from './support/inner.js';
import {
  BLUE,
  container,
  delivered,
  expectWhole,
  GATEWAY_MAC,
  Host,
  outersOf,
  UPLINK_PORT,
  underlayMac,
  vtepPort,
} from './support/lab.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const VTEP = vtepPort(BLUE, 2);

function host(options: ConstructorParameters<typeof Host>[1] = {}): Host {
  const one = new Host(1, options);
  one.know(2);
  one.addVtep(BLUE, VTEP, one.family === 4 ? '10.77.0.2' : 'fd77::2');
  return one;
}

/** THERE is known to be behind the VTEP, and where its address is. */
function knowThere(one: Host): void {
  const { router } = one.dataplane;
  const high = (THERE.mac[0] << 8) | THERE.mac[1];
  one.topology.addStatic(BLUE, 0, high, 0x00000201, VTEP);
  router.neighbors.setPermanent(router.interface(BLUE), 0, 0, 0xffff, 0xac1e0201 | 0, high, 0x00000201);
}

for (const family of [4, 6] as const) {
  test(`IPv${family} underlay whose MTU is beyond what a length field says: packets end there all the same`, (t) => {
    const most = 65535 - (family === 4 ? 50 : 70);
    const one = host({ slots: 200, family, mtu: 100_000, innerMtu: most, vxlan: { [BLUE]: { checksum: true } } });
    knowThere(one);
    const sized = (length: number): Uint8Array =>
      withDontFragment(datagram(HERE, THERE, { data: filler(length - 28) }));
    t.deepEqual(
      one.outers(1, sized(most)).map(({ inner }) => inner),
      [sized(most)],
    );
    const told = one.receive(1, sized(most + 1));
    t.deepEqual(
      told.map(({ port }) => port),
      [1],
      'one byte more: its sender is told',
    );
    // A super-packet of one segment, too long for a bundle of one.
    const { frame, vnet } = superSegment(HERE, THERE, most + 1 - 40, most + 1 - 40);
    const inners = one.outers(1, frame, vnet).map(({ inner }) => read(ipOf(inner)).payload.length);
    t.deepEqual(inners, [most - 40, 1]);
    expectWhole(t, one);
  });
}

test('a routed packet that a path MTU of the underlay does not let through: its sender is told, and nobody else hears of it', (t) => {
  const one = host();
  knowThere(one);
  const green = container(1, 4);
  const through = { ...THERE, mac: GATEWAY_MAC };
  const packet = (length: number): Uint8Array =>
    withDontFragment(datagram(green, through, { data: filler(length - 28) }));
  const [quoted] = one.receive(4, packet(1400));
  const said = icmp('10.77.0.254', one.address, 3, 4, 1300, ipOf(quoted.frame).slice(0, 64));
  one.receive(UPLINK_PORT, framed(said, underlayMac(1), underlayMac(0xfe)));
  const told = one.receive(4, packet(1251));
  t.deepEqual(
    told.map(({ port }) => port),
    [4],
  );
  t.deepEqual([...told[0].frame.subarray(0, 12)], [...green.mac, ...GATEWAY_MAC]);
  const seen = read(ipOf(told[0].frame));
  t.deepEqual([seen.type, seen.code, seen.source, seen.destination], [3, 4, '172.31.0.1', green.v4]);
  t.is((seen.bytes[26] << 8) | seen.bytes[27], 1250);
  t.is(one.outers(4, packet(1250)).length, 1);
  expectWhole(t, one);
});

test('a flood that is too large for a tunnel, from a sender of whom the FDB knows nothing: his answer takes nobody out of the flood', (t) => {
  // Ports 1 and 2 without tags, the VTEP, and port 3 with its tag: the frame goes to the last when the answer is on its way.
  const one = host({ ports: { 1: { macLimit: 0 }, 3: { vlan: { native: 0, tagged: [7] } } } });
  const bytes = withDontFragment(datagram(HERE, THERE, { data: filler(1472) }));
  const sent = one.receive(1, bytes);
  t.deepEqual(outersOf(sent).length, 1, 'the answer, since nobody knows where its receiver is');
  const large = delivered(sent).filter(({ frame }) => frame.length > 1000);
  t.deepEqual(large.map(({ port, frame }) => [port, frame.length]).sort(), [
    [2, bytes.length],
    [3, bytes.length + 4],
  ]);
  t.is(one.txDrops(VTEP).too_big, 1);
  expectWhole(t, one);
});
