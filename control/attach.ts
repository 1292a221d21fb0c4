/**
 * One endpoint's way into its network: find the namespace, put a TAP into it, give the TAP to the dataplane, watch for its
 * end. Each step leaves on the undo stack how to take it back.
 */

import { formatAddress } from './config/address.js';
import type { EndpointConfig, NetworkConfig } from './config/schema.js';
import { gatewaysOf } from './config/subnets.js';
import { asTaplineError, type ErrorKind, TaplineError } from './errors.js';
import { type EndpointFacts, endpointPort } from './port-spec.js';
import type { System } from './system.js';
import type { Dataplane } from './types.js';
import type { UndoStack } from './undo.js';

/** The namespace that an endpoint names, found. */
export interface Place {
  readonly path: string;
  /** Device and inode; see System.namespaceIdentity. */
  readonly identity: string;
  /** The process that keeps the namespace alive, or null when a file does. */
  readonly process: { readonly pid: number; readonly pidfd: number } | null;
  /** Set for `container:`. */
  readonly container: { readonly id: string; readonly engine: string; readonly networkMode: string } | null;
}

/**
 * Finds the namespace. For a process it opens a pidfd first, so that a pid that is used again cannot deceive us:
 * `stillThere` asks afterwards whether the process was the same all along.
 *
 * @throws TaplineError `missing` with the key at fault
 */
export async function findPlace(config: EndpointConfig, system: System, undo: UndoStack): Promise<Place> {
  if (config.netns !== undefined) return netnsPlace(config.netns, system);
  if (config.pid !== undefined) return processPlace(config.pid, 'pid', system, undo);
  return containerPlace(config.container ?? '', system, undo);
}

function netnsPlace(path: string, system: System): Place {
  const identity = system.namespaceIdentity(path);
  if (identity === null || !system.isNamespace(path)) throw missingNamespace(path);
  return { path, identity, process: null, container: null };
}

export function missingNamespace(path: string): TaplineError {
  return new TaplineError('missing', `expected an existing network namespace, got ${path}, which is none`, 'netns');
}

function processPlace(pid: number, key: string, system: System, undo: UndoStack): Place {
  const pidfd = openPidfd(pid, key, system);
  undo.push('closing the pidfd', () => system.closeFd(pidfd));
  const path = `/proc/${pid}/ns/net`;
  const identity = system.namespaceIdentity(path);
  if (identity === null) throw processEnded(pid, key);
  return { path, identity, process: { pid, pidfd }, container: null };
}

function openPidfd(pid: number, key: string, system: System): number {
  try {
    return system.openPidfd(pid);
  } catch (error) {
    const { kind, detail } = asTaplineError(error, key);
    throw new TaplineError(
      kind,
      kind === 'missing' ? `expected a running process, got ${pid} (${detail})` : detail,
      key,
    );
  }
}

function processEnded(pid: number, key: string): TaplineError {
  return new TaplineError('missing', `process ${pid} ended while it was being attached`, key);
}

/** The engine is asked again once the pidfd is open: only then is the pid proven to be the container's. */
async function containerPlace(name: string, system: System, undo: UndoStack): Promise<Place> {
  const first = await system.findContainer(name);
  const place = processPlace(first.pid, 'container', system, undo);
  const second = await system.findContainer(name);
  if (second.pid !== first.pid || second.id !== first.id) {
    throw new TaplineError(
      'conflict',
      `container ${name} restarted while it was being attached; try again`,
      'container',
    );
  }
  return { ...place, container: { id: second.id, engine: second.engine, networkMode: second.networkMode } };
}

/**
 * The gateways that an endpoint has its default routes by, one of each family at most. In a bridged network those that the user
 * named: routers on the outside wire, which answer there today.
 */
export function defaultGateways(network: NetworkConfig, bridged: boolean): string[] {
  if (network.internal) return [];
  const gateways = gatewaysOf(network).filter(
    (gateway) => !bridged || network.gateways.includes(formatAddress(gateway)),
  );
  return gateways
    .filter(({ family }, index) => gateways.findIndex((other) => other.family === family) === index)
    .map(formatAddress);
}

export interface AttachRequest extends EndpointFacts {
  readonly name: string;
  /** The dataplane's number of the network. */
  readonly networkId: number;
  /** The network's, as things are, and what follows of it. */
  readonly mtu: number;
  readonly gsoMaxSize: number | undefined;
  /** Of its default routes; none where the routes of its namespace are made together. */
  readonly gateways: readonly string[];
}

/** The key behind an error of attachTap: the interface that is taken, or the namespace that is none (any more). */
function tapErrorKey(kind: ErrorKind, config: EndpointConfig): string {
  if (kind === 'conflict') return 'interface';
  return kind === 'failure' || config.netns === undefined ? '' : 'netns';
}

/**
 * Makes the TAP and the port.
 *
 * @returns the dataplane's number of the port, and whether an earlier process had left the TAP
 * @throws TaplineError; the caller unwinds the stack
 */
export async function attachPort(
  request: AttachRequest,
  place: Place,
  system: System,
  dataplane: Dataplane,
  undo: UndoStack,
): Promise<{ port: number; tookOver: boolean }> {
  const { name, config, networkId, mac, mtu, gsoMaxSize } = request;
  const addresses = [...request.addresses];
  const alias = `tapline:${name}`;
  const size = { mtu, ...(gsoMaxSize === undefined ? {} : { gsoMaxSize }) };
  const tapOptions = { netns: place.path, interface: config.interface, mac, ...size, addresses, alias };
  const routes = request.gateways.map((via) => ({ to: via.includes(':') ? '::/0' : '0.0.0.0/0', via }));
  const tap = await system.attachTap({ ...tapOptions, routes }).catch((error: unknown) => {
    throw asTaplineError(error, tapErrorKey(asTaplineError(error).kind, config));
  });
  undo.push('removing the TAP', () => tap.detach());
  if (place.process !== null && system.pidOf(place.process.pidfd) !== place.process.pid) {
    throw processEnded(place.process.pid, config.pid === undefined ? 'container' : 'pid');
  }
  const port = await dataplane.addPort({
    ...endpointPort(request),
    kind: 'tap',
    name,
    network: networkId,
    fd: tap.fd,
  });
  undo.push('removing the port', () => dataplane.removePort(port));
  return { port, tookOver: tap.tookOver };
}
