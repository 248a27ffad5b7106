/**
 * Name constraints (RFC 5280 section 4.2.1.10): which names a CA may sign for. Where a form is
 * unknown or text is odd, the answer is the one that refuses.
 *
 * @module
 */

import type { Certificate, GeneralName, Name, NameConstraints } from "./certificate.ts";
import { DerReader, sequence } from "./der.ts";

/** Whether a constraint covers a name; `undefined` when it cannot be told. */
type Covers = boolean | undefined;

function lower(host: string): string {
  return host.toLowerCase().replace(/\.$/, "");
}

const HOST = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/** `base` is a domain: `a.example` covers itself and what is below, `.a.example` only the latter. */
function domainCovers(base: string, host: string): Covers {
  const domain = lower(base);
  const name = lower(host);
  if (domain === "") return true;
  const bare = domain.startsWith(".") ? domain.slice(1) : domain;
  if (!HOST.test(bare) || !HOST.test(name)) return undefined;
  return name.endsWith(`.${bare}`) || (name === bare && bare === domain);
}

/**
 * A wildcard stands for many names. It is within `base` when all of them are, which its part after
 * the `*.` decides; and it touches `base` when any of them may be.
 */
function dnsCovers(base: string, name: string, side: keyof NameConstraints): Covers {
  if (!name.startsWith("*.")) return domainCovers(base, name);
  const parent = name.slice(2);
  const whole = domainCovers(base.startsWith(".") ? base.slice(1) : base, parent);
  if (side === "permitted" || whole !== false) return whole;
  return domainCovers(parent, base.replace(/^\./, "")) !== false;
}

function emailCovers(base: string, mailbox: string, side: keyof NameConstraints): Covers {
  const at = mailbox.lastIndexOf("@");
  if (at < 1) return undefined;
  const host = lower(mailbox.slice(at + 1));
  const baseAt = base.lastIndexOf("@");
  if (baseAt === -1) return hostCovers(base, host);
  const baseHost = lower(base.slice(baseAt + 1));
  if (!HOST.test(baseHost) || !HOST.test(host)) return undefined;
  if (baseHost !== host) return false;
  const [user, who] = [base.slice(0, baseAt), mailbox.slice(0, at)];
  // Case counts before the `@`, but hardly anybody has two mailboxes that differ in nothing else.
  return user === who || (side === "excluded" && user.toLowerCase() === who.toLowerCase());
}

/** In an e-mail or URI constraint a bare host is that host alone; `.a.example` is what is below. */
function hostCovers(base: string, host: string): Covers {
  const covered = domainCovers(base, host);
  if (covered !== true || base === "" || base.startsWith(".")) return covered;
  return lower(base) === lower(host);
}

function uriCovers(base: string, uri: string): Covers {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(uri)?.[1];
  if (authority === undefined) return undefined;
  const host = authority.slice(authority.lastIndexOf("@") + 1).replace(/:\d*$/, "");
  // RFC 5280: a constraint on URIs refuses those whose host is an address.
  if (host.startsWith("[") || /^[0-9.]+$/.test(host)) return undefined;
  return hostCovers(base, host);
}

function ipCovers(base: Uint8Array, address: Uint8Array): Covers {
  const length = base.length / 2;
  if (address.length !== length) return false;
  const octets = new DataView(base.buffer, base.byteOffset, base.length);
  return address.every((byte, i) => {
    const mask = octets.getUint8(length + i);
    return (byte & mask) === (octets.getUint8(i) & mask);
  });
}

/** The loose comparison of RFC 5280 section 7.1: case and runs of spaces do not count. */
function looseAttributes(name: Name): readonly string[] {
  return name.attributes.map(({ oid, value }) =>
    value === undefined ? "" : `${oid}=${value.trim().replace(/\s+/g, " ").toLowerCase()}`
  );
}

function directoryCovers(base: Name, name: Name, side: keyof NameConstraints): Covers {
  const exact = (n: Name) => n.attributes.map(({ oid, guess }) => `${oid}=${guess}`);
  const render = side === "permitted" ? exact : looseAttributes;
  if ([...base.attributes, ...name.attributes].some(({ value }) => value === undefined)) {
    return undefined;
  }
  const prefix = render(base);
  const whole = render(name);
  return prefix.every((part, i) => part === whole[i]) &&
    (side === "excluded" || samePartition(base, name));
}

/** Whether the attributes of `base` are grouped (RFC 5280: in RDNs) as the first ones of `name`. */
function samePartition(base: Name, name: Name): boolean {
  const sizes = rdnSizes(name);
  return rdnSizes(base).every((size, i) => size === sizes[i]);
}

function rdnSizes({ der }: Name): readonly number[] {
  const sizes: number[] = [];
  for (const rdns = sequence(der, "name"); !rdns.done;) {
    const rdn = new DerReader(rdns.next("name").content);
    let size = 0;
    for (; !rdn.done; size++) rdn.next("name");
    sizes.push(size);
  }
  return sizes;
}

function covers(base: GeneralName, name: GeneralName, side: keyof NameConstraints): Covers {
  if (base.kind === "dns" && name.kind === "dns") return dnsCovers(base.value, name.value, side);
  if (base.kind === "email" && name.kind === "email") {
    return emailCovers(base.value, name.value, side);
  }
  if (base.kind === "uri" && name.kind === "uri") return uriCovers(base.value, name.value);
  if (base.kind === "ip" && name.kind === "ip") return ipCovers(base.value, name.value);
  if (base.kind === "directory" && name.kind === "directory") {
    return directoryCovers(base.value, name.value, side);
  }
  return undefined;
}

function sameForm(a: GeneralName, b: GeneralName): boolean {
  return a.kind === "other" && b.kind === "other" ? a.tag === b.tag : a.kind === b.kind;
}

const EMAIL_ADDRESS = "1.2.840.113549.1.9.1";

/** Every name that a certificate carries: subject, its e-mail addresses, alternative names. */
function namesOf(certificate: Certificate): readonly GeneralName[] {
  const { subject, subjectAltNames } = certificate;
  const names: GeneralName[] = [...subjectAltNames];
  if (subject.attributes.length > 0) names.push({ kind: "directory", value: subject });
  for (const { oid, value } of subject.attributes) {
    if (oid === EMAIL_ADDRESS) names.push({ kind: "email", value: value ?? "" });
  }
  return names;
}

/** Whether a CA with these constraints may stand above `certificate`. */
export function constraintsAllow(constraints: NameConstraints, certificate: Certificate): boolean {
  return namesOf(certificate).every((name) => {
    const permitted = constraints.permitted.filter((base) => sameForm(base, name));
    const excluded = constraints.excluded.filter((base) => sameForm(base, name));
    return (permitted.length === 0 ||
      permitted.some((base) => covers(base, name, "permitted") === true)) &&
      excluded.every((base) => covers(base, name, "excluded") === false);
  });
}

/** A name's share of the work: long names cost more than short ones. */
function weight(name: GeneralName): number {
  switch (name.kind) {
    case "dns":
    case "email":
    case "uri":
      return 1 + (name.value.length >> 4);
    case "directory":
      return 1 + (name.value.der.length >> 4);
    case "ip":
    case "other":
      return 1;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return name satisfies never;
  }
}

function weigh(names: readonly GeneralName[]): number {
  return names.reduce((sum, name) => sum + weight(name), 0);
}

/**
 * What {@linkcode constraintsAllow} costs at most: every name against every constraint, by their
 * number and length. A unit takes about a microsecond.
 */
export function constraintWork(constraints: NameConstraints, certificate: Certificate): number {
  return (weigh(constraints.permitted) + weigh(constraints.excluded)) *
    weigh(namesOf(certificate));
}
