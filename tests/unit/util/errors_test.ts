/**
 * The words and the code of what was thrown, be it an error or not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { codeOf, messageOf } from "../../../src/util/errors.ts";

Deno.test("messageOf: an error's message, other values as text", () => {
  assert.equal(messageOf(new TypeError("no such file")), "no such file");
  assert.equal(messageOf("plain"), "plain");
  assert.equal(messageOf(undefined), "undefined");
});

Deno.test("codeOf: the code of a system error, empty for anything else", async () => {
  const refused = await Deno.readFile("/nowhere/to/be/found").catch((error) => error);
  assert.equal(codeOf(refused), "ENOENT");
  assert.equal(codeOf(Object.assign(new Error(), { code: 7 })), "");
  assert.equal(codeOf(new Error()), "");
  assert.equal(codeOf({ code: "ENOENT" }), "");
});
