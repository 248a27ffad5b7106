/**
 * What a URI may be taken for: deny rules match any of it, so that no way of writing a URI leads
 * around them.
 *
 * @module
 */

import { plainUri, type UriParts, type UriPattern } from "./uri.ts";

/** Rounds of percent-decoding after which a URI is no honest one. */
const MAX_ROUNDS = 8;

/** One round, byte for character; the overlong UTF-8 of ASCII (`%c0%af`) is ASCII to some readers. */
function decodeOnce(text: string): string {
  return text
    // An encoded percent sign, however often, in one go.
    .replace(/%(?:25)+/g, "%")
    .replace(
      /%(c[01])%([89ab][0-9a-f])/gi,
      (_, lead: string, tail: string) =>
        String.fromCharCode(((parseInt(lead, 16) & 1) << 6) | (parseInt(tail, 16) & 0x3f)),
    )
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** Decoded until nothing is left to decode; `undefined` where there is no end in sight. */
function decoded(text: string): string | undefined {
  let last = text;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const next = decodeOnce(last);
    if (next === last) return next;
    last = next;
  }
  return undefined;
}

/** Dot segments resolved (RFC 3986 section 5.2.4) or left out, empty ones left out. */
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

/** The text as it is, without what many readers skip, and up to a NUL, where C's strings end. */
function spellings(text: string): string[] {
  const slashed = text.replaceAll("\\", "/");
  const all = [slashed, slashed.replace(/\0.*$/s, "")].flatMap((one) => [
    one,
    // deno-lint-ignore no-control-regex -- control characters are what it takes out
    one.replace(/[\u0000-\u0020\u007f]/g, ""),
  ]);
  return all.flatMap((one) => [one, one.replace(/[?#].*$/s, "")]);
}

/** The host as it is written, without a user, without a port, without both. */
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
 * Every URI that a lax reader may take this one for, each without a final slash; `undefined` for one
 * that cannot be read to its end.
 */
export function uriReadings(uri: string): readonly UriParts[] | undefined {
  const parts = plainUri(uri);
  // Nothing to decode, no port, no dot behind the host: there is no other way to read it.
  if (parts !== undefined && !uri.includes("%") && /^[\w.~-]*[\w~-]$/.test(parts.authority)) {
    return [{ ...parts, slash: false }];
  }
  const text = decoded(uri);
  if (text === undefined) return undefined;
  const texts = new Set([uri, text].flatMap(spellings));
  return [...texts].flatMap(readText);
}

/** A pattern as it reads when percent signs are decoded; rules hold no more than one layer. */
export function laxPattern(pattern: UriPattern): UriPattern {
  return {
    ...pattern,
    authority: pattern.authority.replace(/\.+$/, ""),
    segments: pattern.segments.map(decodeOnce),
  };
}
