/**
 * The grants that `mtlsd grants` prints are enough, and not one too many.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import { assertPlain, mtlsd, ROOT, startDaemon } from "../support/daemon.ts";
import { ask, lineBackend, ownAddress } from "../support/peers.ts";
import { byRename, contents, renewed, serialSeen } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

/** A config of each mode with probes, everything in a directory of its own. */
async function configs(testBed: TestBed, target: string): Promise<Record<string, object>> {
  const { ca, server, serverKey, client, clientKey } = testBed.files;
  const apart = join(testBed.dir, "trust");
  await Deno.mkdir(apart);
  await Deno.copyFile(ca, join(apart, "ca.pem"));
  const probes = () => ({
    health: { enabled: true, listen: ownAddress() },
    metrics: { enabled: true, listen: ownAddress() },
  });
  const listen = ownAddress();
  return {
    server: {
      mode: "server",
      listen,
      target,
      tls: { cert: server, key: serverKey, ca: join(apart, "ca.pem") },
      ...probes(),
    },
    client: {
      mode: "client",
      listen: ownAddress(),
      target: listen,
      tls: { cert: client, key: clientKey, ca: join(apart, "ca.pem"), server_name: "localhost" },
      ...probes(),
    },
  };
}

/** What `mtlsd grants` prints. */
async function grantsOf(path: string): Promise<string[]> {
  const { code, stdout, stderr } = await mtlsd(["grants", path], {
    flags: ["--no-prompt", `--allow-read=${path}`],
  });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.match(stdout, /^[^\n]+\n$/);
  return stdout.trim().split(" ");
}

Deno.test("both modes start, serve and reload under their grants", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const all = await configs(testBed, backend.address);
  const daemons = [];
  for (const [mode, config] of Object.entries(all)) {
    const path = await testBed.write(`${mode}.yaml`, stringify(config));
    const flags = await grantsOf(path);
    assert.deepEqual(flags.map((flag) => flag.replace(/=.*/, "")), [
      "--no-prompt",
      "--allow-net",
      "--allow-read",
    ]);
    assert.doesNotMatch(flags.join(" "), /[*?]|--allow-all|-A/);
    for (const flag of flags.slice(1)) assert.match(flag, /=./);
    daemons.push(
      testBed.use(
        await startDaemon({ dir: testBed.dir, config: { ...config }, flags, args: () => [path] }),
      ),
    );
  }
  const [server, client] = daemons;
  assert.ok(server !== undefined && client !== undefined);
  const [hostname = "", port] = client.listen.split(":");
  const through = async (message: string): Promise<string> => {
    using conn = await Deno.connect({ hostname, port: Number(port) });
    await conn.write(new TextEncoder().encode(message));
    await conn.closeWrite();
    return await new Response(conn.readable).text();
  };
  assert.equal(await through("hello"), "echo: hello");
  const [host = ""] = server.listen.split(":");
  const direct = { ...testBed.as(server), host };
  assert.equal(await ask(direct, "direct"), "echo: direct");

  const before = await serialSeen(direct);
  await byRename(testBed.dir, contents(renewed(testBed.pki)));
  await until(async () => await serialSeen(direct) !== before);
  for (const daemon of daemons) {
    daemon.kill("SIGHUP");
    await daemon.waitForLog("certstore: certificates reloaded successfully", { trigger: "signal" });
    assert.equal((await daemon.probe("/readyz")).status, 200);
  }
  assert.equal(await through("again"), "echo: again");
  for (const daemon of daemons.toReversed()) {
    assert.equal(await daemon.stop(), 0);
    assert.doesNotMatch(daemon.log, /level=(WARN|ERROR)|add --allow|NotCapable/);
  }
});

Deno.test("without one of the grants it names exactly that flag, status 2", async (t) => {
  await using testBed = await TestBed.create();
  const config = (await configs(testBed, ownAddress())).server;
  const path = await testBed.write("server.yaml", stringify(config));
  const flags = await grantsOf(path);
  const single = flags.flatMap((flag) => {
    const [name = "", list] = flag.split("=");
    return (list?.split(",") ?? []).map((value) => ({ name, value }));
  });
  // listen, target, two probes; the certificates' directory, which holds the rest too.
  assert.equal(single.length, 5, flags.join(" "));
  for (const missing of single) {
    const word = `${missing.name}=${missing.value}`;
    await t.step(word.replace(testBed.dir, "DIR"), async () => {
      const rest = single.filter((grant) => grant !== missing);
      const less = ["--allow-net", "--allow-read"].flatMap((name) => {
        const values = rest.filter((grant) => grant.name === name).map(({ value }) => value);
        // The config itself can be read in any case: this is about the other grants.
        if (name === "--allow-read") values.push(path);
        return values.length === 0 ? [] : [`${name}=${values.join(",")}`];
      });
      const { code, stdout, stderr } = await mtlsd([path], { flags: ["--no-prompt", ...less] });
      assert.equal(code, 2, stderr);
      assert.equal(stdout, "");
      const lines = stderr.trimEnd().split("\n");
      assert.equal(lines.length, 1, stderr);
      assert.ok(lines[0]?.endsWith(`: add ${word}`), stderr);
      assertPlain(stderr);
    });
  }
  await t.step("the config itself", async () => {
    const { code, stderr } = await mtlsd([path], { flags: ["--no-prompt"] });
    assert.equal(code, 2);
    assert.ok(stderr.trimEnd().endsWith(`add --allow-read=${path}`), stderr);
    assert.equal(stderr.trimEnd().split("\n").length, 1);
  });
  await t.step("everything at once", async () => {
    const flags = ["--no-prompt", `--allow-read=${path}`];
    const { code, stderr } = await mtlsd([path], { flags });
    assert.equal(code, 2);
    assert.equal(stderr.trimEnd().split("\n").length, single.length, stderr);
  });
});

Deno.test("the line works in a shell as the chapter has it", async () => {
  await using testBed = await TestBed.create();
  const path = await testBed.write(
    "server.yaml",
    stringify((await configs(testBed, ownAddress())).server),
  );
  const deno = Deno.execPath();
  const script = `exec '${deno}' run $('${deno}' run --allow-read src/main.ts grants '${path}') ` +
    `src/main.ts '${path}'`;
  await using daemon = await startDaemon({
    dir: testBed.dir,
    config: { mode: "server", listen: ":1", target: "x:1", tls: { cert: "x", key: "x", ca: "x" } },
    flags: [],
    wrapper: ["bash", "-c", script],
  });
  assert.equal((await daemon.probe("/readyz")).status, 200);
  assert.equal(await daemon.stop(), 0);
});

Deno.test("the examples print grants without a wildcard, relative as they are written", async () => {
  for (const name of ["server", "client"]) {
    const flags = await grantsOf(join(ROOT, "examples", `${name}.yaml`));
    assert.doesNotMatch(flags.join(" "), /[*?]/);
    assert.match(flags.join(" "), /--allow-read=testdata\/certs/);
  }
});
