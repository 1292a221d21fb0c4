/**
 * All frames that come in by one device leave by another: a BPF program of six instructions at its ingress (linux/bpf.h, tcx links, Linux 6.6).
 * It is before all of the host's own rules, takes no program of the host to make, and ends with its descriptor.
 *
 * tc's mirred would do the same, but for the transmit queue: a TAP says "queue 0" of what comes out of it, and mirred leaves it at that, so
 * that on a device with several queues packets of a flow would overtake each other. Here the queue is chosen as for any packet.
 */

import { close, errno, SystemError, syscall } from './libc.js';
import { mapRegion, type Region, unmapRegion } from './memory.js';

/** bpf(2): asm/unistd_64.h of x86, asm-generic/unistd.h of the others. */
const SYS_BPF = process.arch === 'x64' ? 321 : 280;
const PROG_LOAD = 5;
const LINK_CREATE = 28;
const PROG_TYPE_SCHED_CLS = 3;
const TCX_INGRESS = 46;

/** Helper long bpf_redirect(u32 ifindex, u64 flags): what it returns is what the program has to. */
const FUNC_REDIRECT = 23;
/** Opcodes: 64-bit dst = imm; *(u32 *)(dst + offset) = src; call imm; exit. */
const MOV_IMMEDIATE = 0xb7;
const STORE_WORD = 0x63;
const CALL = 0x85;
const EXIT = 0x95;
/** Of struct __sk_buff, which r1 points to at first. 0: not chosen yet. */
const QUEUE_MAPPING = 12;
const INSTRUCTION = 8;

/** Places in the scratch page: union bpf_attr, instructions, licence. */
const ATTRIBUTES = 0;
const PROGRAM = 1024;
const LICENSE = 2048;
const SCRATCH = 4096;
/** Bytes of union bpf_attr that are given: as far as prog_name, and as far as tcx's own fields, which stay 0. */
const PROG_LOAD_LENGTH = 64;
const LINK_CREATE_LENGTH = 32;
const NAME = 'tapline_outlet';

const ENOSYS = 38;
const EPERM = 1;

/**
 * @param from @param to indexes of devices of our own namespace
 * @returns a descriptor; once it is closed, or `from` is gone, frames go where they did before
 * @throws SystemError: no right, a kernel before 6.6 or without BPF
 */
export function redirectAll(from: number, to: number): number {
  const scratch = mapRegion(SCRATCH);
  try {
    const program = loadProgram(scratch, to);
    try {
      return attach(scratch, program, from);
    } finally {
      // The link holds it.
      close(program);
    }
  } finally {
    unmapRegion(scratch);
  }
}

function loadProgram(scratch: Region, to: number): number {
  const view = new DataView(scratch.buffer);
  const bytes = new Uint8Array(scratch.buffer);
  const program: [opcode: number, registers: number, offset: number, immediate: number][] = [
    [MOV_IMMEDIATE, 2, 0, 0],
    [STORE_WORD, (2 << 4) | 1, QUEUE_MAPPING, 0],
    [MOV_IMMEDIATE, 1, 0, to],
    [MOV_IMMEDIATE, 2, 0, 0],
    [CALL, 0, 0, FUNC_REDIRECT],
    [EXIT, 0, 0, 0],
  ];
  for (const [i, [opcode, registers, offset, immediate]] of program.entries()) {
    const at = PROGRAM + i * INSTRUCTION;
    view.setUint8(at, opcode);
    view.setUint8(at + 1, registers);
    view.setInt16(at + 2, offset, true);
    view.setInt32(at + 4, immediate, true);
  }
  const text = new TextEncoder();
  bytes.set(text.encode('Dual MIT/GPL'), LICENSE);
  view.setUint32(ATTRIBUTES, PROG_TYPE_SCHED_CLS, true);
  view.setUint32(ATTRIBUTES + 4, program.length, true);
  view.setBigUint64(ATTRIBUTES + 8, BigInt(scratch.address + PROGRAM), true);
  view.setBigUint64(ATTRIBUTES + 16, BigInt(scratch.address + LICENSE), true);
  bytes.set(text.encode(NAME), ATTRIBUTES + 48);
  return bpf(PROG_LOAD, scratch, PROG_LOAD_LENGTH, 'loading a BPF program');
}

function attach(scratch: Region, program: number, device: number): number {
  const view = new DataView(scratch.buffer);
  new Uint8Array(scratch.buffer).fill(0, ATTRIBUTES, ATTRIBUTES + PROG_LOAD_LENGTH);
  view.setUint32(ATTRIBUTES, program, true);
  view.setUint32(ATTRIBUTES + 4, device, true);
  view.setUint32(ATTRIBUTES + 8, TCX_INGRESS, true);
  return bpf(LINK_CREATE, scratch, LINK_CREATE_LENGTH, 'attaching a BPF program');
}

/** @returns a descriptor, closed when another program is executed */
function bpf(command: number, scratch: Region, length: number, what: string): number {
  const result = syscall(SYS_BPF, command, scratch.address + ATTRIBUTES, length, 0, 0, 0);
  if (result < 0) throw new SystemError(errno(), what, remedyOf(errno()));
  return result;
}

function remedyOf(error: number): string {
  if (error === EPERM) return 'needs CAP_BPF and CAP_NET_ADMIN, in the first user namespace';
  return error === ENOSYS ? 'this kernel has no BPF' : 'needs Linux 6.6 or later';
}
