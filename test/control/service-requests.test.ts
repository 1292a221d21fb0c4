/** Which service a request makes of the one before. */

import test from 'ava';
import { type ServiceConfig, serviceSchema } from '../../control/config/schema.js';
import { changedBackends, changedService } from '../../control/service-requests.js';

function service(more: Record<string, unknown> = {}): ServiceConfig {
  const backends = [
    { endpoint: 'a', port: 80 },
    { endpoint: 'b', port: 80, weight: 2 },
  ];
  return serviceSchema.parse({ network: 'blue', listen: ['8080'], backends, ...more });
}

const HEALTH = { type: 'http', path: '/health', status: '200-299', interval: 7 };

test('an empty request changes nothing', (t) => {
  for (const before of [service(), service({ health: HEALTH, passive: { failures: 0 }, forwarding: 'direct' })])
    t.deepEqual(changedService('web', before, {}), before);
});

test('keys that are given take the place of what was, null that of the default', (t) => {
  const before = service({ scheduler: 'wrr', affinity: 30, listen: ['8080', '8443'] });
  const after = changedService('web', before, { scheduler: 'lc', affinity: null, listen: ['10.77.0.1:9090'] });
  t.deepEqual(after, { ...before, scheduler: 'lc', affinity: 0, listen: ['10.77.0.1:9090/tcp'] });
  t.deepEqual(changedService('web', before, { backends: [] }).backends, []);
  t.deepEqual(changedService('web', before, { network: 'blue' }), before);
});

test('parts of a health check are changed alone; a type makes it another', (t) => {
  const before = service({ health: HEALTH });
  const health = (request: unknown) => changedService('web', before, { health: request }).health;
  t.like(health({ fall: 9 }), { ...HEALTH, fall: 9 });
  t.is(health({ path: null })?.path, undefined);
  t.like(health({ path: null }), { type: 'http', status: '200-299', interval: 7 });
  t.deepEqual(health({ type: 'tcp' }), serviceSchema.parse({ ...service(), health: { type: 'tcp' } }).health);
  t.is(health(null), undefined);
  t.false('health' in changedService('web', before, { health: null }));
  t.like(changedService('web', service(), { passive: { time: 60 } }).passive, { failures: 3, time: 60 });
});

test('single backends: out, other weights, in; all in one step', (t) => {
  const after = changedService('web', service(), {
    add: [{ endpoint: 'c', port: 81 }],
    remove: ['a:80'],
    weights: { 'b:80': 0 },
    scheduler: 'maglev',
  });
  t.is(after.scheduler, 'maglev');
  t.deepEqual(after.backends, [
    { endpoint: 'b', port: 80, weight: 0 },
    { endpoint: 'c', port: 81, weight: 1 },
  ]);
  const again = changedService('web', service(), { remove: ['a:80'], add: [{ endpoint: 'a', port: 80, weight: 5 }] });
  t.is(again.backends.find(({ endpoint }) => endpoint === 'a')?.weight, 5, 'out and in again');
});

for (const [what, request, message] of [
  ['another network', { network: 'red' }, /^network: service web stays in network blue; remove the service/],
  ['an unknown key', { schedule: 'rr' }, /^schedule: unknown key; expected one of network, listen, scheduler, /],
  ['no listener', { listen: [] }, /^listen: expected at least one entry/],
  ['listen as null', { listen: null }, /^listen: missing; expected a list of listening addresses/],
  [
    'a scheduler of others',
    { scheduler: 'wrrr' },
    /^scheduler: expected one of rr, wrr, lc, wlc, sh, maglev, got "wrrr"$/,
  ],
  [
    'a table that is no prime',
    { table_size: 65_536 },
    /^table_size: expected a prime number from 251 to 1048573, got 65536$/,
  ],
  [
    'a health check without a type',
    { health: { interval: 5 } },
    /^health\.type: missing; expected one of tcp, http, https$/,
  ],
  ['health as text', { health: 'tcp' }, /^health: expected a mapping with type, .*, got "tcp"$/],
  ['add that is no list', { add: { endpoint: 'c', port: 1 } }, /^add: expected a list of backends, got a mapping$/],
  [
    'a port out of range',
    { add: [{ endpoint: 'c', port: 70_000 }] },
    /^add\[0\]\.port: expected an integer from 1 to 65535, got 70000$/,
  ],
  [
    'a negative weight',
    { add: [{ endpoint: 'c', port: 1, weight: -1 }] },
    /^add\[0\]\.weight: expected an integer from 0 to 65535, got -1$/,
  ],
  [
    'a weight that is too large',
    { weights: { 'a:80': 65_536 } },
    /^weights\["a:80"\]: expected an integer from 0 to 65535, got 65536$/,
  ],
  ['a weight of no backend', { weights: { a: 1 } }, /^weights\.a: expected a backend such as "a:80"/],
  ['an entry that is no backend', { remove: ['a:0'] }, /^remove\[0\]: expected a backend such as "a:80", got "a:0"$/],
  ['a port of six digits', { remove: ['a:65536'] }, /^remove\[0\]: expected a backend such as "a:80", got "a:65536"$/],
  [
    'one to remove that is to have a weight',
    { remove: ['a:80'], weights: { 'a:80': 5 } },
    /^weights\["a:80"\]: expected no weight of a backend that is removed, got 5$/,
  ],
  ['one to remove that is not there', { remove: ['c:80'] }, /^service web has no backend c:80; it has a:80, b:80$/],
  [
    'a weight of one that is not there',
    { weights: { 'a:81': 1 } },
    /^service web has no backend a:81; it has a:80, b:80$/,
  ],
  ['one to add that is there', { add: [{ endpoint: 'a', port: 80 }] }, /^service web has backend a:80 already$/],
  [
    'one twice',
    {
      add: [
        { endpoint: 'c', port: 1 },
        { endpoint: 'c', port: 1 },
      ],
    },
    /^service web has backend c:1 already$/,
  ],
  [
    'all backends, and single ones',
    { backends: [], remove: ['a:80'] },
    /^backends: expected either all backends, or add, remove and weights$/,
  ],
] as const) {
  test(`refused: ${what}`, (t) => {
    const before = service();
    const copy = structuredClone(before);
    t.throws(() => changedService('web', before, request), { name: 'TaplineError', message });
    t.deepEqual(before, copy);
  });
}

test('a service of many backends names some of them', (t) => {
  const backends = Array.from({ length: 20 }, (_, i) => ({ endpoint: `e${i}`, port: 80, weight: 1 }));
  const before = { ...service(), backends };
  const line =
    'service web has no backend x:1; it has e0:80, e1:80, e2:80, e3:80, e4:80, e5:80, e6:80, e7:80 and 12 more';
  t.throws(() => changedBackends('web', before, { remove: ['x:1'] }), { message: line });
  t.throws(() => changedBackends('web', { ...before, backends: [] }, { remove: ['x:1'] }), { message: /it has none$/ });
});
