/**
 * A service: three web servers behind one port of the uplink get the requests of the host outside in turn, over both families; and one of
 * them is drained while requests go on, none of which fails.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceView } from '../../../control/service-views.js';
import { addressOf, STORE, STORE_PORT, STORES } from '../hosts.js';
import { HTTP_PORT } from '../inside/ports.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';
import { ROUTER } from '../outside.js';

/** A multiple of all numbers of backends that share them. */
const REQUESTS = 30;
/** Requests in the middle of which a backend is drained, and after how many of them at least. */
const MANY = 300;
const BEFORE = 50;
const POLL_MS = 20;
const PATIENCE_MS = 10_000;

const PATH = `/v1/services/${STORE}`;

async function until(lab: Lab, what: string, isSo: (view: ServiceView) => boolean): Promise<void> {
  for (let waited = 0; waited < PATIENCE_MS; waited += POLL_MS) {
    if (isSo(await lab.client.get<ServiceView>(PATH))) return;
    await sleep(POLL_MS, undefined, { signal: lab.signal });
  }
  throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`);
}

const untilUp = (lab: Lab): Promise<void> =>
  until(lab, `${STORES.join(', ')} up`, ({ backends }) => backends.every(({ state }) => state === 'up'));

/** How many of the requests from outside each of STORES has answered, in their order. @throws Error where one fails */
async function answers(lab: Lab, family: 4 | 6, times: number): Promise<number[]> {
  const args = [family === 4 ? ROUTER.ipv4 : ROUTER.ipv6, String(STORE_PORT), String(times)];
  const counts = JSON.parse(await runProgramIn(lab.outside, 'answers', args, lab.signal)) as Record<string, number>;
  return STORES.map((name) => counts[addressOf(lab.endpoint(name), family)] ?? 0);
}

const named = (counts: readonly number[]): string => STORES.map((name, index) => `${name} ${counts[index]}`).join(', ');

/** @throws Error where the requests do not fall to STORES as `shares` says */
async function shared(lab: Lab, family: 4 | 6, shares: readonly number[]): Promise<void> {
  const counts = await answers(lab, family, REQUESTS);
  const isShared = shares.every((share, index) => counts[index] === share);
  if (!isShared)
    throw new Error(`expected of ${REQUESTS} requests over IPv${family} ${named(shares)}, got ${named(counts)}`);
}

export async function service(lab: Lab): Promise<string> {
  await untilUp(lab);
  const shares = STORES.map(() => REQUESTS / STORES.length);
  await shared(lab, 4, shares);
  await shared(lab, 6, shares);
  const urls = `http://${ROUTER.ipv4}:${STORE_PORT}/ and http://[${ROUTER.ipv6}]:${STORE_PORT}/`;
  return `${REQUESTS} requests from outside to each of ${urls}: ${named(shares)}`;
}

export async function drained(lab: Lab): Promise<string> {
  const [drained = ''] = STORES;
  const key = `${drained}:${HTTP_PORT}`;
  const { flows } = await lab.client.get<ServiceView>(PATH);
  const answered = answers(lab, 4, MANY);
  // Awaited below; until then its failure is nobody's.
  answered.catch(() => undefined);
  try {
    await until(lab, `${BEFORE} requests`, (view) => view.flows >= flows + BEFORE);
    await lab.client.patch(PATH, { weights: { [key]: 0 } });
    const [before = 0] = await answered;
    if (before === 0 || before >= MANY / STORES.length)
      throw new Error(`${drained} was not drained in the middle of ${MANY} requests: it answered ${before}`);
    const shares = STORES.map((name) => (name === drained ? 0 : REQUESTS / (STORES.length - 1)));
    await shared(lab, 4, shares);
    return `${key} to weight 0 in the middle of ${MANY} requests, none failed; of the next ${REQUESTS} ${named(shares)}`;
  } finally {
    await lab.client.patch(PATH, { weights: { [key]: 1 } });
  }
}
