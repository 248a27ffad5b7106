/**
 * The chapter on PostgreSQL: its two configs in front of a real server.
 *
 * @module
 */

import assert from "node:assert/strict";
import { absent } from "../support/deploy/examples.ts";
import { Postgres, postgresPrograms, psql } from "../support/postgres.ts";
import { Chapter } from "../support/chapter.ts";

const ignore = (postgresPrograms() === undefined && absent("initdb", "postgresql")) ||
  absent("psql", "postgresql-client");

Deno.test({
  name: "readme, PostgreSQL: a query through both configs, whose server sees mtlsd",
  ignore,
  fn: async () => {
    await using chapter = await Chapter.create();
    const postgres = chapter.use(await Postgres.start());
    const server = await chapter.start("postgres/server.yaml", {
      changes: { '":8443"': `${chapter.host}:8443`, "127.0.0.1:5432": postgres.address },
    });
    const client = await chapter.start("postgres/client.yaml", {
      changes: { "db.example.com:8443": server.listen },
    });
    const query = "select 6 * 7, inet_client_addr()";
    assert.equal(await psql(client.listen, query), "42|127.0.0.1");
    await server.waitForLog("listener: accepted connection", { peer_cn: "frontend-service" });
  },
});
