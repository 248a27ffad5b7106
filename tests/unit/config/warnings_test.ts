/**
 * What works and deserves a look.
 *
 * @module
 */

import assert from "node:assert/strict";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { configWarnings } from "../../../src/config/warnings.ts";

const SERVER = "mode: server\nlisten: :8443\ntarget: 127.0.0.1:8080\n";
const CLIENT = "mode: client\nlisten: 127.0.0.1:8080\ntarget: db.example.com:8443\n";
const TLS = "tls:\n  cert: cert.pem\n  key: key.pem\n  ca: ca.pem\n";
const OPTIONAL = `${SERVER}${TLS}  client_auth: optional\n`;

/** The warnings, `key: message`. */
function warnings(text: string): string[] {
  const result = parseConfig(text, "c.yaml");
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  return configWarnings(result.config).map(({ key, message }) => `${key}: ${message}`);
}

const UNUSED = 'it is not used: with client_auth "none" no peer is asked for a certificate';
const ON_TRIAL =
  "acl.mode: the rules are on trial: every valid certificate is let in, and only the " +
  "log and mtlsd_acl_decisions_total tell who would be denied";

const CASES: readonly (readonly [what: string, text: string, expected: readonly string[]])[] = [
  ["nothing to say", SERVER + TLS, []],
  ["rules", `${SERVER}${TLS}acl:\n  allow_cn: [web]\n  deny_cn: [api]\n`, []],
  ["client mode", CLIENT + TLS, []],
  [
    "a plaintext side that is not loopback",
    SERVER.replace("127.0.0.1:8080", "backend:8080") + TLS,
    [
      'target: "backend:8080" is not loopback: traffic there is neither encrypted nor ' +
      "authenticated; use 127.0.0.1, or a network that you trust",
    ],
  ],
  ["trust that is not used", `${SERVER}${TLS}  client_auth: none\n  crl: [ca.crl]\n`, [
    `tls.ca: ${UNUSED}`,
    `tls.crl: ${UNUSED}`,
  ]],
  ["no trust, none used", SERVER + TLS.replace("ca: ca.pem", "client_auth: none"), []],
  ["a trial without rules", `${SERVER}${TLS}acl: { mode: audit }\n`, [
    'acl.mode: "audit" has nothing to try: there are no rules, and every valid certificate is let ' +
    "in; add the rules that are to come, or remove it",
  ]],
  ["a trial", `${SERVER}${TLS}acl: { mode: audit, deny_cn: [web] }\n`, [ON_TRIAL]],
  ["a trial in client mode", `${CLIENT}${TLS}acl: { mode: audit, allow_cn: [web] }\n`, [ON_TRIAL]],
  ["optional without rules", OPTIONAL, []],
  ["optional with deny rules", `${OPTIONAL}acl: { deny_cn: [web] }\n`, []],
  [
    "anonymous peers that are let in",
    `${OPTIONAL}acl: { allow_cn: [a], allow_anonymous: true }\n`,
    [],
  ],
  ["anonymous peers without allow rules", `${OPTIONAL}acl: { allow_anonymous: true }\n`, [
    "acl.allow_anonymous: it changes nothing: without allow rules a peer without a certificate is " +
    "let in",
  ]],
  ["optional with allow rules", `${OPTIONAL}acl: { allow_cn: [web] }\n`, [
    'tls.client_auth: "optional" asks for a certificate that the rules need: a peer without one is ' +
    'denied; write "required", or set acl.allow_anonymous to let it in',
  ]],
  ["optional with allow rules on trial", `${OPTIONAL}acl: { allow_cn: [web], mode: audit }\n`, [
    ON_TRIAL,
    'tls.client_auth: "optional" asks for a certificate that the rules need: a peer without one is ' +
    'denied, "audit" or not; write "required", or set acl.allow_anonymous to let it in',
  ]],
  [
    "an allow rule that a deny rule beats",
    `${SERVER}${TLS}acl: { allow_cn: [web, api], allow_org: [web], deny_cn: [web] }\n`,
    ['acl.allow_cn: "web" lets no peer in: "acl.deny_cn: web" beats it'],
  ],
  [
    "more for one than for all",
    `${SERVER}${TLS}proxy: { max_connections: 10, max_connections_per_peer: 10 }\n`,
    [
      "proxy.max_connections_per_peer: 10 changes nothing: all peers together have no more than 10, " +
      "which is max_connections",
    ],
  ],
  ["UNIX sockets", SERVER.replace("127.0.0.1:8080", "unix:/run/app.sock") + TLS, []],
  [
    "a socket for a group",
    `${
      CLIENT.replace("127.0.0.1:8080", "unix:/run/db.sock")
    }${TLS}proxy: { socket_mode: "0660" }\n`,
    [],
  ],
  [
    "a socket for everybody",
    `${CLIENT.replace("127.0.0.1:8080", "unix:/run/db.sock")}${TLS}proxy: { socket_mode: "666" }\n`,
    [
      'proxy.socket_mode: "0666" lets every user of this machine connect; use "0660" and a group',
    ],
  ],
  [
    "several targets",
    SERVER.replace("target: 127.0.0.1:8080", "targets: [127.0.0.1:1, backend:1, unix:/a]") + TLS,
    [
      'targets[1]: "backend:1" is not loopback: traffic there is neither encrypted nor ' +
      "authenticated; use 127.0.0.1, or a network that you trust",
    ],
  ],
  [
    "whoever says where it comes from",
    `${SERVER}${TLS}proxy: { accept_proxy_protocol: [10.0.0.0/8, "::/0"] }\n`,
    [
      "proxy.accept_proxy_protocol: a network of every address lets every client say where it " +
      "comes from; name the load balancers only",
    ],
  ],
  ["a bridge", `${CLIENT.replace("client", "bridge")}${TLS}`, []],
  [
    "rules of a bridge",
    `${CLIENT.replace("client", "bridge")}${TLS}acl: { mode: audit, allow_cn: [a] }\n` +
    "upstream_acl: { allow_cn: [a], deny_cn: [a] }\n",
    [
      ON_TRIAL,
      'upstream_acl.allow_cn: "a" lets no peer in: "upstream_acl.deny_cn: a" beats it',
    ],
  ],
  [
    "tunnels, each by its name",
    `mode: server\n${TLS}acl: { mode: audit, allow_cn: [a] }\ntunnels:\n` +
    "  - { name: web, listen: :1, target: backend:1 }\n" +
    "  - { name: api, listen: :2, target: 127.0.0.1:1, acl: { mode: enforce } }\n",
    [
      'tunnels[0] "web": target: "backend:1" is not loopback: traffic there is neither encrypted nor ' +
      "authenticated; use 127.0.0.1, or a network that you trust",
      `tunnels[0] "web": ${ON_TRIAL}`,
    ],
  ],
  ["fewer for one", `${SERVER}${TLS}proxy: { max_connections_per_peer: 999 }\n`, []],
  [
    "no limit for all",
    `${SERVER}${TLS}proxy: { max_connections: 0, max_connections_per_peer: 5 }\n`,
    [],
  ],
];

for (const [what, text, expected] of CASES) {
  Deno.test({
    name: `warnings: ${what}`,
    permissions: "none",
    fn: () => assert.deepEqual(warnings(text), expected),
  });
}
