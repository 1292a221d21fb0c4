/**
 * The host's side of published ports where the uplink shares the host's addresses: sockets that hold the ports on the host, so that
 * nobody else opens them, and lead its own processes there. All other packets to these ports are taken from its stack by the guard.
 */

import type { Relay, RelayTarget } from '../../io/host-relay.js';
import type { UsedPort } from '../../io/port-holders.js';
import { formatAddress } from '../config/address.js';
import type { PublishSpec } from '../config/fields.js';
import { isLoopback, isUnspecified } from '../config/publish.js';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine, TaplineError } from '../errors.js';
import { freeRange, type PortRange } from '../port-ranges.js';
import type { System } from '../system.js';

/** Sockets in all. Beyond, ports are looked at and kept from being chosen, but not held. */
export const MAX_SOCKETS = 1024;

/** A published port as an endpoint has it, or a listener of a service. */
export interface HostPublish {
  readonly spec: PublishSpec;
  /** As its owner wrote it; tells it from the owner's others. */
  readonly text: string;
  /** Path of the key where that stands, for error lines: `publish[0]`. */
  readonly key: string;
  /** In which it is there. */
  readonly families: readonly (4 | 6)[];
  /** It leads to an IPv4 address: by that the host's own processes are led to it. */
  readonly hasIpv4: boolean;
}

/** Ends of the host port of a VRF. */
export interface HostLink {
  readonly router: string;
  readonly host: string;
}

export interface HostPublishingParts {
  readonly system: System;
  readonly logger: DataplaneLogger;
  /** Null while there is no host port. */
  link(): HostLink | null;
  /** Whether an address of the host is one of the uplink's, as these are now. */
  isOfUplink(address: string): boolean;
}

interface Held {
  readonly relays: Relay[];
  /** Sockets that are set aside for it. */
  readonly sockets: number;
  /** Ports of the router's end of the host port that lead to it, in place of the published ones; null: none do. */
  readonly link: PortRange | null;
  readonly protocol: string;
}

/** A socket that is wanted. */
interface Place {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
}

export class HostPublishing {
  readonly #parts: HostPublishingParts;
  /** By owner and text. */
  readonly #held = new Map<string, Held>();
  #sockets = 0;

  constructor(parts: HostPublishingParts) {
    this.#parts = parts;
  }

  /** @throws TaplineError `conflict` where a process of the host has a port, `invalid` for an address that the host lacks; then nothing is held */
  async hold(owner: string, publish: HostPublish): Promise<void> {
    const { spec, text, hasIpv4 } = publish;
    const places = placesOf(publish);
    if (this.#sockets + places.length > MAX_SOCKETS) {
      await this.#refuseUsed(publish);
      this.#held.set(keyOf(owner, text), { relays: [], sockets: 0, link: null, protocol: spec.protocol });
      const what = `is not held by sockets, of which there are ${MAX_SOCKETS} in all`;
      this.#warn(owner, text, `${what}: from the host itself it is not reached`);
      this.#sayWhereNot(owner, publish);
      return;
    }
    this.#refuseUnreachable(publish);
    const link = places.length === 0 || !hasIpv4 ? null : this.#linkRange(spec);
    const held: Held = { relays: [], sockets: places.length, link, protocol: spec.protocol };
    this.#sockets += places.length;
    this.#held.set(keyOf(owner, text), held);
    try {
      for (const place of places) {
        const relay = await this.#open(place, publish, link);
        if (relay !== null) held.relays.push(relay);
      }
    } catch (error) {
      await this.release(owner, text);
      throw error;
    }
    if (places.length > 0 && !hasIpv4)
      this.#warn(owner, text, 'is not reached from the host itself: the way there is IPv4, and it leads to none');
    this.#sayWhereNot(owner, publish);
  }

  #warn(owner: string, text: string, what: string): void {
    this.#parts.logger.warn(`${owner}: ${text} ${what}`);
  }

  #sayWhereNot(owner: string, { spec, text }: HostPublish): void {
    const { address } = spec;
    if (address === null || isUnspecified(address) || !isOnWire(spec)) return;
    const at = formatAddress(address);
    if (!this.#parts.isOfUplink(at))
      this.#warn(owner, text, `is not reached from outside: ${at} is not an address of the uplink`);
  }

  /** At the loopback for nobody. @throws TaplineError `invalid` */
  #refuseUnreachable({ spec, hasIpv4, key }: HostPublish): void {
    if (isOnWire(spec) || (hasIpv4 && spec.protocol !== 'sctp')) return;
    const why = hasIpv4 ? 'there are no SCTP sockets that lead there' : 'the way there is IPv4, and it leads to none';
    throw new TaplineError('invalid', `at the loopback nobody reaches it: ${why}; leave out the address`, key);
  }

  #linkRange({ protocol, first, last }: PublishSpec): PortRange | null {
    const taken = [...this.#held.values()].flatMap((held) =>
      held.protocol === protocol && held.link !== null ? [held.link] : [],
    );
    return freeRange({ first, last }, taken);
  }

  /** Where a published port is at the router's end of the host port; null: nowhere. */
  linkRange(owner: string, text: string): PortRange | null {
    return this.#held.get(keyOf(owner, text))?.link ?? null;
  }

  /** @returns null without IPv6, for what stands for all its addresses */
  async #open(place: Place, publish: HostPublish, link: PortRange | null): Promise<Relay | null> {
    const { port } = place;
    const target = (): RelayTarget | null => {
      const ends = this.#parts.link();
      if (ends === null || link === null) return null;
      return { address: ends.router, port: link.first + port - publish.spec.first, from: ends.host };
    };
    try {
      return await this.#parts.system.openRelay({ ...place, target });
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      const isAny = place.address === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL');
      if (isAny) return null;
      throw await this.#refusal(code, error, place, publish);
    }
  }

  async #refusal(code: string, error: unknown, place: Place, { key }: HostPublish): Promise<TaplineError> {
    const { protocol, port, address } = place;
    if (code === 'EADDRNOTAVAIL')
      return new TaplineError('invalid', `expected an address of the host to publish on, got ${address}`, key);
    if (code !== 'EADDRINUSE')
      return new TaplineError('failure', `port ${port}/${protocol} cannot be held: ${firstLine(error)}`, key);
    const used = await this.#parts.system.usedPorts();
    return this.#heldBy(used.find((one) => isInTheWay(one, place)) ?? null, place, key);
  }

  /** The error that names who has a port. */
  async #heldBy(used: UsedPort | null, { port, protocol }: Place, key: string): Promise<TaplineError> {
    const holder = used === null || used.inode === 0 ? null : await this.#parts.system.socketHolder(used.inode);
    const who = holder === null ? 'another process' : `${holder.name} (pid ${holder.pid})`;
    return new TaplineError(
      'conflict',
      `port ${port}/${protocol} is held by ${who}; end it, or choose another port`,
      key,
    );
  }

  /** For what is too wide to be held. */
  async #refuseUsed({ spec, families, key }: HostPublish): Promise<void> {
    const { protocol, first, last } = spec;
    if (protocol === 'sctp') return;
    const used = await this.#parts.system.usedPorts();
    for (const address of addressesOf(spec, families)) {
      const there = used.find((one) => {
        const place = { protocol, address, port: one.port };
        return one.port >= first && one.port <= last && isInTheWay(one, place);
      });
      if (there !== undefined) throw await this.#heldBy(there, { protocol, address, port: there.port }, key);
    }
  }

  async release(owner: string, text: string): Promise<void> {
    const key = keyOf(owner, text);
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    this.#sockets -= held.sockets;
    await Promise.all(held.relays.map((relay) => relay.close()));
  }

  /** Closes all sockets, for the next process to open; what is published stays published on the wire. */
  async close(): Promise<void> {
    const relays = [...this.#held.values()].flatMap((held) => held.relays.splice(0));
    await Promise.all(relays.map((relay) => relay.close()));
  }
}

function keyOf(owner: string, text: string): string {
  return `${owner} ${text}`;
}

/** On the host: all of a family, or the one. */
function addressesOf({ address }: PublishSpec, families: readonly (4 | 6)[]): string[] {
  if (address !== null && !isUnspecified(address)) return [formatAddress(address)];
  return families.map((family) => (family === 4 ? '0.0.0.0' : '::'));
}

/** No socket of this kernel speaks SCTP. */
function placesOf({ spec, families }: HostPublish): Place[] {
  const { protocol, first, last } = spec;
  if (protocol === 'sctp') return [];
  const ports = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return addressesOf(spec, families).flatMap((address) => ports.map((port) => ({ protocol, address, port })));
}

/** Whether a socket keeps another from a place: one with the same port, and no other address. */
function isInTheWay({ protocol, port, address, isIpv6 }: UsedPort, place: Place): boolean {
  if (protocol !== place.protocol || port !== place.port) return false;
  // A socket of IPv6 without an address may have the IPv4 ones as well.
  if (isIpv6 !== place.address.includes(':')) return isIpv6 && address === '::';
  return address === place.address || [address, place.address].some((one) => one === '0.0.0.0' || one === '::');
}

/** Whether a published port is reached on the wire, and not by the host alone. */
export function isOnWire({ address }: PublishSpec): boolean {
  return address === null || !isLoopback(address);
}
