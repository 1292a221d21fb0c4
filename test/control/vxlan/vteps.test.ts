import test from 'ava';
import type { VtepStatus } from '../../../control/types.js';
import { applyEntries } from '../../../control/vxlan/entries.js';
import { MAX_HEARD } from '../../../control/vxlan/overlay.js';
import { overlayViews, probeOverlay, vtepViewOf } from '../../../control/vxlan/overlay-views.js';
import { addVtep, removeVtep } from '../../../control/vxlan/remotes.js';
import { eventually } from '../support/fixture.js';
import { makeLab, type OverlayLab, refused } from './lab.js';

const STATUS: VtepStatus = { port: 0, state: 'up', heardSeconds: 1, mtu: 1450, gbp: null };

/** The dataplane heard a VTEP that is no port. */
function hear({ dataplane, blue }: OverlayLab, address: string): void {
  dataplane.happen({ kind: 'vtep-heard', network: blue, address });
}

test('VTEPs come and go by command, each for as long as something names it', async (t) => {
  const lab = await makeLab(t);
  const { daemon, vteps } = lab;
  await addVtep(daemon, 'blue', '10.77.0.3');
  await addVtep(daemon, 'blue', '10.77.0.4', false);
  t.deepEqual(vteps(), { '10.77.0.2': true, '10.77.0.3': true, '10.77.0.4': false });
  await addVtep(daemon, 'blue', '10.77.0.4');
  t.true(vteps()['10.77.0.4'], 'told anew');
  await applyEntries(daemon, 'blue', [{ op: 'add', mac: '02:00:00:00:00:07', vtep: '10.77.0.3' }]);
  for (const address of ['10.77.0.2', '10.77.0.3', '10.77.0.4']) await removeVtep(daemon, 'blue', address);
  t.deepEqual(vteps(), { '10.77.0.3': false }, 'an entry leads there');
  t.is(
    await refused(removeVtep(daemon, 'blue', '10.77.0.3')),
    'conflict address: VTEP 10.77.0.3 of network blue is there by FDB entries, and goes with them',
  );
  t.is(await refused(removeVtep(daemon, 'blue', '10.77.0.4')), 'missing address: network blue has no VTEP 10.77.0.4');
});

test('a VTEP by command may be wrong, or refused; then all is as before', async (t) => {
  const { daemon, dataplane, vteps } = await makeLab(t, { vxlan: 'group: 239.1.1.1' });
  const add = (address: string): Promise<string> => refused(addVtep(daemon, 'blue', address));
  t.is(await add('10.77.0.1'), 'invalid address: 10.77.0.1 is the address of the VTEP itself');
  t.is(
    await add('172.31.0.9'),
    'invalid address: expected an address outside, got 172.31.0.9, which is in 172.31.0.0/24 of network red',
  );
  t.is(
    await refused(addVtep(daemon, 'red', '10.77.0.3')),
    'conflict network: network red has no vxlan: it is on this host alone',
  );
  t.is(
    await refused(removeVtep(daemon, 'blue', '239.1.1.1')),
    'conflict address: 239.1.1.1 is the multicast group of network blue, which stays',
  );
  dataplane.failing.add('addPort vxlan:blue:10.77.0.3');
  await t.throwsAsync(addVtep(daemon, 'blue', '10.77.0.3'));
  t.deepEqual(vteps(), { '239.1.1.1': true });
  dataplane.failing.clear();
  await addVtep(daemon, 'blue', '10.77.0.3');
  t.deepEqual(vteps(), { '239.1.1.1': true, '10.77.0.3': true });
});

test('who is heard gets a port where the network is open, and loses it when it is silent and nothing is known behind it', async (t) => {
  const lab = await makeLab(t, { vxlan: 'group: 239.1.1.1' });
  const { daemon, dataplane, vteps, port } = lab;
  for (const address of ['10.77.0.3', '10.77.0.3', '239.1.1.1', '10.77.0.1', 'fd00::1']) hear(lab, address);
  hear({ ...lab, blue: daemon.network('red').id }, '10.77.0.4');
  await eventually(() => Object.keys(vteps()).length === 2);
  t.deepEqual(vteps(), { '239.1.1.1': true, '10.77.0.3': false });
  t.is((await vtepViewOf(daemon, 'blue', '10.77.0.3'))?.kind, 'heard');
  const now = performance.now();
  dataplane.vxlan.current = [{ ...STATUS, port: port('10.77.0.3'), heardSeconds: 400 }];
  await daemon.overlays.look(now + 400_000);
  t.is(Object.keys(vteps()).length, 2, 'something is known behind it');
  dataplane.learned = 0;
  await daemon.overlays.look(now + 200_000);
  t.is(Object.keys(vteps()).length, 2, 'not let in that long ago');
  dataplane.vxlan.current = [{ ...STATUS, port: port('10.77.0.3'), heardSeconds: 20 }];
  await daemon.overlays.look(now + 400_000);
  t.is(Object.keys(vteps()).length, 2, 'heard meanwhile');
  dataplane.vxlan.current = [{ ...STATUS, port: port('10.77.0.3'), heardSeconds: null }];
  await daemon.overlays.look(now + 400_000);
  t.deepEqual(vteps(), { '239.1.1.1': true });
});

test('who is heard in a network that is not open gets none', async (t) => {
  const lab = await makeLab(t);
  hear(lab, '10.77.0.3');
  await addVtep(lab.daemon, 'blue', '10.77.0.9');
  t.deepEqual(lab.vteps(), { '10.77.0.2': true, '10.77.0.9': true });
});

test('whoever forges sources makes so many ports and no more', async (t) => {
  const lab = await makeLab(t, { vxlan: 'open: true' });
  const { daemon, dataplane, blue, vteps, logs } = lab;
  const address = (number: number): string => `10.9.${number >> 8}.${number & 255}`;
  const counted = (): number => Object.keys(vteps()).length;
  for (let i = 0; i < 500; i++) hear(lab, address(i));
  await eventually(() => counted() >= 64);
  t.true(counted() <= 128, 'in one second, or two');
  const overlay = daemon.overlays.get('blue');
  for (let i = 0; i < MAX_HEARD + 10; i++) await overlay.hear(address(i), 0);
  t.is(counted(), MAX_HEARD);
  t.false(await overlay.hear('10.8.0.1', 0));
  await new Promise((resolve) => setTimeout(resolve, 1100));
  dataplane.happen({ kind: 'vtep-heard', network: blue, address: '10.8.0.2' });
  await eventually(() => logs.some((line) => line.includes('has let in 1024 VTEPs that nobody named')));
  await addVtep(daemon, 'blue', '10.8.0.3');
  t.is(counted(), MAX_HEARD + 1, 'who is named has a place');
});

test('views say what each VTEP is, and why it is not up', async (t) => {
  const lab = await makeLab(t, { vxlan: 'remotes: [10.77.0.2], group: 239.1.1.1, port: 8472' });
  const { daemon, dataplane, port } = lab;
  await applyEntries(daemon, 'blue', [{ op: 'add', mac: '02:00:00:00:00:07', vtep: '10.77.0.3' }]);
  dataplane.rxDrops = { bad_vxlan: 2 };
  dataplane.txDrops = { bad_vxlan: 1, no_route: 4 };
  dataplane.vxlan.current = [
    { ...STATUS, port: port('10.77.0.2'), gbp: 7 },
    { ...STATUS, port: port('10.77.0.3'), state: 'unreachable', heardSeconds: null },
    { ...STATUS, port: port('239.1.1.1') },
  ];
  const [view, ...others] = await overlayViews(daemon);
  t.deepEqual(others, []);
  const { vteps = [], ...head } = view ?? {};
  t.deepEqual(head as unknown, {
    network: 'blue',
    vni: 42,
    local: '10.77.0.1',
    port: 8472,
    group: '239.1.1.1',
    state: 'up',
    why: '',
    mtu: 1450,
    learning: true,
    open: true,
  });
  t.deepEqual(
    vteps.map(({ address, kind, floods, state, why, gbp, fdbEntries }) => [
      address,
      kind,
      floods,
      state,
      why,
      gbp,
      fdbEntries,
    ]),
    [
      ['239.1.1.1', 'group', true, 'up', '', null, 1],
      ['10.77.0.2', 'remote', true, 'up', '', 7, 1],
      ['10.77.0.3', 'static', false, 'unreachable', 'its next hop does not answer', null, 2],
    ],
  );
  t.deepEqual(vteps[0]?.drops, { bad_vxlan: 3, no_route: 4 });
  t.like(vteps[0], { rxPackets: 10, rxBytes: 1000, txPackets: 8, txBytes: 800 });
  t.deepEqual(await overlayViews(daemon, 'blue'), [view as never]);
  t.is(
    await refused(overlayViews(daemon, 'red')),
    'conflict network: network red has no vxlan: it is on this host alone',
  );
});

const OK = { outcome: 'answered', milliseconds: 0.5 } as const;
const LOST = { outcome: 'lost', milliseconds: null } as const;
const WRONG = { outcome: 'wrong-checksum', milliseconds: null } as const;

test('probes go through all but groups, and say why nothing could be sent', async (t) => {
  const lab = await makeLab(t, { vxlan: 'remotes: [10.77.0.2, 10.77.0.3], group: 239.1.1.1' });
  const { daemon, dataplane, port } = lab;
  dataplane.vxlan.probes = [
    { port: port('10.77.0.2'), udp: OK, tcp: WRONG, fullSize: LOST },
    { port: port('10.77.0.3'), udp: LOST, tcp: LOST, fullSize: LOST },
    { port: port('239.1.1.1'), udp: OK, tcp: OK, fullSize: OK },
  ];
  dataplane.vxlan.current = [{ ...STATUS, port: port('10.77.0.3'), state: 'no-route' }];
  const common = { network: 'blue', mtu: 1450 };
  t.deepEqual(await probeOverlay(daemon, 'blue'), [
    { ...common, address: '10.77.0.2', udp: OK, tcp: WRONG, fullSize: LOST, why: '' },
    { ...common, address: '10.77.0.3', udp: LOST, tcp: LOST, fullSize: LOST, why: 'there is no route to it' },
  ]);
});

test('VTEPs are probed by themselves once they may be reached, and the log says what has changed', async (t) => {
  const lab = await makeLab(t, { vxlan: 'remotes: [10.77.0.2, 10.77.0.3, 10.77.0.4], group: 239.1.1.1' });
  const { daemon, dataplane, port, logs } = lab;
  const said = (): string[] => logs.filter((line) => line.includes(' VTEP ')).splice(0);
  dataplane.vxlan.probes = [
    { port: port('10.77.0.2'), udp: OK, tcp: OK, fullSize: OK },
    { port: port('10.77.0.3'), udp: OK, tcp: WRONG, fullSize: LOST },
    { port: port('10.77.0.4'), udp: LOST, tcp: LOST, fullSize: LOST },
    { port: port('239.1.1.1'), udp: OK, tcp: OK, fullSize: OK },
  ];
  const now = performance.now();
  await daemon.overlays.look(now);
  t.deepEqual(said(), []);
  await daemon.overlays.look(now + 5000);
  const first = [
    'info VTEP 10.77.0.2 of network blue: UDP ok, TCP ok, full-size (1450) ok',
    'warn VTEP 10.77.0.3 of network blue: UDP ok, TCP broken (wrong checksum), full-size (1450) lost',
    'warn VTEP 10.77.0.4 of network blue: no answer: no Tapline there, or packets are lost',
  ];
  t.deepEqual(said(), first);
  dataplane.vxlan.probes = [
    { port: port('10.77.0.2'), udp: OK, tcp: OK, fullSize: OK },
    { port: port('10.77.0.4'), udp: OK, tcp: OK, fullSize: OK },
  ];
  for (const address of ['10.77.0.2', '10.77.0.4']) dataplane.happen({ kind: 'vtep-reachable', port: port(address) });
  await daemon.overlays.look(performance.now() + 5000);
  t.deepEqual(
    said().filter((line) => !line.includes('reached again')),
    [...first, 'info VTEP 10.77.0.4 of network blue: UDP ok, TCP ok, full-size (1450) ok'],
  );
});
