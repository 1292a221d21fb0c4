/**
 * External addresses: what internal ones are translated to. Each has a small number, and for every protocol that is translated to it a
 * flat list of its ports, made with the first mapping: 256 KiB for the mappings by port, 16 KiB for what is taken and reserved.
 */

import { PortSet } from '../tables/port-set.js';
import { PROTOCOL_ICMPV6 } from '../wire/icmpv6.js';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { PROTOCOL_DCCP, PROTOCOL_SCTP, PROTOCOL_UDP_LITE } from '../wire/sctp.js';

/** So many at once. */
export const MAX_EXTERNALS = 4096;
const PORTS = 65_536;
const PROTOCOLS = 256;

/** Whether a protocol's packets have ports, or an identifier in their place. */
export function hasPorts(protocol: number): boolean {
  return hasPortClasses(protocol) || hasIdentifier(protocol);
}

/** Of ICMP queries: not a port, so there are no well-known ones. */
export function hasIdentifier(protocol: number): boolean {
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
}

function hasPortClasses(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_SCTP || hasParity(protocol);
}

/** Protocols that carry RTP, whose even ports mean something (RFC 4787, 4.2.2; RFC 5762). */
export function hasParity(protocol: number): boolean {
  return protocol === PROTOCOL_UDP || protocol === PROTOCOL_UDP_LITE || protocol === PROTOCOL_DCCP;
}

/** The ports of one protocol at one external address. Protocols without ports have port 0 alone. */
export class ExternalPorts {
  readonly protocol: number;
  /** By port: number of the mapping plus 1, or 0. */
  readonly mappings: Int32Array;
  /** Ports with a mapping. */
  readonly taken = new PortSet();
  /** Ports that are published: not given out. */
  readonly reserved = new PortSet();
  /** Mappings. */
  used = 0;
  /** Those all of whose flows are about to end. */
  idle = 0;

  constructor(protocol: number) {
    this.protocol = protocol;
    this.mappings = new Int32Array(hasPorts(protocol) ? PORTS : 1);
  }
}

export class External {
  readonly number: number;
  readonly zone: number;
  /** IPv4 mapped (address.ts). */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  /** Mappings at it. */
  mappings = 0;
  /** How many mappings there were when its ports were last told to be used up; 0: not told. */
  alarm = 0;
  /** Ports in blocks of internal addresses, and how many such blocks there are. */
  readonly blocked = new PortSet();
  blocks = 0;
  private readonly byProtocol: (ExternalPorts | null)[] = new Array(PROTOCOLS).fill(null);

  constructor(number: number, zone: number, a: number, b: number, c: number, d: number) {
    this.number = number;
    this.zone = zone;
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
  }

  /** Null: nothing has been translated so far. */
  ports(protocol: number): ExternalPorts | null {
    return this.byProtocol[protocol];
  }

  /** For a protocol without; the caller reserves what is to be. */
  makePorts(protocol: number): ExternalPorts {
    const ports = new ExternalPorts(protocol);
    this.byProtocol[protocol] = ports;
    return ports;
  }

  is(zone: number, a: number, b: number, c: number, d: number): boolean {
    return this.d === d && this.zone === zone && this.c === c && this.b === b && this.a === a;
  }
}
