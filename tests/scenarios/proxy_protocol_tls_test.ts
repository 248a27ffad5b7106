/**
 * `proxy_protocol: v2-tls`: what a target learns of its client's TLS and certificate, and what not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { tlvsOf } from "../support/proxy_protocol.ts";
import { type Process, sClient } from "../support/openssl.ts";
import { connectTls } from "../support/peers.ts";
import { dns, type Issued, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import type { PeerServer } from "../support/sockets.ts";
import { heard, inFrontOf } from "../support/proxy_protocol_peers.ts";

/** The TLVs that a target hears of a client. */
async function tlvs(
  target: PeerServer,
  index: number,
): Promise<readonly string[]> {
  return tlvsOf((await heard(await target.peer(index))).header);
}

const NEW = "20: 0700000000";
const RESUMED = "20: 0500000000";
const NAMELESS = "20: 0100000001";

function certificateOf(issued: Issued): string {
  return `20/28: ${issued.der.toHex()}`;
}

Deno.test("v2-tls tells of version, cipher, name, ALPN and the verified certificate", async () => {
  await using testBed = await TestBed.create();
  const { target, server } = await inFrontOf(testBed, "v2-tls", {
    tls: { alpn: ["h2"], client_auth: "optional" },
  });
  const files = `-CAfile ca.pem -cert client.pem -key client-key.pem`.split(" ");
  const run = async (index: number, ...args: readonly string[]) => {
    await using _process = sClientIn(testBed, server.port, args);
    return await tlvs(target, index);
  };
  assert.deepEqual(
    await run(0, ...files, "-alpn", "h2", "-servername", "localhost", "-tls1_3"),
    [
      "01: h2",
      "02: localhost",
      NEW,
      "20/21: TLSv1.3",
      "20/22: frontend-service",
      "20/23: TLS_AES_256_GCM_SHA384",
      certificateOf(testBed.pki.client),
    ],
  );
  assert.deepEqual(
    await run(1, ...files, "-tls1_2", "-noservername", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    [
      NEW,
      "20/21: TLSv1.2",
      "20/22: frontend-service",
      "20/23: ECDHE-ECDSA-AES128-GCM-SHA256",
      certificateOf(testBed.pki.client),
    ],
  );
  // A client without a certificate must not look like one whose certificate was verified.
  const nameless = await run(2, "-CAfile", "ca.pem", "-tls1_3", "-noservername");
  assert.deepEqual(nameless, [NAMELESS, "20/21: TLSv1.3", "20/23: TLS_AES_256_GCM_SHA384"]);
});

/** `openssl s_client` with files of the test bed. */
function sClientIn(testBed: TestBed, port: number, args: readonly string[]): Process {
  return sClient(
    port,
    ...args.map((arg) => arg.endsWith(".pem") ? `${testBed.dir}/${arg}` : arg),
  );
}

Deno.test("v2-tls: of a resumed session it says that the certificate was shown earlier", async () => {
  await using testBed = await TestBed.create();
  const { target, server } = await inFrontOf(testBed, "v2-tls");
  const files = "-CAfile ca.pem -cert client.pem -key client-key.pem -tls1_2".split(" ");
  for (const [index, [option, status]] of [["-sess_out", NEW], ["-sess_in", RESUMED]].entries()) {
    const session = [option ?? "", "session.pem"];
    await using process = sClientIn(testBed, server.port, [...files, ...session]);
    const peer = await target.peer(index);
    const seen = tlvsOf((await heard(peer)).header);
    assert.equal(seen.find((tlv) => tlv.startsWith("20: ")), status);
    assert.ok(seen.includes(certificateOf(testBed.pki.client)));
    assert.ok(seen.includes("20/22: frontend-service"));
    await process.endInput();
    peer.end();
    await process.ends();
  }
  await server.waitForLog("listener: accepted connection", { resumed: "true" });
});

Deno.test("v2-tls: a certificate that has no room is left out, the rest is not", async () => {
  await using testBed = await TestBed.create();
  const san = Array.from({ length: 60 }, (_, i) => dns(`${"x".repeat(60)}.${i}.example`));
  const large = makeLeaf({ role: "client", subject: "large", san }, testBed.pki.ca);
  assert.ok(large.der.length > 4096);
  const { target, server } = await inFrontOf(testBed, "v2-tls", { logging: { level: "debug" } });
  const socket = await connectTls({ ...testBed.as(server), identity: large });
  const { header } = await heard(await target.peer(0));
  assert.ok(header.length < 500);
  const seen = tlvsOf(header);
  assert.ok(seen.includes("20/22: large"));
  assert.ok(!seen.some((tlv) => tlv.startsWith("20/28")));
  await server.waitForLog("listener: PROXY header without all that is known", {
    omitted: /certificate/,
    peer_cn: "large",
  });
  socket.destroy();
});

Deno.test("v2-tls: words that a receiver could take for more than a name are left out", async () => {
  await using testBed = await TestBed.create();
  const hostile = makeLeaf({ role: "client", subject: "a\r\nSET x" }, testBed.pki.ca);
  const { target, server } = await inFrontOf(testBed, "v2-tls");
  const socket = await connectTls({ ...testBed.as(server), identity: hostile });
  const seen = await tlvs(target, 0);
  assert.ok(!seen.some((tlv) => tlv.startsWith("20/22")));
  assert.ok(seen.includes(certificateOf(hostile)));
  socket.destroy();
});
