/** The outlet of a routed uplink over doubles: there while it is of use, made anew where it was lost, and done without where there can be none. */

import test from 'ava';
import type { NetworkConfig } from '../../control/config/schema.js';
import { networkSchema } from '../../control/config/schema.js';
import { hiddenNetwork } from '../../control/uplink/hidden-network.js';
import { TunnelOutlet } from '../../control/uplink/tunnel-outlet.js';
import { DataplaneDouble } from './support/dataplane-double.js';
import { config, eventually, type Fixture, hostChanged, leftovers, makeFixture } from './support/fixture.js';
import { SystemDouble } from './support/system-double.js';

const NO_KERNEL = 'EINVAL asking for segmentation inside UDP tunnels: needs Linux 6.17 or later';
const CUT_HERE = 'uplink up0: super-packets of tunnels are cut here, not by the kernel:';

// --- by itself

interface Lab {
  readonly outlet: TunnelOutlet;
  readonly system: SystemDouble;
  readonly dataplane: DataplaneDouble;
  readonly logs: string[];
  /** The port that it is of. */
  readonly port: number;
}

async function makeLab(): Promise<Lab> {
  const system = new SystemDouble();
  const dataplane = new DataplaneDouble();
  system.devices.add('up0');
  const logs: string[] = [];
  const note = (level: string) => (line: string) => void logs.push(`${level} ${line}`);
  const logger = { info: note('info'), warn: note('warn'), error: note('error') };
  const outlet = new TunnelOutlet('up0', system, dataplane, logger);
  const network = await dataplane.addNetwork(hiddenNetwork('uplink'));
  const port = await dataplane.addPort({ kind: 'uplink', name: 'uplink', network, fd: 99 });
  return { outlet, system, dataplane, logs, port };
}

test('it is opened once, given to the port, and taken back', async (t) => {
  const { outlet, system, dataplane, logs, port } = await makeLab();
  t.is(outlet.device, null);
  t.false(outlet.isLost());
  await outlet.close();
  await outlet.open(port);
  const [fd] = system.openFds;
  t.is(outlet.device, 'out-up0');
  t.deepEqual([...dataplane.outlets], [[port, fd]]);
  await outlet.open(port);
  t.is(system.openFds.size, 1);
  t.false(outlet.isLost());
  await outlet.close();
  t.is(outlet.device, null);
  t.deepEqual([[...dataplane.outlets], [...system.openFds]], [[], []]);
  await outlet.close();
  await outlet.open(port);
  t.is(outlet.device, 'out-up0');
  t.is(dataplane.outlets.size, 1);
  t.deepEqual(logs, []);
});

test('the descriptor is closed after the dataplane has let go of it', async (t) => {
  const { outlet, system, dataplane, port } = await makeLab();
  await outlet.open(port);
  const [fd] = [...system.openFds];
  const seen: boolean[] = [];
  const setOutlet = dataplane.setOutlet.bind(dataplane);
  dataplane.setOutlet = async (...words) => {
    await setOutlet(...words);
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(system.openFds.has(fd as number));
  };
  await outlet.close();
  t.deepEqual(seen, [true]);
  t.false(system.openFds.has(fd as number));
});

test('lost: removed by somebody, or set down', async (t) => {
  const { outlet, system, port } = await makeLab();
  await outlet.open(port);
  system.links.set('out-up0', { enabled: false });
  t.true(outlet.isLost());
  system.links.set('out-up0', { carrier: false });
  t.false(outlet.isLost(), 'it never has a carrier');
  system.devices.delete('out-up0');
  t.true(outlet.isLost());
  await outlet.close();
  t.false(outlet.isLost());
});

test('there can be none: said once, not tried again until it has been closed, and said anew when the reason is another', async (t) => {
  const { outlet, system, dataplane, logs, port } = await makeLab();
  let tries = 0;
  const open = system.openOutlet.bind(system);
  system.openOutlet = (device) => {
    tries++;
    return open(device);
  };
  system.missingOutlet = NO_KERNEL;
  for (let i = 0; i < 3; i++) await outlet.open(port);
  t.is(tries, 1);
  t.is(outlet.device, null);
  t.false(outlet.isLost());
  t.deepEqual([[...dataplane.outlets], [...system.openFds]], [[], []]);
  await outlet.close();
  await outlet.open(port);
  t.is(tries, 2);
  t.deepEqual(logs, [`info ${CUT_HERE} ${NO_KERNEL}`]);
  await outlet.close();
  system.missingOutlet = 'EPERM loading a BPF program\nand more';
  await outlet.open(port);
  t.deepEqual(logs.slice(1), [`info ${CUT_HERE} EPERM loading a BPF program`]);
  await outlet.close();
  system.missingOutlet = '';
  await outlet.open(port);
  t.is(outlet.device, 'out-up0');
  await outlet.close();
  system.missingOutlet = 'EPERM loading a BPF program';
  await outlet.open(port);
  t.is(logs.length, 3, 'it worked in between');
});

test('a dataplane that does not take it: closed again, and said; one that does not let go: closed all the same', async (t) => {
  const { outlet, system, dataplane, logs, port } = await makeLab();
  dataplane.failing.add('setOutlet');
  await outlet.open(port);
  t.is(outlet.device, null);
  t.deepEqual([...system.openFds], []);
  t.deepEqual(logs, [`info ${CUT_HERE} EIO setOutlet told to fail`]);
  dataplane.failing.clear();
  await outlet.close();
  await outlet.open(port);
  dataplane.failing.add('setOutlet');
  await t.throwsAsync(outlet.close(), { message: 'EIO setOutlet told to fail' });
  t.is(outlet.device, null);
  t.deepEqual([...system.openFds], []);
});

// --- as an uplink has it

const UPLINKS = {
  own: '{ device: up0, mode: own, addresses: [10.77.0.1/24], gateway: 10.77.0.254 }',
  shared: '{ device: up0, mode: shared }',
  routed: '{ device: up0, mode: routed, addresses: [10.77.0.1/24] }',
} as const;
const HOST = { addresses: ['10.77.0.1/24'], linkLocal: null, defaults: [], routes: [] };

function file(uplink: string, overlays: readonly string[] = []): string {
  const blue = overlays.map((name, i) => `\n  ${name}: ${JSON.stringify(overlayed(i))}`).join('');
  return `version: 1\nuplink: ${uplink}\nnetworks:\n  red: { subnets: [172.31.0.0/24] }${blue}\n`;
}

function overlayed(number: number): object {
  const vxlan = { vni: 42 + number, local: '10.77.0.1', remotes: ['10.77.0.2'] };
  return { subnets: [`172.30.${number}.0/24`], vxlan };
}

const network = (number: number): NetworkConfig => networkSchema.parse(overlayed(number));

function fixture(): Fixture {
  const made = makeFixture();
  made.system.devices.add('up0');
  made.system.hosts.set('up0', HOST);
  return made;
}

/** What the uplink says of it, the port's descriptor in the dataplane, and whether that is open. */
function stateOf({ daemon, dataplane, system }: Fixture): { device: string | null; fd: number; isOpen: boolean } {
  const fd = dataplane.outlets.get(dataplane.portNamed('uplink')) ?? -1;
  const device = daemon.uplink?.describe().outlet ?? null;
  return { device, fd, isOpen: system.openFds.has(fd) };
}

const NONE = { device: null, fd: -1, isOpen: false };

for (const mode of ['own', 'shared', 'routed'] as const) {
  // An address of the host's own is the shared uplink's alone.
  const withoutHost = (made: Fixture): Fixture => {
    if (mode !== 'shared') made.system.hosts.delete('up0');
    return made;
  };

  test(`${mode}: it comes with the first network that has vxlan, and goes with the last`, async (t) => {
    const made = withoutHost(fixture());
    const { daemon, dataplane, logs } = made;
    await daemon.apply(config(file(UPLINKS[mode])));
    t.deepEqual(stateOf(made), NONE);
    await daemon.createNetwork('plain', networkSchema.parse({ subnets: ['172.28.0.0/24'] }));
    t.deepEqual(stateOf(made), NONE);
    await daemon.createNetwork('blue', network(0));
    const first = stateOf(made);
    t.like(first, { device: 'out-up0', isOpen: true });
    await daemon.createNetwork('green', network(1));
    await daemon.removeNetwork('blue', false);
    t.deepEqual(stateOf(made), first, 'the same');
    await daemon.removeNetwork('green', false);
    t.deepEqual(stateOf(made), NONE);
    t.is(dataplane.outlets.size, 0);
    await daemon.createNetwork('blue', network(0));
    t.like(stateOf(made), { device: 'out-up0', isOpen: true });
    await daemon.stop();
    t.deepEqual(leftovers(made), []);
    t.is(dataplane.outlets.size, 0);
    t.deepEqual(
      logs.filter((line) => /outlet|cut here/.test(line)),
      [],
    );
  });

  test(`${mode}: with a file that has such a network it is there from the beginning, and gone at the end`, async (t) => {
    const made = withoutHost(fixture());
    await made.daemon.apply(config(file(UPLINKS[mode], ['blue', 'green'])));
    t.like(stateOf(made), { device: 'out-up0', isOpen: true });
    t.is(made.dataplane.outlets.size, 1);
    await made.daemon.stop();
    t.deepEqual(leftovers(made), []);
    t.false(made.system.devices.has('out-up0'));
  });

  for (const key of ['offload', 'outlet'])
    test(`${mode}: an uplink with ${key}: false has none`, async (t) => {
      const made = withoutHost(fixture());
      await made.daemon.apply(config(file(UPLINKS[mode].replace(' }', `, ${key}: false }`), ['blue'])));
      t.deepEqual(stateOf(made), NONE);
      await made.daemon.createNetwork('green', network(1));
      t.deepEqual(stateOf(made), NONE);
      await made.daemon.stop();
      t.deepEqual(leftovers(made), []);
    });

  test(`${mode}: it goes with the device, and comes back with it`, async (t) => {
    const made = withoutHost(fixture());
    const { daemon, dataplane, system } = made;
    await daemon.apply(config(file(UPLINKS[mode], ['blue'])));
    const before = dataplane.portNamed('uplink');
    system.devices.delete('up0');
    dataplane.portDown(before, 'ENODEV');
    await eventually(() => daemon.uplink?.describe().state === 'down' && dataplane.outlets.size === 0);
    t.is(daemon.uplink?.describe().outlet, null);
    t.false(system.devices.has('out-up0'));
    system.devices.add('up0');
    system.links.set('up0', { index: 9 });
    hostChanged(made);
    await eventually(() => dataplane.outlets.size === 1);
    t.like(stateOf(made), { device: 'out-up0', isOpen: true });
    t.deepEqual([...dataplane.outlets.keys()], [dataplane.portNamed('uplink')]);
    t.not(dataplane.portNamed('uplink'), before);
    await daemon.stop();
    t.deepEqual(leftovers(made), []);
  });

  test(`${mode}: removed or set down by somebody, it is made anew within a second or two`, async (t) => {
    const made = withoutHost(fixture());
    const { daemon, system, logs } = made;
    await daemon.apply(config(file(UPLINKS[mode], ['blue'])));
    for (const harm of [
      () => system.devices.delete('out-up0'),
      () => system.links.set('out-up0', { enabled: false }),
    ]) {
      const before = stateOf(made).fd;
      harm();
      await eventually(() => stateOf(made).fd !== before && stateOf(made).fd >= 0);
      system.links.delete('out-up0');
      t.like(stateOf(made), { device: 'out-up0', isOpen: true });
      t.false(system.openFds.has(before), 'the one before is closed');
    }
    t.deepEqual(
      logs.filter((line) => line.startsWith('warn')),
      [],
    );
    await daemon.stop();
    t.deepEqual(leftovers(made), []);
  });

  test(`${mode}: where there can be none it is said once, and all else is as it was`, async (t) => {
    const made = withoutHost(fixture());
    const { daemon, dataplane, system, logs } = made;
    system.missingOutlet = NO_KERNEL;
    await daemon.apply(config(file(UPLINKS[mode], ['blue'])));
    await daemon.createNetwork('green', network(1));
    await daemon.removeNetwork('green', false);
    hostChanged(made);
    system.links.set('up0', { carrier: false });
    hostChanged(made);
    await eventually(() => daemon.uplink?.describe().state === 'down');
    system.links.delete('up0');
    hostChanged(made);
    await eventually(() => daemon.uplink?.describe().state === 'up');
    // Longer than it takes to look after what was lost.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    t.deepEqual(
      logs.filter((line) => line.includes('super-packets')),
      [`info ${CUT_HERE} ${NO_KERNEL}`],
    );
    t.deepEqual(stateOf(made), NONE);
    t.true(dataplane.portNamed('vxlan:blue:10.77.0.2') > 0);
    t.is(daemon.overlays.why('blue'), '');
    await daemon.stop();
    t.deepEqual(leftovers(made), []);
  });
}

test('a bridged uplink has none', async (t) => {
  const made = makeFixture();
  made.system.devices.add('up0');
  const yaml =
    'version: 1\nuplink: { device: up0, mode: bridged, network: red }\nnetworks: { red: { subnets: [172.31.0.0/24] } }\n';
  await made.daemon.apply(config(yaml));
  t.is(made.daemon.uplink?.describe().outlet, null);
  t.is(made.dataplane.outlets.size, 0);
  await made.daemon.stop();
});
