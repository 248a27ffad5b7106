/**
 * Key updates of TLS 1.3 (RFC 8446 section 4.6.3) in the middle of a connection.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dialTcp } from "../../src/net/mod.ts";
import { admit, connOf, limits, pki, readSome, text, words } from "../support/tls/ends.ts";
import { until } from "../support/wait.ts";
import { CountingConn } from "../support/tls/memory_conn.ts";
import { greetAndEcho } from "../support/tls/listen.ts";
import { testEachBackend } from "../support/tls/backends.ts";
import { filesIn, peerFiles, Process, sServer } from "../support/openssl.ts";

const ROUNDS = 40;

/** `k`: the peer renews its own key; `K`: and asks for a new one of ours. */
const COMMANDS = ["k", "K"] as const;

testEachBackend(
  "openssl s_client renews keys while its words come and go",
  async ({ server, listen }) => {
    await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
    const own = server();
    await using listening = listen(() => own, greetAndEcho);
    await using peer = new Process("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${listening.port}`, "-tls1_3"],
      ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
      ...["-key", files.path("key.pem")],
    ]);
    await peer.says(/welcome\n/);
    for (let round = 0; round < ROUNDS; round++) {
      await peer.type(`${COMMANDS[round % COMMANDS.length]}\n`);
      // What is typed together is taken for words.
      await until(() => peer.said.split("KEYUPDATE").length > round + 1, "keys are new");
      await peer.type(`words of round ${round}.\n`);
      await peer.says(new RegExp(`words of round ${round}\\.\n`));
    }
    const result = await listening.next();
    assert(!(result instanceof Error), String(result));
  },
);

testEachBackend(
  "openssl s_server renews keys while our words come and go",
  async ({ client, tcp }) => {
    await using files = await filesIn(peerFiles(pki().server, [pki().ca]));
    await using peer = await sServer(
      ...["-tls1_3", "-CAfile", files.path("ca.pem")],
      ...["-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
    );
    const transport = await dialTcp({ host: "127.0.0.1", port: peer.port }, {
      timeout: 10_000,
      adopt: tcp,
    });
    const counting = new CountingConn(transport);
    const conn = connOf(await client().connect(counting, admit, limits()));
    // Tickets come with the first words.
    await peer.process.type("welcome\n");
    assert.equal(words(await readSome(conn, 8)), "welcome\n");
    for (let round = 0; round < ROUNDS; round++) {
      await conn.write(text(`ours of round ${round}.\n`));
      await peer.process.says(new RegExp(`ours of round ${round}\\.\n`));
      const wanted = `theirs of round ${round}.\n`;
      const before = counting.bytesRead;
      const reading = readSome(conn, wanted.length);
      await peer.process.type(`${COMMANDS[round % COMMANDS.length]}\n`);
      await until(() => counting.bytesRead > before, "the update has come");
      await peer.process.type(wanted);
      assert.equal(words(await reading), wanted);
    }
    conn.close();
  },
);
