/** An endpoint that is connected says so: others re-learn its address at once, though they believed it elsewhere. */

import { readFileSync } from 'node:fs';
import test from 'ava';
import { tcpdump } from './support/frames.js';
import { createLab, type Host } from './support/lab.js';
import { createNamespace } from './support/namespace.js';
import { ENGINES } from './support/tapline.js';
import { eventually } from './support/wait.js';
import { createWire, OUTSIDE, pings } from './support/wire.js';

const NEW_MAC = '02:00:00:00:ab:cd';

for (const engine of ENGINES) {
  test.serial(
    `${engine}: a peer with a stale neighbour entry re-learns at once when the endpoint comes back`,
    async (t) => {
      const { hosts, tapline } = await createLab(t, { engine });
      const [a, b] = hosts as [Host, Host];
      for (const address of [b.ip, b.ip6]) t.true(await pings(a, address));
      // Entries that the kernel believes for hours: only an announcement changes them.
      await a.exec('sysctl', '-qw', 'net.ipv4.neigh.eth0.base_reachable_time_ms=36000000');
      await a.exec('sysctl', '-qw', 'net.ipv6.neigh.eth0.base_reachable_time_ms=36000000');
      const neighbour = async (address: string): Promise<string> => a.exec('ip', 'neigh', 'show', address);
      for (const address of [b.ip, b.ip6]) t.regex(await neighbour(address), new RegExp(b.mac));

      await tapline.ok('disconnect', 'b');
      const place = await createNamespace(t);
      const capture = await tcpdump(t, a, { direction: 'in', filter: `ether src ${NEW_MAC}` });
      const address = ['--address', b.ip, '--address', b.ip6, '--mac', NEW_MAC];
      await tapline.ok('connect', 'blue', '--netns', place.path, '--name', 'b', ...address);
      // Nothing but the announcement was heard of it, and nothing was asked.
      for (const one of [b.ip, b.ip6]) {
        await eventually(`${one} to be at its new place`, async () => (await neighbour(one)).includes(NEW_MAC));
        t.true(await pings(a, one));
      }
      const frames = await capture.frames();
      const arp = frames.filter((frame) => frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 1);
      const own = Buffer.from(b.ip.split('.').map(Number));
      t.true(arp.some((frame) => frame.subarray(28, 32).equals(own) && frame.subarray(38, 42).equals(own)));
    },
  );
}

test.serial('the outside wire hears of an endpoint, too, and finds it without flooding', async (t) => {
  const { tapline, hosts, outside } = await createWire(t, { hosts: 1 });
  const [a] = hosts as [Host];
  t.true(await pings(outside, a.ip));
  await outside.exec('sysctl', '-qw', 'net.ipv4.neigh.out0.base_reachable_time_ms=36000000');
  await tapline.ok('disconnect', 'a');
  const place = await createNamespace(t);
  const capture = await tcpdump(t, outside, {
    device: 'out0',
    direction: 'in',
    filter: `arp and ether src ${NEW_MAC}`,
  });
  await tapline.ok('connect', 'blue', '--netns', place.path, '--name', 'a', '--address', a.ip, '--mac', NEW_MAC);
  await eventually('an announcement on the wire', () => readFileSync(capture.path).length > 24);
  await eventually('the outside to re-learn', async () =>
    (await outside.exec('ip', 'neigh', 'show', a.ip)).includes(NEW_MAC),
  );
  t.true(await pings(outside, a.ip));
  t.is((await tapline.fdb()).find(({ mac }) => mac === NEW_MAC)?.static, true);
  t.is(await tapline.fdbPort(OUTSIDE.mac), 'uplink');
});
