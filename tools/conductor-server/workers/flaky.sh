#!/bin/sh
# Fails the first time, retryably; completes the second time.
. "$(dirname "$0")/common.sh"
if first_time; then
  echo "failing on purpose" >&2
  exit 1
fi
echo '{"attempt":"second"}'
