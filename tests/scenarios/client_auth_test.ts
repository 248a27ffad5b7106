/**
 * `tls.client_auth`: who must show a certificate, who may, and who is not asked.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import {
  ask,
  attempt,
  Backend,
  connectTls,
  curl,
  lineBackend,
  sh,
  writeAll,
} from "../support/peers.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";

/** `openssl s_client` without a certificate, sending a line and reading to the end. */
function openssl(testBed: TestBed, daemon: TestDaemon, args: string): ReturnType<typeof sh> {
  const target = `-connect 127.0.0.1:${daemon.port} -CAfile ca.pem -servername localhost`;
  return sh(`printf 'hello\\n' | openssl s_client ${target} -ign_eof ${args} 2>&1`, {
    cwd: testBed.dir,
  });
}

/** Plain HTTP, one answer for each connection. */
function httpBackend(): Backend {
  return new Backend(async (conn, backend) => {
    const buffer = new Uint8Array(4096);
    backend.received += await conn.read(buffer) ?? 0;
    const answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    await writeAll(conn, new TextEncoder().encode(answer));
    await conn.closeWrite();
    while (await conn.read(buffer) !== null);
  });
}

const REFUSED = "listener: handshake failed";

for (const word of ["required", "require"]) {
  Deno.test(`client_auth ${word}: who shows no certificate is told so`, async (t) => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(lineBackend());
    const server = await testBed.server(backend.address, { tls: { client_auth: word } });
    let count = 0;
    const refused = async (): Promise<void> => {
      await server.waitForMetric(
        'mtlsd_tls_handshake_errors_total{reason="no_certificate"}',
        ++count,
      );
      await server.waitForMetric('mtlsd_connections_closed_total{reason="error"}', count);
      await server.waitForMetric("mtlsd_active_connections", 0);
    };
    await t.step("openssl with TLS 1.3", async () => {
      const { stdout } = await openssl(testBed, server, "-tls1_3");
      assert.match(stdout, /alert certificate required/);
      await refused();
    });
    await t.step("openssl with TLS 1.2, which has another alert", async () => {
      const { stdout } = await openssl(testBed, server, "-tls1_2");
      assert.match(stdout, /alert (certificate required|handshake failure)/);
      await refused();
    });
    await t.step("curl", async () => {
      const url = `https://localhost:${server.port}/`;
      const { code, stderr } = await curl(`--cacert ca.pem ${url}`, testBed.dir);
      assert.notEqual(code, 0);
      assert.match(stderr, /certificate required/);
      await refused();
    });
    await server.waitForLog(REFUSED, {
      level: "WARN",
      reason: "no_certificate",
      error: "peer sent no certificate",
      remote: /^127\.0\.0\.1:\d+$/,
    });
    assert.equal(backend.connections, 0);
    assert.equal((await server.metrics()).get('mtlsd_acl_decisions_total{result="denied"}'), 0);
    assert.equal(await ask(testBed.as(server), "with one"), "echo: with one");
  });
}

for (const word of ["optional", "request"]) {
  Deno.test(`client_auth ${word}: a certificate may be missing, but not bad`, async (t) => {
    await using testBed = await TestBed.create();
    const { pki } = testBed;
    const backend = testBed.use(lineBackend());
    const server = await testBed.server(backend.address, { tls: { client_auth: word } });
    await t.step("without a certificate", async () => {
      const anonymous = { port: server.port, ca: pki.ca.pem };
      assert.equal(await ask(anonymous, "hello"), "echo: hello");
      await server.waitForLog("listener: accepted connection", { peer_cn: "" });
    });
    await t.step("with a good one", async () => {
      assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
      await server.waitForLog("listener: accepted connection", { peer_cn: "frontend-service" });
    });
    assert.equal(backend.connections, 2);

    const day = 86_400_000;
    const cases = {
      untrusted: makeLeaf({ subject: "frontend-service" }, makeCa({ subject: "elsewhere" })),
      expired: makeLeaf({
        subject: "frontend-service",
        notBefore: new Date(Date.now() - 2 * day),
        notAfter: new Date(Date.now() - day),
      }, pki.ca),
      not_yet_valid: makeLeaf({ notBefore: new Date(Date.now() + day) }, pki.ca),
      bad_certificate: makeLeaf({ role: "server" }, pki.ca),
    };
    for (const [reason, identity] of Object.entries(cases)) {
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
        await t.step(`with a bad one: ${reason}, ${maxVersion}`, async () => {
          const series = `mtlsd_tls_handshake_errors_total{reason="${reason}"}`;
          const before = (await server.metrics()).get(series) ?? NaN;
          const client = { port: server.port, ca: pki.ca.pem, identity, maxVersion };
          assert.equal(await attempt(client), "");
          await server.waitForMetric(series, before + 1);
          await server.waitForLog(REFUSED, { reason });
        });
      }
    }
    await server.waitForMetric("mtlsd_active_connections", 0);
    assert.equal(backend.connections, 2);
  });
}

Deno.test("client_auth optional with rules: who shows no certificate matches none", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address, {
    tls: { client_auth: "optional" },
    acl: { allow_cn: ["frontend-service"] },
  });
  assert.equal(await attempt({ port: server.port, ca: testBed.pki.ca.pem }), "");
  await server.waitForLog("listener: denied connection", {
    level: "WARN",
    peer_cn: "",
    reason: /no certificate/,
  });
  await server.waitForMetric('mtlsd_acl_decisions_total{result="denied"}', 1);
  await server.waitForMetric('mtlsd_connections_closed_total{reason="denied"}', 1);
  assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
  assert.equal(backend.connections, 1);
});

Deno.test("client_auth none is plain TLS, for curl and a plain HTTP backend too", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(httpBackend());
  const server = await testBed.server(backend.address, { tls: { client_auth: "none" } });
  const url = `https://localhost:${server.port}/`;
  await t.step("curl that trusts the CA", async () => {
    const { code, stdout, stderr } = await curl(`--cacert ca.pem ${url}`, testBed.dir);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "hello", stderr: "" });
  });
  await t.step("curl that does not", async () => {
    const { code } = await curl(url, testBed.dir);
    assert.equal(code, 60);
    await server.waitForLog(REFUSED);
    assert.equal(backend.connections, 1);
  });
  await t.step("a certificate is not asked for, a bad one is not looked at", async () => {
    const identity = makeLeaf({}, makeCa());
    const socket = await connectTls({ port: server.port, ca: testBed.pki.ca.pem, identity });
    socket.destroy();
    await server.waitForMetric('mtlsd_acl_decisions_total{result="allowed"}', 2);
    assert.equal((await server.metrics()).get('mtlsd_acl_decisions_total{result="denied"}'), 0);
  });
});
