/**
 * Temporary directories that are removed when a test is over.
 *
 * @module
 */

/** A temporary directory that is removed at the end of the scope. */
export async function tempDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "mtlsd-test-" });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Runs `body` in a temporary directory and removes the directory afterwards. */
export async function inTempDir<T>(body: (path: string) => Promise<T>): Promise<T> {
  await using dir = await tempDir();
  return await body(dir.path);
}
