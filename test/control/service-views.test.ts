/** What the API answers about services. */

import test from 'ava';
import { serviceState, serviceView, serviceViews } from '../../control/service-views.js';
import { config, type Fixture, makeFixture } from './support/fixture.js';

const FILE = `version: 1
uplink: { device: up0, mode: own, addresses: [10.77.0.1/24] }
networks: { blue: { subnets: [172.30.0.0/24, "fd00:30::/64"] } }
endpoints: { a: { network: blue, netns: /ns/a } }
services:
  out: { network: blue, listen: ["8080", "10.77.0.1:53/udp"], backends: [{ endpoint: a, port: 80 }] }
  both: { network: blue, listen: ["172.30.0.9:80", "9090"], backends: [{ endpoint: a, port: 80, weight: 0 }] }
`;

async function made(): Promise<Fixture> {
  const fixture = makeFixture();
  fixture.system.devices.add('up0');
  fixture.system.hosts.set('up0', { addresses: ['10.77.0.9/24'], linkLocal: null, defaults: [], routes: [] });
  fixture.system.addNamespace('/ns/a');
  await fixture.daemon.apply(config(FILE));
  return fixture;
}

test('what clients in the subnet of a backend are to it does not depend on where the service listens', async (t) => {
  const { daemon } = await made();
  const [out, both] = serviceViews(daemon);
  t.like(out, { name: 'out', vrf: 'default', via: 'gateway', virtual: [], state: 'up', reason: '' });
  t.deepEqual(out?.listen, ['8080/tcp', '10.77.0.1:53/udp']);
  t.like(both, { name: 'both', via: 'gateway', state: 'down', reason: '1 draining' });
  t.deepEqual(both?.virtual, ['172.30.0.9']);
  await daemon.stop();
});

test('what a view says of time is ISO 8601, and null where there is none', async (t) => {
  const { daemon } = await made();
  const { backends } = serviceView(daemon, daemon.services.get('both'));
  const { since = '', deadline, name, endpoint, port, weight, addresses, suspect, rate } = backends[0] ?? {};
  t.is(new Date(since).toISOString(), since);
  t.true(Math.abs(Date.now() - Date.parse(since)) < 60_000);
  t.deepEqual(
    { deadline, name, endpoint, port, weight, suspect, rate },
    {
      deadline: null,
      name: 'a:80',
      endpoint: 'a',
      port: 80,
      weight: 0,
      suspect: false,
      rate: null,
    },
  );
  t.deepEqual(addresses, ['172.30.0.2', 'fd00:30::2']);
  await daemon.stop();
});

test('a service is up while one of its backends is; else counts say why', (t) => {
  t.deepEqual(serviceState([{ state: 'down' }, { state: 'up' }, { state: 'absent' }]), { state: 'up', reason: '' });
  t.deepEqual(serviceState([]), { state: 'down', reason: 'no backends' });
  t.deepEqual(serviceState([{ state: 'down' }, { state: 'absent' }, { state: 'down' }, { state: 'starting' }]), {
    state: 'down',
    reason: '2 down, 1 absent, 1 starting',
  });
});
