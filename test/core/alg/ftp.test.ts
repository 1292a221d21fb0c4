import test from 'ava';
import { MAX_LINE, readCommand, readReply, writeAnnouncement } from '../../../core/alg/ftp.js';
import { FLOW_ALG, FLOW_RELATED } from '../../../core/nat/flow.js';
import { POLICY_ACCEPT, POLICY_DROP } from '../../../core/nat/policy.js';
import { at, records, rule } from '../nat/rules.js';
import { A, A2, expectWhole, Lab, OUTSIDE, UPLINK, word4, words6 } from '../router/lab.js';
import { ACK, configure, flowStates, natLab, pass, publish, SYN, Talk, UPLINK4, UPLINK6 } from './talk.js';

const TCP = 6;

/** Client inside, server outside. */
function goOut(lab: Lab, server = OUTSIDE.v4): Talk {
  return new Talk(lab, A, 40000, OUTSIDE, server, 21);
}

/** "PORT 10,4,0,1,200,10" → what it says. */
function readPort(text: string): { address: string; port: number } {
  const numbers = /(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)/.exec(text)?.slice(1).map(Number) ?? [];
  return { address: numbers.slice(0, 4).join('.'), port: numbers[4] * 256 + numbers[5] };
}

/** Whether a connection from a station gets through: it is told by its SYN. */
function connects(
  lab: Lab,
  from: typeof A,
  fromPort: number,
  to: typeof A,
  address: string,
  port: number,
): Talk | null {
  try {
    return new Talk(lab, from, fromPort, to, address, port, 77);
  } catch {
    return null;
  }
}

function mappings(lab: Lab): number {
  return lab.router.flows.mappings.count;
}

test('active mode, client inside: the server is told where it finds the client, and is let in there', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  t.is(talk.say(talk.server, '220 ready\r\n'), '220 ready\r\n');
  talk.say(talk.client, 'USER x\r\n');
  const told = talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n');
  const { address, port } = readPort(told);
  t.is(address, UPLINK4);
  t.regex(told, /^PORT [\d,]+\r\n$/);
  // Whatever was said is longer or shorter now; both sides go on counting as they do.
  for (let i = 0; i < 3; i++) {
    talk.say(talk.server, '200 ok\r\n');
    talk.say(talk.client, 'NOOP\r\n');
  }
  t.is(lab.router.flows.algs.expectations.count, 1);
  const data = new Talk(lab, OUTSIDE, 20, A, UPLINK4, port);
  t.is(data.server.port, 50000);
  t.is(data.server.peer, OUTSIDE.v4);
  data.say(data.client, 'some data');
  t.is(data.server.heard, 'some data');
  t.is(lab.router.flows.algs.expectations.count, 0, 'for one connection');
  t.truthy(flowStates(lab)[port] & FLOW_RELATED);
  t.truthy(flowStates(lab)[21] & FLOW_ALG);
  t.is(connects(lab, OUTSIDE, 21000, A, UPLINK4, port), null);
  pass(lab, 7);
  expectWhole(t, lab);
});

test('the same with checksums that are still to come', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const told = talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n', 'partial');
  t.is(readPort(told).address, UPLINK4);
  talk.say(talk.server, '200 ok\r\n', 'partial');
  talk.say(talk.client, 'LIST\r\n', 'partial');
  t.is(talk.server.heard, `${told}LIST\r\n`);
});

test('nobody but the server is let in, and only where it was told', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const { port } = readPort(talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n'));
  const stranger = { ...OUTSIDE, v4: '10.4.0.99' };
  lab.resolve(stranger, stranger.v4);
  t.is(connects(lab, stranger, 20, A, UPLINK4, port), null);
  t.is(connects(lab, OUTSIDE, 20, A, UPLINK4, port + 1), null);
  t.not(connects(lab, OUTSIDE, 20, A, UPLINK4, port), null);
});

test('extended active mode, both families', (t) => {
  const lab = natLab();
  const four = goOut(lab);
  const told = four.say(four.client, 'EPRT |1|10.1.0.11|50000|\r\n');
  t.regex(told, /^EPRT \|1\|10\.4\.0\.1\|\d+\|\r\n$/);
  const port = Number(told.split('|')[3]);
  t.is(new Talk(lab, OUTSIDE, 20, A, UPLINK4, port).server.port, 50000);
  const six = new Talk(lab, A, 40001, OUTSIDE, OUTSIDE.v6, 21);
  const told6 = six.say(six.client, 'eprt !2!fd00:1::11!50001!\r\n');
  t.regex(told6, /^eprt !2!fd00:4:0:0:0:0:0:1!\d+!\r\n$/);
  six.say(six.server, '200 ok\r\n');
  six.say(six.client, 'LIST\r\n');
  t.is(new Talk(lab, OUTSIDE, 20, A, UPLINK6, Number(told6.split('!')[3])).server.port, 50001);
  expectWhole(t, lab);
});

test('passive mode, server behind a published port: the client is told where it finds the server', (t) => {
  const lab = natLab();
  publish(lab, TCP, UPLINK4, 21, A.v4, 21);
  const talk = new Talk(lab, OUTSIDE, 40000, A, UPLINK4, 21);
  talk.say(talk.client, 'PASV\r\n');
  const told = talk.say(talk.server, '227 Entering Passive Mode (10,1,0,11,117,48).\r\n');
  const { address, port } = readPort(told);
  t.is(address, UPLINK4);
  t.regex(told, /^227 Entering Passive Mode \([\d,]+\)\.\r\n$/);
  talk.say(talk.client, 'RETR x\r\n');
  const data = new Talk(lab, OUTSIDE, 40001, A, UPLINK4, port);
  t.is(data.server.port, 30000);
  data.say(data.server, 'contents');
  t.is(data.client.heard, 'contents');
  talk.say(talk.server, '226 done\r\n');
  t.is(connects(lab, OUTSIDE, 40002, A, UPLINK4, port), null, 'once');
  talk.say(talk.client, 'EPSV\r\n');
  const extended = talk.say(talk.server, '229 Entering Extended Passive Mode (|||30001|)\r\n');
  const second = Number(/\|\|\|(\d+)\|/.exec(extended)?.[1]);
  t.is(new Talk(lab, OUTSIDE, 40003, A, UPLINK4, second).server.port, 30001);
  pass(lab, 7);
  expectWhole(t, lab);
});

test('a published port that is no FTP port outside, or none inside', (t) => {
  for (const [outer, inner] of [
    [2121, 21],
    [21, 2121],
  ]) {
    const lab = natLab();
    publish(lab, TCP, UPLINK4, outer, A.v4, inner);
    const talk = new Talk(lab, OUTSIDE, 40000, A, UPLINK4, outer);
    t.is(talk.server.port, inner);
    const told = talk.say(talk.server, '227 ok (10,1,0,11,117,48)\r\n');
    t.is(readPort(told).address, UPLINK4);
  }
});

test('active mode, server behind a published port: it speaks from the address that the client knows', (t) => {
  const lab = natLab();
  const second = '10.4.0.77';
  const addresses4 = Int32Array.of(word4(UPLINK4), 0xffffff00 | 0, word4(second), 0xffffff00 | 0);
  lab.change(UPLINK, { addresses4 });
  publish(lab, TCP, second, 21, A.v4, 21);
  const talk = new Talk(lab, OUTSIDE, 40000, A, second, 21);
  t.is(talk.say(talk.client, 'PORT 10,4,0,16,195,80\r\n'), 'PORT 10,4,0,16,195,80\r\n', 'the client is where it says');
  const data = new Talk(lab, A, 20, OUTSIDE, OUTSIDE.v4, 50000);
  t.is(data.server.peer, second);
});

test('two clients with one port each get their own', (t) => {
  const lab = natLab().know(A2);
  const one = goOut(lab);
  const two = new Talk(lab, A2, 40000, OUTSIDE, OUTSIDE.v4, 21);
  const first = readPort(one.say(one.client, 'PORT 10,1,0,11,195,80\r\n')).port;
  const second = readPort(two.say(two.client, 'PORT 10,1,0,12,195,80\r\n')).port;
  t.not(first, second);
  t.is(new Talk(lab, OUTSIDE, 20, A2, UPLINK4, second).server.source, A2.v4);
  t.is(new Talk(lab, OUTSIDE, 20, A, UPLINK4, first).server.source, A.v4);
});

test('a data connection keeps its port until it is forgotten', (t) => {
  const lab = natLab().know(A2);
  const one = goOut(lab);
  const two = new Talk(lab, A2, 40000, OUTSIDE, OUTSIDE.v4, 21);
  const first = readPort(one.say(one.client, 'PORT 10,1,0,11,195,80\r\n')).port;
  const data = new Talk(lab, OUTSIDE, 20, A, UPLINK4, first);
  t.is(mappings(lab), 3);
  const second = readPort(two.say(two.client, 'PORT 10,1,0,12,195,80\r\n')).port;
  t.not(first, second);
  t.is(new Talk(lab, OUTSIDE, 20, A2, UPLINK4, second).server.source, A2.v4);
  data.say(data.client, 'some data');
  t.is(mappings(lab), 4);
  for (const { port } of [A, A2]) lab.router.flows.table.removeOwner(port);
  lab.router.flows.table.removeOwner(OUTSIDE.port);
  t.deepEqual([lab.router.flows.table.count, mappings(lab)], [0, 0]);
});

test('a line that is sent again is told the same, and does not count twice', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const { client, server } = talk;
  const line = 'PORT 10,1,0,11,195,80\r\n';
  const first = talk.carry(client, ACK, line);
  for (let i = 0; i < 3; i++) t.deepEqual(talk.carry(client, ACK, line), first);
  t.is(lab.router.flows.algs.expectations.count, 1);
  talk.hear(server, first);
  client.next = (client.next + line.length) | 0;
  talk.acknowledge(server);
  // Once more, late: the other side has it all, and takes nothing of it for new.
  const late = talk.carry(client, ACK, line, (client.next - line.length) | 0);
  t.true(((late.sequence + late.text.length - server.expected) | 0) <= 0);
  const again = talk.say(client, 'PORT 10,1,0,11,195,81\r\n');
  t.not(readPort(again).port, readPort(first.text).port);
  const old = talk.carry(client, ACK, line, (client.next - 2 * line.length) | 0);
  t.true(((old.sequence + old.text.length - server.expected) | 0) <= 0, 'all of it is known');
  talk.say(server, '200 ok\r\n');
  talk.say(client, 'LIST\r\n');
});

test('a line that is sent again though others followed it', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const { client, server } = talk;
  const lines = ['TYPE I\r\n', 'PORT 10,1,0,11,195,80\r\n', 'LIST\r\n'];
  const starts: number[] = [];
  for (const line of lines) {
    starts.push(client.next);
    talk.carry(client, ACK, line);
    client.next = (client.next + line.length) | 0;
  }
  // None of them has arrived. They come again: one by one, or the first two as one.
  const single = talk.carry(client, ACK, lines[1], starts[1]);
  t.regex(single.text, /^PORT 10,4,0,1,\d+,\d+\r\n$/);
  const both = talk.carry(client, ACK, lines[0] + lines[1], starts[0]);
  t.is(both.text, lines[0] + single.text);
  talk.hear(server, both);
  talk.hear(server, talk.carry(client, ACK, lines[2], starts[2]));
  talk.acknowledge(server);
  t.is(lab.router.flows.algs.expectations.count, 1);
});

test('shifts add up, whichever way the text grows', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const start = talk.client.next;
  for (let i = 0; i < 20; i++) {
    const port = 2000 + 3000 * i;
    talk.say(talk.client, `PORT 10,1,0,11,${port >> 8},${port & 255}\r\n`);
    talk.say(talk.server, `200 ok ${i}\r\n`);
  }
  t.not((talk.server.expected - start) | 0, (talk.client.next - start) | 0, 'it is another length in all');
  t.is(talk.server.heard.split('\r\n').length, 21);
});

test('lines that are not the first of their segment, and lines in the middle of others', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const pipelined = talk.say(talk.client, 'TYPE I\r\nPORT 10,1,0,11,195,80\r\nRETR x\r\n');
  t.regex(pipelined, /^TYPE I\r\nPORT 10,4,0,1,\d+,\d+\r\nRETR x\r\n$/);
  // A name that looks like a command, where a segment happens to begin with it.
  talk.say(talk.client, 'STOR ');
  t.is(talk.say(talk.client, 'PORT 10,1,0,11,195,81\r\n'), 'PORT 10,1,0,11,195,81\r\n');
  t.regex(talk.say(talk.client, 'PORT 10,1,0,11,195,82\r\n'), /^PORT 10,4,0,1/);
  t.is(talk.say(talk.client, 'PORT 10,1,0,11,'), 'PORT 10,1,0,11,', 'no whole line');
  t.is(talk.say(talk.client, '195,83\r\n'), '195,83\r\n');
  talk.say(talk.server, '200 ok\r\n');
});

test('what is not to be followed passes as it is', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const lines = [
    'PORT 10,1,0,12,195,80\r\n', // another's address
    'PORT 10,1,0,11,0,22\r\n', // a service of the client's
    'PORT 10,1,0,11,195,256\r\n',
    'PORT 10,1,0,11,195\r\n',
    'XPORT 10,1,0,11,195,80\r\n',
    'EPRT |1|10.1.0.11|70000|\r\n',
    'EPRT |3|10.1.0.11|50000|\r\n',
    'EPRT |2|10.1.0.11|50000|\r\n',
    '227 ok (10,1,0,11,195,80)\r\n', // a reply, of the client
    `PORT 10,1,0,11,195,80${' '.repeat(MAX_LINE)}\r\n`,
  ];
  for (const line of lines) t.is(talk.say(talk.client, line), line);
  t.is(talk.say(talk.server, 'PORT 10,4,0,16,195,80\r\n'), 'PORT 10,4,0,16,195,80\r\n', 'a command, of the server');
  t.is(lab.router.flows.algs.expectations.count, 0);
});

test('a damaged segment is not mended', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const line = 'PORT 10,1,0,11,195,80\r\n';
  const error = t.throws(() => {
    const receive = lab.receive.bind(lab);
    lab.receive = (port, frame, vnet) => {
      frame[frame.length - 1] ^= 1;
      return receive(port, frame, vnet);
    };
    talk.carry(talk.client, ACK, line);
  });
  t.is(error?.message, 'checksum');
  t.is(lab.router.flows.algs.expectations.count, 0);
});

test('off by default, and the general way only where it is on', (t) => {
  const lab = natLab({}, 0);
  const talk = goOut(lab);
  t.is(talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n'), 'PORT 10,1,0,11,195,80\r\n');
  t.falsy(flowStates(lab)[21] & FLOW_ALG);
});

test('turned off, connections that there are go on counting', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  talk.say(talk.client, 'EPRT |1|10.1.0.11|50000|\r\n');
  configure(lab, 0);
  t.is(talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n'), 'PORT 10,1,0,11,195,80\r\n');
  talk.say(talk.server, '200 ok\r\n');
});

test('shifts outlive the process', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  talk.say(talk.client, 'EPRT |1|10.1.0.11|50000|\r\n');
  const { algs } = lab.router.flows;
  // As after a start on the flows of a predecessor.
  Reflect.get(algs, 'connections').clear();
  lab.router.flows.adopt();
  talk.say(talk.client, 'LIST\r\n');
  talk.say(talk.server, '150 coming\r\n');
  t.regex(talk.say(talk.client, 'PORT 10,1,0,11,195,81\r\n'), /^PORT 10,4,0,1/);
  talk.say(talk.server, '200 ok\r\n');
});

test('expectations end with their time, and with their connection; and give back their ports', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const before = mappings(lab);
  const { port } = readPort(talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n'));
  t.is(mappings(lab), before + 1);
  pass(lab, 299);
  t.is(mappings(lab), before + 1);
  pass(lab, 2);
  t.is(mappings(lab), before);
  lab.know(A, OUTSIDE);
  t.is(connects(lab, OUTSIDE, 20, A, UPLINK4, port), null);
  talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n');
  t.is(mappings(lab), before + 1);
  talk.say(talk.client, 'PORT 10,1,0,11,195,81\r\n');
  t.is(mappings(lab), before + 1, 'one at a time');
  lab.router.flows.table.removeOwner(A.port);
  t.is(mappings(lab), 0);
  t.is(lab.router.flows.algs.expectations.count, 0);
  t.is(Reflect.get(lab.router.flows.algs, 'connections').size, 0);
});

test('without translation nothing is replaced, but the policy lets in what was announced', (t) => {
  const lab = new Lab({ vrf: { tracking: true } }).know(A, OUTSIDE);
  configure(lab, 1);
  const { policy } = lab.router.flows;
  const rules = [
    rule(0, POLICY_ACCEPT, { to: at('10.1.0.0/24'), protocol: TCP, ports: [21, 21] }),
    rule(1, POLICY_DROP, { to: at('10.1.0.0/24'), protocol: TCP }),
  ];
  policy.set(records(rules));
  lab.router.flows.changed();
  const talk = new Talk(lab, OUTSIDE, 40000, A, A.v4, 21);
  const line = '227 ok (10,1,0,11,117,48)\r\n';
  t.is(connects(lab, OUTSIDE, 40001, A, A.v4, 30000), null);
  t.is(talk.say(talk.server, line), line);
  const data = connects(lab, OUTSIDE, 40001, A, A.v4, 30000) as Talk;
  t.is(data.say(data.server, 'contents'), 'contents');
  policy.set(records([...rules, rule(2, POLICY_DROP, { to: at('10.9.0.0/16') })]));
  lab.router.flows.changed();
  t.is(data.say(data.server, 'more'), 'more', 'other rules change nothing about it');
  t.is(connects(lab, OUTSIDE, 40002, A, A.v4, 30000), null);
  expectWhole(t, lab);
});

test('a connection that is expected is made by a SYN alone', (t) => {
  const lab = natLab();
  const talk = goOut(lab);
  const { port } = readPort(talk.say(talk.client, 'PORT 10,1,0,11,195,80\r\n'));
  const data = Object.create(Talk.prototype) as Talk;
  const server = { ...talk.server, port: 20, peer: UPLINK4, peerPort: port };
  Object.assign(data, { lab, client: server, server: talk.client });
  const answered = data.offer(server as never, ACK, 'x');
  t.true(answered === null || answered.port === OUTSIDE.port, 'refused');
  t.is(lab.router.flows.algs.expectations.count, 1);
  t.not(data.offer(server as never, SYN, ''), null);
});

test('reading lines', (t) => {
  const mapped = (address: string) => Int32Array.of(0, 0, 0xffff, word4(address));
  t.like(readCommand('PORT 10,1,0,11,195,80'), { from: 5, to: 21, port: 50000 });
  t.deepEqual(readCommand('port 1,2,3,4,0,1')?.address, mapped('1.2.3.4'));
  t.deepEqual(readCommand('EPRT |2|2001:db8::1|1|')?.address, Int32Array.from(words6('2001:db8::1')));
  t.deepEqual(readCommand('EPRT |2|::|1|')?.address, new Int32Array(4));
  t.deepEqual(readCommand('EPRT |2|1:2:3:4:5:6:7:8|1|')?.address, Int32Array.from(words6('1:2:3:4:5:6:7:8')));
  for (const address of [
    '1:2',
    '1::2::3',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8:9',
    '12345::',
    'g::',
    ':::',
    '1.2.3.4',
  ])
    t.is(readCommand(`EPRT |2|${address}|1|`), null, address);
  t.is(readCommand('EPRT |1|1.2.3.256|1|'), null);
  t.is(readCommand('EPRT |1|1.2.3.4|0|'), null);
  t.is(readCommand('EPRT |1!1.2.3.4|1|'), null);
  t.is(readReply('227 =10,1,0,11,195,80')?.port, 50000, 'no parentheses');
  t.is(readReply('227 10,1,0,11,195,80 then 1,1,1,1,1,1')?.port, 50000);
  t.is(readReply('227 10,1,0,11,195,800'), null);
  t.like(readReply('229 Extended (|||50000|)'), { from: 17, to: 22, port: 50000, address: null });
  t.is(readReply('229 Extended (||50000|)'), null);
  t.is(readReply('229 Extended (|||0|)'), null);
  t.is(readReply('200 227 (10,1,0,11,195,80)'), null);
});

test('a line is written as it was read', (t) => {
  const lines = ['PORT 10,1,0,11,195,80', 'EPRT |1|10.1.0.11|50000|', 'EPRT #2#1:2:3:4:5:6:7:8#50000#'];
  for (const line of lines) {
    const read = readCommand(line) as NonNullable<ReturnType<typeof readCommand>>;
    t.is(writeAnnouncement(read, read.address as Int32Array, read.port), line.slice(read.from, read.to));
  }
  const reply = readReply('229 ok (|||5|)') as NonNullable<ReturnType<typeof readReply>>;
  t.is(writeAnnouncement(reply, new Int32Array(4), 60000), '60000');
});
