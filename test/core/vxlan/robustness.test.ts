/** Whatever comes in by the uplink: captures of other people's tunnels, cut packets, damaged ones. No exception, no slot lost, and only what the reference takes is taken. */

import test, { type ExecutionContext } from 'ava';
import { COUNTER_RX_DROPS, COUNTER_RX_PACKETS } from '../../../core/counters.js';
import { DROP_REASONS } from '../../../core/drop.js';
import { corpusNote, createRandom, loadCaptures, mutate, rerunLine, seedOfRun } from '../../support/corpus.js';
import type { VnetFields } from '../../support/harness.js';
import { addressOf, filler } from '../nat/wire.js';
import { arp, datagram, segment, superSegment } from './support/inner.js';
import {
  BLUE,
  container,
  expectWhole,
  GREEN,
  Host,
  UPLINK_PORT,
  underlay4,
  underlay6,
  underlayMac,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { outer, sumOf } from './support/outer.js';
import { judge, type ReferenceVtep } from './support/reference.js';

const MUTATIONS = 60_000;
const TEST_FILE = 'dist/test/core/vxlan/robustness.test.js';
const HERE = container(1, 1);
const THERE = container(2, 1);

/** A host that has learned nothing yet, with one VTEP in each network. */
function host(family: 4 | 6): Host {
  const one = new Host(1, { family });
  one.know(2);
  for (const network of [BLUE, GREEN])
    one.addVtep(network, vtepPort(network, 2), family === 4 ? underlay4(2) : underlay6(2));
  return one;
}

function referenceOf(one: Host): ReferenceVtep {
  const vteps = [one.family === 4 ? underlay4(2) : underlay6(2)];
  const networks = [42, 43].map((vni) => ({ vni, udpPort: 4789, vteps }));
  return { mac: underlayMac(1), address: one.address, networks };
}

/** Packets that have come out of the tunnel, and why the last one did not. */
class Doors {
  private readonly one: Host;
  private readonly before = new Float64Array(DROP_REASONS.length);

  constructor(one: Host) {
    this.one = one;
  }

  get taken(): number {
    return [BLUE, GREEN].reduce((sum, network) => sum + this.one.counter(vtepPort(network, 2), COUNTER_RX_PACKETS), 0);
  }

  /** Reasons that were counted at the uplink and at the VTEPs since it was last asked. */
  get refused(): string[] {
    const found: string[] = [];
    DROP_REASONS.forEach(({ name }, code) => {
      const ports = [UPLINK_PORT, vtepPort(BLUE, 2), vtepPort(GREEN, 2)];
      const count = ports.reduce((sum, port) => sum + this.one.counter(port, COUNTER_RX_DROPS + code), 0);
      if (count > this.before[code]) found.push(name);
      this.before[code] = count;
    });
    return found;
  }
}

/** What is wrong with what the dataplane made of a frame; null: nothing. */
function difference(one: Host, doors: Doors, frame: Uint8Array): string | null {
  const judgment = judge(frame, referenceOf(one));
  const before = doors.taken;
  one.receive(UPLINK_PORT, frame);
  const taken = doors.taken - before;
  const { refused } = doors;
  if (one.dataplane.lastError !== null) return `threw: ${one.dataplane.lastError}`;
  if (!one.isWhole) return `slots or counters: ${one.imbalance()}, ${one.arena.available} slots free`;
  if (judgment === null) return taken === 0 ? null : 'taken, and it is no VXLAN of ours';
  if ('taken' in judgment) {
    // Behind the tunnel the bridge has its own reasons.
    return taken === 1 ? null : `not taken: ${refused}`;
  }
  const isBridges = judgment.refused.some((reason) => reason === 'vxlan_vlan' || reason === 'runt');
  if (taken > 0 && !isBridges) return `taken, in spite of ${judgment.refused}`;
  return refused.some((reason) => judgment.refused.includes(reason))
    ? null
    : `dropped for ${refused}, not for ${judgment.refused}`;
}

/** Whole packets to begin with, of each kind. */
function seeds(one: Host): Uint8Array[] {
  const inners = [
    datagram(THERE, HERE),
    datagram(THERE, HERE, { family: 6 }),
    segment(THERE, HERE, { data: filler(300) }),
    segment(THERE, HERE, { family: 6, data: filler(31) }),
    arp(THERE, 1, HERE.v4, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  ];
  return inners.flatMap((inner) => [
    outer(one.outerFrom(2), inner),
    outer(one.outerFrom(2, { checksum: 'right', vni: 43, trafficClass: 2 }), inner),
    outer(one.outerFrom(2, { trafficClass: 3 }), inner),
  ]);
}

for (const family of [4, 6] as const) {
  test(`over IPv${family}: every truncation of packets of every kind is judged as the reference does`, (t) => {
    const one = host(family);
    const doors = new Doors(one);
    for (const whole of seeds(one)) {
      for (let length = 0; length <= whole.length; length++) {
        const wrong = difference(one, doors, whole.slice(0, length));
        if (wrong === null) continue;
        t.fail(`${length} octets of ${Buffer.from(whole).toString('hex')}: ${wrong}`);
        return;
      }
    }
    t.true(doors.taken > 0);
  });

  test(`over IPv${family}: damaged packets are judged as the reference does`, (t) => {
    const seed = seedOfRun();
    const random = createRandom(seed);
    const one = host(family);
    const doors = new Doors(one);
    const whole = seeds(one);
    const outcomes = new Map<string, number>();
    for (let i = 0; i < MUTATIONS / 2; i++) {
      const mutated = mutate(whole[random(whole.length)], random);
      const frame = random(2) === 0 ? resealed(mutated) : mutated;
      if (isAmbiguous(frame)) continue;
      const wrong = difference(one, doors, frame);
      const judgment = judge(frame, referenceOf(one));
      const outcome = judgment === null ? 'not ours' : 'taken' in judgment ? 'taken' : judgment.refused[0];
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (wrong === null) continue;
      t.fail(`mutation ${i}: ${wrong}; ${rerunLine(seed, TEST_FILE)}\n${Buffer.from(frame).toString('hex')}`);
      return;
    }
    const expected = ['not ours', 'taken', 'vxlan_malformed', 'vxlan_vni', 'vxlan_vtep', 'vxlan_checksum', 'vxlan_ecn'];
    t.deepEqual(
      expected.filter((outcome) => !outcomes.has(outcome)),
      [],
    );
    t.log(Object.fromEntries(outcomes));
  });
}

/** The outer IPv4 header's checksum put right, so that what is behind it is looked at. */
function resealed(frame: Uint8Array): Uint8Array {
  const length = (frame[14] % 16) * 4;
  if (frame.length < 34 || frame[12] !== 0x08 || length < 20 || frame.length < 14 + length) return frame;
  frame.set([0, 0], 24);
  const sum = 0xffff - sumOf(frame.subarray(14, 14 + length));
  frame.set([sum >> 8, sum & 255], 24);
  return frame;
}

/** What the reference does not read: IPv6 extension headers outside; inside, an IP header that is none, of which nobody can say what its ECN is. */
function isAmbiguous(frame: Uint8Array): boolean {
  const isIpv6 = frame[12] === 0x86 && frame[13] === 0xdd;
  if (isIpv6 && frame.length > 20 && [0, 43, 44, 51, 60].includes(frame[20])) return true;
  const at = isIpv6 ? 70 : 14 + (frame[14] % 16) * 4 + 16;
  if (frame.length < at + 14) return false;
  const type = frame[at + 12] * 256 + frame[at + 13];
  const isTagged = type === 0x8100 || type === 0x88a8;
  const outside = isIpv6 ? (frame[15] >> 4) % 4 : frame[15] % 4;
  if (outside === 0 || (type !== 0x0800 && type !== 0x86dd && !isTagged)) return false;
  const version = (frame[at + 14] ?? 0) >> 4;
  return isTagged || version !== (type === 0x0800 ? 4 : 6) || frame.length < at + 54;
}

test('damaged packets with damaged virtio-net headers: no exception, no slot lost', (t) => {
  const seed = seedOfRun();
  const random = createRandom(seed);
  const one = host(4);
  const whole = [...seeds(one), outer(one.outerFrom(2), superSegment(THERE, HERE, 5000, 1350).frame)];
  for (let i = 0; i < MUTATIONS / 2; i++) {
    const source = whole[random(whole.length)];
    const frame = random(2) === 0 ? source : mutate(source, random);
    const vnet = randomVnet(random, frame.length);
    one.receive(UPLINK_PORT, frame, vnet);
    if (one.dataplane.lastError === null && one.isWhole) continue;
    const what = `mutation ${i}; ${rerunLine(seed, TEST_FILE)}\n${JSON.stringify(vnet)} ${Buffer.from(frame).toString('hex')}`;
    expectWhole(t, one, what);
    return;
  }
  t.true(one.counter(vtepPort(BLUE, 2), COUNTER_RX_PACKETS) > 1000);
});

function randomVnet(random: (limit: number) => number, length: number): VnetFields {
  const place = (): number => [0, 14, 34, 50, 54, 64, 70, 84, 104, random(length + 8), random(0x10000)][random(11)];
  return {
    flags: [0, 1, 1, 2, 3, random(256)][random(6)],
    gsoType: [0, 0, 1, 4, 5, 5, 0x81, 0x85, random(256)][random(9)],
    headerLength: place(),
    gsoSize: [0, 1, 8, 22, 60, 100, 1350, random(0x10000)][random(8)],
    checksumStart: place(),
    checksumOffset: [6, 16, 0, 2, random(0x10000)][random(5)],
  };
}

test('what containers send into a tunnel, damaged: no exception, no slot lost', (t) => {
  const seed = seedOfRun();
  const random = createRandom(seed);
  for (const checksum of [false, true]) {
    const one = new Host(1, { vxlan: { [BLUE]: { checksum, dscp: -1 } } });
    for (const other of [2, 3]) {
      one.know(other);
      one.addVtep(BLUE, vtepPort(BLUE, other), underlay4(other));
    }
    const whole = [
      datagram(HERE, THERE),
      segment(HERE, THERE, { family: 6, data: filler(400) }),
      superSegment(HERE, THERE, 4000, 1350).frame,
      superSegment(HERE, THERE, 3000, 700, { family: 6 }).frame,
      arp(HERE, 1, THERE.v4, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ];
    let left = 0;
    for (let i = 0; i < MUTATIONS / 10; i++) {
      const source = whole[random(whole.length)];
      const frame = random(3) === 0 ? source : mutate(source, random);
      const vnet = randomVnet(random, frame.length);
      left += one.receive(1, frame, vnet).filter(({ port }) => port === UPLINK_PORT).length;
      if (one.dataplane.lastError === null && one.isWhole) continue;
      const what = `mutation ${i}; ${rerunLine(seed, TEST_FILE)}\n${JSON.stringify(vnet)} ${Buffer.from(frame).toString('hex')}`;
      expectWhole(t, one, what);
      return;
    }
    t.true(left > 250, `${left}`);
  }
});

// --- captures

/** A VTEP that is whoever a captured packet is for: its MAC, its address, its VNI. */
interface Captured {
  readonly frame: Uint8Array;
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly vni: number;
}

/** UDP to a port of VXLAN, with a whole header; null: something else. */
function captured(frame: Uint8Array): Captured | null {
  const isIpv4 = frame[12] === 0x08 && frame[13] === 0x00 && frame[14] === 0x45 && frame[23] === 17;
  const isIpv6 = frame[12] === 0x86 && frame[13] === 0xdd && frame[20] === 17;
  const at = isIpv4 ? 34 : 54;
  if ((!isIpv4 && !isIpv6) || frame.length < at + 16) return null;
  const port = frame[at + 2] * 256 + frame[at + 3];
  if (port !== 4789 && port !== 8472) return null;
  const from = addressOf(isIpv4 ? frame.subarray(26, 30) : frame.subarray(22, 38));
  const to = addressOf(isIpv4 ? frame.subarray(30, 34) : frame.subarray(38, 54));
  return { frame, from, to, port, vni: (frame[at + 12] * 256 + frame[at + 13]) * 256 + frame[at + 14] };
}

/** Sends a captured packet to a host that is the one it was for. Returns how many came out of the tunnel. */
function replay(t: ExecutionContext, { frame, from, to, port, vni }: Captured, name: string): number {
  const family = to.includes(':') ? 6 : 4;
  const one = new Host(1, { family, gateway: false, slots: 16, vxlan: { [BLUE]: null, [GREEN]: null } });
  const iface = one.dataplane.router.interface(UPLINK_PORT);
  const words = wordsOf(to);
  const own =
    family === 4 ? { addresses4: Int32Array.of(words[3], -256) } : { addresses6: Int32Array.of(...words, 64) };
  const view = new DataView(frame.buffer, frame.byteOffset);
  const mac = { macHigh: view.getUint16(0), macLow: view.getInt32(2) };
  one.sentBy(() => one.dataplane.router.setInterface(UPLINK_PORT, { ...iface, ...mac, ...own }, true));
  one.setLocal(BLUE, { vni, udpPort: port, local: words });
  one.addVtep(BLUE, vtepPort(BLUE, 2), from);
  const reference = {
    mac: [...frame.subarray(0, 6)],
    address: to,
    networks: [{ vni, udpPort: port, vteps: [from] }],
  };
  const judgment = judge(frame, reference);
  const sent = one.receive(UPLINK_PORT, frame);
  expectWhole(t, one, name);
  const taken = one.counter(vtepPort(BLUE, 2), COUNTER_RX_PACKETS);
  t.is(taken, judgment !== null && 'taken' in judgment ? 1 : 0, `${name}: ${JSON.stringify(one.dropped())}`);
  if (judgment !== null && 'taken' in judgment && sent.length > 0)
    t.deepEqual(sent[0].frame, judgment.taken.inner, name);
  return taken;
}

test('tunnels in the captures of others, by whoever they were for', async (t) => {
  const note = corpusNote();
  if (note !== null) t.log(note);
  let found = 0;
  let taken = 0;
  for (const { name, frames } of await loadCaptures()) {
    for (const [index, frame] of frames.entries()) {
      const one = captured(frame);
      if (one === null || (frame[0] & 1) === 1 || frame.length > 65_557) continue;
      found++;
      taken += replay(t, one, `${name}, packet ${index + 1}`);
    }
  }
  t.log(`${found} packets, ${taken} taken`);
  if (note === null) {
    t.true(found >= 50, `${found}`);
    t.true(taken >= 40, `${taken}`);
  } else {
    t.is(found, 0);
  }
});

test('every frame of every capture, inside a tunnel and as it is: no exception, no slot lost', async (t) => {
  const note = corpusNote();
  if (note !== null) t.log(note);
  const random = createRandom(7);
  const one = host(4);
  let count = 0;
  for (const { name, frames } of await loadCaptures()) {
    for (const [index, frame] of frames.entries()) {
      // A few of each capture: there are tens of thousands.
      if (index > 20 && random(20) !== 0) continue;
      if (frame.length > 60_000) continue;
      one.receive(UPLINK_PORT, outer(one.outerFrom(2, { trafficClass: random(4) }), frame));
      one.receive(1, frame);
      count++;
      if (one.dataplane.lastError !== null || !one.isWhole) {
        expectWhole(t, one, `${name}, packet ${index + 1}`);
        return;
      }
    }
    one.dataplane.events.clear();
  }
  t.true(count > 5);
});
