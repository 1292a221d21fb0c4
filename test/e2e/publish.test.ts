/** Published ports with real servers and clients: an uplink with addresses of its own, and one that shares the host's. */

import test, { type ExecutionContext } from 'ava';
import { sendScapy, tcpdump } from './support/frames.js';
import { createOutdoors, HOST, type Outdoors, snapshot, OUTSIDE as WIRE } from './support/host.js';
import { createHosts, type Host } from './support/lab.js';
import { start } from './support/process.js';
import { ask, fetchFrom, post, serve } from './support/published.js';
import { createSite, OUTSIDE, type Site, UPLINK } from './support/site.js';
import { prepare, startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

const PUBLISHED = ['8080:80', `${UPLINK.ip}:5300:53/udp`, '6000-6010:7000-7010', '8080:80/udp'];

async function createPublished(t: ExecutionContext, publish: readonly string[] = PUBLISHED): Promise<Site> {
  const site = await createSite(t, { endpoint: { a: { publish } } });
  await serve(t, site.a, 'a', [80, 53, 7000, 7010]);
  return site;
}

test.serial('own: the outside reaches the endpoint, which sees its address and port, in both families', async (t) => {
  const { a, outside } = await createPublished(t);
  for (const [address, client, own] of [
    [UPLINK.ip, OUTSIDE.ip, 43_204],
    [UPLINK.ip6, OUTSIDE.ip6, 43_206],
  ] as const) {
    const answer = await fetchFrom(outside, address, 8080, '--local-port', String(own));
    t.deepEqual(answer, { name: 'a', port: 80, peer: client, peerPort: own });
    const datagram = await ask(t, outside, address, 8080, 43_211);
    t.deepEqual(datagram, { name: 'a', port: 80, peer: client, peerPort: 43_211 });
  }
  // A range: each port at its place. What is bound to the IPv4 address is not at the other.
  t.like(await fetchFrom(outside, UPLINK.ip, 6000), { name: 'a', port: 7000 });
  t.like(await fetchFrom(outside, UPLINK.ip6, 6010), { name: 'a', port: 7010 });
  t.like(await ask(t, outside, UPLINK.ip, 5300), { name: 'a', port: 53 });
  t.is(await ask(t, outside, UPLINK.ip6, 5300), null);
  // What is not published is not reached, neither by the uplink's address nor by the endpoint's own.
  t.is(await fetchFrom(outside, UPLINK.ip, 80), null);
  t.is(await fetchFrom(outside, a.ip, 80, '-m', '2'), null);
});

test.serial('own: published and unpublished while it runs; conflicts name whose the port is', async (t) => {
  const { tapline, b, outside } = await createPublished(t);
  await serve(t, b, 'b', [80]);
  t.is(await tapline.ok('publish', 'b', '9090:80', '9091:80/udp'), '9090:80/tcp\n9091:80/udp\n');
  t.like(await fetchFrom(outside, UPLINK.ip, 9090), { name: 'b', peer: OUTSIDE.ip });
  t.like(await ask(t, outside, UPLINK.ip, 9091), { name: 'b', peer: OUTSIDE.ip });
  const taken = await tapline.cli('publish', 'b', '6005:80');
  t.is(taken.code, 1);
  t.is(
    taken.stderr,
    'tapline: publish[2]: 6005:80/tcp is taken by 6000-6010:7000-7010/tcp of endpoint a; choose other ports, or another address\n',
  );
  t.is(await tapline.ok('unpublish', 'b', '9090:80'), '9091:80/udp\n');
  t.is(await fetchFrom(outside, UPLINK.ip, 9090), null);
  t.like(await ask(t, outside, UPLINK.ip, 9091), { name: 'b' });
  const unknown = await tapline.cli('unpublish', 'b', '9090:80');
  t.is(unknown.stderr, 'tapline: endpoint b has not published 9090:80/tcp; it has published 9091:80/udp\n');
  t.regex(await tapline.ok('publish'), /^b +blue +9091:80\/udp$/m);
});

test.serial(
  'own: a client with a fixed port follows an endpoint that is made anew, with another address',
  async (t) => {
    const { tapline, b, c, outside } = await createPublished(t, ['8080:80/udp']);
    t.like(await ask(t, outside, UPLINK.ip, 8080, 5555), { name: 'a' });
    await tapline.ok('disconnect', 'a', 'b');
    await tapline.ok('connect', 'blue', '--netns', b.path, '--name', 'a', '--ip', '172.30.0.77', '-p', '8080:81/udp');
    await serve(t, b, 'b', [81]);
    t.like(await ask(t, outside, UPLINK.ip, 8080, 5555), { name: 'b', port: 81, peer: OUTSIDE.ip, peerPort: 5555 });
    t.truthy(c);
  },
);

test.serial('own: all ports there are, of two protocols, cost next to nothing', async (t) => {
  const { tapline, outside } = await createPublished(t, []);
  const rss = async (): Promise<number> => {
    const text = await outside.exec('cat', `/proc/${tapline.pid}/status`);
    return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]);
  };
  // What the first ones take is not the ports': code that runs for the first time, a heap that finds its size.
  for (let port = 1; port <= 20; port++)
    await post(tapline.socket, '/v1/endpoints/a/publish', { publish: [`${port}:${port}/sctp`] });
  const before = await rss();
  const start = performance.now();
  await post(tapline.socket, '/v1/endpoints/a/publish', { publish: ['1-65535:1-65535/tcp', '1-65535:1-65535/udp'] });
  const took = performance.now() - start;
  const grown = (await rss()) - before;
  t.log(`${took.toFixed(1)} ms, ${grown} KiB`);
  t.true(took < 50, `${took} ms`);
  t.true(grown < 1024, `${grown} KiB`);
  t.like(await fetchFrom(outside, UPLINK.ip, 7000), { name: 'a', port: 7000 });
});

interface SharedScene extends Outdoors {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly before: string;
}

function sharedConfig(a: Host, publish: readonly string[]): object {
  return {
    version: 1,
    uplink: { device: 'up0', mode: 'shared' },
    networks: { blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'] } },
    endpoints: { a: { network: 'blue', netns: a.path, addresses: [a.ip, a.ip6], publish } },
  };
}

async function createShared(t: ExecutionContext, publish: readonly string[]): Promise<SharedScene> {
  const outdoors = await createOutdoors(t);
  const [a] = (await createHosts(t, 1)) as [Host];
  await serve(t, a, 'a', [80, 81]);
  const before = await snapshot(outdoors);
  const tapline = await startTapline(t, sharedConfig(a, publish), { netns: outdoors.host });
  return { ...outdoors, tapline, a, before };
}

test.serial(
  'shared: the host’s address carries them; its own processes find them at every address of it',
  async (t) => {
    const scene = await createShared(t, ['8080:80', '8080:80/udp', '127.0.0.1:9090:81']);
    const { tapline, host, outside, before } = scene;
    for (const [address, client] of [
      [HOST.ip, WIRE.ip],
      [HOST.ip6, WIRE.ip6],
    ] as const) {
      t.like(await fetchFrom(outside, address, 8080), { name: 'a', port: 80, peer: client });
      t.like(await ask(t, outside, address, 8080, 43_211), { name: 'a', port: 80, peer: client, peerPort: 43_211 });
    }
    for (const address of ['127.0.0.1', HOST.ip, '::1', HOST.ip6]) {
      t.like(await fetchFrom(host, address, 8080), { name: 'a', port: 80 }, address);
      t.like(await ask(t, host, address, 8080), { name: 'a', port: 80 }, address);
    }
    // Bound to the loopback: for the host alone.
    t.like(await fetchFrom(host, '127.0.0.1', 9090), { name: 'a', port: 81 });
    t.is(await fetchFrom(outside, HOST.ip, 9090, '-m', '2'), null);
    // The ports are held.
    const second = await host.run(['python3', '-c', 'import socket; socket.socket().bind(("0.0.0.0", 8080))']);
    t.regex(second.stderr, /Address already in use/);
    t.regex(await host.exec('sysctl', '-n', 'net.ipv4.ip_local_reserved_ports'), /8080/);
    await tapline.stop();
    t.is(await snapshot(scene), before);
  },
);

test.serial('shared: a port that a process of the host has is refused by its name', async (t) => {
  const { tapline, host } = await createShared(t, []);
  const holder = host.start('socat', 'TCP-LISTEN:8080,fork', 'EXEC:true');
  let pid = '';
  await eventually('somebody to listen', async () => {
    const text = await host.exec('ss', '-Hltnp', 'sport', '=', ':8080');
    pid = /pid=(\d+)/.exec(text)?.[1] ?? '';
    return pid !== '';
  });
  const refused = await tapline.cli('publish', 'a', '8080:80');
  t.is(refused.code, 1);
  t.is(
    refused.stderr,
    `tapline: publish[0]: port 8080/tcp is held by socat (pid ${pid}); end it, or choose another port\n`,
  );
  const wide = await tapline.cli('publish', 'a', '8000-20000:8000-20000');
  t.is(
    wide.stderr,
    `tapline: publish[0]: port 8080/tcp is held by socat (pid ${pid}); end it, or choose another port\n`,
  );
  await holder.stop('SIGTERM');
  t.is(await tapline.ok('publish', 'a', '8080:80'), '8080:80/tcp\n');
  t.like(await fetchFrom(host, '127.0.0.1', 8080), { name: 'a' });
});

test.serial(
  'shared: what neighbors send for the loopback or for the container itself is answered by nobody',
  async (t) => {
    const { tapline, host, outside, a } = await createShared(t, ['127.0.0.1:8080:80', '9090:80']);
    const [link] = JSON.parse(await host.exec('ip', '-json', 'link', 'show', 'up0')) as [{ address: string }];
    t.like(await fetchFrom(outside, HOST.ip, 9090), { name: 'a' });
    const answers = await tcpdump(t, outside, {
      device: 'out0',
      direction: 'in',
      filter: 'tcp src port 8080 or tcp src port 80',
    });
    const to = (address: string, port: number): string =>
      `Ether(dst='${link.address}')/IP(src='${WIRE.ip}',dst='${address}')/TCP(sport=5000,dport=${port},flags='S')`;
    await sendScapy(outside, [to('127.0.0.1', 8080), to(a.ip, 80), to(a.ip, 80)], 'out0');
    await eventually('the container’s own address to be refused', async () => {
      const { rxDrops } = await tapline.port('uplink');
      return (rxDrops.not_published ?? 0) >= 2;
    });
    t.deepEqual(await answers.frames(), []);
  },
);

test.serial('shared: killed, or kept for the next one, which goes on; at the end the host is as it was', async (t) => {
  const outdoors = await createOutdoors(t);
  const { host, outside } = outdoors;
  const [a] = (await createHosts(t, 1)) as [Host];
  await serve(t, a, 'a', [80]);
  const before = await snapshot(outdoors);
  const { argv } = prepare(t, sharedConfig(a, ['8080:80', '8080:80/udp']), { netns: host });
  for (const signal of ['SIGKILL', 'SIGTERM', null] as const) {
    const daemon = start(t, [...argv, ...(signal === 'SIGTERM' ? ['--keep'] : [])]);
    await daemon.said(/^ready$/m, 30_000);
    for (const [from, address] of [
      [outside, HOST.ip],
      [outside, HOST.ip6],
      [host, '127.0.0.1'],
    ] as const) {
      t.like(await fetchFrom(from, address, 8080), { name: 'a', port: 80 });
      t.like(await ask(t, from, address, 8080), { name: 'a', port: 80 });
    }
    // A client of the host that stays connected holds nobody up.
    const client = host.start('bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/8080; sleep 60');
    const ended = await daemon.stop(signal ?? 'SIGTERM');
    await client.stop('SIGTERM');
    if (signal !== 'SIGKILL') t.is(ended.code, 0, ended.stderr);
    if (signal === null) continue;
    // Until the next one is there, the host answers nobody in its place.
    t.regex(await outdoors.nft('list', 'ruleset'), /8080/);
    t.regex(await host.exec('sysctl', '-n', 'net.ipv4.ip_local_reserved_ports'), /8080/);
  }
  t.is(await snapshot(outdoors), before);
});
