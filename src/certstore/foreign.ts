/**
 * Recognizes files that contain something other than expected, and says how to convert them.
 *
 * @module
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { looksLikePem, type PemBlock } from "./pem.ts";

/** What the file is expected to contain. */
export type Wanted = "certificate" | "private key" | "revocation list";

/** Whether a PEM label is that of a private key in any format. */
export function isKeyLabel(label: string): boolean {
  return label.endsWith("PRIVATE KEY");
}

/** Quotes a path as one word of a shell command. */
export function shellWord(path: string): string {
  return /^[\w@%+=:,./][\w@%+=:,./-]*$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

function startsWith(bytes: Uint8Array, ...start: readonly number[]): boolean {
  return start.every((byte, i) => bytes[i] === byte);
}

/** Describes a file in which no PEM block was found, with the fix. */
export function describeNotPem(bytes: Uint8Array, path: string, wanted: Wanted): string {
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") return `it is empty; write the ${wanted} to it in PEM`;
  if (startsWith(bytes, 0xff, 0xfe) || startsWith(bytes, 0xfe, 0xff)) {
    return "it is UTF-16 text; save it as UTF-8 or ASCII";
  }
  if (startsWith(bytes, 0xfe, 0xed, 0xfe, 0xed)) {
    return "it is a Java keystore; export it to PKCS#12 with keytool -importkeystore " +
      "-deststoretype PKCS12, then to PEM with openssl pkcs12";
  }
  if (startsWith(bytes, 0x30) && (bytes[1] ?? 0) >= 0x80) return describeDer(bytes, path, wanted);
  if (looksLikePem(text)) {
    return text.includes("\\n")
      ? "its PEM stands on one line with \\n in it; write real line ends"
      : "its PEM is malformed: BEGIN and END have to stand on lines of their own";
  }
  const not = wanted === "revocation list" ? "neither PEM nor DER" : "not PEM";
  return `it is ${not}; write the ${wanted} to it between -----BEGIN and -----END lines`;
}

/** The first bytes of a PKCS#7 file: SEQUENCE { OBJECT IDENTIFIER pkcs7-signedData ... }. */
const PKCS7 = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

function describeDer(bytes: Uint8Array, path: string, wanted: Wanted): string {
  const file = shellWord(path);
  const out = "-out NEW.pem";
  const contentAt = (bytes[1] ?? 0) === 0x80 ? 2 : 2 + ((bytes[1] ?? 0) & 0x7f);
  const content = bytes.subarray(contentAt);
  // PFX ::= SEQUENCE { version 3, authSafe ContentInfo ... } (RFC 7292)
  if (startsWith(content, 0x02, 0x01, 0x03, 0x30)) {
    const part = wanted === "certificate" ? "-nokeys" : "-nocerts -nodes";
    return `it is PKCS#12, not PEM; convert it: openssl pkcs12 -in ${file} ${part} ${out}`;
  }
  if (startsWith(content, ...PKCS7)) {
    return "it is PKCS#7 in DER, not PEM; convert it: " +
      `openssl pkcs7 -inform DER -in ${file} -print_certs ${out}`;
  }
  if (isCertificate(bytes)) {
    const convert = `openssl x509 -inform DER -in ${file} ${out}`;
    return wanted === "certificate"
      ? `it is a certificate in DER, not PEM; convert it: ${convert}`
      : "it is a certificate in DER, not a private key; name the private key's file";
  }
  if (isKey(bytes)) {
    return wanted === "private key"
      ? `it is a private key in DER, not PEM; convert it: openssl pkey -inform DER -in ${file} ${out}`
      : "it is a private key in DER, not a certificate; name the certificate's file";
  }
  const command = wanted === "certificate" ? "x509" : "pkey";
  return "it is DER, not PEM, and of a kind not known here; " +
    `if it is a ${wanted}, convert it: openssl ${command} -inform DER -in ${file} ${out}`;
}

/** Whether the bytes are a certificate in DER or PEM. */
export function isCertificate(bytes: Uint8Array): boolean {
  try {
    return new X509Certificate(bytes).serialNumber !== "";
  } catch {
    return false; // It is none.
  }
}

function isKey(bytes: Uint8Array): boolean {
  return (["pkcs8", "sec1", "pkcs1"] as const).some((type) => {
    try {
      createPrivateKey({ key: bytes.toBase64(), format: "der", type, encoding: "base64" });
      return true;
    } catch {
      return false; // Not in this format; another may fit.
    }
  });
}

/** Names the kind of a block by its label, and the fix if it is not the expected kind. */
function describeLabel(label: string, path: string): { what: string; fix: string } {
  const file = shellWord(path);
  if (isKeyLabel(label)) return { what: "a private key", fix: "name the certificate's file" };
  switch (label) {
    case "CERTIFICATE":
      return { what: "a certificate", fix: "name the private key's file" };
    case "TRUSTED CERTIFICATE":
    case "X509 CERTIFICATE":
      return {
        what: `a "${label}" block`,
        fix: `convert it: openssl x509 -in ${file} -out NEW.pem`,
      };
    case "CERTIFICATE REQUEST":
    case "NEW CERTIFICATE REQUEST":
      return {
        what: "a certificate request",
        fix: "have a CA sign it and name what the CA gives back",
      };
    case "PUBLIC KEY":
    case "RSA PUBLIC KEY":
      return { what: "a public key", fix: "name the file that was asked for" };
    case "X509 CRL":
      return { what: "a revocation list", fix: "name the file that was asked for" };
    case "PKCS7":
    case "CMS":
      return {
        what: "PKCS#7",
        fix: `convert it: openssl pkcs7 -in ${file} -print_certs -out NEW.pem`,
      };
    default:
      return { what: `a "${label}" block`, fix: "name the file that was asked for" };
  }
}

/** Describes a file whose PEM blocks are not of the expected kind, with the fix. */
export function describeWrongBlocks(
  blocks: readonly PemBlock[],
  path: string,
  wanted: Wanted,
): string {
  const block = blocks.find(({ label }) => !label.endsWith("PARAMETERS")) ?? blocks[0];
  if (block === undefined) return `it holds no ${wanted}`;
  const { what, fix: usual } = describeLabel(block.label, path);
  const fix = wanted === "revocation list" ? "name the revocation list of the CA" : usual;
  return `it holds no ${wanted} but ${what}; ${fix}`;
}
