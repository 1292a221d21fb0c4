/** scripts/setup.mjs in a made-up project, with made-up npm, tsc, apt-get and dpkg-query that write down how they were called. */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';

/** All shell, no program: PATH holds nothing but these. */
const NPM = `#!/bin/sh
echo "npm $*" >> "$LOG"
[ -z "$NPM_FAILS" ] || { echo 'npm says why' >&2; exit 7; }
"$MKDIR" -p node_modules/typescript/bin
echo '{}' > node_modules/.package-lock.json
while IFS= read -r line; do printf '%s\\n' "$line"; done < "$TSC" > node_modules/typescript/bin/tsc
"$MKDIR" -p node_modules/esbuild
while IFS= read -r line; do printf '%s\\n' "$line"; done < "$ESBUILD" > node_modules/esbuild/index.js
for package in acorn acorn-walk; do "$LN" -sfn "$PACKAGES/$package" "node_modules/$package"; done
`;
const TSC = `
const fs = require('node:fs');
fs.appendFileSync(process.env.LOG, 'tsc ' + process.argv.slice(2).join(' ') + '\\n');
if (process.env.TSC_FAILS) { console.log('core/a.ts(1,1): error'); process.exit(2); }
fs.mkdirSync('dist/core', { recursive: true });
for (const file of fs.readdirSync('core')) fs.writeFileSync('dist/core/' + file.replace('.ts', '.js'), '');
`;
const ESBUILD = `
const fs = require('node:fs');
exports.build = async ({ entryPoints, outdir }) => {
  fs.appendFileSync(process.env.LOG, 'esbuild ' + Object.keys(entryPoints).join(' ') + '\\n');
  fs.mkdirSync(outdir, { recursive: true });
  for (const name of Object.keys(entryPoints)) fs.writeFileSync(outdir + '/' + name + '.js', 'var a = 1;');
  fs.writeFileSync(outdir + '/tapline.cjs', 'exports.warmUp = async () => {};');
};
`;
const APT_GET = `#!/bin/sh
echo "apt-get $DEBIAN_FRONTEND $*" >> "$LOG"
[ "$1" = install ] || exit 0
[ -z "$APT_FAILS" ] || { echo 'apt-get says why' >&2; exit 100; }
for argument; do
  case "$argument" in
    DPkg::Path=*)
      path="\${argument#DPkg::Path=}"
      for program in invoke-rc.d deb-systemd-invoke deb-systemd-helper update-rc.d; do
        PATH="$path" "$program" nginx start && echo "$program -> $(PATH="$path"; command -v $program)" >> "$LOG"
      done ;;
    [a-z]*) echo "$argument installed" >> "$STATE" ;;
  esac
done
`;
const DPKG_QUERY = `#!/bin/sh
[ ! -f "$STATE" ] || while IFS= read -r line; do printf '%s\\n' "$line"; done < "$STATE"
exit 1
`;

interface Project {
  readonly root: string;
  /** Runs the set-up; `bare` hides the programs of this machine, so that the Debian packages are missing. */
  setup(purpose: string, options?: { bare?: boolean; uid?: number; env?: Record<string, string> }): Run;
}

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Calls of the made-up programs, in order. */
  readonly calls: string[];
}

function createProject(t: ExecutionContext): Project {
  const root = mkdtempSync(join(tmpdir(), 'tapline-setup-test-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  chmodSync(root, 0o777);
  for (const folder of ['bin', 'scripts']) cpSync(folder, join(root, folder), { recursive: true });
  mkdirSync(join(root, 'core'));
  mkdirSync(join(root, 'fake'));
  writeFileSync(join(root, 'core/a.ts'), '');
  writeFileSync(join(root, 'package-lock.json'), '{}');
  writeFileSync(join(root, 'tsconfig.json'), '{ "include": ["core", "nothing-here"] }');
  writeFileSync(join(root, 'fake/tsc.js'), TSC);
  writeFileSync(join(root, 'fake/esbuild.js'), ESBUILD);
  for (const [name, source] of [
    ['npm', NPM],
    ['apt-get', APT_GET],
    ['dpkg-query', DPKG_QUERY],
  ] as const) {
    writeFileSync(join(root, 'fake', name), source, { mode: 0o755 });
  }
  symlinkSync('/bin/sh', join(root, 'fake/sh'));
  const log = join(root, 'log');
  const setup: Project['setup'] = (purpose, { bare = false, uid, env = {} } = {}) => {
    rmSync(log, { force: true });
    const run = spawnSync(process.execPath, [join(root, 'scripts/setup.mjs'), purpose], {
      cwd: tmpdir(), // the set-up must find its project by itself
      encoding: 'utf8',
      ...(uid === undefined ? {} : { uid }),
      env: {
        PATH: bare ? join(root, 'fake') : `${join(root, 'fake')}:${process.env.PATH}`,
        LOG: log,
        STATE: join(root, 'state'),
        TSC: join(root, 'fake/tsc.js'),
        ESBUILD: join(root, 'fake/esbuild.js'),
        MKDIR: '/bin/mkdir',
        LN: '/bin/ln',
        PACKAGES: resolve('node_modules'),
        ...env,
      },
    });
    const calls = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
    return { code: run.status, stdout: run.stdout, stderr: run.stderr, calls };
  };
  return { root, setup };
}

const NPM_CALL = 'npm ci --ignore-scripts --no-audit --no-fund';
const BUILD_CALLS = ['tsc -p tsconfig.json', 'esbuild worker health bench-micro', 'esbuild tapline'];

test('a fresh clone gets its packages and its build, each in one line; the second run does nothing', (t) => {
  const { setup } = createProject(t);
  const first = setup('run');
  t.is(first.code, 0, first.stderr);
  t.deepEqual(first.calls, [NPM_CALL, ...BUILD_CALLS]);
  t.regex(
    first.stderr,
    /^setup: npm packages \.\.\. [\d.]+ s\nsetup: build \.\.\. [\d.]+ s\nsetup: bundle \.\.\. [\d.]+ s\n$/,
  );
  t.is(first.stdout, '');

  const started = Date.now();
  t.deepEqual(setup('run'), { code: 0, stdout: '', stderr: '', calls: [] });
  t.true(Date.now() - started < 2000, 'a look at what is there takes no time that anyone notices');
});

test('a changed lock file brings npm back, a touched one does not', (t) => {
  const { root, setup } = createProject(t);
  setup('run');
  const lock = join(root, 'package-lock.json');
  utimesSync(lock, new Date(Date.now() + 60_000), new Date(Date.now() + 60_000));
  t.deepEqual(setup('run').calls, BUILD_CALLS, 'git sets times as it likes');
  writeFileSync(lock, '{ "changed": true }');
  utimesSync(lock, new Date(Date.now() + 60_000), new Date(Date.now() + 60_000));
  t.deepEqual(setup('run').calls, [NPM_CALL, ...BUILD_CALLS]);
});

test('packages that npm installed by hand are taken as they are', (t) => {
  const { root, setup } = createProject(t);
  setup('run');
  rmSync(join(root, 'node_modules/.tapline-stamp'));
  t.deepEqual(setup('run').calls, []);
});

test('changed, new and removed sources are built again, and outputs without a source go', (t) => {
  const { root, setup } = createProject(t);
  setup('run');
  writeFileSync(join(root, 'core/a.ts'), 'changed');
  t.deepEqual(setup('run').calls, BUILD_CALLS);
  writeFileSync(join(root, 'core/b.ts'), '');
  t.deepEqual(setup('run').calls, BUILD_CALLS);
  t.true(existsSync(join(root, 'dist/core/b.js')));
  rmSync(join(root, 'core/b.ts'));
  t.deepEqual(setup('run').calls, BUILD_CALLS);
  t.false(existsSync(join(root, 'dist/core/b.js')));
  t.true(existsSync(join(root, 'dist/core/a.js')));
});

test('a step that fails shows all its output, ends the set-up, and is tried again', (t) => {
  const { setup } = createProject(t);
  const npm = setup('run', { env: { NPM_FAILS: '1' } });
  t.is(npm.code, 1);
  t.deepEqual(npm.calls, [NPM_CALL]);
  t.regex(npm.stderr, /npm packages \.\.\. failed\nnpm says why\n\nsetup: npm ci .*: exit code 7\n$/);
  const build = setup('run', { env: { TSC_FAILS: '1' } });
  t.is(build.code, 1);
  t.regex(build.stderr, /build \.\.\. failed\ncore\/a\.ts\(1,1\): error\n/);
  t.deepEqual(setup('run').calls, BUILD_CALLS);
});

test('no npm at all is a failed step, not a crash', (t) => {
  const { root, setup } = createProject(t);
  writeFileSync(
    join(root, 'state'),
    'iproute2 installed\niputils-ping installed\nprocps installed\nutil-linux installed\n',
  );
  rmSync(join(root, 'fake/npm'));
  const run = setup('run', { bare: true });
  t.is(run.code, 1);
  t.regex(run.stderr, /setup: npm ci .*: spawnSync npm ENOENT\n$/);
});

function asRoot(title: string, implementation: (t: ExecutionContext) => void): void {
  if (process.getuid?.() === 0) test(title, implementation);
  else test.skip(`${title} (needs root)`, implementation);
}

asRoot('missing Debian packages are installed once, and start no service', (t) => {
  const { setup } = createProject(t);
  const run = setup('bench', { bare: true });
  t.is(run.code, 0, run.stderr);
  t.is(run.calls[0], 'apt-get noninteractive update');
  t.regex(
    run.calls[1]!,
    /^apt-get noninteractive install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 -o DPkg::Path=\S+:\/usr\/sbin:\/usr\/bin:\/sbin:\/bin .*\biperf3\b.*\bwrk$/,
  );
  const started = run.calls.slice(2, 6);
  t.is(started.length, 4);
  for (const line of started) t.regex(line, /^(\S+) -> .*\/tapline-setup-\w+\/\1$/);
  t.deepEqual(run.calls.slice(6), [NPM_CALL, ...BUILD_CALLS]);
  t.deepEqual(setup('bench', { bare: true }).calls, []);
});

asRoot('only what is missing is installed', (t) => {
  const { root, setup } = createProject(t);
  writeFileSync(join(root, 'state'), 'iperf3 installed\nwrk not-installed\n');
  const install = setup('bench', { bare: true }).calls[1]!;
  t.regex(install, / wrk\b/);
  t.notRegex(install, / iperf3\b/);
});

asRoot('a failing apt-get shows its output', (t) => {
  const { setup } = createProject(t);
  const run = setup('bench', { bare: true, env: { APT_FAILS: '1' } });
  t.is(run.code, 1);
  t.regex(run.stderr, /failed\napt-get says why\n/);
});

asRoot('who is not root gets a list', (t) => {
  const { setup } = createProject(t);
  const run = setup('bench', { bare: true, uid: 65534 });
  t.is(run.code, 1);
  t.regex(run.stderr, /^please install: .*\biperf3\b.*\bwrk\n$/);
  t.deepEqual(run.calls, []);
});

test('where there is no apt-get there is a list, too', (t) => {
  const { root, setup } = createProject(t);
  rmSync(join(root, 'fake/apt-get'));
  const run = setup('bench', { bare: true });
  t.is(run.code, 1);
  t.regex(run.stderr, /^please install: .*\biperf3\b/);
});

test('another word than run, test or bench is a usage error', (t) => {
  const run = createProject(t).setup('all');
  t.is(run.code, 2);
  t.is(run.stderr, 'usage: node scripts/setup.mjs run|test|bench\n');
});
