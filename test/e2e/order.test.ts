/** No reordering within a flow: numbered datagrams of several flows at once, sent as fast as the sender can. */

import test from 'ava';
import { createLab, type Host } from './support/lab.js';
import { ENGINES } from './support/tapline.js';

const FLOWS = 4;
const DATAGRAMS = 5000;

/** Counts, for each source port, what arrives and what arrives after a later one. Ends 1 s after the last. */
const RECEIVER = `
import json, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20) # SO_RCVBUFFORCE, which Python has no name for
s.bind(('', 7000))
s.settimeout(20)
print('receiving', flush=True)
last, received, late = {}, {}, {}
try:
    while True:
        data, (_, port) = s.recvfrom(2048)
        s.settimeout(1)
        number, = struct.unpack_from('!I', data)
        received[port] = received.get(port, 0) + 1
        if number <= last.get(port, -1): late[port] = late.get(port, 0) + 1
        last[port] = max(last.get(port, -1), number)
except TimeoutError:
    print(json.dumps({'received': received, 'late': late}))
`;

/** Sizes differ, so that a short datagram could overtake a long one; a pause after each round keeps most from being lost. */
const SENDER = `
import socket, struct, sys, time
address, flows, datagrams = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
for s in sockets: s.connect((address, 7000))
for number in range(datagrams):
    for s in sockets: s.send(struct.pack('!I', number) + bytes((number * 7919) % 1400))
    if number % 32 == 31: time.sleep(0.001)
`;

for (const engine of ENGINES) {
  test.serial(`${engine}: datagrams of a flow arrive in the order in which they were sent`, async (t) => {
    const { hosts } = await createLab(t, { engine });
    const [a, b] = hosts as [Host, Host];
    // What waits for the neighbour's address is sent by the kernel beside what comes after it: its reordering, not ours.
    await a.exec('ping', '-c', '1', '-W', '5', b.ip);
    const receiver = b.start('python3', '-c', RECEIVER);
    await receiver.said(/receiving/);
    await a.exec('python3', '-c', SENDER, b.ip, String(FLOWS), String(DATAGRAMS));
    const { stdout, stderr } = await receiver.ended;
    const { received, late } = JSON.parse(stdout.split('\n')[1] ?? stderr) as Record<string, Record<string, number>>;
    t.deepEqual(late, {});
    t.is(Object.keys(received!).length, FLOWS);
    for (const count of Object.values(received!)) t.true(count > DATAGRAMS / 2, `enough arrived to say so: ${count}`);
  });
}
