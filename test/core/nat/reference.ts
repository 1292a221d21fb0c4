/**
 * A slow address translator of plain maps and objects, written from RFC 4787, 5382, 5508, 6296 and 7857 and from what Tapline promises, for
 * comparison with the dataplane. Which port a new mapping gets is the dataplane's choice: the reference says what it may be, is told what it
 * was (`Choice.learn`), and holds the dataplane to it from then on.
 */

import { addressOf, bytesOf } from './wire.js';

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const GRE = 47;
export const ICMPV6 = 58;
export const SCTP = 132;

/** Stations by port: where packets come in. */
export const UPLINK_PORT = 6;

export interface Tuple {
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

export function mirrored(tuple: Tuple): Tuple {
  return {
    protocol: tuple.protocol,
    source: tuple.destination,
    sourcePort: tuple.destinationPort,
    destination: tuple.source,
    destinationPort: tuple.sourcePort,
  };
}

export function keyOf(tuple: Tuple): string {
  return `${tuple.protocol} ${tuple.source} ${tuple.sourcePort} ${tuple.destination} ${tuple.destinationPort}`;
}

/** How far a flow is: names of timeouts. */
export type Stage =
  | 'syn'
  | 'synack'
  | 'established'
  | 'fin'
  | 'closing'
  | 'reset'
  | 'udp'
  | 'stream'
  | 'icmp'
  | 'other'
  | 'sctp';

export interface Binding {
  readonly external: string;
  readonly protocol: number;
  readonly port: number;
  readonly internal: string;
  readonly internalPort: number;
  /** Endpoint-independent: one internal address and port has it, and others may come in by it. */
  readonly isOwn: boolean;
  /** Flows that hold it. */
  readonly holders: Set<Flow>;
}

export interface Flow {
  readonly original: Tuple;
  readonly reply: Tuple;
  /** Port of the station that began it. */
  readonly owner: number;
  readonly isSourceTranslated: boolean;
  readonly isDestinationTranslated: boolean;
  readonly binding: Binding | null;
  /** What let it in: held from the first answer on. */
  entered: Binding | null;
  /** Whom it has sent to, for filters. */
  readonly remote: string;
  stage: Stage;
  expires: number;
  isReplied: boolean;
  /** TCP: next numbers of both sides; of SCTP the tags. */
  numbers: [number, number];
  finished: [boolean, boolean];
}

export interface Network {
  /** Addresses to leave from; empty: the uplink's; null: its own. */
  readonly sources4: readonly string[] | null;
  readonly sources6: readonly string[] | null;
  /** Prefixes of 48 bits: inside, outside. */
  readonly prefix: readonly [string, string] | null;
}

export interface Published {
  readonly protocol: number;
  /** Null: all own addresses of the target's family. */
  readonly address: string | null;
  readonly port: number;
  readonly target: string;
  readonly targetPort: number;
}

export interface Rule {
  readonly action: 'accept' | 'drop' | 'reject';
  /** Numbers of interfaces; 0: any. */
  readonly from: number;
  readonly to: number;
  readonly protocol: number;
  /** Of the destination, before or after translation; 0: any. */
  readonly port: number;
}

export interface World {
  /** By number, from 1. */
  readonly networks: readonly (Network | null)[];
  readonly external4: string;
  readonly external6: string;
  readonly isInterconnected: boolean;
  readonly isEndpointIndependent: boolean;
  readonly filtering: 'independent' | 'address' | 'port';
  readonly firstPort: number;
  readonly lastPort: number;
  readonly flowsPerEndpoint: number;
  readonly published: readonly Published[];
  readonly rules: readonly Rule[];
  readonly timeouts: Readonly<Record<Stage, number>>;
}

/** A packet that begins a connection or goes on with one. */
export interface Given {
  /** Port that it comes in by. */
  readonly port: number;
  readonly tuple: Tuple;
  readonly hops: number;
  /** TCP: its letters; ICMP: whether it is an answer. */
  readonly flags: string;
  /** TCP: octets that it takes in the sequence. */
  readonly length: number;
}

export interface Forward {
  readonly kind: 'forward';
  readonly port: number;
  readonly tuple: Tuple;
}

/** It leaves from an address and port that the dataplane chooses. */
export interface Choice {
  readonly kind: 'choice';
  readonly port: number;
  readonly tuple: Tuple;
  /** What it left from. @returns what is wrong with that, or null */
  readonly learn: (source: string, sourcePort: number) => string | null;
}

export interface Drop {
  readonly kind: 'drop';
  readonly reason: string;
}

/** Answered by the router itself. */
export interface Answer {
  readonly kind: 'answer';
}

/** Kept for six seconds. */
export interface Held {
  readonly kind: 'held';
}

export type Verdict = Forward | Choice | Drop | Answer | Held;

const UPLINK = 4;

function drop(reason: string): Drop {
  return { kind: 'drop', reason };
}

export function isIpv4(address: string): boolean {
  return address.includes('.');
}

/** Number of the network that an address is in; 0: it is outside. */
export function networkOf(address: string): number {
  const found = /^(?:10\.(\d)\.0\.|fd00:(\d):)/.exec(address);
  return found === null ? 0 : Number(found[1] ?? found[2]);
}

/** Port of the station with an address. */
export function portOf(address: string): number {
  if (networkOf(address) === 0) return UPLINK_PORT;
  return Number(address.slice(-1));
}

export class ReferenceNat {
  now = 0;
  readonly flows = new Set<Flow>();
  readonly bindings = new Map<string, Binding>();
  readonly byTuple = new Map<string, { readonly flow: Flow; readonly isReply: boolean }>();
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  /** The clock goes on. */
  passTo(second: number): void {
    this.now = second;
    for (const flow of [...this.flows]) if (flow.expires <= second) this.end(flow);
  }

  end(flow: Flow): void {
    this.flows.delete(flow);
    this.byTuple.delete(keyOf(flow.original));
    this.byTuple.delete(keyOf(flow.reply));
    for (const binding of [flow.binding, flow.entered]) {
      if (binding === null || !binding.holders.delete(flow) || binding.holders.size > 0) continue;
      this.bindings.delete(bindingKey(binding.external, binding.protocol, binding.port));
    }
  }

  /** What becomes of a packet. */
  take(given: Given): Verdict {
    const found = this.byTuple.get(keyOf(given.tuple));
    if (found === undefined) return this.begin(given);
    const { flow, isReply } = found;
    const isOver = flow.stage === 'closing' || flow.stage === 'reset';
    if (given.tuple.protocol === TCP && given.flags === 'S' && isOver) {
      this.end(flow);
      return this.begin(given);
    }
    const out = mirrored(isReply ? flow.original : flow.reply);
    if (given.hops <= 1) {
      this.step(flow, isReply, given);
      return drop('ttl_exceeded');
    }
    this.step(flow, isReply, given);
    return { kind: 'forward', port: portOf(out.destination), tuple: out };
  }

  // --- a flow goes on

  private step(flow: Flow, isReply: boolean, { flags, length }: Given): void {
    const before = `${flow.stage} ${flow.isReplied}`;
    if (flow.original.protocol === TCP) this.stepTcp(flow, isReply ? 1 : 0, flags, length);
    else if (isReply && flow.stage === 'udp') flow.stage = 'stream';
    flow.isReplied ||= isReply;
    flow.expires = this.now + this.world.timeouts[flow.stage];
    const isOver = flow.stage === 'reset' || flow.stage === 'closing';
    if (flow.isReplied && !isOver && before !== `${flow.stage} ${flow.isReplied}`) this.enter(flow);
  }

  private stepTcp(flow: Flow, side: 0 | 1, flags: string, length: number): void {
    flow.numbers[side] += length;
    if (flags.includes('R')) flow.stage = 'reset';
    else if (flags === 'SA') flow.stage = flow.stage === 'syn' ? 'synack' : flow.stage;
    else if (flags === 'A' && flow.stage === 'synack' && side === 0) flow.stage = 'established';
    else if (flags.includes('F')) {
      flow.finished[side] = true;
      flow.stage = flow.finished[0] && flow.finished[1] ? 'closing' : 'fin';
    }
  }

  /** The inside has answered what came in by a mapping, which holds that from now on. */
  private enter(flow: Flow): void {
    if (flow.entered === null || flow.entered.holders.has(flow)) return;
    const { external, protocol, port, internal, internalPort } = flow.entered;
    const there = this.bindings.get(bindingKey(external, protocol, port));
    if (there !== undefined && (there.internal !== internal || there.internalPort !== internalPort)) return;
    flow.entered = there ?? this.bind(external, protocol, port, internal, internalPort);
    flow.entered.holders.add(flow);
  }

  // --- a flow begins

  private begin(given: Given): Verdict {
    const { tuple, port } = given;
    const from = interfaceOf(port);
    const inward = this.inward(given, from);
    if ('kind' in inward) return inward;
    const { after, entered, isTranslated, isInvited } = inward;
    if (this.isOwn(after.destination)) return this.deliver(tuple);
    const to = networkOf(after.destination) || UPLINK;
    if (given.hops <= 1) return drop(this.isOpen(from, to) ? 'ttl_exceeded' : 'prohibited');
    const refused = this.judge(tuple, after, from, to, isInvited);
    if (refused !== null) return refused;
    return this.outward(given, after, from, to, entered, isTranslated);
  }

  /** The inside that a destination stands for. */
  private inward(
    given: Given,
    from: number,
  ): Verdict | { after: Tuple; entered: Binding | null; isTranslated: boolean; isInvited: boolean } {
    const { tuple } = given;
    const { protocol, destination, destinationPort } = tuple;
    const same = { after: tuple, entered: null, isTranslated: false, isInvited: false };
    if (!this.isOwn(destination)) return from === UPLINK ? this.inwardPrefix(tuple, same) : same;
    const published = this.world.published.find((one) =>
      this.isPublishedAt(one, protocol, destination, destinationPort),
    );
    if (published !== undefined) {
      const after = { ...tuple, destination: published.target, destinationPort: published.targetPort };
      return { after, entered: null, isTranslated: true, isInvited: true };
    }
    const binding = hasPorts(protocol)
      ? this.bindings.get(bindingKey(destination, protocol, destinationPort))
      : undefined;
    if (binding?.isOwn === true) {
      if (from === UPLINK && !this.mayEnter(binding, tuple.source)) return drop('filtered');
      const after = { ...tuple, destination: binding.internal, destinationPort: binding.internalPort };
      return { after, entered: binding, isTranslated: true, isInvited: true };
    }
    if (protocol === TCP && from === UPLINK) return given.flags === 'S' ? { kind: 'held' } : drop('no_flow');
    return same;
  }

  private inwardPrefix(
    tuple: Tuple,
    same: { after: Tuple; entered: null; isTranslated: boolean; isInvited: boolean },
  ): Verdict | typeof same {
    for (const network of this.world.networks) {
      const prefix = network?.prefix ?? null;
      if (prefix === null || isIpv4(tuple.destination) || !isInside(tuple.destination, prefix[1])) continue;
      const destination = translatePrefix(tuple.destination, prefix[1], prefix[0]);
      return { after: { ...tuple, destination }, entered: null, isTranslated: true, isInvited: true };
    }
    return same;
  }

  private isPublishedAt(one: Published, protocol: number, address: string, port: number): boolean {
    if (one.protocol !== protocol || one.port !== port) return false;
    return one.address === null ? isIpv4(one.target) === isIpv4(address) : one.address === address;
  }

  private mayEnter(binding: Binding, source: string): boolean {
    if (this.world.filtering === 'independent') return true;
    if (this.world.filtering === 'port') return false;
    return [...binding.holders].some((flow) => flow.binding === binding && flow.remote === source);
  }

  /** To the router itself. */
  private deliver({ protocol }: Tuple): Verdict {
    return protocol === ICMP || protocol === ICMPV6 ? { kind: 'answer' } : drop('not_listening');
  }

  private judge(before: Tuple, after: Tuple, from: number, to: number, isInvited: boolean): Verdict | null {
    const rule = this.world.rules.find((one) => fits(one, before, after, from, to));
    if (rule !== undefined && rule.action !== 'accept') return drop('policy');
    if (!this.isOpen(from, to) && rule === undefined && !isInvited) return drop('prohibited');
    const isHidden = to !== UPLINK && this.hides(to, after.destination);
    if (from === UPLINK && isHidden && rule === undefined && !isInvited) return drop('not_published');
    return null;
  }

  private isOpen(from: number, to: number): boolean {
    return from === to || from === UPLINK || to === UPLINK || this.world.isInterconnected;
  }

  /** Whether the world outside knows an address of a network by another. */
  hides(network: number, address: string): boolean {
    const prefix = this.world.networks[network]?.prefix ?? null;
    return (
      this.sourcesOf(network, address) !== null || (!isIpv4(address) && prefix !== null && isInside(address, prefix[0]))
    );
  }

  private sourcesOf(network: number, address: string): readonly string[] | null {
    const one = this.world.networks[network] ?? null;
    if (one === null) return null;
    return isIpv4(address) ? one.sources4 : one.sources6;
  }

  /** The source that it leaves with. */
  private outward(
    given: Given,
    after: Tuple,
    from: number,
    to: number,
    entered: Binding | null,
    isTranslated: boolean,
  ): Verdict {
    const { tuple } = given;
    const prefix = this.world.networks[from]?.prefix ?? null;
    if (to === UPLINK && prefix !== null && !isIpv4(tuple.source) && isInside(tuple.source, prefix[0])) {
      const source = translatePrefix(tuple.source, prefix[0], prefix[1]);
      return this.add(given, { ...after, source }, null, entered, isTranslated);
    }
    const pool = this.sourcesOf(from, tuple.source);
    const isHidden = pool !== null && from !== UPLINK && (to === UPLINK || isTranslated);
    if (!isHidden && !(isTranslated && from === to)) {
      if ((isTranslated || this.isStray(given)) && given.tuple.protocol === TCP && given.flags !== 'S')
        return drop('no_flow');
      const verdict = this.add(given, after, null, entered, isTranslated);
      // The client's port is another connection's there already, that came by another published port: this one comes from the router.
      const isPublished = isTranslated && this.isReserved(tuple.protocol, tuple.destination, tuple.destinationPort);
      if (verdict.kind !== 'drop' || verdict.reason !== 'ports_exhausted' || !isPublished) return verdict;
      return this.hide(given, after, [tuple.destination], entered, isTranslated);
    }
    if (tuple.protocol === TCP && given.flags !== 'S') return drop('no_flow');
    return this.hide(given, after, this.candidates(pool, tuple, to), entered, isTranslated);
  }

  /** Tests send no segment in the middle where nothing is translated. */
  private isStray({ flags, tuple }: Given): boolean {
    return tuple.protocol === TCP && flags !== 'S';
  }

  /** External addresses that it may leave from. */
  private candidates(pool: readonly string[] | null, tuple: Tuple, to: number): readonly string[] {
    if (pool !== null && pool.length > 0) {
      // Paired (RFC 4787, REQ-2): the one that the endpoint has mappings at.
      const paired = [...this.bindings.values()].filter(
        (one) => one.internal === tuple.source && pool.includes(one.external),
      );
      return paired.length > 0 ? [paired[0].external] : pool;
    }
    if (to !== UPLINK) return [tuple.destination];
    return [isIpv4(tuple.source) ? this.world.external4 : this.world.external6];
  }

  private hide(
    given: Given,
    after: Tuple,
    externals: readonly string[],
    entered: Binding | null,
    isTranslated: boolean,
  ): Verdict {
    const { protocol, source: internal, sourcePort: internalPort } = given.tuple;
    const left = (external: string, port: number): Tuple => ({
      ...after,
      source: external,
      sourcePort: port,
      destinationPort: isQuery(protocol) ? port : after.destinationPort,
    });
    for (const external of externals) {
      const known = this.publishedPort(protocol, internal, internalPort, external);
      if (known >= 0) return this.add(given, left(external, known), null, entered, isTranslated);
      const own = this.findOwn(external, protocol, internal, internalPort);
      if (own !== undefined) return this.add(given, left(external, own.port), own, entered, isTranslated);
    }
    if (!hasPorts(protocol) && !isQuery(protocol)) {
      if (externals.every((external) => this.isTaken(left(external, 0)))) return drop('ports_exhausted');
    }
    if (this.isLimited(given)) return drop('flow_limit');
    const learn = (source: string, port: number): string | null => {
      if (!externals.includes(source)) return `left from ${source}, not from ${externals.join(' or ')}`;
      const wrong = this.problemOf(left(source, port), internalPort, source);
      if (wrong !== null) return wrong;
      const binding = this.bind(source, protocol, port, internal, internalPort);
      this.insert(given, left(source, port), binding, entered, isTranslated);
      return null;
    };
    return { kind: 'choice', port: portOf(after.destination), tuple: left(externals[0], internalPort), learn };
  }

  private findOwn(external: string, protocol: number, internal: string, port: number): Binding | undefined {
    return [...this.bindings.values()].find(
      (one) =>
        one.isOwn &&
        one.external === external &&
        one.protocol === protocol &&
        one.internal === internal &&
        one.internalPort === port,
    );
  }

  private publishedPort(protocol: number, internal: string, port: number, external: string): number {
    const one = this.world.published.find(
      (each) =>
        each.protocol === protocol &&
        each.target === internal &&
        each.targetPort === port &&
        (each.address === null || each.address === external),
    );
    return one?.port ?? -1;
  }

  /** Why a new mapping may not be at this port. */
  private problemOf(left: Tuple, wanted: number, external: string): string | null {
    const { protocol, sourcePort: port } = left;
    if (!hasPorts(protocol) && !isQuery(protocol)) return port === 0 ? null : `port ${port} of a protocol without`;
    const { firstPort, lastPort, isEndpointIndependent } = this.world;
    const isFree = (one: number): boolean => {
      if (one < firstPort || one > lastPort || this.isReserved(protocol, external, one)) return false;
      if (isEndpointIndependent && this.bindings.has(bindingKey(external, protocol, one))) return false;
      return !this.isTaken({
        ...left,
        sourcePort: one,
        destinationPort: isQuery(protocol) ? one : left.destinationPort,
      });
    };
    if (!isFree(port)) return `port ${port} is not free`;
    return isFree(wanted) && port !== wanted ? `port ${wanted} is free, but it left from ${port}` : null;
  }

  private isReserved(protocol: number, external: string, port: number): boolean {
    return this.world.published.some((one) => this.isPublishedAt(one, protocol, external, port));
  }

  private isTaken(left: Tuple): boolean {
    return this.byTuple.has(keyOf(mirrored(left)));
  }

  private bind(external: string, protocol: number, port: number, internal: string, internalPort: number): Binding {
    const key = bindingKey(external, protocol, port);
    const there = this.bindings.get(key);
    const isOwn =
      this.world.isEndpointIndependent &&
      (hasPorts(protocol) || isQuery(protocol)) &&
      this.findOwn(external, protocol, internal, internalPort) === undefined;
    const binding = there ?? { external, protocol, port, internal, internalPort, isOwn, holders: new Set<Flow>() };
    this.bindings.set(key, binding);
    return binding;
  }

  private isLimited({ port }: Given): boolean {
    if (port === UPLINK_PORT) return false;
    return [...this.flows].filter((flow) => flow.owner === port).length >= this.world.flowsPerEndpoint;
  }

  /** A flow whose packets leave with this tuple. */
  private add(
    given: Given,
    left: Tuple,
    binding: Binding | null,
    entered: Binding | null,
    isTranslated: boolean,
  ): Verdict {
    if (this.isLimited(given)) return drop('flow_limit');
    const reply = keyOf(mirrored(left));
    const other = this.byTuple.get(reply)?.flow;
    if (other !== undefined) {
      // One that is over makes room.
      if (other.stage !== 'closing' && other.stage !== 'reset') return drop('ports_exhausted');
      this.end(other);
    }
    this.insert(given, left, binding, entered, isTranslated);
    return { kind: 'forward', port: portOf(left.destination), tuple: left };
  }

  private insert(
    given: Given,
    left: Tuple,
    binding: Binding | null,
    entered: Binding | null,
    isTranslated: boolean,
  ): void {
    const { tuple, port } = given;
    const stage = firstStage(tuple.protocol);
    const flow: Flow = {
      original: tuple,
      reply: mirrored(left),
      owner: port,
      isSourceTranslated: left.source !== tuple.source || left.sourcePort !== tuple.sourcePort,
      isDestinationTranslated: isTranslated,
      binding,
      entered,
      remote: left.destination,
      stage,
      expires: this.now + this.world.timeouts[stage],
      isReplied: false,
      numbers: [given.length, 0],
      finished: [false, false],
    };
    for (const one of [flow.original, flow.reply]) {
      if (this.byTuple.has(keyOf(one))) throw new Error(`two flows share ${keyOf(one)}`);
    }
    this.flows.add(flow);
    this.byTuple.set(keyOf(flow.reply), { flow, isReply: true });
    // Second: who talks to its own mapping has one tuple for both.
    this.byTuple.set(keyOf(flow.original), { flow, isReply: false });
    binding?.holders.add(flow);
  }

  isOwn(address: string): boolean {
    const { external4, external6, networks } = this.world;
    if (address === external4 || address === external6) return true;
    if (networks.some((network) => network?.sources4?.includes(address) === true)) return true;
    return /^(10\.\d\.0\.1|fd00:\d::1)$/.test(address);
  }
}

export function interfaceOf(port: number): number {
  return [0, 1, 1, 2, 2, 3, UPLINK][port];
}

function bindingKey(external: string, protocol: number, port: number): string {
  return `${external} ${protocol} ${port}`;
}

function hasPorts(protocol: number): boolean {
  return protocol === TCP || protocol === UDP || protocol === SCTP;
}

export function isQuery(protocol: number): boolean {
  return protocol === ICMP || protocol === ICMPV6;
}

function firstStage(protocol: number): Stage {
  if (protocol === TCP) return 'syn';
  if (protocol === UDP) return 'udp';
  if (protocol === SCTP) return 'sctp';
  return isQuery(protocol) ? 'icmp' : 'other';
}

function fits(rule: Rule, before: Tuple, after: Tuple, from: number, to: number): boolean {
  if (rule.from !== 0 && rule.from !== from) return false;
  if (rule.to !== 0 && rule.to !== to) return false;
  if (rule.protocol !== 0 && rule.protocol !== before.protocol) return false;
  if (rule.port === 0 || rule.port === after.destinationPort) return true;
  return rule.to === 0 && rule.port === before.destinationPort;
}

function isInside(address: string, prefix: string): boolean {
  return bytesOf(prefix)
    .slice(0, 6)
    .every((byte, i) => byte === bytesOf(address)[i]);
}

/** RFC 6296, 3.1, for prefixes of 48 bits: the subnet's word takes up the difference of the sums. */
export function translatePrefix(address: string, from: string, to: string): string {
  const words = (text: string): number[] => {
    const bytes = bytesOf(text);
    return Array.from({ length: 8 }, (_, i) => bytes[2 * i] * 256 + bytes[2 * i + 1]);
  };
  const sum = (list: number[]): number => list.reduce((total, word) => (total + word) % 0xffff, 0);
  const prefix = words(to).slice(0, 3);
  const rest = words(address).slice(3);
  const difference = (sum(words(from).slice(0, 3)) - sum(prefix) + 0xffff) % 0xffff;
  rest[0] = (rest[0] + difference) % 0xffff;
  return addressOf([...prefix, ...rest].flatMap((word) => [word >> 8, word & 255]));
}
