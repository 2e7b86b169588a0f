#!/bin/sh
# Asks to be called again after a second the first time; completes the second time.
. "$(dirname "$0")/common.sh"
if first_time; then
  echo '{"callbackAfterSeconds":1,"output":{"phase":"waiting"}}' > "$DOWNBEAT_RESULT"
  exit 75
fi
echo '{"phase":"done"}'
