/**
 * Chains with the lists of both their CAs, checked by mtlsd and by `openssl verify -crl_check_all`. Where
 * the two differ, the difference is listed here with its reason; one that is not listed fails.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { CredentialError, loadCredentials } from "../../src/certstore/load.ts";
import { verifySignature } from "../../src/tls/signature.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import { validatePath } from "../../src/x509/path.ts";
import {
  certificateIssuer,
  crlNumber,
  type CrlOptions,
  deltaCrlIndicator,
  issuingDistributionPoint,
  makeCrl,
  reasonCode,
  type Revoked,
} from "../support/crl.ts";
import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";
import { assertExplained, type Differences, type VerdictPair } from "../support/differential.ts";

const DAY = 86_400_000;
const NOW = Date.now();

const root = pki.makeCa({ subject: "root" });
const inter = pki.makeCa({ subject: "inter", issuer: root });
const leaf = pki.makeLeaf({ subject: "leaf", role: "client" }, inter);
/** Holds the intermediate in `tls.cert`, and so knows who signs its list. */
const own = pki.makeLeaf({ subject: "own", role: "server" }, inter);
const other = pki.makeLeaf({ subject: "other" }, inter);

type Flaw = (options: CrlOptions, issuer: pki.Issued) => CrlOptions;

const plus = (more: CrlOptions): Flaw => (options) => ({ ...options, ...more });
const entry =
  (more: { reason?: number; extensions?: readonly der.Der[]; date?: der.Der }): Flaw =>
  (
    options,
  ) => ({
    ...options,
    revoked: (options.revoked ?? []).map((serial) => ({ serial: serial as Revoked, ...more })),
  });

const FLAWS: Readonly<Record<string, Flaw>> = {
  "sound": plus({}),
  "version 1": plus({ version: 1 }),
  "version 3": plus({ version: 3 }),
  "version 1 spelled out": plus({ version: der.int(0) }),
  "no number": plus({ number: null }),
  "critical number": plus({ extensions: [crlNumber(7, true)] }),
  "no extensions": plus({ extensions: [] }),
  "no nextUpdate": plus({ nextUpdate: null }),
  "nextUpdate passed": plus({
    nextUpdate: new Date(NOW - DAY),
    thisUpdate: new Date(NOW - 2 * DAY),
  }),
  "nextUpdate before thisUpdate": plus({ nextUpdate: new Date(NOW - 2 * DAY) }),
  "thisUpdate to come": plus({ thisUpdate: new Date(NOW + DAY) }),
  "nextUpdate after 2050": plus({ nextUpdate: new Date("2060-01-01Z") }),
  "time with offset": plus({ thisUpdate: der.utcTime("260101000000+0100") }),
  "forged": plus({ forged: true }),
  "signature of nothing": plus({ signatureBytes: "" }),
  "name of another": plus({ issuerName: "stranger" }),
  "two algorithms": plus({ innerAlgorithm: pki.signatureAlgorithm("ecdsa-sha384") }),
  "sha-384": plus({ signature: "ecdsa-sha384" }),
  "sha-1": plus({ signature: "ecdsa-sha1" }),
  "delta": plus({ extra: [deltaCrlIndicator(1)] }),
  "users only": plus({ extra: [issuingDistributionPoint({ onlyUsers: true })] }),
  "indirect": plus({ extra: [issuingDistributionPoint({ indirect: true })] }),
  "critical unknown": plus({ extra: [pki.extension(pki.OID.unknown, der.nil(), true)] }),
  "unknown": plus({ extra: [pki.extension(pki.OID.unknown, der.nil())] }),
  "number twice": plus({ extra: [crlNumber(2)] }),
  "trailing byte": plus({ finish: (list) => der.concat(list, der.raw("00")) }),
  "indefinite length": plus({ finish: (list) => der.indefinite(list) }),
  "entries with a reason": entry({ reason: 1 }),
  "entries on hold": entry({ reason: 6 }),
  "entries taken back": entry({ reason: 8 }),
  "entries with a critical reason": entry({ extensions: [reasonCode(1, true)] }),
  "entries with a critical unknown": entry({
    extensions: [pki.extension(pki.OID.unknown, der.nil(), true)],
  }),
  "entries of this issuer": (options, issuer) =>
    entry({ extensions: [certificateIssuer(issuer.subject)] })(options, issuer),
  "entries of the future": entry({ date: der.time(new Date(NOW + DAY)) }),
};

type Case = {
  readonly name: string;
  /** One file. */
  readonly lists: string;
};

/** Each flaw in the list of each CA, while none, the leaf, the intermediate or another is revoked. */
function cases(): Case[] {
  const whom = {
    nobody: [[], []],
    "the leaf": [[], [leaf]],
    "the intermediate": [[inter], []],
    "another": [[], [other]],
    everybody: [[inter], [leaf, other]],
  } as const;
  return Object.entries(FLAWS).flatMap(([flaw, apply]) =>
    Object.entries(whom).flatMap(([revoked, [byRoot, byInter]]) =>
      (["root", "inter"] as const).map((level) => {
        const list = (issuer: pki.Issued, name: string, who: readonly pki.Issued[]) =>
          makeCrl(issuer, level === name ? apply({ revoked: who }, issuer) : { revoked: who }).pem;
        return {
          name: `${flaw} (${level}), revoked: ${revoked}`,
          lists: list(root, "root", byRoot) + list(inter, "inter", byInter),
        };
      })
    )
  );
}

/** `ok`, or our words. */
async function ours({ lists }: Case): Promise<string> {
  const files: Readonly<Record<string, string>> = {
    cert: pki.chainPem(own, inter),
    key: own.keyPem,
    ca: root.pem,
    crl: lists,
  };
  const readFile = (path: string) => Promise.resolve(new TextEncoder().encode(files[path]));
  try {
    const { anchors, revocation } = await loadCredentials(
      { cert: "cert", key: "key", ca: "ca", crl: ["crl"] },
      { readFile, now: () => NOW },
    );
    const verdict = validatePath([leaf, inter].map((one) => parseCertificate(one.der)), {
      anchors,
      revocation,
      purpose: "client",
      now: NOW,
      verifySignature,
    });
    return verdict.ok ? "ok" : verdict.fault;
  } catch (error) {
    assert(error instanceof CredentialError, String(error));
    return error.message;
  }
}

/** `ok`, or openssl's words. */
async function theirs({ lists }: Case, dir: string): Promise<string> {
  await Deno.writeTextFile(join(dir, "lists"), lists);
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...["verify", "-x509_strict", "-crl_check_all", "-auth_level", "2"],
      ...["-purpose", "sslclient", "-CAfile", "../root", "-untrusted", "../inter"],
      ...["-CRLfile", "lists", "../leaf"],
    ],
    cwd: dir,
  }).output();
  if (success) return "ok";
  const said = new TextDecoder().decode(stderr);
  return [...said.matchAll(/^error \d+ at \d+ depth lookup: (.*)$/gm)].map(([, e]) => e).join(
    "; ",
  ) ||
    said;
}

/** What openssl refuses and we take. */
const LAXER: Differences = [
  [/^critical number/, /unhandled critical CRL extension/, "it is read, critical or not"],
  [/critical reason/, /unhandled critical CRL extension/, "it is processed, critical or not"],
];

/** What we refuse and openssl takes. */
const STRICTER: Differences = [
  [/^no nextUpdate/, /it has no nextUpdate/, "RFC 5280 section 5.1.2.5: nobody knows its age"],
  [/^sha-1/, /algorithm \(1\.2\.840\.10045\.4\.1\)/, "the profile of certificates"],
  [/^two algorithms/, /algorithms differ/, "RFC 5280 section 5.1.2.2", "some releases"],
  [/^delta/, /it is a delta list/, "half of what is revoked", "some releases"],
  [/^users only/, /limited to a part of the certificates/, "not processed"],
  [/^number twice/, /stands there twice/, "RFC 5280 section 4.2"],
  [/^version 1 spelled out/, /unknown version/, "not DER: a default is left out"],
  [/^version 3/, /unknown version/, "there is none"],
  [/^trailing byte/, /bytes left over/, "one encoding"],
  [/^indefinite length/, /indefinite length/, "not DER"],
  [/^entries taken back/, /takes back a revocation/, "openssl lets the certificate in"],
  [/^entries of this issuer/, /an indirect list/, "not processed"],
];

Deno.test("openssl: the same verdict over lists, or a reason", async () => {
  const all = cases();
  assert.ok(all.length >= 300, `only ${all.length}`);
  const dir = await Deno.makeTempDir();
  const results: VerdictPair[] = [];
  try {
    await Deno.writeTextFile(join(dir, "root"), root.pem);
    await Deno.writeTextFile(join(dir, "inter"), inter.pem);
    await Deno.writeTextFile(join(dir, "leaf"), leaf.pem);
    const queue = all.values();
    await Promise.all(["a", "b", "c"].map(async (worker) => {
      const path = join(dir, worker);
      await Deno.mkdir(path);
      for (const one of queue) {
        results.push({ name: one.name, we: await ours(one), they: await theirs(one, path) });
      }
    }));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  assertExplained(results, { laxer: LAXER, stricter: STRICTER });
  // What both call revoked, they call so for the same certificate.
  const revoked = results.filter(({ we }) => we === "revoked");
  assert.ok(revoked.length >= 50, `${revoked.length} revoked`);
  for (const { name, they } of revoked) {
    assert.match(they, /certificate revoked|unhandled critical/, name);
  }
  const taken = results.filter(({ we, they }) => we === "ok" && they === "ok");
  assert.ok(taken.length >= 40, `both took ${taken.length}`);
});
