/** Mappings with what they need around them: a plain set of tuples for the flow table, and the addresses of a few endpoints. */

import type { External } from '../../../core/nat/externals.js';
import { kindOf } from '../../../core/nat/flow.js';
import {
  MAPPING_LISTING,
  type MappingEvents,
  type MappingSettings,
  Mappings,
  type Tuples,
} from '../../../core/nat/mappings.js';
import {
  PUBLISHED_ADDRESS,
  PUBLISHED_FIRST,
  PUBLISHED_LAST,
  PUBLISHED_PROTOCOL,
  PUBLISHED_RECORD,
  PUBLISHED_ZONE,
} from '../../../core/nat/published.js';
import { MAPPING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { MAPPED } from '../../../core/router/address.js';

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const GRE = 47;
export const ZONE = 3;
export const OUTSIDE = 0x0a4d0001;
export const INSIDE = 0xac1e0000 | 0;
export const REMOTE = 0xc6336400 | 0;

export const SETTINGS: MappingSettings = {
  mapping: MAPPING_ENDPOINT_INDEPENDENT,
  firstPort: 1024,
  lastPort: 65_535,
  portBlock: 0,
};

/** An IPv4 address as four words. */
export function mapped(address: number): number[] {
  return [0, 0, MAPPED, address];
}

/** What a flow asks for. */
export interface Wish {
  readonly protocol: number;
  /** Four words. */
  readonly inside: readonly number[];
  readonly port: number;
  readonly remote: readonly number[];
  readonly remotePort: number;
  readonly owner: number;
}

export interface Flow extends Wish {
  readonly external: number;
  readonly externalPort: number;
  readonly tuple: string;
  isClosing: boolean;
}

/** The tuples of answers, as strings. */
export class TupleSet implements Tuples {
  readonly taken = new Set<string>();

  isTaken4(kind: number, source: number, destination: number, ports: number): boolean {
    return this.taken.has(tupleOf(kind, [...mapped(source), ...mapped(destination)], ports));
  }

  findWords6(kind: number, words: Int32Array, ports: number): number {
    return this.taken.has(tupleOf(kind, [...words], ports)) ? 0 : -1;
  }
}

function tupleOf(kind: number, addresses: readonly number[], ports: number): string {
  return `${kind} ${addresses.join('.')} ${ports}`;
}

export class Lab implements MappingEvents {
  readonly mappings: Mappings;
  readonly tuples = new TupleSet();
  readonly flows: Flow[] = [];
  /** One line an event. */
  readonly told: string[] = [];
  /** The external address of IPv4 flows. */
  readonly external: number;

  constructor(settings: Partial<MappingSettings> = {}, capacity = 4096, seed = 11) {
    this.mappings = new Mappings(seed, capacity);
    this.mappings.configure({ ...SETTINGS, ...settings });
    this.mappings.events = this;
    this.external = this.mappings.external(ZONE, 0, 0, MAPPED, OUTSIDE);
  }

  portsExhausted(owner: number, { d }: External): void {
    this.told.push(`exhausted ${owner} at ${d - OUTSIDE}`);
  }

  blockTaken(owner: number, _: External, first: number, size: number): void {
    this.told.push(`block ${first}+${size} of ${owner}`);
  }

  blockFreed(owner: number, _: External, first: number, size: number): void {
    this.told.push(`freed ${first}+${size} of ${owner}`);
  }

  /** A flow with a mapping, noted where its answer's tuple is; null where it is refused. */
  take(wish: Wish, external = this.external): Flow | null {
    const isIpv6 = wish.remote[2] !== MAPPED;
    const kind = kindOf(ZONE, wish.protocol, isIpv6);
    const inside = Int32Array.from([...wish.inside, ...wish.remote]);
    const outside = Int32Array.from([9, 9, 9, 9, ...wish.remote]);
    const { mappings, tuples } = this;
    const externalPort = mappings.take(
      external,
      wish.protocol,
      inside,
      wish.port,
      wish.owner,
      outside,
      wish.remotePort,
      tuples,
      kind,
    );
    if (externalPort < 0) return null;
    const address = [0, 1, 2, 3].map((i) => mappings.externalWord(external, i));
    const source = wish.protocol === ICMP ? externalPort : wish.remotePort;
    const tuple = tupleOf(kind, [...wish.remote, ...address], (source << 16) | externalPort);
    if (tuples.taken.has(tuple)) throw new Error(`the answer's tuple is taken: ${tuple}`);
    tuples.taken.add(tuple);
    const flow = { ...wish, external, externalPort, tuple, isClosing: false };
    this.flows.push(flow);
    return flow;
  }

  /** From endpoint `host` (which is also its port's number) to remote `to`; its external port, or -1. */
  open(protocol: number, host: number, port: number, to = 1, remotePort = 80): number {
    return this.take(wishOf(protocol, host, port, to, remotePort))?.externalPort ?? -1;
  }

  end(flow: Flow): void {
    this.flows.splice(this.flows.indexOf(flow), 1);
    this.tuples.taken.delete(flow.tuple);
    if (!this.mappings.release(flow.external, flow.protocol, flow.externalPort, flow.isClosing))
      throw new Error('no such mapping');
  }

  close(flow: Flow): void {
    flow.isClosing = true;
    this.mappings.close(flow.external, flow.protocol, flow.externalPort);
  }

  endAll(): void {
    for (const flow of [...this.flows]) this.end(flow);
  }

  /** Who an external port is, as "host:port"; null: nobody's. */
  findInside(protocol: number, port: number): string | null {
    const mapping = this.mappings.find(ZONE, 0, 0, MAPPED, OUTSIDE, protocol, port);
    if (mapping < 0) return null;
    return `${this.mappings.internalWord(mapping, 3) - INSIDE}:${this.mappings.internalPort(mapping)}`;
  }
}

export function wishOf(protocol: number, host: number, port: number, to = 1, remotePort = 80): Wish {
  return { protocol, inside: mapped(INSIDE + host), port, remote: mapped(REMOTE + to), remotePort, owner: host };
}

/** The records of a listing, each a line, sorted. */
export function linesOf(listing: Int32Array): string[] {
  return Array.from({ length: listing.length / MAPPING_LISTING }, (_, i) =>
    listing.subarray(i * MAPPING_LISTING, (i + 1) * MAPPING_LISTING).join(' '),
  ).sort();
}

/** A record as published.ts has it. @param address four words */
export function published(
  protocol: number,
  address: readonly number[],
  first: number,
  last: number,
  zone = ZONE,
): Int32Array {
  const record = new Int32Array(PUBLISHED_RECORD);
  record[PUBLISHED_ZONE] = zone;
  record[PUBLISHED_PROTOCOL] = protocol;
  record.set(address, PUBLISHED_ADDRESS);
  record[PUBLISHED_FIRST] = first;
  record[PUBLISHED_LAST] = last;
  return record;
}

export function concat(...records: Int32Array[]): Int32Array {
  return Int32Array.from(records.flatMap((record) => [...record]));
}
