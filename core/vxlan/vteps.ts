/** The table of VTEPs: (VNI, UDP port, outer source) → the port that stands for it; and of the own ones: (VNI, UDP port) → network. */

import { NumberIndex } from '../tables/number-index.js';
import { Listeners } from './listeners.js';
import type { LocalVtep, RemoteVtep } from './vtep.js';

export class Vteps {
  /** By number of the port. */
  private readonly remotes: (RemoteVtep | null)[] = [];
  private readonly index = new NumberIndex();
  /** In no order. */
  private readonly locals: LocalVtep[] = [];
  /** Of places in `locals`. */
  private readonly localIndex = new NumberIndex();
  private readonly listeners = new Listeners();
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

  /** No other one may have its VNI at its UDP port. */
  addLocal(local: LocalVtep): void {
    const { udpPort, options } = local;
    this.localIndex.insert(this.hashLocal(local.vni, udpPort), this.locals.length);
    this.locals.push(local);
    this.listeners.add(udpPort, options.local, options.vrf);
  }

  /** The last one takes its place. */
  removeLocal(local: LocalVtep): void {
    const { locals, localIndex } = this;
    const { vni, udpPort, options } = local;
    const at = this.placeOf(vni, udpPort);
    if (at < 0 || locals[at] !== local) return;
    localIndex.remove(this.hashLocal(vni, udpPort), at);
    const last = locals.pop() as LocalVtep;
    if (last !== local) {
      const hash = this.hashLocal(last.vni, last.udpPort);
      localIndex.remove(hash, locals.length);
      localIndex.insert(hash, at);
      locals[at] = last;
    }
    this.listeners.remove(udpPort, options.local, options.vrf);
  }

  /** The own VTEP of a VNI at a UDP port; null: no network has it. */
  local(vni: number, udpPort: number): LocalVtep | null {
    const at = this.placeOf(vni, udpPort);
    return at < 0 ? null : this.locals[at];
  }

  /** In `locals`; -1: it is not there. */
  private placeOf(vni: number, udpPort: number): number {
    const { localIndex, locals } = this;
    const hash = this.hashLocal(vni, udpPort);
    for (let place = localIndex.search(hash); place >= 0; place = localIndex.searchOn(place, hash)) {
      const at = localIndex.numberAt(place);
      if (locals[at].vni === vni && locals[at].udpPort === udpPort) return at;
    }
    return -1;
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
    this.listeners.add(local.udpPort, [a, b, c, d], local.options.vrf);
  }

  remove(remote: RemoteVtep): void {
    const { local, a, b, c, d, port } = remote;
    if (this.remotes[port] !== remote) return;
    this.remotes[port] = null;
    this.index.remove(this.hash(local.vni, local.udpPort, a, b, c, d), port);
    if (!remote.isGroup) return;
    if (local.group === remote) local.group = null;
    this.listeners.remove(local.udpPort, [a, b, c, d], local.options.vrf);
  }

  /** Whether packets to that UDP port and address in a VRF are for an own VTEP, or a group that one is in. */
  isListening(vrf: number, udpPort: number, a: number, b: number, c: number, d: number): boolean {
    return this.listeners.has(vrf, udpPort, a, b, c, d);
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

  private hashLocal(vni: number, udpPort: number): number {
    return this.hash(vni, udpPort, 0, 0, 0, 0);
  }

  private hash(vni: number, udpPort: number, a: number, b: number, c: number, d: number): number {
    let hash = Math.imul(vni ^ this.seed, 0x9e3779b1) ^ Math.imul(d ^ (udpPort << 16), 0x85ebca6b);
    hash ^= Math.imul(a ^ Math.imul(b, 0xc2b2ae35) ^ Math.imul(c, 0x27d4eb2f), 0x165667b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return hash ^ (hash >>> 13);
  }
}
