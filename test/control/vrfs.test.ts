/** What the dataplane is told of VRFs, whoever asks meanwhile; and what becomes of their connections. */

import test from 'ava';
import type { Dataplane, VrfSpec } from '../../control/types.js';
import { Vrfs } from '../../control/vrfs.js';
import { STATE_UDP_STREAM } from '../../core/nat/flow.js';
import { config, makeFixture } from './support/fixture.js';
import { addFlow, ports } from './support/flows.js';

function spec(tracking: boolean): VrfSpec {
  return { name: 'default', interconnect: false, recordRoute: false, timestamp: false, tracking };
}

interface Lab {
  readonly vrfs: Vrfs;
  /** What the dataplane was told and asked, in order. */
  readonly told: string[];
  tracking: boolean;
  /** What setVrf waits for. */
  gate: Promise<void>;
}

async function makeLab(tracking: boolean): Promise<Lab> {
  const told: string[] = [];
  const dataplane = {
    addVrf: async () => 7,
    setVrf: async (_: number, { tracking: on }: VrfSpec) => {
      told.push(on ? 'tracked' : 'not tracked');
      await lab.gate;
    },
    removeVrf: async () => void told.push('removed'),
  } as unknown as Dataplane;
  const endFlows = async (vrf: number): Promise<void> => void told.push(`flows of ${vrf} ended`);
  const vrfs = new Vrfs(dataplane, () => spec(lab.tracking), endFlows);
  const lab: Lab = { vrfs, told, tracking, gate: Promise.resolve() };
  await vrfs.acquire('default');
  return lab;
}

test('what is wanted again while the dataplane is told otherwise, it is told again', async (t) => {
  const lab = await makeLab(true);
  let open = (): void => {};
  lab.gate = new Promise((resolve) => {
    open = resolve;
  });
  lab.tracking = false;
  const first = lab.vrfs.update();
  lab.tracking = true;
  const second = lab.vrfs.update();
  open();
  await Promise.all([first, second]);
  t.deepEqual(
    lab.told.filter((line) => line.includes('tracked')),
    ['not tracked', 'tracked'],
  );
});

test('what the dataplane refuses is told it again', async (t) => {
  const lab = await makeLab(false);
  lab.gate = Promise.reject(new Error('EIO'));
  lab.tracking = true;
  await t.throwsAsync(lab.vrfs.update(), { message: 'EIO' });
  lab.gate = Promise.resolve();
  await lab.vrfs.update();
  t.deepEqual(lab.told, ['tracked', 'tracked']);
});

test('connections end where they are tracked no more, and with their VRF', async (t) => {
  const lab = await makeLab(true);
  lab.tracking = false;
  await lab.vrfs.update();
  t.deepEqual(lab.told, ['not tracked', 'flows of 7 ended']);
  lab.tracking = true;
  await lab.vrfs.update();
  await lab.vrfs.release('default');
  t.deepEqual(lab.told.slice(2), ['tracked', 'flows of 7 ended', 'removed']);
});

test('of a daemon: the last rule takes the connections of its VRF along, and leaves those of others', async (t) => {
  const { daemon, dataplane } = makeFixture();
  await daemon.apply(
    config(`version: 1
networks:
  blue: { subnets: [172.30.0.0/24], policy: drop }
  red: { subnets: [172.31.0.0/24], vrf: red, policy: drop }
`),
  );
  const { table } = dataplane.nat.tables;
  const add = (vrf: string, source: string, destination: string): void => {
    const zone = daemon.interfaces.vrfs.numberOf(vrf) ?? 0;
    addFlow(table, { zone, protocol: 17, state: STATE_UDP_STREAM, original: [source, destination, ports(1, 2)] });
  };
  // Neither end is an endpoint's, as of what the host or a routed prefix began.
  add('default', '10.1.1.1', '10.2.2.2');
  add('default', 'fd00::1', 'fd00::2');
  add('red', '10.1.1.1', '10.2.2.2');
  await daemon.removeNetwork('blue', false);
  t.is(table.count, 1);
  await daemon.removeNetwork('red', false);
  t.is(table.count, 0);
  await daemon.stop();
});
