/** Health checks from inside the networks: what they see, whom they reach, whose way they are in, and what is left of them. */

import { readdirSync, readlinkSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { BackendView, ServiceView } from '../../control/service-views.js';
import { createHosts, type Host, labConfig } from './support/lab.js';
import { createNamespace } from './support/namespace.js';
import { must, run } from './support/process.js';
import { BLUE } from './support/site.js';
import { prepare, type StartOptions, startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';
import { startWeb, type WebServer } from './support/web.js';

const VIRTUAL = '172.30.0.100:80/tcp';
/** Seconds, where a test says nothing else. */
const TIMES = { interval: 1, timeout: 1, rise: 2, fall: 2 };
/** Milliseconds that a busy machine may take besides. */
const SLACK = 5000;

interface LabOptions extends StartOptions {
  readonly health: object;
  /** More keys of the service, of the network `blue`, of endpoints by name, and of the file. */
  readonly service?: object;
  readonly network?: object;
  readonly endpoints?: Readonly<Record<string, object>>;
  readonly file?: object;
}

function configOf(hosts: readonly Host[], { health, service, network, endpoints, file }: LabOptions): object {
  const backends = hosts.map(({ endpoint }) => ({ endpoint, port: 80 }));
  const web = { network: 'blue', listen: [VIRTUAL], backends, health: { ...TIMES, ...health }, ...service };
  return { ...labConfig(hosts, network, endpoints), services: { web }, ...file };
}

interface Checked {
  readonly tapline: Tapline;
  readonly hosts: readonly Host[];
  readonly servers: readonly WebServer[];
}

/** Endpoints in `blue`, all of them backends of the service `web`, with servers that are there first. */
async function createChecked(t: ExecutionContext, count: number, options: LabOptions): Promise<Checked> {
  const hosts = await createHosts(t, count);
  const { port = 80, type } = options.health as { port?: number; type: string };
  const servers = await Promise.all(hosts.map((host) => startWeb(t, host, port, type === 'https')));
  const tapline = await startTapline(t, configOf(hosts, options), options);
  for (const { endpoint } of hosts) await said(tapline, 'backend-up', `${endpoint}:80`);
  return { tapline, hosts, servers };
}

async function services(tapline: Tapline): Promise<ServiceView[]> {
  return JSON.parse(await tapline.ok('show', 'services', '--json')) as ServiceView[];
}

async function backend(tapline: Tapline, name: string): Promise<BackendView> {
  const found = (await services(tapline)).flatMap(({ backends }) => backends).find((one) => one.name === name);
  if (found === undefined) throw new Error(`no backend ${name}`);
  return found;
}

/** Waits until the daemon says so of a backend. @returns when it said it, in milliseconds of this process's clock */
async function said(tapline: Tapline, kind: string, name: string, after = 0): Promise<number> {
  let found: { time: string; text: string } | undefined;
  await eventually(`${kind} of ${name}`, async () => {
    const events = await tapline.events();
    found = events.find(
      (one) => (one.kind as string) === kind && one.text.includes(`/${name} `) && timeOf(one) >= after,
    );
    return found !== undefined;
  });
  return found === undefined ? 0 : timeOf(found);
}

function timeOf({ time }: { time: string }): number {
  return Date.parse(time);
}

test.serial('tcp: killed, it is down within fall times the interval; it is up again when it is back', async (t) => {
  const { tapline, hosts, servers } = await createChecked(t, 2, { health: { type: 'tcp' } });
  const b = hosts[1] as Host;
  const killed = Date.now();
  await servers[1]?.process.stop('SIGKILL');
  const down = (await said(tapline, 'backend-down', 'b:80', killed)) - killed;
  t.true(down <= 1000 * TIMES.fall * TIMES.interval + SLACK, `${down} ms`);
  t.like(await backend(tapline, 'b:80'), { state: 'down', reason: `${b.ip}:80 refuses connections` });
  t.like(await backend(tapline, 'a:80'), { state: 'up', reason: '' });
  const back = Date.now();
  await startWeb(t, b, 80);
  const up = (await said(tapline, 'backend-up', 'b:80', back)) - back;
  t.true(up <= 1000 * TIMES.rise * TIMES.interval + SLACK, `${up} ms`);
});

test.serial('http: status and body, at a port of its own; the reason follows', async (t) => {
  const health = { type: 'http', port: 8080, path: '/health', status: 200, body: 'ok' };
  const { tapline, servers } = await createChecked(t, 1, { health });
  const [server] = servers as [WebServer];
  server.answer(503, 'ok');
  await said(tapline, 'backend-down', 'a:80');
  t.is((await backend(tapline, 'a:80')).reason, 'HTTP 503, expected 200');
  server.answer(200, 'not well');
  await eventually('another reason', async () => /body/.test((await backend(tapline, 'a:80')).reason));
  t.is((await backend(tapline, 'a:80')).reason, 'no "ok" in the body');
  const before = Date.now();
  server.answer(200, 'all ok');
  await said(tapline, 'backend-up', 'a:80', before);
  t.deepEqual(new Set(server.log()), new Set(['::ffff:172.30.0.254 /health']));
});

test.serial('https: whoever has signed the certificate; not without TLS', async (t) => {
  const { tapline, hosts, servers } = await createChecked(t, 1, { health: { type: 'https' } });
  await servers[0]?.process.stop('SIGKILL');
  await startWeb(t, hosts[0] as Host, 80);
  await eventually('its reason', async () => /HTTPS/.test((await backend(tapline, 'a:80')).reason));
  t.regex((await backend(tapline, 'a:80')).reason, /^172\.30\.0\.2:80 does not speak HTTPS: /);
});

test.serial('a backend that is stopped in the middle of all does not answer in time', async (t) => {
  const { tapline, hosts } = await createChecked(t, 1, { health: { type: 'http' } });
  const [pid] = (await must(['ip', 'netns', 'pids', (hosts[0] as Host).name])).trim().split('\n').map(Number);
  process.kill(pid as number, 'SIGSTOP');
  await said(tapline, 'backend-down', 'a:80');
  t.is((await backend(tapline, 'a:80')).reason, '172.30.0.2:80 does not answer within 1 s');
  const before = Date.now();
  process.kill(pid as number, 'SIGCONT');
  await said(tapline, 'backend-up', 'a:80', before);
});

for (const [what, network, endpoints, policy] of [
  [
    'a policy that drops, and a rule that rejects',
    { policy: 'drop' },
    {},
    [{ to: { endpoint: 'a' }, action: 'reject' }],
  ],
  ['isolated endpoints', { isolated: true }, {}, []],
  ['VLANs', { vlan_filtering: true }, {}, []],
  [
    'no way out, router advertisements, strict storm control',
    {
      internal: true,
      router_advertisements: { enabled: true, interval: 4, lifetime: 0 },
      storm_control: { broadcast: 10, multicast: 10, unknown_unicast: 10 },
    },
    {},
    [],
  ],
] as const) {
  test.serial(`checks work all the same in a network with ${what}`, async (t) => {
    const options = { health: { type: 'http' }, network, endpoints, file: { policy } };
    const { tapline, servers } = await createChecked(t, 2, options);
    // They go on: several rounds without one that is lost.
    await sleep(3000);
    t.deepEqual(
      (await tapline.events()).filter(({ kind }) => (kind as string) === 'backend-down'),
      [],
    );
    for (const server of servers) t.true(server.log().length >= 3, String(server.log().length));
    const { rxDrops } = await tapline.port('health:blue');
    t.deepEqual(
      Object.keys(rxDrops).filter((reason) => reason === 'policy' || reason === 'isolated'),
      [],
    );
  });
}

test.serial('a service over IPv6 alone is checked over IPv6; one in a network of IPv6 alone as well', async (t) => {
  const [a] = (await createHosts(t, 1)) as [Host];
  const server = await startWeb(t, a, 80);
  const health = { type: 'http', ...TIMES };
  const tapline = await startTapline(t, {
    version: 1,
    networks: { blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'] }, six: { subnets: ['fd00:66::/64'] } },
    endpoints: {
      a: { network: 'blue', netns: a.path, addresses: [a.ip, a.ip6] },
      b: { network: 'six', netns: a.path, interface: 'eth1', addresses: ['fd00:66::2'] },
    },
    services: {
      web: { network: 'blue', listen: ['[fd00:30::100]:80'], backends: [{ endpoint: 'a', port: 80 }], health },
      web6: { network: 'six', listen: ['[fd00:66::100]:80'], backends: [{ endpoint: 'b', port: 80 }], health },
    },
  });
  for (const name of ['a:80', 'b:80']) await said(tapline, 'backend-up', name);
  const seen = new Set(server.log().map((line) => line.split(' ')[0]));
  t.deepEqual([...seen].sort(), ['fd00:30::ffff:ffff:ffff:ff7f', 'fd00:66::ffff:ffff:ffff:ff7f']);
});

test.serial('two VRFs with the same addresses: each backend is checked from its own', async (t) => {
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const server = await startWeb(t, a, 80);
  const network = { subnets: ['172.30.0.0/24'] };
  const of = (name: string, endpoint: string) => ({
    network: name,
    listen: [VIRTUAL],
    backends: [{ endpoint, port: 80 }],
    health: { type: 'http', ...TIMES },
  });
  const tapline = await startTapline(t, {
    version: 1,
    vrfs: { one: {}, two: {} },
    networks: { blue: { ...network, vrf: 'one' }, green: { ...network, vrf: 'two' } },
    endpoints: {
      a: { network: 'blue', netns: a.path, addresses: ['172.30.0.2'] },
      b: { network: 'green', netns: b.path, addresses: ['172.30.0.2'] },
    },
    services: { web: of('blue', 'a'), other: of('green', 'b') },
  });
  await said(tapline, 'backend-up', 'a:80');
  await said(tapline, 'backend-down', 'b:80');
  const other = await startWeb(t, b, 80);
  await said(tapline, 'backend-up', 'b:80');
  t.true(server.log().length > 0 && other.log().length > 0);
});

test.serial('passive is faster: a suspect is checked at once, long before its next check', async (t) => {
  const health = { type: 'tcp', interval: 60, fall: 1 };
  const { tapline, hosts, servers } = await createChecked(t, 2, {
    health,
    service: { passive: { failures: 2, time: 600 } },
  });
  const client = hosts[0] as Host;
  const ask = () => client.run(['curl', '-s', '-m', '3', '--noproxy', '*', 'http://172.30.0.100/']);
  const killed = Date.now();
  await servers[1]?.process.stop('SIGKILL');
  for (let i = 0; i < 4; i++) await ask();
  const suspect = (await said(tapline, 'backend-suspect', 'b:80', killed)) - killed;
  const down = (await said(tapline, 'backend-down', 'b:80', killed)) - killed;
  t.true(suspect < 20_000 && down < 20_000, `suspect after ${suspect} ms, down after ${down} ms`);
  t.is((await ask()).stdout, 'ok');
});

test.serial('an endpoint gets the address that it asks for, though the checks have it', async (t) => {
  const { tapline, hosts, servers } = await createChecked(t, 1, { health: { type: 'http' } });
  const [server] = servers as [WebServer];
  const other = await createNamespace(t);
  await tapline.ok('connect', 'blue', '--netns', other.path, '--name', 'z', '--address', '172.30.0.254');
  await eventually('checks from another address', () => server.log().some((line) => line.includes('172.30.0.253')));
  t.is((await backend(tapline, 'a:80')).state, 'up');
  t.regex(await other.exec('ping', '-n', '-c', '1', '-W', '3', (hosts[0] as Host).ip), /1 received/);
  t.deepEqual(
    (await tapline.events()).filter(({ kind }) => /down|conflict/.test(kind)),
    [],
  );
});

test.serial('a service that goes takes its checks along', async (t) => {
  const { tapline, servers } = await createChecked(t, 1, { health: { type: 'http' } });
  const [server] = servers as [WebServer];
  t.is(namespacesOf(tapline.pid).size, 2);
  await tapline.ok('service', 'rm', 'web');
  await eventually('the port to go', async () => (await tapline.ports()).every(({ name }) => name === 'a'));
  await eventually('the namespace to go', () => namespacesOf(tapline.pid).size === 1);
  const count = server.log().length;
  await sleep(1500);
  t.is(server.log().length, count);
});

/** 200 requests, one after the other; what is not answered at once is asked again by the kernel. */
const ASKING =
  'for i in $(seq 200); do curl -s -m 20 --noproxy "*" http://172.30.0.100/ || echo "failed: $?"; echo; done';

/** Network namespaces that threads of a process are in. */
function namespacesOf(pid: number): Set<string> {
  return new Set(readdirSync(`/proc/${pid}/task`).flatMap((tid) => namespaceOf(`/proc/${pid}/task/${tid}`)));
}

function namespaceOf(task: string): string[] {
  try {
    return [readlinkSync(`${task}/ns/net`)];
  } catch {
    // It ended in between.
    return [];
  }
}

/** All network namespaces that any thread of the machine is in. */
function allNamespaces(): Set<string> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return new Set(
    pids.flatMap((pid) => {
      try {
        return [...namespacesOf(Number(pid))];
      } catch {
        return [];
      }
    }),
  );
}

test.serial('killed, nothing of the checks is left; the next process refuses nobody, and checks go on', async (t) => {
  const hosts = await createHosts(t, 2);
  const [a, client] = hosts as [Host, Host];
  const service = { backends: [{ endpoint: 'a', port: 80 }] };
  const config = configOf(hosts, { health: { type: 'http' }, service });
  const { socket } = prepare(t, config);
  const server = await startWeb(t, a, 80);
  const tapline = await startTapline(t, config, { socket });
  await said(tapline, 'backend-up', 'a:80');
  const own = readlinkSync('/proc/self/ns/net');
  const [checking] = [...namespacesOf(tapline.pid)].filter((namespace) => namespace !== own);
  t.truthy(checking);
  tapline.forget();
  await tapline.process.stop('SIGKILL');
  await eventually('the namespace to be nobody’s', () => !allNamespaces().has(checking as string));
  const devices = (await run(['ip', '-o', 'link'])).stdout;
  t.notRegex(devices, /health/);
  const count = server.log().length;
  await sleep(1500);
  t.is(server.log().length, count);
  // While nobody answers ARP its kernel would give up after three seconds, which a start may take where others work.
  await client.exec('ip', 'neighbor', 'replace', '172.30.0.100', 'lladdr', BLUE.mac, 'dev', 'eth0', 'nud', 'permanent');
  const asking = client.start('sh', '-c', ASKING);
  const next = await startTapline(t, config, { socket });
  t.is((await backend(next, 'a:80')).state, 'up');
  await eventually('checks', () => server.log().length > count + 2);
  await eventually('checks', async () => (await next.ports()).length === 3);
  t.deepEqual((await next.ports()).map(({ name }) => name).sort(), ['a', 'b', 'health:blue']);
  const { stdout } = await asking.ended;
  t.is(stdout, 'ok\n'.repeat(200));
  t.deepEqual([...new Set(server.log())].sort(), ['::ffff:172.30.0.1 /', '::ffff:172.30.0.254 /']);
});
