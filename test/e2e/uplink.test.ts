/** The bridged uplink: containers as hosts on an outside wire, over AF_PACKET on one end of a veth. */

import test, { type ExecutionContext } from 'ava';
import { BAD_CHECKSUM, sendScapy, TEST_FILTER, tcpdump, tshark } from './support/frames.js';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import { createHosts, type Host } from './support/lab.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { must } from './support/process.js';
import { ENGINES, type Engine, startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

const OUTSIDE = { ip: '172.30.0.250', ip6: 'fd00:30::250' };

interface Wire {
  readonly tapline: Tapline;
  readonly a: Host;
  readonly b: Host;
  /** Where the daemon runs; its `up0` is the uplink. */
  readonly host: Namespace;
  /** At the other end of the wire, behind `out0`. */
  readonly outside: Namespace;
}

async function createWire(t: ExecutionContext, engine: Engine, security = 'strict', uplink = {}): Promise<Wire> {
  const host = await createNamespace(t);
  const outside = await createNamespace(t);
  const veth = ['up0', 'type', 'veth', 'peer', 'name', 'out0', 'netns', outside.name];
  await must(['ip', '-n', host.name, 'link', 'add', ...veth]);
  await host.exec('ip', 'link', 'set', 'up0', 'up');
  await outside.exec('ip', 'link', 'set', 'out0', 'up');
  await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip}/24`, 'dev', 'out0');
  await outside.exec('ip', 'address', 'add', `${OUTSIDE.ip6}/64`, 'dev', 'out0', 'nodad');
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const endpoint = ({ path, ip, ip6 }: Host): object => ({
    network: 'lan',
    netns: path,
    addresses: [ip, ip6],
    security,
  });
  const config = {
    version: 1,
    uplink: { device: 'up0', mode: 'bridged', network: 'lan', ...uplink },
    networks: { lan: { subnets: ['172.30.0.0/24', 'fd00:30::/64'], gateways: ['172.30.0.254'] } },
    endpoints: { a: endpoint(a), b: endpoint(b) },
  };
  const tapline = await startTapline(t, config, { engine, netns: host });
  return { tapline, a, b, host, outside };
}

const promiscuity = async (host: Namespace): Promise<number> => {
  const [link] = JSON.parse(await host.exec('ip', '-json', '-details', 'link', 'show', 'up0')) as [
    { promiscuity: number },
  ];
  return link.promiscuity;
};

for (const engine of ENGINES) {
  test.serial(
    `${engine}: containers and the outside reach each other, in both families, with large packets`,
    async (t) => {
      const { tapline, a, b, host, outside } = await createWire(t, engine);
      for (const [from, to] of [
        [a, OUTSIDE.ip],
        [a, OUTSIDE.ip6],
        [outside, b.ip],
        [outside, b.ip6],
        [a, b.ip],
      ] as const) {
        await from.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', to);
      }
      await iperfServer(outside);
      for (const options of [[], ['--reverse'], ['--parallel', '4']]) await iperfWhole(a, OUTSIDE.ip, 64, ...options);
      t.is(await tapline.fdbPort(a.mac), 'a');
      const [out] = JSON.parse(await outside.exec('ip', '-json', 'link', 'show', 'out0')) as [{ address: string }];
      t.is(await tapline.fdbPort(out.address), 'uplink');
      const { received, originated, copies, delivered, local, drops } = await tapline.quiet();
      t.is(received + originated + copies, delivered + local + drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0));
      t.regex(await a.exec('ip', 'route'), /default via 172\.30\.0\.254/);

      t.is(await promiscuity(host), 1);
      await tapline.stop();
      t.is(await promiscuity(host), 0, 'the uplink is as it was');
    },
  );

  for (const offload of [true, false]) {
    const who = offload ? 'the kernel' : 'Tapline';
    test.serial(
      `${engine}: on a wire without offloads, which ${who} makes up for, every frame fits and has right checksums`,
      async (t) => {
        const { a, host, outside } = await createWire(t, engine, undefined, { offload });
        // What containers left to be done is completed on this side of the wire: from our header, or by us.
        await host.exec('ethtool', '-K', 'up0', 'tx', 'off', 'tso', 'off', 'gso', 'off');
        await outside.exec('ethtool', '-K', 'out0', 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off');
        await iperfServer(outside);
        const wire = await tcpdump(t, outside, { device: 'out0', direction: 'in' });
        const inside = await tcpdump(t, a, { direction: 'in' });
        for (const address of [OUTSIDE.ip, OUTSIDE.ip6]) {
          await iperf(a, address, '--bytes', '2M');
          await iperf(a, address, '--bytes', '2M', '--reverse');
          await iperf(a, address, '--udp', '--bytes', '200K', '--bitrate', '50M', '--length', '1000');
        }
        // What follows each other is one packet inside, its checksum verified, unless the wire is to be seen there as it is.
        for (const capture of offload ? [wire] : [wire, inside]) {
          const frames = await capture.frames();
          t.true(frames.length > 1000);
          t.true(frames.every((frame) => frame.length <= 1514));
          t.deepEqual(await tshark(capture.path, ['frame.number', 'frame.protocols'], BAD_CHECKSUM), []);
          t.true((await tshark(capture.path, ['frame.number'], 'tcp.checksum.status == 1')).length > 500);
        }
      },
    );
  }

  test.serial(
    `${engine}: VLAN tags pass as they are, in from the wire, out to it, and between containers`,
    async (t) => {
      const { a, b, outside } = await createWire(t, engine, 'off');
      const scapy = (name: string): string[] => {
        const ethernet = `Ether(src='02:00:00:00:42:01', dst='ff:ff:ff:ff:ff:ff')`;
        const payload = (text: string): string => `Raw(b'${name} ${text}'.ljust(50, b'.'))`;
        return [
          `${ethernet}/Dot1Q(vlan=42, prio=5, type=0x88b5)/${payload('one')}`,
          `${ethernet}/Dot1Q(vlan=4094, id=1, type=0x88b5)/${payload('dei')}`,
          `${ethernet}/Dot1AD(vlan=7)/Dot1Q(vlan=42, prio=3, type=0x88b5)/${payload('two')}`,
          `${ethernet}/Dot1Q(vlan=9)/Dot1Q(vlan=10, type=0x88b5)/${payload('same')}`,
        ];
      };
      const headers = ['8100a02a88b5', '81001ffe88b5', '88a80007' + '8100602a88b5', '81000009' + '8100000a88b5'];
      const filter = 'ether src 02:00:00:00:42:01';
      for (const [from, device, to] of [
        [outside, 'out0', [a, b]],
        [a, 'eth0', [b, outside]],
      ] as const) {
        const captures = await Promise.all(
          to.map((each) => tcpdump(t, each, { device: each === outside ? 'out0' : 'eth0', direction: 'in', filter })),
        );
        await sendScapy(from, scapy(device), device);
        for (const capture of captures) {
          await capture.has(`${device} same`);
          const frames = await capture.frames();
          t.deepEqual(
            frames.map((frame, i) => frame.toString('hex', 12, 12 + headers[i]!.length / 2)),
            headers,
          );
          t.deepEqual(
            frames.map((frame) => /\w+ (one|dei|two|same)\.+/.exec(frame.toString('latin1'))?.[1]),
            ['one', 'dei', 'two', 'same'],
          );
        }
      }
    },
  );
}

test.serial('an uplink that goes down and comes up again works again', async (t) => {
  const { tapline, a, host } = await createWire(t, 'uring');
  await a.exec('ping', '-c', '1', '-W', '5', OUTSIDE.ip);
  await host.exec('ip', 'link', 'set', 'up0', 'down');
  t.not((await a.run(['ping', '-c', '1', '-W', '1', OUTSIDE.ip])).code, 0);
  await host.exec('ip', 'link', 'set', 'up0', 'up');
  await eventually(
    'the outside to answer',
    async () => (await a.run(['ping', '-c', '1', '-W', '1', OUTSIDE.ip])).code === 0,
  );
  t.is((await tapline.status()).uplink?.state, 'up');
});

test.serial("the daemon's own host does not see what is switched, and its own traffic stays its own", async (t) => {
  const { tapline, a, host, outside } = await createWire(t, 'uring');
  await host.exec('ip', 'address', 'add', '172.30.0.240/24', 'dev', 'up0');
  const seen = await tcpdump(t, a, { direction: 'in', filter: `${TEST_FILTER} or host 172.30.0.240` });
  await host.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', OUTSIDE.ip);
  await outside.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', '172.30.0.240');
  await a.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', OUTSIDE.ip);
  t.true((await tapline.quiet()).received > 4);
  const unicast = (await seen.frames()).filter((frame) => (frame[0]! & 1) === 0);
  t.deepEqual(unicast, [], 'unicast between the host and the outside is not for containers');
});
