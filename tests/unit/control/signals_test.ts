/**
 * Signals reach their handlers, and only as long as somebody listens.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  onSignals,
  type SignalHandlers,
  type SignalPlatform,
} from "../../../src/control/signals.ts";

type Os = typeof Deno.build.os;

/** A system that only keeps count of who listens to what. */
function platform(
  os: Os,
  refuse?: Deno.Signal,
): SignalPlatform & { readonly listeners: Map<Deno.Signal, () => void> } {
  const listeners = new Map<Deno.Signal, () => void>();
  return {
    build: { os },
    listeners,
    addSignalListener(signal, handler) {
      if (signal === refuse) throw new TypeError(`no ${signal} here`);
      listeners.set(signal, handler);
    },
    removeSignalListener(signal, handler) {
      assert.equal(listeners.get(signal), handler);
      listeners.delete(signal);
    },
  };
}

function handlers(): SignalHandlers {
  return {
    SIGTERM: () => {},
    SIGINT: () => {},
    SIGQUIT: () => {},
    SIGHUP: () => {},
    SIGUSR1: () => {},
    SIGUSR2: () => {},
  };
}

Deno.test("all of them are listened to, until disposed", () => {
  const system = platform("linux");
  const wanted = handlers();
  {
    using _signals = onSignals(wanted, system);
    assert.deepEqual(Object.fromEntries(system.listeners), wanted);
  }
  assert.equal(system.listeners.size, 0);
});

Deno.test("Windows has two signals and stops on Ctrl+Break", () => {
  const system = platform("windows");
  const wanted = handlers();
  using _signals = onSignals(wanted, system);
  assert.deepEqual(Object.fromEntries(system.listeners), {
    SIGINT: wanted.SIGINT,
    SIGBREAK: wanted.SIGTERM,
  });
});

Deno.test("where one is refused none stays behind", () => {
  const system = platform("linux", "SIGHUP");
  assert.throws(() => onSignals(handlers(), system), /no SIGHUP here/);
  assert.equal(system.listeners.size, 0);
});

Deno.test("a process gets each signal as often as it comes, then none, without any grant", async () => {
  const script = `
    import { onSignals } from ${
    JSON.stringify(import.meta.resolve("../../../src/control/signals.ts"))
  };
    const say = (text) => Deno.stdout.writeSync(new TextEncoder().encode(text + "\\n"));
    let stop;
    const stopped = new Promise((resolve) => stop = resolve);
    const signals = onSignals({
      SIGTERM: () => { say("SIGTERM"); stop(); },
      SIGINT: () => say("SIGINT"),
      SIGQUIT: () => say("SIGQUIT"),
      SIGHUP: () => say("SIGHUP"),
      SIGUSR1: () => say("SIGUSR1"),
      SIGUSR2: () => say("SIGUSR2"),
    });
    say("ready");
    await stopped;
    signals[Symbol.dispose]();
    say("disposed");
    await Deno.stdin.read(new Uint8Array(1));
  `;
  await using child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--no-config",
      // Only the module graph is read, by the loader; the program itself is granted nothing.
      `data:text/javascript,${encodeURIComponent(script)}`,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  const next = async (): Promise<string> => {
    while (!pending.includes("\n")) {
      const { value, done } = await reader.read();
      assert.ok(!done, `ended after ${JSON.stringify(pending)}`);
      pending += value;
    }
    const end = pending.indexOf("\n");
    const line = pending.slice(0, end);
    pending = pending.slice(end + 1);
    return line;
  };
  assert.equal(await next(), "ready");
  // SIGUSR1 is not among them: half a second on it opens a port that all of the machine shares.
  const sent = ["SIGHUP", "SIGHUP", "SIGINT", "SIGINT", "SIGQUIT", "SIGUSR2", "SIGTERM"] as const;
  for (const signal of sent) {
    child.kill(signal);
    assert.equal(await next(), signal);
  }
  assert.equal(await next(), "disposed");
  child.kill("SIGHUP");
  const status = await child.status;
  assert.equal(status.signal, "SIGHUP");
  await reader.cancel();
  await child.stdin.close();
});
