/**
 * Two hosts that talk TCP through a router, each with its own sequence numbers: whatever the router makes of their text, each must find the
 * numbers of the other without a gap, and every checksum right.
 */

import { FLOW_WORDS } from '../../../core/nat/flow.js';
import { PUBLISHED_RECORD } from '../../../core/nat/published.js';
import {
  ALG_FTP,
  ALG_TFTP,
  FILTERING_ADDRESS_AND_PORT_DEPENDENT,
  MAPPING_ENDPOINT_INDEPENDENT,
} from '../../../core/nat/settings.js';
import { fullChecksum, isHeaderRight, readChecksum, seal } from '../nat/packets.js';
import {
  A,
  gatewayMac,
  Lab,
  type LabOptions,
  OUTSIDE,
  type Station,
  text6,
  withMacs,
  word4,
  words6,
} from '../router/lab.js';
import { ip4, ip6 } from '../switch/multicast.js';
import { ethernet, tcp, udp } from '../wire/build.js';

const TCP = 6;
const UDP = 17;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

export const UPLINK4 = '10.4.0.1';
export const UPLINK6 = 'fd00:4::1';

/** Network 1 is behind address translation, for both families, and filtered as strictly as can be. */
export function natLab(options: LabOptions = {}, algs = ALG_FTP | ALG_TFTP): Lab {
  const translation = { sources4: new Int32Array(0), sources6: new Int32Array(0), prefixes: new Int32Array(0) };
  const lab = new Lab({
    ...options,
    vrf: { tracking: true, ...options.vrf },
    interfaces: { 1: { translation }, ...options.interfaces },
  });
  configure(lab, algs);
  return lab.know(A, OUTSIDE);
}

export function configure(lab: Lab, algs: number): void {
  lab.router.flows.configure({
    mapping: MAPPING_ENDPOINT_INDEPENDENT,
    filtering: FILTERING_ADDRESS_AND_PORT_DEPENDENT,
    firstPort: 1024,
    lastPort: 65535,
    portBlock: 0,
    flowsPerEndpoint: 1000,
    timeouts: lab.router.flows.table.timeouts.slice(),
    algs,
  });
}

function wordsOf(address: string): number[] {
  return address.includes(':') ? words6(address) : [0, 0, 0xffff, word4(address)];
}

/** Lets time pass, as the worker does. */
export function pass(lab: Lab, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    lab.passTo(lab.dataplane.now + 1);
    lab.sentBy(() => lab.router.flows.tick());
  }
}

/** Publishes one port. */
export function publish(
  lab: Lab,
  protocol: number,
  address: string,
  port: number,
  target: string,
  inner: number,
): void {
  const record = new Int32Array(PUBLISHED_RECORD);
  record.set([1, protocol, ...wordsOf(address), port, port, ...wordsOf(target), inner, A.port]);
  lab.router.flows.published.set(record);
}

export interface Seen {
  readonly port: number;
  readonly from: string;
  readonly to: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly text: string;
}

/** @throws where a checksum or a length is wrong */
export function readSegment(port: number, frame: Uint8Array): Seen {
  const packet = frame.slice(14);
  const isIpv4 = packet[0] >> 4 === 4;
  const view = new DataView(packet.buffer);
  const transport = isIpv4 ? 20 : 40;
  const length = isIpv4 ? view.getUint16(2) : 40 + view.getUint16(4);
  if (length !== packet.length) throw new Error(`packet of ${packet.length} octets says ${length}`);
  if (isIpv4 && !isHeaderRight(packet)) throw new Error('header checksum');
  const protocol = packet[isIpv4 ? 9 : 6];
  if (readChecksum(packet, protocol, transport) !== fullChecksum(packet, protocol, transport))
    throw new Error('checksum');
  const isTcp = protocol === TCP;
  const data = transport + (isTcp ? (packet[transport + 12] >> 4) * 4 : 8);
  const address = (at: number) => (isIpv4 ? [...packet.slice(at, at + 4)].join('.') : text6(packet, at));
  return {
    port,
    from: address(isIpv4 ? 12 : 8),
    to: address(isIpv4 ? 16 : 24),
    fromPort: view.getUint16(transport),
    toPort: view.getUint16(transport + 2),
    sequence: isTcp ? view.getInt32(transport + 4) : 0,
    acknowledgment: isTcp ? view.getInt32(transport + 8) : 0,
    flags: isTcp ? packet[transport + 13] : 0,
    text: String.fromCharCode(...packet.slice(data)),
  };
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function packetOf(from: Station, source: string, to: string, protocol: number, segment: Uint8Array): Uint8Array {
  const parse = to.includes(':') ? ip6 : ip4;
  const packet = seal(parse(source), parse(to), protocol, segment);
  return withMacs(ethernet(to.includes(':') ? 0x86dd : 0x0800, packet), gatewayMac(from.network), from.mac);
}

/** One datagram; what leaves because of it, or null. */
export function sendDatagram(
  lab: Lab,
  from: Station,
  fromPort: number,
  to: string,
  toPort: number,
  text: string,
): Seen | null {
  const source = to.includes(':') ? from.v6 : from.v4;
  const segment = udp({ srcPort: fromPort, dstPort: toPort }, bytesOf(text));
  const sent = lab.receive(from.port, packetOf(from, source, to, UDP, segment));
  return sent.length === 0 ? null : readSegment(sent[0].port, sent[0].frame);
}

/** One end of a connection. */
export class End {
  readonly station: Station;
  /** Next number to send, and to receive. */
  next: number;
  expected = 0;
  /** Text that has arrived. */
  heard = '';
  /** Where it believes the other end to be. */
  peer = '';
  peerPort = 0;
  port: number;
  source: string;

  constructor(station: Station, port: number, initial: number, source: string) {
    this.station = station;
    this.port = port;
    this.next = initial;
    this.source = source;
  }
}

/** A connection from one station to an address and port. */
export class Talk {
  readonly lab: Lab;
  readonly client: End;
  readonly server: End;

  /** Connects. @throws where a segment does not arrive */
  constructor(lab: Lab, from: Station, fromPort: number, to: Station, address: string, port: number, initial = 1000) {
    this.lab = lab;
    const isIpv6 = address.includes(':');
    this.client = new End(from, fromPort, initial, isIpv6 ? from.v6 : from.v4);
    this.server = new End(to, 0, 0x7ffffff0, isIpv6 ? to.v6 : to.v4);
    this.client.peer = address;
    this.client.peerPort = port;
    const syn = this.carry(this.client, SYN, '');
    this.server.peer = syn.from;
    this.server.peerPort = syn.fromPort;
    this.server.port = syn.toPort;
    this.server.expected = (syn.sequence + 1) | 0;
    this.client.next = (this.client.next + 1) | 0;
    const answer = this.carry(this.server, SYN | ACK, '');
    this.client.expected = (answer.sequence + 1) | 0;
    this.server.next = (this.server.next + 1) | 0;
    this.acknowledge(this.client);
  }

  other(end: End): End {
    return end === this.client ? this.server : this.client;
  }

  /** One segment as an end would send it now; what arrives. @throws where nothing does, or it is not for the other end */
  carry(from: End, flags: number, text: string, sequence = from.next, vnet: null | 'partial' = null): Seen {
    const seen = this.offer(from, flags, text, sequence, vnet);
    if (seen === null) throw new Error(`lost: ${JSON.stringify(this.lab.dropped())}`);
    if (seen.port !== this.other(from).station.port) throw new Error(`left by port ${seen.port}`);
    return seen;
  }

  /** The same, where it may be dropped. */
  offer(from: End, flags: number, text: string, sequence = from.next, vnet: null | 'partial' = null): Seen | null {
    const segment = tcp({ srcPort: from.port, dstPort: from.peerPort, flags }, bytesOf(text));
    const view = new DataView(segment.buffer);
    view.setInt32(4, sequence);
    view.setInt32(8, (flags & ACK) === 0 ? 0 : from.expected);
    const frame = packetOf(from.station, from.source, from.peer, TCP, segment);
    const isIpv4 = frame[12] === 0x08;
    const fields = vnet === null ? null : { flags: 1, checksumStart: isIpv4 ? 34 : 54, checksumOffset: 16 };
    if (fields !== null) this.toPartial(frame, isIpv4);
    const sent = this.lab.receive(from.station.port, frame, fields);
    if (sent.length === 0) return null;
    if (fields === null) return readSegment(sent[0].port, sent[0].frame);
    return readSegment(sent[0].port, completed(sent[0].frame, isIpv4));
  }

  private toPartial(frame: Uint8Array, isIpv4: boolean): void {
    new DataView(frame.buffer).setUint16((isIpv4 ? 34 : 54) + 16, pseudoOf(frame, isIpv4));
  }

  /** Text from one end to the other, acknowledged. Returns it as it arrived. @throws where the numbers do not fit */
  say(from: End, text: string, vnet: null | 'partial' = null): string {
    const to = this.other(from);
    const seen = this.carry(from, ACK | 8, text, from.next, vnet);
    this.hear(to, seen);
    from.next = (from.next + text.length) | 0;
    this.acknowledge(to);
    return seen.text;
  }

  /** Takes a segment in at an end. */
  hear(to: End, seen: Seen): void {
    if (seen.sequence !== to.expected) throw new Error(`number ${seen.sequence} instead of ${to.expected}`);
    to.expected = (to.expected + seen.text.length) | 0;
    to.heard += seen.text;
  }

  /** An end acknowledges all that it has; the other must have sent just that. */
  acknowledge(from: End): void {
    const seen = this.carry(from, ACK, '');
    const to = this.other(from);
    if (seen.acknowledgment !== to.next) throw new Error(`${seen.acknowledgment} acknowledged instead of ${to.next}`);
    if (seen.sequence !== to.expected) throw new Error(`number ${seen.sequence} instead of ${to.expected}`);
  }
}

function pseudoOf(frame: Uint8Array, isIpv4: boolean): number {
  const length = frame.length - (isIpv4 ? 34 : 54);
  const addresses = frame.subarray(isIpv4 ? 26 : 22, isIpv4 ? 34 : 54);
  let sum = TCP + length;
  for (let i = 0; i < addresses.length; i += 2) sum += addresses[i] * 256 + addresses[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** The frame as whoever finishes the checksum sends it; the field holds the pseudo-header's sum. @throws where it does not */
function completed(frame: Uint8Array, isIpv4: boolean): Uint8Array {
  const at = (isIpv4 ? 34 : 54) + 16;
  const view = new DataView(frame.buffer, frame.byteOffset);
  if (view.getUint16(at) % 0xffff !== pseudoOf(frame, isIpv4) % 0xffff) throw new Error('partial sum');
  view.setUint16(at, fullChecksum(frame.slice(14), TCP, isIpv4 ? 20 : 40));
  return frame;
}

/** Flags of all flows, by original destination port. */
export function flowStates(lab: Lab): Record<number, number> {
  const { table } = lab.router.flows;
  const states: Record<number, number> = {};
  table.forEach((flow) => {
    states[table.words[flow * FLOW_WORDS + 2] & 0xffff] = table.words[flow * FLOW_WORDS + 7];
  });
  return states;
}
