/** Router advertisements as the kernel's own IPv6 understands them: addresses, MTU and default routes that nobody configured. */

import test, { type ExecutionContext } from 'ava';
import { linkLocal } from './support/attacks.js';
import type { Host } from './support/lab.js';
import { createNamespace, type Namespace } from './support/namespace.js';
import { burst } from './support/ping.js';
import { must } from './support/process.js';
import { accounted, BLUE, createSite, OUTSIDE, type Site, type SiteOptions } from './support/site.js';
import { startTapline } from './support/tapline.js';
import { eventually } from './support/wait.js';

const MTU = 1400;
const GATEWAY = linkLocal(BLUE.mac);

interface Address {
  readonly local: string;
  readonly prefixlen: number;
  readonly dynamic?: boolean;
  readonly tentative?: boolean;
}

async function addresses(namespace: Namespace, device = 'eth0'): Promise<Address[]> {
  const argv = ['-json', '-6', 'address', 'show', 'dev', device, 'scope', 'global'];
  const links = JSON.parse(await namespace.exec('ip', ...argv)) as { addr_info?: Address[] }[];
  // `ip` prints an empty object for each link that the filter leaves out.
  return links.flatMap(({ addr_info }) => addr_info ?? []).filter(({ local }) => local !== undefined);
}

/** The default routes that advertisements made. */
async function advertisedRoutes(namespace: Namespace): Promise<{ gateway: string; dev: string }[]> {
  const routes = JSON.parse(await namespace.exec('ip', '-json', '-6', 'route', 'show', 'default', 'proto', 'ra'));
  return routes as { gateway: string; dev: string }[];
}

/** In a prefix of 64 bits, by the MAC (RFC 4291, appendix A). */
function slaacAddress(prefix: string, mac: string): string {
  return linkLocal(mac).replace('fe80::', prefix);
}

/** Waits until an address is there and may be used. */
function usable(namespace: Namespace, address: string, device?: string): Promise<void> {
  return eventually(`address ${address}`, async () =>
    (await addresses(namespace, device)).some(({ local, tentative }) => local === address && tentative !== true),
  );
}

function createAdvertised(t: ExecutionContext, advertisements: object, options: SiteOptions = {}): Promise<Site> {
  const blue = { mtu: MTU, router_advertisements: { enabled: true, ...advertisements }, ...options.blue };
  return createSite(t, { ...options, blue });
}

const asks = (host: Host, source: string, address: string): Promise<string> =>
  host.exec('ping', '-6', '-n', '-c', '2', '-i', '0.1', '-W', '5', '-I', source, address);

test.serial(
  'RFC 4862 5.5: an endpoint makes an address of the prefix, which port security lets pass to other networks',
  async (t) => {
    const { tapline, a, c } = await createAdvertised(t, {});
    const own = slaacAddress('fd00:30::', a.mac);
    await usable(a, own);
    const found = (await addresses(a)).find(({ local }) => local === own);
    t.is(found?.prefixlen, 64);
    t.true(found?.dynamic);
    t.deepEqual(
      (await advertisedRoutes(a)).map(({ gateway, dev }) => ({ gateway, dev })),
      [{ gateway: GATEWAY, dev: 'eth0' }],
    );
    for (const address of [c.ip6, OUTSIDE.ip6, BLUE.ip6]) t.regex(await asks(a, own, address), / 0% packet loss/);
    t.regex(await c.exec('ping', '-6', '-n', ...burst(2), own), / 0% packet loss/);
    t.is((await tapline.port('a')).rxDrops.source_address ?? 0, 0);

    // No other address of the prefix is his, nor is anybody else's.
    await a.exec('ip', 'address', 'add', 'fd00:30::bad/64', 'dev', 'eth0', 'nodad');
    t.is((await a.run(['ping', '-6', '-n', '-c', '1', '-W', '1', '-I', 'fd00:30::bad', c.ip6])).code, 1);
    t.true(((await tapline.port('a')).rxDrops.source_address ?? 0) > 0);
    // A network that does not advertise has no such addresses.
    t.deepEqual(
      (await addresses(c)).map(({ local }) => local),
      [c.ip6],
    );
    await accounted(tapline);
  },
);

test.serial(
  'RFC 4861 6.2.6: a solicitation is answered with prefix, MTU, lifetime and link-layer address',
  async (t) => {
    const { tapline, a, c } = await createAdvertised(t, { lifetime: 1200, other: true });
    await eventually('a link-local address', async () =>
      (await a.exec('ip', '-6', 'address', 'show', 'dev', 'eth0', 'scope', 'link', '-tentative')).includes('fe80::'),
    );
    const output = await a.exec('rdisc6', '-1', '-n', '-w', '10000', 'eth0');
    for (const line of [
      /Hop limit +: +64 /,
      /Stateful address conf\. +: +No/,
      /Stateful other conf\. +: +Yes/,
      /Router lifetime +: +1200 /,
      /Prefix +: fd00:30::\/64/,
      /On-link +: +Yes/,
      /Autonomous address conf\.: +Yes/,
      /MTU +: +1400 bytes \(valid\)/,
      new RegExp(`Source link-layer address: ${BLUE.mac}`, 'i'),
      new RegExp(`from ${GATEWAY}`),
    ]) {
      t.regex(output, line);
    }
    // Where nothing is advertised nobody answers.
    t.not((await c.run(['rdisc6', '-1', '-n', '-r', '1', '-w', '1500', 'eth0'])).code, 0);
    await accounted(tapline);
  },
);

test.serial(
  'a network without autonomous addresses gives a default route alone, an internal one an address alone',
  async (t) => {
    const { tapline, a, b } = await createAdvertised(
      t,
      { autonomous: false },
      { green: { internal: true, router_advertisements: { enabled: true } } },
    );
    // Each asks when its interface is up, and not at the same moment.
    for (const host of [a, b]) {
      await eventually('the default route', async () => (await advertisedRoutes(host)).length > 0);
    }
    t.is((await advertisedRoutes(a)).length, 1);
    t.deepEqual(
      (await addresses(a)).map(({ local }) => local),
      [a.ip6],
    );
    t.is((await advertisedRoutes(b)).length, 1);
    const { c } = await internalOnly(t);
    await usable(c, slaacAddress('fd00:31::', c.mac));
    t.deepEqual(await advertisedRoutes(c), []);
    await accounted(tapline);
  },
);

/** One internal network that advertises. */
async function internalOnly(t: ExecutionContext): Promise<Pick<Site, 'c' | 'tapline'>> {
  const { tapline, c } = await createSite(t, { green: { internal: true, router_advertisements: { enabled: true } } });
  return { tapline, c };
}

test.serial(
  'RFC 4861 6.2.5: hosts behind an endpoint take MTU and route, and lose the route when Tapline ends',
  async (t) => {
    // The endpoint's namespace is itself a bridge, with a host behind it whose interface Tapline does not take away.
    const inner = await createNamespace(t);
    const outer = await createNamespace(t);
    const mac = '02:42:ac:1e:00:77';
    const config = {
      version: 1,
      networks: { blue: { subnets: ['fd00:30::/64'], mtu: MTU, router_advertisements: { enabled: true } } },
      endpoints: { a: { network: 'blue', netns: outer.path, security: 'off' } },
    };
    const tapline = await startTapline(t, config);
    await outer.exec('ip', 'link', 'add', 'br0', 'type', 'bridge');
    await must([
      'ip',
      '-n',
      outer.name,
      'link',
      'add',
      'veth0',
      'type',
      'veth',
      'peer',
      'name',
      'in0',
      'netns',
      inner.name,
    ]);
    await inner.exec('ip', 'link', 'set', 'in0', 'address', mac);
    for (const device of ['veth0', 'eth0']) await outer.exec('ip', 'link', 'set', device, 'master', 'br0');
    for (const device of ['veth0', 'br0']) await outer.exec('ip', 'link', 'set', device, 'up');
    await inner.exec('ip', 'link', 'set', 'in0', 'up');

    await usable(inner, slaacAddress('fd00:30::', mac), 'in0');
    await eventually('the default route', async () => (await advertisedRoutes(inner)).length === 1);
    t.is((await inner.exec('cat', '/proc/sys/net/ipv6/conf/in0/mtu')).trim(), String(MTU));
    t.is((await inner.exec('cat', '/sys/class/net/in0/mtu')).trim(), '1500');
    await inner.exec('ping', '-6', '-n', '-c', '1', '-W', '5', 'fd00:30::1');
    await accounted(tapline);

    await tapline.stop();
    await eventually('the route to go', async () => (await advertisedRoutes(inner)).length === 0);
    // The address stays: a router that goes takes no prefix along.
    t.true((await addresses(inner, 'in0')).some(({ local }) => local === slaacAddress('fd00:30::', mac)));
  },
);
