/** Clients that come back, for whom their backend is kept; and so many of them at once that they are no longer noted. */

import test from 'ava';
import { countConnections, greetAll, hold, isByChance, tally } from './support/greeters.js';
import { createServiceSite, service, serviceOf } from './support/services.js';
import { UPLINK } from './support/site.js';
import { eventually, sleep } from './support/wait.js';

/** Connections at a time. */
const WIDTH = 32;

test.serial('affinity: a client comes back to whom it has found, until it has been away for so long', async (t) => {
  const { a, b, c, outside } = await createServiceSite(t, { services: { web: service({ affinity: 3 }) } });
  await greetAll([a, b, c]);
  const come = async (client: string): Promise<string[]> => [
    ...new Set((await countConnections(outside, UPLINK.ip, 8080, 20, { sources: 1, base: client })).found),
  ];
  const [first, second] = [await come('10.78.1.1'), await come('10.78.1.2')];
  t.is(first.length, 1);
  t.is(second.length, 1);
  t.not(first[0], second[0], 'another client is the next one’s turn');
  t.deepEqual(await come('10.78.1.1'), first);
  await sleep(4500);
  const third = await come('10.78.1.1');
  t.is(third.length, 1);
  t.false([first[0], second[0]].includes(third[0]), 'balanced anew: the third one’s turn');
  // Each flow counts from its begin: who keeps coming keeps its backend for longer than the time.
  for (let i = 0; i < 5; i++) {
    await sleep(1000);
    t.deepEqual(await come('10.78.1.1'), third);
  }
});

for (const scheduler of ['rr', 'maglev']) {
  test.serial(
    `${scheduler}: a flood of new connections is spread by hash and not noted; none fails, before or after`,
    async (t) => {
      const { tapline, a, b, c, outside } = await createServiceSite(t, {
        services: { web: service({ scheduler, flood_rate: 200 }) },
      });
      await greetAll([a, b, c]);
      const kinds = async (): Promise<string[]> =>
        (await tapline.events()).map(({ kind }) => kind as string).filter((kind) => kind.startsWith('service-flood'));
      const early = await hold(outside, UPLINK.ip, 8080, 6);
      const flood = countConnections(outside, UPLINK.ip, 8080, 15_000, { width: WIDTH });
      await eventually('the flood to be seen', async () => (await kinds()).length > 0);
      // They begin in the middle of it.
      const late = await hold(outside, UPLINK.ip, 8080, 12);
      await late.goesOn();
      const { counts } = await flood;
      t.is((counts.a ?? 0) + (counts.b ?? 0) + (counts.c ?? 0), 15_000, JSON.stringify(counts));
      for (const name of ['a', 'b', 'c']) t.true(isByChance(counts[name] ?? 0, 1 / 3, 15_000), JSON.stringify(counts));
      const { flows } = await serviceOf(tapline);
      t.true(flows < 10_000, `${flows} connections noted`);
      await eventually('the flood to be over', async () => (await kinds()).includes('service-flood-over'));
      for (const holder of [early, late]) {
        await holder.goesOn();
        t.deepEqual(holder.lost(), []);
      }
      const { found } = await countConnections(outside, UPLINK.ip, 8080, 6);
      t.deepEqual(tally(found.map((name) => (['a', 'b', 'c'].includes(name) ? 'found' : name))), { found: 6 });
    },
  );
}
