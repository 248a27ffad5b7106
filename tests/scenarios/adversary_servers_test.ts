/**
 * The adversary's suite, servers: impostors of client mode's target. Not one byte of its callers reaches
 * them.
 *
 * @module
 */

import { assertWholeLines } from "../support/adversary/arena.ts";
import { Front, type ServerRow } from "../support/adversary/front.ts";
import { dns, ip, type Issued } from "../support/pki.ts";
import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { PeerServer } from "../support/sockets.ts";
import {
  forgedRows,
  NAME,
  server,
  serverChainRows,
  serverNameRows,
  serves,
} from "./adversary/servers.ts";
import { serverKeyRows, serverProtocolRows } from "./adversary/server_protocol.ts";
import { mapped } from "./adversary/sans.ts";

type Group = {
  readonly options: DaemonOptions;
  readonly rows: (ca: Issued) => readonly ServerRow[];
  readonly good?: (ca: Issued) => Issued;
};

const ADDRESS = "192.0.2.7";

const GROUPS: Readonly<Record<string, Group>> = {
  "forged": { options: {}, rows: forgedRows },
  "by name": { options: {}, rows: serverNameRows },
  "by chain and key": {
    options: {},
    rows: (ca) => [...serverChainRows(ca), ...serverKeyRows(ca)],
  },
  "by protocol": { options: {}, rows: serverProtocolRows },
  "by address": {
    options: { tls: { server_name: ADDRESS } },
    good: (ca) => server({ san: [ip(ADDRESS)] }, ca),
    rows: (ca) =>
      Object.entries({
        "as DNS name": { san: [dns(ADDRESS)] },
        "as CN": { subject: ADDRESS, san: [] },
        "another one": { san: [ip("192.0.2.8")] },
        "mapped into IPv6": { san: [ip(mapped(192, 0, 2, 7))] },
      }).map(([name, options]) => ({
        name,
        server: serves(server(options, ca)),
        refused: {
          handshake: "name_mismatch",
          error: /does not carry the name 192\.0\.2\.7; it carries /,
        },
        control: serves(server({ san: [ip(ADDRESS), dns(ADDRESS)] }, ca)),
      })),
  },
  "by rules": {
    options: { acl: { allow_cn: [NAME], deny_ou: ["retired"], deny_dns: ["*.old.example"] } },
    rows: (ca) => {
      const control = serves(server({ subject: { CN: NAME, OU: "database" } }, ca));
      const row = (name: string, options: Parameters<typeof server>[0], denied: RegExp) => ({
        name,
        server: serves(server(options, ca)),
        refused: { denied },
        control,
      });
      return [
        row("nobody's CN", { subject: "other" }, /^no allow rule matches$/),
        row("a NUL behind the CN", { subject: `${NAME}\0` }, /^no allow rule matches$/),
        row("a denied OU", { subject: { CN: NAME, OU: "retired" } }, /^acl\.deny_ou: retired$/),
        row(
          "a denied name beside the right one",
          { san: [dns(NAME), dns("A.old.example.")] },
          /^acl\.deny_dns: \*\.old\.example$/,
        ),
      ];
    },
  },
};

for (
  const [group, { options, rows, good = (ca: Issued) => server({}, ca) }] of Object.entries(GROUPS)
) {
  Deno.test(`hostile servers, ${group}`, async (t) => {
    await using testBed = await TestBed.create();
    const { ca } = testBed.pki;
    const target = testBed.use(await PeerServer.listen());
    const tls = { server_name: NAME, ...options.tls };
    const daemon = await testBed.client(target.address, { ...options, tls });
    const front = new Front(daemon, target, serves(good(ca)));
    for (const row of rows(ca)) await t.step(row.name, () => front.play(row));
    assertWholeLines(daemon);
  });
}
