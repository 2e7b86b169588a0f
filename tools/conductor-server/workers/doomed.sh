#!/bin/sh
# Fails in a way that no retry mends.
. "$(dirname "$0")/common.sh"
first_time || { echo "a terminal failure was tried again" >&2; exit 1; }
echo "beyond repair" >&2
exit 100
