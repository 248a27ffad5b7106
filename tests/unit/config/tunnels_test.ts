/**
 * Several tunnels: what an entry takes over from the top level, and what it does not.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config, TunnelConfig } from "../../../src/config/config.ts";
import { originOf, parseConfig } from "../../../src/config/load.ts";
import { NO_ENVIRONMENT } from "../../../src/config/environment.ts";
import { formatOrigin, formatProblem } from "../../../src/config/problem.ts";

const TLS = "tls: { cert: c.pem, key: k.pem, ca: ca.pem }\n";

function accept(text: string): Config {
  const result = parseConfig(text, "c.yaml");
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  return result.config;
}

function tunnel(config: Config, name: string): TunnelConfig {
  const found = config.tunnels.find((one) => one.name === name);
  assert.ok(found, name);
  return found;
}

const CORPUS = Deno.readTextFileSync(
  new URL("../../../testdata/config/valid/tunnels.yaml", import.meta.url),
);

const texts = (rules: TunnelConfig["acl"]["allow"]) =>
  rules.map(({ dimension, text }) => `${dimension} ${text}`);

Deno.test({ name: "tunnels: blocks are merged key by key", permissions: "none" }, () => {
  const config = accept(CORPUS);
  assert.deepEqual(config.tunnels.map(({ name }) => name), ["http", "grpc", "db", "gateway.eu-1"]);
  const [http, grpc] = [tunnel(config, "http"), tunnel(config, "grpc")];
  assert.deepEqual([http.mode, http.tls.cert, http.tls.clientAuth], [
    "server",
    "server.pem",
    "optional",
  ]);
  assert.deepEqual([grpc.mode, grpc.tls.cert, grpc.tls.clientAuth], [
    "server",
    "server.pem",
    "required",
  ]);
  assert.deepEqual([http.tls.alpn, grpc.tls.alpn], [["h2", "http/1.1"], ["h2"]]);
  assert.deepEqual([http.proxy.idleTimeout, grpc.proxy.idleTimeout], [300_000, 0]);
  assert.deepEqual([http.proxy.maxConnectionsPerPeer, grpc.proxy.maxConnectionsPerPeer], [20, 20]);
  assert.deepEqual([http.proxy.proxyProtocol, grpc.proxy.proxyProtocol], ["v2-tls", "off"]);
  assert.deepEqual(http.proxy.acceptProxyProtocol.map(({ bits }) => bits), [8, 128]);
});

Deno.test({ name: "tunnels: lists replace", permissions: "none" }, () => {
  const config = accept(CORPUS);
  assert.deepEqual(texts(tunnel(config, "http").acl.allow), ["cn frontend"]);
  assert.deepEqual(texts(tunnel(config, "grpc").acl.allow), ["ou batch"]);
  assert.deepEqual(texts(tunnel(config, "db").acl.allow), ["cn frontend"]);
  const crl = accept(`mode: server\n${TLS.replace(" }", ", crl: [a.crl, b.crl] }")}tunnels:
  - { name: a, listen: :1, target: "a:1" }
  - { name: b, listen: :2, target: "a:1", tls: { crl: c.crl } }
  - { name: c, listen: :3, target: "a:1", tls: { crl: [] } }
`);
  assert.deepEqual(crl.tunnels.map(({ tls }) => tls.crl), [["a.crl", "b.crl"], ["c.crl"], []]);
});

Deno.test({
  name: "tunnels: what another mode cannot use is not taken over",
  permissions: "none",
}, () => {
  const db = tunnel(accept(CORPUS), "db");
  assert.equal(db.tls.clientAuth, "required");
  assert.equal(db.acl.allowAnonymous, false);
  assert.equal(db.proxy.maxConnectionsPerPeer, 0);
  assert.equal(db.proxy.socketMode, 0o660);
  assert.deepEqual(db.targets.map(({ serverName }) => serverName), [
    "db-1.example.com",
    "db-2.example.com",
  ]);
  // The name of one server is left to those that dial one.
  const mixed = accept(`mode: server\n${TLS.replace(" }", ", server_name: db }")}tunnels:
  - { name: a, listen: :1, target: "a:1" }
  - { name: b, mode: client, listen: "127.0.0.1:2", target: "10.0.0.1:1" }
`);
  assert.deepEqual(mixed.tunnels.map(({ targets: [{ serverName }] }) => serverName), [
    undefined,
    "db",
  ]);
});

const BRIDGE = `mode: bridge
listen: :8443
targets: ["one.example:1", "two.example:1"]
tls: { cert: c.pem, key: k.pem, ca: ca.pem, alpn: [h2], crl: a.crl, intermediates: i.pem, min_version: TLS1.3 }
acl: { allow_cn: [web] }
`;

Deno.test({ name: "bridge: the side of the target is the same block", permissions: "none" }, () => {
  const { tunnels: [plain] } = accept(BRIDGE);
  assert.deepEqual(plain.upstream?.tls, plain.tls);
  assert.deepEqual(plain.upstream?.acl, {
    allow: [],
    deny: [],
    mode: "enforce",
    allowAnonymous: false,
  });
  assert.deepEqual(plain.targets.map(({ serverName }) => serverName), [
    "one.example",
    "two.example",
  ]);
  const named = accept(BRIDGE.replace("alpn:", "server_name: tls.example, alpn:"));
  assert.deepEqual(named.tunnels[0].targets.map(({ serverName }) => serverName), [
    "tls.example",
    "tls.example",
  ]);
});

Deno.test(
  { name: "bridge: what upstream_tls leaves out comes from tls", permissions: "none" },
  () => {
    const upstream = (more: string) => accept(BRIDGE + more).tunnels[0].upstream?.tls;
    assert.deepEqual(upstream("upstream_tls: { alpn: [] }\n"), {
      ...accept(BRIDGE).tunnels[0].tls,
      alpn: [],
    });
    const other = upstream("upstream_tls: { cert: o.pem, key: ok.pem, ca: o-ca.pem }\n");
    assert.deepEqual([other?.cert, other?.key, other?.ca, other?.minVersion, other?.alpn], [
      "o.pem",
      "ok.pem",
      "o-ca.pem",
      "TLS1.3",
      ["h2"],
    ]);
    // The lists of one CA say nothing about those of another.
    assert.deepEqual([other?.crl, other?.intermediates], [[], undefined]);
    const same = upstream("upstream_tls: { cert: o.pem, key: ok.pem }\n");
    assert.deepEqual([same?.crl, same?.intermediates], [["a.crl"], "i.pem"]);
    const acl = accept(`${BRIDGE}upstream_acl: { deny_cn: [old], mode: audit }\n`);
    assert.deepEqual(acl.tunnels[0].upstream?.acl.mode, "audit");
    assert.deepEqual(texts(acl.tunnels[0].acl.allow), ["cn web"]);
  },
);

Deno.test({
  name: "bridge: upstream_tls of entries merges with that of the top",
  permissions: "none",
}, () => {
  const config = accept(`mode: bridge
${TLS}upstream_tls: { ca: other.pem, server_name: top.example }
tunnels:
  - { name: a, listen: :1, target: "a.example:1" }
  - { name: b, listen: :2, target: "b.example:1", upstream_tls: { server_name: b.example } }
  - { name: c, mode: server, listen: :3, target: "127.0.0.1:1" }
`);
  assert.deepEqual(config.tunnels.map(({ upstream }) => upstream?.tls.ca), [
    "other.pem",
    "other.pem",
    undefined,
  ]);
  assert.deepEqual(config.tunnels.map(({ targets: [{ serverName }] }) => serverName), [
    "top.example",
    "b.example",
    undefined,
  ]);
});

Deno.test({ name: "tunnels: where a key was written", permissions: "none" }, () => {
  const text = `mode: server
${TLS}tunnels:
  - { name: a, listen: :1, target: "a:1" }
  - { name: b, listen: :2, target: "a:1", tls: { cert: b.pem } }
`;
  const file = { text, file: "c.yaml", environment: NO_ENVIRONMENT };
  const origin = (tunnel: string | undefined, key: string) =>
    formatOrigin(originOf(file, { tunnel, paths: [["tls", key]] }));
  assert.equal(origin("a", "cert"), "c.yaml:2:8: tls.cert");
  assert.equal(origin("b", "cert"), 'c.yaml:5:50: tunnels[1] "b": tls.cert');
  assert.equal(origin("b", "key"), "c.yaml:2:21: tls.key");
  const environment = new Map([["MTLSD_TLS_KEY", "env.pem"]]);
  assert.equal(
    formatOrigin(originOf({ ...file, environment }, { tunnel: "b", paths: [["tls", "key"]] })),
    "environment: MTLSD_TLS_KEY",
  );
});

Deno.test({ name: "tunnels: two hundred take no long time", permissions: "none" }, () => {
  const entries = Array.from(
    { length: 200 },
    (_, i) => `  - { name: t${i}, listen: ":${10_000 + i}", target: "127.0.0.1:${20_000 + i}" }\n`,
  );
  const started = performance.now();
  assert.equal(accept(`mode: server\n${TLS}tunnels:\n${entries.join("")}`).tunnels.length, 200);
  // Well under a second at rest.
  assert.ok(performance.now() - started < 60_000);
});
