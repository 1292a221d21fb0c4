/** Both engines on real devices: what goes in comes out, whole and in order, and every slot comes back. */

import { execFileSync, spawnSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import {
  type Engine,
  EVENT_FRAME_REJECTED,
  EVENT_PORT_FAILED,
  EVENT_PORT_REMOVED,
  EVENT_READABLE,
  EVENT_WORDS,
  FAILURE_WORDS,
  PORT_PACKET,
  PORT_TAP,
} from '../../io/engine.js';
import { EpollEngine } from '../../io/epoll.js';
import { mapRegion, unmapRegion } from '../../io/memory.js';
import { withNamespace } from '../../io/netns.js';
import { closeFd } from '../../io/pidfd.js';
import { attachTap, type Tap } from '../../io/tap.js';
import { openUplink } from '../../io/uplink.js';
import { probeUring, UringEngine } from '../../io/uring.js';
import { Wakeup } from '../../io/wakeup.js';

const SLOTS = 512;
let made = 0;

interface Rig {
  readonly arena: Arena;
  readonly engine: Engine;
  /** Two namespaces with a TAP each; ports 1 and 2. */
  readonly names: [string, string];
  readonly taps: [Tap, Tap];
}

async function makeRig(t: ExecutionContext, kind: 'uring' | 'epoll'): Promise<Rig> {
  const names: [string, string] = [`tl-en-${process.pid}-${++made}`, `tl-en-${process.pid}-${++made}`];
  const region = mapRegion(SLOTS * SLOT_STRIDE);
  const arena = new Arena(region.buffer);
  const options = { arenaAddress: region.address };
  const engine = kind === 'uring' ? new UringEngine(arena, options) : new EpollEngine(arena, options);
  t.teardown(() => {
    engine.close();
    unmapRegion(region);
    for (const name of names) spawnSync('ip', ['netns', 'del', name]);
  });
  const taps: Tap[] = [];
  for (const [at, name] of names.entries()) {
    execFileSync('ip', ['netns', 'add', name]);
    // IPv6 would talk on its own (router solicitations, duplicate address detection).
    execFileSync('ip', [
      'netns',
      'exec',
      name,
      'sysctl',
      '-qw',
      'net.ipv6.conf.all.disable_ipv6=1',
      'net.ipv6.conf.default.disable_ipv6=1',
    ]);
    const tap = await attachTap({
      netns: `/run/netns/${name}`,
      interface: 'eth0',
      mac: `02:00:00:00:00:0${at + 1}`,
      mtu: 1500,
      addresses: [],
      alias: `tapline:${name}`,
    });
    t.teardown(() => tap.detach());
    taps.push(tap);
    engine.addPort(at + 1, tap.fd, PORT_TAP);
  }
  return { arena, engine, names, taps: taps as [Tap, Tap] };
}

/** Puts numbered frames on the wire inside a namespace by an AF_PACKET socket, `payload` bytes each. */
function sendNumbered(name: string, device: string, count: number, payload = 60): void {
  const script = `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("${device}", 0))
for i in range(${count}):
    s.send(b"\\x02\\0\\0\\0\\0\\x99\\x02\\0\\0\\0\\0\\x01\\x88\\xb5" + i.to_bytes(4, "big") + bytes(${payload} - 4))
`;
  execFileSync('ip', ['netns', 'exec', name, 'python3', '-c', script]);
}

function frameNumber(arena: Arena, slot: number): number {
  return arena.view.getInt32(arena.packets[slot].start + 14);
}

/** Waits until `done`, at most 5 s; calls `each` for every frame. */
function pump(rig: { engine: Engine }, each: (slot: number) => void, done: () => boolean): void {
  const end = Date.now() + 5000;
  while (!done() && Date.now() < end) {
    const count = rig.engine.wait(50);
    for (let i = 0; i < count; i++) each(rig.engine.received[i]);
  }
}

function takeEvents(engine: Engine): [number, number, number][] {
  const events: [number, number, number][] = [];
  for (let i = 0; i < engine.eventCount; i++) {
    const at = i * EVENT_WORDS;
    events.push([engine.events[at], engine.events[at + 1], engine.events[at + 2]]);
  }
  engine.eventCount = 0;
  return events;
}

/** Ends the engine's hold on its ports, then counts: every slot that is not waiting in the kernel's buffer ring must be free. */
function slotsAway(rig: Rig): number {
  return rig.arena.slotCount - rig.arena.available - (rig.engine.name === 'uring' ? 64 : 0);
}

for (const kind of ['uring', 'epoll'] as const) {
  test.serial(`${kind}: frames arrive whole, in order, with a clear virtio-net header`, async (t) => {
    const rig = await makeRig(t, kind);
    sendNumbered(rig.names[0], 'eth0', 400);
    const numbers: number[] = [];
    pump(
      rig,
      (slot) => {
        const packet = rig.arena.packets[slot];
        if (rig.arena.view.getUint16(packet.start + 12) === 0x88b5) {
          numbers.push(frameNumber(rig.arena, slot));
          t.is(packet.port, 1);
          t.is(packet.length, 74);
          t.is(rig.arena.view.getUint8(packet.start - VNET_HEADER_LENGTH), 0);
        }
        rig.arena.release(slot);
      },
      () => numbers.length === 400,
    );
    t.deepEqual(
      numbers,
      Array.from({ length: 400 }, (_, i) => i),
    );
    rig.engine.wait(0);
    t.is(slotsAway(rig), 0);
  });

  test.serial(
    `${kind}: what is transmitted comes out of the other device in order, also flooded and more than fits a ring`,
    async (t) => {
      const rig = await makeRig(t, kind);
      const out = withNamespace(`/run/netns/${rig.names[1]}`, () => openUplink({ device: 'eth0' }));
      t.teardown(() => out.close());
      const listener = makeListener(t, out.fd);
      const total = 3000;
      for (let i = 0; i < total; i++) {
        let slot = rig.arena.allocate();
        if (slot < 0) {
          rig.engine.flush();
          slot = rig.arena.allocate();
        }
        const packet = rig.arena.packets[slot];
        packet.start = rig.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
        packet.length = 74;
        rig.arena.bytes.fill(0, packet.start - VNET_HEADER_LENGTH, packet.start + 74);
        rig.arena.bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0xb5], packet.start);
        rig.arena.view.setInt32(packet.start + 14, i);
        rig.engine.transmit(2, slot);
      }
      rig.engine.wait(0);
      t.is(rig.engine.failureCount, 0);
      const numbers: number[] = [];
      pump(
        listener,
        (slot) => {
          const packet = listener.arena.packets[slot];
          if (listener.arena.view.getUint16(packet.start + 12) === 0x88b5)
            numbers.push(frameNumber(listener.arena, slot));
          listener.arena.release(slot);
        },
        () => numbers.length === total,
      );
      t.deepEqual(
        numbers,
        Array.from({ length: total }, (_, i) => i),
      );
      t.is(slotsAway(rig), 0);
    },
  );

  test.serial(
    `${kind}: an AF_PACKET port puts VLAN tags back, keeps its own frames out and gives the slots back`,
    async (t) => {
      const rig = await makeRig(t, kind);
      const name = rig.names[0];
      execFileSync('ip', ['-n', name, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'wire']);
      for (const device of ['up0', 'wire']) execFileSync('ip', ['-n', name, 'link', 'set', device, 'up']);
      const uplink = withNamespace(`/run/netns/${name}`, () => openUplink({ device: 'up0' }));
      t.teardown(() => uplink.close());
      rig.engine.addPort(3, uplink.fd, PORT_PACKET);
      const tagged = 'b"\\x02\\0\\0\\0\\0\\x99\\x02\\0\\0\\0\\0\\x01\\x81\\0\\x60\\x2a\\x88\\xb5" + bytes(range(50))';
      const qinq =
        'b"\\x02\\0\\0\\0\\0\\x99\\x02\\0\\0\\0\\0\\x01\\x88\\xa8\\0\\x07\\x81\\0\\0\\x2a\\x88\\xb5" + bytes(range(50))';
      execFileSync('ip', [
        'netns',
        'exec',
        name,
        'python3',
        '-c',
        `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("wire", 0))
s.send(${tagged})
s.send(${qinq})
`,
      ]);
      const frames: number[][] = [];
      pump(
        rig,
        (slot) => {
          const packet = rig.arena.packets[slot];
          if (packet.port === 3)
            frames.push([...rig.arena.bytes.subarray(packet.start + 12, packet.start + packet.length)]);
          rig.arena.release(slot);
        },
        () => frames.length >= 2,
      );
      const body = Array.from({ length: 50 }, (_, i) => i);
      t.deepEqual(frames[0], [0x81, 0x00, 0x60, 0x2a, 0x88, 0xb5, ...body]);
      t.deepEqual(frames[1], [0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x2a, 0x88, 0xb5, ...body]);
      sendThrough(rig, 3);
      const echoed = rig.engine.wait(100);
      t.is(echoed, 0, 'its own frame is not received again');
      t.is(slotsAway(rig), 0);
    },
  );

  test.serial(
    `${kind}: a removed port is reported when its descriptor is free, and a deleted device is an event`,
    async (t) => {
      const rig = await makeRig(t, kind);
      rig.engine.wait(0);
      rig.engine.removePort(1);
      const events: [number, number, number][] = [];
      pump(
        rig,
        (slot) => rig.arena.release(slot),
        () => {
          events.push(...takeEvents(rig.engine));
          return events.length > 0;
        },
      );
      t.deepEqual(events, [[EVENT_PORT_REMOVED, 1, 0]]);
      execFileSync('ip', ['-n', rig.names[1], 'link', 'del', 'eth0']);
      const after: [number, number, number][] = [];
      pump(
        rig,
        (slot) => rig.arena.release(slot),
        () => {
          after.push(...takeEvents(rig.engine));
          return after.length > 0;
        },
      );
      t.is(after.length, 1);
      t.deepEqual(after[0].slice(0, 2), [EVENT_PORT_FAILED, 2]);
      t.is(slotsAway(rig), 0);
    },
  );

  test.serial(`${kind}: frames that the kernel refuses are reported with errno and length`, async (t) => {
    const rig = await makeRig(t, kind);
    execFileSync('ip', ['-n', rig.names[1], 'link', 'set', 'eth0', 'down']);
    sendThrough(rig, 2);
    rig.engine.wait(0);
    t.is(rig.engine.failureCount, 1);
    t.deepEqual([...rig.engine.failures.subarray(0, 3)], [2, 5, 60], 'EIO: the device is down');
    t.is(slotsAway(rig), 0);
  });

  // No sender on this kernel makes such a frame (SCTP and GRE segmentation are not built in), so the engine is told of one.
  test.serial(`${kind}: a frame that the kernel cannot describe is told, and the uplink goes on`, async (t) => {
    const rig = await makeRig(t, kind);
    const name = rig.names[0];
    execFileSync('ip', ['-n', name, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'wire']);
    for (const device of ['up0', 'wire']) execFileSync('ip', ['-n', name, 'link', 'set', device, 'up']);
    const uplink = withNamespace(`/run/netns/${name}`, () => openUplink({ device: 'up0' }));
    t.teardown(() => uplink.close());
    rig.engine.addPort(3, uplink.fd, PORT_PACKET);
    rig.engine.wait(0);
    const inside = rig.engine as unknown as {
      receiveEnded?(port: number, result: number): void;
      receiveFailed?(port: number, error: number): void;
    };
    if (kind === 'uring') inside.receiveEnded?.(3, -22);
    else inside.receiveFailed?.(3, 22);
    t.deepEqual(takeEvents(rig.engine), [[EVENT_FRAME_REJECTED, 3, 22]]);
    sendNumbered(name, 'wire', 3);
    let received = 0;
    pump(
      rig,
      (slot) => {
        if (rig.arena.packets[slot].port === 3) received++;
        rig.arena.release(slot);
      },
      () => received >= 3,
    );
    t.true(received >= 3);
  });

  test.serial(
    `${kind}: no free slots means nothing is received, and nothing is lost when they come back`,
    async (t) => {
      const rig = await makeRig(t, kind);
      const held: number[] = [];
      for (let slot = rig.arena.allocate(); slot >= 0; slot = rig.arena.allocate()) held.push(slot);
      sendNumbered(rig.names[0], 'eth0', 300);
      const numbers: number[] = [];
      const take = (slot: number): void => {
        if (rig.arena.packets[slot].length === 74) numbers.push(frameNumber(rig.arena, slot));
        held.push(slot);
      };
      for (let i = 0; i < 5; i++) {
        const count = rig.engine.wait(20);
        for (let k = 0; k < count; k++) take(rig.engine.received[k]);
      }
      t.true(numbers.length < 300);
      pump(rig, take, () => {
        for (const slot of held.splice(0)) rig.arena.release(slot);
        return numbers.length === 300;
      });
      for (const slot of held.splice(0)) rig.arena.release(slot);
      t.deepEqual(
        numbers,
        Array.from({ length: 300 }, (_, i) => i),
      );
    },
  );

  test.serial(
    `${kind}: any number of frames that the kernel refuses in one batch is reported, none twice`,
    async (t) => {
      const rig = await makeRig(t, kind);
      execFileSync('ip', ['-n', rig.names[1], 'link', 'set', 'eth0', 'down']);
      const total = 10_000;
      const slot = loadFrame(rig);
      rig.arena.retain(slot, total - 1);
      for (let i = 0; i < total; i++) rig.engine.transmit(2, slot);
      let failures = 0;
      const count = (): boolean => {
        for (let i = 0; i < rig.engine.failureCount; i++) t.is(rig.engine.failures[i * FAILURE_WORDS], 2);
        failures += rig.engine.failureCount;
        rig.engine.failureCount = 0;
        return failures >= total;
      };
      pump(rig, (received) => rig.arena.release(received), count);
      rig.engine.wait(20);
      count();
      t.is(failures, total);
      t.is(slotsAway(rig), 0);
    },
  );

  test.serial(`${kind}: many busy ports each get their share`, async (t) => {
    const rig = await makeRig(t, kind);
    const listeners = 12;
    for (let i = 0; i < listeners; i++) {
      const uplink = withNamespace(`/run/netns/${rig.names[1]}`, () => openUplink({ device: 'eth0' }));
      t.teardown(() => uplink.close());
      rig.engine.addPort(10 + i, uplink.fd, PORT_PACKET);
    }
    // Every frame that enters the device is seen by every socket on it: a backlog of 600 each.
    const slot = loadFrame(rig);
    rig.arena.retain(slot, 599);
    for (let i = 0; i < 600; i++) rig.engine.transmit(2, slot);
    rig.engine.flush();
    const seen = new Map<number, number>();
    let batches = 0;
    while (seen.size < listeners && batches < 16) {
      const count = rig.engine.wait(200);
      batches++;
      for (let i = 0; i < count; i++) {
        const { port } = rig.arena.packets[rig.engine.received[i]];
        seen.set(port, (seen.get(port) ?? 0) + 1);
        rig.arena.release(rig.engine.received[i]);
      }
    }
    t.is(seen.size, listeners, `after ${batches} batches only ports ${[...seen.keys()]} were served`);
    const whole = (): boolean => [...seen.values()].every((frames) => frames === 600);
    pump(
      rig,
      (received) => {
        const { port } = rig.arena.packets[received];
        seen.set(port, (seen.get(port) ?? 0) + 1);
        rig.arena.release(received);
      },
      whole,
    );
    t.true(whole(), 'and in the end all had all');
  });

  test.serial(`${kind}: ports whose device goes down and comes up again go on`, async (t) => {
    const rig = await makeRig(t, kind);
    const [name] = rig.names;
    execFileSync('ip', ['-n', name, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'wire']);
    for (const device of ['up0', 'wire']) execFileSync('ip', ['-n', name, 'link', 'set', device, 'up']);
    const uplink = withNamespace(`/run/netns/${name}`, () => openUplink({ device: 'up0' }));
    t.teardown(() => uplink.close());
    rig.engine.addPort(3, uplink.fd, PORT_PACKET);
    rig.engine.wait(0);
    for (const device of ['eth0', 'up0']) {
      const port = device === 'eth0' ? 1 : 3;
      execFileSync('ip', ['-n', name, 'link', 'set', device, 'down']);
      pump(
        rig,
        (slot) => rig.arena.release(slot),
        () => rig.engine.wait(20) === 0,
      );
      execFileSync('ip', ['-n', name, 'link', 'set', device, 'up']);
      sendNumbered(name, device === 'eth0' ? 'eth0' : 'wire', 20);
      let frames = 0;
      pump(
        rig,
        (slot) => {
          const packet = rig.arena.packets[slot];
          if (packet.port === port && rig.arena.view.getUint16(packet.start + 12) === 0x88b5) frames++;
          rig.arena.release(slot);
        },
        () => frames >= 20,
      );
      t.is(frames, 20, device);
    }
    t.deepEqual(takeEvents(rig.engine), [], 'no port counts as failed');
    rig.engine.wait(0);
    t.is(slotsAway(rig), 0);
  });

  test.serial(`${kind}: removing ports that were never added is answered all the same, however many`, async (t) => {
    const rig = await makeRig(t, kind);
    for (let port = 100; port < 5100; port++) rig.engine.removePort(port);
    rig.engine.wait(0);
    const events = takeEvents(rig.engine);
    t.is(events.length, 5000);
    t.deepEqual(events[4999], [EVENT_PORT_REMOVED, 5099, 0]);
  });

  test.serial(`${kind}: what is readable is told once, not again and again until somebody reads`, async (t) => {
    const rig = await makeRig(t, kind);
    const wakeup = new Wakeup();
    t.teardown(() => wakeup.close(true));
    rig.engine.watch(7, wakeup.fd);
    wakeup.ring();
    rig.engine.wait(1000);
    t.deepEqual(takeEvents(rig.engine), [[EVENT_READABLE, 7, 0]]);
    for (let i = 0; i < 3; i++) rig.engine.wait(10);
    t.deepEqual(takeEvents(rig.engine), []);
    wakeup.ring();
    rig.engine.wait(1000);
    t.deepEqual(takeEvents(rig.engine), [[EVENT_READABLE, 7, 0]], 'but when it is written again');
  });

  test.serial(`${kind}: a watched eventfd wakes the wait`, async (t) => {
    const rig = await makeRig(t, kind);
    const wakeup = new Wakeup();
    t.teardown(() => wakeup.close(true));
    rig.engine.watch(7, wakeup.fd);
    for (let round = 0; round < 3; round++) {
      wakeup.ring();
      rig.engine.wait(1000);
      t.deepEqual(takeEvents(rig.engine), [[EVENT_READABLE, 7, 0]]);
      wakeup.clear();
    }
    rig.engine.unwatch(7);
    rig.engine.wait(0);
    wakeup.ring();
    rig.engine.wait(20);
    t.deepEqual(takeEvents(rig.engine), []);
  });
}

/** A second engine, on a socket that listens to what a device delivers. */
function makeListener(t: ExecutionContext, fd: number): { engine: Engine; arena: Arena } {
  const region = mapRegion(SLOTS * SLOT_STRIDE);
  const arena = new Arena(region.buffer);
  const engine = new EpollEngine(arena, { arenaAddress: region.address });
  engine.addPort(9, fd, PORT_PACKET);
  t.teardown(() => {
    engine.close();
    unmapRegion(region);
  });
  return { engine, arena };
}

/** A slot with a frame of 60 bytes and one reference. */
function loadFrame(rig: Rig): number {
  const slot = rig.arena.allocate();
  const packet = rig.arena.packets[slot];
  packet.start = rig.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
  packet.length = 60;
  rig.arena.bytes.fill(0, packet.start - VNET_HEADER_LENGTH, packet.start + 60);
  rig.arena.bytes.set([2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9, 0x88, 0xb5], packet.start);
  return slot;
}

function sendThrough(rig: Rig, port: number): void {
  rig.engine.transmit(port, loadFrame(rig));
}

test.serial('this machine has io_uring with multishot reads', (t) => {
  t.is(probeUring(), null);
});

test.serial('a closed descriptor cannot become a port', async (t) => {
  const region = mapRegion(SLOT_STRIDE);
  const engine = new EpollEngine(new Arena(region.buffer), { arenaAddress: region.address });
  const wakeup = new Wakeup();
  closeFd(wakeup.fd);
  t.throws(() => engine.addPort(1, wakeup.fd, PORT_TAP), { message: /^EBADF / });
  engine.close();
  unmapRegion(region);
});

test.serial('uring: a descriptor that cannot be watched does not keep the wait from sleeping', async (t) => {
  const rig = await makeRig(t, 'uring');
  const wakeup = new Wakeup();
  closeFd(wakeup.fd);
  rig.engine.watch(7, wakeup.fd);
  rig.engine.wait(0);
  const start = Date.now();
  for (let i = 0; i < 3; i++) rig.engine.wait(30);
  t.true(Date.now() - start >= 80, `three waits of 30 ms took ${Date.now() - start} ms`);
  wakeup.close(false);
});
