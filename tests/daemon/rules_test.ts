/**
 * What a reload takes over from a config that was read again, and what it says needs a restart.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config } from "../../src/config/config.ts";
import { needsRestart as restartFor } from "../../src/daemon/restart.ts";
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

function needsRestart(running: Config, reread: Config): ReturnType<typeof restartFor> {
  const rules = renewedRules(running.tunnels, rulesOf(running.tunnels), reread.tunnels);
  return restartFor(running, reread, rules);
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

/** The only tunnel with these rules, then with those and another setting; what it has in the end. */
function renewedWith(from: string, to: string, before = allow("a"), after = ""): unknown {
  const name = `name: t, mode: server`;
  const rest = `listen: ":1", target: "127.0.0.1:80"`;
  const entry = (setting: string, rules: string) => {
    const key = setting.slice(0, setting.indexOf(":"));
    const others = rest.split(", ").filter((one) => !one.startsWith(`${key}:`));
    return several([name, ...others, setting].join(", ") + rules);
  };
  return renew(entry(from, before), entry(to, after)).t;
}

Deno.test({
  name: "rules: those that come with something else that decides wait for it",
  permissions: "none",
}, () => {
  const pairs: readonly (readonly [from: string, to: string])[] = [
    // Neither lets in a peer without a certificate; "optional" without rules would.
    ["tls: { client_auth: optional }", "tls: { client_auth: required }"],
    ["tls: { client_auth: required }", "tls: { client_auth: none }"],
    ["tls: { ca: everybody.pem }", "tls: { ca: few.pem }"],
    ["tls: { crl: [a.crl] }", "tls: { crl: [a.crl, b.crl] }"],
    ['target: "127.0.0.1:80"', 'target: "127.0.0.1:81"'],
    ['listen: ":1"', 'listen: "127.0.0.1:1"'],
    ["proxy: { idle_timeout: 1s }", "proxy: { accept_proxy_protocol: [10.0.0.7] }"],
  ];
  for (const [from, to] of pairs) {
    assert.equal(renewedWith(from, to), "a", `${from} -> ${to}`);
    assert.equal(renewedWith(from, from), "", from);
  }
  // Where no certificate is asked for, allow rules would let in nobody.
  const [none, asked] = ["tls: { client_auth: none }", "tls: { client_auth: required }"];
  assert.equal(renewedWith(none, asked, "", allow("b")), "");
  // What says nothing of who gets where is no reason to wait.
  for (const to of ["tls: { cert: b.pem, alpn: [h2] }", "proxy: { idle_timeout: 1s }"]) {
    assert.equal(renewedWith("tls: { cert: a.pem }", to, allow("a"), allow("b")), "b", to);
  }
});

Deno.test({
  name:
    "rules: new deny rules hold at once, whatever else has changed, and old ones until the restart",
  permissions: "none",
}, () => {
  const denied = (from: string, to: string, mode = "server") => {
    const entry = (ca: string, deny: string, mode = "server") =>
      several(
        `name: t, mode: ${mode}, listen: "127.0.0.1:1", target: "127.0.0.1:2", ` +
          `tls: { ca: ${ca} }, acl: { deny_cn: [${deny}], allow_org: [${ca}] }`,
      );
    const running = entry("a", from);
    const reread = entry("b", to, mode);
    const rules = renewedRules(running.tunnels, rulesOf(running.tunnels), reread.tunnels);
    const acl = rules.get("t")?.acl;
    assert.deepEqual(acl?.allow.map(({ text }) => text), ["a"]);
    return acl?.deny.map(({ text }) => text);
  };
  assert.deepEqual(denied("", "evil"), ["evil"]);
  assert.deepEqual(denied("evil, worse", "worse, worst"), ["evil", "worse", "worst"]);
  // Rules about servers are no rules about clients.
  assert.deepEqual(denied("", "evil", "client"), []);
  const far = (more: string) => several(gateway(`, upstream_tls: { ca: ${more}`));
  const running = far("a }");
  const reread = far("b }, upstream_acl: { deny_cn: [evil] }");
  const rules = renewedRules(running.tunnels, rulesOf(running.tunnels), reread.tunnels);
  assert.deepEqual(rules.get("gateway")?.upstream?.deny.map(({ text }) => text), ["evil"]);
  assert.deepEqual(rules.get("gateway")?.acl.deny, []);
});

Deno.test({
  name: "rules: two tunnels that change names do not change rules",
  permissions: "none",
}, () => {
  const entry = (name: string, port: number, rules = "") =>
    `name: ${name}, listen: ":${port}", target: "127.0.0.1:8${port}"${rules}`;
  const running = several(entry("admin", 1, allow("operator")), entry("web", 2));
  const reread = several(entry("web", 1, allow("operator")), entry("admin", 2));
  assert.deepEqual(renew(running, reread), { admin: "operator", web: "" });
});

Deno.test({
  name: "rules: about servers wait for the names and the trust that they come with",
  permissions: "none",
}, () => {
  const named = (name: string, rules: string) =>
    several(db(`, tls: { server_name: ${name} }${rules}`));
  assert.deepEqual(renew(named("shared", allow("a")), named("own", "")), { db: "a" });
  assert.deepEqual(renew(named("shared", allow("a")), named("shared", "")), { db: "" });
  const bridge = (ca: string, rules: string) =>
    several(gateway(`, upstream_tls: { ca: ${ca} }${rules}`));
  const far = (cn: string) => `, upstream_acl: { allow_cn: [${cn}] }`;
  assert.deepEqual(renew(bridge("all.pem", far("a")), bridge("few.pem", "")), { gateway: "/a" });
  assert.deepEqual(renew(bridge("all.pem", far("a")), bridge("all.pem", far("b"))), {
    gateway: "/b",
  });
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

Deno.test({ name: "restart: rules that wait are named", permissions: "none" }, () => {
  const web = (tls: string, rules: string) => several(http(`, tls: { ${tls} }${rules}`), db());
  assert.deepEqual(needsRestart(web("ca: a.pem", allow("a")), web("ca: b.pem", "")), {
    keys: ["http.tls"],
    rules_kept: ["http"],
  });
  assert.deepEqual(needsRestart(web("ca: a.pem", allow("a")), web("ca: b.pem", allow("a"))), {
    keys: ["http.tls"],
  });
  const ruled = single("acl: { allow_cn: [a] }");
  assert.deepEqual(needsRestart(ruled, single("", "127.0.0.1:9")), {
    keys: ["targets"],
    rules_kept: ["all"],
  });
  assert.deepEqual(needsRestart(ruled, several(db())), { keys: ["tunnels"] });
  // Deny rules alone are in force already.
  const denying = ", acl: { allow_cn: [a], deny_cn: [b] }";
  assert.deepEqual(needsRestart(web("ca: a.pem", allow("a")), web("ca: b.pem", denying)), {
    keys: ["http.tls"],
  });
});
