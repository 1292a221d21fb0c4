/** Mirrors and captures of the same traffic: each frame once a direction, and nothing of the monitor's own. */

import { join } from 'node:path';
import test from 'ava';
import { readPcap, sendFrames, temporaryDirectory } from './support/frames.js';
import { createHosts, type Host, SUBNETS } from './support/lab.js';
import { marked, mute, plainFrame, report, type Sniffer, startSniffer } from './support/marks.js';
import { must, start } from './support/process.js';
import { ENGINES, startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';
import { createWire, endpointsOf, OUTSIDE, pings } from './support/wire.js';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const COUNT = 10;

/** Copies of a frame of the test EtherType with a mark. */
function frames(from: Host, to: string, mark: number): Buffer[] {
  return new Array<Buffer>(COUNT).fill(marked(plainFrame(to, from.mac), mark));
}

/** Sends everything that passes between a, b and c, with marks: 1 a to b, 2 b to a, 3 a to all, 4 c to b. */
async function traffic(tapline: Tapline, a: Host, b: Host, c: Host): Promise<void> {
  await sendFrames(a, frames(a, b.mac, 1));
  await sendFrames(b, frames(b, a.mac, 2));
  await sendFrames(a, frames(a, BROADCAST, 3));
  await sendFrames(c, frames(c, b.mac, 4));
  await tapline.quiet();
}

const counts = (sniffer: Sniffer): number[] => [1, 2, 3, 4].map((mark) => sniffer.count(mark) / COUNT);

/** By what is mirrored: how often the monitor has each kind of frame. It gets broadcasts as a member of the network, too. */
const CASES = [
  { name: 'an endpoint, both directions', from: { endpoint: 'a' }, direction: 'both', expected: [1, 1, 1 + 1, 0] },
  { name: 'an endpoint, in', from: { endpoint: 'a' }, direction: 'in', expected: [1, 0, 1 + 1, 0] },
  { name: 'an endpoint, out', from: { endpoint: 'a' }, direction: 'out', expected: [0, 1, 0 + 1, 0] },
  { name: 'a network, in', from: { network: 'blue' }, direction: 'in', expected: [1, 1, 1 + 1, 1] },
  { name: 'a network, both directions', from: { network: 'blue' }, direction: 'both', expected: [2, 2, 3 + 1, 2] },
] as const;

for (const engine of ENGINES) {
  test.serial(`${engine}: a mirror has each frame once a direction`, async (t) => {
    const hosts = await createHosts(t, 4);
    const [a, b, c, monitor] = hosts as [Host, Host, Host, Host];
    const config = { version: 1, networks: { blue: { subnets: SUBNETS } }, endpoints: endpointsOf(hosts) };
    const tapline = await startTapline(t, config, { engine });
    for (const host of hosts) await mute(host);
    for (const { name, from, direction, expected } of CASES) {
      const source = 'endpoint' in from ? ['--from', from.endpoint] : ['--from-network', from.network];
      await tapline.ok('mirror', 'create', 'tap', ...source, '--to', monitor.endpoint, '--direction', direction);
      const sniffer = await startSniffer(monitor);
      const atB = await startSniffer(b);
      await traffic(tapline, a, b, c);
      await report([
        { sniffer, from: c, fromMac: c.mac },
        { sniffer: atB, from: c, fromMac: c.mac },
      ]);
      t.deepEqual(counts(sniffer), [...expected], name);
      t.deepEqual(counts(atB), [1, 0, 1, 1], 'what is mirrored arrives as ever');
      await tapline.ok('mirror', 'rm', 'tap');
    }
    const sniffer = await startSniffer(monitor);
    await traffic(tapline, a, b, c);
    await report([{ sniffer, from: c, fromMac: c.mac }]);
    t.deepEqual(counts(sniffer), [0, 0, 1, 0], 'nothing is left of a mirror that was removed');
  });
}

test.serial('a mirror in the configuration, beside a capture of the same endpoint: the same frames', async (t) => {
  const hosts = await createHosts(t, 3);
  const [a, b, monitor] = hosts as [Host, Host, Host];
  const tapline = await startTapline(t, {
    version: 1,
    networks: { blue: { subnets: SUBNETS } },
    endpoints: endpointsOf(hosts),
    mirrors: { tap: { from: { endpoint: 'a' }, to: 'c' } },
  });
  for (const host of hosts) await mute(host);
  const directory = temporaryDirectory(t);
  const capture = start(t, tapline.argv('capture', 'a', '-w', join(directory, 'a.pcapng')));
  const copies = start(t, tapline.argv('capture', 'c', '-w', join(directory, 'c.pcapng')));
  await eventually('the captures', async () => (await tapline.status()).captures.length === 2);
  const sniffer = await startSniffer(monitor);
  const sent = [...frames(a, b.mac, 1), ...frames(a, b.mac, 5)];
  await sendFrames(a, sent);
  await sendFrames(b, frames(b, a.mac, 2));
  await tapline.quiet();
  await report([{ sniffer, from: b, fromMac: b.mac }]);
  t.deepEqual([sniffer.count(1), sniffer.count(5), sniffer.count(2)], [COUNT, COUNT, COUNT]);
  const read = async (name: string): Promise<Buffer[]> => {
    await must(['editcap', '-F', 'pcap', join(directory, `${name}.pcapng`), join(directory, `${name}.pcap`)]);
    const packets = (await readPcap(join(directory, `${name}.pcap`))).map(({ data }) => data);
    return packets.filter((data) => data.readUInt16BE(12) === 0x88b5 && (data[0]! & 1) === 0);
  };
  t.is((await capture.stop('SIGINT')).code, 0);
  t.is((await copies.stop('SIGINT')).code, 0);
  const expected = [...sent, ...frames(b, a.mac, 2)];
  t.deepEqual(await read('a'), expected);
  t.deepEqual(await read('c'), expected);
  t.deepEqual(
    (await tapline.status()).mirrors.map(({ name, to, state }) => [name, to, state]),
    [['tap', 'c', 'active']],
  );
});

test.serial('a mirror of the uplink, with what containers say to the outside and back', async (t) => {
  const { tapline, hosts, outside } = await createWire(t, { hosts: 2 });
  const [a, monitor] = hosts as [Host, Host];
  t.true(await pings(a, OUTSIDE.ip));
  await mute(monitor);
  await tapline.ok('mirror', 'create', 'wire', '--from-uplink', '--to', monitor.endpoint);
  const sniffer = await startSniffer(monitor);
  await sendFrames(a, frames(a, OUTSIDE.mac, 1));
  await sendFrames(outside, new Array<Buffer>(COUNT).fill(marked(plainFrame(a.mac, OUTSIDE.mac), 2)), 'out0');
  await tapline.quiet();
  await report([{ sniffer, from: a, fromMac: a.mac }]);
  t.deepEqual([sniffer.count(1), sniffer.count(2)], [COUNT, COUNT]);
  t.true(await pings(a, OUTSIDE.ip));
});

test.serial('a mirror that makes no sense is refused in one line', async (t) => {
  const hosts = await createHosts(t, 2);
  const tapline = await startTapline(t, {
    version: 1,
    networks: { blue: { subnets: SUBNETS } },
    endpoints: endpointsOf(hosts),
  });
  for (const [argv, pattern] of [
    [['--from', 'a', '--to', 'a'], /a/],
    [['--from', 'nobody', '--to', 'a'], /nobody/],
    [['--from', 'a', '--to', 'nobody'], /nobody/],
  ] as const) {
    const result = await tapline.cli('mirror', 'create', 'm', ...argv);
    t.not(result.code, 0);
    t.regex(result.stderr, pattern);
    t.is(result.stderr.trim().split('\n').length, 1);
  }
  t.deepEqual((await tapline.status()).mirrors, []);
});
