import test from 'ava';
import type { z } from 'zod';
import { endpointSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { addStatic, flushFdb, removeEntry } from '../../control/fdb.js';
import { config, eventually, type Fixture, makeFixture } from './support/fixture.js';

const MAC = '02:00:00:00:00:99';

const FILE = `version: 1
uplink: { device: up0, mode: bridged, network: lan }
networks:
  blue: { subnets: [172.30.0.0/24] }
  lan: { subnets: [10.0.0.0/24], vlan_filtering: true }
endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: blue, netns: /ns/b }
  v: { network: lan, netns: /ns/v, vlan: 10 }
  t: { network: lan, netns: /ns/t, trunk: { allowed: [10, 20] } }
`;

interface Lab extends Fixture {
  readonly blue: number;
  readonly lan: number;
  readonly port: (name: string) => number;
  readonly refused: (work: Promise<unknown>) => Promise<string>;
  readonly connect: (name: string, asked: Omit<z.input<typeof endpointSchema>, 'netns'>) => Promise<unknown>;
}

async function makeLab(): Promise<Lab> {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  for (const name of ['a', 'b', 'v', 't']) system.addNamespace(`/ns/${name}`);
  system.devices.add('up0');
  await daemon.apply(config(FILE));
  return {
    ...fixture,
    blue: daemon.network('blue').id,
    lan: daemon.network('lan').id,
    port: (name) => dataplane.portNamed(name),
    refused: async (work) => {
      try {
        await work;
      } catch (error) {
        if (error instanceof TaplineError) return `${error.kind} ${error.message}`;
        throw error;
      }
      return 'accepted';
    },
    connect: (name, asked) => {
      system.addNamespace(`/ns/${name}`);
      return daemon.connect(name, endpointSchema.parse({ netns: `/ns/${name}`, ...asked }));
    },
  };
}

test('a static entry names network, port and VLAN, and goes with its port', async (t) => {
  const { daemon, dataplane, blue, lan, port } = await makeLab();
  t.deepEqual(await addStatic(daemon, { mac: MAC, network: 'blue', port: 'a' }), {
    mac: MAC,
    network: 'blue',
    port: 'a',
    vlan: null,
  });
  t.like(await addStatic(daemon, { mac: MAC, network: 'lan', port: 'v' }), { vlan: 10 });
  t.deepEqual(
    dataplane.fdbEntries.map((entry) => [entry.network, entry.vlan, entry.port, entry.static]),
    [
      [blue, 0, port('a'), true],
      [lan, 10, port('v'), true],
    ],
  );
  await daemon.disconnect('a');
  t.is(dataplane.fdbEntries.length, 1);
  await addStatic(daemon, { mac: MAC, network: 'blue', port: 'b' });
  t.pass('the MAC is free again');
});

test('a trunk may have one MAC in several VLANs; without a native one it must be said which', async (t) => {
  const { daemon, refused } = await makeLab();
  const entry = { mac: MAC, network: 'lan', port: 't' };
  t.is(await refused(addStatic(daemon, entry)), 'invalid vlan: port t has no native VLAN; say which VLAN');
  t.is(await refused(addStatic(daemon, { ...entry, vlan: 30 })), 'invalid vlan: expected a VLAN of port t, got 30');
  t.like(await addStatic(daemon, { ...entry, vlan: 10 }), { vlan: 10 });
  t.like(await addStatic(daemon, { ...entry, vlan: 20 }), { vlan: 20 });
  t.is(
    await refused(removeEntry(daemon, { mac: MAC, network: 'lan' })),
    `invalid vlan: ${MAC} has entries in VLANs 10, 20; say which`,
  );
  await removeEntry(daemon, { mac: MAC, network: 'lan', vlan: 10 });
  t.is(
    await refused(addStatic(daemon, { ...entry, port: 'v' })),
    `conflict mac: ${MAC} is bound to port t by a static entry`,
    'VLAN 20 still has it',
  );
  await removeEntry(daemon, { mac: MAC, network: 'lan' });
  t.is(await refused(addStatic(daemon, { ...entry, port: 'v' })), 'accepted');
});

test('what cannot be: unknown names, ports of other networks, VLANs where there are none, MACs of others', async (t) => {
  const { daemon, dataplane, refused } = await makeLab();
  const entry = { mac: MAC, network: 'blue', port: 'a' };
  const cases: [Partial<Parameters<typeof addStatic>[1]>, string][] = [
    [{ network: 'grey' }, 'missing no network grey'],
    [{ port: 'x' }, 'missing port: no endpoint x'],
    [{ port: 'v' }, 'invalid port: expected a port of network blue, got v, which is one of network lan'],
    [{ port: 'uplink' }, 'invalid port: expected a port of network blue, got uplink, which is one of network lan'],
    [{ vlan: 4 }, 'invalid vlan: network blue tells no VLANs apart; leave it out'],
    [{ mac: '02:42:ac:1e:00:03' }, 'conflict mac: 02:42:ac:1e:00:03 is already the MAC of endpoint b'],
    [{ mac: '02:42:ac:1e:00:02' }, 'conflict mac: 02:42:ac:1e:00:02 is already the MAC of endpoint a'],
    [
      { mac: '02:00:00:00:00:01', network: 'lan', port: 'v' },
      "conflict mac: 02:00:00:00:00:01 is the MAC of the host's up0",
    ],
  ];
  for (const [part, line] of cases) t.is(await refused(addStatic(daemon, { ...entry, ...part })), line);
  t.deepEqual(dataplane.fdbEntries, []);
  dataplane.failing.add('addStaticEntry');
  await t.throwsAsync(addStatic(daemon, entry), { message: 'EIO addStaticEntry told to fail' });
  dataplane.failing.clear();
  t.is(await refused(addStatic(daemon, { ...entry, port: 'b' })), 'accepted', 'a failure has set nothing aside');
});

test('an endpoint cannot claim the MAC of a static entry, and none is derived to be one', async (t) => {
  const { daemon, connect, refused } = await makeLab();
  await addStatic(daemon, { mac: '02:42:ac:1e:00:04', network: 'blue', port: 'a' });
  t.is(
    await refused(connect('c', { network: 'blue', mac: '02:42:ac:1e:00:04' })),
    'conflict mac: 02:42:ac:1e:00:04 is bound to port a by a static entry',
  );
  await connect('c', { network: 'blue' });
  t.deepEqual(daemon.endpoint('c').addresses, ['172.30.0.4/24']);
  t.not(daemon.endpoint('c').mac, '02:42:ac:1e:00:04');
});

test('an entry of the uplink goes when its device does', async (t) => {
  const { daemon, dataplane, system, refused } = await makeLab();
  const entry = { mac: MAC, network: 'lan', port: 'uplink' };
  t.like(await addStatic(daemon, entry), { vlan: 1, port: 'uplink' });
  system.devices.delete('up0');
  dataplane.portDown(dataplane.portNamed('uplink'), 'ENODEV');
  await eventually(() => system.openUplinks.size === 0);
  t.deepEqual(dataplane.fdbEntries, []);
  t.is(await refused(addStatic(daemon, entry)), 'conflict port: uplink up0 is down');
  t.is(await refused(addStatic(daemon, { ...entry, port: 'v' })), 'accepted');
  await daemon.stop();
});

test('removing: learned and static entries go, the own MACs of endpoints and host stay', async (t) => {
  const { daemon, dataplane, blue, lan, port, refused } = await makeLab();
  const learned = { mac: MAC, network: blue, vlan: 0, port: port('a'), ageSeconds: 1, static: false };
  const own = { ...learned, mac: '02:42:ac:1e:00:02', static: true };
  const host = { ...own, mac: '02:00:00:00:00:01', network: lan, vlan: 1, port: port('uplink') };
  dataplane.fdbEntries.push(learned, own, host);
  t.is(
    await refused(removeEntry(daemon, { mac: MAC, network: 'blue', vlan: 4 })),
    'invalid vlan: network blue tells no VLANs apart; leave it out',
  );
  await removeEntry(daemon, { mac: MAC, network: 'blue' });
  t.is(await refused(removeEntry(daemon, { mac: MAC, network: 'blue' })), `missing no entry of ${MAC} in network blue`);
  t.is(
    await refused(removeEntry(daemon, { mac: own.mac, network: 'blue' })),
    `conflict mac: ${own.mac} belongs to endpoint a and stays as long as that`,
  );
  t.is(
    await refused(removeEntry(daemon, { mac: host.mac, network: 'lan' })),
    `conflict mac: ${host.mac} is the MAC of the host's up0`,
  );
  t.is(
    await refused(removeEntry(daemon, { mac: host.mac, network: 'lan', vlan: 9 })),
    `missing no entry of ${host.mac} in network lan, VLAN 9`,
  );
  t.deepEqual(dataplane.fdbEntries, [own, host]);
});

test('flushing goes by network, port and VLAN, in numbers', async (t) => {
  const { daemon, dataplane, blue, lan, port, refused } = await makeLab();
  await flushFdb(daemon, {});
  await flushFdb(daemon, { network: 'blue' });
  await flushFdb(daemon, { port: 'uplink' });
  await flushFdb(daemon, { network: 'lan', port: 'v', vlan: 10 });
  t.deepEqual(dataplane.flushes, [
    { network: null, port: null, vlan: null },
    { network: blue, port: null, vlan: null },
    { network: null, port: port('uplink'), vlan: null },
    { network: lan, port: port('v'), vlan: 10 },
  ]);
  t.is(await refused(flushFdb(daemon, { network: 'grey' })), 'missing no network grey');
  t.is(await refused(flushFdb(daemon, { port: 'x' })), 'missing port: no endpoint x');
  t.is(
    await refused(flushFdb(daemon, { network: 'blue', port: 'v' })),
    'invalid port: expected a port of network blue, got v, which is one of network lan',
  );
  t.is(
    await refused(flushFdb(daemon, { network: 'blue', vlan: 3 })),
    'invalid vlan: network blue tells no VLANs apart; leave it out',
  );
  t.is(dataplane.flushes.length, 4);
});
