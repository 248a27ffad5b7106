/**
 * What a reload takes over from a config that was read again, and what it says needs a restart.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config } from "../../src/config/config.ts";
import { needsRestart } from "../../src/daemon/restart.ts";
import { renewedRules, type RulesByTunnel, rulesOf } from "../../src/daemon/rules.ts";
import { several, single } from "./configs.ts";

const http = (more = "") => `name: http, listen: ":1", target: "127.0.0.1:80"${more}`;
const db = (more = "") => `name: db, mode: client, listen: "127.0.0.1:2", target: "db:2"${more}`;
const gateway = (more = "") => `name: gateway, mode: bridge, listen: ":3", target: "eu:3"${more}`;
const allow = (cn: string) => `, acl: { allow_cn: [${cn}] }`;

/** The common names that are allowed, by tunnel; behind a slash those of a bridge's target. */
function allowed(rules: RulesByTunnel): Readonly<Record<string, string>> {
  const names = (list: readonly { readonly text: string }[] = []) =>
    list.map(({ text }) => text).join(" ");
  return Object.fromEntries(
    [...rules].map(([name, { acl, upstream }]) => [
      String(name),
      names(acl.allow) + (upstream === undefined ? "" : `/${names(upstream.allow)}`),
    ]),
  );
}

function renew(running: Config, reread: Config): Readonly<Record<string, string>> {
  return allowed(renewedRules(running.tunnels, rulesOf(running.tunnels), reread.tunnels));
}

Deno.test({ name: "rules: each tunnel gets its own, by name", permissions: "none" }, () => {
  const upstream = (cn: string) => `, upstream_acl: { allow_cn: [${cn}] }`;
  const running = several(http(allow("a")), gateway(allow("b") + upstream("c")));
  const reread = several(gateway(allow("d") + upstream("e")), http(allow("f")));
  assert.deepEqual(allowed(rulesOf(running.tunnels)), { http: "a", gateway: "b/c" });
  assert.deepEqual(renew(running, reread), { http: "f", gateway: "d/e" });
  assert.deepEqual(renew(single("acl: { allow_cn: [a] }"), single()), { undefined: "" });
});

Deno.test({
  name: "rules: a tunnel that is gone or has become another one keeps those that it has",
  permissions: "none",
}, () => {
  const running = several(http(allow("a")), db(allow("b")));
  assert.deepEqual(renew(running, several(http(allow("c")))), { http: "c", db: "b" });
  const other = `name: http, mode: client, listen: "127.0.0.1:1", target: "db:1"`;
  assert.deepEqual(renew(running, several(other, db())), { http: "a", db: "" });
  assert.deepEqual(renew(running, single()), { http: "a", db: "b" });
  assert.deepEqual(renew(single("acl: { allow_cn: [a] }"), running), { undefined: "a" });
  // One that was added is not served.
  assert.deepEqual(renew(several(http()), running), { http: "a" });
});

Deno.test({ name: "restart: rules alone need none", permissions: "none" }, () => {
  assert.equal(needsRestart(single(), single("acl: { allow_cn: [a] }")), undefined);
  const upstream = ", upstream_acl: { allow_cn: [x] }";
  assert.equal(
    needsRestart(several(http(), gateway()), several(gateway(upstream), http(allow("a")))),
    undefined,
  );
});

Deno.test({ name: "restart: what changed is named, with its tunnel", permissions: "none" }, () => {
  assert.deepEqual(
    needsRestart(single(), single("logging: { level: debug }\nproxy: { idle_timeout: 1s }", "a:1")),
    { keys: ["logging", "targets", "proxy"] },
  );
  const running = several(http(), db(), gateway());
  assert.deepEqual(
    needsRestart(
      running,
      several(
        http(', proxy: { accept_proxy_protocol: ["10.0.0.0/8"] }'),
        gateway(", upstream_tls: { alpn: [h2] }"),
        'name: new, listen: ":9", target: "127.0.0.1:80"',
      ),
    ),
    {
      keys: ["http.proxy", "gateway.upstream_tls"],
      tunnels_added: ["new"],
      tunnels_removed: ["db"],
    },
  );
  assert.deepEqual(needsRestart(running, single())?.keys, ["tunnels"]);
  assert.deepEqual(needsRestart(single(), running), { keys: ["tunnels"] });
});
