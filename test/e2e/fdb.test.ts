/** The FDB by command: static entries, removing, flushing, limits and what happens beyond them, and moves as events. */

import test from 'ava';
import { sendFrames } from './support/frames.js';
import { createLab, type Host } from './support/lab.js';
import { marked, mute, plainFrame, report, startSniffer } from './support/marks.js';
import { createNamespace } from './support/namespace.js';
import { ENGINES, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';
import { createWire, OUTSIDE } from './support/wire.js';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const OFF = { all: { security: 'off' } };

/** A MAC that nobody has. */
function mac(number: number): string {
  return `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`;
}

/** Makes a port learn MACs. */
async function speak(tapline: Tapline, host: Host, numbers: readonly number[]): Promise<void> {
  const { rxPackets } = await tapline.port(host.endpoint);
  await sendFrames(
    host,
    numbers.map((number) => plainFrame(BROADCAST, mac(number))).map((frame) => marked(frame, 0)),
  );
  await eventually(
    'the frames',
    async () => (await tapline.port(host.endpoint)).rxPackets - rxPackets >= numbers.length,
  );
}

async function learned(tapline: Tapline, port: string): Promise<number> {
  return (await tapline.fdb()).filter((entry) => entry.port === port && !entry.static).length;
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

for (const engine of ENGINES) {
  test.serial(`${engine}: a static entry draws its frames, outlives a flush, and is removed`, async (t) => {
    const { tapline, hosts } = await createLab(t, { engine, hosts: 3, endpoints: OFF });
    const [a, b, c] = hosts as [Host, Host, Host];
    for (const host of hosts) await mute(host);
    const target = mac(0x99);
    await tapline.ok('fdb', 'add', target, '--network', 'blue', '--port', 'b');
    t.is((await tapline.fdb()).find((entry) => entry.mac === target)?.static, true);
    await tapline.ok('fdb', 'flush');
    // Whoever else claims it is not believed.
    await sendFrames(c, [marked(plainFrame(BROADCAST, target), 9)]);
    await tapline.quiet();
    t.is(await tapline.fdbPort(target), 'b');
    t.is((await tapline.port('c')).rxDrops.static_mac, 1);

    const sniffers = [await startSniffer(b), await startSniffer(c)] as const;
    await sendFrames(a, [marked(plainFrame(target, a.mac), 1)]);
    await tapline.quiet();
    await tapline.ok('fdb', 'rm', target, '--network', 'blue');
    t.is(await tapline.fdbPort(target), undefined);
    await sendFrames(a, [marked(plainFrame(target, a.mac), 2)]);
    await tapline.quiet();
    await report(sniffers.map((sniffer) => ({ sniffer, from: a, fromMac: a.mac })));
    t.deepEqual(
      sniffers.map((sniffer) => sniffer.seen()),
      [[1, 2], [2]],
    );
    const again = await tapline.cli('fdb', 'rm', target, '--network', 'blue');
    t.is(again.code, 1);
    t.regex(again.stderr, new RegExp(target));
  });
}

test.serial('a static entry goes with its port, and cannot name one that is not there', async (t) => {
  const { tapline } = await createLab(t, { hosts: 2 });
  await tapline.ok('fdb', 'add', mac(1), '--network', 'blue', '--port', 'b');
  await tapline.ok('disconnect', 'b');
  t.is(await tapline.fdbPort(mac(1)), undefined);
  const result = await tapline.cli('fdb', 'add', mac(1), '--network', 'blue', '--port', 'b');
  t.not(result.code, 0);
  t.regex(result.stderr, /\bb\b/);
  t.is(result.stderr.trim().split('\n').length, 1);
});

test.serial("two endpoints cannot have one MAC, and a static entry cannot take an endpoint's", async (t) => {
  const { tapline, hosts } = await createLab(t, { hosts: 2 });
  const [a, b] = hosts as [Host, Host];
  const place = await createNamespace(t);
  const twice = await tapline.cli('connect', 'blue', '--netns', place.path, '--name', 'x', '--mac', a.mac);
  t.not(twice.code, 0);
  t.regex(twice.stderr, new RegExp(a.mac));
  const taken = await tapline.cli('fdb', 'add', a.mac, '--network', 'blue', '--port', 'b');
  t.not(taken.code, 0);
  t.regex(taken.stderr, new RegExp(a.mac));
  t.is(await tapline.fdbPort(a.mac), 'a');
  t.is(await tapline.fdbPort(b.mac), 'b');
});

test.serial('flushing forgets the learned entries of a port, of a network, of a VLAN, and nothing else', async (t) => {
  const { tapline, hosts, outside } = await createWire(t, {
    hosts: 2,
    mute: true,
    network: { vlan_filtering: true },
    endpoints: { a: { security: 'off', vlan: 10 }, b: { security: 'off', vlan: 20 } },
  });
  const [a, b] = hosts as [Host, Host];
  for (const host of hosts) await mute(host);
  const learn = async (): Promise<void> => {
    await speak(tapline, a, range(0, 20));
    await speak(tapline, b, range(100, 20));
    const frame = plainFrame(BROADCAST, OUTSIDE.mac);
    await sendFrames(outside, [marked(frame, 0)], 'out0');
    await eventually('the outside', async () => (await tapline.fdbPort(OUTSIDE.mac)) === 'uplink');
  };
  const state = async (): Promise<number[]> => [
    await learned(tapline, 'a'),
    await learned(tapline, 'b'),
    await learned(tapline, 'uplink'),
  ];
  await tapline.ok('fdb', 'flush');
  await learn();
  t.deepEqual(await state(), [20, 20, 1]);
  await tapline.ok('fdb', 'flush', '--port', 'a');
  t.deepEqual(await state(), [0, 20, 1]);
  await learn();
  await tapline.ok('fdb', 'flush', '--network', 'blue', '--vlan', '20');
  t.deepEqual(await state(), [20, 0, 1]);
  await learn();
  await tapline.ok('fdb', 'flush', '--network', 'blue');
  t.deepEqual(await state(), [0, 0, 0]);
  await learn();
  t.deepEqual(await state(), [20, 20, 1]);
});

test.serial('fdb_full: drop drops what finds no room, and says so', async (t) => {
  const { tapline, hosts } = await createLab(t, {
    hosts: 3,
    network: { fdb_limit: 10, fdb_full: 'drop' },
    endpoints: OFF,
  });
  const [a, b] = hosts as [Host, Host];
  for (const host of hosts) await mute(host);
  await tapline.quiet();
  const room = 10 - (await tapline.fdb()).length;
  await speak(tapline, a, range(0, 30));
  await tapline.quiet();
  t.is((await tapline.port('a')).rxDrops.fdb_full, 30 - room);
  t.is((await tapline.fdb()).length, 10);
  // Those who are known go on.
  const sniffer = await startSniffer(b);
  await sendFrames(a, [marked(plainFrame(BROADCAST, mac(0)), 3), marked(plainFrame(BROADCAST, mac(29)), 4)]);
  await tapline.quiet();
  await sendFrames(a, [marked(plainFrame(BROADCAST, mac(0)), 5)]);
  await report([{ sniffer, from: a, fromMac: mac(0) }]);
  t.deepEqual(sniffer.seen(), [3, 5]);
  t.true((await tapline.events()).some(({ kind }) => kind === 'fdb-full'));
});

test.serial('a MAC that moves is an event that names both ports', async (t) => {
  const { tapline, hosts } = await createLab(t, { hosts: 2, endpoints: OFF });
  const [a, b] = hosts as [Host, Host];
  await speak(tapline, a, [7]);
  await speak(tapline, b, [7]);
  await eventually('the event', async () => (await tapline.events()).some((event) => event.mac === mac(7)));
  const event = (await tapline.events()).find((each) => each.mac === mac(7));
  t.deepEqual([event?.kind, event?.fromPort, event?.port, event?.network], ['mac-moved', 'a', 'b', 'blue']);
  t.true((await tapline.status()).fdbMoves >= 1);
  t.regex(await tapline.ok('events'), new RegExp(`mac-moved MAC ${mac(7)} moved from port a to port b`));
});
