/** A router with services, without a kernel: the lab of address translation (../nat/lab.ts), its endpoints as backends. */

import {
  EVENT_BACKEND_SUSPECT,
  EVENT_BACKEND_TRUSTED,
  EVENT_SERVICE_FLOOD,
  EVENT_SERVICE_FLOOD_OVER,
} from '../../../core/events.js';
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
  COUNT_ACTIVE,
  COUNT_FLOWS,
  COUNT_INACTIVE,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  type ServiceOptions,
} from '../../../core/lb/service.js';
import {
  FLOW_BALANCED,
  FLOW_STATE,
  FLOW_WORDS,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_MASK,
  STATE_UDP_STREAM,
} from '../../../core/nat/flow.js';
import { PUBLISHED_RECORD } from '../../../core/nat/published.js';
import { NatLab, type NatOptions, OUTSIDE, VRF, wordsOf } from '../nat/lab.js';
import { TCP } from '../nat/packets.js';
import { endOf, tcp, textOf, udp } from '../nat/wire.js';

/** States of what counts as an active flow: both sides have spoken, and not both are through. */
const ESTABLISHED = [STATE_ESTABLISHED, STATE_FIN, STATE_UDP_STREAM];
const NEWS: Readonly<Record<number, string>> = {
  [EVENT_BACKEND_SUSPECT]: 'suspect',
  [EVENT_BACKEND_TRUSTED]: 'trusted',
  [EVENT_SERVICE_FLOOD]: 'flood',
  [EVENT_SERVICE_FLOOD_OVER]: 'flood over',
};

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

export interface ServiceLabOptions extends NatOptions {
  /** A predecessor's counters of backends. */
  readonly counters?: Float64Array;
}

export class ServiceLab extends NatLab {
  readonly ending: FlowEnding;
  private readonly records = new Map<number, number[]>();

  constructor(options: ServiceLabOptions = {}) {
    super(options);
    this.ending = new FlowEnding(this.dataplane);
  }

  override configure(options: Pick<ServiceLabOptions, 'nat' | 'timeouts' | 'counters'>): void {
    // Before flows are adopted, which are counted there.
    if (options.counters !== undefined) this.flows.services.backends.counters = options.counters;
    super.configure(options);
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

  /** COUNT_FLOWS, COUNT_ACTIVE and COUNT_INACTIVE of a backend. */
  flowCounts(backend: number): number[] {
    return [COUNT_FLOWS, COUNT_ACTIVE, COUNT_INACTIVE].map((counter) => this.count(backend, counter));
  }

  /** Active and inactive flows of a backend, counted one by one in the table. */
  countFlows(backend: number): { active: number; inactive: number } {
    const { table } = this.flows;
    let active = 0;
    let inactive = 0;
    table.forEach((flow) => {
      const state = table.words[flow * FLOW_WORDS + FLOW_STATE];
      if ((state & FLOW_BALANCED) === 0 || table.backendOf(flow) !== backend) return;
      if (ESTABLISHED.includes(state & STATE_MASK)) active++;
      else inactive++;
    });
    return { active, inactive };
  }

  /** Where a client's first packet goes: "10.2.0.13:80". @throws where it goes nowhere */
  place(from: string, to: string, protocol = TCP, station = OUTSIDE): string {
    const { destination, destinationPort } = this.pass(station, protocol === TCP ? tcp(from, to) : udp(from, to));
    return textOf(destination, destinationPort);
  }

  /** Events of services and backends since the last call: "suspect 3", "flood 1". */
  news(): string[] {
    return this.events()
      .filter(({ kind }) => kind in NEWS)
      .map(({ kind, number }) => `${NEWS[kind]} ${number}`);
  }

  /** What leaves when a backend's flows end. */
  end(backend: number, tcp = true): string {
    return this.saying(() => {
      for (let from = 0; from >= 0; ) from = this.ending.end(backend, tcp, from, 100).next;
    });
  }
}
