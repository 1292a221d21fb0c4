/**
 * A site for services: `a` to `d` in the network `blue`, `e` in `green`, which reach each other, and a wire with an own uplink, at whose
 * other end is the namespace `outside`. The service `web` has `a`, `b` and `c` as backends unless a test says otherwise.
 *
 *   a … d 172.30.0.2 … 5 ─ blue (172.30.0.1) ┐
 *         fd00:30::2 … 5                     ├ Tapline ─ 10.77.0.1 up0 ── out0 10.77.0.254 (outside)
 *   e 172.31.0.2 ──────── green (172.31.0.1) ┘           fd00:77::1            fd00:77::254
 */

import type { ExecutionContext } from 'ava';
import type { BackendView, ServiceView } from '../../../control/service-views.js';
import { createHosts, type Host } from './lab.js';
import { createNamespace, type Namespace } from './namespace.js';
import { send } from './published.js';
import { createOutside, OWN_UPLINK } from './site.js';
import { type StartOptions, startTapline, type Tapline } from './tapline.js';
import { eventually } from './wait.js';

/** Virtual addresses of services in `blue`. */
export const VIRTUAL = { ip: '172.30.0.100', ip6: 'fd00:30::100' };

/** Addresses of the outside from which clients may come, besides its own: as many clients as a test wants. */
export const CLIENTS = { network: '10.78.0.0/16', first: '10.78.0.1' };

export interface ServiceSite {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  readonly c: Host;
  readonly d: Host;
  readonly e: Host;
  /** Where the daemon runs; its `up0` is the uplink. */
  readonly host: Namespace;
  readonly outside: Namespace;
  /** The file, for a daemon that is started anew. */
  readonly config: object;
}

export interface ServiceSiteOptions extends StartOptions {
  /** Services by name. */
  readonly services?: Readonly<Record<string, object>>;
  /** More keys of the network `blue`. */
  readonly blue?: object;
  /** Networks in the place of those of the same name. */
  readonly networks?: Readonly<Record<string, object>>;
  /** More keys of endpoints by name. */
  readonly endpoint?: Readonly<Record<string, object>>;
  /** More keys of the file. */
  readonly file?: object;
}

/** Without a daemon. */
export async function prepareServiceSite(
  t: ExecutionContext,
  options: ServiceSiteOptions = {},
): Promise<Omit<ServiceSite, 'tapline'>> {
  const host = await createNamespace(t);
  const outside = await createOutside(t, host);
  await outside.exec('ip', 'route', 'add', 'local', CLIENTS.network, 'dev', 'lo');
  const [a, b, c, d] = (await createHosts(t, 4)) as [Host, Host, Host, Host];
  const e: Host = {
    ...(await createNamespace(t)),
    endpoint: 'e',
    ip: '172.31.0.2',
    ip6: 'fd00:31::2',
    mac: '02:42:ac:1f:00:02',
  };
  const endpoint = ({ endpoint: name, path, ip, ip6 }: Host): [string, object] => [
    name,
    { network: name === 'e' ? 'green' : 'blue', netns: path, addresses: [ip, ip6], ...options.endpoint?.[name] },
  ];
  const config = {
    version: 1,
    uplink: OWN_UPLINK,
    vrfs: { default: { interconnect: true } },
    networks: {
      blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'], ...options.blue },
      green: { subnets: ['172.31.0.0/24', 'fd00:31::/64'] },
      ...options.networks,
    },
    endpoints: Object.fromEntries([a, b, c, d, e].map(endpoint)),
    services: options.services ?? {},
    ...options.file,
  };
  return { a, b, c, d, e, host, outside, config };
}

export async function createServiceSite(t: ExecutionContext, options: ServiceSiteOptions = {}): Promise<ServiceSite> {
  const site = await prepareServiceSite(t, options);
  const tapline = await startTapline(t, site.config, { ...options, netns: site.host });
  return { ...site, tapline };
}

/** Backends as a configuration has them. @param weights one each; all 1 unless given */
export function backends(names: readonly string[], port: number, weights: readonly number[] = []): object[] {
  return names.map((endpoint, i) => ({ endpoint, port, weight: weights[i] ?? 1 }));
}

/** A service in `blue` with the backends a, b and c at port 80. */
export function service(more: object = {}): object {
  return { network: 'blue', listen: ['8080/tcp'], backends: backends(['a', 'b', 'c'], 80), ...more };
}

export function serviceOf(tapline: Tapline, name = 'web'): Promise<ServiceView> {
  return send(tapline.socket, 'GET', `/v1/services/${name}`) as Promise<ServiceView>;
}

/** @param key ENDPOINT:PORT */
export async function backendOf(tapline: Tapline, key: string, name = 'web'): Promise<BackendView> {
  const { backends: all } = await serviceOf(tapline, name);
  const backend = all.find((each) => each.name === key);
  if (backend === undefined) throw new Error(`service ${name} has no backend ${key}`);
  return backend;
}

/** Waits until a backend is as it should be. @returns milliseconds that this took */
export async function untilBackend(
  tapline: Tapline,
  key: string,
  isRight: (backend: BackendView) => boolean,
  name = 'web',
): Promise<number> {
  const began = performance.now();
  let last: BackendView | null = null;
  try {
    await eventually(`backend ${key} to change`, async () => {
      last = await backendOf(tapline, key, name);
      return isRight(last);
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}`);
  }
  return performance.now() - began;
}

export async function weigh(tapline: Tapline, key: string, weight: number, name = 'web'): Promise<void> {
  await send(tapline.socket, 'PATCH', `/v1/services/${name}/backends/${key}`, { weight });
}
