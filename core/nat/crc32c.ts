/**
 * CRC32c (RFC 9260, appendix A) as SCTP has it: over a whole packet, and after its first four octets, the ports, have changed.
 *
 * A word of 32 bits stands for a polynomial with its highest power in the lowest bit (reflected), as the checksum is defined.
 */

/** The Castagnoli polynomial 0x1edc6f41, reflected. */
const POLYNOMIAL = 0x82f63b78 | 0;
/** The polynomial 1. */
const ONE = 0x80000000 | 0;
/** Packets are shorter than 2^17 octets. */
const POWERS = 17;

/** Remainder of one octet. */
const remainders = new Int32Array(256);
/** x to the power of 8 * 2^i: what i zeros doubled i times behind a message multiply its remainder with. */
const powers = new Int32Array(POWERS);

fillTables();

function fillTables(): void {
  for (let octet = 0; octet < 256; octet++) {
    let word = octet;
    for (let bit = 0; bit < 8; bit++) word = timesX(word);
    remainders[octet] = word;
  }
  powers[0] = ONE;
  for (let bit = 0; bit < 8; bit++) powers[0] = timesX(powers[0]);
  for (let i = 1; i < POWERS; i++) powers[i] = multiply(powers[i - 1], powers[i - 1]);
}

function timesX(word: number): number {
  return (word >>> 1) ^ (-(word & 1) & POLYNOMIAL);
}

/** Product of two polynomials, reduced. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let rest = a; rest !== 0; rest <<= 1) {
    if (rest < 0) product ^= b;
    b = timesX(b);
  }
  return product;
}

/**
 * The checksum of `length` octets at `at`, of which the four at `hole` count as 0: the checksum's own place.
 *
 * @returns int32, to be written least octet first
 */
export function crc32c(view: DataView, at: number, length: number, hole: number): number {
  let word = -1;
  const end = at + length;
  for (; at < end; at++) {
    const octet = at >= hole && at < hole + 4 ? 0 : view.getUint8(at);
    word = (word >>> 8) ^ remainders[(word ^ octet) & 0xff];
  }
  return ~word;
}

/**
 * The checksum after the first word of a packet has changed. The remainder is linear, so the difference of the words, with as many zeros
 * behind it as the packet is long, has the difference of the checksums; and a packet that was damaged before stays so. Takes no longer for
 * long packets, where summing anew takes 1 to 2 ns an octet.
 *
 * @param oldWord first four octets, least octet first; so newWord
 * @param length octets of the packet, the word included
 */
export function updateCrc32c(checksum: number, oldWord: number, newWord: number, length: number): number {
  let difference = oldWord ^ newWord;
  for (let i = 0; length !== 0; i++, length >>>= 1) {
    if ((length & 1) !== 0) difference = multiply(powers[i], difference);
  }
  return checksum ^ difference;
}
