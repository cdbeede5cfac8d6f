
# Codex's own words, completed by Codex.
command codex-traced completion fish 2>/dev/null | string replace --regex '^complete -c codex ' 'complete -c codex-traced ' | source
