/**
 * Certificates whose key the peer does not hold, or does not prove to hold.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { constants, sign } from "node:crypto";
import { holder, type Refused, type Row } from "../../support/adversary/arena.ts";
import type { ClientPlay, Step } from "../../support/adversary/client.ts";
import { type Signer, signerFor } from "../../support/adversary/crypto.ts";
import { type Issued, makeKey } from "../../support/pki.ts";
import { client, unproven } from "./chains.ts";

const unasked: Refused = { handshake: "protocol", error: /UnadvertisedSigScheme/ };

/** Leaves messages out. */
function without(...steps: readonly Step[]): Pick<ClientPlay, "edit"> {
  return { edit: (step, octets) => steps.includes(step) ? undefined : octets };
}

/** The good client's certificate is public: every peer that has seen it can show it. */
export function keyRows(ca: Issued): readonly Row[] {
  const good = client({}, ca);
  const rsa = client({ kind: "rsa2048" }, ca);
  const other = makeKey();
  const mine = client({ key: other });
  const control = holder(good);
  const honest = signerFor(good.key);
  const shown = (signer: Signer, name: string, refused: Refused = unproven): Row => ({
    name,
    peer: { ...control, signer },
    refused,
    control,
  });
  const zeros: Signer = () => ({ scheme: 0x0403, signature: Buffer.alloc(70) });
  return [
    shown(signerFor(other), "a copied certificate, signed for with another key"),
    shown(zeros, "a copied certificate, signed for with zeros"),
    shown(
      () => ({ scheme: 0x0403, signature: Buffer.alloc(0) }),
      "a copied certificate, an empty signature",
    ),
    shown(
      () => ({ scheme: 0x0403, signature: Buffer.from("3006020100020100", "hex") }),
      "a copied certificate, signed for with the numbers 0 and 0",
    ),
    shown(() => honest(Buffer.from("another handshake")), "the signature of another handshake"),
    shown(
      (content) => ({ ...honest(content), scheme: 0x0503 }),
      "a good signature that says to be of another kind",
    ),
    {
      ...shown(
        (content) =>
          honest(
            Buffer.from(
              Buffer.from(content).toString("latin1").replace("client", "server"),
              "latin1",
            ),
          ),
        "a signature as the server would make it",
      ),
      versions: ["TLS1.3"],
    },
    {
      ...shown(
        (content) => ({ scheme: 0x0203, signature: sign("sha1", content, good.key) }),
        "a signature with SHA-1",
        unasked,
      ),
      versions: ["TLS1.2"],
    },
    {
      name: "a signature with the padding of old",
      peer: {
        ...holder(rsa),
        signer: (content) => ({
          scheme: 0x0401,
          signature: sign("sha256", content, {
            key: rsa.key,
            padding: constants.RSA_PKCS1_PADDING,
          }),
        }),
      },
      refused: unasked,
      control: holder(rsa),
      versions: ["TLS1.3"],
    },
    {
      name: "a copy of the CA's own certificate",
      peer: { chain: [ca.der], key: other },
      refused: unproven,
      control,
    },
    {
      name: "a copied certificate, and one's own behind it",
      peer: { chain: [good.der, mine.der], key: other },
      refused: unproven,
      control: { chain: [good.der, mine.der], key: good.key },
    },
    {
      name: "one's own certificate, and a copied one behind it",
      peer: { chain: [mine.der, good.der], key: other },
      refused: { handshake: "untrusted", error: /no chain of valid signatures/ },
      control: { chain: [good.der, mine.der], key: good.key },
    },
    {
      name: "a copied certificate, no signature at all",
      peer: { ...control, ...without("verify") },
      refused: { handshake: "protocol", error: /received unexpected/ },
      control,
    },
  ];
}
