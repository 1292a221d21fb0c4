/** The outlet of an uplink on real devices, and both engines with one: super-packets of a tunnel leave whole, or are cut by the kernel. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import { type Engine, FAILURE_WORDS, PORT_PACKET } from '../../io/engine.js';
import { EpollEngine } from '../../io/epoll.js';
import { isAtLeast } from '../../io/kernel.js';
import { check, setns } from '../../io/libc.js';
import { mapRegion, unmapRegion } from '../../io/memory.js';
import { openNamespace } from '../../io/netns.js';
import { type Outlet, openOutlet } from '../../io/outlet.js';
import { closeFd } from '../../io/pidfd.js';
import { openUplink } from '../../io/uplink.js';
import { UringEngine } from '../../io/uring.js';
import { filler } from '../core/nat/wire.js';
import {
  datagram,
  type Family,
  type Loaded,
  segment,
  superDatagram,
  superSegment,
} from '../core/vxlan/support/inner.js';
import { BLUE, container, Host, UPLINK_PORT, vtepPort } from '../core/vxlan/support/lab.js';
import { readVirtio, wireFrames } from '../core/vxlan/support/nic.js';
import { handedOver, TUNNEL_HEADER } from '../core/vxlan/support/tunnel-nic.js';
import type { SentFrame } from '../support/harness.js';

const name = `tl-outlet-${process.pid}`;
const SLOTS = 64;
const CLONE_NEWNET = 0x40000000;
const PORT = 3;
const HERE = container(1, 1);
const THERE = container(2, 1);
/** What is switched off at a device that cuts nothing and sums nothing. */
const OFFLOADS = ['tso', 'gso', 'tx', 'tx-udp-segmentation', 'tx-udp_tnl-segmentation', 'tx-udp_tnl-csum-segmentation'];

// The outlet of a device is in the process's own namespace: it is this one.
test.before(() => {
  execFileSync('ip', ['netns', 'add', name]);
  const fd = openNamespace(`/run/netns/${name}`);
  check(setns(fd, CLONE_NEWNET), `entering ${name}`);
  closeFd(fd);
  // IPv6 would talk on its own.
  for (const which of ['all', 'default']) execFileSync('sysctl', ['-qw', `net.ipv6.conf.${which}.disable_ipv6=1`]);
});

test.after.always(() => {
  spawnSync('ip', ['netns', 'del', name]);
});

test.serial.beforeEach(() => {
  execFileSync('ip', ['link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'far0']);
  for (const device of ['up0', 'far0']) execFileSync('ip', ['link', 'set', device, 'up']);
});

test.serial.afterEach.always(() => {
  spawnSync('ip', ['link', 'del', 'up0']);
});

interface Link {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly operstate: string;
  readonly ifalias?: string;
  readonly addr_info?: readonly unknown[];
}

function outlets(): Link[] {
  const links = JSON.parse(
    execFileSync('ip', ['-json', '-details', 'address', 'show'], { encoding: 'utf8' }),
  ) as Link[];
  return links.filter(({ ifname }) => ifname.startsWith('tapline-out'));
}

async function until(condition: () => boolean): Promise<boolean> {
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    if (condition()) return true;
    await sleep(10);
  }
  return false;
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** An outlet of up0; null where this kernel has none, which then must have been said. */
async function outletOf(t: ExecutionContext): Promise<Outlet | null> {
  if (isAtLeast(release(), 6, 17)) {
    const { close, ...outlet } = await openOutlet('up0');
    let isOpen = true;
    const closeOnce = (): void => {
      if (isOpen) close();
      isOpen = false;
    };
    t.teardown(closeOnce);
    return { ...outlet, close: closeOnce };
  }
  await t.throwsAsync(openOutlet('up0'), {
    message: /^E[A-Z]+ asking for segmentation inside UDP tunnels: needs Linux 6\.17 or later$/,
  });
  t.deepEqual(outlets(), []);
  return null;
}

// --- making one

test.serial('it is up, has no carrier and no address, says whose it is, and ends with its descriptor', async (t) => {
  execFileSync('sysctl', ['-qw', 'net.ipv6.conf.default.disable_ipv6=0']);
  const outlet = await outletOf(t);
  execFileSync('sysctl', ['-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
  if (outlet === null) return;
  const [link] = outlets();
  t.is(link.ifname, outlet.device);
  t.is(link.ifalias, 'tapline:outlet:up0');
  t.true(link.flags.includes('UP'));
  t.true(link.flags.includes('NO-CARRIER'));
  t.deepEqual(link.addr_info, []);
  outlet.close();
  t.true(await until(() => outlets().length === 0));
});

test.serial('of two devices there are two, by the first free numbers', async (t) => {
  const first = await outletOf(t);
  if (first === null) return;
  const second = await openOutlet('far0');
  t.deepEqual(
    outlets().map(({ ifname }) => ifname),
    [first.device, second.device],
  );
  second.close();
  t.true(await until(() => outlets().length === 1));
});

test.serial('again and again: no descriptor and no device is left', async (t) => {
  const first = await outletOf(t);
  if (first === null) return;
  first.close();
  await until(() => outlets().length === 0);
  const before = descriptors();
  for (let round = 0; round < 5; round++) (await openOutlet('up0')).close();
  t.true(await until(() => outlets().length === 0 && descriptors() <= before), `${descriptors()}, ${before} before`);
});

/** What openOutlet says, with programs from there; nothing is left behind. */
async function refusal(t: ExecutionContext, device: string, path = process.env.PATH ?? ''): Promise<string> {
  const before = descriptors();
  const usual = process.env.PATH;
  process.env.PATH = path;
  const error = await t.throwsAsync(openOutlet(device));
  process.env.PATH = usual;
  t.true(await until(() => outlets().length === 0), 'no device is left');
  t.true(await until(() => descriptors() <= before), 'no descriptor is left');
  return error?.message ?? '';
}

test.serial('what keeps it from being made is said in one line, and nothing is left', async (t) => {
  if ((await outletOf(t)) === null) return;
  for (const { ifname } of outlets()) execFileSync('ip', ['link', 'del', ifname]);
  t.is(await refusal(t, 'nowhere'), 'ENODEV leading to nowhere: no such device in this network namespace');
  t.is(await refusal(t, 'up0', '/nonexistent'), 'ip not found: install iproute2');
});

/** Packets that each transmit queue of a device has had. */
function queuesOf(device: string): number[] {
  const text = execFileSync('tc', ['-json', '-statistics', 'qdisc', 'show', 'dev', device], { encoding: 'utf8' });
  const all = JSON.parse(text) as { parent?: string; packets: number }[];
  return all.filter(({ parent }) => parent !== undefined).map(({ packets }) => packets);
}

test.serial('packets of a flow take the same queue of a device, by its socket and by its outlet', async (t) => {
  execFileSync('ip', ['link', 'del', 'up0']);
  const queues = ['numtxqueues', '4', 'numrxqueues', '4'];
  execFileSync('ip', ['link', 'add', 'up0', ...queues, 'type', 'veth', 'peer', 'name', 'far0', ...queues]);
  execFileSync('tc', ['qdisc', 'add', 'dev', 'up0', 'root', 'handle', '1:', 'mq']);
  for (const device of ['up0', 'far0']) execFileSync('ip', ['link', 'set', device, 'up']);
  const outlet = await outletOf(t);
  if (outlet === null) return;
  const uplink = openUplink({ device: 'up0' });
  t.teardown(() => uplink.close());
  const send = (fd: number, header: number): number[] => {
    const before = queuesOf('up0');
    for (let flow = 0; flow < 64; flow++) {
      const frame = datagram(HERE, THERE, { port: 50_000 + 7 * flow });
      writeSync(fd, Uint8Array.from([...new Uint8Array(header), ...frame]));
    }
    return queuesOf('up0').map((packets, queue) => packets - before[queue]);
  };
  const bySocket = send(uplink.fd, VNET_HEADER_LENGTH);
  t.is(bySocket.length, 4);
  t.true(
    bySocket.every((packets) => packets > 0),
    `${bySocket}`,
  );
  t.deepEqual(send(outlet.fd, TUNNEL_HEADER), bySocket);
});

// --- both engines

interface Rig {
  readonly arena: Arena;
  readonly engine: Engine;
  readonly outlet: Outlet;
  /** What comes out of the other end of the wire. */
  readonly far: { readonly arena: Arena; readonly engine: Engine };
}

function openEngine(t: ExecutionContext, kind: 'uring' | 'epoll', device: string): { arena: Arena; engine: Engine } {
  const region = mapRegion(SLOTS * 4 * SLOT_STRIDE);
  const arena = new Arena(region.buffer);
  const options = { arenaAddress: region.address };
  const engine = kind === 'uring' ? new UringEngine(arena, options) : new EpollEngine(arena, options);
  const uplink = openUplink({ device });
  engine.addPort(PORT, uplink.fd, PORT_PACKET);
  t.teardown(() => {
    engine.close();
    unmapRegion(region);
    uplink.close();
  });
  return { arena, engine };
}

/** Null where this kernel has no outlets. */
async function makeRig(t: ExecutionContext, kind: 'uring' | 'epoll'): Promise<Rig | null> {
  const outlet = await outletOf(t);
  if (outlet === null) return null;
  const { arena, engine } = openEngine(t, kind, 'up0');
  engine.setOutlet(PORT, outlet.fd);
  return { arena, engine, outlet, far: openEngine(t, 'epoll', 'far0') };
}

/** Into a slot as the dataplane leaves it, and out by the port. */
function transmit({ arena, engine }: Rig, { frame, vnet }: Pick<SentFrame, 'frame' | 'vnet'>): void {
  const slot = arena.allocate();
  if (slot < 0) throw new Error('no free slot');
  const packet = arena.packets[slot];
  packet.start = arena.receiveOffset(slot) + TUNNEL_HEADER;
  packet.length = frame.length;
  packet.gsoType = vnet[1];
  arena.bytes.set(vnet, packet.start - vnet.length);
  arena.bytes.set(frame, packet.start);
  engine.transmit(PORT, slot);
}

interface Arrived {
  readonly frame: Uint8Array;
  readonly vnet: Uint8Array;
}

/** What arrives until there are so many, 5 s at most; and what comes within 50 ms after that. */
function arrivals({ far, engine }: Rig, count: number): Arrived[] {
  engine.wait(0);
  const got: Arrived[] = [];
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    const received = far.engine.wait(50);
    if (received === 0 && got.length >= count) break;
    for (let i = 0; i < received; i++) {
      const { start, length } = far.arena.packets[far.engine.received[i]];
      const frame = far.arena.bytes.slice(start, start + length);
      got.push({ frame, vnet: far.arena.bytes.slice(start - VNET_HEADER_LENGTH, start) });
      far.arena.release(far.engine.received[i]);
    }
  }
  return got;
}

/** Every slot that is not waiting in the kernel's buffer ring is free. */
function slotsAway({ arena, engine }: Rig): number {
  engine.wait(0);
  return arena.slotCount - arena.available - (engine.name === 'uring' ? 64 : 0);
}

/** What a dataplane makes of a frame for the tunnel. */
function enclosed(family: Family, checksum: boolean, { frame, vnet }: Loaded): SentFrame {
  const host = new Host(1, { family, vxlan: { [BLUE]: { checksum } } });
  host.know(2);
  host.addVtep(BLUE, vtepPort(BLUE, 2), family === 4 ? '10.77.0.2' : 'fd77::2');
  host.topology.addStatic(BLUE, 0, 0x0200, 0x0201, vtepPort(BLUE, 2));
  host.topology.setOutlet(UPLINK_PORT, true);
  const sent = host.receive(1, frame, vnet);
  if (sent.length !== 1) throw new Error(`${sent.length} packets`);
  return sent[0];
}

/** All that can be in a tunnel, in tunnels of all kinds. */
function allKinds(): { what: string; sent: SentFrame }[] {
  const kinds = [];
  for (const family of [4, 6] as const) {
    for (const inside of [4, 6] as const) {
      for (const checksum of [false, true]) {
        const how = `IPv${inside} over IPv${family}, ${checksum ? 'with' : 'without'} checksums`;
        const tcp = superSegment(HERE, THERE, 60_000, 1350, { family: inside });
        const udp = superDatagram(HERE, THERE, 9000, 900, inside);
        kinds.push({ what: `TCP, ${how}`, sent: enclosed(family, checksum, tcp) });
        kinds.push({ what: `UDP, ${how}`, sent: enclosed(family, checksum, udp) });
      }
    }
  }
  return kinds;
}

/** Checksums that tshark finds wrong, of all protocols in these frames; and how many packets of TCP or UDP it found inside VXLAN. */
function tsharkSays(t: ExecutionContext, frames: readonly Uint8Array[]): { wrong: string; inside: number } {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'frames.pcap');
  // pcap-savefile(5): magic, version 2.4, zone, accuracy, most of a frame, Ethernet; of each frame: seconds, microseconds, lengths.
  const head = Uint32Array.of(0xa1b2c3d4, 0x00040002, 0, 0, 0x40000, 1);
  const records = frames.map((one) => [new Uint8Array(Uint32Array.of(0, 0, one.length, one.length).buffer), one]);
  writeFileSync(path, Buffer.concat([new Uint8Array(head.buffer), ...records.flat()]));
  const options = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  const read = (filter: string): string =>
    execFileSync('tshark', ['-r', path, ...options, '-Y', filter], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  const wrong = read('ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0');
  const inside = read('vxlan && (tcp || udp.dstport == 53)').split('\n').length - 1;
  return { wrong, inside };
}

for (const kind of ['uring', 'epoll'] as const) {
  test.serial(`${kind}: a super-packet in a tunnel comes out of the other end of a veth whole`, async (t) => {
    const rig = await makeRig(t, kind);
    if (rig === null) return;
    for (const { what, sent } of allKinds()) {
      transmit(rig, sent);
      const got = arrivals(rig, 1);
      t.is(got.length, 1, what);
      if (got.length !== 1) continue;
      t.is(Buffer.compare(got[0].frame, sent.frame), 0, what);
      // How much of it is headers is the kernel's to say.
      t.like(
        readVirtio(got[0].vnet),
        { ...readVirtio(handedOver(sent)), headerLength: readVirtio(got[0].vnet).headerLength },
        what,
      );
    }
    t.is(rig.engine.failureCount, 0);
    t.is(slotsAway(rig), 0);
  });

  test.serial(`${kind}: however much of it the sender says is headers, it passes`, async (t) => {
    const rig = await makeRig(t, kind);
    if (rig === null) return;
    const { frame, vnet } = superSegment(HERE, THERE, 60_000, 1350);
    for (const headerLength of [0, 34, 54, 1000, frame.length]) {
      const sent = enclosed(4, true, { frame, vnet: { ...vnet, headerLength } });
      transmit(rig, sent);
      const got = arrivals(rig, 1);
      t.deepEqual(
        got.map((each) => Buffer.compare(each.frame, sent.frame)),
        [0],
        `${headerLength}`,
      );
    }
    t.is(rig.engine.failureCount, 0);
    t.is(slotsAway(rig), 0);
  });

  test.serial(`${kind}: where the device cuts nothing the kernel does, and finishes all checksums`, async (t) => {
    const rig = await makeRig(t, kind);
    if (rig === null) return;
    for (const one of OFFLOADS) spawnSync('ethtool', ['-K', 'up0', one, 'off']);
    const all: Uint8Array[] = [];
    for (const { what, sent } of allKinds()) {
      const expected = wireFrames(sent);
      transmit(rig, sent);
      const got = arrivals(rig, expected.length);
      t.is(got.length, expected.length, what);
      for (const [i, { frame, vnet }] of got.entries()) {
        t.deepEqual([...vnet.subarray(0, 2)], [0, 0], what);
        if (Buffer.compare(frame, expected[i]) === 0) continue;
        t.deepEqual(frame, expected[i], `${what}: ${i}`);
        return;
      }
      all.push(...got.map(({ frame }) => frame));
    }
    t.deepEqual(tsharkSays(t, all), { wrong: '', inside: all.length });
    t.is(rig.engine.failureCount, 0);
    t.is(slotsAway(rig), 0);
  });

  test.serial(`${kind}: by whichever way they leave, packets of a port keep their order`, async (t) => {
    const rig = await makeRig(t, kind);
    if (rig === null) return;
    const random = [1, 1, 0, 1, 0, 0, 0, 1, 1, 0];
    const all = Array.from({ length: 120 }, (_, i) => {
      const sequence = 10_000 * i;
      const plain = { frame: segment(HERE, THERE, { sequence, data: filler(600) }), vnet: null };
      return enclosed(4, false, random[i % 10] === 1 ? superSegment(HERE, THERE, 9000, 1300, { sequence }) : plain);
    });
    for (const [i, sent] of all.entries()) {
      transmit(rig, sent);
      if (i % 40 === 39) rig.engine.wait(0);
    }
    const got = arrivals(rig, all.length);
    t.is(got.length, all.length);
    t.deepEqual(
      got.map(({ frame }) => all.findIndex((sent) => Buffer.compare(sent.frame, frame) === 0)),
      all.map((_, i) => i),
    );
    t.is(slotsAway(rig), 0);
  });

  test.serial(`${kind}: without an outlet such a packet is a failure, and all others pass`, async (t) => {
    const rig = await makeRig(t, kind);
    if (rig === null) return;
    const sent = enclosed(4, true, superSegment(HERE, THERE, 9000, 1300));
    const plain = enclosed(4, true, { frame: datagram(HERE, THERE), vnet: null });
    // What is under way leaves first.
    transmit(rig, sent);
    rig.engine.setOutlet(PORT, -1);
    rig.outlet.close();
    t.deepEqual(
      arrivals(rig, 1).map(({ frame }) => frame.length),
      [sent.frame.length],
    );
    t.true(await until(() => outlets().length === 0));
    for (let i = 0; i < 3; i++) transmit(rig, sent);
    transmit(rig, plain);
    t.is(arrivals(rig, 1).length, 1);
    t.is(rig.engine.failureCount, 3);
    for (let i = 0; i < 3; i++) {
      const failure = rig.engine.failures.subarray(i * FAILURE_WORDS, i * FAILURE_WORDS + 3);
      t.deepEqual([...failure], [PORT, 9, sent.frame.length], 'EBADF');
    }
    rig.engine.failureCount = 0;
    const again = await openOutlet('up0');
    t.teardown(() => again.close());
    rig.engine.setOutlet(PORT, again.fd);
    transmit(rig, sent);
    t.is(arrivals(rig, 1).length, 1, 'with another it passes');
    t.is(rig.engine.failureCount, 0);
    t.is(slotsAway(rig), 0);
  });

  test.serial(
    `${kind}: an outlet that somebody sets down or removes, and frames that it refuses, are failures`,
    async (t) => {
      const rig = await makeRig(t, kind);
      if (rig === null) return;
      const sent = enclosed(4, true, superSegment(HERE, THERE, 9000, 1300));
      const expectFailure = (what: string, errno: readonly number[]): void => {
        rig.engine.wait(0);
        t.is(rig.engine.failureCount, 1, what);
        const [port, error, length] = rig.engine.failures;
        t.deepEqual([port, length], [PORT, sent.frame.length], what);
        t.true(errno.includes(error), `${what}: errno ${error}`);
        rig.engine.failureCount = 0;
      };
      // Neither IPv4 nor IPv6, or without a checksum to come: the kernel does not take it.
      for (const change of [
        [1, 0x61],
        [0, 8],
        [20, 10],
        [22, 200],
      ] as const) {
        const vnet = sent.vnet.slice();
        vnet[change[0]] = change[1];
        transmit(rig, { frame: sent.frame, vnet });
        expectFailure(`octet ${change[0]}`, [22]);
      }
      execFileSync('ip', ['link', 'set', rig.outlet.device, 'down']);
      transmit(rig, sent);
      expectFailure('down', [5]);
      execFileSync('ip', ['link', 'set', rig.outlet.device, 'up']);
      transmit(rig, sent);
      t.is(arrivals(rig, 1).length, 1, 'up again');
      execFileSync('ip', ['link', 'del', rig.outlet.device]);
      transmit(rig, sent);
      expectFailure('gone', [77]);
      t.is(slotsAway(rig), 0);
    },
  );

  test.serial(`${kind}: a port that takes another's number has no outlet`, async (t) => {
    const rig = await makeRig(t, kind);
    if (rig === null) return;
    rig.engine.removePort(PORT);
    for (let i = 0; i < 10; i++) rig.engine.wait(10);
    const uplink = openUplink({ device: 'up0' });
    t.teardown(() => uplink.close());
    rig.engine.addPort(PORT, uplink.fd, PORT_PACKET);
    transmit(rig, enclosed(4, true, superSegment(HERE, THERE, 9000, 1300)));
    rig.engine.wait(0);
    t.is(rig.engine.failureCount, 1);
    t.deepEqual(arrivals(rig, 0), []);
    t.is(slotsAway(rig), 0);
  });
}
