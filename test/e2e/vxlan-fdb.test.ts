/** Static entries that a store tells of: after any sequence of events they are what the events come to, and nothing that is learned, lost or killed meanwhile changes that. */

import test, { type ExecutionContext } from 'ava';
import type { EntryCounts } from '../../control/vxlan/entries.js';
import { sendFrames } from './support/frames.js';
import { marked, plainFrame } from './support/marks.js';
import type { Namespace } from './support/namespace.js';
import { must, start } from './support/process.js';
import { send } from './support/published.js';
import { PYTHON } from './support/scapy.js';
import { PROGRAM, prepare, startTapline, type Tapline } from './support/tapline.js';
import { type Container, createContainer, createUnderlay, type OverlayHost } from './support/underlay.js';
import { NOBODY, overlayConfig, overlayOf, reaches, remotesOf, startOverlay, VNI, vtepPort } from './support/vxlan.js';
import { eventually } from './support/wait.js';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const EVENTS = 10_000;
/** MACs that events are about: few enough that most have been told of before. */
const MACS = 600;
/** Events of a request, at most. */
const BATCH = 200;

interface Event {
  readonly op: 'add' | 'remove';
  readonly mac: string;
  readonly vtep: string;
}

/** What the entries should be: VTEP by MAC, and who gets what is flooded. */
interface Model {
  readonly entries: Map<string, string>;
  readonly floods: Set<string>;
}

function macOf(number: number): string {
  return `02:00:00:01:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`;
}

/** Numbers below 2^32 that follow from a seed (Marsaglia's xorshift). */
function generator(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function apply({ entries, floods }: Model, { op, mac, vtep }: Event): void {
  if (mac === NOBODY) {
    if (op === 'add') floods.add(vtep);
    else floods.delete(vtep);
  } else if (op === 'add') entries.set(mac, vtep);
  else if (entries.get(mac) === vtep) entries.delete(mac);
}

/** An event as stores tell them: new, moved, gone, told twice, or late. */
function nextEvent(
  random: (below: number) => number,
  { entries }: Model,
  vteps: readonly string[],
  last: Event,
): Event {
  const vtep = vteps[random(vteps.length)]!;
  const mac = macOf(random(MACS));
  const op = random(5) < 3 ? 'add' : 'remove';
  const kind = random(20);
  if (kind === 0) return last;
  if (kind === 1) return { op, mac: NOBODY, vtep };
  // Most of what goes is where it is believed to be.
  return { op, mac, vtep: op === 'remove' && random(8) > 0 ? (entries.get(mac) ?? vtep) : vtep };
}

function change(tapline: Pick<Tapline, 'socket'>, events: readonly Event[]): Promise<EntryCounts> {
  return send(tapline.socket, 'POST', '/v1/networks/blue/fdb', events) as Promise<EntryCounts>;
}

interface Entry {
  readonly mac: string;
  readonly port: string;
  readonly static: boolean;
}

/** Entries that lead to VTEPs, as `show fdb` has them. */
async function entriesOf(
  tapline: { ok(...argv: string[]): Promise<string> },
  isStatic: boolean,
): Promise<Map<string, string>> {
  const all = JSON.parse(await tapline.ok('show', 'fdb', '--json')) as Entry[];
  const found = all.filter((entry) => entry.static === isStatic && entry.port.startsWith('vxlan:'));
  return new Map(found.map(({ mac, port }) => [mac, port]));
}

function portsOf({ entries }: Model): Map<string, string> {
  return new Map([...entries].map(([mac, vtep]) => [mac, vtepPort(vtep)]));
}

function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Speaks from each MAC of a range, round after round. */
const SPEAK = `
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(('eth0', 0))
print('speaking', flush=True)
while True:
    for number in range(int(sys.argv[1])):
        s.send(b'\\xff' * 6 + bytes([2, 0, 0, 1, number >> 8, number & 255]) + b'\\x88\\xb5' + bytes(46))
        time.sleep(0.0005)
`;

async function speak(from: Namespace): Promise<{ stop(): Promise<unknown> }> {
  const program = from.start(PYTHON, '-c', SPEAK, String(MACS));
  await program.said(/^speaking$/m);
  return program;
}

interface Two {
  readonly hosts: readonly [OverlayHost, OverlayHost];
  readonly a: Container;
  readonly b: Container;
  /** Of host 1, for a daemon of one's own. */
  readonly config: object;
}

/** Host 2 has a Tapline whose container may speak from any MAC. @param vxlan keys of host 1 */
async function createTwo(t: ExecutionContext, vxlan: object): Promise<Two> {
  const underlay = await createUnderlay(t);
  const hosts = [await underlay.addHost(1), await underlay.addHost(2)] as const;
  const [a, b] = [await createContainer(t, hosts[0]), await createContainer(t, hosts[1])];
  await startOverlay(t, hosts[1], [b], remotesOf(hosts[1], hosts), { endpoints: { b1: { security: 'off' } } });
  return { hosts, a, b, config: overlayConfig(hosts[0], [a], { vni: VNI, local: hosts[0].ip, ...vxlan }) };
}

test.serial(`entries are what ${EVENTS} events come to, while others are learned, and after a kill -9`, async (t) => {
  const vteps = ['10.77.0.2', '10.77.0.8', '10.77.0.9'];
  const { hosts, a, b, config } = await createTwo(t, { remotes: [vteps[0]], learning: true });
  const { argv, socket } = prepare(t, config, { netns: hosts[0].namespace });
  const up = async (): Promise<ReturnType<typeof start>> => {
    const daemon = start(t, argv);
    await daemon.said(/^ready$/m, 30_000);
    return daemon;
  };
  let daemon = await up();
  t.teardown(async () => {
    if (daemon.running()) await daemon.stop('SIGTERM');
  });
  const tapline = { socket, ok: async (...words: string[]) => commandOf(socket, words) };
  await reaches(a, b);
  const speaker = await speak(b);

  const seed = Date.now() & 0x7fffffff;
  t.log(`seed ${seed}`);
  const random = generator(seed);
  const model: Model = { entries: new Map(), floods: new Set() };
  let last: Event = { op: 'add', mac: macOf(0), vtep: vteps[0]! };
  let [made, counted, slowest] = [0, 0, 0];
  while (made < EVENTS) {
    const events: Event[] = [];
    const count = Math.min(1 + random(BATCH), EVENTS - made);
    for (let i = 0; i < count; i++) {
      last = nextEvent(random, model, vteps, last);
      apply(model, last);
      events.push(last);
    }
    const began = performance.now();
    const { added, moved, removed, unchanged, missing } = await change(tapline, events);
    slowest = Math.max(slowest, performance.now() - began);
    counted += added + moved + removed + unchanged + missing;
    const before = made;
    made += count;
    if (Math.floor(before / 2500) !== Math.floor(made / 2500))
      t.deepEqual(sorted(await entriesOf(tapline, true)), sorted(portsOf(model)), `after ${made} events, seed ${seed}`);
  }
  t.is(counted, EVENTS, 'each event is counted');
  t.log(`${model.entries.size} entries; slowest request ${slowest.toFixed(0)} ms`);
  const floods = async (): Promise<string[]> => {
    const { vteps: all } = await overlayOf(tapline as Tapline);
    return all
      .filter((vtep) => vtep.floods)
      .map(({ address }) => address)
      .sort();
  };
  const expectedFloods = [...new Set([vteps[0]!, ...model.floods])].sort();
  t.deepEqual(await floods(), expectedFloods);
  // What nobody has told is learned meanwhile; what somebody has is where he said.
  await eventually('the rest to be learned', async () => {
    const learned = await entriesOf(tapline, false);
    return [...Array(MACS).keys()].map(macOf).every((mac) => model.entries.has(mac) !== learned.has(mac));
  });
  for (const [mac, port] of await entriesOf(tapline, false))
    if (mac.startsWith('02:00:00:01:')) t.is(port, vtepPort(vteps[0]!), mac);

  await daemon.stop('SIGKILL');
  daemon = await up();
  t.deepEqual(sorted(await entriesOf(tapline, true)), sorted(portsOf(model)), `after a kill -9, seed ${seed}`);
  t.deepEqual(await floods(), expectedFloods);
  await speaker.stop();
  await reaches(a, b);

  // All gone, one way or the other.
  await change(
    tapline,
    [...model.entries].map(([mac, vtep]) => ({ op: 'remove', mac, vtep })),
  );
  await change(
    tapline,
    vteps.map((vtep) => ({ op: 'remove', mac: NOBODY, vtep })),
  );
  t.is((await entriesOf(tapline, true)).size, 0);
  t.deepEqual(
    (await overlayOf(tapline as Tapline)).vteps.map(({ address }) => address),
    [vteps[0]!],
    'VTEPs go with them',
  );
});

async function commandOf(socket: string, words: readonly string[]): Promise<string> {
  return must([process.execPath, PROGRAM, '--socket', socket, ...words]);
}

test.serial('20,000 entries at once', async (t) => {
  const { hosts, config } = await createTwo(t, { fdb: [] });
  const tapline = await startTapline(t, config, { netns: hosts[0].namespace });
  const count = 20_000;
  const events = Array.from({ length: count }, (_, i): Event => {
    const octets = [i >> 16, (i >> 8) & 255, i & 255].map((octet) => octet.toString(16).padStart(2, '0'));
    return { op: 'add', mac: `02:00:01:${octets.join(':')}`, vtep: `10.77.1.${1 + (i % 100)}` };
  });
  const began = performance.now();
  t.like(await change(tapline, events), { added: count, moved: 0, unchanged: 0 });
  const took = performance.now() - began;
  t.log(`${count} entries in ${took.toFixed(0)} ms`);
  t.true(took < 10_000, `${took} ms`);
  t.like(await change(tapline, events), { added: 0, moved: 0, unchanged: count });
  t.is((await entriesOf(tapline, true)).size, count);
  t.is(await tapline.fdbPort('02:00:01:00:4e:1f'), vtepPort('10.77.1.100'));
  await change(
    tapline,
    events.map((event) => ({ ...event, op: 'remove' as const })),
  );
  t.is((await entriesOf(tapline, true)).size, 0);
  t.is((await overlayOf(tapline)).vteps.length, 0);
});

test.serial(
  'with entries of the file nothing is learned, unless the file says so; and nobody takes a static MAC',
  async (t) => {
    const spoken = macOf(7);
    const fdb = (b: Container): object[] => [
      { mac: NOBODY, vtep: '10.77.0.2' },
      { mac: b.mac, vtep: '10.77.0.2' },
      { mac: macOf(8), vtep: '10.77.0.9' },
    ];
    for (const learning of [undefined, 1]) {
      const scene = await createTwo(t, {});
      const { hosts, a, b } = scene;
      const vxlan = {
        vni: VNI,
        local: hosts[0].ip,
        fdb: fdb(b),
        ...(learning === undefined ? {} : { learning: true }),
      };
      const tapline = await startOverlay(t, hosts[0], [a], vxlan);
      await reaches(a, b);
      t.is((await overlayOf(tapline)).learning, learning === 1);
      const { rxPackets } = await tapline.port(vtepPort('10.77.0.2'));
      for (const mac of [spoken, macOf(8)]) await sendFrames(b, [marked(plainFrame(BROADCAST, mac), 1)]);
      await eventually(
        'the frames',
        async () => (await tapline.port(vtepPort('10.77.0.2'))).rxPackets >= rxPackets + 2,
      );
      await tapline.quiet();
      t.is(await tapline.fdbPort(spoken), learning === 1 ? vtepPort('10.77.0.2') : undefined);
      t.is(await tapline.fdbPort(macOf(8)), vtepPort('10.77.0.9'), 'it stays where it was put');
      // Sources are not looked at where they are not learned, by the kernel's device neither.
      t.is((await tapline.port(vtepPort('10.77.0.2'))).rxDrops.static_mac ?? 0, learning ?? 0);
      await tapline.stop();
    }
  },
);

test.serial('entries by command: one MAC has one place, and what is said shows', async (t) => {
  const { hosts, a, b, config } = await createTwo(t, { remotes: ['10.77.0.2'] });
  const tapline = await startTapline(t, config, { netns: hosts[0].namespace });
  await reaches(a, b);
  const mac = macOf(1);
  const where = ['--network', 'blue', '--vtep'];
  await tapline.ok('fdb', 'add', mac, ...where, '10.77.0.8');
  t.is(await tapline.fdbPort(mac), vtepPort('10.77.0.8'));
  t.regex(await tapline.ok('show', 'fdb'), new RegExp(`${mac}.*10\\.77\\.0\\.8`));
  t.regex(await tapline.ok('show', 'vxlan'), /^10\.77\.0\.8 +static +no /m);
  await tapline.ok('fdb', 'add', mac, ...where, '10.77.0.9');
  t.is(await tapline.fdbPort(mac), vtepPort('10.77.0.9'));
  t.notRegex(await tapline.ok('show', 'vxlan'), /^10\.77\.0\.8 /m);
  await tapline.ok('fdb', 'flush');
  t.is(await tapline.fdbPort(mac), vtepPort('10.77.0.9'), 'outlives a flush');
  await tapline.ok('fdb', 'rm', mac, '--network', 'blue');
  t.is(await tapline.fdbPort(mac), undefined);
  const again = await tapline.cli('fdb', 'rm', mac, '--network', 'blue');
  t.not(again.code, 0);
  t.regex(again.stderr, new RegExp(`^[^\\n]*${mac}[^\\n]*\\n$`));
  await tapline.ok('fdb', 'add', NOBODY, ...where, '10.77.0.7');
  t.regex(await tapline.ok('show', 'vxlan'), /^10\.77\.0\.7 +static +yes /m);
  await tapline.ok('vxlan', 'rm', 'blue', '10.77.0.2');
  const { code } = await a.run(['ping', '-n', '-c', '1', '-W', '1', b.ip]);
  t.not(code, 0, 'nobody floods there any more, and nobody is let in from there');
  await tapline.ok('vxlan', 'add', 'blue', '10.77.0.2');
  await reaches(a, b);
});
