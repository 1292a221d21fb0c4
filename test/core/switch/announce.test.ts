/** Announcements: exact bytes by an independent builder, when, and to whom. */

import test from 'ava';
import type { Announcement, PortOptions } from '../../../core/topology.js';
import { BROADCAST, frame, Harness, mac, tagged } from '../../support/harness.js';
import { ip4, ip6, slowChecksum } from './multicast.js';

const MAC = mac('02:42:ac:1e:00:02');

const word = (value: number): number[] => [value >> 8, value & 255];

/** RFC 5227, 3: an ARP request, sender and target address the same. */
function arpAnnouncement(address: string): Uint8Array {
  const arp = [
    ...word(1),
    ...word(0x0800),
    6,
    4,
    ...word(1),
    ...MAC,
    ...ip4(address),
    0,
    0,
    0,
    0,
    0,
    0,
    ...ip4(address),
  ];
  const bytes = [...BROADCAST, ...MAC, ...word(0x0806), ...arp];
  return Uint8Array.from([...bytes, ...new Array(60 - bytes.length).fill(0)]);
}

/** RFC 4861, 4.4 and 7.2.6: to all nodes, override, target link-layer address, hop limit 255. */
function advertisement(address: string): Uint8Array {
  const from = ip6(address);
  const to = ip6('ff02::1');
  const body = [...from, 2, 1, ...MAC];
  const message = [136, 0, 0, 0, 0x20, 0, 0, 0, ...body];
  const pseudo = [...from, ...to, 0, 0, ...word(message.length), 0, 0, 0, 58];
  message.splice(2, 2, ...word(slowChecksum([...pseudo, ...message])));
  const header = [0x60, 0, 0, 0, ...word(message.length), 58, 255, ...from, ...to];
  return Uint8Array.from([0x33, 0x33, 0, 0, 0, 1, ...MAC, ...word(0x86dd), ...header, ...message]);
}

function announcement(port: number, four: readonly string[], six: readonly string[] = []): Announcement {
  const words = (bytes: readonly number[]): number[] => {
    const view = new DataView(Uint8Array.from(bytes).buffer);
    return Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
  };
  return {
    port,
    high: 0x0242,
    low: 0xac1e0002 | 0,
    addresses4: Int32Array.from(four.flatMap((text) => words(ip4(text)))),
    addresses6: Int32Array.from(six.flatMap((text) => words(ip6(text)))),
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** What is sent, as port and bytes. */
function sent(h: Harness, run: () => void): string[] {
  return h.sentBy(run).map((copy) => `${copy.port} ${hex(copy.frame)}`);
}

test('each address is told to all others, in the right form', (t) => {
  const h = new Harness(3);
  // Slots are used again: what stood in them before must not shine through.
  for (let i = 0; i < 3; i++) h.receive(1, frame(BROADCAST, MAC, new Array(1400).fill(0xa5)));
  const four = arpAnnouncement('172.30.0.2');
  const other = arpAnnouncement('10.255.1.128');
  const six = advertisement('fd00:30::2');
  t.is(four.length, 60);
  t.is(six.length, 86);
  const out = sent(h, () => h.topology.announce(announcement(1, ['172.30.0.2', '10.255.1.128'], ['fd00:30::2'])));
  t.deepEqual(
    out,
    [four, other, six].flatMap((bytes) => [2, 3].map((port) => `${port} ${hex(bytes)}`)),
  );
  t.true(h.isWhole);
});

test('they carry the header of a complete frame', (t) => {
  const h = new Harness(2);
  h.receive(1, frame(BROADCAST, MAC, new Array(3000).fill(1)), { gsoType: 1, gsoSize: 1448, headerLength: 54 });
  const out = h.sentBy(() => h.topology.announce(announcement(1, ['172.30.0.2'])));
  t.deepEqual([...out[0].vnet], new Array(10).fill(0));
});

test('they are counted as made for their port', (t) => {
  const h = new Harness(4);
  t.deepEqual(
    h.changes(() => h.topology.announce(announcement(2, ['172.30.0.2'], ['fe80::42']))),
    { 1: { tx: 2 }, 2: { originated: 2, copies: 4 }, 3: { tx: 2 }, 4: { tx: 2 } },
  );
  t.true(h.isWhole);
});

test('once more after a second, and then no more', (t) => {
  const h = new Harness(2);
  h.dataplane.now = 100;
  const first = sent(h, () => h.topology.announce(announcement(1, ['172.30.0.2'])));
  t.is(first.length, 1);
  t.deepEqual(
    sent(h, () => h.topology.tick()),
    [],
    'not within the same second',
  );
  h.dataplane.now = 101;
  t.deepEqual(
    sent(h, () => h.topology.tick()),
    first,
  );
  h.dataplane.now = 102;
  t.deepEqual(
    sent(h, () => h.topology.tick()),
    [],
  );
});

test('a port that goes before the second round is not spoken for', (t) => {
  const h = new Harness(3);
  h.topology.announce(announcement(1, ['172.30.0.2']));
  h.topology.removePort(1);
  h.topology.addPort(1, 1);
  h.dataplane.now = 1;
  t.deepEqual(
    sent(h, () => h.topology.tick()),
    [],
  );
});

test('nobody hears of those whom he could not reach', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 100);
  h.addPorts({ isolation: 1 }, { isolation: 1 }, { isolation: 0 }, { isolation: 2 });
  t.deepEqual(
    h.sentBy(() => h.topology.announce(announcement(1, ['172.30.0.2']))).map((copy) => copy.port),
    [3],
  );
  h.topology.removePort(3);
  t.deepEqual(
    h.changes(() => h.topology.announce(announcement(1, ['172.30.0.2']))),
    { 1: { originated: 1, 'drop isolated': 1 } },
  );
  t.true(h.isWhole);
});

test('in a VLAN each port hears it in its form; another VLAN does not', (t) => {
  for (const deferred of [false, true]) {
    const h = new Harness(0, { deferred });
    h.addVlanNetwork([10, 20]);
    const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
    h.addPorts(access(10), access(10), { vlan: { native: 0, tagged: [10, 20] } }, access(20));
    const plain = arpAnnouncement('172.30.0.2');
    t.deepEqual(sent(h, () => h.topology.announce(announcement(1, ['172.30.0.2']))).sort(), [
      `2 ${hex(plain)}`,
      `3 ${hex(tagged(plain, 10))}`,
    ]);
    t.deepEqual(
      sent(h, () => h.topology.announce(announcement(3, ['172.30.0.2']))),
      [],
      'a trunk without native VLAN has none to speak in',
    );
    t.true(h.isWhole);
  }
});

test('a port alone, in quarantine, or without addresses says nothing', (t) => {
  const alone = new Harness(1);
  t.deepEqual(
    sent(alone, () => alone.topology.announce(announcement(1, ['172.30.0.2']))),
    [],
  );
  const h = new Harness(2);
  t.deepEqual(
    sent(h, () => h.topology.announce(announcement(1, []))),
    [],
  );
  h.topology.quarantine(h.dataplane.ports[1], 30);
  t.deepEqual(
    sent(h, () => h.topology.announce(announcement(1, ['172.30.0.2']))),
    [],
  );
  t.true(h.isWhole && alone.isWhole);
});

test('without a free slot the announcement waits for its second round', (t) => {
  const h = new Harness(2, { slots: 1 });
  const held = h.arena.allocate();
  t.deepEqual(
    sent(h, () => h.topology.announce(announcement(1, ['172.30.0.2']))),
    [],
  );
  h.arena.release(held);
  h.dataplane.now = 1;
  t.is(sent(h, () => h.topology.tick()).length, 1);
  t.true(h.isWhole);
});
