/**
 * What the underlay says of our VXLAN packets, by ICMP errors that quote one.
 *
 *   too big           (RFC 1191; RFC 8201) the VTEP's tunnel takes no more for a while, and who sends more into it is told: outer packets are never
 *                     cut (RFC 7348, 4.3)
 *   port unreachable  (RFC 1122, 3.2.2.1; RFC 4443, 3.1) the host is there, and nobody listens: said in the VTEP's status
 */

import type { Dataplane } from '../dataplane.js';
import { finishChecksum, sumBytes } from '../packet/checksum.js';
import { PACKET_FRAGMENT, type Packet } from '../packet/packet.js';
import { VNET_F_NEEDS_CSUM } from '../packet/vnet.js';
import { MAPPED } from '../router/address.js';
import { ICMP_FRAGMENTATION_NEEDED, ICMP_PORT_UNREACHABLE } from '../router/icmp.js';
import { ICMPV6_PACKET_TOO_BIG, ICMPV6_PORT_UNREACHABLE, ICMPV6_UNREACHABLE } from '../router/icmpv6.js';
import type { RouterInterface } from '../router/interface.js';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.js';
import { ICMP_UNREACHABLE } from '../wire/icmp.js';
import { isIcmpv6ChecksumRight } from '../wire/icmpv6.js';
import {
  IPV4_DESTINATION,
  IPV4_HEADER_LENGTH,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4HeaderLength,
  PROTOCOL_UDP,
} from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HEADER_LENGTH, IPV6_SOURCE, ipv6NextHeader } from '../wire/ipv6.js';
import { UDP_DESTINATION_PORT, UDP_HEADER_LENGTH } from '../wire/udp.js';
import type { RemoteVtep } from './vtep.js';
import type { Vteps } from './vteps.js';

/** ICMP header with its four further octets: what is quoted stands behind it. */
const QUOTE = 8;
/** Seconds that it holds (RFC 1191, 6.3: ten minutes). */
const HOLDS = 600;
/** Bytes of outer packet below which nothing is believed: an inner IPv4 host must be able to send 576 (RFC 1191, 3), an IPv6 link 1,280. */
const LEAST = 576 + 50;
const LEAST_6 = 1280;

/** Type and code. */
const TOO_BIG = (ICMP_UNREACHABLE << 8) | ICMP_FRAGMENTATION_NEEDED;
const NOBODY = (ICMP_UNREACHABLE << 8) | ICMP_PORT_UNREACHABLE;
const NOBODY_6 = (ICMPV6_UNREACHABLE << 8) | ICMPV6_PORT_UNREACHABLE;

/** In place of an MTU: nobody listens there. */
const REFUSED = -1;

export class UnderlayErrors {
  private readonly dataplane: Dataplane;
  private readonly vteps: Vteps;

  constructor(dataplane: Dataplane, vteps: Vteps) {
    this.dataplane = dataplane;
    this.vteps = vteps;
  }

  /** @param packet ICMP or ICMPv6, parsed. @returns whether it was about a tunnel */
  hear(packet: Packet, { vrf }: RouterInterface): boolean {
    const { view } = this.dataplane.arena;
    const { l4 } = packet;
    if ((packet.flags & PACKET_FRAGMENT) !== 0) return false;
    if (packet.etherType === ETHERTYPE_IPV4) {
      const kind = view.getUint16(l4);
      if ((kind !== TOO_BIG && kind !== NOBODY) || !isIcmpChecksumRight(view, packet)) return false;
      const mtu = view.getUint16(l4 + 6);
      return this.hear4(vrf, l4 + QUOTE, packet.l3End, kind === NOBODY ? REFUSED : mtu < LEAST ? LEAST : mtu);
    }
    const kind = view.getUint16(l4);
    const isTooBig = kind >>> 8 === ICMPV6_PACKET_TOO_BIG;
    if ((!isTooBig && kind !== NOBODY_6) || !isIcmpv6ChecksumRight(view, packet)) return false;
    const mtu = view.getInt32(l4 + 4);
    return this.hear6(vrf, l4 + QUOTE, packet.l3End, !isTooBig ? REFUSED : mtu >>> 0 < LEAST_6 ? LEAST_6 : mtu);
  }

  private hear4(vrf: number, at: number, end: number, mtu: number): boolean {
    const { view } = this.dataplane.arena;
    if (end - at < IPV4_HEADER_LENGTH + UDP_HEADER_LENGTH || view.getUint8(at + IPV4_PROTOCOL) !== PROTOCOL_UDP)
      return false;
    const l4 = at + ipv4HeaderLength(view, at);
    if (l4 + UDP_HEADER_LENGTH > end) return false;
    const source = view.getInt32(at + IPV4_SOURCE);
    const destination = view.getInt32(at + IPV4_DESTINATION);
    const port = view.getUint16(l4 + UDP_DESTINATION_PORT);
    if (!this.vteps.isListening(vrf, port, 0, 0, MAPPED, source)) return false;
    return this.note(vrf, port, mtu, 0, 0, MAPPED, destination);
  }

  private hear6(vrf: number, at: number, end: number, mtu: number): boolean {
    const { view } = this.dataplane.arena;
    if (end - at < IPV6_HEADER_LENGTH + UDP_HEADER_LENGTH || ipv6NextHeader(view, at) !== PROTOCOL_UDP) return false;
    const port = view.getUint16(at + IPV6_HEADER_LENGTH + UDP_DESTINATION_PORT);
    const from = at + IPV6_SOURCE;
    const to = at + IPV6_DESTINATION;
    const isOurs = this.vteps.isListening(
      vrf,
      port,
      view.getInt32(from),
      view.getInt32(from + 4),
      view.getInt32(from + 8),
      view.getInt32(from + 12),
    );
    if (!isOurs) return false;
    const [b, c, d] = [view.getInt32(to + 4), view.getInt32(to + 8), view.getInt32(to + 12)];
    return this.note(vrf, port, mtu, view.getInt32(to), b, c, d);
  }

  /** For that VTEP in every network: the way is the same. */
  private note(vrf: number, udpPort: number, mtu: number, a: number, b: number, c: number, d: number): boolean {
    let isKnown = false;
    this.vteps.forEach((remote: RemoteVtep) => {
      const { local } = remote;
      if (remote.d !== d || remote.c !== c || remote.b !== b || remote.a !== a) return;
      if (local.udpPort !== udpPort || local.options.vrf !== vrf) return;
      isKnown = true;
      if (mtu === REFUSED) {
        remote.refusedAt = this.dataplane.now;
        return;
      }
      // More than passed before is nobody's to promise (RFC 1191, 3).
      if (remote.pathMtu !== 0 && mtu >= remote.pathMtu) return;
      remote.pathMtu = mtu;
      remote.pathMtuUntil = this.dataplane.now + HOLDS;
      remote.routeEpoch = -1;
    });
    return isKnown;
  }
}

/** Whether the ICMP message is what its checksum says (RFC 792); one of this machine may still be without. */
function isIcmpChecksumRight(view: DataView, { vnetFlags, l4, l3End }: Packet): boolean {
  return (vnetFlags & VNET_F_NEEDS_CSUM) !== 0 || finishChecksum(sumBytes(view, l4, l3End - l4)) === 0;
}
