/**
 * Variables that Deno reads of its own accord, without a grant of the program's.
 *
 * @module
 */

/**
 * Those that change what a program does or who hears of it, as Deno 2.9.6 has them. What only names
 * where files are or how something is shown is not among them.
 */
export const RUNTIME_VARIABLES: readonly string[] = [
  "NODE_OPTIONS",
  "DENO_SERVE_ADDRESS",
  "DENO_PERMISSION_BROKER_PATH",
  "DENO_AUDIT_PERMISSIONS",
  "OTEL_DENO",
];

/**
 * Which of {@linkcode RUNTIME_VARIABLES} are set, as far as this process may look: under the grants that
 * `mtlsd grants` prints it may not, and the result is empty.
 */
export function runtimeVariables(): readonly string[] {
  return RUNTIME_VARIABLES.filter((variable) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted" &&
    Deno.env.get(variable) !== undefined
  );
}
