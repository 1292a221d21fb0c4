/** Lines that are redrawn in place on a terminal; on anything else each drawing follows the one before. */

import type { Context } from '../context.js';

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
const CLEAR_BELOW = '\x1b[J';
const up = (lines: number): string => (lines === 0 ? '' : `\x1b[${lines}A`);

/** For terminals that do not say how large they are, and for what is none. */
const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

type Output = Context['stdout'] & { readonly columns?: number; readonly rows?: number };

export class Screen {
  readonly #output: Output;
  readonly #inPlace: boolean;
  /** Lines of the drawing on the screen, at the cursor's left; and the width it was made for. */
  #drawn = 0;
  #width = 0;

  constructor(context: Context) {
    this.#output = context.stdout;
    this.#inPlace = context.stdout.isTTY === true && context.env.TERM !== 'dumb';
  }

  get columns(): number {
    // Some pseudo-terminals are 0 columns wide.
    return this.#output.columns || DEFAULT_COLUMNS;
  }

  get #rows(): number {
    return this.#output.rows || DEFAULT_ROWS;
  }

  /** Lines that stay; a line too long wraps. */
  print(lines: readonly string[]): void {
    this.#output.write(lines.map((line) => `${line}\n`).join(''));
    this.#drawn = 0;
  }

  /** Draws over the drawing before. No line is longer than `columns`. */
  draw(lines: readonly string[]): void {
    if (!this.#inPlace) {
      this.print([...lines, '']);
      return;
    }
    // More lines than the screen has could not be reached again; after a change of width the old ones may have wrapped.
    const visible = lines.slice(0, this.#rows - 1);
    const back = this.columns === this.#width ? up(this.#drawn) : '';
    this.#output.write(`${HIDE_CURSOR}${back}\r${CLEAR_BELOW}${visible.map((line) => `${line}\n`).join('')}`);
    this.#drawn = visible.length;
    this.#width = this.columns;
  }

  /** Gives the terminal back. */
  close(): void {
    if (this.#inPlace) this.#output.write(SHOW_CURSOR);
  }
}
