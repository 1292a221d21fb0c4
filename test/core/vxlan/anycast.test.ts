/** The gateway's MAC does not cross a tunnel: what its frames look like on the way in, and those to the host's MAC on the way out. */

import test from 'ava';
import { finishChecksum, pseudoHeaderSum6 } from '../../../core/packet/checksum.js';
import { VNET_F_NEEDS_CSUM } from '../../../core/packet/vnet.js';
import { enterGateway, leaveGateway } from '../../../core/vxlan/anycast.js';
import { Slots } from '../router/icmp-frames.js';
import {
  advertisementBody,
  arpFrame,
  BROADCAST_MAC,
  FLAG_OVERRIDE,
  FLAG_ROUTER,
  FLAG_SOLICITED,
  hexOf,
  high,
  low,
  makeInterface,
  ndFrame,
  OWN_LINK_LOCAL,
  OWN_MAC,
  PEER_LINK_LOCAL,
  PEER_MAC,
  SOURCE_OPTION,
  solicitationBody,
  solicitedNode,
  TARGET_OPTION,
} from '../router/neighbor-context.js';
import { ethernet, ipv6, vlan } from '../wire/build.js';
import type { VnetFields } from '../wire/parsed.js';

const HOST_MAC = [0x02, 0x9c, 0x11, 0xe0, 0xa5, 0x77];
const HOST_LINK_LOCAL = 'fe80::9c:11ff:fee0:a577';
const GATEWAY = '172.30.0.1';
const GATEWAY6 = 'fd00:30::1';
const PEER = '172.30.0.10';
const PEER6 = 'fd00:30::a';
const gateway = makeInterface();

interface Passed {
  readonly crosses: boolean;
  readonly hex: string;
  readonly macs: string;
}

const macText = (h: number, l: number): string =>
  h.toString(16).padStart(4, '0') + (l >>> 0).toString(16).padStart(8, '0');

function leave(frame: Uint8Array, vnet: VnetFields = {}): Passed {
  const slots = new Slots();
  const packet = slots.load(frame, vnet);
  const crosses = leaveGateway(slots.view, packet, gateway, high(HOST_MAC), low(HOST_MAC));
  return { crosses, hex: hexOf(slots.bytesOf(packet)), macs: macText(packet.srcHigh, packet.srcLow) };
}

function enter(frame: Uint8Array, vnet: VnetFields = {}): Passed {
  const slots = new Slots();
  const packet = slots.load(frame, vnet);
  enterGateway(slots.view, packet, gateway, high(HOST_MAC), low(HOST_MAC));
  return { crosses: true, hex: hexOf(slots.bytesOf(packet)), macs: macText(packet.dstHigh, packet.dstLow) };
}

const left = (frame: Uint8Array): Passed => ({ crosses: true, hex: hexOf(frame), macs: hexOf(HOST_MAC) });
const entered = (frame: Uint8Array): Passed => ({ crosses: true, hex: hexOf(frame), macs: hexOf(OWN_MAC) });

/** The checksum as it stands in a frame whose sender left the rest to be done. */
function partial(frame: Uint8Array): [Uint8Array, VnetFields] {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  view.setUint16(56, ~finishChecksum(pseudoHeaderSum6(view, 14, 58, frame.length - 54)) & 0xffff);
  return [frame, { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 54, checksumOffset: 2 }];
}

// --- into a tunnel

for (const [kind, to] of [
  ['to everybody', BROADCAST_MAC],
  ['to one who is known', PEER_MAC],
] as const) {
  test(`an ARP request ${kind} becomes a probe of the host's`, (t) => {
    const request = arpFrame({ to, senderMac: OWN_MAC, sender: GATEWAY, target: PEER });
    t.deepEqual(leave(request), left(arpFrame({ to, senderMac: HOST_MAC, sender: '0.0.0.0', target: PEER })));
  });
}

test('an ARP reply tells the MAC of the host', (t) => {
  const fields = { to: PEER_MAC, operation: 2, sender: GATEWAY, targetMac: PEER_MAC, target: PEER };
  t.deepEqual(leave(arpFrame({ ...fields, senderMac: OWN_MAC })), left(arpFrame({ ...fields, senderMac: HOST_MAC })));
});

for (const [what, frame] of [
  ['an announcement', arpFrame({ senderMac: OWN_MAC, sender: GATEWAY, target: GATEWAY })],
  ['a probe for an address of the gateway', arpFrame({ senderMac: OWN_MAC, sender: '0.0.0.0', target: GATEWAY })],
  ['a reply to everybody', arpFrame({ operation: 2, senderMac: OWN_MAC, sender: GATEWAY, target: GATEWAY })],
  ['ARP of another operation', arpFrame({ operation: 3, senderMac: OWN_MAC, sender: GATEWAY, target: PEER })],
  ['ARP cut short', arpFrame({ senderMac: OWN_MAC, sender: GATEWAY, target: PEER }).slice(0, 40)],
  [
    'an unsolicited advertisement',
    ndFrame({
      fromMac: OWN_MAC,
      source: GATEWAY6,
      destination: 'ff02::1',
      type: 136,
      body: advertisementBody(FLAG_ROUTER | FLAG_OVERRIDE, GATEWAY6, TARGET_OPTION(OWN_MAC)),
    }),
  ],
  [
    'the detection of a duplicate of the gateway',
    ndFrame({
      fromMac: OWN_MAC,
      source: '::',
      destination: solicitedNode(GATEWAY6),
      type: 135,
      body: solicitationBody(GATEWAY6, []),
    }),
  ],
  [
    'a solicitation for an address of the gateway',
    ndFrame({
      fromMac: OWN_MAC,
      source: OWN_LINK_LOCAL,
      destination: solicitedNode(GATEWAY6),
      type: 135,
      body: solicitationBody(GATEWAY6, SOURCE_OPTION(OWN_MAC)),
    }),
  ],
  [
    'a solicitation whose option is empty',
    ndFrame({
      fromMac: OWN_MAC,
      source: OWN_LINK_LOCAL,
      destination: solicitedNode(PEER6),
      type: 135,
      body: solicitationBody(PEER6, [1, 0, ...OWN_MAC]),
    }),
  ],
  [
    'a router advertisement',
    ndFrame({
      fromMac: OWN_MAC,
      source: OWN_LINK_LOCAL,
      destination: 'ff02::1',
      type: 134,
      body: [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, ...SOURCE_OPTION(OWN_MAC)],
    }),
  ],
  [
    'a redirect',
    ndFrame({
      fromMac: OWN_MAC,
      source: OWN_LINK_LOCAL,
      destination: PEER6,
      toMac: PEER_MAC,
      type: 137,
      body: new Array(36).fill(0),
    }),
  ],
] as const) {
  test(`does not cross: ${what}`, (t) => {
    t.false(leave(frame).crosses);
  });
}

const SOLICITATION = {
  destination: solicitedNode(PEER6),
  type: 135,
};

const solicitation = (mac: readonly number[], source: string, more: object = {}): Uint8Array =>
  ndFrame({ ...SOLICITATION, fromMac: mac, source, body: solicitationBody(PEER6, SOURCE_OPTION(mac)), ...more });

test("a solicitation is the host's, with a right checksum", (t) => {
  t.deepEqual(leave(solicitation(OWN_MAC, OWN_LINK_LOCAL)), left(solicitation(HOST_MAC, HOST_LINK_LOCAL)));
});

test('a solicitation by unicast, behind options that are not known', (t) => {
  const more = (mac: readonly number[]): object => ({
    toMac: PEER_MAC,
    destination: PEER6,
    body: solicitationBody(PEER6, [14, 2, ...new Array(14).fill(7), ...SOURCE_OPTION(mac)]),
  });
  const expected = solicitation(HOST_MAC, HOST_LINK_LOCAL, more(HOST_MAC));
  t.deepEqual(leave(solicitation(OWN_MAC, OWN_LINK_LOCAL, more(OWN_MAC))), left(expected));
});

test('a solicitation without the option has only its source changed', (t) => {
  const more = { body: solicitationBody(PEER6, []) };
  const expected = solicitation(HOST_MAC, HOST_LINK_LOCAL, more);
  t.deepEqual(leave(solicitation(OWN_MAC, OWN_LINK_LOCAL, more)), left(expected));
});

test('a checksum that is still to come covers the new addresses', (t) => {
  const [frame, vnet] = partial(solicitation(OWN_MAC, OWN_LINK_LOCAL));
  const [expected] = partial(solicitation(HOST_MAC, HOST_LINK_LOCAL));
  t.deepEqual(leave(frame, vnet), left(expected));
});

test('an advertisement to who has asked tells the MAC of the host', (t) => {
  const advertisement = (mac: readonly number[]): Uint8Array =>
    ndFrame({
      toMac: PEER_MAC,
      fromMac: mac,
      source: GATEWAY6,
      destination: PEER6,
      type: 136,
      body: advertisementBody(FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE, GATEWAY6, TARGET_OPTION(mac)),
    });
  t.deepEqual(leave(advertisement(OWN_MAC)), left(advertisement(HOST_MAC)));
});

/** From OWN_MAC, as builders make them, to another. */
function withMacs(frame: Uint8Array, to: readonly number[], from: readonly number[]): Uint8Array {
  const other = frame.slice();
  other.set(to, 0);
  other.set(from, 6);
  return other;
}

for (const [what, frame] of [
  ['an IP packet', ethernet(0x86dd, ipv6({ nextHeader: 17 }, new Uint8Array(30)))],
  ['a tagged one', ethernet(0x8100, vlan(10, 0x86dd, ipv6({ nextHeader: 6 }, new Uint8Array(40))))],
  ['another protocol', ethernet(0x88b5, new Uint8Array(50))],
  [
    // The hop limit says that a router has passed it on: it is no neighbor discovery, and the router has not written it.
    'a routed packet that looks like a router advertisement',
    ndFrame({ source: PEER6, destination: PEER6, hopLimit: 254, type: 134, body: new Array(12).fill(1) }),
  ],
] as const) {
  test(`only the source MAC changes: ${what}`, (t) => {
    t.deepEqual(leave(withMacs(frame, PEER_MAC, OWN_MAC)), left(withMacs(frame, PEER_MAC, HOST_MAC)));
  });

  test(`only the destination MAC changes: ${what}`, (t) => {
    t.deepEqual(enter(withMacs(frame, HOST_MAC, PEER_MAC)), entered(withMacs(frame, OWN_MAC, PEER_MAC)));
  });
}

// --- out of a tunnel

test('an ARP reply to a probe comes to the gateway', (t) => {
  const reply = (mac: readonly number[]): Uint8Array =>
    arpFrame({ to: mac, operation: 2, senderMac: PEER_MAC, sender: PEER, targetMac: mac, target: '0.0.0.0' });
  t.deepEqual(enter(reply(HOST_MAC)), entered(reply(OWN_MAC)));
});

test('an ARP message that names somebody else keeps that', (t) => {
  const request = (mac: readonly number[]): Uint8Array =>
    arpFrame({ to: mac, from: PEER_MAC, sender: PEER, target: GATEWAY });
  t.deepEqual(enter(request(HOST_MAC)), entered(request(OWN_MAC)));
});

test('ARP cut short gets its MAC and nothing else', (t) => {
  const cut = (mac: readonly number[]): Uint8Array =>
    arpFrame({ to: mac, operation: 2, senderMac: PEER_MAC, sender: PEER, targetMac: HOST_MAC, target: PEER }).slice(
      0,
      41,
    );
  t.deepEqual(enter(cut(HOST_MAC)), entered(cut(OWN_MAC)));
});

const answer = (mac: readonly number[], destination: string, more: object = {}): Uint8Array =>
  ndFrame({
    toMac: mac,
    source: PEER6,
    destination,
    type: 136,
    body: advertisementBody(FLAG_SOLICITED | FLAG_OVERRIDE, PEER6),
    ...more,
  });

test("an advertisement to the host's link-local address comes to the gateway's", (t) => {
  t.deepEqual(enter(answer(HOST_MAC, HOST_LINK_LOCAL)), entered(answer(OWN_MAC, OWN_LINK_LOCAL)));
});

test('a wrong checksum stays wrong', (t) => {
  const damage = { damage: 1 };
  t.deepEqual(enter(answer(HOST_MAC, HOST_LINK_LOCAL, damage)), entered(answer(OWN_MAC, OWN_LINK_LOCAL, damage)));
});

test('a checksum that is still to come covers the address it comes to', (t) => {
  const [frame, vnet] = partial(answer(HOST_MAC, HOST_LINK_LOCAL));
  const [expected] = partial(answer(OWN_MAC, OWN_LINK_LOCAL));
  t.deepEqual(enter(frame, vnet), entered(expected));
});

test('a solicitation by unicast comes to the gateway', (t) => {
  const fields = { source: PEER_LINK_LOCAL, type: 135, body: solicitationBody(GATEWAY6) };
  t.deepEqual(
    enter(ndFrame({ ...fields, toMac: HOST_MAC, destination: HOST_LINK_LOCAL })),
    entered(ndFrame({ ...fields, toMac: OWN_MAC, destination: OWN_LINK_LOCAL })),
  );
});

for (const destination of [GATEWAY6, 'fe80::9c:11ff:fee0:a578', 'fe80::1:9c:11ff:fee0:a577']) {
  test(`what goes to another address keeps it: ${destination}`, (t) => {
    t.deepEqual(enter(answer(HOST_MAC, destination)), entered(answer(OWN_MAC, destination)));
  });
}

test('a cut advertisement keeps its destination', (t) => {
  const cut = { body: [0x40, 0, 0, 0, 1, 2, 3, 4] };
  t.deepEqual(enter(answer(HOST_MAC, HOST_LINK_LOCAL, cut)), entered(answer(OWN_MAC, HOST_LINK_LOCAL, cut)));
});

test('there and back: what a neighbor answers to the host is what it would answer to the gateway', (t) => {
  const slots = new Slots();
  const packet = slots.load(solicitation(OWN_MAC, OWN_LINK_LOCAL));
  leaveGateway(slots.view, packet, gateway, high(HOST_MAC), low(HOST_MAC));
  const asker = hexOf(slots.bytesOf(packet).subarray(22, 38));
  const reply = enter(answer(HOST_MAC, HOST_LINK_LOCAL));
  t.is(asker, hexOf(answer(HOST_MAC, HOST_LINK_LOCAL).subarray(38, 54)));
  t.deepEqual(reply, entered(answer(OWN_MAC, OWN_LINK_LOCAL)));
});
