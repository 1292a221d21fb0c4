/** The worker and its supervisor, on real TAPs. */

import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { startDataplane } from '../../control/dataplane.js';
import type { CapturedFrame, Dataplane } from '../../control/types.js';
import { attachTap, type Tap } from '../../io/tap.js';

const silent = { info: () => {}, warn: () => {}, error: () => {} };
let made = 0;

interface Lab {
  readonly dataplane: Dataplane;
  readonly names: string[];
  readonly taps: Tap[];
  readonly network: number;
  readonly ports: number[];
}

/** Two namespaces 172.30.0.2 and .3 on one switch. */
async function makeLab(t: ExecutionContext, engine: 'uring' | 'epoll'): Promise<Lab> {
  const names = [`tl-dp-${process.pid}-${++made}`, `tl-dp-${process.pid}-${++made}`];
  t.teardown(() => {
    for (const name of names) spawnSync('ip', ['netns', 'del', name]);
  });
  const dataplane = await startDataplane({ engine, logger: silent });
  t.teardown(() => dataplane.stop());
  const network = await dataplane.addNetwork({ name: 'blue', ageingSeconds: 300, fdbLimit: 1000 });
  const taps: Tap[] = [];
  const ports: number[] = [];
  for (const [at, name] of names.entries()) {
    execFileSync('ip', ['netns', 'add', name]);
    const tap = await attachTap({
      netns: `/run/netns/${name}`,
      interface: 'eth0',
      mac: `02:42:ac:1e:00:0${at + 2}`,
      mtu: 1500,
      addresses: [`172.30.0.${at + 2}/24`],
      alias: `tapline:${name}`,
    });
    t.teardown(() => tap.detach());
    taps.push(tap);
    ports.push(await dataplane.addPort({ kind: 'tap', name, network, fd: tap.fd }));
  }
  return { dataplane, names, taps, network, ports };
}

function ping(lab: Lab): boolean {
  return (
    spawnSync('ip', ['netns', 'exec', lab.names[0], 'ping', '-q', '-c', '3', '-i', '0.05', '-W', '1', '172.30.0.3'])
      .status === 0
  );
}

async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

for (const engine of ['uring', 'epoll'] as const) {
  test.serial(
    `${engine}: a worker that dies is replaced and goes on with its ports, its FDB and its counters`,
    async (t) => {
      const lab = await makeLab(t, engine);
      t.true(ping(lab));
      const before = lab.dataplane.totals();
      const { worker } = lab.dataplane as unknown as { worker: Worker };
      await worker.terminate();
      t.true(await until(async () => (await lab.dataplane.status().catch(() => null))?.workerRestarts === 1));
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

test.beforeEach((t) => t.timeout(60_000));

test.serial('the end of a watched process is told once', async (t) => {
  const { openPidfd, closeFd } = await import('../../io/pidfd.js');
  const { spawn } = await import('node:child_process');
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
