/**
 * The tables themselves: enough rows, each of its own name, none its own control.
 *
 * @module
 */

import assert from "node:assert/strict";
import { makeCa } from "../../support/pki.ts";
import { client } from "./chains.ts";
import { keyRows } from "./keys.ts";
import { protocolRows } from "./protocol.ts";
import { serverKeyRows, serverProtocolRows } from "./server_protocol.ts";
import { forgedRows, serverChainRows, serverNameRows } from "./servers.ts";
import { sessionRows, sessionWorld } from "./sessions.ts";
import { slowRows } from "./slow.ts";
import { anonymousTable, chainTables, denyTables, nameTables, pinnedKey } from "./tables.ts";

Deno.test("the adversary has enough tricks, and a control for each", () => {
  const ca = makeCa();
  const good = client({}, ca);
  const pinned = pinnedKey();
  const clients = [
    ...chainTables(ca).rows,
    ...nameTables(ca, pinned),
    ...denyTables(ca, pinned),
    ...anonymousTable(ca),
    ...keyRows(ca),
    ...protocolRows(good),
    ...slowRows(good).map(({ name, version, ...row }) => ({ name: `${name}, ${version}`, ...row })),
  ];
  const servers = [
    ...forgedRows(ca),
    ...serverNameRows(ca),
    ...serverChainRows(ca),
    ...serverKeyRows(ca),
    ...serverProtocolRows(ca),
  ];
  const names = [
    ...clients.map(({ name }) => name),
    ...servers.map(({ name }) => `server: ${name}`),
    ...sessionRows(sessionWorld(ca)).map(({ change }) => `resumed after ${change}`),
  ];
  assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), []);
  assert.ok(names.length >= 60, `${names.length} rows`);
  for (const { name, peer, control } of clients) assert.notEqual(peer, control, name);
  for (const { name, server, control } of servers) assert.notEqual(server, control, name);
});
