/**
 * Parses PEM as it occurs in practice (RFC 7468, and the RFC 1421 headers of old keys): text around
 * the blocks, a byte order mark, any line ends, and a block that begins right behind the previous
 * one.
 *
 * @module
 */

/** One block, whether or not it can be decoded. */
export type PemBlock =
  & {
    /** For example `CERTIFICATE` or `PRIVATE KEY`. */
    readonly label: string;
    /** The line on which it begins, counted from 1. */
    readonly line: number;
  }
  & (
    | { readonly kind: "sound"; readonly der: Uint8Array }
    /** Encrypted according to its RFC 1421 headers; the body is not decoded. */
    | { readonly kind: "encrypted" }
    /**
     * `fault` is a clause about "it". `cut` is true if the file ends within the block, so that it
     * is probably incomplete.
     */
    | { readonly kind: "broken"; readonly fault: string; readonly cut: boolean }
  );

// The length of a label is limited so that messages never contain a whole line of a file.
const BEGIN = /^-----BEGIN ([A-Za-z0-9][A-Za-z0-9 .+/]{0,63})-----$/;
const END = /^-----END (.*)-----$/;
const HEADER = /^[A-Za-z][A-Za-z0-9-]*:/;

/** Whether the text contains the start of a PEM block. */
export function looksLikePem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** Finds all blocks of a text, in order. */
export function parsePem(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly line: number; readonly body: string[] } | undefined;
  const close = (end: string | undefined, atEnd = false): void => {
    if (open === undefined) return;
    const { label, line, body } = open;
    blocks.push({ label, line, ...readBody(label, end, body, atEnd) });
    open = undefined;
  };
  for (const [i, whole] of text.split(/\r\n|\n|\r/).entries()) {
    for (const part of partsOf(whole)) {
      // Trimming also removes a byte order mark.
      const line = part.trim();
      if (!/^-----(BEGIN|END) /.test(line)) {
        open?.body.push(line);
        continue;
      }
      close(END.exec(line)?.[1]);
      const label = BEGIN.exec(line)?.[1];
      if (label !== undefined) open = { label, line: i + 1, body: [] };
    }
  }
  close(undefined, true);
  return blocks;
}

/** Splits a line in two where files were concatenated and the first had no line end. */
function partsOf(line: string): readonly string[] {
  return line.includes("----------BEGIN ") ? line.split(/(?<=-----)(?=-----BEGIN )/) : [line];
}

type Body =
  | { readonly kind: "sound"; readonly der: Uint8Array }
  | { readonly kind: "encrypted" }
  | { readonly kind: "broken"; readonly fault: string; readonly cut: boolean };

function broken(fault: string, cut = false): Body {
  return { kind: "broken", fault, cut };
}

function readBody(
  label: string,
  end: string | undefined,
  body: readonly string[],
  atEnd: boolean,
): Body {
  if (end === undefined) return broken("it has no END line: it is cut short", atEnd);
  if (end !== label) return broken(`its END line is not that of "${label}"`);
  const blank = body.indexOf("");
  const headers = HEADER.test(body[0] ?? "") ? body.slice(0, blank < 0 ? body.length : blank) : [];
  if (headers.some((line) => /^Proc-Type:.*ENCRYPTED/.test(line))) return { kind: "encrypted" };
  const base64 = body.slice(headers.length).join("");
  if (base64 === "") return broken("nothing is in it");
  try {
    return {
      kind: "sound",
      der: Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" }),
    };
  } catch {
    // The decoder's error message could quote the key, so it is not included.
    return broken("its base64 is malformed");
  }
}

/** Formats one block with lines of 64 characters and a final line end. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
