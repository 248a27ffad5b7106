/**
 * Checks across tunnels: names, listen addresses, and keys that tunnels cannot share.
 *
 * @module
 */

import { formatAddress, overlaps } from "./address.ts";
import type { Address, TcpAddress } from "./config.ts";
import { quote } from "../util/text.ts";
import type { RawConfig } from "./raw.ts";
import { OWN_KEYS, type Scope, type ScopeDeps } from "./scope.ts";

/** The default listen addresses of the endpoints, on loopback only. */
export const DEFAULT_LISTEN: { readonly health: TcpAddress; readonly metrics: TcpAddress } = {
  health: { kind: "tcp", host: "127.0.0.1", port: 9000 },
  metrics: { kind: "tcp", host: "127.0.0.1", port: 9001 },
};

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
    const address = raw[name].listen ?? DEFAULT_LISTEN[name];
    take(`${name}.listen`, address, (message) => report([name, "listen"], message));
  }
}
