/**
 * URIs in rules and certificates. Patterns are compared by segment: `*` stands for exactly one
 * segment, `**` at the end for any number of segments, including none.
 *
 * If a URI could be written in several ways, rules could be bypassed. Therefore an allow rule
 * matches only URIs in their canonical form, while a deny rule matches every way in which a URI can
 * be read (see `uri_readings.ts`).
 *
 * @module
 */

/** A parsed rule. Scheme and authority are compared exactly. */
export type UriPattern = {
  /** In lower case. */
  readonly scheme: string;
  /** In lower case, or `*` for any. */
  readonly authority: string;
  /** Segments of the path; `*` stands for any one segment. */
  readonly segments: readonly string[];
  /** Whether any number of further segments may follow. */
  readonly open: boolean;
  /** Whether the URI may end in a slash. */
  readonly slash: boolean;
};

/** A pattern, or the reason for rejecting it. */
export type ParsedUriRule =
  | { readonly ok: true; readonly value: UriPattern }
  | { readonly ok: false; readonly reason: string };

/** The components of a URI. */
export type UriParts = {
  readonly scheme: string;
  readonly authority: string;
  readonly segments: readonly string[];
  /** Whether the URI ends in a slash. */
  readonly slash: boolean;
};

/** Why a URI is not in its canonical form (a clause about "it"), and what to write instead. */
export type UriFault = { readonly why: string; readonly fix: string };

const FORM = 'write it like "spiffe://acme/ns/*/web"';

/** RFC 3986 section 3, for URIs with an authority and a path only: `spiffe://acme/ns/web`. */
function split(uri: string): UriParts | undefined {
  const match = /^([^:/?#]+):\/\/([^/?#]*)((?:\/[^?#]*)?)$/.exec(uri);
  const [, scheme, authority, path] = match ?? [];
  if (scheme === undefined || authority === undefined || path === undefined) return undefined;
  const segments = path === "" ? [] : path.slice(1).split("/");
  const slash = segments.at(-1) === "";
  return { scheme, authority, segments: slash ? segments.slice(0, -1) : segments, slash };
}

/** The characters that RFC 3986 section 2 allows in a URI. */
const CHARACTERS = /^[A-Za-z0-9._~!$&'()*+,;=:@/?#%[\]-]*$/;

/** Percent-encoded control characters, `%`, `#`, `?`, `*`, `.`, `/` and `\`. */
const TRICKY = /%([01][0-9a-f]|7f|25|23|3f|2a|2e|2f|5c)/i;

function encodingFault(uri: string): UriFault | undefined {
  if (/%(?![0-9a-f]{2})/i.test(uri)) {
    return {
      why: "it has a percent sign without two hex digits after it",
      fix: "write both of them",
    };
  }
  if (TRICKY.test(uri)) {
    return {
      why: "it has an encoded slash or dot, or another encoded character with a meaning of its own",
      fix: "leave it out",
    };
  }
  try {
    if (!/\p{Cc}/u.test(decodeURIComponent(uri))) return undefined;
    return { why: "it has an encoded control character", fix: "leave it out" };
  } catch {
    return { why: "its percent-encoded bytes are not UTF-8", fix: "encode the text as UTF-8" };
  }
}

function partsFault({ scheme, authority, segments }: UriParts): UriFault | undefined {
  if (scheme !== scheme.toLowerCase()) {
    return { why: "its scheme is not in lower case", fix: `write "${scheme.toLowerCase()}"` };
  }
  if (!/^[a-z][a-z0-9+.-]*$/.test(scheme)) return { why: "it begins with no scheme", fix: FORM };
  if (authority === "") return { why: "it names no host", fix: FORM };
  if (authority !== authority.toLowerCase()) {
    return { why: "its host is not in lower case", fix: `write "${authority.toLowerCase()}"` };
  }
  if (authority.includes("@")) {
    return { why: "it has a user name in front of the host", fix: "leave it out" };
  }
  if (authority.includes("%")) {
    return { why: "its host is percent-encoded", fix: 'write it plainly, or in its "xn--" form' };
  }
  if (segments.some((segment) => /[[\]]/.test(segment))) {
    return { why: "it has a bracket in its path", fix: "percent-encode it" };
  }
  if (segments.includes("")) {
    return { why: "it has an empty segment", fix: "write each slash once" };
  }
  if (segments.some((segment) => segment === "." || segment === "..")) {
    return { why: 'it has a "." or ".." segment', fix: "write where the path leads without it" };
  }
  return undefined;
}

/** Splits a URI, or says why it is not in its canonical form. */
function readPlain(uri: string): { readonly parts: UriParts } | { readonly fault: UriFault } {
  if (!CHARACTERS.test(uri)) {
    return {
      fault: {
        why: "it holds a character that a URI cannot hold",
        fix: "leave it out, or percent-encode it",
      },
    };
  }
  if (/[?#]/.test(uri)) {
    return {
      fault: {
        why: "it has a query or a fragment",
        fix: 'leave out what begins at the "?" or "#"',
      },
    };
  }
  const parts = split(uri);
  if (parts === undefined) return { fault: { why: "it is no URI with a host", fix: FORM } };
  const fault = partsFault(parts) ?? encodingFault(uri);
  return fault === undefined ? { parts } : { fault };
}

/** Why no allow rule can match the URI; `undefined` if one can. */
export function uriFault(uri: string): UriFault | undefined {
  const read = readPlain(uri);
  return "fault" in read ? read.fault : undefined;
}

/** The components of a URI in its canonical form; `undefined` for any other URI. */
export function plainUri(uri: string): UriParts | undefined {
  const read = readPlain(uri);
  return "parts" in read ? read.parts : undefined;
}

function starFault({ scheme, authority, segments }: UriParts): string | undefined {
  if (scheme.includes("*")) return "the scheme has no wildcards: write it out";
  if (authority !== "*" && authority.includes("*")) {
    return 'a "*" stands for the whole host or a whole segment: write the host out, or only "*"';
  }
  for (const [index, segment] of segments.entries()) {
    if (segment === "*" || !segment.includes("*")) continue;
    if (segment !== "**") {
      return '"*" stands for a whole segment, "**" for all that follow: write the segment out, or ' +
        'only "*"';
    }
    if (index !== segments.length - 1) {
      return '"**" stands only at the end: write "*" for each segment before it';
    }
  }
  return undefined;
}

/** Parses a rule. */
export function parseUriRule(text: string): ParsedUriRule {
  const stars = split(text);
  const starred = stars && starFault(stars);
  if (starred !== undefined) return { ok: false, reason: starred };
  const read = readPlain(text);
  if ("fault" in read) {
    return { ok: false, reason: `${read.fault.why}, so it never matches: ${read.fault.fix}` };
  }
  const { scheme, authority, segments, slash } = read.parts;
  const open = segments.at(-1) === "**";
  const fixed = open ? segments.slice(0, -1) : segments;
  return { ok: true, value: { scheme, authority, segments: fixed, open, slash } };
}
