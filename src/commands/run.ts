/**
 * `run`: runs the daemon until a signal. Exit status 0 after a clean stop, 1 if something failed at
 * run time, 2 if the config, a file that it names or a permission is wrong.
 *
 * @module
 */

import { SetsError } from "../certstore/sets.ts";
import { CertStore } from "../certstore/store.ts";
import type { ClientAuth, Config, TunnelConfig } from "../config/config.ts";
import { parseConfig } from "../config/load.ts";
import { formatOrigin, formatProblem } from "../config/problem.ts";
import { escapeText } from "../util/text.ts";
import {
  configName,
  readConfigFile,
  readEnvironment,
  runtimeVariables,
} from "../control/config_file.ts";
import { ConfigListenError, Daemon } from "../control/daemon.ts";
import { logSink, stderrWriter } from "../control/log_sink.ts";
import { missingGrants } from "../control/grants.ts";
import { createLogger, type Fields, type Logger, type LogRecord } from "../log/mod.ts";
import { createMetrics, type Metrics } from "../admin/metrics.ts";
import { onSignals } from "../control/signals.ts";
import { isUntested, TESTED_DENO, VERSION } from "../util/version.ts";
import { type CommandIo, loadConfig, type LoadedConfig, printFindings } from "./load_config.ts";

/** Runs the daemon with the config at `path` (`-`: standard input). Returns the exit status. */
export async function run(path: string, io: CommandIo): Promise<number> {
  const loaded = await loadConfig(path, io);
  if (loaded === undefined) return 2;
  const { config } = loaded;
  const missing = await missingGrants(config, path);
  for (const line of missing) io.stderr(escapeText(`${configName(path)}: ${line}`));
  if (missing.length > 0) return 2;

  const { level, format } = config.logging;
  const log = logSink({ format, write: stderrWriter() });
  const logger = createLogger({ level, emit: log });
  const metrics = createMetrics({ version: VERSION, tunnels: config.tunnels });
  // An error can contain text from a peer.
  using _faults = logUncaughtErrors(logger.forPeers());
  try {
    return await serve(config, path, { log, logger, metrics });
  } catch (error) {
    if (error instanceof ConfigListenError) {
      const { key: { tunnel, path }, message } = error;
      logger.error(`${formatOrigin(loaded.place(path, tunnel))}: ${message}`);
      return 1;
    }
    if (!(error instanceof SetsError)) throw error;
    printFailed(error, loaded, io);
    return 2;
  }
}

/** Logs what starts and how it is protected, one line for each tunnel. */
function announce({ tunnels }: Config, path: string, logger: Logger): void {
  const [{ name, mode, tls }] = tunnels;
  const { deno } = Deno.version;
  const about = { version: VERSION, deno, pid: Deno.pid, config: configName(path) };
  if (name === undefined) {
    return logger.info("mtlsd starting", { mode, ...tlsFields({ mode, tls }), ...about });
  }
  const modes = [...new Set(tunnels.map((tunnel) => tunnel.mode))];
  logger.info("mtlsd starting", { mode: modes.join(","), tunnels: tunnels.length, ...about });
  for (const tunnel of tunnels) {
    logger.info("tunnel starting", {
      tunnel: tunnel.name,
      mode: tunnel.mode,
      ...tlsFields(tunnel),
    });
  }
}

const MTLS = { required: "on", optional: "optional", none: "off" } as const satisfies Record<
  ClientAuth,
  string
>;

/**
 * The fields `tls` and `mtls`, and `client_auth` where the tunnel accepts TLS. With
 * `client_auth: none`, traffic is encrypted but clients are not authenticated.
 */
function tlsFields({ mode, tls }: Pick<TunnelConfig, "mode" | "tls">): Fields {
  switch (mode) {
    case "client":
      return { tls: "on", mtls: "on" };
    case "server":
    case "bridge":
      return {
        tls: "on",
        mtls: MTLS[tls.clientAuth],
        client_auth: tls.clientAuth,
      };
    default:
      return mode satisfies never;
  }
}

/**
 * Prints findings about files with each key that names them. Keys that tunnels share are listed
 * once.
 */
function printFailed({ failed }: SetsError, loaded: LoadedConfig, io: CommandIo): void {
  const lines = new Set<string>();
  const stderr = (line: string): void => void lines.add(line);
  for (const { set: { users }, error } of failed) {
    for (const user of users) printFindings(error.findings, loaded, { ...io, stderr }, user);
  }
  for (const line of lines) io.stderr(line);
}

/** Where the daemon reports what it does. */
type Outputs = {
  readonly log: (record: LogRecord) => void;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

async function serve(
  config: Config,
  path: string,
  { log, logger, metrics }: Outputs,
): Promise<number> {
  const stop = Promise.withResolvers<string>();
  const stopping = { stop: new AbortController(), hurry: new AbortController() };
  const onStop = (signal: string) => () => {
    if (stopping.stop.signal.aborted) stopping.hurry.abort();
    stopping.stop.abort();
    stop.resolve(signal);
  };
  // Listen for signals before the first log line and the first bind, because either may prompt
  // someone to send one. Also, Deno 2.9.6 panics if it runs out of descriptors before the first
  // signal listener exists.
  let early = false;
  let reload = () => void (early = true);
  // Never removed: a late signal must not change the exit status.
  onSignals({
    SIGTERM: onStop("SIGTERM"),
    SIGINT: onStop("SIGINT"),
    SIGQUIT: onStop("SIGQUIT"),
    SIGHUP: () => reload(),
    SIGUSR1: () => logger.warn("ignoring SIGUSR1, closing the debugger that Deno opens on it"),
    SIGUSR2: () => logger.info("ignoring SIGUSR2"),
  });
  announce(config, path, logger);
  const { deno } = Deno.version;
  if (isUntested(deno)) {
    logger.warn("mtlsd was not tested with this version of Deno", { deno, tested: TESTED_DENO });
  }
  for (const variable of runtimeVariables()) {
    logger.warn("Deno goes by a variable of its environment, whatever is granted", { variable });
  }
  // Not disposed of: the process is about to end, and closing its watches could block.
  const daemon = await Daemon.start({
    config,
    openStore: (onReload) =>
      CertStore.open({ tunnels: config.tunnels, logger, metrics, onSwap: onReload }),
    configName: configName(path),
    reread: path === "-" ? undefined : () => rereadConfig(path),
    logger,
    log,
    metrics,
    now: Date.now,
    stopping: { stop: stopping.stop.signal, hurry: stopping.hurry.signal },
  });
  reload = () => void daemon.reload();
  // A SIGHUP arrived during the start, possibly after the files it is about had been read.
  if (early) reload();
  logger.info("shutting down", { signal: await stop.promise });
  const drained = await daemon.drain(stopping.hurry.signal);
  if (drained === "cut") logger.warn("connections were cut before they had ended");
  logger.info("shutdown complete");
  return drained === "clean" ? 0 : 1;
}

/** Reads the current config. @throws {Error} with every problem in one line. */
async function rereadConfig(path: string): Promise<Config> {
  const text = await readConfigFile(path, { again: true });
  const result = parseConfig(text, configName(path), readEnvironment());
  if (result.ok) return result.config;
  throw new Error(result.problems.map(formatProblem).join("; "));
}

/**
 * The last line of defence: logs uncaught errors instead of ending the process, so that a peer
 * cannot end all other connections by triggering one.
 *
 * It is safe to continue. Deno reports the error after the turn of the event loop in which it
 * occurred and is not damaged itself. No peer is admitted by accident, because that takes a permit
 * and thus a decision. A connection left in an intermediate state ends by its time limits, as far
 * as any are set. If the process ended instead, an attacker who knows such an error could end all
 * connections, again after each restart.
 */
function logUncaughtErrors(logger: Logger): Disposable {
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    logger.error("internal error: unhandled rejection", { error: textOf(event.reason) });
  };
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    logger.error("internal error: uncaught exception", { error: textOf(event.error) });
  };
  globalThis.addEventListener("unhandledrejection", onRejection);
  globalThis.addEventListener("error", onError);
  return {
    [Symbol.dispose]: () => {
      globalThis.removeEventListener("unhandledrejection", onRejection);
      globalThis.removeEventListener("error", onError);
    },
  };
}

/** Converts any thrown value to text; never throws, even if the value has no text form. */
function textOf(fault: unknown): string {
  try {
    return String(fault);
  } catch {
    return `a thrown ${typeof fault} that makes no text`;
  }
}
