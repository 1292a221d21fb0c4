/** Multicast snooping with real hosts: kernels that join and leave groups, socat that sends to them, and the queries in between. */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { sendFrames, type Tcpdump, tcpdump, tshark } from './support/frames.js';
import { createLab, type Host, type LabOptions } from './support/lab.js';
import { marked, report, type Sniffer, startSniffer } from './support/marks.js';
import type { Background } from './support/process.js';
import { buildFrames, PYTHON } from './support/scapy.js';
import { ENGINES, type Tapline } from './support/tapline.js';
import { eventually, settled, sleep } from './support/wait.js';
import { createWire, OUTSIDE } from './support/wire.js';

const PORT = 5007;
const GROUP = '239.1.2.3';
const GROUP6 = 'ff15::1:2:3';
/** Every network floods for so long until it knows who has joined what, in milliseconds; and a reserve for a slow machine. */
const LEARNING = 5000 + 2000;

/**
 * Joins a group on eth0 and says what it hears; leaves at SIGUSR1, and stays. The signal comes by a descriptor: a handler would wait
 * for the next datagram if the signal came between the look at what is pending and the recv().
 */
const MEMBER = `
import select, signal, socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
index = socket.if_nametoindex('eth0')
if ':' in group:
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    level, join, leave = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP
    request = socket.inet_pton(socket.AF_INET6, group) + struct.pack('@I', index)
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    level, join, leave = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP
    request = socket.inet_aton(group) + struct.pack('@4si', bytes(4), index)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', port))
s.setsockopt(level, join, request)
signals, wakeup = socket.socketpair()
wakeup.setblocking(False)
signal.set_wakeup_fd(wakeup.fileno())
signal.signal(signal.SIGUSR1, lambda *_: None)
print('joined', flush=True)
while True:
    ready, _, _ = select.select([signals, s], [], [])
    if s in ready:
        print('heard ' + s.recv(2048).decode(), flush=True)
    if signals in ready:
        signals.recv(1)
        s.setsockopt(level, leave, request)
        print('left', flush=True)
`;

interface Member {
  readonly heard: () => string[];
  leave(): Promise<void>;
}

async function member(host: Host, group: string): Promise<Member> {
  const program: Background = host.start(PYTHON, '-c', MEMBER, group, String(PORT));
  await program.said(/^joined$/m);
  return {
    heard: () => [...program.stdout().matchAll(/^heard (.*)$/gm)].map(([, text]) => text!),
    leave: async () => {
      process.kill(program.pid, 'SIGUSR1');
      await program.said(/^left$/m);
    },
  };
}

/** Sends one datagram with socat. */
async function sendTo(host: Host, group: string, text: string): Promise<void> {
  const to = group.includes(':')
    ? `UDP6-DATAGRAM:[${group}${group.startsWith('ff02') ? '%eth0' : ''}]:${PORT}`
    : `UDP4-DATAGRAM:${group}:${PORT},ip-multicast-if=${host.ip}`;
  const result = await host.run(['socat', '-u', 'STDIN', to], { input: text });
  if (result.code !== 0) throw new Error(`socat: ${result.stderr}`);
}

/** Names of the ports in a group, as the switch knows it. */
async function joined(tapline: Tapline, group: string): Promise<string[]> {
  const entry = (await tapline.mdb()).find((each) => each.group === group);
  return (entry?.ports ?? []).map(({ port }) => port).sort();
}

interface Scene {
  readonly tapline: Tapline;
  readonly hosts: readonly Host[];
  /** Texts of datagrams that have come in at each host's interface, whoever they were for. */
  readonly arrived: () => Promise<string[][]>;
}

async function createScene(t: ExecutionContext, options: LabOptions, learning = LEARNING): Promise<Scene> {
  const { tapline, hosts } = await createLab(t, { hosts: 4, ...options });
  await sleep(learning);
  const captures: Tcpdump[] = [];
  for (const host of hosts) captures.push(await tcpdump(t, host, { direction: 'in', filter: `udp port ${PORT}` }));
  const arrived = async (): Promise<string[][]> => {
    await tapline.quiet();
    // The kernel may still hold some for tcpdump.
    return settled('the captures', async () =>
      captures.map(({ path }) =>
        [
          ...readFileSync(path)
            .toString('latin1')
            .matchAll(/<(\w+)>/g),
        ].map(([, text]) => text!),
      ),
    );
  };
  return { tapline, hosts, arrived };
}

for (const engine of ENGINES) {
  test.serial(
    `${engine}: only members receive, from the moment they join until they leave, in both families`,
    async (t) => {
      const { tapline, hosts, arrived } = await createScene(t, { engine });
      const [a, b, c, d] = hosts as [Host, Host, Host, Host];
      const expected: string[][] = [[], [], [], []];
      for (const group of [GROUP, GROUP6]) {
        const name = group === GROUP ? 'four' : 'six';
        await sendTo(a, group, `<${name}Unregistered>`); // of which nobody is a member: to all
        for (const list of expected.slice(1)) list.push(`${name}Unregistered`);
        const members = [await member(b, group), await member(c, group)] as const;
        await eventually('both to be known', async () => (await joined(tapline, group)).join() === 'b,c');
        await sendTo(a, group, `<${name}Both>`);
        expected[1]!.push(`${name}Both`);
        expected[2]!.push(`${name}Both`);
        await eventually('b to hear it', () => members[0].heard().includes(`<${name}Both>`));
        await members[0].leave();
        await eventually('b to be gone', async () => (await joined(tapline, group)).join() === 'c');
        await sendTo(a, group, `<${name}Left>`);
        expected[2]!.push(`${name}Left`);
        await eventually('c to hear it', () => members[1].heard().includes(`<${name}Left>`));
        await member(d, group);
        await eventually('d to be known', async () => (await joined(tapline, group)).join() === 'c,d');
        await sendTo(c, group, `<${name}FromMember>`); // a member's own frames do not come back to it
        expected[3]!.push(`${name}FromMember`);
      }
      t.deepEqual(await arrived(), expected);
      t.true((await tapline.port('b')).local > 0, 'reports are for the gateway, which asks, and for nobody else');
      t.false('snooped' in (await tapline.port('b')).rxDrops);
    },
  );
}

test.serial('unregistered: drop lets only groups with members and local ones pass', async (t) => {
  const { tapline, hosts, arrived } = await createScene(t, { network: { multicast: { unregistered: 'drop' } } });
  const [a, b] = hosts as [Host, Host];
  const before = (await tapline.port('a')).rxDrops.unregistered_multicast ?? 0;
  for (const group of [GROUP, GROUP6]) await sendTo(a, group, '<nobody>');
  await tapline.quiet();
  t.is(((await tapline.port('a')).rxDrops.unregistered_multicast ?? 0) - before, 2);
  await sendTo(a, '224.0.0.251', '<mdns>');
  await sendTo(a, 'ff02::fb', '<mdns6>');
  const one = await member(b, GROUP);
  await eventually('b to be known', async () => (await joined(tapline, GROUP)).join() === 'b');
  await sendTo(a, GROUP, '<member>');
  await one.leave();
  await eventually('the group to be gone', async () => (await joined(tapline, GROUP)).length === 0);
  await sendTo(a, GROUP, '<left>');
  t.deepEqual(await arrived(), [[], ['mdns', 'mdns6', 'member'], ['mdns', 'mdns6'], ['mdns', 'mdns6']]);
  t.is(((await tapline.port('a')).rxDrops.unregistered_multicast ?? 0) - before, 3);
});

test.serial('without snooping everybody gets everything', async (t) => {
  const { tapline, hosts, arrived } = await createScene(
    t,
    { hosts: 3, network: { multicast: { snooping: false } } },
    0,
  );
  const [a, b] = hosts as [Host, Host];
  await member(b, GROUP);
  await sendTo(a, GROUP, '<all>');
  t.deepEqual(await arrived(), [[], ['all'], ['all']]);
  t.deepEqual(await tapline.mdb(), []);
});

test.serial('the querier asks an endpoint at its start, rightly, and the kernel answers', async (t) => {
  const { tapline, hosts } = await createLab(t, { hosts: 1 });
  const [a] = hosts as [Host];
  await member(a, GROUP);
  // Whatever the report at joining did, what a flush of memory or a restart leaves out is asked for.
  const capture = await tcpdump(t, a, { filter: 'igmp or ip6' });
  const types = async (): Promise<string[][]> =>
    tshark(capture.path, ['eth.src', 'ip.src', 'ip.dst', 'ip.ttl', 'igmp.type', 'igmp.version'], 'igmp.type == 0x11');
  await eventually('a query', async () => (await types()).length > 0, 45_000);
  const [query] = await types();
  t.deepEqual(query!.slice(1), ['172.30.0.1', '224.0.0.1', '1', '0x11', '3'], 'from the gateway (RFC 3376, 4)');
  const mld = (): Promise<string[][]> =>
    tshark(capture.path, ['ipv6.src', 'ipv6.dst', 'ipv6.hlim', 'icmpv6.checksum.status'], 'icmpv6.type == 130');
  await eventually('an MLD query', async () => (await mld()).length > 0, 45_000);
  const [mldQuery] = await mld();
  t.regex(mldQuery![0]!, /^fe80::/);
  t.deepEqual(mldQuery!.slice(1), ['ff02::1', '1', '1']);
  await eventually('the answer', async () => (await joined(tapline, GROUP)).join() === 'a', 20_000);
  const [shown] = (JSON.parse(await tapline.ok('show', 'mdb', '--json')) as { group: string; vlan: null }[]).filter(
    ({ group }) => group === GROUP,
  );
  t.is(shown?.vlan, null);
  t.regex(await tapline.ok('show', 'mdb'), new RegExp(`blue.*${GROUP.replaceAll('.', '\\.')}.*\\ba\\b`));
});

test.serial(
  'a router behind the uplink is found by its query: it gets reports and groups that nobody joined there',
  async (t) => {
    const { tapline, hosts, outside } = await createWire(t, {
      hosts: 3,
      network: { multicast: { unregistered: 'drop' } },
      uplink: { multicast: { router: 'auto' } },
    });
    const [a, b, c] = hosts as [Host, Host, Host];
    await sleep(LEARNING);
    const sniffers: readonly Sniffer[] = [
      await startSniffer(b),
      await startSniffer(c),
      await startSniffer(outside, 'out0'),
    ];
    const frames = await buildFrames(
      {
        data: `Ether(src='${a.mac}', dst='01:00:5e:01:02:03')/IP(src='${a.ip}', dst='${GROUP}')/UDP(dport=9)`,
        query: `Ether(src='${OUTSIDE.mac}', dst='01:00:5e:00:00:01')/IP(src='${OUTSIDE.ip}', dst='224.0.0.1', ttl=1, options=IPOption_Router_Alert())/IGMP(type=0x11, mrcode=10)`,
      },
      {},
    );
    await member(b, GROUP);
    await eventually('b to be known', async () => (await joined(tapline, GROUP)).join() === 'b');
    await sendFrames(a, [marked(frames.data, 1)]);
    const reports = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'igmp and ip[20] != 0x11' });
    await sendFrames(outside, [frames.query], 'out0');
    await eventually('the router', async () => (await joined(tapline, 'router')).join() === 'uplink');
    await eventually("b's report", async () =>
      (await tshark(reports.path, ['ip.src'])).some(([source]) => source === b.ip),
    );
    await sendFrames(a, [marked(frames.data, 2)]);
    await tapline.quiet();
    await report([
      { sniffer: sniffers[0]!, from: a, fromMac: a.mac },
      { sniffer: sniffers[1]!, from: a, fromMac: a.mac },
      { sniffer: sniffers[2]!, from: a, fromMac: a.mac },
    ]);
    t.deepEqual(
      sniffers.map((sniffer) => sniffer.seen()),
      [[1, 2], [], [2]],
    );
  },
);

test.serial('unless said otherwise the outside gets all multicast and every report', async (t) => {
  const { tapline, hosts, outside } = await createWire(t, {
    hosts: 2,
    network: { multicast: { unregistered: 'drop' } },
  });
  const [a, b] = hosts as [Host, Host];
  await sleep(LEARNING);
  const reports = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'igmp' });
  const capture = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: `udp port ${PORT}` });
  t.deepEqual(await joined(tapline, 'router'), ['uplink']);
  await member(b, GROUP);
  await sendTo(a, '239.9.9.9', '<wire>');
  await capture.has('<wire>');
  await eventually("b's report", async () =>
    (await tshark(reports.path, ['ip.src'])).some(([source]) => source === b.ip),
  );
});
