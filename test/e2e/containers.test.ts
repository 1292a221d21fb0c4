/** Real containers of Docker and Podman, started without network and given one from outside. */

import test, { type ExecutionContext } from 'ava';
import { type ContainerEngine, startDocker, startPodman } from './support/engines.js';
import { backTo, startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

const NETWORKS = { blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'] } };

/** Teardowns of the file: the engines are shared by its tests. */
const teardowns: (() => unknown)[] = [];
const scope = { teardown: (work: () => unknown): void => void teardowns.unshift(work) };
test.after.always(async () => {
  for (const work of teardowns) await work();
});

const STARTERS = { docker: startDocker, podman: startPodman } as const;
const started = new Map<string, Promise<ContainerEngine>>();

function engineOf(name: keyof typeof STARTERS): Promise<ContainerEngine> {
  const engine = started.get(name) ?? STARTERS[name](scope);
  started.set(name, engine);
  return engine;
}

async function setUp(
  t: ExecutionContext,
  name: keyof typeof STARTERS,
  containers: readonly string[],
): Promise<{ engine: ContainerEngine; tapline: Tapline }> {
  const engine = await engineOf(name);
  for (const container of containers) {
    t.teardown(() => engine.remove(container));
    await engine.create(container);
  }
  const tapline = await startTapline(t, { version: 1, networks: NETWORKS }, { env: engine.env });
  return { engine, tapline };
}

const gone = (tapline: Tapline, name: string): Promise<void> =>
  eventually(`port ${name} to go`, async () => !(await tapline.ports()).some((port) => port.name === name));

for (const name of ['docker', 'podman'] as const) {
  test.serial(`${name}: containers without network are connected by name and reach each other`, async (t) => {
    const { engine, tapline } = await setUp(t, name, ['c1', 'c2']);
    t.notRegex(await engine.exec('c1', 'ip', 'address'), /eth0/);
    t.regex(await tapline.ok('connect', 'blue', 'c1'), /^c1: eth0 172\.30\.0\.2\/24 .*02:42:ac:1e:00:02\n$/);
    await tapline.ok('connect', 'blue', 'c2', '--address', '172.30.0.77', '--address', 'fd00:30::77');
    await engine.exec('c1', 'ping', '-c', '2', '-W', '5', '172.30.0.77');
    await engine.exec('c2', 'ping', '-c', '2', '-W', '5', '172.30.0.2');
    await eventually('IPv6', async () => {
      // Duplicate address detection holds an IPv6 address back for a second.
      return engine.exec('c1', 'ping', '-c', '1', '-W', '1', 'fd00:30::77').then(
        () => true,
        () => false,
      );
    });
    const [c1] = await tapline.endpoints();
    t.is(c1?.container, 'c1');
    t.is(String(c1?.pid), await engine.pid('c1'));

    await tapline.ok('disconnect', 'c1');
    t.notRegex(await engine.exec('c1', 'ip', 'address'), /eth0/);
    await tapline.ok('connect', 'blue', 'c1');
    await engine.exec('c1', 'ping', '-c', '1', '-W', '5', '172.30.0.77');
  });

  test.serial(
    `${name}: a container that is killed takes its endpoint with it; started again, it is connected again`,
    async (t) => {
      const { engine, tapline } = await setUp(t, name, ['c1', 'c2']);
      await tapline.ok('connect', 'blue', 'c2', '--address', '172.30.0.77');
      await engine.exec('c2', 'ip', 'link', 'show', 'eth0');
      await tapline.quiet();
      const before = await tapline.holdings();
      for (const end of ['kill', 'stop'] as const) {
        await tapline.ok('connect', 'blue', 'c1', '--address', '172.30.0.50');
        await engine.exec('c1', 'ping', '-c', '1', '-W', '5', '172.30.0.77');
        await engine.command(end, ...(end === 'stop' ? ['--time', '1'] : []), 'c1');
        await gone(tapline, 'c1');
        await eventually('its addresses to be forgotten', async () =>
          (await tapline.fdb()).every(({ port }) => port === 'c2' || port === 'gateway'),
        );
        await engine.command('start', 'c1');
        t.notRegex(await engine.exec('c1', 'ip', 'address'), /eth0/);
      }
      await tapline.ok('connect', 'blue', 'c1', '--address', '172.30.0.50');
      await engine.exec('c2', 'ping', '-c', '1', '-W', '5', '172.30.0.50');
      await tapline.ok('disconnect', 'c1');
      const { descriptors, freeSlots, ports } = before;
      await eventually('nothing to be left over', async () => {
        const now = await tapline.holdings();
        return now.descriptors === descriptors && now.freeSlots === freeSlots && String(now.ports) === String(ports);
      });
    },
  );

  test.serial(`${name}: containers in the file are attached at start; what is wrong with one is said`, async (t) => {
    const { engine, tapline } = await setUp(t, name, ['c1', 'c2']);
    await tapline.stop();
    await engine.command('stop', '--time', '0', 'c2');
    const config = (container: string): object => ({
      version: 1,
      networks: NETWORKS,
      endpoints: { a: { network: 'blue', container } },
    });
    const second = await startTapline(t, config('c1'), { env: engine.env });
    t.regex(await engine.exec('c1', 'ip', 'address', 'show', 'eth0'), /172\.30\.0\.2\/24/);
    const stopped = await second.cli('connect', 'blue', 'c2');
    t.is(stopped.code, 1);
    t.regex(stopped.stderr, /^tapline: .*c2.*(not running|stopped|exited).*\n$/);
    const unknown = await second.cli('connect', 'blue', 'c3');
    t.is(unknown.code, 1);
    t.regex(unknown.stderr, /^tapline: .*c3.*\n$/);
    const twice = await second.cli('connect', 'blue', 'c1');
    t.is(twice.code, 1);
    t.regex(twice.stderr, /eth0/);
  });
}

test.serial('docker: a container that is paused keeps its port', async (t) => {
  const { engine, tapline } = await setUp(t, 'docker', ['c1', 'c2']);
  for (const container of ['c1', 'c2']) await tapline.ok('connect', 'blue', container);
  await tapline.quiet();
  const before = await tapline.holdings();
  await engine.command('pause', 'c2');
  await engine.command('unpause', 'c2');
  await engine.exec('c1', 'ping', '-c', '1', '-W', '5', '172.30.0.3');
  const { fdbEntries: _, ...rest } = before;
  await backTo(tapline, rest);
  t.is((await tapline.ports()).length, 2);
});
