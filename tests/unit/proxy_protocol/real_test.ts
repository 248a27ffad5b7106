import assert from "node:assert/strict";
import { encodeHeader } from "../../../src/proxy_protocol/encode.ts";
import { parseHeader } from "../../../src/proxy_protocol/parse.ts";
import type { TlsFacts } from "../../../src/proxy_protocol/tls_facts.ts";
import { testPki } from "../../support/pki.ts";
import { atLeast, exchange, haproxy, nginx, realTest } from "../../support/proxy_protocol_peers.ts";
import { binary, octets, tlvHex } from "../../support/proxy_protocol.ts";
import { ownAddress } from "../../support/peers.ts";

const PKI = testPki();
const REQUEST = octets("GET / HTTP/1.0\r\n\r\n");

const V4 = {
  source: { host: "192.0.2.1", port: 56324 },
  destination: { host: "192.0.2.2", port: 443 },
};
const V6 = {
  source: { host: "2001:db8::1", port: 1 },
  destination: { host: "192.0.2.2", port: 65535 },
};
const UNKNOWN = { source: undefined, destination: V4.destination };

function tlsFacts(der: Uint8Array): TlsFacts {
  return {
    protocol: "TLSv1.3",
    alpn: "h2",
    serverName: "db.example.com",
    cipher: "TLS_AES_128_GCM_SHA256",
    certificate: { der, commonName: "frontend", resumed: false },
  };
}

/** Headers of ours, and what a receiver should make of them; it says `own` for its own addresses. */
const HEADERS = [
  ["v1, IPv4", encodeHeader("v1", V4), "192.0.2.1:56324 192.0.2.2:443"],
  ["v1, IPv6 and IPv4", encodeHeader("v1", V6), "2001:db8::1:1 ::ffff:192.0.2.2:65535"],
  ["v1, unknown", encodeHeader("v1", UNKNOWN), "own"],
  ["v2, IPv4", encodeHeader("v2", V4), "192.0.2.1:56324 192.0.2.2:443"],
  ["v2, IPv6 and IPv4", encodeHeader("v2", V6), "2001:db8::1:1 ::ffff:192.0.2.2:65535"],
  ["v2, unknown", encodeHeader("v2", UNKNOWN), "own"],
  ["v2, checksum", encodeHeader("v2", V4, { checksum: true }), "192.0.2.1:56324 192.0.2.2:443"],
] as const;

/** The same with what is known of TLS. */
const TLS_HEADERS = [
  ["v2-tls", encodeHeader("v2-tls", { ...V4, tls: tlsFacts(PKI.client.der) }), "192.0.2.1:56324"],
  [
    "v2-tls, checksum",
    encodeHeader("v2-tls", { ...V6, tls: tlsFacts(PKI.client.der) }, { checksum: true }),
    "2001:db8::1:1",
  ],
  ["v2-tls, unknown", encodeHeader("v2-tls", { ...UNKNOWN, tls: tlsFacts(PKI.client.der) }), "own"],
] as const;

realTest("haproxy", "understands our headers", async () => {
  const address = ownAddress();
  await using _haproxy = await haproxy(
    () =>
      `frontend in
  mode http
  bind ${address} accept-proxy
  http-request return status 200 content-type text/plain lf-string \
"rcvd=%[fc_rcvd_proxy] %[src]:%[src_port] %[dst]:%[dst_port] authority=%[fc_pp_authority];"
`,
    [address],
  );
  const ask = (header: Uint8Array) => exchange(address, header, REQUEST);
  for (const [name, { bytes }, told] of HEADERS) {
    const said = await ask(bytes);
    const expected = told === "own" ? ` ${address} authority=;` : `rcvd=1 ${told} authority=;`;
    assert(said.includes(expected) && said.includes("rcvd=1"), `${name}: ${said}`);
  }
  for (const [name, { bytes, omitted }, told] of TLS_HEADERS) {
    assert.deepEqual(omitted, []);
    const said = await ask(bytes);
    const own = told === "own";
    assert(said.includes(own ? ` ${address} ` : `rcvd=1 ${told} `), `${name}: ${said}`);
    // HAProxy 2.6 does not look at TLVs behind LOCAL, later ones do.
    if (!own) assert(said.includes("authority=db.example.com;"), `${name}: ${said}`);
  }
});

realTest("haproxy", "refuses what we refuse", async () => {
  const address = ownAddress();
  await using _haproxy = await haproxy(
    () =>
      `frontend in
  mode http
  bind ${address} accept-proxy
  http-request return status 200
`,
    [address],
  );
  const { bytes } = encodeHeader("v2", V4, { checksum: true });
  assert.match(await exchange(address, bytes, REQUEST), /200 OK/);
  const damaged = Uint8Array.from(bytes);
  damaged[20] = 1;
  for (
    const header of [
      damaged,
      octets("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
      octets("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
      octets("GET / HTTP/1.0\r\n\r\n"),
      binary("22 11", "c0000201 c0000202 0001 0002"),
      binary("21 11", "c0000201 c0000202 0001"),
      binary("21 11", `c0000201 c0000202 0001 0002 ${tlvHex(3, "\0\0\0\0")}`),
    ]
  ) {
    assert.notEqual(parseHeader(header).kind, "header");
    assert.doesNotMatch(await exchange(address, header, REQUEST), /200 OK/, header.toHex());
  }
});

realTest("nginx", "understands our headers", async (version) => {
  const address = ownAddress();
  await using running = await nginx(
    `server {
  listen ${address} proxy_protocol;
  return "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port;";
}`,
    [address],
  );
  for (const [name, { bytes }, told] of HEADERS) {
    // In version 1 it is handed on as it came.
    const said = (await exchange(address, bytes)).replace("::ffff:c000:202", "::ffff:192.0.2.2");
    assert.equal(said, told === "own" ? ": :;" : `${told};`, name);
  }
  // Before that nginx looked at 107 bytes.
  const roomy = atLeast(version, [1, 23, 2]);
  for (const [name, { bytes }, told] of TLS_HEADERS) {
    const said = await exchange(address, bytes);
    if (!roomy) assert.equal(said, "", name);
    else assert(said.startsWith(told === "own" ? ":" : `${told} `), `${name}: ${said}`);
  }
  if (!roomy) assert.match(running.process.said, /header is too large/);
});
