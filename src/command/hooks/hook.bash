
# Codex's own words, completed by Codex; the word mlflow leads to ours.
_codex_traced_and_codex() {
    if [[ $COMP_CWORD -ge 2 && ${COMP_WORDS[1]} == mlflow ]]; then
        _codex_traced "$@"
        return
    fi
    if ! declare -F _codex >/dev/null; then
        eval "$(command codex-traced completion bash 2>/dev/null)"
        complete -o bashdefault -o default -F _codex_traced_and_codex codex-traced codex
    fi
    COMPREPLY=()
    if declare -F _codex >/dev/null; then
        _codex "$@"
    fi
    if [[ $COMP_CWORD -eq 1 && mlflow == "${COMP_WORDS[1]}"* ]]; then
        COMPREPLY+=(mlflow)
    fi
}
complete -o bashdefault -o default -F _codex_traced_and_codex codex-traced codex
