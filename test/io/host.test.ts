/** What the host's kernel and tools say and do, in a namespace of our own: links, addresses, routes, nftables, hosts files. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { hostFacts } from '../../io/host-facts.js';
import { addHostsLine, removeHostsLine } from '../../io/hosts-file.js';
import { linkFacts } from '../../io/interface.js';
import { watchLinks, watchRules } from '../../io/netlink.js';
import { withNamespace } from '../../io/netns.js';
import { listNftTable, nftProgram, runNft } from '../../io/nft.js';

const name = `tl-host-${process.pid}`;
const netns = `/run/netns/${name}`;

test.before(() => {
  execFileSync('ip', ['netns', 'add', name]);
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', name]);
});

function ip(...words: string[]): void {
  execFileSync('ip', ['-n', name, ...words]);
}

const inside = <T>(fn: () => T): T => withNamespace(netns, fn);

function addPair(device: string): void {
  ip('link', 'add', device, 'type', 'veth', 'peer', 'name', `${device}-far`);
  ip('link', 'set', device, 'up');
  ip('link', 'set', `${device}-far`, 'up');
}

test.serial('a link: index, MTU, set up or down, with and without carrier; gone', (t) => {
  addPair('l0');
  const link = inside(() => linkFacts('l0'));
  t.like(link, { mtu: 1500, enabled: true, carrier: true });
  t.regex(link?.mac ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  ip('link', 'set', 'l0-far', 'down');
  ip('link', 'set', 'l0', 'mtu', '1400');
  t.like(
    inside(() => linkFacts('l0')),
    { mtu: 1400, enabled: true, carrier: false, index: link?.index },
  );
  ip('link', 'set', 'l0', 'down');
  t.like(
    inside(() => linkFacts('l0')),
    { enabled: false },
  );
  ip('link', 'del', 'l0');
  t.is(
    inside(() => linkFacts('l0')),
    null,
  );
});

test.serial(
  'the host: addresses that are fit for use, its link-local one, the routes of the lowest metric',
  async (t) => {
    addPair('h0');
    addPair('h1');
    ip('address', 'add', '10.77.0.1/24', 'dev', 'h0');
    ip('address', 'add', '10.78.0.1/16', 'dev', 'h0');
    ip('address', 'add', 'fd00:77::1/64', 'dev', 'h0', 'nodad');
    ip('address', 'add', 'fe80::77/64', 'dev', 'h0', 'nodad');
    ip('address', 'add', '10.79.0.1/24', 'dev', 'h1');
    ip('route', 'add', 'default', 'via', '10.79.0.254', 'dev', 'h1', 'metric', '1');
    ip('route', 'add', 'default', 'via', '10.77.0.253', 'dev', 'h0', 'metric', '200');
    ip('route', 'add', 'default', 'via', '10.77.0.254', 'dev', 'h0', 'metric', '100');
    ip('-6', 'route', 'add', 'default', 'via', 'fe80::99', 'dev', 'h0');
    const facts = await inside(() => hostFacts('h0'));
    t.deepEqual(facts.addresses, ['10.77.0.1/24', '10.78.0.1/16', 'fd00:77::1/64']);
    t.is(facts.linkLocal, 'fe80::77');
    t.deepEqual(facts.defaults, [
      { family: 4, via: '10.77.0.254' },
      { family: 6, via: 'fe80::99' },
    ]);
    ip('route', 'add', '10.90.0.0/16', 'via', '10.77.0.7', 'dev', 'h0', 'metric', '20');
    ip('route', 'add', '10.90.0.0/16', 'via', '10.77.0.8', 'dev', 'h0', 'metric', '10');
    ip('route', 'add', '10.91.0.1', 'dev', 'h0');
    ip('route', 'add', '10.92.0.0/16', 'nexthop', 'via', '10.77.0.9', 'nexthop', 'via', '10.79.0.9');
    ip('route', 'add', 'blackhole', '10.93.0.0/16');
    ip('route', 'add', '10.94.0.0/16', 'via', '10.79.0.8');
    ip('-6', 'route', 'add', 'fd00:90::/64', 'via', 'fd00:77::7');
    t.deepEqual((await inside(() => hostFacts('h0'))).routes, [
      { prefix: '10.91.0.1/32', via: null },
      { prefix: '10.92.0.0/16', via: '10.77.0.9' },
      { prefix: '10.90.0.0/16', via: '10.77.0.8' },
      { prefix: 'fd00:90::/64', via: 'fd00:77::7' },
    ]);
    const other = await inside(() => hostFacts('h1'));
    t.deepEqual(other.addresses, ['10.79.0.1/24']);
    t.deepEqual(other.defaults, [{ family: 4, via: '10.79.0.254' }]);
    const many = Array.from(
      { length: 4100 },
      (_, index) => `route add blackhole 10.200.${index >> 8}.${index & 255}/32`,
    );
    execFileSync('ip', ['-n', name, '-batch', '-'], { input: many.join('\n') });
    t.deepEqual(
      (await inside(() => hostFacts('h0'))).routes,
      [{ prefix: 'fd00:90::/64', via: 'fd00:77::7' }],
      'a table as long as that is not read each time',
    );
    t.is((await inside(() => hostFacts('h0'))).defaults.length, 2);
    ip('route', 'flush', 'root', '10.200.0.0/16', 'type', 'blackhole');
    ip('route', 'del', 'default', 'via', '10.79.0.254', 'dev', 'h1');
    ip('route', 'add', 'default', 'nexthop', 'via', '10.77.0.250', 'nexthop', 'via', '10.79.0.250', 'dev', 'h1');
    t.deepEqual((await inside(() => hostFacts('h1'))).defaults, [{ family: 4, via: '10.79.0.250' }]);
    await t.throwsAsync(
      inside(() => hostFacts('h9')),
      { message: 'ip address show dev h9: Device "h9" does not exist.' },
    );
  },
);

test.serial('changes are heard, each once, and what does not change is silent', (t) => {
  const [links, all, rules] = inside(() => [watchLinks(false), watchLinks(true), watchRules()] as const);
  try {
    t.deepEqual([links.drain(), all.drain(), rules.drain()], [false, false, false]);
    addPair('c0');
    t.deepEqual([links.drain(), all.drain(), rules.drain()], [true, true, false]);
    ip('address', 'add', '10.80.0.1/24', 'dev', 'c0');
    t.deepEqual([all.drain(), all.drain(), rules.drain()], [true, false, false]);
    inside(() => execFileSync(nftProgram(), ['add table ip t']));
    t.true(rules.drain());
    inside(() => execFileSync(nftProgram(), ['flush ruleset']));
    t.true(rules.drain());
    t.false(rules.drain());
  } finally {
    for (const socket of [links, all, rules]) socket.close();
  }
});

test.serial('nft: a script is all or nothing; a table is listed, or is none', async (t) => {
  t.is(await inside(() => listNftTable('ip', 'x')), null);
  await inside(() => runNft('table ip x {\nchain c {\ncounter\n}\n}\n'));
  t.regex((await inside(() => listNftTable('ip', 'x'))) ?? '', /^table ip x \{\n\tchain c \{\n\t\tcounter\n/);
  const error = await t.throwsAsync(inside(() => runNft('delete table ip x\ndelete table ip y\n')));
  t.regex(error?.message ?? '', /^nft: .*No such file or directory/);
  t.not(await inside(() => listNftTable('ip', 'x')), null);
});

test('the host has its own nft, whatever npm puts before it', (t) => {
  const fake = join(tmpdir(), `tl-nft-${process.pid}/node_modules/.bin`);
  mkdirSync(fake, { recursive: true });
  writeFileSync(join(fake, 'nft'), '');
  t.teardown(() => rmSync(join(fake, '../..'), { recursive: true }));
  t.notRegex(nftProgram(`${fake}:/usr/bin`), /node_modules/);
});

/** A process whose root is a folder of ours. */
async function chrooted(
  t: ExecutionContext,
  prepare: (root: string) => void,
): Promise<{ child: ChildProcess; root: string }> {
  const root = join(tmpdir(), `tl-root-${process.pid}-${Math.random().toString(36).slice(2)}`);
  mkdirSync(join(root, 'etc'), { recursive: true });
  prepare(root);
  const code = 'import os,sys,time; os.chroot(sys.argv[1]); print("in", flush=True); time.sleep(600)';
  const child = spawn('python3', ['-c', code, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => {
    child.kill('SIGKILL');
    rmSync(root, { recursive: true });
  });
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  return { child, root };
}

test('a line in the hosts file of a process, by its own root; its other lines stay as they are', async (t) => {
  const before = '127.0.0.1 localhost\n10.0.0.9 caf\xe9';
  const { child, root } = await chrooted(t, (folder) => writeFileSync(join(folder, 'etc/hosts'), before, 'latin1'));
  const read = (): string => readFileSync(join(root, 'etc/hosts'), 'latin1');
  const pid = child.pid as number;
  t.true(addHostsLine(pid, '172.30.0.1 host.tapline.internal', 'tapline:a'));
  t.is(read(), `${before}\n172.30.0.1 host.tapline.internal # tapline:a\n`);
  addHostsLine(pid, '172.31.0.1 host.tapline.internal', 'tapline:b');
  addHostsLine(pid, '172.30.0.2 host.tapline.internal', 'tapline:a');
  t.regex(read(), /172\.31\.0\.1 .* # tapline:b\n172\.30\.0\.2 .* # tapline:a\n$/);
  removeHostsLine(pid, 'tapline:a');
  removeHostsLine(pid, 'tapline:b');
  t.is(read(), `${before}\n`);
});

test('links in its root lead nowhere outside; a pipe and a missing file are said', async (t) => {
  const outside = join(tmpdir(), `tl-outside-${process.pid}`);
  writeFileSync(outside, 'secret\n');
  t.teardown(() => rmSync(outside));
  const linked = await chrooted(t, (folder) => symlinkSync(outside, join(folder, 'etc/hosts')));
  t.throws(() => addHostsLine(linked.child.pid as number, 'x', 'tapline:a'), {
    message: /^ENOENT opening \/etc\/hosts/,
  });
  t.is(readFileSync(outside, 'utf8'), 'secret\n');
  const pipe = await chrooted(t, (folder) => execFileSync('mkfifo', [join(folder, 'etc/hosts')]));
  t.throws(() => addHostsLine(pipe.child.pid as number, 'x', 'tapline:a'), { message: '/etc/hosts is no plain file' });
});

test('our own hosts file is left alone', (t) => {
  const before = readFileSync('/etc/hosts', 'utf8');
  t.false(addHostsLine(process.pid, '172.30.0.1 host.tapline.internal', 'tapline:a'));
  t.is(readFileSync('/etc/hosts', 'utf8'), before);
});
