/** Objects that the API made in an earlier process, made again. What cannot be is said and forgotten: the daemon starts all the same. */

import type { z } from 'zod';
import { formatPath } from './config/problems.js';
import { readWith } from './config/read.js';
import type { DataplaneLogger } from './dataplane.js';
import { firstLine, TaplineError } from './errors.js';
import type { KeptState, ObjectKind } from './kept-state.js';

/** @throws TaplineError `invalid`: another build may have other rules for what it takes */
export function readKeptObject<S extends z.ZodType>(schema: S, object: unknown): z.output<S> {
  const result = readWith(schema, object);
  if ('value' in result) return result.value;
  const [first] = result.problems;
  throw new TaplineError('invalid', first?.message ?? 'invalid', first === undefined ? '' : formatPath(first.path));
}

/**
 * All objects of a kind, at once; `make` sees them in the order in which they were made.
 *
 * @param make is called without waiting for the one before
 */
export async function restoreObjects(
  kept: KeptState,
  kind: ObjectKind,
  logger: DataplaneLogger,
  make: (key: string, object: unknown) => Promise<unknown>,
): Promise<void> {
  const restoreOne = async ([key, object]: [string, unknown]): Promise<void> => {
    try {
      await make(key, object);
    } catch (error) {
      kept.removeObject(kind, key);
      logger.warn(`${kind} ${key}, made by command before the restart, is not there any more: ${firstLine(error)}`);
    }
  };
  await Promise.all(kept.objects(kind).map(restoreOne));
}
