import { GUARD_PEERS, type PeerName, type SuiteName } from '../context.js';
import type { Peer } from '../peers/peer.js';
import type { Scenario } from '../scenarios/scenario.js';

/** Scenarios measured over one set of peers that stand side by side. */
export interface Suite {
  readonly name: SuiteName;
  /** For the report: which way the packets go. */
  readonly title: string;
  readonly peers: Readonly<Partial<Record<PeerName, Peer>>>;
  readonly scenarios: readonly Scenario[];
  /** Whether the scenario `endpoints`, which is no ratio, belongs to it. */
  readonly endpoints: boolean;
}

/** Tapline without its guards, and with all of them, has every figure that Tapline has. */
export function takesPart(suite: Suite, peer: PeerName, scenario: Scenario): boolean {
  return suite.peers[peer] !== undefined && scenario.peers.includes(GUARD_PEERS.includes(peer) ? 'tapline' : peer);
}
