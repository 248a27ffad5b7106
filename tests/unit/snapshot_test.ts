import assert from "node:assert/strict";
import { sealState, type TunnelState } from "../../src/snapshot.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { NO_REVOCATION } from "../../src/x509/revocation.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";

Deno.test("snapshot: a state that was cloned and sealed shows no private key", () => {
  const ca = makeCa();
  const leaf = makeLeaf({ subject: "own" }, ca);
  const certificate = parseCertificate(leaf.der);
  const credentials = {
    certPem: leaf.pem,
    keyPem: leaf.keyPem,
    leaf: certificate,
    chain: [certificate],
    anchors: [parseCertificate(ca.der)],
    leftOut: [],
    intermediates: [],
    revocation: NO_REVOCATION,
    warnings: [],
  };
  const acl = { allow: [], deny: [], mode: "enforce", allowAnonymous: false } as const;
  const state: TunnelState = { credentials, acl, upstream: { credentials, acl } };
  const secret = leaf.keyPem.split("\n")[1] ?? "";
  const received = structuredClone(state);
  assert.ok(Deno.inspect(received, { depth: 9, strAbbreviateSize: Infinity }).includes(secret));
  const sealed = sealState(received);
  for (const shown of [Deno.inspect(sealed, { depth: 9 }), JSON.stringify(sealed)]) {
    assert.ok(!shown.includes(secret), shown);
  }
  assert.equal(sealed.credentials.keyPem, leaf.keyPem);
  assert.equal(sealed.upstream?.credentials.keyPem, leaf.keyPem);
  assert.ok(Object.isFrozen(sealed.credentials));
});
