/** The domain against a slow one made of Maps, over any sequence of joins, leaves, data, routers, ports that come and go, and time. */

import test from 'ava';
import fc from 'fast-check';
import { ROUTER_ALWAYS, ROUTER_AUTO, ROUTER_NEVER } from '../../../core/switch/snooping.js';
import {
  data,
  joins,
  leaves,
  mld2Report,
  type Outcome,
  pimHello,
  pimHello6,
  TestDomain,
  v3Report,
} from './multicast.js';

const PORTS = 6;
const GROUPS = ['239.1.1.1', '238.1.1.1', '239.1.1.2', 'ff15::7', 'ff15::1:0:0:7', 'ff18::7'];

interface SlowPort {
  readonly router: number;
  readonly fastLeave: boolean;
  heard: number;
}

class SlowDomain {
  now = 1000;
  readonly ports = new Map<number, SlowPort>();
  /** Group → port → the second of its end. */
  readonly members = new Map<string, Map<number, number>>();
  /** Who is asked whether he left: group and port → the second of the leave. The first query takes a tick, an answer two seconds. */
  readonly asked = new Map<string, number>();
  private readonly dropUnregistered: boolean;

  constructor(dropUnregistered: boolean) {
    this.dropUnregistered = dropUnregistered;
  }

  remove(port: number): void {
    this.ports.delete(port);
    for (const group of GROUPS) this.drop(group, port);
  }

  private drop(group: string, port: number): void {
    this.members.get(group)?.delete(port);
    this.asked.delete(`${group} ${port}`);
  }

  routers(): number[] {
    const isRouter = ({ router, heard }: SlowPort) =>
      router === ROUTER_ALWAYS || (router === ROUTER_AUTO && this.now < heard + 255);
    return [...this.ports].filter(([, port]) => isRouter(port)).map(([port]) => port);
  }

  join(port: number, group: string): void {
    const members = this.members.get(group) ?? new Map<number, number>();
    members.set(port, this.now + 260);
    this.members.set(group, members);
    this.asked.delete(`${group} ${port}`);
  }

  leave(port: number, group: string): void {
    if (!this.members.get(group)?.has(port)) return;
    const key = `${group} ${port}`;
    const { fastLeave, router } = this.ports.get(port) as SlowPort;
    if (fastLeave || router === ROUTER_ALWAYS) this.drop(group, port);
    else if (!this.asked.has(key)) this.asked.set(key, this.now);
  }

  pass(seconds: number): void {
    this.now += seconds;
    for (const [group, members] of this.members) {
      for (const [port, end] of [...members]) {
        const left = this.asked.get(`${group} ${port}`);
        members.set(port, left === undefined ? end : Math.min(end, left + 3));
        if ((members.get(port) as number) <= this.now) this.drop(group, port);
      }
    }
  }

  data(from: number, group: string): Outcome {
    const members = [...(this.members.get(group)?.keys() ?? [])];
    if (members.length === 0 && !this.dropUnregistered) return 'flood';
    return this.without(from, [...members, ...this.routers()]) ?? 'unregistered_multicast';
  }

  report(from: number): Outcome {
    return this.without(from, this.routers()) ?? 'snooped';
  }

  private without(from: number, ports: number[]): number[] | null {
    const targets = [...new Set(ports)].filter((port) => port !== from).sort((a, b) => a - b);
    return targets.length === 0 ? null : targets;
  }

  list(): string[] {
    const lines: string[] = [];
    for (const [group, members] of this.members) {
      for (const [port, end] of members) lines.push(`${group} ${port} ${end - this.now}`);
    }
    for (const port of this.routers()) {
      const { router, heard } = this.ports.get(port) as SlowPort;
      lines.push(`router ${port} ${router === ROUTER_ALWAYS ? -1 : heard + 255 - this.now}`);
    }
    return lines.sort();
  }
}

const port = fc.integer({ min: 1, max: PORTS });
const group = fc.constantFrom(...GROUPS);
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('join', 'join3', 'leave', 'leave3'), port, group }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('data'), port, group }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('pass'), seconds: fc.constantFrom(1, 2, 3, 50, 130, 255) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('hello', 'hello6', 'remove'), port }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('add'),
      port,
      router: fc.constantFrom(ROUTER_AUTO, ROUTER_ALWAYS, ROUTER_NEVER),
      fastLeave: fc.boolean(),
    }),
  },
);

interface Step {
  op: string;
  port?: number;
  group?: string;
  seconds?: number;
  router?: number;
  fastLeave?: boolean;
}

const MESSAGES: Record<string, (group: string) => Uint8Array> = {
  join: joins,
  join3: (text) => (text.includes(':') ? mld2Report({ type: 4, group: text }) : v3Report({ type: 2, group: text })),
  leave: leaves,
  leave3: (text) => (text.includes(':') ? mld2Report({ type: 3, group: text }) : v3Report({ type: 3, group: text })),
  hello: pimHello,
  hello6: pimHello6,
};

function expected(slow: SlowDomain, { op, port: at = 0, group: to = '' }: Step): Outcome {
  const there = slow.ports.get(at);
  if (op === 'data') return slow.data(at, to);
  if (op === 'hello' || op === 'hello6') {
    if (there !== undefined) there.heard = slow.now;
    return 'flood';
  }
  if (there === undefined) return 'flood';
  if (op.startsWith('join')) slow.join(at, to);
  else slow.leave(at, to);
  return slow.report(at);
}

function run(domain: TestDomain, slow: SlowDomain, one: Step): string | null {
  const { op, port: at = 0, group: to = '', seconds = 0, router = 0, fastLeave = false } = one;
  if (op === 'pass') {
    domain.pass(seconds);
    slow.pass(seconds);
  } else if (op === 'remove') {
    domain.snooping.removePort(at);
    slow.remove(at);
  } else if (op === 'add') {
    domain.snooping.addPort(at, router, fastLeave);
    slow.remove(at);
    slow.ports.set(at, { router, fastLeave, heard: -1000 });
  } else {
    const frame = op === 'data' ? data(to) : MESSAGES[op](to);
    const want = JSON.stringify(expected(slow, one));
    const got = JSON.stringify(domain.receive(at, frame));
    if (got !== want) return `${op} on ${at}: ${got} instead of ${want}`;
  }
  const [got, want] = [JSON.stringify(domain.list()), JSON.stringify(slow.list())];
  return got === want ? null : `after ${op}: ${got} instead of ${want}`;
}

test('agrees with the slow one after every step of any sequence', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), fc.integer(), (steps, dropUnregistered, seed) => {
      const domain = new TestDomain(0, { dropUnregistered, seed });
      const slow = new SlowDomain(dropUnregistered);
      for (let i = 1; i < PORTS; i++) run(domain, slow, { op: 'add', port: i, router: 0, fastLeave: i % 2 === 0 });
      steps.forEach((one: Step, i) => {
        const difference = run(domain, slow, one);
        if (difference !== null) throw new Error(`step ${i}: ${difference}`);
      });
      return domain.arena.available === domain.arena.slotCount && domain.snooping.malformed === 0;
    }),
    { numRuns: 500 },
  );
  t.pass();
});
