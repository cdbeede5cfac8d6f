# `codex` runs codex-traced where it is installed, and the real codex elsewhere.
#
# Install: add this line to ~/.zshrc, with the path of this file:  source …/shims/codex.zsh
# Undo:    remove the line; in a shell that is open, `unset -f codex`.

# Not `codex()`: where `codex` is an alias already, the shell would not read that.
function codex {
    if command -v codex-traced >/dev/null 2>&1; then
        command codex-traced "$@"
    else
        command codex "$@"
    fi
}
