/** The commands around security, isolation, VLANs, the FDB, mirrors and events. */

import test from 'ava';
import { eventually } from '../control/support/fixture.js';
import { makeLab } from './support/lab.js';

const MAC = '02:00:00:00:00:99';

test("connect's options reach the endpoint", async (t) => {
  const { run, dataplane } = await makeLab(t);
  await run('network', 'create', 'lan', '--subnet', '10.0.0.0/24', '--vlan-filtering');
  const connect = async (options: string): Promise<unknown> =>
    JSON.parse((await run('connect', ...options.split(' '), '--json')).out);
  t.like(
    await connect(
      `blue --netns /ns/a --security mac --allow-address 10.8.0.0/16 --allow-address 10.9.0.1 --macs ${MAC} --mac-limit 5 --isolation-group g`,
    ),
    {
      security: 'mac',
      allowed_addresses: ['10.8.0.0/16', '10.9.0.1'],
      macs: [MAC],
      mac_limit: 5,
      isolated: true,
      isolation_group: 'g',
    },
  );
  t.like(await connect('lan --netns /ns/b --trunk 10-20,30 --native 10'), {
    vlan: null,
    trunk: { native: 10, allowed: ['10-20', 30] },
  });
  t.deepEqual(dataplane.livePorts.get(dataplane.portNamed('b'))?.vlan?.tagged.length, 11);
  t.like(await connect('lan --netns /ns/a --interface eth1 --name x --vlan 4 --isolated'), { vlan: 4, isolated: true });
  const bad = await run('connect', 'lan', '--netns', '/ns/b', '--interface', 'eth2', '--name', 'y', '--vlan', '4095');
  t.deepEqual(
    [bad.code, bad.err],
    [2, 'tapline: vlan: VLAN out of range: 4095 is reserved; expected an integer from 1 to 4094, got 4095\n'],
  );
  const trunk = await run('connect', 'lan', '--netns', '/ns/b', '--name', 'y', '--trunk', '10,', '--isolated');
  t.deepEqual(
    [trunk.code, trunk.err],
    [2, 'tapline: trunk.allowed[1]: expected a VLAN or a range such as "10-20", got ""\n'],
  );
});

test("network create's options reach the network", async (t) => {
  const { run, dataplane } = await makeLab(t);
  const options =
    '--isolated --vlan-filtering --vlan-protocol 802.1ad --fdb-full drop --no-querier --unregistered drop --subnet 10.0.0.0/24';
  t.is((await run('network', 'create', 'lan', ...options.split(' '))).out, 'lan\n');
  t.like([...dataplane.networks.values()].at(-1), {
    vlanProtocol: 0x88a8,
    fdbFull: 'drop',
    multicast: { snooping: true, querier: false, unregistered: 'drop' },
  });
  const { out } = await run('network', 'inspect', 'lan');
  t.regex(out, /^isolated: +yes$/m);
  t.regex(out, /^vlans: +802\.1ad$/m);
  t.regex(out, /^fdb limit: +16384, then drop$/m);
  t.regex(out, /^multicast: +snooping, unregistered: drop$/m);
  t.regex(out, /^storm control: +broadcast 10000\/s, multicast off, unknown_unicast 10000\/s$/m);
  t.regex(out, /^loop protection: +quarantine of 30 s after 20 moves of a MAC in 10 s$/m);
  await run('network', 'create', 'quiet', '--no-snooping', '--subnet', '10.0.1.0/24');
  t.regex((await run('network', 'inspect', 'quiet')).out, /^multicast: +flooded$/m);
});

test('fdb add, rm, flush', async (t) => {
  const { run, dataplane } = await makeLab(t);
  await run('connect', 'blue', '--netns', '/ns/a');
  t.is((await run('fdb', 'add', MAC, '--network', 'blue', '--port', 'a')).out, `${MAC}\n`);
  t.is(
    (await run('show', 'fdb')).out,
    'MAC                NETWORK  VLAN  PORT  AGE\n02:00:00:00:00:99  blue     -     a     static\n',
  );
  t.deepEqual(JSON.parse((await run('fdb', 'rm', MAC, '--network', 'blue', '--json')).out), { mac: MAC });
  t.deepEqual(await run('fdb', 'rm', MAC, '--network', 'blue').then(({ code, err }) => [code, err]), [
    1,
    `tapline: no entry of ${MAC} in network blue\n`,
  ]);
  t.like(await run('fdb', 'flush', '--network', 'blue', '--port', 'a'), { code: 0, out: '' });
  t.deepEqual(dataplane.flushes, [
    { network: dataplane.livePorts.get(dataplane.portNamed('a'))?.network, port: dataplane.portNamed('a'), vlan: null },
  ]);
});

test('mirrors: made, listed, removed', async (t) => {
  const { run } = await makeLab(t);
  for (const name of ['a', 'b']) await run('connect', 'blue', '--netns', `/ns/${name}`);
  t.is((await run('mirror', 'create', 'spy', '--from', 'a', '--to', 'b', '--direction', 'in')).out, 'spy\n');
  await run('mirror', 'create', 'all', '--from-network', 'red', '--to', 'b');
  await run('disconnect', 'a');
  const table = [
    'MIRROR  FROM         TO  DIRECTION  STATE',
    'spy     a            b   in         waiting: endpoint a is not up',
    'all     network red  b   both       active',
    '',
  ].join('\n');
  t.is((await run('mirror', 'ls')).out, table);
  t.is((await run('show', 'mirrors')).out, table);
  t.regex((await run('status')).out, /^mirrors: +spy \(waiting\), all \(active\)$/m);
  t.like(await run('mirror', 'rm', 'spy', 'all'), { code: 0, out: 'spy\nall\n' });
  t.like(await run('mirror', 'create', 'm', '--from-uplink', '--to', 'b'), {
    code: 1,
    err: 'tapline: from.uplink: no uplink is configured\n',
  });
  t.like(await run('mirror', 'create', 'm', '--from', 'b', '--to', 'b'), {
    code: 2,
    err: 'tapline: to: expected another endpoint than the one that it copies, got "b"\n',
  });
});

test('show vlan, mdb and security', async (t) => {
  const { run, dataplane, daemon } = await makeLab(t);
  await run('network', 'create', 'lan', '--subnet', '10.0.0.0/24', '--vlan-filtering');
  await run('connect', 'lan', '--netns', '/ns/a', '--vlan', '10');
  await run('connect', 'lan', '--netns', '/ns/b', '--trunk', '10-12', '--security', 'mac');
  t.is(
    (await run('show', 'vlan')).out,
    ['NETWORK  VLAN   UNTAGGED  TAGGED', 'lan      10     a         b', 'lan      11-12  -         b', ''].join('\n'),
  );
  const ports = (await run('show', 'ports')).out;
  t.regex(ports, /^a +tap +lan +forwarding +10 +strict /m);
  t.regex(ports, /^b +tap +lan +forwarding +trunk +mac /m);
  dataplane.mdbEntries.push({
    network: daemon.network('lan').id,
    vlan: 10,
    group: '239.1.2.3',
    ports: [
      { port: dataplane.portNamed('a'), expires: 240.2 },
      { port: dataplane.portNamed('b'), expires: null },
    ],
  });
  t.is(
    (await run('show', 'mdb', '--network', 'lan')).out,
    'NETWORK  VLAN  GROUP      PORTS\n' + 'lan        10  239.1.2.3  a (241 s) b\n',
  );
  dataplane.rxDrops = { arp_sender: 4, source_mac: 2, runt: 1 };
  t.is(
    (await run('show', 'security')).out,
    [
      'ENDPOINT  NETWORK  SECURITY  ISOLATION  MACS               LEARNED  ADDRESSES  VIOLATIONS',
      'a         lan      strict    -          02:42:0a:00:00:02  1 of 1   10.0.0.2   source_mac:2 arp_sender:4',
      'b         lan      mac       -          02:42:0a:00:00:03  1 of 1   10.0.0.3   source_mac:2 arp_sender:4',
      '',
    ].join('\n'),
  );
  for (const what of ['vlan', 'mdb', 'security']) {
    t.true(Array.isArray(JSON.parse((await run('show', what, '--json')).out)));
    t.like(await run('show', what, '--network', 'grey'), { code: 1, err: 'tapline: no network grey\n' });
  }
});

test('events: what happened, what happens, and ports in quarantine', async (t) => {
  const { run, dataplane, daemon } = await makeLab(t);
  await run('connect', 'blue', '--netns', '/ns/a');
  const port = dataplane.portNamed('a');
  const network = daemon.network('blue').id;
  const kind = 'port-quarantined';
  dataplane.happen({ kind, network, port, mac: MAC, count: 30 });
  dataplane.quarantined.push(port);
  const text = `port a is quarantined for 30 seconds in network blue: MAC ${MAC} came back on it; look for a loop behind it`;
  t.is((await run('events')).out, `2026-01-31T12:00:00.000Z port-quarantined ${text}\n`);
  t.like(JSON.parse((await run('events', '--json')).out)[0], { id: 1, kind, port: 'a', mac: MAC });
  const status = (await run('status')).out;
  t.true(status.includes(`a (${text})\n`));
  t.regex(status, /^fdb: .* 4 moves, 0 times full$/m);
  t.regex((await run('show', 'ports')).out, /^a +tap +blue +quarantined /m);

  const following = run('events', '--follow', '--json');
  let sent = 0;
  const timer = setInterval(() => dataplane.happen({ kind: 'port-released', network, port, count: ++sent }), 5);
  await eventually(() => sent > 20);
  clearInterval(timer);
  daemon.eventLog.close();
  const { code, out } = await following;
  const kinds = out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line).kind);
  t.deepEqual([code, kinds[0], kinds[1], kinds.length], [0, kind, 'port-released', sent + 1]);
});
