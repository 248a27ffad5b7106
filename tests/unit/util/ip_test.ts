import assert from "node:assert/strict";
import { dnsNameFault, parseIp, unmapIp } from "../../../src/util/ip.ts";

function hex(text: string): string | undefined {
  return parseIp(text)?.toHex();
}

Deno.test({ name: "ip: literals to bytes", permissions: "none" }, () => {
  const cases: [string, string][] = [
    ["0.0.0.0", "00000000"],
    ["255.1.20.3", "ff011403"],
    ["::", "0".repeat(32)],
    ["::1", "0".repeat(31) + "1"],
    ["1::", "0001" + "0".repeat(28)],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
    ["::2:3:4:5:6:7:8", "00000002000300040005000600070008"],
    ["2001:DB8::f:0:1", "20010db8000000000000000f00000001"],
    ["::ffff:1.2.3.4", "00000000000000000000ffff01020304"],
    ["1:2:3:4:5:6:1.2.3.4", "00010002000300040005000601020304"],
    ["64:ff9b::1.2.3.4", "0064ff9b000000000000000001020304"],
  ];
  for (const [text, bytes] of cases) assert.equal(hex(text), bytes, text);
});

Deno.test({ name: "ip: what is none", permissions: "none" }, () => {
  const cases = [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.04",
    "1.2.3.4 ",
    "0x7f.0.0.1",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "12345::",
    "::g",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3",
    "::1.2.3.256",
    "[::1]",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:1.2.3.4",
  ];
  for (const text of cases) assert.equal(parseIp(text), undefined, text);
});

Deno.test({ name: "ip: IPv4-mapped addresses are IPv4", permissions: "none" }, () => {
  const unmapped = (text: string) => unmapIp(parseIp(text) ?? new Uint8Array()).toHex();
  assert.equal(unmapped("::ffff:1.2.3.4"), "01020304");
  assert.equal(unmapped("1.2.3.4"), "01020304");
  assert.equal(unmapped("::fffe:1.2.3.4").length, 32);
  assert.equal(unmapped("::ff:ff01:203").length, 32);
  assert.equal(unmapped("1::ffff:1.2.3.4").length, 32);
});

Deno.test({ name: "ip: underscores only where they are allowed", permissions: "none" }, () => {
  assert.equal(dnsNameFault("a_b", { underscores: true }), undefined);
  assert.match(dnsNameFault("a_b", { underscores: false }) ?? "", /underscores/);
});
