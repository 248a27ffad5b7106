/**
 * What the engine takes from the bundle and the chain without a look, and the second verdict does not.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  basicConstraints,
  chainPem,
  dns,
  type Issued,
  keyUsage,
  makeCa,
  makeLeaf,
  nameConstraints,
  pathOf,
} from "../../support/pki.ts";
import {
  admit,
  client,
  connected,
  connOf,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  server,
} from "../../support/tls/ends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { plainAdmits, plainTrusts } from "../../support/plain_tls.ts";
import { testPublicAndNative } from "../../support/tls/backends.ts";

const PAST = new Date(Date.now() - 86_400_000);
const FUTURE = new Date(Date.now() + 86_400_000);
const SAN = [dns("localhost")];

/** A leaf of somebody's, the bundle that it is judged by, and the reason for which it must go. */
type Case = {
  readonly leaf: Issued;
  readonly bundle: readonly Issued[];
  readonly reason: "bad_certificate" | "expired" | "not_yet_valid" | "untrusted";
  /** In the roles in which the engine by itself lets it in. */
  readonly roles: readonly ("client" | "server")[];
};

const BOTH = ["client", "server"] as const;

function under(ca: Issued): Issued {
  return makeLeaf({ subject: "localhost", san: SAN }, ca);
}

function cases(): Record<string, Case> {
  const expired = makeCa({ notBefore: new Date(0), notAfter: PAST });
  const early = makeCa({ notBefore: FUTURE });
  const noCa = makeLeaf({ subject: "no CA" });
  const saysNoCa = makeCa({
    omit: ["basicConstraints"],
    extra: [basicConstraints({ ca: false })],
  });
  const short = makeCa({ subject: "short", pathLength: 0 });
  const below = makeCa({ subject: "below", issuer: short });
  const root = makeCa({ subject: "root" });
  const noSign = makeCa({
    subject: "no keyCertSign",
    issuer: root,
    omit: ["keyUsage"],
    extra: [keyUsage(["digitalSignature", "cRLSign"])],
  });
  const rootNoSign = makeCa({
    subject: "root without keyCertSign",
    omit: ["keyUsage"],
    extra: [keyUsage(["cRLSign"])],
  });
  const pinnedExpired = makeLeaf({
    subject: "localhost",
    san: SAN,
    notBefore: new Date(0),
    notAfter: PAST,
  }, root);
  const constrained = makeCa({
    subject: "constrained",
    issuer: root,
    extra: [nameConstraints({ permitted: [dns("elsewhere.example")] })],
  });
  const weak = makeCa({ kind: "p256", subject: "weak" });
  return {
    "an expired root": { leaf: under(expired), bundle: [expired], reason: "expired", roles: BOTH },
    "a root not yet valid": {
      leaf: under(early),
      bundle: [early],
      reason: "not_yet_valid",
      roles: BOTH,
    },
    "a bundle entry that is no CA, without basic constraints": {
      leaf: under(noCa),
      bundle: [noCa],
      reason: "bad_certificate",
      roles: BOTH,
    },
    "a bundle entry that says it is no CA": {
      leaf: under(saysNoCa),
      bundle: [saysNoCa],
      reason: "bad_certificate",
      roles: BOTH,
    },
    "a root's path length exceeded": {
      leaf: under(below),
      bundle: [short],
      reason: "bad_certificate",
      roles: BOTH,
    },
    "an intermediate without keyCertSign": {
      leaf: under(noSign),
      bundle: [root],
      reason: "bad_certificate",
      roles: BOTH,
    },
    "a root without keyCertSign": {
      leaf: under(rootNoSign),
      bundle: [rootNoSign],
      reason: "bad_certificate",
      roles: BOTH,
    },
    "a leaf of the bundle that has expired": {
      leaf: pinnedExpired,
      bundle: [root, pinnedExpired],
      reason: "expired",
      roles: ["client"],
    },
    "a leaf of the bundle for the other role": {
      leaf: makePinned("server"),
      bundle: [],
      reason: "bad_certificate",
      roles: ["client"],
    },
    "a leaf that may not sign": {
      leaf: makeLeaf({
        subject: "localhost",
        san: SAN,
        omit: ["keyUsage"],
        extra: [keyUsage(["keyEncipherment"])],
      }, root),
      bundle: [root],
      reason: "bad_certificate",
      roles: BOTH,
    },
    "a name outside the constraints": {
      leaf: under(constrained),
      bundle: [root],
      reason: "bad_certificate",
      roles: [],
    },
    "a self-signed leaf": {
      leaf: makeLeaf({ subject: "localhost", san: SAN }),
      bundle: [weak],
      reason: "untrusted",
      roles: [],
    },
    "a leaf of a CA with the same name and another key": {
      leaf: under(makeCa({ subject: "weak" })),
      bundle: [weak],
      reason: "untrusted",
      roles: [],
    },
  };
}

/** A leaf for one role only; it is its own bundle. */
function makePinned(role: "server" | "client"): Issued {
  return makeLeaf({ subject: "localhost", san: SAN, role });
}

for (const [what, { leaf, bundle: given, reason, roles }] of Object.entries(cases())) {
  const bundle = given.length === 0 ? [leaf] : given;

  for (const role of roles) {
    Deno.test(`control: plain node:tls lets in ${what}, as a ${role}`, async () => {
      const { server: own } = pki();
      const pair = { cert: chainPem(...pathOf(leaf)), key: leaf.keyPem };
      const letIn = role === "client"
        ? await plainAdmits(pair, bundle, { cert: own.pem, key: own.keyPem })
        : await plainTrusts(leaf, bundle);
      assert(letIn, DEFENCE_NO_LONGER_NEEDED);
    });
  }

  testPublicAndNative(`refused as a client: ${what}`, async () => {
    for (const clientAuth of ["required", "optional"] as const) {
      const [near, far] = memoryPair();
      const dialling = client({ own: leaf }).connect(near, admit, limits()).catch(() => undefined);
      await refused(
        server({ bundle, clientAuth }).accept(far, () => assert.fail("decided"), limits()),
        reason,
      );
      (await dialling)?.conn?.close();
      near.close();
    }
  });

  // A certificate that is for clients only has no place in the other role.
  if (what === "a leaf of the bundle for the other role") continue;
  testPublicAndNative(`refused as a server: ${what}`, async () => {
    const [near, far] = memoryPair();
    const accepting = server({ own: leaf }).accept(far, admit, limits())
      .then((shaken) => shaken.conn?.close(), () => {});
    // Where the engine refuses it first, it may have another word for it.
    const also = roles.includes("server") ? [] : ["untrusted", "expired"] as const;
    await refused(
      client({ bundle }).connect(near, () => assert.fail("decided"), limits()),
      [reason, ...also],
    );
    await accepting;
  });
}

testPublicAndNative("a leaf of the bundle for clients only is refused as a server", async () => {
  const leaf = makePinned("client");
  const [near, far] = memoryPair();
  const accepting = server({ own: leaf }).accept(far, admit, limits()).catch(() => {});
  await refused(
    client({ bundle: [leaf] }).connect(near, admit, limits()),
    ["bad_certificate", "untrusted"],
  );
  await accepting;
});

testPublicAndNative("a sound leaf that stands in the bundle is let in, in both roles", async () => {
  const own = makePinned("client");
  const [near, far] = memoryPair();
  const [dialled, accepted] = await Promise.all([
    client({ own }).connect(near, admit, limits()),
    server({ bundle: [own] }).accept(far, admit, limits()),
  ]);
  assert.deepEqual(accepted.peer?.certificate.der, own.der);
  connOf(dialled).close();
  connOf(accepted).close();
});

testPublicAndNative(
  "a chain of two intermediates is let in, in any order, with rubbish beside it",
  async () => {
    const root = makeCa({ subject: "root" });
    const middle = makeCa({ subject: "middle", issuer: root, pathLength: 1 });
    const low = makeCa({ subject: "low", issuer: middle, pathLength: 0 });
    const leaf = makeLeaf({ role: "client" }, low);
    const orders = [[low, middle], [middle, low], [root, middle, makeCa(), low]];
    for (const order of orders) {
      const own = { ...credentials(leaf, [pki().ca]), certPem: chainPem(leaf, ...order) };
      const ends = await connected({
        server: server({ bundle: [root] }),
        client: client({ own: { ...leaf, issuer: undefined, pem: own.certPem } }),
      });
      ends.client.close();
      ends.server.close();
    }
  },
);
