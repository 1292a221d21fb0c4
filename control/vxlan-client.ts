/** The main thread's handle on core/vxlan: the networks' own VTEPs and the neighbors that are told, kept for a worker's successor. */

import { setTimeout as sleep } from 'node:timers/promises';
import {
  type LocalVtepOptions,
  VTEP_DOWN,
  VTEP_NO_ROUTE,
  VTEP_REFUSED,
  VTEP_RESOLVING,
  VTEP_UNREACHABLE,
  VTEP_UP,
} from '../core/vxlan/vtep.js';
import { mappedWords } from './address-words.js';
import { macWords } from './mac.js';
import type { DataplaneVxlan, ProbeResult, VtepProbe, VtepStatus, VxlanSpec } from './types.js';
import type { Answer, Command, WorkerNeighbor, WorkerVtep, WorkerVxlan } from './worker-protocol.js';
import { PROBE_RECORD, VTEP_RECORD } from './worker-protocol.js';

/** Milliseconds that probes are waited for, and between two looks. */
const PROBE_WAIT = 1000;
const PROBE_LOOK = 20;

const STATES: Readonly<Record<number, VtepStatus['state']>> = {
  [VTEP_RESOLVING]: 'resolving',
  [VTEP_UP]: 'up',
  [VTEP_UNREACHABLE]: 'unreachable',
  [VTEP_NO_ROUTE]: 'no-route',
  [VTEP_DOWN]: 'down',
  [VTEP_REFUSED]: 'refused',
};

/** What `probes` says of one: no answer (yet), answered, damaged on the way. */
const OUTCOMES = ['lost', 'answered', 'wrong-checksum'] as const;

export class VxlanClient implements DataplaneVxlan {
  private readonly request: (command: Command) => Promise<Answer>;
  private readonly changed: (port: number, change: (vtep: WorkerVtep) => WorkerVtep) => void;
  private readonly locals = new Map<number, LocalVtepOptions>();
  private readonly neighbors = new Map<string, WorkerNeighbor>();

  /** @param changed keeps what a successor's port shall be */
  constructor(
    request: (command: Command) => Promise<Answer>,
    changed: (port: number, change: (vtep: WorkerVtep) => WorkerVtep) => void,
  ) {
    this.request = request;
    this.changed = changed;
  }

  /** For a worker that starts. */
  setup(): { vxlan: readonly WorkerVxlan[]; neighbors: readonly WorkerNeighbor[] } {
    return { vxlan: [...this.locals], neighbors: [...this.neighbors.values()] };
  }

  async set(network: number, spec: VxlanSpec | null): Promise<void> {
    const options = spec === null ? null : localVtep(spec);
    if (options === null) this.locals.delete(network);
    else this.locals.set(network, options);
    await this.request({ op: 'setVxlan', network, options });
  }

  async setFloods(port: number, floods: boolean): Promise<void> {
    this.changed(port, (vtep) => ({ ...vtep, floods }));
    await this.request({ op: 'setFloods', port, floods });
  }

  async status(): Promise<VtepStatus[]> {
    return readVteps((await this.request({ op: 'vxlanStatus' })) as Int32Array);
  }

  async probe(ports: readonly number[]): Promise<VtepProbe[]> {
    await this.request({ op: 'sendProbes', ports });
    const end = Date.now() + PROBE_WAIT;
    for (;;) {
      const probes = readProbes((await this.request({ op: 'probes' })) as Int32Array);
      const isDone = probes.every(({ udp, tcp, fullSize }) =>
        [udp, tcp, fullSize].every(({ outcome }) => outcome !== 'lost'),
      );
      if (isDone || Date.now() >= end) return probes;
      await sleep(PROBE_LOOK);
    }
  }

  async setNeighbor(iface: number, address: string, mac: string | null): Promise<void> {
    const key = `${iface} ${address}`;
    const words = mappedWords(address);
    if (mac === null) {
      this.neighbors.delete(key);
      await this.request({ op: 'removeNeighbor', iface, address: words });
      return;
    }
    const neighbor: WorkerNeighbor = { iface, address: words, mac: macWords(mac) };
    this.neighbors.set(key, neighbor);
    await this.request({ op: 'setNeighbor', neighbor });
  }

  /** An interface is gone, and what was told of its neighbors with it. */
  forgetInterface(iface: number): void {
    for (const [key, neighbor] of this.neighbors) if (neighbor.iface === iface) this.neighbors.delete(key);
  }
}

function localVtep(spec: VxlanSpec): LocalVtepOptions {
  const { vni, vrf, local, udpPort, ttl, groupTtl, dscp, checksum, gbp, open, suppress, mac } = spec;
  const [macHigh, macLow] = macWords(mac);
  const own = { local: Int32Array.from(mappedWords(local)), dscp: dscp === 'inherit' ? -1 : dscp, gbp: gbp ?? -1 };
  return { vni, vrf, udpPort, ttl, groupTtl, checksum, open, suppress, macHigh, macLow, ...own };
}

function readVteps(list: Int32Array): VtepStatus[] {
  const vteps: VtepStatus[] = [];
  for (let at = 0; at < list.length; at += VTEP_RECORD) {
    const [port, state, heard, mtu, gbp] = list.subarray(at, at + VTEP_RECORD);
    const heardSeconds = heard < 0 ? null : heard;
    vteps.push({ port, state: STATES[state] ?? 'down', heardSeconds, mtu, gbp: gbp < 0 ? null : gbp });
  }
  return vteps;
}

function readProbes(list: Int32Array): VtepProbe[] {
  const probes: VtepProbe[] = [];
  for (let at = 0; at < list.length; at += PROBE_RECORD) {
    const result = (kind: number): ProbeResult => readResult(list[at + 1 + 2 * kind], list[at + 2 + 2 * kind]);
    probes.push({ port: list[at], udp: result(0), tcp: result(1), fullSize: result(2) });
  }
  return probes;
}

function readResult(word: number, microseconds: number): ProbeResult {
  const outcome = OUTCOMES[word] ?? 'lost';
  return { outcome, milliseconds: outcome === 'answered' ? microseconds / 1000 : null };
}
