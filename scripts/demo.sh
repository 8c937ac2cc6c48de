#!/bin/sh
# The main job on the shipped sample, with the embedded default: no GPU, no download of models.
set -eu
orchestrate="$PWD/${BIN:?the folder of the orchestrate command}/orchestrate"
mkdir -p demo
cd demo
"$orchestrate" init >/dev/null
"$orchestrate" submit prompts/posting/sample.jsonl --debate posting
"$orchestrate" process-pending --max-workers 1
echo
"$orchestrate" show --debate posting
echo
"$orchestrate" show posting-003
"$orchestrate" status
echo
echo "The database lies in $PWD/orchestrate.db; open it with any SQLite tool, or go on: cd demo && $orchestrate --help"
