/** Mirrors: copies of what passes on some ports, sent to another. Each port knows its own targets, so that others cost nothing. */

import type { Port } from '../ports.js';

export interface Mirror {
  readonly id: number;
  /** One of the two, the other is 0. */
  readonly fromPort: number;
  readonly fromNetwork: number;
  readonly to: number;
  readonly incoming: boolean;
  readonly outgoing: boolean;
}

/**
 * Tells every port which mirrors concern it. What enters or leaves by a mirror's own target is never copied to it.
 * Not on the hot path: called when mirrors or ports come and go.
 */
export function assignMirrors(mirrors: readonly Mirror[], ports: readonly Port[]): void {
  for (const port of ports) {
    if (!port.live) continue;
    const concerned = mirrors.filter(
      (mirror) => mirror.to !== port.id && (mirror.fromPort === port.id || mirror.fromNetwork === port.network),
    );
    port.mirrorIn = targets(concerned.filter((mirror) => mirror.incoming));
    port.mirrorOut = targets(concerned.filter((mirror) => mirror.outgoing));
  }
}

function targets(mirrors: readonly Mirror[]): Int32Array | null {
  return mirrors.length === 0 ? null : Int32Array.from(new Set(mirrors.map((mirror) => mirror.to)));
}
