/** Ports and networks as the dataplane sees them: numbers, and flat member lists. */

/** Port numbers go from 1 to MAX_PORTS - 1; 0 is nobody. */
export const MAX_PORTS = 8192;
/** Network numbers go from 1 to MAX_NETWORKS - 1; they share 16 bits of an FDB key. */
export const MAX_NETWORKS = 65536;

export class Port {
  readonly id: number;
  /** Frames may go out through it. */
  live = false;
  /** The network it belongs to, or 0. */
  network = 0;

  // What the FDB remembers of the last frame received here, so that the next of the same conversation needs no search
  // (fdb.ts): the source that is known to be here, the destination, and the epochs of the FDB in which that was found.
  sourceHigh = 0;
  sourceLow = 0;
  sourceStamp = -1;
  sourceEpoch = -1;
  destinationHigh = 0;
  destinationLow = 0;
  destinationPort = 0;
  destinationEpoch = -1;

  constructor(id: number) {
    this.id = id;
  }
}

export class Network {
  readonly id: number;
  /** Seconds. */
  ageing: number;
  /** FDB entries it may hold. */
  fdbLimit: number;
  /** FDB entries it holds, counting those of removed ports until the sweep has met them. */
  fdbCount = 0;
  /** Port numbers, the first `memberCount` are valid. */
  members = new Int32Array(16);
  memberCount = 0;

  constructor(id: number, ageing: number, fdbLimit: number) {
    this.id = id;
    this.ageing = ageing;
    this.fdbLimit = fdbLimit;
  }

  addMember(port: number): void {
    if (this.memberCount === this.members.length) this.grow();
    this.members[this.memberCount++] = port;
  }

  /** The last member takes the place of the one that goes. */
  removeMember(port: number): void {
    const at = this.members.subarray(0, this.memberCount).indexOf(port);
    if (at >= 0) this.members[at] = this.members[--this.memberCount];
  }

  private grow(): void {
    const larger = new Int32Array(this.members.length * 2);
    larger.set(this.members);
    this.members = larger;
  }
}
