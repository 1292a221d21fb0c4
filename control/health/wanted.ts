/** Which servers are to be checked, and how: what follows from services, endpoints and networks as they are now. */

import { parseStatus, readListen } from '../config/fields.js';
import type { BackendConfig, HealthConfig, ServiceConfig } from '../config/schema.js';
import type { HttpCheck, Target } from './messages.js';

/** What is to be known of a service and its backends. */
export interface CheckedService {
  readonly name: string;
  readonly config: ServiceConfig;
  readonly vrf: string;
  readonly backends: readonly CheckedBackend[];
}

export interface CheckedBackend {
  /** "a:80". */
  readonly key: string;
  readonly config: BackendConfig;
  /** The dataplane's. */
  readonly number: number;
  /** Of its endpoint, without prefix length; none while that is away. */
  readonly addresses: readonly string[];
  /** `starting`: a first result is waited for. */
  readonly state: string;
}

/** A backend that is to be checked. */
export interface WantedCheck {
  readonly service: string;
  readonly backend: string;
  readonly endpoint: string;
  readonly number: number;
  readonly vrf: string;
  /** Where its endpoint is. */
  readonly network: string;
  /** A first result is waited for. */
  readonly isNew: boolean;
  readonly target: Omit<Target, 'id' | 'up'>;
}

const ANY_STATUS = { first: 200, last: 399 };
const DEFAULT_PORTS = { http: 80, https: 443 } as const;

/** @param networkOf the network of an endpoint; undefined while there is no such endpoint */
export function wantedChecks(
  services: Iterable<CheckedService>,
  networkOf: (endpoint: string) => string | undefined,
): WantedCheck[] {
  const wanted: WantedCheck[] = [];
  for (const service of services) {
    const { health, listen } = service.config;
    if (health === undefined) continue;
    const isIpv6 = isForIpv6Alone(listen);
    for (const backend of service.backends) {
      const { endpoint } = backend.config;
      const network = networkOf(endpoint);
      const address = backend.addresses.find((one) => one.includes(':') === isIpv6) ?? backend.addresses[0];
      if (network === undefined || address === undefined) continue;
      const { key, number } = backend;
      const target = targetOf(health, address, health.port ?? backend.config.port);
      const isNew = backend.state === 'starting';
      wanted.push({ service: service.name, backend: key, endpoint, number, vrf: service.vrf, network, isNew, target });
    }
  }
  return wanted;
}

/** Connections come over the family of the listeners, so that is what is checked: IPv4 where it may be either. */
function isForIpv6Alone(listen: readonly string[]): boolean {
  return listen.every((text) => {
    const read = readListen(text);
    return 'value' in read && read.value.address?.family === 6;
  });
}

function targetOf(health: HealthConfig, address: string, port: number): Omit<Target, 'id' | 'up'> {
  return {
    address,
    port,
    http: health.type === 'tcp' ? null : httpCheck(health, health.type, address, port),
    interval: health.interval * 1000,
    timeout: health.timeout * 1000,
    rise: health.rise,
    fall: health.fall,
  };
}

function httpCheck(health: HealthConfig, type: 'http' | 'https', address: string, port: number): HttpCheck {
  const { path = '/', host, status, body = '' } = health;
  const name = address.includes(':') ? `[${address}]` : address;
  // RFC 9110, 7.2: without the port where it is the scheme's own.
  const own = port === DEFAULT_PORTS[type] ? name : `${name}:${port}`;
  const codes = status === undefined ? ANY_STATUS : parseStatus(String(status));
  if (codes === null) throw new Error(`not a status: ${status}`);
  return { secure: type === 'https', path, host: host ?? own, ...codes, body };
}
