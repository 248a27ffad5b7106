/**
 * Every key of the config, one by one: a reload that finds it changed does with it what the table of
 * keys says, names it, and names nothing else.
 * A key that is new has to be added here.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DIMENSIONS } from "../../../src/acl/rule.ts";
import type { Config } from "../../../src/config/config.ts";
import { allKeys } from "../../../src/config/keys.ts";
import { notInForce, renewedRules, ruleChanges, rulesOf } from "../../../src/control/reload.ts";
import { parseValid } from "../../support/config.ts";

type Block = Readonly<Record<string, unknown>>;

/** A value before and after, and the mode in which both can be used. */
type Change = readonly [from: unknown, to: unknown, mode?: "server" | "client" | "bridge"];

const RULES = {
  cn: "a",
  org: "a",
  ou: "a",
  dns: "a.x",
  ip: "10.0.0.1",
  uri: "spiffe://a/b",
  spki: "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
} as const;

function tls(mode: "server" | "bridge"): Readonly<Record<string, Change>> {
  return {
    cert: ["a.pem", "b.pem", mode],
    key: ["a.key", "b.key", mode],
    ca: ["a.ca", "b.ca", mode],
    server_name: ["a.x", "b.x", mode === "server" ? "client" : mode],
    min_version: ["TLS1.2", "TLS1.3", mode],
    max_version: ["TLS1.3", "TLS1.2", mode],
    alpn: [["h2"], [], mode],
    crl: [["a.crl"], [], mode],
    intermediates: ["a.pem", "b.pem", mode],
    require_close_notify: [true, false, mode],
  };
}

function acl(mode: "server" | "bridge"): Readonly<Record<string, Change>> {
  return {
    mode: ["audit", "enforce", mode],
    ...Object.fromEntries(
      DIMENSIONS.flatMap((dimension) =>
        ["allow", "deny"].map((side): [string, Change] => [
          `${side}_${dimension}`,
          [[], [RULES[dimension]], mode],
        ])
      ),
    ),
  };
}

const CHANGES: Readonly<Record<string, Change | Readonly<Record<string, Change>>>> = {
  mode: ["server", "bridge"],
  listen: [":1", ":2"],
  target: ["127.0.0.1:3", "127.0.0.1:4"],
  targets: [["127.0.0.1:3", "127.0.0.1:4"], ["127.0.0.1:3", "127.0.0.1:5"]],
  tls: {
    ...tls("server"),
    client_auth: ["required", "optional"],
    handshake_timeout: ["1s", "2s"],
  },
  acl: { ...acl("server"), allow_anonymous: [true, false] },
  upstream_tls: tls("bridge"),
  upstream_acl: acl("bridge"),
  proxy: {
    dial_timeout: ["1s", "2s"],
    idle_timeout: ["1s", "0"],
    close_timeout: ["1s", "0"],
    max_connections: [1, 2],
    shutdown_timeout: ["1s", "0"],
    max_lifetime: ["1s", "0"],
    max_connections_per_peer: [3, 0],
    balance: ["round_robin", "least_connections"],
    proxy_protocol: ["v1", "v2"],
    accept_proxy_protocol: [["10.0.0.0/8"], ["10.0.0.7"]],
    socket_mode: ["0660", "0600", "client"],
  },
  health: { enabled: [true, false], listen: ["127.0.0.1:7", "127.0.0.1:8"] },
  metrics: { enabled: [true, false], listen: ["127.0.0.1:7", "127.0.0.1:8"] },
  logging: { level: ["info", "debug"], format: ["text", "json"] },
};

/** The config in which one key has one value, with what it needs beside it. */
function withKey(path: string, value: unknown, mode: string): Config {
  const [block = "", key] = path.split(".");
  const text: Record<string, unknown> = {
    mode,
    listen: path === "proxy.socket_mode" ? "unix:/run/a.sock" : ":1",
    target: "127.0.0.1:3",
    tls: {
      cert: "c",
      key: "k",
      ca: "ca",
      ...(path === "acl.allow_anonymous" ? { client_auth: "optional" } : {}),
    },
  };
  if (path === "targets" || path === "proxy.balance") {
    delete text.target;
    text.targets = ["127.0.0.1:3", "127.0.0.1:4"];
  }
  if (path === "upstream_tls.cert") text.upstream_tls = { key: "other" };
  if (path === "upstream_tls.key") text.upstream_tls = { cert: "other" };
  text[block] = key === undefined ? value : { ...text[block] as Block, [key]: value };
  return parseValid(JSON.stringify(text));
}

Deno.test(
  { name: "every key: a change of it is named, and nothing else", permissions: "none" },
  () => {
    const keys = allKeys();
    assert.ok(keys.length > 70, String(keys.length));
    for (const { path: parts, key: { reload } } of keys) {
      const path = parts.join(".");
      const [block, key] = parts;
      const entry = CHANGES[block];
      const change = key === undefined ? entry : (entry as Readonly<Record<string, Change>>)?.[key];
      assert.ok(Array.isArray(change), `a change of ${path} is missing here`);
      const [from, to, mode = "server"] = change as Change;
      const running = withKey(path, from, path === "mode" ? String(from) : mode);
      const reread = withKey(path, to, path === "mode" ? String(to) : mode);
      const before = rulesOf(running.tunnels);
      const rules = renewedRules(running.tunnels, before, reread.tunnels);
      const [changes, left] = [ruleChanges(before, rules), notInForce(running, reread, rules)];
      if (reload === "rules") {
        assert.deepEqual(left, [], path);
        assert.deepEqual(changes.map((text) => text.replace(/: .*/, "")), [path]);
      } else {
        assert.deepEqual(changes, [], path);
        assert.deepEqual(left, [`${path}: needs a restart`]);
      }
      assert.deepEqual(notInForce(running, running, before), []);
    }
  },
);
