/** The way to a VTEP is searched for once, whether there is one or not, until something changes that could make the answer another one. */

import test from 'ava';
import { type Hop, ROUTE_UNICAST } from '../../../core/router/vrf.js';
import { via } from '../router/lab.js';
import { datagram, type Family } from './support/inner.js';
import {
  BLUE,
  container,
  expectWhole,
  groupPort,
  Host,
  type HostOptions,
  UPLINK_PORT,
  VRF,
  vtepPort,
  wordsOf,
} from './support/lab.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const PORT = vtepPort(BLUE, 2);
const FAMILIES: readonly Family[] = [4, 6];
const PACKETS = 10;

/** Where no subnet of the uplink's is. */
function farAway(family: Family): string {
  return family === 4 ? '192.0.2.2' : '2001:db8::2';
}

function nextHop(family: Family): Hop {
  return via(UPLINK_PORT, family === 4 ? '10.77.0.3' : 'fd77::3');
}

function setRoute(one: Host, family: Family, vrf: number = VRF): void {
  const [a, b, c, d] = wordsOf(farAway(family));
  one.dataplane.router.setRoute(vrf, { a, b, c, d, length: 128 }, ROUTE_UNICAST, [nextHop(family)]);
}

/** A host whose VTEP is far away, and which knows the next hop, should there be a route. */
function hostWith(family: Family, options: HostOptions = {}): Host {
  const one = new Host(1, { family, ...options });
  one.know(3);
  one.addVtep(BLUE, PORT, farAway(family));
  return one;
}

/** Packets that leave by the uplink for one of a container. */
function sent(one: Host): number {
  return one.outers(1, datagram(HERE, THERE)).length;
}

/** Counts the FIB's lookups from now on. */
function countLookups(one: Host): () => number {
  const { fib4, fib6 } = one.dataplane.router.vrf(VRF);
  let count = 0;
  for (const fib of [fib4, fib6] as { lookup: (...words: number[]) => number }[]) {
    const lookup = fib.lookup.bind(fib);
    fib.lookup = (...words) => {
      count++;
      return lookup(...words);
    };
  }
  return () => count;
}

for (const family of FAMILIES) {
  test(`over IPv${family}: packets to a VTEP without a route search once; a route that comes is taken at once`, (t) => {
    const one = hostWith(family);
    const lookups = countLookups(one);
    for (let i = 0; i < PACKETS; i++) t.is(sent(one), 0);
    t.is(one.txDrops(PORT).no_route, PACKETS);
    t.is(lookups(), 1);
    setRoute(one, family);
    for (let i = 0; i < PACKETS; i++) t.is(sent(one), 1);
    t.is(one.txDrops(PORT).no_route, PACKETS);
    t.is(lookups(), 2);
    const [a, b, c, d] = wordsOf(farAway(family));
    t.true(one.dataplane.router.removeRoute(VRF, { a, b, c, d, length: 128 }));
    for (let i = 0; i < PACKETS; i++) t.is(sent(one), 0);
    t.is(one.txDrops(PORT).no_route, 2 * PACKETS);
    t.is(lookups(), 3);
    expectWhole(t, one);
  });

  test(`over IPv${family}: an uplink that comes up, or gets the local address, is taken at once`, (t) => {
    const one = hostWith(family);
    setRoute(one, family);
    const { router } = one.dataplane;
    const iface = router.interface(UPLINK_PORT);
    t.is(sent(one), 1);
    one.sentBy(() => router.setInterface(UPLINK_PORT, iface, false));
    t.is(sent(one), 0);
    t.is(sent(one), 0);
    t.is(one.txDrops(PORT).no_route, 2, 'no hop of the route is up');
    const others = {
      addresses4: Int32Array.of(wordsOf('10.77.0.50')[3], 0xffffff00 | 0),
      addresses6: Int32Array.of(...wordsOf('fd77::50'), 64),
    };
    one.sentBy(() => router.setInterface(UPLINK_PORT, { ...iface, ...others }, true));
    one.know(3);
    t.is(sent(one), 0);
    t.is(sent(one), 0);
    t.deepEqual(one.txDrops(PORT), { no_route: 2, interface_down: 2 });
    one.sentBy(() => router.setInterface(UPLINK_PORT, iface, true));
    t.is(sent(one), 1);
    expectWhole(t, one);
  });

  test(`over IPv${family}: an own VTEP that gets an address of the uplink's is found at once`, (t) => {
    const strange = wordsOf(family === 4 ? '10.77.0.99' : 'fd77::99');
    const one = hostWith(family, { vxlan: { [BLUE]: { local: strange } } });
    setRoute(one, family);
    t.is(sent(one), 0);
    t.is(sent(one), 0);
    t.deepEqual(one.txDrops(PORT), { interface_down: 2 });
    one.setLocal(BLUE);
    t.is(sent(one), 1);
    expectWhole(t, one);
  });

  test(`over IPv${family}: routes of a VRF that is removed lead nowhere at once, and of one that comes, to the VTEP`, (t) => {
    const other = 2;
    const rules = { interconnect: true, recordRoute: false, timestamp: false };
    const one = hostWith(family, { vxlan: { [BLUE]: { vrf: other } } });
    const { router } = one.dataplane;
    t.is(sent(one), 0);
    router.addVrf(other, rules);
    setRoute(one, family, other);
    t.is(sent(one), 1);
    router.removeVrf(other);
    t.is(sent(one), 0);
    t.deepEqual(one.txDrops(PORT), { no_route: 2 });
    expectWhole(t, one);
  });

  test(`over IPv${family}: the uplink that a group is sent by is searched for once`, (t) => {
    const strange = wordsOf(family === 4 ? '10.77.0.99' : 'fd77::99');
    const one = new Host(1, { family, vxlan: { [BLUE]: { local: strange } } });
    const iface = one.dataplane.router.interface(UPLINK_PORT);
    let looks = 0;
    const { owns4, owns6 } = iface;
    iface.owns4 = (address) => {
      looks++;
      return owns4.call(iface, address);
    };
    iface.owns6 = (a, b, c, d) => {
      looks++;
      return owns6.call(iface, a, b, c, d);
    };
    one.addVtep(BLUE, groupPort(BLUE), family === 4 ? '239.1.1.1' : 'ff15::1');
    for (let i = 0; i < PACKETS; i++) t.is(sent(one), 0);
    t.deepEqual(one.txDrops(groupPort(BLUE)), { interface_down: PACKETS });
    t.is(looks, 1);
    one.setLocal(BLUE);
    t.is(sent(one), 1);
    expectWhole(t, one);
  });
}
