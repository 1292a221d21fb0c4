/** Two networks over the same two hosts, and connections from one to the other by router: each direction passes the router of its sender's host. */

import test, { type ExecutionContext } from 'ava';
import type { Namespace } from './support/namespace.js';
import { createNamespace } from './support/namespace.js';
import { ask, fetchFrom, serve } from './support/published.js';
import { accounted } from './support/site.js';
import { startTapline, type Tapline } from './support/tapline.js';
import { plainTransfer } from './support/transfer.js';
import { createUnderlay, type OverlayHost } from './support/underlay.js';
import { eventually } from './support/wait.js';

const BLUE = { ip: '172.30.0.11', ip6: 'fd00:30::11' };
const GREEN = { ip: '172.31.0.12', ip6: 'fd00:31::12' };
const PORT = 80;

interface Routed {
  readonly blue: Namespace;
  readonly green: Namespace;
  readonly taplines: readonly Tapline[];
}

function configuration(local: OverlayHost, remote: OverlayHost, endpoints: object, policy: readonly object[]): object {
  const vxlan = (vni: number): object => ({ vni, local: local.ip, remotes: [remote.ip] });
  return {
    version: 1,
    uplink: { device: 'up0', mode: 'own', addresses: [`${local.ip}/24`] },
    vrfs: { default: { interconnect: true } },
    networks: {
      blue: { subnets: ['172.30.0.0/24', 'fd00:30::/64'], vxlan: vxlan(42) },
      green: { subnets: ['172.31.0.0/24', 'fd00:31::/64'], vxlan: vxlan(43) },
    },
    endpoints,
    policy,
  };
}

/** One end in blue on the first host, one in green on the second. */
async function createRouted(t: ExecutionContext, policy: readonly object[] = []): Promise<Routed> {
  const underlay = await createUnderlay(t);
  const [one, two] = [await underlay.addHost(1), await underlay.addHost(2)];
  const [blue, green] = [await createNamespace(t), await createNamespace(t)];
  const endpoint = (network: string, { path }: Namespace, { ip, ip6 }: typeof BLUE): object => ({
    network,
    netns: path,
    addresses: [ip, ip6],
  });
  const first = configuration(one, two, { b: endpoint('blue', blue, BLUE) }, policy);
  const second = configuration(two, one, { g: endpoint('green', green, GREEN) }, policy);
  const taplines = [
    await startTapline(t, first, { netns: one.namespace }),
    await startTapline(t, second, { netns: two.namespace }),
  ];
  await serve(t, green, 'green', [PORT]);
  return { blue, green, taplines };
}

function answers(from: Namespace, address: string): Promise<void> {
  return eventually(`${address} to answer`, async () => (await fetchFrom(from, address, PORT)) !== null);
}

test('TCP and UDP pass in both families, a whole transfer each way, and each end is seen as itself', async (t) => {
  const { blue, green, taplines } = await createRouted(t);
  for (const [to, from] of [
    [GREEN.ip, BLUE.ip],
    [GREEN.ip6, BLUE.ip6],
  ] as const) {
    await answers(blue, to);
    const answer = await fetchFrom(blue, to, PORT);
    t.deepEqual([answer?.name, answer?.peer], ['green', from]);
    t.is((await ask(t, blue, to, PORT))?.peer, from);
  }
  t.is(await plainTransfer(t, blue, green, GREEN.ip, 16, 5301), 16 << 20);
  t.is(await plainTransfer(t, green, blue, BLUE.ip6, 16, 5302), 16 << 20);
  for (const tapline of taplines) await accounted(tapline);
});

test('where nobody listens the client is told at once', async (t) => {
  const { blue } = await createRouted(t);
  await answers(blue, GREEN.ip);
  const began = performance.now();
  const { code } = await blue.run(['curl', '-s', '--noproxy', '*', '-m', '8', `http://${GREEN.ip}:81/`]);
  t.is(code, 7, 'connection refused, not a time-out (28)');
  t.true(performance.now() - began < 5000);
});

test('a rule of the policy holds for who asks, and lets answers be', async (t) => {
  const rule = (port: number): object => ({
    from: { network: 'blue' },
    to: { network: 'green' },
    proto: 'tcp',
    ports: [port],
    action: 'drop',
  });
  const { blue } = await createRouted(t, [rule(81)]);
  await answers(blue, GREEN.ip);
  const { code } = await blue.run(['curl', '-s', '--noproxy', '*', '-m', '2', `http://${GREEN.ip}:81/`]);
  t.is(code, 28, 'dropped: no answer');
});
