# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Completion of the verbs, options and file names of briq and briq-vm for bash.
#
# Verbs and options are taken from what `briq --help` and `briq VERB --help` print, so that there is
# no list here to fall behind.

_briq_words() {
    "${COMP_WORDS[0]}" "$@" --help 2>/dev/null
}

_briq() {
    local word=${COMP_WORDS[COMP_CWORD]} verb='' i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} != -* ]]; then
            verb=${COMP_WORDS[i]}
            break
        fi
    done

    local words
    if [[ $word == -* ]]; then
        # The options of a verb; before it, those of the program.
        words=$(_briq_words ${verb:+"$verb"} | grep -oE -- '(^|[ ,[])--[a-z][a-z-]*' | tr -d ' ,[')
    elif [[ -z $verb || $verb == help ]]; then
        # Verbs are the first words of the indented lines of the overview.
        words=$(_briq_words | sed -nE 's/^ {2,4}(briq )?([a-z][a-z-]*)( .*|$)/\2/p')
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word" | sort -u)
}

complete -F _briq briq briq-vm
