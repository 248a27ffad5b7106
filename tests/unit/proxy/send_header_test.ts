/**
 * The PROXY header to a target that does not take it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DialError } from "../../../src/net/mod.ts";
import { sendHeader } from "../../../src/proxy/upstream.ts";
import { FakeChannel } from "./fake_conn.ts";

const HEADER = new TextEncoder().encode("PROXY UNKNOWN\r\n");

/** What becomes of a header; `pending` is done while it waits. */
async function sent(
  conn: FakeChannel,
  timeout: number,
  pending: (client: AbortController) => void = () => {},
): Promise<string> {
  const client = new AbortController();
  const sending = sendHeader(conn, HEADER, { timeout, signal: client.signal });
  pending(client);
  try {
    await sending;
    return "sent";
  } catch (error) {
    assert.ok(error instanceof DialError);
    assert.match(error.message, /^Cannot send the PROXY header: /);
    assert.ok(conn.closed);
    return error.reason;
  }
}

Deno.test("a target that takes the header, at once or later", async () => {
  const conn = new FakeChannel();
  assert.equal(await sent(conn, 60_000), "sent");
  conn.stall();
  assert.equal(await sent(conn, 60_000, () => conn.release()), "sent");
  assert.equal(conn.written, "PROXY UNKNOWN\r\n".repeat(2));
  assert.ok(!conn.closed);
});

Deno.test("one that does not is given up in time, and with the client", async () => {
  const [slow, left, gone, broken] = Array.from({ length: 4 }, () => {
    const conn = new FakeChannel();
    conn.stall();
    return conn;
  });
  assert.ok(slow && left && gone && broken);
  assert.equal(await sent(slow, 20), "timeout");
  assert.equal(await sent(left, 60_000, (client) => client.abort()), "timeout");
  assert.equal(await sent(gone, 60_000, () => gone.breakWrite("reset")), "other");
  broken.breakWrite(new TypeError("a fault of ours"));
  await assert.rejects(sendHeader(broken, HEADER, { timeout: 1, signal: AbortSignal.abort() }), {
    name: "TypeError",
  });
  assert.ok(broken.closed);
});
