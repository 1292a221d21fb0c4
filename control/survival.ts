/**
 * All that outlives a process, put together: the directory, the numbers, what is written down of objects, the file of the tables. Where
 * there can be none of it, the daemon says so and goes on: its connections then end with it.
 */

import { rmSync, statSync } from 'node:fs';
import type { DataplaneLogger } from './dataplane.js';
import { firstLine, TaplineError } from './errors.js';
import { KeptFile, readKept } from './kept-file.js';
import { KeptState } from './kept-state.js';
import { type KeptNumbers, type Kind, Numbers } from './numbers.js';
import { openStateDirectory, type StateDirectory, type StateDirectoryOptions } from './state-directory.js';
import { tableBytes } from './table-memory.js';

/** To be raised when numbers mean something else. */
const NUMBERS_VERSION = 1;

export interface Survival {
  readonly numbers: Numbers;
  readonly kept: KeptState;
  /** File of the tables; null: they end with the process. */
  readonly tables: string | null;
  /** Nothing is to be left. */
  remove(): void;
  /** All is to be found by the next process. */
  leave(): void;
  /** As it was found: nothing came of this process. */
  giveUp(): void;
}

/** @throws TaplineError `conflict` while another process has the socket's state */
export async function openSurvival(
  socket: string,
  maxFlows: number,
  logger: DataplaneLogger,
  options: StateDirectoryOptions = {},
): Promise<Survival> {
  let directory: StateDirectory;
  try {
    directory = await openStateDirectory(socket, options);
  } catch (error) {
    if (!(error instanceof TaplineError) || error.kind === 'conflict') throw error;
    const remedy = 'choose a --socket on a tmpfs, such as /run';
    logger.warn(`connections will not outlive this process: ${firstLine(error)}; ${remedy}`);
    return withoutDirectory();
  }
  const failed = (line: string): void => logger.warn(`the next process will not know what is here: ${line}`);
  const numbers = openNumbers(directory, logger, failed);
  const remove = (): void => {
    numbers.file.close();
    directory.remove();
  };
  const leave = (): void => {
    numbers.file.write();
    numbers.file.close();
    directory.close();
  };
  return {
    numbers: numbers.numbers,
    kept: openKept(directory, logger, failed),
    tables: tablesFile(directory, maxFlows, logger),
    remove,
    leave,
    giveUp: directory.isNew ? remove : leave,
  };
}

function withoutDirectory(): Survival {
  const nothing = (): void => undefined;
  return {
    numbers: new Numbers(),
    kept: KeptState.none(),
    tables: null,
    remove: nothing,
    leave: nothing,
    giveUp: nothing,
  };
}

/** Without the numbers that its entries have, the tables mean nothing. */
function openNumbers(
  directory: StateDirectory,
  logger: DataplaneLogger,
  failed: (line: string) => void,
): { numbers: Numbers; file: KeptFile } {
  const path = directory.file('numbers.json');
  let kept: unknown = null;
  try {
    kept = readKept(path, NUMBERS_VERSION);
  } catch (error) {
    logger.warn(`starting with empty tables: ${firstLine(error)}`);
  }
  if (kept === null) rmSync(directory.file('tables'), { force: true });
  const content = (): unknown => numbers.list();
  const file = new KeptFile({ path, version: NUMBERS_VERSION, content, failed });
  const numbers = new Numbers((kept ?? {}) as Partial<Record<Kind, KeptNumbers>>, () => file.changed());
  return { numbers, file };
}

function openKept(directory: StateDirectory, logger: DataplaneLogger, failed: (line: string) => void): KeptState {
  const path = directory.file('state.json');
  try {
    return new KeptState({ path, failed });
  } catch (error) {
    logger.warn(`what an earlier process wrote down is lost: ${firstLine(error)}`);
    rmSync(path, { force: true });
    return new KeptState({ path, failed });
  }
}

/** A page that the file system has no room for would kill the process that touches it. */
function tablesFile(directory: StateDirectory, maxFlows: number, logger: DataplaneLogger): string | null {
  const path = directory.file('tables');
  const has = (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  const needs = tableBytes(maxFlows);
  if (directory.free() + has >= needs) return path;
  rmSync(path, { force: true });
  const mebibytes = (bytes: number): string => `${Math.ceil(bytes / (1 << 20))} MiB`;
  const room = `${directory.path} has room for ${mebibytes(directory.free())}`;
  const remedy = 'make it larger, or lower nat.max_flows';
  logger.warn(`connections will not outlive this process: their tables need ${mebibytes(needs)}, ${room}; ${remedy}`);
  return null;
}
