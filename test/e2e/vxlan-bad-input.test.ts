/** Mistakes in the configuration of an overlay: exit code 2 and one line that names the place; and a peer that is not there yet. */

import test, { type ExecutionContext } from 'ava';
import { failTapline } from './support/tapline.js';
import { createContainer, createUnderlay } from './support/underlay.js';
import { overlayOf, reaches, remotesOf, startOverlay, VNI, vtepOf } from './support/vxlan.js';
import { eventually } from './support/wait.js';

const LOCAL = '10.77.0.1';
const GOOD = { vni: VNI, local: LOCAL, remotes: ['10.77.0.2'] };
const UPLINK = { device: 'up0', mode: 'own', addresses: [`${LOCAL}/24`, 'fd00:77::1/64'] };

function blue(vxlan: object, network: object = {}, file: object = {}): object {
  return { version: 1, uplink: UPLINK, networks: { blue: { subnets: ['172.30.0.0/24'], vxlan, ...network } }, ...file };
}

interface Mistake {
  readonly config: object;
  /** All of the line behind the file's name. */
  readonly line: RegExp;
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'a VNI of 0': { config: blue({ ...GOOD, vni: 0 }), line: /^networks\.blue\.vxlan\.vni: .*1.*16777215/ },
  'a VNI of 2^24': { config: blue({ ...GOOD, vni: 1 << 24 }), line: /^networks\.blue\.vxlan\.vni: .*1.*16777215/ },
  'no VNI': { config: blue({ local: LOCAL, remotes: [] }), line: /^networks\.blue\.vxlan\.vni: / },
  'no local address': { config: blue({ vni: VNI, remotes: [] }), line: /^networks\.blue\.vxlan\.local: / },
  'the same VNI twice at one port': {
    config: blue(
      GOOD,
      {},
      {
        networks: {
          blue: { subnets: ['172.30.0.0/24'], vxlan: GOOD },
          green: { subnets: ['172.31.0.0/24'], vxlan: GOOD },
        },
      },
    ),
    line: /^networks\.green\.vxlan\.vni: 42 is the VNI of network blue at UDP port 4789/,
  },
  'its own address as remote': {
    config: blue({ ...GOOD, remotes: [LOCAL] }),
    line: /^networks\.blue\.vxlan\.remotes\[0\]: 10\.77\.0\.1 is /,
  },
  'a remote given twice': {
    config: blue({ ...GOOD, remotes: ['10.77.0.2', '10.77.0.2'] }),
    line: /^networks\.blue\.vxlan\.remotes\[1\]: 10\.77\.0\.2 given twice/,
  },
  'a remote of the other family': {
    config: blue({ ...GOOD, remotes: ['fd00:77::2'] }),
    line: /^networks\.blue\.vxlan\.remotes\[0\]: expected an address of the family of local 10\.77\.0\.1/,
  },
  'a local address that the uplink has not': {
    config: blue({ ...GOOD, local: '10.77.0.7' }),
    line: /^networks\.blue\.vxlan\.local: expected an address of the uplink/,
  },
  'a group that is none': {
    config: blue({ ...GOOD, group: '10.1.1.1' }),
    line: /^networks\.blue\.vxlan\.group: .*multicast/,
  },
  GPE: { config: blue({ ...GOOD, gpe: true }), line: /^networks\.blue\.vxlan\.gpe: VXLAN-GPE is not supported/ },
  'an unknown key': { config: blue({ ...GOOD, remote: [] }), line: /^networks\.blue\.vxlan\.remote: / },
  'a bridged uplink': {
    config: blue(GOOD, {}, { uplink: { device: 'up0', mode: 'bridged', network: 'blue' } }),
    line: /^networks\.blue\.vxlan: needs an uplink of mode own, shared or routed, got bridged/,
  },
  'no uplink': {
    config: blue(GOOD, {}, { uplink: undefined }),
    line: /^networks\.blue\.vxlan: needs an uplink of mode own, shared or routed/,
  },
  'an MTU that the underlay does not take': {
    config: blue(GOOD, { mtu: 1500 }),
    line: /^networks\.blue\.mtu: expected at most 1450 .*uplink up0 .*1500/,
  },
  'a MAC at two VTEPs': {
    config: blue({
      ...GOOD,
      fdb: [
        { mac: '02:00:00:00:00:01', vtep: '10.77.0.2' },
        { mac: '02:00:00:00:00:01', vtep: '10.77.0.3' },
      ],
    }),
    line: /^networks\.blue\.vxlan\.fdb\[1\]\.mac: 02:00:00:00:00:01 given twice/,
  },
  'DSCP of 64': { config: blue({ ...GOOD, dscp: 64 }), line: /^networks\.blue\.vxlan\.dscp: / },
  'a UDP port of 0': { config: blue({ ...GOOD, port: 0 }), line: /^networks\.blue\.vxlan\.port: / },
};

/** Refused with exactly one line, which begins with the file. */
async function refused(t: ExecutionContext, what: string, { config, line }: Mistake, mtu?: number): Promise<void> {
  const underlay = await createUnderlay(t, mtu === undefined ? {} : { mtu });
  const { namespace } = await underlay.addHost(1);
  const { code, stdout, stderr, file } = await failTapline(t, config, { netns: namespace });
  t.is(code, 2, `${what}: ${stderr}`);
  t.is(stdout, '');
  const lines = stderr.trimEnd().split('\n');
  t.is(lines.length, 1, stderr);
  const [first = ''] = lines;
  t.true(first.includes(`${file}: `), first);
  t.regex(first.slice(first.indexOf(`${file}: `) + file.length + 2), line, what);
  t.deepEqual(await namespace.exec('ip', '-o', 'tuntap'), '', 'nothing is left');
}

for (const [what, mistake] of Object.entries(MISTAKES)) test.serial(what, (t) => refused(t, what, mistake));

test.serial('an underlay too narrow for IPv6 inside', async (t) => {
  const config = blue(GOOD, { subnets: ['172.30.0.0/24', 'fd00:30::/64'] });
  await refused(
    t,
    'narrow',
    {
      config,
      line: /^networks\.blue\.vxlan: uplink up0 has MTU 1300, .* IPv6 needs 1280: raise the MTU of up0 to 1330/,
    },
    1300,
  );
});

test.serial('mistakes of commands: one line, and what was is not changed', async (t) => {
  const underlay = await createUnderlay(t);
  const host = await underlay.addHost(1);
  const tapline = await startOverlay(t, host, [], GOOD);
  const before = await overlayOf(tapline);
  for (const [words, line] of [
    [['vxlan', 'add', 'blue', LOCAL], /10\.77\.0\.1 is/],
    [['vxlan', 'add', 'blue', 'fd00:77::2'], /family/],
    [['vxlan', 'add', 'red', '10.77.0.3'], /network red/],
    [['vxlan', 'add', 'blue', 'x'], /expected an? (IP |IPv4 )?.*address.*, got "?x/],
    [['vxlan', 'rm', 'blue', '10.77.0.9'], /10\.77\.0\.9/],
    [['vxlan', 'probe', 'red'], /network red/],
    [['fdb', 'add', '02:00:00:00:00:01', '--network', 'blue', '--vtep', LOCAL], /10\.77\.0\.1 is/],
    [['fdb', 'add', '01:00:5e:00:00:01', '--network', 'blue', '--vtep', '10.77.0.2'], /01:00:5e:00:00:01/],
  ] as const) {
    const { code, stderr } = await tapline.cli(...words);
    t.not(code, 0, words.join(' '));
    t.is(stderr.trimEnd().split('\n').length, 1, stderr);
    t.regex(stderr, line, words.join(' '));
  }
  const after = await overlayOf(tapline);
  t.deepEqual(
    after.vteps.map(({ address, kind }) => `${address} ${kind}`),
    before.vteps.map(({ address, kind }) => `${address} ${kind}`),
  );
});

test.serial('a peer that is not there: said in status, and found when it comes', async (t) => {
  const underlay = await createUnderlay(t);
  const [one, two] = [await underlay.addHost(1), await underlay.addHost(2)];
  const [a, b] = [await createContainer(t, one), await createContainer(t, two)];
  const vxlan = remotesOf(one, [two]);
  const tapline = await startOverlay(t, one, [a], vxlan);
  await a.run(['ping', '-n', '-c', '3', '-i', '0.2', '-W', '1', b.ip]);
  await eventually('the peer to be unreachable', async () => (await vtepOf(tapline, two.ip)).state === 'unreachable');
  t.regex((await vtepOf(tapline, two.ip)).why, /next hop|does not answer/);
  t.regex(await tapline.ok('show', 'vxlan'), /^10\.77\.0\.2 .*unreachable/m);
  t.regex(await tapline.ok('status'), /^overlays: +blue up \(0 of 1 VTEPs\)$/m);
  t.true((await tapline.events()).some(({ kind }) => kind === 'vtep-unreachable'));
  await startOverlay(t, two, [b], remotesOf(two, [one]));
  await eventually('the peer to be found', async () => (await vtepOf(tapline, two.ip)).state === 'up');
  await reaches(a, b);
  t.true((await tapline.events()).some(({ kind }) => kind === 'vtep-reachable'));
});

test.serial('without a route to it: said, and found when there is one', async (t) => {
  const underlay = await createUnderlay(t);
  const one = await underlay.addHost(1);
  const config = { vni: VNI, local: one.ip, remotes: ['192.0.2.9'] };
  const tapline = await startOverlay(t, one, [], config);
  await eventually('no route to be said', async () => (await vtepOf(tapline, '192.0.2.9')).state === 'no-route');
  t.regex((await vtepOf(tapline, '192.0.2.9')).why, /route/);
  await tapline.ok('route', 'add', '192.0.2.0/24', '--via', '10.77.0.254');
  await eventually('the route to be seen', async () => (await vtepOf(tapline, '192.0.2.9')).state !== 'no-route');
});

test.serial('an uplink that goes down takes the overlay down, and up again', async (t) => {
  const underlay = await createUnderlay(t);
  const [one, two] = [await underlay.addHost(1), await underlay.addHost(2)];
  const [a, b] = [await createContainer(t, one), await createContainer(t, two)];
  const tapline = await startOverlay(t, one, [a], remotesOf(one, [two]));
  await startOverlay(t, two, [b], remotesOf(two, [one]));
  await reaches(a, b);
  await one.namespace.exec('ip', 'link', 'set', 'up0', 'down');
  await eventually('the VTEP to be down', async () => (await vtepOf(tapline, two.ip)).state !== 'up');
  await one.namespace.exec('ip', 'link', 'set', 'up0', 'up');
  await reaches(a, b);
  t.is((await vtepOf(tapline, two.ip)).state, 'up');
});
