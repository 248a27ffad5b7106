import assert from "node:assert/strict";
import { join } from "node:path";
import { grants } from "../../../src/commands/grants.ts";
import { inTempDir } from "../../support/temp_dir.ts";

const MAIN = join(import.meta.dirname ?? ".", "..", "..", "..", "src", "main.ts");
const POSIX = Deno.build.os !== "windows";

const SERVER = `mode: server
listen: 127.0.0.1:8443
target: 127.0.0.1:8080
tls:
  cert: certs/server.pem
  key: certs/server-key.pem
  ca: certs/ca.pem
`;

type Ran = { readonly status: number; readonly out: string[]; readonly err: string[] };

async function run(path: string): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const status = await grants(path, {
    stdout: (line) => out.push(line),
    stderr: (line) => err.push(line),
  });
  return { status, out, err };
}

/** Runs a program in `dir` and gives its exit status and what it says, stdout before stderr. */
async function start(
  program: string,
  args: readonly string[],
  dir: string,
  stdin = "",
): Promise<readonly [status: number, out: string, err: string]> {
  const child = new Deno.Command(program, {
    args: [...args],
    cwd: dir,
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return [code, new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)];
}

Deno.test("the flags are one line on stdout, whether or not the certificates are there", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "server.yaml");
    await Deno.writeTextFile(path, SERVER);
    assert.deepEqual(await run(path), {
      status: 0,
      out: [
        "--no-prompt --allow-net=127.0.0.1:8443,127.0.0.1:8080 " +
        `--allow-read=certs,${path}`,
      ],
      err: [],
    });
  }));

Deno.test("every problem of a config goes to stderr, and no flags are printed", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "server.yaml");
    await Deno.writeTextFile(path, SERVER.replace("8443", "84430").replace("mode: ", "mood: "));
    const { status, out, err } = await run(path);
    assert.deepEqual([status, out], [2, []]);
    assert.ok(err.length >= 2, err.join("\n"));
    for (const line of err) assert.ok(line.startsWith(`${path}:`), line);
    assert.match(err.join("\n"), /server\.yaml:1:1: mood: /);
    assert.match(err.join("\n"), /server\.yaml:2:1: listen: /);
  }));

Deno.test("a config that is not there is one line on stderr", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "none.yaml");
    const { status, out, err } = await run(path);
    assert.deepEqual([status, out, err.length], [2, [], 1]);
    assert.match(err[0] ?? "", /none\.yaml: Cannot read the config: there is no such file/);
  }));

Deno.test("paths that cannot be printed are refused, each on a line of its own", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "server.yaml");
    await Deno.writeTextFile(
      path,
      SERVER.replace("certs/server.pem", "my certs/server.pem").replace(
        "certs/ca.pem",
        "a,b/ca.pem",
      ),
    );
    const { status, out, err } = await run(path);
    assert.deepEqual([status, out, err.length], [2, [], 2]);
    assert.ok(err[0]?.startsWith(`${path}: tls.cert: Cannot print a grant: "my certs" has white`));
    assert.ok(err[1]?.startsWith(`${path}: tls.ca: Cannot print a grant: "a,b" has a comma`));
  }));

Deno.test("the program prints them too, and standard input needs no grant", () =>
  inTempDir(async (dir) => {
    const args = ["run", "--no-prompt", "--allow-read", MAIN, "grants"];
    await Deno.writeTextFile(join(dir, "server.yaml"), SERVER);
    const flags = "--no-prompt --allow-net=127.0.0.1:8443,127.0.0.1:8080 --allow-read=certs";
    assert.deepEqual(await start(Deno.execPath(), [...args, "server.yaml"], dir), [
      0,
      `${flags},server.yaml\n`,
      "",
    ]);
    assert.deepEqual(await start(Deno.execPath(), [...args, "-"], dir, SERVER), [
      0,
      `${flags}\n`,
      "",
    ]);
    const [status, out, err] = await start(Deno.execPath(), [...args, "-"], dir, "mode: none\n");
    assert.deepEqual([status, out], [2, ""]);
    assert.match(err, /^<stdin>:1:1: mode: /m);
  }));

Deno.test({
  name: "a shell hands the line to deno unquoted, and the program then has what it needs",
  ignore: !POSIX,
  fn: () =>
    inTempDir(async (dir) => {
      await Deno.mkdir(join(dir, "conf"));
      await Deno.writeTextFile(
        join(dir, "conf", "server.yaml"),
        SERVER.replace("127.0.0.1:8443", '"[::1]:8443"').replaceAll("certs/", "conf/"),
      );
      // Reads the config under the grants, and finds no file that it names.
      const script =
        '"$0" run $("$0" run --allow-read "$1" grants conf/server.yaml) "$1" check conf/server.yaml';
      const [status, out, err] = await start("sh", ["-c", script, Deno.execPath(), MAIN], dir);
      assert.deepEqual([status, out], [2, ""]);
      assert.match(
        err,
        /^conf\/server\.yaml:5:3: tls\.cert: Cannot use "conf\/server\.pem": there is no/,
      );
      assert.doesNotMatch(err, /NotCapable|Requires|--allow/);
    }),
});

Deno.test("--with-env prints what settings from the environment take, and it is enough", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "server.yaml"), SERVER);
    const args = ["run", "--no-prompt", "--allow-read", MAIN, "grants", "server.yaml"];
    const [status, line, err] = await start(Deno.execPath(), [...args, "--with-env"], dir);
    assert.deepEqual([status, err], [0, ""]);
    assert.match(line, / --allow-env=MTLSD_\* --deny-env=MTLSD_\n$/);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...line.trim().split(" "), MAIN, "check", "server.yaml"],
      cwd: dir,
      env: { NO_COLOR: "1", MTLSD_TLS_KEY: "certs/other.pem", MTLSD_ANYTHING_ELSE: "1" },
    }).output();
    assert.equal(code, 2);
    assert.match(
      new TextDecoder().decode(stderr),
      /^environment: MTLSD_ANYTHING_ELSE: Cannot use unknown variable: .*\n$/,
    );
  }));

Deno.test("addresses from the environment are granted where it may be looked at", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "server.yaml"), SERVER);
    const run = async (...flags: string[]) => {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-prompt", "--allow-read", ...flags, MAIN, "grants", "server.yaml"],
        cwd: dir,
        env: { NO_COLOR: "1", MTLSD_LISTEN: "127.0.0.1:9443" },
      }).output();
      return new TextDecoder().decode(stdout);
    };
    assert.match(await run("--allow-env=MTLSD_*"), /=127\.0\.0\.1:9443,/);
    assert.match(await run(), /=127\.0\.0\.1:8443,/);
  }));
