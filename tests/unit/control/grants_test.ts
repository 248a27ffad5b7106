import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Config } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { formatGrants, grantsFor, missingGrants } from "../../../src/control/grants.ts";
import { inTempDir } from "../../support/temp_dir.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..", "..");
const POSIX = Deno.build.os !== "windows";

type Parts = {
  readonly listen?: string;
  readonly target?: string;
  readonly cert?: string;
  readonly key?: string;
  /** `undefined` asks for no certificate. */
  readonly ca?: string | undefined;
  readonly more?: string;
};

function config(parts: Parts = {}): Config {
  const text = (value: string) => JSON.stringify(value);
  const { listen = "127.0.0.1:8443", target = "127.0.0.1:8080", more = "" } = parts;
  const { cert = "certs/server.pem", key = "certs/server-key.pem" } = parts;
  const ca = "ca" in parts ? parts.ca : "certs/ca.pem";
  const result = parseConfig(
    `mode: server
listen: ${text(listen)}
target: ${text(target)}
tls:
  cert: ${text(cert)}
  key: ${text(key)}
  ${ca === undefined ? "client_auth: none" : `ca: ${text(ca)}`}
${more}`,
    "server.yaml",
  );
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

/** `value (why)` of each grant of one kind. */
function values(flag: "net" | "read", parts: Parts = {}, path = "server.yaml"): string[] {
  return grantsFor(config(parts), path)
    .filter((grant) => grant.flag === `--allow-${flag}`)
    .map(({ value, why }) => `${value} (${why})`);
}

function line(parts: Parts = {}, path = "server.yaml"): string {
  const result = formatGrants(grantsFor(config(parts), path));
  assert.ok(result.ok, JSON.stringify(result));
  return result.line;
}

Deno.test("the flags of a plain config are one line", () => {
  assert.equal(
    line(),
    "--no-prompt --allow-net=127.0.0.1:8443,127.0.0.1:8080 --allow-read=certs,server.yaml",
  );
});

Deno.test("addresses: every interface, port 0, IPv6, names", () => {
  assert.deepEqual(values("net", { listen: ":8443" }), [
    "[::]:8443 (listen)",
    "0.0.0.0:8443 (listen)",
    "127.0.0.1:8080 (target)",
  ]);
  assert.deepEqual(values("net", { listen: "0.0.0.0:0", target: "db.example.com:5432" }), [
    "0.0.0.0:0 (listen)",
    "db.example.com:5432 (target)",
  ]);
  assert.deepEqual(values("net", { listen: "[::1]:9443", target: "[2001:db8::1]:80" }), [
    "[::1]:9443 (listen)",
    "[2001:db8::1]:80 (target)",
  ]);
});

Deno.test("health and metrics are granted only where they are enabled", () => {
  assert.equal(values("net").length, 2);
  const both = "health: { enabled: true }\nmetrics: { enabled: true, listen: ':9101' }";
  assert.deepEqual(values("net", { more: both }).slice(2), [
    "127.0.0.1:9000 (health.listen)",
    "[::]:9101 (metrics.listen)",
    "0.0.0.0:9101 (metrics.listen)",
  ]);
  const off = "health: { enabled: false, listen: '127.0.0.1:9100' }";
  assert.equal(values("net", { more: off }).length, 2);
});

Deno.test("an address that is needed twice is granted once", () => {
  const more = "health: { enabled: true, listen: 'LOCALHOST:0' }";
  assert.deepEqual(values("net", { listen: "localhost:0", more }), [
    "127.0.0.1:0 (listen, health.listen)",
    // The port that the first address was given, whichever that is.
    "[::1] (listen, health.listen)",
    "127.0.0.1:8080 (target)",
  ]);
  assert.deepEqual(values("net", { listen: "localhost:8443" }).slice(0, 2), [
    "127.0.0.1:8443 (listen)",
    "[::1]:8443 (listen)",
  ]);
});

Deno.test("files are granted by their directories, each directory once", () => {
  assert.deepEqual(values("read"), [
    "certs (tls.cert, tls.key, tls.ca)",
    "server.yaml (the config file)",
  ]);
  assert.deepEqual(
    values("read", { cert: "a/cert.pem", key: "./b/../b//key.pem", ca: "c/x/ca.pem" }),
    ["a (tls.cert)", "b (tls.key)", "c/x (tls.ca)", "server.yaml (the config file)"],
  );
  assert.deepEqual(values("read", { ca: undefined }), [
    "certs (tls.cert, tls.key)",
    "server.yaml (the config file)",
  ]);
});

Deno.test("with files alone, each file is granted once and no directory is", () => {
  const read = (parts: Parts, path = "server.yaml") =>
    grantsFor(config(parts), path, { files: true })
      .filter(({ flag }) => flag === "--allow-read")
      .map(({ value, why }) => `${value} (${why})`);
  assert.deepEqual(read({}), [
    "certs/server.pem (tls.cert)",
    "certs/server-key.pem (tls.key)",
    "certs/ca.pem (tls.ca)",
    "server.yaml (the config file)",
  ]);
  const more = '  intermediates: certs/mid.pem\n  crl: [certs/crl.pem, "./certs/../lists//a.crl"]';
  assert.deepEqual(read({ cert: "certs/all.pem", key: "certs/./all.pem", more }, "-"), [
    "certs/all.pem (tls.cert, tls.key)",
    "certs/ca.pem (tls.ca)",
    "certs/mid.pem (tls.intermediates)",
    "certs/crl.pem (tls.crl)",
    "lists/a.crl (tls.crl)",
  ]);
  const all = grantsFor(several(), "server.yaml", { files: true });
  assert.ok(all.every(({ flag, value }) => flag !== "--allow-read" || /\.\w+$/.test(value)));
});

Deno.test("revocation lists are granted by their directories too", () => {
  const crl = "  intermediates: below/inter.pem\n" +
    '  crl: [certs/crl.pem, "lists/a.crl", lists/b.crl, x/../other/c.crl]';
  assert.deepEqual(values("read", { more: crl }), [
    "certs (tls.cert, tls.key, tls.ca, tls.crl)",
    "below (tls.intermediates)",
    "lists (tls.crl)",
    "other (tls.crl)",
    "server.yaml (the config file)",
  ]);
  assert.deepEqual(values("read", { more: "  crl: lists/a.crl" }).slice(1), [
    "lists (tls.crl)",
    "server.yaml (the config file)",
  ]);
});

Deno.test("what lies in a granted directory needs no grant of its own", () => {
  assert.deepEqual(values("read", { cert: "certs/own/cert.pem", key: "certs/own/key.pem" }), [
    "certs (tls.cert, tls.key, tls.ca)",
    "server.yaml (the config file)",
  ]);
  assert.deepEqual(values("read", {}, "certs/server.yaml"), [
    "certs (tls.cert, tls.key, tls.ca, the config file)",
  ]);
  assert.deepEqual(values("read", { cert: "server.pem" }), [
    ". (tls.cert, tls.key, tls.ca, the config file)",
  ]);
  // Names that only begin alike are no directories of each other.
  assert.deepEqual(values("read", { cert: "certs-own/cert.pem", key: "..certs/key.pem" }), [
    "certs-own (tls.cert)",
    "..certs (tls.key)",
    "certs (tls.ca)",
    "server.yaml (the config file)",
  ]);
  assert.deepEqual(values("read", { cert: "../cert.pem" }), [
    ".. (tls.cert, tls.key, tls.ca, the config file)",
  ]);
});

const SEVERAL = `tls: { cert: certs/c.pem, key: certs/k.pem, ca: certs/ca.pem }
tunnels:
  - { name: web, mode: server, listen: "127.0.0.1:1", target: unix:/run/app/web.sock }
  - name: api
    mode: server
    listen: 127.0.0.1:2
    targets: [unix:/run/app/web.sock, "API.example:3", "db.example:4"]
  - { name: db, mode: client, listen: unix:/run/db.sock, target: "api.example:3" }
  - name: gw
    mode: bridge
    listen: 127.0.0.1:5
    target: db.example:4
    upstream_tls: { cert: other/c.pem, key: other/k.pem, ca: certs/x/ca.pem, crl: lists/a.crl }
`;

/** A config that is valid. */
function several(text = SEVERAL): Config {
  const result = parseConfig(text, "server.yaml");
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

Deno.test("several tunnels: all that each needs, nothing twice", () => {
  const all = grantsFor(several(), "server.yaml");
  assert.deepEqual(all.map(({ flag, value, why }) => `${flag}=${value} (${why})`), [
    "--allow-net=127.0.0.1:1 (web: listen)",
    "--allow-net=unix:/run/app/web.sock (web: target, api: target)",
    "--allow-net=127.0.0.1:2 (api: listen)",
    "--allow-net=API.example:3 (api: target, db: target)",
    "--allow-net=db.example:4 (api: target, gw: target)",
    "--allow-net=unix:/run/db.sock (db: listen)",
    "--allow-net=127.0.0.1:5 (gw: listen)",
    "--allow-read=certs (web: tls.cert, web: tls.key, web: tls.ca, api: tls.cert, api: tls.key, " +
    "api: tls.ca, db: tls.cert, db: tls.key, db: tls.ca, gw: tls.cert, gw: tls.key, gw: tls.ca, " +
    "gw: upstream_tls.ca)",
    "--allow-read=other (gw: upstream_tls.cert, gw: upstream_tls.key)",
    "--allow-read=lists (gw: upstream_tls.crl)",
    "--allow-read=server.yaml (the config file)",
    "--allow-read=/run/app/web.sock (web: target, api: target)",
    "--allow-read=/run/db.sock (db: listen)",
    "--allow-read=/run/db.sock.lock (db: listen)",
    "--allow-write=/run/app/web.sock (web: target, api: target)",
    "--allow-write=/run/db.sock (db: listen)",
    "--allow-write=/run/db.sock.lock (db: listen)",
  ]);
});

Deno.test("the environment's flags are printed when they are asked for", () => {
  const grants = grantsFor(config(), "server.yaml");
  const plain = formatGrants(grants);
  const asked = formatGrants(grants, { environment: true });
  assert.ok(plain.ok && asked.ok);
  assert.equal(asked.line, `${plain.line} --allow-env=MTLSD_* --deny-env=MTLSD_`);
});

Deno.test("a socket's path that cannot be printed is refused once", () => {
  const result = formatGrants(grantsFor(config({ target: "unix:/run/a,b.sock" }), "-"));
  assert.deepEqual(result, {
    ok: false,
    problems: [
      'target: Cannot print a grant: "/run/a,b.sock" has a comma, at which Deno splits the list; ' +
      "use a path without",
    ],
  });
  // Sockets are files of their own: one in the root of all files is none of them.
  assert.ok(formatGrants(grantsFor(config({ target: "unix:/a.sock" }), "-")).ok);
});

Deno.test({
  name:
    "UNIX sockets are listened on, connected to and removed under the flags, all of them needed",
  ignore: !POSIX,
  fn: () =>
    inTempDir(async (dir) => {
      const path = join(dir, "a.sock");
      const text = `mode: client\nlisten: unix:${path}\ntarget: a.example:1\n` +
        "tls: { cert: c/c.pem, key: c/k.pem, ca: c/ca.pem }\n";
      const grants = grantsFor(several(text), "-");
      const formatted = formatGrants(grants);
      assert.ok(formatted.ok);
      const program = `const path = ${JSON.stringify(path)};
const refused = [];
const attempt = async (name, action) => {
  try { await action(); }
  catch (error) { refused.push(error instanceof Deno.errors.NotCapable ? name : String(error)); }
};
let listener;
await attempt("listen", () => { listener = Deno.listen({ transport: "unix", path }); });
await attempt("mode", () => listener && Deno.chmod(path, 0o600));
await attempt("connect", async () => {
  if (listener) (await Deno.connect({ transport: "unix", path })).close();
});
listener?.close();
await attempt("stale", async () => {
  try { await Deno.lstat(path); await Deno.remove(path); }
  catch (error) { if (!(error instanceof Deno.errors.NotFound)) throw error; }
});
await attempt("lock", () => {
  Deno.openSync(path + ".lock", { read: true, write: true, create: true }).close();
  Deno.removeSync(path + ".lock");
});
await attempt("other", () => Deno.listen({ transport: "unix", path: path + "x" }));
console.log(JSON.stringify(refused));`;
      const flags = single(formatted.line).filter((flag) => flag.includes(path));
      assert.equal(flags.length, 5);
      assert.deepEqual(await under(flags, dir, program), ["other"]);
      for (const flag of flags) {
        const refused = await under(flags.filter((other) => other !== flag), dir, program);
        const what = flag.endsWith(".lock") ? "lock" : "listen";
        assert.ok((refused as string[]).includes(what), flag);
      }
    }),
});

Deno.test("a path stays as it is written, absolute or relative", () => {
  const { cert, key, ca } = {
    cert: "/run/own/cert.pem",
    key: "/run/own/key.pem",
    ca: "../ca/x.pem",
  };
  assert.equal(
    line({ cert, key, ca }, "/etc/mtlsd/server.yaml").split(" ").at(-1),
    POSIX
      ? "--allow-read=/run/own,../ca,/etc/mtlsd/server.yaml"
      : String.raw`--allow-read=\run\own,..\ca,\etc\mtlsd\server.yaml`,
  );
});

Deno.test("standard input needs no grant", () => {
  assert.deepEqual(values("read", {}, "-"), ["certs (tls.cert, tls.key, tls.ca)"]);
});

Deno.test("paths that a shell or Deno would read as something else are refused, all at once", () => {
  const problems = (parts: Parts, path = "server.yaml"): readonly string[] => {
    const result = formatGrants(grantsFor(config(parts), path));
    return result.ok ? [] : result.problems;
  };
  assert.deepEqual(problems({ cert: "my certs/c.pem", key: "a,b/k.pem" }), [
    'tls.cert: Cannot print a grant: "my certs" has white space, at which the shell splits the ' +
    "line; use a path without",
    'tls.key: Cannot print a grant: "a,b" has a comma, at which Deno splits the list; use a path ' +
    "without",
  ]);
  assert.deepEqual(problems({}, "my server.yaml"), [
    'the config file: Cannot print a grant: "my server.yaml" has white space, at which the shell ' +
    "splits the line; use a path without",
  ]);
  for (const name of ["a*b", "a?b", "[ab]"]) {
    assert.match(problems({ cert: `${name}/c.pem` })[0] ?? "", /is a wildcard to the shell/, name);
  }
  for (const name of ["a\tb", "a\nb", "a\u2003b"]) {
    const [problem = ""] = problems({}, name);
    assert.match(problem, /white space/);
    assert.doesNotMatch(problem, /[\t\n\u2003]/);
  }
  assert.match(problems({}, "a\u202eb")[0] ?? "", /"a\\u202eb" has a control/);
  // The name of the file itself is in no flag.
  assert.deepEqual(problems({ cert: "certs/my, [cert].pem" }), []);
});

Deno.test("the root of all files is refused, however it is written", () => {
  for (const cert of ["/server.pem", `${"../".repeat(64)}server.pem`, "/certs/../server.pem"]) {
    const result = formatGrants(grantsFor(config({ cert }), "server.yaml"));
    assert.ok(!result.ok);
    assert.match(
      result.problems.join("\n"),
      /is the root of all files; put the file into a directory/,
    );
  }
});

Deno.test("a process with every permission lacks nothing", async () => {
  assert.deepEqual(await missingGrants(config({ listen: ":0" }), "server.yaml"), []);
});

/** Runs a program under exactly these flags in `dir`; gives the JSON that it prints. */
async function under(flags: readonly string[], dir: string, program: string): Promise<unknown> {
  const script = join(dir, "probe.ts");
  await Deno.writeTextFile(script, program);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-config", ...flags, script],
    cwd: dir,
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Each flag with one value. */
function single(flags: string): string[] {
  return flags.split(" ").flatMap((word) => {
    const [flag = "", list] = word.split("=");
    return list === undefined ? [] : list.split(",").map((value) => `${flag}=${value}`);
  });
}

Deno.test("exactly the missing flags are named", () =>
  inTempDir(async (dir) => {
    const asked = config({ listen: ":0", target: "db.example.com:5432", key: "keys/key.pem" });
    const module = pathToFileURL(join(ROOT, "src", "control", "grants.ts")).href;
    const program = `import { missingGrants } from ${JSON.stringify(module)};
const config = ${JSON.stringify(asked)};
console.log(JSON.stringify(await missingGrants(config, "server.yaml")));`;
    const all = single(line({ listen: ":0", target: "db.example.com:5432", key: "keys/key.pem" }));
    assert.equal(all.length, 6);
    assert.deepEqual(await under([], dir, program), [
      "Cannot run without a grant for listen: add --allow-net=[::]:0",
      "Cannot run without a grant for listen: add --allow-net=0.0.0.0:0",
      "Cannot run without a grant for target: add --allow-net=db.example.com:5432",
      "Cannot run without a grant for tls.cert, tls.ca: add --allow-read=certs",
      "Cannot run without a grant for tls.key: add --allow-read=keys",
      "Cannot run without a grant for the config file: add --allow-read=server.yaml",
    ]);
    assert.deepEqual(await under(all, dir, program), []);
    assert.deepEqual(await under(["--allow-net", "--allow-read"], dir, program), []);
    assert.deepEqual(await under(["-A"], dir, program), []);
    for (const flag of all) {
      const lines = await under(all.filter((other) => other !== flag), dir, program) as string[];
      assert.equal(lines.length, 1, flag);
      assert.ok(lines[0]?.endsWith(`: add ${flag}`), `${flag}: ${lines[0]}`);
    }
    // A denied part is missing even where the rest is granted.
    const denied = ["--allow-net", "--allow-read", "--deny-net=db.example.com"];
    assert.equal((await under(denied, dir, program) as string[]).length, 1);
  }));

Deno.test("files do in place of their directory, and where some are granted the others are named", () =>
  inTempDir(async (dir) => {
    const module = pathToFileURL(join(ROOT, "src", "control", "grants.ts")).href;
    const asked = config({ cert: "a/c.pem", key: "a/k.pem", ca: "b/ca.pem" });
    const program = `import { missingGrants } from ${JSON.stringify(module)};
console.log(JSON.stringify(await missingGrants(${JSON.stringify(asked)}, "a/server.yaml")));`;
    const missing = (...paths: readonly string[]) =>
      under(["--allow-net", ...paths.map((path) => `--allow-read=${path}`)], dir, program);
    const line = (why: string, path: string) =>
      `Cannot run without a grant for ${why}: add --allow-read=${path}`;
    const all = ["a/c.pem", "a/k.pem", "a/server.yaml", "b/ca.pem"];
    assert.deepEqual(await missing(...all), []);
    assert.deepEqual(await missing("a", "b/ca.pem"), []);
    assert.deepEqual(await missing("a/c.pem", "a/server.yaml", "b"), [line("tls.key", "a/k.pem")]);
    // The config has been read, which says nothing about how the others are to be granted.
    assert.deepEqual(await missing("a/server.yaml"), [
      line("tls.cert, tls.key, the config file", "a"),
      line("tls.ca", "b"),
    ]);
    assert.deepEqual(await missing(...all.slice(0, 3)), [line("tls.ca", "b")]);
    assert.deepEqual(await missing("a/c.pem", "a/k.pem", "b"), [
      line("the config file", "a/server.yaml"),
    ]);
  }));

Deno.test("a missing flag is quoted for the shell, and a comma has other advice", () =>
  inTempDir(async (dir) => {
    const asked = config({ cert: "my certs/c.pem", key: "it's/k.pem", ca: "a,b/ca.pem" });
    const module = pathToFileURL(join(ROOT, "src", "control", "grants.ts")).href;
    const program = `import { missingGrants } from ${JSON.stringify(module)};
console.log(JSON.stringify(await missingGrants(${JSON.stringify(asked)}, "-")));`;
    assert.deepEqual(await under(["--allow-net"], dir, program), [
      "Cannot run without a grant for tls.cert: add '--allow-read=my certs'",
      "Cannot run without a grant for tls.key: add '--allow-read=it'\\''s'",
      'Cannot run without a grant for tls.ca: Deno splits paths at commas: rename "a,b", or add ' +
      "--allow-read",
    ]);
  }));

/** Does what the daemon does with sockets and files, and says which of it Deno refuses. */
const DAEMON_LIKE = `
const refused = [];
const attempt = async (name, action) => {
  try { await action(); }
  catch (error) { refused.push(error instanceof Deno.errors.NotCapable ? name : String(error)); }
};
const listen = (hostname) => Deno.listen({ hostname, port: 0 }).close();
await attempt("listen", () => listen("0.0.0.0"));
await attempt("health", async () => {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response());
  await server.shutdown();
});
await attempt("target", async () => (await Deno.connect({ hostname: "localhost", port: PORT })).close());
for (const name of ["own/cert.pem", "own/key.pem", "k8s/ca.pem", "server.yaml"]) {
  await attempt(name, () => Deno.readTextFile(name));
}
for (const name of ["own", "k8s"]) {
  await attempt("watch " + name, () => Deno.watchFs(name, { recursive: false }).close());
}
await attempt("outside", () => Deno.readTextFile("archive/cert1.pem"));
await attempt("listen elsewhere", () => listen("127.0.0.2"));
await attempt("dial by address", () => Deno.connect({ hostname: "127.0.0.1", port: PORT }));
await attempt("env", () => Deno.env.get("HOME"));
await attempt("write", () => Deno.writeTextFile("own/cert.pem", ""));
console.log(JSON.stringify(refused));`;

Deno.test({
  name: "sockets, links and watches work under the flags, each of which is needed",
  // Links take a privilege there.
  ignore: !POSIX,
  fn: () =>
    inTempDir(async (dir) => {
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const accepting = (async () => {
        for await (const conn of listener) conn.close();
      })();
      const at = (name: string) => join(dir, name);
      // As certbot has it: links into another directory; and as Kubernetes has it: a link to a
      // directory that is replaced.
      for (const name of ["archive", "own", "k8s/..1", "k8s/..2"]) {
        await Deno.mkdir(at(name), { recursive: true });
      }
      for (const name of ["archive/cert1.pem", "archive/cert2.pem", "own/key.pem", "server.yaml"]) {
        await Deno.writeTextFile(at(name), name);
      }
      for (const name of ["k8s/..1/ca.pem", "k8s/..2/ca.pem"]) {
        await Deno.writeTextFile(at(name), name);
      }
      await Deno.symlink("../archive/cert1.pem", at("own/cert.pem"));
      await Deno.symlink("..1", at("k8s/..data"));
      await Deno.symlink("..data/ca.pem", at("k8s/ca.pem"));

      const { port } = listener.addr;
      const flags = single(line({
        listen: "0.0.0.0:0",
        target: `localhost:${port}`,
        cert: "own/cert.pem",
        key: "own/key.pem",
        ca: "k8s/ca.pem",
        more: "health: { enabled: true, listen: '127.0.0.1:0' }",
      }));
      const program = DAEMON_LIKE.replaceAll("PORT", String(port));
      const always = ["outside", "listen elsewhere", "dial by address", "env", "write"];
      assert.deepEqual(await under(flags, dir, program), always);

      await Deno.remove(at("own/cert.pem"));
      await Deno.symlink("../archive/cert2.pem", at("own/cert.pem"));
      await Deno.symlink("..2", at("k8s/..data_tmp"));
      await Deno.rename(at("k8s/..data_tmp"), at("k8s/..data"));
      assert.deepEqual(await under(flags, dir, program), always, "after a rotation");

      const needs: Readonly<Record<string, readonly string[]>> = {
        "--allow-net=0.0.0.0:0": ["listen"],
        "--allow-net=127.0.0.1:0": ["health"],
        [`--allow-net=localhost:${port}`]: ["target"],
        "--allow-read=own": ["own/cert.pem", "own/key.pem", "watch own"],
        "--allow-read=k8s": ["k8s/ca.pem", "watch k8s"],
        "--allow-read=server.yaml": ["server.yaml"],
      };
      assert.deepEqual(Object.keys(needs).sort(), [...flags].sort());
      for (const flag of flags) {
        const refused = await under(flags.filter((other) => other !== flag), dir, program);
        assert.deepEqual(refused, [...needs[flag] ?? [], ...always], `without ${flag}`);
      }
      listener.close();
      await accepting;
    }),
});

Deno.test("every interface needs [::], or 0.0.0.0, and none does for the other", () =>
  inTempDir(async (dir) => {
    const program = `const can = (hostname) => {
  try { Deno.listen({ hostname, port: 0 }).close(); return true; }
  catch (error) { return !(error instanceof Deno.errors.NotCapable); }
};
console.log(JSON.stringify([can("::"), can("0.0.0.0")]));`;
    assert.deepEqual(await under(["--allow-net=[::]:0"], dir, program), [true, false]);
    assert.deepEqual(await under(["--allow-net=0.0.0.0:0"], dir, program), [false, true]);
    assert.deepEqual(await under(single(line({ listen: ":0" })), dir, program), [true, true]);
  }));
