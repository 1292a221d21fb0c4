/** A host of a network that spans several restarts, crashes or is changed: the others talk on, and it is back with what it had. */

import { writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { pingCount } from './support/host.js';
import { createNamespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { type Background, must, start } from './support/process.js';
import { post, send } from './support/published.js';
import { PROGRAM, type Prepared, prepare, type Tapline } from './support/tapline.js';
import { transfer } from './support/transfer.js';
import {
  addKernelAddresses,
  type Container,
  createContainer,
  createUnderlay,
  type OverlayHost,
  type Underlay,
} from './support/underlay.js';
import {
  overlayConfig,
  overlayOf,
  reaches,
  remotesOf,
  SUBNETS,
  startOverlay,
  VNI,
  vtepOf,
  vtepPort,
} from './support/vxlan.js';
import { eventually } from './support/wait.js';
import { createVeth } from './support/wire.js';

/** Host 1 has daemons one after the other, host 2 one. */
interface Scene {
  readonly underlay: Underlay;
  readonly hosts: readonly [OverlayHost, OverlayHost];
  readonly a: Container;
  readonly b: Container;
  readonly prepared: Prepared;
  readonly two: Tapline;
  /** Starts the next daemon of host 1. */
  up(): Promise<Background>;
}

async function createScene(t: ExecutionContext): Promise<Scene> {
  const underlay = await createUnderlay(t);
  const hosts = [await underlay.addHost(1), await underlay.addHost(2)] as const;
  const [a, b] = [await createContainer(t, hosts[0]), await createContainer(t, hosts[1])];
  const two = await startOverlay(t, hosts[1], [b], remotesOf(hosts[1], hosts));
  const prepared = prepare(t, overlayConfig(hosts[0], [a], remotesOf(hosts[0], hosts)), { netns: hosts[0].namespace });
  let daemon: Background | null = null;
  t.teardown(async () => {
    if (daemon?.running() === true) await daemon.stop('SIGTERM');
  });
  const up = async (): Promise<Background> => {
    daemon = start(t, prepared.argv);
    await daemon.said(/^ready$/m, 30_000);
    return daemon;
  };
  return { underlay, hosts, a, b, prepared, two, up };
}

/** A handle that is enough for looking. */
function lookAt({ socket }: Prepared): Tapline {
  return { socket } as Tapline;
}

test.serial('kill -9 in the middle of a transfer through a tunnel: it goes on, both ways', async (t) => {
  const { hosts, a, b, prepared, up } = await createScene(t);
  let daemon = await up();
  await reaches(a, b);
  const crash = async (): Promise<void> => {
    await daemon.stop('SIGKILL');
    daemon = await up();
  };
  await transfer(t, { from: a, to: b, address: b.ip, stage: 64, port: 5371, change: [crash] });
  await transfer(t, { from: b, to: a, address: a.ip6, stage: 64, port: 5372, change: [crash] });
  const { state, vteps } = await overlayOf(lookAt(prepared));
  t.is(state, 'up');
  t.deepEqual(
    vteps.map(({ address, kind }) => `${address} ${kind}`),
    [`${hosts[1].ip} remote`],
  );
});

test.serial('what commands have said of VTEPs outlives a crash', async (t) => {
  const { a, b, hosts, prepared, up } = await createScene(t);
  const daemon = await up();
  await reaches(a, b);
  const ok = (...argv: string[]): Promise<string> =>
    must([process.execPath, PROGRAM, '--socket', prepared.socket, ...argv]);
  await ok('vxlan', 'add', 'blue', '10.77.0.8');
  await ok('vxlan', 'add', 'blue', '10.77.0.9', '--no-flood');
  await ok('fdb', 'add', '02:00:00:00:00:42', '--network', 'blue', '--vtep', '10.77.0.7');
  await ok('vxlan', 'rm', 'blue', hosts[1].ip);
  const view = async (): Promise<string[]> =>
    (await overlayOf(lookAt(prepared))).vteps.map(({ address, kind, floods }) => `${address} ${kind} ${floods}`).sort();
  const expected = ['10.77.0.7 static false', '10.77.0.8 remote true', '10.77.0.9 remote false'];
  t.deepEqual(await view(), expected);
  await daemon.stop('SIGKILL');
  await up();
  t.deepEqual(await view(), expected);
});

test.serial('a network made by command spans hosts too, and goes without a trace', async (t) => {
  const { hosts, a, b, prepared, two, up } = await createScene(t);
  await up();
  await reaches(a, b);
  const one = lookAt(prepared);
  const [c, d] = [await createContainer(t, hosts[0], 2), await createContainer(t, hosts[1], 2)];
  const ports = async (): Promise<string[]> =>
    ((await send(prepared.socket, 'GET', '/v1/ports')) as { name: string }[]).map(({ name }) => name).sort();
  const before = await ports();
  for (const [tapline, host, container, place] of [
    [one, hosts[0], c, 2],
    [two, hosts[1], d, 3],
  ] as const) {
    const peer = hosts[host === hosts[0] ? 1 : 0];
    const vxlan = { vni: VNI + 1, local: host.ip, remotes: [peer.ip] };
    await post(tapline.socket, '/v1/networks', { name: 'green', subnets: ['172.31.0.0/24'], vxlan });
    const endpoint = { name: 'g', network: 'green', netns: container.path, addresses: [`172.31.0.${place}`] };
    await post(tapline.socket, '/v1/endpoints', endpoint);
  }
  await eventually('each other', async () => (await pingCount(c, '172.31.0.3', '-c', '1')).received === 1);
  t.is((await pingCount(c, '172.31.0.3', ...burst(3))).received, 3);
  t.true((await ports()).includes(vtepPort(hosts[1].ip, 'green')));
  await send(prepared.socket, 'DELETE', '/v1/endpoints/g');
  await send(prepared.socket, 'DELETE', '/v1/networks/green');
  t.deepEqual(await ports(), before);
  // Its VNI is nobody's any more: what still comes of it is dropped, and what is told of it is forgotten.
  const unknown = async (): Promise<number> => {
    const { drops } = (await send(prepared.socket, 'GET', '/v1/drops')) as { drops: { reason: string; rx: number }[] };
    return drops.find(({ reason }) => reason === 'vxlan_vni')?.rx ?? 0;
  };
  const counted = await unknown();
  await pingCount(d, '172.31.0.77', '-c', '2', '-i', '0.2', '-W', '1');
  t.true((await unknown()) > counted);
  await reaches(a, b);
});

test.serial('an address of the host that goes away takes the overlay down, and up again when it is back', async (t) => {
  const { hosts, a, b, prepared, up } = await createScene(t);
  const [{ namespace, ip }] = hosts;
  for (const address of [ip, '10.79.0.1']) await namespace.exec('ip', 'address', 'add', `${address}/24`, 'dev', 'up0');
  writeFileSync(
    prepared.file,
    JSON.stringify({
      version: 1,
      uplink: { device: 'up0', mode: 'shared' },
      networks: { blue: { subnets: SUBNETS, vxlan: remotesOf(hosts[0], hosts) } },
      endpoints: { a1: { network: 'blue', netns: a.path, addresses: [a.ip, a.ip6] } },
    }),
  );
  await up();
  await reaches(a, b);
  await namespace.exec('ip', 'address', 'delete', `${ip}/24`, 'dev', 'up0');
  const overlay = (): ReturnType<typeof overlayOf> => overlayOf(lookAt(prepared));
  await eventually('the overlay to be down', async () => (await overlay()).state === 'down');
  t.is((await overlay()).why, `${ip} is no address of uplink up0`);
  await eventually('nothing to pass', async () => (await pingCount(a, b.ip, '-c', '1', '-W', '1')).received === 0);
  await namespace.exec('ip', 'address', 'add', `${ip}/24`, 'dev', 'up0');
  await reaches(a, b);
  t.is((await overlay()).state, 'up');
});

test.serial('a shared uplink follows the routes of the host to a VTEP behind another router', async (t) => {
  const underlay = await createUnderlay(t);
  const [one, router] = [await underlay.addHost(1), await underlay.addHost(254)];
  for (const host of [one, router]) await addKernelAddresses(host);
  await router.namespace.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  const far: OverlayHost = {
    namespace: await createNamespace(t),
    number: 2,
    ip: '10.88.0.2',
    ip6: 'fd00:88::2',
    wire: '',
  };
  await createVeth(far.namespace, 'up0', router.namespace, 'far0');
  await router.namespace.exec('ip', 'address', 'add', '10.88.0.254/24', 'dev', 'far0');
  const [a, b] = [await createContainer(t, one), await createContainer(t, far)];
  const route = ['10.88.0.0/24', 'via', router.ip, 'dev', 'up0'];
  await one.namespace.exec('ip', 'route', 'add', ...route);
  const shared = { uplink: { mode: 'shared', addresses: undefined } };
  const tapline = await startOverlay(t, one, [a], remotesOf(one, [far]), shared);
  const own = { uplink: { addresses: [`${far.ip}/24`], gateway: '10.88.0.254' } };
  await startOverlay(t, far, [b], remotesOf(far, [one]), own);
  await reaches(a, b);
  t.is((await vtepOf(tapline, far.ip)).state, 'up');
  await one.namespace.exec('ip', 'route', 'delete', ...route);
  await eventually('the route to be gone', async () => (await vtepOf(tapline, far.ip)).state === 'no-route');
  await one.namespace.exec('ip', 'route', 'add', ...route);
  await reaches(a, b);
  t.is((await vtepOf(tapline, far.ip)).state, 'up');
});
