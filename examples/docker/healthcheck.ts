/**
 * Asks a probe of mtlsd: exit status 0 if it answers 200, else 1. For images without curl.
 *
 *     deno run --allow-net=127.0.0.1:9000 healthcheck.ts http://127.0.0.1:9000/healthz
 *
 * @module
 */

// Less than the time that the image gives it.
const TIMEOUT = 4000;

async function healthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT) });
    // What the probe says goes into the log of the check.
    await Deno.stdout.write(await response.bytes());
    return response.status === 200;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`Cannot ask ${url}: ${error}\n`));
    return false;
  }
}

if (import.meta.main) {
  const [url = "http://127.0.0.1:9000/healthz"] = Deno.args;
  Deno.exit(await healthy(url) ? 0 : 1);
}
