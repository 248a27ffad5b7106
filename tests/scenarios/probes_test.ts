/**
 * The probes and the metrics server over HTTP: exact answers, and what odd clients get.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { TestDaemon } from "../support/daemon.ts";
import { connectTls, curl, echoBackend, readAll, writeAll } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

/** What the server sends for these bytes until it closes or `enough` says so. */
async function raw(
  url: string,
  request: string,
  enough: (answer: string) => boolean = () => false,
): Promise<string> {
  const { hostname, port } = new URL(url);
  using conn = await Deno.connect({ hostname, port: Number(port) });
  await writeAll(conn, new TextEncoder().encode(request));
  let answer = "";
  const buffer = new Uint8Array(65_536);
  while (!enough(answer)) {
    const count = await conn.read(buffer).catch(() => null);
    if (count === null) break;
    answer += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return answer;
}

async function get(daemon: TestDaemon, path: string, method = "GET"): Promise<unknown[]> {
  const response = await fetch(daemon.healthUrl + path, { method });
  return [response.status, response.headers.get("content-type"), await response.text()];
}

Deno.test("the probes answer exactly what is promised", async (t) => {
  await using testBed = await TestBed.create();
  const daemon = await testBed.server("127.0.0.1:9");
  const { healthUrl } = daemon;
  const type = "application/json";
  await t.step("/healthz", async () => {
    assert.deepEqual(await get(daemon, "/healthz"), [200, type, '{"status":"alive"}']);
  });
  await t.step("/readyz", async () => {
    assert.deepEqual(await get(daemon, "/readyz"), [200, type, '{"status":"ready"}']);
  });
  await t.step("/certz", async () => {
    const x509 = new X509Certificate(testBed.pki.server.pem);
    const [status, contentType, text] = await get(daemon, "/certz");
    assert.deepEqual([status, contentType], [200, type]);
    const body = JSON.parse(String(text));
    assert.equal(body.not_before, new Date(x509.validFrom).toISOString());
    assert.equal(body.not_after, new Date(x509.validTo).toISOString());
    assert.equal(body.days_left, 29);
    assert.equal(body.subject, "CN=localhost");
    assert.equal(body.serial.toUpperCase(), x509.serialNumber);
    assert.equal(body.last_reload, null);
    daemon.kill("SIGHUP");
    await daemon.waitForMetric('mtlsd_reloads_total{result="success"}', 1);
    const { body: { last_reload } } = await daemon.probe("/certz");
    const { time, ...rest } = last_reload as Record<string, unknown>;
    assert.deepEqual(rest, { result: "success", error: null });
    assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
  });
  await t.step("HEAD is GET without the body", async () => {
    for (const path of ["/healthz", "/readyz", "/certz"]) {
      assert.deepEqual(await get(daemon, path, "HEAD"), [200, type, ""]);
    }
    const { stdout } = await curl(`-I ${daemon.metricsUrl}/metrics`, testBed.dir);
    assert.match(stdout, /^HTTP\/1\.1 200 /);
  });
  await t.step("other methods are 405", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const response = await fetch(`${healthUrl}/healthz`, { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get("allow"), "GET, HEAD");
      await response.body?.cancel();
    }
    const { stdout } = await curl(`-X PURGE -d @- -i ${healthUrl}/readyz < ca.pem`, testBed.dir);
    assert.match(stdout, /^HTTP\/1\.1 405 /);
  });
  await t.step("unknown paths are 404, on both servers", async () => {
    for (
      const path of ["/", "/healthz/", "/HEALTHZ", "/metrics", "/healthz%2f", "//healthz", "/..%2f"]
    ) {
      const { stdout } = await curl(`-i --path-as-is '${healthUrl}${path}'`, testBed.dir);
      assert.match(stdout, /^HTTP\/1\.1 404 /, path);
    }
    const { stdout } = await curl(`-i ${daemon.metricsUrl}/healthz`, testBed.dir);
    assert.match(stdout, /^HTTP\/1\.1 404 /);
  });
  await t.step("a query changes nothing", async () => {
    assert.deepEqual(await get(daemon, "/healthz?x=1"), [200, type, '{"status":"alive"}']);
  });
  await t.step("/metrics", async () => {
    const response = await fetch(`${daemon.metricsUrl}/metrics`);
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await response.text(), /^# HELP mtlsd_active_connections /m);
  });
});

Deno.test("odd HTTP neither stops the probes nor the tunnel", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  const { healthUrl, metricsUrl } = daemon;
  const end = "\r\n\r\n";
  const requests = [
    "\0\0\0\0",
    `GET /healthz HTTP/9.9${end}`,
    `GET /healthz${end}`,
    `GET http://evil.example/healthz HTTP/1.1\r\nhost: [${end}`,
    `GET * HTTP/1.1\r\nhost: x${end}`,
    `OPTIONS * HTTP/1.1\r\nhost: x${end}`,
    `CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x${end}`,
    `GET /healthz HTTP/1.1${end}`,
    `GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y${end}`,
    `POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999${end}`,
    `POST /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked${end}zz\r\n`,
    `GET /healthz HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade${end}`,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\0".repeat(64),
    `GET /${"a".repeat(100_000)} HTTP/1.1\r\nhost: x${end}`,
    `GET /healthz HTTP/1.1\r\nhost: x\r\n${"x: y\r\n".repeat(5000)}\r\n`,
    "\x16\x03\x01\x02\x00\x01",
  ];
  const answered = (text: string) => text.includes("\r\n\r\n");
  for (const url of [healthUrl, metricsUrl]) {
    for (const request of requests) {
      const silence = Promise.withResolvers<string>();
      const timer = setTimeout(() => silence.resolve("silence"), 300);
      const answer = await Promise.race([raw(url, request, answered), silence.promise]);
      clearTimeout(timer);
      assert.doesNotMatch(answer, /^HTTP\/1\.1 5\d\d|\.ts:|Error/, request.slice(0, 40));
    }
  }
  assert.equal((await daemon.probe("/readyz")).status, 200);
  const socket = await connectTls(testBed.as(daemon));
  socket.destroy();
  assert.doesNotMatch(daemon.log, /level=ERROR|internal error/);
  assert.equal(await daemon.stop(), 0);
});

Deno.test("pipelined and parallel requests are all answered", async () => {
  await using testBed = await TestBed.create();
  const daemon = await testBed.server("127.0.0.1:9");
  const one = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
  const count = (text: string) => text.split('{"status":"alive"}').length - 1;
  await raw(daemon.healthUrl, one.repeat(20), (text) => count(text) === 20);
  await Promise.all(Array.from({ length: 100 }, async () => {
    assert.equal((await daemon.probe("/readyz")).status, 200);
  }));
});

Deno.test("/readyz is 503 from the start of a drain, and both servers live until its end", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  const { healthUrl, metricsUrl } = daemon;
  const socket = await connectTls(testBed.as(daemon));
  await daemon.waitForMetric("mtlsd_active_connections", 1);
  daemon.kill("SIGTERM");
  await daemon.waitForLog("shutting down");
  await until(async () => (await daemon.probe("/readyz")).status === 503);
  assert.deepEqual(await get(daemon, "/readyz"), [
    503,
    "application/json",
    '{"status":"not ready","reason":"shutting down"}',
  ]);
  assert.equal((await get(daemon, "/healthz"))[0], 200);
  assert.equal((await get(daemon, "/certz"))[0], 200);
  assert.equal((await daemon.metrics()).get("mtlsd_active_connections"), 1);
  socket.end();
  assert.equal(await daemon.exit(), 0);
  for (const url of [healthUrl, metricsUrl]) await assert.rejects(fetch(url));
});

Deno.test("probes that are not enabled are not there", async () => {
  await using testBed = await TestBed.create();
  const { startDaemon } = await import("../support/daemon.ts");
  const { ca, server: cert, serverKey: key } = testBed.files;
  await using daemon = await startDaemon({
    dir: testBed.dir,
    config: {
      mode: "server",
      listen: "127.0.0.1:0",
      target: "127.0.0.1:9",
      tls: { cert, key, ca },
      health: { enabled: false },
      metrics: { enabled: false },
    },
  });
  assert.doesNotMatch(daemon.log, /server listening/);
  assert.equal(await daemon.stop(), 0);
});

Deno.test("the greeting of a TLS peer on the probes' port is not an answer of the tunnel", async () => {
  await using testBed = await TestBed.create();
  const daemon = await testBed.server("127.0.0.1:9");
  const port = Number(new URL(daemon.healthUrl).port);
  await assert.rejects(connectTls({ ...testBed.as(daemon), port }));
  using conn = await Deno.connect({ port: daemon.port });
  await writeAll(conn, new TextEncoder().encode("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"));
  const answer = new TextDecoder().decode(await readAll(conn).catch(() => new Uint8Array()));
  assert.doesNotMatch(answer, /alive|HTTP/);
  await daemon.waitForMetric('mtlsd_tls_handshake_errors_total{reason="protocol"}', 1);
});
