/** MACs and addresses that two want, at connect time: what files say is checked in config.test.ts. */

import test from 'ava';
import type { z } from 'zod';
import { endpointSchema } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';
import { config, type Fixture, makeFixture, NETWORKS } from './support/fixture.js';

type Asked = Omit<z.input<typeof endpointSchema>, 'network' | 'netns'>;

async function makeLab(): Promise<
  Fixture & {
    connect: (name: string, asked?: Asked) => Promise<unknown>;
    refused: (name: string, asked: Asked) => Promise<string>;
  }
> {
  const fixture = makeFixture();
  await fixture.daemon.apply(config(NETWORKS));
  const connect = (name: string, asked: Asked = {}): Promise<unknown> => {
    fixture.system.addNamespace(`/ns/${name}`);
    return fixture.daemon.connect(name, endpointSchema.parse({ network: 'blue', netns: `/ns/${name}`, ...asked }));
  };
  const refused = async (name: string, asked: Asked): Promise<string> => {
    try {
      await connect(name, asked);
    } catch (error) {
      if (error instanceof TaplineError) return `${error.kind} ${error.message}`;
      throw error;
    }
    return 'accepted';
  };
  return { ...fixture, connect, refused };
}

test("a MAC that follows from another's address is that endpoint's", async (t) => {
  const { connect, refused } = await makeLab();
  await connect('a');
  t.is(
    await refused('b', { mac: '02:42:ac:1e:00:02' }),
    'conflict mac: 02:42:ac:1e:00:02 is already the MAC of endpoint a',
  );
  t.is(
    await refused('b', { macs: ['02:00:00:00:00:05', '02:42:AC:1E:00:02'] }),
    'conflict macs[1]: 02:42:ac:1e:00:02 is already the MAC of endpoint a',
  );
  await connect('c', { macs: ['02:00:00:00:00:05'] });
  t.is(
    await refused('b', { mac: '02:00:00:00:00:05' }),
    'conflict mac: 02:00:00:00:00:05 is already one of the macs of endpoint c',
  );
});

test('a MAC that somebody asked for is derived for nobody, and free again when he goes', async (t) => {
  const { connect, daemon } = await makeLab();
  await connect('a', { addresses: ['172.30.0.9'], macs: ['02:42:ac:1e:00:02'] });
  await connect('b');
  t.deepEqual(daemon.endpoint('b').addresses, ['172.30.0.2/24', 'fd00:30::3/64']);
  t.not(daemon.endpoint('b').mac, '02:42:ac:1e:00:02');
  await daemon.disconnect('a');
  await connect('c', { mac: '02:42:ac:1e:00:02' });
  t.is(daemon.endpoint('c').mac, '02:42:ac:1e:00:02');
});

test('an address that somebody may use is given to nobody else, may be shared, and is free again when all are gone', async (t) => {
  const { connect, refused, daemon } = await makeLab();
  await connect('a', { allowed_addresses: ['172.30.0.2', '172.30.0.128/25'] });
  t.is(daemon.endpoint('a').addresses[0], '172.30.0.3/24');
  await connect('b', { allowed_addresses: ['172.30.0.2', 'fd00:30::77', '10.9.9.9'] });
  t.is(daemon.endpoint('b').addresses[0], '172.30.0.4/24');
  t.is(
    await refused('c', { addresses: ['172.30.0.2'] }),
    'conflict addresses[0]: 172.30.0.2 is already one of the allowed_addresses of endpoint a',
  );
  t.is(
    await refused('c', { allowed_addresses: ['10.0.0.1', '172.30.0.4'] }),
    'conflict allowed_addresses[1]: 172.30.0.4 is already an address of endpoint b',
    'an address that was chosen for b, of which no file says a word',
  );
  t.is(
    await refused('c', { allowed_addresses: ['fd00:30::1'] }),
    'invalid allowed_addresses[0]: fd00:30::1 is the gateway address of network blue',
  );
  await daemon.disconnect('a');
  await connect('d');
  t.is(daemon.endpoint('d').addresses[0], '172.30.0.3/24', '172.30.0.2 is still set aside for b');
  await daemon.disconnect('b');
  await connect('e');
  t.is(daemon.endpoint('e').addresses[0], '172.30.0.2/24');
});
