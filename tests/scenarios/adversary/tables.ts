/**
 * The tables put together.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { holder, type Row } from "../../support/adversary/arena.ts";
import { type Issued, makeKey, makeLeaf, spkiOf } from "../../support/pki.ts";
import { lengthRows, timeRows, trustRows } from "./chains.ts";
import { deniedSanRows, deniedSubjectRows } from "./denied.ts";
import { anchorRows, encodingRows, weakRows } from "./forms.ts";
import { commonNameRows, organizationRows, pinRows } from "./names.ts";
import { dnsRows, ipRows, uriRows } from "./sans.ts";
import { nameConstraintRows, pathLengthRows, usageRows } from "./usage.ts";

/** Every row about a chain, and what the bundle is to hold besides the CA. */
export function chainTables(
  ca: Issued,
): { readonly rows: readonly Row[]; readonly bundle: readonly Issued[] } {
  const anchors = anchorRows(ca);
  return {
    rows: [
      ...trustRows(ca),
      ...timeRows(ca),
      ...lengthRows(ca),
      ...usageRows(ca),
      ...pathLengthRows(ca),
      ...nameConstraintRows(ca),
      ...encodingRows(ca),
      ...weakRows(ca),
      ...anchors.rows,
    ],
    bundle: anchors.bundle,
  };
}

/** A key and its fingerprint, as rules write it. */
export function pinnedKey(): { readonly key: Issued["key"]; readonly pin: string } {
  const key = makeKey();
  return { key, pin: `sha256:${createHash("sha256").update(spkiOf(key)).digest("base64")}` };
}

/** Every row about names that allow rules must not take for theirs. */
export function nameTables(ca: Issued, { pin, key }: ReturnType<typeof pinnedKey>): readonly Row[] {
  return [
    ...commonNameRows(ca),
    ...organizationRows(ca),
    ...dnsRows(ca),
    ...uriRows(ca),
    ...ipRows(ca),
    ...pinRows(ca, pin, key),
  ];
}

/** Every row about names that deny rules must not miss. */
export function denyTables(ca: Issued, { pin, key }: ReturnType<typeof pinnedKey>): readonly Row[] {
  return [...deniedSubjectRows(ca), ...deniedSanRows(ca, pin, key)];
}

/** No certificate, where that is no fault of the chain but rules name peers. */
export function anonymousTable(ca: Issued): readonly Row[] {
  const named = holder(makeLeaf({ role: "client", subject: "frontend-service" }, ca));
  return [{
    name: "no certificate, where rules name somebody",
    peer: {},
    refused: { denied: /^no certificate shown, and there are allow rules$/ },
    control: named,
    rule: "acl.allow_cn: frontend-service",
  }];
}
