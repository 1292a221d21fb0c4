/** Steps that take back what was made, run in reverse order: the same stack serves a failed attach and a wanted detach. */

export class UndoStack {
  #steps: { what: string; undo: () => void | Promise<void> }[] = [];

  push(what: string, undo: () => void | Promise<void>): void {
    this.#steps.push({ what, undo });
  }

  /** Runs every step, also after one that fails; each runs at most once. */
  async unwind(onError: (what: string, error: unknown) => void): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        onError(step.what, error);
      }
    }
  }
}
