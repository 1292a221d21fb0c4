/** What a review of the path through address translation has found, and stays found. */

import test from 'ava';
import { STATE_UDP_STREAM, STATE_UDP_UNREPLIED } from '../../../core/nat/flow.js';
import { POLICY_ACCEPT } from '../../../core/nat/policy.js';
import { FILTERING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { expectWhole, word4 } from '../router/lab.js';
import { authentication } from '../wire/build.js';
import {
  A,
  A2,
  B,
  C,
  EXTERNAL,
  MASQUERADE,
  NatLab,
  OUTSIDE,
  prefixes,
  SERVER,
  SERVER2,
  SERVER6,
  UPLINK,
  VRF,
} from './lab.js';
import { UDP } from './packets.js';
import { echo, filler, fragments4, ipOf, packet, packetWithout, tcp, udp } from './wire.js';

test('a packet that is not tracked is not taken for one of a connection that its slot has held', (t) => {
  const lab = new NatLab({ interfaces: { 3: { mtu: 1400 } } });
  t.is(lab.say(A, udp('10.1.0.11:5000', `${SERVER}:53`)), `6 udp ${EXTERNAL}:5000 > ${SERVER}:53`);
  lab.router.setVrf(VRF, { interconnect: true, recordRoute: false, timestamp: false, tracking: false });
  t.is(lab.say(C, udp('10.3.0.15:7', '10.2.0.13:7')), '3 udp 10.3.0.15:7 > 10.2.0.13:7');
  expectWhole(t, lab);
});

test('options of a packet are looked at in the middle of a connection as well', (t) => {
  const lab = new NatLab();
  const plain = udp('10.1.0.11:5000', `${SERVER}:53`);
  for (let i = 0; i < 3; i++) t.is(lab.say(A, plain), `6 udp ${EXTERNAL}:5000 > ${SERVER}:53`);
  const segment = plain.slice(20);
  const routed = packet(UDP, '10.1.0.11', SERVER, segment, 8);
  // Loose source route (RFC 791, 3.1), one address to go.
  routed.set([131, 7, 4, 198, 51, 100, 9, 0], 20);
  const sealed = resealed(routed);
  t.true(lab.say(A, sealed).endsWith('dropped ip_options'));
  expectWhole(t, lab);
});

function resealed(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < (bytes[0] & 15) * 4; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return bytes;
}

test('nothing leaves a network with another prefix outside under its inside one', (t) => {
  const lab = new NatLab({ translation: { 1: prefixes('fd00:1::/48', '2001:db8:aa::/48') } });
  const leaks = (bytes: Uint8Array, what: string): void => {
    t.regex(lab.say(A, bytes), /(^|\| )dropped untranslatable$/, what);
  };
  t.regex(lab.say(A, udp('[fd00:1::11]:5000', `[${SERVER6}]:53`)), /^6 udp \[2001:db8:aa:/);
  leaks(echo('fd00:1::11', SERVER6, 7, true), 'an answer to nothing');
  leaks(packetWithout(17, 'fd00:1::11', SERVER6, Uint8Array.of(1, 2, 3)), 'a transport header that is cut short');
  leaks(udp('[fd00:1:0:ffff::11]:5000', `[${SERVER6}]:53`), 'a subnet without counterpart (RFC 6296, 3.4)');
  leaks(packetWithout(51, 'fd00:1::11', SERVER6, authentication(59)), 'what the authentication header covers');
  expectWhole(t, lab);
});

test('a connection that an RST has not ended does not give its port away', (t) => {
  const lab = new NatLab({ nat: { firstPort: 4000, lastPort: 4000 } });
  const [client, server] = ['10.1.0.11:4000', `${SERVER}:80`];
  lab.say(A, tcp(client, server, { sequence: 1000 }));
  lab.say(OUTSIDE, tcp(server, `${EXTERNAL}:4000`, { flags: 'SA', sequence: 5000, acknowledgment: 1001 }));
  const acknowledge = tcp(client, server, { flags: 'A', sequence: 1001, acknowledgment: 5001 });
  t.is(lab.say(A, acknowledge), `6 tcp A ${EXTERNAL}:4000 > ${server}`);
  // In the window, but not the next number: the client answers it by a challenge ACK (RFC 5961, 3.2).
  lab.say(OUTSIDE, tcp(server, `${EXTERNAL}:4000`, { flags: 'R', sequence: 5100 }));
  t.is(lab.say(A, acknowledge), `6 tcp A ${EXTERNAL}:4000 > ${server}`);
  t.is(
    lab.say(A2, tcp('10.1.0.12:4000', `${SERVER2}:80`)),
    `2 icmp 3/13 10.1.0.1 > 10.1.0.12 [tcp S 10.1.0.12:4000 > ${SERVER2}:80] | dropped ports_exhausted`,
  );
  t.is(lab.say(A, acknowledge), `6 tcp A ${EXTERNAL}:4000 > ${server}`);
  expectWhole(t, lab);
});

test('a mapping lasts as long as anybody who came in by it is answered', (t) => {
  const lab = new NatLab({
    nat: { filtering: FILTERING_ENDPOINT_INDEPENDENT, firstPort: 4000, lastPort: 4001 },
    timeouts: { [STATE_UDP_UNREPLIED]: 120, [STATE_UDP_STREAM]: 120 },
  });
  const inside = '10.1.0.11:9';
  const first = lab.pass(A, udp(inside, `${SERVER}:53`)).sourcePort;
  const external = `${EXTERNAL}:${first}`;
  for (let i = 0; i < 5; i++) {
    t.is(lab.say(OUTSIDE, udp(`${SERVER2}:99`, external)), `1 udp ${SERVER2}:99 > ${inside}`);
    t.is(lab.say(A, udp(inside, `${SERVER2}:99`)), `6 udp ${external} > ${SERVER2}:99`);
    lab.wait(60);
  }
  t.is(lab.flows.table.count, 1, 'the first connection is over');
  t.is(lab.pass(A, udp(inside, `${SERVER}:53`)).sourcePort, first, 'RFC 4787, REQ-1 and REQ-6');
  lab.wait(121);
  t.is(lab.flows.mappings.count, 0, 'and no longer');
  expectWhole(t, lab);
});

test('a connection ends with the rule that let it in, or with the way between its networks', (t) => {
  const lab = new NatLab({ translation: { 1: null, 2: null } });
  const packetThere = udp('10.1.0.11:5000', '10.2.0.13:53');
  const packetBack = udp('10.2.0.13:53', '10.1.0.11:5000');
  t.true(lab.say(A, packetThere).endsWith('dropped prohibited'));
  lab.rules({ action: POLICY_ACCEPT, fromIface: 1, toIface: 2 });
  t.is(lab.say(A, packetThere), '3 udp 10.1.0.11:5000 > 10.2.0.13:53');
  t.is(lab.say(B, packetBack), '1 udp 10.2.0.13:53 > 10.1.0.11:5000');
  lab.rules();
  t.true(lab.say(A, packetThere).endsWith('dropped prohibited'));
  t.true(lab.say(B, packetBack).endsWith('dropped prohibited'));
  lab.rules({ action: POLICY_ACCEPT, fromIface: 1, toIface: 2 });
  t.is(lab.say(A, packetThere), '3 udp 10.1.0.11:5000 > 10.2.0.13:53');
  lab.change(2, { internal: true });
  t.true(lab.say(A, packetThere).endsWith('dropped internal'));
  expectWhole(t, lab);
});

test("an address that the uplink has no longer is nobody's source", (t) => {
  const lab = new NatLab();
  const datagram = udp('10.1.0.11:5000', `${SERVER}:53`);
  t.is(lab.say(A, datagram), `6 udp ${EXTERNAL}:5000 > ${SERVER}:53`);
  lab.say(A, tcp('10.1.0.11:5000', `${SERVER}:80`, { sequence: 1 }));
  lab.say(OUTSIDE, tcp(`${SERVER}:80`, `${EXTERNAL}:5000`, { flags: 'SA', sequence: 7, acknowledgment: 2 }));
  const published = udp('10.1.0.12:53', `${SERVER}:99`);
  lab.publish({ protocol: UDP, at: '0.0.0.0:8053', to: '10.1.0.12:53', station: A2 });
  t.is(lab.say(A2, published), `6 udp ${EXTERNAL}:8053 > ${SERVER}:99`);
  lab.change(UPLINK, { addresses4: Int32Array.of(word4('203.0.113.9'), 0xffffff00 | 0) });
  t.is(lab.say(A, datagram), `6 udp 203.0.113.9:5000 > ${SERVER}:53`);
  t.is(lab.say(A2, published), `6 udp 203.0.113.9:8053 > ${SERVER}:99`);
  const segment = tcp('10.1.0.11:5000', `${SERVER}:80`, { flags: 'A', sequence: 2, acknowledgment: 8 });
  t.is(lab.say(A, segment), `1 tcp R ${SERVER}:80 > 10.1.0.11:5000 | dropped no_flow`, 'the client learns at once');
  expectWhole(t, lab);
});

test('a network that is hidden from the wire from now on is so with the connections that it has', (t) => {
  const lab = new NatLab({ translation: { 1: null } });
  const datagram = udp('10.3.0.15:5000', `${SERVER}:53`);
  const datagram6 = udp('[fd00:1::11]:5000', `[${SERVER6}]:53`);
  t.is(lab.say(C, datagram), `6 udp 10.3.0.15:5000 > ${SERVER}:53`);
  t.is(lab.say(A, datagram6), `6 udp [fd00:1::11]:5000 > [${SERVER6}]:53`);
  const segment = { flags: 'A', sequence: 7, acknowledgment: 9 };
  t.is(lab.say(C, tcp('10.3.0.15:5000', `${SERVER}:80`, segment)), `6 tcp A 10.3.0.15:5000 > ${SERVER}:80`);
  lab.change(3, { translation: MASQUERADE });
  lab.change(1, { translation: prefixes('fd00:1::/48', '2001:db8:aa::/48') });
  t.is(lab.say(C, datagram), `6 udp ${EXTERNAL}:5000 > ${SERVER}:53`);
  t.regex(lab.say(A, datagram6), /^6 udp \[2001:db8:aa:/);
  t.regex(lab.say(C, tcp('10.3.0.15:5000', `${SERVER}:80`, segment)), /^5 tcp R .* \| dropped no_flow$/);
  expectWhole(t, lab);
});

test('fragments that must not be cut further leave in fragments', (t) => {
  const lab = new NatLab({ slots: 256 });
  const whole = udp('10.1.0.11:5000', `${SERVER}:53`, filler(2000));
  const pieces = fragments4(whole, 1400, true);
  t.is(lab.say(A, pieces[0]), 'held');
  const sent = lab.give(A, pieces[1]);
  t.is(sent.length, 2);
  const bytes = sent.map(({ frame }) => ipOf(frame));
  for (const piece of bytes) {
    t.is(piece[6] & 0x40, 0x40, 'as it came');
    t.true(piece.length <= 1500);
  }
  expectWhole(t, lab);
});

test('a connection that waits for its other end goes with the port that it came in by', (t) => {
  const lab = new NatLab();
  t.is(lab.say(OUTSIDE, tcp(`${SERVER}:80`, `${EXTERNAL}:999`)), 'held');
  lab.detach(OUTSIDE);
  t.is(lab.held, 0);
  t.deepEqual(lab.dropped(), { port_gone: 1 });
  expectWhole(t, lab);
});
