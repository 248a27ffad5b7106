/**
 * Verification takes its time, and nothing moves meanwhile: nothing leaves, nothing is read, and what
 * counts is the trust of the moment of the decision.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { VerificationResult, VerifyPeer } from "../../../src/tls/peer_verifier.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import {
  admit,
  client,
  connOf,
  limits,
  pki,
  readSome,
  refused,
  server,
  text,
  verified,
  VERSIONS,
  words,
} from "../../support/tls/ends.ts";
import { until } from "../../support/wait.ts";
import { CountingConn, memoryPair } from "../../support/tls/memory_conn.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

/** Answers when the test says so; an answer holds for whoever asks again in its turn. */
function slowly(): {
  verify: VerifyPeer;
  asked: number;
  answer: (verdict: VerificationResult) => void;
} {
  let waiting: ((verdict: VerificationResult) => void)[] = [];
  let known: VerificationResult | undefined;
  const slow = {
    asked: 0,
    verify: (): VerificationResult | Promise<VerificationResult> => {
      slow.asked++;
      return known ?? new Promise((resolve) => waiting.push(resolve));
    },
    answer: (verdict: VerificationResult) => {
      known = verdict;
      for (const resolve of waiting) resolve(verdict);
      waiting = [];
    },
  };
  return slow;
}

const good = (role: "client" | "server"): VerificationResult => ({
  ok: true,
  peer: verified(parseCertificate(pki()[role].der)),
});

const no: VerificationResult = { ok: false, reason: "untrusted", detail: "the test says no" };

for (const [version] of VERSIONS) {
  for (const role of ["server", "client"] as const) {
    const peerRole = role === "server" ? "client" : "server";
    const start = (slow: { verify: VerifyPeer }, timeout?: number, signal?: AbortSignal) => {
      const [near, far] = memoryPair();
      const [mine, theirs] = role === "server" ? [far, near] : [near, far];
      const wire = new CountingConn(mine);
      const options = { max: version, verify: slow.verify };
      const bounds = limits(timeout, signal);
      const ours = role === "server"
        ? server(options).accept(wire, admit, bounds)
        : client(options).connect(wire, admit, bounds);
      const other = role === "server"
        ? client().connect(theirs, admit, limits())
        : server().accept(theirs, admit, limits());
      return { ours, other: other.catch(() => undefined), wire, mine };
    };

    testPublicAndNative(
      `nothing leaves while a peer is verified, ${role}, ${version}`,
      async () => {
        const slow = slowly();
        const { ours, other, wire } = start(slow);
        await until(() => slow.asked > 0, "the chain is verified");
        const sent = wire.bytesWritten;
        for (let turns = 0; turns < 20; turns++) await new Promise((done) => setTimeout(done, 0));
        assert.equal(wire.bytesWritten, sent);
        slow.answer(good(peerRole));
        const conn = connOf(await ours);
        const peer = (await other)?.conn;
        assert(peer);
        await peer.write(text("hello"));
        assert.equal(words(await readSome(conn, 5)), "hello");
        await conn.write(text("and back"));
        assert.equal(words(await readSome(peer, 8)), "and back");
        conn.close();
        peer.close();
      },
    );

    testPublicAndNative(
      `who is refused later gets nothing either, ${role}, ${version}`,
      async () => {
        const slow = slowly();
        const { ours, other, wire, mine } = start(slow);
        await until(() => slow.asked > 0, "the chain is verified");
        const sent = wire.bytesWritten;
        slow.answer(no);
        const error = await refused(ours, "untrusted");
        assert.equal(error.message, "the test says no");
        assert.equal(wire.bytesWritten, sent, "something left");
        assert(mine.isClosed);
        (await other)?.conn?.close();
      },
    );

    testPublicAndNative(`a yes that no longer holds is none, ${role}, ${version}`, async () => {
      // Good when it was asked, and replaced by another trust before the decision.
      let asked = 0;
      const { ours, other } = start({
        verify: () => asked++ === 0 ? Promise.resolve(good(peerRole)) : no,
      });
      const error = await refused(ours, "untrusted");
      assert.equal(error.message, "the test says no");
      assert.equal(asked, 2);
      (await other)?.conn?.close();
    });

    testPublicAndNative(
      `a trust that never holds still lets in nobody, ${role}, ${version}`,
      async () => {
        const { ours, other } = start({ verify: () => Promise.resolve(good(peerRole)) });
        await refused(ours, "other");
        (await other)?.conn?.close();
      },
    );

    testPublicAndNative(`a verification that fails refuses, ${role}, ${version}`, async () => {
      const { ours, other } = start({ verify: () => Promise.reject(new Error("out of ideas")) });
      assert.match((await refused(ours, "other")).message, /out of ideas/);
      (await other)?.conn?.close();
    });

    testPublicAndNative(
      `the deadline holds for the verification, ${role}, ${version}`,
      async () => {
        const slow = slowly();
        const { ours, other, wire, mine } = start(slow, 300);
        await until(() => slow.asked > 0, "the chain is verified");
        const sent = wire.bytesWritten;
        await refused(ours, "timeout");
        slow.answer(good(peerRole));
        await new Promise((done) => setTimeout(done, 0));
        assert.equal(wire.bytesWritten, sent, "something left");
        assert(mine.isClosed);
        (await other)?.conn?.close();
      },
    );

    testPublicAndNative(`a cut ends the verification, ${role}, ${version}`, async () => {
      const cut = new AbortController();
      let signal: AbortSignal | undefined;
      const { ours, other, mine } = start(
        {
          verify: (_chain, asker) => {
            signal = asker.signal;
            return new Promise(() => {});
          },
        },
        undefined,
        cut.signal,
      );
      await until(() => signal !== undefined, "the chain is verified");
      assert.equal(signal?.aborted, false);
      cut.abort();
      await refused(ours, "other");
      assert.equal(signal?.aborted, true);
      assert(mine.isClosed);
      (await other)?.conn?.close();
    });
  }

  testPublicAndNative(`what comes with the last of the handshake is kept, ${version}`, async () => {
    const slow = slowly();
    const [near, far] = memoryPair();
    const accepting = server({ max: version, verify: slow.verify }).accept(far, admit, limits());
    const dialling = client({ max: version }).connect(near, admit, limits());
    if (version === "TLS1.3") {
      // The client is done before the server, and may speak at once.
      const peer = connOf(await dialling);
      await peer.write(text("at once"));
      await until(() => slow.asked > 0, "the chain is verified");
      slow.answer(good("client"));
      const conn = connOf(await accepting);
      assert.equal(words(await readSome(conn, 7)), "at once");
      conn.close();
      peer.close();
    } else {
      await until(() => slow.asked > 0, "the chain is verified");
      slow.answer(good("client"));
      const conn = connOf(await accepting);
      const peer = connOf(await dialling);
      await peer.write(text("at once"));
      assert.equal(words(await readSome(conn, 7)), "at once");
      conn.close();
      peer.close();
    }
  });

  testPublicAndNative(
    `a peer that floods is not read while it is verified, ${version}`,
    async () => {
      if (version === "TLS1.2") return; // Its client waits for our Finished.
      const slow = slowly();
      const [near, far] = memoryPair();
      const wire = new CountingConn(far);
      const accepting = server({ verify: slow.verify }).accept(wire, admit, limits());
      const peer = connOf(await client().connect(near, admit, limits()));
      await until(() => slow.asked > 0, "the chain is verified");
      const read = wire.bytesRead;
      const flood = (async () => {
        for (let i = 0; i < 64; i++) await peer.write(new Uint8Array(16 * 1024));
      })().catch(() => {});
      for (let turns = 0; turns < 50; turns++) await new Promise((done) => setTimeout(done, 0));
      assert(wire.bytesRead - read <= 64 * 1024, `${wire.bytesRead - read} bytes were read`);
      slow.answer(no);
      await refused(accepting, "untrusted");
      peer.close();
      await flood;
    },
  );
}
