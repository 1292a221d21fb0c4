import test from 'ava';
import { addressOf } from '../../control/address-words.js';
import { endpointSchema, networkSchema, type PolicyRule, policyRuleSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import {
  POLICY_ACCEPT,
  POLICY_DROP,
  POLICY_REJECT,
  RULE_ACTION,
  RULE_FIRST_PORT,
  RULE_FROM,
  RULE_FROM_FAMILY,
  RULE_FROM_IFACE,
  RULE_LAST_PORT,
  RULE_NUMBER,
  RULE_PROTOCOL,
  RULE_RECORD,
  RULE_TO,
  RULE_TO_FAMILY,
  RULE_TO_IFACE,
} from '../../core/nat/policy.js';
import { config, eventually, type Fixture, makeFixture } from './support/fixture.js';

const FILE = `version: 1
networks:
  blue: { subnets: [172.30.0.0/24, "fd00:30::/64"] }
  red: { subnets: [172.31.0.0/24] }
endpoints:
  a: { network: blue, netns: /ns/a, addresses: [172.30.0.10, "fd00:30::10"], mac: 02:00:00:00:00:0a }
  b: { network: blue, netns: /ns/b, addresses: [172.30.0.11, "fd00:30::11"], mac: 02:00:00:00:00:0b }
  c: { network: red, netns: /ns/c, addresses: [172.31.0.10], mac: 02:00:00:00:00:0c }
`;

interface Lab extends Fixture {
  /** Records as the dataplane has them: number, action, from, to, protocol and ports in words. */
  readonly records: () => string[];
  /** Names of the networks whose frames are judged. */
  readonly filtered: () => string[];
}

const ACTIONS: Readonly<Record<number, string>> = {
  [POLICY_ACCEPT]: 'accept',
  [POLICY_DROP]: 'drop',
  [POLICY_REJECT]: 'reject',
};

async function makeLab(more = '', file = FILE): Promise<Lab> {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  for (const name of ['a', 'b', 'c']) system.addNamespace(`/ns/${name}`);
  system.devices.add('up0');
  await daemon.apply(config(file + more));
  const nameOf = (place: number): string => {
    if (place === 0) return 'any';
    return place < 0
      ? `network ${dataplane.networks.get(-place)?.name}`
      : (daemon.interfaces.nameOf(place) ?? `${place}?`);
  };
  const side = (record: Int32Array, iface: number, family: number, prefix: number): string => {
    const place = nameOf(record[iface]);
    if (record[family] === 0) return place;
    const mapped = [0, 0, 0xffff, record[prefix + 3]];
    const words = record[family] === 4 ? mapped : [...record.subarray(prefix, prefix + 4)];
    return `${place} ${addressOf(words)}/${record[prefix + 4]}`;
  };
  return {
    ...fixture,
    records: () => {
      const all = dataplane.nat.policy;
      return Array.from({ length: all.length / RULE_RECORD }, (_, index) => {
        const record = all.subarray(index * RULE_RECORD, (index + 1) * RULE_RECORD);
        const from = side(record, RULE_FROM_IFACE, RULE_FROM_FAMILY, RULE_FROM);
        const to = side(record, RULE_TO_IFACE, RULE_TO_FAMILY, RULE_TO);
        const ports = `${record[RULE_FIRST_PORT]}-${record[RULE_LAST_PORT]}`;
        return `${record[RULE_NUMBER]} ${ACTIONS[record[RULE_ACTION]]}: ${from} > ${to}, ${record[RULE_PROTOCOL]} ${ports}`;
      });
    },
    filtered: () => {
      const pairs = [...dataplane.nat.filtered];
      return pairs.flatMap((number, index) =>
        index % 2 === 0 ? [`${dataplane.networks.get(number)?.name} as ${nameOf(pairs[index + 1] ?? 0)}`] : [],
      );
    },
  };
}

const rule = (part: Partial<PolicyRule>): PolicyRule => policyRuleSchema.parse({ action: 'drop', ...part });

test('names become interfaces and addresses, lists of them and of ports records each', async (t) => {
  const { records, filtered, daemon } = await makeLab(`policy:
  - { from: { network: blue }, to: { cidr: 10.0.0.0/8 }, proto: tcp, ports: [22, "80-90"], action: drop }
  - { from: { endpoint: b }, to: { endpoint: a }, proto: icmp, action: accept }
  - { to: { cidr: "fd00:99::/32" }, action: reject }
  - { from: { endpoint: b }, to: { endpoint: a }, proto: icmpv6, action: drop }
`);
  t.deepEqual(records(), [
    '0 drop: blue > any 10.0.0.0/8, 6 22-22',
    '0 drop: blue > any 10.0.0.0/8, 6 80-90',
    '1 accept: blue 172.30.0.11/32 > blue 172.30.0.10/32, 1 0-65535',
    '2 reject: any > any fd00:99::/32, 0 0-65535',
    '3 drop: blue fd00:30::11/128 > blue fd00:30::10/128, 58 0-65535',
    '3 drop: blue fd00:30::11/128 > blue fe80::ff:fe00:a/128, 58 0-65535',
    '3 drop: blue fe80::ff:fe00:b/128 > blue fd00:30::10/128, 58 0-65535',
    '3 drop: blue fe80::ff:fe00:b/128 > blue fe80::ff:fe00:a/128, 58 0-65535',
  ]);
  t.deepEqual(filtered(), ['blue as blue']);
  await daemon.stop();
  t.deepEqual(records(), []);
});

test('the default of a network comes last, for what goes to it, from inside as well', async (t) => {
  const { records, filtered, daemon, dataplane } = await makeLab(
    'policy: [{ to: { endpoint: c }, action: accept }]\n',
    FILE.replace('172.31.0.0/24]', '172.31.0.0/24], policy: reject'),
  );
  t.deepEqual(records(), [
    '0 accept: any > red 172.31.0.10/32, 0 0-65535',
    '0 accept: any > red fe80::ff:fe00:c/128, 0 0-65535',
    '1 reject: any > red, 0 0-65535',
  ]);
  t.deepEqual(filtered(), ['red as red']);
  dataplane.nat.policyHits[1] = 7;
  t.like(daemon.policy.list().at(-1), { number: null, from: null, to: { network: 'red' }, action: 'reject', hits: 7 });
  await daemon.removeNetwork('red', true);
  t.deepEqual(records(), []);
  t.is(daemon.policy.list().length, 1);
  // Another default under the number of the one that is no more begins at zero.
  await daemon.createNetwork('green', networkSchema.parse({ subnets: ['172.32.0.0/24'], policy: 'drop' }));
  t.deepEqual(records(), ['1 drop: any > green, 0 0-65535']);
  t.is(daemon.policy.list().at(-1)?.hits, 0);
});

test('frames from endpoint to endpoint are judged only where a rule may refuse one', async (t) => {
  const { daemon, filtered } = await makeLab();
  const after = async (part: Partial<PolicyRule>): Promise<string[]> => {
    const number = await daemon.addRule(rule(part), null);
    const names = filtered();
    await daemon.removeRule(number);
    return names;
  };
  t.deepEqual(await after({ proto: 'tcp', ports: [22] }), ['blue as blue', 'red as red']);
  t.deepEqual(await after({ action: 'accept' }), []);
  t.deepEqual(await after({ from: { endpoint: 'a' }, to: { endpoint: 'b' } }), ['blue as blue']);
  t.deepEqual(await after({ from: { endpoint: 'a' }, to: { endpoint: 'c' } }), []);
  t.deepEqual(await after({ from: { network: 'red' } }), ['red as red']);
  t.deepEqual(await after({ to: { cidr: '172.30.0.128/25' } }), ['blue as blue']);
  t.deepEqual(await after({ to: { cidr: '10.0.0.0/8' } }), []);
  t.deepEqual(await after({ to: { cidr: 'fe80::/10' } }), ['blue as blue', 'red as red']);
  // One that may speak from anywhere.
  await daemon.disconnect('b');
  await daemon.connect('b', endpointSchema.parse({ network: 'blue', netns: '/ns/b', security: 'off' }));
  t.deepEqual(await after({ to: { cidr: '10.0.0.0/8' } }), ['blue as blue']);
});

test('a network whose gateway is outside has a place of its own', async (t) => {
  const { records, filtered } = await makeLab(
    'uplink: { device: up0, mode: bridged, network: blue }\npolicy: [{ from: { cidr: 10.0.0.0/8 }, to: { network: blue }, action: drop }]\n',
  );
  t.deepEqual(records(), ['0 drop: any 10.0.0.0/8 > network blue, 0 0-65535']);
  t.deepEqual(filtered(), ['blue as network blue']);
});

test('rules follow their endpoint, and are there before its port is', async (t) => {
  const { daemon, dataplane, records } = await makeLab(
    'policy: [{ from: { endpoint: b }, to: { network: red }, action: drop }]\n',
  );
  t.like(daemon.policy.view(1), { state: 'active', reason: '' });
  await daemon.disconnect('b');
  t.like(daemon.policy.view(1), { state: 'waiting', reason: 'endpoint b is not up' });
  let seen: string[] = [];
  dataplane.beforeAnswer = () => {
    seen = records();
  };
  const addresses = ['172.30.0.77', 'fd00:30::11'];
  await daemon.connect(
    'b',
    endpointSchema.parse({
      network: 'blue',
      netns: '/ns/b',
      addresses,
      mac: '02:00:00:00:00:0b',
      allowed_addresses: ['10.8.0.0/16'],
    }),
  );
  t.deepEqual(seen, [
    '0 drop: blue 172.30.0.77/32 > red, 0 0-65535',
    '0 drop: blue fd00:30::11/128 > red, 0 0-65535',
    '0 drop: blue fe80::ff:fe00:b/128 > red, 0 0-65535',
    '0 drop: blue 10.8.0.0/16 > red, 0 0-65535',
  ]);
  t.is(daemon.policy.view(1).state, 'active');
});

test('an endpoint or a network that rules name and that is away stops nobody else', async (t) => {
  const { daemon } = await makeLab('policy: [{ from: { endpoint: b }, to: { network: red }, action: drop }]\n');
  await daemon.disconnect('b');
  await daemon.removeNetwork('red', true);
  await daemon.connect('d', endpointSchema.parse({ network: 'blue', netns: '/ns/b' }));
  await daemon.createNetwork('green', networkSchema.parse({ subnets: ['172.33.0.0/24'] }));
  t.is(daemon.policy.view(1).reason, 'endpoint b is not up');
});

test('added at a place, removed by number; hits stay with their rule', async (t) => {
  const { daemon, dataplane, records } = await makeLab();
  const { policyHits } = dataplane.nat;
  t.is(await daemon.addRule(rule({ proto: 'udp' }), null), 1);
  t.is(await daemon.addRule(rule({ proto: 'tcp' }), null), 2);
  policyHits[0] = 3;
  policyHits[1] = 4;
  t.is(await daemon.addRule(rule({ action: 'accept' }), 1), 1);
  const brief = (): string[] =>
    daemon.policy.list().map(({ number, action, proto, hits }) => `${number} ${action} ${proto} ${hits}`);
  t.deepEqual(brief(), ['1 accept null 0', '2 drop udp 3', '3 drop tcp 4']);
  t.deepEqual(records(), [
    '2 accept: any > any, 0 0-65535',
    '0 drop: any > any, 17 0-65535',
    '1 drop: any > any, 6 0-65535',
  ]);
  await daemon.removeRule(2);
  t.deepEqual(brief(), ['1 accept null 0', '2 drop tcp 4']);
  // The number of the one that is gone is taken again; its hits are not.
  await daemon.addRule(rule({ proto: 'sctp' }), 2);
  t.deepEqual(brief(), ['1 accept null 0', '2 drop sctp 0', '3 drop tcp 4']);
  policyHits[0] = 5;
  t.is(daemon.policy.view(2).hits, 2);
});

test('the dataplane is told only where something has changed', async (t) => {
  const { daemon, dataplane } = await makeLab('policy: [{ to: { cidr: 10.0.0.0/8 }, action: drop }]\n');
  const before = dataplane.nat.policyChanges;
  await daemon.disconnect('b');
  await daemon.connect('b', endpointSchema.parse({ network: 'blue', netns: '/ns/b' }));
  t.is(dataplane.nat.policyChanges, before);
});

test('a VRF tracks connections as long as there is a rule', async (t) => {
  const { daemon, dataplane } = await makeLab();
  const tracking = (): boolean[] => [...dataplane.vrfs.values()].map((vrf) => vrf.tracking);
  t.deepEqual(tracking(), [false]);
  await daemon.addRule(rule({}), null);
  t.deepEqual(tracking(), [true]);
  await daemon.removeRule(1);
  t.deepEqual(tracking(), [false]);
});

test('what the dataplane refuses is not kept; the next change brings it up to date', async (t) => {
  const { daemon, dataplane, records, logs } = await makeLab();
  dataplane.nat.failing.add('setPolicy');
  await t.throwsAsync(daemon.addRule(rule({}), null), {
    instanceOf: TaplineError,
    message: 'EIO setPolicy told to fail',
  });
  t.deepEqual(daemon.policy.list(), []);
  await daemon.addRule(rule({ from: { endpoint: 'b' }, to: { cidr: '10.0.0.0/8' } }), null);
  await daemon.disconnect('b');
  dataplane.nat.failing.add('setPolicy');
  const connect = (name: string, address: string): Promise<unknown> =>
    daemon.connect(
      name,
      endpointSchema.parse({ network: 'blue', netns: '/ns/b', interface: `e${name}`, addresses: [address] }),
    );
  await connect('b', '172.30.0.99');
  t.true(logs.includes('error the policy cannot be brought up to date: EIO setPolicy told to fail'));
  await connect('d', '172.30.0.98');
  t.regex(records()[0] ?? '', /172\.30\.0\.99/);
});

const REFUSED: readonly (readonly [string, Partial<PolicyRule>, number | null, string])[] = [
  [
    'a network that is not there',
    { to: { network: 'x' } },
    null,
    'missing to.network: expected the name of a network, got "x"',
  ],
  [
    'an endpoint that is not there',
    { from: { endpoint: 'x' } },
    null,
    'missing from.endpoint: expected the name of an endpoint, got "x"',
  ],
  ['ports of no protocol', { ports: [22] }, null, 'invalid ports: ports need proto: tcp, proto: udp or proto: sctp'],
  [
    'two families',
    { from: { cidr: '10.0.0.0/8' }, to: { cidr: 'fd00::/8' } },
    null,
    'invalid to.cidr: expected an IPv4 prefix, as from has one, got fd00::/8',
  ],
  [
    'the protocol of the other family',
    { to: { cidr: 'fd00::/8' }, proto: 'icmp' },
    null,
    'invalid proto: expected icmpv6, as the prefix is IPv6, got icmp',
  ],
  ['a place beyond the end', {}, 3, 'invalid position: expected a position from 1 to 1, got 3'],
];

for (const [what, part, position, line] of REFUSED) {
  test(`refused: ${what}`, async (t) => {
    const { daemon } = await makeLab();
    const error = await t.throwsAsync(daemon.addRule(rule(part), position), { instanceOf: TaplineError });
    t.is(`${error.kind} ${error.message}`, line);
    t.deepEqual(daemon.policy.list(), []);
  });
}

test('a rule that is not there', async (t) => {
  const { daemon } = await makeLab();
  await t.throwsAsync(daemon.removeRule(1), { message: 'no rule 1; there is none' });
  await daemon.addRule(rule({}), null);
  await t.throwsAsync(daemon.removeRule(2), { message: 'no rule 2; expected a number from 1 to 1' });
});

const CHECKED = `services:
  web: { network: blue, listen: ["172.30.0.9:8080"], backends: [{ endpoint: a, port: 80 }], health: { type: tcp } }
`;
const CHECKERS = ['172.30.0.254/32', 'fd00:30::ffff:ffff:ffff:ff7f/128'];

function hasPort({ dataplane }: Lab): boolean {
  return [...dataplane.livePorts.values()].some(({ name }) => name === 'health:blue');
}

test('health checks come before all rules, in networks where anybody asks', async (t) => {
  const lab = await makeLab(CHECKED);
  const { daemon } = lab;
  await eventually(() => hasPort(lab));
  // Nobody is refused anything: nothing is asked.
  t.deepEqual(lab.records(), []);
  const refusing = rule({ to: { endpoint: 'a' }, proto: 'tcp', ports: [80] });
  await daemon.addRule(refusing, null);
  const records = lab.records();
  t.deepEqual(lab.filtered(), ['blue as blue']);
  for (const address of CHECKERS)
    t.true(
      records.slice(0, 3).some((text) => text.endsWith(`accept: blue ${address} > blue, 0 0-65535`)),
      address,
    );
  t.true(
    records.slice(3).every((text) => text.includes('drop')),
    records.join('\n'),
  );
  // It is no rule of the user's.
  t.is(daemon.policy.list().length, 1);
  t.is(daemon.policy.list()[0]?.action, 'drop');
  await daemon.removeRule(1);
  t.deepEqual(lab.records(), []);
  await daemon.removeService('web');
  await daemon.addRule(refusing, null);
  await eventually(() => !hasPort(lab));
  t.false(lab.records().some((text) => text.includes('accept')));
});
