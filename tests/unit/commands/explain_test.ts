/**
 * `mtlsd explain`: what it says, line by line, and what it makes of bad input. That it says what the
 * daemon does is in `tests/scenarios/explain_test.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { explain } from "../../../src/commands/explain.ts";
import { spkiSha256 } from "../../../src/tls/signature.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { makeCrl } from "../../support/crl.ts";
import { mtlsd } from "../../support/daemon.ts";
import * as der from "../../support/der.ts";
import {
  chainPem,
  dns,
  extension,
  ip,
  type Issued,
  makeCa,
  makeLeaf,
  pathOf,
  uri,
} from "../../support/pki.ts";
import { inTempDir } from "../../support/temp_dir.ts";

const DAY = 86_400_000;
/** Whole seconds, as certificates have them. */
const NOW = Math.floor(Date.now() / 1000) * 1000;
const inDays = (days: number): Date => new Date(NOW + days * DAY);
const iso = (days: number): string => inDays(days).toISOString().replace(".000Z", "Z");

const ca = makeCa({ subject: "test CA", notBefore: inDays(-1), notAfter: inDays(200) });
const own = makeLeaf({
  subject: "db",
  san: [dns("db.example.com")],
  notAfter: inDays(100),
}, ca);

function client(subject: Parameters<typeof makeLeaf>[0]): Issued {
  return makeLeaf({
    role: "client",
    notBefore: inDays(-1),
    notAfter: inDays(60),
    ...subject,
  }, ca);
}

const CONFIG = `mode: server
listen: :8443
target: 127.0.0.1:8080
tls:
  cert: DIR/cert.pem
  key: DIR/key.pem
  ca: DIR/ca.pem
`;

type Ran = { readonly status: number; readonly out: string[]; readonly err: string[] };

/** Runs `body` in a directory with the server's certificate, key and trust. */
function inCertDir<T>(body: (dir: string) => Promise<T>): Promise<T> {
  return inTempDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "cert.pem"), own.pem);
    await Deno.writeTextFile(join(dir, "key.pem"), own.keyPem, { mode: 0o600 });
    await Deno.writeTextFile(join(dir, "ca.pem"), ca.pem);
    return await body(dir);
  });
}

/** Explains in a directory of its own, which is left out of what is said. */
function run(
  peer: string | Uint8Array | undefined,
  more = "",
  change: (config: string) => string = (text) => text,
): Promise<Ran> {
  return inCertDir(async (dir) => {
    const [out, err]: [string[], string[]] = [[], []];
    const config = join(dir, "server.yaml");
    const cert = join(dir, "peer.pem");
    await Deno.writeTextFile(config, change(CONFIG + more).replaceAll("DIR", dir));
    if (typeof peer === "string") await Deno.writeTextFile(cert, peer);
    else if (peer !== undefined) await Deno.writeFile(cert, peer);
    const plain = (to: string[]) => (line: string) => void to.push(line.replaceAll(`${dir}/`, ""));
    const status = await explain(
      { config, cert: peer === undefined ? undefined : cert },
      { stdout: plain(out), stderr: plain(err) },
      () => NOW,
    );
    return { status, out, err };
  });
}

/** The value of the line with this name. */
function line({ out }: Ran, name: string): string | undefined {
  return out.find((text) => text.startsWith(`${name}: `))?.slice(name.length + 2);
}

const web = client({
  subject: { O: ["acme", "sales"], OU: "dev", CN: "web" },
  serial: 0x1234,
  san: [dns("web.example"), ip("10.0.0.7"), ip("2001:db8::7"), uri("spiffe://acme/ns/a/web")],
});
const PIN = spkiSha256(parseCertificate(web.der).publicKey);

Deno.test("explain: a peer that is let in, with all that rules look at", async () => {
  const { status, out, err } = await run(web.pem, "acl:\n  allow_ip: [10.0.0.0/8]\n");
  assert.deepEqual([status, err], [0, []]);
  assert.deepEqual(out, [
    "verdict: allowed",
    `chain: holds until ${iso(60)} (60 days left), 1 certificate shown`,
    'subject: "O=acme, O=sales, OU=dev, CN=web"',
    'issuer: "CN=test CA"',
    "serial: 1234",
    `valid: ${iso(-1)} to ${iso(60)}`,
    'cn: "web"',
    'org: "acme"',
    'org: "sales"',
    'ou: "dev"',
    'dns: "web.example"',
    'ip: "10.0.0.7"',
    'ip: "2001:db8::7"',
    'uri: "spiffe://acme/ns/a/web"',
    `spki: "sha256:${PIN}"`,
    "decided by: acl.allow_ip: 10.0.0.0/8",
    'shown: "10.0.0.7"',
  ]);
});

Deno.test("explain: the key as a rule can be copied into the config", async () => {
  const pin = line(await run(web.pem), "spki") ?? "";
  const ran = await run(web.pem, `acl:\n  allow_spki: [${pin}]\n`);
  assert.equal(ran.status, 0);
  assert.equal(line(ran, "decided by"), `acl.allow_spki: sha256:${PIN}`);
});

Deno.test("explain: no rules, and rules that deny", async () => {
  const open = await run(web.pem);
  assert.deepEqual([open.status, line(open, "decided by")], [0, "no allow rules"]);
  const denied = await run(web.pem, "acl: { allow_cn: [web], deny_ou: [dev] }\n");
  assert.deepEqual(
    [denied.status, denied.out[0], line(denied, "decided by"), line(denied, "shown")],
    [1, "verdict: denied", "acl.deny_ou: dev", '"dev"'],
  );
  const nobody = await run(web.pem, "acl: { allow_cn: [Web, api] }\n");
  assert.deepEqual(
    [nobody.status, line(nobody, "decided by"), line(nobody, "nearest")],
    [
      1,
      "no allow rule matches",
      'acl.allow_cn: "Web" is not "web": upper and lower case differ',
    ],
  );
  const far = await run(web.pem, "acl: { allow_cn: [something-else] }\n");
  assert.deepEqual([far.status, line(far, "nearest")], [1, undefined]);
});

Deno.test("explain: rules on trial", async () => {
  const acl = "acl: { allow_cn: [api], mode: audit }\n";
  const ran = await run(web.pem, acl);
  assert.deepEqual([ran.status, ran.out[0]], [0, "verdict: would be denied (audit)"]);
  assert.equal(line(ran, "decided by"), "no allow rule matches");
  const expired = client({ notBefore: inDays(-9), notAfter: inDays(-1) });
  const bad = await run(expired.pem, acl);
  assert.deepEqual([bad.status, bad.out[0]], [1, "verdict: denied"]);
  assert.equal(
    (await run(web.pem, "acl: { allow_cn: [web], mode: audit }\n")).out[0],
    "verdict: allowed",
  );
});

Deno.test("explain: a chain that does not hold, with the reason and the peer all the same", async () => {
  const other = makeLeaf({ role: "client", subject: "web" }, makeCa({ subject: "other CA" }));
  const intermediate = makeCa({ subject: "between", issuer: ca, notAfter: inDays(30) });
  const under = makeLeaf({ role: "client", subject: "web", notAfter: inDays(40) }, intermediate);
  const cases: readonly [string, string, RegExp][] = [
    ["another CA", other.pem, /^untrusted: /],
    ["expired", client({ notBefore: inDays(-9), notAfter: inDays(-1) }).pem, /^expired: /],
    ["not yet valid", client({ notBefore: inDays(1) }).pem, /^not_yet_valid: /],
    ["a server's", makeLeaf({ role: "server" }, ca).pem, /^bad_certificate: /],
    ["without its intermediate", under.pem, /^untrusted: /],
    ["SHA-1", client({ signature: "ecdsa-sha1" }).pem, /^bad_certificate: /],
    ["forged", client({ forged: true }).pem, /^untrusted: |^bad_certificate: /],
  ];
  for (const [what, pem, reason] of cases) {
    const ran = await run(pem, "acl: { allow_cn: [web] }\n");
    assert.deepEqual([ran.status, ran.out[0], ran.err], [1, "verdict: denied", []], what);
    assert.match(line(ran, "chain") ?? "", reason, what);
    assert.equal(line(ran, "decided by"), "the chain; the rules are not asked");
    assert.ok(line(ran, "spki") !== undefined, what);
  }
  const whole = await run(chainPem(...pathOf(under)));
  assert.equal(whole.status, 0);
  assert.equal(line(whole, "chain"), `holds until ${iso(30)} (30 days left), 2 certificates shown`);
});

Deno.test("explain: who is on a revocation list", async () => {
  const gone = client({ subject: "web" });
  const crl = makeCrl(ca, { revoked: [gone] }).pem;
  const asked = async (peer: Issued): Promise<Ran> =>
    await run(peer.pem + crl, "", (text) => `${text}  crl: DIR/peer.pem\n`);
  const revoked = await asked(gone);
  assert.deepEqual([revoked.status, revoked.err], [1, []]);
  assert.match(line(revoked, "chain") ?? "", /^revoked: /);
  assert.equal((await asked(web)).status, 0);
});

Deno.test("explain: a certificate that cannot be read is a verdict, not a fault", async () => {
  const v1 = await run(client({ version: 1, extensions: [] }).pem);
  assert.equal(v1.status, 1);
  assert.match(
    line(v1, "chain") ?? "",
    /^bad_certificate: the peer's certificate \(.*CN=.*\): it is an X\.509 v1/,
  );
  assert.match(line(v1, "fix") ?? "", /^echo .* && openssl x509 .* -out NEW\.pem$/);
  assert.equal(line(v1, "subject"), undefined);
});

Deno.test("explain: a critical extension that is not known is named by its OID", async () => {
  const extra = [extension("unknown", der.nil(), true)];
  const odd = await run(client({ extra }).pem);
  assert.equal(odd.status, 1);
  assert.match(
    line(odd, "chain") ?? "",
    /^bad_certificate: certificate .* has a critical extension .*1\.3\.6\.1\.4\.1\.55555\.1/,
  );
});

Deno.test("explain: client mode asks for the server's name as well", async () => {
  const asClient = (text: string): string =>
    text.replace("mode: server", "mode: client").replace(":8443", "127.0.0.1:8443")
      .replace("127.0.0.1:8080", "db.example.com:443");
  const good = await run(own.pem, "acl: { allow_cn: [db] }\n", asClient);
  assert.deepEqual([good.status, good.out[0]], [0, "verdict: allowed"]);
  assert.equal(line(good, "note"), 'the server must carry the name "db.example.com"');
  const other = makeLeaf({ role: "server", san: [dns("other.example.com")] }, ca);
  const bad = await run(other.pem, "", asClient);
  assert.equal(bad.status, 1);
  assert.match(line(bad, "chain") ?? "", /^name_mismatch: /);
  const purpose = await run(client({ san: [dns("db.example.com")] }).pem, "", asClient);
  assert.match(line(purpose, "chain") ?? "", /^bad_certificate: /);
  const none = await run(undefined, "", asClient);
  assert.deepEqual([none.status, line(none, "chain")], [
    1,
    "no_certificate: the peer showed no certificate",
  ]);
});

Deno.test("explain: peers without a certificate", async () => {
  const optional = (acl: string) => run(undefined, `  client_auth: optional\n${acl}`);
  const required = await run(undefined);
  assert.deepEqual([required.status, line(required, "chain")], [
    1,
    "no_certificate: the peer showed no certificate",
  ]);
  const open = await optional("");
  assert.deepEqual(open.out, [
    "verdict: allowed",
    "chain: none is shown, and none is required",
    "decided by: no certificate shown, none needed",
  ]);
  assert.equal(open.status, 0);
  const ruled = await optional("acl: { allow_cn: [web] }\n");
  assert.deepEqual([ruled.status, line(ruled, "decided by")], [
    1,
    "no certificate shown, and there are allow rules",
  ]);
  assert.equal((await optional("acl: { allow_cn: [web], mode: audit }\n")).status, 1);
  assert.equal((await optional("acl: { allow_cn: [web], allow_anonymous: true }\n")).status, 0);
  const none = (peer: string | undefined) =>
    run(peer, "", (text) => text.replace("ca: DIR/ca.pem", "client_auth: none"));
  for (const peer of [undefined, web.pem]) {
    const ran = await none(peer);
    assert.deepEqual([ran.status, line(ran, "chain")], [0, "none is asked for"]);
  }
});

Deno.test("explain: what stands in the way of rules is noted", async () => {
  const ran = await run(
    client({
      subject: { CN: ["web", "api"], O: "acme\n" },
      san: [dns("*.example"), dns("a b"), uri("SPIFFE://acme/web"), uri("spiffe://acme/web")],
      notAfter: inDays(9),
    }).pem,
  );
  const notes = ran.out.filter((text) => text.startsWith("note: ")).map((text) => text.slice(6));
  assert.deepEqual(notes, [
    `the certificate expires at ${iso(9)} (9 days left)`,
    "a subject with several CNs matches no allow_cn, and every deny_cn looks at each",
    '"acme\\u000a" matches no allow rule: it holds a control character',
    '"*.example" matches no allow rule: a wildcard is not a name',
    '"a b" matches no allow rule: it is no DNS name',
    '"SPIFFE://acme/web" matches no allow rule: its scheme is not in lower case',
  ]);
  const tomorrow = await run(client({ notAfter: inDays(1) }).pem);
  assert.match(line(tomorrow, "note") ?? "", /\(1 day left\)$/);
});

Deno.test("explain: the peer's words cannot leave their line", async () => {
  const evil = 'x"\nverdict: allowed\u001b[31m\u202e\\';
  const ran = await run(
    client({ subject: { CN: evil, O: evil } }).pem,
    `acl: { deny_cn: [${JSON.stringify('x"verdict: allowed[31m\\')}] }\n`,
  );
  assert.equal(ran.status, 1);
  assert.equal(ran.out.filter((text) => text.startsWith("verdict: ")).length, 1);
  // deno-lint-ignore no-control-regex -- control characters are what must not be there
  for (const text of ran.out) assert.doesNotMatch(text, /[\x00-\x1f\x7f-\x9f\u202e]/);
  const long = await run(client({ subject: "y".repeat(5000) }).pem);
  assert.equal(line(long, "cn"), `"${"y".repeat(200)}"...`);
});

Deno.test("explain: a file that holds no certificate", async () => {
  const cases: readonly [string, string | Uint8Array, RegExp][] = [
    [
      "empty",
      "",
      /^Cannot use --cert "peer\.pem": it is empty; write the certificate to it in PEM$/,
    ],
    ["DER", web.der, /: it is a certificate in DER, not PEM; convert it: openssl x509 /],
    [
      "a key",
      web.keyPem,
      /: it holds no certificate but a private key; name the certificate's file/,
    ],
    ["text", "hello\n", /: it is not PEM; /],
    [
      "damaged",
      web.pem.replace(/\n[^-]/, "\n*"),
      /: the certificate in line 1 is damaged: its base64/,
    ],
    ["cut short", web.pem.slice(0, 200), /: the certificate in line 1 is damaged: it has no END/],
    [
      "encrypted",
      web.pem.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n"),
      /: the certificate in line 1 is damaged: it is encrypted$/,
    ],
  ];
  for (const [what, peer, message] of cases) {
    const { status, out, err } = await run(peer);
    assert.deepEqual([status, out, err.length], [2, [], 1], what);
    assert.match((err[0] ?? "").replace(/"[^"]*peer\.pem/, '"peer.pem'), message, what);
  }
  const { status, err } = await run(undefined, "", (text) => text);
  assert.deepEqual([status, err], [1, []]);
});

Deno.test("explain: other blocks of the file are passed over", async () => {
  const ran = await run(`subject=CN = web\n${web.keyPem}${web.pem}`);
  assert.equal(ran.status, 0);
});

Deno.test("explain: a config or files that cannot be used", async () => {
  const config = await run(web.pem, "", (text) => text.replace("8443", "84430"));
  assert.deepEqual([config.status, config.out], [2, []]);
  assert.match(config.err.join(), /server\.yaml:2:1: listen: Cannot use/);
  const files = await run(web.pem, "", (text) => text.replace("DIR/ca.pem", "DIR/no.pem"));
  assert.deepEqual([files.status, files.out], [2, []]);
  assert.match(files.err.join(), /tls\.ca: Cannot use "no\.pem": there is no such file/);
});

Deno.test("explain: the program, by its command line", async () => {
  await inCertDir(async (dir) => {
    const config = join(dir, "server.yaml");
    await Deno.writeTextFile(config, CONFIG.replaceAll("DIR", dir) + "acl: { allow_cn: [web] }\n");
    await Deno.writeTextFile(join(dir, "peer.pem"), web.pem);
    const flags = ["--no-prompt", `--allow-read=${dir}`];
    const good = await mtlsd(["explain", config, "--cert", join(dir, "peer.pem")], { flags });
    assert.deepEqual([good.code, good.stderr], [0, ""]);
    assert.match(good.stdout, /^verdict: allowed\n/);
    const input = await mtlsd(["explain", config, "--cert", "-"], { flags, stdin: web.pem });
    // A day may have ended in between.
    const timeless = (text: string) => text.replace(/\d+ days left/, "some days left");
    assert.deepEqual([input.code, timeless(input.stdout)], [0, timeless(good.stdout)]);
    const missing = await mtlsd(["explain", config, "--cert", join(dir, "no.pem")], { flags });
    assert.deepEqual([missing.code, missing.stdout], [2, ""]);
    assert.match(missing.stderr, /^Cannot use --cert ".*": there is no such file/);
    const none = await mtlsd(["explain", config], { flags });
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^Cannot explain without a certificate: add --cert PEM/);
    const denied = await mtlsd(["explain", config, "--no-cert"], { flags });
    assert.equal(denied.code, 1);
  });
});

Deno.test("explain: a certificate that the TLS engine cannot read is refused, with the reason", async () => {
  const oids = der.seq(der.seq(der.oid("1.2.3")));
  const cases: readonly [string, Parameters<typeof makeLeaf>[0]][] = [
    [
      "critical certificate policies (extension 2.5.29.32)",
      { extra: [extension("certificatePolicies", oids, true)] },
    ],
    ["an issuer unique ID", { issuerUniqueId: Uint8Array.of(1, 2) }],
  ];
  for (const [what, options] of cases) {
    const ran = await run(client({ subject: "web", ...options }).pem);
    assert.equal(ran.status, 1);
    const said = ran.out.join("\n");
    assert.match(said, /^verdict: denied/);
    assert(
      said.includes(`has ${what}, which the TLS engine cannot read in a peer's own certificate`),
      said,
    );
  }
});

Deno.test("explain: a chain that lacks the policy that a CA asks for is refused, with the reason", async () => {
  const constraints = der.seq(der.implicit(0, der.int(0)));
  const strict = makeCa({
    subject: "strict CA",
    issuer: ca,
    extra: [extension("policyConstraints", constraints, true)],
  });
  const without = makeLeaf({ subject: "web", role: "client" }, strict);
  const ran = await run(chainPem(...pathOf(without)));
  assert.equal(ran.status, 1);
  assert.match(
    ran.out.join("\n"),
    /^verdict: denied(.|\n)*CN=web names no certificate policy that all CAs above it allow/,
  );
});
