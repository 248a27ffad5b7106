/**
 * Configs for the tests of the daemon's parts.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problem.ts";

/** What `text` says, which must be valid. */
export function parseValid(text: string): Config {
  const result = parseConfig(text, "c.yaml");
  assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
  return result.config;
}

const TLS = "tls: { cert: c.pem, key: k.pem, ca: ca.pem }";

/** One tunnel without a name, and these lines besides. */
export function single(more = "", target = "127.0.0.1:8080"): Config {
  return parseValid(`mode: server\nlisten: :8443\ntarget: "${target}"\n${TLS}\n${more}`);
}

/** Tunnels, one of each line, over one `tls` block. */
export function several(...entries: readonly string[]): Config {
  return parseValid(
    `mode: server\n${TLS}\ntunnels:\n${entries.map((e) => `  - { ${e} }\n`).join("")}`,
  );
}
