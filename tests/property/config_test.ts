import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";

/** A small repeatable generator (mulberry32): the same inputs in every run. */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

const VALID = `mode: server
listen: "[::1]:8443"
target: 127.0.0.1:8080
tls:
  cert: &c server.pem
  key: *c
  ca: ca.pem
  client_auth: optional
acl:
  allow_cn: [frontend, 'b']
  allow_org:
    - Acme
proxy: { idle_timeout: 90s, max_connections: 5 }
health:
  enabled: true
`;

const SEVERAL = `tls: { cert: server.pem, key: k.pem, ca: ca.pem }
proxy: { socket_mode: "0600" }
tunnels:
  - name: web
    mode: server
    listen: :8443
    targets: [127.0.0.1:1, unix:/run/b.sock]
    tls: { alpn: [h2] }
  - { name: db, mode: client, listen: unix:/run/a.sock, target: a.example:1 }
  - name: gw
    mode: bridge
    listen: :9443
    target: b.example:1
    upstream_tls: { ca: other.pem }
`;

const PIECES = [
  ..."\u0000\t\n\r :-?,[]{}#&*!|>'\"%@`~\\\u0085\u2028\ufeff\u202e\u{1f600}01.",
  String.fromCharCode(0xd800),
  "---\n",
  "...\n",
  "%YAML 1.1\n",
  "<<: *c",
  "&c ",
  "*c",
  "!!binary ",
  "!x ",
  "? ",
  ": ",
  "null",
  "true",
  "  ",
  "\n\n",
  "__proto__: ",
  "constructor: ",
  "-----BEGIN",
  "unix:",
  "99999999999999999999h",
];

Deno.test({
  name: "fuzz: whatever the text is, there is a config or a list of lines",
  permissions: "none",
}, () => {
  const random = generator(20260328);
  let accepted = 0;
  for (let round = 0; round < 1500; round++) {
    let text = round % 3 === 0 ? SEVERAL : VALID;
    for (let edits = random(4) + 1; edits > 0; edits--) {
      const at = random(text.length + 1);
      const cut = random(3) === 0 ? random(12) : 0;
      const piece = random(4) === 0
        ? text.slice(random(text.length), random(text.length))
        : PIECES[random(PIECES.length)] ?? "";
      text = text.slice(0, at) + piece + text.slice(at + cut);
    }
    const result = parseConfig(text, "fuzz.yaml");
    if (result.ok) {
      accepted++;
      continue;
    }
    assert.ok(result.problems.length > 0, JSON.stringify(text));
    const lastLine = text.split("\n").length;
    for (const problem of result.problems) {
      const line = formatProblem(problem);
      // deno-lint-ignore no-control-regex -- control characters are what must not be there
      assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]/, JSON.stringify(text));
      assert.doesNotMatch(line, /at file:|TypeError|undefined|\[object/, JSON.stringify(text));
      assert.ok("line" in problem, line);
      assert.ok(problem.line >= 1 && problem.line <= lastLine, JSON.stringify(text));
      assert.ok(problem.column >= 1, JSON.stringify(text));
    }
  }
  assert.ok(accepted > 50 && accepted < 1450, `${accepted} accepted`);
});

Deno.test({ name: "fuzz: noise", permissions: "none" }, () => {
  const random = generator(7);
  for (let round = 0; round < 1000; round++) {
    let text = "";
    for (let length = random(40); length > 0; length--) text += PIECES[random(PIECES.length)] ?? "";
    const result = parseConfig(text, "fuzz.yaml");
    assert.ok(!result.ok && result.problems.length > 0, JSON.stringify(text));
  }
});
