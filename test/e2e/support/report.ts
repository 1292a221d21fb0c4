/** A report that tests write, line by line, where TAPLINE_REPORT names a file. */

import { appendFileSync, writeFileSync } from 'node:fs';

/** @param title first line of the file, whose old content goes */
export function startReport(title: string): (line: string) => void {
  const path = process.env.TAPLINE_REPORT;
  if (path === undefined) return () => {};
  writeFileSync(path, `# ${title}\n`);
  return (line) => appendFileSync(path, `${line}\n`);
}

/** A row of a Markdown table. */
export function tableRow(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
