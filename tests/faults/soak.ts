/**
 * For a long time: connection after connection, thousands that do nothing, and a day's reloads. At the
 * end a daemon is what it was.
 *
 * Memory after 100,000 connections is that of the daemon as it ships: the highest of the last 5,000
 * against the highest of the 5,000 before the 20,000th, since V8 collects in long strides. Smaller
 * numbers are held to the same part with V8 collecting often: some 3 KB a connection would show there.
 *
 * @module
 */

import type { Row } from "./row.ts";
import { manyConnections } from "./soak_connections.ts";
import { dayOfReloads } from "./soak_day.ts";
import { LEEWAY } from "./soak_growth.ts";
import { idleConnections } from "./soak_idle.ts";

const STEADY = `memory within ${LEEWAY * 100} %, no descriptor more`;

/** Long runs. */
export const rows: readonly Row[] = [
  ...(["server", "tunnel"] as const).map((subject): Row => ({
    subject,
    fault: "100,000 connections (bounded: 4,000)",
    holds: `none fails; since the 20,000th (bounded: 1,000th) ${STEADY}`,
    run: (scale) => manyConnections(subject, scale),
  })),
  ...(["server", "tunnel"] as const).map((subject): Row => ({
    subject,
    fault: "5,000 idle connections (bounded: 500) held, then used all at once",
    holds: "all answer, under 2 % of a core while idle, every descriptor given back",
    run: (scale) => idleConnections(subject, scale),
  })),
  {
    subject: "tunnel",
    fault:
      "a day of reloads (bounded: 6 hours) after another: hourly renewals, a SIGHUP every 5 minutes",
    holds: `no handshake and no reload fails, open connections go on; ${STEADY}`,
    run: dayOfReloads,
  },
];
