import assert from "node:assert/strict";
import { verifySignature } from "../../../src/tls/signature.ts";
import { PeerVerifier } from "../../../src/tls/peer_verifier.ts";
import { parseCertificateList } from "../../../src/x509/crl.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { type PathPolicy, type PathResult, validatePath } from "../../../src/x509/path.ts";
import {
  earliestUpdate,
  NO_REVOCATION,
  type Revocation,
  type RevocationList,
  revocationOf,
} from "../../../src/x509/revocation.ts";
import { type CrlOptions, makeCrl } from "../../support/crl.ts";
import { extendedKeyUsage, type Issued, keyUsage, makeCa, makeLeaf } from "../../support/pki.ts";

const HOUR = 3_600_000;

/** A list of `issuer`, taken as verified. */
function list(issuer: Issued, options: CrlOptions = {}): RevocationList {
  const { thisUpdate, nextUpdate, number, distributionPoint, serials, entries } =
    parseCertificateList(
      makeCrl(issuer, options).der,
    );
  return {
    issuer: parseCertificate(issuer.der),
    thisUpdate,
    nextUpdate,
    number,
    distributionPoint,
    serials,
    entries,
  };
}

const revoking = (issuer: Issued, ...revoked: Issued[]): RevocationList =>
  list(issuer, { revoked });

/** Judges a chain, leaf first, by CAs and lists. */
function judge(
  presented: readonly Issued[],
  anchors: readonly Issued[],
  lists: readonly RevocationList[],
  policy: Partial<PathPolicy> = {},
): PathResult {
  return validatePath(presented.map(({ der }) => parseCertificate(der)), {
    anchors: anchors.map(({ der }) => parseCertificate(der)),
    revocation: revocationOf(lists),
    purpose: "client",
    now: Date.now(),
    verifySignature,
    ...policy,
  });
}

/** `ok`, or the fault. */
function verdict(...args: Parameters<typeof judge>): string {
  const result = judge(...args);
  return result.ok ? "ok" : result.fault;
}

const root = makeCa({ subject: "root" });
const namesake = makeCa({ subject: "root" });
const inter = makeCa({ subject: "inter", issuer: root });
const leaf = makeLeaf({ subject: "leaf", serial: 0x1234 }, root);
const deep = makeLeaf({ subject: "deep" }, inter);

Deno.test("a leaf that its issuer's list names is revoked, and the verdict says by whom", () => {
  const result = judge([leaf], [root], [revoking(root, leaf)]);
  assert.ok(!result.ok);
  assert.equal(result.fault, "revoked");
  assert.equal(result.detail, "certificate CN=leaf (serial 1234) was revoked by CN=root");
});

Deno.test("others of the same issuer are not, nor anybody without a list", () => {
  const other = makeLeaf({ subject: "other" }, root);
  assert.equal(verdict([other], [root], [revoking(root, leaf)]), "ok");
  assert.equal(verdict([leaf], [root], []), "ok");
  assert.equal(verdict([deep, inter], [root], [revoking(root, leaf)]), "ok");
  assert.equal(judge([leaf], [root], [], { revocation: NO_REVOCATION }).ok, true);
});

Deno.test("a certificate on hold is revoked", () => {
  const hold = list(root, { revoked: [{ serial: leaf, reason: 6 }] });
  assert.equal(verdict([leaf], [root], [hold]), "revoked");
});

Deno.test("a list is that of a key: two CAs of one name do not mix", () => {
  assert.equal(verdict([leaf], [root, namesake], [revoking(namesake, leaf)]), "ok");
  assert.equal(
    verdict([leaf], [namesake, root], [revoking(namesake), revoking(root, leaf)]),
    "revoked",
  );
});

Deno.test("a CA's list holds whichever of its certificates the path leads over", () => {
  const renewed = makeCa({ subject: "root", key: root.key });
  assert.equal(verdict([leaf], [renewed], [revoking(root, leaf)]), "revoked");
});

Deno.test("of several lists of one CA all count, the older ones too", () => {
  const older = list(root, { revoked: [leaf], thisUpdate: new Date(Date.now() - HOUR), number: 1 });
  const newer = list(root, { revoked: [], number: 2 });
  assert.equal(verdict([leaf], [root], [newer, older]), "revoked");
  assert.equal(earliestUpdate(revocationOf([newer, older])), newer.nextUpdate);
  assert.equal(earliestUpdate(NO_REVOCATION), undefined);
});

Deno.test("a revoked intermediate takes everything under it along", () => {
  assert.equal(verdict([deep, inter], [root], [revoking(root, inter)]), "revoked");
  assert.equal(verdict([deep, inter], [root], [revoking(inter, deep)]), "revoked");
});

Deno.test("an intermediate that is in the bundle can be revoked all the same", () => {
  const lists = [revoking(root, inter)];
  assert.equal(verdict([deep], [inter, root], []), "ok");
  assert.equal(verdict([deep], [inter, root], lists), "revoked");
  assert.equal(verdict([deep, inter], [inter], lists), "revoked");
  // The same serial number under another key of that name says nothing of it.
  assert.equal(verdict([deep], [inter], [revoking(namesake, inter)]), "ok");
});

Deno.test("a root that lists itself is revoked", () => {
  assert.equal(verdict([leaf], [root], [revoking(root, root)]), "revoked");
});

Deno.test("a certificate of the bundle that is a path of one can be revoked", () => {
  assert.equal(verdict([leaf], [leaf], [revoking(root, leaf)]), "revoked");
  assert.equal(verdict([leaf], [leaf], [revoking(namesake, leaf)]), "ok");
  const self = makeLeaf({ subject: "self" });
  assert.equal(verdict([self], [self], [revoking(root, leaf)]), "ok");
});

Deno.test("where who signed it cannot be checked, a namesake's list keeps it out", () => {
  const rsa = makeCa({ subject: "old CA", kind: "rsa2048" });
  const pinned = makeLeaf({ subject: "pinned", signature: "rsa-sha1" }, rsa);
  const other = makeCa({ subject: "old CA" });
  assert.equal(verdict([pinned], [pinned], []), "ok");
  assert.equal(verdict([pinned], [pinned], [revoking(other, pinned)]), "revoked");
});

/** One intermediate with a certificate by each of two roots. */
const rootB = makeCa({ subject: "root B" });
const crossed = makeCa({ subject: "inter", key: inter.key, issuer: rootB });

Deno.test("a revoked cross-certificate leaves the way over the other root", () => {
  const chain = [deep, inter, crossed];
  const both = [root, rootB];
  assert.equal(verdict(chain, both, [revoking(root, inter)]), "ok");
  assert.equal(verdict(chain, both, [revoking(rootB, crossed)]), "ok");
  const lists = [revoking(root, inter), revoking(rootB, crossed)];
  assert.equal(verdict(chain, both, lists), "revoked");
});

Deno.test("a leaf that is revoked stays so on every way", () => {
  assert.equal(verdict([deep, inter, crossed], [root, rootB], [revoking(inter, deep)]), "revoked");
});

Deno.test("where one way is expired and the other revoked, revoked is what is said", () => {
  const old = makeCa({
    subject: "inter",
    key: inter.key,
    issuer: root,
    notAfter: new Date(Date.now() - HOUR),
    notBefore: new Date(Date.now() - 2 * HOUR),
  });
  const lists = [revoking(rootB, crossed)];
  assert.equal(verdict([deep, old, crossed], [root, rootB], []), "ok");
  assert.equal(verdict([deep, old, crossed], [root, rootB], lists), "revoked");
  assert.equal(verdict([deep, crossed, old], [root, rootB], lists), "revoked");
});

Deno.test("an issuer of lists is judged as a CA, not as a peer", () => {
  const issuer = { purpose: "issuer" } as const;
  assert.equal(verdict([inter], [root], [], issuer), "ok");
  assert.equal(verdict([inter], [rootB], [], issuer), "untrusted");
  assert.equal(verdict([leaf], [root], [], issuer), "bad_certificate");
  const narrow = makeCa({
    subject: "narrow",
    issuer: root,
    extra: [extendedKeyUsage(["emailProtection"])],
  });
  assert.equal(verdict([narrow], [root], [], issuer), "ok");
  const mute = makeCa({
    subject: "mute",
    issuer: root,
    omit: ["keyUsage"],
    extra: [keyUsage(["cRLSign"])],
  });
  assert.equal(verdict([mute], [root], [], issuer), "bad_certificate");
});

Deno.test("the TLS layer's verdict looks peers up, and says revoked", () => {
  const options = {
    anchors: [parseCertificate(root.der)],
    purpose: "client" as const,
    now: Date.now,
  };
  const before = new PeerVerifier({ ...options, revocation: NO_REVOCATION }).verifyNow([leaf.der]);
  assert.equal(before.ok, true);
  const revocation: Revocation = revocationOf([revoking(root, leaf)]);
  const after = new PeerVerifier({ ...options, revocation }).verifyNow([
    leaf.der,
  ]);
  assert.deepEqual(after, {
    ok: false,
    reason: "revoked",
    detail: "certificate CN=leaf (serial 1234) was revoked by CN=root",
  });
});

Deno.test("lists are plain data: they reach a Worker whole", () => {
  const { byIssuer, lists } = structuredClone(revocationOf([revoking(root, leaf)]));
  assert.equal(lists[0]?.serials.has("1234"), true);
  assert.equal(byIssuer.get(parseCertificate(root.der).subject.key)?.length, 1);
});
