/** Services with real servers and clients: who reaches them at which address and port, and whom backends take clients for. */

import test from 'ava';
import { tcpdump } from './support/frames.js';
import { countConnections, greet } from './support/greeters.js';
import { balance } from './support/host.js';
import { iperf, iperfServer, iperfWhole } from './support/iperf.js';
import { createFar, FAR, FAR_MTU } from './support/nat.js';
import { startNginx } from './support/nginx.js';
import { ask, fetchFrom, post, send, serve } from './support/published.js';
import { PYTHON } from './support/scapy.js';
import {
  backends,
  createServiceSite,
  prepareServiceSite,
  service,
  serviceOf,
  untilBackend,
  VIRTUAL,
} from './support/services.js';
import { newDrops, OUTSIDE, UPLINK } from './support/site.js';
import { backTo, ENGINES, failTapline } from './support/tapline.js';
import { sleep } from './support/wait.js';

/** One after the other, whoever has answered. */
const NAMES = ['a', 'b', 'c'];
const SETTLED_MS = 3000;

for (const engine of ENGINES) {
  test.serial(`${engine}: outside and inside reach it in both families, and backends see who it is`, async (t) => {
    const listen = ['8080/tcp', '8080/udp', `${VIRTUAL.ip}:8080/tcp`, `[${VIRTUAL.ip6}]:8080/tcp`];
    const { tapline, a, b, c, e, outside } = await createServiceSite(t, {
      engine,
      services: { web: service({ listen }) },
    });
    for (const from of [a, b, c]) await serve(t, from, from.endpoint, [80]);
    for (const [from, client, address, own] of [
      [outside, OUTSIDE.ip, UPLINK.ip, 43_100],
      [outside, OUTSIDE.ip6, UPLINK.ip6, 43_110],
      // The other network is routed to, so its addresses are known here.
      [e, e.ip, VIRTUAL.ip, 43_120],
      [e, e.ip6, VIRTUAL.ip6, 43_130],
      [e, e.ip, UPLINK.ip, 43_140],
      [e, e.ip6, UPLINK.ip6, 43_150],
    ] as const) {
      const answers = [];
      for (let i = 0; i < 3; i++) answers.push(await fetchFrom(from, address, 8080, '--local-port', String(own + i)));
      for (const [i, answer] of answers.entries())
        t.like(answer, { port: 80, peer: client, peerPort: own + i }, `${from.name} ${address}`);
      t.deepEqual(answers.map((answer) => answer?.name).sort(), NAMES, `${from.name} ${address}`);
    }
    for (const [client, address, own] of [
      [OUTSIDE.ip, UPLINK.ip, 43_160],
      [OUTSIDE.ip6, UPLINK.ip6, 43_170],
    ] as const) {
      const answers = [];
      for (let i = 0; i < 3; i++) answers.push(await ask(t, outside, address, 8080, own + i));
      for (const [i, answer] of answers.entries()) t.like(answer, { port: 80, peer: client, peerPort: own + i });
      t.deepEqual(answers.map((answer) => answer?.name).sort(), NAMES, address);
      // Of a flow that there is, datagrams stay with whom the first one found.
      const again = await ask(t, outside, address, 8080, own);
      t.is(again?.name, answers[0]?.name);
    }
    // The virtual address is alive by itself, and nothing else is behind it.
    for (const from of [a, e]) {
      for (const address of [VIRTUAL.ip, VIRTUAL.ip6])
        t.is((await from.run(['ping', '-n', '-c', '1', '-W', '2', address])).code, 0, `${from.endpoint} ${address}`);
      t.is((await from.run(['curl', '-s', '-m', '3', `http://${VIRTUAL.ip}:80/`])).code, 7, 'refused at once');
    }
    const { backends: counted, flows } = await serviceOf(tapline);
    t.is(flows, 6 * 3 + 6, 'flows in all');
    t.deepEqual(
      counted.map((backend) => backend.flows),
      [8, 8, 8],
    );
    const { came, went } = await balance(tapline);
    t.is(came, went);
  });
}

test.serial(
  'backends of several networks, one of which has no IPv6: who has no address of a family gets none of it',
  async (t) => {
    const { a, e, outside } = await createServiceSite(t, {
      networks: { green: { subnets: ['172.31.0.0/24'] } },
      endpoint: { e: { addresses: ['172.31.0.2'] } },
      services: { web: service({ backends: backends(['a', 'e'], 80) }) },
    });
    for (const from of [a, e]) await greet(from, from.endpoint, [80]);
    t.deepEqual((await countConnections(outside, UPLINK.ip, 8080, 10)).counts, { a: 5, e: 5 });
    t.deepEqual((await countConnections(outside, UPLINK.ip6, 8080, 10)).counts, { a: 10 });
  },
);

test.serial('the client’s address is in nginx’s log, from outside and in both families', async (t) => {
  const { a, b, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a', 'b'], 80) }) },
  });
  const servers = [await startNginx(t, a, 'a'), await startNginx(t, b, 'b')];
  const urls = [`http://${UPLINK.ip}:8080/`, `http://[${UPLINK.ip6}]:8080/`];
  for (const url of urls) {
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await outside.exec('curl', '-s', '-m', '5', '--noproxy', '*', url));
    t.deepEqual(answers.sort(), ['a\n', 'a\n', 'b\n', 'b\n'], url);
  }
  for (const server of servers) {
    const line = (address: string): string => `${address} "GET / HTTP/1.1" 200`;
    t.deepEqual(server.log(), [OUTSIDE.ip, OUTSIDE.ip, OUTSIDE.ip6, OUTSIDE.ip6].map(line));
  }
});

test.serial('ports: another one at the backend, ranges at their place, several listeners, many services', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t, {
    services: {
      range: service({ listen: [`${UPLINK.ip}:8000-8010/tcp`], backends: backends(['a', 'b'], 7000) }),
      several: service({ listen: ['80/tcp', `${UPLINK.ip}:443/tcp`, '9000/tcp'], backends: backends(['a', 'b'], 81) }),
      two: service({ listen: ['8081/tcp'], backends: [...backends(['a'], 82), ...backends(['a'], 83)] }),
    },
  });
  for (const from of [a, b]) await serve(t, from, from.endpoint, [7000, 7003, 7010, 81, 82, 83]);
  for (const [port, inner] of [
    [8000, 7000],
    [8003, 7003],
    [8010, 7010],
  ] as const) {
    const answers = [await fetchFrom(outside, UPLINK.ip, port), await fetchFrom(outside, UPLINK.ip, port)];
    for (const answer of answers) t.is(answer?.port, inner);
    t.deepEqual(answers.map((answer) => answer?.name).sort(), ['a', 'b']);
  }
  t.is(await fetchFrom(outside, UPLINK.ip6, 8000), null, 'it listens at the IPv4 address only');
  // Listeners of one service share its turn.
  const names = [];
  for (const port of [80, 443, 9000, 80]) names.push((await fetchFrom(outside, UPLINK.ip, port))?.name);
  t.deepEqual(names, [names[0], names[1], names[0], names[1]]);
  t.not(names[0], names[1]);
  // One endpoint may be there twice, at different ports.
  const twice = [await fetchFrom(outside, UPLINK.ip, 8081), await fetchFrom(outside, UPLINK.ip, 8081)];
  t.deepEqual(twice.map((answer) => answer?.port).sort(), [82, 83]);
  // What it does not listen at is refused, and so are published ports that clash, by name.
  t.is((await outside.run(['curl', '-s', '-m', '3', `http://${UPLINK.ip}:8011/`])).code, 28, 'nobody listens there');
  const clash = await tapline.cli('publish', 'a', '9000:80');
  t.is(clash.code, 1);
  t.regex(clash.stderr, /9000:80\/tcp is taken by .*9000\/tcp of service several/);
});

test.serial('one client port at two listeners of a service are two connections to its backend', async (t) => {
  const { a, outside } = await createServiceSite(t, {
    services: {
      web: service({ listen: ['8080/tcp', '8081/tcp', '8080/udp', '8081/udp'], backends: backends(['a'], 80) }),
    },
    // As with published ports of one endpoint.
    endpoint: { a: { publish: ['9080:81', '9081:81'] } },
  });
  await serve(t, a, 'a', [80, 81]);
  // Both are open at the same time. The second has another port at the backend, which is its port for the router.
  const both = `
import socket, sys
def connect(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('0.0.0.0', 43300))
    s.settimeout(5)
    s.connect(('${UPLINK.ip}', port))
    return s
first, second = connect(int(sys.argv[1])), connect(int(sys.argv[2]))
for s in (second, first):
    s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    print(s.recv(1000).decode().split('\\r\\n\\r\\n')[1])
`;
  for (const [first, second, port] of [
    ['8080', '8081', 80],
    ['9080', '9081', 81],
  ] as const) {
    const answers = (await outside.exec(PYTHON, '-c', both, first, second)).trim().split('\n');
    t.is(answers.length, 2);
    t.is(answers[1], `a ${port} ${OUTSIDE.ip} 43300`, 'the first one keeps its port');
    t.regex(answers[0] ?? '', new RegExp(`^a ${port} `));
    t.not(answers[0], answers[1]);
  }
  t.like(await ask(t, outside, UPLINK.ip, 8080, 43_301), { peer: OUTSIDE.ip, peerPort: 43_301 });
  t.like(await ask(t, outside, UPLINK.ip, 8081, 43_301), { name: 'a', port: 80 });
});

test.serial('a client behind a link of small packets: downloads find their size through the service', async (t) => {
  const { a, outside } = await createServiceSite(t, {
    services: { web: service({ backends: backends(['a'], 80) }) },
  });
  const far = await createFar(t, outside);
  // It knows nothing of the small link, and asks for segments that are too long for it.
  await far.exec('ip', 'link', 'set', 'far0', 'mtu', '1500');
  await outside.exec('ethtool', '-K', 'out1', 'tx', 'off', 'tso', 'off', 'gso', 'off');
  await startNginx(t, a, 'a', { large: 2 << 20 });
  for (const [address, client] of [
    [UPLINK.ip, FAR.ip],
    [`[${UPLINK.ip6}]`, FAR.ip6],
  ] as const) {
    const url = `http://${address}:8080/large`;
    const wire = await tcpdump(t, far, { device: 'far0', direction: 'in', filter: 'tcp src port 8080' });
    const got = await far.exec('curl', '-s', '-m', '10', '-o', '/dev/null', '-w', '%{http_code} %{size_download}', url);
    t.is(got, `200 ${2 << 20}`, address);
    const longest = Math.max(...(await wire.frames()).map((frame) => frame.length));
    t.is(longest, FAR_MTU + 14, 'with the header of Ethernet');
    t.regex(await a.exec('ip', 'route', 'get', client), new RegExp(`mtu ${FAR_MTU}`), 'the backend has been told');
  }
});

test.serial('services that come and go leave nothing behind', async (t) => {
  const { tapline, a, b, outside } = await createServiceSite(t);
  for (const from of [a, b]) await serve(t, from, from.endpoint, [80]);
  const listen = ['8080/tcp', '8080/udp', `${VIRTUAL.ip}:80/tcp`, `[${VIRTUAL.ip6}]:80/tcp`];
  const round = async (): Promise<void> => {
    await post(tapline.socket, '/v1/services', {
      name: 'web',
      ...service({ listen, health: { type: 'tcp', rise: 1 } }),
    });
    for (const key of ['a:80', 'b:80']) await untilBackend(tapline, key, ({ state }) => state === 'up');
    for (const address of [UPLINK.ip, UPLINK.ip6]) t.like(await fetchFrom(outside, address, 8080), { port: 80 });
    await send(tapline.socket, 'DELETE', '/v1/services/web');
  };
  await round();
  // What checks hold they give back behind the answer: the thread ends, its namespace and port go.
  await sleep(SETTLED_MS);
  const before = await tapline.holdings();
  for (let i = 0; i < 5; i++) await round();
  await backTo(tapline, before);
  t.is((await a.run(['ping', '-n', '-c', '1', '-W', '1', VIRTUAL.ip])).code, 1, 'the virtual address is gone');
});

test.serial('bad input: one line says where, what and what is possible, and nothing is begun', async (t) => {
  const site = await prepareServiceSite(t);
  const { a, e, host } = site;
  const endpoints = (more: object): object => ({
    endpoints: {
      a: { network: 'blue', netns: a.path, addresses: [a.ip] },
      e: { network: 'green', netns: e.path, addresses: [e.ip], ...more },
    },
  });
  const web = (more: object): object => ({ services: { web: service({ backends: backends(['a'], 80), ...more }) } });
  const other = {
    vrfs: { other: {} },
    networks: { blue: { subnets: ['172.30.0.0/24'] }, green: { subnets: ['172.31.0.0/24'], vrf: 'other' } },
  };
  for (const [line, config] of [
    [
      'services.web.backends[0].port: expected an integer from 1 to 65535, got 70000',
      web({ backends: backends(['a'], 70_000) }),
    ],
    [
      'services.web.backends[0].port: expected 65525 at most, for the 11 ports of 8000-8010/tcp, got 65530',
      web({ listen: ['8000-8010/tcp'], backends: backends(['a'], 65_530) }),
    ],
    [
      'services.web.backends[0].weight: expected an integer from 0 to 65535, got -1',
      web({ backends: backends(['a'], 80, [-1]) }),
    ],
    [
      'services.web.listen[1]: 8080/tcp is taken by 8080/tcp of this service; choose other ports, or another address',
      web({ listen: ['8080/tcp', '8080/tcp'] }),
    ],
    [
      'services.web.listen[0]: 8080/tcp is taken by 8080:80/tcp of endpoint e; choose other ports, or another address',
      { ...web({}), ...endpoints({ publish: ['8080:80'] }) },
    ],
    [
      'services.web.backends[1].endpoint: endpoint e is in network green of VRF other, the service in VRF default; no connection leads from one to the other',
      { ...web({ backends: backends(['a', 'e'], 80) }), ...endpoints({}), ...other },
    ],
  ] as const) {
    const failed = await failTapline(t, { ...site.config, ...config }, { netns: host });
    t.is(failed.code, 2, failed.stderr);
    t.is(failed.stderr, `tapline: ${failed.file}: ${line}\n`);
    t.notRegex(await a.exec('ip', '-o', 'link'), /eth0/);
  }
});

test.serial('transfers through it, in both directions and families, whole and counted at the backend', async (t) => {
  const { tapline, a, outside } = await createServiceSite(t, {
    services: { web: service({ listen: ['5201/tcp', '5201/udp'], backends: backends(['a'], 5301) }) },
  });
  await iperfServer(a, 5301);
  const before = (await serviceOf(tapline)).backends[0];
  for (const address of [UPLINK.ip, UPLINK.ip6]) {
    for (const direction of [[], ['--reverse']])
      await iperfWhole(outside, address, 32, '--parallel', '2', ...direction);
    const { end } = await iperf(outside, address, '--udp', '--length', '1000', '--bytes', '500K', '--bitrate', '2M');
    // A receiver that gets no processor for a while loses some, whoever delivers.
    t.true((end.sum?.lost_packets ?? 500) < 50, `${address}: ${end.sum?.lost_packets}`);
  }
  const { backends: all } = await serviceOf(tapline);
  const [after] = all;
  t.true((after?.bytesIn ?? 0) - (before?.bytesIn ?? 0) > 20_000_000);
  t.true((after?.bytesOut ?? 0) - (before?.bytesOut ?? 0) > 20_000_000);
  const { came, went } = await balance(tapline);
  t.is(came, went);
});

test.serial(
  'without backends: clients are refused at once, in both families and protocols, and drops say why',
  async (t) => {
    const { tapline, a, outside } = await createServiceSite(t, {
      services: {
        none: service({ listen: ['8080/tcp', '8080/udp'], backends: [] }),
        drained: service({ listen: ['8081/tcp', '8081/udp'], backends: backends(['a'], 80, [0]) }),
        away: service({ listen: ['8082/tcp', '8082/udp'], backends: backends(['b'], 80) }),
      },
    });
    await serve(t, a, 'a', [80]);
    await tapline.ok('disconnect', 'b');
    const { rxDrops: before } = await tapline.port('uplink');
    let asked = 0;
    for (const port of [8080, 8081, 8082]) {
      for (const address of [UPLINK.ip, `[${UPLINK.ip6}]`]) {
        const began = performance.now();
        const refused = await outside.run(['curl', '-s', '-m', '5', '--noproxy', '*', `http://${address}:${port}/`]);
        const took = performance.now() - began;
        t.is(refused.code, 7, `${address}:${port} connection refused`);
        t.true(took < 4000, `${took} ms`);
        const datagram = await outside.run([
          PYTHON,
          '-c',
          `
import socket
s = socket.socket(socket.AF_INET6 if ':' in '${address}' else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect(('${address.replace(/[[\]]/g, '')}', ${port}))
s.send(b'hello')
s.recv(100)
`,
        ]);
        t.regex(datagram.stderr, /ConnectionRefusedError/, `${address}:${port}/udp`);
        asked += 2;
      }
    }
    const drops = await newDrops(tapline, 'uplink', before);
    t.is(drops.no_backend, asked);
    t.regex(await tapline.ok('show', 'drops'), /no_backend/);
    // Whoever is weighed again is found again.
    await send(tapline.socket, 'PATCH', '/v1/services/drained/backends/a:80', { weight: 1 });
    t.like(await fetchFrom(outside, UPLINK.ip, 8081), { name: 'a' });
  },
);
