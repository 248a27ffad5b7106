/**
 * The log: slog's text byte for byte, JSON, and that no value leaves its field.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createLogger, type Fields, type Logger, quote, stderrSink } from "../src/logging.ts";
import { formatJson, formatText, MAX_VALUE_LENGTH } from "../src/logging/format.ts";
import type { LogFormat, LogLevel } from "../src/config/config.ts";

const TIME = Date.UTC(2026, 2, 28, 23, 7, 44);

function text(fields: Fields, message = "m"): string {
  return formatText({ time: TIME, level: "info", message, fields });
}

/** The text of one field. */
function field(value: Fields[string]): string {
  const line = text({ k: value });
  const prefix = "time=2026-03-28T23:07:44.000Z level=INFO msg=m k=";
  assert.ok(line.startsWith(prefix), line);
  return line.slice(prefix.length);
}

function collect(
  level: LogLevel = "debug",
  format: LogFormat = "text",
): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  return { logger: createLogger({ level, format, write: (line) => lines.push(line) }), lines };
}

/** Everything after the time, which is the only thing that varies. */
function afterTime(line: string): string {
  const match = /^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)\n$/s.exec(line);
  assert.ok(match, line);
  return match[1] ?? "";
}

/** Reads a slog text line as strictly as Go would write it. */
function parseText(line: string): Map<string, string> {
  const fields = new Map<string, string>();
  const field =
    /([a-z_]+)=("(?:[^"\\]|\\(?:["\\abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}))*"|[^\s"=]+)( |$)/uy;
  while (field.lastIndex < line.length) {
    const at = field.lastIndex;
    const match = field.exec(line);
    assert.ok(match, `at ${at} of ${JSON.stringify(line)}`);
    const [, key = "", value = ""] = match;
    assert.ok(!fields.has(key), `${key} twice`);
    fields.set(key, value.startsWith('"') ? unquote(value) : value);
  }
  return fields;
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

function unquote(quoted: string): string {
  return quoted.slice(1, -1).replace(
    /\\(?:["\\abfnrtv]|x(..)|u(....)|U(.{8}))/gu,
    (escape, x, u, long) => {
      const code = x ?? u ?? long;
      return code === undefined
        ? SHORT[escape.slice(1)] ?? ""
        : String.fromCodePoint(parseInt(code, 16));
    },
  );
}

Deno.test("the line of the contract, byte for byte", () => {
  assert.equal(
    text({ peer_cn: "frontend-service" }, "listener: accepted connection"),
    'time=2026-03-28T23:07:44.000Z level=INFO msg="listener: accepted connection" peer_cn=frontend-service',
  );
  assert.equal(
    formatJson({
      time: TIME,
      level: "warn",
      message: "listener: accepted connection",
      fields: { peer_cn: "frontend-service", n: 3, ok: true, san: ["a", "b"], gone: undefined },
    }),
    '{"time":"2026-03-28T23:07:44.000Z","level":"WARN","msg":"listener: accepted connection",' +
      '"peer_cn":"frontend-service","n":3,"ok":true,"san":["a","b"]}',
  );
});

// The right-hand sides are what Go's slog.TextHandler prints (log/slog/text_handler.go and
// strconv/quote.go), except DEL, which it prints raw.
const TEXT_CASES: readonly (readonly [Fields[string], string])[] = [
  ["", '""'],
  ["plain", "plain"],
  ["a b", '"a b"'],
  ["a=b", '"a=b"'],
  ['a"b', '"a\\"b"'],
  ["a\\b", "a\\b"],
  ["a\\ b", '"a\\\\ b"'],
  ["'`,;:{}[]<>|&$~", "'`,;:{}[]<>|&$~"],
  ["\x07\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'],
  ["\0\x01\x1b[31m", '"\\x00\\x01\\x1b[31m"'],
  ["\x7f", '"\\x7f"'],
  ["\x85\x9b", '"\\u0085\\u009b"'],
  ["\u00a0", '"\\u00a0"'],
  ["\u00ad", '"\\u00ad"'],
  [
    "\u061c\u200b\u200e\u200f\u2028\u2029\u2060\ufeff",
    '"\\u061c\\u200b\\u200e\\u200f\\u2028\\u2029\\u2060\\ufeff"',
  ],
  ["\u202a\u202b\u202c\u202d\u202e", '"\\u202a\\u202b\\u202c\\u202d\\u202e"'],
  ["\u2066\u2067\u2068\u2069", '"\\u2066\\u2067\\u2068\\u2069"'],
  ["\u{e0041}", '"\\U000e0041"'],
  ["\ue000\uffff", '"\\ue000\\uffff"'],
  ["grün-Ωμέγα-日本-e\u0301-🙂", "grün-Ωμέγα-日本-e\u0301-🙂"],
  ["日 本", '"日 本"'],
  ["\ufffd", '"\ufffd"'],
  ["a\ud800b", '"a\ufffdb"'],
  ["\udc00", '"\ufffd"'],
  [true, "true"],
  [false, "false"],
  [0, "0"],
  [-0, "0"],
  [42, "42"],
  [-17, "-17"],
  [9007199254740991, "9007199254740991"],
  [0.25, "0.25"],
  [123456.5, "123456.5"],
  [1234567.5, "1.2345675e+06"],
  [0.0001, "0.0001"],
  [0.00001, "1e-05"],
  [-2.5e-7, "-2.5e-07"],
  [1e21, "1e+21"],
  [1.5e300, "1.5e+300"],
  [NaN, "NaN"],
  [Infinity, "+Inf"],
  [-Infinity, "-Inf"],
  [[], "[]"],
  [["a"], "[a]"],
  [["a", "b"], '"[a b]"'],
  [["Acme Corp"], '"[Acme Corp]"'],
  [['a"', "\n"], '"[a\\" \\n]"'],
];

Deno.test("text values are printed and quoted as slog does", () => {
  for (const [value, expected] of TEXT_CASES) assert.equal(field(value), expected);
});

Deno.test("levels are spelled as slog's", () => {
  const { logger, lines } = collect();
  logger.debug("m");
  logger.info("m");
  logger.warn("m");
  logger.error("m");
  assert.deepEqual(lines.map(afterTime), [
    "level=DEBUG msg=m",
    "level=INFO msg=m",
    "level=WARN msg=m",
    "level=ERROR msg=m",
  ]);
});

Deno.test("no value leaves its field, in text or JSON", () => {
  const nasty = [
    ..."ab =\"\\'[]{},:\n\r\t\0\x1b\x7f\x85\x9b\u00a0\u00ad\u061c\u200b\u200e\u202e\u2028\u2066\ufeff\ufffd\ud800\udfff",
    "🙂",
    "\u{e0001}",
    "level=ERROR msg=forged",
    '" peer_cn=admin',
    "\nlevel=ERROR",
    '","level":"ERROR","x":"',
  ];
  const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u;
  let seed = 20260328;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor(seed / 2 ** 32 * below);
  };
  const word = (): string => {
    let out = "";
    for (let n = random(12); n > 0; n--) out += nasty[random(nasty.length)] ?? "";
    return out;
  };
  for (let round = 0; round < 3000; round++) {
    const [message, cn] = [word(), word()];
    const san = Array.from({ length: random(4) }, word);
    const entry = { time: TIME, level: "info", message, fields: { cn, san, n: round } } as const;

    const line = formatText(entry);
    assert.match(line, printable);
    assert.deepEqual([...parseText(line)], [
      ["time", "2026-03-28T23:07:44.000Z"],
      ["level", "INFO"],
      ["msg", message.toWellFormed()],
      ["cn", cn.toWellFormed()],
      ["san", `[${san.join(" ")}]`.toWellFormed()],
      ["n", String(round)],
    ]);

    const jsonLine = formatJson(entry);
    assert.match(jsonLine, printable);
    assert.deepEqual(JSON.parse(jsonLine), {
      time: "2026-03-28T23:07:44.000Z",
      level: "INFO",
      msg: message.toWellFormed(),
      cn: cn.toWellFormed(),
      san: san.map((item) => item.toWellFormed()),
      n: round,
    });
  }
});

Deno.test("JSON holds the numbers that it has no notation for as strings", () => {
  const line = formatJson({
    time: TIME,
    level: "info",
    message: "m",
    fields: { a: NaN, b: -Infinity },
  });
  assert.match(line, /"a":"NaN","b":"-Inf"\}$/);
});

Deno.test("a field cannot pass for the time, level or message", () => {
  const fields = { time: "x", level: "ERROR", msg: "y" };
  assert.equal(
    text(fields),
    "time=2026-03-28T23:07:44.000Z level=INFO msg=m _time=x _level=ERROR _msg=y",
  );
  assert.deepEqual(JSON.parse(formatJson({ time: TIME, level: "info", message: "m", fields })), {
    time: "2026-03-28T23:07:44.000Z",
    level: "INFO",
    msg: "m",
    _time: "x",
    _level: "ERROR",
    _msg: "y",
  });
});

Deno.test("overlong values are cut and say so", () => {
  const long = "x".repeat(MAX_VALUE_LENGTH);
  assert.equal(field(long), long);
  assert.equal(field(`${long}y`), `"${long}...(cut, 1025 characters)"`);
  // The pair at the edge goes whole.
  assert.equal(
    field(`${"x".repeat(MAX_VALUE_LENGTH - 1)}🙂`),
    `"${"x".repeat(MAX_VALUE_LENGTH - 1)}...(cut, 1025 characters)"`,
  );
  assert.ok(text({}, "y".repeat(100_000)).length < 1200);
});

Deno.test("overlong lists are cut and say how many are missing", () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `host-${i}.example`);
  const line = field(names);
  assert.ok(line.length < 1200, String(line.length));
  const kept = line.slice(2, -2).split(" ").filter((name) => name.startsWith("host-")).length;
  assert.ok(kept > 10);
  assert.ok(line.endsWith(` ...(${10_000 - kept} more)]"`), line);
  // The first is always there, cut like any value.
  const huge = field(["z".repeat(5000), "second"]);
  assert.ok(huge.endsWith('...(cut, 5000 characters) ...(1 more)]"'), huge);
});

Deno.test("records below the level are not written", () => {
  const { logger, lines } = collect("warn");
  logger.debug("a");
  logger.info("b");
  logger.warn("c");
  logger.error("d");
  assert.deepEqual(lines.map(afterTime), ["level=WARN msg=c", "level=ERROR msg=d"]);
  assert.deepEqual(
    (["debug", "info", "warn", "error"] as const).map((level) => logger.enabled(level)),
    [false, false, true, true],
  );
  assert.equal(logger.with({ a: 1 }).enabled("info"), false);
});

Deno.test("with adds fields; a record's own field wins; undefined is left out", () => {
  const { logger, lines } = collect();
  const child = logger.with({ tunnel: "db", conn: 1 }).with({ remote: "h:1" });
  child.info("a", { conn: 2, none: undefined });
  logger.info("b");
  assert.deepEqual(lines.map(afterTime), [
    "level=INFO msg=a tunnel=db conn=2 remote=h:1",
    "level=INFO msg=b",
  ]);
});

Deno.test("braces in a message are only braces", () => {
  const { logger, lines } = collect();
  logger.info("{peer} {{x}} {", { peer: "p" });
  logger.with({ peer: "p" }).error("{peer}");
  assert.deepEqual(lines.map(afterTime), [
    'level=INFO msg="{peer} {{x}} {" peer=p',
    "level=ERROR msg={peer} peer=p",
  ]);
});

Deno.test("loggers of one process keep apart", () => {
  const a = collect("error");
  const b = collect("debug", "json");
  const c = collect("info");
  a.logger.error("from a");
  a.logger.info("too low");
  b.logger.debug("from b");
  c.logger.with({ x: 1 }).info("from c");
  assert.deepEqual(a.lines.map(afterTime), ['level=ERROR msg="from a"']);
  assert.deepEqual(b.lines.map((line) => JSON.parse(line).msg), ["from b"]);
  assert.deepEqual(c.lines.map(afterTime), ['level=INFO msg="from c" x=1']);
  assert.ok(b.lines.every((line) => line.endsWith("}\n")));
});

Deno.test("a sink that throws does not throw into the caller", () => {
  let calls = 0;
  const logger = createLogger({
    level: "info",
    format: "text",
    write: () => {
      calls++;
      throw new Error("full");
    },
  });
  logger.info("a");
  logger.with({ x: 1 }).error("b");
  assert.equal(calls, 2);
});

/** A stream that takes `size` bytes a call, or fails where `size` says so. */
function stream(
  sizes: (number | Error)[],
): { readonly text: () => string; writeSync(data: Uint8Array): number } {
  const taken: number[] = [];
  return {
    text: () => new TextDecoder().decode(new Uint8Array(taken)),
    writeSync(data) {
      const size = sizes.shift() ?? data.length;
      if (size instanceof Error) throw size;
      taken.push(...data.subarray(0, size));
      return Math.min(size, data.length);
    },
  };
}

Deno.test("stderr: short writes are continued", () => {
  const out = stream([1, 2, 3]);
  stderrSink(out)("grüße\n");
  assert.equal(out.text(), "grüße\n");
});

Deno.test("stderr: a line that cannot be written is dropped, and the next one starts afresh", () => {
  const out = stream([
    new Deno.errors.WouldBlock("EAGAIN"),
    3,
    new Deno.errors.WouldBlock("EAGAIN"),
    new Deno.errors.WouldBlock("EAGAIN"),
    0,
  ]);
  const write = stderrSink(out);
  write("lost\n");
  write("half\n");
  write("lost again\n");
  write("and again\n");
  write("whole\n");
  write("more\n");
  assert.equal(out.text(), "hal\nwhole\nmore\n");
});

Deno.test("stderr: a reader that went away does not stop the process, under the grants of the daemon", async () => {
  const script = `
    import { createLogger, stderrSink } from ${
    JSON.stringify(import.meta.resolve("../src/logging.ts"))
  };
    const logger = createLogger({ level: "info", format: "text", write: stderrSink() });
    logger.info("first");
    await Deno.stdin.read(new Uint8Array(1));
    for (let i = 0; i < 100; i++) logger.error("nobody reads this", { text: "x".repeat(1000) });
    await Deno.stdout.write(new TextEncoder().encode("still here"));
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-net",
      "--allow-read",
      "--config",
      new URL("../deno.json", import.meta.url).pathname,
      `data:text/typescript,${encodeURIComponent(script)}`,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  while (!seen.includes("\n")) {
    const { value, done } = await reader.read();
    assert.ok(!done, `ended after ${seen}`);
    seen += value;
  }
  assert.match(seen, /^time=\S+ level=INFO msg=first\n$/);
  await reader.cancel();
  const stdin = child.stdin.getWriter();
  await stdin.write(new Uint8Array(1));
  await stdin.close();
  assert.equal(await new Response(child.stdout).text(), "still here");
  assert.equal((await child.status).code, 0);
});

Deno.test("quote always quotes", () => {
  assert.equal(quote("plain"), '"plain"');
  assert.equal(quote('a "b"\n'), '"a \\"b\\"\\n"');
});
