/** The quickstart's machinery: a daemon of its own on a private socket, containers in its networks, and a host outside. */

import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaplineError } from '../../control/errors.js';
import type { EndpointView, NetworkView } from '../../control/views.js';
import { ApiClient } from '../client.js';
import { Child, taplineCommand, untilAborted } from './child.js';
import { HOME, HOSTS, type HostSpec, STORE_SERVICE } from './hosts.js';
import { OUTSIDE_COMMAND, wiredTo } from './outside.js';
import { CONFIGURATION } from './paths.js';

const POLL_MS = 20;

export interface LabOptions {
  /** Value of `--engine` for `tapline up`. */
  readonly engine: string;
  /** Aborted by Ctrl-C: whatever waits, ends. */
  readonly signal: AbortSignal;
}

export interface Host {
  readonly spec: HostSpec;
  readonly child: Child;
}

/** Make one, `start` it in a `try`, and `stop` it in the `finally`: also a start that failed halfway is taken back. */
export class Lab {
  readonly signal: AbortSignal;
  /** Holds the socket, and nothing else. */
  readonly directory: string;
  readonly socket: string;
  readonly client: ApiClient;
  readonly hosts: Host[] = [];
  /** As they were when all were attached; in the order of `hosts`. */
  endpoints: readonly EndpointView[] = [];
  readonly #engine: string;
  #outside: Child | null = null;
  #daemon: Child | null = null;

  constructor(options: LabOptions) {
    this.signal = options.signal;
    this.#engine = options.engine;
    this.directory = mkdtempSync(join(tmpdir(), 'tapline-'));
    this.socket = join(this.directory, 'sock');
    this.client = new ApiClient(this.socket);
  }

  /** The switch's process. @throws Error before `start` */
  get daemon(): Child {
    if (this.#daemon === null) throw new Error('the daemon was not started');
    return this.#daemon;
  }

  /** The host on the wire. @throws Error before `start` */
  get outside(): Child {
    if (this.#outside === null) throw new Error('the host outside was not started');
    return this.#outside;
  }

  /** Brings the example up, attaches the containers and makes the service in front of some. @throws TaplineError with the last words of what failed */
  async start(): Promise<void> {
    this.#outside = new Child('the host outside', OUTSIDE_COMMAND, this.socket);
    await this.#outside.says('ready', this.signal);
    await this.#startDaemon(wiredTo(this.#outside.pid, this.#upCommand()));
    for (const spec of HOSTS) await this.#startHost(spec);
    await this.client.post('/v1/services', STORE_SERVICE);
  }

  #upCommand(): readonly string[] {
    return taplineCommand('up', '-f', CONFIGURATION, '--engine', this.#engine, '--log-level', 'warn');
  }

  async #startDaemon(command: readonly string[]): Promise<void> {
    this.#daemon = new Child('the switch', command, this.socket);
    await this.#daemon.says('ready', this.signal);
  }

  /** Kills the daemon as `kill -9` does, and starts another in its place. @returns milliseconds until that is ready */
  async replaceDaemon(): Promise<number> {
    // Nobody else is in its namespace, which would end with it, and so would the wire.
    const namespace = openSync(`/proc/${this.daemon.pid}/ns/net`, 'r');
    try {
      const began = performance.now();
      await this.daemon.kill();
      await this.#startDaemon(['nsenter', `--net=/proc/${process.pid}/fd/${namespace}`, '--', ...this.#upCommand()]);
      return performance.now() - began;
    } finally {
      closeSync(namespace);
    }
  }

  async #startHost(spec: HostSpec): Promise<void> {
    const command = spec.command(this.endpoints);
    const publish = (spec.publish ?? []).flatMap((published) => ['--publish', published]);
    const options = ['--network', spec.network, '--name', spec.name, ...publish];
    const run = taplineCommand('run', ...options, '--', ...command);
    const child = new Child(`the container ${spec.name}`, run, this.socket);
    this.hosts.push({ spec, child });
    if (spec.saysReady) await child.says('ready', this.signal);
    else child.stdout.resume();
    this.endpoints = [...this.endpoints, await child.orEnd(this.#untilUp(spec.name, child), this.signal)];
  }

  async #untilUp(name: string, child: Child): Promise<EndpointView> {
    while (child.running && !this.signal.aborted) {
      const all = await this.client.get<EndpointView[]>('/v1/endpoints');
      const found = all.find((endpoint) => endpoint.name === name && endpoint.state === 'up');
      if (found !== undefined) return found;
      await sleep(POLL_MS);
    }
    throw new TaplineError('failure', `the container ${name} ended before it was attached`);
  }

  /** The networks of the example. */
  networks(): Promise<NetworkView[]> {
    return this.client.get<NetworkView[]>('/v1/networks');
  }

  /** The network that most of the containers are in. */
  async network(): Promise<NetworkView> {
    const network = (await this.networks()).find(({ name }) => name === HOME);
    if (network === undefined) throw new TaplineError('failure', `${CONFIGURATION} has no network ${HOME}`);
    return network;
  }

  /** One of the containers. @throws Error where it was not attached */
  endpoint(name: string): EndpointView {
    const found = this.endpoints.find((endpoint) => endpoint.name === name);
    if (found === undefined) throw new Error(`no endpoint ${name}`);
    return found;
  }

  /** The result of `work`, unless the daemon or a container ends first. @throws TaplineError when one does */
  async orEnd<T>(work: Promise<T>): Promise<T> {
    const all = [this.daemon, this.outside, ...this.hosts.map(({ child }) => child)];
    return untilAborted(Promise.race([work, ...all.map((child) => child.failAtEnd())]), this.signal);
  }

  /** Ends the daemon, which removes what it made. Nothing happens when it has ended. */
  async stopDaemon(): Promise<void> {
    await this.#daemon?.stop();
  }

  /** Ends the containers and the host outside. */
  async stopHosts(): Promise<void> {
    const all = [...this.hosts.map(({ child }) => child), ...(this.#outside === null ? [] : [this.#outside])];
    const results = await Promise.allSettled(all.map((child) => child.stop()));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  removeDirectory(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Removes everything, also what is left when a step of it fails. @throws the first failure, at the end */
  async stop(): Promise<void> {
    try {
      await this.stopDaemon();
    } finally {
      try {
        await this.stopHosts();
      } finally {
        this.removeDirectory();
      }
    }
  }
}
