/** `tapline run` with real namespaces (needs root, as the command itself does) and a daemon over doubles. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCli } from '../../cli/program.js';
import { startApi } from '../../control/api.js';
import { config, eventually, type Fixture, leftovers, makeFixture, NETWORKS } from '../control/support/fixture.js';

interface Lab extends Fixture {
  readonly directory: string;
  readonly run: (...args: string[]) => Promise<{ code: number; err: string }>;
}

async function makeLab(t: ExecutionContext): Promise<Lab> {
  const fixture = makeFixture();
  const { system } = fixture;
  await fixture.daemon.apply(config(NETWORKS));
  // Whatever process a run makes exists for the double as well.
  const openPidfd = system.openPidfd.bind(system);
  system.openPidfd = (pid) => {
    system.addProcess(pid);
    return openPidfd(pid);
  };
  const directory = mkdtempSync(join(tmpdir(), 'tapline-run-test-'));
  const socket = join(directory, 't.sock');
  const api = await startApi(fixture.daemon, pino({ level: 'silent' }), socket);
  t.teardown(async () => {
    await api.close();
    await fixture.daemon.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const run = async (...args: string[]): Promise<{ code: number; err: string }> => {
    const stderr = new PassThrough();
    const context = { stdout: new PassThrough(), stderr, env: { TAPLINE_SOCKET: socket }, exitCode: 0 };
    const code = await runCli(['run', ...args], context);
    return { code, err: String(stderr.read() ?? '') };
  };
  return { ...fixture, directory, run };
}

test('the command has its own namespaces, lo, host name and resolv.conf; its exit code is ours; all is taken back', async (t) => {
  const lab = await makeLab(t);
  const file = join(lab.directory, 'out');
  const script =
    'readlink /proc/self/ns/net; hostname; ip -o link show up; cat /etc/resolv.conf; ls -l /proc/self/fd/3; exit 7';
  const args = ['--network', 'blue', '--name', 'x', '--hostname', 'inside', '--dns', '9.9.9.9'];
  const { code, err } = await lab.run(...args, '--', 'sh', '-c', `(${script}) > ${file} 2>&1`);
  t.deepEqual([code, err], [7, '']);
  const out = readFileSync(file, 'utf8');
  const [namespace, host, link] = out.split('\n');
  t.regex(namespace ?? '', /^net:\[\d+\]$/);
  t.is(host, 'inside');
  t.regex(link ?? '', /^1: lo: <LOOPBACK,UP/);
  t.regex(out, /^nameserver 9\.9\.9\.9$/m);
  t.regex(out, /cannot access '\/proc\/self\/fd\/3'/);
  t.false(readFileSync('/etc/resolv.conf', 'utf8').includes('Made by tapline run'));
  t.deepEqual(leftovers(lab), []);
  t.true(lab.logs.includes('info endpoint x attached to blue: eth0 172.30.0.2/24 fd00:30::2/64'));
});

test('the command does not begin before it is attached, and not at all when that fails', async (t) => {
  const lab = await makeLab(t);
  const file = join(lab.directory, 'out');
  lab.dataplane.failing.add('addPort x');
  const { code, err } = await lab.run('--network', 'blue', '--name', 'x', 'touch', file);
  t.deepEqual([code, err], [1, 'tapline: EIO addPort x told to fail\n']);
  t.false(existsSync(file));
  t.deepEqual(leftovers(lab), []);
});

test('a command that does not exist is 127, one that a signal ends is 128 and its number', async (t) => {
  const lab = await makeLab(t);
  t.like(await lab.run('--network', 'blue', '--', '/nonexistent/command'), { code: 127 });
  t.like(await lab.run('--network', 'blue', 'sh', '-c', 'kill -9 $$'), { code: 137 });
  await eventually(() => lab.daemon.endpoints.size === 0);
  t.deepEqual(leftovers(lab), []);
});

test("options behind the command are the command's own", async (t) => {
  const lab = await makeLab(t);
  t.deepEqual(
    await lab.run('--network', 'blue', 'sh', '-c', '[ "$1" = --name ] && [ "$2" = "a b" ]', 'x', '--name', 'a b'),
    {
      code: 0,
      err: '',
    },
  );
});
