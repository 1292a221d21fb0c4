/** What can be wrong around a daemon that is started: one line that names the thing and the remedy, and nothing half-made. */

import { existsSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { createHosts, createLab, type Host, labConfig } from './support/lab.js';
import type { Namespace } from './support/namespace.js';
import { backTo, failTapline, type StartOptions, startTapline } from './support/tapline.js';

const DENY_IO_URING = ['/usr/bin/python3', 'test/e2e/support/deny-io-uring.py'];
/** Drops one capability for good: not even root's exec brings it back. */
const withoutCapability = (name: string): string[] => ['setpriv', '--bounding-set', `-${name}`, '--'];
/** Hides /dev/net in a mount namespace of its own. */
const WITHOUT_TUN = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];

async function interfaces(namespace: Namespace): Promise<string[]> {
  const links = JSON.parse(await namespace.exec('ip', '-json', 'link')) as { ifname: string }[];
  return links.map(({ ifname }) => ifname);
}

interface Expected {
  readonly code: number;
  /** Of the one line on stderr that is no log line. */
  readonly line: RegExp;
}

/** Brings up what cannot come up, and looks that it says so in one line and leaves nothing in the namespaces. */
async function refused(
  t: ExecutionContext,
  config: object | string,
  hosts: readonly Host[],
  { code, line }: Expected,
  options: StartOptions = {},
): Promise<void> {
  const before = await Promise.all(hosts.map(interfaces));
  const result = await failTapline(t, config, options);
  t.is(result.code, code, result.stderr);
  t.is(result.stdout, '', 'never says ready');
  const lines = result.stderr.split('\n').filter((text) => text.startsWith('tapline: '));
  t.is(lines.length, 1, result.stderr);
  t.regex(lines[0]!, line);
  t.notRegex(result.stderr, /^\s+at /m);
  t.false(existsSync(result.socket));
  t.deepEqual(await Promise.all(hosts.map(interfaces)), before);
}

test.serial('an interface name that is taken inside the container', async (t) => {
  const hosts = await createHosts(t, 2);
  const [, b] = hosts as [Host, Host];
  await b.exec('ip', 'tuntap', 'add', 'eth0', 'mode', 'tap');
  await refused(t, labConfig(hosts), hosts, {
    code: 2,
    line: /^tapline: .*tapline\.yaml: endpoints\.b\.interface: EEXIST.*eth0.*taken/,
  });
});

test.serial('a namespace that does not exist', async (t) => {
  const hosts = await createHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  await refused(t, labConfig([a, { ...b, path: '/run/netns/tl-nowhere' }]), hosts, {
    code: 2,
    line: /tapline\.yaml: endpoints\.b\.netns: .*\/run\/netns\/tl-nowhere/,
  });
});

test.serial('a file that is no namespace', async (t) => {
  const hosts = await createHosts(t, 1);
  await refused(t, labConfig([{ ...hosts[0]!, path: '/etc/hostname' }]), hosts, {
    code: 2,
    line: /tapline\.yaml: endpoints\.a\.netns: .*\/etc\/hostname/,
  });
});

test.serial('an uplink device that does not exist', async (t) => {
  const hosts = await createHosts(t, 1);
  const config = { ...labConfig(hosts), uplink: { device: 'nowhere0', mode: 'bridged', network: 'blue' } };
  await refused(t, config, hosts, { code: 2, line: /tapline\.yaml: uplink\S*: .*nowhere0/ });
});

test.serial('a configuration with mistakes names file, key and what was expected', async (t) => {
  const hosts = await createHosts(t, 1);
  const endpoints = `endpoints: { a: { network: blue, netns: ${hosts[0]!.path} } }`;
  const cases: [string, RegExp][] = [
    ['version: 1\nnetworks: { blue: { subnets: [172.30.0.0/24], colour: red } }', /networks\.blue\.colour: /],
    ['version: 1\nnetworks: { blue: { subnets: [172.30.0.0/33] } }', /networks\.blue\.subnets\[0\]: /],
    ['version: 1\nnetworks: { blue: { subnets: [10.0.0.0/8] }, red: { subnets: [10.1.0.0/16] } }', /overlaps/],
    ['version: 2', /version: expected 1/],
    ['version: 1\nnetworks: [', /tapline\.yaml/],
  ];
  for (const [text, line] of cases) {
    await refused(t, text.startsWith('version: 2') ? text : `${text}\n`, hosts, { code: 2, line });
  }
  await refused(t, `version: 1\n${endpoints}`, hosts, { code: 2, line: /endpoints\.a\.network: / });
});

test.serial('no CAP_NET_ADMIN', async (t) => {
  const hosts = await createHosts(t, 1);
  await refused(
    t,
    labConfig(hosts),
    hosts,
    { code: 1, line: /EPERM.*needs CAP_NET_ADMIN/ },
    { prefix: withoutCapability('net_admin') },
  );
});

test.serial('no CAP_SYS_ADMIN, without which no namespace can be entered', async (t) => {
  const hosts = await createHosts(t, 1);
  await refused(
    t,
    labConfig(hosts),
    hosts,
    { code: 1, line: /EPERM.*needs CAP_SYS_ADMIN/ },
    { prefix: withoutCapability('sys_admin') },
  );
});

test.serial('no /dev/net/tun', async (t) => {
  const hosts = await createHosts(t, 1);
  await refused(
    t,
    labConfig(hosts),
    hosts,
    { code: 1, line: /ENOENT opening \/dev\/net\/tun: .*modprobe tun/ },
    { prefix: WITHOUT_TUN },
  );
});

test.serial('no io_uring: auto takes epoll, says why, and works', async (t) => {
  const { hosts, tapline } = await createLab(t, { prefix: DENY_IO_URING, engine: 'auto' });
  const [a, b] = hosts as [Host, Host];
  const { engine, engineReason } = await tapline.status();
  t.is(engine, 'epoll');
  t.regex(engineReason, /io_uring.*(forbidden|EPERM)/);
  await a.exec('ping', '-c', '1', '-W', '5', b.ip);
});

test.serial('no io_uring, but asked for', async (t) => {
  const hosts = await createHosts(t, 1);
  await refused(
    t,
    labConfig(hosts),
    hosts,
    { code: 1, line: /engine uring .*EPERM.*io_uring is forbidden/ },
    { prefix: DENY_IO_URING, engine: 'uring' },
  );
});

test.serial('a second daemon on the same socket is refused, and the first does not notice', async (t) => {
  const { hosts, tapline } = await createLab(t);
  const [a, b] = hosts as [Host, Host];
  const second = await failTapline(t, { version: 1 }, { socket: tapline.socket });
  t.is(second.code, 1);
  t.is(second.stdout, '');
  t.regex(second.stderr, new RegExp(`^tapline: .*${tapline.socket}.*--socket`, 'm'));
  t.true(existsSync(tapline.socket));
  await a.exec('ping', '-c', '1', '-W', '5', b.ip);
  t.is((await tapline.status()).pid, tapline.pid);
});

test.serial('the socket of a daemon that died is taken over', async (t) => {
  const first = await startTapline(t, { version: 1 });
  const { socket } = first;
  await first.process.stop('SIGKILL');
  first.forget();
  t.true(existsSync(socket));
  const second = await startTapline(t, { version: 1 }, { socket });
  t.is((await second.status()).pid, second.pid);
});

test.serial('no daemon: every command says so in one line', async (t) => {
  const tapline = await startTapline(t, { version: 1 });
  await tapline.stop();
  for (const argv of [
    ['status'],
    ['show', 'ports'],
    ['network', 'ls'],
    ['connect', 'blue', 'c1'],
    ['capture', 'blue', '-w', '-'],
    ['run', '--network', 'blue', '--', 'true'],
  ]) {
    const { code, stdout, stderr } = await tapline.cli(...argv);
    t.is(code, 1, argv.join(' '));
    t.is(stdout, '');
    t.regex(stderr, /^tapline: .*tapline up.*\n$/);
  }
});

test.serial('requests that cannot be met change nothing', async (t) => {
  const { hosts, tapline } = await createLab(t);
  const [a] = hosts as [Host];
  await tapline.quiet();
  const before = await tapline.holdings();
  const [third] = await createHosts(t, 1);
  const path = third!.path;
  const cases: [string[], number, RegExp][] = [
    [['connect', 'nowhere', '--netns', path], 1, /nowhere/],
    [['connect', 'blue', '--netns', path, '--name', 'a'], 1, /endpoint a/],
    [['connect', 'blue', '--netns', path, '--address', a.ip], 1, /172\.30\.0\.2/],
    [['connect', 'blue', '--netns', path, '--address', '10.9.9.9'], 2, /10\.9\.9\.9/],
    [['connect', 'blue', '--netns', path, '--mac', 'zz'], 2, /mac/],
    [['connect', 'blue', '--netns', a.path, '--name', 'again'], 1, /eth0/],
    [['connect', 'blue', '--pid', '4194303'], 1, /4194303/],
    [['connect', 'blue', 'no-such-container'], 1, /no-such-container/],
    [['connect', 'blue'], 2, /netns, pid, container/],
    [['disconnect', 'nobody'], 1, /nobody/],
    [['network', 'create', 'blue', '--subnet', '10.1.0.0/24'], 1, /blue/],
    [['network', 'create', 'green', '--subnet', '172.30.0.0/16'], 1, /overlaps/],
    [['network', 'create', 'green', '--subnet', 'everything'], 2, /everything/],
    [['network', 'rm', 'blue'], 1, /still has endpoints/],
    [['network', 'inspect', 'nowhere'], 1, /nowhere/],
    [['show', 'nothing'], 2, /nothing/],
  ];
  for (const [argv, code, message] of cases) {
    const result = await tapline.cli(...argv);
    t.is(result.code, code, `${argv.join(' ')}: ${result.stderr}`);
    t.is(result.stdout, '');
    t.regex(result.stderr, message);
    t.regex(result.stderr, /^tapline: .*\n$/, argv.join(' '));
  }
  const { fdbEntries: _, ...rest } = before;
  await backTo(tapline, rest);
  t.deepEqual(await interfaces(third!), ['lo']);
});
