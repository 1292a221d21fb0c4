/** Published ports of a daemon: what the dataplane is told, what a host that shares its addresses is told, and what is left at the end. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { addressOf } from '../../control/address-words.js';
import { endpointSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { MAX_SOCKETS } from '../../control/uplink/host-publishing.js';
import { ReservedPorts, restoreReservedPorts } from '../../control/uplink/reserved-ports.js';
import { FLOW_DNAT, STATE_UDP_STREAM } from '../../core/nat/flow.js';
import { PUBLISHED_RECORD } from '../../core/nat/published.js';
import { config, eventually, type Fixture, hostChanged, leftovers, makeFixture } from './support/fixture.js';
import { addFlow, ports } from './support/flows.js';
import { SystemDouble } from './support/system-double.js';

const OWN = 'device: up0, mode: own, addresses: [10.77.0.1/24, "fd00:77::1/64"]';
const SHARED = 'device: up0, mode: shared';

function fixture(): Fixture {
  const made = makeFixture();
  made.system.devices.add('up0');
  made.system.hosts.set('up0', {
    addresses: ['10.77.0.9/24', 'fd00:77::9/64'],
    linkLocal: null,
    defaults: [],
    routes: [],
  });
  for (const name of ['a', 'b']) made.system.addNamespace(`/ns/${name}`);
  return made;
}

function file(uplink: string, a: string, b = '', blue = 'masquerade: false'): ReturnType<typeof config> {
  const endpoint = (name: string, publish: string): string =>
    `{ network: blue, netns: /ns/${name}, publish: [${publish}] }`;
  return config(`version: 1
uplink: { ${uplink} }
networks: { blue: { subnets: [172.30.0.0/24, "fd00:30::/64"], ${blue} } }
endpoints: { a: ${endpoint('a', a)}, b: ${endpoint('b', b)} }
`);
}

/** `tcp any4:8080-8080 -> 172.30.0.2:80`, as the dataplane has it. */
function published({ dataplane }: Fixture): string[] {
  const words = dataplane.nat.published;
  const lines: string[] = [];
  for (let at = 0; at < words.length; at += PUBLISHED_RECORD) {
    const [protocol, first, last, inner, port] = [
      words[at + 1],
      words[at + 6],
      words[at + 7],
      words[at + 12],
      words[at + 13],
    ];
    const outer = addressOf([...words.subarray(at + 2, at + 6)]);
    const target = addressOf([...words.subarray(at + 8, at + 12)]);
    lines.push(`${protocol} ${outer} ${first}-${last} -> ${target} ${inner}${port === 0 ? ' kept' : ''}`);
  }
  return lines;
}

const guard = ({ system }: Fixture): string => system.tables.get('netdev tapline_up0') ?? '';

test('own: a record a family; what is bound to an address has its alone; nothing of it concerns the host', async (t) => {
  const made = fixture();
  await made.daemon.apply(file(OWN, '"8080:80", "10.77.0.1:6000-6010:7000-7010/udp"', '"[::]:90:90/sctp"'));
  t.deepEqual(published(made), [
    '6 0.0.0.0 8080-8080 -> 172.30.0.2 80',
    '6 :: 8080-8080 -> fd00:30::2 80',
    '17 10.77.0.1 6000-6010 -> 172.30.0.2 7000',
    '132 :: 90-90 -> fd00:30::3 90',
  ]);
  t.is(made.system.relays.size, 0);
  t.is(made.system.reserved, '');
  await made.daemon.stop();
  t.deepEqual(published(made), []);
});

test('records follow the endpoint, and its connections end with it', async (t) => {
  const made = fixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file(OWN, '"8080:80"', '"9090:80"'));
  await daemon.disconnect('a');
  t.deepEqual(published(made), ['6 0.0.0.0 9090-9090 -> 172.30.0.3 80', '6 :: 9090-9090 -> fd00:30::3 80']);
  const flushed = dataplane.nat.flushed.at(-1);
  t.deepEqual(
    flushed?.party?.prefixes.map(({ words }) => addressOf(words)),
    ['172.30.0.2', 'fd00:30::2'],
  );
  await daemon.stop();
});

test('changed live: what goes ends with its connections, what is refused leaves what there was', async (t) => {
  const made = fixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file(OWN, '"8080:80"', '"9090:80"'));
  await daemon.publish('a', ['8081:81/tcp']);
  t.deepEqual(daemon.endpoint('a').config.publish, ['8080:80/tcp', '8081:81/tcp']);
  t.true(published(made).includes('6 0.0.0.0 8081-8081 -> 172.30.0.2 81'));
  await daemon.unpublish('a', ['8080:80/tcp']);
  t.false(published(made).some((line) => line.includes('8080')));
  t.like(dataplane.nat.flushed.at(-1), { protocol: 6, reached: { first: 8080, last: 8080 }, translated: true });
  const before = published(made);
  const taken = await t.throwsAsync(daemon.publish('a', ['9090:1/tcp']), { instanceOf: TaplineError });
  t.is(taken.kind, 'conflict');
  t.regex(taken.message, /^publish\[1\]: 9090:1\/tcp is taken by 9090:80\/tcp of endpoint b/);
  await t.throwsAsync(daemon.unpublish('a', ['1:1/tcp']), {
    message: 'endpoint a has not published 1:1/tcp; it has published 8081:81/tcp',
  });
  await t.throwsAsync(daemon.publish('x', ['1:1/tcp']), { message: 'no endpoint x' });
  t.deepEqual(published(made), before);
  await daemon.stop();
});

test('what is unpublished ends the connections that came in by it, and no others', async (t) => {
  const made = fixture();
  const { daemon, dataplane } = made;
  await daemon.apply(file(OWN, '"8080:80", "9090:80", "10.77.0.1:6000-6010:7000-7010", "8080:80/udp"', '"8081:80"'));
  const zone = daemon.interfaces.vrfs.numberOf('default') ?? 0;
  const { table } = dataplane.nat.tables;
  const [a, b] = ['172.30.0.2', '172.30.0.3'];
  const add = (protocol: number, outer: number, target: string, inner: number, at = '10.77.0.1'): number => {
    const client = at.includes(':') ? 'fd00:77::99' : '10.77.0.99';
    const original = [client, at, ports(outer, outer)] as const;
    const reply = [target, client, ports(inner, outer)] as const;
    return addFlow(table, { zone, protocol, state: STATE_UDP_STREAM | FLOW_DNAT, original, reply });
  };
  const kept = [
    add(6, 9090, a, 80),
    add(17, 8080, a, 80),
    add(6, 8081, b, 80),
    // From the endpoint itself, by the port that others know it by.
    addFlow(table, { zone, protocol: 6, state: STATE_UDP_STREAM, original: [a, '10.9.9.9', ports(80, 8080)] }),
  ];
  const range = [add(6, 6000, a, 7000), add(6, 6010, a, 7010)];
  const gone = [add(6, 8080, a, 80), add(6, 8080, 'fd00:30::2', 80, 'fd00:77::1')];
  const alive = (): number[] => {
    const flows: number[] = [];
    table.forEach((flow) => void flows.push(flow));
    return flows;
  };
  t.is(alive().length, kept.length + range.length + gone.length);
  await daemon.unpublish('a', ['8080:80/tcp']);
  t.deepEqual(alive(), [...kept, ...range]);
  await daemon.unpublish('a', ['10.77.0.1:6000-6010:7000-7010/tcp']);
  t.deepEqual(alive(), kept);
  await daemon.stop();
});

test('shared: guarded at the host’s addresses, held by sockets that lead to the router, kept from being chosen', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  system.reserved = '7000';
  await daemon.apply(file(SHARED, '"8080:80", "8080:80/udp"', '"127.0.0.1:9090:80"'));
  t.regex(guard(made), /ports4 .* elements = \{ 10\.77\.0\.9 \. 6 \. 8080, 10\.77\.0\.9 \. 17 \. 8080 \}/);
  t.regex(guard(made), /ports6 .* elements = \{ fd00:77::9 \. 6 \. 8080, fd00:77::9 \. 17 \. 8080 \}/);
  t.deepEqual([...system.relays.keys()].sort(), [
    'tcp 0.0.0.0 8080',
    'tcp 127.0.0.1 9090',
    'tcp :: 8080',
    'udp 0.0.0.0 8080',
    'udp :: 8080',
  ]);
  t.is(system.reserved, '7000,8080');
  t.deepEqual(system.relays.get('tcp 127.0.0.1 9090')?.target(), {
    address: '169.254.42.1',
    port: 9090,
    from: '169.254.42.129',
  });
  t.deepEqual(system.relays.get('tcp :: 8080')?.target(), {
    address: '169.254.42.1',
    port: 8080,
    from: '169.254.42.129',
  });
  // At the loopback alone: on the wire there is no such record.
  t.deepEqual(
    published(made).filter((line) => line.includes('9090')),
    ['6 169.254.42.1 9090-9090 -> 172.30.0.3 80'],
  );
  t.true(system.ipLines.includes('address add 169.254.42.129/32 dev tapline0'));
  await daemon.disconnect('b');
  t.false(system.relays.has('tcp 127.0.0.1 9090'));
  await daemon.unpublish('a', ['8080:80/tcp', '8080:80/udp']);
  t.is(system.relays.size, 0);
  t.notRegex(guard(made), /8080/);
  t.is(system.reserved, '7000');
  t.false([...system.taps.keys()].some((tap) => tap.includes('tapline0')));
  await daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('shared: two addresses with the same port have different places at the link', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  await daemon.apply(file(SHARED, '"127.0.0.1:8080:80"', '"10.77.0.9:8080:80"'));
  const ports = ['tcp 127.0.0.1 8080', 'tcp 10.77.0.9 8080'].map((key) => system.relays.get(key)?.target()?.port);
  t.is(new Set(ports).size, 2);
  for (const [port, target] of [
    [ports[0], '172.30.0.2'],
    [ports[1], '172.30.0.3'],
  ] as const)
    t.true(published(made).includes(`6 169.254.42.1 ${port}-${port} -> ${target} 80`));
  await daemon.stop();
});

test('shared: a port that a process has is refused by its name, and nothing of the endpoint is left', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  system.sockets.push({ protocol: 'tcp', port: 8080, address: '10.77.0.9', isIpv6: false, inode: 5 });
  system.holders.set(5, { pid: 123, name: 'nginx' });
  const line = 'port 8080/tcp is held by nginx (pid 123); end it, or choose another port';
  await t.throwsAsync(daemon.apply(file(SHARED, '"90:90", "8080:80"')), { message: `endpoints.a.publish[1]: ${line}` });
  t.is(system.relays.size, 0);
  t.deepEqual(leftovers(made), []);
  t.is(system.reserved, '');
});

test('shared: what is refused live leaves what there was', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  await daemon.apply(file(SHARED, '"90:90"'));
  system.sockets.push({ protocol: 'udp', port: 53, address: '0.0.0.0', isIpv6: false, inode: 0 });
  await t.throwsAsync(daemon.publish('a', ['91:91/tcp', '53:53/udp']), {
    message: 'publish[2]: port 53/udp is held by another process; end it, or choose another port',
  });
  system.foreign.add('10.1.2.3');
  await t.throwsAsync(daemon.publish('a', ['10.1.2.3:80:80/tcp']), {
    message: 'publish[1]: expected an address of the host to publish on, got 10.1.2.3',
  });
  t.deepEqual([...system.relays.keys()].sort(), ['tcp 0.0.0.0 90', 'tcp :: 90']);
  t.deepEqual(daemon.endpoint('a').config.publish, ['90:90/tcp']);
  t.is(system.reserved, '90');
  await daemon.stop();
});

test('shared: more ports than there are sockets for are looked at, guarded and reserved, and that is said', async (t) => {
  const made = fixture();
  const { daemon, system, logs } = made;
  await daemon.apply(file(SHARED, '"80:80"'));
  await daemon.publish('a', [`1000-${1000 + MAX_SOCKETS}:1000-${1000 + MAX_SOCKETS}/tcp`]);
  t.is(system.relays.size, 2);
  t.regex(guard(made), /10\.77\.0\.9 \. 6 \. 1000-2024/);
  t.is(system.reserved, '80,1000-2024');
  t.true(logs.some((line) => line.includes('is not held by sockets, of which there are 1024 in all')));
  system.sockets.push({ protocol: 'tcp', port: 5000, address: '::', isIpv6: true, inode: 5 });
  system.holders.set(5, { pid: 7, name: 'java' });
  await t.throwsAsync(daemon.publish('a', ['4000-6000:4000-6000/tcp']), {
    message: /^publish\[2\]: port 5000\/tcp is held by java \(pid 7\)/,
  });
  await daemon.publish('a', ['4000-6000:4000-6000/udp']);
  await daemon.stop();
});

test('shared: translation leaves the host the ports that it has in use', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  system.sockets.push(
    { protocol: 'tcp', port: 50_000, address: '10.77.0.9', isIpv6: false, inode: 1 },
    { protocol: 'tcp', port: 50_001, address: '127.0.0.1', isIpv6: false, inode: 2 },
    { protocol: 'udp', port: 40_000, address: '10.77.0.9', isIpv6: false, inode: 3 },
  );
  await daemon.apply(file(SHARED, '', '', 'masquerade: true'));
  await eventually(() => published(made).length > 0);
  t.deepEqual(published(made), ['6 0.0.0.0 50000-50000 -> 0.0.0.0 50000 kept', '6 :: 50000-50000 -> :: 50000 kept']);
  t.regex(
    guard(made),
    /10\.77\.0\.9 \. 6 \. 49152-49999, 10\.77\.0\.9 \. 6 \. 50001-65535, 10\.77\.0\.9 \. 17 \. 49152-65535/,
  );
  await daemon.stop();
  t.is(system.reserved, '');
});

test('shared: what the host has in use by the time its uplink changes is left to it by guard and translation alike', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  await daemon.apply(file(SHARED, '', '', 'masquerade: true'));
  t.deepEqual(published(made), []);
  system.sockets.push({ protocol: 'tcp', port: 50_000, address: '10.77.0.9', isIpv6: false, inode: 1 });
  system.hosts.set('up0', { addresses: ['10.77.0.10/24'], linkLocal: null, defaults: [], routes: [] });
  hostChanged(made);
  await eventually(() => published(made).length > 0);
  t.deepEqual(published(made), ['6 0.0.0.0 50000-50000 -> 0.0.0.0 50000 kept', '6 :: 50000-50000 -> :: 50000 kept']);
  t.regex(guard(made), /10\.77\.0\.10 \. 6 \. 49152-49999, 10\.77\.0\.10 \. 6 \. 50001-65535/);
  await daemon.stop();
});

test('reserved ports: others’ stay, ours go; what a killed process added is taken back by the next one', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const instance = join(directory, 's');
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(line);
  const logger = { info: say, warn: say, error: say };
  const system = new SystemDouble();
  system.reserved = '80,9000-9010';
  const ports = new ReservedPorts(instance, system, logger);
  await ports.set([{ first: 9005, last: 9020 }]);
  t.is(system.reserved, '80,9000-9020');
  const [note = ''] = readdirSync(directory);
  t.is(readFileSync(join(directory, note), 'utf8'), '9011-9020');
  // Somebody else adds one meanwhile.
  system.reserved = '80,443,9000-9020';
  t.is(await restoreReservedPorts(instance, system), '9011-9020');
  t.is(system.reserved, '80,443,9000-9010');
  t.deepEqual(readdirSync(directory), []);
  t.is(await restoreReservedPorts(instance, system), '');

  const victim = join(directory, 'victim');
  writeFileSync(victim, 'precious');
  symlinkSync(victim, join(directory, note));
  await new ReservedPorts(instance, system, logger).set([{ first: 20, last: 21 }]);
  t.is(readFileSync(victim, 'utf8'), 'precious');
  t.regex(lines.splice(0).join(), /the host may take ports of Tapline's for its own connections: ELOOP/);
  rmSync(join(directory, note));

  system.writeReservedPorts = () => Promise.reject(new Error('EROFS: read-only file system'));
  const next = new ReservedPorts(instance, system, logger);
  for (let i = 0; i < 2; i++) await next.set([{ first: 1, last: 2 }]);
  t.deepEqual(lines, [
    'the host may take ports of Tapline’s for its own connections: EROFS: read-only file system'.replace('’', "'"),
  ]);
});

test('shared: an endpoint that goes gives up its ports and connections, though nft refuses to follow; the guard does later', async (t) => {
  const made = fixture();
  const { daemon, dataplane, system } = made;
  await daemon.apply(file(SHARED, '"8080:80"', '"9090:80"'));
  system.nftError = 'Device or resource busy';
  const flushed = dataplane.nat.flushed.length;
  await daemon.disconnect('a');
  t.deepEqual([...system.relays.keys()].sort(), ['tcp 0.0.0.0 9090', 'tcp :: 9090']);
  t.false(published(made).some((line) => line.includes('8080')));
  t.true(dataplane.nat.flushed.length > flushed);
  t.regex(guard(made), /8080/);
  system.nftError = null;
  await eventually(() => !guard(made).includes('8080'));
  await daemon.connect('a', endpointSchema.parse({ network: 'blue', netns: '/ns/a', publish: ['8080:80'] }));
  await daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('shared: kept for the next process, all stays but the sockets that hold ports, which would hold this one', async (t) => {
  const made = fixture();
  const { daemon, system } = made;
  await daemon.apply(file(SHARED, '"8080:80", "8080:80/udp"'));
  await daemon.leave();
  t.is(system.relays.size, 0);
  t.regex(guard(made), /8080/);
  t.is(system.reserved, '8080');
  t.true([...system.taps.keys()].some((tap) => tap.includes('tapline0')));
});

test('shared: what is not reached from everywhere is said; what nobody would reach is refused', async (t) => {
  const made = fixture();
  const { daemon, system, logs } = made;
  await daemon.apply(
    config(`version: 1
uplink: { ${SHARED} }
networks: { blue: { subnets: ["fd00:30::/64"] }, red: { subnets: [172.31.0.0/24] } }
endpoints:
  a: { network: blue, netns: /ns/a, publish: ["8080:80", "90:90/sctp"] }
  b: { network: red, netns: /ns/b, publish: ["10.5.0.1:7000:70", "10.77.0.9:7001:71"] }
`),
  );
  const warnings = (): string[] => logs.filter((line) => line.startsWith('warn'));
  t.deepEqual(warnings(), [
    'warn endpoint a: 8080:80/tcp is not reached from the host itself: the way there is IPv4, and it leads to none',
    'warn endpoint b: 10.5.0.1:7000:70/tcp is not reached from outside: 10.5.0.1 is not an address of the uplink',
  ]);
  t.is(system.relays.get('tcp :: 8080')?.target(), null);
  const line = 'publish[2]: at the loopback nobody reaches it: the way there is IPv4, and it leads to none';
  await t.throwsAsync(daemon.publish('a', ['[::1]:8081:80/tcp']), { message: `${line}; leave out the address` });
  await t.throwsAsync(daemon.publish('b', ['127.0.0.1:8081:80/sctp']), {
    message: /^publish\[2\]: at the loopback nobody reaches it: there are no SCTP sockets that lead there/,
  });
  await daemon.publish('b', ['127.0.0.1:8081:80/tcp']);
  t.is(warnings().length, 2);
  await daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('shared: where the host has hardly any port left for itself, that is said', async (t) => {
  const made = fixture();
  const { daemon, system, logs } = made;
  const nat = { ...config(`version: 1\nnat: { ports: 30000-60000 }`).nat };
  await daemon.apply({ ...file(SHARED, '', '', 'masquerade: true'), nat });
  t.is(system.reserved, '30000-60000');
  const said = 'warn the host has 999 ports left of 32768-60999 for its own connections';
  t.is(logs.filter((line) => line.startsWith(said)).length, 1);
  await daemon.publish('a', ['8080:80/tcp']);
  t.is(logs.filter((line) => line.startsWith(said)).length, 2);
  await daemon.stop();
  const usual = fixture();
  await usual.daemon.apply(file(SHARED, '"8080:80"', '', 'masquerade: true'));
  t.false(usual.logs.some((line) => line.includes('for its own connections')));
  await usual.daemon.stop();
});

test('shared: published ports follow a host port that is made anew under another name', async (t) => {
  const made = fixture();
  const { daemon, dataplane, system } = made;
  await daemon.apply(file(SHARED, '"8080:80"'));
  const link = (): string[] => published(made).filter((line) => line.includes('169.254.42'));
  t.deepEqual(link(), ['6 169.254.42.1 8080-8080 -> 172.30.0.2 80']);
  // Somebody deleted it, and took its name.
  system.taps.delete('/proc/self/ns/net tapline0');
  system.aliases.push({ name: 'tapline0', alias: 'other' });
  dataplane.portDown(dataplane.portNamed('host'), 'EBADFD');
  await eventually(() => link().includes('6 169.254.42.2 8080-8080 -> 172.30.0.2 80'));
  t.like(system.relays.get('tcp 0.0.0.0 8080')?.target(), { address: '169.254.42.2', from: '169.254.42.130' });
  await daemon.stop();
  t.deepEqual(leftovers(made), []);
});

test('what is left to the next process is not taken apart any more', async (t) => {
  const made = fixture();
  const { daemon } = made;
  await daemon.apply(file(OWN, '"8080:80"'));
  await daemon.leave();
  const refused = { message: 'the daemon is stopping' };
  await t.throwsAsync(daemon.disconnect('a'), refused);
  await t.throwsAsync(daemon.removeNetwork('blue', true), refused);
  await t.throwsAsync(daemon.unpublish('a', ['8080:80/tcp']), refused);
  await t.throwsAsync(daemon.removeRoute('default', '10.0.0.0/8'), refused);
  await t.throwsAsync(daemon.removeRule(1), refused);
  t.deepEqual([...daemon.endpoints.keys()], ['a', 'b']);
});
