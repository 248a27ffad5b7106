/**
 * Redis through client and server mode: small commands, long waits, many at once and one that is big.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { absent } from "../support/deploy/examples.ts";
import { ownAddress, sh, split } from "../support/peers.ts";
import { output, Program } from "../support/program.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { assertAllClosesCounted } from "../support/metrics.ts";

const ignore = absent("redis-server", "redis-server") || absent("redis-cli", "redis-tools");

/** A server that keeps nothing. */
async function redis(testBed: TestBed): Promise<string> {
  const address = ownAddress();
  const { hostname, port } = split(address);
  const settings = { bind: hostname, port, dir: testBed.dir, save: "", appendonly: "no" };
  const words = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]);
  await testBed.use(new Program("redis-server", words)).serves(address);
  return address;
}

function clientArgs(address: string): readonly string[] {
  const { hostname, port } = split(address);
  return ["-h", hostname, "-p", String(port)];
}

/** One command in a connection of its own. */
async function ask(address: string, ...words: readonly string[]): Promise<string> {
  return (await output("redis-cli", [...clientArgs(address), ...words])).trim();
}

Deno.test({ name: "Redis through the tunnel", ignore }, async (t) => {
  await using testBed = await TestBed.create();
  const address = await redis(testBed);
  const { server, client } = await testBed.tunnel(address);
  const through = client.listen;

  await t.step("SET and GET, and an error as the server words it", async () => {
    assert.equal(await ask(through, "set", "greeting", "hello, world"), "OK");
    assert.equal(await ask(through, "get", "greeting"), "hello, world");
    assert.match(await ask(through, "incr", "greeting"), /not an integer/);
  });

  await t.step("10,000 commands in one go, all answered", async () => {
    const commands = Array.from({ length: 10_000 }, (_, i) => `SET key:${i} value:${i}\r\n`);
    await testBed.write("commands", commands.join(""));
    const cli = `redis-cli ${clientArgs(through).join(" ")} --pipe < commands`;
    const { code, stdout, stderr } = await sh(cli, { cwd: testBed.dir });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^errors: 0, replies: 10000$/m);
    assert.equal(await ask(through, "get", "key:9999"), "value:9999");
  });

  await t.step("what one client publishes two others hear, in order", async () => {
    await using first = new Program("redis-cli", [...clientArgs(through), "subscribe", "news"]);
    await using second = new Program("redis-cli", [...clientArgs(through), "psubscribe", "n*"]);
    await first.says(/^subscribe\nnews\n1$/m);
    await second.says(/^psubscribe\nn\*\n1$/m);
    for (const words of ["one", "two"]) {
      assert.equal(await ask(through, "publish", "news", words), "2");
    }
    await first.says(/message\nnews\none\nmessage\nnews\ntwo$/m);
    await second.says(/pmessage\nn\*\nnews\none\npmessage\nn\*\nnews\ntwo$/m);
  });

  await t.step("BLPOP waits until another client pushes", async () => {
    await using waiting = new Program("redis-cli", [...clientArgs(through), "blpop", "queue", "0"]);
    await until(async () => /blocked_clients:1\b/.test(await ask(through, "info", "clients")), {
      every: 50,
    });
    assert.equal(waiting.words, "");
    await ask(through, "rpush", "queue", "at last");
    await waiting.says(/^queue\nat last$/m);
    assert.equal(await waiting.ends(), 0);
  });

  await t.step("a value of 50 MB each way, by its hash", async () => {
    const size = 50_000_000;
    await Deno.writeFile(`${testBed.dir}/sent`, randomBytes(size));
    const cli = `redis-cli ${clientArgs(through).join(" ")}`;
    // What redis-cli prints ends in a line break of its own.
    const { code, stdout, stderr } = await sh(
      `set -eo pipefail; ${cli} -x set big < sent; ${cli} strlen big
      ${cli} get big | head -c ${size} | sha256sum; sha256sum < sent`,
      { cwd: testBed.dir, seconds: 60 },
    );
    assert.equal(code, 0, stderr);
    const [set, length, returned, sent] = stdout.trim().split("\n");
    assert.deepEqual([set, length, returned], ["OK", String(size), sent]);
  });

  await t.step("nothing is left open", async () => {
    for (const daemon of [server, client]) {
      await daemon.waitForMetric("mtlsd_active_connections", 0);
      await assertAllClosesCounted(daemon);
    }
  });
});
