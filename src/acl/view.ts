/**
 * What a peer shows, prepared for many rules: each value is taken apart once for a decision, and only
 * where a rule asks, so that neither many rules nor a large certificate make it slow.
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

/** Texts to what the peer showed; the first that shows one counts. */
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
  /** For allow rules: the exact texts. */
  readonly exact: () => ReadonlyMap<string, string>;
  /** For deny rules: all that they may be taken for. */
  readonly lax: () => ReadonlyMap<string, string>;

  /** Prepares nothing yet. */
  constructor(values: readonly SubjectValue[]) {
    this.exact = memo(() => indexed(values, (value) => [textKey(value)]));
    this.lax = memo(() => indexed(values, textReadings));
  }
}

/** A peer as rules see it. */
export class PeerView {
  /** The peer itself. */
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

  /** Prepares nothing yet. */
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

/** What a peer shows in one dimension, as text: its own words. */
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
