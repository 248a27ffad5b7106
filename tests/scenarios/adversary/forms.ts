/**
 * Certificates that are badly written, made with weak algorithms, or stand badly in the bundle.
 *
 * @module
 */

import { holder, type Refused, type Row } from "../../support/adversary/arena.ts";
import * as der from "../../support/der.ts";
import {
  basicConstraints,
  dns,
  extension,
  type Issued,
  type IssueOptions,
  keyUsage,
  makeCa,
  makeKey,
  nameConstraints,
  signatureAlgorithm,
} from "../../support/pki.ts";
import { client, future, middle, past, unproven } from "./chains.ts";

const bad = (error: RegExp): Refused => ({ handshake: "bad_certificate", error });

/** Encodings that are not X.509 v3 in DER. The TLS engine reads some of them as a yes. */
export function encodingRows(ca: Issued): readonly Row[] {
  const control = holder(client({}, ca));
  const leaf = (name: string, options: IssueOptions, error?: RegExp): Row => ({
    name,
    peer: holder(client(options, ca)),
    // Of what the TLS engine cannot read it does not even check the key.
    refused: error === undefined ? unproven : bad(error),
    control,
  });
  const sound = middle("sound intermediate", ca);
  return [
    leaf("X.509 v1", { version: 1 }, /X\.509 v1 certificate/),
    leaf("a forged X.509 v1", { version: 1, forged: true }, /X\.509 v1 certificate/),
    leaf("X.509 v2", { version: 2 }, /X\.509 v2 certificate/),
    leaf("X.509 v4", { version: 4 }, /unknown X\.509 version/),
    {
      name: "an intermediate that is X.509 v1",
      peer: holder(client({}, middle("sound intermediate", ca, { version: 1 }))),
      // It cannot be read, so it is not there.
      refused: { handshake: "untrusted", error: /no chain of valid signatures/ },
      control: holder(client({}, sound)),
    },
    leaf("trailing bytes", { trailing: "00" }),
    leaf("a length in more bytes than needed", { tbs: (tbs) => der.longForm(tbs, 2) }),
    leaf("an indefinite length", { finish: der.indefinite }),
    leaf("a unique identifier of the issuer", { issuerUniqueId: Uint8Array.of(1) }),
    leaf("a unique identifier of the subject", { subjectUniqueId: Uint8Array.of(1) }),
    leaf(
      "an empty list of extensions",
      { extensions: der.explicit(3, der.seq()) },
      /extensions is empty/,
    ),
    leaf("an extension twice", { extra: [keyUsage(["digitalSignature"])] }),
    leaf("two signature algorithms", { outerAlgorithm: signatureAlgorithm("ecdsa-sha384") }),
    leaf("distribution points that are no list", {
      extra: [extension("crlDistributionPoints", der.octet(der.raw("00")))],
    }),
    leaf(
      "a critical extension that nobody knows",
      { extra: [extension("unknown", der.nil(), true)] },
    ),
    {
      name: "an intermediate with a critical extension that nobody knows",
      peer: holder(client(
        {},
        middle("sound intermediate", ca, {
          extra: [extension("unknown", der.nil(), true)],
        }),
      )),
      refused: bad(/critical extension 1\.3\.6\.1\.4\.1\.55555\.1 that is not understood/),
      control: holder(client(
        {},
        middle("sound intermediate", ca, {
          extra: [extension("unknown", der.nil(), false)],
        }),
      )),
    },
  ];
}

/** Signatures and keys that are too weak to mean anything. */
export function weakRows(ca: Issued): readonly Row[] {
  const rsa = middle("RSA intermediate", ca, { kind: "rsa2048" });
  const sound = middle("sound intermediate", ca);
  const algorithm = bad(/is signed with an algorithm .* that is not SHA-2/);
  return [
    {
      name: "a leaf signed with SHA-1",
      peer: holder(client({ signature: "ecdsa-sha1" }, ca)),
      refused: algorithm,
      control: holder(client({}, ca)),
    },
    {
      name: "a leaf signed with RSA and SHA-1",
      peer: holder(client({ signature: "rsa-sha1" }, rsa)),
      refused: algorithm,
      control: holder(client({ signature: "rsa-sha256" }, rsa)),
    },
    {
      name: "a leaf signed with RSA and MD5",
      peer: holder(client({ signature: "rsa-md5" }, rsa)),
      refused: algorithm,
      control: holder(client({ signature: "pss-sha256" }, rsa)),
    },
    {
      name: "an intermediate signed with SHA-1",
      peer: holder(client({}, middle("sound intermediate", ca, { signature: "ecdsa-sha1" }))),
      refused: algorithm,
      control: holder(client({}, sound)),
    },
    {
      name: "a leaf with an RSA key of 1024 bits",
      peer: holder(client({ kind: "rsa1024" }, ca)),
      refused: unproven,
      control: holder(client({ kind: "rsa2048" }, ca)),
    },
    {
      name: "an intermediate with an RSA key of 1024 bits",
      peer: holder(client({}, middle("RSA intermediate", ca, { kind: "rsa1024" }))),
      refused: bad(/is signed by an RSA key of 1024 bits where 2048 is the least/),
      control: holder(client({}, rsa)),
    },
    {
      name: "a leaf with a key on a curve of its own",
      peer: holder(client({ kind: "secp256k1" }, ca)),
      refused: unproven,
      control: holder(client({ kind: "p384" }, ca)),
    },
  ];
}

/** What is wrong with an entry of the bundle; the rows' peers come with nothing wrong of their own. */
export function anchorRows(
  ca: Issued,
): { readonly rows: readonly Row[]; readonly bundle: readonly Issued[] } {
  const bundle: Issued[] = [];
  const anchor = (subject: string, options: Parameters<typeof makeCa>[0]): Issued => {
    const made = makeCa({ subject, ...options });
    bundle.push(made);
    return made;
  };
  const row = (name: string, made: Issued, refused: Refused): Row => ({
    name,
    peer: holder(client({}, made)),
    refused,
    control: holder(client({}, ca)),
  });
  const short = anchor("bundle: length 0", { pathLength: 0 });
  const single = anchor("bundle: length 1", { pathLength: 1 });
  const below = middle("below the single one", single);
  const narrow = anchor("bundle: narrow", {
    extra: [nameConstraints({ permitted: [dns("acme.example")] })],
  });
  const key = makeKey();
  const pinned = client({ subject: "pinned", key });
  const overdue = client({ subject: "pinned, expired", ...past() });
  bundle.push(pinned, overdue);
  const rows: Row[] = [
    row("an expired CA of the bundle", anchor("bundle: expired", past()), {
      handshake: "expired",
      error: /bundle: expired expired at/,
    }),
    row("a CA of the bundle that is not valid yet", anchor("bundle: early", future()), {
      handshake: "not_yet_valid",
      error: /bundle: early is valid from/,
    }),
    row(
      "an entry of the bundle without the CA flag that signs",
      anchor("bundle: no CA", {
        omit: ["basicConstraints"],
        extra: [basicConstraints({ ca: false })],
      }),
      bad(/bundle: no CA signs others and is no CA/),
    ),
    row(
      "a CA of the bundle that may not sign certificates",
      anchor("bundle: no signing", { omit: ["keyUsage"], extra: [keyUsage(["cRLSign"])] }),
      bad(/bundle: no signing may not sign certificates/),
    ),
    row(
      "a CA of the bundle with an RSA key of 1024 bits",
      anchor("bundle: weak", { kind: "rsa1024" }),
      { handshake: "untrusted", error: /no chain of valid signatures/ },
    ),
    row(
      "a CA of the bundle with a critical extension that nobody knows",
      anchor("bundle: odd", { extra: [extension("unknown", der.nil(), true)] }),
      { handshake: "untrusted", error: /no chain of valid signatures/ },
    ),
    {
      name: "a CA below one of the bundle that allows none",
      peer: holder(client({}, middle("below the short one", short))),
      refused: bad(/bundle: length 0 allows 0 CAs below it and has 1/),
      control: holder(client({}, short)),
    },
    {
      name: "two CAs below one of the bundle that allows one",
      peer: holder(client({}, middle("two below the single one", below))),
      refused: bad(/bundle: length 1 allows 1 CAs below it and has 2/),
      control: holder(client({}, below)),
    },
    {
      name: "a name that a CA of the bundle may not sign for",
      peer: holder(client({ san: [dns("evil.example")] }, narrow)),
      refused: bad(/bundle: narrow may not sign for a name of/),
      control: holder(client({ san: [dns("web.acme.example")] }, narrow)),
    },
    {
      name: "a leaf of the bundle that has expired",
      peer: holder(overdue),
      refused: { handshake: "expired", error: /pinned\\?, expired expired at/ },
      control: holder(pinned),
    },
    {
      name: "a namesake of a leaf of the bundle",
      peer: holder(client({ subject: "pinned" })),
      refused: { handshake: "untrusted", error: /no chain/ },
      control: holder(pinned),
    },
    {
      name: "a certificate that a leaf of the bundle has signed",
      peer: holder(client({ subject: "guest" }, { ...pinned })),
      refused: bad(/pinned signs others and is no CA/),
      control: holder(pinned),
    },
  ];
  return { rows, bundle };
}
