/** Uplinks where the router has its own MAC and addresses on the wire (own, routed), against real kernels on both sides. */

import test, { type ExecutionContext } from 'ava';
import type { EventView } from '../../control/events.js';
import type { RouteView } from '../../control/router-views.js';
import { tcpdump, tshark } from './support/frames.js';
import {
  addOutsideAddresses,
  answers,
  balance,
  createOutdoors,
  HOST,
  neighborMac,
  OUTSIDE,
  type Outdoors,
  pingCount,
  ROUTER,
  routeBack,
  SUBNETS,
  snapshot,
  uplinkOf,
  wireUp,
} from './support/host.js';
import { iperfServer, iperfWhole } from './support/iperf.js';
import { createHosts, type Host } from './support/lab.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { ENGINES, failTapline, type StartOptions, startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';
import { endpointsOf } from './support/wire.js';

const BACK_IN_TIME_MS = 10_000;

const OWN = {
  device: 'up0',
  mode: 'own',
  addresses: [`${ROUTER.ip}/24`, `${ROUTER.ip6}/64`],
  gateways: [OUTSIDE.ip, OUTSIDE.ip6],
};

const ownConfig = (hosts: readonly Host[], uplink: object = {}): object => ({
  version: 1,
  uplink: { ...OWN, ...uplink },
  networks: { blue: { subnets: [SUBNETS.v4, SUBNETS.v6], masquerade: false } },
  endpoints: endpointsOf(hosts),
});

interface Scene extends Outdoors {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  /** The host as it was before Tapline started. */
  readonly before: string;
}

async function createOwn(t: ExecutionContext, options: StartOptions = {}): Promise<Scene> {
  const outdoors = await createOutdoors(t);
  await routeBack(outdoors.outside, ROUTER);
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const before = await snapshot(outdoors);
  const tapline = await startTapline(t, ownConfig([a, b]), { ...options, netns: outdoors.host });
  return { ...outdoors, tapline, a, b, before };
}

const routes = async (tapline: Tapline): Promise<RouteView[]> =>
  JSON.parse(await tapline.ok('show', 'route', '--json')) as RouteView[];

const defaultState = async (tapline: Tapline): Promise<string | undefined> =>
  (await routes(tapline)).find(({ prefix }) => prefix === '0.0.0.0/0')?.state;

/** The MAC by which the kernel of a namespace would send to an address of its wire now; empty where nobody says. */
async function resolved(namespace: Namespace, address: string): Promise<string> {
  await namespace.run(['ping', '-n', '-c', '1', '-W', '4', address]);
  return neighborMac(namespace, address, 'out0');
}

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? '';

for (const engine of ENGINES) {
  test.serial(`${engine}: own: containers and the outside reach each other; the host stays as it is`, async (t) => {
    const scene = await createOwn(t, { engine });
    const { tapline, a, b, host, outside, before } = scene;
    const { mac } = await uplinkOf(tapline);
    for (const [from, to] of [
      [a, OUTSIDE.ip],
      [a, OUTSIDE.ip6],
      [a, OUTSIDE.far],
      [outside, b.ip],
      [outside, b.ip6],
      [outside, ROUTER.ip],
      [outside, ROUTER.ip6],
      [outside, HOST.ip],
      [host, OUTSIDE.ip],
    ] as const) {
      const { sent, received, duplicates, text } = await pingCount(from, to, ...burst(3));
      t.deepEqual([sent, received, duplicates], [3, 3, 0], text);
    }
    t.is(await neighborMac(outside, ROUTER.ip, 'out0'), mac);
    t.is(await neighborMac(outside, ROUTER.ip6, 'out0'), mac);
    const [link] = JSON.parse(await host.exec('ip', '-json', 'link', 'show', 'up0')) as [{ address: string }];
    t.not(mac, link.address);
    t.is(await neighborMac(outside, HOST.ip, 'out0'), link.address);
    const who = await outside.exec('arping', '-c', '2', '-I', 'out0', '-b', ROUTER.ip);
    t.regex(who, /Received 2 (response|repl)/, 'one answer to each question');

    await iperfServer(outside);
    for (const address of [OUTSIDE.ip, OUTSIDE.ip6]) {
      for (const direction of [[], ['--reverse']]) await iperfWhole(a, address, 64, ...direction);
    }
    const { came, went } = await balance(tapline);
    t.is(came, went);
    t.is(await snapshot(scene, true), before.replace(/promiscuity \d+/g, ''), 'while it runs');
    await tapline.stop();
    t.is(await snapshot(scene), before, 'at its end');
  });
}

test.serial('own: the router asks and answers on the wire for itself alone', async (t) => {
  const { tapline, a, outside } = await createOwn(t);
  const wire = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'arp or icmp6' });
  await outside.exec('ip', 'neighbor', 'flush', 'dev', 'out0');
  for (const address of [a.ip, a.ip6]) t.true(await answers(outside, address));
  // Containers are not on the wire: nobody answers for them, nor for who is not there.
  for (const address of [a.ip, '10.77.0.77'])
    t.not((await outside.run(['arping', '-c', '1', '-w', '1', '-I', 'out0', address])).code, 0);
  t.is(await resolved(outside, 'fd00:77::77'), '');
  await wire.frames();
  const { mac } = await uplinkOf(tapline);
  const fromRouter = `eth.src == ${mac}`;
  const senders = await tshark(wire.path, ['arp.src.proto_ipv4'], `arp && ${fromRouter}`);
  t.deepEqual([...new Set(senders.flat())], [ROUTER.ip]);
  const targets = await tshark(wire.path, ['icmpv6.nd.na.target_address'], `icmpv6.type == 136 && ${fromRouter}`);
  t.true(targets.flat().every((target) => target === ROUTER.ip6 || target.startsWith('fe80:')));
  t.true(targets.flat().includes(ROUTER.ip6));
});

test.serial('own: a link that goes down takes its routes along, and brings them back', async (t) => {
  const { tapline, a, host, outside } = await createOwn(t);
  t.true(await answers(a, OUTSIDE.far));
  for (const [namespace, device, why] of [
    [host, 'up0', 'up0 is set down'],
    [outside, 'out0', 'up0 has no carrier'],
  ] as const) {
    await namespace.exec('ip', 'link', 'set', device, 'down');
    await eventually('the uplink to be down', async () => (await uplinkOf(tapline)).state === 'down');
    t.is((await uplinkOf(tapline)).why, why);
    const told = await pingCount(a, OUTSIDE.far, '-c', '1');
    t.regex(told.text, /From 172\.30\.0\.1 .*Destination Net Unreachable/);
    const told6 = await pingCount(a, OUTSIDE.ip6, '-c', '1');
    t.regex(told6.text, /From fd00:30::1 .*Destination unreachable: No route/);
    t.is(await defaultState(tapline), 'inactive');
    t.true(await answers(a, '172.30.0.1'), 'the gateway itself is there');

    await namespace.exec('ip', 'link', 'set', device, 'up');
    const start = performance.now();
    await eventually('the uplink to be up', async () => (await uplinkOf(tapline)).state === 'up');
    t.true(performance.now() - start < BACK_IN_TIME_MS);
    if (namespace === outside) {
      await addOutsideAddresses(outside);
      await routeBack(outside, ROUTER);
    }
    await eventually('the outside to answer', () => answers(a, OUTSIDE.far));
    t.is(await defaultState(tapline), 'active');
  }
});

test.serial(
  'own: a device that is deleted and made anew is taken up again, with the same MAC and routes',
  async (t) => {
    const { tapline, a, host, outside } = await createOwn(t);
    t.true(await answers(a, OUTSIDE.far));
    const { mac } = await uplinkOf(tapline);
    for (let i = 0; i < 2; i++) {
      await host.exec('ip', 'link', 'delete', 'up0');
      await eventually('the loss to be seen', async () => (await uplinkOf(tapline)).why === 'its device is away');
      t.regex((await pingCount(a, OUTSIDE.far, '-c', '1')).text, /Destination Net Unreachable/);
      await wireUp(host, outside);
      await routeBack(outside, ROUTER);
      await eventually('the outside to answer', () => answers(a, OUTSIDE.far));
      t.true(await answers(outside, a.ip6));
      t.is((await uplinkOf(tapline)).mac, mac);
    }
    t.regex(tapline.process.stderr(), /uplink up0 is down: its device is away/);
    t.regex(tapline.process.stderr(), /uplink up0 is back/);
    const { came, went } = await balance(tapline);
    t.is(came, went);
  },
);

test.serial('own: the MTU of the device is followed, and containers are told', async (t) => {
  const { tapline, a, host, outside } = await createOwn(t);
  await iperfServer(outside);
  for (const mtu of [1400, 1500]) {
    for (const [namespace, device] of [
      [host, 'up0'],
      [outside, 'out0'],
    ] as const)
      await namespace.exec('ip', 'link', 'set', device, 'mtu', `${mtu}`);
    await eventually('the MTU to be followed', async () => (await uplinkOf(tapline)).mtu === mtu);
    // What the container has learned before holds for minutes.
    for (const family of ['-4', '-6']) await a.exec('ip', family, 'route', 'flush', 'cache');
    const [four, six] = [mtu - 28, mtu - 48];
    const options = ['-c', '1', '-M', 'do', '-s'];
    t.is((await pingCount(a, OUTSIDE.ip, ...options, `${four}`)).received, 1);
    t.is((await pingCount(a, OUTSIDE.ip6, ...options, `${six}`)).received, 1);
    if (mtu < 1500) {
      const told = await pingCount(a, OUTSIDE.ip, ...options, `${four + 1}`);
      t.regex(told.text, /From 172\.30\.0\.1 .*Frag needed and DF set \(mtu = 1400\)/);
      const told6 = await pingCount(a, OUTSIDE.ip6, ...options, `${six + 1}`);
      t.regex(told6.text, /From fd00:30::1 .*Packet too big: mtu=1400/);
    }
    await iperfWhole(a, OUTSIDE.ip, 32);
  }
});

test.serial('routed: who answers for prefixes of the wire makes containers reachable without any route', async (t) => {
  const outdoors = await createOutdoors(t);
  const { host, outside } = outdoors;
  const before = await snapshot(outdoors);
  const c = await createNamespace(t);
  const inside = { ip: '10.77.0.130', ip6: 'fd00:77::1:0:0:2' };
  const subnets = ['10.77.0.128/28', 'fd00:77::1:0:0:0/80'];
  const uplink = { ...OWN, mode: 'routed', proxy: subnets };
  const config = {
    version: 1,
    uplink,
    networks: { blue: { subnets } },
    endpoints: { c: { network: 'blue', netns: c.path, addresses: [inside.ip, inside.ip6] } },
  };
  const tapline = await startTapline(t, config, { netns: host });
  const { mac } = await uplinkOf(tapline);
  t.notRegex(await outside.exec('ip', 'route'), /via/);
  for (const [from, to] of [
    [outside, inside.ip],
    [outside, inside.ip6],
    [c, OUTSIDE.ip],
    [c, OUTSIDE.ip6],
    [c, OUTSIDE.far],
    [outside, HOST.ip],
  ] as const) {
    const { received, duplicates, text } = await pingCount(from, to, ...burst(3));
    t.deepEqual([received, duplicates], [3, 0], text);
  }
  t.is(await neighborMac(outside, inside.ip, 'out0'), mac);
  t.is(await neighborMac(outside, inside.ip6, 'out0'), mac);

  const asked = async (address: string): Promise<boolean> =>
    (await outside.run(['arping', '-c', '1', '-w', '2', '-I', 'out0', address])).code === 0;
  t.true(await asked('10.77.0.143'), 'the last of the prefix');
  t.false(await asked('10.77.0.144'), 'the one behind it');
  t.false(await asked('10.77.0.127'), 'the one before it');
  t.is(await resolved(outside, 'fd00:77::1:ffff:ffff:ffff'), mac);
  t.is(await resolved(outside, 'fd00:77::2:0:0:2'), '');

  await iperfServer(c);
  await iperfWhole(outside, inside.ip, 32);
  const { came, went } = await balance(tapline);
  t.is(came, went);
  await tapline.stop();
  t.is(await snapshot(outdoors), before);
  await outside.exec('ip', 'neighbor', 'flush', 'dev', 'out0');
  t.false(await answers(outside, inside.ip));
});

test.serial('own: who else has the address of the uplink is said', async (t) => {
  const { tapline, outside } = await createOwn(t);
  await outside.exec('ip', 'address', 'add', `${ROUTER.ip}/32`, 'dev', 'lo');
  const [out] = JSON.parse(await outside.exec('ip', '-json', 'link', 'show', 'out0')) as [{ address: string }];
  await outside.exec('arping', '-U', '-c', '1', '-I', 'out0', ROUTER.ip);
  const conflicts = async (): Promise<EventView[]> =>
    (await tapline.events()).filter(({ kind }) => kind === 'address-conflict');
  await eventually('the conflict to be said', async () => (await conflicts()).length > 0);
  t.like((await conflicts())[0], { address: ROUTER.ip, mac: out.address, port: 'uplink' });
});

const WIRE = { device: 'up0', mode: 'own', addresses: [`${ROUTER.ip}/24`] };

test.serial('what cannot be is refused with the key at fault, and the host left as it was', async (t) => {
  const outdoors = await createOutdoors(t);
  const { host } = outdoors;
  const before = await snapshot(outdoors);
  const [link] = JSON.parse(await host.exec('ip', '-json', 'link', 'show', 'up0')) as [{ address: string }];
  const cases: [object, RegExp][] = [
    [{ ...WIRE, device: 'up9' }, /uplink\.device: expected an existing network device, got up9 \(.*\)/],
    [{ device: 'up9', mode: 'shared' }, /uplink\.device: expected an existing network device, got up9 \(.*\)/],
    [
      { ...WIRE, addresses: [`${HOST.ip}/24`] },
      /uplink\.addresses\[0\]: 10\.77\.0\.1 is an address of the host's up0; .*/,
    ],
    [{ ...WIRE, mac: link.address }, /uplink\.mac: \S+ is the MAC of the host's up0; .*/],
    [
      { ...WIRE, gateway: '10.78.0.254' },
      /uplink\.gateway: expected an address on the wire of 10\.77\.0\.9\/24, got 10\.78\.0\.254/,
    ],
    [{ ...WIRE, gateway: ROUTER.ip }, /uplink\.gateway: 10\.77\.0\.9 is the uplink's own address/],
    [
      { ...WIRE, addresses: ['172.30.0.9/16'] },
      /uplink\.addresses\[0\]: 172\.30\.0\.9\/16 overlaps 172\.30\.0\.0\/24 of network blue/,
    ],
    [[WIRE, { ...WIRE, device: 'up1' }], /uplink: expected a mapping with device and mode.*/],
  ];
  for (const [uplink, line] of cases) {
    const config = { version: 1, uplink, networks: { blue: { subnets: [SUBNETS.v4] } } };
    const { code, stdout, stderr, file } = await failTapline(t, config, { netns: host });
    t.is(code, 2, stderr);
    t.is(stdout, '');
    t.regex(lastLine(stderr), new RegExp(`^tapline: ${file}: ${line.source}$`));
  }
  t.is(await snapshot(outdoors), before);
});
