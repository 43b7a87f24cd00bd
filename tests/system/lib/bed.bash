# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The bed, seen from a test: commands on its hosts, its daemons, its faults.

# Without descriptor 3: bats ends when nobody has it open any more, and a host that a test switches on lives on.
bed()
{
	"$top/scripts/bed" "$@" 3>&-
}

# on HOST COMMAND...: as root; on_as USER HOST COMMAND...: as that user.
on()
{
	bed run "$1" -- "${@:2}"
}

on_as()
{
	bed run -u "$1" "$2" -- "${@:3}"
}

# there HOST FUNCTION [ARG...]: runs a function of there.bash on a host.
there()
{
	on "$1" bash -c "$there_functions"$'\n"$@"' there "${@:2}"
}

# there_as USER HOST FUNCTION [ARG...]: the same as that user.
there_as()
{
	on_as "$1" "$2" bash -c "$there_functions"$'\n"$@"' there "${@:3}"
}

# scaled SECONDS: how long that is on this machine (VMJOB_TIMEOUT_SCALE, a whole number).
scaled()
{
	echo $(($1 * ${VMJOB_TIMEOUT_SCALE:-1}))
}

# A list of the bed's compute hosts.
hosts()
{
	on ctl sinfo -h -N -o %N | sort -u
}

# stop_daemon HOST NAME, start_daemon HOST NAME: as an administrator does; a stopped one stays so.
stop_daemon()
{
	on "$1" /run/bed/svc stop "$2"
}

start_daemon()
{
	on "$1" /run/bed/svc start "$2"
}

# kill_daemon HOST NAME: with signal 9; it is started again as systemd does, which is awaited.
kill_daemon()
{
	local pid
	pid=$(on "$1" /run/bed/svc pid "$2")
	on "$1" /run/bed/svc kill "$2"
	await "$(scaled 30)" daemon_is_new "$1" "$2" "$pid" >/dev/null || fail "$2 on $1 does not come back"
	start_daemon "$1" "$2"
}

# daemon_is_new HOST NAME PID: it runs, as another process than that.
daemon_is_new()
{
	local pid
	pid=$(on "$1" /run/bed/svc pid "$2" 2>/dev/null) && [ -n "$pid" ] && [ "$pid" != "$3" ]
}

# Makes a node that a test drained or downed usable again.
mend_node()
{
	on ctl scontrol update nodename="$1" state=resume >/dev/null 2>&1 || :
	await "$(scaled 30)" node_is "$1" 'idle|mixed|allocated' >/dev/null
}

# node_is NODE STATE[|STATE...]
node_is()
{
	local state
	state=$(on ctl sinfo -h -n "$1" -o %T)
	echo "$state"
	[[ "|$2|" == *"|$state|"* ]]
}

node_reason()
{
	on ctl sinfo -h -n "$1" -o %E
}
