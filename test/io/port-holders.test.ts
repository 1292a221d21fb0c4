/** Whose ports are, as the kernel says it, for sockets of this very process. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import test from 'ava';
import { parseSockets, socketHolder, usedPorts } from '../../io/port-holders.js';

test('a listener and a bound socket are found, with the process that has them', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = createSocket('udp4').bind(0, '0.0.0.0');
  await once(socket, 'listening');
  const used = await usedPorts();
  const tcp = used.find(({ protocol, port }) => protocol === 'tcp' && port === (server.address() as AddressInfo).port);
  const udp = used.find(({ protocol, port }) => protocol === 'udp' && port === socket.address().port);
  t.like(tcp, { address: '127.0.0.1', isIpv6: false });
  t.like(udp, { address: '0.0.0.0', isIpv6: false });
  const name = readFileSync('/proc/self/comm', 'utf8').trim();
  t.deepEqual(await socketHolder(tcp?.inode ?? 0), { pid: process.pid, name });
  t.deepEqual(await socketHolder(udp?.inode ?? 0), { pid: process.pid, name });
  server.close();
  socket.close();
  t.is(await socketHolder(4_294_967_295), null);
});

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const REST = '00000000:00000000 00:00000000 00000000     0        0';

test('addresses are read as the kernel prints them; nobody has what waits out its time', (t) => {
  const text = `${HEAD}   0: 0100007F:1F90 00000000:0000 0A ${REST} 17 1 0\n   1: 00000000:0050 0100000A:C000 06 ${REST} 0 3 0\n`;
  t.deepEqual(parseSockets(text, 'tcp'), [
    { protocol: 'tcp', port: 8080, address: '127.0.0.1', isIpv6: false, inode: 17 },
  ]);
  const six = `${HEAD}   0: ${'0'.repeat(32)}:01BB ${'0'.repeat(32)}:0000 07 ${REST} 18 2 0\n`;
  t.deepEqual(parseSockets(six, 'udp6'), [{ protocol: 'udp', port: 443, address: '::', isIpv6: true, inode: 18 }]);
  t.deepEqual(parseSockets('', 'tcp6'), []);
});
