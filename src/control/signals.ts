/**
 * Maps signals to callbacks. Listening needs no grant. `inspector.ts` undoes what Deno itself does
 * on SIGUSR1.
 *
 * @module
 */

/** The callback for each signal, called every time the signal arrives. */
export type SignalHandlers = {
  /** Stop; also called for Ctrl+Break on Windows, which has no SIGTERM. */
  readonly SIGTERM: () => void;
  /** Stop, from the keyboard. */
  readonly SIGINT: () => void;
  /** Stop, like SIGTERM. Never called on Windows, which has no such signal. */
  readonly SIGQUIT: () => void;
  /** Reload. Never called on Windows, which has no such signal. */
  readonly SIGHUP: () => void;
  /** Only log that it is ignored. Never called on Windows, which has no such signal. */
  readonly SIGUSR1: () => void;
  /** As for SIGUSR1. */
  readonly SIGUSR2: () => void;
};

/** The part of `Deno` that {@linkcode onSignals} uses. */
export type SignalPlatform = {
  /** The operating system. */
  readonly build: Pick<typeof Deno.build, "os">;
  /**
   * @throws {TypeError} if the system does not support the signal.
   */
  addSignalListener(signal: Deno.Signal, handler: () => void): void;
  /** The inverse of `addSignalListener`. */
  removeSignalListener(signal: Deno.Signal, handler: () => void): void;
};

/**
 * Calls `handlers` on signals until the result is disposed of. After that the signals have their
 * default effect, which is to end the process.
 *
 * @throws {TypeError} if the system rejects a listener; none is left registered then.
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
