/** Memory that is a file's: kept from one process to the next, and never taken for what it is not. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type FileRegion, mapFile } from '../../io/memory.js';

const PAGE = 4096;
const LENGTH = 3 * PAGE;

function filePath(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'tables');
}

function words(region: FileRegion): Int32Array {
  return new Int32Array(region.buffer);
}

test('what one mapping writes the next one finds', (t) => {
  const path = filePath(t);
  const first = mapFile(path, LENGTH, 7);
  t.is(first.found, 'nothing');
  t.is(first.length, LENGTH);
  words(first)[5] = 42;
  first.unmap();
  const second = mapFile(path, LENGTH, 7);
  t.is(second.found, 'kept');
  t.is(words(second)[5], 42);
  second.unmap();
});

test('a process that is killed leaves what it wrote last', (t) => {
  const path = filePath(t);
  const script = `
    const { mapFile } = await import(${JSON.stringify(resolve('dist/io/memory.js'))});
    const words = new Int32Array(mapFile(${JSON.stringify(path)}, ${LENGTH}, 7).buffer);
    words[9] = 4711;
    process.kill(process.pid, 'SIGKILL');`;
  const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  t.is(signal, 'SIGKILL', stderr);
  const region = mapFile(path, LENGTH, 7);
  t.is(region.found, 'kept');
  t.is(words(region)[9], 4711);
  region.unmap();
});

test('another layout, another length and another boot start from zero', (t) => {
  const path = filePath(t);
  const leave = (): void => {
    const region = mapFile(path, LENGTH, 7);
    words(region).fill(-1);
    region.unmap();
  };
  const expectClean = (region: FileRegion, found: FileRegion['found']): void => {
    t.is(region.found, found);
    t.true(words(region).every((word) => word === 0));
    region.unmap();
  };
  leave();
  expectClean(mapFile(path, LENGTH, 8), 'other layout');
  leave();
  expectClean(mapFile(path, 2 * LENGTH, 7), 'other layout');
  leave();
  const bytes = readFileSync(path);
  bytes[16] = (bytes[16] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  expectClean(mapFile(path, LENGTH, 7), 'other boot');
});

test('a file that was cut short, or holds something else, starts from zero', (t) => {
  const path = filePath(t);
  mapFile(path, LENGTH, 7).unmap();
  truncateSync(path, 2 * PAGE);
  const cut = mapFile(path, LENGTH, 7);
  t.is(cut.found, 'other layout');
  cut.unmap();
  writeFileSync(path, Buffer.alloc(PAGE + LENGTH, 0x61));
  const text = mapFile(path, LENGTH, 7);
  t.is(text.found, 'other layout');
  t.true(words(text).every((word) => word === 0));
  text.unmap();
});

test('pages that nobody touched take no room, also after another layout', (t) => {
  const path = filePath(t);
  const large = 64 << 20;
  mapFile(path, large, 7).unmap();
  const region = mapFile(path, large, 8);
  t.is(statSync(path).size, large + PAGE);
  t.true(statSync(path).blocks * 512 < 1 << 20);
  region.unmap();
});

test('a symbolic link is refused', (t) => {
  const path = filePath(t);
  symlinkSync('/etc/hostname', path);
  t.throws(() => mapFile(path, LENGTH, 7), { message: /ELOOP/ });
});
