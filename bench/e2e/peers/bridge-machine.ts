/**
 * A machine as it is where the kernel switches: a bridge with containers on it and a wire to the host outside, veth pairs both, offloads
 * as they come. What it does between the two is for each peer to add.
 */

import type { Context, PeerName, SuiteName } from '../context.js';
import { addNamespaces, configure, enableIpv6, netnsName } from '../namespaces.js';
import type { Addresses, Host } from './peer.js';
import { defaultRouteLines, interfaceLines, RED, WIRE } from './segment.js';

export interface BridgeMachine {
  /** The machine's own namespace: bridge `red`, and `wire`; it does not forward yet. */
  readonly machine: string;
  /** On the bridge, their default routes by way of the machine. */
  readonly containers: readonly Host[];
  /** On the wire, without a route to the containers. */
  readonly outside: Host;
}

/** @param addresses of the containers, on RED */
export async function bridgeMachine(
  context: Context,
  suite: SuiteName,
  peer: PeerName,
  addresses: readonly Addresses[],
): Promise<BridgeMachine> {
  const machine = netnsName(suite, peer, 'machine');
  const containers = addresses.map((each, index) => ({ netns: netnsName(suite, peer, `container${index}`), ...each }));
  const outside: Host = { netns: netnsName(suite, peer, 'outside'), ...WIRE.host };
  const all = [machine, ...containers.map(({ netns }) => netns), outside.netns];
  await addNamespaces(context, all);
  await enableIpv6(context, all);
  await configure(context, machine, [
    'link add red type bridge',
    ...interfaceLines('red', RED.router),
    ...containers.flatMap(({ netns }, index) => [
      `link add port${index} type veth peer name eth0 netns ${netns}`,
      `link set port${index} master red up`,
    ]),
    `link add wire type veth peer name eth0 netns ${outside.netns}`,
    ...interfaceLines('wire', WIRE.router),
  ]);
  for (const [index, { netns }] of containers.entries()) {
    const lines = [...interfaceLines('eth0', addresses[index] as Addresses), ...defaultRouteLines(RED.router)];
    await configure(context, netns, lines);
  }
  await configure(context, outside.netns, interfaceLines('eth0', WIRE.host));
  return { machine, containers, outside };
}
