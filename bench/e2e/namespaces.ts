/** Network namespaces of a run. Their names carry this process's pid, so that runs side by side do not meet. */

import type { Context } from './context.js';
import { run } from './processes.js';

/** Where `ip netns` keeps them. */
export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}

export function netnsName(...parts: readonly string[]): string {
  return ['tlbench', process.pid, ...parts].join('-');
}

/**
 * Makes namespaces, loopback up, and removes them at the end of the run. IPv6 is off in them, as in Docker's containers on
 * networks without an IPv6 subnet: router solicitations would keep a switch with many endpoints from being idle. `enableIpv6`
 * turns it on.
 */
export async function addNamespaces(context: Context, names: readonly string[]): Promise<void> {
  context.scope.defer(`removing namespaces ${names[0]}…`, () => removeNamespaces(names));
  await run(['ip', '-batch', '-'], { ...context, input: batch(names, (name) => `netns add ${name}`) });
  await run(['sh', '-c', SET_UP_EACH, 'sh', ...names], context);
}

const SET_UP_EACH = `
for name; do
  ip -n "$name" link set lo up || exit 1
  [ ! -e /proc/sys/net/ipv6 ] || ip netns exec "$name" sh -c '
    for each in all default; do echo 1 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; done' || exit 1
done`;

/**
 * IPv6 on, for devices that are there and for those to come. Addresses are usable at once (no duplicate address detection, RFC
 * 4862, 5.4), and none comes from router advertisements: all are given.
 */
export async function enableIpv6(context: Context, names: readonly string[]): Promise<void> {
  const settings = IPV6_SETTINGS.flatMap((each) => ['all', 'default'].map((scope) => `net/ipv6/conf/${scope}/${each}`));
  await setKernelOptions(context, names, settings);
}

const IPV6_SETTINGS = ['disable_ipv6=0', 'accept_dad=0', 'accept_ra=0'];

/** Namespaces that route between their devices, both families. */
export async function enableForwarding(context: Context, names: readonly string[]): Promise<void> {
  await setKernelOptions(context, names, ['net/ipv4/ip_forward=1', 'net/ipv6/conf/all/forwarding=1']);
}

/**
 * For a host that opens thousands of connections a second: a closed one waits 60 s in TIME_WAIT, which would use up its ports
 * within seconds, and a host that has to search for a free one would be the bottleneck.
 */
export async function enoughPorts(context: Context, netns: string): Promise<void> {
  await setKernelOptions(context, [netns], ['net/ipv4/ip_local_port_range=1024 65535', 'net/ipv4/tcp_tw_reuse=1']);
}

/** @param settings `path=value`, the path below /proc/sys; those under net/ are a namespace's own */
async function setKernelOptions(
  context: Context,
  names: readonly string[],
  settings: readonly string[],
): Promise<void> {
  for (const name of names) await run(inNamespace(name, ['sh', '-c', WRITE_EACH, 'sh', ...settings]), context);
}

const WRITE_EACH = `
for setting; do
  echo "\${setting#*=}" > "/proc/sys/\${setting%%=*}" || exit 1
done`;

/** Runs `ip` commands, a line each, inside a namespace. */
export async function configure(context: Context, netns: string, lines: readonly string[]): Promise<void> {
  await run(['ip', '-n', netns, '-batch', '-'], { ...context, input: lines.join('\n') });
}

/** A command line that runs inside a namespace; `ip netns exec` replaces itself by it, so the pid is the command's own. */
export function inNamespace(netns: string, argv: readonly string[]): string[] {
  return ['ip', 'netns', 'exec', netns, ...argv];
}

/** Not interruptible: an interrupted run ends here. Namespaces that were never made are no failure. */
async function removeNamespaces(names: readonly string[]): Promise<void> {
  const interrupt = new AbortController().signal;
  const present = new Set(
    (await run(['ip', 'netns', 'list'], { interrupt })).split('\n').map((line) => line.split(' ')[0]),
  );
  const made = names.filter((name) => present.has(name));
  if (made.length > 0)
    await run(['ip', '-batch', '-'], { interrupt, input: batch(made, (name) => `netns del ${name}`) });
}

function batch(names: readonly string[], line: (name: string) => string): string {
  return `${names.map(line).join('\n')}\n`;
}
