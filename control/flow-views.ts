/** What the API answers about connections: the flows of the dataplane's table, with names. */

import { hasIdentifier, hasPorts } from '../core/nat/externals.js';
import {
  FLOW_BACKEND_SHIFT,
  FLOW_BRIDGED,
  FLOW_DESTINATION,
  FLOW_DNAT,
  FLOW_EXPIRES,
  FLOW_KIND,
  FLOW_OWNER,
  FLOW_OWNER_MASK,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_REST_WORDS,
  FLOW_RULE,
  FLOW_SNAT,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
  protocolOfKind,
  STATE_MASK,
  zoneOfKind,
} from '../core/nat/flow.js';
import { MAPPED } from '../core/router/address.js';
import { addressOf } from './address-words.js';
import type { Daemon } from './daemon.js';
import { TaplineError } from './errors.js';
import { type FlowRequest, flowFilter, isSelective } from './flow-filter.js';
import { flagNames, protocolName, stateName } from './flow-names.js';
import type { Services } from './services.js';
import { networkName, portName } from './views.js';
import { FLOW_LISTING } from './worker-protocol.js';

export interface TupleView {
  readonly source: string;
  readonly destination: string;
  /** Null for protocols without ports. */
  readonly sourcePort: number | null;
  readonly destinationPort: number | null;
  /** Of ICMP queries; null for all else. */
  readonly id: number | null;
}

export interface FlowView {
  readonly proto: string;
  readonly state: string;
  /** Null for frames within a network. */
  readonly vrf: string | null;
  /** Of frames within a network; null for what is routed. */
  readonly network: string | null;
  /** The port that its first packet came in by. */
  readonly from: string;
  /** As the first packet had it. */
  readonly original: TupleView;
  /** As answers have it as they come in: where nothing is translated, the original's mirror image. */
  readonly reply: TupleView;
  readonly translated: boolean;
  /** Seconds until it ends, unless a packet comes. */
  readonly expiresSeconds: number;
  readonly flags: readonly string[];
  /** Place of the policy's rule that let it pass; null: none did, or a network's default, or it has been removed. */
  readonly rule: number | null;
  /** That has chosen where it goes; null: none has, or it has been removed. */
  readonly service: string | null;
  /** ENDPOINT:PORT, likewise. */
  readonly backend: string | null;
}

export interface FlowsView {
  readonly flows: readonly FlowView[];
  /** There are others that fit, beyond the limit. */
  readonly more: boolean;
}

/** Flows that the worker lists while packets wait: less than a millisecond. */
const PAGE = 2048;

/** @throws TaplineError `missing`, `invalid` */
export async function flowViews(daemon: Daemon, request: FlowRequest, limit: number): Promise<FlowsView> {
  const filter = flowFilter(daemon, request);
  const backends = daemon.services.backendsByNumber();
  const flows: FlowView[] = [];
  for (let from = 0; from >= 0; ) {
    // One more than wanted tells whether there are more.
    const page = await daemon.dataplane.nat.flows(from, Math.min(PAGE, limit + 1 - flows.length), filter);
    for (let at = 0; at < page.words.length; at += FLOW_LISTING) {
      if (flows.length === limit) return { flows, more: true };
      flows.push(flowView(daemon, backends, page.words.subarray(at, at + FLOW_LISTING), page.now));
    }
    from = page.next;
  }
  return { flows, more: false };
}

export interface FlushRequest extends FlowRequest {
  /** Every flow. */
  readonly all?: boolean | undefined;
}

/** @returns how many there were. @throws TaplineError `missing`, `invalid` */
export async function flushFlows(daemon: Daemon, { all = false, ...request }: FlushRequest): Promise<number> {
  const selective = isSelective(request);
  if (!all && !selective)
    throw new TaplineError('invalid', 'expected which connections to end, or all; got neither', 'all');
  if (all && selective) throw new TaplineError('invalid', 'expected no further words with all', 'all');
  return await daemon.dataplane.nat.flushFlows(flowFilter(daemon, request));
}

type Backends = ReturnType<Services['backendsByNumber']>;

/** Where in a record the addresses of IPv6 stand. */
const ADDRESSES_AT = FLOW_WORDS + FLOW_REST_WORDS;

/** @param record FLOW_LISTING words @param now seconds on the worker's clock */
function flowView(daemon: Daemon, backends: Backends, record: Int32Array, now: number): FlowView {
  const [kind, state, rule] = [word(record, FLOW_KIND), word(record, FLOW_STATE), word(record, FLOW_WORDS + FLOW_RULE)];
  const zone = zoneOfKind(kind);
  const isBridged = (state & FLOW_BRIDGED) !== 0;
  const owner = word(record, FLOW_WORDS + FLOW_OWNER);
  const chosen = backends.get(owner >>> FLOW_BACKEND_SHIFT);
  return {
    proto: protocolName(protocolOfKind(kind)),
    state: stateName(state & STATE_MASK),
    vrf: isBridged ? null : vrfName(daemon, zone),
    network: isBridged ? networkName(daemon, zone) : null,
    from: ownerName(daemon, owner & FLOW_OWNER_MASK),
    original: tupleView(record, FLOW_SOURCE, FLOW_DESTINATION, FLOW_PORTS, 0),
    reply: tupleView(record, FLOW_REPLY_SOURCE, FLOW_REPLY_DESTINATION, FLOW_REPLY_PORTS, 8),
    translated: (state & (FLOW_SNAT | FLOW_DNAT)) !== 0,
    expiresSeconds: Math.max(0, word(record, FLOW_EXPIRES) - now),
    flags: flagNames(state),
    rule: (rule & 0xffff) === 0 ? null : daemon.policy.placeOf((rule & 0xffff) - 1),
    service: chosen?.service ?? null,
    backend: chosen?.backend ?? null,
  };
}

function word(record: Int32Array, at: number): number {
  return record[at] as number;
}

/** Name of the port that a connection began at; 0 is the router itself. */
export function ownerName(daemon: Daemon, port: number): string {
  return port === 0 ? 'router' : portName(daemon, port);
}

/** @param zone number of a VRF */
export function vrfName(daemon: Daemon, zone: number): string {
  return daemon.interfaces.vrfs.nameOf(zone) ?? `VRF ${zone}`;
}

/** @param at6 where its two addresses stand among the 16 words of IPv6 */
function tupleView(record: Int32Array, source: number, destination: number, ports: number, at6: number): TupleView {
  const kind = word(record, FLOW_KIND);
  const protocol = protocolOfKind(kind);
  const both = word(record, ports);
  const hasId = hasIdentifier(protocol);
  const hasTwo = hasPorts(protocol) && !hasId;
  const address = (at: number, offset: number): string =>
    addressOf(
      isIpv6Kind(kind)
        ? [...record.subarray(ADDRESSES_AT + at6 + offset, ADDRESSES_AT + at6 + offset + 4)]
        : [0, 0, MAPPED, word(record, at)],
    );
  return {
    source: address(source, 0),
    destination: address(destination, 4),
    sourcePort: hasTwo ? both >>> 16 : null,
    destinationPort: hasTwo ? both & 0xffff : null,
    id: hasId ? both & 0xffff : null,
  };
}
