import test from 'ava';
import { endpointSchema, type MirrorConfig, mirrorSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { config, eventually, type Fixture, makeFixture } from './support/fixture.js';

const FILE = `version: 1
uplink: { device: up0, mode: bridged, network: blue }
networks: { blue: { subnets: [172.30.0.0/24] }, red: { subnets: [172.31.0.0/24] } }
endpoints:
  a: { network: blue, netns: /ns/a }
  b: { network: blue, netns: /ns/b }
  c: { network: red, netns: /ns/c }
`;

interface Lab extends Fixture {
  readonly port: (name: string) => number;
  readonly connect: (name: string, network?: string) => Promise<unknown>;
  readonly settled: () => Promise<void>;
}

async function makeLab(more = ''): Promise<Lab> {
  const fixture = makeFixture();
  const { daemon, dataplane, system } = fixture;
  for (const name of ['a', 'b', 'c']) system.addNamespace(`/ns/${name}`);
  system.devices.add('up0');
  await daemon.apply(config(FILE + more));
  return {
    ...fixture,
    port: (name) => dataplane.portNamed(name),
    connect: (name, network = 'blue') => daemon.connect(name, endpointSchema.parse({ network, netns: `/ns/${name}` })),
    settled: () => new Promise((resolve) => setImmediate(resolve)),
  };
}

const mirror = (from: MirrorConfig['from'], to: string, direction: MirrorConfig['direction'] = 'both'): MirrorConfig =>
  mirrorSchema.parse({ from, to, direction });

test("a file's mirrors are there once all is up, in the dataplane's numbers, and end with the daemon", async (t) => {
  const { daemon, dataplane, port } = await makeLab(`mirrors:
  m: { from: { endpoint: a }, to: c, direction: in }
  n: { from: { network: red }, to: b }
  o: { from: { uplink: true }, to: b, direction: out }
  p: { from: { network: blue }, to: b }
`);
  const red = daemon.network('red').id;
  const blue = daemon.network('blue').id;
  t.deepEqual(
    [...dataplane.mirrors.values()],
    [
      { fromPort: port('a'), fromNetwork: null, to: port('c'), direction: 'in' },
      { fromPort: null, fromNetwork: red, to: port('b'), direction: 'both' },
      { fromPort: port('uplink'), fromNetwork: null, to: port('b'), direction: 'out' },
      { fromPort: null, fromNetwork: blue, to: port('b'), direction: 'both' },
    ],
  );
  t.deepEqual(daemon.mirrors.view('m'), {
    name: 'm',
    from: { endpoint: 'a' },
    to: 'c',
    direction: 'in',
    state: 'active',
    reason: '',
  });
  await daemon.stop();
  t.is(dataplane.mirrors.size, 0);
});

test('a mirror waits while a side is away, and is made again when an endpoint of that name comes back', async (t) => {
  const { daemon, dataplane, port, connect, settled, logs } = await makeLab();
  await daemon.createMirror('m', mirror({ endpoint: 'a' }, 'b'));
  const before = { from: port('a'), to: port('b') };
  await daemon.disconnect('b');
  await settled();
  t.like(daemon.mirrors.view('m'), { state: 'waiting', reason: 'endpoint b is not up' });
  t.is(dataplane.mirrors.size, 0);
  await connect('b');
  await settled();
  t.like(daemon.mirrors.view('m'), { state: 'active', reason: '' });
  t.deepEqual(
    [...dataplane.mirrors.values()],
    [{ fromPort: before.from, fromNetwork: null, to: port('b'), direction: 'both' }],
  );
  await daemon.disconnect('a');
  await settled();
  t.like(daemon.mirrors.view('m'), { state: 'waiting', reason: 'endpoint a is not up' });
  t.true(logs.includes('info mirror m ended: endpoint a is not up'));
  await connect('a');
  await settled();
  t.is([...dataplane.mirrors.values()][0]?.fromPort, port('a'));
  await daemon.mirrors.remove('m');
  t.is(dataplane.mirrors.size, 0);
  t.deepEqual(daemon.mirrors.list(), []);
  await t.throwsAsync(daemon.mirrors.remove('m'), { message: 'no mirror m' });
});

test('a mirror of the uplink comes back with its device; one of a network waits for a network of that name', async (t) => {
  const { daemon, dataplane, system } = await makeLab();
  await daemon.createMirror('m', mirror({ uplink: true }, 'c'));
  await daemon.createMirror('n', mirror({ network: 'blue' }, 'c'));
  system.devices.delete('up0');
  dataplane.portDown(dataplane.portNamed('uplink'), 'ENODEV');
  await eventually(() => daemon.mirrors.view('m').state === 'waiting');
  t.is(daemon.mirrors.view('m').reason, 'the uplink is not up');
  system.devices.add('up0');
  await eventually(() => daemon.mirrors.view('m').state === 'active');
  const { config: blue } = daemon.network('blue');
  await daemon.removeNetwork('blue', true);
  await eventually(() => daemon.mirrors.view('n').state === 'waiting');
  t.is(daemon.mirrors.view('n').reason, 'network blue is not up');
  await daemon.createNetwork('blue', blue);
  await eventually(() => daemon.mirrors.view('n').state === 'active');
  t.is([...dataplane.mirrors.values()].at(-1)?.fromNetwork, daemon.network('blue').id);
  await daemon.stop();
});

test('refused: names that are not there, itself, a circle, a name twice', async (t) => {
  const { daemon, dataplane } = await makeLab();
  const refused = async (name: string, wanted: MirrorConfig): Promise<string> => {
    const error = await t.throwsAsync(daemon.createMirror(name, wanted), { instanceOf: TaplineError });
    return `${error.kind} ${error.message}`;
  };
  t.is(
    await refused('m', mirror({ endpoint: 'x' }, 'b')),
    'missing from.endpoint: expected the name of an endpoint, got "x"',
  );
  t.is(await refused('m', mirror({ endpoint: 'a' }, 'x')), 'missing to: expected the name of an endpoint, got "x"');
  t.is(
    await refused('m', mirror({ endpoint: 'a' }, 'a')),
    'invalid to: expected another endpoint than the one that it copies, got "a"',
  );
  await daemon.createMirror('m', mirror({ network: 'blue' }, 'b'));
  t.is(await refused('m', mirror({ endpoint: 'a' }, 'b')), 'conflict mirror m already exists');
  t.is(
    await refused('n', mirror({ endpoint: 'b' }, 'a')),
    'conflict to: copies would go round in a circle with mirror m',
  );
  await daemon.createMirror('n', mirror({ endpoint: 'b' }, 'c'));
  t.is(dataplane.mirrors.size, 2);
});

test('an endpoint that comes back in another network and makes a circle leaves the mirror waiting', async (t) => {
  const { daemon, dataplane, connect, settled } = await makeLab();
  await daemon.createMirror('m', mirror({ network: 'blue' }, 'b'));
  await daemon.createMirror('n', mirror({ endpoint: 'b' }, 'c'));
  await daemon.disconnect('c');
  await connect('c', 'blue');
  await settled();
  t.like(daemon.mirrors.view('n'), { state: 'waiting', reason: 'copies would go round in a circle with mirror m' });
  t.is(dataplane.mirrors.size, 1);
  await daemon.mirrors.remove('m');
  await daemon.disconnect('a');
  await settled();
  t.is(daemon.mirrors.view('n').state, 'active');
});

test('a mirror that the dataplane refuses is not kept; one that it refuses to make again waits', async (t) => {
  const { daemon, dataplane, connect, settled, logs } = await makeLab();
  dataplane.failing.add('addMirror');
  await t.throwsAsync(daemon.createMirror('m', mirror({ endpoint: 'a' }, 'b')), {
    message: 'EIO addMirror told to fail',
  });
  t.deepEqual(daemon.mirrors.list(), []);
  dataplane.failing.clear();
  await daemon.createMirror('m', mirror({ endpoint: 'a' }, 'b'));
  dataplane.failing.add('addMirror');
  await daemon.disconnect('b');
  await connect('b');
  await settled();
  t.like(daemon.mirrors.view('m'), { state: 'waiting', reason: 'EIO addMirror told to fail' });
  t.true(logs.includes('warn mirror m waits: EIO addMirror told to fail'));
});
