// A client of real Node: `node node_client.mjs HOST PORT CA CERT KEY OPTIONS` asks for "/" over HTTPS, or
// over HTTP where CA is "plain", and prints what it gets or the error, its code in front. "-" for CERT
// is no certificate.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import process from "node:process";

const [host, port, ca, cert, key, options = "{}"] = process.argv.slice(2);
const own = cert === "-" ? {} : { cert: readFileSync(cert), key: readFileSync(key) };
const tls = ca === "plain" ? {} : { ca: readFileSync(ca), servername: "localhost", ...own };
const request = (ca === "plain" ? http : https).get({
  host,
  port,
  path: "/",
  ...tls,
  ...JSON.parse(options),
});
request.on("response", (response) => {
  process.stdout.write(`status ${response.statusCode}\n`);
  response.resume();
});
request.on("error", (error) => process.stdout.write(`${error.code} ${error.message}\n`));
