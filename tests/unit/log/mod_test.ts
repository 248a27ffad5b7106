/**
 * The log: slog's text byte for byte, JSON, and that no value leaves its field.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Fields, type Logger, quote } from "../../../src/log/mod.ts";
import { lineLogger } from "../../support/log.ts";
import {
  type Bounds,
  formatJson,
  formatText,
  OWN_BOUNDS,
  PEER_BOUNDS,
} from "../../../src/log/format.ts";
import type { LogFormat, LogLevel } from "../../../src/config/config.ts";

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
  return { logger: lineLogger({ level, format, write: (line) => lines.push(line) }), lines };
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

/** The value of field `k` in both formats, as it is printed, without the quotes around it. */
function printed(value: Fields[string], bounds: Bounds): { text: string; json: string } {
  const entry = { time: TIME, level: "info", message: "m", fields: { k: value } } as const;
  const bare = (line: string, from: string) => {
    const shown = line.slice(line.indexOf(from) + from.length);
    return shown.replace(/^"/, "").replace(/"?\}?$/, "");
  };
  return {
    text: bare(formatText(entry, bounds), " k="),
    json: bare(formatJson(entry, bounds), ',"k":'),
  };
}

const bytes = (text: string): number => new TextEncoder().encode(text).length;
const MARK = /^(.*)\.\.\.\(cut, (\d+) characters\)$/s;

/** What strangers may put into a name, and the bytes of one of them: as text, as JSON. */
const FILLERS: readonly (readonly [char: string, text: number, json: number])[] = [
  ["x", 1, 1],
  ["\u200b", 6, 6],
  ["\u202e", 6, 6],
  ["\n", 2, 2],
  ["\x07", 2, 6],
  ["\x1b", 4, 6],
  ["\x7f", 4, 6],
  ['"', 2, 2],
  ["\\", 2, 2],
  ["é", 2, 2],
  ["日", 3, 3],
  ["🙂", 4, 4],
  ["\u{e0041}", 10, 12],
  ["\ud800", 3, 3],
  ["e\u0301", 3, 3],
];

Deno.test("a value is cut by what it takes once it is escaped, between two characters", () => {
  for (const bounds of [PEER_BOUNDS, OWN_BOUNDS]) {
    for (const [char, ...widths] of FILLERS) {
      // What needs quotes in front: bare text has no escapes.
      const long = ` ${char.repeat(20_000)}`;
      for (const [format, width] of [["text", widths[0]], ["json", widths[1]]] as const) {
        const shown = printed(long, bounds)[format];
        const [, kept = "", length] = MARK.exec(shown) ?? assert.fail(shown.slice(0, 99));
        assert.equal(Number(length), long.length);
        const fitting = Math.floor((bounds.value - 1) / width);
        // Combining characters are two; a cut may come between them.
        const rest = char === "e\u0301" ? 3 : width;
        assert.ok(bytes(kept) <= bounds.value, `${bytes(kept)} of ${JSON.stringify(char)}`);
        assert.ok(
          bytes(kept) > bounds.value - 1 - rest,
          `${bytes(kept)} of ${JSON.stringify(char)}`,
        );
        if (char === "e\u0301") continue;
        // Whole: nothing but what one character is printed as, over and over.
        const one = kept.slice(1, 1 + (kept.length - 1) / fitting);
        assert.equal(kept, ` ${one.repeat(fitting)}`, JSON.stringify(char));
        if (format === "json") assert.equal(JSON.parse(`"${one}"`), char.toWellFormed());
      }
    }
  }
});

Deno.test("what fits is whole", () => {
  const long = "x".repeat(PEER_BOUNDS.value);
  assert.equal(printed(long, PEER_BOUNDS).text, long);
  assert.equal(printed(`${long}y`, PEER_BOUNDS).text, `${long}...(cut, 401 characters)`);
  // The pair at the edge goes whole.
  const edge = "x".repeat(PEER_BOUNDS.value - 1);
  assert.equal(printed(`${edge}🙂`, PEER_BOUNDS).json, `${edge}...(cut, 401 characters)`);
  assert.ok(text({}, "y".repeat(100_000)).length < OWN_BOUNDS.value + 100);
});

Deno.test("overlong lists are cut and say how many are missing", () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `host-${i}.example`);
  for (const line of Object.values(printed(names, PEER_BOUNDS))) {
    assert.ok(line.length < PEER_BOUNDS.value + 30, String(line.length));
    const kept = line.match(/host-\d+\.example/g)?.length ?? 0;
    assert.ok(kept > 10);
    assert.match(line, new RegExp(`[ "]\\.\\.\\.\\(${10_000 - kept} more\\)"?\\]$`));
  }
  // The first is always there, cut like any value.
  const huge = printed(["z".repeat(5000), "second"], PEER_BOUNDS).text;
  assert.ok(huge.endsWith("...(cut, 5000 characters) ...(1 more)]"), huge);
  // Empty names take room too.
  const empty = printed(Array(10_000).fill(""), PEER_BOUNDS);
  for (const line of Object.values(empty)) assert.ok(line.length < PEER_BOUNDS.value + 30);
});

Deno.test("a line is bounded however many values are long, and what is short stays whole", () => {
  const fields: Record<string, Fields[string]> = { conn: 17 };
  for (const [char] of FILLERS) {
    fields[`long_${Object.keys(fields).length}`] = char.repeat(3000);
    fields[`list_${Object.keys(fields).length}`] = Array(3000).fill(char);
  }
  fields.remote = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535";
  fields.reason = "no allow rule matches";
  const entry = { time: TIME, level: "warn", message: "listener: denied", fields } as const;
  const names = Object.keys(fields).join("").length;
  for (const format of [formatText, formatJson]) {
    const line = format(entry, PEER_BOUNDS);
    // The values, a mark each, and what is ours.
    assert.ok(bytes(line) < PEER_BOUNDS.line + names + 36 * Object.keys(fields).length, line);
    assert.ok(line.includes("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"), line);
    assert.ok(line.includes("no allow rule matches"), line);
  }
  assert.equal(JSON.parse(formatJson(entry, PEER_BOUNDS)).conn, 17);
});

Deno.test("lines that a peer has a part in have less room than the daemon's own", () => {
  for (const format of ["text", "json"] as const) {
    const { logger, lines } = collect("info", format);
    const words = "\u200b".repeat(1000);
    const tunnel = logger.with({ tunnel: "db" });
    tunnel.info("own", { words });
    tunnel.forPeers().with({ conn: 1 }).info("a peer's", { words });
    tunnel.forPeers().forPeers().debug("too low", { words });
    assert.equal(lines.length, 2);
    assert.ok((lines[0]?.length ?? 0) > 6000);
    assert.ok((lines[1]?.length ?? 0) < 600, lines[1]);
    assert.match(lines[1] ?? "", /tunnel"?[=:]"?db"?[ ,]"?conn"?[=:]1/);
  }
});

Deno.test("a duration is 1.234s in text and a number of seconds in JSON", () => {
  const duration = { seconds: 1.2344 };
  assert.deepEqual(printed(duration, PEER_BOUNDS), { text: "1.234s", json: "1.2344" });
  assert.equal(printed({ seconds: NaN }, PEER_BOUNDS).json, "NaN");
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

Deno.test("endingWith adds fields behind a record's own, which win where they stand", () => {
  const { logger, lines } = collect();
  const child = logger.with({ tunnel: "db" }).endingWith({ conn: 1 }).endingWith({
    peer_cn: "web",
  });
  child.info("a", { remote: "h:1" });
  child.forPeers().info("b", { peer_cn: "db", server: "s:1" });
  child.with({ x: 1 }).info("c");
  assert.deepEqual(lines.map(afterTime), [
    "level=INFO msg=a tunnel=db remote=h:1 conn=1 peer_cn=web",
    "level=INFO msg=b tunnel=db peer_cn=db server=s:1 conn=1",
    "level=INFO msg=c tunnel=db x=1 conn=1 peer_cn=web",
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
  const logger = lineLogger({
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

Deno.test("quote always quotes", () => {
  assert.equal(quote("plain"), '"plain"');
  assert.equal(quote('a "b"\n'), '"a \\"b\\"\\n"');
});
