import type { SuiteName } from '../context.js';
import { l2 } from './l2.js';
import { lb } from './lb.js';
import { nat } from './nat.js';
import { publish } from './publish.js';
import { route } from './route.js';
import type { Suite } from './suite.js';
import { uplink } from './uplink.js';
import { vxlan } from './vxlan.js';

export const SUITES: Readonly<Record<SuiteName, Suite>> = { l2, route, uplink, nat, publish, lb, vxlan };
/** Not a ratio, hence not a Scenario. */
export const ENDPOINTS = 'endpoints';

/** What --only takes of a suite. */
export function partsOf(suite: Suite): string[] {
  return [...suite.scenarios.map((scenario) => scenario.name), ...(suite.endpoints ? [ENDPOINTS] : [])];
}
