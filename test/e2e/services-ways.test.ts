/** The ways that answers take: by the gateway where client and backend are neighbors, or straight from the backend to its client. */

import test from 'ava';
import { type Tcpdump, tcpdump, tshark } from './support/frames.js';
import { balance } from './support/host.js';
import { iperfServer, iperfWhole } from './support/iperf.js';
import type { Host } from './support/lab.js';
import { answerNames, digName } from './support/names.js';
import { ask, fetchFrom, send, serve } from './support/published.js';
import { backends, createServiceSite, service, serviceOf, VIRTUAL } from './support/services.js';
import { accounted, BLUE, newDrops, OUTSIDE, UPLINK } from './support/site.js';

const NAMES = ['a', 'b', 'c'];

test.serial('hairpin: a backend and its siblings reach their own service, and are taken for the gateway', async (t) => {
  const ports = ['8080/tcp', '8080/udp'];
  const at = (address: string): string[] => ports.map((port) => `${address}:${port}`);
  const listen = [...ports, ...at(VIRTUAL.ip), ...at(`[${VIRTUAL.ip6}]`)];
  const { tapline, a, b, c, d, e } = await createServiceSite(t, { services: { web: service({ listen }) } });
  for (const from of [a, b, c]) await serve(t, from, from.endpoint, [80]);
  // `a` is a backend: one of its connections comes back to itself.
  for (const [from, address, peer] of [
    [a, VIRTUAL.ip, BLUE.ip],
    [a, VIRTUAL.ip6, BLUE.ip6],
    [d, VIRTUAL.ip, BLUE.ip],
    [d, VIRTUAL.ip6, BLUE.ip6],
    [a, UPLINK.ip, BLUE.ip],
    [d, UPLINK.ip6, BLUE.ip6],
    // It is in another network: its address is known there.
    [e, VIRTUAL.ip, e.ip],
    [e, VIRTUAL.ip6, e.ip6],
  ] as const) {
    const what = `${from.endpoint} ${address}`;
    const pages = [];
    for (let i = 0; i < 3; i++) pages.push(await fetchFrom(from, address, 8080));
    for (const page of pages) t.like(page, { port: 80, peer }, what);
    t.deepEqual(pages.map((page) => page?.name).sort(), NAMES, what);
    const datagrams = [];
    for (let i = 0; i < 3; i++) datagrams.push(await ask(t, from, address, 8080));
    for (const datagram of datagrams) t.like(datagram, { port: 80, peer }, what);
    t.deepEqual(datagrams.map((datagram) => datagram?.name).sort(), NAMES, what);
  }
  t.is((await serviceOf(tapline)).via, 'gateway');
  t.regex(await tapline.ok('show', 'services'), /same subnet as their backend: via gateway/);
  const { came, went } = await balance(tapline);
  t.is(came, went);
});

test.serial('hairpin: a transfer to a service of the own subnet, whole and counted', async (t) => {
  const { tapline, a, d } = await createServiceSite(t, {
    services: {
      speed: service({
        listen: [`${VIRTUAL.ip}:5201/tcp`, `[${VIRTUAL.ip6}]:5201/tcp`],
        backends: backends(['a'], 5201),
      }),
    },
  });
  await iperfServer(a);
  for (const address of [VIRTUAL.ip, VIRTUAL.ip6]) {
    for (const direction of [[], ['--reverse']]) await iperfWhole(d, address, 32, ...direction);
  }
  const { bytesIn, bytesOut, flows } = await serviceOf(tapline, 'speed');
  t.true(bytesIn > 20_000_000 && bytesOut > 20_000_000, `${bytesIn} ${bytesOut}`);
  t.is(flows, 8, 'a control and a data connection each time');
});

test.serial(
  'isolated: a service is no detour between endpoints that do not reach each other; others use it',
  async (t) => {
    const { tapline, a, b, d, e } = await createServiceSite(t, {
      blue: { isolated: true },
      services: { web: service({ listen: [`${VIRTUAL.ip}:80/tcp`], backends: backends(['a', 'b'], 80) }) },
    });
    for (const from of [a, b]) await serve(t, from, from.endpoint, [80]);
    t.is(await fetchFrom(d, a.ip, 80, '-m', '1'), null);
    const { rxDrops: before } = await tapline.port('d');
    t.is(await fetchFrom(d, VIRTUAL.ip, 80, '-m', '1'), null);
    t.true(((await newDrops(tapline, 'd', before)).isolated ?? 0) > 0);
    const pages = [await fetchFrom(e, VIRTUAL.ip, 80), await fetchFrom(e, VIRTUAL.ip, 80)];
    t.deepEqual(pages.map((page) => page?.name).sort(), ['a', 'b']);
  },
);

/** A backend that takes packets for the service's addresses, and does not tell its neighbors that it has them. */
async function takeVirtual(host: Host): Promise<void> {
  await host.exec('sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=1', 'net.ipv4.conf.all.arp_announce=2');
  await host.exec('ip', 'address', 'add', `${VIRTUAL.ip}/32`, 'dev', 'lo');
  await host.exec('ip', 'address', 'add', `${VIRTUAL.ip6}/128`, 'dev', 'lo');
}

test.serial('direct: backends get packets as they are, and answer clients themselves', async (t) => {
  const direct = { allowed_addresses: [VIRTUAL.ip, VIRTUAL.ip6] };
  const { tapline, a, b, d, e } = await createServiceSite(t, {
    endpoint: { a: direct, b: direct },
    services: {
      web: service({
        forwarding: 'direct',
        listen: [`${VIRTUAL.ip}:80/tcp`, `[${VIRTUAL.ip6}]:80/tcp`],
        backends: backends(['a', 'b'], 80),
      }),
      dns: service({
        forwarding: 'direct',
        listen: [`${VIRTUAL.ip}:53/udp`, `[${VIRTUAL.ip6}]:53/udp`],
        backends: backends(['a', 'b'], 53),
      }),
    },
  });
  for (const [i, host] of [a, b].entries()) {
    await takeVirtual(host);
    await serve(t, host, host.endpoint, [80]);
    await answerNames(host, `192.0.2.${i + 1}`);
  }
  const atNeighbor: Tcpdump = await tcpdump(t, d, { direction: 'in', filter: 'tcp src port 80' });
  for (const [from, address, peer] of [
    [d, VIRTUAL.ip, d.ip],
    [d, VIRTUAL.ip6, d.ip6],
    [e, VIRTUAL.ip, e.ip],
    [e, VIRTUAL.ip6, e.ip6],
  ] as const) {
    const what = `${from.endpoint} ${address}`;
    const pages = [];
    for (let i = 0; i < 4; i++) pages.push(await fetchFrom(from, address, 80));
    for (const page of pages) t.like(page, { port: 80, peer }, what);
    t.deepEqual(pages.map((page) => page?.name).sort(), ['a', 'a', 'b', 'b'], what);
    const names = [await digName(from, address), await digName(from, address)];
    t.deepEqual(names.sort(), ['192.0.2.1', '192.0.2.2'], what);
  }
  t.true((await atNeighbor.frames()).length > 8);
  const senders = new Set((await tshark(atNeighbor.path, ['eth.src'])).flat());
  t.deepEqual([...senders].sort(), [a.mac, b.mac], 'straight from the backends');
  const { via, bytesIn, backends: all } = await serviceOf(tapline);
  t.is(via, 'direct');
  t.true(bytesIn > 0);
  t.deepEqual(
    all.map(({ flows }) => flows),
    [8, 8],
  );
});

test.serial('without translation the outside reaches virtual addresses as well, and gets direct answers', async (t) => {
  const addresses = [VIRTUAL.ip, `[${VIRTUAL.ip6}]`];
  const { tapline, a, b, outside } = await createServiceSite(t, {
    blue: { masquerade: false },
    endpoint: { a: { allowed_addresses: [VIRTUAL.ip, VIRTUAL.ip6] } },
    services: {
      web: service({ listen: addresses.map((address) => `${address}:80/tcp`), backends: backends(['a', 'b'], 80) }),
      direct: service({
        forwarding: 'direct',
        listen: addresses.map((address) => `${address}:81/tcp`),
        backends: backends(['a'], 81),
      }),
    },
  });
  await takeVirtual(a);
  for (const host of [a, b]) await serve(t, host, host.endpoint, [80, 81]);
  for (const [address, peer] of [
    [VIRTUAL.ip, OUTSIDE.ip],
    [VIRTUAL.ip6, OUTSIDE.ip6],
  ] as const) {
    const pages = [await fetchFrom(outside, address, 80), await fetchFrom(outside, address, 80)];
    for (const page of pages) t.like(page, { port: 80, peer }, address);
    t.deepEqual(pages.map((page) => page?.name).sort(), ['a', 'b'], address);
    t.like(await fetchFrom(outside, address, 81), { name: 'a', port: 81, peer }, address);
  }
  // One of two services at an address goes: the other stays.
  await send(tapline.socket, 'DELETE', '/v1/services/web');
  t.is(await fetchFrom(outside, VIRTUAL.ip, 80, '-m', '2'), null);
  t.like(await fetchFrom(outside, VIRTUAL.ip, 81), { name: 'a' });
  await accounted(tapline);
});

test.serial('the gateway’s own address may be where a service listens', async (t) => {
  const { a, b, d, e } = await createServiceSite(t, {
    services: {
      dns: service({ listen: [`${BLUE.ip}:53/udp`, `[${BLUE.ip6}]:53/udp`], backends: backends(['a', 'b'], 53) }),
    },
  });
  await answerNames(a, '192.0.2.1');
  await answerNames(b, '192.0.2.2');
  for (const from of [a, d, e]) {
    for (const address of [BLUE.ip, BLUE.ip6]) {
      const names = [await digName(from, address), await digName(from, address)];
      t.deepEqual(names.sort(), ['192.0.2.1', '192.0.2.2'], `${from.endpoint} ${address}`);
      t.is((await from.run(['ping', '-n', '-c', '1', '-W', '2', address])).code, 0);
    }
  }
});

test.serial('direct: large transfers in both directions', async (t) => {
  const { a, d, e } = await createServiceSite(t, {
    endpoint: { a: { allowed_addresses: [VIRTUAL.ip, VIRTUAL.ip6] } },
    services: {
      speed: service({
        forwarding: 'direct',
        listen: [`${VIRTUAL.ip}:5201/tcp`, `[${VIRTUAL.ip6}]:5201/tcp`],
        backends: backends(['a'], 5201),
      }),
    },
  });
  await takeVirtual(a);
  await iperfServer(a);
  for (const from of [d, e]) {
    for (const address of [VIRTUAL.ip, VIRTUAL.ip6]) {
      for (const direction of [[], ['--reverse']])
        await t.notThrowsAsync(iperfWhole(from, address, 32, ...direction), from.endpoint);
    }
  }
});
