/**
 * Settings from the environment, over those of the file.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config } from "../../../src/config/config.ts";
import { variablesToAsk } from "../../../src/config/environment.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";

const SERVER = `mode: server
listen: :8443
target: 127.0.0.1:8080
tls: { cert: c.pem, key: k.pem, ca: ca.pem }
`;

type Variables = Readonly<Record<string, string>>;

function parse(text: string, variables: Variables) {
  return parseConfig(text, "c.yaml", new Map(Object.entries(variables)));
}

function accept(text: string, variables: Variables): Config {
  const result = parse(text, variables);
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  return result.config;
}

function refuse(text: string, variables: Variables): string[] {
  const result = parse(text, variables);
  assert.ok(!result.ok, "must be refused");
  return result.problems.map(formatProblem);
}

Deno.test({ name: "environment: every kind of value, over the file", permissions: "none" }, () => {
  const config = accept(`${SERVER}proxy: { idle_timeout: 1s }\n`, {
    MTLSD_LISTEN: "127.0.0.1:9443",
    MTLSD_TLS_CERT: "e.pem",
    MTLSD_TLS_CLIENT_AUTH: "request",
    MTLSD_TLS_CRL: "e.crl",
    MTLSD_TLS_INTERMEDIATES: "i.pem",
    MTLSD_ACL_ALLOW_ANONYMOUS: "true",
    MTLSD_PROXY_IDLE_TIMEOUT: "2m",
    MTLSD_PROXY_CLOSE_TIMEOUT: "0",
    MTLSD_PROXY_MAX_CONNECTIONS: "7",
    MTLSD_HEALTH_ENABLED: "true",
    MTLSD_METRICS_ENABLED: "false",
    MTLSD_LOGGING_FORMAT: "json",
  });
  const { tunnels: [{ listen, tls, acl, proxy }], health, metrics, logging } = config;
  assert.deepEqual(listen, { kind: "tcp", host: "127.0.0.1", port: 9443 });
  assert.deepEqual([tls.cert, tls.key, tls.clientAuth, tls.crl, tls.intermediates], [
    "e.pem",
    "k.pem",
    "optional",
    ["e.crl"],
    "i.pem",
  ]);
  assert.deepEqual([acl.allowAnonymous, proxy.idleTimeout, proxy.maxConnections], [
    true,
    120_000,
    7,
  ]);
  assert.deepEqual([health.enabled, metrics.enabled, logging.format], [true, false, "json"]);
});

Deno.test({ name: "environment: a file may leave the rest to it", permissions: "none" }, () => {
  const { tunnels: [tunnel] } = accept("mode: server\n", {
    MTLSD_LISTEN: "unix:/run/a.sock",
    MTLSD_MODE: "client",
    MTLSD_TARGET: "db.example:1",
    MTLSD_TLS_CERT: "c.pem",
    MTLSD_TLS_KEY: "k.pem",
    MTLSD_TLS_CA: "ca.pem",
    MTLSD_PROXY_SOCKET_MODE: "0660",
  });
  assert.deepEqual([tunnel.mode, tunnel.proxy.socketMode, tunnel.tls.ca], [
    "client",
    0o660,
    "ca.pem",
  ]);
});

Deno.test({ name: "environment: entries of tunnels keep their own", permissions: "none" }, () => {
  const config = accept(
    `mode: server
tls: { cert: c.pem, key: k.pem, ca: ca.pem }
tunnels:
  - { name: a, listen: :1, target: "a:1" }
  - { name: b, listen: :2, target: "a:1", tls: { cert: b.pem } }
`,
    { MTLSD_TLS_CERT: "e.pem" },
  );
  assert.deepEqual(config.tunnels.map(({ tls }) => tls.cert), ["e.pem", "b.pem"]);
});

const CASES:
  readonly (readonly [what: string, variables: Variables, problems: readonly string[]])[] = [
    ["a value that cannot be used", { MTLSD_TLS_MIN_VERSION: "TLS1.1" }, [
      'environment: MTLSD_TLS_MIN_VERSION: Cannot use "TLS1.1": must be "TLS1.2" or "TLS1.3"',
    ]],
    ["a number that is none", { MTLSD_PROXY_MAX_CONNECTIONS: "many" }, [
      'environment: MTLSD_PROXY_MAX_CONNECTIONS: Cannot use "many": must be a whole number, 0 (no ' +
      "limit) or more",
    ]],
    ["a boolean that is none", { MTLSD_HEALTH_ENABLED: "yes" }, [
      'environment: MTLSD_HEALTH_ENABLED: Cannot use "yes": must be true or false',
    ]],
    ["an empty value", { MTLSD_TLS_CERT: "" }, [
      'environment: MTLSD_TLS_CERT: Cannot use "": must be the path of a file',
    ]],
    ["a private key in place of its path", {
      MTLSD_TLS_KEY: "-----BEGIN PRIVATE KEY-----\nc2VjcmV0",
    }, [
      "environment: MTLSD_TLS_KEY: Cannot use PEM text: must be the path of a PEM file, not what is " +
      "in it",
    ]],
    ["what does not go together", { MTLSD_TLS_SERVER_NAME: "db" }, [
      'environment: MTLSD_TLS_SERVER_NAME: Cannot use "server_name" in server mode, where no TLS ' +
      "server is dialled: remove it",
    ]],
    ["a block that only variables make", { MTLSD_UPSTREAM_TLS_CERT: "b.pem" }, [
      'environment: MTLSD_UPSTREAM_TLS_CERT: Cannot use "upstream_tls" in server mode, where only one ' +
      'side is TLS: remove it, or write "mode: bridge"',
    ]],
    ["a typo", { MTLSD_TLS_CRET: "s3cret" }, [
      'environment: MTLSD_TLS_CRET: Cannot use unknown variable: did you mean "MTLSD_TLS_CERT"?',
    ]],
    ["a block left out", { MTLSD_CLIENT_AUTH: "none" }, [
      "environment: MTLSD_CLIENT_AUTH: Cannot use unknown variable: did you mean " +
      '"MTLSD_TLS_CLIENT_AUTH"?',
    ]],
    ["a name from elsewhere", { MTLSD_TLS_CERT_FILE: "x", MTLSD_CACERT: "y" }, [
      "environment: MTLSD_TLS_CERT_FILE: Cannot use unknown variable: did you mean " +
      '"MTLSD_TLS_CERT"?',
      'environment: MTLSD_CACERT: Cannot use unknown variable: did you mean "MTLSD_TLS_CA"?',
    ]],
    ["nothing like it", { MTLSD_PASSWORD: "s3cret" }, [
      "environment: MTLSD_PASSWORD: Cannot use unknown variable: a variable is MTLSD_ and the path of " +
      "a key in capitals, such as MTLSD_TLS_CERT",
    ]],
    ["a strange name", { "MTLSD_\u001b[31m": "s3cret" }, [
      'environment: "MTLSD_\\u001b[31m": Cannot use unknown variable: a variable is MTLSD_ and the ' +
      "path of a key in capitals, such as MTLSD_TLS_CERT",
    ]],
    ["a list", { MTLSD_ACL_ALLOW_CN: "a,b" }, [
      "environment: MTLSD_ACL_ALLOW_CN: Cannot set a list from the environment: write " +
      '"acl.allow_cn" in the file',
    ]],
    ["tunnels", { MTLSD_TUNNELS_0_LISTEN: ":1", MTLSD_TUNNELS: "x" }, [
      'environment: MTLSD_TUNNELS_0_LISTEN: Cannot use unknown variable: what stands in "tunnels" is ' +
      "set in the file only",
      'environment: MTLSD_TUNNELS: Cannot set a list from the environment: write "tunnels" in the file',
    ]],
    ["the port of a service that is not there", { MTLSD_HEALTH_PORT: "9000" }, [
      "environment: MTLSD_HEALTH_PORT: Cannot use unknown variable: did you mean " +
      '"MTLSD_HEALTH_LISTEN"?',
    ]],
  ];

for (const [what, variables, problems] of CASES) {
  Deno.test({
    name: `environment: ${what}`,
    permissions: "none",
    fn: () => assert.deepEqual(refuse(SERVER, variables), problems),
  });
}

Deno.test({ name: "environment: problems of the file come first", permissions: "none" }, () => {
  assert.deepEqual(
    refuse(SERVER.replace("8443", "84430"), { MTLSD_MODE: "x" }).map((line) => line.split(":")[0]),
    ["c.yaml", "environment"],
  );
});

Deno.test({
  name: "environment: what Kubernetes sets for a Service of that name is passed over",
  permissions: "none",
}, () => {
  accept(SERVER, {
    MTLSD_SERVICE_HOST: "10.0.0.1",
    MTLSD_SERVICE_PORT: "443",
    MTLSD_SERVICE_PORT_TLS: "443",
    MTLSD_PORT: "tcp://10.0.0.1:443",
    MTLSD_PORT_443_TCP: "tcp://10.0.0.1:443",
    MTLSD_PORT_443_TCP_PROTO: "tcp",
    MTLSD_PORT_443_TCP_PORT: "443",
    MTLSD_PORT_443_TCP_ADDR: "10.0.0.1",
    MTLSD_EU_1_SERVICE_HOST: "10.0.0.2",
    MTLSD_EU_1_SERVICE_PORT: "443",
    MTLSD_EU_1_PORT: "tcp://10.0.0.2:443",
  });
});

Deno.test(
  { name: "environment: each key has one variable, each asked for", permissions: "none" },
  () => {
    const asked = [...variablesToAsk()];
    const names = new Set(asked);
    for (
      const name of ["MTLSD_MODE", "MTLSD_TLS_CERT", "MTLSD_UPSTREAM_TLS_CERT", "MTLSD_TLS_ALPN"]
    ) {
      assert.ok(names.has(name), name);
    }
    assert.ok(names.has("MTLSD_CERT"));
    // A look at each costs as much as a look at one that is there.
    assert.ok(asked.length < 300, String(asked.length));
  },
);

Deno.test(
  { name: "environment: the 90,000th unknown name costs nothing", permissions: "none" },
  () => {
    const many = Object.fromEntries(
      Array.from({ length: 90_000 }, (_, i) => [`MTLSD_TLS_CERT_${i}`, "x"]),
    );
    const lines = refuse(SERVER, many);
    assert.equal(lines.length, 51);
    assert.equal(
      lines.at(-1),
      'environment: "MTLSD_*": Cannot use 89950 more unknown variables: remove them',
    );
  },
);
