/** Backends that go while they are used: drained by weight, with a deadline or without, or taken away in the middle of transfers. */

import test, { type ExecutionContext } from 'ava';
import { countConnections, greet, hold, type Loss, tally } from './support/greeters.js';
import { startNginx } from './support/nginx.js';
import { ask, send } from './support/published.js';
import { backendOf, backends, createServiceSite, service, untilBackend, weigh } from './support/services.js';
import { UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

/** Milliseconds from the order to take an endpoint away to the reset at its clients: most of it for a busy machine. */
const AT_ONCE = 5000;

const namesOf = (losses: readonly Loss[]): Record<string, number> => tally(losses.map(({ why }) => why));

async function events(tapline: Tapline, kind: string): Promise<string[]> {
  return (await tapline.events()).filter((event) => event.kind === kind).map((event) => JSON.stringify(event));
}

test.serial('weight 0: connections that there are go on, new ones go elsewhere; then it is drained', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: { web: service({ listen: ['8080/tcp', '8080/udp'], backends: backends(['a', 'b'], 80) }) },
  });
  for (const host of [a, b]) await greet(host, host.endpoint, [80]);
  const held = await hold(outside, UPLINK.ip, 8080, 4);
  t.deepEqual(tally(held.greetings.map(({ name }) => name)), { a: 2, b: 2 });
  await tapline.ok('service', 'update', 'web', '--weight', 'a:80=0');
  t.is((await backendOf(tapline, 'a:80')).state, 'draining');
  t.is((await backendOf(tapline, 'a:80')).deadline, null);
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 50)).counts, { b: 50 });
  t.like(await ask(t, outside, UPLINK.ip, 8080), { name: 'b' });
  await held.goesOn();
  t.deepEqual(held.lost(), []);
  t.is((await backendOf(tapline, 'a:80')).active, 2);
  t.is((await events(tapline, 'backend-draining')).length, 1);
  t.is((await events(tapline, 'backend-drained')).length, 0);
  await held.stop();
  await eventually('the backend to be drained', async () => (await events(tapline, 'backend-drained')).length === 1);
  await tapline.ok('service', 'update', 'web', '--weight', 'a:80=1');
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 5, b: 5 });
});

test.serial('weight 0 with a deadline: what is left then is reset, and nothing else', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: { web: service({ drain_timeout: 3, backends: backends(['a', 'b'], 80) }) },
  });
  for (const host of [a, b]) await greet(host, host.endpoint, [80]);
  const asking = await hold(outside, UPLINK.ip, 8080, 4);
  const waiting = await hold(outside, UPLINK.ip6, 8080, 4, { pause: 0 });
  const began = Date.now();
  await weigh(tapline, 'a:80', 0);
  const ordered = Date.now();
  const deadline = Date.parse((await backendOf(tapline, 'a:80')).deadline ?? '');
  t.true(deadline > began + 2000 && deadline < ordered + 4000, `deadline ${deadline - began} ms after the order`);
  await eventually('connections of the drained backend to be reset', () => {
    return asking.lost().length === 2 && waiting.lost().length === 2;
  });
  for (const holder of [asking, waiting]) {
    for (const { connection, why, at } of holder.lost()) {
      t.is(why, 'ECONNRESET');
      t.is(holder.greetings[connection]?.name, 'a');
      t.true(at > deadline - 500 && at < deadline + 5000, `${at - deadline} ms after the deadline`);
    }
  }
  await asking.goesOn();
  t.is(asking.lost().length, 2);
  t.is((await events(tapline, 'backend-drained')).length, 1);
});

/** How the connections of a holder to a backend end when something is done. @returns the longest time that one took */
async function resets(
  t: ExecutionContext,
  work: () => Promise<unknown>,
  lost: () => Loss[],
  count: number,
): Promise<number> {
  const began = Date.now();
  await work();
  await eventually('clients to be told', () => lost().length >= count);
  t.deepEqual(namesOf(lost()), { ECONNRESET: count });
  const took = Math.max(...lost().map(({ at }) => at - began));
  t.log(`reset after at most ${took} ms`);
  t.true(took < AT_ONCE, `${took} ms`);
  return took;
}

test.serial(
  'an endpoint that goes: its clients get a reset at once, in the middle of a transfer and idle',
  async (t) => {
    const { tapline, a, b, outside } = await createServiceSite(t, {
      services: {
        web: service({ listen: ['8080/tcp', '8080/udp'], backends: backends(['a', 'b'], 80) }),
        files: service({ listen: ['8081/tcp'], backends: backends(['b'], 81) }),
      },
    });
    for (const host of [a, b]) await greet(host, host.endpoint, [80]);
    await startNginx(t, b, 'b', { port: 81, large: 64 << 20, rate: 1 << 20 });
    const waiting = await hold(outside, UPLINK.ip, 8080, 4, { pause: 0 });
    const asking = await hold(outside, UPLINK.ip6, 8080, 4, { pause: 20 });
    const url = `http://${UPLINK.ip}:8081/large`;
    const download = outside.start('curl', '-s', '--noproxy', '*', '-o', '/dev/null', '-w', '%{size_download}', url);
    // Datagrams from ports of their own: both backends have a client.
    const before = await Promise.all([43_401, 43_402].map((own) => ask(t, outside, UPLINK.ip, 8080, own)));
    t.deepEqual(before.map((answer) => answer?.name).sort(), ['a', 'b']);
    await sleep(1500);
    const began = Date.now();
    const lost = (): Loss[] => [...waiting.lost(), ...asking.lost()];
    await resets(t, () => send(tapline.socket, 'DELETE', '/v1/endpoints/b'), lost, 4);
    const ended = await download.ended;
    t.log(`the download ended ${Date.now() - began} ms after the order`);
    t.is(ended.code, 56, 'failure in receiving: connection reset');
    t.true(Number(ended.stdout) > 1 << 20, `${ended.stdout} bytes before`);
    for (const holder of [waiting, asking])
      for (const { connection } of holder.lost()) t.is(holder.greetings[connection]?.name, 'b');
    await asking.goesOn();
    t.is(asking.lost().length, 2);
    // Datagrams of the same ports find another one, new connections too.
    for (const own of [43_401, 43_402]) t.like(await ask(t, outside, UPLINK.ip, 8080, own), { name: 'a' }, `${own}`);
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 10 });
    t.like(await backendOf(tapline, 'b:80'), { state: 'absent', reason: 'endpoint b is not there' });
    // It is back with its name.
    await tapline.ok('connect', 'blue', '--netns', b.path, '--name', 'b', '--ip', '172.30.0.77');
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 5, b: 5 });
  },
);

test.serial('a backend, and a service, that are removed: reset at once; the others go on', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b'], 80) }) },
  });
  for (const host of [a, b]) await greet(host, host.endpoint, [80]);
  const held = await hold(outside, UPLINK.ip, 8080, 4, { pause: 20 });
  const remove = (): Promise<unknown> => send(tapline.socket, 'DELETE', '/v1/services/web/backends/a:80');
  await resets(t, remove, held.lost, 2);
  await held.goesOn();
  t.is(held.lost().length, 2);
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { b: 10 });
  await resets(t, () => send(tapline.socket, 'DELETE', '/v1/services/web'), held.lost, 4);
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 1)).counts.b ?? 0, 0);
});

test.serial('an endpoint whose container ends in the middle of a transfer: reset at once', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b'], 80) }) },
  });
  const servers = [];
  for (const host of [a, b]) servers.push(await greet(host, host.endpoint, [80]));
  const held = await hold(outside, UPLINK.ip, 8080, 4, { pause: 0 });
  await servers[1]?.stop('SIGKILL');
  // The kernel of a container that ends sends nothing by itself any more once its interface is gone.
  await b.remove();
  await eventually('the clients to be told', () => held.lost().length === 2);
  for (const { connection } of held.lost()) t.is(held.greetings[connection]?.name, 'b');
  await untilBackend(tapline, 'b:80', ({ state }) => state === 'absent');
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 10 });
});

test.serial(
  'another set of backends in the place of the first, in one step: old connections are reset, none hangs',
  async (t) => {
    const { tapline, a, b, c, d, outside } = await createServiceSite(t, {
      services: { web: service({ backends: backends(['a', 'b'], 80) }) },
    });
    for (const host of [a, b, c, d]) await greet(host, host.endpoint, [80]);
    const held = await hold(outside, UPLINK.ip, 8080, 6, { pause: 0 });
    const patch = { backends: backends(['b', 'c', 'd'], 80) };
    await resets(t, () => send(tapline.socket, 'PATCH', '/v1/services/web', patch), held.lost, 3);
    for (const { connection } of held.lost()) t.is(held.greetings[connection]?.name, 'a');
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 9)).counts, { b: 3, c: 3, d: 3 });
  },
);
