/** Tables for people and JSON for machines. */

import type { Context } from './context.js';

export interface Column<T> {
  readonly title: string;
  /** Numbers are aligned to the right. */
  readonly value: (row: T) => string | number;
}

/** Not Math.max with a spread: an FDB has more rows than a call may have arguments. */
function widest(title: string, cells: readonly (readonly (string | number)[])[], column: number): number {
  return cells.reduce((width, line) => Math.max(width, String(line[column]).length), title.length);
}

/** Columns two spaces apart, no trailing spaces, one line a row, titles first. */
export function formatTable<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const cells = rows.map((row) => columns.map(({ value }) => value(row)));
  const widths = columns.map(({ title }, i) => widest(title, cells, i));
  const right = columns.map((_, i) => cells.length > 0 && cells.every((line) => typeof line[i] === 'number'));
  const format = (line: readonly (string | number)[]): string =>
    line
      .map((cell, i) => (right[i] ? String(cell).padStart(widths[i] ?? 0) : String(cell).padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return `${[columns.map(({ title }) => title), ...cells].map(format).join('\n')}\n`;
}

/** `key: value` lines, values aligned; empty values as `-`. */
export function formatRecord(record: Readonly<Record<string, string | number>>): string {
  const width = Math.max(...Object.keys(record).map((key) => key.length)) + 1;
  return Object.entries(record)
    .map(([key, value]) => `${`${key}:`.padEnd(width)} ${value === '' ? '-' : value}\n`)
    .join('');
}

export function printJson(context: Context, value: unknown): void {
  context.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Removes one after the other and prints the names of those that are gone, also when a later one fails: a line for each,
 * or a JSON list of objects with `name`.
 */
export async function removeEach(
  names: readonly string[],
  remove: (name: string) => Promise<void>,
  json: boolean,
  context: Context,
): Promise<void> {
  const removed: { name: string }[] = [];
  try {
    for (const name of names) {
      await remove(name);
      removed.push({ name });
      if (!json) context.stdout.write(`${name}\n`);
    }
  } finally {
    if (json && removed.length > 0) printJson(context, removed);
  }
}

/** All counts of a record, such as drops by reason. */
export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

export function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

/** `-` for an empty list. */
export function list(values: readonly string[]): string {
  return values.length === 0 ? '-' : values.join(' ');
}
