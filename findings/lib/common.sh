# What every finding needs: a temporary folder, installers, and the comparison. Sourced, not run.
set -euo pipefail
export LC_ALL=C.UTF-8 TZ=UTC

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

# Ends with exit code 2, which says nothing about the behaviour.
cannot() {
    echo "could not run: $1" >&2
    exit 2
}

need() {
    local program
    for program; do
        command -v "$program" >/dev/null || cannot "there is no $program on PATH"
    done
}

# Runs a command that installs something; what it prints is shown only if it fails.
installed() {
    timeout 100 "$@" >install.log 2>&1 && return
    tail -n 5 install.log >&2
    cannot "\`$*\` failed"
}

# PACKAGE==VERSION..., then `env/bin/python`.
from_pypi() {
    need python3
    installed python3 -m venv env
    installed env/bin/pip install --quiet --disable-pip-version-check "$@"
}

# PACKAGE@VERSION..., then `node`.
from_npm() {
    need node npm
    echo '{"private": true, "type": "module"}' >package.json
    installed npm install --no-audit --no-fund --ignore-scripts "$@"
}

# MODULE@VERSION..., then `go run .`.
from_go() {
    need go
    export GOPATH=$work/go GOFLAGS=-mod=mod
    installed go mod init example.org/finding
    installed go get "$@"
}

# Runs the experiment and keeps what it prints on standard output.
observe() {
    "$@" >seen 2>trouble && return
    cat seen trouble >&2
    echo "changed: the experiment failed" >&2
    exit 1
}

# Compares what was seen with standard input.
expect() {
    cat >expected
    cat seen
    diff -u expected seen >difference && return
    cat difference >&2
    echo "changed: other output than expected (-) was seen (+)" >&2
    exit 1
}
