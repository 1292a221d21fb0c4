/** Static routes with real traffic: next hops, several of them, routes that refuse, and next hops that are nobody's. */

import test, { type ExecutionContext } from 'ava';
import type { RouteView } from '../../control/router-views.js';
import { type Agent, ping, startAgent } from './support/agent.js';
import { type Addresses, addressIn, FAMILIES, type Family, subnetsOf } from './support/city.js';
import { accounted, droppedFor } from './support/identity.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

/** A prefix behind routers that are endpoints, and an address in it. */
const BEHIND = { 4: '10.9.0.0/16', 6: 'fd09::/64' } as const;
const SOMEBODY: Addresses = { 4: '10.9.0.1', 6: 'fd09::1' };
const ROUTERS = ['east', 'west'] as const;
const SUBNET = 51;

interface Scene {
  readonly tapline: Tapline;
  readonly asker: Namespace;
  readonly agent: Agent;
  readonly routers: readonly Namespace[];
}

/** An endpoint that asks, and in another network two routers, each of which answers for the same prefix under its own name. */
async function createScene(t: ExecutionContext): Promise<Scene> {
  const asker = await createNamespace(t);
  const routers = [await createNamespace(t), await createNamespace(t)];
  const endpoints: Record<string, object> = {
    asker: { network: 'blue', netns: asker.path, addresses: Object.values(addressIn(50, 2)) },
  };
  for (const [i, name] of ROUTERS.entries()) {
    endpoints[name] = {
      network: 'red',
      netns: routers[i]!.path,
      addresses: Object.values(addressIn(SUBNET, i + 2)),
      allowed_addresses: Object.values(BEHIND),
    };
  }
  const networks = { blue: { subnets: subnetsOf(50) }, red: { subnets: subnetsOf(SUBNET) } };
  const vrfs = { default: { interconnect: true } };
  const tapline = await startTapline(t, { version: 1, vrfs, networks, endpoints });
  for (const [i, name] of ROUTERS.entries()) {
    await routers[i]!.exec('ip', 'address', 'add', `${SOMEBODY[4]}/32`, 'dev', 'lo');
    await routers[i]!.exec('ip', 'address', 'add', `${SOMEBODY[6]}/128`, 'dev', 'lo', 'nodad');
    await startAgent(t, routers[i]!, name);
  }
  return { tapline, asker, agent: await startAgent(t, asker, 'asker'), routers };
}

/** The address of a router. */
function hop(index: number, family: Family): string {
  return addressIn(SUBNET, index + 2)[family];
}

async function staticRoutes(tapline: Tapline): Promise<RouteView[]> {
  const all = JSON.parse(await tapline.ok('show', 'route', '--json')) as RouteView[];
  return all.filter(({ source }) => source !== 'connected' && source !== 'local');
}

test.serial('a route by a next hop is used as soon as it is there, and no longer once it is gone', async (t) => {
  const { tapline, asker, agent } = await createScene(t);
  for (const family of FAMILIES) {
    t.is(await ping(asker, SOMEBODY[family]), 'net unreachable', 'there is no route');
    await tapline.ok('route', 'add', BEHIND[family], 'via', hop(0, family));
    t.is(await ping(asker, SOMEBODY[family]), 'reply');
    t.deepEqual(await agent.ask(SOMEBODY[family]), { name: 'east', seenAs: addressIn(50, 2)[family] });
    // The longer prefix is taken, whatever came first.
    const narrow = family === 4 ? '10.9.0.1/32' : 'fd09::1/128';
    await tapline.ok('route', 'add', narrow, 'via', hop(1, family));
    t.like(await agent.ask(SOMEBODY[family]), { name: 'west' });
    await tapline.ok('route', 'rm', narrow);
    t.like(await agent.ask(SOMEBODY[family]), { name: 'east' });
    const [route] = await staticRoutes(tapline);
    t.like(route, { prefix: BEHIND[family], kind: 'unicast', state: 'active', via: [hop(0, family)], metric: 100 });
    await tapline.ok('route', 'rm', BEHIND[family]);
    t.deepEqual(await staticRoutes(tapline), []);
    t.is(await ping(asker, SOMEBODY[family]), 'net unreachable');
  }
  await accounted(t, tapline);
});

test.serial(
  'blackhole, unreachable and prohibit refuse, each in its own way, also within a route that does not',
  async (t) => {
    const { tapline, asker, agent } = await createScene(t);
    for (const family of FAMILIES) {
      await tapline.ok('route', 'add', BEHIND[family], 'via', hop(0, family));
      const narrow = family === 4 ? '10.9.0.0/24' : 'fd09::/96';
      for (const [type, answer, reason] of [
        ['blackhole', 'silence', 'blackhole'],
        ['unreachable', 'host unreachable', 'unreachable'],
        ['prohibit', 'filtered', 'prohibited'],
      ] as const) {
        const before = droppedFor(await tapline.drops(), reason);
        await tapline.ok('route', 'add', narrow, type);
        t.is(await ping(asker, SOMEBODY[family], '-W', '1'), answer, type);
        t.true(droppedFor(await tapline.drops(), reason) > before, reason);
        await tapline.ok('route', 'rm', narrow);
        t.like(await agent.ask(SOMEBODY[family]), { name: 'east' }, `without ${type}`);
      }
    }
    await accounted(t, tapline);
  },
);

test.serial('of two routes the lower metric is taken', async (t) => {
  const { tapline, agent } = await createScene(t);
  for (const family of FAMILIES) {
    await tapline.ok('route', 'add', BEHIND[family], 'via', hop(0, family), '--metric', '50');
    await tapline.ok('route', 'add', BEHIND[family], 'via', hop(1, family), '--metric', '20');
    t.like(await agent.ask(SOMEBODY[family]), { name: 'west' });
    await tapline.ok('route', 'rm', BEHIND[family], '--metric', '20');
    t.like(await agent.ask(SOMEBODY[family]), { name: 'east' });
  }
  await accounted(t, tapline);
});

/** So many connections, one after the other. @returns how often each has answered, or which error came how often */
async function spread(agent: Agent, address: string, count: number): Promise<Map<string, number>> {
  const answers = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const answer = await agent.ask(address);
    const who = 'name' in answer ? answer.name : answer.error;
    answers.set(who, (answers.get(who) ?? 0) + 1);
  }
  return answers;
}

/** Not what npm puts before it in PATH: a package of that name. */
const NFT = '/usr/sbin/nft';

/** As a machine that hangs: the link is up, and nothing is heard nor said. */
async function hang(namespace: Namespace): Promise<void> {
  const chain = 'chain in { type filter hook ingress device "eth0" priority 0; policy drop; };';
  await namespace.exec(NFT, `table netdev hung { ${chain} }`);
}

test.serial('flows spread over two next hops; when one dies the other takes them all, until it is back', async (t) => {
  t.timeout(400_000);
  const { tapline, agent, routers } = await createScene(t);
  const each = (work: (family: Family) => Promise<unknown>): Promise<unknown> => Promise.all(FAMILIES.map(work));
  await each(async (family) => {
    await tapline.ok('route', 'add', BEHIND[family], 'via', hop(0, family), 'via', hop(1, family));
    await eventually('both to be used', async () => (await spread(agent, SOMEBODY[family], 16)).size === 2);
    const answers = await spread(agent, SOMEBODY[family], 64);
    t.deepEqual([...answers.keys()].sort(), ['east', 'west'], 'both, and nothing fails');
    // Of 64 by two, one in a billion runs has less than 8.
    t.true(Math.min(...answers.values()) >= 8, JSON.stringify([...answers]));
  });

  await hang(routers[0]!);
  await each(async (family) => {
    // Until that is found out: what was heard is believed for 45 s at most, then come 5 s of doubt and 3 requests.
    const isWest = async (): Promise<boolean> => (await spread(agent, SOMEBODY[family], 8)).get('west') === 8;
    await eventually('only the other to be used', isWest, 120_000);
    // As long as it takes to look for the dead one in vain more than once.
    for (let i = 0; i < 24; i++) {
      t.deepEqual(
        [...(await spread(agent, SOMEBODY[family], 8))],
        [['west', 8]],
        'no connection waits for the dead one',
      );
      await sleep(500);
    }
  });

  await routers[0]!.exec(NFT, 'delete', 'table', 'netdev', 'hung');
  await each((family) =>
    eventually('both to be used again', async () => (await spread(agent, SOMEBODY[family], 16)).has('east'), 30_000),
  );
  await accounted(t, tapline);
});

test.serial('a next hop that is nobody’s is said within seconds, and counted', async (t) => {
  const { tapline, asker, agent } = await createScene(t);
  for (const family of FAMILIES) {
    const nobody = addressIn(SUBNET, 200)[family];
    await tapline.ok('route', 'add', BEHIND[family], 'via', nobody);
    const before = droppedFor(await tapline.drops(), 'neighbor_failed');
    const start = Date.now();
    t.is(await ping(asker, SOMEBODY[family], '-W', '20'), 'host unreachable');
    const took = Date.now() - start;
    t.true(took > 1500 && took < 15_000, `${took} ms: three requests, a second apart`);
    t.true(droppedFor(await tapline.drops(), 'neighbor_failed') > before);
    t.deepEqual(await agent.ask(SOMEBODY[family]), { error: 'EHOSTUNREACH' });
    await tapline.ok('route', 'rm', BEHIND[family]);
  }
  await accounted(t, tapline);
});

test.serial('mistakes are said in one line, and change nothing', async (t) => {
  const { tapline, agent } = await createScene(t);
  await tapline.ok('route', 'add', BEHIND[4], 'via', hop(0, 4));
  const before = JSON.stringify(await staticRoutes(tapline));
  for (const [argv, pattern] of [
    [['add', BEHIND[4], 'via', hop(1, 4)], /10\.9\.0\.0\/16/],
    [['add', '10.10.0.0/16', 'via', '192.0.2.1'], /next hop on a link of VRF default.*192\.0\.2\.1/],
    [['add', '10.10.0.0/16', 'via', 'fd00:51::2'], /IPv4/],
    [['add', '10.10.0.0/16', 'via', addressIn(SUBNET, 1)[4]], /router's own address in network red/],
    [['add', '10.10.0.0/16', 'via', '172.30.51.255'], /broadcast address/],
    [['add', '172.30.50.0/24', 'via', hop(0, 4)], /the subnet of network blue/],
    [['add', '10.10.0.1/16', 'via', hop(0, 4)], /10\.10\.0\.[01]/],
    [['add', '10.10.0.0/16'], /via ADDRESS/],
    [['add', '10.10.0.0/16', 'via', hop(0, 4), '--vrf', 'nowhere'], /nowhere/],
    [['add', '10.10.0.0/16', 'via', hop(0, 4), '--metric', 'low'], /metric/],
    [['rm', '10.11.0.0/16'], /10\.11\.0\.0\/16/],
    [['rm', '172.30.50.0/24'], /172\.30\.50\.0\/24/],
  ] as const) {
    const result = await tapline.cli('route', ...argv);
    t.not(result.code, 0, argv.join(' '));
    t.regex(result.stderr, pattern, argv.join(' '));
    t.is(result.stderr.trim().split('\n').length, 1, result.stderr);
  }
  t.is(JSON.stringify(await staticRoutes(tapline)), before);
  t.like(await agent.ask(SOMEBODY[4]), { name: 'east' });
});
