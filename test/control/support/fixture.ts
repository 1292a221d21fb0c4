/** A daemon over doubles. */

import { pino } from 'pino';
import { parseConfiguration } from '../../../control/config/load.js';
import type { Configuration } from '../../../control/config/schema.js';
import { Daemon } from '../../../control/daemon.js';
import { KeptState } from '../../../control/kept-state.js';
import { Numbers } from '../../../control/numbers.js';
import { DataplaneDouble } from './dataplane-double.js';
import { SystemDouble } from './system-double.js';

export interface Fixture {
  readonly daemon: Daemon;
  readonly dataplane: DataplaneDouble;
  readonly system: SystemDouble;
  /** Log lines so far: `level message`. */
  readonly logs: string[];
}

export const NETWORKS = `version: 1
networks:
  blue:
    subnets: [172.30.0.0/24, "fd00:30::/64"]
  red:
    subnets: [172.31.0.0/30]
`;

export function config(yaml: string): Configuration {
  return parseConfiguration(yaml, 'test.yaml');
}

/**
 * @param kept what outlives the daemon; nothing does unless given
 * @param numbers of services and backends, likewise
 */
export function makeFixture(kept = KeptState.none(), numbers = new Numbers()): Fixture {
  const logs: string[] = [];
  const write = (json: string): void => {
    const { level, msg } = JSON.parse(json) as { level: string; msg: string };
    logs.push(`${level} ${msg}`);
  };
  const logger = pino({ level: 'debug', formatters: { level: (level) => ({ level }) } }, { write });
  const dataplane = new DataplaneDouble();
  const system = new SystemDouble();
  return { daemon: new Daemon({ dataplane, logger, system, kept, numbers }), dataplane, system, logs };
}

/** What a daemon that holds nothing has left behind; empty when all is well. */
export function leftovers({ daemon, dataplane, system }: Fixture): string[] {
  return [
    ...[...daemon.endpoints.keys()].map((name) => `endpoint ${name}`),
    ...[...dataplane.livePorts.values()].map(({ name }) => `port ${name}`),
    ...[...dataplane.watched.keys()].map((fd) => `watch on ${fd}`),
    ...[...system.taps.keys()].map((tap) => `tap ${tap}`),
    ...[...system.openFds].map((fd) => `descriptor ${fd}`),
  ];
}

/** Waits until `condition` holds; fails the test's promise after two seconds. */
export async function eventually(condition: () => boolean): Promise<void> {
  const end = Date.now() + 2000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within 2 s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The kernel tells of a change of the host. */
export function hostChanged({ system, dataplane }: Fixture): void {
  for (const fd of system.changes.keys()) {
    system.changes.set(fd, true);
    const fire = dataplane.watched.get(fd);
    // A watch tells once.
    dataplane.watched.delete(fd);
    fire?.();
  }
}
