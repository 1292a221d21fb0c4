/** Reads untrusted values through the schemas and turns zod's issues into Tapline's problems. */

import type { z } from 'zod';
import { describeValue, invalid, type KeyPath, type Problem } from './problems.js';

export type ReadResult<T> = { readonly value: T } | { readonly problems: readonly Problem[] };

function valueAt(input: unknown, path: KeyPath): unknown {
  let value = input;
  for (const key of path) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}

function issueProblems(issue: z.core.$ZodIssue, input: unknown, base: KeyPath): Problem[] {
  const path = issue.path as KeyPath;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => invalid([...base, ...path, key], issue.message));
  }
  if (issue.code === 'invalid_key') {
    return [invalid([...base, ...path], issue.issues[0]?.message ?? issue.message)];
  }
  if (issue.code === 'custom' && issue.params?.complete === true) return [invalid([...base, ...path], issue.message)];
  const value = valueAt(input, path);
  const message = value === undefined ? `missing; ${issue.message}` : `${issue.message}, got ${describeValue(value)}`;
  return [invalid([...base, ...path], message)];
}

/** Position of a problem in the input, so that the first problem is the first that a reader of the file meets. */
function sourceOrder(input: unknown, path: KeyPath): number[] {
  const order: number[] = [];
  let value = input;
  for (const key of path) {
    if (value === null || typeof value !== 'object') break;
    const index = typeof key === 'number' ? key : Object.keys(value).indexOf(key);
    order.push(index < 0 ? Number.MAX_SAFE_INTEGER : index);
    value = valueAt(value, [key]);
  }
  return order;
}

function compareOrder(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/**
 * @param base path of `input` inside the file, put before every problem's own path
 * @returns the value with its defaults, or at least one problem, in the order of the input
 */
export function readWith<S extends z.ZodType>(schema: S, input: unknown, base: KeyPath = []): ReadResult<z.output<S>> {
  const result = schema.safeParse(input);
  if (result.success) return { value: result.data };
  const problems = result.error.issues.flatMap((issue) => issueProblems(issue, input, base));
  const keyed = problems.map((problem) => ({ problem, order: sourceOrder(input, problem.path.slice(base.length)) }));
  keyed.sort((a, b) => compareOrder(a.order, b.order));
  return { problems: keyed.map(({ problem }) => problem) };
}
