/**
 * Hundreds of chains, checked by mtlsd and by `openssl verify -x509_strict`. Where the two differ, the
 * difference is listed here with its reason; one that is not listed fails.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import * as pki from "../support/pki.ts";
import { assertExplained, type Differences, type VerdictPair } from "../support/differential.ts";
import { CertificateError } from "../../src/x509/certificate.ts";
import type { Purpose } from "../../src/x509/path.ts";
import { FLAWS, type Level, SANS } from "../support/x509/flaws.ts";
import { verdictOn } from "../support/x509/validate.ts";
import { Prng } from "../support/prng.ts";

const SEED = 4_711;

type Case = {
  readonly name: string;
  readonly presented: readonly pki.Issued[];
  readonly anchors: readonly pki.Issued[];
  readonly purpose: Purpose;
  /** Default: now. */
  readonly at?: Date;
};

/** Leaf, intermediate, CA, each with its flaw. */
function chain(flaws: Readonly<Record<Level, string>>, purpose: Purpose): Case {
  const of = (level: Level): pki.IssueOptions => FLAWS[flaws[level]] ?? {};
  const subject = (level: Level): pki.IssueOptions => ({ subject: { O: "acme", CN: level } });
  const ca = pki.makeCa({ ...subject("ca"), ...of("ca") });
  const middle = pki.makeCa({ ...subject("middle"), ...of("middle"), issuer: ca });
  const leaf = pki.makeLeaf({ ...subject("leaf"), san: SANS, ...of("leaf") }, middle);
  const named = Object.entries(flaws).filter(([, flaw]) => flaw !== "none");
  return {
    name: `${purpose}: ${named.map(([level, flaw]) => `${flaw} (${level})`).join(", ") || "sound"}`,
    presented: [leaf, middle],
    anchors: [ca],
    purpose,
  };
}

const SOUND = { leaf: "none", middle: "none", ca: "none" } as const;
const LEVELS = ["leaf", "middle", "ca"] as const;

/** Bundles and orders, and the seconds around the end of a certificate. */
function arrangements(): Case[] {
  const { presented: [leaf, middle], anchors: [ca] } = chain(SOUND, "client");
  assert.ok(leaf && middle && ca);
  const otherCa = pki.makeCa({ subject: { O: "acme", CN: "ca" } });
  const alone = pki.makeLeaf({ subject: "alone" });
  const until = (seconds: number): Date => new Date(Date.UTC(2030, 0, 1, 0, 0, seconds));
  const times = { notBefore: until(0), notAfter: until(9) };
  const brief = pki.makeLeaf({ subject: "brief", ...times, notBefore: until(0) }, ca);
  const old = pki.makeLeaf({ subject: "old", ...FLAWS["expired"] });
  const long = pki.makeCa({ subject: "long", notAfter: new Date("2040-01-01Z") });
  const timed = pki.makeLeaf({ subject: "timed", ...times }, long);
  const rows: [string, pki.Issued[], pki.Issued[], Date?][] = [
    ["no intermediate", [leaf], [ca]],
    ["the intermediate as anchor", [leaf], [middle]],
    ["the leaf as anchor", [leaf], [leaf]],
    ["everything twice", [leaf, leaf, middle, middle, ca, ca], [ca, ca]],
    ["a stranger with the CA's name", [leaf, middle], [otherCa]],
    ["both of that name", [leaf, middle], [otherCa, ca]],
    ["self-signed, unknown", [alone], [ca]],
    ["self-signed, known", [alone], [alone]],
    ["known and expired", [old], [old]],
    ["a CA as the leaf", [ca], [ca]],
    ["an intermediate as the leaf", [middle], [ca]],
    ["below an expired CA", [brief], [ca], until(5)],
    ...[-1, 0, 1, 8, 9, 10].map((second): [string, pki.Issued[], pki.Issued[], Date] => [
      `second ${second} of 0 to 9`,
      [timed],
      [long],
      until(second),
    ]),
  ];
  return rows.map(([name, presented, anchors, at]) => ({
    name,
    presented,
    anchors,
    purpose: "client",
    ...(at ? { at } : {}),
  }));
}

/** Every flaw at every place, and pairs of flaws. */
function cases(): Case[] {
  const random = new Prng(SEED);
  const flaws = Object.keys(FLAWS);
  const single = flaws.flatMap((flaw) =>
    LEVELS.map((level, i) => {
      const purpose = (flaws.indexOf(flaw) + i) % 2 === 0 ? "client" : "server";
      return chain({ ...SOUND, [level]: flaw }, purpose);
    })
  );
  const purposes = flaws.filter((flaw) => /purpose|only/.test(flaw)).flatMap((flaw) =>
    LEVELS.flatMap((level) =>
      (["client", "server"] as const).map((purpose) => chain({ ...SOUND, [level]: flaw }, purpose))
    )
  );
  const pairs = Array.from({ length: 280 }, () => {
    const pick = (): string => random.oneIn(4) ? "none" : random.pick(flaws);
    const both = { leaf: pick(), middle: pick(), ca: "none" };
    return chain(random.oneIn(2) ? both : { ...both, leaf: "none", ca: pick() }, "client");
  });
  return [...single, ...purposes, ...pairs, ...arrangements()];
}

/** Our words, of certificates that cannot be read too. */
function ours({ presented, anchors, purpose, at = new Date() }: Case): string {
  try {
    return verdictOn(presented, anchors, { purpose, now: at });
  } catch (error) {
    if (error instanceof CertificateError) return `unreadable: ${error.message}`;
    throw error;
  }
}

async function theirs({ presented, anchors, purpose, at }: Case, dir: string): Promise<string> {
  const [leaf] = presented;
  assert.ok(leaf);
  await Promise.all([
    Deno.writeTextFile(join(dir, "leaf"), leaf.pem),
    Deno.writeTextFile(join(dir, "others"), pki.chainPem(...presented)),
    Deno.writeTextFile(join(dir, "anchors"), pki.chainPem(...anchors)),
  ]);
  const { success, stderr, stdout } = await new Deno.Command("openssl", {
    // An auth level of 2 is what the profile has: 112 bits, no SHA-1.
    args: [
      ...["verify", "-x509_strict", "-partial_chain", "-auth_level", "2"],
      // Any policy: without it openssl takes none.
      ...["-policy_check", "-policy", "2.5.29.32.0"],
      ...["-purpose", purpose === "client" ? "sslclient" : "sslserver"],
      ...(at ? ["-attime", String(at.getTime() / 1000)] : []),
      ...["-CAfile", "anchors", "-untrusted", "others", "leaf"],
    ],
    cwd: dir,
  }).output();
  const said = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
  if (success && said.trim() === "leaf: OK") return "ok";
  const errors = [...said.matchAll(/^error \d+ at \d+ depth lookup: (.*)$/gm)].map(([, e]) => e);
  return errors.join("; ") || said.trim().replace(/\s+/g, " ");
}

/** What openssl refuses and we take: the flaw, openssl's words, and why we do. */
const LAXER: Differences = [
  [
    /no key usage/,
    /does not include key usage/,
    "the profile asks for a usage where there are any",
  ],
  [
    /all usages|usage not critical|usage with zeros/,
    /keyCertSign invalid for non-CA/,
    "signs nobody without CA flag",
  ],
  [/path length/, /^Path length (given without|invalid for)/, "limits nothing below a leaf"],
  [/CA flag not critical/, /not marked critical/, "it is processed, critical or not"],
  [
    /no key identifiers|no extensions/,
    /^Missing (Authority|Subject) Key/,
    "signatures tell the issuer",
  ],
  [/another authority key/, /unable to get local issuer/, "a hint (RFC 5280 section 4.2.1.1)"],
  [/empty subject/, /^Subject empty and Subject Alt/, "a rule for issuing (section 4.1.2.6)"],
  [/^second 9 /, /certificate has expired/, "the last second is in (section 4.1.2.5)"],
];

/** What we refuse and openssl takes: the flaw, our words, and why we do. */
const STRICTER: Differences = [
  [/(keyEncipherment|keyAgreement) only/, /may not sign a handshake/, "no RSA key transport here"],
  [
    /(critical policy constraints|asks for a policy) \(ca\)/,
    /names no certificate policy/,
    "an anchor's limits hold (RFC 5937 section 3.2)",
  ],
  [/CA \(leaf\)/, /that of a CA, which is no peer/, "as webpki, which the engine is built on"],
  [/critical (pol|inhibit)/, /which the TLS engine cannot read/, "nothing proves the key"],
  [/v1|v2/, /^unreadable: it is an X.509 v[12]/, "carries no restrictions"],
  [/trailing byte/, /^unreadable: certificate has bytes left over/, "one encoding"],
  [/duplicate extension/, /stands there twice/, "RFC 5280 section 4.2"],
  [/unique identifiers/, /which the TLS engine cannot read/, "nothing proves the key"],
  [/secp256k1/, /EC key that is not P-256 or P-384/, "not of the profile"],
  [/in capitals/, /name constraints/, "who is unsure refuses"],
  [/below a wildcard/, /name constraints/, "the wildcard stands for an excluded name, or may"],
];

Deno.test("openssl: the same verdict, or a reason", async () => {
  const all = cases();
  assert.ok(all.length >= 500, `only ${all.length} chains`);
  const dir = await Deno.makeTempDir();
  const results: VerdictPair[] = [];
  try {
    const queue = all.entries();
    await Promise.all(["a", "b", "c"].map(async (worker) => {
      const own = join(dir, worker);
      await Deno.mkdir(own);
      for (const [, one] of queue) {
        results.push({ name: one.name, we: ours(one), they: await theirs(one, own) });
      }
    }));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  assertExplained(results, { laxer: LAXER, stricter: STRICTER });
  const both = (verdict: boolean): number =>
    results.filter(({ we, they }) => (we === "ok") === verdict && (they === "ok") === verdict)
      .length;
  assert.ok(both(true) >= 100, `both took ${both(true)}`);
  assert.ok(both(false) >= 100, `both refused ${both(false)}`);
});
