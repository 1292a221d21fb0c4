/** Any topology and any history: the dataplane sends the same bytes to the same ports as the reference, or counts the same reason. */

import test from 'ava';
import fc from 'fast-check';
import { COUNTER_COPIES, COUNTER_TX_PACKETS } from '../../../core/counters.js';
import { NO_MAC_LIMIT } from '../../../core/ports.js';
import { PortSecurity, SECURITY_MAC, SECURITY_STRICT } from '../../../core/switch/port-security.js';
import type { PortOptions } from '../../../core/topology.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { Harness } from '../../support/harness.js';
import {
  bytesOf,
  ReferenceBridge,
  type ReferenceFrame,
  type ReferenceNetwork,
  type ReferencePort,
} from './reference.js';

const NETWORKS = 3;
const PORTS = 8;
const VIDS = [10, 20, 30];
const PAYLOAD = 50;
const HIGH = 0x0200;

/** 02-00 and a number. */
const macOf = (low: number): string =>
  `02:00:00:00:${low < 256 ? '00' : '01'}:${(low & 255).toString(16).padStart(2, '0')}`;
/** Of an endpoint; nobody binds it to another port, as the configuration does not let anybody. */
const ownLow = (port: number): number => 0x100 + port;
const fidOf = (network: number, vid: number): number => (vid === 0 ? network : network * 1000 + vid);

interface Plug {
  readonly network: number;
  readonly trunk: boolean;
  readonly native: number;
  readonly tagged: readonly number[];
  readonly wire: number;
  readonly isolation: number;
  readonly level: ReferencePort['level'];
  readonly bound: boolean;
  readonly speakers: number;
  readonly macLimit: number;
}

const plug: fc.Arbitrary<Plug> = fc.record({
  network: fc.integer({ min: 1, max: NETWORKS }),
  trunk: fc.boolean(),
  native: fc.constantFrom(0, ...VIDS),
  tagged: fc.subarray(VIDS, { minLength: 1 }),
  wire: fc.constantFrom(0, 0, 42, 43),
  isolation: fc.constantFrom(0, 0, 0, 1, 2, 3),
  level: fc.constantFrom('off', 'off', 'mac', 'strict'),
  bound: fc.boolean(),
  speakers: fc.constantFrom(1, 1, 3),
  macLimit: fc.constantFrom(NO_MAC_LIMIT, NO_MAC_LIMIT, 1, 2, 3),
});

const networkOptions: fc.Arbitrary<ReferenceNetwork> = fc.record({
  protocol: fc.constantFrom(0, 0x8100, 0x88a8),
  limit: fc.constantFrom(1000, 1000, 4, 8),
  dropWhenFull: fc.boolean(),
  ageing: fc.constantFrom(30, 300),
});

const tag = fc.record({
  protocol: fc.constantFrom(0x8100, 0x8100, 0x88a8),
  vid: fc.constantFrom(0, 10, 10, 20, 30, 42, 43, 7, 4095),
  priority: fc.nat(15),
});
const unicast = fc.oneof(
  fc.integer({ min: 1, max: 6 }).map(macOf),
  fc.integer({ min: 1, max: PORTS }).map((port) => macOf(ownLow(port))),
);
const group = fc.constantFrom('ff:ff:ff:ff:ff:ff', '01:00:5e:01:01:01', '33:33:00:00:00:01', '01:80:c2:00:00:0e');
const frame: fc.Arbitrary<ReferenceFrame> = fc.record({
  to: fc.oneof({ weight: 3, arbitrary: unicast }, { weight: 1, arbitrary: group }),
  from: fc.oneof({ weight: 30, arbitrary: unicast }, { weight: 1, arbitrary: group }),
  tags: fc.array(tag, { maxLength: 2 }),
  etherType: fc.constantFrom(0x88b5, 0x88b5, 0x88b5, 0x88cc),
});

type Step =
  | { readonly op: 'frame'; readonly port: number; readonly own: boolean; readonly frame: ReferenceFrame }
  | {
      readonly op: 'flush';
      readonly port: number;
      readonly network: number;
      readonly vid: number;
      readonly what: number;
    }
  | { readonly op: 'plug'; readonly port: number; readonly plug: Plug }
  | { readonly op: 'unplug'; readonly port: number }
  | { readonly op: 'bind'; readonly port: number; readonly vid: number; readonly mac: number }
  | { readonly op: 'unbind'; readonly network: number; readonly vid: number; readonly mac: number }
  | { readonly op: 'stop'; readonly port: number; readonly seconds: number }
  | { readonly op: 'wait'; readonly seconds: number };

const port = fc.integer({ min: 1, max: PORTS });
const network = fc.integer({ min: 1, max: NETWORKS });
const vid = fc.constantFrom(0, ...VIDS);
const mac = fc.integer({ min: 1, max: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 60, arbitrary: fc.record({ op: fc.constant('frame' as const), port, own: fc.boolean(), frame }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('flush' as const), port, network, vid, what: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('plug' as const), port, plug }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unplug' as const), port }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('bind' as const), port, vid, mac }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unbind' as const), network, vid, mac }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('stop' as const), port, seconds: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 40 }) }) },
);

const history = fc.record({
  networks: fc.array(networkOptions, { minLength: NETWORKS, maxLength: NETWORKS }),
  plugs: fc.array(plug, { minLength: PORTS, maxLength: PORTS }),
  deferred: fc.boolean(),
  steps: fc.array(step, { minLength: 20, maxLength: 150 }),
});

const SECURITY = { off: 0, mac: SECURITY_MAC, strict: SECURITY_STRICT };

/** Both bridges, told the same. */
class Twins {
  readonly harness: Harness;
  readonly reference = new ReferenceBridge();
  readonly outcomes = new Map<string, number>();
  private readonly networks: readonly ReferenceNetwork[];
  private readonly expectedDrops = new Map<number, Record<string, number>>();
  private expectedSent = 0;
  private expectedCopies = 0;

  constructor(networks: readonly ReferenceNetwork[], deferred: boolean) {
    this.networks = networks;
    this.harness = new Harness(0, { deferred, slots: 8, fdbCapacity: 2000 });
    networks.forEach((options, i) => {
      const { protocol: vlanProtocol, dropWhenFull } = options;
      this.harness.topology.addNetwork(i + 1, options.ageing, options.limit, { vlanProtocol, dropWhenFull });
      if (vlanProtocol !== 0) for (const each of VIDS) this.harness.topology.addVlan(i + 1, each, fidOf(i + 1, each));
      this.reference.addNetwork(i + 1, options);
    });
  }

  plug(id: number, wanted: Plug): void {
    this.unplug(id);
    const { network: networkId, isolation, level, speakers, macLimit } = wanted;
    const isFiltering = this.networks[networkId - 1].protocol !== 0;
    let native = 0;
    let tagged: readonly number[] = [];
    if (isFiltering) {
      native = wanted.trunk || wanted.native !== 0 ? wanted.native : 10;
      if (wanted.trunk) tagged = wanted.tagged.filter((each) => each !== native);
      if (native === 0 && tagged.length === 0) native = 20;
    } else if (wanted.wire !== 0) {
      tagged = [wanted.wire];
    }
    const isBound = level !== 'off' || wanted.bound;
    this.reference.addPort(id, {
      network: networkId,
      native,
      tagged,
      isolation,
      level,
      macs: isBound ? [macOf(ownLow(id))] : [],
      speakers,
      macLimit,
    });
    const none = new Int32Array(0);
    const options: PortOptions = {
      vlan: isFiltering || tagged.length > 0 ? { native, tagged } : null,
      isolation,
      macLimit,
      macs: isBound ? [[HIGH, ownLow(id)]] : [],
      security: level === 'off' ? null : new PortSecurity(SECURITY[level], HIGH, ownLow(id), speakers, none, none),
    };
    this.harness.topology.addPort(id, networkId, options);
    this.sweep();
  }

  unplug(id: number): void {
    this.harness.topology.removePort(id);
    this.reference.removePort(id);
    this.sweep();
  }

  /** Void entries count in the dataplane until the sweep has met them; here it meets them at once. */
  private sweep(): void {
    const { fdb, now } = this.harness.dataplane;
    fdb.sweep(fdb.table.places, now);
  }

  /** Null where both agree, else how they differ. */
  take(next: Step): string | null {
    if (next.op === 'frame') return this.frame(next.port, next.own, next.frame);
    if (next.op === 'plug') this.plug(next.port, next.plug);
    else if (next.op === 'unplug') this.unplug(next.port);
    else if (next.op === 'flush') this.flush(next.port, next.network, next.vid, next.what);
    else if (next.op === 'bind') this.bind(next.port, next.vid, next.mac);
    else if (next.op === 'unbind') {
      this.harness.dataplane.fdb.remove(fidOf(next.network, next.vid), HIGH, next.mac);
      this.reference.unbind(next.network, next.vid, macOf(next.mac));
    } else if (next.op === 'stop') {
      this.harness.topology.quarantine(this.harness.dataplane.ports[next.port], next.seconds);
      this.reference.quarantine(next.port, next.seconds);
    } else {
      this.harness.passTo(this.harness.dataplane.now + next.seconds);
      this.reference.wait(next.seconds);
    }
    this.sweep();
    return null;
  }

  private flush(id: number, networkId: number, each: number, what: number): void {
    const { topology } = this.harness;
    if (what === 0) {
      topology.flush(0, -1, id);
      this.reference.flushPort(id);
    } else if (what === 1) {
      topology.flush(networkId, each, 0);
      this.reference.flushVlan(networkId, each);
    } else {
      topology.flush(0, -1, 0);
      this.reference.flushAll();
    }
  }

  private bind(id: number, each: number, low: number): void {
    const { network: networkId } = this.harness.dataplane.ports[id];
    if (!this.reference.isMember(id, each)) return;
    this.harness.topology.addStatic(networkId, each, HIGH, low, id);
    this.reference.bind(networkId, each, macOf(low), id);
  }

  private frame(id: number, own: boolean, given: ReferenceFrame): string | null {
    const { harness } = this;
    const sent = own ? { ...given, from: macOf(ownLow(id)) } : given;
    const outcome = this.reference.receive(id, sent);
    const found = harness.receive(id, bytesOf(sent, PAYLOAD));
    const drops = this.expectedDrops.get(id) ?? {};
    let expected: string[] = [];
    if ('drop' in outcome) drops[outcome.drop] = (drops[outcome.drop] ?? 0) + 1;
    else {
      expected = [...outcome.sent].map(([to, copy]) => `${to} ${hex(bytesOf(copy, PAYLOAD))}`).sort();
      this.expectedSent += expected.length;
      this.expectedCopies += expected.length - 1;
    }
    this.expectedDrops.set(id, drops);
    const name = 'drop' in outcome ? outcome.drop : expected.length > 1 ? 'flooded' : 'sent';
    this.outcomes.set(name, (this.outcomes.get(name) ?? 0) + 1);
    const got = found.map((copy) => `${copy.port} ${hex(copy.frame)}`).sort();
    if (got.join('\n') !== expected.join('\n')) return `sent\n${got.join('\n')}\nnot\n${expected.join('\n')}`;
    const counted = JSON.stringify(Object.entries(harness.rxDrops(id)).sort());
    const wanted = JSON.stringify(Object.entries(drops).sort());
    return counted === wanted ? null : `port ${id} counted ${counted}, not ${wanted}`;
  }

  /** Null where all counters, slots and entries are as expected. */
  finish(): string | null {
    const { harness } = this;
    if (!harness.isWhole) return 'frames or slots are lost';
    if (harness.dataplane.lastError !== null) return String(harness.dataplane.lastError);
    const sum = (index: number): number =>
      Array.from({ length: PORTS }, (_, i) => harness.counter(i + 1, index)).reduce((a, b) => a + b);
    if (sum(COUNTER_TX_PACKETS) !== this.expectedSent) return 'transmitted are miscounted';
    if (sum(COUNTER_COPIES) !== this.expectedCopies) return 'copies are miscounted';
    const { count } = harness.dataplane.fdb.table;
    return count === this.reference.entries ? null : `${count} entries, not ${this.reference.entries}`;
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const seed = seedOfRun();
const RERUN = rerunLine(seed, 'dist/test/core/switch/reference.property.test.js');

/** Every way out of the bridge that these histories can take. */
const OUTCOMES = [
  'sent',
  'flooded',
  'port_unbound',
  'quarantined',
  'source_multicast',
  'reserved_multicast',
  'vlan_reserved',
  'vlan_not_allowed',
  'vlan_untagged',
  'source_mac',
  'link_protocol',
  'static_mac',
  'mac_limit',
  'fdb_full',
  'hairpin',
  'isolated',
  'no_destination',
];

test('agrees with a reference bridge over any topology and history', (t) => {
  t.timeout(180_000);
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(history, ({ networks, plugs, deferred, steps }) => {
      const twins = new Twins(networks, deferred);
      plugs.forEach((each, i) => {
        twins.plug(i + 1, each);
      });
      steps.forEach((each, i) => {
        const difference = twins.take(each);
        if (difference !== null) throw new Error(`step ${i}: ${difference}`);
      });
      const difference = twins.finish();
      if (difference !== null) throw new Error(difference);
      for (const [name, count] of twins.outcomes) seen.set(name, (seen.get(name) ?? 0) + count);
    }),
    { seed, numRuns: 250 },
  );
  for (const name of OUTCOMES) t.true((seen.get(name) ?? 0) > 10, `${name} came up ${seen.get(name)} times; ${RERUN}`);
  t.deepEqual(
    [...seen.keys()].filter((name) => !OUTCOMES.includes(name)),
    [],
  );
});
