/**
 * Published ports and listeners of services as they are wanted, and what follows from them: records in the dataplane, sockets and a
 * guard on a host whose addresses are shared. Those of endpoints come and go with these, and change while they are up.
 */

import { NO_PORT, PUBLISHED_RECORD } from '../core/nat/published.js';
import { Turns } from './concurrency.js';
import { formatAddress, withoutLength } from './config/address.js';
import { formatPublish, type PublishProtocol, type PublishSpec } from './config/fields.js';
import { isUnspecified, publishFamilies, publishSpec } from './config/publish.js';
import { TaplineError } from './errors.js';
import { flowsOf, hostPrefix, partyOf } from './flow-parties.js';
import { ANY_FLOW } from './nat-client.js';
import type { PortRange } from './port-ranges.js';
import { addressWords } from './router-specs.js';
import type { EndpointState } from './state.js';
import type { DataplaneNat } from './types.js';
import { type HostLink, type HostPublish, type HostPublishing, isOnWire } from './uplink/host-publishing.js';
import type { KeptPort, OwnedPorts } from './uplink/owned-ports.js';
import type { FlowFilter } from './worker-protocol.js';

export const PROTOCOL_NUMBERS: Readonly<Record<PublishProtocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** PUBLISHED_SERVICE of what leads to an endpoint. */
const NO_SERVICE = 0;

/** Who has published ports, or listens. */
export interface Publisher {
  /** `endpoint a`, `service web`. */
  readonly owner: string;
  /** Name of its VRF. */
  readonly vrf: string;
  /**
   * Which connections of a family that came in at an address (null: at any) are its own; null: none can be.
   *
   * @param vrf the dataplane's number of its VRF
   */
  connections(family: 4 | 6, at: string | null, vrf: number): Partial<FlowFilter> | null;
  /**
   * The words of a record from PUBLISHED_TARGET on; null: in this family it leads nowhere.
   *
   * @param inner port of the endpoint
   * @param first port of the record
   */
  leadsTo(family: 4 | 6, inner: number, first: number): number[] | null;
}

/** One of a publisher's, as it is asked for. */
export interface Wanted extends HostPublish {
  /** At an address of a network's router interface: no matter of the uplink, nor of the host. */
  readonly isVirtual: boolean;
}

interface Publication extends Wanted {
  readonly publisher: Publisher;
}

export interface PublicationsParts {
  readonly nat: DataplaneNat;
  /** Name of the VRF of an endpoint. */
  vrfOf(endpoint: EndpointState): string;
  /** The dataplane's number; null while it has none. */
  vrfNumber(vrf: string): number | null;
  /** The host's side; null where the uplink has addresses of its own. */
  host(): HostPublishing | null;
  link(): HostLink | null;
  /** Ports of the uplink's addresses that address translation must leave to the host, and the VRF that this is in. */
  kept(): { readonly vrf: string; readonly ports: readonly KeptPort[] } | null;
  isStopping(): boolean;
  /** Called when what is published has changed, before the dataplane knows: host port, guard and tracking follow. */
  changed(): Promise<void>;
}

export class Publications {
  readonly #parts: PublicationsParts;
  /** By owner, in the order of its list. */
  readonly #all = new Map<string, readonly Publication[]>();
  readonly #turns = new Turns();
  #next: Promise<void> | null = null;

  constructor(parts: PublicationsParts) {
    this.#parts = parts;
  }

  /** Publishes what an endpoint asks for; it has its addresses and its port. @throws TaplineError; then nothing of it is published */
  async open(endpoint: EndpointState): Promise<void> {
    if (endpoint.config.publish.length === 0) return;
    await this.#replace(...this.#ofEndpoint(endpoint, endpoint.config.publish));
  }

  /**
   * Replaces what a live endpoint has published. Connections through what it has no more end.
   *
   * @throws TaplineError; then it has what it had
   */
  async change(endpoint: EndpointState, publish: readonly string[]): Promise<void> {
    await this.listen(...this.#ofEndpoint(endpoint, publish));
  }

  /**
   * Replaces all that a publisher has, or gives it what it wants first. Connections through what it has no more end.
   *
   * @throws TaplineError; then it has what it had
   */
  async listen(publisher: Publisher, wanted: readonly Wanted[]): Promise<void> {
    const before = this.#all.get(publisher.owner) ?? [];
    const kept = new Set(wanted.map(({ text }) => text));
    const stays = before.filter(({ text }) => kept.has(text));
    const ended = before.filter(({ text }) => !kept.has(text)).flatMap((gone) => this.#flowsOf(gone, stays));
    await this.#replace(publisher, wanted);
    for (const filter of ended) await this.#parts.nat.flushFlows(filter);
  }

  #ofEndpoint(endpoint: EndpointState, publish: readonly string[]): [Publisher, Wanted[]] {
    const publisher = endpointPublisher(endpoint, this.#parts.vrfOf(endpoint));
    return [publisher, publish.map((text, index) => wantedOf(endpoint, text, index))];
  }

  async #replace(publisher: Publisher, wanted: readonly Wanted[]): Promise<void> {
    const { owner } = publisher;
    const before = this.#all.get(owner) ?? [];
    const after = wanted.map((one): Publication => ({ ...one, publisher }));
    const fresh = notIn(after, before);
    const gone = notIn(before, after);
    // What goes gives its ports back first: what comes may want the same ones.
    await this.#release(gone);
    try {
      await this.#hold(fresh);
      this.#all.set(owner, after);
      await this.update();
    } catch (error) {
      await this.#release(fresh);
      this.#all.set(owner, before);
      if (before.length === 0) this.#all.delete(owner);
      await this.#hold(gone).catch(() => undefined);
      await this.update().catch(() => undefined);
      throw error;
    }
  }

  async #hold(wanted: readonly Publication[]): Promise<void> {
    const host = this.#parts.host();
    for (const one of wanted) if (!one.isVirtual) await host?.hold(one.publisher.owner, one);
  }

  async #release(publications: readonly Publication[]): Promise<void> {
    const host = this.#parts.host();
    for (const { publisher, text } of publications) await host?.release(publisher.owner, text);
  }

  /** Nothing of a publisher's is there any more. Connections go on: ending them is the caller's. @throws what the dataplane throws; it is forgotten all the same */
  async forget(owner: string): Promise<void> {
    const before = this.#all.get(owner) ?? [];
    if (before.length === 0) return;
    this.#all.delete(owner);
    try {
      await this.update();
    } finally {
      // Whatever refuses to follow: its ports are nobody's any more.
      await this.#release(before);
    }
  }

  /** Nothing reaches an endpoint any more that is on its way out: its published ports end, and every connection to and from it. */
  async close(endpoint: EndpointState): Promise<void> {
    try {
      await this.forget(ownerOf(endpoint));
    } finally {
      await this.#flushAll(endpoint);
    }
  }

  async #flushAll(endpoint: EndpointState): Promise<void> {
    const zone = this.#parts.vrfNumber(this.#parts.vrfOf(endpoint));
    // With all else the flows go as well.
    if (zone === null || this.#parts.isStopping()) return;
    await this.#parts.nat.flushFlows(flowsOf(endpoint.addresses, [endpoint.port], zone));
  }

  /** Connections that came in by it, and by no other. @param others of the same publisher, which are left alone */
  #flowsOf({ publisher, spec, families, isVirtual, text }: Publication, others: readonly Publication[]): FlowFilter[] {
    const zone = this.#parts.vrfNumber(publisher.vrf);
    const ends = this.#parts.link();
    const link = this.#parts.host()?.linkRange(publisher.owner, text) ?? null;
    if (zone === null) return [];
    const protocol = PROTOCOL_NUMBERS[spec.protocol];
    const spared = others.filter((other) => meet(other.spec, spec)).flatMap((other) => boundAddress(other.spec) ?? []);
    const filters = (family: 4 | 6, at: string | null, { first, last }: PortRange): FlowFilter[] => {
      const own = publisher.connections(family, at, zone);
      return own === null
        ? []
        : [{ ...ANY_FLOW, protocol, reached: { first, last }, spared: spared.map(hostPrefix), ...own }];
    };
    const isReached = isVirtual || isOnWire(spec);
    const wire = isReached ? families.flatMap((family) => filters(family, boundAddress(spec), spec)) : [];
    return ends === null || link === null ? wire : [...wire, ...filters(4, ends.router, link)];
  }

  /** Tells all who follow; calls that come meanwhile share the next time. @throws what `changed` or the dataplane throws */
  update(): Promise<void> {
    if (this.#next !== null) return this.#next;
    const next = this.#turns.run(async () => {
      this.#next = null;
      try {
        await this.#parts.changed();
      } finally {
        // Whatever refuses to follow: nothing may lead to an endpoint that is gone.
        await this.#parts.nat.setPublished(this.records());
      }
    });
    this.#next = next;
    return next;
  }

  /** As core/nat/published.ts wants them. */
  records(): Int32Array {
    const records: number[] = [];
    for (const publication of this.#list()) {
      const zone = this.#parts.vrfNumber(publication.publisher.vrf);
      if (zone !== null) for (const record of this.#recordsOf(publication, zone)) records.push(...record);
    }
    records.push(...this.#keptRecords());
    if (records.length % PUBLISHED_RECORD !== 0) throw new Error('a record of a published port of the wrong length');
    return Int32Array.from(records);
  }

  /** Not given out by address translation, and led nowhere. */
  #keptRecords(): number[] {
    const kept = this.#parts.kept();
    const zone = kept === null ? null : this.#parts.vrfNumber(kept.vrf);
    if (kept === null || zone === null) return [];
    return kept.ports.flatMap(({ protocol, port }) =>
      ['0.0.0.0', '::'].flatMap((any) => [
        ...[zone, protocol, ...addressWords(any), port, port],
        ...[...addressWords(any), port, NO_PORT, NO_SERVICE],
      ]),
    );
  }

  #recordsOf({ publisher, spec, families, isVirtual, text }: Publication, zone: number): number[][] {
    const records: number[][] = [];
    const add = (family: 4 | 6, address: string, first: number, last: number): void => {
      const lead = publisher.leadsTo(family, spec.inner, first);
      if (lead === null) return;
      records.push([zone, PROTOCOL_NUMBERS[spec.protocol], ...addressWords(address), first, last, ...lead]);
    };
    const { address, first, last } = spec;
    if (isVirtual || isOnWire(spec)) {
      for (const family of families) {
        const any = family === 4 ? '0.0.0.0' : '::';
        add(family, address === null ? any : formatAddress(address), first, last);
      }
    }
    const ends = this.#parts.link();
    const link = this.#parts.host()?.linkRange(publisher.owner, text) ?? null;
    if (ends !== null && link !== null) add(4, ends.router, link.first, link.last);
    return records;
  }

  #list(): Publication[] {
    return [...this.#all.values()].flat();
  }

  /** What others must leave to Tapline at the host's addresses. */
  owned(): OwnedPorts[] {
    return this.#list()
      .filter(({ spec, isVirtual }) => !isVirtual && isOnWire(spec))
      .flatMap(({ spec, families }) =>
        families.map((family): OwnedPorts => {
          const { first, last } = spec;
          const address = boundAddress(spec);
          return { family, address, protocol: PROTOCOL_NUMBERS[spec.protocol], first, last, yields: false };
        }),
      );
  }

  /** VRFs in which something is published at the uplink. */
  vrfs(): ReadonlySet<string> {
    const published = this.#list().filter(({ isVirtual }) => !isVirtual);
    return new Set(published.map(({ publisher }) => publisher.vrf));
  }
}

function ownerOf({ name }: EndpointState): string {
  return `endpoint ${name}`;
}

function endpointPublisher(endpoint: EndpointState, vrf: string): Publisher {
  return {
    owner: ownerOf(endpoint),
    vrf,
    connections: (family, at, zone) => {
      const target = addressOf(endpoint, family);
      if (target === null) return null;
      return { destination: hostPrefix(at ?? target), translated: true, party: partyOf([target], [], zone) };
    },
    leadsTo: (family, inner) => {
      const target = addressOf(endpoint, family);
      return target === null ? null : [...addressWords(target), inner, endpoint.port, NO_SERVICE];
    },
  };
}

/** @throws TaplineError `invalid` where the endpoint has no address of the family */
function wantedOf(endpoint: EndpointState, text: string, index: number): Wanted {
  const spec = publishSpec(text);
  const key = `publish[${index}]`;
  const has = ([4, 6] as const).filter((family) => addressOf(endpoint, family) !== null);
  const families = publishFamilies(spec, has);
  if (families.length === 0)
    throw new TaplineError('invalid', `${ownerOf(endpoint)} has no IPv${spec.address?.family ?? 4} address`, key);
  return { spec, text: formatPublish(spec), key, families, hasIpv4: has.includes(4), isVirtual: false };
}

/** The endpoint's first address of a family. */
function addressOf({ addresses }: EndpointState, family: 4 | 6): string | null {
  const found = addresses.find((text) => text.includes(':') === (family === 6));
  return found === undefined ? null : withoutLength(found);
}

/** Null: all of a family. */
function boundAddress({ address }: PublishSpec): string | null {
  return address === null || isUnspecified(address) ? null : formatAddress(address);
}

/** Whether they have ports in common, at whatever addresses. */
function meet(one: PublishSpec, other: PublishSpec): boolean {
  return one.protocol === other.protocol && one.first <= other.last && other.first <= one.last;
}

/** Those whose text is not among the others'. */
function notIn(some: readonly Publication[], others: readonly Publication[]): Publication[] {
  const texts = new Set(others.map(({ text }) => text));
  return some.filter(({ text }) => !texts.has(text));
}
