/** Networks and endpoints as they are wanted, and how far they have come. */

import type { Place } from './attach.js';
import type { EndpointConfig, NetworkConfig } from './config/schema.js';
import type { Ipam } from './ipam.js';
import type { UndoStack } from './undo.js';

export type Phase = 'starting' | 'up' | 'stopping';

export interface NetworkState {
  readonly name: string;
  readonly config: NetworkConfig;
  readonly ipam: Ipam;
  /** Bytes of IP packet, as things are: see network-mtu.ts. */
  mtu: number;
  phase: Phase;
  /** The dataplane's number; -1 before there is one. */
  id: number;
}

export interface EndpointState {
  readonly name: string;
  /** Replaced when what it publishes changes. */
  config: EndpointConfig;
  readonly undo: UndoStack;
  phase: Phase;
  /** With prefix length; empty until IPAM has chosen. */
  addresses: readonly string[];
  mac: string;
  /** Among those of its network; see IsolationClass. */
  readonly isolation: number;
  place: Place | null;
  /** The dataplane's number; -1 before there is one. */
  port: number;
}
