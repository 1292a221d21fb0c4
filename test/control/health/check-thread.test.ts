/** The real thread: where its sockets are, and that nothing of it is left. */

import { existsSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { startCheckThread } from '../../../control/health/check-thread.js';
import type { Result, Target } from '../../../control/health/messages.js';
import { linkFacts, runIpBatch } from '../../../io/interface.js';
import { withNamespace } from '../../../io/netns.js';

const TARGET: Target = {
  id: 1,
  address: '127.0.0.1',
  port: 0,
  http: null,
  interval: 100,
  timeout: 1000,
  rise: 1,
  fall: 1,
  up: null,
};

async function eventually(t: ExecutionContext, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !condition(); ) {
    if (Date.now() > end) t.fail(`in vain: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('its sockets are in a namespace of its own, which ends with it', async (t) => {
  const results: Result[] = [];
  const home = readlinkSync('/proc/self/ns/net');
  const thread = await startCheckThread({ result: (result) => results.push(result), ended: (why) => t.fail(why) });
  t.teardown(() => thread.stop());
  t.not(readlinkSync(thread.netns), home);
  t.is(readlinkSync('/proc/self/ns/net'), home);
  // A loopback of its own, which is down as yet.
  t.is(withNamespace(thread.netns, () => linkFacts('lo'))?.enabled, false);
  const server = createServer((socket) => socket.destroy());
  t.teardown(() => server.close());
  const port = await new Promise<number>((resolve) =>
    // Without an address to listen on: else the socket is made later, and elsewhere.
    withNamespace(thread.netns, () => server.listen(0, () => resolve((server.address() as { port: number }).port))),
  );
  thread.order({ op: 'check', targets: [{ ...TARGET, port }] });
  await eventually(t, () => results.length === 1);
  t.like(results[0], { id: 1, up: false, reason: `127.0.0.1:${port} is not reached (ENETUNREACH)` });
  await runIpBatch(thread.netns, ['link set dev lo up']);
  await eventually(t, () => results.length === 2);
  t.like(results[1], { id: 1, up: true, reason: '' });
  thread.order({ op: 'forget', ids: [1] });
  await thread.stop();
  t.false(existsSync(thread.netns));
});

test('one that ends by itself is told', async (t) => {
  const whys: string[] = [];
  const thread = await startCheckThread({ result: () => undefined, ended: (why) => whys.push(why) });
  t.teardown(() => thread.stop());
  // An order that is none: its thread does not go on with what it does not understand.
  thread.order({ op: 'forget' } as never);
  await eventually(t, () => whys.length === 1);
  t.regex(whys[0] as string, /not iterable|undefined/);
  await eventually(t, () => !existsSync(thread.netns));
});
