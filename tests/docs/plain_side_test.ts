/**
 * The chapters on UNIX sockets, the PROXY protocol, the environment and editors: each config is started
 * and carries bytes, each command is run.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseHeader } from "../../src/proxy_protocol/parse.ts";
import { ROOT } from "../support/daemon.ts";
import { attempt, Backend, echoBackend, writeAll } from "../support/peers.ts";
import { section } from "../support/readme.ts";
import { Clone, loopback } from "../support/walkthrough.ts";
import { Chapter, command, furnish, httpBackend } from "../support/chapter.ts";
import { curlSays } from "../support/symptoms.ts";

/** A backend on a UNIX socket that sends back what it is sent. */
function unixBackend(path: string): Disposable {
  const listener = Deno.listen({ transport: "unix", path });
  void (async () => {
    for await (const conn of listener) void conn.readable.pipeTo(conn.writable).catch(() => {});
  })().catch(() => {});
  return { [Symbol.dispose]: () => listener.close() };
}

Deno.test("readme, UNIX sockets: from one to another, over TLS", async () => {
  await using chapter = await Chapter.create();
  for (const dir of ["run/mtlsd", "run/app"]) {
    await Deno.mkdir(join(chapter.dir, dir), { recursive: true });
  }
  chapter.use(unixBackend(join(chapter.dir, "run/app/app.sock")));
  const server = await chapter.start("unix-sockets/server.yaml");
  const client = await chapter.start("unix-sockets/client.yaml", {
    changes: { "db.example.com:8443": server.listen },
  });
  const path = join(chapter.dir, "run/mtlsd/db.sock");
  const { isSocket, mode } = await Deno.lstat(path);
  assert.ok(isSocket);
  assert.equal((mode ?? 0) & 0o777, 0o660);
  const said = await chapter.run("through the socket");
  assert.deepEqual([said.code, said.stdout], [0, "hello\n"], said.stderr);
  assert.equal(await client.stop(), 0);
  assert.deepEqual([...Deno.readDirSync(join(chapter.dir, "run/mtlsd"))], []);
});

Deno.test("readme, PROXY protocol: the target learns who called", async () => {
  await using chapter = await Chapter.create();
  const headers: ReturnType<typeof parseHeader>[] = [];
  const backend = chapter.use(
    new Backend(async (conn) => {
      const buffer = new Uint8Array(8192);
      const length = await conn.read(buffer) ?? 0;
      headers.push(parseHeader(buffer.subarray(0, length)));
      await writeAll(conn, new TextEncoder().encode("welcome"));
    }),
  );
  const daemon = await chapter.start("proxy-protocol/to-target.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
  });
  assert.equal(await chapter.ask(8443, "client"), "welcome");
  const [header] = headers;
  assert.ok(header?.kind === "header" && header.proxied !== undefined);
  const { fields } = await daemon.waitForLog("listener: accepted connection");
  assert.equal(`${header.proxied.source.host}:${header.proxied.source.port}`, fields.remote);
});

Deno.test("readme, PROXY protocol: the balancer is believed, no other source may connect", async () => {
  await using chapter = await Chapter.create();
  // What connects to loopback comes from 127.0.0.1, unless it says otherwise.
  const daemon = await chapter.start("proxy-protocol/from-balancer.yaml", {
    changes: {
      "127.0.0.1:8080": chapter.use(httpBackend("welcome")).address,
      "10.0.0.7": "127.0.0.1",
    },
  });
  const asking = { port: 8443, identity: "client" };
  const balancer = { ...asking, curl: "--haproxy-protocol" };
  assert.equal(await curlSays(chapter, balancer), "welcome");
  await daemon.waitForLog("listener: accepted connection", { via: /^127\.0\.0\.1:/ });
  assert.notEqual(await curlSays(chapter, asking), "welcome");
  await daemon.waitForLog("listener: refused PROXY header", { reason: "missing" });
  const elsewhere = `--interface ${chapter.host} --haproxy-protocol`;
  assert.notEqual(await curlSays(chapter, { ...asking, curl: elsewhere }), "welcome");
  await daemon.waitForLog("listener: denied connection", { reason: "unlisted" });
  using peer = await Deno.connect({ hostname: chapter.host, port: 8443 });
  await peer.write(new TextEncoder().encode("PROXY TCP4 192.0.2.7 192.0.2.8 4711 8443\r\n"));
  await peer.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  await peer.closeWrite();
  await daemon.waitForLog("listener: handshake failed", { remote: "192.0.2.7:4711" });
});

Deno.test("readme, environment: the variables win, and a typo is an error", async () => {
  await using chapter = await Chapter.create();
  await using clone = await Clone.make((text) => text.replaceAll("127.0.0.1", chapter.host));
  await furnish(clone, chapter, "reference/container.yaml");
  const backend = chapter.use(echoBackend());
  const path = join(clone.dir, "container.yaml");
  const text = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, text.replace(`${chapter.host}:8080`, backend.address));
  await using daemon = clone.start(command("environment"));
  await daemon.waitFor("certstore: watching files for changes");
  assert.equal(await chapter.ask(9443, "client", "by its variable"), "by its variable");
  const old = { ...chapter.as("client", 9443), maxVersion: "TLSv1.2" } as const;
  assert.equal(await attempt(old), "", "TLS 1.2");
  const typo = command("environment").replace("MTLSD_TLS_MIN_VERSION=TLS1.3", "MTLSD_TLS_CRT=x");
  const said = await clone.run(`${typo} || exit $?`);
  assert.equal(said.code, 2);
  // The clone has the client's key beside the server's, which "grants" mentions.
  const [line = ""] = said.stderr.split("\n").filter((line) => !line.includes(": warning: "));
  assert.ok(section("Environment").includes(line) && line.length > 40, said.stderr);
});

Deno.test("readme, environment: nothing is looked at without the grant", async () => {
  await using chapter = await Chapter.create();
  const backend = chapter.use(echoBackend());
  const daemon = await chapter.start("reference/container.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
    env: { MTLSD_LISTEN: "no address at all" },
  });
  assert.equal(daemon.listen, `${chapter.host}:8443`);
  assert.equal(await chapter.ask(8443, "client"), "hello");
});

Deno.test("readme, several targets: the grants with a network besides are flags of Deno", async () => {
  await using chapter = await Chapter.create();
  const others = [1, 2].map(() => `${loopback()}:8443`);
  await using clone = await Clone.make((text) => text);
  await furnish(clone, chapter, "targets/servers.yaml");
  const path = join(clone.dir, "servers.yaml");
  const [one = "", other = ""] = others;
  const text = (await Deno.readTextFile(path)).replace("db-1.example.com:8443", one)
    .replace("db-2.example.com:8443", other);
  await Deno.writeTextFile(path, text);
  await using daemon = clone.start(command("addresses"));
  await daemon.waitFor("certstore: watching files for changes");
  assert.match(daemon.printed, /msg="dialer: listening"/);
});

Deno.test("readme, editors: the schema is printed", async () => {
  await using clone = await Clone.make((text) => text);
  const said = await clone.run(command("schema"));
  assert.equal(said.code, 0, said.stderr);
  assert.deepEqual(
    JSON.parse(await Deno.readTextFile(join(clone.dir, "mtlsd.schema.json"))),
    JSON.parse(await Deno.readTextFile(join(ROOT, "examples/mtlsd.schema.json"))),
  );
  const [shown = ""] = /# yaml-language-server: \S+(?=`)/.exec(section("Editors")) ?? [];
  const example = await Deno.readTextFile(join(ROOT, "examples/server.yaml"));
  assert.ok(example.startsWith(`${shown}\n`), shown);
});
