/**
 * The command line as a process: exit status, what goes to which stream, and no stack trace ever.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import { assertPlain, MAIN, mtlsd } from "../support/daemon.ts";
import { ownAddress, sh } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
const NOTHING = ["--no-prompt"];

Deno.test("version and help go to stdout and need no permission", async (t) => {
  const cases: readonly (readonly [string[], RegExp])[] = [
    [["version"], /^mtlsd \d+\.\d+\.\d+ \(Deno .*\)\n$/],
    [["--version"], /^mtlsd \d+\.\d+\.\d+ \(Deno .*\)\n$/],
    [["help"], /usage: mtlsd/],
    [["--help"], /usage: mtlsd/],
    [["help", "grants"], /usage: mtlsd grants/],
    [["certs", "--help"], /usage: mtlsd certs/],
  ];
  for (const [args, expected] of cases) {
    await t.step(args.join(" "), async () => {
      const { code, stdout, stderr } = await mtlsd(args, { flags: NOTHING });
      assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
      assert.match(stdout, expected);
    });
  }
});

Deno.test("wrong usage is one line on stderr and status 2", async (t) => {
  const cases: readonly (readonly [string[], RegExp])[] = [
    [[], /Cannot run without a config/],
    [["sevrer"], /unknown command "sevrer"/],
    [["chekc", "x.yaml"], /did you mean "check"/],
    [["run"], /without a config/],
    [["grants"], /without a config/],
    [["check", "a.yaml", "b.yaml"], /extra word "b\.yaml"/],
    [["--confg", "x.yaml"], /unknown flag "--confg": did you mean "--config"/],
    [["--config"], /"--config" without a value/],
    [["a\nb\x1b[31m"], /unknown command "a\\(n|u000a)b\\u001b/],
    [["certs", "extra"], /extra word "extra"/],
    [["no-such-file.yaml"], /^no-such-file\.yaml: .*there is no such file/],
    [["run", "."], /it is a directory/],
  ];
  for (const [args, expected] of cases) {
    await t.step(JSON.stringify(args), async () => {
      const { code, stdout, stderr } = await mtlsd(args);
      assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
      assert.match(stderr, expected);
      assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
      assertPlain(stderr);
    });
  }
});

const BROKEN = `mode: servre
listen: 8443
target: 127.0.0.1:8080
tls:
  cert: cert.pem
  key: key.pem
  ca: ca.pem
  min_version: TLS1.1
  client_aut: required
proxy:
  idle_timeout: 90
`;

Deno.test("all problems of a config are told at once, with line and column, by each command", async (t) => {
  await using testBed = await TestBed.create();
  const path = await testBed.write("broken.yaml", BROKEN);
  for (const command of ["run", "check", "grants"]) {
    for (
      const [name, args, stdin] of [["<stdin>", "-", BROKEN], [path, path, undefined]] as const
    ) {
      await t.step(`${command}, ${stdin === undefined ? "a file" : "standard input"}`, async () => {
        const options = stdin === undefined ? {} : { stdin };
        const { code, stdout, stderr } = await mtlsd([command, args], options);
        assert.equal(code, 2);
        const lines = `${stdout}${stderr}`.split("\n").filter((line) => line.startsWith(name));
        const at = lines.map((line) => line.slice(name.length + 1).split(": ", 2).join(" "));
        assert.deepEqual(at, [
          "1:1 mode",
          "2:1 listen",
          "8:3 tls.min_version",
          "9:3 tls.client_aut",
          "11:3 proxy.idle_timeout",
        ], stderr);
        assert.match(stderr + stdout, /"servre"[^\n]*"?server"?/);
        assert.match(stderr + stdout, /client_aut[^\n]*client_auth/);
        assertPlain(stderr);
      });
    }
  }
});

Deno.test("check opens no socket, and tells what run would stumble over", async (t) => {
  await using testBed = await TestBed.create();
  const { ca, server: cert, serverKey: key } = testBed.files;
  const config = { mode: "server", listen: ownAddress(), target: "127.0.0.1:9" };
  const flags = ["--no-prompt", "--allow-read"];
  await t.step("a good config, from a file and from standard input", async () => {
    const text = stringify({ ...config, tls: { cert, key, ca } });
    const path = await testBed.write("good.yaml", text);
    const file = await mtlsd(["check", path], { flags });
    assert.equal(file.code, 0, file.stderr);
    const stdin = await mtlsd(["check", "-"], { flags, stdin: text });
    assert.equal(stdin.code, 0, stdin.stderr);
  });
  await t.step("files that cannot be used", async () => {
    const text = stringify({ ...config, tls: { cert: key, key: cert, ca: "nowhere.pem" } });
    const { code, stdout, stderr } = await mtlsd(["check", "-"], { flags, stdin: text });
    assert.equal(code, 2);
    for (const name of ["tls.cert", "tls.key", "tls.ca"]) {
      assert.ok(`${stdout}${stderr}`.includes(name), stderr);
    }
    assertPlain(stderr);
  });
});

Deno.test("certs makes what the daemon runs with, and overwrites nothing", async (t) => {
  await using testBed = await TestBed.create();
  const out = join(testBed.dir, "made");
  const flags = ["--no-prompt", `--allow-read=${testBed.dir}`, `--allow-write=${testBed.dir}`];
  await t.step("made", async () => {
    const { code, stdout, stderr } = await mtlsd(["certs", "--out", out], { flags });
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
    assert.ok(stdout.includes(out), stdout);
    const names = [...Deno.readDirSync(out)].map(({ name }) => name).toSorted();
    assert.deepEqual(names, [
      "ca.pem",
      "client-key.pem",
      "client.pem",
      "server-key.pem",
      "server.pem",
    ]);
    const { stdout: modes } = await sh("stat -c %a *-key.pem", { cwd: out });
    assert.equal(modes, "600\n600\n");
  });
  await t.step("openssl agrees", async () => {
    for (const [name, purpose] of [["server", "sslserver"], ["client", "sslclient"]]) {
      const { stdout, stderr } = await sh(
        `openssl verify -x509_strict -purpose ${purpose} -CAfile ca.pem ${name}.pem`,
        { cwd: out },
      );
      assert.equal(stdout, `${name}.pem: OK\n`, stderr);
    }
  });
  await t.step("not over files that are there, unless told to", async () => {
    const before = await Deno.readTextFile(join(out, "server.pem"));
    const { code, stderr } = await mtlsd(["certs", "--out", out], { flags });
    assert.notEqual(code, 0);
    assert.match(stderr, /--force/);
    assertPlain(stderr);
    assert.equal(await Deno.readTextFile(join(out, "server.pem")), before);
    assert.equal((await mtlsd(["certs", "--out", out, "--force"], { flags })).code, 0);
    assert.notEqual(await Deno.readTextFile(join(out, "server.pem")), before);
  });
});

Deno.test("a reader that goes away is no error", async () => {
  const { stdout, stderr } = await sh(
    `set -o pipefail; '${Deno.execPath()}' run --no-prompt '${MAIN}' help | head -n 1`,
  );
  assert.match(stdout, /^mtlsd /);
  assertPlain(stderr);
});
