/**
 * The caller's decision comes before anything of our last flight, and its no is final.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Decide } from "../../../src/tls/handshake.ts";
import type { VerifiedPeer } from "../../../src/tls/peer_verifier.ts";
import {
  admit,
  client,
  connOf,
  failsWith,
  limits,
  pki,
  refused,
  server,
  VERSIONS,
} from "../../support/tls/ends.ts";
import { CountingConn, memoryPair } from "../../support/tls/memory_conn.ts";
import { listen } from "../../support/tls/listen.ts";
import { filesIn, peerFiles, sClient } from "../../support/openssl.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

type Peer = VerifiedPeer | undefined;

for (const [version] of VERSIONS) {
  for (const role of ["server", "client"] as const) {
    testPublicAndNative(
      `a peer that is not admitted gets nothing, ${role}, ${version}`,
      async () => {
        const [near, far] = memoryPair();
        const wire = new CountingConn(role === "server" ? far : near);
        let sent = -1;
        const deny: Decide<string> = (peer) => {
          assert(peer !== undefined);
          sent = wire.bytesWritten;
          return { admit: false, value: "denied by a rule" };
        };
        const end = role === "server" ? server({ max: version }) : client({ max: version });
        const other = role === "server"
          ? client().connect(near, admit, limits())
          : server().accept(far, admit, limits());
        const seen = other.catch((error: unknown) => error);
        const denied = "accept" in end
          ? await end.accept(wire, deny, limits())
          : await end.connect(wire, deny, limits());
        assert.equal(denied.value, "denied by a rule");
        assert.equal(denied.conn, undefined);
        assert.equal(denied.resumed, false);
        assert.equal(denied.protocol, version.replace("TLS", "TLSv"));
        const expected = role === "server" ? pki().client : pki().server;
        assert.deepEqual(denied.peer?.certificate.der, expected.der);
        assert((role === "server" ? far : near).isClosed);
        const result = await seen;
        assert.equal(wire.bytesWritten, sent, "something left after the decision");
        // TLS 1.3: the client was done before us. TLS 1.2: the server was. Otherwise it has failed.
        if (result instanceof Error) {
          assert.equal(Reflect.get(result, "reason"), "reset");
        } else {
          assert.equal(version, role === "server" ? "TLS1.3" : "TLS1.2");
          const conn = connOf(result as never);
          await failsWith(conn.read(), "truncated");
          conn.close();
        }
      },
    );

    for (const where of ["decide", "verify"] as const) {
      testPublicAndNative(`${where} throws: refused and closed, ${role}, ${version}`, async () => {
        const [near, far] = memoryPair();
        const [mine, theirs] = role === "server" ? [far, near] : [near, far];
        const cause = new RangeError("out of ideas");
        const throwing = (): never => {
          throw cause;
        };
        const options = where === "verify" ? { max: version, verify: throwing } : { max: version };
        const decide: Decide<Peer> = where === "decide" ? throwing : admit;
        const other = role === "server"
          ? client().connect(theirs, admit, limits())
          : server().accept(theirs, admit, limits());
        const seen = other.catch(() => undefined);
        const error = await refused(
          role === "server"
            ? server(options).accept(mine, decide, limits())
            : client(options).connect(mine, decide, limits()),
          "other",
        );
        assert.match(error.message, /out of ideas/);
        assert.equal(error.cause, cause);
        assert(mine.isClosed);
        (await seen)?.conn?.close();
      });
    }
  }

  testPublicAndNative(
    `a denied openssl client gets neither data nor ticket, ${version}`,
    async () => {
      await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
      await using listening = listen(
        () => server({ max: version }),
        undefined,
        (peer) => ({ admit: false, value: peer }),
      );
      await using peer = sClient(
        listening.port,
        ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
        ...["-key", files.path("key.pem"), "-sess_out", files.path("ticket")],
      );
      await peer.ends();
      assert.doesNotMatch(peer.said, /welcome/);
      await assert.rejects(Deno.stat(files.path("ticket")), Deno.errors.NotFound);
      const result = await listening.next();
      assert(!(result instanceof Error), String(result));
      assert.equal(result.conn, undefined);
    },
  );
}

testPublicAndNative(
  "the decision is asked once, and only about peers whose chain holds",
  async () => {
    let asked = 0;
    const counting: Decide<Peer> = (peer) => {
      asked++;
      return admit(peer);
    };
    const [near, far] = memoryPair();
    const [dialled, accepted] = await Promise.all([
      client().connect(near, admit, limits()),
      server().accept(far, counting, limits()),
    ]);
    assert.equal(asked, 1);
    connOf(dialled).close();
    connOf(accepted).close();
  },
);

testPublicAndNative("a peer without a certificate is decided about as nobody", async () => {
  for (const clientAuth of ["none", "optional"] as const) {
    for (const admitted of [true, false]) {
      await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
      const asked: Peer[] = [];
      await using listening = listen(() => server({ clientAuth }), undefined, (peer) => {
        asked.push(peer);
        return { admit: admitted, value: peer };
      });
      await using peer = sClient(listening.port, "-CAfile", files.path("ca.pem"));
      await peer.ends();
      assert.equal(/welcome/.test(peer.said), admitted);
      assert.deepEqual(asked, [undefined]);
    }
  }
});
