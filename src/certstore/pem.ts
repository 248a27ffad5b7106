/**
 * PEM as it occurs (RFC 7468, and the headers of RFC 1421 on old keys): text around the blocks, a
 * byte order mark, any line ends, and a block that begins right where the one before ended.
 *
 * @module
 */

/** One block, or what was to be one. */
export type PemBlock =
  & {
    /** `CERTIFICATE`, `PRIVATE KEY` and so on. */
    readonly label: string;
    /** Where it begins, counted from 1. */
    readonly line: number;
  }
  & (
    | { readonly kind: "sound"; readonly der: Uint8Array }
    /** Encrypted by its RFC 1421 headers; the body is not looked at. */
    | { readonly kind: "encrypted" }
    /** `fault` says what is wrong, of "it". */
    | { readonly kind: "broken"; readonly fault: string }
  );

// A label is bounded so that no line of a file can turn up whole in a message.
const BEGIN = /^-----BEGIN ([A-Za-z0-9][A-Za-z0-9 .+/]{0,63})-----$/;
const END = /^-----END (.*)-----$/;
const HEADER = /^[A-Za-z][A-Za-z0-9-]*:/;

/** Whether the bytes hold the start of a PEM block at all. */
export function looksLikePem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** Finds all blocks of a text, in their order. */
export function parsePem(text: string): readonly PemBlock[] {
  const lines = text.split(/\r\n|\n|\r/).flatMap((whole, i) =>
    whole
      .replace(/^\ufeff/, "")
      // Files put together with `cat` where the first one had no line end.
      .split(/(?<=-----)(?=-----BEGIN )/)
      .map((line) => ({ text: line.trim(), number: i + 1 }))
  );
  const blocks: PemBlock[] = [];
  for (let i = 0; i < lines.length; i++) {
    const { text: first = "", number: line = 0 } = lines[i] ?? {};
    const label = BEGIN.exec(first)?.[1];
    if (label === undefined) continue;
    const body: string[] = [];
    for (i++; i < lines.length && !/^-----(BEGIN|END) /.test(lines[i]?.text ?? ""); i++) {
      body.push(lines[i]?.text ?? "");
    }
    const end = END.exec(lines[i]?.text ?? "")?.[1];
    // The next block begins here.
    if (end === undefined) i--;
    blocks.push({ label, line, ...readBody(label, end, body) });
  }
  return blocks;
}

type Body =
  | { readonly kind: "sound"; readonly der: Uint8Array }
  | { readonly kind: "encrypted" }
  | { readonly kind: "broken"; readonly fault: string };

function readBody(label: string, end: string | undefined, body: readonly string[]): Body {
  if (end === undefined) return { kind: "broken", fault: "it has no END line: it is cut short" };
  if (end !== label) {
    return { kind: "broken", fault: `its END line is not that of "${label}"` };
  }
  const blank = body.indexOf("");
  const headers = HEADER.test(body[0] ?? "") ? body.slice(0, blank < 0 ? body.length : blank) : [];
  if (headers.some((line) => /^Proc-Type:.*ENCRYPTED/.test(line))) return { kind: "encrypted" };
  const base64 = body.slice(headers.length).join("");
  if (base64 === "") return { kind: "broken", fault: "nothing is in it" };
  try {
    return {
      kind: "sound",
      der: Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" }),
    };
  } catch {
    // The error quotes nothing that helps, and what it might quote may be a key.
    return { kind: "broken", fault: "its base64 is malformed" };
  }
}

/** Writes one block with lines of 64 characters and a line end. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
