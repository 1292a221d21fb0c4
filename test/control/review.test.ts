/** What many objects, many events and many commands at once must not upset. */

import test from 'ava';
import { endpointSchema, mirrorSchema, networkSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { addStatic, flushFdb, removeEntry } from '../../control/fdb.js';
import { fdbViews, mdbViews, portViews, securityViews } from '../../control/views.js';
import { vlanViews } from '../../control/vlan-views.js';
import type { DataplaneDouble } from './support/dataplane-double.js';
import { config, type Fixture, leftovers, makeFixture, NETWORKS } from './support/fixture.js';

test('an event is named without a look at the counters of all ports', async (t) => {
  const { daemon, dataplane, system } = makeFixture();
  for (const name of ['a', 'b']) system.addNamespace(`/ns/${name}`);
  await daemon.apply(
    config(`${NETWORKS}endpoints: { a: { network: blue, netns: /ns/a }, b: { network: blue, netns: /ns/b } }`),
  );
  let looks = 0;
  const { ports } = dataplane;
  dataplane.ports = () => {
    looks++;
    return ports.call(dataplane);
  };
  dataplane.happen({ network: 1, port: dataplane.portNamed('a'), fromPort: dataplane.portNamed('b') });
  t.regex(daemon.eventLog.list()[0]?.text ?? '', /moved from port b to port a in network blue/);
  t.is(looks, 0);
  await daemon.stop();
});

test("the MAC of the host's device behind the uplink is no endpoint's of that network", async (t) => {
  const fixture = makeFixture();
  const { daemon, system } = fixture;
  system.devices.add('up0');
  for (const name of ['a', 'b']) system.addNamespace(`/ns/${name}`);
  await daemon.apply(config(`${NETWORKS}uplink: { device: up0, mode: bridged, network: blue }`));
  const endpoint = (name: string, more: object) => endpointSchema.parse({ netns: `/ns/${name}`, ...more });
  const host = '02:00:00:00:00:01';
  const error = await t.throwsAsync(daemon.connect('a', endpoint('a', { network: 'blue', mac: host })));
  t.is(error?.message, `mac: ${host} is the MAC of the host's up0; choose another`);
  const macs = ['02:00:00:00:00:77', host];
  const further = await t.throwsAsync(daemon.connect('a', endpoint('a', { network: 'blue', macs })));
  t.is(further?.message, `macs[1]: ${host} is the MAC of the host's up0; choose another`);
  t.deepEqual(
    leftovers(fixture).filter((one) => !one.includes('uplink') && !one.startsWith('descriptor')),
    [],
  );
  await daemon.connect('a', endpoint('a', { network: 'red', mac: host }));
  await daemon.connect('b', endpoint('b', { network: 'blue', macs: ['02:00:00:00:00:77'] }));
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

/** Numbers from 0 to below `limit`, the same each time. */
function makeRandom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
}

/** Lets each answer of the dataplane take some turns of the event loop. */
function delay(dataplane: DataplaneDouble, random: (limit: number) => number): void {
  const calls = [
    'addPort',
    'removePort',
    'addNetwork',
    'removeNetwork',
    'addStaticEntry',
    'removeEntry',
    'fdb',
  ] as const;
  for (const name of [...calls, 'addMirror', 'removeMirror'] as const) {
    const call = dataplane[name].bind(dataplane) as (...args: unknown[]) => Promise<unknown>;
    const slow = async (...args: unknown[]): Promise<unknown> => {
      const result = await call(...args);
      for (let turns = random(4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      return result;
    };
    Object.assign(dataplane, { [name]: slow });
  }
}

const NAMES = ['a', 'b', 'c', 'd'];
const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02'];

/** One command, whichever; those that cannot be are refused with a line. */
async function anyCommand({ daemon }: Fixture, random: (limit: number) => number): Promise<void> {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const name = pick(NAMES);
  const network = pick(['lan', 'lan', 'tmp']);
  const mac = pick(MACS);
  const commands: (() => Promise<unknown>)[] = [
    () =>
      daemon.connect(name, endpointSchema.parse({ network, netns: `/ns/${name}`, isolation_group: pick(['g', 'h']) })),
    () => daemon.connect(name, endpointSchema.parse({ network, netns: `/ns/${name}`, macs: [mac] })),
    () => daemon.disconnect(name),
    () => addStatic(daemon, { mac, network, port: name }),
    () => removeEntry(daemon, { mac, network }),
    () => flushFdb(daemon, { network, port: name }),
    () => daemon.createMirror(pick(['m', 'n']), mirrorSchema.parse({ from: { network }, to: name })),
    () => daemon.mirrors.remove(pick(['m', 'n'])),
    () => daemon.createNetwork('tmp', networkSchema.parse({ subnets: ['10.9.0.0/24'] })),
    () => daemon.removeNetwork('tmp', random(2) === 0),
    async () => [portViews(daemon), securityViews(daemon, null), vlanViews(daemon, null)],
    () => Promise.all([fdbViews(daemon, null), mdbViews(daemon, null)]),
  ];
  await pick(commands)();
}

/** MACs of the network that are set aside, though nobody is there to have them. */
function strayMacs({ daemon }: Fixture): string[] {
  return [...daemon.networks.values()].flatMap(({ ipam }) => MACS.filter((mac) => ipam.macOwner(mac) !== undefined));
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`whatever is asked for at the same time, every refusal is a line and nothing is left behind: ${seed}`, async (t) => {
    const fixture = makeFixture();
    const { daemon, dataplane, system } = fixture;
    const random = makeRandom(seed * 7919);
    for (const name of NAMES) system.addNamespace(`/ns/${name}`);
    await daemon.apply(config('{ version: 1, networks: { lan: { subnets: [10.8.0.0/24] } } }'));
    delay(dataplane, random);
    const outcomes = new Map<string, number>();
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 150; i++) {
        const kind = await anyCommand(fixture, random).then(
          () => 'done',
          (error: unknown) => (error instanceof TaplineError ? error.kind : `${error}`),
        );
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    t.deepEqual([...outcomes.keys()].sort(), ['conflict', 'done', 'invalid', 'missing']);
    for (const { network, port, mac } of dataplane.fdbEntries) {
      const name = dataplane.portName(port);
      const owner = [...daemon.networks.values()].find(({ id }) => id === network)?.ipam.macOwner(mac);
      t.is(owner?.owner, name ?? 'a port', `${mac} on ${name}`);
    }
    t.is(daemon.mirrors.list().filter(({ state }) => state === 'active').length, dataplane.mirrors.size);
    for (const name of NAMES) await daemon.disconnect(name).catch(() => undefined);
    t.deepEqual(strayMacs(fixture), []);
    await daemon.stop();
    t.deepEqual(leftovers(fixture), []);
    t.is(dataplane.networks.size, 0);
    t.is(dataplane.mirrors.size, 0);
  });
}
