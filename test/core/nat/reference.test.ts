/** Any history of connections: every packet is translated as the reference says, there and back, or dropped for the reason that it says. */

import test from 'ava';
import fc from 'fast-check';
import { COUNTER_BLOCK, COUNTER_RX_DROPS } from '../../../core/counters.js';
import { DROP_REASONS } from '../../../core/drop.js';
import {
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_ICMP_REPLIED,
  STATE_ICMP_UNREPLIED,
  STATE_OTHER_REPLIED,
  STATE_OTHER_UNREPLIED,
  STATE_RESET,
  STATE_SCTP_OPENING,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../../../core/nat/flow.js';
import { POLICY_ACCEPT, POLICY_DROP, POLICY_REJECT } from '../../../core/nat/policy.js';
import {
  FILTERING_ADDRESS_AND_PORT_DEPENDENT,
  FILTERING_ADDRESS_DEPENDENT,
  FILTERING_ENDPOINT_INDEPENDENT,
  MAPPING_ADDRESS_AND_PORT_DEPENDENT,
  MAPPING_ENDPOINT_INDEPENDENT,
} from '../../../core/nat/settings.js';
import type { TranslationOptions } from '../../../core/router/interface.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { SPARE_PORT, word4, words6 } from '../router/lab.js';
import {
  A,
  A2,
  B,
  B2,
  C,
  EXTERNAL,
  EXTERNAL6,
  NatLab,
  OUTSIDE,
  type Publication,
  type RuleSpec,
  SERVER,
  SERVER2,
  SERVER6,
  SERVER62,
  type Station,
  UPLINK,
} from './lab.js';
import {
  type Flow,
  type Given,
  GRE,
  ICMP,
  ICMPV6,
  isIpv4,
  isQuery,
  keyOf,
  mirrored,
  type Network,
  networkOf,
  type Published,
  portOf,
  ReferenceNat,
  type Rule,
  SCTP,
  type Stage,
  TCP,
  type Tuple,
  translatePrefix,
  UDP,
  UPLINK_PORT,
  type World,
} from './reference.js';
import * as wire from './wire.js';

const FILE = 'dist/test/core/nat/reference.test.js';

const STATES: Readonly<Record<Stage, readonly number[]>> = {
  syn: [STATE_SYN_SENT],
  synack: [STATE_SYN_RECEIVED],
  established: [STATE_ESTABLISHED],
  fin: [STATE_FIN],
  closing: [STATE_CLOSING],
  reset: [STATE_RESET],
  udp: [STATE_UDP_UNREPLIED],
  stream: [STATE_UDP_STREAM],
  icmp: [STATE_ICMP_UNREPLIED, STATE_ICMP_REPLIED],
  other: [STATE_OTHER_UNREPLIED, STATE_OTHER_REPLIED],
  sctp: [STATE_SCTP_OPENING],
};
/** Counters of the lab's ports. */
const TOLD = (SPARE_PORT + 1) * COUNTER_BLOCK;
/** Seconds, all different. */
const TIMEOUTS: Readonly<Record<Stage, number>> = {
  syn: 240,
  synack: 250,
  established: 700,
  fin: 260,
  closing: 270,
  reset: 280,
  udp: 120,
  stream: 180,
  icmp: 60,
  other: 300,
  sctp: 245,
};

const NOT_TRANSLATED: Network = { sources4: null, sources6: null, prefix: null };
const MASQUERADED: Network = { sources4: [], sources6: null, prefix: null };
const BOTH: Network = { sources4: [], sources6: [], prefix: null };
const POOL = ['203.0.113.5', '203.0.113.6'];

const PUBLISHED: readonly Published[] = [
  { protocol: TCP, address: EXTERNAL, port: 8080, target: A.v4, targetPort: 80 },
  { protocol: UDP, address: null, port: 8053, target: B.v4, targetPort: 53 },
  { protocol: TCP, address: null, port: 8443, target: C.v4, targetPort: 443 },
  { protocol: UDP, address: null, port: 8054, target: A2.v6, targetPort: 53 },
  { protocol: TCP, address: EXTERNAL6, port: 8080, target: B.v6, targetPort: 80 },
  { protocol: SCTP, address: EXTERNAL, port: 8132, target: B2.v4, targetPort: 5000 },
];

const PLAIN: World = {
  networks: [null, MASQUERADED, MASQUERADED, NOT_TRANSLATED],
  external4: EXTERNAL,
  external6: EXTERNAL6,
  isInterconnected: false,
  isEndpointIndependent: true,
  filtering: 'address',
  firstPort: 1024,
  lastPort: 65_535,
  flowsPerEndpoint: 512,
  published: PUBLISHED,
  rules: [],
  timeouts: TIMEOUTS,
};

const WORLDS: readonly (World & { readonly name: string })[] = [
  { ...PLAIN, name: 'masquerading' },
  {
    ...PLAIN,
    name: 'both families, filters of none, networks that reach each other',
    networks: [null, BOTH, BOTH, NOT_TRANSLATED],
    filtering: 'independent',
    isInterconnected: true,
  },
  {
    ...PLAIN,
    name: 'a pool, few ports, a prefix, a policy, limits',
    networks: [null, { sources4: POOL, sources6: null, prefix: ['fd00:1::', '2001:db8:a1::'] }, BOTH, NOT_TRANSLATED],
    firstPort: 4000,
    lastPort: 4399,
    flowsPerEndpoint: 40,
    filtering: 'port',
    rules: [
      { action: 'drop', from: 2, to: 4, protocol: UDP, port: 99 },
      { action: 'reject', from: 4, to: 0, protocol: UDP, port: 8054 },
      { action: 'accept', from: 1, to: 3, protocol: 0, port: 0 },
      { action: 'reject', from: 3, to: 4, protocol: TCP, port: 80 },
    ],
  },
  {
    ...PLAIN,
    name: 'mapping by destination',
    networks: [null, BOTH, MASQUERADED, NOT_TRANSLATED],
    isEndpointIndependent: false,
    firstPort: 4000,
    lastPort: 4063,
    isInterconnected: true,
  },
];

const STATIONS: Readonly<Record<number, Station>> = { 1: A, 2: A2, 3: B, 4: B2, 5: C, 6: OUTSIDE };
const ENDPOINTS = [A, A2, B, B2, C];
const SERVERS4 = [SERVER, SERVER2];
const SERVERS6 = [SERVER6, SERVER62];
const PORTS = [4000, 4001, 4002, 53, 80];
const TARGETS = [53, 80, 99];
const PROTOCOLS = [UDP, UDP, UDP, TCP, TCP, TCP, ICMP, ICMP, GRE, SCTP];

interface Action {
  readonly kind: number;
  readonly one: number;
  readonly two: number;
  readonly three: number;
  readonly four: number;
}

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.nat(99),
  one: fc.nat(0xffff),
  two: fc.nat(0xffff),
  three: fc.nat(0xffff),
  four: fc.nat(0xffff),
});

function pick<T>(list: readonly T[], index: number): T {
  return list[index % list.length];
}

class Twins {
  readonly lab: NatLab;
  readonly reference: ReferenceNat;
  readonly seen = new Map<string, number>();
  packets = 0;
  private readonly world: World;
  /** Beginnings of TCP connections of the same ends are far apart. */
  private starts = 1;

  constructor(world: World) {
    this.world = world;
    this.reference = new ReferenceNat(world);
    this.lab = new NatLab({
      vrf: { interconnect: world.isInterconnected },
      slots: 256,
      capacity: 1024,
      nat: {
        mapping: world.isEndpointIndependent ? MAPPING_ENDPOINT_INDEPENDENT : MAPPING_ADDRESS_AND_PORT_DEPENDENT,
        filtering: {
          independent: FILTERING_ENDPOINT_INDEPENDENT,
          address: FILTERING_ADDRESS_DEPENDENT,
          port: FILTERING_ADDRESS_AND_PORT_DEPENDENT,
        }[world.filtering],
        firstPort: world.firstPort,
        lastPort: world.lastPort,
        flowsPerEndpoint: world.flowsPerEndpoint,
      },
      timeouts: timeoutsOf(world),
      translation: { 1: translationOf(world, 1), 2: translationOf(world, 2), 3: translationOf(world, 3) },
      interfaces: {
        [UPLINK]: {
          addresses4: Int32Array.from([EXTERNAL, ...POOL].flatMap((text) => [word4(text), 0xffffff00 | 0])),
        },
      },
    });
    this.lab.publish(...world.published.flatMap(publicationOf));
    this.lab.rules(...world.rules.map(ruleOf));
  }

  /** @returns what is wrong, or null */
  take(each: Action): string | null {
    const { kind } = each;
    if (kind < 22) return this.connect(each);
    if (kind < 62) return this.goOn(each, kind % 2 === 0);
    if (kind < 70) return this.fromOutside(each);
    if (kind < 75) return this.hairpin(each);
    if (kind < 79) return this.between(each);
    if (kind < 87) return this.error(each);
    if (kind < 90) return this.stray(each);
    if (kind < 96) return this.inFragments(each);
    return this.wait(pick([1, 7, 31, 61, 125, 300], each.one));
  }

  /** What both have at the end. */
  finish(): string | null {
    const { lab, reference } = this;
    if (lab.dataplane.lastError !== null) return `a stage threw: ${lab.dataplane.lastError}`;
    if (!lab.isWhole) return `packets or slots are missing: ${lab.imbalance()}`;
    if (lab.flows.table.count !== reference.flows.size)
      return `${lab.flows.table.count} flows, expected ${reference.flows.size}`;
    if (lab.flows.mappings.count !== reference.bindings.size)
      return `${lab.flows.mappings.count} mappings, expected ${reference.bindings.size}`;
    const wrong = this.wait(800);
    if (wrong !== null) return wrong;
    const { mappings, permissions, table } = lab.flows;
    const left = [table.count, mappings.count, permissions.count, mappings.internalCount];
    return left.every((count) => count === 0) ? null : `left behind: ${left.join()}`;
  }

  // --- what happens

  /** An endpoint to a server. */
  private connect({ one, two, three, four }: Action): string | null {
    const endpoint = pick(ENDPOINTS, one);
    const isV4 = two % 3 !== 0;
    const protocol = this.protocolOf(pick(PROTOCOLS, three), isV4);
    const source = isV4 ? endpoint.v4 : endpoint.v6;
    const destination = pick(isV4 ? SERVERS4 : SERVERS6, four);
    return this.begin(
      endpoint,
      source,
      destination,
      protocol,
      pick(PORTS, four >> 4),
      pick(TARGETS, two >> 4),
      four % 23 === 0,
    );
  }

  private fromOutside({ one, two, three, four }: Action): string | null {
    const isV4 = two % 3 !== 0;
    const source = pick(isV4 ? SERVERS4 : SERVERS6, one);
    const bindings = [...this.reference.bindings.values()].filter((each) => isIpv4(each.external) === isV4);
    const binding = bindings.length > 0 ? pick(bindings, three) : null;
    const prefix = this.world.networks[1]?.prefix ?? null;
    const destinations = [
      prefix !== null && !isV4 ? translatePrefix(A2.v6, ...prefix) : isV4 ? EXTERNAL : EXTERNAL6,
      binding?.external ?? (isV4 ? EXTERNAL : EXTERNAL6),
      isV4 ? pick(ENDPOINTS, three).v4 : pick(ENDPOINTS, three).v6,
    ];
    const destination = pick(destinations, four);
    const protocol = this.protocolOf(
      binding !== null && four % 3 === 1 ? binding.protocol : pick(PROTOCOLS, one >> 3),
      isV4,
    );
    const port =
      four % 3 === 1 && binding !== null ? binding.port : pick([8080, 8053, 8443, 8054, 8132, 4000, 53], two >> 3);
    return this.begin(OUTSIDE, source, destination, protocol, pick(TARGETS, four >> 5), port, four % 31 === 0);
  }

  private hairpin({ one, two, three, four }: Action): string | null {
    const endpoint = pick(ENDPOINTS, one);
    const isV4 = two % 3 !== 0;
    const bindings = [...this.reference.bindings.values()].filter(
      (each) => isIpv4(each.external) === isV4 && each.isOwn,
    );
    const binding = bindings.length > 0 && three % 2 === 0 ? pick(bindings, four) : null;
    const protocol = binding?.protocol ?? pick([UDP, TCP, SCTP], three >> 2);
    const destination = binding?.external ?? (isV4 ? EXTERNAL : EXTERNAL6);
    const port = binding?.port ?? pick([8080, 8053, 8443, 8054, 8132], four);
    if (isQuery(protocol)) return null;
    return this.begin(
      endpoint,
      isV4 ? endpoint.v4 : endpoint.v6,
      destination,
      protocol,
      pick(PORTS, two >> 3),
      port,
      false,
    );
  }

  private between({ one, two, three, four }: Action): string | null {
    const [from, to] = [pick(ENDPOINTS, one), pick(ENDPOINTS, two)];
    if (from.network === to.network) return null;
    const isV4 = three % 3 !== 0;
    const protocol = this.protocolOf(pick(PROTOCOLS, three >> 3), isV4);
    const [source, destination] = isV4 ? [from.v4, to.v4] : [from.v6, to.v6];
    return this.begin(
      from,
      source,
      destination,
      protocol,
      pick(PORTS, four),
      pick(TARGETS, four >> 4),
      four % 29 === 0,
    );
  }

  private begin(
    station: Station,
    from: string,
    to: string,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    isShort: boolean,
  ): string | null {
    const isBare = protocol === GRE;
    const identifier = 4000 + (sourcePort % 8);
    const tuple: Tuple = {
      protocol,
      source: wire.addressOf(wire.bytesOf(from)),
      destination: wire.addressOf(wire.bytesOf(to)),
      sourcePort: isBare ? 0 : isQuery(protocol) ? identifier : sourcePort,
      destinationPort: isBare ? 0 : isQuery(protocol) ? identifier : destinationPort,
    };
    const there = this.reference.byTuple.get(keyOf(tuple));
    // Between ends that know each other a connection goes on as theirs does.
    if (there !== undefined) return this.next(there.flow, there.isReply, sourcePort, isShort ? 1 : 64);
    return this.send(station, tuple, {
      flags: 'S',
      number: this.starts++ * 1_000_000,
      length: 1,
      data: 0,
      hops: isShort ? 1 : 64,
      tag: 0,
    });
  }

  /** A packet of a flow that there is, in one direction or the other. */
  private goOn({ one, two, three }: Action, isReply: boolean): string | null {
    const flows = [...this.reference.flows];
    if (flows.length === 0) return null;
    return this.next(pick(flows, one), isReply, two, three % 37 === 0 ? 1 : 64);
  }

  /** The next segment that a host would send. */
  private next(flow: Flow, wantsReply: boolean, choice: number, hops: number): string | null {
    // Who talks to itself has no other direction.
    const isReply = wantsReply && keyOf(flow.original) !== keyOf(flow.reply);
    const tuple = isReply ? flow.reply : flow.original;
    const station = STATIONS[portOf(tuple.source)];
    const protocol = tuple.protocol;
    if (protocol === SCTP) {
      const tags = { flags: isReply ? 'INIT ACK' : 'INIT', number: 0, length: 0, data: 0, hops, tag: isReply ? 1 : 0 };
      return this.send(station, tuple, tags);
    }
    if (protocol !== TCP)
      return this.send(station, tuple, { flags: isReply ? 'answer' : '', number: 0, length: 0, data: 0, hops, tag: 0 });
    const side = isReply ? 1 : 0;
    const [mine, theirs] = [flow.numbers[side], flow.numbers[1 - side]];
    const send = (flags: string, number: number, length: number, data = 0): string | null =>
      this.send(station, tuple, { flags, number, acknowledgment: theirs, length, data, hops, tag: 0 });
    switch (flow.stage) {
      case 'syn':
        if (!isReply) return send('S', mine - 1, 0);
        flow.numbers[1] = this.starts++ * 1_000_000;
        return send('SA', flow.numbers[1], 1);
      case 'synack':
        return isReply ? send('SA', mine - 1, 0) : send('A', mine, 0);
      case 'established':
        if (choice % 8 === 0) return send('FA', mine, 1);
        if (choice % 16 === 1) return send('R', mine, 0);
        return send('A', mine, choice % 900, choice % 900);
      case 'fin':
        if (flow.finished[side]) return send('A', mine, 0);
        return choice % 2 === 0 ? send('FA', mine, 1) : send('A', mine, 100, 100);
      case 'closing':
      case 'reset':
        if (!isReply) return send('S', this.starts++ * 1_000_000, 1);
        return flow.stage === 'closing' ? send('A', mine, 0) : null;
      default:
        throw new Error(`no TCP stage: ${flow.stage}`);
    }
  }

  /** A segment of no connection, to an address that hides somebody. */
  private stray({ one, two, three }: Action): string | null {
    const isV4 = two % 2 === 0;
    const bindings = [...this.reference.bindings.values()].filter(
      (each) => isIpv4(each.external) === isV4 && each.protocol === TCP,
    );
    const binding = bindings.length > 0 && three % 2 === 0 ? pick(bindings, one) : null;
    const tuple: Tuple = {
      protocol: TCP,
      source: pick(isV4 ? SERVERS4 : SERVERS6, one),
      sourcePort: 9,
      destination: binding?.external ?? (isV4 ? EXTERNAL : EXTERNAL6),
      destinationPort: binding?.port ?? pick([8080, 8443, 999], three >> 1),
    };
    return this.send(OUTSIDE, tuple, {
      flags: 'A',
      number: 5,
      acknowledgment: 6,
      length: 0,
      data: 0,
      hops: 64,
      tag: 0,
    });
  }

  private wait(seconds: number): string | null {
    const second = this.lab.dataplane.now + seconds;
    this.lab.wait(seconds);
    this.reference.passTo(second);
    const { lab, reference } = this;
    if (lab.flows.table.count === reference.flows.size) return null;
    return `second ${second}: ${lab.flows.table.count} flows, expected ${reference.flows.size}`;
  }

  // --- one packet

  private send(station: Station, tuple: Tuple, segment: Segment): string | null {
    return this.judge(station, tuple, segment, [packetOf(tuple, segment)]);
  }

  private inFragments({ one, two, three, four }: Action): string | null {
    const endpoint = pick(ENDPOINTS, one);
    const isV4 = two % 2 === 0;
    const flows = [...this.reference.flows].filter(({ original }) => original.protocol === UDP);
    let tuple: Tuple = {
      protocol: UDP,
      source: isV4 ? endpoint.v4 : endpoint.v6,
      sourcePort: pick(PORTS, three),
      destination: pick(isV4 ? SERVERS4 : SERVERS6, three >> 3),
      destinationPort: pick(TARGETS, three >> 5),
    };
    if (flows.length > 0 && four % 2 === 0) {
      const flow = pick(flows, four >> 1);
      tuple = four % 4 === 0 ? flow.reply : flow.original;
    }
    const segment = { flags: '', number: 0, length: 0, data: 1200, hops: 64, tag: 0 };
    const whole = packetOf(tuple, segment);
    if (isIpv4(tuple.source)) new DataView(whole.buffer, whole.byteOffset).setUint16(4, one);
    const pieces = isIpv4(tuple.source) ? wire.fragments4(whole, 808) : wire.fragments6(whole, 808, one);
    if (three % 2 === 0) pieces.reverse();
    return this.judge(STATIONS[portOf(tuple.source)], tuple, segment, pieces);
  }

  /** Hands a packet to both, in one piece or several. */
  private judge(station: Station, tuple: Tuple, segment: Segment, pieces: readonly Uint8Array[]): string | null {
    const { lab, reference } = this;
    const given: Given = {
      port: station.port,
      tuple,
      hops: segment.hops,
      flags: segment.flags,
      length: segment.length,
    };
    const before = lab.counters.slice(0, TOLD);
    this.asked = station === OUTSIDE ? tuple.destination : '';
    const verdict = reference.take(given);
    const sent = pieces
      .flatMap((piece) => lab.give(station, piece))
      .filter(({ frame }) => frame[13] !== 6 && !isDiscovery(frame));
    this.packets += pieces.length;
    const reasons = reasonsSince(before, lab);
    const what = `${keyOf(tuple)} ${segment.flags}${pieces.length > 1 ? ' in fragments' : ''}`;
    this.note(verdict.kind === 'drop' ? `dropped ${verdict.reason}` : verdict.kind);
    const leak = this.leakOf(sent);
    if (leak !== null) return `${what}: ${leak}`;
    if (verdict.kind === 'drop' || verdict.kind === 'held') {
      const wanted = verdict.kind === 'held' ? '' : verdict.reason;
      if (reasons !== wanted) return `${what}: ${describeAll(sent)} dropped "${reasons}", expected "${wanted}"`;
      const strange = sent.find(({ port }) => port !== station.port);
      return strange === undefined ? null : `${what}: dropped, and yet ${describeAll(sent)}`;
    }
    if (reasons !== '') return `${what}: dropped "${reasons}", expected ${JSON.stringify(verdict)}`;
    if (sent.length !== 1) return `${what}: ${sent.length} packets left`;
    const seen = wire.read(wire.ipOf(sent[0].frame));
    if (verdict.kind === 'answer') return sent[0].port === station.port ? null : `${what}: not answered`;
    if (sent[0].port !== verdict.port) return `${what}: left by ${sent[0].port}, expected ${verdict.port}`;
    if (seen.hops !== segment.hops - 1) return `${what}: ${seen.hops} hops left`;
    const left = tupleOf(seen);
    if (verdict.kind === 'choice') {
      const wrong = verdict.learn(left.source, left.sourcePort);
      if (wrong !== null) return `${what}: ${wrong}`;
    }
    const found = reference.byTuple.get(keyOf(tuple));
    if (found === undefined) return `${what}: the reference has no flow`;
    const expected = mirrored(found.isReply ? found.flow.original : found.flow.reply);
    if (keyOf(left) !== keyOf(expected)) return `${what}: left as ${keyOf(left)}, expected ${keyOf(expected)}`;
    if (tuple.protocol === TCP && verdict.kind !== 'forward' && segment.flags === 'S')
      found.flow.numbers[0] = segment.number + 1;
    else if (tuple.protocol === TCP && segment.flags === 'S' && !found.isReply)
      found.flow.numbers[0] = segment.number + 1;
    return this.compareRest(pieces, packetOf(tuple, segment), seen.bytes, what);
  }

  /** What translation leaves alone. */
  private compareRest(pieces: readonly Uint8Array[], given: Uint8Array, left: Uint8Array, what: string): string | null {
    if (given.length !== left.length) return `${what}: ${left.length} octets left of ${given.length}`;
    const isV4 = given[0] >> 4 === 4;
    const [start, protocol] = isV4 ? [20, given[9]] : [40, given[6]];
    const changed = new Set<number>();
    const mark = (from: number, count: number): void => {
      for (let i = 0; i < count; i++) changed.add(from + i);
    };
    if (isV4)
      for (const [at, count] of [
        [8, 1],
        [10, 2],
        [12, 8],
      ])
        mark(at, count);
    else
      for (const [at, count] of [
        [7, 1],
        [8, 32],
      ])
        mark(at, count);
    if (isV4 && pieces.length > 1) mark(4, 2);
    if (protocol === ICMP || protocol === ICMPV6) mark(start + 2, 4);
    else if (protocol !== GRE) {
      mark(start, 4);
      mark(start + (protocol === TCP ? 16 : protocol === SCTP ? 8 : 6), protocol === SCTP ? 4 : 2);
    }
    for (let i = 0; i < given.length; i++) {
      if (!changed.has(i) && given[i] !== left[i]) return `${what}: octet ${i} changed from ${given[i]} to ${left[i]}`;
    }
    return null;
  }

  // --- errors

  /** About a packet of a live flow, from where that has come to, or from a router on the way there. */
  private error({ one, two, three, four }: Action): string | null {
    const flows = [...this.reference.flows];
    if (flows.length === 0) return null;
    const flow = pick(flows, one);
    if (keyOf(flow.original) === keyOf(flow.reply)) return null;
    const isReply = two % 2 === 0;
    const arriving = isReply ? flow.reply : flow.original;
    const leaving = mirrored(isReply ? flow.original : flow.reply);
    const isV4 = isIpv4(arriving.source);
    const station = STATIONS[portOf(arriving.source)];
    const isFromEnd = three % 2 === 0;
    const router = routerBeside(arriving.source, isV4);
    const outer = isFromEnd ? arriving.source : router;
    const quoted = packetOf(mirrored(arriving), { ...QUOTED, flags: quotedFlags(flow, !isReply) });
    const [type, code] = pick(isV4 ? ERRORS4 : ERRORS6, four);
    const length = four % 5 === 0 ? (isV4 ? 28 : 48) : quoted.length;
    const bytes = wire.icmp(outer, arriving.destination, type, code, 7, quoted.slice(0, length));
    const before = this.lab.counters.slice(0, TOLD);
    const sent = this.lab.give(station, bytes).filter(({ frame }) => !isDiscovery(frame));
    this.packets++;
    this.note('error');
    const what = `error ${type}/${code} about ${keyOf(mirrored(arriving))}`;
    const leak = this.leakOf(sent);
    if (leak !== null) return `${what}: ${leak}`;
    const reasons = reasonsSince(before, this.lab);
    if (sent.length !== 1 || reasons !== '') return `${what}: ${sent.length} packets left, dropped "${reasons}"`;
    const seen = wire.read(wire.ipOf(sent[0].frame));
    const isHidden = isFromEnd || (isReply ? flow.isDestinationTranslated : flow.isSourceTranslated);
    const source = isHidden ? leaving.source : router;
    if (sent[0].port !== portOf(leaving.destination)) return `${what}: left by ${sent[0].port}`;
    if (seen.source !== source || seen.destination !== leaving.destination)
      return `${what}: from ${seen.source} to ${seen.destination}, expected ${source} to ${leaving.destination}`;
    const quote = tupleOf(wire.readQuote(seen.payload));
    if (keyOf(quote) !== keyOf(mirrored(leaving)))
      return `${what}: quotes ${keyOf(quote)}, expected ${keyOf(mirrored(leaving))}`;
    if (length === quoted.length && !wire.isQuoteWhole(seen.payload)) return `${what}: wrong quoted checksum`;
    return null;
  }

  // --- what must not be

  /** An address of a network that hides it, in what leaves by the uplink: outside, or inside an ICMP error. */
  private leakOf(sent: readonly { port: number; frame: Uint8Array }[]): string | null {
    for (const { port, frame } of sent) {
      if (port !== UPLINK_PORT) continue;
      const seen = wire.read(wire.ipOf(frame));
      const all = wire.isError(seen) ? [seen, wire.readQuote(seen.payload)] : [seen];
      for (const { source, destination } of all) {
        for (const address of [source, destination]) {
          if (this.isHidden(address)) return `${address} leaves by the uplink`;
        }
      }
    }
    return null;
  }

  private isHidden(address: string): boolean {
    const network = networkOf(address);
    // What somebody outside has sent there himself, an answer may quote.
    return network !== 0 && address !== this.asked && this.reference.hides(network, address);
  }

  /** Where the packet in hand was sent to, if it came from outside. */
  private asked = '';

  private protocolOf(protocol: number, isV4: boolean): number {
    // Which address of a pool a protocol without ports gets is not told beforehand, and it may be taken.
    if (protocol === GRE && this.world.networks[1]?.sources4 === POOL) return UDP;
    return protocol === ICMP && !isV4 ? ICMPV6 : protocol;
  }

  private note(name: string): void {
    this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
  }
}

interface Segment {
  readonly flags: string;
  readonly number: number;
  readonly acknowledgment?: number;
  /** Numbers that it takes. */
  readonly length: number;
  /** Octets of payload. */
  readonly data: number;
  readonly hops: number;
  /** SCTP. */
  readonly tag: number;
}

const QUOTED: Segment = { flags: '', number: 1, length: 0, data: 40, hops: 3, tag: 0 };
const ERRORS4: readonly [number, number][] = [
  [3, 1],
  [3, 3],
  [3, 4],
  [11, 0],
  [12, 0],
];
const ERRORS6: readonly [number, number][] = [
  [1, 0],
  [1, 4],
  [2, 0],
  [3, 0],
  [4, 1],
];

function quotedFlags(flow: Flow, isReply: boolean): string {
  return flow.original.protocol === TCP ? 'A' : isReply ? 'answer' : '';
}

function packetOf(tuple: Tuple, segment: Segment): Uint8Array {
  const from = wire.textOf(tuple.source, tuple.sourcePort);
  const to = wire.textOf(tuple.destination, tuple.destinationPort);
  return wire.withHops(bareOf(tuple, segment, from, to), segment.hops);
}

function bareOf(tuple: Tuple, segment: Segment, from: string, to: string): Uint8Array {
  const { flags, number, acknowledgment = 0 } = segment;
  const data = wire.filler(segment.data);
  switch (tuple.protocol) {
    case TCP:
      return wire.tcp(from, to, {
        flags,
        sequence: number,
        acknowledgment: flags.includes('A') ? acknowledgment : 0,
        data,
      });
    case UDP:
      return wire.udp(from, to, data);
    case SCTP:
      return wire.sctp(
        from,
        to,
        segment.tag === 0 ? 1 : 2,
        segment.tag === 0 ? 0 : 0x11,
        segment.tag === 0 ? 0x11 : 0x22,
      );
    case GRE:
      return wire.gre(from, to);
    default:
      return wire.echo(tuple.source, tuple.destination, tuple.sourcePort, flags === 'answer', data);
  }
}

function tupleOf(seen: wire.Seen): Tuple {
  const { protocol, source, sourcePort, destination, destinationPort } = seen;
  return { protocol, source, sourcePort, destination, destinationPort };
}

function routerBeside(end: string, isV4: boolean): string {
  const network = networkOf(end);
  if (network === 0) return isV4 ? '192.0.2.77' : '2001:db8:77::1';
  return isV4 ? `10.${network}.0.250` : `fd00:${network}::fa`;
}

function isDiscovery(frame: Uint8Array): boolean {
  return frame[12] === 0x86 && frame[20] === 58 && frame[54] >= 133 && frame[54] <= 137;
}

function reasonsSince(before: Float64Array, lab: NatLab): string {
  const names: string[] = [];
  for (let port = 0; port <= SPARE_PORT; port++) {
    DROP_REASONS.forEach(({ name }, reason) => {
      const at = port * COUNTER_BLOCK + COUNTER_RX_DROPS + reason;
      if (lab.counters[at] !== before[at]) names.push(name);
    });
  }
  return names.join();
}

function timeoutsOf({ timeouts }: World): Record<number, number> {
  return Object.fromEntries(
    Object.entries(STATES).flatMap(([stage, states]) => states.map((state) => [state, timeouts[stage as Stage]])),
  );
}

function translationOf({ networks }: World, number: number): TranslationOptions | null {
  const network = networks[number] ?? null;
  if (network === null || network === NOT_TRANSLATED) return null;
  const { sources4, sources6, prefix } = network;
  return {
    sources4: sources4 === null ? null : Int32Array.from(sources4, word4),
    sources6: sources6 === null ? null : Int32Array.from(sources6.flatMap(words6)),
    prefixes: Int32Array.from(prefix === null ? [] : prefix.flatMap((text) => [...words6(text), 48])),
  };
}

/** Of a port that is published at any address, one record; `[::]` and 0.0.0.0 stand for that. */
function publicationOf({ protocol, address, port, target, targetPort }: Published): Publication[] {
  const any = isIpv4(target) ? '0.0.0.0' : '::';
  const station = STATIONS[portOf(target)];
  return [{ protocol, at: wire.textOf(address ?? any, port), to: wire.textOf(target, targetPort), station }];
}

function ruleOf(rule: Rule): RuleSpec {
  const action = { accept: POLICY_ACCEPT, drop: POLICY_DROP, reject: POLICY_REJECT }[rule.action];
  const { from: fromIface, to: toIface, protocol } = rule;
  return { action, fromIface, toIface, protocol, ...(rule.port === 0 ? {} : { port: rule.port }) };
}

function describeAll(sent: readonly { port: number; frame: Uint8Array }[]): string {
  return sent.map(({ port, frame }) => `${port} ${wire.describe(wire.read(wire.ipOf(frame)))}`).join(', ');
}

/** Packets and outcomes of all worlds. */
const RUNS = 12;
const LEAST_PACKETS = 5000;

for (const world of WORLDS) {
  test(`agrees with a reference over any history: ${world.name}`, (t) => {
    t.timeout(180_000);
    const seed = seedOfRun();
    const seen = new Map<string, number>();
    let packets = 0;
    t.log(rerunLine(seed, FILE));
    const result = fc.check(
      fc.property(fc.array(action, { minLength: 400, maxLength: 640, size: 'max' }), (actions) => {
        const twins = new Twins(world);
        actions.forEach((each, i) => {
          const difference = twins.take(each);
          if (difference !== null) throw new Error(`step ${i}: ${difference}`);
        });
        const difference = twins.finish();
        if (difference !== null) throw new Error(difference);
        packets += twins.packets;
        for (const [name, count] of twins.seen) seen.set(name, (seen.get(name) ?? 0) + count);
      }),
      // Of hundreds of steps each of which builds on those before, smaller counterexamples take minutes.
      { numRuns: RUNS, seed, endOnFailure: true },
    );
    t.false(result.failed, `run ${result.numRuns}, ${result.errorInstance}`);
    t.log(`${packets} packets`, Object.fromEntries(seen));
    t.true(packets >= LEAST_PACKETS, `${packets} packets`);
    for (const name of ['forward', 'choice', 'error', 'dropped ttl_exceeded']) t.true((seen.get(name) ?? 0) > 0, name);
  });
}
