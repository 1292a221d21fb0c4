/** Frames that scapy builds: an implementation of the protocols that is not ours decides what an attack looks like. */

import { must } from './process.js';

/** Debian's scapy belongs to Debian's Python, which need not be the first one on PATH. */
export const PYTHON = '/usr/bin/python3';

const BUILD = `
import json, sys
from scapy.all import *
from scapy.contrib.cdp import CDPv2_HDR
from scapy.contrib.igmp import IGMP
from scapy.contrib.lldp import LLDPDU, LLDPDUChassisID, LLDPDUPortID, LLDPDUTimeToLive, LLDPDUEndOfLLDPDU
from scapy.contrib.pim import PIMv2Hdr, PIMv2Hello

wanted = json.load(sys.stdin)
known = {**globals(), **wanted['values']}
frames = {}
for name, expression in wanted['packets'].items():
    try:
        frames[name] = raw(eval(expression, known)).hex()
    except Exception as error:
        sys.exit(f'{name}: {expression}: {error!r}')
json.dump(frames, sys.stdout)
`;

/**
 * One frame for each Python expression of a scapy packet, all built by one start of scapy.
 *
 * @param packets expression by name
 * @param values names that the expressions may use
 */
export async function buildFrames<K extends string>(
  packets: Readonly<Record<K, string>>,
  values: Readonly<Record<string, string>> = {},
): Promise<Record<K, Buffer>> {
  const text = await must([PYTHON, '-c', BUILD], { input: JSON.stringify({ packets, values }) });
  const frames = Object.entries(JSON.parse(text) as Record<string, string>);
  return Object.fromEntries(frames.map(([name, hex]) => [name, Buffer.from(hex, 'hex')])) as Record<K, Buffer>;
}
