/** Isolation: every pair of classes, every kind of destination. */

import test from 'ava';
import { ISOLATION_ALONE, ISOLATION_OPEN, mayReach } from '../../../core/switch/isolation.js';
import { LEARNING_TIME } from '../../../core/switch/snooping.js';
import { BROADCAST, frame, Harness, mac, numberedMac } from '../../support/harness.js';
import { igmp, v4 } from './multicast.js';

const CLASSES = [ISOLATION_OPEN, ISOLATION_ALONE, 2, 3] as const;
/** Who reaches whom, written out. */
const REACHES: Record<number, readonly number[]> = { 0: [0, 1, 2, 3], 1: [0], 2: [0, 2], 3: [0, 3] };
const NAMES = ['open', 'isolated', 'group 2', 'group 3'];

test('the rule is the table, and the same in both directions', (t) => {
  for (const from of CLASSES) {
    for (const to of CLASSES) {
      t.is(mayReach(from, to), REACHES[from].includes(to), `${NAMES[from]} to ${NAMES[to]}`);
      t.is(mayReach(from, to), mayReach(to, from));
    }
  }
});

/** Ports 1 and 2 of these classes; each knows the other's MAC, and port 2 is in 239.1.1.1. */
function pair(from: number, to: number, dropUnregistered: boolean): Harness {
  const h = new Harness();
  const multicast = { querier: true, dropUnregistered };
  h.topology.addNetwork(1, 300, 100, { multicast });
  h.addPorts({ isolation: from }, { isolation: to });
  // What was learned stays when a port is isolated afterwards: the check is not in the learning.
  h.topology.addStatic(1, 0, 0x0200, 2, 2);
  h.passTo(LEARNING_TIME + 1);
  h.receive(2, igmp('239.1.1.1', [0x16, 0, 0, 0, 239, 1, 1, 1]));
  h.recorder.sent.length = 0;
  return h;
}

const KINDS: readonly (readonly [what: string, frame: Uint8Array])[] = [
  ['known unicast', frame(numberedMac(2), numberedMac(1))],
  ['unknown unicast', frame(numberedMac(77), numberedMac(1))],
  ['broadcast', frame(BROADCAST, numberedMac(1))],
  ['unregistered multicast', frame(mac('01:00:5e:07:07:07'), numberedMac(1))],
  ['registered multicast', v4({ to: '239.1.1.1', protocol: 17, options: [] }, new Array(16).fill(1))],
  ['ARP', frame(BROADCAST, numberedMac(1), [], 0x0806)],
  ['an unknown EtherType', frame(numberedMac(2), numberedMac(1), [], 0x1234)],
  ['802.3 LLC', frame(numberedMac(2), numberedMac(1), [0xe0, 0xe0, 3], 46)],
];

for (const [what, sent] of KINDS) {
  test(`${what}: passes where the rule says so, else is counted as isolated`, (t) => {
    for (const from of CLASSES) {
      for (const to of CLASSES) {
        const h = pair(from, to, what === 'registered multicast');
        const found = h.changes(() => h.dataplane.process(h.load(1, sent)));
        const passes = REACHES[from].includes(to);
        const expected = passes ? { 1: { rx: 1 }, 2: { tx: 1 } } : { 1: { rx: 1, 'drop isolated': 1 } };
        t.deepEqual(found, expected, `${NAMES[from]} to ${NAMES[to]}`);
        t.true(h.isWhole);
      }
    }
  });
}

test('a flood reaches exactly those that it may, one slot for all', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 100);
  const classes = [0, 1, 2, 3, 0, 1, 2, 3];
  h.addPorts(...classes.map((isolation) => ({ isolation })));
  classes.forEach((from, i) => {
    const expected = classes.flatMap((to, j) => (j !== i && REACHES[from].includes(to) ? [j + 1] : []));
    const sent = h.receive(i + 1, frame(BROADCAST, numberedMac(i)));
    t.deepEqual(sent.map(({ port }) => port).sort(), expected, NAMES[from]);
    t.is(new Set(sent.map(({ slot }) => slot)).size, 1);
  });
  t.true(h.isWhole);
});

test('an isolated port alone, or with its like, has nowhere to send to', (t) => {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 100);
  h.addPorts({ isolation: 1 });
  h.receive(1, frame(BROADCAST, numberedMac(1)));
  t.deepEqual(h.rxDrops(1), { no_destination: 1 }, 'nobody there');
  h.topology.addPort(2, 1, { isolation: 1 });
  h.receive(1, frame(BROADCAST, numberedMac(1)));
  t.deepEqual(h.rxDrops(1), { no_destination: 1, isolated: 1 }, 'somebody there');
});
