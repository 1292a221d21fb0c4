import test from 'ava';
import { networkSchema } from '../../../control/config/schema.js';
import { forgetNeighbor, tellNeighbor } from '../../../control/vxlan/neighbors.js';
import { makeLab, type OverlayLab, refused } from './lab.js';

const MAC = '02:00:00:00:00:09';

/** What the gateway of blue knows, by address. */
function known({ daemon, dataplane }: OverlayLab, network = 'blue'): Record<string, string> {
  const iface = daemon.interfaces.get(network)?.number;
  const own = [...dataplane.vxlan.neighbors].filter(([key]) => key.startsWith(`${iface} `));
  return Object.fromEntries(own.map(([key, mac]) => [key.split(' ')[1] as string, mac]));
}

test('neighbors are told by file and by command, each network its own', async (t) => {
  const lab = await makeLab(t, { vxlan: `neighbors: [{ address: 172.30.0.9, mac: ${MAC} }]` });
  const { daemon } = lab;
  t.deepEqual(known(lab), { '172.30.0.9': MAC });
  await tellNeighbor(daemon, { network: 'blue', address: '172.30.0.9', mac: '02:00:00:00:00:0a' });
  await tellNeighbor(daemon, { network: 'blue', address: '172.30.0.10', mac: MAC });
  await tellNeighbor(daemon, { network: 'red', address: '172.31.0.10', mac: MAC });
  t.deepEqual(known(lab), { '172.30.0.9': '02:00:00:00:00:0a', '172.30.0.10': MAC });
  t.deepEqual(known(lab, 'red'), { '172.31.0.10': MAC });
  await forgetNeighbor(daemon, 'blue', '172.30.0.9');
  t.deepEqual(known(lab), { '172.30.0.10': MAC });
  t.is(
    await refused(forgetNeighbor(daemon, 'blue', '172.30.0.9')),
    'missing address: nothing was told of 172.30.0.9 in network blue',
  );
});

test('a neighbor that cannot be', async (t) => {
  const { daemon, dataplane } = await makeLab(t);
  const tell = (address: string, network = 'blue'): Promise<string> =>
    refused(tellNeighbor(daemon, { network, address, mac: MAC }));
  t.is(await tell('10.0.0.9'), 'invalid address: expected an address in 172.30.0.0/24 of network blue, got 10.0.0.9');
  t.is(await tell('172.30.0.1'), 'invalid address: 172.30.0.1 is the gateway address of network blue');
  t.is(await tell('172.30.0.255'), 'invalid address: 172.30.0.255 is the broadcast address of network blue');
  t.is(await tell('172.30.0.9', 'none'), 'missing no network none');
  t.is(dataplane.vxlan.neighbors.size, 0);
});

test('what was told outlives the gateway’s interface, and goes with the network', async (t) => {
  const lab = await makeLab(t);
  const { daemon, dataplane } = lab;
  await tellNeighbor(daemon, { network: 'red', address: '172.31.0.10', mac: MAC });
  const before = daemon.interfaces.get('red');
  await daemon.interfaces.remove('red');
  dataplane.vxlan.neighbors.clear();
  await daemon.interfaces.add('red', before?.request as never);
  t.not(daemon.interfaces.get('red')?.number, before?.number);
  t.deepEqual(known(lab, 'red'), { '172.31.0.10': MAC });
  await daemon.removeNetwork('red', false);
  dataplane.vxlan.neighbors.clear();
  await daemon.createNetwork('red', networkSchema.parse({ subnets: ['172.31.0.0/24'] }));
  t.deepEqual(known(lab, 'red'), {});
});
