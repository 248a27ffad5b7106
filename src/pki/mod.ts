/**
 * Creates certificates for tests in-process, with WebCrypto: a CA, and a server and a client
 * certificate that it signed. They are X.509 v3 in DER (RFC 5280), ECDSA P-256 with SHA-256, and
 * pass our own strict validation as well as `openssl verify -x509_strict`. The CA's path length is
 * 0: it cannot sign further CAs.
 *
 * This module loads the certificate library, so only commands that create certificates import it,
 * and dynamically; the daemon never does. It accesses no files and needs no permission.
 *
 * @module
 */

// Must come first: the certificate library expects this global when it is loaded.
import "reflect-metadata";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";

/** The default lifetime of certificates in days. */
export const DEFAULT_DAYS = 90;

/**
 * How far in the past the validity starts, for peers whose clocks are slow: 1 hour, in
 * milliseconds.
 */
export const BACKDATE = 3_600_000;

const DAY = 86_400_000;
/** A century; a longer lifetime is probably a typo. */
const MAX_DAYS = 36_500;

/** The contents of the certificates. */
export type PkiOptions = {
  /** Days from `now` until all three expire, 1 to 36500. Default {@linkcode DEFAULT_DAYS}. */
  readonly days?: number;
  /** Default: the current time. */
  readonly now?: Date;
  /** DNS names of the server in addition to `localhost`. Default none. */
  readonly dns?: readonly string[];
  /** IP addresses of the server in addition to `127.0.0.1` and `::1`. Default none. */
  readonly ips?: readonly string[];
  /** CN of the client. Default `frontend-service`. */
  readonly client?: string;
  /** O of the client. Default `mtlsd`. */
  readonly organization?: string;
};

/** A certificate with its key. */
export type KeyedCertificate = {
  /** PEM, one certificate. */
  readonly certificate: string;
  /** PEM, PKCS#8, not encrypted. */
  readonly key: string;
  /** Its names, for display: `CN=...`, `O=...`, `DNS:...`, `IP:...`. */
  readonly names: readonly string[];
};

/** A CA and the two leaves that it signed. */
export type Pki = {
  readonly ca: KeyedCertificate;
  readonly server: KeyedCertificate;
  readonly client: KeyedCertificate;
  /** The first second of validity, the same for all three. */
  readonly notBefore: Date;
  /** The last second of validity, the same for all three. */
  readonly notAfter: Date;
  /** Days from `now` to {@linkcode notAfter}. */
  readonly days: number;
};

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** The differences between the three certificates. */
type Profile = {
  readonly subject: x509.Name;
  readonly names: readonly string[];
  readonly extensions: readonly x509.Extension[];
};

type Validity = { readonly notBefore: Date; readonly notAfter: Date };
type Signer = { readonly subject: x509.Name; readonly keys: CryptoKeyPair };

/**
 * Creates a CA, a server and a client certificate, each with a new key.
 *
 * @throws {RangeError} if `days` is not a whole number from 1 to 36500, or a name is empty or does
 * not fit into its field.
 */
export async function makePki(options: PkiOptions = {}): Promise<Pki> {
  const days = options.days ?? DEFAULT_DAYS;
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) {
    throw new RangeError(
      `Cannot make certificates for ${days} days: a whole number from 1 to ${MAX_DAYS} is needed`,
    );
  }
  const ca = caProfile();
  const server = serverProfile(options.dns ?? [], options.ips ?? []);
  const client = clientProfile(
    options.client ?? "frontend-service",
    options.organization ?? "mtlsd",
  );
  // Whole seconds: X.509 times have no fractions.
  const now = Math.floor((options.now ?? new Date()).getTime() / 1000) * 1000;
  const validity = { notBefore: new Date(now - BACKDATE), notAfter: new Date(now + days * DAY) };

  const keys = await generateKeys();
  const signer = { subject: ca.subject, keys };
  return {
    ca: await issue(ca, validity, keys, signer),
    server: await issue(server, validity, await generateKeys(), signer),
    client: await issue(client, validity, await generateKeys(), signer),
    ...validity,
    days,
  };
}

function caProfile(): Profile {
  const commonName = "mtlsd throw-away CA";
  return {
    subject: subjectName({ CN: commonName }),
    names: [`CN=${commonName}`],
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  };
}

function serverProfile(dns: readonly string[], ips: readonly string[]): Profile {
  const hosts = new Set(["localhost", ...dns].map(dnsName));
  const addresses = new Set(["127.0.0.1", "::1", ...ips].map(address));
  const san: x509.JsonGeneralNames = [
    ...[...hosts].map((value) => ({ type: "dns", value }) as const),
    ...[...addresses].map((value) => ({ type: "ip", value }) as const),
  ];
  return {
    subject: subjectName({ CN: "localhost" }),
    names: ["CN=localhost", ...san.map(({ type, value }) => `${type.toUpperCase()}:${value}`)],
    extensions: [
      ...leafExtensions("serverAuth"),
      new x509.SubjectAlternativeNameExtension(san),
    ],
  };
}

function clientProfile(commonName: string, organization: string): Profile {
  for (const value of [commonName, organization]) {
    // RFC 5280 appendix A.1 limits both to 64 characters.
    if (value === "" || [...value].length > 64) {
      throw new RangeError(
        `Cannot name the client ${JSON.stringify(value)}: 1 to 64 characters are needed`,
      );
    }
  }
  return {
    subject: subjectName({ O: organization, CN: commonName }),
    names: [`CN=${commonName}`, `O=${organization}`],
    extensions: leafExtensions("clientAuth"),
  };
}

/** A name with the attributes in the given order, each in an RDN of its own. */
function subjectName(attributes: Readonly<Record<string, string>>): x509.Name {
  // With the type as the key, a leading "#" is plain text; the short form would parse it as hex.
  return new x509.Name(
    Object.entries(attributes).map(([type, value]) => ({ [type]: [{ utf8String: value }] })),
  );
}

function leafExtensions(purpose: "serverAuth" | "clientAuth"): x509.Extension[] {
  return [
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[purpose]]),
  ];
}

/** Validates a host name; only the first label may be a wildcard. */
function dnsName(value: string): string {
  const label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
  if (value.length > 253 || !new RegExp(`^(\\*\\.)?${label}(\\.${label})*$`).test(value)) {
    throw new RangeError(
      `Cannot name the server ${JSON.stringify(value)}: a DNS name is needed`,
    );
  }
  return value;
}

/** Validates an IP address and normalizes it. Certificates cannot contain a zone. */
function address(value: string): string {
  const family = value.includes("%") ? 0 : isIP(value);
  if (family === 0) {
    throw new RangeError(
      `Cannot name the server ${JSON.stringify(value)}: an IP address is needed`,
    );
  }
  // The library misparses a dotted tail (`::ffff:10.0.0.1`). The host of a URL never has one.
  return family === 4 ? value : new URL(`http://[${value}]/`).hostname.slice(1, -1);
}

async function generateKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function issue(
  profile: Profile,
  validity: Validity,
  keys: CryptoKeyPair,
  signer: Signer,
): Promise<KeyedCertificate> {
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    issuer: signer.subject,
    subject: profile.subject,
    ...validity,
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      ...profile.extensions,
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.keys.publicKey),
    ],
  });
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    certificate: `${certificate.toString("pem")}\n`,
    key: `${x509.PemConverter.encode(key, "PRIVATE KEY")}\n`,
    names: profile.names,
  };
}

/** 16 octets in hex: positive, and without a leading zero octet (RFC 5280 section 4.1.2.2). */
function randomSerial(): string {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  octets[0] = ((octets[0] ?? 0) & 0x7f) | 0x40;
  return octets.toHex();
}
