#!/bin/sh
# Build the wheel, install it in an empty environment outside the checkout, and do the main job with it.
set -eu
python="$(pwd)/${1:?a python with hatchling}"
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
"$python" -m hatchling build -t wheel -d "$place/dist" >/dev/null
"$python" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install -qq --require-hashes -r requirements.lock
"$place/venv/bin/python" -m pip install -qq --no-deps "$place"/dist/*.whl
mkdir "$place/work"
cd "$place/work"
"$place/venv/bin/orchestrate" init >/dev/null
"$place/venv/bin/orchestrate" submit prompts/posting/sample.jsonl --debate posting
"$place/venv/bin/orchestrate" process-pending --max-workers 1
"$place/venv/bin/orchestrate" export verdicts.csv
rows="$(wc -l < verdicts.csv)"
[ "$rows" -ge 41 ] || { echo "wheel check: only $rows lines in verdicts.csv" >&2; exit 1; }
echo "wheel check: $("$place/venv/bin/orchestrate" --version), $rows lines exported"
