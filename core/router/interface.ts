/** The router's interfaces: where it has a MAC and addresses. */

import { LINK_LOCAL, linkLocalOf } from '../wire/ipv6.js';
import { mask6 } from './address.js';

/** What is behind an interface, which decides who may reach whom (reach.ts). */
export const INTERFACE_NETWORK = 1;
export const INTERFACE_UPLINK = 2;
export const INTERFACE_HOST = 3;

/** Words of an entry of `addresses4`: address, mask. */
export const ADDRESS4_WORDS = 2;
/** Words of an entry of `addresses6`: the address's four, prefix length. */
export const ADDRESS6_WORDS = 5;

/** Router advertisements of an interface (RFC 4861, 6.2.1). */
export interface AdvertisementOptions {
  /** Seconds between unsolicited ones at most, 4 to 1800. */
  readonly interval: number;
  /** Seconds that this router is a default router; 0: it is none. */
  readonly lifetime: number;
  /** Hosts make addresses of the prefixes themselves (SLAAC, RFC 4862). */
  readonly autonomous: boolean;
  /** Addresses, or other configuration, by DHCPv6. */
  readonly managed: boolean;
  readonly other: boolean;
}

export interface InterfaceOptions {
  readonly kind: number;
  /** Number of the VRF. */
  readonly vrf: number;
  /** Number of the domain. */
  readonly fid: number;
  /** The one port that it sends by; 0: the FDB of the domain says which. */
  readonly port: number;
  readonly macHigh: number;
  readonly macLow: number;
  /** Bytes of IP packet. */
  readonly mtu: number;
  /** ADDRESS4_WORDS words each. */
  readonly addresses4: Int32Array;
  /** ADDRESS6_WORDS words each; without the link-local one, which follows from the MAC, unless `linkLocal` gives another. */
  readonly addresses6: Int32Array;
  /** Four words; null: from the MAC (RFC 4291, appendix A). */
  readonly linkLocal?: Int32Array | null;
  /** Prefixes for which ARP requests are answered here, as in `addresses4`; host bits are zero. */
  readonly proxies4?: Int32Array;
  /** The same for neighbor solicitations, as in `addresses6`. */
  readonly proxies6?: Int32Array;
  /** Reaches no other interface. */
  readonly internal?: boolean;
  /** The host reaches what is behind it, and that the host. */
  readonly hostAccess?: boolean;
  /** MAC and addresses are the host's: its own stack answers for them, and takes what is sent to them. */
  readonly shared?: boolean;
  /** Packets are taken only from where the route to their source leads (RFC 3704, 2.2). */
  readonly validateSource?: boolean;
  readonly advertisement?: AdvertisementOptions | null;
  readonly translation?: TranslationOptions | null;
}

/** Address translation of what leaves a network by an uplink. Null: the packets keep their addresses. */
export interface TranslationOptions {
  /** Addresses to choose from, one word each; none: the first of the uplink that the packet leaves by. Null: IPv4 is not translated. */
  readonly sources4: Int32Array | null;
  /** The same for IPv6 (NAT66), four words each. */
  readonly sources6: Int32Array | null;
  /** Prefix translation (RFC 6296), in place of `sources6`. Five words each of inside and outside: prefix, length. Empty: none. */
  readonly prefixes: Int32Array;
}

const NOTHING = new Int32Array(0);

export class RouterInterface {
  /** From 1. */
  readonly number: number;
  readonly kind: number;
  readonly vrf: number;
  readonly fid: number;
  readonly port: number;
  readonly macHigh: number;
  readonly macLow: number;
  readonly mtu: number;
  readonly addresses4: Int32Array;
  readonly addresses6: Int32Array;
  readonly linkLocal: Int32Array;
  readonly proxies4: Int32Array;
  readonly proxies6: Int32Array;
  readonly internal: boolean;
  readonly hostAccess: boolean;
  readonly shared: boolean;
  readonly validateSource: boolean;
  readonly advertisement: AdvertisementOptions | null;
  readonly translation: TranslationOptions | null;
  /** False: nothing can be sent there, and its connected prefixes are not in the FIB. */
  up = true;
  /** As its VRF says: packets that come in are looked up in the flow table. */
  tracking = false;

  constructor(number: number, options: InterfaceOptions) {
    this.number = number;
    this.kind = options.kind;
    this.vrf = options.vrf;
    this.fid = options.fid;
    this.port = options.port;
    this.macHigh = options.macHigh;
    this.macLow = options.macLow;
    this.mtu = options.mtu;
    this.addresses4 = options.addresses4;
    this.addresses6 = options.addresses6;
    this.linkLocal = options.linkLocal ?? linkLocalOf(options.macHigh, options.macLow);
    this.proxies4 = options.proxies4 ?? NOTHING;
    this.proxies6 = options.proxies6 ?? NOTHING;
    this.internal = options.internal ?? false;
    this.hostAccess = options.hostAccess ?? false;
    this.shared = options.shared ?? false;
    this.validateSource = options.validateSource ?? false;
    this.advertisement = options.advertisement ?? null;
    this.translation = options.translation ?? null;
  }

  owns4(address: number): boolean {
    const { addresses4 } = this;
    for (let i = 0; i < addresses4.length; i += ADDRESS4_WORDS) if (addresses4[i] === address) return true;
    return false;
  }

  /** Link-local address included. */
  owns6(a: number, b: number, c: number, d: number): boolean {
    if (holds(this.linkLocal, 0, a, b, c, d)) return true;
    const { addresses6 } = this;
    for (let i = 0; i < addresses6.length; i += ADDRESS6_WORDS) if (holds(addresses6, i, a, b, c, d)) return true;
    return false;
  }

  /** Own address to speak from to `peer`: one in the same subnet, else the first; 0: there is none. */
  source4(peer: number): number {
    const { addresses4 } = this;
    for (let i = 0; i < addresses4.length; i += ADDRESS4_WORDS) {
      if (((addresses4[i] ^ peer) & addresses4[i + 1]) === 0) return addresses4[i];
    }
    return addresses4.length > 0 ? addresses4[0] : 0;
  }

  /** Index in `addresses6` of the address to speak from to `peer`; -1: the link-local one. */
  source6(a: number, b: number, c: number, d: number): number {
    const { addresses6 } = this;
    if (addresses6.length === 0 || isLinkLocal(a)) return -1;
    for (let i = 0; i < addresses6.length; i += ADDRESS6_WORDS) if (isInside(addresses6, i, a, b, c, d)) return i;
    return 0;
  }

  /** Whether `address` is in the subnet of one of its addresses. */
  isOnLink4(address: number): boolean {
    const { addresses4 } = this;
    for (let i = 0; i < addresses4.length; i += ADDRESS4_WORDS) {
      if (((addresses4[i] ^ address) & addresses4[i + 1]) === 0) return true;
    }
    return false;
  }

  /** The same; link-local addresses are on every link. */
  isOnLink6(a: number, b: number, c: number, d: number): boolean {
    if (isLinkLocal(a)) return true;
    const { addresses6 } = this;
    for (let i = 0; i < addresses6.length; i += ADDRESS6_WORDS) if (isInside(addresses6, i, a, b, c, d)) return true;
    return false;
  }

  /** Whether `address` is all ones, or all zeros, of the subnet of one of its addresses; a /31 has no such (RFC 3021). */
  isBroadcast4(address: number): boolean {
    const { addresses4 } = this;
    for (let i = 0; i < addresses4.length; i += ADDRESS4_WORDS) {
      const mask = addresses4[i + 1];
      const host = address & ~mask;
      if (((addresses4[i] ^ address) & mask) === 0 && ~mask >>> 0 > 1 && (host === 0 || host === ~mask)) return true;
    }
    return false;
  }

  isProxied4(address: number): boolean {
    const { proxies4 } = this;
    for (let i = 0; i < proxies4.length; i += ADDRESS4_WORDS) {
      if (((proxies4[i] ^ address) & proxies4[i + 1]) === 0) return true;
    }
    return false;
  }

  isProxied6(a: number, b: number, c: number, d: number): boolean {
    const { proxies6 } = this;
    for (let i = 0; i < proxies6.length; i += ADDRESS6_WORDS) if (isInside(proxies6, i, a, b, c, d)) return true;
    return false;
  }
}

/** fe80::/10 (RFC 4291, 2.5.6), by the address's first word. */
export function isLinkLocal(a: number): boolean {
  return (a & (0xffc00000 | 0)) === LINK_LOCAL;
}

function holds(words: Int32Array, at: number, a: number, b: number, c: number, d: number): boolean {
  return words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d;
}

/** Whether an address is in the prefix of five words at `at`. */
function isInside(words: Int32Array, at: number, a: number, b: number, c: number, d: number): boolean {
  const length = words[at + 4];
  return (
    ((words[at] ^ a) & mask6(length, 0)) === 0 &&
    ((words[at + 1] ^ b) & mask6(length, 1)) === 0 &&
    ((words[at + 2] ^ c) & mask6(length, 2)) === 0 &&
    ((words[at + 3] ^ d) & mask6(length, 3)) === 0
  );
}
