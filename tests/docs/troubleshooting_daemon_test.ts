/**
 * The table of faults, as far as it is mtlsd that says something: client mode, open connections, starts
 * that fail, UNIX sockets.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { makeCrl } from "../support/crl.ts";
import { mtlsd, startDaemon, type TestDaemon } from "../support/daemon.ts";
import { EchoClient } from "../support/clients.ts";
import { echoBackend, readAll, sh } from "../support/peers.ts";
import { dns, ip, makeCa } from "../support/pki.ts";
import { plainServer } from "../support/plain_tls.ts";
import { Chapter } from "../support/chapter.ts";
import { assertSaid, logged, symptom } from "../support/symptoms.ts";
import { changeFile, changeRules } from "../support/reload.ts";

const YEAR = 365 * 86_400_000;

/** A `tls` block of files of the chapter. */
function tlsOf({ dir }: Chapter, name: string, ca = "ca") {
  const file = (name: string) => `${dir}/certs/${name}.pem`;
  return { cert: file(name), key: file(`${name}-key`), ca: file(ca) };
}

/** Connects to a port and reads to the end, in whatever way that comes. */
async function call(hostname: string, port: number): Promise<void> {
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname, port });
  } catch (error) {
    // The daemon has reset it before the system reports it as made: that is one way to end it.
    if (error instanceof Deno.errors.ConnectionReset) return;
    throw error;
  }
  using _conn = conn;
  await conn.write(new TextEncoder().encode("hello")).catch(() => {});
  await readAll(conn).catch(() => {});
}

Deno.test("readme, troubleshooting: client mode", async (t) => {
  await using chapter = await Chapter.create();
  const other = makeCa({ subject: "other CA" });
  await chapter.write("certs/other.pem", other.pem);
  await chapter.issue("foreign", { role: "client", subject: "frontend-service" }, other);
  const notAfter = new Date(Date.now() - YEAR);
  const old = await chapter.issue("old", {
    san: [ip("127.0.0.1")],
    notAfter,
    notBefore: new Date(+notAfter - YEAR),
  });
  const named = await chapter.issue("named", { san: [dns("db.example.com")] });
  const backend = chapter.use(echoBackend());
  const server = await chapter.start("reference/container.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
  });
  const plain = async (cert: string, key: string) =>
    `127.0.0.1:${chapter.use(await plainServer({ cert, key }, () => {})).port}`;
  const faults = {
    "client mode: the server's certificate has another name": {
      target: await plain(named.pem, named.keyPem),
    },
    "client mode: the server's CA is not trusted": {
      target: server.listen,
      tls: tlsOf(chapter, "client", "other"),
    },
    "client mode: the server's certificate has expired": {
      target: await plain(old.pem, old.keyPem),
    },
    "client mode: the server cannot be reached": { target: `${chapter.host}:1` },
    "client mode: the server refused us": {
      target: server.listen,
      tls: tlsOf(chapter, "foreign"),
    },
    "TLS to a plain port": { target: backend.address },
  };
  const client = chapter.use(
    await startDaemon({
      dir: chapter.dir,
      config: {
        mode: "client",
        tls: tlsOf(chapter, "client"),
        tunnels: Object.values(faults).map((tunnel, index) => ({
          name: `t${index}`,
          listen: `${chapter.host}:${6000 + index}`,
          ...tunnel,
        })),
      },
    }),
  );
  for (const [index, fault] of Object.keys(faults).entries()) {
    await t.step(fault, async () => {
      const from = client.lines.length;
      await call(chapter.host, 6000 + index);
      await logged(client, fault, from, { apart: fault.endsWith("refused us") });
    });
  }
});

Deno.test("readme, troubleshooting: open connections and reloads", async (t) => {
  await using chapter = await Chapter.create();
  const backend = chapter.use(echoBackend());
  const list = join(chapter.dir, "certs", "ca.crl");
  await chapter.write("certs/ca.crl", makeCrl(chapter.ca).pem);
  const daemon = await chapter.start("reference/container.yaml", {
    changes: { "127.0.0.1:8080": backend.address },
    edit: (config) => ({ ...config, tls: { ...Object(config.tls), crl: list } }),
  });
  await t.step("an open connection is cut", async () => {
    await using held = await EchoClient.open(chapter.as("client", 8443));
    await changeRules(daemon, { deny_cn: ["frontend-service"] });
    await held.ended();
    const [message = "", reason = ""] = symptom("an open connection is cut").log;
    const { raw } = await daemon.waitForLog(`listener: ${message}`);
    assert.ok(raw.includes(reason), raw);
    await changeRules(daemon, {});
  });
  await t.step("connections end after 90 s without traffic", async () => {
    const quick = await chapter.start("reference/container.yaml", {
      changes: { "127.0.0.1:8080": backend.address, "127.0.0.1:8443": `${chapter.host}:8444` },
      edit: (config) => ({ ...config, proxy: { idle_timeout: "1s" } }),
    });
    await using held = await EchoClient.open(chapter.as("client", 8444));
    await held.ended();
    await logged(quick, "connections end after 90 s without traffic", 0);
  });
  await t.step("a list is too old", async () => {
    const from = daemon.lines.length;
    const stale = makeCrl(chapter.ca, {
      thisUpdate: new Date(Date.now() - 2 * 86_400_000),
      nextUpdate: new Date(Date.now() - 86_400_000),
    });
    const changed = changeFile(daemon, list, stale.pem).catch(() => {});
    await logged(daemon, "a list is too old", from);
    await changeFile(daemon, list, makeCrl(chapter.ca).pem);
    await changed;
  });
});

Deno.test("readme, troubleshooting: starts that fail", async (t) => {
  await using chapter = await Chapter.create();
  const backend = chapter.use(echoBackend());
  const config = {
    mode: "server",
    listen: backend.address,
    target: `${chapter.host}:8080`,
    tls: tlsOf(chapter, "server"),
  };
  const fails = async (
    fault: string,
    exit: number,
    settings: { readonly config?: Readonly<Record<string, unknown>>; flags?: readonly string[] } =
      {},
  ) => {
    await using daemon: TestDaemon = await startDaemon({
      dir: chapter.dir,
      config,
      expectFailure: true,
      ...settings,
    });
    assert.equal(await daemon.exit(), exit, daemon.log);
    await logged(daemon, fault, 0);
  };
  await t.step("something else has the port", () => fails("something else has the port", 1));
  await t.step("a grant is missing", async () => {
    const flags = ["--no-prompt", "--allow-read", `--allow-net=${backend.address}`];
    await fails("a grant is missing", 2, { flags });
  });
  await t.step("the config or a file is wrong", async () => {
    const said = await mtlsd(["-"], { stdin: "mode: srv\n" });
    assert.equal(said.code, 2);
    assert.match(said.stderr, /^<stdin>:1:1: mode: Cannot use "srv": must be /m);
    assert.ok(symptom("the config or a file is wrong").fault !== "");
  });
  await t.step("another process listens on our UNIX socket", async () => {
    const path = join(chapter.dir, "s.sock");
    using _ = Deno.listen({ transport: "unix", path });
    const client = {
      mode: "client",
      listen: `unix:${path}`,
      target: "127.0.0.1:1",
      tls: tlsOf(chapter, "client"),
    };
    await fails("another process listens on our UNIX socket", 1, { config: client });
  });
});

Deno.test("readme, troubleshooting: UNIX sockets", async (t) => {
  await using chapter = await Chapter.create();
  const isRoot = Deno.uid() === 0;
  const path = join(chapter.dir, "t.sock");
  const daemon = chapter.use(
    await startDaemon({
      dir: chapter.dir,
      // Root may connect to everything, unless this is taken from it.
      wrapper: isRoot ? ["setpriv", "--bounding-set=-dac_override"] : [],
      config: {
        mode: "server",
        listen: `${chapter.host}:8443`,
        target: `unix:${path}`,
        tls: tlsOf(chapter, "server"),
      },
    }),
  );
  const provoke = async (fault: string) => {
    const from = daemon.lines.length;
    await using client = await EchoClient.connect(chapter.as("client", 8443));
    await client.ended();
    await logged(daemon, fault, from);
  };
  await t.step(
    "the UNIX socket of the target is not there",
    () => provoke("the UNIX socket of the target is not there"),
  );
  await t.step("the UNIX socket of the target may not be written to", async () => {
    using _ = Deno.listen({ transport: "unix", path });
    await Deno.chmod(path, 0);
    if (isRoot) await Deno.chown(path, 65534, 65534);
    await provoke("the UNIX socket of the target may not be written to");
  });
  await t.step("the UNIX socket of the target is stale", async () => {
    const bound = `${path}.bound`;
    using _ = Deno.listen({ transport: "unix", path: bound });
    await Deno.rename(bound, path);
    _.close();
    await provoke("the UNIX socket of the target is stale");
  });
  await t.step("the UNIX socket may not be written to", async () => {
    const closed = join(chapter.dir, "c.sock");
    using _ = Deno.listen({ transport: "unix", path: closed });
    await Deno.chmod(closed, 0);
    const other = isRoot ? "setpriv --reuid=65534 --regid=65534 --clear-groups" : "";
    const { stderr } = await sh(`${other} nc -N -U ${closed}`);
    assertSaid(symptom("the UNIX socket may not be written to"), { nc: stderr });
  });
});
