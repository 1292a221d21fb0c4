/** Sets of port numbers as lists of ranges. */

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export const MAX_PORT = 65_535;

/** The same ports in as few ranges as it takes, ascending. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: { first: number; last: number }[] = [];
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last);
    else merged.push({ first, last });
  }
  return merged;
}

/** Ports of `ranges` that are not in `others`. */
export function subtractRanges(ranges: readonly PortRange[], others: readonly PortRange[]): PortRange[] {
  const gone = mergeRanges(others);
  const left: PortRange[] = [];
  for (const range of mergeRanges(ranges)) {
    let first = range.first;
    for (const other of gone) {
      if (other.last < first || other.first > range.last) continue;
      if (other.first > first) left.push({ first, last: other.first - 1 });
      first = other.last + 1;
    }
    if (first <= range.last) left.push({ first, last: range.last });
  }
  return left;
}

/**
 * A range that is free: the one that is asked for, else the lowest.
 *
 * @returns null where none is as long
 */
export function freeRange(wanted: PortRange, taken: readonly PortRange[]): PortRange | null {
  const isFree = taken.every(({ first, last }) => last < wanted.first || first > wanted.last);
  if (isFree) return wanted;
  const length = wanted.last - wanted.first;
  const gap = subtractRanges([{ first: 1, last: MAX_PORT }], taken).find(({ first, last }) => last - first >= length);
  return gap === undefined ? null : { first: gap.first, last: gap.first + length };
}

/** `8080,9000-9010`, as the kernel writes and reads it. */
export function formatRanges(ranges: readonly PortRange[]): string {
  return mergeRanges(ranges)
    .map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(',');
}

/** What cannot be read is left out: the kernel prints nothing else. */
export function parseRanges(text: string): PortRange[] {
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].map(([, first, last = first]) => {
    return { first: Number(first), last: Number(last) };
  });
}
