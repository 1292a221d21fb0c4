/** How large a packet may be inside follows from how large it may be outside: at once, on every host, and whatever ICMP says or hides. */

import test, { type ExecutionContext } from 'ava';
import { nftProgram } from '../../io/nft.js';
import { iperfServer, iperfWhole } from './support/iperf.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import type { Tapline } from './support/tapline.js';
import { plainTransfer, transfer } from './support/transfer.js';
import { type Container, createContainer, type OverlayHost } from './support/underlay.js';
import {
  createStretched,
  type Family,
  GATEWAY,
  mtuOf,
  overlayOf,
  reaches,
  type Stretched,
  startOverlay,
  VNI,
  vtepOf,
} from './support/vxlan.js';
import { eventually } from './support/wait.js';
import { createVeth } from './support/wire.js';

interface Two extends Stretched {
  readonly taplines: readonly [Tapline, Tapline];
  readonly a: Container;
  readonly b: Container;
}

async function createTwo(t: ExecutionContext, family: Family, network: object = {}): Promise<Two> {
  const stretched = await createStretched(t, { family, overlay: { network } });
  const [one, two] = stretched.sites as [Stretched['sites'][number], Stretched['sites'][number]];
  const [a, b] = [one.containers[0] as Container, two.containers[0] as Container];
  await reaches(a, b);
  return { ...stretched, taplines: [one.tapline, two.tapline], a, b };
}

async function untilMtu({ taplines, a, b }: Two, mtu: number): Promise<void> {
  for (const container of [a, b])
    await eventually(`${container.endpoint} to have MTU ${mtu}`, async () => (await mtuOf(container)) === mtu);
  for (const tapline of taplines)
    await eventually('the overlay to say so', async () => (await overlayOf(tapline)).mtu === mtu);
}

/** One ping that nobody may cut. @param size of the IP packet, in bytes */
async function whole(from: Namespace, address: string, size: number): Promise<{ ok: boolean; text: string }> {
  const headers = address.includes(':') ? 48 : 28;
  const options = ['-M', 'do', '-s', String(size - headers), '-c', '1', '-W', '3'];
  const { code, stdout, stderr } = await from.run(['ping', '-n', ...options, address]);
  return { ok: code === 0, text: stdout + stderr };
}

/** Kernels forget what they were told of paths. */
async function forgetPaths(namespaces: readonly Namespace[]): Promise<void> {
  for (const namespace of namespaces)
    for (const family of ['-4', '-6']) await namespace.exec('ip', family, 'route', 'flush', 'cache');
}

/**
 * What fits passes, and what does not is told how much would, by its own kernel and, where that does not know, by the gateway.
 *
 * @param isTunnel false where the tunnel takes more than the network: then nobody asks what a kernel sends against what it was told
 */
async function limitIs(t: ExecutionContext, { a, b }: Two, mtu: number, isTunnel = true): Promise<void> {
  await forgetPaths([a, b]);
  for (const [address, pattern, from] of [
    [b.ip, `Frag needed and DF set \\(mtu = ${mtu}\\)`, GATEWAY.ip],
    [b.ip6, `Packet too big: mtu=${mtu}`, GATEWAY.ip6],
  ] as const) {
    const fits = await whole(a, address, mtu);
    t.true(fits.ok, fits.text);
    const own = await whole(a, address, mtu + 1);
    t.false(own.ok);
    t.regex(own.text, new RegExp(`message too long, mtu[:=] ?${mtu}`));
    if (!isTunnel) continue;
    await a.exec('ip', 'link', 'set', 'eth0', 'mtu', String(mtu + 500));
    const told = await whole(a, address, mtu + 1);
    t.false(told.ok);
    t.regex(told.text, new RegExp(`From ${from} .*${pattern}`), told.text);
    await a.exec('ip', 'link', 'set', 'eth0', 'mtu', String(mtu));
    await forgetPaths([a]);
  }
}

for (const [family, overhead] of [
  [4, 50],
  [6, 70],
] as const) {
  test.serial(`IPv${family} underlay of 1500, 1450, 9000 and 1500 bytes, changed live`, async (t) => {
    const scene = await createTwo(t, family);
    for (const mtu of [1500, 1450, 9000, 1500]) {
      await scene.underlay.setMtu(mtu);
      await untilMtu(scene, mtu - overhead);
      await limitIs(t, scene, mtu - overhead);
    }
    t.regex(scene.taplines[0].process.stderr(), new RegExp(`network blue: MTU ${1450 - overhead}`));
  });
}

test.serial('a transfer goes on while the underlay has 1450, 9000, 1400 and 1500 bytes', async (t) => {
  const scene = await createTwo(t, 4);
  const { a, b, underlay } = scene;
  const steps = [1450, 9000, 1400, 1500];
  const nothing = async (): Promise<void> => {};
  await transfer(t, {
    from: a,
    to: b,
    address: b.ip,
    stage: 64,
    // In the last stage the sender may have sent all before anything is changed.
    change: [...steps.map((mtu) => () => underlay.setMtu(mtu)), nothing],
    after: async (stage) => untilMtu(scene, (steps[stage] ?? 1500) - 50),
  });
  await iperfServer(b);
  for (const address of [b.ip, b.ip6]) await t.notThrowsAsync(iperfWhole(a, address, 16));
});

test.serial('what the file says is the most: 1400 stays 1400 on 1500 and 9000, and is less on less', async (t) => {
  const scene = await createTwo(t, 4, { mtu: 1400 });
  await untilMtu(scene, 1400);
  for (const [outer, inner] of [
    [9000, 1400],
    [1420, 1370],
    [1500, 1400],
  ] as const) {
    await scene.underlay.setMtu(outer);
    await untilMtu(scene, inner);
    await limitIs(t, scene, inner, inner !== 1400);
  }
});

test.serial('IPv6 inside needs 1280 bytes: they stay, and it is said', async (t) => {
  const scene = await createTwo(t, 4);
  await scene.underlay.setMtu(1300);
  await untilMtu(scene, 1280);
  await eventually('it to be said', () => /warn.*network blue.*1280/.test(scene.taplines[0].process.stderr()));
  t.regex(await scene.a.exec('ip', '-6', 'address', 'show', 'dev', 'eth0'), new RegExp(scene.a.ip6));
  // More than fits outside is not sent, and who asks is told what fits.
  t.true((await whole(scene.a, scene.b.ip, 1250)).ok);
  t.false((await whole(scene.a, scene.b.ip, 1280)).ok);
  await scene.underlay.setMtu(1500);
  await untilMtu(scene, 1450);
  await limitIs(t, scene, 1450);
});

/** From now on no ICMP comes in or goes out but neighbor discovery. */
async function filterIcmp(namespace: Namespace): Promise<void> {
  const nd = 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept';
  const rules = `${nd}; meta l4proto { icmp, icmpv6 } counter drop;`;
  const chains = ['input', 'output'].map((hook) => `chain ${hook} { type filter hook ${hook} priority 0; ${rules} };`);
  await namespace.exec(nftProgram(), `table inet filtered { ${chains.join(' ')} }`);
}

for (const mtu of [1500, 1450]) {
  test.serial(`${mtu} bytes outside, and all ICMP filtered inside: TCP gets through, both ways`, async (t) => {
    const scene = await createTwo(t, 4);
    const { a, b, underlay } = scene;
    await underlay.setMtu(mtu);
    await untilMtu(scene, mtu - 50);
    for (const container of [a, b]) await filterIcmp(container);
    await iperfServer(b);
    for (const address of [b.ip, b.ip6])
      for (const options of [[], ['--reverse']]) {
        await t.notThrowsAsync(iperfWhole(a, address, 16, ...options));
      }
  });
}

const NARROW = 1400;

/** Two hosts with routers between them, whose own wire takes less than the hosts know of. */
async function createNarrowPath(t: ExecutionContext): Promise<{ hosts: OverlayHost[]; routers: Namespace[] }> {
  const routers = [await createNamespace(t), await createNamespace(t)];
  const hosts: OverlayHost[] = [];
  const [left, right] = routers as [Namespace, Namespace];
  await createVeth(left, 'mid0', right, 'mid0');
  for (const [at, router] of routers.entries()) {
    const number = at + 1;
    const host = {
      namespace: await createNamespace(t),
      number,
      ip: `10.77.${number}.1`,
      ip6: `fd00:77:${number}::1`,
      wire: '',
    };
    hosts.push(host);
    await createVeth(host.namespace, 'up0', router, 'down0');
    for (const [address, device] of [
      [`10.77.${number}.254/24`, 'down0'],
      [`fd00:77:${number}::254/64`, 'down0'],
      [`10.78.0.${number}/24`, 'mid0'],
      [`fd00:78::${number}/64`, 'mid0'],
    ] as const)
      await router.exec('ip', 'address', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []));
    await router.exec('ip', 'link', 'set', 'mid0', 'mtu', String(NARROW));
    await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    const other = 3 - number;
    await router.exec('ip', 'route', 'add', `10.77.${other}.0/24`, 'via', `10.78.0.${other}`);
    await router.exec('ip', 'route', 'add', `fd00:77:${other}::/64`, 'via', `fd00:78::${other}`);
  }
  return { hosts, routers };
}

for (const [family, inner] of [
  [4, NARROW - 50],
  [6, NARROW - 70],
] as const) {
  test.serial(`IPv${family} underlay: routers whose wire takes ${NARROW} bytes say so, and are heard`, async (t) => {
    const { hosts } = await createNarrowPath(t);
    const address = ({ ip, ip6 }: OverlayHost): string => (family === 4 ? ip : ip6);
    const taplines: Tapline[] = [];
    const containers: Container[] = [];
    for (const host of hosts) {
      const container = await createContainer(t, host);
      const { number, ip, ip6 } = host;
      const addresses = [`${ip}/24`, `${ip6}/64`];
      const gateways = [`10.77.${number}.254`, `fd00:77:${number}::254`];
      const vxlan = { vni: VNI, local: address(host), remotes: [address(hosts[2 - number]!)] };
      taplines.push(await startOverlay(t, host, [container], vxlan, { uplink: { addresses, gateways } }));
      containers.push(container);
    }
    const [a, b] = containers as [Container, Container];
    await reaches(a, b);
    t.is(await mtuOf(a), family === 4 ? 1450 : 1430);
    for (const [from, to, port] of [
      [a, b, 5361],
      [b, a, 5363],
    ] as const) {
      // Else the one that knows offers the other an MSS that fits.
      await forgetPaths([a, b]);
      t.is(await plainTransfer(t, from, to, to.ip, 32, port), 32 << 20);
      t.is(await plainTransfer(t, from, to, to.ip6, 32, port + 1), 32 << 20);
    }
    for (const [at, tapline] of taplines.entries()) t.is((await vtepOf(tapline, address(hosts[1 - at]!))).mtu, inner);
    // Who sends more than passes is told.
    for (const [to, pattern] of [
      [b.ip, `mtu ?[:=] ?${inner}`],
      [b.ip6, `mtu ?[:=] ?${inner}`],
    ] as const) {
      t.true((await whole(a, to, inner)).ok, to);
      const told = await whole(a, to, inner + 1);
      t.false(told.ok);
      t.regex(told.text, new RegExp(pattern));
    }
  });
}
