# Read by the workers beside it. `first_time` is true once per workflow: the input names a file that is made then.
input=$(cat)
marker=$(printf '%s' "$input" | sed -n 's/.*"marker" *: *"\([^"]*\)".*/\1/p')
[ -n "$marker" ] || { echo "the input names no marker: $input" >&2; exit 100; }
first_time() { (set -C; : > "$marker") 2> /dev/null; }
