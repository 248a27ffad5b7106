// deno-lint-ignore-file no-console -- it talks to a terminal
/**
 * What the two example programs share: flags, addresses, and how they end when something is wrong.
 *
 * @module
 */

/** Host and port of a TCP address. */
export type HostPort = { readonly hostname: string; readonly port: number };

/** A flag that takes an address. */
export type AddressFlag = {
  /** What it is for, for `-help`. */
  readonly about: string;
  /** Its value where it is not given. */
  readonly value: string;
};

/** Says what is wrong and ends the process: 2 for wrong usage, 1 for what failed. */
function fail(program: string, message: string, status: 1 | 2): never {
  console.error(`${program}: ${message}`);
  Deno.exit(status);
}

/**
 * Reads flags as Go's `flag` package does: `-addr VALUE`, `-addr=VALUE`, and both with two hyphens.
 * `-help` prints what there is and ends the process with 0, anything wrong ends it with 2.
 */
export function addressFlags<Name extends string>(
  program: string,
  args: readonly string[],
  flags: Readonly<Record<Name, AddressFlag>>,
): Readonly<Record<Name, HostPort>> {
  const names = Object.keys(flags) as Name[];
  const texts = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? "";
    const [, name, equals] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === "h" || name === "help") return help(program, flags);
    const value = equals ?? args[++index];
    if (name === undefined) {
      fail(program, `Cannot use ${JSON.stringify(word)}: ${howTo(names)}`, 2);
    }
    if (!names.some((known) => known === name)) {
      fail(program, `Cannot use unknown flag ${JSON.stringify(`-${name}`)}: ${howTo(names)}`, 2);
    }
    if (value === undefined || value === "") {
      fail(program, `Cannot use "-${name}" without a value: write "-${name} 127.0.0.1:8080"`, 2);
    }
    texts.set(name, value);
  }
  const entries = names.map((name) => {
    const text = texts.get(name) ?? flags[name].value;
    const address = parseAddress(text);
    if (address !== undefined) return [name, address];
    return fail(
      program,
      `-${name}: Cannot use ${
        JSON.stringify(text)
      }: must be host:port, such as "127.0.0.1:8080", ` +
        'or ":8080" for every interface',
      2,
    );
  });
  return Object.fromEntries(entries);
}

function howTo(names: readonly string[]): string {
  return `write ${names.map((name) => `"-${name} HOST:PORT"`).join(", ")}, or see "-help"`;
}

function help(program: string, flags: Readonly<Record<string, AddressFlag>>): never {
  console.log(`${program}: flags, each with one hyphen or two`);
  for (const [name, { about, value }] of Object.entries(flags)) {
    console.log(`  -${name} HOST:PORT  ${about} (default ${value})`);
  }
  Deno.exit(0);
}

/** `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `:8080`, whose host is empty. */
function parseAddress(text: string): HostPort | undefined {
  const [, v6, name = "", port = ""] = /^(?:\[([\da-fA-F:.]+)\]|([\w.-]*)):(\d{1,5})$/.exec(text) ??
    [];
  if (port === "" || Number(port) > 65_535) return undefined;
  return { hostname: v6 ?? name, port: Number(port) };
}

function formatAddress({ hostname, port }: HostPort): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Listens and says where; ends the process with 1 where that fails, 2 where a permission is missing. */
export function listen(program: string, { hostname, port }: HostPort, flag: string): Deno.Listener {
  // Every interface, over IPv4.
  const address = { hostname: hostname === "" ? "0.0.0.0" : hostname, port };
  try {
    const listener = Deno.listen(address);
    const { addr } = listener;
    if (addr.transport === "tcp") console.log(`${program}: listening on ${formatAddress(addr)}`);
    return listener;
  } catch (error) {
    const cannot = `Cannot listen on ${formatAddress(address)}`;
    if (error instanceof Deno.errors.NotCapable) {
      return fail(program, `${cannot}: add --allow-net=${formatAddress(address)} to "deno run"`, 2);
    }
    if (error instanceof Deno.errors.AddrInUse) {
      return fail(program, `${cannot}: the port is in use: choose another with ${flag}`, 1);
    }
    return fail(program, `${cannot}: ${wordsOf(error)}`, 1);
  }
}

/** Connects; an empty host is this machine, as it is to Go. Rejects with words for a terminal. */
export async function connect({ hostname, port }: HostPort): Promise<Deno.TcpConn> {
  const address = { hostname: hostname === "" ? "127.0.0.1" : hostname, port };
  try {
    return await Deno.connect(address);
  } catch (error) {
    const words = error instanceof Deno.errors.NotCapable
      ? `add --allow-net=${formatAddress(address)} to "deno run"`
      : wordsOf(error);
    throw new Error(`Cannot connect to ${formatAddress(address)}: ${words}`, { cause: error });
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Serves each connection, one beside the other, and closes it afterwards; never ends. */
export async function serve(
  program: string,
  listener: Deno.Listener,
  handle: (conn: Deno.Conn) => Promise<void>,
): Promise<void> {
  for (;;) {
    let conn: Deno.Conn;
    try {
      conn = await listener.accept();
    } catch (error) {
      // The other side reset it before it was accepted.
      if (error instanceof Deno.errors.NotConnected) continue;
      throw error;
    }
    handle(conn)
      .catch((error) => console.error(`${program}: ${wordsOf(error)}`))
      .finally(() => closeQuietly(conn));
  }
}

/** Writes all of `data`. */
export async function writeAll(conn: Deno.Conn, data: Uint8Array): Promise<void> {
  for (let rest = data; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
}

/** Closes what the other side may have closed already. */
export function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
