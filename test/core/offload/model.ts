/** Coalescing, slow and simple: over what packets are made of, not over bytes. */

import { type Taken, taken } from './lab.js';
import {
  ACK,
  CWR,
  FIN,
  finishedFrame,
  gsoOf,
  NO_OFFLOAD,
  type PacketSpec,
  PSH,
  partialFrame,
  RST,
  SYN,
  URG,
} from './packets.js';

export interface Item {
  spec: PacketSpec;
  port: number;
  /** Its last payload byte is another one than the checksum says. */
  isBroken: boolean;
}

interface Held {
  readonly items: Item[];
}

export function frameOf({ spec, isBroken }: Item): Uint8Array {
  const frame = finishedFrame(spec);
  if (isBroken) frame[frame.length - 1] ^= 0x40;
  return frame;
}

export class Model {
  readonly got: Taken[] = [];
  private held: Held[] = [];
  private readonly isUdpToo: boolean;

  constructor(isUdpToo: boolean) {
    this.isUdpToo = isUdpToo;
  }

  give(item: Item): void {
    if (item.spec.extra > 0) {
      this.flush();
      this.got.push(asItCame(item));
      return;
    }
    const held = this.held.find(({ items }) => isSameFlow(items[0], item));
    if (held !== undefined) {
      if (this.mayMerge(held, item)) {
        held.items.push(item);
        if (isOver(held)) this.take(held);
        return;
      }
      this.take(held);
    }
    const { spec } = item;
    if (!this.isSegment(item) || (spec.isTcp && (spec.flags & (PSH | FIN)) !== 0)) this.got.push(asItCame(item));
    else this.held.push({ items: [item] });
  }

  flush(): void {
    for (const held of [...this.held]) this.take(held);
  }

  private take(held: Held): void {
    this.held = this.held.filter((other) => other !== held);
    this.got.push(joined(held.items));
  }

  private isSegment({ spec }: Item): boolean {
    if (spec.payload.length === 0) return false;
    return spec.isTcp ? (spec.flags & (SYN | RST | URG)) === 0 : this.isUdpToo;
  }

  private mayMerge({ items }: Held, item: Item): boolean {
    const [{ spec: first }] = items;
    const { spec } = item;
    if (!this.isSegment(item) || item.isBroken || items[0].isBroken) return false;
    if (spec.payload.length > first.payload.length || spec.tos !== first.tos || spec.ttl !== first.ttl) return false;
    const length = items.reduce((sum, { spec: { payload } }) => sum + payload.length, 0);
    return followsIp(items, spec) && (!spec.isTcp || followsTcp(first, spec, length));
  }
}

function isSameFlow(a: Item, b: Item): boolean {
  const [x, y] = [a.spec, b.spec];
  return a.port === b.port && x.isIpv4 === y.isIpv4 && x.isTcp === y.isTcp && x.ports.join() === y.ports.join();
}

function followsIp(items: readonly Item[], spec: PacketSpec): boolean {
  if (!spec.isIpv4) return true;
  const [{ spec: first }] = items;
  if (spec.dontFragment !== first.dontFragment) return false;
  const ids = [...items.map((item) => item.spec.identification), spec.identification];
  const isFixed = first.dontFragment && ids.every((id) => id === ids[0]);
  return isFixed || ids.every((id, i) => id === ((ids[0] + i) & 0xffff));
}

function followsTcp(first: PacketSpec, spec: PacketSpec, length: number): boolean {
  const mask = ~(FIN | PSH | CWR);
  return (
    spec.sequence >>> 0 === (first.sequence + length) >>> 0 &&
    spec.acknowledgment === first.acknowledgment &&
    spec.window === first.window &&
    (spec.flags & mask) === (first.flags & mask) &&
    (spec.flags & CWR) === 0 &&
    spec.options.join() === first.options.join()
  );
}

function isOver({ items }: Held): boolean {
  const { spec } = items[items.length - 1];
  if (spec.payload.length < items[0].spec.payload.length) return true;
  return spec.isTcp && (spec.flags & (PSH | FIN)) !== 0;
}

function asItCame(item: Item): Taken {
  return taken(frameOf(item), NO_OFFLOAD, item.port);
}

function joined(items: readonly Item[]): Taken {
  if (items.length === 1) return asItCame(items[0]);
  const [{ spec: first, port }] = items;
  const flags = items.reduce((sum, { spec }) => sum | spec.flags, ACK & first.flags);
  const payload = Buffer.concat(items.map(({ spec }) => spec.payload));
  const spec = { ...first, flags, payload };
  return taken(partialFrame(spec), gsoOf(spec, first.payload.length), port);
}
