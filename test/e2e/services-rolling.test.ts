/** Every backend of a service replaced, one after the other, while clients keep asking. TAPLINE_REPORT names a file for what wrk says. */

import test, { type ExecutionContext } from 'ava';
import { tally } from './support/greeters.js';
import type { Host } from './support/lab.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { type Nginx, readWrk, startNginx } from './support/nginx.js';
import { describe } from './support/process.js';
import { send } from './support/published.js';
import { startReport } from './support/report.js';
import { backendOf, backends, createServiceSite, service, serviceOf, untilBackend, weigh } from './support/services.js';
import { UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';
import { sleep } from './support/wait.js';

const report = startReport('Every backend of a service replaced, one after the other, under wrk');

const KEEPALIVE_REQUESTS = 200;
/** Longer than it takes: wrk is told to stop when all are replaced. */
const LONGEST = '100s';

/** Waits until nobody talks to a backend any more. Connections end by themselves, as their server answers so many requests on each. */
async function drain(tapline: Tapline, key: string): Promise<number> {
  await weigh(tapline, key, 0);
  return untilBackend(tapline, key, ({ active }) => active === 0);
}

/** What each of several requests, on connections of their own, is answered. */
async function answersOf(outside: Namespace, count: number): Promise<Record<string, number>> {
  const answers = [];
  for (let i = 0; i < count; i++)
    answers.push((await outside.exec('curl', '-s', '-m', '5', '--noproxy', '*', `http://${UPLINK.ip}:8080/`)).trim());
  return tally(answers);
}

for (const [what, health] of [
  ['by weights alone', undefined],
  ['with health checks', { type: 'http', path: '/', status: 200, interval: 1, rise: 1, fall: 2 }],
] as const) {
  test.serial(
    `rolling replacement of every backend under wrk with keep-alive, ${what}: no request fails`,
    async (t) => {
      const site = await createServiceSite(t, {
        services: {
          web: service({ backends: backends(['a', 'b', 'c'], 80), ...(health === undefined ? {} : { health }) }),
        },
      });
      const { tapline, outside } = site;
      const hosts = [site.a, site.b, site.c];
      const servers: Nginx[] = [];
      const options = { keepaliveRequests: KEEPALIVE_REQUESTS };
      for (const host of hosts) servers.push(await startNginx(t, host, `${host.endpoint} old`, options));
      for (const { endpoint } of hosts) await untilBackend(tapline, `${endpoint}:80`, ({ state }) => state === 'up');
      t.deepEqual(await answersOf(outside, 6), { 'a old': 2, 'b old': 2, 'c old': 2 });
      const load = ['-t', '2', '-c', '24', '-d', LONGEST, '--latency'];
      const wrk = outside.start('wrk', ...load, `http://${UPLINK.ip}:8080/`);
      await sleep(1000);
      for (const [i, host] of hosts.entries()) {
        const key = `${host.endpoint}:80`;
        const took = await drain(tapline, key);
        t.log(`${key} drained in ${took.toFixed(0)} ms`);
        await tapline.ok('disconnect', host.endpoint);
        await servers[i]?.quit();
        await replace(t, tapline, host, health !== undefined, options);
      }
      t.true(wrk.running(), 'all are replaced while it runs');
      await sleep(1000);
      const { code, stdout, stderr } = await wrk.stop('SIGINT');
      t.is(code, 0, stderr);
      for (const line of [`## ${what}`, '```', ...stdout.trimEnd().split('\n'), '```']) report(line);
      t.log(stdout);
      const { requests, errors } = readWrk(stdout);
      t.is(errors, '');
      t.true(requests > 1000, `${requests} requests`);
      t.deepEqual(await answersOf(outside, 6), { 'a new': 2, 'b new': 2, 'c new': 2 });
      t.is((await serviceOf(tapline)).state, 'up');
    },
  );
}

/** Makes a container that takes the place of one that has gone: with the same name, elsewhere, its server not yet there when it is attached. */
async function replace(
  t: ExecutionContext,
  tapline: Tapline,
  { endpoint }: Host,
  isChecked: boolean,
  options: { keepaliveRequests: number },
): Promise<void> {
  const place = await createNamespace(t);
  const key = `${endpoint}:80`;
  if (isChecked) await weigh(tapline, key, 1);
  await tapline.ok('connect', 'blue', '--netns', place.path, '--name', endpoint);
  if (isChecked) t.not((await backendOf(tapline, key)).state, 'up', 'no request before its first check');
  await startNginx(t, place, `${endpoint} new`, options);
  if (!isChecked) await weigh(tapline, key, 1);
  await untilBackend(tapline, key, ({ state }) => state === 'up');
}

test.serial('a wrk whose connections are reset says so: what sees no error would see one', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b'], 80) }) },
  });
  for (const host of [a, b]) await startNginx(t, host, host.endpoint, { keepaliveRequests: 100_000 });
  const wrk = outside.start('wrk', '-t', '1', '-c', '8', '-d', '3s', `http://${UPLINK.ip}:8080/`);
  await sleep(1500);
  await send(tapline.socket, 'DELETE', '/v1/endpoints/b');
  const result = await wrk.ended;
  t.is(result.code, 0, describe(result));
  t.regex(readWrk(result.stdout).errors, /^Socket errors: connect 0, .*[1-9]/);
});
