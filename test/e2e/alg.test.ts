/** Gateways for FTP and TFTP with real servers and clients, on either side of the translation. */

import test, { type ExecutionContext } from 'ava';
import {
  createStore,
  curlBoth,
  type Outcome,
  type Store,
  serveFtp,
  serveTftp,
  tftpBoth,
} from './support/file-servers.js';
import { tcpdump } from './support/frames.js';
import { watchPrivate } from './support/nat.js';
import { accounted, createSite, OUTSIDE, type Site, type SiteOptions, UPLINK } from './support/site.js';

const SIZE = 5_000_000;
const ALGS = { nat: { alg: ['ftp', 'tftp'] } };

/** Ways to agree on FTP's data connection: the client's command, and the options that have curl give it over IPv4. */
const ACTIVE = [
  ['PORT', ['-P', '-', '--disable-eprt']],
  ['EPRT', ['-P', '-']],
] as const;
const PASSIVE = [
  ['PASV', ['--disable-epsv', '--no-ftp-skip-pasv-ip']],
  ['EPSV', []],
] as const;

interface Scene extends Site {
  readonly store: Store;
  /** Nothing with a private source was on the wire, and each packet has one end. */
  assertHidden(): Promise<void>;
}

async function createScene(t: ExecutionContext, options: SiteOptions = {}, size = SIZE): Promise<Scene> {
  const site = await createSite(t, options);
  const watch = await watchPrivate(t, site.outside);
  const assertHidden = async (): Promise<void> => {
    t.deepEqual(await watch.frames(), [], 'private addresses on the wire');
    await accounted(site.tapline);
  };
  return { ...site, store: createStore(t, size), assertHidden };
}

function assertWhole(t: ExecutionContext, { codes, whole, text }: Outcome, what: string): void {
  t.deepEqual([codes, whole], [[0, 0], true], `${what}: ${text}`);
}

const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

test.serial('ftp: a client inside, the server outside, in every way that they can agree on', async (t) => {
  const { a, b, c, outside, store, assertHidden } = await createScene(t, { file: ALGS });
  await serveFtp(t, outside, OUTSIDE.ip, store);
  for (const [command, options] of [...ACTIVE, ...PASSIVE]) {
    const outcome = await curlBoth(t, a, store, `ftp://${OUTSIDE.ip}`, ...options);
    assertWhole(t, outcome, command);
    t.regex(outcome.text, new RegExp(`^> ${command}\\b`, 'm'), 'the way that was asked for');
  }
  // One data port in several containers, at the same time.
  const outcomes = await Promise.all(
    [a, b, c].map((from) => curlBoth(t, from, store, `ftp://${OUTSIDE.ip}`, '-P', `${from.ip}:45000-45001`)),
  );
  for (const outcome of outcomes) assertWhole(t, outcome, 'three clients');
  await assertHidden();
});

test.serial('ftp without its gateway: what the server tells works, what the client tells does not', async (t) => {
  const { a, outside, store, assertHidden } = await createScene(t, { file: { nat: { alg: ['tftp'] } } });
  await serveFtp(t, outside, OUTSIDE.ip, store);
  for (const [command, options] of PASSIVE) {
    assertWhole(t, await curlBoth(t, a, store, `ftp://${OUTSIDE.ip}`, ...options), command);
  }
  for (const [command, options] of ACTIVE) {
    const { codes, whole, text } = await curlBoth(t, a, store, `ftp://${OUTSIDE.ip}`, ...options);
    // The server is told an address that is not the client's: curl's code for a command that it refuses.
    t.deepEqual([codes, whole], [[30, 30], false], `${command}: ${text}`);
  }
  await assertHidden();
});

test.serial('ftp: the server inside behind a published port, clients outside', async (t) => {
  const publish = ['21:21', '2121:21'];
  const { a, outside, tapline, store, assertHidden } = await createScene(t, {
    file: ALGS,
    blue: { nat66: true },
    endpoint: { a: { publish } },
  });
  for (const address of [a.ip, a.ip6]) await serveFtp(t, a, address, store);
  for (const port of [21, 2121]) {
    for (const [command, options] of [...PASSIVE, ...ACTIVE]) {
      const outcome = await curlBoth(t, outside, store, `ftp://${UPLINK.ip}:${port}`, ...options);
      assertWhole(t, outcome, `${command} at ${port}`);
      t.regex(outcome.text, new RegExp(`^> ${command}\\b`, 'm'));
      t.notRegex(outcome.text, /172,30,0,2|172\.30\.0\.2/, 'the address inside is told to nobody');
    }
  }
  for (const options of [[], ['-P', '-']]) {
    assertWhole(t, await curlBoth(t, outside, store, `ftp://[${UPLINK.ip6}]`, ...options), `IPv6 ${options}`);
  }
  await assertHidden();
  t.deepEqual((await tapline.status()).workerRestarts, 0);
});

test.serial('ftp without its gateway: passive mode does not reach a server behind a published port', async (t) => {
  const { a, outside, store, assertHidden } = await createScene(t, { endpoint: { a: { publish: ['21:21'] } } });
  await serveFtp(t, a, a.ip, store);
  const [, options] = PASSIVE[0];
  const { codes, whole, text } = await curlBoth(t, outside, store, `ftp://${UPLINK.ip}`, ...options, '-m', '3');
  t.deepEqual([codes, whole], [[28, 28], false], text);
  t.regex(text, /^< 227 .*172,30,0,2/m, 'its own address, at which nobody outside finds it');
  await assertHidden();
});

test.serial('ftp over IPv6: as it is, and translated', async (t) => {
  for (const [title, blue, seen] of [
    ['untranslated', {}, 'fd00:30::2'],
    ['nat66', { nat66: true }, UPLINK.ip6],
  ] as const) {
    const { a, outside, tapline, store } = await createScene(t, { file: ALGS, blue });
    await serveFtp(t, outside, OUTSIDE.ip6, store);
    const control = await tcpdump(t, outside, { device: 'out0', direction: 'in', filter: 'ip6 and tcp dst port 21' });
    for (const [command, options] of [
      ['EPRT', ['-P', '-']],
      ['EPSV', []],
    ] as const) {
      const outcome = await curlBoth(t, a, store, `ftp://[${OUTSIDE.ip6}]`, ...options);
      assertWhole(t, outcome, `${title}, ${command}`);
      t.regex(outcome.text, new RegExp(`^> ${command}\\b`, 'm'));
    }
    const told = (await control.frames()).flatMap(
      (frame) => /EPRT \|2\|([^|]+)\|/.exec(frame.toString('latin1')) ?? [],
    );
    t.is(told.length, 4, `${title}: fetched and put, each time the whole and the address`);
    for (const address of [told[1], told[3]]) t.is(canonical(address ?? ''), canonical(seen), title);
    await accounted(tapline);
  }
});

/** An IPv6 address as all of its groups. */
function canonical(address: string): string {
  return new URL(`http://[${address}]/`).hostname;
}

const TFTP_BLOCK = ['--tftp-blksize', '1428'];

test.serial('tftp: a client inside, the server outside, however strict the filter; IPv6 as well', async (t) => {
  const strict = { mapping: 'address_and_port_dependent', filtering: 'address_and_port_dependent' };
  const { a, b, outside, store, assertHidden } = await createScene(t, {
    file: { nat: { ...strict, alg: ['tftp'] } },
    blue: { nat66: true },
  });
  await serveTftp(outside, 4, store);
  await serveTftp(outside, 6, store);
  for (const address of [OUTSIDE.ip, OUTSIDE.ip6]) {
    const url = `tftp://${bracketed(address)}`;
    assertWhole(t, await curlBoth(t, a, store, url, ...TFTP_BLOCK), `curl, ${address}`);
  }
  const small = createStore(t, 500_000);
  await serveTftp(b, 4, small);
  const outcomes = await Promise.all([a, b].map((from) => tftpBoth(t, from, store, OUTSIDE.ip)));
  for (const outcome of outcomes) assertWhole(t, outcome, 'tftp-hpa');
  await assertHidden();
});

test.serial('tftp without its gateway: a strict filter lets no answer in', async (t) => {
  const strict = { mapping: 'address_and_port_dependent', filtering: 'address_and_port_dependent' };
  const { a, outside, store, assertHidden } = await createScene(t, { file: { nat: { ...strict, alg: ['ftp'] } } });
  await serveTftp(outside, 4, store);
  const { codes, whole, text } = await curlBoth(t, a, store, `tftp://${OUTSIDE.ip}`, '-m', '4', ...TFTP_BLOCK);
  t.deepEqual([codes, whole], [[28, 28], false], text);
  await assertHidden();
});

test.serial('tftp: the server inside behind a published port, whatever port that is', async (t) => {
  const { a, outside, store, assertHidden } = await createScene(t, {
    file: ALGS,
    endpoint: { a: { publish: ['69:69/udp', '6969:69/udp'] } },
  });
  await serveTftp(a, 4, store);
  for (const port of [69, 6969]) {
    assertWhole(t, await curlBoth(t, outside, store, `tftp://${UPLINK.ip}:${port}`, ...TFTP_BLOCK), `at ${port}`);
  }
  await assertHidden();
});
