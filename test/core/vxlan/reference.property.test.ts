/** Three hosts, two networks and any history: containers get, the underlay carries, and the hosts count and remember what the reference says. */

import test from 'ava';
import fc from 'fast-check';
import { STATIC } from '../../../core/switch/fdb.js';
import { ISOLATION_ALONE, ISOLATION_OPEN } from '../../../core/switch/isolation.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { frame, mac, tagged } from '../../support/harness.js';
import {
  BLUE,
  CARRIAGES,
  type Carriage,
  expectWhole,
  GREEN,
  type Host,
  Overlay,
  TAPS,
  UPLINK_PORT,
  underlay4,
  underlay6,
  VNIS,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { type InnerFrame, ReferenceOverlay } from './support/overlay-reference.js';

const HOSTS = 3;
const NETWORKS = [BLUE, GREEN];
const HIGH = 0x0200;
const CONTENT = 46;

/** 02-00 and a number. */
const macOf = (low: number): string => `02:00:00:00:00:${low.toString(16).padStart(2, '0')}`;

const host = fc.integer({ min: 1, max: HOSTS });
const network = fc.constantFrom(...NETWORKS);
const place = fc.nat(2);
const low = fc.integer({ min: 1, max: 6 });
const to = fc.oneof(
  { weight: 4, arbitrary: low.map(macOf) },
  { weight: 1, arbitrary: fc.constantFrom('ff:ff:ff:ff:ff:ff', '01:00:5e:01:01:01', '33:33:00:00:00:01') },
);
const tag = fc.constantFrom(0, 0, 0, 0, 5);
const seconds = fc.constantFrom(1, 20, 120, 299);

type Step =
  | {
      readonly op: 'frame';
      readonly host: number;
      readonly network: number;
      readonly place: number;
      readonly to: string;
      readonly low: number;
      readonly tag: number;
    }
  | {
      readonly op: 'plug';
      readonly host: number;
      readonly network: number;
      readonly place: number;
      readonly isolated: boolean;
    }
  | { readonly op: 'unplug'; readonly host: number; readonly network: number; readonly place: number }
  | {
      readonly op: 'vtep';
      readonly host: number;
      readonly network: number;
      readonly other: number;
      readonly floods: boolean;
      readonly learning: boolean;
    }
  | { readonly op: 'no vtep'; readonly host: number; readonly network: number; readonly other: number }
  | {
      readonly op: 'floods';
      readonly host: number;
      readonly network: number;
      readonly other: number;
      readonly floods: boolean;
    }
  | { readonly op: 'bind'; readonly host: number; readonly network: number; readonly to: number; readonly low: number }
  | { readonly op: 'unbind'; readonly host: number; readonly network: number; readonly low: number }
  | { readonly op: 'flush'; readonly host: number; readonly network: number }
  | { readonly op: 'vni'; readonly host: number; readonly network: number; readonly vni: number }
  | { readonly op: 'wait'; readonly seconds: number };

const floods = fc.constantFrom(true, true, true, false);
const learning = fc.constantFrom(true, true, true, false);
const vni = fc.constantFrom(42, 42, 43, 43, 1, 0xffffff);
const op = <T extends string>(name: T): fc.Arbitrary<T> => fc.constant(name);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 60, arbitrary: fc.record({ op: op('frame'), host, network, place, to, low, tag }) },
  { weight: 2, arbitrary: fc.record({ op: op('plug'), host, network, place, isolated: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: op('unplug'), host, network, place }) },
  { weight: 3, arbitrary: fc.record({ op: op('vtep'), host, network, other: host, floods, learning }) },
  { weight: 1, arbitrary: fc.record({ op: op('no vtep'), host, network, other: host }) },
  { weight: 2, arbitrary: fc.record({ op: op('floods'), host, network, other: host, floods: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: op('bind'), host, network, to: fc.nat(5), low }) },
  { weight: 1, arbitrary: fc.record({ op: op('unbind'), host, network, low }) },
  { weight: 1, arbitrary: fc.record({ op: op('flush'), host, network }) },
  { weight: 2, arbitrary: fc.record({ op: op('vni'), host, network, vni }) },
  { weight: 2, arbitrary: fc.record({ op: op('wait'), seconds }) },
);

const history = fc.record({
  family: fc.constantFrom<4 | 6>(4, 6),
  checksum: fc.boolean(),
  deferred: fc.boolean(),
  carriage: fc.constantFrom(...CARRIAGES),
  steps: fc.array(step, { minLength: 30, maxLength: 120 }),
});

interface World {
  readonly family: 4 | 6;
  readonly checksum: boolean;
  readonly deferred: boolean;
  readonly carriage: Carriage;
}

/** The hosts and the reference, told the same. */
class Twins {
  readonly overlay: Overlay;
  readonly reference = new ReferenceOverlay(HOSTS, new Map(NETWORKS.map((id) => [id, VNIS[id]])));
  readonly outcomes = new Map<string, number>();
  private readonly drops = new Map<string, number>();
  private readonly world: World;
  private frames = 0;

  constructor(world: World) {
    this.world = world;
    const { family, checksum, deferred, carriage } = world;
    const vxlan = { [BLUE]: { checksum }, [GREEN]: { checksum } };
    this.overlay = new Overlay(HOSTS, { family, deferred, vxlan, gateway: false, slots: 24 }, carriage);
    for (const one of this.overlay.hosts) {
      this.tell(one);
      for (const id of NETWORKS) {
        const segment = this.reference.segment(one.number, id);
        for (const port of TAPS[id]) segment.taps.set(String(port), { isolated: false });
        for (const other of this.overlay.hosts) {
          if (other !== one)
            segment.vteps.set(String(vtepPort(id, other.number)), { host: other.number, floods: true, learning: true });
        }
      }
    }
  }

  /** Next hops do not age: what becomes of those is the router's tests' matter. */
  private tell(one: Host): void {
    const { neighbors, ...router } = one.dataplane.router;
    for (let other = 1; other <= HOSTS; other++) {
      for (const address of [underlay4(other), underlay6(other)]) {
        const [a, b, c, d] = wordsOf(address);
        neighbors.setPermanent(router.interfaces[UPLINK_PORT] as never, a, b, c, d, HIGH, 0x7700 | other);
      }
    }
  }

  /** Null where both agree, else how they differ. */
  take(next: Step): string | null {
    if (next.op === 'frame') return this.frame(next);
    if (next.op === 'wait') this.wait(next.seconds);
    else this.configure(next);
    return this.compareEntries();
  }

  private wait(howLong: number): void {
    for (const one of this.overlay.hosts) one.passTo(one.dataplane.now + howLong);
    this.reference.wait(howLong);
  }

  private configure(next: Exclude<Step, { op: 'frame' } | { op: 'wait' }>): void {
    const { host: number, network: id } = next;
    const one = this.overlay.host(number);
    const segment = this.reference.segment(number, id);
    if (next.op === 'plug' || next.op === 'unplug') {
      const port = TAPS[id][next.place];
      one.topology.removePort(port);
      this.reference.removePort(number, id, String(port));
      if (next.op === 'unplug') return;
      one.topology.addPort(port, id, { isolation: next.isolated ? ISOLATION_ALONE : ISOLATION_OPEN });
      segment.taps.set(String(port), { isolated: next.isolated });
    } else if (next.op === 'vtep' || next.op === 'no vtep') {
      if (next.other === number) return;
      const port = vtepPort(id, next.other);
      one.topology.removePort(port);
      this.reference.removePort(number, id, String(port));
      if (next.op === 'no vtep') return;
      one.addVtep(id, port, this.overlay.host(next.other).address, next);
      segment.vteps.set(String(port), { host: next.other, floods: next.floods, learning: next.learning });
    } else if (next.op === 'floods') {
      const port = vtepPort(id, next.other);
      one.topology.setFloods(port, next.floods);
      const vtep = segment.vteps.get(String(port));
      if (vtep !== undefined) vtep.floods = next.floods;
    } else if (next.op === 'bind') {
      const ports = [...segment.taps.keys(), ...segment.vteps.keys()];
      const port = ports[next.to % Math.max(1, ports.length)];
      if (port === undefined) return;
      one.topology.addStatic(id, 0, HIGH, next.low, Number(port));
      segment.fdb.set(macOf(next.low), { port, isStatic: true, seen: this.reference.now });
    } else if (next.op === 'unbind') {
      one.dataplane.fdb.remove(id, HIGH, next.low);
      segment.fdb.delete(macOf(next.low));
    } else if (next.op === 'flush') {
      one.topology.flush(id, -1, 0);
      segment.forget(({ isStatic }) => !isStatic);
    } else {
      this.setVni(one, id, next.vni);
    }
  }

  private setVni(one: Host, id: number, wanted: number): void {
    const isTaken = !this.reference.setVni(one.number, id, wanted);
    let refused = false;
    try {
      one.setLocal(id, { vni: wanted, checksum: this.world.checksum });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      refused = true;
    }
    if (refused !== isTaken) throw new Error(`VNI ${wanted}: ${refused ? 'refused' : 'taken twice'}`);
    this.note(refused ? 'VNI refused' : 'VNI changed');
  }

  private frame({
    host: number,
    network: id,
    place: at,
    to: destination,
    low: source,
    tag: vid,
  }: Extract<Step, { op: 'frame' }>): string | null {
    const port = TAPS[id][at];
    const sent: InnerFrame = { to: destination, from: macOf(source), tag: vid, id: ++this.frames };
    const expected = this.reference.send(number, id, String(port), sent);
    const arrivals = this.overlay.send(number, port, bytesOf(sent));
    const got = arrivals.map((one) => `${one.host}/${one.port} ${hex(one.frame)}`).sort();
    const wanted = expected.arrivals.map((one) => `${one.place} ${hex(bytesOf(one.frame))}`).sort();
    if (got.join('\n') !== wanted.join('\n')) return `containers got\n${got.join('\n')}\nnot\n${wanted.join('\n')}`;
    const packets = this.overlay.outers.map((one) => `${hostOf(one.from)}>${hostOf(one.to)} ${one.vni}`).sort();
    if (packets.join() !== [...expected.packets].sort().join()) return `packets ${packets}, not ${expected.packets}`;
    for (const reason of expected.drops) this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
    for (const outcome of [...expected.drops, ...outcomesOf(expected)]) this.note(outcome);
    return this.compareDrops() ?? this.compareEntries();
  }

  private note(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  private compareDrops(): string | null {
    const counted = new Map<string, number>();
    for (const one of this.overlay.hosts)
      for (const [reason, count] of Object.entries(one.dropped()))
        counted.set(reason, (counted.get(reason) ?? 0) + count);
    const text = (counts: ReadonlyMap<string, number>): string => JSON.stringify([...counts].sort());
    return text(counted) === text(this.drops) ? null : `counted ${text(counted)}, not ${text(this.drops)}`;
  }

  private compareEntries(): string | null {
    const found: string[] = [];
    for (const one of this.overlay.hosts) {
      one.dataplane.fdb.forEach((fid, high, lowWord, port, stamp) => {
        if (high === HIGH)
          found.push(`${one.number} ${fid} ${macOf(lowWord)} ${port}${stamp === STATIC ? ' static' : ''}`);
      }, one.dataplane.now);
    }
    const wanted = this.reference.entries;
    return found.sort().join('\n') === wanted.join('\n')
      ? null
      : `entries\n${found.join('\n')}\nnot\n${wanted.join('\n')}`;
  }
}

function outcomesOf({ arrivals, packets }: ReturnType<ReferenceOverlay['send']>): string[] {
  if (packets.length > 1) return ['replicated'];
  if (packets.length === 1) return [arrivals.length === 0 ? 'lost behind the tunnel' : 'tunnelled'];
  return arrivals.length > 0 ? ['here alone'] : [];
}

const hostOf = (address: string): string => address.split(/[.:]/).at(-1) as string;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function bytesOf({ to: destination, from, tag: vid, id }: InnerFrame): Uint8Array {
  const content = Array.from({ length: CONTENT }, (_, i) => (i < 2 ? (id >> (8 * i)) & 255 : (i * 7) & 255));
  const bytes = frame(mac(destination), mac(from), content);
  return vid === 0 ? bytes : tagged(bytes, vid);
}

const seed = seedOfRun();
const RERUN = rerunLine(seed, 'dist/test/core/vxlan/reference.property.test.js');

const OUTCOMES = [
  'replicated',
  'tunnelled',
  'here alone',
  'lost behind the tunnel',
  'port_unbound',
  'static_mac',
  'hairpin',
  'isolated',
  'vxlan_vni',
  'vxlan_vtep',
  'VNI changed',
  'VNI refused',
];

test('agrees with a reference over any history of three hosts', (t) => {
  t.timeout(180_000);
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(history, ({ steps, ...world }) => {
      const twins = new Twins(world);
      steps.forEach((each, i) => {
        const difference = twins.take(each);
        if (difference !== null) throw new Error(`step ${i}, ${JSON.stringify(each)}: ${difference}`);
      });
      for (const one of twins.overlay.hosts) {
        if (!one.isWhole) throw new Error(`host ${one.number}: frames or slots are lost: ${one.imbalance()}`);
        if (one.dataplane.lastError !== null) throw new Error(String(one.dataplane.lastError));
      }
      for (const [name, count] of twins.outcomes) seen.set(name, (seen.get(name) ?? 0) + count);
    }),
    { seed, numRuns: 60 },
  );
  for (const name of OUTCOMES) t.true((seen.get(name) ?? 0) > 0, `${name} came up ${seen.get(name)} times; ${RERUN}`);
  t.deepEqual(
    [...seen.keys()].filter((name) => !OUTCOMES.includes(name)),
    [],
  );
  t.log(Object.fromEntries(seen));
});

test('the reference itself: a broadcast of three hosts reaches each container once', (t) => {
  const twins = new Twins({ family: 4, checksum: false, deferred: false, carriage: 'whole' });
  const sent = { to: 'ff:ff:ff:ff:ff:ff', from: macOf(1), tag: 0, id: 1 };
  const { arrivals, packets, drops } = twins.reference.send(1, BLUE, '1', sent);
  t.deepEqual(arrivals.map((one) => one.place).sort(), ['1/2', '1/3', '2/1', '2/2', '2/3', '3/1', '3/2', '3/3']);
  t.deepEqual({ packets, drops }, { packets: ['1>2 42', '1>3 42'], drops: [] });
  expectWhole(t, twins.overlay);
});
