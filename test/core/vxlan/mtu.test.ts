/** Nothing is fragmented: RFC 7348, 4.3. What does not fit through the underlay, and who is told. */

import test, { type ExecutionContext } from 'ava';
import { VTEP_REFUSED, VTEP_UP } from '../../../core/vxlan/vtep.js';
import { frame } from '../../support/harness.js';
import { filler, fragments4, framed, icmp, ipOf, packetWithout, read } from '../nat/wire.js';
import {
  datagram,
  type Family,
  segment,
  superDatagram,
  superSegment,
  unfinished,
  withDontFragment,
} from './support/inner.js';
import {
  BLUE,
  BROADCAST_MAC,
  container,
  delivered,
  expectWhole,
  GATEWAY_MAC,
  Host,
  Overlay,
  outersOf,
  UPLINK_PORT,
  underlayMac,
  vtepPort,
} from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { OUTER4, OUTER6, outer } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const FAMILIES: readonly Family[] = [4, 6];
const REMOTE: Readonly<Record<Family, string>> = { 4: '10.77.0.2', 6: 'fd77::2' };

/** Bytes of the inner IP packet that fit. */
const room = (family: Family, mtu = 1500): number => mtu - (family === 4 ? OUTER4 : OUTER6);

/** One with a VTEP behind which THERE is, so that nothing is flooded. */
function host(options: ConstructorParameters<typeof Host>[1] = {}): Host {
  const one = new Host(1, options);
  one.know(2);
  one.addVtep(BLUE, vtepPort(BLUE, 2), REMOTE[one.family]);
  one.topology.addStatic(BLUE, 0, (THERE.mac[0] << 8) | THERE.mac[1], 0x00000201, vtepPort(BLUE, 2));
  return one;
}

/** A packet of so many bytes, IP header included. */
function sized(length: number, family: Family): Uint8Array {
  return datagram(HERE, THERE, { family, data: filler(length - (family === 4 ? 28 : 48)) });
}

/** A packet that may go in pieces, as those who get it put it together: its pieces, each of which fits. */
function expectPieces(t: ExecutionContext, pieces: readonly Uint8Array[], bytes: Uint8Array, mtu: number): void {
  const expected = fragments4(ipOf(bytes), (mtu - 20) & ~7).map((piece) =>
    framed(piece, [...bytes.subarray(0, 6)], HERE.mac),
  );
  t.true(pieces.length > 1);
  t.true(expected.length === pieces.length && expected.every((piece, i) => Buffer.compare(piece, pieces[i]) === 0));
}

/** What the sender of a packet that does not fit is told. */
function expectTold(t: ExecutionContext, one: Host, bytes: Uint8Array, mtu: number, what: string): void {
  const sent = one.receive(1, bytes);
  t.deepEqual(
    sent.map(({ port }) => port),
    [1],
    what,
  );
  if (sent.length !== 1) return;
  const answer = sent[0].frame;
  t.deepEqual([...answer.subarray(0, 12)], [...HERE.mac, ...GATEWAY_MAC], what);
  const seen = read(ipOf(answer));
  const isIpv4 = seen.family === 4;
  t.is(`${seen.type}/${seen.code}`, isIpv4 ? '3/4' : '2/0', what);
  t.is(seen.source, isIpv4 ? '172.30.0.1' : 'fd00:30::1', what);
  t.is(seen.destination, isIpv4 ? HERE.v4 : HERE.v6, what);
  const at = isIpv4 ? 20 : 40;
  t.is((seen.bytes[at + 6] << 8) | seen.bytes[at + 7], mtu, what);
  t.deepEqual(seen.payload.slice(0, 40), ipOf(bytes).slice(0, 40), `${what}: the packet quoted`);
  expectWhole(t, one, what);
}

for (const family of FAMILIES) {
  for (const inside of FAMILIES) {
    test(`IPv${inside} over IPv${family}: the largest packet passes, in one piece, and one byte more does not`, (t) => {
      for (const mtu of [1500, 1450, 9000, 1400]) {
        const one = host({ family, mtu });
        const most = room(family, mtu);
        const fitting = inside === 4 ? withDontFragment(sized(most, 4)) : sized(most, 6);
        const sent = one.receive(1, fitting);
        t.deepEqual(
          outersOf(sent).map(({ inner }) => inner),
          [fitting],
        );
        t.true(
          sent.every(({ frame: bytes }) => bytes.length - 14 <= mtu),
          'no frame is larger than the MTU',
        );
        const larger = inside === 4 ? withDontFragment(sized(most + 1, 4)) : sized(most + 1, 6);
        expectTold(t, one, larger, most, `${mtu}`);
        t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 1);
      }
    });
  }

  test(`over IPv${family}: a full packet of a sender who knows nothing is dropped and counted with DF, and goes in pieces without`, (t) => {
    const one = host({ family });
    expectTold(t, one, withDontFragment(sized(1500, 4)), room(family), 'DF');
    const whole = sized(1500, 4);
    const pieces = one.outers(1, whole).map(({ inner }) => inner);
    expectPieces(t, pieces, whole, room(family));
    t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 1);
    expectWhole(t, one);
  });

  test(`over IPv${family}: without a gateway nobody can tell; it is dropped and counted all the same`, (t) => {
    const one = host({ family, gateway: false });
    for (const bytes of [withDontFragment(sized(1500, 4)), sized(1500, 6)]) t.deepEqual(one.receive(1, bytes), []);
    t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 2);
    expectWhole(t, one);
  });
}

test('a large frame without IP is dropped and counted', (t) => {
  const one = host();
  t.deepEqual(one.receive(1, frame([...THERE.mac], [...HERE.mac], [...filler(1500)])), []);
  t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 1);
  expectWhole(t, one);
});

test('a large broadcast: containers here get it whole, VTEPs in pieces', (t) => {
  const one = host();
  const bytes = datagram(HERE, { ...THERE, mac: BROADCAST_MAC, v4: '172.30.255.255' }, { data: filler(1472) });
  const sent = one.receive(1, bytes);
  t.deepEqual(
    delivered(sent).map(({ port, frame: copy }) => [port, copy]),
    [2, 3].map((port) => [port, bytes]),
  );
  expectPieces(
    t,
    outersOf(sent).map(({ inner }) => inner),
    bytes,
    room(4),
  );
  expectWhole(t, one);
});

test('fragments of the container itself pass, each in one packet', (t) => {
  const one = host();
  const whole = ipOf(datagram(HERE, THERE, { data: filler(4000) }));
  const pieces = fragments4(whole, 1424).map((piece) => framed(piece, THERE.mac, HERE.mac));
  for (const piece of pieces)
    t.deepEqual(
      one.outers(1, piece).map(({ inner }) => inner),
      [piece],
    );
  expectWhole(t, one);
});

test('the MTU of the uplink changes: the next packet counts with it', (t) => {
  const one = host({ mtu: 9000 });
  const { router } = one.dataplane;
  const bytes = withDontFragment(sized(1451, 4));
  t.is(one.outers(1, bytes).length, 1);
  one.sentBy(() => router.setInterface(UPLINK_PORT, { ...router.interface(UPLINK_PORT), mtu: 1500 }, true));
  expectTold(t, one, bytes, 1450, 'smaller');
  one.sentBy(() => router.setInterface(UPLINK_PORT, { ...router.interface(UPLINK_PORT), mtu: 1501 }, true));
  t.is(one.outers(1, bytes).length, 1);
  expectWhole(t, one);
});

// --- super-packets

for (const family of FAMILIES) {
  for (const inside of FAMILIES) {
    for (const checksum of [false, true]) {
      const what = `IPv${inside} over IPv${family}${checksum ? ', with checksums' : ''}`;
      test(`${what}: segments of TCP that were meant for another MTU are made to fit`, (t) => {
        const one = host({ family, vxlan: { [BLUE]: { checksum } } });
        const { frame: bytes, vnet } = superSegment(HERE, THERE, 30_000, 1460, { family: inside });
        const packets = one.outers(1, bytes, vnet);
        const headers = inside === 4 ? 40 : 60;
        const size = room(family) - headers;
        t.is(packets.length, Math.ceil(30_000 / size));
        let at = 0;
        for (const { inner } of packets) {
          t.true(inner.length - 14 <= room(family));
          const seen = read(ipOf(inner));
          t.is(seen.sequence, 1000 + at);
          t.deepEqual(seen.payload, filler(30_000).slice(at, at + size));
          at += seen.payload.length;
        }
        t.is(at, 30_000);
        expectWhole(t, one);
      });
    }
  }

  test(`over IPv${family}: datagrams are not made to fit: their sender is told`, (t) => {
    const one = host({ family, vxlan: { [BLUE]: { checksum: true } } });
    const size = room(family) - 28;
    const fitting = superDatagram(HERE, THERE, 10 * size, size);
    t.is(one.outers(1, fitting.frame, fitting.vnet).length, 10);
    const { frame: bytes, vnet } = superDatagram(HERE, THERE, 10 * size, size + 1, 4);
    const sent = one.receive(1, withDontFragment(bytes), vnet);
    t.deepEqual(outersOf(sent), []);
    t.is(delivered(sent).length, 1);
    t.is(read(ipOf(sent[0].frame)).code, 4);
    t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 1);
    expectWhole(t, one);
  });
}

test('segments whose headers alone do not fit are refused, not cut into nothing', (t) => {
  const one = host({ mtu: 100, innerMtu: 1450 });
  // Room for 50 bytes: 40 of headers, 10 of payload. With 12 bytes of options there is none.
  const loaded = superSegment(HERE, THERE, 1000, 500, { options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2] });
  t.deepEqual(outersOf(one.receive(1, loaded.frame, loaded.vnet)), []);
  t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 1);
  const { frame: bytes, vnet } = superSegment(HERE, THERE, 1000, 500);
  t.is(one.outers(1, bytes, vnet).length, 100);
  expectWhole(t, one);
});

test('a super-packet of one segment that fits is no super-packet, and passes', (t) => {
  const one = host({ vxlan: { [BLUE]: { checksum: true } } });
  const { frame: bytes, vnet } = superSegment(HERE, THERE, 700, 1460);
  t.deepEqual(
    one.outers(1, bytes, vnet).map(({ inner }) => inner),
    [segment(HERE, THERE, { flags: 'PA', data: filler(700) })],
  );
  expectWhole(t, one);
});

test('a large packet that is not segmented, checksum to come, does not pass', (t) => {
  const one = host();
  const { frame: bytes, vnet } = unfinished(withDontFragment(segment(HERE, THERE, { data: filler(1411) })));
  const sent = one.receive(1, bytes, vnet);
  t.deepEqual(outersOf(sent), []);
  t.is(one.txDrops(vtepPort(BLUE, 2)).too_big, 1);
  expectWhole(t, one);
});

// --- routed traffic

test('routed packets: too big is told by the gateway they came to; a handshake announces what fits', (t) => {
  const one = host();
  const green = container(1, 4);
  one.dataplane.router.neighbors.setPermanent?.(
    one.dataplane.router.interface(BLUE),
    0,
    0,
    0xffff,
    0xac1e0201 | 0,
    (THERE.mac[0] << 8) | THERE.mac[1],
    0x00000201,
  );
  const through = { ...THERE, mac: GATEWAY_MAC };
  const large = withDontFragment(datagram(green, through, { data: filler(1472) }));
  const told = one.receive(4, large);
  t.is(told.length, 1);
  const seen = read(ipOf(told[0].frame));
  t.deepEqual([seen.type, seen.code, seen.source], [3, 4, '172.31.0.1']);
  t.is((seen.bytes[26] << 8) | seen.bytes[27], 1450);
  const syn = segment(green, through, { flags: 'S', options: [2, 4, 0x05, 0xb4] });
  const [{ inner }] = one.outers(4, syn);
  const clamped = read(ipOf(inner)).bytes;
  t.deepEqual([...clamped.slice(40, 44)], [2, 4, 1410 >> 8, 1410 & 255]);
  expectWhole(t, one);
});

// --- what routers of the underlay say

/** ICMP from a router of the underlay that a packet of ours, quoted so far, is too big. */
function tooBigSaid(one: Host, quoted: Uint8Array, mtu: number, length = 64): Uint8Array {
  const ip = ipOf(quoted).slice(0, length);
  const bytes =
    one.family === 4 ? icmp('10.77.0.254', one.address, 3, 4, mtu, ip) : icmp('fd77::fe', one.address, 2, 0, mtu, ip);
  return framed(bytes, underlayMac(1), underlayMac(0xfe));
}

for (const family of FAMILIES) {
  test(`over IPv${family}: a router on the way says that less passes: so does the gateway, for ten minutes`, (t) => {
    const one = host({ family });
    const [before] = one.receive(1, sized(1400, 4));
    const less = 1400;
    t.deepEqual(one.receive(UPLINK_PORT, tooBigSaid(one, before.frame, less)), []);
    expectTold(t, one, withDontFragment(sized(room(family, less) + 1, 4)), room(family, less), 'one byte more');
    t.is(one.outers(1, sized(room(family, less), 4)).length, 1);
    // Super-packets are cut smaller.
    const { frame: bytes, vnet } = superSegment(HERE, THERE, 20_000, 1360);
    t.true(one.outers(1, bytes, vnet).every(({ inner }) => inner.length - 14 <= room(family, less)));
    // More than that is nobody's to promise.
    one.receive(UPLINK_PORT, tooBigSaid(one, before.frame, 1480));
    expectTold(t, one, withDontFragment(sized(room(family, less) + 1, 4)), room(family, less), 'still');
    one.passTo(700);
    one.know(2);
    t.is(one.outers(1, withDontFragment(sized(room(family), 4))).length, 1, 'after ten minutes it is tried again');
    expectWhole(t, one);
  });

  test(`over IPv${family}: a host says that nobody listens there: so does the status, until the VTEP is heard, or for a minute`, (t) => {
    const one = host({ family });
    const state = (): number => one.dataplane.vxlan.list()[1];
    const refuse = (quoted: Uint8Array): void => {
      const ip = ipOf(quoted).slice(0, 64);
      const from = REMOTE[family];
      const said = family === 4 ? icmp(from, one.address, 3, 3, 0, ip) : icmp(from, one.address, 1, 4, 0, ip);
      t.deepEqual(one.receive(UPLINK_PORT, framed(said, underlayMac(1), underlayMac(2))), []);
    };
    one.dataplane.vxlan.tick();
    t.is(state(), VTEP_UP);
    const [sent] = one.receive(1, sized(1400, 4));
    const elsewhere = sent.frame.slice();
    elsewhere[family === 4 ? 33 : 53] ^= 1;
    refuse(elsewhere);
    t.is(state(), VTEP_UP, 'of another VTEP');
    refuse(sent.frame);
    t.is(state(), VTEP_REFUSED);
    one.passTo(59);
    t.is(state(), VTEP_REFUSED);
    one.passTo(60);
    t.is(state(), VTEP_UP, 'a minute later');
    refuse(sent.frame);
    t.is(state(), VTEP_REFUSED);
    one.receive(UPLINK_PORT, outer(one.outerFrom(2), datagram(THERE, HERE)));
    t.is(state(), VTEP_UP, 'heard');
    expectWhole(t, one);
  });

  test(`over IPv${family}: who was not asked says nothing: quotes that are not of a tunnel of ours change nothing`, (t) => {
    const one = host({ family });
    const [sent] = one.receive(1, sized(1400, 4));
    const elsewhere = sent.frame.slice();
    elsewhere[family === 4 ? 33 : 53] ^= 1; // to another VTEP
    const foreign = sent.frame.slice();
    foreign[family === 4 ? 29 : 37] ^= 1; // from another address
    const other = sent.frame.slice();
    other[family === 4 ? 37 : 57] ^= 1; // to another UDP port
    const tcp = sent.frame.slice();
    tcp[family === 4 ? 23 : 20] = 6;
    for (const quoted of [elsewhere, foreign, other, tcp]) one.receive(UPLINK_PORT, tooBigSaid(one, quoted, 1300));
    for (let length = 0; length < (family === 4 ? 28 : 48); length++)
      one.receive(UPLINK_PORT, tooBigSaid(one, sent.frame, 1300, length));
    t.is(one.outers(1, sized(room(family), 4)).length, 1);
    expectWhole(t, one);
  });

  test(`over IPv${family}: an absurd MTU leaves what every host must be able to send`, (t) => {
    const one = host({ family });
    const [sent] = one.receive(1, sized(1400, 4));
    for (const mtu of [0, 68, 575]) one.receive(UPLINK_PORT, tooBigSaid(one, sent.frame, mtu));
    const least = family === 4 ? 576 : 1280 - OUTER6;
    t.is(one.outers(1, sized(least, 4)).length, 1);
    expectWhole(t, one);
  });
}

test('an ICMP message whose checksum is wrong changes nothing', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family });
    const [sent] = one.receive(1, sized(1400, 4));
    const said = tooBigSaid(one, sent.frame, 1300);
    said[said.length - 1] ^= 0x55;
    one.receive(UPLINK_PORT, said);
    t.is(one.outers(1, sized(room(family), 4)).length, 1, `IPv${family}`);
    expectWhole(t, one);
  }
});

test('what the underlay says of one VTEP is not said of another', (t) => {
  const overlay = new Overlay(3);
  const one = overlay.host(1);
  const third = container(3, 1);
  overlay.send(3, 1, datagram(third, HERE));
  overlay.send(2, 1, datagram(THERE, HERE));
  const [sent] = one.receive(1, sized(1400, 4));
  one.receive(UPLINK_PORT, tooBigSaid(one, sent.frame, 1300));
  t.is(one.outers(1, datagram(HERE, third, { data: filler(1450 - 28) })).length, 1);
  t.is(one.outers(1, datagram(HERE, THERE, { data: filler(1450 - 28) })).length, 2, 'in two pieces');
  expectWhole(t, overlay);
});

test('wire frames of whatever was sent are within the MTU', (t) => {
  for (const family of FAMILIES) {
    for (const checksum of [false, true]) {
      const one = host({ family, mtu: 1450, vxlan: { [BLUE]: { checksum } } });
      for (let size = 1; size < 3000; size += 97) {
        for (const inside of FAMILIES) {
          const { frame: bytes, vnet } = superSegment(HERE, THERE, 7 * size, size, { family: inside });
          const frames = one.receive(1, bytes, vnet).filter(({ port }) => port === UPLINK_PORT);
          t.true(
            frames.flatMap(wireFrames).every((each) => each.length - 14 <= 1450),
            `${size}`,
          );
        }
      }
      expectWhole(t, one);
    }
  }
});

test('a protocol that nobody knows is carried, and refused, by its length alone', (t) => {
  const one = host();
  const bytes = (length: number): Uint8Array =>
    framed(packetWithout(99, HERE.v4, THERE.v4, filler(length - 20)), THERE.mac, HERE.mac);
  t.deepEqual(
    one.outers(1, bytes(1450)).map(({ inner }) => inner),
    [bytes(1450)],
  );
  expectTold(t, one, withDontFragment(bytes(1451)), 1450, 'too big');
});
