/** Networks that nobody asked for: one port of the router's, where there is nothing to switch. */

import type { NetworkSpec } from '../types.js';

export function hiddenNetwork(name: string): NetworkSpec {
  return {
    name,
    ageingSeconds: 300,
    fdbLimit: 1,
    fdbFull: 'flood',
    vlanProtocol: 0,
    multicast: { snooping: false, querier: false, unregistered: 'flood' },
    loop: { moves: 0, quarantine: 0 },
  };
}
