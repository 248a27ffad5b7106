import assert from "node:assert/strict";
import { type Checks, SignatureCache } from "../../../src/tls/signature_cache.ts";
import { PeerVerifier } from "../../../src/tls/peer_verifier.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { NO_REVOCATION } from "../../../src/x509/revocation.ts";
import type { Certificate } from "../../../src/x509/certificate.ts";
import type { SignatureCheck } from "../../../src/x509/path.ts";
import { makeCa, makeLeaf } from "../../support/pki.ts";

/** Counts the checks that had to be made. */
class CountingMemory extends SignatureCache {
  count = 0;

  override checks(): Checks {
    const checks = super.checks();
    return {
      ...checks,
      learn: (check, good) => {
        this.count++;
        checks.learn(check, good);
      },
    };
  }
}

function trust(signatures: SignatureCache, ...cas: readonly { der: Uint8Array }[]): PeerVerifier {
  const anchors = cas.map(({ der }) => parseCertificate(der));
  return new PeerVerifier({
    anchors,
    revocation: NO_REVOCATION,
    purpose: "client",
    now: Date.now,
    signatures,
  });
}

Deno.test("signature memory: a chain that was good is not checked again by the next state", () => {
  const memory = new CountingMemory();
  const root = makeCa({ subject: "root" });
  // A namesake with another key comes first: that it did not sign is remembered too.
  const namesake = makeCa({ subject: "root" });
  const middle = makeCa({ subject: "middle", issuer: root });
  const chain = [makeLeaf({}, middle).der, middle.der];
  assert.ok(trust(memory, namesake, root).verifyNow(chain).ok);
  const { count } = memory;
  assert.equal(count, 3);
  for (let i = 0; i < 5; i++) {
    assert.ok(trust(memory, namesake, root).verifyNow(chain.map((der) => der.slice())).ok);
  }
  assert.equal(memory.count, count);
  // Another leaf of the same CA costs its own signature only.
  assert.ok(trust(memory, namesake, root).verifyNow([makeLeaf({}, middle).der, middle.der]).ok);
  assert.equal(memory.count, count + 1);
});

Deno.test("signature memory: it says nothing of trust", () => {
  const memory = new SignatureCache();
  const root = makeCa({ subject: "root" });
  const chain = [makeLeaf({}, root).der];
  assert.ok(trust(memory, root).verifyNow(chain).ok);
  const namesake = makeCa({ subject: "root" });
  for (const verifier of [trust(memory), trust(memory, namesake)]) {
    const verdict = verifier.verifyNow(chain);
    assert.ok(!verdict.ok);
    assert.equal(verdict.reason, "untrusted");
  }
  assert.ok(trust(memory, root).verifyNow(chain).ok);
});

Deno.test("signature memory: any other byte is another signature", () => {
  const memory = new SignatureCache();
  const root = makeCa();
  const leaf = parseCertificate(makeLeaf({}, root).der);
  const key = parseCertificate(root.der).publicKey;
  const good: SignatureCheck = { subject: leaf, key };
  const checks = memory.checks();
  assert.equal(checks.known(good), undefined);
  checks.learn(good, true);
  assert.equal(memory.checks().known(good), undefined, "not before it is kept");
  checks.keep();
  const known = (subject: Partial<Certificate>, by = key) =>
    memory.checks().known({ subject: { ...leaf, ...subject }, key: by });
  assert.equal(known({}), true);
  const flipped = (bytes: Uint8Array) => bytes.map((byte, i) => i === 9 ? byte ^ 1 : byte);
  assert.equal(known({ tbs: flipped(leaf.tbs) }), undefined);
  assert.equal(known({ signature: flipped(leaf.signature) }), undefined);
  assert.equal(known({}, leaf.publicKey), undefined);
  // Nor is it the same bytes cut elsewhere.
  const joined = new Uint8Array([...leaf.tbs, ...leaf.signature]);
  assert.equal(known({ tbs: joined.subarray(0, 9), signature: joined.subarray(9) }), undefined);
  assert.equal(known({ signatureAlgorithm: { kind: "ecdsa", hash: "sha384" } }), undefined);
});

Deno.test("signature memory: strangers leave nothing, and the oldest goes first", () => {
  const memory = new CountingMemory(4);
  const root = makeCa();
  const stranger = makeCa({ subject: "stranger" });
  assert.ok(!trust(memory, root).verifyNow([makeLeaf({}, stranger).der, stranger.der]).ok);
  assert.equal(memory.size, 0);
  const chains = Array.from({ length: 6 }, () => [makeLeaf({}, root).der]);
  const first = chains[0] ?? [];
  for (const chain of chains) {
    assert.ok(trust(memory, root).verifyNow(chain).ok);
    assert.ok(trust(memory, root).verifyNow(first).ok);
  }
  assert.equal(memory.size, 4);
  const { count } = memory;
  assert.ok(trust(memory, root).verifyNow(first).ok);
  assert.equal(memory.count, count, "what is in use stays");
  assert.ok(trust(memory, root).verifyNow(chains[1] ?? []).ok);
  assert.equal(memory.count, count + 1);
});
