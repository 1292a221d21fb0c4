/** The worker and its supervisor, on real TAPs. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { startDataplane } from '../../control/dataplane.js';
import { ANY_FLOW } from '../../control/nat-client.js';
import type { CapturedFrame } from '../../control/types.js';
import { withNamespace } from '../../io/netns.js';
import { closeFd, openPidfd } from '../../io/pidfd.js';
import { openUplink } from '../../io/uplink.js';
import { kill, makeLab, ping, restarted, silent, until } from './support/worker-lab.js';

for (const engine of ['uring', 'epoll'] as const) {
  test.serial(
    `${engine}: a worker that dies is replaced and goes on with its ports, its FDB and its counters`,
    async (t) => {
      const lab = await makeLab(t, engine);
      t.true(ping(lab));
      const before = lab.dataplane.totals();
      await kill(lab.dataplane);
      t.true(await restarted(lab.dataplane, 1));
      t.is((await lab.dataplane.fdb()).length, 2, 'what was learned is still there');
      t.true(lab.dataplane.totals().rxPackets >= before.rxPackets);
      t.true(await until(() => ping(lab)));
      t.true(await until(async () => (await lab.dataplane.status()).freeSlots >= 2048 - 64));
    },
  );

  test.serial(
    `${engine}: a removed port leaves no entry, no descriptor in use, and its counts in the totals`,
    async (t) => {
      const lab = await makeLab(t, engine);
      t.true(ping(lab));
      const before = lab.dataplane.totals();
      await lab.dataplane.removePort(lab.ports[0]);
      t.deepEqual(
        (await lab.dataplane.fdb()).map((entry) => entry.port),
        [lab.ports[1]],
      );
      t.deepEqual(
        lab.dataplane.ports().map((port) => port.id),
        [lab.ports[1]],
      );
      const after = lab.dataplane.totals();
      t.true(after.rxPackets >= before.rxPackets);
      await lab.taps[0].detach();
      t.not(
        spawnSync('ip', ['-n', lab.names[0], 'link', 'show', 'eth0']).status,
        0,
        'the kernel holds the device no longer',
      );
    },
  );

  test.serial(`${engine}: a device that is deleted is told, once`, async (t) => {
    const lab = await makeLab(t, engine);
    const told: [number, string][] = [];
    lab.dataplane.onPortDown((port, error) => told.push([port, error]));
    execFileSync('ip', ['-n', lab.names[1], 'link', 'del', 'eth0']);
    t.true(await until(() => told.length > 0));
    await lab.dataplane.removePort(lab.ports[1]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.deepEqual(
      told.map(([port]) => port),
      [lab.ports[1]],
    );
    t.true(['EBADFD', 'EBADF', 'EIO'].includes(told[0][1]), told[0][1]);
  });

  test.serial(`${engine}: a capture of a port sees both directions, of a network each frame once`, async (t) => {
    const lab = await makeLab(t, engine);
    t.true(ping(lab));
    const frames: CapturedFrame[] = [];
    const networkFrames: CapturedFrame[] = [];
    const port = await lab.dataplane.capture({ port: lab.ports[0], network: null, snapLength: 60 });
    const network = await lab.dataplane.capture({ port: null, network: lab.network, snapLength: 0 });
    port.onFrame((frame) => frames.push(frame));
    network.onFrame((frame) => networkFrames.push(frame));
    t.true(ping(lab));
    await port.stop();
    await network.stop();
    const echoes = (list: CapturedFrame[], type: number, direction: string): number =>
      list.filter((frame) => frame.data[23] === 1 && frame.data[34] === type && frame.direction === direction).length;
    t.is(echoes(frames, 8, 'in'), 3);
    t.is(echoes(frames, 0, 'out'), 3);
    t.is(echoes(networkFrames, 8, 'in'), 3);
    t.is(echoes(networkFrames, 0, 'in'), 3);
    t.is(networkFrames.filter((frame) => frame.direction === 'out').length, 0);
    const echo = frames.find((frame) => frame.data[23] === 1);
    t.is(echo?.data.length, 60);
    t.is(echo?.originalLength, 98);
    t.true(Math.abs(Number((echo?.time ?? 0n) / 1000000n) - Date.now()) < 60_000);
    t.is(port.lost + network.lost, 0);
    frames.length = 0;
    t.true(ping(lab));
    t.is(frames.length, 0, 'a stopped capture sees nothing');
  });
}

for (const engine of ['uring', 'epoll'] as const) {
  test.serial(`${engine}: stopped while the worker is being replaced`, async (t) => {
    const lab = await makeLab(t, engine);
    await kill(lab.dataplane);
    await lab.dataplane.stop();
    // Longer than the pause before a restart: a worker that started now would find its memory unmapped.
    await new Promise((resolve) => setTimeout(resolve, 200));
    t.is((lab.dataplane as unknown as { worker: Worker | null }).worker, null);
  });

  test.serial(`${engine}: a port that is removed while the worker dies, or is away, is removed`, async (t) => {
    const lab = await makeLab(t, engine);
    t.true(ping(lab));
    const { rxPackets } = lab.dataplane.totals();
    const removal = lab.dataplane.removePort(lab.ports[0]);
    await kill(lab.dataplane);
    await removal;
    await lab.dataplane.removePort(lab.ports[1]);
    t.deepEqual(lab.dataplane.ports(), []);
    t.true(lab.dataplane.totals().rxPackets >= rxPackets, 'its counts are in the totals');
    t.true(await restarted(lab.dataplane, 1));
    t.deepEqual(await lab.dataplane.fdb(), [], 'what it learned is void');
    for (const tap of lab.taps) await tap.detach();
  });

  test.serial(`${engine}: connections that are to end while the worker is away end in its successor`, async (t) => {
    const lab = await makeLab(t, engine);
    const { dataplane, network } = lab;
    await dataplane.settle();
    // Frames within a network are tracked where the policy may refuse some; there is no rule, so all pass.
    await dataplane.nat.setPolicy(new Int32Array(0), Int32Array.of(network, -network));
    const count = async (): Promise<number> => (await dataplane.nat.status()).flows;
    t.true(ping(lab));
    t.true((await count()) > 0);
    await kill(dataplane);
    t.true((await dataplane.nat.flushFlows(ANY_FLOW)) > 0);
    t.is(await count(), 0);
    t.true(ping(lab));
    t.true((await count()) > 0);
    await kill(dataplane);
    await dataplane.removePort(lab.ports[0]);
    await dataplane.removePort(lab.ports[1]);
    t.true(await restarted(dataplane, 2));
    t.is(await count(), 0, 'with their ports');
    await kill(dataplane);
    const flushed = dataplane.nat.flushFlows(ANY_FLOW);
    await dataplane.stop();
    await t.throwsAsync(flushed, { message: /the dataplane is being (stopped|restarted): no flushFlows now/ });
    for (const tap of lab.taps) await tap.detach();
  });

  test.serial(`${engine}: a port that the new worker cannot take over is told, and can be removed`, async (t) => {
    const lab = await makeLab(t, engine);
    const told: number[] = [];
    lab.dataplane.onPortDown((port) => told.push(port));
    await kill(lab.dataplane);
    lab.taps[0].release();
    t.true(await until(() => told.length > 0));
    t.deepEqual(told, [lab.ports[0]]);
    await lab.dataplane.removePort(lab.ports[0]);
    t.deepEqual(
      lab.dataplane.ports().map((port) => port.id),
      [lab.ports[1]],
    );
  });

  test.serial(`${engine}: a port is removed once, by whoever asks first; the others wait for it too`, async (t) => {
    const lab = await makeLab(t, engine);
    await Promise.all([1, 2, 3].map(() => lab.dataplane.removePort(lab.ports[0])));
    await lab.dataplane.removePort(lab.ports[0]);
    t.is(lab.dataplane.ports().length, 1);
  });

  test.serial(
    `${engine}: captures and watches go on in the next worker; what came between leaves nothing behind`,
    async (t) => {
      const lab = await makeLab(t, engine);
      const child = spawn('sleep', ['60']);
      const pidfd = openPidfd(child.pid as number);
      let ended = 0;
      lab.dataplane.watchPidfd(pidfd, () => ended++);
      const frames: CapturedFrame[] = [];
      const capture = await lab.dataplane.capture({ port: lab.ports[0], network: null, snapLength: 0 });
      capture.onFrame((frame) => frames.push(frame));
      await kill(lab.dataplane);
      const another = lab.dataplane.capture({ port: lab.ports[0], network: null, snapLength: 0 });
      await t.throwsAsync(another, { message: /being restarted/ });
      t.is((lab.dataplane as unknown as { captures: Map<number, unknown> }).captures.size, 1, 'one capture is left');
      t.true(await until(() => ping(lab)));
      t.true(await until(() => frames.length > 0));
      child.kill();
      t.true(await until(() => ended > 0));
      await kill(lab.dataplane);
      await capture.stop();
      t.is((lab.dataplane as unknown as { captures: Map<number, unknown> }).captures.size, 0);
      t.is(ended, 1);
      closeFd(pidfd);
    },
  );

  test.serial(`${engine}: an uplink whose device is deleted is told, also when it was down before`, async (t) => {
    for (const downFirst of [false, true]) {
      const lab = await makeLab(t, engine);
      const [name] = lab.names;
      execFileSync('ip', ['-n', name, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'wire']);
      execFileSync('ip', ['-n', name, 'link', 'set', 'up0', 'up']);
      const uplink = withNamespace(`/run/netns/${name}`, () => openUplink({ device: 'up0' }));
      t.teardown(() => uplink.close());
      const { dataplane, network } = lab;
      const port = await dataplane.addPort({ kind: 'uplink', name: 'uplink', network, fd: uplink.fd });
      const told: [number, string][] = [];
      dataplane.onPortDown((down, error) => told.push([down, error]));
      if (downFirst) execFileSync('ip', ['-n', name, 'link', 'set', 'up0', 'down']);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      t.deepEqual(told, [], 'a device that is down may come up again');
      execFileSync('ip', ['-n', name, 'link', 'del', 'up0']);
      t.true(await until(() => told.length > 0));
      await new Promise((resolve) => setTimeout(resolve, 2100));
      t.deepEqual(told, [[port, 'ENODEV']], 'once');
      await dataplane.removePort(port);
    }
  });
}

/** The ports that workers are started with from now on, worker by worker. */
function watchSetups(t: ExecutionContext): (readonly { readonly id: number; readonly outlet: number }[])[] {
  const seen: { id: number; outlet: number }[][] = [];
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message: unknown, ...rest) {
    const { ports } = message as { ports?: { id: number; outlet: number }[] };
    if (ports !== undefined) seen.push(ports);
    return postMessage.call(this, message, ...rest);
  };
  t.teardown(() => {
    Worker.prototype.postMessage = postMessage;
  });
  return seen;
}

for (const engine of ['uring', 'epoll'] as const) {
  test.serial(`${engine}: the next worker has a port's outlet, one that was taken back no more`, async (t) => {
    const lab = await makeLab(t, engine);
    const { dataplane, ports } = lab;
    const setups = watchSetups(t);
    const outletNext = async (times: number): Promise<number | undefined> => {
      await kill(dataplane);
      t.true(await restarted(dataplane, times));
      t.true(ping(lab));
      return setups.at(-1)?.find(({ id }) => id === ports[0])?.outlet;
    };
    const fd = openSync('/dev/null', 'r+');
    await dataplane.setOutlet(ports[0], fd);
    t.is(await outletNext(1), fd);
    await dataplane.setOutlet(ports[0], -1);
    t.is(await outletNext(2), -1);
    await dataplane.setOutlet(ports[0], fd);
    await kill(dataplane);
    // What is taken back while there is no worker the next one must not have: its number is another's by then.
    await dataplane.setOutlet(ports[0], -1);
    closeSync(fd);
    t.true(await restarted(dataplane, 3));
    t.is(setups.at(-1)?.find(({ id }) => id === ports[0])?.outlet, -1);
    t.true(ping(lab));
    await t.notThrowsAsync(dataplane.setOutlet(4000, 1), 'a port that is not there has none');
  });
}

test.serial('an outlet that the worker does not take is not its successor’s either', async (t) => {
  const lab = await makeLab(t, 'epoll');
  const { dataplane, ports } = lab;
  const setups = watchSetups(t);
  // More than there are.
  await t.throwsAsync(dataplane.setOutlet(ports[0], 1_000_000), { message: /EBADF/ });
  t.true(ping(lab));
  await kill(dataplane);
  t.true(await restarted(dataplane, 1));
  t.is(setups.at(-1)?.find(({ id }) => id === ports[0])?.outlet, -1);
  t.true(ping(lab));
});

test.serial('what is asked of a dataplane that is being stopped is answered', async (t) => {
  const dataplane = await startDataplane({ engine: 'auto', logger: silent });
  const { worker } = dataplane as unknown as { worker: Worker };
  const stopped = dataplane.stop();
  const asked = dataplane.fdb().catch((error: Error) => error.message);
  await stopped;
  const answer = await asked;
  t.true(Array.isArray(answer) || /being stopped/.test(answer), String(answer));
  await t.throwsAsync(dataplane.status(), { message: /being stopped/ });
  t.is(worker.threadId, -1);
});

test.beforeEach((t) => t.timeout(60_000));

test.serial('the end of a watched process is told once', async (t) => {
  for (const engine of ['uring', 'epoll'] as const) {
    const dataplane = await startDataplane({ engine, logger: silent });
    const child = spawn('sleep', ['60']);
    const pidfd = openPidfd(child.pid as number);
    let told = 0;
    dataplane.watchPidfd(pidfd, () => told++);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.is(told, 0);
    child.kill();
    t.true(await until(() => told > 0));
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.is(told, 1);
    closeFd(pidfd);
    await dataplane.stop();
  }
});

test.serial('start and stop leave no descriptor behind', async (t) => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  await (await startDataplane({ engine: 'auto', logger: silent })).stop();
  const before = open();
  for (let round = 0; round < 3; round++) {
    await (await startDataplane({ engine: round === 1 ? 'epoll' : 'uring', logger: silent })).stop();
  }
  // Worker threads give their pipes back a moment after they have ended.
  t.true(await until(() => open() <= before), `${open()} descriptors, ${before} before`);
});
