/**
 * The counters' invariant: received + made here + copied by flooding = delivered + taken in + dropped, exactly. It holds whenever no
 * frame is on its way through the switches, so the containers are stopped (SIGSTOP) until two readings of each are the same.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { DropsView } from '../../../control/views.js';
import type { Lab } from '../lab.js';
import type { Switch } from '../switch.js';

const INTERVAL_MS = 100;
const READINGS = 50;

function sum(view: DropsView): number {
  return view.drops.reduce((total, { rx, tx }) => total + rx + tx, 0);
}

async function quietReading({ client }: Switch, signal: AbortSignal): Promise<DropsView> {
  let before = '';
  for (let reading = 0; reading < READINGS; reading++) {
    const view = await client.get<DropsView>('/v1/drops');
    const text = JSON.stringify(view);
    if (text === before) return view;
    before = text;
    await sleep(INTERVAL_MS, undefined, { signal });
  }
  throw new Error(`still traffic after ${(READINGS * INTERVAL_MS) / 1000} s without senders`);
}

function signalHosts(lab: Lab, signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const { pid } of lab.endpoints) if (pid !== null) process.kill(pid, signal);
}

/** @throws Error where the sums differ */
function equation(view: DropsView): string {
  const { received, originated, copies, delivered, local } = view;
  const dropped = sum(view);
  const line = `${received} received + ${originated} made here + ${copies} copied`;
  const isEqual = received + originated + copies === delivered + local + dropped;
  if (!isEqual) throw new Error(`${line} is not ${delivered} delivered + ${local} taken in + ${dropped} dropped`);
  return `${line} = ${delivered} delivered + ${local} taken in + ${dropped} dropped`;
}

export async function counters(lab: Lab): Promise<string> {
  try {
    signalHosts(lab, 'SIGSTOP');
    const first = await quietReading(lab.first, lab.signal);
    const second = await quietReading(lab.second, lab.signal);
    return `${equation(first)}; on the second host ${equation(second)}`;
  } finally {
    signalHosts(lab, 'SIGCONT');
  }
}
