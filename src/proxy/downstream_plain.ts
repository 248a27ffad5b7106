/**
 * Accepts downstream in plain: client mode.
 *
 * @module
 */

import type { Conn } from "../net/conn.ts";
import { isRefused, type ProxyHeaderReader } from "./proxy_header_reader.ts";
import type { Connection } from "./connection_table.ts";
import { cutShort, type Near, type NearEnd, type Stopped } from "./pipeline.ts";

/** Dependencies of {@linkcode PlainNear}. */
export type PlainNearDeps = {
  /** Removes PROXY headers, where they are expected. */
  readonly header: ProxyHeaderReader | undefined;
  /** Milliseconds to wait for such a header. */
  readonly headerTimeout: number;
};

/** Accepts every connection. Access to the listener's address is the only control downstream. */
export class PlainNear implements NearEnd<Near> {
  readonly #deps: PlainNearDeps;

  /** Shared by all connections of one tunnel. */
  constructor(deps: PlainNearDeps) {
    this.#deps = deps;
  }

  /** Prepares the downstream end of an accepted connection, which it owns from now on. */
  async receive(accepted: Conn, connection: Connection): Promise<Near | Stopped> {
    const { header, headerTimeout } = this.#deps;
    if (header === undefined) return near(accepted, accepted.local, {});
    const taken = await header.read(accepted, headerTimeout, connection);
    if (isRefused(taken)) return taken;
    // While it waited for the header it counted as a handshake, which can be evicted.
    if (!await connection.enter()) {
      taken.conn.close();
      return cutShort(connection);
    }
    return near(taken.conn, taken.destination ?? accepted.local, taken.fields);
  }
}

function near(conn: Conn, destination: string, fields: Near["fields"]): Near {
  const { remote } = conn;
  return { conn, fields: { remote, ...fields }, source: remote, destination };
}
