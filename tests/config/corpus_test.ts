import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";

const CORPUS = new URL("../../testdata/config/", import.meta.url);

function files(directory: URL): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

Deno.test("corpus: each invalid config gives exactly the messages that it says", async (t) => {
  const directory = new URL("invalid/", CORPUS);
  const names = files(directory);
  assert.ok(names.length >= 50, `only ${names.length} files`);
  for (const name of names) {
    await t.step(name, () => {
      const text = Deno.readTextFileSync(new URL(name, directory));
      const expected = [...text.matchAll(/^# expect: (.*)$/gm)].map(([, line]) => line);
      assert.ok(text.startsWith("# expect: "), "the first line says what to expect");
      const result = parseConfig(text, name);
      assert.ok(!result.ok, "must not be accepted");
      const lines = result.problems.map(formatProblem);
      assert.deepEqual(lines, expected);
      for (const line of lines) {
        assert.match(line, /^[^:]+\.yaml:\d+:\d+: (\S+: )?Cannot [^\n]+[^.\n]$/);
      }
    });
  }
});

Deno.test("corpus: each valid config is accepted", async (t) => {
  const directory = new URL("valid/", CORPUS);
  for (const name of files(directory)) {
    await t.step(name, () => {
      const result = parseConfig(Deno.readTextFileSync(new URL(name, directory)), name);
      assert.deepEqual(result.ok ? [] : result.problems.map(formatProblem), []);
    });
  }
});

Deno.test("corpus: a config with everything set keeps everything", () => {
  const text = Deno.readTextFileSync(new URL("valid/everything_server.yaml", CORPUS));
  assert.deepEqual(parseConfig(text, "x.yaml"), {
    ok: true,
    config: {
      mode: "server",
      listen: { host: "::1", port: 0 },
      target: { host: "backend", port: 8080 },
      tls: {
        cert: "/etc/mtlsd/server.pem",
        key: "/etc/mtlsd/server-key.pem",
        ca: "/etc/mtlsd/ca.pem",
        clientAuth: "optional",
        serverName: undefined,
        minVersion: "TLS1.3",
        maxVersion: "TLS1.3",
        handshakeTimeout: 2500,
      },
      acl: {
        allowCn: ["frontend-service", "123"],
        allowOrg: ["Example, Inc.", 'Ünïcode "GmbH"'],
      },
      proxy: {
        dialTimeout: 250,
        idleTimeout: 0,
        closeTimeout: 90_000,
        maxConnections: 0,
        shutdownTimeout: 0,
      },
      health: { enabled: true, listen: { host: "", port: 9100 } },
      metrics: { enabled: true, listen: { host: "::1", port: 9101 } },
      logging: { level: "debug", format: "json" },
    },
  });
});
