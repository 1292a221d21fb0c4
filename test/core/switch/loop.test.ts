/** Loop protection: what counts as a loop, which port is stopped, what that means, and how it ends. */

import test from 'ava';
import { EVENT_MAC_FLAPPING, EVENT_MAC_MOVED, EVENT_QUARANTINED, EVENT_RELEASED } from '../../../core/events.js';
import type { PortOptions } from '../../../core/topology.js';
import { BROADCAST, frame, Harness, mac, numberedMac } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');
const C = mac('02:00:00:00:00:0c');
const HIGH = 0x0200;
const LOOP = { loopMoves: 6, quarantine: 30 };

function make(ports: readonly PortOptions[] = [{}, {}, {}, {}]): Harness {
  const h = new Harness();
  h.topology.addNetwork(1, 300, 1000, LOOP);
  h.addPorts(...ports);
  return h;
}

/** A shows up in turn on two ports, `frames` times. */
function bounce(h: Harness, first: number, second: number, frames: number): void {
  for (let i = 0; i < frames; i++) h.receive(i % 2 === 0 ? first : second, frame(BROADCAST, A));
}

const forwarding = (h: Harness): boolean[] => [1, 2, 3, 4].map((port) => h.dataplane.ports[port].forwarding);

test('as many moves as allowed make a loop, one less does not', (t) => {
  const h = make();
  bounce(h, 1, 2, 6);
  t.deepEqual(forwarding(h), [true, true, true, true], 'five moves');
  h.receive(1, frame(BROADCAST, A));
  t.deepEqual(forwarding(h), [true, false, true, true], 'six');
});

test('moves are counted within ten seconds', (t) => {
  const h = make();
  bounce(h, 1, 2, 6);
  h.dataplane.now = 10;
  h.receive(1, frame(BROADCAST, A));
  t.deepEqual(forwarding(h), [true, true, true, true], 'the sixth move begins a new count');
  for (let i = 0; i < 4; i++) h.receive(i % 2 === 0 ? 2 : 1, frame(BROADCAST, A));
  t.true(h.dataplane.ports[2].forwarding);
  h.receive(2, frame(BROADCAST, A));
  t.is(forwarding(h).filter((on) => !on).length, 1);
});

test('the port where the MAC was first keeps its place, whichever of the two sees the last move', (t) => {
  for (const [home, other] of [
    [1, 2],
    [2, 1],
    [4, 3],
  ]) {
    for (const moves of [6, 7]) {
      const h = new Harness();
      h.topology.addNetwork(1, 300, 1000, { loopMoves: moves, quarantine: 30 });
      h.addPorts({}, {}, {}, {});
      bounce(h, home, other, moves + 1);
      t.deepEqual(
        forwarding(h),
        [1, 2, 3, 4].map((port) => port !== other),
        `home ${home}, ${moves} moves`,
      );
    }
  }
});

test('the frame that shows the loop goes on from home, and is dropped from elsewhere', (t) => {
  const h = make();
  bounce(h, 1, 2, 6);
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(1, frame(BROADCAST, A)))),
    { 1: { rx: 1, copies: 1 }, 3: { tx: 1 }, 4: { tx: 1 } },
    'no more to port 2',
  );
  const odd = new Harness();
  odd.topology.addNetwork(1, 300, 1000, { loopMoves: 7, quarantine: 30 });
  odd.addPorts({}, {}, {}, {});
  bounce(odd, 1, 2, 7);
  t.deepEqual(
    odd.changes(() => odd.dataplane.process(odd.load(2, frame(BROADCAST, A)))),
    { 2: { rx: 1, 'drop quarantined': 1 } },
  );
  t.true(h.isWhole && odd.isWhole);
});

/** Port 2 is in quarantine. B was learned there, C is on port 3. */
function quarantined(ports?: readonly PortOptions[]): Harness {
  const h = make(ports);
  h.receive(2, frame(BROADCAST, B));
  h.receive(3, frame(BROADCAST, C));
  bounce(h, 1, 2, 7);
  h.events();
  return h;
}

test('in quarantine nothing enters and nothing leaves, and what was learned there is forgotten', (t) => {
  const h = quarantined();
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(2, frame(C, B)))),
    { 2: { rx: 1, 'drop quarantined': 1 } },
  );
  t.deepEqual(h.receivePorts(3, frame(BROADCAST, C)), [1, 4]);
  t.deepEqual(h.receivePorts(3, frame(B, C)), [1, 4], 'unknown again, and not flooded there');
  t.deepEqual(h.receivePorts(3, frame(A, C)), [1], 'home is known');
  t.true(h.isWhole);
});

test('frames to a static entry behind a port in quarantine are dropped, as quarantined', (t) => {
  const h = quarantined([{}, { macs: [[HIGH, 0x77]] }, {}, {}]);
  t.deepEqual(
    h.changes(() => h.dataplane.process(h.load(3, frame(numberedMac(0x77), C)))),
    { 3: { rx: 1, 'drop quarantined': 1 } },
  );
  h.passTo(30);
  t.deepEqual(h.receivePorts(3, frame(numberedMac(0x77), C)), [2], 'the entry is still there afterwards');
});

test('a static MAC does not move: who forges it cannot stop its port', (t) => {
  const h = make([{ macs: [[HIGH, 0x0a]] }, {}, {}, {}]);
  bounce(h, 1, 2, 100);
  t.deepEqual(forwarding(h), [true, true, true, true]);
  t.deepEqual(h.rxDrops(2), { static_mac: 50 });
});

test('after its time the port is a member again; events tell of all of it', (t) => {
  const h = make();
  bounce(h, 1, 2, 7);
  const seen = h.events();
  t.deepEqual(
    seen.map((event) => event.kind),
    [...new Array(6).fill(EVENT_MAC_MOVED), EVENT_MAC_FLAPPING, EVENT_QUARANTINED],
  );
  t.deepEqual(seen[6], { kind: EVENT_MAC_FLAPPING, domain: 1, port: 2, before: 1, high: HIGH, low: 0x0a, number: 6 });
  t.deepEqual(seen[7], { kind: EVENT_QUARANTINED, domain: 1, port: 2, before: 0, high: 0, low: 0, number: 30 });
  h.passTo(29);
  t.false(h.dataplane.ports[2].forwarding);
  t.deepEqual(h.events(), []);
  h.passTo(30);
  t.true(h.dataplane.ports[2].forwarding);
  t.deepEqual(h.events(), [{ kind: EVENT_RELEASED, domain: 1, port: 2, before: 0, high: 0, low: 0, number: 0 }]);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 3, 4]);
  t.deepEqual(h.receivePorts(2, frame(BROADCAST, B)), [1, 3, 4]);
  t.deepEqual(h.topology.quarantined, []);
});

test('a loop that is still there stops the port again', (t) => {
  const h = quarantined();
  h.passTo(30);
  bounce(h, 1, 2, 8);
  t.deepEqual(forwarding(h), [true, false, true, true]);
  h.passTo(59);
  t.false(h.dataplane.ports[2].forwarding);
  h.passTo(60);
  t.true(h.dataplane.ports[2].forwarding);
});

test('a port that is removed in quarantine leaves nothing behind', (t) => {
  const h = quarantined();
  h.topology.removePort(2);
  t.deepEqual(h.topology.quarantined, []);
  t.is(h.topology.network(1).portCount, 3);
  h.topology.addPort(2, 1);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 3, 4], 'the next one is not in quarantine');
  h.passTo(40);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 3, 4], 'and not a member twice');
  t.deepEqual(h.events(), []);
});

test('a port that is stopped once is not stopped twice', (t) => {
  const h = quarantined();
  h.topology.quarantine(h.dataplane.ports[2], 500);
  h.passTo(30);
  t.true(h.dataplane.ports[2].forwarding);
  t.is(h.topology.quarantined.length, 0);
});

test('a trunk leaves all its VLANs, and enters them again', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20], 0x8100, LOOP);
  const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
  h.addPorts(access(10), { vlan: { native: 10, tagged: [20] } }, access(20), access(10));
  bounce(h, 1, 2, 7);
  t.false(h.dataplane.ports[2].forwarding);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [4]);
  t.deepEqual(h.receivePorts(3, frame(BROADCAST, C)), []);
  h.passTo(30);
  t.deepEqual(h.receivePorts(1, frame(BROADCAST, A)), [2, 4]);
  t.deepEqual(h.receivePorts(3, frame(BROADCAST, C)), [2]);
  t.deepEqual(
    [10, 20].map((vid) => [h.topology.domain(1, vid)?.memberCount, h.topology.domain(1, vid)?.taggers]),
    [
      [3, 3],
      [2, 2],
    ],
  );
});

test('the same MAC that moves in two VLANs is counted in each', (t) => {
  const h = new Harness();
  h.addVlanNetwork([10, 20], 0x8100, LOOP);
  const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
  h.addPorts(access(10), access(10), access(20), access(20));
  for (let i = 0; i < 3; i++) {
    bounce(h, 1, 2, 2);
    bounce(h, 3, 4, 2);
  }
  t.deepEqual(forwarding(h), [true, true, true, true]);
});

test('without loop protection a MAC may move for ever', (t) => {
  const h = new Harness(4);
  bounce(h, 1, 2, 1000);
  t.deepEqual(forwarding(h), [true, true, true, true]);
  t.is(h.dataplane.fdb.moveCount, 999);
});

test('many MACs behind a loop stop one port, not more', (t) => {
  const h = make();
  for (let round = 0; round < 20; round++) {
    for (let host = 1; host <= 50; host++) h.receive(1 + (round % 2), frame(BROADCAST, numberedMac(host)));
  }
  t.deepEqual(forwarding(h), [true, false, true, true]);
  t.true(h.isWhole);
});
