/** Storm control: one endpoint floods, the others get what its limit lets through, and talk as if nothing were. */

import test from 'ava';
import { createLab, type Host } from './support/lab.js';
import { marked, mute, plainFrame, report, startSniffer } from './support/marks.js';
import { PYTHON } from './support/scapy.js';
import { ENGINES } from './support/tapline.js';
import { eventually } from './support/wait.js';

const COUNT = 5000;
const RATE = 200;
/** A bucket holds a tenth of a second's frames, at least 32. */
const BURST = 32;
/** More than all that is sent, so that the kernel in front of the switch loses nothing. */
const QUEUE = 10_000;

const SEND = `
import socket, sys
frame = bytes.fromhex(sys.argv[1])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(('eth0', 0))
for _ in range(int(sys.argv[2])):
    s.send(frame)
`;

const KINDS = [
  { kind: 'broadcast', destination: 'ff:ff:ff:ff:ff:ff', reason: 'storm_broadcast' },
  { kind: 'multicast', destination: '01:00:5e:05:05:05', reason: 'storm_multicast' },
  { kind: 'unknown_unicast', destination: '02:00:00:00:99:99', reason: 'storm_unknown_unicast' },
] as const;

async function lossOfPings(from: Host, to: Host): Promise<string> {
  return from.exec('ping', '-n', '-q', '-c', '50', '-i', '0.02', '-W', '10', to.ip);
}

for (const engine of ENGINES) {
  test.serial(`${engine}: of a flood its limit arrives, the rest is counted, unicast is unhurt`, async (t) => {
    const storm_control = { broadcast: RATE, multicast: RATE, unknown_unicast: RATE };
    const { hosts, tapline } = await createLab(t, { engine, hosts: 3, endpoints: { c: { storm_control } } });
    const [a, b, c] = hosts as [Host, Host, Host];
    await lossOfPings(a, b); // so that they know each other
    await mute(c);
    await c.exec('ip', 'link', 'set', 'eth0', 'txqueuelen', String(QUEUE));
    const sniffers = [await startSniffer(a), await startSniffer(b)] as const;
    for (const [mark, { kind, destination, reason }] of KINDS.entries()) {
      const before = await tapline.port('c');
      const started = Date.now();
      const frame = marked(plainFrame(destination, c.mac), mark).toString('hex');
      const pinging = lossOfPings(a, b);
      await c.exec(PYTHON, '-c', SEND, frame, String(COUNT));
      await eventually(
        'the flood to be taken',
        async () => (await tapline.port('c')).rxPackets - before.rxPackets >= COUNT,
      );
      const seconds = (Date.now() - started) / 1000;
      t.regex(await pinging, / 50 received, 0% packet loss/, kind);
      await tapline.quiet();
      await report([
        { sniffer: sniffers[0], from: b, fromMac: b.mac },
        { sniffer: sniffers[1], from: a, fromMac: a.mac },
      ]);
      const after = await tapline.port('c');
      t.is(after.rxPackets - before.rxPackets, COUNT);
      const dropped = (after.rxDrops[reason] ?? 0) - (before.rxDrops[reason] ?? 0);
      for (const sniffer of sniffers) t.is(sniffer.count(mark) + dropped, COUNT, kind);
      t.true(sniffers[0].count(mark) >= BURST, kind);
      t.true(sniffers[0].count(mark) <= BURST + Math.ceil(RATE * (seconds + 0.1)), `${kind} in ${seconds} s`);
    }
  });
}

test.serial('a network says the limit of its endpoints, an endpoint its own, and `off` is none', async (t) => {
  const { hosts, tapline } = await createLab(t, {
    hosts: 2,
    network: { storm_control: { broadcast: 10 } },
    endpoints: { b: { storm_control: { broadcast: 'off' } } },
  });
  const [a, b] = hosts as [Host, Host];
  const dropped: number[] = [];
  for (const host of [a, b]) {
    await mute(host);
    await host.exec('ip', 'link', 'set', 'eth0', 'txqueuelen', String(QUEUE));
    await tapline.quiet();
    const frame = plainFrame('ff:ff:ff:ff:ff:ff', host.mac);
    const before = (await tapline.port(host.endpoint)).rxPackets;
    await host.exec(PYTHON, '-c', SEND, marked(frame, 1).toString('hex'), '1000');
    await eventually('it to be taken', async () => (await tapline.port(host.endpoint)).rxPackets - before >= 1000);
    dropped.push((await tapline.port(host.endpoint)).rxDrops.storm_broadcast ?? 0);
  }
  t.true(dropped[0]! > 800, `${dropped[0]}`);
  t.is(dropped[1], 0);
});

test.serial('mausezahn as fast as it can: the others go on talking', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 3, network: { storm_control: { broadcast: 1000 } } });
  const [a, b, c] = hosts as [Host, Host, Host];
  await lossOfPings(a, b);
  const storm = c.start('mausezahn', 'eth0', '-q', '-c', '0', '-a', c.mac, '-b', 'bcast', '-p', '64');
  await eventually('the storm', async () => ((await tapline.port('c')).rxDrops.storm_broadcast ?? 0) > 1000);
  t.regex(await lossOfPings(a, b), / 50 received, 0% packet loss/);
  t.true(storm.running());
  await storm.stop('SIGINT');
});
