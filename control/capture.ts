/** Captures as pcapng streams: from the dataplane's frames to bytes that a slow reader cannot pile up in memory. */

import { Readable } from 'node:stream';
import { PcapngWriter } from '../io/pcapng.js';
import { UPLINK_PORT_NAME } from './config/check.js';
import type { Daemon } from './daemon.js';
import { TaplineError } from './errors.js';
import type { Capture, CapturedFrame, CaptureFilter } from './types.js';

/** Bytes that wait for a slow reader; frames beyond are counted as lost. */
const BACKLOG_LIMIT = 4 * 1024 * 1024;

export interface CaptureRequest {
  /** Name of an endpoint or a network, or `uplink`; `endpoint:NAME` and `network:NAME` say which; `vxlan:NETWORK:ADDRESS` is a VTEP. */
  readonly target: string;
  /** Bytes kept of each frame; 0 for all. */
  readonly snaplen: number;
  /** Frames after which the capture ends; 0 for no limit. */
  readonly count: number;
}

export interface CaptureView {
  readonly id: number;
  readonly target: string;
  readonly frames: number;
  readonly lost: number;
}

interface Scope {
  readonly filter: CaptureFilter;
  /** What ends the capture when it is removed. */
  readonly event: 'port-removed' | 'network-removed';
  readonly number: number;
}

function portScope(port: number, what: string, snapLength: number): Scope {
  if (port < 0) throw new TaplineError('conflict', `${what} is not up`, 'target');
  return { filter: { port, network: null, snapLength }, event: 'port-removed', number: port };
}

/** A VTEP is a port of that name. @param vtep NETWORK:ADDRESS */
function vtepScope(daemon: Daemon, target: string, vtep: string, snapLength: number): Scope {
  const port = daemon.dataplane.ports().find(({ name }) => name === target);
  if (port === undefined) throw new TaplineError('missing', `no VTEP ${vtep}; expected NETWORK:ADDRESS`, 'target');
  return portScope(port.id, `VTEP ${vtep}`, snapLength);
}

/** @throws TaplineError `missing` for no such thing, `conflict` for a name that two things have */
function findScope(daemon: Daemon, target: string, snapLength: number): Scope {
  if (target === UPLINK_PORT_NAME) {
    if (daemon.uplink === null) throw new TaplineError('missing', 'no uplink is configured', 'target');
    return portScope(daemon.uplink.port, `uplink ${daemon.uplink.device}`, snapLength);
  }
  const vtep = /^vxlan:(.*)$/.exec(target)?.[1];
  if (vtep !== undefined) return vtepScope(daemon, target, vtep, snapLength);
  const [, kind = '', name = target] = /^(endpoint|network):(.*)$/.exec(target) ?? [];
  const endpoint = kind === 'network' ? undefined : daemon.endpoints.get(name);
  const network = kind === 'endpoint' ? undefined : daemon.networks.get(name);
  if (endpoint !== undefined && network !== undefined) {
    const remedy = `say endpoint:${name} or network:${name}`;
    throw new TaplineError('conflict', `${name} is both an endpoint and a network; ${remedy}`, 'target');
  }
  if (endpoint !== undefined) return portScope(endpoint.port, `endpoint ${name}`, snapLength);
  if (network === undefined) throw new TaplineError('missing', `no ${kind || 'endpoint or network'} ${name}`, 'target');
  return { filter: { port: null, network: network.id, snapLength }, event: 'network-removed', number: network.id };
}

function targetGone(target: string): TaplineError {
  return new TaplineError('missing', `${target} went away`, 'target');
}

/** One capture under way. It ends when its reader goes, `count` is reached, its target is removed, or `finish` is called. */
export class CaptureStream {
  readonly id: number;
  readonly target: string;
  readonly stream: Readable;
  /** Resolves when the capture has ended and the dataplane has let go of it. */
  readonly ended: Promise<void>;
  readonly #capture: Capture;
  readonly #writer = new PcapngWriter();
  readonly #request: CaptureRequest;
  readonly #portName: (port: number) => string;
  readonly #interfaces = new Map<number, number>();
  #frames = 0;
  #lostHere = 0;
  #finished = false;
  #settle: () => void = () => {};

  /** @param ports those known now, declared up front so that readers know the link type before the first frame */
  constructor(
    id: number,
    request: CaptureRequest,
    capture: Capture,
    ports: readonly number[],
    portName: (port: number) => string,
  ) {
    this.id = id;
    this.target = request.target;
    this.#request = request;
    this.#capture = capture;
    this.#portName = portName;
    this.stream = new Readable({ read: () => {} });
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.stream.push(this.#writer.header());
    for (const port of ports) this.#interfaceOf(port);
    this.stream.on('close', () => this.finish());
    capture.onFrame((frame) => this.#frame(frame));
  }

  get frames(): number {
    return this.#frames;
  }

  /** Frames that the ring of the dataplane or this reader had no room for. */
  get lost(): number {
    return this.#capture.lost + this.#lostHere;
  }

  #interfaceOf(port: number): number {
    const known = this.#interfaces.get(port);
    if (known !== undefined) return known;
    const { id, bytes } = this.#writer.interface(this.#portName(port), this.#request.snaplen);
    this.#interfaces.set(port, id);
    this.stream.push(bytes);
    return id;
  }

  #frame(frame: CapturedFrame): void {
    if (this.stream.destroyed || this.#frames === this.#limit) return;
    if (this.stream.readableLength > BACKLOG_LIMIT) {
      this.#lostHere++;
      return;
    }
    const { time, direction, originalLength, data } = frame;
    const interfaceId = this.#interfaceOf(frame.port);
    this.stream.push(this.#writer.packet({ interfaceId, time, direction, originalLength, data }));
    this.#frames++;
    if (this.#frames === this.#limit) this.finish();
  }

  get #limit(): number {
    return this.#request.count === 0 ? Number.POSITIVE_INFINITY : this.#request.count;
  }

  /** Ends the capture. Frames that the dataplane holds already, and what is in the stream, still reach the reader. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    const end = (): void => {
      if (!this.stream.destroyed) this.stream.push(null);
      this.#settle();
    };
    this.#capture.stop().then(end, end);
  }
}

export class Captures {
  readonly #daemon: Daemon;
  readonly #running = new Map<number, CaptureStream>();
  #nextId = 1;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** @throws TaplineError when the target does not exist or the dataplane takes no more captures */
  async start(request: CaptureRequest): Promise<CaptureStream> {
    const { dataplane, events } = this.#daemon;
    const scope = findScope(this.#daemon, request.target, request.snaplen);
    const capture = await dataplane.capture(scope.filter);
    try {
      // The target may have gone while the dataplane was answering; nothing would end such a capture.
      if (findScope(this.#daemon, request.target, request.snaplen).number !== scope.number)
        throw targetGone(request.target);
    } catch (error) {
      await capture.stop();
      throw error;
    }
    const names = new Map<number, string>();
    const portName = (port: number): string => {
      if (!names.has(port)) for (const { id, name } of dataplane.ports()) names.set(id, name);
      return names.get(port) ?? `port ${port}`;
    };
    const { filter } = scope;
    const ports = dataplane
      .ports()
      .filter(({ id, network }) => (filter.port === null ? network === filter.network : id === filter.port));
    const started = new CaptureStream(
      this.#nextId++,
      request,
      capture,
      ports.map(({ id }) => id),
      portName,
    );
    const onRemoved = (number: number): void => {
      if (number === scope.number) started.finish();
    };
    events.on(scope.event, onRemoved);
    this.#running.set(started.id, started);
    started.ended.then(() => {
      events.off(scope.event, onRemoved);
      this.#running.delete(started.id);
    });
    return started;
  }

  list(): CaptureView[] {
    return [...this.#running.values()].map(({ id, target, frames, lost }) => ({ id, target, frames, lost }));
  }

  /** Ends one capture. @throws TaplineError `missing` */
  stop(id: number): CaptureView {
    const capture = this.#running.get(id);
    if (capture === undefined) throw new TaplineError('missing', `no capture ${id}`);
    capture.finish();
    return { id, target: capture.target, frames: capture.frames, lost: capture.lost };
  }

  async stopAll(): Promise<void> {
    const all = [...this.#running.values()];
    for (const capture of all) capture.finish();
    await Promise.all(all.map(({ ended }) => ended));
  }
}
