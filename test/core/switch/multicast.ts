/**
 * Multicast for tests: frames by the RFCs' own numbers, checksums by a slow sum, and a domain without a dataplane around it. Shares
 * nothing with core/wire.
 */

import { DROP_REASONS } from '../../../core/drop.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader } from '../../../core/packet/vnet.js';
import { type Originator, ROUTER_AUTO, Snooping, type SnoopingOptions } from '../../../core/switch/snooping.js';
import { parse } from '../../../core/wire/parse.js';

export const SOURCE_MAC = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x05];
/** Of the domain's own queries. */
export const OWN_MAC = [0x02, 0x00, 0x5e, 0x10, 0x20, 0x30];

/** "239.1.1.1" → 4 bytes. */
export function ip4(text: string): number[] {
  return text.split('.').map(Number);
}

/** "ff15::7" → 16 bytes. */
export function ip6(text: string): number[] {
  const [left, right] = text.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const words =
    right === undefined ? left : [...left, ...new Array(8 - left.length - right.length).fill('0'), ...right];
  return words.flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]);
}

/** The Internet checksum, one byte after the other. 0 over bytes that contain a right one. */
export function slowChecksum(bytes: readonly number[]): number {
  let sum = 0;
  bytes.forEach((byte, i) => {
    sum += i % 2 === 0 ? byte * 256 : byte;
  });
  while (sum > 0xffff) sum = Math.floor(sum / 0x10000) + (sum % 0x10000);
  return 0xffff - sum;
}

/** The bytes with their checksum at `at`, which holds zeros. */
function summed(bytes: readonly number[], at: number, pseudo: readonly number[] = []): number[] {
  const sum = slowChecksum([...pseudo, ...bytes]);
  return [...bytes.slice(0, at), sum >> 8, sum & 255, ...bytes.slice(at + 2)];
}

function word(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}

export function groupMac(group: readonly number[]): number[] {
  return group.length === 4 ? [1, 0, 0x5e, group[1] & 127, group[2], group[3]] : [0x33, 0x33, ...group.slice(12)];
}

export function ether(to: readonly number[], type: number, payload: readonly number[]): Uint8Array {
  const bytes = [...to, ...SOURCE_MAC, ...word(type), ...payload];
  while (bytes.length < 60) bytes.push(0xee); // padding is not part of any message
  return Uint8Array.from(bytes);
}

export interface V4 {
  readonly from?: string;
  readonly to: string;
  readonly protocol: number;
  readonly ttl?: number;
  /** Fragment field. */
  readonly fragment?: number;
  readonly options?: readonly number[];
  readonly mac?: readonly number[];
}

/** An IPv4 packet in its frame; Router Alert unless `options` are given. */
export function v4(fields: V4, payload: readonly number[]): Uint8Array {
  const options = fields.options ?? [0x94, 4, 0, 0];
  const length = 20 + options.length;
  const header = [
    0x40 | (length / 4),
    0xc0,
    ...word(length + payload.length),
    ...word(7),
    ...word(fields.fragment ?? 0),
    fields.ttl ?? 1,
    fields.protocol,
    0,
    0,
    ...ip4(fields.from ?? '172.30.0.5'),
    ...ip4(fields.to),
    ...options,
  ];
  return ether(fields.mac ?? groupMac(ip4(fields.to)), 0x0800, [...summed(header, 10), ...payload]);
}

export interface V6 {
  readonly from?: string;
  readonly to: string;
  readonly hopLimit?: number;
  readonly nextHeader: number;
  /** The hop-by-hop header but for its next header; none: no such header. */
  readonly hopByHop?: readonly number[];
}

export const ALERT = [0, 5, 2, 0, 0, 1, 0];

export function v6(fields: V6, payload: readonly number[]): Uint8Array {
  const extension = fields.hopByHop === undefined ? [] : [fields.nextHeader, ...fields.hopByHop];
  const header = [
    0x60,
    0,
    0,
    0,
    ...word(extension.length + payload.length),
    fields.hopByHop === undefined ? fields.nextHeader : 0,
    fields.hopLimit ?? 1,
    ...ip6(fields.from ?? 'fe80::5'),
    ...ip6(fields.to),
  ];
  return ether(groupMac(ip6(fields.to)), 0x86dd, [...header, ...extension, ...payload]);
}

export function igmp(to: string, body: readonly number[], fields: Partial<V4> = {}): Uint8Array {
  return v4({ to, protocol: 2, ...fields }, summed(body, 2));
}

/** An ICMPv6 message with its checksum, in its frame. */
export function mld(to: string, body: readonly number[], fields: Partial<V6> = {}): Uint8Array {
  const from = fields.from ?? 'fe80::5';
  const pseudo = [...ip6(from), ...ip6(to), 0, 0, ...word(body.length), 0, 0, 0, 58];
  return v6({ to, nextHeader: 58, hopByHop: ALERT, ...fields }, summed(body, 2, pseudo));
}

export interface Record {
  readonly type: number;
  readonly group: string;
  readonly sources?: readonly string[];
  /** In 32-bit words. */
  readonly auxiliary?: number;
}

function address(text: string): number[] {
  return text.includes(':') ? ip6(text) : ip4(text);
}

function recordBytes(record: Record): number[] {
  const sources = record.sources ?? [];
  const auxiliary = new Array((record.auxiliary ?? 0) * 4).fill(0xaa);
  const fixed = [record.type, record.auxiliary ?? 0, ...word(sources.length), ...address(record.group)];
  return [...fixed, ...sources.flatMap(address), ...auxiliary];
}

const records = (list: readonly Record[]) => [0, 0, 0, 0, 0, 0, ...word(list.length), ...list.flatMap(recordBytes)];

export const v1Report = (group: string) => igmp(group, [0x12, 0, 0, 0, ...ip4(group)], { options: [] });
export const v2Report = (group: string) => igmp(group, [0x16, 0, 0, 0, ...ip4(group)]);
export const v2Leave = (group: string) => igmp('224.0.0.2', [0x17, 0, 0, 0, ...ip4(group)]);
export const v3Report = (...list: Record[]) => igmp('224.0.0.22', [0x22, ...records(list).slice(1)]);
export const mld1Report = (group: string) => mld(group, [131, 0, 0, 0, 0, 0, 0, 0, ...ip6(group)]);
export const mld1Done = (group: string) => mld('ff02::2', [132, 0, 0, 0, 0, 0, 0, 0, ...ip6(group)]);
export const mld2Report = (...list: Record[]) => mld('ff02::16', [143, ...records(list).slice(1)]);

/** Report and leave of the family of the group. */
export const joins = (group: string) => (group.includes(':') ? mld1Report(group) : v2Report(group));
export const leaves = (group: string) => (group.includes(':') ? mld1Done(group) : v2Leave(group));

export interface Query {
  readonly from?: string;
  readonly group?: string;
  /** Code as on the wire. */
  readonly response?: number;
  readonly flags?: number;
  readonly interval?: number;
  readonly sources?: readonly string[];
}

export const v2Query = (query: Query = {}) =>
  igmp(query.group ?? '224.0.0.1', [0x11, query.response ?? 100, 0, 0, ...ip4(query.group ?? '0.0.0.0')], {
    from: query.from ?? '172.30.0.1',
  });

export function v3Query(query: Query = {}): Uint8Array {
  const sources = query.sources ?? [];
  const fixed = [0x11, query.response ?? 100, 0, 0, ...ip4(query.group ?? '0.0.0.0')];
  const rest = [query.flags ?? 2, query.interval ?? 125, ...word(sources.length), ...sources.flatMap(ip4)];
  return igmp(query.group ?? '224.0.0.1', [...fixed, ...rest], { from: query.from ?? '172.30.0.1' });
}

export const mld1Query = (query: Query = {}) =>
  mld(query.group ?? 'ff02::1', [130, 0, 0, 0, ...word(query.response ?? 10_000), 0, 0, ...ip6(query.group ?? '::')], {
    from: query.from ?? 'fe80::1',
  });

export function mld2Query(query: Query = {}): Uint8Array {
  const sources = query.sources ?? [];
  const fixed = [130, 0, 0, 0, ...word(query.response ?? 10_000), 0, 0, ...ip6(query.group ?? '::')];
  const rest = [query.flags ?? 2, query.interval ?? 125, ...word(sources.length), ...sources.flatMap(ip6)];
  return mld(query.group ?? 'ff02::1', [...fixed, ...rest], { from: query.from ?? 'fe80::1' });
}

export const pimHello = () => v4({ to: '224.0.0.13', protocol: 103 }, summed([0x20, 0, 0, 0, 0, 1, 0, 2, 0, 105], 2));

export function pimHello6(): Uint8Array {
  const body = [0x20, 0, 0, 0, 0, 1, 0, 2, 0, 105];
  const pseudo = [...ip6('fe80::5'), ...ip6('ff02::d'), 0, 0, 0, body.length, 0, 0, 0, 103];
  return v6({ to: 'ff02::d', nextHeader: 103 }, summed(body, 2, pseudo));
}

/** A UDP datagram to a group. */
export function data(group: string, fields: Partial<V4> = {}): Uint8Array {
  const udp = [0x13, 0x88, 0x13, 0x89, 0, 12, 0, 0, 1, 2, 3, 4];
  if (group.includes(':')) return v6({ from: 'fd00:30::5', to: group, nextHeader: 17, hopLimit: 8 }, udp);
  return v4({ to: group, protocol: 17, ttl: 8, options: [], ...fields }, udp);
}

/** The frame with an 802.1Q tag. */
export function tagged(frame: Uint8Array, tci: number, tpid = 0x8100): Uint8Array {
  return Uint8Array.from([...frame.subarray(0, 12), ...word(tpid), ...word(tci), ...frame.subarray(12)]);
}

export interface Sent {
  /** 0: to all. */
  readonly port: number;
  readonly frame: number[];
}

/** What receive() decided: the ports, or the word for it. */
export type Outcome = number[] | string;

export class TestDomain implements Originator {
  readonly arena = new Arena(new ArrayBuffer(4 * SLOT_STRIDE));
  readonly snooping: Snooping;
  now = 1000;
  sent: Sent[] = [];
  /** No slot is free for the next so many queries. */
  starve = 0;

  /** Ports 1 to `ports`, ROUTER_AUTO. */
  constructor(ports: number, options: Partial<SnoopingOptions> & { fastLeave?: boolean } = {}) {
    this.snooping = new Snooping({
      querier: options.querier ?? true,
      dropUnregistered: options.dropUnregistered ?? false,
      seed: options.seed ?? 12345,
      macHigh: 0x0200,
      macLow: 0x5e102030,
    });
    for (let port = 1; port <= ports; port++) this.snooping.addPort(port, ROUTER_AUTO, options.fastLeave ?? false);
  }

  load(port: number, frame: Uint8Array): Packet {
    const slot = this.arena.allocate();
    const packet = this.arena.packets[slot];
    packet.port = port;
    packet.tag = 0;
    packet.start = this.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
    packet.length = frame.length;
    this.arena.bytes.fill(0xa5, packet.start, packet.start + frame.length + 64);
    this.arena.bytes.set(frame, packet.start);
    clearVnetHeader(this.arena, packet);
    const reason = parse(this.arena, packet);
    if (reason !== 0) throw new Error(`the frame does not parse: ${DROP_REASONS[reason].name}`);
    return packet;
  }

  receive(port: number, frame: Uint8Array, tag = 0): Outcome {
    const packet = this.load(port, frame);
    packet.tag = tag;
    const before = frame.slice();
    const verdict = this.snooping.receive(this.arena.view, packet, this.now);
    const after = this.arena.bytes.slice(packet.start, packet.start + packet.length);
    if (before.some((byte, i) => byte !== after[i])) throw new Error('the frame was changed');
    this.arena.release(packet.slot);
    if (verdict === 2) return 'flood';
    if (verdict === 4) return [...this.snooping.targets.subarray(0, this.snooping.targetCount)];
    if (verdict === 3) return DROP_REASONS[packet.reason].name;
    throw new Error(`verdict ${verdict}`);
  }

  /** So many seconds pass. Returns what was sent in them. */
  pass(seconds: number): Sent[] {
    this.sent = [];
    for (let i = 0; i < seconds; i++) {
      this.now++;
      this.snooping.tick(this.now, this, this.arena.view);
    }
    return this.sent;
  }

  /** Every membership and router port, sorted: "239.1.1.1 2 260". */
  list(): string[] {
    const lines: string[] = [];
    this.snooping.forEach((group, port, expires) => {
      lines.push(`${group} ${port} ${expires}`);
    }, this.now);
    return lines.sort();
  }

  begin(): Packet | null {
    if (this.starve > 0) {
      this.starve--;
      return null;
    }
    const slot = this.arena.allocate();
    if (slot < 0) return null;
    const packet = this.arena.packets[slot];
    packet.start = this.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
    this.arena.bytes.fill(0xa5, packet.start, packet.start + 256);
    return packet;
  }

  toAll(packet: Packet): void {
    this.toPort(packet, 0);
  }

  toPort(packet: Packet, port: number): void {
    const end = packet.start + packet.length;
    const rest = this.arena.bytes.subarray(end, end + 64);
    if (rest.some((byte) => byte !== 0xa5)) throw new Error('written behind the frame');
    this.sent.push({ port, frame: [...this.arena.bytes.subarray(packet.start, end)] });
    this.arena.release(packet.slot);
  }
}
