/**
 * Keeps the host's kernel from choosing ports that are Tapline's for the host's own connections: net.ipv4.ip_local_reserved_ports,
 * shared with whoever else keeps ports there. What was added is written down beside the control socket before it is added, so that
 * a process that is killed leaves a note to the next one.
 */

import { closeSync, constants, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import { formatRanges, type PortRange, parseRanges, subtractRanges } from '../port-ranges.js';
import type { System } from '../system.js';

/**
 * Each network namespace has ports of its own, and a control socket of one name may be another daemon's in each.
 *
 * @param instance the control socket; empty: nothing is written down
 */
function noteOf(instance: string): string | null {
  return instance === '' ? null : `${instance}.${statSync('/proc/self/ns/net').ino}.reserved-ports`;
}

/** The socket's directory may be one that others write in as well. */
const NOTE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
/** Fewer than these, and the host's own connections begin to fail. */
const LEAST_LEFT = 1024;

export class ReservedPorts {
  readonly #note: string | null;
  readonly #system: System;
  readonly #logger: DataplaneLogger;
  /** What was added to what others have there. */
  #ours: readonly PortRange[] = [];
  #failed = '';

  constructor(instance: string, system: System, logger: DataplaneLogger) {
    this.#note = noteOf(instance);
    this.#system = system;
    this.#logger = logger;
  }

  /** Replaces what is kept. Without it all else works: what fails is said only, and once. */
  async set(ranges: readonly PortRange[]): Promise<void> {
    try {
      await this.#set(ranges);
      this.#failed = '';
    } catch (error) {
      const line = firstLine(error);
      if (line !== this.#failed)
        this.#logger.warn(`the host may take ports of Tapline's for its own connections: ${line}`);
      this.#failed = line;
    }
  }

  async #set(ranges: readonly PortRange[]): Promise<void> {
    const others = subtractRanges(parseRanges(await this.#system.readReservedPorts()), this.#ours);
    const ours = subtractRanges(ranges, others);
    if (formatRanges(ours) === formatRanges(this.#ours)) return;
    this.#writeDown([...ours, ...this.#ours]);
    await this.#system.writeReservedPorts(formatRanges([...others, ...ours]));
    this.#ours = ours;
    this.#writeDown(ours);
    if (ours.length > 0) await this.#sayWhatIsLeft([...others, ...ours]);
  }

  async #sayWhatIsLeft(reserved: readonly PortRange[]): Promise<void> {
    const [first = 0, last = 0] = (await this.#system.readLocalPorts()).split(/\s+/).map(Number);
    const left = subtractRanges([{ first, last }], reserved).reduce(
      (sum, range) => sum + range.last - range.first + 1,
      0,
    );
    if (left >= LEAST_LEFT) return;
    const what = `the host has ${left} ports left of ${first}-${last} for its own connections`;
    this.#logger.warn(
      `${what}: address translation and published ports have the others; lower nat.ports, publish fewer, or widen net.ipv4.ip_local_port_range`,
    );
  }

  #writeDown(ranges: readonly PortRange[]): void {
    if (this.#note === null) return;
    if (ranges.length === 0) {
      rmSync(this.#note, { force: true });
      return;
    }
    const fd = openSync(this.#note, NOTE_FLAGS, 0o600);
    try {
      writeFileSync(fd, formatRanges(ranges));
    } finally {
      closeSync(fd);
    }
  }
}

/** Takes back what a killed process has added. @returns what that was, empty: nothing */
export async function restoreReservedPorts(instance: string, system: System): Promise<string> {
  const note = noteOf(instance);
  if (note === null) return '';
  let added: string;
  try {
    added = readFileSync(note, 'utf8');
  } catch {
    // None: nothing was left.
    return '';
  }
  const there = parseRanges(await system.readReservedPorts());
  await system.writeReservedPorts(formatRanges(subtractRanges(there, parseRanges(added))));
  rmSync(note, { force: true });
  return added;
}
