/**
 * Name constraints (RFC 5280 section 4.2.1.10): the names that a CA may sign for. Where a form is
 * unknown or text is malformed, the answer is to refuse.
 *
 * @module
 */

import type { Certificate, GeneralName, Name, NameConstraints } from "./certificate.ts";
import { DerReader, sequence } from "./der.ts";
import { formatName, formOf, isSelfIssued } from "./names.ts";

/**
 * Maximum number of comparisons between names and constraints per chain; webpki and Go have the
 * same limit.
 */
export const MAX_NAME_COMPARISONS = 250_000;

/** Whether a constraint covers a name; `undefined` when that cannot be decided. */
type Covers = boolean | undefined;

function lower(host: string): string {
  return host.toLowerCase().replace(/\.$/, "");
}

const HOST = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/** A host name in lower case; `sound` is false when it is not a valid one. */
type Host = { readonly text: string; readonly sound: boolean };

function hostOf(text: string): Host {
  const host = lower(text);
  return { text: host, sound: HOST.test(host) };
}

/** A domain: `a.example` covers itself and its subdomains, `.a.example` only the subdomains. */
type Domain = Host & {
  /** With a leading dot: `.a.example`. */
  readonly suffix: string;
  /** Whether it is the empty domain, which covers everything. */
  readonly whole: boolean;
  /** Whether it covers only subdomains. */
  readonly below: boolean;
};

function domainOf(base: string): Domain {
  const domain = lower(base);
  const below = domain.startsWith(".");
  const host = hostOf(below ? domain.slice(1) : domain);
  return { ...host, suffix: `.${host.text}`, whole: domain === "", below };
}

function domainCovers(domain: Domain, host: Host): Covers {
  if (domain.whole) return true;
  if (!domain.sound || !host.sound) return undefined;
  return host.text.endsWith(domain.suffix) || (!domain.below && host.text === domain.text);
}

/** A parsed constraint, to be compared with many names. */
type Base = (name: Prepared) => Covers;

/** A parsed name, to be compared with many constraints. */
type Prepared =
  | { readonly kind: "dns"; readonly host: Host; readonly parent: Domain | undefined }
  | {
    readonly kind: "email";
    readonly host: Host;
    readonly user: string;
    readonly lowerUser: string;
  }
  | { readonly kind: "uri"; readonly host: Host }
  | { readonly kind: "ip"; readonly address: Uint8Array }
  | { readonly kind: "directory"; readonly parts: Parts }
  /** A name that cannot be compared. */
  | { readonly kind: "odd" };

const ODD: Prepared = { kind: "odd" };

function prepare(name: GeneralName): Prepared {
  switch (name.kind) {
    case "dns": {
      const parent = name.value.startsWith("*.") ? domainOf(name.value.slice(2)) : undefined;
      return { kind: "dns", host: hostOf(parent ? name.value.slice(2) : name.value), parent };
    }
    case "email": {
      const at = name.value.lastIndexOf("@");
      if (at < 1) return ODD;
      const host = hostOf(name.value.slice(at + 1));
      const user = name.value.slice(0, at);
      return { kind: "email", host, user, lowerUser: user.toLowerCase() };
    }
    case "uri": {
      const host = uriHost(name.value);
      return host === undefined ? ODD : { kind: "uri", host: hostOf(host) };
    }
    case "ip":
      return { kind: "ip", address: name.value };
    case "directory": {
      const parts = partsOf(name.value);
      return parts === undefined ? ODD : { kind: "directory", parts };
    }
    case "other":
      return ODD;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return name satisfies never;
  }
}

/**
 * A wildcard stands for many names. A permitted base has to cover all of them, which the part after
 * `*.` decides. An excluded base must not cover any of them.
 */
function dnsBase(base: string, side: keyof NameConstraints): Base {
  const domain = domainOf(base);
  const bare = domainOf(base.replace(/^\./, ""));
  return (name) => {
    if (name.kind !== "dns") return undefined;
    const { host, parent } = name;
    if (parent === undefined) return domainCovers(domain, host);
    const whole = domainCovers(bare, host);
    if (side === "permitted" || whole !== false) return whole;
    return domainCovers(parent, bare) !== false;
  };
}

/**
 * In an e-mail or URI constraint a plain host covers only that host; `.a.example` covers
 * subdomains.
 */
function hostBase(base: string): (host: Host) => Covers {
  const domain = domainOf(base);
  const exact = base !== "" && !base.startsWith(".");
  return (host) => {
    const covered = domainCovers(domain, host);
    return covered === true && exact ? domain.text === host.text : covered;
  };
}

function emailBase(base: string, side: keyof NameConstraints): Base {
  const at = base.lastIndexOf("@");
  if (at === -1) {
    const covers = hostBase(base);
    return (name) => name.kind === "email" ? covers(name.host) : undefined;
  }
  const host = hostOf(base.slice(at + 1));
  const user = base.slice(0, at);
  const lowerUser = user.toLowerCase();
  return (name) => {
    if (name.kind !== "email" || !host.sound || !name.host.sound) return undefined;
    if (host.text !== name.host.text) return false;
    // The part before `@` is case-sensitive, but mailboxes that differ only in case are rare:
    // excluding one excludes the others.
    return user === name.user ||
      (side === "excluded" && lowerUser === name.lowerUser);
  };
}

function uriBase(base: string): Base {
  const covers = hostBase(base);
  return (name) => name.kind === "uri" ? covers(name.host) : undefined;
}

function uriHost(uri: string): string | undefined {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(uri)?.[1];
  if (authority === undefined) return undefined;
  const host = authority.slice(authority.lastIndexOf("@") + 1).replace(/:\d*$/, "");
  // RFC 5280: a constraint on URIs rejects those whose host is an address.
  return host.startsWith("[") || /^[0-9.]+$/.test(host) ? undefined : host;
}

function ipBase(base: Uint8Array): Base {
  const length = base.length / 2;
  const network = base.subarray(0, length);
  const mask = base.subarray(length);
  return (name) => {
    if (name.kind !== "ip") return undefined;
    const { address } = name;
    return address.length === length &&
      mask.every((bits, i) => (((address[i] ?? 0) ^ (network[i] ?? 0)) & bits) === 0);
  };
}

/** The attributes of a name as text, and how many each of its RDNs has. */
type Parts = {
  readonly exact: readonly string[];
  /** For the loose comparison of RFC 5280 section 7.1, which ignores case and runs of spaces. */
  readonly loose: readonly string[];
  readonly sizes: readonly number[];
};

/** `undefined` where an attribute has no text that all parsers agree on. */
function partsOf(name: Name): Parts | undefined {
  const exact: string[] = [];
  const loose: string[] = [];
  for (const { oid, value } of name.attributes) {
    if (value === undefined) return undefined;
    exact.push(`${oid}=${value}`);
    loose.push(`${oid}=${value.trim().replace(/\s+/g, " ").toLowerCase()}`);
  }
  return { exact, loose, sizes: rdnSizes(name) };
}

function directoryBase(base: Name, side: keyof NameConstraints): Base {
  const parts = partsOf(base);
  return (name) => {
    if (name.kind !== "directory" || parts === undefined) return undefined;
    return side === "excluded"
      ? isPrefix(parts.loose, name.parts.loose)
      // RFC 5280 compares RDNs, so the attributes have to be grouped alike.
      : isPrefix(parts.exact, name.parts.exact) && isPrefix(parts.sizes, name.parts.sizes);
  };
}

function isPrefix<T>(prefix: readonly T[], whole: readonly T[]): boolean {
  return prefix.every((part, i) => part === whole[i]);
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

function baseOf(base: GeneralName, side: keyof NameConstraints): Base {
  switch (base.kind) {
    case "dns":
      return dnsBase(base.value, side);
    case "email":
      return emailBase(base.value, side);
    case "uri":
      return uriBase(base.value);
    case "ip":
      return ipBase(base.value);
    case "directory":
      return directoryBase(base.value, side);
    case "other":
      return () => undefined;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return base satisfies never;
  }
}

const EMAIL_ADDRESS = "1.2.840.113549.1.9.1";

/**
 * Every name that a certificate carries: its subject, e-mail addresses in it, alternative names.
 */
function namesOf(certificate: Certificate): readonly GeneralName[] {
  const { subject, subjectAltNames } = certificate;
  const names: GeneralName[] = [...subjectAltNames];
  if (subject.attributes.length > 0) names.push({ kind: "directory", value: subject });
  for (const { oid, value } of subject.attributes) {
    if (oid === EMAIL_ADDRESS) names.push({ kind: "email", value: value ?? "" });
  }
  return names;
}

/** The names of a certificate by form, parsed when first used. */
class CertificateNames {
  readonly #byForm: ReadonlyMap<number, readonly GeneralName[]>;
  readonly #prepared = new Map<number, readonly Prepared[]>();

  constructor(certificate: Certificate) {
    this.#byForm = Map.groupBy(namesOf(certificate), formOf);
  }

  count(form: number): number {
    return this.#byForm.get(form)?.length ?? 0;
  }

  prepared(form: number): readonly Prepared[] {
    return getOr(this.#prepared, form, () => (this.#byForm.get(form) ?? []).map(prepare));
  }
}

/** The constraints of one form, parsed when first used. */
class FormConstraints {
  /** Number of comparisons that one name takes. */
  readonly cost: number;
  readonly #raw: Readonly<Record<keyof NameConstraints, readonly GeneralName[]>>;
  #bases: Readonly<Record<keyof NameConstraints, readonly Base[]>> | undefined;

  constructor(raw: Readonly<Record<keyof NameConstraints, readonly GeneralName[]>>) {
    this.#raw = raw;
    this.cost = [...raw.permitted, ...raw.excluded].reduce(
      (sum, base) => sum + (base.kind === "directory" ? 1 + base.value.attributes.length : 1),
      0,
    );
  }

  /** Whether every name is in a permitted subtree, if there are any, and in no excluded one. */
  allow(names: readonly Prepared[]): boolean {
    const { permitted, excluded } = this.#bases ??= {
      permitted: this.#raw.permitted.map((base) => baseOf(base, "permitted")),
      excluded: this.#raw.excluded.map((base) => baseOf(base, "excluded")),
    };
    return names.every((name) =>
      (permitted.length === 0 || permitted.some((covers) => covers(name) === true)) &&
      excluded.every((covers) => covers(name) === false)
    );
  }
}

function constraintsByForm(
  { permitted, excluded }: NameConstraints,
): ReadonlyMap<number, FormConstraints> {
  const [inside, outside] = [Map.groupBy(permitted, formOf), Map.groupBy(excluded, formOf)];
  const forms = new Set([...inside.keys(), ...outside.keys()]);
  return new Map(
    [...forms].map((form) => [
      form,
      new FormConstraints({
        permitted: inside.get(form) ?? [],
        excluded: outside.get(form) ?? [],
      }),
    ]),
  );
}

function getOr<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/**
 * The comparisons for all paths of one chain: limited in number, and each name and constraint is
 * parsed only once.
 */
export class NameComparisons {
  /** Number of comparisons left. */
  left: number;
  readonly #names = new Map<Certificate, CertificateNames>();
  readonly #constraints = new Map<NameConstraints, ReadonlyMap<number, FormConstraints>>();

  /** Starts with `limit` comparisons. */
  constructor(limit = MAX_NAME_COMPARISONS) {
    this.left = limit;
  }

  /**
   * Whether a CA with these constraints may issue `certificate`, directly or through others.
   * `undefined` when that would take more comparisons than are left; this is known before the first
   * one is made.
   */
  allow(constraints: NameConstraints, certificate: Certificate): boolean | undefined {
    const byForm = getOr(this.#constraints, constraints, () => constraintsByForm(constraints));
    const names = getOr(this.#names, certificate, () => new CertificateNames(certificate));
    for (const [form, { cost }] of byForm) this.left -= cost * names.count(form);
    if (this.left < 0) return undefined;
    for (const [form, constraint] of byForm) {
      if (names.count(form) > 0 && !constraint.allow(names.prepared(form))) return false;
    }
    return true;
  }
}

/**
 * Why the name constraints of a path, leaf first and anchor last, refuse it; `undefined` when they
 * do not. They apply to every certificate below the CA except self-issued ones of a CA that changed
 * its key (RFC 5280 section 6.1.3), and always to the leaf.
 */
export function nameConstraintFault(
  path: readonly Certificate[],
  comparisons: NameComparisons,
): string | undefined {
  for (const [i, { nameConstraints, subject }] of path.entries()) {
    if (nameConstraints === undefined) continue;
    for (const [j, certificate] of path.slice(0, i).entries()) {
      if (j > 0 && isSelfIssued(certificate)) continue;
      const allowed = comparisons.allow(nameConstraints, certificate);
      if (allowed === true) continue;
      const who = `certificate ${formatName(subject)}`;
      return allowed === undefined
        ? `${who} and those below it hold too many names: comparing them with the name constraints ` +
          `would take more than ${MAX_NAME_COMPARISONS} comparisons`
        : `${who} may not sign for a name of ${formatName(certificate.subject)} (name constraints)`;
    }
  }
  return undefined;
}
