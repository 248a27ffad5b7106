/**
 * Starting: what is logged, which files are refused, what happens to a port that is taken.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import { TESTED_DENO } from "../../src/util/version.ts";
import {
  assertPlain,
  countLog,
  linesAt,
  mtlsd,
  startDaemon,
  type TestDaemon,
} from "../support/daemon.ts";
import { ask, lineBackend, ownAddress, refuses, sh } from "../support/peers.ts";
import { makeCa, makeLeaf, pem } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
Deno.test("server mode says what it does from the start to the stop", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address);
  const { ca, server: cert, serverKey: key } = testBed.files;
  assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
  assert.equal(await server.stop(), 0);

  const listen = /^127\.0\.0\.1:[1-9]\d+$/;
  for (
    const [message, fields] of [
      ["mtlsd starting", {
        mode: "server",
        level: "INFO",
        deno: Deno.version.deno,
        pid: String(server.pid),
      }],
      ["certificates loaded", { cert, key, ca }],
      ["listener: serving mTLS", { listen, target: backend.address }],
      ["health server listening", { addr: listen }],
      ["metrics server listening", { addr: listen }],
      ["certstore: watching files for changes", { cert, key, ca, directories: `[${testBed.dir}]` }],
      ["listener: accepted connection", { peer_cn: "frontend-service", remote: listen }],
      ["shutting down", { signal: "SIGTERM" }],
      ["shutdown complete", { level: "INFO" }],
    ] as const
  ) await server.waitForLog(message, fields);
  assert.deepEqual([...linesAt(server, "WARN"), ...linesAt(server, "ERROR")], []);
});

Deno.test("client mode says what it does from the start to the stop", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { server, client } = await testBed.tunnel(backend.address);
  const conn = await Deno.connect({ port: client.port });
  await conn.write(new TextEncoder().encode("hello"));
  await conn.closeWrite();
  assert.equal(await new Response(conn.readable).text(), "echo: hello");
  assert.equal(await client.stop(), 0);

  const { ca, client: cert, clientKey: key } = testBed.files;
  for (
    const [message, fields] of [
      ["mtlsd starting", { mode: "client" }],
      ["certificates loaded", { cert, key, ca }],
      ["dialer: listening", { listen: /^127\.0\.0\.1:[1-9]\d+$/, server: server.listen }],
      ["certstore: watching files for changes", { cert, key, ca }],
      ["dialer: connected", { server: server.listen }],
      ["shutting down", { signal: "SIGTERM" }],
      ["shutdown complete", {}],
    ] as const
  ) await client.waitForLog(message, fields);
  assert.deepEqual([...linesAt(client, "WARN"), ...linesAt(client, "ERROR")], []);
});

Deno.test("a port that is taken ends the start with one clear line and status 1", async (t) => {
  await using testBed = await TestBed.create();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const busy = `127.0.0.1:${taken.addr.port}`;
  const { ca, server: cert, serverKey: key, client, clientKey } = testBed.files;
  const server = { mode: "server", target: "127.0.0.1:9", tls: { cert, key, ca } };
  const configs = {
    "of server mode": { ...server, listen: busy },
    "of client mode": {
      ...server,
      mode: "client",
      listen: busy,
      tls: { cert: client, key: clientKey, ca },
    },
    "of the probes": { ...server, listen: ownAddress(), health: { enabled: true, listen: busy } },
    "of the metrics": { ...server, listen: ownAddress(), metrics: { enabled: true, listen: busy } },
  };
  for (const [name, config] of Object.entries(configs)) {
    await t.step(name, async () => {
      await using daemon = await startDaemon({ dir: testBed.dir, config, expectFailure: true });
      assert.equal(await daemon.exit(), 1);
      const [line, ...more] = linesAt(daemon, "ERROR");
      assert.deepEqual(more, []);
      const key = name.includes("probes") ? "health" : name.includes("metrics") ? "metrics" : "";
      assert.match(
        line ?? "",
        new RegExp(
          String.raw`msg="[^ ]*\.yaml:\d+:\d+: ${key}\.?listen: Cannot listen on ` +
            String.raw`\\"127\.0\.0\.1:\d+\\": .*in use`,
          "i",
        ),
      );
      assert.ok(line?.includes(busy), line);
      assertPlain(daemon.log);
      if (config.listen !== busy) assert.ok(await refuses(config.listen));
    });
  }
});

Deno.test("each kind of unusable file has its own line, with the fix, and status 2", async (t) => {
  await using testBed = await TestBed.create();
  const { pki, files } = testBed;
  const day = 86_400_000;
  const old = makeLeaf({ notBefore: new Date(0), notAfter: new Date(Date.now() - day) }, pki.ca);
  const young = makeLeaf({ notBefore: new Date(Date.now() + day) }, pki.ca);
  const untrusted = makeLeaf({}, makeCa());
  const encrypted = pki.server.key.export({
    type: "pkcs8",
    format: "pem",
    cipher: "aes-256-cbc",
    passphrase: "secret",
  }).toString();
  const der = join(testBed.dir, "server.der");
  await Deno.writeFile(der, pki.server.der);
  const write = (name: string, text: string) => testBed.write(name, text);
  const cases: Record<string, { tls: Record<string, string>; says: RegExp[] }> = {
    "no such file": { tls: { cert: "missing.pem" }, says: [/tls\.cert: .*there is no such file/] },
    "a directory": { tls: { key: testBed.dir }, says: [/tls\.key: .*it is a directory/] },
    "an empty file": { tls: { ca: await write("empty.pem", "") }, says: [/tls\.ca: .*empty/] },
    "no certificate in it": {
      tls: { cert: await write("text.pem", "hello\n") },
      says: [/tls\.cert: .*(not PEM|no certificate)/],
    },
    "a key in place of a certificate": {
      tls: { cert: files.serverKey },
      says: [/tls\.cert: .*key/i],
    },
    "DER in place of PEM": { tls: { cert: der }, says: [/tls\.cert: .*DER.*openssl/] },
    "an encrypted key": {
      tls: { key: await write("encrypted.pem", encrypted) },
      says: [/tls\.key: .*encrypted/],
    },
    "an expired certificate": {
      tls: { cert: await write("old.pem", old.pem), key: await write("old-key.pem", old.keyPem) },
      says: [/tls\.cert: .*expired/],
    },
    "a certificate that is not yet valid": {
      tls: { cert: await write("new.pem", young.pem), key: await write("new.key", young.keyPem) },
      says: [/tls\.cert: .*is valid from .* and now it is .*wait/],
    },
    "a key of another certificate": {
      tls: { key: await write("other-key.pem", untrusted.keyPem) },
      says: [/tls\.key: .*(match|belong)/],
    },
    "a broken bundle": {
      tls: { ca: await write("bad.pem", pem("CERTIFICATE", pki.ca.der.slice(0, 100))) },
      says: [/tls\.ca: /],
    },
    "everything at once": {
      tls: { cert: der, key: await write("none.pem", ""), ca: "nowhere.pem" },
      says: [/tls\.cert: .*DER/, /tls\.key: .*empty/, /tls\.ca: .*no such file/],
    },
  };
  for (const [name, { tls, says }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const config = {
        mode: "server",
        listen: ownAddress(),
        target: "127.0.0.1:9",
        tls: { cert: files.server, key: files.serverKey, ca: files.ca, ...tls },
      };
      const path = await testBed.write("config.yaml", stringify(config));
      const { code, stderr } = await mtlsd([path]);
      assert.equal(code, 2, stderr);
      const lines = stderr.trimEnd().split("\n").filter((line) => !line.startsWith("time="));
      assert.equal(lines.length, says.length, stderr);
      for (const [index, pattern] of says.entries()) {
        assert.match(lines[index]?.slice(path.length) ?? "", /^:\d+:3: /, "line and column");
        assert.match(lines[index] ?? "", pattern);
      }
      assertPlain(stderr);
      assert.ok(!stderr.includes(pki.server.keyPem.split("\n")[1] ?? "-"), "key bytes");
    });
  }
});

Deno.test("the config is taken from the places that the command line names", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { ca, server: cert, serverKey: key } = testBed.files;
  const tls = { cert, key, ca };
  const config = { mode: "server", listen: "127.0.0.1:0", target: backend.address, tls };
  const ways: Record<string, (path: string) => string[]> = {
    "run PATH": (path) => ["run", path],
    "-config PATH": (path) => ["-config", path],
    "--config PATH": (path) => ["--config", path],
    "run --config=PATH": (path) => ["run", `--config=${path}`],
    "standard input": () => ["-"],
    "run and standard input": () => ["run", "-"],
  };
  for (const [name, args] of Object.entries(ways)) {
    await t.step(name, async () => {
      const stdin = name.includes("input");
      await using daemon = await startDaemon({ dir: testBed.dir, config, args, stdin });
      assert.equal(await ask(testBed.as(daemon), name), `echo: ${name}`);
      assert.equal(await daemon.stop(), 0);
    });
  }
});

Deno.test("a plaintext side that is not on loopback is warned about", async (t) => {
  await using testBed = await TestBed.create();
  const { ca, server, serverKey, client, clientKey } = testBed.files;
  const assertWarned = (daemon: TestDaemon, side: string): void => {
    const [line = "", ...more] = linesAt(daemon, "WARN");
    assert.deepEqual(more, []);
    assert.match(line, /is not loopback: traffic there is neither encrypted nor authenticated/);
    assert.ok(line.includes(side), line);
  };
  await t.step("the target of server mode", async () => {
    const config = {
      mode: "server",
      listen: ownAddress(),
      target: "192.0.2.1:5432",
      tls: { cert: server, key: serverKey, ca },
    };
    await using daemon = await startDaemon({ dir: testBed.dir, config });
    assertWarned(daemon, "192.0.2.1:5432");
  });
  await t.step("the listener of client mode", async () => {
    const config = {
      mode: "client",
      listen: ":0",
      target: "127.0.0.1:9",
      tls: { cert: client, key: clientKey, ca },
    };
    await using daemon = await startDaemon({ dir: testBed.dir, config });
    assertWarned(daemon, "listen");
  });
});

Deno.test("SIGINT of a terminal stops the daemon too", async () => {
  await using testBed = await TestBed.create();
  const server = await testBed.server("127.0.0.1:9");
  const { code } = await sh(`kill -INT ${server.pid}`);
  assert.equal(code, 0);
  assert.equal(await server.exit(), 0);
  await server.waitForLog("shutting down", { signal: "SIGINT" });
});

Deno.test("a Deno that is too new is warned of, and so are variables that it goes by, where they show", async () => {
  await using testBed = await TestBed.create();
  const fake = await testBed.write(
    "fake.ts",
    'Object.defineProperty(Deno, "version", { value: { ...Deno.version, deno: "3.0.0" } });',
  );
  const set = ["env", "OTEL_DENO=false"];
  const daemon = await testBed.server("127.0.0.1:9", { preload: fake, wrapper: set });
  const { fields } = await daemon.waitForLog("mtlsd starting");
  assert.equal(fields.deno, "3.0.0");
  await daemon.waitForLog("mtlsd was not tested with this version of Deno", {
    level: "WARN",
    deno: "3.0.0",
    tested: TESTED_DENO,
  });
  const GOES_BY = "Deno goes by a variable of its environment, whatever is granted";
  // Under its own grants it cannot look.
  assert.equal(countLog(daemon, GOES_BY), 0);
  assert.equal(await daemon.stop(), 0);

  const { ca, server: cert, serverKey: key } = testBed.files;
  const wide = await testBed.daemon(
    { mode: "server", listen: "127.0.0.1:0", target: "127.0.0.1:9", tls: { cert, key, ca } },
    { wrapper: ["env", "OTEL_DENO=false"], flags: ["--no-prompt", "--allow-all"] },
  );
  await wide.waitForLog(GOES_BY, { level: "WARN", variable: "OTEL_DENO" });
  assert.equal(countLog(wide, GOES_BY), 1);
  assert.equal(await wide.stop(), 0);
});
