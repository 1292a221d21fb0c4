/**
 * Docker and Podman for one test file: a Docker daemon started by hand with all its state in a temporary directory, without
 * bridge and firewall rules; Podman with its own storage. Neither touches what may be installed or running on the machine.
 */

import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Background, must, run, type Scope, start } from './process.js';
import { eventually } from './wait.js';

const IMAGE = 'tapline-e2e:1';
/** Programs that busybox is in the image. */
const APPLETS = ['sh', 'sleep', 'ip', 'ping', 'cat', 'hostname'];

export interface ContainerEngine {
  readonly name: 'docker' | 'podman';
  /** What makes a Tapline daemon see this engine, and no other. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a command of the engine; must succeed. Resolves to its output without the final newline. */
  command(...argv: string[]): Promise<string>;
  /** Starts a container without network that sleeps. */
  create(name: string): Promise<void>;
  exec(name: string, ...argv: string[]): Promise<string>;
  /** Running or not. */
  remove(...names: string[]): Promise<void>;
  pid(name: string): Promise<string>;
  close(): Promise<void>;
}

/** A root file system of nothing but a static busybox, as a tar archive. */
async function makeImage(directory: string): Promise<string> {
  const bin = join(directory, 'rootfs', 'bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync('/usr/bin/busybox', join(bin, 'busybox'));
  chmodSync(join(bin, 'busybox'), 0o755);
  for (const applet of APPLETS) symlinkSync('busybox', join(bin, applet));
  const archive = join(directory, 'rootfs.tar');
  await must(['tar', '--owner=0', '--group=0', '-C', join(directory, 'rootfs'), '-cf', archive, '.']);
  return archive;
}

abstract class Engine implements ContainerEngine {
  abstract readonly name: 'docker' | 'podman';
  abstract readonly env: Readonly<Record<string, string>>;
  protected abstract readonly runOptions: readonly string[];
  protected readonly removeOptions: readonly string[] = [];
  protected readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  async command(...argv: string[]): Promise<string> {
    return (await must([this.name, ...argv], { env: this.env })).trimEnd();
  }

  async create(name: string): Promise<void> {
    await this.command(
      'run',
      '--detach',
      '--network',
      'none',
      ...this.runOptions,
      '--name',
      name,
      IMAGE,
      '/bin/sleep',
      '600',
    );
  }

  async exec(name: string, ...argv: string[]): Promise<string> {
    return this.command('exec', name, ...argv);
  }

  async remove(...names: string[]): Promise<void> {
    await this.command('rm', '--force', ...this.removeOptions, ...names);
  }

  async pid(name: string): Promise<string> {
    return this.command('inspect', '--format', '{{.State.Pid}}', name);
  }

  async close(): Promise<void> {
    const { stdout } = await run([this.name, 'ps', '--all', '--quiet'], { env: this.env });
    const ids = stdout.split('\n').filter((id) => id !== '');
    if (ids.length > 0) await this.remove(...ids);
    await this.stop();
    await this.unmountAll();
    rmSync(this.directory, { recursive: true, force: true });
  }

  protected abstract stop(): Promise<void>;

  /** An engine may leave its data directory mounted onto itself. The last mount comes first: it may be on top of another. */
  private async unmountAll(): Promise<void> {
    const points = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .filter((point) => point.startsWith(`${this.directory}/`));
    for (const point of points.reverse()) await must(['umount', '--lazy', point]);
  }
}

class Docker extends Engine {
  readonly name = 'docker';
  readonly env: Readonly<Record<string, string>>;
  protected readonly runOptions = [];
  private readonly daemon: Background;

  constructor(directory: string, daemon: Background) {
    super(directory);
    this.daemon = daemon;
    this.env = { DOCKER_HOST: `unix://${join(directory, 'd.sock')}` };
  }

  protected async stop(): Promise<void> {
    await this.daemon.stop('SIGTERM');
    // containerd is dockerd's child and ends with it.
    const pidFile = join(this.directory, 'exec', 'containerd', 'containerd.pid');
    await eventually('containerd to end', () => !isRunning(pidFile));
  }
}

function isRunning(pidFile: string): boolean {
  try {
    process.kill(Number(readFileSync(pidFile, 'utf8')), 0);
    return true;
  } catch {
    return false; // no file, or no such process
  }
}

export async function startDocker(scope: Scope): Promise<ContainerEngine> {
  const directory = mkdtempSync(join(tmpdir(), 'tl-docker-'));
  const archive = await makeImage(directory);
  const at = (name: string): string => join(directory, name);
  const daemon = start(scope, [
    'dockerd',
    '--bridge=none',
    '--iptables=false',
    '--ip6tables=false',
    '--storage-driver=vfs', // works on every file system, and our image is one file
    `--data-root=${at('data')}`,
    `--exec-root=${at('exec')}`,
    `--pidfile=${at('pid')}`,
    `--host=unix://${at('d.sock')}`,
  ]);
  await daemon.said(/API listen on/, 30_000);
  const docker = new Docker(directory, daemon);
  scope.teardown(() => docker.close());
  await docker.command('import', archive, IMAGE);
  return docker;
}

class Podman extends Engine {
  readonly name = 'podman';
  readonly env: Readonly<Record<string, string>>;
  // NET_RAW is for ping, which Docker allows by default. Podman asks for more open files than a machine whose root is itself confined may give.
  protected readonly runOptions = [
    '--cap-add',
    'NET_RAW',
    '--ulimit',
    'nofile=1024:1024',
    '--ulimit',
    'nproc=1024:1024',
  ];

  constructor(directory: string) {
    super(directory);
    const bin = join(directory, 'bin');
    const at = (name: string): string => join(directory, name);
    const storage = `--root ${at('root')} --runroot ${at('run')} --tmpdir ${at('tmp')} --storage-driver vfs`;
    const options = `${storage} --cgroup-manager cgroupfs --events-backend file --runtime runc`;
    mkdirSync(bin);
    writeFileSync(join(bin, 'podman'), `#!/bin/sh\nPATH=\${PATH#*:}\nexec podman ${options} "$@"\n`, { mode: 0o755 });
    // Whoever calls podman, and that includes Tapline, gets ours; a Docker that may be running is out of sight.
    this.env = { PATH: `${bin}:${process.env.PATH}`, DOCKER_HOST: `unix://${at('no-docker.sock')}` };
  }

  /** Else it would wait 10 s for a process that does not end at SIGTERM, as no first process of a container does. */
  protected override readonly removeOptions = ['--time', '0'];

  override async command(...argv: string[]): Promise<string> {
    return (await must([join(this.directory, 'bin', 'podman'), ...argv], { env: this.env })).trimEnd();
  }

  protected async stop(): Promise<void> {}
}

export async function startPodman(scope: Scope): Promise<ContainerEngine> {
  const directory = mkdtempSync(join(tmpdir(), 'tl-podman-'));
  const archive = await makeImage(directory);
  const podman = new Podman(directory);
  scope.teardown(() => podman.close());
  await podman.command('import', archive, IMAGE);
  return podman;
}
