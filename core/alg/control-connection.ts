/**
 * What is known of an FTP control connection: how far each direction's numbers are shifted, where its lines begin, and what was made of the
 * last line that was changed, should it be sent once more.
 */

import { isAfter, Shift } from './sequence.js';

/** No port. */
export const NOT_GIVEN = -1;

export class Side {
  readonly shift: Shift;
  /** Number of the first byte of the last line that told an address, and the port that it tells now; no line yet where that is NOT_GIVEN. */
  lineSequence = 0;
  linePort = NOT_GIVEN;
  /** Numbers at which a line begins: the next one, and that before it, which may be repeated. */
  private lineStart = 0;
  private previousStart = 0;
  private isKnown = false;

  constructor(shift: number) {
    this.shift = new Shift(shift);
  }

  /** Whether a segment begins with a new line. The first that is seen does, as far as anybody can tell. */
  beginsLine(sequence: number): boolean {
    if (!this.isKnown || sequence === this.lineStart || sequence === this.previousStart) return true;
    return this.linePort !== NOT_GIVEN && sequence === this.lineSequence;
  }

  /** A segment ends with the end of a line. @param next number behind it */
  endLine(sequence: number, next: number): void {
    if (this.isKnown && !isAfter(next, this.lineStart)) return;
    this.previousStart = this.isKnown ? this.lineStart : sequence;
    this.lineStart = next;
    this.isKnown = true;
  }
}

export class ControlConnection {
  /** By direction. */
  readonly sides: readonly [Side, Side];

  /** @param shifts of both directions */
  constructor(shifts: readonly [number, number]) {
    this.sides = [new Side(shifts[0]), new Side(shifts[1])];
  }
}
