/** RFC 4787, address translation of UDP, requirement by requirement. Every mode that can be chosen is walked through. */

import test from 'ava';
import { STATE_UDP_STREAM, STATE_UDP_UNREPLIED } from '../../../core/nat/flow.js';
import { DEFAULT_TIMEOUTS } from '../../../core/nat/flow-table.js';
import {
  FILTERING_ADDRESS_AND_PORT_DEPENDENT,
  FILTERING_ADDRESS_DEPENDENT,
  FILTERING_ENDPOINT_INDEPENDENT,
  MAPPING_ADDRESS_AND_PORT_DEPENDENT,
} from '../../../core/nat/settings.js';
import { expectWhole, word4 } from '../router/lab.js';
import {
  A,
  A2,
  B,
  EXTERNAL,
  EXTERNAL6,
  MASQUERADE_BOTH,
  NatLab,
  OUTSIDE,
  pool,
  SERVER,
  SERVER2,
  SERVER6,
  SERVER62,
  UPLINK,
} from './lab.js';
import { UDP } from './packets.js';
import { describe, filler, fragments4, fragments6, icmp, ipOf, read, udp, unreachable } from './wire.js';

const INSIDE = '10.1.0.11:5000';
const INSIDE2 = '10.1.0.12:5000';
const FIRST = `${SERVER}:53`;
const SECOND = `${SERVER2}:99`;

/** The external end of a datagram from the inside. */
function mappedBy(lab: NatLab, from = INSIDE, to = FIRST, station = A): string {
  const seen = lab.pass(station, udp(from, to));
  return seen.family === 4 ? `${seen.source}:${seen.sourcePort}` : `[${seen.source}]:${seen.sourcePort}`;
}

test('RFC 4787 REQ-1: one internal address and port has one mapping, whatever it talks to', (t) => {
  const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
  const servers = [FIRST, `${SERVER}:99`, `${SERVER2}:53`, SECOND];
  t.deepEqual([...new Set(servers.map((server) => mappedBy(lab, INSIDE, server)))], [`${EXTERNAL}:5000`]);
  const collided = servers.map((server) => mappedBy(lab, INSIDE2, server, A2));
  t.is(new Set(collided).size, 1, 'also where the port is taken');
  t.not(collided[0], `${EXTERNAL}:5000`);
  const servers6 = [`[${SERVER6}]:53`, `[${SERVER6}]:99`, `[${SERVER62}]:53`];
  const mapped6 = servers6.map((server) => mappedBy(lab, '[fd00:1::11]:5000', server));
  t.deepEqual([...new Set(mapped6)], [`[${EXTERNAL6}]:5000`]);
  expectWhole(t, lab);
});

test('RFC 4787 REQ-1: where it is chosen, another destination may see another port', (t) => {
  const lab = new NatLab({ nat: { mapping: MAPPING_ADDRESS_AND_PORT_DEPENDENT } });
  t.is(mappedBy(lab), `${EXTERNAL}:5000`);
  t.is(
    mappedBy(lab, INSIDE2, SECOND, A2),
    `${EXTERNAL}:5000`,
    'a port serves several, whose answers can be told apart',
  );
  t.not(mappedBy(lab, INSIDE2, FIRST, A2), `${EXTERNAL}:5000`);
  t.is(lab.say(OUTSIDE, udp(SECOND, `${EXTERNAL}:5000`)), `2 udp ${SECOND} > ${INSIDE2}`);
  t.is(lab.say(OUTSIDE, udp(FIRST, `${EXTERNAL}:5000`)), `1 udp ${FIRST} > ${INSIDE}`);
  expectWhole(t, lab);
});

test('RFC 4787 REQ-2: all of an endpoint leaves from one address of a pool', (t) => {
  const own = [EXTERNAL, '203.0.113.2', '203.0.113.3'];
  const lab = new NatLab({
    translation: { 1: pool('203.0.113.2', '203.0.113.3') },
    interfaces: { [UPLINK]: { addresses4: Int32Array.from(own.flatMap((text) => [word4(text), 0xffffff00 | 0])) } },
  });
  const used = new Set<string>();
  for (let host = 11; host < 31; host++) {
    const from = `10.1.0.${host}`;
    const addresses = [1, 2, 3, 4].map((port) => mappedBy(lab, `${from}:500${port}`, FIRST).split(':')[0]);
    t.is(new Set(addresses).size, 1, from);
    used.add(addresses[0]);
  }
  t.deepEqual([...used].sort(), ['203.0.113.2', '203.0.113.3'], 'and all of the pool is used');
  expectWhole(t, lab);
});

test("RFC 4787 REQ-3: no port is two endpoints' at a time", (t) => {
  const lab = new NatLab();
  const [one, other] = [mappedBy(lab), mappedBy(lab, INSIDE2, FIRST, A2)];
  t.not(one, other);
  t.is(lab.say(OUTSIDE, udp(FIRST, one)), `1 udp ${FIRST} > ${INSIDE}`);
  t.is(lab.say(OUTSIDE, udp(FIRST, other)), `2 udp ${FIRST} > ${INSIDE2}`);
  expectWhole(t, lab);
});

test('RFC 4787 REQ-3: ports stay above or below 1024', (t) => {
  const lab = new NatLab({ nat: { firstPort: 1 }, capacity: 4096 });
  for (let host = 11; host < 200; host++) {
    const [low, high] = [700, 7000].map((port) => Number(mappedBy(lab, `10.1.0.${host}:${port}`, FIRST).split(':')[1]));
    t.true(low < 1024, `${low}`);
    t.true(high >= 1024, `${high}`);
  }
  expectWhole(t, lab);
});

test('RFC 4787 REQ-4: an even port stays even, an odd one odd', (t) => {
  const lab = new NatLab({ capacity: 1024 });
  for (let host = 11; host < 91; host++) {
    for (const port of [6000, 6001]) {
      const mapped = Number(mappedBy(lab, `10.1.0.${host}:${port}`, FIRST).split(':')[1]);
      t.is(mapped & 1, port & 1);
    }
  }
  expectWhole(t, lab);
});

test('RFC 4787 REQ-5: a mapping lasts five minutes by default, and two at least', (t) => {
  t.is(DEFAULT_TIMEOUTS[STATE_UDP_UNREPLIED], 300);
  t.is(DEFAULT_TIMEOUTS[STATE_UDP_STREAM], 300);
  const lab = new NatLab({ timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 } });
  const mapped = mappedBy(lab);
  lab.wait(119);
  t.is(lab.say(OUTSIDE, udp(FIRST, mapped)), `1 udp ${FIRST} > ${INSIDE}`);
  lab.wait(121);
  t.true(lab.say(OUTSIDE, udp(FIRST, mapped)).endsWith('dropped not_listening'));
  t.is(lab.flows.mappings.count, 0);
  expectWhole(t, lab);
});

test('RFC 4787 REQ-6: what goes out refreshes a mapping, and so do answers', (t) => {
  const lab = new NatLab({ timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 } });
  const mapped = mappedBy(lab, INSIDE2, FIRST, A2);
  for (let minute = 0; minute < 6; minute++) {
    lab.wait(60);
    t.is(mappedBy(lab, INSIDE2, FIRST, A2), mapped, `minute ${minute}`);
  }
  for (let minute = 0; minute < 6; minute++) {
    lab.wait(60);
    t.is(lab.say(OUTSIDE, udp(FIRST, mapped)), `2 udp ${FIRST} > ${INSIDE2}`, `inbound, minute ${minute}`);
  }
  expectWhole(t, lab);
});

test("RFC 4787 REQ-7: an external address out of the inside's prefix confuses nobody", (t) => {
  const lab = new NatLab({ interfaces: { [UPLINK]: { addresses4: Int32Array.of(word4('10.1.0.200'), -1) } } });
  const mapped = mappedBy(lab);
  t.is(mapped, '10.1.0.200:5000');
  t.is(lab.say(OUTSIDE, udp(FIRST, mapped)), `1 udp ${FIRST} > ${INSIDE}`);
  lab.publish({ protocol: UDP, at: '10.1.0.200:8053', to: INSIDE2, station: A2 });
  t.is(lab.say(OUTSIDE, udp(SECOND, '10.1.0.200:8053')), `2 udp ${SECOND} > ${INSIDE2}`);
  expectWhole(t, lab);
});

const FILTERS: readonly { mode: number; name: string; otherPort: boolean; otherAddress: boolean }[] = [
  { mode: FILTERING_ENDPOINT_INDEPENDENT, name: 'endpoint-independent', otherPort: true, otherAddress: true },
  { mode: FILTERING_ADDRESS_DEPENDENT, name: 'address-dependent', otherPort: true, otherAddress: false },
  {
    mode: FILTERING_ADDRESS_AND_PORT_DEPENDENT,
    name: 'address-and-port-dependent',
    otherPort: false,
    otherAddress: false,
  },
];
for (const { mode, name, otherPort, otherAddress } of FILTERS) {
  test(`RFC 4787 REQ-8: ${name} filtering`, (t) => {
    const lab = new NatLab({ nat: { filtering: mode }, translation: { 1: MASQUERADE_BOTH } });
    for (const [inside, server, stranger] of [
      [INSIDE, SERVER, SERVER2],
      ['[fd00:1::11]:5000', `[${SERVER6}]`, `[${SERVER62}]`],
    ]) {
      const mapped = mappedBy(lab, inside, `${server}:53`);
      const heard = (from: string, isHeard: boolean): void => {
        t.is(lab.say(OUTSIDE, udp(from, mapped)), isHeard ? `1 udp ${from} > ${inside}` : 'dropped filtered', from);
      };
      heard(`${server}:53`, true);
      heard(`${server}:54`, otherPort);
      heard(`${stranger}:53`, otherAddress);
    }
    expectWhole(t, lab);
  });
}

test('RFC 4787 REQ-8: whom a mapping has sent to is remembered for as long as it has sent to them', (t) => {
  const lab = new NatLab({ timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 } });
  const mapped = mappedBy(lab);
  lab.wait(100);
  mappedBy(lab, INSIDE, SECOND);
  lab.wait(30);
  t.is(lab.say(OUTSIDE, udp(`${SERVER}:54`, mapped)), 'dropped filtered');
  t.is(lab.say(OUTSIDE, udp(`${SERVER2}:54`, mapped)), `1 udp ${SERVER2}:54 > ${INSIDE}`);
  expectWhole(t, lab);
});

test("RFC 4787 REQ-9: endpoints reach each other by their mappings, and see each other's", (t) => {
  const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH, 2: MASQUERADE_BOTH } });
  const pairs = [
    [INSIDE, '10.2.0.13:5000', FIRST],
    ['[fd00:1::11]:5000', '[fd00:2::13]:5000', `[${SERVER6}]:53`],
  ];
  for (const [inside, sibling, server] of pairs) {
    const [mine, theirs] = [mappedBy(lab, inside, server), mappedBy(lab, sibling, server, B)];
    t.is(lab.say(A, udp(inside, theirs)), `3 udp ${mine} > ${sibling}`, 'external source address and port');
    t.is(lab.say(B, udp(sibling, mine)), `1 udp ${theirs} > ${inside}`, 'and back');
  }
  const neighbor = mappedBy(lab, INSIDE2, FIRST, A2);
  t.is(lab.say(A, udp(INSIDE, neighbor)), `2 udp ${EXTERNAL}:5000 > ${INSIDE2}`, 'in one network');
  const own = mappedBy(lab, '10.1.0.11:6000', FIRST);
  t.is(lab.say(A, udp(INSIDE, own)), `1 udp ${EXTERNAL}:5000 > 10.1.0.11:6000`, 'to itself');
  expectWhole(t, lab);
});

test("RFC 4787 REQ-10: payload is nobody's business unless a gateway is asked for", (t) => {
  const lab = new NatLab();
  const text = 'REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.11:5060\r\nContact: <sip:a@10.1.0.11:5060>\r\n\r\n';
  const payload = Uint8Array.from(Buffer.from(text));
  t.deepEqual(lab.pass(A, udp('10.1.0.11:5060', `${SERVER}:5060`, payload)).payload, payload);
  const read = Uint8Array.from(Buffer.from('\0\x01file\0octet\0'));
  t.deepEqual(lab.pass(A, udp('10.1.0.11:2000', `${SERVER}:69`, read)).payload, read);
  t.is(lab.say(OUTSIDE, udp(`${SERVER2}:4000`, `${EXTERNAL}:2000`)), 'dropped filtered', 'and nothing is expected');
  expectWhole(t, lab);
});

test('RFC 4787 REQ-11: nothing of this changes with how many there are, or have been', (t) => {
  const lab = new NatLab({ capacity: 16_384, timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 300 } });
  const verdicts = (port: number): string[] => {
    const inside = `10.1.0.11:${port}`;
    const mapped = mappedBy(lab, inside);
    const sibling = mappedBy(lab, `10.2.0.13:${port}`, FIRST, B);
    return [
      `${mappedBy(lab, inside, SECOND) === mapped}`,
      lab.say(OUTSIDE, udp(`${SERVER}:1234`, mapped)).replaceAll(/:\d+/g, ''),
      lab.say(OUTSIDE, udp(`${EXTERNAL.replace('.1', '.77')}:1`, mapped)),
      lab.say(A, udp(inside, sibling)).replaceAll(/:\d+/g, ''),
    ];
  };
  const first = verdicts(5000);
  t.deepEqual(first, ['true', `1 udp ${SERVER} > 10.1.0.11`, 'dropped filtered', `3 udp ${EXTERNAL} > 10.2.0.13`]);
  // A crowd that collides on every port, and goes again.
  for (let round = 0; round < 2; round++) {
    for (let host = 20; host < 220; host++) {
      for (let port = 0; port < 25; port++) lab.give(A2, udp(`10.1.0.${host}:${6000 + port}`, FIRST));
    }
    t.true(lab.flows.table.count > 4000, `${lab.flows.table.count} connections`);
    for (let port = 6000; port < 6025; port++) t.deepEqual(verdicts(port), first, `port ${port}, round ${round}`);
    lab.wait(130);
  }
  expectWhole(t, lab);
});

test('RFC 4787 REQ-12: no ICMP error ends a mapping, and from anybody it is heard', (t) => {
  const lab = new NatLab();
  const mapped = mappedBy(lab);
  const sent = udp(mapped, FIRST);
  for (const [type, codes] of [
    [3, 16],
    [11, 2],
    [12, 1],
  ]) {
    for (let code = 0; code < codes; code++) {
      for (const router of [SERVER, '192.0.2.99']) {
        const error = icmp(router, EXTERNAL, type, code, 0, sent.slice(0, 28));
        t.is(lab.say(OUTSIDE, error), `1 icmp ${type}/${code} ${router} > 10.1.0.11 [udp ${INSIDE} > ${FIRST}]`);
      }
      t.is(lab.say(OUTSIDE, udp(FIRST, mapped)), `1 udp ${FIRST} > ${INSIDE}`);
      t.is(mappedBy(lab), mapped);
    }
  }
  t.is(lab.flows.table.count, 1);
  expectWhole(t, lab);
});

test('RFC 4787 REQ-13: too big and not to be fragmented: the sender is told the size; else it leaves in fragments, in order', (t) => {
  const lab = new NatLab({ interfaces: { [UPLINK]: { mtu: 1400 } }, slots: 256 });
  const big = udp(INSIDE, FIRST, filler(1450));
  const whole = big.slice();
  whole[6] = 0x40;
  const told = lab.pass(A, withSum(whole));
  t.is(describe(told), `icmp 3/4 10.1.0.1 > 10.1.0.11 [udp ${INSIDE} > ${FIRST}]`);
  t.is(new DataView(told.bytes.buffer).getUint16(26), 1400, 'next-hop MTU (RFC 1191, 4)');
  const pieces = lab.give(A, big).map(({ frame }) => read(ipOf(frame)));
  t.is(pieces.length, 2);
  const offsets = pieces.map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getUint16(6) & 0x1fff);
  t.deepEqual(offsets, [0, 172]);
  t.true(pieces.every(({ source, bytes }) => source === EXTERNAL && bytes.length <= 1400));
  t.is(pieces[0].sourcePort, 5000);
  expectWhole(t, lab);
});

function withSum(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return bytes;
}

/** The IP packet that fragments, in this order, leave as; those before the last one wait, and count as taken in then. */
function gathered(lab: NatLab, station: typeof A, pieces: readonly Uint8Array[]): string {
  const lines = pieces.map((piece) => lab.say(station, piece));
  return lines.map((line) => (line === 'held' ? '-' : line.replace(' | local', ''))).join(' ');
}

const ORDERS = [
  [0, 1, 2],
  [2, 1, 0],
  [1, 0, 2],
  [2, 0, 1],
];
for (const order of ORDERS) {
  test(`RFC 4787 REQ-14: fragments in the order ${order.join(', ')}, both ways`, (t) => {
    const lab = new NatLab({ slots: 256, translation: { 1: MASQUERADE_BOTH } });
    const given = (pieces: Uint8Array[]): Uint8Array[] => order.map((i) => pieces[i]);
    const sixteen = `[${SERVER6}]:53`;
    for (let i = 0; i < 3; i++) {
      const out = given(fragments4(udp(INSIDE, FIRST, filler(1200)), 408));
      t.is(gathered(lab, A, out), `- - 6 udp ${EXTERNAL}:5000 > ${FIRST}`);
      const back = given(fragments4(udp(FIRST, `${EXTERNAL}:5000`, filler(1200)), 408));
      t.is(gathered(lab, OUTSIDE, back), `- - 1 udp ${FIRST} > ${INSIDE}`);
      const out6 = given(fragments6(udp('[fd00:1::11]:5000', sixteen, filler(1200)), 408, i));
      t.is(gathered(lab, A, out6), `- - 6 udp [${EXTERNAL6}]:5000 > ${sixteen}`);
      const back6 = given(fragments6(udp(sixteen, `[${EXTERNAL6}]:5000`, filler(1200)), 408, i));
      t.is(gathered(lab, OUTSIDE, back6), `- - 1 udp ${sixteen} > [fd00:1::11]:5000`);
    }
    expectWhole(t, lab);
  });
}

test('RFC 4787 REQ-14: fragments without their rest take a bounded share of memory, and end', (t) => {
  const lab = new NatLab({ slots: 256 });
  const mapped = mappedBy(lab);
  const pieces = fragments4(udp(FIRST, mapped, filler(1200)), 408);
  let most = 0;
  for (let i = 0; i < 5000; i++) {
    const orphan = pieces[i % 2 === 0 ? 0 : 2].slice();
    new DataView(orphan.buffer).setUint16(4, i & 0xffff);
    orphan[15] = i & 0x1f;
    lab.give(OUTSIDE, withSum(orphan));
    most = Math.max(most, lab.held);
    if (i % 100 === 0) t.is(lab.say(A, udp(INSIDE, FIRST)).split(' | ')[0], `6 udp ${mapped} > ${FIRST}`);
  }
  t.true(most > 0 && most <= 64, `${most} slots of 256`);
  t.true(gathered(lab, OUTSIDE, pieces).includes(`1 udp ${FIRST} > ${INSIDE}`), 'whole ones still pass');
  lab.wait(70);
  t.is(lab.held, 0);
  expectWhole(t, lab);
});

test('RFC 4787 REQ-14: an ICMP error about a datagram that was put together reaches whom it is for', (t) => {
  const lab = new NatLab({ slots: 256 });
  for (const piece of fragments4(udp(INSIDE, FIRST, filler(1200)), 408)) lab.give(A, piece);
  const error = unreachable(SERVER, EXTERNAL, udp(`${EXTERNAL}:5000`, FIRST, filler(1200)), 28);
  lab.say(A, udp(INSIDE, FIRST));
  t.is(lab.say(OUTSIDE, error), `1 icmp 3/3 ${SERVER} > 10.1.0.11 [udp ${INSIDE} > ${FIRST}]`);
  expectWhole(t, lab);
});
