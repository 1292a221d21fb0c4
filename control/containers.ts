/**
 * From a container's name to the process whose namespaces it lives in, asked of Docker's and Podman's own API sockets;
 * of `podman inspect` where Podman runs without its service.
 */

import { execFile } from 'node:child_process';
import { request } from 'node:http';
import { TaplineError } from './errors.js';

export interface ContainerInfo {
  readonly engine: 'docker' | 'podman';
  readonly id: string;
  /** Process id in the daemon's own PID namespace. */
  readonly pid: number;
  /** `none` for a container that waits for its network from outside. */
  readonly networkMode: string;
}

/** What one engine said. `absent` carries the phrase for the error line. */
type Answer = { readonly found: ContainerInfo } | { readonly stopped: string } | { readonly absent: string };

export interface ContainerEngines {
  /** Path of Docker's socket. */
  readonly dockerSocket: string;
  readonly podmanSocket: string;
  /** Program to run when there is no Podman socket. */
  readonly podmanCommand: string;
}

const TIMEOUT_MS = 10_000;
/** An inspect answer is some 10 kB; this only bounds what a broken engine can make us hold. */
const ANSWER_LIMIT = 16 * 1024 * 1024;

/**
 * @throws TaplineError when DOCKER_HOST names an engine that is not on this machine: its processes are out of reach
 */
export function containerEngines(env: NodeJS.ProcessEnv): ContainerEngines {
  const host = env.DOCKER_HOST ?? '';
  if (host !== '' && !host.startsWith('unix://')) {
    throw new TaplineError('invalid', `DOCKER_HOST is ${host}; expected unix://PATH, an engine on this machine`);
  }
  return {
    dockerSocket: host === '' ? '/var/run/docker.sock' : host.slice('unix://'.length),
    podmanSocket: '/run/podman/podman.sock',
    podmanCommand: 'podman',
  };
}

interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** GET over a Unix socket. Rejects with the socket's errno, or when the engine does not answer in time. */
function get(socketPath: string, path: string): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, headers: { host: 'localhost' }, timeout: TIMEOUT_MS }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > ANSWER_LIMIT) outgoing.destroy(new Error('answer too long'));
      });
      incoming.on('error', reject);
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body }));
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

function field(value: unknown, ...keys: readonly string[]): unknown {
  for (const key of keys) {
    if (value === null || typeof value !== 'object') return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

/** Reads the inspect object that both engines share. */
function readInspect(engine: 'docker' | 'podman', json: unknown): Answer {
  const pid = field(json, 'State', 'Pid');
  const id = field(json, 'Id');
  if (typeof id !== 'string') return { absent: `${engine} answered without a container` };
  if (field(json, 'State', 'Running') !== true || typeof pid !== 'number' || pid <= 0) return { stopped: id };
  const networkMode = field(json, 'HostConfig', 'NetworkMode');
  return { found: { engine, id, pid, networkMode: typeof networkMode === 'string' ? networkMode : '' } };
}

async function askSocket(
  engine: 'docker' | 'podman',
  label: string,
  socket: string,
  name: string,
): Promise<Answer | null> {
  let answer: HttpAnswer;
  try {
    answer = await get(socket, `/containers/${encodeURIComponent(name)}/json`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return null;
    const why =
      code === 'ECONNREFUSED' ? 'not running' : code === 'EACCES' ? 'permission denied' : (error as Error).message;
    return { absent: `${label} at ${socket}: ${why}` };
  }
  if (answer.status === 404) return { absent: `asked ${label} at ${socket}` };
  if (answer.status !== 200) return { absent: `${label} at ${socket} answered ${answer.status}` };
  try {
    return readInspect(engine, JSON.parse(answer.body));
  } catch {
    return { absent: `${label} at ${socket} answered no JSON` };
  }
}

function askPodmanCommand(command: string, name: string): Promise<Answer> {
  return new Promise((resolve) => {
    const args = ['inspect', '--type', 'container', '--', name];
    execFile(command, args, { timeout: TIMEOUT_MS, maxBuffer: ANSWER_LIMIT }, (error, stdout) => {
      if (error !== null) {
        const installed = (error as NodeJS.ErrnoException).code !== 'ENOENT';
        resolve({ absent: installed ? 'asked podman inspect' : 'Podman: not installed' });
        return;
      }
      try {
        resolve(readInspect('podman', field(JSON.parse(stdout), '0')));
      } catch {
        resolve({ absent: 'podman inspect answered no JSON' });
      }
    });
  });
}

async function askDocker(engines: ContainerEngines, name: string): Promise<Answer> {
  const answer = await askSocket('docker', 'Docker', engines.dockerSocket, name);
  return answer ?? { absent: `Docker: no socket at ${engines.dockerSocket}` };
}

async function askPodman(engines: ContainerEngines, name: string): Promise<Answer> {
  const answer = await askSocket('podman', 'Podman', engines.podmanSocket, name);
  return answer ?? askPodmanCommand(engines.podmanCommand, name);
}

/**
 * The running container of that name or id; Docker is asked first.
 *
 * @throws TaplineError `missing`: `no container c1 (asked Docker at ..., Podman: not installed)`; `conflict`: `container
 *   c1 is not running`
 */
export async function findContainer(name: string, engines: ContainerEngines): Promise<ContainerInfo> {
  const absent: string[] = [];
  let stopped = false;
  for (const ask of [askDocker, askPodman]) {
    const answer = await ask(engines, name);
    if ('found' in answer) return answer.found;
    if ('stopped' in answer) stopped = true;
    else absent.push(answer.absent);
  }
  if (stopped) throw new TaplineError('conflict', `container ${name} is not running; start it first`, 'container');
  throw new TaplineError('missing', `no container ${name} (${absent.join(', ')})`, 'container');
}
