// deno-lint-ignore-file no-console -- it talks to a terminal
/**
 * `deno task demo`: the whole tunnel in one command. Makes throw-away certificates, starts the echo
 * server and both daemons as processes of their own, each under just the permissions that its config
 * needs, sends a message through, shows what happened, and stops everything.
 *
 *     client ─▶ mtlsd client ══mTLS══▶ mtlsd server ─▶ echo server
 *
 * @module
 */

import { fromFileUrl } from "./paths.ts";
import { certs } from "../src/commands/certs.ts";

const MAIN = fromFileUrl("../src/main.ts");
const ECHO = fromFileUrl("./echo_server.ts");
const MESSAGE = "hello mtlsd";

/** A child process whose lines can be waited for. */
class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #name: string;
  readonly #lines: string[] = [];
  readonly #reading: Promise<unknown>;
  #more = Promise.withResolvers<void>();
  #ended = false;

  constructor(name: string, args: readonly string[]) {
    this.#name = name;
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([
      this.#read(this.#process.stdout),
      this.#read(this.#process.stderr),
    ]).finally(() => {
      this.#ended = true;
      this.#more.resolve();
    });
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.#lines.push(...lines);
      this.#more.resolve();
      this.#more = Promise.withResolvers();
    }
  }

  /** What `pattern` finds first, in the lines so far or to come. */
  async find(pattern: RegExp): Promise<string> {
    for (;;) {
      for (const line of this.#lines) {
        const match = pattern.exec(line);
        if (match !== null) return match[1] ?? match[0];
      }
      if (this.#ended) {
        throw new Error(`${this.#name} ended early:\n${this.#lines.join("\n")}`);
      }
      await this.#more.promise;
    }
  }

  /** Asks it to stop and waits until it has. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#process.kill("SIGTERM");
    const { code } = await this.#process.status;
    await this.#reading;
    say(`stopped ${this.#name}, exit status ${code}`);
  }
}

function say(line: string): void {
  console.log(line);
}

function step(title: string): void {
  say(`\n── ${title}`);
}

async function grantsOf(config: string): Promise<string[]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-read", MAIN, "grants", config],
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(text.decode(stderr));
  return text.decode(stdout).trim().split(" ");
}

async function daemon(name: string, config: string, yaml: string): Promise<Child> {
  await Deno.writeTextFile(config, yaml);
  const flags = await grantsOf(config);
  say(`${name}: deno run ${flags.join(" ")} src/main.ts ${name}.yaml`);
  return new Child(`mtlsd ${name}`, [...flags, MAIN, config]);
}

async function ask(address: string, message: string): Promise<string> {
  const [hostname = "", port] = address.split(":");
  using conn = await Deno.connect({ hostname, port: Number(port) });
  await conn.write(new TextEncoder().encode(message));
  await conn.closeWrite();
  return await new Response(conn.readable).text();
}

function yaml(mode: string, dir: string, name: string, target: string, more: string): string {
  return `mode: ${mode}
listen: 127.0.0.1:0
target: ${target}
tls:
  cert: ${dir}/${name}.pem
  key: ${dir}/${name}-key.pem
  ca: ${dir}/ca.pem
${more}`;
}

const PROBES = `health: { enabled: true, listen: "127.0.0.1:0" }
metrics: { enabled: true, listen: "127.0.0.1:0" }
`;

async function demo(dir: string): Promise<void> {
  step("throw-away certificates");
  const status = await certs({ kind: "certs", out: dir, force: false, keepCaKey: false }, {
    stdout: (line) => say(line.replaceAll(dir, ".")),
    stderr: (line) => console.error(line),
  });
  if (status !== 0) throw new Error("Cannot make certificates");

  step("three processes, each with the permissions it needs and no more");
  await using echo = new Child("echo server", [
    "--allow-net=127.0.0.1:0",
    ECHO,
    "-addr",
    "127.0.0.1:0",
  ]);
  const backend = await echo.find(/listening on (\S+)/);
  await using server = await daemon(
    "server",
    `${dir}/server.yaml`,
    yaml("server", dir, "server", backend, `acl:\n  allow_cn: [frontend-service]\n${PROBES}`),
  );
  const tunnel = await server.find(/"listener: serving mTLS" listen=(\S+)/);
  const probes = await server.find(/"health server listening" addr=(\S+)/);
  const metrics = await server.find(/"metrics server listening" addr=(\S+)/);
  await using client = await daemon(
    "client",
    `${dir}/client.yaml`,
    yaml("client", dir, "client", tunnel, "  server_name: localhost\n"),
  );
  const entry = await client.find(/"dialer: listening" listen=(\S+)/);

  step("a message through the tunnel");
  say(`client ─▶ mtlsd client ${entry} ══mTLS══▶ mtlsd server ${tunnel} ─▶ echo server ${backend}`);
  say(`sent:     ${MESSAGE}`);
  const reply = (await ask(entry, `${MESSAGE}\n`)).trim();
  say(`received: ${reply}`);
  if (reply !== `echo: ${MESSAGE}`) throw new Error("Cannot find the message in the reply");

  step("who the peers were, by their certificates");
  say(`the server let in:  ${await server.find(/"listener: accepted connection" (.*)/)}`);
  say(`the client reached: ${await client.find(/"dialer: connected" (.*)/)}`);
  await server.find(/"listener: connection closed"/);

  step("metrics of the server, and its certificate");
  const lines = (await (await fetch(`http://${metrics}/metrics`)).text()).split("\n");
  for (const line of lines) {
    if (/^mtlsd_(connections_total|bytes_proxied_total|acl_decisions_total)/.test(line)) say(line);
  }
  const cert = await (await fetch(`http://${probes}/certz`)).json();
  say(`certificate of ${cert.subject} expires ${cert.not_after}, in ${cert.days_left} days`);

  step("stop");
}

const dir = await Deno.makeTempDir({ prefix: "mtlsd-demo-" });
try {
  await demo(dir);
} finally {
  await Deno.remove(dir, { recursive: true });
}
say("\nIt works. Next: examples/quickstart/README.md, with certificates and configs of your own.");
