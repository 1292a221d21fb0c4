/**
 * What forwarding has found for flows: one path for each neighbor that packets of an interface are sent to, shared by all flows that go
 * that way. A flow keeps a word, a path's number and a stamp, so that forgetting a path forgets it for all of them at once.
 *
 * Where the neighbor has moved to another port, or was asked anew, its path is filled again and keeps its stamp: the next flow of many
 * pays for all. A change of routes, interfaces or policy gives it another stamp: each flow looks for itself then.
 */

import type { RouterInterface } from '../router/interface.js';
import { Neighbor } from '../router/neighbor.js';
import { Shortcut, type Shortcuts } from '../router/shortcuts.js';

/** Numbers of paths have half a word; 0 is none. */
const MAX_PATHS = 0xffff;
const STAMP_SHIFT = 16;

export class Path extends Shortcut {
  /** From 1. */
  readonly number: number;
  /** 16 bits. */
  stamp = 1;
  to = 0;

  constructor(number: number, nobody: Neighbor) {
    super(nobody);
    this.number = number;
  }
}

export class Paths {
  private readonly shortcuts: Shortcuts;
  private readonly list: Path[];
  private readonly nobody = new Neighbor(0);

  constructor(shortcuts: Shortcuts) {
    this.shortcuts = shortcuts;
    // Never found: it does not hold, and the word of no flow has its stamp.
    this.list = [new Path(0, this.nobody)];
    this.list[0].stamp = -1;
  }

  /** What a flow's word means; null: nothing that holds. */
  find(word: number): Path | null {
    const path = this.list[word & MAX_PATHS];
    return path !== undefined && path.stamp === word >>> STAMP_SHIFT && this.shortcuts.holds(path) ? path : null;
  }

  /** A packet has been sent on to `port`. Returns the word for its flow; 0 where there is no room for another path. */
  note(from: RouterInterface, to: RouterInterface, neighbor: Neighbor, port: number): number {
    const path = this.pathOf(neighbor, from.number, to.number);
    if (path === null) return 0;
    const { shortcuts } = this;
    if (path.epoch !== shortcuts.epoch || path.generation !== neighbor.generation) path.stamp = nextStamp(path.stamp);
    path.to = to.number;
    shortcuts.fill(path, from, to, neighbor, port);
    return (path.stamp << STAMP_SHIFT) | path.number;
  }

  private pathOf(neighbor: Neighbor, from: number, to: number): Path | null {
    const { paths } = neighbor;
    for (let i = 0; i < paths.length; i++) if (paths[i].from === from && paths[i].to === to) return paths[i];
    if (this.list.length > MAX_PATHS) return null;
    const path = new Path(this.list.length, this.nobody);
    path.from = from;
    path.to = to;
    this.list.push(path);
    paths.push(path);
    return path;
  }
}

/** Of 16 bits, never 0. */
function nextStamp(stamp: number): number {
  return stamp >= 0xffff ? 1 : stamp + 1;
}
