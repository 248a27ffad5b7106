/**
 * `check` and `explain` with several tunnels.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { check } from "../../../src/commands/check.ts";
import { explain } from "../../../src/commands/explain.ts";
import { dns, makeCa, makeLeaf } from "../../support/pki.ts";

const ours = makeCa({ subject: "our CA" });
const theirs = makeCa({ subject: "their CA" });
const server = makeLeaf({ role: "server", subject: "gw", san: [dns("gw.example")] }, ours);
const other = makeLeaf({ role: "client", subject: "our gateway" }, theirs);
const web = makeLeaf({ role: "client", subject: "web" }, ours);
const db = makeLeaf({ role: "server", subject: "db", san: [dns("db.example")] }, theirs);

const CONFIG = `mode: server
tls: { cert: DIR/server.pem, key: DIR/server.key, ca: DIR/ours.pem }
tunnels:
  - { name: open, listen: :1, target: unix:/run/app.sock }
  - { name: shut, listen: :2, targets: ["127.0.0.1:4", "127.0.0.1:5"], acl: { allow_cn: [api] } }
  - name: gw
    mode: bridge
    listen: :3
    target: db.example:1
    upstream_tls: { cert: DIR/other.pem, key: DIR/other.key, ca: DIR/theirs.pem }
    upstream_acl: { deny_cn: [old], allow_dns: [db.example] }
`;

type Ran = { readonly status: number; readonly out: string[]; readonly err: string[] };

/** Runs a command in a directory with the files, which is left out of what is said. */
async function inDir(
  body: (config: string, io: { stdout(line: string): void; stderr(line: string): void }) => Promise<
    number
  >,
  config = CONFIG,
): Promise<Ran> {
  const dir = await Deno.makeTempDir();
  try {
    const files = {
      "server.pem": server.pem,
      "server.key": server.keyPem,
      "other.pem": other.pem,
      "other.key": other.keyPem,
      "ours.pem": ours.pem,
      "theirs.pem": theirs.pem,
      "web.pem": web.pem,
      "db.pem": db.pem,
      "c.yaml": config.replaceAll("DIR", dir),
    };
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(join(dir, name), text, { mode: 0o600 });
    }
    const [out, err]: [string[], string[]] = [[], []];
    const strip = (to: string[]) => (line: string) => void to.push(line.replaceAll(`${dir}/`, ""));
    const io = { stdout: strip(out), stderr: strip(err) };
    return { status: await body(join(dir, "c.yaml"), io), out, err };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("check: every tunnel is summed up, and what they share is said once", async () => {
  const { status, out, err } = await inDir((path, io) => check(path, io));
  assert.deepEqual([status, err], [0, []]);
  assert.deepEqual(out.filter((line) => /^(tunnel|towards|own)/.test(line)), [
    'tunnel "open": server, TLS on :1 to plain bytes at unix:/run/app.sock',
    "own certificate: CN=gw",
    'tunnel "shut": server, TLS on :2 to plain TCP at 127.0.0.1:4, 127.0.0.1:5 (failover)',
    "own certificate: CN=gw",
    'tunnel "gw": bridge, TLS on :3 to TLS at db.example:1',
    "own certificate: CN=gw",
    "towards the target:",
    "own certificate: CN=our gateway",
  ]);
  // The certificates of tests end within a month, which is warned of for each file.
  const soon = out.filter((line) => line.includes(" warning: ")).map((line) => {
    assert.match(line, / expires at /);
    return line.replace(/^c\.yaml: warning: (.*): "\w+\.pem": .*$/, "$1");
  });
  assert.deepEqual(soon, [
    "tls.cert",
    "tls.ca",
    'tunnels[2] "gw": upstream_tls.cert',
    'tunnels[2] "gw": upstream_tls.ca',
  ]);
});

Deno.test("check: errors and warnings are where the file is named", async () => {
  const { status, out, err } = await inDir(
    (path, io) => check(path, io),
    CONFIG.replace("DIR/server.pem", "DIR/none.pem").replace("DIR/other.key", "DIR/server.key")
      .replace("unix:/run/app.sock", "backend:1"),
  );
  assert.equal(status, 2);
  assert.equal(err.length, 2, err.join("\n"));
  assert.match(err[0] ?? "", /^c\.yaml:2:8: tls\.cert: Cannot use "none\.pem": there is no/);
  assert.match(
    err[1] ?? "",
    /^c\.yaml:10:\d+: tunnels\[2\] "gw": upstream_tls\.key: Cannot use "server\.key": it does not/,
  );
  assert.match(
    out.join("\n"),
    /^c\.yaml: warning: tunnels\[0\] "open": target: "backend:1" is not/,
  );
});

Deno.test("explain: each tunnel is asked, a bridge about both of its peers", async () => {
  const ask = (cert: string, tunnel?: string) =>
    inDir((path, io) => explain({ config: path, cert: join(path, "..", cert), tunnel }, io));
  const verdicts = ({ out }: Ran) => out.filter((line) => /^(tunnel|peer|verdict):/.test(line));
  const asWeb = await ask("web.pem");
  assert.deepEqual([asWeb.status, asWeb.err], [1, []]);
  assert.deepEqual(verdicts(asWeb), [
    "tunnel: open",
    "verdict: allowed",
    "tunnel: shut",
    "verdict: denied",
    "tunnel: gw",
    "peer: the client that connects",
    "verdict: allowed",
    'peer: the server "db.example"',
    "verdict: denied",
  ]);
  assert.equal((await ask("web.pem", "open")).status, 0);
  assert.equal((await ask("web.pem", "shut")).status, 1);
  const asDb = await ask("db.pem", "gw");
  assert.ok(asDb.out.includes("decided by: upstream_acl.allow_dns: db.example"));
  assert.deepEqual([asDb.status, verdicts(asDb)], [0, [
    "tunnel: gw",
    "peer: the client that connects",
    "verdict: denied",
    'peer: the server "db.example"',
    "verdict: allowed",
  ]]);
});

Deno.test("explain: a tunnel that there is not", async () => {
  const ask = (config: string) =>
    inDir((path, io) => explain({ config: path, cert: undefined, tunnel: "web" }, io), config);
  assert.deepEqual(await ask(CONFIG), {
    status: 2,
    out: [],
    err: ['Cannot use --tunnel "web": must be "open", "shut" or "gw"'],
  });
  const single = `mode: server\nlisten: :1\ntarget: 127.0.0.1:4\n${CONFIG.split("\n")[1]}\n`;
  assert.deepEqual((await ask(single)).err, [
    'Cannot use --tunnel "web": the config has no names',
  ]);
});
