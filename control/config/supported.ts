/**
 * Objects and options that the configuration contract knows and this version does not build. They are validated like all
 * others first, so that a mistake in them is found today; then they are refused, never ignored.
 */

import { invalid, type KeyPath, type Problem } from './problems.js';
import type { Configuration, NetworkConfig } from './schema.js';

function unsupported(path: KeyPath, what = ''): Problem {
  return invalid(path, `${what === '' ? '' : `${what}: `}not supported in this version`);
}

export function unsupportedNetwork(name: string, network: NetworkConfig): Problem[] {
  return network.vxlan === undefined ? [] : [unsupported(['networks', name, 'vxlan'])];
}

export function unsupportedProblems(config: Configuration): Problem[] {
  const problems: Problem[] = [];
  for (const [name, network] of config.networks) problems.push(...unsupportedNetwork(name, network));
  return problems;
}
