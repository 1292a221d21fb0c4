/**
 * The `uring` engine: one io_uring for all ports (Linux ≥ 6.7). Every TAP has one multishot read outstanding, every AF_PACKET
 * socket one multishot recvmsg; all of them take their buffers from one provided-buffer ring of arena slots, so memory does not
 * grow with the number of ports. Writes ride on the same io_uring_enter that waits for the next frames: one system call a batch.
 *
 * Writes carry RWF_NOWAIT and IOSQE_CQE_SKIP_SUCCESS: the kernel either finishes them inside the enter or posts their error
 * there, never later (io_uring/rw.c: REQ_F_NOWAIT requests are not polled or punted). So a slot is free again when the enter
 * returns, frames of a port leave in the order they were queued, and a write that succeeds wakes nobody.
 *
 * Layouts: linux/io_uring.h.
 */

import {
  Arena,
  MAX_FRAME_LENGTH,
  RECEIVE_LENGTH,
  RECEIVE_OFFSET,
  SLOT_STRIDE,
  VNET_HEADER_LENGTH,
} from '../core/packet/arena.js';
import { isTunnelled, TUNNEL_HEADER_LENGTH } from '../core/packet/vnet.js';
import {
  BATCH_LIMIT,
  type Engine,
  EngineReports,
  type EngineResources,
  EVENT_FRAME_REJECTED,
  EVENT_PORT_FAILED,
  EVENT_PORT_REMOVED,
  EVENT_READABLE,
  PORT_PACKET,
  releaseResources,
} from './engine.js';
import {
  check,
  close,
  EAGAIN,
  ECANCELED,
  EINTR,
  EINVAL,
  ENOBUFS,
  ETIME,
  errno,
  fcntl,
  SystemError,
  syscall,
} from './libc.js';
import { mapDescriptor, mapRegion, type Region, unmapRegion } from './memory.js';
import { AUXDATA_SPACE, restoreVlanTag } from './vlan-restore.js';

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;

const SETUP_CQSIZE = 1 << 3;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;
const SETUP_NO_SQARRAY = 1 << 16;

const ENTER_GETEVENTS = 1 << 0;
const ENTER_EXT_ARG = 1 << 3;
const ENTER_REGISTERED_RING = 1 << 4;

const REGISTER_PROBE = 8;
const REGISTER_RING_FDS = 20;
const REGISTER_PBUF_RING = 22;

const OP_POLL_ADD = 6;
const OP_RECVMSG = 10;
const OP_ASYNC_CANCEL = 14;
const OP_WRITE = 23;
const OP_READ_MULTISHOT = 49;

const SQE_BUFFER_SELECT = 1 << 5;
const SQE_CQE_SKIP_SUCCESS = 1 << 6;
const RECV_MULTISHOT = 1 << 1;
const POLL_ADD_MULTI = 1 << 0;
const POLLIN = 1;
const RWF_NOWAIT = 8;

const CQE_F_BUFFER = 1 << 0;
const CQE_F_MORE = 1 << 1;
const CQE_BUFFER_SHIFT = 16;

const OFFSET_SQ_RING = 0;
const OFFSET_SQES = 0x10000000;

const F_SETFL = 4;
const O_RDWR = 2;

/** Submission entries; also how many frames may be queued before a flush. */
const SQ_ENTRIES = 1024;
const SQE_WORDS = 16;
const CQE_WORDS = 4;
/** Buffers the ring can hold; a power of two. */
const BUFFER_RING_ENTRIES = BATCH_LIMIT;
/** Buffers to keep in it (see `refill`): while frames are small, and while super-packets are among them. */
const BUFFERS_FOR_SMALL = 64;
const BUFFERS_FOR_BULK = 12;
/** Bytes from which on a frame counts as bulk, and batches after the last of them until buffers are many again. */
const BULK_LENGTH = 16384;
const BULK_MEMORY = 256;
const BUFFER_GROUP = 0;

/** First bytes of a multishot recvmsg buffer: struct io_uring_recvmsg_out (4 × u32), then control data, then the packet. */
const RECVMSG_OUT = 16;
const RECVMSG_PREFIX = RECVMSG_OUT + AUXDATA_SPACE;
const MSG_TRUNC = 0x20;

/** user_data, low word: a tag in bits 28-30, the port or token below; high word: the frame's length for writes. */
const TAG_SHIFT = 28;
const TAG_MASK = 7 << TAG_SHIFT;
const TAG_RECEIVE = 1 << TAG_SHIFT;
const TAG_WRITE = 2 << TAG_SHIFT;
const TAG_WATCH = 3 << TAG_SHIFT;
const TAG_IGNORE = 4 << TAG_SHIFT;
const NUMBER_MASK = (1 << TAG_SHIFT) - 1;

const STATE_FREE = 0;
const STATE_LIVE = 1;
const STATE_CLOSING = 2;

class UringPort {
  fd = -1;
  /** Where super-packets in a tunnel leave; -1: nowhere. */
  outlet = -1;
  kind = 0;
  state = STATE_FREE;
  /** A multishot receive is in the kernel. */
  armed = false;
}

export interface UringOptions {
  /** Address of the arena's first byte; below 2^31. */
  readonly arenaAddress: number;
  /** Buffers to keep in the ring while frames are small; up to BUFFER_RING_ENTRIES. The probe needs but one. */
  readonly buffers?: number;
}

export class UringEngine extends EngineReports implements Engine {
  readonly name = 'uring';
  readonly received = new Int32Array(BATCH_LIMIT);

  private readonly arena: Arena;
  private readonly arenaAddress: number;
  private readonly ports: UringPort[] = [];
  private readonly watched = new Map<number, number>();
  private readonly rearm: number[] = [];

  private readonly ringFd: number;
  private enterFd: number;
  private enterFlags = 0;
  private readonly ring: Region;
  private readonly sqeRegion: Region;
  private readonly scratch: Region;
  private readonly scratch32: Int32Array;

  private readonly ring32: Int32Array;
  private readonly sqes: Int32Array;
  private readonly sqHeadAt: number;
  private readonly sqTailAt: number;
  private readonly sqMask: number;
  private readonly cqHeadAt: number;
  private readonly cqTailAt: number;
  private readonly cqMask: number;
  private readonly cqesAt: number;
  private sqTail = 0;

  private readonly buffers: Region;
  private readonly buffers32: Int32Array;
  private readonly buffers16: Uint16Array;
  private bufferTail = 0;
  private buffersInRing = 0;
  private readonly smallTarget: number;
  /** Batches left for which bulk is expected. */
  private bulk = 0;

  /** Slots of queued writes: released when the enter that submits them has returned. */
  private readonly sending = new Int32Array(SQ_ENTRIES);
  private sendingCount = 0;
  private queued = 0;

  private static readonly SCRATCH_TIMESPEC = 0;
  private static readonly SCRATCH_ARGUMENT = 16;
  private static readonly SCRATCH_MSGHDR = 64;

  /** @throws SystemError where the kernel has no io_uring, forbids it, or lacks multishot reads (before 6.7) */
  constructor(arena: Arena, options: UringOptions) {
    super();
    this.arena = arena;
    this.arenaAddress = options.arenaAddress;
    this.smallTarget = options.buffers ?? BUFFERS_FOR_SMALL;
    this.scratch = mapRegion(4096);
    this.scratch32 = new Int32Array(this.scratch.buffer);

    const parameters = new Int32Array(30);
    parameters[1] = SQ_ENTRIES * 4;
    parameters[2] = SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_NO_SQARRAY;
    this.ringFd = this.setup(parameters);
    this.enterFd = this.ringFd;
    this.probe();

    const cqEntries = parameters[1];
    const cqesOffset = parameters[20 + 5];
    this.ring = mapDescriptor(this.ringFd, OFFSET_SQ_RING, cqesOffset + cqEntries * 16);
    this.sqeRegion = mapDescriptor(this.ringFd, OFFSET_SQES, parameters[0] * 64);
    this.ring32 = new Int32Array(this.ring.buffer);
    this.sqes = new Int32Array(this.sqeRegion.buffer);
    this.sqHeadAt = parameters[10] >> 2;
    this.sqTailAt = parameters[11] >> 2;
    this.sqMask = this.ring32[parameters[12] >> 2];
    this.cqHeadAt = parameters[20] >> 2;
    this.cqTailAt = parameters[21] >> 2;
    this.cqMask = this.ring32[parameters[22] >> 2];
    this.cqesAt = cqesOffset >> 2;

    this.buffers = mapRegion(BUFFER_RING_ENTRIES * 16);
    this.buffers32 = new Int32Array(this.buffers.buffer);
    this.buffers16 = new Uint16Array(this.buffers.buffer);
    this.registerBuffers();
    this.registerRing();
    this.prepareScratch();
    this.refill();
  }

  addPort(port: number, fd: number, kind: number): void {
    // Multishot reads arm the poll themselves; on an O_NONBLOCK descriptor they would fail with EAGAIN instead.
    check(fcntl(fd, F_SETFL, O_RDWR), 'clearing O_NONBLOCK');
    while (this.ports.length <= port) this.ports.push(new UringPort());
    const entry = this.ports[port];
    entry.fd = fd;
    entry.outlet = -1;
    entry.kind = kind;
    entry.state = STATE_LIVE;
    entry.armed = false;
    this.armReceive(port);
  }

  setOutlet(port: number, fd: number): void {
    // What is queued for the one before leaves first: it may be closed after this.
    this.flush();
    this.ports[port].outlet = fd;
  }

  removePort(port: number): void {
    const entry = this.ports[port];
    if (entry === undefined || entry.state === STATE_FREE) {
      this.addEvent(EVENT_PORT_REMOVED, port, 0);
      return;
    }
    // Whatever is queued for it must leave before its descriptor may be closed.
    this.flush();
    entry.state = STATE_CLOSING;
    if (entry.armed) this.cancel(TAG_RECEIVE | port);
    else this.finishRemoval(port);
  }

  watch(token: number, fd: number): void {
    this.watched.set(token, fd);
    this.armWatch(token, fd);
  }

  unwatch(token: number): void {
    if (this.watched.delete(token)) this.cancel(TAG_WATCH | token);
  }

  transmit(port: number, slot: number): void {
    const packet = this.arena.packets[slot];
    const entry = this.ports[port];
    const byOutlet = isTunnelled(packet);
    const header = byOutlet ? TUNNEL_HEADER_LENGTH : VNET_HEADER_LENGTH;
    const at = this.nextSqe();
    const sqes = this.sqes;
    sqes[at] = OP_WRITE | (SQE_CQE_SKIP_SUCCESS << 8);
    sqes[at + 1] = byOutlet ? entry.outlet : entry.fd;
    sqes[at + 4] = this.arenaAddress + packet.start - header;
    sqes[at + 6] = packet.length + header;
    sqes[at + 7] = RWF_NOWAIT;
    sqes[at + 8] = TAG_WRITE | port;
    sqes[at + 9] = packet.length;
    this.sending[this.sendingCount++] = slot;
  }

  flush(): void {
    while (this.queued > 0) this.enter(0, 0);
  }

  wait(timeout: number): number {
    this.rearmStarved();
    this.refill();
    this.enterAndWait(this.eventCount > 0 || this.completionsReady() ? 0 : timeout);
    return this.reap();
  }

  get resources(): EngineResources {
    const regions = [this.ring, this.sqeRegion, this.scratch, this.buffers];
    return { descriptors: [this.ringFd], mappings: regions.map(({ address, length }) => ({ address, length })) };
  }

  close(): void {
    releaseResources(this.resources);
  }

  // --- set-up

  private setup(parameters: Int32Array): number {
    const at = this.scratch32;
    at.set(parameters, 256);
    const fd = syscall(SYS_IO_URING_SETUP, SQ_ENTRIES, this.scratch.address + 1024, 0, 0, 0, 0);
    if (fd < 0) {
      const error = errno();
      unmapRegion(this.scratch);
      throw new SystemError(error, 'setting up io_uring', setupRemedy(error));
    }
    parameters.set(at.subarray(256, 286));
    return fd;
  }

  /** Multishot reads came with Linux 6.7, later than every set-up flag used here. */
  private probe(): void {
    const operations = OP_READ_MULTISHOT + 1;
    const at = this.scratch.address + 2048;
    const words = this.scratch32;
    words.fill(0, 512, 1024);
    const result = syscall(SYS_IO_URING_REGISTER, this.ringFd, REGISTER_PROBE, at, operations, 0, 0);
    const last = result < 0 ? 0 : words[512] & 0xff;
    if (last >= OP_READ_MULTISHOT) return;
    close(this.ringFd);
    unmapRegion(this.scratch);
    throw new SystemError(EINVAL, 'looking for multishot reads in io_uring', 'needs Linux 6.7 or later');
  }

  private registerBuffers(): void {
    const words = this.scratch32;
    words.fill(0, 256, 272);
    words[256] = this.buffers.address;
    words[258] = BUFFER_RING_ENTRIES;
    words[259] = BUFFER_GROUP;
    const at = this.scratch.address + 1024;
    check(syscall(SYS_IO_URING_REGISTER, this.ringFd, REGISTER_PBUF_RING, at, 1, 0, 0), 'registering the buffer ring');
  }

  /** Saves looking up the ring's descriptor in a table shared by all threads, with every enter. Optional. */
  private registerRing(): void {
    const words = this.scratch32;
    words.fill(0, 256, 260);
    words[256] = -1;
    words[258] = this.ringFd;
    const at = this.scratch.address + 1024;
    if (syscall(SYS_IO_URING_REGISTER, this.ringFd, REGISTER_RING_FDS, at, 1, 0, 0) !== 1) return;
    this.enterFd = words[256];
    this.enterFlags = ENTER_REGISTERED_RING;
  }

  /** The enter's extended argument and the msghdr of multishot recvmsg never change but for the timeout. */
  private prepareScratch(): void {
    const words = this.scratch32;
    const argument = UringEngine.SCRATCH_ARGUMENT >> 2;
    words.fill(0, 0, 64);
    words[argument + 4] = this.scratch.address + UringEngine.SCRATCH_TIMESPEC;
    const message = UringEngine.SCRATCH_MSGHDR >> 2;
    words[message + 10] = AUXDATA_SPACE; // msg_controllen
  }

  // --- requests

  /** Zeroed room for one request; returns its index in `sqes`. */
  private nextSqe(): number {
    if (this.queued >= SQ_ENTRIES) this.flush();
    const at = (this.sqTail & this.sqMask) * SQE_WORDS;
    this.sqTail = (this.sqTail + 1) | 0;
    this.queued++;
    const sqes = this.sqes;
    sqes[at + 2] = 0;
    sqes[at + 3] = 0;
    sqes[at + 5] = 0;
    sqes[at + 10] = 0;
    sqes[at + 11] = 0;
    return at;
  }

  private armReceive(port: number): void {
    const entry = this.ports[port];
    const at = this.nextSqe();
    const sqes = this.sqes;
    sqes[at + 1] = entry.fd;
    if (entry.kind === PORT_PACKET) {
      sqes[at] = OP_RECVMSG | (SQE_BUFFER_SELECT << 8) | (RECV_MULTISHOT << 16);
      sqes[at + 4] = this.scratch.address + UringEngine.SCRATCH_MSGHDR;
      sqes[at + 6] = 1;
    } else {
      sqes[at] = OP_READ_MULTISHOT | (SQE_BUFFER_SELECT << 8);
      sqes[at + 4] = 0;
      sqes[at + 6] = 0;
    }
    sqes[at + 7] = 0;
    sqes[at + 8] = TAG_RECEIVE | port;
    sqes[at + 9] = 0;
    sqes[at + 10] = BUFFER_GROUP;
    entry.armed = true;
  }

  private armWatch(token: number, fd: number): void {
    const at = this.nextSqe();
    const sqes = this.sqes;
    sqes[at] = OP_POLL_ADD;
    sqes[at + 1] = fd;
    sqes[at + 4] = 0;
    sqes[at + 6] = POLL_ADD_MULTI;
    sqes[at + 7] = POLLIN;
    sqes[at + 8] = TAG_WATCH | token;
    sqes[at + 9] = 0;
  }

  private cancel(userData: number): void {
    const at = this.nextSqe();
    const sqes = this.sqes;
    sqes[at] = OP_ASYNC_CANCEL;
    sqes[at + 1] = -1;
    sqes[at + 4] = userData;
    sqes[at + 6] = 0;
    sqes[at + 7] = 0;
    sqes[at + 8] = TAG_IGNORE;
    sqes[at + 9] = 0;
  }

  // --- the system call

  private enterAndWait(timeout: number): void {
    const words = this.scratch32;
    const seconds = (timeout / 1000) | 0;
    words[0] = seconds;
    words[2] = (timeout - seconds * 1000) * 1000000;
    this.enter(timeout === 0 ? 0 : 1, ENTER_GETEVENTS | ENTER_EXT_ARG);
    // Short of memory, the kernel takes a part: the rest must go too before more is queued, or slots would be lost sight of.
    if (this.queued > 0) this.flush();
  }

  private enter(minimum: number, flags: number): void {
    Atomics.store(this.ring32, this.sqTailAt, this.sqTail);
    const argument = flags === 0 ? 0 : this.scratch.address + UringEngine.SCRATCH_ARGUMENT;
    const size = flags === 0 ? 0 : 24;
    const result = syscall(
      SYS_IO_URING_ENTER,
      this.enterFd,
      this.queued,
      minimum,
      flags | this.enterFlags,
      argument,
      size,
    );
    if (result < 0) this.checkEnter(errno());
    this.queued = (this.sqTail - Atomics.load(this.ring32, this.sqHeadAt)) | 0;
    if (this.queued === 0) this.releaseSent();
  }

  private checkEnter(error: number): void {
    if (error === ETIME || error === EINTR || error === EAGAIN) return;
    // EBUSY: completions overflowed; they are reaped by the caller and the submission is repeated.
    if (error === 16) return;
    throw new SystemError(error, 'waiting in io_uring_enter');
  }

  private releaseSent(): void {
    const sending = this.sending;
    const count = this.sendingCount;
    for (let i = 0; i < count; i++) this.arena.release(sending[i]);
    this.sendingCount = 0;
  }

  // --- completions

  private completionsReady(): boolean {
    return this.ring32[this.cqHeadAt] !== Atomics.load(this.ring32, this.cqTailAt);
  }

  private reap(): number {
    const ring = this.ring32;
    let head = ring[this.cqHeadAt];
    const tail = Atomics.load(ring, this.cqTailAt);
    let count = 0;
    while (head !== tail) {
      const at = this.cqesAt + (head & this.cqMask) * CQE_WORDS;
      count = this.complete(ring[at], ring[at + 1], ring[at + 2], ring[at + 3], count);
      head = (head + 1) | 0;
    }
    Atomics.store(ring, this.cqHeadAt, head);
    if (this.bulk > 0) this.bulk--;
    return count;
  }

  /** Handles one completion; returns the number of frames received so far. */
  private complete(userData: number, extra: number, result: number, flags: number, count: number): number {
    const tag = userData & TAG_MASK;
    const number = userData & NUMBER_MASK;
    if (tag === TAG_RECEIVE) return this.completeReceive(number, result, flags, count);
    if (tag === TAG_WRITE) this.addFailure(number, -result, extra);
    else if (tag === TAG_WATCH) this.completeWatch(number, result, flags);
    return count;
  }

  private completeReceive(port: number, result: number, flags: number, count: number): number {
    if ((flags & CQE_F_BUFFER) !== 0) {
      const slot = flags >>> CQE_BUFFER_SHIFT;
      this.buffersInRing--;
      if (result >= BULK_LENGTH) this.bulk = BULK_MEMORY;
      if (result > 0 && this.describe(port, slot, result)) this.received[count++] = slot;
      else this.arena.release(slot);
    }
    if ((flags & CQE_F_MORE) === 0) this.receiveEnded(port, result);
    return count;
  }

  /** Fills the handle's place and length. False where the kernel's own header makes no sense. */
  private describe(port: number, slot: number, result: number): boolean {
    const packet = this.arena.packets[slot];
    const base = slot * SLOT_STRIDE + RECEIVE_OFFSET;
    packet.port = port;
    if (this.ports[port].kind === PORT_PACKET) return this.describePacket(slot, base, result);
    packet.start = base + VNET_HEADER_LENGTH;
    packet.length = result - VNET_HEADER_LENGTH;
    return packet.length >= 0;
  }

  private describePacket(slot: number, base: number, result: number): boolean {
    const packet = this.arena.packets[slot];
    const view = this.arena.view;
    packet.start = base + RECVMSG_PREFIX + VNET_HEADER_LENGTH;
    packet.length = result - RECVMSG_PREFIX - VNET_HEADER_LENGTH;
    if (packet.length < 0) return false;
    const truncated = (view.getInt32(base + 12, true) & MSG_TRUNC) !== 0;
    if (truncated) packet.length = MAX_FRAME_LENGTH + 1;
    else restoreVlanTag(this.arena, packet, base + RECVMSG_OUT, view.getInt32(base + 4, true));
    return true;
  }

  /** A multishot request has come to its end: no buffers, cancelled, an error of one packet, or the device is gone. */
  private receiveEnded(port: number, result: number): void {
    const entry = this.ports[port];
    entry.armed = false;
    if (entry.state === STATE_CLOSING) {
      this.finishRemoval(port);
      return;
    }
    if (result === -EINVAL && entry.kind === PORT_PACKET) this.addEvent(EVENT_FRAME_REJECTED, port, EINVAL);
    if (result >= 0 || result === -ENOBUFS || this.isPassing(entry, -result)) this.rearm.push(port);
    else this.addEvent(EVENT_PORT_FAILED, port, -result);
  }

  /** Errors after which a port goes on: an AF_PACKET socket reports "network down" or an unsplittable frame once and recovers. */
  private isPassing(entry: UringPort, error: number): boolean {
    return error === EINTR || error === EAGAIN || error === ECANCELED || (entry.kind === PORT_PACKET && error !== 9);
  }

  private rearmStarved(): void {
    if (this.rearm.length === 0) return;
    this.refill();
    if (this.buffersInRing === 0) return;
    for (const port of this.rearm) if (this.ports[port].state === STATE_LIVE) this.armReceive(port);
    this.rearm.length = 0;
  }

  private finishRemoval(port: number): void {
    this.ports[port].state = STATE_FREE;
    const starved = this.rearm.indexOf(port);
    if (starved >= 0) this.rearm.splice(starved, 1);
    this.addEvent(EVENT_PORT_REMOVED, port, 0);
  }

  private completeWatch(token: number, result: number, flags: number): void {
    const fd = this.watched.get(token);
    if (fd === undefined) return;
    if (result > 0) this.addEvent(EVENT_READABLE, token, 0);
    // A descriptor that cannot be watched (closed already) would fail again at once, and for ever.
    if (result < 0) this.watched.delete(token);
    else if ((flags & CQE_F_MORE) === 0) this.armWatch(token, fd);
  }

  // --- buffers

  /**
   * Tops the ring up. The kernel takes buffers in ring order, so all that are in it get touched in turn. With super-packets of
   * 64 KiB a dozen fill a core's second-level cache, and each frame is copied in and out again: fewer buffers are faster, though a
   * burst that finds none ends the multishot reads and costs one more request. Small frames want larger batches instead.
   */
  private refill(): void {
    const arena = this.arena;
    const target = this.bulk > 0 ? BUFFERS_FOR_BULK : this.smallTarget;
    const mask = BUFFER_RING_ENTRIES - 1;
    let tail = this.bufferTail;
    while (this.buffersInRing < target) {
      const slot = arena.allocate();
      if (slot < 0) break;
      const at = (tail & mask) * 4;
      this.buffers32[at] = this.arenaAddress + slot * SLOT_STRIDE + RECEIVE_OFFSET;
      this.buffers32[at + 1] = 0;
      this.buffers32[at + 2] = RECEIVE_LENGTH;
      this.buffers16[at * 2 + 6] = slot;
      tail = (tail + 1) & 0xffff;
      this.buffersInRing++;
    }
    if (tail === this.bufferTail) return;
    this.bufferTail = tail;
    // The ring's tail overlays the reserved field of its first entry (struct io_uring_buf_ring).
    Atomics.store(this.buffers16, 7, tail);
  }
}

function setupRemedy(error: number): string {
  if (error === 38) return 'this kernel has no io_uring';
  if (error === 1) return 'io_uring is forbidden (kernel.io_uring_disabled, or a seccomp filter)';
  if (error === EINVAL) return 'needs Linux 6.7 or later';
  return 'needs io_uring';
}

/** Null where this kernel and process can have the engine; else one line that says why not. */
export function probeUring(): string | null {
  try {
    const region = mapRegion(SLOT_STRIDE);
    try {
      new UringEngine(new Arena(region.buffer), { arenaAddress: region.address, buffers: 1 }).close();
    } finally {
      unmapRegion(region);
    }
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
