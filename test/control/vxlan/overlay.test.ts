import test from 'ava';
import { networkSchema } from '../../../control/config/schema.js';
import { stableMac } from '../../../control/mac.js';
import { leftovers } from '../support/fixture.js';
import { makeLab, refused, vtepsOf } from './lab.js';

test('a network that spans hosts has a VTEP of its own, and a port for each remote one', async (t) => {
  const vxlan = 'remotes: [10.77.0.2, 10.77.0.3], port: 8472, ttl: 9, dscp: inherit, gbp: 100, checksum: false';
  const { daemon, dataplane, blue, port } = await makeLab(t, { vxlan });
  t.deepEqual(dataplane.vxlan.locals.get(blue), {
    vni: 42,
    vrf: daemon.interfaces.vrfs.numberOf('default') as number,
    local: '10.77.0.1',
    udpPort: 8472,
    ttl: 9,
    groupTtl: 9,
    dscp: 'inherit',
    checksum: false,
    gbp: 100,
    open: false,
    suppress: true,
    mac: stableMac('vtep 42 10.77.0.1'),
  });
  t.deepEqual(dataplane.livePorts.get(port('10.77.0.2')), {
    kind: 'vxlan',
    name: 'vxlan:blue:10.77.0.2',
    network: blue,
    fd: -1,
    isolation: 1,
    multicast: { router: 'always', fastLeave: false },
    vtep: { address: '10.77.0.2', floods: true, learning: true },
  });
  t.is(daemon.overlays.why('blue'), '');
  t.deepEqual(dataplane.vxlan.locals.size, 1, 'red is on this host alone');
});

test('a group gets what is flooded, and lets in who is heard', async (t) => {
  const { dataplane, blue, vteps } = await makeLab(t, { vxlan: 'group: 239.1.1.1' });
  t.deepEqual(vteps(), { '239.1.1.1': true });
  t.like(dataplane.vxlan.locals.get(blue), { open: true, ttl: 64, groupTtl: 1 });
});

test('entries make VTEPs that get nothing else; all-zero ones, what is flooded', async (t) => {
  const fdb =
    'fdb: [{ mac: 02:00:00:00:00:07, vtep: 10.77.0.7 }, { mac: 00:00:00:00:00:00, vtep: 10.77.0.8 }, { mac: 02:00:00:00:00:08, vtep: 10.77.0.8 }]';
  const { dataplane, vteps, statics, port } = await makeLab(t, { vxlan: fdb });
  t.deepEqual(vteps(), { '10.77.0.7': false, '10.77.0.8': true });
  t.deepEqual(statics(), { '02:00:00:00:00:07': 'vxlan:blue:10.77.0.7', '02:00:00:00:00:08': 'vxlan:blue:10.77.0.8' });
  t.false(dataplane.livePorts.get(port('10.77.0.7'))?.vtep?.learning, 'who feeds entries does not learn');
});

test('with VLANs a tunnel carries one', async (t) => {
  const vxlan = 'remotes: [10.77.0.2], vlan: 10, fdb: [{ mac: 02:00:00:00:00:07, vtep: 10.77.0.2 }]';
  const { dataplane, port } = await makeLab(t, { vxlan, network: 'vlan_filtering: true' });
  t.deepEqual(dataplane.livePorts.get(port('10.77.0.2'))?.vlan, { native: 10, tagged: [] });
  t.like(dataplane.fdbEntries[0], { vlan: 10, mac: '02:00:00:00:00:07' });
});

test('a network that goes takes its ports first, then its VTEP; a new one may have the VNI', async (t) => {
  const fixture = await makeLab(t);
  const { daemon, dataplane } = fixture;
  await daemon.removeNetwork('blue', false);
  t.deepEqual(vtepsOf(fixture), {});
  t.is(dataplane.vxlan.locals.size, 0);
  const again = networkSchema.parse({
    subnets: ['172.30.0.0/24'],
    vxlan: { vni: 42, local: '10.77.0.1', remotes: ['10.77.0.9'] },
  });
  await daemon.createNetwork('green', again);
  t.deepEqual(vtepsOf(fixture), { '10.77.0.9': true });
  await daemon.stop();
  t.deepEqual(leftovers(fixture), []);
});

test('a network whose VTEP or one of whose ports is refused is not there', async (t) => {
  const fixture = await makeLab(t, { vxlan: 'remotes: []' });
  const { daemon, dataplane } = fixture;
  const wanted = networkSchema.parse({
    subnets: ['172.29.0.0/24'],
    vxlan: { vni: 43, local: '10.77.0.1', remotes: ['10.77.0.5', '10.77.0.6'] },
  });
  dataplane.failing.add('addPort vxlan:green:10.77.0.6');
  await t.throwsAsync(daemon.createNetwork('green', wanted), {
    message: 'EIO addPort vxlan:green:10.77.0.6 told to fail',
  });
  dataplane.vxlan.failing.add('set');
  await t.throwsAsync(daemon.createNetwork('green', wanted), { message: 'EIO set told to fail' });
  t.deepEqual(vtepsOf(fixture), {});
  t.deepEqual([...dataplane.vxlan.locals.keys()], [daemon.network('blue').id]);
  t.false(daemon.networks.has('green'));
  dataplane.failing.clear();
  t.is(await refused(daemon.createNetwork('green', wanted)), 'accepted');
});
