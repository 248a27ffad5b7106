/**
 * Chains that a stranger sends to make the other side work: every shape that made some verifier's work
 * grow faster than the chain. None leads to a CA of the bundle by signatures; some do by names.
 *
 * @module
 */

import type { KeyObject } from "node:crypto";
import * as der from "./der.ts";
import {
  basicConstraints,
  dns,
  extension,
  type Issued,
  keyUsage,
  makeCa,
  makeKey,
  makeLeaf,
  nameConstraints,
} from "./pki.ts";

/** A chain and the key of its first certificate. */
export type HostileChain = {
  readonly name: string;
  readonly chain: readonly Uint8Array[];
  readonly key: KeyObject;
};

type Kind = "p256" | "p384" | "rsa2048";

/** Bytes of the largest TLS message that the engine takes. */
const MAX_BYTES = 64 * 1024;

function repeat<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

/** As many of the certificates as fit into one message, behind the leaf. */
function behind(name: string, leaf: Issued, others: readonly Issued[]): HostileChain {
  const chain: Uint8Array[] = [];
  let bytes = 0;
  for (const { der } of [leaf, ...others]) {
    bytes += der.length + 5;
    if (bytes > MAX_BYTES - 64) break;
    chain.push(der);
  }
  return { name, chain, key: leaf.key };
}

/** A CA with as little in it as it takes. */
function lean(subject: string, key: KeyObject, issuer: Issued | undefined): Issued {
  const options = { subject, key, extensions: [basicConstraints({ ca: true })] };
  return makeCa(issuer === undefined ? options : { ...options, issuer });
}

/**
 * Levels of CAs: each of a level is a possible issuer of each below it. The highest ones name `top` as
 * their issuer, or themselves.
 */
export function forest(kind: Kind, options: {
  readonly name: string;
  readonly levels: number;
  readonly width: number;
  readonly oneName?: boolean;
  readonly top?: Issued;
}): HostileChain {
  const { name, levels, width, oneName = false, top } = options;
  const keys = repeat(kind === "rsa2048" ? 3 : width, (i) => makeKey(kind, `forest ${i}`));
  const first = keys[0] ?? makeKey(kind);
  const nameOf = (level: number) => oneName ? "forest" : `forest ${level}`;
  const cas: Issued[] = [];
  let above: Issued | undefined;
  for (let level = levels; level > 0; level--) {
    const issuer = above;
    const made = repeat(width, (i) => {
      const key = keys[i % keys.length] ?? first;
      return issuer === undefined && top !== undefined
        ? makeCa({
          subject: nameOf(level),
          key,
          issuerName: top.subject,
          extensions: [basicConstraints({ ca: true })],
        })
        : lean(nameOf(level), key, issuer);
    });
    cas.push(...made);
    above = made[0];
  }
  return behind(name, makeLeaf({ subject: "stranger", kind }, above), cas);
}

/** CAs under one key, each the issuer of each other by name and signature. */
function mesh(ca: Issued): HostileChain {
  const key = makeKey();
  const roots = repeat(14, (i) => lean(`mesh ${i}`, key, undefined));
  const links = roots.flatMap((issuer, i) =>
    roots.map((_, j) => lean(`mesh ${j}`, key, i === j ? undefined : issuer))
  );
  const toTheCa = makeCa({ subject: "mesh 13", key, issuerName: ca.subject });
  const leaf = makeLeaf({ subject: "stranger" }, roots[0]);
  return behind("a mesh of 14 CAs under one key", leaf, [toTheCa, ...links]);
}

/** Certificates that claim to be the CA's, so that each needs a signature check. */
function forgedLinks(ca: Issued, kind: Kind): HostileChain {
  const keys = repeat(100, () => makeKey(kind, "forged"));
  const links = keys.map((key) => makeCa({ subject: "link", key, issuerName: ca.subject }));
  const leaf = makeLeaf({ subject: "stranger" }, links[0]);
  return behind(`100 forged links to the CA, ${kind}`, leaf, links);
}

/** An RSA key with numbers of this size; nobody holds it. */
function rsaKey(modulusBits: number, exponent: bigint): der.Der {
  const modulus = (1n << BigInt(modulusBits)) - 159n;
  const numbers = der.seq(der.int(modulus), der.int(exponent));
  const id = der.seq(der.oid("1.2.840.113549.1.1.1"), der.nil());
  return der.seq(id, der.bitString(numbers));
}

function withIssuerKey(name: string, ca: Issued, spki: der.Der, bytes: number): HostileChain {
  const signatureBytes = "5a".repeat(bytes);
  const links = repeat(12, () =>
    makeCa({
      subject: "big",
      spki,
      signature: "rsa-sha256",
      signatureBytes,
      issuerName: ca.subject,
    }));
  const leaf = makeLeaf({
    subject: "stranger",

    issuerName: "big",
    signature: "rsa-sha256",
    signatureBytes,
  });
  return behind(name, leaf, links);
}

/** All shapes, for a server that trusts `ca`; `insider` is a CA below it that its holder abuses. */
export function hostileChains(ca: Issued, insider: Issued): readonly HostileChain[] {
  const tall = { levels: 6, width: 33 };
  const names = repeat(10_000, (i) => dns(i.toString(36)));
  const zones = repeat(1_500, (i) => dns(`${i.toString(36)}.example`));
  const narrow = makeCa({
    subject: "narrow",
    issuer: insider,
    extra: [nameConstraints({ permitted: zones, excluded: zones })],
  });
  const leaf = (options: Parameters<typeof makeLeaf>[0], issuer?: Issued) =>
    makeLeaf({ subject: "stranger", ...options }, issuer);
  const policy = (i: number) => der.oid(`2.999.${i}`);
  const policies = extension(
    "2.5.29.32",
    der.seq(...repeat(200, (i) => der.seq(policy(i)))),
  );
  const mappings = extension(
    "2.5.29.33",
    der.seq(...repeat(200, (i) => der.seq(policy(i), policy((i * 7) % 200)))),
    true,
  );
  const explicit = extension("2.5.29.36", der.seq(der.implicit(0, der.int(0))), true);
  let mapping = insider;
  const mapped = repeat(5, (i) =>
    mapping = makeCa({
      subject: `mapping ${i}`,
      issuer: mapping,
      extra: [policies, mappings, explicit],
    }));
  const loopKeys = [makeKey(), makeKey()] as const;
  const loopA = lean("loop a", loopKeys[0], undefined);
  const loopB = lean("loop b", loopKeys[1], loopA);
  const loopBack = lean("loop a", loopKeys[0], loopB);
  const loops = repeat(
    60,
    (i) => i % 2 === 0 ? lean("loop b", loopKeys[1], loopA) : lean("loop a", loopKeys[0], loopB),
  );
  return [
    forest("p256", { name: "a forest, six levels of 33", ...tall }),
    forest("p256", { name: "a forest of one name", ...tall, oneName: true }),
    forest("p384", { name: "a forest of P-384", ...tall }),
    forest("rsa2048", { name: "a forest of RSA", levels: 6, width: 12 }),
    forest("p256", { name: "a forest that names the CA", ...tall, top: ca }),
    forest("p384", { name: "a forest of P-384 that names the CA", ...tall, top: ca }),
    forest("p256", {
      name: "a forest of one name that names the CA",
      ...tall,
      oneName: true,
      top: ca,
    }),
    mesh(ca),
    behind("a loop", leaf({}, loopA), [loopB, loopBack, ...loops]),
    forgedLinks(ca, "p256"),
    forgedLinks(ca, "p384"),
    withIssuerKey("issuers with RSA-4096 keys", ca, rsaKey(4096, 65537n), 512),
    withIssuerKey("issuers with RSA-16384 keys", ca, rsaKey(16384, 65537n), 2048),
    withIssuerKey("issuers with large exponents", ca, rsaKey(4096, (1n << 4000n) + 1n), 512),
    withIssuerKey("issuers with exponents of 32 bits", ca, rsaKey(4096, (1n << 32n) - 5n), 512),
    behind("10,000 names", leaf({ san: names }), []),
    behind(
      "name constraints times names",
      leaf({ san: repeat(1_500, (i) => dns(`a.${i.toString(36)}.example`)) }, narrow),
      [narrow, insider],
    ),
    behind("policies with mappings", leaf({ extra: [policies] }, mapping), [...mapped, insider]),
    behind(
      "junk",
      leaf({}),
      repeat(
        140,
        (i) =>
          makeLeaf({
            subject: `junk ${i}`,
            key: loopKeys[0],
            extensions: [keyUsage(["digitalSignature"])],
          }),
      ),
    ),
  ];
}
