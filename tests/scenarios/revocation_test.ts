/**
 * Who is revoked is kept out, from the moment a list says so, whether the session is new or resumed,
 * in both roles; and lists that cannot be used change nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { makeCrl } from "../support/crl.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { EchoClient, EchoLoop } from "../support/clients.ts";
import { ask, type Backend, echoBackend, lineBackend } from "../support/peers.ts";
import { type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { Peer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";
import { changeFile } from "../support/reload.ts";

const REVOKED = 'mtlsd_tls_handshake_errors_total{reason="revoked"}';
const FAILED_RELOADS = 'mtlsd_reloads_total{result="failure"}';

/** A server with one list, which revokes no certificate at first. */
class Scenery implements AsyncDisposable {
  readonly testBed: TestBed;
  readonly server: TestDaemon;
  readonly backend: Backend;
  /** The list. */
  readonly path: string;
  /** Another client of the same CA. */
  readonly other: Issued;

  private constructor(testBed: TestBed, server: TestDaemon, backend: Backend, path: string) {
    this.testBed = testBed;
    this.server = server;
    this.backend = backend;
    this.path = path;
    this.other = makeLeaf({ role: "client", subject: "other" }, testBed.pki.ca);
  }

  /** Starts it in front of a backend. */
  static async create(makeBackend = lineBackend): Promise<Scenery> {
    const testBed = await TestBed.create();
    // A directory of its own: it has to be granted and watched too.
    await Deno.mkdir(`${testBed.dir}/lists`);
    const path = await testBed.write("lists/crl.pem", makeCrl(testBed.pki.ca).pem);
    const backend = testBed.use(makeBackend());
    const server = await testBed.server(backend.address, { tls: { crl: path } });
    return new Scenery(testBed, server, backend, path);
  }

  /** Puts a list in force. */
  async revoke(...revoked: readonly Issued[]): Promise<void> {
    await changeFile(this.server, this.path, makeCrl(this.testBed.pki.ca, { revoked }).pem);
  }

  /** The answer to a message, or `refused`. */
  async ask(identity: Issued): Promise<string> {
    try {
      // With TLS 1.3 the client's side of the handshake is over before it is refused.
      return await ask({ ...this.testBed.as(this.server), identity }, "hello") || "refused";
    } catch {
      return "refused"; // The log says why.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.testBed[Symbol.asyncDispose]();
  }
}

Deno.test("a client that a renamed list revokes is refused, the others go on", async () => {
  await using it = await Scenery.create();
  const { server, testBed: { pki }, backend } = it;
  assert.equal(await it.ask(pki.client), "echo: hello");
  await it.revoke(pki.client);
  const from = server.lines.length;
  assert.equal(await it.ask(pki.client), "refused");
  const { fields } = await server.waitForLog("listener: handshake failed", {}, from);
  assert.equal(fields.reason, "revoked");
  assert.match(
    fields.error ?? "",
    /certificate O=acme, CN=frontend-service \(serial \w+\) was revoked by CN=mtlsd test CA$/,
  );
  await server.waitForMetric(REVOKED, 1);
  await server.waitForMetric(closedSeries("revoked"), 1);
  assert.equal(backend.connections, 1);
  assert.equal(await it.ask(it.other), "echo: hello");
  // What was on hold comes back.
  await it.revoke();
  assert.equal(await it.ask(pki.client), "echo: hello");
  await assertAllClosesCounted(server);
});

/** A line through `openssl s_client`, resuming the session of the last one if there is one. */
async function hello(it: Scenery, version: string): Promise<string> {
  const session = await exists(`${it.testBed.dir}/session.pem`) ? "-sess_in" : "-sess_out";
  const child = new Deno.Command("timeout", {
    args: `20 openssl s_client -connect 127.0.0.1:${it.server.port} -servername localhost
      -${version} -CAfile ca.pem -cert client.pem -key client-key.pem
      ${session} session.pem`.split(/\s+/),
    cwd: it.testBed.dir,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const input = child.stdin.getWriter();
  let said = "";
  let open = true;
  const reading = (async () => {
    // The input stays open until the line came back or openssl has gone.
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (open && said.includes("hello from openssl")) {
        open = false;
        await input.close();
      }
    }
    if (open) await input.abort().catch(() => {});
  })();
  await input.write(new TextEncoder().encode("hello from openssl\n")).catch(() => {});
  await reading;
  await child.status;
  return said;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

for (const version of ["tls1_2", "tls1_3"]) {
  Deno.test(`a resumed session of a revoked client is refused, ${version}`, async () => {
    await using it = await Scenery.create(echoBackend);
    const { server, testBed: { pki } } = it;
    assert.match(await hello(it, version), /hello from openssl/);
    const resumed = await hello(it, version);
    assert.match(resumed, /^Reused, /m);
    assert.match(resumed, /hello from openssl/);
    const before = it.backend.connections;
    await it.revoke(pki.client);
    const from = server.lines.length;
    assert.doesNotMatch(await hello(it, version), /hello from openssl/);
    await server.waitForLog("listener: handshake failed", { reason: "revoked" }, from);
    assert.equal(it.backend.connections, before);
    await it.revoke(it.other);
    assert.match(await hello(it, version), /hello from openssl/);
  });
}

Deno.test("an open connection ends with the list that revokes its peer", async () => {
  await using it = await Scenery.create(echoBackend);
  const { testBed, server } = it;
  const leaving = testBed.use(await EchoClient.open(testBed.as(server)));
  const staying = testBed.use(await EchoClient.open({ ...testBed.as(server), identity: it.other }));
  await using _chatter = new EchoLoop(staying);
  await it.revoke(testBed.pki.client);
  await leaving.ended(2000);
  const line = await server.waitForLog("listener: connection closed", { reason: "revoked" });
  assert.equal(line.fields.peer_cn, "frontend-service");
  assert.match(line.fields.error ?? "", /was revoked by CN=mtlsd test CA$/);
  await server.waitForMetric(closedSeries("revoked"), 1);
});

Deno.test("a list that cannot be used changes nothing, and shows", async () => {
  await using it = await Scenery.create();
  const { testBed: { pki }, server } = it;
  await it.revoke(pki.client);
  const bad = [
    makeCrl(pki.ca, { forged: true }).pem,
    makeCrl(makeCa({ subject: "stranger" })).pem,
    makeCrl(pki.ca, { nextUpdate: new Date(Date.now() - 1000) }).pem,
  ];
  for (const [i, text] of bad.entries()) {
    await Deno.writeTextFile(`${it.path}.next`, text);
    await Deno.rename(`${it.path}.next`, it.path);
    await server.waitForMetric(FAILED_RELOADS, i + 1);
    const { body } = await server.probe("/certz");
    assert.match(JSON.stringify(body), /tls\.crl: Cannot use/);
    assert.equal(await it.ask(pki.client), "refused");
    assert.equal(await it.ask(it.other), "echo: hello");
  }
  await server.waitForMetric(REVOKED, bad.length);
});

Deno.test("a list that is of no use at the start ends it, at the line of its key", async () => {
  await using testBed = await TestBed.create();
  const { server: cert, serverKey: key, ca } = testBed.files;
  const past = new Date(Date.now() - 60_000);
  const crl = await testBed.write("crl.pem", makeCrl(testBed.pki.ca, { nextUpdate: past }).pem);
  const daemon = testBed.use(
    await startDaemon({
      dir: testBed.dir,
      config: {
        mode: "server",
        listen: "127.0.0.1:0",
        target: "127.0.0.1:9",
        tls: { cert, key, ca, crl: [crl] },
      },
      expectFailure: true,
    }),
  );
  assert.equal(await daemon.exit(), 2);
  assert.match(
    daemon.log,
    /\.yaml:\d+:\d+: tls\.crl: Cannot use ".*crl\.pem": .* is past its nextUpdate, .*fetch the next one$/m,
  );
});

Deno.test("client mode refuses a revoked server, and sends it nothing", async () => {
  await using testBed = await TestBed.create();
  const path = await testBed.write("crl.pem", makeCrl(testBed.pki.ca).pem);
  const backend = testBed.use(echoBackend());
  const { client } = await testBed.tunnel(backend.address, {
    client: { tls: { crl: [path] } },
  });
  const before = testBed.use(await Peer.connect(client.port));
  await before.send("hello");
  await until(() => before.text === "hello");
  await changeFile(client, path, makeCrl(testBed.pki.ca, { revoked: [testBed.pki.server] }).pem);
  const { connections, received } = backend;
  const after = testBed.use(await Peer.connect(client.port));
  await after.send("secret");
  const line = await client.waitForLog("dialer: handshake failed", { reason: "revoked" });
  assert.match(line.fields.error ?? "", /certificate CN=localhost .* was revoked by/);
  await until(() => after.ending !== "open");
  await client.waitForMetric(REVOKED, 1);
  assert.deepEqual([backend.connections, backend.received], [connections, received]);
});

Deno.test("a gauge tells when the next list is due; without lists there is none", async () => {
  await using it = await Scenery.create();
  const { testBed, server } = it;
  const nextUpdate = new Date("2040-01-02T03:04:05Z");
  await changeFile(server, it.path, makeCrl(testBed.pki.ca, { nextUpdate }).pem);
  await server.waitForMetric("mtlsd_crl_next_update_seconds", nextUpdate.getTime() / 1000);
  const plain = await testBed.server(it.backend.address);
  assert.equal((await plain.metrics()).has("mtlsd_crl_next_update_seconds"), false);
});
