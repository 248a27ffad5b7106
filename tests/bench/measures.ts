/**
 * All measures, in the order in which they run.
 *
 * @module
 */

import type { Measure } from "./measure.ts";
import { echo, handshake, idle } from "./measures_cost.ts";
import { cas, crl, growth } from "./measures_growth.ts";
import { resumed } from "./measures_resumed.ts";
import { latency, startup } from "./measures_time.ts";
import { bulk } from "./measures_transfer.ts";

/** All of them. */
export const MEASURES: readonly Measure[] = [
  handshake,
  resumed,
  echo,
  bulk,
  idle,
  latency,
  startup,
  growth,
  cas,
  crl,
];
