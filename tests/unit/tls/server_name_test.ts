/**
 * A server's name is looked for in its subject alternative names only.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dns, makeLeaf } from "../../support/pki.ts";
import {
  admit,
  client,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  server,
} from "../../support/tls/ends.ts";
import { memoryPair } from "../../support/tls/memory_conn.ts";
import { plainTrusts } from "../../support/plain_tls.ts";

Deno.test("control: plain node:tls finds a server's name in its CN, where there is no SAN", async () => {
  const { ca } = pki();
  const subjects = { "a CN": "localhost", "several CNs": { CN: ["evil.example", "localhost"] } };
  for (const [what, subject] of Object.entries(subjects)) {
    assert(
      await plainTrusts(makeLeaf({ subject }, ca), [ca]),
      `${what}: ${DEFENCE_NO_LONGER_NEEDED}`,
    );
  }
});

Deno.test("a server's name is in its SAN or nowhere", async () => {
  const { ca } = pki();
  const subjects = ["localhost", { CN: ["evil.example", "localhost"] }, "evil.example, localhost"];
  for (const subject of subjects) {
    for (const san of [[], [dns("other.example")]]) {
      const [near, far] = memoryPair();
      const own = makeLeaf({ subject, san }, ca);
      const accepting = server({ own }).accept(far, admit, limits()).catch(() => undefined);
      await refused(client().connect(near, admit, limits()), "name_mismatch");
      await accepting;
    }
  }
});
