/** `tapline capture`: frames of an endpoint, the uplink or a whole network as pcapng, to a file or down a pipe. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { firstLine, TaplineError } from '../control/errors.js';
import type { ApiClient } from './client.js';
import { type Context, clientOf, usageError, wantsJson, withJson, withSocket } from './context.js';

interface CaptureOptions {
  readonly write?: string;
  readonly count?: string;
  readonly snaplen?: string;
}

const EXAMPLES = `
TARGET is an endpoint or a network (endpoint:NAME and network:NAME where both have the name), or "uplink". A capture of
a network has each frame once, where it came in. Ctrl-C ends the capture and leaves a whole file.

Examples:
  tapline capture blue | tcpdump -nr -
  tapline capture a -w a.pcapng --count 100
  tapline capture uplink --snaplen 128 -w - | wireshark -k -i -`;

async function openFile(path: string, incoming: IncomingMessage): Promise<Writable> {
  const file = createWriteStream(path, { flags: 'w', mode: 0o600 });
  try {
    await once(file, 'open');
  } catch (error) {
    incoming.destroy();
    throw new TaplineError('failure', `cannot write ${path}: ${firstLine(error)}`);
  }
  return file;
}

/**
 * Copies until the daemon ends the capture or the reader behind `output` goes away.
 * @throws TaplineError when the daemon dies or a file cannot be written
 */
function copy(incoming: IncomingMessage, output: Writable, isFile: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    output.on('error', (error: NodeJS.ErrnoException) => {
      incoming.destroy();
      // A reader such as `tcpdump -c 5` or `head` that has seen enough is no failure.
      if (error.code === 'EPIPE') resolve();
      else reject(new TaplineError('failure', `cannot write the capture: ${firstLine(error)}`));
    });
    incoming.on('error', () => reject(new TaplineError('failure', 'the daemon went away during the capture')));
    incoming.on('end', () => {
      if (!isFile) resolve();
    });
    incoming.on('close', () => {
      // Cut off by us, since the daemon did not answer: what has come is whole blocks all the same.
      if (incoming.complete) return;
      if (isFile) output.end();
      else resolve();
    });
    if (isFile) output.on('finish', resolve);
    incoming.pipe(output, { end: isFile });
  });
}

/** Asks the daemon to end the capture, so that the stream ends whole; without an answer the stream is cut. */
function endOnSignal(client: ApiClient, incoming: IncomingMessage): () => void {
  const end = (): void => {
    const id = incoming.headers['x-tapline-capture'];
    client.delete(`/v1/capture/${String(id)}`).catch(() => incoming.destroy());
  };
  process.once('SIGINT', end).once('SIGTERM', end);
  return () => {
    process.off('SIGINT', end).off('SIGTERM', end);
  };
}

function count(incoming: IncomingMessage, name: string): number {
  return Number(incoming.trailers[name] ?? 0);
}

async function capture(
  target: string,
  options: CaptureOptions,
  client: ApiClient,
  json: boolean,
  context: Context,
): Promise<void> {
  const file = options.write === undefined || options.write === '-' ? null : options.write;
  if (file === null && context.stdout.isTTY === true) {
    throw usageError(
      'a capture is not for the terminal; give -w FILE, or pipe it: tapline capture TARGET | tcpdump -nr -',
    );
  }
  const { snaplen, count: limit } = options;
  const incoming = await client.stream('/v1/capture', { target, snaplen, count: limit });
  const output = file === null ? (context.stdout as Writable) : await openFile(file, incoming);
  const forget = endOnSignal(client, incoming);
  try {
    await copy(incoming, output, file !== null);
  } finally {
    forget();
  }
  if (!incoming.complete) return;
  const frames = count(incoming, 'x-tapline-frames');
  const lost = count(incoming, 'x-tapline-lost');
  const report = file === null ? context.stderr : context.stdout;
  report.write(
    json ? `${JSON.stringify({ target, file, frames, lost })}\n` : `${frames} frames captured, ${lost} lost\n`,
  );
}

export function registerCapture(program: Command, context: Context): void {
  withJson(withSocket(program.command('capture')))
    .argument('<target>')
    .description('capture frames as pcapng')
    .option('-w, --write <file>', 'file to write; - for stdout (default: stdout)')
    .option('--count <frames>', 'end after so many frames')
    .option('--snaplen <bytes>', 'keep at most so many bytes of each frame')
    .addHelpText('after', EXAMPLES)
    .action(async (target: string, options: CaptureOptions, command: Command) => {
      await capture(target, options, clientOf(command, context), wantsJson(command), context);
    });
}
