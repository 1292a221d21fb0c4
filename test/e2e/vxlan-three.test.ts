/** Three hosts in one network: what is for all reaches each member once and nobody else, whatever way it takes and whatever gets lost. */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { BAD_CHECKSUM, type Tcpdump, tcpdump, tshark } from './support/frames.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { PYTHON } from './support/scapy.js';
import { startTapline, type Tapline } from './support/tapline.js';
import { plainTransfer } from './support/transfer.js';
import {
  type Container,
  createContainer,
  createUnderlay,
  loseOneOfHundred,
  type OverlayHost,
  type Underlay,
  type UnderlayOptions,
  withoutOffloads,
} from './support/underlay.js';
import {
  addressOf,
  createStretched,
  overlayConfig,
  overlayOf,
  reaches,
  remotesOf,
  type Stretched,
  VNI,
  vtepPort,
} from './support/vxlan.js';
import { eventually, sleep } from './support/wait.js';

/** Every network floods for so long until it knows who has joined what, in milliseconds; and a reserve for a slow machine. */
const LEARNING = 5000 + 2000;
/** Of each sender to each of the places. */
const DATAGRAMS = 10;

/** Where many listen at once: mDNS (RFC 6762), SSDP, a broadcast, and groups of IPv6 that are flooded and snooped. */
const PLACES = {
  mDNS: { address: '224.0.0.251', port: 5353 },
  SSDP: { address: '239.255.255.250', port: 1900 },
  broadcast: { address: '255.255.255.255', port: 9999 },
  'subnet broadcast': { address: '172.30.0.255', port: 9998 },
  'mDNS over IPv6': { address: 'ff02::fb', port: 5354 },
  'SSDP over IPv6': { address: 'ff05::c', port: 1901 },
} as const;
type Place = keyof typeof PLACES;

/** Joins what is a group and says all that it hears. */
const LISTEN = `
import json, select, socket, struct, sys
index = socket.if_nametoindex('eth0')
sockets = []
for address, port in json.loads(sys.argv[1]):
    six = ':' in address
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    if six:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(('', port))
    if six:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, address) + struct.pack('@I', index))
    elif 224 <= int(address.split('.')[0]) < 240:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) + struct.pack('@4si', bytes(4), index))
    sockets.append(s)
print('listening', flush=True)
while True:
    for s in select.select(sockets, [], [])[0]:
        print('heard ' + s.recv(2048).decode(), flush=True)
`;

const SAY = `
import json, socket, sys, time
index = socket.if_nametoindex('eth0')
places, name, count = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for address, port in places:
    six = ':' in address
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    if six:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 2)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    else:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    for i in range(count):
        s.sendto(f'<{name}@{address}#{i}>'.encode(), (address, port))
        time.sleep(0.002)
`;

const TARGETS = JSON.stringify(Object.values(PLACES).map(({ address, port }) => [address, port]));

interface Member {
  readonly name: string;
  readonly namespace: Namespace;
  /** Texts in the order in which they came. */
  readonly heard: () => string[];
}

async function listen(namespace: Namespace, name: string): Promise<Member> {
  const program = namespace.start(PYTHON, '-c', LISTEN, TARGETS);
  await program.said(/^listening$/m);
  return { name, namespace, heard: () => [...program.stdout().matchAll(/^heard (.*)$/gm)].map(([, text]) => text!) };
}

function textsOf(sender: string, place: Place): string[] {
  return Array.from({ length: DATAGRAMS }, (_, i) => `<${sender}@${PLACES[place].address}#${i}>`);
}

interface Scene {
  readonly underlay: Underlay;
  readonly hosts: readonly OverlayHost[];
  readonly taplines: readonly Tapline[];
  /** Two of each host. */
  readonly members: readonly Member[];
  /** Of another network of the same hosts, which spans them too; one of each. */
  readonly strangers: readonly Member[];
}

const GREEN = { vni: 43, subnets: ['172.31.0.0/24', 'fd00:31::/64'] };

/** @param vxlan keys for the one network and the other; `vni` and `local` are added */
async function createScene(
  t: ExecutionContext,
  vxlan: (host: OverlayHost, hosts: readonly OverlayHost[], vni: number) => object,
  options: UnderlayOptions = {},
  started: (underlay: Underlay, hosts: readonly OverlayHost[]) => Promise<void> = async () => {},
): Promise<Scene> {
  const underlay = await createUnderlay(t, options);
  const hosts = [await underlay.addHost(1), await underlay.addHost(2), await underlay.addHost(3)];
  await started(underlay, hosts);
  const [taplines, members, strangers]: [Tapline[], Member[], Member[]] = [[], [], []];
  for (const host of hosts) {
    const containers: Container[] = [await createContainer(t, host, 1), await createContainer(t, host, 2)];
    const stranger = await createNamespace(t);
    const blue = overlayConfig(host, containers, vxlan(host, hosts, VNI)) as { networks: object; endpoints: object };
    const green = { subnets: GREEN.subnets, vxlan: vxlan(host, hosts, GREEN.vni) };
    const endpoint = { network: 'green', netns: stranger.path, addresses: [`172.31.0.${host.number + 1}`] };
    const networks = { ...blue.networks, green };
    const endpoints = { ...blue.endpoints, stranger: endpoint };
    taplines.push(await startTapline(t, { ...blue, networks, endpoints }, { netns: host.namespace }));
    for (const container of containers) members.push(await listen(container, container.endpoint));
    strangers.push(await listen(stranger, `stranger${host.number}`));
  }
  const [a, , b, , c] = members.map(({ namespace }) => namespace as Container) as Container[];
  for (const other of [b, c]) await reaches(a!, other!);
  await reaches(b!, c!);
  return { underlay, hosts, taplines, members, strangers };
}

/** One sender says something everywhere; all the others, and they alone, must hear it, each text once. */
async function sayToAll(
  t: ExecutionContext,
  { members, strangers }: Scene,
  sender: Member,
  name: string,
): Promise<void> {
  await sender.namespace.exec(PYTHON, '-c', SAY, TARGETS, name, String(DATAGRAMS));
  const textsFor = (places: readonly Place[]): string[] => places.flatMap((place) => textsOf(name, place)).sort();
  const expected = textsFor(Object.keys(PLACES) as Place[]);
  const heardOf = (member: Member): string[] => member.heard().filter((text) => text.startsWith(`<${name}@`));
  const others = members.filter((member) => member !== sender);
  await eventually('all to hear it', () => others.every((member) => heardOf(member).length >= expected.length)).catch(
    () => {}, // What is missing is seen below.
  );
  await sleep(200);
  for (const member of others) t.deepEqual(heardOf(member).sort(), expected, `${member.name} hears ${name}`);
  // Broadcasts are for oneself too, by one's own kernel; no second time by the network.
  t.deepEqual(heardOf(sender).sort(), textsFor(['broadcast', 'subnet broadcast']), `${sender.name} hears itself`);
  for (const stranger of strangers) t.deepEqual(heardOf(stranger), [], `${stranger.name} hears nothing of ${name}`);
}

/** How often a text was sent by each of the hosts into the underlay. */
function copiesOf(captures: readonly Tcpdump[], text: string): number[] {
  return captures.map(({ path }) => readFileSync(path, 'latin1').split(text).length - 1);
}

test.serial('head-end replication: mDNS, SSDP and broadcasts reach each member once, and nobody else', async (t) => {
  const scene = await createScene(t, (host, hosts, vni) => ({ ...remotesOf(host, hosts), vni }));
  const { underlay, members, hosts, taplines } = scene;
  const captures: Tcpdump[] = [];
  for (const { wire } of hosts)
    captures.push(await tcpdump(t, underlay.namespace, { device: wire, direction: 'in', filter: 'udp port 4789' }));
  // While it is not yet known who has joined what, and once it is.
  for (const round of ['early', 'late']) {
    for (const at of [0, 2, 4]) await sayToAll(t, scene, members[at]!, `${round}${at}`);
    if (round === 'early') await sleep(LEARNING);
  }
  for (const [at, sender] of [0, 2, 4].entries())
    for (const place of ['mDNS', 'broadcast'] as const)
      for (const text of textsOf(`late${sender}`, place)) {
        const expected = [0, 0, 0];
        expected[at] = 2;
        t.deepEqual(copiesOf(captures, text), expected, `${text} goes to both others, and no further`);
      }
  for (const capture of captures) await capture.frames();
  for (const tapline of taplines) {
    const { vteps } = await overlayOf(tapline);
    t.deepEqual(
      vteps.map(({ kind, state }) => `${kind} ${state}`),
      ['remote up', 'remote up'],
    );
  }
});

/** A group of the underlay, and how joining it looks there. */
const GROUPS = [
  {
    family: 4,
    group: '239.1.1.1',
    filter: 'igmp',
    report: 'igmp.type == 0x22 && igmp.maddr == 239.1.1.1',
    to: 'ip.dst',
  },
  {
    family: 6,
    group: 'ff05::42',
    filter: 'ip6[6] == 0',
    report: 'icmpv6.type == 143 && icmpv6.mldr.mar.multicast_address == ff05::42',
    to: 'ipv6.dst',
  },
] as const;

for (const { family, group, filter, report, to } of GROUPS)
  test.serial(
    `the multicast group ${group} of the underlay: it is joined there, and reaches all who have`,
    async (t) => {
      const captures: Tcpdump[] = [];
      const scene = await createScene(
        t,
        (host, _, vni) => ({ vni, local: addressOf(host, family), group }),
        { snooping: true },
        async ({ namespace }, hosts) => {
          for (const { wire } of hosts)
            captures.push(await tcpdump(t, namespace, { device: wire, direction: 'in', filter }));
        },
      );
      const { underlay, members, hosts, taplines } = scene;
      const mdb = async (): Promise<string[]> => {
        const text = await underlay.namespace.exec('bridge', 'mdb', 'show');
        const ports = text.matchAll(new RegExp(`port (\\S+) grp ${group.replaceAll('.', '\\.')} `, 'g'));
        return [...ports].map(([, port]) => port!).sort();
      };
      t.deepEqual(
        await mdb(),
        hosts.map(({ wire }) => wire),
        'the switch between the hosts has heard them join',
      );
      const wire = await tcpdump(t, underlay.namespace, { device: 'p1', direction: 'in', filter: 'udp port 4789' });
      for (const at of [0, 2, 4]) await sayToAll(t, scene, members[at]!, `group${at}`);
      await wire.frames();
      const flooded = await tshark(wire.path, [to], 'frame contains "<group0@224.0.0.251"');
      t.is(flooded.length, DATAGRAMS, 'each is sent once, for all');
      t.true(
        flooded.every(([address]) => address!.split(',')[0] === group),
        JSON.stringify(flooded[0]),
      );
      // Who has been heard is known by its own address: nothing for one goes to all.
      const { vteps } = await overlayOf(taplines[0]!);
      t.deepEqual(vteps.map(({ kind, address }) => `${kind} ${address}`).sort(), [
        `group ${group}`,
        `heard ${addressOf(hosts[1]!, family)}`,
        `heard ${addressOf(hosts[2]!, family)}`,
      ]);
      const b = members[2]!.namespace as Container;
      t.is(await taplines[0]!.fdbPort(b.mac), vtepPort(addressOf(hosts[1]!, family)));

      await taplines[2]!.stop();
      await eventually('host 3 to have left', async () => (await mdb()).join() === 'p1,p2');
      for (const [at, capture] of captures.entries()) {
        await capture.frames();
        t.true((await tshark(capture.path, ['frame.number'], report)).length > 0, `host ${at + 1} reports it`);
        t.deepEqual(
          await tshark(capture.path, ['frame.number'], `_ws.expert.severity >= 0x600000 || ${BAD_CHECKSUM}`),
          [],
        );
      }
    },
  );

for (const what of ['whole super-packets', 'single packets'] as const) {
  test.serial(`1 % of ${what} lost in the underlay: a transfer arrives as it was sent`, async (t) => {
    const { underlay, sites } = await createStretched(t, { hosts: 3 });
    const [one, two, three] = sites as [
      Stretched['sites'][number],
      Stretched['sites'][number],
      Stretched['sites'][number],
    ];
    const [a, b, c] = [one, two, three].map(({ containers }) => containers[0]) as [Container, Container, Container];
    for (const other of [b, c]) await reaches(a, other);
    if (what === 'single packets') for (const { host } of sites) await withoutOffloads(host.namespace, 'up0');
    const lost = await loseOneOfHundred(underlay);
    const size = what === 'single packets' ? 32 : 128;
    t.is(await plainTransfer(t, a, b, b.ip, size, 5341), size << 20);
    t.is(await plainTransfer(t, c, a, a.ip6, size, 5342), size << 20);
    const count = await lost();
    t.log(`${count} lost`);
    t.true(count >= 10, `${count} lost`);
  });
}
