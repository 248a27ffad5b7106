/**
 * Strict path validation (RFC 5280 section 6) of the chain that a peer showed, as part of its
 * independent verification. Pure: the time is an argument, and signatures are checked outside.
 *
 * The profile: X.509 v3 in canonical DER; every signature checked with the issuer's key; SHA-2 with
 * RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519; every certificate of the path
 * valid now, the anchor included; on every issuer the CA flag, the path length, and `keyCertSign`
 * where key usage is present; the role's extended key usage where present, and `digitalSignature`
 * on the leaf; name constraints; certificate policies where a CA requires them; no critical
 * extension that is not processed; a leaf that the runtime's TLS can parse; none of the
 * certificates revoked, the anchor included. A leaf that is itself in the bundle is a path of one.
 *
 * The work is bounded whatever the peer sends: {@linkcode MAX_SIGNATURES} signature checks,
 * {@linkcode MAX_PATH_LENGTH} certificates per path, {@linkcode MAX_PATHS} paths.
 *
 * @module
 */

import { describeUnsupported, fits, weakKey } from "./algorithms.ts";
import type { Certificate, PublicKey, SignatureAlgorithm } from "./certificate.ts";
import { formatName, isSelfIssued, toHex } from "./names.ts";
import { NameComparisons, nameConstraintFault } from "./name_constraints.ts";
import { policyFault } from "./policies.ts";
import { findRevoked, NO_REVOCATION, type Revocation } from "./revocation.ts";

/**
 * Maximum number of certificates in a path, leaf and anchor included: the runtime's TLS stops at
 * six intermediates.
 */
export const MAX_PATH_LENGTH = 8;
/**
 * Maximum number of signature checks per chain, the most expensive work that an unauthenticated
 * peer can cause.
 */
export const MAX_SIGNATURES = 16;
/** Maximum number of complete paths from leaf to anchor that are examined. */
export const MAX_PATHS = 8;

/** The role that the peer has. */
export type Purpose = "client" | "server";

/** Whether `signature` over `tbs` was made with the private half of `key`. */
export type VerifySignature = (
  algorithm: SignatureAlgorithm,
  key: PublicKey,
  tbs: Uint8Array,
  signature: Uint8Array,
) => boolean;

/** Why a chain was refused; a subset of the handshake reasons. */
export type PathFault = "untrusted" | "expired" | "not_yet_valid" | "revoked" | "bad_certificate";

/** The result of validating a chain. Times are milliseconds since the epoch. */
export type PathResult =
  | {
    readonly ok: true;
    /** Leaf first, anchor last. */
    readonly path: readonly Certificate[];
    /** The result holds from here ... */
    readonly validFrom: number;
    /** ... to here, as long as the anchors do not change. */
    readonly validUntil: number;
  }
  | {
    readonly ok: false;
    readonly fault: PathFault;
    readonly detail: string;
    /** The certificate at fault, if it is a single one. */
    readonly certificate?: Certificate;
  };

/** The anchors and settings that a chain is validated against. */
export type PathPolicy = {
  readonly anchors: readonly Certificate[];
  /**
   * Untrusted certificates to build paths from besides those presented, at most 256. Default none.
   */
  readonly intermediates?: readonly Certificate[];
  /** `issuer` validates a CA in place of a peer: the first certificate may sign others. */
  readonly purpose: Purpose | "issuer";
  /** Revocation lists; default none. */
  readonly revocation?: Revocation;
  /** Milliseconds since the epoch. */
  readonly now: number;
};

/** A signature to check: whether the private half of `key` signed `subject`. */
export type SignatureCheck = { readonly subject: Certificate; readonly key: PublicKey };

/**
 * A computation that yields the signature checks that it needs, and continues with their results.
 */
export type Steps<T> = Generator<SignatureCheck, T, boolean>;

type Refusal = Extract<PathResult, { ok: false }>;

const EKU = { client: "1.3.6.1.5.5.7.3.2", server: "1.3.6.1.5.5.7.3.1" } as const;

function refuse(fault: PathFault, detail: string, certificate?: Certificate): Refusal {
  return { ok: false, fault, detail, ...(certificate === undefined ? {} : { certificate }) };
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Possible issuers by name. Of the intermediates, only those that may lead to an anchor. */
type Candidates = {
  readonly anchors: ReadonlyMap<string, readonly Certificate[]>;
  readonly intermediates: ReadonlyMap<string, readonly Certificate[]>;
};

/** Anchors by name, for as long as the bundle is held: a bundle can have thousands. */
const anchorsByName = new WeakMap<readonly Certificate[], Candidates["anchors"]>();

function indexOf(anchors: readonly Certificate[]): Candidates["anchors"] {
  const known = anchorsByName.get(anchors);
  if (known !== undefined) return known;
  const index = Map.groupBy(anchors, ({ subject }) => subject.key);
  anchorsByName.set(anchors, index);
  return index;
}

/**
 * The names from which a path can lead to an anchor: those of anchors, and of intermediates whose
 * issuer has such a name. Linear in the number of certificates. So an unauthenticated peer's
 * certificates that lead to no anchor cost no signature check at all, however many paths they form.
 */
function leadingNames(
  anchors: Candidates["anchors"],
  intermediates: readonly Certificate[],
): ReadonlySet<string> {
  const issued = Map.groupBy(intermediates, ({ issuer }) => issuer.key);
  const leading = new Set<string>();
  const queue = [...issued.keys()].filter((name) => anchors.has(name));
  for (const name of queue) {
    for (const { subject } of issued.get(name) ?? []) {
      if (leading.has(subject.key)) continue;
      leading.add(subject.key);
      if (issued.has(subject.key)) queue.push(subject.key);
    }
    issued.delete(name);
  }
  return leading;
}

/** Finds the paths that names and signatures allow, within the limits. */
class PathSearch {
  /** Why the search got no further; the reason for the refusal when there is no path. */
  obstacle: Refusal | undefined;
  readonly #candidates: Candidates;
  /** Results by subject and issuer's key, so that no pair is checked twice. */
  readonly #checked = new Map<Certificate, Map<string, boolean>>();
  #signatures = 0;
  #found = 0;

  constructor(anchors: readonly Certificate[], intermediates: readonly Certificate[]) {
    const index = indexOf(anchors);
    const leading = leadingNames(index, intermediates);
    this.#candidates = {
      anchors: index,
      intermediates: Map.groupBy(
        intermediates.filter(({ subject }) => leading.has(subject.key)),
        ({ subject }) => subject.key,
      ),
    };
  }

  *#signed(subject: Certificate, issuer: Certificate): Steps<boolean> {
    const weak = weakKey(issuer.publicKey);
    if (subject.signatureAlgorithm.kind === "unsupported" || weak !== undefined) {
      this.obstacle ??= refuse("bad_certificate", unfit(subject, weak), subject);
      return false;
    }
    // Another CA of the same name with another kind of key is not the issuer; that is not an error.
    if (!fits(subject.signatureAlgorithm, issuer.publicKey)) return false;
    const checked = this.#checked.get(subject) ?? new Map<string, boolean>();
    this.#checked.set(subject, checked);
    const key = toHex(issuer.publicKey.der);
    const known = checked.get(key);
    if (known !== undefined) return known;
    if (this.#signatures >= MAX_SIGNATURES) {
      this.obstacle = refuse(
        "bad_certificate",
        `the chain needs more than ${MAX_SIGNATURES} signature checks`,
      );
      return false;
    }
    this.#signatures++;
    const good = yield { subject, key: issuer.publicKey };
    checked.set(key, good);
    return good;
  }

  /** Calls `accept` with each path that extends this one, until it returns true. */
  *extend(
    path: readonly Certificate[],
    accept: (path: readonly Certificate[]) => Steps<boolean>,
  ): Steps<boolean> {
    const last = path.at(-1);
    if (last === undefined || path.length >= MAX_PATH_LENGTH) return false;
    const { anchors, intermediates } = this.#candidates;
    for (const anchor of anchors.get(last.issuer.key) ?? []) {
      if (this.#found >= MAX_PATHS) return false;
      if (!(yield* this.#signed(last, anchor))) continue;
      this.#found++;
      if (yield* accept([...path, anchor])) return true;
    }
    for (const next of intermediates.get(last.issuer.key) ?? []) {
      if (this.#found >= MAX_PATHS) return false;
      // A certificate whose name and key are already in the path leads nowhere new.
      const fresh = !path.some((seen) =>
        seen.subject.key === next.subject.key &&
        equalBytes(seen.publicKey.der, next.publicKey.der)
      );
      if (!fresh || !(yield* this.#signed(last, next))) continue;
      if (yield* this.extend([...path, next], accept)) return true;
    }
    return false;
  }
}

function unfit(subject: Certificate, weak: string | undefined): string {
  const { signatureAlgorithm: algorithm } = subject;
  const how = algorithm.kind === "unsupported"
    ? `with ${describeUnsupported(algorithm)}`
    : `by ${weak}`;
  return `certificate ${formatName(subject.subject)} is signed ${how}`;
}

function checkEach(certificate: Certificate, policy: PathPolicy): Refusal | undefined {
  const who = (): string => `certificate ${formatName(certificate.subject)}`;
  const { now, purpose } = policy;
  if (now < certificate.notBefore) {
    return refuse(
      "not_yet_valid",
      `${who()} is valid from ${new Date(certificate.notBefore).toISOString()}`,
    );
  }
  // notAfter includes its whole last second.
  if (now >= certificate.notAfter + 1000) {
    return refuse("expired", `${who()} expired at ${new Date(certificate.notAfter).toISOString()}`);
  }
  const weak = weakKey(certificate.publicKey);
  if (weak !== undefined) return refuse("bad_certificate", `${who()} has ${weak}`);
  if (certificate.unknownCritical.length > 0) {
    return refuse(
      "bad_certificate",
      `${who()} has a critical extension ${certificate.unknownCritical[0]} that is not understood`,
    );
  }
  const usages = certificate.extendedKeyUsage;
  if (purpose !== "issuer" && usages !== undefined && !usages.includes(EKU[purpose])) {
    return refuse("bad_certificate", `${who()} is not for TLS ${purpose}s (extended key usage)`);
  }
  return undefined;
}

function checkIssuer(
  issuer: Certificate,
  below: readonly Certificate[],
): Refusal | undefined {
  const who = (): string => `certificate ${formatName(issuer.subject)}`;
  if (issuer.basicConstraints?.ca !== true) {
    return refuse("bad_certificate", `${who()} signs others and is no CA (basic constraints)`);
  }
  if (issuer.keyUsage?.keyCertSign === false) {
    return refuse("bad_certificate", `${who()} may not sign certificates (key usage)`);
  }
  const { pathLength } = issuer.basicConstraints;
  // RFC 5280 section 6.1.4 (l): self-issued certificates of a CA that changed its key do not count.
  const intermediates = below.slice(1).filter((certificate) => !isSelfIssued(certificate)).length;
  if (pathLength !== undefined && intermediates > pathLength) {
    return refuse(
      "bad_certificate",
      `${who()} allows ${pathLength} CAs below it and has ${intermediates}`,
    );
  }
  return undefined;
}

function* checkPath(
  path: readonly Certificate[],
  policy: PathPolicy,
  comparisons: NameComparisons,
): Steps<PathResult> {
  const [leaf] = path;
  const first = policy.purpose === "issuer" ? 0 : 1;
  if (first === 1 && leaf?.keyUsage?.digitalSignature === false) {
    return refuse(
      "bad_certificate",
      `certificate ${formatName(leaf.subject)} may not sign a handshake (key usage)`,
      leaf,
    );
  }
  if (first === 1 && path.length > 1 && leaf?.basicConstraints?.ca === true) {
    return refuse(
      "bad_certificate",
      `certificate ${
        formatName(leaf.subject)
      } is that of a CA, which is no peer (basic constraints)`,
    );
  }
  if (first === 1 && leaf?.tlsCannotRead !== undefined) {
    return refuse(
      "bad_certificate",
      `certificate ${formatName(leaf.subject)} has ${leaf.tlsCannotRead}, which the TLS engine ` +
        "cannot read in a peer's own certificate; issue it without",
      leaf,
    );
  }
  for (const [i, certificate] of path.entries()) {
    const refusal = checkEach(certificate, policy) ??
      (i < first ? undefined : checkIssuer(certificate, path.slice(0, i)));
    if (refusal !== undefined) return { ...refusal, certificate };
  }
  const fault = nameConstraintFault(path, comparisons) ?? policyFault(path);
  if (fault !== undefined) return refuse("bad_certificate", fault);
  const revoked = yield* findRevoked(path, policy.revocation ?? NO_REVOCATION);
  if (revoked !== undefined) {
    return refuse(
      "revoked",
      `certificate ${formatName(revoked.subject)} (serial ${revoked.serial}) was revoked by ${
        formatName(revoked.issuer)
      }`,
      revoked,
    );
  }
  return {
    ok: true,
    path,
    validFrom: Math.max(...path.map(({ notBefore }) => notBefore)),
    validUntil: Math.min(...path.map(({ notAfter }) => notAfter)) + 999,
  };
}

/**
 * Validates a chain: `presented` is what the peer showed, its own certificate first, the others in
 * any order. Yields one signature check at a time, so that other work can run in between. Never throws. A refusal gives the reason of the path that got furthest.
 */
export function* validationSteps(
  presented: readonly Certificate[],
  policy: PathPolicy,
): Steps<PathResult> {
  const [leaf, ...intermediates] = presented;
  if (leaf === undefined) return refuse("bad_certificate", "the peer showed no certificate");
  const comparisons = new NameComparisons();
  let accepted: PathResult | undefined;
  let first: Refusal | undefined;
  const accept = function* (path: readonly Certificate[]): Steps<boolean> {
    const result = yield* checkPath(path, policy, comparisons);
    if (result.ok) {
      accepted = result;
    } else if (first === undefined || (result.fault === "revoked" && first.fault !== "revoked")) {
      // A revoked path passed all other checks, so it got further than the earlier ones.
      first = result;
    }
    return result.ok;
  };
  const others = [...intermediates, ...policy.intermediates ?? []];
  const search = new PathSearch(policy.anchors, others);
  if (policy.anchors.some((anchor) => equalBytes(anchor.der, leaf.der))) {
    yield* accept([leaf]);
  } else {
    yield* search.extend([leaf], accept);
  }
  return accepted ?? first ?? search.obstacle ??
    refuse(
      "untrusted",
      `no chain of valid signatures leads from ${
        formatName(leaf.subject)
      } to a CA of the bundle; its issuer is ${formatName(leaf.issuer)}`,
    );
}

/** Runs `steps` to the end with synchronous signature checks. */
export function runSteps<T>(steps: Steps<T>, verifySignature: VerifySignature): T {
  for (let next = steps.next();;) {
    if (next.done === true) return next.value;
    const { subject: { signatureAlgorithm, tbs, signature }, key } = next.value;
    next = steps.next(verifySignature(signatureAlgorithm, key, tbs, signature));
  }
}

/** {@linkcode validationSteps} with synchronous signature checks. */
export function validatePath(
  presented: readonly Certificate[],
  { verifySignature, ...policy }: PathPolicy & { readonly verifySignature: VerifySignature },
): PathResult {
  return runSteps(validationSteps(presented, policy), verifySignature);
}
