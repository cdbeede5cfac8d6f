
complete -c codex-traced -n '__fish_codex_traced_using_subcommand mlflow; and __fish_seen_subcommand_from completions' -f -a 'bash zsh fish'

# Codex's own words, completed by Codex.
command codex-traced completion fish 2>/dev/null | string replace --regex '^complete -c codex ' 'complete -c codex-traced ' | source
