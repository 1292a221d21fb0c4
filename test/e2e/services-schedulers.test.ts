/** Who gets which connection: ten thousand real ones by each scheduler. */

import test from 'ava';
import { countConnections, greetAll, hold, isByChance, tally } from './support/greeters.js';
import { ask } from './support/published.js';
import { backendOf, backends, CLIENTS, createServiceSite, service, weigh } from './support/services.js';
import { UPLINK } from './support/site.js';

const CONNECTIONS = 10_000;
/** Connections at a time. */
const WIDTH = 32;

test.serial('rr: each of three gets every third of 10,000 connections, whatever their weights', async (t) => {
  const { tapline, a, b, c, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b', 'c'], 80, [1, 5, 1]) }) },
  });
  await greetAll([a, b, c]);
  const { found, counts, seconds } = await countConnections(outside, UPLINK.ip, 8080, CONNECTIONS, { width: WIDTH });
  t.log(`${(CONNECTIONS / seconds).toFixed(0)} connections/s`);
  t.deepEqual(Object.values(counts).sort(), [3333, 3333, 3334], JSON.stringify(counts));
  t.is(found.length, CONNECTIONS);
  for (const name of ['a', 'b', 'c']) t.is((await backendOf(tapline, `${name}:80`)).flows, counts[name]);
  // One at a time, each is another than the two before.
  const six = (await countConnections(outside, UPLINK.ip6, 8080, 6)).found;
  t.deepEqual([...six.slice(0, 3)].sort(), ['a', 'b', 'c']);
  t.deepEqual(six.slice(3), six.slice(0, 3));
});

test.serial(
  'wrr: 10,000 connections by weight, exactly, and in each cycle; weights change while it runs',
  async (t) => {
    const { tapline, a, b, c, outside } = await createServiceSite(t, {
      services: { web: service({ scheduler: 'wrr', backends: backends(['a', 'b', 'c'], 80, [5, 2, 1]) }) },
    });
    await greetAll([a, b, c]);
    const { counts } = await countConnections(outside, UPLINK.ip, 8080, CONNECTIONS, { width: WIDTH });
    t.deepEqual(counts, { a: 6250, b: 2500, c: 1250 });
    const { found } = await countConnections(outside, UPLINK.ip, 8080, 16);
    for (const cycle of [found.slice(0, 8), found.slice(8)]) t.deepEqual(tally(cycle), { a: 5, b: 2, c: 1 });
    // Smooth: the heavy one does not get its five in a row.
    t.notRegex(found.join(''), /aaaa/);
    await weigh(tapline, 'a:80', 1);
    await weigh(tapline, 'c:80', 3);
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 600)).counts, { a: 100, b: 200, c: 300 });
  },
);

for (const [scheduler, weights, shares] of [
  ['lc', [1, 1, 1], [20, 20, 20]],
  ['wlc', [3, 2, 1], [30, 20, 10]],
] as const) {
  test.serial(`${scheduler}: those who have the fewest connections that last get the next ones`, async (t) => {
    const { tapline, a, b, c, outside } = await createServiceSite(t, {
      services: { web: service({ scheduler, backends: backends(['a', 'b', 'c'], 80, weights) }) },
    });
    await greetAll([a, b, c]);
    const names = ['a', 'b', 'c'];
    const held = await hold(outside, UPLINK.ip, 8080, 60);
    const expected = Object.fromEntries(names.map((name, i) => [name, shares[i]]));
    t.deepEqual(tally(held.greetings.map(({ name }) => name)), expected);
    for (const [i, name] of names.entries()) t.is((await backendOf(tapline, `${name}:80`)).active, shares[i], name);
    // A server that comes back with none gets all, until it has as many as the others.
    await weigh(tapline, 'c:80', 0);
    const more = await hold(outside, UPLINK.ip, 8080, 30, { pause: 0 });
    t.is(tally(more.greetings.map(({ name }) => name)).c ?? 0, 0);
    await weigh(tapline, 'c:80', weights[2]);
    const rest = await hold(outside, UPLINK.ip, 8080, 6, { pause: 0 });
    t.deepEqual(tally(rest.greetings.map(({ name }) => name)), { c: 6 });
    await held.goesOn();
    t.deepEqual(held.lost(), []);
  });
}

test.serial('sh: 10,000 clients by chance, each always with the same one; weights hold', async (t) => {
  const { tapline, a, b, c, outside } = await createServiceSite(t, {
    services: { web: service({ scheduler: 'sh', backends: backends(['a', 'b', 'c'], 80, [2, 1, 1]) }) },
  });
  await greetAll([a, b, c]);
  const clients = { width: WIDTH, sources: CONNECTIONS, base: CLIENTS.first };
  const { found, counts } = await countConnections(outside, UPLINK.ip, 8080, CONNECTIONS, clients);
  for (const [name, share] of [
    ['a', 0.5],
    ['b', 0.25],
    ['c', 0.25],
  ] as const) {
    t.true(isByChance(counts[name] ?? 0, share, CONNECTIONS), `${name}: ${counts[name]}`);
  }
  const again = await countConnections(outside, UPLINK.ip, 8080, 2000, clients);
  t.deepEqual(again.found, found.slice(0, 2000), 'from other ports');
  // Without c, its clients go elsewhere; of the others all but few stay.
  await weigh(tapline, 'c:80', 0);
  const without = await countConnections(outside, UPLINK.ip, 8080, 2000, clients);
  const moved = without.found.filter((name, i) => name !== found[i] && found[i] !== 'c').length;
  t.is(without.counts.c ?? 0, 0);
  t.true(moved <= 2000 * 0.01, `${moved} of 2000 moved that had no need to`);
});

test.serial('maglev: one client’s 10,000 connections by chance; the same ports find the same ones again', async (t) => {
  const { tapline, a, b, c, d, outside } = await createServiceSite(t, {
    services: {
      web: service({ scheduler: 'maglev', listen: ['8080/tcp', '8080/udp'], backends: backends(['a', 'b', 'c'], 80) }),
    },
  });
  await greetAll([a, b, c, d]);
  const { counts } = await countConnections(outside, UPLINK.ip, 8080, CONNECTIONS, { width: WIDTH });
  for (const name of ['a', 'b', 'c']) t.true(isByChance(counts[name] ?? 0, 1 / 3, CONNECTIONS), JSON.stringify(counts));
  const asked = async (): Promise<(string | undefined)[]> => {
    const names = [];
    for (let own = 43_000; own < 43_030; own++) names.push((await ask(t, outside, UPLINK.ip, 8080, own))?.name);
    return names;
  };
  const before = await asked();
  t.is(new Set(before).size, 3, before.join(' '));
  // Flows that there are stay whatever is added.
  await tapline.ok('service', 'backends', 'web', 'add', 'd:80');
  t.deepEqual(await asked(), before);
  const four = await countConnections(outside, UPLINK.ip6, 8080, 4000, { width: WIDTH });
  for (const name of ['a', 'b', 'c', 'd'])
    t.true(isByChance(four.counts[name] ?? 0, 1 / 4, 4000), JSON.stringify(four.counts));
});
