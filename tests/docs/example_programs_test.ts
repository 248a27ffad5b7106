/**
 * The example programs by themselves: their flags, and what they say when something is wrong.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT } from "../support/daemon.ts";
import { Process } from "../support/openssl.ts";
import { closeQuietly, lineBackend, readAll, split, writeAll } from "../support/peers.ts";
const PROGRAMS = { "echo server": "echo_server.ts", "test client": "test_client.ts" } as const;

type ProgramName = keyof typeof PROGRAMS;

function wordsOf(program: ProgramName, args: readonly string[], net: string): readonly string[] {
  return ["run", "--no-prompt", net, join(ROOT, "examples", PROGRAMS[program]), ...args];
}

/** Starts a program; resolves once it says where it listens. */
async function start(program: ProgramName, ...args: readonly string[]) {
  const words = wordsOf(program, args, "--allow-net");
  const process = new Process(Deno.execPath(), words, { NO_COLOR: "1" });
  const [, address = ""] = await process.says(/listening on (\S+:\d+)/);
  return { process, address, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

/** Runs a program that is to end by itself. */
async function run(program: ProgramName, args: readonly string[], net = "--allow-net") {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...wordsOf(program, args, net)],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

async function say(address: string, message: string): Promise<string> {
  const conn = await Deno.connect(split(address));
  try {
    await writeAll(conn, new TextEncoder().encode(message));
    await conn.closeWrite();
    return new TextDecoder().decode(await readAll(conn));
  } finally {
    closeQuietly(conn);
  }
}

Deno.test("example programs: flags are taken as Go takes them", async (t) => {
  for (
    const args of [
      ["-addr", "127.0.0.1:0"],
      ["--addr", "127.0.0.1:0"],
      ["-addr=127.0.0.1:0"],
      ["--addr=localhost:0"],
      ["-addr", "127.0.0.1:99", "-addr", "127.0.0.1:0"], // The last one counts.
    ]
  ) {
    await t.step(args.join(" "), async () => {
      await using echo = await start("echo server", ...args);
      assert.equal(await say(echo.address, "a\nb"), "echo: a\necho: b");
    });
  }
  await t.step("every interface", async () => {
    await using echo = await start("echo server", "-addr", ":0");
    assert.match(echo.address, /^0\.0\.0\.0:/);
    assert.equal(await say(echo.address.replace("0.0.0.0", "127.0.0.1"), "a"), "echo: a");
  });
  await t.step("both of the test client, in any order", async () => {
    await using backend = lineBackend();
    for (const tunnel of [`127.0.0.1:${backend.port}`, `:${backend.port}`]) {
      await using client = await start(
        "test client",
        `-tunnel=${tunnel}`,
        "--listen",
        "127.0.0.1:0",
      );
      assert.equal(await say(client.address, "a\n"), "echo: a\n");
    }
  });
});

Deno.test("example programs: -help says what there is", async () => {
  for (const flag of ["-h", "-help", "--help"]) {
    const { code, stdout, stderr } = await run("test client", [flag]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /-listen HOST:PORT {2}.*default 127\.0\.0\.1:7070/);
    assert.match(stdout, /-tunnel HOST:PORT {2}.*default 127\.0\.0\.1:9080/);
  }
});

Deno.test("example programs: wrong usage is one line that says what is right, and status 2", async (t) => {
  const address = 'must be host:port, such as "127\\.0\\.0\\.1:8080"';
  for (
    const [args, words] of [
      [["-adr", "127.0.0.1:1"], 'Cannot use unknown flag "-adr": write "-addr HOST:PORT"'],
      [["-adr=1"], 'Cannot use unknown flag "-adr": write "-addr HOST:PORT"'],
      [["-addr"], 'Cannot use "-addr" without a value'],
      [["-addr="], 'Cannot use "-addr" without a value'],
      [["127.0.0.1:8080"], 'Cannot use "127.0.0.1:8080": write "-addr HOST:PORT"'],
      [["-addr", "127.0.0.1:0", "more"], 'Cannot use "more": write "-addr HOST:PORT"'],
      [["-"], 'Cannot use "-"'],
      [["---addr", "x"], 'Cannot use "---addr"'],
      [[""], 'Cannot use ""'],
      [["-addr", "8080"], `-addr: Cannot use "8080": ${address}`],
      [["-addr", "127.0.0.1"], `-addr: Cannot use "127.0.0.1": ${address}`],
      [["-addr", "127.0.0.1:65536"], `-addr: Cannot use "127.0.0.1:65536": ${address}`],
      [["-addr", "127.0.0.1:http"], `-addr: Cannot use "127.0.0.1:http": ${address}`],
      [["-addr", "::1:80"], `-addr: Cannot use "::1:80": ${address}`],
      [["-addr", "a b:80\u0007"], `-addr: Cannot use "a b:80\\\\u0007": ${address}`],
    ] as const
  ) {
    await t.step(args.join(" "), async () => {
      const { code, stdout, stderr } = await run("echo server", args);
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(stderr, new RegExp(`^echo server: ${words}.*\\n$`));
    });
  }
});

Deno.test("example programs: what cannot be listened on is one line", async (t) => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const busy = `127.0.0.1:${taken.addr.port}`;
  await t.step("a port in use", async () => {
    for (
      const [program, flag] of [["echo server", "-addr"], ["test client", "-listen"]] as const
    ) {
      const { code, stderr } = await run(program, [flag, busy]);
      const words = `Cannot listen on ${busy}: the port is in use: choose another with ${flag}`;
      assert.deepEqual([code, stderr], [1, `${program}: ${words}\n`]);
    }
  });
  await t.step("an address of another machine", async () => {
    const { code, stderr } = await run("echo server", ["-addr", "192.0.2.1:8080"]);
    assert.equal(code, 1);
    assert.match(stderr, /^echo server: Cannot listen on 192\.0\.2\.1:8080: .+\n$/);
  });
  await t.step("without the permission", async () => {
    const { code, stderr } = await run(
      "echo server",
      ["-addr", "127.0.0.1:0"],
      "--allow-net=[::1]",
    );
    const words = 'Cannot listen on 127.0.0.1:0: add --allow-net=127.0.0.1:0 to "deno run"';
    assert.deepEqual([code, stderr], [2, `echo server: ${words}\n`]);
  });
});

Deno.test("example programs: a tunnel that is not there ends that connection, and not the program", async () => {
  let tunnel: string;
  {
    await using backend = lineBackend();
    tunnel = backend.address;
  }
  await using client = await start("test client", "-listen=127.0.0.1:0", `-tunnel=${tunnel}`);
  for (let calls = 1; calls <= 2; calls++) {
    const conn = await Deno.connect(split(client.address));
    assert.equal((await readAll(conn)).length, 0);
    closeQuietly(conn);
  }
  await client.process.says(
    new RegExp(`^test client: Cannot connect to ${tunnel}: Connection refused.*$`, "m"),
  );
});
