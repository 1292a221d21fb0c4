/** Servers of FTP and TFTP with a file to fetch and a place to put one, and clients that do; files are compared, byte for byte. */

import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import type { Result } from './process.js';
import { eventually } from './wait.js';

/** A folder that servers give away from, and take into. */
export interface Store {
  readonly root: string;
  /** SHA-256 of the file `down`. */
  readonly down: string;
  /** Bytes of it, and of what is put there. */
  readonly size: number;
}

/** Servers give up their rights: everybody may read, and write in `in`. */
export function createStore(t: ExecutionContext, size: number): Store {
  const root = temporaryDirectory(t);
  chmodSync(root, 0o755);
  mkdirSync(join(root, 'in'));
  chmodSync(join(root, 'in'), 0o777);
  return { root, down: writeRandom(join(root, 'down'), size), size };
}

/** @returns SHA-256 of what was written */
function writeRandom(file: string, size: number): string {
  writeFileSync(file, randomBytes(size), { mode: 0o644 });
  return sha256(file);
}

function sha256(file: string): string {
  return existsSync(file) ? createHash('sha256').update(readFileSync(file)).digest('hex') : 'no file';
}

/** vsftpd at one address. It takes no order of a client's to connect to anybody but that client. */
export async function serveFtp(t: ExecutionContext, where: Namespace, address: string, { root }: Store): Promise<void> {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'vsftpd.conf');
  const settings = {
    ...(address.includes(':')
      ? { listen: 'NO', listen_ipv6: 'YES', listen_address6: address }
      : { listen: 'YES', listen_ipv6: 'NO', listen_address: address }),
    background: 'NO',
    anonymous_enable: 'YES',
    no_anon_password: 'YES',
    anon_root: root,
    anon_upload_enable: 'YES',
    anon_umask: '022',
    write_enable: 'YES',
    // Of the package, as its home must exist.
    ftp_username: 'ftp',
    connect_from_port_20: 'YES',
    accept_timeout: '5',
    connect_timeout: '5',
    secure_chroot_dir: directory,
    // What it shuts itself into takes longer than a transfer.
    isolate: 'NO',
    isolate_network: 'NO',
    seccomp_sandbox: 'NO',
  };
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  );
  where.start('vsftpd', file);
  await eventually(`FTP at ${address}`, async () => (await listening(where, '-lt', 21)).includes(address));
}

/** tftpd-hpa at all addresses of a family. */
export async function serveTftp(where: Namespace, family: 4 | 6, { root }: Store): Promise<void> {
  where.start('in.tftpd', '--listen', '--foreground', `-${family}`, '--create', '--secure', root);
  await eventually('TFTP', async () => (await listening(where, `-lu${family}`, 69)) !== '');
}

async function listening(where: Namespace, kind: string, port: number): Promise<string> {
  return where.exec('ss', `-Hn${kind.slice(1)}`, 'sport', '=', `:${port}`);
}

/** What came of fetching `down` and of putting a file to `in`. */
export interface Outcome {
  /** Exit codes of the client. */
  readonly codes: readonly [number | null, number | null];
  /** Whether both files are where they should be, and what they should be. */
  readonly whole: boolean;
  /** What the client said. */
  readonly text: string;
}

let count = 0;

/** Fetches and puts with curl, which says what the server and it say. @param url of the store's root */
export async function curlBoth(
  t: ExecutionContext,
  from: Namespace,
  store: Store,
  url: string,
  ...options: string[]
): Promise<Outcome> {
  const base = ['curl', '-sS', '-v', '--noproxy', '*', '--connect-timeout', '4', '-m', '20', ...options];
  return both(t, store, {
    get: (file) => from.run([...base, '-o', file, `${url}/down`]),
    put: (file, name) => from.run([...base, '-T', file, `${url}/in/${name}`]),
  });
}

/** Fetches and puts with tftp-hpa. */
export async function tftpBoth(t: ExecutionContext, from: Namespace, store: Store, host: string): Promise<Outcome> {
  const base = ['tftp', '-m', 'binary', host];
  const said = async (result: Promise<Result>): Promise<Result> => {
    const { code, ...rest } = await result;
    // It ends with 0 whatever became of it.
    return { ...rest, code: /timed out|Error code/.test(`${rest.stdout}${rest.stderr}`) ? 1 : code };
  };
  return both(t, store, {
    get: (file) => said(from.run([...base, '-c', 'get', 'down', file])),
    put: (file, name) => said(from.run([...base, '-c', 'put', file, `in/${name}`])),
  });
}

interface Client {
  get(file: string): Promise<Result>;
  put(file: string, name: string): Promise<Result>;
}

async function both(t: ExecutionContext, { root, down, size }: Store, client: Client): Promise<Outcome> {
  const directory = temporaryDirectory(t);
  const name = `up-${++count}`;
  const fetched = join(directory, 'down');
  const file = join(directory, name);
  const up = writeRandom(file, size);
  const got = await client.get(fetched);
  const put = await client.put(file, name);
  return {
    codes: [got.code, put.code],
    whole: sha256(fetched) === down && sha256(join(root, 'in', name)) === up,
    text: [got, put].map(({ stdout, stderr }) => `${stdout}${stderr}`).join('\n'),
  };
}
