/**
 * Stands in for those modules of mtlsd whose plain functions are places of the fault suite; an import
 * map sends their importers here, and everything else that they export goes through as it is.
 *
 * @module
 */

import type { Address } from "../../src/config/config.ts";
import { authorize as realAuthorize } from "../../src/acl/mod.ts";
import { identityOf as realIdentityOf } from "../../src/identity.ts";
import { createLogger as realLogger, type Logger, type LoggerOptions } from "../../src/log/mod.ts";
import { TunnelCounters as RealCounters } from "../../src/metrics/counters.ts";
import {
  dial as realDial,
  listen as realListen,
  type SocketListener,
  type SocketOptions,
} from "../../src/net/mod.ts";
import { copyBidirectional as realCopy } from "../../src/proxy/copy.ts";
import { acceptTls as realAcceptTls } from "../../src/proxy/downstream.ts";
import { type NativeTcp, nativeTcp as realNativeTcp } from "../../src/native/tcp.ts";
import { type NativeTls, nativeTls as realNativeTls } from "../../src/native/tls.ts";
import { join, marked, passesOfCurrent, passing, route, trip } from "./support_injector.ts";
import { become } from "./support_marked.ts";
import { markTcp, markTls } from "./support_native.ts";

export * from "../../src/acl/mod.ts";
export * from "../../src/identity.ts";
export * from "../../src/log/mod.ts";
export * from "../../src/metrics/counters.ts";
export * from "../../src/net/mod.ts";
export * from "../../src/proxy/copy.ts";
export * from "../../src/proxy/downstream.ts";
export * from "../../src/native/tcp.ts";
export * from "../../src/native/tls.ts";

/** The place `authorize`. */
export const authorize: typeof realAuthorize = passing("authorize", realAuthorize);
/** The place `identity`. */
export const identityOf: typeof realIdentityOf = passing("identity", realIdentityOf);

/** The place `dial`, and those of the channel. */
export const dial: typeof realDial = passing(
  "dial",
  (...args) => realDial(...args).then(marked),
);

/** The places of the channels that are accepted. */
export async function listen(
  address: Address,
  options: SocketOptions,
): Promise<SocketListener> {
  const real = await realListen(address, options);
  return {
    address: real.address,
    accept: () => real.accept().then(marked),
    close: () => real.close(),
  };
}

/** The place `copyBidirectional`. */
export const copyBidirectional: typeof realCopy = passing("copy", realCopy);

/** The first bytes are read before TLS is there: from here on the places are those of the stream. */
export function acceptTls(
  ...args: Parameters<typeof realAcceptTls>
): ReturnType<typeof realAcceptTls> {
  become(args[0].conn, "wire");
  return realAcceptTls(...args);
}

/** The places of sockets, where they are carried by the runtime's own handles. */
export function nativeTcp(version?: string): NativeTcp | undefined {
  const real = route() === "native" ? realNativeTcp(version) : undefined;
  return real && markTcp(real, passesOfCurrent);
}

/** The places of the TLS engine likewise. */
export function nativeTls(version?: string): NativeTls | undefined {
  const real = route() === "native" ? realNativeTls(version) : undefined;
  return real && markTls(real, passesOfCurrent);
}

/** The places `log.` and the message. */
export function createLogger(options: LoggerOptions): Logger {
  return trippingLogger(realLogger(options));
}

function trippingLogger(real: Logger): Logger {
  const at = (level: "debug" | "info" | "warn" | "error"): Logger["info"] => (message, fields) => {
    if (message === "listener: accepted connection" || message === "dialer: connected") join();
    void trip(`log.${message}`);
    real[level](message, fields);
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => trippingLogger(real.with(fields)),
    endingWith: (fields) => trippingLogger(real.endingWith(fields)),
    forPeers: () => trippingLogger(real.forPeers()),
    enabled: (level) => real.enabled(level),
  };
}

/** The places `metrics.` and the method. */
export class TunnelCounters extends RealCounters {
  constructor(cells: Float64Array) {
    super(cells);
    return new Proxy(this, {
      get(real: RealCounters, name) {
        const value: unknown = Reflect.get(real, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          void trip(`metrics.${String(name)}`);
          return Reflect.apply(value, real, args);
        };
      },
    });
  }
}
