/** scripts/test.mjs in a made-up project with tests that pass, fail, crash, hang or get skipped. */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';

const TSCONFIG = {
  compilerOptions: {
    target: 'es2022',
    module: 'nodenext',
    outDir: 'dist',
    rootDir: '.',
    types: ['node'],
    strict: true,
  },
  include: ['test'],
};

/** What the build bundles (scripts/bundle.mjs). */
const BUNDLED = {
  'control/worker.ts': 'export {};\n',
  'control/health/thread.ts': 'export {};\n',
  'bench/micro/main.ts': 'export {};\n',
  'cli/main.ts': 'export async function warmUp() {}\n',
};

interface Run {
  readonly code: number | null;
  readonly output: string;
  readonly lastLine: string | undefined;
}

/** Runs the tests of a project made of `files`. */
function run(
  t: ExecutionContext,
  files: Record<string, string>,
  argv: string[] = [],
  env: Record<string, string> = {},
): Run {
  const root = mkdtempSync(join(tmpdir(), 'tapline-test-test-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const folder of ['bin', 'scripts']) cpSync(folder, join(root, folder), { recursive: true });
  cpSync('biome.json', join(root, 'biome.json'));
  symlinkSync(resolve('node_modules'), join(root, 'node_modules'));
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }\n');
  writeFileSync(join(root, 'package-lock.json'), '{}\n');
  writeFileSync(join(root, 'tsconfig.json'), `${JSON.stringify(TSCONFIG, null, 2)}\n`);
  for (const [path, source] of Object.entries({ ...BUNDLED, ...files })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), source);
  }
  // Without FILEs the run lints; the sources here are written for their meaning, not for their looks.
  if (argv.length === 0) spawnSync('node_modules/.bin/biome', ['format', '--write', '.'], { cwd: root });
  const { CI, ...inherited } = process.env;
  const child = spawnSync(process.execPath, ['scripts/test.mjs', ...argv], {
    cwd: root,
    encoding: 'utf8',
    env: { ...inherited, ...env },
  });
  const output = child.stdout + child.stderr;
  return { code: child.status, output, lastLine: child.stdout.trimEnd().split('\n').at(-1) };
}

const suite = (...tests: string[]): string => `import test from 'ava';\n\n${tests.join('\n')}\n`;
const PASS = `test('passes', (t) => t.pass());`;
const FAIL = `test('fails', (t) => t.is(1 + 1, 3));`;

test('lint, types and all suites that pass: a count, and exit code 0', (t) => {
  const { code, output, lastLine } = run(t, { 'test/a.test.ts': suite(PASS), 'test/e2e/b.test.ts': suite(PASS) });
  t.is(code, 0, output);
  t.is(lastLine, '4 passed, 0 failed');
  t.regex(output, /^ok {5}lint\nok {5}types$/m);
  t.regex(output, /^ok {5}a: passes$/m);
  t.regex(output, /^ok {5}e2e\/b: passes$/m);
});

test('a failure shows the values, how to run it again, and makes exit code 1', (t) => {
  const { code, output, lastLine } = run(t, { 'test/x/a.test.ts': suite(PASS, FAIL) }, ['test']);
  t.is(code, 1);
  t.is(lastLine, '2 passed, 1 failed');
  t.regex(output, /^FAIL {3}x\/a: fails\n[\s\S]*- 2\n[\s\S]*\+ 3\n[\s\S]*again: npm test -- test\/x\/a\.test\.ts$/m);
  t.regex(output, /\nfailed:\n {2}x\/a: fails\n/);
});

test('a skipped test is counted with its reason; CI takes it for a failure', (t) => {
  const files = {
    'test/a.test.ts': suite(PASS, `test.skip('sleeps (needs a bed)', (t) => t.pass());`, `test.todo('later');`),
  };
  const relaxed = run(t, files, ['test']);
  t.is(relaxed.code, 0, relaxed.output);
  t.is(relaxed.lastLine, '2 passed, 0 failed, 2 skipped');
  t.regex(relaxed.output, /^skip {3}a: sleeps \(needs a bed\) \(needs a bed\)$/m);
  t.regex(relaxed.output, /^skip {3}a: later \(not written yet\)$/m);
  const strict = run(t, files, ['test'], { CI: 'true' });
  t.is(strict.code, 1);
  t.is(strict.lastLine, '2 passed, 2 failed');
  t.regex(strict.output, /skipped, which CI does not accept: needs a bed/);
});

test('suites that crash, end early, import nothing or hold no test are failures, and the others still run', (t) => {
  const { code, output, lastLine } = run(
    t,
    {
      'test/crash.test.ts': suite(
        `test('x', (t) => {\n  setTimeout(() => {\n    throw new Error('boom');\n  }, 1);\n  return new Promise(() => t.log('waiting'));\n});`,
      ),
      'test/exit.test.ts': suite(PASS, 'process.exit(3);'),
      'test/empty.test.ts': 'export {};\n',
      'test/good.test.ts': suite(PASS),
    },
    ['test'],
  );
  t.is(code, 1);
  t.regex(lastLine!, /^2 passed, \d+ failed$/);
  for (const name of ['crash', 'exit', 'empty']) t.regex(output, new RegExp(`^FAIL {3}${name}: `, 'm'), output);
  t.regex(output, /boom/);
  t.regex(output, /No tests found/);
  t.regex(output, /^ok {5}good: passes$/m);
});

test('a suite that waits for ever or loops is ended, named, and takes its processes with it', (t) => {
  const mark = `${process.pid}${Date.now() % 100_000}`;
  const { code, output, lastLine } = run(
    t,
    {
      'test/loop.test.ts': suite(`test('loops', () => {\n  for (;;);\n});`),
      'test/wait.test.ts': `import { spawn } from 'node:child_process';\n${suite(
        PASS,
        `test('waits', (t) => {\n  spawn('sleep', ['${mark}']);\n  return new Promise((resolve) => setTimeout(resolve, 1e8)).then(() => t.pass());\n});`,
      )}`,
    },
    ['--idle=5', 'test'],
  );
  t.is(code, 1);
  t.is(lastLine, '2 passed, 2 failed');
  t.regex(output, /^FAIL {3}loop\n {7}hung: said nothing for 5 s after 0 results$/m);
  t.regex(output, /^FAIL {3}wait\n {7}hung: said nothing for 5 s after 1 results$/m);
  t.is(spawnSync('pgrep', ['-f', `sleep ${mark}`], { encoding: 'utf8' }).stdout, '');
});

/** Fails in its first run, by a file that it leaves for the next. */
const FAILS_ONCE = `test('fails once', (t) => {\n  const again = existsSync('ran');\n  writeFileSync('ran', '');\n  t.true(again);\n});`;
const IMPORT_FS = `import { existsSync, writeFileSync } from 'node:fs';\n`;

test('a whole run repeats an end-to-end suite that failed, and names what failed once', (t) => {
  const files = {
    'test/e2e/a.test.ts': suite(PASS),
    'test/e2e/b.test.ts': `${IMPORT_FS}${suite(PASS, FAILS_ONCE)}`,
    'test/e2e/c.test.ts': suite(PASS, FAIL),
  };
  const { code, output, lastLine } = run(t, files);
  t.is(code, 1);
  t.is(lastLine, '6 passed, 1 failed', 'lint, types and four tests; each counted once');
  t.regex(output, /^FAIL {3}e2e\/b: fails once$[\s\S]*^ok {5}e2e\/b: fails once$/m);
  t.regex(output, /\nfailed once, and not when [^\n]*:\n {2}e2e\/b: fails once\n\n/);
  t.regex(output, /\nfailed:\n {2}e2e\/c: fails\n/);
  t.is(output.match(/^FAIL {3}e2e\/c: fails$/gm)?.length, 2);
  t.is(output.match(/^ok {5}e2e\/a: passes$/gm)?.length, 1);
  const steady = run(t, { 'test/e2e/b.test.ts': files['test/e2e/b.test.ts'] });
  t.is(steady.code, 0, steady.output);
  t.is(steady.lastLine, '4 passed, 0 failed');
});

test('no suite is repeated that holds no end-to-end tests, was named, or is one of many', (t) => {
  const source = `${IMPORT_FS}${suite(FAILS_ONCE)}`;
  t.is(run(t, { 'test/unit.test.ts': source }).lastLine, '2 passed, 1 failed');
  t.is(run(t, { 'test/e2e/a.test.ts': source }, ['test/e2e/a.test.ts']).lastLine, '1 passed, 1 failed');
  const many = Object.fromEntries([1, 2, 3, 4].map((n) => [`test/e2e/a${n}.test.ts`, suite(FAIL)]));
  const { output, lastLine } = run(t, many);
  t.is(lastLine, '2 passed, 4 failed');
  t.notRegex(output, /again, with nothing beside it/);
});

test('lint and type errors are failures; without types no suite runs', (t) => {
  const lint = run(t, { 'test/a.test.ts': suite(PASS), 'core/x.ts': "export * from '../io/x.js';\n" });
  t.is(lint.lastLine, '2 passed, 1 failed');
  t.regex(lint.output, /^FAIL {3}lint\n[\s\S]*noRestrictedImports/m);
  const types = run(t, { 'test/a.test.ts': suite(PASS, 'export const a: number = true;') });
  t.is(types.code, 1);
  t.is(types.lastLine, '1 passed, 1 failed');
  t.regex(types.output, /^FAIL {3}types\n[\s\S]*TS2322/m);
});

interface Select {
  parseArguments(argv: string[]): unknown;
  findSuites(root: string, wanted: unknown): { unit: { name: string }[]; e2e: { name: string }[] };
}

test('--unit, --e2e and files choose; what does not exist is said', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'tapline-test-test-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const path of ['a.test.js', 'x/b.test.js', 'e2e/c.test.js', 'e2e/support/helper.js', 'a.test.d.ts']) {
    mkdirSync(dirname(join(root, 'dist/test', path)), { recursive: true });
    writeFileSync(join(root, 'dist/test', path), '');
  }
  const { parseArguments, findSuites } = (await import(resolve('scripts/test/select.mjs'))) as Select;
  const names = (...argv: string[]): string[] => {
    const { unit, e2e } = findSuites(root, parseArguments(argv));
    return [...unit, ...e2e].map(({ name }) => name);
  };
  t.deepEqual(names(), ['a', 'x/b', 'e2e/c']);
  t.deepEqual(names('--unit'), ['a', 'x/b']);
  t.deepEqual(names('--e2e', '--idle=7'), ['e2e/c']);
  t.deepEqual(names('test/x', 'dist/test/a.test.js', 'test/a.test.ts'), ['x/b', 'a']);
  t.deepEqual(names(join(root, 'test/e2e/c.test.ts')), ['e2e/c']);
  t.throws(() => names('test/none.test.ts'), { message: /^test\/none\.test\.ts: no test file/ });
  t.throws(() => names('test/e2e/support'), { message: /no test file/ });
  t.throws(() => names('--all'), { message: /^unknown option --all; usage: / });
});

test('a usage error is one line and exit code 2', (t) => {
  t.deepEqual(run(t, {}, ['--idle=soon']), {
    code: 2,
    output: 'unknown option --idle=soon; usage: npm test -- [--unit] [--e2e] [--idle=SECONDS] [FILE...]\n',
    lastLine: '',
  });
});
