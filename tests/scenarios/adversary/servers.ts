/**
 * Servers that are not the one that client mode means.
 *
 * @module
 */

import type { Refused } from "../../support/adversary/arena.ts";
import type { ServerRow } from "../../support/adversary/front.ts";
import type { ServerPlay } from "../../support/adversary/server.ts";
import * as der from "../../support/der.ts";
import {
  dns,
  email,
  extendedKeyUsage,
  ip,
  type Issued,
  type IssueOptions,
  type LeafOptions,
  makeCa,
  makeLeaf,
  nameConstraints,
  pathOf,
  uri,
} from "../../support/pki.ts";
import { future, middle, past } from "./chains.ts";

/** The name that the daemon asks for. */
export const NAME = "db.acme.example";

/** The server that everybody pretends to be. */
export function server(options: LeafOptions = {}, issuer?: Issued): Issued {
  return makeLeaf({ role: "server", subject: NAME, san: [dns(NAME)], ...options }, issuer);
}

/** Shows a certificate with those above it, as its holder. */
export function serves(leaf: Issued, ...more: readonly Issued[]): ServerPlay {
  return { chain: [...pathOf(leaf), ...more].map((issued) => issued.der), key: leaf.key };
}

const untrusted: Refused = { handshake: "untrusted", error: /^no chain of valid signatures leads/ };

const IDS = Uint8Array.of(1, 2, 3);

/** What the TLS engine cannot read: by itself it would take the issuer's name for the issuer's word. */
const UNREADABLE: Readonly<Record<string, IssueOptions>> = {
  "X.509 v1": { version: 1 },
  "X.509 v2": { version: 2 },
  "X.509 v4": { version: 4 },
  "version 300": { version: der.explicit(0, der.int(300)) },
  "a trailing byte": { trailing: "00" },
  "a trailing value": { trailing: "0500" },
  "a field too many": { fields: (fields) => [...fields, der.octet()] },
  "a length in more bytes than needed": { tbs: (tbs) => der.longForm(tbs, 2) },
  "a time with a fraction": { notBefore: der.generalizedTime("20240101000000.5Z") },
  "an indefinite length": { finish: der.indefinite },
};

/** What our own verification reads, whatever the TLS engine does. */
const READABLE: Readonly<Record<string, IssueOptions>> = {
  "a unique identifier of the issuer": { issuerUniqueId: IDS },
  "a unique identifier of the subject": { subjectUniqueId: IDS },
  "a negative serial number": { serial: -5 },
};

/** Certificates of no CA, which name the CA as their issuer. */
export function forgedRows(ca: Issued): readonly ServerRow[] {
  const refused: Refused = {
    handshake: "bad_certificate",
    error:
      /^the peer's certificate( \(.*\))?: (it|certificate|signed part|notBefore|serial number) (is|has) /,
  };
  const control = serves(server({}, ca));
  const inner = middle("server intermediate", ca);
  return [
    {
      name: "a forged certificate",
      server: serves(server({ forged: true }, ca)),
      refused: untrusted,
      control,
    },
    ...Object.entries({ ...UNREADABLE, ...READABLE }).flatMap(([name, options]): ServerRow[] => [
      {
        name: `a forged certificate, ${name}`,
        server: serves(server({ forged: true, ...options }, ca)),
        refused: name in READABLE ? untrusted : refused,
        control,
      },
      {
        name: `a forged intermediate, ${name}`,
        server: serves(
          server({}, middle("server intermediate", ca, { forged: true, ...options })),
        ),
        refused: untrusted,
        control: serves(server({}, inner)),
      },
    ]),
  ];
}

/** Genuine certificates of another host. */
export function serverNameRows(ca: Issued): readonly ServerRow[] {
  const refused: Refused = {
    handshake: "name_mismatch",
    error: /does not carry the name db\.acme\.example; it carries /,
  };
  const named = (...san: der.Der[]): LeafOptions => ({ subject: "x", san });
  const plain = named(dns(NAME));
  const wide = named(dns("*.acme.example"));
  const table: Readonly<Record<string, readonly [bad: LeafOptions, good: LeafOptions]>> = {
    "another name": [named(dns("other.acme.example")), plain],
    "the name in the CN only": [{ subject: NAME, san: [] }, { subject: NAME }],
    "the name in the CN, another one beside it": [
      { subject: NAME, san: [dns("other.acme.example")] },
      plain,
    ],
    "a list of names in the CN": [{ subject: `other.example,${NAME}`, san: [] }, plain],
    "a list in the CN as a text of names": [{ subject: `x, DNS:${NAME}`, san: [] }, plain],
    "a wildcard two labels wide": [named(dns("*.example")), wide],
    "a wildcard for everything": [named(dns("*")), wide],
    "two wildcards": [named(dns("*.*.example")), wide],
    "a wildcard in a label": [named(dns("d*.acme.example")), wide],
    "a wildcard in the middle": [named(dns("db.*.example")), wide],
    "a wildcard below the name": [named(dns(`*.${NAME}`)), wide],
    "a name below it": [named(dns(`x.${NAME}`)), plain],
    "a name that goes on": [named(dns(`${NAME}.evil.example`)), plain],
    "a name that begins before it": [named(dns(`x${NAME}`)), plain],
    "a NUL and more after it": [named(dns(`${NAME}\0.evil.example`)), plain],
    "a space after it": [named(dns(`${NAME} `)), plain],
    "two dots after it": [named(dns(`${NAME}..`)), named(dns("DB.Acme.Example."))],
    "the name as URI": [named(uri(`https://${NAME}/`)), plain],
    "the name as e-mail address": [named(email(`a@${NAME}`)), plain],
    "its address": [named(ip("127.0.0.1")), named(ip("127.0.0.1"), dns(NAME))],
  };
  return Object.entries(table).map(([name, [bad, good]]) => ({
    name,
    server: serves(server(bad, ca)),
    refused,
    control: serves(server(good, ca)),
  }));
}

/** Certificates that do not hold. */
export function serverChainRows(ca: Issued): readonly ServerRow[] {
  const bad = (error: RegExp): Refused => ({ handshake: "bad_certificate", error });
  const good = server({}, ca);
  const control = serves(good);
  const inner = middle("server intermediate", ca);
  const inside = server({}, inner);
  const zero = middle("server CA of length 0", ca, { pathLength: 0 });
  const narrow = middle("narrow server CA", ca, {
    extra: [nameConstraints({ permitted: [dns("other.example")] })],
  });
  const wide = middle("narrow server CA", ca, {
    extra: [nameConstraints({ permitted: [dns("acme.example")] })],
  });
  const row = (name: string, leaf: Issued, refused: Refused, mended = good): ServerRow => ({
    name,
    server: serves(leaf),
    refused,
    control: serves(mended),
  });
  const rsa = middle("RSA intermediate", ca, { kind: "rsa2048" });
  return [
    row("another CA", server({}, makeCa({ subject: "another CA" })), untrusted),
    row("a CA of the same name", server({}, makeCa()), untrusted),
    row("self-signed", server(), untrusted),
    row("expired", server(past(), ca), { handshake: "expired", error: /expired at \d{4}-/ }),
    row("not yet valid", server(future(), ca), {
      handshake: "not_yet_valid",
      error: /is valid from \d{4}-/,
    }),
    row(
      "a client's certificate",
      server({ role: "client" }, ca),
      bad(/is not for TLS servers/),
      server({ role: "both" }, ca),
    ),
    row(
      "a certificate for signing code",
      server({ omit: ["extendedKeyUsage"], extra: [extendedKeyUsage(["codeSigning"])] }, ca),
      bad(/is not for TLS servers/),
      server({ omit: ["extendedKeyUsage"] }, ca),
    ),
    {
      name: "the intermediate missing",
      server: { chain: [inside.der], key: inside.key },
      refused: untrusted,
      control: serves(inside),
    },
    row(
      "one CA where there may be none",
      server({}, middle("below 0", zero)),
      bad(/allows 0 CAs below it and has 1/),
      server({}, zero),
    ),
    row(
      "a name that its CA may not sign for",
      server({}, narrow),
      bad(/\(name constraints\)/),
      server({}, wide),
    ),
    row(
      "signed with SHA-1",
      server({ signature: "rsa-sha1" }, rsa),
      bad(/is not SHA-2/),
      server({}, rsa),
    ),
    row("a leaf that issued it", server({}, good), bad(/signs others and is no CA/)),
    {
      name: "another CA, and it asks for no certificate",
      server: { ...serves(server({}, makeCa())), incurious: true },
      refused: untrusted,
      control: { ...control, incurious: true },
    },
  ];
}
