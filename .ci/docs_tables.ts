/**
 * The tables of the reference pages, from the program's own: commands, metrics, reasons, messages.
 * Each is a list of Markdown, where an item is a row and items in it are its other cells.
 *
 * @module
 */

import { createMetrics } from "../src/admin/metrics.ts";
import { COMMAND_NAMES, helpText } from "../src/cli/mod.ts";
import { allKeys } from "../src/config/keys.ts";
import { configJsonSchema, type JsonSchema } from "../src/config/schema.ts";
import { MESSAGES } from "../src/log/messages.ts";
import { CLOSE_REASON_MEANINGS, HANDSHAKE_REASON_MEANINGS } from "../src/outcome.ts";

/** Where a chapter says more about a row, by its name; links are those of `examples/reference/`. */
const SEE: Readonly<Record<string, string>> = {
  mode: "[bridge](../bridge/README.md)",
  listen: "[UNIX sockets](../unix-sockets/README.md)",
  target: "[UNIX sockets](../unix-sockets/README.md)",
  targets: "[several targets](../targets/README.md)",
  "tls.ca": "[bundles](../certificates/README.md#bundles)",
  "tls.client_auth":
    "[the decision](../access-control/README.md#the-decision) and [TLS only](../access-control/README.md#tls-only)",
  "tls.alpn": "[ALPN](../grpc-https/README.md)",
  "tls.handshake_timeout": "[limits](../access-control/README.md#limits-for-each-peer)",
  "tls.crl": "[revocation](../certificates/README.md#revocation)",
  "tls.intermediates": "[revocation](../certificates/README.md#revocation)",
  "tls.require_close_notify": "[ends of streams](../security/README.md#ends-of-streams)",
  "acl.allow_cn": "[rules](../access-control/README.md#rules)",
  "acl.mode": "[roll-out](../rollout/README.md)",
  "proxy.max_connections_per_peer": "[limits](../access-control/README.md#limits-for-each-peer)",
  "proxy.balance": "[several targets](../targets/README.md)",
  "proxy.proxy_protocol": "[PROXY protocol](../proxy-protocol/README.md)",
  "proxy.accept_proxy_protocol": "[PROXY protocol](../proxy-protocol/README.md)",
  "proxy.socket_mode": "[UNIX sockets](../unix-sockets/README.md)",
  "upstream_tls.*": "[bridge](../bridge/README.md)",
  "upstream_acl.*": "[bridge](../bridge/README.md)",
  tunnels: "[several tunnels](../tunnels/README.md)",
  "health.enabled": "[probes](../operations/README.md#probes)",
  "metrics.enabled": "[metrics](metrics.md)",
  "logging.level": "[logging](logging.md)",
  check: "[troubleshooting](../troubleshooting/README.md)",
  grants: "[permissions](../permissions/README.md)",
  explain: "[explain](../access-control/README.md#explain)",
  schema: "[editors](configuration.md#editors)",
  version: "[past the public interface](../../src/tls/README.md#past-the-public-interface)",
  peer_reset: "[ends of streams](../security/README.md#ends-of-streams)",
  target_reset: "[ends of streams](../security/README.md#ends-of-streams)",
  denied: "[open connections](../access-control/README.md#open-connections)",
  error: "[limits](../security/README.md#limits-and-deviations)",
  mtlsd_last_reload_successful: "[what is in force](../certificates/README.md#what-is-in-force)",
  mtlsd_log_lines_suppressed_total: "[logging](logging.md)",
  "mtlsd was not tested with this version of Deno":
    "[versions](../upgrade/README.md#versions-of-deno)",
  "Deno goes by a variable of its environment, whatever is granted":
    "[what grants do not stop](../security/README.md#what-grants-do-not-stop)",
  "not using the TLS engine directly: it is not what it should be":
    "[past the public interface](../../src/tls/README.md#past-the-public-interface)",
  "certstore: certificates reloaded successfully": "[rotation](../certificates/README.md#rotation)",
  "the config has changes that need a restart":
    "[what is in force](../certificates/README.md#what-is-in-force)",
};

/** A sentence that leads to a chapter; empty where there is none. */
function see(name: string): string {
  return name in SEE ? `See ${SEE[name]}.` : "";
}

/** A list of rows whose cells are named; empty cells are left out. */
function rows(
  columns: readonly string[],
  all: readonly (readonly string[])[],
): string {
  const items = all.map(([name = "", ...cells]) =>
    [
      `- ${name}`,
      ...cells.flatMap((cell, index) => cell === "" ? [] : `  - ${columns[index + 1]}: ${cell}`),
    ].join("\n")
  );
  return `<!-- table: ${columns.join(" | ")} -->\n\n${items.join("\n")}`;
}

/** A list of rows of two cells. */
function pairs(columns: readonly [string, string], all: Readonly<Record<string, string>>): string {
  const items = Object.entries(all).map(([name, words]) => `- \`${name}\`: ${words}. ${see(name)}`);
  return `<!-- table: ${columns.join(" | ")} -->\n\n${items.join("\n")}`;
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

/** The keys of a config: those of `mtlsd schema`, with the second side of a bridge as one. */
function keys(): string {
  const all = Object.entries(configJsonSchema().properties ?? {}).flatMap(([name, schema]) => {
    if (name.startsWith("upstream_")) return [[`${name}.*`, schema] as const];
    const inner = Object.entries(schema.properties ?? {});
    return inner.length === 0
      ? [[name, schema] as const]
      : inner.map(([key, value]) => [`${name}.${key}`, value] as const);
  });
  return rows(
    ["key", "type", "default", "meaning", "reload"],
    all.map(([key, schema]) => [
      `\`${key}\``,
      typeOf(schema),
      schema.default === undefined ? "" : `\`${shownDefault(schema.default)}\``,
      `${schema.description}. ${see(key)}`.trimEnd(),
      reloadOf(key),
    ]),
  );
}

/** What a reload does with a key if it does anything; a block of the bridge is seen in `tls` and `acl`. */
function reloadOf(key: string): string {
  switch (allKeys().find(({ path }) => path.join(".") === key)?.key.reload) {
    case "file":
      return "reads the file again; another path needs a restart";
    case "rules":
      return "takes effect";
    default:
      return "";
  }
}

function shownDefault(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The type of a value in the words of the page. */
function typeOf({ type, enum: words, anyOf, items, pattern }: JsonSchema): string {
  if (words !== undefined) return words.map((word) => `\`${word}\``).join(", ");
  if (pattern !== undefined) return "duration";
  if (anyOf !== undefined) {
    const types = anyOf.map(typeOf).filter((name) => name !== "");
    return [...new Set(types)].join(" or ");
  }
  if (type === "array") return `list of ${items === undefined ? "values" : `${typeOf(items)}s`}`;
  return type === "object" ? "block" : String(type ?? "");
}

/** What help says of each command, under a heading of its own. */
function commands(): string {
  return [undefined, ...COMMAND_NAMES].map((name) => {
    const block = `\`\`\`text\n${helpText(name).trimEnd()}\n\`\`\``;
    return name === undefined ? block : `## mtlsd ${name}\n\n${see(name)}\n\n${block}`;
  }).join("\n\n");
}

/** What is exposed of one tunnel without a name, in the order in which it is. */
async function metrics(): Promise<string> {
  const source = createMetrics({ version: "0.0.0" });
  // These exist once there is a certificate and a list.
  const tunnel = source.tunnel();
  for (const role of ["own", "ca"] as const) tunnel.certNotAfter(role, 0);
  tunnel.crlNextUpdate(0);
  const text = await source.render();
  return rows(
    ["metric", "type", "labels", "what"],
    [...text.matchAll(/^# HELP (\S+) (.+)\n# TYPE \S+ (\S+)$/gm)].map((
      [, name = "", help = "", type = ""],
    ) => [
      `\`${name}\``,
      type,
      labelsOf(name, text),
      `${help} ${see(name)}`.trimEnd(),
    ]),
  );
}

/** The labels of a family, each with its values where these are a closed set. */
function labelsOf(name: string, text: string): string {
  const values = new Map<string, Set<string>>();
  for (const [, inside = ""] of text.matchAll(new RegExp(`^${name}\\{(.*)\\} `, "gm"))) {
    for (const [, label = "", value = ""] of inside.matchAll(/(\w+)="([^"]*)"/g)) {
      values.set(label, (values.get(label) ?? new Set()).add(value));
    }
  }
  return [...values].map(([label, known]) => {
    if (label === "reason") return "`reason`: see below";
    return OPEN.includes(label) ? `\`${label}\`` : `\`${label}\`: ${quoted([...known])}`;
  }).join("; ");
}

/** Labels whose values are those of the config or of the program's version. */
const OPEN = ["target", "version"];

/** The messages of the log, by topic. */
function messages(): string {
  return Object.entries(MESSAGES).map(([topic, all]) =>
    `### ${topic}\n\n` + rows(
      ["message", "level", "when", "fields"],
      all.map(({ messages: [name = "", ...others], levels, when, fields }) => [
        quoted([name, ...others]),
        levels.join(" or "),
        `${when} ${see(name)}`.trimEnd(),
        quoted(fields),
      ]),
    )
  ).join("\n\n");
}

/** The tables by the name that a page gives them. */
export const TABLES: Readonly<Record<string, () => string | Promise<string>>> = {
  keys,
  commands,
  metrics,
  messages,
  "handshake reasons": () => pairs(["handshake reason", "means"], HANDSHAKE_REASON_MEANINGS),
  "close reasons": () => pairs(["close reason", "means"], CLOSE_REASON_MEANINGS),
};
