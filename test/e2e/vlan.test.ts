/** VLANs: access ports, trunks and the wire, against frames that scapy makes and kernels that send through them. */

import test, { type ExecutionContext } from 'ava';
import { sendFrames, sendScapy, tcpdump } from './support/frames.js';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import { createHosts, type Host, SUBNETS } from './support/lab.js';
import { mute } from './support/marks.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { ENGINES, startTapline, type Tapline } from './support/tapline.js';
import { createVeth, createWire, endpointsOf, OUTSIDE, pings } from './support/wire.js';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const OFF = { security: 'off' };
const TAGS: Readonly<Record<number, string>> = { 33024: 'C', 34984: 'S' };
const END = 'end';

/** A scapy frame of the test EtherType with a text, behind tags: `C10` an 802.1Q one, `S7` an 802.1ad one, `C10.5` with a priority. */
function frame(source: string, tags: string, text: string, destination = BROADCAST): string {
  const parts = tags.split(' ').filter((tag) => tag !== '');
  const layers = parts.map((tag, i) => {
    const [, kind, vlan, priority] = /^([CS])(\d+)(?:\.(\d))?$/.exec(tag)!;
    const last = i === parts.length - 1 ? ', type=0x88b5' : '';
    return `/${kind === 'C' ? 'Dot1Q' : 'Dot1AD'}(vlan=${vlan}, prio=${priority ?? 0}${last})`;
  });
  const type = parts.length === 0 ? ', type=0x88b5' : '';
  return `Ether(src='${source}', dst='${destination}'${type})${layers.join('')}/Raw(b'${text}'.ljust(50, b'.'))`;
}

/** The last frame of a test, as bytes, since it says nothing about tags: broadcast, with one 802.1Q or 802.1ad tag or none. */
function endFrame(source: string, tag = ''): Buffer {
  const type = tag.startsWith('S') ? '88a8' : '8100';
  const tagged = tag === '' ? '' : type + Number(tag.slice(1)).toString(16).padStart(4, '0');
  const macs = `${BROADCAST}${source}`.replaceAll(':', '');
  return Buffer.from(`${macs}${tagged}88b5${Buffer.from(END.padEnd(50, '.')).toString('hex')}`, 'hex');
}

/** A frame in the words of `frame`: its tags and its text; null for what no test has sent. */
function read(bytes: Buffer): string | null {
  let at = 12;
  const words: string[] = [];
  for (; TAGS[bytes.readUInt16BE(at)] !== undefined; at += 4) {
    const tci = bytes.readUInt16BE(at + 2);
    words.push(`${TAGS[bytes.readUInt16BE(at)]}${tci & 0xfff}${tci >> 13 === 0 ? '' : `.${tci >> 13}`}`);
  }
  if (bytes.readUInt16BE(at) !== 0x88b5) return null;
  return [...words, bytes.toString('latin1', at + 2).replace(/\.+$/, '')].join(' ');
}

interface Place {
  readonly namespace: Namespace;
  readonly device: string;
  /** Frames of which one reaches it, and who sends them. */
  readonly end: { readonly from: Namespace; readonly device: string; readonly frames: readonly Buffer[] };
}

/** What comes in at each place while the packets are sent, without what ends the capture. */
async function observe(
  t: ExecutionContext,
  tapline: Tapline,
  places: readonly Place[],
  send: () => Promise<void>,
): Promise<string[][]> {
  const captures = [];
  for (const { namespace, device } of places) captures.push(await tcpdump(t, namespace, { device, direction: 'in' }));
  await send();
  await tapline.quiet();
  const seen: string[][] = [];
  for (const [i, { end }] of places.entries()) {
    await sendFrames(end.from, end.frames, end.device);
    await captures[i]!.has(END);
    const frames = (await captures[i]!.frames()).map(read);
    seen.push(frames.filter((text) => text !== null && !text.endsWith(END)) as string[]);
  }
  return seen;
}

/** Frames dropped at a port while something is done, by reason. */
async function dropsDuring(tapline: Tapline, port: string, work: () => Promise<void>): Promise<Record<string, number>> {
  const before = (await tapline.port(port)).rxDrops;
  await work();
  await tapline.quiet();
  const after = (await tapline.port(port)).rxDrops;
  const grown = Object.entries(after).map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, count]) => count > 0));
}

const TEXTS = (tags: readonly string[]): string[] => tags.map((tag, i) => frame(OUTSIDE.mac, tag, `frame ${i}`));

for (const engine of ENGINES) {
  test.serial(`${engine}: access ports and a trunk take and give the frames of the standard`, async (t) => {
    const { tapline, hosts, outside } = await createWire(t, {
      engine,
      hosts: 4,
      mute: true,
      network: { vlan_filtering: true },
      uplink: { trunk: { native: 1, allowed: [10, 20, '100-110'] } },
      endpoints: { a: { vlan: 10 }, b: { vlan: 20 }, c: {}, d: { trunk: { native: 10, allowed: [20, 105] }, ...OFF } },
    });
    const [a, b, c, d] = hosts as [Host, Host, Host, Host];
    for (const host of hosts) await mute(host);
    const end = {
      from: outside,
      device: 'out0',
      frames: [endFrame(OUTSIDE.mac), endFrame(OUTSIDE.mac, 'C10'), endFrame(OUTSIDE.mac, 'C20')],
    };
    const inside = hosts.map((namespace) => ({ namespace, device: 'eth0', end }));
    const wire = {
      namespace: outside,
      device: 'out0',
      end: { from: c as Namespace, device: 'eth0', frames: [endFrame(c.mac)] },
    };

    const sent = ['', 'C10', 'C20.3', 'C0.5', 'C4095', 'C30', 'C105', 'C10 C20', 'S10', 'C20.6 S7'];
    let seen: string[][] = [];
    const drops = await dropsDuring(tapline, 'uplink', async () => {
      seen = await observe(t, tapline, inside, () => sendScapy(outside, TEXTS(sent), 'out0'));
    });
    t.deepEqual(seen, [
      ['frame 1', 'C20 frame 7'],
      ['frame 2', 'S7 frame 9'],
      ['frame 0', 'frame 3', 'S10 frame 8'],
      // Frame 7 keeps its tag of the native VLAN: without it, the one inside would bring it into VLAN 20.
      ['frame 1', 'C20.3 frame 2', 'C105 frame 6', 'C10 C20 frame 7', 'C20.6 S7 frame 9'],
    ]);
    t.is(drops.vlan_reserved, 1);
    t.is(drops.vlan_not_allowed, 1);

    const fromAccess = await observe(t, tapline, [wire, inside[3]!], () =>
      sendScapy(
        a,
        ['', 'C0.5', 'C10', 'C20', 'C4095'].map((tag, i) => frame(a.mac, tag, `frame ${i}`)),
      ),
    );
    t.deepEqual(fromAccess, [
      ['C10 frame 0', 'C10.5 frame 1'],
      ['frame 0', 'frame 1'],
    ]);
    const { rxDrops } = await tapline.port('a');
    t.deepEqual([rxDrops.vlan_not_allowed, rxDrops.vlan_reserved], [2, 1]);

    const fromTrunk = await observe(t, tapline, [wire, inside[0]!, inside[1]!, inside[2]!], () =>
      sendScapy(
        d,
        ['', 'C20.1', 'C105', 'C1', 'C0'].map((tag, i) => frame(d.mac, tag, `frame ${i}`)),
      ),
    );
    t.deepEqual(fromTrunk, [
      ['C10 frame 0', 'C20.1 frame 1', 'C105 frame 2', 'C10 frame 4'],
      ['frame 0', 'frame 4'],
      ['frame 1'],
      [],
    ]);
    t.is(b.endpoint, 'b');
    const shown = JSON.parse(await tapline.ok('show', 'vlan', '--json')) as Record<string, unknown>[];
    t.deepEqual(
      shown.find(({ vlan }) => vlan === '20'),
      { network: 'blue', vlan: '20', untagged: ['b'], tagged: ['d', 'uplink'] },
    );
  });

  test.serial(`${engine}: 802.1ad: the outer tag is the VLAN, the inner one is the container's`, async (t) => {
    const { tapline, hosts, outside } = await createWire(t, {
      engine,
      mute: true,
      network: { vlan_filtering: true, vlan_protocol: '802.1ad' },
      uplink: { trunk: { allowed: [100, 200] } },
      endpoints: { a: { vlan: 100 }, b: { vlan: 200 } },
    });
    const [a, b] = hosts as [Host, Host];
    for (const host of hosts) await mute(host);
    const end = {
      from: outside,
      device: 'out0',
      frames: [endFrame(OUTSIDE.mac, 'S100'), endFrame(OUTSIDE.mac, 'S200')],
    };
    const inside = hosts.map((namespace) => ({ namespace, device: 'eth0', end }));
    const sent = ['S100', 'S100.2 C7.5', 'S200 C7', 'S200 S100', '', 'C100', 'S300'];
    let seen: string[][] = [];
    const drops = await dropsDuring(tapline, 'uplink', async () => {
      seen = await observe(t, tapline, inside, () => sendScapy(outside, TEXTS(sent), 'out0'));
    });
    t.deepEqual(seen, [
      ['frame 0', 'C7.5 frame 1'],
      ['C7 frame 2', 'S100 frame 3'],
    ]);
    t.deepEqual([drops.vlan_untagged, drops.vlan_not_allowed], [2, 1]);

    const wire = {
      namespace: outside,
      device: 'out0',
      end: { from: a as Namespace, device: 'eth0', frames: [endFrame(a.mac)] },
    };
    const out = await observe(t, tapline, [wire], async () => {
      await sendScapy(
        a,
        ['', 'C7.5'].map((tag, i) => frame(a.mac, tag, `a ${i}`)),
      );
      await sendScapy(
        b,
        ['C9'].map((tag, i) => frame(b.mac, tag, `b ${i}`)),
      );
    });
    t.deepEqual(out, [['S100 a 0', 'S100 C7.5 a 1', 'S200 C9 b 0']]);
  });

  test.serial(
    `${engine}: an uplink with a VLAN in a network without: that VLAN of the wire is the network`,
    async (t) => {
      const { tapline, hosts, outside } = await createWire(t, { engine, mute: true, uplink: { vlan: 42 } });
      const [a] = hosts as [Host];
      for (const host of hosts) await mute(host);
      const inside = hosts.map((namespace) => ({
        namespace,
        device: 'eth0',
        end: { from: outside, device: 'out0', frames: [endFrame(OUTSIDE.mac, 'C42')] },
      }));
      const sent = ['C42', 'C42.7 C9', '', 'C43', 'C0', 'S42'];
      let seen: string[][] = [];
      const drops = await dropsDuring(tapline, 'uplink', async () => {
        seen = await observe(t, tapline, inside, () => sendScapy(outside, TEXTS(sent), 'out0'));
      });
      t.deepEqual(seen, [
        ['frame 0', 'C9 frame 1'],
        ['frame 0', 'C9 frame 1'],
      ]);
      t.deepEqual([drops.vlan_untagged, drops.vlan_not_allowed], [3, 1]);
      const wire = {
        namespace: outside,
        device: 'out0',
        end: { from: a as Namespace, device: 'eth0', frames: [endFrame(a.mac)] },
      };
      const out = await observe(t, tapline, [wire, { ...inside[1]!, end: wire.end }], () =>
        sendScapy(
          a,
          ['', 'C9'].map((tag, i) => frame(a.mac, tag, `a ${i}`)),
        ),
      );
      t.deepEqual(out, [
        ['C42 a 0', 'C42 C9 a 1'],
        ['a 0', 'C9 a 1'],
      ]);
    },
  );
}

test.serial('real hosts: pings within a VLAN, none across, also with the MAC known', async (t) => {
  const { hosts } = await createWire(t, {
    hosts: 4,
    network: { vlan_filtering: true },
    endpoints: { a: { vlan: 10 }, b: { vlan: 10 }, c: { vlan: 20 }, d: { vlan: 20 } },
  });
  const [a, b, c, d] = hosts as [Host, Host, Host, Host];
  for (const [from, to] of [
    [a, b],
    [c, d],
  ] as const) {
    t.true(await pings(from, to.ip));
    t.true(await pings(from, to.ip6));
  }
  await a.exec('ip', 'neigh', 'replace', c.ip, 'lladdr', c.mac, 'dev', 'eth0', 'nud', 'permanent');
  await c.exec('ip', 'neigh', 'replace', a.ip, 'lladdr', a.mac, 'dev', 'eth0', 'nud', 'permanent');
  t.false(await pings(a, c.ip));
  t.false(await pings(a, c.ip6));
  t.false(await pings(a, OUTSIDE.ip), 'the outside is in VLAN 1');
});

test.serial('one MAC in two VLANs is two entries, each behind its own port', async (t) => {
  const { tapline, hosts, outside } = await createWire(t, {
    hosts: 2,
    mute: true,
    network: { vlan_filtering: true },
    endpoints: { a: { vlan: 10, ...OFF }, b: { vlan: 20, ...OFF } },
  });
  const [a, b] = hosts as [Host, Host];
  for (const host of hosts) await mute(host);
  const shared = '02:00:00:00:5a:5a';
  await sendScapy(a, [frame(shared, '', 'hello')]);
  await sendScapy(b, [frame(shared, '', 'hello')]);
  await tapline.quiet();
  const entries = (await tapline.fdb()).filter(({ mac }) => mac === shared);
  t.deepEqual(entries.map(({ vlan, port }) => [vlan, port]).sort(), [
    [10, 'a'],
    [20, 'b'],
  ]);
  const end = {
    from: outside,
    device: 'out0',
    frames: [endFrame(OUTSIDE.mac, 'C10'), endFrame(OUTSIDE.mac, 'C20')],
  };
  const seen = await observe(
    t,
    tapline,
    hosts.map((namespace) => ({ namespace, device: 'eth0', end })),
    () =>
      sendScapy(
        outside,
        [frame(OUTSIDE.mac, 'C10', 'ten', shared), frame(OUTSIDE.mac, 'C20', 'twenty', shared)],
        'out0',
      ),
  );
  t.deepEqual(seen, [['ten'], ['twenty']]);
  t.deepEqual(
    (await tapline.events()).filter(({ mac }) => mac === shared),
    [],
  );
});

/** Two Taplines, each in a namespace of its own, whose uplinks are the two ends of a veth. */
async function createPair(t: ExecutionContext): Promise<{ taplines: Tapline[]; hosts: Host[] }> {
  const [left, right] = [await createNamespace(t), await createNamespace(t)];
  await createVeth(left, 'up0', right, 'up0');
  for (const namespace of [left, right]) await mute(namespace, 'up0'); // its kernel would send untagged frames
  const hosts = await createHosts(t, 4);
  const [a, b, c, d] = hosts as [Host, Host, Host, Host];
  const vlans = { a: { vlan: 10 }, b: { vlan: 20 }, c: { vlan: 10 }, d: { vlan: 20 } };
  const config = (mine: readonly Host[]): object => ({
    version: 1,
    uplink: { device: 'up0', mode: 'bridged', network: 'blue', trunk: { allowed: [10, 20] } },
    networks: { blue: { subnets: SUBNETS, vlan_filtering: true } },
    endpoints: endpointsOf(mine, vlans),
  });
  const taplines = [
    await startTapline(t, config([a, b]), { netns: left }),
    await startTapline(t, config([c, d]), { netns: right }),
  ];
  return { taplines, hosts };
}

test.serial('TCP with segmentation offload through a trunk between two switches, each VLAN for itself', async (t) => {
  const { taplines, hosts } = await createPair(t);
  const [a, b, c, d] = hosts as [Host, Host, Host, Host];
  await iperfServer(c);
  await iperfServer(d);
  for (const [from, to] of [
    [a, c.ip],
    [b, d.ip6],
  ] as const) {
    for (const options of [[], ['--reverse']]) await iperfWhole(from, to, 32, ...options);
  }
  t.false(await pings(a, d.ip));
  t.false(await pings(b, c.ip6));
  for (const tapline of taplines) {
    const { rxDrops, txDrops } = await tapline.port('uplink');
    for (const reason of ['vlan_not_allowed', 'vlan_untagged', 'tx_rejected', 'tx_too_big', 'vnet_header']) {
      t.is(rxDrops[reason] ?? txDrops[reason] ?? 0, 0, reason);
    }
    const uplink = (await tapline.fdb()).filter(({ port }) => port === 'uplink');
    t.deepEqual([...new Set(uplink.map(({ vlan }) => vlan))].sort(), [10, 20]);
  }
});

test.serial(
  'an access port and one VLAN of the wire as a whole network: TCP through both kinds of tagging',
  async (t) => {
    const [left, right] = [await createNamespace(t), await createNamespace(t)];
    await createVeth(left, 'up0', right, 'up0');
    const [a, b] = (await createHosts(t, 2)) as [Host, Host];
    const uplink = { device: 'up0', mode: 'bridged', network: 'blue' };
    const filtering = { subnets: SUBNETS, vlan_filtering: true };
    const one = {
      version: 1,
      uplink: { ...uplink, vlan: 42 },
      networks: { blue: { subnets: SUBNETS } },
      endpoints: endpointsOf([a]),
    };
    const other = {
      version: 1,
      uplink: { ...uplink, trunk: { native: 7, allowed: [42] } },
      networks: { blue: filtering },
      endpoints: endpointsOf([b], { b: { vlan: 42 } }),
    };
    await startTapline(t, one, { netns: left, engine: 'epoll' });
    await startTapline(t, other, { netns: right });
    await iperfServer(b);
    for (const options of [[], ['--reverse']]) await iperfWhole(a, b.ip, 16, ...options);
    const { end } = await iperf(a, b.ip, '--udp', '--bytes', '5M', '--bitrate', '50M', '--length', '1200');
    t.true((end.sum?.bytes ?? 0) > 4_000_000);
  },
);
