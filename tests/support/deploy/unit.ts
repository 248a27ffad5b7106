/**
 * Reads systemd's unit files, and what their filters of system calls come to.
 *
 * @module
 */

import assert from "node:assert/strict";
import { run } from "./examples.ts";

/** A unit file. */
export type Unit = {
  /** Section, key and value, in their order. */
  readonly settings: readonly (readonly [section: string, key: string, value: string])[];
  /** The only value of a key. */
  one(section: string, key: string): string;
  /** All values of a key, one after the other, at their white space. */
  words(section: string, key: string): readonly string[];
};

/** Takes a unit file apart: comments go, lines that are continued become one. */
export function readUnit(text: string): Unit {
  const settings: [string, string, string][] = [];
  let section = "";
  const lines = text.replace(/^[#;].*\n/gm, "").replace(/\\\n\s*/g, "").split("\n");
  for (const line of lines.filter((line) => line !== "")) {
    const [, header] = /^\[(\w+)\]$/.exec(line) ?? [];
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (header !== undefined) section = header;
    else if (key !== undefined && value !== undefined) settings.push([section, key, value]);
    else assert.fail(`not a line of a unit: ${line}`);
  }
  const values = (section: string, key: string) =>
    settings.filter(([where, name]) => where === section && name === key).map(([, , value]) =>
      value
    );
  return {
    settings,
    one(section, key) {
      const [value, ...more] = values(section, key);
      assert.ok(value !== undefined && more.length === 0, `${key}= is not there once`);
      return value;
    },
    words: (section, key) => values(section, key).flatMap((value) => value.split(/\s+/)),
  };
}

/** Which system calls `SystemCallFilter=` lets through, of all that systemd knows. */
export type SystemCalls = {
  readonly allowed: ReadonlySet<string>;
  readonly denied: ReadonlySet<string>;
};

/** What the lines of `SystemCallFilter=` come to: the first one allows, `~` takes away. */
export async function systemCalls(filters: readonly string[]): Promise<SystemCalls> {
  const sets = await knownSets();
  const members = (name: string): readonly string[] =>
    name.startsWith("@") ? (sets.get(name) ?? []).flatMap(members) : [name];
  const [first, ...rest] = filters;
  assert.ok(first !== undefined && !first.startsWith("~"), "the first line is to allow");
  // Always allowed by systemd, or no program could be started.
  const allowed = new Set([...members("@default"), ...first.split(" ").flatMap(members)]);
  for (const filter of rest) {
    assert.ok(filter.startsWith("~"), filter);
    for (const call of filter.slice(1).split(" ").flatMap(members)) allowed.delete(call);
  }
  const denied = members("@known").filter((call) => !allowed.has(call));
  assert.ok(allowed.size > 100 && denied.length > 100, `${allowed.size}, ${denied.length}`);
  return { allowed, denied: new Set(denied) };
}

/** The sets as systemd prints them: a name that starts a line, then what is in it, indented. */
async function knownSets(): Promise<ReadonlyMap<string, readonly string[]>> {
  const { code, stdout, stderr } = await run("systemd-analyze", ["--no-pager", "syscall-filter"]);
  assert.equal(code, 0, stderr);
  const sets = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of stdout.split("\n")) {
    const [, name] = /^(@[\w-]+)$/.exec(line) ?? [];
    const [, member] = /^ {4}(@?[\w-]+)$/.exec(line) ?? [];
    if (name !== undefined) sets.set(name, members = []);
    else if (member !== undefined) members.push(member);
  }
  return sets;
}
