/**
 * What plain `node:tls` makes of clients without a certificate, or with a bad one.
 *
 * @module
 */

import assert from "node:assert/strict";
import tls from "node:tls";
import {
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  pki,
  untrustedClient,
} from "../../support/tls/ends.ts";
import { duplexOf, memoryPair } from "../../support/tls/memory_conn.ts";
import { plainServer } from "../../support/plain_tls.ts";
import { filesIn, peerFiles, Process, sClient } from "../../support/openssl.ts";

Deno.test("control: rejectUnauthorized: false lets bad certificates in and calls none one", async () => {
  const own = credentials(pki().server, [pki().ca]);
  const seen: [boolean, unknown][] = [];
  await using plain = await plainServer({
    cert: own.certPem,
    key: own.keyPem,
    ca: own.caPem ?? [],
    requestCert: true,
    rejectUnauthorized: false,
  }, (socket) => {
    seen.push([socket.authorized, socket.authorizationError]);
    socket.end("let in");
  });
  const bad = untrustedClient();
  await using files = await filesIn(peerFiles(bad, [pki().ca]));
  const trust = ["-CAfile", files.path("ca.pem")];
  await using shown = sClient(
    plain.port,
    ...trust,
    ...["-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
  );
  await shown.says(/let in/);
  await using none = sClient(plain.port, ...trust);
  await none.says(/let in/);
  assert.equal(seen[0]?.[0], false, DEFENCE_NO_LONGER_NEEDED);
  assert.equal(seen[1]?.[1], "UNABLE_TO_GET_ISSUER_CERT", DEFENCE_NO_LONGER_NEEDED);
});

Deno.test("control: a refused client of plain node:tls sees its handshake succeed, no alert", async () => {
  const own = credentials(pki().server, [pki().ca]);
  await using plain = await plainServer({
    cert: own.certPem,
    key: own.keyPem,
    ca: own.caPem ?? [],
    requestCert: true,
    rejectUnauthorized: true,
  }, (socket) => socket.end("let in"));
  await using files = await filesIn(peerFiles(untrustedClient(), [pki().ca]));
  await using peer = new Process("openssl", [
    ...["s_client", "-connect", `127.0.0.1:${plain.port}`, "-tls1_3"],
    ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
    ...["-key", files.path("key.pem")],
  ]);
  await peer.ends();
  assert.match(peer.said, /Verify return code: 0 \(ok\)/);
  assert.doesNotMatch(peer.said, /let in/);
  assert.doesNotMatch(peer.said, /alert/, DEFENCE_NO_LONGER_NEEDED);
});

Deno.test("control: destroying a Duplex on tlsClientError cuts off the alert", async () => {
  const own = credentials(pki().server, [pki().ca]);
  const plain = new tls.Server({
    cert: own.certPem,
    key: own.keyPem,
    ca: own.caPem ?? [],
    requestCert: true,
  });
  const [near, far] = memoryPair();
  const wire = duplexOf(far);
  const failed = new Promise<void>((done) =>
    plain.on("tlsClientError", (_error, socket) => {
      socket.destroy();
      wire.destroy();
      done();
    })
  );
  plain.emit("connection", wire);
  const dialled = duplexOf(near);
  const socket = tls.connect({
    socket: dialled,
    ca: own.caPem ?? [],
    servername: "localhost",
    maxVersion: "TLSv1.2",
  });
  const seen = new Promise<string>((done) => {
    socket.on("error", (error) => done(error.message));
    socket.on("close", () => done("closed"));
  });
  await failed;
  assert.doesNotMatch(await seen, /CertificateRequired|HandshakeFailure/, DEFENCE_NO_LONGER_NEEDED);
  socket.destroy();
  dialled.destroy();
});
