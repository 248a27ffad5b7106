/**
 * Access control by what the peer's verified certificate says. Pure; the one place that makes a
 * {@linkcode Permit}.
 *
 * @module
 */

import type { AclConfig } from "./config/config.ts";
import type { PeerIdentity } from "./identity.ts";

/** The rule that let a peer in. `open`: there are no rules, every valid certificate may in. */
export type Grant =
  | {
    readonly kind: "rule";
    readonly key: "acl.allow_cn" | "acl.allow_org";
    readonly value: string;
  }
  | { readonly kind: "open" }
  /** No certificate was asked for, or none was shown where it is optional. */
  | { readonly kind: "anonymous" };

/** Known to this module alone, so that not even a cast leads to a permit. */
const MINT = Symbol("mint");

let permit: (grant: Grant) => Permit;

/**
 * Leave to dial the target. Only {@linkcode authorize} makes one, and dialling takes one: that
 * nothing is dialled before the decision is checked by the compiler.
 */
export class Permit {
  readonly #grant: Grant;

  private constructor(mint: symbol, grant: Grant) {
    if (mint !== MINT) throw new TypeError("Cannot make a permit: only authorize does");
    this.#grant = grant;
  }

  /** What the decision rests on. */
  get grant(): Grant {
    return this.#grant;
  }

  static {
    permit = (grant) => new Permit(MINT, grant);
  }
}

/** A refusal, with its reason in a form that fits a log line. */
export type Denial = { readonly reason: string };

/** The decision on one connection. */
export type Decision =
  | { readonly allowed: true; readonly permit: Permit }
  | { readonly allowed: false; readonly denial: Denial };

function allow(grant: Grant): Decision {
  return { allowed: true, permit: permit(grant) };
}

function deny(reason: string): Decision {
  return { allowed: false, denial: { reason } };
}

/** A control character in a name is a trick: C0, DEL, C1. U+FFFD stands for what has no text. */
// deno-lint-ignore no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\ufffd]/;

/**
 * Whether a value of the certificate is exactly `rule`: no case folding, no trimming. Values with a
 * control character (a NUL above all) match nothing.
 */
function matches(rule: string, value: string): boolean {
  return value === rule && !CONTROL.test(value);
}

/**
 * Decides about one peer, anew for each connection, resumed or not.
 *
 * All rules of all dimensions are OR'd; an empty list of a dimension adds nothing, and with no rule
 * at all every peer with a valid certificate is let in. A subject with more than one CN is
 * ambiguous: no `allow_cn` matches it. A peer without a certificate (`undefined`, possible only
 * where `client_auth` allows it) is let in as long as there is no rule that it would have to match.
 */
export function authorize(peer: PeerIdentity | undefined, acl: AclConfig): Decision {
  const open = acl.allowCn.length === 0 && acl.allowOrg.length === 0;
  if (peer === undefined) {
    return open
      ? allow({ kind: "anonymous" })
      : deny("the peer showed no certificate and there are allow rules");
  }
  if (open) return allow({ kind: "open" });
  const [name, ...moreNames] = peer.commonNames;
  if (name !== undefined && moreNames.length === 0) {
    const rule = acl.allowCn.find((rule) => matches(rule, name));
    if (rule !== undefined) return allow({ kind: "rule", key: "acl.allow_cn", value: rule });
  }
  for (const organization of peer.organizations) {
    const rule = acl.allowOrg.find((rule) => matches(rule, organization));
    if (rule !== undefined) return allow({ kind: "rule", key: "acl.allow_org", value: rule });
  }
  return deny(
    moreNames.length > 0 && acl.allowCn.length > 0
      ? "no allow rule matches (a subject with several CNs matches no allow_cn)"
      : "no allow rule matches",
  );
}
