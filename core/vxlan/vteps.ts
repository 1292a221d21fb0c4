/** The table of VTEPs: (VNI, UDP port, outer source) → the port that stands for it. */

import { NumberIndex } from '../tables/number-index.js';
import type { LocalVtep, RemoteVtep } from './vtep.js';

/** UDP port, address, VRF. */
const LISTENER = 6;

export class Vteps {
  /** By number of the port. */
  private readonly remotes: (RemoteVtep | null)[] = [];
  private readonly locals: LocalVtep[] = [];
  private readonly index = new NumberIndex();
  /** UDP port, address and VRF of each own VTEP and of each group, LISTENER words each: few. */
  private listeners = new Int32Array(0);
  private readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** All own VTEPs. */
  get own(): readonly LocalVtep[] {
    return this.locals;
  }

  forEach(visit: (remote: RemoteVtep) => void): void {
    for (const remote of this.remotes) if (remote != null) visit(remote);
  }

  addLocal(local: LocalVtep): void {
    this.locals.push(local);
    this.listen();
  }

  removeLocal(local: LocalVtep): void {
    const at = this.locals.indexOf(local);
    if (at >= 0) this.locals.splice(at, 1);
    this.listen();
  }

  /** The own VTEP of a VNI at a UDP port; null: no network has it. */
  local(vni: number, udpPort: number): LocalVtep | null {
    for (const local of this.locals) if (local.vni === vni && local.udpPort === udpPort) return local;
    return null;
  }

  /** @throws RangeError where the network has this VTEP already */
  add(remote: RemoteVtep): void {
    const { local, a, b, c, d, port } = remote;
    if (this.find(local.vni, local.udpPort, a, b, c, d) !== null)
      throw new RangeError('the network has this VTEP already');
    while (this.remotes.length <= port) this.remotes.push(null);
    this.remotes[port] = remote;
    this.index.insert(this.hash(local.vni, local.udpPort, a, b, c, d), port);
    if (!remote.isGroup) return;
    local.group = remote;
    this.listen();
  }

  remove(remote: RemoteVtep): void {
    const { local, a, b, c, d, port } = remote;
    if (this.remotes[port] !== remote) return;
    this.remotes[port] = null;
    this.index.remove(this.hash(local.vni, local.udpPort, a, b, c, d), port);
    if (!remote.isGroup) return;
    if (local.group === remote) local.group = null;
    this.listen();
  }

  private listen(): void {
    const words = new Set<string>();
    for (const { udpPort, options } of this.locals) words.add(`${udpPort} ${options.local.join(' ')} ${options.vrf}`);
    this.forEach(({ isGroup, local, a, b, c, d }) => {
      if (isGroup) words.add(`${local.udpPort} ${a} ${b} ${c} ${d} ${local.options.vrf}`);
    });
    this.listeners = Int32Array.from([...words].flatMap((text) => text.split(' ').map(Number)));
  }

  /** Whether packets to that UDP port and address in a VRF are for an own VTEP, or a group that one is in. */
  isListening(vrf: number, udpPort: number, a: number, b: number, c: number, d: number): boolean {
    const { listeners } = this;
    for (let at = 0; at < listeners.length; at += LISTENER) {
      if (listeners[at] !== udpPort || listeners[at + 4] !== d || listeners[at + 3] !== c) continue;
      if (listeners[at + 2] === b && listeners[at + 1] === a && listeners[at + 5] === vrf) return true;
    }
    return false;
  }

  /** The VTEP of that address in the network of that VNI; null: it is not known. */
  find(vni: number, udpPort: number, a: number, b: number, c: number, d: number): RemoteVtep | null {
    const { index } = this;
    const hash = this.hash(vni, udpPort, a, b, c, d);
    for (let place = index.search(hash); place >= 0; place = index.searchOn(place, hash)) {
      const remote = this.remotes[index.numberAt(place)] as RemoteVtep;
      if (remote.d === d && remote.c === c && remote.b === b && remote.a === a) {
        const { local } = remote;
        if (local.vni === vni && local.udpPort === udpPort) return remote;
      }
    }
    return null;
  }

  private hash(vni: number, udpPort: number, a: number, b: number, c: number, d: number): number {
    let hash = Math.imul(vni ^ this.seed, 0x9e3779b1) ^ Math.imul(d ^ (udpPort << 16), 0x85ebca6b);
    hash ^= Math.imul(a ^ Math.imul(b, 0xc2b2ae35) ^ Math.imul(c, 0x27d4eb2f), 0x165667b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return hash ^ (hash >>> 13);
  }
}
