/** Backends that fail: their process is killed, they hang, they answer what they should not; who notices, how fast, and what clients see. */

import test, { type ExecutionContext } from 'ava';
import { nftProgram } from '../../io/nft.js';
import { countConnections, greet, hold } from './support/greeters.js';
import type { Host } from './support/lab.js';
import { answerNames, digName } from './support/names.js';
import type { Namespace } from './support/namespace.js';
import { startNginx } from './support/nginx.js';
import type { Background } from './support/process.js';
import { backendOf, backends, createServiceSite, service, untilBackend } from './support/services.js';
import { UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';

/** Failures in a row before a backend gets no more, where a test says nothing else. */
const FAILURES = 3;

async function kinds(tapline: Tapline, ...wanted: string[]): Promise<string[]> {
  return (await tapline.events()).map(({ kind }) => kind as string).filter((kind) => wanted.includes(kind));
}

test.serial(
  'passive: a backend whose process is killed refuses three, and gets no more until it is tried again',
  async (t) => {
    const { tapline, a, b, outside } = await createServiceSite(t, {
      services: { web: service({ backends: backends(['a', 'b'], 80), passive: { failures: FAILURES, time: 4 } }) },
    });
    await greet(a, 'a', [80]);
    const server = await greet(b, 'b', [80]);
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 5, b: 5 });
    await server.stop('SIGKILL');
    const { found, counts } = await countConnections(outside, UPLINK.ip, 8080, 100);
    t.deepEqual(counts, { a: 100 - FAILURES, ECONNREFUSED: FAILURES });
    t.is(found.lastIndexOf('ECONNREFUSED'), found.indexOf('ECONNREFUSED') + 2 * (FAILURES - 1), 'in turn');
    t.like(await backendOf(tapline, 'b:80'), { suspect: true, state: 'up', failures: FAILURES });
    t.deepEqual(await kinds(tapline, 'backend-suspect', 'backend-trusted'), ['backend-suspect']);
    // It is tried again after the time, and is found to be well.
    await greet(b, 'b', [80]);
    await untilBackend(tapline, 'b:80', ({ suspect }) => !suspect);
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 5, b: 5 });
    t.deepEqual(await kinds(tapline, 'backend-suspect', 'backend-trusted'), ['backend-suspect', 'backend-trusted']);
  },
);

test.serial('passive: nobody is left out where all fail; one that works again is found at once', async (t) => {
  const { a, b, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b'], 80), passive: { failures: 1, time: 600 } }) },
  });
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { ECONNREFUSED: 10 });
  for (const host of [a, b]) await greet(host, host.endpoint, [80]);
  const { counts } = await countConnections(outside, UPLINK.ip, 8080, 20);
  t.is((counts.a ?? 0) + (counts.b ?? 0), 20, JSON.stringify(counts));
});

test.serial('passive: a backend that answers nothing; attempts that it left waiting find another one', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b'], 80), passive: { failures: FAILURES, time: 600 } }) },
  });
  for (const host of [a, b]) await greet(host, host.endpoint, [80]);
  await b.exec(
    nftProgram(),
    'add table inet mute; add chain inet mute in { type filter hook input priority 0; };' +
      'add rule inet mute in tcp dport 80 drop',
  );
  const { counts, seconds } = await countConnections(outside, UPLINK.ip, 8080, 40, { width: 40 });
  t.deepEqual(counts, { a: 40 }, 'each finds one that answers, with its second attempt or third');
  t.true(seconds < 8, `${seconds} s`);
  t.true((await backendOf(tapline, 'b:80')).suspect);
  const quick = await countConnections(outside, UPLINK.ip, 8080, 20);
  t.deepEqual(quick.counts, { a: 20 });
  t.true(quick.seconds < 8, `${quick.seconds} s: not every other connection had to ask twice`);
});

const HEALTH = { interval: 1, timeout: 1, rise: 2, fall: 2 };
/** Milliseconds that a busy machine may take besides. */
const SLACK = 5000;

/** A service whose backends `a` and `b` are checked; both are up. */
async function createChecked(
  t: ExecutionContext,
  more: object,
): Promise<{ tapline: Tapline; a: Host; b: Host; outside: Namespace; servers: Background[] }> {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: {
      web: service({ backends: backends(['a', 'b'], 80), passive: { failures: 0 }, ...more }),
    },
  });
  const servers = [await greet(a, 'a', [80]), await greet(b, 'b', [80])];
  for (const key of ['a:80', 'b:80']) await untilBackend(tapline, key, ({ state }) => state === 'up');
  return { tapline, a, b, outside, servers };
}

test.serial('active: killed, it is down within interval and fall, and up again within interval and rise', async (t) => {
  const { tapline, b, outside, servers } = await createChecked(t, { health: { type: 'tcp', ...HEALTH } });
  const held = await hold(outside, UPLINK.ip, 8080, 2);
  await servers[1]?.stop('SIGKILL');
  const down = await untilBackend(tapline, 'b:80', ({ state }) => state === 'down');
  t.log(`down after ${down.toFixed(0)} ms`);
  t.true(down < 1000 * HEALTH.interval * HEALTH.fall + SLACK, `${down} ms`);
  t.regex((await backendOf(tapline, 'b:80')).reason, /172\.30\.0\.3:80 refuses connections/);
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 50)).counts, { a: 50 });
  await greet(b, 'b', [80]);
  const up = await untilBackend(tapline, 'b:80', ({ state }) => state === 'up');
  t.log(`up after ${up.toFixed(0)} ms`);
  t.true(up < 1000 * HEALTH.interval * HEALTH.rise + SLACK, `${up} ms`);
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 50)).counts, { a: 25, b: 25 });
  await held.goesOn();
  t.is(held.lost().length, 1, 'the one whose server was killed');
  const changes = await kinds(tapline, 'backend-down', 'backend-up');
  t.deepEqual(changes.slice(-2), ['backend-down', 'backend-up']);
});

test.serial('active: all of them down, clients are refused; the first that is up gets them', async (t) => {
  const { tapline, a, outside, servers } = await createChecked(t, { health: { type: 'tcp', ...HEALTH } });
  for (const server of servers) await server.stop('SIGKILL');
  for (const key of ['a:80', 'b:80']) await untilBackend(tapline, key, ({ state }) => state === 'down');
  t.deepEqual((await countConnections(outside, UPLINK.ip6, 8080, 5)).counts, { ECONNREFUSED: 5 });
  t.regex(await tapline.ok('show', 'drops'), /no_backend/);
  await greet(a, 'a', [80]);
  await untilBackend(tapline, 'a:80', ({ state }) => state === 'up');
  t.deepEqual((await countConnections(outside, UPLINK.ip6, 8080, 5)).counts, { a: 5 });
});

test.serial('active: HTTP by status and by body; a server that runs but is of no use gets nobody', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: {
      web: service({
        backends: backends(['a', 'b'], 80),
        health: { type: 'http', path: '/', body: 'well', ...HEALTH },
      }),
      files: service({
        listen: ['8081/tcp'],
        backends: backends(['a', 'b'], 80),
        health: { type: 'http', path: '/large', status: 200, ...HEALTH },
      }),
    },
  });
  const servers = [await startNginx(t, a, 'a is well', { large: 1 }), await startNginx(t, b, 'b is ill')];
  await untilBackend(tapline, 'a:80', ({ state }) => state === 'up');
  await untilBackend(tapline, 'a:80', ({ state }) => state === 'up', 'files');
  // Not what the first checks have seen, when nobody listened yet.
  await untilBackend(tapline, 'b:80', ({ state, reason }) => state === 'down' && /body/.test(reason));
  await untilBackend(tapline, 'b:80', ({ state, reason }) => state === 'down' && /404/.test(reason), 'files');
  for (let i = 0; i < 4; i++)
    t.is(await outside.exec('curl', '-s', '-m', '3', '--noproxy', '*', `http://${UPLINK.ip}:8080/`), 'a is well\n');
  // Checks come from inside the network, and from none of its endpoints.
  const checker = new Set((servers[1]?.log() ?? []).map((line) => line.split(' ')[0]));
  for (const address of checker) t.regex(address ?? '', /^(172\.30\.0\.|fd00:30::)/);
  t.true(checker.size > 0);
  t.false([a.ip, a.ip6, b.ip, b.ip6].some((address) => checker.has(address)));
});

test.serial('UDP: DNS by two dnsmasq, one of which is killed: refusals are seen, and its checks fail', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: {
      dns: service({
        listen: ['53/udp', '53/tcp'],
        backends: backends(['a', 'b'], 53),
        health: { type: 'tcp', ...HEALTH },
        passive: { failures: 0 },
      }),
      passive: service({ listen: ['5353/udp'], backends: backends(['a', 'b'], 53), passive: { failures: FAILURES } }),
    },
  });
  const [first, second] = ['192.0.2.1', '192.0.2.2'];
  await answerNames(a, first);
  const server = await answerNames(b, second);
  for (const key of ['a:53', 'b:53']) await untilBackend(tapline, key, ({ state }) => state === 'up', 'dns');
  for (const [address, ...options] of [
    [UPLINK.ip],
    [UPLINK.ip6],
    [UPLINK.ip, '+tcp'],
    [UPLINK.ip6, '+tcp'],
    [UPLINK.ip, '-p', '5353'],
  ] as const) {
    const answers = [await digName(outside, address, ...options), await digName(outside, address, ...options)];
    t.deepEqual(answers.sort(), [first, second], `${address} ${options}`);
  }
  await server.stop('SIGKILL');
  const asked = [];
  for (let i = 0; i < 12; i++) asked.push(await digName(outside, UPLINK.ip, '-p', '5353'));
  t.is(asked.filter((answer) => answer !== first).length, FAILURES, asked.join('\n'));
  t.true((await backendOf(tapline, 'b:53', 'passive')).suspect);
  await untilBackend(tapline, 'b:53', ({ state }) => state === 'down', 'dns');
  for (let i = 0; i < 6; i++) {
    t.is(await digName(outside, UPLINK.ip), first);
    t.is(await digName(outside, UPLINK.ip6, '+tcp'), first);
  }
});
