/**
 * What Deno reads of its own environment and does without a grant, as the threat model says, and that
 * the way in which the units start it keeps it from that.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { example, type Outcome, run, startOf } from "../support/deploy/examples.ts";
import { readUnit } from "../support/deploy/unit.ts";

/** A program that has no grant, and shows what it may do all the same. */
const PROGRAM = `
const may = Deno.permissions.querySync({ name: "read", path: "/etc/passwd" }).state;
Deno.stdout.writeSync(new TextEncoder().encode("program: " + may + "\\n"));`;

type Scene = { readonly dir: string; readonly program: string };

async function inScene<T>(body: (scene: Scene) => Promise<T>): Promise<T> {
  const dir = await Deno.makeTempDir({ prefix: "mtlsd-environment-" });
  try {
    const program = join(dir, "program.ts");
    await Deno.writeTextFile(program, PROGRAM);
    return await body({ dir, program });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Runs the program under variables of another program: as it is, or as the unit starts Deno. */
async function start(
  { dir, program }: Scene,
  env: Record<string, string>,
  guarded: boolean,
): Promise<Outcome> {
  const words = readUnit(await example("systemd", "mtlsd-server.service"))
    .words("Service", "ExecStart");
  const { deno } = startOf(words);
  const prefix = words.slice(0, words.indexOf(deno))
    .map((word) => word.replace(/^DENO_DIR=.*/, `DENO_DIR=${join(dir, "cache")}`));
  return await run("timeout", [
    "60",
    ...(guarded ? prefix : []),
    ...[Deno.execPath(), "run", "--no-prompt", program],
  ], { env: { NO_COLOR: "1", ...env } });
}

Deno.test("environment: NODE_OPTIONS runs a file, and not in a unit", () =>
  inScene(async (scene) => {
    const path = join(scene.dir, "evil.cjs");
    await Deno.writeTextFile(path, 'console.log("somebody else ran");');
    const env = { NODE_OPTIONS: `--require ${path}` };
    assert.match((await start(scene, env, false)).stdout, /somebody else ran/);
    assert.equal((await start(scene, env, true)).stdout, "program: prompt\n");
  }));

Deno.test("environment: what is not in the cache cannot be loaded where the units start Deno", () =>
  inScene(async ({ dir }) => {
    const words = readUnit(await example("systemd", "mtlsd-server.service"))
      .words("Service", "ExecStart");
    assert.ok(words.includes("--cached-only"), words.join(" "));
    const program = join(dir, "import.ts");
    for (const specifier of ["npm:left-pad@1.3.0", "https://esm.sh/left-pad@1.3.0"]) {
      await Deno.writeTextFile(
        program,
        `
        const [scheme, rest] = ${JSON.stringify(specifier.split(":"))};
        await import(scheme + ":" + rest).catch((error) => console.log(String(error)));`,
      );
      const { stdout } = await run(
        Deno.execPath(),
        ["run", "--no-prompt", "--no-config", "--cached-only", program],
        { env: { NO_COLOR: "1", DENO_DIR: join(dir, "empty") } },
      );
      assert.match(stdout, /not found in cache/, specifier);
    }
  }));

Deno.test("environment: a permission broker decides over grants, and not in a unit", () =>
  inScene(async (scene) => {
    await Deno.writeTextFile(
      scene.program,
      `let may = true;
try { Deno.readTextFileSync("/etc/passwd"); } catch { may = false; }
Deno.stdout.writeSync(new TextEncoder().encode("program: " + may + "\\n"));`,
    );
    const path = join(scene.dir, "broker.sock");
    using listener = Deno.listen({ transport: "unix", path });
    const serving = (async () => {
      for await (const conn of listener) {
        const writer = conn.writable.getWriter();
        for await (const line of conn.readable.pipeThrough(new TextDecoderStream())) {
          const answer = JSON.stringify({ id: JSON.parse(line).id, result: "allow" });
          await writer.write(new TextEncoder().encode(`${answer}\n`));
        }
      }
    })();
    const env = { DENO_PERMISSION_BROKER_PATH: path };
    assert.equal((await start(scene, env, false)).stdout, "program: true\n");
    assert.equal((await start(scene, env, true)).stdout, "program: false\n");
    listener.close();
    await serving;
  }));

Deno.test("environment: OTEL_DENO sends what the program says elsewhere, and not in a unit", () =>
  inScene(async (scene) => {
    let calls = 0;
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => {
        calls++;
        return new Response();
      },
    );
    await Deno.writeTextFile(scene.program, 'console.log("hello");');
    const env = {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.addr.port}`,
    };
    await start(scene, env, true);
    assert.equal(calls, 0);
    await start(scene, env, false);
    assert.ok(calls > 0);
  }));

Deno.test("environment: a handle listens without a grant, at a port that chance picks", () =>
  inScene(async (scene) => {
    await Deno.writeTextFile(
      scene.program,
      `import process from "node:process";
const { TCP } = process.binding("tcp_wrap");
const handle = new TCP(1);
const status = handle.listen(5);
const out = {};
handle.getsockname(out);
Deno.stdout.writeSync(
  new TextEncoder().encode(JSON.stringify([status, out.address, out.port > 0])),
);
Deno.exit();`,
    );
    // No variable plays a part in that.
    for (const guarded of [false, true]) {
      assert.equal((await start(scene, {}, guarded)).stdout, '[0,"0.0.0.0",true]');
    }
  }));
