/**
 * How long one that failed is left alone, whatever comes in between.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dialError, Field, hostOf } from "./load_balancer_support.ts";

Deno.test("a client that leaves does not shorten the time for which another's failure counts", async () => {
  const field = new Field({ count: 2 });
  const { signal } = new AbortController();
  field.set(0, "refuses");
  await field.host();
  field.time = 1000;
  // It tries, and is still at it when the time that it has for that is over.
  const left = Promise.withResolvers<string>();
  const leaves = field.targets.connect(() => left.promise, { signal });
  field.time = 2000;
  // So another one tries, and fails: until 4000.
  await field.host();
  field.time = 2500;
  left.reject(dialError("aborted"));
  await assert.rejects(leaves, { reason: "aborted" });
  field.tried.length = 0;
  await field.host();
  assert.deepEqual(field.tried, [hostOf(1)]);
});

Deno.test("an address that failed is left alone although the name was without it meanwhile", async () => {
  // A server of names that gives some of them each time, in turn.
  const answers = [["a", "b"], ["c", "d"]];
  let asked = 0;
  const field = new Field({ count: 1, addresses: () => answers[asked++ % 2] ?? [] });
  field.manners.set("a", "refuses");
  for (let i = 0; i < 2; i++) await field.host();
  assert.ok(field.tried.includes("a"));
  field.tried.length = 0;
  for (let i = 0; i < 8; i++) await field.host();
  assert.ok(!field.tried.includes("a"), String(field.tried));
  field.time += 1000;
  for (let i = 0; i < 4; i++) await field.host();
  assert.ok(field.tried.includes("a"));
});
