/**
 * The kind of address translation as programs of others see it that have to get through it: STUN clients, asking a STUN server with two
 * addresses and two ports (RFC 5780). Each is asked from three containers that use one port, so that only the first can have that outside:
 * a translation that keeps ports looks endpoint-independent whatever it is.
 */

import test, { type ExecutionContext } from 'ava';
import type { Host } from './support/lab.js';
import type { Namespace } from './support/namespace.js';
import { connections, reflect, startMirror } from './support/nat.js';
import { serve } from './support/published.js';
import { createSite, OUTSIDE, type Site, UPLINK } from './support/site.js';
import { eventually } from './support/wait.js';

/** The server's second address. */
const OTHER = '10.77.0.253';
/** Ports that the containers use; far enough apart that no question is answered by what an earlier one has opened. */
const MAPPING_PORT = 40_000;
const FILTERING_PORT = 40_100;
const HAIRPIN_PORT = 40_200;
const STUN_PORT = 40_300;
const CONNECTION_PORT = 40_400;

/** Of a second server, for connections. */
const PAGE_PORTS = [80, 81];

interface Type {
  readonly mapping: RegExp;
  readonly filtering: RegExp;
  readonly stun: RegExp;
}

async function createStunSite(t: ExecutionContext, nat: object): Promise<Site> {
  const prepare = async (outside: Namespace): Promise<void> => {
    await outside.exec('ip', 'address', 'add', `${OTHER}/24`, 'dev', 'out0');
    const listen = ['-L', OUTSIDE.ip, '-L', OTHER, '-E', OUTSIDE.ip];
    const plain = ['--no-cli', '--no-tls', '--no-dtls', '--log-file', 'stdout', '--pidfile', '/dev/null'];
    outside.start('turnserver', '-n', '-S', ...listen, ...plain);
    await eventually('the STUN server to listen', async () => {
      const sockets = await outside.exec('ss', '-Hlun');
      return [OUTSIDE.ip, OTHER].every((address) =>
        [3478, 3479].every((port) => sockets.includes(`${address}:${port}`)),
      );
    });
  };
  return createSite(t, { file: { nat }, prepare });
}

/** What the discovery says, and the ports that the server saw. @param question -m mapping, -f filtering, -H hairpin */
async function discover(from: Host, question: string, port: number): Promise<{ text: string; ports: number[] }> {
  const argv = ['turnutils_natdiscovery', question, '-L', from.ip, '-l', String(port), OUTSIDE.ip];
  const { stdout } = await from.run(argv);
  const seen = [...stdout.matchAll(/UDP reflexive addr: ([\d.]+):(\d+)/g)];
  if (seen.some(([, address]) => address !== UPLINK.ip)) throw new Error(`not the uplink's address: ${stdout}`);
  return { text: stdout, ports: seen.map(([, , port]) => Number(port)) };
}

const stun = async (from: Host): Promise<string> =>
  (await from.run(['stun', OUTSIDE.ip, '-p', String(STUN_PORT)])).stdout;

/** Ports that two addresses with two ports each see of connections from one port. */
async function seenPorts(t: ExecutionContext, from: Host): Promise<(number | undefined)[]> {
  const targets = [OUTSIDE.ip, OTHER].flatMap((address) => PAGE_PORTS.map((port) => `${address}:${port}`));
  const seen = await connections(from, CONNECTION_PORT, targets);
  t.deepEqual([...new Set(seen.map(({ peer }) => peer))], [UPLINK.ip]);
  return seen.map(({ port }) => port);
}

const HAIRPINNED = /^Received a request \(maybe a successful hairpinning\)/m;

const MODES: readonly { readonly nat: object; readonly type: Type }[] = [
  {
    nat: {},
    type: {
      mapping: /^NAT with Endpoint Independent Mapping!$/m,
      filtering: /^NAT with Address Dependent Filtering!$/m,
      stun: /^Primary: Independent Mapping, Address Dependent Filter, .*, will hairpin/m,
    },
  },
  {
    nat: { filtering: 'endpoint_independent' },
    type: {
      mapping: /^NAT with Endpoint Independent Mapping!$/m,
      filtering: /^NAT with Endpoint Independent Filtering!$/m,
      stun: /^Primary: Independent Mapping, Independent Filter, .*, will hairpin/m,
    },
  },
  {
    nat: { filtering: 'address_and_port_dependent' },
    type: {
      mapping: /^NAT with Endpoint Independent Mapping!$/m,
      filtering: /^NAT with Address and Port Dependent Filtering!$/m,
      stun: /^Primary: Independent Mapping, Port Dependent Filter, .*, will hairpin/m,
    },
  },
];

for (const { nat, type } of MODES) {
  test.serial(
    `${JSON.stringify(nat)}: the type that is configured, for each of three containers with one port`,
    async (t) => {
      const { a, b, c, outside } = await createStunSite(t, nat);
      await serve(t, outside, 'outside', PAGE_PORTS);
      await startMirror(t, outside, 9000);
      // As deterministic among many others (RFC 4787, REQ-11).
      t.true((await reflect(b, OUTSIDE.ip, 9000, { count: 900 })).every(({ peer }) => peer === UPLINK.ip));
      const hosts = [a, b, c];
      const mappings = await Promise.all(hosts.map((from) => discover(from, '-m', MAPPING_PORT)));
      for (const { text, ports } of mappings) {
        t.regex(text, type.mapping);
        t.is(new Set(ports).size, 1, 'one port, whoever looks');
        t.is((ports[0] ?? 1) % 2, 0, 'even as the port inside');
      }
      t.is(new Set(mappings.map(({ ports }) => ports[0])).size, 3, 'three ports of one');
      for (const { text } of await Promise.all(hosts.map((from) => discover(from, '-f', FILTERING_PORT)))) {
        t.regex(text, type.filtering);
      }
      for (const { text } of await Promise.all(hosts.map((from) => discover(from, '-H', HAIRPIN_PORT)))) {
        t.regex(text, HAIRPINNED);
      }
      for (const text of await Promise.all(hosts.map(stun))) t.regex(text, type.stun);
      const connected = await Promise.all(hosts.map((from) => seenPorts(t, from)));
      for (const ports of connected) t.is(new Set(ports).size, 1, `of connections too: ${ports}`);
      t.is(new Set(connected.flat()).size, 3);
    },
  );
}

test.serial('mapping: address_and_port_dependent: a port for each destination, and nobody else comes in', async (t) => {
  const { a, b, c, outside } = await createStunSite(t, { mapping: 'address_and_port_dependent' });
  await serve(t, outside, 'outside', PAGE_PORTS);
  // The first has its own port wherever it sends, since nobody else has it there.
  const [first, ...others] = [a, b, c];
  t.regex((await discover(first, '-m', MAPPING_PORT)).text, /^NAT with Endpoint Independent Mapping!$/m);
  for (const { text, ports } of await Promise.all(others.map((from) => discover(from, '-m', MAPPING_PORT)))) {
    t.regex(text, /^NAT with Address and Port Dependent Mapping!$/m);
    t.is(new Set(ports).size, ports.length);
  }
  for (const { text } of await Promise.all([a, b, c].map((from) => discover(from, '-f', FILTERING_PORT)))) {
    t.regex(text, /^NAT with Address and Port Dependent Filtering!$/m);
  }
  await stun(first);
  for (const text of await Promise.all(others.map(stun))) t.regex(text, /^Primary: Dependent Mapping, random port/m);
  await seenPorts(t, first);
  for (const from of others) t.true(new Set(await seenPorts(t, from)).size > 1);
});
