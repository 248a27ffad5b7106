/**
 * The table of the config: each key once, with its kind of value, default, meaning, and what a reload
 * does with it. The schema, the types of the config, the defaults, the JSON Schema, the names of the
 * environment variables and the reference page are all derived from it. Plain data.
 *
 * A new key is added here. What other keys it needs or excludes is in `checks.ts`, and the
 * conditions for its use besides the mode are in `fit.ts`.
 *
 * @module
 */

import { ACL_MODES, DIMENSIONS, type Rule, SIDES } from "../acl/rule.ts";
import {
  BALANCES,
  type Block,
  CLIENT_AUTHS,
  type Key,
  type Keys,
  LOG_FORMATS,
  LOG_LEVELS,
  MODES,
  PROXY_PROTOCOLS,
  TLS_VERSIONS,
} from "./config.ts";
import type { KeyPath } from "./problem.ts";

const TLS = {
  cert: {
    kind: "path",
    description: "Own certificate chain, PEM, leaf first, then the intermediates",
    required: "the path of the own certificate chain, PEM",
    reload: "file",
  },
  key: {
    kind: "path",
    description: "Own private key, PEM, not encrypted; may be the same file as `cert`",
    required: "the path of the own private key, PEM",
    reload: "file",
  },
  ca: {
    kind: "path",
    description:
      "The CAs that sign the peers, PEM, at most 256. Nothing else is trusted, the system's roots included. Every CA in it can issue every name: put in as few as possible. Needed except with `client_auth: none`",
    reload: "file",
  },
  client_auth: {
    kind: "word",
    words: CLIENT_AUTHS,
    aliases: { require: "required", request: "optional" },
    default: "required",
    description:
      "Server mode. `required` (or `require`): no certificate, no connection. `optional` (or `request`): a client may show none. `none`: no certificate is asked for, and every client is admitted. The last two are not mutual TLS",
    notIn: { client: "the server always shows a certificate: remove it" },
  },
  server_name: {
    kind: "server_name",
    description:
      "Client and bridge mode: the DNS name or IP address that the server's certificate must carry (SAN); a DNS name is also sent as SNI. Default: the host of `target`",
    notIn: { server: "no TLS server is dialled: remove it" },
  },
  min_version: {
    kind: "word",
    words: TLS_VERSIONS,
    default: "TLS1.2",
    description:
      "Oldest TLS version. With 1.2 the client's certificate crosses the network in the clear",
  },
  max_version: {
    kind: "word",
    words: TLS_VERSIONS,
    default: "TLS1.3",
    description: "Newest TLS version",
  },
  alpn: {
    kind: "alpn",
    default: [],
    description:
      "Protocols to accept or to offer, the preferred one first: `h2` for gRPC. The backend must speak what is named: mtlsd translates nothing",
  },
  handshake_timeout: {
    kind: "timeout",
    default: "10s",
    description:
      "From accept to the decision, a PROXY header included. In client mode for that header, and for the handshake with each server, within `proxy.dial_timeout`. A peer without a certificate holds one of 256 places for handshakes for this long. 0 is an error",
  },
  crl: {
    kind: "paths",
    default: [],
    description:
      "Certificate revocation lists, PEM or DER, at most 64 MiB each. Without a list of its issuer a certificate is not looked up. A list past its `nextUpdate` stops starts and reloads: have the next one fetched in time",
    reload: "file",
  },
  intermediates: {
    kind: "path",
    description:
      "Certificates, PEM, at most 256, that help to build chains and to verify revocation lists. They are not trusted by themselves: each path still has to end at a CA of `ca`, whose path length and name constraints hold. A server's own chain is completed by them",
    reload: "file",
  },
  require_close_notify: {
    kind: "boolean",
    default: false,
    description:
      "`true`: a peer that ends TCP without close_notify breaks the connection. `false`: it ends its own direction, and what the other side still has to send is delivered",
  },
} as const satisfies Keys;

const { client_auth: _ofClients, handshake_timeout: _ofAccept, ...UPSTREAM_TLS } = TLS;

const DIMENSION_NAMES = {
  cn: "one of these common names (CN)",
  org: "one of these organizations (O)",
  ou: "one of these organizational units (OU)",
  dns: "one of these DNS SANs; `*.example.com` stands for any one label in front",
  ip: "an IP SAN of one of these addresses or networks, which is not the address it connects from",
  uri: "a URI SAN like one of these, such as `spiffe://acme/ns/*/web`",
  spki: "one of these public keys, as `sha256:` and base64",
} as const;

/** The keys of rule lists: `allow_cn`, `deny_uri` and so on. */
export type RuleListKey = `${Rule["side"]}_${Rule["dimension"]}`;

/** A key that holds a list of rules. */
type RuleList = Key & { readonly kind: "rules"; readonly default: readonly never[] };

/** The fourteen rule lists of a block. */
function ruleLists(block: Pick<Rule, "block"> = {}): Readonly<Record<RuleListKey, RuleList>> {
  const entries = SIDES.flatMap((side) =>
    DIMENSIONS.map((dimension): [RuleListKey, RuleList] => {
      const does = side === "allow" ? "Admits" : "Refuses, whatever an allow rule says,";
      const description = `${does} peers with ${DIMENSION_NAMES[dimension]}`;
      const rules = { ...block, side, dimension };
      return [
        `${side}_${dimension}`,
        { kind: "rules", rules, default: [], description, reload: "rules" },
      ];
    })
  );
  return Object.fromEntries(entries) as Record<RuleListKey, RuleList>;
}

const ACL_MODE = {
  kind: "word",
  words: ACL_MODES,
  default: "enforce",
  description:
    "`audit`: admit every valid certificate, and log and count what would be denied. For roll-outs, not to stay",
  reload: "rules",
} as const satisfies Key;

const ACL = {
  ...ruleLists(),
  mode: ACL_MODE,
  allow_anonymous: {
    kind: "boolean",
    default: false,
    description:
      "With `client_auth: optional`: admit a client without a certificate although there are allow rules. Deny rules cannot match it",
    notIn: {
      client: "the server always shows a certificate: remove it",
      bridge: "both peers are authenticated: remove it",
    },
    reload: "rules",
  },
} as const satisfies Keys;

const UPSTREAM_ACL = {
  ...ruleLists({ block: "upstream_acl" }),
  mode: ACL_MODE,
} as const satisfies Keys;

const TARGET_IS_TLS = "the target speaks TLS: the header is for a plain backend: remove it";

const PROXY = {
  dial_timeout: {
    kind: "timeout",
    default: "10s",
    description:
      "To reach the target, name look-up included; in client and bridge mode the TLS handshake too. With several targets it is for all of them together. 0 is an error",
  },
  idle_timeout: {
    kind: "limit",
    default: "90s",
    description:
      "Close a connection when no byte moved in either direction for this long; 0: never. Connection pools that are idle for longer need more, or traffic of their own",
  },
  close_timeout: {
    kind: "limit",
    default: "0",
    description:
      "Once one side has ended, the other may go on for at most this long; 0: no limit but `idle_timeout`",
  },
  max_connections: {
    kind: "count",
    default: 1000,
    description:
      "At most this many at once in this tunnel; the rest wait in the kernel's queue. Handshakes under way come on top in server and bridge mode, at most 256. 0: no limit but file descriptors, of which each connection takes four",
  },
  shutdown_timeout: {
    kind: "limit",
    default: "30s",
    description:
      "How long a drain may take; then connections are cut and the exit status is 1. 0: no limit",
  },
  max_lifetime: {
    kind: "limit",
    default: "0",
    description: "Close a connection this long after it was accepted, busy or not; 0: no limit",
  },
  max_connections_per_peer: {
    kind: "count",
    default: 0,
    description:
      "Server and bridge mode: at most this many at once of one certificate identity; more are refused. 0: no limit, and one peer can take all connections",
    notIn: { client: "clients show no certificate: remove it" },
  },
  balance: {
    kind: "word",
    words: BALANCES,
    default: "failover",
    description: "How one of `targets` is chosen",
  },
  proxy_protocol: {
    kind: "word",
    words: PROXY_PROTOCOLS,
    default: "off",
    description:
      "Server mode: send the target a PROXY header with the client's address before the bytes. A target that does not expect it takes it for the first bytes",
    notIn: { client: TARGET_IS_TLS, bridge: TARGET_IS_TLS },
  },
  accept_proxy_protocol: {
    kind: "networks",
    default: [],
    description:
      "Expect a PROXY header from these sources, and accept no others. They may claim any address: list the balancers, nothing wider",
  },
  socket_mode: {
    kind: "socket_mode",
    default: "0600",
    description:
      "Mode of a UNIX socket that is listened on, in quotes. Users who may write to it may connect and use our identity",
  },
} as const satisfies Keys;

const ONE_TLS_SIDE = 'only one side is TLS: remove it, or write "mode: bridge"';

/** The keys of the top level that an entry of `tunnels` has too. */
const TUNNEL = {
  mode: {
    kind: "word",
    words: MODES,
    description:
      "`server`: accept TLS, forward plain. `client`: accept plain, forward TLS. `bridge`: accept TLS, forward over another TLS connection",
    required: '"mode: server" or "mode: client"',
  },
  listen: {
    kind: "listen",
    description:
      "Where to accept. Port 0 is any free port, which the log says. `localhost` is 127.0.0.1 and `::1` with one port, any other name its first address. In client mode every process that reaches it uses our identity: keep it on loopback, or use a UNIX socket",
    required: 'where to accept, such as "listen: 0.0.0.0:8443"',
  },
  target: {
    kind: "target",
    description:
      "Where to forward; needed unless there are `targets`. In server mode this side is plain: off loopback the traffic can be read and changed, which is a warning",
    required: 'where to forward, such as "target: 127.0.0.1:8080"',
  },
  targets: {
    kind: "targets",
    description:
      "Several places to forward to, instead of `target`. In client mode each is verified by a name of its own, its host",
  },
  tls: {
    keys: TLS,
    description: "Identity, trust, protocol",
    required: 'a block with "cert", "key" and "ca"',
    error: 'must be a block with "cert", "key" and "ca"',
  },
  acl: { keys: ACL, description: "Who is admitted; without rules every valid certificate" },
  proxy: { keys: PROXY, description: "Limits of connections, and how they are made" },
  upstream_tls: {
    keys: UPSTREAM_TLS,
    description:
      "Bridge mode: the keys of `tls` but `client_auth` and `handshake_timeout`, for the side towards the target; what is left out comes from `tls`",
    notIn: { server: ONE_TLS_SIDE, client: ONE_TLS_SIDE },
  },
  upstream_acl: {
    keys: UPSTREAM_ACL,
    description:
      "Bridge mode: the keys of `acl` but `allow_anonymous`, for the server that is dialled. Without rules every server with a valid certificate of the right name is admitted",
    notIn: { server: ONE_TLS_SIDE, client: ONE_TLS_SIDE },
  },
} as const satisfies Readonly<Record<string, Key | Block>>;

/** The block of an HTTP endpoint: `what` it serves, and its default address. */
function endpoint(what: string, listen: string) {
  return {
    description: what,
    keys: {
      enabled: { kind: "boolean", default: false, description: `Whether to serve ${what}` },
      listen: {
        kind: "endpoint",
        default: listen,
        description:
          "Where to serve them. There is no authentication: keep it on loopback or behind a network policy",
      },
    },
  } as const satisfies Block;
}

/** The keys of the top level in the order of the reference, except `tunnels`. */
export const KEYS = {
  ...TUNNEL,
  health: endpoint("the probes /healthz, /readyz and /certz", "127.0.0.1:9000"),
  metrics: endpoint("the metrics in the format of Prometheus, /metrics", "127.0.0.1:9001"),
  logging: {
    description: "The log, which goes to stderr",
    keys: {
      level: {
        kind: "word",
        words: LOG_LEVELS,
        default: "info",
        description: "The lowest level that is logged",
      },
      format: {
        kind: "word",
        words: LOG_FORMATS,
        default: "text",
        description: "`text` as Go's slog writes it, or one JSON object a line",
      },
    },
  },
} as const satisfies Readonly<Record<string, Key | Block>>;

/** The list of tunnels: each entry has a name and the keys of a tunnel. */
export const TUNNELS = {
  description:
    "Several tunnels: blocks with a `name` and the keys above; what an entry leaves out comes from the top level",
  error: 'must be a list: start each tunnel with "- name: ..."',
  empty: "must have at least one tunnel",
  entryError: 'must be a block of keys that starts with "name"',
  keys: {
    name: { kind: "tunnel_name", description: "What logs, metrics and errors call it; unique" },
    ...TUNNEL,
  },
} as const;

/** A key and its path from the top level: `["tls", "cert"]`. */
export type KeyAt = { readonly path: readonly [string, ...string[]]; readonly key: Key };

/** All keys in the order of the table. Those of an entry of `tunnels` are the same, and a name. */
export function allKeys(): readonly KeyAt[] {
  return Object.entries(KEYS).flatMap(([name, entry]: [string, Key | Block]): readonly KeyAt[] =>
    "keys" in entry
      ? Object.entries(entry.keys).map(([inner, key]) => ({ path: [name, inner], key }))
      : [{ path: [name], key: entry }]
  );
}

/** The names of the keys in the block at the path; empty if there is no such block. */
export function knownKeys([first, ...rest]: KeyPath): readonly string[] {
  if (first === undefined) {
    const { health, metrics, logging, ...tunnel } = KEYS;
    return [...Object.keys(tunnel), "tunnels", ...Object.keys({ health, metrics, logging })];
  }
  if (first !== "tunnels") return rest.length === 0 ? keysOf(KEYS, first) : [];
  const [index, block, ...more] = rest;
  if (typeof index !== "number" || more.length > 0) return [];
  return block === undefined ? Object.keys(TUNNELS.keys) : keysOf(TUNNELS.keys, block);
}

function keysOf(
  blocks: Readonly<Record<string, Key | Block>>,
  name: string | number,
): readonly string[] {
  const entry = Object.hasOwn(blocks, name) ? blocks[name] : undefined;
  return entry !== undefined && "keys" in entry ? Object.keys(entry.keys) : [];
}
