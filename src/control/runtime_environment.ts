/**
 * Environment variables that Deno itself reads, without a grant for the program.
 *
 * @module
 */

/**
 * Variables that change what a program does or where its data goes, in Deno 2.9.6. Variables that
 * only set file locations or output formats are not listed.
 */
export const RUNTIME_VARIABLES: readonly string[] = [
  "NODE_OPTIONS",
  "DENO_SERVE_ADDRESS",
  "DENO_PERMISSION_BROKER_PATH",
  "DENO_AUDIT_PERMISSIONS",
  "OTEL_DENO",
];

/**
 * The {@linkcode RUNTIME_VARIABLES} that are set, as far as this process may read them. Empty under
 * the grants that `mtlsd grants` prints.
 */
export function runtimeVariables(): readonly string[] {
  return RUNTIME_VARIABLES.filter((variable) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted" &&
    Deno.env.get(variable) !== undefined
  );
}
