/**
 * Many short sorted lists in one growing array: each a block of ascending bytes, its starts, with one word each, its entries.
 *
 *   block   header (4 words) · `capacity` starts, four a word · `capacity` entries
 *   header  number of elements, or TABLE · two words of the owner's · capacity, and a small number of the owner's
 *
 * A table is a block of 256 entries and no starts. Capacities are multiples of four, from 32 on a fifth to a quarter apart, with a list
 * of free blocks for each. Where the array is used up, or much too large, the owner moves all its blocks into a new one, which also ends
 * all fragmentation: so offsets are good until the next `startAgain`.
 */

/** Words of the header; the number of elements is word 0. */
export const OWN_1 = 1;
export const OWN_2 = 2;
const CAPACITY = 3;
export const HEADER = 4;

/** The number of elements of a table. */
export const TABLE = -1;
export const TABLE_ENTRIES = 256;
export const TABLE_WORDS = HEADER + TABLE_ENTRIES;

/** In the last word of the header: capacity (0 for a table), then the owner's number. */
const CAPACITY_MASK = 0x3ff;
const OWN_SHIFT = 10;

/** Class 0 is that of tables; 24 holds 512 elements, more than can be below one byte. */
const TABLE_CLASS = 0;
const CLASSES = 25;

/** Offset 0 means "none". */
const FIRST_OFFSET = 1;

/** Quarters of the capacity of a class: 1 to 8 in steps of 1, then 10, 12, 14, 16, 20, 24, 28, 32, … */
function quartersOf(sizeClass: number): number {
  return sizeClass < 8 ? sizeClass : (4 + (sizeClass & 3)) << ((sizeClass >> 2) - 1);
}

/** The smallest class with so many quarters. */
function classOf(quarters: number): number {
  if (quarters < 8) return quarters;
  const shift = 29 - Math.clz32(quarters - 1);
  return (shift << 2) + ((quarters - 1) >> shift) + 1;
}

/** Words of a block of a class. */
function wordsOf(sizeClass: number): number {
  return sizeClass === TABLE_CLASS ? TABLE_WORDS : HEADER + quartersOf(sizeClass) * 5;
}

/** The class of blocks for `count` elements. */
function classFor(count: number): number {
  return classOf((Math.max(count, 1) + 3) >> 2);
}

/** Words that a block for `count` elements takes. */
export function blockWords(count: number): number {
  return wordsOf(classFor(count));
}

/** Index in `bytes` of a block's first start. */
export function startsOf(block: number): number {
  return (block + HEADER) << 2;
}

/** Index in `words` of a block's first entry. */
export function entriesOf(words: Int32Array, block: number): number {
  return block + HEADER + ((words[block + CAPACITY] & CAPACITY_MASK) >> 2);
}

export function capacityOf(words: Int32Array, block: number): number {
  return words[block + CAPACITY] & CAPACITY_MASK;
}

/** The owner's small number. */
export function ownNumber(words: Int32Array, block: number): number {
  return words[block + CAPACITY] >> OWN_SHIFT;
}

export class Blocks {
  words = new Int32Array(0);
  /** The same memory. */
  bytes = new Uint8Array(0);
  /** Words of blocks in use. */
  used = 0;
  /** Nothing was taken from here on. */
  private top = FIRST_OFFSET;
  /** First free block by class, or 0; the next one stands in a free block's first word. */
  private readonly free = new Int32Array(CLASSES);

  /** Forgets all blocks and takes a new array. @throws RangeError where there is no memory; nothing has changed */
  startAgain(length: number): void {
    const words = new Int32Array(length);
    this.words = words;
    this.bytes = new Uint8Array(words.buffer);
    this.free.fill(0);
    this.top = FIRST_OFFSET;
    this.used = 0;
  }

  /** Whether `need` words may be taken before anything has to move. */
  has(need: number): boolean {
    return this.top + need <= this.words.length;
  }

  /** An empty block for at least `count` elements, the owner's words 0. */
  allocate(count: number): number {
    const sizeClass = classFor(count);
    const block = this.take(sizeClass);
    this.words.fill(0, block, block + CAPACITY);
    this.words[block + CAPACITY] = quartersOf(sizeClass) * 4;
    return block;
  }

  /** A table, its entries whatever was there, the owner's words 0. */
  allocateTable(): number {
    const block = this.take(TABLE_CLASS);
    this.words.fill(0, block, block + HEADER);
    this.words[block] = TABLE;
    return block;
  }

  release(block: number): void {
    const sizeClass = classOf(capacityOf(this.words, block) >> 2);
    this.words[block] = this.free[sizeClass];
    this.free[sizeClass] = block;
    this.used -= wordsOf(sizeClass);
  }

  /** The same list in a block for at least `count` elements. */
  resize(block: number, count: number): number {
    const { words, bytes } = this;
    const other = this.allocate(count);
    this.copyHeader(block, other);
    words[other] = words[block];
    bytes.copyWithin(startsOf(other), startsOf(block), startsOf(block) + words[block]);
    words.copyWithin(entriesOf(words, other), entriesOf(words, block), entriesOf(words, block) + words[block]);
    this.release(block);
    return other;
  }

  /** All of the header that is the owner's. */
  copyHeader(from: number, to: number): void {
    const { words } = this;
    words[to + OWN_1] = words[from + OWN_1];
    words[to + OWN_2] = words[from + OWN_2];
    words[to + CAPACITY] = capacityOf(words, to) | (ownNumber(words, from) << OWN_SHIFT);
  }

  addToOwnNumber(block: number, amount: number): void {
    this.words[block + CAPACITY] += amount << OWN_SHIFT;
  }

  /** A copy of a block of an older array. */
  copy(old: Int32Array, from: number): number {
    const sizeClass = classOf(capacityOf(old, from) >> 2);
    const block = this.take(sizeClass);
    this.words.set(old.subarray(from, from + wordsOf(sizeClass)), block);
    return block;
  }

  /** Inserts one element at `index` of a block that has room. */
  open(block: number, index: number, start: number, entry: number): void {
    const { words, bytes } = this;
    const count = words[block]++;
    const starts = startsOf(block);
    const entries = entriesOf(words, block);
    bytes.copyWithin(starts + index + 1, starts + index, starts + count);
    words.copyWithin(entries + index + 1, entries + index, entries + count);
    bytes[starts + index] = start;
    words[entries + index] = entry;
  }

  /** Takes `gone` elements out at `index`. */
  close(block: number, index: number, gone: number): void {
    if (gone <= 0) return;
    const { words, bytes } = this;
    const count = words[block];
    const starts = startsOf(block);
    const entries = entriesOf(words, block);
    bytes.copyWithin(starts + index, starts + index + gone, starts + count);
    words.copyWithin(entries + index, entries + index + gone, entries + count);
    words[block] = count - gone;
  }

  /** Whether a block is less than a third full, and large enough to matter. */
  isLoose(block: number): boolean {
    const capacity = capacityOf(this.words, block);
    return capacity > 12 && this.words[block] * 3 < capacity;
  }

  private take(sizeClass: number): number {
    const size = wordsOf(sizeClass);
    let block = this.free[sizeClass];
    if (block !== 0) this.free[sizeClass] = this.words[block];
    else {
      block = this.top;
      if (!this.has(size)) throw new Error('blocks: a change took more memory than was reserved for it');
      this.top += size;
    }
    this.used += size;
    return block;
  }
}
