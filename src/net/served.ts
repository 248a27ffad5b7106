/**
 * Compares where `Deno.serve` listens with where it was asked to listen.
 *
 * Deno 2.9 reads the environment variable DENO_SERVE_ADDRESS itself, without a grant. For the first
 * `Deno.serve` of a process, `tcp:HOST:PORT`, `unix:PATH` or `vsock:CID:PORT` replaces the
 * requested address. With the prefix `duplicate,` Deno listens on it as well, and nothing shows
 * that.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { HostPort } from "../config/config.ts";
import { parseIp } from "../util/ip.ts";

/** The environment variable that changes where `Deno.serve` listens. */
export const SERVE_VARIABLE = "DENO_SERVE_ADDRESS";

/**
 * The address of a server, where it differs from the requested one; `undefined` where it is the
 * same. Port 0 matches any port. A host name is not resolved here, so for a name only the port is
 * compared.
 */
export function otherAddress(asked: HostPort, got: Deno.Addr): string | undefined {
  if (got.transport !== "tcp") {
    return "path" in got ? `unix:${got.path}` : got.transport;
  }
  const address = { host: got.hostname, port: got.port };
  const host = parseIp(asked.host);
  const same = (asked.port === 0 || asked.port === got.port) &&
    (host === undefined || `${host}` === `${parseIp(got.hostname)}`);
  return same ? undefined : formatAddress(address);
}
