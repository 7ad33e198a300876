# Sourced by the scripts: where things are, and how to say what happens.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
logs=$root/build/logs
mkdir -p "$logs"
[[ -d $HOME/.cargo/bin ]] && PATH=$HOME/.cargo/bin:$PATH
export PATH

say() {
    printf '%s\n' "$*"
}

# log_of NAME: the file that a step's output goes to.
log_of() {
    printf '%s/%s.log' "$logs" "$(printf '%s' "$1" | tr -c 'a-zA-Z0-9' '-')"
}

# step NAME COMMAND…: runs it quietly, shows how long it took; on failure shows the end of its output and stops.
step() {
    local name=$1 log started=$SECONDS
    shift
    log=$(log_of "$name")
    printf '  %-44s ' "$name"
    if "$@" >"$log" 2>&1; then
        printf 'ok    %4ds\n' $((SECONDS - started))
        return 0
    fi
    printf 'FAILED after %ds\n' $((SECONDS - started))
    tail -n 40 "$log" | sed 's/^/    | /'
    say "    the whole output is in ${log#"$root"/}"
    return 1
}
