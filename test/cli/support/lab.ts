/** The command line against a daemon over doubles. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCli } from '../../../cli/program.js';
import { startApi } from '../../../control/api.js';
import { config, type Fixture, makeFixture, NETWORKS } from '../../control/support/fixture.js';

class Collected extends Writable {
  readonly isTTY: boolean;
  bytes = Buffer.alloc(0);

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    done();
  }
}

export interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly bytes: Buffer;
}

export async function cli(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; isTTY?: boolean } = {},
): Promise<Result> {
  const stdout = new Collected(options.isTTY ?? false);
  const stderr = new Collected(false);
  const code = await runCli(args, { stdout, stderr, env: options.env ?? {}, exitCode: 0 });
  return { code, out: stdout.bytes.toString(), err: stderr.bytes.toString(), bytes: stdout.bytes };
}

/** Runs a command with --watch whose reader goes behind the third line. @returns the lines */
export async function watch(t: ExecutionContext, env: NodeJS.ProcessEnv, args: readonly string[]): Promise<string[]> {
  const stdout = new PassThrough();
  let text = '';
  stdout.on('data', (chunk) => {
    text += chunk;
    if (text.split('\n').length > 3) stdout.destroy(new Error('the reader has gone'));
  });
  const context = { stdout, stderr: new PassThrough(), env, exitCode: 0 };
  t.is(await runCli(args, context), 0);
  const lines = text.trimEnd().split('\n');
  t.is(lines.length, 3);
  return lines;
}

export interface Lab extends Fixture {
  readonly run: (...args: string[]) => Promise<Result>;
  readonly env: NodeJS.ProcessEnv;
  readonly directory: string;
}

/** A daemon over doubles behind a real socket. @param devices of the host */
export async function makeLab(t: ExecutionContext, yaml = NETWORKS, devices: readonly string[] = []): Promise<Lab> {
  const fixture = makeFixture();
  for (const device of devices) fixture.system.devices.add(device);
  await fixture.daemon.apply(config(yaml));
  for (const name of ['a', 'b']) fixture.system.addNamespace(`/ns/${name}`);
  const directory = mkdtempSync(join(tmpdir(), 'tapline-cli-'));
  const socket = join(directory, 't.sock');
  const api = await startApi(fixture.daemon, pino({ level: 'silent' }), socket);
  t.teardown(async () => {
    await api.close();
    await fixture.daemon.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const env = { TAPLINE_SOCKET: socket };
  return { ...fixture, env, directory, run: (...args) => cli(args, { env }) };
}
