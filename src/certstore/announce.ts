/**
 * What is told of certificates that come into force, and of what becomes of them there.
 *
 * @module
 */

import type { Logger } from "../logging.ts";
import type { Metrics } from "../metrics.ts";
import { formatName } from "../x509/names.ts";
import { earliestUpdate, type RevocationList } from "../x509/revocation.ts";
import { formatTime } from "./certificates.ts";
import type { Material } from "./material.ts";

/** Where it is told. */
export type Announcer = {
  readonly logger: Pick<Logger, "warn">;
  readonly metrics: Pick<Metrics, "certNotAfter" | "crlNextUpdate">;
};

/** The log fields that tell one material from another. */
export function describe(
  { leaf, anchors, revocation: { lists } }: Material,
): Readonly<Record<string, string | number>> {
  return {
    serial: leaf.serial,
    not_after: new Date(leaf.notAfter).toISOString(),
    cas: anchors.length,
    ...(lists.length === 0 ? {} : {
      crls: lists.length,
      revoked: lists.reduce((sum, { entries }) => sum + entries, 0),
    }),
  };
}

/** Logs what should be looked at and sets the gauges. */
export function announce(material: Material, { logger, metrics }: Announcer): void {
  const { leaf, anchors, revocation, warnings } = material;
  for (const warning of warnings) {
    logger.warn("certstore: certificates need attention", { warning });
  }
  metrics.certNotAfter("own", leaf.notAfter / 1000);
  if (anchors.length > 0) {
    metrics.certNotAfter("ca", Math.min(...anchors.map(({ notAfter }) => notAfter)) / 1000);
  }
  const nextUpdate = earliestUpdate(revocation);
  if (nextUpdate !== undefined) metrics.crlNextUpdate(nextUpdate / 1000);
}

/** Warns of revocation lists that grow too old while they are in force, once of each. */
export class OverdueLists {
  readonly #told = new WeakSet<RevocationList>();

  /** Looks at the lists in force. `now` is milliseconds since the epoch. */
  look({ revocation }: Material, now: number, logger: Announcer["logger"]): void {
    for (const list of revocation.lists) {
      if (now <= list.nextUpdate || this.#told.has(list)) continue;
      this.#told.add(list);
      logger.warn("certstore: revocation list is past its nextUpdate, keeping it", {
        issuer: formatName(list.issuer.subject),
        next_update: formatTime(list.nextUpdate),
      });
    }
  }
}
