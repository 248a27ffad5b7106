/**
 * Settings that apply only to certain tunnels. A setting without effect is an error if it is
 * written for that tunnel. If it is written at the top level, it is dropped for the tunnels it does
 * not apply to, and is an error only if it applies to none.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";
import { KEYS } from "./keys.ts";
import { type Block, type Entry, type Key } from "./config.ts";
import type { RawConfig, RawTunnel } from "./schema.ts";
import type { Scope, ScopeDeps } from "./scope.ts";

/** The condition for using a setting, besides the modes that the table of keys excludes. */
type Condition = {
  /** Whether the value has any effect; by default every value has. */
  readonly asks?: (raw: RawConfig | RawTunnel) => boolean;
  /**
   * Why the tunnel cannot use it; `undefined` if it can. By default only its mode counts.
   *
   * @param inMode why the setting cannot be used in the mode of the tunnel, if it cannot.
   */
  readonly fault?: (raw: RawTunnel, inMode: string | undefined) => string | undefined;
};

/** The message for a setting that needs peer certificates, on a side that requests none. */
function needsClientAuth(key: string): string {
  return `Cannot use "${key}" with client_auth "none", where no certificate is checked: remove one ` +
    "of them";
}

function hasNoClientAuth({ mode, tls }: RawTunnel): boolean {
  return mode !== "client" && mode !== "bridge" && tls?.client_auth === "none";
}

const CONDITIONS: Readonly<Record<string, Condition>> = {
  "acl.mode": {
    fault: (raw) => hasNoClientAuth(raw) ? needsClientAuth("mode") : undefined,
  },
  "acl.allow_anonymous": {
    fault: (raw, inMode) => {
      if (hasNoClientAuth(raw)) return needsClientAuth("allow_anonymous");
      if (raw.mode === undefined || raw.acl?.allow_anonymous !== true) return undefined;
      if (inMode !== undefined || raw.tls?.client_auth === "optional") return inMode;
      return 'Cannot use "allow_anonymous" unless ' +
        'client_auth is "optional": a peer without a certificate does not get as far as the rules';
    },
  },
  "proxy.max_connections_per_peer": {
    asks: ({ proxy }) => (proxy?.max_connections_per_peer ?? 0) > 0,
    fault: (raw, inMode) =>
      hasNoClientAuth(raw) ? needsClientAuth("max_connections_per_peer") : inMode,
  },
  "proxy.balance": {
    fault: ({ target, targets }) =>
      target !== undefined && targets === undefined
        ? 'Cannot use "balance" with one target: write "targets" in place of "target", or remove it'
        : undefined,
  },
  "proxy.proxy_protocol": {
    asks: ({ proxy }) => (proxy?.proxy_protocol ?? "off") !== "off",
  },
  "proxy.accept_proxy_protocol": {
    asks: ({ proxy }) => (proxy?.accept_proxy_protocol?.length ?? 0) > 0,
    fault: ({ listen }) =>
      listen?.kind === "unix"
        ? 'Cannot use "accept_proxy_protocol" with a UNIX socket, whose callers have no address: ' +
          "remove it"
        : undefined,
  },
  "proxy.socket_mode": {
    fault: ({ listen }) =>
      listen?.kind === "tcp"
        ? 'Cannot use "socket_mode" unless "listen" is a UNIX socket: remove it'
        : undefined,
  },
};

/** A setting that some tunnels cannot use. */
type Fit = {
  readonly path: KeyPath;
  readonly asks: (raw: RawConfig | RawTunnel) => boolean;
  readonly fault: (raw: RawTunnel) => string | undefined;
};

function fits(): readonly Fit[] {
  return restrictedEntries().map(({ path, notIn }): Fit => {
    const { asks = () => true, fault } = CONDITIONS[path.join(".")] ?? {};
    const inMode = ({ mode }: RawTunnel): string | undefined => {
      const reason = mode === undefined ? undefined : notIn[mode];
      return reason && `Cannot use "${path.at(-1)}" in ${mode} mode, where ${reason}`;
    };
    return {
      path,
      asks,
      fault: (raw) => fault === undefined ? inMode(raw) : fault(raw, inMode(raw)),
    };
  });
}

/** The blocks and keys with a condition or a mode in which they cannot be used. */
function restrictedEntries(): readonly {
  readonly path: KeyPath;
  readonly notIn: NonNullable<Entry["notIn"]>;
}[] {
  return Object.entries(KEYS).flatMap(([name, entry]: [string, Key | Block]) => {
    // What the whole block needs its keys need not repeat.
    if (entry.notIn !== undefined || !("keys" in entry)) return [{ path: [name], ...entry }];
    return Object.entries(entry.keys).map(([inner, key]) => ({ path: [name, inner], ...key }));
  }).filter(({ path, notIn }) => notIn !== undefined || Object.hasOwn(CONDITIONS, path.join(".")))
    .map(({ path, notIn = {} }) => ({ path, notIn }));
}

/**
 * Reports settings that cannot be used, and drops inherited ones from the tunnels they do not apply
 * to.
 */
export function checkFits(
  scopes: readonly Scope[],
  top: RawConfig,
  { source, report }: Pick<ScopeDeps, "source" | "report">,
): void {
  for (const { path, asks, fault } of fits()) {
    let unused: string | undefined;
    let isUsed = false;
    for (const scope of scopes) {
      if (!scope.has(path) || !asks(scope.raw)) continue;
      const message = fault(scope.raw);
      if (scope.owns(path)) {
        if (message !== undefined) scope.report(path, message);
      } else if (message === undefined) {
        isUsed = true;
      } else {
        unused ??= message;
        scope.leave(path);
      }
    }
    if (unused !== undefined && !isUsed && source.has(path) && asks(top)) report(path, unused);
  }
}
