/**
 * Certificates that CAs in use write and that are not DER to the letter, or that rustls cannot read,
 * in real handshakes: what is in an issuer is no matter of rustls, what is in a peer's own
 * certificate is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { TcpConn } from "../../src/net/mod.ts";
import * as der from "../support/der.ts";
import * as pki from "../support/pki.ts";
import { filesIn, sClient } from "../support/openssl.ts";
import { verdictOn } from "../support/x509/validate.ts";
import {
  client,
  connected,
  limits,
  pki as shared,
  refused,
  server,
  VERSIONS,
} from "../support/tls/ends.ts";
import { assertNothingRevealed, attack } from "../support/tls/rogue_attack.ts";
import { p256Signer } from "../support/tls/rogue_server.ts";
import { testEachBackend, testPublicAndNative } from "../support/tls/backends.ts";

const { raw } = der;
const SAN = [pki.dns("localhost")];
const policies = der.seq(der.seq(der.oid("1.2.3")));

/** What rustls cannot read. */
const UNREADABLE: Readonly<Record<string, pki.IssueOptions>> = {
  "unique identifiers": { issuerUniqueId: raw("0102"), subjectUniqueId: raw("80") },
  "critical policies": { extra: [pki.extension("certificatePolicies", policies, true)] },
  "critical policy constraints": {
    extra: [pki.extension("policyConstraints", der.seq(der.implicit(0, der.int(5))), true)],
  },
  "critical inhibitAnyPolicy": { extra: [pki.extension("inhibitAnyPolicy", der.int(0), true)] },
};

/** What it can. */
const READABLE: Readonly<Record<string, pki.IssueOptions>> = {
  "a negative serial": { serial: "ff01" },
  "a serial of 40 octets": { serial: "7f".repeat(40) },
  "a criticality spelled out": {
    extra: [der.seq(der.oid(pki.OID.unknown), der.bool(false), der.octet(der.nil()))],
  },
};

function usage(hex: string): pki.IssueOptions {
  return { omit: ["keyUsage"], extra: [pki.extension("keyUsage", raw(hex), true)] };
}

testPublicAndNative("issuers in odd encodings are taken, in both roles and versions", async () => {
  const cases = { ...UNREADABLE, ...READABLE, "key usage with zeros": usage("0303000600") };
  for (const [what, options] of Object.entries(cases)) {
    const ca = pki.makeCa({ subject: "odd root", ...options });
    const middle = pki.makeCa({ subject: "odd intermediate", issuer: ca, ...options });
    const rolled = pki.makeCa({ subject: "odd intermediate", issuer: middle });
    for (const [version] of VERSIONS) {
      const ends = await connected({
        client: client({ own: pki.makeLeaf({}, rolled), bundle: [ca], max: version }),
        server: server({ own: pki.makeLeaf({ san: SAN }, middle), bundle: [ca] }),
      }).catch((error: unknown) => assert.fail(`${what}, ${version}: ${error}`));
      ends.client.close();
      ends.server.close();
    }
  }
});

testPublicAndNative(
  "leaves in odd encodings that the engine reads are taken, in both roles",
  async () => {
    const ca = pki.makeCa();
    const own = (options: pki.LeafOptions): pki.Issued =>
      pki.makeLeaf({ san: SAN, ...options }, ca);
    const odd = [pki.dns("localhost"), der.implicit(2, der.octet(raw("c3bc")))];
    const cases: Readonly<Record<string, pki.LeafOptions>> = {
      ...READABLE,
      "key usage with zeros": usage("03020080"),
      "a name that is not ASCII": { san: odd },
    };
    for (const [what, options] of Object.entries(cases)) {
      const leaf = own(options);
      const ends = await connected({
        client: client({ own: leaf, bundle: [ca] }),
        server: server({ own: leaf, bundle: [ca] }),
      }).catch((error: unknown) => assert.fail(`${what}: ${error}`));
      ends.client.close();
      ends.server.close();
    }
  },
);

testPublicAndNative(
  "a server whose own certificate the engine cannot read is refused, key or not",
  async () => {
    const { ca } = shared();
    for (const [what, options] of Object.entries(UNREADABLE)) {
      const leaf = pki.makeLeaf({ subject: "leaf", san: SAN, ...options }, ca);
      for (const key of [leaf.key, pki.makeKey()]) {
        const { error, got } = await attack([leaf.der], p256Signer(key));
        assert(error instanceof Error, `${what}: the handshake went through`);
        assertNothingRevealed(got, what);
      }
      // And path validation, which `explain` asks too, says why.
      assert.match(
        verdictOn([leaf], [ca], { purpose: "server" }),
        /^bad_certificate: certificate CN=leaf has .* the TLS engine cannot read/,
      );
    }
  },
);

testEachBackend(
  "a client whose own certificate the engine cannot read is refused, with its key",
  async (way) => {
    const ca = pki.makeCa({ subject: "ca" });
    for (const [what, options] of Object.entries(UNREADABLE)) {
      const leaf = pki.makeLeaf({ subject: "leaf", ...options }, ca);
      await using files = await filesIn({ cert: leaf.pem, key: leaf.keyPem });
      for (const clientAuth of ["required", "optional"] as const) {
        const { promise, resolve } = Promise.withResolvers<string>();
        const ours = way.server({ bundle: [ca], clientAuth });
        const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
        void listener.accept().then(async (socket) => {
          const conn = new TcpConn(socket);
          const error = await refused(
            ours.accept(conn, () => assert.fail(`${what} came to the decision`), limits()),
            ["untrusted", "bad_certificate", "protocol"],
          ).catch((failure: unknown) => failure);
          conn.close();
          resolve(String(error));
        });
        const peer = sClient(
          listener.addr.port,
          "-cert",
          files.path("cert"),
          "-key",
          files.path("key"),
        );
        assert.match(await promise, /^HandshakeError/, `${what}, ${clientAuth}`);
        await peer[Symbol.asyncDispose]();
        listener.close();
      }
    }
  },
);
