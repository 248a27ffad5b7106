/**
 * The near miss: a hint for people, cheap whatever the peer shows.
 *
 * @module
 */

import assert from "node:assert/strict";
import { formatNearest } from "../../../src/acl/decision.ts";
import { nearestRule } from "../../../src/acl/nearest.ts";
import type { Dimension } from "../../../src/acl/rule.ts";
import { evaluateRules } from "../../../src/acl/mod.ts";
import type { PeerIdentity } from "../../../src/identity.ts";
import { acl, EMPTY_PEER, texts } from "../../support/acl.ts";

type Allow = readonly (readonly [Dimension, string])[];

/** `dimension rule / shown: why`, or nothing. */
function nearest(allow: Allow, peer: Partial<PeerIdentity>): string | undefined {
  const miss = nearestRule(acl(allow).allow, { ...EMPTY_PEER, ...peer });
  return miss && `${miss.rule.dimension} ${miss.rule.text} / ${miss.shown}: ${miss.why}`;
}

const cn = (...names: string[]): Partial<PeerIdentity> => ({ commonNames: texts(...names) });

function test(name: string, fn: () => void): void {
  Deno.test({ name: `nearest: ${name}`, permissions: "none", fn });
}

test("slips of the pen in a name", () => {
  const cases: readonly [string, string, string][] = [
    ["frontend", "Frontend", "upper and lower case differ"],
    ["frontend", "FRONTEND", "upper and lower case differ"],
    ["frontend", "frontend ", "spaces differ"],
    ["frontend", "frontnd", "it is another value"],
    ["J\u00f6rg", "Jo\u0308rg", "it only looks the same"],
    ["frontend", "\uff46rontend", "it only looks the same"],
    ["frontend", "frontend\0", "it holds a control character"],
  ];
  for (const [text, shown, why] of cases) {
    assert.equal(nearest([["cn", text]], cn(shown)), `cn ${text} / ${shown}: ${why}`);
  }
});

test("why a value that reads the same does not count", () => {
  assert.equal(
    nearest([["cn", "web"]], { commonNames: [{ text: undefined, guess: "web" }] }),
    "cn web / web: its string type, or a byte in it, has no meaning that all agree on",
  );
  const several = "a subject with several CNs matches no allow_cn";
  assert.equal(nearest([["cn", "web"]], cn("web", "x")), `cn web / web: ${several}`);
});

test("the nearest of many", () => {
  const many = Array.from({ length: 300 }, (_, i) => ["cn", `service-${i}`] as const);
  assert.match(nearest(many, cn("servce-217")) ?? "", /^cn service-217 \//);
  assert.match(nearest(many, { organizations: texts("service-5") }) ?? "", /^cn service-5 \//);
});

test("a value in another place", () => {
  const why = (as: string, wanted: string) => `the peer shows it as ${as}, not as ${wanted}`;
  assert.equal(
    nearest([["org", "payments"]], cn("payments")),
    `org payments / payments: ${why("cn", "org")}`,
  );
  assert.equal(
    nearest([["cn", "web.example"]], { dnsNames: ["web.example"] }),
    `cn web.example / web.example: ${why("dns", "cn")}`,
  );
  assert.equal(
    nearest([["ou", "dev"], ["cn", "devs"]], { ...cn("x"), organizations: texts("dev") }),
    `ou dev / dev: ${why("org", "ou")}`,
  );
});

test("each dimension has its reason", () => {
  const pin = (char: string) => `${char.repeat(42)}A=`;
  const cases: readonly [Allow, Partial<PeerIdentity>, RegExp][] = [
    [[["dns", "web.example"]], { dnsNames: ["wob.example"] }, /: it is another name$/],
    [[["dns", "*.example.com"]], { dnsNames: ["a.b.example.com"] }, /: the star stands for one/],
    [[["dns", "*.example.com"]], { dnsNames: ["*.example.com"] }, /: a wildcard in a certificate/],
    [[["ip", "10.0.0.1"]], { ipAddresses: [Uint8Array.of(10, 0, 0, 2)] }, /: it is another addr/],
    [[["ip", "10.0.0.0/24"]], { ipAddresses: [Uint8Array.of(10, 0, 1, 0)] }, /: it is not in that/],
    [[["uri", "spiffe://acme/web"]], { uris: ["spiffe://acme/wob"] }, /: it is another URI$/],
    [[["uri", "spiffe://acme/web"]], { uris: ["spiffe://acme/web/"] }, /: it ends in a slash$/],
    [[["uri", "spiffe://acme/web/"]], { uris: ["spiffe://acme/wob/"] }, /: it is another URI$/],
    [[["uri", "spiffe://acme/web"]], { uris: ["SPIFFE://acme/web"] }, /: its scheme is not in low/],
    [[["spki", `sha256:${pin("B")}`]], { spki: `${"B".repeat(41)}CA=` }, /: it is another key$/],
    [[["org", "acme"]], { organizations: texts("acne") }, /: it is another value$/],
  ];
  for (const [allow, peer, why] of cases) assert.match(nearest(allow, peer) ?? "", why);
});

test("what shares nothing is no near miss", () => {
  assert.equal(nearest([["cn", "frontend"]], cn("xyz")), undefined);
  assert.equal(nearest([["cn", "frontend"]], cn("")), undefined);
  assert.equal(nearest([["cn", "frontend"]], {}), undefined);
  assert.equal(nearest([], cn("x")), undefined);
  assert.equal(nearest([["cn", "x".repeat(96)]], cn("x".repeat(60_000))), undefined);
});

test("what is nothing but spaces is like nothing", () => {
  assert.equal(nearest([["cn", " "]], cn("\u00a0")), undefined);
});

test("of very many pairs the first ones are looked at", () => {
  const many = Array.from({ length: 2000 }, (_, i) => ["org", `rule-${i}`] as const);
  const organizations = texts(...Array.from({ length: 20 }, (_, i) => `valu-${i}`), "rule-x");
  assert.equal(
    nearest(many, { organizations: texts("rule-1999x") })?.slice(0, 13),
    "org rule-1999",
  );
  const found = nearest(many, { organizations });
  assert.ok(found === undefined || /^org rule-\d{1,4} \/ valu-/.test(found), found);
});

test("of a long value the beginning is shown", () => {
  const long = `service-${"x".repeat(500)}`;
  const miss = nearestRule(acl([["cn", long]]).allow, { ...EMPTY_PEER, ...cn(`${long}y`) });
  assert.equal(miss?.shown, `${long.slice(0, 200)}...`);
  const pairs = nearestRule(acl([["cn", "\u{1f600}".repeat(300)]]).allow, {
    ...EMPTY_PEER,
    ...cn(`x${"\u{1f600}".repeat(300)}`),
  });
  assert.equal(pairs?.shown.isWellFormed(), true);
});

test("the words of the log", () => {
  const { basis } = evaluateRules({ ...EMPTY_PEER, ...cn("Web\n") }, acl([["cn", "web"]]));
  assert.equal(
    formatNearest(basis),
    'acl.allow_cn: web is not "Web\\n": it holds a control character',
  );
  assert.equal(formatNearest(evaluateRules(EMPTY_PEER, acl([["cn", "web"]])).basis), undefined);
  assert.equal(formatNearest(evaluateRules(EMPTY_PEER, acl()).basis), undefined);
});

/** Milliseconds of the fastest of some runs: what the work costs, not what else the machine does. */
function fastest(run: () => void): number {
  let best = Infinity;
  for (let i = 0; i < 15; i++) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

test("a hostile certificate costs next to nothing, however many rules there are", () => {
  const numbers = Array.from({ length: 1000 }, (_, i) => i);
  const rules = acl(
    [
      ...numbers.map((i) => ["cn", `service-${i}`] as const),
      ...numbers.map((i) => ["uri", `spiffe://acme/ns/*/s${i}`] as const),
    ],
    [
      ...numbers.map((i) => ["cn", `bad-${i}`] as const),
      ...numbers.map((i) => ["uri", `spiffe://acme/ns/*/d${i}`] as const),
      ...numbers.map((i) => ["dns", `*.d${i}.acme`] as const),
      ...numbers.map((i) => ["ip", `10.${i >> 8}.${i & 255}.0/24`] as const),
    ],
  );
  const peers: Record<string, Partial<PeerIdentity>> = {
    "one long CN": cn("x".repeat(60_000)),
    "one long CN like a rule": cn("service-".repeat(7_500)),
    "letters that fold to many": cn("\ufdfa".repeat(20_000)),
    "a CN that cannot be read": { commonNames: [{ text: undefined, guess: "x\0".repeat(30_000) }] },
    "many CNs": cn(...numbers.flatMap((i) => [`service-x${i}`, `service-y${i}`])),
    "many organizations": { organizations: texts(...numbers.map((i) => `x${i}`)) },
  };
  for (const [what, peer] of Object.entries(peers)) {
    const ms = fastest(() => evaluateRules({ ...EMPTY_PEER, ...peer }, rules));
    // A few ms on a machine at rest; a search of all pairs takes seconds.
    assert.ok(ms < 500, `${what}: ${ms} ms`);
  }
  const many: Record<string, Partial<PeerIdentity>> = {
    "many URIs": { uris: numbers.map((i) => `spiffe://acme/ns/x/${i}`) },
    "a long URI": { uris: [`spiffe://a@acme:80/ns/x${"/%2e%2e\\x?".repeat(5000)}`] },
    "many wildcards": { dnsNames: numbers.map((i) => `w*w*.d${i}.acm`) },
    "wildcards that are alike": { dnsNames: numbers.map((i) => `w${i}*w*.d1.acme`) },
    "many addresses": {
      ipAddresses: numbers.flatMap((i) => [Uint8Array.of(12, 0, i >> 8, i & 255)]),
    },
  };
  for (const [what, peer] of Object.entries(many)) {
    const ms = fastest(() => evaluateRules({ ...EMPTY_PEER, ...peer }, rules));
    assert.ok(ms < 1500, `${what}: ${ms} ms`);
  }
});
