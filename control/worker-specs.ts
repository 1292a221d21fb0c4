/** What the control plane asks for, in the words and numbers that the worker takes; and the worker's events in words again. */

import {
  EVENT_ADDRESS,
  EVENT_ADDRESS_CONFLICT,
  EVENT_BACKEND_SUSPECT,
  EVENT_BACKEND_TRUSTED,
  EVENT_FDB_FULL,
  EVENT_FLOW_LIMIT,
  EVENT_FLOWS_ALARM,
  EVENT_FLOWS_FULL,
  EVENT_L2_MISS,
  EVENT_L3_MISS,
  EVENT_MAC_FLAPPING,
  EVENT_MAC_MOVED,
  EVENT_NEIGHBORS_FULL,
  EVENT_PORT_BLOCK,
  EVENT_PORT_BLOCK_FREED,
  EVENT_PORTS_EXHAUSTED,
  EVENT_QUARANTINED,
  EVENT_RECORD,
  EVENT_RELEASED,
  EVENT_SERVICE_FLOOD,
  EVENT_SERVICE_FLOOD_OVER,
  EVENT_VTEP_HEARD,
  EVENT_VTEP_REACHABLE,
  EVENT_VTEP_UNREACHABLE,
} from '../core/events.js';
import { NO_MAC_LIMIT } from '../core/ports.js';
import { ROUTER_ALWAYS, ROUTER_AUTO, ROUTER_NEVER } from '../core/switch/membership.js';
import { SECURITY_MAC, SECURITY_STRICT } from '../core/switch/port-security.js';
import { addressOf, mappedWords, words } from './address-words.js';
import { parseAddress, parseCidr } from './config/address.js';
import { formatMac, macWords } from './mac.js';
import type { DataplaneEvent, FdbEntry, NetworkSpec, PortSpec, SecuritySpec } from './types.js';
import type {
  AnnouncedAddresses,
  MacWords,
  WorkerEvents,
  WorkerNetwork,
  WorkerPort,
  WorkerSecurity,
  WorkerVtep,
} from './worker-protocol.js';
import { FDB_RECORD } from './worker-protocol.js';

const ROUTERS = { auto: ROUTER_AUTO, always: ROUTER_ALWAYS, never: ROUTER_NEVER };

export function workerNetwork(id: number, spec: NetworkSpec): Omit<WorkerNetwork, 'vlans'> {
  const { snooping, querier, unregistered } = spec.multicast;
  return {
    id,
    ageing: spec.ageingSeconds,
    fdbLimit: spec.fdbLimit,
    dropWhenFull: spec.fdbFull === 'drop',
    vlanProtocol: spec.vlanProtocol,
    multicast: snooping ? { querier, dropUnregistered: unregistered === 'drop' } : null,
    loopMoves: spec.loop.moves,
    quarantine: spec.loop.quarantine,
  };
}

/** @param kind PORT_TAP, PORT_PACKET or PORT_VXLAN */
export function workerPort(id: number, kind: number, spec: PortSpec): WorkerPort {
  const { security } = spec;
  return {
    id,
    network: spec.network,
    fd: spec.fd,
    kind,
    security: security === undefined || security.level === 'off' ? null : workerSecurity(security),
    macs: boundMacs(spec),
    macLimit: learnable(spec),
    isolation: spec.isolation ?? 0,
    vlan: spec.vlan ?? null,
    storm: spec.storm ?? null,
    router: ROUTERS[spec.multicast?.router ?? 'auto'],
    fastLeave: spec.multicast?.fastLeave ?? false,
    routed: spec.routed ?? false,
    offload: spec.offload ?? true,
    outlet: -1,
    vtep: vtepOf(spec),
    announce: announced(spec),
  };
}

function vtepOf({ vtep }: PortSpec): WorkerVtep | null {
  if (vtep === undefined) return null;
  const { address, floods, learning } = vtep;
  return { address: Int32Array.from(mappedWords(address)), floods, learning };
}

/** MACs for static entries. Where an endpoint may speak from any MAC, only those that its configuration names besides its own. */
function boundMacs({ security, hostMac }: PortSpec): MacWords[] {
  if (security === undefined) return hostMac === undefined ? [] : [macWords(hostMac)];
  const bound = security.level === 'off' ? security.macs : [security.mac, ...security.macs];
  return bound.map(macWords);
}

/** VLANs that a port is a member of; 0 in a network without. */
function vlanCount({ vlan }: PortSpec): number {
  return (vlan?.tagged.length ?? 0) + (vlan !== undefined && vlan.native !== 0 ? 1 : 0);
}

function isTrunk(spec: PortSpec): boolean {
  return vlanCount(spec) > 1;
}

/** MACs that a port may have learned. With security those that are bound to it are no learned ones, and a trunk learns them in each VLAN. */
function learnable(spec: PortSpec): number {
  const { security, macLimit } = spec;
  const limit = security?.macLimit ?? macLimit ?? 0;
  if (limit === 0) return NO_MAC_LIMIT;
  if (security === undefined || security.level === 'off') return limit;
  return isTrunk(spec) ? limit * vlanCount(spec) : limit - boundMacs(spec).length;
}

function workerSecurity({ level, mac, macs, macLimit, prefixes }: SecuritySpec): WorkerSecurity {
  const prefixes4: number[] = [];
  const prefixes6: number[] = [];
  for (const text of prefixes) {
    const cidr = parseCidr(text);
    if (cidr === null) throw new Error(`not a prefix: ${text}`);
    const { family, value } = cidr.address;
    if (family === 4) prefixes4.push(...words(value, 1), ...words(prefixMask(32, cidr.prefix), 1));
    else prefixes6.push(...words(value, 4), ...words(prefixMask(128, cidr.prefix), 4));
  }
  return {
    level: level === 'strict' ? SECURITY_STRICT : SECURITY_MAC,
    mac: macWords(mac),
    macLimit: macLimit - macs.length,
    prefixes4: Int32Array.from(prefixes4),
    prefixes6: Int32Array.from(prefixes6),
    further: Int32Array.from(macs.flatMap(macWords)),
  };
}

function announced({ announce, security }: PortSpec): AnnouncedAddresses | null {
  if (announce === undefined || announce.length === 0 || security === undefined) return null;
  const parsed = announce.map((text) => {
    const address = parseAddress(text);
    if (address === null) throw new Error(`not an address: ${text}`);
    return address;
  });
  const of = (family: 4 | 6): Int32Array =>
    Int32Array.from(
      parsed.filter((one) => one.family === family).flatMap(({ value }) => words(value, family === 4 ? 1 : 4)),
    );
  return { mac: macWords(security.mac), addresses4: of(4), addresses6: of(6) };
}

function prefixMask(bits: number, prefix: number): bigint {
  const all = (1n << BigInt(bits)) - 1n;
  return all ^ (all >> BigInt(prefix));
}

const EVENT_KINDS: Readonly<Record<number, DataplaneEvent['kind']>> = {
  [EVENT_MAC_MOVED]: 'mac-moved',
  [EVENT_MAC_FLAPPING]: 'mac-flapping',
  [EVENT_QUARANTINED]: 'port-quarantined',
  [EVENT_RELEASED]: 'port-released',
  [EVENT_FDB_FULL]: 'fdb-full',
  [EVENT_ADDRESS_CONFLICT]: 'address-conflict',
  [EVENT_NEIGHBORS_FULL]: 'neighbors-full',
  [EVENT_FLOWS_ALARM]: 'connections-alarm',
  [EVENT_FLOWS_FULL]: 'connections-full',
  [EVENT_FLOW_LIMIT]: 'connection-limit',
  [EVENT_PORTS_EXHAUSTED]: 'ports-exhausted',
  [EVENT_PORT_BLOCK]: 'port-block-taken',
  [EVENT_PORT_BLOCK_FREED]: 'port-block-freed',
  [EVENT_BACKEND_SUSPECT]: 'backend-suspect',
  [EVENT_BACKEND_TRUSTED]: 'backend-trusted',
  [EVENT_SERVICE_FLOOD]: 'service-flood',
  [EVENT_SERVICE_FLOOD_OVER]: 'service-flood-over',
  [EVENT_VTEP_HEARD]: 'vtep-heard',
  [EVENT_VTEP_UNREACHABLE]: 'vtep-unreachable',
  [EVENT_VTEP_REACHABLE]: 'vtep-reachable',
  [EVENT_L2_MISS]: 'l2-miss',
  [EVENT_L3_MISS]: 'l3-miss',
};

/** @param networks to find out which network and VLAN a domain is */
export function readEvents({ words: list, lost }: WorkerEvents, networks: Iterable<WorkerNetwork>): DataplaneEvent[] {
  const time = Date.now();
  const places = placesOf(list, EVENT_RECORD, 1, networks);
  const events: DataplaneEvent[] = [];
  for (let at = 0; at < list.length; at += EVENT_RECORD) {
    const [kind, domain, port, fromPort, high, low, count] = list.subarray(at, at + EVENT_RECORD);
    const isBlock = kind === EVENT_PORT_BLOCK || kind === EVENT_PORT_BLOCK_FREED;
    const mac = isBlock || (high === 0 && low === 0) ? '' : formatMac(high, low);
    // First port and number of ports stand where others have a MAC.
    const ports = isBlock ? { ports: `${high}-${high + low - 1}` } : {};
    const words = [...list.subarray(at + EVENT_ADDRESS, at + EVENT_RECORD)];
    const address = words.every((word) => word === 0) ? '' : addressOf(words);
    const place = places.get(domain) ?? NOWHERE;
    events.push({ time, kind: EVENT_KINDS[kind], ...place, port, fromPort, mac, count, address, ...ports });
  }
  if (lost > 0) events.push(plainEvent('events-lost', { count: lost }));
  return events;
}

/** An event of the main thread's own; fields that are not given say "nothing". */
export function plainEvent(kind: DataplaneEvent['kind'], fields: Partial<DataplaneEvent>): DataplaneEvent {
  const nothing = { network: 0, vlan: 0, port: 0, fromPort: 0, mac: '', count: 0, address: '' };
  return { time: Date.now(), kind, ...nothing, ...fields };
}

interface Place {
  readonly network: number;
  readonly vlan: number;
}

const NOWHERE: Place = { network: 0, vlan: 0 };

/** An FDB listing in words again. @param networks as for events */
export function readFdb(list: Int32Array, networks: Iterable<WorkerNetwork>): FdbEntry[] {
  const places = placesOf(list, FDB_RECORD, 0, networks);
  const entries: FdbEntry[] = [];
  for (let at = 0; at < list.length; at += FDB_RECORD) {
    const [domain, high, low, port, ageSeconds, isStatic] = list.subarray(at, at + FDB_RECORD);
    const place = places.get(domain) ?? NOWHERE;
    entries.push({ mac: formatMac(high, low), ...place, port, ageSeconds, static: isStatic === 1 });
  }
  return entries;
}

/**
 * The domains that a list's records name in their word `first`, in one pass over all VLANs: of those there can be thousands, and of
 * records too.
 */
function placesOf(
  list: Int32Array,
  record: number,
  first: number,
  networks: Iterable<WorkerNetwork>,
): Map<number, Place> {
  const wanted = new Set<number>();
  for (let at = first; at < list.length; at += record) wanted.add(list[at]);
  const places = new Map<number, Place>();
  for (const { id, vlans } of networks) {
    if (wanted.has(id)) places.set(id, { network: id, vlan: 0 });
    for (const [vid, fid] of vlans) if (wanted.has(fid)) places.set(fid, { network: id, vlan: vid });
  }
  return places;
}
