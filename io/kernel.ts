/** What the running kernel can do, where nothing but its version says so. */

import { release } from 'node:os';

/** @param text as of uname -r: "6.18.5", "6.1.0-13-amd64" */
export function isAtLeast(text: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = text.split(/[.-]/).map(Number);
  return first > major || (first === major && second >= minor);
}

/** Virtio-net headers may say VIRTIO_NET_HDR_GSO_UDP_L4: since Linux 6.2. */
export function takesUdpSegments(): boolean {
  return isAtLeast(release(), 6, 2);
}
