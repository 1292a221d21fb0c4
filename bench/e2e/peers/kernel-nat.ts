/**
 * The kernel's address translation as Docker sets it up: a bridge with the containers on it, connection tracking, MASQUERADE for what
 * leaves to elsewhere, DNAT for what comes to a published port. The rules are Docker's, written for nft; those that share connections out
 * are the usual ones of nft.
 */

import { nftProgram } from '../../../io/nft.js';
import type { Context, SuiteName } from '../context.js';
import { enableForwarding, inNamespace } from '../namespaces.js';
import { run } from '../processes.js';
import { balancedSite, HTTP_SERVICE, SAME_BACKEND_SERVICE } from './balanced.js';
import { type BridgeMachine, bridgeMachine } from './bridge-machine.js';
import { type Addresses, type Host, ipv4Only, type Site } from './peer.js';
import { PUBLISHED_PORTS } from './published.js';
import { BACKENDS, RED, WIRE } from './segment.js';

/** Container → bridge → router that masquerades → the wire → the host outside, which knows nothing of the container's subnet. */
export async function kernelNat(context: Context): Promise<Site> {
  const { containers, outside } = await build(context, 'nat', [RED.host], PUBLISHED_RULES);
  return { peer: 'kernel', client: containers[0] as Host, server: ipv4Only(outside), switchPid: null, engine: null };
}

/** The host outside → the wire → port of the router → bridge → container. */
export async function kernelPublish(context: Context): Promise<Site> {
  const { containers, outside } = await build(context, 'publish', [RED.host], PUBLISHED_RULES);
  const server = { ...(containers[0] as Host), published: WIRE.router };
  return { peer: 'kernel', client: outside, server, switchPid: null, engine: null };
}

/** The host outside → the wire → port of the router → bridge → one of the containers. */
export async function kernelBalanced(context: Context): Promise<Site> {
  const built = await build(context, 'lb', BACKENDS, BALANCED_RULES);
  return balancedSite('kernel', built, { switchPid: null, engine: null });
}

async function build(
  context: Context,
  suite: SuiteName,
  addresses: readonly Addresses[],
  rules: readonly string[],
): Promise<BridgeMachine> {
  const built = await bridgeMachine(context, suite, 'kernel', addresses);
  await enableForwarding(context, [built.machine]);
  await run(inNamespace(built.machine, [nftProgram(), '-f', '-']), { ...context, input: rules.join('\n') });
  return built;
}

type Family = 'ip' | 'ip6';

const PUBLISHED_RULES = [
  ...publishedFamily('ip', RED.subnets[0], RED.host.address),
  ...publishedFamily('ip6', RED.subnets[1], RED.host.address6),
];

/** @param subnet of the container's network @param host the container */
function publishedFamily(family: Family, subnet: string, host: string): string[] {
  const target = family === 'ip' ? host : `[${host}]`;
  return tables(
    family,
    subnet,
    PUBLISHED_PORTS.map(({ protocol, port }) => `${protocol} dport ${port} dnat to ${target}:${port}`),
    PUBLISHED_PORTS.map(({ protocol, port }) => `${family} daddr ${host} ${protocol} dport ${port}`),
  );
}

const BALANCED_RULES = [
  ...tables(
    'ip',
    RED.subnets[0],
    [
      `tcp dport ${HTTP_SERVICE.port} dnat to numgen inc mod ${backendMap()}`,
      `tcp dport ${SAME_BACKEND_SERVICE.port} dnat to jhash ip saddr mod ${backendMap()}`,
    ],
    [HTTP_SERVICE, SAME_BACKEND_SERVICE].map(
      ({ port }) => `ip daddr { ${BACKENDS.map(({ address }) => address).join(', ')} } tcp dport ${port}`,
    ),
  ),
  ...tables('ip6', RED.subnets[1], [], []),
];

/** "2 map { 0 : 10.99.1.2, 1 : 10.99.1.3 }" */
function backendMap(): string {
  const entries = BACKENDS.map(({ address }, index) => `${index} : ${address}`);
  return `${entries.length} map { ${entries.join(', ')} }`;
}

/**
 * Docker's tables of one family.
 * @param subnet of the containers' network
 * @param targets rules that say where packets to the router's own addresses go
 * @param accepted matches of what may be forwarded to containers, besides answers
 */
function tables(family: Family, subnet: string, targets: readonly string[], accepted: readonly string[]): string[] {
  return [
    `table ${family} nat {`,
    'chain docker {',
    'iifname "red" return',
    ...targets,
    '}',
    'chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump docker; }',
    'chain output { type nat hook output priority -100; fib daddr type local jump docker; }',
    `chain postrouting { type nat hook postrouting priority srcnat; ${family} saddr ${subnet} oifname != "red" masquerade; }`,
    '}',
    `table ${family} filter {`,
    'chain forward {',
    'type filter hook forward priority filter; policy drop;',
    'oifname "red" ct state related,established accept',
    'iifname "red" accept',
    ...accepted.map((match) => `iifname != "red" oifname "red" ${match} accept`),
    '}',
    '}',
  ];
}
