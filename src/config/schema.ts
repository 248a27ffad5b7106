/**
 * The schema of the file: its keys, the valid values of each, and descriptions for the JSON Schema.
 * All keys are optional here; `checks.ts` checks the rules between keys.
 *
 * @module
 */

import * as z from "zod";
import { ACL_MODES, DIMENSIONS, type Rule, SIDES } from "../acl/rule.ts";
import { parseServerName } from "./address.ts";
import {
  BALANCES,
  type ClientAuth,
  LOG_FORMATS,
  LOG_LEVELS,
  MODES,
  PROXY_PROTOCOLS,
} from "./config.ts";
import type { KeyPath } from "./problem.ts";
import type { RawConfig, RuleListKey, SchemaIssue } from "./raw.ts";
import * as values from "./values.ts";

/** An optional key; `shown` is its default in config syntax. */
function key<T>(
  type: z.ZodType<T>,
  description: string,
  shown?: string | number | boolean | readonly string[],
): z.ZodOptional<z.ZodType<T>> {
  return type.meta({ description, ...(shown === undefined ? {} : { default: shown }) }).optional();
}

/** A block of keys; other keys are issues. */
function block<T extends z.ZodRawShape>(
  shape: T,
  description: string,
  error = "must be a block of keys, or be left out",
): z.ZodOptional<z.ZodObject<T, z.core.$strict>> {
  return z.strictObject(shape, { error }).meta({ description }).optional();
}

const DIMENSION_NAMES = {
  cn: "one of these common names (CN)",
  org: "one of these organizations (O)",
  ou: "one of these organizational units (OU)",
  dns: "one of these DNS SANs; `*.example.com` stands for any one label in front",
  ip: "an IP SAN of one of these addresses or networks, which is not the address it connects from",
  uri: "a URI SAN like one of these, such as `spiffe://acme/ns/*/web`",
  spki: "one of these public keys, as `sha256:` and base64",
} as const;

/** The fourteen rule lists. */
function ruleLists(
  where: Pick<Rule, "block">,
): Record<RuleListKey, z.ZodOptional<z.ZodType<Rule[]>>> {
  const entries = SIDES.flatMap((side) =>
    DIMENSIONS.map((dimension) => {
      const does = side === "allow" ? "Admits" : "Refuses, whatever an allow rule says,";
      const type = values.rules(side, dimension, where);
      return [
        `${side}_${dimension}`,
        key(type, `${does} peers with ${DIMENSION_NAMES[dimension]}`, []),
      ] as const;
    })
  );
  return Object.fromEntries(entries) as ReturnType<typeof ruleLists>;
}

const CLIENT_AUTH = values.oneOf(["required", "optional", "none", "require", "request"]);

/** The common keys of `tls` and `upstream_tls`. */
function tlsKeys() {
  return {
    cert: key(values.path(), "Own certificate chain, PEM, leaf first, then the intermediates"),
    key: key(values.path(), "Own private key, PEM, not encrypted; may be the same file as `cert`"),
    ca: key(
      values.path(),
      "The CAs that sign the peers, PEM, at most 256. Nothing else is trusted, the system's roots included. Every CA in it can issue every name: put in as few as possible. Needed except with `client_auth: none`",
    ),
    client_auth: key(
      CLIENT_AUTH.transform((word): ClientAuth =>
        word === "require" ? "required" : word === "request" ? "optional" : word
      ),
      "Server mode. `required` (or `require`): no certificate, no connection. `optional` (or `request`): a client may show none. `none`: no certificate is asked for, and every client is admitted. The last two are not mutual TLS",
      "required",
    ),
    server_name: key(
      values.parsed(parseServerName, "must be a DNS name or an IP address, as a string"),
      "Client and bridge mode: the DNS name or IP address that the server's certificate must carry (SAN); a DNS name is also sent as SNI. Default: the host of `target`",
    ),
    min_version: key(
      values.oneOf(["TLS1.2", "TLS1.3"]),
      "Oldest TLS version. With 1.2 the client's certificate crosses the network in the clear",
      "TLS1.2",
    ),
    max_version: key(values.oneOf(["TLS1.2", "TLS1.3"]), "Newest TLS version", "TLS1.3"),
    alpn: key(
      values.alpn(),
      "Protocols to accept or to offer, the preferred one first: `h2` for gRPC. The backend must speak what is named: mtlsd translates nothing",
      [],
    ),
    handshake_timeout: key(
      values.duration("0 is an error"),
      "From accept to the decision, a PROXY header included. In client mode for that header, and for the handshake with each server, within `proxy.dial_timeout`. A peer without a certificate holds one of 256 handshake slots for this long. 0 is an error",
      "10s",
    ),
    crl: key(
      values.paths(),
      "Certificate revocation lists, PEM or DER, at most 64 MiB each. Without a list of its issuer a certificate is not looked up. A list past its `nextUpdate` stops starts and reloads: have the next one fetched in time",
      [],
    ),
    intermediates: key(
      values.path(),
      "Certificates, PEM, at most 256, that help to build chains and to verify revocation lists. They are not trusted by themselves: each path still has to end at a CA of `ca`, whose path length and name constraints hold. A server's own chain is completed by them",
    ),
    require_close_notify: key(
      values.boolean(),
      "`true`: a peer that ends TCP without close_notify breaks the connection. `false`: it ends its own direction, and what the other side still has to send is delivered",
      false,
    ),
  };
}

function aclKeys(where: Pick<Rule, "block"> = {}) {
  return {
    ...ruleLists(where),
    mode: key(
      values.oneOf(ACL_MODES),
      "`audit`: admit every valid certificate, and log and count what would be denied. For roll-outs, not to stay",
      "enforce",
    ),
  };
}

function proxyKeys() {
  const limit = () => values.duration("0 is no limit");
  return {
    dial_timeout: key(
      values.duration("0 is an error"),
      "To reach the target, name look-up included; in client and bridge mode the TLS handshake too. With several targets it is for all of them together. 0 is an error",
      "10s",
    ),
    idle_timeout: key(
      limit(),
      "Close a connection when no byte moved in either direction for this long; 0: never. Connection pools that are idle for longer need more, or traffic of their own",
      "90s",
    ),
    close_timeout: key(
      limit(),
      "Once one side has ended, the other may go on for at most this long; 0: no limit but `idle_timeout`",
      "0",
    ),
    max_connections: key(
      values.count(),
      "At most this many at once in this tunnel; the rest wait in the kernel's queue. Handshakes under way come on top in server and bridge mode, at most 256. 0: no limit but file descriptors, of which each connection takes four",
      1000,
    ),
    shutdown_timeout: key(
      limit(),
      "How long a drain may take; then connections are cut and the exit status is 1. 0: no limit",
      "30s",
    ),
    max_lifetime: key(
      limit(),
      "Close a connection this long after it was accepted, busy or not; 0: no limit",
      "0",
    ),
    max_connections_per_peer: key(
      values.count(),
      "Server and bridge mode: at most this many at once of one certificate identity; more are refused. 0: no limit, and one peer can take all connections",
      0,
    ),
    balance: key(values.oneOf(BALANCES), "How one of `targets` is chosen", "failover"),
    proxy_protocol: key(
      values.oneOf(PROXY_PROTOCOLS),
      "Server mode: send the target a PROXY header with the client's address before the bytes. A target that does not expect it takes it for the first bytes",
      "off",
    ),
    accept_proxy_protocol: key(
      values.networks(),
      "Expect a PROXY header from these sources, and accept no others. They may claim any address: list the balancers, nothing wider",
      [],
    ),
    socket_mode: key(
      values.socketMode(),
      "Mode of a UNIX socket that is listened on, in quotes. Users who may write to it may connect and use our identity",
      "0600",
    ),
  };
}

/** The common keys of the top level and the entries of `tunnels`. */
function tunnelKeys() {
  const { client_auth: _asked, handshake_timeout: _deadline, ...upstreamTls } = tlsKeys();
  return {
    mode: key(
      values.oneOf(MODES),
      "`server`: accept TLS, forward plain. `client`: accept plain, forward TLS. `bridge`: accept TLS, forward over another TLS connection",
    ),
    listen: key(
      values.address("listen"),
      "Where to accept. Port 0 is any free port, which the log says. `localhost` is 127.0.0.1 and `::1` with one port, any other name its first address. In client mode every process that reaches it uses our identity: keep it on loopback, or use a UNIX socket",
    ),
    target: key(
      values.address("target"),
      "Where to forward; needed unless there are `targets`. In server mode this side is plain: off loopback the traffic can be read and changed, which is a warning",
    ),
    targets: key(
      values.targets(),
      "Several places to forward to, instead of `target`. In client mode each is verified by a name of its own, its host",
    ),
    tls: block(
      tlsKeys(),
      "Identity, trust, protocol",
      'must be a block with "cert", "key" and "ca"',
    ),
    acl: block({
      ...aclKeys(),
      allow_anonymous: key(
        values.boolean(),
        "With `client_auth: optional`: admit a client without a certificate although there are allow rules. Deny rules cannot match it",
        false,
      ),
    }, "Who is admitted; without rules every valid certificate"),
    proxy: block(proxyKeys(), "Limits of connections, and how they are made"),
    upstream_tls: block(
      upstreamTls,
      "Bridge mode: the keys of `tls` but `client_auth` and `handshake_timeout`, for the side towards the target; what is left out comes from `tls`",
    ),
    upstream_acl: block(
      aclKeys({ block: "upstream_acl" }),
      "Bridge mode: the keys of `acl` but `allow_anonymous`, for the server that is dialled. Without rules every server with a valid certificate of the right name is admitted",
    ),
  };
}

function makeSchema() {
  const endpoint = (listen: string, what: string) =>
    block({
      enabled: key(values.boolean(), `Whether to serve ${what}`, false),
      listen: key(
        values.tcpAddress(),
        "Where to serve them. There is no authentication: keep it on loopback or behind a network policy",
        listen,
      ),
    }, what);
  const tunnel = z.strictObject({
    name: key(values.tunnelName(), "What logs, metrics and errors call it; unique"),
    ...tunnelKeys(),
  }, { error: 'must be a block of keys that starts with "name"' });
  const tunnels = z.array(tunnel, {
    error: 'must be a list: start each tunnel with "- name: ..."',
  }).min(1, { error: "must have at least one tunnel" });
  return z.strictObject({
    ...tunnelKeys(),
    tunnels: tunnels.meta({
      description:
        "Several tunnels: blocks with a `name` and the keys above; what an entry leaves out comes from the top level",
    }).optional(),
    health: endpoint("127.0.0.1:9000", "the probes /healthz, /readyz and /certz"),
    metrics: endpoint("127.0.0.1:9001", "the metrics in the format of Prometheus, /metrics"),
    logging: block({
      level: key(values.oneOf(LOG_LEVELS), "The lowest level that is logged", "info"),
      format: key(
        values.oneOf(LOG_FORMATS),
        "`text` as Go's slog writes it, or one JSON object a line",
        "text",
      ),
    }, "The log, which goes to stderr"),
  });
}

const SCHEMA = makeSchema();

/** The schema that validates each value of a config on its own. */
export function configSchema(): values.Value<RawConfig> {
  return SCHEMA;
}

/** The keys of the block at the path; empty if there is no such block. */
export function knownKeys(path: KeyPath): readonly string[] {
  let at: unknown = SCHEMA;
  for (const part of path) {
    if (at instanceof z.ZodArray) at = typeof part === "number" ? at.element : undefined;
    else if (at instanceof z.ZodObject) at = unwrap(at.shape[part]);
    else return [];
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(type: unknown): unknown {
  return type instanceof z.ZodOptional ? type.unwrap() : type;
}

/**
 * Validates each value on its own. The result contains the valid ones, so that the rules between
 * keys can be checked despite other errors. Entries of `tunnels` keep their index.
 */
export function readSchema(
  value: unknown,
): { readonly raw: RawConfig; readonly issues: readonly SchemaIssue[] } {
  const result = SCHEMA.safeParse(value);
  if (result.success) return { raw: result.data satisfies RawConfig, issues: [] };
  const issues: SchemaIssue[] = [];
  for (const issue of result.error.issues) {
    const path = issue.path.filter((part) => typeof part !== "symbol");
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) issues.push({ kind: "unknown", path: [...path, key] });
    } else {
      issues.push({ kind: "invalid", path, reason: issue.message });
    }
  }
  return { raw: readSchema(without(value, issues.map(({ path }) => faulty(path)))).raw, issues };
}

/**
 * The path to leave out for an issue. For one target it is the whole list, because targets are
 * identified by their index.
 */
function faulty(path: KeyPath): KeyPath {
  const at = path.indexOf("targets");
  return at === -1 ? path : path.slice(0, at + 1);
}

/** A copy without the values at the paths. */
function without(value: unknown, paths: readonly KeyPath[]): unknown {
  const inside = Map.groupBy(paths, ([first]) => first);
  const gone = (part: string | number): boolean =>
    inside.get(part)?.some((path) => path.length === 1) ?? false;
  const rest = (part: string | number, item: unknown): unknown => {
    const deeper = inside.get(part)?.map((path) => path.slice(1));
    return deeper === undefined ? item : without(item, deeper);
  };
  if (Array.isArray(value)) {
    const kept = value.map((item, index) => gone(index) ? GONE : rest(index, item));
    // Tunnels are identified by their index, so an entry that is not a block becomes an empty one.
    const entries = kept.some((item) => typeof item === "object" && item !== null);
    return entries
      ? kept.map((item) => item === GONE ? {} : item)
      : kept.filter((item) => item !== GONE);
  }
  if (typeof value !== "object" || value === null) return value;
  const copy: Record<string, unknown> = Object.create(null);
  for (const [name, item] of Object.entries(value)) {
    if (!gone(name)) copy[name] = rest(name, item);
  }
  return copy;
}

/** Marks an item to be left out. */
const GONE = Symbol("gone");
