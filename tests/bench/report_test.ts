import assert from "node:assert/strict";
import { samples } from "./measure.ts";
import { readTimed } from "./measures_resumed.ts";
import { receivedBytes } from "./measures_transfer.ts";
import { figures, Rows, short, table } from "./report.ts";

function rows(): Rows {
  const rows = new Rows();
  for (const [own, other] of [[3, 2], [5, 4], [4, 3]] as const) {
    const rest = { label: "", unit: "ms", bar: 1 } as const;
    rows.add("handshake", "server", "mtlsd", [{ ...rest, value: own, busy: 0.5 }]);
    rows.add("handshake", "server", "nginx", [{ ...rest, value: other }]);
  }
  return rows;
}

Deno.test("ratios are of medians, and bars are about nginx", () => {
  const [figure] = figures(rows().all(), ["mtlsd", "nginx"]);
  assert.equal(figure?.subjects.mtlsd?.median, 4);
  assert.equal(figure?.subjects.mtlsd?.ratio, undefined);
  assert.equal(figure?.subjects.nginx?.median, 3);
  assert.equal(figure?.subjects.nginx?.ratio, 4 / 3);
  assert.deepEqual(figure?.subjects.nginx?.samples, [2, 4, 3]);
  assert.equal(figure?.subjects.mtlsd?.busy, 0.5);
  assert.equal(figure?.pass, false);
});

Deno.test("without nginx there is no verdict, without mtlsd no ratio", () => {
  const [alone] = figures(rows().all(), ["mtlsd"]);
  assert.equal(alone?.pass, undefined);
  const others = new Rows();
  others.add("echo", "tunnel", "nginx", [{ label: "both", unit: "us", value: 20, bar: 2 }]);
  const [figure] = figures(others.all(), ["mtlsd", "nginx"]);
  assert.equal(figure?.subjects.nginx?.ratio, undefined);
  assert.equal(figure?.pass, undefined);
});

Deno.test("the table has a line for each figure and a cell for each subject", () => {
  const subjects = ["mtlsd", "haproxy", "nginx"] as const;
  assert.equal(
    table(figures(rows().all(), subjects), subjects),
    [
      "| measure   | mode   | unit | mtlsd | haproxy | nginx       | ±    | bar    | busy % |",
      "| --------- | ------ | ---- | ----- | ------- | ----------- | ---- | ------ | ------ |",
      "| handshake | server | ms   | 4.00  | -       | 3.00 (1.33) | 25 % | 1 MISS | 50/-/- |",
    ].join("\n"),
  );
});

Deno.test("figures are cut to three digits", () => {
  const wanted = { "0.0123": 0.01234, "0.123": 0.12345, "1.23": 1.2345, "12.3": 12.345 };
  for (const [text, value] of Object.entries(wanted)) assert.equal(short(value), text.slice(0, 5));
  assert.equal(short(1234.5), "1235");
  assert.equal(short(-56.78), "-56.8");
  assert.equal(short(0), "0.000");
});

Deno.test("two ends are told apart and added up, and the sum has the bar", () => {
  const shares = [{ side: "client", value: 1, busy: 0.2 }, { side: "server", value: 2 }] as const;
  const rest = { label: "back", unit: "ms", bar: 1.6 } as const;
  assert.deepEqual(samples(shares, 10, rest), [
    { label: "back, client side", unit: "ms", value: 10, busy: 0.2 },
    { label: "back, server side", unit: "ms", value: 20 },
    { label: "back, both", unit: "ms", value: 30, bar: 1.6 },
  ]);
  assert.deepEqual(samples([{ side: "server", value: 2 }], 10, rest), [{ ...rest, value: 20 }]);
});

Deno.test("what openssl s_time says is read: how many connections, and how many were resumed", () => {
  const said = (marks: string) =>
    `Now timing with session id reuse.\nstarting\n${marks}\n\n` +
    "5 connections in 0.05s; 100.00 connections/user sec, bytes read 5\n" +
    "5 connections in 2 real seconds, 1 bytes read per connection\n";
  assert.deepEqual(readTimed(said("rrrrr")), { connections: 5, resumed: 5 });
  assert.deepEqual(readTimed(said("*r*r*")), { connections: 5, resumed: 2 });
  assert.deepEqual(readTimed(said("*****")), { connections: 5, resumed: 0 });
  assert.throws(() => readTimed("ERROR\n0 connections in 0.00s"), /Cannot time handshakes/);
});

Deno.test("what iperf3 says is read: what has arrived, or why nothing has", () => {
  assert.equal(receivedBytes('{"end":{"sum_received":{"bytes":12}}}'), 12);
  assert.throws(() => receivedBytes('{"end":{},"error":"no route"}'), /iperf3: no route$/);
});
