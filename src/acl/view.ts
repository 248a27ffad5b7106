/**
 * The peer as rules see it. Each value is parsed at most once for a decision, and only if a rule
 * needs it, so that neither many rules nor a large certificate make a decision slow.
 *
 * @module
 */

import { formatIp, type PeerIdentity, type SubjectValue } from "../identity.ts";
import { DnsNames, LaxDnsNames } from "./dns.ts";
import { Addresses } from "./ip.ts";
import type { Dimension, TextDimension } from "./rule.ts";
import { textKey, textReadings } from "./text.ts";
import { LaxUris, PlainUris } from "./uri_index.ts";

function memo<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** Maps each key to the value that the peer presented; the first value with a key wins. */
function indexed(
  values: readonly SubjectValue[],
  keys: (value: SubjectValue) => readonly (string | undefined)[],
): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const value of values) {
    for (const key of keys(value)) {
      if (key !== undefined && !map.has(key)) map.set(key, value.guess);
    }
  }
  return map;
}

/** The values of one subject attribute. */
export class TextView {
  /** The exact texts, for allow rules. */
  readonly exact: () => ReadonlyMap<string, string>;
  /** Every way in which the values can be read, for deny rules. */
  readonly lax: () => ReadonlyMap<string, string>;

  /** Computes nothing until it is asked. */
  constructor(values: readonly SubjectValue[]) {
    this.exact = memo(() => indexed(values, (value) => [textKey(value)]));
    this.lax = memo(() => indexed(values, textReadings));
  }
}

/** One peer as rules see it. Each function computes its result at the first call. */
export class PeerView {
  /** The identity that the view is made of. */
  readonly peer: PeerIdentity;
  /** Subject attributes. */
  readonly texts: Readonly<Record<TextDimension, TextView>>;
  /** DNS names for allow rules. */
  readonly dns: () => DnsNames;
  /** DNS names for deny rules. */
  readonly laxDns: () => LaxDnsNames;
  /** IP addresses. */
  readonly addresses: () => Addresses;
  /** URIs for allow rules. */
  readonly uris: () => PlainUris;
  /** URIs for deny rules. */
  readonly laxUris: () => LaxUris;

  /** Computes nothing until it is asked. */
  constructor(peer: PeerIdentity) {
    this.peer = peer;
    this.texts = {
      cn: new TextView(peer.commonNames),
      org: new TextView(peer.organizations),
      ou: new TextView(peer.organizationalUnits),
    };
    this.dns = memo(() => new DnsNames(peer.dnsNames));
    this.laxDns = memo(() => new LaxDnsNames(peer.dnsNames));
    this.addresses = memo(() => new Addresses(peer.ipAddresses));
    this.uris = memo(() => new PlainUris(peer.uris));
    this.laxUris = memo(() => new LaxUris(peer.uris));
  }
}

/** The values that a peer presents in one dimension, as text, verbatim. */
export function shownIn(dimension: Dimension, peer: PeerIdentity): readonly string[] {
  switch (dimension) {
    case "cn":
      return peer.commonNames.map(({ guess }) => guess);
    case "org":
      return peer.organizations.map(({ guess }) => guess);
    case "ou":
      return peer.organizationalUnits.map(({ guess }) => guess);
    case "dns":
      return peer.dnsNames;
    case "ip":
      return peer.ipAddresses.map(formatIp);
    case "uri":
      return peer.uris;
    case "spki":
      return [`sha256:${peer.spki}`];
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return dimension satisfies never;
  }
}
