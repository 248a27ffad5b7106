/**
 * The log: levels, formats, and names in certificates that try to break out of their field.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../support/wait.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { ask, attempt, lineBackend, ownAddress, split } from "../support/peers.ts";
import { dns, type Issued, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
const TRICKS: Readonly<Record<string, string>> = {
  "line end": 'x\ntime=2026-01-01T00:00:00.000Z level=ERROR msg="all is lost"',
  "carriage return": "x\r\ry",
  "quotes": 'x" level=ERROR msg="all is lost',
  "JSON": '","level":"ERROR","msg":"all is lost","x":"',
  "backslash": 'x\\" peer_cn=root \\',
  "ANSI": "\x1b[2J\x1b[31mred\x1b]0;title\x07",
  "C1": "\x9b31mred\x85next",
  "bidi": "user\u202etxt.exe\u2066\u2069\u200f",
  "separators": "one\u2028two\u2029three\u00a0four",
  "zero width": "front\u200bend\ufeff",
  "equals": "a=b c=d",
  "NUL": "frontend-service\0.example",
  "long": "A".repeat(9000),
  "long and escaped": "\u200b".repeat(1000),
};

/** Nothing that a terminal, an editor or a log shipper would act on. */
function assertHarmless(raw: string): void {
  assert.doesNotMatch(raw, /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u, JSON.stringify(raw));
  assert.ok(raw.length < 2600, `${raw.length} characters`);
}

async function provoke(testBed: TestBed, server: TestDaemon, port: number): Promise<void> {
  for (const text of Object.values(TRICKS)) {
    const identity: Issued = makeLeaf({
      role: "client",
      subject: { O: [text, "acme"], CN: text },
      ...(/^[\x20-\x7e]{1,99}$/.test(text) ? { san: [dns(text)] } : {}),
    }, testBed.pki.ca);
    const before = server.lines.length;
    await attempt({ port, ca: testBed.pki.ca.pem, identity });
    await server.waitForLog("listener: connection closed", {}, before);
  }
}

for (const format of ["text", "json"] as const) {
  for (const acl of [{}, { allow_cn: ["frontend-service"] }]) {
    const outcome = "allow_cn" in acl ? "denied" : "let in";
    Deno.test(`names in certificates stay in their field: ${format}, ${outcome}`, async () => {
      await using testBed = await TestBed.create();
      const backend = testBed.use(lineBackend());
      const server = await testBed.server(backend.address, { acl, logging: { format } });
      await provoke(testBed, server, server.port);
      assert.equal(await server.stop(), 0);

      const message = `listener: ${"allow_cn" in acl ? "denied" : "accepted"} connection`;
      const lines = server.lines.filter(({ fields }) => fields.msg === message);
      assert.equal(lines.length, Object.keys(TRICKS).length);
      for (const { raw, fields } of server.lines) {
        assertHarmless(raw);
        assert.notEqual(fields.level, "ERROR");
        if (format === "text") {
          assert.match(raw, /^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=(INFO|WARN) msg=/);
          // Fields and nothing else, each quoted where it has to be.
          assert.match(raw, /^([a-z_]+=("([^"\\]|\\.)*"|[^\s"=]+)( |$))+$/);
        } else {
          const entry = JSON.parse(raw);
          assert.deepEqual(Object.keys(entry).slice(0, 3), ["time", "level", "msg"]);
          assert.match(entry.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        }
      }
      const texts = Object.entries(TRICKS).filter(([name]) => !name.startsWith("long"));
      for (const [index, [name, text]] of texts.entries()) {
        // Escaped, not changed: the reader can still tell what it was.
        assert.equal(lines[index]?.fields.peer_cn, text, name);
      }
      assert.equal(backend.connections, "allow_cn" in acl ? 0 : lines.length);
    });
  }
}

Deno.test("JSON has the messages and fields of text", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { server, client } = await testBed.tunnel(backend.address, {
    server: { logging: { format: "json" } },
    client: { logging: { format: "json" } },
  });
  const conn = await Deno.connect({ port: client.port });
  await conn.write(new TextEncoder().encode("hello"));
  await conn.closeWrite();
  assert.equal(await new Response(conn.readable).text(), "echo: hello");
  await client.waitForLog("dialer: connected", { server: server.listen });
  const { raw } = await server.waitForLog("listener: connection closed", { reason: "completed" });
  const entry = JSON.parse(raw);
  assert.equal(entry.level, "INFO");
  assert.equal(entry.peer_cn, "frontend-service");
  assert.deepEqual([entry.bytes_in, entry.bytes_out], [5, 11]);
});

Deno.test("level debug says which file changed", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server("127.0.0.1:9", { logging: { level: "debug" } });
  const { server: cert } = testBed.files;
  await Deno.writeTextFile(cert, `${await Deno.readTextFile(cert)}\n`);
  await server.waitForLog("certstore: file changed, scheduling reload", {
    level: "DEBUG",
    file: cert,
  });
  await server.waitForLog("certstore: certificates reloaded successfully", { level: "INFO" });
});

Deno.test("levels warn and error leave out what is below", async (t) => {
  await using testBed = await TestBed.create();
  const { ca, server: cert, serverKey: key } = testBed.files;
  const backend = testBed.use(lineBackend());
  for (const level of ["warn", "error"]) {
    await t.step(level, async () => {
      const listen = ownAddress();
      const config = {
        mode: "server",
        listen,
        target: backend.address,
        tls: { cert, key, ca },
        logging: { level },
      };
      await using server = await startDaemon({ dir: testBed.dir, config, expectFailure: true });
      const { hostname: host, port } = split(listen);
      const client = { ...testBed.as({ port } as TestDaemon), host };
      await until(async () => await attempt(client) === "echo: hello");
      assert.equal(await attempt({ host, port, ca: testBed.pki.ca.pem }), "");
      server.kill("SIGHUP");
      assert.equal(await ask(client, "again"), "echo: again");
      await Deno.remove(server.configPath);
      server.kill("SIGHUP");
      await server.waitForLog("certstore: reload failed, keeping the previous certificates");
      assert.equal(await server.stop(), 0);
      // The first SIGHUP may find the config gone as well.
      const levels = [...new Set(server.lines.map(({ fields }) => fields.level))];
      assert.deepEqual(levels, level === "warn" ? ["WARN", "ERROR"] : ["ERROR"], server.log);
    });
  }
});
