/**
 * The same facts about a frame from two readers, in a form that can be compared: from tshark's fields, and from our parse.
 * tshark's lengths are judged by our contract (what counts as malformed); the facts are its own.
 */

import {
  PACKET_FRAGMENT,
  PACKET_L3_MALFORMED,
  PACKET_L4_MALFORMED,
  PACKET_LATER_FRAGMENT,
} from '../../../core/packet/packet.js';
import { arpSender, arpTarget } from '../../../core/wire/arp.js';
import {
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  ipv4Destination,
  ipv4Fragment,
  ipv4Source,
} from '../../../core/wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../../../core/wire/ipv6.js';
import { VLAN_ID_MASK } from '../../../core/wire/vlan.js';
import type { Parsed } from '../wire/parsed.js';
import type { Field, Row } from './tshark.js';

export interface Facts {
  dstMac: string;
  srcMac: string;
  etherType: number;
  /** VLAN identifiers, outermost first. */
  vlans: string;
  /** Whether the network header is there and contradicts itself or the frame; then nothing below is told. */
  malformed: boolean;
  src: string;
  dst: string;
  protocol: number;
  /** In 8 octets, and whether more follow; `-` for IPv6, where only the kind is kept. */
  fragment: string;
  /** whole, first or later */
  fragmentKind: string;
  transportMalformed: boolean;
  srcPort: number;
  dstPort: number;
}

const UNKNOWN = {
  malformed: false,
  src: '',
  dst: '',
  protocol: -1,
  fragment: '-',
  fragmentKind: 'whole',
  transportMalformed: false,
  srcPort: -1,
  dstPort: -1,
};

/** What our parse says, and the accessors of core/wire at the places that it names. */
export function ourFacts(frame: Uint8Array, p: Parsed): Facts {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const tags = [p.vlan, p.innerVlan].filter((tci) => tci !== -1).map((tci) => tci & VLAN_ID_MASK);
  const link = {
    dstMac: macText(p.dstHigh, p.dstLow),
    srcMac: macText(p.srcHigh, p.srcLow),
    etherType: p.etherType,
    vlans: tags.join(' '),
  };
  if (p.l3 === -1) return { ...link, ...UNKNOWN };
  if ((p.flags & PACKET_L3_MALFORMED) !== 0) return { ...link, ...UNKNOWN, malformed: true };
  return {
    ...link,
    ...UNKNOWN,
    ...ourAddresses(view, p),
    protocol: p.protocol,
    fragmentKind: fragmentKind((p.flags & PACKET_FRAGMENT) !== 0, (p.flags & PACKET_LATER_FRAGMENT) !== 0),
    transportMalformed: (p.protocol === 6 || p.protocol === 17) && (p.flags & PACKET_L4_MALFORMED) !== 0,
    srcPort: p.srcPort,
    dstPort: p.dstPort,
  };
}

function ourAddresses(view: DataView, p: Parsed): Pick<Facts, 'src' | 'dst' | 'fragment'> {
  if (p.etherType === 0x0806) {
    return { src: ipv4Text(arpSender(view, p.l3)), dst: ipv4Text(arpTarget(view, p.l3)), fragment: '-' };
  }
  if (p.etherType === 0x86dd) {
    return { src: ipv6Text(view, p.l3 + IPV6_SOURCE), dst: ipv6Text(view, p.l3 + IPV6_DESTINATION), fragment: '-' };
  }
  const field = ipv4Fragment(view, p.l3);
  const fragment = `${field & IPV4_OFFSET_MASK} ${(field & IPV4_MORE_FRAGMENTS) !== 0}`;
  return { src: ipv4Text(ipv4Source(view, p.l3)), dst: ipv4Text(ipv4Destination(view, p.l3)), fragment };
}

function fragmentKind(fragment: boolean, later: boolean): string {
  if (later) return 'later';
  return fragment ? 'first' : 'whole';
}

function macText(high: number, low: number): string {
  const hex = high.toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return (hex.match(/../g) as string[]).join(':');
}

function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** All eight groups, nothing shortened. */
function ipv6Text(view: DataView, at: number): string {
  return [0, 2, 4, 6, 8, 10, 12, 14].map((offset) => view.getUint16(at + offset).toString(16)).join(':');
}

/** An IPv6 address as tshark writes it, with all eight groups. */
function expandIpv6(text: string): string {
  const [head, tail] = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, dottedToGroups).split('::');
  if (tail === undefined) return text;
  const before = head === '' ? [] : head.split(':');
  const after = tail === '' ? [] : tail.split(':');
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].join(':');
}

/** The last 32 bits written as an IPv4 address (RFC 4291, 2.2), as two groups. */
function dottedToGroups(_text: string, a: string, b: string, c: string, d: string): string {
  return `${(Number(a) * 256 + Number(b)).toString(16)}:${(Number(c) * 256 + Number(d)).toString(16)}`;
}

/** NaN where the field is not there, so that every comparison with it fails. */
function number(row: Row, field: Field, index = 0): number {
  const text = row[field][index];
  return text === undefined ? Number.NaN : Number(text);
}

/** What tshark says. */
export function tsharkFacts(row: Row, frameLength: number): Facts {
  const tags = [...row['ieee8021ad.id'], ...row['vlan.id']];
  const types = [...row['vlan.len'], ...row['vlan.etype'].slice().reverse(), ...row['eth.type'], ...row['eth.len']];
  const link = {
    dstMac: row['eth.dst'][0],
    srcMac: row['eth.src'][0],
    etherType: Number(types[0] ?? -1),
    vlans: tags.join(' '),
  };
  const room = frameLength - 14 - 4 * tags.length;
  return { ...link, ...UNKNOWN, ...tsharkNetwork(row, link.etherType, room) };
}

function tsharkNetwork(row: Row, etherType: number, room: number): Partial<Facts> {
  if (etherType === 0x0800) return tsharkIpv4(row, room);
  if (etherType === 0x86dd) return tsharkIpv6(row, room);
  return etherType === 0x0806 ? tsharkArp(row, room) : {};
}

function tsharkArp(row: Row, room: number): Partial<Facts> {
  const hardware = number(row, 'arp.hw.type');
  const lengths = number(row, 'arp.hw.size') === 6 && number(row, 'arp.proto.size') === 4;
  const known = (hardware === 1 || hardware === 6) && number(row, 'arp.proto.type') === 0x0800 && lengths;
  if (room < 28 || !known) return { malformed: true };
  return { src: row['arp.src.proto_ipv4'][0], dst: row['arp.dst.proto_ipv4'][0] };
}

function tsharkIpv4(row: Row, room: number): Partial<Facts> {
  const header = number(row, 'ip.hdr_len');
  const total = number(row, 'ip.len');
  const sound = number(row, 'ip.version') === 4 && header >= 20 && total >= header && total <= room;
  if (!sound) return { malformed: true };
  const offset = number(row, 'ip.frag_offset');
  const more = number(row, 'ip.flags.mf') === 1;
  const network = {
    src: row['ip.src'][0],
    dst: row['ip.dst'][0],
    protocol: number(row, 'ip.proto'),
    fragment: `${offset} ${more}`,
    fragmentKind: fragmentKind(more, offset !== 0),
  };
  return { ...network, ...tsharkTransport(row, network.protocol, network.fragmentKind, total - header, false) };
}

/** Next-header field and length of each kind of extension header; a length in bytes, but for AH. */
const EXTENSIONS: Readonly<Record<number, readonly [Field, Field | null]>> = {
  0: ['ipv6.hopopts.nxt', 'ipv6.hopopts.len_oct'],
  43: ['ipv6.routing.nxt', 'ipv6.routing.len_oct'],
  44: ['ipv6.fraghdr.nxt', null],
  51: ['ah.next_header', 'ah.length'],
  60: ['ipv6.dstopts.nxt', 'ipv6.dstopts.len_oct'],
};

function tsharkIpv6(row: Row, room: number): Partial<Facts> {
  const payload = number(row, 'ipv6.plen');
  if (room < 40 || number(row, 'ipv6.version') !== 6 || payload + 40 > room) return { malformed: true };
  const { protocol, length, kind } = tsharkExtensions(row);
  if (Number.isNaN(protocol) || !(length <= payload)) return { malformed: true };
  const network = {
    src: expandIpv6(row['ipv6.src'][0]),
    dst: expandIpv6(row['ipv6.dst'][0]),
    protocol,
    fragmentKind: kind,
  };
  return { ...network, ...tsharkTransport(row, protocol, kind, payload - length, true) };
}

/** Walks the chain of extension headers over tshark's fields. NaN where it breaks off. */
function tsharkExtensions(row: Row): { protocol: number; length: number; kind: string } {
  const used: Record<number, number> = {};
  let protocol = number(row, 'ipv6.nxt');
  let length = 0;
  let kind = 'whole';
  while (EXTENSIONS[protocol] !== undefined && kind !== 'later') {
    const [next, lengthField] = EXTENSIONS[protocol];
    const index = used[protocol] ?? 0;
    used[protocol] = index + 1;
    if (protocol === 44) kind = tsharkFragmentKind(row, index, kind);
    length += lengthField === null ? 8 : extensionLength(row, protocol, lengthField, index);
    protocol = number(row, next, index);
  }
  return { protocol, length, kind };
}

function tsharkFragmentKind(row: Row, index: number, before: string): string {
  const kind = fragmentKind(
    number(row, 'ipv6.fraghdr.more', index) === 1,
    number(row, 'ipv6.fraghdr.offset', index) !== 0,
  );
  return kind === 'whole' ? before : kind;
}

function extensionLength(row: Row, kind: number, field: Field, index: number): number {
  return kind === 51 ? (number(row, field, index) + 2) * 4 : number(row, field, index);
}

function tsharkTransport(row: Row, protocol: number, kind: string, room: number, v6: boolean): Partial<Facts> {
  if (kind === 'later' || (protocol !== 6 && protocol !== 17)) return {};
  const sound = protocol === 6 ? isTcpSound(row, room) : isUdpSound(row, room, kind, v6);
  if (!sound) return { transportMalformed: true };
  const name = protocol === 6 ? 'tcp' : 'udp';
  return { srcPort: number(row, `${name}.srcport`), dstPort: number(row, `${name}.dstport`) };
}

function isTcpSound(row: Row, room: number): boolean {
  const header = number(row, 'tcp.hdr_len');
  return header >= 20 && header <= room;
}

function isUdpSound(row: Row, room: number, kind: string, v6: boolean): boolean {
  const length = number(row, 'udp.length');
  if (room < 8 || Number.isNaN(length)) return false;
  if (length === 0) return v6;
  return length >= 8 && (length <= room || kind === 'first');
}
