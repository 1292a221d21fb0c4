/**
 * The host outside: a namespace with the HTTP server of the container `web` in it, at the far end of a wire of each switch. The switches run
 * in namespaces too, in which the other ends of the wires are their uplinks; so the host that all this runs on has nothing of it, and with
 * the namespaces the wires are gone. Between the wires it is a router, by which the switches reach each other.
 */

import { insideProgram } from './paths.js';

interface Addresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** What leads from a switch to the host outside, as the switch's example has it. */
export interface Wire {
  /** Device of the host outside, and its addresses there. */
  readonly device: string;
  readonly outside: Addresses;
  /** Addresses of the switch's uplink. */
  readonly router: Addresses;
  /** To which the host outside has routes by the switch. */
  readonly subnets: readonly string[];
}

/** Device of the uplink of both switches. */
const UPLINK = 'up0';

/** As examples/lab.yaml has them. */
export const OUTSIDE: Addresses = { ipv4: '203.0.113.1', ipv6: '2001:db8:113::1' };
export const ROUTER: Addresses = { ipv4: '203.0.113.2', ipv6: '2001:db8:113::2' };

export const WIRE: Wire = {
  device: 'eth0',
  outside: OUTSIDE,
  router: ROUTER,
  // Two networks reach it with addresses of their own, so it needs a way back to them. Those to the ones behind address translation and to the
  // internal one must not help.
  subnets: [
    ...['172.27.0.0/24', '172.28.0.0/24', '172.29.0.0/24', '172.30.0.0/24', '172.31.0.0/24'],
    ...['fd00:27::/64', 'fd00:28::/64', 'fd00:29::/64', 'fd00:30::/64', 'fd00:31::/64'],
  ],
};

/** As examples/lab-second.yaml has them. */
export const SECOND_ROUTER: Addresses = { ipv4: '198.51.100.2', ipv6: '2001:db8:100::2' };

export const SECOND_WIRE: Wire = {
  device: 'eth1',
  outside: { ipv4: '198.51.100.1', ipv6: '2001:db8:100::1' },
  router: SECOND_ROUTER,
  subnets: [],
};

/**
 * Forwards IPv4, which is what the two switches say to each other. In containers /proc/sys is a mount that is read-only; in a mount namespace of
 * its own the host outside may write to it all the same.
 */
const FORWARD = `mount -o remount,bind,rw /proc/sys 2> /dev/null
if ! echo 1 > /proc/sys/net/ipv4/ip_forward; then
  echo 'cannot make the host outside a router: mount /proc/sys writable; in a container, start that one with --privileged' >&2
  exit 1
fi
exec "$@"`;

/** The command of the host outside. Says `ready` on stdout. */
export const OUTSIDE_COMMAND: readonly string[] = [
  ...['unshare', '--net', '--mount', '--', 'sh', '-c', FORWARD, 'sh'],
  ...[process.execPath, insideProgram('server')],
];

function settings({ device, outside, router, subnets }: Wire): string[] {
  return [
    `link set dev ${device} up`,
    `address add ${outside.ipv4}/24 dev ${device}`,
    `address add ${outside.ipv6}/64 dev ${device} nodad`,
    ...subnets.map((subnet) => `route add ${subnet} via ${subnet.includes(':') ? router.ipv6 : router.ipv4}`),
  ];
}

/** Runs in the switch's namespace: lays the wire to the process `$1` and becomes the command behind it. */
function script(wire: Wire): string {
  return `set -e
if ! ip link add ${UPLINK} type veth peer name ${wire.device} netns "$1"; then
  echo 'cannot make a veth pair, the wire to the host outside: modprobe veth' >&2
  exit 1
fi
ip link set dev ${UPLINK} up
nsenter --net="/proc/$1/ns/net" ip -batch - <<'END'
${settings(wire).join('\n')}
END
shift
exec "$@"`;
}

/** What `command` is to be started by, so that it has the uplink. @param outside process id of the host outside */
export function wiredTo(wire: Wire, outside: number, command: readonly string[]): string[] {
  return ['unshare', '--net', '--', 'sh', '-c', script(wire), 'sh', String(outside), ...command];
}
