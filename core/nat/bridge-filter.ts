/**
 * Policy between endpoints of one network: their frames pass the bridge, not the router, so they are judged here. Unicast IP alone:
 * what goes to groups, ARP and neighbor discovery are what a link needs. Connections are tracked as the router's are, in the same table,
 * under the number of the domain; nothing is translated.
 *
 * A frame to a group's MAC whose packet is for one address is judged as well, as that one would take it; no connection begins with it.
 */

import { DROP_FLOWS_FULL, DROP_NO_FLOW, DROP_NONE, DROP_POLICY, DROP_UNVERIFIABLE } from '../drop.js';
import { PACKET_FRAGMENT, PACKET_L3_MALFORMED, PACKET_LATER_FRAGMENT, type Packet } from '../packet/packet.js';
import type { Domain } from '../ports.js';
import { isGroupDestination } from '../switch/admit.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { ND_REDIRECT, ND_ROUTER_SOLICITATION, PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { IPV4_DESTINATION, IPV4_SOURCE, PROTOCOL_ICMP, PROTOCOL_TCP } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import {
  bridgedKind,
  FLOW_BRIDGED,
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_LOOSE,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_RULE,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
  mirrorPorts,
  protocolOfKind,
} from './flow.js';
import { type Flows, REOPEN } from './flows.js';
import { embedded, isIcmpError, readEmbedded4, readEmbedded6 } from './icmp-error.js';
import { NO_RULE, POLICY_ACCEPT, POLICY_REJECT, UNKNOWN_PORT } from './policy.js';
import { isIcmpRequest, isTrackable, portsOf } from './rewrite.js';
import { isTcpSyn } from './tcp.js';

/** First four bits of an IPv4 group address. */
const GROUP4 = 0xe;
/** First octet of an IPv6 one. */
const GROUP6 = 0xff;
const BROADCAST4 = -1;

export class BridgeFilter {
  private readonly flows: Flows;
  private readonly view: DataView;
  /** Source and destination of the packet in hand; of IPv4 the last words alone. */
  private readonly words = new Int32Array(8);
  /** As the policy wants them: source, destination, destination again. */
  private readonly twelve = new Int32Array(12);

  constructor(flows: Flows, view: DataView) {
    this.flows = flows;
    this.view = view;
  }

  /** A frame that the bridge would send on, in a network with a place. @returns a drop reason, or DROP_NONE */
  judge(packet: Packet, domain: Domain): number {
    const { etherType } = packet;
    if (etherType !== ETHERTYPE_IPV4 && etherType !== ETHERTYPE_IPV6) return DROP_NONE;
    if ((packet.flags & PACKET_L3_MALFORMED) !== 0 || packet.l3 === -1) return DROP_UNVERIFIABLE;
    if (this.isForLink(packet)) return DROP_NONE;
    this.read(packet);
    if ((packet.flags & PACKET_LATER_FRAGMENT) !== 0) return this.judgeLater(packet, domain);
    if (packet.l4 === -1) return DROP_UNVERIFIABLE;
    if (isGroupDestination(packet)) return this.judgeAlone(packet, domain);
    if (!isTrackable(this.view, packet)) return this.judgeUntracked(packet, domain);
    return this.judgeTracked(packet, domain);
  }

  /** To a group, or neighbor discovery: what the policy has no say in. */
  private isForLink(packet: Packet): boolean {
    const { view } = this;
    const { l3, l4, protocol } = packet;
    if (packet.etherType === ETHERTYPE_IPV4) {
      const destination = view.getInt32(l3 + IPV4_DESTINATION);
      return destination >>> 28 === GROUP4 || destination === BROADCAST4;
    }
    if (view.getUint8(l3 + IPV6_DESTINATION) === GROUP6) return true;
    if (protocol !== PROTOCOL_ICMPV6 || l4 === -1) return false;
    const type = view.getUint8(l4);
    return type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT;
  }

  private read(packet: Packet): void {
    const { view, words } = this;
    if (packet.etherType === ETHERTYPE_IPV4) {
      words[3] = view.getInt32(packet.l3 + IPV4_SOURCE);
      words[7] = view.getInt32(packet.l3 + IPV4_DESTINATION);
      return;
    }
    for (let i = 0; i < 8; i++) words[i] = view.getInt32(packet.l3 + IPV6_SOURCE + i * 4);
  }

  // --- without a connection

  /** Without the first fragment it is nothing, and that has been judged: it passes where any connection between the two may. */
  private judgeLater(packet: Packet, domain: Domain): number {
    const { policy } = this.flows;
    const rule = this.decide(packet, domain, UNKNOWN_PORT, false);
    if (policy.action(rule) === POLICY_ACCEPT) return DROP_NONE;
    const answer = this.decide(packet, domain, UNKNOWN_PORT, true);
    if (answer !== NO_RULE && policy.action(answer) === POLICY_ACCEPT) return DROP_NONE;
    policy.count(rule);
    return DROP_POLICY;
  }

  private judgeUntracked(packet: Packet, domain: Domain): number {
    const found = isIcmpError(this.view, packet) ? this.findQuoted(packet, domain) : -1;
    return found < 0 ? this.judgeAlone(packet, domain) : this.check(packet, domain, found >> 1);
  }

  /** The connection that an ICMP error is about, or -1. */
  private findQuoted(packet: Packet, domain: Domain): number {
    const { table } = this.flows;
    const isIpv6 = packet.etherType === ETHERTYPE_IPV6;
    const reason = isIpv6 ? readEmbedded6(this.view, packet) : readEmbedded4(this.view, packet);
    if (reason !== DROP_NONE) return -1;
    const kind = bridgedKind(domain.fid, embedded.protocol, isIpv6);
    if (!isIpv6) return table.find4(kind, embedded.source, embedded.destination, embedded.ports);
    return table.findWords6(kind, embedded.words, embedded.ports);
  }

  /** A packet that begins no connection and belongs to none. */
  private judgeAlone(packet: Packet, domain: Domain): number {
    const port = isTrackable(this.view, packet) ? portsOf(this.view, packet) & 0xffff : 0;
    return this.obey(packet, domain, this.decide(packet, domain, port, false));
  }

  // --- connections

  private judgeTracked(packet: Packet, domain: Domain): number {
    const { table } = this.flows;
    const { words } = this;
    const ports = portsOf(this.view, packet);
    const isIpv6 = packet.etherType === ETHERTYPE_IPV6;
    const kind = bridgedKind(domain.fid, packet.protocol, isIpv6);
    const found = isIpv6 ? table.findWords6(kind, words, ports) : table.find4(kind, words[3], words[7], ports);
    return found < 0 ? this.open(packet, domain, kind, ports) : this.follow(packet, domain, kind, ports, found);
  }

  private follow(packet: Packet, domain: Domain, kind: number, ports: number, found: number): number {
    const { table } = this.flows;
    const flow = found >> 1;
    const at = flow * FLOW_WORDS;
    const refused = this.check(packet, domain, flow);
    if (refused !== DROP_NONE) return refused;
    // Of a segment in fragments nobody sees how far it goes.
    if ((packet.flags & PACKET_FRAGMENT) !== 0) table.setState(flow, table.words[at + FLOW_STATE] | FLOW_LOOSE);
    const reason = this.flows.advance(packet, found, at);
    if (reason !== REOPEN) return reason;
    table.remove(flow);
    return this.open(packet, domain, kind, ports);
  }

  /**
   * Whether a connection may still be: the rules may have changed. One that may not is kept until its time is over, so that its packets of
   * the other direction do not begin it anew.
   */
  private check(packet: Packet, domain: Domain, flow: number): number {
    const { table, policy } = this.flows;
    const { words } = table;
    const at = flow * FLOW_WORDS;
    const ruleAt = table.restAt(flow) + FLOW_RULE;
    if (words[ruleAt] >>> 16 !== policy.epoch) {
      const rule = this.decideFlow(flow, at, domain);
      words[ruleAt] = (policy.epoch << 16) | (rule + 1);
    }
    const rule = (words[ruleAt] & 0xffff) - 1;
    return policy.action(rule) === POLICY_ACCEPT ? DROP_NONE : this.obey(packet, domain, rule);
  }

  private decideFlow(flow: number, at: number, domain: Domain): number {
    const { words, addresses6 } = this.flows.table;
    const kind = words[at + FLOW_KIND];
    const ports = words[at + FLOW_PORTS];
    const own = this.words;
    const isIpv6 = isIpv6Kind(kind);
    if (isIpv6) for (let i = 0; i < 8; i++) own[i] = addresses6[flow * 16 + i];
    else {
      own[3] = words[at + FLOW_SOURCE];
      own[7] = words[at + FLOW_DESTINATION];
    }
    const protocol = protocolOfKind(kind);
    const { place } = domain.network;
    const rule = this.ask(isIpv6, place, protocol, ports & 0xffff, false);
    if ((words[at + FLOW_STATE] & FLOW_LOOSE) === 0) return rule;
    return this.flows.policy.earlier(rule, this.ask(isIpv6, place, protocol, ports >>> 16, true));
  }

  /** The packet belongs to no connection that is known. */
  private open(packet: Packet, domain: Domain, kind: number, ports: number): number {
    const { protocol } = packet;
    const isAnswer = (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) && !isIcmpRequest(this.view, packet);
    let rule = this.decide(packet, domain, ports & 0xffff, false);
    if (protocol === PROTOCOL_TCP && !isTcpSyn(this.view, packet)) {
      rule = this.flows.policy.earlier(rule, this.decide(packet, domain, ports >>> 16, true));
    }
    const refused = this.obey(packet, domain, rule);
    return refused !== DROP_NONE || isAnswer ? refused : this.begin(packet, kind, ports, rule);
  }

  private begin(packet: Packet, kind: number, ports: number, rule: number): number {
    const { flows } = this;
    const { table } = flows;
    const limit = flows.settings?.flowsPerEndpoint ?? table.capacity;
    if (table.ownerCount(packet.port) >= limit) return flows.opener.limited(packet, limit);
    const flow = flows.opener.beginEntry();
    if (flow < 0) return DROP_FLOWS_FULL;
    const at = flow * FLOW_WORDS;
    const { words } = table;
    words[at + FLOW_KIND] = kind;
    words[table.restAt(flow) + FLOW_RULE] = (flows.policy.epoch << 16) | (rule + 1);
    this.writeTuples(flow, at, ports);
    const state = flows.opener.firstState(packet, at);
    if (state < 0) {
      table.abort(flow);
      return this.withoutFlow(packet, -state);
    }
    const loose = (packet.flags & PACKET_FRAGMENT) === 0 ? 0 : FLOW_LOOSE;
    // False for a packet to its own sender, of which the answers cannot be told apart.
    if (table.commit(flow, state | loose | FLOW_LIVE | FLOW_BRIDGED, packet.port)) flows.opener.watchFilling();
    return DROP_NONE;
  }

  private writeTuples(flow: number, at: number, ports: number): void {
    const { words, addresses6 } = this.flows.table;
    const own = this.words;
    words[at + FLOW_PORTS] = ports;
    words[at + FLOW_REPLY_PORTS] = mirrorPorts(ports);
    words[at + FLOW_SOURCE] = own[3];
    words[at + FLOW_DESTINATION] = own[7];
    words[at + FLOW_REPLY_SOURCE] = own[7];
    words[at + FLOW_REPLY_DESTINATION] = own[3];
    if (!isIpv6Kind(words[at + FLOW_KIND])) return;
    const to = flow * 16;
    for (let i = 0; i < 8; i++) addresses6[to + i] = own[i];
    for (let i = 0; i < 4; i++) {
      addresses6[to + 8 + i] = own[4 + i];
      addresses6[to + 12 + i] = own[i];
    }
  }

  /** Of a first segment that begins nothing. A reset ends what is not known here: it may pass. */
  private withoutFlow(packet: Packet, reason: number): number {
    return packet.protocol === PROTOCOL_TCP && reason === DROP_NO_FLOW ? DROP_NONE : reason;
  }

  // --- rules

  /** Rule about the packet in hand, or NO_RULE. @param isMirrored as if it were an answer: `port` is then its source's */
  private decide(packet: Packet, { network }: Domain, port: number, isMirrored: boolean): number {
    return this.ask(packet.etherType === ETHERTYPE_IPV6, network.place, packet.protocol, port, isMirrored);
  }

  /** About what `words` says. */
  private ask(isIpv6: boolean, place: number, protocol: number, port: number, isMirrored: boolean): number {
    const { policy } = this.flows;
    const { words, twelve } = this;
    const source = isMirrored ? 4 : 0;
    const destination = 4 - source;
    if (!isIpv6) {
      const to = words[destination + 3];
      return policy.decide4(place, place, words[source + 3], to, to, protocol, port, port);
    }
    for (let i = 0; i < 4; i++) {
      twelve[i] = words[source + i];
      twelve[4 + i] = words[destination + i];
      twelve[8 + i] = words[destination + i];
    }
    return policy.decide6(place, place, twelve, protocol, port, port);
  }

  /** Does what a rule says, and counts it. The sender is told where the router has an address to speak from. */
  private obey(packet: Packet, { gateway }: Domain, rule: number): number {
    const { policy, opener } = this.flows;
    policy.count(rule);
    const action = policy.action(rule);
    if (action === POLICY_ACCEPT) return DROP_NONE;
    if (action === POLICY_REJECT && gateway !== null) opener.tell(packet, gateway);
    return DROP_POLICY;
  }
}
