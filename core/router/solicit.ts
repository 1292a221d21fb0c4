/** Asking for a neighbor's MAC: ARP requests (RFC 826) and neighbor solicitations (RFC 4861, 7.2.2). */

import { ARP_REQUEST } from '../wire/arp.js';
import { writeArp } from '../wire/arp-frame.js';
import {
  GROUP_MAC_HIGH,
  LINK_GROUP_FIRST,
  SOLICITED_NODE_THIRD,
  setNdDestination,
  setNdSource,
  solicitedNodeLast,
  writeNdHeaders,
  writeSolicitation,
} from '../wire/nd-frame.js';
import { isMapped } from './address.js';
import type { RouterContext } from './context.js';
import type { RouterInterface } from './interface.js';
import type { Neighbor } from './neighbor.js';

/**
 * Asks once.
 * @param isUnicast asks the MAC that is known (RFC 1122, 2.3.2.1; RFC 4861, 7.3.3), else everybody
 * @returns false where no slot is free
 */
export function solicit(
  context: RouterContext,
  iface: RouterInterface,
  neighbor: Neighbor,
  isUnicast: boolean,
): boolean {
  return isMapped(neighbor.a, neighbor.b, neighbor.c)
    ? request4(context, iface, neighbor, isUnicast)
    : solicit6(context, iface, neighbor, isUnicast);
}

function request4(context: RouterContext, iface: RouterInterface, neighbor: Neighbor, isUnicast: boolean): boolean {
  const packet = context.begin();
  if (packet === null) return false;
  const toHigh = isUnicast ? neighbor.macHigh : 0xffff;
  const toLow = isUnicast ? neighbor.macLow : -1;
  const { macHigh, macLow } = iface;
  const { view } = context.arena;
  writeArp(view, packet, toHigh, toLow, ARP_REQUEST, macHigh, macLow, iface.source4(neighbor.d), 0, 0, neighbor.d);
  context.sendFrame(packet, iface);
  return true;
}

/** From the link-local address: every neighbor can answer there, and no other of ours may turn out to be a duplicate. */
function solicit6(context: RouterContext, iface: RouterInterface, neighbor: Neighbor, isUnicast: boolean): boolean {
  const packet = context.begin();
  if (packet === null) return false;
  const { view } = context.arena;
  const { a, b, c, d } = neighbor;
  const group = solicitedNodeLast(d);
  const toHigh = isUnicast ? neighbor.macHigh : GROUP_MAC_HIGH;
  writeNdHeaders(view, packet, toHigh, isUnicast ? neighbor.macLow : group, iface.macHigh, iface.macLow);
  const { linkLocal } = iface;
  setNdSource(view, packet, linkLocal[0], linkLocal[1], linkLocal[2], linkLocal[3]);
  if (isUnicast) setNdDestination(view, packet, a, b, c, d);
  else setNdDestination(view, packet, LINK_GROUP_FIRST, 0, SOLICITED_NODE_THIRD, group);
  writeSolicitation(view, packet, a, b, c, d, true, iface.macHigh, iface.macLow);
  context.sendFrame(packet, iface);
  return true;
}
