/**
 * ALPN on both sides: offered, negotiated, logged, and where nothing matches the alert that there is for
 * it; whichever way the TLS engine is driven.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { playServer, type ServerPlay } from "../support/adversary/server.ts";
import { helloExtension, MESSAGE, message, vector } from "../support/adversary/octets.ts";
import { BridgeTestBed } from "../support/bridge_testbed.ts";
import { ask, echoBackend, lineBackend, sh } from "../support/peers.ts";
import { plainServer } from "../support/plain_tls.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";

const REFUSED = 'mtlsd_tls_handshake_errors_total{reason="protocol"}';

const NO_HANDLES = fileURLToPath(new URL("../support/no_handles.ts", import.meta.url));

/** Both ways to drive the TLS engine. */
const WAYS = [
  { way: "native", options: {} },
  { way: "public", options: { preload: NO_HANDLES } },
] as const;

/** What `openssl s_client` says of a handshake. */
async function handshake(testBed: TestBed, port: number, args: string): Promise<string> {
  const { stdout, stderr } = await sh(
    `echo | openssl s_client -connect 127.0.0.1:${port} -servername localhost -CAfile ca.pem \
     -cert client.pem -key client-key.pem ${args}`,
    { cwd: testBed.dir },
  );
  return stdout + stderr;
}

for (const { way, options } of WAYS) {
  Deno.test(`alpn: what is offered is agreed on, by the server's order (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, {
      ...options,
      tls: { alpn: ["h2", "http/1.1"] },
      logging: { level: "debug" },
    });
    await server.waitForLog("carrying connections", { tls: way });
    const rows = [
      ["-alpn h2", "h2"],
      ["-alpn http/1.1", "http/1.1"],
      ["-alpn http/1.1,h2", "h2"],
      ["-alpn foo,http/1.1", "http/1.1"],
    ] as const;
    for (const version of ["-tls1_2", "-tls1_3"]) {
      for (const [offer, agreed] of rows) {
        const from = server.lines.length;
        const said = await handshake(testBed, server.port, `${offer} ${version}`);
        assert.match(said, new RegExp(`ALPN protocol: ${agreed}\n`), said);
        await server.waitForLog("listener: accepted connection", { alpn: agreed }, from);
      }
      // Who says nothing of it gets in.
      const from = server.lines.length;
      assert.match(await handshake(testBed, server.port, version), /No ALPN negotiated/);
      const accepted = await server.waitForLog("listener: accepted connection", {}, from);
      assert.equal(accepted.fields.alpn, undefined);
    }
    assert.equal((await server.metrics()).get(REFUSED), 0);
  });

  Deno.test(`alpn: where nothing matches, alert 120 and no connection (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, {
      ...options,
      tls: { alpn: ["h2"] },
    });
    const offers = ["foo", "H2", "h2c", "http/1.1,foo"];
    let count = 0;
    for (const version of ["-tls1_2", "-tls1_3"]) {
      for (const offer of offers) {
        const from = server.lines.length;
        const said = await handshake(testBed, server.port, `-alpn ${offer} ${version}`);
        assert.match(said, /alert no application protocol.*SSL alert number 120/s, said);
        const failed = await server.waitForLog("listener: handshake failed", {}, from);
        assert.equal(failed.fields.reason, "protocol", failed.raw);
        assert.match(failed.fields.error ?? "", /the client offers none of tls\.alpn/, failed.raw);
        await server.waitForMetric(REFUSED, ++count);
      }
    }
    assert.equal(backend.connections, 0);
  });

  Deno.test(`alpn: client mode offers, and goes on without an answer (${way})`, async () => {
    await using testBed = await TestBed.create();
    const target = testBed.use(lineBackend()).address;
    const rows = [
      [["http/1.1", "h2"], ["h2", "http/1.1"], "http/1.1"],
      [["h2"], ["h2"], "h2"],
      // The server does not know the extension.
      [[], ["h2"], undefined],
      [["h2"], [], undefined],
    ] as const;
    for (const [accepts, offers, agreed] of rows) {
      const server = await testBed.server(target, { ...options, tls: { alpn: accepts } });
      const client = await testBed.client(server.listen, { ...options, tls: { alpn: offers } });
      await using peer = await Peer.connect(client.port);
      await peer.send("hello");
      peer.end();
      await peer.receives("echo: hello");
      const dialled = await client.waitForLog("dialer: connected");
      assert.equal(dialled.fields.alpn, agreed);
      const accepted = await server.waitForLog("listener: accepted connection");
      assert.equal(accepted.fields.alpn, agreed);
      await client.stop();
      await server.stop();
    }
  });

  Deno.test(`alpn: client mode says so where the server accepts none of its own (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(lineBackend());
    const server = await testBed.server(backend.address, { ...options, tls: { alpn: ["h2"] } });
    const client = await testBed.client(server.listen, { ...options, tls: { alpn: ["http/1.1"] } });
    await using peer = await Peer.connect(client.port);
    await peer.send("hello");
    await peer.ended();
    assert.equal(peer.received, 0);
    const failed = await client.waitForLog("dialer: handshake failed");
    assert.match(failed.fields.error ?? "", /it takes none of tls\.alpn/);
    await client.waitForMetric('mtlsd_connections_closed_total{reason="dial_failed"}', 1);
    assert.equal(backend.connections, 0);
  });

  Deno.test(`alpn: a server that picks what was not offered hears nothing (${way})`, async () => {
    await using testBed = await TestBed.create();
    const target = testBed.use(await PeerServer.listen());
    const { server: { der, key } } = testBed.pki;
    const honest: ServerPlay = { chain: [der], key, welcome: "welcome" };
    let index = 0;
    for (const [offers, picks, good] of [["h2", "h2", true], ["h2", "evil", false]] as const) {
      const client = await testBed.client(target.address, { ...options, tls: { alpn: [offers] } });
      await using peer = await Peer.connect(client.port);
      void peer.send("a secret");
      peer.end();
      const betrayed = await playServer(await target.peer(index++), "TLS1.3", {
        ...honest,
        edit: (step, octets) =>
          step === "hello" && octets[0] === MESSAGE.encryptedExtensions ? picking(picks) : octets,
      });
      await peer.ended();
      assert.equal(betrayed.text, good ? "a secret" : "");
      assert.equal(betrayed.finished, good);
      assert.equal(peer.text, good ? "welcome" : "");
      if (!good) {
        const failed = await client.waitForLog("dialer: handshake failed");
        assert.equal(failed.fields.reason, "protocol", failed.raw);
      }
      await client.stop();
    }
  });
}

/** The message with which a server picks a protocol (RFC 7301). */
function picking(protocol: string): Buffer {
  const list = vector(2, vector(1, Buffer.from(protocol)));
  return message(MESSAGE.encryptedExtensions, vector(2, helloExtension(16, list)));
}

Deno.test("alpn: a bridge negotiates on each side for itself", async () => {
  await using gateway = await BridgeTestBed.create();
  const { ca, server } = gateway.targetPki;
  const own = { cert: server.pem, key: server.keyPem, ca: ca.pem, requestCert: true };
  const seen: (string | false | null)[] = [];
  const echo = await plainServer({ ...own, ALPNProtocols: ["h2"], allowHalfOpen: true }, (it) => {
    seen.push(it.alpnProtocol);
    it.pipe(it);
  });
  gateway.testBed.use(echo);
  const bridge = await gateway.bridge(`127.0.0.1:${echo.port}`, {
    tls: { alpn: ["http/1.1"] },
    upstream_tls: { alpn: ["h2"] },
  });
  const said = await handshake(gateway.testBed, bridge.port, "-alpn http/1.1");
  assert.match(said, /ALPN protocol: http\/1\.1/);
  await bridge.waitForLog("listener: accepted connection", { alpn: "http/1.1" });
  await bridge.waitForLog("dialer: connected", { alpn: "h2" });
  assert.deepEqual(seen, ["h2"]);
  assert.match(await handshake(gateway.testBed, bridge.port, "-alpn h2"), /SSL alert number 120/);
  assert.equal(seen.length, 1);
  assert.equal(await ask(gateway.as(bridge), "hello"), "hello");
});
