
# Codex's own words, completed by Codex; the word mlflow leads to ours.
_codex_traced_and_codex() {
    if (( CURRENT > 2 )) && [[ $words[2] == mlflow ]]; then
        _codex-traced "$@"
        return
    fi
    if (( ! $+functions[_codex] )); then
        eval "$(command codex-traced completion zsh 2>/dev/null)"
        compdef _codex_traced_and_codex codex-traced codex
    fi
    local ret=1
    if (( CURRENT == 2 )); then
        local -a ours=('mlflow:MLflow traces of your Codex sessions')
        _describe -t commands 'codex-traced command' ours && ret=0
    fi
    (( $+functions[_codex] )) && _codex "$@" && ret=0
    return ret
}
compdef _codex_traced_and_codex codex-traced codex
