import test from 'ava';
import { networkSchema } from '../../control/config/schema.js';
import { endpointPort } from '../../control/port-spec.js';
import { slaacAddresses } from '../../control/slaac.js';

const network = (part: Record<string, unknown>, subnets = ['172.30.0.0/24', 'fd00:30::/64']) =>
  networkSchema.parse({ subnets, ...part });
const ON = { router_advertisements: { enabled: true } };

test('the address that a kernel makes of an advertised prefix and its MAC (RFC 4291, appendix A)', (t) => {
  t.deepEqual(slaacAddresses(network(ON), '02:42:ac:1e:00:02', false), ['fd00:30::42:acff:fe1e:2/64']);
  t.deepEqual(slaacAddresses(network(ON, ['2001:db8::/64']), '34:56:78:9a:bc:de', false), [
    '2001:db8::3656:78ff:fe9a:bcde/64',
  ]);
});

test('there is none where nobody of ours says so, and where identifiers do not fit', (t) => {
  const mac = '02:42:ac:1e:00:02';
  t.deepEqual(slaacAddresses(network({}), mac, false), []);
  t.deepEqual(slaacAddresses(network(ON), mac, true), []);
  t.deepEqual(slaacAddresses(network({ router_advertisements: { enabled: true, autonomous: false } }), mac, false), []);
  t.deepEqual(slaacAddresses(network(ON, ['fd00:30::/48', 'fd01::/80']), mac, false), []);
});

test('port security lets an endpoint speak from it', (t) => {
  const config = {
    network: 'blue',
    interface: 'eth0',
    addresses: [],
    security: 'strict',
    allowed_addresses: [],
    macs: [],
    storm_control: {},
    multicast: { router: 'auto', fast_leave: true },
    gateway_priority: 0,
    publish: [],
  } as const;
  const facts = {
    config: { ...config, addresses: [], allowed_addresses: [], macs: [], publish: [] },
    network: network(ON),
  };
  const port = endpointPort({
    ...facts,
    mac: '02:42:ac:1e:00:02',
    addresses: ['172.30.0.2/24', 'fd00:30::2/64'],
    slaac: ['fd00:30::42:acff:fe1e:2/64'],
    isolation: 0,
  });
  t.deepEqual(port.security?.prefixes, ['172.30.0.2/32', 'fd00:30::2/128', 'fd00:30::42:acff:fe1e:2/128']);
  t.deepEqual(port.announce, ['172.30.0.2', 'fd00:30::2'], 'whether its kernel makes it is not ours to announce');
});
