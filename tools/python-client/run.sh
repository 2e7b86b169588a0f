#!/usr/bin/env bash
# The official Python client against the model server: registers, starts and completes workflows with workers of its own.
# DOWNBEAT_SIM names the binary `downbeat-sim`. Exit 0: everything was as expected.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
sim=${DOWNBEAT_SIM:-$root/target/release/downbeat-sim}
[ -x "$sim" ] || { echo "python-client: $sim is not there; build it, or name it by DOWNBEAT_SIM" >&2; exit 2; }

# One environment for each set of requirements, kept between runs.
sum=$(sha256sum "$here/requirements.txt" | cut -c1-12)
venv=$root/target/python-client-$sum
if [ ! -e "$venv/ready" ]; then
    python3 -m venv "$venv"
    timeout 300 "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    touch "$venv/ready"
fi

log=$(mktemp)
"$sim" serve --listen 127.0.0.1:0 --auth python:not-a-secret --token-life 20s >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    url=$(sed -n 's/^listening on //p' "$log")
    [ -n "$url" ] && break
    sleep 0.1
done
[ -n "$url" ] || { echo "python-client: the server did not say where it listens" >&2; exit 1; }

CONDUCTOR_SERVER_URL=$url CONDUCTOR_AUTH_KEY=python CONDUCTOR_AUTH_SECRET=not-a-secret \
    timeout 80 "$venv/bin/python" "$here/client.py"
