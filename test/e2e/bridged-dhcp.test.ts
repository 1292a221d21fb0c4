/**
 * Containers on an outside wire that get their addresses there: the DHCP clients of ISC and of busybox against dnsmasq, on the wire
 * itself and on one VLAN of it. This kernel knows no VLANs, so scapy puts the tags on and takes them off in front of dnsmasq.
 */

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sendScapy, TEST_FILTER, tcpdump, temporaryDirectory } from './support/frames.js';
import { iperfServer, iperfWhole } from './support/iperf.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import type { Background } from './support/process.js';
import { PYTHON } from './support/scapy.js';
import { startTapline, type Tapline } from './support/tapline.js';
import { eventually } from './support/wait.js';
import { createVeth, pings } from './support/wire.js';

const SERVER = '172.30.0.250';
const SUBNET = '172.30.0.0/24';
const LEASED = /inet (172\.30\.0\.1\d\d)\/24 /;
const VLAN = 42;
const PATIENCE_MS = 45_000;

/** What both clients call; they say the same in other words. The machine's resolv.conf is not theirs to write. */
const SCRIPT = `#!/bin/sh
device=\${interface:-eth0}
case "\${reason:-$1}" in
  BOUND|REBOOT|RENEW|REBIND|bound|renew)
    ip -4 address replace "\${new_ip_address:-$ip}/\${new_subnet_mask:-$mask}" dev "$device"
    ip route replace default via "\${new_routers:-$router}" dev "$device" ;;
esac
`;

interface Client {
  readonly name: string;
  /** Asks until there is a lease; ends without one. */
  lease(): Promise<void>;
  renew(): Promise<void>;
  release(): Promise<void>;
}

/** @param t at whose end the client ends too */
type MakeClient = (t: ExecutionContext, container: Namespace) => Client;

function scriptIn(directory: string): string {
  const path = join(directory, 'script');
  writeFileSync(path, SCRIPT);
  chmodSync(path, 0o755);
  return path;
}

const dhclient: MakeClient = (t, container) => {
  const directory = temporaryDirectory(t);
  const file = (name: string): string => join(directory, name);
  writeFileSync(file('conf'), 'timeout 30;\ninitial-interval 1;\nbackoff-cutoff 1;\nselect-timeout 0;\n');
  const files = ['-cf', file('conf'), '-lf', file('leases'), '-pf', file('pid'), '-sf', scriptIn(directory)];
  const call = async (...options: string[]): Promise<void> => {
    const { code, stderr } = await container.run(['dhclient', '-4', '-v', ...options, ...files, 'eth0']);
    if (code !== 0) throw new Error(`dhclient ${options}: exit code ${code}\n${stderr}`);
  };
  return {
    name: 'dhclient',
    lease: () => call('-1'),
    // With what it remembers, which the server must confirm.
    renew: async () => {
      await call('-x');
      await call('-1');
    },
    release: () => call('-r'),
  };
};

const udhcpc: MakeClient = (t, container) => {
  const script = scriptIn(temporaryDirectory(t));
  let client: Background | null = null;
  const signal = (name: NodeJS.Signals): boolean => process.kill(client?.pid ?? 0, name);
  return {
    name: 'udhcpc',
    lease: async () => {
      client = container.start('busybox', 'udhcpc', '-f', '-t', '20', '-T', '1', '-n', '-i', 'eth0', '-s', script);
      await client.said(/lease of \S+ obtained/, PATIENCE_MS);
    },
    renew: async () => void signal('SIGUSR1'),
    release: async () => void signal('SIGUSR2'),
  };
};

/** Serves addresses from .100 to .120 on a device. */
async function startDnsmasq(server: Namespace, device: string): Promise<Background> {
  const dnsmasq = server.start(
    'dnsmasq',
    '--no-daemon',
    '--conf-file=/dev/null',
    '--port=0',
    '--log-dhcp',
    '--leasefile-ro',
    '--no-ping',
    '--dhcp-authoritative',
    `--interface=${device}`,
    '--bind-dynamic',
    '--dhcp-range=172.30.0.100,172.30.0.120,2m',
    `--dhcp-option=option:router,${SERVER}`,
    '--pid-file=',
    '--user=root',
  );
  await dnsmasq.said(/DHCP, IP range/);
  return dnsmasq;
}

/** How often the server's log has a message of a kind for a MAC. */
function messages(dnsmasq: Background, kind: string, mac: string): number {
  const pattern = new RegExp(`${kind}\\(\\S+\\) .*${mac}`, 'g');
  return dnsmasq.stderr().match(pattern)?.length ?? 0;
}

interface Scene {
  readonly tapline: Tapline;
  readonly a: Namespace;
  readonly b: Namespace;
  readonly host: Namespace;
  /** At the other end of the wire. */
  readonly outside: Namespace;
}

const MACS = { a: '02:00:00:00:d0:0a', b: '02:00:00:00:d0:0b' };

async function createScene(t: ExecutionContext, uplink: object = {}, endpoint: object = {}): Promise<Scene> {
  const host = await createNamespace(t);
  const outside = await createNamespace(t);
  await createVeth(host, 'up0', outside, 'out0');
  const a = await createNamespace(t);
  const b = await createNamespace(t);
  const common = { network: 'lan', allowed_addresses: [SUBNET], ...endpoint };
  const config = {
    version: 1,
    uplink: { device: 'up0', mode: 'bridged', network: 'lan', ...uplink },
    networks: { lan: { subnets: [SUBNET] } },
    endpoints: {
      a: { ...common, netns: a.path, mac: MACS.a },
      b: { ...common, netns: b.path, mac: MACS.b },
    },
  };
  const tapline = await startTapline(t, config, { netns: host });
  // What Tapline chose is not the wire's choice.
  for (const container of [a, b]) await container.exec('ip', '-4', 'address', 'flush', 'dev', 'eth0');
  return { tapline, a, b, host, outside };
}

async function leasedAddress(container: Namespace): Promise<string> {
  return LEASED.exec(await container.exec('ip', '-4', 'address', 'show', 'dev', 'eth0'))?.[1] ?? '';
}

/** Both containers get leases, by one client each, and use them. */
async function useLeases(t: ExecutionContext, scene: Scene, server: Namespace, dnsmasq: Background): Promise<void> {
  const { a, b } = scene;
  const clients = [
    { client: dhclient(t, a), container: a, mac: MACS.a },
    { client: udhcpc(t, b), container: b, mac: MACS.b },
  ];
  for (const { client, container } of clients) {
    await client.lease();
    // Its script sets the address first.
    await eventually(`${client.name} to set address and route`, async () =>
      /default via 172\.30\.0\.250 dev eth0/.test(await container.exec('ip', 'route')),
    );
  }
  const [first, second] = [await leasedAddress(a), await leasedAddress(b)];
  t.not(first, second);
  for (const [from, to] of [
    [a, SERVER],
    [b, SERVER],
    [server, first],
    [server, second],
    [a, second],
    [b, first],
  ] as const)
    t.true(await pings(from, to), `to ${to}`);

  for (const { client, container, mac } of clients) {
    const before = messages(dnsmasq, 'DHCPACK', mac);
    const address = await leasedAddress(container);
    await client.renew();
    await eventually('the lease to be renewed', () => messages(dnsmasq, 'DHCPACK', mac) > before, PATIENCE_MS);
    t.is(messages(dnsmasq, 'DHCPNAK', mac), 0);
    t.is(await leasedAddress(container), address);
    t.true(await pings(container, SERVER));
    await client.release();
    await eventually('the lease to be given back', () => messages(dnsmasq, 'DHCPRELEASE', mac) > 0, PATIENCE_MS);
  }
}

test.serial('on the wire itself: leases are got, used, renewed and given back', async (t) => {
  const scene = await createScene(t);
  const { tapline, a, outside } = scene;
  await outside.exec('ip', 'address', 'add', `${SERVER}/24`, 'dev', 'out0');
  const dnsmasq = await startDnsmasq(outside, 'out0');
  await useLeases(t, scene, outside, dnsmasq);

  await iperfServer(outside);
  await iperfWhole(a, SERVER, 32);
  const { received, originated, copies, delivered, local, drops } = await tapline.quiet();
  t.is(received + originated + copies, delivered + local + drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0));
  for (const name of ['a', 'b']) {
    const { rxDrops } = await tapline.port(name);
    for (const reason of ['source_mac', 'source_address', 'arp_sender'])
      t.false(reason in rxDrops, `${name}: ${reason}`);
  }
});

test.serial(
  'who may not use what the wire gives gets a lease, and is told by a count why it is of no use',
  async (t) => {
    const { tapline, a, outside } = await createScene(t, {}, { allowed_addresses: [] });
    await outside.exec('ip', 'address', 'add', `${SERVER}/24`, 'dev', 'out0');
    await startDnsmasq(outside, 'out0');
    await dhclient(t, a).lease();
    await eventually('the address to be set', async () => (await leasedAddress(a)) !== '');
    t.false(await pings(a, SERVER));
    const { rxDrops } = await tapline.port('a');
    t.true((rxDrops.arp_sender ?? 0) > 0, JSON.stringify(rxDrops));
  },
);

/** Tags what comes from a server's device, and takes the tag from what is for it. What has another, or none, is nobody's. */
const TAGGER = `
import select, sys
from scapy.all import *

wire, server, vlan = conf.L2socket(iface=sys.argv[1]), conf.L2socket(iface=sys.argv[2]), int(sys.argv[3])
print('tagging', flush=True)
while True:
    for ready in select.select([wire, server], [], [])[0]:
        frame = ready.recv()
        if frame is None or Ether not in frame:
            continue
        ether = Ether(src=frame.src, dst=frame.dst)
        if ready is server:
            wire.send(ether / Dot1Q(vlan=vlan, type=frame.type) / frame.payload)
        elif Dot1Q in frame and frame[Dot1Q].vlan == vlan:
            ether.type = frame[Dot1Q].type
            server.send(ether / frame[Dot1Q].payload)
`;

test.serial('on one VLAN of the wire: tagged there by scapy, untagged in containers, others kept out', async (t) => {
  const scene = await createScene(t, { vlan: VLAN });
  const { tapline, a, host, outside } = scene;
  const server = await createNamespace(t);
  await createVeth(server, 'srv0', outside, 'srv1');
  // What scapy copies must be whole: nobody may leave checksums to a device, nor merge segments.
  for (const [namespace, device] of [
    [host, 'up0'],
    [server, 'srv0'],
  ] as const)
    await namespace.exec('ethtool', '-K', device, 'tx', 'off', 'tso', 'off', 'gso', 'off');
  for (const device of ['out0', 'srv1']) await outside.exec('sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`);
  await server.exec('ip', 'address', 'add', `${SERVER}/24`, 'dev', 'srv0');
  const [link] = JSON.parse(await host.exec('ip', '-json', 'link', 'show', 'up0')) as [{ address: string }];
  const filter = `not ether src ${link.address}`;
  const wire = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter });
  const inside = await tcpdump(t, a, { direction: 'in', filter: `${TEST_FILTER} or vlan` });
  const tagger = outside.start(PYTHON, '-c', TAGGER, 'out0', 'srv1', String(VLAN));
  await tagger.said(/tagging/, PATIENCE_MS);
  const dnsmasq = await startDnsmasq(server, 'srv0');
  await useLeases(t, scene, server, dnsmasq);

  const ethernet = `Ether(src='02:00:00:00:42:01', dst='ff:ff:ff:ff:ff:ff')`;
  const payload = (text: string): string => `Raw(b'${text}'.ljust(50, b'.'))`;
  await sendScapy(
    outside,
    [
      `${ethernet}/Dot1Q(vlan=${VLAN + 1}, type=0x88b5)/${payload('another VLAN')}`,
      `Ether(src='02:00:00:00:42:01', dst='ff:ff:ff:ff:ff:ff', type=0x88b5)/${payload('no VLAN')}`,
      `${ethernet}/Dot1Q(vlan=0, prio=5, type=0x88b5)/${payload('a priority alone')}`,
      `${ethernet}/Dot1Q(vlan=${VLAN}, type=0x88b5)/${payload('this VLAN')}`,
    ],
    'out0',
  );
  await inside.has('this VLAN');
  const seen = await inside.frames();
  t.is(seen.length, 1);
  t.is(seen[0]?.readUInt16BE(12), 0x88b5, 'without its tag');

  const sent = await wire.frames();
  t.true(sent.length > 20);
  t.true(sent.every((frame) => frame.readUInt16BE(12) === 0x8100 && (frame.readUInt16BE(14) & 0xfff) === VLAN));
  t.true(tagger.running());
  const { rxDrops } = await tapline.port('uplink');
  t.true(Object.values(rxDrops).reduce((sum, count) => sum + (count ?? 0), 0) >= 3, JSON.stringify(rxDrops));
});
