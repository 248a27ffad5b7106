/**
 * Chains with more in them than one path: the right one is found, and a hostile one costs little.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MAX_PATH_LENGTH, MAX_PATHS, MAX_SIGNATURES } from "../../src/x509/path.ts";
import { MAX_NAME_COMPARISONS } from "../../src/x509/name_constraints.ts";
import * as pki from "../support/pki.ts";
import {
  bad,
  describeVerdict,
  type Row,
  table,
  untrusted,
  validate,
  verdictOn,
} from "../support/x509/validate.ts";
const old = { notBefore: new Date("2020-01-01Z"), notAfter: new Date("2021-01-01Z") };

function repeat<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function test(name: string, fn: () => void): void {
  Deno.test({ name: `path: ${name}`, permissions: "none", fn });
}

table("more than one path", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const other = pki.makeCa({ subject: "other" });
  const middle = pki.makeCa({ subject: "middle", issuer: ca });
  const key = middle.key;
  const crossSigned = pki.makeCa({ subject: "middle", issuer: other, key });
  const expired = pki.makeCa({ subject: "middle", issuer: ca, key, ...old });
  const noCa = pki.makeCa({ subject: "middle", issuer: ca, key, omit: ["basicConstraints"] });
  const unknownRoot = pki.makeCa({ subject: "middle", issuer: pki.makeCa({ subject: "x" }), key });
  const leaf = pki.makeLeaf({ subject: "leaf" }, middle);
  const oldCa = pki.makeCa({ subject: "ca", key: ca.key, ...old });
  const over = "expired: certificate CN=middle expired at 2021-01-01T00:00:00.000Z";
  const newRoot = pki.makeCa({ subject: "new" });
  const oldRootByNew = pki.makeCa({ subject: "ca", key: ca.key, issuer: newRoot });
  return [
    ["cross-signed, this side", [leaf, crossSigned, middle], [ca], "ok"],
    ["cross-signed, that side", [leaf, middle, crossSigned], [other], "ok"],
    ["an expired one first", [leaf, expired, middle], [ca], "ok"],
    ["an expired one last", [leaf, middle, expired], [ca], "ok"],
    ["the expired one alone", [leaf, expired], [ca], over],
    ["one that is no CA first", [leaf, noCa, middle], [ca], "ok"],
    ["an unknown root first", [leaf, unknownRoot, middle], [ca], "ok"],
    ["expired and unknown: the expired one got further", [leaf, unknownRoot, expired], [ca], over],
    ["an old anchor with the same key", [leaf, middle], [oldCa, ca], "ok"],
    ["the old anchor alone", [leaf, middle], [oldCa], over.replace("middle", "ca")],
    ["a new root that signed the old one", [leaf, middle, oldRootByNew], [newRoot], "ok"],
    ["the old root still known", [leaf, middle, oldRootByNew], [ca], "ok"],
  ];
});

table("order and company do not matter", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const first = pki.makeCa({ subject: "first", issuer: ca });
  const second = pki.makeCa({ subject: "second", issuer: first });
  const leaf = pki.makeLeaf({ subject: "leaf" }, second);
  const junk = repeat(5, (i) => pki.makeLeaf({ subject: `junk ${i}` }));
  const rows: Row[] = [
    ["in order", [leaf, second, first], [ca], "ok"],
    ["the other way round", [leaf, ca, first, second], [ca], "ok"],
    ["the leaf again", [leaf, leaf, second, leaf, first], [ca], "ok"],
    ["each twice", [leaf, second, second, first, first, ca, ca], [ca], "ok"],
    ["among junk", [leaf, ...junk, first, ...junk, second], [ca], "ok"],
    ["anchors among junk", [leaf, second, first], [...junk, ca, ...junk], "ok"],
    ["the same anchor twice", [leaf, second, first], [ca, ca], "ok"],
    // The first certificate is the peer's, whatever else is shown.
    [
      "the leaf not first",
      [first, leaf, second],
      [ca],
      bad("first", "may not sign a handshake (key usage)"),
    ],
    ["junk first", [...junk, leaf, second, first], [ca], untrusted("junk 0", "junk 0")],
  ];
  return rows;
});

test("circles end", () => {
  const [a, b] = [pki.makeKey(), pki.makeKey()];
  const seedA = pki.makeCa({ subject: "a", key: a });
  const seedB = pki.makeCa({ subject: "b", key: b });
  const aByB = pki.makeCa({ subject: "a", key: a, issuer: seedB });
  const bByA = pki.makeCa({ subject: "b", key: b, issuer: seedA });
  const leaf = pki.makeLeaf({ subject: "leaf" }, seedA);
  const ca = pki.makeCa({ subject: "ca" });
  for (const shown of [[aByB, bByA], [seedA, aByB, bByA, seedB], [aByB, aByB, bByA, bByA, seedA]]) {
    const { verdict, checks } = validate([leaf, ...shown], [ca]);
    assert.equal(describeVerdict(verdict), untrusted("leaf", "a"));
    assert.ok(checks <= 10, `${checks} checks`);
  }
  assert.equal(verdictOn([leaf, aByB, bByA, seedB], [seedB]), "ok");
  // A leaf that says it issued itself, and one whose issuer has its own name and key.
  const selfish = pki.makeLeaf({ subject: "a", key: a, issuer: seedA });
  assert.equal(verdictOn([selfish, selfish, seedA], [ca]), untrusted("a", "a"));
});

test("a hundred namesakes cost no more than the limit", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const leaf = pki.makeLeaf({ subject: "leaf", issuerName: "middle", kind: "p384" }, ca);
  const namesakes = repeat(
    100,
    () => pki.makeCa({ subject: "middle", issuerName: "ca", kind: "p384" }),
  );
  const { verdict, checks } = validate([leaf, ...namesakes], [ca]);
  assert.equal(
    describeVerdict(verdict),
    `bad_certificate: the chain needs more than ${MAX_SIGNATURES} signature checks`,
  );
  assert.equal(checks, MAX_SIGNATURES);
});

test("certificates that lead to no anchor cost no check at all", () => {
  const root = pki.makeCa({ subject: "root" });
  const levels: pki.Issued[][] = [[root]];
  for (let level = 1; level < 6; level++) {
    const above = levels[level - 1] ?? [];
    levels.push(
      above.flatMap((issuer) =>
        repeat(level === 1 ? 20 : 1, () => pki.makeCa({ subject: `level ${level}`, issuer }))
      ),
    );
  }
  const leaf = pki.makeLeaf({ subject: "leaf" }, levels.at(-1)?.[0]);
  const { verdict, checks } = validate([leaf, ...levels.flat()], [pki.makeCa({ subject: "ca" })]);
  assert.equal(describeVerdict(verdict), untrusted("leaf", "level 5"));
  assert.equal(checks, 0);
});

test("a mesh of CAs under one key costs no more than the limit", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const key = pki.makeKey();
  const names = repeat(14, (i) => `mesh ${i}`);
  const roots = names.map((subject) => pki.makeCa({ subject, key }));
  const mesh = roots.flatMap((issuer) =>
    names.map((subject) => pki.makeCa({ subject, key, issuer }))
  );
  // One of them says that the CA issued it, so that all of them could lead there.
  const link = pki.makeCa({ subject: "mesh 13", key, issuerName: "ca" });
  const leaf = pki.makeLeaf({ subject: "leaf" }, roots[0]);
  const { verdict, checks } = validate([leaf, ...mesh, link], [ca]);
  assert.equal(describeVerdict(verdict).split(":")[0], "bad_certificate");
  assert.equal(checks, MAX_SIGNATURES);
});

test("the first path that holds ends the search", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const middle = pki.makeCa({ subject: "middle", issuer: ca });
  const others = repeat(6, () => pki.makeCa({ subject: "middle", key: middle.key, issuer: ca }));
  const leaf = pki.makeLeaf({ subject: "leaf" }, middle);
  assert.equal(validate([leaf, middle, ...others], [ca]).checks, 2);
});

test("namesakes that all signed each other cost no more than the limit", () => {
  // One name, many keys, every one signs every one: paths without end.
  const keys = repeat(8, () => pki.makeKey());
  const roots = keys.map((key) => pki.makeCa({ subject: "x", key }));
  const mesh = keys.flatMap((key) =>
    roots.map((issuer) => pki.makeCa({ subject: "x", key, issuer }))
  );
  const [root] = roots;
  assert.ok(root);
  const leaf = pki.makeLeaf({ subject: "leaf" }, root);
  const { verdict, checks } = validate([leaf, ...mesh], [pki.makeCa({ subject: "x" })]);
  assert.match(describeVerdict(verdict), /^(untrusted|bad_certificate): /);
  assert.ok(checks <= MAX_SIGNATURES, `${checks} checks`);
});

test("namesakes of another kind or strength cost no check at all", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const leaf = pki.makeLeaf({ subject: "leaf", issuerName: "middle" }, ca);
  const kinds = ["ed25519", "rsa1024", "secp256k1", "rsa2048"] as const;
  const namesakes = repeat(
    40,
    (i) => pki.makeCa({ subject: "middle", kind: kinds[i % 4] ?? "p256" }),
  );
  assert.equal(validate([leaf, ...namesakes], [ca]).checks, 0);
  // A namesake that does not fit does not hide that the CA is unknown.
  const other = pki.makeCa({ subject: "middle", kind: "ed25519" });
  assert.equal(verdictOn([leaf, other], [ca]), untrusted("leaf", "middle"));
});

test("no more than so many paths are looked at", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const key = pki.makeKey();
  const expired = repeat(
    MAX_PATHS,
    () => pki.makeCa({ subject: "middle", key, issuer: ca, ...old }),
  );
  const good = pki.makeCa({ subject: "middle", key, issuer: ca });
  const leaf = pki.makeLeaf({ subject: "leaf" }, good);
  // Each takes two checks: the paths are as many as the checks allow.
  assert.equal(verdictOn([leaf, ...expired.slice(1), good], [ca]), "ok");
  const { verdict, checks } = validate([leaf, ...expired, good], [ca]);
  assert.match(describeVerdict(verdict), /^expired: certificate CN=middle /);
  assert.ok(checks <= MAX_SIGNATURES);
  // One signature, but a path for each certificate of the key that made it.
  const oldRoots = repeat(MAX_PATHS, () => pki.makeCa({ subject: "ca", key, ...old }));
  const root = pki.makeCa({ subject: "ca", key });
  const below = pki.makeLeaf({ subject: "leaf" }, root);
  assert.equal(verdictOn([below], [...oldRoots.slice(1), root]), "ok");
  const many = validate([below], [...oldRoots, root]);
  assert.match(describeVerdict(many.verdict), /^expired: certificate CN=ca /);
  assert.equal(many.checks, 1);
});

test("the length of a path has a limit", () => {
  const ca = pki.makeCa({ subject: "ca" });
  let issuer = ca;
  const between: pki.Issued[] = [];
  for (let length = 2; length <= MAX_PATH_LENGTH + 2; length++) {
    const leaf = pki.makeLeaf({ subject: "leaf" }, issuer);
    const verdict = verdictOn([leaf, ...between], [ca]);
    const serverEnd = untrusted("leaf", `middle ${length - 1}`);
    assert.equal(verdict, length <= MAX_PATH_LENGTH ? "ok" : serverEnd, `${length} certificates`);
    issuer = pki.makeCa({ subject: `middle ${length}`, issuer });
    between.push(issuer);
  }
});

test("as many anchors as the checks allow may have one name", () => {
  const anchors = repeat(MAX_SIGNATURES, () => pki.makeCa({ subject: "kubernetes" }));
  const leaf = pki.makeLeaf({ subject: "leaf" }, anchors.at(-1));
  const { verdict, checks } = validate([leaf], anchors);
  assert.equal(describeVerdict(verdict), "ok");
  assert.equal(checks, MAX_SIGNATURES);
});

test("names and constraints without end cost no more than the limit", () => {
  const dns = (count: number, name: string): Uint8Array[] => repeat(count, () => pki.dns(name));
  const directories = repeat(400, () => pki.directory({ O: "b" }));
  const deep = pki.rdns(...repeat(1_500, () => [pki.attribute("O", "a")]));
  const tooMany = "and those below it hold too many names: comparing them with the name " +
    `constraints would take more than ${MAX_NAME_COMPARISONS} comparisons`;
  const no = "may not sign for a name of CN=leaf (name constraints)";
  const cases: [string, Uint8Array[], Uint8Array[], string][] = [
    ["many of both", dns(5_000, "a"), dns(5_000, "a.example"), tooMany],
    [
      "many deep names",
      repeat(3, () => pki.directory(deep)),
      repeat(60, () => pki.directory("a")),
      tooMany,
    ],
    // Long names cost no more than short ones.
    ["one very long name", dns(5_000, "b"), [pki.dns("a".repeat(40_000))], no],
    ["a name of very many parts", directories, [pki.directory(deep)], "ok"],
  ];
  const ca = pki.makeCa({ subject: "ca" });
  for (const [what, excluded, san, words] of cases) {
    const extra = [pki.nameConstraints({ excluded })];
    const middle = pki.makeCa({ subject: "middle", issuer: ca, extra });
    const leaf = pki.makeLeaf({ subject: "leaf", san }, middle);
    const verdict = verdictOn([leaf, middle], [ca]);
    assert.equal(verdict, words === "ok" ? "ok" : bad("middle", words), what);
  }
});

test("the limit on names is for all paths together, and far from honest ones", () => {
  const permitted = repeat(60, (i) => pki.dns(`zone-${i}.example`));
  const san = repeat(60, (i) => pki.dns(`host-${i}.zone-${i}.example`));
  const excluded = repeat(60, (i) => pki.directory({ O: `competitor number ${i}` }));
  const extra = [pki.nameConstraints({ permitted, excluded })];
  const ca = pki.makeCa({ subject: "ca", extra });
  const middle = pki.makeCa({ subject: "middle", issuer: ca, extra });
  assert.equal(verdictOn([pki.makeLeaf({ san }, middle), middle], [ca]), "ok");
  // The same work for path after path, by anchors that permit other names.
  const zones = pki.nameConstraints({
    permitted: repeat(200, (i) => pki.dns(`zone-${i}.example`)),
  });
  const key = pki.makeKey();
  const root = pki.makeCa({ subject: "root", key });
  const narrow = pki.makeCa({ subject: "narrow", issuer: root, extra: [zones] });
  const names = repeat(200, () => pki.dns("a.zone-199.example"));
  const leaf = pki.makeLeaf({ subject: "leaf", san: names }, narrow);
  const affordable = Math.floor(MAX_NAME_COMPARISONS / 200 ** 2);
  const elsewhere = [pki.nameConstraints({ permitted: [pki.dns("b.example")] })];
  const others = repeat(
    affordable,
    () => pki.makeCa({ subject: "root", key, extra: elsewhere }),
  );
  assert.equal(verdictOn([leaf, narrow], [...others.slice(1), root]), "ok");
  assert.equal(
    verdictOn([leaf, narrow], [...others, root]),
    bad("root", "may not sign for a name of CN=leaf (name constraints)"),
  );
});
