/** One TCP stream for a second between two Node processes. Both of them cost as much as the switch: see bench/ for figures. */

import { addressOf, CLIENT, COURIER, DEPOT, SERVER } from '../hosts.js';
import { SINK_PORT } from '../inside/ports.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';

const MILLISECONDS = 1000;

async function stream(lab: Lab, from: string, to: string): Promise<string> {
  const args = [addressOf(lab.endpoint(to), 4), String(SINK_PORT), String(MILLISECONDS)];
  const output = await runProgramIn(lab.endpoint(from), 'send', args, lab.signal);
  const { bytes, seconds } = JSON.parse(output) as { bytes: number; seconds: number };
  return `${(bytes / 1e6).toFixed(0)} MB, all arrived, ${((bytes * 8) / seconds / 1e9).toFixed(2)} Gb/s`;
}

export const transfer = (lab: Lab): Promise<string> => stream(lab, CLIENT, SERVER);
export const overlayTransfer = (lab: Lab): Promise<string> => stream(lab, COURIER, DEPOT);
