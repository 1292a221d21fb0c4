/**
 * A dataplane with a router: network 1 with a sender, network 2 with next hops whose MACs are known, in a VRF that interconnects them. The
 * interfaces have the networks' numbers.
 */

import { FDB_CAPACITY } from '../../control/capacities.js';
import type { Dataplane } from '../../core/dataplane.js';
import type { FlowMemory } from '../../core/nat/flows.js';
import { finishChecksum, sumBytes } from '../../core/packet/checksum.js';
import { MAPPED } from '../../core/router/address.js';
import { INTERFACE_NETWORK } from '../../core/router/interface.js';
import { LEARN_CREATE, LEARN_OVERRIDE, LEARN_SOLICITED, NEIGHBOR_REACHABLE } from '../../core/router/neighbors.js';
import type { Router } from '../../core/router/router.js';
import { ETHERNET_HEADER_LENGTH } from '../../core/wire/ethernet.js';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_HEADER_LENGTH, IPV4_SOURCE } from '../../core/wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE, setIpv6Address } from '../../core/wire/ipv6.js';
import { type Bench, MAC_HIGH, makeBench, tcp6Frame, tcpFrame } from './frames.js';

export const VRF = 1;
/** Where packets come from, and where they go. */
export const NEAR = 1;
export const FAR = 2;
export const NEAR_PORT = 1;
/** Next hops, each on a port of its own behind the near one. */
export const HOPS = 16;
const FIRST_FAR_PORT = NEAR_PORT + 1;

/** Hosts by number: the last four octets of their MACs, and the end of their addresses. A gateway's MAC has its network's number added. */
export const GATEWAY = 1;
export const SENDER = 10;
const FIRST_HOP = 20;

/** 100.64.0.0/16 (RFC 6598) and fd00:30::/32, the networks' numbers behind: no table of prefixes.ts has them. */
const OWN4 = 0x64400000;
const OWN6 = 0xfd000030 | 0;
const BYTE_MASK = 0xffffff00 | 0;

export function address4(network: number, host: number): number {
  return OWN4 | (network << 8) | host;
}

export function address6(network: number, host: number): [number, number, number, number] {
  return [OWN6, network, 0, host];
}

export function isOwn4(address: number): boolean {
  return address >>> 16 === OWN4 >>> 16;
}

/** By the first word. */
export function isOwn6(a: number): boolean {
  return a === OWN6;
}

/** Four words. @param index from 0 */
export function hopAddress4(index: number): number[] {
  return [0, 0, MAPPED, address4(FAR, FIRST_HOP + index)];
}

export function hopAddress6(index: number): number[] {
  return address6(FAR, FIRST_HOP + index);
}

/**
 * @param returning frames leave with the MACs that they came with, and so can be handed in again as they are: the far gateway has the
 * sender's MAC, which is another network's, and all next hops are one router that has the near gateway's
 * @param flows memory for connections, where they are tracked
 */
export function makeRouted(returning = false, flows?: FlowMemory): Bench {
  const bench = makeBench(0, FDB_CAPACITY, 64, flows);
  const { topology, router } = bench.dataplane;
  for (const network of [NEAR, FAR]) topology.addNetwork(network, 300, 1000);
  topology.addPort(NEAR_PORT, NEAR);
  for (let hop = 0; hop < (returning ? 1 : HOPS); hop++) {
    topology.addPort(FIRST_FAR_PORT + hop, FAR, { macs: [[MAC_HIGH, returning ? GATEWAY + NEAR : FIRST_HOP + hop]] });
  }
  router.addVrf(VRF, { interconnect: true, recordRoute: false, timestamp: false });
  for (const network of [NEAR, FAR]) {
    router.addInterface(network, {
      kind: INTERFACE_NETWORK,
      vrf: VRF,
      fid: network,
      port: 0,
      macHigh: MAC_HIGH,
      macLow: returning && network === FAR ? SENDER : GATEWAY + network,
      mtu: 1500,
      addresses4: Int32Array.of(address4(network, GATEWAY), BYTE_MASK),
      addresses6: Int32Array.of(...address6(network, GATEWAY), 64),
    });
  }
  resolveHops(bench.dataplane, returning);
  return bench;
}

/** The next hops are known as if they had just answered: their IPv4 and IPv6 addresses are REACHABLE. */
function resolveHops({ router }: Dataplane, returning: boolean): void {
  for (let hop = 0; hop < HOPS; hop++) {
    const mac = returning ? GATEWAY + NEAR : FIRST_HOP + hop;
    for (const address of [hopAddress4(hop), hopAddress6(hop)]) resolve(router, FAR, address, mac, FIRST_FAR_PORT);
  }
}

/** Makes a neighbor known as if it had just answered. @param address four words, as hopAddress4 gives */
export function resolve(
  { neighbors, interfaces }: Router,
  on: number,
  address: readonly number[],
  mac: number,
  port: number,
): void {
  const [a, b, c, d] = address;
  const iface = interfaces[on];
  if (iface === null) throw new Error(`no interface ${on}`);
  for (const how of [LEARN_CREATE, LEARN_SOLICITED | LEARN_OVERRIDE])
    neighbors.learn(iface, a, b, c, d, MAC_HIGH, mac, how, port);
  if (neighbors.find6(on, a, b, c, d)?.state !== NEIGHBOR_REACHABLE) throw new Error(`MAC ${mac} is not reachable`);
}

/** Writes the MACs of a frame from the sender to its gateway; as words, since this is part of what is measured. */
export function writeMacs(view: DataView, at: number): void {
  view.setInt32(at, MAC_HIGH << 16);
  view.setInt32(at + 4, ((GATEWAY + NEAR) << 16) | MAC_HIGH);
  view.setInt32(at + 8, SENDER);
}

/** TCP from the sender by way of its gateway. @param to four words, as hopAddress4 gives */
export function frame4(to: readonly number[]): Uint8Array {
  const frame = tcpFrame(0, 0);
  const view = new DataView(frame.buffer);
  const ip = ETHERNET_HEADER_LENGTH;
  writeMacs(view, 0);
  view.setInt32(ip + IPV4_SOURCE, address4(NEAR, SENDER));
  view.setInt32(ip + IPV4_DESTINATION, to[3]);
  view.setUint16(ip + IPV4_CHECKSUM, 0);
  view.setUint16(ip + IPV4_CHECKSUM, finishChecksum(sumBytes(view, ip, IPV4_HEADER_LENGTH)));
  return frame;
}

/** The same over IPv6. */
export function frame6([a, b, c, d]: readonly number[]): Uint8Array {
  const frame = tcp6Frame(0, 0);
  const view = new DataView(frame.buffer);
  writeMacs(view, 0);
  setIpv6Address(view, ETHERNET_HEADER_LENGTH + IPV6_SOURCE, ...address6(NEAR, SENDER));
  setIpv6Address(view, ETHERNET_HEADER_LENGTH + IPV6_DESTINATION, a, b, c, d);
  return frame;
}
