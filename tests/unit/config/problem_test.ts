import assert from "node:assert/strict";
import { formatPath, formatProblem } from "../../../src/config/problem.ts";
import { either, escapeText, quote } from "../../../src/util/text.ts";

Deno.test({ name: "problem: quoted values cannot break out", permissions: "none" }, () => {
  const cases: [string, string][] = [
    ["plain text", '"plain text"'],
    ['say "hi" \\', '"say \\"hi\\" \\\\"'],
    ["a\r\nb\t", '"a\\u000d\\u000ab\\u0009"'],
    ["\u001b[31m", '"\\u001b[31m"'],
    ["\u202etxt\u2066", '"\\u202etxt\\u2066"'],
    ["\u200b\ufeff\u00ad", '"\\u200b\\ufeff\\u00ad"'],
    ["\u2028\u2029\u0085", '"\\u2028\\u2029\\u0085"'],
    ["a\u00a0b\u3000", '"a\\u00a0b\\u3000"'],
    ["\u3164\u034f", '"\\u3164\\u034f"'],
    ["\ud800", '"\\ud800"'],
    ["\u{e0041}", '"\\u{e0041}"'],
    ["Zoë 日本 😀", '"Zoë 日本 😀"'],
  ];
  for (const [text, quoted] of cases) assert.equal(quote(text), quoted);
});

Deno.test(
  { name: "problem: long values are cut, by whole characters", permissions: "none" },
  () => {
    assert.equal(quote("a".repeat(60)), `"${"a".repeat(60)}"`);
    assert.equal(quote("a".repeat(61)), `"${"a".repeat(60)}"...`);
    assert.equal(quote("😀".repeat(4), 3), '"😀😀😀"...');
    assert.equal(quote("\u{e0041}".repeat(1_000_000), 1), '"\\u{e0041}"...');
  },
);

Deno.test({ name: "problem: choices", permissions: "none" }, () => {
  assert.equal(either([]), "");
  assert.equal(either(["a"]), '"a"');
  assert.equal(either(["a", "b"]), '"a" or "b"');
  assert.equal(either(["a", "b", "c"]), '"a", "b" or "c"');
});

Deno.test({ name: "problem: key paths", permissions: "none" }, () => {
  assert.equal(formatPath([]), "");
  assert.equal(formatPath(["acl", "allow_cn", 1]), "acl.allow_cn[1]");
  assert.equal(formatPath(["tls", "a.b\n"]), 'tls."a.b\\u000a"');
  assert.equal(formatPath([""]), '""');
});

Deno.test({ name: "problem: one line, whatever is in it", permissions: "none" }, () => {
  const base = { line: 7, column: 3, message: "Cannot use this" };
  assert.equal(
    formatProblem({ ...base, file: "server.yaml", path: "tls.cert" }),
    "server.yaml:7:3: tls.cert: Cannot use this",
  );
  assert.equal(
    formatProblem({ ...base, file: "<stdin>", path: "" }),
    "<stdin>:7:3: Cannot use this",
  );
  assert.equal(
    formatProblem({ ...base, file: "a\nb\u001b.yaml", path: "" }),
    "a\\u000ab\\u001b.yaml:7:3: Cannot use this",
  );
  assert.equal(escapeText('already "\\u000a"'), 'already "\\u000a"');
});
