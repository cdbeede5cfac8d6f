# `codex` runs codex-traced where it is installed, and the real codex elsewhere.
#
# Install: copy this file to ~/.config/fish/functions/codex.fish
# Undo:    remove the copy; in a shell that is open, `functions --erase codex`.

function codex --wraps codex-traced --description 'Codex, traced'
    if command --query codex-traced
        command codex-traced $argv
    else
        command codex $argv
    end
end
