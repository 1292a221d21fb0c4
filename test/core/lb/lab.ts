/** A router with services, without a kernel: the lab of address translation (../nat/lab.ts), its endpoints as backends. */

import { FlowEnding } from '../../../core/lb/ending.js';
import { maglevTable } from '../../../core/lb/maglev.js';
import {
  BACKEND_ADDRESS4,
  BACKEND_ADDRESS6,
  BACKEND_COUNTERS,
  BACKEND_FLAGS,
  BACKEND_NUMBER,
  BACKEND_PORT,
  BACKEND_RECORD,
  BACKEND_UP,
  BACKEND_WEIGHT,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  type ServiceOptions,
} from '../../../core/lb/service.js';
import { PUBLISHED_RECORD } from '../../../core/nat/published.js';
import { NatLab, type NatOptions, VRF, wordsOf } from '../nat/lab.js';
import { endOf } from '../nat/wire.js';

export interface BackendSpec {
  readonly number: number;
  /** "10.2.0.13", "fd00:2::13": one of each family at most. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly weight?: number;
  readonly isDown?: boolean;
}

export interface ListenSpec {
  readonly protocol: number;
  /** "203.0.113.1:8080". */
  readonly at: string;
  readonly last?: number;
}

export interface ServiceSpec extends Partial<Omit<ServiceOptions, 'backends' | 'table'>> {
  readonly backends: readonly BackendSpec[];
  readonly tableSize?: number;
}

function backendRecord({ number, addresses, port, weight = 1, isDown = false }: BackendSpec): Int32Array {
  const record = new Int32Array(BACKEND_RECORD);
  record[BACKEND_NUMBER] = number;
  record[BACKEND_PORT] = port;
  record[BACKEND_WEIGHT] = weight;
  record[BACKEND_FLAGS] = isDown ? 0 : BACKEND_UP;
  for (const address of addresses)
    record.set(wordsOf(address), address.includes(':') ? BACKEND_ADDRESS6 : BACKEND_ADDRESS4);
  return record;
}

export function serviceOptions({ backends, tableSize = 1009, ...options }: ServiceSpec): ServiceOptions {
  const { scheduler = SCHEDULER_RR } = options;
  const hashes = scheduler === SCHEDULER_MAGLEV || scheduler === SCHEDULER_SH;
  const records = backends.map(backendRecord);
  const keys = backends.map(({ number }) => `backend-${number}`);
  const weights = backends.map(({ weight = 1 }) => weight);
  return {
    scheduler,
    direct: false,
    affinity: 0,
    floodRate: 0,
    failures: 3,
    suspectTime: 10,
    seed: 7,
    ...options,
    backends: Int32Array.from(records.flatMap((record) => [...record])),
    table: hashes ? maglevTable(tableSize, keys, weights) : new Uint16Array(0),
  };
}

export class ServiceLab extends NatLab {
  readonly ending: FlowEnding;
  private readonly records = new Map<number, number[]>();

  constructor(options: NatOptions = {}) {
    super(options);
    this.ending = new FlowEnding(this.dataplane);
  }

  get services() {
    return this.flows.services;
  }

  /** Makes a service, or replaces it. */
  serve(number: number, listen: readonly ListenSpec[], spec: ServiceSpec): void {
    this.records.set(
      number,
      listen.flatMap(({ protocol, at, last }) => {
        const { address, port } = endOf(at);
        return [VRF, protocol, ...wordsOf(address), port, last ?? port, 0, 0, 0, 0, port, 0, number];
      }),
    );
    this.services.set(number, serviceOptions(spec));
    this.tell();
  }

  /** It is no more. */
  unserve(number: number): void {
    this.records.delete(number);
    this.services.remove(number);
    this.tell();
  }

  private tell(): void {
    const records = Int32Array.from([...this.records.values()].flat());
    if (records.length % PUBLISHED_RECORD !== 0) throw new Error('a record of the wrong length');
    this.flows.published.set(records);
    this.flows.mappings.reserve(records);
    this.flows.changed();
  }

  /** A counter (COUNT_) of a backend. */
  count(backend: number, counter: number): number {
    return this.services.backends.counters[backend * BACKEND_COUNTERS + counter];
  }

  /** What leaves when a backend's flows end. */
  end(backend: number, tcp = true): string {
    return this.saying(() => {
      for (let from = 0; from >= 0; ) from = this.ending.end(backend, tcp, from, 100).next;
    });
  }
}
