/** Rates out of two readings of the counters, and how people read them. */

import type { PortView } from '../../control/views.js';
import { sum } from '../output.js';

export interface Traffic {
  readonly port: string;
  /** Frames and bits a second that came from the container. */
  readonly rxFrames: number;
  readonly rxBits: number;
  /** Frames and bits a second that went to it. */
  readonly txFrames: number;
  readonly txBits: number;
  /** Frames dropped since the port exists. */
  readonly drops: number;
}

/** @param seconds between the readings. A port that is new has no rates yet. */
export function rates(before: readonly PortView[], now: readonly PortView[], seconds: number): Traffic[] {
  const earlier = new Map(before.map((port) => [port.id, port]));
  return now.map((port) => {
    const then = earlier.get(port.id) ?? port;
    return {
      port: port.name,
      rxFrames: (port.rxPackets - then.rxPackets) / seconds,
      rxBits: ((port.rxBytes - then.rxBytes) * 8) / seconds,
      txFrames: (port.txPackets - then.txPackets) / seconds,
      txBits: ((port.txBytes - then.txBytes) * 8) / seconds,
      drops: sum(port.rxDrops) + sum(port.txDrops),
    };
  });
}

const PREFIXES = ['', 'k', 'M', 'G', 'T'];

/** Three digits and a decimal prefix: `950`, `12.3k`, `1.05G`. */
export function formatRate(value: number): string {
  let scaled = value;
  let prefix = 0;
  while (scaled >= 999.5 && prefix < PREFIXES.length - 1) {
    scaled /= 1000;
    prefix++;
  }
  const decimals = prefix === 0 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
  return `${scaled.toFixed(decimals)}${PREFIXES[prefix]}`;
}
