/**
 * The list of log messages against the code: what is logged is listed with its level, and what is
 * listed is logged.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { LIMITED_MESSAGES } from "../../src/log/limiter.ts";
import { MESSAGES } from "../../src/log/messages.ts";
import { ROOT } from "../support/daemon.ts";

const LISTED = Object.values(MESSAGES).flat();
const NAMES = LISTED.flatMap(({ messages }) => messages);

/** The modules of `src/` but the list itself, by their path. */
const SOURCES = new Map(
  modules("src").filter((path) => path !== "src/log/messages.ts")
    .map((path) => [path, Deno.readTextFileSync(join(ROOT, path))]),
);

function modules(dir: string): readonly string[] {
  return [...Deno.readDirSync(join(ROOT, dir))].flatMap(({ name, isDirectory }) =>
    isDirectory ? modules(`${dir}/${name}`) : name.endsWith(".ts") ? [`${dir}/${name}`] : []
  );
}

/** A call of the logger: its level, unless that is computed, and a message as the code writes it. */
type Call = { readonly path: string; readonly level: string | undefined; readonly written: string };

/** Everything that is passed to a logger as a literal, alternatives of a condition included. */
function calls(): readonly Call[] {
  const call =
    /[lL]ogger(?:\.(debug|info|warn|error)|\[level\])\(\s*((?:[^`"(){}]|`[^`]*`|"[^"]*")*)/g;
  return [...SOURCES].flatMap(([path, text]) =>
    [...text.matchAll(call)].flatMap(([, level, argument = ""]) =>
      [...argument.matchAll(/`([^`]*)`|"([^"]*)"/g)].map(([, template, string]) => ({
        path,
        level,
        written: template ?? string ?? "",
      })).filter(({ written }) => written !== "")
    )
  );
}

/** What a literal can stand for: anything in place of `${...}`. */
function pattern(written: string): RegExp {
  return new RegExp(`^${written.split(/\$\{[^}]*\}/).map(RegExp.escape).join(".+")}$`);
}

/** A literal without words of its own, such as that of findings about the config. */
function isFree(written: string): boolean {
  return !/[a-z]/.test(written.replaceAll(/\$\{[^}]*\}/g, ""));
}

Deno.test("log: every message that is written is in the list, with its level", () => {
  const found = calls();
  assert.ok(found.length >= 50, `${found.length} calls`);
  for (const { path, level, written } of found.filter((call) => !isFree(call.written))) {
    const known = LISTED.filter(({ messages }) =>
      messages.some((name) => pattern(written).test(name))
    );
    assert.ok(known.length > 0, `${path}: "${written}" is not in src/log/messages.ts`);
    assert.ok(
      level === undefined || known.some(({ levels }) => levels.some((one) => one === level)),
      `${path}: "${written}" is not listed at level ${level}`,
    );
  }
  // Two findings about the config, which begin with their place or their key, and one of two listed
  // messages for either role.
  const free = found.filter((call) => isFree(call.written));
  assert.deepEqual(
    free.map(({ written }) => written.replaceAll(/\$\{[^}]*\}/g, "*")),
    ["*: *", "*: *", "*: *"],
    free.map(({ path, written }) => `${path}: ${written}`).join(", "),
  );
});

Deno.test("log: every message of the list is written", () => {
  const patterns = calls().filter((call) => !isFree(call.written)).map(({ written }) =>
    pattern(written)
  );
  const text = [...SOURCES.values()].join("\n");
  for (const name of NAMES) {
    const [, rest = name] = /^(?:listener|dialer): (.+)$/.exec(name) ?? [];
    const isWritten = patterns.some((one) => one.test(name)) || text.includes(`"${name}"`) ||
      text.includes(`\`${name}\``) ||
      text.includes(`"${rest}"`);
    assert.ok(isWritten, name);
  }
  assert.equal(new Set(NAMES).size, NAMES.length);
});

Deno.test("log: every message that is limited is listed", () => {
  for (const name of LIMITED_MESSAGES) {
    assert.ok(NAMES.some((known) => known.endsWith(`: ${name}`)), name);
  }
});

/** What the project promises to scripts. */
const PROMISED = [
  "mtlsd starting",
  "certificates loaded",
  "listener: serving mTLS",
  "dialer: listening",
  "health server listening",
  "metrics server listening",
  "certstore: watching files for changes",
  "listener: accepted connection",
  "dialer: connected",
  "listener: denied connection",
  "listener: accept failed",
  "certstore: file changed, scheduling reload",
  "certstore: certificates reloaded successfully",
  "certstore: reload failed, keeping the previous certificates",
  "received SIGHUP, reloading certificates",
  "shutting down",
  "shutdown complete",
];

Deno.test("log: every message that scripts look for is listed", () => {
  assert.deepEqual(PROMISED.filter((message) => !NAMES.includes(message)), []);
});
