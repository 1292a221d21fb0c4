/** What is checked follows the services, and what the checks say goes to them: over doubles of services, kernel and dataplane. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { networkSchema, serviceSchema } from '../../../control/config/schema.js';
import { HealthChecks } from '../../../control/health/health.js';
import type { Target } from '../../../control/health/messages.js';
import type { CheckedBackend, CheckedService } from '../../../control/health/wanted.js';
import { Ipam } from '../../../control/ipam.js';
import { KeptState } from '../../../control/kept-state.js';
import type { NetworkState } from '../../../control/state.js';
import { DataplaneDouble } from '../support/dataplane-double.js';
import { eventually } from '../support/fixture.js';
import { type CheckThreadDouble, SystemDouble } from '../support/system-double.js';

const ADDRESSES: Readonly<Record<string, string>> = { a: '172.30.0.2', b: '172.30.0.3', g: '172.31.0.2' };
const NUMBERS: Readonly<Record<string, number>> = { a: 1, b: 2, g: 3 };

class Bench {
  readonly dataplane = new DataplaneDouble();
  readonly system = new SystemDouble();
  readonly networks = new Map<string, NetworkState>();
  readonly all = new Map<string, CheckedService>();
  /** `service backend up reason`. */
  readonly health: string[] = [];
  readonly logs: string[] = [];
  /** What the policy is told to let through, whenever it is told. */
  readonly policy: string[] = [];
  readonly removed: number[] = [];
  #changed: () => void = () => undefined;
  readonly checks: HealthChecks;

  /** @param kept what outlives it */
  constructor(t: ExecutionContext, kept = KeptState.none()) {
    const write = (json: string): void => {
      const { level, msg } = JSON.parse(json) as { level: string; msg: string };
      this.logs.push(`${level} ${msg}`);
    };
    const logger = pino({ level: 'warn', formatters: { level: (level) => ({ level }) } }, { write });
    this.checks = new HealthChecks({
      system: this.system,
      dataplane: this.dataplane,
      logger,
      services: {
        all: this.all,
        setHealth: (service, backend, up, reason) =>
          this.health.push(`${service} ${backend} ${up ? 'up' : 'down'} ${reason}`.trim()),
        onChange: (listener) => {
          this.#changed = listener;
        },
      },
      kept,
      cameBack: (endpoint) => endpoint !== 'b',
      network: (name) => this.networks.get(name),
      networkOf: (endpoint) => (endpoint === 'g' ? 'green' : 'blue'),
      policyChanged: async () => {
        const prefixes = this.checks.prefixes().flatMap((one) => one.prefixes.map((text) => `${one.network} ${text}`));
        this.policy.push(prefixes.filter((text) => !text.includes('fe80')).join(', '));
      },
      portRemoved: (port) => this.removed.push(port),
    });
    t.teardown(() => this.checks.close());
  }

  async addNetwork(name: string, config: object): Promise<NetworkState> {
    const parsed = networkSchema.parse(config);
    const id = await this.dataplane.addNetwork({ name } as never);
    const network: NetworkState = { name, config: parsed, ipam: new Ipam(name, parsed), mtu: 1500, phase: 'up', id };
    this.networks.set(name, network);
    return network;
  }

  /** @param endpoints those of its backends, with addresses as long as they are in ADDRESSES */
  serve(
    name: string,
    endpoints: readonly string[],
    health: object | undefined,
    more: Partial<CheckedBackend> = {},
  ): void {
    const listed = endpoints.map((endpoint) => ({ endpoint, port: 80 }));
    const config = serviceSchema.parse({
      network: 'blue',
      listen: ['8080'],
      backends: listed,
      ...(health === undefined ? {} : { health }),
    });
    const backends = config.backends.map((one): CheckedBackend => {
      const { endpoint } = one;
      const addresses = [ADDRESSES[endpoint] as string];
      return {
        key: `${endpoint}:80`,
        config: one,
        number: NUMBERS[endpoint] as number,
        addresses,
        state: 'up',
        ...more,
      };
    });
    this.all.set(name, { name, config, vrf: 'default', backends });
    this.#changed();
  }

  end(name: string): void {
    this.all.delete(name);
    this.#changed();
  }

  thread(index = 0): CheckThreadDouble {
    const thread = this.system.checkThreads[index];
    if (thread === undefined) throw new Error(`no thread ${index}`);
    return thread;
  }

  /** All that a thread was told to check. */
  targets(index = 0): Target[] {
    return this.thread(index).orders.flatMap((order) => (order.op === 'check' ? order.targets : []));
  }

  portNames(): string[] {
    return [...this.dataplane.livePorts.values()].map(({ name }) => name);
  }
}

async function blue(t: ExecutionContext, more: object = {}): Promise<Bench> {
  const bench = new Bench(t);
  await bench.addNetwork('blue', { subnets: ['172.30.0.0/24', 'fd00:30::/64'], ...more });
  return bench;
}

const TCP = { type: 'tcp' };

test('a service with a health check: a thread, a port in its network that reaches everybody, and its backends', async (t) => {
  const bench = await blue(t, { isolated: true, vlan_filtering: true });
  bench.serve('web', ['a', 'b'], TCP);
  await eventually(() => bench.system.checkThreads.length === 1 && bench.targets().length === 2);
  t.like(bench.targets()[0], { id: 1, address: '172.30.0.2', port: 80, http: null, up: null });
  t.like(bench.targets()[1], { id: 2, address: '172.30.0.3' });
  const [tap] = [...bench.system.taps.values()];
  const addresses = ['172.30.0.254/24', 'fd00:30::ffff:ffff:ffff:ff7f/64'];
  t.like(tap, { netns: '/health/0', alias: 'tapline:health:blue', mtu: 1500, addresses });
  const [port] = [...bench.dataplane.livePorts.values()];
  t.like(port, {
    kind: 'tap',
    name: 'health:blue',
    network: bench.networks.get('blue')?.id,
    isolation: 0,
    vlan: { native: 1, tagged: [] },
    security: { level: 'strict', mac: tap?.mac },
    announce: ['172.30.0.254', 'fd00:30::ffff:ffff:ffff:ff7f'],
  });
  // Before its first packet.
  t.deepEqual(bench.policy, ['blue 172.30.0.254/32, blue fd00:30::ffff:ffff:ffff:ff7f/128']);
});

test('one without: nothing at all', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a'], undefined);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual([bench.system.checkThreads.length, bench.system.taps.size], [0, 0]);
});

test('what the thread finds goes to the service, as long as the check is wanted', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a', 'b'], TCP);
  await eventually(() => bench.system.checkThreads.length === 1 && bench.targets().length === 2);
  const { listener } = bench.thread();
  listener.result({ id: 1, up: true, reason: '' });
  listener.result({ id: 2, up: false, reason: 'HTTP 500, expected 200-399' });
  t.deepEqual(bench.health, ['web a:80 up', 'web b:80 down HTTP 500, expected 200-399']);
  bench.serve('web', ['a'], TCP);
  await eventually(() => bench.thread().orders.some((order) => order.op === 'forget'));
  t.deepEqual(bench.thread().orders.at(-1), { op: 'forget', ids: [2] });
  listener.result({ id: 2, up: true, reason: '' });
  t.is(bench.health.length, 2);
});

test('another way to check goes on from what is known; another address begins anew', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a'], TCP);
  await eventually(() => bench.system.checkThreads.length === 1 && bench.targets().length === 1);
  bench.thread().listener.result({ id: 1, up: true, reason: '' });
  bench.serve('web', ['a'], { type: 'tcp', interval: 5 });
  await eventually(() => bench.targets().length === 2);
  t.like(bench.targets()[1], { id: 2, interval: 5000, up: true });
  bench.serve('web', ['a'], { type: 'tcp', interval: 5 }, { addresses: ['172.30.0.9'] });
  await eventually(() => bench.targets().length === 3);
  t.like(bench.targets()[2], { id: 3, address: '172.30.0.9', up: null });
  // The same address, but the endpoint was away meanwhile: the service waits for a first result.
  bench.thread().listener.result({ id: 3, up: true, reason: '' });
  bench.serve('web', ['a'], { type: 'tcp', interval: 5 }, { addresses: ['172.30.0.9'], state: 'starting' });
  await eventually(() => bench.targets().length === 4);
  t.like(bench.targets()[3], { id: 4, address: '172.30.0.9', up: null });
  // That result is on its way: nothing is begun anew.
  bench.serve('web', ['a'], { type: 'tcp', interval: 5 }, { addresses: ['172.30.0.9'], state: 'starting' });
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.is(bench.targets().length, 4);
});

test('networks of one VRF share a thread, each with a port of its own; what is not needed any more goes', async (t) => {
  const bench = await blue(t);
  await bench.addNetwork('green', { subnets: ['172.31.0.0/24'] });
  bench.serve('web', ['a', 'g'], TCP);
  await eventually(() => bench.portNames().length === 2 && bench.targets().length === 2);
  t.deepEqual(bench.portNames(), ['health:blue', 'health:green']);
  t.is(bench.system.checkThreads.length, 1);
  bench.serve('web', ['a'], TCP);
  await eventually(() => bench.portNames().length === 1);
  t.false(bench.networks.get('green')?.ipam.holds('health:green'));
  bench.end('web');
  await eventually(() => bench.thread().isStopped);
  t.deepEqual([bench.portNames(), [...bench.system.taps], [...bench.system.openFds]], [[], [], []]);
  t.false(bench.networks.get('blue')?.ipam.holds('health:blue'));
  t.is(bench.policy.at(-1), '');
});

test('an endpoint that asks for an address of the checks gets it: their port is gone before, and they move', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a'], TCP);
  await eventually(() => bench.system.checkThreads.length === 1 && bench.targets().length === 1);
  const [first] = bench.dataplane.livePorts.keys();
  bench.networks.get('blue')?.ipam.reserve('c', { addresses: ['172.30.0.254'] });
  t.deepEqual(bench.removed, [first as number]);
  await eventually(
    () => bench.portNames().length === 1 && ![...bench.dataplane.livePorts.keys()].includes(first as number),
  );
  t.like([...bench.system.taps.values()][0], { addresses: ['172.30.0.253/24', 'fd00:30::ffff:ffff:ffff:ff7f/64'] });
  // The thread has noticed nothing.
  t.is(bench.targets().length, 1);
});

test('the kernel takes the device away: another one', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a'], TCP);
  await eventually(() => bench.portNames().length === 1);
  const [first] = bench.dataplane.livePorts.keys();
  t.false(bench.checks.lost(4711));
  t.true(bench.checks.lost(first as number));
  await eventually(
    () => bench.portNames().length === 1 && ![...bench.dataplane.livePorts.keys()].includes(first as number),
  );
  t.is(bench.system.taps.size, 1);
});

test('where no checks can be made, backends count as up, and it is said once', async (t) => {
  const bench = await blue(t);
  await bench.addNetwork('green', { subnets: ['172.31.0.0/30'] });
  bench.networks.get('green')?.ipam.reserve('g', { addresses: ['172.31.0.2'] });
  bench.serve('web', ['a', 'g'], TCP);
  const why = 'no address left in 172.31.0.0/30 of network green';
  await eventually(() => bench.health.length === 1);
  t.deepEqual(bench.health, [`web g:80 up not checked: ${why}`]);
  t.deepEqual(bench.logs, [`warn backends in network green are not checked, and count as up: ${why}`]);
  t.like(bench.targets(), [{ address: '172.30.0.2' }]);
  bench.checks.update();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.is(bench.health.length + bench.logs.length, 2);
  // It is tried again.
  bench.networks.get('green')?.ipam.release('g');
  bench.checks.update();
  await eventually(() => bench.targets().length === 2);
  t.like(bench.targets()[1], { address: '172.31.0.2', up: null });
});

test('no thread to be had: the same for its whole VRF', async (t) => {
  const bench = await blue(t);
  bench.system.checkThreadError = 'EPERM making a network namespace: needs CAP_SYS_ADMIN';
  bench.serve('web', ['a', 'b'], TCP);
  await eventually(() => bench.health.length === 2);
  const why = bench.system.checkThreadError;
  t.deepEqual(bench.health, [`web a:80 up not checked: ${why}`, `web b:80 up not checked: ${why}`]);
  t.deepEqual(bench.logs, [`warn backends in VRF default are not checked, and count as up: ${why}`]);
});

test('a thread that ends is replaced, and the next one goes on from what is known', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a', 'b'], TCP);
  await eventually(() => bench.system.checkThreads.length === 1 && bench.targets().length === 2);
  bench.thread().listener.result({ id: 1, up: false, reason: 'x' });
  bench.thread().listener.ended('out of memory');
  t.deepEqual(bench.logs, ['error the thread of health checks in VRF default ended: out of memory; starting another']);
  await eventually(() => bench.system.taps.size === 0);
  bench.checks.update();
  await eventually(() => bench.system.checkThreads.length === 2 && bench.targets(1).length === 2);
  t.like(bench.targets(1), [
    { address: '172.30.0.2', up: false },
    { address: '172.30.0.3', up: null },
  ]);
  t.deepEqual(
    [...bench.system.taps.keys()].map((key) => key.split(' ')[0]),
    ['/health/1'],
  );
  // What the first one says yet is of nobody.
  bench.thread(0).listener.result({ id: 2, up: true, reason: '' });
  t.is(bench.health.length, 1);
});

test('a suspect is checked at once', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a', 'b'], TCP);
  await eventually(() => bench.system.checkThreads.length === 1 && bench.targets().length === 2);
  bench.checks.checkNow(2);
  bench.checks.checkNow(77);
  t.deepEqual(bench.thread().orders.slice(1), [{ op: 'now', id: 2 }]);
});

test('a network that goes: nothing of the checks is left in it, nor comes back', async (t) => {
  const bench = await blue(t);
  bench.serve('web', ['a'], TCP);
  await eventually(() => bench.portNames().length === 1);
  const network = bench.networks.get('blue');
  if (network !== undefined) network.phase = 'stopping';
  bench.checks.update();
  await bench.checks.leaveNetwork('blue');
  t.deepEqual([bench.portNames(), [...bench.system.taps], network?.ipam.holds('health:blue')], [[], [], false]);
  await bench.checks.close();
  t.true(bench.thread().isStopped);
  bench.checks.update();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.is(bench.system.checkThreads.length, 1);
});

test('the next process goes on from what the one before knew, of containers that are the same', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'state.json');
  const keep = (): KeptState => {
    const kept = new KeptState({ path, failed: (line) => t.fail(line) });
    // What is still to be written is not, once the directory goes.
    t.teardown(() => kept.close());
    return kept;
  };
  const before = keep();
  const first = new Bench(t, before);
  await first.addNetwork('blue', { subnets: ['172.30.0.0/24'] });
  first.serve('web', ['a', 'b'], TCP);
  first.serve('other', ['a'], TCP);
  await eventually(() => first.system.checkThreads.length === 1 && first.targets().length === 3);
  for (const { id } of first.targets().slice(0, 2)) first.thread().listener.result({ id, up: true, reason: '' });
  first.thread().listener.result({ id: first.targets()[2]?.id ?? 0, up: false, reason: 'HTTP 500' });
  before.seal();
  const after = keep();
  t.is(after.objects('health').length, 3);
  const next = new Bench(t, after);
  await next.addNetwork('blue', { subnets: ['172.30.0.0/24'] });
  next.serve('web', ['a', 'b'], TCP, { state: 'starting' });
  // Before there is a thread.
  await eventually(() => next.health.length > 0);
  t.deepEqual(next.health, ['web a:80 up']);
  await eventually(() => next.system.checkThreads.length === 1 && next.targets().length === 2);
  t.like(next.targets(), [
    { address: ADDRESSES.a, up: true },
    { address: ADDRESSES.b, up: null },
  ]);
  next.checks.settle();
  // Service `other` has not come back.
  await eventually(() => after.objects('health').length === 1);
  t.deepEqual(after.object('health', 'other a:80'), undefined);
});
