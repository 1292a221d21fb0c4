/** Who has a packet where: what was taken in is nobody's to judge, and what was handed on is nobody's to drop. */

import test from 'ava';
import { POLICY_DROP, POLICY_REJECT } from '../../../core/nat/policy.js';
import type { SentFrame } from '../../support/harness.js';
import { records, rule } from '../nat/rules.js';
import { datagram, superSegment } from './support/inner.js';
import { BLUE, container, expectWhole, fieldsOf, Host, Overlay, UPLINK_PORT, vtepPort } from './support/lab.js';
import { outer } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const ANSWERED = 1;

for (const action of [POLICY_DROP, POLICY_REJECT]) {
  test(`probes are no traffic of a network: a policy that ${action === POLICY_DROP ? 'drops' : 'rejects'} everything does not see them`, (t) => {
    const overlay = new Overlay(2);
    for (const { dataplane } of overlay.hosts) {
      dataplane.router.flows.policy.set(records([rule(0, action)]));
      dataplane.router.flows.changed();
      dataplane.topology.filter(Int32Array.of(BLUE, BLUE));
    }
    const { prober } = overlay.host(1).dataplane.vxlan;
    overlay.run(1, () => prober.send([vtepPort(BLUE, 2)]));
    const list = prober.list();
    t.deepEqual([list[1], list[3], list[5]], [ANSWERED, ANSWERED, ANSWERED]);
    for (const host of overlay.hosts) {
      t.deepEqual(host.dropped(), {});
      t.is(host.dataplane.router.flows.policy.hits[0], 0);
    }
    expectWhole(t, overlay);
  });
}

test("what is thrown behind a tunnel is not about the packet that came out of it, whose slot is somebody else's by then", (t) => {
  const { frame, vnet } = superSegment(HERE, THERE, 20_000, 1398);
  const sender = new Host(2, { vxlan: { [BLUE]: { checksum: true } } });
  sender.know(1);
  sender.addVtep(BLUE, vtepPort(BLUE, 1), '10.77.0.1');
  const bundle = sender.receive(1, frame, vnet).find(({ port }) => port === UPLINK_PORT) as SentFrame;
  for (const came of ['single', 'bundle']) {
    const one = new Host(1);
    one.know(2);
    one.addVtep(BLUE, vtepPort(BLUE, 2), '10.77.0.2');
    const broken = new Error('engine');
    one.recorder.transmit = () => {
      throw broken;
    };
    const slot =
      came === 'single'
        ? one.load(UPLINK_PORT, outer(one.outerFrom(2), datagram(THERE, HERE)))
        : one.load(UPLINK_PORT, bundle.frame, fieldsOf(bundle.vnet));
    const thrown = t.throws(() => one.dataplane.process(slot));
    t.is(thrown, broken, came);
    t.is(one.dataplane.lastError, null, came);
    t.deepEqual(one.dropped(), {}, came);
  }
});
