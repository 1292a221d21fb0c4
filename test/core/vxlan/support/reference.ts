/**
 * What a VTEP may take from the underlay, rule by rule: RFC 7348 (4.1, 4.3, 5, 6), RFC 6040 (4.2), draft-ietf-nvo3-vxlan-gpe, and what
 * the settings say. Reads octets itself, and shares nothing with core/.
 */

import { addressOf } from '../../nat/wire.js';
import { DROPPED, decapsulated } from './ecn.js';
import { pseudoHeader, sumOf } from './outer.js';

export interface ReferenceNetwork {
  readonly vni: number;
  readonly udpPort: number;
  /** Outer sources that are known. */
  readonly vteps: readonly string[];
}

export interface ReferenceVtep {
  readonly mac: readonly number[];
  readonly address: string;
  readonly networks: readonly ReferenceNetwork[];
}

export interface Taken {
  readonly network: ReferenceNetwork;
  readonly from: string;
  /** The frame inside, its ECN field as it goes on. */
  readonly inner: Uint8Array;
}

/** Taken; refused, for any of these reasons; or no VTEP's business. */
export type Judgment = { readonly taken: Taken } | { readonly refused: readonly string[] } | null;

const word = (bytes: ArrayLike<number>, at: number): number => bytes[at] * 256 + bytes[at + 1];

interface Datagram {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly ecn: number;
  readonly isFragment: boolean;
  /** UDP header and payload, as long as UDP says. */
  readonly bytes: Uint8Array;
}

/** A frame as an uplink receives it, all its checksums finished. */
export function judge(frame: Uint8Array, vtep: ReferenceVtep): Judgment {
  if (frame.length < 14 || vtep.mac.some((octet, i) => frame[i] !== octet) || (frame[6] & 1) === 1) return null;
  const datagram = word(frame, 12) === 0x0800 ? udpOver4(frame) : word(frame, 12) === 0x86dd ? udpOver6(frame) : null;
  if (datagram === null || addressOf(datagram.to) !== vtep.address) return null;
  const { bytes } = datagram;
  const networks = vtep.networks.filter(({ udpPort }) => udpPort === word(bytes, 2));
  if (networks.length === 0) return null;
  if (datagram.isFragment) return { refused: ['vxlan_fragment'] };
  const refused = faultsOf(datagram);
  if (bytes.length < 16) return { refused };
  const vni = (bytes[12] * 256 + bytes[13]) * 256 + bytes[14];
  const network = networks.find((one) => one.vni === vni);
  const from = addressOf(datagram.from);
  if (network === undefined) return { refused: [...refused, 'vxlan_vni'] };
  if (!network.vteps.includes(from)) refused.push('vxlan_vtep');
  const inner = bytes.slice(16);
  const ecn = mergedEcn(inner, datagram.ecn);
  if (ecn === DROPPED) refused.push('vxlan_ecn');
  if (inner.length >= 14 && [0x8100, 0x88a8].includes(word(inner, 12))) refused.push('vxlan_vlan');
  if (refused.length > 0) return { refused };
  return { taken: { network, from, inner: ecn === null ? inner : withEcn(inner, ecn) } };
}

function faultsOf({ from, to, bytes }: Datagram): string[] {
  const faults: string[] = [];
  if (word(bytes, 6) !== 0 && sumOf([...pseudoHeader(from, to, 17, bytes.length), ...bytes]) !== 0xffff)
    faults.push('vxlan_checksum');
  if (bytes.length < 16) return [...faults, 'vxlan_malformed'];
  if ((bytes[8] & 0x08) === 0) faults.push('vxlan_malformed');
  if (isGpe(bytes.subarray(8, 16))) faults.push('vxlan_gpe');
  if (bytes.length < 16 + 14) faults.push('vxlan_malformed', 'runt');
  return faults;
}

/** Version 0, I and P set, nothing reserved set, and a next protocol that there is. */
function isGpe(header: Uint8Array): boolean {
  return (header[0] & 0x3c) === 0x0c && header[1] === 0 && header[2] === 0 && header[3] >= 1 && header[3] <= 5;
}

function udpOver4(frame: Uint8Array): Datagram | null {
  const header = (frame[14] % 16) * 4;
  const total = word(frame, 16);
  if (frame.length < 34 || frame[14] >> 4 !== 4 || header < 20 || total < header || 14 + total > frame.length)
    return null;
  if (sumOf(frame.subarray(14, 14 + header)) !== 0xffff || frame[23] !== 17) return null;
  const field = word(frame, 20) % 0x4000;
  // Only the first fragment says what it is one of.
  if (field % 0x2000 !== 0) return null;
  const udp = udpIn(frame.slice(14 + header, 14 + total), field !== 0);
  if (udp === null) return null;
  return {
    from: frame.slice(26, 30),
    to: frame.slice(30, 34),
    ecn: frame[15] % 4,
    isFragment: field !== 0,
    bytes: udp,
  };
}

function udpOver6(frame: Uint8Array): Datagram | null {
  if (frame.length < 54 || frame[14] >> 4 !== 6 || frame[20] !== 17) return null;
  const length = word(frame, 18);
  if (54 + length > frame.length) return null;
  const udp = udpIn(frame.slice(54, 54 + length), false, true);
  if (udp === null) return null;
  return {
    from: frame.slice(22, 38),
    to: frame.slice(38, 54),
    ecn: (frame[15] >> 4) % 4,
    isFragment: false,
    bytes: udp,
  };
}

function udpIn(bytes: Uint8Array, isFragment: boolean, isIpv6 = false): Uint8Array | null {
  if (bytes.length < 8) return null;
  const length = word(bytes, 4);
  if (length === 0 && isIpv6) return bytes;
  if (length < 8 || (length > bytes.length && !isFragment)) return null;
  return bytes.slice(0, length);
}

/** Null: nothing inside has the field. */
function mergedEcn(inner: Uint8Array, outer: number): number | null {
  const at = inner.length >= 14 ? ecnPlace(inner) : -1;
  if (at < 0) return null;
  const before = word(inner, 12) === 0x0800 ? inner[at] % 4 : (inner[at] >> 4) % 4;
  return decapsulated(before, outer);
}

/** Of the octet with the field, where the first 20 octets of an IP header are there; -1. */
function ecnPlace(inner: Uint8Array): number {
  const version = word(inner, 12) === 0x0800 ? 4 : word(inner, 12) === 0x86dd ? 6 : 0;
  return version !== 0 && inner.length >= 34 && inner[14] >> 4 === version ? 15 : -1;
}

function withEcn(inner: Uint8Array, ecn: number): Uint8Array {
  const bytes = inner.slice();
  if (word(inner, 12) === 0x86dd) {
    bytes[15] = (bytes[15] & 0xcf) | (ecn << 4);
    return bytes;
  }
  if (bytes[15] % 4 === ecn) return bytes;
  // The checksum was right, or not, and stays so (RFC 1624): here the slow way.
  const isRight = sumOf(bytes.subarray(14, 14 + (bytes[14] % 16) * 4)) === 0xffff;
  bytes[15] = (bytes[15] & 0xfc) | ecn;
  if (!isRight) return bytes;
  bytes.set([0, 0], 24);
  const sum = 0xffff - sumOf(bytes.subarray(14, 14 + (bytes[14] % 16) * 4));
  bytes.set([sum >> 8, sum & 255], 24);
  return bytes;
}
