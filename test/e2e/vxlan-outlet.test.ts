/**
 * The outlet of an uplink: super-packets of a tunnel leave it whole, and whoever must cuts them. It is there while it is of use, nobody on the
 * host notices it, and without it all works as before.
 */

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { temporaryDirectory, tshark } from './support/frames.js';
import type { Namespace } from './support/namespace.js';
import { run, start } from './support/process.js';
import { post, send } from './support/published.js';
import { ENGINES, type Tapline } from './support/tapline.js';
import { plainTransfer, transfer } from './support/transfer.js';
import type { Container } from './support/underlay.js';
import {
  createStretched,
  objections,
  overlayOf,
  reaches,
  type Site,
  type Stretched,
  type StretchedOptions,
  vxlanSettings,
  watchUnderlay,
} from './support/vxlan.js';
import { eventually } from './support/wait.js';

/** MiB of a transfer. */
const SIZE = 16;
/** What one packet that fits the underlay cannot have, and what most of a fast transfer's super-packets have. */
const WHOLE = 20_000;

interface Link {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly addr_info?: readonly object[];
}

/** Devices of a host that are outlets. */
async function outletsOf(namespace: Namespace): Promise<Link[]> {
  const links = JSON.parse(await namespace.exec('ip', '-json', '-details', 'address', 'show')) as Link[];
  return links.filter(({ ifname }) => ifname.startsWith('tapline-out'));
}

async function outletOf(tapline: Tapline): Promise<string | null | undefined> {
  return (await tapline.status()).uplink?.outlet;
}

interface Two extends Stretched {
  readonly one: Site;
  readonly two: Site;
  readonly a: Container;
  readonly b: Container;
}

async function createTwo(t: ExecutionContext, options: StretchedOptions = {}): Promise<Two> {
  const stretched = await createStretched(t, options);
  const [one, two] = stretched.sites as [Site, Site];
  const [a, b] = [one.containers[0] as Container, two.containers[0] as Container];
  await reaches(a, b);
  return { ...stretched, one, two, a, b };
}

/** Packets that came in from a host's uplink while `work` was done: all, those that are super-packets, and those that are whole ones. */
async function sentWhile(t: ExecutionContext, { underlay, one }: Two, work: () => Promise<unknown>): Promise<number[]> {
  const capture = await watchUnderlay(t, underlay, one.host, 'in', 'udp dst port 4789');
  await work();
  await capture.frames();
  const count = async (filter: string): Promise<number> => {
    const { stdout, stderr } = await run(['tcpdump', '-r', capture.path, '--count', filter]);
    return Number(/^(\d+) packets?$/m.exec(stdout + stderr)?.[1] ?? Number.NaN);
  };
  return [await count('udp'), await count('greater 1515'), await count(`greater ${WHOLE}`)];
}

for (const engine of ENGINES)
  for (const family of [4, 6] as const)
    test.serial(
      `${engine}: over IPv${family} super-packets leave whole, arrive whole, and are cut where a device asks for it`,
      async (t) => {
        const scene = await createTwo(t, { family, overlay: { engine } });
        const { one, a, b } = scene;
        const [outlet, ...others] = await outletsOf(one.host.namespace);
        t.deepEqual(others, []);
        t.is(outlet?.ifname, (await outletOf(one.tapline)) ?? '');
        t.regex(await one.tapline.ok('status'), new RegExp(`, tunnels by ${outlet?.ifname}$`, 'm'));
        t.is(outlet?.ifalias, 'tapline:outlet:up0');
        t.true(outlet?.flags.includes('UP'));
        t.true(outlet?.flags.includes('NO-CARRIER'), 'so nobody sends by it');
        t.deepEqual(outlet?.addr_info, [], 'and it has no address');
        const send = (port: number) => async (): Promise<void> => {
          t.is(await plainTransfer(t, a, b, b.ip, SIZE, port), SIZE << 20);
          t.is(await plainTransfer(t, a, b, b.ip6, SIZE, port + 1), SIZE << 20);
        };
        const [, , whole = 0] = await sentWhile(t, scene, send(5301));
        t.true(whole > 0);
        await one.host.namespace.exec('ethtool', '-K', 'up0', 'tso', 'off', 'gso', 'off', 'tx', 'off');
        const [all = 0, long] = await sentWhile(t, scene, send(5311));
        t.true(all > ((2 * SIZE) << 20) / 1500);
        t.is(long, 0, 'cut by the kernel');
        const { txDrops } = await one.tapline.port('uplink');
        t.deepEqual(txDrops, {});
      },
    );

test.serial('what is captured at the uplink has both checksums, though neither was there yet', async (t) => {
  const { one, a, b } = await createTwo(t);
  const file = join(temporaryDirectory(t), 'up.pcapng');
  const capture = start(t, one.tapline.argv('capture', 'uplink', '-w', file));
  await eventually('the capture', async () => (await one.tapline.status()).captures.length === 1);
  await plainTransfer(t, a, b, b.ip, 16, 5301);
  await plainTransfer(t, b, a, a.ip6, 16, 5302);
  await one.tapline.quiet();
  t.is((await capture.stop('SIGINT')).code, 0);
  const rows = await tshark(
    file,
    ['frame.len', 'udp.checksum.status', 'tcp.checksum.status'],
    'tcp',
    vxlanSettings(4789),
  );
  t.true(rows.some(([length]) => Number(length) > WHOLE));
  for (const [, outer, inner] of rows) t.is(`${outer} ${inner}`, '1 1');
  t.deepEqual(await objections(file), []);
});

test.serial('with outlet: false Tapline cuts by itself, and data passes', async (t) => {
  const overlay = { uplink: { outlet: false } };
  const scene = await createTwo(t, { overlay: ({ number }) => (number === 1 ? overlay : {}) });
  const { one, a, b } = scene;
  t.deepEqual(await outletsOf(one.host.namespace), []);
  t.is(await outletOf(one.tapline), null);
  t.notRegex(one.tapline.process.stderr(), /cut here/);
  const [, long = 0, whole = 0] = await sentWhile(t, scene, async () => {
    t.is(await plainTransfer(t, a, b, b.ip, SIZE, 5301), SIZE << 20);
  });
  t.true(whole > 0, `${long} long ones: in bundles: datagrams of one flow under one header`);
});

test.serial('where there can be none, that is said once, and what to do about it', async (t) => {
  const prefix = ['setpriv', '--bounding-set', '-bpf,-sys_admin', '--'];
  const { sites } = await createStretched(t, { containers: 0, overlay: { prefix } });
  for (const { tapline, host } of sites) {
    t.is(await outletOf(tapline), null);
    t.deepEqual(await outletsOf(host.namespace), []);
    const said = tapline.process.stderr().match(/super-packets of tunnels are cut here.*/g);
    const why = 'EPERM loading a BPF program: needs CAP_BPF and CAP_NET_ADMIN, in the first user namespace';
    t.deepEqual(said, [`super-packets of tunnels are cut here, not by the kernel: ${why}`]);
    t.is((await overlayOf(tapline)).state, 'up');
  }
});

test.serial(
  'where new devices have what they receive spread over processors, it does not: packets would overtake each other',
  async (t) => {
    const mask = '/proc/sys/net/core/rps_default_mask';
    const prefix = ['sh', '-c', `echo 3 > ${mask}; exec "$@"`, 'sh'];
    const { one } = await createTwo(t, { overlay: ({ number }) => (number === 1 ? { prefix } : {}) });
    const { namespace } = one.host;
    t.not(Number.parseInt(await namespace.exec('cat', mask), 16), 0);
    const device = await outletOf(one.tapline);
    t.is(Number.parseInt(await namespace.exec('cat', `/sys/class/net/${device}/queues/rx-0/rps_cpus`), 16), 0);
  },
);

test.serial('with offload: false there is none, and none is looked for', async (t) => {
  const overlay = { uplink: { offload: false } };
  const scene = await createTwo(t, { overlay: ({ number }) => (number === 1 ? overlay : {}) });
  const { one, a, b } = scene;
  t.is(await outletOf(one.tapline), null);
  t.notRegex(one.tapline.process.stderr(), /cut here/);
  const [, long] = await sentWhile(t, scene, async () => {
    t.is(await plainTransfer(t, a, b, b.ip, 16, 5301), 16 << 20);
  });
  t.is(long, 0);
});

test.serial(
  'set down or removed by somebody in the middle of a transfer, it is made anew, and the transfer goes on',
  async (t) => {
    const { one, a, b } = await createTwo(t);
    const { namespace } = one.host;
    const until = async (change: (device: string) => Promise<unknown>): Promise<void> => {
      const [before] = await outletsOf(namespace);
      await change(before?.ifname ?? '');
      await eventually('another outlet', async () => {
        const [now, ...more] = await outletsOf(namespace);
        const isUp = now?.flags.includes('UP') === true && more.length === 0;
        return isUp && (await outletOf(one.tapline)) === now.ifname;
      });
    };
    const bytes = await transfer(t, {
      from: a,
      to: b,
      address: b.ip,
      stage: 64,
      change: [
        () => until((device) => namespace.exec('ip', 'link', 'set', 'dev', device, 'down')),
        () => until((device) => namespace.exec('ip', 'link', 'del', 'dev', device)),
        async () => undefined,
      ],
    });
    t.is(bytes, 3 * (64 << 20));
  },
);

test.serial(
  'while what leaves is mirrored, bundles are sent: the mirror sees them, and the transfer goes on',
  async (t) => {
    const { one, a, b } = await createTwo(t, { containers: 2 });
    const watcher = one.containers[1] as Container;
    const copies = async (): Promise<number> => (await one.tapline.port(watcher.endpoint)).txBytes;
    let copied = 0;
    const mirror = { to: watcher.endpoint, from: { uplink: true }, direction: 'out' };
    await transfer(t, {
      from: a,
      to: b,
      address: b.ip6,
      stage: 32,
      change: [
        async () => undefined,
        async () => void (await post(one.tapline.socket, '/v1/mirrors', { name: 'm', ...mirror })),
        async () => {
          copied = await copies();
          await send(one.tapline.socket, 'DELETE', '/v1/mirrors/m');
        },
        async () => undefined,
      ],
    });
    t.true(copied > 16 << 20, `${copied} bytes were copied`);
    t.deepEqual((await one.tapline.port(watcher.endpoint)).txDrops, {});
  },
);

test.serial('it comes with the first network that spans hosts, and goes with the last', async (t) => {
  const { one, two, a, b } = await createTwo(t);
  const { namespace } = one.host;
  const { socket } = one.tapline;
  await send(socket, 'DELETE', `/v1/endpoints/${a.endpoint}`);
  await send(socket, 'DELETE', '/v1/networks/blue');
  await eventually('it to go', async () => (await outletsOf(namespace)).length === 0);
  t.is(await outletOf(one.tapline), null);
  const vxlan = { vni: 42, local: one.host.ip, remotes: [two.host.ip] };
  await post(socket, '/v1/networks', { name: 'blue', subnets: ['172.30.0.0/24'], vxlan });
  await post(socket, '/v1/endpoints', { name: 'x', network: 'blue', netns: a.path, addresses: [a.ip] });
  t.is((await outletsOf(namespace)).length, 1);
  t.is((await overlayOf(one.tapline)).state, 'up');
  t.is(await plainTransfer(t, a, b, b.ip, 16, 5301), 16 << 20);
  await one.tapline.stop();
  await eventually('it to go with the process', async () => (await outletsOf(namespace)).length === 0);
});
