/** Address translation with real tools: what containers reach through it, what the outside sees of them, and what it must never see. */

import test, { type ExecutionContext } from 'ava';
import { BAD_CHECKSUM, tcpdump, tshark } from './support/frames.js';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import type { Namespace } from './support/namespace.js';
import {
  createFar,
  FAR,
  FAR_MTU,
  hopsOf,
  reflect,
  reversedFragments,
  sendPackets,
  startMirror,
  watchPrivate,
} from './support/nat.js';
import { burst } from './support/ping.js';
import { ask, fetchFrom, serve } from './support/published.js';
import { accounted, BLUE, createSite, newDrops, OUTSIDE, type Site, type SiteOptions, UPLINK } from './support/site.js';
import { eventually } from './support/wait.js';

const MIRROR_PORT = 9000;

interface Scene extends Site {
  readonly far: Namespace;
  /** To be called at the end: nothing with a private source was on the wire, and each packet has one end. */
  assertHidden(): Promise<void>;
}

/** A site, somebody far out, and a watch on the wire between them. */
async function createScene(t: ExecutionContext, options: SiteOptions = {}): Promise<Scene> {
  const site = await createSite(t, options);
  const far = await createFar(t, site.outside);
  const watch = await watchPrivate(t, site.outside);
  const assertHidden = async (): Promise<void> => {
    t.deepEqual(await watch.frames(), [], 'private addresses on the wire');
    await accounted(site.tapline);
  };
  return { ...site, far, assertHidden };
}

test.serial(
  'masquerade: curl, ping, traceroute, tracepath and mtr find the way out, and the answers back',
  async (t) => {
    const { a, b, c, far, outside, assertHidden } = await createScene(t);
    await serve(t, far, 'far', [80]);
    for (const from of [a, b, c]) {
      t.like(await fetchFrom(from, FAR.ip, 80), { name: 'far', peer: UPLINK.ip });
      t.like(await ask(t, from, FAR.ip, 80), { name: 'far', peer: UPLINK.ip });
    }
    // Equal identifiers at the same time.
    for (const to of [FAR.ip, OUTSIDE.ip]) {
      const pings = [a, b, c].map((from) => from.run(['ping', '-n', '-e', '77', ...burst(5), to]));
      for (const { stdout } of await Promise.all(pings)) t.regex(stdout, /5 packets transmitted, 5 received, 0%/);
    }

    const way = [BLUE.ip, OUTSIDE.ip, FAR.ip];
    for (const kind of [[], ['-I'], ['-T', '-p', '80']]) {
      t.deepEqual(
        await hopsOf(a, 'traceroute', '-n', '-q', '1', '-w', '3', ...kind, FAR.ip),
        way,
        `traceroute ${kind}`,
      );
    }
    t.deepEqual(await hopsOf(a, 'mtr', '-n', '-r', '-c', '2', '-G', '2', FAR.ip), way);
    t.regex(await a.exec('tracepath', '-n', FAR.ip), new RegExp(`Resume: pmtu ${FAR_MTU} hops 3 `));
    // In the other direction the way ends at the uplink.
    t.deepEqual(await hopsOf(outside, 'traceroute', '-n', '-I', '-q', '1', '-w', '3', UPLINK.ip), [UPLINK.ip]);
    await assertHidden();
  },
);

test.serial('masquerade: iperf3 in both directions, past a link of small packets, with right checksums', async (t) => {
  const { a, b, far, outside, assertHidden } = await createScene(t);
  await iperfServer(far);
  await iperfServer(outside);
  const tooBig = await a.run(['ping', '-n', '-M', 'do', '-s', '1400', '-c', '2', '-i', '0.3', '-W', '2', FAR.ip]);
  t.regex(tooBig.stdout, new RegExp(`From ${OUTSIDE.ip} icmp_seq=1 Frag needed and DF set \\(mtu = ${FAR_MTU}\\)`));
  // Another container has not heard of it yet: its first segments are too long.
  await outside.exec('ethtool', '-K', 'out1', 'tx', 'off', 'tso', 'off', 'gso', 'off');
  const wire = await tcpdump(t, far, { device: 'far0', direction: 'in', filter: 'tcp or udp' });
  for (const options of [
    [],
    ['--reverse'],
    ['--udp', '--length', '1000'],
    ['--udp', '--length', '1000', '--reverse'],
  ]) {
    if (!options.includes('--udp')) {
      await iperfWhole(b, FAR.ip, 16, '--bitrate', '100M', ...options);
      continue;
    }
    // Slow enough for a receiver that a busy machine does not run for a while.
    const { end } = await iperf(b, FAR.ip, '--bytes', '500K', '--bitrate', '2M', ...options);
    t.true((end.sum?.lost_packets ?? 99) < 5, `${options} ${JSON.stringify(end.sum)}`);
  }
  await wire.frames();
  t.true((await tshark(wire.path, ['frame.number'], 'tcp.checksum.status == 1')).length > 500);
  t.deepEqual(await tshark(wire.path, ['frame.number', 'frame.protocols'], BAD_CHECKSUM), []);
  t.deepEqual([...new Set((await tshark(wire.path, ['ip.src'])).flat())], [UPLINK.ip]);
  for (const direction of [[], ['--reverse']]) await iperfWhole(a, OUTSIDE.ip, 64, '--parallel', '4', ...direction);
  await assertHidden();
});

for (const offload of [true, false]) {
  const who = offload ? 'the kernel' : 'Tapline';
  const what = `on a wire without offloads, which ${who} makes up for`;
  test.serial(`masquerade and published ports ${what}: every frame fits, every checksum is right`, async (t) => {
    const { a, host, outside, assertHidden } = await createScene(t, {
      endpoint: { a: { publish: ['5301:5301', '5301:5301/udp'] } },
      blue: { nat66: true },
      uplink: { offload },
    });
    // What containers left to be done is completed on this side of the wire: from our header, or by us.
    await host.exec('ethtool', '-K', 'up0', 'tx', 'off', 'tso', 'off', 'gso', 'off');
    await outside.exec('ethtool', '-K', 'out0', 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off');
    await iperfServer(outside);
    await iperfServer(a, 5301);
    const wire = await tcpdump(t, outside, { device: 'out0', direction: 'in' });
    const inside = await tcpdump(t, a, { direction: 'in' });
    for (const [from, address, port] of [
      [a, OUTSIDE.ip, 5201],
      [a, OUTSIDE.ip6, 5201],
      [outside, UPLINK.ip, 5301],
      [outside, UPLINK.ip6, 5301],
    ] as const) {
      const to = ['--port', String(port)];
      await iperf(from, address, ...to, '--bytes', '2M');
      await iperf(from, address, ...to, '--bytes', '2M', '--reverse');
      await iperf(from, address, ...to, '--udp', '--bytes', '200K', '--bitrate', '20M', '--length', '1000');
    }
    // What follows each other is one packet inside, its checksum verified, unless the wire is to be seen there as it is.
    for (const capture of offload ? [wire] : [wire, inside]) {
      const frames = await capture.frames();
      t.true(frames.length > 1000);
      t.true(frames.every((frame) => frame.length <= 1514));
      t.deepEqual(await tshark(capture.path, ['frame.number', 'frame.protocols'], BAD_CHECKSUM), []);
      t.true((await tshark(capture.path, ['frame.number'], 'tcp.checksum.status == 1')).length > 500);
    }
    await assertHidden();
  });
}

test.serial('masquerade: one source port in several containers is several outside, each keeps its own', async (t) => {
  const { a, b, c, outside, assertHidden } = await createScene(t);
  await serve(t, outside, 'outside', [80]);
  const own = 40_002;
  const ports = async (): Promise<number[]> => {
    const answers = await Promise.all([a, b, c].map((from) => ask(t, from, OUTSIDE.ip, 80, own)));
    for (const answer of answers) t.is(answer?.peer, UPLINK.ip);
    return answers.map((answer) => answer?.peerPort ?? 0);
  };
  const first = await ports();
  t.is(new Set(first).size, 3);
  t.true(first.includes(own), 'the first has the port that it asked for');
  t.true(
    first.every((port) => port % 2 === 0 && port >= 1024),
    'even ports stay even',
  );
  t.deepEqual(await ports(), first, 'the same sockets, the same ports');

  const pages = await Promise.all([a, b, c].map((from) => fetchFrom(from, OUTSIDE.ip, 80, '--local-port', '40004')));
  t.is(new Set(pages.map((page) => page?.peerPort)).size, 3);
  for (const page of pages) t.like(page, { name: 'outside', peer: UPLINK.ip });

  // iperf3 in all three at once, from one port.
  const servers = [5201, 5202, 5203];
  for (const port of servers) await iperfServer(outside, port);
  const runs = [a, b, c].map((from, i) =>
    iperfWhole(from, OUTSIDE.ip, 16, '--port', String(servers[i]), '--cport', '41000'),
  );
  await Promise.all(runs);
  await assertHidden();
});

test.serial(
  'hairpin: a container at its own and at its siblings’ published ports is seen as from outside',
  async (t) => {
    const { a, b, c, assertHidden } = await createScene(t, {
      endpoint: {
        a: { publish: ['8080:80', '8080:80/udp', '5300:53/udp'] },
        b: { publish: ['8081:80', '8081:80/udp'] },
      },
    });
    await serve(t, a, 'a', [80]);
    await serve(t, b, 'b', [80]);
    for (const from of [a, b, c]) {
      const ports = new Set<number | undefined>();
      for (const [port, name] of [
        [8080, 'a'],
        [8081, 'b'],
      ] as const) {
        const way = `${from.endpoint} to ${name}`;
        t.like(await fetchFrom(from, UPLINK.ip, port), { name, peer: UPLINK.ip }, way);
        const answer = await ask(t, from, UPLINK.ip, port, 43_000);
        t.like(answer, { name, peer: UPLINK.ip }, way);
        ports.add(answer?.peerPort);
      }
      t.is(ports.size, 1, 'one socket, one port outside, whoever asks');
    }
    // IPv6 is not translated on its way out: within the network it comes from the published address, else from the container's own.
    t.like(await fetchFrom(a, UPLINK.ip6, 8080), { name: 'a', peer: UPLINK.ip6 });
    t.like(await fetchFrom(b, UPLINK.ip6, 8080), { name: 'a', peer: UPLINK.ip6 });
    t.like(await fetchFrom(c, UPLINK.ip6, 8080), { name: 'a', peer: c.ip6 });
    t.like(await ask(t, b, UPLINK.ip6, 8080), { name: 'a', peer: UPLINK.ip6 });
    // Nobody listens: the error comes back to who asked, from whom it asked.
    for (const address of [UPLINK.ip, UPLINK.ip6])
      t.deepEqual(await reflect(b, address, 5300), [{ error: 'ECONNREFUSED' }]);
    await assertHidden();
  },
);

test.serial('an error about a published port says outside what the outside knows', async (t) => {
  const { outside, assertHidden } = await createScene(t, {
    endpoint: { a: { publish: ['5300:53/udp'] } },
    blue: { nat66: true },
  });
  const errors = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'icmp or icmp6' });
  for (const address of [UPLINK.ip, UPLINK.ip6]) {
    t.deepEqual(await reflect(outside, address, 5300, { own: 5555 }), [{ error: 'ECONNREFUSED' }]);
  }
  await errors.frames();
  const fields = ['ip.src', 'ip.dst', 'udp.srcport', 'udp.dstport', 'icmp.checksum.status'];
  const [row] = await tshark(errors.path, fields, 'icmp.type == 3');
  const both = [`${UPLINK.ip},${OUTSIDE.ip}`, `${OUTSIDE.ip},${UPLINK.ip}`];
  t.deepEqual(row, [...both, '5555', '5300', '1']);
  const fields6 = ['ipv6.src', 'ipv6.dst', 'udp.srcport', 'udp.dstport', 'icmpv6.checksum.status'];
  const [row6] = await tshark(errors.path, fields6, 'icmpv6.type == 1');
  const both6 = [`${UPLINK.ip6},${OUTSIDE.ip6}`, `${OUTSIDE.ip6},${UPLINK.ip6}`];
  t.deepEqual(row6, [...both6, '5555', '5300', '1']);
  t.deepEqual(await tshark(errors.path, ['frame.number'], 'ip.checksum.status == 0'), []);
  await assertHidden();
});

test.serial('fragments pass in both directions and in any order', async (t) => {
  const { a, far, outside, assertHidden } = await createScene(t, {
    endpoint: { a: { publish: [`${MIRROR_PORT}:${MIRROR_PORT}/udp`] } },
    blue: { nat66: true },
  });
  const inside = await startMirror(t, a, MIRROR_PORT);
  const mirror = await startMirror(t, outside, MIRROR_PORT);
  await startMirror(t, far, MIRROR_PORT);
  for (const address of [FAR.ip, FAR.ip6]) {
    t.regex(await a.exec('ping', '-n', ...burst(2), '-s', '3000', address), / 2 received/);
  }
  for (const [from, to, peer] of [
    [a, OUTSIDE.ip, UPLINK.ip],
    [a, OUTSIDE.ip6, UPLINK.ip6],
    [a, FAR.ip, UPLINK.ip],
    [a, FAR.ip6, UPLINK.ip6],
    [outside, UPLINK.ip, OUTSIDE.ip],
    [outside, UPLINK.ip6, OUTSIDE.ip6],
    [far, UPLINK.ip, FAR.ip],
    [far, UPLINK.ip6, FAR.ip6],
  ] as const) {
    const [answer] = await reflect(from, to, MIRROR_PORT, { size: 8000 });
    t.like(answer, { peer, same: true }, `${peer} to ${to}: ${JSON.stringify(answer)}`);
  }
  for (const [from, device, mac, source, to, server, peer] of [
    [a, 'eth0', BLUE.mac, a.ip, OUTSIDE.ip, mirror, UPLINK.ip],
    [a, 'eth0', BLUE.mac, a.ip6, OUTSIDE.ip6, mirror, UPLINK.ip6],
    [outside, 'out0', await uplinkMac(outside), OUTSIDE.ip, UPLINK.ip, inside, OUTSIDE.ip],
    [outside, 'out0', await uplinkMac(outside), OUTSIDE.ip6, UPLINK.ip6, inside, OUTSIDE.ip6],
  ] as const) {
    await sendPackets(from, device, mac, reversedFragments(source, to, MIRROR_PORT, 5000));
    await server.said(new RegExp(`^${peer} 4444 5000 `, 'm'), 5000);
  }
  await assertHidden();
});

async function uplinkMac(outside: Namespace): Promise<string> {
  const text = await outside.exec('ip', 'neighbor', 'show', 'to', UPLINK.ip, 'dev', 'out0');
  return / lladdr (\S+)/.exec(text)?.[1] ?? '';
}

test.serial(
  'whoever routes to a container on the wire reaches nothing, in either family that is translated',
  async (t) => {
    const { a, outside, tapline, assertHidden } = await createScene(t, { blue: { nat66: true } });
    await serve(t, a, 'a', [80]);
    const { rxDrops: before } = await tapline.port('uplink');
    const answers = await tcpdump(t, outside, {
      device: 'out0',
      direction: 'in',
      filter: 'ip or (ip6 and not icmp6 and not ip6 multicast)',
    });
    for (const address of [a.ip, a.ip6]) {
      t.not((await outside.run(['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', address])).code, 0);
      t.is(await fetchFrom(outside, address, 80, '-m', '1'), null);
      t.is(await ask(t, outside, address, 80), null);
    }
    t.deepEqual(await answers.frames(), []);
    const drops = await newDrops(tapline, 'uplink', before);
    // What the host's own kernel says on the wire is not ours.
    t.deepEqual(
      Object.keys(drops).filter((reason) => reason !== 'other_host'),
      ['not_published'],
    );
    t.true((drops.not_published ?? 0) >= 8, JSON.stringify(drops));
    await assertHidden();
  },
);

test.serial('nat66: IPv6 leaves from the uplink’s address, and published ports come in', async (t) => {
  const { a, b, c, far, outside, assertHidden } = await createScene(t, {
    blue: { nat66: true },
    green: { nat66: true },
    endpoint: { a: { publish: ['8080:80'] } },
  });
  await serve(t, far, 'far', [80]);
  await serve(t, a, 'a', [80]);
  for (const from of [a, b, c]) {
    t.like(await fetchFrom(from, FAR.ip6, 80), { name: 'far', peer: UPLINK.ip6 });
    t.like(await ask(t, from, FAR.ip6, 80, 40_002), { name: 'far', peer: UPLINK.ip6 });
  }
  const pings = [a, b, c].map((from) => from.run(['ping', '-n', '-e', '77', ...burst(3), FAR.ip6]));
  for (const { stdout } of await Promise.all(pings)) t.regex(stdout, / 3 received, 0%/);
  t.deepEqual(await hopsOf(a, 'traceroute', '-6', '-n', '-q', '1', '-w', '3', FAR.ip6), [
    BLUE.ip6,
    OUTSIDE.ip6,
    FAR.ip6,
  ]);
  await iperfServer(far);
  for (const direction of [[], ['--reverse']]) await iperf(b, FAR.ip6, '--bytes', '2M', ...direction);
  t.like(await fetchFrom(outside, UPLINK.ip6, 8080), { name: 'a', peer: OUTSIDE.ip6 });
  t.like(await fetchFrom(far, UPLINK.ip6, 8080), { name: 'a', peer: FAR.ip6 });
  t.like(await fetchFrom(b, UPLINK.ip6, 8080), { name: 'a', peer: UPLINK.ip6 });
  await assertHidden();
});

test.serial('nptv6: each container has an address outside, in both directions, whatever its ports', async (t) => {
  const { a, b, far, outside, assertHidden } = await createScene(t, {
    blue: { nptv6: '2001:db8:1::/64' },
    prepare: async (outside) => {
      await outside.exec('ip', 'route', 'add', '2001:db8:1::/64', 'via', UPLINK.ip6);
    },
  });
  await serve(t, far, 'far', [80]);
  await serve(t, a, 'a', [80]);
  const pages = [await fetchFrom(a, FAR.ip6, 80, '--local-port', '40002'), await fetchFrom(b, FAR.ip6, 80)];
  for (const page of pages) t.regex(page?.peer ?? '', /^2001:db8:1:/);
  t.not(pages[0]?.peer, pages[1]?.peer);
  t.is(pages[0]?.peerPort, 40_002);
  const address = pages[0]?.peer ?? '';
  t.like(await ask(t, a, FAR.ip6, 80, 40_003), { peer: address, peerPort: 40_003 });
  t.regex(await a.exec('ping', '-n', ...burst(2), FAR.ip6), / 2 received/);
  t.deepEqual(await hopsOf(a, 'traceroute', '-6', '-n', '-q', '1', '-w', '3', FAR.ip6), [
    BLUE.ip6,
    OUTSIDE.ip6,
    FAR.ip6,
  ]);
  for (const [from, peer] of [
    [outside, OUTSIDE.ip6],
    [far, FAR.ip6],
  ] as const) {
    t.regex(await from.exec('ping', '-n', ...burst(2), address), / 2 received/);
    t.like(await fetchFrom(from, address, 80), { name: 'a', peer });
    t.like(await ask(t, from, address, 80), { name: 'a', peer });
    t.deepEqual(await reflect(from, address, 5300), [{ error: 'ECONNREFUSED' }]);
  }
  await iperfServer(a);
  for (const direction of [[], ['--reverse']]) await iperf(far, address, '--bytes', '2M', ...direction);
  t.deepEqual((await hopsOf(far, 'traceroute', '-6', '-n', '-q', '1', '-w', '3', address)).at(-1), address);
  await assertHidden();
});

test.serial('a pool: all that a container says comes from one address of it', async (t) => {
  const pool = ['10.77.0.20', '10.77.0.21', '10.77.0.22'];
  const { a, b, c, far, outside, assertHidden } = await createScene(t, {
    blue: { masquerade: pool },
    green: { masquerade: pool },
  });
  await serve(t, far, 'far', [80]);
  await startMirror(t, outside, MIRROR_PORT);
  for (const from of [a, b, c]) {
    const seen = new Set((await reflect(from, OUTSIDE.ip, MIRROR_PORT, { count: 20 })).map(({ peer }) => peer));
    for (let i = 0; i < 3; i++) seen.add((await fetchFrom(from, FAR.ip, 80))?.peer);
    t.is(seen.size, 1, `${from.endpoint}: ${[...seen]}`);
    t.true(pool.includes([...seen][0] ?? ''));
  }
  t.regex(await a.exec('ping', '-n', '-c', '1', '-W', '3', FAR.ip), / 1 received/);
  await assertHidden();
});

test.serial(
  'no port is left: the container is told, and so is the operator; when one is free again it goes on',
  async (t) => {
    const { a, b, outside, tapline, assertHidden } = await createScene(t, { file: { nat: { ports: '20000-20007' } } });
    await startMirror(t, outside, MIRROR_PORT);
    const answers = await reflect(a, OUTSIDE.ip, MIRROR_PORT, { count: 9 });
    const ports = answers.slice(0, 8).map(({ port }) => port ?? 0);
    t.deepEqual(ports.toSorted(), [20_000, 20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007]);
    // ICMP 3/13, "communication administratively prohibited" (RFC 5508, REQ-8).
    t.deepEqual(answers[8], { error: 'EHOSTUNREACH' });
    t.deepEqual(await reflect(b, OUTSIDE.ip, MIRROR_PORT), [{ error: 'EHOSTUNREACH' }]);
    t.is((await tapline.port('a')).rxDrops.ports_exhausted, 1);
    await eventually('the operator to hear of it', async () =>
      (await tapline.events()).some(({ kind, address }) => kind === 'ports-exhausted' && address === UPLINK.ip),
    );
    await tapline.ok('conntrack', 'flush', '--endpoint', 'a');
    t.like((await reflect(b, OUTSIDE.ip, MIRROR_PORT))[0], { peer: UPLINK.ip, same: true });
    await assertHidden();
  },
);
