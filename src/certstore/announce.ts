/**
 * Log records and gauges for certificates that take effect, and warnings about those in effect.
 *
 * @module
 */

import type { NonEmpty } from "../config/config.ts";
import type { Fields, Logger } from "../log/mod.ts";
import type { CertMetrics, ReloadMetrics } from "../metrics/mod.ts";
import { formatName } from "../x509/names.ts";
import { earliestUpdate, type RevocationList } from "../x509/revocation.ts";
import { nextEnd } from "./bundle.ts";
import { formatTime } from "./certificates.ts";
import type { CredentialPaths } from "./load.ts";
import type { Credentials } from "../x509/credentials.ts";
import { type CredentialSets, type FileSet, type StoreTunnel, usersOf } from "./sets.ts";

/** The metrics that the store updates. */
export type StoreMetrics = ReloadMetrics & {
  tunnel(name: string | undefined): CertMetrics;
};

/** What the announcements need: the tunnels and file sets, a logger and the metrics. */
export type Announcer = {
  readonly tunnels: readonly StoreTunnel[];
  readonly sets: readonly FileSet[];
  readonly logger: Pick<Logger, "info" | "warn">;
  readonly metrics: StoreMetrics;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number;
};

/** The log fields that identify one version of the certificates. */
function describe({ leaf, anchors, revocation: { lists } }: Credentials): Fields {
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

/** The files of a set, by their config keys. */
function pathFields({ cert, key, ca, intermediates, crl = [] }: CredentialPaths): Fields {
  return {
    cert,
    key,
    ...(ca === undefined ? {} : { ca }),
    ...(intermediates === undefined ? {} : { intermediates }),
    ...(crl.length === 0 ? {} : { crl }),
  };
}

/**
 * The log fields that list all files: the paths of a single set as they are, or for several sets
 * one list per key without duplicates.
 */
export function watchedFields([first, ...rest]: NonEmpty<FileSet>): Fields {
  if (rest.length === 0) return pathFields(first.files);
  const lists: Record<string, readonly string[]> = {};
  for (const { files } of [first, ...rest]) {
    for (const [key, value] of Object.entries(pathFields(files))) {
      const paths = [lists[key] ?? [], value].flat().map(String);
      lists[key] = [...new Set(paths)];
    }
  }
  return lists;
}

/** Logs what was loaded at the start, one line for each set. */
export function announceStart(credentialSets: CredentialSets, announcer: Announcer): void {
  for (const set of announcer.sets) {
    announcer.logger.info("certificates loaded", {
      ...pathFields(set.files),
      ...usersOf(set),
      ...describe(credentialSets.of(set.files)),
    });
  }
  announce(credentialSets, announcer);
}

/** Logs that a reload took effect: one line, however many sets there are. */
export function announceReload(
  credentialSets: CredentialSets,
  { trigger, changes }: {
    readonly trigger: string;
    /** What else changed, one text per config key. */
    readonly changes: readonly string[];
  },
  announcer: Announcer,
): void {
  const { sets, logger } = announcer;
  const all = sets.map(({ files }) => credentialSets.of(files));
  logger.info("certstore: certificates reloaded successfully", {
    trigger,
    ...(all.length === 1 ? describe(credentialSets.first) : {
      sets: all.length,
      serials: all.map(({ leaf }) => leaf.serial),
      not_after: new Date(Math.min(...all.map(({ leaf }) => leaf.notAfter))).toISOString(),
    }),
    ...(changes.length === 0 ? {} : { changed: changes.join("; ") }),
  });
  announce(credentialSets, announcer);
}

/** Logs the warnings and sets the gauges. */
function announce(
  credentialSets: CredentialSets,
  { tunnels, sets, logger, metrics, now = Date.now }: Announcer,
): void {
  for (const set of sets) {
    const users = sets.length === 1 ? {} : usersOf(set);
    for (const warning of credentialSets.of(set.files).warnings) {
      logger.warn("certstore: certificates need attention", { ...users, warning });
    }
  }
  for (const { name, tls, upstream } of tunnels) {
    const sides = [tls, ...(upstream === undefined ? [] : [upstream.tls])];
    measure(sides.map((side) => credentialSets.of(side)), now(), metrics.tunnel(name));
  }
}

/** Sets the gauges of one tunnel. A bridge has two sides: the earlier expiry counts. */
function measure(
  sides: readonly Credentials[],
  now: number,
  metrics: ReturnType<StoreMetrics["tunnel"]>,
): void {
  metrics.certNotAfter("own", Math.min(...sides.map(({ leaf }) => leaf.notAfter)) / 1000);
  const ends = sides.flatMap(({ anchors }) => nextEnd(anchors, now) ?? []);
  if (ends.length > 0) metrics.certNotAfter("ca", Math.min(...ends) / 1000);
  const updates = sides.flatMap(({ revocation }) => earliestUpdate(revocation) ?? []);
  if (updates.length > 0) metrics.crlNextUpdate(Math.min(...updates) / 1000);
}

/** Warns once about each revocation list that passes its `nextUpdate` while it is in effect. */
export class OverdueLists {
  readonly #warned = new WeakSet<RevocationList>();

  /** Checks the lists in effect. `now` is in milliseconds since the epoch. */
  warn(credentialSets: CredentialSets, now: number, { sets, logger }: Announcer): void {
    for (const set of sets) {
      const users = sets.length === 1 ? {} : usersOf(set);
      for (const list of credentialSets.of(set.files).revocation.lists) {
        if (now <= list.nextUpdate || this.#warned.has(list)) continue;
        this.#warned.add(list);
        logger.warn("certstore: revocation list is past its nextUpdate, keeping it", {
          issuer: formatName(list.issuer.subject),
          next_update: formatTime(list.nextUpdate),
          ...users,
        });
      }
    }
  }
}
