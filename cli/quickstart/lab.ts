/** The quickstart's machinery: two hosts with a switch each, containers in their networks, and a host outside that both have a wire to. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaplineError } from '../../control/errors.js';
import type { EndpointView, NetworkView } from '../../control/views.js';
import type { ApiClient } from '../client.js';
import { Child, taplineCommand, untilAborted } from './child.js';
import { HOME, HOSTS, type HostSpec, STORE_SERVICE } from './hosts.js';
import { OUTSIDE_COMMAND, SECOND_WIRE, WIRE } from './outside.js';
import { CONFIGURATION, SECOND_CONFIGURATION } from './paths.js';
import { Switch } from './switch.js';

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
  /** Holds the sockets, and nothing else. */
  readonly directory: string;
  /** The switch of the first host, which has all networks, and that of the second, which has the one that spans both. */
  readonly first: Switch;
  readonly second: Switch;
  readonly hosts: Host[] = [];
  /** As they were when they were attached. */
  endpoints: readonly EndpointView[] = [];
  #outside: Child | null = null;

  constructor({ engine, signal }: LabOptions) {
    this.signal = signal;
    this.directory = mkdtempSync(join(tmpdir(), 'tapline-'));
    const common = { engine, signal };
    this.first = new Switch({
      ...common,
      what: 'the switch',
      configuration: CONFIGURATION,
      wire: WIRE,
      socket: join(this.directory, 'sock'),
    });
    this.second = new Switch({
      ...common,
      what: 'the switch of the second host',
      configuration: SECOND_CONFIGURATION,
      wire: SECOND_WIRE,
      socket: join(this.directory, 'second'),
    });
  }

  /** Those of the first host. */
  get socket(): string {
    return this.first.socket;
  }

  get client(): ApiClient {
    return this.first.client;
  }

  /** The host on the wires. @throws Error before `start` */
  get outside(): Child {
    if (this.#outside === null) throw new Error('the host outside was not started');
    return this.#outside;
  }

  /** Brings the examples up, attaches the containers and makes the service in front of some. @throws TaplineError with the last words of what failed */
  async start(): Promise<void> {
    this.#outside = new Child('the host outside', OUTSIDE_COMMAND, this.socket);
    await this.#outside.says('ready', this.signal);
    const outside = this.#outside.pid;
    // Also when one fails the other comes to its end: what it makes meanwhile is to be removed.
    await allOf([this.#bringUp(this.first, outside), this.#bringUp(this.second, outside)]);
    await this.client.post('/v1/services', STORE_SERVICE);
  }

  /** The switch that a container is attached to. */
  switchOf(spec: HostSpec): Switch {
    return spec.onSecond === true ? this.second : this.first;
  }

  /** A switch and its containers, one after the other. */
  async #bringUp(at: Switch, outside: number): Promise<void> {
    await at.start(outside);
    for (const spec of HOSTS) if (this.switchOf(spec) === at) await this.#startHost(spec, at);
  }

  async #startHost(spec: HostSpec, { socket, client }: Switch): Promise<void> {
    const command = spec.command(this.endpoints);
    const publish = (spec.publish ?? []).flatMap((published) => ['--publish', published]);
    const address = spec.address === undefined ? [] : ['--address', spec.address];
    const options = ['--network', spec.network, '--name', spec.name, ...address, ...publish];
    const run = taplineCommand('run', ...options, '--', ...command);
    const child = new Child(`the container ${spec.name}`, run, socket);
    this.hosts.push({ spec, child });
    if (spec.saysReady) await child.says('ready', this.signal);
    else child.stdout.resume();
    const endpoint = await child.orEnd(this.#untilUp(spec.name, child, client), this.signal);
    this.endpoints = [...this.endpoints, endpoint];
  }

  async #untilUp(name: string, child: Child, client: ApiClient): Promise<EndpointView> {
    while (child.running && !this.signal.aborted) {
      const all = await client.get<EndpointView[]>('/v1/endpoints');
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

  /** The result of `work`, unless a daemon or a container ends first. @throws TaplineError when one does */
  async orEnd<T>(work: Promise<T>): Promise<T> {
    const all = [this.first.daemon, this.second.daemon, this.outside, ...this.hosts.map(({ child }) => child)];
    return untilAborted(Promise.race([work, ...all.map((child) => child.failAtEnd())]), this.signal);
  }

  /** Ends both daemons, which remove what they made. Nothing happens when they have ended. */
  stopDaemons(): Promise<void> {
    return allOf([this.first.stop(), this.second.stop()]);
  }

  /** Ends the containers and the host outside. */
  stopHosts(): Promise<void> {
    const all = [...this.hosts.map(({ child }) => child), ...(this.#outside === null ? [] : [this.#outside])];
    return allOf(all.map((child) => child.stop()));
  }

  removeDirectory(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Removes everything, also what is left when a step of it fails. @throws the first failure, at the end */
  async stop(): Promise<void> {
    try {
      await this.stopDaemons();
    } finally {
      try {
        await this.stopHosts();
      } finally {
        this.removeDirectory();
      }
    }
  }
}

/** Waits for all, whatever becomes of each. @throws the first failure, at the end */
async function allOf(works: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(works);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
