/**
 * Writes pcapng, the capture file format of Wireshark and tcpdump, block by block (draft-ietf-opsawg-pcapng). Every method
 * returns the bytes of one block; the caller writes them in the order of the calls. Nothing is buffered, so a stream cut
 * at any block boundary is a whole file.
 *
 * A block is: type (4 bytes), total length (4), body, options, total length again (4); padded to a multiple of 4. All
 * integers are little-endian, which the section header's byte-order magic tells the reader.
 */

// Block types (section 4).
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;

// Option codes: of all blocks (section 3.5), and of the section header, interface description and enhanced packet blocks.
const OPT_END = 0;
const OPT_COMMENT = 1;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const EPB_FLAGS = 2;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
/** Time stamps count units of 10^-9 s. */
const NANOSECONDS = 9;
/** Bits 0 and 1 of epb_flags (section 4.3.1). */
const FLAG_INBOUND = 1;
const FLAG_OUTBOUND = 2;

/** An option's length is a 16-bit field. */
const MAX_OPTION_LENGTH = 0xffff;
/** Type and both total lengths. */
const BLOCK_OVERHEAD = 12;
const OPTION_HEADER = 4;

const utf8 = new TextEncoder();

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

export interface CapturedPacket {
  /** Number that `interface()` gave. */
  readonly interfaceId: number;
  /** Nanoseconds since 1970-01-01 UTC. */
  readonly time: bigint;
  /** As the interface sees it: `in` was received by it, `out` was sent out of it. */
  readonly direction: 'in' | 'out';
  /** Bytes the frame had before it was cut. */
  readonly originalLength: number;
  /** The frame from its Ethernet header on, at most the interface's snap length. */
  readonly data: Uint8Array;
  /** Shown by readers beside the packet. */
  readonly comment?: string;
}

export class PcapngWriter {
  /** Snap length of each interface of the section; the place is the interface's id. */
  private readonly snapLengths: number[] = [];

  /** Section header block: the first of a file. Interface ids start again at 0. */
  header(): Uint8Array {
    this.snapLengths.length = 0;
    const block = new Block(SECTION_HEADER, 16, [{ code: SHB_USERAPPL, value: utf8.encode('tapline') }]);
    block.view.setUint32(8, BYTE_ORDER_MAGIC, true);
    block.view.setUint16(12, 1, true); // version 1.0
    block.view.setUint16(14, 0, true);
    block.view.setBigInt64(16, -1n, true); // section length unknown: it is a stream
    return block.bytes;
  }

  /**
   * Interface description block; must come before the first packet of the interface.
   *
   * @param snapLength bytes kept of each frame; 0 is all
   * @throws RangeError where the name is longer than an option can be
   */
  interface(name: string, snapLength: number): { id: number; bytes: Uint8Array } {
    if (!Number.isInteger(snapLength) || snapLength < 0 || snapLength > 0xffffffff) {
      throw new RangeError(`pcapng: snap length of ${name} is ${snapLength}, not an unsigned 32-bit integer`);
    }
    const block = new Block(INTERFACE_DESCRIPTION, 8, [
      { code: IF_NAME, value: encodeText(name) },
      { code: IF_TSRESOL, value: Uint8Array.of(NANOSECONDS) },
    ]);
    block.view.setUint16(8, LINKTYPE_ETHERNET, true);
    block.view.setUint32(12, snapLength, true);
    return { id: this.snapLengths.push(snapLength) - 1, bytes: block.bytes };
  }

  /**
   * Enhanced packet block.
   *
   * @throws RangeError where the packet contradicts itself or its interface: a reader would reject the whole file
   */
  packet(packet: CapturedPacket): Uint8Array {
    this.check(packet);
    const { data, time } = packet;
    const flags = new Uint8Array(4);
    flags[0] = packet.direction === 'in' ? FLAG_INBOUND : FLAG_OUTBOUND;
    const options: Option[] = [{ code: EPB_FLAGS, value: flags }];
    if (packet.comment !== undefined) options.push({ code: OPT_COMMENT, value: encodeText(packet.comment) });

    const block = new Block(ENHANCED_PACKET, 20 + padded(data.length), options);
    block.view.setUint32(8, packet.interfaceId, true);
    block.view.setUint32(12, Number(time >> 32n), true);
    block.view.setUint32(16, Number(time & 0xffffffffn), true);
    block.view.setUint32(20, data.length, true);
    block.view.setUint32(24, packet.originalLength, true);
    block.bytes.set(data, 28);
    return block.bytes;
  }

  private check({ interfaceId, time, originalLength, data }: CapturedPacket): void {
    const snapLength = this.snapLengths[interfaceId];
    if (snapLength === undefined) throw new RangeError(`pcapng: no interface ${interfaceId} in this section`);
    if (snapLength !== 0 && data.length > snapLength) {
      throw new RangeError(
        `pcapng: ${data.length} bytes on interface ${interfaceId}, whose snap length is ${snapLength}`,
      );
    }
    if (!Number.isInteger(originalLength) || originalLength < data.length || originalLength > 0xffffffff) {
      throw new RangeError(`pcapng: ${data.length} bytes kept of a frame of ${originalLength}`);
    }
    if (time < 0n || time >> 64n !== 0n) throw new RangeError(`pcapng: time ${time} does not fit 64 bits`);
  }
}

/** A block with its type, lengths and options in place, and a body of zeros from byte 8 on. */
class Block {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(type: number, bodyLength: number, options: readonly Option[]) {
    const optionsLength = options.reduce((sum, { value }) => sum + OPTION_HEADER + padded(value.length), OPTION_HEADER);
    const length = BLOCK_OVERHEAD + bodyLength + optionsLength;
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
    this.view.setUint32(0, type, true);
    this.view.setUint32(4, length, true);
    this.view.setUint32(length - 4, length, true);
    this.writeOptions(8 + bodyLength, options);
  }

  private writeOptions(offset: number, options: readonly Option[]): void {
    for (const { code, value } of options) {
      this.view.setUint16(offset, code, true);
      this.view.setUint16(offset + 2, value.length, true);
      this.bytes.set(value, offset + OPTION_HEADER);
      offset += OPTION_HEADER + padded(value.length);
    }
    this.view.setUint16(offset, OPT_END, true);
  }
}

function encodeText(text: string): Uint8Array {
  const bytes = utf8.encode(text);
  if (bytes.length > MAX_OPTION_LENGTH) {
    throw new RangeError(`pcapng: text of ${bytes.length} bytes, an option holds ${MAX_OPTION_LENGTH}`);
  }
  return bytes;
}

/** Values and packet data are padded to 32 bits; their length fields are not. */
function padded(length: number): number {
  return (length + 3) & ~3;
}
