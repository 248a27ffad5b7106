/**
 * gRPC: real clients with TLS and a certificate to server mode with `alpn: [h2]`, in front of a server
 * that has none of this.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, type TestDaemon } from "../support/daemon.ts";
import { sClient } from "../support/openssl.ts";
import { Program } from "../support/program.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { assertAllClosesCounted, closedSeries } from "../support/metrics.ts";

const DIR = join(ROOT, "tests", "interop");

function program(name: string, ...args: readonly string[]): Program {
  const config = ["--no-prompt", "-A", "--config", join(DIR, "grpc.json")];
  return new Program(Deno.execPath(), ["run", ...config, join(DIR, name), ...args], {
    env: { NO_COLOR: "1" },
  });
}

async function grpcServer(testBed: TestBed): Promise<{ program: Program; address: string }> {
  const server = testBed.use(program("grpc_server.ts"));
  // The first start on a machine downloads the package.
  const [, port] = await server.says(/^listening (\d+)$/m, 120_000);
  return { program: server, address: `127.0.0.1:${port}` };
}

/** A client that makes the calls it reads from its standard input. */
class GrpcClient {
  readonly #program: Program;
  #calls = 0;

  constructor(testBed: TestBed, daemon: TestDaemon, ...identity: readonly string[]) {
    const args = [daemon.listen, testBed.files.ca, ...identity];
    this.#program = testBed.use(program("grpc_client.ts", ...args));
  }

  /** Makes a call; what it came to. */
  async call(name: string, argument: string | number = ""): Promise<Record<string, unknown>> {
    const number = ++this.#calls;
    await this.#program.type(`${number} ${name} ${argument}\n`);
    const [, answer = ""] = await this.#program.says(new RegExp(`^${number} (\\{.*\\})$`, "m"));
    return JSON.parse(answer);
  }
}

/** gRPC's names for some of its status codes. */
const STATUS = { invalidArgument: 3, deadlineExceeded: 4, unavailable: 14 } as const;

Deno.test("gRPC to server mode", async (t) => {
  await using testBed = await TestBed.create();
  const { program: backend, address } = await grpcServer(testBed);
  const daemon = await testBed.server(address, { tls: { alpn: ["h2"] } });
  const { client: cert, clientKey: key } = testBed.files;
  const client = new GrpcClient(testBed, daemon, cert, key);

  await t.step("a unary call, with metadata both ways", async () => {
    const expected = { header: ["hello"], trailer: ["hello"], same: true };
    assert.deepEqual(await client.call("unary", "hello"), expected);
    await daemon.waitForLog("listener: accepted connection", { alpn: "h2" });
  });

  await t.step("a refusal by the server is the server's", async () => {
    const expected = { code: STATUS.invalidArgument, details: 'no such thing as "fail, please"' };
    assert.deepEqual(await client.call("unary", "fail, please"), expected);
  });

  await t.step("streaming: from the server, to the server, both ways", async () => {
    assert.deepEqual(await client.call("stream", 2000), { messages: 2000, ordered: true });
    assert.deepEqual(await client.call("collect", 2000), { said: "2000 messages, 2000000 bytes" });
    assert.deepEqual(await client.call("rounds", 200), { rounds: 200 });
    assert.deepEqual(await client.call("bye"), { over: true });
  });

  await t.step("a deadline ends the call on both sides", async () => {
    const { code } = await client.call("hang", 200);
    assert.equal(code, STATUS.deadlineExceeded);
    await backend.says(/^cancelled$/m);
  });

  await t.step("a message of 4 MB", async () => {
    assert.equal((await client.call("large", 4 << 20)).same, true);
  });

  await t.step("50 calls at once, all over one connection", async () => {
    assert.deepEqual(await client.call("parallel", 50), { answered: 50 });
    await daemon.waitForMetric("mtlsd_connections_total", 1);
  });

  await t.step("a client without a certificate calls nothing", async () => {
    const anonymous = new GrpcClient(testBed, daemon);
    assert.equal((await anonymous.call("unary", "hello")).code, STATUS.unavailable);
  });

  await t.step("a client that offers other protocols gets the alert for it", async () => {
    const { ca } = testBed.files;
    const identity = ["-CAfile", ca, "-cert", cert, "-key", key];
    await using other = sClient(daemon.port, ...identity, "-alpn", "foo");
    await other.says(/alert no application protocol|alert number 120/);
    assert.notEqual(await other.ends(), 0);
  });

  await t.step("the server's GOAWAY passes: what was begun is completed", async () => {
    const said = (words: string) => ({ said: words });
    assert.deepEqual(await client.call("chat", "before"), said("before"));
    await backend.endInput();
    await until(async () => (await client.call("ready")).ready === false);
    assert.deepEqual(await client.call("chat", "after"), said("after"));
    assert.doesNotMatch(backend.said, /drained/);
    // Where nothing listens any more a new call fails.
    assert.equal((await client.call("unary", "anybody there?")).code, STATUS.unavailable);
    assert.deepEqual(await client.call("chat", "at last"), said("at last"));
    assert.deepEqual(await client.call("bye"), { over: true });
    await backend.says(/^drained$/m);
    assert.equal(await backend.ends(), 0);
    await daemon.waitForMetric(closedSeries("completed"), 1);
  });

  await t.step("nothing is left open", async () => {
    await daemon.waitForMetric("mtlsd_active_connections", 0);
    await assertAllClosesCounted(daemon);
  });
});
