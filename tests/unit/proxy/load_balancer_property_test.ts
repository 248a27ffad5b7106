import assert from "node:assert/strict";
import fc from "fast-check";
import { BALANCES } from "../../../src/config/config.ts";
import { NoTarget } from "../../../src/proxy/load_balancer.ts";
import { Field, type Manner } from "./load_balancer_support.ts";

const balance = fc.constantFrom(...BALANCES);
const count = fc.integer({ min: 1, max: 8 });
const seeds = fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true }));

/** Chance that a test can repeat. */
function chance(stream: Iterator<number>): () => number {
  return () => Number(stream.next().value ?? 0);
}

type Step =
  | { readonly kind: "set"; readonly index: number; readonly manner: Manner }
  | { readonly kind: "wait"; readonly time: number }
  | { readonly kind: "connect" }
  | { readonly kind: "release"; readonly which: number };

const manner: fc.Arbitrary<Manner> = fc.constantFrom("takes", "takes", "refuses", "hangs");

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), index: fc.nat(7), manner }),
  fc.record({ kind: fc.constant("wait" as const), time: fc.nat(40_000) }),
  fc.constant({ kind: "connect" as const }),
  fc.constant({ kind: "connect" as const }),
  fc.record({ kind: fc.constant("release" as const), which: fc.nat(99) }),
);

Deno.test("property: no connection is lost while one target takes it, in time, and all is counted", async () => {
  await fc.assert(
    fc.asyncProperty(count, balance, seeds, fc.array(step, { maxLength: 60 }), async (
      count,
      balance,
      seeds,
      steps,
    ) => {
      const field = new Field({ count, balance, random: chance(seeds) });
      const manners: Manner[] = Array.from({ length: count }, () => "takes");
      const open: Disposable[] = [];
      for (const step of steps) {
        if (step.kind === "wait") field.time += step.time;
        else if (step.kind === "release") {
          open.splice(step.which % Math.max(1, open.length), 1)[0]?.[Symbol.dispose]();
        } else if (step.kind === "set") {
          manners[step.index % count] = step.manner;
          field.set(step.index % count, step.manner);
        } else {
          const start = field.time;
          const takes = manners.includes("takes");
          try {
            open.push(await field.connect());
            assert.ok(takes, "nobody takes it");
          } catch (error) {
            if (!(error instanceof NoTarget)) throw error;
            assert.ok(!takes, "lost");
            assert.deepEqual(new Set(error.failures.map(({ index }) => index)).size, count);
          }
          // A millisecond for each try may come of rounding.
          assert.ok(field.time - start <= 10_000 + 2 * count, `took ${field.time - start} ms`);
        }
        const active = field.tallies.reduce((sum, { active }) => sum + active, 0);
        assert.equal(active, open.length);
      }
      for (const one of open) one[Symbol.dispose]();
      assert.ok(field.tallies.every(({ active }) => active === 0));
    }),
    { numRuns: 500 },
  );
});

Deno.test("property: the same holds for many at once", async () => {
  await fc.assert(
    fc.asyncProperty(
      balance,
      seeds,
      fc.array(fc.constantFrom<Manner>("takes", "refuses"), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 40 }),
      async (balance, seeds, manners, connections) => {
        const field = new Field({ count: manners.length, balance, random: chance(seeds) });
        for (const [index, manner] of manners.entries()) field.set(index, manner);
        const all = await Promise.allSettled(
          Array.from({ length: connections }, () => field.connect()),
        );
        const takes = manners.includes("takes");
        assert.ok(all.every(({ status }) => status === (takes ? "fulfilled" : "rejected")));
      },
    ),
  );
});

Deno.test("property: round robin is fair among those that are well, whoever comes and goes", async () => {
  await fc.assert(
    fc.asyncProperty(count, seeds, fc.array(fc.nat(7)), fc.integer({ min: 1, max: 60 }), async (
      count,
      seeds,
      changes,
      connections,
    ) => {
      const field = new Field({ count, balance: "round_robin", random: chance(seeds) });
      const down = new Set<number>();
      for (const change of changes) {
        const index = change % count;
        if (down.delete(index)) field.set(index, "takes");
        else if (down.size < count - 1) {
          down.add(index);
          field.set(index, "refuses");
        }
        await field.host();
      }
      // Whoever is back is known to be, and whoever is not is passed over.
      field.targets.clearEjections();
      for (let i = 0; i < count; i++) await field.host();
      const before = field.tallies.map(({ taken }) => taken);
      for (let i = 0; i < connections; i++) await field.host();
      const got = field.tallies.map(({ taken }, index) => taken - (before[index] ?? 0));
      const well = got.filter((_, index) => !down.has(index));
      assert.ok(Math.max(...well) - Math.min(...well) <= 1, String(got));
      assert.ok([...down].every((index) => got[index] === 0), String(got));
    }),
  );
});

Deno.test("property: least connections keeps them level", async () => {
  await fc.assert(
    fc.asyncProperty(count, seeds, fc.array(fc.nat(99), { maxLength: 80 }), async (
      count,
      seeds,
      steps,
    ) => {
      const field = new Field({ count, balance: "least_connections", random: chance(seeds) });
      const open: Disposable[] = [];
      for (const step of steps) {
        if (step % 3 === 0) open.splice(step % Math.max(1, open.length), 1)[0]?.[Symbol.dispose]();
        else {
          const before = field.tallies.map(({ active }) => active);
          const reached = await field.connect();
          open.push(reached);
          assert.equal(before[reached.index], Math.min(...before));
        }
      }
    }),
  );
});
