import assert from "node:assert/strict";
import { BUDGET, isWithin, list, sizeOf, table, traceConnection } from "./trace.ts";

Deno.test("a connection runs through no more than the budget, each step of it in the list", async () => {
  // On a busy machine a connection may take steps in each round that it takes by chance, such as
  // waiting for a buffer.
  let calls = await traceConnection("server");
  for (let more = 0; more < 2 && !isWithin(sizeOf(calls), BUDGET.server); more++) {
    calls = await traceConnection("server");
  }
  assert.ok(
    isWithin(sizeOf(calls), BUDGET.server),
    `${list(calls)}\n\n${table(calls, BUDGET.server)}`,
  );

  const folders = new Set(calls.map(({ file }) => file.replace(/\/.*/, "")));
  for (const folder of ["acl", "identity.ts", "log", "metrics", "net", "proxy", "tls"]) {
    assert.ok(folders.has(folder), `nothing of ${folder} in:\n${list(calls)}`);
  }
  const names = new Set(calls.map(({ name }) => name));
  // What is counted of each step.
  for (const name of ["connectionAccepted", "handshakeDone", "authorize", "connectionClosed"]) {
    assert.ok(names.has(name), `no ${name} in:\n${list(calls)}`);
  }
  // What the start alone runs through is none of it.
  for (const name of ["main", "parseConfig"]) assert.ok(!names.has(name), name);
});

Deno.test("files and functions are counted, by folder and against the budget", () => {
  const calls = [
    { file: "net/tcp.ts", name: "dial", offset: 1, text: "function dial() {}" },
    { file: "net/tcp.ts", name: "", offset: 2, text: "()=>{}" },
    { file: "identity.ts", name: "identityOf", offset: 3, text: "function identityOf() {}" },
  ];
  assert.deepEqual(sizeOf(calls), { files: 2, functions: 3 });
  assert.equal(isWithin({ files: 2, functions: 3 }, { files: 2, functions: 3 }), true);
  assert.equal(isWithin({ files: 2, functions: 4 }, { files: 2, functions: 3 }), false);
  assert.equal(isWithin({ files: 3, functions: 3 }, { files: 2, functions: 3 }), false);
  assert.match(table(calls, { files: 25, functions: 150 }), /^net +1 +2$/m);
  assert.match(table(calls, { files: 25, functions: 150 }), /^in all +2 +3$/m);
  assert.match(list(calls), /^net\/tcp\.ts \(2\)\n {2}dial\n {2}\(\)=>\{\}$/m);
});
