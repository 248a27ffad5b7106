/**
 * Runs one scenario between two hosts in the namespaces that it was started in, and prints the verdict
 * as its last line. Started by `netns.ts`.
 *
 * @module
 */

import { SCENARIOS } from "./netns_scenarios.ts";
import { perform } from "./one_row.ts";
import { Hosts } from "./support_netns.ts";

async function main([name, scale]: readonly string[]): Promise<void> {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new RangeError(`Cannot run "${name}": no such scenario`);
  const verdict = await perform({
    subject: "tunnel",
    ...scenario,
    run: async (scale) => {
      await using hosts = await Hosts.create();
      return await scenario.run(hosts, scale);
    },
  }, scale === "full" ? "full" : "bounded");
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(verdict)}\n`));
}

if (import.meta.main) {
  await main(Deno.args);
  Deno.exit(0);
}
