/**
 * Resumed sessions are authorized like new ones: by the CAs and the rules of the moment.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { stringify } from "yaml";
import { startDaemon } from "../support/daemon.ts";
import { echoBackend } from "../support/peers.ts";
import { makeCa } from "../support/pki.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";

/**
 * A line through `openssl s_client` and back; the session is kept in `session.pem`, which is offered
 * where `resume` says so. What openssl printed.
 */
async function hello(
  testBed: TestBed,
  port: number,
  version: string,
  resume: boolean,
): Promise<string> {
  const child = new Deno.Command("timeout", {
    args: `20 openssl s_client -connect 127.0.0.1:${port} -servername localhost -${version}
      -CAfile server-ca.pem -cert client.pem -key client-key.pem
      ${resume ? "-sess_in" : "-sess_out"} session.pem`.split(/\s+/),
    cwd: testBed.dir,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const input = child.stdin.getWriter();
  let said = "";
  // The input stays open until the line came back or openssl has gone.
  const read = async (): Promise<void> => {
    let open = true;
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (open && ECHOED.test(said)) {
        open = false;
        await input.close();
      }
    }
    if (open) await input.abort().catch(() => {});
  };
  const reading = read();
  await input.write(new TextEncoder().encode("hello from openssl\n")).catch(() => {});
  await reading;
  await child.status;
  return said;
}

const ECHOED = /hello from openssl/;

for (const version of ["tls1_2", "tls1_3"]) {
  Deno.test(`a resumed session is judged anew, ${version}`, async (t) => {
    await using testBed = await TestBed.create();
    const { pki, files } = testBed;
    await testBed.write("server-ca.pem", pki.ca.pem);
    const backend = testBed.use(echoBackend());
    const config = {
      mode: "server",
      listen: "127.0.0.1:0",
      target: backend.address,
      tls: { cert: files.server, key: files.serverKey, ca: files.ca },
      acl: { allow_cn: ["frontend-service"] },
      health: { enabled: true, listen: "127.0.0.1:0" },
      metrics: { enabled: true, listen: "127.0.0.1:0" },
    };
    const server = testBed.use(await startDaemon({ dir: testBed.dir, config }));
    const { port } = server;
    let lines = 0;
    const logged = async (message: string, fields: Record<string, string | RegExp>) => {
      await server.waitForLog(message, fields, lines);
      lines = server.lines.length;
    };
    let reloads = 0;
    const hup = async (): Promise<void> => {
      server.kill("SIGHUP");
      await server.waitForMetric('mtlsd_reloads_total{result="success"}', (n) => n > reloads);
      reloads = (await server.metrics()).get('mtlsd_reloads_total{result="success"}') ?? 0;
      lines = server.lines.length;
    };
    const withAcl = async (acl: Record<string, unknown>): Promise<void> => {
      await Deno.writeTextFile(server.configPath, stringify({ ...config, acl }));
      await hup();
    };

    const assertRefused = async (): Promise<void> => {
      const said = await hello(testBed, port, version, true);
      assert.match(said, /CONNECTED/);
      assert.doesNotMatch(said, ECHOED);
    };

    await t.step("a full handshake", async () => {
      assert.match(await hello(testBed, port, version, false), ECHOED);
      await logged("listener: accepted connection", { resumed: "false" });
    });
    await t.step("resumed while everything is as it was", async () => {
      const said = await hello(testBed, port, version, true);
      assert.match(said, ECHOED);
      assert.match(said, /^Reused, TLSv1\.[23]/m);
      await logged("listener: accepted connection", {
        resumed: "true",
        peer_cn: "frontend-service",
      });
    });
    const { connections } = backend;
    assert.equal(connections, 2);
    await t.step("refused once the rules no longer name it", async () => {
      await withAcl({ allow_cn: ["somebody-else"] });
      await assertRefused();
      await logged("listener: denied connection", {
        resumed: "true",
        peer_cn: "frontend-service",
        reason: /no allow rule/,
      });
    });
    await t.step("let in again when they do", async () => {
      await withAcl({ allow_org: ["acme"] });
      assert.match(await hello(testBed, port, version, true), ECHOED);
      await logged("listener: accepted connection", { resumed: "true" });
    });
    await t.step("refused once its CA is not trusted any more", async () => {
      await testBed.write("ca.pem", makeCa({ subject: "another CA" }).pem);
      await hup();
      await assertRefused();
      await logged("listener: handshake failed", { reason: "untrusted" });
      await server.waitForMetric('mtlsd_tls_handshake_errors_total{reason="untrusted"}', 1);
    });
    await t.step("so is another CA of the same name", async () => {
      await testBed.write("ca.pem", makeCa().pem);
      await hup();
      await assertRefused();
      await logged("listener: handshake failed", { reason: "untrusted" });
    });
    await t.step("let in again when its CA is back", async () => {
      await testBed.write("ca.pem", pki.ca.pem);
      await hup();
      assert.match(await hello(testBed, port, version, true), ECHOED);
      await logged("listener: accepted connection", { resumed: "true" });
    });
    assert.equal(backend.connections, connections + 2);
  });
}

for (const version of ["tls1_2", "tls1_3"]) {
  Deno.test(`a client that resumes still has the certificate of its full handshake, ${version}`, async () => {
    await using testBed = await TestBed.create();
    await testBed.write("server-ca.pem", testBed.pki.ca.pem);
    const backend = testBed.use(echoBackend());
    const server = await testBed.server(backend.address);
    const shown = async (resume: boolean): Promise<string> => {
      const lines = server.lines.length;
      const said = await hello(testBed, server.port, version, resume);
      assert.match(said, ECHOED);
      await server.waitForLog("listener: accepted connection", { resumed: String(resume) }, lines);
      const [pem = ""] = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(said) ??
        [];
      return new X509Certificate(pem).serialNumber;
    };
    const old = await shown(false);
    const next = renewed(testBed.pki);
    await byRename(testBed.dir, contents(next));
    await server.waitForLog("certstore: certificates reloaded successfully");
    // No certificate is sent then (RFC 8446 section 2.2, RFC 5246 section 7.3): it is the client's memory.
    assert.equal(await shown(true), old);
    assert.equal(await serialSeen(testBed.as(server)), new X509Certificate(next.pem).serialNumber);
    assert.equal(await shown(false), new X509Certificate(next.pem).serialNumber);
  });
}
