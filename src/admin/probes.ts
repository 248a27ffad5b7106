/**
 * Serves the probes (`/healthz`, `/readyz`, `/certz`) and the metrics (`/metrics`), each on its own
 * port.
 *
 * @module
 */

import type { HostPort } from "../config/config.ts";
import { type Handler, type HttpEndpoint, json, reply, serveHttp } from "./http.ts";
import type { Logger } from "../log/mod.ts";
import type { Metrics } from "./metrics.ts";

/** Whether the process can take traffic and, if not, the reason. */
export type Readiness =
  | { readonly ready: true }
  | { readonly ready: false; readonly reason: string };

/** The result of the last reload of certificates. `time` is in milliseconds since the epoch. */
export type LastReload =
  | { readonly result: "success"; readonly time: number }
  | { readonly result: "failure"; readonly time: number; readonly error: string };

/** An own certificate. Times are in milliseconds since the epoch. */
export type CertFacts = {
  readonly notBefore: number;
  readonly notAfter: number;
  /** The subject as text, such as `CN=backend,O=Acme`. */
  readonly subject: string;
  /** Hexadecimal. */
  readonly serial: string;
};

/** The own certificates of a tunnel. */
export type TunnelCerts = CertFacts & {
  /** The certificate for the upstream of a bridge, if it is a different one. */
  readonly upstream?: CertFacts;
};

/** The own certificates: those of the first tunnel and, if tunnels are named, of all by name. */
export type CertStatus = TunnelCerts & {
  /** `undefined` before the first reload. Reloads affect all tunnels. */
  readonly lastReload: LastReload | undefined;
  /** By the name of the tunnel. */
  readonly tunnels?: ReadonlyMap<string, TunnelCerts>;
};

/** The source of the probes' answers. Each function is called for every request. */
export type ProbeSource = {
  /** For `/readyz`. */
  ready(): Readiness;
  /** For `/certz`. */
  cert(): CertStatus;
};

/** Options of {@linkcode startHealthServer}. */
export type HealthServerOptions = {
  readonly listen: HostPort;
  readonly source: ProbeSource;
  readonly logger: Logger;
  /** Milliseconds since the epoch, for `days_left`; default `Date.now`. */
  readonly now?: () => number;
};

/** Options of {@linkcode startMetricsServer}. */
export type MetricsServerOptions = {
  readonly listen: HostPort;
  readonly metrics: Pick<Metrics, "render" | "contentType">;
  readonly logger: Logger;
};

/**
 * Starts to serve the probes; resolves once the address is bound.
 *
 * @throws {ListenError} if the address cannot be bound.
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
 * Starts to serve the metrics; resolves once the address is bound.
 *
 * @throws {ListenError} if the address cannot be bound.
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

type Body = Readonly<Record<string, unknown>>;

function certBody({ lastReload, upstream, tunnels, ...own }: CertStatus, now: number): Body {
  return {
    ...factsBody(own, now),
    last_reload: lastReload === undefined ? null : {
      time: new Date(lastReload.time).toISOString(),
      result: lastReload.result,
      error: lastReload.result === "failure" ? lastReload.error : null,
    },
    ...upstreamBody(upstream, now),
    ...(tunnels === undefined ? {} : {
      tunnels: Object.fromEntries([...tunnels].map(([name, certs]) => [
        name,
        { ...factsBody(certs, now), ...upstreamBody(certs.upstream, now) },
      ])),
    }),
  };
}

function upstreamBody(upstream: CertFacts | undefined, now: number): Body {
  return upstream === undefined ? {} : { upstream: factsBody(upstream, now) };
}

function factsBody({ notBefore, notAfter, subject, serial }: CertFacts, now: number): Body {
  return {
    not_before: new Date(notBefore).toISOString(),
    not_after: new Date(notAfter).toISOString(),
    // Whole days; negative after expiry.
    days_left: Math.floor((notAfter - now) / DAY),
    subject,
    serial,
  };
}
