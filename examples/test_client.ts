// deno-lint-ignore-file no-console -- it talks to a terminal
/**
 * A client to try mtlsd with: an application that listens for its own callers and talks to the
 * backend through the tunnel, which to it is just a local port. Knows nothing of TLS.
 *
 *     deno run --allow-net=127.0.0.1:8082,127.0.0.1:8081 examples/test_client.ts [LISTEN] [TUNNEL]
 *
 * @module
 */

import { closeQuietly, listenAddress, writeAll } from "./net.ts";

/** Copies one direction and hands its end on. */
async function copy(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
    await writeAll(to, buffer.subarray(0, n));
  }
  await to.closeWrite();
}

async function forward(caller: Deno.Conn, tunnel: Deno.ConnectOptions): Promise<void> {
  const conn = await Deno.connect(tunnel);
  try {
    await Promise.all([copy(caller, conn), copy(conn, caller)]);
  } finally {
    closeQuietly(conn);
  }
}

const tunnel = listenAddress(Deno.args[1] ?? "127.0.0.1:8081");
const listener = Deno.listen(listenAddress(Deno.args[0] ?? "127.0.0.1:8082"));
console.log(`test client: listening on ${listener.addr.hostname}:${listener.addr.port}`);
for await (const conn of listener) {
  forward(conn, tunnel)
    .catch((error) => console.error(`test client: ${error.message}`))
    .finally(() => closeQuietly(conn));
}
