/** The rule of the example: a container of another network is refused one port of a server and has the others; each refusal is counted. */

import type { PolicyRuleView } from '../../../control/policy.js';
import { addressOf, SERVER, TRAVELLER } from '../hosts.js';
import { SINK_PORT } from '../inside/ports.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';

async function theRule(lab: Lab): Promise<PolicyRuleView> {
  const rules = await lab.client.get<PolicyRuleView[]>('/v1/policy');
  const rule = rules.find(({ ports }) => ports.includes(SINK_PORT));
  if (rule === undefined) throw new Error(`no rule about port ${SINK_PORT}`);
  return rule;
}

/** How a connection to the port fails. @throws Error where it does not */
async function refusal(lab: Lab, address: string): Promise<string> {
  const args = [address, String(SINK_PORT), '0'];
  try {
    await runProgramIn(lab.endpoint(TRAVELLER), 'send', args, lab.signal);
  } catch (error) {
    lab.signal.throwIfAborted();
    return (error as Error).message;
  }
  throw new Error(`expected no connection to ${address} port ${SINK_PORT}, got one`);
}

export async function policy(lab: Lab): Promise<string> {
  const before = (await theRule(lab)).hits;
  const address = addressOf(lab.endpoint(SERVER), 4);
  const why = await refusal(lab, address);
  if (!why.includes('ECONNREFUSED')) throw new Error(`expected the connection to be refused, got: ${why}`);
  await runProgramIn(lab.endpoint(TRAVELLER), 'fetch', [address], lab.signal);
  const { number, action, hits } = await theRule(lab);
  if (hits !== before + 1) throw new Error(`expected 1 more hit of rule ${number}, got ${hits - before}`);
  return `${TRAVELLER} to ${address} port ${SINK_PORT}: ${action}, hit ${hits} of rule ${number}; to port 80: as ever`;
}
