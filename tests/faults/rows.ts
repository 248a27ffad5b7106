/**
 * All rows of the suite, in the order in which they run.
 *
 * @module
 */

import { rows as backend } from "./backend.ts";
import { rows as chains } from "./chains.ts";
import { rows as clock } from "./clock.ts";
import { rows as descriptors } from "./descriptors.ts";
import { rows as drain } from "./drain.ts";
import { rows as handshakeFlood } from "./handshake_flood.ts";
import { rows as injected } from "./injected.ts";
import { rows as netns } from "./netns.ts";
import { rows as reauthorize } from "./reauthorize.ts";
import { rows as reload } from "./reload.ts";
import type { Row } from "./row.ts";
import { rows as soak } from "./soak.ts";
import { rows as transfer } from "./transfer.ts";
import { rows as halfClose } from "./transfer_half_close.ts";
import { rows as resets } from "./transfer_reset.ts";
import { rows as trickle } from "./trickle.ts";

/** All rows. */
export const ROWS: readonly Row[] = [
  ...transfer,
  ...descriptors,
  ...backend,
  ...resets,
  ...halfClose,
  ...trickle,
  ...chains,
  ...drain,
  ...reload,
  ...reauthorize,
  ...handshakeFlood,
  ...clock,
  ...soak,
  ...injected,
  ...netns,
];
