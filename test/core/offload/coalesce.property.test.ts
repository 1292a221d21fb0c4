/** Coalescing of random flows among each other: what comes out is what slow and simple code says, in its order. */

import test from 'ava';
import fc from 'fast-check';
import { COALESCE_ALL, COALESCE_TCP } from '../../../core/offload/coalesce.js';
import { hex, Lab } from './lab.js';
import { frameOf, type Item, Model } from './model.js';
import { ACK, CWR, ECE, FIN, NO_OFFLOAD, type PacketSpec, PLAIN, PSH, RST, SYN, URG } from './packets.js';
import { fill } from './specs.js';

/** What may happen to a flow at a packet of it; most of the time nothing does. */
const EVENTS = [
  'gap',
  'again',
  'acknowledgment',
  'window',
  'option',
  'no options',
  'push',
  'fin',
  'cwr',
  'ece',
  'syn',
  'rst',
  'urg',
  'empty',
  'short',
  'long',
  'broken',
  'tos',
  'ttl',
  'fragmentable',
  'same id',
  'other id',
  'ip options',
] as const;
type Event = (typeof EVENTS)[number] | 'nothing';

const FLAGS: Partial<Record<Event, number>> = {
  push: PSH,
  fin: FIN,
  cwr: CWR,
  ece: ECE,
  syn: SYN,
  rst: RST,
  urg: URG,
};

/** A flow, and what it sends next. */
class Flow {
  private readonly port: number;
  private readonly size: number;
  private spec: PacketSpec;
  private count = 0;

  constructor(number: number, size: number) {
    this.size = size;
    // Two flows differ in one thing only, be it the port they come from.
    this.port = 1 + (number & 1);
    const isTcp = (number & 4) === 0;
    this.spec = { ...PLAIN, isIpv4: (number & 2) === 0, isTcp, ports: [4000, number < 8 ? 80 : 81] };
    if (!isTcp) this.spec.options = new Uint8Array(0);
  }

  next(event: Event): Item {
    const lengths: Partial<Record<Event, number>> = { empty: 0, short: this.size - 1, long: this.size + 1 };
    const spec = { ...this.spec, payload: fill(lengths[event] ?? this.size, this.count++) };
    if (event === 'gap') spec.sequence += 1;
    if (event === 'again') spec.sequence -= this.size;
    if (event === 'other id') spec.identification = (spec.identification + 5) & 0xffff;
    if (event === 'same id') spec.identification = (spec.identification - 1) & 0xffff;
    if (event === 'ip options') spec.extra = spec.isIpv4 ? 8 : 1;
    spec.flags |= FLAGS[event] ?? 0;
    this.change(event, spec);
    return { spec, port: this.port, isBroken: event === 'broken' && spec.payload.length > 0 };
  }

  /** What a later packet has as well. */
  private change(event: Event, spec: PacketSpec): void {
    if (event === 'acknowledgment') spec.acknowledgment += 1;
    if (event === 'window') spec.window -= 1;
    if (event === 'option') spec.options = spec.options.map((byte, i) => (i === 7 ? byte + 1 : byte));
    if (event === 'no options') spec.options = new Uint8Array(0);
    if (event === 'tos') spec.tos ^= 1;
    if (event === 'ttl') spec.ttl -= 1;
    if (event === 'fragmentable') spec.dontFragment = !spec.dontFragment;
    this.spec = {
      ...spec,
      flags: event === 'ece' ? ACK | ECE : ACK,
      extra: 0,
      sequence: (spec.sequence + spec.payload.length) >>> 0,
      identification: (spec.identification + 1) & 0xffff,
    };
  }
}

const step = fc.record({
  flow: fc.nat(15),
  // How many of it in a row, the last one with the event.
  count: fc.integer({ min: 1, max: 5 }),
  event: fc.oneof(
    { weight: 2, arbitrary: fc.constant<Event>('nothing') },
    { weight: 1, arbitrary: fc.constantFrom(...EVENTS) },
  ),
});

function itemsOf(steps: readonly { flow: number; count: number; event: Event }[], size: number): Item[] {
  const flows = Array.from({ length: 16 }, (_, number) => new Flow(number, size));
  return steps.flatMap(({ flow, count, event }) =>
    Array.from({ length: count }, (_, i) => flows[flow].next(i === count - 1 ? event : 'nothing')),
  );
}

function modelOf(items: readonly Item[], isUdpToo: boolean): Model {
  const model = new Model(isUdpToo);
  for (const item of items) model.give(item);
  model.flush();
  return model;
}

test('random flows among each other', (t) => {
  const lab = new Lab(64);
  let merged = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 10, maxLength: 40 }),
      fc.integer({ min: 2, max: 60 }),
      fc.boolean(),
      (steps, size, isUdpToo) => {
        const items = itemsOf(steps, size);
        for (const item of items)
          lab.give(frameOf(item), isUdpToo ? COALESCE_ALL : COALESCE_TCP, NO_OFFLOAD, item.port);
        const got = lab.flush();
        t.deepEqual(got, modelOf(items, isUdpToo).got);
        merged += items.length - got.length;
      },
    ),
    { numRuns: 300 },
  );
  t.true(merged > 2000, `${merged} were merged`);
});

/** Frames in a row that a bundle can hold: of one port, and all but the last of one length. */
function bundlesOf(items: readonly Item[]): Item[][] {
  const bundles: Item[][] = [];
  for (const item of items) {
    const last = bundles.at(-1);
    const lengths = (last ?? []).map((other) => frameOf(other).length);
    const fits = lengths.every((length) => length === lengths[0]) && frameOf(item).length <= lengths[0];
    if (last !== undefined && fits && last[0].port === item.port) last.push(item);
    else bundles.push([item]);
  }
  return bundles;
}

test('the same in bundles', (t) => {
  const lab = new Lab(300);
  // Whoever gets a packet may do what he likes with its slot.
  lab.onPacket = ({ slot }) => {
    const at = lab.arena.receiveOffset(slot);
    lab.arena.bytes.fill(0xee, at, at + 8192);
  };
  let together = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 10, maxLength: 40 }),
      fc.integer({ min: 2, max: 60 }),
      fc.boolean(),
      (steps, size, isUdpToo) => {
        const items = itemsOf(steps, size);
        const bundles = bundlesOf(items);
        together += items.length - bundles.length;
        for (const bundle of bundles) {
          const what = isUdpToo ? COALESCE_ALL : COALESCE_TCP;
          t.is(lab.giveBundle(bundle.map(frameOf), what, bundle[0].port), 0);
        }
        t.deepEqual(lab.flush(), modelOf(items, isUdpToo).got);
      },
    ),
    { numRuns: 300 },
  );
  t.true(together > 2000, `${together} shared a slot with others`);
});

test('random bytes changed in random frames: nothing is lost, and no frame that is broken is merged', (t) => {
  const lab = new Lab(300);
  const change = fc.record({ frame: fc.nat(30), at: fc.nat(80), to: fc.nat(255) });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 12 }),
      fc.array(change, { maxLength: 8 }),
      fc.boolean(),
      (steps, changes, isBundle) => {
        const frames = itemsOf(steps, 20).map(frameOf);
        for (const { frame, at, to } of changes) {
          if (frame < frames.length && at < frames[frame].length) frames[frame][at] = to;
        }
        const before = frames.map(hex);
        if (isBundle && frames.length > 0) lab.giveBundle(sameLengths(frames), COALESCE_ALL);
        else for (const frame of frames) lab.give(frame, COALESCE_ALL);
        const got = lab.flush();
        const alone = got.filter(({ vnet }) => vnet.gsoType === 0);
        if (!isBundle)
          t.true(
            alone.every(({ bytes }) => before.includes(bytes)),
            'as it came',
          );
      },
    ),
    { numRuns: 300 },
  );
});

/** Frames that a bundle can hold. */
function sameLengths(frames: readonly Uint8Array[]): Uint8Array[] {
  return frames.filter((frame) => frame.length === frames[0].length);
}
