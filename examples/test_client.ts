/**
 * A client to try mtlsd with: an application that listens for its own clients and talks to the
 * backend through the tunnel, which to it is just a local port. It has no TLS.
 *
 *     deno run --allow-net=127.0.0.1:7070,127.0.0.1:9080 examples/test_client.ts \
 *       [-listen HOST:PORT] [-tunnel HOST:PORT]
 *
 * @module
 */

import { addressFlags, closeQuietly, connect, listen, serve, writeAll } from "./net.ts";

/** Copies one direction and hands its end on. */
async function copy(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
    await writeAll(to, buffer.subarray(0, n));
  }
  await to.closeWrite();
}

const flags = addressFlags("test client", Deno.args, {
  listen: { about: "where to listen for clients", value: "127.0.0.1:7070" },
  tunnel: { about: "where mtlsd in client mode listens", value: "127.0.0.1:9080" },
});

async function forward(client: Deno.Conn): Promise<void> {
  const conn = await connect(flags.tunnel);
  try {
    await Promise.all([copy(client, conn), copy(conn, client)]);
  } finally {
    closeQuietly(conn);
  }
}

await serve("test client", listen("test client", flags.listen, "-listen"), forward);
