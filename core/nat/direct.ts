/**
 * The state of a flow whose answers go another way (direct server return): only one side of it is seen, or both where the other comes by
 * here. No numbers are checked, as half of them are not known.
 */

import type { Packet } from '../packet/packet.js';
import { PROTOCOL_TCP } from '../wire/ipv4.js';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpFlags } from '../wire/tcp.js';
import {
  DIRECTION_ORIGINAL,
  FLOW_REPLIED,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_MASK,
  STATE_RESET,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
} from './flow.js';
import { TCP_REOPEN } from './tcp.js';

/** @returns FLOW_STATE as it should be now, or TCP_REOPEN */
export function trackDirect(view: DataView, packet: Packet, direction: number, state: number): number {
  if (packet.protocol !== PROTOCOL_TCP) return direction === DIRECTION_ORIGINAL ? state : answered(state);
  const flags = tcpFlags(view, packet.l4);
  const stage = state & STATE_MASK;
  const isOver = stage === STATE_CLOSING || stage === STATE_RESET;
  if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return isOver ? TCP_REOPEN : state;
  if ((flags & TCP_RST) !== 0) return withStage(state, STATE_RESET);
  // Whoever acknowledges has seen the other's SYN.
  const heard = stage === STATE_SYN_SENT ? withStage(state, STATE_ESTABLISHED) : state;
  if ((flags & TCP_FIN) === 0 || isOver) return heard;
  // The client's last acknowledgment may be all that follows; what the backend says meanwhile passes by.
  return withStage(heard, direction === DIRECTION_ORIGINAL ? STATE_CLOSING : STATE_FIN);
}

function answered(state: number): number {
  return withStage(state, STATE_UDP_STREAM) | FLOW_REPLIED;
}

function withStage(state: number, stage: number): number {
  return (state & ~STATE_MASK) | stage;
}
