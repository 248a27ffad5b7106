/**
 * The help texts.
 *
 * @module
 */

import type { CommandName } from "./mod.ts";

const GENERAL_HELP = `mtlsd joins two services over mutually authenticated TLS.

usage: mtlsd CONFIG
       mtlsd COMMAND [...]

commands:
  run CONFIG      run the daemon until a signal (the default)
  check CONFIG    validate a config and the files that it names
  grants CONFIG   print the Deno permission flags that a config runs under
  explain CONFIG --cert PEM
                  say whether a peer would be let in, and by which rule
  schema          print the JSON Schema of a config, for editors
  certs           make a throw-away CA, a server and a client certificate
  version         print the versions of mtlsd, Deno and V8
  help [COMMAND]  print this, or more about a command

CONFIG is the path of a YAML file, or "-" for standard input.
exit status: 0 clean stop, 1 failed while running, 2 wrong usage or invalid config
`;

const HELP: Readonly<Record<CommandName, string>> = {
  run: `usage: mtlsd run CONFIG
       mtlsd CONFIG
       mtlsd --config CONFIG

Runs the daemon until SIGTERM, SIGINT or SIGQUIT, then drains; a second signal cuts at
once. SIGHUP reloads certificates and access rules. The log goes to standard error.

  CONFIG  path of a YAML file, or "-" for standard input. A name without "." or "/"
          needs the word "run" before it.

exit status: 0 clean stop; 1 failed while running, such as a port in use or a drain that
ran out of time; 2 wrong usage or invalid config
`,
  check: `usage: mtlsd check CONFIG

Validates the config and every file that it names, and prints each finding with its fix.
Opens no sockets.

  CONFIG  path of a YAML file, or "-" for standard input

exit status: 0 nothing wrong; 2 wrong usage or invalid config
`,
  grants: `usage: mtlsd grants CONFIG [--files] [--with-env]

Prints the smallest set of Deno permission flags that the config runs under, on one line:

  deno run $(mtlsd grants server.yaml) src/main.ts server.yaml

Warns on standard error of other private keys in the directories that are granted, where
this process may look there.

  CONFIG      path of a YAML file, or "-" for standard input
  --files     grant the certificate files alone and not their directories; the daemon
              then looks at them every 5 s instead of watching
  --with-env  print what settings from the environment (MTLSD_...) take, too
`,
  explain: `usage: mtlsd explain CONFIG --cert PEM [--tunnel NAME]
       mtlsd explain CONFIG --no-cert [--tunnel NAME]

Says whether a peer would be let in and by which rule: what the daemon would decide with
this config, the files that it names and the clock as they are now. Opens no sockets.

  CONFIG         path of a YAML file, or "-" for standard input
  --cert PEM     the chain that the peer shows, its own certificate first; "-" as above
  --no-cert      a peer that shows no certificate
  --tunnel NAME  ask this one of several tunnels; without, each is asked

Each line of the answer is a name and a value. The first is "verdict: allowed", "verdict:
denied" or "verdict: would be denied (audit)": let in because the rules are on trial. With
several tunnels there is an answer for each, after a line "tunnel: NAME"; where a tunnel
has several peers (a bridge has two), a line "peer: ..." says which one is meant.

exit status: 0 let in, by each tunnel that was asked, as one of its peers; 1 not let in;
2 wrong usage, invalid config, unreadable file
`,
  schema: `usage: mtlsd schema

Prints the JSON Schema (draft 7) of a config, by which editors complete and check YAML.
A file names it in its first line:

  # yaml-language-server: $schema=mtlsd.schema.json
`,
  certs: `usage: mtlsd certs [--out DIR] [--force] [--keep-ca-key]

Makes a throw-away CA, a server certificate (localhost, 127.0.0.1, ::1) and a client
certificate (CN frontend-service): ca.pem, server.pem, server-key.pem, client.pem,
client-key.pem. For tests and first steps, not for production.

  --out DIR      directory to write to, made if need be (default testdata/certs)
  --force        overwrite files that are there
  --keep-ca-key  write the CA's private key besides; else it cannot sign again
`,
  version: `usage: mtlsd version

Prints the versions of mtlsd, Deno and V8, and whether native I/O is in use.
`,
  help: `usage: mtlsd help [COMMAND]

Prints what a command does and takes; without COMMAND, all of them.
`,
};

/** The help text of a command, or the general one; ends with a line end. */
export function helpText(topic?: CommandName): string {
  return topic === undefined ? GENERAL_HELP : HELP[topic];
}
