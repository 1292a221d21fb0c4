/** What many routes, many changes of the host, and changes that come at the wrong moment must not upset. */

import test from 'ava';
import type { Configuration, RouteConfig } from '../../control/config/schema.js';
import { endpointSchema, networkSchema, routeSchema } from '../../control/config/schema.js';
import { HostWatch } from '../../control/uplink/host-watch.js';
import { config, makeFixture, NETWORKS } from './support/fixture.js';
import { kill, makeLab, restarted } from './support/worker-lab.js';

/** Each in its own /24, by next hops in so many networks. */
function manyRoutes(count: number, networks: number): RouteConfig[] {
  return Array.from({ length: count }, (_, i) => {
    const to = `${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`;
    return routeSchema.parse({ to, via: `10.${i % networks}.0.${2 + (i % 8)}` });
  });
}

function withRoutes(routes: RouteConfig[], networks: number): Configuration {
  const yaml = Array.from({ length: networks }, (_, i) => `  n${i}: { subnets: [10.${i}.0.0/24] }`).join('\n');
  const base = config(`version: 1\nnetworks:\n${yaml}\n`);
  return { ...base, vrfs: new Map([['default', { routes, ip_options: { record_route: false, timestamp: false } }]]) };
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

test.serial('routes take time in proportion to their number, and one more takes none of it', async (t) => {
  const { daemon, dataplane } = makeFixture();
  // One by one over all others this took more than a minute.
  const seconds = await secondsOf(() => daemon.apply(withRoutes(manyRoutes(40_000, 100), 100)));
  t.is(dataplane.routes.size, 40_000);
  t.true(seconds < 15, `${seconds} s to load`);
  const [route] = manyRoutes(1, 100);
  const more = Array.from({ length: 200 }, (_, i) => ({ ...(route as RouteConfig), to: `77.0.${i}.0/24` }));
  const added = await secondsOf(async () => {
    for (const one of more) await daemon.addRoute('default', one);
    for (const { to } of more) await daemon.removeRoute('default', to);
  });
  t.true(added < 5, `${added} s to add and remove 200`);
  t.is(dataplane.routes.size, 40_000);
  await daemon.stop();
});

test('of routes that come together, each that is refused says which it is', async (t) => {
  const { daemon, dataplane } = makeFixture();
  const routes = manyRoutes(5000, 1);
  dataplane.failing.add(`setRoute ${routes[4500]?.to}`);
  const error = await t.throwsAsync(daemon.apply(withRoutes(routes, 1)));
  t.regex(error?.message ?? '', /^vrfs\.default\.routes\[4500\]\.to: EIO/);
  t.deepEqual([dataplane.routes.size, dataplane.networks.size], [0, 0]);
});

test('a signal to stop is heeded in the middle of many routes', async (t) => {
  const { daemon, dataplane } = makeFixture();
  const { setRoute } = dataplane;
  let stopped: Promise<void> | null = null;
  dataplane.setRoute = (spec) => {
    stopped ??= daemon.stop();
    return setRoute.call(dataplane, spec);
  };
  await t.throwsAsync(daemon.apply(withRoutes(manyRoutes(20_000, 1), 1)), { message: /stopped before/ });
  await stopped;
  t.deepEqual([dataplane.networks.size, dataplane.vrfs.size, dataplane.routes.size], [0, 0, 0]);
});

test('what is asked for while a file comes up waits for it, and finds its names taken', async (t) => {
  const { daemon, dataplane, system } = makeFixture();
  system.addNamespace('/ns/a');
  const yaml = `${NETWORKS}endpoints: { a: { network: blue, netns: /ns/a } }`;
  const applied = daemon.apply(config(yaml));
  const network = daemon.createNetwork('red', networkSchema.parse({ subnets: ['172.29.0.0/24'] }));
  const endpoint = daemon.connect('a', endpointSchema.parse({ network: 'blue', netns: '/ns/a', interface: 'eth7' }));
  const results = await Promise.allSettled([network, endpoint]);
  await applied;
  t.deepEqual(
    results.map((result) => (result.status === 'rejected' ? (result.reason as Error).message : 'made')),
    ['network red already exists', 'name: endpoint a already exists'],
  );
  t.is(dataplane.networks.size, 2);
  t.deepEqual(daemon.network('red').config.subnets, ['172.31.0.0/30']);
  await daemon.stop();
  t.deepEqual([dataplane.networks.size, dataplane.interfaces.size, system.taps.size], [0, 0, 0]);
});

test('a route in a namespace that goes between the look and the change is no trouble', async (t) => {
  const { daemon, system, logs } = makeFixture();
  system.addNamespace('/ns/a');
  const { readIpInside } = system;
  let looks = 0;
  system.readIpInside = async <T>(netns: string, ...words: string[]): Promise<T[]> => {
    const found = await readIpInside.call(system, netns, ...words);
    const gone = { dst: 'default', gateway: '172.30.0.1', dev: 'eth0', metric: 777 };
    return (words[0] === '-4' && words[1] === 'route' && looks++ === 0 ? [...found, gone] : found) as T[];
  };
  await daemon.apply(
    config(`${NETWORKS}endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: red, netns: /ns/a, interface: eth1 }
`),
  );
  t.true(looks > 1);
  t.deepEqual(
    logs.filter((line) => line.startsWith('warn')),
    [],
  );
  t.true(system.inside.get('/ns/a -4')?.has('rule from 172.31.0.2 lookup 742001 priority 7420'));
  await daemon.stop();
});

test('many endpoints of one namespace leave with one look at its routes', async (t) => {
  const { daemon, system } = makeFixture();
  system.addNamespace('/ns/a');
  const lines = Array.from({ length: 40 }, (_, i) => `  e${i}: { network: blue, netns: /ns/a, interface: eth${i} }`);
  await daemon.apply(config(`${NETWORKS}endpoints:\n${lines.join('\n')}\n`));
  const { readIpInside } = system;
  let looks = 0;
  system.readIpInside = <T>(netns: string, ...words: string[]): Promise<T[]> => {
    looks++;
    return readIpInside.call(system, netns, ...words) as Promise<T[]>;
  };
  t.is([...(system.inside.get('/ns/a -4') ?? [])].filter((line) => line.startsWith('rule')).length, 40);
  await daemon.stop();
  t.deepEqual(
    [...(system.inside.get('/ns/a -4') ?? [])].filter((line) => line.startsWith('rule')),
    [],
  );
  // Routes and rules, of each family.
  t.is(looks, 4);
});

test('changes of the host that never end are told at once, and then now and then', async (t) => {
  let [arrived, readable] = [0, (): void => {}];
  const dataplane = {
    watchPidfd: (_fd: number, callback: () => void) => {
      readable = callback;
      return () => {};
    },
  };
  const start = performance.now();
  const told: number[] = [];
  const socket = { fd: 7, drain: () => true, close: () => {} };
  const watch = new HostWatch(dataplane, socket, () => told.push(performance.now() - start));
  // Where other tests keep the process busy, a second holds few changes.
  while (performance.now() - start < 1000 || arrived <= 10) {
    readable();
    readable = () => {};
    arrived++;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  watch.stop();
  const most = 1 + Math.ceil((performance.now() - start) / 250);
  t.true(told.length >= 1 && told.length <= most, `told ${told.length} times, first after ${told[0]} ms`);
});

for (const engine of ['uring', 'epoll'] as const) {
  test.serial(`${engine}: a route that is removed while the worker is away stays removed`, async (t) => {
    const { dataplane, network, taps } = await makeLab(t, engine);
    const vrf = await dataplane.addVrf({
      name: 'lab',
      interconnect: true,
      recordRoute: false,
      timestamp: false,
      tracking: false,
    });
    const hop = {
      via: '172.30.0.3',
      metric: 1,
      interface: await dataplane.addInterface({
        kind: 'network',
        vrf,
        network,
        vlan: 0,
        port: null,
        mac: '02:42:ac:1e:00:01',
        mtu: 1500,
        addresses: ['172.30.0.1/24'],
        up: true,
        internal: false,
        hostAccess: false,
        shared: false,
        validateSource: false,
        proxies: [],
        advertisement: null,
      }),
    };
    for (const prefix of ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'])
      await dataplane.setRoute({ vrf, prefix, kind: 'unicast', hops: [hop] });
    const during = dataplane.removeRoute(vrf, '10.1.0.0/16');
    await kill(dataplane);
    await during;
    await dataplane.removeRoute(vrf, '10.2.0.0/16');
    t.true(await restarted(dataplane, 1));
    const prefixes = (await dataplane.fib()).filter(({ kind }) => kind === 'unicast').map(({ prefix }) => prefix);
    t.deepEqual(prefixes, ['10.3.0.0/16']);
    for (const tap of taps) await tap.detach();
  });
}
