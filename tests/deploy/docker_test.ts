/**
 * The image of `examples/docker`. It cannot be built where no registry can be reached, so what can be
 * known without is tested: what it copies is there and is enough, its flags are the grants of its
 * config, it does not run as root, docker-compose takes the composition, and the daemons that it is made of
 * carry a message through.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { ROOT, startDaemon } from "../support/daemon.ts";
import { echoBackend } from "../support/peers.ts";
import { TestBed } from "../support/testbed.ts";
import { HeldPlain } from "../support/deploy/held_plain.ts";
import {
  absent,
  assertGranted,
  at,
  example,
  examplePath,
  listAt,
  localConfig,
  portOf,
  run,
  seconds,
  startOf,
  textAt,
  textsAt,
} from "../support/deploy/examples.ts";

type Instruction = { readonly name: string; readonly rest: string };

/** The instructions of the Dockerfile, each on one line. */
async function instructions(): Promise<readonly Instruction[]> {
  const text = (await example("docker", "Dockerfile")).replace(/^#.*\n/gm, "");
  return text.replace(/\\\n\s*/g, "").split("\n").filter((line) => line !== "").map((line) => {
    const [, name = "", rest = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    assert.notEqual(name, "", line);
    return { name, rest };
  });
}

function all(found: readonly Instruction[], name: string): readonly string[] {
  return found.filter((instruction) => instruction.name === name).map(({ rest }) => rest);
}

/** A list of words in JSON. */
function words(rest: string | undefined): readonly string[] {
  return textsAt({ list: JSON.parse(rest ?? "") }, "list");
}

/** What is copied out of the repository. */
async function copied(): Promise<readonly (readonly [from: string, to: string])[]> {
  const lines = all(await instructions(), "COPY").filter((rest) => !rest.startsWith("--from="));
  return lines.flatMap((rest) => {
    const paths = rest.split(" ");
    const to = paths.pop() ?? "";
    return paths.map((from) => [from, to] as const);
  });
}

Deno.test("docker: the image is made of the Deno that the project is made for", async () => {
  const found = await instructions();
  const bases = all(found, "FROM").map((rest) => rest.split(" ")[0]);
  const { deno } = Deno.version;
  assert.deepEqual(bases, [
    `denoland/deno:${deno}`,
    "debian:12-slim",
    `denoland/deno:distroless-${deno}`,
  ]);
  // The last one has no program but Deno.
  assert.ok(all(found, "COPY").includes("--from=env /usr/bin/env /usr/bin/env"));
});

Deno.test("docker: what it copies is there, and is let into the context, and nothing else is", async () => {
  const ignored = (await example("docker", "Dockerfile.dockerignore")).split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const [first, ...admitted] = ignored;
  assert.equal(first, "*");
  const from = (await copied()).map(([path]) => path.replace(/\/$/, ""));
  for (const path of from) assert.ok(await Deno.stat(join(ROOT, path)), path);
  assert.deepEqual(admitted.toSorted(), from.map((path) => `!${path}`).toSorted());
});

Deno.test("docker: what it copies is all that the programs need, at the place where they run", async () => {
  const found = await instructions();
  const app = await Deno.makeTempDir({ prefix: "mtlsd-image-" });
  try {
    for (const [from, to] of await copied()) {
      const target = join(app, to, to.endsWith("./") ? from.split("/").at(-1) ?? "" : "");
      await Deno.mkdir(dirname(target), { recursive: true });
      const copy = await run("cp", [
        "-r",
        join(ROOT, from, ...(from.endsWith("/") ? ["."] : [])),
        target,
      ]);
      assert.equal(copy.code, 0, copy.stderr);
    }
    const [build = ""] = all(found, "RUN");
    const [, dir, command = ""] = /^DENO_DIR=(\S+) deno (.*)$/.exec(build) ?? [];
    assert.ok(all(found, "ENV")[0]?.includes(`DENO_DIR=${dir} `));
    assert.ok(all(found, "COPY").includes(`--from=build ${dir}/ ${dir}/`));
    const options = { cwd: app, env: { NO_COLOR: "1" } };
    const cached = await run(Deno.execPath(), command.split(" "), options);
    assert.equal(cached.code, 0, cached.stderr);
    const entry = startOf(words(all(found, "ENTRYPOINT")[0])).rest;
    const said = await run(Deno.execPath(), [...entry, "version"], options);
    assert.match(said.stdout, /^mtlsd \d/, said.stderr);
    // Built and run in one place: what is transpiled is found by its path.
    assert.deepEqual(all(found, "WORKDIR"), ["/app", "/app"]);
  } finally {
    await Deno.remove(app, { recursive: true });
  }
});

Deno.test("docker: the image grants what its config needs, has no root, and exposes its ports", async () => {
  const found = await instructions();
  const text = await example("docker", "server.yaml");
  const command = [...words(all(found, "ENTRYPOINT")[0]), ...words(all(found, "CMD")[0])];
  const { deno, rest } = startOf(command);
  assert.deepEqual([deno, ...rest.slice(0, 2)], ["/bin/deno", "run", "--cached-only"]);
  assertGranted(command, text, "/etc/mtlsd/server.yaml");
  assert.deepEqual(all(found, "USER"), ["65532:65532"]);
  const config: unknown = parse(text);
  const addresses = [["listen"], ["health", "listen"], ["metrics", "listen"]]
    .map((keys) => textAt(config, ...keys));
  const open = addresses.filter((address) => !address.startsWith("127.")).map(portOf);
  assert.deepEqual(all(found, "EXPOSE"), [open.join(" ")]);
});

Deno.test("docker: the check of health asks the probe that the config serves, with a grant for it", async () => {
  const found = await instructions();
  const [, list = ""] = / CMD (\[.*\])$/.exec(all(found, "HEALTHCHECK")[0] ?? "") ?? [];
  const command = words(list);
  const address = textAt(parse(await example("docker", "server.yaml")), "health", "listen");
  assert.ok(command.includes(`--allow-net=${address}`), list);
  assert.equal(command.at(-1), `http://${address}/healthz`);
  assert.equal(command.filter((word) => word.startsWith("--allow")).length, 1);
  assert.deepEqual(
    startOf(command).variables,
    startOf(words(all(found, "ENTRYPOINT")[0])).variables,
  );
  // The client has its probes at the same place, so the image's check is right for it too.
  assert.equal(textAt(parse(await example("docker", "client.yaml")), "health", "listen"), address);
});

Deno.test("docker: the daemons carry a message, and the check of health tells dead from alive", async () => {
  await using testBed = await TestBed.create();
  const { files } = testBed;
  const backend = testBed.use(echoBackend());
  const start = async (mode: string, target: string, tls: Record<string, string>) => {
    const config = localConfig(await example("docker", `${mode}.yaml`), { target, tls });
    return testBed.use(await startDaemon({ dir: testBed.dir, config }));
  };
  const { ca } = files;
  const server = await start("server", backend.address, {
    cert: files.server,
    key: files.serverKey,
    ca,
  });
  const client = await start("client", server.listen, {
    cert: files.client,
    key: files.clientKey,
    ca,
  });
  await using held = await HeldPlain.open(client.listen);
  await held.echo("hello");

  const url = `${server.healthUrl}/healthz`;
  const check = () =>
    run(Deno.execPath(), [
      "run",
      "--no-prompt",
      `--allow-net=${new URL(url).host}`,
      examplePath("docker", "healthcheck.ts"),
      url,
    ]);
  assert.deepEqual(await check(), { code: 0, stdout: '{"status":"alive"}', stderr: "" });
  await held[Symbol.asyncDispose]();
  assert.equal(await server.stop(), 0);
  const { code, stderr } = await check();
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot ask http:/);
});

Deno.test({
  name: "docker: docker-compose takes the composition",
  ignore: absent("docker-compose", "docker-compose"),
  async fn() {
    const path = examplePath("docker", "compose.yaml");
    const { code, stdout, stderr } = await run("docker-compose", ["-f", path, "config"]);
    assert.equal(code, 0, stderr);
    const services = Object.keys(at(parse(stdout), "services") as object);
    assert.deepEqual(services.toSorted(), ["app", "backend", "client", "server"]);
    const wrong = (await Deno.readTextFile(path)).replace("read_only:", "readonly:");
    const refused = await run("docker-compose", ["-f", "-", "config"], { stdin: wrong });
    assert.notEqual(refused.code, 0);
  },
});

Deno.test("docker: the composition fits its configs", async () => {
  const compose: unknown = parse(await example("docker", "compose.yaml"), { merge: true });
  const client = at(compose, "services", "client");
  const command = [...textsAt(client, "entrypoint"), ...textsAt(client, "command")];
  assertGranted(command, await example("docker", "client.yaml"), "/etc/mtlsd/client.yaml");
  const config: unknown = parse(await example("docker", "client.yaml"));
  const server: unknown = parse(await example("docker", "server.yaml"));
  assert.equal(textAt(config, "target"), `server:${portOf(textAt(server, "listen"))}`);
  assert.ok(textsAt(client, "ports").every((port) => port.startsWith("127.0.0.1:")));

  for (const name of ["server", "backend", "client", "app"]) {
    const service = at(compose, "services", name);
    assert.equal(at(service, "read_only"), true, name);
    assert.deepEqual(textsAt(service, "cap_drop"), ["ALL"], name);
    assert.deepEqual(textsAt(service, "security_opt"), ["no-new-privileges:true"], name);
    for (const volume of textsAt(service, "volumes")) {
      const [from = "", , mode] = volume.split(":");
      assert.equal(mode, "ro", volume);
      // `deno task certs` makes these.
      if (from !== "../../testdata/certs") {
        assert.ok(await Deno.stat(examplePath("docker", from)), from);
      }
    }
    // The default of proxy.shutdown_timeout.
    if (name === "server" || name === "client") {
      assert.ok(seconds(textAt(service, "stop_grace_period")) > 30);
    }
  }

  // The plaintext sides are the loopback that two share.
  for (
    const [name, mate, key] of [["backend", server, "target"], ["app", config, "listen"]] as const
  ) {
    const service = at(compose, "services", name);
    assert.equal(
      textAt(service, "network_mode"),
      `service:${name === "app" ? "client" : "server"}`,
    );
    const [net = ""] = textsAt(service, "command").filter((word) =>
      word.startsWith("--allow-net=")
    );
    assert.ok(net.slice("--allow-net=".length).split(",").includes(textAt(mate, key)), net);
    const program = textsAt(service, "command").find((word) => word.startsWith("/examples/")) ?? "";
    assert.ok(await Deno.stat(examplePath(program.slice("/examples/".length))), program);
    assert.ok(listAt(service, "volumes").includes("..:/examples:ro"));
  }
});
