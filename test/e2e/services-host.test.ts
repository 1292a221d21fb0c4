/** Services at an address that the host has too, and what becomes of them when the daemon is killed. */

import test, { type ExecutionContext } from 'ava';
import { type Counted, countConnections, greet, hold, tally } from './support/greeters.js';
import { createOutdoors, HOST, type Outdoors, snapshot, OUTSIDE as WIRE } from './support/host.js';
import { createHosts, type Host } from './support/lab.js';
import { startNginx } from './support/nginx.js';
import { type Background, must, start } from './support/process.js';
import { ask, fetchFrom, send, serve } from './support/published.js';
import { backends, prepareServiceSite, service, serviceOf } from './support/services.js';
import { UPLINK } from './support/site.js';
import { PROGRAM, prepare, startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

interface Scene extends Outdoors {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  readonly before: string;
}

function sharedConfig(hosts: readonly Host[], services: object): object {
  const endpoints = hosts.map(({ endpoint, path, ip, ip6 }) => [
    endpoint,
    { network: 'blue', netns: path, addresses: [ip, ip6] },
  ]);
  return {
    version: 1,
    uplink: { device: 'up0', mode: 'shared' },
    networks: { blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'] } },
    endpoints: Object.fromEntries(endpoints),
    services,
  };
}

async function createShared(t: ExecutionContext, services: object): Promise<Scene> {
  const outdoors = await createOutdoors(t);
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  for (const host of [a, b]) await serve(t, host, host.endpoint, [80, 81]);
  const before = await snapshot(outdoors);
  const tapline = await startTapline(t, sharedConfig([a, b], services), { netns: outdoors.host });
  return { ...outdoors, tapline, a, b, before };
}

const web = (listen: readonly string[], port = 80): object => service({ listen, backends: backends(['a', 'b'], port) });

test.serial('shared: outside and the host’s own processes reach it at every address', async (t) => {
  const scene = await createShared(t, {
    web: web(['8080/tcp', '8080/udp']),
    own: web(['127.0.0.1:9090/tcp', '[::1]:9090/tcp'], 81),
  });
  const { tapline, host, outside, before } = scene;
  for (const [address, peer] of [
    [HOST.ip, WIRE.ip],
    [HOST.ip6, WIRE.ip6],
  ] as const) {
    const pages = [await fetchFrom(outside, address, 8080), await fetchFrom(outside, address, 8080)];
    for (const page of pages) t.like(page, { port: 80, peer });
    t.deepEqual(pages.map((page) => page?.name).sort(), ['a', 'b'], address);
    t.like(await ask(t, outside, address, 8080, 43_211), { port: 80, peer, peerPort: 43_211 });
  }
  for (const address of ['127.0.0.1', HOST.ip, '::1', HOST.ip6]) {
    const pages = [await fetchFrom(host, address, 8080), await fetchFrom(host, address, 8080)];
    t.deepEqual(pages.map((page) => page?.name).sort(), ['a', 'b'], address);
    const datagrams = [await ask(t, host, address, 8080), await ask(t, host, address, 8080)];
    t.deepEqual(datagrams.map((datagram) => datagram?.name).sort(), ['a', 'b'], address);
  }
  for (const address of ['127.0.0.1', '::1']) t.like(await fetchFrom(host, address, 9090), { port: 81 }, address);
  t.is(await fetchFrom(outside, HOST.ip, 9090, '-m', '2'), null);
  // The ports are held.
  const second = await host.run(['python3', '-c', 'import socket; socket.create_server(("0.0.0.0", 8080))']);
  t.regex(second.stderr, /Address already in use/);
  t.regex(await host.exec('sysctl', '-n', 'net.ipv4.ip_local_reserved_ports'), /8080/);
  // And given back.
  await send(tapline.socket, 'DELETE', '/v1/services/web');
  await host.exec('python3', '-c', 'import socket; socket.create_server(("0.0.0.0", 8080))');
  await tapline.stop();
  t.is(await snapshot(scene), before);
});

test.serial('shared: a port that a process of the host has is refused by its name', async (t) => {
  const { tapline, host } = await createShared(t, {});
  const holder = host.start('socat', 'TCP-LISTEN:8080,fork', 'EXEC:true');
  let pid = '';
  await eventually('somebody to listen', async () => {
    pid = /pid=(\d+)/.exec(await host.exec('ss', '-Hltnp', 'sport', '=', ':8080'))?.[1] ?? '';
    return pid !== '';
  });
  const words = ['service', 'create', 'web', '--network', 'blue', '--listen', '8080/tcp', '--backend', 'a:80'];
  const refused = await tapline.cli(...words);
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    new RegExp(`^tapline: .*port 8080/tcp is held by socat \\(pid ${pid}\\); end it, or choose another port\n$`),
  );
  t.notRegex(await tapline.ok('service', 'ls'), /web/);
  await holder.stop('SIGTERM');
  await tapline.ok(...words);
  t.like(await fetchFrom(host, '127.0.0.1', 8080), { name: 'a' });
  // What is taken by a service is taken for published ports, and the other way round.
  const taken = await tapline.cli('publish', 'b', '8080:80');
  t.is(taken.code, 1);
  t.regex(taken.stderr, /8080:80\/tcp is taken by .*8080\/tcp of service web/);
  await tapline.ok('publish', 'b', '8081:80');
  const clash = await tapline.cli('service', 'update', 'web', '--listen', '8081/tcp');
  t.is(clash.code, 1);
  t.regex(clash.stderr, /8081\/tcp is taken by 8081:80\/tcp of endpoint b/);
  t.like(await fetchFrom(host, '127.0.0.1', 8080), { name: 'a' }, 'it is as it was');
});

test.serial('shared: no backends: the host’s own processes are refused as well, at once', async (t) => {
  const { host, outside } = await createShared(t, { none: service({ listen: ['8080/tcp'], backends: [] }) });
  for (const [from, address] of [
    [outside, HOST.ip],
    [outside, HOST.ip6],
    [host, '127.0.0.1'],
    [host, HOST.ip],
  ] as const) {
    const began = performance.now();
    const { counts } = await countConnections(from, address, 8080, 1);
    t.true(performance.now() - began < 1500, address);
    // Who has been let in already is reset.
    t.is((counts.ECONNREFUSED ?? 0) + (counts.ECONNRESET ?? 0) + (counts.closed ?? 0), 1, JSON.stringify(counts));
  }
});

test.serial('shared: a flood from outside is not noted; the host’s own connections are', async (t) => {
  const { tapline, a, b, host, outside } = await createShared(t, {
    web: service({ flood_rate: 200, backends: backends(['a', 'b'], 82) }),
  });
  for (const where of [a, b]) await greet(where, where.endpoint, [82]);
  const found = ({ counts }: Counted): number => (counts.a ?? 0) + (counts.b ?? 0);
  for (const address of [HOST.ip, HOST.ip6]) {
    const { flows: before } = await serviceOf(tapline);
    const flood = await countConnections(outside, address, 8080, 5000, { width: 32 });
    t.is(found(flood), 5000, JSON.stringify(flood.counts));
    t.true((await serviceOf(tapline)).flows - before < 4000, address);
  }
  const { flows: before } = await serviceOf(tapline);
  t.is(found(await countConnections(host, '127.0.0.1', 8080, 500, { width: 16 })), 500);
  t.is((await serviceOf(tapline)).flows - before, 500);
});

/** One place for one daemon after the other. */
async function createStage(t: ExecutionContext, services: object) {
  const site = await prepareServiceSite(t, { services: services as Record<string, object> });
  const { argv, socket } = prepare(t, site.config, { netns: site.host });
  let daemon: Background | null = null;
  t.teardown(async () => {
    if (daemon?.running() === true) await daemon.stop('SIGTERM');
  });
  return {
    ...site,
    socket,
    ok: (...words: string[]): Promise<string> => must([process.execPath, PROGRAM, '--socket', socket, ...words]),
    up: async (): Promise<void> => {
      daemon = start(t, argv);
      await daemon.said(/^ready$/m, 30_000);
    },
    kill: async (): Promise<void> => {
      await daemon?.stop('SIGKILL');
    },
  };
}

test.serial(
  'kill -9 in the middle of transfers: they go on with their backends, and are counted as before',
  async (t) => {
    const stage = await createStage(t, {
      web: service({ listen: ['8080/tcp', '8080/udp'], backends: backends(['a', 'b'], 80) }),
      files: service({ listen: ['8081/tcp'], backends: backends(['a', 'b'], 81) }),
    });
    const { a, b, outside } = stage;
    await stage.up();
    const tapline = { socket: stage.socket } as Tapline;
    for (const host of [a, b]) {
      await greet(host, host.endpoint, [80]);
      await startNginx(t, host, host.endpoint, { port: 81, large: 8 << 20, rate: 1 << 20 });
    }
    const holders = [
      await hold(outside, UPLINK.ip, 8080, 40, { pause: 20 }),
      await hold(outside, UPLINK.ip6, 8080, 40, { pause: 20 }),
    ];
    const format = '%{http_code} %{size_download}';
    const urls = [UPLINK.ip, `[${UPLINK.ip6}]`].flatMap((address) => [1, 2].map(() => `http://${address}:8081/large`));
    const downloads = urls.map((url) =>
      outside.start('curl', '-s', '--noproxy', '*', '-o', '/dev/null', '-w', format, url),
    );
    const datagrams = [];
    for (let own = 43_600; own < 43_606; own++) datagrams.push((await ask(t, outside, UPLINK.ip, 8080, own))?.name);
    await sleep(2000);
    const active = async (name: string): Promise<number[]> =>
      (await serviceOf(tapline, name)).backends.map((backend) => backend.active);
    const before = [await active('web'), await active('files')];
    t.deepEqual(before, [
      [43, 43],
      [2, 2],
    ]);

    await stage.kill();
    await stage.up();
    for (const holder of holders) {
      await holder.goesOn();
      t.deepEqual(holder.lost(), []);
      t.deepEqual(tally(holder.greetings.map(({ name }) => name)), { a: 20, b: 20 });
    }
    t.deepEqual([await active('web'), await active('files')], before);
    const after = [];
    for (let own = 43_600; own < 43_606; own++) after.push((await ask(t, outside, UPLINK.ip, 8080, own))?.name);
    t.deepEqual(after, datagrams, 'datagrams of the same ports');
    for (const download of downloads) {
      const { code, stdout } = await download.ended;
      t.is(code, 0);
      t.is(stdout, `200 ${8 << 20}`);
    }
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 100)).counts, { a: 50, b: 50 });
    // What they got in all is counted from the start of a process, as ports count.
    for (const { flows, bytesIn } of (await serviceOf(tapline)).backends) {
      t.is(flows, 50);
      t.true(bytesIn > 50 * 40);
    }
    for (const holder of holders) await holder.stop();
    await eventually('connections to be over', async () => (await active('web')).every((count) => count <= 6));
  },
);

test.serial('kill -9: what commands made and changed is there again, as it was', async (t) => {
  const stage = await createStage(t, { web: service({ backends: backends(['a', 'b'], 80) }) });
  const { a, b, c, outside } = stage;
  await stage.up();
  for (const host of [a, b, c]) await greet(host, host.endpoint, [80, 81]);
  const words = ['--network', 'blue', '--listen', '8081/tcp', '--scheduler', 'wrr', '--health', 'tcp'];
  await stage.ok('service', 'create', 'more', ...words, '--backend', 'a:81:3', '--backend', 'c:81');
  await stage.ok('service', 'update', 'web', '--weight', 'a:80=0', '--backend-add', 'c:80');
  const view = async (name: string): Promise<object> => {
    const { backends: all, ...service } = await serviceOf({ socket: stage.socket } as Tapline, name);
    return {
      listen: service.listen,
      scheduler: service.scheduler,
      health: service.health,
      backends: all.map((backend) => `${backend.name} ${backend.weight}`),
    };
  };
  const before = [await view('web'), await view('more')];
  t.like(before[0], { backends: ['a:80 0', 'b:80 1', 'c:80 1'] });
  await stage.kill();
  await stage.up();
  t.deepEqual([await view('web'), await view('more')], before);
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { b: 5, c: 5 });
  await eventually('backends to be found healthy', async () => {
    const { backends: all } = await serviceOf({ socket: stage.socket } as Tapline, 'more');
    return all.every(({ state }) => state === 'up');
  });
  t.deepEqual((await countConnections(outside, UPLINK.ip, 8081, 8)).counts, { a: 6, c: 2 });
  await stage.ok('service', 'rm', 'more', 'web');
  await stage.kill();
  await stage.up();
  t.notRegex(await stage.ok('service', 'ls'), /more/);
});
