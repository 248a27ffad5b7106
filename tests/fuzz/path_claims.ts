/**
 * What must hold for a path that was accepted, by the eyes of another reader.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { withoutUniqueIds } from "../../src/x509/unique_ids.ts";
import type { Certificate } from "../../src/x509/certificate.ts";
import type { Code } from "./instrument.ts";
import { NOW } from "./keys.ts";

/** Fails where more signatures were checked than the bound allows. */
export function assertChecks(code: Code, checks: number): void {
  assert.ok(checks <= code.MAX_SIGNATURES, `${checks} signature checks`);
}

/**
 * Fails where a path leads from another certificate than the peer's, to no anchor, or over one that
 * `node:crypto` reads as no issuer of the one before, as no CA, or as not valid now.
 */
export function assertPath(
  path: readonly Certificate[],
  shown: readonly Certificate[],
  anchors: readonly Certificate[],
  signed: (subject: X509Certificate, issuer: X509Certificate) => boolean,
): void {
  const hex = ({ der }: Certificate) => der.toHex();
  const [first, last] = [path[0], path.at(-1)];
  assert.ok(first !== undefined && last !== undefined && shown[0] !== undefined);
  assert.equal(hex(first), hex(shown[0]), "the path begins with the peer's certificate");
  assert.ok(anchors.map(hex).includes(hex(last)), "the path ends in an anchor");
  const known = new Set([...shown, ...anchors].map(hex));
  // The other reader knows no unique identifiers.
  const stripped = path.map((one) => withoutUniqueIds(one.der));
  const seen = path.map((one, i) => new X509Certificate(stripped[i] ?? one.der));
  for (const [i, one] of seen.entries()) {
    assert.ok(known.has(hex(path[i] ?? last)), `certificate ${i} was shown or is an anchor`);
    assert.ok(Date.parse(one.validFrom) <= NOW, `certificate ${i} is valid since ${one.validFrom}`);
    assert.ok(Date.parse(one.validTo) + 999 >= NOW, `certificate ${i} is valid to ${one.validTo}`);
    const issuer = seen[i + 1];
    if (issuer === undefined) continue;
    assert.equal(issuer.ca, true, `certificate ${i + 1} is a CA`);
    // Not `checkIssued`, which also wants the key identifiers to fit: they are a hint and no rule.
    assert.equal(issuer.subject, one.issuer, `certificate ${i + 1} is named by the one before`);
    assert.ok(
      stripped[i] !== undefined || signed(one, issuer),
      `certificate ${i + 1} signed the one before`,
    );
    const { pathLength } = path[i + 1]?.basicConstraints ?? {};
    // RFC 5280 section 6.1.4 (l): the self-issued certificates of a CA that changed its key do not count.
    const below = path.slice(1, i + 1).filter((ca) => ca.subject.key !== ca.issuer.key).length;
    assert.ok(
      pathLength === undefined || below <= pathLength,
      `certificate ${i + 1}: ${below} below`,
    );
  }
}
