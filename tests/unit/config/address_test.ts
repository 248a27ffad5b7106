import assert from "node:assert/strict";
import {
  type AddressRole,
  formatAddress,
  isEveryInterface,
  isLoopback,
  overlaps,
  parseAddress,
  parseServerName,
} from "../../../src/config/address.ts";
import type { Address } from "../../../src/config/config.ts";

/** A TCP address. */
function tcp(host: string, port: number): Address {
  return { kind: "tcp", host, port };
}

function address(text: string, role: AddressRole = "listen"): Address {
  const result = parseAddress(text, role);
  assert.ok(result.ok, text);
  return result.value;
}

Deno.test({ name: "address: what is accepted, and written back", permissions: "none" }, () => {
  const cases: [string, string, number][] = [
    [":8443", "", 8443],
    [":0", "", 0],
    ["127.0.0.1:65535", "127.0.0.1", 65535],
    ["[::1]:1", "::1", 1],
    ["[::]:80", "::", 80],
    ["[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80],
    ["localhost:80", "localhost", 80],
    ["db_1.example.com.:5432", "db_1.example.com.", 5432],
    ["xn--bcher-kva.example:1", "xn--bcher-kva.example", 1],
    ["1.example:1", "1.example", 1],
    [`${"a".repeat(63)}:1`, "a".repeat(63), 1],
    // 253 characters without the final dot: the longest name there is.
    [`${"a.".repeat(127)}:1`, "a.".repeat(127), 1],
  ];
  for (const [text, host, port] of cases) {
    assert.deepEqual(address(text), tcp(host, port), text);
    assert.equal(formatAddress({ host, port }), text);
  }
});

Deno.test({ name: "address: a target has a host and a port", permissions: "none" }, () => {
  assert.deepEqual(address("a:1", "target"), tcp("a", 1));
  const cases: [string, RegExp][] = [
    [":1", /needs a host/],
    ["a:0", /must be 1 to 65535/],
    ["8080", /write "127\.0\.0\.1:8080"/],
    ["0.0.0.0:80", /one host/],
    ["[::]:80", /one host/],
    ["[::ffff:0.0.0.0]:80", /one host/],
  ];
  for (const [text, reason] of cases) {
    const result = parseAddress(text, "target");
    assert.ok(!result.ok, text);
    assert.match(result.reason, reason, text);
  }
});

Deno.test({ name: "address: UNIX sockets, on either side", permissions: "none" }, () => {
  const longest = `/${"a".repeat(106)}`;
  for (const path of ["/x.sock", "/run/app/a b.sock", "/\u00e9.sock", longest]) {
    for (const role of ["listen", "target"] as const) {
      assert.deepEqual(address(`unix:${path}`, role), { kind: "unix", path });
    }
    assert.equal(formatAddress({ kind: "unix", path }), `unix:${path}`);
  }
  assert.equal(overlaps(address("unix:/a"), address("unix:/a")), true);
  assert.equal(overlaps(address("unix:/a"), address("unix:/b")), false);
  assert.equal(overlaps(address("unix:/a"), address(":80")), false);
});

Deno.test({ name: "address: refusals say how to mend it", permissions: "none" }, () => {
  const cases: [string, RegExp][] = [
    ["", /must be host:port/],
    ["8443", /write ":8443"/],
    ["localhost", /port is missing/],
    ["localhost:", /port is missing/],
    ["[::1]:", /port is missing/],
    ["[::1]", /in brackets and a port/],
    ["[::1]8443", /in brackets and a port/],
    ["[::1:8443", /in brackets and a port/],
    ["[127.0.0.1]:1", /must be an IPv6 address/],
    ["[]:1", /must be an IPv6 address/],
    ["[::g]:1", /must be an IPv6 address/],
    ["[fe80::1%eth0]:1", /zones are not supported/],
    ["::1:8443", /goes in brackets/],
    ["2001:db8::1", /goes in brackets/],
    ["a:b:1", /goes in brackets/],
    ["*:1", /every interface/],
    ["*.example.com:1", /without wildcards/],
    ["unix:", /must be absolute/],
    ["unix:x.sock", /must be absolute/],
    ["unix:./x.sock", /must be absolute/],
    ["unix:~/x.sock", /must be absolute/],
    ["unix:@x", /abstract sockets/],
    ["unix:///x.sock", /follows the colon at once/],
    ["unix:/run/", /not of a directory/],
    ["unix:/", /not of a directory/],
    ["unix:/a\u0000b", /control characters/],
    ["unix:/a\nb", /control characters/],
    [`unix:/${"a".repeat(107)}`, /at most 107 bytes/],
    [`unix:/${"\u00e9".repeat(54)}`, /at most 107 bytes/],
    ["tcp://a:1", /without a scheme/],
    ["a :1", /no spaces/],
    ["a:1\n", /no spaces or line ends/],
    ["a:65536", /0 to 65535/],
    ["a:99999999999999999999", /0 to 65535/],
    ["a:-1", /decimal number/],
    ["a:+1", /decimal number/],
    ["a:0x50", /decimal number/],
    ["a:\u0661", /decimal number/],
    ["a:080", /start with a zero/],
    ["a:00", /start with a zero/],
    ["256.0.0.1:1", /IPv4/],
    ["127.1:1", /IPv4/],
    ["127.0.0.01:1", /IPv4/],
    ["2130706433:1", /IPv4/],
    [".:1", /empty parts/],
    ["a..b:1", /empty parts/],
    [".a:1", /empty parts/],
    ["a..:1", /empty parts/],
    ["-a:1", /inner hyphens/],
    ["a-:1", /inner hyphens/],
    ["a%b:1", /inner hyphens/],
    ["\u0000:1", /inner hyphens/],
    [`${"a".repeat(64)}:1`, /at most 63/],
    [`${"a.".repeat(128)}a:1`, /at most 253/],
    ["b\u00fccher:1", /xn--/],
    ["a\u202e:1", /xn--/],
  ];
  for (const [text, reason] of cases) {
    const result = parseAddress(text, "listen");
    assert.ok(!result.ok, text);
    assert.match(result.reason, reason, text);
  }
});

Deno.test({ name: "address: loopback", permissions: "none" }, () => {
  for (
    const host of [
      "127.0.0.1",
      "127.255.0.9",
      "::1",
      "0:0:0:0:0:0:0:1",
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "localhost",
      "LOCALHOST.",
    ]
  ) assert.equal(isLoopback(host), true, host);
  for (
    const host of [
      "",
      "0.0.0.0",
      "::",
      "128.0.0.1",
      "::2",
      "1::1",
      "localhost.example",
      "::127.0.0.1",
    ]
  ) assert.equal(isLoopback(host), false, host);
});

Deno.test({ name: "address: every interface", permissions: "none" }, () => {
  for (const host of ["", "0.0.0.0", "::", "0::0", "0:0:0:0:0:0:0:0"]) {
    assert.equal(isEveryInterface(host), true, host);
  }
  for (const host of ["127.0.0.1", "::1", "a"]) assert.equal(isEveryInterface(host), false, host);
});

Deno.test(
  { name: "address: which ones cannot be listened on at once", permissions: "none" },
  () => {
    const yes: [string, string][] = [
      [":80", ":80"],
      [":80", "127.0.0.1:80"],
      [":80", "[::1]:80"],
      [":80", "[::]:80"],
      [":80", "a:80"],
      ["[::]:80", "0.0.0.0:80"],
      ["[::]:80", "127.0.0.1:80"],
      ["0.0.0.0:80", "10.0.0.1:80"],
      ["0.0.0.0:80", "a:80"],
      ["127.0.0.1:80", "127.0.0.1:80"],
      ["127.0.0.1:80", "[::ffff:127.0.0.1]:80"],
      ["[::1]:80", "[0:0:0:0:0:0:0:1]:80"],
      ["localhost:80", "127.0.0.1:80"],
      ["localhost:80", "[::1]:80"],
      ["A.example:80", "a.EXAMPLE.:80"],
      ["unix:/run/a.sock", "unix:/run//a.sock"],
      ["unix:/run/a.sock", "unix:/run/./b/../a.sock"],
      ["unix:/a.sock", "unix:/../a.sock"],
    ];
    const no: [string, string][] = [
      [":0", ":0"],
      [":80", ":81"],
      ["0.0.0.0:80", "[::1]:80"],
      ["127.0.0.1:80", "127.0.0.2:80"],
      ["127.0.0.1:80", "[::1]:80"],
      ["localhost:80", "127.0.0.2:80"],
      ["a:80", "b:80"],
      ["unix:/run/a.sock", "unix:/run/A.sock"],
      ["unix:/run/a.sock", "unix:/run/b/a.sock"],
      ["unix:/run/a.sock", "unix:/run/.../a.sock"],
    ];
    for (const [list, expected] of [[yes, true], [no, false]] as const) {
      for (const [a, b] of list) {
        assert.equal(overlaps(address(a), address(b)), expected, `${a} ${b}`);
        assert.equal(overlaps(address(b), address(a)), expected, `${b} ${a}`);
      }
    }
  },
);

Deno.test({ name: "address: names of servers", permissions: "none" }, () => {
  for (
    const name of ["db", "db.example.com", "10.0.0.1", "::1", "2001:db8::1", "a-b.c", "DB.Example"]
  ) {
    assert.deepEqual(parseServerName(name), { ok: true, value: name });
  }
  const cases: [string, RegExp][] = [
    ["", /must be a DNS name or an IP address/],
    ["a b", /nothing else/],
    ["https://a", /nothing else/],
    ["[::1]", /without brackets/],
    ["fe80::1%eth0", /zones/],
    ["db:8443", /without a port/],
    ["10.0.0.1:8443", /without a port/],
    ["db.", /final dot/],
    ["*.db", /wildcards/],
    ["my_db", /underscores/],
    ["d\u00e4tenbank", /xn--/],
    ["10.0.0.256", /IPv4/],
    ["db..example", /empty parts/],
  ];
  for (const [text, reason] of cases) {
    const result = parseServerName(text);
    assert.ok(!result.ok, text);
    assert.match(result.reason, reason, text);
  }
});
