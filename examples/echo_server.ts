/**
 * A backend to try mtlsd with: answers each line with `echo: ` and the line. Knows nothing of TLS.
 *
 *     deno run --allow-net=127.0.0.1:8080 examples/echo_server.ts [-addr HOST:PORT]
 *
 * @module
 */

import { addressFlags, listen, serve, writeAll } from "./net.ts";

const ANSWER = new TextEncoder().encode("echo: ");
const NEWLINE = 0x0a;

/** Answers as bytes come, so that lines may have any length. */
async function echo(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  let lineStart = true;
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
    let rest = buffer.subarray(0, n);
    while (rest.length > 0) {
      if (lineStart) await writeAll(conn, ANSWER);
      const newline = rest.indexOf(NEWLINE);
      const end = newline === -1 ? rest.length : newline + 1;
      await writeAll(conn, rest.subarray(0, end));
      lineStart = newline !== -1;
      rest = rest.subarray(end);
    }
  }
  await conn.closeWrite();
}

const { addr } = addressFlags("echo server", Deno.args, {
  addr: { about: "where to listen", value: "127.0.0.1:8080" },
});
await serve("echo server", listen("echo server", addr, "-addr"), echo);
