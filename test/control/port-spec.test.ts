import test from 'ava';
import { allVlansBut, formatVlans } from '../../control/config/vlan.js';
import type { NetworkSpec, PortSpec } from '../../control/types.js';
import { config, type Fixture, makeFixture } from './support/fixture.js';

/** Brings a file up; its namespaces are `/ns/a` to `/ns/f`, its device `up0`. */
async function up(yaml: string): Promise<Fixture> {
  const fixture = makeFixture();
  for (const name of 'abcdef') fixture.system.addNamespace(`/ns/${name}`);
  fixture.system.devices.add('up0');
  await fixture.daemon.apply(config(`version: 1\n${yaml}`));
  return fixture;
}

function port({ dataplane }: Fixture, name: string): PortSpec {
  return dataplane.livePorts.get(dataplane.portNamed(name))!;
}

function network({ dataplane }: Fixture, name: string): NetworkSpec {
  return [...dataplane.networks.values()].find((candidate) => candidate.name === name)!;
}

test('an endpoint that says nothing is strict, speaks from its own MAC and addresses only, and is announced', async (t) => {
  const lab = await up(`
networks: { blue: { subnets: [172.30.0.0/24, "fd00:30::/64"] } }
endpoints: { a: { network: blue, netns: /ns/a } }`);
  const { fd, network: number, ...spec } = port(lab, 'a');
  t.true(fd > 0 && number > 0);
  t.deepEqual(spec, {
    kind: 'tap',
    name: 'a',
    security: {
      level: 'strict',
      mac: '02:42:ac:1e:00:02',
      macs: [],
      prefixes: ['172.30.0.2/32', 'fd00:30::2/128'],
      macLimit: 1,
    },
    isolation: 0,
    storm: { broadcast: 10_000, multicast: 0, unknownUnicast: 10_000 },
    multicast: { router: 'auto', fastLeave: true },
    announce: ['172.30.0.2', 'fd00:30::2'],
  });
  t.deepEqual(network(lab, 'blue'), {
    name: 'blue',
    ageingSeconds: 300,
    fdbLimit: 16_384,
    fdbFull: 'flood',
    vlanProtocol: 0,
    multicast: { snooping: true, querier: true, unregistered: 'flood' },
    loop: { moves: 20, quarantine: 30 },
  });
});

test('what endpoint and network say of security and storms arrives', async (t) => {
  const lab = await up(`
networks:
  blue:
    subnets: [172.30.0.0/24]
    fdb_full: drop
    multicast: { snooping: false }
    storm_control: { broadcast: 50, multicast: 7 }
    loop_protection: { enabled: false, quarantine: 5 }
endpoints:
  a:
    network: blue
    netns: /ns/a
    addresses: [172.30.0.2]
    allowed_addresses: [10.8.0.0/24, 172.30.0.9, "fd00::1", 172.30.0.2, 0.0.0.0/0]
    macs: [02:00:00:00:00:0B]
    storm_control: { multicast: off, unknown_unicast: 3 }
    multicast: { router: always, fast_leave: false }
  b: { network: blue, netns: /ns/b, security: mac, mac_limit: 9 }
  c: { network: blue, netns: /ns/c, security: off }
  d: { network: blue, netns: /ns/d, security: off, mac_limit: 3, storm_control: { broadcast: off } }`);
  t.like(port(lab, 'a'), {
    security: { level: 'strict', macs: ['02:00:00:00:00:0b'], macLimit: 2 },
    storm: { broadcast: 50, multicast: 0, unknownUnicast: 3 },
    multicast: { router: 'always', fastLeave: false },
  });
  t.deepEqual(port(lab, 'a').security?.prefixes, [
    '172.30.0.2/32',
    '10.8.0.0/24',
    '172.30.0.9/32',
    'fd00::1/128',
    '0.0.0.0/0',
  ]);
  t.like(port(lab, 'b').security, { level: 'mac', macLimit: 9 });
  t.like(port(lab, 'b').storm, { broadcast: 50, multicast: 7, unknownUnicast: 10_000 });
  t.like(port(lab, 'c').security, { level: 'off', macLimit: 1024 });
  t.like(port(lab, 'd').security, { level: 'off', macLimit: 3 });
  t.is(port(lab, 'd').storm?.broadcast, 0);
  t.like(network(lab, 'blue'), {
    fdbFull: 'drop',
    multicast: { snooping: false, querier: false },
    loop: { moves: 0, quarantine: 5 },
  });
});

test('isolation: the network says, the endpoint overrides, groups have a number each, and a free number is used again', async (t) => {
  const lab = await up(`
networks:
  blue: { subnets: [172.30.0.0/24], isolated: true }
  red: { subnets: [172.31.0.0/24] }
endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: blue, netns: /ns/b, isolated: false }
  c: { network: blue, netns: /ns/c, isolation_group: x }
  d: { network: blue, netns: /ns/d, isolation_group: y, isolated: true }
  e: { network: blue, netns: /ns/e, isolation_group: x }
  f: { network: red, netns: /ns/f, isolation_group: y }
  g: { network: red, netns: /ns/f, interface: eth1 }
  h: { network: red, netns: /ns/f, interface: eth2, isolated: true }`);
  const classes = (...names: string[]): (number | undefined)[] => names.map((name) => port(lab, name).isolation);
  t.deepEqual(classes('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'), [1, 0, 2, 3, 2, 2, 0, 1]);
  await lab.daemon.disconnect('c');
  const { config: like } = lab.daemon.endpoint('e');
  await lab.daemon.connect('c', { ...like, netns: '/ns/c', isolation_group: 'z' });
  t.deepEqual(classes('c', 'd', 'e'), [4, 3, 2], 'e still has the number of x');
  await lab.daemon.disconnect('e');
  await lab.daemon.connect('e', { ...like, isolation_group: 'w' });
  t.deepEqual(classes('e'), [2]);
});

test('VLANs: access ports, trunks, and an uplink that is a trunk of all unless told otherwise', async (t) => {
  const lab = await up(`
uplink: { device: up0, mode: bridged, network: blue }
networks: { blue: { subnets: [172.30.0.0/24], vlan_filtering: true } }
endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: blue, netns: /ns/b, vlan: 10 }
  c: { network: blue, netns: /ns/c, trunk: { allowed: [30, 10-12] } }
  d: { network: blue, netns: /ns/d, trunk: { native: 11, allowed: ["10-12"] } }
  e: { network: blue, netns: /ns/e, trunk: { native: 7, allowed: [9] } }`);
  t.is(network(lab, 'blue').vlanProtocol, 0x8100);
  t.deepEqual(port(lab, 'a').vlan, { native: 1, tagged: [] });
  t.deepEqual(port(lab, 'b').vlan, { native: 10, tagged: [] });
  t.deepEqual(port(lab, 'c').vlan, { native: 0, tagged: [10, 11, 12, 30] });
  t.deepEqual(port(lab, 'd').vlan, { native: 11, tagged: [10, 12] });
  t.deepEqual(port(lab, 'e').vlan, { native: 7, tagged: [9] });
  const { vlan, ...uplink } = port(lab, 'uplink');
  t.is(vlan?.native, 1);
  t.deepEqual(vlan?.tagged, allVlansBut(1));
  t.is(formatVlans(vlan?.tagged ?? []), '2-4094');
  t.like(uplink, {
    macLimit: 0,
    storm: { broadcast: 0, multicast: 0, unknownUnicast: 0 },
    multicast: { router: 'always', fastLeave: false },
  });
  t.is(uplink.security, undefined);
});

test('an uplink that is one VLAN of the wire, an access port, a trunk', async (t) => {
  const networks = (filtering: boolean): string =>
    `networks: { blue: { subnets: [172.30.0.0/24], vlan_filtering: ${filtering} } }`;
  const wire = await up(`uplink: { device: up0, mode: bridged, network: blue, vlan: 7 }\n${networks(false)}`);
  t.deepEqual(port(wire, 'uplink').vlan, { native: 0, tagged: [7] });
  t.is(network(wire, 'blue').vlanProtocol, 0);
  const access = await up(`uplink: { device: up0, mode: bridged, network: blue, vlan: 7 }\n${networks(true)}`);
  t.deepEqual(port(access, 'uplink').vlan, { native: 7, tagged: [] });
  const plain = await up(`uplink: { device: up0, mode: bridged, network: blue }\n${networks(false)}`);
  t.false('vlan' in port(plain, 'uplink'));
  const qinq = await up(`
uplink: { device: up0, mode: bridged, network: blue, trunk: { native: 4, allowed: [4094] }, mac_limit: 5, storm_control: { broadcast: 9 }, multicast: { router: never, fast_leave: true } }
networks: { blue: { subnets: [172.30.0.0/24], vlan_filtering: true, vlan_protocol: 802.1ad } }`);
  t.is(network(qinq, 'blue').vlanProtocol, 0x88a8);
  t.like(port(qinq, 'uplink'), {
    vlan: { native: 4, tagged: [4094] },
    macLimit: 5,
    storm: { broadcast: 9, multicast: 0, unknownUnicast: 0 },
    multicast: { router: 'never', fastLeave: true },
  });
});

test('VLAN lists as text', (t) => {
  t.is(formatVlans([]), '');
  t.is(formatVlans([4]), '4');
  t.is(formatVlans([1, 3, 4, 5, 9, 10]), '1,3-5,9-10');
});
