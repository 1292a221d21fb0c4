/** What main thread and worker say to each other. Commands go over a MessagePort with an eventfd to wake the worker out of the kernel. */

import type { MessagePort } from 'node:worker_threads';
import type { EngineResources } from '../io/engine.js';
import type { EngineName, FdbEntry } from './types.js';

/** Handed to the worker at its start. Memory is given by address, so that a new worker goes on with the tables of a dead one. */
export interface WorkerSetup {
  readonly engine: EngineName;
  readonly arenaAddress: number;
  readonly arenaLength: number;
  readonly counters: SharedArrayBuffer;
  readonly fdbWords: SharedArrayBuffer;
  readonly fdbCapacity: number;
  readonly portGenerations: SharedArrayBuffer;
  readonly seed: number;
  readonly wakeupFd: number;
  readonly commands: MessagePort;
  /** What a predecessor had: in place before the first packet and the first sweep of the FDB. */
  readonly networks: readonly WorkerNetwork[];
  readonly ports: readonly WorkerPort[];
  readonly watches: readonly WorkerWatch[];
  readonly captures: readonly WorkerCapture[];
}

/** A descriptor that the main thread wants to know readable. */
export interface WorkerWatch {
  /** From 1. */
  readonly token: number;
  readonly fd: number;
}

export interface WorkerPort {
  readonly id: number;
  readonly network: number;
  readonly fd: number;
  /** PORT_TAP or PORT_PACKET. */
  readonly kind: number;
  /** MAC that is behind the port for good: first two octets, last four. */
  readonly staticMac: readonly [high: number, low: number] | null;
}

export interface WorkerNetwork {
  readonly id: number;
  readonly ageing: number;
  readonly fdbLimit: number;
}

export interface WorkerCapture {
  readonly id: number;
  /** 0: any. */
  readonly port: number;
  /** 0: any. */
  readonly network: number;
  readonly snapLength: number;
  readonly ring: SharedArrayBuffer;
}

export type Command =
  | { op: 'addNetwork'; network: WorkerNetwork }
  | { op: 'removeNetwork'; id: number }
  | { op: 'addPort'; port: WorkerPort }
  | { op: 'removePort'; id: number }
  | { op: 'watch'; watch: WorkerWatch }
  | { op: 'unwatch'; token: number }
  | { op: 'fdb' }
  | { op: 'status' }
  | { op: 'capture'; capture: WorkerCapture }
  | { op: 'endCapture'; id: number }
  | { op: 'stop' };

export interface Request {
  readonly id: number;
  readonly command: Command;
}

export interface WorkerStatus {
  readonly freeSlots: number;
  readonly fdbEntries: number;
  readonly fdbFull: number;
}

export type Reply =
  /** First of all, as soon as there is an engine. */
  | { kind: 'started'; resources: EngineResources }
  | { kind: 'done'; id: number; value: FdbEntry[] | WorkerStatus | null }
  | { kind: 'failed'; id: number; error: string }
  | { kind: 'portDown'; port: number; errno: number }
  | { kind: 'readable'; token: number }
  | { kind: 'captured' }
  /** Something that ends neither a request nor the worker. */
  | { kind: 'trouble'; error: string };
