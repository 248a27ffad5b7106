/**
 * PostgreSQL through client and server mode: its own clients must notice nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { absent } from "../support/deploy/examples.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { makeLeaf } from "../support/pki.ts";
import { byRename, renewed } from "../support/reload.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import {
  makeBenchTables,
  pgbench,
  Postgres,
  postgresPrograms,
  psql,
  psqlSession,
  psqlTerminal,
} from "../support/postgres.ts";
import { assertAllClosesCounted } from "../support/metrics.ts";
import { split } from "../support/peers.ts";

const ignore = (postgresPrograms() === undefined && absent("initdb", "postgresql")) ||
  absent("psql", "postgresql-client") || absent("script", "bsdutils") ||
  absent("pgbench", "postgresql");

async function sha256Of(path: string): Promise<string> {
  return createHash("sha256").update(await Deno.readFile(path)).digest("hex");
}

/** Waits until a statement with these words is being run; the process that runs it. */
async function running(address: string, words: string): Promise<string> {
  const query = `select pid from pg_stat_activity
    where state = 'active' and pid <> pg_backend_pid() and query like '%${words}%'`;
  return await until(async () => await psql(address, query) || undefined, { every: 50 });
}

/** Gives both ends new certificates with new keys; resolves when both show them. */
async function rotate(
  { dir, pki }: TestBed,
  daemons: Readonly<Record<"server" | "client", TestDaemon>>,
): Promise<void> {
  const issued = {
    server: renewed(pki),
    client: makeLeaf({ role: "client", subject: { O: "acme", CN: "frontend-service" } }, pki.ca),
  };
  for (const role of ["server", "client"] as const) {
    const { pem, keyPem, der } = issued[role];
    await byRename(dir, { [`${role}.pem`]: pem, [`${role}-key.pem`]: keyPem });
    const serial = new X509Certificate(der).serialNumber;
    await until(async () => {
      const { body } = await daemons[role].probe("/certz");
      return String(body.serial).toUpperCase() === serial;
    }, { what: () => `${role} mode with the serial ${serial}` });
  }
}

Deno.test({ name: "PostgreSQL through the tunnel", ignore }, async (t) => {
  await using testBed = await TestBed.create();
  const postgres = testBed.use(await Postgres.start());
  const { server, client } = await testBed.tunnel(postgres.address);
  const through = client.listen;

  await t.step("queries, and errors as the server words them", async () => {
    assert.equal(
      await psql(through, "select 6 * 7", "show port"),
      `42\n${split(postgres.address).port}`,
    );
    await assert.rejects(psql(through, "select 1 / 0"), /division by zero/);
    // What the server sees is the tunnel's upstream end.
    assert.equal(await psql(through, "select inet_client_addr()"), "127.0.0.1");
  });

  await t.step("COPY of some MB each way, by its hash", async () => {
    const [sent, returned] = [`${testBed.dir}/sent.csv`, `${testBed.dir}/returned.csv`];
    const rows = Array.from({ length: 60_000 }, (_, i) => `${i},${i.toString(16).repeat(12)}\n`);
    await Deno.writeTextFile(sent, rows.join(""));
    assert.ok((await Deno.stat(sent)).size > 3_000_000);
    await psql(
      through,
      "create table bulk (id int primary key, words text)",
      `\\copy bulk from '${sent}' csv`,
      `\\copy (select * from bulk order by id) to '${returned}' csv`,
    );
    assert.equal(await sha256Of(returned), await sha256Of(sent));
  });

  await t.step("a query cancelled with Ctrl-C leaves its session usable", async () => {
    await using session = psqlTerminal(through);
    await session.type("select pg_sleep(600) /* by hand */;\n");
    await running(postgres.address, "/* by hand");
    // psql asks over a second connection, which the server closes without a word.
    await session.type("\x03");
    await session.says(/canceling statement due to user request/);
    // What is typed just after a Ctrl-C a terminal may throw away, without any tunnel too.
    await until(async () => {
      await session.type("select 'still ' || 'here';\n");
      // Without `^`: the prompt may come after what is typed, and the answer behind it.
      const here = () => /still here/.test(session.words);
      return await until(here, { within: 1000 }).catch(() => false);
    });
    await session.type("\\q\n");
    assert.equal(await session.ends(), 0);
  });

  await t.step("a query cancelled and a session ended from elsewhere", async () => {
    await using session = psqlTerminal(through);
    await session.type("select pg_sleep(600) /* from afar */;\n");
    const pid = await running(postgres.address, "/* from afar");
    assert.equal(await psql(through, `select pg_cancel_backend(${pid})`), "t");
    await session.says(/canceling statement due to user request/);
    await session.type("select pg_sleep(600) /* once more */;\n");
    await running(postgres.address, "/* once more");
    assert.equal(await psql(through, `select pg_terminate_backend(${pid})`), "t");
    await session.says(/terminating connection due to administrator command/);
    // At a terminal it connects again by itself.
    await session.says(/Attempting reset: Succeeded/);
    await session.type("select 'back ' || 'again';\n");
    // Without `^`: what is typed before the prompt is there is answered behind the prompt.
    await session.says(/back again/);
    await session.type("\\q\n");
    assert.equal(await session.ends(), 0);
  });

  await t.step("prepared statements live as long as their session", async () => {
    const words = ["prepare twice(int) as select $1 * 2", "execute twice(4)", "execute twice(5)"];
    assert.equal(await psql(through, ...words), "8\n10");
    await assert.rejects(psql(through, "execute twice(6)"), /"twice" does not exist/);
  });

  await t.step("LISTEN hears a NOTIFY of another session", async () => {
    await using session = psqlSession(through);
    await session.type("listen news;\n\\echo listening\n");
    await session.says(/^listening$/m);
    await psql(through, "notify news, 'hear, hear'");
    // psql looks for news after each statement.
    await session.type("select 1;\n");
    await session.says(/Asynchronous notification "news" with payload "hear, hear"/);
  });

  await t.step("pgbench with 8 connections, statements prepared, none fails", async () => {
    await makeBenchTables(through);
    assert.ok(await pgbench(through, "-c", "8", "-t", "100", "-M", "prepared") === 800);
    assert.equal(await psql(through, "select count(*) > 100 from pgbench_history"), "t");
  });

  await t.step("all certificates rotate under pgbench, none fails", async () => {
    const accepted = async () => (await client.metrics()).get("mtlsd_connections_total") ?? NaN;
    const before = await accepted();
    await using session = psqlSession(through);
    await session.type("select 'be' || 'fore';\n");
    await session.says(/before/);
    // One that keeps its connections, and one with a new connection for each transaction; again and
    // again, until the rotation is over, however long that takes.
    let over = false;
    const rounds = async (...args: string[]) => {
      let transactions = 0;
      do transactions += await pgbench(through, "-c", "4", "-S", ...args); while (!over);
      return transactions;
    };
    const both = Promise.all([rounds("-t", "500"), rounds("-t", "10", "-C")]);
    both.catch(() => {}); // Told below, once the rest has been seen.
    try {
      await until(async () => await accepted() > before + 20);
      await rotate(testBed, { server, client });
      const rotated = await accepted();
      await until(async () => await accepted() > rotated + 20);
    } finally {
      over = true;
    }
    const [transactions, connections] = await both;
    assert.ok(transactions >= 2000 && connections >= 40, `${transactions}, ${connections}`);
    // A session that was there before goes on.
    await session.type("select 'af' || 'ter';\n");
    await session.says(/after/);
  });

  await t.step("nothing is left open", async () => {
    for (const daemon of [server, client]) {
      await daemon.waitForMetric("mtlsd_active_connections", 0);
      await assertAllClosesCounted(daemon);
    }
  });
});
