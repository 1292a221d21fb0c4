/** The uplink that shares the host's MAC and addresses: what the host's own stack does, is spared, and gets back. */

import test, { type ExecutionContext } from 'ava';
import type { NeighborView, RouteView } from '../../control/router-views.js';
import { nftProgram } from '../../io/nft.js';
import { type Tcpdump, tcpdump } from './support/frames.js';
import {
  addHostAddresses,
  addOutsideAddresses,
  answers,
  balance,
  createOutdoors,
  HOST,
  makeForward,
  neighborMac,
  OUTSIDE,
  type Outdoors,
  pingCount,
  report,
  routeBack,
  SUBNETS,
  snapshot,
  uplinkOf,
  wireUp,
} from './support/host.js';
import { iperfServer, iperfWhole } from './support/iperf.js';
import { createHosts, type Host } from './support/lab.js';
import type { Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { ENGINES, type Engine, prepare, startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';
import { endpointsOf } from './support/wire.js';

const GUARD = 'tapline_up0';
const PATIENCE_MS = 15_000;

interface Scene extends Outdoors {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  readonly before: string;
}

const sharedConfig = (hosts: readonly Host[]): object => ({
  version: 1,
  uplink: { device: 'up0', mode: 'shared' },
  networks: {
    blue: { subnets: [SUBNETS.v4, SUBNETS.v6], masquerade: false },
    lonely: { subnets: ['172.31.0.0/24'], internal: true },
  },
  endpoints: endpointsOf(hosts),
});

async function addOthersRules({ nft }: Outdoors): Promise<void> {
  await nft('add', 'table', 'inet', 'others');
  await nft('add', 'chain', 'inet', 'others', 'input', '{ type filter hook input priority 0; policy accept; }');
}

/** A host that forwards, as Docker makes it, with rules of its own; its stack would answer for the containers if it could. */
async function createForwardingHost(t: ExecutionContext): Promise<Outdoors> {
  const outdoors = await createOutdoors(t);
  await makeForward(outdoors.host);
  // Accepting nothing of the outside's advertisements is what a router does; its addresses went with the change.
  await addHostAddresses(outdoors.host);
  await addOthersRules(outdoors);
  await routeBack(outdoors.outside, HOST);
  return outdoors;
}

async function createShared(t: ExecutionContext, engine: Engine | 'auto' = 'auto'): Promise<Scene> {
  const outdoors = await createForwardingHost(t);
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const before = await snapshot(outdoors);
  const tapline = await startTapline(t, sharedConfig([a, b]), { engine, netns: outdoors.host });
  return { ...outdoors, tapline, a, b, before };
}

/** As nft lists it; empty where there is none. */
const guard = async ({ host }: Outdoors): Promise<string> =>
  (await host.run([nftProgram(), 'list', 'table', 'netdev', GUARD])).stdout;

/** What the host's stack did with packets for containers: forwarded them, or said something about them. */
const HOST_MEDDLES = [
  'dst net 172.30.0.0/24',
  'dst net fd00:30::/64',
  '(icmp and (icmp[0] == 3 or icmp[0] == 5 or icmp[0] == 11))',
  '(icmp6 and (ip6[40] == 1 or ip6[40] == 3 or ip6[40] == 137))',
].join(' or ');

const watchHost = (t: ExecutionContext, outside: Namespace): Promise<Tcpdump> =>
  tcpdump(t, outside, { device: 'out0', direction: 'in', filter: HOST_MEDDLES });

test.serial('control: without Tapline the forwarding host does meddle with what is for containers', async (t) => {
  const { outside } = await createForwardingHost(t);
  const meddling = await watchHost(t, outside);
  t.is((await pingCount(outside, '172.30.0.2', '-c', '2', '-i', '0.2', '-W', '1')).received, 0);
  t.is((await pingCount(outside, 'fd00:30::2', '-c', '2', '-i', '0.2', '-W', '1')).received, 0);
  t.true((await meddling.frames()).length >= 4);
});

for (const engine of ENGINES) {
  test.serial(`${engine}: containers and the outside reach each other through the host's own address`, async (t) => {
    const scene = await createShared(t, engine);
    const { tapline, a, b, host, outside, before } = scene;
    const { mac, addresses, gateways, mtu } = await uplinkOf(tapline);
    const [link] = JSON.parse(await host.exec('ip', '-json', 'link', 'show', 'up0')) as [{ address: string }];
    t.is(mac, link.address);
    t.deepEqual(addresses, [`${HOST.ip}/24`, `${HOST.ip6}/64`]);
    t.deepEqual([gateways, mtu], [[OUTSIDE.ip, OUTSIDE.ip6], 1500]);

    const meddling = await watchHost(t, outside);
    const seen = await tcpdump(t, outside, {
      device: 'out0',
      direction: 'in',
      filter: 'icmp[0] == 8 or ip6[40] == 128',
    });
    for (const [from, to] of [
      [a, OUTSIDE.ip],
      [a, OUTSIDE.ip6],
      [a, OUTSIDE.far],
      [outside, b.ip],
      [outside, b.ip6],
      [outside, HOST.ip],
      [outside, HOST.ip6],
      [host, OUTSIDE.ip],
      [host, OUTSIDE.ip6],
    ] as const) {
      const { sent, received, duplicates, text } = await pingCount(from, to, ...burst(3));
      t.deepEqual([sent, received, duplicates], [3, 3, 0], text);
    }
    const sources = (await seen.frames()).map((frame) =>
      frame.readUInt16BE(12) === 0x800 ? frame.toString('hex', 26, 30) : frame.toString('hex', 22, 38),
    );
    const [v4, v6] = ['ac1e0002', `fd000030${'0'.repeat(23)}2`];
    t.is(sources.filter((source) => source === v4).length, 6, 'with its own address, each once');
    t.is(sources.filter((source) => source === v6).length, 3);
    t.is(sources.length, 6 + 3 + 6);
    t.is(await neighborMac(outside, HOST.ip, 'out0'), link.address);

    // Both at once, each way: the host's stack and Tapline on one wire.
    for (const port of [5201, 5202]) await iperfServer(outside, port);
    for (const [address, ...options] of [
      [OUTSIDE.ip],
      [OUTSIDE.ip, '--reverse'],
      [OUTSIDE.ip6],
      [OUTSIDE.ip6, '--reverse'],
    ] as [string, ...string[]][]) {
      await Promise.all([
        iperfWhole(a, address, 128, ...options),
        iperfWhole(host, address, 128, '--port', '5202', ...options),
      ]);
    }
    t.deepEqual(await meddling.frames(), [], 'nothing of it reached the stack of the host');
    const { came, went } = await balance(tapline);
    t.is(came, went);

    const rules = await guard(scene);
    t.regex(rules, /device "up0" priority -500/);
    t.regex(rules, /elements = \{ 172\.30\.0\.0\/24 \}/);
    t.regex(rules, /elements = \{ fd00:30::\/64 \}/);
    t.notRegex(rules, /172\.31/, 'nobody outside reaches an internal network');
    await tapline.stop();
    t.is(await snapshot(scene), before);
  });
}

test.serial('the guard is back within a second after the rules were flushed, and nobody notices', async (t) => {
  const scene = await createShared(t);
  const { tapline, b, outside, nft, before } = scene;
  const whole = await guard(scene);
  const pinging = pingCount(outside, b.ip, '-c', '400', '-i', '0.02');
  const rows: string[][] = [['what', 'seconds until the guard was whole again']];
  const taken: number[] = [];
  /** Seconds that one look at the guard took at most: as slow is the machine at all else. */
  let slowest = 0;
  for (const [what, ...words] of [
    ['nft flush ruleset', 'flush', 'ruleset'],
    ['nft flush ruleset', 'flush', 'ruleset'],
    ['its table deleted', 'delete', 'table', 'netdev', GUARD],
    ['its chain emptied', 'flush', 'chain', 'netdev', GUARD, 'ingress'],
    ['an address taken from it', 'delete', 'element', 'netdev', GUARD, 'subnets4', '{ 172.30.0.0/24 }'],
  ] as const) {
    await nft(...words);
    const start = performance.now();
    for (let looked = start; (await guard(scene)) !== whole; looked = performance.now()) {
      slowest = Math.max(slowest, (performance.now() - looked) / 1000);
      if (performance.now() - start > PATIENCE_MS) throw new Error(`${what}: the guard stays away`);
    }
    const seconds = (performance.now() - start) / 1000;
    taken.push(seconds);
    rows.push([what, seconds.toFixed(3)]);
    await sleep(500);
  }
  report(t, 'The guard of a shared uplink heals', rows);
  t.log(`$ nft list table netdev ${GUARD}\n${await guard(scene)}`);
  t.true(
    taken.every((seconds) => seconds < 1 + 10 * slowest),
    rows.join('; '),
  );
  const { sent, text } = await pinging;
  const answered = new Set([...text.matchAll(/ icmp_seq=(\d+) ttl/g)].map(([, sequence]) => Number(sequence)));
  // For the last one ping does not wait long.
  const missing = Array.from({ length: sent - 1 }, (_, index) => index + 1).filter((one) => !answered.has(one));
  t.deepEqual([sent, missing], [400, []], text);
  t.regex(tapline.process.stderr(), /the guard of uplink up0 was gone from nftables, and is back/);
  await tapline.stop();
  t.notRegex(await nft('list', 'ruleset'), /tapline/);
  // The flush took the rules of others too, which are theirs to put back.
  await addOthersRules(scene);
  t.is(await snapshot(scene), before);
});

test.serial('addresses, gateway and MTU of the host are followed', async (t) => {
  const scene = await createShared(t);
  const { tapline, a, b, host, outside } = scene;
  t.true(await answers(a, OUTSIDE.far));

  // Another address in the place of the first.
  const moved = { ip: '10.77.0.2', ip6: 'fd00:77::2' };
  for (const [add, remove] of [
    [`${moved.ip}/24`, `${HOST.ip}/24`],
    [`${moved.ip6}/64`, `${HOST.ip6}/64`],
  ] as const) {
    // First the old one: with it the kernel takes away all others of its subnet.
    await host.exec('ip', 'address', 'delete', remove, 'dev', 'up0');
    await host.exec('ip', 'address', 'add', add, 'dev', 'up0');
  }
  await host.exec('ip', 'route', 'replace', 'default', 'via', OUTSIDE.ip);
  await eventually('the addresses to be followed', async () => {
    const { addresses, gateways } = await uplinkOf(tapline);
    return `${addresses}` === `${moved.ip}/24,${moved.ip6}/64` && gateways.length === 2;
  });
  await routeBack(outside, moved);
  for (const [from, to] of [
    [outside, b.ip],
    [outside, b.ip6],
    [a, OUTSIDE.far],
    [a, OUTSIDE.ip6],
    [outside, moved.ip],
  ] as const)
    t.true(await answers(from, to), to);

  // Another gateway: whoever is off the wire is reached by it.
  const asked = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'arp' });
  await host.exec('ip', 'route', 'replace', 'default', 'via', OUTSIDE.via);
  await eventually('the gateway to be followed', async () => (await uplinkOf(tapline)).gateways.includes(OUTSIDE.via));
  // The routes follow at once, which may be after the first ping: the old gateway leads there as well.
  await eventually('the gateway to be asked', async () => {
    t.true(await answers(a, OUTSIDE.far));
    const neighbors = JSON.parse(await tapline.ok('show', 'neigh', '--json')) as NeighborView[];
    return (neighbors.find(({ address }) => address === OUTSIDE.via)?.mac ?? null) !== null;
  });
  const routes = JSON.parse(await tapline.ok('show', 'route', '--json')) as RouteView[];
  t.deepEqual(routes.find(({ prefix }) => prefix === '0.0.0.0/0')?.hops, [
    { interface: 'uplink', via: OUTSIDE.via, metric: 1024 },
  ]);
  const question = Buffer.from([...OUTSIDE.via.split('.').map(Number)]);
  t.true((await asked.frames()).some((frame) => frame.subarray(38, 42).equals(question)));
  // None at all.
  await host.exec('ip', 'route', 'delete', 'default');
  await eventually('the gateway to be gone', async () => (await uplinkOf(tapline)).gateways.length === 1);
  t.regex((await pingCount(a, OUTSIDE.far, '-c', '1')).text, /Destination Net Unreachable/);
  t.true(await answers(a, OUTSIDE.ip));

  for (const mtu of [1300, 1500]) {
    for (const [namespace, device] of [
      [host, 'up0'],
      [outside, 'out0'],
    ] as const)
      await namespace.exec('ip', 'link', 'set', device, 'mtu', `${mtu}`);
    await eventually('the MTU to be followed', async () => (await uplinkOf(tapline)).mtu === mtu);
    for (const family of ['-4', '-6']) await b.exec('ip', family, 'route', 'flush', 'cache');
    t.is((await pingCount(b, OUTSIDE.ip, '-c', '1', '-M', 'do', '-s', `${mtu - 28}`)).received, 1);
    if (mtu === 1500) continue;
    const { text } = await pingCount(b, OUTSIDE.ip, '-c', '1', '-M', 'do', '-s', `${mtu - 27}`);
    t.regex(text, /Frag needed and DF set \(mtu = 1300\)/);
  }
});

test.serial('link down and up on the host, and a device made anew, are followed, guard included', async (t) => {
  const scene = await createShared(t);
  const { tapline, a, b, host, outside } = scene;
  const whole = await guard(scene);
  const works = async (): Promise<void> => {
    await eventually('containers to reach the outside', () => answers(a, OUTSIDE.far));
    const meddling = await watchHost(t, outside);
    for (const address of [b.ip, b.ip6]) {
      const { received, duplicates, text } = await pingCount(outside, address, ...burst(2));
      t.deepEqual([received, duplicates], [2, 0], text);
    }
    t.deepEqual(await meddling.frames(), []);
    t.is(await guard(scene), whole);
  };
  await works();

  await host.exec('ip', 'link', 'set', 'up0', 'down');
  await eventually('the uplink to be down', async () => (await uplinkOf(tapline)).why === 'up0 is set down');
  t.regex((await pingCount(a, OUTSIDE.ip, '-c', '1')).text, /Destination Net Unreachable/);
  await host.exec('ip', 'link', 'set', 'up0', 'up');
  await addHostAddresses(host);
  await works();

  await outside.exec('ip', 'link', 'set', 'out0', 'down');
  await eventually('the uplink to be down', async () => (await uplinkOf(tapline)).why === 'up0 has no carrier');
  t.regex((await pingCount(a, OUTSIDE.ip, '-c', '1')).text, /Destination Net Unreachable/);
  await outside.exec('ip', 'link', 'set', 'out0', 'up');
  await addOutsideAddresses(outside);
  await routeBack(outside, HOST);
  await works();

  await host.exec('ip', 'link', 'delete', 'up0');
  await eventually('the loss to be seen', async () => (await uplinkOf(tapline)).why === 'its device is away');
  await wireUp(host, outside);
  await routeBack(outside, HOST);
  await works();
  const { came, went } = await balance(tapline);
  t.is(came, went);
});

test.serial(
  'after kill -9 the guard holds; the next start goes on with it, and leaves nothing at its end',
  async (t) => {
    const outdoors = await createForwardingHost(t);
    const { host, outside } = outdoors;
    const [a, b] = (await createHosts(t, 2)) as [Host, Host];
    const before = await snapshot(outdoors);
    const { socket } = prepare(t, {});
    const up = (): Promise<Tapline> => startTapline(t, sharedConfig([a, b]), { netns: host, socket });

    const first = await up();
    t.true(await answers(outside, b.ip));
    first.forget();
    await first.process.stop('SIGKILL');
    t.not(await guard(outdoors), '');
    const meddling = await watchHost(t, outside);
    t.is((await pingCount(outside, b.ip, '-c', '2', '-i', '0.2', '-W', '1')).received, 0);
    t.deepEqual(await meddling.frames(), [], 'the stack of the host still sees nothing');

    const second = await up();
    for (const [from, to] of [
      [outside, b.ip],
      [outside, b.ip6],
      [a, OUTSIDE.far],
    ] as const) {
      const { received, duplicates, text } = await pingCount(from, to, ...burst(2));
      t.deepEqual([received, duplicates], [2, 0], text);
    }
    t.is((await outdoors.nft('list', 'ruleset')).split('hook ingress').length, 3, 'one guard, of two tables');
    await second.stop();
    t.is(await snapshot(outdoors), before);
  },
);
