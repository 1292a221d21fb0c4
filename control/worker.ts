/**
 * The dataplane's thread: a run-to-completion loop that sleeps in the kernel. It owns arena, tables and engine; the main thread
 * reaches it by commands alone (worker-protocol.ts).
 */

import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { COUNTER_BLOCK } from '../core/counters.js';
import { Dataplane } from '../core/dataplane.js';
import {
  DROP_TX_ERROR,
  DROP_TX_PORT_DOWN,
  DROP_TX_QUEUE_FULL,
  DROP_TX_REJECTED,
  DROP_TX_TOO_BIG,
} from '../core/drop.js';
import { EVENT_RECORD } from '../core/events.js';
import { flowIndexBytes } from '../core/nat/flow-index.js';
import { COALESCE_NONE, COALESCE_TCP } from '../core/offload/coalesce.js';
import { Arena } from '../core/packet/arena.js';
import { type Domain, MAX_PORTS } from '../core/ports.js';
import { STATIC } from '../core/switch/fdb.js';
import { PortSecurity } from '../core/switch/port-security.js';
import { StormControl } from '../core/switch/storm.js';
import { Clock } from '../io/clock.js';
import {
  type Engine,
  EVENT_FRAME_REJECTED,
  EVENT_PORT_FAILED,
  EVENT_PORT_REMOVED,
  EVENT_READABLE,
  EVENT_WORDS,
  FAILURE_WORDS,
  PORT_PACKET,
} from '../io/engine.js';
import { EpollEngine } from '../io/epoll.js';
import { EAGAIN, EINVAL, EIO, EMSGSIZE, ENETDOWN, ENOBUFS, ENODEV, ENXIO, SystemError } from '../io/libc.js';
import { viewRegion } from '../io/memory.js';
import { isUplinkGone } from '../io/uplink.js';
import { UringEngine } from '../io/uring.js';
import { Wakeup } from '../io/wakeup.js';
import { tableWords } from './table-memory.js';
import type { MdbEntry, MdbPort } from './types.js';
import { Captures } from './worker-captures.js';
import { WorkerNat } from './worker-nat.js';
import type {
  Answer,
  Command,
  Reply,
  Request,
  WorkerCapture,
  WorkerNetwork,
  WorkerPort,
  WorkerSecurity,
  WorkerSetup,
  WorkerStatic,
  WorkerStatus,
} from './worker-protocol.js';
import { FDB_RECORD, PORT_VXLAN, STATIC_RECORD } from './worker-protocol.js';
import { WorkerRouter } from './worker-router.js';
import { WorkerServices } from './worker-services.js';
import { WorkerVxlan } from './worker-vxlan.js';

/** Milliseconds between two turns of maintenance; also the longest sleep. */
const TICK = 1000;
/** FDB places looked at in one turn of maintenance: 0.1 ms of work, and the default table is passed once in 4 s. */
const SWEEP_BUDGET = 65536;
/** Milliseconds between two reports of events: a loop makes thousands of them a second. */
const EVENT_INTERVAL = 100;
/** Token of the command eventfd; watches of the main thread have tokens above. */
const COMMAND_TOKEN = 0;

/** Memory of the flows that means nothing to a successor. */
function flowScratch({ scratch, tables }: WorkerSetup): { places: Int32Array; permissions: Int32Array } {
  const { buffer } = viewRegion(scratch.address, scratch.length);
  const words = new Int32Array(buffer).fill(0);
  const places = flowIndexBytes(tables.flowCapacity) / 4;
  return { places: words.subarray(0, places), permissions: words.subarray(places) };
}

class Worker {
  private readonly commands: MessagePort;
  private readonly wakeup: Wakeup;
  private readonly arena: Arena;
  private readonly engine: Engine;
  private readonly dataplane: Dataplane;
  private readonly router: WorkerRouter;
  private readonly nat: WorkerNat;
  private readonly services: WorkerServices;
  private readonly vxlan: WorkerVxlan;
  private readonly captures: Captures;
  private readonly clock = new Clock();
  private readonly removing = new Map<number, number>();
  private readonly portIds = new Set<number>();
  /** Descriptors of the uplinks by port number, until their device is found gone. */
  private readonly uplinks = new Map<number, number>();
  private lastTick = 0;
  private eventsAt = 0;
  private stopping = false;

  constructor(setup: WorkerSetup) {
    this.commands = setup.commands;
    this.wakeup = new Wakeup(setup.wakeupFd);
    this.arena = new Arena(viewRegion(setup.arenaAddress, setup.arenaLength).buffer);
    this.engine =
      setup.engine === 'uring'
        ? new UringEngine(this.arena, { arenaAddress: setup.arenaAddress })
        : new EpollEngine(this.arena, { arenaAddress: setup.arenaAddress });
    // Before anything else can fail: the main thread must be able to give this back.
    this.send({ kind: 'started', resources: this.engine.resources });
    this.clock.read();
    const tables = viewRegion(setup.tables.address, setup.tables.length).buffer;
    this.dataplane = new Dataplane({
      arena: this.arena,
      transmitter: this.engine,
      counters: new Float64Array(setup.counters, 0, MAX_PORTS * COUNTER_BLOCK),
      fdbWords: tableWords(tables, setup.tables.fdb),
      fdbCapacity: setup.fdbCapacity,
      fdbReserve: setup.fdbReserve,
      generations: tableWords(tables, setup.tables.generations),
      seed: setup.seed,
      now: this.clock.seconds,
      flows: {
        words: tableWords(tables, setup.tables.flows),
        addresses6: tableWords(tables, setup.tables.addresses6),
        capacity: setup.tables.flowCapacity,
        // Found at random places: huge pages save a miss of the TLB each time (87 ns with 4 KiB pages, 9 with these).
        ...flowScratch(setup),
      },
    });
    this.nat = new WorkerNat(this.dataplane);
    this.services = new WorkerServices(this.dataplane);
    this.dataplane.vxlan.udpSegments = setup.udpSegments;
    this.vxlan = new WorkerVxlan(this.dataplane);
    this.router = new WorkerRouter(this.dataplane.router);
    this.captures = new Captures(this.arena, () => this.send({ kind: 'captured' }));
    this.engine.watch(COMMAND_TOKEN, this.wakeup.fd);
    this.readClock();
    for (const network of setup.networks) this.addNetwork(network);
    this.inherit('VTEP', () => this.vxlan.inherit(setup));
    for (const port of setup.ports) this.inheritPort(port);
    this.dataplane.fdb.recount();
    for (const entry of setup.statics) this.inherit('static entry', () => this.addStatic(entry));
    this.router.inherit(setup, (what, take) => this.inherit(what, take));
    this.inherit('neighbor', () => this.vxlan.inheritNeighbors(setup));
    this.inherit('services', () => this.services.inherit(setup.services));
    this.inherit('address translation', () => this.nat.inherit(setup.nat));
    if (setup.settled) this.settle();
    for (const mirror of setup.mirrors) this.inherit('mirror', () => this.dataplane.topology.addMirror(mirror));
    for (const watch of setup.watches) this.inherit('watch', () => this.engine.watch(watch.token, watch.fd));
    for (const capture of setup.captures) this.addCapture(capture);
  }

  /** The main thread gives the engine's resources back when this thread is gone, however it ended. */
  run(): void {
    while (!this.stopping) this.turn();
    this.engine.flush();
    this.wakeup.close(false);
    this.clock.close();
  }

  /** One batch: wait, read the clock once, process, report. */
  private turn(): void {
    const { engine, dataplane } = this;
    const count = engine.wait(dataplane.events.count > 0 ? EVENT_INTERVAL : TICK);
    this.readClock();
    if (this.captures.active) this.clock.readWall(this.captures.wall, 0);
    dataplane.processBatch(engine.received, count);
    if (engine.failureCount > 0) this.countFailures();
    if (engine.eventCount > 0) this.handleEvents();
    dataplane.router.flows.tick();
    if (this.clock.seconds !== this.lastTick) this.tick();
    if (dataplane.events.count > 0) this.reportEvents();
  }

  private readClock(): void {
    this.clock.read();
    this.dataplane.now = this.clock.seconds;
    this.dataplane.milliseconds = this.clock.milliseconds;
  }

  /** Once a second. Errors of stages too: a frame that makes one throw may come a million times. */
  private tick(): void {
    this.lastTick = this.clock.seconds;
    if (this.dataplane.lastError !== null) this.reportError();
    for (const [port, fd] of this.uplinks) if (isUplinkGone(fd)) this.portDown(port, ENODEV);
    if (this.dataplane.fdb.table.count > 0) this.dataplane.fdb.sweep(SWEEP_BUDGET, this.clock.seconds);
    this.dataplane.topology.tick();
    this.dataplane.router.tick();
    this.dataplane.vxlan.tick();
    for (const port of this.portIds) this.dataplane.counters.setMacs(port, this.dataplane.ports[port].macCount);
  }

  private reportEvents(): void {
    const passed = (this.clock.milliseconds - this.eventsAt) | 0;
    if (passed >= 0 && passed < EVENT_INTERVAL) return;
    this.eventsAt = this.clock.milliseconds;
    const { events } = this.dataplane;
    this.send({
      kind: 'events',
      events: { words: events.words.slice(0, events.count * EVENT_RECORD), lost: events.lost },
    });
    events.clear();
  }

  private countFailures(): void {
    const { engine, dataplane } = this;
    for (let i = 0; i < engine.failureCount; i++) {
      const at = i * FAILURE_WORDS;
      const reason = failureReason(engine.failures[at + 1]);
      dataplane.counters.transmitFailed(engine.failures[at], engine.failures[at + 2], reason);
    }
    engine.failureCount = 0;
  }

  private reportError(): void {
    const error = this.dataplane.lastError;
    this.dataplane.lastError = null;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.send({ kind: 'trouble', error: `a stage threw, the packet was dropped as internal_error: ${text}` });
  }

  // --- events

  private handleEvents(): void {
    const { engine } = this;
    const count = engine.eventCount;
    const events = engine.events.slice(0, count * EVENT_WORDS);
    engine.eventCount = 0;
    for (let i = 0; i < count; i++) {
      this.handleEvent(events[i * EVENT_WORDS], events[i * EVENT_WORDS + 1], events[i * EVENT_WORDS + 2]);
    }
  }

  private handleEvent(kind: number, subject: number, error: number): void {
    if (kind === EVENT_PORT_FAILED) this.portDown(subject, error);
    else if (kind === EVENT_FRAME_REJECTED) this.dataplane.receiveRejected(subject);
    else if (kind === EVENT_PORT_REMOVED) this.portRemoved(subject);
    else if (kind === EVENT_READABLE && subject === COMMAND_TOKEN) this.takeCommands();
    else if (kind === EVENT_READABLE) this.send({ kind: 'readable', token: subject });
  }

  private portDown(port: number, errno: number): void {
    this.uplinks.delete(port);
    this.send({ kind: 'portDown', port, errno });
  }

  private portRemoved(port: number): void {
    const request = this.removing.get(port);
    this.removing.delete(port);
    this.dataplane.counters.retire(port);
    if (request !== undefined) this.send({ kind: 'done', id: request, value: null });
  }

  // --- commands

  private takeCommands(): void {
    this.wakeup.clear();
    for (;;) {
      const message = receiveMessageOnPort(this.commands) as { message: Request } | undefined;
      if (message === undefined) return;
      this.execute(message.message);
    }
  }

  private execute(request: Request): void {
    try {
      const value = this.dispatch(request.id, request.command);
      if (value !== undefined) this.send({ kind: 'done', id: request.id, value });
    } catch (error) {
      this.send({ kind: 'failed', id: request.id, error: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Returns undefined where the answer comes later. */
  private dispatch(request: number, command: Command): Answer | undefined {
    const { dataplane, engine } = this;
    switch (command.op) {
      case 'addNetwork':
        this.addNetwork(command.network);
        return null;
      case 'removeNetwork':
        dataplane.topology.removeNetwork(command.id);
        return null;
      case 'addPort':
        this.addPort(command.port, command.vlans);
        dataplane.fdb.inherit(dataplane.ports[command.port.id], command.learned);
        return null;
      case 'setOutlet':
        this.setOutlet(command.port, command.fd);
        return null;
      case 'removePort':
        return this.removePort(request, command.id);
      case 'watch':
        engine.watch(command.watch.token, command.watch.fd);
        return null;
      case 'unwatch':
        engine.unwatch(command.token);
        return null;
      case 'fdb':
        return this.listFdb();
      case 'addStatic':
        this.addStatic(command.entry);
        return null;
      case 'changeStatics':
        this.changeStatics(command.words);
        return null;
      case 'removeEntry': {
        const domain = dataplane.topology.domain(command.network, command.vlan);
        return domain !== null && dataplane.fdb.remove(domain.fid, command.mac[0], command.mac[1]);
      }
      case 'flushFdb':
        dataplane.topology.flush(command.network, command.vlan, command.port);
        return null;
      case 'mdb':
        return this.listMdb();
      case 'addMirror':
        dataplane.topology.addMirror(command.mirror);
        return null;
      case 'removeMirror':
        dataplane.topology.removeMirror(command.id);
        return null;
      case 'settle':
        this.settle();
        return null;
      case 'status':
        return this.status();
      case 'capture':
        this.addCapture(command.capture);
        return null;
      case 'endCapture':
        this.captures.remove(command.id);
        if (!this.captures.active) dataplane.observe(null);
        return null;
      case 'stop':
        this.stopping = true;
        return null;
      case 'addInterface':
        for (const [vid, fid] of command.vlans) dataplane.topology.addVlan(command.network, vid, fid);
        return this.router.dispatch(command);
      default:
        return this.dispatchRouted(command);
    }
  }

  private dispatchRouted(command: Command): Answer | undefined {
    const answer = this.router.dispatch(command);
    if (answer !== undefined) return answer;
    const translated = this.nat.dispatch(command);
    if (translated !== undefined) return translated;
    const served = this.services.dispatch(command);
    return served === undefined ? this.vxlan.dispatch(command) : served;
  }

  private addNetwork(network: WorkerNetwork): void {
    const { topology } = this.dataplane;
    topology.addNetwork(network.id, network.ageing, network.fdbLimit, network);
    for (const [vid, fid] of network.vlans) topology.addVlan(network.id, vid, fid);
  }

  /** A port that cannot be taken over is lost; the others are not. */
  private inheritPort(port: WorkerPort): void {
    try {
      this.addPort(port, []);
    } catch (error) {
      this.portDown(port.id, error instanceof SystemError ? error.errno : EIO);
    }
  }

  /** What a predecessor had besides; one that cannot be taken over is said and left. */
  private inherit(what: string, take: () => void): void {
    try {
      take();
    } catch (error) {
      this.send({ kind: 'trouble', error: `taking over a ${what}: ${(error as Error).message}` });
    }
  }

  private addCapture(capture: WorkerCapture): void {
    this.captures.add(capture);
    this.dataplane.observe(this.captures);
  }

  private addPort(port: WorkerPort, vlans: readonly (readonly [number, number])[]): void {
    const { topology } = this.dataplane;
    for (const [vid, fid] of vlans) topology.addVlan(port.network, vid, fid);
    topology.addPort(port.id, port.network, {
      ...port,
      security: port.security === null ? null : portSecurity(port.security),
      // What a TAP's or another's kernel has not segmented comes whole; what came over a wire comes in segments.
      coalesces: port.kind === PORT_PACKET && port.offload ? COALESCE_TCP : COALESCE_NONE,
      storm:
        port.storm === null
          ? null
          : new StormControl(port.storm.broadcast, port.storm.multicast, port.storm.unknownUnicast),
    });
    try {
      if (port.kind !== PORT_VXLAN) this.engine.addPort(port.id, port.fd, port.kind);
    } catch (error) {
      topology.removePort(port.id);
      throw error;
    }
    this.portIds.add(port.id);
    if (port.outlet >= 0) this.inherit('outlet', () => this.setOutlet(port.id, port.outlet));
    if (port.kind === PORT_PACKET) this.uplinks.set(port.id, port.fd);
    if (port.announce === null) return;
    const [high, low] = port.announce.mac;
    topology.announce({ port: port.id, high, low, ...port.announce });
  }

  private setOutlet(port: number, fd: number): void {
    // One that could not be taken over, or went meanwhile.
    if (!this.portIds.has(port)) return;
    const { topology } = this.dataplane;
    // Before its descriptor goes nothing may count on it, and after it has come.
    topology.setOutlet(port, false);
    this.engine.setOutlet(port, fd);
    topology.setOutlet(port, fd >= 0);
  }

  private addStatic({ network, vlan, mac, port }: WorkerStatic): void {
    this.dataplane.topology.addStatic(network, vlan, mac[0], mac[1], port);
  }

  private changeStatics(words: Int32Array): void {
    const { topology, fdb } = this.dataplane;
    for (let at = 0; at < words.length; at += STATIC_RECORD) {
      const [network, vlan, high, low, port] = words.subarray(at, at + STATIC_RECORD);
      if (port !== 0) topology.addStatic(network, vlan, high, low, port);
      else {
        const domain = topology.domain(network, vlan);
        if (domain !== null) fdb.remove(domain.fid, high, low);
      }
    }
  }

  private removePort(request: number, port: number): Answer | undefined {
    if (this.dataplane.ports[port].vtep !== null) return this.removeVtep(port);
    this.removing.set(port, request);
    this.uplinks.delete(port);
    this.portIds.delete(port);
    this.dataplane.topology.removePort(port);
    this.engine.removePort(port);
    return undefined;
  }

  /** Nothing of the kernel's is behind it. */
  private removeVtep(port: number): null {
    this.portIds.delete(port);
    this.dataplane.topology.removePort(port);
    this.dataplane.counters.retire(port);
    return null;
  }

  /** Flat, since packets wait meanwhile: 100,000 entries take 6 ms, where as many objects took 300. */
  private listFdb(): Int32Array {
    const { fdb } = this.dataplane;
    const list = new Int32Array(fdb.table.count * FDB_RECORD);
    const now = this.clock.seconds;
    let at = 0;
    fdb.forEach((fid, macHigh, macLow, port, stamp) => {
      list[at] = fid;
      list[at + 1] = macHigh;
      list[at + 2] = macLow;
      list[at + 3] = port;
      list[at + 4] = stamp === STATIC ? 0 : now - stamp;
      list[at + 5] = stamp === STATIC ? 1 : 0;
      at += FDB_RECORD;
    }, now);
    return list.slice(0, at);
  }

  private listMdb(): MdbEntry[] {
    const now = this.clock.seconds;
    const entries: MdbEntry[] = [];
    for (const network of this.dataplane.topology.networks) {
      for (const domain of network?.vlans ?? []) if (domain !== undefined) entries.push(...groupsOf(domain, now));
    }
    return entries;
  }

  /** Flows of an earlier process whose port has not come back end as they would have with the port. */
  private settle(): void {
    const { flows } = this.dataplane.router;
    for (let port = 1; port < MAX_PORTS; port++)
      if (!this.portIds.has(port) && flows.table.ownerCount(port) > 0) flows.portEnds(port);
  }

  private status(): WorkerStatus {
    const { fdb, topology } = this.dataplane;
    return {
      freeSlots: this.arena.available,
      fdbEntries: fdb.table.count,
      fdbFull: fdb.fullCount,
      fdbMoves: fdb.moveCount,
      quarantined: topology.quarantined.map((port) => port.id),
    };
  }

  private send(reply: Reply): void {
    parentPort?.postMessage(reply);
  }
}

function portSecurity({ level, mac, macLimit, prefixes4, prefixes6, further }: WorkerSecurity): PortSecurity {
  return new PortSecurity(level, mac[0], mac[1], macLimit, prefixes4, prefixes6, further);
}

/** The multicast groups of a domain, each with its ports. */
function groupsOf(domain: Domain, now: number): MdbEntry[] {
  const groups = new Map<string, MdbPort[]>();
  domain.snooping?.forEach((group, port, expires) => {
    const ports = groups.get(group) ?? [];
    groups.set(group, ports);
    ports.push({ port, expires: expires < 0 ? null : expires });
  }, now);
  return [...groups].map(([group, ports]) => ({ network: domain.network.id, vlan: domain.vid, group, ports }));
}

function failureReason(error: number): number {
  if (error === EMSGSIZE) return DROP_TX_TOO_BIG;
  if (error === EAGAIN || error === ENOBUFS) return DROP_TX_QUEUE_FULL;
  if (error === EIO || error === ENETDOWN || error === ENXIO) return DROP_TX_PORT_DOWN;
  return error === EINVAL ? DROP_TX_REJECTED : DROP_TX_ERROR;
}

parentPort?.once('message', (setup: WorkerSetup) => new Worker(setup).run());
