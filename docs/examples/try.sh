#!/usr/bin/env bash
# Talk by typing to an agent of this folder, without an account: a simulated KrosAI, the kros-mcp service and a stand-in
# for the model are started behind it, each at a free port, and end with it.
#
#   bash docs/examples/try.sh livekit        or: pipecat, plain
set -euo pipefail
cd "$(dirname "$0")/../.."
agent="docs/examples/${1:-}_agent.py"
[ -f "$agent" ] || { echo "usage: bash docs/examples/try.sh livekit|pipecat|plain" >&2; exit 2; }

for name in $(compgen -e KROS_ || true); do unset "$name"; done # no key, cap or journal of this shell counts here
uv sync --quiet --no-dev --extra http --inexact
PATH="$PWD/.venv/bin:$PATH"
kept=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$kept"' EXIT

# Start a program, and wait until it prints what is looked for; what matched stands in $printed then.
start() {
    local pattern=$1
    shift
    "$@" > "$kept/printed" 2>&1 &
    until printed=$(grep -oE "$pattern" "$kept/printed"); do
        kill -0 $! 2> /dev/null || { cat "$kept/printed" >&2; exit 1; }
        sleep 0.2
    done
}

start 'KROS_(BASE_URL|API_KEY)=[^ ]+' kros-mcp simulator --port 0
export $printed
simulator=${KROS_BASE_URL%/v1}

export KROS_CONFIRMATION=conversation KROS_TOKENS_FILE="$kept/tokens.toml" KROS_JOURNAL_URL="sqlite:///$kept/journal.sqlite3"
NUMBERS_MCP_TOKEN=$(kros-mcp token voice --scopes read,configure,buy --daily-budget-cents 700 2> /dev/null)
start 'http://[0-9.:]+/mcp' kros-mcp http --port 0
export NUMBERS_MCP_TOKEN NUMBERS_MCP_URL="$printed"

start 'OPENAI_[A-Z_]+=[^ ]+' python docs/examples/scripted_model.py --port 0
[ -n "${VOICE_MODEL:-}" ] || export $printed # a model of your own is used where one is named

echo "The simulated KrosAI: $simulator/_simulator. An empty line ends the call." >&2
uv run "$agent" text || true
echo
kros-mcp operations
