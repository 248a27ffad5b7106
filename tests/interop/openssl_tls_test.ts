/**
 * Interoperation with peers that are not ours: both roles, both versions, every kind of key, with an
 * intermediate.
 *
 * @module
 */

import assert from "node:assert/strict";
import { TcpConn } from "../../src/net/mod.ts";
import { testPki } from "../support/pki.ts";
import {
  admit,
  bytesOf,
  client,
  connOf,
  limits,
  pki,
  readAll,
  readSome,
  refused,
  server,
  sha256,
  text,
  VERSIONS,
  words,
} from "../support/tls/ends.ts";
import { greetAndEcho, listen } from "../support/tls/listen.ts";
import { testEachBackend, testPublicAndNative } from "../support/tls/backends.ts";
import { filesIn, peerFiles, Process, sClient, sServer } from "../support/openssl.ts";

const FLAG = { "TLS1.2": "-tls1_2", "TLS1.3": "-tls1_3" } as const;

for (const kind of ["rsa2048", "p256", "p384", "ed25519"] as const) {
  const made = testPki({ kind, intermediate: true });
  for (const [version, protocol] of VERSIONS) {
    testPublicAndNative(`openssl s_client, ${kind}, ${version}`, async () => {
      await using files = await filesIn(peerFiles(made.client, [made.ca]));
      const own = server({ own: made.server, bundle: [made.ca] });
      await using listening = listen(() => own, greetAndEcho);
      await using peer = sClient(
        listening.port,
        ...[FLAG[version], "-verify_return_error", "-verify_hostname", "localhost"],
        ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
        ...["-cert_chain", files.path("cert.pem"), "-key", files.path("key.pem"), "-no_ign_eof"],
      );
      await peer.says(/welcome\n/);
      await peer.type("hello mtlsd\n");
      await peer.says(/hello mtlsd\n/);
      const result = await listening.next();
      assert(!(result instanceof Error), String(result));
      assert.equal(result.protocol, protocol);
      assert.deepEqual(result.peer?.certificate.der, made.client.der);
      await peer.endInput();
      assert.equal(await peer.ends(), 0, peer.said);
    });

    testPublicAndNative(`openssl s_server, ${kind}, ${version}`, async () => {
      await using files = await filesIn(peerFiles(made.server, [made.ca]));
      await using peer = await sServer(
        ...[FLAG[version], "-rev", "-Verify", "3", "-verify_return_error"],
        ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
        ...["-cert_chain", files.path("cert.pem"), "-key", files.path("key.pem")],
      );
      const socket = await Deno.connect({ hostname: "127.0.0.1", port: peer.port });
      const shaken = await client({ own: made.client, bundle: [made.ca] })
        .connect(new TcpConn(socket), admit, limits());
      assert.equal(shaken.protocol, protocol);
      assert.deepEqual(shaken.peer?.certificate.der, made.server.der);
      const conn = connOf(shaken);
      await conn.write(text("dltm olleh\n"));
      assert.equal(words(await readSome(conn, 11)), "hello mtld\n");
      await conn.closeWrite();
      conn.close();
    });
  }
}

for (const [version] of VERSIONS) {
  testPublicAndNative(`large transfers through openssl, both ways, ${version}`, async () => {
    const data = bytesOf(3_000_000, 12);
    await using files = await filesIn({ ...peerFiles(pki().client, [pki().ca]), data });
    const got: string[] = [];
    await using listening = listen(() => server(), async (conn) => {
      const [read] = await Promise.all([readSome(conn, data.length), conn.write(data)]);
      got.push(sha256(read));
      await conn.closeWrite(); // Not before: openssl leaves when it sees the end.
    });
    const script = `openssl s_client -connect 127.0.0.1:${listening.port} -quiet ${FLAG[version]} \
      -CAfile ${files.path("ca.pem")} -cert ${files.path("cert.pem")} \
      -key ${files.path("key.pem")} < ${files.path("data")} 2>/dev/null | sha256sum`;
    await using peer = new Process("sh", ["-c", script]);
    assert.equal(await peer.ends(), 0);
    assert.match(peer.said, new RegExp(`^${sha256(data)}`));
    assert.deepEqual(got, [sha256(data)]);
  });

  testPublicAndNative(`curl speaks HTTP through it, ${version}`, async () => {
    await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
    const body = "x".repeat(100_000);
    await using listening = listen(
      () => server({ max: version, min: version }),
      async (conn) => {
        for (let head = ""; !head.includes("\r\n\r\n");) {
          head += words(await conn.read() ?? assert.fail("no request"));
        }
        await conn.write(
          text(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`),
        );
        await conn.write(text(body));
        await conn.closeWrite();
        await readAll(conn);
      },
    );
    await using curl = new Process("curl", [
      ...["-sS", "--noproxy", "*", "-4", "--cacert", files.path("ca.pem")],
      ...["--cert", files.path("cert.pem"), "--key", files.path("key.pem")],
      `https://localhost:${listening.port}/`,
    ]);
    assert.equal(await curl.ends(), 0, curl.said);
    assert.equal(curl.said, body);
  });
}

testPublicAndNative(
  "openssl refuses our server where it does not trust it, and we learn why",
  async () => {
    await using files = await filesIn(peerFiles(pki().client, [testPki().ca]));
    await using listening = listen(() => server());
    await using peer = sClient(
      listening.port,
      ...["-verify_return_error", "-CAfile", files.path("ca.pem")],
    );
    assert.notEqual(await peer.ends(), 0);
    const error = await refused(Promise.reject(await listening.next()), "other");
    assert.match(error.message, /the peer refused us: .*(UnknownCA|DecryptError)/);
  },
);

testPublicAndNative(
  "openssl as a server refuses our client's certificate, and we learn it",
  async () => {
    const foreign = testPki();
    await using files = await filesIn(peerFiles(pki().server, [pki().ca]));
    for (const [version] of VERSIONS) {
      await using peer = await sServer(
        ...[FLAG[version], "-rev", "-Verify", "3", "-verify_return_error"],
        ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
        ...["-key", files.path("key.pem")],
      );
      const socket = await Deno.connect({ hostname: "127.0.0.1", port: peer.port });
      const dialling = client({ own: foreign.client }).connect(
        new TcpConn(socket),
        admit,
        limits(),
      );
      if (version === "TLS1.2") {
        await refused(dialling, "other");
      } else {
        // TLS 1.3: the client is done before the server has decided.
        const conn = connOf(await dialling);
        await assert.rejects(conn.read(), { fault: "protocol", message: /UnknownCA/ });
        conn.close();
      }
    }
  },
);

testEachBackend(
  "key updates and attempts to renegotiate do no harm",
  async ({ listen, server }) => {
    await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
    const shown = [
      ...["-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
      ...["-key", files.path("key.pem")],
    ];
    await using listening = listen(() => server(), greetAndEcho);
    const connect = ["s_client", "-connect", `127.0.0.1:${listening.port}`];
    await using modern = new Process("openssl", [...connect, "-tls1_3", ...shown]);
    await modern.says(/welcome/);
    for (let i = 0; i < 5; i++) {
      await modern.type("K\n"); // Asks for an update of ours, too.
      await modern.says(new RegExp(`(KEYUPDATE[^]*){${i + 1}}`));
      await modern.type(`after update ${i}\n`);
      await modern.says(new RegExp(`after update ${i}\n`));
    }
    await modern.type("Q\n");
    await modern.ends();

    await using old = new Process("openssl", [...connect, "-tls1_2", ...shown]);
    await old.says(/welcome/);
    await old.type("R\n");
    await old.says(/RENEGOTIATING[^]*no renegotiation/);
    await old.ends();
    await using next = new Process("openssl", [...connect, ...shown]);
    await next.says(/welcome/);
  },
);
