/**
 * `tls.intermediates` in a daemon under its own grants: a list of an intermediate counts, the file is
 * watched, and nobody is let in by what stands in it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { makeCrl } from "../support/crl.ts";
import { changeFile } from "../support/held.ts";
import { ask, echoBackend } from "../support/peers.ts";
import { type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import { Scene } from "../support/scene.ts";

const FAILED = "certstore: reload failed, keeping the previous certificates";

Deno.test("a list below an intermediate counts, and what verifies it lets nobody in", async () => {
  await using scene = await Scene.create();
  const { ca } = scene.pki;
  const issuing = makeCa({ subject: "issuing CA", issuer: ca });
  const foreign = makeCa({ subject: "foreign CA", issuer: makeCa({ subject: "foreign root" }) });
  const [client, other] = ["client", "other"].map((subject) =>
    makeLeaf({ role: "client", subject }, issuing)
  ) as [Issued, Issued];
  const outsider = makeLeaf({ role: "client", subject: "outsider" }, foreign);

  const backend = scene.use(echoBackend());
  // Directories of their own: they have to be granted and watched too.
  await Deno.mkdir(`${scene.dir}/below`);
  await Deno.mkdir(`${scene.dir}/lists`);
  const intermediates = await scene.write("below/inter.pem", issuing.pem + foreign.pem);
  const crl = await scene.write("lists/crl.pem", makeCrl(issuing, { revoked: [client] }).pem);
  const server = await scene.server(backend.address, { tls: { intermediates, crl } });
  // Peers show their own certificate alone.
  const answer = (identity: Issued) =>
    ask({ ...scene.as(server), identity }, "hello").catch(() => "");

  assert.equal(await answer(other), "hello");
  assert.equal(await answer(client), "");
  await server.waitForLog("listener: handshake failed", { reason: "revoked" });
  assert.equal(await answer(outsider), "");
  await server.waitForLog("listener: handshake failed", { reason: "untrusted" });

  // Without the intermediate the list cannot be verified: the old state stays.
  await Deno.writeTextFile(intermediates, foreign.pem);
  await server.waitForLog(FAILED, {
    error:
      /"CN=issuing CA" is no CA of tls\.ca .* put the certificate of that CA into tls\.intermediates/,
  });
  assert.equal(await answer(client), "");
  await changeFile(server, intermediates, issuing.pem);
  assert.equal(await answer(other), "hello");
});
