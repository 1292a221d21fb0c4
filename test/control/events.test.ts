import { once } from 'node:events';
import test from 'ava';
import { pino } from 'pino';
import { EVENT_RING, EventLog } from '../../control/events.js';
import type { DataplaneEvent } from '../../control/types.js';

const START = Date.UTC(2026, 0, 31, 12);

function makeLog(): { log: EventLog; lines: string[]; add: (part: Partial<DataplaneEvent>) => void } {
  const lines: string[] = [];
  const write = (json: string): void => {
    const { level, msg } = JSON.parse(json) as { level: string; msg: string };
    lines.push(`${level} ${msg}`);
  };
  const logger = pino({ formatters: { level: (level) => ({ level }) } }, { write });
  const ports = new Map([
    [1, 'a'],
    [2, 'b'],
    [3, 'vxlan:blue:10.77.0.2'],
    [4, 'vxlan:blue:2001:db8:77::2'],
  ]);
  const log = new EventLog(logger, {
    port: (number) => ports.get(number) ?? null,
    service: () => null,
    backend: () => null,
    network: (number) => (number === 1 ? 'blue' : null),
  });
  const event = {
    time: START,
    kind: 'mac-moved',
    network: 1,
    vlan: 0,
    port: 2,
    fromPort: 1,
    mac: 'M',
    count: 0,
    address: '',
  } as const;
  return { log, lines, add: (part) => log.add({ ...event, ...part }) };
}

test('events of tunnels name the VTEP by its address', (t) => {
  const { lines, add } = makeLog();
  const tunnel = { fromPort: 0, mac: '' };
  add({ ...tunnel, kind: 'vtep-unreachable', port: 3 });
  add({ ...tunnel, kind: 'vtep-reachable', port: 4 });
  add({ ...tunnel, kind: 'vtep-unreachable', port: 99 });
  add({ ...tunnel, kind: 'vtep-heard', port: 0, address: '10.77.0.9' });
  add({ ...tunnel, kind: 'l2-miss', port: 0, mac: 'M' });
  add({ ...tunnel, kind: 'l3-miss', port: 0, address: '172.30.0.9' });
  t.deepEqual(lines, [
    'warn no way to VTEP 10.77.0.2 in network blue: its next hop does not answer, or there is no route',
    'info VTEP 2001:db8:77::2 in network blue is reached again',
    'warn no way to VTEP 99 in network blue: its next hop does not answer, or there is no route',
    'info VTEP 10.77.0.9 is heard in network blue, which is open',
    'info nobody knows behind which VTEP MAC M is in network blue',
    'info nobody knows the MAC of 172.30.0.9 in network blue',
  ]);
});

test('every kind of event is one line with names', (t) => {
  const { lines, add } = makeLog();
  add({});
  add({ kind: 'mac-flapping', count: 20, vlan: 7 });
  add({ kind: 'port-quarantined', count: 30, fromPort: 0 });
  add({ kind: 'port-quarantined', count: 1, fromPort: 0, mac: '' });
  add({ kind: 'port-released', fromPort: 0, mac: '' });
  add({ kind: 'fdb-full', fromPort: 0 });
  add({ kind: 'address-conflict', fromPort: 0, address: '172.30.0.1' });
  add({ kind: 'neighbors-full', network: 0, fromPort: 0, mac: '', count: 4096 });
  const connections = { network: 0, fromPort: 0, mac: '' };
  add({ ...connections, kind: 'connections-alarm', port: 0, count: 80 });
  add({ ...connections, kind: 'connections-full', port: 0, count: 1024 });
  add({ ...connections, kind: 'connection-limit', network: 1, count: 16 });
  add({ ...connections, kind: 'ports-exhausted', address: '10.77.0.1' });
  add({ ...connections, kind: 'port-block-taken', address: '10.77.0.1', ports: '1024-2047' });
  add({ ...connections, kind: 'port-block-freed', address: '10.77.0.1', ports: '1024-2047' });
  add({ kind: 'events-lost', network: 0, port: 0, fromPort: 0, mac: '', count: 9 });
  add({ fromPort: 99, mac: 'N' });
  t.deepEqual(lines, [
    'info MAC M moved from port a to port b in network blue',
    'warn MAC M flaps between ports a and b in network blue, VLAN 7: 20 moves in 10 seconds',
    'warn port b is quarantined for 30 seconds in network blue: MAC M came back on it; look for a loop behind it',
    'warn port b is quarantined for 1 second in network blue; look for a loop behind it',
    'warn port b forwards again in network blue',
    'warn no room to learn MAC M of port b in network blue',
    'warn MAC M on port b uses 172.30.0.1, an address of the router in network blue; give it another',
    'warn all 4096 neighbors are taken, and port b needs another: the least used are put out; look for a scan behind it',
    'warn the table of connections is 80 % full: tapline show nat says whose they are; raise nat.max_flows',
    'warn the table of connections is full at 1024: half-open ones make room for others; raise nat.max_flows',
    'warn endpoint b has 16 connections in network blue, as many as nat.flows_per_endpoint allows: more are refused',
    'warn no port is left at 10.77.0.1 for endpoint b: raise nat.ports, or give masquerade more addresses',
    'info endpoint b has ports 1024-2047 of 10.77.0.1',
    'info endpoint b gave back ports 1024-2047 of 10.77.0.1',
    'warn 9 events were lost: more happened than could be told',
    'info MAC N moved from port 99 to port b in network blue',
  ]);
});

test('the moves of one MAC are logged once a second, and all of them kept', (t) => {
  const { log, lines, add } = makeLog();
  for (let i = 0; i < 25; i++) add({ time: START + i * 100 });
  add({ mac: 'N', time: START + 2450 });
  t.is(lines.length, 4, 'M at 0, 1.0 and 2.0 s, and N');
  t.is(log.list().length, 26);
});

test('many MACs that move do not fill the log: the first are said, the others counted', (t) => {
  const { log, lines, add } = makeLog();
  for (let i = 0; i < 3000; i++) {
    add({ mac: `M${i}`, time: START + Math.floor(i / 3) });
    if (i % 100 === 99) add({ kind: 'events-lost', time: START + Math.floor(i / 3), mac: '', count: 50 });
  }
  t.is(lines.filter((line) => line.includes('moved')).length, 20);
  t.is(lines.filter((line) => line.includes('lost')).length, 1);
  add({ mac: 'N', time: START + 1000 });
  t.deepEqual(lines.slice(-2), [
    'warn 2980 more moves of MACs and unknown addresses were not logged',
    'info MAC N moved from port a to port b in network blue',
  ]);
  add({ mac: 'N', time: START - 5000 });
  t.is(lines.length, 24, 'a clock that was set back silences nothing');
  t.is(log.list().length, EVENT_RING);
});

test('the last thousand are kept, and the newest of a kind is found', (t) => {
  const { log, add } = makeLog();
  for (let i = 0; i < EVENT_RING + 5; i++) add({ kind: 'fdb-full', count: i });
  const kept = log.list();
  t.is(kept.length, EVENT_RING);
  t.deepEqual([kept[0]?.id, kept.at(-1)?.id], [6, EVENT_RING + 5]);
  t.is(log.last(({ kind }) => kind === 'fdb-full')?.count, EVENT_RING + 4);
  t.is(
    log.last(({ kind }) => kind === 'mac-moved'),
    undefined,
  );
});

test('an event says all there is, and null where there is nothing', (t) => {
  const { log, add } = makeLog();
  add({ vlan: 7 });
  add({ kind: 'events-lost', network: 0, port: 0, fromPort: 0, mac: '', count: 2 });
  t.deepEqual(log.list(), [
    {
      id: 1,
      time: '2026-01-31T12:00:00.000Z',
      kind: 'mac-moved',
      network: 'blue',
      port: 'b',
      fromPort: 'a',
      vlan: 7,
      mac: 'M',
      count: 0,
      address: null,
      ports: null,
      service: null,
      text: 'MAC M moved from port a to port b in network blue, VLAN 7',
    },
    {
      id: 2,
      time: '2026-01-31T12:00:00.000Z',
      kind: 'events-lost',
      network: null,
      port: null,
      fromPort: null,
      vlan: null,
      mac: null,
      count: 2,
      address: null,
      ports: null,
      service: null,
      text: '2 events were lost: more happened than could be told',
    },
  ]);
});

test('who follows gets what is kept and what comes, until the end', async (t) => {
  const { log, add } = makeLog();
  add({ count: 1 });
  const stream = log.follow();
  const text: string[] = [];
  stream.on('data', (chunk) => text.push(String(chunk)));
  await new Promise((resolve) => setImmediate(resolve));
  add({ count: 2 });
  add({ count: 3 });
  log.close();
  log.close();
  add({ count: 4 });
  await once(stream, 'end');
  const counts = text
    .join('')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line).count);
  t.deepEqual(counts, [1, 2, 3]);
});

test('a slow reader is told what it missed, and costs no memory', async (t) => {
  const { log, add } = makeLog();
  const stream = log.follow();
  stream.read(0);
  for (let i = 0; i < 50_000; i++) add({ kind: 'fdb-full' });
  t.true(stream.readableLength < 100_000);
  const events: { id: number; kind: string; count: number }[] = [];
  let rest = '';
  stream.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) events.push(JSON.parse(line));
    if (events.at(-1)?.id === 50_000) log.close();
  });
  await once(stream, 'end');
  const lost = events.filter(({ kind }) => kind === 'events-lost');
  t.is(lost.length, 1);
  t.is(events.length - 1 + (lost[0]?.count ?? 0), 50_000);
});
