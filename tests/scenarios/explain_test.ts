/**
 * `mtlsd explain` and the daemon cannot disagree: a table of peers, each shown to both.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import { explain } from "../../src/commands/explain.ts";
import { spkiSha256 } from "../../src/tls/signature.ts";
import { parseCertificate } from "../../src/x509/parse.ts";
import * as der from "../support/der.ts";
import type { LogLine, TestDaemon } from "../support/daemon.ts";
import { attempt, lineBackend } from "../support/peers.ts";
import {
  chainPem,
  dns,
  ip,
  type Issued,
  type LeafOptions,
  makeCa,
  makeLeaf,
  pathOf,
  uri,
} from "../support/pki.ts";
import { TestBed } from "../support/testbed.ts";
import { until } from "../support/wait.ts";

const HOUR = 3_600_000;
const hoursFromNow = (hours: number): Date => new Date(Date.now() + hours * HOUR);

/** What either of them said. */
type Outcome = {
  readonly in: boolean;
  /** The rule that decided, or why there is no chain. */
  readonly by: string;
  readonly nearest: string | undefined;
};

const OUTCOMES = ["accepted connection", "connected", "denied connection", "handshake failed"];

/** What the daemon makes of the peer that shows up now. */
async function ofDaemon(daemon: TestDaemon, showUp: () => Promise<unknown>): Promise<Outcome> {
  const from = daemon.lines.length;
  await showUp();
  const { fields } = await until<LogLine | undefined>(
    () =>
      daemon.lines.slice(from).find(({ fields }) =>
        OUTCOMES.some((outcome) => fields.msg?.endsWith(`: ${outcome}`))
      ),
    { what: () => `an outcome in\n${daemon.log}` },
  );
  if (fields.msg?.endsWith("handshake failed")) {
    return { in: false, by: fields.reason ?? "", nearest: undefined };
  }
  const admitted = !fields.msg?.endsWith("denied connection");
  return { in: admitted, by: fields.rule ?? "", nearest: nearestRule(fields.nearest) };
}

/** Its first words, which both have: the rule. */
function nearestRule(text: string | undefined): string | undefined {
  return text && /^(acl\.\w+): /.exec(text)?.[1];
}

/** What `explain` says of the same. */
async function ofExplain(
  daemon: TestDaemon,
  testBed: TestBed,
  chain: string | undefined,
): Promise<Outcome> {
  const lines: string[] = [];
  const cert = chain === undefined ? undefined : await testBed.write("peer.pem", chain);
  const status = await explain({ config: daemon.configPath, cert }, {
    stdout: (line) => void lines.push(line),
    stderr: (line) => assert.fail(line),
  });
  const value = (name: string) =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  assert.equal(lines[0], status === 0 ? "verdict: allowed" : "verdict: denied");
  const by = value("decided by") ?? "";
  return {
    in: status === 0,
    by: by.startsWith("the chain;") ? value("chain")?.replace(/:.*/, "") ?? "" : by,
    nearest: nearestRule(value("nearest")),
  };
}

Deno.test("explain says of a client what the daemon does with it", async (t) => {
  await using testBed = await TestBed.create();
  const backend = testBed.use(lineBackend());
  const { ca } = testBed.pki;
  const client = (options: LeafOptions = {}): Issued =>
    makeLeaf({ role: "client", ...options }, ca);
  const named = (subject: LeafOptions["subject"], ...san: Uint8Array[]): Issued =>
    client(subject === undefined ? { san } : { subject, san });
  const pinned = named("pinned");
  const pin = `sha256:${spkiSha256(parseCertificate(pinned.der).publicKey)}`;
  const server = await testBed.server(backend.address, {
    tls: { client_auth: "optional" },
    acl: {
      allow_cn: ["web", "J\u00f6rg"],
      allow_org: ["acme"],
      allow_ou: ["dev"],
      allow_dns: ["*.example.com"],
      allow_ip: ["10.0.0.0/8"],
      allow_uri: ["spiffe://acme/ns/*/web"],
      allow_spki: [pin],
      deny_cn: ["evil"],
      deny_dns: ["bad.example.com"],
      deny_uri: ["spiffe://acme/ns/secret/**"],
    },
  });

  const between = makeCa({ subject: "between", issuer: ca });
  const under = makeLeaf({ role: "client", subject: "web" }, between);
  const noCa = makeLeaf({ role: "client", subject: "no CA" }, ca);
  const other = makeCa({ subject: "other CA" });
  const weak = makeCa({ subject: "weak", issuer: ca, kind: "rsa1024" });
  const underWeak = makeLeaf({ role: "client", subject: "web" }, weak);
  /** What is shown, and who is in by what. */
  const table: Record<string, readonly [Issued | readonly Issued[], boolean, RegExp]> = {
    "CN": [named("web"), true, /allow_cn: web/],
    "CN beyond ASCII": [named("J\u00f6rg"), true, /allow_cn: J\u00f6rg/],
    "organization": [named({ O: ["x", "acme"], CN: "x" }), true, /allow_org/],
    "organization, two CNs": [named({ O: "acme", CN: ["web", "x"] }), true, /allow_org/],
    "unit": [named({ OU: "dev" }), true, /allow_ou/],
    "DNS name": [named("x", dns("A.Example.com.")), true, /allow_dns/],
    "address": [named("x", ip("10.9.8.7")), true, /allow_ip/],
    "mapped address": [
      named("x", ip(Uint8Array.fromHex("00000000000000000000ffff0a010203"))),
      true,
      /allow_ip/,
    ],
    "URI": [named("x", uri("spiffe://acme/ns/a/web")), true, /allow_uri/],
    "key": [pinned, true, /allow_spki/],
    "with its intermediate": [pathOf(under), true, /allow_cn/],
    "CN in another case": [named("Web"), false, /no allow rule/],
    "CN with a NUL": [named("web\0.x"), false, /no allow rule/],
    "two CNs": [named({ CN: ["web", "x"] }), false, /no allow rule/],
    "TeletexString": [named({ CN: der.teletex("web") }), false, /no allow rule/],
    "another form of the letter": [named("Jo\u0308rg"), false, /no allow rule/],
    "wildcard": [named("x", dns("*.example.com")), false, /deny_dns: bad/],
    "wildcard above": [named("x", dns("*.com")), false, /no allow rule/],
    "URI with dots": [named("x", uri("spiffe://acme/ns/a/../b/web")), false, /no allow rule/],
    "URI in upper case": [named("x", uri("SPIFFE://acme/ns/a/web")), false, /no allow rule/],
    "nobody": [named("somebody"), false, /no allow rule/],
    "no subject": [named(der.seq(), dns("x.test")), false, /no allow rule/],
    "denied CN": [named({ O: "acme", CN: "evil" }), false, /deny_cn: evil/],
    "denied CN behind a NUL": [named({ O: "acme", CN: "evil\0" }), false, /deny_cn: evil/],
    "denied second CN": [named({ O: "acme", CN: ["web", "evil"] }), false, /deny_cn: evil/],
    "denied DNS name": [named("web", dns("BAD.example.com")), false, /deny_dns/],
    "denied URI in disguise": [
      named("web", uri("spiffe://acme/ns/x/%2e%2e/secret")),
      false,
      /deny_uri/,
    ],
    "another CA": [makeLeaf({ role: "client", subject: "web" }, other), false, /^untrusted$/],
    "without its intermediate": [under, false, /^untrusted$/],
    "signed by no CA": [
      [makeLeaf({ role: "client", subject: "web" }, noCa), noCa],
      false,
      /^(bad_certificate|untrusted)$/,
    ],
    "self-signed": [makeLeaf({ role: "client", subject: "web" }), false, /^untrusted$/],
    "expired": [
      client({ subject: "web", notBefore: hoursFromNow(-9), notAfter: hoursFromNow(-1) }),
      false,
      /^expired$/,
    ],
    "not yet valid": [
      client({ subject: "web", notBefore: hoursFromNow(1) }),
      false,
      /^not_yet_valid$/,
    ],
    "a server's": [makeLeaf({ role: "server", subject: "web" }, ca), false, /^bad_certificate$/],
    "SHA-1": [client({ subject: "web", signature: "ecdsa-sha1" }), false, /^bad_certificate$/],
    "under a CA with an RSA key of 1024 bits": [pathOf(underWeak), false, /^bad_certificate$/],
    "v1": [client({ subject: "web", version: 1, extensions: [] }), false, /^bad_certificate$/],
  };
  assert.ok(Object.keys(table).length >= 25);
  for (const [what, [shown, admitted, by]] of Object.entries(table)) {
    await t.step(what, async () => {
      const chain = [shown].flat() as readonly Issued[];
      const [identity] = chain;
      assert.ok(identity !== undefined);
      const cert = chainPem(...chain);
      const before = backend.connections;
      const daemon = await ofDaemon(
        server,
        () => attempt({ port: server.port, ca: ca.pem, identity, cert }),
      );
      const explained = await ofExplain(server, testBed, cert);
      assert.deepEqual(explained, daemon);
      assert.equal(daemon.in, admitted);
      assert.match(daemon.by, by);
      assert.equal(backend.connections - before, admitted ? 1 : 0);
    });
  }
  await t.step("no certificate", async () => {
    const daemon = await ofDaemon(server, () => attempt({ port: server.port, ca: ca.pem }));
    assert.deepEqual(await ofExplain(server, testBed, undefined), daemon);
    assert.match(daemon.by, /there are allow rules/);
  });
});

/** A server whose certificate can be changed; it answers nothing. */
class TlsTarget implements AsyncDisposable {
  readonly #tcp = net.createServer((socket) => {
    socket.on("error", () => {});
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    this.#tls?.emit("connection", socket);
  });
  readonly #sockets = new Set<net.Socket>();
  #tls: tls.Server | undefined;

  /** From now on it is this one. */
  become(chain: readonly Issued[]): void {
    const [own] = chain;
    assert.ok(own !== undefined);
    this.#tls = tls.createServer({ cert: chainPem(...chain), key: own.keyPem });
    this.#tls.on("tlsClientError", () => {});
    this.#tls.on("secureConnection", (socket) => socket.on("error", () => {}).end());
  }

  /** Listens on a free port of 127.0.0.1. */
  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#tcp.listen(0, "127.0.0.1", done));
    const address = this.#tcp.address();
    assert.ok(typeof address === "object" && address !== null);
    return `127.0.0.1:${address.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((done) => void this.#tcp.close(() => done()));
  }
}

Deno.test("explain says of a server what the daemon does with it", async (t) => {
  await using testBed = await TestBed.create();
  const target = testBed.use(new TlsTarget());
  const client = await testBed.client(await target.listen(), {
    acl: { allow_cn: ["localhost"], deny_org: ["evil"] },
  });
  const { ca } = testBed.pki;
  const named = (subject: LeafOptions["subject"], name = "localhost"): Issued =>
    makeLeaf({ role: "server", subject: subject ?? "x", san: [dns(name)] }, ca);
  const table: Record<string, readonly [Issued, boolean, RegExp]> = {
    "the server": [named("localhost"), true, /allow_cn: localhost/],
    "another CN": [named("Localhost"), false, /no allow rule/],
    "denied organization": [named({ O: "evil", CN: "localhost" }), false, /deny_org/],
    "another name": [named("localhost", "other.test"), false, /^name_mismatch$/],
    "another CA": [
      makeLeaf({ role: "server", subject: "localhost", san: [dns("localhost")] }, makeCa()),
      false,
      /^untrusted$/,
    ],
    "a client's": [
      makeLeaf({ role: "client", subject: "localhost", san: [dns("localhost")] }, ca),
      false,
      /^bad_certificate$/,
    ],
  };
  for (const [what, [shown, admitted, by]] of Object.entries(table)) {
    await t.step(what, async () => {
      target.become([shown]);
      const daemon = await ofDaemon(client, async () => {
        using conn = await Deno.connect({ port: client.port });
        await conn.closeWrite().catch(() => {});
        await new Response(conn.readable).text().catch(() => "");
      });
      const explained = await ofExplain(client, testBed, shown.pem);
      assert.equal(daemon.in, admitted);
      assert.match(explained.by, by);
      // The TLS engine verifies servers before we do, and has one word for much that is wrong.
      if (daemon.by === "untrusted") assert.equal(explained.in, false);
      else assert.deepEqual(explained, daemon);
    });
  }
});
