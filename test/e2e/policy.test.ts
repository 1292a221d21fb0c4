/** Who talks to whom by the policy, with real traffic: inside a network, from network to network, from outside; and rules that change. */

import test, { type ExecutionContext } from 'ava';
import type { PolicyRuleView } from '../../control/policy.js';
import { AGENT_PORT, type Agent, ping, startAgent } from './support/agent.js';
import { droppedFor } from './support/identity.js';
import { iperfServer } from './support/iperf.js';
import type { Host } from './support/lab.js';
import { accounted, createSite, OUTSIDE, type Site, UPLINK } from './support/site.js';
import type { Tapline } from './support/tapline.js';
import { eventually, sleep } from './support/wait.js';

const SERVICE = ['--proto', 'tcp', '--port', String(AGENT_PORT)];
const REFUSED = { error: 'ECONNREFUSED' } as const;
/** What a kernel makes of ICMP's administratively prohibited: IPv4, IPv6. */
const PROHIBITED = [{ error: 'EHOSTUNREACH' }, { error: 'EACCES' }];
const SILENCE = { error: 'ETIMEDOUT' } as const;

async function rules(tapline: Tapline): Promise<PolicyRuleView[]> {
  return JSON.parse(await tapline.ok('policy', 'ls', '--json')) as PolicyRuleView[];
}

/** The addresses of a host, IPv4 first. */
const both = ({ ip, ip6 }: Host): string[] => [ip, ip6];

async function agents<T extends string>(
  t: Parameters<typeof startAgent>[0],
  site: Site,
  ...names: T[]
): Promise<Record<T, Agent>> {
  const started = names.map(async (name) => [name, await startAgent(t, site[name as 'a'], name)] as const);
  return Object.fromEntries(await Promise.all(started)) as Record<T, Agent>;
}

test.serial('inside a network: drop is silence, reject is an answer, and the rest goes on', async (t) => {
  const site = await createSite(t);
  const { tapline, a, b } = site;
  const { a: asker } = await agents(t, site, 'a', 'b');
  for (const address of both(b)) t.like(await asker.ask(address), { name: 'b' });
  t.is(await tapline.ok('policy', 'add', 'drop', '--from', 'a', '--to', 'b', ...SERVICE), '1\n');
  for (const address of both(b)) {
    t.deepEqual(await asker.ask(address), SILENCE);
    t.is(await ping(a, address), 'reply');
  }
  const [rule] = await rules(tapline);
  t.like(rule, { number: 1, from: { endpoint: 'a' }, to: { endpoint: 'b' }, action: 'drop', state: 'active' });
  t.true((rule?.hits ?? 0) >= 2, String(rule?.hits));
  t.is(droppedFor(await tapline.quiet(), 'policy'), rule?.hits);
  await tapline.ok('policy', 'add', 'reject', '--to', 'b', '--position', '1');
  for (const address of both(b)) {
    t.deepEqual(await asker.ask(address), REFUSED);
    t.is(await ping(a, address), 'filtered');
  }
  await tapline.ok('policy', 'rm', '1', '2');
  for (const address of both(b)) t.like(await asker.ask(address), { name: 'b' });
  await accounted(tapline);
});

test.serial('a network that lets nobody in but those that a rule names, neighbors included', async (t) => {
  const site = await createSite(t, { blue: { policy: 'drop' } });
  const { tapline, a, b, c } = site;
  const people = await agents(t, site, 'a', 'b', 'c');
  await tapline.ok('policy', 'add', 'accept', '--from', 'c', '--to', 'b', ...SERVICE);
  for (const [i, address] of both(b).entries()) {
    t.deepEqual(await people.a.ask(address), SILENCE);
    t.deepEqual(await people.c.ask(address), { name: 'b', seenAs: both(c)[i] });
    t.is(await ping(c, address), 'silence');
  }
  // What goes out of it, and comes back.
  for (const address of both(c)) t.like(await people.b.ask(address), { name: 'c' });
  t.is(await ping(a, OUTSIDE.ip), 'reply');
  const fallback = (await rules(tapline)).at(-1);
  t.like(fallback, { number: null, to: { network: 'blue' }, action: 'drop' });
  t.true((fallback?.hits ?? 0) >= 4, String(fallback?.hits));
  await accounted(tapline);
});

test.serial('a rule lets two networks talk that otherwise do not, in its direction alone', async (t) => {
  const site = await createSite(t, { vrf: { interconnect: false } });
  const { tapline, a, c } = site;
  const people = await agents(t, site, 'a', 'b', 'c');
  t.is(await ping(a, c.ip), 'filtered');
  await tapline.ok('policy', 'add', 'accept', '--from', 'a', '--to-network', 'green', ...SERVICE);
  for (const [i, address] of both(c).entries()) {
    t.deepEqual(await people.a.ask(address), { name: 'c', seenAs: both(a)[i] });
    t.deepEqual(await people.b.ask(address), PROHIBITED[i]);
    t.is(await ping(a, address), 'filtered');
  }
  for (const [i, address] of both(a).entries()) t.deepEqual(await people.c.ask(address), PROHIBITED[i]);
  await tapline.ok('policy', 'rm', '1');
  for (const [i, address] of both(c).entries()) t.deepEqual(await people.a.ask(address), PROHIBITED[i]);
  await accounted(tapline);
});

test.serial('a published port: closed to some by what they ask for, or by what they would reach', async (t) => {
  const site = await createSite(t, {
    endpoint: { a: { publish: [`9000:${AGENT_PORT}`, `${AGENT_PORT}:${AGENT_PORT}`] } },
  });
  const { tapline } = site;
  await agents(t, site, 'a');
  const outside = await startAgent(t, site.outside, 'outside');
  t.deepEqual(await outside.ask(UPLINK.ip), { name: 'a', seenAs: OUTSIDE.ip });
  for (const match of [
    ['--to-cidr', `${UPLINK.ip}/32`, ...SERVICE],
    ['--to', 'a', ...SERVICE],
    ['--from-cidr', '10.77.0.0/24'],
  ]) {
    await tapline.ok('policy', 'add', 'reject', ...match);
    t.deepEqual(await outside.ask(UPLINK.ip), REFUSED, match.join(' '));
    await tapline.ok('policy', 'rm', '1');
  }
  // The other published port leads to the same place.
  await tapline.ok('policy', 'add', 'drop', '--to-cidr', `${UPLINK.ip}/32`, '--proto', 'tcp', '--port', '9000');
  t.like(await outside.ask(UPLINK.ip), { name: 'a' });
  await accounted(tapline);
});

/** Bytes that count as traffic; a kernel says a few hundred about its neighbors. */
const TRAFFIC = 1_000_000;
const CHATTER = 10_000;
/** Milliseconds that a transfer may take to go on: its sender asks less and less often whether it may. */
const GOES_ON_MS = 60_000;

/** A transfer over one connection that passes, is held up by a rule, and goes on when the rule goes. */
async function interrupted(
  t: ExecutionContext,
  tapline: Tapline,
  from: Host,
  to: Host,
  address: string,
): Promise<void> {
  const came = async (): Promise<number> => (await tapline.port(to.endpoint)).txBytes;
  const passes = async (): Promise<void> => {
    const before = await came();
    await eventually('data to pass', async () => (await came()) - before > TRAFFIC, GOES_ON_MS);
  };
  await iperfServer(to);
  const transfer = from.start('iperf3', '--client', address, '--time', '300');
  await passes();
  await tapline.ok('policy', 'add', 'drop', '--from', from.endpoint, '--to', to.endpoint);
  const held = await came();
  await sleep(2000);
  const meanwhile = (await came()) - held;
  t.true(meanwhile < CHATTER, `meanwhile ${meanwhile} bytes`);
  await tapline.ok('policy', 'rm', '1');
  await passes();
  t.true(transfer.running());
  await transfer.stop('SIGKILL');
}

test.serial('rules that change hold for connections that run, through the bridge and through the router', async (t) => {
  const { tapline, a, b, c } = await createSite(t);
  for (const [server, address] of [
    [b, b.ip],
    [c, c.ip6],
  ] as const)
    await interrupted(t, tapline, a, server, address);
  await accounted(tapline);
});
