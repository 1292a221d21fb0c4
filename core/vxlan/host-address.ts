/**
 * The link-local address of a host's MAC inside a network, which its gateway asks from through tunnels (anycast.ts). Whoever it has asked
 * knows that address now, and asks in turn whether it is still there (RFC 4861, 7.3.3). No interface has it, so it is answered for here.
 */

import type { Dataplane } from '../dataplane.js';
import { PACKET_L3_MALFORMED, type Packet } from '../packet/packet.js';
import type { Port } from '../ports.js';
import { isIntact } from '../router/nd.js';
import { PortRate } from '../router/port-rate.js';
import { ETHERTYPE_IPV6, macHigh, macLow } from '../wire/ethernet.js';
import {
  hasNeighborTarget,
  icmpv6Type,
  ND_NEIGHBOR_LENGTH,
  ND_NEIGHBOR_SOLICITATION,
  ND_OPTION_SOURCE_LINK_ADDRESS,
  ND_TARGET,
  PROTOCOL_ICMPV6,
} from '../wire/icmpv6.js';
import { IPV6_SOURCE, identifierLower, identifierUpper, LINK_LOCAL } from '../wire/ipv6.js';
import { isIpv6Group } from '../wire/mld.js';
import {
  ND_OVERRIDE,
  ND_ROUTER,
  ND_SOLICITED,
  setNdDestination,
  setNdSource,
  writeAdvertisement,
  writeNdHeaders,
} from '../wire/nd-frame.js';
import { findLinkAddress } from '../wire/nd-options.js';
import type { RemoteVtep } from './vtep.js';

/** Answers a second through one VTEP, and at once. */
const ANSWERS = 1000;
const ANSWERS_AT_ONCE = 200;

export class HostAddress {
  private readonly dataplane: Dataplane;
  private readonly rate = new PortRate(ANSWERS, ANSWERS_AT_ONCE);

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
  }

  /**
   * For a parsed frame to the host's MAC, out of a tunnel, in the packet's domain.
   * @param port that stands for the VTEP
   * @returns whether it asked for the host's address; it has then been answered, unless there was no slot, or too much is asked
   */
  answer(packet: Packet, port: Port): boolean {
    if (packet.etherType !== ETHERTYPE_IPV6 || packet.protocol !== PROTOCOL_ICMPV6 || packet.l4 === -1) return false;
    const { view } = this.dataplane.arena;
    const at = packet.l4;
    if ((packet.flags & PACKET_L3_MALFORMED) !== 0 || icmpv6Type(view, at) !== ND_NEIGHBOR_SOLICITATION) return false;
    if (!hasNeighborTarget(view, at, packet.l3End - at) || !isIntact(view, packet)) return false;
    const { local } = port.vtep as RemoteVtep;
    const c = identifierUpper(local.macHigh, local.macLow);
    const d = identifierLower(local.macLow);
    if (!isAt(view, at + ND_TARGET, LINK_LOCAL, c, d)) return false;
    const source = packet.l3 + IPV6_SOURCE;
    // From nobody: duplicate address detection, which goes to a group.
    if (isIpv6Group(view, source) || isAt(view, source, 0, 0, 0)) return false;
    const link = findLinkAddress(view, at + ND_NEIGHBOR_LENGTH, packet.l3End, ND_OPTION_SOURCE_LINK_ADDRESS);
    if (link < 0) return false;
    if (this.rate.admit(port.id, this.dataplane.milliseconds)) this.reply(packet, port, link, c, d);
    return true;
  }

  /** To the MAC that the asker names, or, where it names none, to its frame's. */
  private reply(packet: Packet, port: Port, link: number, c: number, d: number): void {
    const { arena, router, topology } = this.dataplane;
    const { view } = arena;
    const domain = topology.domainOf(packet.domain);
    const reply = domain === null ? null : router.begin();
    if (domain === null || reply === null) return;
    const { local } = port.vtep as RemoteVtep;
    const toHigh = link > 0 ? macHigh(view, link) : packet.srcHigh;
    const toLow = link > 0 ? macLow(view, link) : packet.srcLow;
    const from = packet.l3 + IPV6_SOURCE;
    writeNdHeaders(view, reply, toHigh, toLow, local.macHigh, local.macLow);
    setNdSource(view, reply, LINK_LOCAL, 0, c, d);
    setNdDestination(
      view,
      reply,
      view.getInt32(from),
      view.getInt32(from + 4),
      view.getInt32(from + 8),
      view.getInt32(from + 12),
    );
    const flags = ND_ROUTER | ND_SOLICITED | ND_OVERRIDE;
    writeAdvertisement(view, reply, flags, LINK_LOCAL, 0, c, d, local.macHigh, local.macLow);
    this.dataplane.originateTo(reply, domain, port.id);
  }
}

/** Whether an address, whose second word is 0, stands at `at`. */
function isAt(view: DataView, at: number, a: number, c: number, d: number): boolean {
  if (view.getInt32(at) !== a || view.getInt32(at + 4) !== 0) return false;
  return view.getInt32(at + 8) === c && view.getInt32(at + 12) === d;
}
