import assert from "node:assert/strict";
import {
  type Command,
  COMMAND_NAMES,
  DEFAULT_CERTS_DIR,
  helpText,
  parseArgs,
} from "../../../src/cli/mod.ts";

function accept(...argv: string[]): Command {
  const result = parseArgs(argv);
  assert.ok(result.ok, result.ok ? "" : `${argv.join(" ")}: ${result.problem}`);
  return result.command;
}

function refuse(...argv: string[]): string {
  const result = parseArgs(argv);
  assert.ok(!result.ok, argv.join(" "));
  assert.doesNotMatch(result.problem, /\n/);
  assert.match(result.problem, /^Cannot .*[^.]$/);
  return result.problem;
}

Deno.test({ name: "cli: a path runs the daemon", permissions: "none" }, () => {
  for (const path of ["server.yaml", "./server", "/etc/mtlsd/server", "-", "C:\\server", ".x"]) {
    assert.deepEqual(accept(path), { kind: "run", config: path });
  }
});

Deno.test({ name: "cli: every way to name the config", permissions: "none" }, () => {
  for (const kind of ["run", "check", "grants"] as const) {
    const more = kind === "grants" ? { files: false, withEnv: false } : {};
    const expected = { kind, config: "a.yaml", ...more };
    assert.deepEqual(accept(kind, "a.yaml"), expected);
    assert.deepEqual(accept(kind, "-config", "a.yaml"), expected);
    assert.deepEqual(accept(kind, "--config", "a.yaml"), expected);
    assert.deepEqual(accept(kind, "-config=a.yaml"), expected);
    assert.deepEqual(accept(kind, "--config=a.yaml"), expected);
    assert.deepEqual(accept(kind, "--", "a.yaml"), expected);
    assert.deepEqual(accept(kind, "-"), { kind, config: "-", ...more });
    assert.deepEqual(accept(kind, "--config", "-"), { kind, config: "-", ...more });
    assert.deepEqual(accept(kind, "--", "--config"), { kind, config: "--config", ...more });
  }
  assert.deepEqual(accept("--config", "a.yaml"), { kind: "run", config: "a.yaml" });
  assert.deepEqual(accept("-config=a.yaml"), { kind: "run", config: "a.yaml" });
  assert.deepEqual(accept("--", "a.yaml"), { kind: "run", config: "a.yaml" });
  // After "run", any word is a path.
  assert.deepEqual(accept("run", "server"), { kind: "run", config: "server" });
  assert.deepEqual(accept("--config=a=b"), { kind: "run", config: "a=b" });
});

Deno.test({ name: "cli: certs", permissions: "none" }, () => {
  const defaults = { kind: "certs", out: "testdata/certs", force: false, keepCaKey: false };
  assert.deepEqual(accept("certs"), defaults);
  assert.deepEqual(accept("certs", "--out", "d"), { ...defaults, out: "d" });
  assert.deepEqual(accept("certs", "--out=-d"), { ...defaults, out: "-d" });
  assert.deepEqual(accept("certs", "-force", "--keep-ca-key", "-out=d"), {
    kind: "certs",
    out: "d",
    force: true,
    keepCaKey: true,
  });
});

Deno.test({ name: "cli: explain", permissions: "none" }, () => {
  const expected = {
    kind: "explain",
    config: "a.yaml",
    cert: "peer.pem",
    tunnel: undefined,
  };
  assert.deepEqual(accept("explain", "a.yaml", "--cert", "peer.pem"), expected);
  assert.deepEqual(accept("explain", "--cert=peer.pem", "a.yaml"), expected);
  assert.deepEqual(accept("explain", "-cert", "peer.pem", "-config", "a.yaml"), expected);
  assert.deepEqual(accept("explain", "a.yaml", "--cert", "-"), { ...expected, cert: "-" });
  assert.deepEqual(accept("explain", "-", "--cert", "peer.pem"), { ...expected, config: "-" });
  assert.deepEqual(accept("explain", "a.yaml", "--no-cert"), { ...expected, cert: undefined });
  const one = { ...expected, tunnel: "grpc" };
  assert.deepEqual(accept("explain", "a.yaml", "--cert", "peer.pem", "--tunnel", "grpc"), one);
  assert.deepEqual(accept("explain", "-tunnel=grpc", "a.yaml", "-cert=peer.pem"), one);
  assert.deepEqual(accept("explain", "--help"), { kind: "help", topic: "explain" });
});

Deno.test({ name: "cli: grants and schema", permissions: "none" }, () => {
  const expected = { kind: "grants", config: "a.yaml", files: false, withEnv: true };
  assert.deepEqual(accept("grants", "a.yaml", "--with-env"), expected);
  assert.deepEqual(accept("grants", "-with-env", "--config", "a.yaml"), expected);
  const files = { ...expected, files: true };
  assert.deepEqual(accept("grants", "--files", "a.yaml", "--with-env"), files);
  assert.deepEqual(accept("grants", "--files", "a.yaml"), { ...files, withEnv: false });
  assert.deepEqual(accept("schema"), { kind: "schema" });
});

Deno.test({ name: "cli: version and help", permissions: "none" }, () => {
  for (const word of ["version", "-v", "-version", "--version"]) {
    assert.deepEqual(accept(word), { kind: "version" });
  }
  for (const word of ["help", "-h", "-help", "--help"]) {
    assert.deepEqual(accept(word), { kind: "help", topic: undefined });
    assert.deepEqual(accept(word, "check"), { kind: "help", topic: "check" });
  }
  for (const name of COMMAND_NAMES) {
    for (const flag of ["-h", "-help", "--help"]) {
      assert.deepEqual(accept(name, flag), { kind: "help", topic: name });
    }
  }
  assert.deepEqual(accept("server.yaml", "--help"), { kind: "help", topic: "run" });
});

Deno.test({ name: "cli: wrong usage", permissions: "none" }, () => {
  const cases: [string[], string][] = [
    [[], 'Cannot run without a config: write "mtlsd CONFIG", or see "mtlsd help"'],
    [["run"], 'Cannot run without a config: write "mtlsd run CONFIG"'],
    [["check"], 'Cannot check without a config: write "mtlsd check CONFIG"'],
    [["grants", "--"], 'Cannot print grants without a config: write "mtlsd grants CONFIG"'],
    [["run", ""], 'Cannot use config "": must be the path of a file, or "-" for standard input'],
    [["a.yaml", "b.yaml"], 'Cannot use extra word "b.yaml": see "mtlsd help run"'],
    [["--config", "a.yaml", "b.yaml"], 'Cannot use extra word "b.yaml": see "mtlsd help run"'],
    [["schema", "a.yaml"], 'Cannot use extra word "a.yaml": see "mtlsd help schema"'],
    [["grants", "a", "--with-env=no"], 'Cannot use "--with-env=no": "--with-env" takes no value'],
    [
      ["explain", "a", "--cert", "p", "--tunnel"],
      'Cannot use "--tunnel" without a value: see "mtlsd help explain"',
    ],
    [["certs", "dir"], 'Cannot use extra word "dir": see "mtlsd help certs"'],
    [["version", "x"], 'Cannot use extra word "x": see "mtlsd help version"'],
    [["help", "run", "x"], 'Cannot use extra word "x": see "mtlsd help help"'],
    [["--help", "run", "x"], 'Cannot use extra word "x": see "mtlsd help help"'],
    [["run", "--config", "a", "-config", "b"], 'Cannot use "-config" twice'],
    [["certs", "--force", "--force"], 'Cannot use "--force" twice'],
    [["run", "--config"], 'Cannot use "--config" without a value: see "mtlsd help run"'],
    [["run", "--config="], 'Cannot use "--config" without a value: see "mtlsd help run"'],
    [["certs", "--out", "--force"], 'Cannot use "--out" without a value: see "mtlsd help certs"'],
    [["certs", "--force=no"], 'Cannot use "--force=no": "--force" takes no value'],
    [["run", "--confg", "a"], 'Cannot use unknown flag "--confg": did you mean "--config"?'],
    [["--confg=a"], 'Cannot use unknown flag "--confg": did you mean "--config"?'],
    [["--verbose"], 'Cannot use unknown flag "--verbose": see "mtlsd help run"'],
    [
      ["certs", "--keep-cakey"],
      'Cannot use unknown flag "--keep-cakey": did you mean "--keep-ca-key"?',
    ],
    [["certs", "---force"], 'Cannot use unknown flag "---force": did you mean "--force"?'],
    [["check", "--force", "a"], 'Cannot use unknown flag "--force": see "mtlsd help check"'],
    [["--constructor"], 'Cannot use unknown flag "--constructor": see "mtlsd help run"'],
    [
      ["chek"],
      'Cannot use unknown command "chek": did you mean "check"? (a config of that name: "mtlsd run chek")',
    ],
    [["explain"], 'Cannot explain without a config: write "mtlsd explain CONFIG --cert PEM"'],
    [
      ["explain", "--cert", "a.pem"],
      'Cannot explain without a config: write "mtlsd explain CONFIG --cert PEM"',
    ],
    [
      ["explain", "a.yaml"],
      "Cannot explain without a certificate: add --cert PEM, or --no-cert for a peer that shows none",
    ],
    [
      ["explain", "a.yaml", "b.pem"],
      'Cannot use extra word "b.pem": see "mtlsd help explain"',
    ],
    [
      ["explain", "a.yaml", "--cert"],
      'Cannot use "--cert" without a value: see "mtlsd help explain"',
    ],
    [["explain", "a.yaml", "--cert", "a", "--cert", "b"], 'Cannot use "--cert" twice'],
    [
      ["explain", "a.yaml", "--cert", "a.pem", "--no-cert"],
      'Cannot use "--cert" and "--no-cert" together: see "mtlsd help explain"',
    ],
    [["explain", "a.yaml", "--no-cert=x"], 'Cannot use "--no-cert=x": "--no-cert" takes no value'],
    [
      ["explain", "-", "--cert", "-"],
      "Cannot read both the config and the certificate from standard input: name a file",
    ],
    [
      ["explain", "a.yaml", "--crt", "a.pem"],
      'Cannot use unknown flag "--crt": did you mean "--cert"?',
    ],
    [
      ["explan", "a.yaml"],
      'Cannot use unknown command "explan": did you mean "explain"? (a config of that name: "mtlsd run explan")',
    ],
    [
      ["status"],
      'Cannot use unknown command "status": the commands are run, check, grants, explain, schema, certs, ' +
      'version, help (a config of that name: "mtlsd run status")',
    ],
    [["help", "chekc"], 'Cannot use unknown command "chekc": did you mean "check"?'],
    [
      ["x\n\u001b[31m"],
      'Cannot use unknown command "x\\u000a\\u001b[31m": the commands are run, check, grants, explain, schema, certs, version, help',
    ],
    [
      [""],
      'Cannot use unknown command "": the commands are run, check, grants, explain, schema, certs, version, help',
    ],
  ];
  for (const [argv, problem] of cases) {
    const result = parseArgs(argv);
    assert.deepEqual(result, { ok: false, problem }, argv.join(" "));
    refuse(...argv);
  }
});

Deno.test({ name: "cli: help names every command and flag", permissions: "none" }, () => {
  for (const name of COMMAND_NAMES) {
    assert.match(helpText(), new RegExp(`^  ${name}\\b`, "m"));
    assert.match(helpText(name), new RegExp(`^usage: mtlsd ${name}\\b.*\n`));
  }
  for (const text of [undefined, ...COMMAND_NAMES].map((topic) => helpText(topic))) {
    assert.ok(text.endsWith("\n") && !text.endsWith("\n\n"));
    for (const line of text.split("\n")) assert.ok(line.length <= 90, line);
  }
  for (const flag of ["--out DIR", "--force", "--keep-ca-key"]) {
    assert.ok(helpText("certs").includes(flag));
  }
  assert.ok(helpText("certs").includes(`(default ${DEFAULT_CERTS_DIR})`));
  assert.ok(helpText("grants").includes("--with-env"));
  for (const flag of ["--cert PEM", "--no-cert", "--tunnel NAME"]) {
    assert.ok(helpText("explain").includes(flag));
  }
});
