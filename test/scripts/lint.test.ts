/**
 * biome.json holds the layout of the project: what each folder may import. These tests lint small files at made-up places
 * in a copy of the layout, so that a rule which stops to bite is noticed.
 *
 * Rules turned off in biome.json, and why (the file itself takes no comments):
 * - style/noNonNullAssertion: `table[index]!` says that the index is known to be inside.
 * - style/noParameterAssign: the packet path narrows and masks its parameters in place.
 * - suspicious/noBitwiseOperators: int32 arithmetic is what the packet path is made of.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import test from 'ava';

const root = process.cwd();
const biome = resolve(root, 'node_modules/.bin/biome');

/**
 * Lints all files in one run of the linter, in a directory that holds nothing else but the configuration.
 * Returns for each file the rules it broke, in the order of `files`.
 */
function lint(files: readonly (readonly [path: string, source: string])[]): string[][] {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-lint-'));
  try {
    copyFileSync(join(root, 'biome.json'), join(directory, 'biome.json'));
    const paths = files.map(([path], index) => join(dirname(path), `${index}-${basename(path)}`));
    for (const [index, path] of paths.entries()) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), files[index]![1]);
    }
    const run = spawnSync(biome, ['lint', '--error-on-warnings', '--max-diagnostics=none', '--reporter=json', '.'], {
      cwd: directory,
      encoding: 'utf8',
    });
    const report = JSON.parse(run.stdout) as {
      summary: { unchanged: number };
      diagnostics: { category: string; location: { path: string } }[];
    };
    // A linter that crashed or skipped files would pass for one that found nothing.
    if (report.summary.unchanged < files.length) throw new Error(`biome read too few files: ${run.stdout}`);
    return paths.map((path) =>
      report.diagnostics.filter(({ location }) => location.path === path).map(({ category }) => category),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const importing = (module: string): string => `import { a } from '${module}';\n\na();\n`;
const RESTRICTED = 'lint/style/noRestrictedImports';

const FORBIDDEN: readonly (readonly [path: string, module: string])[] = [
  ['core/x.ts', '../io/tap.js'],
  ['core/x.ts', './../io/tap.js'],
  ['core/x.ts', 'node:fs'],
  ['core/x.ts', 'koffi'],
  ['core/switch/x.ts', '../../io/tap.js'],
  ['core/switch/x.ts', '../../control/types.js'],
  ['core/switch/x.ts', '../switch/../../io/tap.js'],
  ['core/switch/x.ts', 'node:fs'],
  ['core/switch/x.ts', 'lru-cache'],
  ['core/switch/deeper/x.ts', '../../../io/tap.js'],
  ['io/x.ts', '../core/drop.js'],
  ['io/x.ts', '../core/switch/fdb.js'],
  ['io/x.ts', '../control/types.js'],
  ['io/x.ts', 'zod'],
  ['io/engine/x.ts', '../../core/drop.js'],
  ['io/engine/x.ts', '../../control/types.js'],
  ['control/x.ts', '../cli/main.js'],
  ['control/x.ts', '../test/e2e/support/namespace.js'],
  ['cli/x.ts', '../core/drop.js'],
  ['cli/x.ts', '../io/tap.js'],
];

const ALLOWED: readonly (readonly [path: string, module: string])[] = [
  ['core/x.ts', './drop.js'],
  ['core/x.ts', './packet/arena.js'],
  ['core/switch/x.ts', './fdb.js'],
  ['core/switch/x.ts', '../drop.js'],
  ['core/switch/x.ts', '../packet/arena.js'],
  ['io/x.ts', './errno.js'],
  ['io/x.ts', '../core/packet/arena.js'],
  ['io/x.ts', 'node:fs'],
  ['io/x.ts', 'node:fs/promises'],
  ['io/x.ts', 'koffi'],
  ['io/engine/x.ts', '../errno.js'],
  ['io/engine/x.ts', '../../core/packet/arena.js'],
  ['control/x.ts', '../core/drop.js'],
  ['control/x.ts', '../io/tap.js'],
  ['control/x.ts', 'zod'],
  ['cli/x.ts', '../control/daemon.js'],
  ['cli/x.ts', 'commander'],
];

/** Lints one file for each place and module. Returns `path imports module` of those for which `broken` is not as expected. */
function wrong(cases: readonly (readonly [path: string, module: string])[], expected: readonly string[]): string[] {
  const broken = lint(cases.map(([path, module]) => [path, importing(module)]));
  return cases
    .filter((_, index) => JSON.stringify(broken[index]) !== JSON.stringify(expected))
    .map(([path, module]) => `${path} imports ${module}`);
}

test('no folder may import from above its place in the layout', (t) => {
  t.deepEqual(wrong(FORBIDDEN, [RESTRICTED]), []);
});

test('every folder may import what is below it', (t) => {
  t.deepEqual(wrong(ALLOWED, []), []);
});

test('the import rule also holds for types, re-exports and dynamic imports', (t) => {
  const broken = lint([
    ['core/x.ts', "import type { A } from '../io/tap.js';\n\nexport type B = A;\n"],
    ['core/x.ts', "export * from '../io/tap.js';\n"],
    ['core/x.ts', "export const a = await import('koffi');\n"],
  ]);
  t.deepEqual(broken, [[RESTRICTED], [RESTRICTED], [RESTRICTED]]);
});

test('core/ has no clock, no Node API and no output', (t) => {
  const uses = ['Date.now()', 'performance.now()', 'process.pid', 'Buffer.alloc(1)', 'console.log(1)', 'setTimeout'];
  const sources = uses.map((use) => `export const a = (): unknown => ${use};\n`);
  t.deepEqual(
    lint(sources.map((source) => ['core/switch/x.ts', source])),
    uses.map(() => ['lint/style/noRestrictedGlobals']),
  );
  t.deepEqual(
    lint(sources.map((source) => ['control/x.ts', source])),
    uses.map(() => []),
  );
});

test('the idioms of the packet path pass', (t) => {
  const source = [
    'export function fold(words: Int32Array, sum: number): number {',
    '  for (let i = 0; i < words.length; i++) sum += words[i]! & 0xffff;',
    '  sum = (sum & 0xffff) + (sum >>> 16);',
    '  return ~sum & 0xffff;',
    '}',
    '',
  ].join('\n');
  t.deepEqual(lint([['core/packet/x.ts', source]]), [[]]);
});
