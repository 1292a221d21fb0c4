/**
 * What tests of address translation need besides a site: somebody further out than the wire, behind a router of small packets; datagrams of
 * any size that say on arrival from where they seemed to come; and a watch for addresses that must never be seen outside.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type Tcpdump, tcpdump, temporaryDirectory } from './frames.js';
import { createNamespace, type Namespace } from './namespace.js';
import { type Background, describe } from './process.js';
import { PYTHON } from './scapy.js';
import { createVeth } from './wire.js';

/** Behind the namespace `outside`, which routes to it. */
export const FAR = { ip: '203.0.113.9', ip6: '2001:db8:9::9' };
const FAR_ROUTER = { ip: '203.0.113.254', ip6: '2001:db8:9::254' };
/** Of the link to it: smaller than any other on the way. */
export const FAR_MTU = 1300;

/** A host behind the outside, over a link of `FAR_MTU`. */
export async function createFar(t: ExecutionContext, outside: Namespace): Promise<Namespace> {
  const far = await createNamespace(t);
  await createVeth(outside, 'out1', far, 'far0');
  // Outside first: a packet that is too long for the link must be refused before it, not lost behind it.
  await outside.exec('ip', 'link', 'set', 'out1', 'mtu', String(FAR_MTU));
  await far.exec('ip', 'link', 'set', 'far0', 'mtu', String(FAR_MTU));
  await outside.exec('ip', 'address', 'add', `${FAR_ROUTER.ip}/24`, 'dev', 'out1');
  await outside.exec('ip', 'address', 'add', `${FAR_ROUTER.ip6}/64`, 'dev', 'out1', 'nodad');
  await far.exec('ip', 'address', 'add', `${FAR.ip}/24`, 'dev', 'far0');
  await far.exec('ip', 'address', 'add', `${FAR.ip6}/64`, 'dev', 'far0', 'nodad');
  await far.exec('ip', 'route', 'add', 'default', 'via', FAR_ROUTER.ip);
  await far.exec('ip', '-6', 'route', 'add', 'default', 'via', FAR_ROUTER.ip6);
  await outside.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  for (const namespace of [outside, far]) await unlimitErrors(namespace);
  return far;
}

/** Linux sends one ICMP error a second to each destination; traceroute asks faster. */
export async function unlimitErrors(namespace: Namespace): Promise<void> {
  await namespace.exec('sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0');
}

/** Watches the wire for packets from addresses of the networks, which no translation may let out. */
export async function watchPrivate(t: ExecutionContext, outside: Namespace): Promise<Tcpdump> {
  const filter = 'src net 172.16.0.0/12 or src net fd00:30::/64 or src net fd00:31::/64';
  return tcpdump(t, outside, { device: 'out0', direction: 'in', filter });
}

const MIRROR = `
import hashlib, socket, sys, threading
port = int(sys.argv[1])

def serve(s):
    while True:
        data, peer = s.recvfrom(65536)
        print(peer[0], peer[1], len(data), hashlib.sha1(data).hexdigest(), flush=True)
        s.sendto(f'{peer[0]} {peer[1]}\\n'.encode() + data, peer)

for family in (socket.AF_INET, socket.AF_INET6):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(('::' if family == socket.AF_INET6 else '0.0.0.0', port))
    threading.Thread(target=serve, args=(s,), daemon=True).start()
print('ready', flush=True)
threading.Event().wait()
`;

/** Sends back each datagram with its sender in front; says of each: sender, port, length, SHA-1. */
export async function startMirror(t: ExecutionContext, where: Namespace, port: number): Promise<Background> {
  const file = join(temporaryDirectory(t), 'mirror.py');
  writeFileSync(file, MIRROR);
  const mirror = where.start(PYTHON, file, String(port));
  await mirror.said(/^ready$/m);
  return mirror;
}

const DATAGRAMS = `
import errno, json, os, socket, sys
address, port, count, size, own = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
family = socket.AF_INET6 if ':' in address else socket.AF_INET
data = os.urandom(size)

def open_one(i):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(('::' if family == socket.AF_INET6 else '0.0.0.0', own + i if own else 0))
    s.settimeout(3)
    s.connect((address, port))
    return s

def ask(s):
    try:
        s.send(data)
        head, back = s.recv(65536).split(b'\\n', 1)
        peer, peer_port = head.decode().split()
        return {'own': s.getsockname()[1], 'peer': peer, 'port': int(peer_port), 'same': back == data}
    except socket.timeout:
        return {'error': 'ETIMEDOUT'}
    except OSError as error:
        return {'error': errno.errorcode[error.errno]}

sockets = [open_one(i) for i in range(count)]
json.dump([ask(s) for s in sockets], sys.stdout)
`;

/** How a datagram came back: from where it seemed to come, and whether it is what was sent; or the error's name. */
export interface Reflection {
  readonly own?: number;
  readonly peer?: string;
  readonly port?: number;
  readonly same?: boolean;
  readonly error?: string;
}

export interface DatagramOptions {
  /** Sockets that are open at the same time, each asking once. */
  readonly count?: number;
  /** Bytes. */
  readonly size?: number;
  /** Port of the first socket; those behind it have the next. 0: any. */
  readonly own?: number;
}

/** Asks a mirror by datagrams from sockets of their own. */
export async function reflect(
  from: Namespace,
  address: string,
  port: number,
  { count = 1, size = 16, own = 0 }: DatagramOptions = {},
): Promise<Reflection[]> {
  const result = await from.run([PYTHON, '-c', DATAGRAMS, address, ...[port, count, size, own].map(String)]);
  if (result.code !== 0) throw new Error(`datagrams: ${describe(result)}`);
  return JSON.parse(result.stdout) as Reflection[];
}

const CONNECTIONS = `
import json, socket, sys
own, targets = int(sys.argv[1]), sys.argv[2:]

def open_one(target):
    address, port = target.rsplit(':', 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.settimeout(5)
    s.bind(('0.0.0.0', own))
    s.connect((address, int(port)))
    return s

def ask(s):
    s.send(b'who am I?')
    head, body = s.makefile('rb').read().split(b'\\r\\n\\r\\n', 1)
    name, port, peer, peer_port = body.decode().split()
    return {'peer': peer, 'port': int(peer_port)}

json.dump([ask(s) for s in [open_one(target) for target in targets]], sys.stdout)
`;

/** From where connections from one port seem to come that are open at the same time. @param targets ADDRESS:PORT of `serve` */
export async function connections(from: Namespace, own: number, targets: readonly string[]): Promise<Reflection[]> {
  const result = await from.run([PYTHON, '-c', CONNECTIONS, String(own), ...targets]);
  if (result.code !== 0) throw new Error(`connections: ${describe(result)}`);
  return JSON.parse(result.stdout) as Reflection[];
}

/** The addresses of the hops that a traceroute names, in order; `*` for one that said nothing. */
export async function hopsOf(from: Namespace, ...argv: string[]): Promise<string[]> {
  const text = await from.exec(...argv);
  return [...text.matchAll(/^ *\d+[.:?|\s-]+\s*([0-9a-f.:]+|\*|\?\?\?|no reply)\b/gm)].map((match) => match[1]!);
}

/** Fragments of a datagram in scapy's words, the last one first. */
export function reversedFragments(source: string, destination: string, port: number, size: number): string {
  const isIpv6 = destination.includes(':');
  const udp = `UDP(sport=4444,dport=${port})/Raw(b'r'*${size})`;
  if (!isIpv6) return `fragment(IP(src='${source}',dst='${destination}',id=77)/${udp},fragsize=1200)[::-1]`;
  return `fragment6(IPv6(src='${source}',dst='${destination}')/IPv6ExtHdrFragment(id=77)/${udp},1280)[::-1]`;
}

/** Sends packets that scapy makes of an expression of a list out of an interface, in order. @param to MAC */
export async function sendPackets(from: Namespace, device: string, to: string, expression: string): Promise<void> {
  const frames = `[Ether(src=get_if_hwaddr('${device}'), dst='${to}')/p for p in ${expression}]`;
  const script = `from scapy.all import *\nsendp(${frames}, iface='${device}', verbose=False)`;
  const result = await from.run([PYTHON, '-c', script]);
  if (result.code !== 0) throw new Error(`scapy: ${describe(result)}`);
}
