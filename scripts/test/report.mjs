/** What the terminal shows of a test run, and the count at its end. */

export class Report {
  #passed = 0;
  #failed = 0;
  #skipped = 0;
  #failures = [];
  #skipsFail;
  #write;

  /**
   * @param {{ skipsFail: boolean, write?: (text: string) => void }} options `skipsFail`: a skipped test is a failed one
   */
  constructor({ skipsFail, write = (text) => process.stdout.write(text) }) {
    this.#skipsFail = skipsFail;
    this.#write = write;
  }

  passed(title) {
    this.#passed++;
    this.#line('ok', title);
  }

  /** A line that counts for nothing. */
  note(text) {
    this.#write(`       ${text}\n`);
  }

  /** @param {string} details shown indented under the title */
  failed(title, details) {
    this.#failed++;
    this.#failures.push(title);
    this.#line('FAIL', title);
    const text = details.replace(/^/gm, '       ').trimEnd();
    if (text !== '') this.#write(`${text}\n`);
  }

  /** @param {string} reason why, for a person */
  skipped(title, reason) {
    if (this.#skipsFail) return this.failed(title, `skipped, which CI does not accept: ${reason}`);
    this.#skipped++;
    this.#line('skip', title, reason);
  }

  /** Prints the failures once more and the counts. Returns the exit code. */
  finish() {
    if (this.#failures.length > 0)
      this.#write(`\nfailed:\n${this.#failures.map((title) => `  ${title}\n`).join('')}\n`);
    const skipped = this.#skipped > 0 ? `, ${this.#skipped} skipped` : '';
    this.#write(`${this.#passed} passed, ${this.#failed} failed${skipped}\n`);
    return this.#failed === 0 ? 0 : 1;
  }

  #line(mark, title, note = '') {
    this.#write(`${mark.padEnd(6)} ${title}${note === '' ? '' : ` (${note})`}\n`);
  }
}
