/**
 * Pins of public keys.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { EMPTY_PEER, matched, refusal } from "../../support/acl.ts";

const digest = createHash("sha256").update("a key").digest();
const PIN = digest.toString("base64");
const peer = { ...EMPTY_PEER, spki: PIN };

Deno.test({ name: "spki: the digest is compared exactly", permissions: "none" }, () => {
  for (const side of ["allow", "deny"] as const) {
    assert.equal(matched(side, "spki", `sha256:${PIN}`, peer), `sha256:${PIN}`);
    assert.equal(matched(side, "spki", `sha256:${PIN}`, EMPTY_PEER), undefined);
    assert.equal(
      matched(side, "spki", `sha256:${EMPTY_PEER.spki}`, EMPTY_PEER),
      `sha256:${EMPTY_PEER.spki}`,
    );
  }
});

Deno.test(
  { name: "spki: what is no digest is refused, with what to write", permissions: "none" },
  () => {
    const write = `write "sha256:${PIN}"`;
    const hex = digest.toString("hex");
    const colons = (hex.match(/../g) ?? []).join(":").toUpperCase();
    const url = digest.toString("base64url");
    const cases: readonly [string, string | RegExp][] = [
      [PIN, write],
      [`SHA256:${PIN}`, write],
      [`sha-256:${PIN}`, write],
      [`sha256//${PIN}`, write],
      [`sha256:${PIN.slice(0, -1)}`, write],
      [`sha256:${url}`, write],
      [`sha256:${hex}`, `the digest is in base64, not in hex: ${write}`],
      [colons, `the digest is in base64, not in hex: ${write}`],
      ["sha1:qvTGHdzF6KLavt4PO0gs2a6pQ00=", /^only SHA-256 is known: write "sha256:" and/],
      ["sha512:abc", /^only SHA-256 is known/],
      ["MD5:abc", /^only SHA-256 is known/],
      [`sha256:${PIN} `, /^after "sha256:" stands base64, which has letters/],
      ["sha256:abc", /^after "sha256:" stands the base64 of 32 bytes, 44 characters/],
      ["sha256:", /^after "sha256:" stands the base64 of 32 bytes/],
      ["sha256", /44 characters/],
      // The last two bits before the padding have to be 0.
      [`sha256:${"A".repeat(42)}B=`, /44 characters/],
      [`sha256:${"A".repeat(44)}`, /44 characters/],
      ["", "a rule must not be empty"],
    ];
    for (const [text, reason] of cases) {
      const found = refusal("spki", text);
      if (typeof reason === "string") assert.equal(found, reason, text);
      else assert.match(found, reason, text);
    }
  },
);
