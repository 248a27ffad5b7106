/**
 * Handshakes in records of one byte. rustls holds 64 KB of a message, the headers and tags of its
 * records included: what fits is served, and for the rest no peer has to wait for the handshake's timeout.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dialTcp, listenTcp } from "../../src/net/mod.ts";
import { holder, VERSIONS } from "../support/adversary/arena.ts";
import { playClient } from "../support/adversary/client.ts";
import { playServer } from "../support/adversary/server.ts";
import { dns, type Issued, makeLeaf } from "../support/pki.ts";
import { PeerServer } from "../support/sockets.ts";
import { admit, limits, pki, readAll, refused, text, words } from "../support/tls/ends.ts";
import { testEachBackend } from "../support/tls/backends.ts";

/** Longer than a busy machine takes for anything here. */
const TIMEOUT = 60_000;

/** What makes the chain of one end about as long as this, in bytes. */
function filler(leaf: Issued, size: number): Issued {
  const name = (index: number) => dns(`${index}.${"x".repeat(50)}.example`);
  const names = (size - leaf.der.length - pki().server.der.length) / 64;
  return makeLeaf({ san: Array.from({ length: names }, (_, index) => name(index)) });
}

/** A chain's length. */
function lengthOf(chain: readonly Uint8Array[]): number {
  return chain.reduce((sum, der) => sum + der.length, 0);
}

/** Whether the chain fits, with records of one byte each. */
const CHAINS = [
  { size: 2400, fits: { "TLS1.2": true, "TLS1.3": true } },
  { size: 4700, fits: { "TLS1.2": true, "TLS1.3": false } },
] as const;

for (const version of VERSIONS) {
  for (const { size, fits } of CHAINS) {
    const outcome = fits[version] ? "served" : "refused";

    testEachBackend(
      `a client's chain of ${size} bytes in one-byte records, ${version}: ${outcome}`,
      async (way) => {
        const leaf = pki().client;
        const play = holder(leaf, filler(leaf, size));
        const length = lengthOf(play.chain ?? []);
        assert.ok(Math.abs(length - size) < 200, `${length} bytes`);
        const listener = listenTcp({ host: "127.0.0.1", port: 0 }, { adopt: way.tcp });
        const accepting = listener.accept().then(async (accepted) => {
          const running = way.server({ max: version }).accept(accepted, admit, limits(TIMEOUT));
          if (!fits[version]) return void await refused(running, "protocol");
          const { conn } = await running;
          assert.ok(conn !== undefined);
          await conn.pipeTo((bytes) => conn.write(bytes));
          await conn.closeWrite();
          conn.close();
        });
        try {
          const [seen] = await Promise.all([
            playClient(listener.port, version, {
              ...play,
              edit: (step, octets, line) => {
                line.fragment = step === "certificate" ? 1 : 16_000;
                return octets;
              },
            }),
            accepting,
          ]);
          assert.equal(seen.text !== "", fits[version]);
        } finally {
          listener.close();
        }
      },
    );

    testEachBackend(
      `a server's chain of ${size} bytes in one-byte records, ${version}: ${outcome}`,
      async (way) => {
        await using target = await PeerServer.listen();
        const leaf = pki().server;
        const chain = [leaf, filler(leaf, size)].map(({ der }) => der);
        assert.ok(Math.abs(lengthOf(chain) - size) < 200, `${lengthOf(chain)} bytes`);
        const transport = await dialTcp({ host: "127.0.0.1", port: target.port }, {
          timeout: TIMEOUT,
          adopt: way.tcp,
        });
        const running = way.client({ max: version }).connect(transport, admit, limits(TIMEOUT));
        const betraying = playServer(await target.peer(0), version, {
          chain,
          key: leaf.key,
          fragment: 1,
          welcome: "welcome",
        });
        if (fits[version]) {
          const { conn } = await running;
          assert.ok(conn !== undefined);
          await conn.write(text("hello"));
          assert.equal(words(await readAll(conn)), "welcome");
          conn.close();
        } else {
          await refused(running, "protocol");
        }
        assert.equal((await betraying).text, fits[version] ? "hello" : "");
      },
    );
  }
}
