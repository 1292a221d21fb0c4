/**
 * Ends of VXLAN tunnels without a kernel: dataplanes with an uplink, and two networks stretched to the other end, one tunnel over IPv4 and one
 * over IPv6. What one end sends is what the other is given.
 */

import { VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import { finishChecksum, foldSum, pseudoHeaderSum4, sumBytes } from '../../core/packet/checksum.js';
import { VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4 } from '../../core/packet/vnet.js';
import { MAPPED } from '../../core/router/address.js';
import { INTERFACE_NETWORK, INTERFACE_UPLINK, type InterfaceOptions } from '../../core/router/interface.js';
import { ISOLATION_ALONE } from '../../core/switch/isolation.js';
import { ETHERNET_HEADER_LENGTH } from '../../core/wire/ethernet.js';
import {
  IPV4_CHECKSUM,
  IPV4_HEADER_LENGTH,
  IPV4_PROTOCOL,
  IPV4_TOTAL_LENGTH,
  PROTOCOL_TCP,
} from '../../core/wire/ipv4.js';
import { TCP_ACK, TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER_LENGTH } from '../../core/wire/tcp.js';
import { VXLAN_PORT } from '../../core/wire/vxlan.js';
import { type Bench, MAC_HIGH, makeBench, tcpFrame } from './frames.js';
import { address4, address6, resolve, VRF } from './routed.js';

/** Numbers of the networks, and of the wire: with a tunnel over IPv4, over IPv6. Interfaces have the same. */
export const OVER_IPV4 = 1;
export const OVER_IPV6 = 2;
const WIRE = 3;
export const UPLINK_PORT = 5;
/** Bytes of IP packet on the wire, and what the tunnels add. */
export const WIRE_MTU = 1500;
const ADDED = [0, 50, 70];

/** Hosts by number of their end, 1 or 2: the last four octets of MACs, and the end of addresses inside. */
const CONTAINER = 10;
const MACHINE = 20;
const HOST = 30;

/** A network's port for the container, and for the other end. */
export function containerPort(network: number): number {
  return 2 * network - 1;
}

export function vtepPort(network: number): number {
  return 2 * network;
}

/** Bytes of the largest IP packet in a network. */
export function innerMtu(network: number): number {
  return WIRE_MTU - ADDED[network];
}

/** A frame with its virtio-net header before it, as a port hands it over or is given it. */
export type Whole = Uint8Array;

export interface EndOptions {
  /** An outer UDP checksum is sent; without, super-packets leave in single segments. */
  readonly checksum?: boolean;
  /** Super-packets leave the uplink uncut. */
  readonly outlet?: boolean;
}

/** @param self number of this end @param other of the one that it talks to */
export function makeEnd(self: number, other: number, { checksum = true, outlet = false }: EndOptions = {}): Bench {
  const bench = makeBench(0, 1024, 256);
  const { topology, router, vxlan } = bench.dataplane;
  router.addVrf(VRF, { interconnect: true, recordRoute: false, timestamp: false });
  for (const network of [OVER_IPV4, OVER_IPV6, WIRE]) topology.addNetwork(network, 300, 1000);
  topology.addPort(UPLINK_PORT, WIRE, { routed: true });
  router.addInterface(WIRE, {
    ...interfaceOptions(WIRE, MACHINE + self, INTERFACE_UPLINK, address4(WIRE, self), address6(WIRE, self)),
    port: UPLINK_PORT,
  });
  for (const network of [OVER_IPV4, OVER_IPV6]) {
    const gateway = [address4(network, 0xfe), address6(network, 0xfe)] as const;
    router.addInterface(network, interfaceOptions(network, 0xfe, INTERFACE_NETWORK, ...gateway));
    topology.addPort(containerPort(network), network, { macs: [[MAC_HIGH, CONTAINER + self]] });
    vxlan.setLocal(network, {
      vni: 40 + network,
      vrf: VRF,
      local: Int32Array.from(wireAddress(network, self)),
      udpPort: VXLAN_PORT,
      ttl: 64,
      groupTtl: 1,
      dscp: 0,
      checksum,
      gbp: -1,
      open: false,
      suppress: true,
      macHigh: MAC_HIGH,
      macLow: HOST + self,
    });
    topology.addPort(vtepPort(network), network, {
      isolation: ISOLATION_ALONE,
      macs: [[MAC_HIGH, CONTAINER + other]],
      vtep: { address: Int32Array.from(wireAddress(network, other)), floods: true },
    });
    resolve(router, WIRE, wireAddress(network, other), MACHINE + other, UPLINK_PORT);
  }
  topology.setOutlet(UPLINK_PORT, outlet);
  bench.sink.count = 0;
  return bench;
}

/** Four words: of the family that the network's tunnel is over. */
function wireAddress(network: number, end: number): number[] {
  return network === OVER_IPV4 ? [0, 0, MAPPED, address4(WIRE, end)] : address6(WIRE, end);
}

function interfaceOptions(
  fid: number,
  macLow: number,
  kind: number,
  ipv4: number,
  ipv6: readonly number[],
): InterfaceOptions {
  return {
    kind,
    vrf: VRF,
    fid,
    port: 0,
    macHigh: MAC_HIGH,
    macLow,
    mtu: fid === WIRE ? WIRE_MTU : innerMtu(fid),
    addresses4: Int32Array.of(ipv4, 0xffffff00 | 0),
    addresses6: Int32Array.of(...ipv6, 64),
  };
}

/** The frames that leave an end's uplink where its container sends this one. */
export function sentBy(end: Bench, network: number, frame: Whole): Whole[] {
  const { arena, dataplane } = end;
  const sent: Whole[] = [];
  dataplane.observe({
    received: () => {},
    transmitted: (port, packet) => {
      if (port !== UPLINK_PORT) return;
      sent.push(arena.bytes.slice(packet.start - VNET_HEADER_LENGTH, packet.start + packet.length));
    },
  });
  const slot = place(end, containerPort(network), frame);
  dataplane.processBatch(Int32Array.of(slot), 1);
  dataplane.observe(null);
  if (sent.length === 0) throw new Error('tunnel: the frame did not leave');
  return sent;
}

/** Takes a slot and puts a frame in, as if `port` had received it. */
export function place({ arena }: Bench, port: number, frame: Whole): number {
  const slot = arena.allocate();
  const at = arena.receiveOffset(slot);
  arena.bytes.set(frame, at);
  const packet = arena.packets[slot];
  packet.port = port;
  packet.start = at + VNET_HEADER_LENGTH;
  packet.length = frame.length - VNET_HEADER_LENGTH;
  return slot;
}

const IP = ETHERNET_HEADER_LENGTH;
const L4 = IP + IPV4_HEADER_LENGTH;
const PROTOCOL_ESP = 50;

/** 64 bytes on a wire: TCP without payload, from the container of end `from` to that of end `to`. */
export function acknowledgment(from: number, to: number): Whole {
  const frame = tcpFrame(CONTAINER + to, CONTAINER + from);
  const view = new DataView(frame.buffer);
  frame[L4 + TCP_FLAGS] = TCP_ACK;
  const pseudo = pseudoHeaderSum4(view, IP, PROTOCOL_TCP, TCP_HEADER_LENGTH);
  view.setUint16(L4 + TCP_CHECKSUM, finishChecksum(foldSum(pseudo) + sumBytes(view, L4, TCP_HEADER_LENGTH)));
  return whole(frame);
}

/** An IP packet of `length` bytes of a protocol that nobody cuts or puts together: ESP (RFC 4303). */
export function opaque(from: number, to: number, length: number): Whole {
  const frame = grown(from, to, length);
  frame[IP + IPV4_PROTOCOL] = PROTOCOL_ESP;
  frame.fill(0x5a, L4);
  finishNetwork(frame);
  return whole(frame);
}

/** TCP header with timestamps (RFC 7323), as all of Linux has it. */
const TCP_WITH_TIMESTAMPS = 32;
const TIMESTAMPS = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];

/** Payload of a segment in a network: as much as fits. */
export function segmentSize(network: number): number {
  return innerMtu(network) - IPV4_HEADER_LENGTH - TCP_WITH_TIMESTAMPS;
}

/** A super-packet of TCP as a TAP hands it over: `payload` bytes to be cut into segments, and a checksum to be finished. */
export function superPacket(from: number, to: number, payload: number, gsoSize: number): Whole {
  const frame = grown(from, to, IPV4_HEADER_LENGTH + TCP_WITH_TIMESTAMPS + payload);
  const view = new DataView(frame.buffer);
  frame[L4 + TCP_FLAGS - 1] = (TCP_WITH_TIMESTAMPS / 4) << 4;
  frame[L4 + TCP_FLAGS] = TCP_ACK;
  frame.set(TIMESTAMPS, L4 + 20);
  frame.fill(0x5a, L4 + TCP_WITH_TIMESTAMPS);
  finishNetwork(frame);
  const sum = pseudoHeaderSum4(view, IP, PROTOCOL_TCP, TCP_WITH_TIMESTAMPS + payload);
  view.setUint16(L4 + TCP_CHECKSUM, foldSum(sum));
  const result = whole(frame);
  const header = new DataView(result.buffer, 0, VNET_HEADER_LENGTH);
  header.setUint8(0, VNET_F_NEEDS_CSUM);
  header.setUint8(1, VNET_GSO_TCPV4);
  header.setUint16(2, L4 + TCP_WITH_TIMESTAMPS, true);
  header.setUint16(4, gsoSize, true);
  header.setUint16(6, L4, true);
  header.setUint16(8, TCP_CHECKSUM, true);
  return result;
}

/** Headers of an IP packet of `length` bytes without checksums, and nothing behind. */
function grown(from: number, to: number, length: number): Uint8Array {
  const frame = new Uint8Array(IP + length);
  frame.set(tcpFrame(CONTAINER + to, CONTAINER + from));
  new DataView(frame.buffer).setUint16(IP + IPV4_TOTAL_LENGTH, length);
  return frame;
}

function finishNetwork(frame: Uint8Array): void {
  const view = new DataView(frame.buffer);
  view.setUint16(IP + IPV4_CHECKSUM, 0);
  view.setUint16(IP + IPV4_CHECKSUM, finishChecksum(sumBytes(view, IP, IPV4_HEADER_LENGTH)));
}

function whole(frame: Uint8Array): Whole {
  const bytes = new Uint8Array(VNET_HEADER_LENGTH + frame.length);
  bytes.set(frame, VNET_HEADER_LENGTH);
  return bytes;
}
