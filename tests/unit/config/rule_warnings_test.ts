/**
 * Rules that can hardly match are warned of, with what to write; those that can are not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { stringify } from "yaml";
import type { RuleListKey } from "../../../src/config/keys.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { configWarnings } from "../../../src/config/warnings.ts";

function warnings(acl: { readonly [key in RuleListKey]?: readonly string[] }, more = {}): string[] {
  const text = stringify({
    mode: "server",
    listen: ":1",
    target: "127.0.0.1:2",
    tls: { cert: "c", key: "k", ca: "ca" },
    acl,
    ...more,
  });
  const result = parseConfig(text, "c.yaml");
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  return configWarnings(result.config).map(({ key, message }) => `${key}: ${message}`);
}

const STAR = "a star is a character like any other here: ";
const ONE = "a rule is compared with the value of one attribute, without its name: write ";

const ROWS: readonly (readonly [key: RuleListKey, text: string, advice: string])[] = [
  ["allow_cn", "CN=web", `${ONE}"web"`],
  ["allow_cn", "cn = web", `${ONE}"web"`],
  ["allow_cn", "CN=web,O=Acme", `${ONE}"web"`],
  ["allow_cn", "O=Acme, CN=web", `${ONE}"web"`],
  ["allow_cn", "/C=DE/O=Acme/CN=web", `${ONE}"web"`],
  ["allow_cn", "O=Acme", `${ONE}"Acme" under allow_org`],
  ["deny_org", "OU=Ops", `${ONE}"Ops" under deny_ou`],
  ["allow_org", "O=Acme, Inc.", `${ONE}"Acme, Inc."`],
  ["allow_ou", "commonName=web", `${ONE}"web" under allow_cn`],
  ["allow_cn", "*", `${STAR}to let in every valid certificate, leave all allow rules out`],
  [
    "allow_cn",
    "*.example.com",
    `${STAR}write names of hosts under allow_dns, where it stands for one label`,
  ],
  ["allow_org", "Acme*", `${STAR}write each name by itself`],
  ["allow_cn", "^web-.*$", "a rule is no regular expression: write each name by itself"],
  ["allow_cn", "web-[0-9]", "a rule is no regular expression: write each name by itself"],
  ["allow_cn", "a,b", 'it is one name with a "," in it: write a list, ["a", "b"]'],
  ["allow_ou", "a;b;c", 'it is one name with a ";" in it: write a list, ["a", "b", "c"]'],
  ["allow_cn", "web ", 'it has white space around it, which counts: write "web"'],
  ["deny_org", " Evil", 'it has white space around it, which counts: write "Evil"'],
  [
    "allow_cn",
    "we\u200bb",
    "it holds characters that are not seen or are no plain space: type it anew",
  ],
  [
    "allow_cn",
    "we\u00a0b",
    "it holds characters that are not seen or are no plain space: type it anew",
  ],
  ["allow_cn", '"web"', 'the quotes are part of it: write "web", quoted once'],
  [
    "allow_cn",
    "DNS:web.example",
    'this is a name of the SAN, not of the subject: write "web.example" under allow_dns',
  ],
  [
    "deny_cn",
    "URI:spiffe://a/b",
    'this is a name of the SAN, not of the subject: write "spiffe://a/b" under deny_uri',
  ],
  [
    "allow_cn",
    "IP Address:10.0.0.1",
    'this is a name of the SAN, not of the subject: write "10.0.0.1" under allow_ip',
  ],
  [
    "allow_cn",
    "spiffe://acme/web",
    "a URI is a name of the SAN, not of the subject: write it under allow_uri",
  ],
  [
    "allow_ou",
    "10.0.0.1",
    "an address is a name of the SAN, not of the subject: write it under allow_ip",
  ],
  [
    "allow_cn",
    "sha256:abc",
    "a fingerprint is no name: write that of the public key under allow_spki, as sha256:BASE64",
  ],
  [
    "allow_uri",
    "spiffe://acme",
    'the SPIFFE ID of a workload has a path: write "spiffe://acme/**" for all of the trust domain',
  ],
];

for (const [key, text, advice] of ROWS) {
  Deno.test({ name: `rule warnings: ${key}: ${text}`, permissions: "none" }, () => {
    const effect = key.startsWith("deny") ? "it keeps no peer out then" : "it lets no peer in then";
    const [found = "", ...more] = warnings({ [key]: [text] });
    assert.deepEqual(more, []);
    assert.ok(found.startsWith(`acl.${key}: "`), found);
    assert.ok(found.endsWith(`" can hardly match, and ${effect}: ${advice}`), found);
  });
}

Deno.test({ name: "rule warnings: names as there are get none", permissions: "none" }, () => {
  assert.deepEqual(
    warnings({
      allow_cn: [
        "web",
        "frontend-service",
        "db.example.com",
        "10.0.0.1",
        "alice@example.com",
        "Doe, John",
        "DOE.JOHN.Q.1234567890",
        "a=b",
        "web (blue)",
        "Müller & Söhne",
        "system:node:worker-1",
        "a/b",
        "US$",
        "C++",
        "D'Arcy",
      ],
      allow_org: ["Acme, Inc.", "Acme", "system:masters", "Foo; Bar GmbH", "A|"],
      allow_ou: ["Ops", "R&D"],
      allow_dns: ["web", "*.example.com", "1password.com", "a.b1"],
      allow_ip: ["10.0.0.0/8"],
      allow_uri: ["spiffe://acme/ns/*/web", "spiffe://acme/**", "https://acme/x"],
    }),
    [],
  );
});

Deno.test({
  name: "rule warnings: of a bridge's target, and of a tunnel by its name",
  permissions: "none",
}, () => {
  const bridge = {
    name: "b",
    mode: "bridge",
    listen: ":1",
    target: "a:1",
    upstream_acl: { allow_cn: ["CN=db"] },
  };
  assert.deepEqual(
    warnings({}, { listen: undefined, target: undefined, tunnels: [bridge] }),
    [`tunnels[0] "b": upstream_acl.allow_cn: "CN=db" can hardly match, and it lets no peer in then: ${ONE}"db"`],
  );
});
