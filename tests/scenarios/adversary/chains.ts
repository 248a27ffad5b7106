/**
 * Certificates that do not lead to a CA of the bundle, or that are not valid now: trust, signatures,
 * time, order and length of chains.
 *
 * @module
 */

import { holder, type Refused, type Row } from "../../support/adversary/arena.ts";
import * as der from "../../support/der.ts";
import {
  authorityKeyId,
  type Issued,
  type IssueOptions,
  type LeafOptions,
  makeCa,
  makeKey,
  makeLeaf,
  subjectKeyId,
} from "../../support/pki.ts";

const DAY = 86_400_000;

/** Times of a certificate that is over. */
export function past(): IssueOptions {
  const now = Date.now();
  return { notBefore: new Date(now - 2 * DAY), notAfter: new Date(now - DAY) };
}

/** Times of a certificate that has not begun. */
export function future(): IssueOptions {
  const now = Date.now();
  return { notBefore: new Date(now + DAY), notAfter: new Date(now + 2 * DAY) };
}

/** The client that everybody pretends to be. */
export function client(options: LeafOptions = {}, issuer?: Issued): Issued {
  const subject = { O: "acme", CN: "frontend-service" };
  return makeLeaf({ role: "client", subject, ...options }, issuer);
}

/** An intermediate CA of its own name. */
export function middle(
  subject: string,
  issuer: Issued,
  options: Parameters<typeof makeCa>[0] = {},
): Issued {
  return makeCa({ subject, issuer, ...options });
}

const untrusted: Refused = {
  handshake: "untrusted",
  error: /no chain of valid signatures leads from .* to a CA of the bundle/,
};
const tooMuch: Refused = { handshake: "bad_certificate", error: /more than \d+ signature checks/ };
/** The TLS engine could not check the signature over the handshake, for want of the key or of a readable certificate. */
export const unproven: Refused = {
  handshake: "untrusted",
  error: /did not prove that it holds the key/,
};
const expired: Refused = { handshake: "expired", error: /expired at \d{4}-/ };
const early: Refused = { handshake: "not_yet_valid", error: /is valid from \d{4}-/ };

/** The certificate does not lead to a CA that the daemon trusts. */
export function trustRows(ca: Issued): readonly Row[] {
  const good = client({}, ca);
  const control = holder(good);
  const sameKeyId = makeCa({ omit: ["subjectKeyId"], extra: [subjectKeyId(ca.keyId)] });
  const lookalike = client({
    omit: ["authorityKeyId"],
    extra: [authorityKeyId(ca.keyId)],
  }, sameKeyId);
  const inner = middle("trust intermediate", ca);
  const inside = client({}, inner);
  const forgedInner = middle("trust intermediate", ca, { forged: true });
  const sibling = middle("another intermediate", ca);
  const key = makeKey();
  return [
    {
      name: "a CA that nobody knows",
      peer: holder(client({}, makeCa({ subject: "nobody's CA" }))),
      refused: untrusted,
      control,
    },
    {
      name: "a CA of the same name",
      peer: holder(client({}, makeCa())),
      refused: untrusted,
      control,
    },
    {
      name: "a CA of the same name and key identifier",
      peer: holder(lookalike),
      refused: untrusted,
      control,
    },
    {
      name: "a CA of the same name and key identifier, shown as well",
      peer: holder(lookalike, sameKeyId),
      refused: untrusted,
      control: holder(good, ca),
    },
    {
      name: "a signature that is not the CA's",
      peer: holder(client({ forged: true }, ca)),
      refused: untrusted,
      control,
    },
    {
      name: "a signature of zeros",
      peer: holder(client({ signatureBytes: "00".repeat(70) }, ca)),
      refused: untrusted,
      control,
    },
    {
      name: "an intermediate whose signature is not the CA's",
      peer: holder(client({}, forgedInner)),
      refused: untrusted,
      control: holder(inside),
    },
    {
      name: "a leaf that the intermediate did not sign",
      peer: holder(client({ forged: true }, inner)),
      refused: untrusted,
      control: holder(inside),
    },
    {
      name: "self-signed",
      peer: holder(client({ key })),
      refused: untrusted,
      control: holder(client({ key }, ca)),
    },
    {
      name: "self-signed in the CA's name",
      peer: holder(client({ subject: ca.subject, issuerName: ca.subject })),
      refused: untrusted,
      control: holder(client({ subject: ca.subject }, ca)),
    },
    {
      name: "the intermediate missing",
      peer: { chain: [inside.der], key: inside.key },
      refused: untrusted,
      control: holder(inside),
    },
    {
      name: "another intermediate in its place",
      peer: { chain: [inside.der, sibling.der], key: inside.key },
      refused: untrusted,
      control: { chain: [inside.der, sibling.der, inner.der], key: inside.key },
    },
    {
      name: "the intermediate first, as if it were the leaf",
      peer: { chain: [inner.der, inside.der], key: inside.key },
      refused: unproven,
      control: holder(inside),
    },
  ];
}

/** Outside its time. */
export function timeRows(ca: Issued): readonly Row[] {
  const inner = middle("timely intermediate", ca);
  const odd = (name: string, time: der.Der): Row => ({
    name: `a time ${name}`,
    peer: holder(client({ notBefore: time }, ca)),
    refused: { handshake: "bad_certificate", error: /notBefore is not written as/ },
    control: holder(client({ notBefore: der.utcTime("240101000000Z") }, ca)),
  });
  return [
    {
      name: "an expired leaf",
      peer: holder(client(past(), ca)),
      refused: expired,
      control: holder(client({}, ca)),
    },
    {
      name: "a leaf that is not valid yet",
      peer: holder(client(future(), ca)),
      refused: early,
      control: holder(client({}, ca)),
    },
    {
      name: "a leaf that ends before it begins",
      peer: holder(
        client({ notBefore: future().notAfter, notAfter: past().notBefore } as IssueOptions, ca),
      ),
      refused: { handshake: "not_yet_valid", error: /is valid from/ },
      control: holder(client({}, ca)),
    },
    {
      name: "an expired intermediate",
      peer: holder(client({}, middle("timely intermediate", ca, past()))),
      refused: expired,
      control: holder(client({}, inner)),
    },
    {
      name: "an intermediate that is not valid yet",
      peer: holder(client({}, middle("timely intermediate", ca, future()))),
      refused: early,
      control: holder(client({}, inner)),
    },
    odd("with a fraction of a second", der.generalizedTime("20240101000000.5Z")),
    odd("with a zone", der.utcTime("240101000000+0000")),
    odd("without seconds", der.utcTime("2401010000Z")),
  ];
}

/** Certificates of CAs that have one name, or one after the other. */
function ladder(ca: Issued, depth: number): Issued {
  let issuer = ca;
  for (let i = 0; i < depth; i++) issuer = middle(`step ${i}`, issuer);
  return client({}, issuer);
}

/** Chains without an end, and chains with too much in them. */
export function lengthRows(ca: Issued): readonly Row[] {
  const [a, b] = [makeKey(), makeKey()];
  // Each signed by the other: a circle in which every signature holds.
  const first = makeCa({ subject: "loop a", key: a });
  const second = middle("loop b", first, { key: b });
  const circle = [middle("loop a", second, { key: a }), second];
  const inside = client({}, circle[0]);
  const anchored = middle("loop a", ca, { key: a });
  const maze = Array.from({ length: 100 }, () => makeCa({ subject: "maze" }));
  const twins = Array.from({ length: 100 }, () => makeCa({ subject: "twin", key: a }));
  const forged = Array.from({ length: 100 }, () => middle("step 0", ca, { forged: true }));
  const good = client({}, ca);
  const ballast = (bytes: number): Issued[] =>
    Array.from({ length: bytes / 500 }, (_, i) => makeCa({ subject: `ballast ${i}`, key: b }));
  const behind = (leaf: Issued, more: readonly Issued[]) => ({
    chain: [leaf, ...more].map((issued) => issued.der),
    key: leaf.key,
  });
  return [
    {
      name: "CAs that signed each other, and nobody above them",
      peer: behind(inside, circle),
      refused: untrusted,
      control: behind(inside, [...circle, anchored]),
    },
    {
      name: "100 CAs, one below the other",
      peer: holder(ladder(ca, 100)),
      refused: untrusted,
      control: holder(ladder(ca, 5)),
    },
    {
      name: "100 CAs of one name",
      peer: behind(client({}, maze[0]), maze),
      refused: untrusted,
      control: behind(good, maze),
    },
    {
      name: "100 certificates of one CA, each signing the others",
      peer: behind(client({}, twins[0]), twins),
      refused: untrusted,
      control: behind(client({}, twins[0]), [...twins.slice(0, 5), middle("twin", ca, { key: a })]),
    },
    {
      name: "100 forged links to the CA",
      peer: behind(client({}, forged[0]), forged),
      refused: tooMuch,
      control: behind(good, forged),
    },
    {
      name: "a chain of 200 KB",
      peer: behind(good, ballast(200_000)),
      refused: {
        handshake: "protocol",
        error: /CertificatePayloadTooLarge|HandshakePayloadTooLarge/,
      },
      control: behind(good, ballast(20_000)),
    },
  ];
}
