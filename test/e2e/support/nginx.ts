/** nginx in a namespace, as an image of it runs: its name as the answer, a log of who has asked, connections that it keeps alive. */

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import { run } from './process.js';
import { eventually } from './wait.js';

export interface Nginx {
  /** Addresses and request lines, as its log has them. */
  log(): string[];
  /** SIGQUIT: answers what has been asked, and ends. */
  quit(): Promise<void>;
  /** SIGKILL to all of its processes. */
  kill(): Promise<void>;
}

export interface NginxOptions {
  readonly port?: number;
  /** Requests after which it ends a connection. */
  readonly keepaliveRequests?: number;
  /** Bytes of `/large`, and how many of them it gives away a second; 0: as fast as it can. */
  readonly large?: number;
  readonly rate?: number;
}

/** Paths that a Debian nginx would keep in /var/lib. */
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** Serves in both families: `/` says the name, `/large` is a file. */
export async function startNginx(
  t: ExecutionContext,
  where: Namespace,
  name: string,
  { port = 80, keepaliveRequests = 1000, large = 0, rate = 0 }: NginxOptions = {},
): Promise<Nginx> {
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755);
  mkdirSync(join(directory, 'root'));
  if (large > 0) writeFileSync(join(directory, 'root', 'large'), Buffer.alloc(large));
  const [file, log] = [join(directory, 'nginx.conf'), join(directory, 'access.log')];
  writeFileSync(
    file,
    `
    user root;
    daemon off;
    worker_processes 1;
    pid ${join(directory, 'pid')};
    error_log stderr;
    events { worker_connections 4096; }
    http {
      log_format who '$remote_addr "$request" $status';
      access_log ${log} who;
      ${TEMPORARY.map((kind) => `${kind}_temp_path ${join(directory, kind)};`).join('\n')}
      server {
        listen ${port};
        listen [::]:${port} ipv6only=on;
        keepalive_requests ${keepaliveRequests};
        root ${join(directory, 'root')};
        location = / { return 200 "${name}\\n"; }
        location = /large { limit_rate ${rate}; }
      }
    }`,
  );
  const master = where.start('nginx', '-c', file, '-e', 'stderr');
  await eventually('nginx to listen', async () => {
    if (!master.running()) throw new Error(`nginx: ${master.stderr()}`);
    return (await where.exec('ss', '-Hltn', 'sport', '=', `:${port}`)).split('\n').length > 2;
  });
  return {
    log: () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : []),
    quit: async () => {
      await master.stop('SIGQUIT');
    },
    kill: async () => {
      const children = readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, 'utf8').trim().split(' ');
      // All at once: a master would start another worker.
      await run(['kill', '-KILL', String(master.pid), ...children]);
      await master.ended;
    },
  };
}

export interface WrkResult {
  readonly requests: number;
  /** What it says of errors: sockets, timeouts, other statuses than 2xx and 3xx. Empty where it has seen none. */
  readonly errors: string;
  readonly text: string;
}

/** Reads what wrk says at its end. */
export function readWrk(text: string): WrkResult {
  const errors = text.match(/^\s*(Socket errors|Non-2xx).*$/gm) ?? [];
  return {
    requests: Number(/(\d+) requests in/.exec(text)?.[1] ?? 0),
    errors: errors.map((line) => line.trim()).join('\n'),
    text,
  };
}
