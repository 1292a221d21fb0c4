/** Ports that somebody outside or inside can be reached at: published ones, those that services listen on, and those of overlays. No two may meet. */

import { type Address, formatAddress, isUnspecified } from './address.js';
import { conflict, type KeyPath, type Problem } from './problems.js';

/** The place of everything that is at addresses of the uplink. */
export const AT_UPLINK = 'uplink';

/** The place of an address inside a VRF. No name of a VRF has a space. */
export function placeInside(vrf: string, address: Address): string {
  return `${vrf} ${formatAddress(address)}`;
}

/** A range of ports, whose they are, and where that is said. */
export interface Claim {
  /** AT_UPLINK, or what `placeInside` says: claims at different places do not meet. */
  readonly place: string;
  readonly protocol: string;
  /** Null: all addresses of the place; the unspecified address: all of its family. */
  readonly address: Address | null;
  readonly first: number;
  readonly last: number;
  /** As the configuration has it. */
  readonly text: string;
  readonly kind: 'endpoint' | 'service' | 'network';
  readonly owner: string;
  readonly path: KeyPath;
}

interface Ordered extends Claim {
  /** Its place among all. */
  readonly order: number;
}

function isSameAddress(a: Address | null, b: Address | null): boolean {
  if (a === null || b === null) return true;
  return a.family === b.family && (a.value === b.value || isUnspecified(a) || isUnspecified(b));
}

function overlapProblem(a: Ordered, b: Ordered): Problem {
  const [before, after] = a.order < b.order ? [a, b] : [b, a];
  const isOwn = before.kind === after.kind && before.owner === after.owner;
  const whose = isOwn ? `this ${before.kind}` : `${before.kind} ${before.owner}`;
  const what = `${after.text} is taken by ${before.text} of ${whose}`;
  return conflict(after.path, `${what}; choose other ports, or another address`);
}

/** By first port, each is compared with those before it that reach as far: seldom more than one. */
function overlapsOf(claims: Ordered[], from: number): { problem: Problem; order: number }[] {
  const found: { problem: Problem; order: number }[] = [];
  let open: Ordered[] = [];
  for (const claim of claims.sort((a, b) => a.first - b.first || a.order - b.order)) {
    open = open.filter(({ last }) => last >= claim.first);
    for (const other of open) {
      const order = Math.max(other.order, claim.order);
      if (order >= from && isSameAddress(other.address, claim.address))
        found.push({ problem: overlapProblem(other, claim), order });
    }
    open.push(claim);
  }
  return found;
}

/**
 * Claims that meet; of two the later one is at fault.
 *
 * @param from problems of those before this place in the list are left out, as known
 */
export function overlapProblems(claims: readonly Claim[], from = 0): Problem[] {
  const groups = new Map<string, Ordered[]>();
  claims.forEach((claim, order) => {
    const key = `${claim.protocol} ${claim.place}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [{ ...claim, order }]);
    else group.push({ ...claim, order });
  });
  return [...groups.values()]
    .flatMap((group) => overlapsOf(group, from))
    .sort((a, b) => a.order - b.order)
    .map(({ problem }) => problem);
}
