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
  makeKey,
  makeLeaf,
  nameConstraints,
  pathOf,
} from "../support/pki.ts";
import {
  admit,
  channelOf,
  client,
  connected,
  limits,
  material,
  MENDED,
  pki,
  refused,
  server,
} from "./support.ts";
import { memoryPair } from "./support_channels.ts";
import { plainAdmits, plainClient, plainServer } from "./support_peers.ts";

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

/** Whether plain `node:tls` as a client lets this server in. */
async function plainTrusts(own: Issued, bundle: readonly Issued[]): Promise<boolean> {
  await using plain = await plainServer(
    { cert: chainPem(...pathOf(own)), key: own.keyPem },
    (socket) => socket.end(),
  );
  return await plainClient({ port: plain.port, ca: chainPem(...bundle) }) === "let in";
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
      assert(letIn, MENDED);
    });
  }

  Deno.test(`refused as a client: ${what}`, async () => {
    for (const clientAuth of ["required", "optional"] as const) {
      const [near, far] = memoryPair();
      const dialling = client({ own: leaf }).connect(near, admit, limits()).catch(() => undefined);
      await refused(
        server({ bundle, clientAuth }).accept(far, () => assert.fail("decided"), limits()),
        reason,
      );
      (await dialling)?.channel?.close();
      near.close();
    }
  });

  // A certificate that is for clients only has no place in the other role.
  if (what === "a leaf of the bundle for the other role") continue;
  Deno.test(`refused as a server: ${what}`, async () => {
    const [near, far] = memoryPair();
    const accepting = server({ own: leaf }).accept(far, admit, limits())
      .then((shaken) => shaken.channel?.close(), () => {});
    // Where the engine refuses it first, it may have another word for it.
    const also = roles.includes("server") ? [] : ["untrusted", "expired"] as const;
    await refused(
      client({ bundle }).connect(near, () => assert.fail("decided"), limits()),
      [reason, ...also],
    );
    await accepting;
  });
}

Deno.test("a leaf of the bundle for clients only is refused as a server", async () => {
  const leaf = makePinned("client");
  const [near, far] = memoryPair();
  const accepting = server({ own: leaf }).accept(far, admit, limits()).catch(() => {});
  await refused(
    client({ bundle: [leaf] }).connect(near, admit, limits()),
    ["bad_certificate", "untrusted"],
  );
  await accepting;
});

Deno.test("a sound leaf that stands in the bundle is let in, in both roles", async () => {
  const own = makePinned("client");
  const [near, far] = memoryPair();
  const [dialled, accepted] = await Promise.all([
    client({ own }).connect(near, admit, limits()),
    server({ bundle: [own] }).accept(far, admit, limits()),
  ]);
  assert.deepEqual(accepted.peer?.certificate.der, own.der);
  channelOf(dialled).close();
  channelOf(accepted).close();
});

Deno.test("a chain of two intermediates is let in, in any order, with rubbish beside it", async () => {
  const root = makeCa({ subject: "root" });
  const middle = makeCa({ subject: "middle", issuer: root, pathLength: 1 });
  const low = makeCa({ subject: "low", issuer: middle, pathLength: 0 });
  const leaf = makeLeaf({ role: "client" }, low);
  const orders = [[low, middle], [middle, low], [root, middle, makeCa(), low]];
  for (const order of orders) {
    const own = { ...material(leaf, [pki().ca]), certPem: chainPem(leaf, ...order) };
    const ends = await connected({
      server: server({ bundle: [root] }),
      client: client({ own: { ...leaf, issuer: undefined, pem: own.certPem } }),
    });
    ends.client.close();
    ends.server.close();
  }
});

/** The owner of a public v1 CA certificate and of a key that has nothing to do with it. */
function v1Attacker(ca: Issued): Issued {
  const key = makeKey();
  return { ...ca, key, keyPem: key.export({ type: "pkcs8", format: "pem" }).toString() };
}

Deno.test("control: plain node:tls lets everybody in who has the public v1 CA certificate", async () => {
  const { server: own } = pki();
  const ca = makeCa({ version: 1, subject: "old CA" });
  const pair = { cert: ca.pem, key: v1Attacker(ca).keyPem };
  assert(await plainAdmits(pair, [ca], { cert: own.pem, key: own.keyPem }), MENDED);
});

Deno.test("a v1 CA in the bundle lets nobody in", async () => {
  const ca = makeCa({ version: 1, subject: "old CA" });
  const honest = makeLeaf({ role: "client" }, ca);
  for (const own of [v1Attacker(ca), { ...ca, issuer: undefined }, honest]) {
    for (const clientAuth of ["required", "optional"] as const) {
      const [near, far] = memoryPair();
      const dialling = client({ own }).connect(near, admit, limits()).catch(() => undefined);
      const error = await refused(
        server({ bundle: [ca, pki().ca], clientAuth }).accept(
          far,
          () => assert.fail("decided"),
          limits(),
        ),
        ["bad_certificate", "untrusted"],
      );
      if (own !== honest) assert.match(error.message, /X\.509 v1/);
      (await dialling)?.channel?.close();
      near.close();
    }
  }
});

Deno.test("a v1 leaf of a sound CA is refused in both roles", async () => {
  const leaf = makeLeaf({ version: 1, subject: "localhost" }, pki().ca);
  {
    const [near, far] = memoryPair();
    const dialling = client({ own: leaf }).connect(near, admit, limits()).catch(() => undefined);
    const error = await refused(
      server({ bundle: [pki().ca] }).accept(far, admit, limits()),
      "bad_certificate",
    );
    assert.match(error.message, /X\.509 v1/);
    (await dialling)?.channel?.close();
    near.close();
  }
  const [near, far] = memoryPair();
  const accepting = server({ own: leaf }).accept(far, admit, limits()).catch(() => undefined);
  await refused(client().connect(near, admit, limits()), "bad_certificate");
  await accepting;
});

Deno.test("a v1 leaf in the bundle does not spare its holder the key", async () => {
  const leaf = makeLeaf({ version: 1, subject: "pinned" });
  const attacker = v1Attacker(leaf);
  const { server: own } = pki();
  const pair = { cert: leaf.pem, key: attacker.keyPem };
  assert(await plainAdmits(pair, [leaf], { cert: own.pem, key: own.keyPem }), MENDED);
  const [near, far] = memoryPair();
  const dialling = client({ own: attacker }).connect(near, admit, limits()).catch(() => undefined);
  await refused(
    server({ bundle: [leaf, pki().ca] }).accept(far, admit, limits()),
    "bad_certificate",
  );
  (await dialling)?.channel?.close();
  near.close();
});

/** Two CAs that signed each other; neither is self-signed. */
function crossSigned(): { readonly a: Issued; readonly b: Issued; readonly leaf: Issued } {
  const [rootA, rootB] = [makeCa({ subject: "A" }), makeCa({ subject: "B" })];
  const a = makeCa({ subject: "A", key: rootA.key, issuer: rootB });
  const b = makeCa({ subject: "B", key: rootB.key, issuer: rootA });
  return { a, b, leaf: makeLeaf({ subject: "localhost", san: SAN }, a) };
}

Deno.test("CAs that signed each other, both in the bundle: ours answers, in both roles", async () => {
  const { a, b, leaf } = crossSigned();
  const own = { ...leaf, issuer: undefined };
  const bundle = [a, b];
  const ends = await connected({
    client: client({ own, bundle }),
    server: server({ own, bundle }),
  });
  ends.client.close();
  ends.server.close();
  const stranger = { ...makeLeaf({ san: SAN }, makeCa({ subject: "A" })), issuer: undefined };
  const [near, far] = memoryPair();
  const accepting = server({ own: stranger, bundle }).accept(far, admit, limits())
    .catch(() => undefined);
  await refused(client({ own, bundle }).connect(near, admit, limits()), "untrusted");
  (await accepting)?.channel?.close();
});

/** Has the engine complete a chain in a worker; whether it comes back within `ms`. */
async function chainComesBack(
  own: Issued,
  bundle: readonly Issued[],
  ms: number,
): Promise<boolean> {
  const material = { ca: chainPem(...bundle), cert: own.pem, key: own.keyPem };
  const source = `
    import tls from "node:tls";
    const material = ${JSON.stringify(material)};
    const server = tls.createServer({ ...material, requestCert: true }, (socket) => {
      socket.on("error", () => {});
      socket.getPeerCertificate(true);
      self.postMessage("answered");
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      const client = tls.connect(
        { ...material, port, host: "127.0.0.1", rejectUnauthorized: false },
      );
      client.getPeerCertificate = () => ({});
      client.on("error", () => {});
    });`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    return await new Promise<boolean>((done) => {
      const timer = setTimeout(() => done(false), ms);
      worker.onmessage = () => {
        clearTimeout(timer);
        done(true);
      };
    });
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
}

Deno.test("control: the engine's getPeerCertificate(true) never comes back from such a bundle", async () => {
  const { a, b, leaf } = crossSigned();
  assert(await chainComesBack(under(pki().ca), [pki().ca], 30_000), "the control is broken");
  assert.equal(await chainComesBack(leaf, [a, b], 1_500), false, MENDED);
});

Deno.test("control: plain node:tls finds a server's name in its CN, where there is no SAN", async () => {
  const { ca } = pki();
  const subjects = { "a CN": "localhost", "several CNs": { CN: ["evil.example", "localhost"] } };
  for (const [what, subject] of Object.entries(subjects)) {
    assert(await plainTrusts(makeLeaf({ subject }, ca), [ca]), `${what}: ${MENDED}`);
  }
});

Deno.test("a server's name is in its SAN or nowhere", async () => {
  const { ca } = pki();
  const subjects = ["localhost", { CN: ["evil.example", "localhost"] }, "evil.example, localhost"];
  for (const subject of subjects) {
    for (const san of [[], [dns("other.example")]]) {
      const [near, far] = memoryPair();
      const own = makeLeaf({ subject, san }, ca);
      const accepting = server({ own }).accept(far, admit, limits()).catch(() => undefined);
      await refused(client().connect(near, admit, limits()), "name_mismatch");
      await accepting;
    }
  }
});
