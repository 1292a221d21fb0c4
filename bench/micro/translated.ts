/**
 * The whole path of a packet of a translated connection: parse, bridge, router, flow, rewrite, transmit. Network 1 is behind masquerading,
 * network 2 is the wire.
 */

import { MAPPED } from '../../core/router/address.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../core/wire/ipv4.js';
import { address4, FAR, GATEWAY, NEAR, NEAR_PORT, resolve, SENDER } from './routed.js';
import type { Case } from './suite.js';
import {
  establishedCase,
  HOP_MAC,
  makeTracked,
  openingCase,
  portOf,
  strangerOf,
  Traffic,
  WIRE_PORT,
} from './traffic.js';

const SERVER_PORT = 443;
const INSIDE = address4(NEAR, SENDER);
const OUTSIDE = address4(FAR, GATEWAY);

/** The sender's connections to servers on the wire. */
export class Masqueraded extends Traffic {
  constructor(protocol: number) {
    const bench = makeTracked();
    resolve(bench.dataplane.router, NEAR, [0, 0, MAPPED, INSIDE], SENDER, NEAR_PORT);
    super(bench, protocol, NEAR_PORT, WIRE_PORT);
  }

  protected override write(slot: number, flow: number, isReply: boolean): void {
    const server = strangerOf(flow);
    const port = portOf(flow);
    if (isReply) this.writeFrame(slot, GATEWAY + FAR, HOP_MAC, server, OUTSIDE, (SERVER_PORT << 16) | port);
    else this.writeFrame(slot, GATEWAY + NEAR, SENDER, INSIDE, server, (port << 16) | SERVER_PORT);
  }
}

const tcp = (): Traffic => new Masqueraded(PROTOCOL_TCP);
const udp = (): Traffic => new Masqueraded(PROTOCOL_UDP);

export function translatedCases(): Case[] {
  return [
    establishedCase('NAT, TCP out, 1,024 connections', { bar: 10e6, aim: 20e6 }, tcp, 1024, false),
    establishedCase('NAT, TCP in, 1,024 connections', { bar: 10e6, aim: 20e6 }, tcp, 1024, true),
    establishedCase('NAT, UDP out, 1,024 connections', { bar: 10e6, aim: 20e6 }, udp, 1024, false),
    establishedCase('NAT, TCP out, a million connections at random', { bar: 4e6, aim: 8e6 }, tcp, 1 << 20, false),
    establishedCase('NAT, UDP in, a million connections at random', { bar: 4e6, aim: 8e6 }, udp, 1 << 20, true),
    openingCase('NAT, new TCP connections', { bar: 1e6 }, tcp),
    openingCase('NAT, new UDP connections', { bar: 1e6 }, udp),
  ];
}
