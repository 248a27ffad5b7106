/**
 * Where `Deno.serve` listens, compared with where it was to listen.
 *
 * Deno 2.9 reads DENO_SERVE_ADDRESS of its own environment, without a grant. In the first `Deno.serve` of
 * a process `tcp:HOST:PORT`, `unix:PATH` or `vsock:CID:PORT` takes the place of the address that was
 * asked for, and with `duplicate,` in front it is listened on besides, which nothing shows.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { HostPort } from "../config/config.ts";
import { parseIp } from "../config/ip.ts";

/** What moves `Deno.serve`. */
export const SERVE_VARIABLE = "DENO_SERVE_ADDRESS";

/**
 * The address that a server has, where it is not the one that was asked for; `undefined` where it is. Port
 * 0 stands for any. Which address a host name stands for is not known here, so there only the port
 * counts.
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
