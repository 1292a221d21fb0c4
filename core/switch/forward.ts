/** Last deciding stage of the bridge: the FDB says where the frame goes. Changes nothing that another packet could see. */

import { DROP_HAIRPIN } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import type { Port } from '../ports.js';
import { DROP, FLOOD, TO_PORT } from '../verdict.js';
import { isGroupDestination } from './admit.js';
import type { Fdb } from './fdb.js';

export function forward(fdb: Fdb, from: Port, packet: Packet): number {
  if (isGroupDestination(packet)) return FLOOD;
  const port = fdb.lookup(from, packet.network, packet.dstHigh, packet.dstLow);
  if (port === 0) return FLOOD;
  if (port === packet.port) {
    packet.reason = DROP_HAIRPIN;
    return DROP;
  }
  packet.outPort = port;
  return TO_PORT;
}
