/**
 * Servers that mean harm, against client mode: not one byte of its callers reaches them, each is
 * counted with its reason and logged, the caller's connection is closed, and the real server is used
 * right after.
 *
 * @module
 */

import assert from "node:assert/strict";
import type tls from "node:tls";
import type { Channel } from "../../src/channel.ts";
import { listenTcp } from "../../src/net.ts";
import type { HandshakeReason } from "../../src/proxy/outcome.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { dns, type Issued, makeCa, makeKey, makeLeaf, type TestPki } from "../support/pki.ts";
import { Scene } from "../support/scene.ts";
import { Peer } from "../support/sockets.ts";
import { admit, limits, server as tlsServer } from "../tls/support.ts";
import { plainServer } from "../support/plain_tls.ts";
import { p256Signer, type RogueOptions, rogueServer } from "../tls/support_rogue.ts";

const DAY = 86_400_000;
const errors = (reason: HandshakeReason) => `mtlsd_tls_handshake_errors_total{reason="${reason}"}`;

/** An impostor: what it shows, how it signs, and how client mode is to name it. */
type Impostor = {
  readonly name: string;
  readonly reason: HandshakeReason;
  /** Where it is one that a TLS library can serve with. */
  readonly leaf?: Issued;
} & RogueOptions;

function impostors({ ca, server }: TestPki): readonly Impostor[] {
  const now = Date.now();
  const past = { notBefore: new Date(now - 2 * DAY), notAfter: new Date(now - DAY) };
  const future = { notBefore: new Date(now + DAY), notAfter: new Date(now + 2 * DAY) };
  const made = (
    name: string,
    reason: HandshakeReason,
    options: Parameters<typeof makeLeaf>[0],
    issuer: Issued | undefined = ca,
  ): Impostor => {
    const san = [dns("localhost")];
    const leaf = makeLeaf({ role: "server", subject: "localhost", san, ...options }, issuer);
    return { name, reason, leaf, chain: [leaf.der], sign: p256Signer(leaf.key) };
  };
  return [
    made("a forged v1 certificate that names the CA", "bad_certificate", {
      version: 1,
      forged: true,
    }),
    made("a forged certificate that names the CA", "untrusted", { forged: true }),
    made("another name", "name_mismatch", { san: [dns("other.example")] }),
    made("the name in the CN only", "name_mismatch", { san: [] }),
    made("another CA", "untrusted", {}, makeCa({ subject: "another CA" })),
    made("a CA of the same name", "untrusted", {}, makeCa()),
    made("expired", "expired", past),
    made("not yet valid", "not_yet_valid", future),
    made("for clients only", "bad_certificate", { role: "client" }),
    { name: "no key: a signature of zeros", reason: "untrusted", chain: [server.der] },
    {
      name: "no key: another one",
      reason: "untrusted",
      chain: [server.der],
      sign: p256Signer(makeKey()),
    },
    { name: "no certificate at all", reason: "no_certificate", chain: [] },
  ];
}

/** Sends a secret through client mode and waits until the daemon has closed the connection. */
async function betray(client: TestDaemon): Promise<void> {
  await using caller = await Peer.connect(client.port);
  await caller.send("the caller's secret");
  caller.end();
  await caller.ended();
  assert.equal(caller.received, 0);
}

Deno.test("impostors of client mode's target", async (t) => {
  await using scene = await Scene.create();
  const { pki } = scene;
  const listener = listenTcp({ host: "127.0.0.1", port: 0 });
  using _closing = { [Symbol.dispose]: () => listener.close() };
  const client = await scene.client(listener.address);
  for (const { name, reason, leaf: _leaf, ...options } of impostors(pki)) {
    await t.step(name, async () => {
      const from = client.lines.length;
      const accepting = listener.accept();
      const betrayed = betray(client);
      const transport: Channel = await accepting;
      const result = await rogueServer(transport, options);
      transport.close();
      await betrayed;
      assert.equal(result.plaintext.length, 0);
      assert.equal(result.finished, false);
      assert.equal(result.certificates.length, 0);
      const { fields } = await client.waitForLog("dialer: handshake failed", {}, from);
      assert.equal(fields.reason, reason, `${fields.reason}: ${fields.error}`);
      await client.waitForMetric("mtlsd_active_connections", 0);

      // The real one is let in right after.
      const real = listener.accept();
      await using caller = await Peer.connect(client.port);
      const { channel } = await tlsServer({ own: pki.server, bundle: [pki.ca] })
        .accept(await real, admit, limits());
      assert.ok(channel !== undefined);
      await channel.write(new TextEncoder().encode("welcome"));
      await caller.receives("welcome");
      channel.close();
    });
  }
  const counted = await client.metrics();
  for (const [reason, all] of Map.groupBy(impostors(pki), (impostor) => impostor.reason)) {
    assert.equal(counted.get(errors(reason)), all.length, reason);
  }
});

Deno.test("impostors of client mode's target under TLS 1.2", async (t) => {
  await using scene = await Scene.create();
  const { pki } = scene;
  for (const { name, reason, leaf } of impostors(pki)) {
    if (leaf === undefined) continue;
    await t.step(name, async () => {
      let received = 0;
      await using impostor = await plainServer(
        {
          cert: leaf.pem,
          key: leaf.keyPem,
          maxVersion: "TLSv1.2",
        },
        (socket: tls.TLSSocket) =>
          socket.on("data", (bytes: Uint8Array) => received += bytes.length),
      );
      await using client = await scene.client(`127.0.0.1:${impostor.port}`);
      await betray(client);
      const { fields } = await client.waitForLog("dialer: handshake failed");
      assert.equal(fields.reason, reason, `${fields.reason}: ${fields.error}`);
      await client.waitForMetric(errors(reason), 1);
      assert.equal(received, 0);
    });
  }
});

Deno.test("client mode against servers that speak no TLS, or an old one", async (t) => {
  await using scene = await Scene.create();
  const listener = listenTcp({ host: "127.0.0.1", port: 0 });
  using _closing = { [Symbol.dispose]: () => listener.close() };
  const client = await scene.client(listener.address);
  const answers: Record<string, readonly [Uint8Array, HandshakeReason]> = {
    "plaintext": [new TextEncoder().encode("220 mail.example ESMTP\r\n"), "protocol"],
    "an alert": [Uint8Array.of(21, 3, 3, 0, 2, 2, 40), "other"],
    "a record that is too long": [
      Uint8Array.of(22, 3, 3, 0xff, 0xff, ...new Uint8Array(65_535)),
      "protocol",
    ],
    "nothing, and an end": [new Uint8Array(0), "reset"],
  };
  for (const [name, [answer, reason]] of Object.entries(answers)) {
    await t.step(name, async () => {
      const from = client.lines.length;
      const accepting = listener.accept();
      const betrayed = betray(client);
      const transport = await accepting;
      const hello = await transport.read();
      assert.equal(hello?.[0], 22);
      await transport.write(answer);
      await transport.closeWrite();
      await betrayed;
      let rest = "";
      for (let bytes = await transport.read(); bytes !== null; bytes = await transport.read()) {
        rest += new TextDecoder().decode(bytes);
      }
      transport.close();
      assert.ok(!rest.includes("secret"));
      const { fields } = await client.waitForLog("dialer: handshake failed", {}, from);
      assert.equal(fields.reason, reason, `${fields.reason}: ${fields.error}`);
    });
  }
});
