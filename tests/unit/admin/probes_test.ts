/**
 * The probes and the metrics over real HTTP, their bad clients, and running out of descriptors.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type CertStatus,
  type ProbeSource,
  type Readiness,
  startHealthServer,
  startMetricsServer,
} from "../../../src/admin/probes.ts";
import type { HttpEndpoint } from "../../../src/admin/http.ts";
import type { Logger } from "../../../src/log/mod.ts";
import { lineLogger } from "../../support/log.ts";
import { createMetrics } from "../../../src/admin/metrics.ts";
import { TunnelCounters } from "../../../src/metrics/counters.ts";
import { ListenError } from "../../../src/net/mod.ts";

const NOW = Date.UTC(2026, 2, 28, 12);

const CERT: CertStatus = {
  notBefore: Date.UTC(2026, 0, 1),
  notAfter: Date.UTC(2026, 3, 1),
  subject: "CN=backend,O=Acme",
  serial: "0a1b2c",
  lastReload: undefined,
};

const ANY = { host: "127.0.0.1", port: 0 };

function collect(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line.slice(line.indexOf(" level=") + 1));
  return { logger: lineLogger({ level: "debug", format: "text", write }), lines };
}

function health(
  source: Partial<ProbeSource> = {},
  logger = collect().logger,
): Promise<HttpEndpoint> {
  return startHealthServer({
    listen: ANY,
    source: { ready: () => ({ ready: true }), cert: () => CERT, ...source },
    logger,
    now: () => NOW,
  });
}

function url(server: HttpEndpoint, path: string): string {
  return `http://127.0.0.1:${server.address.port}${path}`;
}

async function getJson(server: HttpEndpoint, path: string): Promise<[number, unknown]> {
  const response = await fetch(url(server, path));
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  return [response.status, await response.json()];
}

/** Sends `request` as it stands; the connection is the caller's. */
async function send(server: HttpEndpoint, request: string): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.address.port });
  await conn.write(new TextEncoder().encode(request));
  return conn;
}

async function readSome(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(65_536);
  const count = await conn.read(buffer);
  return count === null ? "" : new TextDecoder().decode(buffer.subarray(0, count));
}

Deno.test("healthz, readyz and certz answer as the contract says", async () => {
  let state: Readiness = { ready: true };
  let cert = CERT;
  await using server = await health({ ready: () => state, cert: () => cert });

  const alive = await fetch(url(server, "/healthz"));
  assert.equal(await alive.text(), '{"status":"alive"}');
  const ready = await fetch(url(server, "/readyz?verbose"));
  assert.equal(await ready.text(), '{"status":"ready"}');

  state = { ready: false, reason: 'draining "now"' };
  assert.deepEqual(await getJson(server, "/readyz"), [
    503,
    { status: "not ready", reason: 'draining "now"' },
  ]);
  assert.deepEqual(await getJson(server, "/healthz"), [200, { status: "alive" }]);

  const body = {
    not_before: "2026-01-01T00:00:00.000Z",
    not_after: "2026-04-01T00:00:00.000Z",
    days_left: 3,
    subject: "CN=backend,O=Acme",
    serial: "0a1b2c",
  };
  assert.deepEqual(await getJson(server, "/certz"), [200, { ...body, last_reload: null }]);
  cert = { ...CERT, lastReload: { result: "success", time: NOW } };
  assert.deepEqual(await getJson(server, "/certz"), [200, {
    ...body,
    last_reload: { time: "2026-03-28T12:00:00.000Z", result: "success", error: null },
  }]);
  const error = "Cannot read server.pem: no certificate in it";
  cert = { ...CERT, notAfter: NOW - 1, lastReload: { result: "failure", time: NOW, error } };
  assert.deepEqual(await getJson(server, "/certz"), [200, {
    ...body,
    not_after: "2026-03-28T11:59:59.999Z",
    days_left: -1,
    last_reload: { time: "2026-03-28T12:00:00.000Z", result: "failure", error },
  }]);
});

Deno.test("the metrics server renders the metrics", async () => {
  const metrics = createMetrics({ version: "v" });
  const { logger, lines } = collect();
  await using server = await startMetricsServer({ listen: ANY, metrics, logger });
  new TunnelCounters(metrics.tunnel().counters).dialFailed();
  const response = await fetch(url(server, "/metrics"));
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.match(await response.text(), /^mtlsd_dial_errors_total 1$/m);
  assert.deepEqual(await getJson(server, "/healthz"), [404, { error: "not found" }]);
  assert.deepEqual(lines, [
    `level=INFO msg="metrics server listening" addr=127.0.0.1:${server.address.port}\n`,
  ]);
});

Deno.test("unknown paths are 404, other methods 405 with Allow", async () => {
  await using server = await health();
  for (
    const path of [
      "/",
      "/healthz/",
      "/HEALTHZ",
      "/metrics",
      "//healthz",
      "/%68ealthz",
      "/__proto__",
    ]
  ) {
    assert.deepEqual(await getJson(server, path), [404, { error: "not found" }], path);
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]) {
    const response = await fetch(url(server, "/healthz"), { method });
    assert.equal(response.status, 405, method);
    assert.equal(response.headers.get("allow"), "GET, HEAD");
    assert.deepEqual(await response.json(), { error: "method not allowed" });
  }
});

Deno.test("HEAD has the headers of GET and no body", async () => {
  await using server = await health({ ready: () => ({ ready: false, reason: "why" }) });
  using conn = await send(
    server,
    "HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
  );
  let text = "";
  while (!text.endsWith("}")) text += await readSome(conn);
  const [head = "", next = ""] = text.split("\r\n\r\n");
  assert.match(head, /^HTTP\/1\.1 503 /);
  assert.match(head, /^content-length: 37$/m);
  assert.match(next, /^HTTP\/1\.1 200 /);
});

Deno.test("what is no HTTP, or no URL, gets an error and harms nobody", async () => {
  const { logger, lines } = collect();
  await using server = await health({}, logger);
  const bad = [
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "GET\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: [\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    `GET /${"x".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET / HTTP/1.1\r\n${"a: b\r\n".repeat(500)}\r\n`,
    "POST /healthz HTTP/1.1\r\nHost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
  ];
  for (const request of bad) {
    using conn = await send(server, request);
    assert.match(await readSome(conn), /^HTTP\/1\.1 4\d\d |^$/, request.slice(0, 40));
  }
  assert.deepEqual(await getJson(server, "/healthz"), [200, { status: "alive" }]);
  assert.equal(lines.length, 1);
});

Deno.test("a status that cannot be told is a 500 and a log line, not a crash", async () => {
  const { logger, lines } = collect();
  const source = {
    ready: () => {
      throw new Error("boom\n");
    },
    cert: () => ({ ...CERT, notAfter: NaN }),
  };
  await using server = await health(source, logger);
  assert.deepEqual(await getJson(server, "/readyz"), [500, { error: "internal error" }]);
  assert.deepEqual(await getJson(server, "/certz"), [500, { error: "internal error" }]);
  assert.deepEqual(lines.slice(1), [
    'level=ERROR msg="health server: request failed" path=/readyz error="boom\\n"\n',
    'level=ERROR msg="health server: request failed" path=/certz error="Invalid time value"\n',
  ]);
});

Deno.test("a port in use is one clear error", async () => {
  await using server = await health();
  const listen = server.address;
  await assert.rejects(
    startMetricsServer({
      listen,
      metrics: createMetrics({ version: "v" }),
      logger: collect().logger,
    }),
    (error) => {
      assert.ok(error instanceof ListenError);
      assert.equal(
        error.message,
        `Cannot listen on "127.0.0.1:${listen.port}": address in use, something else listens there`,
      );
      assert.equal(error.reason, "address in use");
      assert.ok(error.cause instanceof Deno.errors.AddrInUse);
      return true;
    },
  );
});

Deno.test("other reasons why a port cannot be bound", async () => {
  const start = (host: string): Promise<HttpEndpoint> =>
    startHealthServer({
      listen: { host, port: 0 },
      source: { ready: () => ({ ready: true }), cert: () => CERT },
      logger: collect().logger,
    });
  await assert.rejects(start("192.0.2.1"), {
    message:
      'Cannot listen on "192.0.2.1:0": address not available, no interface of this machine ' +
      "has it",
  });
  await assert.rejects(
    start("nosuch.invalid"),
    {
      message: 'Cannot listen on "nosuch.invalid:0": name not found',
    },
  );
});

Deno.test({
  name: "a missing grant is named",
  permissions: { net: ["127.0.0.1:1"] },
  fn: async () => {
    const start = (host: string): Promise<HttpEndpoint> =>
      startHealthServer({
        listen: { host, port: 9000 },
        source: { ready: () => ({ ready: true }), cert: () => CERT },
        logger: collect().logger,
      });
    await assert.rejects(start("127.0.0.1"), {
      message: 'Cannot listen on "127.0.0.1:9000": not permitted: add --allow-net=127.0.0.1:9000',
    });
    await assert.rejects(start(""), {
      message: 'Cannot listen on ":9000": not permitted: add --allow-net=[::]:9000',
    });
  },
});

Deno.test("an empty host is every interface", async () => {
  const { logger, lines } = collect();
  await using server = await startHealthServer({
    listen: { host: "", port: 0 },
    source: { ready: () => ({ ready: true }), cert: () => CERT },
    logger,
  });
  assert.deepEqual(await getJson(server, "/healthz"), [200, { status: "alive" }]);
  assert.deepEqual(lines, [
    `level=INFO msg="health server listening" addr=:${server.address.port}\n`,
  ]);
});

Deno.test("close waits for nobody, and the port is free at once", async () => {
  const server = await health();
  const clients = [
    await send(server, ""),
    await send(server, "GET /healthz HT"),
    await send(server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    await send(server, "POST /healthz HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\nab"),
    await send(server, "PUT / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n\r\nff\r\nab"),
    await send(server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  ];
  // The answered ones are idle or unfinished now; the first two never get that far.
  for (const client of clients.slice(2)) assert.notEqual(await readSome(client), "");
  await Promise.all([server.close(), server.close()]);
  await server.close();
  for (const client of clients) {
    // End of file or reset, after whatever was still under way.
    const ended = async (): Promise<void> => {
      while (await readSome(client) !== "");
    };
    await ended().catch((error) => assert.ok(error instanceof Deno.errors.ConnectionReset, error));
    client.close();
  }
  await using again = await startHealthServer({
    listen: server.address,
    source: { ready: () => ({ ready: true }), cert: () => CERT },
    logger: collect().logger,
  });
  assert.deepEqual(again.address, server.address);
  assert.deepEqual(await getJson(again, "/healthz"), [200, { status: "alive" }]);
});

/** Reads lines from a child's output. */
function lineReader(stream: ReadableStream<Uint8Array>): {
  until(pattern: RegExp): Promise<string>;
  rest(): Promise<string>;
  all(): string;
} {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let all = "";
  let seen = 0;
  const more = async (): Promise<boolean> => {
    const { value, done } = await reader.read();
    all += value ?? "";
    return !done;
  };
  return {
    all: () => all,
    async until(pattern) {
      for (;;) {
        const match = pattern.exec(all.slice(seen));
        if (match !== null) {
          seen += match.index + match[0].length;
          return match[1] ?? match[0];
        }
        assert.ok(await more(), `no ${pattern} in: ${all}`);
      }
    },
    async rest() {
      while (await more());
      return all.slice(seen);
    },
  };
}

const CONFIG = new URL("../../../deno.json", import.meta.url).pathname;

/** A health server in a process of its own with few descriptors; SIGHUP takes the rest, or gives them back. */
async function scarce(): Promise<{
  readonly child: Deno.ChildProcess;
  readonly log: ReturnType<typeof lineReader>;
  readonly port: number;
  readonly probe: () => Promise<boolean>;
}> {
  const src = (file: string): string => JSON.stringify(import.meta.resolve(`../../../src/${file}`));
  const script = `
    import { startHealthServer } from ${src("admin/probes.ts")};
    import { lineLogger } from ${src("../tests/support/log.ts")};
    import { stderrWriter } from ${src("control/log_sink.ts")};
    import { onSignals } from ${src("control/signals.ts")};
    const stopped = Promise.withResolvers<void>();
    const stop = stopped.resolve;
    const hoard: Deno.FsFile[] = [];
    const take = () => {
      try {
        for (;;) hoard.push(Deno.openSync(${JSON.stringify(CONFIG)}));
      } catch {
        // that was all there were
      }
    };
    let timer: number | undefined;
    const toggle = () => {
      if (timer === undefined) {
        take();
        timer = setInterval(take, 1);
      } else {
        clearInterval(timer);
        timer = undefined;
        for (const file of hoard.splice(0)) file.close();
      }
      logger.info("toggled");
    };
    using _signals = onSignals({
      SIGTERM: stop,
      SIGINT: stop,
      SIGQUIT: stop,
      SIGHUP: toggle,
      SIGUSR1: () => {},
      SIGUSR2: () => {},
    });
    const logger = lineLogger({ level: "debug", format: "text", write: stderrWriter() });
    const server = await startHealthServer({
      listen: { host: "127.0.0.1", port: 0 },
      source: { ready: () => ({ ready: true }), cert: () => { throw new Error("none") } },
      logger,
    });
    await stopped.promise;
    await server.close();
    clearInterval(timer);
    logger.info("shutdown complete");
  `;
  const deno = [
    Deno.execPath(),
    "run",
    "--quiet",
    "--no-prompt",
    "--allow-net",
    "--allow-read",
    "--config",
    CONFIG,
    `data:text/typescript,${encodeURIComponent(script)}`,
  ];
  const child = new Deno.Command("sh", {
    args: ["-c", 'ulimit -n 64; exec "$0" "$@"', ...deno],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = lineReader(child.stderr);
  const port = Number(await log.until(/health server listening" addr=127\.0\.0\.1:(\d+)\n/));
  // A connection of its own each time: one from before an incident would go on being served.
  const probe = async (): Promise<boolean> => {
    try {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await conn.write(new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
      return (await readSome(conn)).endsWith('{"status":"alive"}');
    } catch {
      return false; // refused, or cut: this is what an incident looks like to a probe
    }
  };
  return { child, log, port, probe };
}

const INTERRUPTED = /level=ERROR msg="health server interrupted" .*Too many open files.*\n/;
const AGAIN = /level=INFO msg="health server serving again" addr=.*\n/;

async function stopsCleanly(
  child: Deno.ChildProcess,
  log: ReturnType<typeof lineReader>,
): Promise<void> {
  child.kill("SIGTERM");
  assert.match(await log.rest(), /msg="shutdown complete"\n$/);
  assert.equal((await child.status).code, 0);
}

Deno.test("clients that take every descriptor lose them, and probes are served again", async () => {
  const { child, log, port, probe } = await scarce();
  await using _child = child;
  for (let incident = 0; incident < 2; incident++) {
    assert.ok(await probe());
    const held: Deno.TcpConn[] = [];
    try {
      for (;;) held.push(await Deno.connect({ hostname: "127.0.0.1", port }));
    } catch {
      // Refused, reset or half open, by how far the connection had got; the log says what happened.
    }
    await log.until(INTERRUPTED);
    // Nobody lets go here: the server has cut them.
    while (!await probe());
    await log.until(AGAIN);
    for (const conn of held) conn.close();
  }
  await stopsCleanly(child, log);
});

Deno.test("descriptors taken elsewhere: one log line, service once they are back, a clean stop meanwhile", async () => {
  const { child, log, probe } = await scarce();
  await using _child = child;
  const toggle = async (): Promise<void> => {
    child.kill("SIGHUP");
    await log.until(/msg=toggled\n/);
  };
  await toggle();
  while (await probe());
  await log.until(INTERRUPTED);
  await log.until(/interrupted" .*Cannot listen on .*Too many open files/);
  await toggle();
  while (!await probe());
  await log.until(AGAIN);
  for (const incident of log.all().split(AGAIN)) {
    const said = incident.match(/interrupted" .*/g) ?? [];
    assert.deepEqual(said, [...new Set(said)]);
  }

  await toggle();
  while (await probe());
  await log.until(INTERRUPTED);
  await stopsCleanly(child, log);
});
