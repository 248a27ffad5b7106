/**
 * Chains that are long, or lead in circles: read or refused, and soon.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dns, type Issued, makeCa, makeKey, makeLeaf } from "../support/pki.ts";
import {
  admit,
  client,
  connected,
  limits,
  pki,
  refused,
  server,
  VERSIONS,
} from "../support/tls/ends.ts";
import { memoryPair } from "../support/tls/memory_conn.ts";
import { testPublicAndNative } from "../support/tls/backends.ts";

/** `count` CA certificates of about `size` bytes that have nothing to do with anything. */
function ballast(count: number, subject: (i: number) => string): Issued[] {
  const key = makeKey();
  return Array.from({ length: count }, (_, i) => makeCa({ subject: subject(i), key }));
}

/** The same leaf with other certificates behind it. */
function withChain(leaf: Issued, chain: readonly Issued[]): Issued {
  return { ...leaf, issuer: undefined, pem: [leaf, ...chain].map(({ pem }) => pem).join("") };
}

const SAN = [dns("localhost")];

testPublicAndNative("a chain of up to 64 KB is read, rubbish and all", async () => {
  const leaf = makeLeaf({ san: SAN }, pki().ca);
  const own = withChain(leaf, ballast(130, (i) => `ballast ${i}`));
  assert(own.pem.length > 55_000);
  for (const [version] of VERSIONS) {
    const ends = await connected({
      client: client({ own, max: version }),
      server: server({ own }),
    });
    ends.client.close();
    ends.server.close();
  }
});

testPublicAndNative("a chain of more than 64 KB is refused", async () => {
  const own = withChain(makeLeaf({ san: SAN }, pki().ca), ballast(300, (i) => `ballast ${i}`));
  for (const [version] of VERSIONS) {
    {
      const [clientEnd, serverEnd] = memoryPair();
      const dialling = client({ own, max: version }).connect(clientEnd, admit, limits())
        .catch(() => undefined);
      await refused(
        server().accept(serverEnd, () => assert.fail("decided"), limits()),
        ["protocol", "other"],
      );
      (await dialling)?.conn?.close();
      clientEnd.close();
    }
    const [clientEnd, serverEnd] = memoryPair();
    const accepting = server({ own, max: version }).accept(serverEnd, admit, limits())
      .catch(() => undefined);
    await refused(client().connect(clientEnd, admit, limits()), ["protocol", "other"]);
    clientEnd.close();
    (await accepting)?.conn?.close();
  }
});

/** Chains that are long, or whose names allow any number of paths. */
function mazes(): Record<string, Issued> {
  const deep: Issued[] = [];
  for (let i = 0, issuer = pki().ca; i < 100; i++) {
    issuer = makeCa({ subject: `depth ${i}`, issuer });
    deep.unshift(issuer);
  }
  const last = deep[0];
  assert(last !== undefined);
  // Every one could have signed every other, by its name; none leads anywhere.
  const maze = Array.from({ length: 100 }, () => makeCa({ subject: "maze" }));
  // Many certificates for one name and one key: each signature holds, none is the end.
  const key = makeKey();
  const twins = Array.from({ length: 100 }, () => makeCa({ subject: "twin", key }));
  const inside = makeLeaf({ san: SAN }, maze[0]);
  return {
    "100 intermediates deep": withChain(makeLeaf({ san: SAN }, last), deep),
    "a maze of 100 CAs of one name": withChain(inside, maze),
    "100 CAs of one name and key": withChain(makeLeaf({ san: SAN }, twins[0]), twins),
    "forged links to the anchor": withChain(
      makeLeaf({ san: SAN, forged: true }, pki().ca),
      Array.from(
        { length: 100 },
        () => makeCa({ subject: "mtlsd test CA", issuer: pki().ca, forged: true }),
      ),
    ),
  };
}

for (const [what, own] of Object.entries(mazes())) {
  testPublicAndNative(`${what}: refused, soon`, async () => {
    for (const role of ["client", "server"] as const) {
      const started = performance.now();
      const [clientEnd, serverEnd] = memoryPair();
      const other = role === "client"
        ? client({ own }).connect(clientEnd, admit, limits())
        : server({ own }).accept(serverEnd, admit, limits());
      const seen = other.catch(() => undefined);
      await refused(
        role === "client"
          ? server().accept(serverEnd, () => assert.fail("decided"), limits())
          : client().connect(clientEnd, () => assert.fail("decided"), limits()),
        ["untrusted", "bad_certificate"],
      );
      (role === "client" ? clientEnd : serverEnd).close();
      (await seen)?.conn?.close();
      const took = performance.now() - started;
      // Paths without end would take for ever; the fault suite measures how soon it is.
      assert(took < 60_000, `${role}: took ${took} ms`);
    }
  });
}
