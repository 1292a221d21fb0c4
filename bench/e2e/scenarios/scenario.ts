import type { Context, PeerName } from '../context.js';
import type { Site } from '../peers/peer.js';
import type { Scope } from '../scope.js';

/** One figure of one peer. `details` are further figures of the same run, by a name that carries the unit. */
export interface Measurement {
  readonly value: number;
  readonly details: Readonly<Record<string, number>>;
}

/** A figure that the issue sets a bar for, as a ratio of Tapline's to a named peer's of the same round. */
export interface Scenario {
  /** For --only. */
  readonly name: string;
  /** For the table. */
  readonly title: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly reference: PeerName;
  readonly bar: number;
  readonly aim: number;
  /** Peers that have this figure. */
  readonly peers: readonly PeerName[];
  /** Programs from the host that it needs. */
  readonly tools: readonly string[];
  /** Starts what answers at the server's end; `scope` ends it after the last round. */
  prepare(context: Context, site: Site, scope: Scope): Promise<void>;
  /** Loads the site for about `seconds`. */
  measure(context: Context, site: Site, seconds: number): Promise<Measurement>;
}
