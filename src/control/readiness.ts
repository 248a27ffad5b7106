/**
 * The answers of the probes for running tunnels.
 *
 * @module
 */

import { trustFault } from "../certstore/bundle.ts";
import type { CertStore, ReloadStatus } from "../certstore/store.ts";
import type { NonEmpty, TunnelConfig } from "../config/config.ts";
import type { CertFacts, CertStatus, LastReload, Readiness, TunnelCerts } from "../admin/probes.ts";
import { formatName } from "../x509/names.ts";
import { withoutPaths } from "./without_paths.ts";

/** The source of the certificates in effect. */
export type CredentialSource = Pick<CertStore, "credentials">;

/**
 * Whether one tunnel is ready: it accepts connections and has a usable identity.
 *
 * @param accepting whether its listener accepts connections.
 * @param now milliseconds since the epoch.
 */
export function tunnelReadiness(
  { name, mode, tls, upstream }: TunnelConfig,
  accepting: boolean,
  store: CredentialSource,
  now: number,
): Readiness {
  const no = (reason: string): Readiness => ({
    ready: false,
    reason: name === undefined ? reason : `tunnel "${name}": ${reason}`,
  });
  if (!accepting) return no("the listener does not accept connections");
  const sides = [{ block: tls, whose: "" }];
  if (upstream !== undefined) sides.push({ block: upstream.tls, whose: " for the target" });
  for (const { block, whose } of sides) {
    const { leaf: { notBefore, notAfter }, anchors } = store.credentials(block);
    if (now < notBefore) return no(`the certificate${whose} is not yet valid`);
    // The second of `notAfter` is included, as in every check of validity.
    if (now >= notAfter + 1000) return no(`the certificate${whose} has expired`);
    // The bundle is unused if no client certificates are requested, unless it is also used for the
    // upstream.
    const unused = whose === "" && tls.clientAuth === "none" &&
      (mode === "server" || upstream !== undefined);
    const fault = unused ? undefined : trustFault(anchors, now);
    if (fault !== undefined) return no(`the bundle${whose} verifies no peer: ${fault}`);
  }
  return { ready: true };
}

/**
 * The certificates of all tunnels: those of the first one and, if tunnels are named, of each by
 * name. Contains no file paths, because anyone may query the probe. `config` is the config's name
 * in messages, to remove.
 */
export function certStatus(
  tunnels: NonEmpty<TunnelConfig>,
  store: CredentialSource & Pick<CertStore, "status">,
  config?: string,
): CertStatus {
  const named = tunnels.flatMap((tunnel) =>
    tunnel.name === undefined ? [] : [[tunnel.name, tunnelCerts(tunnel, store)] as const]
  );
  return {
    ...tunnelCerts(tunnels[0], store),
    lastReload: lastReload(store.status(), (text) => withoutPaths(text, tunnels, config)),
    ...(named.length === 0 ? {} : { tunnels: new Map(named) }),
  };
}

function tunnelCerts({ tls, upstream }: TunnelConfig, store: CredentialSource): TunnelCerts {
  const own = store.credentials(tls);
  const other = upstream === undefined ? own : store.credentials(upstream.tls);
  return { ...facts(own), ...(other === own ? {} : { upstream: facts(other) }) };
}

function facts({ leaf }: ReturnType<CredentialSource["credentials"]>): CertFacts {
  return {
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    subject: formatName(leaf.subject),
    serial: leaf.serial,
  };
}

function lastReload(
  { time, result, error }: ReloadStatus,
  tellable: (text: string) => string,
): LastReload | undefined {
  if (time === undefined || result === undefined) return undefined;
  const at = Date.parse(time);
  return result === "success"
    ? { result, time: at }
    : { result, time: at, error: tellable(error ?? "") };
}
