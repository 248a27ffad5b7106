import assert from "node:assert/strict";
import { parseIpRule } from "../../src/acl/ip.ts";
import { AcceptError, listenTcp } from "../../src/net/mod.ts";
import { acceptHeader } from "../../src/proxy/proxy_header.ts";
import { encodeHeader } from "../../src/proxy_protocol/encode.ts";
import { parseHeader } from "../../src/proxy_protocol/parse.ts";
import { chainPem, makeLeaf, pathOf, testPki } from "../support/pki.ts";
import { type Peer, PeerServer } from "../support/sockets.ts";
import { until } from "../support/wait.ts";
import {
  haproxy,
  nginx,
  plainClient,
  realTest,
  tlsClient,
} from "../support/proxy_protocol_peers.ts";
import { ownAddress, split } from "../support/peers.ts";

const PKI = testPki();

/** What came first on a connection, once it is a header. */
async function headerOf(peer: Peer) {
  return await until(() => {
    const { bytes } = peer;
    const parsed = parseHeader(bytes);
    assert(parsed.kind === "more" || parsed.kind === "header", JSON.stringify(parsed));
    return parsed.kind === "header" ? { ...parsed, bytes: Uint8Array.from(bytes) } : undefined;
  }, { what: () => `a header, have ${peer.bytes.toHex()}` });
}

for (const [option, version] of [["send-proxy", "v1"], ["send-proxy-v2", "v2"]] as const) {
  realTest("haproxy", `${option} is what we send, and is understood`, async () => {
    const address = ownAddress();
    await using target = await PeerServer.listen();
    await using _haproxy = await haproxy(
      () =>
        `listen l
  mode tcp
  bind ${address}
  server s ${target.address} ${option}
`,
      [address],
    );
    // The first connection was the one that asked whether it is up.
    await using client = await plainClient(address);
    const [source, { hostname, port }] = [
      { host: client.address, port: client.port },
      split(address),
    ];
    const facts = { source, destination: { host: hostname, port } };
    const expected = encodeHeader(version, facts).bytes;
    const peer = await until(
      () => target.peers.find(({ bytes }) => bytes.equals(expected)),
      { what: () => `${expected.toHex()}, have ${target.peers.map(({ bytes }) => bytes.toHex())}` },
    );
    assert.deepEqual((await headerOf(peer)).proxied, facts);
  });
}

for (const certificate of [true, false]) {
  const who = certificate ? "a certificate" : "no certificate";
  realTest("haproxy", `send-proxy-v2-ssl-cn with ${who} is what we send`, async () => {
    const address = ownAddress();
    const client = makeLeaf({ role: "client", subject: "Jörg" }, PKI.ca);
    await using target = await PeerServer.listen();
    await using _haproxy = await haproxy(
      (path) =>
        `listen l
  mode tcp
  bind ${address} ssl crt ${path("server.pem")} ca-file ${path("ca.pem")} verify optional alpn h2 \
ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256
  server s ${target.address} send-proxy-v2-ssl-cn \
proxy-v2-options crc32c,authority,ssl-cipher,cert-key,cert-sig
`,
      [address],
      {
        "server.pem": chainPem(...pathOf(PKI.server)) + PKI.server.keyPem,
        "ca.pem": PKI.ca.pem,
      },
    );
    await using connected = await tlsClient(address, PKI, {
      ALPNProtocols: ["h2"],
      ...(certificate ? { cert: client.pem, key: client.keyPem } : {}),
    });
    const { hostname, port } = split(address);
    const facts = {
      source: { host: connected.address, port: connected.port },
      destination: { host: hostname, port },
    };
    const named = (peer: Peer) => {
      const parsed = parseHeader(peer.bytes);
      return parsed.kind === "header" && parsed.proxied?.source.port === connected.port;
    };
    const peer = await until(() => target.peers.find(named), { what: () => "its header" });
    const header = await headerOf(peer);
    assert.deepEqual(header.proxied, facts);
    const ours = encodeHeader("v2-tls", {
      ...facts,
      tls: {
        protocol: "TLSv1.3",
        alpn: "h2",
        serverName: "localhost",
        cipher: "TLS_AES_128_GCM_SHA256",
        keyAlgorithm: "EC256",
        signatureAlgorithm: "ecdsa-with-SHA256",
        // HAProxy does not send the certificate itself: this one does not fit.
        certificate: certificate
          ? { der: new Uint8Array(5000), commonName: "Jörg", resumed: false }
          : undefined,
      },
    }, { checksum: true });
    if (certificate) {
      assert.equal(header.bytes.toHex(), ours.bytes.toHex());
      return;
    }
    // The specification wants a verify result other than 0 here, HAProxy sends 0.
    const differs = [...ours.bytes].flatMap((byte, at) => byte === header.bytes[at] ? [] : [at]);
    assert.equal(header.bytes.length, ours.bytes.length);
    const sum = 16 + 12 + 3;
    const verify = differs.filter((at) => at < sum || at >= sum + 4);
    assert.equal(verify.length, 1);
    assert.deepEqual(verify.map((at) => ours.bytes[at]), [1]);
  });
}

realTest("haproxy", "a health check speaks for itself", async () => {
  const address = ownAddress();
  await using target = await PeerServer.listen((peer) => peer.end());
  await using _haproxy = await haproxy(
    () =>
      `listen l
  mode tcp
  bind ${address}
  server s ${target.address} send-proxy-v2 check inter 50ms
`,
    [address],
  );
  const checks = () =>
    target.peers.filter(({ bytes }) => {
      const parsed = parseHeader(bytes);
      return parsed.kind === "header" && parsed.proxied === undefined;
    });
  await until(() => checks().length > 0, { what: () => "a health check" });
});

realTest("nginx", "proxy_protocol is what we send, and is understood", async () => {
  const address = ownAddress();
  await using target = await PeerServer.listen();
  await using _nginx = await nginx(
    `server { listen ${address}; proxy_pass ${target.address}; proxy_protocol on; }`,
    [address],
  );
  await using client = await plainClient(address);
  const { hostname, port } = split(address);
  const facts = {
    source: { host: client.address, port: client.port },
    destination: { host: hostname, port },
  };
  const expected = encodeHeader("v1", facts).bytes;
  const peer = await until(() => target.peers.find(({ bytes }) => bytes.equals(expected)), {
    what: () => `${expected.toHex()}, have ${target.peers.map(({ bytes }) => bytes.toHex())}`,
  });
  assert.deepEqual((await headerOf(peer)).proxied, facts);
});

for (const option of ["send-proxy", "send-proxy-v2"]) {
  realTest("haproxy", `in front of us with ${option}: the client is the remote`, async () => {
    const address = ownAddress();
    const trusted = parseIpRule("127.0.0.0/8");
    assert(trusted.ok && trusted.value.kind === "ip");
    const limits = {
      trusted: [trusted.value],
      timeout: 20_000,
      signal: new AbortController().signal,
    };
    const listener = listenTcp({ host: "127.0.0.1", port: 0 });
    try {
      await using _haproxy = await haproxy(
        () =>
          `listen l
  mode tcp
  bind ${address}
  server s 127.0.0.1:${listener.port} ${option}
`,
        [address],
      );
      await using client = await plainClient(address);
      const remote = `${client.address}:${client.port}`;
      const { hostname: host, port } = split(address);
      // The connection that asked whether HAProxy is up may come through as well, or half.
      const others: string[] = [];
      for (;;) {
        assert(others.length < 5, String(others));
        try {
          const result = await acceptHeader(await listener.accept(), limits);
          if (result.kind === "accepted") result.conn.close();
          if (result.kind === "accepted" && result.conn.remote === remote) {
            assert.notEqual(result.via, remote);
            assert.deepEqual(result.destination, { host, port });
            break;
          }
          others.push(result.kind === "accepted" ? result.conn.remote : result.message);
        } catch (error) {
          if (!(error instanceof AcceptError) || !error.peerGone) throw error;
          others.push(error.message);
        }
      }
    } finally {
      listener.close();
    }
  });
}
