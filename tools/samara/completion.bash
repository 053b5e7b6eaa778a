# completion.bash - bash completion for the samara command; source it, or install it as bash-completion's "samara".

_samara() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]:-} i
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W 'verify record replay maps fuzz --help --version' -- "$cur"))
		return
	fi
	# after --, complete as the program would
	for ((i = 2; i < COMP_CWORD; i++)); do
		[ "${COMP_WORDS[i]}" = -- ] || continue
		if declare -F _command_offset > /dev/null; then
			_command_offset $((i + 1))
		elif [ "$COMP_CWORD" -eq $((i + 1)) ]; then
			COMPREPLY=($(compgen -c -- "$cur"))
		else
			COMPREPLY=($(compgen -f -- "$cur"))
		fi
		return
	done
	case $prev in
	-o | --svg) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--maps-every | --at | --mm | --ops | --seed | --jobs | --time | --shrink) return ;;
	esac
	case $command in
	verify) COMPREPLY=($(compgen -W '--keep-going --maps-every --json --help --' -- "$cur")) ;;
	record) COMPREPLY=($(compgen -W '-o --maps-every --help --' -- "$cur")) ;;
	replay) COMPREPLY=($(compgen -W '--keep-going --json --help' -- "$cur") $(compgen -f -- "$cur")) ;;
	maps) COMPREPLY=($(compgen -W '--at --mm --svg --json --help' -- "$cur") $(compgen -f -- "$cur")) ;;
	fuzz) COMPREPLY=($(compgen -W '--memory --ops --seed --jobs --time --shrink --json --help' -- "$cur")) ;;
	esac
}
complete -F _samara samara
