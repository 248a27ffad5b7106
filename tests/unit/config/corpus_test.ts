import assert from "node:assert/strict";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { rule } from "../../support/acl.ts";

const CORPUS = new URL("../../../testdata/config/", import.meta.url);

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
        assert.match(
          line,
          /^[^:]+\.yaml:\d+:\d+: (tunnels\[\d+\]( "[\w.-]+")?: )?(\S+: )?Cannot [^\n]+[^.\n]$/,
        );
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

Deno.test("corpus: a rule is the pattern that its text says", () => {
  assert.deepEqual(rule("allow", "uri", "https://acme:8443/a/").pattern, {
    kind: "uri",
    scheme: "https",
    authority: "acme:8443",
    segments: ["a"],
    open: false,
    slash: true,
  });
  assert.deepEqual(rule("deny", "ip", "::ffff:192.0.2.0/120").pattern, {
    kind: "ip",
    bytes: [192, 0, 2, 0],
    bits: 24,
  });
  assert.deepEqual(rule("allow", "dns", "*.Example.com.").pattern, {
    kind: "dns",
    name: "example.com",
    wildcard: true,
  });
});

Deno.test("corpus: a config with everything set keeps everything", () => {
  const text = Deno.readTextFileSync(new URL("valid/everything_server.yaml", CORPUS));
  assert.deepEqual(parseConfig(text, "x.yaml"), {
    ok: true,
    config: {
      tunnels: [{
        name: undefined,
        mode: "server",
        listen: { kind: "tcp", host: "::1", port: 0 },
        targets: [{
          address: { kind: "tcp", host: "backend", port: 8080 },
          serverName: undefined,
        }],
        upstream: undefined,
        tls: {
          cert: "/etc/mtlsd/server.pem",
          key: "/etc/mtlsd/server-key.pem",
          ca: "/etc/mtlsd/ca.pem",
          clientAuth: "optional",
          minVersion: "TLS1.3",
          maxVersion: "TLS1.3",
          alpn: ["h2", "http/1.1"],
          handshakeTimeout: 2500,
          crl: ["/etc/mtlsd/root.crl", "/etc/mtlsd/issuing.crl"],
          intermediates: "/etc/mtlsd/issuing.pem",
          requireCloseNotify: false,
        },
        acl: {
          allow: [
            rule("allow", "cn", "frontend-service"),
            rule("allow", "cn", "123"),
            rule("allow", "org", "Example, Inc."),
            rule("allow", "org", 'Ünïcode "GmbH"'),
            rule("allow", "ou", "dev"),
            rule("allow", "dns", "Web.example."),
            rule("allow", "dns", "*.example.com"),
            rule("allow", "dns", "my_db.example"),
            rule("allow", "ip", "10.1.2.3"),
            rule("allow", "ip", "10.0.0.0/8"),
            rule("allow", "ip", "2001:db8::/32"),
            rule("allow", "ip", "::ffff:192.0.2.0/120"),
            rule("allow", "uri", "spiffe://acme/ns/*/web"),
            rule("allow", "uri", "spiffe://acme/jobs/**"),
            rule("allow", "uri", "https://acme:8443/a/"),
            rule("allow", "spki", "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
          ],
          deny: [
            rule("deny", "cn", "old-frontend"),
            rule("deny", "org", "Mallory Ltd"),
            rule("deny", "ou", "interns"),
            rule("deny", "dns", "legacy.example.com"),
            rule("deny", "ip", "10.9.0.0/16"),
            rule("deny", "uri", "spiffe://*/ns/test/**"),
            rule("deny", "spki", "sha256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="),
          ],
          mode: "audit",
          allowAnonymous: true,
        },
        proxy: {
          dialTimeout: 250,
          idleTimeout: 0,
          closeTimeout: 90_000,
          maxConnections: 0,
          shutdownTimeout: 0,
          maxLifetime: 86_400_000,
          maxConnectionsPerPeer: 20,
          balance: "failover",
          proxyProtocol: "v2-tls",
          acceptProxyProtocol: [
            { bytes: [10, 0, 0, 0], bits: 8 },
            { bytes: [192, 0, 2, 1], bits: 32 },
          ],
          socketMode: 0o600,
        },
      }],
      health: { enabled: true, listen: { kind: "tcp", host: "", port: 9100 } },
      metrics: { enabled: true, listen: { kind: "tcp", host: "::1", port: 9101 } },
      logging: { level: "debug", format: "json" },
    },
  });
});
