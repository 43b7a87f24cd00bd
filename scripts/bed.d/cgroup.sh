# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A bed's processes are those in its cgroups, `vmjob-bed.NAME/HOST` in every hierarchy. Membership is what is
# believed (pids in files may have been reused), so a bed is found and ended even when its starter was killed half way.
#
# v1: below the cgroup of whoever ran `up`, all hierarchies. v2: below the top, where controllers can be handed on; a
# host then has the leaves `outer` (its power supply) and `init.scope`, since inner cgroups hold no processes.
# The directories above the hosts' are noted in $state/cgroups, for quick use.

bed_group=vmjob-bed.$bed

cgroup_version()
{
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo 2; else echo 1; fi
}

# Prints every cgroup directory of the name, parents before children.
cgroup_dirs()
{
	local part=$1
	find /sys/fs/cgroup -type d -path "*/$part" -prune -print 2>/dev/null || :
}

# Prints "HIERARCHY DIRECTORY" of the cgroup that this process is in, a line each: v1 by first controller name, v2 as "unified".
cgroup_of_self()
{
	local _id names path mount
	while IFS=: read -r _id names path; do
		mount=$(cgroup_mount "$names")
		[ -z "$mount" ] || echo "${names:-unified} ${mount}${path%/}"
	done </proc/self/cgroup
}

# Prints where the hierarchy with controllers $1 (comma separated; empty: v2) is mounted.
cgroup_mount()
{
	local names=$1
	awk -v names="$names" '
		{ for (i = 7; $i != "-"; i++); type = $(i + 1); options = "," $(i + 3) "," }
		names == "" && type == "cgroup2" { print $5; exit }
		names != "" && type == "cgroup" && index(options, "," names ",") { print $5; exit }
	' /proc/self/mountinfo
}

# Makes the bed's cgroups, with those of all its hosts.
cgroup_create()
{
	local host
	if [ "$(cgroup_version)" = 2 ]; then
		cgroup_delegate /sys/fs/cgroup
		mkdir -p "/sys/fs/cgroup/$bed_group"
		cgroup_delegate "/sys/fs/cgroup/$bed_group"
		for host in switch $(state_hosts); do
			mkdir -p "/sys/fs/cgroup/$bed_group/$host"
		done
		echo "/sys/fs/cgroup/$bed_group" >"$state/cgroups"
		return
	fi
	local _name dir
	while read -r _name dir; do
		for host in switch $(state_hosts); do
			mkdir -p "$dir/$bed_group/$host"
			cgroup_inherit_cpuset "$dir/$bed_group"
			cgroup_inherit_cpuset "$dir/$bed_group/$host"
		done
		echo "$dir/$bed_group" >>"$state/cgroups"
	done < <(cgroup_of_self)
}

# A new cpuset of v1 is empty and takes no process.
cgroup_inherit_cpuset()
{
	local file
	for file in cpuset.cpus cpuset.mems; do
		[ ! -e "$1/$file" ] || cat "${1%/*}/$file" >"$1/$file"
	done
}

# v2: lets the children of $1 have all controllers. In a container the top may hold processes: they go to a leaf.
cgroup_delegate()
{
	local controller pid
	for controller in $(<"$1/cgroup.controllers"); do
		echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null && continue
		mkdir -p "$1/init.scope"
		while read -r pid; do
			echo "$pid" >"$1/init.scope/cgroup.procs" 2>/dev/null || :
		done <"$1/cgroup.procs"
		echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || :
	done
}

# Prints the directory of host $1 on v2, nothing on v1.
cgroup_v2_dir()
{
	[ "$(cgroup_version)" = 1 ] || echo "$(<"$state/cgroups")/$1"
}

# Moves this process into the cgroups of host $1; on v2 into leaf $2 there.
cgroup_join()
{
	local dir leaf=.
	[ "$(cgroup_version)" = 1 ] || leaf=$2
	while read -r dir; do
		echo "$BASHPID" >"$dir/$1/$leaf/cgroup.procs"
	done <"$state/cgroups"
}

# Removes what jobs left below the cgroups of a host that is off, and on v2 its leaves.
cgroup_reset_host()
{
	local dir
	while read -r dir; do
		find "$dir/$1" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || :
		[ "$(cgroup_version)" = 1 ] || { rmdir "$dir/$1" && mkdir "$dir/$1"; }
	done <"$state/cgroups"
}

# Kills all in the cgroups of the name and waits until they are gone.
cgroup_kill()
{
	local tries dir pids
	for ((tries = 0; tries < 300 * time_scale; tries++)); do
		mapfile -t pids < <(cgroup_dirs "$1" | while read -r dir; do
			cgroup_set_frozen "$dir" 0
			find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null
		done | sort -u)
		[ "${#pids[@]}" -gt 0 ] || return 0
		kill -9 "${pids[@]}" 2>/dev/null || :
		nap 0.02
	done
	die "processes of $1 do not end: ${pids[*]}"
}

# Freezes (1) or thaws (0) a cgroup directory, if it is of a hierarchy that can.
cgroup_set_frozen()
{
	local words=(THAWED FROZEN)
	if [ -e "$1/freezer.state" ]; then
		echo "${words[$2]}" >"$1/freezer.state"
	elif [ -e "$1/cgroup.freeze" ] && [ "$(cgroup_version)" = 2 ]; then
		echo "$2" >"$1/cgroup.freeze"
	fi
}

# Prints "frozen" or "freezing" when a cgroup directory is.
cgroup_frozen()
{
	if [ -e "$1/freezer.state" ]; then
		tr '[:upper:]' '[:lower:]' <"$1/freezer.state" | grep -v thawed
	elif [ "$(cgroup_version)" = 2 ] && grep -qx 1 "$1/cgroup.freeze"; then
		if grep -qx 'frozen 1' "$1/cgroup.events"; then echo frozen; else echo freezing; fi
	fi || :
}

# Ends all of the bed and removes its cgroups. Again and again, since processes on their way out keep a cgroup busy for an
# instant, and one that was being started when `up` was killed may come late.
cgroup_remove()
{
	local tries dir
	for ((tries = 0; tries < 250 * time_scale; tries++)); do
		cgroup_kill "$bed_group"
		[ -n "$(cgroup_dirs "$bed_group")" ] || return 0
		while read -r dir; do
			find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || :
		done < <(cgroup_dirs "$bed_group")
		nap 0.02
	done
	die "cgroups cannot be removed: $(cgroup_dirs "$bed_group" | tr '\n' ' ')"
}

# True while a process of the bed has not been reaped.
cgroup_has_zombies()
{
	grep -qs "/$bed_group\(/\| (deleted)\|$\)" /proc/[0-9]*/cgroup
}
