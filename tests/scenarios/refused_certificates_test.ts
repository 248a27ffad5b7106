/**
 * The log says of each refused certificate whose it is, what is wrong and what helps.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as der from "../support/der.ts";
import { ask, echoBackend } from "../support/peers.ts";
import { dns, extension, makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";

Deno.test("what a server says of clients' certificates that it refuses", async (t) => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const inter = makeCa({ subject: "inter", issuer: ca });
  const unknown = { extra: [extension("unknown", der.nil(), true)] };
  const v1 = makeCa({ subject: "inter", key: inter.key, issuer: ca, version: 1 });
  const below = makeLeaf({ role: "client", subject: "below" }, inter);
  const cases = {
    "an intermediate with one": {
      identity: below,
      cert: below.pem +
        makeCa({ subject: "inter", key: inter.key, issuer: ca, ...unknown }).pem,
      error:
        /CN=inter has a critical extension 1\.3\.6\.1\.4\.1\.55555\.1 that is not understood; it is certificate 2 of 2 shown/,
    },
    "an intermediate of version 1": {
      identity: below,
      cert: below.pem + v1.pem,
      error:
        /its issuer is CN=inter, which was shown as certificate 2 and cannot be used: it is an X\.509 v1/,
    },
    "no intermediate": {
      identity: below,
      error: /its issuer is CN=inter, which is neither in the bundle nor among those shown/,
    },
  };
  for (const [what, { error, ...peer }] of Object.entries(cases)) {
    await t.step(what, async () => {
      const from = server.lines.length;
      assert.equal(await ask({ ...testBed.as(server), ...peer }, "hello").catch(() => ""), "");
      await server.waitForLog("listener: handshake failed", { error }, from);
    });
  }
  // The TLS engine tells neither what it could not read nor why: the log names what it may be.
  await t.step("a critical extension that is not known", async () => {
    const odd = makeLeaf({ role: "client", subject: "odd", ...unknown }, ca);
    await testBed.write("odd.pem", odd.pem);
    await testBed.write("odd-key.pem", odd.keyPem);
    const from = server.lines.length;
    await new Deno.Command("openssl", {
      args: ["s_client", "-connect", server.listen, "-cert", "odd.pem", "-key", "odd-key.pem"],
      cwd: testBed.dir,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    await server.waitForLog("listener: handshake failed", {
      error: /cannot read .*critical extension that it does not know.*mtlsd explain --cert/,
    }, from);
  });
});

Deno.test("what a client says of servers' certificates that it refuses", async (t) => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const wrong = makeLeaf({ role: "server", subject: "db", san: [dns("other.example")] }, ca);
  await t.step("the names that it has", async () => {
    const cert = await testBed.write("wrong.pem", wrong.pem);
    const key = await testBed.write("wrong-key.pem", wrong.keyPem);
    const server = await testBed.server("127.0.0.1:9", { tls: { cert, key } });
    const client = await testBed.client(server.listen);
    const [host = "", port = ""] = client.listen.split(":");
    using conn = await Deno.connect({ hostname: host, port: Number(port) });
    await conn.read(new Uint8Array(1)).catch(() => null);
    await client.waitForLog("dialer: handshake failed", {
      error: /does not carry the name localhost; it carries DNS:other\.example$/,
    });
  });
});
