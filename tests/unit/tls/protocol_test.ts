/**
 * Peers that speak something else, another version, or only in alerts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TcpConn } from "../../../src/net/mod.ts";
import {
  admit,
  bytesOf,
  client,
  connOf,
  failsWith,
  limits,
  pki,
  readAll,
  refused,
  server,
  text,
  VERSIONS,
  words,
} from "../../support/tls/ends.ts";
import { CountingConn, memoryPair } from "../../support/tls/memory_conn.ts";
import { listen } from "../../support/tls/listen.ts";
import { filesIn, peerFiles, Process, sClient } from "../../support/openssl.ts";
import { readHello } from "../../support/tls/rogue_server.ts";
import {
  testEachBackend,
  testEachTlsBackend,
  testPublicAndNative,
} from "../../support/tls/backends.ts";

/** A record with an alert in it, in the clear (RFC 8446 section 6). */
const alert = (level: number, description: number): Uint8Array =>
  Uint8Array.of(21, 3, 3, 0, 2, level, description);

/** The ClientHello of an openssl that knows this version only. */
async function helloOf(...flags: readonly string[]): Promise<Uint8Array> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using peer = sClient(listener.addr.port, ...flags);
  const socket = await listener.accept();
  listener.close();
  const buffer = new Uint8Array(4096);
  const size = await socket.read(buffer);
  socket.close();
  await peer.ends();
  assert(size !== null && buffer[0] === 22, peer.said);
  return buffer.slice(0, size);
}

/** Sends bytes to a server of ours; gives its refusal and what it answered. */
async function send(bytes: Uint8Array): Promise<{ answer: Uint8Array; message: string }> {
  const [near, far] = memoryPair();
  const accepting = refused(server().accept(far, () => assert.fail("decided"), limits()), [
    "protocol",
    "other",
  ]);
  await near.write(bytes);
  const answer = await readAll(near);
  near.close();
  const error = await accepting;
  assert(far.isClosed);
  return { answer, message: `${error.reason}: ${error.message}` };
}

function isFatalAlert(answer: Uint8Array, what: string): void {
  assert.deepEqual([...answer.subarray(0, 2)], [21, 3], `${what}: ${answer.toHex()}`);
  assert.equal(answer[5], 2, `${what}: ${answer.toHex()}`);
}

const HTTP = text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");

testPublicAndNative("plaintext and garbage are answered with an alert: protocol", async () => {
  const cases = {
    "an HTTP request": HTTP,
    "an SSH banner": text("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "random bytes": bytesOf(300, 7),
    "zeroes": new Uint8Array(100),
    "application data": Uint8Array.of(23, 3, 3, 0, 5, 1, 2, 3, 4, 5),
    "an empty handshake record": Uint8Array.of(22, 3, 1, 0, 0),
    "a record that is too long": Uint8Array.of(22, 3, 1, 0xff, 0xff, ...bytesOf(1000)),
    "a hello of nothing": Uint8Array.of(22, 3, 1, 0, 4, 1, 0, 0, 0),
    "a ServerHello": Uint8Array.of(22, 3, 1, 0, 4, 2, 0, 0, 0),
    "an SSLv2 hello": Uint8Array.of(0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    const { answer, message } = await send(bytes);
    assert.match(message, /^protocol: /, what);
    isFatalAlert(answer, what);
  }
});

testPublicAndNative("TLS 1.0 and 1.1 are refused with an alert: protocol", async () => {
  for (const flag of ["-tls1", "-tls1_1"]) {
    // At security level 0 openssl still speaks them.
    const hello = await helloOf(flag, "-cipher", "ALL:@SECLEVEL=0");
    const { answer, message } = await send(hello);
    assert.match(message, /^protocol: /);
    isFatalAlert(answer, flag);
  }
});

testPublicAndNative(
  "a plain HTTP client over TCP gets an alert and a close, and ours a reason",
  async () => {
    await using listening = listen(() => server());
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: listening.port });
    await socket.write(HTTP);
    const answer = new Uint8Array(64);
    const size = await socket.read(answer);
    isFatalAlert(answer.subarray(0, size ?? 0), "HTTP");
    assert.equal(await socket.read(answer), null);
    socket.close();
    await refused(Promise.reject(await listening.next()), "protocol");
  },
);

testPublicAndNative(
  "a server that does not speak TLS: protocol, and it gets no more than a hello",
  async () => {
    for (const bytes of [text("HTTP/1.1 400 Bad Request\r\n\r\n"), bytesOf(64, 3), HTTP]) {
      const [near, far] = memoryPair();
      const wire = new CountingConn(near);
      const dialling = refused(client().connect(wire, admit, limits()), "protocol");
      assert((await far.read())?.length);
      await far.write(bytes);
      const rest = await readAll(far);
      far.close();
      await dialling;
      assert(rest.length < 10, "an alert at most");
    }
  },
);

for (const [version] of VERSIONS) {
  const other = version === "TLS1.2" ? "TLS1.3" : "TLS1.2";
  const flag = { "TLS1.2": "-tls1_2", "TLS1.3": "-tls1_3" }[other];

  testPublicAndNative(`a server for ${version} only refuses ${other}`, async () => {
    await using files = await filesIn(peerFiles(pki().client, [pki().ca]));
    await using listening = listen(() => server({ min: version, max: version }));
    await using peer = sClient(
      listening.port,
      ...[flag, "-CAfile", files.path("ca.pem"), "-cert", files.path("cert.pem")],
      ...["-key", files.path("key.pem")],
    );
    await peer.ends();
    assert.match(peer.said, /alert protocol version/);
    await refused(Promise.reject(await listening.next()), "protocol");
  });

  testPublicAndNative(`a client for ${version} only refuses a server of ${other}`, async () => {
    const [near, far] = memoryPair();
    const accepting = server({ min: other, max: other }).accept(far, admit, limits())
      .catch((error: unknown) => error);
    await refused(
      client({ min: version, max: version }).connect(near, admit, limits()),
      ["protocol", "other"],
    );
    near.close();
    assert(await accepting instanceof Error);
  });

  testEachTlsBackend(
    `both ends agree on ${version} where one of them has only that`,
    async ({ client, server }) => {
      for (const ends of [{ server: true }, { server: false }]) {
        const only = { min: version, max: version } as const;
        const [near, far] = memoryPair();
        const [dialled, accepted] = await Promise.all([
          client(ends.server ? {} : only).connect(near, admit, limits()),
          server(ends.server ? only : {}).accept(far, admit, limits()),
        ]);
        assert.equal(dialled.protocol, version.replace("TLS", "TLSv"));
        assert.equal(accepted.protocol, dialled.protocol);
        connOf(dialled).close();
        connOf(accepted).close();
      }
    },
  );

  testPublicAndNative(
    `alerts in the clear at every stage end the handshake, ${version}`,
    async () => {
      for (const role of ["server", "client"] as const) {
        for (const [level, description] of [[2, 40], [2, 0], [1, 0], [2, 255], [9, 9]] as const) {
          for (let stage = 0; stage < 3; stage++) {
            const [near, far] = memoryPair();
            const [mine, theirs] = role === "server" ? [far, near] : [near, far];
            const running = role === "server"
              ? server({ max: version }).accept(mine, () => assert.fail("decided"), limits(5000))
              : client({ max: version }).connect(mine, () => assert.fail("decided"), limits(5000));
            const ended = refused(running, ["other", "protocol", "reset"]);
            if (role === "server" && stage > 0) {
              await theirs.write(await clientHello(version));
              await theirs.read();
            } else if (role === "client" && stage > 0) {
              await theirs.read();
            }
            await theirs.write(alert(level, description));
            if (stage === 2) await theirs.write(alert(level, description));
            await theirs.closeWrite();
            await readAll(theirs);
            theirs.close();
            await ended;
            assert(mine.isClosed);
          }
        }
      }
    },
  );

  testEachTlsBackend(
    `an alert on the established connection, forged from outside, ${version}`,
    async ({ client, connected }) => {
      const [near, far] = memoryPair();
      const ends = await connected({ pair: [near, far], client: client({ max: version }) });
      const reading = failsWith(ends.server.read(), "protocol");
      await near.write(alert(1, 0)); // A close_notify that was not encrypted is not one.
      await reading;
      ends.client.close();
      ends.server.close();
    },
  );
}

const hellos = new Map<string, Uint8Array>();

/** A ClientHello of ours. */
async function clientHello(max: "TLS1.2" | "TLS1.3"): Promise<Uint8Array> {
  const known = hellos.get(max);
  if (known !== undefined) return known;
  const [near, far] = memoryPair();
  const stop = new AbortController();
  const dialling = refused(
    client({ max }).connect(near, admit, limits(5000, stop.signal)),
    "other",
  );
  const hello = (await far.read())?.slice() ?? new Uint8Array(0);
  stop.abort();
  await dialling;
  far.close();
  hellos.set(max, hello);
  return hello;
}

testPublicAndNative("the name goes out as SNI, an address does not", async () => {
  const sent = async (serverName: string): Promise<string | undefined> => {
    const [near, far] = memoryPair();
    const stop = new AbortController();
    const dialling = refused(
      client({ serverName }).connect(near, admit, limits(5000, stop.signal)),
      "other",
    );
    const hello = await far.read();
    stop.abort();
    await dialling;
    far.close();
    return readHello(Buffer.from(hello ?? []).subarray(5)).extensions.get(0)?.toString("latin1");
  };
  assert.equal((await sent("db.internal.example"))?.slice(5), "db.internal.example");
  for (const address of ["127.0.0.1", "::1", "10.1.2.3"]) {
    assert.equal(await sent(address), undefined, address);
  }
});

testEachBackend("openssl sees the name that was sent", async ({ client }) => {
  await using files = await filesIn(peerFiles(pki().server, [pki().ca]));
  await using peer = new Process("openssl", [
    ...["s_server", "-accept", "127.0.0.1:0", "-rev", "-servername", "localhost"],
    ...["-servername_fatal", "-cert", files.path("cert.pem"), "-key", files.path("key.pem")],
    ...["-cert2", files.path("cert.pem"), "-key2", files.path("key.pem")],
  ]);
  const [, port] = await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
  const pair = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
  const { conn } = await client().connect(new TcpConn(pair), admit, limits());
  assert(conn !== undefined);
  await conn.write(text("olleh\n"));
  assert.match(words(await conn.read() ?? new Uint8Array(0)), /hello/);
  conn.close();
});

testEachBackend(
  "a server name that is an address is looked for among the address names",
  async ({ client, server, tcpPair }) => {
    for (
      const [serverName, reason] of [
        ["127.0.0.1", undefined],
        ["::1", undefined],
        ["127.0.0.2", "name_mismatch"],
        ["::2", "name_mismatch"],
      ] as const
    ) {
      const [near, far] = await tcpPair();
      const accepting = server().accept(far, admit, limits())
        .then((shaken) => shaken.conn?.close(), () => {});
      const dialling = client({ serverName }).connect(near, admit, limits());
      if (reason === undefined) connOf(await dialling).close();
      else await refused(dialling, reason);
      await accepting;
    }
  },
);
