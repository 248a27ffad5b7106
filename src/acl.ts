/**
 * Access control by what the peer's verified certificate says. Pure; the one place that makes a
 * {@linkcode Permit}.
 *
 * @module
 */

import type { Basis, Verdict } from "./acl/decision.ts";
import { matchRule } from "./acl/match.ts";
import { nearestRule } from "./acl/nearest.ts";
import { PeerView } from "./acl/view.ts";
import type { AclConfig } from "./config/config.ts";
import type { PeerIdentity } from "./identity.ts";

/** Known to this module alone, so that not even a cast leads to a permit. */
const MINT = Symbol("mint");

let permit: (verdict: Verdict) => Permit;

/**
 * Leave to join a peer with the target. Only {@linkcode authorize} makes one, and dialling takes one:
 * that nothing is dialled before the decision is checked by the compiler.
 */
export class Permit {
  readonly #verdict: Verdict;

  private constructor(mint: symbol, verdict: Verdict) {
    if (mint !== MINT) throw new TypeError("Cannot make a permit: only authorize does");
    this.#verdict = verdict;
  }

  /** What the decision rests on. */
  get basis(): Basis {
    return this.#verdict.basis;
  }

  static {
    permit = (verdict) => new Permit(MINT, verdict);
  }
}

/** The decision on one connection: what the rules say, and what follows from it. */
export type Decision =
  /** Let in. `wouldDeny`: only because the rules are on trial. */
  | {
    readonly admit: true;
    readonly permit: Permit;
    readonly verdict: Verdict;
    readonly wouldDeny: boolean;
  }
  | { readonly admit: false; readonly verdict: Verdict };

/**
 * What the rules say of a peer; `undefined` is one without a certificate, which only gets here where
 * `client_auth` lets it.
 *
 * A deny rule that matches beats every allow rule. All allow rules of all dimensions are OR'd; with no
 * allow rule at all everybody else is let in. Rules are tried in the order of the config, dimension by
 * dimension, and the first that matches is the one that is named.
 */
export function judge(peer: PeerIdentity | undefined, acl: AclConfig): Verdict {
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
 * Decides about one peer, anew for each connection, resumed or not, and for open ones on a reload.
 *
 * On trial (`acl.mode: audit`) everybody with a certificate is let in, which was verified before;
 * whether one without may come in is up to `acl.allow_anonymous` as ever.
 */
export function authorize(peer: PeerIdentity | undefined, acl: AclConfig): Decision {
  const verdict = judge(peer, acl);
  const onTrial = acl.mode === "audit" && peer !== undefined;
  if (!verdict.allowed && !onTrial) return { admit: false, verdict };
  return { admit: true, permit: permit(verdict), verdict, wouldDeny: !verdict.allowed };
}
