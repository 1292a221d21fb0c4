/**
 * The kernel's address translation as Docker sets it up: a bridge with the container on it, connection tracking, MASQUERADE for what
 * leaves to elsewhere, DNAT for what comes to a published port. The rules are Docker's, written for nft.
 */

import { nftProgram } from '../../../io/nft.js';
import type { Context } from '../context.js';
import { addNamespaces, configure, enableForwarding, enableIpv6, inNamespace, netnsName } from '../namespaces.js';
import { run } from '../processes.js';
import { type Host, ipv4Only, type Site } from './peer.js';
import { PUBLISHED_PORTS } from './published.js';
import { defaultRouteLines, interfaceLines, RED, WIRE } from './segment.js';

/** Container → bridge → router that masquerades → the wire → the host outside, which knows nothing of the container's subnet. */
export async function kernelNat(context: Context): Promise<Site> {
  const { container, outside } = await build(context, 'nat');
  return { peer: 'kernel', client: container, server: ipv4Only(outside), switchPid: null, engine: null };
}

/** The host outside → the wire → port of the router → bridge → container. */
export async function kernelPublish(context: Context): Promise<Site> {
  const { container, outside } = await build(context, 'publish');
  const server = { ...container, published: WIRE.router };
  return { peer: 'kernel', client: outside, server, switchPid: null, engine: null };
}

async function build(context: Context, suite: string): Promise<{ container: Host; outside: Host }> {
  const router = netnsName(suite, 'kernel', 'router');
  const container: Host = { netns: netnsName(suite, 'kernel', 'container'), ...RED.host };
  const outside: Host = { netns: netnsName(suite, 'kernel', 'outside'), ...WIRE.host };
  const all = [router, container.netns, outside.netns];
  await addNamespaces(context, all);
  await enableIpv6(context, all);
  await enableForwarding(context, [router]);
  await configure(context, router, [
    'link add red type bridge',
    ...interfaceLines('red', RED.router),
    `link add port0 type veth peer name eth0 netns ${container.netns}`,
    'link set port0 master red up',
    `link add wire type veth peer name eth0 netns ${outside.netns}`,
    ...interfaceLines('wire', WIRE.router),
  ]);
  await configure(context, container.netns, [...interfaceLines('eth0', RED.host), ...defaultRouteLines(RED.router)]);
  await configure(context, outside.netns, interfaceLines('eth0', WIRE.host));
  await run(inNamespace(router, [nftProgram(), '-f', '-']), { ...context, input: RULES.join('\n') });
  return { container, outside };
}

const RULES = [...family('ip', RED.subnets[0], RED.host.address), ...family('ip6', RED.subnets[1], RED.host.address6)];

/** @param name of the address family @param subnet of the container's network @param host the container */
function family(name: 'ip' | 'ip6', subnet: string, host: string): string[] {
  const target = name === 'ip' ? host : `[${host}]`;
  return [
    `table ${name} nat {`,
    'chain docker {',
    'iifname "red" return',
    ...PUBLISHED_PORTS.map(({ protocol, port }) => `${protocol} dport ${port} dnat to ${target}:${port}`),
    '}',
    'chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump docker; }',
    'chain output { type nat hook output priority -100; fib daddr type local jump docker; }',
    `chain postrouting { type nat hook postrouting priority srcnat; ${name} saddr ${subnet} oifname != "red" masquerade; }`,
    '}',
    `table ${name} filter {`,
    'chain forward {',
    'type filter hook forward priority filter; policy drop;',
    'oifname "red" ct state related,established accept',
    'iifname "red" accept',
    ...PUBLISHED_PORTS.map(
      ({ protocol, port }) => `iifname != "red" oifname "red" ${name} daddr ${host} ${protocol} dport ${port} accept`,
    ),
    '}',
    '}',
  ];
}
