/** Which backends are checked, and how. */

import test from 'ava';
import { serviceSchema } from '../../../control/config/schema.js';
import { type CheckedService, wantedChecks } from '../../../control/health/wanted.js';

interface Options {
  readonly listen?: string[];
  readonly health?: object;
  readonly addresses?: string[];
  readonly state?: string;
}

function service({ listen = ['8080'], health, addresses, state }: Options): CheckedService {
  const backends = [{ endpoint: 'a', port: 3000 }];
  const config = serviceSchema.parse({
    network: 'blue',
    listen,
    backends,
    ...(health === undefined ? {} : { health }),
  });
  const own = addresses ?? ['172.30.0.2', 'fd00:30::2'];
  const [backend] = config.backends;
  if (backend === undefined) throw new Error('no backend');
  const one = { key: 'a:3000', config: backend, number: 7, addresses: own, state: state ?? 'up' };
  return { name: 'web', config, vrf: 'default', backends: [one] };
}

const NETWORKS: Readonly<Record<string, string>> = { a: 'green' };
const wanted = (options: Options) => wantedChecks([service(options)], (endpoint) => NETWORKS[endpoint]);

test('a backend is checked from inside the network of its endpoint, at its own port', (t) => {
  t.deepEqual(wanted({ health: { type: 'tcp' } }), [
    {
      service: 'web',
      backend: 'a:3000',
      endpoint: 'a',
      number: 7,
      vrf: 'default',
      network: 'green',
      isNew: false,
      target: { address: '172.30.0.2', port: 3000, http: null, interval: 2000, timeout: 2000, rise: 2, fall: 3 },
    },
  ]);
});

test('none is checked without a health check, without an address, or without an endpoint', (t) => {
  t.deepEqual(wanted({}), []);
  t.deepEqual(wanted({ health: { type: 'tcp' }, addresses: [] }), []);
  t.deepEqual(
    wantedChecks([service({ health: { type: 'tcp' } })], () => undefined),
    [],
  );
});

test('the family is that of the listeners, IPv4 where it may be either, the other where the backend has no more', (t) => {
  const address = (listen: string[], addresses?: string[]) =>
    wanted({ listen, health: { type: 'tcp' }, ...(addresses === undefined ? {} : { addresses }) })[0]?.target.address;
  t.is(address(['[fd00:30::1]:80']), 'fd00:30::2');
  t.is(address(['[fd00:30::1]:80', '172.30.0.1:80']), '172.30.0.2');
  t.is(address(['80'], ['fd00:30::2']), 'fd00:30::2');
  t.is(address(['[::]:80'], ['172.30.0.2']), '172.30.0.2');
});

test('an HTTP check: what is said, and what is not', (t) => {
  const http = (health: object) => wanted({ health })[0]?.target;
  t.like(http({ type: 'http' }), {
    port: 3000,
    http: { secure: false, path: '/', host: '172.30.0.2:3000', first: 200, last: 399, body: '' },
  });
  t.like(http({ type: 'https', port: 443, path: '/h', status: 204, body: 'ok', interval: 5, timeout: 1 }), {
    port: 443,
    http: { secure: true, path: '/h', host: '172.30.0.2', first: 204, last: 204, body: 'ok' },
    interval: 5000,
    timeout: 1000,
  });
  t.like(http({ type: 'http', host: 'web.example', status: '200-204' }), {
    http: { host: 'web.example', first: 200, last: 204 },
  });
  const [six] = wanted({ listen: ['[::]:80'], health: { type: 'http' } });
  t.is(six?.target.http?.host, '[fd00:30::2]:3000');
});

test('a backend that waits for its first result is told from one that has had it', (t) => {
  t.true(wanted({ health: { type: 'tcp' }, state: 'starting' })[0]?.isNew);
  t.false(wanted({ health: { type: 'tcp' }, state: 'draining' })[0]?.isNew);
});
