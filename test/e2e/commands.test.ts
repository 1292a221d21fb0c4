/** The commands that print: `--json` is what the API answers, the table is the same for people. */

import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryDirectory } from './support/frames.js';
import { createLab, type Host } from './support/lab.js';
import { createNamespace } from './support/namespace.js';
import { must } from './support/process.js';
import { PROGRAM, startTapline, type Tapline } from './support/tapline.js';

const json = async (tapline: Tapline, ...argv: string[]): Promise<unknown> =>
  JSON.parse(await tapline.ok(...argv, '--json'));

test.serial('show ports, fdb, drops, endpoints and status: the same in JSON and in tables', async (t) => {
  const { hosts, tapline } = await createLab(t);
  const [a, b] = hosts as [Host, Host];
  await a.exec('ping', '-c', '2', '-i', '0.1', '-W', '5', b.ip);
  await tapline.quiet();

  const fdb = (await json(tapline, 'show', 'fdb')) as { mac: string; port: string; network: string }[];
  t.deepEqual(fdb.map(({ mac, network, port }) => [mac, network, port]).sort(), [
    ['02:42:ac:1e:00:01', 'blue', 'gateway'],
    [a.mac, 'blue', 'a'],
    [b.mac, 'blue', 'b'],
  ]);
  const table = await tapline.ok('show', 'fdb');
  t.regex(table, new RegExp(`^MAC .*\\n(?:.*\\n)*${b.mac} +blue +- +b +static\\n`));

  const ports = (await json(tapline, 'show', 'ports')) as { name: string; rxPackets: number }[];
  t.deepEqual(
    ports.map(({ name }) => name).sort(), // they are attached side by side
    ['a', 'b'],
  );
  t.regex(
    await tapline.ok('show', 'ports'),
    /^PORT +KIND +NETWORK .*\n(?:.*\n)?a +tap +blue +forwarding +- +strict +\d+/,
  );

  const drops = (await json(tapline, 'show', 'drops')) as { received: number; delivered: number };
  t.true(drops.received > 0 && drops.delivered > 0);
  t.regex(
    await tapline.ok('show', 'drops'),
    /^received \d+, made here \d+, copied by flooding \d+, delivered \d+, taken in \d+\n/,
  );

  const endpoints = (await json(tapline, 'show', 'endpoints')) as { name: string; addresses: string[] }[];
  t.deepEqual(endpoints.find(({ name }) => name === 'a')?.addresses, [`${a.ip}/24`, `${a.ip6}/64`]);

  const status = (await json(tapline, 'status')) as { engine: string; pid: number };
  t.is(status.pid, tapline.pid);
  t.regex(await tapline.ok('status'), new RegExp(`\\b${status.engine}\\b`));
});

test.serial('networks and endpoints are made and removed at run time', async (t) => {
  const tapline = await startTapline(t, { version: 1 });
  const [x, y] = [await createNamespace(t), await createNamespace(t)];
  await tapline.ok('network', 'create', 'green', '--subnet', '10.55.0.0/24', '--subnet', 'fd55::/64', '--mtu', '1400');
  t.regex(await tapline.ok('network', 'ls'), /green/);
  const inspected = JSON.stringify(await json(tapline, 'network', 'inspect', 'green'));
  t.regex(inspected, /"mtu":1400/);
  t.regex(inspected, /"gateways":\["10\.55\.0\.1","fd55::1"\]/);
  for (const [name, { path }] of Object.entries({ x, y })) {
    await tapline.ok('connect', 'green', '--netns', path, '--name', name, '--interface', 'net0');
  }
  t.regex(await x.exec('ip', 'link', 'show', 'net0'), /mtu 1400/);
  await x.exec('ping', '-c', '1', '-W', '5', '10.55.0.3');
  await tapline.ok('network', 'rm', 'green', '--force');
  t.deepEqual(await tapline.ports(), []);
  t.deepEqual(await json(tapline, 'network', 'ls'), []);
  for (const namespace of [x, y]) t.not((await namespace.run(['ip', 'link', 'show', 'net0'])).code, 0);
});

/** Says whether a socket lets one in. Debian's Python, since the user who asks may not be able to read our own files. */
const CONNECT = `
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print('connected')
except OSError as error:
    print(error.strerror)
`;

test.serial('the control socket is for its owner alone', async (t) => {
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755); // so that only the socket's own mode is in the way
  const tapline = await startTapline(t, { version: 1 }, { socket: join(directory, 's') });
  t.is(statSync(tapline.socket).mode & 0o777, 0o600);
  const connect = ['/usr/bin/python3', '-c', CONNECT, tapline.socket];
  t.is(await must(connect), 'connected\n');
  t.is(await must(['setpriv', '--reuid', '65534', '--clear-groups', ...connect]), 'Permission denied\n');
});

test.serial('TAPLINE_SOCKET stands for --socket', async (t) => {
  const tapline = await startTapline(t, { version: 1 });
  const text = await must([process.execPath, PROGRAM, 'status', '--json'], { env: { TAPLINE_SOCKET: tapline.socket } });
  t.is((JSON.parse(text) as { pid: number }).pid, tapline.pid);
});
