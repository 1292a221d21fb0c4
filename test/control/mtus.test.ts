/** MTUs of networks with an overlay: what the uplink leaves, and what follows when that changes. */

import test from 'ava';
import { networkSchema } from '../../control/config/schema.js';
import { networkMtu, superPacketSize } from '../../control/network-mtu.js';
import { config, eventually, type Fixture, hostChanged, leftovers, makeFixture } from './support/fixture.js';

const OVER4 = 'vxlan: { vni: 42, local: 10.77.0.1, remotes: [10.77.0.2] }';
const OVER6 = 'vxlan: { vni: 66, local: "fd00:77::1", remotes: ["fd00:77::2"] }';

function file(blue: string, more = ''): string {
  return `version: 1
uplink: { device: up0, mode: own, addresses: [10.77.0.1/24, "fd00:77::1/64"], gateway: 10.77.0.254 }
networks:
  blue: { ${blue} }
  red: { subnets: [172.31.0.0/24] }
${more}`;
}

const BOTH = 'subnets: [172.30.0.0/24, "fd00:30::/64"]';
const A = `endpoints: { a: { network: blue, netns: /run/netns/a }, b: { network: red, netns: /run/netns/b } }\n`;

function fixture(mtu = 1500): Fixture {
  const made = makeFixture();
  made.system.devices.add('up0');
  made.system.links.set('up0', { mtu });
  made.system.addNamespace('/run/netns/a');
  made.system.addNamespace('/run/netns/b');
  return made;
}

function setUplink(made: Fixture, mtu: number): void {
  made.system.links.set('up0', { mtu });
  hostChanged(made);
}

const mtuOf = ({ dataplane }: Fixture, network: string): number => dataplane.interfaceOf(network).mtu;
const tapOf = ({ system }: Fixture, name: string) => system.taps.get(`/run/netns/${name} eth0`);
const mtuLines = ({ logs }: Fixture): string[] => logs.filter((line) => line.includes('network ') && /MTU/.test(line));

for (const [what, blue, underlay, mtu] of [
  ['over IPv4', `${BOTH}, ${OVER4}`, 1500, 1450],
  ['over IPv6', `${BOTH}, ${OVER6}`, 1500, 1430],
  ['on large packets', `${BOTH}, ${OVER4}`, 9000, 8950],
  ['on the largest that there are', `${BOTH}, ${OVER4}`, 65_536, 65_485],
  ['as told', `${BOTH}, ${OVER4}, mtu: 1400`, 1500, 1400],
  ['as told, all that there is', `${BOTH}, ${OVER4}, mtu: 1450`, 1500, 1450],
  ['the least of IPv6', `${BOTH}, ${OVER4}`, 1330, 1280],
  ['less, for IPv4 alone', `subnets: [172.30.0.0/24], ${OVER4}`, 1329, 1279],
] as const) {
  test(`the MTU of a network ${what}`, async (t) => {
    const made = fixture(underlay);
    await made.daemon.apply(config(file(blue, A)));
    t.is(mtuOf(made, 'blue'), mtu);
    t.is(made.daemon.network('blue').mtu, mtu);
    t.is(tapOf(made, 'a')?.mtu, mtu);
    t.is(mtuOf(made, 'red'), 1500);
    t.is(tapOf(made, 'b')?.mtu, 1500);
    t.deepEqual(mtuLines(made), []);
    await made.daemon.stop();
    t.deepEqual(leftovers(made), []);
  });
}

for (const [what, blue, underlay, line] of [
  [
    'more than an underlay of IPv4 carries',
    `${BOTH}, ${OVER4}, mtu: 1500`,
    1500,
    'networks.blue.mtu: expected at most 1450 (uplink up0 has MTU 1500, VXLAN over IPv4 takes 50)',
  ],
  [
    'more than an underlay of IPv6 carries',
    `${BOTH}, ${OVER6}, mtu: 1431`,
    1500,
    'networks.blue.mtu: expected at most 1430 (uplink up0 has MTU 1500, VXLAN over IPv6 takes 70)',
  ],
  [
    'too little for IPv6',
    `${BOTH}, ${OVER4}`,
    1329,
    'networks.blue.vxlan: uplink up0 has MTU 1329, of which VXLAN leaves 1279; IPv6 needs 1280: raise the MTU of up0 to 1330 or more',
  ],
  [
    'too little for IPv6, over IPv6',
    `${BOTH}, ${OVER6}`,
    1280,
    'networks.blue.vxlan: uplink up0 has MTU 1280, of which VXLAN leaves 1210; IPv6 needs 1280: raise the MTU of up0 to 1350 or more',
  ],
  [
    'too little for IPv4',
    `subnets: [172.30.0.0/24], ${OVER4}`,
    100,
    'networks.blue.vxlan: uplink up0 has MTU 100, of which VXLAN leaves 50; IPv4 needs 68: raise the MTU of up0 to 118 or more',
  ],
] as const) {
  test(`refused at the start: ${what}`, async (t) => {
    const made = fixture(underlay);
    const error = await t.throwsAsync(made.daemon.apply(config(file(blue))));
    t.is(error?.message, line);
    t.deepEqual(leftovers(made), []);
  });

  test(`refused by command: ${what}`, async (t) => {
    const made = fixture(underlay);
    await made.daemon.apply(config(file('subnets: [172.29.0.0/24]')));
    const wanted = config(file(blue)).networks.get('blue');
    const error = await t.throwsAsync(made.daemon.createNetwork('green', wanted!));
    t.is(error?.message, line.replace('networks.blue.', ''));
    t.false(made.daemon.networks.has('green'));
    await made.daemon.stop();
    t.deepEqual(leftovers(made), []);
  });
}

test('endpoints, gateway and the host’s routes follow the uplink, down and up again', async (t) => {
  const made = fixture();
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}, host: true`, A)));
  t.true(made.system.ipLines.some((line) => /^route add 172\.30\.0\.0\/24 .* mtu 1450$/.test(line)));
  setUplink(made, 1400);
  await eventually(() => tapOf(made, 'a')?.mtu === 1350);
  t.is(mtuOf(made, 'blue'), 1350);
  await eventually(() => made.system.ipLines.some((line) => /^route add 172\.30\.0\.0\/24 .* mtu 1350$/.test(line)));
  t.is(mtuOf(made, 'red'), 1500);
  t.is(tapOf(made, 'b')?.mtu, 1500);
  setUplink(made, 9000);
  await eventually(() => tapOf(made, 'a')?.mtu === 8950);
  t.is(mtuOf(made, 'blue'), 8950);
  t.deepEqual(mtuLines(made), ['info network blue: MTU 1350, before 1450', 'info network blue: MTU 8950, before 1350']);
  await made.daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('what is told holds as long as it fits', async (t) => {
  const made = fixture();
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}, mtu: 1400`, A)));
  setUplink(made, 1430);
  await eventually(() => tapOf(made, 'a')?.mtu === 1380);
  setUplink(made, 1500);
  await eventually(() => tapOf(made, 'a')?.mtu === 1400);
  t.deepEqual(mtuLines(made), ['info network blue: MTU 1380, before 1400', 'info network blue: MTU 1400, before 1380']);
  await made.daemon.stop();
});

test('a network with an IPv6 subnet keeps what that needs, and says what it costs', async (t) => {
  const made = fixture();
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}`, A)));
  setUplink(made, 1300);
  await eventually(() => tapOf(made, 'a')?.mtu === 1280);
  t.is(mtuOf(made, 'blue'), 1280);
  t.deepEqual(mtuLines(made), [
    'warn network blue: its MTU stays 1280, and large packets get lost: uplink up0 has MTU 1300, of which VXLAN leaves 1250; IPv6 needs 1280: raise the MTU of up0 to 1330 or more',
    'info network blue: MTU 1280, before 1450',
  ]);
  await made.daemon.stop();
});

test('an endpoint that is being attached meanwhile gets the MTU that counts in the end', async (t) => {
  const made = fixture();
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}`)));
  let changed = false;
  made.system.whileAttaching = async () => {
    if (changed) return;
    changed = true;
    setUplink(made, 1400);
    await eventually(() => made.daemon.network('blue').mtu === 1350);
  };
  await made.daemon.connect('a', config(file(BOTH, A)).endpoints.get('a')!);
  await eventually(() => tapOf(made, 'a')?.mtu === 1350);
  t.is(mtuOf(made, 'blue'), 1350);
  await made.daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('an interface that cannot be changed is named; the others follow', async (t) => {
  const made = fixture();
  const both =
    'endpoints: { a: { network: blue, netns: /run/netns/a, interface: net9 }, b: { network: blue, netns: /run/netns/b } }\n';
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}`, both)));
  made.system.ipErrors.set('link set dev net9', 'Cannot find device "net9"');
  setUplink(made, 1400);
  await eventually(() => tapOf(made, 'b')?.mtu === 1350);
  await eventually(() => made.logs.includes('warn endpoint a: net9 does not get MTU 1350: Cannot find device "net9"'));
  t.is(mtuOf(made, 'blue'), 1350);
  await made.daemon.stop();
});

test('while the uplink is away all stays; it comes back with another MTU', async (t) => {
  const made = fixture();
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}`, A)));
  made.system.devices.delete('up0');
  hostChanged(made);
  await eventually(() => !made.dataplane.interfaceOf('uplink').up);
  t.is(mtuOf(made, 'blue'), 1450);
  made.system.devices.add('up0');
  made.system.links.set('up0', { index: 9, mtu: 1400 });
  hostChanged(made);
  await eventually(() => tapOf(made, 'a')?.mtu === 1350);
  await made.daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('super-packets of an endpoint are one of the underlay, and follow the MTU', async (t) => {
  const made = fixture();
  await made.daemon.apply(config(file(`${BOTH}, ${OVER4}`, A)));
  t.is(tapOf(made, 'a')?.gsoMaxSize, 44 * 1398 + 321);
  t.is(tapOf(made, 'b')?.gsoMaxSize, undefined);
  setUplink(made, 9000);
  await eventually(() => tapOf(made, 'a')?.gsoMaxSize === 7 * 8898 + 321);
  await made.daemon.stop();
});

test('super-packets: as many segments as one of the underlay holds, whatever the MTU', (t) => {
  for (const [local, header] of [
    ['10.77.0.1', 20],
    ['fd00:77::1', 40],
  ] as const) {
    const blue = networkSchema.parse({ subnets: ['172.30.0.0/24'], vxlan: { vni: 1, local } });
    for (let mtu = 68; mtu <= 30_000; mtu += 7) {
      const size = superPacketSize(blue, mtu);
      const segments = Math.min(128, Math.floor((65_535 - header - 8) / (mtu + 22)));
      // The kernel puts whole segments of MTU - 52 bytes or so into what is left of 321 bytes of headers, 64 KiB at most.
      const segmentsIn = (bytes: number): number => Math.floor((bytes - 321) / (mtu - 52));
      if (size !== undefined)
        t.is(Math.min(segments, segmentsIn(size)), Math.min(segments, segmentsIn(65_535)), `MTU ${mtu}`);
      t.true(size === undefined || size <= 65_535);
    }
    t.is(superPacketSize(blue, 40_000), undefined, 'no two fit');
  }
  const unchecked = { vni: 1, local: '10.77.0.1', checksum: false };
  t.is(superPacketSize(networkSchema.parse({ subnets: ['172.30.0.0/24'], vxlan: unchecked }), 1450), undefined);
  t.is(superPacketSize(networkSchema.parse({ subnets: ['172.30.0.0/24'] }), 1450), undefined);
});

test('as long as the uplink is not known, it is taken for one of 1500 bytes', (t) => {
  const blue = networkSchema.parse({ subnets: ['172.30.0.0/24'], vxlan: { vni: 1, local: '10.77.0.1' } });
  t.is(networkMtu(blue, 0), 1450);
  t.is(networkMtu({ ...blue, mtu: 1000 }, 0), 1000);
});
