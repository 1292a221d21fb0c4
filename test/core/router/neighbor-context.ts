/** What the neighbor code needs of a router, without one: a clock to turn, slots to count, and lists of what was sent, routed, given up. */

import { DROP_REASONS } from '../../../core/drop.js';
import { EVENT_RECORD, EventList } from '../../../core/events.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader } from '../../../core/packet/vnet.js';
import type { RouterContext } from '../../../core/router/context.js';
import { INTERFACE_NETWORK, type InterfaceOptions, RouterInterface } from '../../../core/router/interface.js';
import { parse } from '../../../core/wire/parse.js';
import { ip4, ip6, slowChecksum } from '../switch/multicast.js';

export interface Sent {
  readonly iface: number;
  readonly hex: string;
  readonly at: number;
}

export class NeighborContext implements RouterContext {
  readonly arena: Arena;
  readonly events = new EventList();
  now = 1000;
  /** Close to where the clock wraps. */
  milliseconds = 0x7fffffff - 2500;
  readonly sent: Sent[] = [];
  /** Slots, in order. */
  readonly resumed: number[] = [];
  readonly givenUp: { readonly slot: number; readonly reason: string }[] = [];
  /** Slots that are free are not given out. */
  isEmpty = false;
  onResume: ((packet: Packet) => void) | null = null;

  constructor(slots = 512) {
    this.arena = new Arena(new ArrayBuffer(slots * SLOT_STRIDE));
  }

  begin(): Packet | null {
    return this.isEmpty ? null : this.take();
  }

  sendFrame(packet: Packet, iface: RouterInterface): void {
    const { bytes } = this.arena;
    const hex = Buffer.from(bytes.slice(packet.start, packet.start + packet.length)).toString('hex');
    this.sent.push({ iface: iface.number, hex, at: this.milliseconds });
    this.arena.release(packet.slot);
  }

  resume(packet: Packet): void {
    this.resumed.push(packet.slot);
    if (this.onResume !== null) this.onResume(packet);
    this.arena.release(packet.slot);
  }

  giveUp(packet: Packet, reason: number): void {
    this.givenUp.push({ slot: packet.slot, reason: DROP_REASONS[reason].name });
    this.arena.release(packet.slot);
  }

  /** A packet that came in, parsed, its slot the caller's. */
  packet(port: number, frame: Uint8Array = new Uint8Array(60)): Packet {
    const packet = this.take();
    if (packet === null) throw new Error('no slot is free');
    this.arena.bytes.set(frame, packet.start);
    packet.length = frame.length;
    packet.port = port;
    parse(this.arena, packet);
    return packet;
  }

  /** Turns the clock by seconds, `tick` after each. */
  pass(seconds: number, tick: () => void): void {
    for (let i = 0; i < seconds; i++) {
      this.now++;
      this.milliseconds = (this.milliseconds + 1000) | 0;
      tick();
    }
  }

  /** What was sent since the last call. */
  takeSent(): string[] {
    return this.sent.splice(0).map(({ hex }) => hex);
  }

  takeEvents(): number[][] {
    const { words, count } = this.events;
    const all: number[][] = [];
    for (let i = 0; i < count; i++) all.push([...words.slice(i * EVENT_RECORD, (i + 1) * EVENT_RECORD)]);
    this.events.clear();
    return all;
  }

  private take(): Packet | null {
    const slot = this.arena.allocate();
    if (slot < 0) return null;
    const packet = this.arena.packets[slot];
    packet.start = this.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
    packet.port = 0;
    // What nobody writes must show.
    this.arena.bytes.fill(0xa5, packet.start, packet.start + 256);
    clearVnetHeader(this.arena, packet);
    return packet;
  }
}

/** The router's MAC in tests, and those of others. */
export const OWN_MAC = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x01];
export const PEER_MAC = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x0a];
export const OTHER_MAC = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x0b];
export const NO_MAC = [0, 0, 0, 0, 0, 0];
export const BROADCAST_MAC = [255, 255, 255, 255, 255, 255];
/** Link-local address of OWN_MAC (RFC 4291, appendix A), and of PEER_MAC. */
export const OWN_LINK_LOCAL = 'fe80::42:acff:fe1e:1';
export const PEER_LINK_LOCAL = 'fe80::42:acff:fe1e:a';

export const high = (mac: readonly number[]): number => mac[0] * 256 + mac[1];
export const low = (mac: readonly number[]): number => words(mac.slice(2))[0];

function words(bytes: readonly number[]): number[] {
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
}

/** An address as four words; IPv4 mapped. */
export function address(text: string): [number, number, number, number] {
  const all = text.includes(':') ? words(ip6(text)) : [0, 0, 0xffff, ...words(ip4(text))];
  return all as [number, number, number, number];
}

/** "10.0.0.1/24" as in InterfaceOptions. */
export function prefix4(text: string): number[] {
  const [from, length] = text.split('/');
  return [address(from)[3], length === '0' ? 0 : -1 << (32 - Number(length))];
}

export function prefix6(text: string): number[] {
  const [from, length] = text.split('/');
  return [...address(from), Number(length)];
}

export interface InterfaceFields extends Partial<Omit<InterfaceOptions, 'proxies4' | 'proxies6'>> {
  readonly number?: number;
  readonly v4?: readonly string[];
  readonly v6?: readonly string[];
  readonly proxies4?: readonly string[];
  readonly proxies6?: readonly string[];
}

/** Number 1 at 172.30.0.1/24 and fd00:30::1/64, unless said otherwise. */
export function makeInterface(fields: InterfaceFields = {}): RouterInterface {
  const { number = 1, v4 = ['172.30.0.1/24'], v6 = ['fd00:30::1/64'], proxies4 = [], proxies6 = [], ...rest } = fields;
  return new RouterInterface(number, {
    kind: INTERFACE_NETWORK,
    vrf: 1,
    fid: 7,
    port: 0,
    macHigh: high(OWN_MAC),
    macLow: low(OWN_MAC),
    mtu: 1500,
    addresses4: Int32Array.from(v4.flatMap(prefix4)),
    addresses6: Int32Array.from(v6.flatMap(prefix6)),
    proxies4: Int32Array.from(proxies4.flatMap(prefix4)),
    proxies6: Int32Array.from(proxies6.flatMap(prefix6)),
    ...rest,
  });
}

const word = (value: number): number[] => [(value >> 8) & 255, value & 255];
export const hexOf = (bytes: Iterable<number>): string => Buffer.from([...bytes]).toString('hex');

export interface ArpFrame {
  readonly to?: readonly number[];
  readonly from?: readonly number[];
  readonly operation?: number;
  readonly senderMac?: readonly number[];
  readonly sender: string;
  readonly targetMac?: readonly number[];
  readonly target: string;
}

/** By RFC 826's own numbers; from PEER_MAC to everybody, a request, unless said otherwise. */
export function arpFrame(f: ArpFrame): Uint8Array {
  const from = f.from ?? f.senderMac ?? PEER_MAC;
  const message = [...word(1), ...word(0x0800), 6, 4, ...word(f.operation ?? 1)];
  const sender = [...(f.senderMac ?? from), ...ip4(f.sender)];
  const target = [...(f.targetMac ?? NO_MAC), ...ip4(f.target)];
  const bytes = [...(f.to ?? BROADCAST_MAC), ...from, ...word(0x0806), ...message, ...sender, ...target];
  return Uint8Array.from([...bytes, ...new Array(60 - bytes.length).fill(0)]);
}

export interface NdFrame {
  readonly toMac?: readonly number[];
  readonly fromMac?: readonly number[];
  readonly source: string;
  readonly destination: string;
  readonly hopLimit?: number;
  readonly type: number;
  readonly code?: number;
  /** What follows the checksum. */
  readonly body: readonly number[];
  /** Added to the right checksum. */
  readonly damage?: number;
}

/** By RFC 4861's own numbers, the group's MAC where the destination is a group. */
export function ndFrame(f: NdFrame): Uint8Array {
  const source = ip6(f.source);
  const destination = ip6(f.destination);
  const message = [f.type, f.code ?? 0, 0, 0, ...f.body];
  const pseudo = [...source, ...destination, 0, 0, ...word(message.length), 0, 0, 0, 58];
  message.splice(2, 2, ...word(slowChecksum([...pseudo, ...message]) + (f.damage ?? 0)));
  const header = [0x60, 0, 0, 0, ...word(message.length), 58, f.hopLimit ?? 255, ...source, ...destination];
  const groupMac = [0x33, 0x33, ...destination.slice(12)];
  const toMac = f.toMac ?? (destination[0] === 255 ? groupMac : OWN_MAC);
  return Uint8Array.from([...toMac, ...(f.fromMac ?? PEER_MAC), ...word(0x86dd), ...header, ...message]);
}

export const SOURCE_OPTION = (mac: readonly number[]): number[] => [1, 1, ...mac];
export const TARGET_OPTION = (mac: readonly number[]): number[] => [2, 1, ...mac];
/** Flags of an advertisement, as the first octet. */
export const FLAG_ROUTER = 0x80;
export const FLAG_SOLICITED = 0x40;
export const FLAG_OVERRIDE = 0x20;

/** The group ff02::1:ffxx:xxxx of an address. */
export function solicitedNode(text: string): string {
  const bytes = ip6(text);
  return `ff02::1:ff${hexOf(bytes.slice(13, 14))}:${hexOf(bytes.slice(14))}`;
}

export function solicitationBody(target: string, options: readonly number[] = SOURCE_OPTION(PEER_MAC)): number[] {
  return [0, 0, 0, 0, ...ip6(target), ...options];
}

export function advertisementBody(
  flags: number,
  target: string,
  options: readonly number[] = TARGET_OPTION(PEER_MAC),
): number[] {
  return [flags, 0, 0, 0, ...ip6(target), ...options];
}
