/**
 * Two CAs of the bundle that signed each other: `node:tls` looks for the end of that chain for ever.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chainPem, dns, type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import {
  admit,
  client,
  connected,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  server,
} from "../support/tls/ends.ts";
import { memoryPair } from "../support/tls/memory_conn.ts";
import { testPublicAndNative } from "../support/tls/backends.ts";

const SAN = [dns("localhost")];

/** Two CAs that signed each other; neither is self-signed. */
function crossSigned(): { readonly a: Issued; readonly b: Issued; readonly leaf: Issued } {
  const [rootA, rootB] = [makeCa({ subject: "A" }), makeCa({ subject: "B" })];
  const a = makeCa({ subject: "A", key: rootA.key, issuer: rootB });
  const b = makeCa({ subject: "B", key: rootB.key, issuer: rootA });
  return { a, b, leaf: makeLeaf({ subject: "localhost", san: SAN }, a) };
}

testPublicAndNative(
  "CAs that signed each other, both in the bundle: ours answers, in both roles",
  async () => {
    const { a, b, leaf } = crossSigned();
    const own = { ...leaf, issuer: undefined };
    const bundle = [a, b];
    const ends = await connected({
      client: client({ own, bundle }),
      server: server({ own, bundle }),
    });
    ends.client.close();
    ends.server.close();
    const otherCa = { ...makeLeaf({ san: SAN }, makeCa({ subject: "A" })), issuer: undefined };
    const [clientEnd, serverEnd] = memoryPair();
    const accepting = server({ own: otherCa, bundle }).accept(serverEnd, admit, limits())
      .catch(() => undefined);
    await refused(client({ own, bundle }).connect(clientEnd, admit, limits()), "untrusted");
    (await accepting)?.conn?.close();
  },
);

/** Has `node:tls` complete a chain in a worker; whether it comes back within `ms`. */
async function chainComesBack(
  own: Issued,
  bundle: readonly Issued[],
  ms: number,
): Promise<boolean> {
  const credentials = { ca: chainPem(...bundle), cert: own.pem, key: own.keyPem };
  const source = `
    import tls from "node:tls";
    const material = ${JSON.stringify(credentials)};
    const server = tls.createServer({ ...material, requestCert: true }, (socket) => {
      socket.on("error", () => {});
      socket.getPeerCertificate(true);
      self.postMessage("answered");
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      const client = tls.connect(
        { ...material, port, host: "127.0.0.1", rejectUnauthorized: false },
      );
      client.getPeerCertificate = () => ({});
      client.on("error", () => {});
    });`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    return await new Promise<boolean>((done) => {
      const timer = setTimeout(() => done(false), ms);
      worker.onmessage = () => {
        clearTimeout(timer);
        done(true);
      };
    });
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
}

Deno.test("control: the engine's getPeerCertificate(true) never comes back from such a bundle", async () => {
  const { a, b, leaf } = crossSigned();
  assert(
    await chainComesBack(
      makeLeaf({ subject: "localhost", san: SAN }, pki().ca),
      [pki().ca],
      30_000,
    ),
    "the control is broken",
  );
  assert.equal(await chainComesBack(leaf, [a, b], 1_500), false, DEFENCE_NO_LONGER_NEEDED);
});
