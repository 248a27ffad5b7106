/**
 * What is told of certificates that come into force, and of what becomes of them there.
 *
 * @module
 */

import type { NonEmpty } from "../config/config.ts";
import type { Fields, Logger } from "../logging.ts";
import type { Metrics, TunnelMetrics } from "../metrics.ts";
import { formatName } from "../x509/names.ts";
import { earliestUpdate, type RevocationList } from "../x509/revocation.ts";
import { nextEnd } from "./bundle.ts";
import { formatTime } from "./certificates.ts";
import type { MaterialPaths } from "./load.ts";
import type { Material } from "./material.ts";
import { type FileSet, type Materials, type StoreTunnel, usersOf } from "./sets.ts";

/** What the store counts and measures. */
export type StoreMetrics = Pick<Metrics, "reloaded"> & {
  tunnel(name: string | undefined): Pick<TunnelMetrics, "certNotAfter" | "crlNextUpdate">;
};

/** Where it is told, and of what. */
export type Announcer = {
  readonly tunnels: readonly StoreTunnel[];
  readonly sets: readonly FileSet[];
  readonly logger: Pick<Logger, "info" | "warn">;
  readonly metrics: StoreMetrics;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number;
};

/** The log fields that tell one material from another. */
function describe({ leaf, anchors, revocation: { lists } }: Material): Fields {
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

/** The files of a set, by their keys in the config. */
function pathFields({ cert, key, ca, intermediates, crl = [] }: MaterialPaths): Fields {
  return {
    cert,
    key,
    ...(ca === undefined ? {} : { ca }),
    ...(intermediates === undefined ? {} : { intermediates }),
    ...(crl.length === 0 ? {} : { crl }),
  };
}

/** The log fields of all files: of one set as they are, of several a list for each key, each file once. */
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

/** Logs what was loaded at the start, a line for each set. */
export function announceStart(materials: Materials, announcer: Announcer): void {
  for (const set of announcer.sets) {
    announcer.logger.info("certificates loaded", {
      ...pathFields(set.files),
      ...usersOf(set),
      ...describe(materials.of(set.files)),
    });
  }
  announce(materials, announcer);
}

/** Logs that what was loaded anew is in force: one line, however many sets there are. */
export function announceReload(
  materials: Materials,
  { trigger, changes }: {
    readonly trigger: string;
    /** What else has changed, a text for each key. */
    readonly changes: readonly string[];
  },
  announcer: Announcer,
): void {
  const { sets, logger } = announcer;
  const all = sets.map(({ files }) => materials.of(files));
  logger.info("certstore: certificates reloaded successfully", {
    trigger,
    ...(all.length === 1 ? describe(materials.first) : {
      sets: all.length,
      serials: all.map(({ leaf }) => leaf.serial),
      not_after: new Date(Math.min(...all.map(({ leaf }) => leaf.notAfter))).toISOString(),
    }),
    ...(changes.length === 0 ? {} : { changed: changes.join("; ") }),
  });
  announce(materials, announcer);
}

/** Logs what should be looked at and sets the gauges. */
function announce(
  materials: Materials,
  { tunnels, sets, logger, metrics, now = Date.now }: Announcer,
): void {
  for (const set of sets) {
    const users = sets.length === 1 ? {} : usersOf(set);
    for (const warning of materials.of(set.files).warnings) {
      logger.warn("certstore: certificates need attention", { ...users, warning });
    }
  }
  for (const { name, tls, upstream } of tunnels) {
    const sides = [tls, ...(upstream === undefined ? [] : [upstream.tls])];
    measure(sides.map((side) => materials.of(side)), now(), metrics.tunnel(name));
  }
}

/** Of both sides of a bridge it is the first to end that matters. */
function measure(
  sides: readonly Material[],
  now: number,
  metrics: ReturnType<StoreMetrics["tunnel"]>,
): void {
  metrics.certNotAfter("own", Math.min(...sides.map(({ leaf }) => leaf.notAfter)) / 1000);
  const ends = sides.flatMap(({ anchors }) => nextEnd(anchors, now) ?? []);
  if (ends.length > 0) metrics.certNotAfter("ca", Math.min(...ends) / 1000);
  const updates = sides.flatMap(({ revocation }) => earliestUpdate(revocation) ?? []);
  if (updates.length > 0) metrics.crlNextUpdate(Math.min(...updates) / 1000);
}

/** Warns of revocation lists that grow too old while they are in force, once of each. */
export class OverdueLists {
  readonly #told = new WeakSet<RevocationList>();

  /** Looks at the lists in force. `now` is milliseconds since the epoch. */
  look(materials: Materials, now: number, { sets, logger }: Announcer): void {
    for (const set of sets) {
      const users = sets.length === 1 ? {} : usersOf(set);
      for (const list of materials.of(set.files).revocation.lists) {
        if (now <= list.nextUpdate || this.#told.has(list)) continue;
        this.#told.add(list);
        logger.warn("certstore: revocation list is past its nextUpdate, keeping it", {
          issuer: formatName(list.issuer.subject),
          next_update: formatTime(list.nextUpdate),
          ...users,
        });
      }
    }
  }
}
