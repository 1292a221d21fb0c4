/**
 * Published ports as they are wanted, and what follows from them: records in the dataplane, sockets and a guard on a host whose
 * addresses are shared. They come and go with their endpoints, and change while these are up.
 */

import { NO_PORT, PUBLISHED_RECORD } from '../core/nat/published.js';
import { formatAddress } from './config/address.js';
import { formatPublish, type PublishProtocol, type PublishSpec } from './config/fields.js';
import { isUnspecified, publishFamilies, publishSpec } from './config/publish.js';
import { TaplineError } from './errors.js';
import { flowsOf, hostPrefix, partyOf } from './flow-parties.js';
import { ANY_FLOW } from './nat-client.js';
import type { PortRange } from './port-ranges.js';
import { addressWords } from './router-specs.js';
import type { EndpointState } from './state.js';
import type { DataplaneNat } from './types.js';
import { type HostLink, type HostPublishing, isOnWire } from './uplink/host-publishing.js';
import type { KeptPort, OwnedPorts } from './uplink/owned-ports.js';
import type { FlowFilter } from './worker-protocol.js';

export const PROTOCOL_NUMBERS: Readonly<Record<PublishProtocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

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

interface Publication {
  readonly endpoint: EndpointState;
  readonly vrf: string;
  readonly spec: PublishSpec;
  readonly families: readonly (4 | 6)[];
}

export class Publications {
  readonly #parts: PublicationsParts;
  /** By endpoint, in the order of its list. */
  readonly #all = new Map<string, readonly Publication[]>();
  /** What the dataplane is being told; never rejects. */
  #telling: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | null = null;

  constructor(parts: PublicationsParts) {
    this.#parts = parts;
  }

  /** Publishes what an endpoint asks for; it has its addresses and its port. @throws TaplineError; then nothing of it is published */
  async open(endpoint: EndpointState): Promise<void> {
    if (endpoint.config.publish.length === 0) return;
    await this.#replace(endpoint, endpoint.config.publish);
  }

  /**
   * Replaces what a live endpoint has published. Connections through what it has no more end.
   *
   * @throws TaplineError; then it has what it had
   */
  async change(endpoint: EndpointState, publish: readonly string[]): Promise<void> {
    const before = this.#all.get(endpoint.name) ?? [];
    const kept = new Set(publish);
    const ended = before.filter(({ spec }) => !kept.has(formatPublish(spec))).flatMap((gone) => this.#flowsOf(gone));
    await this.#replace(endpoint, publish);
    for (const filter of ended) await this.#parts.nat.flushFlows(filter);
  }

  async #replace(endpoint: EndpointState, publish: readonly string[]): Promise<void> {
    const { name } = endpoint;
    const before = this.#all.get(name) ?? [];
    const after = publish.map((text, index) => this.#publication(endpoint, text, index));
    const fresh = notIn(after, before);
    const gone = notIn(before, after);
    // What goes gives its ports back first: what comes may want the same ones.
    await this.#release(name, gone);
    try {
      await this.#hold(name, after, fresh);
      this.#all.set(name, after);
      await this.update();
    } catch (error) {
      await this.#release(name, fresh);
      this.#all.set(name, before);
      if (before.length === 0) this.#all.delete(name);
      await this.#hold(name, before, gone).catch(() => undefined);
      await this.update().catch(() => undefined);
      throw error;
    }
  }

  #publication(endpoint: EndpointState, text: string, index: number): Publication {
    const spec = publishSpec(text);
    const has = ([4, 6] as const).filter((family) => addressOf(endpoint, family) !== null);
    const families = publishFamilies(spec, has);
    if (families.length === 0) {
      const what = `endpoint ${endpoint.name} has no IPv${spec.address?.family ?? 4} address`;
      throw new TaplineError('invalid', what, `publish[${index}]`);
    }
    return { endpoint, vrf: this.#parts.vrfOf(endpoint), spec, families };
  }

  async #hold(name: string, all: readonly Publication[], wanted: readonly Publication[]): Promise<void> {
    const host = this.#parts.host();
    for (const publication of wanted) {
      const hasIpv4 = addressOf(publication.endpoint, 4) !== null;
      await host?.hold(name, { ...publication, index: all.indexOf(publication), hasIpv4 });
    }
  }

  async #release(name: string, publications: readonly Publication[]): Promise<void> {
    const host = this.#parts.host();
    for (const { spec } of publications) await host?.release(name, spec);
  }

  /** Nothing reaches an endpoint any more that is on its way out: its published ports end, and every connection to and from it. */
  async close(endpoint: EndpointState): Promise<void> {
    const before = this.#all.get(endpoint.name) ?? [];
    try {
      if (before.length > 0) {
        this.#all.delete(endpoint.name);
        await this.update();
      }
    } finally {
      // Whatever refuses to follow: its ports and its connections are nobody's any more.
      await this.#release(endpoint.name, before);
      await this.#flushAll(endpoint);
    }
  }

  async #flushAll(endpoint: EndpointState): Promise<void> {
    const zone = this.#parts.vrfNumber(this.#parts.vrfOf(endpoint));
    // With all else the flows go as well.
    if (zone === null || this.#parts.isStopping()) return;
    await this.#parts.nat.flushFlows(flowsOf(endpoint.addresses, [endpoint.port], zone));
  }

  /** Connections that came in by it, and by no other. */
  #flowsOf({ endpoint, vrf, spec, families }: Publication): FlowFilter[] {
    const zone = this.#parts.vrfNumber(vrf);
    const ends = this.#parts.link();
    const link = this.#parts.host()?.linkRange(endpoint.name, spec) ?? null;
    if (zone === null) return [];
    const protocol = PROTOCOL_NUMBERS[spec.protocol];
    const filter = (family: 4 | 6, at: string | null, { first, last }: PortRange): FlowFilter[] => {
      const target = addressOf(endpoint, family);
      if (target === null) return [];
      const party = partyOf([target], [], zone);
      const destination = hostPrefix(at ?? target);
      return [{ ...ANY_FLOW, destination, protocol, reached: { first, last }, translated: true, party }];
    };
    const wire = isOnWire(spec) ? families.flatMap((family) => filter(family, boundAddress(spec), spec)) : [];
    return ends === null || link === null ? wire : [...wire, ...filter(4, ends.router, link)];
  }

  /** Tells all who follow; calls that come meanwhile share the next time. @throws what `changed` or the dataplane throws */
  update(): Promise<void> {
    if (this.#next !== null) return this.#next;
    const next = this.#telling.then(async () => {
      this.#next = null;
      try {
        await this.#parts.changed();
      } finally {
        // Whatever refuses to follow: nothing may lead to an endpoint that is gone.
        await this.#parts.nat.setPublished(this.records());
      }
    });
    this.#next = next;
    this.#telling = next.catch(() => undefined);
    return next;
  }

  /** As core/nat/published.ts wants them. */
  records(): Int32Array {
    const records: number[] = [];
    for (const publication of this.#list()) {
      const zone = this.#parts.vrfNumber(publication.vrf);
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
        ...[...addressWords(any), port, NO_PORT],
      ]),
    );
  }

  #recordsOf({ endpoint, spec, families }: Publication, zone: number): number[][] {
    const records: number[][] = [];
    const add = (family: 4 | 6, address: string, first: number, last: number): void => {
      const target = addressOf(endpoint, family);
      if (target === null) return;
      const [from, to] = [addressWords(address), addressWords(target)];
      records.push([zone, PROTOCOL_NUMBERS[spec.protocol], ...from, first, last, ...to, spec.inner, endpoint.port]);
    };
    const { address, first, last } = spec;
    if (isOnWire(spec)) {
      for (const family of families) {
        const any = family === 4 ? '0.0.0.0' : '::';
        add(family, address === null ? any : formatAddress(address), first, last);
      }
    }
    const ends = this.#parts.link();
    const link = this.#parts.host()?.linkRange(endpoint.name, spec) ?? null;
    if (ends !== null && link !== null) add(4, ends.router, link.first, link.last);
    return records;
  }

  #list(): Publication[] {
    return [...this.#all.values()].flat();
  }

  /** What others must leave to Tapline at the host's addresses. */
  owned(): OwnedPorts[] {
    return this.#list()
      .filter(({ spec }) => isOnWire(spec))
      .flatMap(({ spec, families }) =>
        families.map((family): OwnedPorts => {
          const { first, last } = spec;
          const address = boundAddress(spec);
          return { family, address, protocol: PROTOCOL_NUMBERS[spec.protocol], first, last, yields: false };
        }),
      );
  }

  /** VRFs in which something is published. */
  vrfs(): ReadonlySet<string> {
    return new Set(this.#list().map(({ vrf }) => vrf));
  }
}

function bare(text: string): string {
  return text.split('/', 1)[0] ?? text;
}

/** The endpoint's first address of a family. */
function addressOf({ addresses }: EndpointState, family: 4 | 6): string | null {
  const found = addresses.find((text) => text.includes(':') === (family === 6));
  return found === undefined ? null : bare(found);
}

/** Null: all of a family. */
function boundAddress({ address }: PublishSpec): string | null {
  return address === null || isUnspecified(address) ? null : formatAddress(address);
}

/** Those whose text is not among the others'. */
function notIn(some: readonly Publication[], others: readonly Publication[]): Publication[] {
  const texts = new Set(others.map(({ spec }) => formatPublish(spec)));
  return some.filter(({ spec }) => !texts.has(formatPublish(spec)));
}
