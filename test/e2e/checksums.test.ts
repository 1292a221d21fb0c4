/** Checksums: right at every receiver that looks at them, whatever the containers' offloads are. */

import test from 'ava';
import { BAD_CHECKSUM, tcpdump, tshark } from './support/frames.js';
import { iperf, iperfServer } from './support/iperf.js';
import { createLab, type Host } from './support/lab.js';
import { ENGINES } from './support/tapline.js';

/** Packets that the namespace's own stack found corrupt. */
const ERRORS = ['IpInHdrErrors', 'TcpInCsumErrors', 'UdpInCsumErrors', 'Udp6InCsumErrors', 'Ip6InHdrErrors'];

async function corrupt(host: Host): Promise<number> {
  const { kernel } = JSON.parse(await host.exec('nstat', '--json', '--zeros', '--ignore', ...ERRORS)) as {
    kernel: Record<string, number>;
  };
  return ERRORS.reduce((sum, name) => sum + (kernel[name] ?? Number.NaN), 0);
}

const OFF = ['tx', 'off', 'rx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off', 'sg', 'off'];

/** TCP both ways and UDP, over both families, from `from` to `to`. */
async function traffic(from: Host, to: Host): Promise<void> {
  for (const address of [to.ip, to.ip6]) {
    await iperf(from, address, '--bytes', '3M');
    await iperf(from, address, '--bytes', '3M', '--reverse');
    await iperf(from, address, '--udp', '--bytes', '300K', '--bitrate', '50M', '--length', '1000');
  }
}

for (const engine of ENGINES) {
  for (const [title, offA, offB] of [
    ['on both sides', false, false],
    ['only in the receiver', true, false],
    ['only in the sender', false, true],
  ] as const) {
    test.serial(`${engine}: offloads ${title}: no stack finds a corrupt packet`, async (t) => {
      const { hosts } = await createLab(t, { engine });
      const [a, b] = hosts as [Host, Host];
      if (offA) await a.exec('ethtool', '-K', 'eth0', ...OFF);
      if (offB) await b.exec('ethtool', '-K', 'eth0', ...OFF);
      await iperfServer(b);
      await traffic(a, b);
      t.is(await corrupt(a), 0);
      t.is(await corrupt(b), 0);
    });
  }

  test.serial(`${engine}: without offloads every frame on the wire has right checksums, at both ends`, async (t) => {
    const { hosts } = await createLab(t, { engine });
    const [a, b] = hosts as [Host, Host];
    await iperfServer(b);
    for (const host of [a, b]) await host.exec('ethtool', '-K', 'eth0', ...OFF);
    const captures = [await tcpdump(t, a, { direction: 'in' }), await tcpdump(t, b, { direction: 'in' })];
    await traffic(a, b);
    for (const capture of captures) {
      const frames = await capture.frames();
      t.true(frames.length > 2000);
      t.true(frames.every((frame) => frame.length <= 1514));
      t.deepEqual(await tshark(capture.path, ['frame.number'], BAD_CHECKSUM), []);
      const good = await tshark(capture.path, ['frame.number'], 'tcp.checksum.status == 1');
      t.true(good.length > 1000, 'the checksums have been looked at');
    }
  });
}
