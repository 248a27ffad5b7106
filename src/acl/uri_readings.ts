/**
 * All the ways in which a URI can be read. Deny rules match any of them, so that no spelling of a
 * URI bypasses a rule.
 *
 * @module
 */

import { plainUri, type UriParts, type UriPattern } from "./uri.ts";

/** Rounds of percent-decoding; a URI that still changes after them is not a legitimate one. */
const MAX_ROUNDS = 8;

/**
 * Decodes one layer, a byte to a character. Some parsers read overlong UTF-8 (`%c0%af`) as ASCII.
 */
function decodeOnce(text: string): string {
  return text
    // Percent signs that are themselves encoded, however many times, in one step.
    .replace(/%(?:25)+/g, "%")
    .replace(
      /%(c[01])%([89ab][0-9a-f])/gi,
      (_, lead: string, tail: string) =>
        String.fromCharCode(((parseInt(lead, 16) & 1) << 6) | (parseInt(tail, 16) & 0x3f)),
    )
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** Decodes until the text no longer changes; `undefined` after {@linkcode MAX_ROUNDS} rounds. */
function decoded(text: string): string | undefined {
  let last = text;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const next = decodeOnce(last);
    if (next === last) return next;
    last = next;
  }
  return undefined;
}

/** Resolves dot segments (RFC 3986 section 5.2.4), or drops them; drops empty segments. */
function collapse(segments: readonly string[], resolve: boolean): string[] {
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === "" || segment === ".") continue;
    if (segment === "..") {
      if (resolve) kept.pop();
    } else {
      kept.push(segment);
    }
  }
  return kept;
}

/**
 * The text as it is, without characters that many parsers skip, and cut at a NUL as in C strings.
 */
function spellings(text: string): string[] {
  const slashed = text.replaceAll("\\", "/");
  const all = [slashed, slashed.replace(/\0.*$/s, "")].flatMap((one) => [
    one,
    // deno-lint-ignore no-control-regex -- control characters are what it takes out
    one.replace(/[\u0000-\u0020\u007f]/g, ""),
  ]);
  return all.flatMap((one) => [one, one.replace(/[?#].*$/s, "")]);
}

/** The host as it is written, without user info, without port, and without both. */
function hosts(authority: string): ReadonlySet<string> {
  const withoutUser = authority.replace(/^.*@/s, "");
  const all = [authority, withoutUser].flatMap((host) => [host, host.replace(/:\d*$/, "")]);
  return new Set(all.map((host) => host.toLowerCase().replace(/\.+$/, "")));
}

function readText(text: string): UriParts[] {
  const match = /^([^:/?#]+):\/*([^/]*)(.*)$/s.exec(text);
  const [, scheme, authority, path] = match ?? [];
  if (scheme === undefined || authority === undefined || path === undefined) return [];
  const segments = path.split("/");
  const paths = [collapse(segments, true)];
  if (segments.includes("..")) paths.push(collapse(segments, false));
  return [...hosts(authority)].flatMap((host) =>
    paths.map((kept) => ({
      scheme: scheme.toLowerCase(),
      authority: host,
      segments: kept,
      slash: false,
    }))
  );
}

/**
 * Every URI that a lenient parser may read in this one, each without a trailing slash; `undefined`
 * for one with too many layers of encoding.
 */
export function uriReadings(uri: string): readonly UriParts[] | undefined {
  const parts = plainUri(uri);
  // Nothing is encoded, there is no port and no trailing dot in the host: there is only one
  // reading.
  if (parts !== undefined && !uri.includes("%") && /^[\w.~-]*[\w~-]$/.test(parts.authority)) {
    return [{ ...parts, slash: false }];
  }
  const text = decoded(uri);
  if (text === undefined) return undefined;
  const texts = new Set([uri, text].flatMap(spellings));
  return [...texts].flatMap(readText);
}

/** The pattern with percent signs decoded; rules contain at most one layer of encoding. */
export function laxPattern(pattern: UriPattern): UriPattern {
  return {
    ...pattern,
    authority: pattern.authority.replace(/\.+$/, ""),
    segments: pattern.segments.map(decodeOnce),
  };
}
