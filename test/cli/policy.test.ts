/** `tapline policy` and its requests. */

import test from 'ava';
import { makeLab } from './support/lab.js';

test('rules: added at their place, listed with their hits, removed', async (t) => {
  const { run, dataplane } = await makeLab(t);
  for (const name of ['a', 'b']) await run('connect', 'blue', '--netns', `/ns/${name}`);
  const ssh = '--from-network blue --to-cidr 10.0.0.0/8 --proto tcp --port 22 --port 80-90,443';
  t.like(await run('policy', 'add', 'drop', ...ssh.split(' ')), { code: 0, out: '1\n' });
  t.is((await run('policy', 'add', 'reject', '--to-network', 'red')).out, '2\n');
  const added = await run('policy', 'add', 'accept', '--from', 'a', '--to', 'b', '--position', '2', '--json');
  t.deepEqual(JSON.parse(added.out), {
    number: 2,
    from: { endpoint: 'a' },
    to: { endpoint: 'b' },
    proto: null,
    ports: [],
    action: 'accept',
    hits: 0,
    state: 'active',
    reason: '',
  });
  await run('network', 'create', 'shut', '--subnet', '10.0.0.0/24', '--policy', 'drop');
  await run('disconnect', 'b');
  dataplane.nat.policyHits.set([7, 0, 12, 3]);
  const table = [
    'RULE     FROM          TO            PROTO  PORTS         ACTION  HITS  STATE',
    '1        network blue  10.0.0.0/8    tcp    22,80-90,443  drop       7  active',
    '2        a             b             any    any           accept    12  waiting: endpoint b is not up',
    '3        any           network red   any    any           reject     0  active',
    'default  any           network shut  any    any           drop       3  active',
    '',
  ].join('\n');
  t.is((await run('policy', 'ls')).out, table);
  t.like(JSON.parse((await run('policy', 'ls', '--json')).out)[3], { number: null, to: { network: 'shut' }, hits: 3 });
  t.like(await run('policy', 'rm', '1', '3'), { code: 0, out: '3\n1\n' });
  t.deepEqual(JSON.parse((await run('policy', 'rm', '1', '--json')).out), [{ name: '1' }]);
  t.regex((await run('policy', 'ls')).out, /^RULE.*\ndefault [^\n]*\n$/);
  t.regex((await run('network', 'inspect', 'shut')).out, /^policy: +drop$/m);
});

for (const [args, code, line] of [
  [
    ['add', 'drop', '--from', 'a', '--from-network', 'blue'],
    2,
    'expected at most one of --from, --from-network, --from-cidr',
  ],
  [['add', 'drop', '--from', 'x'], 1, 'from.endpoint: expected the name of an endpoint, got "x"'],
  [
    ['add', 'drop', '--to-cidr', '10.0.0.1/8'],
    2,
    'to.cidr: expected 10.0.0.0/8, the prefix without host bits, got "10.0.0.1/8"',
  ],
  [['add', 'drop', '--port', '22'], 2, 'ports: ports need proto: tcp, proto: udp or proto: sctp'],
  [
    ['add', 'drop', '--proto', 'tcp', '--port', '22,'],
    2,
    'ports[1]: expected a port number or a range such as "6000-6010", got ""',
  ],
  [['add', 'drop', '--position', '0'], 2, 'position: expected an integer from 1 to 16384, got 0'],
  [['add', 'drop', '--position', '2'], 2, 'position: expected a position from 1 to 1, got 2'],
  [['rm', '1'], 1, 'no rule 1; there is none'],
  [['rm', 'x'], 2, 'number: expected an integer from 1 to 16384, got "x"'],
] as const) {
  test(`refused: policy ${args.join(' ')}`, async (t) => {
    const { run, daemon } = await makeLab(t);
    const { code: got, err } = await run('policy', ...args);
    t.deepEqual([got, err], [code, `tapline: ${line}\n`]);
    t.deepEqual(daemon.policy.list(), []);
  });
}

test('completion: actions, names, numbers', async (t) => {
  const { run } = await makeLab(t);
  await run('connect', 'blue', '--netns', '/ns/a');
  await run('policy', 'add', 'drop');
  const complete = async (...words: string[]): Promise<string[]> =>
    (await run('__complete', ...words)).out.split('\n').filter((word) => word !== '');
  t.deepEqual(await complete('policy', 'add', ''), ['accept', 'drop', 'reject']);
  t.deepEqual(await complete('policy', 'add', 'drop', '--to-network', 'b'), ['blue']);
  t.deepEqual(await complete('policy', 'add', 'drop', '--to', ''), ['a']);
  t.deepEqual(await complete('policy', 'add', 'drop', '--proto', 'i'), ['icmp', 'icmpv6']);
  t.deepEqual(await complete('policy', 'rm', ''), ['1']);
});
