/**
 * Services as their descriptions say, on plain maps and lists, with no eye to speed: which backend a flow gets, what becomes of backends by
 * what their flows tell, and all that is counted. Of the hashing schedulers it knows only who may be chosen.
 */

export const RR = 0;
export const WRR = 1;
export const LC = 2;
export const WLC = 3;

export interface ModelBackend {
  readonly number: number;
  readonly families: readonly (4 | 6)[];
  readonly weight: number;
  readonly isDown: boolean;
}

export interface ModelService {
  readonly number: number;
  /** SCHEDULER_ values. */
  readonly scheduler: number;
  readonly affinity: number;
  readonly failures: number;
  readonly suspectTime: number;
  readonly backends: readonly ModelBackend[];
}

export type Stage = 'syn' | 'synack' | 'established' | 'reset' | 'udp' | 'stream';

/** Seconds of silence behind which a flow ends. */
export const TIMEOUTS: Readonly<Record<Stage, number>> = {
  syn: 240,
  synack: 250,
  established: 700,
  reset: 230,
  udp: 120,
  stream: 180,
};

export interface ModelFlow {
  readonly key: string;
  readonly service: number;
  readonly family: 4 | 6;
  readonly backend: number;
  stage: Stage;
  expires: number;
}

export interface Counts {
  flows: number;
  packetsIn: number;
  bytesIn: number;
  packetsOut: number;
  bytesOut: number;
  failures: number;
}

interface Knowledge {
  readonly counts: Counts;
  failures: number;
  /** Second in which it is trusted again; null: it is. */
  suspectUntil: number | null;
  credit: number;
}

export class ReferenceServices {
  now = 0;
  readonly flows = new Map<string, ModelFlow>();
  /** "suspect 1", "trusted 1", in order. */
  news: string[] = [];
  private readonly services = new Map<number, ModelService>();
  private readonly known = new Map<number, Knowledge>();
  private readonly turns = new Map<number, number>();
  private readonly kept = new Map<string, { backend: number; expires: number }>();

  knowledge(backend: number): Knowledge {
    let one = this.known.get(backend);
    if (one === undefined) {
      const counts = { flows: 0, packetsIn: 0, bytesIn: 0, packetsOut: 0, bytesOut: 0, failures: 0 };
      one = { counts, failures: 0, suspectUntil: null, credit: 0 };
      this.known.set(backend, one);
    }
    return one;
  }

  set(service: ModelService): void {
    const before = this.services.get(service.number)?.backends ?? [];
    for (const { number, isDown } of service.backends) {
      const wasDown = before.some((one) => one.number === number && one.isDown);
      if (wasDown && !isDown) this.trust(number);
      this.knowledge(number).credit = 0;
    }
    this.services.set(service.number, service);
  }

  /** Seconds pass. */
  passTo(now: number): void {
    for (this.now++; ; this.now++) {
      for (const flow of [...this.flows.values()]) if (flow.expires <= this.now) this.flows.delete(flow.key);
      for (const [number, { suspectUntil }] of this.known) {
        if (suspectUntil !== null && suspectUntil <= this.now) this.trust(number);
      }
      if (this.now >= now) return;
    }
  }

  // --- who may be chosen

  isSuspect(backend: number): boolean {
    return this.knowledge(backend).suspectUntil !== null;
  }

  private takes({ isDown, weight, families }: ModelBackend, family: 4 | 6): boolean {
    return !isDown && weight > 0 && families.includes(family);
  }

  /** All that may get a flow now: without suspects, unless there are only such. */
  candidates(service: number, family: 4 | 6): ModelBackend[] {
    const able = (this.services.get(service)?.backends ?? []).filter((one) => this.takes(one, family));
    const trusted = able.filter(({ number }) => !this.isSuspect(number));
    return trusted.length > 0 ? trusted : able;
  }

  /** Backend of a new flow; null: there is none; or those among which a hash chooses. */
  choose(number: number, family: 4 | 6, client: string): number | null | number[] {
    const service = this.services.get(number) as ModelService;
    const candidates = this.candidates(number, family);
    if (candidates.length === 0) return null;
    const kept = this.kept.get(`${number} ${client}`);
    const isKept =
      service.affinity > 0 &&
      kept !== undefined &&
      kept.expires > this.now &&
      candidates.some((one) => one.number === kept.backend && !this.isSuspect(one.number));
    if (isKept) return kept.backend;
    const allowed = candidates.map((one) => one.number);
    switch (service.scheduler) {
      case RR:
        return this.next(service, (index) => allowed.includes(service.backends[index].number));
      case WRR:
        return this.smooth(candidates);
      case LC:
        return this.leastLoaded(service, allowed, () => 1);
      case WLC:
        return this.leastLoaded(service, allowed, ({ weight }) => weight);
      default:
        return allowed;
    }
  }

  private next({ number, backends }: ModelService, isAllowed: (index: number) => boolean): number {
    const order = this.orderOf(number, backends.length);
    const chosen = order.find(isAllowed) as number;
    this.turns.set(number, (chosen + 1) % backends.length);
    return backends[chosen].number;
  }

  private orderOf(service: number, count: number): number[] {
    const turn = this.turns.get(service) ?? 0;
    const first = turn < count ? turn : 0;
    return Array.from({ length: count }, (_, i) => (first + i) % count);
  }

  private smooth(candidates: readonly ModelBackend[]): number {
    for (const { number, weight } of candidates) this.knowledge(number).credit += weight;
    const most = Math.max(...candidates.map(({ number }) => this.knowledge(number).credit));
    const best = candidates.find(({ number }) => this.knowledge(number).credit === most) as ModelBackend;
    this.knowledge(best.number).credit -= candidates.reduce((sum, { weight }) => sum + weight, 0);
    return best.number;
  }

  private leastLoaded(service: ModelService, allowed: number[], weightOf: (one: ModelBackend) => number): number {
    const loads = service.backends.map((one) => {
      const { active, inactive } = this.flowsOf(one.number);
      return allowed.includes(one.number) ? (active * 256 + inactive) / weightOf(one) : Number.POSITIVE_INFINITY;
    });
    const least = Math.min(...loads);
    return this.next(service, (index) => loads[index] === least);
  }

  // --- flows

  flowsOf(backend: number): { active: number; inactive: number } {
    const flows = [...this.flows.values()].filter((flow) => flow.backend === backend);
    const active = flows.filter(({ stage }) => stage === 'established' || stage === 'stream').length;
    return { active, inactive: flows.length - active };
  }

  begin(key: string, service: number, family: 4 | 6, client: string, backend: number, stage: Stage): ModelFlow {
    const { affinity } = this.services.get(service) as ModelService;
    if (affinity > 0) this.kept.set(`${service} ${client}`, { backend, expires: this.now + affinity });
    const flow = { key, service, family, backend, stage, expires: this.now + TIMEOUTS[stage] };
    this.flows.set(key, flow);
    this.knowledge(backend).counts.flows++;
    return flow;
  }

  /** A packet of a flow: the stage it is in then, and the bytes of the packet. */
  advance(flow: ModelFlow, stage: Stage, isReply: boolean, bytes: number): void {
    const isNew = stage !== flow.stage;
    if (isNew && (stage === 'established' || stage === 'stream')) this.succeed(flow.backend);
    if (isNew && stage === 'reset' && flow.stage === 'syn' && isReply) this.fail(flow.backend);
    flow.stage = stage;
    flow.expires = this.now + TIMEOUTS[stage];
    this.count(flow.backend, isReply, bytes);
  }

  count(backend: number, isReply: boolean, bytes: number): void {
    const { counts } = this.knowledge(backend);
    counts[isReply ? 'packetsOut' : 'packetsIn']++;
    counts[isReply ? 'bytesOut' : 'bytesIn'] += bytes;
  }

  /** A client says again what nobody has answered. Whether the flow is over, and another begins in its place. */
  isGivenUp(flow: ModelFlow): boolean {
    const isLate = flow.expires - TIMEOUTS[flow.stage] < this.now;
    if (flow.stage === 'syn' && isLate) this.fail(flow.backend);
    const one = this.services.get(flow.service)?.backends.find(({ number }) => number === flow.backend);
    if (one === undefined || !this.takes(one, flow.family)) return true;
    return !this.candidates(flow.service, flow.family).some(({ number }) => number === flow.backend);
  }

  /** A backend goes: its flows, the TCP connections among them that are told, and nothing more. */
  end(backend: number): ModelFlow[] {
    const ended = [...this.flows.values()].filter((flow) => flow.backend === backend);
    for (const { key } of ended) this.flows.delete(key);
    return ended.filter(({ stage }) => stage === 'synack' || stage === 'established');
  }

  // --- trust

  private fail(backend: number): void {
    const one = this.knowledge(backend);
    one.counts.failures++;
    const service = [...this.services.values()].find(({ backends }) =>
      backends.some(({ number }) => number === backend),
    );
    if (service === undefined || one.suspectUntil !== null) return;
    one.failures++;
    if (service.failures === 0 || one.failures < service.failures) return;
    one.suspectUntil = this.now + service.suspectTime;
    this.news.push(`suspect ${backend}`);
  }

  private succeed(backend: number): void {
    this.knowledge(backend).failures = 0;
    this.trust(backend);
  }

  private trust(backend: number): void {
    const one = this.knowledge(backend);
    one.failures = 0;
    if (one.suspectUntil === null) return;
    one.suspectUntil = null;
    this.news.push(`trusted ${backend}`);
  }
}
