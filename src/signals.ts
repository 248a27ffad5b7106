/**
 * Signals to callbacks. Listening needs no grant. What Deno itself does on SIGUSR1 is undone in
 * `inspector.ts`.
 *
 * @module
 */

/** What to do on each signal the daemon knows; called every time the signal comes. */
export type SignalHandlers = {
  /** Stop (also Ctrl+Break on Windows, which has no SIGTERM). */
  readonly SIGTERM: () => void;
  /** Stop, from the keyboard. */
  readonly SIGINT: () => void;
  /** Stop, as SIGTERM does. Windows has no such signal; it is never called there. */
  readonly SIGQUIT: () => void;
  /** Reload. Windows has no such signal; it is never called there. */
  readonly SIGHUP: () => void;
  /** Nothing is to be done but to say so. Windows has no such signal; it is never called there. */
  readonly SIGUSR1: () => void;
  /** The same. */
  readonly SIGUSR2: () => void;
};

/** The part of `Deno` that {@linkcode onSignals} uses. */
export type SignalPlatform = {
  /** Which operating system this is. */
  readonly build: Pick<typeof Deno.build, "os">;
  /** @throws {TypeError} when the system does not know the signal. */
  addSignalListener(signal: Deno.Signal, handler: () => void): void;
  /** The opposite of `addSignalListener`. */
  removeSignalListener(signal: Deno.Signal, handler: () => void): void;
};

/**
 * Call `handlers` on signals until the result is disposed; after that the signals do what they do
 * by default, which is to end the process.
 *
 * @throws {TypeError} when the system refuses a listener; none is left behind then.
 */
export function onSignals(handlers: SignalHandlers, platform: SignalPlatform = Deno): Disposable {
  const wanted: readonly (readonly [Deno.Signal, () => void])[] = platform.build.os === "windows"
    ? [["SIGINT", handlers.SIGINT], ["SIGBREAK", handlers.SIGTERM]]
    : [
      ["SIGTERM", handlers.SIGTERM],
      ["SIGINT", handlers.SIGINT],
      ["SIGQUIT", handlers.SIGQUIT],
      ["SIGHUP", handlers.SIGHUP],
      ["SIGUSR1", handlers.SIGUSR1],
      ["SIGUSR2", handlers.SIGUSR2],
    ];
  using undo = new DisposableStack();
  for (const [signal, handler] of wanted) {
    platform.addSignalListener(signal, handler);
    undo.defer(() => platform.removeSignalListener(signal, handler));
  }
  return undo.move();
}
