/** Checks of mirrors: what they name must exist, and no copy may be copied back to where it came from. */

import { conflict, invalid, type KeyPath, type Problem } from './problems.js';
import type { Configuration, MirrorConfig } from './schema.js';

type Mirrors = Configuration['mirrors'];

/** Network of an endpoint, or undefined. */
export type NetworkOf = (endpoint: string) => string | undefined;

/** What a mirror copies, in words: `endpoint a`, `network blue`, `the uplink`. */
export function mirrorSource({ from }: MirrorConfig): string {
  if (from.endpoint !== undefined) return `endpoint ${from.endpoint}`;
  return from.network === undefined ? 'the uplink' : `network ${from.network}`;
}

/** True when `second` copies the frames that `first` sends. A mirror of a network leaves its own target's frames out. */
function feeds(first: MirrorConfig, second: MirrorConfig, networkOf: NetworkOf): boolean {
  if (second.from.endpoint !== undefined) return second.from.endpoint === first.to;
  return second.from.network !== undefined && second.from.network === networkOf(first.to) && second.to !== first.to;
}

/**
 * The mirrors that would send copies round in a circle with this one, in the order of the circle and without it; or null.
 * Follows every mirror at most once.
 */
export function mirrorCycle(name: string, mirrors: Mirrors, networkOf: NetworkOf): string[] | null {
  const start = mirrors.get(name);
  if (start === undefined) return null;
  const seen = new Set<string>([name]);
  const follow = (mirror: MirrorConfig, way: readonly string[]): string[] | null => {
    if (way.length > 0 && feeds(mirror, start, networkOf)) return [...way];
    for (const [next, candidate] of mirrors) {
      if (seen.has(next) || !feeds(mirror, candidate, networkOf)) continue;
      seen.add(next);
      const found = follow(candidate, [...way, next]);
      if (found !== null) return found;
    }
    return null;
  };
  return follow(start, []);
}

function missing(path: KeyPath, what: string, name: string): Problem {
  return { path, kind: 'missing', message: `expected the name of ${what}, got ${JSON.stringify(name)}` };
}

function checkNames(path: KeyPath, { from, to }: MirrorConfig, config: Configuration): Problem[] {
  const problems: Problem[] = [];
  if (from.network !== undefined && !config.networks.has(from.network))
    problems.push(missing([...path, 'from', 'network'], 'a network', from.network));
  if (from.endpoint !== undefined && !config.endpoints.has(from.endpoint))
    problems.push(missing([...path, 'from', 'endpoint'], 'an endpoint', from.endpoint));
  if (from.uplink && config.uplink === null)
    problems.push({ path: [...path, 'from', 'uplink'], kind: 'missing', message: 'no uplink is configured' });
  if (!config.endpoints.has(to)) problems.push(missing([...path, 'to'], 'an endpoint', to));
  return problems;
}

/** One mirror against the others, of which those that come later are not yet there. */
export function checkMirror(name: string, config: Configuration): Problem[] {
  const mirror = config.mirrors.get(name);
  if (mirror === undefined) return [];
  const path = ['mirrors', name];
  const problems = checkNames(path, mirror, config);
  if (mirror.from.endpoint === mirror.to)
    problems.push(
      invalid([...path, 'to'], `expected another endpoint than the one that it copies, got "${mirror.to}"`),
    );
  const cycle = mirrorCycle(name, config.mirrors, (endpoint) => config.endpoints.get(endpoint)?.network);
  if (cycle !== null) {
    const others = `${cycle.length === 1 ? 'mirror' : 'mirrors'} ${cycle.join(', ')}`;
    problems.push(conflict([...path, 'to'], `copies would go round in a circle with ${others}`));
  }
  return problems;
}

export function checkMirrors(config: Configuration): Problem[] {
  const before = new Map<string, MirrorConfig>();
  const problems: Problem[] = [];
  for (const [name, mirror] of config.mirrors) {
    before.set(name, mirror);
    problems.push(...checkMirror(name, { ...config, mirrors: before }));
  }
  return problems;
}
