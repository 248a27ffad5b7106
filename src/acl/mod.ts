/**
 * Access control based on the peer's verified certificate. Pure (no I/O), and the only module that
 * creates a {@linkcode Permit}.
 *
 * @module
 */

import type { Basis, Verdict } from "./decision.ts";
import { matchRule } from "./match.ts";
import { nearestRule } from "./nearest.ts";
import { PeerView } from "./view.ts";
import type { AclConfig } from "./rule.ts";
import type { PeerIdentity } from "../identity.ts";

/** Private to this module, so that a permit cannot be created elsewhere, not even with a cast. */
const MINT = Symbol("mint");

let permit: (verdict: Verdict) => Permit;

/**
 * Permission to connect a peer to the target. Only {@linkcode authorize} creates one and dialling
 * requires one, so the compiler checks that nothing is dialled before the decision.
 */
export class Permit {
  readonly #verdict: Verdict;

  private constructor(mint: symbol, verdict: Verdict) {
    if (mint !== MINT) throw new TypeError("Cannot make a permit: only authorize does");
    this.#verdict = verdict;
  }

  /** What the decision is based on. */
  get basis(): Basis {
    return this.#verdict.basis;
  }

  static {
    permit = (verdict) => new Permit(MINT, verdict);
  }
}

/** The decision on one connection: what the rules say, and what is done. */
export type Decision =
  /** Admitted. `wouldDeny` is true when the rules deny the peer and only audit mode admits it. */
  | {
    readonly admit: true;
    readonly permit: Permit;
    readonly verdict: Verdict;
    readonly wouldDeny: boolean;
  }
  | { readonly admit: false; readonly verdict: Verdict };

/**
 * Evaluates the rules for a peer. `undefined` is a peer without a certificate, which is possible
 * only where `client_auth` allows it.
 *
 * A matching deny rule takes precedence over all allow rules. The allow rules of all dimensions are
 * OR'd; without any allow rule, every peer that no deny rule matches is allowed. Rules are tried
 * dimension by dimension, in the order of the config, and the verdict names the first that matches.
 */
export function evaluateRules(peer: PeerIdentity | undefined, acl: AclConfig): Verdict {
  if (peer === undefined) {
    return acl.allow.length === 0 || acl.allowAnonymous
      ? { allowed: true, basis: { kind: "anonymous" } }
      : { allowed: false, basis: { kind: "anonymous_denied" } };
  }
  const view = new PeerView(peer);
  for (const rule of acl.deny) {
    const shown = matchRule(rule, view);
    if (shown !== undefined) return { allowed: false, basis: { kind: "rule", rule, shown } };
  }
  if (acl.allow.length === 0) return { allowed: true, basis: { kind: "open" } };
  for (const rule of acl.allow) {
    const shown = matchRule(rule, view);
    if (shown !== undefined) return { allowed: true, basis: { kind: "rule", rule, shown } };
  }
  return { allowed: false, basis: { kind: "no_match", nearest: nearestRule(acl.allow, peer) } };
}

/**
 * Decides on one peer. Called for every new connection, whether or not its TLS session was resumed,
 * and again for open connections after a reload.
 *
 * In audit mode (`acl.mode: audit`) every peer with a certificate is admitted, since its chain has
 * been verified by then. Peers without a certificate still need `acl.allow_anonymous`.
 */
export function authorize(peer: PeerIdentity | undefined, acl: AclConfig): Decision {
  const verdict = evaluateRules(peer, acl);
  const audited = acl.mode === "audit" && peer !== undefined;
  if (!verdict.allowed && !audited) return { admit: false, verdict };
  return { admit: true, permit: permit(verdict), verdict, wouldDeny: !verdict.allowed };
}
