/**
 * Which key exchange is used, as it stands on the wire: the hybrid X25519MLKEM768 with peers that prefer
 * it, in both roles; X25519 between two mtlsd, whose engine prefers that; and a curve of NIST's with
 * those that have neither. What the chapter on security says of it under "Post-quantum" is what is held here.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { EARLY, playClient } from "../support/adversary/client.ts";
import { hybridShare } from "../support/adversary/hybrid.ts";
import { playServer } from "../support/adversary/server.ts";
import { ROOT } from "../support/daemon.ts";
import { sClient, sServer } from "../support/openssl.ts";
import { echoBackend } from "../support/peers.ts";
import { pathOf } from "../support/pki.ts";
import { section } from "../support/readme.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { Peer, PeerServer } from "../support/sockets.ts";
import { GROUP, Tap } from "../support/tap.ts";

/** A server's ciphertext of ML-KEM-768 and its X25519 key. */
const HYBRID_LENGTH = 1088 + 32;

const WAYS: readonly (readonly [name: string, options: DaemonOptions])[] = [
  ["native handles", {}],
  ["public calls", { preload: join(ROOT, "tests/support/no_handles.ts") }],
];

for (const [way, options] of WAYS) {
  Deno.test(`a client that prefers the hybrid gets it (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, options);
    await using tap = new Tap(server.listen);
    const { client } = testBed.pki;
    const play = { chain: pathOf(client).map(({ der }) => der), key: client.key };
    const seen = await playClient(tap.port, "TLS1.3", { ...play, hybrid: await hybridShare() });
    assert.equal(seen.text, EARLY);
    const { retried, group, length } = await tap.keyExchange();
    assert.deepEqual([retried, group, length], [false, GROUP.hybrid, HYBRID_LENGTH]);
    // The same client without it.
    assert.equal((await playClient(tap.port, "TLS1.3", play)).text, EARLY);
    assert.equal((await tap.keyExchange()).group, GROUP.x25519);
  });

  Deno.test(`a server that asks for the hybrid gets it (${way})`, async () => {
    await using testBed = await TestBed.create();
    await using target = await PeerServer.listen();
    await using tap = new Tap(`127.0.0.1:${target.port}`);
    const daemon = await testBed.client(tap.address, options);
    const { server } = testBed.pki;
    const play = { chain: pathOf(server).map(({ der }) => der), key: server.key, welcome: "hello" };
    for (const hybrid of [true, false]) {
      const index = target.peers.length;
      await using caller = await Peer.connect(daemon.port);
      await caller.send("a secret");
      const played = playServer(await target.peer(index), "TLS1.3", { ...play, hybrid });
      await caller.receives("hello");
      caller.end();
      const { finished, text } = await played;
      assert.deepEqual([finished, text], [true, "a secret"]);
      const { groups, retried, group, length } = await tap.keyExchange();
      assert.ok(groups.includes(GROUP.hybrid));
      assert.deepEqual([retried, group], [hybrid, hybrid ? GROUP.hybrid : GROUP.x25519]);
      if (hybrid) assert.equal(length, HYBRID_LENGTH);
    }
  });

  Deno.test(`a client without the hybrid is served with what it has (${way})`, async (t) => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, options);
    const { ca, client, clientKey } = testBed.files;
    for (
      const [groups, group] of [
        ["X25519:P-256", GROUP.x25519],
        ["P-256", GROUP.p256],
        ["P-384", GROUP.p384],
      ] as const
    ) {
      await t.step(groups, async () => {
        await using tap = new Tap(server.listen);
        await using peer = sClient(
          tap.port,
          ...["-tls1_3", "-groups", groups, "-CAfile", ca, "-cert", client, "-key", clientKey],
        );
        await peer.type("hello\n");
        await peer.says(/hello\n/);
        assert.equal((await tap.keyExchange()).group, group);
      });
    }
  });

  Deno.test(`a server without the hybrid is talked to with what it has (${way})`, async (t) => {
    await using testBed = await TestBed.create();
    const { ca, server, serverKey } = testBed.files;
    for (
      const [groups, group, retried] of [
        ["X25519", GROUP.x25519, false],
        ["P-256", GROUP.p256, true],
        ["P-384", GROUP.p384, true],
      ] as const
    ) {
      await t.step(groups, async () => {
        await using peer = await sServer(
          ...["-rev", "-tls1_3", "-groups", groups, "-Verify", "3", "-verify_return_error"],
          ...["-CAfile", ca, "-cert", server, "-key", serverKey],
        );
        await using tap = new Tap(`127.0.0.1:${peer.port}`);
        const client = await testBed.client(tap.address, options);
        await using caller = await Peer.connect(client.port);
        await caller.send("hello\n");
        await caller.receives("olleh\n");
        const exchange = await tap.keyExchange();
        assert.deepEqual([exchange.group, exchange.retried], [group, retried]);
      });
    }
  });

  Deno.test(`between two mtlsd it is X25519, as the chapter says (${way})`, async () => {
    await using testBed = await TestBed.create();
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address, options);
    await using tap = new Tap(server.listen);
    const client = await testBed.client(tap.address, options);
    await using caller = await Peer.connect(client.port);
    await caller.send("hello\n");
    await caller.receives("hello\n");
    const exchange = await tap.keyExchange();
    // Should this become the hybrid, the chapter has to say so.
    assert.equal(exchange.group, GROUP.x25519);
    assert.match(section("Post-quantum"), /^\| another mtlsd +\| X25519: /m);
    assert.deepEqual(exchange.shares, [GROUP.x25519]);
    assert.deepEqual(exchange.groups, [GROUP.x25519, GROUP.p256, GROUP.p384, GROUP.hybrid]);
  });
}
