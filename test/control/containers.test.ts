import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ContainerEngines, containerEngines, findContainer } from '../../control/containers.js';

interface Lab extends ContainerEngines {
  /** Serves inspect answers by container name; a number is an HTTP status with no JSON. */
  serve(socket: string, answers: Readonly<Record<string, object | number>>): Promise<void>;
  podmanScript(body: string): void;
}

function makeLab(t: ExecutionContext): Lab {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-engines-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const podmanCommand = join(directory, 'podman');
  return {
    dockerSocket: join(directory, 'docker.sock'),
    podmanSocket: join(directory, 'podman.sock'),
    podmanCommand,
    serve: async (socket, answers) => {
      const server = createServer((request, response) => {
        const name = /^\/containers\/([^/]+)\/json$/.exec(request.url ?? '')?.[1] ?? '';
        const answer = answers[decodeURIComponent(name)] ?? 404;
        response.statusCode = typeof answer === 'number' ? answer : 200;
        response.end(typeof answer === 'number' ? 'sorry' : JSON.stringify(answer));
      });
      t.teardown(() => server.close());
      await new Promise<void>((resolve) => server.listen(socket, resolve));
    },
    podmanScript: (body) => {
      writeFileSync(podmanCommand, `#!/bin/sh\n${body}\n`);
      chmodSync(podmanCommand, 0o755);
    },
  };
}

const running = (pid: number, networkMode = 'none'): object => ({
  Id: `id-${pid}`,
  State: { Running: true, Pid: pid },
  HostConfig: { NetworkMode: networkMode },
});
const STOPPED = { Id: 'x', State: { Running: false, Pid: 0 }, HostConfig: { NetworkMode: 'none' } };

test('Docker is asked first', async (t) => {
  const lab = makeLab(t);
  await lab.serve(lab.dockerSocket, { c1: running(70) });
  await lab.serve(lab.podmanSocket, { c1: running(71) });
  t.deepEqual(await findContainer('c1', lab), { engine: 'docker', id: 'id-70', pid: 70, networkMode: 'none' });
});

test("Podman's socket answers where Docker does not know the name", async (t) => {
  const lab = makeLab(t);
  await lab.serve(lab.dockerSocket, {});
  await lab.serve(lab.podmanSocket, { c1: running(71, 'bridge') });
  t.deepEqual(await findContainer('c1', lab), { engine: 'podman', id: 'id-71', pid: 71, networkMode: 'bridge' });
});

test('podman inspect serves where there is no socket', async (t) => {
  const lab = makeLab(t);
  lab.podmanScript(`[ "$*" = "inspect --type container -- c1" ] && echo '[${JSON.stringify(running(72))}]'`);
  t.like(await findContainer('c1', lab), { engine: 'podman', pid: 72 });
});

test('a container that is not running says so', async (t) => {
  const lab = makeLab(t);
  await lab.serve(lab.dockerSocket, { c1: STOPPED });
  await t.throwsAsync(findContainer('c1', lab), { message: 'container: container c1 is not running; start it first' });
});

test('the error says who was asked, and how each answered', async (t) => {
  const lab = makeLab(t);
  const line = (docker: string, podman: string): { message: string } => ({
    message: `container: no container c1 (${docker}, ${podman})`,
  });
  await t.throwsAsync(
    findContainer('c1', lab),
    line(`Docker: no socket at ${lab.dockerSocket}`, 'Podman: not installed'),
  );
  await lab.serve(lab.dockerSocket, {});
  await t.throwsAsync(findContainer('c1', lab), line(`asked Docker at ${lab.dockerSocket}`, 'Podman: not installed'));
  lab.podmanScript('exit 125');
  await t.throwsAsync(findContainer('c1', lab), line(`asked Docker at ${lab.dockerSocket}`, 'asked podman inspect'));
  lab.podmanScript('echo nonsense');
  await t.throwsAsync(
    findContainer('c1', lab),
    line(`asked Docker at ${lab.dockerSocket}`, 'podman inspect answered no JSON'),
  );
  await lab.serve(lab.podmanSocket, { c1: 500 });
  await t.throwsAsync(
    findContainer('c1', lab),
    line(`asked Docker at ${lab.dockerSocket}`, `Podman at ${lab.podmanSocket} answered 500`),
  );
});

test('an answer that is no container is not believed', async (t) => {
  const lab = makeLab(t);
  await lab.serve(lab.dockerSocket, { c1: { State: 7 } });
  await t.throwsAsync(findContainer('c1', lab), { message: /docker answered without a container/ });
});

test('DOCKER_HOST names another socket; an engine elsewhere is out of reach', (t) => {
  t.is(containerEngines({}).dockerSocket, '/var/run/docker.sock');
  t.is(containerEngines({ DOCKER_HOST: 'unix:///tmp/d.sock' }).dockerSocket, '/tmp/d.sock');
  t.throws(() => containerEngines({ DOCKER_HOST: 'tcp://10.0.0.1:2375' }), {
    message: 'DOCKER_HOST is tcp://10.0.0.1:2375; expected unix://PATH, an engine on this machine',
  });
});
