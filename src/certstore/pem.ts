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
    /** `fault` says what is wrong, of "it"; `cut`: the file ends within it, as one does that is half written. */
    | { readonly kind: "broken"; readonly fault: string; readonly cut: boolean }
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
      // A byte order mark goes as white space does.
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

/** A line, or two where files were put together with `cat` and the first one had no line end. */
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
    // The error quotes nothing that helps, and what it might quote may be a key.
    return broken("its base64 is malformed");
  }
}

/** Writes one block with lines of 64 characters and a line end. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
