/**
 * The adversary's suite, protocol: peers that hold a good certificate but not its key, or the key but no
 * manners.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Arena, assertWholeLines, holder, VERSIONS } from "../support/adversary/arena.ts";
import { EARLY, playClient } from "../support/adversary/client.ts";
import { clientHello, type Version } from "../support/adversary/hello.ts";
import { MESSAGE, message, RECORD, vector } from "../support/adversary/octets.ts";
import { echoBackend } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { keyRows } from "./adversary/keys.ts";
import { protocolRows } from "./adversary/protocol.ts";

Deno.test("keys that the peer does not hold, and protocol abuse", async (t) => {
  await using testBed = await TestBed.create();
  const { ca, client } = testBed.pki;
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  const arena = new Arena({ daemon, backend, good: holder(client) });
  for (const row of [...keyRows(ca), ...protocolRows(client)]) {
    await t.step(row.name, () => arena.play(row));
  }
  assertWholeLines(daemon);
});

/** What a peer does once it was let in, to become another peer. */
const CHANGES: Readonly<Record<Version, Readonly<Record<string, Uint8Array>>>> = {
  "TLS1.2": { "renegotiation": clientHello("TLS1.2") },
  "TLS1.3": {
    "renegotiation": clientHello("TLS1.3"),
    "a certificate that nobody asked for": message(MESSAGE.certificate, vector(1), vector(3)),
  },
};

Deno.test("a peer that was let in and wants to be somebody else", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const daemon = await testBed.server(backend.address);
  const good = holder(testBed.pki.client);
  for (const version of VERSIONS) {
    for (const [name, octets] of Object.entries(CHANGES[version])) {
      await t.step(`${name}, ${version}`, async () => {
        const from = daemon.lines.length;
        const { connections, received } = backend;
        const heard: number[] = [];
        const { alerts } = await playClient(daemon.port, version, {
          ...good,
          afterwards: async (line) => {
            // The first attempt may be declined in peace; a second one need not be declined.
            for (let i = 0; i < 3; i++) line.put(RECORD.handshake, octets);
            line.put(RECORD.data, Buffer.from("now as somebody else"));
            await line.flush();
            for (let next = await line.next(); next !== undefined; next = await line.next()) {
              heard.push(next.type);
            }
          },
        });
        assert.deepEqual(heard, []);
        // no_renegotiation, unexpected_message: what the TLS engine had to say in time.
        assert.deepEqual(alerts.filter((alert) => alert !== 100 && alert !== 10), []);
        await daemon.waitForLog(
          "listener: connection closed",
          { reason: /^(error|peer_reset)$/ },
          from,
        );
        assert.equal(backend.connections, connections + 1);
        assert.equal(backend.received, received + EARLY.length);
        const accepted = daemon.lines.slice(from)
          .filter(({ fields }) => fields.msg === "listener: accepted connection");
        assert.equal(accepted.length, 1);
        assert.equal((await playClient(daemon.port, version, good)).text, EARLY);
      });
    }
    await t.step(`control: it goes on as itself, ${version}`, async () => {
      let said = "";
      await playClient(daemon.port, version, {
        ...good,
        afterwards: async (line) => {
          line.put(RECORD.data, Buffer.from("still me"));
          await line.flush();
          said = (await line.next())?.content.toString() ?? "";
        },
      });
      assert.equal(said, "still me");
    });
  }
});
