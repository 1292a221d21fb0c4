/**
 * Every attack of a container with root and CAP_NET_RAW on its neighbours: nothing forged arrives, each frame is counted under its
 * reason, and those who talk meanwhile notice nothing. With `security: off` the same frames do arrive, so they are no straw men.
 *
 * With TAPLINE_REPORT=PATH in the environment the table of the attacks is written there in Markdown.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { PortView } from '../../control/views.js';
import { ATTACKS, attackValues, linkLocal } from './support/attacks.js';
import { sendFrames, temporaryDirectory } from './support/frames.js';
import { createLab, type Host, type LabOptions } from './support/lab.js';
import { marked, mute, report, type Sniffer, startSniffer } from './support/marks.js';
import type { Background } from './support/process.js';
import { buildFrames, PYTHON } from './support/scapy.js';
import { ENGINES, type Tapline } from './support/tapline.js';
import { eventually, settled } from './support/wait.js';

const COPIES = 20;
const FLOOD = 100_000;
/** Far more than the daemon can be behind on a busy machine; what a TAP's own queue does not take is lost before Tapline. */
const QUEUE = 30_000;
const FLOOD_STEP = 10_000;
const FLOOD_MARK = 0x1000;

interface Scene {
  readonly tapline: Tapline;
  readonly victim: Host;
  readonly peer: Host;
  readonly attacker: Host;
  readonly atVictim: Sniffer;
  readonly atPeer: Sniffer;
}

async function createScene(t: ExecutionContext, options: LabOptions = {}): Promise<Scene> {
  const { hosts, tapline } = await createLab(t, { hosts: 3, ...options });
  const [victim, peer, attacker] = hosts as [Host, Host, Host];
  await attacker.exec('ip', 'link', 'set', 'eth0', 'txqueuelen', String(QUEUE));
  return { tapline, victim, peer, attacker, atVictim: await startSniffer(victim), atPeer: await startSniffer(peer) };
}

/** What a port has received and dropped, once nothing comes from it any more. Others may go on talking. */
function settledPort(tapline: Tapline, name: string): Promise<Pick<PortView, 'rxPackets' | 'rxDrops'>> {
  return settled(
    `port ${name}`,
    async () => {
      const { rxPackets, rxDrops } = await tapline.port(name);
      return { rxPackets, rxDrops };
    },
    20,
  );
}

/** The namespace of the attacker says nothing from now on but what the test sends. */
async function silence({ tapline, attacker }: Scene): Promise<void> {
  await mute(attacker);
  await settledPort(tapline, attacker.endpoint);
}

/** Everything that came in at victim and peer until now has been counted. */
async function upToDate({ tapline, victim, peer, attacker, atVictim, atPeer }: Scene): Promise<void> {
  await settledPort(tapline, attacker.endpoint);
  await report([
    { sniffer: atVictim, from: peer, fromMac: peer.mac },
    { sniffer: atPeer, from: victim, fromMac: victim.mac },
  ]);
}

/** Frames that a port has dropped, by reason; only reasons that have grown. */
function grown(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Record<string, number> {
  const entries = Object.entries(after).map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const);
  return Object.fromEntries(entries.filter(([, count]) => count !== 0));
}

/**
 * Runs `send`, by which `count` frames leave the attacker. Resolves to what its port has dropped of them, by reason; and, where it
 * was another number, to how many it has received.
 */
async function attack(
  { tapline, attacker }: Scene,
  count: number,
  send: () => Promise<void>,
): Promise<Record<string, number>> {
  const before = await tapline.port(attacker.endpoint);
  await send();
  await eventually(
    `${count} frames`,
    async () => (await tapline.port(attacker.endpoint)).rxPackets - before.rxPackets >= count,
  );
  const after = await settledPort(tapline, attacker.endpoint);
  const received = after.rxPackets - before.rxPackets;
  return { ...grown(before.rxDrops, after.rxDrops), ...(received === count ? {} : { received }) };
}

/** Everlasting talk between two endpoints. */
async function talk(from: Host, address: string): Promise<{ end: () => Promise<void> }> {
  const ping = from.start('ping', '-n', '-i', '0.02', '-W', '10', address);
  await ping.said(/icmp_seq=3 /);
  return { end: () => unhurt(ping) };
}

/** Ends a ping. Rejects unless each of its requests was answered, and once; the last one may still be under way. */
async function unhurt(ping: Background): Promise<void> {
  const { stdout, stderr } = await ping.stop('SIGINT');
  const answered = [...stdout.matchAll(/icmp_seq=(\d+) ttl=/g)].map(([, sequence]) => Number(sequence));
  const sent = Number(/^(\d+) packets transmitted/m.exec(stdout)?.[1]);
  const missing = Array.from({ length: sent }, (_, i) => i + 1).filter((sequence) => !answered.includes(sequence));
  const inOrder = missing.length === 0 || (missing.length === 1 && missing[0] === sent);
  if (!inOrder || answered.length + missing.length !== sent || /DUP|Redirect|unreachable/i.test(stdout)) {
    throw new Error(`of ${sent} pings ${missing.length} were lost: ${missing}\n${stdout.slice(-2000)}${stderr}`);
  }
}

/** Addresses and routes, which an attack may have changed. */
async function beliefs(host: Host): Promise<object> {
  const parse = async (...argv: string[]): Promise<Record<string, unknown>[]> =>
    JSON.parse(await host.exec('ip', '-json', ...argv)) as Record<string, unknown>[];
  const pick = ({ dst, gateway, dev }: Record<string, unknown>): object => ({ dst, gateway, dev });
  const [link] = await parse('address', 'show', 'dev', 'eth0');
  const addresses = (link!.addr_info as Record<string, unknown>[]).map(({ local, dadfailed }) => ({
    local,
    dadfailed,
  }));
  const routes = [...(await parse('-4', 'route', 'show')), ...(await parse('-6', 'route', 'show'))].map(pick);
  return { addresses, routes };
}

/** Neighbors that a host believes at a MAC that is not theirs. Entries come and go by themselves, and are right or wrong. */
async function misled(host: Host, others: readonly Host[]): Promise<object[]> {
  const entries = JSON.parse(await host.exec('ip', '-json', 'neigh', 'show', 'dev', 'eth0')) as {
    dst: string;
    lladdr?: string;
  }[];
  const truth = new Map(
    others.flatMap(({ ip, ip6, mac }) => [ip, ip6, linkLocal(mac)].map((address) => [address, mac])),
  );
  return entries.filter(({ dst, lladdr }) => lladdr !== undefined && truth.get(dst) !== lladdr);
}

/** received + originated + copies = delivered + local + every drop, over all ports, once nothing is under way. */
async function accounts(t: ExecutionContext, tapline: Tapline): Promise<void> {
  await tapline.quiet();
  const { rxPackets, originated, copies, local, txPackets, rxDrops, txDrops } = (await tapline.status()).totals;
  const dropped = [...Object.values(rxDrops), ...Object.values(txDrops)].reduce((sum, count) => sum + count, 0);
  t.is(rxPackets + originated + copies, txPackets + local + dropped);
}

const SEND_FLOOD = `
import os, socket, sys
device, destination, mark, count = sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((device, 0))
tail = b'\\x88\\xb5' + bytes(30) + mark
for _ in range(count):
    s.send(destination + b'\\x02' + os.urandom(5) + tail)
`;

/** Sends frames with random source MACs, no more at once than the queue of the interface takes. */
async function floodOfMacs({ tapline, attacker, victim }: Scene): Promise<void> {
  const destination = victim.mac.replaceAll(':', '');
  for (let sent = 0; sent < FLOOD; sent += FLOOD_STEP) {
    const { rxPackets } = await tapline.port(attacker.endpoint);
    const mark = Buffer.from(marked(new Uint8Array(60), FLOOD_MARK))
      .subarray(-16)
      .toString('latin1');
    await attacker.exec(PYTHON, '-c', SEND_FLOOD, 'eth0', destination, mark, String(FLOOD_STEP));
    await eventually(
      'the flood to be taken',
      async () => (await tapline.port(attacker.endpoint)).rxPackets >= rxPackets + FLOOD_STEP,
    );
  }
}

interface Row {
  readonly attack: string;
  readonly sent: number;
  readonly delivered: number;
  readonly counted: object;
}

function markdown(rows: readonly Row[]): string {
  const lines = rows.map(({ attack, sent, delivered, counted }) => {
    const reasons = Object.entries(counted).map(([reason, count]) => `${reason} ${count}`);
    return `| ${attack} | ${sent} | ${delivered} | ${reasons.join(', ')} |`;
  });
  return ['| attack | frames sent | delivered | reason counted |', '|---|--:|--:|---|', ...lines, ''].join('\n');
}

/** Tries all attacks. Resolves to a row for each. */
async function tryAll(scene: Scene): Promise<Row[]> {
  const { victim, peer, attacker, atVictim, atPeer } = scene;
  const packets = Object.fromEntries(ATTACKS.map(({ name, packet }) => [name, packet]));
  const frames = await buildFrames(packets, attackValues(attacker, victim, peer));
  await silence(scene);
  const counted: object[] = [];
  for (const [index, { name }] of ATTACKS.entries()) {
    const copies = new Array<Buffer>(COPIES).fill(marked(frames[name]!, index));
    counted.push(await attack(scene, COPIES, () => sendFrames(attacker, copies)));
  }
  const flood = await attack(scene, FLOOD, () => floodOfMacs(scene));
  await upToDate(scene);
  const delivered = (mark: number): number => atVictim.count(mark) + atPeer.count(mark);
  const rows = ATTACKS.map(({ name }, index) => {
    return { attack: name, sent: COPIES, delivered: delivered(index), counted: counted[index]! };
  });
  return [
    ...rows,
    { attack: 'flood of random source MACs', sent: FLOOD, delivered: delivered(FLOOD_MARK), counted: flood },
  ];
}

for (const engine of ENGINES) {
  test.serial(
    `${engine}: no attack of a container reaches its neighbours, each is counted, nobody notices`,
    async (t) => {
      const scene = await createScene(t, { engine });
      const { tapline, victim, peer } = scene;
      const talks = [await talk(victim, peer.ip), await talk(victim, peer.ip6), await talk(peer, victim.ip)];
      const before = [await beliefs(victim), await beliefs(peer)];
      const entries = (await tapline.status()).fdbEntries;

      const rows = await tryAll(scene);
      t.log(`\n${markdown(rows)}`);
      if (process.env.TAPLINE_REPORT !== undefined) writeFileSync(process.env.TAPLINE_REPORT, markdown(rows));
      const expected = [...ATTACKS, { name: 'flood of random source MACs', reason: 'source_mac' }].map(
        ({ name, reason }, i) => {
          const sent = rows[i]!.sent;
          return { attack: name, sent, delivered: 0, counted: { [reason]: sent } };
        },
      );
      t.deepEqual(rows, expected);

      for (const each of talks) await each.end();
      t.deepEqual([await beliefs(victim), await beliefs(peer)], before);
      for (const host of [victim, peer]) t.deepEqual(await misled(host, [victim, peer, scene.attacker]), []);
      t.is((await tapline.status()).fdbEntries, entries, 'nothing was learned from forged frames');
      await accounts(t, tapline);
      const shown = JSON.parse(await tapline.ok('show', 'drops', '--json')) as Awaited<ReturnType<Tapline['drops']>>;
      const drops = shown.ports.find(({ port }) => port === scene.attacker.endpoint)?.drops ?? [];
      t.true((drops.find(({ reason }) => reason === 'arp_sender')?.rx ?? 0) >= 5 * COPIES);
    },
  );
}

test.serial('with security off the same frames reach the neighbours', async (t) => {
  const scene = await createScene(t, { endpoints: { c: { security: 'off' } } });
  const rows = await tryAll(scene);
  t.log(`\n${markdown(rows)}`);
  for (const [i, { attack, sent, delivered, counted }] of rows.entries()) {
    if (ATTACKS[i]?.never === true) t.is(delivered, 0, attack);
    else t.true(delivered > 0, `${attack}: ${JSON.stringify(counted)}`);
    t.false('received' in counted, `${attack}: ${sent} sent, ${JSON.stringify(counted)}`);
  }
  // The MAC limit of a port without security is 1024, beside two other hosts and the gateway; what it does not learn still flows.
  t.true((await scene.tapline.status()).fdbEntries <= 1024 + 3);
  await accounts(t, scene.tapline);
});

test.serial('security mac lets a container route, and still not pose as another', async (t) => {
  const scene = await createScene(t, { endpoints: { c: { security: 'mac' } } });
  const { attacker, victim, peer, atVictim } = scene;
  const frames = await buildFrames(
    {
      routed: "Ether(src=AMAC, dst=VMAC)/IP(src='10.9.9.9', dst=VIP)/UDP(sport=7, dport=9)",
      forged: 'Ether(src=PMAC, dst=VMAC)/IP(src=AIP, dst=VIP)/UDP(sport=7, dport=9)',
    },
    attackValues(attacker, victim, peer),
  );
  await silence(scene);
  const send = (frame: Buffer, mark: number) => attack(scene, 1, () => sendFrames(attacker, [marked(frame, mark)]));
  t.deepEqual(await send(frames.routed, 1), {});
  t.deepEqual(await send(frames.forged, 2), { source_mac: 1 });
  await upToDate(scene);
  t.deepEqual([atVictim.count(1), atVictim.count(2)], [1, 0]);
});

test.serial('allowed addresses and further MACs may be spoken from, and no others', async (t) => {
  const further = '02:00:00:00:0f:01';
  const allowed = { allowed_addresses: ['10.8.0.0/24', 'fd08::1'], macs: [further] };
  const scene = await createScene(t, { endpoints: { c: allowed } });
  const { attacker, victim, peer, atVictim } = scene;
  const to = (source: string): string => `Ether(src=${source}, dst=VMAC)`;
  const udp = 'UDP(sport=7, dport=9)';
  const packets = {
    inside: `${to('AMAC')}/IP(src='10.8.0.77', dst=VIP)/${udp}`,
    outside: `${to('AMAC')}/IP(src='10.8.1.77', dst=VIP)/${udp}`,
    inside6: `${to('AMAC')}/IPv6(src='fd08::1', dst=VIP6)/${udp}`,
    outside6: `${to('AMAC')}/IPv6(src='fd08::2', dst=VIP6)/${udp}`,
    arp: `${to('AMAC')}/ARP(op=2, hwsrc=AMAC, psrc='10.8.0.9', hwdst=VMAC, pdst=VIP)`,
    further: `${to(`'${further}'`)}/IP(src=AIP, dst=VIP)/${udp}`,
    other: `${to("'02:00:00:00:0f:02'")}/IP(src=AIP, dst=VIP)/${udp}`,
  };
  const frames = await buildFrames(packets, attackValues(attacker, victim, peer));
  await silence(scene);
  const results: object[] = [];
  for (const [index, frame] of Object.values(frames).entries()) {
    results.push(await attack(scene, 1, () => sendFrames(attacker, [marked(frame, index)])));
  }
  await upToDate(scene);
  t.deepEqual(results, [{}, { source_address: 1 }, {}, { source_address: 1 }, {}, {}, { source_mac: 1 }]);
  t.deepEqual(atVictim.seen(), [0, 2, 4, 5]);
  t.is(await scene.tapline.fdbPort(further), 'c');
});

test.serial('a port with a MAC limit speaks from so many MACs and no more', async (t) => {
  const scene = await createScene(t, { endpoints: { c: { security: 'mac', mac_limit: 3 } } });
  const { attacker, victim, atVictim } = scene;
  await silence(scene);
  const from = (last: number): string => `'02:00:00:00:0e:0${last}'`;
  const names = [1, 2, 3, 4, 2, 1];
  const packets = Object.fromEntries(names.map((n, i) => [`p${i}`, `Ether(src=${from(n)}, dst=VMAC, type=0x88b5)`]));
  const frames = Object.values(await buildFrames(packets, { VMAC: victim.mac }));
  const marks = frames.map((frame, i) => marked(frame, i));
  t.deepEqual(await attack(scene, marks.length, () => sendFrames(attacker, marks)), { mac_limit: 2 });
  await upToDate(scene);
  t.deepEqual(atVictim.seen(), [0, 1, 4, 5]);
});

test.serial("a container that takes its neighbour's address and MAC for its own gets nothing of it", async (t) => {
  const scene = await createScene(t);
  const { tapline, attacker, victim, peer } = scene;
  const talks = [await talk(peer, victim.ip), await talk(peer, victim.ip6)];
  const before = await beliefs(peer);
  // The kernel of the attacker now answers for the victim, and arping says so to everybody.
  await attacker.exec('ip', 'address', 'add', `${victim.ip}/24`, 'dev', 'eth0');
  await attacker.exec('ip', 'address', 'add', `${victim.ip6}/64`, 'dev', 'eth0', 'nodad');
  await attacker.run(['arping', '-q', '-U', '-c', '2', '-w', '3', '-I', 'eth0', '-s', victim.ip, victim.ip]);
  await attacker.run(['arping', '-q', '-A', '-c', '2', '-w', '3', '-I', 'eth0', '-s', victim.ip, victim.ip]);
  t.true(((await tapline.port('c')).rxDrops.arp_sender ?? 0) >= 4);
  t.not((await attacker.run(['ping', '-c', '2', '-i', '0.2', '-W', '1', '-I', victim.ip, peer.ip])).code, 0);

  await attacker.exec('ip', 'link', 'set', 'eth0', 'address', victim.mac);
  t.not((await attacker.run(['ping', '-c', '2', '-i', '0.2', '-W', '1', peer.ip])).code, 0);
  t.true(((await tapline.port('c')).rxDrops.source_mac ?? 0) >= 1);
  t.is(await tapline.fdbPort(victim.mac), 'a');
  for (const each of talks) await each.end();
  t.deepEqual(await beliefs(peer), before);
  t.deepEqual(await misled(peer, [victim]), []);
});

test.serial('mausezahn: ARP, BPDU, CDP and source MACs out of its generators', async (t) => {
  const scene = await createScene(t);
  const { attacker, victim, peer } = scene;
  const talking = await talk(victim, peer.ip);
  const before = await beliefs(victim);
  await silence(scene);
  const mausezahn = (count: number, ...argv: string[]): Promise<object> =>
    attack(scene, count, async () => {
      await attacker.exec('mausezahn', 'eth0', '-q', '-c', String(count), ...argv);
    });
  const own = ['-a', attacker.mac];
  const spoof = `reply, smac=${attacker.mac}, sip=${peer.ip}, tmac=${victim.mac}, tip=${victim.ip}`;
  t.deepEqual(await mausezahn(5, ...own, '-b', victim.mac, '-t', 'arp', spoof), { arp_sender: 5 });
  t.deepEqual(await mausezahn(100, '-a', 'rand', '-b', 'bcast', '-p', '64'), { source_mac: 100 });
  t.deepEqual(await mausezahn(5, ...own, '-b', victim.mac, '-A', peer.ip, '-B', victim.ip, '-t', 'udp', 'dp=9'), {
    source_address: 5,
  });
  t.deepEqual(await mausezahn(5, ...own, '-t', 'bpdu', 'conf'), { reserved_multicast: 5 });
  await talking.end();
  t.deepEqual(await beliefs(victim), before);
  t.deepEqual(await misled(victim, [peer]), []);
});

const POOL = '172.30.0.100,172.30.0.120,5m';

/**
 * Asks for an address as a container would that has none. Resolves to dhclient's exit code: 0 with a lease, 2 without.
 *
 * @param patience seconds
 */
async function askForLease(t: ExecutionContext, host: Host, patience: number): Promise<number | null> {
  const directory = temporaryDirectory(t);
  const file = (name: string): string => join(directory, name);
  writeFileSync(file('conf'), `timeout ${patience};\ninitial-interval 1;\nbackoff-cutoff 1;\nselect-timeout 0;\n`);
  // The script would write the machine's resolv.conf.
  const files = ['-cf', file('conf'), '-lf', file('leases'), '-pf', file('pid'), '-sf', '/bin/true'];
  return (await host.run(['dhclient', '-4', '-1', ...files, 'eth0'])).code;
}

async function startDhcpServer(host: Host): Promise<void> {
  const options = [
    '--no-daemon',
    '--conf-file=/dev/null',
    '--port=0',
    '--log-dhcp',
    '--leasefile-ro',
    '--no-ping',
    '--dhcp-authoritative',
  ];
  const server = host.start(
    'dnsmasq',
    ...options,
    '--interface=eth0',
    '--bind-dynamic',
    `--dhcp-range=${POOL}`,
    '--pid-file=',
    '--user=root',
  );
  await server.said(/DHCP, IP range/);
}

for (const [security, lease] of [
  ['strict', false],
  ['off', true],
] as const) {
  test.serial(
    `security ${security}: a dnsmasq in a container gives ${lease ? 'a lease' : 'nobody a lease'}`,
    async (t) => {
      const { tapline, victim, attacker } = await createScene(t, { endpoints: { c: { security } } });
      await startDhcpServer(attacker);
      t.is(await askForLease(t, victim, lease ? 30 : 4), lease ? 0 : 2);
      t.is(((await tapline.port('c')).rxDrops.dhcp_server ?? 0) > 0, !lease);
    },
  );
}
