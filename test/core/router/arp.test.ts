/** ARP on an interface: what is answered, learned, refused, announced and defended, by exact bytes. */

import test from 'ava';
import { DROP_REASONS } from '../../../core/drop.js';
import { EVENT_ADDRESS_CONFLICT } from '../../../core/events.js';
import { Arp } from '../../../core/router/arp.js';
import { INTERFACE_HOST, INTERFACE_UPLINK } from '../../../core/router/interface.js';
import {
  NEIGHBOR_INCOMPLETE,
  NEIGHBOR_REACHABLE,
  NEIGHBOR_STALE,
  NeighborTable,
} from '../../../core/router/neighbors.js';
import { CONTINUE, DROP, HELD, LOCAL } from '../../../core/verdict.js';
import {
  type ArpFrame,
  address,
  arpFrame,
  BROADCAST_MAC,
  hexOf,
  high,
  type InterfaceFields,
  low,
  makeInterface,
  NeighborContext,
  OTHER_MAC,
  OWN_MAC,
  PEER_MAC,
} from './neighbor-context.js';

const OWN = '172.30.0.1';
const PEER = '172.30.0.10';
const FAR = '10.9.0.5';

class Scene {
  readonly context = new NeighborContext(64);
  readonly table = new NeighborTable(this.context, 99);
  readonly arp = new Arp(this.context, this.table);
  readonly iface;

  constructor(fields: InterfaceFields = {}) {
    this.iface = makeInterface(fields);
  }

  /** The verdict; of a drop, the reason. */
  receive(frame: ArpFrame | Uint8Array, port = 3): number | string {
    const packet = this.context.packet(port, frame instanceof Uint8Array ? frame : arpFrame(frame));
    const verdict = this.arp.receive(packet, this.iface);
    this.context.arena.release(packet.slot);
    return verdict === DROP ? DROP_REASONS[packet.reason].name : verdict;
  }

  resolve(to: string): void {
    const packet = this.context.packet(5);
    if (this.table.resolve(this.iface, ...address(to), packet) !== HELD) this.context.arena.release(packet.slot);
    this.context.takeSent();
  }

  known(of: string): { state: number; mac: string } | null {
    const neighbor = this.table.find4(this.iface.number, address(of)[3]);
    if (neighbor === null) return null;
    const mac = (neighbor.macHigh * 2 ** 32 + (neighbor.macLow >>> 0)).toString(16).padStart(12, '0');
    return { state: neighbor.state, mac };
  }

  pass(seconds: number): void {
    this.context.pass(seconds, () => this.arp.tick());
  }

  get isWhole(): boolean {
    return this.context.arena.available + this.table.held === this.context.arena.slotCount;
  }
}

function reply(from: string, to: string, toMac: readonly number[] = PEER_MAC): string {
  return hexOf(arpFrame({ operation: 2, to: toMac, senderMac: OWN_MAC, sender: from, targetMac: toMac, target: to }));
}

test('RFC 826: a request for an own address is answered to its sender, who is learned', (t) => {
  const s = new Scene();
  t.is(s.receive({ sender: PEER, target: OWN }), LOCAL);
  t.deepEqual(s.context.takeSent(), [reply(OWN, PEER)]);
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_STALE, mac: hexOf(PEER_MAC) });
  t.is(s.receive({ to: OWN_MAC, sender: PEER, target: OWN }), LOCAL, 'by unicast as well');
  t.deepEqual(s.context.takeSent(), [reply(OWN, PEER)]);
  t.true(s.isWhole);
});

test('RFC 826: a request for anybody else is not answered, and not learned', (t) => {
  const s = new Scene();
  t.is(s.receive({ sender: PEER, target: '172.30.0.11' }), CONTINUE);
  t.is(s.receive({ to: OWN_MAC, sender: PEER, target: '172.30.0.11' }), 'neighbor_invalid', 'nobody else gets it');
  t.deepEqual(s.context.takeSent(), []);
  t.is(s.table.count, 0);
});

test('RFC 5227 2.1.1: a probe is answered and not learned', (t) => {
  const s = new Scene();
  t.is(s.receive({ sender: '0.0.0.0', target: OWN }), LOCAL);
  t.deepEqual(s.context.takeSent(), [reply(OWN, '0.0.0.0')]);
  t.is(s.table.count, 0);
  t.is(s.receive({ sender: '0.0.0.0', target: PEER }), CONTINUE);
});

test('a sender of another subnet is answered and not learned', (t) => {
  const s = new Scene();
  t.is(s.receive({ sender: FAR, target: OWN }), LOCAL);
  t.is(s.context.takeSent().length, 1);
  t.is(s.table.count, 0);
});

test('RFC 1812 3.3.2: a reply with a group or no MAC, or from an impossible address, is not believed', (t) => {
  const s = new Scene();
  s.resolve(PEER);
  const wrong: Partial<ArpFrame>[] = [
    { senderMac: BROADCAST_MAC },
    { senderMac: [1, 0, 0x5e, 0, 0, 1] },
    { senderMac: [0, 0, 0, 0, 0, 0] },
    { senderMac: OWN_MAC },
    { sender: '255.255.255.255' },
    { sender: '224.0.0.1' },
    { sender: '127.0.0.1' },
    { sender: '0.0.0.9' },
  ];
  for (const fields of wrong) {
    const frame = { from: PEER_MAC, operation: 2, to: OWN_MAC, sender: PEER, target: OWN, ...fields };
    t.is(s.receive(frame), 'neighbor_invalid', JSON.stringify(fields));
    t.is(s.receive({ ...frame, operation: 1 }), 'neighbor_invalid', JSON.stringify(fields));
    t.is(s.receive({ ...frame, operation: 1, target: '172.30.0.99', to: BROADCAST_MAC }), CONTINUE);
  }
  t.is(s.known(PEER)?.state, NEIGHBOR_INCOMPLETE);
  t.deepEqual(s.context.takeSent(), []);
});

test('a reply to our request resolves; one that nobody asked for is refused', (t) => {
  const s = new Scene();
  const frame = { operation: 2, to: OWN_MAC, sender: PEER, targetMac: OWN_MAC, target: OWN };
  t.is(s.receive(frame), 'neighbor_invalid');
  t.is(s.table.count, 0);
  s.resolve(PEER);
  t.is(s.receive(frame), LOCAL);
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_REACHABLE, mac: hexOf(PEER_MAC) });
  t.is(s.context.resumed.length, 1);
  t.true(s.isWhole);
});

test('gratuitous ARP, request or reply, changes what is known, adds nothing, and goes on to others', (t) => {
  const s = new Scene();
  const gratuitous = { senderMac: OTHER_MAC, sender: PEER, target: PEER };
  t.is(s.receive(gratuitous), CONTINUE);
  t.is(s.table.count, 0);
  s.receive({ sender: PEER, target: OWN });
  t.is(s.receive(gratuitous), CONTINUE);
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_STALE, mac: hexOf(OTHER_MAC) });
  t.is(s.receive({ ...gratuitous, operation: 2, senderMac: PEER_MAC }), CONTINUE);
  t.deepEqual(s.known(PEER), { state: NEIGHBOR_STALE, mac: hexOf(PEER_MAC) });
  // RFC 826: also a request to somebody else.
  t.is(s.receive({ senderMac: OTHER_MAC, sender: PEER, target: '172.30.0.44' }), CONTINUE);
  t.is(s.known(PEER)?.mac, hexOf(OTHER_MAC));
});

test('what is not ARP for IPv4, or an operation nobody knows, is not for the router', (t) => {
  const s = new Scene();
  const broken = arpFrame({ sender: PEER, target: OWN });
  broken[18] = 8; // length of a MAC
  t.is(s.receive(broken), CONTINUE);
  const toUs = arpFrame({ to: OWN_MAC, sender: PEER, target: OWN });
  t.is(s.receive(toUs.slice(0, 30)), 'neighbor_invalid');
  t.is(s.receive({ operation: 8, to: OWN_MAC, sender: PEER, target: OWN }), 'neighbor_invalid');
  t.is(s.receive({ operation: 8, sender: PEER, target: '172.30.0.9' }), CONTINUE);
  t.deepEqual(s.context.takeSent(), []);
});

test('RFC 1027: proxied addresses are answered with our MAC', (t) => {
  const s = new Scene({ proxies4: ['10.9.0.0/16', '172.30.0.64/28'] });
  t.is(s.receive({ sender: PEER, target: FAR }), LOCAL);
  t.deepEqual(s.context.takeSent(), [reply(FAR, PEER)]);
  t.is(s.receive({ sender: PEER, target: '172.30.0.70' }), LOCAL);
  t.deepEqual(s.context.takeSent(), [reply('172.30.0.70', PEER)]);
  t.is(s.receive({ sender: PEER, target: '10.10.0.5' }), CONTINUE);
});

test('no proxy for the sender itself, for a probe, nor for what is on the sender’s side', (t) => {
  const s = new Scene({ proxies4: ['172.30.0.0/24'] });
  t.is(s.receive({ sender: PEER, target: PEER }), CONTINUE);
  t.is(s.receive({ sender: '0.0.0.0', target: PEER }), CONTINUE);
  s.resolve('172.30.0.11');
  s.receive({ operation: 2, to: OWN_MAC, senderMac: OTHER_MAC, sender: '172.30.0.11', target: OWN });
  t.is(s.receive({ sender: PEER, target: '172.30.0.11' }), CONTINUE);
  t.deepEqual(s.context.takeSent(), []);
});

test('RFC 5227 2.4: who claims an own address is not believed, said, and answered by a defence, each once in ten seconds', (t) => {
  const s = new Scene();
  const claim = { senderMac: OTHER_MAC, sender: OWN, target: OWN };
  const defence = hexOf(arpFrame({ senderMac: OWN_MAC, sender: OWN, target: OWN }));
  t.is(s.receive(claim), 'neighbor_invalid', 'and not flooded to others');
  t.deepEqual(s.context.takeSent(), [defence]);
  t.deepEqual(s.context.takeEvents(), [
    [EVENT_ADDRESS_CONFLICT, 7, 3, 0, high(OTHER_MAC), low(OTHER_MAC), 0, ...address(OWN)],
  ]);
  for (let i = 0; i < 100; i++) s.receive({ ...claim, operation: 2 });
  s.pass(10);
  s.receive({ senderMac: OTHER_MAC, sender: OWN, target: PEER });
  t.is(s.arp.conflicts, 102);
  t.deepEqual(s.context.takeSent(), []);
  t.deepEqual(s.context.takeEvents(), []);
  s.pass(1);
  s.receive(claim);
  t.deepEqual(s.context.takeSent(), [defence]);
  t.is(s.context.takeEvents().length, 1);
  t.is(s.table.count, 0);
  t.true(s.isWhole);
});

test('our own announcement that comes back is no conflict', (t) => {
  const s = new Scene();
  t.is(s.receive({ senderMac: OWN_MAC, sender: OWN, target: OWN }), 'neighbor_invalid');
  t.is(s.arp.conflicts, 0);
  t.deepEqual(s.context.takeSent(), []);
});

test('a shared uplink leaves own addresses to the host, and learns what it asked for', (t) => {
  const s = new Scene({ kind: INTERFACE_UPLINK, shared: true });
  s.arp.announce(s.iface);
  t.is(s.receive({ sender: PEER, target: OWN }), CONTINUE);
  t.is(s.receive({ to: OWN_MAC, sender: PEER, target: OWN }), CONTINUE);
  t.is(s.receive({ senderMac: OTHER_MAC, sender: OWN, target: OWN }), CONTINUE);
  const answer = { operation: 2, to: OWN_MAC, sender: PEER, targetMac: OWN_MAC, target: OWN };
  t.is(s.receive(answer), CONTINUE, 'the host has asked');
  t.is(s.table.count, 0);
  s.pass(3);
  t.deepEqual(s.context.takeSent(), []);
  t.deepEqual(s.context.takeEvents(), []);
  s.resolve(PEER);
  t.is(s.receive(answer), LOCAL);
  t.is(s.known(PEER)?.state, NEIGHBOR_REACHABLE);
});

test('RFC 5227 3: an interface announces each address, and once more after a second', (t) => {
  const s = new Scene({ v4: ['172.30.0.1/24', '172.31.0.1/16'] });
  const both = [OWN, '172.31.0.1'].map((own) => hexOf(arpFrame({ senderMac: OWN_MAC, sender: own, target: own })));
  s.arp.announce(s.iface);
  t.deepEqual(s.context.takeSent(), both);
  s.arp.tick();
  t.deepEqual(s.context.takeSent(), [], 'not within the same second');
  s.pass(1);
  t.deepEqual(s.context.takeSent(), both);
  s.pass(5);
  t.deepEqual(s.context.takeSent(), []);
  s.arp.announce(s.iface);
  s.arp.removeInterface(1);
  s.context.takeSent();
  s.pass(5);
  t.deepEqual(s.context.takeSent(), [], 'it is gone');
});

test('RFC 5227 2.1: on an uplink the address is asked for first; who has it is told of', (t) => {
  const s = new Scene({ kind: INTERFACE_UPLINK });
  s.arp.announce(s.iface);
  t.deepEqual(s.context.takeSent(), [hexOf(arpFrame({ senderMac: OWN_MAC, sender: '0.0.0.0', target: OWN }))]);
  t.is(
    s.receive({ operation: 2, to: OWN_MAC, senderMac: OTHER_MAC, sender: OWN, target: '0.0.0.0' }),
    'neighbor_invalid',
  );
  t.is(s.context.takeEvents().length, 1);
  s.context.takeSent();
  s.pass(1);
  const announcement = hexOf(arpFrame({ senderMac: OWN_MAC, sender: OWN, target: OWN }));
  t.deepEqual(s.context.takeSent(), [announcement], 'the operator said that it is ours');
  s.pass(3);
  t.deepEqual(s.context.takeSent(), [announcement]);
});

test('towards the host nothing is announced, but its requests are answered', (t) => {
  const s = new Scene({ kind: INTERFACE_HOST });
  s.arp.announce(s.iface);
  s.pass(3);
  t.deepEqual(s.context.takeSent(), []);
  t.is(s.receive({ sender: PEER, target: OWN }), LOCAL);
});

test('a flood of requests from one port is cut; other ports are answered', (t) => {
  const s = new Scene();
  const verdicts = Array.from({ length: 1000 }, () => s.receive({ sender: PEER, target: OWN }, 3));
  const answered = verdicts.filter((verdict) => verdict === LOCAL).length;
  t.is(answered, 200);
  t.is(verdicts.at(-1), 'neighbor_rate');
  t.is(s.receive({ sender: '172.30.0.11', target: OWN }, 4), LOCAL);
  s.context.milliseconds = (s.context.milliseconds + 5) | 0;
  const later = Array.from({ length: 20 }, () => s.receive({ sender: PEER, target: OWN }, 3));
  t.is(later.filter((verdict) => verdict === LOCAL).length, 5, 'a thousand a second');
  t.is(s.receive({ sender: PEER, target: '172.30.0.99' }, 3), CONTINUE, 'what is for others is not counted here');
});

test('without a free slot a request is lost, and counted', (t) => {
  const s = new Scene();
  s.context.isEmpty = true;
  t.is(s.receive({ sender: PEER, target: OWN }), 'no_slot');
  t.true(s.isWhole);
});
