/**
 * Networks as Docker's users know them, each against the reachability that it promises: who reaches whom, in both families, with
 * ping and with TCP, by which source address he is seen, and what the router counts where it refuses.
 *
 * With TAPLINE_REPORT=PATH in the environment the matrix is written there in Markdown, row by row.
 */

import test from 'ava';
import { type Agent, type PingResult, ping, startAgent } from './support/agent.js';
import {
  type Addresses,
  addressIn,
  type City,
  createCity,
  FAMILIES,
  type Family,
  type Place,
  WIRE,
} from './support/city.js';
import { accounted, droppedFor } from './support/identity.js';
import type { Namespace } from './support/namespace.js';
import { startReport, tableRow } from './support/report.js';

/** What one gets who asks another. */
interface Outcome {
  readonly ping: PingResult;
  /** True: the asked one answers, and sees the asker's own address; else the errno. */
  readonly tcp: true | Readonly<Record<Family, string>>;
  /** Drop reason that grows by each attempt; null: none of the router's does. */
  readonly reason: string | null;
}

const both = (error: string): Record<Family, string> => ({ 4: error, 6: error });
/** What Linux makes of "administratively prohibited". */
const FILTERED = { 4: 'EHOSTUNREACH', 6: 'EACCES' };

const OUTCOMES: Readonly<Record<string, Outcome>> = {
  yes: { ping: 'reply', tcp: true, reason: null },
  // An address of the router: it answers echo requests, and nobody listens.
  echo: { ping: 'reply', tcp: both('ECONNREFUSED'), reason: 'not_listening' },
  'echo only': { ping: 'reply', tcp: FILTERED, reason: 'host_access' },
  prohibited: { ping: 'filtered', tcp: FILTERED, reason: 'prohibited' },
  internal: { ping: 'filtered', tcp: FILTERED, reason: 'internal' },
  host_access: { ping: 'filtered', tcp: FILTERED, reason: 'host_access' },
  neighbor_failed: { ping: 'host unreachable', tcp: both('EHOSTUNREACH'), reason: 'neighbor_failed' },
  no_route: { ping: 'net unreachable', tcp: both('ENETUNREACH'), reason: 'no_route' },
  // Tapline sends it out by its default route; the router there has none.
  'no route outside': { ping: 'net unreachable', tcp: both('ENETUNREACH'), reason: null },
  // Nobody answers ARP or neighbor discovery.
  unresolved: { ping: 'host unreachable', tcp: both('EHOSTUNREACH'), reason: null },
  // The asker's own kernel knows no way.
  nowhere: { ping: 'nowhere', tcp: both('ENETUNREACH'), reason: null },
};

/** Counted only where the router decides. */
const ROUTER_REASONS = [...new Set(Object.values(OUTCOMES).flatMap(({ reason }) => reason ?? []))];

const PLACES: readonly Place[] = [
  { network: 'default', subnet: 30, config: {}, people: ['ann', 'ben'] },
  { network: 'blue', subnet: 31, config: {}, people: ['bob'] },
  { network: 'inner', subnet: 32, config: { internal: true }, people: ['ida', 'ivo'] },
  { network: 'vault', subnet: 33, config: { internal: true, host: true }, people: ['vic'] },
  { network: 'lonely', subnet: 34, config: { isolated: true }, people: ['leo', 'lou'] },
  { network: 'work', subnet: 35, config: { host: true }, people: ['wim'] },
  // A VRF of its own, which interconnects; the first has the subnets of `default`, so that xia's addresses are ann's.
  { network: 'lab-a', subnet: 30, config: { vrf: 'lab' }, people: ['xia'] },
  { network: 'lab-b', subnet: 36, config: { vrf: 'lab' }, people: ['yan'] },
];
const WORK_GATEWAY = addressIn(35, 1);

/**
 * Who (row) gets what of whom (column). `gateway` is the asker's own; `host` is the gateway's address in `work`, which is the
 * host's own. A name other than the column's: that is who answers at the address.
 */
const PROMISED = `
        | ann        | ben        | bob        | ida      | vic      | leo        | lou        | wim         | yan              | outside  | gateway | host
ann     | -          | yes        | prohibited | internal | internal | prohibited | prohibited | prohibited  | no route outside | yes      | echo    | prohibited
bob     | prohibited | prohibited | -          | internal | internal | prohibited | prohibited | prohibited  | no route outside | yes      | echo    | prohibited
ida     | internal   | internal   | internal   | -        | internal | internal   | internal   | internal    | internal         | internal | echo    | internal
ivo     | internal   | internal   | internal   | yes      | internal | internal   | internal   | internal    | internal         | internal | echo    | internal
vic     | internal   | internal   | internal   | internal | -        | internal   | internal   | internal    | internal         | internal | host    | internal
leo     | prohibited | prohibited | prohibited | internal | internal | -          | unresolved | prohibited  | no route outside | yes      | echo    | prohibited
wim     | prohibited | prohibited | prohibited | internal | internal | prohibited | prohibited | -           | no route outside | yes      | host    | host
xia     | -          | unresolved | no_route   | no_route | no_route | no_route   | no_route   | no_route    | yes              | no_route | echo    | no_route
yan     | xia        | neighbor_failed | no_route   | no_route | no_route | no_route   | no_route   | no_route    | -                | no_route | echo    | no_route
outside | yes        | yes        | yes        | internal | internal | yes        | yes        | yes         | nowhere          | -        | echo    | echo only
host    | host_access| host_access| host_access| host_access | yes   | host_access| host_access| yes         | host_access      | host_access | -    | -
`;

/** Rows by asker: outcomes by asked. */
function promised(): Map<string, Map<string, string>> {
  const [head = [], ...rows] = PROMISED.trim()
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()));
  // The head's first cell is empty, and is cut with the text's own margin.
  const names = head.filter((name) => name !== '');
  return new Map(rows.map(([from = '', ...cells]) => [from, new Map(names.map((name, i) => [name, cells[i] ?? '']))]));
}

interface Asker {
  readonly agent: Agent;
  readonly namespace: Namespace;
  readonly addresses: Addresses;
  /** Of its router. */
  readonly gateway: Addresses;
}

function askers({ people, host }: City, hostAgent: Agent): Map<string, Asker> {
  const result = new Map<string, Asker>();
  for (const { subnet, people: names } of PLACES) {
    for (const name of names) result.set(name, { ...people.get(name)!, gateway: addressIn(subnet, 1) });
  }
  result.set('outside', { ...people.get('outside')!, gateway: WIRE });
  result.set('host', { agent: hostAgent, namespace: host, addresses: WORK_GATEWAY, gateway: WORK_GATEWAY });
  return result;
}

/** The way that root in a container, or on the host, can always make himself. */
async function addDefaultRoutes({ namespace, gateway }: Asker): Promise<void> {
  for (const family of FAMILIES)
    await namespace.exec('ip', `-${family}`, 'route', 'add', 'default', 'via', gateway[family]);
}

/** The host's default routes lead into Tapline, by the router that it already knows there. */
async function routeHostByTapline(host: Namespace): Promise<void> {
  for (const family of FAMILIES) {
    const text = await host.exec('ip', '-json', `-${family}`, 'route', 'show', 'dev', 'tapline0');
    const route = (JSON.parse(text) as { gateway?: string }[]).find(({ gateway }) => gateway !== undefined);
    await host.exec('ip', `-${family}`, 'route', 'add', 'default', 'via', route!.gateway!, 'dev', 'tapline0');
  }
}

/** What the host is seen as: the gateway's address of the network that it talks to. */
function seenAs(from: string, asker: Asker, address: string, family: Family): string {
  if (from !== 'host') return asker.addresses[family];
  return family === 4 ? address.replace(/\d+$/, '1') : address.replace(/[^:]+$/, '1');
}

/** One asks another. @returns what was seen in the words of OUTCOMES, or all that was seen where that is none of them */
async function look(city: City, from: string, asker: Asker, address: string, family: Family): Promise<string> {
  const before = await city.tapline.drops();
  const pinged = await ping(asker.namespace, address);
  const answer = await asker.agent.ask(address);
  const after = await city.tapline.drops();
  const grown = ROUTER_REASONS.filter((reason) => droppedFor(after, reason) > droppedFor(before, reason));
  const isOwn = 'name' in answer && answer.seenAs === seenAs(from, asker, address, family);
  const tcp = 'name' in answer ? isOwn : answer.error;
  for (const [word, outcome] of Object.entries(OUTCOMES)) {
    const expected = outcome.tcp === true || outcome.tcp[family];
    const reasons = outcome.reason === null ? [] : [outcome.reason];
    if (pinged !== outcome.ping || tcp !== expected || `${grown}` !== `${reasons}`) continue;
    return word === 'yes' && 'name' in answer ? answer.name : word;
  }
  return JSON.stringify({ pinged, answer, grown });
}

test.serial('who reaches whom: every kind of network, the host and the outside, in both families', async (t) => {
  t.timeout(600_000);
  const city = await createCity(t, PLACES, ['lab-a', 'lab-b']);
  const all = askers(city, await startAgent(t, city.host, 'host'));
  for (const name of ['ida', 'ivo', 'vic']) {
    for (const family of FAMILIES) {
      t.is(
        await ping(all.get(name)!.namespace, all.get('bob')!.addresses[family]),
        'nowhere',
        `${name} has no way out`,
      );
    }
    await addDefaultRoutes(all.get(name)!);
  }
  await routeHostByTapline(city.host);

  const line = startReport('Who reaches whom');
  line('');
  for (const { network, config, people } of PLACES)
    line(`- ${people.join(', ')}: network ${network} ${JSON.stringify(config)}`);
  line("- outside: a host behind the own uplink of VRF default; gateway: the row's own; host: the gateway of work");
  const rows = promised();
  const columns = [...rows.values().next().value!.keys()];
  for (const family of FAMILIES) {
    line(`\n## IPv${family}: ping and TCP\n`);
    line(tableRow(['', ...columns]));
    line(tableRow(['---', ...columns.map(() => '---')]));
    for (const [from, cells] of rows) {
      const asker = all.get(from)!;
      const seen = new Map<string, string>();
      for (const [to, cell] of cells) {
        const addresses = to === 'gateway' ? asker.gateway : to === 'host' ? WORK_GATEWAY : all.get(to)!.addresses;
        const word = cell === '-' ? '-' : await look(city, from, asker, addresses[family], family);
        seen.set(to, word === to && to !== 'host' ? 'yes' : word);
      }
      line(tableRow([from, ...seen.values()]));
      t.deepEqual(Object.fromEntries(seen), Object.fromEntries(cells), `${from}, IPv${family}`);
    }
  }
  await accounted(t, city.tapline);
});
