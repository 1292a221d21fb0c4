/**
 * Addresses and MACs of one network's endpoints. The lowest free address is given first, so a container that comes back
 * gets the address it had; its MAC follows from the address, so neighbors that remember it stay right.
 */

import { createHash } from 'node:crypto';
import {
  type Address,
  canonicalAddress,
  contains,
  firstHost,
  formatAddress,
  formatSubnet,
  lastOf,
  overlaps,
  parseAddress,
  parseSubnet,
  type Subnet,
  withoutLength,
} from './config/address.js';
import type { NetworkConfig } from './config/schema.js';
import { gatewaysOf } from './config/subnets.js';
import { TaplineError } from './errors.js';

/** Owner of the gateway's address; no endpoint can have this name. */
const GATEWAY = '(gateway)';
/** The highest addresses of an IPv6 subnet are anycast ones (RFC 2526). */
const ANYCAST = 128n;

/**
 * The MAC that follows from an address: 02:42 and the four octets for IPv4, as Docker does; for IPv6 a locally
 * administered unicast address out of a hash, the same each time.
 *
 * @param attempt 0 for the MAC itself, 1 and up for further candidates when somebody has it
 */
export function macFromAddress(address: Address, attempt = 0): string {
  const octets = Buffer.alloc(6);
  if (address.family === 4 && attempt === 0) {
    octets.writeUInt16BE(0x0242, 0);
    octets.writeUInt32BE(Number(address.value), 2);
  } else {
    createHash('sha256')
      .update(`${formatAddress(address)} ${attempt}`)
      .digest()
      .copy(octets, 0, 0, 6);
    // Bit 1 of the first octet says locally administered, bit 0 would say group (IEEE 802).
    octets[0] = ((octets[0] ?? 0) & 0xfc) | 0x02;
  }
  return octets.toString('hex').replace(/..(?=.)/g, '$&:');
}

/** One subnet's addresses, and below which one all are taken. */
class Pool {
  readonly subnet: Subnet;
  /** What addresses are given out of: the subnet, or a part of it. */
  readonly given: Subnet;
  readonly #owners = new Map<bigint, string>();
  /** Addresses that somebody had, and may come back for: nobody else is given them, though he may ask for them. */
  readonly #held = new Map<bigint, string>();
  /** Addresses that endpoints may use besides their own: set aside, and several may have one. */
  readonly #allowed = new Map<bigint, Set<string>>();
  readonly #first: bigint;
  readonly #last: bigint;
  /** Addresses that services listen at: the router's meanwhile. Several may have one. */
  readonly #virtual = new Map<bigint, Set<string>>();
  /** Every address from #givenFirst up to, but not including, this one is taken or set aside. */
  #lowest: bigint;

  /** Those that are given out lie between these two, both included. */
  readonly #givenFirst: bigint;
  readonly #givenLast: bigint;

  /** @param range part of the subnet that addresses are given out of; others may be asked for all the same */
  constructor(subnet: Subnet, range: Subnet) {
    this.subnet = subnet;
    this.given = range;
    this.#first = firstHost(subnet).value;
    this.#last = subnet.family === 4 ? lastOf(subnet) - 1n : lastOf(subnet);
    this.#givenFirst = range.base > this.#first ? range.base : this.#first;
    this.#givenLast = lastOf(range) < this.#last ? lastOf(range) : this.#last;
    this.#lowest = this.#givenFirst;
  }

  owner(value: bigint): string | undefined {
    return this.#owners.get(value);
  }

  usable(value: bigint): boolean {
    return value >= this.#first && value <= this.#last;
  }

  take(value: bigint, owner: string): void {
    this.#owners.set(value, owner);
  }

  allow(value: bigint, user: string): void {
    const users = this.#allowed.get(value) ?? new Set();
    this.#allowed.set(value, users.add(user));
  }

  /** Another endpoint that may use the address. */
  otherUser(value: bigint, than: string): string | undefined {
    for (const user of this.#allowed.get(value) ?? []) if (user !== than) return user;
    return undefined;
  }

  hold(value: bigint, owner: string): void {
    if (value >= this.#givenFirst && value <= this.#givenLast) this.#held.set(value, owner);
  }

  /** Whoever has not come back for an address by now does not. */
  letGo(): void {
    const held = [...this.#held.keys()];
    this.#held.clear();
    for (const value of held) if (!this.#owners.has(value)) this.#noteFree(value);
  }

  /** A service that listens there. */
  service(value: bigint): string | undefined {
    return this.#virtual.get(value)?.values().next().value;
  }

  addService(value: bigint, service: string): void {
    const services = this.#virtual.get(value) ?? new Set();
    this.#virtual.set(value, services.add(service));
  }

  removeService(service: string): void {
    for (const [value, services] of this.#virtual) {
      if (!services.delete(service) || services.size > 0) continue;
      this.#virtual.delete(value);
      this.#noteFree(value);
    }
  }

  virtual(): bigint[] {
    return [...this.#virtual.keys()];
  }

  #isSetAside(value: bigint): boolean {
    return this.#owners.has(value) || this.#allowed.has(value) || this.#virtual.has(value);
  }

  /** The address that is held for the owner, else the lowest free one; null when none is left. */
  next(owner: string): bigint | null {
    for (const [value, name] of this.#held) {
      if (name !== owner || this.#isSetAside(value)) continue;
      this.take(value, owner);
      return value;
    }
    // Every step skips an address that is taken, set aside or held.
    while (this.#isSetAside(this.#lowest) || this.#held.has(this.#lowest)) this.#lowest++;
    if (this.#lowest > this.#givenLast) return null;
    this.take(this.#lowest, owner);
    return this.#lowest;
  }

  /** The highest free address, where nobody looks for the next one; null when none is left. */
  top(owner: string): bigint | null {
    const isLarge = this.subnet.family === 6 && this.#givenLast - this.#givenFirst >= ANYCAST;
    let value = isLarge ? this.#givenLast - ANYCAST : this.#givenLast;
    while (this.#isSetAside(value) || this.#held.has(value)) value--;
    if (value < this.#givenFirst) return null;
    this.take(value, owner);
    return value;
  }

  release(value: bigint): void {
    this.#owners.delete(value);
    this.#noteFree(value);
  }

  #noteFree(value: bigint): void {
    if (value >= this.#givenFirst && value < this.#lowest) this.#lowest = value;
  }

  owns(owner: string): boolean {
    for (const name of this.#owners.values()) if (name === owner) return true;
    return false;
  }

  releaseOwner(owner: string): void {
    for (const [value, name] of this.#owners) if (name === owner) this.release(value);
    for (const [value, users] of this.#allowed) {
      if (!users.delete(owner) || users.size > 0) continue;
      this.#allowed.delete(value);
      this.#noteFree(value);
    }
  }
}

/** What an endpoint asks for by itself. */
export interface Claim {
  readonly addresses: readonly string[];
  readonly mac?: string | undefined;
  readonly macs?: readonly string[];
  /** Addresses and prefixes; only the addresses are set aside. */
  readonly allowed_addresses?: readonly string[];
}

/** Who has a MAC, and by what right. */
export interface MacOwner {
  /** Name of an endpoint, or `uplink`; of the gateway, its network's. */
  readonly owner: string;
  readonly by: 'mac' | 'macs' | 'static entry' | 'gateway';
}

const CLAIMED: Readonly<Record<MacOwner['by'], (owner: string) => string>> = {
  mac: (owner) => `already the MAC of endpoint ${owner}`,
  macs: (owner) => `already one of the macs of endpoint ${owner}`,
  gateway: (network) => `the MAC of the gateway of network ${network}`,
  'static entry': (owner) => `bound to port ${owner} by a static entry`,
};

/** Completes "02:... is ...". */
function macClaimed({ owner, by }: MacOwner): string {
  return CLAIMED[by](owner);
}

/** Addresses that somebody has until an endpoint needs one of them. */
export interface Loan {
  /** With prefix length: one of each subnet. */
  readonly addresses: string[];
  /** Gives them back; nothing happens where they have been called back. */
  end(): void;
}

export class Ipam {
  readonly #network: string;
  readonly #pools: readonly Pool[];
  readonly #macs = new Map<string, MacOwner>();
  /** By borrower: how to tell him that the loan is over. */
  readonly #loans = new Map<string, () => void>();

  /** @param gatewayMac null where no gateway of ours is in the network */
  constructor(network: string, config: NetworkConfig, gatewayMac: string | null = null) {
    this.#network = network;
    const ranges = config.range.map(parseSubnet);
    this.#pools = config.subnets.map(parseSubnet).map((subnet) => {
      return new Pool(subnet, ranges.find((range) => overlaps(range, subnet)) ?? subnet);
    });
    if (gatewayMac !== null) this.#macs.set(gatewayMac, { owner: network, by: 'gateway' });
    for (const gateway of gatewaysOf(config)) this.#poolOf(gateway)?.take(gateway.value, GATEWAY);
  }

  /** Keeps addresses for whom an earlier process gave them. @param addresses with prefix length */
  hold(owner: string, addresses: readonly string[]): void {
    for (const text of addresses) {
      const address = parseAddress(withoutLength(text));
      if (address !== null) this.#poolOf(address)?.hold(address.value, owner);
    }
  }

  /** Gives free what is still held. */
  letGo(): void {
    for (const pool of this.#pools) pool.letGo();
  }

  #poolOf(address: Address): Pool | undefined {
    return this.#pools.find((pool) => contains(pool.subnet, address));
  }

  /**
   * Takes the addresses and the MACs that the user asked for; all of them, or none.
   *
   * @throws TaplineError `invalid` for an address that no endpoint here can have, `conflict` for one that is taken
   */
  reserve(owner: string, claim: Claim): void {
    const { addresses, mac, macs = [], allowed_addresses = [] } = claim;
    try {
      addresses.forEach((text, index) => {
        this.#reserveAddress(owner, text, `addresses[${index}]`);
      });
      allowed_addresses.forEach((text, index) => {
        this.#allow(owner, text, `allowed_addresses[${index}]`);
      });
      if (mac !== undefined) this.#reserveMac(owner, mac, 'mac', 'mac');
      macs.forEach((text, index) => {
        this.#reserveMac(owner, text, 'macs', `macs[${index}]`);
      });
    } catch (error) {
      this.release(owner);
      throw error;
    }
  }

  #reserveAddress(owner: string, text: string, key: string): void {
    const address = parseAddress(text);
    const pool = address === null ? undefined : this.#poolOf(address);
    if (address === null || pool === undefined || !pool.usable(address.value)) {
      throw new TaplineError('invalid', `expected a host address of network ${this.#network}, got ${text}`, key);
    }
    this.#callBack(pool.owner(address.value));
    const taken = pool.owner(address.value);
    if (taken === GATEWAY) {
      throw new TaplineError(
        'invalid',
        `${canonicalAddress(text)} is the gateway address of network ${this.#network}`,
        key,
      );
    }
    if (taken !== undefined) {
      throw new TaplineError('conflict', `${canonicalAddress(text)} is already an address of endpoint ${taken}`, key);
    }
    const service = pool.service(address.value);
    if (service !== undefined)
      throw new TaplineError('conflict', `${canonicalAddress(text)} is an address of service ${service}`, key);
    const user = pool.otherUser(address.value, owner);
    if (user !== undefined) {
      const whose = `already one of the allowed_addresses of endpoint ${user}`;
      throw new TaplineError('conflict', `${canonicalAddress(text)} is ${whose}`, key);
    }
    pool.take(address.value, owner);
  }

  /**
   * Sets aside what a service listens at, in place of what it had; the gateway's own address is that all the same. Endpoints may have one
   * among their `allowed_addresses`, to answer as the service.
   *
   * @param claims addresses, and the keys where they are asked for
   * @throws TaplineError `conflict` for an endpoint's address; then the service has what it had
   */
  setVirtual(service: string, claims: readonly { address: string; key: string }[]): void {
    const wanted = claims.map(({ address: text, key }) => {
      const address = parseAddress(text);
      const pool = address === null ? undefined : this.#poolOf(address);
      if (address === null || pool === undefined)
        throw new Error(`not an address of network ${this.#network}: ${text}`);
      this.#callBack(pool.owner(address.value));
      const taken = pool.owner(address.value);
      if (taken !== undefined && taken !== GATEWAY)
        throw new TaplineError('conflict', `${text} is already an address of endpoint ${taken}; choose another`, key);
      return { pool, value: address.value };
    });
    for (const pool of this.#pools) pool.removeService(service);
    for (const { pool, value } of wanted) pool.addService(value, service);
  }

  /** Addresses of services besides the gateway's, in the order in which they came. */
  virtual(): string[] {
    return this.#pools.flatMap((pool) =>
      pool
        .virtual()
        .filter((value) => pool.owner(value) !== GATEWAY)
        .map((value) => formatAddress({ family: pool.subnet.family, value })),
    );
  }

  /** Sets an address aside that the owner may use; prefixes and addresses of elsewhere concern nobody here. */
  #allow(owner: string, text: string, key: string): void {
    const address = parseAddress(text);
    const pool = address === null ? undefined : this.#poolOf(address);
    if (address === null || pool === undefined) return;
    this.#callBack(pool.owner(address.value));
    const taken = pool.owner(address.value);
    if (taken === GATEWAY)
      throw new TaplineError('invalid', `${text} is the gateway address of network ${this.#network}`, key);
    if (taken !== undefined && taken !== owner)
      throw new TaplineError('conflict', `${text} is already an address of endpoint ${taken}`, key);
    pool.allow(address.value, owner);
  }

  #reserveMac(owner: string, mac: string, by: MacOwner['by'], key: string): void {
    const taken = this.#macs.get(mac);
    if (taken !== undefined) throw new TaplineError('conflict', `${mac} is ${macClaimed(taken)}`, key);
    this.#macs.set(mac, { owner, by });
  }

  /**
   * Lends an address of each subnet, until an endpoint asks for one of them, or needs one where no other is left.
   *
   * @param borrower no endpoint can have this name
   * @param calledBack told at once, before the endpoint has the address
   * @throws TaplineError `conflict` when a subnet has no address left; then nothing is lent
   */
  lend(borrower: string, mac: string, calledBack: () => void): Loan {
    this.#reserveMac(borrower, mac, 'mac', 'mac');
    const addresses = this.#pools.map((pool) => {
      const value = pool.top(borrower);
      if (value === null) throw this.#noneLeft(borrower, pool);
      return `${formatAddress({ family: pool.subnet.family, value })}/${pool.subnet.prefix}`;
    });
    this.#loans.set(borrower, calledBack);
    const end = (): void => {
      if (this.#loans.get(borrower) !== calledBack) return;
      this.#loans.delete(borrower);
      this.release(borrower);
    };
    return { addresses, end };
  }

  /** @returns whether it was lent to him */
  #callBack(borrower: string | undefined): boolean {
    const calledBack = borrower === undefined ? undefined : this.#loans.get(borrower);
    if (borrower === undefined || calledBack === undefined) return false;
    this.#loans.delete(borrower);
    this.release(borrower);
    calledBack();
    return true;
  }

  macOwner(mac: string): MacOwner | undefined {
    return this.#macs.get(mac);
  }

  /**
   * Sets a MAC aside for the port of a static entry. One port may have it in several VLANs.
   *
   * @param owner name of an endpoint, or `uplink`
   * @returns false when the port had it before
   * @throws TaplineError `conflict` when it is another's, or an endpoint's own
   */
  reserveStatic(owner: string, mac: string): boolean {
    const taken = this.#macs.get(mac);
    if (taken?.by === 'static entry' && taken.owner === owner) return false;
    this.#reserveMac(owner, mac, 'static entry', 'mac');
    return true;
  }

  /** Gives a MAC back that `reserveStatic` took; leaves any other alone. */
  releaseStatic(mac: string): void {
    if (this.#macs.get(mac)?.by === 'static entry') this.#macs.delete(mac);
  }

  /**
   * Fills up what `reserve` left open: an address of each subnet of which the owner has none, and a MAC.
   *
   * @returns all addresses with prefix length, in the order of the subnets, those that were asked for first
   * @throws TaplineError `conflict` when a subnet has no address left; the owner then has nothing at all
   */
  complete(owner: string, reserved: readonly string[], mac?: string): { addresses: string[]; mac: string } {
    const asked = reserved.map((text) => parseAddress(text)).filter((address) => address !== null);
    const chosen: Address[] = [];
    const addresses: string[] = [];
    for (const pool of this.#pools) {
      const own = asked.filter((address) => contains(pool.subnet, address));
      for (const address of own.length > 0 ? own : [this.#allocate(pool, owner)]) {
        chosen.push(address);
        addresses.push(`${formatAddress(address)}/${pool.subnet.prefix}`);
      }
    }
    return { addresses, mac: mac ?? this.#deriveMac(owner, chosen) };
  }

  #allocate(pool: Pool, owner: string): Address {
    let value = pool.next(owner);
    for (const borrower of [...this.#loans.keys()])
      if (value === null && pool.owns(borrower) && this.#callBack(borrower)) value = pool.next(owner);
    if (value === null) throw this.#noneLeft(owner, pool);
    return { family: pool.subnet.family, value };
  }

  #noneLeft(owner: string, { given }: Pool): TaplineError {
    this.release(owner);
    return new TaplineError('conflict', `no address left in ${formatSubnet(given)} of network ${this.#network}`);
  }

  /** From the first IPv4 address, else the first of all; another candidate only when somebody asked for that very MAC. */
  #deriveMac(owner: string, addresses: readonly Address[]): string {
    const address = addresses.find(({ family }) => family === 4) ?? addresses[0];
    if (address === undefined) throw new Error('a network without subnets');
    for (let attempt = 0; ; attempt++) {
      const mac = macFromAddress(address, attempt);
      if (this.#macs.has(mac)) continue;
      this.#macs.set(mac, { owner, by: 'mac' });
      return mac;
    }
  }

  /** Gives back all that the owner has; nothing happens when it has nothing. */
  release(owner: string): void {
    for (const pool of this.#pools) pool.releaseOwner(owner);
    for (const [mac, taken] of this.#macs) if (taken.owner === owner && taken.by !== 'gateway') this.#macs.delete(mac);
  }

  /** True while the owner has an address or a MAC. */
  holds(owner: string): boolean {
    if (this.#pools.some((pool) => pool.owns(owner))) return true;
    for (const taken of this.#macs.values()) if (taken.owner === owner && taken.by !== 'gateway') return true;
    return false;
  }
}
