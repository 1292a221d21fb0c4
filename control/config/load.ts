/** A configuration from a YAML file, or one line that says where it is wrong and what was expected. */

import { readFile } from 'node:fs/promises';
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type ParsedNode, parseAllDocuments } from 'yaml';
import { TaplineError } from '../errors.js';
import { checkConfiguration } from './check.js';
import { describeValue, invalid, type KeyPath, type Problem, problemLine } from './problems.js';
import { readWith } from './read.js';
import { type Configuration, fileSchema } from './schema.js';

function fail(file: string, line: string): never {
  throw new TaplineError('invalid', `${file}: ${line}`);
}

/** Keys given twice and keys that are not plain text: a parser that took the last one would hide a mistake. */
function keyProblems(node: unknown, path: KeyPath, lines: LineCounter, problems: Problem[]): void {
  if (isSeq(node)) {
    node.items.forEach((item, index) => {
      keyProblems(item, [...path, index], lines, problems);
    });
  }
  if (!isMap(node)) return;
  const seen = new Map<string, number>();
  for (const pair of node.items) {
    if (!isScalar(pair.key) || isAlias(pair.key) || !['string', 'number'].includes(typeof pair.key.value)) {
      const value = isScalar(pair.key) ? pair.key.value : {};
      problems.push(invalid(path, `expected a plain text key, got ${describeValue(value)}`));
      continue;
    }
    const key = String(pair.key.value);
    const line = lines.linePos(pair.key.range?.[0] ?? 0).line;
    const before = seen.get(key);
    if (before !== undefined) problems.push(invalid([...path, key], `key given twice, in lines ${before} and ${line}`));
    else if (key === '__proto__') problems.push(invalid(path, 'unknown key "__proto__"'));
    seen.set(key, before ?? line);
    keyProblems(pair.value, [...path, key], lines, problems);
  }
}

function parseYaml(text: string, file: string): unknown {
  const lineCounter = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter, prettyErrors: false, uniqueKeys: false });
  const documents = (Array.isArray(parsed) ? parsed : []) as Document.Parsed<ParsedNode>[];
  for (const document of documents) {
    const trouble = document.errors[0] ?? document.warnings[0];
    if (trouble === undefined) continue;
    const { line, col } = lineCounter.linePos(trouble.pos[0]);
    fail(file, `line ${line}, column ${col}: not valid YAML: ${trouble.message.split('\n', 1)[0]}`);
  }
  if (documents.length > 1) fail(file, `expected one YAML document, got ${documents.length}`);
  const document = documents[0];
  if (document === undefined || document.contents === null)
    fail(file, 'expected a mapping that begins with version: 1, got an empty file');
  const problems: Problem[] = [];
  keyProblems(document.contents, [], lineCounter, problems);
  if (problems.length > 0) fail(file, problemLine(problems));
  try {
    return document.toJS();
  } catch (error) {
    // The library's guard against aliases that multiply without end.
    return fail(file, `not valid YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * The first round that finds problems ends the search: shape, then what is wrong between objects.
 *
 * @param file name for the error line
 * @throws TaplineError of kind `invalid`
 */
export function parseConfiguration(text: string, file: string): Configuration {
  const read = readWith(fileSchema, parseYaml(text, file));
  if ('problems' in read) return fail(file, problemLine(read.problems));
  const { uplink, vrfs, networks, endpoints, mirrors, services, policy, nat } = read.value;
  const config: Configuration = {
    uplink: uplink ?? null,
    vrfs: new Map(Object.entries(vrfs)),
    networks: new Map(Object.entries(networks)),
    endpoints: new Map(Object.entries(endpoints)),
    mirrors: new Map(Object.entries(mirrors)),
    services: new Map(Object.entries(services)),
    policy,
    nat,
  };
  const problems = checkConfiguration(config);
  if (problems.length > 0) fail(file, problemLine(problems));
  return config;
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'is a directory; expected a YAML file',
  EACCES: 'permission denied',
};

/** @throws TaplineError of kind `invalid`, whose message begins with the file's name */
export async function loadConfiguration(file: string): Promise<Configuration> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    return fail(file, READ_ERRORS[code] ?? (error instanceof Error ? error.message : String(error)));
  }
  return parseConfiguration(decode(bytes, file), file);
}

/** Characters put in the place of bytes that are none would make names nobody wrote. */
function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail(file, 'expected text in UTF-8');
  }
}
