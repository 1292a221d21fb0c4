/**
 * The words of a flow: one connection, both directions of it, in FLOW_WORDS and FLOW_REST_WORDS int32 of flat tables (64 and 16 bytes), which may lie in memory that
 * outlives the process. All that can be computed anew from these words is kept elsewhere (flow-table.ts).
 *
 * A flow has two tuples. The original one is what the packet that began it had; the reply one is what answers have as they come in. Without
 * address translation the reply tuple is the original's mirror image; with it, the difference is the translation. A packet that matches one
 * leaves as the other's mirror image.
 *
 * Ports are one word, source in the upper half: of ICMP echo the identifier stands in both halves; 0 for protocols without.
 * Addresses of IPv6 are in `addresses6` of the table, 16 words a flow: original source, original destination, reply source, reply
 * destination; the four address words here hold their last words.
 */

import { MAX_PORTS } from '../ports.js';

export const FLOW_WORDS = 16;
export const FLOW_SOURCE = 0;
export const FLOW_DESTINATION = 1;
export const FLOW_PORTS = 2;
export const FLOW_REPLY_SOURCE = 3;
export const FLOW_REPLY_DESTINATION = 4;
export const FLOW_REPLY_PORTS = 5;
/** Zone, family and protocol in one word (`kindOf`). */
export const FLOW_KIND = 6;
/** State, flags and TCP's window scales; 0: no flow stands here. Written last where a flow begins, and first where it ends. */
export const FLOW_STATE = 7;
/** Second (of the clock that counts from boot) in which it ends unless a packet refreshes it. */
export const FLOW_EXPIRES = 8;
/**
 * What forwarding has found for packets of each direction, stamped (paths.ts); 0: nothing yet. Of a flow with FLOW_ALG the shift of that
 * direction's sequence numbers, in the upper half.
 */
export const FLOW_PATH = 9;
export const FLOW_PATH_REPLY = 10;
/** TCP: five words of tcp.ts. */
export const FLOW_TCP = 11;

/**
 * What packets of a known flow do not need stands apart: the words above are a cache line then, and among a million flows each line is one
 * to wait for. FLOW_REST_WORDS a flow, behind the entries of all (`FlowTable.restAt`).
 */
export const FLOW_REST_WORDS = 4;
/** Rule of the policy that let it pass, and the policy's epoch: `(epoch & 0xffff) << 16 | (rule + 1)`, 0 in the lower half: none. */
export const FLOW_RULE = 0;
/**
 * Number of the port that the first packet came in by: whose it is, for limits. Above it (FLOW_BACKEND_SHIFT) the number of the backend
 * that a service has chosen; 0: none has.
 */
export const FLOW_OWNER = 1;
export const FLOW_OWNER_MASK = MAX_PORTS - 1;
export const FLOW_BACKEND_SHIFT = 13;
/** Neighbors in the list of a second of the timer wheel: number of the flow plus 1; 0 or less: the end of the list of that number, negated. */
export const FLOW_NEXT = 2;
export const FLOW_PREVIOUS = 3;

/** FLOW_STATE, bits 0 to 3: how far it has come. */
export const STATE_MASK = 0xf;
export const STATE_SYN_SENT = 1;
export const STATE_SYN_RECEIVED = 2;
export const STATE_ESTABLISHED = 3;
/** One side has said FIN. */
export const STATE_FIN = 4;
/** Both have. */
export const STATE_CLOSING = 5;
export const STATE_RESET = 6;
export const STATE_UDP_UNREPLIED = 7;
export const STATE_UDP_STREAM = 8;
export const STATE_ICMP_UNREPLIED = 9;
export const STATE_ICMP_REPLIED = 10;
export const STATE_OTHER_UNREPLIED = 11;
export const STATE_OTHER_REPLIED = 12;
export const STATE_SCTP_OPENING = 13;
export const STATE_SCTP_ESTABLISHED = 14;
export const STATES = 16;

/** An answer has been seen. */
export const FLOW_REPLIED = 1 << 4;
/** The source is translated: the reply's destination is not the original's source. */
export const FLOW_SNAT = 1 << 5;
/** The destination is translated. */
export const FLOW_DNAT = 1 << 6;
/** A reference on a mapping of `Mappings` is held, for the reply's destination and its port. */
export const FLOW_MAPPED = 1 << 7;
/** Of a bridge's frames: policy alone, no router. */
export const FLOW_BRIDGED = 1 << 8;
/** An application layer gateway looks at its packets. */
export const FLOW_ALG = 1 << 9;
/** Made by an application layer gateway, or expected by it. */
export const FLOW_RELATED = 1 << 10;
/** TCP: was taken up in the middle; windows are learned, not enforced (RFC 7857 does not ask for it, rebooted routers do). */
export const FLOW_LOOSE = 1 << 11;
/** A mapping let the first packet in: that of the original's destination and its port. */
export const FLOW_ENTERED = 1 << 12;
/** The inside has answered it since, and a reference is held on that mapping. */
export const FLOW_ANSWERED = 1 << 13;
/** A service has chosen where it goes: FLOW_OWNER says which backend. */
export const FLOW_BALANCED = 1 << 14;
/**
 * Answers may go other ways, so one side of it may be all that is seen. With FLOW_BALANCED: the backend has the service's address (direct
 * server return). Without: one of its ends is in a network that spans hosts, and the router of that end's host has the answers.
 */
export const FLOW_DIRECT = 1 << 15;
export const FLOW_DIRECT_SERVICE = FLOW_BALANCED | FLOW_DIRECT;
/** TCP: window scale of the original direction (4 bits) and of the reply (4 bits). */
export const FLOW_SCALE_SHIFT = 16;
export const FLOW_SCALE_REPLY_SHIFT = 20;
/** TCP: FIN seen of the original direction, of the reply; tcp.ts has bits 24 to 29. */
export const FLOW_TCP_FLAGS_SHIFT = 24;
/** Always set while a flow stands here. */
export const FLOW_LIVE = 1 << 30;

/** Directions, the lowest bit of what searches return: flow * 2 + direction. */
export const DIRECTION_ORIGINAL = 0;
export const DIRECTION_REPLY = 1;

/** `packet.flow`: none. */
export const NO_FLOW = -1;
/** `packet.flow` of an ICMP error: the flow that it is about, and the direction in which the error travels. */
export const FLOW_ERROR = 1 << 30;

/** `packet.flow`: of no flow, and translated all the same, as FlowOpener says: a flood goes through a service so. */
export const FLOW_PASSING = 1 << 29;

/** Zones of the router are VRF numbers; those of bridges their domain, in a family of their own. */
const KIND_IPV6 = 1 << 8;
const KIND_BRIDGED = 1 << 9;
const KIND_ZONE_SHIFT = 10;

/** @param zone number of the VRF, below 2^16 */
export function kindOf(zone: number, protocol: number, isIpv6: boolean): number {
  return (zone << KIND_ZONE_SHIFT) | (isIpv6 ? KIND_IPV6 : 0) | protocol;
}

/** Of a bridge's own flows. @param fid number of the domain */
export function bridgedKind(fid: number, protocol: number, isIpv6: boolean): number {
  return kindOf(fid, protocol, isIpv6) | KIND_BRIDGED;
}

export function isIpv6Kind(kind: number): boolean {
  return (kind & KIND_IPV6) !== 0;
}

export function protocolOfKind(kind: number): number {
  return kind & 0xff;
}

export function zoneOfKind(kind: number): number {
  return (kind >>> KIND_ZONE_SHIFT) & 0xffff;
}

/** Source and destination port exchanged. */
export function mirrorPorts(ports: number): number {
  return (ports << 16) | (ports >>> 16);
}
