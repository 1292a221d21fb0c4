/** Flows put into a table by hand. */

import { words } from '../../../control/address-words.js';
import { parseAddress } from '../../../control/config/address.js';
import {
  bridgedKind,
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_RULE,
  FLOW_SOURCE,
  kindOf,
  mirrorPorts,
} from '../../../core/nat/flow.js';
import type { FlowTable } from '../../../core/nat/flow-table.js';

export interface FlowSpec {
  /** VRF, or domain of a bridged one. */
  readonly zone: number;
  readonly bridged?: boolean;
  readonly protocol: number;
  /** STATE_ and flags. */
  readonly state: number;
  /** Number of the port that it began at. */
  readonly owner?: number;
  /** Addresses, and ports as FLOW_PORTS has them. */
  readonly original: readonly [source: string, destination: string, ports: number];
  /** Unless it is the original's mirror image. */
  readonly reply?: readonly [source: string, destination: string, ports: number];
  /** Number of the policy's rule; none unless given. */
  readonly rule?: number;
}

export function ports(source: number, destination: number): number {
  return (source << 16) | destination;
}

/** @returns its number */
export function addFlow(table: FlowTable, spec: FlowSpec): number {
  const { zone, protocol, state, original, bridged = false, owner = 0, rule = -1 } = spec;
  const [source, destination, both] = original;
  const reply = spec.reply ?? [destination, source, mirrorPorts(both)];
  const isIpv6 = source.includes(':');
  const kind = (bridged ? bridgedKind : kindOf)(zone, protocol, isIpv6);
  const flow = table.begin();
  const at = table.at(flow);
  const addresses = [source, destination, reply[0], reply[1]];
  addresses.forEach((text, index) => {
    const list = addressWords(text);
    table.words[at + (ADDRESS_AT[index] as number)] = list[3] as number;
    if (isIpv6) table.addresses6.set(list, flow * 16 + index * 4);
  });
  table.words[at + FLOW_KIND] = kind;
  table.words[at + FLOW_PORTS] = both;
  table.words[at + FLOW_REPLY_PORTS] = reply[2];
  table.words[table.restAt(flow) + FLOW_RULE] = rule + 1;
  if (!table.commit(flow, state | FLOW_LIVE, owner)) throw new Error(`${original} is there already`);
  return flow;
}

const ADDRESS_AT = [FLOW_SOURCE, FLOW_DESTINATION, FLOW_REPLY_SOURCE, FLOW_REPLY_DESTINATION];

/** Four words; of IPv4 the last. */
function addressWords(text: string): number[] {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return words(address.value, 4);
}
