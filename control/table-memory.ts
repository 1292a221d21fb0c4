/**
 * The memory of the tables that outlive a worker, and, where it is a file's, the process: FDB and flows. Everything else that the
 * dataplane knows is told to it anew.
 */

import { FLOW_WORDS } from '../core/nat/flow.js';
import { flowTableBytes } from '../core/nat/flow-table.js';
import { fdbWords, GENERATION_WORDS } from '../core/switch/fdb.js';
import { type Found, mapFile, mapRegion, unmapRegion } from '../io/memory.js';
import { FDB_CAPACITY } from './capacities.js';

/** To be raised when the meaning of a word in these tables changes and no size does. */
const LAYOUT_VERSION = 3;
/** Int32 a flow of IPv6 addresses: four addresses (core/nat/flow.ts). */
const ADDRESS_WORDS = 16;
/** Bytes. Tables begin on cache lines. */
const ALIGNMENT = 64;

/** Some int32 words within the region. */
export interface TablePart {
  /** Bytes from the region's start. */
  readonly offset: number;
  readonly words: number;
}

/** Where the tables lie; plain values, so that a worker can be handed them. */
export interface TableLayout {
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  readonly fdb: TablePart;
  readonly generations: TablePart;
  readonly flows: TablePart;
  readonly addresses6: TablePart;
  /** Flows that there is room for. */
  readonly flowCapacity: number;
}

export interface TableMemory extends TableLayout {
  readonly buffer: ArrayBuffer;
  readonly found: Found;
  /** What is in a file stays there. */
  unmap(): void;
}

/** The words of a part. @param buffer the region, as seen by this thread */
export function tableWords(buffer: ArrayBuffer, { offset, words }: TablePart): Int32Array {
  return new Int32Array(buffer, offset, words);
}

function arrange(flowCapacity: number): Omit<TableLayout, 'address'> {
  let length = 0;
  const part = (words: number): TablePart => {
    const offset = length;
    length += Math.ceil((words * 4) / ALIGNMENT) * ALIGNMENT;
    return { offset, words };
  };
  const parts = {
    fdb: part(fdbWords(FDB_CAPACITY)),
    generations: part(GENERATION_WORDS),
    flows: part(flowTableBytes(flowCapacity) / 4),
    addresses6: part(flowCapacity * ADDRESS_WORDS),
  };
  return { ...parts, length, flowCapacity };
}

/** Bytes that the tables take at most. */
export function tableBytes(flowCapacity: number): number {
  return arrange(flowCapacity).length;
}

/** A number that any change of the layout changes (FNV-1a over the words that fix it). */
export function layoutHash(flowCapacity: number, version = LAYOUT_VERSION): number {
  const words = [
    version,
    fdbWords(FDB_CAPACITY),
    FDB_CAPACITY,
    GENERATION_WORDS,
    FLOW_WORDS,
    ADDRESS_WORDS,
    flowCapacity,
  ];
  return words.reduce((hash, word) => Math.imul(hash ^ word, 0x01000193), 0x811c9dc5 | 0);
}

/**
 * @param path of the file; null: memory that ends with the process
 * @throws Error, one line
 */
export function mapTables(flowCapacity: number, path: string | null): TableMemory {
  const arranged = arrange(flowCapacity);
  if (path !== null) {
    const { address, buffer, found, unmap } = mapFile(path, arranged.length, layoutHash(flowCapacity));
    return { ...arranged, address, buffer, found, unmap };
  }
  const region = mapRegion(arranged.length);
  const { address, buffer } = region;
  return { ...arranged, address, buffer, found: 'nothing', unmap: () => unmapRegion(region) };
}
