/**
 * Computes the smallest set of Deno permissions that a config needs, and which of them are missing.
 *
 * Deno 2.9 behaves as follows, found by experiment:
 * - Sockets are checked by the host as passed to the call, with its port: a name needs a grant for
 *   the name and none for its addresses, and `[::]` and `0.0.0.0` are treated as ordinary hosts.
 * - Port 0 is granted as port 0, whatever port the system picks.
 * - Files and directories are checked by their path as written, with `..` resolved textually and
 *   symlinks not followed: a grant for the directory that contains a symlink is enough to read and
 *   watch its target, inside that directory or outside of it, before and after the symlink changes.
 * - A UNIX socket, to listen or to connect, needs `--allow-net=unix:PATH` and read and write grants
 *   for its path. The grants for the path also allow to stat it, to change its mode and to remove
 *   it. To listen needs the same grants for the lock file beside it.
 * - `--allow-read` and other flags are split at commas, which cannot be escaped.
 * - A flag given twice grants both values. Modules, including npm packages, load without any grant.
 *   `/dev`, `/proc` and the like can be read with `--allow-all` only.
 *
 * @module
 */

import { dirname, isAbsolute, normalize, relative, resolve, sep } from "node:path";
import { formatAddress, hostsToListenOn } from "../config/address.ts";
import type { Address, Config, HostPort, TlsConfig, TunnelConfig } from "../config/config.ts";
import { quote } from "../util/text.ts";
import { ALL_VARIABLES, VARIABLE_PREFIX } from "../config/environment.ts";
import { lockPath } from "../net/unix_bind.ts";

/** One value of one permission flag. */
export type Grant = {
  readonly flag: "--allow-net" | "--allow-read" | "--allow-write";
  /**
   * An address (`unix:` and the path for a socket), or a path: absolute or relative to the working
   * directory, as in the config.
   */
  readonly value: string;
  /** The reason: config keys such as `tls.cert, tls.key`, or `the config file`. */
  readonly why: string;
};

/** The flags as one line, or the reasons why that is impossible, one line each. */
export type GrantLine =
  | { readonly ok: true; readonly line: string }
  | { readonly ok: false; readonly problems: readonly string[] };

/** The extent of the file system grants. */
export type GrantScope = {
  /**
   * Grant only the certificate files, not their directories. The directories cannot be watched
   * then, so the files are polled. Default false.
   */
  readonly files?: boolean;
};

/**
 * The grants for a config, in the order of the file, without duplicates: every address to listen on
 * or to dial, the directories of the certificate files (only a watch on the directory sees a file
 * that is renamed into place), and the config file, whose rules are read again on SIGHUP. Accesses
 * no file.
 *
 * @param configPath the config's own path; `-`, standard input, is read once and needs no grant.
 */
export function grantsFor(
  config: Config,
  configPath: string,
  { files = false }: GrantScope = {},
): readonly Grant[] {
  return [
    ...netGrants(config),
    ...readGrants(config, configPath, files ? (path) => path : dirname),
    ...writeGrants(config),
  ];
}

function netGrants(config: Config): readonly Grant[] {
  const grants = [
    ...config.tunnels.flatMap((tunnel) => [
      ...listenGrants(tunnel.listen, nameIn(tunnel, "listen")),
      ...tunnel.targets.map(({ address }) => netGrant(address, nameIn(tunnel, "target"))),
    ]),
    ...(config.health.enabled ? listenGrants(config.health.listen, "health.listen") : []),
    ...(config.metrics.enabled ? listenGrants(config.metrics.listen, "metrics.listen") : []),
  ];
  return merge(
    grants,
    ({ value: one }, { value: other }) =>
      one === other || (!one.startsWith("unix:") && one.toLowerCase() === other.toLowerCase()),
  );
}

/** The name of a tunnel's key in messages, with the tunnel's name if there are several. */
function nameIn({ name }: TunnelConfig, key: string): string {
  return name === undefined ? key : `${name}: ${key}`;
}

/**
 * Every interface is `[::]` if the system has IPv6, else `0.0.0.0`. `localhost` is both loopback
 * addresses. If the port is 0, the second one uses the port that the system picks for the first, so
 * its grant has no port.
 */
function listenGrants(address: Address, why: string): readonly Grant[] {
  if (address.kind === "unix") return [netGrant(address, why)];
  const { host, port } = address;
  if (host === "") return ["::", "0.0.0.0"].map((host) => netGrant({ host, port }, why));
  return hostsToListenOn(host).map((one, index): Grant =>
    port === 0 && index > 0
      ? { flag: "--allow-net", value: `[${one}]`, why }
      : netGrant({ host: one, port }, why)
  );
}

function netGrant(address: Address | HostPort, why: string): Grant {
  return { flag: "--allow-net", value: formatAddress(address), why };
}

/** The read grants; `scope` maps the path of a certificate file to the path to grant. */
function readGrants(
  config: Config,
  configPath: string,
  scope: (path: string) => string,
): readonly Grant[] {
  const grants = tlsFiles(config).map(({ path, why }) => readGrant(scope(path), why));
  if (configPath !== "-") grants.push(readGrant(configPath, "the config file"));
  for (const { path, why } of sockets(config)) grants.push(readGrant(path, why));
  return merge(grants, (outer, inner) => contains(outer.value, inner.value));
}

function readGrant(value: string, why: string): Grant {
  const path = normalize(value);
  return { flag: "--allow-read", value: isBare(path) ? path : path.slice(0, -1), why };
}

type NamedPath = { readonly path: string; readonly why: string };

/** The files that `tls` blocks name. */
function tlsFiles({ tunnels }: Config): readonly NamedPath[] {
  const filesOf = (tunnel: TunnelConfig, block: string, tls: TlsConfig): readonly NamedPath[] => {
    const { cert, key, ca, intermediates, crl } = tls;
    const named = [
      ["cert", cert],
      ["key", key],
      ["ca", ca],
      ["intermediates", intermediates],
      ...crl.map((path) => ["crl", path] as const),
    ] as const;
    return named.flatMap(([key, path]) =>
      path === undefined ? [] : [{ path, why: nameIn(tunnel, `${block}.${key}`) }]
    );
  };
  return tunnels.flatMap((tunnel) => [
    ...filesOf(tunnel, "tls", tunnel.tls),
    ...(tunnel.upstream === undefined ? [] : filesOf(tunnel, "upstream_tls", tunnel.upstream.tls)),
  ]);
}

function writeGrants(config: Config): readonly Grant[] {
  const grants = sockets(config).map(({ path, why }): Grant => ({
    flag: "--allow-write",
    value: normalize(path),
    why,
  }));
  return merge(grants, (one, other) => one.value === other.value);
}

/** The files of UNIX sockets: to listen on, each with its lock file, and to connect to. */
function sockets(config: Config): readonly NamedPath[] {
  return config.tunnels.flatMap((tunnel) => {
    const pathsOf = (address: Address, key: string, ...more: readonly string[]) =>
      address.kind === "unix"
        ? [address.path, ...more].map((path) => ({ path, why: nameIn(tunnel, key) }))
        : [];
    const { listen, targets } = tunnel;
    const locks = listen.kind === "unix" ? [lockPath(listen.path)] : [];
    return [
      ...pathsOf(listen, "listen", ...locks),
      ...targets.flatMap(({ address }) => pathsOf(address, "target")),
    ];
  });
}

/** Whether a path has no trailing slash, or is a root. */
function isBare(path: string): boolean {
  return !path.endsWith(sep) || dirname(path) === path;
}

/** Leaves out grants that another one covers, and adds their reasons to that one. */
function merge(
  grants: readonly Grant[],
  covers: (grant: Grant, other: Grant) => boolean,
): readonly Grant[] {
  const kept = grants.filter((grant, index) =>
    !grants.some((other, at) =>
      at !== index && covers(other, grant) && (at < index || !covers(grant, other))
    )
  );
  return kept.map((grant) => {
    const whys = grants.filter((other) => covers(grant, other)).map((other) => other.why);
    return { ...grant, why: [...new Set(whys)].join(", ") };
  });
}

/** Whether a path is the directory or lies in it. Compares the text only, as Deno does. */
function contains(directory: string, path: string): boolean {
  const way = relative(resolve(directory), resolve(path));
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/**
 * Formats the flags on one line, for `deno run $(mtlsd grants server.yaml) src/main.ts
 * server.yaml`. `--no-prompt` comes first, because a daemon must never wait for an answer. Fails if
 * the shell, which splits the line at white space and expands wildcards, or Deno would read a value
 * differently, and if a grant would cover the whole file system. With `environment`, settings may
 * come from environment variables too.
 */
export function formatGrants(
  grants: readonly Grant[],
  { environment = false }: { readonly environment?: boolean } = {},
): GrantLine {
  const problems = grants.flatMap((grant) => {
    const fault = valueFault(grant);
    return fault === undefined ? [] : [`${grant.why}: Cannot print a grant: ${fault}`];
  });
  // A socket is both read and written.
  if (problems.length > 0) return { ok: false, problems: [...new Set(problems)] };
  const flag = (name: Grant["flag"]): string[] => {
    const values = grants.filter((grant) => grant.flag === name).map((grant) => grant.value);
    return values.length === 0 ? [] : [`${name}=${values.join(",")}`];
  };
  return {
    ok: true,
    line: [
      "--no-prompt",
      ...flag("--allow-net"),
      ...flag("--allow-read"),
      ...flag("--allow-write"),
      ...(environment ? [`--allow-env=${ALL_VARIABLES}`, DENIED_VARIABLE] : []),
    ].join(" "),
  };
}

/**
 * Has no effect on its own. With it, Deno lists the granted variables, so that mistyped names are
 * found.
 */
const DENIED_VARIABLE = `--deny-env=${VARIABLE_PREFIX}`;

/**
 * Characters that a path must not contain. Addresses are safe, including the `[` of IPv6, because
 * no file has such a name.
 */
const FAULTS: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/,/, "has a comma, at which Deno splits the list"],
  [/\s/, "has white space, at which the shell splits the line"],
  [sep === "\\" ? /[*?[]/ : /[*?[\\]/, "has a character that is a wildcard to the shell"],
  [/\p{C}/u, "has a control character"],
];

function valueFault({ flag, value }: Grant): string | undefined {
  // The path of a socket is checked with its write grant.
  if (flag === "--allow-net") return undefined;
  const found = FAULTS.find(([pattern]) => pattern.test(value));
  if (found !== undefined) return `${quote(value)} ${found[1]}; use a path without`;
  if (flag !== "--allow-read" || dirname(resolve(value)) !== resolve(value)) return undefined;
  return `${quote(value)} is the root of all files; put the file into a directory of its own`;
}

/**
 * The grants that this process lacks, one line each: `Cannot run without a grant for target: add
 * --allow-net=127.0.0.1:8080`. Queries Deno without prompting and needs no grant. Grants for the
 * files in a directory are accepted instead of one for the directory; if only some are granted, the
 * others are listed.
 *
 * @param configPath the config's own path, `-` for standard input.
 */
export async function missingGrants(
  config: Config,
  configPath: string,
): Promise<readonly string[]> {
  const files = grantsFor(config, configPath, { files: true })
    .filter(({ flag }) => flag === "--allow-read");
  const ofTls = new Set(tlsFiles(config).map(({ path, why }) => readGrant(path, why).value));
  const missing = async (grant: Grant): Promise<readonly Grant[]> => {
    if (await isGranted(grant)) return [];
    if (grant.flag !== "--allow-read") return [grant];
    const within = files.filter(({ value }) => contains(grant.value, value));
    const lacking: Grant[] = [];
    for (const file of within) if (!await isGranted(file)) lacking.push(file);
    const some = within.some((file) => ofTls.has(file.value) && !lacking.includes(file));
    return some ? lacking : [grant];
  };
  const lines: string[] = [];
  for (const grant of grantsFor(config, configPath)) {
    lines.push(...(await missing(grant)).map(missingLine));
  }
  return lines;
}

async function isGranted(grant: Grant): Promise<boolean> {
  return (await Deno.permissions.query(descriptor(grant))).state === "granted";
}

function descriptor({ flag, value }: Grant): Deno.PermissionDescriptor {
  switch (flag) {
    case "--allow-net":
      return { name: "net", host: value };
    case "--allow-read":
      return { name: "read", path: value };
    case "--allow-write":
      return { name: "write", path: value };
    default:
      return flag satisfies never;
  }
}

function missingLine({ flag, value, why }: Grant): string {
  const cannot = `Cannot run without a grant for ${why}`;
  if (value.includes(",")) {
    return `${cannot}: Deno splits paths at commas: rename ${quote(value)}, or add ${flag}`;
  }
  const word = `${flag}=${value}`;
  // Quotes the value if the shell would read it differently.
  const plain = (flag === "--allow-net" && !value.startsWith("unix:")) ||
    /^[\p{L}\p{N}\\\w@%+=:./-]+$/u.test(word);
  return `${cannot}: add ${plain ? word : `'${word.replaceAll("'", `'\\''`)}'`}`;
}
