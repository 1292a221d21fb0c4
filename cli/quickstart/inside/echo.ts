/** UDP echo (RFC 862), by which a host answers a broadcast. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { ECHO_PORT } from './ports.js';

/** Resolves when it listens. */
export async function startEcho(): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(ECHO_PORT);
  await once(socket, 'listening');
}
