/**
 * The four processes of the README, on free ports: caller → test client → mtlsd client → mtlsd server →
 * echo server, with the examples' own configs and certificates by `mtlsd certs`, driven by `nc`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import { mtlsd, ROOT, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { sh } from "../support/peers.ts";
import { Process } from "../support/openssl.ts";

/** One of the example programs, which prints where it listens. */
async function example(
  program: string,
  ...args: readonly string[]
): Promise<{ readonly process: Process; readonly address: string } & AsyncDisposable> {
  const process = new Process(Deno.execPath(), [
    ...["run", "--no-prompt", "--allow-net=127.0.0.1", join(ROOT, "examples", program), ...args],
  ], { NO_COLOR: "1" });
  const [, address = ""] = await process.says(/listening on (127\.0\.0\.1:\d+)/);
  return { process, address, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

/** An example's config as it stands there, but for ports, target and where the certificates are. */
async function exampleDaemon(
  name: "server" | "client",
  dir: string,
  target: string,
): Promise<TestDaemon> {
  const config = parse(await Deno.readTextFile(join(ROOT, "examples", `${name}.yaml`)));
  assert.equal(config.mode, name);
  const tls = {
    ...config.tls,
    cert: join(dir, `${name}.pem`),
    key: join(dir, `${name}-key.pem`),
    ca: join(dir, "ca.pem"),
  };
  const free = { listen: "127.0.0.1:0" };
  const endpoints = {
    health: { ...config.health, ...free },
    metrics: { ...config.metrics, ...free },
  };
  return await startDaemon({ dir, config: { ...config, ...free, ...endpoints, target, tls } });
}

Deno.test("the four processes of the README answer echo: hello mtlsd", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-chain-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const certs = await mtlsd(["certs", "--out", dir], {
    flags: ["--no-prompt", `--allow-read=${dir}`, `--allow-write=${dir}`],
  });
  assert.equal(certs.code, 0, certs.stderr);

  const echo = stack.use(await example("echo_server.ts", "-addr=127.0.0.1:0"));
  const server = stack.use(await exampleDaemon("server", dir, echo.address));
  const client = stack.use(await exampleDaemon("client", dir, server.listen));
  const app = stack.use(
    await example("test_client.ts", "-listen", "127.0.0.1:0", "-tunnel", client.listen),
  );
  const port = app.address.split(":")[1];

  const one = await sh(`printf 'hello mtlsd\\n' | nc -N 127.0.0.1 ${port}`);
  assert.deepEqual([one.code, one.stdout, one.stderr], [0, "echo: hello mtlsd\n", ""]);
  // Several lines, one of them without an end, and several callers at once.
  const many = await sh(
    `for i in 1 2 3 4 5; do printf "a $i\\nb $i" | nc -N 127.0.0.1 ${port} & done; wait`,
  );
  assert.deepEqual(
    many.stdout.replaceAll("echo: ", "\necho: ").split("\n").filter((line) => line !== "").sort(),
    [1, 2, 3, 4, 5].flatMap((i) => [`echo: a ${i}`, `echo: b ${i}`]).sort(),
  );

  await server.waitForLog("listener: accepted connection", { peer_cn: "frontend-service" });
  await client.waitForLog("dialer: connected", { server: server.listen });
  for (const daemon of [server, client]) {
    await daemon.waitForMetric("mtlsd_connections_total", 6);
    await daemon.waitForMetric('mtlsd_connections_closed_total{reason="completed"}', 6);
    assert.equal(await daemon.stop(), 0);
  }
});
