/**
 * Certificates for tests, good and hostile, made at once and without openssl. Every part can be
 * replaced: see {@linkcode IssueOptions}. Names and extensions come from `x509_parts.ts`, keys from
 * `keys.ts`; both are exported from here too.
 *
 * ```ts
 * const ca = makeCa();
 * const expired = makeLeaf({ notAfter: new Date("2020-01-01") }, ca);
 * const forged = makeLeaf({ subject: "db", forged: true }, ca);
 * const v1 = makeCa({ version: 1 });
 * const pki = testPki();
 * const files = writePki(dir, pki);
 * ```
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import * as der from "./der.ts";
import type { Bytes, Der } from "./der.ts";
import { forger, keyIdOf, makeKey, pem, sign, spkiOf, usualSignature } from "./keys.ts";
import type { KeyKind } from "./keys.ts";
import * as parts from "./x509_parts.ts";
import type { NameInput, SignatureKind } from "./x509_parts.ts";

export * from "./keys.ts";
export * from "./x509_parts.ts";

/** A certificate and what its holder has. */
export type Issued = {
  readonly der: Uint8Array;
  readonly pem: string;
  /** The private key. */
  readonly key: KeyObject;
  /** PKCS#8. */
  readonly keyPem: string;
  /** The subject, DER. */
  readonly subject: Der;
  /** SHA-1 of the public key's bits: the subject key identifier, if there is one. */
  readonly keyId: Uint8Array;
  /** `undefined` for a self-signed one. */
  readonly issuer: Issued | undefined;
};

/** How to make a certificate. What is left out is sound. */
export type IssueOptions = {
  /** Default `p256`; a `key` wins over it. */
  readonly kind?: KeyKind;
  readonly key?: KeyObject;
  /** The SubjectPublicKeyInfo, if not that of the key. */
  readonly spki?: Der;
  /** Self-signed without one. */
  readonly issuer?: Issued;
  readonly subject?: NameInput;
  /** The issuer's name, if not the issuer's subject. */
  readonly issuerName?: NameInput;
  /** Default 3; 1 is written by leaving the field out; DER goes in as it is. */
  readonly version?: number | Der;
  /** Default: 16 random octets. Bytes and hex are the content octets. */
  readonly serial?: number | bigint | Bytes;
  /** Default: an hour ago. DER goes in as it is (`utcTime("2401010000Z")`). */
  readonly notBefore?: Date | Der;
  /** Default: in 30 days. */
  readonly notAfter?: Date | Der;
  /** In place of all other extensions; `[]` leaves the field out. A Der is the whole `[3]` field. */
  readonly extensions?: readonly Der[] | Der;
  /** Default extensions to leave out, by name or OID. */
  readonly omit?: readonly string[];
  /** Extensions besides the others. */
  readonly extra?: readonly Der[];
  /** Bits of the obsolete unique identifiers. */
  readonly issuerUniqueId?: Uint8Array;
  readonly subjectUniqueId?: Uint8Array;
  /** Default: what suits the issuer's key, with SHA-256 (P-384: SHA-384). */
  readonly signature?: SignatureKind;
  /** The AlgorithmIdentifier inside the TBSCertificate, if not that of the signature. */
  readonly innerAlgorithm?: Der;
  /** The AlgorithmIdentifier after it, if not that of the signature. */
  readonly outerAlgorithm?: Der;
  /** Signed with a key that is not the issuer's. */
  readonly forged?: boolean;
  /** The key to sign with, if not the issuer's. */
  readonly signWith?: KeyObject;
  /** The signature's octets in place of a signature. */
  readonly signatureBytes?: Bytes;
  /** Last word on the fields of the TBSCertificate, before it is signed. */
  readonly fields?: (fields: readonly Der[]) => readonly Der[];
  /** Last word on the TBSCertificate, before it is signed. */
  readonly tbs?: (tbs: Der) => Der;
  /** Last word on the certificate. */
  readonly finish?: (certificate: Der) => Der;
  /** Put behind the certificate. */
  readonly trailing?: Bytes;
};

/** The anchors of credentials, PEM. */
export function anchorsPem(
  { anchors }: { readonly anchors: readonly { readonly der: Uint8Array }[] },
): string {
  return anchors.map(({ der }) => pem("CERTIFICATE", der)).join("");
}

/** Several certificates in one PEM, in the order given. */
export function chainPem(...certificates: readonly Issued[]): string {
  return certificates.map((certificate) => certificate.pem).join("");
}

/** A certificate and those above it, without the self-signed one. */
export function pathOf(leaf: Issued): Issued[] {
  const path = [leaf];
  for (let next = leaf.issuer; next?.issuer !== undefined; next = next.issuer) path.push(next);
  return path;
}

/** Makes a certificate; it has no extensions but those named. */
export function issue(options: IssueOptions = {}): Issued {
  const key = options.key ?? makeKey(options.kind);
  const spki = options.spki ?? spkiOf(key);
  const subject = parts.name(options.subject ?? "mtlsd test");
  const signer = options.signWith ?? options.issuer?.key ?? key;
  const kind = options.signature ?? usualSignature(signer);
  const algorithm = parts.signatureAlgorithm(kind);
  const now = Date.now();
  const time = (value: Date | Der): Der => value instanceof Date ? der.time(value) : value;
  const uniqueId = (tag: number, bits: Uint8Array | undefined): Der[] =>
    bits === undefined ? [] : [der.implicit(tag, der.bitString(bits))];

  const fields = [
    ...versionField(options.version ?? 3),
    der.int(options.serial ?? Uint8Array.of(0x4d, ...randomBytes(15))),
    options.innerAlgorithm ?? algorithm,
    parts.name(options.issuerName ?? options.issuer?.subject ?? subject),
    der.seq(
      time(options.notBefore ?? new Date(now - 3_600_000)),
      time(options.notAfter ?? new Date(now + 30 * 86_400_000)),
    ),
    subject,
    spki,
    ...uniqueId(1, options.issuerUniqueId),
    ...uniqueId(2, options.subjectUniqueId),
    ...extensionsField(options),
  ];
  const plain = der.seq(...(options.fields?.(fields) ?? fields));
  const tbs = options.tbs?.(plain) ?? plain;
  const signingKey = options.forged === true ? forger(signer) : signer;
  const signature = options.signatureBytes === undefined
    ? sign(kind, signingKey, tbs)
    : der.raw(options.signatureBytes);
  const signed = der.seq(tbs, options.outerAlgorithm ?? algorithm, der.bitString(signature));
  const bytes = der.concat(options.finish?.(signed) ?? signed, der.raw(options.trailing ?? ""));
  return {
    der: bytes,
    pem: pem("CERTIFICATE", bytes),
    key,
    keyPem: key.export({ type: "pkcs8", format: "pem" }).toString(),
    subject,
    keyId: keyIdOf(spki),
    issuer: options.issuer,
  };
}

function versionField(version: number | Der): Der[] {
  if (typeof version !== "number") return [version];
  return version === 1 ? [] : [der.explicit(0, der.int(version - 1))];
}

function extensionsField(options: IssueOptions): Der[] {
  const { extensions = [], extra = [], omit = [] } = options;
  if (extensions instanceof Uint8Array) return [extensions];
  const all = [
    ...extensions.filter((ext) => !omit.some((id) => parts.isExtension(ext, id))),
    ...extra,
  ];
  return all.length === 0 ? [] : [der.explicit(3, der.seq(...all))];
}

/** Fills in the key and the extensions of a role. Below version 3 there are no extensions. */
function issueAs(
  slot: string,
  options: IssueOptions,
  extensions: (keyId: Uint8Array) => readonly Der[],
): Issued {
  const key = options.key ?? makeKey(options.kind, slot);
  const keyId = keyIdOf(options.spki ?? spkiOf(key));
  const v3 = typeof options.version !== "number" || options.version >= 3;
  const { issuer } = options;
  const usual = [
    ...extensions(keyId),
    parts.subjectKeyId(keyId),
    ...(issuer === undefined ? [] : [parts.authorityKeyId(issuer.keyId)]),
  ];
  return issue({ extensions: v3 ? usual : [], ...options, key });
}

/**
 * Makes a CA: self-signed, or intermediate with an `issuer`. RSA keys of CAs are shared unless a
 * `key` is given.
 */
export function makeCa(options: IssueOptions & { readonly pathLength?: number } = {}): Issued {
  const { pathLength } = options;
  return issueAs(
    options.issuer ? "intermediate" : "ca",
    { subject: "mtlsd test CA", ...options },
    () => [
      parts.basicConstraints({ ca: true, ...(pathLength === undefined ? {} : { pathLength }) }),
      parts.keyUsage(["keyCertSign", "cRLSign"]),
    ],
  );
}

/** What a leaf is for and who it names. */
export type LeafOptions = IssueOptions & {
  /** Default `both`. */
  readonly role?: "server" | "client" | "both";
  /** Names from `dns(...)`, `ip(...)` and so on; none by default. */
  readonly san?: readonly Der[];
};

/**
 * Makes a leaf, self-signed without an issuer. RSA keys of leaves are shared unless a `key` is
 * given.
 */
export function makeLeaf(options: LeafOptions = {}, issuer?: Issued): Issued {
  const { role = "both", san = [] } = options;
  const purposes = { server: ["serverAuth"], client: ["clientAuth"] };
  const both = [...purposes.server, ...purposes.client];
  const signed = issuer === undefined ? options : { issuer, ...options };
  return issueAs(`leaf ${role}`, { subject: "mtlsd test leaf", ...signed }, () => [
    parts.keyUsage(["digitalSignature"]),
    parts.extendedKeyUsage(role === "both" ? both : purposes[role]),
    ...(san.length === 0 ? [] : [parts.subjectAltName(san)]),
  ]);
}

/** A CA with a server and a client. */
export type TestPki = {
  readonly ca: Issued;
  readonly intermediate: Issued | undefined;
  readonly server: Issued;
  readonly client: Issued;
};

/** A sound PKI: the server is `localhost`, `127.0.0.1`, `::1`; the client CN `frontend-service`, O `acme`. */
export function testPki(
  options: { readonly kind?: KeyKind; readonly intermediate?: boolean } = {},
): TestPki {
  const kind = options.kind ?? "p256";
  const ca = makeCa({ kind });
  const intermediate = options.intermediate === true
    ? makeCa({ kind, subject: "mtlsd test intermediate", issuer: ca, pathLength: 0 })
    : undefined;
  const issuer = intermediate ?? ca;
  const san = [parts.dns("localhost"), parts.ip("127.0.0.1"), parts.ip("::1")];
  return {
    ca,
    intermediate,
    server: makeLeaf({ kind, role: "server", subject: "localhost", san }, issuer),
    client: makeLeaf(
      { kind, role: "client", subject: { O: "acme", CN: "frontend-service" } },
      issuer,
    ),
  };
}

/** The paths of a PKI in files. */
export type PkiFiles = Readonly<
  Record<"ca" | "server" | "serverKey" | "client" | "clientKey", string>
>;

/** Writes `ca.pem`, `server.pem`, `server-key.pem`, `client.pem`, `client-key.pem`; chains whole. */
export function writePki(dir: string, pki: TestPki): PkiFiles {
  const files = {
    ca: join(dir, "ca.pem"),
    server: join(dir, "server.pem"),
    serverKey: join(dir, "server-key.pem"),
    client: join(dir, "client.pem"),
    clientKey: join(dir, "client-key.pem"),
  };
  Deno.mkdirSync(dir, { recursive: true });
  Deno.writeTextFileSync(files.ca, pki.ca.pem);
  Deno.writeTextFileSync(files.server, chainPem(...pathOf(pki.server)));
  Deno.writeTextFileSync(files.serverKey, pki.server.keyPem, { mode: 0o600 });
  Deno.writeTextFileSync(files.client, chainPem(...pathOf(pki.client)));
  Deno.writeTextFileSync(files.clientKey, pki.client.keyPem, { mode: 0o600 });
  return files;
}
