/**
 * Rotation: new certificates are served soon and without a failed handshake, broken ones never, and
 * established connections go on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import type tls from "node:tls";
import { countLog, type TestDaemon } from "../support/daemon.ts";
import { attempt, connectTls, echoBackend, lineBackend } from "../support/peers.ts";
import { type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import {
  byRename,
  bySymlink,
  contents,
  HandshakeStream,
  inPlace,
  renewed,
  serialSeen,
} from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const RELOADED = "certstore: certificates reloaded successfully";
const FAILED = "certstore: reload failed, keeping the previous certificates";
const SUCCESS = 'mtlsd_reloads_total{result="success"}';
const FAILURE = 'mtlsd_reloads_total{result="failure"}';

function serial(identity: Issued): string {
  return new X509Certificate(identity.pem).serialNumber;
}

/** A line there and back on a connection that stays open. */
function echo(socket: tls.TLSSocket, line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no echo of ${line}`)), 60_000);
    let got = "";
    const onData = (bytes: Uint8Array) => {
      got += new TextDecoder().decode(bytes);
      if (got.length < line.length) return;
      clearTimeout(timer);
      socket.off("data", onData);
      if (got === line) resolve();
      else reject(new Error(`echo ${got}`));
    };
    socket.on("data", onData);
    socket.write(line);
  });
}

async function lastReload(daemon: TestDaemon): Promise<Record<string, unknown>> {
  const { body } = await daemon.probe("/certz");
  return body.last_reload as Record<string, unknown>;
}

for (
  const [name, place] of Object.entries({
    "rename into place": byRename,
    "rewrite in place": inPlace,
    "Kubernetes-style symlink swap": bySymlink,
  })
) {
  Deno.test(`${name}: no handshake fails, the new serial shows`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const dir = join(testBed.dir, "secret");
    await Deno.mkdir(dir);
    if (place === bySymlink) await bySymlink(dir, contents(testBed.pki.server));
    else await byRename(dir, contents(testBed.pki.server));
    const tls = { cert: join(dir, "server.pem"), key: join(dir, "server-key.pem") };
    const server = await testBed.server(backend.address, { tls });
    const established = await connectTls(testBed.as(server));
    await echo(established, "before");

    const stream = testBed.use(new HandshakeStream(testBed.as(server)));
    const seen = [serial(testBed.pki.server)];
    await until(() => stream.serials.length > 3);
    for (let round = 1; round <= 2; round++) {
      const next = renewed(testBed.pki);
      await place(dir, contents(next));
      seen.push(serial(next));
      await until(() => stream.serials.at(-1) === serial(next));
      await server.waitForMetric(SUCCESS, round);
      await echo(established, `after ${round}`);
      const { length } = stream.serials;
      await until(() => stream.serials.length > length + 10);
    }
    await stream[Symbol.asyncDispose]();
    stream.assertSteady(...seen);
    assert.equal(countLog(server, FAILED), 0);
    assert.equal((await server.metrics()).get(FAILURE), 0);
    assert.equal((await lastReload(server)).result, "success");
    const { body } = await server.probe("/certz");
    assert.equal(String(body.serial).toUpperCase(), seen.at(-1));
    established.destroy();
  });
}

Deno.test("once a reload says that it is done, no new connection gets the old certificate", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address);
  const client = testBed.as(server);
  for (let round = 0; round < 12; round++) {
    const next = renewed(testBed.pki);
    const entries = Object.entries(contents(next));
    const [one, other] = round % 2 === 0 ? entries : entries.toReversed();
    assert.ok(one && other);
    const put = round % 4 < 2 ? byRename : inPlace;
    await put(testBed.dir, Object.fromEntries([one]));
    await new Promise((done) => setTimeout(done, round * 25));
    await put(testBed.dir, Object.fromEntries([other]));
    // By signal, which may come while the watcher is at it, or by the watcher alone.
    const lines = server.lines.length;
    if (round % 3 === 0) {
      server.kill("SIGHUP");
      await server.waitForLog(RELOADED, { trigger: "signal" }, lines);
    } else {
      const wanted = serial(next).toLowerCase();
      await until(() =>
        server.lines.some(({ fields }) => fields.msg === RELOADED && fields.serial === wanted)
      );
    }
    assert.equal(await serialSeen(client), serial(next), `round ${round}`);
    assert.equal((await server.probe("/certz")).body.serial, serial(next).toLowerCase());
  }
});

Deno.test("a broken file leaves the old certificate serving until it is mended", async (t) => {
  await using testBed = await TestBed.create();
  const { pki, files, dir } = testBed;
  const backend = testBed.use(lineBackend());
  const server = await testBed.server(backend.address);
  const client = testBed.as(server);
  const old = serial(pki.server);
  const stream = testBed.use(new HandshakeStream(client));
  assert.equal((await server.probe("/certz")).body.last_reload, null);
  let failures = 0;
  const kept = async (error: RegExp): Promise<void> => {
    await server.waitForMetric(FAILURE, ++failures);
    const lines = server.lines.filter(({ fields }) => fields.msg === FAILED);
    assert.equal(lines.length, failures);
    assert.equal(lines.at(-1)?.fields.level, "ERROR");
    assert.match(lines.at(-1)?.fields.error ?? "", error);
    const last = await lastReload(server);
    assert.equal(last.result, "failure");
    assert.match(String(last.error), error);
    assert.match(String(last.time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.equal(await serialSeen(client), old);
    assert.equal((await server.probe("/readyz")).status, 200);
  };
  const next = renewed(pki);
  await t.step("garbage", async () => {
    await Deno.writeTextFile(files.server, "garbage");
    await kept(/tls\.cert: .*not PEM/);
  });
  await t.step("half of a certificate", async () => {
    await Deno.writeTextFile(files.server, next.pem.slice(0, 200));
    await kept(/tls\.cert: /);
  });
  await t.step("a certificate without its key", async () => {
    await byRename(dir, { "server.pem": next.pem });
    await kept(/tls\.key: .*(match|belong)|tls\.cert: .*(match|belong)/);
  });
  await t.step("a file that is gone", async () => {
    await Deno.remove(files.server);
    await kept(/tls\.cert: .*no such file/);
  });
  await t.step("the others cannot be had either, by SIGHUP", async () => {
    await Deno.writeTextFile(files.serverKey, "");
    server.kill("SIGHUP");
    await until(async () => String((await lastReload(server)).error).includes("tls.key"));
    failures = (await server.metrics()).get(FAILURE) ?? 0;
    assert.equal(await serialSeen(client), old);
  });
  await t.step("mended", async () => {
    await byRename(dir, contents(next));
    await until(async () => await serialSeen(client) === serial(next));
    await server.waitForLog(RELOADED, { level: "INFO" });
    const last = await lastReload(server);
    assert.equal(last.result, "success");
    assert.equal(last.error, null);
  });
  await stream[Symbol.asyncDispose]();
  assert.deepEqual(stream.failures, []);
  assert.equal(countLog(server, FAILED), (await server.metrics()).get(FAILURE));
});

Deno.test("a new bundle is the trust of the next handshake, and of the connections that are open", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const established = await connectTls(testBed.as(server));
  await echo(established, "before");
  const elsewhere = makeCa({ subject: "elsewhere" });
  const identity = makeLeaf({ role: "client", subject: "newcomer" }, elsewhere);
  const newcomer = { ...testBed.as(server), identity };
  assert.equal(await attempt(newcomer), "");
  await byRename(testBed.dir, { "ca.pem": elsewhere.pem });
  await server.waitForLog(RELOADED);
  assert.equal(await attempt(newcomer), "hello");
  assert.equal(await attempt(testBed.as(server)), "");
  await server.waitForLog("listener: connection closed", { reason: "untrusted" });
  established.destroy();
});

Deno.test("client mode shows its new certificate and trusts by its new bundle", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { server, client } = await testBed.tunnel(backend.address);
  const through = async (): Promise<string> => {
    using conn = await Deno.connect({ port: client.port });
    await conn.write(new TextEncoder().encode("hello"));
    await conn.closeWrite();
    return await new Response(conn.readable).text().catch(() => "");
  };
  assert.equal(await through(), "echo: hello");
  const next = makeLeaf({ role: "client", subject: "renewed-service" }, testBed.pki.ca);
  await byRename(testBed.dir, { "client.pem": next.pem, "client-key.pem": next.keyPem });
  await client.waitForLog(RELOADED);
  assert.equal(await through(), "echo: hello");
  await server.waitForLog("listener: accepted connection", { peer_cn: "renewed-service" });
  // The server's own trust is the same file; it has no connection to lose.
  await byRename(testBed.dir, { "ca.pem": makeCa().pem });
  await client.waitForMetric(SUCCESS, 2);
  assert.equal(await through(), "");
  await client.waitForLog("dialer: handshake failed", { reason: "untrusted" });
});
