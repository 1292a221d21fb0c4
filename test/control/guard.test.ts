/** The guard of a shared uplink in a real kernel: what it drops, how it comes back, what it leaves. */

import { execFileSync, spawnSync } from 'node:child_process';
import test from 'ava';
import { realSystem, type System } from '../../control/system.js';
import { Guard, guardScript, guardTable, heldTable, removeStaleGuard } from '../../control/uplink/guard.js';
import { withNamespace } from '../../io/netns.js';
import { nftProgram } from '../../io/nft.js';
import { SystemDouble } from './support/system-double.js';

const name = `tl-guard-${process.pid}`;
const far = `${name}-far`;
const netns = `/run/netns/${name}`;

/** Everything about nftables and links, in the namespace of this test. */
const system: System = {
  ...realSystem,
  linkFacts: (device) => withNamespace(netns, () => realSystem.linkFacts(device)),
  runNft: (script) => withNamespace(netns, () => realSystem.runNft(script)),
  openHeldNft: () => withNamespace(netns, () => realSystem.openHeldNft()),
  listNftTable: (family, table) => withNamespace(netns, () => realSystem.listNftTable(family, table)),
};

/** The same where no table can be held. */
const without: System = {
  ...system,
  openHeldNft: () => {
    throw new Error('nft: Operation not supported');
  },
};

const nft = (...words: string[]): string =>
  withNamespace(netns, () => execFileSync(nftProgram(), words, { encoding: 'utf8', stdio: 'pipe' }));

function ping(address: string): boolean {
  return spawnSync('ip', ['netns', 'exec', far, 'ping', '-c1', '-W1', address]).status === 0;
}

test.before(() => {
  for (const one of [name, far]) execFileSync('ip', ['netns', 'add', one]);
  execFileSync('ip', ['-n', name, 'link', 'add', 'up-0.1', 'type', 'veth', 'peer', 'name', 'out0', 'netns', far]);
  const ip = (where: string, ...words: string[]): unknown => execFileSync('ip', ['-n', where, ...words]);
  for (const [where, device, host] of [
    [name, 'up-0.1', 1],
    [far, 'out0', 2],
  ] as const) {
    ip(where, 'link', 'set', device, 'up');
    ip(where, 'link', 'set', 'lo', 'up');
    ip(where, 'address', 'add', `10.77.0.${host}/24`, 'dev', device);
    ip(where, 'address', 'add', `fd00:77::${host}/64`, 'dev', device, 'nodad');
  }
  // The host has addresses inside the guarded prefixes, so only the guard keeps it from answering.
  for (const address of ['172.30.0.9/32', '172.31.0.9/32', 'fd00:30::9/128'])
    ip(name, 'address', 'add', address, 'dev', 'lo');
  for (const prefix of ['172.30.0.0/24', '172.31.0.0/24']) ip(far, 'route', 'add', prefix, 'via', '10.77.0.1');
  ip(far, '-6', 'route', 'add', 'fd00:30::/64', 'via', 'fd00:77::1');
});

test.after.always(() => {
  for (const one of [name, far]) spawnSync('ip', ['netns', 'del', one]);
});

function logger(): { lines: string[]; info(m: string): void; warn(m: string): void; error(m: string): void } {
  const lines: string[] = [];
  const say = (message: string): void => {
    lines.push(message);
  };
  return { lines, info: say, warn: say, error: say };
}

test.serial('it drops what is ours and nothing else, follows the networks, and leaves nothing', async (t) => {
  nft('add', 'table', 'inet', 'others');
  const before = nft('list', 'ruleset');
  const guard = new Guard('up-0.1', 'tapline:host:1', system, logger());
  t.true(ping('172.30.0.9') && ping('172.31.0.9') && ping('fd00:30::9'));
  await guard.install(['172.30.0.0/24', 'fd00:30::/64']);
  t.false(ping('172.30.0.9'));
  t.false(ping('fd00:30::9'));
  t.true(ping('172.31.0.9') && ping('10.77.0.1') && ping('fd00:77::1'));
  await guard.update(['172.31.0.0/24']);
  t.true(ping('172.30.0.9') && ping('fd00:30::9'));
  t.false(ping('172.31.0.9'));
  await guard.update([]);
  t.true(ping('172.31.0.9'));
  await guard.remove();
  t.is(nft('list', 'ruleset'), before);
  nft('delete', 'table', 'inet', 'others');
});

/** Whether the far end gets any answer from a port: else nothing comes within a second. */
function isAnswered(address: string, port: number): boolean {
  const script = `import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_STREAM)
s.settimeout(1)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
except ConnectionRefusedError:
    sys.exit(0)
except OSError:
    sys.exit(1)`;
  return spawnSync('ip', ['netns', 'exec', far, 'python3', '-c', script, address, String(port)]).status === 0;
}

test.serial('it drops ports of one address, however their ranges overlap, and leaves its others', async (t) => {
  const guard = new Guard('up-0.1', 'tapline:host:1', system, logger());
  const range = (address: string, protocol: number, first: number, last: number) => ({
    address,
    protocol,
    first,
    last,
  });
  await guard.install(
    [],
    [
      range('10.77.0.1', 6, 8080, 8080),
      range('10.77.0.1', 6, 8000, 8100),
      range('10.77.0.1', 6, 8101, 8110),
      range('10.77.0.1', 17, 1, 65_535),
      range('fd00:77::1', 6, 443, 443),
    ],
  );
  for (const port of [8000, 8080, 8110]) t.false(isAnswered('10.77.0.1', port), String(port));
  for (const port of [7999, 8111, 443]) t.true(isAnswered('10.77.0.1', port), String(port));
  t.false(isAnswered('fd00:77::1', 443));
  t.true(isAnswered('fd00:77::1', 8080));
  t.true(ping('10.77.0.1') && ping('fd00:77::1'));
  await guard.update([], [range('10.77.0.1', 6, 443, 443)]);
  t.true(isAnswered('10.77.0.1', 8080));
  t.false(isAnswered('10.77.0.1', 443));
  await guard.check();
  await guard.remove();
  t.true(isAnswered('10.77.0.1', 443));
});

test.serial('it comes back when it is flushed or changed, and says so; untouched it is left alone', async (t) => {
  const log = logger();
  const guard = new Guard('up-0.1', 'tapline:host:1', without, log);
  await guard.install(['172.30.0.0/24']);
  await guard.check();
  const said =
    'whoever flushes the rules of nftables interrupts connections through up-0.1: nft: Operation not supported';
  t.deepEqual(log.lines.splice(0), [said]);
  nft('flush', 'ruleset');
  t.true(ping('172.30.0.9'));
  await guard.check();
  t.false(ping('172.30.0.9'));
  t.deepEqual(log.lines, ['the guard of uplink up-0.1 was gone from nftables, and is back']);
  nft('flush', 'set', 'netdev', guardTable('up-0.1'), 'subnets4');
  t.true(ping('172.30.0.9'));
  await guard.check();
  t.false(ping('172.30.0.9'));
  t.is(log.lines.length, 2);
  await guard.remove();
  await guard.check();
  t.is(nft('list', 'ruleset'), '');
});

test.serial('what is held outlasts whatever others do, and ends with the guard, or the process', async (t) => {
  const log = logger();
  const guard = new Guard('up-0.1', 'tapline:host:1', system, log);
  await guard.install(['172.30.0.0/24']);
  const whole = nft('list', 'ruleset');
  nft('flush', 'ruleset');
  t.false(ping('172.30.0.9'));
  const held = heldTable('up-0.1');
  for (const words of [
    ['delete', 'table', 'netdev', held],
    ['flush', 'chain', 'netdev', held, 'ingress'],
    ['flush', 'set', 'netdev', held, 'subnets4'],
  ])
    t.throws(() => nft(...words), { message: /Operation not permitted/ });
  await guard.update(['172.31.0.0/24']);
  t.true(ping('172.30.0.9'));
  nft('flush', 'ruleset');
  t.false(ping('172.31.0.9'));
  await guard.update(['172.30.0.0/24']);
  t.is(nft('list', 'ruleset').split('hook ingress').length, whole.split('hook ingress').length);
  // Another one cannot have it meanwhile, and says so.
  const other = new Guard('up-0.1', 'tapline:host:1', system, log);
  await other.install(['172.30.0.0/24']);
  t.regex(log.lines.join(), /^whoever flushes the rules of nftables .*: nft: Could not process rule: Operation not /);
  await guard.remove();
  await other.check();
  nft('flush', 'ruleset');
  t.false(ping('172.30.0.9'), 'its turn');
  await other.remove();
  t.is(nft('list', 'ruleset'), '');
});

test.serial('one left by a killed process is replaced, or removed where none is needed', async (t) => {
  await new Guard('up-0.1', 'tapline:host:1', without, logger()).install(['172.30.0.0/24', '172.31.0.0/24']);
  const next = new Guard('up-0.1', 'tapline:host:1', without, logger());
  await next.install(['172.31.0.0/24']);
  t.true(ping('172.30.0.9'));
  t.false(ping('172.31.0.9'));
  await removeStaleGuard('up-0.1', system);
  t.is(nft('list', 'ruleset'), '');
  await removeStaleGuard('up-0.1', system);
  t.is(nft('list', 'ruleset'), '');
});

test('every device has a table of its own, by a name that nft takes', (t) => {
  const devices = ['eth0', 'eth-0', 'eth_0', 'eth.0', 'eth0_', 'ä0', 'a@b', '0', '-'];
  const tables = devices.map(guardTable);
  t.is(new Set(tables).size, devices.length);
  for (const table of tables) t.regex(table, /^tapline_[A-Za-z0-9_]+$/);
});

test('the script is one transaction that first clears what was there', (t) => {
  t.regex(
    guardScript('up0', [], 'tapline:host:1'),
    /^table netdev tapline_up0\ndelete table netdev tapline_up0\ntable netdev tapline_up0 \{\n/,
  );
});

test('where nft fails, it is said once and tried again', async (t) => {
  const double = new SystemDouble();
  double.devices.add('up0');
  const log = logger();
  const guard = new Guard('up0', 'tapline:host:1', double, log);
  await guard.install(['172.30.0.0/24']);
  double.nftError = 'nft not found: install nftables';
  await guard.check();
  await guard.check();
  t.deepEqual(log.lines, ['the guard of uplink up0 cannot be put back: nft not found: install nftables']);
  t.true(guard.failing);
  double.nftError = null;
  double.tables.clear();
  await guard.check();
  t.false(guard.failing);
  t.is(double.tables.size, 1);
});

test('what nft refuses once is tried again, though nothing else is wanted meanwhile', async (t) => {
  const double = new SystemDouble();
  double.devices.add('up0');
  const log = logger();
  const guard = new Guard('up0', 'tapline:host:1', double, log);
  await guard.install(['172.30.0.0/24']);
  double.nftError = 'Device or resource busy';
  await t.throwsAsync(guard.update(['172.30.0.0/24', '172.31.0.0/24']), { message: 'Device or resource busy' });
  t.true(guard.failing);
  await t.throwsAsync(guard.update(['172.30.0.0/24', '172.31.0.0/24']), { message: 'Device or resource busy' });
  double.nftError = null;
  await guard.check();
  t.false(guard.failing);
  t.regex(double.tables.get('netdev tapline_up0') ?? '', /172\.31\.0\.0\/24/);
  t.deepEqual(log.lines, ['the guard of uplink up0 is up to date again']);
});
