import { execFileSync, spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import test from 'ava';
import { interfaceIndex, interfaceMac, runIpBatch } from '../../io/interface.js';
import { SystemError } from '../../io/libc.js';
import { withNamespace } from '../../io/netns.js';
import { attachTap, type TapOptions } from '../../io/tap.js';
import { openUplink } from '../../io/uplink.js';

const name = `tl-io-${process.pid}`;
const netns = `/run/netns/${name}`;

test.before(() => {
  execFileSync('ip', ['netns', 'add', name]);
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', name]);
});

function own(): string {
  return readlinkSync('/proc/thread-self/ns/net');
}

function options(overrides: Partial<TapOptions> = {}): TapOptions {
  return {
    netns,
    interface: 'eth0',
    mac: '02:42:ac:1e:00:02',
    mtu: 1400,
    addresses: ['172.30.0.2/24', 'fd00:30::2/64'],
    alias: 'tapline:a',
    ...overrides,
  };
}

function inside(...words: string[]): string {
  return execFileSync('ip', ['-n', name, ...words], { encoding: 'utf8' });
}

test.serial('a function runs inside and the thread comes back, also when it throws', (t) => {
  const home = own();
  const there = withNamespace(netns, own);
  t.not(there, home);
  t.is(own(), home);
  t.throws(
    () =>
      withNamespace(netns, () => {
        throw new Error('in between');
      }),
    { message: 'in between' },
  );
  t.is(own(), home);
});

test.serial('a missing namespace and a file that is none are named', (t) => {
  const home = own();
  const missing = t.throws(() => withNamespace('/run/netns/tl-no-such', own), { instanceOf: SystemError });
  t.is(missing?.code, 'ENOENT');
  t.regex(missing?.message ?? '', /^ENOENT opening network namespace \/run\/netns\/tl-no-such: /);
  const wrong = t.throws(() => withNamespace('/etc/passwd', own), { instanceOf: SystemError });
  t.regex(wrong?.message ?? '', /^EINVAL entering network namespace \/etc\/passwd: not a network namespace/);
  t.is(own(), home);
});

test.serial('a TAP is made with its MAC, MTU, addresses and routes, up, and goes without a trace', async (t) => {
  const tap = await attachTap(options({ routes: [{ to: '10.9.0.0/16', via: '172.30.0.1' }] }));
  t.false(tap.tookOver);
  const link = inside('-d', 'link', 'show', 'eth0');
  t.regex(link, /mtu 1400/);
  t.regex(link, /02:42:ac:1e:00:02/);
  t.regex(link, /alias tapline:a/);
  t.regex(link, /tun type tap pi off vnet_hdr on persist on/);
  t.regex(link, /<[^>]*\bUP\b/);
  const addresses = inside('addr', 'show', 'eth0');
  t.regex(addresses, /172\.30\.0\.2\/24 brd 172\.30\.0\.255/);
  t.regex(addresses, /fd00:30::2\/64/);
  t.notRegex(addresses, /fd00:30::2\/64[^\n]*tentative/);
  t.regex(inside('route'), /10\.9\.0\.0\/16 via 172\.30\.0\.1/);
  t.is(
    withNamespace(netns, () => interfaceMac('eth0')),
    '02:42:ac:1e:00:02',
  );
  await tap.detach();
  t.is(
    withNamespace(netns, () => interfaceIndex('eth0')),
    -1,
  );
});

test.serial('a released TAP stays and is taken over by its alias; a stranger’s is refused', async (t) => {
  const first = await attachTap(options());
  const index = withNamespace(netns, () => interfaceIndex('eth0'));
  first.release();
  await t.throwsAsync(attachTap(options({ alias: 'tapline:b' })), {
    message: /^EEXIST .*eth0.*taken.*endpoint a of another/,
  });
  const second = await attachTap(options({ addresses: ['172.30.0.9/24'] }));
  t.true(second.tookOver);
  t.is(
    withNamespace(netns, () => interfaceIndex('eth0')),
    index,
    'the same device',
  );
  t.notRegex(inside('addr', 'show', 'eth0'), /172\.30\.0\.2\//, 'with the new addresses only');
  await second.detach();
});

test.serial('a taken name is refused and left alone', async (t) => {
  inside('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
  await t.throwsAsync(attachTap(options()), { message: /^EEXIST creating interface eth0: the name is taken in / });
  t.regex(inside('link', 'show', 'eth0'), /eth0@other/);
  inside('link', 'del', 'eth0');
});

test.serial('a device that another process holds is refused', async (t) => {
  const tap = await attachTap(options());
  await t.throwsAsync(attachTap(options()), { message: /^EBUSY .*another process holds/ });
  await tap.detach();
});

test.serial('what `ip` refuses is said with the line, and nothing is left behind', async (t) => {
  await t.throwsAsync(attachTap(options({ addresses: ['172.30.0.2/240'] })), {
    message: /^ip.*172\.30\.0\.2\/240/,
  });
  t.is(
    withNamespace(netns, () => interfaceIndex('eth0')),
    -1,
  );
});

test.serial('addresses go in with IPv6 switched off by default, as in Docker’s containers', async (t) => {
  execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
  const tap = await attachTap(options());
  t.regex(inside('addr', 'show', 'eth0'), /fd00:30::2\/64/);
  await tap.detach();
  execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=0']);
});

test.serial('an uplink device that is not there is named', (t) => {
  const error = t.throws(() => openUplink({ device: 'tl-none' }), { instanceOf: SystemError });
  t.regex(error?.message ?? '', /opening uplink tl-none: no such device/);
});

test.serial('a batch runs in the namespace', async (t) => {
  await runIpBatch(netns, ['link set lo up']);
  t.regex(inside('link', 'show', 'lo'), /LOOPBACK,UP/);
});
