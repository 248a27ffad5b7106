/**
 * Configs that are written from memory of other programs, or for something that fills in variables.
 *
 * @module
 */

import assert from "node:assert/strict";
import { foldName, foreignKey } from "../../../src/config/foreign.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { knownKeys } from "../../../src/config/keys.ts";

function problems(text: string, variables: Readonly<Record<string, string>> = {}): string[] {
  const result = parseConfig(text, "c.yaml", new Map(Object.entries(variables)));
  return result.ok ? [] : result.problems.map(formatProblem);
}

const TLS = "tls: { cert: c.pem, key: k.pem, ca: ca.pem }";
const REST = `mode: server\nlisten: ":1"\ntarget: "127.0.0.1:2"\n`;

/** What is said of the key in this block (`""`: the top level), without the rest of the config. */
function said(block: string, key: string): string {
  const text = block === "" ? `${REST}${TLS}\n${key}: x\n` : `${REST}${block}: { ${key}: x }\n`;
  const found = problems(text).filter((line) => line.includes(`unknown key "${key}"`));
  assert.equal(found.length, 1, found.join("\n"));
  return found[0]?.replace(/^.*Cannot use unknown key "[^"]*": /, "") ?? "";
}

Deno.test({ name: "foreign: a key by its name elsewhere gets a hint", permissions: "none" }, () => {
  const rows: readonly (readonly [block: string, keys: string, hint: string])[] = [
    ["tls", "certFile cert_file certificate crt tlsCert server-cert sslcertificate", '"cert"'],
    ["tls", "keyFile private_key keyPath", '"key"'],
    ["tls", "clientCAFile client_ca_file cacert caFile rootCAs trustStore CAs", '"ca"'],
    ["tls", "clientAuth ClientAuthType verifyClient", '"client_auth"'],
    ["tls", "minVersion tls_min_version", '"min_version"'],
    ["", "listen_address listenAddr bind accept", '"listen"'],
    ["", "connect backend upstream targetAddr", '"target"'],
    ["", "backends", '"targets"'],
    ["", "cacert clientCAFile", '"ca" in the block "tls"'],
    ["", "allowCN allow-cn allowed_cns", '"allow_cn" in the block "acl"'],
    ["", "clientAuth client-auth", '"client_auth" in the block "tls"'],
    ["", "maxConns", '"max_connections" in the block "proxy"'],
    ["", "logLevel", '"level" in the block "logging"'],
    ["", "metrics_addr", '"listen" in the block "metrics"'],
    ["acl", "allowCN allowedCNs", '"allow_cn"'],
    ["proxy", "connectTimeout", '"dial_timeout"'],
    ["health", "addr port address", '"listen"'],
  ];
  for (const [block, keys, hint] of rows) {
    for (const key of keys.split(" ")) {
      assert.equal(said(block, key), `did you mean ${hint}?`, `${block}.${key}`);
    }
  }
});

Deno.test({ name: "foreign: what has no key gets an answer", permissions: "none" }, () => {
  assert.match(said("tls", "keystore"), /^key stores are not read: write "openssl pkcs12 /);
  assert.match(said("tls", "keyPassphrase"), /^encrypted keys are not read: write "openssl pkey /);
  assert.match(said("tls", "insecureSkipVerify"), /^there is no way to leave peers unverified/);
  assert.match(said("", "cipherSuites"), /^ciphers and curves cannot be chosen/);
});

Deno.test({
  name: "foreign: a hint keeps what it stands for from being missed",
  permissions: "none",
}, () => {
  const text = `mode: server\naccept: ":1"\nconnect: "a:2"\n` +
    "tls: { certFile: c, keyFile: k, clientCAFile: ca, clientAuth: required }\n";
  assert.deepEqual(problems(text).map((line) => line.replace(/^c\.yaml:\d+:\d+: /, "")), [
    'accept: Cannot use unknown key "accept": did you mean "listen"?',
    'connect: Cannot use unknown key "connect": did you mean "target"?',
    'tls.certFile: Cannot use unknown key "certFile": did you mean "cert"?',
    'tls.keyFile: Cannot use unknown key "keyFile": did you mean "key"?',
    'tls.clientCAFile: Cannot use unknown key "clientCAFile": did you mean "ca"?',
    'tls.clientAuth: Cannot use unknown key "clientAuth": did you mean "client_auth"?',
  ]);
});

Deno.test({ name: "foreign: hints lead to keys that there are", permissions: "none" }, () => {
  const names =
    "certFile keyFile caFile verify sni minTlsVersion maxTlsVersion nextProtos crlFile " +
    "bind connect backends allowedCNs allowO verifyOu allowSan verifyUri maxConn connectTimeout " +
    "timeoutIdle timeoutClose maxConnLifetime graceTimeout sendProxy acceptProxy healthAddr " +
    "metricsPort logLevel logFormat log";
  for (const name of names.split(" ")) {
    const path = foreignKey(name);
    assert.ok(path, name);
    assert.ok(knownKeys(path.slice(0, -1)).includes(path.at(-1) ?? ""), `${name}: ${path}`);
  }
  assert.equal(foldName("x".repeat(65)), "");
});

Deno.test({ name: "foreign: many wrong keys do not take long", permissions: "none" }, () => {
  const text = REST + Array.from({ length: 20_000 }, (_, i) => `tragett${i}: 1\n`).join("");
  const found = problems(text);
  assert.ok(found.length >= 20_000);
  assert.ok(found.filter((line) => line.includes("did you mean")).length <= 50);
});

const VARIABLE = "nothing fills in variables here: write the value itself";

Deno.test({ name: "expansion: what waits to be filled in is named", permissions: "none" }, () => {
  const set = (name: string) =>
    `${VARIABLE}, or leave the key out and set ${name} (with --allow-env=MTLSD_*)`;
  const rows: readonly (readonly [text: string, wanted: string])[] = [
    [
      `${TLS}\nlogging: { level: "\${LEVEL}" }`,
      `5:12: logging.level: Cannot use "\${LEVEL}": ${set("MTLSD_LOGGING_LEVEL")}`,
    ],
    [
      `tls: { cert: "\${DIR}/c.pem", key: k, ca: ca }`,
      `4:8: tls.cert: Cannot use "\${DIR}/c.pem": ${set("MTLSD_TLS_CERT")}`,
    ],
    [
      `tls: { cert: $HOME/c.pem, key: k, ca: ca }`,
      `4:8: tls.cert: Cannot use "$HOME/c.pem": ${set("MTLSD_TLS_CERT")}`,
    ],
    [
      `tls: { cert: "{{ .Values.cert }}", key: k, ca: ca }`,
      `4:8: tls.cert: Cannot use "{{ .Values.cert }}": ${set("MTLSD_TLS_CERT")}`,
    ],
    [
      `${TLS}\nacl: { allow_cn: [a, "\${PEER}"] }`,
      `5:22: acl.allow_cn[1]: Cannot use "\${PEER}": ${VARIABLE}`,
    ],
    [
      `${TLS}\nacl: { deny_org: ["$(ORG)"] }`,
      `5:19: acl.deny_org[0]: Cannot use "$(ORG)": ${VARIABLE}`,
    ],
    [
      `${TLS}\nproxy: { max_connections: "\${MAX}" }`,
      `5:10: proxy.max_connections: Cannot use "\${MAX}": ${set("MTLSD_PROXY_MAX_CONNECTIONS")}`,
    ],
  ];
  for (const [text, wanted] of rows) {
    assert.deepEqual(problems(`${REST}${text}\n`), [`c.yaml:${wanted}`], text);
  }
  const tunnels =
    `mode: server\n${TLS}\ntunnels:\n  - { name: a, listen: ":$PORT", target: "a:1" }\n`;
  assert.deepEqual(problems(tunnels), [
    `c.yaml:4:16: tunnels[0] "a": listen: Cannot use ":$PORT": ${VARIABLE}`,
  ]);
  assert.deepEqual(problems(`${REST}${TLS}\n`, { MTLSD_TARGET: "${T}:1" }), [
    `environment: MTLSD_TARGET: Cannot use "\${T}:1": ${VARIABLE}`,
  ]);
});

Deno.test({ name: "expansion: other dollars mean themselves", permissions: "none" }, () => {
  for (const cn of ["a$b", "US$", "$5", "machine$", "$lower"]) {
    assert.deepEqual(problems(`${REST}${TLS}\nacl: { allow_cn: ["${cn}"] }\n`), [], cn);
  }
});
