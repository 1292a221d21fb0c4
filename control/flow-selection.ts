/** Which flows a filter means. */

import {
  FLOW_DESTINATION,
  FLOW_DNAT,
  FLOW_KIND,
  FLOW_OWNER,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SNAT,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
  protocolOfKind,
  STATE_MASK,
  zoneOfKind,
} from '../core/nat/flow.js';
import type { FlowMatch } from '../core/nat/flow-table.js';
import { MAPPED } from '../core/router/address.js';
import type { FlowFilter } from './worker-protocol.js';

/** The four addresses: word of the flow, and where in its 16 words of IPv6 addresses. */
const SOURCE = [FLOW_SOURCE, 0] as const;
const DESTINATION = [FLOW_DESTINATION, 4] as const;
const REPLY_SOURCE = [FLOW_REPLY_SOURCE, 8] as const;
const REPLY_DESTINATION = [FLOW_REPLY_DESTINATION, 12] as const;

export class FlowSelection implements FlowMatch {
  private readonly filter: FlowFilter;

  constructor(filter: FlowFilter) {
    this.filter = filter;
  }

  matches(words: Int32Array, addresses6: Int32Array, flow: number): boolean {
    const { filter } = this;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    const kind = words[at + FLOW_KIND];
    if (filter.protocol !== 0 && protocolOfKind(kind) !== filter.protocol) return false;
    if (filter.state !== 0 && (state & STATE_MASK) !== filter.state) return false;
    if (filter.zone !== 0 && zoneOfKind(kind) !== filter.zone) return false;
    if (filter.owner !== 0 && words[at + FLOW_OWNER] !== filter.owner) return false;
    if (filter.translated && (state & (FLOW_SNAT | FLOW_DNAT)) === 0) return false;
    if (filter.port !== 0 && !hasPort(words, at, filter.port)) return false;
    const is = (wanted: readonly number[], ...places: readonly (readonly [number, number])[]): boolean =>
      places.some((place) => isAddress(words, addresses6, flow, kind, place, wanted));
    if (filter.source !== null && !is(filter.source, SOURCE)) return false;
    if (filter.destination !== null && !is(filter.destination, DESTINATION, REPLY_SOURCE)) return false;
    return filter.address === null || is(filter.address, SOURCE, DESTINATION, REPLY_SOURCE, REPLY_DESTINATION);
  }
}

function hasPort(words: Int32Array, at: number, port: number): boolean {
  const original = words[at + FLOW_PORTS];
  const reply = words[at + FLOW_REPLY_PORTS];
  return [original >>> 16, original & 0xffff, reply >>> 16, reply & 0xffff].includes(port);
}

function isAddress(
  words: Int32Array,
  addresses6: Int32Array,
  flow: number,
  kind: number,
  [word, place]: readonly [number, number],
  wanted: readonly number[],
): boolean {
  if (!isIpv6Kind(kind))
    return wanted[2] === MAPPED && wanted[0] === 0 && words[flow * FLOW_WORDS + word] === wanted[3];
  const from = flow * 16 + place;
  return wanted.every((part, index) => addresses6[from + index] === part);
}
