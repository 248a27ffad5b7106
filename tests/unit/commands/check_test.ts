import assert from "node:assert/strict";
import { join } from "node:path";
import { check } from "../../../src/commands/check.ts";
import {
  chainPem,
  dns,
  ip,
  type Issued,
  makeCa,
  makeLeaf,
  pathOf,
  uri,
} from "../../support/pki.ts";
import { inTempDir } from "../../support/temp_dir.ts";

const MAIN = join(import.meta.dirname ?? ".", "..", "..", "..", "src", "main.ts");
const POSIX = Deno.build.os !== "windows";
const DAY = 86_400_000;
/** Whole seconds, as certificates have them. */
const NOW = Math.floor(Date.now() / 1000) * 1000;

const inDays = (days: number): Date => new Date(NOW + days * DAY);
const iso = (days: number): string => inDays(days).toISOString().replace(".000Z", "Z");

const ca = makeCa({ subject: "test CA", notAfter: inDays(200) });
const server = makeLeaf({
  role: "server",
  subject: "db",
  san: [dns("db.example.com"), ip("127.0.0.1")],
  notAfter: inDays(100),
}, ca);
const client = makeLeaf({ role: "client", subject: "app", notAfter: inDays(100) }, ca);

/** What differs from a sound server. */
type Case = {
  readonly own?: Issued;
  readonly chain?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly keyMode?: number;
  readonly config?: (text: string) => string;
  /** Days from now. */
  readonly later?: number;
};

const CONFIG = `mode: server
listen: :8443
target: 127.0.0.1:8080
tls:
  cert: DIR/cert.pem
  key: DIR/key.pem
  ca: DIR/ca.pem
`;

const asClient = (text: string): string =>
  text.replace("mode: server", "mode: client").replace(":8443", "127.0.0.1:8443")
    .replace("127.0.0.1:8080", "db.example.com:443");

async function write(dir: string, files: Case): Promise<string> {
  const { own = server, config = (text) => text } = files;
  const path = join(dir, "server.yaml");
  await Deno.writeTextFile(path, config(CONFIG).replaceAll("DIR", dir.replaceAll("\\", "/")));
  await Deno.writeTextFile(join(dir, "cert.pem"), files.chain ?? chainPem(...pathOf(own)));
  await Deno.writeTextFile(join(dir, "ca.pem"), files.ca ?? ca.pem);
  await Deno.writeTextFile(join(dir, "key.pem"), files.key ?? own.keyPem);
  if (POSIX) await Deno.chmod(join(dir, "key.pem"), files.keyMode ?? 0o600);
  return path;
}

type Ran = {
  readonly status: number;
  readonly out: readonly string[];
  readonly err: readonly string[];
  /** The warnings, without what they all begin with. */
  readonly warnings: readonly string[];
};

/** Checks files in a directory of their own, which is left out of what is said. */
async function run(files: Case = {}): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  let status = -1;
  await inTempDir(async (dir) => {
    const path = await write(dir, files);
    const strip = (line: string): string =>
      line.replaceAll(join(dir, "/"), "").replaceAll(`${dir.replaceAll("\\", "/")}/`, "");
    status = await check(
      path,
      { stdout: (line) => out.push(strip(line)), stderr: (line) => err.push(strip(line)) },
      () => NOW + (files.later ?? 0) * DAY,
    );
  });
  const prefix = "server.yaml: warning: ";
  const warnings = out.filter((line) => line.startsWith(prefix)).map((line) =>
    line.slice(prefix.length)
  );
  return { status, out, err, warnings };
}

/** A case that has exactly one warning, and is fine all the same. */
async function warning(files: Case): Promise<string> {
  const { status, out, err, warnings } = await run(files);
  assert.deepEqual([status, err], [0, []]);
  assert.equal(warnings.length, 1, warnings.join("\n"));
  assert.equal(out.at(-1), "server.yaml: ok, 1 warning");
  return warnings[0] ?? "";
}

Deno.test("a sound server: a summary, and nothing to say", async () => {
  const { status, out, err } = await run();
  assert.deepEqual([status, err], [0, []]);
  assert.deepEqual(out, [
    "tunnel: server, TLS on :8443 to plain TCP at 127.0.0.1:8080",
    "own certificate: CN=db",
    "  names: DNS:db.example.com, IP:127.0.0.1",
    "  key: ECDSA P-256",
    `  valid until: ${iso(100)} (100 days left)`,
    `peers: 1 CA, valid until ${iso(200)} (200 days left); no rules, every valid certificate is ` +
    "let in",
    "server.yaml: ok",
  ]);
});

Deno.test("a sound client: its own words for the other way round", async () => {
  const { status, out, err } = await run({
    own: client,
    ca: ca.pem + makeCa({ notAfter: inDays(300) }).pem,
    config: (text) => `${asClient(text)}acl: { allow_cn: [db], allow_org: [acme] }\n`,
  });
  assert.deepEqual([status, err], [0, []]);
  assert.deepEqual(out, [
    "tunnel: client, plain TCP on 127.0.0.1:8443 to TLS at db.example.com:443",
    "own certificate: CN=app",
    "  names: none",
    "  key: ECDSA P-256",
    `  valid until: ${iso(100)} (100 days left)`,
    `peers: 2 CAs, the first to expire at ${iso(200)} (200 days left); 2 allow rules`,
    "server.yaml: ok",
  ]);
});

Deno.test("a server that asks for no certificate, or makes it optional, says so", async () => {
  const none = await run({ config: (text) => text.replace("ca: DIR/ca.pem", "client_auth: none") });
  assert.deepEqual([none.status, none.warnings], [0, []]);
  assert.equal(none.out.at(-2), "peers: anybody, no certificate is asked for");
  const optional = await run({ config: (text) => `${text}  client_auth: optional\n` });
  assert.match(optional.out.at(-2) ?? "", /; a certificate is optional$/);
});

Deno.test("rules are counted by side, and a trial of them is told", async () => {
  const said = async (acl: string, tls = ""): Promise<string> => {
    const { status, out } = await run({ config: (text) => `${text}${tls}acl: ${acl}\n` });
    assert.equal(status, 0);
    return out.find((line) => line.startsWith("peers: "))?.replace(/^.*left\); /, "") ?? "";
  };
  assert.equal(await said("{ allow_cn: [web] }"), "1 allow rule");
  assert.equal(await said("{ deny_cn: [web, api] }"), "2 deny rules");
  assert.equal(
    await said('{ allow_cn: [a, b], allow_ip: [10.0.0.0/8], deny_uri: ["spiffe://a/**"] }'),
    "3 allow rules, 1 deny rule",
  );
  assert.equal(
    await said("{ allow_cn: [web], mode: audit }"),
    "1 allow rule, on trial (audit): no peer with a valid certificate is denied",
  );
  assert.equal(
    await said("{ allow_cn: [web], allow_anonymous: true }", "  client_auth: optional\n"),
    "1 allow rule, not asked of peers without a certificate; a certificate is optional",
  );
  assert.equal(await said("{ mode: audit }"), "no rules, every valid certificate is let in");
});

Deno.test("keys of each kind have a name", async () => {
  for (
    const [kind, said] of [["p384", "ECDSA P-384"], ["rsa2048", "RSA 2048"], [
      "ed25519",
      "Ed25519",
    ]] as const
  ) {
    const own = makeLeaf({ kind, san: [dns("db")], notAfter: inDays(100) }, ca);
    assert.ok((await run({ own })).out.includes(`  key: ${said}`), kind);
  }
});

Deno.test("all problems of a config go to stderr, and no file is looked at", async () => {
  const { status, out, err } = await run({
    config: (text) => text.replace("8443", "84430").replace("8080", "none"),
    key: "",
  });
  assert.deepEqual([status, out, err.length], [2, [], 2]);
  assert.match(err[0] ?? "", /^server\.yaml:2:1: listen: Cannot use ":84430"/);
  assert.match(err[1] ?? "", /^server\.yaml:3:1: target: /);
});

Deno.test("a config that cannot be read is one line", async () => {
  const err: string[] = [];
  const io = { stdout: () => assert.fail(), stderr: (line: string) => void err.push(line) };
  assert.equal(await check("no/such/server.yaml", io), 2);
  assert.equal(err.length, 1);
  assert.match(
    err[0] ?? "",
    /^no\/such\/server\.yaml: Cannot read the config: there is no such file/,
  );
});

Deno.test("what is wrong with each file is told at once, on stderr, with its fix", async () => {
  const { status, out, err } = await run({
    chain: server.keyPem,
    key: "",
    ca: "nothing",
    config: (text) => text.replace("target: 127.0.0.1", "target: 192.0.2.1"),
  });
  assert.equal(status, 2);
  assert.deepEqual(err.map((line) => line.split(": ").slice(0, 3).join(": ")), [
    'server.yaml:5:3: tls.cert: Cannot use "cert.pem"',
    'server.yaml:6:3: tls.key: Cannot use "key.pem"',
    'server.yaml:7:3: tls.ca: Cannot use "ca.pem"',
  ]);
  // Warnings are not held back by errors.
  assert.equal(out.length, 1);
  assert.match(out[0] ?? "", /^server\.yaml: warning: target: "192\.0\.2\.1:8080" is not loopback/);
});

Deno.test("files that are not there, an expired certificate, a key of another: exit status 2", async () => {
  const gone = await run({ config: (text) => text.replace("ca.pem", "gone.pem") });
  assert.deepEqual([gone.status, gone.out, gone.err.length], [2, [], 1]);
  assert.match(gone.err[0] ?? "", /tls\.ca: Cannot use "gone\.pem": there is no such file/);
  const expired = await run({ later: 101 });
  assert.equal(expired.status, 2);
  assert.match(expired.err.join("\n"), /tls\.cert: Cannot use "cert\.pem": .*expired at/);
  const other = await run({ key: client.keyPem });
  assert.equal(other.status, 2);
  assert.match(other.err.join("\n"), /tls\.key: Cannot use "key\.pem": it does not belong to/);
});

Deno.test("warning: the plaintext side is not on loopback", async () => {
  const target = await warning({ config: (text) => text.replace("127.0.0.1:8080", "db:5432") });
  assert.match(
    target,
    /^target: "db:5432" is not loopback: traffic there is neither encrypted nor/,
  );
  const listen = await warning({
    own: client,
    config: (text) => asClient(text).replace("127.0.0.1:8443", ":8443"),
  });
  assert.match(listen, /^listen: ":8443" is not loopback/);
});

Deno.test({
  name: "warning: others than its owner have access to the key",
  // Windows has no modes.
  ignore: !POSIX,
  fn: async () => {
    for (const [keyMode, said] of [[0o644, "0644"], [0o640, "0640"], [0o602, "0602"]] as const) {
      assert.equal(
        await warning({ keyMode }),
        `tls.key: "key.pem" has mode ${said}: not only its owner has access; chmod it to 0600`,
      );
    }
    assert.deepEqual((await run({ keyMode: 0o400 })).warnings, []);
    // How a Secret is mounted, if root wrote it.
    const mounted = (await run({ keyMode: 0o440 })).warnings;
    assert.deepEqual(mounted.length, Deno.uid() === 0 ? 0 : 1);
  },
});

Deno.test("warning: a certificate expires within 30 days", async () => {
  assert.deepEqual((await run({ later: 70 })).warnings, []);
  const { warnings } = await run({ later: 71 });
  assert.deepEqual(warnings, [
    `tls.cert: "cert.pem": "CN=db" expires at ${iso(100)} (29 days left); renew it`,
  ]);
  const soon = makeCa({ subject: "old CA", notAfter: inDays(1) });
  assert.equal(
    await warning({ ca: ca.pem + soon.pem }),
    `tls.ca: "ca.pem": "CN=old CA" expires at ${iso(1)} (1 day left); renew it`,
  );
});

Deno.test("warning: the own certificate is for the other role", async () => {
  assert.match(
    await warning({
      own: makeLeaf({ role: "client", san: [dns("db")], notAfter: inDays(100) }, ca),
    }),
    /^tls\.cert: "cert\.pem": it is for TLS clients only \(.*\): peers refuse it; issue one with serverAuth$/,
  );
  assert.match(
    await warning({ own: server, config: asClient }),
    /for TLS servers only .* clientAuth$/,
  );
  const both = makeLeaf({ san: [dns("db")], notAfter: inDays(100) }, ca);
  assert.deepEqual((await run({ own: both })).warnings, []);
  assert.deepEqual((await run({ own: both, config: asClient })).warnings, []);
});

Deno.test("warning: a server's certificate has no name that a client could check", async () => {
  for (const san of [[], [uri("spiffe://acme/db")]]) {
    const own = makeLeaf({ role: "server", subject: "db", san, notAfter: inDays(100) }, ca);
    assert.match(
      await warning({ own }),
      /^tls\.cert: "cert\.pem": it carries no DNS name or IP address/,
    );
  }
});

Deno.test("warning: the own chain does not lead to a CA of the bundle", async () => {
  const other = makeCa({ subject: "other CA", notAfter: inDays(200) });
  assert.match(
    await warning({ ca: other.pem }),
    /^tls\.cert: "cert\.pem": a peer with the CAs of tls\.ca would refuse it: no chain .* only where peers trust other CAs$/,
  );
  const intermediate = makeCa({ issuer: ca, subject: "intermediate", notAfter: inDays(200) });
  const own = makeLeaf({ role: "server", san: [dns("db")], notAfter: inDays(100) }, intermediate);
  assert.deepEqual((await run({ own })).warnings, []);
  assert.match(
    await warning({ own, chain: own.pem }),
    /would refuse it: no chain of valid signatures/,
  );
  // With nobody to trust there is nothing to compare with.
  const none = await run({
    own,
    chain: own.pem,
    config: (text) => text.replace("ca: DIR/ca.pem", "client_auth: none"),
  });
  assert.deepEqual(none.warnings, []);
});

Deno.test("warning: more than 20 CAs", async () => {
  const many = Array.from(
    { length: 20 },
    (_, i) => makeCa({ subject: `CA ${i}`, notAfter: inDays(200) }).pem,
  );
  assert.deepEqual((await run({ ca: [ca.pem, ...many.slice(1)].join("") })).warnings, []);
  assert.match(
    await warning({ ca: [ca.pem, ...many].join("") }),
    /^tls\.ca: "ca\.pem": it holds 21 CAs/,
  );
});

Deno.test("what a certificate says cannot break out of its line", async () => {
  const subject = "db\nserver.yaml: ok\u001b[31m\u202e";
  const own = makeLeaf({ role: "server", subject, san: [dns("db")], notAfter: inDays(20) }, ca);
  const { status, out } = await run({ own });
  assert.equal(status, 0);
  assert.equal(out.length, 8);
  // deno-lint-ignore no-control-regex -- that is what must not be there
  for (const line of out) assert.doesNotMatch(line, /[\u0000-\u001f\u202e]/);
  assert.equal(out.filter((line) => line.startsWith("server.yaml: ok")).length, 1);
});

Deno.test("check opens no socket, and needs to read and nothing else", () =>
  inTempDir(async (dir) => {
    await write(dir, {});
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", `--allow-read=${dir}`, MAIN, "check", "server.yaml"],
      cwd: dir,
      env: { NO_COLOR: "1" },
    }).output();
    assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""]);
    assert.match(new TextDecoder().decode(stdout), /\nserver\.yaml: ok\n$/);
  }));

Deno.test("check names every certificate of a bundle that is left out", async () => {
  const old = Array.from({ length: 12 }, (_, i) => makeCa({ version: 1, subject: `old ${i}` }));
  const { status, warnings } = await run({ ca: chainPem(...old, ca) });
  assert.equal(status, 0);
  for (const i of old.keys()) {
    const named = warnings.filter((line) => line.includes(`"CN=old ${i}"`));
    assert.equal(named.length, 1, warnings.join("\n"));
    assert.match(named[0] ?? "", /^tls\.ca: "ca\.pem": left out: certificate \d+ \(line \d+/);
  }
});
