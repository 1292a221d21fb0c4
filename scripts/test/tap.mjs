/** Reads the Test Anything Protocol as ava writes it: test lines, with a YAML block or comments under some. */

const TEST_LINE = /^(not ok|ok) \d+ - (.*?)(?: # (SKIP|TODO)(?: (.*))?)?$/;

/**
 * @typedef {{ title: string, outcome: 'passed' | 'failed' | 'skipped', details: string, reason: string }} TapResult
 */

export class TapReader {
  #rest = '';
  /** The test whose details may still follow. */
  #open = null;
  #onResult;

  /** @param {(result: TapResult) => void} onResult called once a test, when its details are complete */
  constructor(onResult) {
    this.#onResult = onResult;
  }

  /** @param {string} text any part of the stream */
  push(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) this.#read(line);
  }

  end() {
    if (this.#rest !== '') this.#read(this.#rest);
    this.#rest = '';
    this.#close();
  }

  #read(line) {
    const match = TEST_LINE.exec(line);
    if (match !== null) {
      this.#close();
      const [, status, title, directive, reason] = match;
      this.#open = {
        title,
        outcome: outcomeOf(status, directive),
        reason: reason ?? reasonIn(title, directive),
        lines: [],
      };
      return;
    }
    if (line === 'TAP version 13' || line === '' || /^(?:1\.\.\d+|# (?:tests|pass|fail|skip|todo) \d+)$/.test(line))
      return;
    this.#open?.lines.push(line);
    // A YAML block is the last that belongs to a failed test; so it can be reported at once.
    if (line === '  ...') this.#close();
  }

  #close() {
    if (this.#open === null) return;
    const { lines, ...result } = this.#open;
    this.#open = null;
    this.#onResult({ ...result, details: lines.join('\n') });
  }
}

function outcomeOf(status, directive) {
  if (directive !== undefined) return 'skipped';
  return status === 'ok' ? 'passed' : 'failed';
}

/** ava gives no reasons, so our tests put theirs in brackets at the end of the title. */
function reasonIn(title, directive) {
  if (directive === 'TODO') return 'not written yet';
  return /\(([^()]*)\)$/.exec(title)?.[1] ?? 'no reason given';
}
