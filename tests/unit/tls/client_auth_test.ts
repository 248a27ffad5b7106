/**
 * Whose certificate is asked for, and what becomes of those who show none or a bad one.
 *
 * @module
 */

import assert from "node:assert/strict";
import tls from "node:tls";
import type { Conn } from "../../../src/net/conn.ts";
import { makeLeaf, testPki } from "../../support/pki.ts";
import {
  admit,
  client,
  connOf,
  credentials,
  limits,
  pki,
  refused,
  server,
  untrustedClient,
  VERSIONS,
} from "../../support/tls/ends.ts";
import { CountingConn, duplexOf, memoryPair } from "../../support/tls/memory_conn.ts";
import { greetAndEcho, listen } from "../../support/tls/listen.ts";
import { filesIn, peerFiles, Process, sClient } from "../../support/openssl.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

const OPENSSL = { "TLS1.2": "-tls1_2", "TLS1.3": "-tls1_3" } as const;
const CURL = {
  "TLS1.2": ["--tlsv1.2", "--tls-max", "1.2"],
  "TLS1.3": ["--tlsv1.3"],
} as const;

for (const [version] of VERSIONS) {
  testPublicAndNative(
    `openssl without a certificate is told that one is required, ${version}`,
    async () => {
      await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
      await using listening = listen(() => server());
      await using peer = sClient(listening.port, OPENSSL[version], "-CAfile", files.path("ca.pem"));
      await peer.ends();
      assert.match(
        peer.said,
        /alert (certificate required|handshake failure|number 116)/,
        peer.said,
      );
      await refused(Promise.reject(await listening.next()), "no_certificate");
      const [first] = listening.results;
      assert.equal(first instanceof Error && first.message, "peer sent no certificate");
    },
  );

  testPublicAndNative(
    `curl without a certificate is told that one is required, ${version}`,
    async () => {
      await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
      await using listening = listen(() => server());
      const url = `https://localhost:${listening.port}/`;
      await using curl = new Process("curl", [
        ...["-sS", "--noproxy", "*", "-4", ...CURL[version], "--cacert", files.path("ca.pem"), url],
      ]);
      assert.notEqual(await curl.ends(), 0);
      assert.match(
        curl.said,
        /alert (certificate required|handshake failure|number 116)/,
        curl.said,
      );
      await refused(Promise.reject(await listening.next()), "no_certificate");
    },
  );

  testPublicAndNative(
    `a client of ours without a certificate is told so too, ${version}`,
    async () => {
      const [near, far] = memoryPair();
      const own = credentials(pki().client, [pki().ca]);
      const accepting = refused(
        server().accept(far, admit, limits()),
        "no_certificate",
      );
      const wire = duplexOf(near);
      const socket = tls.connect({
        socket: wire,
        ca: own.caPem ?? [],
        servername: "localhost",
        maxVersion: version === "TLS1.2" ? "TLSv1.2" : "TLSv1.3",
      });
      const error = await new Promise<Error>((done) => socket.on("error", done));
      assert.match(error.message, /CertificateRequired|HandshakeFailure/);
      socket.destroy();
      wire.destroy();
      await accepting;
    },
  );

  testPublicAndNative(
    `required: a foreign certificate is refused and gets nothing, ${version}`,
    async () => {
      const [near, far] = memoryPair();
      const wire = new CountingConn(far);
      let sent = 0;
      const dialling = client({ own: untrustedClient(), max: version }).connect(
        near,
        admit,
        limits(),
      )
        .catch((error: unknown) => error);
      const error = await refused(
        server({
          verify: () => {
            sent = wire.bytesWritten;
            return { ok: false, reason: "untrusted", detail: "the test says no" };
          },
        }).accept(wire, admit, limits()),
        "untrusted",
      );
      assert.equal(error.message, "the test says no");
      assert.equal(wire.bytesWritten, sent, "something left after the verdict");
      assert(far.isClosed);
      const result = await dialling;
      if (!(result instanceof Error)) {
        const { conn } = result as { conn: Conn };
        await assert.rejects(conn.read(), { fault: "truncated" });
        conn.close();
      }
    },
  );

  testPublicAndNative(`optional tells no certificate from a bad one, ${version}`, async () => {
    const optional = server({ clientAuth: "optional" });
    await using files = await filesIn(peerFiles(untrustedClient(), [pki().ca]));
    await using good = await filesIn(peerFiles(pki().client, [pki().ca]));
    await using listening = listen(() => optional);
    const trust = [OPENSSL[version], "-CAfile", files.path("ca.pem")];
    const shown = (dir: typeof files): string[] => [
      ...["-cert", dir.path("cert.pem"), "-key", dir.path("key.pem")],
    ];

    await using anonymous = sClient(listening.port, ...trust);
    await anonymous.says(/welcome/);
    const first = await listening.next();
    assert(!(first instanceof Error), String(first));
    assert.equal(first.peer, undefined);

    await using bad = sClient(listening.port, ...trust, ...shown(files));
    await bad.ends();
    assert.doesNotMatch(bad.said, /welcome/);
    await refused(Promise.reject(await listening.next()), "untrusted");

    await using known = sClient(listening.port, ...trust, ...shown(good));
    await known.says(/welcome/);
    const third = await listening.next();
    assert(!(third instanceof Error), String(third));
    assert.equal(third.peer?.certificate.subject.attributes.at(-1)?.value, "frontend-service");
  });

  testPublicAndNative(`none asks for no certificate, ${version}`, async () => {
    await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
    await using listening = listen(() => server({ clientAuth: "none", bundle: [] }));
    await using peer = new Process("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${listening.port}`, OPENSSL[version]],
      ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
      ...["-key", files.path("key.pem")],
    ]);
    await peer.says(/welcome/);
    assert.match(peer.said, /No client certificate CA names sent/);
    const result = await listening.next();
    assert(!(result instanceof Error), String(result));
    assert.equal(result.peer, undefined);
  });
}

testPublicAndNative(
  "bad certificates of every kind are refused where one is optional",
  async () => {
    const { ca } = pki();
    const day = 86_400_000;
    const past = new Date(Date.now() - day);
    const future = new Date(Date.now() + day);
    const cases = [
      ["expired", makeLeaf({ notBefore: new Date(0), notAfter: past }, ca)],
      ["not_yet_valid", makeLeaf({ notBefore: future }, ca)],
      ["bad_certificate", makeLeaf({ role: "server" }, ca)],
      ["untrusted", makeLeaf({ forged: true }, ca)],
      ["untrusted", makeLeaf()],
    ] as const;
    for (const [reason, own] of cases) {
      for (const clientAuth of ["optional", "required"] as const) {
        const [near, far] = memoryPair();
        const dialling = client({ own }).connect(near, admit, limits()).catch(() => undefined);
        const error = await refused(
          server({ clientAuth }).accept(far, () => assert.fail("decided"), limits()),
          reason,
        );
        assert.match(error.message, /certificate|chain/);
        (await dialling)?.conn?.close();
        near.close();
      }
    }
  },
);

testPublicAndNative(
  "a client of ours shows its certificate where it is optional, intermediates and all",
  async () => {
    const { ca, client: own, server: other } = testPki({ intermediate: true });
    const [near, far] = memoryPair();
    const [dialled, accepted] = await Promise.all([
      client({ own, bundle: [ca] }).connect(near, admit, limits()),
      server({ own: other, bundle: [ca], clientAuth: "optional" }).accept(far, admit, limits()),
    ]);
    assert.deepEqual(accepted.peer?.certificate.der, own.der);
    assert.deepEqual(dialled.peer?.certificate.der, other.der);
    connOf(dialled).close();
    connOf(accepted).close();
  },
);

testPublicAndNative("echo through openssl, both ways, until either side ends", async () => {
  await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
  await using listening = listen(() => server(), greetAndEcho);
  await using peer = sClient(
    listening.port,
    ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
    ...["-key", files.path("key.pem"), "-no_ign_eof"],
  );
  await peer.says(/welcome/);
  await peer.type("hello mtlsd\n");
  await peer.says(/hello mtlsd/);
  await peer.endInput();
  assert.equal(await peer.ends(), 0);
  const [result] = listening.results;
  assert(result !== undefined && !(result instanceof Error));
});
