/**
 * Peers that do not keep to the protocol. All of them hold the good client's certificate and key: what
 * keeps them out is how they speak.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { holder, type Refused, type Row, VERSIONS } from "../../support/adversary/arena.ts";
import type { ClientPlay, Step } from "../../support/adversary/client.ts";
import { clientHello, type Version } from "../../support/adversary/hello.ts";
import { MESSAGE, message, RECORD, vector } from "../../support/adversary/octets.ts";
import type { Issued } from "../../support/pki.ts";
import { unproven } from "./chains.ts";
import { gone, LET_ME_IN, OPENINGS, said, type Tweak } from "./openings.ts";

const none: Refused = { handshake: "no_certificate", error: /^peer sent no certificate$/ };

/** Alters one message. */
function altered(wanted: Step, alter: (octets: Buffer) => Buffer): Tweak {
  return { edit: (step, octets) => step === wanted ? alter(Buffer.from(octets)) : octets };
}

/** Puts a record in front of a message. */
function before(wanted: Step, type: number, content: Uint8Array): Tweak {
  return {
    edit: (step, octets, line) => {
      if (step === wanted) line.put(type, content);
      return octets;
    },
  };
}

/** A hello that says to be of this version; 3,3 is TLS 1.2, and what TLS 1.3 writes there. */
function versioned(minor: number): Tweak {
  return altered("hello", (octets) => {
    octets[5] = minor;
    return octets;
  });
}

/** A hello of TLS 1.2 with other cipher suites. */
function suites(...ids: readonly number[]): Tweak {
  return altered("hello", (octets) => {
    // Type, length, version, random, an empty session identifier.
    const at = 4 + 2 + 32 + 1;
    const rest = octets.subarray(at + 2 + octets.readUInt16BE(at));
    const list = vector(2, ...ids.map((id) => Buffer.from([id >> 8, id & 0xff])));
    return message(MESSAGE.clientHello, octets.subarray(4, at), list, rest);
  });
}

/** What is wrong for one version only. */
const VERSIONED: Readonly<Record<Version, Readonly<Record<string, readonly [Tweak, Refused]>>>> = {
  "TLS1.2": {
    "TLS 1.1": [versioned(2), said(/Tls12NotOffered/)],
    "TLS 1.0": [versioned(1), said(/Tls12NotOffered/)],
    "SSLv3": [versioned(0), said(/Tls12NotOffered/)],
    "a suite without encryption": [suites(0xc006, 0x0000), said(/NoCipherSuitesInCommon/)],
    "a suite of export strength, and RC4": [suites(0x0003, 0x0005), said(/NoCipherSuitesInCommon/)],
    "a ChangeCipherSpec before the keys": [
      before("key exchange", RECORD.ccs, Uint8Array.of(1)),
      said(/got ChangeCipherSpec when expecting Handshake/),
    ],
    "the certificate left out": [
      { edit: (step, octets) => step === "certificate" || step === "verify" ? undefined : octets },
      said(/got ClientKeyExchange when expecting Certificate/),
    ],
    "a key exchange of zeros": [
      altered("key exchange", (octets) => octets.fill(0, 5)),
      said(/InvalidKeyShare/),
    ],
  },
  "TLS1.3": {
    "a key exchange of zeros": [
      altered("hello", (octets) => {
        const at = octets.indexOf(Buffer.from([0, 0x1d, 0, 32])) + 4;
        return octets.fill(0, at, at + 32);
      }),
      said(/InvalidKeyShare/),
    ],
    "data between the hello and the certificate": [
      before("certificate", RECORD.data, LET_ME_IN),
      said(/got ApplicationData when expecting Handshake/),
    ],
    "certificate and signature left out": [
      { edit: (step, octets) => step === "certificate" || step === "verify" ? undefined : octets },
      said(/got Finished when expecting Certificate/),
    ],
  },
};

/** What is wrong in the client's second flight, whichever version. */
const FLIGHTS: Readonly<Record<string, readonly [Tweak, Refused]>> = {
  "a Finished that does not fit": [
    altered("finished", (octets) => {
      octets[10] = (octets[10] ?? 0) ^ 1;
      return octets;
    }),
    said(/cannot decrypt/),
  ],
  "a second hello in the middle": [
    before("certificate", RECORD.handshake, clientHello("TLS1.2")),
    said(/got ClientHello when expecting Certificate/),
  ],
  "the certificate twice": [
    altered("certificate", (octets) => Buffer.concat([octets, octets])),
    said(/got Certificate when expecting/),
  ],
  "a heartbeat in the middle": [
    before("certificate", RECORD.heartbeat, Uint8Array.of(1, 0xff, 0xff, 0x61)),
    said(/InvalidContentType/),
  ],
  "a list of certificates that is longer than its message": [
    altered("certificate", (octets) => {
      const at = octets.length > 5 && octets[4] === 0 && octets[5] === 0 && octets[6] === 0 ? 5 : 4;
      octets[at] = 0x7f;
      return octets;
    }),
    said(/CertificatePayloadTooLarge/),
  ],
  "a message that goes on after its list": [
    altered(
      "certificate",
      (octets) => message(MESSAGE.certificate, octets.subarray(4), Buffer.alloc(3)),
    ),
    said(/TrailingData/),
  ],
};

/** Every row about how a peer speaks. */
export function protocolRows(good: Issued): readonly Row[] {
  const control = holder(good);
  const rows = (
    table: Readonly<Record<string, readonly [Tweak, Refused]>>,
    versions: readonly Version[],
  ): Row[] =>
    Object.entries(table).map(([name, [tweak, refused]]) => ({
      name: `${name}${versions.length === 1 ? `, ${versions[0]}` : ""}`,
      peer: { ...control, ...tweak },
      refused,
      control,
      versions,
    }));
  return [
    ...rows(OPENINGS, VERSIONS),
    ...rows(VERSIONED["TLS1.2"], ["TLS1.2"]),
    ...rows(VERSIONED["TLS1.3"], ["TLS1.3"]),
    ...rows(FLIGHTS, VERSIONS),
    ...emptyRows(good),
    ...leavingRows(control),
  ];
}

/** Certificate messages with nothing in them. */
function emptyRows(good: Issued): readonly Row[] {
  const control = holder(good);
  const empty = new Uint8Array(0);
  return [
    { name: "an empty list of certificates", peer: {}, refused: none, control },
    {
      name: "an empty certificate",
      peer: { chain: [empty], key: good.key },
      refused: unproven,
      control,
    },
    {
      name: "an empty certificate in front of the good one",
      peer: { chain: [empty, good.der], key: good.key },
      refused: unproven,
      control,
    },
  ];
}

/** It leaves at each stage. */
function leavingRows(control: ClientPlay): readonly Row[] {
  const stages = ["hello", "server flight", "certificate", "key exchange", "verify"] as const;
  return stages.flatMap((after) =>
    (["end", "reset"] as const).map((how) => ({
      name: `it leaves after the ${after} by ${how === "end" ? "FIN" : "RST"}`,
      peer: { ...control, leave: { after, how } },
      refused: gone,
      control,
      versions: after === "key exchange" ? ["TLS1.2"] as const : VERSIONS,
    }))
  );
}
