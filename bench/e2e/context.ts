import type { Scope } from './scope.js';

/** What every part of a run shares. */
export interface Context {
  /** Undone at the end of the run, whatever that end is. */
  readonly scope: Scope;
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly interrupt: AbortSignal;
  /** The project's folder. */
  readonly root: string;
  /** A private folder for generated files; removed with the scope. */
  readonly directory: string;
  /** Where the compiled C programs of bench/peers are. */
  readonly binaries: string;
  readonly options: Options;
  /** Progress, one line, on stderr. */
  say(line: string): void;
}

export interface Options {
  /** In the order in which they were asked for. */
  readonly suites: readonly SuiteName[];
  readonly rounds: number;
  /** Length of one measurement. */
  readonly seconds: number;
  /** Tapline's engine; undefined: its own choice. */
  readonly engine: 'uring' | 'epoll' | undefined;
  /** Scenarios to run, of every suite that has them; empty: all. */
  readonly only: readonly string[];
  readonly peers: readonly PeerName[];
  /** Endpoints of the scenario `endpoints`. */
  readonly endpoints: number;
  readonly json: boolean;
}

/** Inside one network · from network to network · between a network and the wire: as it is, behind one address, to a published port, to a service · from host to host in a tunnel. */
export const SUITE_NAMES = ['l2', 'route', 'uplink', 'nat', 'publish', 'lb', 'vxlan'] as const;
export type SuiteName = (typeof SUITE_NAMES)[number];

/**
 * `haproxy-2` is haproxy with two threads. `tapline` is as users run it; `tapline-open` has every guard of the bridge off,
 * `tapline-guarded` every one on. `tapline-kernel` is Tapline on one host and the kernel on the other.
 */
export const PEER_NAMES = [
  'kernel',
  'c-relay',
  'haproxy',
  'haproxy-2',
  'nginx',
  'tapline',
  'tapline-kernel',
  'tapline-open',
  'tapline-guarded',
] as const;
/** Those that take part unless others are asked for. */
export const DEFAULT_PEERS: readonly PeerName[] = [
  'kernel',
  'c-relay',
  'haproxy',
  'haproxy-2',
  'nginx',
  'tapline',
  'tapline-kernel',
];
/** What the guards cost is the second of these to the first. */
export const GUARD_PEERS: readonly PeerName[] = ['tapline-open', 'tapline-guarded'];
export type PeerName = (typeof PEER_NAMES)[number];
