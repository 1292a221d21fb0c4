/**
 * One namespace in several networks: which of them has the default route, replies that leave where the request came in, and what is
 * left when one of the endpoints goes.
 */

import test, { type ExecutionContext } from 'ava';
import { type Agent, ping, startAgent } from './support/agent.js';
import {
  type Addresses,
  addressIn,
  createOutside,
  FAMILIES,
  FAR,
  type Family,
  OWN_UPLINK,
  subnetsOf,
} from './support/city.js';
import { tcpdump, tshark } from './support/frames.js';
import { accounted } from './support/identity.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { startTapline, type Tapline } from './support/tapline.js';

/** Networks of the one who is in several, and the third group of their subnets. */
const NETWORKS = { amber: 41, blue: 42, coral: 43 } as const;
type Network = keyof typeof NETWORKS;
const NAMES = Object.keys(NETWORKS) as Network[];
const DEVICES: Readonly<Record<Network, string>> = { amber: 'eth0', blue: 'eth1', coral: 'eth2' };

interface Plan {
  /** Networks in the order in which they stand in the file. */
  readonly order: readonly Network[];
  readonly priorities?: Partial<Record<Network, number>>;
}

/** Endpoints are named after their networks: `in-amber` and so on. */
function configOf(many: Namespace, { order, priorities = {} }: Plan, more: object = {}): { endpoints: object } {
  const network = (number: number): object => ({ subnets: subnetsOf(number), masquerade: false });
  const networks = Object.fromEntries(NAMES.map((name) => [name, network(NETWORKS[name])]));
  const endpoints = order.map((name) => {
    const addresses = Object.values(addressIn(NETWORKS[name], 2));
    const common = { network: name, netns: many.path, interface: DEVICES[name], addresses };
    return [`in-${name}`, { ...common, gateway_priority: priorities[name] ?? 0 }];
  });
  const vrfs = { default: { interconnect: true } };
  return { version: 1, vrfs, networks, endpoints: Object.fromEntries(endpoints), ...more } as { endpoints: object };
}

interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
  readonly metric?: number;
  readonly table?: string;
}

async function routes(namespace: Namespace, family: Family, ...what: string[]): Promise<Route[]> {
  return JSON.parse(await namespace.exec('ip', '-json', `-${family}`, 'route', 'show', ...what)) as Route[];
}

/** The device by which the kernel reaches somebody outside. */
async function wayOut(namespace: Namespace, family: Family): Promise<string> {
  const text = await namespace.exec('ip', '-json', `-${family}`, 'route', 'get', FAR[family]);
  return (JSON.parse(text) as [Route])[0].dev;
}

/** Everything that decides where packets go, in a form that can be compared. */
async function routing(namespace: Namespace): Promise<object> {
  const result: Record<string, unknown> = {};
  for (const family of FAMILIES) {
    const rules = JSON.parse(await namespace.exec('ip', '-json', `-${family}`, 'rule', 'show')) as object[];
    const all = await routes(namespace, family, 'table', 'all');
    const tables = new Map<string, string>();
    // Numbers of tables are given as endpoints come; what matters is which rule leads to which routes.
    const nameOf = (table: string, hint: string): string => {
      if (!/^\d+$/.test(table)) return table;
      if (!tables.has(table)) tables.set(table, hint);
      return tables.get(table)!;
    };
    result[`rules ${family}`] = rules
      .map((rule) => rule as { src: string; table: string; priority: number })
      .map(({ src, table, priority }) => `${priority} from ${src} lookup ${nameOf(table, `of ${src}`)}`)
      .sort();
    result[`routes ${family}`] = all
      .filter(({ dst, dev }) => dev.startsWith('eth') && !/^(fe80|ff00|anycast)/.test(dst))
      .map(
        ({ dst, gateway, dev, metric, table = 'main' }) =>
          `${dst} via ${gateway} dev ${dev} metric ${metric} ${nameOf(table, table)}`,
      )
      .sort();
  }
  return result;
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** Park and Miller's generator, so that a run that fails can be run again. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

test.serial('the highest gateway_priority has the default route, among equals the first network by name', async (t) => {
  for (const { priorities, expected } of [
    { priorities: {}, expected: ['amber', 'blue', 'coral'] },
    { priorities: { blue: 5 }, expected: ['blue', 'amber', 'coral'] },
    { priorities: { amber: -1, coral: 7 }, expected: ['coral', 'blue', 'amber'] },
  ] as const) {
    const many = await createNamespace(t);
    const tapline = await startTapline(t, configOf(many, { order: ['coral', 'amber', 'blue'], priorities }));
    for (const family of FAMILIES) {
      const defaults = await routes(many, family, 'default');
      const ranked = [...defaults].sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
      t.deepEqual(
        ranked.map(({ dev, gateway }) => [dev, gateway]),
        expected.map((name) => [DEVICES[name], addressIn(NETWORKS[name], 1)[family]]),
      );
      t.is(await wayOut(many, family), DEVICES[expected[0]]);
    }
    await tapline.stop();
    t.deepEqual(await routing(many), await routing(await createNamespace(t)), 'nothing is left behind');
  }
});

test.serial('twenty restarts and re-attachments in any order end in the same routes', async (t) => {
  t.timeout(600_000);
  const seed = 1 + Math.floor(Math.random() * 2 ** 30);
  t.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const many = await createNamespace(t);
  const priorities = { blue: 3 };
  let tapline = await startTapline(t, configOf(many, { order: NAMES, priorities }));
  const expected = await routing(many);
  t.regex(JSON.stringify(expected), /default via 172\.30\.42\.1 dev eth1 metric 100 main/);
  for (let round = 0; round < 20; round++) {
    if (round % 4 === 3) tapline = await restarted(t, tapline, many, shuffled(NAMES, random), random() < 0.5);
    else await reattach(tapline, many, shuffled(NAMES, random), priorities, random);
    t.deepEqual(await routing(many), expected, `round ${round}, seed ${seed}`);
  }
});

/** Ends the daemon, in good order or not, and starts it with the endpoints in another order. */
async function restarted(
  t: ExecutionContext,
  tapline: Tapline,
  many: Namespace,
  order: readonly Network[],
  kill: boolean,
): Promise<Tapline> {
  if (kill) {
    tapline.forget();
    await tapline.process.stop('SIGKILL');
  } else {
    await tapline.stop();
  }
  return startTapline(t, configOf(many, { order, priorities: { blue: 3 } }));
}

/** Some of the endpoints go and come again; several at a time, so that one comes before another has settled. */
async function reattach(
  tapline: Tapline,
  many: Namespace,
  order: readonly Network[],
  priorities: Partial<Record<Network, number>>,
  random: () => number,
): Promise<void> {
  const some = order.slice(0, 1 + Math.floor(random() * order.length));
  await Promise.all(some.map((name) => tapline.ok('disconnect', `in-${name}`)));
  const connect = (name: Network): Promise<string> => {
    const addresses = Object.values(addressIn(NETWORKS[name], 2)).flatMap((address) => ['--address', address]);
    const place = ['--netns', many.path, '--name', `in-${name}`, '--interface', DEVICES[name]];
    const priority = ['--gateway-priority', String(priorities[name] ?? 0)];
    return tapline.ok('connect', name, ...place, ...addresses, ...priority);
  };
  await Promise.all(shuffled(some, random).map(connect));
}

test.serial('replies leave by the interface at which the request came in, whoever asks', async (t) => {
  const [host, many, next] = [await createNamespace(t), await createNamespace(t), await createNamespace(t)];
  const outside = await createOutside(t, host, Object.values(NETWORKS).flatMap(subnetsOf).concat(subnetsOf(44)));
  const plan = configOf(many, { order: NAMES }, { uplink: OWN_UPLINK });
  const networks = {
    ...(plan as { networks?: object }).networks,
    other: { subnets: subnetsOf(44), masquerade: false },
  };
  const nextAddresses = addressIn(44, 2);
  const mateAddresses = addressIn(NETWORKS.blue, 3);
  const mate = await createNamespace(t);
  const endpoints = {
    ...plan.endpoints,
    next: { network: 'other', netns: next.path, addresses: Object.values(nextAddresses) },
    mate: { network: 'blue', netns: mate.path, addresses: Object.values(mateAddresses) },
  };
  const tapline = await startTapline(t, { ...plan, networks, endpoints }, { netns: host });
  await startAgent(t, many, 'many');
  const askers: (readonly [Agent, Namespace, Addresses])[] = [
    [await startAgent(t, outside, 'outside'), outside, FAR],
    [await startAgent(t, next, 'next'), next, nextAddresses],
    // On a link of its own with the one it asks, also where it asks for the address in another network.
    [await startAgent(t, mate, 'mate'), mate, mateAddresses],
  ];
  const captures = await Promise.all(
    NAMES.map((name) =>
      tcpdump(t, many, {
        device: DEVICES[name],
        filter: 'tcp or icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129))',
      }),
    ),
  );
  for (const [agent, namespace, own] of askers) {
    for (const family of FAMILIES) {
      for (const name of NAMES) {
        const address = addressIn(NETWORKS[name], 2)[family];
        t.is(await ping(namespace, address), 'reply', `${agent.name} to ${address}`);
        t.deepEqual(await agent.ask(address), { name: 'many', seenAs: own[family] });
      }
    }
  }
  for (const [i, name] of NAMES.entries()) {
    await captures[i]!.frames();
    const rows = await tshark(captures[i]!.path, [
      'ip.src',
      'ip.dst',
      'ipv6.src',
      'ipv6.dst',
      'tcp.stream',
      'icmp.type',
      'icmpv6.type',
    ]);
    const own = addressIn(NETWORKS[name], 2);
    const inbound = rows.filter((row) => row[1] === own[4] || row[3] === own[6]);
    const outbound = rows.filter((row) => row[0] === own[4] || row[2] === own[6]);
    t.is(inbound.length + outbound.length, rows.length, `only packets of its own addresses pass ${DEVICES[name]}`);
    // Per asker and family an echo reply, and of a connection at least SYN, data and FIN.
    t.true(outbound.length >= askers.length * 2 * 3, `${outbound.length} packets have left by ${DEVICES[name]}`);
  }
  await accounted(t, tapline);
});

test.serial('an endpoint that goes takes its rules and routes with it, and leaves those of the others', async (t) => {
  const many = await createNamespace(t);
  const plan: Plan = { order: ['amber', 'blue'] };
  const tapline = await startTapline(t, configOf(many, plan));
  const agent = await startAgent(t, many, 'many');
  const both = await routing(many);
  t.is((both as Record<string, string[]>)['rules 4']!.length, 3 + 2);
  t.is((both as Record<string, string[]>)['rules 6']!.length, 2 + 2);
  const connect = (name: Network): Promise<string> =>
    tapline.ok(
      'connect',
      name,
      '--netns',
      many.path,
      '--name',
      `in-${name}`,
      '--interface',
      DEVICES[name],
      ...Object.values(addressIn(NETWORKS[name], 2)).flatMap((address) => ['--address', address]),
    );
  for (const [gone, left] of [
    ['amber', 'blue'],
    ['blue', 'amber'],
  ] as const) {
    await tapline.ok('disconnect', `in-${gone}`);
    const rest = await routing(many);
    const text = JSON.stringify(rest);
    t.false(text.includes(`172.30.${NETWORKS[gone]}.`), text);
    t.false(text.includes(`fd00:${NETWORKS[gone]}:`), text);
    t.false(text.includes('lookup of'), 'one endpoint needs no rules');
    for (const family of FAMILIES) {
      t.deepEqual(
        (await routes(many, family, 'default')).map(({ dev, gateway }) => [dev, gateway]),
        [[DEVICES[left], addressIn(NETWORKS[left], 1)[family]]],
      );
      t.is(await ping(many, addressIn(NETWORKS[left], 1)[family]), 'reply');
      t.deepEqual(await agent.ask(addressIn(NETWORKS[left], 2)[family]), {
        name: 'many',
        seenAs: addressIn(NETWORKS[left], 2)[family],
      });
    }
    await connect(gone);
    t.deepEqual(await routing(many), both, 'as before, once it is back');
  }
  await accounted(t, tapline);
});
