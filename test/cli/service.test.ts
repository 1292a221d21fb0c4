/** `tapline service`, `tapline show services`, and their requests. */

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ApiClient } from '../../cli/client.js';
import { duration, quantity } from '../../cli/show-services.js';
import { serviceSchema } from '../../control/config/schema.js';
import type { BackendView, ServiceView } from '../../control/service-views.js';
import {
  BACKEND_COUNTERS,
  COUNT_ACTIVE,
  COUNT_BYTES_IN,
  COUNT_BYTES_OUT,
  COUNT_FAILURES,
  COUNT_FLOWS,
  COUNT_INACTIVE,
  COUNT_PACKETS_IN,
  COUNT_PACKETS_OUT,
} from '../../core/lb/service.js';
import { cli, type Lab, makeLab, watch } from './support/lab.js';

const VIP = '172.30.0.100:80';

/** Endpoints a and b on blue. */
async function makeEndpoints(t: ExecutionContext): Promise<Lab> {
  const lab = await makeLab(t);
  for (const name of ['a', 'b']) t.is((await lab.run('connect', 'blue', '--netns', `/ns/${name}`)).err, '');
  return lab;
}

interface WebLab extends Lab {
  readonly api: ApiClient;
  readonly web: () => Promise<ServiceView>;
}

/** With a service `web` at a virtual IP in front of both. */
async function makeWeb(t: ExecutionContext, ...more: string[]): Promise<WebLab> {
  const lab = await makeEndpoints(t);
  const words = ['--network', 'blue', '--listen', VIP, '--backend', 'a:80', '--backend', 'b:8080:2', ...more];
  t.like(await lab.run('service', 'create', 'web', ...words), { code: 0, out: 'web\n', err: '' });
  const api = new ApiClient(lab.env.TAPLINE_SOCKET ?? '');
  return { ...lab, api, web: () => api.get('/v1/services/web') };
}

function weights({ backends }: Pick<ServiceView, 'backends'>): string[] {
  return backends.map(({ name, weight }) => `${name}=${weight}`);
}

function count(
  { daemon, dataplane }: Lab,
  key: string,
  counts: readonly (readonly [what: number, value: number])[],
): void {
  const backend = daemon.services.get('web').backends.find((candidate) => candidate.key === key);
  if (backend === undefined) throw new Error(`no backend ${key}`);
  for (const [what, value] of counts) dataplane.services.counters[backend.number * BACKEND_COUNTERS + what] = value;
}

test('create: all that is given is what the service has, and defaults are where nothing is', async (t) => {
  const { run } = await makeEndpoints(t);
  const words = `--network blue --listen ${VIP} --listen 172.30.0.100:5300-5309/udp --backend a:80 --backend b:8080:3
    --scheduler maglev --table-size 251 --affinity 60 --drain-timeout 30 --flood-rate 5000
    --health http://:8081/health --health-host web.example --health-status 200-204 --health-interval 5 --health-timeout 1
    --health-rise 1 --health-fall 4 --passive-failures 5 --passive-time 20`;
  const made = await run('service', 'create', 'web', ...words.split(/\s+/), '--health-body', 'all is well', '--json');
  t.is(made.err, '');
  const view = JSON.parse(made.out) as ServiceView;
  t.like(view, {
    name: 'web',
    network: 'blue',
    vrf: 'default',
    listen: ['172.30.0.100:80/tcp', '172.30.0.100:5300-5309/udp'],
    scheduler: 'maglev',
    forwarding: 'nat',
    affinity: 60,
    table_size: 251,
    drain_timeout: 30,
    flood_rate: 5000,
    passive: { failures: 5, time: 20 },
    virtual: ['172.30.0.100'],
    via: 'gateway',
    flows: 0,
    rate: null,
  });
  t.deepEqual(view.health, {
    type: 'http',
    port: 8081,
    path: '/health',
    host: 'web.example',
    status: '200-204',
    body: 'all is well',
    interval: 5,
    timeout: 1,
    rise: 1,
    fall: 4,
  });
  t.like(view.backends[1], {
    name: 'b:8080',
    endpoint: 'b',
    port: 8080,
    weight: 3,
    addresses: ['172.30.0.3', 'fd00:30::3'],
  });
  const plain = await run('service', 'create', 'plain', '--network', 'blue', '--listen', '172.30.0.101:80', '--json');
  t.like(JSON.parse(plain.out), {
    scheduler: 'rr',
    affinity: 0,
    table_size: 65_537,
    drain_timeout: 0,
    flood_rate: 100_000,
    health: null,
    passive: { failures: 3, time: 10 },
    state: 'down',
    reason: 'no backends',
    backends: [],
  });
});

test('ls and inspect: for people, and as JSON', async (t) => {
  const { run } = await makeWeb(t, '--scheduler', 'wlc', '--health', 'https:///ok', '--passive-failures', '0');
  await run('service', 'create', 'empty', '--network', 'blue', '--listen', '172.30.0.101:53/udp');
  t.is(
    (await run('service', 'ls')).out,
    `SERVICE  NETWORK  LISTEN               SCHEDULER  UP      ACTIVE  STATE
web      blue     172.30.0.100:80/tcp  wlc        0 of 2       0  down: 2 starting
empty    blue     172.30.0.101:53/udp  rr         0 of 0       0  down: no backends
`,
  );
  t.is(JSON.parse((await run('service', 'list', '--json')).out).length, 2);
  const { out } = await run('service', 'inspect', 'web');
  for (const line of [
    /^service: +web$/m,
    /^own addresses: +172\.30\.0\.100$/m,
    /^same subnet: +via gateway$/m,
    /^health: +https:\/\/\/ok, every 2 s, timeout 2 s, rise 2, fall 3$/m,
    /^passive: +off$/m,
    /^connections: +0 active, 0 inactive, 0 in all, 0 failed$/m,
    /^b:8080 +172\.30\.0\.3 fd00:30::3 +2 +starting /m,
  ])
    t.regex(out, line);
  t.is(JSON.parse((await run('service', 'inspect', 'empty', '--json')).out).name, 'empty');
});

test('update: what is named changes, all else stays', async (t) => {
  const { run, web } = await makeWeb(t, '--health', 'http:///x', '--affinity', '9');
  t.like(await run('service', 'update', 'web', '--scheduler', 'lc', '--health-fall', '7'), { code: 0, out: 'web\n' });
  t.like(await web(), { scheduler: 'lc', affinity: 9, health: { type: 'http', path: '/x', fall: 7 } });
  await run('service', 'update', 'web', '--health', 'tcp', '--listen', '172.30.0.101:81', '--affinity', '0');
  const changed = await web();
  t.like(changed, {
    affinity: 0,
    listen: ['172.30.0.101:81/tcp'],
    virtual: ['172.30.0.101'],
    health: { type: 'tcp', fall: 3 },
  });
  t.deepEqual(weights(changed), ['a:80=1', 'b:8080=2']);
  await run('service', 'update', 'web', '--health', 'none');
  t.is((await web()).health, null);
  const swapped = await run(
    ...[
      'service',
      'update',
      'web',
      '--json',
      '--backend-rm',
      'a:80',
      '--backend-add',
      'a:81:4',
      '--weight',
      'b:8080=0',
    ],
  );
  t.deepEqual(weights(JSON.parse(swapped.out)), ['b:8080=0', 'a:81=4']);
  await run('service', 'update', 'web', '--backend', 'b:90');
  t.deepEqual(weights(await web()), ['b:90=1']);
});

test('backends: listed, added, weighed, removed; several at a time or none of them', async (t) => {
  const { run, web } = await makeWeb(t);
  t.regex(
    (await run('service', 'backends', 'web')).out,
    /^BACKEND +ADDRESSES +WEIGHT +STATE .*\na:80 .*\nb:8080 .*\n$/,
  );
  t.is((await run('service', 'backends', 'web', 'add', 'a:81', 'b:81:5')).err, '');
  await run('service', 'backends', 'web', 'weight', 'a:80=0', 'a:81=9');
  const { out } = await run('service', 'backends', 'web', 'rm', 'b:8080', '--json');
  const backends = JSON.parse(out) as BackendView[];
  t.deepEqual(weights({ backends }), ['a:80=0', 'a:81=9', 'b:81=5']);
  t.is(backends[0]?.state, 'draining');
  t.like(await run('service', 'backends', 'web', 'add', 'b:82', 'a:81'), {
    code: 1,
    err: 'tapline: service web has backend a:81 already\n',
  });
  t.like(await run('service', 'backends', 'web', 'rm', 'a:81', 'b:99'), {
    code: 1,
    err: 'tapline: service web has no backend b:99; it has a:80, a:81, b:81\n',
  });
  t.deepEqual(weights(await web()), ['a:80=0', 'a:81=9', 'b:81=5'], 'nothing half done');
});

test('direct: said where a service is shown, and ended', async (t) => {
  const { run, system } = await makeLab(t);
  system.addNamespace('/ns/d');
  await run('connect', 'blue', '--netns', '/ns/d', '--security', 'mac');
  const words = ['--network', 'blue', '--listen', VIP, '--backend', 'd:80', '--direct'];
  t.is((await run('service', 'create', 'web', ...words)).err, '');
  t.like(JSON.parse((await run('service', 'inspect', 'web', '--json')).out), { forwarding: 'direct', via: 'direct' });
  t.regex((await run('show', 'services')).out, /^direct: backends answer clients themselves; only what clients/m);
  t.like(await run('service', 'update', 'web', '--backend', 'd:81'), { code: 2, out: '' });
  await run('service', 'update', 'web', '--no-direct', '--backend', 'd:81');
  t.like(JSON.parse((await run('service', 'inspect', 'web', '--json')).out), { forwarding: 'nat', via: 'gateway' });
});

test('status counts services', async (t) => {
  const { run } = await makeWeb(t);
  t.regex((await run('status')).out, /^services: +1$/m);
  t.is(JSON.parse((await run('status', '--json')).out).services, 1);
});

test('rm: what is gone is said, also when a later one is not there', async (t) => {
  const { run, daemon } = await makeWeb(t);
  t.like(await run('service', 'rm', 'web', 'nobody'), { code: 1, out: 'web\n', err: 'tapline: no service nobody\n' });
  t.is(daemon.services.all.size, 0);
  t.is((await run('show', 'services')).out, 'no services\n');
});

test('show services: a backend a row, with what it got and how it is', async (t) => {
  const lab = await makeWeb(t);
  const { run, daemon } = lab;
  count(lab, 'a:80', [
    [COUNT_FLOWS, 10_000],
    [COUNT_ACTIVE, 12],
    [COUNT_INACTIVE, 3],
    [COUNT_PACKETS_IN, 100],
    [COUNT_PACKETS_OUT, 90],
    [COUNT_BYTES_IN, 7000],
    [COUNT_BYTES_OUT, 123_456],
    [COUNT_FAILURES, 4],
  ]);
  // Later than any look of the daemon's own.
  daemon.serviceRates.look(1e12);
  count(lab, 'a:80', [
    [COUNT_FLOWS, 13_000],
    [COUNT_BYTES_OUT, 2_123_456],
  ]);
  daemon.serviceRates.look(1e12 + 2000);
  await run('service', 'update', 'web', '--weight', 'b:8080=0');
  const { out, err } = await run('show', 'services', 'web');
  t.is(err, '');
  const [head, note, titles, a, b, end] = out.split('\n');
  t.is(head, 'web: 172.30.0.100:80/tcp, network blue, rr, up (1 of 2)');
  t.is(note, 'clients in the same subnet as their backend: via gateway, whose address the backend sees');
  t.is(
    titles?.replace(/ +/g, ' '),
    'BACKEND ADDRESSES WEIGHT STATE SINCE ACTIVE INACTIVE FLOWS FAILED PACKETS-IN PACKETS-OUT BYTES-IN BYTES-OUT FLOWS/S BITS/S WHY',
  );
  t.regex(
    a ?? '',
    /^a:80 +172\.30\.0\.2 fd00:30::2 +1 +up +\d s +12 +3 +13000 +4 +100 +90 +7000 +2123456 +1\.50k +8\.00M +-$/,
  );
  t.regex(b ?? '', /^b:8080 .* 0 +draining +\d s +0 +0 +0 +0 +0 +0 +0 +0 +0 +0 /);
  t.is(end, '');
  const [view] = JSON.parse((await run('show', 'services', '--json')).out) as ServiceView[];
  t.like(view, { flows: 13_000, active: 12, inactive: 3, bytesOut: 2_123_456, failures: 4, state: 'up', reason: '' });
  t.deepEqual(view?.rate, { connections: 1500, packets: 0, bits: 8_000_000 });
  t.regex(view?.backends[0]?.since ?? '', /^\d{4}-\d\d-\d\dT/);
});

test('show services: reasons, suspects and deadlines', async (t) => {
  const { run, daemon, web } = await makeWeb(t, '--health', 'tcp', '--drain-timeout', '1000');
  daemon.services.setHealth('web', 'a:80', false, 'connection refused');
  t.regex((await run('show', 'services')).out, /^a:80 .* down .* connection refused$/m);
  for (const key of ['a:80', 'b:8080']) daemon.services.setHealth('web', key, true, '');
  const b = daemon.services.get('web').backends[1];
  daemon.services.setSuspect(b?.number ?? 0, true);
  t.regex((await run('show', 'services')).out, /^b:8080 .* up suspect /m);
  await run('service', 'update', 'web', '--weight', 'a:80=0');
  t.regex((await run('show', 'services')).out, /^a:80 .* draining .*its connections are ended in 16 min$/m);
  const { deadline } = (await web()).backends[0] ?? {};
  const left = Date.parse(deadline ?? '') - Date.now();
  t.true(left > 990_000 && left <= 1_000_000, deadline ?? 'no deadline');
  await run('disconnect', 'b');
  const gone = await web();
  t.like(gone, { state: 'down', reason: '1 draining, 1 absent' });
  t.deepEqual(gone.backends[1]?.addresses, []);
});

test('show services --watch: again and again until the reader goes', async (t) => {
  const { env } = await makeWeb(t);
  const lines = await watch(t, env, ['show', 'services', 'web', '--watch', '0.1', '--json']);
  for (const line of lines) t.is(JSON.parse(line).name, 'web');
});

for (const [words, line] of [
  ['create web --network blue', "required option '--listen <listen>' not specified"],
  ['create web --listen 80', "required option '--network <network>' not specified"],
  ['create web --network blue --listen 80 --health none', '--health: none is what holds unless something else is said'],
  [
    'create web --network blue --listen 80 --backend a',
    '--backend: expected ENDPOINT:PORT or ENDPOINT:PORT:WEIGHT, got "a"',
  ],
  [
    'create web --network blue --listen 80 --backend a:1:2:3',
    '--backend: expected ENDPOINT:PORT or ENDPOINT:PORT:WEIGHT, got "a:1:2:3"',
  ],
  [
    'create web --network blue --listen 80 --scheduler best',
    "option '--scheduler <scheduler>' argument 'best' is invalid. Allowed choices are rr, wrr, lc, wlc, sh, maglev.",
  ],
  [
    'create web --network blue --listen 80 --health ftp',
    '--health: expected tcp, http, https or a URL such as http://:8080/health, got "ftp"',
  ],
  ['create web --network blue --listen 80 --no-direct', "unknown option '--no-direct' (Did you mean --direct?)"],
  ['update web', 'expected what to change, such as --scheduler lc or --weight a:80=0'],
  ['update web --weight a:80', '--weight: expected ENDPOINT:PORT=WEIGHT, got "a:80"'],
  ['update web --weight a:80=0 --weight a:80=5', '--weight: expected one weight of a:80, got two'],
  ['update web --weight a=3', '--weight: expected ENDPOINT:PORT=WEIGHT, got "a=3"'],
  [
    'update web --backend a:80 --backend-rm b:80',
    '--backend: expected without --backend-add, --backend-rm and --weight; it stands for all backends',
  ],
  ['update web --health none --health-fall 3', '--health-fall: expected a check that it belongs to, got --health none'],
  ['update', "missing required argument 'service'"],
  ['rm', "missing required argument 'service'"],
  [
    'backends web frob',
    "command-argument value 'frob' is invalid for argument 'action'. Allowed choices are ls, add, rm, weight.",
  ],
  ['backends web ls a:80', 'ls: expected no backends, got a:80'],
  ['backends web add', 'add: expected backends such as a:80, got none'],
  ['backends web weight', 'weight: expected backends such as a:80=2, got none'],
  ['backends web weight a:80', 'weight: expected ENDPOINT:PORT=WEIGHT, got "a:80"'],
] as const) {
  test(`usage: service ${words}`, async (t) => {
    t.like(await cli(['service', ...words.split(' ')]), { code: 2, out: '', err: `tapline: ${line}\n` });
  });
}

for (const [words, code, line] of [
  ['create web --network blue --listen 172.30.0.101:80', 1, 'name: service web already exists'],
  ['create x --network none --listen 80', 1, /^network: .*none/],
  ['create x --network blue --listen 172.30.0.101:0', 2, /^listen\[0\]: expected a listening address such as /],
  [
    'create x --network blue --listen 172.30.0.101:80 --backend a:70000',
    2,
    'backends[0].port: expected an integer from 1 to 65535, got 70000',
  ],
  [
    'create x --network blue --listen 172.30.0.101:80 --backend a:80:-1',
    2,
    'backends[0].weight: expected an integer from 0 to 65535, got -1',
  ],
  [
    'create x --network blue --listen 172.30.0.101:80 --table-size 1000',
    2,
    'table_size: expected a prime number from 251 to 1048573, got 1000',
  ],
  [
    'create x --network blue --listen 172.30.0.101:80 --health tcp:///x',
    2,
    'health.path: needs type: http or type: https',
  ],
  [
    'create x --network blue --listen 172.30.0.101:80 --health-fall 3',
    2,
    'health.type: missing; expected one of tcp, http, https',
  ],
  ['create x --network blue --listen 172.30.0.100:80', 1, /^listen\[0\]: 172\.30\.0\.100:80\/tcp is taken by .*web/],
  ['create x --network blue --listen 172.30.0.101:80 --listen 172.30.0.101:80', 1, /^listen\[1\]: /],
  ['create x --network blue --listen 172.30.0.101:80 --backend c:80', 1, /^backends\[0\]\.endpoint: .*"c"/],
  ['create x --network blue --listen 172.30.0.2:80', 1, /172\.30\.0\.2 is already an address of endpoint a/],
  ['update web --drain-timeout -5', 2, 'drain_timeout: expected an integer from 0 to 86400, got -5'],
  ['update web --weight a:80=65536', 2, 'weights["a:80"]: expected an integer from 0 to 65535, got 65536'],
  ['update web --backend-rm a', 2, 'remove[0]: expected a backend such as "a:80", got "a"'],
  ['update web --health-interval 5', 2, 'health.type: missing; expected one of tcp, http, https'],
  ['update nobody --scheduler lc', 1, 'no service nobody'],
  ['inspect nobody', 1, 'no service nobody'],
  ['backends nobody', 1, 'no service nobody'],
] as const) {
  test(`refused: service ${words}`, async (t) => {
    const { run, web } = await makeWeb(t);
    const before = await web();
    const { code: got, out, err } = await run('service', ...words.split(' '));
    t.deepEqual([got, out], [code, ''], err);
    if (typeof line === 'string') t.is(err, `tapline: ${line}\n`);
    else t.regex(err.replace(/^tapline: /, ''), line);
    t.is(err.split('\n').length, 2, 'one line');
    t.deepEqual(await web(), before);
  });
}

test('the API: backends one by one, and what it refuses', async (t) => {
  const { api, web } = await makeWeb(t);
  const path = '/v1/services/web/backends';
  t.like(await api.post(path, { endpoint: 'a', port: 81 }), { name: 'a:81', weight: 1 });
  t.like(await api.patch(`${path}/${encodeURIComponent('a:81')}`, { weight: 7 }), { name: 'a:81', weight: 7 });
  t.is(await api.delete(`${path}/a%3A80`), undefined);
  t.deepEqual(weights(await web()), ['b:8080=2', 'a:81=7']);
  const refused = async (work: Promise<unknown>, kind: string, message: RegExp): Promise<void> => {
    t.like(await t.throwsAsync(work, { message }), { kind });
  };
  await refused(api.post(path, { endpoint: 'a', port: 81 }), 'conflict', /^service web has backend a:81 already$/);
  await refused(api.post(path, { endpoint: 'a' }), 'invalid', /^port: missing; expected an integer from 1 to 65535$/);
  await refused(api.patch(`${path}/a%3A81`, {}), 'invalid', /^weight: missing/);
  await refused(
    api.patch(`${path}/a%3A81`, { weight: 1, port: 3 }),
    'invalid',
    /^port: unknown key; expected one of weight$/,
  );
  await refused(
    api.patch(`${path}/a%3A99`, { weight: 1 }),
    'missing',
    /^service web has no backend a:99; it has b:8080, a:81$/,
  );
  await refused(api.delete(`${path}/x`), 'missing', /^service web has no backend x; it has /);
  await refused(api.delete('/v1/services/nobody/backends/a%3A80'), 'missing', /^no service nobody$/);
  await refused(
    api.patch('/v1/services/web', { network: 'red' }),
    'invalid',
    /^network: service web stays in network blue/,
  );
  await refused(api.patch('/v1/services/web', []), 'invalid', /^expected a JSON object as the body of the request$/);
  await refused(api.post('/v1/services', { network: 'blue', listen: ['80'] }), 'invalid', /^name: missing/);
  t.deepEqual(weights(await web()), ['b:8080=2', 'a:81=7']);
});

test('while the file’s services are being made, questions about them wait for the answer, and changes too', async (t) => {
  const { run, daemon } = await makeEndpoints(t);
  const backends = [
    { endpoint: 'a', port: 80 },
    { endpoint: 'b', port: 80 },
  ];
  const web = serviceSchema.parse({ network: 'blue', listen: [VIP], backends });
  let go = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  // In the place of a start that takes its time.
  daemon.applied = () => held;
  const asked = [run('show', 'services', 'web'), run('service', 'ls', '--json')];
  await sleep(100);
  await daemon.createService('web', web);
  go();
  const [shown, listed] = await Promise.all(asked);
  t.is(shown?.err, '');
  t.is(JSON.parse(listed?.out ?? '').length, 1);
});

test('what is removed and made again while a change waits is changed as it is then', async (t) => {
  const { api, web } = await makeWeb(t);
  const again = { name: 'web', network: 'blue', listen: ['172.30.0.101:80'], backends: [{ endpoint: 'b', port: 82 }] };
  const work = [
    api.delete('/v1/services/web'),
    api.post('/v1/services', again),
    api.patch('/v1/services/web', { scheduler: 'wlc' }),
  ];
  await Promise.all(work);
  t.like(await web(), { scheduler: 'wlc', listen: ['172.30.0.101:80/tcp'] });
  t.deepEqual(weights(await web()), ['b:82=1']);
});

test('changes that are asked for at once are all made', async (t) => {
  const { api, web } = await makeWeb(t);
  const ports = Array.from({ length: 20 }, (_, i) => 9000 + i);
  await Promise.all(ports.map((port) => api.post('/v1/services/web/backends', { endpoint: 'a', port })));
  t.is((await web()).backends.length, 22);
});

test('completion offers services, backends and endpoints', async (t) => {
  const { run } = await makeWeb(t);
  const complete = async (...words: string[]): Promise<string[]> =>
    (await run('__complete', ...words)).out.split('\n').slice(0, -1);
  t.deepEqual(await complete('service', ''), ['create', 'ls', 'inspect', 'update', 'rm', 'backends']);
  t.deepEqual(await complete('service', 'rm', ''), ['web']);
  t.deepEqual(await complete('show', 'services', ''), ['web']);
  t.deepEqual(await complete('service', 'create', 'x', '--scheduler', 'w'), ['wrr', 'wlc']);
  t.deepEqual(await complete('service', 'create', 'x', '--network', ''), ['blue', 'red']);
  t.deepEqual(await complete('service', 'create', 'x', '--backend', ''), ['a:', 'b:']);
  t.deepEqual(await complete('service', 'update', 'web', '--backend-rm', ''), ['a:80', 'b:8080']);
  t.deepEqual(await complete('service', 'backends', 'web', ''), ['ls', 'add', 'rm', 'weight']);
  t.deepEqual(await complete('service', 'backends', 'web', 'rm', 'b'), ['b:8080']);
  t.deepEqual(await complete('service', 'create', 'x', '--health-'), [
    '--health-host',
    '--health-status',
    '--health-body',
    '--health-interval',
    '--health-timeout',
    '--health-rise',
    '--health-fall',
  ]);
});

test('help of service and its commands has examples', async (t) => {
  for (const command of ['create', 'update', 'backends']) {
    const { code, out, err } = await cli(['service', command, '--help']);
    t.deepEqual([code, err], [0, '']);
    t.regex(out, /Examples:\n {2}tapline service /);
  }
  t.regex((await cli(['service', 'create', '--help'])).out, /Schedulers: rr \(in turn\)/);
});

test('numbers for people', (t) => {
  t.deepEqual([0, 999, 119_999, 120_000, 7_199_000, 7_200_000, 172_800_000].map(duration), [
    '0 s',
    '0 s',
    '119 s',
    '2 min',
    '119 min',
    '2 h',
    '2 d',
  ]);
  t.is(duration(-5), '0 s', 'clocks of two machines');
  t.deepEqual([0, 0.4, 999, 999.6, 1500, 9994, 9996, 99_960, 999_499, 1e6, 12_345_678, 1e12, 5e15].map(quantity), [
    '0',
    '0',
    '999',
    '1.00k',
    '1.50k',
    '9.99k',
    '10.0k',
    '100k',
    '999k',
    '1.00M',
    '12.3M',
    '1.00T',
    '5000T',
  ]);
});
