/**
 * The adversary's suite, certificates: every way in which a chain can be wrong, against a daemon that
 * requires a certificate, one where it is optional, and one in audit mode.
 *
 * @module
 */

import { Arena, assertWholeLines, holder, VERSIONS } from "../support/adversary/arena.ts";
import { echoBackend } from "../support/peers.ts";
import { chainPem } from "../support/pki.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { chainTables } from "./adversary/tables.ts";

const GROUPS: Readonly<Record<string, DaemonOptions & { readonly audited?: boolean }>> = {
  "client_auth required": {},
  "client_auth optional": { tls: { client_auth: "optional" } },
  "acl.mode audit": { acl: { mode: "audit", allow_cn: ["nobody"] }, audited: true },
};

for (const [group, { audited = false, ...options }] of Object.entries(GROUPS)) {
  Deno.test(`hostile certificates, ${group}`, async (t) => {
    await using testBed = await TestBed.create();
    const { ca } = testBed.pki;
    const { rows, bundle } = chainTables(ca);
    await testBed.write("ca.pem", chainPem(ca, ...bundle));
    const backend = testBed.use(echoBackend());
    const daemon = await testBed.server(backend.address, options);
    const good = holder(testBed.pki.client);
    const arena = new Arena({
      daemon,
      backend,
      good,
      admission: audited ? "would_deny" : "allowed",
    });
    for (const [i, row] of rows.entries()) {
      // All of them in both versions once; the other groups differ in what comes after.
      const versions = group === "client_auth required"
        ? VERSIONS
        : VERSIONS.slice(i % 2).slice(0, 1);
      await t.step(row.name, () => arena.play(row, versions));
    }
    assertWholeLines(daemon);
  });
}
