/**
 * Keeps V8's debugger closed, and ignores signals that have no function here.
 *
 * Since 2.9.2 Deno opens V8's inspector on 127.0.0.1:9229 on SIGUSR1, from half a second after the
 * start on and independent of all grants. Every local user who can reach that port can then run
 * code in this process. No setting prevents it, nor does a signal listener of our own, so this
 * module closes the port as soon as it is open. Deno opens it in a later turn of the event loop
 * than the one in which our listener is called, so `close` is called in every turn for a while.
 * Between two turns Deno executes nothing that a debugger sends, whereas in tests a pause of a
 * millisecond was enough for an attacker who waits for the port. Only `env --block-signal=USR1` in
 * front of the command keeps the port from opening at all; the units and images have it.
 *
 * @module
 */

import inspector from "node:inspector";
import { setImmediate } from "node:timers";
import type { SignalPlatform } from "./signals.ts";

/**
 * Close in every turn of the event loop for at least this many milliseconds and this many turns.
 */
const EVERY_TURN = 50;
const TURNS = 1000;
/** Then close every millisecond until this many milliseconds after the last signal. */
const WHILE = 300;

/**
 * Listens for SIGUSR1 and SIGUSR2 for the rest of the process's life, so that they do not end it,
 * and closes the debugger that Deno opens on the first. Also closes one that is already open, even
 * with `--inspect`. Does nothing on Windows, which has neither signal.
 */
export function guardSignals(
  platform: SignalPlatform = Deno,
  close: () => void = () => inspector.close(),
): void {
  if (platform.build.os === "windows") return;
  const guard = new Guard(close);
  platform.addSignalListener("SIGUSR1", () => guard.shut(EVERY_TURN));
  platform.addSignalListener("SIGUSR2", () => {});
  // Deno may have handled a signal that arrived earlier.
  guard.shut(0);
}

class Guard {
  readonly #close: () => void;
  /** Identifies the latest run; earlier runs end when it changes. */
  #run = 0;

  constructor(close: () => void) {
    this.#close = close;
  }

  /** Closes in every turn for at least `spin` milliseconds, and then at intervals for a while. */
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
