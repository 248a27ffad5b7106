/**
 * The adversary's suite, resumption: a ticket is worth what its holder would be without it, now.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { counter, type Refused, VERSIONS } from "../support/adversary/arena.ts";
import type { Version } from "../support/adversary/hello.ts";
import { makeCrl } from "../support/crl.ts";
import type { TestDaemon } from "../support/daemon.ts";
import { type Backend, echoBackend } from "../support/peers.ts";
import { chainPem, type Issued, makeCa, makeLeaf, pathOf } from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";
import { type SessionRow, sessionRows, sessionWorld } from "./adversary/sessions.ts";
import { changeFile, changeRules } from "../support/reload.ts";
import { AssertionError } from "node:assert/strict";
import { join } from "node:path";
import { Process } from "../support/openssl.ts";
import { EARLY } from "../support/adversary/client.ts";

/** What came of one connection. */
type Attempt = {
  /** Whether what it said came back. */
  readonly echoed: boolean;
  /** Whether the session went on, as openssl understood it. */
  readonly reused: boolean;
  /** All that openssl said. */
  readonly said: string;
};

let count = 0;

/** A client with one session, none at first. */
class SessionKeeper {
  readonly #version: Version;
  readonly #args: readonly string[];
  readonly #ticket: string;

  private constructor(version: Version, args: readonly string[], ticket: string) {
    this.#version = version;
    this.#args = args;
    this.#ticket = ticket;
  }

  /** Writes its files; without an identity it shows none. */
  static async create(
    dir: string,
    version: Version,
    identity: Issued | undefined,
  ): Promise<SessionKeeper> {
    const base = join(dir, `session-${count++}`);
    if (identity === undefined) return new SessionKeeper(version, [], `${base}.ticket`);
    await Deno.writeTextFile(`${base}.pem`, chainPem(...pathOf(identity)));
    await Deno.writeTextFile(`${base}.key`, identity.keyPem);
    const args = ["-cert", `${base}.pem`, "-key", `${base}.key`, "-cert_chain", `${base}.pem`];
    return new SessionKeeper(version, args, `${base}.ticket`);
  }

  /** Connects with a handshake of its own, and keeps what ticket it is given. */
  first(port: number): Promise<Attempt> {
    return this.#connect(port, "-sess_out", this.#ticket);
  }

  /** Connects with the ticket. */
  again(port: number): Promise<Attempt> {
    return this.#connect(port, "-sess_in", this.#ticket);
  }

  /** Whether it was given a ticket. */
  async hasTicket(): Promise<boolean> {
    try {
      return (await Deno.stat(this.#ticket)).size > 0;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  async #connect(port: number, ...session: readonly string[]): Promise<Attempt> {
    const version = this.#version === "TLS1.2" ? "-tls1_2" : "-tls1_3";
    const where = ["-connect", `127.0.0.1:${port}`, "-servername", "localhost"];
    await using openssl = new Process(
      "openssl",
      ["s_client", ...where, version, ...this.#args, ...session],
    );
    let echoed = true;
    try {
      // It may be gone by now.
      await openssl.type(`${EARLY}\n`).catch(() => {});
      await openssl.says(new RegExp(EARLY));
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      echoed = false;
    }
    await openssl.endInput();
    await openssl.ends();
    return { echoed, reused: /Reused, TLSv1\.[23]/.test(openssl.said), said: openssl.said };
  }
}

const REFUSED = ["listener: handshake failed", "listener: denied connection"];

/** A ticket's holder comes again and must not get in; the log says why. */
async function refuses(
  daemon: TestDaemon,
  backend: Backend,
  keeper: SessionKeeper,
  refused: Refused,
  how: "ticket" | "ticket of another" | "full" = "ticket",
): Promise<void> {
  const resumed = how === "ticket";
  const from = daemon.lines.length;
  const { connections, received } = backend;
  const { echoed, reused, said } =
    await (how === "full" ? keeper.first(daemon.port) : keeper.again(daemon.port));
  assert.equal(echoed, false, said);
  // Under TLS 1.2 and 1.3 alike the client learns that its session is resumed before it is authorized.
  assert.equal(reused, resumed, said);
  const { fields, raw } = await until(
    () => daemon.lines.slice(from).find(({ fields }) => REFUSED.includes(fields.msg ?? "")),
    { what: () => `a refusal in ${daemon.log}` },
  );
  if ("denied" in refused) {
    assert.match(fields.rule ?? "", refused.denied, raw);
    assert.equal(fields.resumed, String(resumed), raw);
  } else {
    assert.equal(fields.reason, refused.handshake, raw);
    assert.match(fields.error ?? "", refused.error, raw);
  }
  const reason = "denied" in refused ? "denied" : fields.reason;
  if (reason !== "no_certificate") {
    await daemon.waitForLog("listener: connection closed", { reason: reason ?? "" }, from);
  }
  assert.equal(backend.connections, connections);
  assert.equal(backend.received, received);
}

/** A ticket's holder comes again and gets in. */
async function resumes(daemon: TestDaemon, keeper: SessionKeeper): Promise<void> {
  const from = daemon.lines.length;
  const { echoed, reused, said } = await keeper.again(daemon.port);
  assert.ok(echoed && reused, said);
  await daemon.waitForLog("listener: accepted connection", { resumed: "true" }, from);
}

type Played = SessionRow & {
  readonly version: Version;
  readonly keeper: SessionKeeper;
  readonly made: Issued;
};

Deno.test("sessions of those who have lost what let them in", async (t) => {
  await using testBed = await TestBed.create();
  const { ca } = testBed.pki;
  const world = sessionWorld(ca);
  const backend = testBed.use(echoBackend());
  await testBed.write("ca.pem", chainPem(ca, world.leaving, world.replaced));
  const crl = await testBed.write("crl.pem", makeCrl(ca).pem);
  const rules = { allow_org: ["acme"], allow_cn: ["unlisted later"] };
  const daemon = await testBed.server(backend.address, { tls: { crl }, acl: rules });

  const played: Played[] = [];
  const loyal: SessionKeeper[] = [];
  for (const version of VERSIONS) {
    loyal.push(await SessionKeeper.create(testBed.dir, version, testBed.pki.client));
    for (const row of sessionRows(world)) {
      const made = row.identity();
      const keeper = await SessionKeeper.create(testBed.dir, version, made);
      played.push({ ...row, version, keeper, made });
    }
  }
  // The brief ones first.
  const ordered = played.toReversed().toSorted((a, b) =>
    Number(b.change === "time") - Number(a.change === "time")
  );
  await Promise.all([...ordered.map(({ keeper }) => keeper), ...loyal].map(async (keeper) => {
    const { echoed, reused, said } = await keeper.first(daemon.port);
    assert.ok(echoed && !reused, said);
  }));
  for (const { change, version, keeper } of ordered) {
    await t.step(`control: resumed before ${change}, ${version}`, () => resumes(daemon, keeper));
  }

  const byChange = (wanted: string): Played[] => played.filter(({ change }) => change === wanted);
  const revoked = [
    ...byChange("an entry of the revocation list").map(({ made }) => made),
    world.inner,
  ];
  const changes: Readonly<Record<SessionRow["change"], () => Promise<void>>> = {
    "a deny rule": () => changeRules(daemon, { ...rules, deny_cn: ["denied later"] }),
    "an allow rule less": () => changeRules(daemon, { allow_org: ["acme"] }),
    "a CA less": () => changeFile(daemon, testBed.files.ca, chainPem(ca, world.replaced)),
    "another CA of its name": () =>
      changeFile(
        daemon,
        testBed.files.ca,
        chainPem(ca, makeCa({ subject: world.replaced.subject })),
      ),
    "an entry of the revocation list": () =>
      changeFile(daemon, crl, makeCrl(ca, { revoked: revoked.slice(0, -1), number: 2 }).pem),
    "an intermediate on the revocation list": () =>
      changeFile(daemon, crl, makeCrl(ca, { revoked, number: 3 }).pem),
    "time": async () => {
      const ends = byChange("time").map(({ made }) =>
        Date.parse(new X509Certificate(made.pem).validTo)
      );
      // The second that is written counts in full.
      await until(() => Date.now() > Math.max(...ends) + 1100);
    },
  };
  for (const [change, make] of Object.entries(changes)) {
    await make();
    for (const { version, keeper, refused } of byChange(change)) {
      await t.step(`after ${change}, ${version}`, async () => {
        await refuses(daemon, backend, keeper, refused);
        await refuses(daemon, backend, keeper, refused, "full");
      });
    }
    await t.step(`control: whoever is still trusted goes on after ${change}`, async () => {
      for (const keeper of loyal) await resumes(daemon, keeper);
    });
  }
});

Deno.test("tickets of those who were not let in, and of those who showed nothing", async (t) => {
  await using testBed = await TestBed.create();
  const { ca, client } = testBed.pki;
  const backend = testBed.use(echoBackend());
  const rules = { allow_cn: ["frontend-service"] };
  const daemon = await testBed.server(backend.address, { acl: rules });
  const nobody = await testBed.server(backend.address, { tls: { client_auth: "none" } });
  const anyone = await testBed.server(backend.address, {
    tls: { client_auth: "optional" },
    acl: { ...rules, allow_anonymous: true },
  });
  const untrusted: Readonly<Record<string, Issued>> = {
    "of another CA": makeLeaf({ role: "client", subject: "frontend-service" }, makeCa()),
    "that no rule names": makeLeaf({ role: "client", subject: "stranger" }, ca),
  };
  for (const version of VERSIONS) {
    for (const [who, identity] of Object.entries(untrusted)) {
      await t.step(`a client ${who} is given no ticket, ${version}`, async () => {
        const { connections } = backend;
        const keeper = await SessionKeeper.create(testBed.dir, version, identity);
        assert.equal((await keeper.first(daemon.port)).echoed, false);
        assert.equal(await keeper.hasTicket(), false);
        assert.equal(backend.connections, connections);
      });
    }
    await t.step(`control: a good one is given one, ${version}`, async () => {
      const keeper = await SessionKeeper.create(testBed.dir, version, client);
      assert.equal((await keeper.first(daemon.port)).echoed, true);
      assert.equal(await keeper.hasTicket(), true);
      await resumes(daemon, keeper);
    });
    await t.step(`a ticket from a tunnel that asks for nothing, ${version}`, async () => {
      const keeper = await SessionKeeper.create(testBed.dir, version, undefined);
      assert.equal((await keeper.first(nobody.port)).echoed, true);
      await resumes(nobody, keeper);
      const missing: Refused = { handshake: "no_certificate", error: /peer sent no certificate/ };
      await refuses(daemon, backend, keeper, missing, "ticket of another");
    });
    await t.step(`a nameless session, once everybody needs a name, ${version}`, async () => {
      await changeRules(anyone, { ...rules, allow_anonymous: true });
      const keeper = await SessionKeeper.create(testBed.dir, version, undefined);
      assert.equal((await keeper.first(anyone.port)).echoed, true);
      await resumes(anyone, keeper);
      await changeRules(anyone, rules);
      await refuses(anyone, backend, keeper, { denied: /^no certificate shown/ });
    });
  }
  assert.equal((await daemon.metrics()).get(counter.acl("denied")), VERSIONS.length);
});
