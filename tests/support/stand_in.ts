/**
 * Programs that stand in for the runtime which `deno compile` downloads (`denort`), and a look into what
 * it makes of them. They do nothing; they are whole enough for a program to be put into them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";

/** What a binary is for. */
export type System = "linux" | "macos" | "windows";
/** What a binary runs on. */
export type Cpu = "x64" | "arm64";

const ELF_MACHINE: Readonly<Record<Cpu, number>> = { x64: 62, arm64: 183 };
const MACH_CPU: Readonly<Record<Cpu, number>> = { x64: 0x0100_0007, arm64: 0x0100_000c };
const PE_MACHINE: Readonly<Record<Cpu, number>> = { x64: 0x8664, arm64: 0xaa64 };

/** An executable of this kind that does nothing. */
export function standIn(system: System, cpu: Cpu): Uint8Array {
  switch (system) {
    case "linux":
      return elf(ELF_MACHINE[cpu]);
    case "macos":
      return machO(MACH_CPU[cpu]);
    case "windows":
      return pe(PE_MACHINE[cpu]);
    default:
      return system satisfies never;
  }
}

/** What an executable says that it is for; `undefined` for anything else. */
export function kindOf(bytes: Uint8Array): { system: System; cpu: Cpu } | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = (system: System, machines: Readonly<Record<Cpu, number>>, machine: number) => {
    const cpu = (["x64", "arm64"] as const).find((name) => machines[name] === machine);
    return cpu === undefined ? undefined : { system, cpu };
  };
  if (file.readUInt32BE(0) === 0x7f454c46) return kind("linux", ELF_MACHINE, file.readUInt16LE(18));
  if (file.readUInt32LE(0) === 0xfeedfacf) return kind("macos", MACH_CPU, file.readUInt32LE(4));
  if (file.readUInt16BE(0) !== 0x4d5a) return undefined;
  return kind("windows", PE_MACHINE, file.readUInt16LE(file.readUInt32LE(60) + 4));
}

/** Writes fields of one size, little-endian, one after the other. */
function fields(size: 2 | 4 | 8, ...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(size * values.length);
  for (const [index, value] of values.entries()) {
    if (size === 8) bytes.writeBigUInt64LE(BigInt(value), index * size);
    else bytes.writeUIntLE(value, index * size, size);
  }
  return bytes;
}

/** `bytes` with zeros up to a length. */
function padded(bytes: Buffer, length: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]);
}

/** ELF: the header and one segment that is loaded. */
function elf(machine: number): Buffer {
  return Buffer.concat([
    padded(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]), 16),
    ...[fields(2, 2, machine), fields(4, 1), fields(8, 0, 64, 0), fields(4, 0)],
    fields(2, 64, 56, 1, 0, 0, 0),
    ...[fields(4, 1, 5), fields(8, 0, 0x40_0000, 0x40_0000, 120, 120, 0x1000)],
  ]);
}

/** Mach-O: a segment of code, one for links, and a place for the signature that Apple's CPUs ask for. */
function machO(cpu: number): Buffer {
  const segment = (name: string, at: number, from: number, size: number, rights: number) =>
    Buffer.concat([
      ...[fields(4, 0x19, 72), padded(Buffer.from(name), 16)],
      ...[fields(8, at, 0x4000, from, size), fields(4, rights, rights, 0, 0)],
    ]);
  const commands = Buffer.concat([
    segment("__TEXT", 0x1_0000_0000, 0, 0x4000, 5),
    segment("__LINKEDIT", 0x1_0000_4000, 0x4000, 32, 1),
    fields(4, 0x1d, 16, 0x4010, 16),
  ]);
  const header = fields(4, 0xfeedfacf, cpu, 0, 2, 3, commands.length, 0x85, 0);
  return padded(Buffer.concat([header, commands]), 0x4020);
}

/** PE32+: one section of code and an empty table of directories. */
function pe(machine: number): Buffer {
  const optional = Buffer.concat([
    ...[fields(2, 0x20b, 14), fields(4, 0x200, 0, 0, 0x1000, 0x1000), fields(8, 0x1_4000_0000)],
    ...[fields(4, 0x1000, 0x200), fields(2, 6, 0, 0, 0, 6, 0), fields(4, 0, 0x2000, 0x200, 0)],
    ...[fields(2, 3, 0x8160), fields(8, 0x10_0000, 0x1000, 0x10_0000, 0x1000), fields(4, 0, 16)],
    Buffer.alloc(16 * 8),
  ]);
  const header = Buffer.concat([
    ...[padded(Buffer.from("MZ"), 60), fields(4, 64), padded(Buffer.from("PE"), 4)],
    ...[fields(2, machine, 1), fields(4, 0, 0, 0), fields(2, optional.length, 0x22), optional],
    ...[padded(Buffer.from(".text"), 8), fields(4, 16, 0x1000, 0x200, 0x200, 0, 0)],
    ...[fields(2, 0, 0), fields(4, 0x6000_0020)],
  ]);
  return padded(Buffer.concat([padded(header, 0x200), Buffer.from([0xc3])]), 0x400);
}

/** A list of what is granted or denied, empty for everything of the kind; `null` for nothing said. */
type Values = readonly string[] | null;

/** What `deno compile` says of a program, in front of it; the names are Deno's. */
export type Metadata = {
  readonly argv: readonly string[];
  readonly permissions: Readonly<Record<string, Values | boolean>>;
  readonly v8_flags: readonly string[];
  readonly entrypoint_key: string;
  readonly workspace_resolver: { readonly import_map: unknown };
  readonly node_modules: unknown;
  readonly env_vars_from_env_file: Readonly<Record<string, string>>;
  readonly unsafely_ignore_certificate_errors: Values;
};

/** What `deno compile` has put into a binary. */
export type Embedded = {
  readonly metadata: Metadata;
  /** Every file of it, by its name. */
  readonly files: ReadonlyMap<string, Buffer>;
};

const MARK = Buffer.from("d3n0l4nd");

/**
 * Finds what was put into a binary: a mark, the metadata with its length in front, and further on the
 * table of files with its length in front, followed by the length of their contents and these.
 */
export function embedded(binary: Buffer): Embedded {
  for (let at = binary.indexOf(MARK); at !== -1; at = binary.indexOf(MARK, at + 1)) {
    const [text, after] = counted(binary, at + MARK.length);
    if (text?.[0] !== 0x7b) continue; // The mark is in the code that looks for it, too.
    const metadata = JSON.parse(text.toString()) as Metadata;
    const table = binary.indexOf('[{"File":', after);
    assert.notEqual(table, -1, "no table of files");
    const [list, contents] = counted(binary, table - 8);
    const [all] = counted(binary, contents);
    assert.ok(list !== undefined && all !== undefined);
    const entries = JSON.parse(list.toString()) as readonly {
      readonly File: { readonly n: string; readonly o: readonly [from: number, length: number] };
    }[];
    return {
      metadata,
      files: new Map(
        entries.map(({ File: { n, o: [from, length] } }) => [n, all.subarray(from, from + length)]),
      ),
    };
  }
  throw new Error("Cannot find a program in it");
}

/** What stands behind its own length, and where that ends; `undefined` where it is too long. */
function counted(bytes: Buffer, at: number): readonly [Buffer | undefined, end: number] {
  if (at + 8 > bytes.length) return [undefined, at];
  const length = bytes.readBigUInt64LE(at);
  const end = at + 8 + Number(length);
  return end > bytes.length ? [undefined, at] : [bytes.subarray(at + 8, end), end];
}
