/** Packets that are too long for the next link: told, cut, or never made, whichever the sender lets be done. */

import { createHash, randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { datagrams } from './support/datagrams.js';
import { BAD_CHECKSUM, tcpdump, tshark } from './support/frames.js';
import type { Namespace } from './support/namespace.js';
import { accounted, BLUE, createRoutedSite, OUTSIDE, type Site, setWireMtu } from './support/site.js';
import { plainTransfer, transfer } from './support/transfer.js';
import { eventually } from './support/wait.js';

const SMALL = 1280;

test.serial('RFC 1191, RFC 8201: tracepath finds the MTU of a 1280-byte underlay', async (t) => {
  const { tapline, a } = await createRoutedSite(t, { mtu: SMALL });
  for (const [family, address, gateway] of [
    ['-4', OUTSIDE.ip, BLUE.ip],
    ['-6', OUTSIDE.ip6, BLUE.ip6],
  ] as const) {
    const output = await a.exec('tracepath', family, '-n', '-m', '5', address);
    t.regex(output, new RegExp(`^ *\\d: +${gateway} .*pmtu ${SMALL}`, 'm'), output);
    t.regex(output, new RegExp(`^ *2: +${address} .*reached`, 'm'), output);
    t.regex(output, new RegExp(`Resume: pmtu ${SMALL} hops 2`), output);
  }
  t.true(((await tapline.port('a')).rxDrops.too_big ?? 0) >= 2);
  await accounted(tapline);
});

test.serial('RFC 1812 5.2.7.1, RFC 4443 3.2: who forbids fragments is told the next MTU', async (t) => {
  const { tapline, a } = await createRoutedSite(t, { mtu: SMALL });
  for (const [address, headers, text] of [
    [OUTSIDE.ip, 28, `From ${BLUE.ip} icmp_seq=1 Frag needed and DF set (mtu = ${SMALL})`],
    [OUTSIDE.ip6, 48, `From ${BLUE.ip6} icmp_seq=1 Packet too big: mtu=${SMALL}`],
  ] as const) {
    const argv = ['ping', '-n', '-M', 'do', '-c', '1', '-W', '5', '-s'];
    const fits = String(SMALL - headers);
    await a.exec(...argv, fits, address);
    const { stdout } = await a.run([...argv, String(SMALL - headers + 1), address]);
    t.true(stdout.includes(text), stdout);
    // The kernel has learned it.
    t.regex(await a.exec('ip', 'route', 'get', address), new RegExp(`mtu ${SMALL}`));
  }
  t.is((await tapline.port('a')).rxDrops.too_big, 2);
  await accounted(tapline);
});

test.serial('RFC 1812 5.2.6: what may be cut is cut, and its payload arrives as it was', async (t) => {
  const { tapline, a, c, outside } = await createRoutedSite(t, { mtu: SMALL });
  const wire = await tcpdump(t, outside, { device: 'out0', direction: 'in' });
  for (const size of [1252, 1253, 9000, 65_507]) {
    const { stdout, code } = await a.run([
      'ping',
      '-n',
      '-M',
      'dont',
      '-c',
      '2',
      '-i',
      '0.1',
      '-W',
      '5',
      '-s',
      String(size),
      OUTSIDE.ip,
    ]);
    t.is(code, 0, stdout);
    t.notRegex(stdout, /wrong data|DUP/);
  }
  // One way, and the other; the kernel's own fragments are put together by nobody on the way.
  const data = randomBytes(9000 * 6);
  for (const [from, to, address] of [
    [a, outside, OUTSIDE.ip],
    [outside, a, a.ip],
    [outside, c, c.ip6],
  ] as const) {
    // Else the router would have to ask for the MAC first, and keeps few packets for so long.
    await from.exec('ping', '-n', '-c', '1', '-W', '5', address);
    const arrived = await datagrams(t, from, to, address, data);
    t.is(createHash('sha256').update(arrived).digest('hex'), createHash('sha256').update(data).digest('hex'));
  }
  // Who sends IPv6 learns the MTU, and cuts by itself.
  await a.run(['ping', '-6', '-n', '-c', '1', '-W', '5', '-s', '1400', OUTSIDE.ip6]);
  const arrived = await datagrams(t, a, outside, OUTSIDE.ip6, data);
  t.true(arrived.equals(data));

  const frames = await wire.frames();
  t.true(
    frames.some((frame) => frame.length === SMALL + 14),
    'fragments use the MTU',
  );
  t.true(frames.every((frame) => frame.length <= SMALL + 14));
  t.deepEqual(await tshark(wire.path, ['frame.number', 'frame.protocols'], BAD_CHECKSUM), []);
  t.true((await tapline.status()).router.fragmented > 0);
  await accounted(tapline);
});

const STEPS = [1500, 1450, 1420, SMALL, 1500];

/** What the kernel of `namespace` believes to be the MTU on the way to an address. */
async function pathMtu(namespace: Namespace, address: string): Promise<number> {
  const route = await namespace.exec('ip', 'route', 'get', address);
  return Number(/ mtu (\d+)/.exec(route)?.[1] ?? 1500);
}

/** A transfer in whose stages the wire has these MTUs. */
function overChangingWire(t: ExecutionContext, site: Site, address: string, stage: number): Promise<number> {
  const { a, outside } = site;
  // The handshake ran at 1500 on both sides, so that only what the router says can make the sender send less.
  return transfer(t, {
    from: a,
    to: outside,
    address,
    stage,
    change: STEPS.map((mtu) => () => setWireMtu(site, mtu)),
    after: async (index) => {
      const mtu = STEPS[index]!;
      // What was learned is kept for minutes: the last step up is not seen.
      const expected = index === STEPS.length - 1 ? SMALL : mtu;
      await eventually(
        `the sender to know an MTU of ${expected}`,
        async () => (await pathMtu(a, address)) === expected,
      );
      t.is((JSON.parse(await outside.exec('ip', '-json', 'link', 'show', 'out0')) as [{ mtu: number }])[0].mtu, mtu);
    },
  });
}

test.serial('1 GB of TCP over an underlay of 1500, 1450, 1420, 1280 and 1500 bytes, changed live', async (t) => {
  t.timeout(240_000);
  const site = await createRoutedSite(t);
  t.is(await overChangingWire(t, site, OUTSIDE.ip, 208), 1040 << 20);
  t.true(((await site.tapline.port('a')).rxDrops.too_big ?? 0) > 0);
  await accounted(site.tapline);
});

test.serial('IPv6: 1 GB of TCP over the same changes', async (t) => {
  t.timeout(240_000);
  const site = await createRoutedSite(t);
  t.is(await overChangingWire(t, site, OUTSIDE.ip6, 208), 1040 << 20);
  t.true(((await site.tapline.port('a')).rxDrops.too_big ?? 0) > 0);
  await accounted(site.tapline);
});

/** From now on no ICMP comes in or goes out but neighbor discovery. */
async function filterIcmp(t: ExecutionContext, namespace: Namespace): Promise<void> {
  const nd = 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept';
  const rules = `${nd}; meta l4proto { icmp, icmpv6 } counter drop;`;
  const chains = ['input', 'output'].map((hook) => `chain ${hook} { type filter hook ${hook} priority 0; ${rules} };`);
  // By its path: npm puts another program of the name before it.
  await namespace.exec('/usr/sbin/nft', `table inet filtered { ${chains.join(' ')} }`);
  t.regex(await namespace.exec('/usr/sbin/nft', 'list', 'ruleset'), /hook output/);
}

test.serial('with all ICMP filtered TCP gets through 1280 bytes, both ways: its MSS is clamped', async (t) => {
  const { tapline, a, host, outside } = await createRoutedSite(t);
  for (const namespace of [a, outside]) await filterIcmp(t, namespace);
  // The far end believes in 1500, sends nothing larger in one piece, and our end takes no more than 1280.
  await host.exec('ip', 'link', 'set', 'up0', 'mtu', String(SMALL));
  await outside.exec('ethtool', '-K', 'out0', 'tso', 'off', 'gso', 'off');
  await eventually('the router to see it', async () => (await tapline.status()).uplink?.mtu === SMALL);
  const wire = await tcpdump(t, outside, {
    device: 'out0',
    filter: 'tcp[tcpflags] & tcp-syn != 0 or (ip6 and ip6[53] & 2 != 0)',
  });
  let port = 5400;
  for (const [from, to, address] of [
    [a, outside, OUTSIDE.ip],
    [a, outside, OUTSIDE.ip6],
    [outside, a, a.ip],
    [outside, a, a.ip6],
  ] as const) {
    t.is(await plainTransfer(t, from, to, address, 16, port++), 16 << 20);
  }
  await wire.frames();
  // What comes to the wire from inside; what the far end says itself is clamped behind it.
  const announced = await tshark(wire.path, ['tcp.options.mss_val'], `eth.src != ${OUTSIDE.mac}`);
  t.deepEqual([...new Set(announced.flat())].sort(), [String(SMALL - 60), String(SMALL - 40)]);
  const { drops } = await tapline.drops();
  t.is(
    drops.find(({ reason }) => reason === 'too_big'),
    undefined,
  );
  await accounted(tapline);
});

test.serial('between networks of 9000 and 1400 bytes TCP and pings get through, told or clamped', async (t) => {
  const { tapline, a, b, c } = await createRoutedSite(t, { blue: { mtu: 9000 }, green: { mtu: 1400 } });
  for (const address of [c.ip, c.ip6]) {
    const { stdout } = await a.run(['ping', '-n', '-M', 'do', '-c', '1', '-W', '5', '-s', '8000', address]);
    t.regex(stdout, /mtu ?= ?1400/);
  }
  await b.exec('ping', '-n', '-M', 'dont', '-c', '2', '-i', '0.1', '-W', '5', '-s', '8900', c.ip);
  await a.exec('ping', '-n', '-M', 'do', '-c', '2', '-i', '0.1', '-W', '5', '-s', '8900', b.ip);
  const inside = await tcpdump(t, c, { direction: 'in', filter: 'tcp[tcpflags] & tcp-syn != 0' });
  let port = 5500;
  for (const [from, to, address] of [
    [b, c, c.ip],
    [b, c, c.ip6],
    [c, a, a.ip],
    [c, a, a.ip6],
  ] as const) {
    t.is(await plainTransfer(t, from, to, address, 32, port++), 32 << 20);
  }
  await inside.frames();
  t.deepEqual([...new Set((await tshark(inside.path, ['tcp.options.mss_val'])).flat())], ['1360']);
  await accounted(tapline);
});
