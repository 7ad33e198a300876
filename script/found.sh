# Sourced: what no second attempt excuses.

# found_by_sanitizer FILE: whether a sanitizer reported something in it. A race that shows once in twenty runs is a race.
found_by_sanitizer() {
    grep -qE 'ERROR: (Address|Leak|Memory)Sanitizer|WARNING: ThreadSanitizer|: runtime error: ' "$1"
}
