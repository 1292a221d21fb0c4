/** One check of the quickstart. */

import type { Lab } from '../lab.js';

export interface Check {
  /** A few words, for the table. */
  readonly name: string;
  /** True where the detail is a measurement that nobody judges. */
  readonly information?: boolean;
  /**
   * @returns what it saw, in one phrase
   * @throws Error, whose first line is the reason why it failed
   */
  readonly run: (lab: Lab) => Promise<string>;
}
