/**
 * A PostgreSQL server of its own for a test, and its clients.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { output, Program } from "./program.ts";
import { ownAddress, split } from "./peers.ts";

/** Where Debian keeps the server's programs, which are not in the path. */
const DEBIAN = "/usr/lib/postgresql";

/** The directory of `initdb` and `postgres`, the newest; `undefined` where there is none. */
export function postgresPrograms(): string | undefined {
  const versions: string[] = [];
  try {
    for (const { name } of Deno.readDirSync(DEBIAN)) versions.push(name);
  } catch {
    return undefined; // Not Debian's, or not installed.
  }
  versions.sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(DEBIAN, version, "bin")).find((dir) => {
    try {
      return Deno.statSync(join(dir, "initdb")).isFile;
    } catch {
      return false; // Only the clients of this version.
    }
  });
}

/** The server refuses to run as root: then it is the user that Debian's package makes. */
async function servant(): Promise<
  { readonly wrapper: readonly string[]; readonly own: (path: string) => Promise<void> }
> {
  if (Deno.uid() !== 0) return { wrapper: [], own: () => Promise.resolve() };
  const uid = Number(await output("id", ["-u", "postgres"]));
  const gid = Number(await output("id", ["-g", "postgres"]));
  return {
    wrapper: ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
    own: (path) => Deno.chown(path, uid, gid),
  };
}

/** A server with an empty data directory, open to everybody who reaches it. */
export class Postgres implements AsyncDisposable {
  /** `host:port`. */
  readonly address: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(address: string, stack: AsyncDisposableStack) {
    this.address = address;
    this.#stack = stack;
  }

  /** Makes the data directory and waits until it serves. */
  static async start(): Promise<Postgres> {
    const bin = postgresPrograms();
    assert.ok(bin !== undefined, `no initdb in ${DEBIAN}/*/bin`);
    await using stack = new AsyncDisposableStack();
    const data = await Deno.makeTempDir({ prefix: "mtlsd-postgres-" });
    stack.defer(() => Deno.remove(data, { recursive: true }));
    const { wrapper, own } = await servant();
    await own(data);
    const [setpriv = join(bin, "initdb"), ...rest] = [...wrapper, join(bin, "initdb")];
    const making = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"];
    await output(setpriv, [...rest, ...making, "--no-sync"], { cwd: data });
    const address = ownAddress();
    const { hostname, port } = split(address);
    const settings = {
      listen_addresses: hostname,
      port,
      unix_socket_directories: "",
      // Nothing here is to outlive the test.
      fsync: "off",
      shared_buffers: "16MB",
      max_connections: 60,
    };
    const words = Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
    const [command = "", ...args] = [...wrapper, join(bin, "postgres"), "-D", data, ...words];
    // At once, but in good order: clients that are still there are not waited for.
    const server = stack.use(new Program(command, args, { stop: "SIGINT" }));
    await server.says(/database system is ready to accept connections/);
    return new Postgres(address, stack.move());
  }

  /** Ends it, and the data goes. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** What a client reads to find the server at this address. */
export function clientEnv(address: string): Readonly<Record<string, string>> {
  const { hostname, port } = split(address);
  return {
    PGHOST: hostname,
    PGPORT: String(port),
    PGUSER: "postgres",
    PGDATABASE: "postgres",
    // Neither the user's settings nor TLS of its own.
    PGSSLMODE: "disable",
    PGGSSENCMODE: "disable",
    PGCONNECT_TIMEOUT: "10",
    PSQLRC: "/dev/null",
    LC_ALL: "C",
  };
}

/** Runs each statement or command of `psql` in one session; what it prints, without decoration. */
export async function psql(address: string, ...commands: readonly string[]): Promise<string> {
  const args = commands.flatMap((command) => ["-c", command]);
  const settings = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"];
  return (await output("psql", [...settings, ...args], { env: clientEnv(address) })).trim();
}

/** A session of `psql` that is typed into. */
export function psqlSession(address: string): Program {
  return new Program("psql", ["-X", "-q", "-A", "-t"], { env: clientEnv(address) });
}

/**
 * The same at a terminal, where Ctrl-C is a character to be typed and ends no more than a query. The
 * terminal says what is typed too.
 */
export function psqlTerminal(address: string): Program {
  // `exec`: a shell that stays between (dash does) dies by the Ctrl-C.
  const command = "exec psql -X -q -A -t -n -P pager=off";
  return new Program("script", ["-qec", command, "/dev/null"], {
    env: { ...clientEnv(address), SHELL: "/bin/sh" },
  });
}

/** The tables of `pgbench`, the smallest that it makes. */
export async function makeBenchTables(address: string): Promise<void> {
  await output("pgbench", ["-i", "-q", "-s", "1"], { env: clientEnv(address) });
}

/** `pgbench`: how many transactions it made, of which none may have failed. */
export async function pgbench(address: string, ...args: readonly string[]): Promise<number> {
  const said = await output("pgbench", ["-n", ...args], { env: clientEnv(address) });
  const [, failed = "0"] = /^number of failed transactions: (\d+)/m.exec(said) ?? [];
  assert.equal(failed, "0", said);
  const [, done] = /^number of transactions actually processed: (\d+)/m.exec(said) ?? [];
  assert.ok(done !== undefined, said);
  return Number(done);
}
