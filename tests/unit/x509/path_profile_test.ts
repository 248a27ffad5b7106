/**
 * What each certificate of a path must be: usages, path length, strength, extensions.
 *
 * @module
 */

import * as der from "../../support/der.ts";
import { raw } from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import { bad, type Row, table, untrusted } from "../../support/x509/validate.ts";

table(
  "extended key usage, where there is one, names the role",
  () =>
    (["client", "server"] as const).flatMap((purpose): Row[] => {
      const [right, wrong] = purpose === "client"
        ? ["clientAuth", "serverAuth"]
        : ["serverAuth", "clientAuth"];
      const usages: [readonly string[] | undefined, boolean][] = [
        [undefined, true],
        [[right], true],
        [["codeSigning", wrong, right], true],
        [[wrong], false],
        [["codeSigning"], false],
        // RFC 5280 lets an application ask for more than "any": the engine does, and so do we.
        [["anyExtendedKeyUsage"], false],
      ];
      const where = ["leaf", "middle", "ca"] as const;
      return where.flatMap((at) =>
        usages.map(([usage, fine]): Row => {
          const extra = usage === undefined ? [] : [pki.extendedKeyUsage(usage)];
          const options = (name: string) => ({
            subject: name,
            ...(name === at ? { extra } : {}),
          });
          const ca = pki.makeCa(options("ca"));
          const middle = pki.makeCa({ ...options("middle"), issuer: ca });
          const leaf = pki.makeLeaf({ ...options("leaf"), omit: ["extendedKeyUsage"] }, middle);
          const verdict = fine ? "ok" : bad(at, `is not for TLS ${purpose}s (extended key usage)`);
          return [`${purpose} ${at} ${usage}`, [leaf, middle], [ca], verdict, { purpose }];
        })
      );
    }),
);

table("key usage, where there is one", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const leaf = (usages: readonly pki.Usage[]): pki.Issued[] => [
    pki.makeLeaf({ subject: "leaf", omit: ["keyUsage"], extra: [pki.keyUsage(usages)] }, ca),
  ];
  const noSign = bad("leaf", "may not sign a handshake (key usage)");
  return [
    ["none", [pki.makeLeaf({ omit: ["keyUsage"] }, ca)], [ca], "ok"],
    ["digitalSignature and more", leaf(["digitalSignature", "keyEncipherment"]), [ca], "ok"],
    ["keyEncipherment only", leaf(["keyEncipherment"]), [ca], noSign],
    ["nonRepudiation only", leaf(["nonRepudiation"]), [ca], noSign],
    ["keyAgreement, decipherOnly", leaf(["keyAgreement", "decipherOnly"]), [ca], noSign],
    ["no bit at all", leaf([]), [ca], noSign],
  ];
});

/** A chain whose intermediate, or whose anchor, is made as given. */
function odd(options: pki.IssueOptions, at: "middle" | "ca"): [pki.Issued[], pki.Issued[]] {
  const ca = pki.makeCa({ subject: "ca", ...(at === "ca" ? options : {}) });
  const middle = pki.makeCa({ subject: "middle", issuer: ca, ...(at === "middle" ? options : {}) });
  return [[pki.makeLeaf({ subject: "leaf" }, middle), middle], [ca]];
}

table("who may sign", () =>
  (["middle", "ca"] as const).flatMap((at): Row[] => {
    const noCa = bad(at, "signs others and is no CA (basic constraints)");
    const noUsage = bad(at, "may not sign certificates (key usage)");
    const flag = (ca: boolean, critical = true): Uint8Array =>
      pki.basicConstraints({ ca, critical });
    const cases: [string, pki.IssueOptions, string][] = [
      ["no basic constraints", { omit: ["basicConstraints"] }, noCa],
      ["not a CA", { omit: ["basicConstraints"], extra: [flag(false)] }, noCa],
      ["CA flag not critical", { omit: ["basicConstraints"], extra: [flag(true, false)] }, "ok"],
      ["no key usage", { omit: ["keyUsage"] }, "ok"],
      ["no keyCertSign", {
        omit: ["keyUsage"],
        extra: [pki.keyUsage(["cRLSign", "digitalSignature"])],
      }, noUsage],
      ["keyCertSign, not critical", {
        omit: ["keyUsage"],
        extra: [pki.keyUsage(["keyCertSign"], false)],
      }, "ok"],
      ["no extensions at all", { extensions: [] }, noCa],
      ["nothing but the CA flag", { extensions: [flag(true)] }, "ok"],
    ];
    return cases.map((
      [what, options, verdict],
    ) => [`${at}: ${what}`, ...odd(options, at), verdict]);
  }));

table("a leaf signs nobody", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const leaf = pki.makeLeaf({ subject: "leaf" }, ca);
  const child = pki.makeLeaf({ subject: "child" }, leaf);
  return [
    [
      "below a leaf",
      [child, leaf],
      [ca],
      bad("leaf", "signs others and is no CA (basic constraints)"),
    ],
    [
      "below a leaf of the bundle",
      [child],
      [leaf],
      bad("leaf", "signs others and is no CA (basic constraints)"),
    ],
  ];
});

table("path length", () => {
  const rows: Row[] = [];
  for (const limit of [0, 1, 2]) {
    const ca = pki.makeCa({ subject: "ca", pathLength: limit });
    let [issuer, between] = [ca, [] as pki.Issued[]];
    for (let count = 0; count <= 3; count++) {
      const leaf = pki.makeLeaf({ subject: "leaf" }, issuer);
      const verdict = count <= limit
        ? "ok"
        : bad("ca", `allows ${limit} CAs below it and has ${count}`);
      rows.push([`anchor ${limit}, ${count} between`, [leaf, ...between], [ca], verdict]);
      issuer = pki.makeCa({ subject: `middle ${count}`, issuer });
      between = [...between, issuer];
    }
  }
  const ca = pki.makeCa({ subject: "ca" });
  const first = pki.makeCa({ subject: "first", issuer: ca, pathLength: 0 });
  const second = pki.makeCa({ subject: "second", issuer: first });
  const leaf = pki.makeLeaf({ subject: "leaf" }, second);
  const exceeded = bad("first", "allows 0 CAs below it and has 1");
  rows.push(["intermediate 0, 1 between", [leaf, first, second], [ca], exceeded]);
  rows.push(["an anchor below it", [leaf, first], [second], "ok"]);
  // RFC 5280 section 6.1.4 (l): a CA that changed its key, and certified the new one with the old.
  const narrow = pki.makeCa({ subject: "narrow", pathLength: 0 });
  const rolled = pki.makeCa({ subject: "narrow", issuer: narrow, pathLength: 0 });
  const rolledAgain = pki.makeCa({ subject: "narrow", issuer: rolled, pathLength: 0 });
  const other = pki.makeCa({ subject: "other", issuer: rolled });
  rows.push(
    ["a new key", [pki.makeLeaf({}, rolled), rolled], [narrow], "ok"],
    ["two new keys", [pki.makeLeaf({}, rolledAgain), rolledAgain, rolled], [narrow], "ok"],
    [
      "another CA below a new key",
      [pki.makeLeaf({}, other), other, rolled],
      [narrow],
      bad("narrow", "allows 0 CAs below it and has 1"),
    ],
    // The peer's own certificate never counts, whoever issued it.
    ["a leaf of the CA's name", [pki.makeLeaf({ subject: "narrow" }, narrow)], [narrow], "ok"],
  );
  return rows;
});

table("strength of keys and signatures, anywhere", () => {
  const ca = pki.makeCa({ subject: "ca", kind: "rsa2048" });
  const weak = pki.makeCa({ subject: "weak", kind: "rsa1024" });
  const small = "an RSA key of 1024 bits where 2048 is the least";
  const sha1 = (oid: string): string =>
    `is signed with an algorithm (${oid}) that is not SHA-2 with RSA, ECDSA or Ed25519`;
  const weakMiddle = pki.makeCa({ subject: "weak", kind: "rsa1024", issuer: ca });
  const oldMiddle = pki.makeCa({ subject: "old", issuer: ca, signature: "rsa-sha1" });
  const koblitz = pki.makeCa({ subject: "koblitz", kind: "secp256k1" });
  const oldSelf = pki.makeCa({
    subject: "ca",
    kind: "rsa2048",
    key: ca.key,
    signature: "rsa-sha1",
  });
  const leaf = (options: pki.IssueOptions, issuer = ca): pki.Issued =>
    pki.makeLeaf({ subject: "leaf", ...options }, issuer);
  return [
    ["RSA-1024 leaf", [leaf({ kind: "rsa1024" })], [ca], bad("leaf", `has ${small}`)],
    ["RSA-1024 anchor", [leaf({}, weak)], [weak], bad("leaf", `is signed by ${small}`)],
    [
      "RSA-1024 intermediate",
      [leaf({}, weakMiddle), weakMiddle],
      [ca],
      bad("leaf", `is signed by ${small}`),
    ],
    [
      "RSA-1024 leaf of an unknown CA",
      [leaf({ kind: "rsa1024" })],
      [],
      untrusted("leaf", "ca"),
    ],
    [
      "secp256k1 leaf",
      [leaf({ kind: "secp256k1" })],
      [ca],
      bad("leaf", "has an EC key that is not P-256 or P-384"),
    ],
    [
      "secp256k1 anchor",
      [leaf({}, koblitz)],
      [koblitz],
      bad("leaf", "is signed by an EC key that is not P-256 or P-384"),
    ],
    [
      "SHA-1 leaf",
      [leaf({ signature: "rsa-sha1" })],
      [ca],
      bad("leaf", sha1("1.2.840.113549.1.1.5")),
    ],
    ["MD5 leaf", [leaf({ signature: "rsa-md5" })], [ca], bad("leaf", sha1("1.2.840.113549.1.1.4"))],
    [
      "PSS with SHA-1",
      [leaf({ signature: "pss-sha1" })],
      [ca],
      bad("leaf", sha1("1.2.840.113549.1.1.10")),
    ],
    [
      "SHA-1 intermediate",
      [leaf({}, oldMiddle), oldMiddle],
      [ca],
      bad("old", sha1("1.2.840.113549.1.1.5")),
    ],
    // Nobody checks how an anchor signed itself: it is trusted because it stands in the bundle.
    ["SHA-1 anchor", [leaf({})], [oldSelf], "ok"],
  ];
});

table("critical extensions that nobody knows, anywhere", () => {
  const unknown = pki.extension("unknown", der.nil(), true);
  const rest = `has a critical extension ${pki.OID.unknown} that is not understood`;
  const rows = (["leaf", "middle", "ca"] as const).map((at): Row => {
    const extra = (name: string) => name === at ? [unknown] : [pki.extension("unknown", der.nil())];
    const ca = pki.makeCa({ subject: "ca", extra: extra("ca") });
    const middle = pki.makeCa({ subject: "middle", issuer: ca, extra: extra("middle") });
    const leaf = pki.makeLeaf({ subject: "leaf", extra: extra("leaf") }, middle);
    return [at, [leaf, middle], [ca], bad(at, rest)];
  });
  const ca = pki.makeCa({ subject: "ca" });
  const points = der.seq(der.seq(der.explicit(0, der.explicit(0, pki.uri("http://a.example/")))));
  for (const id of ["issuerAltName", "crlDistributionPoints"] as const) {
    const leaf = pki.makeLeaf({ subject: "leaf", extra: [pki.extension(id, points, true)] }, ca);
    const refused = bad("leaf", `has a critical extension ${pki.OID[id]} that is not understood`);
    rows.push([id, [leaf], [ca], refused]);
  }
  return rows;
});

table("what the engine cannot read: not in a leaf, and in every issuer", () => {
  const policies = der.seq(der.seq(der.oid("1.2.3")));
  const critical = (id: string, value: Uint8Array): pki.IssueOptions => ({
    extra: [pki.extension(id, value, true)],
  });
  const cases: [string, pki.IssueOptions][] = [
    [
      "critical certificate policies (extension 2.5.29.32)",
      critical("certificatePolicies", policies),
    ],
    [
      "critical policy mappings (extension 2.5.29.33)",
      critical("policyMappings", der.seq(der.seq(der.oid("1.2.3"), der.oid("1.2.4")))),
    ],
    [
      "critical policy constraints (extension 2.5.29.36)",
      critical("policyConstraints", der.seq(der.implicit(1, der.int(0)))),
    ],
    [
      "critical inhibitAnyPolicy (extension 2.5.29.54)",
      critical("inhibitAnyPolicy", der.int(0)),
    ],
    ["an issuer unique ID", { issuerUniqueId: raw("f0") }],
    ["a subject unique ID", { subjectUniqueId: raw("f0") }],
    ["an issuer unique ID", { issuerUniqueId: raw(""), subjectUniqueId: raw("f0") }],
  ];
  return cases.flatMap(([what, options]): Row[] => {
    const ca = pki.makeCa({ subject: "ca", ...options });
    const middle = pki.makeCa({ subject: "middle", issuer: ca, ...options });
    const leaf = pki.makeLeaf({ subject: "leaf", ...options }, middle);
    const refused = bad(
      "leaf",
      `has ${what}, which the TLS engine cannot read in a peer's own certificate; issue it without`,
    );
    return [
      [`${what} in the leaf`, [leaf, middle], [ca], refused],
      [`${what} in a leaf of the bundle`, [leaf], [leaf], refused],
      [`${what} in the issuers`, [pki.makeLeaf({}, middle), middle], [ca], "ok"],
    ];
  });
});

table("name constraints hold for everything below, from every issuer", () => {
  const only = [pki.nameConstraints({ permitted: [pki.dns("a.example")] })];
  const rest = (who: string): string => `may not sign for a name of CN=${who} (name constraints)`;
  const rows: Row[] = [];
  for (const at of ["ca", "middle"] as const) {
    const extra = (name: string) => name === at ? only : [];
    const ca = pki.makeCa({ subject: "ca", extra: extra("ca") });
    const middle = pki.makeCa({ subject: "middle", issuer: ca, extra: extra("middle") });
    const lower = pki.makeCa({ subject: "lower", issuer: middle });
    const leaf = (name: string): pki.Issued[] => [
      pki.makeLeaf({ subject: "leaf", san: [pki.dns(name)] }, lower),
      lower,
      middle,
    ];
    rows.push([`${at}, within`, leaf("x.a.example"), [ca], "ok"]);
    rows.push([`${at}, outside`, leaf("x.b.example"), [ca], bad(at, rest("leaf"))]);
  }
  const ca = pki.makeCa({ subject: "ca", extra: only });
  const named = [pki.subjectAltName([pki.dns("b.example")])];
  const middle = pki.makeCa({ subject: "middle", issuer: ca, extra: named });
  const leaf = pki.makeLeaf({ subject: "leaf" }, middle);
  // RFC 5280 section 6.1.3 (b): not the self-issued certificates between, but always the last one.
  const acme = [pki.nameConstraints({ permitted: [pki.directory({ O: "acme" })] })];
  const root = pki.makeCa({ subject: "root", extra: acme });
  const rolled = pki.makeCa({ subject: "root", issuer: root });
  const inside = pki.makeLeaf({ subject: { O: "acme" } }, rolled);
  const self = pki.makeLeaf({ subject: "root" }, rolled);
  return [
    ...rows,
    ["an intermediate's own name", [leaf, middle], [ca], bad("ca", rest("middle"))],
    ["a CA that changed its key", [inside, rolled], [root], "ok"],
    ["a leaf of the CA's name", [self, rolled], [root], bad("root", rest("root"))],
  ];
});
