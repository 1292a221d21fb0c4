/** What is known of the way to each VTEP, what control is told of it, and that it is tried again. */

import test from 'ava';
import { EVENT_VTEP_REACHABLE, EVENT_VTEP_UNREACHABLE } from '../../../core/events.js';
import { ROUTE_UNICAST } from '../../../core/router/vrf.js';
import { VTEP_DOWN, VTEP_NO_ROUTE, VTEP_RESOLVING, VTEP_UNREACHABLE, VTEP_UP } from '../../../core/vxlan/vtep.js';
import { via } from '../router/lab.js';
import { datagram, type Family } from './support/inner.js';
import { BLUE, container, expectWhole, groupPort, Host, UPLINK_PORT, vtepPort, wordsOf } from './support/lab.js';
import { outer } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const PORT = vtepPort(BLUE, 2);
const FAMILIES: readonly Family[] = [4, 6];

function state(one: Host, port = PORT): number | undefined {
  return one.dataplane.ports[port].vtep?.state;
}

/** Kinds of events about VTEPs since the last call, with the ports. */
function news(one: Host): string[] {
  const names: Record<number, string> = {
    [EVENT_VTEP_UNREACHABLE]: 'unreachable',
    [EVENT_VTEP_REACHABLE]: 'reachable',
  };
  return one
    .events()
    .filter(({ kind }) => kind in names)
    .map(({ kind, port }) => `${names[kind]} ${port}`);
}

for (const family of FAMILIES) {
  test(`over IPv${family}: a VTEP is looked for though nothing is sent, found, lost, and found again`, (t) => {
    const one = new Host(1, { family });
    one.addVtep(BLUE, PORT, family === 4 ? '10.77.0.2' : 'fd77::2');
    t.is(state(one), VTEP_RESOLVING);
    const asked = one.sentBy(() => one.passTo(2));
    t.true(
      asked.some(({ port }) => port === UPLINK_PORT),
      'its MAC is asked for',
    );
    one.sentBy(() => one.passTo(30));
    t.is(state(one), VTEP_UNREACHABLE);
    t.deepEqual(news(one), [`unreachable ${PORT}`], 'said once');
    const later = one.sentBy(() => one.passTo(90));
    t.true(
      later.some(({ port }) => port === UPLINK_PORT),
      'and tried again',
    );
    t.deepEqual(news(one), []);
    one.know(2);
    one.sentBy(() => one.passTo(92));
    t.is(state(one), VTEP_UP);
    t.deepEqual(news(one), [`reachable ${PORT}`]);
    expectWhole(t, one);
  });

  test(`over IPv${family}: no route, and then one`, (t) => {
    const one = new Host(1, { family });
    one.know(3);
    const address = family === 4 ? '192.0.2.2' : '2001:db8::2';
    one.addVtep(BLUE, PORT, address);
    one.passTo(2);
    t.is(state(one), VTEP_NO_ROUTE);
    t.deepEqual(news(one), [`unreachable ${PORT}`]);
    one.receive(1, datagram(HERE, THERE));
    t.is(one.txDrops(PORT).no_route, 1);
    const [a, b, c, d] = wordsOf(address);
    const prefix = { a, b, c, d, length: 128 };
    const next = via(UPLINK_PORT, family === 4 ? '10.77.0.3' : 'fd77::3');
    one.dataplane.router.setRoute(1, prefix, ROUTE_UNICAST, [next]);
    one.sentBy(() => one.passTo(4));
    t.is(state(one), VTEP_UP);
    t.deepEqual(news(one), [`reachable ${PORT}`]);
    t.is(one.outers(1, datagram(HERE, THERE)).length, 1);
    expectWhole(t, one);
  });

  test(`over IPv${family}: the uplink goes down and comes up`, (t) => {
    const one = new Host(1, { family });
    one.addVtep(BLUE, PORT, family === 4 ? '10.77.0.2' : 'fd77::2');
    one.addVtep(BLUE, groupPort(BLUE), family === 4 ? '239.1.1.1' : 'ff15::1');
    one.know(2);
    one.passTo(1);
    t.is(state(one), VTEP_UP);
    t.is(state(one, groupPort(BLUE)), VTEP_UP);
    news(one);
    const { router } = one.dataplane;
    const iface = router.interface(UPLINK_PORT);
    one.sentBy(() => router.setInterface(UPLINK_PORT, iface, false));
    one.sentBy(() => one.passTo(3));
    t.true([VTEP_DOWN, VTEP_NO_ROUTE].includes(state(one) ?? -1));
    t.is(state(one, groupPort(BLUE)), VTEP_DOWN);
    t.deepEqual(news(one).sort(), [`unreachable ${PORT}`, `unreachable ${groupPort(BLUE)}`].sort());
    one.sentBy(() => router.setInterface(UPLINK_PORT, iface, true));
    one.know(2);
    one.sentBy(() => one.passTo(6));
    t.is(state(one), VTEP_UP);
    t.is(state(one, groupPort(BLUE)), VTEP_UP);
    t.deepEqual(news(one).sort(), [`reachable ${PORT}`, `reachable ${groupPort(BLUE)}`].sort());
    expectWhole(t, one);
  });
}

test('packets that wait for a VTEP that does not answer are lost, counted, and nobody waits for ever', (t) => {
  const one = new Host(1, { gateway: false });
  one.addVtep(BLUE, PORT, '10.77.0.2');
  for (let i = 0; i < 40; i++) one.receive(1, datagram(HERE, THERE, { port: 4000 + i }));
  t.true(one.held > 0 && one.held <= 40);
  t.is(one.imbalance(), 0);
  t.true(one.isWhole);
  one.sentBy(() => one.passTo(20));
  t.is(one.held, 0);
  t.is(one.imbalance(), 0);
  const lost = Object.values(one.dropped()).reduce((sum, count) => sum + count, 0);
  t.is(lost, 40, JSON.stringify(one.dropped()));
  expectWhole(t, one);
});

test('the VTEP goes while packets wait for its next hop', (t) => {
  const one = new Host(1);
  one.addVtep(BLUE, PORT, '10.77.0.2');
  for (let i = 0; i < 5; i++) one.receive(1, datagram(HERE, THERE, { port: 4000 + i }));
  t.is(one.held, 5);
  one.sentBy(() => one.topology.removePort(PORT));
  one.sentBy(() => one.know(2));
  t.is(one.held, 0);
  expectWhole(t, one);
});

test('the network changes while packets wait: they leave as they were wrapped, or are lost and counted', (t) => {
  const one = new Host(1);
  one.addVtep(BLUE, PORT, '10.77.0.2');
  for (let i = 0; i < 5; i++) one.receive(1, datagram(HERE, THERE, { port: 4000 + i }));
  one.setLocal(BLUE, { vni: 77 });
  one.sentBy(() => one.know(2));
  t.is(one.held, 0);
  expectWhole(t, one);
});

test('what is listed of each VTEP: port, state, seconds since it was heard, room, policy tag', (t) => {
  const one = new Host(1);
  one.know(2);
  one.addVtep(BLUE, PORT, '10.77.0.2');
  one.addVtep(BLUE, vtepPort(BLUE, 3), '192.0.2.3');
  one.passTo(5);
  one.receive(UPLINK_PORT, outer(one.outerFrom(2, { flags: 0x88, reserved: 9 }), datagram(THERE, HERE)));
  one.sentBy(() => one.passTo(8));
  const [first, second] = [0, 5].map((at) => [...one.dataplane.vxlan.list().subarray(at, at + 5)]);
  t.deepEqual(first, [PORT, VTEP_UP, 3, 1450, 9]);
  t.deepEqual(second.slice(0, 3), [vtepPort(BLUE, 3), VTEP_NO_ROUTE, -1]);
});

test("a local address that is none of the uplink's: nothing leaves from there", (t) => {
  const one = new Host(1, { vxlan: { [BLUE]: { local: wordsOf('10.77.0.99') } } });
  one.know(2);
  one.addVtep(BLUE, PORT, '10.77.0.2');
  t.deepEqual(one.outers(1, datagram(HERE, THERE)), []);
  t.is(one.txDrops(PORT).interface_down, 1);
  one.setLocal(BLUE, {});
  t.is(one.outers(1, datagram(HERE, THERE)).length, 1);
  expectWhole(t, one);
});
