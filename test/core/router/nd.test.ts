/** Neighbor discovery on an interface, by the requirements of RFC 4861 and RFC 4862 and by exact bytes. */

import test from 'ava';
import { DROP_REASONS } from '../../../core/drop.js';
import { EVENT_ADDRESS_CONFLICT } from '../../../core/events.js';
import { Advertiser } from '../../../core/router/advertise.js';
import { INTERFACE_UPLINK } from '../../../core/router/interface.js';
import { Discovery } from '../../../core/router/nd.js';
import {
  NEIGHBOR_INCOMPLETE,
  NEIGHBOR_REACHABLE,
  NEIGHBOR_STALE,
  NeighborTable,
} from '../../../core/router/neighbors.js';
import { CONTINUE, DROP, HELD, LOCAL } from '../../../core/verdict.js';
import {
  address,
  advertisementBody,
  FLAG_OVERRIDE,
  FLAG_ROUTER,
  FLAG_SOLICITED,
  hexOf,
  high,
  type InterfaceFields,
  low,
  makeInterface,
  type NdFrame,
  NeighborContext,
  ndFrame,
  OTHER_MAC,
  OWN_LINK_LOCAL,
  OWN_MAC,
  PEER_LINK_LOCAL,
  PEER_MAC,
  SOURCE_OPTION,
  solicitationBody,
  solicitedNode,
  TARGET_OPTION,
} from './neighbor-context.js';

const OWN = 'fd00:30::1';
const PEER = 'fd00:30::a';
const OTHER = 'fd00:30::b';
const FAR = 'fd00:99::5';
const UNSPECIFIED = '::';
const ALL_NODES = 'ff02::1';
const ADVERTISEMENT = { interval: 200, lifetime: 1800, autonomous: true, managed: false, other: false };

class Scene {
  readonly context = new NeighborContext(64);
  readonly table = new NeighborTable(this.context, 99);
  readonly nd = new Discovery(this.context, this.table, new Advertiser(this.context, 5));
  readonly iface;

  constructor(fields: InterfaceFields = {}) {
    this.iface = makeInterface(fields);
  }

  /** The verdict; of a drop, the reason. */
  receive(frame: NdFrame | Uint8Array, port = 3): number | string {
    const packet = this.context.packet(port, frame instanceof Uint8Array ? frame : ndFrame(frame));
    const verdict = this.nd.receive(packet, this.iface);
    this.context.arena.release(packet.slot);
    return verdict === DROP ? DROP_REASONS[packet.reason].name : verdict;
  }

  resolve(to: string): void {
    const packet = this.context.packet(5);
    if (this.table.resolve(this.iface, ...address(to), packet) !== HELD) this.context.arena.release(packet.slot);
    this.context.takeSent();
  }

  known(of: string): { state: number; mac: string; router: number } | null {
    const neighbor = this.table.find6(this.iface.number, ...address(of));
    if (neighbor === null) return null;
    const mac = (neighbor.macHigh * 2 ** 32 + (neighbor.macLow >>> 0)).toString(16).padStart(12, '0');
    return { state: neighbor.state, mac, router: neighbor.isRouter };
  }

  pass(seconds: number): void {
    this.context.pass(seconds, () => this.nd.tick());
  }

  get isWhole(): boolean {
    return this.context.arena.available + this.table.held === this.context.arena.slotCount;
  }
}

function solicitation(fields: Partial<NdFrame> = {}, target = OWN): NdFrame {
  return { source: PEER, destination: solicitedNode(target), type: 135, body: solicitationBody(target), ...fields };
}

function advertisement(fields: Partial<NdFrame> = {}): NdFrame {
  const body = advertisementBody(FLAG_SOLICITED | FLAG_OVERRIDE, PEER);
  return { source: PEER, destination: OWN, type: 136, body, ...fields };
}

function answer(flags: number, target: string, to: string, toMac: readonly number[], source = target): string {
  const body = advertisementBody(flags, target, TARGET_OPTION(OWN_MAC));
  return hexOf(ndFrame({ fromMac: OWN_MAC, toMac, source, destination: to, type: 136, body }));
}

const ALL_FLAGS = FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE;

test('RFC 4861 7.2.4: a solicitation for an own address is answered: router, solicited, override, our MAC', (t) => {
  const s = new Scene();
  t.is(s.receive(solicitation()), LOCAL);
  t.deepEqual(s.context.takeSent(), [answer(ALL_FLAGS, OWN, PEER, PEER_MAC)]);
  t.is(s.receive(solicitation({ source: PEER_LINK_LOCAL }, OWN_LINK_LOCAL)), LOCAL);
  t.deepEqual(s.context.takeSent(), [answer(ALL_FLAGS, OWN_LINK_LOCAL, PEER_LINK_LOCAL, PEER_MAC)]);
  t.true(s.isWhole);
});

test('RFC 4861 7.2.3: its sender is learned, stale and no router; one of another subnet is not', (t) => {
  const s = new Scene();
  s.receive(solicitation());
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_STALE, mac: hexOf(PEER_MAC), router: 0 });
  s.receive(solicitation({ body: solicitationBody(OWN, SOURCE_OPTION(OTHER_MAC)), fromMac: OTHER_MAC }));
  t.is(s.known(PEER)?.mac, hexOf(OTHER_MAC));
  s.receive(solicitation({ source: FAR }));
  t.is(s.known(FAR), null);
  t.is(s.table.count, 1);
});

test('RFC 4861 7.2.4: by unicast, without the sender’s MAC: answered, not learned', (t) => {
  const s = new Scene();
  t.is(s.receive(solicitation({ destination: OWN, body: solicitationBody(OWN, []) })), LOCAL);
  t.deepEqual(s.context.takeSent(), [answer(ALL_FLAGS, OWN, PEER, PEER_MAC)]);
  t.is(s.table.count, 0);
});

test('RFC 4861 7.2.3: a solicitation for anybody else is not answered, and not learned', (t) => {
  const s = new Scene();
  t.is(s.receive(solicitation({}, OTHER)), CONTINUE);
  t.is(s.receive(solicitation({ destination: OTHER, toMac: OWN_MAC }, OTHER)), 'neighbor_invalid');
  t.deepEqual(s.context.takeSent(), []);
  t.is(s.table.count, 0);
});

const invalid: [requirement: string, fields: Partial<NdFrame>][] = [
  ['hop limit 255', { hopLimit: 254 }],
  ['a right checksum', { damage: 1 }],
  ['code 0', { code: 1 }],
  ['options longer than 0', { body: solicitationBody(OWN, [1, 0, ...PEER_MAC]) }],
  ['options inside the message', { body: solicitationBody(OWN, [1, 2, ...PEER_MAC]) }],
  ['no part of an option', { body: solicitationBody(OWN, [...SOURCE_OPTION(PEER_MAC), 1, 1, 2]) }],
  ['from ::, a solicited-node group', { source: UNSPECIFIED, destination: OWN, body: solicitationBody(OWN, []) }],
  ['from ::, no source link-layer address', { source: UNSPECIFIED }],
  ['(no group as a source)', { source: 'ff02::7' }],
  ['(no group’s MAC)', { body: solicitationBody(OWN, SOURCE_OPTION([0x33, 0x33, 0, 0, 0, 1])) }],
];
for (const [requirement, fields] of invalid) {
  test(`RFC 4861 7.1.1: a solicitation needs ${requirement}`, (t) => {
    const s = new Scene();
    t.is(s.receive(solicitation(fields)), 'neighbor_invalid');
    t.deepEqual(s.context.takeSent(), []);
    t.is(s.table.count, 0);
    t.true(s.isWhole);
  });
}

test('RFC 4861 7.1.1: a solicitation is 24 octets at least', (t) => {
  const s = new Scene();
  const short = solicitation({ destination: OWN, body: solicitationBody(OWN, []).slice(0, 16) });
  t.is(s.receive(short), 'neighbor_invalid');
  t.deepEqual(s.context.takeSent(), []);
});

test('RFC 4861 4.6: unknown options are passed over', (t) => {
  const s = new Scene();
  const unknown = [253, 2, ...new Array(14).fill(7)];
  t.is(s.receive(solicitation({ body: solicitationBody(OWN, [...unknown, ...SOURCE_OPTION(PEER_MAC)]) })), LOCAL);
  t.is(s.known(PEER)?.mac, hexOf(PEER_MAC));
});

test('RFC 6980 5: a fragment is not believed', (t) => {
  const s = new Scene();
  const plain = ndFrame(solicitation());
  // The same packet as a first fragment, the rest of which never comes.
  const fragment = Uint8Array.from([...plain.slice(0, 54), 58, 0, 0, 1, 0, 0, 0, 9, ...plain.slice(54)]);
  fragment[14 + 6] = 44;
  fragment[14 + 5] += 8;
  t.is(s.receive(fragment), 'neighbor_invalid');
  t.is(s.table.count, 0);
});

test('RFC 4862 5.4.3: who asks whether our address is free is told by all nodes that it is not', (t) => {
  const s = new Scene();
  t.is(s.receive(solicitation({ source: UNSPECIFIED, body: solicitationBody(OWN, []) })), LOCAL);
  const flags = FLAG_ROUTER | FLAG_OVERRIDE;
  t.deepEqual(s.context.takeSent(), [answer(flags, OWN, ALL_NODES, [0x33, 0x33, 0, 0, 0, 1])]);
  t.is(s.table.count, 0);
  t.is(s.receive(solicitation({ source: UNSPECIFIED, body: solicitationBody(OTHER, []) }, OTHER)), CONTINUE);
});

test('RFC 4861 7.2.8: proxied addresses are answered without override', (t) => {
  const s = new Scene({ proxies6: ['fd00:99::/64'] });
  t.is(s.receive(solicitation({}, FAR)), LOCAL);
  t.deepEqual(s.context.takeSent(), [answer(FLAG_ROUTER | FLAG_SOLICITED, FAR, PEER, PEER_MAC, OWN_LINK_LOCAL)]);
  t.is(s.receive(solicitation({}, 'fd00:98::5')), CONTINUE);
});

test('no proxy for the sender itself, for duplicate address detection, nor for what is on the sender’s side', (t) => {
  const s = new Scene({ proxies6: ['fd00:30::/64'] });
  t.is(s.receive(solicitation({}, PEER)), CONTINUE);
  t.is(s.receive(solicitation({ source: UNSPECIFIED, body: solicitationBody(PEER, []) }, PEER)), CONTINUE);
  s.resolve(OTHER);
  s.receive(advertisement({ source: OTHER, body: advertisementBody(FLAG_SOLICITED, OTHER) }));
  t.is(s.receive(solicitation({}, OTHER)), CONTINUE);
  t.deepEqual(s.context.takeSent(), []);
});

test('RFC 4861 7.2.5: a solicited advertisement resolves; nobody’s is refused', (t) => {
  const s = new Scene();
  t.is(s.receive(advertisement()), 'neighbor_invalid');
  t.is(s.table.count, 0);
  s.resolve(PEER);
  t.is(s.receive(advertisement({ body: advertisementBody(ALL_FLAGS, PEER) })), LOCAL);
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_REACHABLE, mac: hexOf(PEER_MAC), router: 1 });
  t.is(s.context.resumed.length, 1);
  t.true(s.isWhole);
});

test('RFC 4861 7.2.6: an unsolicited one changes what is known, adds nothing, and goes on to others', (t) => {
  const s = new Scene();
  const unsolicited = advertisement({
    destination: ALL_NODES,
    body: advertisementBody(FLAG_OVERRIDE, PEER, TARGET_OPTION(OTHER_MAC)),
  });
  t.is(s.receive(unsolicited), CONTINUE);
  t.is(s.table.count, 0);
  s.receive(solicitation());
  t.is(s.receive(unsolicited), CONTINUE);
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_STALE, mac: hexOf(OTHER_MAC), router: 0 });
});

const invalidAdvertisements: [requirement: string, fields: Partial<NdFrame>][] = [
  ['hop limit 255', { hopLimit: 64 }],
  ['a right checksum', { damage: 1 }],
  ['code 0', { code: 3 }],
  ['24 octets', { body: advertisementBody(FLAG_SOLICITED, PEER, []).slice(0, 12) }],
  ['options longer than 0', { body: advertisementBody(FLAG_SOLICITED, PEER, [2, 0, ...PEER_MAC]) }],
  ['a target that is no group', { body: advertisementBody(FLAG_SOLICITED, 'ff02::9') }],
  ['(no group’s MAC)', { body: advertisementBody(FLAG_SOLICITED, PEER, TARGET_OPTION([1, 0, 0x5e, 0, 0, 1])) }],
];
for (const [requirement, fields] of invalidAdvertisements) {
  test(`RFC 4861 7.1.2: an advertisement needs ${requirement}`, (t) => {
    const s = new Scene();
    s.resolve(PEER);
    t.is(s.receive(advertisement(fields)), 'neighbor_invalid');
    t.is(s.known(PEER)?.state, NEIGHBOR_INCOMPLETE);
    t.is(s.table.held, 1);
  });
}

test('RFC 4861 7.1.2: an advertisement to a group is not solicited', (t) => {
  const s = new Scene();
  s.resolve(PEER);
  t.is(s.receive(advertisement({ destination: ALL_NODES })), CONTINUE);
  t.is(s.known(PEER)?.state, NEIGHBOR_INCOMPLETE);
});

test('who claims an own address is not believed, said, and answered by a defence, each once in ten seconds', (t) => {
  const s = new Scene();
  const body = advertisementBody(FLAG_OVERRIDE, OWN, TARGET_OPTION(OTHER_MAC));
  const claim = advertisement({ source: OWN, destination: ALL_NODES, fromMac: OTHER_MAC, body });
  t.is(s.receive(claim), 'neighbor_invalid');
  const defence = answer(FLAG_ROUTER | FLAG_OVERRIDE, OWN, ALL_NODES, [0x33, 0x33, 0, 0, 0, 1]);
  t.deepEqual(s.context.takeSent(), [defence]);
  t.deepEqual(s.context.takeEvents(), [
    [EVENT_ADDRESS_CONFLICT, 7, 3, 0, high(OTHER_MAC), low(OTHER_MAC), 0, ...address(OWN)],
  ]);
  s.receive(claim);
  s.receive(solicitation({ source: OWN, fromMac: OTHER_MAC }, OWN_LINK_LOCAL));
  t.is(s.nd.conflicts, 3);
  t.deepEqual(s.context.takeSent(), []);
  s.pass(11);
  s.receive(claim);
  t.deepEqual(s.context.takeSent(), [defence]);
  t.is(s.receive(solicitation()), LOCAL, 'it stays ours');
  t.is(s.receive({ ...claim, fromMac: OWN_MAC }), 'neighbor_invalid', 'our own frame that comes back');
  t.is(s.nd.conflicts, 4);
});

test('an interface announces its link-local and its other addresses, and once more after a second', (t) => {
  const s = new Scene();
  const flags = FLAG_ROUTER | FLAG_OVERRIDE;
  const both = [OWN_LINK_LOCAL, OWN].map((own) => answer(flags, own, ALL_NODES, [0x33, 0x33, 0, 0, 0, 1]));
  s.nd.announce(s.iface);
  t.deepEqual(s.context.takeSent(), both);
  s.pass(1);
  t.deepEqual(s.context.takeSent(), both);
  s.pass(3);
  t.deepEqual(s.context.takeSent(), []);
});

test('RFC 4862 5.4.2: on an uplink each address is asked for first, from ::, without our MAC', (t) => {
  const s = new Scene({ kind: INTERFACE_UPLINK });
  s.nd.announce(s.iface);
  const probes = [OWN_LINK_LOCAL, OWN].map((own) =>
    hexOf(
      ndFrame({
        fromMac: OWN_MAC,
        source: UNSPECIFIED,
        destination: solicitedNode(own),
        type: 135,
        body: solicitationBody(own, []),
      }),
    ),
  );
  t.deepEqual(s.context.takeSent(), probes);
  // RFC 4429 3.3: meanwhile it does not push out who may have it.
  s.receive(solicitation());
  t.deepEqual(s.context.takeSent(), [answer(FLAG_ROUTER | FLAG_SOLICITED, OWN, PEER, PEER_MAC)]);
  s.pass(1);
  t.is(s.context.takeSent().length, 2, 'announced');
  s.receive(solicitation());
  t.deepEqual(s.context.takeSent(), [answer(ALL_FLAGS, OWN, PEER, PEER_MAC)]);
});

for (const [name, frame] of [
  [
    'an advertisement',
    advertisement({
      source: OWN,
      destination: ALL_NODES,
      fromMac: OTHER_MAC,
      body: advertisementBody(FLAG_OVERRIDE, OWN, TARGET_OPTION(OTHER_MAC)),
    }),
  ],
  [
    'somebody who asks at the same time',
    solicitation({ source: UNSPECIFIED, fromMac: OTHER_MAC, body: solicitationBody(OWN, []) }),
  ],
] as const) {
  test(`RFC 4862 5.4.5: an address that is somebody else's is not used: ${name}`, (t) => {
    const s = new Scene({ kind: INTERFACE_UPLINK });
    s.nd.announce(s.iface);
    s.context.takeSent();
    t.is(s.receive(frame), 'neighbor_invalid');
    t.is(s.context.takeEvents().length, 1);
    t.deepEqual(s.context.takeSent(), [], 'no defence');
    t.is(s.receive(solicitation()), CONTINUE);
    s.pass(1);
    t.deepEqual(s.context.takeSent(), [
      answer(FLAG_ROUTER | FLAG_OVERRIDE, OWN_LINK_LOCAL, ALL_NODES, [0x33, 0x33, 0, 0, 0, 1]),
    ]);
    t.is(s.receive(solicitation({}, OWN_LINK_LOCAL)), LOCAL, 'the other one is');
  });
}

test('a shared uplink leaves own addresses to the host, and learns what it asked for', (t) => {
  const s = new Scene({ kind: INTERFACE_UPLINK, shared: true });
  s.nd.announce(s.iface);
  t.is(s.receive(solicitation()), CONTINUE);
  t.is(s.receive(solicitation({ destination: OWN })), CONTINUE);
  t.is(s.receive(advertisement()), CONTINUE);
  t.is(s.receive(advertisement({ source: OWN, body: advertisementBody(FLAG_OVERRIDE, OWN) })), CONTINUE);
  t.deepEqual(s.context.takeSent(), []);
  t.is(s.table.count, 0);
  s.resolve(PEER);
  t.is(s.receive(advertisement()), LOCAL);
  t.is(s.known(PEER)?.state, NEIGHBOR_REACHABLE);
});

test('a flood of solicitations from one port is cut; other ports are answered', (t) => {
  const s = new Scene();
  const verdicts = Array.from({ length: 500 }, () => s.receive(solicitation(), 3));
  t.is(verdicts.filter((verdict) => verdict === LOCAL).length, 200);
  t.is(verdicts.at(-1), 'neighbor_rate');
  t.is(s.receive(solicitation(), 4), LOCAL);
});

test('RFC 4861 8.2 and 6.2.3: redirects and router advertisements change nothing', (t) => {
  const s = new Scene();
  const redirect = {
    source: PEER_LINK_LOCAL,
    type: 137,
    body: [...solicitationBody(OWN, []), ...new Array(16).fill(1)],
  };
  t.is(s.receive({ ...redirect, destination: OWN }), 'neighbor_invalid');
  const router = { source: PEER_LINK_LOCAL, type: 134, body: [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0] };
  t.is(s.receive({ ...router, destination: ALL_NODES }), CONTINUE);
  t.is(s.table.count, 0);
});

const RS = {
  source: PEER_LINK_LOCAL,
  destination: 'ff02::2',
  type: 133,
  body: [0, 0, 0, 0, ...SOURCE_OPTION(PEER_MAC)],
};

test('RFC 4861 6.2.6: a router solicitation is answered where the network advertises, and its sender learned', (t) => {
  const s = new Scene({ advertisement: ADVERTISEMENT });
  t.is(s.receive(RS), LOCAL);
  const [frame] = s.context.takeSent();
  t.true(frame.startsWith(hexOf([...PEER_MAC, ...OWN_MAC])));
  t.is(frame.slice(2 * 54, 2 * 55), '86');
  t.deepEqual(s.known(PEER_LINK_LOCAL), { state: NEIGHBOR_STALE, mac: hexOf(PEER_MAC), router: 0 });
  const silent = new Scene();
  t.is(silent.receive(RS), CONTINUE);
  t.is(silent.receive({ ...RS, destination: OWN_LINK_LOCAL }), 'not_listening');
  t.deepEqual(silent.context.takeSent(), []);
});

const invalidSolicitations: [requirement: string, fields: Partial<NdFrame>][] = [
  ['hop limit 255', { hopLimit: 1 }],
  ['a right checksum', { damage: 1 }],
  ['code 0', { code: 1 }],
  ['options longer than 0', { body: [0, 0, 0, 0, 1, 0, ...PEER_MAC] }],
  ['from ::, no source link-layer address', { source: UNSPECIFIED }],
];
for (const [requirement, fields] of invalidSolicitations) {
  test(`RFC 4861 6.1.1: a router solicitation needs ${requirement}`, (t) => {
    const s = new Scene({ advertisement: ADVERTISEMENT });
    t.is(s.receive({ ...RS, ...fields }), 'neighbor_invalid');
    t.deepEqual(s.context.takeSent(), []);
    t.is(s.table.count, 0);
  });
}
