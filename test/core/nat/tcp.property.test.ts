/** Two model hosts talk through the tracker, over bad links, while others inject segments: nothing useful is dropped, nothing alien passes. */

import test from 'ava';
import fc from 'fast-check';
import { createRandom, type Random } from '../../support/corpus.js';
import { ACK, FIN, PSH, RST, SYN } from './segments.js';
import { Conversation, type HostOptions, type LinkOptions } from './tcp-model.js';

const STEPS = 20_000;

const host: fc.Arbitrary<HostOptions> = fc.record({
  iss: fc.oneof(fc.integer(), fc.constantFrom(-1, -2000, 0x7fff_ff00, 0)),
  scale: fc.option(fc.integer({ min: 0, max: 14 }), { nil: undefined }),
  buffer: fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 3000, max: 3_000_000 })),
  total: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 0, max: 2_000_000 })),
  largest: fc.constantFrom(100, 1460, 65_000),
});

function link(reordering: number): fc.Arbitrary<LinkOptions> {
  return fc.record({
    loss: fc.integer({ min: 0, max: 200 }),
    duplication: fc.integer({ min: 0, max: 200 }),
    reordering: fc.integer({ min: 0, max: reordering }),
  });
}

const seed = fc.integer();

function runs(count: number): fc.Parameters<unknown> {
  const given = process.env.TAPLINE_SEED;
  return given === undefined ? { numRuns: count } : { numRuns: count, seed: Number(given) };
}

/** @returns whether both have sent all they had */
function talk(conversation: Conversation, between: () => void = () => {}): boolean {
  for (let step = 0; step < STEPS && !conversation.isDone; step++) {
    conversation.step();
    between();
  }
  return conversation.isDone;
}

test('what arrives in the order in which it was sent passes, whatever is lost, repeated or late behind', (t) => {
  let finished = 0;
  let tracked = 0;
  const property = fc.property(host, host, link(0), link(30), seed, (a, b, before, behind, number) => {
    const conversation = new Conversation([a, b], before, behind, createRandom(number));
    if (talk(conversation)) finished++;
    tracked += conversation.tracked;
    return conversation.refused.length === 0 && !(conversation.isDone && conversation.flow.stage !== 'closing');
  });
  t.notThrows(() => fc.assert(property, runs(100)));
  t.true(finished > 15, `${finished} conversations came to their end`);
  t.true(tracked > 100_000, `${tracked} segments`);
});

test('of what overtakes before, only that is dropped which its receiver has no use for', (t) => {
  let refused = 0;
  let tracked = 0;
  const property = fc.property(host, host, link(60), link(60), seed, (a, b, before, behind, number) => {
    const conversation = new Conversation([a, b], before, behind, createRandom(number));
    talk(conversation);
    refused += conversation.refused.length;
    tracked += conversation.tracked;
    const useful = conversation.refused.find(({ isUseful }) => isUseful);
    if (useful !== undefined) throw new Error(`dropped: ${JSON.stringify(useful.segment)}`);
  });
  t.notThrows(() => fc.assert(property, runs(100)));
  t.true(tracked > 100_000, `${tracked} segments`);
  t.true(refused < tracked / 100, `${refused} of ${tracked} were old duplicates`);
});

test('blind segments outside the window are dropped and change nothing, those of both hosts go on', (t) => {
  let injected = 0;
  const property = fc.property(host, host, link(0), link(10), seed, (a, b, before, behind, number) => {
    const random = createRandom(number);
    const conversation = new Conversation([a, b], before, behind, random);
    let problem = '';
    talk(conversation, () => {
      if (!conversation.areOpen || conversation.flow.stage !== 'established' || random(20) !== 0) return;
      injected++;
      problem ||= inject(conversation, random);
    });
    if (problem !== '') throw new Error(problem);
    return conversation.refused.length === 0;
  });
  t.notThrows(() => fc.assert(property, runs(100)));
  t.true(injected > 1000, `${injected} injected`);
});

/** @returns what went wrong, or an empty string */
function inject(conversation: Conversation, random: Random): string {
  const { flow } = conversation;
  const direction = random(2) as 0 | 1;
  const own = conversation.hosts[direction];
  const peer = conversation.hosts[direction ^ 1];
  const len = random(3) === 0 ? random(65_000) : 0;
  // Rounded up to the unit of its scale, a window may count for up to 2^14 more.
  const lowest = peer.due - own.largestWindow - (1 << 14) - 1;
  const beyond = peer.edge + 2;
  const seq = beyond + random(2 ** 32 - (beyond - lowest) - len - 2);
  const flags = [ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN | ACK][random(6)];
  const segment = conversation.real(direction, { flags: flags & ~SYN, seq, ack: own.due, win: random(65_536), len });
  const { numbers, state } = flow;
  const result = flow.from(direction, { ...segment, flags });
  if (result !== 'tcp_window') return `${JSON.stringify({ direction, seq, len, flags })} passed: ${result}`;
  return flow.state === state && `${flow.numbers}` === `${numbers}` ? '' : `${flags} dropped, but it left traces`;
}
