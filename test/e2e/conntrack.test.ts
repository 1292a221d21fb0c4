/** What `show conntrack`, `show nat` and `conntrack flush` say of real connections of a real dataplane. */

import test from 'ava';
import type { FlowsView } from '../../control/flow-views.js';
import type { NatMappingsView, NatView } from '../../control/nat-views.js';
import { createSite, OUTSIDE, UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';

async function connections(tapline: Tapline, ...words: string[]): Promise<FlowsView['flows']> {
  return (JSON.parse(await tapline.ok('show', 'conntrack', '--json', ...words)) as FlowsView).flows;
}

test.serial(
  'a ping through masquerade: the connection, its mapping, whose it is; flushed, it begins anew',
  async (t) => {
    const { tapline, a, b } = await createSite(t);
    await a.exec('ping', '-n', '-c', '1', '-W', '5', OUTSIDE.ip);
    await b.exec('ping', '-n', '-c', '1', '-W', '5', OUTSIDE.ip);
    const [flow, ...others] = await connections(tapline, '--endpoint', 'a', '--proto', 'icmp');
    t.deepEqual(others, []);
    t.like(flow, {
      state: 'replied',
      from: 'a',
      vrf: 'default',
      translated: true,
      flags: ['snat', 'replied'],
      rule: null,
    });
    t.like(flow?.original, { source: a.ip, destination: OUTSIDE.ip, sourcePort: null });
    t.like(flow?.reply, { source: OUTSIDE.ip, destination: UPLINK.ip });
    t.true(flow !== undefined && flow.expiresSeconds > 50 && flow.expiresSeconds <= 60, String(flow?.expiresSeconds));

    const { mappings } = JSON.parse(await tapline.ok('show', 'nat', '--mappings', '--json')) as NatMappingsView;
    const mapping = mappings.find(({ internal }) => internal === a.ip);
    t.like(mapping, {
      proto: 'icmp',
      external: UPLINK.ip,
      owner: 'a',
      flows: 1,
      internalPort: flow?.original.id ?? -1,
    });
    t.is(mapping?.externalPort, flow?.reply.id);

    const before = JSON.parse(await tapline.ok('show', 'nat', '--json')) as NatView;
    t.like(
      before.externals.find(({ proto }) => proto === 'icmp'),
      { address: UPLINK.ip, vrf: 'default', used: 2 },
    );
    t.deepEqual(
      before.endpoints.filter(({ name }) => name === 'a' || name === 'b').map(({ flows }) => flows),
      [1, 1],
    );
    t.is(await tapline.ok('conntrack', 'flush', '--endpoint', 'a', '--proto', 'icmp'), '1 connection forgotten\n');
    t.deepEqual(await connections(tapline, '--endpoint', 'a', '--proto', 'icmp'), []);
    t.is((await connections(tapline, '--endpoint', 'b', '--proto', 'icmp')).length, 1);
    const after = JSON.parse(await tapline.ok('show', 'nat', '--json')) as NatView;
    t.like(
      after.externals.find(({ proto }) => proto === 'icmp'),
      { used: 1 },
    );
    await a.exec('ping', '-n', '-c', '1', '-W', '5', OUTSIDE.ip);
    t.is((await connections(tapline, '--endpoint', 'a', '--proto', 'icmp')).length, 1);
  },
);
