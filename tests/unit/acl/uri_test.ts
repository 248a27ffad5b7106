/**
 * URIs: one plain form lets in; every way of writing it keeps out.
 *
 * @module
 */

import assert from "node:assert/strict";
import { uriFault } from "../../../src/acl/uri.ts";
import type { PeerIdentity } from "../../../src/identity.ts";
import { EMPTY_PEER, matched, refusal, testTable } from "../../support/acl.ts";

const uri = (...uris: string[]): PeerIdentity => ({ ...EMPTY_PEER, uris });

testTable("uri: patterns", "uri", [
  ["the same", "spiffe://acme/ns/web", uri("spiffe://acme/ns/web"), "both"],
  ["one of several", "spiffe://acme/ns/web", uri("spiffe://x", "spiffe://acme/ns/web"), "both"],
  ["none", "spiffe://acme/ns/web", uri(), "none"],
  ["another host", "spiffe://acme/ns/web", uri("spiffe://evil/ns/web"), "none"],
  ["another scheme", "spiffe://acme/ns/web", uri("https://acme/ns/web"), "none"],
  ["longer", "spiffe://acme/ns/web", uri("spiffe://acme/ns/web/x"), "none"],
  ["shorter", "spiffe://acme/ns/web", uri("spiffe://acme/ns"), "none"],
  ["case of the path", "spiffe://acme/ns/web", uri("spiffe://acme/ns/Web"), "none"],
  ["no path", "spiffe://acme", uri("spiffe://acme"), "both"],
  ["star", "spiffe://acme/ns/*/web", uri("spiffe://acme/ns/prod/web"), "both"],
  ["star, another end", "spiffe://acme/ns/*/web", uri("spiffe://acme/ns/prod/api"), "none"],
  ["star is one segment", "spiffe://acme/ns/*/web", uri("spiffe://acme/ns/a/b/web"), "none"],
  ["star is not none", "spiffe://acme/ns/*/web", uri("spiffe://acme/ns/web"), "none"],
  ["star at the end", "spiffe://acme/*", uri("spiffe://acme/web"), "both"],
  ["star at the end is one", "spiffe://acme/*", uri("spiffe://acme/web/x"), "none"],
  ["two stars", "spiffe://acme/*/*", uri("spiffe://acme/a/b"), "both"],
  ["a star of the peer", "spiffe://acme/web", uri("spiffe://acme/*"), "none"],
  ["any host", "spiffe://*/web", uri("spiffe://evil/web"), "both"],
  ["the rest", "spiffe://acme/**", uri("spiffe://acme/a/b/c"), "both"],
  ["the rest may be one", "spiffe://acme/**", uri("spiffe://acme/a"), "both"],
  ["the rest may be none", "spiffe://acme/**", uri("spiffe://acme"), "both"],
  ["the rest of another host", "spiffe://acme/**", uri("spiffe://acmes/a"), "none"],
  ["star and rest", "spiffe://acme/*/**", uri("spiffe://acme/a"), "both"],
  ["star and rest, too short", "spiffe://acme/*/**", uri("spiffe://acme"), "none"],
  ["port", "https://acme:8443/a", uri("https://acme:8443/a"), "both"],
  ["IPv6 host", "https://[::1]/a", uri("https://[::1]/a"), "both"],
  ["encoded space", "https://acme/a%20b", uri("https://acme/a%20b"), "both"],
  ["encoded letters", "https://acme/%c3%bc", uri("https://acme/%c3%bc"), "both"],
  ["encoded in other case", "https://acme/%c3%bc", uri("https://acme/%C3%BC"), "deny"],
  ["a dot behind the host", "spiffe://acme./web", uri("spiffe://acme./web"), "both"],
]);

testTable("uri: a final slash", "uri", [
  ["neither", "spiffe://acme/web", uri("spiffe://acme/web"), "both"],
  ["only the peer", "spiffe://acme/web", uri("spiffe://acme/web/"), "deny"],
  ["only the rule", "spiffe://acme/web/", uri("spiffe://acme/web"), "both"],
  ["both", "spiffe://acme/web/", uri("spiffe://acme/web/"), "both"],
  ["two of the peer", "spiffe://acme/web/", uri("spiffe://acme/web//"), "deny"],
  ["behind the host", "spiffe://acme/", uri("spiffe://acme"), "both"],
  ["behind the host of the peer", "spiffe://acme", uri("spiffe://acme/"), "deny"],
  ["the rest", "spiffe://acme/**", uri("spiffe://acme/a/"), "deny"],
  ["the rest with a slash", "spiffe://acme/**/", uri("spiffe://acme/a/"), "both"],
  ["the rest with a slash, nothing", "spiffe://acme/**/", uri("spiffe://acme"), "both"],
]);

const WEB = "spiffe://acme/ns/web";

testTable(
  "uri: other ways to write it let nobody in and are seen through",
  "uri",
  [
    "SPIFFE://acme/ns/web",
    "spiffe://ACME/ns/web",
    "spiffe://acme./ns/web",
    "spiffe://acme../ns/web",
    "spiffe://acme:443/ns/web",
    "spiffe://user@acme/ns/web",
    "spiffe://user:word@acme:443/ns/web",
    "spiffe:///acme/ns/web",
    "spiffe:/acme/ns/web",
    "spiffe:acme/ns/web",
    "spiffe://acme//ns/web",
    "spiffe://acme/ns//web",
    "spiffe://acme/ns/./web",
    "spiffe://acme/ns/x/../web",
    "spiffe://acme/../ns/web",
    "spiffe://acme/ns/../web",
    "spiffe://acme/ns/web/.",
    "spiffe://acme/ns/web/x/..",
    "spiffe://acme/ns/x/%2e%2e/web",
    "spiffe://acme/ns/x/.%2E/web",
    "spiffe://acme/ns/%2e/web",
    "spiffe://acme/ns%2fweb",
    "spiffe://acme/ns%2Fweb",
    "spiffe://acme/ns%252fweb",
    "spiffe://acme/ns%25252fweb",
    "spiffe://acme/ns%5cweb",
    "spiffe://acme/ns\\web",
    "spiffe:\\\\acme\\ns\\web",
    "spiffe://acme/ns%c0%afweb",
    "spiffe://acme/ns/x/%c0%ae%c0%ae/web",
    "spiffe://acme/%6es/web",
    "spiffe://acme/%6Es/web",
    "spiffe://%61cme/ns/web",
    "%73piffe://acme/ns/web",
    "spiffe%3a//acme/ns/web",
    "spiffe://acme/ns/web?",
    "spiffe://acme/ns/web?x=/y",
    "spiffe://acme/ns/web#",
    "spiffe://acme/ns/web#x",
    "spiffe://acme/ns/web%3fx",
    "spiffe://acme/ns/web%23x",
    "spiffe://acme/ns/web\0.good",
    "spiffe://acme/ns/web%00.good",
    "spiffe://acme/ns/we\0b",
    "spiffe://acme/ns/web%0a",
    "spiffe://acme/ns/w%20eb",
    " spiffe://acme/ns/web",
    "spiffe://acme/ns/web\n",
    "spi\tffe://acme/ns/web",
    "spiffe://acme/ns/we%2562",
    "spiffe://acme/ns/we%",
  ].map((text) => [
    text,
    text.endsWith("%") ? "spiffe://acme/**" : WEB,
    uri(text),
    "deny",
  ]),
);

testTable("uri: under a pattern that is open, too", "uri", [
  ["way out", "spiffe://acme/public/**", uri("spiffe://acme/public/../secret"), "deny"],
  ["where it leads", "spiffe://acme/secret/**", uri("spiffe://acme/public/../secret"), "deny"],
  ["a backslash", "spiffe://acme/*/web", uri("spiffe://acme/a\\..\\b/web"), "deny"],
  ["invalid UTF-8", "spiffe://acme/*", uri("spiffe://acme/%ff"), "deny"],
  ["encoded C1", "spiffe://acme/*", uri("spiffe://acme/%c2%85"), "deny"],
  ["encoded percent sign", "spiffe://acme/*", uri("spiffe://acme/%25"), "deny"],
  ["encoded star", "spiffe://acme/*", uri("spiffe://acme/%2a"), "deny"],
  ["a user", "spiffe://*/web", uri("spiffe://user@evil/web"), "deny"],
  ["encoding in the host", "spiffe://*/web", uri("spiffe://a%40b/web"), "deny"],
  ["no host", "spiffe://*/**", uri("spiffe:///web"), "deny"],
  ["brackets in the path", "spiffe://acme/*", uri("spiffe://acme/[a]"), "deny"],
  ["no URI at all", "spiffe://*/**", uri("web"), "none"],
  ["no hierarchy", "spiffe://*/**", uri("urn:acme:web"), "none"],
  ["a scheme that is none", "spiffe://*/**", uri("1spiffe://acme/web"), "none"],
]);

Deno.test({
  name: "uri: what cannot be decoded to an end every deny rule matches",
  permissions: "none",
}, () => {
  // Each round uncovers the next.
  const text = `%4${"%3".repeat(12)}1`;
  const peer = uri("spiffe://acme/web", `spiffe://x/${text}`);
  assert.equal(matched("deny", "uri", "https://other/**", peer), `spiffe://x/${text}`);
  assert.equal(matched("allow", "uri", "spiffe://x/**", uri(`spiffe://x/${text}`)), undefined);
  // However often a percent sign is encoded, that is one round.
  const often = `spiffe://x/%${"25".repeat(2000)}41`;
  assert.equal(matched("deny", "uri", "spiffe://x/A", uri(often)), often);
  assert.equal(matched("deny", "uri", "https://other/**", uri(often)), undefined);
});

Deno.test({
  name: "uri: a rule that can never match is refused, with what to write",
  permissions: "none",
}, () => {
  const never = (why: string, fix: string) => `${why}, so it never matches: ${fix}`;
  const form = 'write it like "spiffe://acme/ns/*/web"';
  const character = never(
    "it holds a character that a URI cannot hold",
    "leave it out, or percent-encode it",
  );
  const cases: readonly [string, string][] = [
    ["SPIFFE://acme/web", never("its scheme is not in lower case", 'write "spiffe"')],
    ["spiffe://Acme/web", never("its host is not in lower case", 'write "acme"')],
    [
      "spiffe://acme/a/../b",
      never('it has a "." or ".." segment', "write where the path leads without it"),
    ],
    [
      "spiffe://acme/./b",
      never('it has a "." or ".." segment', "write where the path leads without it"),
    ],
    ["spiffe://acme//b", never("it has an empty segment", "write each slash once")],
    ["spiffe://acme/b//", never("it has an empty segment", "write each slash once")],
    [
      "spiffe://acme/a%2fb",
      never(
        "it has an encoded slash or dot, or another encoded character with a meaning of its own",
        "leave it out",
      ),
    ],
    [
      "spiffe://acme/%2E%2e",
      never(
        "it has an encoded slash or dot, or another encoded character with a meaning of its own",
        "leave it out",
      ),
    ],
    [
      "spiffe://acme/a%zz",
      never("it has a percent sign without two hex digits after it", "write both of them"),
    ],
    [
      "spiffe://acme/%ff",
      never("its percent-encoded bytes are not UTF-8", "encode the text as UTF-8"),
    ],
    ["spiffe://acme/%c2%85", never("it has an encoded control character", "leave it out")],
    [
      "spiffe://acme/a?b",
      never("it has a query or a fragment", 'leave out what begins at the "?" or "#"'),
    ],
    [
      "spiffe://acme/a#b",
      never("it has a query or a fragment", 'leave out what begins at the "?" or "#"'),
    ],
    ["spiffe://acme/a b", character],
    ["spiffe://acme/\n", character],
    ["spiffe://acme/ü", character],
    ["spiffe://acme\\web", character],
    ["spiffe://user@acme/web", never("it has a user name in front of the host", "leave it out")],
    [
      "spiffe://a%20b/web",
      never("its host is percent-encoded", 'write it plainly, or in its "xn--" form'),
    ],
    ["spiffe:///web", never("it names no host", form)],
    ["spiffe:acme", never("it is no URI with a host", form)],
    ["acme/web", never("it is no URI with a host", form)],
    ["1://acme/web", never("it begins with no scheme", form)],
    ["spiffe://acme/[a]", never("it has a bracket in its path", "percent-encode it")],
    ["*://acme/web", "the scheme has no wildcards: write it out"],
    [
      "spiffe://*.acme/web",
      'a "*" stands for the whole host or a whole segment: write the host out, or only "*"',
    ],
    [
      "spiffe://acme/w*",
      '"*" stands for a whole segment, "**" for all that follow: write the segment out, or only "*"',
    ],
    [
      "spiffe://acme/***",
      '"*" stands for a whole segment, "**" for all that follow: write the segment out, or only "*"',
    ],
    ["spiffe://acme/**/web", '"**" stands only at the end: write "*" for each segment before it'],
    [
      "spiffe://**/web",
      'a "*" stands for the whole host or a whole segment: write the host out, or only "*"',
    ],
    ["", "a rule must not be empty"],
  ];
  for (const [text, reason] of cases) assert.equal(refusal("uri", text), reason, text);
});

Deno.test({ name: "uri: the fault of a peer's URI", permissions: "none" }, () => {
  assert.equal(uriFault("spiffe://acme/web/"), undefined);
  assert.equal(uriFault("spiffe://acme/a/../b")?.why, 'it has a "." or ".." segment');
});
