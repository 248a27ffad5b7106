/**
 * Who gets in, by the facts of a certificate that was verified already.
 *
 * @module
 */

import assert from "node:assert/strict";
import { authorize, type Decision, type Grant, Permit } from "../src/acl.ts";
import type { AclConfig } from "../src/config/config.ts";
import { identityOf, type PeerIdentity } from "../src/identity.ts";
import { parseCertificate } from "../src/x509/parse.ts";
import * as der from "./support/der.ts";
import { issue, type NameInput } from "./support/pki.ts";

const NOBODY: PeerIdentity = {
  commonNames: [],
  organizations: [],
  subjectAltNames: [],
  serial: "01",
  issuer: "CN=ca",
  subject: "",
};

function rules(allowCn: readonly string[] = [], allowOrg: readonly string[] = []): AclConfig {
  return { allowCn, allowOrg };
}

function grantOf(decision: Decision): Grant {
  if (!decision.allowed) assert.fail(`denied: ${decision.denial.reason}`);
  assert.ok(decision.permit instanceof Permit);
  return decision.permit.grant;
}

function reasonOf(decision: Decision): string {
  if (decision.allowed) assert.fail(`allowed: ${JSON.stringify(decision.permit.grant)}`);
  return decision.denial.reason;
}

function test(name: string, fn: () => void): void {
  Deno.test({ name: `acl: ${name}`, permissions: "none", fn });
}

test("with no rule every valid certificate is let in", () => {
  assert.deepEqual(grantOf(authorize(NOBODY, rules())), { kind: "open" });
});

test("without a certificate: in as long as there is no rule", () => {
  assert.deepEqual(grantOf(authorize(undefined, rules())), { kind: "anonymous" });
  const reason = "the peer showed no certificate and there are allow rules";
  assert.equal(reasonOf(authorize(undefined, rules(["a"]))), reason);
  assert.equal(reasonOf(authorize(undefined, rules([], ["a"]))), reason);
});

test("CN and organization rules are OR'd, and the one that decided is named", () => {
  const peer = { ...NOBODY, commonNames: ["web"], organizations: ["acme", "acme two"] };
  const cases: [AclConfig, Grant | undefined][] = [
    [rules(["db", "web"]), { kind: "rule", key: "acl.allow_cn", value: "web" }],
    [rules([], ["acme two"]), { kind: "rule", key: "acl.allow_org", value: "acme two" }],
    [rules(["db"], ["acme"]), { kind: "rule", key: "acl.allow_org", value: "acme" }],
    [rules(["web"], ["other"]), { kind: "rule", key: "acl.allow_cn", value: "web" }],
    [rules(["db"], ["other"]), undefined],
    // A rule of one dimension says nothing about the other.
    [rules(["acme"], ["web"]), undefined],
  ];
  for (const [acl, grant] of cases) {
    const decision = authorize(peer, acl);
    if (grant === undefined) assert.equal(reasonOf(decision), "no allow rule matches");
    else assert.deepEqual(grantOf(decision), grant);
  }
});

test("no CN and no O match nothing, not even an empty rule", () => {
  assert.equal(reasonOf(authorize(NOBODY, rules([""], [""]))), "no allow rule matches");
});

/** The decision on a certificate that was really made and read. */
function decide(subject: NameInput, acl: AclConfig): Decision {
  return authorize(identityOf(parseCertificate(issue({ subject }).der)), acl);
}

test("a name is compared exactly", () => {
  const tricks: [string, NameInput][] = [
    ["case", "Frontend"],
    ["space at the end", "frontend "],
    ["space in front", " frontend"],
    ["NUL at the end", "frontend\0"],
    ["NUL and more", "frontend\0.evil.example"],
    ["line feed", "frontend\n"],
    ["a Cyrillic o", "fr\u043entend"],
    ["another form of the same text", "fronten\u0064\u0301"],
    ["zero width space", "front\u200bend"],
    ["right to left", "\u202efrontend"],
    ["byte order mark", "\ufefffrontend"],
    ["wider letters", "\uff46rontend"],
    ["prefix", "front"],
    ["longer", "frontend.evil.example"],
    ["pattern", "*"],
    ["everything in one CN", "x, CN=frontend"],
    ["OU", { OU: "frontend" }],
    ["O", { O: "frontend" }],
    ["serialNumber", { serialNumber: "frontend" }],
    ["TeletexString", { CN: der.teletex("frontend") }],
    ["UniversalString", { CN: der.universal("frontend") }],
    ["OCTET STRING", { CN: der.octet(new TextEncoder().encode("frontend")) }],
    ["UTF-8 that is none", {
      CN: der.tlv(0x0c, new TextEncoder().encode("frontend"), der.raw("ff")),
    }],
    ["overlong UTF-8", { CN: der.tlv(0x0c, der.raw("c1a6"), new TextEncoder().encode("rontend")) }],
    ["BMPString of odd length", { CN: der.tlv(0x1e, der.raw("006600")) }],
    ["two CNs", { CN: ["frontend", "backend"] }],
    ["twice the same CN", { CN: ["frontend", "frontend"] }],
    ["a second CN that cannot be read", { CN: ["frontend", der.teletex("x")] }],
    ["a first CN that cannot be read", { CN: [der.teletex("x"), "frontend"] }],
    ["an empty second CN", { CN: ["frontend", ""] }],
  ];
  for (const [what, subject] of tricks) {
    assert.match(reasonOf(decide(subject, rules(["frontend"]))), /^no allow rule matches/, what);
  }
});

test("every string type whose meaning is certain is read", () => {
  const subjects = [
    der.utf8("frontend"),
    der.printable("frontend"),
    der.ia5("frontend"),
    der.bmp("frontend"),
  ];
  for (const CN of subjects) {
    const grant = grantOf(decide({ CN }, rules(["frontend"])));
    assert.deepEqual(grant, { kind: "rule", key: "acl.allow_cn", value: "frontend" });
  }
});

test("control characters and the sign for unreadable text match no rule that holds them", () => {
  for (const text of ["a\0", "a\x1b[2J", "\x7f", "\x80", "\x9f", "\ufffd", "a\nb"]) {
    assert.match(reasonOf(decide(text, rules([text]))), /^no allow rule/, JSON.stringify(text));
    assert.match(reasonOf(decide({ O: text }, rules([], [text]))), /^no allow rule/);
  }
  // The unreadable CN reads as U+FFFD: a rule of that text must not be its key.
  assert.match(reasonOf(decide({ CN: der.teletex("x") }, rules(["\ufffd"]))), /^no allow rule/);
});

test("text that its string type does not allow is no text", () => {
  for (const text of ["a_b", "a*", "a@b", "\u00e9"]) {
    assert.match(reasonOf(decide({ CN: der.printable(text) }, rules([text]))), /^no allow rule/);
    assert.equal(grantOf(decide({ CN: der.utf8(text) }, rules([text]))).kind, "rule");
  }
});

test("several CNs are told as the reason where a CN rule exists; organizations still count", () => {
  const subject = { O: "acme", CN: ["frontend", "backend"] };
  assert.equal(
    reasonOf(decide(subject, rules(["frontend"]))),
    "no allow rule matches (a subject with several CNs matches no allow_cn)",
  );
  assert.equal(reasonOf(decide(subject, rules([], ["x"]))), "no allow rule matches");
  assert.deepEqual(grantOf(decide(subject, rules(["frontend"], ["acme"]))), {
    kind: "rule",
    key: "acl.allow_org",
    value: "acme",
  });
});

test("names of objects are names like others", () => {
  for (const name of ["__proto__", "constructor", "toString"]) {
    assert.match(reasonOf(decide(name, rules(["x"]))), /^no allow rule/);
    assert.equal(grantOf(decide(name, rules([name]))).kind, "rule");
  }
});

test("a permit cannot be made outside", () => {
  const grant: Grant = { kind: "open" };
  // @ts-expect-error: the constructor is private
  assert.throws(() => new Permit(Symbol("mint"), grant), {
    name: "TypeError",
    message: "Cannot make a permit: only authorize does",
  });
  assert.throws(() => Reflect.construct(Permit, [Symbol.for("mint"), grant]), TypeError);
  // @ts-expect-error: what looks like one is none
  const alike: Permit = { grant };
  assert.equal(alike instanceof Permit, false);
  const shell: Permit = Object.create(Permit.prototype);
  assert.throws(() => shell.grant, TypeError);
  const real = authorize(NOBODY, rules());
  assert.ok(real.allowed);
  const maker = real.permit.constructor;
  assert.throws(() => Reflect.construct(maker, [undefined, grant]), TypeError);
  const statics = Object.getOwnPropertyNames(Permit).toSorted();
  assert.deepEqual(statics, ["length", "name", "prototype"]);
});
