/**
 * Sessions of clients that were let in once, and then lost what they were let in with.
 *
 * @module
 */

import type { Refused } from "../../support/adversary/arena.ts";
import { type Issued, makeCa, makeLeaf } from "../../support/pki.ts";
import { middle } from "./chains.ts";

/** What happens between the first connection and the next. */
export type Change =
  | "a deny rule"
  | "an allow rule less"
  | "a CA less"
  | "another CA of its name"
  | "an entry of the revocation list"
  | "an intermediate on the revocation list"
  | "time";

/** A client whose ticket must be worth nothing after the change; before it, it is its own control. */
export type SessionRow = {
  readonly change: Change;
  readonly identity: () => Issued;
  readonly refused: Refused;
};

/** The CAs of the bundle, as it is at first. */
export type SessionWorld = {
  readonly ca: Issued;
  /** Leaves. */
  readonly leaving: Issued;
  /** Its name stays, its key does not. */
  readonly replaced: Issued;
  /** Is revoked. */
  readonly inner: Issued;
};

/** The bundle's CAs besides `ca`. */
export function sessionWorld(ca: Issued): SessionWorld {
  return {
    ca,
    leaving: makeCa({ subject: "leaving CA" }),
    replaced: makeCa({ subject: "replaced CA" }),
    inner: middle("revoked intermediate", ca),
  };
}

/** Seconds that the one lives whose time runs out. */
const BRIEF = 6;

/** One row for each change; identities are made anew for each version. */
export function sessionRows({ ca, leaving, replaced, inner }: SessionWorld): readonly SessionRow[] {
  const leaf = (CN: string, issuer: Issued, O = "acme"): Issued =>
    makeLeaf({ role: "client", subject: { O, CN } }, issuer);
  const untrusted: Refused = {
    handshake: "untrusted",
    error: /no chain of valid signatures leads from/,
  };
  const revoked: Refused = { handshake: "revoked", error: /was revoked by/ };
  return [
    {
      change: "a deny rule",
      identity: () => leaf("denied later", ca),
      refused: { denied: /^acl\.deny_cn: denied later$/ },
    },
    {
      change: "an allow rule less",
      identity: () => leaf("unlisted later", ca, "other"),
      refused: { denied: /^no allow rule matches$/ },
    },
    { change: "a CA less", identity: () => leaf("left behind", leaving), refused: untrusted },
    {
      change: "another CA of its name",
      identity: () => leaf("replaced", replaced),
      refused: untrusted,
    },
    {
      change: "an entry of the revocation list",
      identity: () => leaf("revoked later", ca),
      refused: revoked,
    },
    {
      change: "an intermediate on the revocation list",
      identity: () => leaf("below a revoked one", inner),
      refused: revoked,
    },
    {
      change: "time",
      identity: () =>
        makeLeaf({
          role: "client",
          subject: { O: "acme", CN: "brief" },
          notAfter: new Date(Date.now() + BRIEF * 1000),
        }, ca),
      refused: { handshake: "expired", error: /expired at/ },
    },
  ];
}
