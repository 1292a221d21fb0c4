/** What a command sees of the process around it, so that tests can run commands without being one. */

import type { Command } from 'commander';
import { socketPath } from '../control/socket.js';
import { ApiClient } from './client.js';

export interface Output {
  readonly isTTY?: boolean;
  write(chunk: string | Uint8Array): boolean;
}

export interface Context {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: Output;
  readonly env: NodeJS.ProcessEnv;
  /** Exit code of a command that ended without an error; only `run` and `vxlan probe` change it. */
  exitCode: number;
}

/** An error that decides the exit code itself. */
export class ExitError extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, line: string) {
    super(line);
    this.exitCode = exitCode;
  }
}

export function usageError(line: string): ExitError {
  return new ExitError(2, line);
}

interface CommonOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

/** `--socket`, on every command that talks to a daemon; also before the command's name. */
export function withSocket(command: Command): Command {
  return command.option('--socket <path>', 'control socket of the daemon (TAPLINE_SOCKET)');
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON');
}

export function socketOf(command: Command, context: Context): string {
  // What is said behind the command's name is the more particular; optsWithGlobals alone would prefer the other.
  const { socket } = command.opts<CommonOptions>();
  return socketPath(socket ?? command.optsWithGlobals<CommonOptions>().socket, context.env);
}

export function clientOf(command: Command, context: Context): ApiClient {
  return new ApiClient(socketOf(command, context));
}

export function wantsJson(command: Command): boolean {
  return command.optsWithGlobals<CommonOptions>().json === true;
}

/** For repeatable options: collects the values in order. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** A number where the text is one; else the text, about which the schema then says what it expected. */
export function numeric(text: string): number | string {
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}
