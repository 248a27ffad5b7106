import assert from "node:assert/strict";
import { verifySignature } from "../../src/tls/signature.ts";
import { SignatureMemory } from "../../src/tls/signature_memory.ts";
import { PeerVerifier } from "../../src/tls/verdict.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { NO_REVOCATION } from "../../src/x509/revocation.ts";
import type { VerifySignature } from "../../src/x509/path.ts";
import { makeCa, makeLeaf } from "../support/pki.ts";

/** The real check, counted. */
function counted(): { check: VerifySignature; count: number } {
  const counter = {
    count: 0,
    check: (...args: Parameters<VerifySignature>) => {
      counter.count++;
      return verifySignature(...args);
    },
  };
  return counter;
}

function trust(signatures: SignatureMemory, ...cas: readonly { der: Uint8Array }[]): PeerVerifier {
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
  const counter = counted();
  const memory = new SignatureMemory(counter.check);
  const root = makeCa({ subject: "root" });
  // A namesake with another key comes first: that it did not sign is remembered too.
  const namesake = makeCa({ subject: "root" });
  const middle = makeCa({ subject: "middle", issuer: root });
  const chain = [makeLeaf({}, middle).der, middle.der];
  assert.ok(trust(memory, namesake, root).verify(chain).ok);
  const { count } = counter;
  assert.equal(count, 3);
  for (let i = 0; i < 5; i++) {
    assert.ok(trust(memory, namesake, root).verify(chain.map((der) => der.slice())).ok);
  }
  assert.equal(counter.count, count);
  // Another leaf of the same CA costs its own signature only.
  assert.ok(trust(memory, namesake, root).verify([makeLeaf({}, middle).der, middle.der]).ok);
  assert.equal(counter.count, count + 1);
});

Deno.test("signature memory: it says nothing of trust", () => {
  const memory = new SignatureMemory(verifySignature);
  const root = makeCa({ subject: "root" });
  const chain = [makeLeaf({}, root).der];
  assert.ok(trust(memory, root).verify(chain).ok);
  const namesake = makeCa({ subject: "root" });
  for (const verifier of [trust(memory), trust(memory, namesake)]) {
    const verdict = verifier.verify(chain);
    assert.ok(!verdict.ok);
    assert.equal(verdict.reason, "untrusted");
  }
  assert.ok(trust(memory, root).verify(chain).ok);
});

Deno.test("signature memory: any other byte is another signature", () => {
  const memory = new SignatureMemory(verifySignature);
  const root = makeCa();
  const leaf = parseCertificate(makeLeaf({}, root).der);
  const key = parseCertificate(root.der).publicKey;
  const ask = (tbs: Uint8Array, signature: Uint8Array, by = key) =>
    memory.during((check) => check(leaf.signatureAlgorithm, by, tbs, signature), () => true);
  assert.equal(ask(leaf.tbs, leaf.signature), true);
  const flipped = (bytes: Uint8Array) => bytes.map((byte, i) => i === 9 ? byte ^ 1 : byte);
  assert.equal(ask(flipped(leaf.tbs), leaf.signature), false);
  assert.equal(ask(leaf.tbs, flipped(leaf.signature)), false);
  assert.equal(ask(leaf.tbs, leaf.signature, leaf.publicKey), false);
  // Nor is it the same bytes cut elsewhere.
  const joined = new Uint8Array([...leaf.tbs, ...leaf.signature]);
  assert.equal(ask(joined.subarray(0, 9), joined.subarray(9)), false);
  assert.equal(
    memory.during(
      (check) => check({ kind: "ecdsa", hash: "sha384" }, key, leaf.tbs, leaf.signature),
      () => true,
    ),
    false,
  );
  assert.equal(ask(leaf.tbs, leaf.signature), true);
});

Deno.test("signature memory: strangers leave nothing, and the oldest goes first", () => {
  const counter = counted();
  const memory = new SignatureMemory(counter.check, 4);
  const root = makeCa();
  const stranger = makeCa({ subject: "stranger" });
  assert.ok(!trust(memory, root).verify([makeLeaf({}, stranger).der, stranger.der]).ok);
  assert.equal(memory.size, 0);
  const chains = Array.from({ length: 6 }, () => [makeLeaf({}, root).der]);
  const first = chains[0] ?? [];
  for (const chain of chains) {
    assert.ok(trust(memory, root).verify(chain).ok);
    assert.ok(trust(memory, root).verify(first).ok);
  }
  assert.equal(memory.size, 4);
  const { count } = counter;
  assert.ok(trust(memory, root).verify(first).ok);
  assert.equal(counter.count, count, "what is in use stays");
  assert.ok(trust(memory, root).verify(chains[1] ?? []).ok);
  assert.equal(counter.count, count + 1);
});
