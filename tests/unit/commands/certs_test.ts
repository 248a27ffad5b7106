import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import * as tls from "node:tls";
import { fileURLToPath } from "node:url";
import { certs } from "../../../src/commands/certs.ts";
import { inTempDir } from "../../support/temp_dir.ts";

const SET = ["ca.pem", "client-key.pem", "client.pem", "server-key.pem", "server.pem"];
const POSIX = Deno.build.os !== "windows";

type Ran = { readonly status: number; readonly out: string[]; readonly err: string[] };

async function run(
  dir: string,
  flags: { force?: boolean; keepCaKey?: boolean } = {},
): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const status = await certs(
    { kind: "certs", out: dir, force: false, keepCaKey: false, ...flags },
    { stdout: (line) => out.push(line), stderr: (line) => err.push(line) },
  );
  return { status, out, err };
}

async function contents(dir: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (isFile) files[name] = await Deno.readTextFile(join(dir, name));
  }
  return files;
}

function mode(path: string): number {
  return (Deno.lstatSync(path).mode ?? 0) & 0o777;
}

Deno.test("the five files are written, the directory is made, and the result is told", () =>
  inTempDir(async (temp) => {
    const dir = join(temp, "new", "certs");
    const { status, out, err } = await run(dir);
    assert.deepEqual([status, err], [0, []]);
    assert.deepEqual(Object.keys(await contents(dir)).sort(), SET);
    const said = out.join("\n");
    for (const name of SET) assert.ok(said.includes(join(dir, name)), name);
    assert.match(said, /CN=localhost, DNS:localhost, IP:127\.0\.0\.1, IP:::1/);
    assert.match(said, /CN=frontend-service/);
    const { validTo } = new X509Certificate((await contents(dir))["server.pem"] ?? "");
    const end = new Date(validTo).toISOString().replace(".000Z", "Z");
    assert.ok(said.includes(`valid until ${end} (90 days)`), said);
    assert.match(said, /key was not kept/);
    assert.doesNotMatch(said, /PRIVATE KEY/);
  }));

Deno.test("the CA's key is written only when it is to be kept, and is the CA's", () =>
  inTempDir(async (dir) => {
    assert.equal((await run(dir, { keepCaKey: true })).status, 0);
    const files = await contents(dir);
    assert.deepEqual(Object.keys(files).sort(), ["ca-key.pem", ...SET]);
    const key = createPrivateKey(files["ca-key.pem"] ?? "");
    assert.equal(new X509Certificate(files["ca.pem"] ?? "").checkPrivateKey(key), true);
  }));

Deno.test("openssl verifies both roles strictly", () =>
  inTempDir(async (dir) => {
    await run(dir);
    for (
      const [file, purpose] of [["server.pem", "sslserver"], ["client.pem", "sslclient"]] as const
    ) {
      const { stdout } = await new Deno.Command("openssl", {
        args: ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", file],
        cwd: dir,
      }).output();
      assert.equal(new TextDecoder().decode(stdout), `${file}: OK\n`);
    }
  }));

Deno.test("a mutual handshake succeeds with them, by name and by address", () =>
  inTempDir(async (dir) => {
    await run(dir);
    const files = await contents(dir);
    const ca = files["ca.pem"] ?? "";
    const server = tls.createServer({
      ca,
      cert: files["server.pem"] ?? "",
      key: files["server-key.pem"] ?? "",
      requestCert: true,
      rejectUnauthorized: true,
    }, (socket) => socket.end(`hello ${socket.getPeerCertificate().subject.CN}`));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const cert = files["client.pem"] ?? "";
    const key = files["client-key.pem"] ?? "";
    try {
      for (const name of [{ servername: "localhost" }, {}]) {
        const socket = tls.connect({ ca, cert, key, host: "127.0.0.1", port, ...name });
        let said = "";
        socket.on("data", (chunk) => said += String(chunk));
        await once(socket, "close");
        assert.equal(socket.authorized, true);
        assert.equal(said, "hello frontend-service");
      }
    } finally {
      server.close();
      await once(server, "close");
    }
  }));

Deno.test("keys are 0600 even under umask 0, and grants on the directory are enough", () =>
  inTempDir(async (temp) => {
    const dir = join(temp, "certs");
    const grants = [`--allow-read=${dir}`, `--allow-write=${dir}`];
    for (const flags of [{}, { force: true, keepCaKey: true }]) {
      const { code, err } = await spawn(dir, grants, flags);
      assert.deepEqual([code, err], [0, ""]);
    }
    const names = Object.keys(await contents(dir)).sort();
    assert.deepEqual(names, ["ca-key.pem", ...SET]);
    // Windows has no modes.
    if (!POSIX) return;
    for (const name of names) {
      assert.equal(mode(join(dir, name)), name.includes("-key") ? 0o600 : 0o644, name);
    }
    assert.equal(mode(dir), 0o755);
  }));

Deno.test("a missing grant is named in one line, and nothing is written", () =>
  inTempDir(async (temp) => {
    const dir = join(temp, "certs");
    const [read, write] = [`--allow-read=${dir}`, `--allow-write=${dir}`];
    for (
      const [given, missing] of [[[], `${read} ${write}`], [[read], write], [
        [write],
        read,
      ]] as const
    ) {
      const { code, err } = await spawn(dir, given, { force: true });
      assert.equal(code, 2);
      assert.match(err, /^Cannot [^\n]+\n$/);
      assert.ok(err.endsWith(`: add ${missing}\n`), err);
    }
    assert.deepEqual([...Deno.readDirSync(temp)], []);
  }));

/** Runs the command in a child process with umask 0 and the grants given. */
async function spawn(
  dir: string,
  grants: readonly string[],
  flags: { force?: boolean; keepCaKey?: boolean },
): Promise<{ code: number; err: string }> {
  const url = (path: string): string => new URL(path, import.meta.url).href;
  const command = { kind: "certs", out: dir, force: false, keepCaKey: false, ...flags };
  const program = join(await Deno.makeTempDir(), "main.ts");
  try {
    await Deno.writeTextFile(
      program,
      `import { certs } from ${JSON.stringify(url("../../../src/commands/certs.ts"))};
       Deno.exitCode = await certs(${JSON.stringify(command)}, {
         stdout: () => {}, stderr: (line) => console.error(line) });`,
    );
    const config = fileURLToPath(url("../../../deno.json"));
    const deno = [Deno.execPath(), "run", "-q", "--no-prompt", "--config", config];
    const words = [...deno, ...grants, program];
    const { code, stderr } = POSIX
      ? await new Deno.Command("sh", { args: ["-c", 'umask 0; exec "$@"', "sh", ...words] })
        .output()
      : await new Deno.Command(Deno.execPath(), { args: words.slice(1) }).output();
    return { code, err: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(join(program, ".."), { recursive: true });
  }
}

Deno.test("any one file that exists is refused and everything stays as it was", () =>
  inTempDir(async (dir) => {
    for (const name of [...SET, "ca-key.pem"]) {
      const path = join(dir, name);
      await Deno.writeTextFile(path, "mine");
      const { status, out, err } = await run(dir);
      assert.deepEqual([status, out, err.length], [1, [], 1]);
      assert.ok(err[0]?.includes(JSON.stringify(path)) && err[0].includes("--force"), err[0]);
      assert.deepEqual(await contents(dir), { [name]: "mine" });
      await Deno.remove(path);
    }
  }));

Deno.test("a second run is refused, names every file, and with force replaces all", () =>
  inTempDir(async (dir) => {
    await run(dir);
    const before = await contents(dir);
    const { status, err } = await run(dir);
    assert.equal(status, 1);
    for (const name of SET) assert.ok(err[0]?.includes(name), name);
    assert.deepEqual(await contents(dir), before);
    assert.equal((await run(dir, { force: true })).status, 0);
    const after = await contents(dir);
    assert.deepEqual(Object.keys(after).sort(), SET);
    for (const name of SET) assert.notEqual(after[name], before[name], name);
  }));

Deno.test("with force the key of the CA before does not stay, and that is told", () =>
  inTempDir(async (dir) => {
    await run(dir, { keepCaKey: true });
    const { status, out } = await run(dir, { force: true });
    assert.equal(status, 0);
    assert.deepEqual(Object.keys(await contents(dir)).sort(), SET);
    assert.ok(out.some((line) => line.startsWith(`removed ${join(dir, "ca-key.pem")}`)));
  }));

Deno.test("a wide mode of the file before is not inherited", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "server-key.pem");
    await Deno.writeTextFile(path, "old", { mode: 0o666 });
    assert.equal((await run(dir, { force: true })).status, 0);
    if (POSIX) assert.equal(mode(path), 0o600);
    assert.match(await Deno.readTextFile(path), /PRIVATE KEY/);
  }));

Deno.test("a planted symlink is never followed: refused, or with force replaced", () =>
  inTempDir(async (temp) => {
    for (const dangling of [true, false]) {
      const dir = join(temp, `certs-${dangling}`);
      const target = join(temp, `target-${dangling}`);
      await Deno.mkdir(dir);
      if (!dangling) await Deno.writeTextFile(target, "untouched", { mode: 0o666 });
      await Deno.symlink(target, join(dir, "client-key.pem"));
      const { status, err } = await run(dir);
      assert.equal(status, 1);
      assert.match(err[0] ?? "", /client-key\.pem": already exists/);
      assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name), ["client-key.pem"]);
      assert.equal((await run(dir, { force: true })).status, 0);
      const { isFile } = await Deno.lstat(join(dir, "client-key.pem"));
      assert.equal(isFile, true);
      if (dangling) await assert.rejects(Deno.lstat(target), Deno.errors.NotFound);
      else assert.equal(await Deno.readTextFile(target), "untouched");
    }
  }));
