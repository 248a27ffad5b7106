/**
 * All targets.
 *
 * @module
 */

import type { Target } from "../target.ts";
import { certificates } from "./certificates.ts";
import { chains } from "./chains.ts";
import { lists } from "./lists.ts";
import { paths } from "./paths.ts";
import { proxyHeaders } from "./proxy_headers.ts";

/** In the order in which they run. */
export const TARGETS: readonly Target[] = [certificates, paths, chains, lists, proxyHeaders];
