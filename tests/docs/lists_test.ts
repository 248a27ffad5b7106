/**
 * The lists of the chapters against the code: metrics, decisions, dimensions, reasons.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { formatBasis } from "../../src/acl/decision.ts";
import { DIMENSIONS, parseRule } from "../../src/acl/rule.ts";
import { explain } from "../../src/commands/explain.ts";
import { MESSAGES } from "../../src/log/messages.ts";
import { createMetrics } from "../../src/admin/metrics.ts";
import { CLOSE_REASONS, HANDSHAKE_REASONS } from "../../src/outcome.ts";
import { stringify } from "yaml";
import { dns, makeCa, makeLeaf } from "../support/pki.ts";
import { sh } from "../support/peers.ts";
import { command } from "../support/chapter.ts";
import { blocks, code, table } from "../support/readme.ts";

Deno.test("readme: the table of metrics is what is exposed: names, types and labels", async () => {
  const metrics = createMetrics({ version: "1" });
  // There from the first list on.
  metrics.tunnel().crlNextUpdate(1);
  const text = await metrics.render();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  const rows = table("metric");
  assert.deepEqual(
    rows.map(([name = "", type]) => [code(name)[0], type]).toSorted(),
    types.toSorted(),
  );
  for (const [cell = "", , labels = ""] of rows) {
    const name = code(cell)[0] ?? "";
    const found = new Map<string, Set<string>>();
    for (const [, inside = ""] of text.matchAll(new RegExp(`^${name}\\{(.*)\\}`, "gm"))) {
      for (const [, label = "", value = ""] of inside.matchAll(/(\w+)="([^"]*)"/g)) {
        found.set(label, (found.get(label) ?? new Set()).add(value));
      }
    }
    const [label, ...values] = code(labels);
    // The series of a certificate are there once one is loaded.
    if (label === "role") assert.deepEqual(values, ["own", "ca"]);
    else assert.deepEqual([...found.keys()], label === undefined ? [] : [label], name);
    if (label !== undefined && label !== "role" && values.length > 0) {
      assert.deepEqual(values, [...found.get(label) ?? []], name);
    }
  }
});

Deno.test("readme: the decision table has every way in which the rules decide", () => {
  const rows = table("the peer shows");
  const logged = (row: readonly string[]) => row[3] ?? "";
  const decided = (words: string) => rows.filter((row) => logged(row).includes(`"${words}"`));
  const outcomes = (words: string) => [...new Set(decided(words).map((row) => row[2]))];
  assert.deepEqual(outcomes(formatBasis({ kind: "anonymous" })), ["in"]);
  assert.deepEqual(outcomes(formatBasis({ kind: "anonymous_denied" })), ["out"]);
  assert.deepEqual(outcomes(formatBasis({ kind: "open" })), ["in"]);
  assert.deepEqual(outcomes(formatBasis({ kind: "no_match", nearest: undefined })), ["out"]);
  for (const side of ["allow", "deny"]) {
    const found = rows.filter((row) => logged(row).includes(`rule="acl.${side}_`));
    assert.deepEqual(found.map((row) => row[2]), [side === "allow" ? "in" : "out"]);
  }
  const result = rows.flatMap((row) => [...(row[4] ?? "").matchAll(/acl_decisions\{(\w+)\}/g)]);
  assert.deepEqual(
    [...new Set(result.map(([, value]) => value))].toSorted(),
    ["allowed", "denied", "would_deny"],
  );
  const messages = Object.values(MESSAGES).flat().flatMap((one) => one.messages);
  for (const row of rows) {
    const [message = ""] = code(logged(row));
    assert.ok(messages.includes(message), message);
  }
});

Deno.test("readme: the table of dimensions has all of them, and its rules are rules", () => {
  const rows = table("dimension");
  assert.deepEqual(rows.map(([cell = ""]) => code(cell)[0]), [...DIMENSIONS]);
  for (const [index, dimension] of DIMENSIONS.entries()) {
    const examples = code(rows[index]?.[2] ?? "");
    assert.ok(examples.length > 0, dimension);
    for (const text of examples) {
      const rule = text === "sha256:" ? `sha256:${"A".repeat(43)}=` : text;
      assert.ok(parseRule(dimension, rule).ok, rule);
    }
  }
});

Deno.test("readme: what explain shows is what it prints", async () => {
  const shown = blocks("text").find(({ text }) => text.startsWith("verdict:"))?.text ?? "";
  const ca = makeCa({ subject: "example tunnel CA" });
  const own = makeLeaf({ subject: "db.example.com", san: [dns("db.example.com")] }, ca);
  const notAfter = new Date(Date.now() + 90 * 86_400_000);
  const peer = makeLeaf({ subject: { O: "acme", CN: "Frontend-Service" }, notAfter }, ca);
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-readme-" });
  const lines: string[] = [];
  try {
    const write = async (name: string, text: string) => {
      await Deno.writeTextFile(join(dir, name), text);
      return join(dir, name);
    };
    const config = await write(
      "server.yaml",
      stringify({
        mode: "server",
        listen: "127.0.0.1:8443",
        target: "127.0.0.1:8080",
        tls: {
          cert: await write("server.pem", own.pem),
          key: await write("server-key.pem", own.keyPem),
          ca: await write("ca.pem", ca.pem),
        },
        acl: { allow_cn: ["frontend-service"] },
      }),
    );
    const cert = await write("peer.pem", peer.pem);
    const code = await explain({ config, cert }, {
      stdout: (line) => void lines.push(line),
      stderr: (line) => assert.fail(line),
    });
    assert.equal(code, 1);
    const said = await sh(command("spki"), { cwd: dir });
    assert.ok(lines.includes(`spki: "sha256:${said.stdout.trim()}"`), said.stdout + said.stderr);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  // What differs from one certificate to the next.
  const general = (text: string) =>
    text.replace(/^(serial|valid|spki): .*$/gm, "$1: ...")
      .replace(/^chain: holds until \S+ \(\d+ days? left\)/m, "chain: holds");
  assert.equal(general(lines.join("\n")), general(shown));
});

Deno.test("readme: every reason is explained", () => {
  const reasons = (first: string) => table(first).map(([cell = ""]) => code(cell)[0]);
  assert.deepEqual(reasons("handshake reason"), [...HANDSHAKE_REASONS]);
  assert.deepEqual(reasons("close reason"), [...CLOSE_REASONS]);
});
