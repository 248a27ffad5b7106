/**
 * The examples, and the walk-throughs of the chapters with them: every command is taken from there and
 * run as it stands. Only 127.0.0.1 is replaced, by a loopback address that no other test has, so that
 * the ports may stay as they are.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";
import { ROOT } from "../support/daemon.ts";
import { blocks, config, section, shell } from "../support/readme.ts";
import { Clone, loopback, type Terminal } from "../support/walkthrough.ts";

async function example(name: string): Promise<string> {
  return await Deno.readTextFile(join(ROOT, "examples", name));
}

/** Every file of the directory, so that a new one is looked at too. */
const NAMES = [...Deno.readDirSync(join(ROOT, "examples"))].filter(({ isFile }) => isFile)
  .map(({ name }) => name).filter((name) => name !== "README.md").sort();

Deno.test("examples: every other file is a program with a comment that says what for", async () => {
  // The schema has a test of its own.
  const rest = NAMES.filter((name) => !name.endsWith(".yaml") && name !== "mtlsd.schema.json");
  assert.ok(rest.includes("echo_server.ts") && rest.includes("test_client.ts"), String(rest));
  for (const name of rest) {
    assert.match(name, /\.ts$/);
    assert.match(await example(name), /^(\/\/ deno-lint-ignore-file .*\n)?\/\*\*\n/, name);
  }
});

Deno.test("examples: the two configs meet, and the programs' own addresses are theirs", async () => {
  const read = async (name: string) => {
    const result = parseConfig(await example(name), name);
    assert.ok(result.ok);
    const { tunnels: [{ listen, targets: [{ address: target }] }], health, metrics } =
      result.config;
    assert.ok(listen.kind === "tcp" && target.kind === "tcp");
    return { listen, target, health, metrics };
  };
  const [server, client] = [await read("server.yaml"), await read("client.yaml")];
  assert.deepEqual(client.target, server.listen);
  const port = async (name: string): Promise<readonly number[]> =>
    [...(await example(name)).matchAll(/ value: "127\.0\.0\.1:(\d+)"/g)].map(([, text]) =>
      Number(text)
    );
  assert.deepEqual(await port("echo_server.ts"), [server.target.port]);
  const [clients = 0, tunnel] = await port("test_client.ts");
  assert.equal(tunnel, client.listen.port);
  // Those that the original has.
  const original = [server.target.port, server.listen.port, client.listen.port, clients];
  assert.deepEqual(original, [8080, 8443, 9080, 7070]);
  assert.deepEqual([server.health.listen.port, server.metrics.listen.port], [9000, 9001]);
  // All in one machine: no two of them on one port.
  const ports = [
    ...[server.target.port, clients],
    ...[server, client].flatMap(({ listen, health, metrics }) =>
      [listen, health.listen, metrics.listen].map(({ port }) => port)
    ),
  ];
  assert.equal(new Set(ports).size, ports.length);
  const [, said = ""] = /uses the ports ([^.]+)\./.exec(section("Quick start in four terminals")) ??
    [];
  assert.deepEqual((said.match(/\d+/g) ?? []).map(Number).toSorted(), ports.toSorted());
});

Deno.test("README: what the front page shows is that of two machines, and a clone runs", async () => {
  const [front = ""] = shell("front page");
  const [brief, long] = [front, shell("two machines")[0] ?? ""].map((text) =>
    text.split("\n").slice(1)
  );
  assert.ok(brief !== undefined && brief.length === 2);
  assert.deepEqual(brief, long);
  await using clone = await Clone.make((text) => text);
  const { code, stdout, stderr } = await clone.run(shell("from a clone")[0] ?? "exit 9");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^mtlsd \d+\.\d+\.\d+/m);
  const cached = await clone.run(shell("clone: fetch")[0] ?? "exit 9");
  assert.equal(cached.code, 0, cached.stderr);
  assert.equal(cached.stdout, stdout);
});

Deno.test("README: the quick start in four terminals", async () => {
  const own = loopback();
  await using clone = await Clone.make((text) =>
    text.replaceAll("127.0.0.1", own).replaceAll(
      "https://localhost:8443/",
      `--connect-to localhost:8443:${own}:8443 https://localhost:8443/`,
    )
  );
  const certs = await clone.run(shell("certificates")[0] ?? "exit 9");
  assert.equal(certs.code, 0, certs.stderr);

  const terminal = (number: number): string => {
    const found = shell(`terminal ${number}:`);
    assert.equal(found.length, 1, `terminal ${number}`);
    return found[0] ?? "";
  };
  await using echo = clone.start(terminal(1));
  await using server = clone.start(terminal(2));
  await using client = clone.start(terminal(3));
  await using downstream = clone.start(terminal(4));
  await echo.waitFor("listening on");
  await server.waitFor("certstore: watching files for changes");
  await client.waitFor("certstore: watching files for changes");
  await downstream.waitFor("listening on");

  const [ask = ""] = shell("ask");
  const said = await clone.run(ask);
  assert.deepEqual([said.code, said.stdout], [0, "echo: hello mtlsd\n"], said.stderr);
  assert.match(section("Quick start in four terminals"), /`echo: hello mtlsd`/);
  await server.waitFor(/msg="listener: accepted connection" peer_cn=frontend-service/);
  await client.waitFor(/msg="dialer: connected" server=\S+ peer_cn=localhost/);

  // Line by line, since the last one is to fail.
  const look = (shell("look")[0] ?? "").split("\n").filter((line) => !line.startsWith("#"));
  assert.equal(look.length, 4);
  const [ready, cert, metrics, denied] = await Promise.all(look.map((line) => clone.run(line)));
  assert.equal(ready?.stdout, '{"status":"ready"}');
  assert.equal(JSON.parse(cert?.stdout ?? "").subject, "CN=localhost");
  assert.match(metrics?.stdout ?? "", /^mtlsd_acl_decisions_total\{result="allowed"\} 1$/m);
  assert.notEqual(denied?.code, 0);
  assert.match(denied?.stderr ?? "", /alert certificate required/);
  await server.waitFor('error="peer sent no certificate"');

  // The daemon, and not the task that has started it.
  const find = findIn(server);
  const { stdout: pid } = await clone.run(find);
  const [, logged] = /msg="mtlsd starting" .*\bpid=(\d+)/.exec(server.printed) ?? [];
  assert.equal(pid, `${logged}\n`);
  const hup = await clone.run(`kill -HUP "$(${find})"`);
  assert.equal(hup.code, 0, hup.stderr);
  await server.waitFor("certstore: certificates reloaded successfully");

  for (const daemon of [client, server]) {
    daemon.interrupt();
    await daemon.exit();
    assert.match(daemon.printed, /msg="shutdown complete"/);
  }
});

/** The command that finds a daemon, among the processes of one terminal: others run beside this test. */
function findIn({ group }: Terminal): string {
  const [, command = ""] = (shell("find")[0] ?? "").split("\n");
  assert.match(command, /^pgrep -nf /);
  return command.replace("pgrep", `pgrep -g ${group}`);
}

Deno.test("README: a daemon is found by its config, however it was started", async (t) => {
  await using clone = await Clone.make((text) => text);
  // By what a binary would be called, which cannot be run here; its config is a script that waits.
  const script = "echo ready; read _ < fifo";
  await Deno.writeTextFile(join(clone.dir, "examples/server.yaml"), script);
  for (
    const [title, name, words] of [
      ["a binary", "dist/mtlsd", "examples/server.yaml"],
      ["a binary on the path", "mtlsd", "./examples/server.yaml"],
    ] as const
  ) {
    await t.step(title, async () => {
      await using process = clone.start(
        `rm -f fifo; mkfifo fifo; echo pid=$$.; exec -a ${name} bash ${words}`,
      );
      await process.waitFor("ready");
      const [, pid] = /pid=(\d+)\./.exec(process.printed) ?? [];
      assert.equal((await clone.run(findIn(process))).stdout, `${pid}\n`);
    });
  }
});

Deno.test("README: two machines", async () => {
  const own = loopback();
  // The name is not in the DNS: the client dials the address and says which name it means.
  const rewrite = (text: string) =>
    text.replaceAll("127.0.0.1", own).replace("target: 192.0.2.7:", `target: ${own}:`)
      .replace('listen: ":8443"', `listen: ${own}:8443`);
  await using clone = await Clone.make(rewrite);
  const [pki = ""] = shell("pki: the CA");
  const made = await clone.run(`mkdir certs && cd certs\n${pki}`);
  assert.equal(made.code, 0, made.stderr);
  for (const key of ["ca-key.pem", "server-key.pem", "client-key.pem"]) {
    const { mode } = await Deno.stat(join(clone.dir, "certs", key));
    assert.equal((mode ?? 0) & 0o777, 0o600, key);
  }
  const server = rewrite(config("two-machines/server.yaml"));
  const client = config("two-machines/client.yaml");
  const byAddress = config("two-machines/client-by-address.yaml");
  // Both ends share a port number, as they may on two machines.
  const path = join(clone.dir, "server.yaml");
  await Deno.writeTextFile(path, server.replace(`${own}:5432`, `${own}:15432`));
  assert.equal(
    byAddress.replace("192.0.2.7:", "db.example.com:").replace(/\n {2}server_name: .*/, ""),
    client,
  );
  await Deno.writeTextFile(join(clone.dir, "client.yaml"), rewrite(byAddress));

  const [commands = ""] = shell("two machines");
  const [, check = "", run = ""] = commands.split("\n");
  for (const config of ["server.yaml", "client.yaml"]) {
    const said = await clone.run(check.replace("server.yaml", config));
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, new RegExp(`^${config}: ok$`, "m"));
  }
  await using echo = clone.start(
    "deno run --allow-net=127.0.0.1:15432 examples/echo_server.ts -addr 127.0.0.1:15432",
  );
  await echo.waitFor("listening on");
  // The endpoints of the server's config have their default address, which is not ours to rewrite.
  const endpoints = (text: string) =>
    text.replaceAll("enabled: true", `{ enabled: true, listen: "${own}:0" }`)
      .replace(/^(health|metrics):\n {2}/gm, "$1: ");
  await Deno.writeTextFile(path, endpoints(await Deno.readTextFile(path)));
  await using accepting = clone.start(run);
  await accepting.waitFor("certstore: watching files for changes");
  await using dialling = clone.start(run.replaceAll("server.yaml", "client.yaml"));
  await dialling.waitFor("certstore: watching files for changes");
  const said = await clone.run("printf 'hello\\n' | nc -N 127.0.0.1 5432");
  assert.deepEqual([said.code, said.stdout], [0, "echo: hello\n"], said.stderr);
  await accepting.waitFor(/peer_cn=frontend-service/);
  await dialling.waitFor(/peer_cn=db\.example\.com/);
});

Deno.test("README: revoking a certificate", async () => {
  await using clone = await Clone.make((text) => text);
  const [[pki = ""], [revoke = ""], [ask = ""]] = [
    shell("pki: the CA"),
    shell("pki: revoke"),
    shell("explain"),
  ];
  const yaml = config("two-machines/server.yaml");
  const list = "tls:\n  crl: certs/ca.crl\n";
  await Deno.writeTextFile(join(clone.dir, "server.yaml"), yaml.replace("tls:\n", list));
  const made = await clone.run(`mkdir certs && cd certs\n${pki}\n${revoke}`);
  assert.equal(made.code, 0, made.stderr);
  const said = await clone.run("deno task start check server.yaml");
  assert.equal(said.code, 0, said.stderr);
  assert.match(
    said.stdout,
    /^revocation list: CN=example tunnel CA, 1 entry, next update .* \(6 days/m,
  );
  const command = ask.replace("--cert peer.pem", "--cert certs/client.pem");
  const { code, stdout } = await clone.run(command);
  assert.equal(code, 1, stdout);
  assert.match(
    stdout,
    /^verdict: denied\nchain: revoked: certificate O=acme, CN=frontend-service /,
  );
});

Deno.test("README: what it shows of grants is what is printed, and is enough", async () => {
  await using clone = await Clone.make((text) => text);
  const [command = ""] = shell("grants");
  const inner = /\$\((.*)\)/.exec(command)?.[1] ?? "";
  const { code, stdout, stderr } = await clone.run(inner);
  assert.equal(code, 0, stderr);
  assert.ok(blocks("text").some(({ text }) => `${text}\n` === stdout), stdout);
});

Deno.test("README: the message on a missing grant is the daemon's", async () => {
  await using clone = await Clone.make((text) => text);
  const flags = "--no-prompt --allow-read --allow-net=127.0.0.1:8443,127.0.0.1:9000,127.0.0.1:9001";
  const { code, stderr } = await clone.run(
    `deno run ${flags} src/main.ts examples/server.yaml || exit $?`,
  );
  assert.equal(code, 2);
  assert.ok(blocks("text").some(({ text }) => `${text}\n` === stderr), stderr);
});

Deno.test("README: the errors that it shows are those of the config that it means", () => {
  const shown = blocks("text").find(({ text }) => text.startsWith("server.yaml:2:1:"))?.text ?? "";
  const config = [
    "mode: server",
    "listen: 8443",
    "target: 127.0.0.1:8080",
    "tls:",
    "  cert: server.pem",
    "  ca: ca.pem",
    "  min_version: TLS1.1",
    "  clientauth: none",
    "  key: server-key.pem",
  ].join("\n");
  const result = parseConfig(config, "server.yaml");
  assert.ok(!result.ok);
  assert.equal(result.problems.map(formatProblem).join("\n"), shown);
});
