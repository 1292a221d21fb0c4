/** Sends UDP echo requests to the broadcast ADDRESS until COUNT hosts have answered; prints who did, an address a line. */

import { createSocket } from 'node:dgram';
import { ECHO_PORT } from './ports.js';

const INTERVAL_MS = 200;
const PATIENCE_MS = 3000;
const [, , broadcast = '', count = ''] = process.argv;

const answers = new Set<string>();
const socket = createSocket('udp4');

function end(): void {
  clearInterval(timer);
  clearTimeout(patience);
  socket.close();
  for (const address of answers) console.log(address);
}

function ask(): void {
  socket.send('tapline quickstart', ECHO_PORT, broadcast);
}

const timer = setInterval(ask, INTERVAL_MS);
const patience = setTimeout(end, PATIENCE_MS);
socket.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
socket.on('message', (_message, from) => {
  answers.add(from.address);
  if (answers.size === Number(count)) end();
});
socket.bind(0, () => {
  socket.setBroadcast(true);
  ask();
});
