/**
 * Longest-prefix match on flat arrays: what the IPv4 and the IPv6 table have in common.
 *
 * A trie by bytes. The node of level k decides by byte k and holds the prefixes of 8k + 1 to 8k + 8 bits (the root that of 0 bits as
 * well) that agree on the bytes before. So a prefix belongs to one node, and to add or remove it changes that node and at most
 * the `above` of its children.
 *
 *   entry   one word: 0 none · positive: length << 21 | value, the prefix of this node that wins here, its length counted from the
 *           node's first bit · negative: ~reference of a child
 *   node    a block (blocks.ts) of ranges: the 256 values of the byte, ascending, the first at 0, no two neighbours with the same
 *           entry. A child has a range of its own, one wide; what would be in its place is its `above`. Dense nodes are
 *           tables: 256 entries by value
 *   list    a block of the node's prefixes: first value and entry, by value, then length. Lookups never read it; it says what is
 *           there, and what takes over after a removal. Lists have an array of their own, so that the nodes lie closer together
 *
 * A lookup goes down to the last node, and takes the last entry or `above` that was not 0. Ranges are searched without a branch on
 * what is read.
 *
 * Why so. Nanoseconds a lookup are those of the fastest calls on two cores shared with others, where a random read of 20 MB takes
 * 30 ns, and 140 if it waits for another; on average, with those others at work, tables that exceed the caches take up to twice as long.
 *   a million IPv4 prefixes as in BGP, destinations drawn from all: 36 to 55 ns, 32 MB. With units of 16 bits and ranges only: 250 ns,
 *   21 MB, as the search reads three lines that wait for each other. With 16, 8 and 8 bits: 48 ns, 38 MB
 *   a million of all lengths at random, which no router has: 120 to 190 ns, 54 MB; with 16, 8 and 8 bits 97 MB
 *   200,000 IPv6 prefixes: 78 to 104 ns, 12 MB; with units of 16 bits 190 to 210
 *   ten routes, 10 KB: 13 ns for two hosts in turn, 18 for all in random order, which is mispredicted branches
 * A change takes microseconds; one that moves everything into a larger array up to 0.1 s in a table of a million.
 */

import {
  Blocks,
  blockWords,
  capacityOf,
  entriesOf,
  HEADER,
  OWN_1,
  OWN_2,
  ownNumber,
  startsOf,
  TABLE,
  TABLE_ENTRIES,
  TABLE_WORDS,
} from './blocks.js';

/** What lookups say where nothing matches. */
export const NO_MATCH = 0;
export const MAX_VALUE = 1 << 20;

/** Answers of `insert`. */
export const FULL = 0;
export const INSERTED = 1;
export const REPLACED = 2;

const LENGTH_SHIFT = 21;
export const VALUE_MASK = (1 << LENGTH_SHIFT) - 1;

/** Words of a node's header: the entry that would stand in its place, and its list (offset in `lists`, or 0). */
export const ABOVE = OWN_1;
const PREFIXES = OWN_2;

const MAX_LEVELS = 16;

/**
 * Prefixes and children from which a node is a table: in a small FIB, and for the first two bytes, which every lookup passes, at once
 * (ten routes: 18 ns instead of 23; 257 tables at most in either case); elsewhere where a table takes no more than about five times
 * what ranges take.
 */
const TOP_LEVELS = 2;
const SMALL_FIB = 256;
const TABLE_FROM_EASY = 2;
const TABLE_FROM = 20;
/** A table has ranges again below a half of that: no node changes its form to and fro. */
const BACK_SHIFT = 1;

const MIN_WORDS = 64;
/** Up to here arrays grow by a half, above by an eighth. */
const LARGE_WORDS = 1 << 20;

/**
 * The entry of a node for a value of its unit. The search takes no branch on what it reads: with random addresses every second one
 * would be mispredicted.
 * @param reference the node as it stands in entries: its offset << 1, and 1 where it is a table
 */
export function entryFor(words: Int32Array, bytes: Uint8Array, reference: number, unit: number): number {
  const node = reference >> 1;
  if ((reference & 1) !== 0) return words[node + HEADER + unit];
  const starts = (node + HEADER) << 2;
  let left = words[node];
  let at = starts;
  while (left > 1) {
    const half = left >> 1;
    at += half & ~((unit - bytes[at + half]) >> 31);
    left -= half;
  }
  return words[entriesOf(words, node) + at - starts];
}

/** The level whose nodes hold prefixes of that length. */
function levelOf(length: number): number {
  return length === 0 ? 0 : (length - 1) >> 3;
}

function putByte(address: Int32Array, level: number, byte: number): void {
  const shift = 24 - ((level & 3) << 3);
  address[level >> 2] = (address[level >> 2] & ~(0xff << shift)) | (byte << shift);
}

/** Room of a new node: what it says first, and a slot parted from that on both sides. */
const NEW_NODE = 4;

/** Length of an array that must hold so many words. */
function roomy(words: number): number {
  return Math.max(MIN_WORDS, words + (words < LARGE_WORDS ? words >> 1 : words >> 3));
}

function isMostlyEmpty(blocks: Blocks): boolean {
  return blocks.words.length > MIN_WORDS && blocks.used * 4 < blocks.words.length;
}

/** Sees every prefix by ascending address, the shorter first; `address`, four words, is borrowed for the call. */
type UnitVisitor = (address: Int32Array, length: number, value: number) => void;

export class PrefixTable {
  /** Prefixes it may hold. */
  readonly maximum: number;
  /** Prefixes it holds. */
  count = 0;
  /** Bytes of an address. */
  private readonly levels: number;
  /** Memory of `nodes`, for lookups. */
  protected words = new Int32Array(0);
  protected bytes = new Uint8Array(0);
  /** Reference of the root. */
  protected root = 0;
  /** The address that an operation is about, by byte; filled by `aim`. */
  private readonly units = new Int32Array(MAX_LEVELS);
  /** Nodes from the root to that address, by level; good until blocks move. */
  private readonly path = new Int32Array(MAX_LEVELS);
  private readonly nodes = new Blocks();
  private readonly lists = new Blocks();

  /**
   * @param levels bytes of an address: 4 or 16
   * @param maximum prefixes that it may hold
   */
  constructor(levels: number, maximum: number) {
    if (!Number.isInteger(maximum) || maximum < 1)
      throw new RangeError(`prefix table: maximum ${maximum} is not 1 or more`);
    this.levels = levels;
    this.maximum = maximum;
    this.clear();
  }

  /** Memory that it takes now. */
  get memory(): number {
    return this.nodes.words.byteLength + this.lists.words.byteLength;
  }

  clear(): void {
    this.nodes.startAgain(MIN_WORDS);
    this.lists.startAgain(MIN_WORDS);
    this.words = this.nodes.words;
    this.bytes = this.nodes.bytes;
    this.count = 0;
    this.root = this.makeNode(0) << 1;
  }

  /** Moves all nodes into the order in which lookups pass them: for after many inserts. Takes as long as some of them. */
  compact(): void {
    this.move(0, 0);
  }

  /**
   * Takes a prefix, word by word, as the one that the next operation is about; host bits are left out.
   * @throws RangeError for a length that cannot be
   */
  protected aim(length: number, a: number, b: number, c: number, d: number): void {
    const bits = this.levels * 8;
    if (!Number.isInteger(length) || length < 0 || length > bits)
      throw new RangeError(`prefix length ${length} is not 0 to ${bits}`);
    for (let level = 0; level < this.levels; level++) {
      const word = level < 8 ? (level < 4 ? a : b) : level < 12 ? c : d;
      const kept = Math.max(0, Math.min(8, length - level * 8));
      this.units[level] = (word >>> (24 - ((level & 3) << 3))) & (0xff00 >> kept) & 0xff;
    }
  }

  /** Inserts or replaces `units`/`length`: INSERTED, REPLACED, or FULL with nothing changed. */
  protected insertUnits(length: number, value: number): number {
    if (!Number.isInteger(value) || value < 1 || value > MAX_VALUE)
      throw new RangeError(`value ${value} of a prefix is not 1 to ${MAX_VALUE}`);
    const level = levelOf(length);
    const within = length - level * 8;
    const known = this.find(level, within) >= 0;
    if (!known && this.count >= this.maximum) return FULL;
    this.reserve(level);
    if (!known) this.reach(level);
    const entry = (within << LENGTH_SHIFT) | value;
    this.note(level, entry);
    this.paint(level, within, 0, entry);
    if (known) return REPLACED;
    this.count++;
    this.makeTable(level);
    return INSERTED;
  }

  /** Value of exactly that prefix, or 0. */
  protected getUnits(length: number): number {
    const level = levelOf(length);
    const place = this.find(level, length - level * 8);
    return place < 0 ? NO_MATCH : this.lists.words[place] & VALUE_MASK;
  }

  /** Removes `units`/`length`; false where it is not there. */
  protected removeUnits(length: number): boolean {
    const level = levelOf(length);
    const within = length - level * 8;
    if (this.find(level, within) < 0) return false;
    this.reserve(level);
    const cover = this.coverOf(level, within);
    this.forget(level, within);
    this.paint(level, within, within, cover);
    this.count--;
    this.tidy(level);
    if (isMostlyEmpty(this.nodes) || isMostlyEmpty(this.lists)) this.move(0, 0);
    return true;
  }

  protected visit(visitor: UnitVisitor): void {
    this.visitNode(this.root >> 1, 0, new Int32Array(4), visitor);
  }

  /** @param address that of the node, host bits 0; changed meanwhile */
  private visitNode(node: number, level: number, address: Int32Array, visitor: UnitVisitor): void {
    const { words, bytes } = this;
    const lists = this.lists.words;
    const list = words[node + PREFIXES];
    const prefixes = list === 0 ? 0 : lists[list];
    let next = 0;
    const upTo = (slot: number): void => {
      for (; next < prefixes && this.lists.bytes[startsOf(list) + next] <= slot; next++) {
        const entry = lists[entriesOf(lists, list) + next];
        putByte(address, level, this.lists.bytes[startsOf(list) + next]);
        visitor(address, level * 8 + (entry >> LENGTH_SHIFT), entry & VALUE_MASK);
      }
    };
    const isTable = words[node] === TABLE;
    const entries = entriesOf(words, node);
    const count = isTable ? TABLE_ENTRIES : words[node];
    for (let i = 0; i < count; i++) {
      if (words[entries + i] >= 0) continue;
      const slot = isTable ? i : bytes[startsOf(node) + i];
      upTo(slot);
      putByte(address, level, slot);
      this.visitNode(~words[entries + i] >> 1, level + 1, address, visitor);
    }
    upTo(TABLE_ENTRIES);
    putByte(address, level, 0);
  }

  // ---- Finding -----------------------------------------------------------------------------------------------------------------

  /** Fills `path` down to `level`, as far as there are nodes; returns the level of the last. */
  private descend(level: number): number {
    let reference = this.root;
    this.path[0] = reference >> 1;
    for (let at = 0; at < level; at++) {
      const entry = entryFor(this.words, this.bytes, reference, this.units[at]);
      if (entry >= 0) return at;
      reference = ~entry;
      this.path[at + 1] = reference >> 1;
    }
    return level;
  }

  /** Offset of the prefix's word in the list of its node, or -1. Fills `path`. */
  private find(level: number, within: number): number {
    if (this.descend(level) < level) return -1;
    const list = this.words[this.path[level] + PREFIXES];
    if (list === 0) return -1;
    const index = this.indexInList(list, this.units[level], within);
    return index < 0 ? -1 : entriesOf(this.lists.words, list) + index;
  }

  /** Index of a prefix in a list, or -1 - the index at which it belongs. */
  private indexInList(list: number, start: number, within: number): number {
    const { words, bytes } = this.lists;
    const starts = startsOf(list);
    const entries = entriesOf(words, list);
    let low = 0;
    let high = words[list];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = bytes[starts + middle] - start || (words[entries + middle] >> LENGTH_SHIFT) - within;
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return -1 - low;
  }

  /** The entry of the longest shorter prefix of the same node over `units`, or 0. */
  private coverOf(level: number, within: number): number {
    const list = this.words[this.path[level] + PREFIXES];
    const words = this.lists.words;
    for (let shorter = within - 1; shorter >= 0; shorter--) {
      const index = this.indexInList(list, this.units[level] & (-TABLE_ENTRIES >> shorter), shorter);
      if (index >= 0) return words[entriesOf(words, list) + index];
    }
    return 0;
  }

  /** Index of the range that holds `slot`. */
  private rangeOf(node: number, slot: number): number {
    const starts = startsOf(node);
    let low = 0;
    let high = this.words[node] - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.bytes[starts + middle] <= slot) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // ---- Changing nodes and lists; memory was reserved before ----------------------------------------------------------------------

  /** Makes the nodes that are missing between the last of `path` and `level`. */
  private reach(level: number): void {
    for (let at = this.descend(level); at < level; at++) {
      const node = this.makeRoom(at);
      const slot = this.units[at];
      const child = this.makeNode(entryFor(this.words, this.bytes, this.referenceTo(node), slot));
      this.assign(at, ~(child << 1));
      this.nodes.addToOwnNumber(node, 1);
      this.makeTable(at);
      this.path[at + 1] = child;
    }
  }

  /** Puts a prefix into the list of its node, or its new value. */
  private note(level: number, entry: number): void {
    const { lists, units } = this;
    const words = lists.words;
    const node = this.path[level];
    let list = this.words[node + PREFIXES];
    if (list === 0) list = lists.allocate(1);
    const index = this.indexInList(list, units[level], entry >> LENGTH_SHIFT);
    if (index >= 0) {
      words[entriesOf(words, list) + index] = entry;
      return;
    }
    if (words[list] === capacityOf(words, list)) list = lists.resize(list, words[list] + 1);
    this.words[node + PREFIXES] = list;
    lists.open(list, -1 - index, units[level], entry);
  }

  private forget(level: number, within: number): void {
    const { lists, words } = this;
    const node = this.path[level];
    const list = words[node + PREFIXES];
    lists.close(list, this.indexInList(list, this.units[level], within), 1);
    if (lists.words[list] === 0) {
      lists.release(list);
      words[node + PREFIXES] = 0;
    } else if (lists.isLoose(list)) words[node + PREFIXES] = lists.resize(list, lists.words[list]);
  }

  /** Gives `entry` to all slots of the prefix that belong to none or to a prefix of `shortest` to `within` bits. */
  private paint(level: number, within: number, shortest: number, entry: number): void {
    const node = this.makeRoom(level);
    const slot = this.units[level];
    const end = slot + (TABLE_ENTRIES >> within);
    const isTable = this.words[node] === TABLE;
    const from = isTable ? slot : this.split(node, slot);
    const to = isTable ? end : end === TABLE_ENTRIES ? this.words[node] : this.split(node, end);
    const entries = entriesOf(this.words, node);
    for (let i = entries + from; i < entries + to; i++) this.repaint(i, within, shortest, entry);
    if (!isTable) this.merge(node, from, to);
  }

  /** One entry, or what is above a child. */
  private repaint(at: number, within: number, shortest: number, entry: number): void {
    const { words } = this;
    const place = words[at] < 0 ? (~words[at] >> 1) + ABOVE : at;
    const length = words[place] >> LENGTH_SHIFT;
    if (length >= shortest && length <= within) words[place] = entry;
  }

  /** Gives the slot on the path a child, or takes it away. The node has room. */
  private assign(level: number, entry: number): void {
    const node = this.path[level];
    const slot = this.units[level];
    if (this.words[node] === TABLE) {
      this.words[node + HEADER + slot] = entry;
      return;
    }
    const index = this.split(node, slot);
    if (slot + 1 < TABLE_ENTRIES) this.split(node, slot + 1);
    this.words[entriesOf(this.words, node) + index] = entry;
    this.merge(node, index, index + 1);
  }

  /** Lets a range begin at `slot`, and returns its index. The node has room. */
  private split(node: number, slot: number): number {
    const index = this.rangeOf(node, slot);
    if (this.bytes[startsOf(node) + index] === slot) return index;
    this.nodes.open(node, index + 1, slot, this.words[entriesOf(this.words, node) + index]);
    return index + 1;
  }

  /** Joins ranges `from` to `to` with the one before each where both say the same. */
  private merge(node: number, from: number, to: number): void {
    const { words, bytes } = this;
    const starts = startsOf(node);
    const entries = entriesOf(words, node);
    const end = Math.min(to + 1, words[node]);
    let kept = Math.max(from, 1);
    for (let i = kept; i < end; i++) {
      if (words[entries + i] === words[entries + kept - 1]) continue;
      bytes[starts + kept] = bytes[starts + i];
      words[entries + kept] = words[entries + i];
      kept++;
    }
    this.nodes.close(node, kept, end - kept);
  }

  /** After a removal: gives memory back, from that level up as long as nodes are empty. */
  private tidy(level: number): void {
    const { words, path } = this;
    let at = level;
    for (; at > 0 && this.weight(path[at]) === 0; at--) {
      const node = path[at];
      const parent = path[at - 1];
      // A child has a range of its own: nothing is split here.
      this.assign(at - 1, words[node + ABOVE]);
      this.nodes.addToOwnNumber(parent, -1);
      this.nodes.release(node);
    }
    const node = path[at];
    if (words[node] === TABLE) this.makeRanges(at);
    else if (this.nodes.isLoose(node)) this.relink(at, this.nodes.resize(node, words[node] + 2));
  }

  /** What makes ranges in a node: at most two each, and one more. */
  private weight(node: number): number {
    const list = this.words[node + PREFIXES];
    return ownNumber(this.words, node) + (list === 0 ? 0 : this.lists.words[list]);
  }

  /** The node of a level of `path`, with room for two more ranges. */
  private makeRoom(level: number): number {
    const node = this.path[level];
    const count = this.words[node];
    if (count === TABLE || count + 2 <= capacityOf(this.words, node)) return node;
    return this.relink(level, this.nodes.resize(node, count + 2));
  }

  /** A node of `path` moved, or changed its form. */
  private relink(level: number, node: number): number {
    this.path[level] = node;
    const reference = this.referenceTo(node);
    if (level === 0) {
      this.root = reference;
      return node;
    }
    const parent = this.path[level - 1];
    const slot = this.units[level - 1];
    const index = this.words[parent] === TABLE ? slot : this.rangeOf(parent, slot);
    this.words[entriesOf(this.words, parent) + index] = ~reference;
    return node;
  }

  private referenceTo(node: number): number {
    return (node << 1) | (this.words[node] === TABLE ? 1 : 0);
  }

  /** Never less after an insert than before it, so that what was reserved suffices. */
  private tableFrom(level: number): number {
    return level < TOP_LEVELS || this.count < SMALL_FIB ? TABLE_FROM_EASY : TABLE_FROM;
  }

  /** Makes a node a table, if it has become dense. */
  private makeTable(level: number): void {
    const { words, bytes } = this;
    const node = this.path[level];
    if (words[node] === TABLE || this.weight(node) < this.tableFrom(level)) return;
    const table = this.nodes.allocateTable();
    this.nodes.copyHeader(node, table);
    const starts = startsOf(node);
    const entries = entriesOf(words, node);
    for (let i = 0; i < words[node]; i++) {
      const end = i + 1 < words[node] ? bytes[starts + i + 1] : TABLE_ENTRIES;
      words.fill(words[entries + i], table + HEADER + bytes[starts + i], table + HEADER + end);
    }
    this.nodes.release(node);
    this.relink(level, table);
  }

  /** Gives a table ranges again, if it has become sparse. */
  private makeRanges(level: number): void {
    const { words, bytes } = this;
    const table = this.path[level];
    const weight = this.weight(table);
    if (weight >= this.tableFrom(level) >> BACK_SHIFT) return;
    const node = this.nodes.allocate(weight * 2 + 3);
    this.nodes.copyHeader(table, node);
    const starts = startsOf(node);
    const entries = entriesOf(words, node);
    let count = 0;
    for (let slot = 0; slot < TABLE_ENTRIES; slot++) {
      const entry = words[table + HEADER + slot];
      if (count > 0 && words[entries + count - 1] === entry) continue;
      bytes[starts + count] = slot;
      words[entries + count] = entry;
      count++;
    }
    words[node] = count;
    this.nodes.release(table);
    this.relink(level, node);
  }

  // ---- Memory --------------------------------------------------------------------------------------------------------------------

  /**
   * Before a change: makes sure that all it may take is there, so that it cannot fail half way. Blocks may move.
   * @throws RangeError where the process has no memory left; nothing has changed
   */
  private reserve(level: number): void {
    const reached = this.descend(level);
    let forNodes = (level - reached) * blockWords(NEW_NODE);
    for (let at = 0; at <= reached; at++) forNodes += this.growth(at);
    const list = this.words[this.path[reached] + PREFIXES];
    const forLists = blockWords(1) + (list === 0 ? 0 : blockWords(this.lists.words[list] + 1));
    if (this.nodes.has(forNodes) && this.lists.has(forLists)) return;
    this.move(forNodes, forLists);
    this.descend(level);
  }

  /** Words that a node of `path` may take in one change. */
  private growth(level: number): number {
    const node = this.path[level];
    const weight = this.weight(node);
    const from = this.tableFrom(level);
    if (this.words[node] === TABLE) return weight > from >> BACK_SHIFT ? 0 : blockWords(weight * 2 + 3);
    // Twice: it may grow for the splits, and shrink when what they parted is joined again.
    const resized = 2 * blockWords(this.words[node] + 4);
    return weight + 1 < from ? resized : resized + TABLE_WORDS;
  }

  /** Moves everything into new arrays, with room for so much more. */
  private move(forNodes: number, forLists: number): void {
    const { nodes, lists } = this;
    const oldNodes = nodes.words;
    const oldLists = lists.words;
    const nodeWords = roomy(nodes.used + forNodes);
    const listWords = roomy(lists.used + forLists);
    nodes.startAgain(nodeWords);
    lists.startAgain(listWords);
    this.words = nodes.words;
    this.bytes = nodes.bytes;
    this.root = this.moveNode(oldNodes, oldLists, this.root, 0);
  }

  /** Returns the new reference. */
  private moveNode(oldNodes: Int32Array, oldLists: Int32Array, reference: number, level: number): number {
    const node = this.nodes.copy(oldNodes, reference >> 1);
    const { words } = this;
    const list = words[node + PREFIXES];
    if (list !== 0) words[node + PREFIXES] = this.lists.copy(oldLists, list);
    const entries = entriesOf(words, node);
    const end = entries + (words[node] === TABLE ? TABLE_ENTRIES : words[node]);
    for (let i = entries; i < end; i++)
      if (words[i] < 0) words[i] = ~this.moveNode(oldNodes, oldLists, ~words[i], level + 1);
    return this.referenceTo(node);
  }

  /** An empty node: one range that says nothing. */
  private makeNode(above: number): number {
    const node = this.nodes.allocate(NEW_NODE);
    this.words[node] = 1;
    this.words[node + ABOVE] = above;
    this.bytes[startsOf(node)] = 0;
    this.words[entriesOf(this.words, node)] = 0;
    return node;
  }
}
