/**
 * An echo server on the real listener, to be run short of file descriptors. Prints its address, then
 * its log, one line each.
 *
 * @module
 */

import { Listener } from "../../../src/proxy/listener.ts";
import { lineLogger } from "../../support/log.ts";
import { listenTcp } from "../../../src/net/mod.ts";
import { limiterOf, tableOf } from "./listener_support.ts";

// As the daemon does. Without any, Deno 2.9.6 panics when it runs out of descriptors at its start.
Deno.addSignalListener("SIGTERM", () => listener.stop());

const logger = lineLogger({
  level: "debug",
  format: "text",
  write: (line) => void Deno.stdout.writeSync(new TextEncoder().encode(line)),
});
const listener = new Listener({
  socket: listenTcp({ host: "127.0.0.1", port: 0 }),
  connections: tableOf(logger),
  logger,
  limiter: limiterOf(logger),
  onConnection: async (connection) => {
    for (let data = await connection.read(); data !== null; data = await connection.read()) {
      await connection.write(data);
    }
  },
});
Deno.stdout.writeSync(new TextEncoder().encode(`${listener.address}\n`));
