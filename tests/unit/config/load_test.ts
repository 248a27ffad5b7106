import assert from "node:assert/strict";
import process from "node:process";
import type { Config, TunnelConfig } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";

const SERVER = "mode: server\nlisten: :8443\ntarget: 127.0.0.1:8080\n";
const CLIENT = "mode: client\nlisten: 127.0.0.1:8080\ntarget: db.example.com:8443\n";
const TLS = "tls:\n  cert: cert.pem\n  key: key.pem\n  ca: ca.pem\n";

function accept(text: string): Config {
  const result = parseConfig(text, "c.yaml");
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  return result.config;
}

/** The only tunnel of a config that is accepted. */
function acceptOne(text: string): TunnelConfig {
  const { tunnels: [tunnel, ...more] } = accept(text);
  assert.deepEqual(more, []);
  return tunnel;
}

/** The allow rules in the order in which they are tried. */
function texts({ acl }: TunnelConfig): string[] {
  return acl.allow.map(({ dimension, text }) => `${dimension} ${text}`);
}

function refuse(text: string): string[] {
  const result = parseConfig(text, "c.yaml");
  assert.ok(!result.ok, "must be refused");
  return result.problems.map(formatProblem);
}

Deno.test({ name: "load: the defaults of server mode", permissions: "none" }, () => {
  assert.deepEqual(accept(SERVER + TLS), {
    tunnels: [{
      name: undefined,
      mode: "server",
      listen: { kind: "tcp", host: "", port: 8443 },
      targets: [{
        address: { kind: "tcp", host: "127.0.0.1", port: 8080 },
        serverName: undefined,
      }],
      upstream: undefined,
      tls: {
        cert: "cert.pem",
        key: "key.pem",
        ca: "ca.pem",
        clientAuth: "required",
        minVersion: "TLS1.2",
        maxVersion: "TLS1.3",
        alpn: [],
        handshakeTimeout: 10_000,
        crl: [],
        intermediates: undefined,
        requireCloseNotify: false,
      },
      acl: { allow: [], deny: [], mode: "enforce", allowAnonymous: false },
      proxy: {
        dialTimeout: 10_000,
        idleTimeout: 90_000,
        closeTimeout: 0,
        maxConnections: 1000,
        shutdownTimeout: 30_000,
        maxLifetime: 0,
        maxConnectionsPerPeer: 0,
        balance: "failover",
        proxyProtocol: "off",
        acceptProxyProtocol: [],
        socketMode: 0o600,
      },
    }],
    health: { enabled: false, listen: { kind: "tcp", host: "127.0.0.1", port: 9000 } },
    metrics: { enabled: false, listen: { kind: "tcp", host: "127.0.0.1", port: 9001 } },
    logging: { level: "info", format: "text" },
  });
});

Deno.test({ name: "load: client mode expects the target's name", permissions: "none" }, () => {
  const name = (text: string) => acceptOne(text).targets[0].serverName;
  assert.equal(name(CLIENT + TLS), "db.example.com");
  assert.equal(name(CLIENT.replace(".com:", ".com.:") + TLS), "db.example.com");
  const named = CLIENT.replace("db.example.com", "my_db") + TLS + "  server_name: db\n";
  assert.equal(name(named), "db");
  assert.equal(name(SERVER + TLS), undefined);
});

Deno.test({ name: "load: the other words for client_auth", permissions: "none" }, () => {
  const cases: [string, string][] = [
    ["required", "required"],
    ["require", "required"],
    ["optional", "optional"],
    ["request", "optional"],
  ];
  for (const [word, clientAuth] of cases) {
    assert.equal(acceptOne(`${SERVER}${TLS}  client_auth: ${word}\n`).tls.clientAuth, clientAuth);
  }
  const none = acceptOne(SERVER + TLS.replace("ca: ca.pem", "client_auth: none"));
  assert.equal(none.tls.clientAuth, "none");
  assert.equal(none.tls.ca, undefined);
});

Deno.test({ name: "load: protocols may have any name", permissions: "none" }, () => {
  // None of them is found where objects keep what all objects have.
  const names = ["constructor", "__proto__", "valueof", "x-1"];
  assert.deepEqual(acceptOne(`${SERVER}${TLS}  alpn: [${names.join(", ")}]\n`).tls.alpn, names);
});

Deno.test({ name: "load: standard input is named as given", permissions: "none" }, () => {
  const result = parseConfig("", "<stdin>");
  assert.ok(!result.ok);
  assert.match(
    result.problems.map(formatProblem).join(),
    /^<stdin>:1:1: Cannot use an empty config/,
  );
});

Deno.test(
  { name: "load: a byte order mark and CRLF do not shift positions", permissions: "none" },
  () => {
    const text = `\ufeff${SERVER.replace("server", "sever")}${TLS}`.replaceAll("\n", "\r\n");
    assert.deepEqual(refuse(text), [
      'c.yaml:1:1: mode: Cannot use "sever": must be "server", "client" or "bridge"',
    ]);
    accept(`\ufeff${SERVER}${TLS}`.replaceAll("\n", "\r\n"));
  },
);

Deno.test(
  { name: "load: a mistyped client_auth does not also ask for a CA", permissions: "none" },
  () => {
    const text = SERVER + TLS.replace("ca: ca.pem", "client_auth: nnone");
    assert.equal(refuse(text).length, 1);
    // In client mode a CA is needed whatever it says.
    assert.equal(refuse(CLIENT + TLS.replace("ca: ca.pem", "client_auth: nnone")).length, 3);
  },
);

Deno.test({
  name: "load: rules with client_auth none, as far as they are valid",
  permissions: "none",
}, () => {
  const text = SERVER + TLS.replace("ca: ca.pem", "client_auth: none") +
    "acl:\n  allow_cn: [a, 1]\n  allow_org: [b]\n";
  assert.deepEqual(refuse(text).map((line) => line.split(" ")[1]), [
    "acl.allow_cn:",
    "acl.allow_cn[1]:",
    "acl.allow_org:",
  ]);
});

Deno.test({
  name: "load: an alias stands for its value, problems stand at the anchor",
  permissions: "none",
}, () => {
  const shared = acceptOne(
    SERVER + TLS + "acl:\n  allow_cn: &names [a, b]\n  allow_org: *names\n",
  );
  assert.deepEqual(texts(shared), ["cn a", "cn b", "org a", "org b"]);
  const bad = refuse(SERVER + TLS + "health: &e\n  enabled: 1\nmetrics: *e\n");
  assert.deepEqual(bad, [
    "c.yaml:9:3: health.enabled: Cannot use 1: must be true or false",
    "c.yaml:9:3: metrics.enabled: Cannot use 1: must be true or false",
  ]);
  // The latest anchor of a name counts; one on a key names the key.
  const latest = acceptOne(SERVER + TLS + "acl:\n  allow_cn: [&n a, &n b]\n  &k allow_org: [*n]\n");
  assert.deepEqual(texts(latest), ["cn a", "cn b", "org b"]);
  // An alias means the anchor before it, wherever it is met again.
  const again = acceptOne(
    SERVER + "tls: { cert: &a one.pem, key: k.pem, ca: c.pem }\n" +
      "acl:\n  allow_cn: &list [*a, &a two]\n  allow_org: *list\n",
  );
  assert.deepEqual(texts(again), ["cn one.pem", "cn two", "org one.pem", "org two"]);
  assert.deepEqual(
    refuse(`${SERVER}${TLS}proxy:\n  idle_timeout: &n 0x5\n  close_timeout: *n\n`).map((line) =>
      line.split(": ").slice(0, 3).join(": ")
    ),
    [
      "c.yaml:9:3: proxy.idle_timeout: Cannot use 0x5",
      "c.yaml:10:3: proxy.close_timeout: Cannot use 5",
    ],
  );
  assert.match(
    refuse(`${SERVER}${TLS}!!str acl: {}\n`).join("\n"),
    /acl: Cannot use tag "tag:yaml/,
  );
});

Deno.test({ name: "load: aliases cannot multiply", permissions: "none" }, () => {
  let text = `${SERVER}${TLS}x0: &x0 [${"a, ".repeat(9)}]\n`;
  for (let i = 1; i < 30; i++) text += `x${i}: &x${i} [${`*x${i - 1}, `.repeat(9)}]\n`;
  const started = performance.now();
  const lines = refuse(text);
  // Without a limit there are 9^30 values.
  assert.ok(performance.now() - started < 60_000);
  assert.equal(lines.filter((line) => line.includes("stands for too much")).length, 1);
  // What is left out for that reason is not complained about besides.
  const scalars = `acl:\n  allow_cn: [&a a${", *a".repeat(1500)}]\n`;
  assert.equal(refuse(SERVER + TLS + scalars).length, 1);
});

Deno.test(
  { name: "load: private keys in the wrong place are not printed", permissions: "none" },
  () => {
    const pem = "    -----BEGIN PRIVATE KEY-----\n    c2VjcmV0\n    -----END PRIVATE KEY-----\n";
    for (const key of ["key", "cert", "client_auth", "min_version", "handshake_timeout"]) {
      const text = `${SERVER}tls:\n  ${key}: |\n${pem}`;
      assert.doesNotMatch(refuse(text).join("\n"), /c2VjcmV0/, key);
    }
  },
);

Deno.test(
  { name: "load: what YAML 1.2 reads as numbers and booleans", permissions: "none" },
  () => {
    const cases: [string, string | undefined][] = [
      ["  max_connections: 0x10\n", undefined],
      ["  max_connections: 1e3\n", undefined],
      ["  max_connections: 1_000\n", "must be a whole number"],
      ["  max_connections: .inf\n", "must be a whole number"],
      ["  max_connections: .nan\n", "must be a whole number"],
      ["  max_connections: 1e300\n", "must be a whole number"],
      ["  max_connections: 99999999999999999999\n", "must be a whole number"],
      ["  max_connections: true\n", "must be a whole number"],
      ["  idle_timeout: 0\n", undefined],
      ["  idle_timeout: -0\n", undefined],
      ["  idle_timeout: 1e9\n", "needs a unit"],
      ["  idle_timeout: .nan\n", "needs a unit|such as"],
      ["  idle_timeout: [10s]\n", "such as"],
      ["  idle_timeout:\n", "an empty value: must be a duration"],
      ["  idle_timeout: ~\n", "Cannot use ~: must be a duration"],
    ];
    for (const [line, message] of cases) {
      const text = `${SERVER}${TLS}proxy:\n${line}`;
      if (message === undefined) accept(text);
      else {assert.match(
          refuse(text).join("\n"),
          new RegExp(`^c\\.yaml:9:3: proxy.*(${message})`),
          line,
        );}
    }
  },
);

Deno.test({
  name: "load: a listener and a target on the same port of other hosts",
  permissions: "none",
}, () => {
  const at = (listen: string, target: string) =>
    `mode: server\nlisten: ${listen}\ntarget: ${target}\n${TLS}`;
  accept(at(":8443", "10.0.0.1:8443"));
  accept(at("127.0.0.1:8443", "127.0.0.2:8443"));
  for (
    const text of [
      at(":8443", "127.0.0.1:8443"),
      at('"0.0.0.0:8443"', "localhost:8443"),
      at('"[0::0]:8443"', '"[::1]:8443"'),
      at("10.0.0.1:8443", "10.0.0.1:8443"),
      at("db:8443", "DB.:8443"),
    ]
  ) assert.match(refuse(text).join("\n"), /target: Cannot forward to/, text);
});

Deno.test({ name: "load: probes and listener on one port", permissions: "none" }, () => {
  const text = `${SERVER}${TLS}health: { enabled: true, listen: ":8443" }\n` +
    'metrics: { enabled: true, listen: "127.0.0.1:8443" }\n';
  assert.equal(refuse(text).length, 2);
  accept(
    `${SERVER}${TLS}health: { enabled: true, listen: ":0" }\nmetrics: { enabled: true, listen: ":0" }\n`,
  );
});

Deno.test({ name: "load: a mistyped block is not missed besides", permissions: "none" }, () => {
  assert.deepEqual(refuse(SERVER + TLS.replace("tls", "tsl")), [
    'c.yaml:4:1: tsl: Cannot use unknown key "tsl": did you mean "tls"?',
  ]);
  // "enabled" and "listen" are keys of several blocks: no hint.
  assert.match(refuse(SERVER + TLS + "enabled: true\n").join(), /known here are mode, /);
});

Deno.test({ name: "load: syntax that the parser only warns about", permissions: "none" }, () => {
  assert.deepEqual(refuse(`%FOO bar\n---\n${SERVER}${TLS}`), [
    "c.yaml:1:1: Cannot read YAML: unknown directive %FOO",
  ]);
  assert.match(
    refuse(`%YAML 1.3\n---\n${SERVER}${TLS}`).join(),
    /^c\.yaml:1:\d+: Cannot read YAML/,
  );
  accept(`%YAML 1.2\n---\n${SERVER}${TLS}...\n`);
});

Deno.test(
  { name: "load: several mistakes of syntax, one for each line", permissions: "none" },
  () => {
    assert.deepEqual(refuse(`${SERVER}tls:\n\tcert: @a\nacl: \`b\n`), [
      "c.yaml:5:1: Cannot read YAML: a tab in the indentation: use spaces",
      "c.yaml:6:6: Cannot read YAML: a value that starts with a reserved character: quote it",
    ]);
  },
);

Deno.test({ name: "load: text that is too long or nested too deep", permissions: "none" }, () => {
  assert.deepEqual(refuse("#".repeat(1 << 20) + "#"), [
    "c.yaml:1:1: Cannot read 1048577 characters: a config has at most 1048576",
  ]);
  for (
    const text of [
      "[".repeat(100_000),
      "{a: ".repeat(50_000),
      "- ".repeat(20_000),
      "a:\n" + " ? ".repeat(20_000),
    ]
  ) {
    const lines = refuse(text);
    assert.match(lines.join("\n"), /nested too deep/, text.slice(0, 9));
    assert.ok(lines.length < 5);
  }
  // Deep, but not too deep to read: refused for what it is.
  assert.match(
    refuse(`${SERVER}${TLS}x: ${"[".repeat(50)}${"]".repeat(50)}\n`).join(),
    /unknown key "x"/,
  );
});

Deno.test({ name: "load: many keys and rules take no long time", permissions: "none" }, () => {
  const names = Array.from({ length: 20_000 }, (_, i) => `name-${i}`);
  const started = performance.now();
  const config = acceptOne(
    `${SERVER}${TLS}acl:\n  allow_cn:\n${names.map((n) => `    - ${n}\n`).join("")}`,
  );
  assert.deepEqual(config.acl.allow.map(({ text }) => text), names);
  assert.equal(refuse(`${SERVER}${TLS}${names.map((n) => `${n}: 1\n`).join("")}`).length, 20_000);
  const protocols = Array.from({ length: 90_000 }, (_, i) => `p${i}`);
  const { alpn } = acceptOne(`${SERVER}${TLS}  alpn: [${protocols.join(", ")}]\n`).tls;
  assert.equal(alpn.length, protocols.length);
  // Some 2 s at rest; work by the square of the number takes many minutes.
  assert.ok(performance.now() - started < 120_000);
});

Deno.test({ name: "load: the process keeps its environment", permissions: "none" }, () => {
  const before = process.env;
  for (const text of [SERVER + TLS, "[".repeat(100_000), ""]) parseConfig(text, "c.yaml");
  assert.equal(process.env === before, true);
});
