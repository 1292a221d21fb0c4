/**
 * The host outside: a namespace behind a wire of its own to the switch's, with the HTTP server of the container `web` in it. The switch
 * runs in a namespace too, in which the other end of the wire is its uplink; so the host that all this runs on has nothing of it, and
 * with the two namespaces the wire is gone.
 */

import { insideProgram } from './paths.js';

/** As examples/lab.yaml has them: the wire's addresses of the host outside and of the router, and the device of the uplink. */
export const OUTSIDE = { ipv4: '203.0.113.1', ipv6: '2001:db8:113::1' } as const;
export const ROUTER = { ipv4: '203.0.113.2', ipv6: '2001:db8:113::2' } as const;
const UPLINK = 'up0';
export const OUTSIDE_INTERFACE = 'eth0';

/**
 * Two networks reach it with addresses of their own, so it needs a way back to them. Those to the one behind address translation and to the
 * internal one must not help.
 */
const SUBNETS4 = ['172.28.0.0/24', '172.29.0.0/24', '172.30.0.0/24', '172.31.0.0/24'];
const SUBNETS6 = ['fd00:28::/64', 'fd00:29::/64', 'fd00:30::/64', 'fd00:31::/64'];

/** The command of the host outside. Says `ready` on stdout. */
export const OUTSIDE_COMMAND: readonly string[] = ['unshare', '--net', '--', process.execPath, insideProgram('server')];

const ADDRESSES = [
  `link set dev ${OUTSIDE_INTERFACE} up`,
  `address add ${OUTSIDE.ipv4}/24 dev ${OUTSIDE_INTERFACE}`,
  `address add ${OUTSIDE.ipv6}/64 dev ${OUTSIDE_INTERFACE} nodad`,
  ...SUBNETS4.map((subnet) => `route add ${subnet} via ${ROUTER.ipv4}`),
  ...SUBNETS6.map((subnet) => `route add ${subnet} via ${ROUTER.ipv6}`),
];

/** Runs in the switch's namespace: lays the wire to the process `$1` and becomes the command behind it. */
const WIRE = `set -e
if ! ip link add ${UPLINK} type veth peer name ${OUTSIDE_INTERFACE} netns "$1"; then
  echo 'cannot make a veth pair, the wire to the host outside: modprobe veth' >&2
  exit 1
fi
ip link set dev ${UPLINK} up
nsenter --net="/proc/$1/ns/net" ip -batch - <<'END'
${ADDRESSES.join('\n')}
END
shift
exec "$@"`;

/** What `command` is to be started by, so that it has the uplink. @param outside process id of the host outside */
export function wiredTo(outside: number, command: readonly string[]): string[] {
  return ['unshare', '--net', '--', 'sh', '-c', WIRE, 'sh', String(outside), ...command];
}
