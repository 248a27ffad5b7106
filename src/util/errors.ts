/**
 * What a caught value says. JavaScript may throw any value, not only an `Error`.
 *
 * @module
 */

/** The message of an `Error`, such as `Connection refused (os error 111)`; else the value as text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system's error code, such as `ECONNRESET`; empty where there is none. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}
