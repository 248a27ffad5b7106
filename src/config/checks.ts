/**
 * What belongs together: keys that must be there, keys that exclude each other, ports that collide.
 * Each check looks only at values that are valid on their own, so that it can run whatever else is
 * wrong.
 *
 * @module
 */

import {
  formatAddress,
  isEveryInterface,
  isLoopback,
  overlaps,
  parseServerName,
} from "./address.ts";
import type { Address } from "./config.ts";
import { type KeyPath, quote } from "./problem.ts";
import type { RawConfig } from "./raw.ts";

/** Where the endpoints listen when the config does not say: loopback only. */
export const DEFAULT_LISTEN: { readonly health: Address; readonly metrics: Address } = {
  health: { host: "127.0.0.1", port: 9000 },
  metrics: { host: "127.0.0.1", port: 9001 },
};

/** What the checks know and where they report to. */
export type CheckContext = {
  readonly raw: RawConfig;
  /** Whether the file has the key, valid or not. */
  has(path: KeyPath): boolean;
  /** Whether the key is absent, and no mistyped key stands for it either. */
  lacks(path: KeyPath): boolean;
  report(path: KeyPath, message: string): void;
};

/** Runs every check. */
export function runChecks(context: CheckContext): void {
  checkRequired(context);
  checkTrust(context);
  checkRoles(context);
  checkAnonymous(context);
  checkVersions(context);
  checkServerName(context);
  checkListeners(context);
}

const REQUIRED: readonly (readonly [KeyPath, string])[] = [
  [["mode"], '"mode: server" or "mode: client"'],
  [["listen"], 'where to accept, such as "listen: 0.0.0.0:8443"'],
  [["target"], 'where to forward, such as "target: 127.0.0.1:8080"'],
  [["tls"], 'a block with "cert", "key" and "ca"'],
  [["tls", "cert"], "the path of the own certificate chain, PEM"],
  [["tls", "key"], "the path of the own private key, PEM"],
];

function checkRequired({ raw, lacks, report }: CheckContext): void {
  for (const [path, what] of REQUIRED) {
    if (path.length > 1 && raw.tls === undefined) continue;
    if (lacks(path)) report(path, `Cannot do without ${quote(String(path.at(-1)))}: add ${what}`);
  }
}

function checkTrust({ raw, has, lacks, report }: CheckContext): void {
  if (raw.tls === undefined) return;
  const clientAuth = has(["tls", "client_auth"]) ? raw.tls.client_auth : "required";
  if (raw.mode !== "client" && clientAuth === "none") {
    checkUnasked(raw, has, report);
    return;
  }
  // A client_auth that is not valid may have meant "none".
  if (lacks(["tls", "ca"]) && (raw.mode === "client" || clientAuth !== undefined)) {
    report(
      ["tls", "ca"],
      'Cannot do without "ca": add the path of the CAs that sign the peers, PEM',
    );
  }
}

/** Keys that say something about peers' certificates, of which there are none. */
function checkUnasked(
  raw: RawConfig,
  has: CheckContext["has"],
  report: CheckContext["report"],
): void {
  const asked = (path: KeyPath): void =>
    report(
      path,
      `Cannot use ${quote(String(path.at(-1)))} with client_auth "none", where no certificate is ` +
        "checked: remove one of them",
    );
  for (const [key, value] of Object.entries(raw.acl ?? {})) {
    if (Array.isArray(value) ? value.length > 0 : value !== undefined) asked(["acl", key]);
  }
  if ((raw.proxy?.max_connections_per_peer ?? 0) > 0) asked(["proxy", "max_connections_per_peer"]);
  if (has(["tls", "crl"]) && (raw.tls?.crl?.length ?? 1) > 0 && !has(["tls", "ca"])) {
    asked(["tls", "crl"]);
  }
}

function checkAnonymous({ raw, report }: CheckContext): void {
  if (raw.acl?.allow_anonymous !== true || raw.mode === undefined) return;
  if (raw.mode === "server" && raw.tls?.client_auth === "optional") return;
  // With "none" there is another message.
  if (raw.mode === "server" && raw.tls?.client_auth === "none") return;
  report(
    ["acl", "allow_anonymous"],
    raw.mode === "client"
      ? 'Cannot use "allow_anonymous" in client mode, where the server always shows a certificate: remove it'
      : 'Cannot use "allow_anonymous" unless client_auth is "optional": a peer without a certificate ' +
        "does not get as far as the rules",
  );
}

function checkRoles({ raw, has, report }: CheckContext): void {
  if (raw.mode === "client" && has(["tls", "client_auth"])) {
    report(
      ["tls", "client_auth"],
      'Cannot use "client_auth" in client mode, where the server always shows a certificate: remove it',
    );
  }
  if (raw.mode === "client" && (raw.proxy?.max_connections_per_peer ?? 0) > 0) {
    report(
      ["proxy", "max_connections_per_peer"],
      'Cannot use "max_connections_per_peer" in client mode, where callers show no certificate: ' +
        "remove it",
    );
  }
  if (raw.mode === "server" && has(["tls", "server_name"])) {
    report(
      ["tls", "server_name"],
      'Cannot use "server_name" in server mode, where no TLS server is dialled: remove it',
    );
  }
}

function checkVersions({ raw, report }: CheckContext): void {
  if (raw.tls?.min_version === "TLS1.3" && raw.tls.max_version === "TLS1.2") {
    report(
      ["tls", "min_version"],
      'Cannot use "TLS1.3": must not be above max_version, which is "TLS1.2"',
    );
  }
}

/** The name that a client expects where the config gives none: the host of the target. */
export function defaultServerName(target: Address): ReturnType<typeof parseServerName> {
  return parseServerName(target.host.replace(/\.$/, ""));
}

function checkServerName({ raw, has, report }: CheckContext): void {
  if (raw.mode !== "client" || raw.target === undefined || has(["tls", "server_name"])) return;
  const name = defaultServerName(raw.target);
  if (name.ok) return;
  report(
    ["target"],
    `Cannot expect ${quote(raw.target.host)} in the server's certificate: ${name.reason}: ` +
      "set tls.server_name",
  );
}

function checkListeners({ raw, report }: CheckContext): void {
  const taken: { readonly key: string; readonly address: Address }[] = [];
  if (raw.listen !== undefined) taken.push({ key: "listen", address: raw.listen });
  for (const name of ["health", "metrics"] as const) {
    if (raw[name]?.enabled !== true) continue;
    const address = raw[name].listen ?? DEFAULT_LISTEN[name];
    const other = taken.find((one) => overlaps(one.address, address));
    if (other === undefined) {
      taken.push({ key: `${name}.listen`, address });
      continue;
    }
    const theirs = quote(formatAddress(other.address));
    report(
      [name, "listen"],
      `Cannot listen on ${quote(formatAddress(address))}: ${other.key} has ${theirs} already: ` +
        "choose another port",
    );
  }
  const { listen, target } = raw;
  if (listen === undefined || target === undefined || !overlaps(listen, target)) return;
  // Every interface includes loopback; what else it includes, only the machine knows.
  if (isLoopback(target.host) || !isEveryInterface(listen.host)) {
    report(
      ["target"],
      `Cannot forward to ${quote(formatAddress(target))}: this is where "listen" accepts: ` +
        "choose another port",
    );
  }
}
