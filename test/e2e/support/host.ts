/**
 * A host with an uplink, and what is at the other end of the wire: the daemon runs in the namespace `host`, whose device is `up0`;
 * `out0` in the namespace `outside` is the wire's gateway. The host has addresses of its own there, and a default route.
 */

import { appendFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import type { UplinkDescription } from '../../../control/uplink/description.js';
import { nftProgram } from '../../../io/nft.js';
import { createNamespace, type Namespace } from './namespace.js';
import type { Tapline } from './tapline.js';
import { createVeth } from './wire.js';

/** Addresses on the wire; `via` is another one of the outside, `far` is one behind it. */
export const OUTSIDE = { ip: '10.77.0.254', ip6: 'fd00:77::254', via: '10.77.0.253', far: '203.0.113.9' };
export const HOST = { ip: '10.77.0.1', ip6: 'fd00:77::1' };
/** Of the router, where it has its own. */
export const ROUTER = { ip: '10.77.0.9', ip6: 'fd00:77::9' };
/** Of the containers' network, as in `lab.ts`. */
export const SUBNETS = { v4: '172.30.0.0/24', v6: 'fd00:30::/64' };

export interface Outdoors {
  readonly host: Namespace;
  readonly outside: Namespace;
  /** Runs the host's own nft there; must succeed. */
  nft(...words: string[]): Promise<string>;
}

/** Host and outside with addresses in both families; nothing of Tapline yet. */
export async function createOutdoors(t: ExecutionContext): Promise<Outdoors> {
  const host = await createNamespace(t);
  const outside = await createNamespace(t);
  await wireUp(host, outside);
  return { host, outside, nft: (...words) => host.exec(nftProgram(), ...words) };
}

/** Makes the wire, for the first time or anew. */
export async function wireUp(host: Namespace, outside: Namespace): Promise<void> {
  await createVeth(host, 'up0', outside, 'out0');
  await addHostAddresses(host);
  await addOutsideAddresses(outside);
}

/** A device that is set down loses those of IPv6. */
export async function addOutsideAddresses(outside: Namespace): Promise<void> {
  for (const address of [`${OUTSIDE.ip}/24`, `${OUTSIDE.via}/24`, `${OUTSIDE.ip6}/64`])
    await outside.exec('ip', 'address', 'replace', address, 'dev', 'out0');
  await outside.exec('ip', 'address', 'replace', `${OUTSIDE.far}/32`, 'dev', 'lo');
}

/** What an administrator gives the host's device. The IPv6 part and the default routes go when the device is set down. */
export async function addHostAddresses(host: Namespace): Promise<void> {
  await host.exec('ip', 'address', 'replace', `${HOST.ip}/24`, 'dev', 'up0');
  await host.exec('ip', 'address', 'replace', `${HOST.ip6}/64`, 'dev', 'up0');
  await host.exec('ip', 'route', 'replace', 'default', 'via', OUTSIDE.ip);
  await host.exec('ip', '-6', 'route', 'replace', 'default', 'via', OUTSIDE.ip6);
}

/** The outside's routes to the containers. */
export async function routeBack(outside: Namespace, via: { readonly ip: string; readonly ip6: string }): Promise<void> {
  await outside.exec('ip', 'route', 'replace', SUBNETS.v4, 'via', via.ip);
  await outside.exec('ip', '-6', 'route', 'replace', SUBNETS.v6, 'via', via.ip6);
}

/** The host answers and forwards whatever its stack gets, as one with Docker or virtual machines on it does. */
export async function makeForward(host: Namespace): Promise<void> {
  await host.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
}

/**
 * All that Tapline might have changed on the host: links, addresses, routes, rules, permanent neighbors, nftables, settings.
 *
 * @param running leaves out how many make the device promiscuous, which a running Tapline does
 */
export async function snapshot({ host, nft }: Outdoors, running = false): Promise<string> {
  const links = await host.exec('ip', '-o', '-d', 'link');
  const addresses = await host.exec('ip', '-o', 'address');
  const parts = [
    running ? links.replace(/promiscuity \d+/g, '') : links,
    // Lifetimes of addresses count down.
    addresses.replace(/valid_lft.*/g, ''),
    await host.exec('ip', '-o', '-4', 'route', 'show', 'table', 'all'),
    await host.exec('ip', '-o', '-6', 'route', 'show', 'table', 'all'),
    await host.exec('ip', 'rule'),
    await host.exec('ip', '-6', 'rule'),
    await host.exec('ip', 'neighbor', 'show', 'nud', 'permanent'),
    await nft('list', 'ruleset'),
    await host.exec('sysctl', '-a', '--pattern', '^net\\.ipv[46]\\.(conf|neigh|ip_|fib|icmp)'),
  ];
  return parts.join('\n');
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  readonly duplicates: number;
  readonly text: string;
}

/** What `ping` counted, whatever it was. */
export async function pingCount(from: Namespace, address: string, ...options: string[]): Promise<PingResult> {
  const { stdout, stderr } = await from.run(['ping', '-n', '-W', '2', ...options, address]);
  const counts = /(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?/.exec(stdout);
  const [sent = 0, received = 0, duplicates = 0] = (counts ?? []).slice(1).map((count) => Number(count ?? 0));
  return { sent, received, duplicates, text: `${stdout}${stderr}` };
}

/** Whether one ping is answered within two seconds. */
export async function answers(from: Namespace, address: string): Promise<boolean> {
  return (await from.run(['ping', '-n', '-c', '1', '-W', '2', address])).code === 0;
}

/** The MAC that a namespace knows for an address; empty where it knows none. */
export async function neighborMac(namespace: Namespace, address: string, device: string): Promise<string> {
  const text = await namespace.exec('ip', 'neighbor', 'show', 'to', address, 'dev', device);
  return / lladdr (\S+)/.exec(text)?.[1] ?? '';
}

/** What Tapline says of its uplink. */
export async function uplinkOf(tapline: Tapline): Promise<UplinkDescription> {
  const { uplink } = await tapline.status();
  if (uplink === null) throw new Error('there is no uplink');
  return uplink;
}

/** Each packet that came in has gone one way or the other. @returns both sides of the sum */
export async function balance(tapline: Tapline): Promise<{ readonly came: number; readonly went: number }> {
  const { received, originated, copies, delivered, local, drops } = await tapline.quiet();
  const dropped = drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0);
  return { came: received + originated + copies, went: delivered + local + dropped };
}

/** A table for the reader of the test's output; with TAPLINE_REPORT=PATH in the environment also there, in Markdown. */
export function report(t: ExecutionContext, title: string, rows: readonly (readonly string[])[]): void {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const lines = [`### ${title}`, '', line(head), line(head.map(() => '---')), ...body.map(line)];
  for (const text of lines) t.log(text);
  const path = process.env.TAPLINE_REPORT;
  if (path !== undefined) appendFileSync(path, `${lines.join('\n')}\n\n`);
}
