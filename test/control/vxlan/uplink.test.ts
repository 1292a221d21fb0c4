import test from 'ava';
import { networkSchema } from '../../../control/config/schema.js';
import { overlayViews } from '../../../control/vxlan/overlay-views.js';
import { config, eventually, hostChanged, leftovers, makeFixture } from '../support/fixture.js';
import type { SystemDouble } from '../support/system-double.js';
import { makeLab, type OverlayLab, overlayFile, refused, vtepsOf } from './lab.js';

const HOST = { addresses: ['10.77.0.1/24'], linkLocal: null, defaults: [], routes: [] };
const HELD = 'udp 10.77.0.1 4789';

async function whyOf({ daemon }: OverlayLab): Promise<string> {
  const [view] = await overlayViews(daemon, 'blue');
  return view?.why ?? 'no view';
}

/** UDP ports of the host's address that its stack does not get, as the guard's script says; but those of address translation. */
function guarded({ system }: OverlayLab): string[] {
  const script = system.tables.get('netdev tapline_up0') ?? '';
  return [...script.matchAll(/10\.77\.0\.1 \. 17 \. (\d+)(?!\d|-)/g)].map(([, port]) => port as string);
}

test('without its address on the uplink an overlay is down, and says why; its ports stay, and it comes up by itself', async (t) => {
  const lab = await makeLab(t, { mode: 'shared' });
  const { daemon, system, logs, vteps } = lab;
  t.is(await whyOf(lab), '');
  system.hosts.set('up0', { ...HOST, addresses: ['10.77.0.7/24'] });
  hostChanged(lab);
  await eventually(() => daemon.overlays.why('blue') !== '');
  t.is(await whyOf(lab), '10.77.0.1 is no address of uplink up0');
  t.deepEqual(vteps(), { '10.77.0.2': true });
  await daemon.overlays.look(performance.now());
  t.true(logs.includes('warn overlay of network blue is down: 10.77.0.1 is no address of uplink up0; waiting'));
  system.hosts.set('up0', HOST);
  hostChanged(lab);
  await eventually(() => daemon.overlays.why('blue') === '');
  await daemon.overlays.look(performance.now());
  t.is(logs.filter((line) => line === 'info overlay of network blue is up: VNI 42 at 10.77.0.1').length, 2);
  system.links.set('up0', { carrier: false });
  hostChanged(lab);
  await eventually(() => daemon.overlays.why('blue') === 'uplink up0 is down: up0 has no carrier');
  t.deepEqual(vteps(), { '10.77.0.2': true });
});

test('shared: the address may come later than the overlay', async (t) => {
  const prepare = ({ system }: { system: SystemDouble }): void => {
    system.hosts.set('up0', { ...HOST, addresses: ['10.77.0.7/24'] });
  };
  const lab = await makeLab(t, { mode: 'shared', prepare });
  t.is(await whyOf(lab), '10.77.0.1 is no address of uplink up0');
  t.deepEqual([...lab.system.relays.keys()], []);
  lab.system.hosts.set('up0', HOST);
  hostChanged(lab);
  await eventually(() => lab.daemon.uplink?.describe().addresses[0] === '10.77.0.1/24');
  await lab.daemon.overlays.look(performance.now());
  t.deepEqual([await whyOf(lab), [...lab.system.relays.keys()]], ['', [HELD]]);
});

test('shared: the UDP port is kept from the host, by the guard, the filter and a socket; nothing is left of it', async (t) => {
  const lab = await makeLab(t, { mode: 'shared', vxlan: 'remotes: [10.77.0.2], group: 239.1.1.1' });
  const { daemon, system } = lab;
  t.deepEqual([guarded(lab), [...system.relays.keys()]], [['4789'], [HELD]]);
  const filter = JSON.stringify(system.filters.get('up0'));
  const another = networkSchema.parse({ subnets: ['172.29.0.0/24'], vxlan: { vni: 43, local: '10.77.0.1' } });
  await daemon.createNetwork('green', another);
  t.deepEqual([guarded(lab), [...system.relays.keys()]], [['4789'], [HELD]], 'overlays of one port share it');
  await daemon.removeNetwork('blue', false);
  t.deepEqual([guarded(lab), [...system.relays.keys()]], [['4789'], [HELD]]);
  t.not(JSON.stringify(system.filters.get('up0')), filter, 'IGMP is nobody’s any more');
  await daemon.removeNetwork('green', false);
  t.deepEqual([guarded(lab), [...system.relays.keys()]], [[], []]);
  await daemon.stop();
  t.deepEqual(leftovers(lab), []);
});

test('own: nothing of the host is touched, and address translation leaves the port alone', async (t) => {
  const { system, dataplane } = await makeLab(t, { vxlan: 'remotes: [10.77.0.2], port: 8472' });
  t.deepEqual([[...system.relays.keys()], [...system.tables.keys()]], [[], []]);
  const records = [...dataplane.nat.published].join(' ');
  t.regex(records, /\b17 0 0 65535 0 8472 8472\b/);
});

const SOCKET = { protocol: 'udp', port: 4789, address: '0.0.0.0', isIpv6: false } as const;

test('shared: who has the port on the host is named, a process or a vxlan device; the file is refused', async (t) => {
  const refusedFor = async (prepare: (system: SystemDouble) => void): Promise<string> => {
    const fixture = makeFixture();
    const { daemon, system } = fixture;
    t.teardown(() => daemon.stop());
    system.devices.add('up0');
    system.hosts.set('up0', HOST);
    prepare(system);
    const line = await refused(daemon.apply(config(overlayFile({ mode: 'shared' }))));
    t.deepEqual([leftovers(fixture), vtepsOf(fixture), [...system.tables.keys()]], [[], {}, []]);
    return line;
  };
  const what = 'conflict networks.blue.vxlan.port: UDP port 4789 of 10.77.0.1 is held by';
  const remedy = 'remove it, or choose another port';
  const byProcess = await refusedFor((system) => {
    system.sockets.push({ ...SOCKET, inode: 7 });
    system.holders.set(7, { pid: 99, name: 'flanneld' });
  });
  t.is(byProcess, `${what} flanneld (pid 99); ${remedy}`);
  const byDevice = await refusedFor((system) => {
    system.sockets.push({ ...SOCKET, inode: 0 });
    system.readIpInside = async <T>(): Promise<T[]> => {
      const device = (ifname: string, port: number): object => ({ ifname, linkinfo: { info_data: { port } } });
      return [device('other', 8472), device('flannel.1', 4789)] as T[];
    };
  });
  t.is(byDevice, `${what} the host's vxlan device flannel.1; ${remedy}`);
  t.is(
    await refusedFor((system) => system.sockets.push({ ...SOCKET, inode: 0 })),
    `${what} another process; ${remedy}`,
  );
});

test('shared: a network by command is refused the same way, until the port is free', async (t) => {
  const lab = await makeLab(t, { mode: 'shared' });
  const { daemon, system, dataplane } = lab;
  system.sockets.push({ ...SOCKET, port: 8472, inode: 0 });
  const wanted = networkSchema.parse({
    subnets: ['172.29.0.0/24'],
    vxlan: { vni: 43, local: '10.77.0.1', port: 8472 },
  });
  t.regex(
    await refused(daemon.createNetwork('green', wanted)),
    /^conflict vxlan.port: UDP port 8472 of 10.77.0.1 is held by another process/,
  );
  t.deepEqual([daemon.networks.has('green'), dataplane.vxlan.locals.size, guarded(lab)], [false, 1, ['4789']]);
  system.sockets.splice(0);
  t.is(await refused(daemon.createNetwork('green', wanted)), 'accepted');
  t.deepEqual(guarded(lab).sort(), ['4789', '8472']);
});

test('shared: the router follows the host’s routes by the device', async (t) => {
  const lab = await makeLab(t, { mode: 'shared' });
  const { system, dataplane } = lab;
  const routes = (): string[] =>
    [...dataplane.routes.values()].map(({ prefix, hops }) => `${prefix} ${hops.map(({ via }) => via)}`).sort();
  t.deepEqual(routes(), []);
  system.hosts.set('up0', {
    ...HOST,
    defaults: [{ family: 4, via: '10.77.0.254' }],
    routes: [
      { prefix: '10.90.0.0/16', via: '10.77.0.9' },
      { prefix: '10.91.0.1/32', via: null },
      { prefix: '172.31.0.0/24', via: '10.77.0.9' },
    ],
  });
  hostChanged(lab);
  await eventually(() => routes().length === 3);
  t.deepEqual(
    routes(),
    ['0.0.0.0/0 10.77.0.254', '10.90.0.0/16 10.77.0.9', '10.91.0.1/32 '],
    'a network’s own subnet is its own',
  );
  system.hosts.set('up0', HOST);
  hostChanged(lab);
  await eventually(() => routes().length === 0);
});
