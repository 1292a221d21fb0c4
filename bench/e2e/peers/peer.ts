import type { Context, PeerName } from '../context.js';

/** One end of a peer's network: a namespace with `eth0` in it. */
export interface Host {
  readonly netns: string;
  readonly address: string;
  /** Where the site has IPv6. */
  readonly address6?: string;
  /** Where the other host asks for it, unless at its own addresses: where its ports are published. */
  readonly published?: Addresses;
  /** On a second network, whose tunnel is over IPv6: those of `eth1`. */
  readonly onIpv6Underlay?: Addresses;
}

/** Of both families. */
export interface Addresses {
  readonly address: string;
  readonly address6: string;
}

/** The address at which the other host asks for this one. */
export function askedAt({ address, published }: Host): string {
  return published?.address ?? address;
}

/** The same of IPv6; undefined where the site has none. */
export function askedAt6({ address6, published }: Host): string | undefined {
  return published?.address6 ?? address6;
}

/** A peer set up and running: two hosts joined by the switch or router under test. */
export interface Site {
  readonly peer: PeerName;
  readonly client: Host;
  readonly server: Host;
  /** Those that answer with `server` where it is asked for: behind a load balancer. */
  readonly furtherServers?: readonly Host[];
  /** The process of the switch or router; null where the kernel is it. */
  readonly switchPid: number | null;
  /** Processes that do its work, where it has others for that. */
  readonly workerPids?: readonly number[];
  /** The engine that Tapline runs on; null for the others. */
  readonly engine: string | null;
}

/** Every host that has to answer. */
export function serversOf({ server, furtherServers = [] }: Site): readonly Host[] {
  return [server, ...furtherServers];
}

/** Makes a peer's namespaces, devices and processes; the context's scope takes them down. */
export type Peer = (context: Context) => Promise<Site>;

/** Without IPv6: what is behind one address has that of IPv4 alone, unless told otherwise. */
export function ipv4Only({ netns, address }: Host): Host {
  return { netns, address };
}

/** The hosts' parts exchanged: the load comes from the server's end. */
export function swapped(site: Site): Site {
  return { ...site, client: site.server, server: site.client, furtherServers: [] };
}

/** Both hosts as they are on the network whose tunnel is over IPv6. Throws where the site has none. */
export function onIpv6Underlay(site: Site): Site {
  return { ...site, client: moved(site, site.client), server: moved(site, site.server) };
}

function moved({ peer }: Site, { netns, onIpv6Underlay: addresses }: Host): Host {
  if (addresses === undefined) throw new Error(`${peer} has no network with an IPv6 underlay`);
  return { netns, ...addresses };
}

export const PREFIX_LENGTH = 24;
export const SUBNET = `10.99.0.0/${PREFIX_LENGTH}`;
/** .1 is left to a gateway. */
export const CLIENT_ADDRESS = '10.99.0.2';
export const SERVER_ADDRESS = '10.99.0.3';
