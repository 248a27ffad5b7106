/**
 * One chain after the other, and the verdict on it: trust, times, and the bundle. What each
 * certificate may be is in `path_profile_test.ts`, names in `name_constraints_test.ts`, and the work
 * that a hostile chain can ask for in `path_work_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Purpose } from "../../../src/x509/path.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";
import {
  bad,
  describeVerdict,
  type Row,
  table,
  untrusted,
  validate,
} from "../../support/x509/validate.ts";
table(
  "sound chains of every key",
  () =>
    (["p256", "p384", "ed25519", "rsa2048"] as const).flatMap((kind): Row[] => {
      const { ca, intermediate, server, client } = pki.testPki({ kind, intermediate: true });
      assert.ok(intermediate);
      return [
        [`${kind} client`, [client, intermediate], [ca], "ok"],
        [`${kind} server`, [server, intermediate], [ca], "ok", { purpose: "server" }],
        [`${kind} with the root`, [client, intermediate, ca], [ca], "ok"],
        [`${kind} intermediate as anchor`, [client], [intermediate], "ok"],
        [`${kind} both as anchors`, [client, intermediate], [intermediate, ca], "ok"],
      ];
    }),
);

table("sound chains of every signature", () => {
  const rsa = pki.makeCa({ kind: "rsa2048", subject: "rsa" });
  const ec = pki.makeCa({ kind: "p384", subject: "ec" });
  const signed = (ca: pki.Issued, kinds: readonly pki.SignatureKind[]): Row[] =>
    kinds.map((signature) => [signature, [pki.makeLeaf({ signature }, ca)], [ca], "ok"]);
  return [
    ...signed(rsa, ["rsa-sha256", "rsa-sha384", "rsa-sha512"]),
    ...signed(rsa, ["pss-sha256", "pss-sha384", "pss-sha512"]),
    ...signed(ec, ["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]),
  ];
});

table("trust comes from keys, not names", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const namesake = pki.makeCa({ subject: "ca" });
  const rsaNamesake = pki.makeCa({ subject: "ca", kind: "rsa2048" });
  const leaf = pki.makeLeaf({ subject: "leaf" }, ca);
  const forged = pki.makeLeaf({ subject: "leaf", forged: true }, ca);
  const middle = pki.makeCa({ subject: "middle", issuer: ca });
  const forgedMiddle = pki.makeCa({ subject: "middle", issuer: ca, forged: true, key: middle.key });
  const below = pki.makeLeaf({ subject: "leaf" }, middle);
  const none = untrusted("leaf", "ca");
  const broken = untrusted("leaf", "middle");
  return [
    ["nothing shown", [], [ca], "bad_certificate: the peer showed no certificate"],
    ["unknown CA", [leaf], [pki.makeCa({ subject: "other" })], none],
    ["empty bundle", [leaf], [], none],
    ["unknown CA that shows itself", [leaf, ca], [pki.makeCa({ subject: "other" })], none],
    ["a namesake with another key", [leaf], [namesake], none],
    ["a namesake with another kind of key", [leaf], [rsaNamesake], none],
    ["the right one among namesakes", [leaf], [namesake, rsaNamesake, ca], "ok"],
    ["forged leaf", [forged], [ca], none],
    ["forged leaf, CA shown", [forged, ca], [ca], none],
    [
      "signature of nothing",
      [pki.makeLeaf({ subject: "leaf", signatureBytes: "" }, ca)],
      [ca],
      none,
    ],
    ["forged intermediate", [below, forgedMiddle], [ca], broken],
    ["missing intermediate", [below], [ca], broken],
    ["another intermediate", [below, pki.makeCa({ subject: "x", issuer: ca })], [ca], broken],
    ["forged and real intermediate", [below, forgedMiddle, middle], [ca], "ok"],
    ["self-signed leaf", [pki.makeLeaf({ subject: "x" })], [ca], untrusted("x", "x")],
    [
      "self-signed leaf with the CA's name",
      [pki.makeLeaf({ subject: "ca" })],
      [ca],
      untrusted("ca", "ca"),
    ],
    [
      "changed after it was signed",
      [pki.makeLeaf({
        subject: "leaf",
        finish: (c) => {
          const bytes = c.slice();
          const at = new TextDecoder("latin1").decode(bytes).indexOf("leaf");
          bytes[at] = "L".charCodeAt(0);
          return bytes;
        },
      }, ca)],
      [ca],
      untrusted("Leaf", "ca"),
    ],
    [
      "the issuer's name in another encoding",
      [pki.makeLeaf({ subject: "leaf", issuerName: { CN: der.printable("ca") } }, ca)],
      [ca],
      none,
    ],
  ];
});

const SECOND = 1_000;
const from = new Date("2030-01-01T00:00:00Z");
const to = new Date("2030-01-31T00:00:00Z");
const always = { notBefore: new Date("2020-01-01Z"), notAfter: new Date("2040-01-01Z") };
const short = { notBefore: from, notAfter: to };

table("times hold for every certificate of the path, to the second", () => {
  const chain = (which: "leaf" | "middle" | "ca"): [pki.Issued[], pki.Issued[]] => {
    const times = (name: string) => name === which ? short : always;
    const ca = pki.makeCa({ subject: "ca", ...times("ca") });
    const middle = pki.makeCa({ subject: "middle", issuer: ca, ...times("middle") });
    return [[pki.makeLeaf({ subject: "leaf", ...times("leaf") }, middle), middle], [ca]];
  };
  return (["leaf", "middle", "ca"] as const).flatMap((which): Row[] => {
    const [presented, anchors] = chain(which);
    const early = `not_yet_valid: certificate CN=${which} is valid from 2030-01-01T00:00:00.000Z`;
    const late = `expired: certificate CN=${which} expired at 2030-01-31T00:00:00.000Z`;
    const at = (
      now: number,
      verdict: string,
    ): Row => [`${which} ${now}`, presented, anchors, verdict, { now }];
    return [
      at(from.getTime() - 1, early),
      at(from.getTime(), "ok"),
      at(to.getTime(), "ok"),
      at(to.getTime() + SECOND - 1, "ok"),
      at(to.getTime() + SECOND, late),
    ];
  });
});

table("times that cannot hold", () => {
  const ca = pki.makeCa({ subject: "ca", ...always });
  const upsideDown = pki.makeLeaf({ subject: "leaf", notBefore: to, notAfter: from }, ca);
  const last = pki.makeLeaf({ subject: "leaf", notAfter: new Date("9999-12-31T23:59:59Z") }, ca);
  return [
    [
      "ends before it begins",
      [upsideDown],
      [ca],
      "not_yet_valid: certificate CN=leaf is valid from 2030-01-31T00:00:00.000Z",
      { now: from },
    ],
    [
      "ends before it begins, later",
      [upsideDown],
      [ca],
      "expired: certificate CN=leaf expired at 2030-01-01T00:00:00.000Z",
      { now: to },
    ],
    ["no end", [last], [ca], "ok"],
  ];
});

table("a leaf that stands in the bundle is a path of one", () => {
  const ca = pki.makeCa({ subject: "ca" });
  const { notBefore: past, notAfter: later } = always;
  const leaf = pki.makeLeaf({ subject: "leaf" }, ca);
  const alone = pki.makeLeaf({ subject: "alone" });
  const expired = pki.makeLeaf({
    subject: "old",
    notBefore: past,
    notAfter: new Date("2021-01-01Z"),
  });
  const future = pki.makeLeaf({
    subject: "new",
    notBefore: new Date("2039-01-01Z"),
    notAfter: later,
  });
  const server = pki.makeLeaf({ subject: "server", role: "server" });
  const weak = pki.makeLeaf({ subject: "weak", kind: "rsa1024" });
  const renewed = pki.makeLeaf({ subject: "alone", key: alone.key });
  const usage = pki.keyUsage(["keyEncipherment"]);
  const mute = pki.makeLeaf({ subject: "mute", omit: ["keyUsage"], extra: [usage] });
  const unknown = pki.makeLeaf({
    subject: "odd",
    extra: [pki.extension("unknown", der.nil(), true)],
  });
  return [
    ["issued by a CA that is not there", [leaf], [leaf], "ok"],
    ["self-signed", [alone], [alone], "ok"],
    ["among others", [alone, ca], [ca, leaf, alone], "ok"],
    [
      "renewed, same key and name",
      [renewed],
      [alone],
      bad("alone", "signs others and is no CA (basic constraints)"),
    ],
    [
      "expired",
      [expired],
      [expired],
      "expired: certificate CN=old expired at 2021-01-01T00:00:00.000Z",
    ],
    [
      "not yet valid",
      [future],
      [future],
      "not_yet_valid: certificate CN=new is valid from 2039-01-01T00:00:00.000Z",
    ],
    [
      "for the other role",
      [server],
      [server],
      bad("server", "is not for TLS clients (extended key usage)"),
    ],
    ["for its role", [server], [server], "ok", { purpose: "server" }],
    ["weak", [weak], [weak], bad("weak", "has an RSA key of 1024 bits where 2048 is the least")],
    ["no digitalSignature", [mute], [mute], bad("mute", "may not sign a handshake (key usage)")],
    [
      "unknown critical extension",
      [unknown],
      [unknown],
      bad("odd", `has a critical extension ${pki.OID.unknown} that is not understood`),
    ],
    // The engine refuses a CA as a leaf unless it is an anchor itself; key usage decides here.
    ["a CA of the bundle", [ca], [ca], bad("ca", "may not sign a handshake (key usage)")],
  ];
});

Deno.test({
  name: "path: the verdict tells its path and how long it holds",
  permissions: "none",
  fn() {
    const ca = pki.makeCa({ subject: "ca", ...always });
    const middle = pki.makeCa({ subject: "middle", issuer: ca, ...short });
    const leaf = pki.makeLeaf({ subject: "leaf", ...always }, middle);
    const now = new Date("2030-01-15Z");
    for (const purpose of ["client", "server"] satisfies Purpose[]) {
      const { verdict } = validate([leaf, ca, middle], [ca], { now, purpose });
      if (!verdict.ok) assert.fail(describeVerdict(verdict));
      const path = verdict.path.map(({ der }) => der.toHex());
      assert.deepEqual(path, [leaf, middle, ca].map(({ der }) => der.toHex()));
      assert.equal(verdict.validFrom, from.getTime());
      assert.equal(verdict.validUntil, to.getTime() + SECOND - 1);
    }
    const { verdict } = validate([leaf], [leaf, ca], { now });
    assert.ok(verdict.ok && verdict.path.length === 1);
  },
});
