/**
 * The containers `web`, `shop`, `store1` and so on, `vault` and `depot`, and the host outside: HTTP on port 80, a sink for TCP on port 5001
 * that answers how much came, UDP echo on port 7. Whoever asks HTTP for /who is told the address that he has here, for /served-by the server's.
 */

import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { startEcho } from './echo.js';
import { PAYLOAD } from './payload.js';
import { HTTP_PORT, SERVED_BY, SINK_PORT, WHO } from './ports.js';

/** At a socket for both families IPv4 addresses are such as ::ffff:203.0.113.1. */
function plainAddress(address = ''): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}

const http = createHttpServer((request, response) => {
  if (request.url === WHO) return response.end(plainAddress(request.socket.remoteAddress));
  if (request.url === SERVED_BY) return response.end(plainAddress(request.socket.localAddress));
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': PAYLOAD.length });
  return response.end(PAYLOAD);
});

const sink = createTcpServer({ allowHalfOpen: true }, (connection) => {
  let received = 0;
  connection.on('data', (chunk) => {
    received += chunk.length;
  });
  connection.on('end', () => connection.end(String(received)));
  // A sender that was interrupted is no reason to end.
  connection.on('error', () => connection.destroy());
});

http.listen(HTTP_PORT);
sink.listen(SINK_PORT);
await Promise.all([once(http, 'listening'), once(sink, 'listening'), startEcho()]);
console.log('ready');
