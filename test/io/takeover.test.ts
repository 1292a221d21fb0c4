/** A TAP that an earlier process left: taken over without anybody noticing, put right where it is not, removed where nobody wants it. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { withNamespace } from '../../io/netns.js';
import { deviceAddresses, deviceLink, deviceRoutes } from '../../io/rtnetlink.js';
import { attachTap, removeTap, resizeTap, type TapOptions } from '../../io/tap.js';

const name = `tl-take-${process.pid}`;
const netns = `/run/netns/${name}`;

test.before(() => {
  execFileSync('ip', ['netns', 'add', name]);
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', name]);
});

test.serial.afterEach.always(async () => {
  await removeTap(netns, 'eth0', 'tapline:a').catch(() => undefined);
});

function options(overrides: Partial<TapOptions> = {}): TapOptions {
  return {
    netns,
    interface: 'eth0',
    mac: '02:42:ac:1e:00:02',
    mtu: 1400,
    addresses: ['172.30.0.2/24', 'fd00:30::2/64'],
    routes: [
      { to: '0.0.0.0/0', via: '172.30.0.1' },
      { to: '::/0', via: 'fd00:30::1' },
    ],
    alias: 'tapline:a',
    ...overrides,
  };
}

function inside(...words: string[]): string {
  return execFileSync('ip', ['-n', name, ...words], { encoding: 'utf8' });
}

/** What `ip monitor` has to say about addresses and routes while something is done. */
async function changesDuring(work: () => Promise<unknown>): Promise<string> {
  const monitor = spawn('ip', ['-n', name, 'monitor', 'address', 'route'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  monitor.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await sleep(100);
  try {
    await work();
    await sleep(100);
  } finally {
    monitor.kill();
  }
  return said;
}

test.serial('what a device has is read as ip shows it', async (t) => {
  const tap = await attachTap(options());
  inside('route', 'add', '10.0.0.0/8', 'via', '172.30.0.9', 'metric', '7', 'table', '742000');
  inside('-6', 'route', 'add', '2001:db8:0:1::/64', 'dev', 'eth0');
  const link = withNamespace(netns, () => deviceLink('eth0'))!;
  const sizes = { mtu: 1400, txQueueLength: 1000, gsoMaxSize: 65_536 };
  t.deepEqual({ ...link, index: 0 }, { index: 0, mac: '02:42:ac:1e:00:02', up: true, alias: 'tapline:a', ...sizes });
  t.deepEqual(
    withNamespace(netns, () => deviceAddresses(link.index)),
    ['172.30.0.2/24', 'fd00:30::2/64'],
  );
  const routes = withNamespace(netns, () => deviceRoutes(link.index));
  const find = (to: string) => routes.find((route) => route.to === to && route.table !== 255);
  t.like(find('0.0.0.0/0'), { via: '172.30.0.1', table: 254 });
  t.like(find('::/0'), { via: 'fd00:30::1', table: 254 });
  t.like(find('10.0.0.0/8'), { via: '172.30.0.9', metric: 7, table: 742_000 });
  t.like(find('2001:db8:0:1::/64'), { via: null, table: 254 });
  t.is(
    withNamespace(netns, () => deviceLink('nowhere0')),
    null,
  );
  await tap.detach();
});

test.serial('nothing is touched of what is right', async (t) => {
  const first = await attachTap(options());
  t.false(first.tookOver);
  first.release();
  const said = await changesDuring(async () => {
    const second = await attachTap(options());
    t.true(second.tookOver);
    second.release();
  });
  // The kernel itself tells of the device's carrier, in the state of routes; nothing goes and no address comes.
  t.notRegex(said, /Deleted/);
  t.notRegex(said, /inet 172/);
});

test.serial('what is not right is put right, and what others added stays', async (t) => {
  const first = await attachTap(options());
  first.release();
  inside('route', 'add', '10.9.0.0/16', 'via', '172.30.0.7');
  inside('address', 'add', '172.30.0.99/24', 'dev', 'eth0');
  inside('route', 'del', 'default');
  const said = await changesDuring(async () => {
    const second = await attachTap(options({ mtu: 1300, addresses: ['172.30.0.2/24', 'fd00:30::3/64'] }));
    second.release();
  });
  t.notRegex(said, /Deleted.*172\.30\.0\.2\//s, 'the address that stays is not made anew');
  t.regex(said, /Deleted.*172\.30\.0\.99/s);
  const index = withNamespace(netns, () => deviceLink('eth0'))!.index;
  t.deepEqual(
    withNamespace(netns, () => deviceAddresses(index)),
    ['172.30.0.2/24', 'fd00:30::3/64'],
  );
  t.is(withNamespace(netns, () => deviceLink('eth0'))?.mtu, 1300);
  t.regex(inside('route', 'show'), /default via 172\.30\.0\.1/);
  t.regex(inside('route', 'show'), /10\.9\.0\.0\/16 via 172\.30\.0\.7/);
  t.regex(inside('-6', 'route', 'show'), /default via fd00:30::1/);
});

test.serial('MTU and super-packets: as told, at the start, later, and by the next process', async (t) => {
  const sizes = () => withNamespace(netns, () => deviceLink('eth0'));
  const first = await attachTap(options({ mtu: 1450, gsoMaxSize: 61_833 }));
  t.like(sizes(), { mtu: 1450, gsoMaxSize: 61_833 });
  await resizeTap({ netns, interface: 'eth0' }, 8950, 62_607);
  t.like(sizes(), { mtu: 8950, gsoMaxSize: 62_607 });
  first.release();
  const second = await attachTap(options({ mtu: 8950, gsoMaxSize: 50_000 }));
  t.like(sizes(), { mtu: 8950, gsoMaxSize: 50_000 });
  second.release();
  const third = await attachTap(options({ mtu: 8950 }));
  t.like(sizes(), { mtu: 8950, gsoMaxSize: 65_536 }, 'the default again');
  await resizeTap({ netns, interface: 'eth0' }, 1280);
  t.like(sizes(), { mtu: 1280, gsoMaxSize: 65_536 });
  t.regex(inside('-6', 'address', 'show', 'dev', 'eth0'), /fd00:30::2/, '1280 is enough for IPv6');
  await third.detach();
  await t.throwsAsync(resizeTap({ netns, interface: 'eth0' }, 1400), { message: /eth0/ });
});

test.serial('a device of another is neither taken over nor removed', async (t) => {
  const tap = await attachTap(options({ alias: 'tapline:b' }));
  await t.throwsAsync(attachTap(options()), { message: /EEXIST.*endpoint b of another Tapline/ });
  t.false(await removeTap(netns, 'eth0', 'tapline:a'));
  t.not(
    withNamespace(netns, () => deviceLink('eth0')),
    null,
  );
  await tap.detach();
});

test.serial('one that is left is removed, once; where the namespace has gone nothing is to be done', async (t) => {
  (await attachTap(options())).release();
  t.true(await removeTap(netns, 'eth0', 'tapline:a'));
  t.is(
    withNamespace(netns, () => deviceLink('eth0')),
    null,
  );
  t.false(await removeTap(netns, 'eth0', 'tapline:a'));
  t.false(await removeTap('/run/netns/tl-no-such', 'eth0', 'tapline:a'));
});

test.serial('a process that is killed before the device carries its mark leaves none', async (t) => {
  const failed = await t.throwsAsync(attachTap(options({ addresses: ['172.30.0.2/99'] })));
  t.regex(failed?.message ?? '', /172\.30\.0\.2\/99/);
  t.is(
    withNamespace(netns, () => deviceLink('eth0')),
    null,
  );
});
