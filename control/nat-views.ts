/** What the API answers about address translation: how it is set, what it has used up, and its mappings. */

import { hasPorts } from '../core/nat/externals.js';
import {
  MAPPING_LISTING,
  MAPPING_LISTING_EXTERNAL,
  MAPPING_LISTING_EXTERNAL_PORT,
  MAPPING_LISTING_INTERNAL,
  MAPPING_LISTING_INTERNAL_PORT,
  MAPPING_LISTING_IS_OWN,
  MAPPING_LISTING_OWNER,
  MAPPING_LISTING_PROTOCOL,
  MAPPING_LISTING_REFERENCES,
  MAPPING_LISTING_ZONE,
  MAPPING_STATUS,
  MAPPING_STATUS_ADDRESS,
  MAPPING_STATUS_BLOCKS,
  MAPPING_STATUS_FREE,
  MAPPING_STATUS_PROTOCOL,
  MAPPING_STATUS_RESERVED,
  MAPPING_STATUS_USED,
  MAPPING_STATUS_ZONE,
} from '../core/nat/mappings.js';
import { addressOf } from './address-words.js';
import type { NatConfig } from './config/schema.js';
import type { Daemon } from './daemon.js';
import { protocolName } from './flow-names.js';
import { ownerName, vrfName } from './flow-views.js';

export interface NatView {
  readonly mapping: NatConfig['mapping'];
  readonly filtering: NatConfig['filtering'];
  /** Of external addresses, for translated connections: `1024-65535`. */
  readonly ports: string;
  /** Ports that an endpoint gets at a time; 0: one by one. */
  readonly port_block: number;
  readonly flows_per_endpoint: number;
  readonly alg: NatConfig['alg'];
  /** Seconds by state. */
  readonly timeouts: NatConfig['timeouts'];
  readonly flows: FlowTableView;
  /** Connections that were refused since no port of an external address was left. */
  readonly exhausted: number;
  readonly externals: readonly ExternalView[];
  readonly endpoints: readonly OwnerView[];
}

export interface FlowTableView {
  readonly used: number;
  readonly max: number;
  /** Times that a new connection found the table full, and half-open or ending ones that made room for it. */
  readonly full: number;
  readonly evicted: number;
}

/** What is used of the ports of an external address, for one protocol. */
export interface ExternalView {
  readonly vrf: string;
  readonly address: string;
  readonly proto: string;
  readonly used: number;
  readonly free: number;
  /** Kept for published ports. */
  readonly reserved: number;
  /** Blocks of ports given out, of all protocols together. */
  readonly blocks: number;
}

/** Whose connections there are: those whose first packet came in by its port. */
export interface OwnerView {
  /** Name of an endpoint, `uplink`, `host`, or `router`. */
  readonly name: string;
  readonly flows: number;
}

export interface NatMappingView {
  readonly vrf: string;
  readonly proto: string;
  readonly internal: string;
  /** Null for protocols without ports; of ICMP the identifier. */
  readonly internalPort: number | null;
  readonly external: string;
  readonly externalPort: number | null;
  /** Name of the port that it was made for. */
  readonly owner: string;
  /** Connections that use it. */
  readonly flows: number;
  /** False: other internal addresses may have the same port, towards other destinations. */
  readonly exclusive: boolean;
}

export interface NatMappingsView {
  readonly mappings: readonly NatMappingView[];
  /** There are others, beyond the limit. */
  readonly more: boolean;
}

/** Mappings that the worker lists while packets wait: less than a millisecond. */
const PAGE = 2048;

export async function natView(daemon: Daemon): Promise<NatView> {
  const { mapping, filtering, port_block, flows_per_endpoint, alg, timeouts } = daemon.nat;
  const { first, last } = daemon.natPorts;
  const status = await daemon.dataplane.nat.status();
  const { flows: used, flowsMax: max, full, evicted, exhausted, owners, externals } = status;
  return {
    mapping,
    filtering,
    ports: `${first}-${last}`,
    port_block,
    flows_per_endpoint,
    alg,
    timeouts,
    flows: { used, max, full, evicted },
    exhausted,
    externals: records(externals, MAPPING_STATUS).map((record) => externalView(daemon, record)),
    endpoints: records(owners, 2)
      .map(([port = 0, flows = 0]) => ({ name: ownerName(daemon, port), flows }))
      .sort((a, b) => b.flows - a.flows),
  };
}

export async function natMappingViews(daemon: Daemon, limit: number): Promise<NatMappingsView> {
  const mappings: NatMappingView[] = [];
  for (let from = 0; from >= 0; ) {
    // One more than wanted tells whether there are more.
    const page = await daemon.dataplane.nat.mappings(from, Math.min(PAGE, limit + 1 - mappings.length));
    for (const record of records(page.words, MAPPING_LISTING)) {
      if (mappings.length === limit) return { mappings, more: true };
      mappings.push(mappingView(daemon, record));
    }
    from = page.next;
  }
  return { mappings, more: false };
}

function records(words: Int32Array, length: number): Int32Array[] {
  return Array.from({ length: words.length / length }, (_, i) => words.subarray(i * length, (i + 1) * length));
}

function word(record: Int32Array, at: number): number {
  return record[at] as number;
}

function addressAt(record: Int32Array, at: number): string {
  return addressOf([...record.subarray(at, at + 4)]);
}

function externalView(daemon: Daemon, record: Int32Array): ExternalView {
  return {
    vrf: vrfName(daemon, word(record, MAPPING_STATUS_ZONE)),
    address: addressAt(record, MAPPING_STATUS_ADDRESS),
    proto: protocolName(word(record, MAPPING_STATUS_PROTOCOL)),
    used: word(record, MAPPING_STATUS_USED),
    free: word(record, MAPPING_STATUS_FREE),
    reserved: word(record, MAPPING_STATUS_RESERVED),
    blocks: word(record, MAPPING_STATUS_BLOCKS),
  };
}

function mappingView(daemon: Daemon, record: Int32Array): NatMappingView {
  const protocol = word(record, MAPPING_LISTING_PROTOCOL);
  const port = (at: number): number | null => (hasPorts(protocol) ? word(record, at) & 0xffff : null);
  return {
    vrf: vrfName(daemon, word(record, MAPPING_LISTING_ZONE)),
    proto: protocolName(protocol),
    internal: addressAt(record, MAPPING_LISTING_INTERNAL),
    internalPort: port(MAPPING_LISTING_INTERNAL_PORT),
    external: addressAt(record, MAPPING_LISTING_EXTERNAL),
    externalPort: port(MAPPING_LISTING_EXTERNAL_PORT),
    owner: ownerName(daemon, word(record, MAPPING_LISTING_OWNER)),
    flows: word(record, MAPPING_LISTING_REFERENCES),
    exclusive: word(record, MAPPING_LISTING_IS_OWN) === 1,
  };
}
