/** Which suites (compiled test files) a command line asks for. */

import { existsSync, readdirSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';

export class UsageError extends Error {}

/** @typedef {{ name: string, path: string }} Suite `name` as in `core/switch/fdb`, `path` from the root of the project */

const USAGE = 'usage: npm test -- [--unit] [--e2e] [--idle=SECONDS] [FILE...]';
/** The slowest single tests take about a third of it. */
const DEFAULT_IDLE_SECONDS = 120;

/**
 * @returns {{ unit: boolean, e2e: boolean, files: string[], idleSeconds: number }} `idleSeconds`: how long a suite may
 *   say nothing before it counts as hung
 */
export function parseArguments(argv) {
  const idle = argv.find((argument) => /^--idle=\d+$/.test(argument));
  const flags = argv.filter((argument) => argument.startsWith('-') && argument !== idle);
  const files = argv.filter((argument) => !argument.startsWith('-'));
  const unknown = flags.find((flag) => flag !== '--unit' && flag !== '--e2e');
  if (unknown !== undefined) throw new UsageError(`unknown option ${unknown}; ${USAGE}`);
  const both = flags.length === 0;
  return {
    unit: both || flags.includes('--unit'),
    e2e: both || flags.includes('--e2e'),
    files,
    idleSeconds: idle === undefined ? DEFAULT_IDLE_SECONDS : Number(idle.slice('--idle='.length)),
  };
}

/**
 * @param {string} root
 * @param {{ unit: boolean, e2e: boolean, files: string[] }} wanted
 * @returns {{ unit: Suite[], e2e: Suite[] }}
 * @throws {UsageError} where a file matches no suite
 */
export function findSuites(root, { unit, e2e, files }) {
  const all = walk(root, 'dist/test').filter((path) => path.endsWith('.test.js'));
  const chosen = files.length === 0 ? all : [...new Set(files.flatMap((file) => match(root, all, file)))];
  const isE2e = (path) => path.startsWith('dist/test/e2e/');
  return {
    unit: unit ? chosen.filter((path) => !isE2e(path)).map(toSuite) : [],
    e2e: e2e ? chosen.filter(isE2e).map(toSuite) : [],
  };
}

function toSuite(path) {
  return { path, name: path.slice('dist/test/'.length, -'.test.js'.length) };
}

/** Suites that `file` names: itself, or those below it; npm runs us in the root, so paths are taken from there. */
function match(root, all, file) {
  const path = relative(root, isAbsolute(file) ? file : resolve(root, file));
  const compiled = (path.startsWith('dist/') ? path : join('dist', path)).replace(/\.ts$/, '.js');
  const found = all.filter((suite) => suite === compiled || suite.startsWith(`${compiled}/`));
  if (found.length === 0) throw new UsageError(`${file}: no test file, nor a folder with any`);
  return found;
}

function walk(root, folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? walk(root, join(folder, entry.name)) : [join(folder, entry.name)]));
}
