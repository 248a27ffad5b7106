/**
 * A gRPC server without TLS, a program of its own with a config and a lock of its own:
 *
 *     deno run -A --config tests/interop/grpc.json tests/interop/grpc_server.ts
 *
 * Says `listening PORT`; shuts down in good order when its standard input ends, and says `drained`.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type Answered, type Call, loadGrpc } from "./grpc_js.ts";

const say = (line: string): void =>
  void Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));

function method(name: string, requestStream: boolean, responseStream: boolean): object {
  const same = <T>(message: T): T => message;
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

async function main(): Promise<void> {
  const grpc = await loadGrpc();
  const server = new grpc.Server({ "grpc.max_receive_message_length": 8 << 20 });
  server.addService({
    Unary: method("Unary", false, false),
    Hang: method("Hang", false, false),
    Stream: method("Stream", false, true),
    Collect: method("Collect", true, false),
    Chat: method("Chat", true, true),
  }, {
    /** The same message; what is in `x-words` as header and as trailer; an error if asked for one. */
    Unary(call: Call, answer: Answered) {
      if (String(call.request.subarray(0, 4)) === "fail") {
        return answer({ code: 3, details: `no such thing as "${call.request}"` });
      }
      const [header, trailer] = [new grpc.Metadata(), new grpc.Metadata()];
      for (const words of call.metadata.get("x-words")) {
        header.set("x-header", String(words));
        trailer.set("x-trailer", String(words));
      }
      call.sendMetadata(header);
      answer(null, call.request, trailer);
    },
    /** No answer; says when the caller has given up. */
    Hang(call: Call) {
      call.on("cancelled", () => say("cancelled"));
    },
    /** As many messages as asked for. */
    Stream(call: Call) {
      for (let i = 0; i < Number(String(call.request)); i++) {
        call.write(Buffer.from(`message ${i}`));
      }
      call.end();
    },
    /** How many messages and bytes came. */
    Collect(call: Call, answer: Answered) {
      let [messages, bytes] = [0, 0];
      call.on("data", (message) => [messages, bytes] = [messages + 1, bytes + message.length]);
      call.on("end", () => answer(null, Buffer.from(`${messages} messages, ${bytes} bytes`)));
    },
    /** Each message back as it comes. */
    Chat(call: Call) {
      call.on("data", (message) => void call.write(message));
      call.on("end", () => call.end());
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    const insecure = grpc.ServerCredentials.createInsecure();
    server.bindAsync(
      "127.0.0.1:0",
      insecure,
      (error, port) => error ? reject(error) : resolve(port),
    );
  });
  say(`listening ${port}`);
  for await (const _ of Deno.stdin.readable);
  await new Promise<void>((resolve, reject) => {
    server.tryShutdown((error) => error ? reject(error) : resolve());
  });
  say("drained");
}

if (import.meta.main) await main();
