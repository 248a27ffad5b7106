/**
 * Certificates used for what they were not issued for: key usage, basic constraints, name constraints.
 *
 * @module
 */

import { holder, type Refused, type Row } from "../../support/adversary/arena.ts";
import type { Der } from "../../support/der.ts";
import {
  basicConstraints,
  directory,
  dns,
  email,
  extendedKeyUsage,
  ip,
  type Issued,
  keyUsage,
  type LeafOptions,
  nameConstraints,
  uri,
} from "../../support/pki.ts";
import { client, middle } from "./chains.ts";

const bad = (error: RegExp): Refused => ({ handshake: "bad_certificate", error });
const notForClients = bad(/is not for TLS clients \(extended key usage\)/);
const noCa = bad(/signs others and is no CA \(basic constraints\)/);
const notSigning = bad(/may not sign certificates \(key usage\)/);
const tooLong = bad(/allows \d+ CAs below it and has \d+|more CAs/);
const outside = bad(/may not sign for a name of .* \(name constraints\)/);

/** The extension in place of the usual one. */
function withExtension(name: string, extension: Der): LeafOptions {
  return { omit: [name], extra: [extension] };
}

/** Purposes and usages of the leaf and of those above it. */
export function usageRows(ca: Issued): readonly Row[] {
  const eku = (...purposes: string[]) =>
    withExtension("extendedKeyUsage", extendedKeyUsage(purposes));
  const control = holder(client({}, ca));
  const inner = middle("useful intermediate", ca);
  const under = (options: LeafOptions) =>
    holder(client({}, middle("useful intermediate", ca, options)));
  return [
    {
      name: "a leaf for servers",
      peer: holder(client({ role: "server" }, ca)),
      refused: notForClients,
      control: holder(client({ role: "both" }, ca)),
    },
    {
      name: "a leaf for signing code",
      peer: holder(client(eku("codeSigning", "emailProtection"), ca)),
      refused: notForClients,
      control: holder(client(eku("codeSigning", "clientAuth"), ca)),
    },
    {
      name: "a leaf for any purpose, which is not the one that is asked for",
      peer: holder(client(eku("anyExtendedKeyUsage"), ca)),
      refused: notForClients,
      control: holder(client({ omit: ["extendedKeyUsage"] }, ca)),
    },
    {
      name: "an intermediate for servers",
      peer: under({ extra: [extendedKeyUsage(["serverAuth"])] }),
      refused: notForClients,
      control: under({ extra: [extendedKeyUsage(["serverAuth", "clientAuth"])] }),
    },
    {
      name: "a leaf that may not sign handshakes",
      peer: holder(client(withExtension("keyUsage", keyUsage(["keyEncipherment"])), ca)),
      refused: bad(/may not sign a handshake \(key usage\)/),
      control: holder(client({ omit: ["keyUsage"] }, ca)),
    },
    {
      name: "an intermediate without the CA flag",
      peer: under(withExtension("basicConstraints", basicConstraints({ ca: false }))),
      refused: noCa,
      control: holder(client({}, inner)),
    },
    {
      name: "an intermediate without basic constraints",
      peer: under({ omit: ["basicConstraints"] }),
      refused: noCa,
      control: holder(client({}, inner)),
    },
    {
      name: "an intermediate that may not sign certificates",
      peer: under(withExtension("keyUsage", keyUsage(["digitalSignature", "cRLSign"]))),
      refused: notSigning,
      control: under({ omit: ["keyUsage"] }),
    },
    {
      name: "a leaf that issued another",
      peer: holder(client({}, client({}, ca))),
      refused: noCa,
      control,
    },
    {
      name: "a CA as its own client",
      peer: holder(middle("CA and client", ca, {
        extra: [extendedKeyUsage(["clientAuth"])],
        omit: ["keyUsage"],
      })),
      refused: bad(/is that of a CA, which is no peer/),
      control: holder(client({ subject: "CA and client", omit: ["keyUsage"] }, ca)),
    },
    {
      name: "a CA with keyCertSign only as a client",
      peer: holder(middle("CA and client", ca)),
      refused: bad(/may not sign a handshake/),
      control,
    },
  ];
}

/** More CAs in a row than one of them allows. */
export function pathLengthRows(ca: Issued): readonly Row[] {
  const zero = middle("length 0", ca, { pathLength: 0 });
  const tail = (issuer: Issued, subject: string) => holder(client({}, middle(subject, issuer)));
  return [
    {
      name: "one CA where there may be none",
      peer: tail(zero, "below 0"),
      refused: tooLong,
      control: holder(client({}, zero)),
    },
    {
      name: "a CA that allows itself more than the one above",
      peer: holder(client({}, middle("generous", zero, { pathLength: 9 }))),
      refused: tooLong,
      control: holder(client({}, middle("generous", ca, { pathLength: 9 }))),
    },
  ];
}

/** A name outside what the CA may sign for, and one inside. */
type Constraint = {
  readonly name: string;
  readonly constraints: Parameters<typeof nameConstraints>[0];
  readonly bad: LeafOptions;
  readonly good: LeafOptions;
};

const san = (...names: Der[]): LeafOptions => ({ san: names });

const CONSTRAINTS: readonly Constraint[] = [
  {
    name: "DNS, permitted",
    constraints: { permitted: [dns("acme.example")] },
    bad: san(dns("web.evil.example")),
    good: san(dns("web.acme.example")),
  },
  {
    name: "DNS, permitted, with one good name and one bad",
    constraints: { permitted: [dns("acme.example")] },
    bad: san(dns("web.acme.example"), dns("evilacme.example")),
    good: san(dns("web.acme.example"), dns("acme.example")),
  },
  {
    name: "DNS, excluded",
    constraints: { excluded: [dns("secret.example")] },
    bad: san(dns("web.SECRET.example")),
    good: san(dns("web.public.example")),
  },
  {
    name: "DNS, excluded, by a wildcard that covers it",
    constraints: { excluded: [dns("secret.acme.example")] },
    bad: san(dns("*.acme.example")),
    good: san(dns("*.public.example")),
  },
  {
    name: "IP, permitted",
    constraints: { permitted: [ip("10.0.0.0/8")] },
    bad: san(ip("11.0.0.1")),
    good: san(ip("10.1.2.3")),
  },
  {
    name: "IP, excluded",
    constraints: { excluded: [ip("10.0.0.0/8")] },
    bad: san(ip("10.1.2.3")),
    good: san(ip("11.0.0.1")),
  },
  {
    name: "URI, permitted",
    constraints: { permitted: [uri("acme.example")] },
    bad: san(uri("spiffe://evil.example/web")),
    good: san(uri("spiffe://acme.example/web")),
  },
  {
    name: "URI, excluded",
    constraints: { excluded: [uri("secret.example")] },
    bad: san(uri("spiffe://u@Secret.example:443/web")),
    good: san(uri("spiffe://acme.example/web")),
  },
  {
    name: "e-mail, permitted",
    constraints: { permitted: [email("acme.example")] },
    bad: san(email("joe@evil.example")),
    good: san(email("joe@acme.example")),
  },
  {
    name: "e-mail, excluded",
    constraints: { excluded: [email("joe@acme.example")] },
    bad: san(email("joe@acme.example")),
    good: san(email("ann@acme.example")),
  },
  {
    name: "directory name, permitted",
    constraints: { permitted: [directory({ O: "acme" })] },
    bad: { subject: { O: "evil", CN: "frontend-service" } },
    good: { subject: { O: "acme", CN: "frontend-service" } },
  },
  {
    name: "directory name, excluded",
    constraints: { excluded: [directory({ O: "acme" })] },
    bad: { subject: { O: "ACME ", CN: "frontend-service" } },
    good: { subject: { O: "other", CN: "frontend-service" } },
  },
];

/** Names that the CA above may not sign for. */
export function nameConstraintRows(ca: Issued): readonly Row[] {
  return CONSTRAINTS.map(({ name, constraints, bad, good }): Row => {
    const inner = middle("narrow CA", ca, { extra: [nameConstraints(constraints)] });
    return {
      name: `name constraints: ${name}`,
      peer: holder(client(bad, inner)),
      refused: outside,
      control: holder(client(good, inner)),
    };
  });
}
