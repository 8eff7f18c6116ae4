# Completion of `wizer` for bash; made by share/generate.py.

_wizer_files() {
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$word"))
}

_wizer() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options
    COMPREPLY=()
    case $before in
        --output|-o|--file|-f|--report|--junit|--preload|--config|--precompile|--depfile) _wizer_files; return ;;
        --jobs|-j|--max-memory|--dask|--init-func|-f|--rename-func|-r|--global|--max-data-segments|--mapdir|--env|--allow|--timeout|--fuel|--max-output|--wasm|-W|--wasi|-S|--codegen|-C|--optimize|-O|--debug|-D|--target) return ;;
        --layout) COMPREPLY=($(compgen -W "balanced small instant" -- "$word")); return ;;
        --open-handles) COMPREPLY=($(compgen -W "reopen error drop" -- "$word")); return ;;
        --dir) COMPREPLY=($(compgen -d -- "$word")); return ;;
    esac
    case ${COMP_WORDS[1]} in
        audit) options="--allow --json --report --init-func --keep-init-func= --rename-func --preload --global --layout --max-data-segments --open-handles --producers= --allow-wasi --keep-libc-state --dir --mapdir --env --inherit-env= --inherit-stdio= --deterministic= --no-validate --exit-code --timeout --fuel --max-memory --max-output --wasm --wasi --codegen --optimize --debug --config --target --wasm-multi-memory --wasm-multi-value --wasm-bulk-memory --wasm-simd --wasm-relaxed-simd --wasm-reference-types --relaxed-simd-deterministic --quiet --help" ;;
        verify) options="--json --init-func --keep-init-func= --rename-func --preload --global --layout --max-data-segments --open-handles --producers= --allow-wasi --keep-libc-state --dir --mapdir --env --inherit-env= --inherit-stdio= --deterministic= --no-validate --allow --exit-code --timeout --fuel --max-memory --max-output --wasm --wasi --codegen --optimize --debug --config --target --wasm-multi-memory --wasm-multi-value --wasm-bulk-memory --wasm-simd --wasm-relaxed-simd --wasm-reference-types --relaxed-simd-deterministic --quiet --help" ;;
        inspect) options="--json --report --help" ;;
        diff) options="--json --exit-code --report --help" ;;
        build) options="--file --jobs --keep-going --dry-run --force --max-memory --dask --shared-files --report --junit --schema --quiet --help" ;;
        demo) options="--output --help" ;;
        *) options="--init-func --keep-init-func= --rename-func --preload --global --output --precompile --depfile --report --layout --max-data-segments --open-handles --producers= --allow-wasi --keep-libc-state --dir --mapdir --env --inherit-env= --inherit-stdio= --deterministic= --verify --no-validate --warn-frozen --allow --json --exit-code --timeout --fuel --max-memory --max-output --wasm --wasi --codegen --optimize --debug --config --target --wasm-multi-memory --wasm-multi-value --wasm-bulk-memory --wasm-simd --wasm-relaxed-simd --wasm-reference-types --relaxed-simd-deterministic --verbose --quiet --include-dir --help --version" ;;
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
        return
    fi
    ((COMP_CWORD == 1)) && COMPREPLY=($(compgen -W "audit verify inspect diff build demo" -- "$word"))
    _wizer_files
}

complete -F _wizer wizer
