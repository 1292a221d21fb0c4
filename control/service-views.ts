/** What the API answers about services: how they are set, how their backends are, and what they have got. */

import type { ServiceConfig } from './config/schema.js';
import type { Daemon } from './daemon.js';
import { type BackendCounts, backendCounts, type Rate, sumCounts, sumRates } from './service-rates.js';
import type { BackendState, ServiceState } from './services.js';

export interface ServiceView extends BackendCounts {
  readonly name: string;
  readonly network: string;
  readonly vrf: string;
  readonly listen: readonly string[];
  readonly scheduler: ServiceConfig['scheduler'];
  readonly forwarding: ServiceConfig['forwarding'];
  readonly affinity: number;
  readonly table_size: number;
  readonly drain_timeout: number;
  readonly flood_rate: number;
  /** Null where health is not checked. */
  readonly health: NonNullable<ServiceConfig['health']> | null;
  readonly passive: ServiceConfig['passive'];
  /** down: no backend gets connections; the reason says why. */
  readonly state: 'up' | 'down';
  readonly reason: string;
  /** Addresses of the network that are the service's own. */
  readonly virtual: readonly string[];
  /**
   * What a client in a backend's own subnet is to that backend, whichever listener it asks. gateway: the gateway's address, so that answers
   * come back to be translated; direct: itself, and answers go straight to it.
   */
  readonly via: 'gateway' | 'direct';
  /** Of all backends together; null before the second look. */
  readonly rate: Rate | null;
  readonly backends: readonly BackendView[];
}

export interface BackendView extends BackendCounts {
  /** ENDPOINT:PORT. */
  readonly name: string;
  readonly endpoint: string;
  readonly port: number;
  readonly weight: number;
  /** Of its endpoint; empty while that is away. */
  readonly addresses: readonly string[];
  readonly state: BackendState['state'];
  /** Why it is not up; of one that is up, why nobody checks it; else empty. */
  readonly reason: string;
  /** Since when it is in that state: ISO 8601. */
  readonly since: string;
  /** Its connections fail: it gets new ones only where all others do not. */
  readonly suspect: boolean;
  /** When the connections of one that drains are ended: ISO 8601; null: they end by themselves. */
  readonly deadline: string | null;
  /** Null before the second look. */
  readonly rate: Rate | null;
}

export function serviceViews(daemon: Daemon): ServiceView[] {
  return [...daemon.services.all.values()].map((service) => serviceView(daemon, service));
}

export function serviceView(
  daemon: Daemon,
  { name, config, vrf, virtual, backends: states }: ServiceState,
): ServiceView {
  const backends = states.map((backend) => backendView(daemon, backend));
  return {
    name,
    network: config.network,
    vrf,
    listen: config.listen,
    scheduler: config.scheduler,
    forwarding: config.forwarding,
    affinity: config.affinity,
    table_size: config.table_size,
    drain_timeout: config.drain_timeout,
    flood_rate: config.flood_rate,
    health: config.health ?? null,
    passive: config.passive,
    ...serviceState(states),
    virtual,
    via: config.forwarding === 'direct' ? 'direct' : 'gateway',
    ...sumCounts(backends),
    rate: sumRates(backends.map(({ rate }) => rate)),
    backends,
  };
}

function backendView(daemon: Daemon, backend: BackendState): BackendView {
  const { key, number, config, addresses, state, reason, since, suspect, deadline } = backend;
  return {
    name: key,
    endpoint: config.endpoint,
    port: config.port,
    weight: config.weight,
    addresses,
    state,
    reason,
    since: new Date(since).toISOString(),
    suspect,
    deadline: deadline === null ? null : new Date(deadline).toISOString(),
    ...backendCounts(daemon.dataplane.services.counters, number),
    rate: daemon.serviceRates.of(number),
  };
}

/** @returns the reason as counts of what its backends are: "2 down, 1 draining" */
export function serviceState(backends: readonly Pick<BackendState, 'state'>[]): Pick<ServiceView, 'state' | 'reason'> {
  if (backends.some(({ state }) => state === 'up')) return { state: 'up', reason: '' };
  if (backends.length === 0) return { state: 'down', reason: 'no backends' };
  const counts = new Map<string, number>();
  for (const { state } of backends) counts.set(state, (counts.get(state) ?? 0) + 1);
  return { state: 'down', reason: [...counts].map(([state, count]) => `${count} ${state}`).join(', ') };
}
