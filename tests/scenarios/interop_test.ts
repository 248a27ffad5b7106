/**
 * Peers that are not ours talk to both modes: openssl and curl, over every version and kind of key.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TestDaemon } from "../support/daemon.ts";
import { echoBackend, sh } from "../support/peers.ts";
import { dns, ip, type KeyKind, makeLeaf, pathOf, testPki } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { Process, sClient, sServer } from "../support/openssl.ts";

const KINDS = ["rsa2048", "p256", "p384", "ed25519"] as const satisfies readonly KeyKind[];
const VERSIONS = [["-tls1_2", "TLSv1.2"], ["-tls1_3", "TLSv1.3"]] as const;

/** What openssl needs of one end, its intermediate in a file of its own as openssl wants it. */
async function opensslArgs(
  testBed: TestBed,
  role: "server" | "client",
): Promise<readonly string[]> {
  const { files, pki } = testBed;
  const key = role === "server" ? files.serverKey : files.clientKey;
  const trust = ["-CAfile", files.ca, "-verify_return_error"];
  const own = ["-cert", files[role], "-key", key];
  const [, intermediate] = pathOf(pki[role]);
  if (intermediate === undefined) return [...own, ...trust];
  const chain = await testBed.write(`intermediate-${role}.pem`, intermediate.pem);
  return [...own, "-cert_chain", chain, ...trust];
}

/** Sends a line through `openssl s_client` and waits until it is back. */
async function throughSClient(daemon: TestDaemon, ...more: readonly string[]): Promise<void> {
  await using client = sClient(daemon.port, ...more);
  await client.type("hello mtlsd\n");
  await client.says(/hello mtlsd\n/);
}

/** Sends a line to client mode and waits for it reversed, as `openssl s_server -rev` has it. */
async function throughSServer(daemon: TestDaemon): Promise<void> {
  await using downstream = await Peer.connect(daemon.port);
  await downstream.send("hello mtlsd\n");
  await downstream.receives("dsltm olleh\n");
}

for (const kind of KINDS) {
  Deno.test(`openssl, ${kind} keys, a chain with an intermediate, both modes`, async () => {
    await using testBed = await TestBed.create(testPki({ kind, intermediate: true }));
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address);
    const client = await opensslArgs(testBed, "client");
    for (const [version, name] of VERSIONS) {
      const from = server.lines.length;
      const host = ["-servername", "localhost", "-verify_hostname", "localhost"];
      await throughSClient(server, version, ...client, ...host);
      const accepted = { peer_cn: "frontend-service", protocol: name };
      await server.waitForLog("listener: accepted connection", accepted, from);
    }
    const own = await opensslArgs(testBed, "server");
    for (const [version, name] of VERSIONS) {
      await using openssl = await sServer("-rev", version, "-Verify", "3", ...own);
      await using daemon = await testBed.client(`127.0.0.1:${openssl.port}`);
      await throughSServer(daemon);
      const connected = { peer_cn: "localhost", protocol: name };
      await daemon.waitForLog("dialer: connected", connected);
    }
  });
}

Deno.test("openssl resumes a session in server mode and is judged again", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const server = await testBed.server(backend.address);
  const client = await opensslArgs(testBed, "client");
  for (const [version, name] of VERSIONS) {
    const session = `${testBed.dir}/session${version}`;
    {
      await using first = sClient(server.port, version, ...client, "-sess_out", session);
      await first.type("first\n");
      await first.says(/first\n/);
    }
    const from = server.lines.length;
    await throughSClient(server, version, ...client, "-sess_in", session);
    const accepted = { protocol: name, resumed: "true", peer_cn: "frontend-service" };
    await server.waitForLog("listener: accepted connection", accepted, from);
  }
  assert.equal((await server.metrics()).get('mtlsd_acl_decisions_total{result="allowed"}'), 4);
});

Deno.test("min_version and max_version hold in server mode", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const client = await opensslArgs(testBed, "client");
  const cases = [
    { tls: { max_version: "TLS1.2" }, good: "-tls1_2", bad: "-tls1_3" },
    { tls: { min_version: "TLS1.3" }, good: "-tls1_3", bad: "-tls1_2" },
  ];
  for (const { tls, good, bad } of cases) {
    await using server = await testBed.server(backend.address, { tls });
    await using refused = sClient(server.port, bad, ...client);
    await refused.says(/alert protocol version/);
    await server.waitForLog("listener: handshake failed", { reason: "protocol" });
    await throughSClient(server, good, ...client);
  }
  assert.equal(backend.connections, cases.length);
});

Deno.test("min_version and max_version hold in client mode", async () => {
  await using testBed = await TestBed.create();
  const own = await opensslArgs(testBed, "server");
  const cases = [
    { tls: { max_version: "TLS1.2" }, good: "-tls1_2", bad: "-tls1_3" },
    { tls: { min_version: "TLS1.3" }, good: "-tls1_3", bad: "-tls1_2" },
  ];
  for (const { tls, good, bad } of cases) {
    await using refusing = await sServer("-rev", bad, "-Verify", "3", ...own);
    await using stopped = await testBed.client(`127.0.0.1:${refusing.port}`, { tls });
    await using downstream = await Peer.connect(stopped.port);
    await downstream.send("secret");
    await downstream.ended();
    assert.equal(downstream.received, 0);
    await stopped.waitForLog("dialer: handshake failed", { reason: /^(protocol|other)$/ });
    await using serving = await sServer("-rev", good, "-Verify", "3", ...own);
    await using daemon = await testBed.client(`127.0.0.1:${serving.port}`, { tls });
    await throughSServer(daemon);
  }
});

Deno.test("server_name: an IP SAN is matched, a DNS name is also sent as SNI", async () => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const byIp = makeLeaf({ role: "server", subject: "by-ip", san: [ip("127.0.0.1")] }, ca);
  const byName = makeLeaf({ role: "server", subject: "db", san: [dns("db.internal")] }, ca);
  const first = [
    ...["-cert", await testBed.write("ip.pem", byIp.pem)],
    ...["-key", await testBed.write("ip-key.pem", byIp.keyPem)],
  ];
  const second = [
    ...["-cert2", await testBed.write("db.pem", byName.pem)],
    ...["-key2", await testBed.write("db-key.pem", byName.keyPem)],
  ];
  const trust = ["-CAfile", testBed.files.ca, "-Verify", "1", "-verify_return_error"];
  await using openssl = await sServer(
    ...["-rev", ...first, ...second, "-servername", "db.internal", ...trust],
  );
  const target = `127.0.0.1:${openssl.port}`;
  await using addressed = await testBed.client(target, { tls: { server_name: "127.0.0.1" } });
  await throughSServer(addressed);
  await addressed.waitForLog("dialer: connected", { peer_cn: "by-ip" });
  // openssl shows this certificate to those only who ask for the name.
  await using named = await testBed.client(target, { tls: { server_name: "db.internal" } });
  await throughSServer(named);
  await named.waitForLog("dialer: connected", { peer_cn: "db" });
});

/** A plain HTTP backend that tells what it got. */
function httpBackend(): { readonly address: string } & AsyncDisposable {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/big") return new Response(new Uint8Array(5_000_000).fill(0x61));
      const size = (await request.arrayBuffer()).byteLength;
      return new Response(`${request.method} ${pathname} ${size}\n`);
    },
  );
  return {
    address: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Several requests over one connection: small, with a body, and with a large answer. */
async function curlAll(testBed: TestBed, base: string, more: string): Promise<void> {
  const body = await testBed.write("body.bin", "x".repeat(1_000_000));
  const curl = `curl --silent --show-error --fail --max-time 15 ${more}`;
  const { code, stdout, stderr } = await sh(
    `${curl} ${base}/one ${base}/two -w '%{num_connects}\n' &&
     ${curl} -H 'Expect:' --data-binary @${body} ${base}/post &&
     ${curl} ${base}/big | wc -c`,
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "GET /one 0\n1\nGET /two 0\n0\nPOST /post 1000000\n5000000\n");
}

Deno.test("curl --cert through server mode to a plain HTTP backend, and without one", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(httpBackend());
  const server = await testBed.server(backend.address);
  const { ca, client, clientKey } = testBed.files;
  const base = `https://localhost:${server.port}`;
  const to = `--cacert ${ca} --connect-to ::127.0.0.1:${server.port}`;
  for (const version of ["--tls-max 1.2", "--tlsv1.3"]) {
    await curlAll(testBed, base, `${to} ${version} --cert ${client} --key ${clientKey}`);
  }
  const from = server.lines.length;
  const bare = await sh(`curl --silent --show-error --max-time 15 ${to} ${base}/one`);
  assert.notEqual(bare.code, 0);
  assert.match(bare.stderr, /certificate required/);
  const told = { reason: "no_certificate", error: "peer sent no certificate" };
  await server.waitForLog("listener: handshake failed", told, from);
  await using openssl = new Process("openssl", [
    ...["s_client", "-connect", server.listen, "-CAfile", ca],
  ]);
  await openssl.says(/alert certificate required/);
});

Deno.test("curl through the full tunnel", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(httpBackend());
  const { client } = await testBed.tunnel(backend.address);
  await curlAll(testBed, `http://127.0.0.1:${client.port}`, "");
});
