/** The bridge's guards in the real worker, on real TAPs: what is told to it, what it tells, and what outlives its death. */

import { execFileSync } from 'node:child_process';
import test from 'ava';
import type { Numbers } from '../../control/numbers.js';
import { sendFrames } from '../../control/send-frames.js';
import type {
  CapturedFrame,
  CaptureFilter,
  Dataplane,
  DataplaneEvent,
  FdbEntry,
  NetworkSpec,
  PortSpec,
  SecuritySpec,
} from '../../control/types.js';
import { MAX_NETWORKS } from '../../core/ports.js';
import { withNamespace } from '../../io/netns.js';
import { addressOf, kill, type Lab, macOf, makeLab, ping, restarted, until } from './support/worker-lab.js';

const ENGINES = ['uring', 'epoll'] as const;
const STRANGER = '02:00:00:00:00:99';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const VLAN = 10;
const VLANS = { native: VLAN, tagged: [] };
const SNOOPING: Pick<NetworkSpec, 'multicast'> = {
  multicast: { snooping: true, querier: true, unregistered: 'flood' },
};

const mac = (text: string): number[] => text.split(':').map((octet) => Number.parseInt(octet, 16));
const ip = (text: string): number[] => text.split('.').map(Number);

/** An ARP announcement: `sender` has `address`. */
function arp(sender: string, address: string): Uint8Array {
  const claim = [...mac(sender), ...ip(address)];
  const header = [...mac(BROADCAST), ...mac(sender), 0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x02];
  return Uint8Array.from([...header, ...claim, ...claim]);
}

function send(lab: Lab, at: number, frame: Uint8Array, count = 1): void {
  withNamespace(`/run/netns/${lab.names[at]}`, () => sendFrames('eth0', frame, count));
}

function strict(at: number): SecuritySpec {
  return { level: 'strict', mac: macOf(at), macs: [], prefixes: [`${addressOf(at)}/32`], macLimit: 1 };
}

const strictPort = (at: number): Partial<PortSpec> => ({ security: strict(at) });

async function captured(
  dataplane: Dataplane,
  filter: Partial<CaptureFilter>,
  work: () => Promise<void> | void,
): Promise<CapturedFrame[]> {
  const frames: CapturedFrame[] = [];
  const capture = await dataplane.capture({ port: null, network: null, snapLength: 0, ...filter });
  capture.onFrame((frame) => frames.push(frame));
  await work();
  await capture.stop();
  return frames;
}

const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0);

/** received + made here + copied = delivered + dropped, as soon as nothing is in flight. */
async function balances(dataplane: Dataplane): Promise<boolean> {
  return until(() => {
    const { rxPackets, originated, copies, txPackets, rxDrops, txDrops } = dataplane.totals();
    return rxPackets + originated + copies === txPackets + sum(rxDrops) + sum(txDrops);
  });
}

function counters(lab: Lab, at: number): ReturnType<Dataplane['ports']>[number] {
  const found = lab.dataplane.ports().find(({ id }) => id === lab.ports[at]);
  if (found === undefined) throw new Error(`no port ${lab.ports[at]}`);
  return found;
}

function isEcho(frame: CapturedFrame): boolean {
  return frame.direction === 'out' && frame.data[12] === 0x08 && frame.data[13] === 0x00 && frame.data[23] === 1;
}

/** What does not depend on the time. */
function bare(entries: readonly FdbEntry[]): object[] {
  return entries
    .filter((entry) => entry.static)
    .map(({ mac, network, vlan, port }) => ({ mac, network, vlan, port }))
    .sort((a, b) => a.mac.localeCompare(b.mac));
}

for (const engine of ENGINES) {
  test.serial(`${engine}: static entries, mirrors, VLANs and security outlive the worker`, async (t) => {
    const lab = await makeLab(t, engine, {
      hosts: 3,
      network: { vlanProtocol: 0x8100 },
      // The mirror's target is in a VLAN of its own.
      port: (at) => ({ ...strictPort(at), vlan: { native: at === 2 ? 20 : VLAN, tagged: [] } }),
    });
    const { dataplane, network, ports } = lab;
    await dataplane.addStaticEntry({ network, vlan: VLAN, mac: STRANGER }, ports[1]);
    const mirror = await dataplane.addMirror({ fromPort: ports[0], fromNetwork: null, to: ports[2], direction: 'in' });
    const entries = bare(await dataplane.fdb());
    t.deepEqual(entries, [
      { mac: STRANGER, network, vlan: VLAN, port: ports[1] },
      { mac: macOf(0), network, vlan: VLAN, port: ports[0] },
      { mac: macOf(1), network, vlan: VLAN, port: ports[1] },
      { mac: macOf(2), network, vlan: 20, port: ports[2] },
    ]);
    for (const round of [1, 2]) {
      await kill(dataplane);
      t.true(await restarted(dataplane, round));
      t.deepEqual(bare(await dataplane.fdb()), entries);
      const copies = await captured(dataplane, { port: ports[2] }, () => void t.true(ping(lab)));
      t.is(copies.filter(isEcho).length, 3, 'requests are mirrored, answers are not, other VLANs do not mix');
      const before = counters(lab, 0).rxDrops.arp_sender ?? 0;
      send(lab, 0, arp(macOf(0), addressOf(1)), 10);
      t.true(await until(() => counters(lab, 0).rxDrops.arp_sender === before + 10));
    }
    t.true(await dataplane.removeEntry({ network, vlan: VLAN, mac: STRANGER }));
    await kill(dataplane);
    await dataplane.removeMirror(mirror);
    t.true(await restarted(dataplane, 3));
    t.deepEqual(bare(await dataplane.fdb()), entries.slice(1));
    const copies = await captured(dataplane, { port: ports[2] }, () => void t.true(ping(lab)));
    t.is(copies.filter(isEcho).length, 0);
  });

  test.serial(`${engine}: an entry that a worker died over is there, or gone, as the answer says`, async (t) => {
    const lab = await makeLab(t, engine, { port: strictPort });
    const { dataplane, network, ports } = lab;
    await dataplane.addStaticEntry({ network, vlan: 0, mac: STRANGER }, ports[1]);
    await kill(dataplane);
    await t.throwsAsync(dataplane.removeEntry({ network, vlan: 0, mac: STRANGER }), { message: /being restarted/ });
    t.true(await restarted(dataplane, 1));
    t.is(bare(await dataplane.fdb()).length, 3, 'it was not removed');
    t.true(await dataplane.removeEntry({ network, vlan: 0, mac: STRANGER }));
    await kill(dataplane);
    await dataplane.addStaticEntry({ network, vlan: 0, mac: STRANGER }, ports[0]);
    t.true(await restarted(dataplane, 2));
    t.deepEqual(bare(await dataplane.fdb())[0], { mac: STRANGER, network, vlan: 0, port: ports[0] });
  });

  test.serial(`${engine}: an endpoint keeps its own MAC, others can be removed`, async (t) => {
    const lab = await makeLab(t, engine, { port: (at) => (at === 0 ? strictPort(0) : {}) });
    const { dataplane, network, names } = lab;
    t.true(ping(lab));
    const message = `${macOf(0)} is the MAC of ${names[0]}, which keeps it as long as it is connected`;
    await t.throwsAsync(dataplane.removeEntry({ network, vlan: 0, mac: macOf(0) }), { message });
    t.true((await dataplane.fdb()).some((entry) => entry.mac === macOf(0) && entry.static));
    t.true(await dataplane.removeEntry({ network, vlan: 0, mac: macOf(1) }), 'a learned one');
    t.false(await dataplane.removeEntry({ network, vlan: 0, mac: STRANGER }), 'one that is not there');
    const taken = dataplane.addStaticEntry({ network, vlan: 0, mac: macOf(0) }, lab.ports[1]);
    await t.throwsAsync(taken, { message: `${macOf(0)} is the MAC of ${names[0]}` });
  });

  test.serial(
    `${engine}: flushing by port, by VLAN and by network forgets what was learned there, and no more`,
    async (t) => {
      const vlans = [10, 20];
      const lab = await makeLab(t, engine, {
        network: { vlanProtocol: 0x8100 },
        port: (at) => ({ vlan: { native: vlans[at], tagged: [] } }),
      });
      const { dataplane, network, ports } = lab;
      const bound = '02:00:00:00:00:77';
      await dataplane.addStaticEntry({ network, vlan: 10, mac: bound }, ports[0]);
      const strangers = ['02:00:00:00:01:00', '02:00:00:00:01:01'];
      /** Of the strangers, those that are known. */
      const known = async (): Promise<string[]> => {
        const entries = await dataplane.fdb();
        t.true(entries.some((entry) => entry.static && entry.mac === bound));
        return strangers.filter((one) => entries.some((entry) => entry.mac === one));
      };
      const learn = async (): Promise<void> => {
        for (const at of [0, 1]) send(lab, at, arp(strangers[at], '172.30.0.50'));
        t.true(await until(async () => (await known()).length === 2));
      };
      const nothing = { network: null, port: null, vlan: null };
      await learn();
      await dataplane.flushFdb({ ...nothing, port: ports[0] });
      t.deepEqual(await known(), [strangers[1]]);
      await learn();
      await dataplane.flushFdb({ ...nothing, network, vlan: 20 });
      t.deepEqual(await known(), [strangers[0]]);
      await learn();
      await dataplane.flushFdb({ ...nothing, network });
      t.deepEqual(await known(), []);
      await learn();
      await dataplane.flushFdb(nothing);
      t.deepEqual(await known(), []);
    },
  );

  test.serial(`${engine}: groups that hosts join are listed, and are gone with their port`, async (t) => {
    const lab = await makeLab(t, engine, { network: SNOOPING, port: strictPort });
    const { dataplane, network, ports, names } = lab;
    const group = '239.1.2.3';
    execFileSync('ip', ['-n', names[1], 'addr', 'add', `${group}/32`, 'dev', 'eth0', 'autojoin']);
    const listed = async (): Promise<number[]> =>
      ((await dataplane.mdb()).find((entry) => entry.group === group)?.ports ?? []).map(({ port }) => port);
    t.true(await until(async () => (await listed()).length > 0));
    const entry = (await dataplane.mdb()).find((one) => one.group === group);
    t.is(entry?.network, network);
    t.is(entry?.vlan, 0);
    t.deepEqual(await listed(), [ports[1]]);
    const expires = entry?.ports[0].expires ?? -1;
    t.true(expires > 0 && expires <= 3600, `expires in ${expires} s`);
    await dataplane.removePort(ports[1]);
    t.deepEqual(await listed(), []);
  });

  test.serial(
    `${engine}: moves, flapping and quarantine are told; a quarantined port says so until its release`,
    async (t) => {
      const lab = await makeLab(t, engine, { hosts: 3, network: { loop: { moves: 4, quarantine: 2 } } });
      const { dataplane, network, ports } = lab;
      const events: DataplaneEvent[] = [];
      dataplane.onEvent((event) => events.push(event));
      const of = (kind: DataplaneEvent['kind']): DataplaneEvent[] => events.filter((event) => event.kind === kind);
      const frame = arp(STRANGER, '172.30.0.50');
      const isAt = (port: number) => async (): Promise<boolean> =>
        (await dataplane.fdb()).some((entry) => entry.mac === STRANGER && entry.port === port);
      for (const at of [0, 2, 0, 2]) {
        send(lab, at, frame);
        t.true(await until(isAt(ports[at])));
      }
      send(lab, 0, frame);
      t.true(await until(() => of('port-quarantined').length > 0));
      t.deepEqual(
        of('mac-moved').map(({ port, fromPort, mac }) => [port, fromPort, mac]),
        [
          [ports[2], ports[0], STRANGER],
          [ports[0], ports[2], STRANGER],
          [ports[2], ports[0], STRANGER],
          [ports[0], ports[2], STRANGER],
        ],
      );
      const [flapping] = of('mac-flapping');
      t.like(flapping, { network, vlan: 0, port: ports[2], fromPort: ports[0], mac: STRANGER, count: 4 });
      t.true(Math.abs(flapping.time - Date.now()) < 60_000);
      t.like(of('port-quarantined')[0], { network, vlan: 0, port: ports[2], count: 2 });
      t.is(counters(lab, 2).state, 'quarantined');
      t.is(counters(lab, 0).state, 'forwarding');
      send(lab, 2, frame, 5);
      t.true(await until(() => (counters(lab, 2).rxDrops.quarantined ?? 0) >= 5));
      t.true(ping(lab), 'others go on');
      t.true(await until(() => of('port-released').length > 0));
      t.like(of('port-released')[0], { network, port: ports[2] });
      t.is(counters(lab, 2).state, 'forwarding');
      t.deepEqual((await dataplane.status()).quarantined, []);
      t.true(await balances(dataplane));
    },
  );

  test.serial(`${engine}: a quarantine ends, and is said to, with its worker and with its port`, async (t) => {
    const lab = await makeLab(t, engine, { hosts: 2, network: { loop: { moves: 2, quarantine: 1000 } } });
    const { dataplane, network, ports } = lab;
    const events: DataplaneEvent[] = [];
    dataplane.onEvent((event) => events.push(event));
    const quarantine = async (): Promise<void> => {
      const frame = arp(STRANGER, '172.30.0.50');
      t.true(
        await until(() => {
          for (const at of [0, 1]) send(lab, at, frame);
          return lab.dataplane.ports().some(({ state }) => state === 'quarantined');
        }),
      );
    };
    await quarantine();
    const [port] = (await dataplane.status()).quarantined;
    await kill(dataplane);
    t.true(await restarted(dataplane, 1));
    t.deepEqual(
      dataplane.ports().map(({ state }) => state),
      ['forwarding', 'forwarding'],
    );
    t.deepEqual((await dataplane.status()).quarantined, []);
    t.like(events.at(-1), { kind: 'port-released', network, port });
    t.true(ping(lab));
    await quarantine();
    const [second] = (await dataplane.status()).quarantined;
    await dataplane.removePort(second);
    t.deepEqual((await dataplane.status()).quarantined, []);
    t.is((dataplane as unknown as { quarantined: Set<number> }).quarantined.size, 0);
    t.is(dataplane.ports()[0].state, 'forwarding');
    t.is(ports.length, 2);
  });

  test.serial(
    `${engine}: how many MACs were learned on a port shows within seconds, and stops at its limit`,
    async (t) => {
      const lab = await makeLab(t, engine, { port: (at) => (at === 0 ? { macLimit: 5 } : strictPort(at)) });
      const { dataplane, ports } = lab;
      for (let i = 10; i < 30; i++) send(lab, 0, arp(`02:00:00:00:00:${i}`, '172.30.0.50'));
      t.true(await until(() => counters(lab, 0).learnedMacs === 5));
      t.is((await dataplane.fdb()).filter((entry) => entry.port === ports[0]).length, 5);
      t.is(counters(lab, 1).learnedMacs, 0, 'one that is bound is not learned');
      await dataplane.flushFdb({ network: null, port: ports[0], vlan: null });
      t.true(await until(() => counters(lab, 0).learnedMacs < 5));
      t.true(await balances(dataplane));
    },
  );

  test.serial(`${engine}: a new port is announced to its peers, twice, and the frames made for it count`, async (t) => {
    const lab = await makeLab(t, engine, { port: strictPort });
    const { dataplane, network, ports, taps, names } = lab;
    await dataplane.removePort(ports[1]);
    const before = dataplane.totals().originated;
    const isArp = (frame: CapturedFrame): boolean =>
      frame.direction === 'out' &&
      Buffer.from(arp(macOf(1), addressOf(1)).subarray(22, 32)).equals(frame.data.subarray(22, 32));
    const isAdvertisement = (frame: CapturedFrame): boolean =>
      frame.direction === 'out' &&
      frame.data[12] === 0x86 &&
      frame.data[20] === 58 &&
      frame.data[54] === 136 &&
      frame.data[77] === 0x77;
    const security = { ...strict(1), prefixes: [`${addressOf(1)}/32`, 'fd00:30::77/128'] };
    const announce = [addressOf(1), 'fd00:30::77'];
    const frames = await captured(dataplane, { port: ports[0] }, async () => {
      await dataplane.addPort({ kind: 'tap', name: names[1], network, fd: taps[1].fd, security, announce });
      t.true(await until(() => dataplane.totals().originated >= before + 4));
    });
    t.is(frames.filter(isArp).length, 2);
    t.is(frames.filter(isAdvertisement).length, 2);
    t.is(dataplane.totals().originated, before + 4);
    t.true(await balances(dataplane));
  });
}

test.serial('a port for whose VLANs there are too few numbers leaves none of them half-made', async (t) => {
  const lab = await makeLab(t, 'epoll', { hosts: 2, network: { vlanProtocol: 0x8100 }, port: () => ({ vlan: VLANS }) });
  const { dataplane, network, ports, taps, names } = lab;
  await dataplane.removePort(ports[1]);
  const { domains } = (dataplane as unknown as { numbers: Numbers }).numbers;
  // All numbers but one.
  const free = Array.from({ length: MAX_NETWORKS - 2 }, (_, at) => at + 1).filter((id) => !domains.isTaken(id));
  for (const id of free) domains.take(`other ${id}`, () => id);
  const spec = { kind: 'tap', name: names[1], network, fd: taps[1].fd } as const;
  const more = { ...spec, vlan: { native: VLAN, tagged: [20, 21] } };
  await t.throwsAsync(dataplane.addPort(more), { message: /^no more than 65535 networks and VLANs$/ });
  t.false(domains.isTaken(MAX_NETWORKS - 1));
  for (const id of free) domains.release(id);
  const port = await dataplane.addPort(more);
  await dataplane.addStaticEntry({ network, vlan: 20, mac: STRANGER }, port);
  t.true((await dataplane.fdb()).some(({ vlan, mac }) => vlan === 20 && mac === STRANGER));
  t.true(ping(lab));
});
