/** Services of a daemon that goes on where another was killed: those of commands, and those of the file that commands have changed. */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Configuration } from '../../control/config/schema.js';
import { KeptState } from '../../control/kept-state.js';
import { type KeptNumbers, type Kind, Numbers } from '../../control/numbers.js';
import type { Fixture } from './support/fixture.js';
import {
  backends,
  changed,
  connect,
  file,
  listeners,
  SHARED,
  service,
  serviceFixture,
  states,
  WEB,
} from './support/services.js';

/** Daemons that follow each other: each call is a process, whose predecessor was killed. */
type Line = (wanted: Configuration, before?: (made: Fixture) => void) => Promise<Fixture>;

function makeLine(t: ExecutionContext): Line {
  const directory = mkdtempSync('/dev/shm/tl-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'state.json');
  let numbers = new Numbers();
  return async (wanted, before = () => undefined) => {
    const kept = new KeptState({ path, failed: (line) => t.fail(line) });
    numbers = new Numbers(numbers.list() as Record<Kind, KeptNumbers>);
    const made = serviceFixture(kept, numbers);
    t.teardown(() => made.daemon.stop());
    before(made);
    await made.daemon.apply(wanted);
    return made;
  };
}

const killed = ({ daemon }: Fixture): Promise<void> => daemon.leave();
const names = ({ daemon }: Fixture): string[] => [...daemon.services.all.keys()];

test('services of commands are there again, with the numbers that their connections know', async (t) => {
  const next = makeLine(t);
  const first = await next(file());
  const late = service({ listen: ['172.30.0.50:80/tcp'], backends: [{ endpoint: 'b', port: 82 }] });
  await first.daemon.createService('gone', service({ listen: ['7000/tcp'], backends: [{ endpoint: 'b', port: 1 }] }));
  await first.daemon.createService('late', late);
  await first.daemon.removeService('gone');
  await killed(first);
  const second = await next(file());
  t.deepEqual(names(second), ['web', 'late']);
  t.deepEqual(second.daemon.services.get('late').config, late);
  t.is(second.daemon.services.get('late').number, 3);
  t.deepEqual(backends(second, 'late'), ['4 172.30.0.3 fd00:30::3 82*1 up']);
  t.true(listeners(second).includes('6 172.30.0.50 80-80 -> 3'));
  t.deepEqual(second.dataplane.services.ended, []);
});

test('a service whose containers are away waits for them; what they had ends with a word to both sides', async (t) => {
  const next = makeLine(t);
  const first = await next(file(''));
  await connect(first, 'c');
  await first.daemon.createService('late', service({ backends: [{ endpoint: 'c', port: 80 }] }));
  await killed(first);
  const second = await next(file(''));
  t.deepEqual(states(second, 'late'), ['c:80 absent: endpoint c is not there']);
  t.deepEqual(second.dataplane.services.ended, [{ backend: 1, tcp: true }]);
  await connect(second, 'c');
  t.deepEqual(backends(second, 'late'), ['1 172.30.0.4 fd00:30::4 80*1 up']);
});

test('a backend that drains has the time that it had left; with another time to drain, all of that', async (t) => {
  const next = makeLine(t);
  const drains = (timeout: number, weight = 0): Configuration =>
    file(
      `web: { network: blue, drain_timeout: ${timeout}, listen: ["80/tcp"], backends: [{ endpoint: a, port: 80, weight: ${weight} }] }`,
    );
  const deadline = ({ daemon }: Fixture): number => daemon.services.get('web').backends[0]?.deadline ?? 0;
  const first = await next(drains(60));
  await sleep(50);
  const before = Date.now();
  await killed(first);
  const second = await next(drains(60));
  t.is(deadline(second), deadline(first));
  t.true(deadline(second) < before + 60_000);
  await killed(second);
  const third = await next(drains(50));
  t.true(deadline(third) >= before + 50_000 && deadline(third) !== deadline(second));
  await killed(third);
  const fourth = await next(drains(50, 1));
  t.deepEqual(fourth.daemon.kept.objects('drain'), [], 'nothing is left of who does not drain any more');
});

test('shared: what was guarded is so all through the next start; then what nobody wants any more is the host’s again', async (t) => {
  const next = makeLine(t);
  const wanted = (listen: string): Configuration =>
    file(`web: { network: blue, listen: ["${listen}"], backends: [{ endpoint: b, port: 80 }] }`, {
      uplink: SHARED,
      a: ', publish: ["8081:80"]',
    });
  const guards: string[] = [];
  const watchGuard = ({ system }: Fixture): void => {
    const run = system.runNft.bind(system);
    system.runNft = async (script) => {
      guards.push(script);
      await run(script);
    };
  };
  await killed(await next(wanted('8080/tcp')));
  const second = await next(wanted('8082/tcp'), watchGuard);
  const last = guards.pop() ?? '';
  t.true(guards.length > 1);
  for (const script of guards) t.regex(script, /8080-8081|8080-8082/);
  t.regex(last, /8081-8082/);
  t.notRegex(last, /8080/);
  t.is(second.system.reserved, '8081-8082');
  await second.daemon.stop();
  t.deepEqual(second.daemon.kept.objects('guard'), []);
});

test('the file’s services are as commands have changed them, as long as the file says the same of them', async (t) => {
  const next = makeLine(t);
  const both = `web: { ${WEB} }, dns: { network: blue, listen: ["53/udp"], backends: [{ endpoint: a, port: 53 }] }`;
  const first = await next(file(both));
  await first.daemon.changeService('web', () => changed(first, 'web', { scheduler: 'wlc' }));
  await first.daemon.removeService('dns');
  await killed(first);
  const second = await next(file(both));
  t.deepEqual(names(second), ['web']);
  t.is(second.daemon.services.get('web').config.scheduler, 'wlc');
  await killed(second);
  const third = await next(file(both.replace('listen: ["53', 'affinity: 7, listen: ["53').replace('8080', '8081')));
  t.deepEqual(names(third), ['web', 'dns']);
  t.is(third.daemon.services.get('web').config.scheduler, 'rr');
  t.is(third.daemon.services.get('dns').config.affinity, 7);
  t.is(third.logs.filter((line) => line.endsWith('the file says something else of it than before')).length, 2);
  await killed(third);
  const fourth = await next(file(both));
  t.is(fourth.daemon.services.get('web').config.scheduler, 'rr', 'what the file overruled is forgotten');
});

test('changed and changed back: nothing is left to be said', async (t) => {
  const next = makeLine(t);
  const first = await next(file());
  const before = first.daemon.services.get('web').config;
  await first.daemon.changeService('web', () => changed(first, 'web', { scheduler: 'wlc' }));
  t.is(first.daemon.kept.objects('service').length, 1);
  await first.daemon.changeService('web', () => before);
  t.deepEqual(first.daemon.kept.objects('service'), []);
});

test('what cannot be made again is said and forgotten, and its address is free', async (t) => {
  const next = makeLine(t);
  const first = await next(file(''));
  const late = service({ listen: ['8080/tcp', '172.30.0.4:80/tcp'], backends: [{ endpoint: 'a', port: 80 }] });
  await first.daemon.createService('late', late);
  await killed(first);
  const second = await next(file('', { a: ', publish: ["8080:80"]' }));
  t.deepEqual(names(second), []);
  const lost = 'service late, made or changed by command before the restart, is not there any more';
  t.true(
    second.logs.includes(
      `warn ${lost}: listen[0]: 8080/tcp is taken by 8080:80/tcp of endpoint a; choose other ports, or another address`,
    ),
    second.logs.join('\n'),
  );
  t.deepEqual(second.daemon.kept.objects('service'), []);
  await connect(second, 'c');
  t.is(second.daemon.endpoint('c').addresses[0], '172.30.0.4/24');
});

test('what commands had published gives way to the file’s service of today', async (t) => {
  const next = makeLine(t);
  const first = await next(file(''));
  await first.daemon.publish('b', ['8080:80/tcp', '8081:80/tcp']);
  await first.daemon.createService('late', service({ listen: ['172.30.0.100:80/tcp'] }));
  await connect(first, 'c', { publish: ['9090:80/tcp'] });
  await killed(first);
  const second = await next(file());
  t.deepEqual(names(second), ['web']);
  t.deepEqual(second.daemon.endpoint('b').config.publish, []);
  const said = second.logs.filter((line) => line.startsWith('warn') && line.includes('before the restart'));
  t.is(said.length, 2);
  t.regex(said[0] ?? '', /publish b.*8080:80\/tcp is taken by 8080\/tcp of service web/);
  t.regex(said[1] ?? '', /service late.*172\.30\.0\.100:80\/tcp is taken by 172\.30\.0\.100:80\/tcp of service web/);
  t.is(listeners(second).length, 3);
});

test('a file’s service that cannot be made ends the start, which names it', async (t) => {
  const made = serviceFixture();
  made.dataplane.services.failing.add('set');
  await t.throwsAsync(made.daemon.apply(file()), { message: 'services.web: EIO set told to fail' });
  t.is(made.daemon.services.all.size, 0);
  t.is(made.daemon.endpoints.size, 0);
  await made.daemon.stop();
});
