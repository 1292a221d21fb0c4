/** Walks a pcapng file block by block (draft-ietf-opsawg-pcapng section 3). Knows as much as telling a whole file from a broken one takes. */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type, total length, and total length once more at the end. */
const MINIMUM_BLOCK = 12;
/** The captured length within an enhanced packet block, behind type, length, interface and time. */
const CAPTURED_LENGTH = 20;
const PACKET_HEADER = 28;

export interface PcapngSummary {
  readonly interfaces: number;
  readonly frames: number;
}

function blockLength(bytes: DataView, at: number): number {
  const length = at + MINIMUM_BLOCK <= bytes.byteLength ? bytes.getUint32(at + 4, true) : 0;
  const fits = length >= MINIMUM_BLOCK && length % 4 === 0 && at + length <= bytes.byteLength;
  if (!fits) throw new Error(`pcapng: block at byte ${at} is cut off`);
  if (bytes.getUint32(at + length - 4, true) !== length) throw new Error(`pcapng: block at byte ${at} has two lengths`);
  return length;
}

/**
 * @param onFrame gets the captured bytes of each frame, a view
 * @throws Error that says where the file is broken
 */
export function readPcapng(file: Uint8Array, onFrame: (frame: Uint8Array) => void = () => {}): PcapngSummary {
  const bytes = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.byteLength < MINIMUM_BLOCK || bytes.getUint32(0, true) !== SECTION_HEADER) {
    throw new Error('pcapng: no section header');
  }
  if (bytes.getUint32(8, true) !== BYTE_ORDER_MAGIC) throw new Error('pcapng: unexpected byte order');
  let interfaces = 0;
  let frames = 0;
  for (let at = 0; at < bytes.byteLength; ) {
    const length = blockLength(bytes, at);
    const type = bytes.getUint32(at, true);
    if (type === INTERFACE_DESCRIPTION) interfaces++;
    if (type === ENHANCED_PACKET) {
      const short = length < PACKET_HEADER + 4 || bytes.getUint32(at + 8, true) >= interfaces;
      if (short || bytes.getUint32(at + CAPTURED_LENGTH, true) > length - PACKET_HEADER - 4) {
        throw new Error(`pcapng: frame at byte ${at} contradicts its block`);
      }
      const start = at + PACKET_HEADER;
      onFrame(file.subarray(start, start + bytes.getUint32(at + CAPTURED_LENGTH, true)));
      frames++;
    }
    at += length;
  }
  return { interfaces, frames };
}
