/** What requests about services may say, and which configuration a request makes of the one before. */

import { z } from 'zod';
import { integerField, listOf, mapping, textField } from './config/fields.js';
import { formatPath } from './config/problems.js';
import { readWith } from './config/read.js';
import { backendSchema, MAX_WEIGHT, type ServiceConfig, serviceSchema } from './config/schema.js';
import { TaplineError } from './errors.js';
import { backendKey } from './lb/backends.js';

/** How many backends an error line names. */
const NAMES_IN_LINE = 8;

const KEY = 'a backend such as "a:80"';
const KEY_SYNTAX = /^[^:]+:([1-9][0-9]{0,4})$/;

/** ENDPOINT:PORT. */
const keyField = textField<string>(KEY, (text) =>
  Number(KEY_SYNTAX.exec(text)?.[1] ?? 0x10000) <= 0xffff ? { value: text } : { expected: KEY },
);

const weightField = integerField(0, MAX_WEIGHT);

export const weightBody = mapping('a JSON object with weight', { weight: weightField });

/** Changes of backends, all in one step; PATCH takes them beside the keys of a service. */
const backendChanges = mapping('a JSON object', {
  add: listOf('backends', backendSchema).default([]),
  remove: listOf('backends such as "a:80"', keyField).default([]),
  weights: z
    .record(keyField, weightField, { error: 'expected a mapping of backends such as "a:80" to weights' })
    .default({}),
});

export type BackendChanges = z.output<typeof backendChanges>;

const NO_CHANGES: BackendChanges = { add: [], remove: [], weights: {} };

function read<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = readWith(schema, input);
  if ('value' in result) return result.value;
  const [first] = result.problems;
  throw new TaplineError('invalid', first?.message ?? 'invalid', first === undefined ? '' : formatPath(first.path));
}

/** Without what is undefined: schemas fill keys in that nobody has given. */
function given(config: ServiceConfig): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * A key of a service after a request that gives it.
 *
 * @param before undefined where the service has none
 * @returns undefined for null, which puts the default back
 */
function changedKey(key: string, before: unknown, wanted: unknown): unknown {
  if (wanted === null) return undefined;
  if (!isMapping(wanted) || !isMapping(before)) return wanted;
  // A type says what all else means: with it the check is another one.
  if (key === 'health' && 'type' in wanted) return wanted;
  const merged = { ...before, ...wanted };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null && value !== undefined));
}

/**
 * The service after a PATCH: keys that are given take the place of what was, `null` that of defaults; parts of `health` and `passive` are
 * changed alone, unless a `type` makes it another check. `add`, `remove` and `weights` change single backends.
 *
 * @param request JSON, not checked yet
 * @throws TaplineError `invalid`; `missing`, `conflict` for backends
 */
export function changedService(name: string, before: ServiceConfig, request: Record<string, unknown>): ServiceConfig {
  const { add = [], remove = [], weights = {}, ...keys } = request;
  if (keys.network !== undefined && keys.network !== before.network) {
    const remedy = 'remove the service, and create it there';
    throw new TaplineError('invalid', `service ${name} stays in network ${before.network}; ${remedy}`, 'network');
  }
  const changes = read(backendChanges, { add, remove, weights });
  const changesBackends = changes.add.length + changes.remove.length + Object.keys(changes.weights).length > 0;
  if (keys.backends !== undefined && changesBackends)
    throw new TaplineError('invalid', 'expected either all backends, or add, remove and weights', 'backends');
  const merged: Record<string, unknown> = given(before);
  for (const [key, wanted] of Object.entries(keys)) {
    merged[key] = changedKey(key, merged[key], wanted);
    if (merged[key] === undefined) delete merged[key];
  }
  return changedBackends(name, read(serviceSchema, merged), changes);
}

/**
 * The service with other backends. What is new comes last.
 *
 * @throws TaplineError `missing` for what it has not, `conflict` for what it has, `invalid` for what contradicts itself
 */
export function changedBackends(
  name: string,
  before: ServiceConfig,
  { add, remove, weights }: Partial<BackendChanges>,
): ServiceConfig {
  const backends = new Map(before.backends.map((backend) => [backendKey(backend), backend]));
  const known = [...backends.keys()];
  const removed = new Set(remove);
  for (const key of removed) if (!backends.delete(key)) throw noBackend(name, key, known);
  for (const [key, weight] of Object.entries(weights ?? NO_CHANGES.weights)) {
    if (removed.has(key)) {
      const what = `expected no weight of a backend that is removed, got ${weight}`;
      throw new TaplineError('invalid', what, formatPath(['weights', key]));
    }
    const backend = backends.get(key);
    if (backend === undefined) throw noBackend(name, key, known);
    backends.set(key, { ...backend, weight });
  }
  for (const backend of add ?? NO_CHANGES.add) {
    const key = backendKey(backend);
    if (backends.has(key)) throw new TaplineError('conflict', `service ${name} has backend ${key} already`);
    backends.set(key, backend);
  }
  return { ...before, backends: [...backends.values()] };
}

/** What a request that names one is answered. @param known keys of those that there are */
export function noBackend(name: string, key: string, known: readonly string[]): TaplineError {
  const more = known.length > NAMES_IN_LINE ? ` and ${known.length - NAMES_IN_LINE} more` : '';
  const has = known.length === 0 ? 'none' : `${known.slice(0, NAMES_IN_LINE).join(', ')}${more}`;
  return new TaplineError('missing', `service ${name} has no backend ${key}; it has ${has}`);
}
