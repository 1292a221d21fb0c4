/**
 * Network namespaces named `tl-PID-THREAD-N`, removed with what runs in them when the test ends. What an earlier run left
 * behind because it was killed is recognised by a PID that is gone, and removed before the first one is made.
 */

import { existsSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import type { ExecutionContext } from 'ava';
import { type Background, describe, must, type Result, type RunOptions, run, start } from './process.js';

const OURS = /^tl-(\d+)-\d+-\d+$/;

export interface Namespace {
  readonly name: string;
  readonly path: string;
  /** Runs a program in it; must succeed. Resolves to its standard output. */
  exec(...argv: string[]): Promise<string>;
  /** Runs a program in it, whatever its exit code. */
  run(argv: readonly string[], options?: RunOptions): Promise<Result>;
  /** Starts a program in it, ended with the test. */
  start(...argv: string[]): Background;
  /** The prefix that makes a program run in it. */
  argv(...argv: string[]): string[];
  /** Removes it before the test ends. */
  remove(): Promise<void>;
}

let count = 0;
let swept: Promise<void> | null = null;

export async function createNamespace(t: ExecutionContext): Promise<Namespace> {
  swept ??= removeStale();
  await swept;
  const name = `tl-${process.pid}-${threadId}-${++count}`;
  await must(['ip', 'netns', 'add', name]);
  t.teardown(() => removeNamespace(name));
  await must(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
  const inside = (argv: readonly string[]): string[] => ['ip', 'netns', 'exec', name, ...argv];
  return {
    name,
    path: `/run/netns/${name}`,
    argv: (...argv) => inside(argv),
    exec: (...argv) => must(inside(argv)),
    run: (argv, options) => run(inside(argv), options),
    start: (...argv) => start(t, inside(argv)),
    remove: () => removeNamespace(name),
  };
}

/** Ends the processes in a namespace of ours, and removes it. Nothing to do when it is gone. */
async function removeNamespace(name: string): Promise<void> {
  const isGone = (): boolean => !existsSync(`/run/netns/${name}`);
  if (isGone()) return;
  const { stdout: pids } = await run(['ip', 'netns', 'pids', name]);
  for (const pid of pids.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself in between.
    }
  }
  const removal = await run(['ip', 'netns', 'del', name]);
  // Suites that start at the same time find the same leftovers, and one of them is the first.
  if (removal.code !== 0 && !isGone()) throw new Error(`ip netns del ${name}: ${describe(removal)}`);
}

async function removeStale(): Promise<void> {
  const { stdout } = await run(['ip', 'netns', 'list']);
  for (const line of stdout.split('\n')) {
    const name = line.split(' ')[0] ?? '';
    const pid = OURS.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await removeNamespace(name);
  }
}
