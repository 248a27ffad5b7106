/**
 * The engine cannot read X.509 v1, and lets in whoever has a copy of a v1 certificate of the bundle.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Issued, makeCa, makeKey, makeLeaf } from "../../support/pki.ts";
import {
  admit,
  client,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  server,
} from "../../support/tls/ends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { plainAdmits } from "../../support/plain_tls.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

/** The owner of a public v1 CA certificate and of a key that has nothing to do with it. */
function v1Attacker(ca: Issued): Issued {
  const key = makeKey();
  return { ...ca, key, keyPem: key.export({ type: "pkcs8", format: "pem" }).toString() };
}

Deno.test("control: plain node:tls lets everybody in who has the public v1 CA certificate", async () => {
  const { server: own } = pki();
  const ca = makeCa({ version: 1, subject: "old CA" });
  const pair = { cert: ca.pem, key: v1Attacker(ca).keyPem };
  assert(
    await plainAdmits(pair, [ca], { cert: own.pem, key: own.keyPem }),
    DEFENCE_NO_LONGER_NEEDED,
  );
});

testPublicAndNative("a v1 CA in the bundle lets no peer in", async () => {
  const ca = makeCa({ version: 1, subject: "old CA" });
  const honest = makeLeaf({ role: "client" }, ca);
  for (const own of [v1Attacker(ca), { ...ca, issuer: undefined }, honest]) {
    for (const clientAuth of ["required", "optional"] as const) {
      const [near, far] = memoryPair();
      const dialling = client({ own }).connect(near, admit, limits()).catch(() => undefined);
      const error = await refused(
        server({ bundle: [ca, pki().ca], clientAuth }).accept(
          far,
          () => assert.fail("decided"),
          limits(),
        ),
        ["bad_certificate", "untrusted"],
      );
      if (own !== honest) assert.match(error.message, /X\.509 v1/);
      (await dialling)?.conn?.close();
      near.close();
    }
  }
});

testPublicAndNative("a v1 leaf of a sound CA is refused in both roles", async () => {
  const leaf = makeLeaf({ version: 1, subject: "localhost" }, pki().ca);
  {
    const [near, far] = memoryPair();
    const dialling = client({ own: leaf }).connect(near, admit, limits()).catch(() => undefined);
    const error = await refused(
      server({ bundle: [pki().ca] }).accept(far, admit, limits()),
      "bad_certificate",
    );
    assert.match(error.message, /X\.509 v1/);
    (await dialling)?.conn?.close();
    near.close();
  }
  const [near, far] = memoryPair();
  const accepting = server({ own: leaf }).accept(far, admit, limits()).catch(() => undefined);
  await refused(client().connect(near, admit, limits()), "bad_certificate");
  await accepting;
});

testPublicAndNative("a v1 leaf in the bundle does not spare its holder the key", async () => {
  const leaf = makeLeaf({ version: 1, subject: "pinned" });
  const attacker = v1Attacker(leaf);
  const { server: own } = pki();
  const pair = { cert: leaf.pem, key: attacker.keyPem };
  assert(
    await plainAdmits(pair, [leaf], { cert: own.pem, key: own.keyPem }),
    DEFENCE_NO_LONGER_NEEDED,
  );
  const [near, far] = memoryPair();
  const dialling = client({ own: attacker }).connect(near, admit, limits()).catch(() => undefined);
  await refused(
    server({ bundle: [leaf, pki().ca] }).accept(far, admit, limits()),
    "bad_certificate",
  );
  (await dialling)?.conn?.close();
  near.close();
});
