/**
 * Opens connections to a port of 127.0.0.1 and never says a byte, until it is ended: a given number a second
 * (the first argument after the port), each held until the other side closes it. With `tls` as a third
 * argument each sends the first byte of a TLS record besides.
 *
 * @module
 */

const [port, rate, speak] = [Number(Deno.args[0]), Number(Deno.args[1]), Deno.args[2] === "tls"];

async function hold(): Promise<void> {
  try {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port });
    if (speak) await conn.write(Uint8Array.of(22));
    await conn.read(new Uint8Array(1));
  } catch {
    // Refused, or reset: the next one may fare better.
  }
}

const start = performance.now();
let opened = 0;
let open = 0;
setInterval(() => {
  const due = (performance.now() - start) / 1000 * rate;
  // One who floods has limits as well.
  for (; opened < due && open < 4000; opened++) {
    open++;
    void hold().finally(() => open--);
  }
}, 5);
