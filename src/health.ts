/**
 * The probes (`/healthz`, `/readyz`, `/certz`) and the metrics (`/metrics`), each on a port of its own.
 *
 * @module
 */

import type { Address } from "./config/config.ts";
import { type Handler, type HttpEndpoint, json, reply, serveHttp } from "./http.ts";
import type { Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";

/** Whether traffic should be sent here, and if not, why. */
export type Readiness =
  | { readonly ready: true }
  | { readonly ready: false; readonly reason: string };

/** How the last load of certificates came out. `time` is milliseconds since the epoch. */
export type LastReload =
  | { readonly result: "success"; readonly time: number }
  | { readonly result: "failure"; readonly time: number; readonly error: string };

/** The own certificate. Times are milliseconds since the epoch. */
export type CertStatus = {
  readonly notBefore: number;
  readonly notAfter: number;
  /** The subject as text, such as `CN=backend,O=Acme`. */
  readonly subject: string;
  /** Hex. */
  readonly serial: string;
  /** `undefined` as long as nothing was reloaded. */
  readonly lastReload: LastReload | undefined;
};

/** Where the probes' answers come from; each function is asked on every request. */
export type ProbeSource = {
  /** For `/readyz`. */
  ready(): Readiness;
  /** For `/certz`. */
  cert(): CertStatus;
};

/** Settings of {@linkcode startHealthServer}. */
export type HealthServerOptions = {
  readonly listen: Address;
  readonly source: ProbeSource;
  readonly logger: Logger;
  /** Milliseconds since the epoch, for `days_left`; default `Date.now`. */
  readonly now?: () => number;
};

/** Settings of {@linkcode startMetricsServer}. */
export type MetricsServerOptions = {
  readonly listen: Address;
  readonly metrics: Pick<Metrics, "render" | "contentType">;
  readonly logger: Logger;
};

/**
 * Serve the probes; resolves once bound.
 *
 * @throws {ListenError} when the address cannot be bound.
 */
export function startHealthServer(options: HealthServerOptions): Promise<HttpEndpoint> {
  const { source, now = Date.now } = options;
  return serveHttp(
    "health server",
    options.listen,
    options.logger,
    new Map<string, Handler>([
      ["/healthz", () => json(200, { status: "alive" })],
      ["/readyz", () => {
        const state = source.ready();
        return state.ready
          ? json(200, { status: "ready" })
          : json(503, { status: "not ready", reason: state.reason });
      }],
      ["/certz", () => json(200, certBody(source.cert(), now()))],
    ]),
  );
}

/**
 * Serve the metrics; resolves once bound.
 *
 * @throws {ListenError} when the address cannot be bound.
 */
export function startMetricsServer(options: MetricsServerOptions): Promise<HttpEndpoint> {
  const { metrics } = options;
  return serveHttp(
    "metrics server",
    options.listen,
    options.logger,
    new Map([
      ["/metrics", async () => reply(200, metrics.contentType, await metrics.render())],
    ]),
  );
}

const DAY = 86_400_000;

function certBody(status: CertStatus, now: number): Record<string, unknown> {
  const { lastReload } = status;
  return {
    not_before: new Date(status.notBefore).toISOString(),
    not_after: new Date(status.notAfter).toISOString(),
    // Whole days; negative once it has expired.
    days_left: Math.floor((status.notAfter - now) / DAY),
    subject: status.subject,
    serial: status.serial,
    last_reload: lastReload === undefined ? null : {
      time: new Date(lastReload.time).toISOString(),
      result: lastReload.result,
      error: lastReload.result === "failure" ? lastReload.error : null,
    },
  };
}
