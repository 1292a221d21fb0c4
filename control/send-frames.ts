/** Frames written to a device as they stand, as any process with CAP_NET_RAW can write them. */

import { check, write } from '../io/libc.js';
import { mapRegion, unmapRegion } from '../io/memory.js';
import { openUplink } from '../io/uplink.js';

/** A virtio-net header of zeros: nothing is left to the kernel (linux/virtio_net.h). */
const VNET_HEADER = 10;

/**
 * Sends a frame so many times out of a device of this process's network namespace.
 *
 * @param frame from the Ethernet header on
 * @throws SystemError where there is no such device, it is down, or the right is missing
 */
export function sendFrames(device: string, frame: Uint8Array, count: number): void {
  const socket = openUplink({ device });
  const region = mapRegion(VNET_HEADER + frame.length);
  try {
    new Uint8Array(region.buffer).set(frame, VNET_HEADER);
    for (let sent = 0; sent < count; sent++)
      check(write(socket.fd, region.address, VNET_HEADER + frame.length), `sending a frame out of ${device}`);
  } finally {
    unmapRegion(region);
    socket.close();
  }
}
