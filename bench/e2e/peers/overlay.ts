/**
 * Two machines joined by a wire (a veth pair, MTU 1500), a container on each, and two networks stretched over both: one in a tunnel over IPv4,
 * one in a tunnel over IPv6. What makes the tunnels is for each end to say.
 */

import type { Context, PeerName } from '../context.js';
import { addNamespaces, configure, enableIpv6, netnsName } from '../namespaces.js';
import { run } from '../processes.js';
import type { Addresses, Host, Site } from './peer.js';
import { BLUE, RED, type Segment, WIRE } from './segment.js';

/** A network that is stretched. Its first host is on the near machine, its second on the far one. */
export interface Overlay {
  readonly segment: Segment;
  readonly vni: number;
  /** The container's device in it. */
  readonly device: string;
  /** Which of a machine's addresses on the wire is the tunnel's end. */
  readonly underlay: keyof Addresses;
  /** Bytes of IP packet: the wire's less outer headers (RFC 7348, 4.3), as the kernel has it. */
  readonly mtu: number;
}

export const OVERLAYS: readonly Overlay[] = [
  { segment: RED, vni: 42, device: 'eth0', underlay: 'address', mtu: 1450 },
  { segment: BLUE, vni: 43, device: 'eth1', underlay: 'address6', mtu: 1430 },
];

/** One of the two machines. */
export interface End {
  /** Tells it from others in names. */
  readonly name: string;
  /** Its namespace, in which `up0` is its end of the wire, without an address and down. */
  readonly machine: string;
  readonly container: Host;
  /** Of the machine and of the other one, on the wire. */
  readonly local: Addresses;
  readonly remote: Addresses;
  /** The container's addresses, those of both overlays in turn. */
  readonly addresses: readonly Addresses[];
}

/** What an end has running. */
export type EndProcess = Pick<Site, 'switchPid' | 'engine'>;
/** Makes the tunnels of one end, and joins its container to them. */
export type MakeEnd = (context: Context, end: End) => Promise<EndProcess>;

/** The container of the near machine is the client. */
export async function overlaySite(context: Context, peer: PeerName, near: MakeEnd, far: MakeEnd): Promise<Site> {
  const client = endOf(
    peer,
    'near',
    WIRE.host,
    WIRE.secondHost,
    OVERLAYS.map(({ segment }) => segment.host),
  );
  const server = endOf(
    peer,
    'far',
    WIRE.secondHost,
    WIRE.host,
    OVERLAYS.map(({ segment }) => segment.secondHost),
  );
  const containers = [client, server].map(({ container }) => container.netns);
  await addNamespaces(context, [client.machine, server.machine, ...containers]);
  await enableIpv6(context, containers);
  await configure(context, client.machine, [`link add up0 type veth peer name up0 netns ${server.machine}`]);
  const processes = [await near(context, client), await far(context, server)];
  for (const end of [client, server]) await expectMtus(context, end);
  const pids = processes.flatMap(({ switchPid }) => (switchPid === null ? [] : [switchPid]));
  return {
    peer,
    client: client.container,
    server: server.container,
    switchPid: pids[0] ?? null,
    workerPids: pids.slice(1),
    engine: processes.find(({ engine }) => engine !== null)?.engine ?? null,
  };
}

function endOf(
  peer: PeerName,
  name: string,
  local: Addresses,
  remote: Addresses,
  addresses: readonly Addresses[],
): End {
  const [first, onIpv6Underlay] = addresses as [Addresses, Addresses];
  const container = { netns: netnsName('vxlan', peer, name), ...first, onIpv6Underlay };
  const machine = netnsName('vxlan', peer, name, 'machine');
  return { name: `vxlan-${peer}-${name}`, machine, container, local, remote, addresses };
}

/** Peers whose packets differ in size are not compared. */
async function expectMtus(context: Context, { container: { netns } }: End): Promise<void> {
  for (const { device, mtu } of OVERLAYS) {
    const text = await run(['ip', '-n', netns, '-json', 'link', 'show', device], context);
    const found = JSON.parse(text)[0].mtu;
    if (found !== mtu) throw new Error(`${device} in ${netns} has an MTU of ${found}, expected ${mtu}`);
  }
}
