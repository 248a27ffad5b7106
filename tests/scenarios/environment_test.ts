/**
 * Settings from the environment: over the file where that was granted, not looked at where it was not,
 * and nowhere to be read afterwards.
 *
 * @module
 */

import assert from "node:assert/strict";
import { stringify } from "yaml";
import { assertPlain, MAIN, mtlsd, ROOT, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { ask, attempt, connectTls, echoBackend, ownAddress, sh } from "../support/peers.ts";
import { makeLeaf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { changeRules } from "../support/reload.ts";

type Variables = Readonly<Record<string, string>>;

/** A command that sets variables for what it runs. */
function withVariables(variables: Variables): readonly string[] {
  return ["env", ...Object.entries(variables).map(([name, value]) => `${name}=${value}`)];
}

/** What a config takes that is complete. */
function complete(testBed: TestBed, target: string): Readonly<Record<string, unknown>> {
  const { server: cert, serverKey: key, ca } = testBed.files;
  return { mode: "server", listen: "127.0.0.1:0", target, tls: { cert, key, ca } };
}

/** What `mtlsd grants --with-env` prints, asked under the same variables. */
async function grantsWithEnv(
  testBed: TestBed,
  config: Readonly<Record<string, unknown>>,
  variables: Variables,
): Promise<readonly string[]> {
  const path = await testBed.write("asked.yaml", stringify(config));
  const { stdout, stderr, code } = await sh(
    `${Object.entries(variables).map(([name, value]) => `${name}='${value}'`).join(" ")} \
     ${Deno.execPath()} run --no-prompt --allow-read=${path} --allow-env='MTLSD_*' ${MAIN} \
     grants --with-env ${path}`,
    { cwd: ROOT },
  );
  assert.equal(code, 0, stderr);
  return stdout.trim().split(" ").map((flag) => flag.replaceAll("asked.yaml", "*"));
}

/** A daemon under these flags and variables; the grant for its config file is added. */
async function start(
  testBed: TestBed,
  config: Readonly<Record<string, unknown>>,
  variables: Variables,
  flags: readonly string[],
): Promise<TestDaemon> {
  const read = `--allow-read=${testBed.dir}`;
  return await testBed.daemon(config, {
    wrapper: withVariables(variables),
    flags: [...flags.filter((flag) => !flag.startsWith("--allow-read")), read],
  });
}

/** The daemon's own ports, by which the test finds it. */
const PORTS = ["--allow-net=127.0.0.1"];
const ENV = ["--allow-env=MTLSD_*", "--deny-env=MTLSD_"];

Deno.test("variables win over the file, under the grants that --with-env prints", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const wrong = ownAddress();
  const config = {
    ...complete(testBed, wrong),
    listen: ownAddress(),
    health: { enabled: false },
    metrics: { enabled: false },
    proxy: { idle_timeout: "1h" },
  };
  const listen = ownAddress();
  const variables = {
    MTLSD_LISTEN: listen,
    MTLSD_TARGET: backend.address,
    MTLSD_TLS_MIN_VERSION: "TLS1.3",
    MTLSD_TLS_CLIENT_AUTH: "request",
    MTLSD_PROXY_IDLE_TIMEOUT: "150ms",
    MTLSD_PROXY_MAX_CONNECTIONS: "7",
    MTLSD_LOGGING_LEVEL: "debug",
    MTLSD_LOGGING_FORMAT: "json",
  };
  const flags = await grantsWithEnv(testBed, config, variables);
  // The grants are those of the settings as they come out.
  assert.ok(flags.some((flag) => flag.includes(listen) && flag.includes(backend.address)));
  assert.ok(!flags.some((flag) => flag.includes(wrong)));
  assert.ok(flags.includes("--allow-env=MTLSD_*"));
  const server = await start(testBed, config, variables, flags);
  assert.equal(server.listen, listen);
  assert.ok(server.lines.every(({ raw }) => raw.startsWith("{")), "JSON");
  const [host = "", port] = listen.split(":");
  const client = { host, port: Number(port), ca: testBed.pki.ca.pem };
  assert.equal(await ask(client, "hello"), "hello");
  assert.equal(await attempt({ ...client, maxVersion: "TLSv1.2" }), "");
  const idle = await connectTls(client);
  idle.on("error", () => {});
  idle.resume();
  await server.waitForLog("listener: connection closed", { reason: "idle_timeout" });
  idle.destroy();
});

Deno.test("without the grant the environment is not looked at", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const variables = {
    MTLSD_TARGET: ownAddress(),
    MTLSD_TLS_CLIENT_AUTH: "none",
    MTLSD_ACL_MODE: "audit",
    MTLSD_NO_SUCH_KEY: "x",
  };
  for (const flags of [[], ["--allow-env=HOME"]]) {
    const server = await start(testBed, complete(testBed, backend.address), variables, [
      "--no-prompt",
      ...PORTS,
      ...flags,
    ]);
    // What would let everybody in has not.
    assert.equal(await attempt({ port: server.port, ca: testBed.pki.ca.pem }), "");
    assert.equal(await ask(testBed.as(server), "hello"), "hello");
    assert.doesNotMatch(server.log, /MTLSD_/);
    await server.stop();
  }
});

Deno.test("a typo in a name or a value is an error, all of them at once", async () => {
  await using testBed = await TestBed.create();
  const config = complete(testBed, "127.0.0.1:9");
  const rows = [
    [{ MTLSD_TLS_CRT: "x" }, /MTLSD_TLS_CRT.*MTLSD_TLS_CERT/s],
    [{ MTLSD_LISTN: "x" }, /MTLSD_LISTN.*MTLSD_LISTEN/s],
    [{ MTLSD_TLS_MIN_VERSION: "TLS1.1" }, /MTLSD_TLS_MIN_VERSION.*TLS1\.2/s],
    [{ MTLSD_PROXY_IDLE_TIMEOUT: "soon" }, /MTLSD_PROXY_IDLE_TIMEOUT/],
    [{ MTLSD_PROXY_MAX_CONNECTIONS: "-1" }, /MTLSD_PROXY_MAX_CONNECTIONS/],
    [{ MTLSD_HEALTH_ENABLED: "yes" }, /MTLSD_HEALTH_ENABLED/],
    [{ MTLSD_ACL_ALLOW_CN: "frontend-service" }, /MTLSD_ACL_ALLOW_CN/],
    [
      { MTLSD_MODE: "sever", MTLSD_TLS_CLIENT_AUTH: "nne", MTLSD_X: "1" },
      /MTLSD_MODE.*MTLSD_TLS_CLIENT_AUTH|MTLSD_TLS_CLIENT_AUTH.*MTLSD_MODE/s,
    ],
  ] as const;
  for (const [variables, said] of rows) {
    await using daemon = await startDaemon({
      dir: testBed.dir,
      config,
      wrapper: withVariables(variables),
      // As --with-env prints them: with the second one every name is seen, however far off.
      flags: ["--no-prompt", ...PORTS, `--allow-read=${testBed.dir}`, ...ENV],
      expectFailure: true,
    });
    assert.equal(await daemon.exit(), 2, daemon.log);
    assert.match(daemon.log, said);
    for (const name of Object.keys(variables)) {
      assert.ok(daemon.log.includes(name), `${name} in ${daemon.log}`);
    }
    assertPlain(daemon.log);
  }
});

Deno.test("a reload by SIGHUP keeps what the environment says", async () => {
  await using testBed = await TestBed.create();
  const server = await start(
    testBed,
    complete(testBed, ownAddress()),
    { MTLSD_TARGET: testBed.use(echoBackend()).address, MTLSD_ACL_MODE: "audit" },
    ["--no-prompt", ...PORTS, "--allow-env=MTLSD_*"],
  );
  const other = makeLeaf({ role: "client", subject: "other" }, testBed.pki.ca);
  await changeRules(server, { allow_cn: ["frontend-service"] });
  assert.equal(await ask({ ...testBed.as(server), identity: other }, "hello"), "hello");
  await server.waitForLog("listener: would deny connection", { peer_cn: "other" });
});

/** Values that may have been meant for a variable beside it. */
const SECRETS = ["hunter2-passphrase", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN PRIVATE KEY-----MIIE"];

Deno.test("values are in no output but the error of a setting that has a wrong one", async () => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(echoBackend());
  const [one = "", two = "", three = ""] = SECRETS;
  const everywhere = async (variables: Variables, ok: boolean, ...wrong: readonly string[]) => {
    const flags = [
      "--no-prompt",
      ...PORTS,
      `--allow-read=${testBed.dir}`,
      ...ENV,
    ];
    await using daemon = await startDaemon({
      dir: testBed.dir,
      config: { ...complete(testBed, backend.address), logging: { level: "debug" } },
      wrapper: withVariables(variables),
      flags,
      expectFailure: !ok,
    });
    if (ok) {
      assert.equal(await ask(testBed.as(daemon), "hello"), "hello");
      daemon.kill("SIGHUP");
      await daemon.waitForLog("certstore: certificates reloaded successfully");
      assert.equal(await daemon.stop(), 0);
    } else assert.equal(await daemon.exit(), 2);
    const said = [daemon.log];
    for (const command of ["check", "grants"]) {
      const quoted = [Deno.execPath(), "run", ...flags, MAIN, command, daemon.configPath]
        .map((word) => `'${word}'`).join(" ");
      const all = Object.entries(variables).map(([name, value]) => `'${name}=${value}'`);
      const { stdout, stderr } = await sh(`env ${all.join(" ")} ${quoted}`);
      said.push(stdout, stderr);
    }
    const lines = said.join("\n").split("\n");
    for (const secret of SECRETS) {
      for (const line of lines.filter((line) => line.includes(secret))) {
        // As of a value in the file: the message at the start says what was wrong.
        assert.ok(
          wrong.some((name) => line.startsWith(`environment: ${name}: Cannot use "`)),
          line,
        );
      }
    }
  };
  // Not ours: others' secrets in the same environment.
  await everywhere({ PASSWORD: one, AWS_SECRET: two, MTLSDX: three }, true);
  // Put where it does not belong, by mistake.
  await everywhere({ MTLSD_TLS_CRT: one }, false);
  await everywhere(
    { MTLSD_TLS_MIN_VERSION: two, MTLSD_PROXY_IDLE_TIMEOUT: one },
    false,
    "MTLSD_TLS_MIN_VERSION",
    "MTLSD_PROXY_IDLE_TIMEOUT",
  );
  await everywhere({ MTLSD_MODE: three, MTLSD_LISTEN: one }, false, "MTLSD_MODE", "MTLSD_LISTEN");
  await everywhere(
    { MTLSD_HEALTH_ENABLED: one, MTLSD_ACL_ALLOW_CN: two },
    false,
    "MTLSD_HEALTH_ENABLED",
  );
});

Deno.test("mtlsd itself needs no variable", async () => {
  const { code, stderr } = await mtlsd(["version"], { flags: ["--no-prompt"] });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
});
