import assert from "node:assert/strict";
import type { UnixAddress } from "../../../src/config/config.ts";
import { dial } from "../../../src/net/mod.ts";
import { until } from "../../support/wait.ts";
import { DIAL, listenAt, SocketDir } from "../../support/unix.ts";

const NET = import.meta.resolve("../../../src/net/mod.ts");

/** Listens, and for a word on its standard input says what became of it; then connects to itself. */
const PROGRAM = `
const { dial, listen } = await import(${JSON.stringify(NET)});
const [what, path] = Deno.args;
const address = { kind: "unix", path };
const options = { timeout: 10_000, socketMode: 0o600 };
try {
  if (what === "dial") {
    (await dial(address, options)).close();
  } else {
    const listener = await listen(address, options);
    console.log("listening");
    for await (const _ of Deno.stdin.readable) { /* until it ends */ }
    const [near, far] = await Promise.all([dial(address, options), listener.accept()]);
    near.close();
    far.close();
    listener.close();
  }
  console.log("done");
} catch (error) {
  console.log(error.reason + ": " + error.message);
}
`;

/** Runs it in a process of its own. */
class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #text = "";

  constructor(place: SocketDir, what: "listen" | "dial", grants: readonly string[]) {
    const file = `${place.dir}/program.ts`;
    Deno.writeTextFileSync(file, PROGRAM);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-config", ...grants, file, what, place.at().path],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#text += text;
    }
  }

  /** The first line that it says. */
  async first(): Promise<string> {
    await until(() => this.#text.includes("\n"), { within: 60_000 });
    return this.#text.split("\n")[0] ?? "";
  }

  /** Lets one that listens go on, and gives what it said. */
  async said(): Promise<string[]> {
    await this.#end();
    return this.#text.trim().split("\n");
  }

  async #end(): Promise<void> {
    // One that listens waits for it; the others may have gone already.
    await this.#child.stdin.close().catch(() => {});
    await this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await this.#child.status;
  }
}

function grants(place: SocketDir, suffix = ""): [net: string, read: string, write: string] {
  const { path } = place.at();
  const files = suffix === "" ? path : `${path},${path}${suffix}`;
  return [`--allow-net=unix:${path}`, `--allow-read=${files}`, `--allow-write=${files}`];
}

Deno.test("unix: what listening takes, and that each part is needed", async () => {
  using place = new SocketDir();
  await place.leave();
  const needed = grants(place, ".lock");
  {
    await using program = new Program(place, "listen", needed);
    assert.deepEqual(await program.said(), ["listening", "done"]);
    assert.deepEqual(place.names, ["program.ts"]);
  }
  const message = `not permitted: Cannot listen on "unix:${place.at().path}": not permitted: add ${
    needed.join(" ")
  }`;
  for (const without of [...needed.keys(), "lock"]) {
    const given = without === "lock" ? grants(place) : needed.filter((_, at) => at !== without);
    await using program = new Program(place, "listen", given);
    assert.deepEqual(await program.said(), [message], String(without));
  }
  assert.deepEqual(place.names, ["program.ts"], "nothing is left behind");
});

Deno.test("unix: what connecting takes, and that each part is needed", async () => {
  using place = new SocketDir();
  using listener = Deno.listen({ transport: "unix", path: place.at().path });
  const needed = grants(place);
  {
    await using program = new Program(place, "dial", needed);
    assert.deepEqual(await program.said(), ["done"]);
    (await listener.accept()).close();
  }
  const message = `not permitted: Cannot connect to "unix:${place.at().path}": not permitted: add ${
    needed.join(" ")
  }`;
  for (const without of needed.keys()) {
    await using program = new Program(place, "dial", needed.filter((_, at) => at !== without));
    assert.deepEqual(await program.said(), [message], String(without));
  }
});

Deno.test("unix: of several processes that start at once over a stale socket one listens", async () => {
  using place = new SocketDir();
  await place.leave();
  await using stack = new AsyncDisposableStack();
  const programs = Array.from(
    { length: 4 },
    () => stack.use(new Program(place, "listen", grants(place, ".lock"))),
  );
  // The others have given up before the one that listens is told to go on.
  const first = await Promise.all(programs.map((program) => program.first()));
  assert.equal(first.filter((line) => line === "listening").length, 1, first.join("\n"));
});

const reach = (address: UnixAddress) => dial(address, DIAL);

/** No file of this name is there, nor its directory. */
const DEVICE = "/dev/none-of-that-name/s";

for (const [what, attempt] of [["listen on", listenAt], ["connect to", reach]] as const) {
  Deno.test({
    name: `unix: what no grant reaches is not asked to be granted: to ${what} a path in /dev`,
    permissions: {
      net: [`unix:${DEVICE}`],
      read: [DEVICE, `${DEVICE}.lock`],
      write: [DEVICE, `${DEVICE}.lock`],
    },
    fn: async () => {
      const message = `Cannot ${what} "unix:${DEVICE}": not permitted: Deno keeps /dev, /proc ` +
        "and /sys to --allow-all: use another directory";
      await assert.rejects(attempt({ kind: "unix", path: DEVICE }), {
        reason: "not permitted",
        message,
      });
    },
  });
}
