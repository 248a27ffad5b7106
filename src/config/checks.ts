/**
 * Checks the keys of a config against each other: required keys, keys that exclude one another, and
 * what tunnels cannot share. Each check uses only values that are valid on their own, so it can run despite other
 * errors.
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
import type { KeyPath } from "./problem.ts";
import { quote } from "../util/text.ts";
import { KEYS } from "./keys.ts";
import { defaultOf, type Raw, type RawConfig, type RawTunnel } from "./schema.ts";
import { OWN_KEYS, type Scope, type ScopeDeps } from "./scope.ts";

/** The values of a `tls` block. */
export type RawTls = Raw<typeof KEYS.tls.keys>;

/** Runs all checks on one tunnel. */
export function checkTunnel(scope: Scope): void {
  checkRequired(scope);
  checkTrust(scope);
  checkUpstream(scope);
  checkVersions(scope);
  checkSockets(scope);
  checkTargets(scope);
  checkServerNames(scope);
}

const { mode, listen, target, tls } = KEYS;
const REQUIRED: readonly (readonly [KeyPath, string])[] = [
  [["mode"], mode.required],
  [["listen"], listen.required],
  [["target"], target.required],
  [["tls"], tls.required],
  [["tls", "cert"], tls.keys.cert.required],
  [["tls", "key"], tls.keys.key.required],
];

function checkRequired({ label, raw, has, lacks, report }: Scope): void {
  if (label !== undefined && lacks(["name"])) {
    report(["name"], 'Cannot do without "name": add what logs and metrics call it, such as "grpc"');
  }
  for (const [path, what] of REQUIRED) {
    if (path.length > 1 && raw.tls === undefined) continue;
    if (path[0] === "target" && !lacks(["targets"])) continue;
    if (lacks(path)) report(path, `Cannot do without ${quote(String(path.at(-1)))}: add ${what}`);
  }
  if (has(["target"]) && has(["targets"])) {
    report(["targets"], 'Cannot use "targets" beside "target": write one of them');
  }
}

function checkTrust({ raw, has, owns, lacks, report }: Scope): void {
  if (raw.tls === undefined) return;
  const clientAuth = has(["tls", "client_auth"])
    ? raw.tls.client_auth
    : defaultOf(KEYS.tls.keys.client_auth);
  if (raw.mode === "bridge" && (clientAuth === "none" || clientAuth === "optional")) {
    report(
      ["tls", "client_auth"],
      `Cannot use ${quote(clientAuth)} in bridge mode, where both peers are authenticated: write ` +
        '"client_auth: required"',
    );
  } else if (raw.mode !== "client" && clientAuth === "none") {
    checkNoClientAuth({ raw, has, owns, report });
    return;
  }
  // An invalid client_auth may have been meant as "none".
  if (lacks(["tls", "ca"]) && (raw.mode === "client" || clientAuth !== undefined)) {
    report(
      ["tls", "ca"],
      'Cannot do without "ca": add the path of the CAs that sign the peers, PEM',
    );
  }
}

/** Rules and lists that apply to peer certificates, on a side that requests none. */
function checkNoClientAuth(
  { raw, has, owns, report }: Pick<Scope, "raw" | "has" | "owns" | "report">,
): void {
  const asked = (path: KeyPath): void =>
    report(
      path,
      `Cannot use ${quote(String(path.at(-1)))} with client_auth "none", where no certificate is ` +
        `checked: remove one of them${owns(path) ? "" : ", or write [] in the tunnel"}`,
    );
  for (const [key, value] of Object.entries(raw.acl ?? {})) {
    if (Array.isArray(value) && value.length > 0) asked(["acl", key]);
  }
  if (has(["tls", "crl"]) && (raw.tls?.crl?.length ?? 1) > 0 && !has(["tls", "ca"])) {
    asked(["tls", "crl"]);
  }
}

/**
 * The second identity of a bridge. A certificate without its key would be paired with the key of
 * `tls`.
 */
function checkUpstream({ raw, has, report }: Scope): void {
  if (raw.mode !== "bridge") return;
  for (const [one, other] of [["cert", "key"], ["key", "cert"]] as const) {
    if (has(["upstream_tls", one]) && !has(["upstream_tls", other])) {
      report(
        ["upstream_tls", one],
        `Cannot use ${quote(one)} without ${quote(other)}: they are one identity: add ` +
          quote(other),
      );
    }
  }
}

/** The `tls` block for the upstream of a bridge. Keys that it leaves out come from `tls`. */
export function upstreamTls(tls: RawTls, upstream: RawTunnel["upstream_tls"]): RawTls {
  // The lists and intermediates of one CA do not apply to another.
  const ofOtherCas = { crl: undefined, intermediates: undefined };
  return {
    ...tls,
    ...(upstream?.ca === undefined ? {} : ofOtherCas),
    client_auth: undefined,
    ...upstream,
  };
}

function checkVersions({ raw, report }: Scope): void {
  const check = (block: "tls" | "upstream_tls", tls: RawTls): void => {
    if (tls.min_version !== "TLS1.3" || tls.max_version !== "TLS1.2") return;
    report(
      [block, "min_version"],
      'Cannot use "TLS1.3": must not be above max_version, which is "TLS1.2"',
    );
  };
  if (raw.tls === undefined) return;
  check("tls", raw.tls);
  if (raw.mode === "bridge" && raw.upstream_tls !== undefined) {
    check("upstream_tls", upstreamTls(raw.tls, raw.upstream_tls));
  }
}

/** The targets of a tunnel with their key paths. */
export function targetsOf({ raw }: Pick<Scope, "raw">): readonly (readonly [KeyPath, Address])[] {
  const { target, targets } = raw;
  if (targets === undefined) return target === undefined ? [] : [[["target"], target]];
  return targets.map((address, index) => [["targets", index], address]);
}

/** Only a plaintext side may be a UNIX socket, since its other end is on this machine. */
function checkSockets(scope: Scope): void {
  const { raw: { mode, listen }, report } = scope;
  if (listen?.kind === "unix" && (mode === "server" || mode === "bridge")) {
    report(
      ["listen"],
      `Cannot listen on ${
        quote(formatAddress(listen))
      } in ${mode} mode, which accepts TLS from other ` +
        'machines: must be host:port, such as "0.0.0.0:8443"',
    );
  }
  if (mode !== "client" && mode !== "bridge") return;
  for (const [path, address] of targetsOf(scope)) {
    if (address.kind !== "unix") continue;
    report(
      path,
      `Cannot forward to ${
        quote(formatAddress(address))
      } in ${mode} mode, which dials TLS on other ` +
        'machines: must be host:port, such as "db.example.com:8443"',
    );
  }
}

function checkTargets(scope: Scope): void {
  const { raw: { listen }, report } = scope;
  const seen = new Set<string>();
  for (const [path, address] of targetsOf(scope)) {
    const text = formatAddress(address);
    const key = address.kind === "tcp" ? text.toLowerCase() : text;
    if (seen.has(key)) {
      report(path, `Cannot use ${quote(text)} twice: it stands in the list already: remove it`);
    }
    seen.add(key);
    if (listen === undefined || !overlaps(listen, address)) continue;
    // Every interface includes loopback. Which other addresses it includes is not known here.
    const certain = listen.kind === "unix" || address.kind === "unix" ||
      isLoopback(address.host) || !isEveryInterface(listen.host);
    if (!certain) continue;
    report(
      path,
      `Cannot forward to ${quote(text)}: this is where "listen" accepts: choose another ` +
        (address.kind === "unix" ? "path" : "port"),
    );
  }
}

/** The default of `server_name`: the host of the target. */
export function defaultServerName(host: string): ReturnType<typeof parseServerName> {
  return parseServerName(host.replace(/\.$/, ""));
}

function checkServerNames(scope: Scope): void {
  const { raw: { mode }, has, report } = scope;
  if (mode !== "client" && mode !== "bridge") return;
  if (has(["tls", "server_name"]) || (mode === "bridge" && has(["upstream_tls", "server_name"]))) {
    return;
  }
  for (const [path, address] of targetsOf(scope)) {
    if (address.kind !== "tcp") continue;
    const name = defaultServerName(address.host);
    if (name.ok) continue;
    report(
      path,
      `Cannot expect ${quote(address.host)} in the server's certificate: ${name.reason}: ` +
        "set tls.server_name",
    );
  }
}

/** Runs all checks across tunnels. */
export function checkTogether(
  raw: RawConfig,
  scopes: readonly Scope[],
  { source, report }: Pick<ScopeDeps, "source" | "report">,
): void {
  if (source.has(["tunnels"])) {
    for (const key of OWN_KEYS) {
      if (!source.has([key])) continue;
      report(
        [key],
        `Cannot use ${quote(key)} beside "tunnels", which cannot share it: move it there`,
      );
    }
  }
  checkNames(scopes);
  checkListeners(raw, scopes, report);
}

function checkNames(scopes: readonly Scope[]): void {
  const first = new Map<string, Scope>();
  for (const scope of scopes) {
    const { name } = scope.raw;
    if (name === undefined) continue;
    const other = first.get(name);
    if (other === undefined) first.set(name, scope);
    else {
      scope.report(
        ["name"],
        `Cannot use ${quote(name)} twice: ${other.label} has it: choose another`,
      );
    }
  }
}

function checkListeners(
  raw: RawConfig,
  scopes: readonly Scope[],
  report: ScopeDeps["report"],
): void {
  const taken: { readonly who: string; readonly address: Address }[] = [];
  const take = (who: string, address: Address, refuse: (message: string) => void): void => {
    const other = taken.find((one) => overlaps(one.address, address));
    if (other === undefined) {
      taken.push({ who, address });
      return;
    }
    const theirs = quote(formatAddress(other.address));
    refuse(
      `Cannot listen on ${quote(formatAddress(address))}: ${other.who} has ${theirs} already: ` +
        `choose another ${address.kind === "unix" ? "path" : "port"}`,
    );
  };
  for (const { label, raw: { listen }, report: refuse } of scopes) {
    if (listen === undefined) continue;
    take(label ?? "listen", listen, (message) => refuse(["listen"], message));
  }
  for (const name of ["health", "metrics"] as const) {
    if (raw[name]?.enabled !== true) continue;
    const address = raw[name].listen ?? defaultOf(KEYS[name].keys.listen);
    take(`${name}.listen`, address, (message) => report([name, "listen"], message));
  }
}
