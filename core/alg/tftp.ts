/**
 * TFTP (RFC 1350, 4): a request goes to port 69, and the answer comes from another port of the server's, to which all else then goes.
 */

import type { Packet } from '../packet/packet.js';
import { UDP_HEADER_LENGTH } from '../wire/udp.js';

export const TFTP_PORT = 69;

const READ_REQUEST = 1;
const WRITE_REQUEST = 2;

/** Whether a UDP datagram is a read or write request. */
export function isTftpRequest(view: DataView, packet: Packet): boolean {
  const at = packet.l4 + UDP_HEADER_LENGTH;
  if (at + 2 > packet.l3End) return false;
  const operation = view.getUint16(at);
  return operation === READ_REQUEST || operation === WRITE_REQUEST;
}
