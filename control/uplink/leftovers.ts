/**
 * What a killed process has left on the host and nothing of today takes over: host ports, and guards of devices that are no shared
 * uplink any more. Both carry a mark, so that what belongs to another Tapline of the machine stays.
 */

import { createHash } from 'node:crypto';
import type { System } from '../system.js';
import { guardTable, isGuardTable, removeGuardTable } from './guard.js';

/** Of everything on the host that is one Tapline's. @param instance what tells it from others: its control socket */
export function hostMark(instance: string): string {
  return `tapline:host:${createHash('sha256').update(instance).digest('hex').slice(0, 8)}`;
}

/**
 * @param used names of those that are host ports today
 * @returns what was removed, for the log
 * @throws Error, one line
 */
export async function removeHostPorts(mark: string, used: ReadonlySet<string>, system: System): Promise<string[]> {
  const devices = system.deviceAliases();
  const isOurs = (alias: string): boolean => alias === mark || alias.startsWith(`${mark}:`);
  const ours = devices.filter(({ name, alias }) => isOurs(alias) && !used.has(name)).map(({ name }) => name);
  for (const name of ours) await system.runIp([`link del dev ${name}`]);
  return ours.map((name) => `interface ${name}`);
}

/**
 * Where nft is missing or may do nothing, nothing was left.
 *
 * @param guarded device that has a guard today; null: none
 * @returns what was removed, for the log
 * @throws Error, one line
 */
export async function removeGuards(instance: string, guarded: string | null, system: System): Promise<string[]> {
  const mark = hostMark(instance);
  const tables = await system.listNftTables('netdev').catch(() => []);
  const removed: string[] = [];
  for (const table of tables) {
    if (!isGuardTable(table) || (guarded !== null && table === guardTable(guarded))) continue;
    if (!(await system.listNftTable('netdev', table))?.includes(`"${mark}"`)) continue;
    await removeGuardTable(table, system);
    removed.push(`guard ${table}`);
  }
  return removed;
}
