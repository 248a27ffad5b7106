import assert from "node:assert/strict";
import { loadCredentials } from "../../../src/certstore/load.ts";
import { makeCrl } from "../../support/crl.ts";
import * as pki from "../../support/pki.ts";
import { ca, type Content, crl, inter, load, own, peer, withDeep } from "./crl_memory.ts";
import { DAY, NOW } from "../../support/credential_files.ts";

/** Files that are taken: the number of lists, of revoked certificates, and of warnings. */
const ACCEPTED: Readonly<
  Record<string, readonly [Readonly<Record<string, Content>>, readonly [number, number, number]]>
> = {
  "no list": [{}, [0, 0, 0]],
  "a list in PEM": [{ crl: crl({ revoked: [peer] }) }, [1, 1, 0]],
  "a list in DER": [{ crl: makeCrl(ca, { revoked: [peer] }).der }, [1, 1, 0]],
  "a list with text around it": [{ crl: `List of acme\n\n${crl()}\nend\n` }, [1, 0, 0]],
  "the label of old": [{ crl: crl().replaceAll("X509 CRL", "CRL") }, [1, 0, 0]],
  "version 1": [{ crl: crl({ version: 1, revoked: [peer] }) }, [1, 1, 0]],
  "a file for each CA": [
    {
      ca: ca.pem + inter.pem,
      crl1: crl({ revoked: [peer] }),
      crl2: crl({ revoked: [1, 2] }, inter),
    },
    [2, 3, 0],
  ],
  "both in one file": [
    { ca: ca.pem + inter.pem, crl: crl({ revoked: [peer] }) + crl({ revoked: [1, 2] }, inter) },
    [2, 3, 0],
  ],
  "an intermediate of the own chain": [withDeep(crl({ revoked: [1] }, inter)), [1, 1, 0]],
  "a CA without key usage": (() => {
    const plain = pki.makeCa({ subject: "plain", omit: ["keyUsage"] });
    return [{ ca: ca.pem + plain.pem, crl: crl({}, plain) }, [1, 0, 0]] as const;
  })(),
  "a CA that has expired, whose list does no harm": (() => {
    const old = pki.makeCa({
      subject: "old",
      notBefore: new Date(NOW - 2 * DAY),
      notAfter: new Date(NOW - DAY),
    });
    return [{ ca: ca.pem + old.pem, crl: crl({}, old) }, [1, 0, 1]] as const;
  })(),
  "a CA with a namesake before it": (() => {
    const namesake = pki.makeCa({ subject: "acme CA" });
    return [{ ca: namesake.pem + ca.pem, crl: crl() }, [1, 0, 1]] as const;
  })(),
  "a namesake with another kind of key": (() => {
    const namesake = pki.makeCa({ subject: "acme CA", kind: "ed25519" });
    return [
      { ca: namesake.pem + ca.pem, crl1: crl(), crl2: crl({}, namesake) },
      [2, 0, 0],
    ] as const;
  })(),
  "RSA with PSS": (() => {
    const rsa = pki.makeCa({ subject: "rsa", kind: "rsa2048" });
    return [{ ca: ca.pem + rsa.pem, crl: crl({ signature: "pss-sha256" }, rsa) }, [
      1,
      0,
      0,
    ]] as const;
  })(),
  "the first and the last moment": [
    { crl: crl({ thisUpdate: new Date(NOW - NOW % 1000), nextUpdate: new Date(NOW + 1000) }) },
    [1, 0, 0],
  ],
  "two lists of one CA: both count, the older one is warned of": [
    { crl1: crl({ revoked: [1], thisUpdate: new Date(NOW - DAY) }), crl2: crl({ revoked: [2] }) },
    [2, 2, 1],
  ],
  "a certificate beside the list": [{ crl: crl() + inter.pem }, [1, 0, 1]],
  "a key beside the list": [{ crl: crl() + own.keyPem }, [1, 0, 1]],
  "the own certificate is revoked": [{ crl: crl({ revoked: [own] }) }, [1, 1, 1]],
  "an own intermediate is revoked": [withDeep(crl({ revoked: [inter] })), [1, 1, 1]],
  "a CA of the bundle is revoked": [
    { ca: ca.pem + inter.pem, crl: crl({ revoked: [inter] }) },
    [1, 1, 1],
  ],
};

for (const [what, [files, wanted]] of Object.entries(ACCEPTED)) {
  Deno.test(`taken: ${what}`, async () => {
    const { revocation: { lists }, warnings } = await load(files);
    const entries = lists.reduce((sum, list) => sum + list.entries, 0);
    assert.deepEqual([lists.length, entries, warnings.length], wanted, warnings.join("\n"));
  });
}

const impostor = pki.makeCa({ subject: "acme CA" });

Deno.test("one file may be named as bundle and as list", async () => {
  const tls = { cert: "cert", key: "key", ca: "ca", crl: ["ca", "ca"] };
  const files: Readonly<Record<string, string>> = {
    cert: own.pem,
    key: own.keyPem,
    ca: ca.pem + crl({ revoked: [peer] }),
  };
  const credentials = await loadCredentials(tls, {
    readFile: (path) => Promise.resolve(new TextEncoder().encode(files[path])),
    now: () => NOW,
  });
  assert.deepEqual(credentials.warnings, []);
  assert.equal(credentials.revocation.lists.length, 1);
});

Deno.test("warnings say what is wrong and what comes of it", async () => {
  const warned = async (files: Readonly<Record<string, Content>>) => (await load(files)).warnings;
  const older = new Date(NOW - DAY);
  assert.match(
    (await warned({ crl1: crl({ thisUpdate: older }), crl2: crl() })).join(),
    /^tls\.crl: "crl1": the list of "CN=acme CA" as of .*Z counts although there is another one as of .*Z; keep the newest one$/,
  );
  assert.match(
    (await warned({ ca: ca.pem + impostor.pem, crl: crl() })).join(),
    /^tls\.ca: "ca": certificate "CN=acme CA" \(serial \w+\) has no revocation list, only another CA of that name has: what it signed is not looked up$/,
  );
  assert.match(
    (await warned({ crl: crl({ revoked: [own] }) })).join(),
    /^tls\.cert: "cert": certificate "CN=own" \(serial \w+\) was revoked by "CN=acme CA": peers that look it up refuse it$/,
  );
  assert.match(
    (await warned({ ca: ca.pem + inter.pem, crl: crl({ revoked: [inter] }) })).join(),
    /^tls\.ca: "ca": certificate "CN=acme issuing CA" .* was revoked by "CN=acme CA": it verifies no peer$/,
  );
});

Deno.test("what is in force holds on to none of the bytes that were read", async () => {
  const { revocation } = await load({ crl: crl({ revoked: [peer] }) });
  const [list] = revocation.lists;
  assert.deepEqual(
    Object.keys(list ?? {}).sort(),
    ["distributionPoint", "entries", "issuer", "nextUpdate", "number", "serials", "thisUpdate"],
  );
});
