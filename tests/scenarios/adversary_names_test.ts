/**
 * The adversary's suite, names: valid certificates that try to pass for another peer, or to hide from
 * a rule that keeps them out.
 *
 * @module
 */

import { Arena, assertWholeLines, holder, type Row, VERSIONS } from "../support/adversary/arena.ts";
import { echoBackend } from "../support/peers.ts";
import { type Issued, makeLeaf } from "../support/pki.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { denyRules } from "./adversary/denied.ts";
import { allowRules } from "./adversary/names.ts";
import { anonymousTable, denyTables, nameTables, pinnedKey } from "./adversary/tables.ts";

type Group = {
  readonly options: (pin: string) => DaemonOptions;
  readonly rows: (ca: Issued, pinned: ReturnType<typeof pinnedKey>) => readonly Row[];
};

const GROUPS: Readonly<Record<string, Group>> = {
  "allow rules": { options: (pin) => ({ acl: allowRules(pin) }), rows: nameTables },
  "deny rules": { options: (pin) => ({ acl: denyRules(pin) }), rows: denyTables },
  "client_auth optional with rules": {
    options: (pin) => ({ tls: { client_auth: "optional" }, acl: allowRules(pin) }),
    rows: (ca, pinned) => [...anonymousTable(ca), ...nameTables(ca, pinned).slice(0, 3)],
  },
};

for (const [group, { options, rows }] of Object.entries(GROUPS)) {
  Deno.test(`hostile names, ${group}`, async (t) => {
    await using testBed = await TestBed.create();
    const { ca } = testBed.pki;
    const pinned = pinnedKey();
    const backend = testBed.use(echoBackend());
    const daemon = await testBed.server(backend.address, options(pinned.pin));
    const subject = { O: "acme", CN: "good-client" };
    const good = holder(makeLeaf({ role: "client", subject }, ca));
    const arena = new Arena({ daemon, backend, good });
    for (const [i, row] of rows(ca, pinned).entries()) {
      // Rules know nothing of versions: one of them is enough for each row.
      await t.step(row.name, () => arena.play(row, VERSIONS.slice(i % 2).slice(0, 1)));
    }
    assertWholeLines(daemon);
  });
}
