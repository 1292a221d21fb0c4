/** The neighbor table: states, timers, what waits, and the bounds; and any history against a slow model. */

import test from 'ava';
import fc from 'fast-check';
import { DROP_REASONS } from '../../../core/drop.js';
import { EVENT_NEIGHBORS_FULL } from '../../../core/events.js';
import { MAX_HELD, MAX_HELD_NEIGHBOR, MAX_HELD_PORT } from '../../../core/router/hold.js';
import {
  LEARN_ADVERTISEMENT,
  LEARN_CREATE,
  LEARN_NO_MAC,
  LEARN_OVERRIDE,
  LEARN_REPLY,
  LEARN_ROUTER,
  LEARN_SOLICITED,
  MAX_UNRESOLVED,
  MAX_UNRESOLVED_PORT,
  NEIGHBOR_DELAY,
  NEIGHBOR_FAILED,
  NEIGHBOR_INCOMPLETE,
  NEIGHBOR_PERMANENT,
  NEIGHBOR_PROBE,
  NEIGHBOR_REACHABLE,
  NEIGHBOR_STALE,
  type Neighbor,
  NeighborTable,
} from '../../../core/router/neighbors.js';
import { CONTINUE, DROP, HELD } from '../../../core/verdict.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import {
  address,
  arpFrame,
  hexOf,
  high,
  low,
  makeInterface,
  NeighborContext,
  ndFrame,
  OTHER_MAC,
  OWN_LINK_LOCAL,
  OWN_MAC,
  PEER_MAC,
  SOURCE_OPTION,
  solicitationBody,
  solicitedNode,
} from './neighbor-context.js';

const PEER = '172.30.0.10';
const PEER6 = 'fd00:30::a';
const ANSWER = LEARN_OVERRIDE | LEARN_REPLY;

interface Scene {
  readonly context: NeighborContext;
  readonly table: NeighborTable;
  readonly iface: ReturnType<typeof makeInterface>;
}

function scene(maximum?: number, slots?: number): Scene {
  const context = new NeighborContext(slots);
  return { context, table: new NeighborTable(context, 0x1234567, maximum), iface: makeInterface() };
}

/** Resolves for a packet from `port`: the verdict, or the reason of the drop, whose slot is given back. */
function resolve(s: Scene, to: string, port = 1): number | string {
  const packet = s.context.packet(port);
  const verdict = s.table.resolve(s.iface, ...address(to), packet);
  if (verdict === DROP) {
    s.context.arena.release(packet.slot);
    return DROP_REASONS[packet.reason].name;
  }
  return verdict === HELD ? packet.slot + HELD_FROM : verdict;
}
/** Added to the slot of a packet that waits, to tell it from a verdict. */
const HELD_FROM = 1000;

function learn(s: Scene, of: string, mac: readonly number[], how: number, port = 1): boolean {
  return s.table.learn(s.iface, ...address(of), high(mac), low(mac), how, port);
}

function find(s: Scene, of: string): Neighbor | null {
  return s.table.find6(s.iface.number, ...address(of));
}

function stateOf(s: Scene, of: string): number {
  return find(s, of)?.state ?? 0;
}

function macOf(s: Scene, of: string): string {
  const neighbor = find(s, of) as Neighbor;
  return (neighbor.macHigh * 2 ** 32 + (neighbor.macLow >>> 0)).toString(16).padStart(12, '0');
}

const pass = (s: Scene, seconds: number): void => s.context.pass(seconds, () => s.table.tick());
const isWhole = (s: Scene): boolean => s.context.arena.available + s.table.held === s.context.arena.slotCount;
const numbered = (n: number): string => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;

/** A reachable neighbor. */
function reach(s: Scene, of: string): void {
  resolve(s, of);
  learn(s, of, PEER_MAC, ANSWER);
  s.context.sent.splice(0);
  s.context.resumed.splice(0);
}

test('a miss asks everybody at once by ARP, and keeps the packet', (t) => {
  const s = scene();
  const slot = (resolve(s, PEER) as number) - HELD_FROM;
  const request = arpFrame({ senderMac: OWN_MAC, sender: '172.30.0.1', target: PEER });
  t.deepEqual(s.context.takeSent(), [hexOf(request)]);
  t.is(stateOf(s, PEER), NEIGHBOR_INCOMPLETE);
  t.is(s.table.held, 1);
  t.true(learn(s, PEER, PEER_MAC, ANSWER));
  t.is(stateOf(s, PEER), NEIGHBOR_REACHABLE);
  t.is(macOf(s, PEER), hexOf(PEER_MAC));
  t.deepEqual(s.context.resumed, [slot]);
  t.is(s.table.held, 0);
  t.true(isWhole(s));
});

test('RFC 4861 7.2.2: a solicitation goes to the solicited-node group with our MAC in it', (t) => {
  const s = scene();
  resolve(s, 'fd00:30::12:3456');
  const expected = ndFrame({
    fromMac: OWN_MAC,
    source: OWN_LINK_LOCAL,
    destination: solicitedNode('fd00:30::12:3456'),
    type: 135,
    body: solicitationBody('fd00:30::12:3456', SOURCE_OPTION(OWN_MAC)),
  });
  t.is(hexOf(expected.slice(0, 6)), '3333ff123456');
  t.deepEqual(s.context.takeSent(), [hexOf(expected)]);
});

for (const [name, peer] of [
  ['RFC 1122 2.3.2.1', PEER],
  ['RFC 4861 7.2.2', PEER6],
] as const) {
  test(`${name}: three requests, a second apart at least, then the packets are given up: ${peer}`, (t) => {
    const s = scene();
    const slots = [resolve(s, peer), resolve(s, peer)].map((slot) => (slot as number) - HELD_FROM);
    // The next tick comes before a second has passed.
    s.context.milliseconds = (s.context.milliseconds + 400) | 0;
    s.context.now++;
    s.table.tick();
    t.is(s.context.sent.length, 1);
    pass(s, 2);
    const times = s.context.sent.map(({ at }) => at);
    t.is(times.length, 3);
    t.true(((times[1] - times[0]) | 0) >= 1000 && ((times[2] - times[1]) | 0) >= 1000);
    t.deepEqual(s.context.givenUp, []);
    pass(s, 1);
    t.deepEqual(
      s.context.givenUp,
      slots.map((slot) => ({ slot, reason: 'neighbor_failed' })),
    );
    t.is(s.context.sent.length, 3);
    t.is(stateOf(s, peer), NEIGHBOR_FAILED);
    t.is(resolve(s, peer), 'neighbor_failed', 'at once');
    t.is(s.context.sent.length, 3);
    pass(s, 1);
    t.is(stateOf(s, peer), 0);
    t.true((resolve(s, peer) as number) >= HELD_FROM, 'a new packet asks anew');
    t.is(s.context.sent.length, 4);
    t.true(((s.context.sent[3].at - s.context.sent[2].at) | 0) >= 1000);
    t.true(isWhole(s));
  });
}

test('without a free slot a request counts as sent, so that packets do not wait for ever', (t) => {
  const s = scene();
  s.context.isEmpty = true;
  resolve(s, PEER);
  pass(s, 3);
  t.is(s.context.givenUp.length, 1);
  t.is(s.context.sent.length, 0);
  t.true(isWhole(s));
});

test('RFC 4861 7.2.2: of a full queue the oldest goes; the rest leaves in order', (t) => {
  const s = scene();
  const slots = Array.from({ length: MAX_HELD_NEIGHBOR + 2 }, () => (resolve(s, PEER) as number) - HELD_FROM);
  t.deepEqual(
    s.context.givenUp,
    slots.slice(0, 2).map((slot) => ({ slot, reason: 'neighbor_queue' })),
  );
  t.is(find(s, PEER)?.waiting, MAX_HELD_NEIGHBOR);
  learn(s, PEER, PEER_MAC, ANSWER);
  t.deepEqual(s.context.resumed, slots.slice(2));
  t.true(isWhole(s));
});

test('packets of one port, and of all, that wait are bounded, and the greediest pays', (t) => {
  const s = scene();
  const first = (resolve(s, numbered(0), 9) as number) - HELD_FROM;
  for (let i = 0; i < MAX_HELD_PORT + 5; i++) resolve(s, numbered(1 + (i >> 3)), 1);
  t.is(s.table.held, MAX_HELD_PORT + 1);
  t.is(s.context.givenUp.length, 5);
  // Two to four have one more each than the table has room for, in all.
  for (let port = 2; port <= 4; port++) {
    for (let i = 0; i < MAX_HELD_PORT - 1; i++) resolve(s, numbered(port * 100 + (i >> 3)), port);
  }
  for (let i = 0; i < 10; i++) resolve(s, numbered(900 + i), 5);
  t.is(s.table.held, MAX_HELD);
  t.true(s.context.givenUp.every(({ reason }) => reason === 'neighbor_queue'));
  t.false(
    s.context.givenUp.some(({ slot }) => slot === first),
    'not the one of the port that has one',
  );
  learn(s, numbered(0), PEER_MAC, ANSWER);
  t.deepEqual(s.context.resumed, [first]);
  t.true(isWhole(s));
});

test('what a resumed packet does to the table, its own entry included, harms none of the rest', (t) => {
  const s = scene();
  for (let i = 0; i < 5; i++) resolve(s, PEER);
  s.context.onResume = () => s.table.flush(1);
  learn(s, PEER, PEER_MAC, ANSWER);
  t.is(s.context.resumed.length, 1);
  t.is(s.context.givenUp.length, 4);
  t.is(s.table.count, 0);
  t.true(isWhole(s));
});

test('one port scans: its own unresolved entries are put out, those of others stay', (t) => {
  const s = scene();
  resolve(s, PEER, 2);
  for (let i = 0; i < 90; i++) resolve(s, numbered(i), 1);
  t.is(s.table.unresolvedCount, MAX_UNRESOLVED_PORT + 1);
  t.is(stateOf(s, PEER), NEIGHBOR_INCOMPLETE);
  t.is(stateOf(s, numbered(0)), 0, 'the oldest went');
  t.is(stateOf(s, numbered(89)), NEIGHBOR_INCOMPLETE);
  t.is(s.table.evicted, 90 - MAX_UNRESOLVED_PORT);
  t.true(isWhole(s));
});

test('many ports scan: the busiest makes room for a port that asks little', (t) => {
  const s = scene();
  const ports = MAX_UNRESOLVED / MAX_UNRESOLVED_PORT;
  for (let port = 1; port <= ports; port++) {
    for (let i = 0; i < MAX_UNRESOLVED_PORT; i++) resolve(s, numbered(port * 256 + i), port);
  }
  t.is(s.table.unresolvedCount, MAX_UNRESOLVED);
  resolve(s, PEER, 99);
  t.is(s.table.unresolvedCount, MAX_UNRESOLVED);
  resolve(s, '172.30.0.77', 98);
  t.is(stateOf(s, PEER), NEIGHBOR_INCOMPLETE);
  t.is(stateOf(s, '172.30.0.77'), NEIGHBOR_INCOMPLETE);
  t.true(isWhole(s));
  // They are all asked again within what a tick may send, those that were left out first.
  s.context.sent.splice(0);
  pass(s, 2);
  t.is(new Set(s.context.takeSent()).size, MAX_UNRESOLVED);
});

test('a scan of 65,536 addresses: requests are bounded, and a neighbor of others works as ever', (t) => {
  const s = scene();
  reach(s, PEER);
  const verdicts = new Map<string, number>();
  for (let i = 0; i < 65536; i++) {
    const verdict = resolve(s, `10.1.${i >> 8}.${i & 255}`, 1);
    const name = typeof verdict === 'string' ? verdict : 'held';
    verdicts.set(name, (verdicts.get(name) ?? 0) + 1);
    if (i % 655 === 0) s.context.milliseconds = (s.context.milliseconds + 10) | 0;
  }
  // A second: the burst, and a second's share.
  t.true(s.context.sent.length <= 620, `${s.context.sent.length} requests`);
  t.is((verdicts.get('held') ?? 0) + (verdicts.get('neighbor_rate') ?? 0), 65536);
  t.is(stateOf(s, PEER), NEIGHBOR_REACHABLE);
  t.true((resolve(s, '172.30.0.20', 2) as number) >= HELD_FROM);
  t.true(isWhole(s));
});

test('a full table puts out what is stale, of the port with most entries; never what is permanent', (t) => {
  const s = scene(8);
  t.true(s.table.setPermanent(s.iface, ...address('172.30.0.250'), high(PEER_MAC), low(PEER_MAC)));
  reach(s, PEER);
  learn(s, '172.30.0.20', PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE, 2);
  for (let i = 0; i < 5; i++) learn(s, `172.30.0.${100 + i}`, PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE, 3);
  t.is(s.table.count, 8);
  t.deepEqual(s.context.takeEvents(), []);
  for (let i = 0; i < 20; i++) learn(s, `172.30.0.${200 + i}`, PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE, 3);
  t.is(s.table.count, 8);
  t.is(s.table.evicted, 20);
  t.is(stateOf(s, PEER), NEIGHBOR_REACHABLE);
  t.is(stateOf(s, '172.30.0.20'), NEIGHBOR_STALE, 'of a port that has one');
  t.is(stateOf(s, '172.30.0.250'), NEIGHBOR_PERMANENT);
  const events = s.context.takeEvents();
  t.deepEqual(
    events.map(([kind, , port, , , , number]) => [kind, port, number]),
    [[EVENT_NEIGHBORS_FULL, 3, 8]],
  );
  s.context.now += 59;
  learn(s, '172.30.0.240', PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE, 3);
  t.deepEqual(s.context.takeEvents(), []);
  s.context.now += 1;
  learn(s, '172.30.0.241', PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE, 3);
  t.is(s.context.takeEvents().length, 1);
});

test('a table full of permanent entries takes no more, and says why', (t) => {
  const s = scene(2);
  for (const last of [2, 3]) t.true(s.table.setPermanent(s.iface, ...address(`172.30.0.${last}`), 0x0200, last));
  t.false(s.table.setPermanent(s.iface, ...address('172.30.0.4'), 0x0200, 4));
  t.is(resolve(s, PEER), 'neighbor_full');
  t.false(learn(s, PEER, PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE));
  t.true(isWhole(s));
});

test('a permanent entry is not learned over, does not age, and survives a flush but not its interface', (t) => {
  const s = scene();
  resolve(s, PEER);
  t.true(s.table.setPermanent(s.iface, ...address(PEER), high(PEER_MAC), low(PEER_MAC)));
  t.is(s.context.resumed.length, 1, 'what waited goes');
  t.true(learn(s, PEER, OTHER_MAC, LEARN_OVERRIDE | LEARN_SOLICITED));
  pass(s, 300);
  s.table.flush(1);
  t.is(stateOf(s, PEER), NEIGHBOR_PERMANENT);
  t.is(macOf(s, PEER), hexOf(PEER_MAC));
  s.table.removeInterface(1);
  t.is(s.table.count, 0);
});

test('told again, a permanent entry stays as it is; told another MAC, it is another for those who remember it', (t) => {
  const s = scene();
  const tell = (mac: readonly number[]): boolean =>
    s.table.setPermanent(s.iface, ...address(PEER), high(mac), low(mac));
  t.true(tell(PEER_MAC));
  const neighbor = find(s, PEER) as Neighbor;
  const { generation } = neighbor;
  neighbor.fdbEpoch = 5;
  t.true(tell(PEER_MAC));
  t.is(neighbor.generation, generation);
  t.is(neighbor.fdbEpoch, 5);
  t.true(tell(OTHER_MAC));
  t.not(neighbor.generation, generation);
  t.is(neighbor.fdbEpoch, -1);
  t.is(macOf(s, PEER), hexOf(OTHER_MAC));
  t.is(stateOf(s, PEER), NEIGHBOR_PERMANENT);
  t.is(s.table.count, 1);
});

test('what was learned becomes permanent, and is no longer asked for: every state', (t) => {
  const begin: [string, (s: Scene) => void][] = [
    ['incomplete', (s) => resolve(s, PEER)],
    [
      'failed',
      (s) => {
        resolve(s, PEER);
        pass(s, 3);
      },
    ],
    ['reachable', (s) => reach(s, PEER)],
    ['stale', (s) => learn(s, PEER, OTHER_MAC, LEARN_OVERRIDE | LEARN_CREATE)],
    [
      'delay',
      (s) => {
        learn(s, PEER, OTHER_MAC, LEARN_CREATE);
        s.table.use(find(s, PEER) as Neighbor);
      },
    ],
  ];
  for (const [state, run] of begin) {
    const s = scene();
    run(s);
    t.true(s.table.setPermanent(s.iface, ...address(PEER), high(PEER_MAC), low(PEER_MAC)), state);
    s.context.takeSent();
    pass(s, 200);
    t.deepEqual(s.context.takeSent(), [], state);
    t.is(stateOf(s, PEER), NEIGHBOR_PERMANENT, state);
    t.is(macOf(s, PEER), hexOf(PEER_MAC), state);
    t.is(s.table.unresolvedCount, 0, state);
    t.is(s.table.held, 0, state);
    t.is(resolve(s, PEER), CONTINUE, state);
  }
});

test('a permanent entry that is removed is asked for anew, and what is learned is not removed as one', (t) => {
  const s = scene();
  const remove = (): boolean => s.table.removePermanent(s.iface, ...address(PEER));
  t.false(remove(), 'never told');
  t.true(s.table.setPermanent(s.iface, ...address(PEER), high(PEER_MAC), low(PEER_MAC)));
  const neighbor = find(s, PEER) as Neighbor;
  const { generation } = neighbor;
  t.true(remove());
  t.is(s.table.count, 0);
  t.not(neighbor.generation, generation, 'void for those who remember it');
  t.true((resolve(s, PEER) as number) >= HELD_FROM);
  t.is(s.context.takeSent().length, 1);
  learn(s, PEER, OTHER_MAC, ANSWER);
  t.false(remove());
  t.is(stateOf(s, PEER), NEIGHBOR_REACHABLE);
  t.true(isWhole(s));
});

test('a full table makes room for a permanent entry, and not by another one', (t) => {
  const s = scene(2);
  const tell = (last: number): boolean => s.table.setPermanent(s.iface, ...address(`172.30.0.${last}`), 0x0200, last);
  learn(s, '172.30.0.20', PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE);
  learn(s, '172.30.0.21', PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE);
  t.deepEqual([tell(2), tell(3), tell(4), tell(3)], [true, true, false, true]);
  t.deepEqual([stateOf(s, '172.30.0.2'), stateOf(s, '172.30.0.3')], [NEIGHBOR_PERMANENT, NEIGHBOR_PERMANENT]);
  t.is(s.table.count, 2);
});

test('RFC 4861 7.3.3: reachable for 15 to 45 s, stale, delayed by use, probed by unicast three times, gone', (t) => {
  for (const peer of [PEER, PEER6]) {
    const s = scene();
    reach(s, peer);
    let seconds = 0;
    while (stateOf(s, peer) === NEIGHBOR_REACHABLE) {
      pass(s, 1);
      seconds++;
    }
    t.true(seconds >= 15 && seconds <= 45, `${seconds} s`);
    t.is(stateOf(s, peer), NEIGHBOR_STALE);
    s.table.use(find(s, peer) as Neighbor);
    t.is(stateOf(s, peer), NEIGHBOR_DELAY);
    pass(s, 4);
    t.deepEqual(s.context.takeSent(), []);
    t.true(find(s, peer)?.isUsable);
    pass(s, 1);
    t.is(stateOf(s, peer), NEIGHBOR_PROBE);
    t.true(find(s, peer)?.isUsable);
    const probe =
      peer === PEER
        ? arpFrame({ to: PEER_MAC, senderMac: OWN_MAC, sender: '172.30.0.1', target: PEER })
        : ndFrame({
            toMac: PEER_MAC,
            fromMac: OWN_MAC,
            source: OWN_LINK_LOCAL,
            destination: PEER6,
            type: 135,
            body: solicitationBody(PEER6, SOURCE_OPTION(OWN_MAC)),
          });
    pass(s, 2);
    t.deepEqual(s.context.takeSent(), new Array(3).fill(hexOf(probe)));
    pass(s, 1);
    t.is(stateOf(s, peer), 0);
    t.true((resolve(s, peer) as number) >= HELD_FROM, 'and everybody is asked');
    t.true(isWhole(s));
  }
});

test('the time that a confirmation lasts is spread', (t) => {
  const s = scene();
  const times = new Set<number>();
  for (let i = 1; i < 60; i++) {
    reach(s, `172.30.0.${i}`);
    times.add((find(s, `172.30.0.${i}`) as Neighbor).reachableFor);
  }
  t.true(times.size > 15);
  t.true(Math.min(...times) >= 15 && Math.max(...times) <= 45);
});

test('a stale entry that nobody uses goes after 120 s', (t) => {
  const s = scene();
  learn(s, PEER, PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE);
  pass(s, 119);
  t.is(stateOf(s, PEER), NEIGHBOR_STALE);
  pass(s, 1);
  t.is(s.table.count, 0);
});

test('a neighbor that turns up with another MAC is followed at once, and what its user remembers is void', (t) => {
  const s = scene();
  reach(s, PEER);
  const neighbor = find(s, PEER) as Neighbor;
  neighbor.outPort = 4;
  neighbor.fdbEpoch = 17;
  learn(s, PEER, PEER_MAC, LEARN_OVERRIDE);
  t.is(neighbor.fdbEpoch, 17, 'the same MAC changes nothing');
  t.is(neighbor.state, NEIGHBOR_REACHABLE);
  learn(s, PEER, OTHER_MAC, LEARN_OVERRIDE);
  t.is(find(s, PEER), neighbor);
  t.is(macOf(s, PEER), hexOf(OTHER_MAC));
  t.is(neighbor.fdbEpoch, -1);
  t.is(neighbor.state, NEIGHBOR_STALE);
  t.is(resolve(s, PEER), CONTINUE, 'usable');
});

test('an object that is used again is nobody to whom remembers it', (t) => {
  const s = scene();
  reach(s, PEER);
  const neighbor = find(s, PEER) as Neighbor;
  neighbor.fdbEpoch = 5;
  s.table.flush(1);
  t.is(neighbor.iface, 0);
  t.false(neighbor.isUsable);
  reach(s, '172.30.0.11');
  t.is(find(s, '172.30.0.11'), neighbor);
  t.is(neighbor.fdbEpoch, -1);
});

test('RFC 4861 7.2.5: advertisements, each rule', (t) => {
  const A = LEARN_ADVERTISEMENT;
  const rows: [name: string, from: number, mac: readonly number[], how: number, state: number, changed: boolean][] = [
    ['same MAC, nothing set', NEIGHBOR_REACHABLE, PEER_MAC, A, NEIGHBOR_REACHABLE, false],
    [
      'unsolicited, same MAC, does not make reachable',
      NEIGHBOR_STALE,
      PEER_MAC,
      A | LEARN_OVERRIDE,
      NEIGHBOR_STALE,
      false,
    ],
    ['solicited', NEIGHBOR_STALE, PEER_MAC, A | LEARN_SOLICITED, NEIGHBOR_REACHABLE, false],
    ['no override, other MAC', NEIGHBOR_REACHABLE, OTHER_MAC, A | LEARN_SOLICITED, NEIGHBOR_STALE, false],
    ['no override, other MAC', NEIGHBOR_STALE, OTHER_MAC, A | LEARN_SOLICITED, NEIGHBOR_STALE, false],
    ['override, other MAC', NEIGHBOR_REACHABLE, OTHER_MAC, A | LEARN_OVERRIDE, NEIGHBOR_STALE, true],
    ['override, solicited', NEIGHBOR_STALE, OTHER_MAC, A | LEARN_OVERRIDE | LEARN_SOLICITED, NEIGHBOR_REACHABLE, true],
    [
      'without a MAC, solicited',
      NEIGHBOR_STALE,
      OTHER_MAC,
      A | LEARN_NO_MAC | LEARN_SOLICITED,
      NEIGHBOR_REACHABLE,
      false,
    ],
    ['without a MAC', NEIGHBOR_STALE, OTHER_MAC, A | LEARN_NO_MAC, NEIGHBOR_STALE, false],
    ['unsolicited', NEIGHBOR_INCOMPLETE, OTHER_MAC, A, NEIGHBOR_STALE, true],
    ['solicited', NEIGHBOR_INCOMPLETE, OTHER_MAC, A | LEARN_SOLICITED, NEIGHBOR_REACHABLE, true],
    ['without a MAC', NEIGHBOR_INCOMPLETE, OTHER_MAC, A | LEARN_NO_MAC | LEARN_SOLICITED, NEIGHBOR_INCOMPLETE, false],
  ];
  for (const [name, from, mac, how, state, changed] of rows) {
    const s = scene();
    resolve(s, PEER6);
    if (from !== NEIGHBOR_INCOMPLETE)
      learn(s, PEER6, PEER_MAC, A | (from === NEIGHBOR_REACHABLE ? LEARN_SOLICITED : 0));
    t.is(stateOf(s, PEER6), from);
    const before = macOf(s, PEER6);
    learn(s, PEER6, mac, how | LEARN_ROUTER);
    t.is(stateOf(s, PEER6), state, name);
    t.is(macOf(s, PEER6), changed ? hexOf(mac) : before, name);
    t.is(s.table.held, state === NEIGHBOR_INCOMPLETE ? 1 : 0, name);
  }
  const s = scene();
  t.false(learn(s, PEER6, PEER_MAC, A | LEARN_SOLICITED | LEARN_OVERRIDE), 'nobody asked: nothing is made');
  t.is(s.table.count, 0);
});

test('the router flag is an advertisement’s to set and to clear', (t) => {
  const s = scene();
  resolve(s, PEER6);
  learn(s, PEER6, PEER_MAC, LEARN_ADVERTISEMENT | LEARN_ROUTER);
  t.is(find(s, PEER6)?.isRouter, 1);
  learn(s, PEER6, OTHER_MAC, LEARN_OVERRIDE | LEARN_CREATE);
  t.is(find(s, PEER6)?.isRouter, 1, 'a solicitation says nothing of it');
  learn(s, PEER6, OTHER_MAC, LEARN_ADVERTISEMENT);
  t.is(find(s, PEER6)?.isRouter, 0);
});

test('an ARP reply that nobody asked for does not make reachable', (t) => {
  const s = scene();
  learn(s, PEER, PEER_MAC, LEARN_OVERRIDE | LEARN_CREATE);
  learn(s, PEER, PEER_MAC, ANSWER);
  t.is(stateOf(s, PEER), NEIGHBOR_STALE);
  learn(s, PEER, OTHER_MAC, ANSWER);
  t.is(stateOf(s, PEER), NEIGHBOR_STALE);
  s.table.use(find(s, PEER) as Neighbor);
  pass(s, 5);
  t.is(stateOf(s, PEER), NEIGHBOR_PROBE);
  learn(s, PEER, OTHER_MAC, ANSWER);
  t.is(stateOf(s, PEER), NEIGHBOR_REACHABLE);
});

test('an interface that goes takes its neighbors along, and gives up what waits; others stay', (t) => {
  const s = scene();
  const other = makeInterface({ number: 2 });
  reach(s, PEER);
  resolve(s, '172.30.0.11');
  s.table.learn(other, ...address(PEER), high(OTHER_MAC), low(OTHER_MAC), LEARN_OVERRIDE | LEARN_CREATE);
  t.is(s.table.count, 3);
  s.table.removeInterface(1);
  t.deepEqual(
    s.context.givenUp.map(({ reason }) => reason),
    ['neighbor_failed'],
  );
  const left: number[] = [];
  s.table.forEach(({ iface }) => {
    left.push(iface);
  });
  t.deepEqual(left, [2]);
  t.is(s.table.find4(1, address(PEER)[3]), null);
  t.not(s.table.find4(2, address(PEER)[3]), null);
  t.true(isWhole(s));
});

// --- any history

/** The states as RFC 4861 tells them, with plain maps: no pool, no index, no bounds. */
class Model {
  readonly entries = new Map<string, ModelEntry>();
  now = 0;
  requests = 0;

  resolve(key: string): 'held' | 'failed' | 'usable' {
    const there = this.entries.get(key);
    if (there === undefined) {
      this.entries.set(key, {
        state: 'incomplete',
        mac: '',
        router: false,
        asked: 1,
        at: this.now,
        waiting: 1,
        lasts: 0,
      });
      this.requests++;
      return 'held';
    }
    if (there.state === 'failed') return 'failed';
    if (there.state !== 'incomplete') return 'usable';
    there.waiting = Math.min(there.waiting + 1, MAX_HELD_NEIGHBOR);
    return 'held';
  }

  use(key: string): void {
    const there = this.entries.get(key);
    if (there?.state === 'stale') this.enter(there, 'delay');
  }

  /** @param lasts what the table chose for a new confirmation */
  learn(key: string, mac: string, how: number, lasts: () => number): void {
    const there = this.entries.get(key);
    const has = (flag: number): boolean => (how & flag) !== 0;
    if (there === undefined) {
      const fresh: ModelEntry = { state: 'stale', mac, router: false, asked: 0, at: this.now, waiting: 0, lasts: 0 };
      if (has(LEARN_CREATE)) this.entries.set(key, fresh);
      return;
    }
    const solicited = has(LEARN_SOLICITED) || (has(LEARN_REPLY) && ['incomplete', 'probe'].includes(there.state));
    const differs = !has(LEARN_NO_MAC) && there.mac !== mac;
    if (there.state === 'incomplete' || there.state === 'failed') {
      if (has(LEARN_NO_MAC)) return;
      there.waiting = 0;
    } else if (differs && !has(LEARN_OVERRIDE)) {
      if (there.state === 'reachable') this.enter(there, 'stale');
      return;
    }
    const wasUnresolved = there.state === 'incomplete' || there.state === 'failed';
    if (differs) there.mac = mac;
    if (has(LEARN_ADVERTISEMENT)) there.router = has(LEARN_ROUTER);
    if (solicited) {
      this.enter(there, 'reachable');
      there.lasts = lasts();
    } else if (differs || wasUnresolved) {
      this.enter(there, 'stale');
    }
  }

  second(): void {
    this.now++;
    for (const [key, there] of this.entries) {
      const age = this.now - there.at;
      if (there.state === 'reachable' && age >= there.lasts) this.enter(there, 'stale');
      else if (there.state === 'stale' && age >= 120) this.entries.delete(key);
      else if (there.state === 'failed') this.entries.delete(key);
      else if (there.state === 'delay' && age >= 5) {
        this.enter(there, 'probe');
        there.asked = 1;
        this.requests++;
      } else if (there.state === 'incomplete' || there.state === 'probe') this.askAgain(key, there);
    }
  }

  private askAgain(key: string, there: ModelEntry): void {
    if (there.asked < 3) {
      there.asked++;
      this.requests++;
    } else if (there.state === 'probe') {
      this.entries.delete(key);
    } else {
      this.enter(there, 'failed');
      there.waiting = 0;
    }
  }

  private enter(there: ModelEntry, state: string): void {
    there.state = state;
    there.at = this.now;
  }
}

interface ModelEntry {
  state: string;
  mac: string;
  router: boolean;
  asked: number;
  at: number;
  waiting: number;
  lasts: number;
}

const NAMES = ['', 'incomplete', 'failed', 'reachable', 'stale', 'delay', 'probe', 'permanent'];
const ADDRESSES = [PEER, '172.30.0.11', PEER6, 'fe80::a'];
const MACS = [PEER_MAC, OTHER_MAC, [2, 0, 0, 0, 0, 1]];
const HOWS = [
  LEARN_OVERRIDE | LEARN_CREATE,
  LEARN_OVERRIDE,
  ANSWER,
  ...[0, LEARN_SOLICITED, LEARN_OVERRIDE, LEARN_SOLICITED | LEARN_OVERRIDE].flatMap((flags) => [
    LEARN_ADVERTISEMENT | flags,
    LEARN_ADVERTISEMENT | LEARN_ROUTER | flags,
    LEARN_ADVERTISEMENT | LEARN_NO_MAC | flags,
  ]),
];

const who = { iface: fc.integer({ min: 1, max: 2 }), address: fc.constantFrom(...ADDRESSES) };
const step = fc.oneof(
  fc.record({ do: fc.constant('resolve' as const), ...who }),
  fc.record({ do: fc.constant('use' as const), ...who }),
  fc.record({
    do: fc.constant('learn' as const),
    ...who,
    mac: fc.constantFrom(...MACS),
    how: fc.constantFrom(...HOWS),
  }),
  fc.record({ do: fc.constant('pass' as const), seconds: fc.constantFrom(1, 1, 1, 2, 3, 6, 20, 50, 130) }),
  fc.record({ do: fc.constant('flush' as const), iface: who.iface }),
);

test('any history: the same states, MACs, flags, packets and requests as the model', (t) => {
  const seed = seedOfRun();
  t.log(rerunLine(seed, 'dist/test/core/router/neighbors.test.js'));
  const interfaces = [makeInterface({ number: 1 }), makeInterface({ number: 2 })];
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const context = new NeighborContext(96);
      const table = new NeighborTable(context, seed);
      const model = new Model();
      for (const one of steps) {
        if (one.do === 'pass') {
          for (let i = 0; i < one.seconds; i++) {
            context.pass(1, () => table.tick());
            model.second();
          }
        } else if (one.do === 'flush') {
          table.flush(one.iface);
          for (const key of [...model.entries.keys()]) if (key.startsWith(`${one.iface} `)) model.entries.delete(key);
        } else {
          const iface = interfaces[one.iface - 1];
          const key = `${one.iface} ${one.address}`;
          const there = (): Neighbor | null => table.find6(one.iface, ...address(one.address));
          if (one.do === 'resolve') {
            const packet = context.packet(1);
            const verdict = table.resolve(iface, ...address(one.address), packet);
            if (verdict !== HELD) context.arena.release(packet.slot);
            const said = verdict === HELD ? 'held' : verdict === CONTINUE ? 'usable' : 'failed';
            if (said !== model.resolve(key)) return false;
          } else if (one.do === 'use') {
            const neighbor = there();
            if (neighbor !== null) table.use(neighbor);
            model.use(key);
          } else {
            table.learn(iface, ...address(one.address), high(one.mac), low(one.mac), one.how, 1);
            model.learn(key, hexOf(one.mac), one.how, () => there()?.reachableFor ?? 0);
          }
        }
        if (!isSame(table, model)) return false;
        if (context.arena.available + table.held !== context.arena.slotCount) return false;
      }
      return context.sent.length === model.requests;
    }),
    { seed, numRuns: 400 },
  );
  t.pass();
});

function isSame(table: NeighborTable, model: Model): boolean {
  let held = 0;
  for (const iface of [1, 2]) {
    for (const text of ADDRESSES) {
      const neighbor = table.find6(iface, ...address(text));
      const expected = model.entries.get(`${iface} ${text}`);
      if (neighbor === null || expected === undefined) {
        if (neighbor !== null || expected !== undefined) return false;
        continue;
      }
      held += expected.waiting;
      if (NAMES[neighbor.state] !== expected.state || neighbor.waiting !== expected.waiting) return false;
      if (neighbor.isRouter !== (expected.router ? 1 : 0)) return false;
      const mac = (neighbor.macHigh * 2 ** 32 + (neighbor.macLow >>> 0)).toString(16).padStart(12, '0');
      if (neighbor.isUsable && mac !== expected.mac) return false;
      const isV4 = text.includes('.');
      if (isV4 && table.find4(iface, address(text)[3]) !== neighbor) return false;
    }
  }
  return table.held === held && table.count === model.entries.size;
}

test('any set of addresses that come and go is found, and nothing else is', (t) => {
  const seed = seedOfRun();
  const context = new NeighborContext(8);
  const table = new NeighborTable(context, seed, 2000);
  const iface = [makeInterface({ number: 1 }), makeInterface({ number: 2 })];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(1), fc.nat(60), fc.nat(3), fc.integer({ min: 1, max: 0xffff })), { maxLength: 500 }),
      (all) => {
        const known = new Map<string, number>();
        for (const [number, d, c, mac] of all) {
          const words = c === 3 ? ([0, 0, 0xffff, d] as const) : ([0xfe800000 | 0, 0, c, d << 26] as const);
          table.learn(iface[number], ...words, 0x0200, mac, LEARN_OVERRIDE | LEARN_CREATE);
          known.set(`${number + 1} ${words.join(' ')}`, mac);
        }
        let isRight = table.count === known.size;
        for (const [key, mac] of known) {
          const [number, a, b, c, d] = key.split(' ').map(Number);
          if (table.find6(number, a, b, c, d)?.macLow !== mac) isRight = false;
          if (c === 0xffff && table.find4(number, d)?.macLow !== mac) isRight = false;
          if (table.find6(number + 2, a, b, c, d) !== null) isRight = false;
        }
        table.flush(1);
        for (const [key] of known) {
          const [number, a, b, c, d] = key.split(' ').map(Number);
          if ((table.find6(number, a, b, c, d) === null) !== (number === 1)) isRight = false;
        }
        table.flush(2);
        return isRight && table.count === 0;
      },
    ),
    { seed, numRuns: 100 },
  );
  t.pass();
});
