import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { ApiClient } from '../../cli/client.js';
import { TaplineError } from '../../control/errors.js';
import { socketPath } from '../../control/socket.js';
import { type RunningTapline, startTapline } from '../../control/up.js';
import { DataplaneDouble } from './support/dataplane-double.js';
import { NETWORKS } from './support/fixture.js';
import { SystemDouble } from './support/system-double.js';

interface Lab {
  readonly dataplane: DataplaneDouble;
  readonly system: SystemDouble;
  readonly socket: string;
  readonly file: string;
  readonly start: (yaml: string) => Promise<RunningTapline>;
}

function makeLab(t: ExecutionContext): Lab {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-up-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const socket = join(directory, 't.sock');
  const file = join(directory, 'f.yaml');
  const dataplane = new DataplaneDouble();
  const system = new SystemDouble();
  const logger = pino({ level: 'silent' });
  const start = (yaml: string): Promise<RunningTapline> => {
    writeFileSync(file, yaml);
    return startTapline({ file, engine: 'auto', socket, logger, system, startDataplane: async () => dataplane });
  };
  return { dataplane, system, socket, file, start };
}

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

test('up, answering, and down again without a trace', async (t) => {
  const { start, system, socket, dataplane } = makeLab(t);
  system.addNamespace('/ns/a');
  const running = await start(`${NETWORKS}endpoints: { a: { network: blue, netns: /ns/a } }`);
  await running.ready;
  t.like(await new ApiClient(socket).get('/v1/status'), { networks: 2, endpoints: 1 });
  await Promise.all([running.stop(), running.stop()]);
  t.deepEqual([exists(socket), system.taps.size, dataplane.networks.size, dataplane.stopped], [false, 0, 0, true]);
});

test('a second daemon on the socket is refused before it touches anything', async (t) => {
  const lab = makeLab(t);
  const running = await lab.start(NETWORKS);
  await running.ready;
  const error = await t.throwsAsync(lab.start(NETWORKS), { instanceOf: TaplineError });
  t.is(error.message, `another tapline daemon answers on ${lab.socket}; stop it, or choose another --socket`);
  t.false(lab.dataplane.stopped);
  t.like(await new ApiClient(lab.socket).get('/v1/status'), { networks: 2 });
  await running.stop();
});

test('what fails while coming up is named with file and key path, and everything is taken down', async (t) => {
  const lab = makeLab(t);
  const running = await lab.start(`${NETWORKS}endpoints: { a: { network: blue, netns: /ns/a } }`);
  const error = await t.throwsAsync(running.ready, { instanceOf: TaplineError });
  t.is(
    error.message,
    `${lab.file}: endpoints.a.netns: expected an existing network namespace, got /ns/a, which is none`,
  );
  t.is(error.kind, 'missing');
  t.deepEqual([exists(lab.socket), lab.dataplane.networks.size, lab.dataplane.stopped], [false, 0, true]);
});

/** What only shows when it is tried: the file, its error line behind the file's name. */
const IN_VAIN: readonly (readonly [string, string, string])[] = [
  [
    'an interface name that is taken',
    'endpoints: { a: { network: blue, netns: /ns/taken } }',
    'endpoints.a.interface: EEXIST creating interface eth0: the name is taken in /ns/taken',
  ],
  [
    'one namespace by two names',
    'endpoints: { a: { network: blue, netns: /ns/a }, b: { network: blue, netns: /ns/again } }',
    'endpoints.b.interface: eth0 in /ns/again already belongs to endpoint a; choose another interface name',
  ],
  [
    'more endpoints than addresses',
    'endpoints: { a: { network: red, netns: /ns/a }, b: { network: red, netns: /ns/b } }',
    'endpoints.b: no address left in 172.31.0.0/30 of network red',
  ],
];

for (const [what, yaml, line] of IN_VAIN) {
  test(`${what}: a mistake of the file, as exit code 2 says`, async (t) => {
    const lab = makeLab(t);
    for (const name of ['a', 'b', 'taken']) lab.system.addNamespace(`/ns/${name}`);
    lab.system.addNamespace('/ns/again', '/ns/a');
    lab.system.whileAttaching = ({ netns }) => {
      if (netns === '/ns/taken') throw new Error(`EEXIST creating interface eth0: the name is taken in ${netns}`);
    };
    const error = await t.throwsAsync((await lab.start(`${NETWORKS}${yaml}`)).ready, { instanceOf: TaplineError });
    t.deepEqual([error.kind, error.message], ['invalid', `${lab.file}: ${line}`]);
    t.deepEqual([exists(lab.socket), lab.system.taps.size, lab.dataplane.networks.size], [false, 0, 0]);
  });
}

test('a bad file touches nothing', async (t) => {
  const lab = makeLab(t);
  await t.throwsAsync(lab.start('version: 3'), {
    message: `${lab.file}: version: expected 1, the only version there is, got 3`,
  });
  t.false(exists(lab.socket));
});

test('which socket: option, environment, default', (t) => {
  t.is(socketPath('/a', { TAPLINE_SOCKET: '/b' }), '/a');
  t.is(socketPath(undefined, { TAPLINE_SOCKET: '/b' }), '/b');
  t.is(socketPath(undefined, { TAPLINE_SOCKET: '' }), '/run/tapline/tapline.sock');
  t.is(socketPath(undefined, {}), '/run/tapline/tapline.sock');
  t.throws(() => socketPath('', {}), { message: 'expected a path with --socket, got nothing' });
});
