/** `tapline run`: a command in a fresh namespace attached to a network, and nothing of it left afterwards. */

import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';
import { createLab, type Host } from './support/lab.js';
import { describe, start } from './support/process.js';
import { backTo } from './support/tapline.js';
import { eventually } from './support/wait.js';

const NETWORK = ['run', '--network', 'blue'];

test.serial(
  'the command has an interface in the network, a loopback and a resolv.conf, and reaches the others',
  async (t) => {
    const { hosts, tapline } = await createLab(t);
    const [a] = hosts as [Host];
    await tapline.quiet();
    const before = await tapline.holdings();
    const script = `set -e; ip -4 -o address; ping -q -c 2 -W 5 ${a.ip} > /dev/null; cat /etc/resolv.conf; hostname`;
    const result = await tapline.cli(
      ...NETWORK,
      '--name',
      'x',
      '--address',
      '172.30.0.42',
      '--dns',
      '172.30.0.2',
      '--hostname',
      'xyz',
      '--',
      'sh',
      '-c',
      script,
    );
    t.is(result.code, 0, describe(result));
    t.regex(result.stdout, /\blo\b.* 127\.0\.0\.1\/8 /);
    t.regex(result.stdout, /\beth0\b.* 172\.30\.0\.42\/24 /);
    t.regex(result.stdout, /^nameserver 172\.30\.0\.2$/m);
    t.regex(result.stdout, /\nxyz\n$/);
    t.notRegex(readFileSync('/etc/resolv.conf', 'utf8'), /172\.30\.0\.2/, "the host's own file is as it was");
    t.false((await tapline.endpoints()).some(({ name }) => name === 'x'));
    await backTo(tapline, before);
  },
);

test.serial(
  'others reach the command by the name it is connected under; signals reach it; its end is ours',
  async (t) => {
    const { hosts, tapline } = await createLab(t);
    const [a] = hosts as [Host];
    const command = start(
      t,
      tapline.argv(...NETWORK, '--name', 'web', '--address', '172.30.0.80', '--', 'sleep', '600'),
    );
    await eventually('endpoint web', async () =>
      (await tapline.endpoints()).some(({ name, state }) => name === 'web' && state === 'up'),
    );
    await a.exec('ping', '-c', '1', '-W', '5', '172.30.0.80');
    const endpoint = (await tapline.endpoints()).find(({ name }) => name === 'web')!;
    t.true(existsSync(`/proc/${endpoint.pid}`));
    const { code } = await command.stop('SIGTERM');
    t.is(code, 128 + 15);
    t.false(existsSync(`/proc/${endpoint.pid}`));
    await eventually('port web to go', async () => !(await tapline.ports()).some(({ name }) => name === 'web'));
  },
);

test.serial("the exit code is the command's own", async (t) => {
  const { tapline } = await createLab(t, { hosts: 1 });
  t.is((await tapline.cli(...NETWORK, '--', 'sh', '-c', 'exit 37')).code, 37);
  t.is((await tapline.cli(...NETWORK, '--', 'sh', '-c', 'kill -9 $$')).code, 128 + 9);
  t.is((await tapline.cli(...NETWORK, '--', 'no-such-command-here')).code, 127);
});

test.serial('several at once get addresses and names of their own and reach each other', async (t) => {
  const { tapline } = await createLab(t, { hosts: 1 });
  const commands = [1, 2, 3].map(() => start(t, tapline.argv(...NETWORK, '--', 'sleep', '600')));
  await eventually(
    'three endpoints',
    async () => (await tapline.endpoints()).filter(({ state }) => state === 'up').length === 4,
  );
  const endpoints = await tapline.endpoints();
  const addresses = endpoints.flatMap((endpoint) => endpoint.addresses);
  t.is(new Set(addresses).size, addresses.length);
  t.is(new Set(endpoints.map(({ mac }) => mac)).size, 4);
  const last = endpoints.at(-1)!.addresses[0]!.split('/')[0]!;
  t.is((await tapline.cli(...NETWORK, '--', 'ping', '-q', '-c', '1', '-W', '5', last)).code, 0);
  for (const command of commands) await command.stop('SIGTERM');
});

test.serial('when run is killed hard, its command is still cleared away when it ends', async (t) => {
  const { tapline } = await createLab(t, { hosts: 1 });
  const command = start(t, tapline.argv(...NETWORK, '--name', 'orphan', '--', 'sleep', '600'));
  await eventually('endpoint orphan', async () =>
    (await tapline.endpoints()).some(({ name, state }) => name === 'orphan' && state === 'up'),
  );
  const pid = (await tapline.endpoints()).find(({ name }) => name === 'orphan')!.pid!;
  t.teardown(() => {
    if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
  });
  process.kill(command.pid, 'SIGKILL');
  await eventually('run to end', () => !command.running());
  if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
  await eventually('port orphan to go', async () => !(await tapline.ports()).some(({ name }) => name === 'orphan'));
  // The port goes first, then the device.
  await eventually('endpoint orphan to go', async () => (await tapline.endpoints()).length === 1);
  t.deepEqual(
    (await tapline.endpoints()).map(({ name }) => name),
    ['a'],
  );
});

test.serial('what cannot be run is said before anything is made', async (t) => {
  const { tapline } = await createLab(t, { hosts: 1 });
  await tapline.quiet();
  const before = await tapline.holdings();
  const unknown = await tapline.cli('run', '--network', 'nowhere', '--', 'true');
  t.is(unknown.code, 1);
  t.regex(unknown.stderr, /^tapline: .*nowhere.*\n$/);
  const taken = await tapline.cli(...NETWORK, '--name', 'a', '--', 'echo', 'ran');
  t.is(taken.code, 1);
  t.regex(taken.stderr, /^tapline: .*endpoint a.*\n$/);
  t.is(taken.stdout, '');
  const usage = await tapline.cli('run', '--', 'true');
  t.is(usage.code, 2);
  t.regex(usage.stderr, /--network/);
  await backTo(tapline, before);
});
