/** What is wrong with a configuration, and where: shared by the schema, the checks across objects and the messages. */

import type { ErrorKind } from '../errors.js';

export type KeyPath = readonly (string | number)[];

export interface Problem {
  readonly path: KeyPath;
  /** What was expected, and what came instead; no path in it. */
  readonly message: string;
  readonly kind: ErrorKind;
}

export function invalid(path: KeyPath, message: string): Problem {
  return { path, message, kind: 'invalid' };
}

export function conflict(path: KeyPath, message: string): Problem {
  return { path, message, kind: 'conflict' };
}

/** `endpoints.a.addresses[0]`; a key that itself has a dot or other odd characters is put as `endpoints["a.b"]`. */
export function formatPath(path: KeyPath): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else if (/^[\w-]+$/.test(key)) text += text === '' ? key : `.${key}`;
    else text += `[${JSON.stringify(key)}]`;
  }
  return text;
}

/** A value as it stood in the input, short enough for an error line. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** One line for a list of problems that is not empty: the first, and how many follow. */
export function problemLine(problems: readonly Problem[]): string {
  const first = problems[0];
  if (first === undefined) throw new Error('problemLine needs a problem');
  const where = formatPath(first.path);
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return `${where === '' ? '' : `${where}: `}${first.message}${more}`;
}
