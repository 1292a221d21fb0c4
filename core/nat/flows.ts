/**
 * Connections through the router of a VRF that tracks them.
 *
 *   packet → fragment? assemble → find its flow → state → rewrite, header of its path → port      (the fast path)
 *                                    ├ no path yet → FIB, neighbor: forward.ts, which rewrites and notes the path
 *                                    ├ ICMP error → the flow that it is about
 *                                    └ no flow → inside (published port, mapping) → forward.ts: route → open: reach, policy, source → flow
 *
 * The fast path never makes a flow. Nothing in a packet changes before it is sure to leave, as in forward.ts: one that is refused is quoted
 * as it came, one that waits is looked up anew.
 *
 * IPv4 and IPv6 are written down twice where packets of both are on the fast path.
 */

import { Algs } from '../alg/algs.js';
import type { Dataplane } from '../dataplane.js';
import {
  DROP_HOST_ACCESS,
  DROP_NO_BACKEND,
  DROP_NO_FLOW,
  DROP_NONE,
  DROP_POLICY,
  DROP_PORT_GONE,
  DROP_PROHIBITED,
} from '../drop.js';
import { Services } from '../lb/services.js';
import { PACKET_FRAGMENT, PACKET_IPV4_OPTIONS, type Packet } from '../packet/packet.js';
import type { Forwarder } from '../router/forward.js';
import { ICMP_PORT_UNREACHABLE } from '../router/icmp.js';
import { ICMPV6_PORT_UNREACHABLE, ICMPV6_UNREACHABLE } from '../router/icmpv6.js';
import type { RouterInterface } from '../router/interface.js';
import { clampMss, isTooBig } from '../router/mtu.js';
import type { Neighbor } from '../router/neighbor.js';
import type { Router } from '../router/router.js';
import { refuse, TO_PORT } from '../verdict.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ICMP_UNREACHABLE, icmpCode } from '../wire/icmp.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { IPV4_SOURCE, IPV4_TTL, oneHopLess, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT, IPV6_SOURCE } from '../wire/ipv6.js';
import { PROTOCOL_SCTP } from '../wire/sctp.js';
import { trackDirect } from './direct.js';
import {
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  FLOW_ALG,
  FLOW_ANSWERED,
  FLOW_BALANCED,
  FLOW_DESTINATION,
  FLOW_DIRECT,
  FLOW_DIRECT_SERVICE,
  FLOW_DNAT,
  FLOW_ENTERED,
  FLOW_ERROR,
  FLOW_EXPIRES,
  FLOW_KIND,
  FLOW_MAPPED,
  FLOW_PASSING,
  FLOW_PATH,
  FLOW_PORTS,
  FLOW_RELATED,
  FLOW_REPLIED,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_RULE,
  FLOW_SNAT,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
  kindOf,
  mirrorPorts,
  STATE_ICMP_REPLIED,
  STATE_ICMP_UNREPLIED,
  STATE_MASK,
  STATE_OTHER_REPLIED,
  STATE_OTHER_UNREPLIED,
  STATE_RESET,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from './flow.js';
import { ErrorTranslator } from './flow-errors.js';
import { CLASS_CLOSING, classOf, type FlowEnd, FlowTable } from './flow-table.js';
import { LookAhead } from './look-ahead.js';
import { MappingReports } from './mapping-reports.js';
import { Mappings } from './mappings.js';
import { FlowOpener, isYielding } from './open.js';
import { Paths } from './paths.js';
import { Permissions, permissionBytes } from './permissions.js';
import { MAX_RULES, NO_RULE, POLICY_ACCEPT, Policy } from './policy.js';
import { PrefixTranslation } from './prefixes.js';
import { PublishedPorts } from './published.js';
import { Resets } from './reset.js';
import { isTrackable, portsOf, rewrite4, rewrite6 } from './rewrite.js';
import { trackSctp } from './sctp.js';
import { FILTERING_ADDRESS_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from './settings.js';
import { TCP_REOPEN, trackTcp } from './tcp.js';
import { Unsolicited } from './unsolicited.js';

/** No drop reason: the packet begins another connection in the place of one that is over. */
export const REOPEN = -1;

/** Of a packet: not for the fast path, whatever its transport. */
const ODD = PACKET_FRAGMENT | PACKET_IPV4_OPTIONS;
/** Of a flow: it holds a reference on a mapping, or two. */
const FLOW_HOLDS = FLOW_MAPPED | FLOW_ANSWERED;

/** Flows that are ended in one turn at most, however many are due. */
const EXPIRE_BUDGET = 4096;

/** What is configured of all this. */
export interface FlowSettings {
  /** MAPPING_ and FILTERING_ of settings.ts. */
  readonly mapping: number;
  readonly filtering: number;
  /** Of external addresses, for translated connections. */
  readonly firstPort: number;
  readonly lastPort: number;
  /** Ports of a block; 0: none. */
  readonly portBlock: number;
  readonly flowsPerEndpoint: number;
  /** Seconds by state (flow.ts). */
  readonly timeouts: Int32Array;
  /** ALG_FTP and so on, as a mask. */
  readonly algs: number;
}

/** Memory for flows; what a predecessor has left in it goes on. */
export interface FlowMemory {
  readonly words: Int32Array;
  readonly addresses6: Int32Array;
  readonly capacity: number;
  /** For the index, zeroed: flowIndexBytes(capacity); of its own where it is not given. */
  readonly places?: Int32Array;
  /** For permissions, likewise: permissionBytes(capacity). */
  readonly permissions?: Int32Array;
}

export class Flows implements FlowEnd {
  readonly table: FlowTable;
  readonly mappings: Mappings;
  readonly policy: Policy;
  readonly published = new PublishedPorts();
  readonly permissions: Permissions;
  readonly prefixes = new PrefixTranslation();
  readonly opener: FlowOpener;
  readonly errors: ErrorTranslator;
  readonly resets: Resets;
  readonly unsolicited: Unsolicited;
  readonly lookAhead: LookAhead;
  readonly algs: Algs;
  readonly services: Services;
  settings: FlowSettings | null = null;
  filtering = FILTERING_ADDRESS_DEPENDENT;
  mapping = MAPPING_ENDPOINT_INDEPENDENT;
  private readonly dataplane: Dataplane;
  private readonly router: Router;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private readonly paths: Paths;
  private readonly forwarder: Forwarder;
  /** Source and destination of an IPv6 packet as it will leave. */
  private readonly leaving = new Int32Array(8);

  constructor(dataplane: Dataplane, router: Router, memory: FlowMemory) {
    this.dataplane = dataplane;
    this.router = router;
    this.view = dataplane.arena.view;
    this.table = new FlowTable(
      memory.words,
      memory.addresses6,
      memory.capacity,
      router.seed,
      dataplane.now,
      memory.places ?? null,
    );
    this.table.onRemove = this;
    this.words = this.table.words;
    this.mappings = new Mappings(router.seed, memory.capacity);
    this.mappings.events = new MappingReports(dataplane);
    const permissions = memory.permissions ?? new Int32Array(permissionBytes(memory.capacity) / 4);
    this.permissions = new Permissions(permissions, memory.capacity, router.seed);
    this.services = new Services(dataplane, router.seed);
    this.policy = new Policy(new Float64Array(MAX_RULES), router.seed);
    this.forwarder = router.forwarder;
    this.paths = new Paths(router.forwarder.shortcuts);
    this.resets = new Resets(router);
    this.unsolicited = new Unsolicited(dataplane, router, this.table);
    this.lookAhead = new LookAhead(dataplane, this.table);
    this.errors = new ErrorTranslator(dataplane.arena.view, this.table);
    this.opener = new FlowOpener(dataplane, router, this);
    this.algs = new Algs(dataplane.arena, this.table, this.mappings, this.opener, router.seed);
  }

  // --- the life of the whole

  configure(settings: FlowSettings): void {
    this.settings = settings;
    this.mapping = settings.mapping;
    this.filtering = settings.filtering;
    this.algs.enabled = settings.algs;
    this.table.timeouts.set(settings.timeouts);
    this.mappings.configure(settings);
    this.changed();
  }

  /** Policy, published ports or settings have: every flow is looked at again with its next packet. */
  changed(): void {
    this.forwarder.shortcuts.forget();
  }

  /** Takes over what a predecessor's flows hold. Once, before the first packet. */
  adopt(): void {
    const { words, table } = this;
    this.services.backends.recount();
    table.forEach((flow) => {
      const at = flow * FLOW_WORDS;
      const state = words[at + FLOW_STATE];
      // A gateway has its own there, and that is true as long as the connection is.
      if ((state & FLOW_ALG) === 0) words[at + FLOW_PATH] = words[at + FLOW_PATH + 1] = 0;
      if ((state & FLOW_HOLDS) !== 0) this.opener.adopt(flow);
      if ((state & FLOW_BALANCED) !== 0) this.services.backends.joins(table.backendOf(flow), !isYielding(state));
    });
  }

  /** Once a turn: `now` has been read. */
  tick(): void {
    this.table.now = this.dataplane.now;
    this.table.tick(EXPIRE_BUDGET);
    this.unsolicited.tick();
    this.algs.tick(this.table.now);
    this.services.tick(this.table.now);
  }

  /** A flow gives back what it holds. */
  flowEnds(flow: number): void {
    const state = this.words[flow * FLOW_WORDS + FLOW_STATE];
    if ((state & FLOW_HOLDS) !== 0) this.opener.release(flow);
    if ((state & FLOW_ALG) !== 0) this.algs.flowEnds(flow);
    if ((state & FLOW_BALANCED) !== 0) this.services.ended(this.table.backendOf(flow), !isYielding(state));
  }

  // --- IPv4

  /** A sound IPv4 packet. @param third word of its header: TTL, protocol, checksum */
  receive4(packet: Packet, from: RouterInterface, source: number, destination: number, third: number): number {
    const { protocol } = packet;
    // A first fragment has its ports, and is a fragment all the same.
    if (packet.l4 === -1 || (packet.flags & ODD) !== 0 || !hasPorts(protocol)) {
      return this.odd4(packet, from, source, destination);
    }
    const ports = (packet.srcPort << 16) | packet.dstPort;
    const found = this.table.find4(kindOf(from.vrf, protocol, false), source, destination, ports);
    if (found < 0) return this.opener.arrive4(packet, from, ports);
    return this.follow4(packet, from, found, third >>> 24);
  }

  /** Other protocols, fragments, options, and what is cut short. */
  private odd4(packet: Packet, from: RouterInterface, source: number, destination: number): number {
    const { view } = this;
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return this.router.local.assemble(packet, from);
    if (packet.protocol === PROTOCOL_ICMP && packet.l4 !== -1 && !isTrackable(view, packet)) {
      return this.error4(packet, from, destination);
    }
    if (!isTrackable(view, packet)) return this.opener.arrive4(packet, from, 0);
    const ports = portsOf(view, packet);
    const found = this.table.find4(kindOf(from.vrf, packet.protocol, false), source, destination, ports);
    if (found < 0) return this.opener.arrive4(packet, from, ports);
    if ((packet.flags & PACKET_IPV4_OPTIONS) !== 0) return this.slow4(packet, from, found);
    return this.follow4(packet, from, found, view.getUint8(packet.l3 + IPV4_TTL));
  }

  private follow4(packet: Packet, from: RouterInterface, found: number, ttl: number): number {
    const { view, words } = this;
    const at = (found >> 1) * FLOW_WORDS;
    const path = this.paths.find(words[at + FLOW_PATH + (found & 1)]);
    if (path === null || ttl <= 1 || isTooBig(view, packet, path.mtu) || path.from !== from.number) {
      return this.slow4(packet, from, found);
    }
    const reason = this.advance(packet, found, at);
    if (reason !== DROP_NONE) return this.halted(packet, from, found, reason);
    const state = words[at + FLOW_STATE];
    if ((state & (FLOW_SNAT | FLOW_DNAT)) !== 0) this.write4(packet, found, at);
    if ((state & FLOW_BALANCED) !== 0) this.countBalanced(packet, found);
    clampMss(view, packet, path.mss);
    const { l3 } = packet;
    view.setInt32(l3 + IPV4_TTL, oneHopLess(view.getInt32(l3 + IPV4_TTL)));
    this.forwarder.shortcuts.apply(path, packet);
    return TO_PORT;
  }

  /** The packet of a known flow, by the general path. */
  private slow4(packet: Packet, from: RouterInterface, found: number): number {
    const reason = this.examine(packet, from, found);
    if (reason !== DROP_NONE) return this.halted(packet, from, found, reason);
    packet.flow = found;
    const at = (found >> 1) * FLOW_WORDS;
    if (this.isDirect(found, at)) {
      const via = this.opener.viaOf(found >> 1, false);
      // Not known yet, behind a start: the flow's end is for others to decide.
      return via === null ? refuse(packet, DROP_NO_BACKEND) : this.forwarder.resolve4(packet, from, via[3]);
    }
    return this.forwarder.resolve4(packet, from, this.words[at + otherTuple(found) + FLOW_SOURCE]);
  }

  /** Whether packets of that direction reach a backend as they are. */
  private isDirect(found: number, at: number): boolean {
    const isDirect = (this.words[at + FLOW_STATE] & FLOW_DIRECT_SERVICE) === FLOW_DIRECT_SERVICE;
    return isDirect && (found & 1) === DIRECTION_ORIGINAL;
  }

  private countBalanced(packet: Packet, found: number): void {
    const isReply = (found & 1) === DIRECTION_REPLY;
    this.services.count(this.table.backendOf(found >> 1), isReply, packet.l3End - packet.l3);
  }

  /** Addresses and ports that packets of one direction leave with: the other direction's, mirrored. */
  private write4(packet: Packet, found: number, at: number): void {
    const { words, view } = this;
    // Without a branch, and with one call: it is inlined here, and everything around it has the more room.
    const other = at + otherTuple(found);
    const ports = mirrorPorts(words[other + FLOW_PORTS]);
    rewrite4(view, packet, words[other + FLOW_DESTINATION], words[other + FLOW_SOURCE], ports);
  }

  /** An ICMP message that is no query. */
  private error4(packet: Packet, from: RouterInterface, destination: number): number {
    const found = this.errors.find4(packet, from);
    if (found < 0) return this.stray4(packet, from, destination);
    packet.flow = found | FLOW_ERROR;
    const at = (found >> 1) * FLOW_WORDS;
    if ((this.words[at + FLOW_STATE] & FLOW_BALANCED) !== 0) this.noteRefusal(packet, found);
    return this.forwarder.resolve4(packet, from, this.words[at + otherTuple(found) + FLOW_SOURCE]);
  }

  /** One about no flow may be for the router itself, or the host; in transit it says nothing to anybody (RFC 5508, REQ-4). */
  private stray4(packet: Packet, from: RouterInterface, destination: number): number {
    if (this.opener.isLocal4(from, destination)) return this.forwarder.resolve4(packet, from, destination);
    return refuse(packet, DROP_NO_FLOW);
  }

  // --- IPv6

  /** A sound IPv6 packet. */
  receive6(packet: Packet, from: RouterInterface, hopLimit: number): number {
    const { protocol, l3 } = packet;
    if (packet.l4 === -1 || (packet.flags & PACKET_FRAGMENT) !== 0 || !hasPorts(protocol))
      return this.odd6(packet, from);
    const ports = (packet.srcPort << 16) | packet.dstPort;
    const found = this.table.find6(kindOf(from.vrf, protocol, true), this.view, l3 + IPV6_SOURCE, ports);
    if (found < 0) return this.opener.arrive6(packet, from, ports);
    return this.follow6(packet, from, found, hopLimit);
  }

  private odd6(packet: Packet, from: RouterInterface): number {
    const { view } = this;
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return this.router.local.assemble(packet, from);
    if (packet.protocol === PROTOCOL_ICMPV6 && packet.l4 !== -1 && !isTrackable(view, packet)) {
      return this.error6(packet, from);
    }
    if (!isTrackable(view, packet)) return this.opener.arrive6(packet, from, 0);
    const ports = portsOf(view, packet);
    const kind = kindOf(from.vrf, packet.protocol, true);
    const found = this.table.find6(kind, view, packet.l3 + IPV6_SOURCE, ports);
    if (found < 0) return this.opener.arrive6(packet, from, ports);
    return this.follow6(packet, from, found, view.getUint8(packet.l3 + IPV6_HOP_LIMIT));
  }

  private follow6(packet: Packet, from: RouterInterface, found: number, hopLimit: number): number {
    const { view, words } = this;
    const at = (found >> 1) * FLOW_WORDS;
    const path = this.paths.find(words[at + FLOW_PATH + (found & 1)]);
    if (path === null || hopLimit <= 1 || isTooBig(view, packet, path.mtu) || path.from !== from.number) {
      return this.slow6(packet, from, found);
    }
    const reason = this.advance(packet, found, at);
    if (reason !== DROP_NONE) return this.halted(packet, from, found, reason);
    const state = words[at + FLOW_STATE];
    if ((state & (FLOW_SNAT | FLOW_DNAT)) !== 0) this.write6(packet, found, at);
    if ((state & FLOW_BALANCED) !== 0) this.countBalanced(packet, found);
    clampMss(view, packet, path.mss);
    view.setUint8(packet.l3 + IPV6_HOP_LIMIT, hopLimit - 1);
    this.forwarder.shortcuts.apply(path, packet);
    return TO_PORT;
  }

  private slow6(packet: Packet, from: RouterInterface, found: number): number {
    const reason = this.examine(packet, from, found);
    if (reason !== DROP_NONE) return this.halted(packet, from, found, reason);
    packet.flow = found;
    if (this.isDirect(found, (found >> 1) * FLOW_WORDS)) {
      const via = this.opener.viaOf(found >> 1, true);
      if (via === null) return refuse(packet, DROP_NO_BACKEND);
      return this.forwarder.resolve6(packet, from, via[0], via[1], via[2], via[3]);
    }
    return this.resolve6(packet, from, found);
  }

  /** On to where packets of that direction go. */
  private resolve6(packet: Packet, from: RouterInterface, found: number): number {
    const { leaving } = this;
    this.fillLeaving(found);
    return this.forwarder.resolve6(packet, from, leaving[4], leaving[5], leaving[6], leaving[7]);
  }

  private fillLeaving(found: number): void {
    const { leaving } = this;
    const { addresses6 } = this.table;
    // The other direction's destination and source, eight words each: those are the mirror image.
    const at = (found >> 1) * 16 + ((found & 1) === DIRECTION_ORIGINAL ? 8 : 0);
    for (let i = 0; i < 4; i++) {
      leaving[i] = addresses6[at + 4 + i];
      leaving[4 + i] = addresses6[at + i];
    }
  }

  private write6(packet: Packet, found: number, at: number): void {
    this.fillLeaving(found);
    const ports = (found & 1) === DIRECTION_ORIGINAL ? FLOW_REPLY_PORTS : FLOW_PORTS;
    rewrite6(this.view, packet, this.leaving, 0, mirrorPorts(this.words[at + ports]));
  }

  private error6(packet: Packet, from: RouterInterface): number {
    const found = this.errors.find6(packet, from);
    if (found < 0) return this.stray6(packet, from);
    packet.flow = found | FLOW_ERROR;
    if ((this.words[(found >> 1) * FLOW_WORDS + FLOW_STATE] & FLOW_BALANCED) !== 0) this.noteRefusal(packet, found);
    return this.resolve6(packet, from, found);
  }

  private stray6(packet: Packet, from: RouterInterface): number {
    const { view } = this;
    const at = packet.l3 + IPV6_DESTINATION;
    const a = view.getInt32(at);
    const b = view.getInt32(at + 4);
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    if (this.opener.isLocal6(from, a, b, c, d)) return this.forwarder.resolve6(packet, from, a, b, c, d);
    return refuse(packet, DROP_NO_FLOW);
  }

  // --- both

  /** For forward.ts, of a packet that is sure to leave: gives it the addresses and ports to leave with. */
  translate(packet: Packet): void {
    if (packet.flow === FLOW_PASSING) {
      this.opener.entry.rewritePassing(packet);
      return;
    }
    const found = packet.flow & ~FLOW_ERROR;
    const at = (found >> 1) * FLOW_WORDS;
    const state = this.words[at + FLOW_STATE];
    const isTranslated = (state & (FLOW_SNAT | FLOW_DNAT)) !== 0;
    if ((packet.flow & FLOW_ERROR) !== 0) {
      if (isTranslated) this.errors.translate(packet, found);
      return;
    }
    if (isTranslated) {
      if (packet.etherType === ETHERTYPE_IPV4) this.write4(packet, found, at);
      else this.write6(packet, found, at);
    }
    if ((state & FLOW_BALANCED) !== 0) this.countBalanced(packet, found);
    if ((state & FLOW_ALG) !== 0) this.algs.inspect(packet, found);
  }

  /** For forward.ts: whether a packet leaves from an address that others may have as well. */
  hidesSource(packet: Packet): boolean {
    if (packet.flow === FLOW_PASSING) return true;
    const found = packet.flow & ~FLOW_ERROR;
    const state = this.words[(found >> 1) * FLOW_WORDS + FLOW_STATE];
    return (state & ((found & 1) === DIRECTION_ORIGINAL ? FLOW_SNAT : FLOW_DNAT)) !== 0;
  }

  /** For forward.ts: the packet has been sent on, and the next of its flow may go the same way unseen. */
  notePath(packet: Packet, from: RouterInterface, to: RouterInterface, neighbor: Neighbor): void {
    const { flow } = packet;
    if ((flow & (FLOW_ERROR | FLOW_PASSING)) !== 0) return;
    const at = (flow >> 1) * FLOW_WORDS;
    if ((this.words[at + FLOW_STATE] & FLOW_ALG) !== 0) return;
    this.words[at + FLOW_PATH + (flow & 1)] = this.paths.note(from, to, neighbor, packet.outPort);
  }

  /** What is looked at once a flow and once again whenever something has changed. A drop reason, REOPEN, or DROP_NONE. */
  private examine(packet: Packet, from: RouterInterface, found: number): number {
    const at = (found >> 1) * FLOW_WORDS;
    // An address that the router has no longer is no source: answers would go to whoever has it now.
    if ((this.words[at + FLOW_STATE] & FLOW_SNAT) !== 0 && !this.opener.ownsSource(found >> 1)) return REOPEN;
    if ((found & 1) === DIRECTION_ORIGINAL && this.opener.isExposed(packet, from, found >> 1)) return REOPEN;
    const ruleAt = this.table.restAt(found >> 1) + FLOW_RULE;
    if (this.words[ruleAt] >>> 16 !== this.policy.epoch) {
      // The rules have changed; what a gateway let in was none's to decide.
      const isRelated = (this.words[at + FLOW_STATE] & FLOW_RELATED) !== 0;
      const rule = isRelated ? NO_RULE : this.opener.decide(found >> 1);
      this.words[ruleAt] = (this.policy.epoch << 16) | (rule + 1);
    }
    if (this.policy.action(this.ruleOf(found >> 1)) !== POLICY_ACCEPT) return DROP_POLICY;
    if ((this.words[at + FLOW_STATE] & FLOW_ALG) === 0) return this.advance(packet, found, at);
    this.algs.unshiftAcknowledgment(packet, found);
    const reason = this.advance(packet, found, at);
    this.algs.restoreAcknowledgment(packet);
    return reason;
  }

  /** The rule that decides about a flow, or NO_RULE. */
  private ruleOf(flow: number): number {
    return (this.words[this.table.restAt(flow) + FLOW_RULE] & 0xffff) - 1;
  }

  /** The flow's state after a packet. A drop reason, REOPEN, or DROP_NONE. */
  advance(packet: Packet, found: number, at: number): number {
    const { words, table } = this;
    const state = words[at + FLOW_STATE];
    if ((state & (FLOW_BALANCED | FLOW_REPLIED)) === FLOW_BALANCED && this.isGivenUp(found, state)) return REOPEN;
    const next = this.stateAfter(packet, found, at, state);
    if (next <= 0) return next === TCP_REOPEN ? REOPEN : -next;
    if (next !== state) this.step(found, state, next);
    table.refresh(found >> 1);
    return DROP_NONE;
  }

  /** A client tries again what its backend has not answered yet. Whether it had better begin anew, with another one. */
  private isGivenUp(found: number, state: number): boolean {
    const stage = state & STATE_MASK;
    if ((found & 1) === DIRECTION_REPLY || (stage !== STATE_SYN_SENT && stage !== STATE_UDP_UNREPLIED)) return false;
    const flow = found >> 1;
    const { services, table, words } = this;
    const backend = table.backendOf(flow);
    const at = flow * FLOW_WORDS;
    // What is sent again is not sent in the same second. No answer is due to UDP.
    const isLate = words[at + FLOW_EXPIRES] - table.timeouts[stage] < table.now && !this.dataplane.isResuming;
    if (stage === STATE_SYN_SENT && isLate) services.failed(backend);
    return services.isGivenUp(backend, isIpv6Kind(words[at + FLOW_KIND]));
  }

  /** An ICMP error about a balanced flow: a backend that says that nobody listens there has refused it. */
  private noteRefusal(packet: Packet, found: number): void {
    const { view } = this;
    const isIpv4 = packet.etherType === ETHERTYPE_IPV4;
    const type = isIpv4 ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE;
    const code = isIpv4 ? ICMP_PORT_UNREACHABLE : ICMPV6_PORT_UNREACHABLE;
    const isIt = view.getUint8(packet.l4) === type && icmpCode(view, packet.l4) === code;
    if (!isIt || (found & 1) !== DIRECTION_REPLY) return;
    // Others on the way have nothing to say about its ports. Of IPv6 the last word tells them apart well enough.
    const source = view.getInt32(packet.l3 + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE + 12));
    const flow = found >> 1;
    if (source === this.words[flow * FLOW_WORDS + FLOW_REPLY_SOURCE]) this.services.failed(this.table.backendOf(flow));
  }

  /** What a balanced flow tells of its backend. */
  private stepBalanced(found: number, state: number, next: number): void {
    const { services } = this;
    const backend = this.table.backendOf(found >> 1);
    const wasActive = !isYielding(state);
    const isActive = !isYielding(next);
    if (wasActive !== isActive) services.moved(backend, isActive);
    if (isActive && !wasActive) services.answered(backend);
    const isRefused = (state & STATE_MASK) === STATE_SYN_SENT && (next & STATE_MASK) === STATE_RESET;
    if (isRefused && (found & 1) === DIRECTION_REPLY) services.failed(backend);
  }

  private step(found: number, state: number, next: number): void {
    const flow = found >> 1;
    const yields = isYielding(next);
    this.table.setState(flow, next);
    if ((next & FLOW_BALANCED) !== 0) this.stepBalanced(found, state, next);
    if (yields !== isYielding(state) && (next & FLOW_HOLDS) !== 0) this.opener.close(flow, yields);
    // Not before: whom nobody answers, or by RST, keeps no mapping from ending (RFC 7857, 7.1).
    if (
      (next & (FLOW_ENTERED | FLOW_REPLIED | FLOW_ANSWERED)) === (FLOW_ENTERED | FLOW_REPLIED) &&
      classOf(next) !== CLASS_CLOSING
    ) {
      this.opener.enter(flow);
    }
  }

  private stateAfter(packet: Packet, found: number, at: number, state: number): number {
    const direction = found & 1;
    if ((state & FLOW_DIRECT) !== 0) return trackDirect(this.view, packet, direction, state);
    if (packet.protocol === PROTOCOL_TCP) return trackTcp(this.words, at, direction, this.view, packet);
    if (packet.protocol === PROTOCOL_SCTP) return trackSctp(this.words, at, direction, this.view, packet);
    if (direction === DIRECTION_REPLY && (state & FLOW_REPLIED) === 0) return replied(state);
    return state;
  }

  /** A packet that its flow does not carry further. */
  private halted(packet: Packet, from: RouterInterface, found: number, reason: number): number {
    // A flow that the rules refuse now stays until its time is over, so that packets of its other direction do not begin it anew.
    if (reason === DROP_POLICY) return this.opener.deny(packet, from, this.ruleOf(found >> 1));
    if (reason !== REOPEN) return this.opener.refuse(packet, from, reason);
    // A new connection of the same addresses and ports, where the old one is through.
    this.table.remove(found >> 1);
    return this.router.receive(packet, from);
  }

  /** Whether a flow may be in spite of what the networks say: by a rule, a published port, or a gateway. @param reason what they say */
  isInvited(flow: number, reason: number): boolean {
    if (flow === FLOW_PASSING) return reason === DROP_PROHIBITED;
    const at = ((flow & ~FLOW_ERROR) >> 1) * FLOW_WORDS;
    const state = this.words[at + FLOW_STATE];
    // Of the host's connections only those to published ports have begun in spite of that.
    if (reason === DROP_HOST_ACCESS) return (state & (FLOW_DNAT | FLOW_BALANCED)) !== 0;
    if (reason !== DROP_PROHIBITED) return false;
    return (
      (state & (FLOW_DNAT | FLOW_RELATED | FLOW_BALANCED)) !== 0 || this.ruleOf((flow & ~FLOW_ERROR) >> 1) !== NO_RULE
    );
  }

  /** A port goes: its flows end with it. */
  portEnds(port: number): void {
    this.unsolicited.giveUpFrom(port, DROP_PORT_GONE);
    this.table.removeOwner(port);
  }
}

/** The state of a flow without states of its own after its first answer. */
function replied(state: number): number {
  const now = state & STATE_MASK;
  const next =
    now === STATE_UDP_UNREPLIED
      ? STATE_UDP_STREAM
      : now === STATE_ICMP_UNREPLIED
        ? STATE_ICMP_REPLIED
        : now === STATE_OTHER_UNREPLIED
          ? STATE_OTHER_REPLIED
          : now;
  return (state & ~STATE_MASK) | next | FLOW_REPLIED;
}

/** The protocols whose ports the parse has read. */
function hasPorts(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP;
}

/** Words from the original tuple's to that of the other direction than the one found. */
function otherTuple(found: number): number {
  return (DIRECTION_REPLY - (found & 1)) * FLOW_REPLY_SOURCE;
}
