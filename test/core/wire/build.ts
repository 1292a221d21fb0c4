/**
 * Builders of frames for tests. Every header starts as a run of 0xa5, so that a field which nobody writes shows; offsets are
 * the RFCs' own numbers and not core/wire's constants, so that a wrong constant shows too. Lengths are filled in so that they
 * agree with the payload, unless given.
 */

const FILL = 0xa5;

function header(length: number, payload: readonly Uint8Array[]): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length + payload.reduce((sum, part) => sum + part.length, 0)).fill(FILL);
  let at = length;
  for (const part of payload) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, view: new DataView(bytes.buffer) };
}

export const DESTINATION = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x02];
export const SOURCE = [0x02, 0x42, 0xac, 0x1e, 0x00, 0x03];

export function ethernet(type: number, ...payload: Uint8Array[]): Uint8Array {
  const { bytes, view } = header(14, payload);
  bytes.set(DESTINATION, 0);
  bytes.set(SOURCE, 6);
  view.setUint16(12, type);
  return bytes;
}

/** What follows a TPID: the TCI and the next type. */
export function vlan(tci: number, type: number, ...payload: Uint8Array[]): Uint8Array {
  const { bytes, view } = header(4, payload);
  view.setUint16(0, tci);
  view.setUint16(2, type);
  return bytes;
}

export interface ArpFields {
  hardwareType?: number;
  protocolType?: number;
  hardwareLength?: number;
  protocolLength?: number;
  operation?: number;
}

/** From 02:42:ac:1e:00:03 at 172.30.0.3 to 172.30.0.2. */
export function arp(fields: ArpFields): Uint8Array {
  const { bytes, view } = header(28, []);
  view.setUint16(0, fields.hardwareType ?? 1);
  view.setUint16(2, fields.protocolType ?? 0x0800);
  view.setUint8(4, fields.hardwareLength ?? 6);
  view.setUint8(5, fields.protocolLength ?? 4);
  view.setUint16(6, fields.operation ?? 1);
  bytes.set(SOURCE, 8);
  bytes.set([172, 30, 0, 3], 14);
  bytes.set([0, 0, 0, 0, 0, 0], 18);
  bytes.set([172, 30, 0, 2], 24);
  return bytes;
}

export interface Ipv4Fields {
  protocol: number;
  version?: number;
  /** In 32-bit words. */
  headerWords?: number;
  totalLength?: number;
  /** Bytes of options, a multiple of 4. */
  options?: number;
  /** In 8 octets. */
  offset?: number;
  more?: boolean;
  dontFragment?: boolean;
}

/** From 172.30.0.3 to 172.30.0.2. The header checksum is left at 0xa5a5: the parse does not look at it. */
export function ipv4(fields: Ipv4Fields, ...payload: Uint8Array[]): Uint8Array {
  const options = fields.options ?? 0;
  const { bytes, view } = header(20 + options, payload);
  view.setUint8(0, ((fields.version ?? 4) << 4) | (fields.headerWords ?? 5 + options / 4));
  view.setUint8(1, 0);
  view.setUint16(2, fields.totalLength ?? bytes.length);
  view.setUint16(4, 0x1234);
  view.setUint16(6, (fields.dontFragment ? 0x4000 : 0) | (fields.more ? 0x2000 : 0) | (fields.offset ?? 0));
  view.setUint8(8, 64);
  view.setUint8(9, fields.protocol);
  bytes.set([172, 30, 0, 3], 12);
  bytes.set([172, 30, 0, 2], 16);
  bytes.fill(1, 20, 20 + options); // no operation
  return bytes;
}

export interface Ipv6Fields {
  nextHeader: number;
  version?: number;
  payloadLength?: number;
}

/** From fd00:30::3 to fd00:30::2. */
export function ipv6(fields: Ipv6Fields, ...payload: Uint8Array[]): Uint8Array {
  const { bytes, view } = header(40, payload);
  view.setUint32(0, ((fields.version ?? 6) << 28) >>> 0);
  view.setUint16(4, fields.payloadLength ?? bytes.length - 40);
  view.setUint8(6, fields.nextHeader);
  view.setUint8(7, 63);
  bytes.set([0xfd, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], 8);
  bytes.set([0xfd, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 24);
  return bytes;
}

/** A hop-by-hop, routing or destination options header of `length` bytes, a multiple of 8. */
export function extension(nextHeader: number, length = 8, lengthField = length / 8 - 1): Uint8Array {
  const { bytes, view } = header(length, []);
  view.setUint8(0, nextHeader);
  view.setUint8(1, lengthField);
  bytes.fill(0, 2);
  return bytes;
}

/** An authentication header of `length` bytes, a multiple of 4. */
export function authentication(nextHeader: number, length = 24): Uint8Array {
  const bytes = extension(nextHeader, length, 0);
  bytes[1] = length / 4 - 2;
  return bytes;
}

export interface FragmentFields {
  nextHeader: number;
  /** In 8 octets. */
  offset: number;
  more: boolean;
}

export function fragmentHeader(fields: FragmentFields): Uint8Array {
  const { bytes, view } = header(8, []);
  view.setUint8(0, fields.nextHeader);
  view.setUint8(1, 0xff); // reserved: must not be taken for a length
  view.setUint16(2, (fields.offset << 3) | (fields.more ? 1 : 0));
  view.setUint32(4, 0xcafe);
  return bytes;
}

export interface TcpFields {
  srcPort: number;
  dstPort: number;
  /** In 32-bit words. */
  headerWords?: number;
  /** Bytes of options, a multiple of 4. */
  options?: number;
  flags?: number;
}

export function tcp(fields: TcpFields, ...payload: Uint8Array[]): Uint8Array {
  const options = fields.options ?? 0;
  const { bytes, view } = header(20 + options, payload);
  view.setUint16(0, fields.srcPort);
  view.setUint16(2, fields.dstPort);
  view.setUint32(4, 0x01020304);
  view.setUint32(8, 0x05060708);
  view.setUint8(12, (fields.headerWords ?? 5 + options / 4) << 4);
  view.setUint8(13, fields.flags ?? 0x10);
  view.setUint16(14, 0xffff);
  view.setUint16(16, 0);
  view.setUint16(18, 0);
  bytes.fill(1, 20, 20 + options); // no operation
  return bytes;
}

export interface UdpFields {
  srcPort: number;
  dstPort: number;
  length?: number;
}

export function udp(fields: UdpFields, ...payload: Uint8Array[]): Uint8Array {
  const { bytes, view } = header(8, payload);
  view.setUint16(0, fields.srcPort);
  view.setUint16(2, fields.dstPort);
  view.setUint16(4, fields.length ?? bytes.length);
  view.setUint16(6, 0);
  return bytes;
}

/** An ICMP or ICMPv6 message: four octets, then the body, whose own first four octets belong to the fixed header. */
export function icmp(type: number, ...body: Uint8Array[]): Uint8Array {
  const { bytes, view } = header(4, body);
  view.setUint8(0, type);
  view.setUint8(1, 0);
  view.setUint16(2, 0);
  return bytes;
}

export const icmpv6 = icmp;
