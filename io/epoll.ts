/**
 * The `epoll` engine: epoll_wait, then read, recvmsg and write, one call a frame. For kernels without io_uring's multishot reads
 * and for places where io_uring is forbidden (Docker's default seccomp profile, kernel.io_uring_disabled).
 *
 * Sends happen at once and in order, so nothing is ever queued.
 */

import {
  type Arena,
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
  EAGAIN,
  EINTR,
  EINVAL,
  epollControl,
  epollCreate,
  epollWait,
  errno,
  fcntl,
  read,
  recvmsg,
  SystemError,
  write,
} from './libc.js';
import { mapRegion, type Region } from './memory.js';
import { AUXDATA_SPACE, restoreVlanTag } from './vlan-restore.js';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EPOLLET = 1 << 31;
const F_SETFL = 4;
const O_RDWR_NONBLOCK = 0o4002;
const MSG_TRUNC = 0x20;
const EBADF = 9;

/** Ready descriptors that one wait reports. */
const EVENTS_AT_ONCE = 128;
/** Frames read from one port before the next gets its turn, where few ports have any. */
const PORT_BUDGET = 32;
/** struct epoll_event is packed on x86-64 (12 bytes), and padded to 16 elsewhere. */
const EVENT_SIZE = process.arch === 'x64' ? 12 : 16;
const EVENT_DATA = EVENT_SIZE - 8;

/** epoll's data word: port number, or token with this bit. */
const WATCH_BIT = 1 << 30;

/** Offsets in the scratch page: msghdr, iovec, control data, then epoll events. */
const SCRATCH_MSGHDR = 0;
const SCRATCH_IOVEC = 64;
const SCRATCH_EVENTS = 128;
/** Control data go in front of the packet, into the slot's headroom. */
const CONTROL_BEFORE = AUXDATA_SPACE;

export interface EpollOptions {
  /** Address of the arena's first byte; below 2^31. */
  readonly arenaAddress: number;
}

export class EpollEngine extends EngineReports implements Engine {
  readonly name = 'epoll';
  readonly received = new Int32Array(BATCH_LIMIT);

  private readonly arena: Arena;
  private readonly arenaAddress: number;
  private readonly epoll: number;
  private readonly scratch: Region;
  private readonly scratch32: Int32Array;
  private readonly scratchView: DataView;
  private readonly descriptors: number[] = [];
  private readonly kinds: number[] = [];
  /** By port: where super-packets in a tunnel leave; -1: nowhere. */
  private readonly outlets: number[] = [];
  private readonly watched = new Map<number, number>();

  constructor(arena: Arena, options: EpollOptions) {
    super();
    this.arena = arena;
    this.arenaAddress = options.arenaAddress;
    this.epoll = check(epollCreate(EPOLL_CLOEXEC), 'creating an epoll instance');
    this.scratch = mapRegion(SCRATCH_EVENTS + EVENTS_AT_ONCE * EVENT_SIZE);
    this.scratch32 = new Int32Array(this.scratch.buffer);
    this.scratchView = new DataView(this.scratch.buffer);
  }

  addPort(port: number, fd: number, kind: number): void {
    check(fcntl(fd, F_SETFL, O_RDWR_NONBLOCK), 'setting O_NONBLOCK');
    while (this.descriptors.length <= port) {
      this.descriptors.push(-1);
      this.kinds.push(0);
      this.outlets.push(-1);
    }
    this.control(EPOLL_CTL_ADD, fd, EPOLLIN, port);
    this.descriptors[port] = fd;
    this.kinds[port] = kind;
    this.outlets[port] = -1;
  }

  setOutlet(port: number, fd: number): void {
    if (fd >= 0) check(fcntl(fd, F_SETFL, O_RDWR_NONBLOCK), 'setting O_NONBLOCK');
    this.outlets[port] = fd;
  }

  removePort(port: number): void {
    const fd = this.descriptors[port] ?? -1;
    if (fd >= 0) {
      this.descriptors[port] = -1;
      this.control(EPOLL_CTL_DEL, fd, 0, port);
    }
    this.addEvent(EVENT_PORT_REMOVED, port, 0);
  }

  watch(token: number, fd: number): void {
    // Edge-triggered: an ended process stays readable until somebody has time for it.
    this.control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, WATCH_BIT | token);
    this.watched.set(token, fd);
  }

  unwatch(token: number): void {
    const fd = this.watched.get(token);
    if (fd === undefined) return;
    this.watched.delete(token);
    this.control(EPOLL_CTL_DEL, fd, 0, 0);
  }

  transmit(port: number, slot: number): void {
    const packet = this.arena.packets[slot];
    const byOutlet = isTunnelled(packet);
    const fd = byOutlet ? this.outlets[port] : this.descriptors[port];
    const header = byOutlet ? TUNNEL_HEADER_LENGTH : VNET_HEADER_LENGTH;
    const result = write(fd, this.arenaAddress + packet.start - header, packet.length + header);
    if (result < 0) this.addFailure(port, errno(), packet.length);
    this.arena.release(slot);
  }

  flush(): void {}

  wait(timeout: number): number {
    const patience = this.eventCount > 0 ? 0 : timeout;
    const ready = epollWait(this.epoll, this.scratch.address + SCRATCH_EVENTS, EVENTS_AT_ONCE, patience);
    if (ready < 0) {
      if (errno() !== EINTR) throw new SystemError(errno(), 'waiting in epoll_wait');
      return 0;
    }
    // epoll names the ports in the same order each time: without a share for each, the first ones could fill every batch.
    const budget = Math.min(PORT_BUDGET, (BATCH_LIMIT / Math.max(ready, 1)) | 0);
    let count = 0;
    for (let i = 0; i < ready; i++) {
      const data = this.scratchView.getInt32(SCRATCH_EVENTS + i * EVENT_SIZE + EVENT_DATA, true);
      if ((data & WATCH_BIT) !== 0) this.addEvent(EVENT_READABLE, data & ~WATCH_BIT, 0);
      else count = this.drain(data, count, budget);
    }
    return count;
  }

  get resources(): EngineResources {
    const { address, length } = this.scratch;
    return { descriptors: [this.epoll], mappings: [{ address, length }] };
  }

  close(): void {
    releaseResources(this.resources);
  }

  private control(operation: number, fd: number, interest: number, data: number): void {
    const event = new Uint8Array(EVENT_SIZE);
    const view = new DataView(event.buffer);
    view.setInt32(0, interest, true);
    view.setInt32(EVENT_DATA, data, true);
    check(epollControl(this.epoll, operation, fd, event), 'changing the epoll set');
  }

  /** Reads a port until it is empty or has had its share; returns the number of frames received so far. */
  private drain(port: number, count: number, budget: number): number {
    const last = count + budget;
    while (count < last && this.descriptors[port] >= 0) {
      const slot = this.arena.allocate();
      if (slot < 0) return count;
      const kind = this.kinds[port];
      const result = kind === PORT_PACKET ? this.receivePacket(port, slot) : this.readTap(port, slot);
      if (result < 0) {
        this.arena.release(slot);
        this.receiveFailed(port, -result);
        return count;
      }
      if (this.arena.packets[slot].length < 0) this.arena.release(slot);
      else this.received[count++] = slot;
    }
    return count;
  }

  /** Returns 0, or a negative errno. */
  private readTap(port: number, slot: number): number {
    const base = slot * SLOT_STRIDE + RECEIVE_OFFSET;
    const result = read(this.descriptors[port], this.arenaAddress + base, RECEIVE_LENGTH);
    if (result < 0) return -errno();
    const packet = this.arena.packets[slot];
    packet.port = port;
    packet.start = base + VNET_HEADER_LENGTH;
    packet.length = result - VNET_HEADER_LENGTH;
    return 0;
  }

  /** Returns 0, or a negative errno. */
  private receivePacket(port: number, slot: number): number {
    const base = slot * SLOT_STRIDE + RECEIVE_OFFSET;
    const control = base - CONTROL_BEFORE;
    const words = this.scratch32;
    words[(SCRATCH_IOVEC >> 2) + 0] = this.arenaAddress + base;
    words[(SCRATCH_IOVEC >> 2) + 2] = RECEIVE_LENGTH;
    words[(SCRATCH_MSGHDR >> 2) + 4] = this.scratch.address + SCRATCH_IOVEC; // msg_iov
    words[(SCRATCH_MSGHDR >> 2) + 6] = 1; // msg_iovlen
    words[(SCRATCH_MSGHDR >> 2) + 8] = this.arenaAddress + control; // msg_control
    words[(SCRATCH_MSGHDR >> 2) + 10] = AUXDATA_SPACE; // msg_controllen
    const result = recvmsg(this.descriptors[port], this.scratch.address + SCRATCH_MSGHDR, 0);
    if (result < 0) return -errno();
    const packet = this.arena.packets[slot];
    packet.port = port;
    packet.start = base + VNET_HEADER_LENGTH;
    packet.length = result - VNET_HEADER_LENGTH;
    const truncated = (words[(SCRATCH_MSGHDR >> 2) + 12] & MSG_TRUNC) !== 0;
    if (truncated) packet.length = MAX_FRAME_LENGTH + 1;
    else restoreVlanTag(this.arena, packet, control, words[(SCRATCH_MSGHDR >> 2) + 10]);
    return 0;
  }

  /** A TAP that fails is gone; an AF_PACKET socket reports "network down" or an unsplittable frame once and recovers. */
  private receiveFailed(port: number, error: number): void {
    if (error === EAGAIN || error === EINTR) return;
    const isPacket = this.kinds[port] === PORT_PACKET;
    if (isPacket && error === EINVAL) this.addEvent(EVENT_FRAME_REJECTED, port, error);
    if (isPacket && error !== EBADF) return;
    const fd = this.descriptors[port];
    // Level-triggered epoll would report a dead device for ever.
    this.control(EPOLL_CTL_DEL, fd, 0, port);
    this.descriptors[port] = -1;
    this.addEvent(EVENT_PORT_FAILED, port, error);
  }
}
