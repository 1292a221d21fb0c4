/** Last deciding stage of the bridge: the FDB says where the frame goes. Changes nothing that another packet could see. */

import { DROP_HAIRPIN, DROP_ISOLATED } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import type { Port } from '../ports.js';
import { DROP, FLOOD, TO_PORT } from '../verdict.js';
import type { Fdb } from './fdb.js';
import { mayReach } from './isolation.js';

/**
 * For unicast destinations.
 * @param ports by port number
 */
export function forward(fdb: Fdb, ports: readonly Port[], from: Port, packet: Packet): number {
  const port = fdb.lookup(from, packet.domain, packet.dstHigh, packet.dstLow);
  if (port === 0) return FLOOD;
  if (port === packet.port) {
    packet.reason = DROP_HAIRPIN;
    return DROP;
  }
  if (from.isolation !== 0 && !mayReach(from.isolation, ports[port].isolation)) {
    packet.reason = DROP_ISOLATED;
    return DROP;
  }
  packet.outPort = port;
  return TO_PORT;
}
