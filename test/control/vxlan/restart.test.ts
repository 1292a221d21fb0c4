import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { networkSchema } from '../../../control/config/schema.js';
import { addStatic, removeEntry } from '../../../control/fdb.js';
import { KeptState } from '../../../control/kept-state.js';
import { applyEntries } from '../../../control/vxlan/entries.js';
import { forgetNeighbor, tellNeighbor } from '../../../control/vxlan/neighbors.js';
import { addVtep, removeVtep } from '../../../control/vxlan/remotes.js';
import { type LabOptions, makeLab, type OverlayLab } from './lab.js';

const ALL = '00:00:00:00:00:00';
const mac = (number: number): string => `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`;

const VXLAN = `remotes: [10.77.0.2, 10.77.0.3], learning: true, fdb: [{ mac: ${mac(1)}, vtep: 10.77.0.4 }, { mac: ${mac(2)}, vtep: 10.77.0.4 }, { mac: ${ALL}, vtep: 10.77.0.5 }], neighbors: [{ address: 172.30.0.8, mac: ${mac(8)} }]`;

/** Daemons one after the other, each with what the one before had written down. */
function makeLine(t: ExecutionContext): (vxlan?: string, more?: LabOptions) => Promise<OverlayLab> {
  const directory = mkdtempSync('/dev/shm/tl-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'state.json');
  return (vxlan = VXLAN, more = {}) =>
    makeLab(t, { vxlan, kept: new KeptState({ path, failed: (line) => t.fail(line) }), ...more });
}

function neighbors({ dataplane }: OverlayLab): string[] {
  return [...dataplane.vxlan.neighbors].map(([key, mac]) => `${key.split(' ')[1]} ${mac}`).sort();
}

test('what commands have made of VTEPs, entries and neighbors is there after a restart', async (t) => {
  const next = makeLine(t);
  const first = await next();
  const { daemon } = first;
  await removeVtep(daemon, 'blue', '10.77.0.2');
  await addVtep(daemon, 'blue', '10.77.0.6', false);
  await addStatic(daemon, { network: 'blue', mac: mac(1), vtep: '10.77.0.7' });
  await removeEntry(daemon, { network: 'blue', mac: mac(2) });
  await removeEntry(daemon, { network: 'blue', mac: ALL, vtep: '10.77.0.5' });
  await applyEntries(daemon, 'blue', [
    { op: 'add', mac: mac(3), vtep: '10.77.0.3' },
    { op: 'add', mac: ALL, vtep: '10.77.0.8' },
    { op: 'add', mac: mac(4), vtep: '10.77.0.9' },
    { op: 'remove', mac: mac(4), vtep: '10.77.0.9' },
  ]);
  await tellNeighbor(daemon, { network: 'blue', address: '172.30.0.9', mac: mac(9) });
  await forgetNeighbor(daemon, 'blue', '172.30.0.8');
  const vteps = { '10.77.0.3': true, '10.77.0.6': false, '10.77.0.7': false, '10.77.0.8': true };
  const statics = { [mac(1)]: 'vxlan:blue:10.77.0.7', [mac(3)]: 'vxlan:blue:10.77.0.3' };
  t.deepEqual([first.vteps(), first.statics(), neighbors(first)], [vteps, statics, [`172.30.0.9 ${mac(9)}`]]);
  await daemon.leave();
  const second = await next();
  t.deepEqual([second.vteps(), second.statics(), neighbors(second)], [vteps, statics, [`172.30.0.9 ${mac(9)}`]]);
  await addVtep(second.daemon, 'blue', '10.77.0.2');
  await removeVtep(second.daemon, 'blue', '10.77.0.6');
  await second.daemon.leave();
  const third = await next();
  const { '10.77.0.6': _, ...others } = vteps;
  t.deepEqual([third.vteps(), third.statics()], [{ ...others, '10.77.0.2': true }, statics]);
  await third.daemon.leave();
  const without = await next('remotes: [10.77.0.3]');
  t.deepEqual(without.vteps(), { ...others, '10.77.0.2': true }, 'what a command made is its own, not the file’s');
  t.deepEqual(
    without.logs.filter((line) => line.startsWith('warn')),
    [],
  );
});

test('a network by command comes back with its overlay; one that has gone takes along what was said of it', async (t) => {
  const next = makeLine(t);
  const first = await next();
  const object = { subnets: ['172.29.0.0/24'], vxlan: { vni: 43, local: '10.77.0.1', remotes: ['10.77.0.9'] } };
  for (const name of ['green', 'grey']) {
    const subnets = [name === 'green' ? '172.29.0.0/24' : '172.28.0.0/24'];
    const wanted = { ...object, subnets, vxlan: { ...object.vxlan, vni: name === 'green' ? 43 : 44 } };
    await first.daemon.createNetwork(name, networkSchema.parse(wanted));
    first.daemon.kept.setObject('network', name, wanted);
    await addVtep(first.daemon, name, '10.77.0.10');
    await addStatic(first.daemon, { network: name, mac: mac(5), vtep: '10.77.0.11' });
    await tellNeighbor(first.daemon, { network: name, address: subnets[0]?.replace('0/24', '9') ?? '', mac: mac(5) });
  }
  await first.daemon.removeNetwork('grey', false);
  await first.daemon.leave();
  const second = await next();
  const names = [...second.dataplane.livePorts.values()].map(({ name }) => name);
  t.deepEqual(
    names.filter((name) => name.startsWith('vxlan:gre')),
    ['vxlan:green:10.77.0.9', 'vxlan:green:10.77.0.10', 'vxlan:green:10.77.0.11'],
  );
  t.true(neighbors(second).includes(`172.29.0.9 ${mac(5)}`));
  t.deepEqual(
    second.logs.filter((line) => line.startsWith('warn')),
    [],
  );
});

test('a network by command whose port is taken by now waits, and leaves the port to whom has it', async (t) => {
  const next = makeLine(t);
  const first = await next(VXLAN, { mode: 'shared' });
  const object = { subnets: ['172.29.0.0/24'], vxlan: { vni: 43, local: '10.77.0.1', port: 8472 } };
  await first.daemon.createNetwork('green', networkSchema.parse(object));
  first.daemon.kept.setObject('network', 'green', object);
  await addVtep(first.daemon, 'green', '10.77.0.10');
  await first.daemon.leave();
  const taken = { protocol: 'udp', port: 8472, address: '0.0.0.0', isIpv6: false, inode: 0 } as const;
  const second = await next(VXLAN, { mode: 'shared', prepare: ({ system }) => system.sockets.push(taken) });
  const { daemon, dataplane, system, logs } = second;
  const why = 'UDP port 8472 of 10.77.0.1 is held by another process; remove it, or choose another port';
  t.is(daemon.overlays.why('green'), why);
  t.true(logs.includes(`warn overlay of network green is down: ${why}; waiting`));
  const isGuarded = (): boolean => system.tables.get('netdev tapline_up0')?.includes('10.77.0.1 . 17 . 8472') === true;
  t.false(isGuarded());
  system.sockets.splice(0);
  await daemon.overlays.look(performance.now());
  t.is(daemon.overlays.why('green'), '');
  t.true(isGuarded());
  t.truthy(dataplane.portNamed('vxlan:green:10.77.0.10'));
});
