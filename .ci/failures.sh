# What the last section of .ci/run says, read from what the steps printed. Sourced by it.
# shellcheck shell=bash

# plain FILE: takes the colours out.
plain() {
  sed -i 's/\x1b\[[0-9;]*m//g' "$1"
}

# summary_of FILE: "ok | 63 passed (137 steps) | 0 failed (4s)", perhaps with "| 2 ignored" and the like.
summary_of() {
  grep -E '^(ok|FAILED) \| [0-9]+ passed' "$1" | tail -n 1 || true
}

# count SUMMARY WORD: the number in front of a word, 0 where there is none.
count() {
  local number
  number=$(grep -oE "[0-9]+ $2" <<< "$1" | head -n 1 | cut -d ' ' -f 1) || true
  echo "${number:-0}"
}

# lines: how many there are on standard input.
lines() {
  grep -c . || true
}

# listed FILE: the runner's list of failures, one a line: the test, its steps, and where they are defined.
listed() {
  awk '
    /^ FAILURES $/ { inside = 1; next }
    /^(ok|FAILED) \| / { inside = 0 }
    inside && NF > 0' "$1"
}

# failures_of FILE: the same with the file that was run, from a parallel run: FILE, tab, NAME. A test that
# failed because of its steps is there by its steps only.
failures_of() {
  sed -nE \
    -e '/ \.\.\. FAILED \(due to [0-9]+ failed steps?\)/d' \
    -e 's|^(\./[^ ]+) => (.*) \.\.\. FAILED( \(.*\))?$|\1\t\2|p' \
    -e 's|^Uncaught error from (\./[^ ]+) FAILED$|\1\tuncaught error|p' "$1"
}

# errors_of FILE LINES: the beginning of each error that the runner tells, in so many lines for all of them,
# but at least 4 and at most 25 for each.
errors_of() {
  local number most
  number=$(listed "$1" | lines)
  most=$(($2 / (number > 0 ? number : 1)))
  awk -v most=$((most < 4 ? 4 : most > 25 ? 25 : most)) '
    /^ ERRORS $/ { inside = 1; next }
    /^ FAILURES $/ { inside = 0 }
    !inside { next }
    # The title of an error is followed by the error.
    /^error: / && title != "" { left = most; print title; title = "" }
    / => .*:[0-9]+:[0-9]+$/ || / \(uncaught error\)$/ { title = $0; next }
    left > 0 && NF > 0 { left--; print "  " substr($0, 1, 400) }' "$1"
}

# told_by FILE: what a step that failed printed about it: errors of tests, rows of faults, or its last lines.
told_by() {
  if grep -q '^ ERRORS $' "$1"; then
    errors_of "$1" 50
  elif grep -q ': FAILED: ' "$1"; then
    grep ': FAILED: ' "$1" | cut -c 1-600 | sed 's/^/  /'
  else
    grep . "$1" | tail -n 20 | cut -c 1-400 | sed 's/^/  /' || true
  fi
}
