/** Words for the numbers of a flow: protocols as IANA assigns them, states, flags. */

import {
  FLOW_ALG,
  FLOW_BRIDGED,
  FLOW_DNAT,
  FLOW_LOOSE,
  FLOW_RELATED,
  FLOW_REPLIED,
  FLOW_SNAT,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_ICMP_REPLIED,
  STATE_ICMP_UNREPLIED,
  STATE_OTHER_REPLIED,
  STATE_OTHER_UNREPLIED,
  STATE_RESET,
  STATE_SCTP_ESTABLISHED,
  STATE_SCTP_OPENING,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../core/nat/flow.js';
import { PROTOCOL_ICMPV6 } from '../core/wire/icmpv6.js';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../core/wire/ipv4.js';
import { PROTOCOL_DCCP, PROTOCOL_SCTP } from '../core/wire/sctp.js';

const PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  icmp: PROTOCOL_ICMP,
  icmpv6: PROTOCOL_ICMPV6,
  sctp: PROTOCOL_SCTP,
  dccp: PROTOCOL_DCCP,
  udplite: 136,
  ipip: 4,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
};
const PROTOCOL_NAMES = new Map(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));

/** The number of a protocol by name, or as it stands; null: it is none. 0 would be IPv6's hop-by-hop options. */
export function protocolNumber(text: string): number | null {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : PROTOCOLS[text];
  return number === undefined || number < 1 || number > 255 ? null : number;
}

/** Its number in text where it has no name here. */
export function protocolName(number: number): string {
  return PROTOCOL_NAMES.get(number) ?? String(number);
}

/** One word may stand for states of several protocols. */
const STATES = {
  syn_sent: [STATE_SYN_SENT],
  syn_received: [STATE_SYN_RECEIVED],
  opening: [STATE_SCTP_OPENING],
  established: [STATE_ESTABLISHED, STATE_SCTP_ESTABLISHED],
  fin: [STATE_FIN],
  closing: [STATE_CLOSING],
  reset: [STATE_RESET],
  unreplied: [STATE_UDP_UNREPLIED, STATE_ICMP_UNREPLIED, STATE_OTHER_UNREPLIED],
  stream: [STATE_UDP_STREAM],
  replied: [STATE_ICMP_REPLIED, STATE_OTHER_REPLIED],
} as const satisfies Readonly<Record<string, readonly number[]>>;

export type StateName = keyof typeof STATES;
export const STATE_NAMES = Object.keys(STATES) as [StateName, ...StateName[]];
const STATE_TEXTS = new Map<number, string>(
  STATE_NAMES.flatMap((name) => STATES[name].map((state): [number, string] => [state, name])),
);

export function stateName(state: number): string {
  return STATE_TEXTS.get(state) ?? `state ${state}`;
}

/** A bit for each state of that name. */
export function stateMask(name: StateName): number {
  return STATES[name].reduce((mask, state) => mask | (1 << state), 0);
}

const FLAGS: readonly (readonly [number, string])[] = [
  [FLOW_SNAT, 'snat'],
  [FLOW_DNAT, 'dnat'],
  [FLOW_REPLIED, 'replied'],
  [FLOW_BRIDGED, 'bridged'],
  [FLOW_ALG, 'alg'],
  [FLOW_RELATED, 'related'],
  [FLOW_LOOSE, 'picked_up'],
];

/** @param state whole word FLOW_STATE */
export function flagNames(state: number): string[] {
  return FLAGS.filter(([flag]) => (state & flag) !== 0).map(([, name]) => name);
}
