/** Traffic between namespaces over each engine: it arrives, in both families, and every frame is accounted for. */

import test from 'ava';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import { createLab, type Host } from './support/lab.js';
import { createNamespace } from './support/namespace.js';
import { ENGINES, type Tapline } from './support/tapline.js';

interface LinkCounters {
  readonly rx: { readonly packets: number; readonly bytes: number };
  readonly tx: { readonly packets: number; readonly bytes: number };
}

async function linkCounters(host: Host): Promise<LinkCounters> {
  const text = await host.exec('ip', '-json', '-statistics', 'link', 'show', 'eth0');
  const [link] = JSON.parse(text) as { stats64: LinkCounters }[];
  return link!.stats64;
}

/** Sum of the drops by reason, both directions. */
async function exactTotals(tapline: Tapline): Promise<{ received: number; accounted: number }> {
  const { received, originated, copies, delivered, local, drops } = await tapline.quiet();
  const dropped = drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0);
  return { received: received + originated + copies, accounted: delivered + local + dropped };
}

for (const engine of ENGINES) {
  test.serial(`${engine}: ping and arping, IPv4 and IPv6, small and fragmented`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine });
    const [a, b] = hosts as [Host, Host];
    t.is((await tapline.status()).engine, engine);
    for (const address of [b.ip, b.ip6]) {
      await a.exec('ping', '-c', '3', '-i', '0.1', '-W', '5', address);
      await a.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', '-s', '4000', address);
    }
    await b.exec('ping', '-c', '1', '-W', '5', a.ip);
    t.regex(await a.exec('arping', '-c', '2', '-I', 'eth0', b.ip), new RegExp(b.mac.replaceAll(':', ':?'), 'i'));
    t.regex(await a.exec('ip', 'neigh', 'show', b.ip), new RegExp(b.mac, 'i'));
    t.is(await tapline.fdbPort(a.mac), 'a');
    t.is(await tapline.fdbPort(b.mac), 'b');
  });

  test.serial(`${engine}: iperf3, and every frame is delivered or a counted drop`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine });
    const [a, b] = hosts as [Host, Host];
    await iperfServer(b);

    await iperfWhole(a, b.ip, 64);
    await iperfWhole(a, b.ip, 64, '--reverse');
    await iperfWhole(a, b.ip6, 64, '--parallel', '4');

    const udp = await iperf(a, b.ip, '--bytes', '12M', '--udp', '--bitrate', '50M', '--length', '1200');
    t.true((udp.end.sum?.packets ?? 0) > 10_000);
    t.is(
      udp.end.streams.reduce((sum, stream) => sum + (stream.udp?.out_of_order ?? 0), 0),
      0,
    );

    const { received, accounted } = await exactTotals(tapline);
    t.is(received, accounted);
    t.true(received > 10_000);
    for (const host of [a, b]) {
      const port = await tapline.port(host.endpoint);
      const link = await linkCounters(host);
      t.is(port.rxPackets, link.tx.packets, 'what the namespace sent is what the port received');
      t.is(port.txPackets, link.rx.packets, 'what the port delivered is what the namespace received');
      t.is(port.rxBytes, link.tx.bytes);
      t.is(port.txBytes, link.rx.bytes);
    }
  });
}

test.serial('auto takes io_uring where the kernel has it, and says why', async (t) => {
  const { tapline } = await createLab(t, { engine: 'auto', hosts: 1 });
  const { engine, engineReason } = await tapline.status();
  t.is(engine, 'uring');
  t.true(engineReason.length > 5);
});

test.serial('MTU 9000: the interface has it, and whole packets of it pass', async (t) => {
  const { hosts } = await createLab(t, { network: { mtu: 9000 } });
  const [a, b] = hosts as [Host, Host];
  t.regex(await a.exec('ip', 'link', 'show', 'eth0'), /mtu 9000/);
  await a.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', '-M', 'do', '-s', '8972', b.ip);
  const tooBig = await a.run(['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '8973', b.ip]);
  t.not(tooBig.code, 0);
});

test.serial('two networks are two segments: the same addresses in both do not meet', async (t) => {
  const { hosts, tapline } = await createLab(t);
  const [, b] = hosts as [Host, Host];
  await tapline.ok('network', 'create', 'red', '--subnet', '172.31.0.0/24');
  const [x, y] = [await createNamespace(t), await createNamespace(t)];
  for (const [name, namespace, mac] of [
    ['x', x, '02:00:00:00:00:0a'],
    ['y', y, '02:00:00:00:00:0b'],
  ] as const) {
    // They will have addresses that are not theirs.
    await tapline.ok('connect', 'red', '--netns', namespace.path, '--name', name, '--mac', mac, '--security', 'mac');
  }
  await x.exec('ip', 'address', 'add', '172.30.0.200/24', 'dev', 'eth0');
  await y.exec('ip', 'address', 'add', `${b.ip}/24`, 'dev', 'eth0');
  const answers = await x.exec('arping', '-c', '3', '-I', 'eth0', b.ip);
  t.regex(answers, /02:00:00:00:00:0b/i);
  t.notRegex(answers, new RegExp(b.mac, 'i'));
  const behindPorts = (await tapline.fdb()).filter(({ port }) => port !== 'gateway');
  t.true(behindPorts.every(({ network, port }) => network === (port === 'x' || port === 'y' ? 'red' : 'blue')));
});
