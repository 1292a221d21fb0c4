/** The whole process put together: socket, dataplane, daemon, API, configuration; and taken apart again. */

import type { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { Api } from './api.js';
import { type Configuration, DEFAULT_NAT } from './config/schema.js';
import { Daemon } from './daemon.js';
import { type StartOptions, startDataplane } from './dataplane.js';
import { asTaplineError, TaplineError } from './errors.js';
import { claimSocket } from './socket.js';
import { openSurvival } from './survival.js';
import { realSystem, type System } from './system.js';
import type { Dataplane } from './types.js';

export type EngineChoice = 'auto' | 'uring' | 'epoll';

export interface UpOptions {
  /** Configuration file; null starts an empty daemon. */
  readonly file: string | null;
  readonly engine: EngineChoice;
  readonly socket: string;
  readonly logger: Logger;
  /** Of `bootWorker`; one is booted unless given. */
  readonly worker?: Worker;
  /** Stand-ins for tests. */
  readonly system?: System;
  readonly startDataplane?: (options: StartOptions) => Promise<Dataplane>;
}

/** A daemon that is starting or runs. */
export interface RunningTapline {
  readonly daemon: Daemon;
  /** Resolves when everything in the file is up; rejects with one line, and then nothing is left. */
  readonly ready: Promise<void>;
  /** Removes all that was made, also in the middle of starting; further calls wait for the first. */
  stop(): Promise<void>;
  /** Ends, and leaves all that was made to the next process, once all of it is up. */
  leave(): Promise<void>;
}

const EMPTY: Configuration = {
  uplink: null,
  vrfs: new Map(),
  networks: new Map(),
  endpoints: new Map(),
  mirrors: new Map(),
  services: new Map(),
  policy: [],
  nat: DEFAULT_NAT,
};

/**
 * Starts everything. Resolves as soon as there is something to stop; `ready` tells when all of it is up.
 *
 * @throws TaplineError: `invalid` for the file, `conflict` when another daemon has the socket, `failure` for the system
 */
export async function startTapline(options: UpOptions): Promise<RunningTapline> {
  const { file, engine, socket, logger } = options;
  const config = file === null ? EMPTY : await (await import('./config/load.js')).loadConfiguration(file);
  await claimSocket(socket);
  const maxFlows = config.nat.max_flows;
  const survival = await openSurvival(socket, maxFlows, logger);
  const { numbers, tables, kept } = survival;
  const start = options.startDataplane ?? startDataplane;
  const dataplane = await start({ engine, logger, maxFlows, numbers, tables, worker: options.worker }).catch(
    (error: unknown) => {
      survival.giveUp();
      throw error;
    },
  );
  const daemon = new Daemon({
    dataplane,
    logger,
    system: options.system ?? realSystem,
    instance: socket,
    kept,
    numbers,
  });
  // First of all, since packets may wait for it; meanwhile the API's modules are loaded.
  const applied = daemon.apply(config);
  applied.catch(() => undefined);
  let api: Api;
  try {
    const { startApi } = await import('./api.js');
    api = await startApi(daemon, logger, socket);
  } catch (error) {
    await daemon.stop();
    await dataplane.stop();
    survival.remove();
    throw error;
  }
  let stopped: Promise<void> | null = null;
  const stopAll = async (): Promise<void> => {
    await daemon.stop();
    await api.close();
    await dataplane.stop();
    survival.remove();
  };
  const leaveAll = async (): Promise<void> => {
    await daemon.leave();
    await api.close();
    await dataplane.stop();
    survival.leave();
  };
  const leave = (): Promise<void> => {
    stopped ??= leaveAll();
    return stopped;
  };
  const stop = (): Promise<void> => {
    stopped ??= stopAll();
    return stopped;
  };
  const ready = applied.catch(async (error: unknown) => {
    await stop();
    throw inFile(error, file);
  });
  return { daemon, ready, stop, leave };
}

/**
 * The error line with the file's name in front of the key path. The daemon was empty, so a conflict is one between the
 * file's objects, or with what the container already has: in either case the file asks for what it cannot have.
 */
function inFile(error: unknown, file: string | null): TaplineError {
  const { kind, message } = asTaplineError(error);
  if (file === null) return new TaplineError(kind, message);
  return new TaplineError(kind === 'conflict' ? 'invalid' : kind, `${file}: ${message}`);
}
