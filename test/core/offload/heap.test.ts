import test from 'ava';
import { COALESCE_ALL, Coalescer } from '../../../core/offload/coalesce.js';
import { Segmenter, segmentIntoSlots } from '../../../core/offload/segment.js';
import { Splitter } from '../../../core/offload/split.js';
import { VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { parse } from '../../../core/wire/parse.js';
import { leavesNothing } from '../../support/heap.js';
import { bytesOf, gsoOf, load, makeArena, type PacketSpec, PLAIN, partialFrame } from './packets.js';
import { fill } from './specs.js';

const SEGMENTS = 8;
const PREFIX = 8;

/** Packets are cut, and what comes of them coalesced again: one by one, and out of a bundle. */
class Load {
  readonly arena = makeArena(40);
  private readonly segmenter = new Segmenter(this.arena);
  private readonly coalescer = new Coalescer(this.arena, this);
  private readonly splitter = new Splitter(this.arena, this.coalescer);
  private readonly slots = new Int32Array(SEGMENTS);
  private readonly packets: Packet[] = [];
  private packetsTaken = 0;

  constructor(specs: readonly PacketSpec[]) {
    for (const spec of specs) {
      const packet = load(this.arena, partialFrame(spec), gsoOf(spec, 100));
      parse(this.arena, packet);
      this.packets.push(packet);
    }
  }

  coalesced(packet: Packet): void {
    this.packetsTaken++;
    this.arena.release(packet.slot);
  }

  /** @returns how many were not one packet again */
  run(count: number): number {
    this.packetsTaken = 0;
    for (let i = 0; i < count; i += SEGMENTS) {
      const packet = this.packets[(i / SEGMENTS) % this.packets.length];
      if (((i / SEGMENTS) & 1) === 0) this.oneByOne(packet);
      else this.bundled(packet);
      this.coalescer.flush();
    }
    return Math.ceil(count / SEGMENTS) - this.packetsTaken;
  }

  private oneByOne(packet: Packet): void {
    const segments = segmentIntoSlots(this.arena, this.segmenter, packet, this.slots);
    for (let i = 0; i < segments; i++) this.coalescer.add(this.arena.packets[this.slots[i]], COALESCE_ALL);
  }

  private bundled(packet: Packet): void {
    const { arena, segmenter } = this;
    const segments = segmenter.begin(packet, 100);
    const bundle = arena.packets[arena.allocate()];
    const first = arena.receiveOffset(bundle.slot) + VNET_HEADER_LENGTH + PREFIX;
    const stride = segmenter.frameLength + PREFIX;
    bundle.port = 1;
    let length = 0;
    for (let i = 0; i < segments; i++) length = segmenter.write(i, first + i * stride);
    this.splitter.split(bundle, first, stride, PREFIX, first + (segments - 1) * stride + length, COALESCE_ALL);
  }
}

test('segment after segment leaves nothing on the heap', (t) => {
  const specs = [true, false].flatMap((isIpv4) =>
    [true, false].map((isTcp) => ({ ...PLAIN, isIpv4, isTcp, payload: fill(100 * SEGMENTS - 5, 1) })),
  );
  const work = new Load([...specs, { ...specs[0], ports: [5, 5] }]);
  leavesNothing(t, work);
  t.is(bytesOf(work.arena, work.arena.packets[0]).length, 66 + 795);
  t.is(work.arena.available, work.arena.slotCount - 5);
});
