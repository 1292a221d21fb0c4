/** The accessors over headers whose bytes the builders set, at an odd offset of a larger buffer. */

import test from 'ava';
import { ARP_SENDER_MAC, ARP_TARGET_MAC, arpOperation, arpSender, arpTarget } from '../../../core/wire/arp.js';
import { ETHERNET_DESTINATION, ETHERNET_SOURCE, macHigh, macLow, setMac } from '../../../core/wire/ethernet.js';
import { icmpCode, icmpType } from '../../../core/wire/icmp.js';
import { hasNeighborTarget, icmpv6Type, ND_NEIGHBOR_LENGTH, ND_TARGET } from '../../../core/wire/icmpv6.js';
import {
  ipv4Destination,
  ipv4Fragment,
  ipv4HeaderLength,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv4Ttl,
} from '../../../core/wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6HopLimit,
  ipv6NextHeader,
  ipv6PayloadLength,
  ipv6Version,
} from '../../../core/wire/ipv6.js';
import { TCP_ACK, TCP_SYN, tcpFlags, tcpHeaderLength } from '../../../core/wire/tcp.js';
import { udpLength } from '../../../core/wire/udp.js';
import { isVlanType } from '../../../core/wire/vlan.js';
import { arp, ethernet, icmp, ipv4, ipv6, tcp, udp } from './build.js';

const AT = 3;

/** The header at offset AT, with 0xa5 before and behind it. */
function place(header: Uint8Array): DataView {
  const bytes = new Uint8Array(header.length + AT + 8).fill(0xa5);
  bytes.set(header, AT);
  return new DataView(bytes.buffer);
}

test('Ethernet', (t) => {
  const view = place(ethernet(0x0800));
  t.is(macHigh(view, AT + ETHERNET_DESTINATION), 0x0242);
  t.is(macLow(view, AT + ETHERNET_DESTINATION), 0xac1e0002 | 0);
  t.is(macLow(view, AT + ETHERNET_SOURCE), 0xac1e0003 | 0);
  setMac(view, AT + ETHERNET_SOURCE, 0xfffe, -2);
  const octets = [...new Uint8Array(view.buffer, AT + 6, 6)];
  t.deepEqual(octets, [0xff, 0xfe, 0xff, 0xff, 0xff, 0xfe]);
  t.is(macHigh(view, AT + ETHERNET_SOURCE), 0xfffe);
  t.is(macLow(view, AT + ETHERNET_SOURCE), -2);
  t.is(view.getUint16(AT + 12), 0x0800, 'the type behind stays');
});

test('VLAN types', (t) => {
  t.deepEqual([0x8100, 0x88a8, 0x9100, 0x0800, -1].map(isVlanType), [true, true, false, false, false]);
});

test('ARP', (t) => {
  const view = place(arp({ operation: 2 }));
  t.is(arpOperation(view, AT), 2);
  t.is(arpSender(view, AT), 0xac1e0003 | 0);
  t.is(arpTarget(view, AT), 0xac1e0002 | 0);
  t.is(macLow(view, AT + ARP_SENDER_MAC), 0xac1e0003 | 0);
  t.is(macHigh(view, AT + ARP_TARGET_MAC), 0);
  t.is(macLow(view, AT + ARP_TARGET_MAC), 0);
});

test('IPv4', (t) => {
  const view = place(ipv4({ protocol: 17, options: 8, offset: 0x1234, more: true }, new Uint8Array(100)));
  t.is(ipv4HeaderLength(view, AT), 28);
  t.is(ipv4TotalLength(view, AT), 128);
  t.is(ipv4Fragment(view, AT), 0x3234);
  t.is(ipv4Ttl(view, AT), 64);
  t.is(ipv4Protocol(view, AT), 17);
  t.is(ipv4Source(view, AT), 0xac1e0003 | 0);
  t.is(ipv4Destination(view, AT), 0xac1e0002 | 0);
});

test('IPv6', (t) => {
  const view = place(ipv6({ nextHeader: 58 }, new Uint8Array(300)));
  t.is(ipv6Version(view, AT), 6);
  t.is(ipv6PayloadLength(view, AT), 300);
  t.is(ipv6NextHeader(view, AT), 58);
  t.is(ipv6HopLimit(view, AT), 63);
  t.is(view.getInt32(AT + IPV6_SOURCE), 0xfd000030 | 0);
  t.is(view.getInt32(AT + IPV6_SOURCE + 12), 3);
  t.is(view.getInt32(AT + IPV6_DESTINATION + 12), 2);
});

test('ICMP', (t) => {
  const message = icmp(3, new Uint8Array(4));
  message[1] = 4;
  const view = place(message);
  t.is(icmpType(view, AT), 3);
  t.is(icmpCode(view, AT), 4);
});

test('ICMPv6: a neighbor message has a target where its length covers it', (t) => {
  const target = [0xfd, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
  const body = Uint8Array.of(0, 0, 0, 0, ...target);
  for (const type of [135, 136]) {
    const view = place(icmp(type, body));
    t.is(icmpv6Type(view, AT), type);
    t.true(hasNeighborTarget(view, AT, 4 + body.length));
    t.false(hasNeighborTarget(view, AT, ND_NEIGHBOR_LENGTH - 1));
    t.deepEqual([...new Uint8Array(view.buffer, AT + ND_TARGET, 16)], target);
  }
  for (const type of [128, 133, 134, 137]) t.false(hasNeighborTarget(place(icmp(type, body)), AT, 24));
});

test('TCP and UDP', (t) => {
  const segment = place(tcp({ srcPort: 1, dstPort: 2, options: 12, flags: TCP_SYN | TCP_ACK }));
  t.is(tcpHeaderLength(segment, AT), 32);
  t.is(tcpFlags(segment, AT), 0x12);
  t.is(udpLength(place(udp({ srcPort: 1, dstPort: 2 }, new Uint8Array(5))), AT), 13);
});
