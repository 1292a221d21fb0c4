/** What the terminal shows of a test run, and the count at its end. */

export class Report {
  /** Title → how it came out. */
  #outcomes = new Map();
  /** Titles of tests that failed first, and passed when their suite ran again. */
  #unsteady = [];
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
    this.#outcomes.set(title, 'passed');
    this.#line('ok', title);
  }

  /** A line that counts for nothing. */
  note(text) {
    this.#write(`       ${text}\n`);
  }

  /** @param {string} details shown indented under the title */
  failed(title, details) {
    this.#outcomes.set(title, 'failed');
    this.#line('FAIL', title);
    const text = details.replace(/^/gm, '       ').trimEnd();
    if (text !== '') this.#write(`${text}\n`);
  }

  /** @param {string} reason why, for a person */
  skipped(title, reason) {
    if (this.#skipsFail) return this.failed(title, `skipped, which CI does not accept: ${reason}`);
    this.#outcomes.set(title, 'skipped');
    this.#line('skip', title, reason);
  }

  /** True where a test of the suite, or the suite itself, has failed. */
  hasFailed(suiteName) {
    return this.#of(suiteName).some((title) => this.#outcomes.get(title) === 'failed');
  }

  /**
   * Counts what the suite's second run finds in place of what the first found; what failed then and passes now is named at the end.
   *
   * @param {() => Promise<void>} runAgain reports to this report
   */
  async replace(suiteName, runAgain) {
    const first = this.#of(suiteName);
    const failed = first.filter((title) => this.#outcomes.get(title) === 'failed');
    for (const title of first) this.#outcomes.delete(title);
    await runAgain();
    this.#unsteady.push(...failed.filter((title) => this.#outcomes.get(title) !== 'failed'));
  }

  /** Prints the failures once more and the counts. Returns the exit code. */
  finish() {
    const failures = this.#titles('failed');
    this.#list('failed once, and not when the suite ran again with nothing beside it', this.#unsteady);
    this.#list('failed', failures);
    const skipped = this.#titles('skipped').length;
    const counts = `${this.#titles('passed').length} passed, ${failures.length} failed`;
    this.#write(`${counts}${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
    return failures.length === 0 ? 0 : 1;
  }

  /** Titles of a suite's tests, and of the suite where it was reported itself. */
  #of(suiteName) {
    return [...this.#outcomes.keys()].filter((title) => title === suiteName || title.startsWith(`${suiteName}: `));
  }

  #titles(outcome) {
    return [...this.#outcomes].filter(([, each]) => each === outcome).map(([title]) => title);
  }

  #list(heading, titles) {
    if (titles.length > 0) this.#write(`\n${heading}:\n${titles.map((title) => `  ${title}\n`).join('')}\n`);
  }

  #line(mark, title, note = '') {
    this.#write(`${mark.padEnd(6)} ${title}${note === '' ? '' : ` (${note})`}\n`);
  }
}
