/**
 * A router without a kernel, for scenarios: three networks with hosts, an uplink with a host outside, and the host port, in one VRF.
 *
 *   network 1, ports 1 and 2 · network 2, ports 3 and 4 · network 3, ports 5 and 8 · uplink 4, port 6 · host 5, port 7
 *
 * Interfaces have the numbers of their networks. Network N is 10.N.0.0/24 and fd00:N::/64, its gateway .1 and ::1; the host on port P is
 * .1P and ::1P. Frames are built and read by the RFCs' own numbers, with slow sums.
 */

import type { ExecutionContext } from 'ava';
import {
  INTERFACE_HOST,
  INTERFACE_NETWORK,
  INTERFACE_UPLINK,
  type InterfaceOptions,
  type RouterInterface,
} from '../../../core/router/interface.js';
import { LEARN_CREATE, LEARN_OVERRIDE, LEARN_SOLICITED } from '../../../core/router/neighbors.js';
import type { VrfOptions } from '../../../core/router/router.js';
import { Hop, type Prefix, prefix4, prefix6, ROUTE_UNICAST } from '../../../core/router/vrf.js';
import type { NetworkOptions, PortOptions } from '../../../core/topology.js';
import {
  BROADCAST,
  frame,
  Harness,
  type HarnessOptions,
  type SentFrame,
  type VnetFields,
} from '../../support/harness.js';
import { ip4, ip6 } from '../switch/multicast.js';
import { udp } from '../wire/build.js';
import { frame4, frame6, type Ipv4Patch, type Ipv6Patch, pseudoSum6, slowSum, viewOf } from './icmp-frames.js';

export const VRF = 1;
export const UPLINK = 4;
export const HOST = 5;
/** Network by port; those of UPLINK and HOST are the router's alone. */
const NETWORKS = [0, 1, 1, 2, 2, 3, UPLINK, HOST, 3];
export const SPARE_PORT = 9;
const KINDS = [0, INTERFACE_NETWORK, INTERFACE_NETWORK, INTERFACE_NETWORK, INTERFACE_UPLINK, INTERFACE_HOST];

export interface Station {
  readonly port: number;
  readonly network: number;
  readonly mac: number[];
  readonly v4: string;
  readonly v6: string;
}

function station(port: number): Station {
  const network = NETWORKS[port];
  const mac = [2, 0, 0, 0, 0, port];
  // The host's own address in each network is the gateway's; it speaks from that of network 1.
  if (network === HOST) return { port, network, mac, v4: '10.1.0.1', v6: 'fd00:1::1' };
  return { port, network, mac, v4: `10.${network}.0.1${port}`, v6: `fd00:${network}::1${port}` };
}

/** Two in network 1, two in network 2, one in network 3, one outside, and the host. */
export const A = station(1);
export const A2 = station(2);
export const B = station(3);
export const B2 = station(4);
export const C = station(5);
export const OUTSIDE = station(6);
export const THE_HOST = station(7);

export function gatewayMac(network: number): number[] {
  return [2, 0, 0, 0, 0xfe, network];
}

/** "10.1.0.1" → int32. */
export function word4(address: string): number {
  return viewOf(Uint8Array.from(ip4(address))).getInt32(0);
}

/** "fd00:1::1" → four words. */
export function words6(address: string): [number, number, number, number] {
  const view = viewOf(Uint8Array.from(ip6(address)));
  return [view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)];
}

/** "10.0.0.0/8", "fd00::/8" → prefix. */
export function prefix(text: string): Prefix {
  const [address, length] = text.split('/');
  return address.includes(':') ? prefix6(...words6(address), Number(length)) : prefix4(word4(address), Number(length));
}

/** By a neighbor on an interface's link, or, for null, straight to the destination there. */
export function via(iface: number, address: string | null, metric = 0): Hop {
  if (address === null) return new Hop(iface, null, metric);
  return new Hop(iface, address.includes(':') ? words6(address) : [0, 0, 0xffff, word4(address)], metric);
}

export interface LabOptions extends HarnessOptions {
  readonly vrf?: Partial<VrfOptions>;
  /** By network. */
  readonly interfaces?: Record<number, Partial<InterfaceOptions>>;
  /** By port. */
  readonly ports?: Record<number, PortOptions>;
  /** By network. */
  readonly networks?: Record<number, NetworkOptions>;
}

export class Lab extends Harness {
  private readonly interfaceOptions: InterfaceOptions[] = [];

  constructor(options: LabOptions = {}) {
    super(0, { slots: 64, ...options });
    const { router } = this.dataplane;
    for (let network = 1; network <= HOST; network++)
      this.topology.addNetwork(network, 300, 1024, options.networks?.[network]);
    NETWORKS.forEach((network, port) => {
      if (network !== 0) this.topology.addPort(port, network, { routed: network >= UPLINK, ...options.ports?.[port] });
    });
    router.addVrf(VRF, { interconnect: true, recordRoute: false, timestamp: false, ...options.vrf });
    for (let network = 1; network <= HOST; network++) {
      const one = { ...defaults(network), ...options.interfaces?.[network] };
      this.interfaceOptions[network] = one;
      this.sentBy(() => router.addInterface(network, one));
    }
  }

  get router() {
    return this.dataplane.router;
  }

  iface(network: number): RouterInterface {
    return this.router.interface(network);
  }

  /** Replaces an interface; what is not given stays. */
  change(network: number, options: Partial<InterfaceOptions>, isUp = true): SentFrame[] {
    const one = { ...this.interfaceOptions[network], ...options };
    this.interfaceOptions[network] = one;
    return this.sentBy(() => this.router.setInterface(network, one, isUp));
  }

  /** A static route. */
  route(to: string, kind: number, ...hops: Hop[]): void {
    this.router.setRoute(VRF, prefix(to), kind, hops);
  }

  routeVia(to: string, ...hops: Hop[]): void {
    this.route(to, ROUTE_UNICAST, ...hops);
  }

  /** The bridge has heard of these, and the router knows their MACs as if they had just answered. */
  know(...stations: Station[]): this {
    for (const one of stations) {
      if (one.network < UPLINK) this.receive(one.port, frame(BROADCAST, one.mac));
      this.resolve(one, one.v4);
      this.resolve(one, one.v6);
    }
    return this;
  }

  /** A station has an address, which the router knows. */
  resolve({ port, network, mac }: Station, address: string, on = network): void {
    const [a, b, c, d] = address.includes(':') ? words6(address) : [0, 0, 0xffff, word4(address)];
    const iface = this.iface(on);
    for (const how of [LEARN_CREATE, LEARN_SOLICITED | LEARN_OVERRIDE])
      this.router.neighbors.learn(
        iface,
        a,
        b,
        c,
        d,
        (mac[0] << 8) | mac[1],
        viewOf(Uint8Array.from(mac)).getInt32(2),
        how,
        port,
      );
  }

  /** The one frame that leaves because of another; throws where there is none, or more. */
  one(port: number, bytes: Uint8Array, vnet: VnetFields | null = null): SentFrame {
    const sent = this.receive(port, bytes, vnet);
    if (sent.length !== 1) throw new Error(`${sent.length} frames left, not one`);
    return sent[0];
  }

  /** Only the reasons, over all ports. */
  dropped(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (let port = 0; port <= SPARE_PORT; port++) {
      for (const [reason, count] of Object.entries(this.rxDrops(port))) sums[reason] = (sums[reason] ?? 0) + count;
      for (const [reason, count] of Object.entries(this.txDrops(port))) sums[`tx ${reason}`] = count;
    }
    return sums;
  }
}

/** Everything in its place after a scenario. */
export function expectWhole(t: ExecutionContext, lab: Harness, what?: string): void {
  t.is(lab.dataplane.lastError, null, what);
  t.is(lab.imbalance(), 0, what);
  t.true(lab.isWhole, what);
}

function defaults(network: number): InterfaceOptions {
  const isHost = network === HOST;
  return {
    kind: KINDS[network],
    vrf: VRF,
    fid: network,
    port: network === UPLINK ? OUTSIDE.port : isHost ? THE_HOST.port : 0,
    macHigh: 0x0200,
    macLow: 0xfe00 | network,
    mtu: 1500,
    addresses4: isHost
      ? Int32Array.of(word4('192.0.2.7'), -1)
      : Int32Array.of(word4(`10.${network}.0.1`), 0xffffff00 | 0),
    addresses6: isHost ? new Int32Array(0) : Int32Array.of(...words6(`fd00:${network}::1`), 64),
    hostAccess: isHost,
  };
}

// --- frames

export function withMacs(frame: Uint8Array, to: readonly number[], from: readonly number[]): Uint8Array {
  frame.set(to, 0);
  frame.set(from, 6);
  return frame;
}

export interface Patch4 extends Omit<Ipv4Patch, 'from' | 'to'> {
  readonly protocol?: number;
  readonly from?: string;
  readonly identification?: number;
  readonly toMac?: readonly number[];
}

const PATTERN = Uint8Array.from({ length: 65_536 }, (_, i) => (i * 7) & 0xff);

/** Some UDP. */
export function datagram(length = 26): Uint8Array {
  return udp({ srcPort: 1111, dstPort: 2222 }, PATTERN.slice(0, length - 8));
}

/** An IPv4 packet on its way to the gateway: TTL 64. */
export function out4(from: Station, to: Station | string, patch: Patch4 = {}, ...payload: Uint8Array[]): Uint8Array {
  const destination = typeof to === 'string' ? to : to.v4;
  const { protocol = 17, from: source = from.v4, identification = 0x1234, toMac, ...rest } = patch;
  const body = payload.length > 0 ? payload : [datagram()];
  const bytes = frame4(protocol, { ttl: 64, ...rest, from: word4(source), to: word4(destination) }, ...body);
  viewOf(bytes).setUint16(18, identification);
  return withMacs(withSum4(bytes), toMac ?? gatewayMac(from.network), from.mac);
}

/** A frame whose IPv4 header sums up. */
export function withSum4(bytes: Uint8Array): Uint8Array {
  const view = viewOf(bytes);
  view.setUint16(24, 0);
  view.setUint16(24, ~slowSum(bytes.subarray(14, 14 + (bytes[14] & 15) * 4)) & 0xffff);
  return bytes;
}

export interface Patch6 extends Omit<Ipv6Patch, 'from' | 'to'> {
  readonly nextHeader?: number;
  readonly from?: string;
  readonly toMac?: readonly number[];
}

/** The same for IPv6: hop limit 64. */
export function out6(from: Station, to: Station | string, patch: Patch6 = {}, ...payload: Uint8Array[]): Uint8Array {
  const destination = typeof to === 'string' ? to : to.v6;
  const { nextHeader = 17, from: source = from.v6, toMac, ...rest } = patch;
  const body = payload.length > 0 ? payload : [datagram()];
  const bytes = frame6(nextHeader, { hopLimit: 64, ...rest, from: words6(source), to: words6(destination) }, ...body);
  return withMacs(bytes, toMac ?? gatewayMac(from.network), from.mac);
}

/** ICMPv6 to the gateway's MAC, its checksum right. */
export function outIcmp6(from: Station, to: Station | string, patch: Patch6, message: Uint8Array): Uint8Array {
  return withSum6(out6(from, to, { ...patch, nextHeader: 58 }, message.slice()));
}

function withSum6(bytes: Uint8Array): Uint8Array {
  viewOf(bytes).setUint16(56, 0);
  const message = bytes.subarray(54);
  viewOf(bytes).setUint16(56, ~slowSum(message, pseudoSum6(bytes, message.length)) & 0xffff);
  return bytes;
}

/** An ICMP message (of both families) without its sum. */
export function message(type: number, code: number, rest: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  bytes.set([type, code, 0, 0]);
  viewOf(bytes).setInt32(4, rest);
  bytes.set(data, 8);
  return bytes;
}

/** The same with the sum that ICMP for IPv4 has. */
export function message4(type: number, code: number, rest: number, data?: Uint8Array): Uint8Array {
  const bytes = message(type, code, rest, data);
  viewOf(bytes).setUint16(2, ~slowSum(bytes) & 0xffff);
  return bytes;
}

/** What a router makes of a frame: other MACs, one hop less, and a header that sums up. Nothing else. */
export function hopped(bytes: Uint8Array, to: Station): Uint8Array {
  const next = withMacs(bytes.slice(), to.mac, gatewayMac(to.network));
  if (next[12] === 0x08) {
    next[22]--;
    return withSum4(next);
  }
  next[21]--;
  return next;
}

// --- readers

function text4(bytes: Uint8Array, at: number): string {
  return [...bytes.subarray(at, at + 4)].join('.');
}

/** Eight groups, zeros and all: fd00:1:0:0:0:0:0:11. */
export function text6(bytes: Uint8Array, at: number): string {
  const view = viewOf(bytes);
  return Array.from({ length: 8 }, (_, i) => view.getUint16(at + 2 * i).toString(16)).join(':');
}

export function long6(address: string): string {
  return text6(Uint8Array.from(ip6(address)), 0);
}

export interface Message {
  readonly port: number;
  readonly toMac: number[];
  readonly fromMac: number[];
  readonly from: string;
  readonly to: string;
  readonly type: number;
  readonly code: number;
  readonly rest: number;
  readonly data: Uint8Array;
}

/** Reads an untagged ICMP or ICMPv6 message. @throws where a sum is wrong, or it is none */
export function readIcmp({ port, frame: bytes }: SentFrame): Message {
  const view = viewOf(bytes);
  const isIpv4 = view.getUint16(12) === 0x0800;
  const l4 = isIpv4 ? 14 + (bytes[14] & 15) * 4 : 54;
  if ((isIpv4 ? bytes[23] : bytes[20]) !== (isIpv4 ? 1 : 58)) throw new Error('no ICMP');
  const end = 14 + (isIpv4 ? view.getUint16(16) : 40 + view.getUint16(18));
  if (end !== bytes.length) throw new Error(`frame of ${bytes.length} bytes, packet to ${end}`);
  if (isIpv4 && slowSum(bytes.subarray(14, l4)) !== 0xffff) throw new Error('wrong header checksum');
  const sum = slowSum(bytes.subarray(l4), isIpv4 ? 0 : pseudoSum6(bytes, bytes.length - 54));
  if (sum !== 0xffff) throw new Error('wrong ICMP checksum');
  return {
    port,
    toMac: [...bytes.subarray(0, 6)],
    fromMac: [...bytes.subarray(6, 12)],
    from: isIpv4 ? text4(bytes, 26) : text6(bytes, 22),
    to: isIpv4 ? text4(bytes, 30) : text6(bytes, 38),
    type: bytes[l4],
    code: bytes[l4 + 1],
    rest: view.getInt32(l4 + 4),
    data: bytes.slice(l4 + 8),
  };
}

/** An answer of a gateway to a station: "type/code", checked to come from the station's own gateway, back to where it is. */
export function expectError(
  t: ExecutionContext,
  sent: readonly SentFrame[],
  to: Station,
  what: string,
  quoted?: Uint8Array,
): void {
  t.is(sent.length, 1, what);
  if (sent.length !== 1) return;
  const error = readIcmp(sent[0]);
  const isIpv4 = sent[0].frame[12] === 0x08;
  t.is(`${error.type}/${error.code}`, what);
  t.is(error.port, to.port, what);
  t.deepEqual(error.toMac, to.mac, what);
  t.deepEqual(error.fromMac, gatewayMac(to.network), what);
  t.is(error.from, isIpv4 ? `10.${to.network}.0.1` : long6(`fd00:${to.network}::1`), what);
  t.is(error.to, isIpv4 ? to.v4 : long6(to.v6), what);
  if (quoted !== undefined) t.deepEqual(error.data, quoted.slice(14), `${what}: the packet as it came`);
}

/** "request 10.2.0.1 > 10.2.0.13", or "other". */
export function readArp(bytes: Uint8Array): string {
  if (viewOf(bytes).getUint16(12) !== 0x0806) return 'other';
  const kind = ['', 'request', 'reply'][viewOf(bytes).getUint16(20)];
  return `${kind} ${text4(bytes, 28)} > ${text4(bytes, 38)}`;
}

/** ARP of a station. @param target that it asks for, or answers to */
export function arpFrame(
  from: Station,
  operation: 1 | 2,
  target: string,
  patch: { sender?: string; to?: number[] } = {},
): Uint8Array {
  const body = [
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    operation,
    ...from.mac,
    ...ip4(patch.sender ?? from.v4),
    ...(operation === 2 ? gatewayMac(from.network) : [0, 0, 0, 0, 0, 0]),
    ...ip4(target),
  ];
  return frame(patch.to ?? (operation === 2 ? gatewayMac(from.network) : BROADCAST), from.mac, body, 0x0806);
}

/** A neighbor advertisement to the gateway that has asked: solicited, override. */
export function advertisement(from: Station, address = from.v6): Uint8Array {
  const body = message(136, 0, 0x60000000, Uint8Array.from([...ip6(address), 2, 1, ...from.mac]));
  return outIcmp6(from, `fd00:${from.network}::1`, { from: address, hopLimit: 255 }, body);
}
