/** Which flows a filter means. */

import {
  FLOW_BRIDGED,
  FLOW_DESTINATION,
  FLOW_DNAT,
  FLOW_KIND,
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
import type { FlowMatch, FlowTable } from '../core/nat/flow-table.js';
import { MAPPED, mask6 } from '../core/router/address.js';
import type { FlowFilter, FlowPrefix } from './worker-protocol.js';

/** The four addresses: word of the flow, and where in its 16 words of IPv6 addresses. */
type Place = readonly [word: number, at6: number];
const SOURCE: Place = [FLOW_SOURCE, 0];
const DESTINATION: Place = [FLOW_DESTINATION, 4];
const REPLY_SOURCE: Place = [FLOW_REPLY_SOURCE, 8];
const REPLY_DESTINATION: Place = [FLOW_REPLY_DESTINATION, 12];
const SOURCES = [SOURCE];
const ASKED = [DESTINATION];
/** As it was asked for, and as it is behind a translation. */
const DESTINATIONS = [DESTINATION, REPLY_SOURCE];
const ADDRESSES = [SOURCE, DESTINATION, REPLY_SOURCE, REPLY_DESTINATION];

export class FlowSelection implements FlowMatch {
  private readonly filter: FlowFilter;
  private readonly owners: ReadonlySet<number>;
  private readonly backends: ReadonlySet<number> | null;
  /** The address that is looked at, four words. */
  private readonly address = new Int32Array(4);

  constructor(filter: FlowFilter) {
    this.filter = filter;
    this.owners = new Set(filter.party?.owners);
    this.backends = filter.backends === null ? null : new Set(filter.backends);
  }

  isOf(table: FlowTable, flow: number): boolean {
    return this.matches(table.words, table.addresses6, flow, table.ownerOf(flow), table.backendOf(flow));
  }

  matches(words: Int32Array, addresses6: Int32Array, flow: number, owner: number, backend: number): boolean {
    const { protocol, states, port, reached, translated, source, destination, spared } = this.filter;
    const at = flow * FLOW_WORDS;
    const state = words[at + FLOW_STATE];
    if (this.backends !== null && !this.backends.has(backend)) return false;
    if (protocol !== 0 && protocolOfKind(words[at + FLOW_KIND]) !== protocol) return false;
    if (states !== 0 && ((states >>> (state & STATE_MASK)) & 1) === 0) return false;
    if (translated && (state & (FLOW_SNAT | FLOW_DNAT)) === 0) return false;
    if (port !== 0 && !hasPort(words, at, port)) return false;
    if (reached !== null && !isBetween(words[at + FLOW_PORTS] & 0xffff, reached)) return false;
    if (source !== null && !this.hasAddress(words, addresses6, flow, SOURCES, source)) return false;
    if (destination !== null && !this.hasAddress(words, addresses6, flow, DESTINATIONS, destination)) return false;
    if (spared.some((prefix) => this.hasAddress(words, addresses6, flow, ASKED, prefix))) return false;
    return this.isOfParty(words, addresses6, flow, owner);
  }

  private isOfParty(words: Int32Array, addresses6: Int32Array, flow: number, owner: number): boolean {
    const { party } = this.filter;
    const at = flow * FLOW_WORDS;
    if (party === null || this.owners.has(owner)) return true;
    const where = (words[at + FLOW_STATE] & FLOW_BRIDGED) === 0 ? party.vrf : party.domain;
    if (zoneOfKind(words[at + FLOW_KIND]) !== where) return false;
    return party.prefixes.some((prefix) => this.hasAddress(words, addresses6, flow, ADDRESSES, prefix));
  }

  /** Whether one of these addresses of the flow is in the prefix. */
  private hasAddress(
    words: Int32Array,
    addresses6: Int32Array,
    flow: number,
    places: readonly Place[],
    prefix: FlowPrefix,
  ): boolean {
    if (isIpv6Kind(words[flow * FLOW_WORDS + FLOW_KIND]) !== prefix.isIpv6) return false;
    for (const place of places) {
      this.read(words, addresses6, flow, place);
      if (this.isIn(prefix)) return true;
    }
    return false;
  }

  private read(words: Int32Array, addresses6: Int32Array, flow: number, [word, at6]: Place): void {
    const { address } = this;
    const isIpv6 = isIpv6Kind(words[flow * FLOW_WORDS + FLOW_KIND]);
    for (let i = 0; i < 4; i++) address[i] = isIpv6 ? addresses6[flow * 16 + at6 + i] : 0;
    if (isIpv6) return;
    address[2] = MAPPED;
    address[3] = words[flow * FLOW_WORDS + word];
  }

  private isIn({ words, length }: FlowPrefix): boolean {
    for (let i = 0; i < 4; i++) if (((this.address[i] ^ (words[i] as number)) & mask6(length, i)) !== 0) return false;
    return true;
  }
}

function hasPort(words: Int32Array, at: number, port: number): boolean {
  const original = words[at + FLOW_PORTS];
  const reply = words[at + FLOW_REPLY_PORTS];
  return original >>> 16 === port || (original & 0xffff) === port || reply >>> 16 === port || (reply & 0xffff) === port;
}

function isBetween(port: number, { first, last }: { readonly first: number; readonly last: number }): boolean {
  return first <= port && port <= last;
}
