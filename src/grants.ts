/**
 * The smallest set of Deno permissions that a config runs under, and which of them are missing.
 *
 * What Deno 2.9 does, found by experiment:
 * - A socket is checked by the host as it was asked for, with its port: a name needs a grant for the
 *   name and none for its addresses, and `[::]` and `0.0.0.0` are two hosts like any other.
 * - Port 0 is granted as port 0, whatever port the system then gives.
 * - Files and directories are checked by their path as written, `..` resolved as text, links not
 *   followed: a grant on the directory that holds a link is enough to read and to watch what it leads
 *   to, inside that directory or out of it, before and after the link changes.
 * - A UNIX socket, to listen or to connect, takes `--allow-net=unix:PATH` and to read and write its path;
 *   so does the path alone to look at what lies there, to change its mode and to remove it. To listen
 *   takes the same of the lock beside it.
 * - `--allow-read` splits at commas and has no way to escape one, and so do the others.
 * - A flag given twice counts as both; modules, npm packages included, load without any grant; and
 *   `/dev`, `/proc` and the like can be read with `--allow-all` only.
 *
 * @module
 */

import { dirname, isAbsolute, normalize, relative, resolve, sep } from "node:path";
import { formatAddress, hostsToListenOn } from "./config/address.ts";
import type { Address, Config, HostPort, TlsConfig, TunnelConfig } from "./config/config.ts";
import { quote } from "./config/problem.ts";
import { ALL_VARIABLES, VARIABLE_PREFIX } from "./config/variables.ts";
import { lockPath } from "./net/unix_files.ts";

/** One value of one permission flag. */
export type Grant = {
  readonly flag: "--allow-net" | "--allow-read" | "--allow-write";
  /**
   * An address (`unix:` and the path of a socket), or a path: absolute or relative to the working
   * directory, as the config has it.
   */
  readonly value: string;
  /** What needs it: keys of the config such as `tls.cert, tls.key`, or `the config file`. */
  readonly why: string;
};

/** Flags as one line, or why there can be none, a line for each reason. */
export type GrantLine =
  | { readonly ok: true; readonly line: string }
  | { readonly ok: false; readonly problems: readonly string[] };

/** What to grant of the file system. */
export type GrantScope = {
  /**
   * The certificate files alone and not their directories, which then cannot be watched: the files are
   * looked at every now and then. Default false.
   */
  readonly files?: boolean;
};

/**
 * The grants of a config, in the order of the file, nothing twice: every address that is listened on
 * or dialled, the directories of the certificate files (a file that is renamed into place is seen by
 * watching its directory only), and the config file, whose rules SIGHUP reads again. Looks at no file.
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

/** What messages call a key of a tunnel: with several, its name stands before it. */
function nameIn({ name }: TunnelConfig, key: string): string {
  return name === undefined ? key : `${name}: ${key}`;
}

/**
 * Every interface is `[::]` where there is IPv6, and `0.0.0.0` where there is none; `localhost` is both
 * loopback addresses. For port 0 the second one gets the port of the first, whichever that is.
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

/** `scope` makes of the path of a certificate file what is granted for it. */
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

/** The files of UNIX sockets that are listened on, each with its lock, or connected to. */
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

/** Whether a path has no slash at its end, or needs it: it is a root. */
function isBare(path: string): boolean {
  return !path.endsWith(sep) || dirname(path) === path;
}

/** Leaves out what another grant covers, which then says so. */
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

/** Whether a path is the directory or lies in it, by the words alone, as Deno compares them. */
function contains(directory: string, path: string): boolean {
  const way = relative(resolve(directory), resolve(path));
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/**
 * The flags on one line, made for `deno run $(mtlsd grants server.yaml) src/main.ts server.yaml`.
 * `--no-prompt` comes first: a daemon asks nobody for permission. The line is refused where the shell,
 * which splits it at white space and expands wildcards, or Deno would read it as something else, and
 * where a grant would cover the whole file system. `environment`: settings may come from there, too.
 */
export function formatGrants(
  grants: readonly Grant[],
  { environment = false }: { readonly environment?: boolean } = {},
): GrantLine {
  const problems = grants.flatMap((grant) => {
    const fault = valueFault(grant);
    return fault === undefined ? [] : [`${grant.why}: Cannot print a grant: ${fault}`];
  });
  // A socket is read and written.
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

/** Says nothing of its own: with it, Deno lists what is granted, and every mistyped name is found. */
const DENIED_VARIABLE = `--deny-env=${VARIABLE_PREFIX}`;

/** What a path may not hold; addresses are safe, `[` of IPv6 included: no file has such a name. */
const FAULTS: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/,/, "has a comma, at which Deno splits the list"],
  [/\s/, "has white space, at which the shell splits the line"],
  [sep === "\\" ? /[*?[]/ : /[*?[\\]/, "has a character that is a wildcard to the shell"],
  [/\p{C}/u, "has a control character"],
];

function valueFault({ flag, value }: Grant): string | undefined {
  // A socket's path is looked at where it is to be written.
  if (flag === "--allow-net") return undefined;
  const found = FAULTS.find(([pattern]) => pattern.test(value));
  if (found !== undefined) return `${quote(value)} ${found[1]}; use a path without`;
  if (flag !== "--allow-read" || dirname(resolve(value)) !== resolve(value)) return undefined;
  return `${quote(value)} is the root of all files; put the file into a directory of its own`;
}

/**
 * What the grants of this process lack, a line for each: `Cannot run without a grant for target: add
 * --allow-net=127.0.0.1:8080`. Asks Deno, prompts nobody and needs no grant. In place of a directory the
 * files in it will do; where some of them are granted, those that are not are named.
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
  // Quotes for the shell, where it would read the word in another way.
  const plain = (flag === "--allow-net" && !value.startsWith("unix:")) ||
    /^[\p{L}\p{N}\\\w@%+=:./-]+$/u.test(word);
  return `${cannot}: add ${plain ? word : `'${word.replaceAll("'", `'\\''`)}'`}`;
}
