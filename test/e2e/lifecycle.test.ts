/** Endings: of the daemon in the middle of traffic, of containers while attached. Nothing may be left over, here or there. */

import { existsSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { sendFrames, testFrame } from './support/frames.js';
import { iperfServer } from './support/iperf.js';
import { createHosts, createLab, type Host, labConfig } from './support/lab.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { type Background, must, run, start } from './support/process.js';
import { backTo, ENGINES, prepare, startTapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

/** A process with a network namespace that nothing but itself holds: what a container is to Tapline. */
interface Container {
  readonly process: Background;
  readonly pid: string;
  exec(...argv: string[]): Promise<string>;
}

async function createContainer(t: ExecutionContext): Promise<Container> {
  const process = start(t, ['unshare', '--net', 'sleep', '600']);
  const pid = String(process.pid);
  // Until unshare has become sleep, the namespace may still be ours.
  await eventually('the container', async () => (await must(['ps', '-o', 'comm=', '-p', pid])).trim() === 'sleep');
  return { process, pid, exec: (...argv) => must(['nsenter', '--net', '--target', pid, '--', ...argv]) };
}

/** Puts one end of a veth into a container: the kernel removes the other when the namespace has gone for good. */
async function tripwire(container: Container, watcher: Namespace): Promise<() => Promise<void>> {
  const ends = ['trip', 'type', 'veth', 'peer', 'name', 'wire', 'netns', container.pid];
  await must(['ip', '-n', watcher.name, 'link', 'add', ...ends]);
  const gone = async (): Promise<boolean> => (await watcher.run(['ip', 'link', 'show', 'trip'])).code !== 0;
  return () => eventually('the namespace to be destroyed', gone);
}

const hasInterface = async (namespace: Namespace): Promise<boolean> =>
  (await namespace.run(['ip', 'link', 'show', 'eth0'])).code === 0;

for (const engine of ENGINES) {
  test.serial(`${engine}: SIGTERM in the middle of traffic removes everything and exits with 0`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine, hosts: 3 });
    const [a, b] = hosts as [Host, Host];
    await iperfServer(b);
    const client = a.start('iperf3', '--client', b.ip, '--time', '60', '--parallel', '2');
    await eventually('traffic', async () => (await tapline.port('a')).rxPackets > 2000);
    const started = Date.now();
    await tapline.stop();
    t.true(Date.now() - started < 15_000);
    t.false(existsSync(tapline.socket));
    for (const host of hosts) t.false(await hasInterface(host));
    await client.stop('SIGKILL');
  });

  test.serial(`${engine}: a container that is killed while attached leaves nothing behind`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine, hosts: 1, network: { ageing: 1000 } });
    const [a] = hosts as [Host];
    const watcher = await createNamespace(t);
    await tapline.quiet();
    const before = await tapline.holdings();
    for (let round = 0; round < 2; round++) {
      const container = await createContainer(t);
      const gone = await tripwire(container, watcher);
      await tapline.ok('connect', 'blue', '--pid', container.pid, '--name', 'victim', '--address', '172.30.0.99');
      await container.exec('ip', 'link', 'set', 'lo', 'up');
      await a.exec('ping', '-c', '1', '-W', '5', '172.30.0.99');
      const mac = (await tapline.endpoints()).find(({ name }) => name === 'victim')!.mac;
      t.is(await tapline.fdbPort(mac), 'victim');
      const flood = a.start('ping', '-f', '-q', '172.30.0.99');
      await container.process.stop('SIGKILL');
      await backTo(tapline, before);
      await gone();
      t.is(await tapline.fdbPort(mac), undefined);
      t.is((await tapline.endpoints()).length, 1);
      await flood.stop('SIGINT');
    }
  });
}

test.serial('connecting and disconnecting again and again leaves nothing behind', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 1 });
  const [a] = hosts as [Host];
  const b = await createNamespace(t);
  await tapline.quiet();
  const before = await tapline.holdings();
  for (let round = 0; round < 8; round++) {
    await tapline.ok('connect', 'blue', '--netns', b.path, '--name', 'b', '--address', '172.30.0.9');
    await b.exec('ping', '-c', '1', '-W', '5', a.ip);
    await tapline.ok('disconnect', 'b');
    t.false(await hasInterface(b));
  }
  await backTo(tapline, before);
});

test.serial('a container that was stopped and started again can be connected again, under the same name', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 1 });
  const [a] = hosts as [Host];
  for (let round = 0; round < 3; round++) {
    const container = await createContainer(t);
    const connect = ['connect', 'blue', '--pid', container.pid, '--name', 'web', '--address', '172.30.0.80'];
    await tapline.ok(...connect);
    await container.exec('ping', '-c', '1', '-W', '5', a.ip);
    t.is((await tapline.endpoints()).length, 2);
    await container.process.stop('SIGTERM');
    await eventually('port web to go', async () => !(await tapline.ports()).some(({ name }) => name === 'web'));
  }
});

test.serial('a namespace whose file is removed takes its endpoint with it', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 1 });
  t.is(hosts.length, 1);
  await tapline.quiet();
  const before = await tapline.holdings();
  const doomed = await createNamespace(t);
  await tapline.ok('connect', 'blue', '--netns', doomed.path, '--name', 'doomed');
  await doomed.remove();
  await backTo(tapline, before);
});

test.serial('an interface that is deleted inside its container takes its port with it', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 2 });
  const [, b] = hosts as [Host, Host];
  await b.exec('ip', 'link', 'delete', 'eth0');
  await eventually('port b to go', async () => !(await tapline.ports()).some(({ name }) => name === 'b'));
  await eventually('endpoint b to go', async () => (await tapline.endpoints()).length === 1);
  await tapline.ok('connect', 'blue', '--netns', b.path, '--name', 'b', '--address', b.ip);
  const ping = await b.run(['ping', '-c', '1', '-W', '5', hosts[0]!.ip]);
  t.is(ping.code, 0, ping.stdout);
});

test.serial('frames for an interface that is down are a counted drop; up again, it works again', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 2 });
  const [a, b] = hosts as [Host, Host];
  await a.exec('ping', '-c', '1', '-W', '5', b.ip);
  await b.exec('ip', 'link', 'set', 'eth0', 'down');
  await sendFrames(a, [testFrame(b.mac, a.mac, 'nobody is listening')]);
  await tapline.quiet();
  const { txDrops } = await tapline.port('b');
  t.true((txDrops.tx_port_down ?? 0) >= 1);
  t.deepEqual(Object.keys(txDrops), ['tx_port_down']);
  await b.exec('ip', 'link', 'set', 'eth0', 'up');
  await a.exec('ping', '-c', '1', '-W', '5', b.ip);
});

test.serial('after kill -9 a new daemon takes the devices over, and the containers talk on', async (t) => {
  const hosts = await createHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  const config = labConfig(hosts);
  const first = start(t, prepare(t, config).argv);
  await first.said(/^ready$/m, 30_000);
  const index = async (): Promise<string> => (await a.exec('ip', '-o', 'link', 'show', 'eth0')).split(':')[0]!;
  const before = await index();
  await first.stop('SIGKILL');
  t.is(await index(), before, 'the device is still there');
  const second = await startTapline(t, config);
  t.is(await index(), before, 'and still the same');
  await a.exec('ping', '-c', '1', '-W', '5', b.ip);
  await second.stop();
  t.not((await run(['ip', '-n', a.name, 'link', 'show', 'eth0'])).code, 0);
});
