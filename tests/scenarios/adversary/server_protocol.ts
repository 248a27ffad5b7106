/**
 * Servers that show the right certificate and do not hold its key, or do not keep to the protocol.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Refused } from "../../support/adversary/arena.ts";
import type { Signer } from "../../support/adversary/crypto.ts";
import type { ServerRow } from "../../support/adversary/front.ts";
import { MESSAGE, RECORD, record } from "../../support/adversary/octets.ts";
import type { ServerPlay, ServerStep } from "../../support/adversary/server.ts";
import { type Issued, makeKey } from "../../support/pki.ts";
import { server, serves } from "./servers.ts";

/** The genuine certificate in the wrong hands. */
export function serverKeyRows(ca: Issued): readonly ServerRow[] {
  const control = serves(server({}, ca));
  const other = makeKey();
  const zeros: Signer = () => ({ scheme: 0x0403, signature: Buffer.alloc(70) });
  const refused: Refused = {
    handshake: "untrusted",
    error: /^the server did not prove that it holds the certificate's key$/,
  };
  return [
    {
      name: "a copied certificate, signed for with another key",
      server: { ...control, key: other },
      refused,
      control,
    },
    {
      name: "a copied certificate, signed for with zeros",
      server: { ...control, signer: zeros },
      refused,
      control,
    },
    {
      name: "a copied certificate, and nothing signed",
      server: { ...control, edit: (step, octets) => step === "verify" ? Buffer.alloc(0) : octets },
      refused: { handshake: "protocol", error: /got Finished when expecting/ },
      control,
      versions: ["TLS1.3"],
    },
    {
      name: "no certificate at all",
      server: { chain: [], key: other },
      refused: { handshake: "no_certificate", error: /^peer sent no certificate$/ },
      control,
    },
  ];
}

/** Servers that speak something else, or leave. */
export function serverProtocolRows(ca: Issued): readonly ServerRow[] {
  const control = serves(server({}, ca));
  const answers: Readonly<Record<string, readonly [Uint8Array, Refused]>> = {
    "plaintext": [
      Buffer.from("220 mail.example ESMTP\r\n"),
      said("protocol", /InvalidContentType/),
    ],
    "HTTP": [Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), said("protocol", /InvalidContentType/)],
    "a refusal": [record(RECORD.alert, Uint8Array.of(2, 40)), said("other", /refused us/)],
    "a record that is too long": [
      record(RECORD.handshake, new Uint8Array(65_535)),
      said("protocol", /MessageTooLarge/),
    ],
    "a heartbeat that asks for 64 KB": [
      record(RECORD.heartbeat, Uint8Array.of(1, 0xff, 0xff, 0x61)),
      said("protocol", /InvalidContentType/),
    ],
    "data in place of a hello": [
      record(RECORD.data, Buffer.from("welcome")),
      said("protocol", /got ApplicationData/),
    ],
    "nothing, and an end": [Buffer.alloc(0), said("reset", /left during the handshake/)],
  };
  const older = (minor: number): NonNullable<ServerPlay["edit"]> => (step, octets) => {
    if (step === "hello" && octets[0] === MESSAGE.serverHello) octets[5] = minor;
    return octets;
  };
  const leaves = (after: ServerStep): ServerRow => ({
    name: `it leaves before its ${after}`,
    server: { ...control, edit: (step, octets) => step === after ? undefined : octets },
    refused: said("reset", /left during the handshake/),
    control,
    versions: after === "exchange"
      ? ["TLS1.2"]
      : after === "verify"
      ? ["TLS1.3"]
      : ["TLS1.2", "TLS1.3"],
  });
  return [
    ...Object.entries(answers).map(([name, [answer, refused]]): ServerRow => ({
      name: `it answers with ${name}`,
      server: { ...control, answer },
      refused,
      control,
    })),
    ...[1, 2].map((minor): ServerRow => ({
      name: `TLS 1.${minor - 1}`,
      server: { ...control, edit: older(minor) },
      refused: said("protocol", /ServerDoesNotSupportTls12Or13/),
      control,
      versions: ["TLS1.2"],
    })),
    {
      name: "TLS 1.2 that says somebody has tampered with the versions",
      server: {
        ...control,
        edit: (step, octets) => {
          if (step === "hello" && octets[0] === MESSAGE.serverHello) {
            Buffer.from("DOWNGRD\x01", "latin1").copy(octets, 6 + 24);
          }
          return octets;
        },
      },
      refused: said("protocol", /Downgrade/),
      control,
      versions: ["TLS1.2"],
    },
    {
      name: "a Finished that does not fit",
      server: {
        ...control,
        edit: (step, octets) => step === "finished" ? octets.fill(0, 4) : octets,
      },
      refused: said("protocol", /cannot decrypt/),
      control,
      versions: ["TLS1.3"],
    },
    ...(["hello", "certificate", "exchange", "verify", "finished"] as const).map(leaves),
  ];
}

function said(handshake: "protocol" | "other" | "reset", error: RegExp): Refused {
  return { handshake, error };
}
