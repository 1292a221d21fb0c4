import type { Context, PeerName } from '../context.js';
import { onIpv6Underlay, type Site, swapped } from '../peers/peer.js';
import type { Scope } from '../scope.js';

/** One figure of one peer. `details` are further figures of the same run, by a name that carries the unit. */
export interface Measurement {
  readonly value: number;
  readonly details: Readonly<Record<string, number>>;
}

/** What a figure is held to: a ratio of Tapline's to a named peer's of the same round. */
export interface Goal {
  /** Whose figure is Tapline's: `tapline` where it is not said. */
  readonly subject?: PeerName;
  readonly reference: PeerName;
  /** Null: the ratio is shown, and no verdict given. */
  readonly bar: number | null;
  readonly aim: number | null;
  /** Further peers that Tapline's figure is set beside: none of them is a bar. */
  readonly beside?: readonly Beside[];
}

export interface Beside {
  readonly peer: PeerName;
  /** Null: the ratio is shown. */
  readonly aim: number | null;
}

export interface Scenario extends Goal {
  /** For --only. */
  readonly name: string;
  /** For the table. */
  readonly title: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Peers that have this figure. */
  readonly peers: readonly PeerName[];
  /** Programs from the host that it needs. */
  readonly tools: readonly string[];
  /** Starts what answers at the server's end; `scope` ends it after the last round. */
  prepare(context: Context, site: Site, scope: Scope): Promise<void>;
  /** Loads the site for about `seconds`. */
  measure(context: Context, site: Site, seconds: number): Promise<Measurement>;
}

type Names = Pick<Scenario, 'name' | 'title'>;

/** The same load in the other direction: what is asked for from the client's end is asked for from the server's. */
export function reversed(scenario: Scenario, names: Names): Scenario {
  return elsewhere(scenario, names, swapped);
}

/** The same load on the network whose tunnel is over IPv6. */
export function overIpv6Underlay(scenario: Scenario, names: Names): Scenario {
  return elsewhere(scenario, names, onIpv6Underlay);
}

function elsewhere(scenario: Scenario, names: Names, change: (site: Site) => Site): Scenario {
  return {
    ...scenario,
    ...names,
    prepare: (context, site, scope) => scenario.prepare(context, change(site), scope),
    measure: (context, site, seconds) => scenario.measure(context, change(site), seconds),
  };
}
