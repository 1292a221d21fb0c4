/**
 * Hosts without kernels, each a dataplane, on one underlay: what one transmits by its uplink, the others receive by theirs.
 *
 *   host N: uplink port 9 (10.77.0.N, fd77::N) · network 1, ports 1 to 3 · network 2, ports 4 to 6
 *   VTEP ports: 100 x network + number of the remote host · of a multicast group 100 x network + 99
 *
 * Networks are stretched over all hosts: 172.30.0.0/16 and fd00:30::/64 (the second: 31), gateway .0.1 and ::1 with the same MAC on each.
 * The container on port P of host N is 172.30.N.P and fd00:30::N:P.
 */

import type { ExecutionContext } from 'ava';
import { COUNTER_RX_DROPS, COUNTER_TX_DROPS } from '../../../../core/counters.js';
import { DROP_REASONS } from '../../../../core/drop.js';
import { INTERFACE_NETWORK, INTERFACE_UPLINK, type InterfaceOptions } from '../../../../core/router/interface.js';
import { LEARN_CREATE, LEARN_OVERRIDE, LEARN_SOLICITED } from '../../../../core/router/neighbors.js';
import { ISOLATION_ALONE } from '../../../../core/switch/isolation.js';
import { ROUTER_ALWAYS } from '../../../../core/switch/membership.js';
import type { NetworkOptions, PortOptions } from '../../../../core/topology.js';
import type { LocalVtepOptions } from '../../../../core/vxlan/vtep.js';
import { Harness, type SentFrame, type VnetFields } from '../../../support/harness.js';
import { bytesOf } from '../../nat/wire.js';
import type { Loaded, Speaker } from './inner.js';
import { readVirtio, wireFrames } from './nic.js';
import { type Outer, type OuterFields, readOuter } from './outer.js';
import { handedOver, TUNNEL_HEADER } from './tunnel-nic.js';

export const UPLINK_PORT = 9;
export const UPLINK_NETWORK = 9;
export const VRF = 1;
/** More than any port's number here. */
const PORTS = 300;
export const BLUE = 1;
export const GREEN = 2;
/** Networks' VNIs where nothing else is said. */
export const VNIS: Readonly<Record<number, number>> = { [BLUE]: 42, [GREEN]: 43 };
export const TAPS: Readonly<Record<number, readonly number[]>> = { [BLUE]: [1, 2, 3], [GREEN]: [4, 5, 6] };
export const GATEWAY_MAC = [2, 0, 0, 0, 0xfe, 1];
export const BROADCAST_MAC = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

export function vtepPort(network: number, host: number): number {
  return 100 * network + host;
}

export function groupPort(network: number): number {
  return vtepPort(network, 99);
}

/** The container on a port of a host. */
export function container(host: number, port: number): Speaker {
  const net = port <= 3 ? 30 : 31;
  return { mac: [2, 0, 0, 0, host, port], v4: `172.${net}.${host}.${port}`, v6: `fd00:${net}::${host}:${port}` };
}

export function underlayMac(host: number): number[] {
  return [2, 0, 0, 0, 0x77, host];
}

export function underlay4(host: number): string {
  return `10.77.0.${host}`;
}

export function underlay6(host: number): string {
  return `fd77::${host}`;
}

/** Of a host inside a network. */
export function hostMac(host: number, network: number = BLUE): number[] {
  return [2, 0x48, 0, 0, network, host];
}

/** Four words; an IPv4 address is mapped. */
export function wordsOf(address: string): Int32Array {
  const bytes = address.includes('.')
    ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytesOf(address)]
    : bytesOf(address);
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return Int32Array.from({ length: 4 }, (_, i) => view.getInt32(4 * i));
}

export interface HostOptions {
  readonly slots?: number;
  /** Of the underlay. */
  readonly family?: 4 | 6;
  readonly mtu?: number;
  /** By network; null: it has no VTEP. */
  readonly vxlan?: Readonly<Record<number, Partial<LocalVtepOptions> | null>>;
  readonly networks?: Readonly<Record<number, NetworkOptions>>;
  /** By port. */
  readonly ports?: Readonly<Record<number, PortOptions>>;
  /** The networks' MTU. */
  readonly innerMtu?: number;
  /** Networks have a gateway. */
  readonly gateway?: boolean;
  readonly deferred?: boolean;
}

export class Host extends Harness {
  readonly number: number;
  readonly family: 4 | 6;

  constructor(number: number, options: HostOptions = {}) {
    const { slots = 96, family = 4, mtu = 1500, gateway = true, deferred = false } = options;
    super(0, { slots, deferred });
    this.number = number;
    this.family = family;
    const { router } = this.dataplane;
    router.addVrf(VRF, { interconnect: true, recordRoute: false, timestamp: false });
    this.topology.addNetwork(UPLINK_NETWORK, 300, 1024);
    this.topology.addPort(UPLINK_PORT, UPLINK_NETWORK, { routed: true, ...options.ports?.[UPLINK_PORT] });
    this.sentBy(() => router.addInterface(UPLINK_NETWORK, this.uplink(mtu)));
    for (const network of [BLUE, GREEN]) {
      this.topology.addNetwork(network, 300, 1024, options.networks?.[network]);
      if (options.vxlan?.[network] !== null) this.setLocal(network, options.vxlan?.[network]);
      for (const port of TAPS[network]) this.topology.addPort(port, network, options.ports?.[port]);
      const innerMtu = options.innerMtu ?? mtu - (family === 4 ? 50 : 70);
      if (gateway) this.sentBy(() => router.addInterface(network, this.gateway(network, innerMtu)));
    }
  }

  private uplink(mtu: number): InterfaceOptions {
    return {
      kind: INTERFACE_UPLINK,
      vrf: VRF,
      fid: UPLINK_NETWORK,
      port: UPLINK_PORT,
      macHigh: 0x0200,
      macLow: 0x7700 | this.number,
      mtu,
      addresses4: Int32Array.of(wordsOf(underlay4(this.number))[3], 0xffffff00 | 0),
      addresses6: Int32Array.of(...wordsOf(underlay6(this.number)), 64),
    };
  }

  private gateway(network: number, mtu: number): InterfaceOptions {
    const net = 29 + network;
    return {
      kind: INTERFACE_NETWORK,
      vrf: VRF,
      fid: network,
      port: 0,
      macHigh: 0x0200,
      macLow: 0xfe00 | 1,
      mtu,
      addresses4: Int32Array.of(wordsOf(`172.${net}.0.1`)[3], 0xffff0000 | 0),
      addresses6: Int32Array.of(...wordsOf(`fd00:${net}::1`), 64),
    };
  }

  /** A network's own VTEP, or another in its place. */
  setLocal(network: number, options: Partial<LocalVtepOptions> = {}): void {
    this.dataplane.vxlan.setLocal(network, {
      vni: VNIS[network],
      vrf: VRF,
      local: wordsOf(this.address),
      udpPort: 4789,
      ttl: 64,
      groupTtl: 1,
      dscp: 0,
      checksum: false,
      gbp: -1,
      open: false,
      suppress: false,
      macHigh: 0x0248,
      macLow: (network << 8) | this.number,
      ...options,
    });
  }

  /** On the underlay. */
  get address(): string {
    return this.family === 4 ? underlay4(this.number) : underlay6(this.number);
  }

  /** A remote VTEP becomes a port. */
  addVtep(network: number, port: number, address: string, { floods = true, learning = true }: VtepSettings = {}): void {
    const vtep = { address: wordsOf(address), floods, learning };
    // As configured by control: other hosts' memberships are theirs to know.
    this.topology.addPort(port, network, { vtep, isolation: ISOLATION_ALONE, router: ROUTER_ALWAYS });
  }

  /** The router knows where another host is on the underlay, as if it had just answered. */
  know(host: number): void {
    const iface = this.dataplane.router.interface(UPLINK_NETWORK);
    for (const address of [underlay4(host), underlay6(host)]) {
      const [a, b, c, d] = wordsOf(address);
      for (const how of [LEARN_CREATE, LEARN_SOLICITED | LEARN_OVERRIDE])
        this.dataplane.router.neighbors.learn(iface, a, b, c, d, 0x0200, 0x7700 | host, how, UPLINK_PORT);
    }
  }

  /** Receives frames on a port, all in one batch; returns what left because of them. */
  receiveAll(port: number, frames: readonly Loaded[]): SentFrame[] {
    const slots = Int32Array.from(frames, ({ frame, vnet }) => this.load(port, frame, vnet));
    return this.sentBy(() => this.dataplane.processBatch(slots, slots.length));
  }

  override receive(port: number, frame: Uint8Array, vnet: VnetFields | null = null): SentFrame[] {
    return this.receiveAll(port, [{ frame, vnet }]);
  }

  /** VXLAN packets, whole and as on the wire, that leave by the uplink because a port receives a frame. */
  outers(port: number, frame: Uint8Array, vnet: VnetFields | null = null): Outer[] {
    return outersOf(this.receive(port, frame, vnet));
  }

  /** A VXLAN packet from another host's VTEP, as the reference builds it. */
  outerFrom(host: number, fields: Partial<OuterFields> = {}): OuterFields {
    const isIpv4 = this.family === 4;
    return {
      toMac: underlayMac(this.number),
      fromMac: underlayMac(host),
      from: isIpv4 ? underlay4(host) : underlay6(host),
      to: this.address,
      vni: VNIS[BLUE],
      ...fields,
    };
  }

  /** Of all ports: "NAME" for frames that came in, "tx NAME" for those that could not go out. */
  dropped(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (let id = 0; id < PORTS; id++) {
      DROP_REASONS.forEach(({ name }, code) => {
        const received = this.counter(id, COUNTER_RX_DROPS + code);
        const sent = this.counter(id, COUNTER_TX_DROPS + code);
        if (received > 0) sums[name] = (sums[name] ?? 0) + received;
        if (sent > 0) sums[`tx ${name}`] = (sums[`tx ${name}`] ?? 0) + sent;
      });
    }
    return sums;
  }
}

export interface VtepSettings {
  readonly floods?: boolean;
  readonly learning?: boolean;
}

/** The VXLAN packets among what left, as on the wire. */
export function outersOf(sent: readonly SentFrame[]): Outer[] {
  return sent
    .filter(({ port }) => port === UPLINK_PORT)
    .flatMap(wireFrames)
    .filter(isUdp)
    .map(readOuter);
}

/** Not ARP, neighbor discovery, or membership reports, which a host sends on the underlay as well. */
function isUdp(frame: Uint8Array): boolean {
  const isIpv4 = frame[12] === 0x08 && frame[13] === 0x00;
  const isIpv6 = frame[12] === 0x86 && frame[13] === 0xdd;
  return (isIpv4 && frame[23] === 17) || (isIpv6 && frame[20] === 17);
}

/** What went to containers. */
export function delivered(sent: readonly SentFrame[]): SentFrame[] {
  return sent.filter(({ port }) => port !== UPLINK_PORT);
}

export function portsOf(sent: readonly SentFrame[]): number[] {
  return delivered(sent)
    .map(({ port }) => port)
    .sort((one, other) => one - other);
}

/**
 * How frames get from one host to the others: as they were sent, super-packets whole; or as a card would put them on a wire. Uncut: the uplinks
 * have outlets, so that super-packets go into tunnels as they are.
 */
export type Carriage = 'whole' | 'wire' | 'uncut' | 'uncut-wire';

export const CARRIAGES: readonly Carriage[] = ['whole', 'wire', 'uncut', 'uncut-wire'];

export interface Arrival {
  readonly host: number;
  readonly port: number;
  readonly frame: Uint8Array;
  readonly vnet: Uint8Array;
}

/** A frame on the underlay. */
export interface Carried extends SentFrame {
  readonly from: number;
}

/** Some hosts, each of which knows all others. */
export class Overlay {
  readonly hosts: Host[];
  readonly carriage: Carriage;
  /** What was on the underlay, since `send` was last called. */
  readonly carried: Carried[] = [];
  /** Frames that the underlay loses. */
  loses: (carried: Carried) => boolean = () => false;

  constructor(count: number, options: HostOptions = {}, carriage: Carriage = 'whole', settings: VtepSettings = {}) {
    this.carriage = carriage;
    this.hosts = Array.from({ length: count }, (_, i) => new Host(i + 1, options));
    for (const host of this.hosts) {
      host.topology.setOutlet(UPLINK_PORT, carriage === 'uncut' || carriage === 'uncut-wire');
      for (const other of this.hosts) {
        if (host === other) continue;
        host.know(other.number);
        for (const network of [BLUE, GREEN])
          if (options.vxlan?.[network] !== null)
            host.addVtep(network, vtepPort(network, other.number), other.address, settings);
      }
    }
  }

  host(number: number): Host {
    return this.hosts[number - 1];
  }

  /** A container sends a frame; returns what arrives at containers, on any host. */
  send(host: number, port: number, frame: Uint8Array, vnet: VnetFields | null = null): Arrival[] {
    return this.sendAll(host, port, [{ frame, vnet }]);
  }

  /** The same with several, in one batch. */
  sendAll(host: number, port: number, frames: readonly Loaded[]): Arrival[] {
    this.carried.length = 0;
    const arrivals: Arrival[] = [];
    this.carry(this.host(host), this.host(host).receiveAll(port, frames), arrivals);
    return arrivals;
  }

  /** Whatever a host sends by itself goes its way. */
  run(host: number, what: () => void): Arrival[] {
    this.carried.length = 0;
    const arrivals: Arrival[] = [];
    this.carry(this.host(host), this.host(host).sentBy(what), arrivals);
    return arrivals;
  }

  private carry(from: Host, sent: readonly SentFrame[], arrivals: Arrival[]): void {
    for (const one of delivered(sent)) arrivals.push({ host: from.number, ...one });
    const onWire = sent.filter(({ port }) => port === UPLINK_PORT).map((one) => ({ ...one, from: from.number }));
    this.carried.push(...onWire);
    if (this.carried.length > 10_000) throw new Error('frames go round on the underlay');
    const kept = onWire.filter((one) => !this.loses(one));
    for (const to of this.hosts) {
      if (to === from) continue;
      const frames = kept.filter(({ frame }) => isFor(frame, to)).flatMap((one) => this.asCarried(one));
      if (frames.length > 0) this.carry(to, to.receiveAll(UPLINK_PORT, frames), arrivals);
    }
  }

  private asCarried(one: SentFrame): Loaded[] {
    const isCut = this.carriage === 'wire' || this.carriage === 'uncut-wire';
    if (isCut) return wireFrames(one).map((frame) => ({ frame, vnet: null }));
    const vnet = one.vnet.length === TUNNEL_HEADER ? handedOver(one) : one.vnet;
    return [{ frame: one.frame, vnet: fieldsOf(vnet) }];
  }

  /** The VXLAN packets that were on the underlay. */
  get outers(): Outer[] {
    return outersOf(this.carried);
  }
}

function isFor(frame: Uint8Array, { number }: Host): boolean {
  return (frame[0] & 1) === 1 || underlayMac(number).every((octet, i) => octet === frame[i]);
}

/** As the harness takes it. */
export function fieldsOf(vnet: Uint8Array): VnetFields {
  const { flags, headerLength, size, start, offset } = readVirtio(vnet);
  return { flags, gsoType: vnet[1], headerLength, gsoSize: size, checksumStart: start, checksumOffset: offset };
}

/** The bytes before a frame, of what the harness takes. */
export function virtioOf(vnet: VnetFields | null): Uint8Array {
  const bytes = new Uint8Array(10);
  if (vnet === null) return bytes;
  const view = new DataView(bytes.buffer);
  bytes[0] = vnet.flags ?? 0;
  bytes[1] = vnet.gsoType ?? 0;
  view.setUint16(2, vnet.headerLength ?? 0, true);
  view.setUint16(4, vnet.gsoSize ?? 0, true);
  view.setUint16(6, vnet.checksumStart ?? 0, true);
  view.setUint16(8, vnet.checksumOffset ?? 0, true);
  return bytes;
}

/** What a card would have put on a wire of what was sent. */
export function loadedFrames({ frame, vnet }: Loaded): Uint8Array[] {
  return wireFrames({ frame, vnet: virtioOf(vnet) });
}

/** "host/port" of each arrival, sorted. */
export function placesOf(arrivals: readonly Arrival[]): string[] {
  return arrivals.map(({ host, port }) => `${host}/${port}`).sort();
}

/** Everything in its place after a scenario. */
export function expectWhole(t: ExecutionContext, overlay: Overlay | Host, what?: string): void {
  for (const host of overlay instanceof Overlay ? overlay.hosts : [overlay]) {
    t.is(host.dataplane.lastError, null, what);
    t.is(host.imbalance(), 0, what);
    t.true(host.isWhole, what);
  }
}
