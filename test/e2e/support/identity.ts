/** Each packet has exactly one end: the sum that must come out even, whatever was sent. */

import type { ExecutionContext } from 'ava';
import type { DropsView } from '../../../control/views.js';
import type { Tapline } from './tapline.js';
import { eventually } from './wait.js';

export function dropped({ drops }: DropsView): number {
  return drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0);
}

/** Frames dropped for a reason, over all ports. */
export function droppedFor({ drops }: DropsView, reason: string): number {
  return drops.filter((drop) => drop.reason === reason).reduce((sum, { rx, tx }) => sum + rx + tx, 0);
}

/** received + originated + copies = delivered + local + drops, once no packet is in flight or waits for a neighbor. */
export async function accounted(t: ExecutionContext, tapline: Tapline): Promise<void> {
  await eventually('nothing to be held', async () => (await tapline.status()).router.held === 0);
  const totals = await tapline.quiet();
  const { received, originated, copies, delivered, local } = totals;
  t.is(received + originated + copies, delivered + local + dropped(totals), JSON.stringify(totals));
}
