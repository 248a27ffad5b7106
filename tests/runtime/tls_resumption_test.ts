/**
 * A session ticket proves that a peer was admitted once. Whether it is admitted now is decided anew.
 *
 * @module
 */

import { NO_REVOCATION } from "../../src/x509/revocation.ts";
import assert from "node:assert/strict";
import tls from "node:tls";
import { TlsServer } from "../../src/tls/server.ts";
import { PeerVerifier } from "../../src/tls/peer_verifier.ts";
import { type Issued, makeCa, makeLeaf } from "../support/pki.ts";
import {
  admit,
  credentials,
  DEFENCE_NO_LONGER_NEEDED,
  limits,
  pki,
  refused,
  VERSIONS,
} from "../support/tls/ends.ts";
import { until } from "../support/wait.ts";
import { type Accepted, greet } from "../support/tls/listen.ts";
import { plainServer } from "../support/plain_tls.ts";
import { filesIn, peerFiles, sClient } from "../support/openssl.ts";
import {
  NATIVE_OVER_SOCKETS,
  PUBLIC,
  testEachBackend,
  type TlsBackend,
} from "../support/tls/backends.ts";

const FLAG = { "TLS1.2": "-tls1_2", "TLS1.3": "-tls1_3" } as const;

/** A client that keeps its session in a file. */
async function keeper(own: Issued | undefined, flag: string): Promise<
  {
    /** Connects, with a full handshake and keeping the ticket, or resuming. */
    readonly connect: (port: number, how: "full" | "resume") => Promise<string>;
    /** Whether it has been given a ticket. */
    readonly hasTicket: () => Promise<boolean>;
  } & AsyncDisposable
> {
  const files = await filesIn(peerFiles(own ?? pki().client, [pki().ca]));
  const ticket = files.path("ticket");
  const shown = own === undefined
    ? []
    : ["-cert", files.path("cert.pem"), "-key", files.path("key.pem")];
  return {
    async connect(port, how) {
      await using peer = sClient(
        port,
        ...[flag, "-CAfile", files.path("ca.pem"), ...shown],
        ...(how === "full" ? ["-sess_out", ticket] : ["-sess_in", ticket]),
      );
      await peer.ends();
      return peer.said;
    },
    async hasTicket() {
      try {
        return (await Deno.stat(ticket)).size > 0;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return false;
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
  };
}

/** A test for the public way and for the runtime's own. */
const eachOverSockets = (name: string, body: (way: TlsBackend) => Promise<void>): void =>
  testEachBackend(name, body, [PUBLIC, NATIVE_OVER_SOCKETS]);

function letIn(result: Accepted, resumed: boolean): void {
  assert(!(result instanceof Error), String(result));
  assert.equal(result.resumed, resumed);
}

for (const [version] of VERSIONS) {
  const flag = FLAG[version];

  Deno.test(`control: plain node:tls resumes what the new trust does not admit, ${version}`, async () => {
    const own = credentials(pki().server, [pki().ca]);
    const trust = (ca: Issued): tls.TlsOptions => ({
      cert: own.certPem,
      key: own.keyPem,
      ca: ca.pem,
      requestCert: true,
      rejectUnauthorized: true,
    });
    await using plain = await plainServer(trust(pki().ca), (socket) => socket.end("welcome\n"));
    await using peer = await keeper(pki().client, flag);
    assert.match(await peer.connect(plain.port, "full"), /welcome/);
    plain.server.setSecureContext(trust(makeCa({ subject: "new CA" })));
    assert.doesNotMatch(await peer.connect(plain.port, "full"), /welcome/);
    // The refused handshake has overwritten the ticket; so much the better for the attacker.
    assert.match(await peer.connect(plain.port, "resume"), /welcome/, DEFENCE_NO_LONGER_NEEDED);
  });

  eachOverSockets(
    `a resumed session is judged by the trust of now, ${version}`,
    async ({ listen, server }) => {
      const other = makeCa({ subject: "new CA" });
      let current: TlsServer = server();
      await using listening = listen(() => current);
      await using peer = await keeper(pki().client, flag);
      await peer.connect(listening.port, "full");
      letIn(await listening.next(), false);

      assert.match(await peer.connect(listening.port, "resume"), /welcome/);
      letIn(await listening.next(), true);

      current = server(); // The same trust, another state: a reload that changed nothing of it.
      assert.match(await peer.connect(listening.port, "resume"), /welcome/);
      letIn(await listening.next(), true);

      current = server({ bundle: [other] });
      assert.doesNotMatch(await peer.connect(listening.port, "resume"), /welcome/);
      const error = await refused(Promise.reject(await listening.next()), "untrusted");
      assert.match(error.message, /bundle/);
    },
  );

  eachOverSockets(
    `the verdict may move on under a running server, ${version}`,
    async ({ listen, server }) => {
      const verifierOf = (ca: Issued): PeerVerifier =>
        new PeerVerifier({
          revocation: NO_REVOCATION,
          anchors: credentials(ca, [ca]).anchors,
          purpose: "client",
          now: Date.now,
        });
      let verifier = verifierOf(pki().ca);
      const judging = server({ verify: (chain) => verifier.verifyNow(chain) });
      await using listening = listen(() => judging);
      await using peer = await keeper(pki().client, flag);
      await peer.connect(listening.port, "full");
      letIn(await listening.next(), false);
      verifier = verifierOf(makeCa());
      await peer.connect(listening.port, "resume");
      await refused(Promise.reject(await listening.next()), "untrusted");
    },
  );

  eachOverSockets(
    `a ticket got without a certificate is worth none where one is required, ${version}`,
    async ({ listen, server }) => {
      for (const clientAuth of ["none", "optional"] as const) {
        let current: TlsServer = server({ clientAuth });
        await using listening = listen(() => current);
        await using peer = await keeper(undefined, flag);
        assert.match(await peer.connect(listening.port, "full"), /welcome/);
        letIn(await listening.next(), false);
        current = server({ clientAuth: "required" });
        assert.doesNotMatch(await peer.connect(listening.port, "resume"), /welcome/);
        await refused(Promise.reject(await listening.next()), "no_certificate");
      }
    },
  );

  Deno.test(`control: plain node:tls takes such a ticket for a certificate, ${version}`, async () => {
    const own = credentials(pki().server, [pki().ca]);
    const options = { cert: own.certPem, key: own.keyPem, ca: own.caPem ?? [] };
    await using open = await plainServer(options, (socket) => socket.end("welcome\n"));
    await using closed = await plainServer(
      { ...options, requestCert: true, rejectUnauthorized: true },
      (socket) => socket.end("let in\n"),
    );
    await using peer = await keeper(undefined, flag);
    assert.match(await peer.connect(open.port, "full"), /welcome/);
    assert.match(await peer.connect(closed.port, "resume"), /let in/, DEFENCE_NO_LONGER_NEEDED);
  });

  eachOverSockets(`who is refused gets no ticket, ${version}`, async ({ listen, server }) => {
    const foreign = makeLeaf({ role: "client" }, makeCa({ subject: "foreign CA" }));
    const servers = {
      "by its chain": [server(), foreign],
      "where it is optional": [server({ clientAuth: "optional" }), foreign],
      "at once": [
        server({ verify: () => ({ ok: false, reason: "revoked", detail: "no" }) }),
        pki().client,
      ],
      "a while later": [
        server({
          verify: async () => {
            await new Promise((done) => setTimeout(done, 20));
            return { ok: false, reason: "revoked", detail: "no" };
          },
        }),
        pki().client,
      ],
    } as const;
    for (const [how, [refusing, own]] of Object.entries(servers)) {
      await using listening = listen(() => refusing);
      await using peer = await keeper(own, flag);
      await peer.connect(listening.port, "full");
      await refused(Promise.reject(await listening.next()), ["untrusted", "revoked"]);
      assert.equal(await peer.hasTicket(), false, how);
    }
  });

  eachOverSockets(
    `the decision is made anew for a resumed session, ${version}`,
    async ({ listen, server }) => {
      const asked: boolean[] = [];
      let admitting = true;
      const judging = server();
      await using listening = listen(() => judging, greet, (verified) => {
        asked.push(verified !== undefined);
        return { ...admit(verified), admit: admitting };
      });
      await using peer = await keeper(pki().client, flag);
      assert.match(await peer.connect(listening.port, "full"), /welcome/);
      letIn(await listening.next(), false);
      admitting = false;
      assert.doesNotMatch(await peer.connect(listening.port, "resume"), /welcome/);
      const denied = await listening.next();
      letIn(denied, true);
      assert(!(denied instanceof Error));
      assert.equal(denied.conn, undefined);
      assert.deepEqual(asked, [true, true]);
    },
  );

  eachOverSockets(
    `a resumed session is refused once its certificate has expired, ${version}`,
    async ({ listen, server }) => {
      let now = Date.now();
      const judging = server({ now: () => now });
      await using listening = listen(() => judging);
      await using peer = await keeper(pki().client, flag);
      await peer.connect(listening.port, "full");
      letIn(await listening.next(), false);
      now += 29 * 86_400_000;
      assert.match(await peer.connect(listening.port, "resume"), /welcome/);
      letIn(await listening.next(), true);
      now += 2 * 86_400_000;
      assert.doesNotMatch(await peer.connect(listening.port, "resume"), /welcome/);
      await refused(Promise.reject(await listening.next()), "expired");
    },
  );
}

Deno.test("control: plain node:tls resumes a session whose certificate has expired", async () => {
  const own = credentials(pki().server, [pki().ca]);
  const notAfter = new Date(Date.now() + 6000);
  const brief = makeLeaf({ role: "client", notAfter }, pki().ca);
  await using plain = await plainServer({
    cert: own.certPem,
    key: own.keyPem,
    ca: own.caPem ?? [],
    requestCert: true,
    rejectUnauthorized: true,
  }, (socket) => socket.end("welcome\n"));
  await using peer = await keeper(brief, "-tls1_3");
  assert.match(await peer.connect(plain.port, "full"), /welcome/);
  await until(() => Date.now() > notAfter.getTime() + 1100, "the certificate has expired");
  assert.match(await peer.connect(plain.port, "resume"), /welcome/, DEFENCE_NO_LONGER_NEEDED);
});

eachOverSockets(
  "our client judges the server on every connection",
  async ({ client, connected, server, tcpPair }) => {
    const verifier = new PeerVerifier({
      revocation: NO_REVOCATION,
      anchors: credentials(pki().ca, [pki().ca]).anchors,
      purpose: "server",
      serverName: "localhost",
      now: Date.now,
    });
    let calls = 0;
    let trusting = true;
    const dialler = client({
      verify: (chain) => {
        calls++;
        return trusting
          ? verifier.verifyNow(chain)
          : { ok: false, reason: "untrusted", detail: "the trust has moved on" };
      },
    });
    const accepting = server();
    for (let i = 1; i <= 3; i++) {
      const ends = await connected({ pair: await tcpPair(), client: dialler, server: accepting });
      const served = greet(ends.server);
      assert((await ends.client.read())?.length);
      await served;
      ends.client.close();
      ends.server.close();
      assert.equal(calls, i);
    }
    trusting = false;
    const [clientEnd, serverEnd] = await tcpPair();
    const [refusal] = await Promise.all([
      refused(dialler.connect(clientEnd, admit, limits()), "untrusted"),
      refused(accepting.accept(serverEnd, admit, limits()), "reset"),
    ]);
    assert.equal(refusal.message, "the trust has moved on");
  },
);
