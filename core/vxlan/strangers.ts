/** VTEPs that are heard in open networks and are no ports yet: control is told of them, so often that it cannot miss it, and no more. */

import type { Dataplane } from '../dataplane.js';
import { EVENT_VTEP_HEARD } from '../events.js';
import type { LocalVtep } from './vtep.js';

/** Events a second at most: with that many strangers a flood is going on, not a network growing. */
const A_SECOND = 16;

export class Strangers {
  private readonly dataplane: Dataplane;
  private second = -1;
  private told = 0;
  private lastD = 0;
  private lastC = 0;

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
  }

  tell({ network }: LocalVtep, a: number, b: number, c: number, d: number): void {
    const { now, events } = this.dataplane;
    if (now !== this.second) {
      this.second = now;
      this.told = 0;
    } else if ((d === this.lastD && c === this.lastC) || this.told >= A_SECOND) return;
    this.lastD = d;
    this.lastC = c;
    this.told++;
    events.addWithAddress(EVENT_VTEP_HEARD, network.domain.fid, 0, 0, 0, a, b, c, d);
  }
}
