/**
 * Certificates and Secrets as cert-manager makes them of the Certificates of `examples/kubernetes`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import {
  authorityKeyId,
  basicConstraints,
  dns,
  extendedKeyUsage,
  issue,
  type Issued,
  keyIdOf,
  keyUsage,
  makeKey,
  spkiOf,
  subjectAltName,
  uri,
} from "../pki.ts";
import { at, textsAt } from "./examples.ts";

const PURPOSES: Readonly<Record<string, string>> = {
  "server auth": "serverAuth",
  "client auth": "clientAuth",
};

/** A certificate as a Certificate asks for it: the shape that cert-manager gives it. */
export function issued(
  certificate: unknown,
  ca: Issued,
  names?: { readonly uris: readonly string[] },
): Issued {
  const spec = at(certificate, "spec");
  const key = makeKey("p256");
  const usages = textsAt(spec, "usages");
  assert.ok(usages.includes("digital signature"));
  const common = at(spec, "commonName");
  const san = [
    ...textsAt(spec, "dnsNames").map(dns),
    ...(names?.uris ?? textsAt(spec, "uris")).map(uri),
  ];
  return issue({
    key,
    issuer: ca,
    subject: typeof common === "string" ? common : {},
    extensions: [
      keyUsage(["digitalSignature"]),
      extendedKeyUsage(usages.flatMap((usage) => PURPOSES[usage] ?? [])),
      basicConstraints({ ca: false }),
      authorityKeyId(keyIdOf(spkiOf(ca.key))),
      // Critical where there is no subject (RFC 5280, section 4.2.1.6).
      subjectAltName(san, typeof common !== "string"),
    ],
  });
}

/** The files of its Secret; the key in the encoding that is cert-manager's default. */
export function secret(identity: Issued, ca: Issued): Readonly<Record<string, string>> {
  const key = createPrivateKey(identity.keyPem).export({ type: "sec1", format: "pem" });
  return { "tls.crt": identity.pem, "tls.key": key.toString(), "ca.crt": ca.pem };
}
