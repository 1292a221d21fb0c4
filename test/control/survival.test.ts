/** What a process writes down for the next one: whole at any instant, nobody else's, and no reason not to start where it cannot be. */

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KeptFile, readKept } from '../../control/kept-file.js';
import { KeptState } from '../../control/kept-state.js';
import { openStateDirectory } from '../../control/state-directory.js';
import { openSurvival } from '../../control/survival.js';

/** A directory of a test's own; in shared memory, which is a RAM file system. */
/** Wherever temporary files are: on a disk, as far as these tests go. */
const isRam = (path: string): boolean => path.startsWith('/dev/shm/');

function directory(t: ExecutionContext, parent = '/dev/shm'): string {
  const path = mkdtempSync(join(parent, 'tl-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Lines that a daemon logs. */
function makeLogger(): {
  lines: string[];
  logger: { info(l: string): void; warn(l: string): void; error(l: string): void };
} {
  const lines: string[] = [];
  const note = (line: string): void => {
    lines.push(line);
  };
  return { lines, logger: { info: note, warn: note, error: note } };
}

test('a file holds what was last said, and nothing half', async (t) => {
  const path = join(directory(t), 'kept.json');
  let content = { text: 'one' };
  const file = new KeptFile({ path, version: 3, content: () => content, failed: (line) => t.fail(line) });
  t.is(readKept(path, 3), null);
  const first = file.changed();
  t.is(file.changed(), first, 'what changes together is written once');
  content = { text: 'two' };
  await first;
  t.deepEqual(readKept(path, 3), { text: 'two' });
  t.deepEqual(readdirSync(join(path, '..')), ['kept.json']);
  t.throws(() => readKept(path, 4), { message: /kept\.json is of another version \(3\)/ });
  content = { text: 'three' };
  file.close();
  await file.changed();
  t.deepEqual(readKept(path, 3), { text: 'two' }, 'closed');
});

test('what cannot be written is said once, and again after it worked', async (t) => {
  const parent = directory(t);
  const path = join(parent, 'sub', 'kept.json');
  const lines: string[] = [];
  const file = new KeptFile({ path, version: 1, content: () => 1, failed: (line) => void lines.push(line) });
  await file.changed();
  await file.changed();
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /kept\.json cannot be written: ENOENT/);
  mkdirSync(join(parent, 'sub'));
  await file.changed();
  t.is(readKept(path, 1), 1);
  rmSync(join(parent, 'sub'), { recursive: true });
  await file.changed();
  t.is(lines.length, 2);
});

test('the directory is its owner’s alone, beside the socket on a RAM file system, and locked', async (t) => {
  const socket = join(directory(t), 's');
  const first = await openStateDirectory(socket);
  t.is(first.path, `${socket}.state`);
  t.true(first.free() > 0);
  const second = await t.throwsAsync(openStateDirectory(socket, { patience: 30 }));
  t.regex(second?.message ?? '', new RegExp(`another tapline process \\(pid ${process.pid}\\) holds .*; stop it`));
  first.close();
  const third = await openStateDirectory(socket, { patience: 30 });
  third.remove();
  t.false(existsSync(`${socket}.state`));
});

test('whoever waits for one that ends well and removes it has another in its place', async (t) => {
  const socket = join(directory(t), 's');
  for (let round = 0; round < 5; round++) {
    const first = await openStateDirectory(socket);
    const waiting = openStateDirectory(socket);
    await new Promise((resolve) => setTimeout(resolve, round * 5));
    first.remove();
    const second = await waiting;
    t.true(existsSync(second.file('lock')));
    await t.throwsAsync(openStateDirectory(socket, { patience: 20 }), { message: /another tapline process \(pid/ });
    second.close();
  }
});

test('elsewhere it is in shared memory, and what nobody will ask for any more is removed from there', async (t) => {
  const shared = directory(t);
  const parent = directory(t, tmpdir());
  const gone = directory(t, tmpdir());
  const left = await openStateDirectory(join(gone, 's'), { shared, isRam });
  t.regex(left.path, new RegExp(`^${shared}/tapline-`));
  left.close();
  const held = await openStateDirectory(join(parent, 'held'), { shared, isRam });
  rmSync(gone, { recursive: true });
  // Others may put there what they like; only root can make it theirs in a test.
  if (process.getuid?.() === 0) {
    mkdirSync(join(shared, 'tapline-trap'));
    execFileSync('mkfifo', [join(shared, 'tapline-trap', 'lock')]);
    chownSync(join(shared, 'tapline-trap'), 65_534, 65_534);
  }
  const own = await openStateDirectory(join(parent, 's'), { shared, isRam });
  t.false(existsSync(left.path));
  t.true(existsSync(held.path));
  held.remove();
  own.remove();
});

test('a directory that others may look into is not used', async (t) => {
  const socket = join(directory(t), 's');
  mkdirSync(`${socket}.state`);
  chmodSync(`${socket}.state`, 0o755);
  await t.throwsAsync(openStateDirectory(socket), {
    message: /s\.state is not a directory of this user alone; remove it/,
  });
});

test('where nothing can be kept the daemon is told so, and starts', async (t) => {
  const { lines, logger } = makeLogger();
  const disk = directory(t, tmpdir());
  const survival = await openSurvival(join(disk, 's'), 1024, logger, { shared: disk, isRam });
  t.is(survival.tables, null);
  t.regex(
    lines.join('\n'),
    /connections will not outlive this process: neither .* is a tmpfs; choose a --socket on a tmpfs/,
  );
  await survival.numbers.saved();
  survival.remove();
});

test('numbers and objects go from one process to the next; a clean end leaves nothing', async (t) => {
  const { lines, logger } = makeLogger();
  const socket = join(directory(t), 's');
  const first = await openSurvival(socket, 1024, logger);
  first.numbers.ports.take('a', () => 5);
  await first.numbers.saved();
  first.kept.setObject('network', 'green', { subnets: ['172.31.0.0/24'] });
  first.kept.setObject('network', 'red', {});
  first.kept.removeObject('network', 'red');
  first.kept.seal();
  first.leave();
  const second = await openSurvival(socket, 1024, logger);
  t.is(
    second.numbers.ports.take('a', () => 1),
    5,
  );
  t.deepEqual(second.kept.objects('network'), [['green', { subnets: ['172.31.0.0/24'] }]]);
  second.remove();
  t.false(existsSync(`${socket}.state`));
  t.deepEqual(lines, []);
});

test('a start that comes to nothing leaves what it found', async (t) => {
  const { lines, logger } = makeLogger();
  const socket = join(directory(t), 's');
  (await openSurvival(socket, 1024, logger)).giveUp();
  t.false(existsSync(`${socket}.state`));
  const first = await openSurvival(socket, 1024, logger);
  first.numbers.ports.take('a', () => 5);
  first.leave();
  (await openSurvival(socket, 1024, logger)).giveUp();
  const last = await openSurvival(socket, 1024, logger);
  t.is(
    last.numbers.ports.take('a', () => 1),
    5,
  );
  last.remove();
  t.deepEqual(lines, []);
});

test('without its numbers a table means nothing, and is not used', async (t) => {
  const { lines, logger } = makeLogger();
  const socket = join(directory(t), 's');
  const first = await openSurvival(socket, 1024, logger);
  writeFileSync(first.tables ?? '', 'left');
  first.leave();
  writeFileSync(join(`${socket}.state`, 'numbers.json'), '{"version":1,');
  writeFileSync(join(`${socket}.state`, 'state.json'), 'nonsense');
  const second = await openSurvival(socket, 1024, logger);
  t.false(existsSync(second.tables ?? ''));
  t.regex(lines[0] ?? '', /starting with empty tables: /);
  t.regex(lines[1] ?? '', /what an earlier process wrote down is lost: /);
  second.remove();
});

test('tables that the file system has no room for are not put there', async (t) => {
  const { lines, logger } = makeLogger();
  const socket = join(directory(t), 's');
  const survival = await openSurvival(socket, 2 ** 40, logger);
  t.is(survival.tables, null);
  t.regex(
    lines[0] ?? '',
    /their tables need \d+ MiB, .* has room for \d+ MiB; make it larger, or lower nat\.max_flows/,
  );
  survival.remove();
});

test('endpoints that an earlier process had are known until they are looked after', (t) => {
  const path = join(directory(t), 'state.json');
  const failed = (line: string): void => t.fail(line);
  const endpoint = {
    network: 'blue',
    vrf: 'default',
    addresses: [],
    netns: '/run/netns/a',
    identity: '1:2',
    interface: 'eth0',
    table: 7,
  };
  const first = new KeptState({ path, failed });
  first.setEndpoint('a', endpoint);
  first.setEndpoint('b', endpoint);
  first.removeEndpoint('b');
  first.seal();
  first.setEndpoint('c', endpoint);
  const second = new KeptState({ path, failed });
  t.deepEqual([...second.left], [['a', endpoint]]);
  t.true(readFileSync(path, 'utf8').includes('"version":1'));
});
