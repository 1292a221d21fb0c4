/** A service in the words that core/lb takes. */

import { createHash } from 'node:crypto';
import { maglevTable } from '../../core/lb/maglev.js';
import {
  BACKEND_ADDRESS4,
  BACKEND_FLAGS,
  BACKEND_NUMBER,
  BACKEND_PORT,
  BACKEND_RECORD,
  BACKEND_UP,
  BACKEND_WEIGHT,
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
  type ServiceOptions,
} from '../../core/lb/service.js';
import type { ServiceConfig } from '../config/schema.js';
import { type Backend, backendKey } from './backends.js';

const SCHEDULERS: Readonly<Record<ServiceConfig['scheduler'], number>> = {
  rr: SCHEDULER_RR,
  wrr: SCHEDULER_WRR,
  lc: SCHEDULER_LC,
  wlc: SCHEDULER_WLC,
  sh: SCHEDULER_SH,
  maglev: SCHEDULER_MAGLEV,
};

/** The table of a hashing scheduler, and what it was made of. */
export interface Table {
  readonly source: string;
  readonly entries: Uint16Array;
}

const NO_TABLE: Table = { source: '', entries: new Uint16Array(0) };

/** @param before is kept where nothing that it depends on has changed: making one takes milliseconds */
export function tableOf({ scheduler, table_size: size, backends }: ServiceConfig, before: Table = NO_TABLE): Table {
  if (scheduler !== 'sh' && scheduler !== 'maglev') return NO_TABLE;
  const keys = backends.map(backendKey);
  const weights = backends.map(({ weight }) => weight);
  const source = `${size} ${keys.join(' ')} ${weights.join(' ')}`;
  return source === before.source ? before : { source, entries: maglevTable(size, keys, weights) };
}

/** The same in every process and on every node, another for each service. */
export function seedOf(name: string): number {
  return createHash('sha256').update(name).digest().readInt32BE(0);
}

/** @param backends in the order of `config.backends` */
export function serviceOptions(
  name: string,
  config: ServiceConfig,
  backends: readonly Backend[],
  table: Table,
): ServiceOptions {
  return {
    scheduler: SCHEDULERS[config.scheduler],
    direct: config.forwarding === 'direct',
    affinity: config.affinity,
    floodRate: config.flood_rate,
    failures: config.passive.failures,
    suspectTime: config.passive.time,
    seed: seedOf(name),
    backends: backendRecords(config, backends),
    table: table.entries,
  };
}

function backendRecords({ health }: ServiceConfig, backends: readonly Backend[]): Int32Array {
  const records = new Int32Array(backends.length * BACKEND_RECORD);
  backends.forEach((backend, index) => {
    const at = index * BACKEND_RECORD;
    records[at + BACKEND_NUMBER] = backend.number;
    records[at + BACKEND_PORT] = backend.config.port;
    records[at + BACKEND_WEIGHT] = backend.config.weight;
    records[at + BACKEND_FLAGS] = backend.isUp(health !== undefined) ? BACKEND_UP : 0;
    // Both families, one behind the other.
    records.set(backend.words, at + BACKEND_ADDRESS4);
  });
  return records;
}
