/**
 * What a reload takes over from a config that was read again, and what it says needs a restart.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config } from "../../../src/config/config.ts";
import {
  notInForce,
  renewedRules,
  ruleChanges,
  type RulesByTunnel,
  rulesOf,
} from "../../../src/control/reload.ts";
import { several, single } from "../../support/config.ts";

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

function left(running: Config, reread: Config): readonly string[] {
  const rules = renewedRules(running.tunnels, rulesOf(running.tunnels), reread.tunnels);
  return notInForce(running, reread, rules);
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
    ["tls: { intermediates: a.pem }", "tls: { intermediates: b.pem }"],
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
  assert.deepEqual(left(single(), single("acl: { allow_cn: [a] }")), []);
  const upstream = ", upstream_acl: { allow_cn: [x] }";
  assert.deepEqual(
    left(several(http(), gateway()), several(gateway(upstream), http(allow("a")))),
    [],
  );
});

Deno.test({
  name: "restart: what changed is named to the key, with its tunnel",
  permissions: "none",
}, () => {
  const more = "logging: { level: debug }\nhealth: { enabled: true }\nproxy: { idle_timeout: 1s }";
  assert.deepEqual(left(single(), single(more, "a:1")), [
    "health.enabled: needs a restart",
    "logging.level: needs a restart",
    "target: needs a restart",
    "proxy.idle_timeout: needs a restart",
  ]);
  const running = several(http(), db(), gateway());
  assert.deepEqual(
    left(
      running,
      several(
        http(', proxy: { accept_proxy_protocol: ["10.0.0.0/8"] }'),
        gateway(", upstream_tls: { alpn: [h2] }"),
        'name: new, listen: ":9", target: "127.0.0.1:80"',
      ),
    ),
    [
      'tunnel "http": proxy.accept_proxy_protocol: needs a restart',
      'tunnel "gateway": upstream_tls.alpn: needs a restart',
      'tunnel "db": removed, serves until the restart',
      'tunnel "new": added, needs a restart',
    ],
  );
  assert.deepEqual(left(running, single()), ["tunnels: needs a restart"]);
  assert.deepEqual(left(single(), running), ["tunnels: needs a restart"]);
});

Deno.test({ name: "restart: every key of a tunnel has its name", permissions: "none" }, () => {
  const keys: readonly (readonly [from: string, to: string, key: string])[] = [
    [http(), http(", tls: { min_version: TLS1.3 }"), "tls.min_version"],
    [http(), http(", tls: { client_auth: none }"), "tls.client_auth"],
    [http(), http(", tls: { handshake_timeout: 1s }"), "tls.handshake_timeout"],
    [http(), http(", proxy: { max_connections_per_peer: 3 }"), "proxy.max_connections_per_peer"],
    [http(), http().replace('":1"', '":7"'), "listen"],
    [http(), http().replace('"127.0.0.1:80"', '"unix:/run/a"'), "target"],
    [
      http(),
      http().replace('target: "127.0.0.1:80"', 'targets: ["127.0.0.1:80", "127.0.0.1:81"]'),
      "targets",
    ],
    [db(), db(", tls: { server_name: other }"), "tls.server_name"],
    [gateway(), gateway(", upstream_tls: { server_name: other }"), "upstream_tls.server_name"],
    [
      gateway(),
      gateway(", upstream_tls: { cert: a.pem, key: b.pem }"),
      "upstream_tls.cert upstream_tls.key",
    ],
    // What the other side takes over is one key of the file.
    [gateway(), gateway(", tls: { min_version: TLS1.3 }"), "tls.min_version"],
    [db(), db().replace("db:2", "db2:2"), "target"],
  ];
  for (const [from, to, wanted] of keys) {
    const found = left(several(from), several(to));
    const [, name = ""] = /name: (\w+)/.exec(from) ?? [];
    assert.deepEqual(
      found,
      wanted.split(" ").map((key) => `tunnel "${name}": ${key}: needs a restart`),
      to,
    );
    assert.deepEqual(left(several(to), several(to)), []);
  }
});

Deno.test({ name: "restart: rules that wait are named to the key", permissions: "none" }, () => {
  const web = (tls: string, rules: string) => several(http(`, tls: { ${tls} }${rules}`), db());
  const ca = 'tunnel "http": tls.ca: needs a restart';
  assert.deepEqual(left(web("ca: a.pem", allow("a")), web("ca: b.pem", "")), [
    ca,
    'tunnel "http": acl.allow_cn: kept until the restart',
  ]);
  assert.deepEqual(left(web("ca: a.pem", allow("a")), web("ca: b.pem", allow("a"))), [ca]);
  const ruled = single("acl: { allow_cn: [a] }");
  assert.deepEqual(left(ruled, single("acl: { allow_cn: [a, b], mode: audit }", "127.0.0.1:9")), [
    "target: needs a restart",
    "acl.allow_cn: kept until the restart",
    "acl.mode: kept until the restart",
  ]);
  assert.deepEqual(left(ruled, several(db())), ["tunnels: needs a restart"]);
  // Deny rules alone are in force already; those that were taken out are not yet out of force.
  const denying = ", acl: { allow_cn: [a], deny_cn: [b] }";
  assert.deepEqual(left(web("ca: a.pem", allow("a")), web("ca: b.pem", denying)), [ca]);
  assert.deepEqual(left(web("ca: a.pem", denying), web("ca: b.pem", allow("a"))), [
    ca,
    'tunnel "http": acl.deny_cn: kept until the restart',
  ]);
});

Deno.test({ name: "rules: a reload says what it changes in them", permissions: "none" }, () => {
  const changes = (from: string, to: string, entry = http) => {
    const [running, reread] = [several(entry(from)), several(entry(to))];
    const before = rulesOf(running.tunnels);
    return ruleChanges(before, renewedRules(running.tunnels, before, reread.tunnels));
  };
  const said = (...texts: string[]) => texts.map((text) => `tunnel "http": ${text}`);
  assert.deepEqual(changes(allow("a"), allow("a, b")), said("acl.allow_cn: 1 → 2 rules"));
  assert.deepEqual(changes(allow("a, b"), allow("b, a")), []);
  assert.deepEqual(changes(allow("a, b"), ""), said("acl.allow_cn: 2 → 0 rules"));
  assert.deepEqual(
    changes(allow("a, b"), allow("b, c")),
    said("acl.allow_cn: 2 → 2 rules (1 added, 1 removed)"),
  );
  assert.deepEqual(
    changes("", ', acl: { deny_org: [x], allow_uri: ["spiffe://a/b"], mode: audit }'),
    said(
      "acl.allow_uri: 0 → 1 rule",
      "acl.deny_org: 0 → 1 rule",
      "acl.mode: enforce → audit",
    ),
  );
  const optional = ", tls: { client_auth: optional }, acl: { allow_cn: [a]";
  assert.deepEqual(
    changes(`${optional} }`, `${optional}, allow_anonymous: true }`),
    said("acl.allow_anonymous: false → true"),
  );
  assert.deepEqual(changes(", upstream_acl: { allow_cn: [a] }", "", gateway), [
    'tunnel "gateway": upstream_acl.allow_cn: 1 → 0 rules',
  ]);
  const [before, after] = [single(), single("acl: { allow_cn: [a] }")].map((one) =>
    rulesOf(one.tunnels)
  );
  assert.ok(before && after);
  assert.deepEqual(ruleChanges(before, after), ["acl.allow_cn: 0 → 1 rule"]);
});
