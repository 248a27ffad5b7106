/**
 * Every key of a tunnel, one by one: what stands at the top level counts where an entry leaves it out,
 * and what the entry says counts in place of it. Either way the tunnel is the one that a config
 * without `tunnels` would have made of the same words.
 *
 * @module
 */

import assert from "node:assert/strict";
import { configJsonSchema, type JsonSchema } from "../../../src/config/schema.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { OWN_KEYS } from "../../../src/config/scope.ts";

type Block = Readonly<Record<string, unknown>>;

const DURATIONS = ["1s", "2m"];
const RULES: Readonly<Record<string, readonly unknown[]>> = {
  cn: [["a"], ["b", "c"], []],
  org: [["a"], ["b", "c"], []],
  ou: [["a"], ["b", "c"], []],
  dns: [["a.x"], ["b.x", "*.x"], []],
  ip: [["10.0.0.1"], ["10.0.0.0/8"], []],
  uri: [["spiffe://a/b"], ["spiffe://a/**"], []],
  spki: [
    ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
    ["sha256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="],
    [],
  ],
};
const TLS: Readonly<Record<string, readonly unknown[]>> = {
  cert: ["a.pem", "b.pem"],
  key: ["a.key", "b.key"],
  ca: ["a.ca", "b.ca"],
  client_auth: ["required", "optional", "none"],
  server_name: ["a.x", "b.x"],
  min_version: ["TLS1.2", "TLS1.3"],
  max_version: ["TLS1.3"],
  alpn: [["h2"], ["http/1.1", "x"], []],
  handshake_timeout: DURATIONS,
  crl: [["a.crl"], "b.crl", []],
  intermediates: ["below.pem", "other.pem"],
  require_close_notify: [true, false],
};
const ACL: Readonly<Record<string, readonly unknown[]>> = {
  mode: ["audit", "enforce"],
  allow_anonymous: [true, false],
  ...Object.fromEntries(
    ["allow", "deny"].flatMap((side) =>
      Object.entries(RULES).map(([dimension, values]) => [`${side}_${dimension}`, values])
    ),
  ),
};
/** Values of every key, by block; the first two differ where there are two. */
const VALUES: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  tls: TLS,
  acl: ACL,
  upstream_tls: TLS,
  upstream_acl: ACL,
  proxy: {
    dial_timeout: DURATIONS,
    idle_timeout: [...DURATIONS, 0],
    close_timeout: [...DURATIONS, "0"],
    max_connections: [5, 0],
    shutdown_timeout: [...DURATIONS, 0],
    max_lifetime: [...DURATIONS, 0],
    max_connections_per_peer: [3, 0],
    balance: ["round_robin", "failover"],
    proxy_protocol: ["v1", "off"],
    accept_proxy_protocol: [["10.0.0.0/8"], ["10.0.0.7"], []],
    socket_mode: ["0660", "0600"],
  },
};

/** The block and the name of each key that an entry shares with the top level. */
function keys(): readonly (readonly [block: string, key: string])[] {
  const entry = configJsonSchema().properties?.tunnels?.items?.properties ?? {};
  const alone = ["name", "mode", ...OWN_KEYS];
  return Object.entries(entry).filter(([name]) => !alone.includes(name)).flatMap(
    ([block, { properties = {} }]: [string, JsonSchema]) =>
      Object.keys(properties).map((key) => [block, key] as const),
  );
}

function put(to: Block, block: string, key: string, value: unknown): Block {
  return { ...to, [block]: { ...to[block] as Block | undefined, [key]: value } };
}

/** The only tunnel, without its name; or how many things are wrong. */
function outcome(config: Block): unknown {
  const result = parseConfig(JSON.stringify(config), "c.yaml");
  return result.ok ? { ...result.config.tunnels[0], name: undefined } : result.problems.length;
}

/** What the key needs beside it. */
function base(mode: string, block: string, key: string): Block {
  const optional = key === "allow_anonymous" && mode === "server"
    ? { client_auth: "optional" }
    : {};
  const other = block !== "upstream_tls" ? undefined : { cert: "key", key: "cert" }[key];
  return {
    mode,
    tls: { cert: "c", key: "k", ca: "ca", ...optional },
    ...(other === undefined ? {} : { upstream_tls: { [other]: "other" } }),
  };
}

Deno.test({ name: "merge: every key, taken over and replaced", permissions: "none" }, () => {
  const all = keys();
  assert.ok(all.length >= 60, String(all.length));
  let accepted = 0;
  for (const [block, key] of all) {
    const values = VALUES[block]?.[key];
    assert.ok(values, `no values for ${block}.${key}`);
    let fits = false;
    for (const mode of ["server", "client", "bridge"]) {
      const listen = key === "socket_mode" ? "unix:/a.sock" : ":1";
      const own = { listen, targets: ["a.x:1", "b.x:2"] };
      const top = base(mode, block, key);
      for (const first of values) {
        for (const second of [undefined, ...values]) {
          const entry = { name: "t", ...own };
          const several = outcome({
            ...put(top, block, key, first),
            tunnels: [second === undefined ? entry : put(entry, block, key, second)],
          });
          const single = outcome({ ...put(top, block, key, second ?? first), ...own });
          assert.deepEqual(several, single, `${mode} ${block}.${key} ${first} ${second}`);
          if (typeof several === "number") continue;
          fits = true;
          accepted++;
        }
      }
    }
    assert.ok(fits, `${block}.${key} fits no mode`);
  }
  assert.ok(accepted > 1000, String(accepted));
});

Deno.test(
  { name: "merge: what is wrong is said at the key that counts", permissions: "none" },
  () => {
    for (const [block, key] of keys()) {
      const shared = { mode: "bridge", tls: { cert: "c", key: "k", ca: "ca" } };
      const entry = { name: "t", listen: ":1", targets: ["a.x:1"] };
      const lines = (config: Block): string[] => {
        const result = parseConfig(JSON.stringify(config, null, 1), "c.yaml");
        return result.ok ? [] : result.problems.map(formatProblem);
      };
      const wrong = { wrong: "value" };
      const above = lines({ ...put(shared, block, key, wrong), tunnels: [entry] });
      assert.ok(above.some((line) => line.includes(`: ${block}.${key}: Cannot use`)), above.join());
      const inside = lines({ ...shared, tunnels: [put(entry, block, key, wrong)] });
      const there = `: tunnels[0] "t": ${block}.${key}: Cannot use`;
      assert.ok(inside.some((line) => line.includes(there)), inside.join());
    }
  },
);
