/** The learning bridge seen from its ports: who gets which frame, how often, and what the FDB says about it. */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { sendFrames, TEST_FILTER, tcpdump, testFrame, testText } from './support/frames.js';
import { createLab, type Host } from './support/lab.js';
import { ENGINES } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

/** Sent last in every test: when everybody has seen it, everything before it has been seen as well. */
const END = 'end of the test';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
/** Hosts that may send from any MAC, as these tests do. */
const OPEN = { all: { security: 'off' } };

/** Texts of the test frames that come in at each host while `send` runs, without the final broadcast by `ender`. */
async function received(
  t: ExecutionContext,
  hosts: readonly Host[],
  ender: Host,
  send: () => Promise<void>,
): Promise<string[][]> {
  const captures = await Promise.all(hosts.map((host) => tcpdump(t, host, { direction: 'in', filter: TEST_FILTER })));
  await send();
  await sendFrames(ender, [testFrame(BROADCAST, ender.mac, END)]);
  await Promise.all(captures.filter((_, index) => hosts[index] !== ender).map((capture) => capture.has(END)));
  await sleep(100); // the sender does not get its own; what it wrongly gets comes with the others' at the latest
  const frames = await Promise.all(captures.map((capture) => capture.frames()));
  return frames.map((list) => list.map(testText).filter((text) => text !== END));
}

for (const engine of ENGINES) {
  test.serial(
    `${engine}: broadcast, multicast and unknown unicast reach all others once, and not the sender`,
    async (t) => {
      const { hosts, tapline } = await createLab(t, { engine, hosts: 4, endpoints: OPEN });
      const [a] = hosts as [Host];
      const destinations = [BROADCAST, '01:00:5e:01:02:03', '33:33:00:00:12:34', '02:00:00:00:99:99'];
      const before = await tapline.quiet();
      const texts = await received(t, hosts, a, () =>
        sendFrames(
          a,
          destinations.map((destination) => testFrame(destination, a.mac, destination)),
        ),
      );
      t.deepEqual(texts, [[], destinations, destinations, destinations]);
      const after = await tapline.quiet();
      t.true(after.copies - before.copies >= 2 * (destinations.length + 1));
      const made = after.received + after.originated + after.copies;
      t.is(made, after.delivered + after.local + after.drops.reduce((sum, { rx, tx }) => sum + rx + tx, 0));
    },
  );

  test.serial(`${engine}: a known address gets its frames alone; a moved one gets them at its new place`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine, hosts: 3, endpoints: OPEN });
    const [a, b, c] = hosts as [Host, Host, Host];
    const moving = '02:00:00:00:77:01';
    await sendFrames(a, [testFrame(BROADCAST, moving, 'hello from a')]);
    t.is(await tapline.fdbPort(moving), 'a');
    const known = await received(t, hosts, c, () => sendFrames(c, [testFrame(moving, c.mac, 'to a')]));
    t.deepEqual(known, [['to a'], [], []]);

    await sendFrames(b, [testFrame(BROADCAST, moving, 'hello from b')]);
    t.is(await tapline.fdbPort(moving), 'b');
    const moved = await received(t, hosts, c, () => sendFrames(c, [testFrame(moving, c.mac, 'to b')]));
    t.deepEqual(moved, [[], ['to b'], []]);
    t.is((await tapline.fdb()).filter(({ mac }) => mac === moving).length, 1);
  });

  test.serial(`${engine}: what a bridge must not forward is a drop with its reason`, async (t) => {
    const { hosts, tapline } = await createLab(t, { engine, hosts: 3, endpoints: OPEN });
    const [a, b] = hosts as [Host, Host];
    const own = '02:00:00:00:55:01';
    await sendFrames(a, [testFrame(BROADCAST, own, 'learn')]);
    const before = (await tapline.port('a')).rxDrops;
    const texts = await received(t, hosts, b, () =>
      sendFrames(a, [
        testFrame('01:80:c2:00:00:00', a.mac, 'spanning tree'),
        testFrame('01:80:c2:00:00:0e', a.mac, 'LLDP'),
        testFrame(BROADCAST, '03:00:00:00:00:01', 'from a group address'),
        testFrame(own, a.mac, 'to where it came from'),
      ]),
    );
    t.deepEqual(texts, [[], [], []]);
    const { rxDrops } = await tapline.port('a');
    const grown = (reason: string): number => (rxDrops[reason] ?? 0) - (before[reason] ?? 0);
    t.is(grown('reserved_multicast'), 2);
    t.is(grown('source_multicast'), 1);
    t.is(grown('hairpin'), 1);
    const shown = (await tapline.drops()).ports.find(({ port }) => port === 'a');
    t.is(shown?.drops.find(({ reason }) => reason === 'hairpin')?.rx, 1);
  });
}

test.serial('a port that is alone has nobody to send to, and says so', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 1 });
  const [a] = hosts as [Host];
  const before = (await tapline.port('a')).rxDrops.no_destination ?? 0;
  await sendFrames(a, [testFrame(BROADCAST, a.mac, 'anybody')]);
  await tapline.quiet();
  t.true(((await tapline.port('a')).rxDrops.no_destination ?? 0) > before);
});

test.serial('an address that was not heard of for the ageing time is forgotten, and flooded to again', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 3, network: { ageing: 10 }, endpoints: OPEN });
  const [a, b, c] = hosts as [Host, Host, Host];
  const silent = '02:00:00:00:88:01';
  await sendFrames(a, [testFrame(BROADCAST, silent, 'hello')]);
  const alone = await received(t, hosts, b, () => sendFrames(b, [testFrame(silent, b.mac, 'known')]));
  t.deepEqual(alone, [['known'], [], []]);
  const entry = (await tapline.fdb()).find(({ mac }) => mac === silent);
  t.true(entry !== undefined && entry.ageSeconds <= 5 && entry.network === 'blue' && !entry.static);

  await sleep(10_000);
  // The sweep that forgets passes the table once in some seconds.
  const capture = await tcpdump(t, c, { direction: 'in', filter: TEST_FILTER });
  await eventually('the frame to be flooded', async () => {
    await sendFrames(b, [testFrame(silent, b.mac, 'unknown')]);
    return readFileSync(capture.path).includes('unknown');
  });
  t.is(await tapline.fdbPort(silent), undefined);
});

test.serial('a full FDB goes on forwarding, and says that it is full', async (t) => {
  const { hosts, tapline } = await createLab(t, { hosts: 3, network: { fdb_limit: 8 }, endpoints: OPEN });
  const [a] = hosts as [Host];
  const frames = Array.from({ length: 40 }, (_, i) => {
    return testFrame(BROADCAST, `02:00:00:00:66:${i.toString(16).padStart(2, '0')}`, `frame ${i}`);
  });
  const texts = await received(t, hosts, a, () => sendFrames(a, frames));
  const expected = frames.map(testText);
  t.deepEqual(texts, [[], expected, expected]);
  const { fdbEntries, fdbFull } = await tapline.status();
  t.true(fdbEntries <= 8);
  t.true(fdbFull >= 32);
  t.is((await tapline.fdb()).length, fdbEntries);
});
