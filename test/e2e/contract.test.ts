/** The configuration contract on a real kernel, where doubles cannot tell: its example, its edges, its endings. */

import { existsSync } from 'node:fs';
import test from 'ava';
import { createHosts, createLab, type Host, labConfig } from './support/lab.js';
import { failTapline, startTapline } from './support/tapline.js';

/** Names and address texts of the one interface besides `lo`. */
async function inside(host: Host): Promise<{ name: string; mtu: number; addresses: string[] }[]> {
  const links = JSON.parse(await host.exec('ip', '-json', 'address')) as {
    ifname: string;
    mtu: number;
    addr_info: { local: string; prefixlen: number; scope: string }[];
  }[];
  return links
    .filter(({ ifname }) => ifname !== 'lo')
    .map(({ ifname, mtu, addr_info }) => ({
      name: ifname,
      mtu,
      addresses: addr_info
        .filter(({ scope }) => scope === 'global')
        .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
    }));
}

test.serial('the example, with every key that this version builds', async (t) => {
  const hosts = await createHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  const tapline = await startTapline(
    t,
    `version: 1
networks:
  blue:
    subnets: [172.30.0.0/24, "fd00:30::/64"]    # gateway: the first address
    mtu: 1500
    internal: false
    isolated: false
    masquerade: true
endpoints:
  a:
    network: blue
    netns: ${a.path}
    interface: eth0
    addresses: [172.30.0.2]
    mac: 02:42:ac:1e:00:02
    publish: []
  b: { network: blue, netns: ${b.path} }
services: {}
policy: []
`,
  );
  t.is(tapline.process.stdout(), 'ready\n');
  t.deepEqual(await inside(a), [{ name: 'eth0', mtu: 1500, addresses: ['172.30.0.2/24', 'fd00:30::2/64'] }]);
  t.deepEqual(await inside(b), [{ name: 'eth0', mtu: 1500, addresses: ['172.30.0.3/24', 'fd00:30::3/64'] }]);
  await a.exec('ping', '-c', '1', '-W', '5', '172.30.0.3');
  await a.exec('ping', '-6', '-c', '1', '-W', '5', 'fd00:30::3');
  await tapline.stop();
  t.is(tapline.process.stdout(), 'ready\n');
  t.deepEqual([...(await inside(a)), ...(await inside(b))], []);
});

for (const mtu of [1280, 65_521]) {
  test.serial(`the ${mtu === 1280 ? 'least' : 'largest'} MTU comes up, and a packet of that size passes`, async (t) => {
    const { hosts } = await createLab(t, { network: { mtu } });
    const [a, b] = hosts as [Host, Host];
    t.is((await inside(a))[0]?.mtu, mtu);
    // 20 octets of IPv4 and 8 of ICMP around the data; ping itself takes no more than 65507.
    const size = Math.min(mtu - 28, 65_507);
    await a.exec('ping', '-c', '1', '-W', '5', '-M', 'do', '-s', String(size), b.ip);
  });
}

for (const name of ['-x', '@a.b', 'dev', 'abcdefghijklmno']) {
  test.serial(`an interface named ${name}`, async (t) => {
    const hosts = await createHosts(t, 1);
    const [a] = hosts as [Host];
    const endpoints = { a: { network: 'blue', netns: a.path, interface: name } };
    const tapline = await startTapline(t, { ...labConfig(hosts), endpoints });
    t.deepEqual(
      (await inside(a)).map((link) => link.name),
      [name],
    );
    await tapline.stop();
    t.deepEqual(await inside(a), []);
  });
}

test.serial('one namespace by two paths is found out, and nothing is left in it', async (t) => {
  const hosts = await createHosts(t, 1);
  const [a] = hosts as [Host];
  const again = a.path.replace('/run/netns/', '/run/../run/netns/');
  const endpoints = { a: { network: 'blue', netns: a.path }, b: { network: 'blue', netns: again } };
  const { code, stdout, stderr, socket } = await failTapline(t, { ...labConfig(hosts), endpoints });
  t.deepEqual([code, stdout], [2, '']);
  t.regex(
    stderr,
    /^tapline: .*tapline\.yaml: endpoints\.[ab]\.interface: eth0 in \S+ already belongs to endpoint [ab]/,
  );
  t.deepEqual([await inside(a), existsSync(socket)], [[], false]);
});

test.serial('a terminal that is closed ends the daemon as cleanly as Ctrl-C', async (t) => {
  const { hosts, tapline } = await createLab(t);
  tapline.forget();
  const { code, signal, stdout } = await tapline.process.stop('SIGHUP');
  t.deepEqual([code, signal, stdout], [0, null, 'ready\n']);
  for (const host of hosts) t.deepEqual(await inside(host), []);
  t.false(existsSync(tapline.socket));
});
