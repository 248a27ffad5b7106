/**
 * Parses PEM as it occurs in practice (RFC 7468, and the RFC 1421 headers of old keys): text around
 * the blocks, a byte order mark, any line ends, and a block that begins right behind the previous
 * one. Where a file is in another format, or its blocks are of another kind than expected, says so
 * and how to convert it.
 *
 * @module
 */

import { createPrivateKey, X509Certificate } from "node:crypto";

/** One block, whether or not it can be decoded. */
export type PemBlock =
  & {
    /** For example `CERTIFICATE` or `PRIVATE KEY`. */
    readonly label: string;
    /** The line on which it begins, counted from 1. */
    readonly line: number;
  }
  & (
    | { readonly kind: "sound"; readonly der: Uint8Array }
    /** Encrypted according to its RFC 1421 headers; the body is not decoded. */
    | { readonly kind: "encrypted" }
    /**
     * `fault` is a clause about "it". `cut` is true if the file ends within the block, so that it
     * is probably incomplete.
     */
    | { readonly kind: "broken"; readonly fault: string; readonly cut: boolean }
  );

// The length of a label is limited so that messages never contain a whole line of a file.
const BEGIN = /^-----BEGIN ([A-Za-z0-9][A-Za-z0-9 .+/]{0,63})-----$/;
const END = /^-----END (.*)-----$/;
const HEADER = /^[A-Za-z][A-Za-z0-9-]*:/;

/** Whether the text contains the start of a PEM block. */
function looksLikePem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** Finds all blocks of a text, in order. */
export function parsePem(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly line: number; readonly body: string[] } | undefined;
  const close = (end: string | undefined, atEnd = false): void => {
    if (open === undefined) return;
    const { label, line, body } = open;
    blocks.push({ label, line, ...readBody(label, end, body, atEnd) });
    open = undefined;
  };
  for (const [i, whole] of text.split(/\r\n|\n|\r/).entries()) {
    for (const part of partsOf(whole)) {
      // Trimming also removes a byte order mark.
      const line = part.trim();
      if (!/^-----(BEGIN|END) /.test(line)) {
        open?.body.push(line);
        continue;
      }
      close(END.exec(line)?.[1]);
      const label = BEGIN.exec(line)?.[1];
      if (label !== undefined) open = { label, line: i + 1, body: [] };
    }
  }
  close(undefined, true);
  return blocks;
}

/** Splits a line in two where files were concatenated and the first had no line end. */
function partsOf(line: string): readonly string[] {
  return line.includes("----------BEGIN ") ? line.split(/(?<=-----)(?=-----BEGIN )/) : [line];
}

type Body =
  | { readonly kind: "sound"; readonly der: Uint8Array }
  | { readonly kind: "encrypted" }
  | { readonly kind: "broken"; readonly fault: string; readonly cut: boolean };

function broken(fault: string, cut = false): Body {
  return { kind: "broken", fault, cut };
}

function readBody(
  label: string,
  end: string | undefined,
  body: readonly string[],
  atEnd: boolean,
): Body {
  if (end === undefined) return broken("it has no END line: it is cut short", atEnd);
  if (end !== label) return broken(`its END line is not that of "${label}"`);
  const blank = body.indexOf("");
  const headers = HEADER.test(body[0] ?? "") ? body.slice(0, blank < 0 ? body.length : blank) : [];
  if (headers.some((line) => /^Proc-Type:.*ENCRYPTED/.test(line))) return { kind: "encrypted" };
  const base64 = body.slice(headers.length).join("");
  if (base64 === "") return broken("nothing is in it");
  try {
    return {
      kind: "sound",
      der: Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" }),
    };
  } catch {
    // The decoder's error message could quote the key, so it is not included.
    return broken("its base64 is malformed");
  }
}

/** Formats one block with lines of 64 characters and a final line end. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** What the file is expected to contain. */
export type Expected = "certificate" | "private key" | "revocation list";

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
export function describeNotPem(bytes: Uint8Array, path: string, expected: Expected): string {
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") return `it is empty; write the ${expected} to it in PEM`;
  if (startsWith(bytes, 0xff, 0xfe) || startsWith(bytes, 0xfe, 0xff)) {
    return "it is UTF-16 text; save it as UTF-8 or ASCII";
  }
  if (startsWith(bytes, 0xfe, 0xed, 0xfe, 0xed)) {
    return "it is a Java keystore; export it to PKCS#12 with keytool -importkeystore " +
      "-deststoretype PKCS12, then to PEM with openssl pkcs12";
  }
  if (startsWith(bytes, 0x30) && (bytes[1] ?? 0) >= 0x80) return describeDer(bytes, path, expected);
  if (looksLikePem(text)) {
    return text.includes("\\n")
      ? "its PEM stands on one line with \\n in it; write real line ends"
      : "its PEM is malformed: BEGIN and END have to stand on lines of their own";
  }
  const not = expected === "revocation list" ? "neither PEM nor DER" : "not PEM";
  return `it is ${not}; write the ${expected} to it between -----BEGIN and -----END lines`;
}

/** The first bytes of a PKCS#7 file: SEQUENCE { OBJECT IDENTIFIER pkcs7-signedData ... }. */
const PKCS7 = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

function describeDer(bytes: Uint8Array, path: string, expected: Expected): string {
  const file = shellWord(path);
  const out = "-out NEW.pem";
  const contentAt = (bytes[1] ?? 0) === 0x80 ? 2 : 2 + ((bytes[1] ?? 0) & 0x7f);
  const content = bytes.subarray(contentAt);
  // PFX ::= SEQUENCE { version 3, authSafe ContentInfo ... } (RFC 7292)
  if (startsWith(content, 0x02, 0x01, 0x03, 0x30)) {
    const part = expected === "certificate" ? "-nokeys" : "-nocerts -nodes";
    return `it is PKCS#12, not PEM; convert it: openssl pkcs12 -in ${file} ${part} ${out}`;
  }
  if (startsWith(content, ...PKCS7)) {
    return "it is PKCS#7 in DER, not PEM; convert it: " +
      `openssl pkcs7 -inform DER -in ${file} -print_certs ${out}`;
  }
  if (isCertificate(bytes)) {
    const convert = `openssl x509 -inform DER -in ${file} ${out}`;
    return expected === "certificate"
      ? `it is a certificate in DER, not PEM; convert it: ${convert}`
      : "it is a certificate in DER, not a private key; name the private key's file";
  }
  if (isKey(bytes)) {
    return expected === "private key"
      ? `it is a private key in DER, not PEM; convert it: openssl pkey -inform DER -in ${file} ${out}`
      : "it is a private key in DER, not a certificate; name the certificate's file";
  }
  const command = expected === "certificate" ? "x509" : "pkey";
  return "it is DER, not PEM, and of a kind not known here; " +
    `if it is a ${expected}, convert it: openssl ${command} -inform DER -in ${file} ${out}`;
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
  expected: Expected,
): string {
  const block = blocks.find(({ label }) => !label.endsWith("PARAMETERS")) ?? blocks[0];
  if (block === undefined) return `it holds no ${expected}`;
  const { what, fix: usual } = describeLabel(block.label, path);
  const fix = expected === "revocation list" ? "name the revocation list of the CA" : usual;
  return `it holds no ${expected} but ${what}; ${fix}`;
}
