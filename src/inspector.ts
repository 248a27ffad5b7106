/**
 * Keeps V8's debugger shut, and ends on no signal that means nothing here.
 *
 * Since 2.9.2 Deno opens V8's inspector on 127.0.0.1:9229 when SIGUSR1 comes, from half a second after
 * the start on, outside of all grants: every local user who can reach that port then runs code in this
 * process. No setting prevents it, and a listener of our own does not either, so here the port is closed
 * as soon as it is open. Deno opens it in a later turn of the event loop than the one in which we hear
 * of the signal: hence `close` is called in every turn for a while. Between two turns nothing that a
 * debugger asks for is carried out, where a millisecond's pause was seen to be enough for an attacker
 * who waits for the port. What keeps even the port from opening is `env --block-signal=USR1` in front of
 * the command, as the units and images have it.
 *
 * @module
 */

import inspector from "node:inspector";
import { setImmediate } from "node:timers";
import type { SignalPlatform } from "./signals.ts";

/** In every turn of the event loop, for at least this long and this often; milliseconds and turns. */
const EVERY_TURN = 50;
const TURNS = 1000;
/** Then every millisecond, until this long after the last signal; milliseconds. */
const WHILE = 300;

/**
 * Hears SIGUSR1 and SIGUSR2 for the rest of the process's life, so that they do not end it, and closes
 * the debugger that Deno opens on the first. What was opened before is closed too, `--inspect` included.
 * Windows has neither signal.
 */
export function guardSignals(
  platform: SignalPlatform = Deno,
  close: () => void = () => inspector.close(),
): void {
  if (platform.build.os === "windows") return;
  const guard = new Guard(close);
  platform.addSignalListener("SIGUSR1", () => guard.shut(EVERY_TURN));
  platform.addSignalListener("SIGUSR2", () => {});
  // A signal that came before: Deno may have heard it.
  guard.shut(0);
}

class Guard {
  readonly #close: () => void;
  /** Tells the latest run of closes from those before, which end. */
  #run = 0;

  constructor(close: () => void) {
    this.#close = close;
  }

  /** Closes in every turn, for `spin` milliseconds at least, and then for a while. */
  shut(spin: number): void {
    const run = ++this.#run;
    const start = performance.now();
    let turns = 0;
    const turn = (): void => {
      if (run !== this.#run) return;
      this.#close();
      const passed = performance.now() - start;
      if (passed < spin || ++turns < TURNS) setImmediate(turn);
      else if (passed < WHILE) setTimeout(turn, 1);
    };
    turn();
  }
}
