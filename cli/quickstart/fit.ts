/** Tables that fit the terminal: columns that matter least go first, and what is still too long is cut. */

import { type Column, formatTable } from '../output.js';

export interface FittingColumn<T> extends Column<T> {
  /** Columns with the highest number are left out first; 0 stays. */
  readonly expendable: number;
}

/** @param width columns of the terminal @returns lines without line ends */
export function fitTable<T>(columns: readonly FittingColumn<T>[], rows: readonly T[], width: number): string[] {
  const lines = formatTable(columns, rows).trimEnd().split('\n');
  if (lines.every((line) => line.length <= width)) return lines;
  const most = Math.max(...columns.map(({ expendable }) => expendable));
  if (most === 0) return lines.map((line) => line.slice(0, width));
  return fitTable(
    columns.filter(({ expendable }) => expendable < most),
    rows,
    width,
  );
}
