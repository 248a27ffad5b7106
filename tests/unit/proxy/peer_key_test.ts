import assert from "node:assert/strict";
import { addressKey, certificateKey } from "../../../src/proxy/peer_key.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import { dns, type IssueOptions, makeCa, makeLeaf, uri } from "../../support/pki.ts";

const permissions = { read: true } as const;
const ca = makeCa();

function key(options: IssueOptions & { san?: ReturnType<typeof dns>[] }, issuer = ca): string {
  return certificateKey(parseCertificate(makeLeaf(options, issuer).der));
}

Deno.test("peer key: a renewal and a replica are the same peer", { permissions }, () => {
  const san = [dns("a.example"), uri("spiffe://acme/web")];
  const first = key({ subject: "web", san });
  assert.equal(key({ subject: "web", san }), first, "serial and key differ");
  assert.equal(key({ subject: "web", san: [...san].reverse() }), first);
  assert.equal(key({ subject: "web", san }, makeCa({ subject: "next CA" })), first);
});

Deno.test("peer key: another name is another peer", { permissions }, () => {
  const keys = [
    key({ subject: "web" }),
    key({ subject: "Web" }),
    key({ subject: { O: "acme", CN: "web" } }),
    key({ subject: "web", san: [dns("web")] }),
    key({ subject: "web", san: [uri("web:web")] }),
    key({ subject: "web", san: [dns("web"), dns("web2")] }),
    key({ subject: "web", san: [dns('web","web2')] }),
  ];
  assert.equal(new Set(keys).size, keys.length);
});

Deno.test(
  "peer key: an address counts without its port, IPv6 by its network",
  { permissions },
  () => {
    const same = [
      ["192.0.2.1:1", "192.0.2.1:65535", "[::ffff:192.0.2.1]:9"],
      ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:0:ffff::]:443"],
      ["[fe80::1%eth0]:1", "[fe80::1%eth1]:1"],
      ["odd:1", "odd:2"],
    ];
    const keys = same.map((group) => {
      const [first, ...rest] = group.map(addressKey);
      for (const other of rest) assert.equal(other, first);
      return first;
    });
    assert.equal(
      new Set([...keys, addressKey("192.0.2.2:1"), addressKey("[2001:db8:0:1::1]:1")]).size,
      6,
    );
  },
);
