/** Isolation: no frame of any kind passes between isolated endpoints, and everything between them and the uplink. */

import test, { type ExecutionContext } from 'ava';
import { sendFrames } from './support/frames.js';
import type { Host } from './support/lab.js';
import { marked, mute, plainFrame, report, type Sniffer, startSniffer } from './support/marks.js';
import type { Namespace } from './support/namespace.js';
import { ENGINES, type Tapline } from './support/tapline.js';
import { createWire, OUTSIDE, pings } from './support/wire.js';

const GROUPS = ['ff:ff:ff:ff:ff:ff', '01:00:5e:01:02:03', '33:33:00:00:12:34', '01:00:5e:00:00:01'];
const UNKNOWN = '02:00:00:00:99:99';
/** IPv4, ARP, IPv6, VLAN, test, PPPoE discovery, MPLS, CFM, PTP, ATA over Ethernet, and a frame with an LLC header. */
const ETHERTYPES = [0x0800, 0x0806, 0x86dd, 0x8100, 0x88b5, 0x8863, 0x8847, 0x8902, 0x88f7, 0x88a2, 0x0003];

interface Station {
  readonly name: string;
  readonly namespace: Namespace;
  readonly device: string;
  readonly mac: string;
  readonly sniffer: Sniffer;
}

/** Every frame that `from` may send, each with a mark of its own from `first` on: all EtherTypes to every kind of destination. */
function everything(from: Station, unicast: readonly string[], first: number): Buffer[] {
  const destinations = [...GROUPS, UNKNOWN, ...unicast];
  return destinations
    .flatMap((destination) => ETHERTYPES.map((ethertype) => plainFrame(destination, from.mac, ethertype)))
    .map((frame, i) => marked(frame, first + i));
}

async function stations(hosts: readonly Host[], outside: Namespace): Promise<Station[]> {
  const all = [
    ...hosts.map((host) => ({ name: host.endpoint, namespace: host, device: 'eth0', mac: host.mac })),
    { name: 'uplink', namespace: outside, device: 'out0', mac: OUTSIDE.mac },
  ];
  const result: Station[] = [];
  for (const station of all) {
    await mute(station.namespace, station.device);
    result.push({ ...station, sniffer: await startSniffer(station.namespace, station.device) });
  }
  return result;
}

const SPAN = 0x400;

/** Lets everybody send everything. Resolves to who has received from whom, as in `a > uplink`, and how many different frames. */
async function whoReachesWhom(
  tapline: Tapline,
  all: readonly Station[],
  reporter: (to: Station) => Station,
): Promise<Record<string, number>> {
  for (const station of all) {
    const hello = plainFrame('ff:ff:ff:ff:ff:ff', station.mac);
    await sendFrames(station.namespace, [hello], station.device); // from now on its MAC is known
  }
  for (const [i, from] of all.entries()) {
    const others = all.filter((station) => station !== from).map(({ mac }) => mac);
    await sendFrames(from.namespace, everything(from, others, i * SPAN), from.device);
  }
  await tapline.quiet();
  for (const to of all) {
    const from = reporter(to);
    await report([{ sniffer: to.sniffer, from: from.namespace, fromMac: from.mac, device: from.device }]);
  }
  const reached: Record<string, number> = {};
  for (const to of all) {
    for (const [i, from] of all.entries()) {
      const count = to.sniffer.seen().filter((mark) => Math.floor(mark / SPAN) === i).length;
      if (count > 0) reached[`${from.name} > ${to.name}`] = count;
    }
  }
  return reached;
}

/** What one may get from another: every EtherType, to every group, to an unknown MAC and to its own. */
const ALL = ETHERTYPES.length * (GROUPS.length + 2);

/** Nothing is checked but isolation: endpoints send frames of kinds that port security or a MAC alone would stop. */
const OFF = { security: 'off', storm_control: { broadcast: 'off', unknown_unicast: 'off' } };

for (const engine of ENGINES) {
  test.serial(`${engine}: isolated endpoints reach the uplink and never each other, whatever the frame`, async (t) => {
    const options = { hosts: 3, network: { isolated: true }, endpoints: { all: OFF }, mute: true };
    const { tapline, hosts, outside } = await createWire(t, { engine, ...options });
    const all = await stations(hosts, outside);
    const [a, , , uplink] = all as [Station, Station, Station, Station];
    const reached = await whoReachesWhom(tapline, all, (to) => (to === uplink ? a : uplink));
    const expected = ['a', 'b', 'c'].flatMap((name) => [
      [`${name} > uplink`, ALL],
      [`uplink > ${name}`, ALL],
    ]);
    t.deepEqual(reached, Object.fromEntries(expected));
    const drops = (await tapline.port('a')).rxDrops;
    // Unicast to two other endpoints.
    t.true((drops.isolated ?? 0) >= 2 * ETHERTYPES.length, JSON.stringify(drops));
    t.deepEqual((await tapline.ports()).map(({ name, isolated }) => [name, isolated]).sort(), [
      ['a', true],
      ['b', true],
      ['c', true],
      ['uplink', false],
    ]);
  });
}

test.serial('without isolation everybody reaches everybody with the same frames', async (t) => {
  const { tapline, hosts, outside } = await createWire(t, { hosts: 2, endpoints: { all: OFF }, mute: true });
  const all = await stations(hosts, outside);
  const [a, b] = all as [Station, Station];
  const reached = await whoReachesWhom(tapline, all, (to) => (to === a ? b : a));
  const names = ['a', 'b', 'uplink'];
  const expected = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [`${from} > ${to}`, ALL]));
  t.deepEqual(reached, Object.fromEntries(expected));
});

test.serial('an endpoint that is not isolated reaches all, mates of a group reach each other', async (t) => {
  const endpoints = {
    a: { ...OFF, isolation_group: 'web' },
    b: { ...OFF, isolation_group: 'web' },
    c: { ...OFF, isolation_group: 'db' },
    d: { ...OFF, isolated: false },
  };
  const options = { hosts: 4, network: { isolated: true }, endpoints, mute: true };
  const { tapline, hosts, outside } = await createWire(t, options);
  const all = await stations(hosts, outside);
  const [, , , d, uplink] = all as [Station, Station, Station, Station, Station];
  const reached = await whoReachesWhom(tapline, all, (to) => (to === d ? uplink : d));
  const pairs = [
    ['a', 'b'],
    ...['a', 'b', 'c', 'd'].map((name) => [name, 'uplink']),
    ['a', 'd'],
    ['b', 'd'],
    ['c', 'd'],
  ];
  const expected = pairs.flatMap(([x, y]) => [
    [`${x} > ${y}`, ALL],
    [`${y} > ${x}`, ALL],
  ]);
  t.deepEqual(reached, Object.fromEntries(expected));
});

async function matrix(t: ExecutionContext, from: Host, to: readonly (readonly [string, boolean])[]): Promise<void> {
  for (const [address, reachable] of to) t.is(await pings(from, address), reachable, `${from.endpoint} to ${address}`);
}

test.serial('with real pings: the outside answers, a neighbour does not, and security stays on', async (t) => {
  const endpoints = { c: { isolated: false } };
  const { hosts, outside } = await createWire(t, { hosts: 3, network: { isolated: true }, endpoints });
  const [a, b, c] = hosts as [Host, Host, Host];
  await matrix(t, a, [
    [OUTSIDE.ip, true],
    [OUTSIDE.ip6, true],
    [c.ip, true],
    [c.ip6, true],
    [b.ip, false],
    [b.ip6, false],
  ]);
  t.true(await pings(outside, b.ip));
  // Also where it knows the neighbour's MAC by other means.
  await a.exec('ip', 'neigh', 'replace', b.ip, 'lladdr', b.mac, 'dev', 'eth0', 'nud', 'permanent');
  await b.exec('ip', 'neigh', 'replace', a.ip, 'lladdr', a.mac, 'dev', 'eth0', 'nud', 'permanent');
  t.false(await pings(a, b.ip));
});
