/**
 * The network between hosts: each is a namespace whose `up0` is at a bridge in a namespace of its own, `underlay`, where its other end is
 * the bridge port `pN`. What is between hosts can be seen, lost and narrowed there.
 *
 *   host 1  up0 10.77.0.1  ── p1 ┐
 *              fd00:77::1        ├ br0 (underlay)
 *   host 2  up0 10.77.0.2  ── p2 ┘
 */

import type { ExecutionContext } from 'ava';
import { nftProgram } from '../../../io/nft.js';
import { createNamespace, type Namespace } from './namespace.js';
import { createVeth } from './wire.js';

export interface Underlay {
  /** Where the bridge is. */
  readonly namespace: Namespace;
  /** Makes a host at it; numbers from 1. */
  addHost(number: number): Promise<OverlayHost>;
  /** Of the bridge and of both ends of all its wires; receivers first where it grows, so that no frame is ever too long for one. */
  setMtu(mtu: number): Promise<void>;
}

/** A machine of its own, where a Tapline or a kernel's VTEP runs. */
export interface OverlayHost {
  readonly namespace: Namespace;
  readonly number: number;
  /** Of the machine in the underlay, whoever has them: Tapline's own, or the kernel's. */
  readonly ip: string;
  readonly ip6: string;
  /** Device in the underlay's namespace at which all is seen that it sends and gets. */
  readonly wire: string;
}

/** A container of a host, at the network that is stretched over all of them. */
export interface Container extends Namespace {
  readonly endpoint: string;
  readonly ip: string;
  readonly ip6: string;
  readonly mac: string;
  readonly host: OverlayHost;
}

export interface UnderlayOptions {
  /** Bytes; of all its wires. */
  readonly mtu?: number;
  /** Multicast goes only to those who have joined, as the bridge hears it and asks for it; else to all. */
  readonly snooping?: boolean;
}

/** Addresses of a host in the underlay. */
export function underlayAddress(number: number): { readonly ip: string; readonly ip6: string } {
  return { ip: `10.77.0.${number}`, ip6: `fd00:77::${number}` };
}

export async function createUnderlay(t: ExecutionContext, options: UnderlayOptions = {}): Promise<Underlay> {
  const namespace = await createNamespace(t);
  const snooping = options.snooping === true ? 1 : 0;
  const bridge = ['type', 'bridge', 'mcast_snooping', `${snooping}`, 'mcast_querier', `${snooping}`];
  // Else the bridge, whose querier has the lowest address by default, waits so long before it asks.
  await namespace.exec('ip', 'link', 'add', 'br0', ...bridge, 'mcast_query_interval', '300');
  if (options.mtu !== undefined) await namespace.exec('ip', 'link', 'set', 'br0', 'mtu', `${options.mtu}`);
  await namespace.exec('ip', 'link', 'set', 'br0', 'up');
  const hosts: OverlayHost[] = [];
  const setHostMtu = async (host: OverlayHost, mtu: number): Promise<void> => {
    await namespace.exec('ip', 'link', 'set', host.wire, 'mtu', `${mtu}`);
    await host.namespace.exec('ip', 'link', 'set', 'up0', 'mtu', `${mtu}`);
  };
  return {
    namespace,
    addHost: async (number) => {
      const host = { namespace: await createNamespace(t), number, ...underlayAddress(number), wire: `p${number}` };
      await createVeth(host.namespace, 'up0', namespace, host.wire);
      if (options.mtu !== undefined) await setHostMtu(host, options.mtu);
      await namespace.exec('ip', 'link', 'set', host.wire, 'master', 'br0');
      hosts.push(host);
      return host;
    },
    setMtu: async (mtu) => {
      await namespace.exec('ip', 'link', 'set', 'br0', 'mtu', `${mtu}`);
      for (const host of hosts) await setHostMtu(host, mtu);
    },
  };
}

/** The kernel of a namespace at the underlay has the addresses of a host: of one with a kernel's VTEP, a shared uplink, or none at all. */
export async function addKernelAddresses({ namespace, ip, ip6 }: OverlayHost): Promise<void> {
  await namespace.exec('ip', 'address', 'add', `${ip}/24`, 'dev', 'up0');
  await namespace.exec('ip', 'address', 'add', `${ip6}/64`, 'dev', 'up0', 'nodad');
}

/** One packet of a hundred that the bridge forwards is lost. @returns how many were */
export async function loseOneOfHundred({ namespace }: Underlay): Promise<() => Promise<number>> {
  const chain = 'chain loss { type filter hook forward priority 0; numgen random mod 100 < 1 counter drop; }';
  await namespace.exec(nftProgram(), `table bridge lossy { ${chain}; }`);
  return async () => {
    const rules = await namespace.exec(nftProgram(), 'list', 'table', 'bridge', 'lossy');
    return Number(/counter packets (\d+)/.exec(rules)?.[1]);
  };
}

const OFFLOADS = ['tx', 'sg', 'tso', 'gso', 'tx-udp-segmentation'];

/** What leaves a device is cut and summed by the kernel first: so it is seen as it would be on a wire. */
export async function withoutOffloads(namespace: Namespace, device: string): Promise<void> {
  await namespace.exec('ethtool', '-K', device, ...OFFLOADS.flatMap((offload) => [offload, 'off']));
}

export async function withOffloads(namespace: Namespace, device: string): Promise<void> {
  await namespace.exec('ethtool', '-K', device, ...OFFLOADS.flatMap((offload) => [offload, 'on']));
}

/** A container that is not attached yet. @param place from 1: which one of its host */
export async function createContainer(t: ExecutionContext, host: OverlayHost, place = 1): Promise<Container> {
  const last = host.number * 16 + place;
  const octet = last.toString(16).padStart(2, '0');
  return {
    ...(await createNamespace(t)),
    endpoint: `${'abcdefgh'[host.number - 1]}${place}`,
    ip: `172.30.0.${last}`,
    ip6: `fd00:30::${octet}`,
    mac: `02:42:ac:1e:00:${octet}`,
    host,
  };
}
