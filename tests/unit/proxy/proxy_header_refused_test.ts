import assert from "node:assert/strict";
import { acceptHeader, type HeaderRefusal } from "../../../src/proxy/proxy_header.ts";
import { binary } from "../../support/proxy_protocol.ts";
import { tcpPair } from "../../support/tls/tcp_backends.ts";
import { assertRefused, CLIENT, LINE, networks, settings, taken } from "./proxy_header_support.ts";
import { FakeChannel } from "./fake_conn.ts";

/** Sources, and the networks that do not have them. */
const UNLISTED: readonly (readonly [remote: string, rules: readonly string[]])[] = [
  ["192.0.2.7:1234", []],
  ["192.0.2.7:1234", ["192.0.2.8", "192.0.3.0/24", "::/0"]],
  ["192.0.2.7:1234", ["::c000:207"]],
  ["[::1]:1234", ["0.0.0.0/0", "::2/128"]],
  ["", ["0.0.0.0/0", "::/0"]],
  ["unix:/run/x.sock", ["0.0.0.0/0", "::/0"]],
  ["localhost:1234", ["0.0.0.0/0", "::/0"]],
];

/** A fake with another remote. */
class From extends FakeChannel {
  constructor(remote: string) {
    super();
    Object.defineProperty(this, "remote", { value: remote });
  }
}

for (const [remote, rules] of UNLISTED) {
  Deno.test(`unlisted: "${remote}" with [${rules}] is closed unread`, async () => {
    const inner = new From(remote);
    inner.push(LINE);
    const result = await acceptHeader(inner, settings({ trusted: networks(...rules) }));
    assertRefused(inner, result, "unlisted", /is in no network of accept_proxy_protocol$/);
    assert.equal(inner.reads, 0);
  });
}

for (
  const [remote, rule] of [
    ["192.0.2.7:1", "192.0.2.7"],
    ["192.0.2.7:1", "::ffff:192.0.2.0/120"],
    ["[::ffff:192.0.2.7]:1", "192.0.2.0/24"],
    ["[fe80::1%eth0]:1", "fe80::/10"],
    ["[::1]:1", "::1"],
  ] as const
) {
  Deno.test(`listed: "${remote}" is in ${rule}`, async () => {
    const inner = new From(remote);
    inner.push(LINE);
    const listed = settings({ trusted: networks("10.0.0.0/8", rule) });
    assert.equal(taken(await acceptHeader(inner, listed)).conn.remote, CLIENT);
  });
}

/** What is no header. */
const NO_HEADERS: readonly (readonly [sent: string, HeaderRefusal, RegExp])[] = [
  ["\x16\x03\x01\x02\x00\x01\x00", "missing", /begins with something else$/],
  ["G", "missing", /begins with something else$/],
  ["PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "malformed", /"65536" is not a port$/],
  [`PROXY ${"x".repeat(100_000)}`, "malformed", /does not end within 107 bytes$/],
  [
    `${String.fromCharCode(...binary("20 00").subarray(0, 14))}\x7f\xff`,
    "malformed",
    /4096 is the/,
  ],
];

for (const [sent, reason, message] of NO_HEADERS) {
  Deno.test(`${reason}: ${JSON.stringify(sent).slice(0, 60)}`, async () => {
    const inner = new FakeChannel();
    inner.push(sent);
    assertRefused(inner, await acceptHeader(inner, settings()), reason, message);
    assert.equal(inner.reads, 1);
  });
}

Deno.test("ended: before the header was complete", async () => {
  for (const sent of ["PROXY", LINE.slice(0, -1)]) {
    const inner = new FakeChannel();
    inner.push(sent);
    inner.end();
    const message = new RegExp(`ended after ${sent.length} bytes$`);
    assertRefused(inner, await acceptHeader(inner, settings()), "ended", message);
  }
});

Deno.test("silent: the connection ended, or was reset, before the first byte", async () => {
  for (const leave of ["end", "reset"] as const) {
    const inner = new FakeChannel();
    if (leave === "end") inner.end();
    else inner.breakRead("reset");
    assertRefused(inner, await acceptHeader(inner, settings()), "silent", /ended after 0|is reset/);
  }
});

Deno.test("broken: the connection was reset", async () => {
  const inner = new FakeChannel();
  inner.push("PROXY");
  inner.breakRead("reset");
  assertRefused(inner, await acceptHeader(inner, settings()), "broken", /it is reset$/);
});

Deno.test("a fault that is not the connection's is not hidden, and closes it", async () => {
  const inner = new FakeChannel();
  inner.breakRead(new TypeError("a fault of ours"));
  await assert.rejects(acceptHeader(inner, settings()), /a fault of ours/);
  assert.equal(inner.closed, true);
});

Deno.test("timeout: a sender that trickles gets no more time for it", async () => {
  const inner = new FakeChannel();
  const accepting = acceptHeader(inner, settings({ timeout: 50 }));
  for (const character of "PROXY TCP4") {
    inner.push(character);
    await inner.until(() => inner.pending === 1 || inner.closed);
  }
  assertRefused(inner, await accepting, "timeout", /it was not there within 50ms$/);
});

Deno.test("cut: while it waits, and before it began", async () => {
  const controller = new AbortController();
  const inner = new FakeChannel();
  const accepting = acceptHeader(inner, settings({ signal: controller.signal }));
  await inner.until(() => inner.pending === 1);
  controller.abort();
  assertRefused(inner, await accepting, "cut", /the connection was cut$/);

  const late = new FakeChannel();
  const result = await acceptHeader(late, settings({ signal: controller.signal }));
  assertRefused(late, result, "cut", /the connection was cut$/);
  assert.equal(late.reads, 0);
});

Deno.test("cut: in the same turn as the header comes", async () => {
  const controller = new AbortController();
  const inner = new FakeChannel();
  const accepting = acceptHeader(inner, settings({ signal: controller.signal }));
  await inner.until(() => inner.pending === 1);
  inner.push(LINE);
  controller.abort();
  assertRefused(inner, await accepting, "cut", /the connection was cut$/);
});

Deno.test("TCP: an unlisted source sees its connection closed", async () => {
  const [near, far] = await tcpPair();
  const result = await acceptHeader(far, settings({ trusted: networks("192.0.2.0/24") }));
  assert.equal(result.kind, "refused");
  assert.equal(await near.read(), null);
  near.close();
});
