import type { Context, PeerName } from '../context.js';

/** One end of a peer's network: a namespace with `eth0` in it. */
export interface Host {
  readonly netns: string;
  readonly address: string;
}

/** A peer set up and running: two hosts joined by the switch under test. */
export interface Site {
  readonly peer: PeerName;
  readonly client: Host;
  readonly server: Host;
  /** The switch's process; null where the kernel is the switch. */
  readonly switchPid: number | null;
  /** The engine that Tapline runs on; null for the others. */
  readonly engine: string | null;
}

/** Makes a peer's namespaces, devices and processes; the context's scope takes them down. */
export type Peer = (context: Context) => Promise<Site>;

export const PREFIX_LENGTH = 24;
export const SUBNET = `10.99.0.0/${PREFIX_LENGTH}`;
/** .1 is left to a gateway. */
export const CLIENT_ADDRESS = '10.99.0.2';
export const SERVER_ADDRESS = '10.99.0.3';
