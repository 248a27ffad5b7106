/**
 * The schema of the file: its keys, the valid values of each, and descriptions for the JSON Schema.
 * All keys are optional here; `checks.ts` checks the rules between keys.
 *
 * @module
 */

import * as z from "zod";
import { DIMENSIONS, type Rule, SIDES } from "../acl/rule.ts";
import { parseServerName } from "./address.ts";
import {
  ACL_MODES,
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
  cn: "a Subject CN",
  org: "any Subject O",
  ou: "any Subject OU",
  dns: 'a DNS SAN; "*." for one label',
  ip: "an IP SAN: an address or a network",
  uri: 'a URI SAN; "*" for one whole segment, "**" at the end for the rest',
  spki: "the public key: sha256:BASE64",
} as const;

/** The fourteen rule lists. */
function ruleLists(
  where: Pick<Rule, "block">,
): Record<RuleListKey, z.ZodOptional<z.ZodType<Rule[]>>> {
  const entries = SIDES.flatMap((side) =>
    DIMENSIONS.map((dimension) => {
      const does = side === "allow" ? "Lets in" : "Keeps out, whatever an allow rule says,";
      const type = values.rules(side, dimension, where);
      return [
        `${side}_${dimension}`,
        key(type, `${does} who shows ${DIMENSION_NAMES[dimension]}`, []),
      ] as const;
    })
  );
  return Object.fromEntries(entries) as ReturnType<typeof ruleLists>;
}

const CLIENT_AUTH = values.oneOf(["required", "optional", "none", "require", "request"]);

/** The common keys of `tls` and `upstream_tls`. */
function tlsKeys() {
  return {
    cert: key(values.path(), "Own certificate chain, leaf first, PEM"),
    key: key(values.path(), "Own private key, PEM; may be the same file as cert"),
    ca: key(values.path(), "Bundle of the CAs that sign the peers, PEM; nothing else is trusted"),
    client_auth: key(
      CLIENT_AUTH.transform((word): ClientAuth =>
        word === "require" ? "required" : word === "request" ? "optional" : word
      ),
      "Server mode: whether clients must show a certificate",
      "required",
    ),
    server_name: key(
      values.parsed(parseServerName, "must be a DNS name or an IP address, as a string"),
      "Towards the target: the name that its certificate must carry; default the target's host",
    ),
    min_version: key(values.oneOf(["TLS1.2", "TLS1.3"]), "Oldest TLS version", "TLS1.2"),
    max_version: key(values.oneOf(["TLS1.2", "TLS1.3"]), "Newest TLS version", "TLS1.3"),
    alpn: key(values.alpn(), 'Protocols to offer or accept, in order: "h2" for gRPC', []),
    handshake_timeout: key(
      values.duration("0 is an error"),
      "From accept to the end of the handshake and the decision; in client mode for each server's",
      "10s",
    ),
    crl: key(values.paths(), "Certificate revocation lists, PEM or DER", []),
    intermediates: key(
      values.path(),
      "Certificates that help to build chains and to verify lists, PEM; not trusted by themselves",
    ),
    require_close_notify: key(
      values.boolean(),
      "Whether a peer that ends TCP without close_notify has broken the connection off",
      false,
    ),
  };
}

function aclKeys(where: Pick<Rule, "block"> = {}) {
  return {
    ...ruleLists(where),
    mode: key(
      values.oneOf(ACL_MODES),
      '"audit" lets everybody with a valid certificate in, and logs who would be denied',
      "enforce",
    ),
  };
}

function proxyKeys() {
  const limit = () => values.duration("0 is no limit");
  return {
    dial_timeout: key(
      values.duration("0 is an error"),
      "To connect to the target; its TLS handshake included",
      "10s",
    ),
    idle_timeout: key(limit(), "Neither direction moved a byte for so long; 0: no limit", "90s"),
    close_timeout: key(
      limit(),
      "How long one half may go on after the other has ended; 0: no limit",
      "0",
    ),
    max_connections: key(values.count(), "At most so many at once; 0: no limit", 1000),
    shutdown_timeout: key(limit(), "Drain at most so long; 0: for ever", "30s"),
    max_lifetime: key(limit(), "Close a connection this old; 0: no limit", "0"),
    max_connections_per_peer: key(
      values.count(),
      "At most so many at once of one certificate identity; 0: no limit",
      0,
    ),
    balance: key(values.oneOf(BALANCES), 'How one of "targets" is chosen', "failover"),
    proxy_protocol: key(
      values.oneOf(PROXY_PROTOCOLS),
      "Server mode: the PROXY header that tells the target who called",
      "off",
    ),
    accept_proxy_protocol: key(
      values.networks(),
      "Expect a PROXY header from these sources, and let nobody else connect",
      [],
    ),
    socket_mode: key(values.socketMode(), "Mode of a UNIX socket that is listened on", "0600"),
  };
}

/** The common keys of the top level and the entries of `tunnels`. */
function tunnelKeys() {
  const { client_auth: _asked, handshake_timeout: _deadline, ...upstreamTls } = tlsKeys();
  return {
    mode: key(
      values.oneOf(MODES),
      "Which side is TLS: the accepting one, the dialling one, or both",
    ),
    listen: key(values.address("listen"), "Where to accept: host:port, :port or unix:/path"),
    target: key(values.address("target"), "Where to forward: host:port or unix:/path"),
    targets: key(values.targets(), 'Several places to forward to, instead of "target"'),
    tls: block(
      tlsKeys(),
      "Identity, trust, protocol",
      'must be a block with "cert", "key" and "ca"',
    ),
    acl: block({
      ...aclKeys(),
      allow_anonymous: key(
        values.boolean(),
        'With client_auth "optional": let peers without a certificate in despite allow rules',
        false,
      ),
    }, "Who gets in; without rules everybody with a valid certificate"),
    proxy: block(proxyKeys(), "Limits of connections, and how they are made"),
    upstream_tls: block(
      upstreamTls,
      'Bridge mode: identity and trust towards the target; what is left out comes from "tls"',
    ),
    upstream_acl: block(
      aclKeys({ block: "upstream_acl" }),
      "Bridge mode: which servers may be forwarded to",
    ),
  };
}

function makeSchema() {
  const endpoint = (listen: string, what: string) =>
    block({
      enabled: key(values.boolean(), "Whether to serve it", false),
      listen: key(values.tcpAddress(), "Where to serve it", listen),
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
      description: "Several tunnels; what an entry leaves out comes from the top level",
    }).optional(),
    health: endpoint("127.0.0.1:9000", "Probes: /healthz, /readyz, /certz"),
    metrics: endpoint("127.0.0.1:9001", "Prometheus: /metrics"),
    logging: block({
      level: key(values.oneOf(LOG_LEVELS), "The least important level to log", "info"),
      format: key(values.oneOf(LOG_FORMATS), "slog's text, or one JSON object a line", "text"),
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
