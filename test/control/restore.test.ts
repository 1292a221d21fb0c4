/** A daemon that goes on where another was killed, over doubles: the file may have changed meanwhile, containers may be others. */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { addressOf } from '../../control/address-words.js';
import { type Configuration, endpointSchema, networkSchema } from '../../control/config/schema.js';
import { KeptState } from '../../control/kept-state.js';
import { config, type Fixture, makeFixture } from './support/fixture.js';

const UPLINK = 'device: up0, mode: own, addresses: [10.77.0.1/24]';
const SHARED = 'device: up0, mode: shared';

interface FileOptions {
  readonly publish?: string;
  readonly network?: string;
  readonly address?: string;
  readonly vrf?: string;
  readonly uplink?: string;
}

function file(options: FileOptions = {}): Configuration {
  const { publish = '"8080:80", "8081:81"', network = 'blue', address = '172.30.0.2' } = options;
  const { vrf = 'default', uplink = UPLINK } = options;
  return config(`version: 1
uplink: { ${uplink} }
networks:
  ${network}: { subnets: [172.30.0.0/24], vrf: ${vrf} }
  red: { subnets: [172.31.0.0/24] }
endpoints:
  a: { network: ${network}, netns: /ns/a, addresses: [${address}], publish: [${publish}] }
  b: { network: red, netns: /ns/b, addresses: [172.31.0.2] }
`);
}

/** Daemons that follow each other. */
interface Line {
  /** A process, whose predecessor was killed. @param prepare before it begins */
  next(wanted: Configuration, prepare?: (made: Fixture) => void): Promise<Fixture>;
}

function makeLine(t: ExecutionContext): Line {
  const directory = mkdtempSync('/dev/shm/tl-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'state.json');
  return {
    next: async (wanted, prepare = () => {}) => {
      const kept = new KeptState({ path, failed: (line) => t.fail(line) });
      const made = makeFixture(kept);
      t.teardown(() => made.daemon.stop());
      made.system.devices.add('up0');
      made.system.hosts.set('up0', { addresses: ['10.77.0.9/24'], linkLocal: null, defaults: [], routes: [] });
      for (const name of ['a', 'b', 'c']) made.system.addNamespace(`/ns/${name}`);
      prepare(made);
      await made.daemon.apply(wanted);
      return made;
    },
  };
}

/** What a kill leaves: all that was written down, and a process that does nothing more. */
async function killed({ daemon }: Fixture): Promise<void> {
  await daemon.leave();
}

/** Addresses whose connections were ended. */
function flushed({ dataplane }: Fixture): string[][] {
  return dataplane.nat.flushed.map(({ party }) => (party?.prefixes ?? []).map(({ words }) => addressOf(words)));
}

const published = ({ daemon }: Fixture, name = 'a'): readonly string[] => daemon.endpoint(name).config.publish;

test('published ports that commands changed are as they were; without a file that says otherwise', async (t) => {
  const line = makeLine(t);
  const first = await line.next(file());
  await first.daemon.unpublish('a', ['8080:80/tcp']);
  await first.daemon.publish('a', ['9090:90/tcp']);
  await killed(first);
  const second = await line.next(file());
  t.deepEqual(published(second), ['8081:81/tcp', '9090:90/tcp']);
  await second.daemon.publish('a', ['9091:91/tcp']);
  await killed(second);
  const third = await line.next(file());
  t.deepEqual(published(third), ['8081:81/tcp', '9090:90/tcp', '9091:91/tcp'], 'changed by two processes');
  await killed(third);
  const edited = await line.next(file({ publish: '"7070:70"' }));
  t.deepEqual(published(edited), ['7070:70/tcp']);
  const said = 'warn publish a, made by command before the restart, is not there any more';
  t.true(edited.logs.includes(`${said}: the file publishes other ports than before`));
  await killed(edited);
  t.deepEqual(published(await line.next(file({ publish: '"7070:70"' }))), ['7070:70/tcp']);
});

test('a port that was given up, and that somebody has by now, keeps nobody from starting', async (t) => {
  const line = makeLine(t);
  const first = await line.next(file({ uplink: SHARED }));
  await first.daemon.unpublish('a', ['8080:80/tcp']);
  await first.daemon.publish('a', ['9090:90/tcp']);
  const made = endpointSchema.parse({ network: 'red', netns: '/ns/c', publish: ['7000:70', '7001:71'] });
  await first.daemon.connect('c', made);
  first.daemon.kept.setObject('endpoint', 'c', { network: 'red', netns: '/ns/c', publish: ['7000:70', '7001:71'] });
  await first.daemon.unpublish('c', ['7000:70/tcp']);
  await killed(first);
  const second = await line.next(file({ uplink: SHARED }), ({ system }) => {
    for (const port of [8080, 7000, 9090])
      system.sockets.push({ protocol: 'tcp', port, address: '0.0.0.0', isIpv6: false, inode: 0 });
  });
  t.deepEqual(published(second), ['8081:81/tcp'], 'nor does what a command had published');
  t.deepEqual(published(second, 'c'), ['7001:71/tcp']);
  t.true(second.logs.some((text) => text.includes('publish a, made by command') && text.includes('9090/tcp is held')));
});

test('connections of an endpoint that is as it was go on', async (t) => {
  const line = makeLine(t);
  await killed(await line.next(file()));
  t.deepEqual(flushed(await line.next(file())), []);
});

const CHANGES: readonly (readonly [string, FileOptions])[] = [
  ['another address', { address: '172.30.0.7' }],
  ['a network of another name', { network: 'green' }],
  ['another VRF', { vrf: 'other', publish: '' }],
];

for (const [what, change] of CHANGES) {
  test(`connections to an address that nobody has in its VRF any more end: ${what}`, async (t) => {
    const line = makeLine(t);
    await killed(await line.next(file({ publish: '' })));
    const second = await line.next(file({ publish: '', ...change }));
    // A network's name alone says nothing of where packets go.
    t.deepEqual(flushed(second), what.includes('name') ? [] : [['172.30.0.2']]);
  });
}

test('connections of a container that another has taken the place of end, as those of one that is gone', async (t) => {
  const line = makeLine(t);
  await killed(await line.next(file()));
  const another = await line.next(file(), ({ system }) => system.addNamespace('/ns/a', 'another'));
  t.deepEqual(flushed(another), [['172.30.0.2']]);
  await killed(another);
  const gone = file();
  const without = { ...gone, endpoints: new Map([...gone.endpoints].filter(([name]) => name !== 'a')) };
  t.deepEqual(flushed(await line.next(without)), [['172.30.0.2']]);
});

test('a network of a command comes back where the uplink carries less by now', async (t) => {
  const line = makeLine(t);
  const first = await line.next(file());
  const wide = { subnets: ['172.27.0.0/24'], mtu: 1450, vxlan: { vni: 7, local: '10.77.0.1' } };
  await first.daemon.createNetwork('wide', networkSchema.parse(wide));
  first.daemon.kept.setObject('network', 'wide', wide);
  await killed(first);
  const second = await line.next(file(), ({ system }) => system.links.set('up0', { mtu: 1400 }));
  t.is(second.daemon.network('wide').mtu, 1350);
  t.is(second.dataplane.interfaceOf('wide').mtu, 1350);
});
