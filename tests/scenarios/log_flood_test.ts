/**
 * What unknown peers can do to the log: nothing much. Their lines are bounded in number and length, no
 * other lines are lost by them, and who only looks whether the port is open is no news.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { PER_SOURCE } from "../../src/log/limiter.ts";
import { ask, attempt, lineBackend } from "../support/peers.ts";
import { dns, makeLeaf } from "../support/pki.ts";
import { plainServer } from "../support/plain_tls.ts";
import type { LogLine, TestDaemon } from "../support/daemon.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { closedSeries } from "../support/metrics.ts";
import { behind, line } from "../support/proxy_protocol_peers.ts";

const CLOSED = "listener: connection closed";

/** Connections without TLS, one after the other. */
async function flood(port: number, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 50) {
    await Promise.all(Array.from({ length: Math.min(50, left) }, async () => {
      await using peer = await Peer.connect(port);
      void peer.send("GET / HTTP/1.0\r\n\r\n");
      await peer.ended();
    }));
  }
}

const suppressed = (message: string) => `mtlsd_log_lines_suppressed_total{message="${message}"}`;

function linesOf(daemon: TestDaemon, msg: string): readonly LogLine[] {
  return daemon.lines.filter(({ fields }) => fields.msg === msg);
}

for (const format of ["text", "json"] as const) {
  Deno.test(`a flood of bad handshakes writes little, and hides nothing else: ${format}`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(lineBackend());
    const server = await testBed.server(backend.address, {
      acl: { allow_cn: ["frontend-service"] },
      logging: { format },
    });
    const FLOOD = 600;
    await flood(server.port, FLOOD);
    await server.waitForMetric(closedSeries("error"), FLOOD);
    // From here on its source has no line left to speak of.
    const failed = linesOf(server, "listener: handshake failed").length;
    const metrics = await server.metrics();
    assert.ok(failed >= PER_SOURCE.burst && failed < FLOOD, `${failed}`);
    assert.equal(metrics.get(suppressed("handshake failed")), FLOOD - failed);
    assert.equal(metrics.get('mtlsd_tls_handshake_errors_total{reason="protocol"}'), FLOOD);
    const closed = linesOf(server, CLOSED).length;
    assert.equal(metrics.get(suppressed("connection closed")), FLOOD - closed);

    // Another kind of message from the same address, ...
    const identity = makeLeaf({ subject: "other" }, testBed.pki.ca);
    await attempt({ ...testBed.as(server), identity });
    const denied = await server.waitForLog("listener: denied connection", { peer_cn: "other" });
    // ... a connection from there that is let in, first line and last, ...
    assert.equal(await ask(testBed.as(server), "hello"), "echo: hello");
    const { fields } = await server.waitForLog("listener: accepted connection");
    const { conn = "" } = fields;
    await server.waitForLog(CLOSED, { conn, reason: "completed" });
    // ... and the same kind of message from another address.
    await using other = await Peer.connect(server.port, "127.0.0.2");
    void other.send("GET / HTTP/1.0\r\n\r\n");
    await server.waitForLog("listener: handshake failed", { remote: /^127\.0\.0\.2:/ });
    await server.waitForLog(CLOSED, { remote: /^127\.0\.0\.2:/ });
    assert.notEqual(denied.fields.conn, conn);

    assert.equal(await server.stop(), 0);
    // Whatever was left out is counted in a line, at the latest at the end.
    for (const message of ["handshake failed", "connection closed"]) {
      const told = linesOf(server, "log lines suppressed")
        .filter(({ fields }) => fields.message === message);
      const sum = told.reduce((sum, { fields }) => sum + Number(fields.suppressed), 0);
      // One of a denied connection may have been left out besides.
      assert.ok(sum >= (metrics.get(suppressed(message)) ?? Infinity), server.log.slice(-2000));
      assert.ok(told.length > 0 && told.every(({ fields }) => fields.most_from === "127.0.0.1"));
    }
  });
}

for (const format of ["text", "json"] as const) {
  Deno.test(`a server with hostile names writes short lines, and not many: ${format}`, async () => {
    await using testBed = await TestBed.create();
    // Our CA signs these as they are: what is unverified is cut in the same place.
    const words = "\u200b\u202e".repeat(500);
    const names = Array.from({ length: 200 }, (_, i) => dns(`host-${i}.${"x".repeat(40)}.example`));
    const forged = makeLeaf(
      { subject: { O: [words, words], CN: words }, san: names },
      testBed.pki.ca,
    );
    const listed = makeLeaf(
      { subject: { O: [words, words], OU: words, CN: words }, san: [...names, dns("localhost")] },
      testBed.pki.ca,
    );
    for (const identity of [forged, listed]) {
      await using front = await plainServer(
        { cert: identity.pem, key: identity.keyPem },
        (socket) => socket.end(),
      );
      const client = await testBed.client(`127.0.0.1:${front.port}`, {
        acl: { allow_cn: ["backend"] },
        logging: { format },
      });
      const CALLS = 230;
      for (let i = 0; i < CALLS; i++) {
        await using downstream = await Peer.connect(client.port);
        await downstream.ended();
      }
      const failed = client.lines.filter(({ fields }) =>
        /^dialer: (handshake failed|denied connection)$/.test(fields.msg ?? "")
      );
      assert.ok(failed.length >= PER_SOURCE.burst && failed.length < CALLS, `${failed.length}`);
      assert.equal(await client.stop(), 0);
      for (const { raw } of client.lines) {
        assert.ok(new TextEncoder().encode(raw).length < 2600, raw);
      }
      // In client mode every peer that reaches the port is let in: each has its last line.
      assert.equal(linesOf(client, "dialer: connection closed").length, CALLS);
      assert.ok(linesOf(client, "log lines suppressed").length > 0);
    }
  });
}

Deno.test("client mode: a caller that says nothing and leaves is a connection as any other", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { client, server } = await testBed.tunnel(backend.address);
  // The server may be the one that speaks first, so there is nothing to wait for.
  await look(client.port, "end");
  for (const daemon of [client, server]) {
    await daemon.waitForMetric(closedSeries("completed"), 1);
    assert.equal((await daemon.metrics()).get(closedSeries("no_data")), 0);
  }
});

/** How a health check leaves. */
const LEAVES = ["end", "reset"] as const;

async function look(port: number, how: typeof LEAVES[number], said = ""): Promise<void> {
  await using peer = await Peer.connect(port);
  if (said !== "") await peer.send(said);
  peer[how]();
  if (how === "end") await peer.ended();
}

for (const level of ["info", "debug"] as const) {
  Deno.test(`health checks that never say a byte are no failed handshakes: ${level}`, async (t) => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(lineBackend());
    const rows: readonly (readonly [name: string, () => Promise<TestDaemon>, said: string])[] = [
      ["of TLS", () => testBed.server(backend.address, { logging: { level } }), ""],
      [
        "where a PROXY header is expected",
        () => behind(testBed, backend.address, { logging: { level } }),
        "",
      ],
      [
        "with a PROXY header",
        () => behind(testBed, backend.address, { logging: { level } }),
        line(),
      ],
      [
        "with a PROXY header of the balancer's own",
        () => behind(testBed, backend.address, { logging: { level } }),
        "PROXY UNKNOWN\r\n",
      ],
    ];
    for (const [name, start, said] of rows) {
      await t.step(name, async () => {
        const server = await start();
        for (const how of LEAVES) await look(server.port, how, said);
        // One that is reset may be gone before it is accepted.
        await server.waitForMetric("mtlsd_active_connections", 0);
        await server.waitForMetric(closedSeries("no_data"), (count) => count >= 1);
        const metrics = await server.metrics();
        assert.equal(metrics.get(closedSeries("no_data")), metrics.get("mtlsd_connections_total"));
        for (const [series, value] of metrics) {
          if (series.startsWith("mtlsd_tls_handshake_errors_total")) assert.equal(value, 0, series);
        }
        assert.equal(await server.stop(), 0);
        const told = server.lines.filter(({ fields }) => fields.conn !== undefined);
        assert.ok(told.every(({ fields }) => fields.level === "DEBUG"), server.log);
        assert.ok(told.every(({ fields }) => fields.msg === CLOSED && fields.reason === "no_data"));
        assert.equal(told.length, level === "debug" ? metrics.get(closedSeries("no_data")) : 0);
      });
    }
    assert.equal(backend.connections, 0);
  });
}

Deno.test("every line of a connection has its number, and its peer once that is known", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { server, client } = await testBed.tunnel(backend.address, {
    server: { acl: { deny_cn: ["other"] }, logging: { format: "json" } },
    client: { logging: { format: "json" } },
  });
  const plain = { port: client.port };
  for (let i = 0; i < 2; i++) {
    const conn = await Deno.connect(plain);
    await conn.closeWrite();
    assert.equal(await new Response(conn.readable).text(), "echo: ");
  }
  await attempt({
    ...testBed.as(server),
    identity: makeLeaf({ subject: "other" }, testBed.pki.ca),
  });
  await attempt({ port: server.port, ca: testBed.pki.ca.pem });
  await server.waitForMetric("mtlsd_connections_total", 4);
  for (const daemon of [server, client]) {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    assert.equal(await daemon.stop(), 0);
  }
  const byConn = (daemon: TestDaemon) =>
    Map.groupBy(
      daemon.lines.filter(({ fields }) => fields.conn !== undefined),
      ({ fields }) => fields.conn,
    );
  const told = (lines: readonly LogLine[]) =>
    lines.map(({ fields: { msg, peer_cn } }) => `${msg} ${peer_cn ?? "-"}`);
  await t.step("server mode", () => {
    const good = ["listener: accepted connection frontend-service", `${CLOSED} frontend-service`];
    assert.deepEqual([...byConn(server).values()].map(told), [
      good,
      good,
      ["listener: denied connection other", `${CLOSED} other`],
      ["listener: handshake failed -", `${CLOSED} -`],
    ]);
  });
  await t.step("client mode", () => {
    const peer = new X509Certificate(testBed.pki.server.pem).subject.match(/CN=(.+)/)?.[1];
    const good = [`dialer: connected ${peer}`, `dialer: connection closed ${peer}`];
    assert.deepEqual([...byConn(client).values()].map(told), [good, good]);
  });
  for (const { raw, fields } of [...server.lines, ...client.lines]) {
    if (/connection closed$/.test(fields.msg ?? "")) {
      assert.equal(typeof JSON.parse(raw).duration, "number", raw);
    }
    if (fields.conn !== undefined) assert.equal(typeof JSON.parse(raw).conn, "number", raw);
    // What unknown and known peers cause has a number.
    if (/connection|connected|handshake/.test(fields.msg ?? "")) assert.ok(fields.conn, raw);
  }
});
