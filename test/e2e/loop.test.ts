/** A real loop: two endpoints whose containers are joined behind the switch's back. It is found, cut and said, and others go on. */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { createHosts, type Host, SUBNETS } from './support/lab.js';
import { createNamespace } from './support/namespace.js';
import { ENGINES, type Engine, startTapline, type Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';
import { createVeth, pings } from './support/wire.js';

const OFF = { security: 'off' };
const QUARANTINE = 3;
/** USER_HZ, which Linux has at 100 towards user space on every architecture that Node runs on. */
const TICKS = 100;

/** Share of one processor that a process has used within the next second. */
async function load(pid: number): Promise<number> {
  const used = (): number => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  };
  const [before, started] = [used(), Date.now()];
  await sleep(1000);
  return (used() - before) / ((Date.now() - started) / 1000);
}

/** Endpoints c and d talk; x and y are behind the loop. */
async function start(
  t: ExecutionContext,
  engine: Engine,
  places: { x: object; y: object },
): Promise<[Tapline, Host, Host]> {
  const [c, d] = (await createHosts(t, 2)) as [Host, Host];
  const talker = ({ path, ip, ip6 }: Host): object => ({ network: 'blue', netns: path, addresses: [ip, ip6], ...OFF });
  const config = {
    version: 1,
    networks: { blue: { subnets: SUBNETS, loop_protection: { quarantine: QUARANTINE } } },
    endpoints: {
      c: talker(c),
      d: talker(d),
      x: { network: 'blue', ...OFF, ...places.x },
      y: { network: 'blue', ...OFF, ...places.y },
    },
  };
  return [await startTapline(t, config, { engine }), c, d];
}

async function survived(t: ExecutionContext, tapline: Tapline, c: Host, d: Host): Promise<void> {
  // Any broadcast: the address of nobody.
  c.start('ping', '-n', '-i', '0.5', '172.30.0.99');
  let quarantine = { port: '', text: '' };
  // The word on it comes a moment after the quarantine.
  await eventually('a port in quarantine', async () => {
    quarantine = (await tapline.status()).quarantined[0] ?? quarantine;
    return quarantine.text !== '';
  });
  const { port, text } = quarantine;
  t.regex(text, new RegExp(`port ${port} is quarantined for ${QUARANTINE} seconds`));
  t.true(port === 'x' || port === 'y', `${port} is in quarantine`);
  const events = await tapline.events();
  const found = events.find(({ kind }) => kind === 'port-quarantined');
  t.is(found?.count, QUARANTINE);
  t.is(found?.network, 'blue');
  t.true(events.some(({ kind }) => kind === 'mac-flapping'));
  t.true(await pings(c, d.ip));
  t.true(await pings(d, c.ip6));
  await eventually('its release', async () =>
    (await tapline.events()).some((event) => event.kind === 'port-released' && event.port === found?.port),
  );
}

for (const engine of ENGINES) {
  test.serial(`${engine}: two endpoints in one container with a bridge between them`, async (t) => {
    const inside = await createNamespace(t);
    const place = { netns: inside.path };
    const [tapline, c, d] = await start(t, engine, {
      x: { ...place, interface: 'eth0' },
      y: { ...place, interface: 'eth1' },
    });
    t.true(await pings(c, d.ip));
    await inside.exec('ip', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
    for (const device of ['eth0', 'eth1']) await inside.exec('ip', 'link', 'set', device, 'master', 'br0');
    await inside.exec('ip', 'link', 'set', 'br0', 'up');
    await survived(t, tapline, c, d);

    // With the loop gone the port stays released, and the processor has nothing to do.
    await inside.exec('ip', 'link', 'set', 'br0', 'down');
    await eventually('both ports to forward', async () =>
      (await tapline.ports()).every(({ state }) => state === 'forwarding'),
    );
    await tapline.quiet();
    t.true((await load(tapline.pid)) < 0.3);
    t.true(await pings(c, d.ip));
  });
}

test.serial(
  'two containers joined by a veth, each with a bridge: while a port is in quarantine nothing circles',
  async (t) => {
    const [left, right] = [await createNamespace(t), await createNamespace(t)];
    const [tapline, c, d] = await start(t, 'uring', { x: { netns: left.path }, y: { netns: right.path } });
    await createVeth(left, 'cable', right, 'cable');
    for (const namespace of [left, right]) {
      await namespace.exec('ip', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
      for (const device of ['eth0', 'cable']) await namespace.exec('ip', 'link', 'set', device, 'master', 'br0');
      await namespace.exec('ip', 'link', 'set', 'br0', 'up');
    }
    await survived(t, tapline, c, d);
    const { rxDrops, txDrops } = (await tapline.status()).totals;
    t.true((rxDrops.quarantined ?? 0) + (txDrops.quarantined ?? 0) > 0);
  },
);

test.serial("security keeps the loop from the endpoints' own MACs", async (t) => {
  const inside = await createNamespace(t);
  const [a, b] = (await createHosts(t, 2)) as [Host, Host];
  const endpoint = ({ path, ip, ip6 }: Host): object => ({ network: 'blue', netns: path, addresses: [ip, ip6] });
  const looped = (device: string): object => ({ network: 'blue', netns: inside.path, interface: device });
  const tapline = await startTapline(t, {
    version: 1,
    networks: { blue: { subnets: SUBNETS } },
    endpoints: { a: endpoint(a), b: endpoint(b), x: looped('eth0'), y: looped('eth1') },
  });
  await inside.exec('ip', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
  for (const device of ['eth0', 'eth1']) await inside.exec('ip', 'link', 'set', device, 'master', 'br0');
  await inside.exec('ip', 'link', 'set', 'br0', 'up');
  t.true(await pings(a, b.ip));
  t.true(await pings(b, a.ip6));
  const ports = [await tapline.port('x'), await tapline.port('y')];
  t.true(
    ports.some(({ rxDrops }) => (rxDrops.source_mac ?? 0) > 0),
    'what came round was dropped',
  );
  t.is(await tapline.fdbPort(a.mac), 'a');
  t.deepEqual((await tapline.status()).quarantined, []);
});
