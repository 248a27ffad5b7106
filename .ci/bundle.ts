/**
 * The second half of `deno task bundle`: what `deno bundle` wrote becomes the same bytes wherever it was
 * written. It names each module by its way from the working directory, which for packages leads into
 * the local package cache; here they become `npm:NAME@VERSION/...`, of the versions in `deno.lock`.
 *
 *     deno run --allow-read=deno.lock,dist --allow-write=dist .ci/bundle.ts dist/mtlsd.js
 *
 * @module
 */

/** Where `deno bundle` names a module: in the comment before it, and as the key of its wrapper. */
const NAME = /^(\/\/ | {2}")(\S+\.(?:c|m)?[jt]s)(|"\(.*)$/gm;

/** NAME/VERSION/PATH; the scope of a name is a directory of its own. */
const PACKAGE = /\/((?:@[\w.-]+\/)?[\w.-]+)\/(\d+\.\d+\.\d+[^/]*)\/(.+)$/;

/**
 * Names modules by what they are and not by where they lay.
 *
 * @param bundle what `deno bundle` wrote, not minified.
 * @param lock the text of `deno.lock`.
 * @throws {Error} for a module that is neither of `src/` nor of a package of the lock file.
 */
export function portable(bundle: string, lock: string): string {
  const { npm } = JSON.parse(lock) as { readonly npm: Readonly<Record<string, unknown>> };
  // A package with peers has those in its name, after an underscore.
  const locked = new Set(Object.keys(npm).map((id) => id.split("_", 1)[0]));
  return bundle.replaceAll(NAME, (_line, before: string, path: string, after: string) => {
    if (path.startsWith("src/")) return `${before}${path}${after}`;
    const [, name, version, inside] = PACKAGE.exec(path) ?? [];
    if (inside === undefined || !locked.has(`${name}@${version}`)) {
      throw new Error(`Cannot tell which module "${path}" is: neither in src/ nor in deno.lock`);
    }
    return `${before}npm:${name}@${version}/${inside}${after}`;
  });
}

if (import.meta.main) {
  const [path = "dist/mtlsd.js"] = Deno.args;
  const bundle = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, portable(bundle, await Deno.readTextFile("deno.lock")));
}
