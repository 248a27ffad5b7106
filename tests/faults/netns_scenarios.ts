/**
 * What happens between the two hosts: all scenarios.
 *
 * @module
 */

import type { Scenario } from "./netns_scenario.ts";
import { GONE } from "./netns_gone.ts";
import { WEATHER } from "./netns_weather.ts";

/** In the order of the report. */
export const SCENARIOS: readonly Scenario[] = [...WEATHER, ...GONE];
