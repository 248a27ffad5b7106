/**
 * The near end in plain: client mode.
 *
 * @module
 */

import type { Channel } from "../channel.ts";
import { type HeaderTaker, isRefused } from "./header_taker.ts";
import type { Life } from "./lives.ts";
import { cutShort, type Near, type NearEnd, type Stopped } from "./session.ts";

/** What the near end needs. */
export type PlainNearDeps = {
  /** Takes PROXY headers off, where they are expected. */
  readonly header: HeaderTaker | undefined;
  /** Milliseconds to wait for such a header. */
  readonly headerTimeout: number;
};

/** Takes connections as they are: whoever calls was trusted by whoever may reach the listener. */
export class PlainNear implements NearEnd<Near> {
  readonly #deps: PlainNearDeps;

  /** For all connections of one tunnel. */
  constructor(deps: PlainNearDeps) {
    this.#deps = deps;
  }

  /** Makes the near end of an accepted connection, which it owns from now on. */
  async receive(accepted: Channel, life: Life): Promise<Near | Stopped> {
    const { header, headerTimeout } = this.#deps;
    if (header === undefined) return near(accepted, accepted.local, {});
    const taken = await header.take(accepted, headerTimeout, life);
    if (isRefused(taken)) return taken;
    // Until here it was one of those that are waited for, and could give way to others.
    if (!await life.enter()) {
      taken.channel.close();
      return cutShort(life);
    }
    return near(taken.channel, taken.destination ?? accepted.local, taken.fields);
  }
}

function near(channel: Channel, destination: string, fields: Near["fields"]): Near {
  const { remote } = channel;
  return { channel, fields: { remote, ...fields }, source: remote, destination };
}
