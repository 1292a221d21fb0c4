/**
 * Any history of clients, backends and changes: every packet goes where the reference says, and comes back as what was asked; every counter
 * is what the reference has counted, and what the table of flows holds.
 */

import test from 'ava';
import {
  COUNT_BYTES_IN,
  COUNT_BYTES_OUT,
  COUNT_FAILURES,
  COUNT_PACKETS_IN,
  COUNT_PACKETS_OUT,
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
} from '../../../core/lb/service.js';
import {
  STATE_ESTABLISHED,
  STATE_RESET,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../../../core/nat/flow.js';
import { createRandom, type Random, rerunLine, seedOfRun } from '../../support/corpus.js';
import { A, A2, B, B2, C, EXTERNAL, EXTERNAL6, OUTSIDE, type Station } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { filler, ipOf, RST, read, type Seen, type Tcp, tcp, textOf, udp } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { type ListenSpec, ServiceLab } from './lab.js';
import { type ModelBackend, type ModelFlow, ReferenceServices, type Stage, TIMEOUTS } from './reference.js';

const STEPS = 2500;
/** A whole comparison of all counters each so many steps. */
const AUDIT = 50;

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/lb/reference.test.js');

interface ServicePlan {
  readonly number: number;
  readonly listen: readonly ListenSpec[];
  /** What clients outside and inside send to: address, protocol, ports. */
  readonly targets: readonly {
    readonly protocol: number;
    readonly address: string;
    readonly port: number;
    readonly offset: number;
  }[];
  readonly scheduler: number;
  readonly affinity: number;
}

const range = (protocol: number, address: string, first: number, count: number) =>
  Array.from({ length: count }, (_, offset) => ({ protocol, address, port: first + offset, offset }));

function plansFor(schedulers: readonly number[]): ServicePlan[] {
  return [
    {
      number: 1,
      scheduler: schedulers[0],
      affinity: 0,
      listen: [
        { protocol: TCP, at: `${EXTERNAL}:8080` },
        { protocol: TCP, at: `[${EXTERNAL6}]:8080` },
        { protocol: UDP, at: `${EXTERNAL}:5000`, last: 5003 },
      ],
      targets: [...range(TCP, EXTERNAL, 8080, 1), ...range(TCP, EXTERNAL6, 8080, 1), ...range(UDP, EXTERNAL, 5000, 4)],
    },
    {
      number: 2,
      scheduler: schedulers[1],
      affinity: 40,
      listen: [
        { protocol: TCP, at: '0.0.0.0:9000' },
        { protocol: UDP, at: '[::]:9001' },
        { protocol: TCP, at: `${EXTERNAL}:7000`, last: 7002 },
      ],
      targets: [...range(TCP, EXTERNAL, 9000, 1), ...range(UDP, EXTERNAL6, 9001, 1), ...range(TCP, EXTERNAL, 7000, 3)],
    },
    {
      number: 3,
      scheduler: schedulers[2],
      affinity: 0,
      listen: [
        { protocol: UDP, at: `${EXTERNAL}:53` },
        { protocol: UDP, at: `[${EXTERNAL6}]:53` },
        { protocol: TCP, at: '203.0.113.1:80' },
      ],
      targets: [...range(UDP, EXTERNAL, 53, 1), ...range(UDP, EXTERNAL6, 53, 1), ...range(TCP, EXTERNAL, 80, 1)],
    },
  ];
}

/** Where backends are, by their number: of each service six, at four endpoints. */
const STATIONS = [A2, B, B2, C];
const BACKENDS_EACH = 6;
const stationOf = (number: number): Station => STATIONS[number % STATIONS.length];
/** Ranges of four ports do not overlap. */
const portOf = (number: number): number => 1000 + number * 10;

interface Connection {
  readonly key: string;
  readonly plan: ServicePlan;
  readonly protocol: number;
  readonly family: 4 | 6;
  readonly station: Station;
  readonly client: string;
  readonly end: string;
  readonly target: string;
  readonly offset: number;
  /** Of its flow: the client's end as the backend sees it, and the bytes that both have sent. */
  seen: string;
  sent: number;
  answered: number;
}

class Scenario {
  private readonly lab: ServiceLab;
  private readonly model = new ReferenceServices();
  private readonly random: Random;
  private readonly plans: readonly ServicePlan[];
  private readonly connections = new Map<string, Connection>();
  /** By service, generation of its configuration, who may be chosen, and client: whom a hash has chosen. */
  private readonly hashed = new Map<string, number>();
  private readonly backends = new Map<number, ModelBackend[]>();
  private version = 0;
  private readonly suspectSettings = { failures: 2, suspectTime: 15 };

  constructor(random: Random, schedulers: readonly number[]) {
    this.random = random;
    this.plans = plansFor(schedulers);
    this.lab = new ServiceLab({
      capacity: 4096,
      timeouts: {
        [STATE_SYN_SENT]: TIMEOUTS.syn,
        [STATE_SYN_RECEIVED]: TIMEOUTS.synack,
        [STATE_ESTABLISHED]: TIMEOUTS.established,
        [STATE_RESET]: TIMEOUTS.reset,
        [STATE_UDP_UNREPLIED]: TIMEOUTS.udp,
        [STATE_UDP_STREAM]: TIMEOUTS.stream,
      },
    });
    for (const plan of this.plans) {
      const all = Array.from({ length: BACKENDS_EACH }, (_, i) => this.newBackend(plan.number * 10 + i));
      this.serve(plan, all);
    }
  }

  run(steps: number): ServiceLab {
    for (let step = 1; step <= steps; step++) {
      try {
        this.step();
        if (step % AUDIT === 0) this.audit();
      } catch (error) {
        throw new Error(`step ${step}: ${(error as Error).message}`);
      }
    }
    this.audit();
    return this.lab;
  }

  private step(): void {
    const dice = this.random(100);
    if (dice < 40) this.clientBegins();
    else if (dice < 65) this.backendSpeaks();
    else if (dice < 85) this.clientGoesOn();
    else if (dice < 93) this.change();
    else this.pass([0, 1, 1, 2, 14, 41, 125, 260][this.random(8)]);
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.random(list.length)];
  }

  // --- configuration

  private newBackend(number: number): ModelBackend {
    return {
      number,
      families: this.pick([[4], [6], [4, 6], [4, 6], [4, 6]]) as (4 | 6)[],
      weight: this.pick([0, 1, 1, 2, 3, 7]),
      isDown: this.random(6) === 0,
    };
  }

  private serve(plan: ServicePlan, backends: readonly ModelBackend[]): void {
    const { scheduler, affinity, number, listen } = plan;
    this.backends.set(number, [...backends]);
    this.version++;
    this.model.set({ number, scheduler, affinity, backends, ...this.suspectSettings });
    const specs = backends.map(({ families, ...one }) => {
      const { v4, v6 } = stationOf(one.number);
      return { ...one, addresses: families.map((family) => (family === 4 ? v4 : v6)), port: portOf(one.number) };
    });
    this.lab.serve(number, listen, { scheduler, affinity, backends: specs, ...this.suspectSettings });
  }

  /** A backend changes, comes or goes. */
  private change(): void {
    const plan = this.pick(this.plans);
    const now = this.backends.get(plan.number) as ModelBackend[];
    const number = plan.number * 10 + this.random(BACKENDS_EACH);
    const at = now.findIndex((one) => one.number === number);
    const kind = this.random(4);
    const changed = [...now];
    if (at < 0) changed.splice(2, 0, this.newBackend(number));
    else if (kind === 0) changed.splice(at, 1);
    else if (kind === 1) changed[at] = { ...changed[at], weight: this.pick([0, 1, 2, 5]) };
    else changed[at] = { ...changed[at], isDown: !changed[at].isDown };
    this.serve(plan, changed);
    if (changed.length < now.length) this.endFlows(number);
  }

  /** Both ends of its TCP connections are told, each by the numbers that it expects. */
  private endFlows(number: number): void {
    const told = this.model.end(number).map(({ key }) => this.connections.get(key) as Connection);
    const sent = this.lab.sentBy(() => {
      for (let from = 0; from >= 0; ) from = this.lab.ending.end(number, true, from, 7).next;
    });
    const resets = sent.map(({ port, frame }) => lineOf(port, read(ipOf(frame)))).sort();
    const due = told.flatMap((one) => {
      const out = 1001 + one.sent;
      const back = 9001 + one.answered;
      this.model.count(number, false, one.family === 4 ? 40 : 60);
      this.model.count(number, true, one.family === 4 ? 40 : 60);
      return [
        `${one.station.port} ${one.target} > ${one.end} ${back} ${out}`,
        `${stationOf(number).port} ${one.seen} > ${this.backendEnd(one, number)} ${out} ${back}`,
      ];
    });
    expect(resets.join(' | '), due.sort().join(' | '), `resets of backend ${number}`);
  }

  private pass(seconds: number): void {
    if (seconds === 0) return;
    this.lab.wait(seconds);
    this.model.passTo(this.model.now + seconds);
  }

  // --- packets

  private backendEnd({ family, offset }: Connection, number: number): string {
    const { v4, v6 } = stationOf(number);
    return textOf(family === 4 ? v4 : v6, portOf(number) + offset);
  }

  private newConnection(): Connection {
    const plan = this.pick(this.plans);
    const target = this.pick(plan.targets);
    const family = target.address.includes(':') ? 6 : 4;
    const isOutside = this.random(3) > 0;
    const station = isOutside ? OUTSIDE : this.pick([A, A2, B, B2, C]);
    const outside = family === 4 ? `198.51.100.${1 + this.random(9)}` : `2001:db8:1::${1 + this.random(9)}`;
    const client = isOutside ? outside : family === 4 ? station.v4 : station.v6;
    // One port for each target: two connections of one port to one place are told apart by another rule.
    const port = 20_000 + target.port * 3 + this.random(3);
    const end = textOf(client, port);
    const at = textOf(target.address, target.port);
    const key = `${target.protocol} ${end} > ${at}`;
    const { protocol, offset } = target;
    return { key, plan, protocol, family, station, client, end, target: at, offset, seen: end, sent: 0, answered: 0 };
  }

  /** SYN, or a datagram: the first of a flow, or once more. */
  private clientBegins(): void {
    const fresh = this.newConnection();
    const one = this.connections.get(fresh.key) ?? fresh;
    const flow = this.model.flows.get(one.key) ?? null;
    const isTcp = one.protocol === TCP;
    if (flow !== null && (flow.stage === 'synack' || flow.stage === 'established')) return;
    const bytes = isTcp ? tcp(one.end, one.target) : udp(one.end, one.target, filler(this.random(500)));
    if (flow !== null && this.isGoingOn(flow)) this.followed(one, flow, bytes, flow.stage);
    else {
      this.model.flows.delete(one.key);
      this.begin(one, bytes, isTcp ? 'syn' : 'udp');
    }
  }

  private isGoingOn(flow: ModelFlow): boolean {
    return flow.stage === 'stream' || (flow.stage !== 'reset' && !this.model.isGivenUp(flow));
  }

  private begin(one: Connection, bytes: Uint8Array, stage: Stage): void {
    const { plan, family, client } = one;
    const choice = this.model.choose(plan.number, family, client);
    if (choice === null) {
      const told = this.lab.say(one.station, bytes);
      if (!told.endsWith('dropped no_backend')) throw new Error(`${one.key}: ${told}, expected no_backend`);
      return;
    }
    const seen = this.lab.pass(one.station, bytes);
    const backend = typeof choice === 'number' ? choice : this.checkHash(one, choice, seen);
    one.sent = 0;
    one.answered = 0;
    one.seen = textOf(seen.source, seen.sourcePort);
    this.connections.set(one.key, one);
    this.checkSource(one, backend, seen);
    this.checkArrival(one, backend, seen, bytes);
    const flow = this.model.begin(one.key, plan.number, family, client, backend, stage);
    this.model.advance(flow, stage, false, bytes.length);
  }

  /** Among those that may be chosen; and the same one whenever all is the same. */
  private checkHash(one: Connection, allowed: readonly number[], seen: Seen): number {
    const number = Math.floor((seen.destinationPort - 1000) / 10);
    if (!allowed.includes(number)) throw new Error(`${one.key}: at ${number}, which is none of ${allowed}`);
    const who = one.plan.scheduler === SCHEDULER_SH ? one.client : one.end;
    const situation = `${one.plan.number} ${this.version} ${allowed} ${who}`;
    const before = this.hashed.get(situation) ?? number;
    this.hashed.set(situation, number);
    if (before !== number) throw new Error(`${one.key}: at ${number}, where it was at ${before} before`);
    return number;
  }

  /** As whom the backend sees a client: as himself, but for neighbors of its own, who come from the gateway. */
  private checkSource(one: Connection, backend: number, seen: Seen): void {
    const { network } = stationOf(backend);
    if (one.station.network !== network) expect(one.seen, one.end, `${one.key}: source`);
    else expect(seen.source, one.family === 4 ? `10.${network}.0.1` : `fd00:${network}::1`, `${one.key}: source`);
  }

  private checkArrival(one: Connection, backend: number, seen: Seen & { port: number }, bytes: Uint8Array): void {
    const line = `${seen.port} ${textOf(seen.source, seen.sourcePort)} > ${textOf(seen.destination, seen.destinationPort)}`;
    expect(line, `${stationOf(backend).port} ${one.seen} > ${this.backendEnd(one, backend)}`, one.key);
    this.checkContent(one, seen, bytes);
  }

  private checkContent(one: Connection, seen: Seen, bytes: Uint8Array): void {
    const before = read(bytes);
    if (Buffer.compare(seen.payload, before.payload) !== 0) throw new Error(`${one.key}: another payload`);
    const fields = (packet: Seen): string => `${packet.flags} ${packet.sequence} ${packet.acknowledgment}`;
    expect(fields(seen), fields(before), `${one.key}: TCP`);
    expect(String(seen.hops), String(before.hops - 1), `${one.key}: hops`);
  }

  /** A packet of a flow that there is. */
  private followed(one: Connection, flow: ModelFlow, bytes: Uint8Array, stage: Stage): void {
    this.checkArrival(one, flow.backend, this.lab.pass(one.station, bytes), bytes);
    this.model.advance(flow, stage, false, bytes.length);
  }

  private pickFlow(...stages: Stage[]): { one: Connection; flow: ModelFlow } | null {
    const flows = [...this.model.flows.values()].filter(({ stage }) => stages.includes(stage));
    if (flows.length === 0) return null;
    const flow = this.pick(flows);
    return { one: this.connections.get(flow.key) as Connection, flow };
  }

  /** SYN-ACK or RST to a SYN, data, or an answer to a datagram. */
  private backendSpeaks(): void {
    const found = this.pickFlow('syn', 'established', 'udp', 'stream');
    if (found === null) return;
    const { one, flow } = found;
    const data = filler(this.random(900));
    if (one.protocol === UDP) this.answers(one, flow, data, null, 'stream');
    else if (flow.stage === 'established') {
      one.answered = Math.max(one.answered, data.length);
      const fields = { flags: 'A', sequence: 9001, acknowledgment: 1001 + one.sent };
      this.answers(one, flow, data, fields, 'established');
    } else if (this.random(4) === 0) {
      this.answers(one, flow, filler(0), { flags: 'RA', acknowledgment: 1001, sequence: 0 }, 'reset');
    } else this.answers(one, flow, filler(0), { flags: 'SA', sequence: 9000, acknowledgment: 1001 }, 'synack');
  }

  private answers(one: Connection, flow: ModelFlow, data: Uint8Array, fields: Tcp | null, stage: Stage): void {
    const from = this.backendEnd(one, flow.backend);
    const bytes = fields === null ? udp(from, one.seen, data) : tcp(from, one.seen, { ...fields, data });
    const seen = this.lab.pass(stationOf(flow.backend), bytes);
    const line = `${seen.port} ${textOf(seen.source, seen.sourcePort)} > ${textOf(seen.destination, seen.destinationPort)}`;
    expect(line, `${one.station.port} ${one.target} > ${one.end}`, `${one.key}: answer`);
    this.checkContent(one, seen, bytes);
    this.model.advance(flow, stage, true, bytes.length);
  }

  /** ACK to SYN-ACK, data, RST. */
  private clientGoesOn(): void {
    const found = this.pickFlow('synack', 'synack', 'established');
    if (found === null) return;
    const { one, flow } = found;
    const acknowledgment = 9001 + one.answered;
    if (flow.stage === 'established' && this.random(5) === 0) {
      const reset = tcp(one.end, one.target, { flags: 'RA', sequence: 1001 + one.sent, acknowledgment });
      this.followed(one, flow, reset, 'reset');
      return;
    }
    const data = filler(flow.stage === 'synack' ? 0 : this.random(1200));
    one.sent = Math.max(one.sent, data.length);
    const segment = tcp(one.end, one.target, { flags: 'A', sequence: 1001, acknowledgment, data });
    this.followed(one, flow, segment, 'established');
  }

  // --- all of it

  private audit(): void {
    const { lab, model } = this;
    expect(String(lab.flows.table.count), String(model.flows.size), 'flows');
    expect(lab.news().sort().join(), model.news.sort().join(), 'events');
    model.news = [];
    for (const plan of this.plans) {
      for (let i = 0; i < BACKENDS_EACH; i++) {
        const number = plan.number * 10 + i;
        const { counts } = model.knowledge(number);
        const { active, inactive } = model.flowsOf(number);
        const scanned = lab.countFlows(number);
        expect(`${scanned.active} ${scanned.inactive}`, `${active} ${inactive}`, `flows of ${number} in the table`);
        expect(lab.flowCounts(number).join(), [counts.flows, active, inactive].join(), `flows of ${number}`);
        const counted = [COUNT_PACKETS_IN, COUNT_BYTES_IN, COUNT_PACKETS_OUT, COUNT_BYTES_OUT, COUNT_FAILURES];
        const { packetsIn, bytesIn, packetsOut, bytesOut, failures } = counts;
        expect(
          counted.map((counter) => lab.count(number, counter)).join(),
          [packetsIn, bytesIn, packetsOut, bytesOut, failures].join(),
          `packets and bytes of ${number}`,
        );
      }
    }
  }
}

function lineOf(port: number, seen: Seen): string {
  if ((seen.flags & RST) === 0) throw new Error('no RST');
  const ends = `${textOf(seen.source, seen.sourcePort)} > ${textOf(seen.destination, seen.destinationPort)}`;
  return `${port} ${ends} ${seen.sequence} ${seen.acknowledgment}`;
}

function expect(actual: string, due: string, what: string): void {
  if (actual !== due) throw new Error(`${what}: ${actual}, expected ${due}`);
}

for (const [name, schedulers] of [
  ['rr, wrr, lc', [SCHEDULER_RR, SCHEDULER_WRR, SCHEDULER_LC]],
  ['wlc, rr, wrr', [SCHEDULER_WLC, SCHEDULER_RR, SCHEDULER_WRR]],
  ['maglev, lc, sh', [SCHEDULER_MAGLEV, SCHEDULER_LC, SCHEDULER_SH]],
  ['lc, sh, maglev', [SCHEDULER_LC, SCHEDULER_SH, SCHEDULER_MAGLEV]],
] as const) {
  test(`any history of clients and backends is as the reference has it: ${name}`, (t) => {
    t.log(rerun);
    for (let round = 0; round < 3; round++) {
      const scenario = new Scenario(createRandom(seed + round), schedulers);
      try {
        expectWhole(t, scenario.run(STEPS), rerun);
      } catch (error) {
        t.fail(`round ${round}, ${(error as Error).message}; ${rerun}`);
      }
    }
  });
}
