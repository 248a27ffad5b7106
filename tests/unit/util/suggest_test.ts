import assert from "node:assert/strict";
import { editDistance, suggest } from "../../../src/util/suggest.ts";

Deno.test({ name: "suggest: distance counts single edits and swaps", permissions: "none" }, () => {
  const cases: [string, string, number][] = [
    ["", "", 0],
    ["", "abc", 3],
    ["abc", "", 3],
    ["abc", "abc", 0],
    ["abc", "acb", 1],
    ["abc", "ab", 1],
    ["abc", "abcd", 1],
    ["abc", "axc", 1],
    ["kitten", "sitting", 3],
    ["ca", "abc", 3],
  ];
  for (const [a, b, distance] of cases) {
    assert.equal(editDistance(a, b), distance, `${a} ${b}`);
    assert.equal(editDistance(b, a), distance, `${b} ${a}`);
  }
});

const KEYS = [
  "cert",
  "key",
  "ca",
  "client_auth",
  "min_version",
  "max_version",
  "allow_cn",
  "allow_org",
];

Deno.test({ name: "suggest: typing errors are recognized", permissions: "none" }, () => {
  const cases: [string, string][] = [
    ["crt", "cert"],
    ["certt", "cert"],
    ["kye", "key"],
    ["min_verison", "min_version"],
    ["minVersion", "min_version"],
    ["MIN-VERSION", "min_version"],
    ["maxx_version", "max_version"],
    ["client_atuh", "client_auth"],
    ["cleint_auth", "client_auth"],
    ["allow_cns", "allow_cn"],
    ["alow_cn", "allow_cn"],
  ];
  for (const [typed, meant] of cases) assert.equal(suggest(typed, KEYS), meant, typed);
});

Deno.test({ name: "suggest: other names are no typing errors", permissions: "none" }, () => {
  const cases = [
    "crl",
    "alpn",
    "allow_ou",
    "allow_dns",
    "allow_ip",
    "deny_cn",
    "x",
    "",
    "_",
    "auth",
  ];
  for (const typed of [...cases, "k".repeat(65), "c".repeat(1_000_000)]) {
    assert.equal(suggest(typed, KEYS), undefined, typed.slice(0, 80));
  }
  assert.equal(suggest("cert", []), undefined);
});
