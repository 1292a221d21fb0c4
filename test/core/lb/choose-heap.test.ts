import test from 'ava';
import {
  COUNT_ACTIVE,
  COUNT_INACTIVE,
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
} from '../../../core/lb/service.js';
import type { Service } from '../../../core/lb/services.js';
import { MAPPED } from '../../../core/router/address.js';
import { leavesNothing } from '../../support/heap.js';
import { ServiceLab, type ServiceSpec, serviceOptions } from './lab.js';

/** Flows of now at once. */
const HELD = 1000;

/** Chooses, begins, answers and ends flows of a service, again and again. */
class Load {
  private readonly lab = new ServiceLab();
  private readonly service: Service;
  private readonly client = Int32Array.of(0, 0, MAPPED, 0, 0, 0, 0, 0);
  private readonly flows = new Int32Array(HELD);
  private at = 0;

  constructor(spec: Partial<ServiceSpec>) {
    const { services } = this.lab;
    const backends = [3, 1, 2, 5].map((weight, i) => ({
      number: i + 1,
      addresses: ['10.2.0.13', 'fd00:2::13'],
      port: 80 + i,
      weight,
    }));
    services.set(1, serviceOptions({ backends, failures: 0, ...spec }));
    this.service = services.get(1) as Service;
  }

  /** @returns how many got no backend */
  run(flows: number): number {
    const { service, client, flows: held } = this;
    const { services } = this.lab;
    let refused = 0;
    for (let i = 0; i < flows; i++, this.at++) {
      const place = this.at % HELD;
      if (held[place] !== 0) services.ended(held[place], true);
      client[3] = 0x0a000000 + (Math.imul(this.at, 7919) & 0xffff);
      const ports = (this.at << 16) | 80;
      const isIpv6 = (this.at & 1) !== 0;
      const chosen = services.choose(service, client, ports, isIpv6);
      if (chosen < 0 || services.chooseByHash(service, client, ports, isIpv6) < 0) {
        refused++;
        continue;
      }
      const backend = service.numberOf(chosen);
      services.take(service, client, isIpv6, chosen);
      services.isOver(service);
      services.begun(backend, false);
      services.moved(backend, true);
      services.answered(backend);
      services.count(backend, false, 1500);
      services.failed(backend);
      if (services.isGivenUp(backend, isIpv6)) refused++;
      held[place] = backend;
    }
    return refused;
  }

  /** Flows of now, by the counters. */
  get count(): number {
    let count = 0;
    for (let number = 1; number <= 4; number++) {
      count += this.lab.count(number, COUNT_ACTIVE) + this.lab.count(number, COUNT_INACTIVE);
    }
    return count;
  }
}

for (const [name, spec] of [
  ['rr', { scheduler: SCHEDULER_RR }],
  ['wrr', { scheduler: SCHEDULER_WRR }],
  ['lc', { scheduler: SCHEDULER_LC }],
  ['wlc', { scheduler: SCHEDULER_WLC }],
  ['sh', { scheduler: SCHEDULER_SH }],
  ['maglev', { scheduler: SCHEDULER_MAGLEV }],
  ['rr with affinity', { scheduler: SCHEDULER_RR, affinity: 60 }],
  ['rr with a rate', { scheduler: SCHEDULER_RR, floodRate: 5000 }],
] as const) {
  test.serial(`flow after flow leaves nothing on the heap: ${name}`, (t) => {
    const load = new Load(spec);
    leavesNothing(t, load);
    t.is(load.count, HELD);
  });
}
