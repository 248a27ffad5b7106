/**
 * Settings that apply only to certain tunnels. A setting without effect is an error if it is
 * written for that tunnel. If it is written at the top level, it is dropped for the tunnels it does
 * not apply to, and is an error only if it applies to none.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";
import type { RawConfig, RawTunnel } from "./raw.ts";
import type { Scope, ScopeDeps } from "./scope.ts";

/** A setting and the condition for using it. */
type Fit = {
  readonly path: KeyPath;
  /** Whether the value has any effect; by default every value has. */
  readonly asks?: (raw: RawConfig | RawTunnel) => boolean;
  /** Why the tunnel cannot use it; `undefined` if it can. */
  readonly fault: (raw: RawTunnel) => string | undefined;
};

/** The message for a setting that needs peer certificates, on a side that requests none. */
function needsClientAuth(key: string): string {
  return `Cannot use "${key}" with client_auth "none", where no certificate is checked: remove one ` +
    "of them";
}

function hasNoClientAuth({ mode, tls }: RawTunnel): boolean {
  return mode !== "client" && mode !== "bridge" && tls?.client_auth === "none";
}

const FITS: readonly Fit[] = [
  {
    path: ["tls", "client_auth"],
    fault: ({ mode }) =>
      mode === "client"
        ? 'Cannot use "client_auth" in client mode, where the server always shows a certificate: remove it'
        : undefined,
  },
  {
    path: ["tls", "server_name"],
    fault: ({ mode }) =>
      mode === "server"
        ? 'Cannot use "server_name" in server mode, where no TLS server is dialled: remove it'
        : undefined,
  },
  {
    path: ["acl", "mode"],
    fault: (raw) => hasNoClientAuth(raw) ? needsClientAuth("mode") : undefined,
  },
  {
    path: ["acl", "allow_anonymous"],
    fault: (raw) => {
      if (hasNoClientAuth(raw)) return needsClientAuth("allow_anonymous");
      if (raw.mode === undefined || raw.acl?.allow_anonymous !== true) return undefined;
      if (raw.mode === "client") {
        return 'Cannot use "allow_anonymous" in client mode, where the server always shows a certificate: remove it';
      }
      if (raw.mode === "bridge") {
        return 'Cannot use "allow_anonymous" in bridge mode, where both peers are authenticated: remove it';
      }
      return raw.tls?.client_auth === "optional"
        ? undefined
        : 'Cannot use "allow_anonymous" unless ' +
          'client_auth is "optional": a peer without a certificate does not get as far as the rules';
    },
  },
  {
    path: ["proxy", "max_connections_per_peer"],
    asks: ({ proxy }) => (proxy?.max_connections_per_peer ?? 0) > 0,
    fault: (raw) => {
      if (hasNoClientAuth(raw)) return needsClientAuth("max_connections_per_peer");
      return raw.mode === "client"
        ? 'Cannot use "max_connections_per_peer" in client mode, where callers show no certificate: ' +
          "remove it"
        : undefined;
    },
  },
  {
    path: ["proxy", "balance"],
    fault: ({ target, targets }) =>
      target !== undefined && targets === undefined
        ? 'Cannot use "balance" with one target: write "targets" in place of "target", or remove it'
        : undefined,
  },
  {
    path: ["proxy", "proxy_protocol"],
    asks: ({ proxy }) => (proxy?.proxy_protocol ?? "off") !== "off",
    fault: ({ mode }) =>
      mode === "client" || mode === "bridge"
        ? `Cannot use "proxy_protocol" in ${mode} mode, where the target speaks TLS: the header is ` +
          "for a plain backend: remove it"
        : undefined,
  },
  {
    path: ["proxy", "accept_proxy_protocol"],
    asks: ({ proxy }) => (proxy?.accept_proxy_protocol?.length ?? 0) > 0,
    fault: ({ listen }) =>
      listen?.kind === "unix"
        ? 'Cannot use "accept_proxy_protocol" with a UNIX socket, whose callers have no address: ' +
          "remove it"
        : undefined,
  },
  {
    path: ["proxy", "socket_mode"],
    fault: ({ listen }) =>
      listen?.kind === "tcp"
        ? 'Cannot use "socket_mode" unless "listen" is a UNIX socket: remove it'
        : undefined,
  },
  ...["upstream_tls", "upstream_acl"].map((key): Fit => ({
    path: [key],
    fault: ({ mode }) =>
      mode === "server" || mode === "client"
        ? `Cannot use "${key}" in ${mode} mode, where only one side is TLS: remove it, or write ` +
          '"mode: bridge"'
        : undefined,
  })),
];

/**
 * Reports settings that cannot be used, and drops inherited ones from the tunnels they do not apply
 * to.
 */
export function checkFits(
  scopes: readonly Scope[],
  top: RawConfig,
  { source, report }: Pick<ScopeDeps, "source" | "report">,
): void {
  for (const { path, asks = () => true, fault } of FITS) {
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
