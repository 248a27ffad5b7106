/**
 * Writing log lines: what becomes of a stream that is short, full or closed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { logSink, stderrWriter } from "../../../src/control/log_sink.ts";
import type { LogRecord } from "../../../src/log/mod.ts";

Deno.test("sink: a record is one line in its format, and text from a peer has less room", () => {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const record: LogRecord = {
    time: Date.UTC(2026, 2, 28, 23, 7, 44),
    level: "warn",
    message: "m",
    fields: { name: "x".repeat(1000) },
    forPeers: false,
  };
  logSink({ format: "text", write })(record);
  logSink({ format: "json", write })({ ...record, forPeers: true });
  const [text = "", json = ""] = lines;
  const head = "time=2026-03-28T23:07:44.000Z level=WARN msg=m name=";
  assert.equal(text, `${head}${"x".repeat(1000)}\n`);
  assert.ok(json.endsWith("}\n"));
  assert.equal(JSON.parse(json).name, `${"x".repeat(400)}...(cut, 1000 characters)`);
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
  stderrWriter(out)("grüße\n");
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
  const write = stderrWriter(out);
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
    import { lineLogger } from ${JSON.stringify(import.meta.resolve("../../support/log.ts"))};
    import { stderrWriter } from ${
    JSON.stringify(import.meta.resolve("../../../src/control/log_sink.ts"))
  };
    const logger = lineLogger({ level: "info", format: "text", write: stderrWriter() });
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
      new URL("../../../deno.json", import.meta.url).pathname,
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
