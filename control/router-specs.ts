/** Interfaces, routes and neighbors in the words that the worker takes, and its listings in text again. */

import { isMapped, MAPPED, mask4 } from '../core/router/address.js';
import {
  ADDRESS4_WORDS,
  INTERFACE_HOST,
  INTERFACE_NETWORK,
  INTERFACE_UPLINK,
  type InterfaceOptions,
  type TranslationOptions,
} from '../core/router/interface.js';
import {
  NEIGHBOR_DELAY,
  NEIGHBOR_FAILED,
  NEIGHBOR_INCOMPLETE,
  NEIGHBOR_PERMANENT,
  NEIGHBOR_PROBE,
  NEIGHBOR_REACHABLE,
  NEIGHBOR_STALE,
} from '../core/router/neighbor.js';
import {
  type Prefix,
  prefix4,
  prefix6,
  ROUTE_BLACKHOLE,
  ROUTE_BROADCAST,
  ROUTE_LOCAL,
  ROUTE_PROHIBIT,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
} from '../core/router/vrf.js';
import { addressOf, words } from './address-words.js';
import { type Address, parseAddress, parseCidr } from './config/address.js';
import { formatMac, macWords } from './mac.js';
import type {
  FibEntry,
  HopSpec,
  InterfaceSpec,
  NeighborEntry,
  NeighborState,
  RouteSpec,
  TranslationSpec,
} from './types.js';
import {
  FIB_RECORD,
  type FibListing,
  NEIGHBOR_RECORD,
  type WorkerHop,
  type WorkerInterface,
  type WorkerRoute,
} from './worker-protocol.js';

const INTERFACE_KINDS = { network: INTERFACE_NETWORK, uplink: INTERFACE_UPLINK, host: INTERFACE_HOST };
const ROUTE_KINDS = {
  unicast: ROUTE_UNICAST,
  blackhole: ROUTE_BLACKHOLE,
  unreachable: ROUTE_UNREACHABLE,
  prohibit: ROUTE_PROHIBIT,
};
const KIND_NAMES: Readonly<Record<number, FibEntry['kind']>> = {
  [ROUTE_UNICAST]: 'unicast',
  [ROUTE_LOCAL]: 'local',
  [ROUTE_BROADCAST]: 'broadcast',
  [ROUTE_BLACKHOLE]: 'blackhole',
  [ROUTE_UNREACHABLE]: 'unreachable',
  [ROUTE_PROHIBIT]: 'prohibit',
};
const STATE_NAMES: Readonly<Record<number, NeighborState>> = {
  [NEIGHBOR_INCOMPLETE]: 'incomplete',
  [NEIGHBOR_REACHABLE]: 'reachable',
  [NEIGHBOR_STALE]: 'stale',
  [NEIGHBOR_DELAY]: 'delay',
  [NEIGHBOR_PROBE]: 'probe',
  [NEIGHBOR_FAILED]: 'failed',
  [NEIGHBOR_PERMANENT]: 'permanent',
};

/** @param fid number of the domain that network and VLAN are */
export function workerInterface(number: number, spec: InterfaceSpec, fid: number): WorkerInterface {
  const [macHigh, macLow] = macWords(spec.mac);
  const options: InterfaceOptions = {
    kind: INTERFACE_KINDS[spec.kind],
    vrf: spec.vrf,
    fid,
    port: spec.port ?? 0,
    macHigh,
    macLow,
    mtu: spec.mtu,
    addresses4: list4(spec.addresses, false),
    addresses6: list6(spec.addresses, false),
    linkLocal: spec.linkLocal === undefined ? null : Int32Array.from(addressWords(spec.linkLocal)),
    proxies4: list4(spec.proxies, true),
    proxies6: list6(spec.proxies, true),
    internal: spec.internal,
    hostAccess: spec.hostAccess,
    shared: spec.shared,
    validateSource: spec.validateSource,
    advertisement: spec.advertisement,
    translation: spec.translation === undefined ? null : workerTranslation(spec.translation),
  };
  return { number, up: spec.up, options };
}

function workerTranslation({ sources4, sources6, prefixes }: TranslationSpec): TranslationOptions {
  const four = (texts: readonly string[]): Int32Array =>
    Int32Array.from(texts.flatMap((text) => addressWords(text).slice(3)));
  const six = (texts: readonly string[]): Int32Array => Int32Array.from(texts.flatMap(addressWords));
  return {
    sources4: sources4 === null ? null : four(sources4),
    sources6: sources6 === null ? null : six(sources6),
    prefixes: Int32Array.from(prefixes.flatMap(([inside, outside]) => [...list6([inside, outside], true)])),
  };
}

interface Cidr {
  readonly address: Address;
  readonly prefix: number;
}

function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === null) throw new Error(`not an address with prefix length: ${text}`);
  return cidr;
}

/** ADDRESS4_WORDS each, of those that are IPv4. */
function list4(texts: readonly string[], clearHost: boolean): Int32Array {
  const list: number[] = [];
  for (const { address, prefix } of texts.map(cidrOf)) {
    if (address.family !== 4) continue;
    const mask = mask4(prefix);
    const [word] = words(address.value, ADDRESS4_WORDS / 2) as [number];
    list.push(clearHost ? word & mask : word, mask);
  }
  return Int32Array.from(list);
}

function list6(texts: readonly string[], clearHost: boolean): Int32Array {
  const list: number[] = [];
  for (const { address, prefix } of texts.map(cidrOf)) {
    if (address.family !== 6) continue;
    const [a, b, c, d] = words(address.value, 4) as [number, number, number, number];
    const cleared = prefix6(a, b, c, d, prefix);
    list.push(...(clearHost ? [cleared.a, cleared.b, cleared.c, cleared.d] : [a, b, c, d]), prefix);
  }
  return Int32Array.from(list);
}

/** Four words, IPv4 mapped. */
export function addressWords(text: string): [number, number, number, number] {
  const address = parseAddress(text);
  if (address === null) throw new Error(`not an address: ${text}`);
  if (address.family === 4) return [0, 0, MAPPED, words(address.value, 1)[0] as number];
  return words(address.value, 4) as [number, number, number, number];
}

export function workerPrefix(text: string): Prefix {
  const { address, prefix } = cidrOf(text);
  if (address.family === 4) return prefix4(words(address.value, 1)[0] as number, prefix);
  const [a, b, c, d] = words(address.value, 4) as [number, number, number, number];
  return prefix6(a, b, c, d, prefix);
}

export function workerRoute({ vrf, prefix, kind, hops }: RouteSpec): WorkerRoute {
  return { vrf, prefix: workerPrefix(prefix), kind: ROUTE_KINDS[kind], hops: hops.map(workerHop) };
}

function workerHop({ interface: iface, via, metric }: HopSpec): WorkerHop {
  return { iface, via: via === null ? null : addressWords(via), metric };
}

export function readFib({ words: list, routes }: FibListing): FibEntry[] {
  const known = new Map(routes.map((route) => [`${route.vrf} ${route.value}`, route]));
  const entries: FibEntry[] = [];
  for (let at = 0; at < list.length; at += FIB_RECORD) {
    const [vrf, a, b, c, d, length, value] = list.subarray(at, at + FIB_RECORD);
    const route = known.get(`${vrf} ${value}`);
    if (route === undefined) continue;
    const prefix = `${addressOf([a, b, c, d])}/${isMapped(a, b, c) && length >= 96 ? length - 96 : length}`;
    const isConnected = route.isConnected && route.kind === ROUTE_UNICAST;
    entries.push({
      vrf,
      prefix,
      kind: isConnected ? 'connected' : KIND_NAMES[route.kind],
      hops: route.hops.map(hopSpec),
    });
  }
  return entries;
}

function hopSpec({ iface, via, metric }: WorkerHop): HopSpec {
  return { interface: iface, via: via === null ? null : addressOf(via), metric };
}

export function readNeighbors(list: Int32Array): NeighborEntry[] {
  const entries: NeighborEntry[] = [];
  for (let at = 0; at < list.length; at += NEIGHBOR_RECORD) {
    const [iface, a, b, c, d, state, high, low, ageSeconds, router, waiting] = list.subarray(at, at + NEIGHBOR_RECORD);
    const mac = state >= NEIGHBOR_REACHABLE ? formatMac(high, low) : null;
    const address = addressOf([a, b, c, d]);
    entries.push({
      interface: iface,
      address,
      mac,
      state: STATE_NAMES[state],
      ageSeconds,
      router: router === 1,
      waiting,
    });
  }
  return entries;
}
