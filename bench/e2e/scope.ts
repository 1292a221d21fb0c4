type Undo = () => Promise<void> | void;

/**
 * What has to be undone, last made first. Every undo is tried, also when an earlier one fails; failures are told to `complain`,
 * one line each, and do not hide the error that led here.
 */
export class Scope {
  private readonly undos: { what: string; undo: Undo }[] = [];
  private readonly complain: (line: string) => void;

  constructor(complain: (line: string) => void) {
    this.complain = complain;
  }

  /** Runs `undo` at close; `what` names it in a complaint: "removing namespace x". */
  defer(what: string, undo: Undo): void {
    this.undos.push({ what, undo });
  }

  async close(): Promise<void> {
    for (let entry = this.undos.pop(); entry !== undefined; entry = this.undos.pop()) {
      try {
        await entry.undo();
      } catch (error) {
        this.complain(`${entry.what}: ${(error as Error).message}`);
      }
    }
  }
}
