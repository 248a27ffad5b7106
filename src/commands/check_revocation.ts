/**
 * The part of `check` about revocation lists. Loading has already verified them.
 *
 * @module
 */

import { formatTime } from "../certstore/certificates.ts";
import type { Credentials } from "../tls/credentials.ts";
import { quote } from "../config/problem.ts";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { type Revocation, sameKey } from "../x509/revocation.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** A list should have been renewed when less than this fraction of its lifetime is left. */
const LAST_PART = 0.1;

/** Warnings about lists that are due to be renewed. `now` is in milliseconds since the epoch. */
export function revocationWarnings({ revocation }: Credentials, now: number): readonly string[] {
  return revocation.lists
    .filter(({ thisUpdate, nextUpdate }) =>
      nextUpdate - now < LAST_PART * (nextUpdate - thisUpdate)
    )
    .map(({ issuer, nextUpdate }) =>
      `tls.crl: the list of ${quote(formatName(issuer.subject))} cannot be loaded any more after ` +
      `${formatTime(nextUpdate)} (${timeLeft(nextUpdate - now)} left); fetch the next one`
    );
}

/** One line for each list, and one for each CA without a list. */
export function revocationSummary(
  { anchors, intermediates, revocation }: Credentials,
  now: number,
): readonly string[] {
  if (revocation.lists.length === 0) return [];
  return [
    ...revocation.lists.map(({ issuer, entries, nextUpdate, distributionPoint }) =>
      `revocation list: ${formatName(issuer.subject)}, ` +
      (distributionPoint === undefined
        ? ""
        : `as published at ${quote(distributionPoint, 200)}, `) +
      `${entries} ${entries === 1 ? "entry" : "entries"}, ` +
      `next update ${formatTime(nextUpdate)} (${timeLeft(nextUpdate - now)} left)`
    ),
    ...[...anchors, ...intermediates]
      .filter((anchor) => anchor.basicConstraints?.ca === true && !isCovered(anchor, revocation))
      .map(({ subject }) =>
        `no revocation list: ${formatName(subject)}, what it signed is not looked up`
      ),
  ];
}

function isCovered({ subject, publicKey }: Certificate, { byIssuer }: Revocation): boolean {
  const lists = byIssuer.get(subject.key) ?? [];
  return lists.some(({ issuer }) => sameKey(issuer.publicKey, publicKey));
}

/** For example `3 days` or `1 hour`. */
function timeLeft(ms: number): string {
  const [count, unit] = ms < 2 * DAY ? [ms / HOUR, "hour"] : [ms / DAY, "day"];
  const whole = Math.floor(count);
  return `${whole} ${unit}${whole === 1 ? "" : "s"}`;
}
