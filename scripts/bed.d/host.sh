# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Hosts from outside. The switch is a process that holds a network namespace with a bridge, and a mount namespace in
# which the build root can be used and the small shared storage is; it lives as long as the bed. A host is a loop (bed.d/power) that keeps
# a set of namespaces with bed.d/init as process 1; the namespaces, and with them mounts and links, go when process 1 goes.

# What the small storage holds, for tests of full disks.
small_size=96m

# Starts the switch. Its link names and addresses are known inside the bed only.
switch_start()
{
	local root
	root=$(<"$state/buildroot")
	(
		cgroup_join switch .
		exec 9<"$([ -e "$root.use" ] && echo "$root.use" || echo /dev/null)" 8>&-
		flock -s 9
		# shellcheck disable=SC2016
		exec setsid unshare --net --mount --propagation private bash -euc '
			mount -t proc proc "$1/proc"
			chroot "$1" ip link add switch type bridge forward_delay 0
			chroot "$1" ip link set switch up
			mount -t tmpfs -o "size=$4,mode=755" vmjob-small "$3"
			echo $$ >"$2.new"
			mv "$2.new" "$2"
			exec sleep infinity
		' switch "$root" "$state/switch.pid" "$state/shared-small" "$small_size" </dev/null >"$state/switch.log" 2>&1
	) &
	await_until 10 test -s "$state/switch.pid" || die "the switch does not start: $(<"$state/switch.log")"
}

# Runs `ip` in the switch's network.
switch_ip()
{
	local pid
	pid=$(host_pid switch) || die "the switch of bed $bed is gone: '$0 down', then 'up'"
	nsenter -t "$pid" -n -m chroot "$(<"$state/buildroot")" ip "$@"
}

# Prints the machine's pid of a host's process 1 (or of the switch); fails when the host is off.
host_pid()
{
	local file=$state/host/$1/pid pid stat
	[ "$1" != switch ] || file=$state/switch.pid
	{ read -r pid <"$file"; } 2>/dev/null || return 1
	grep -q "/$bed_group/$1\(/\|$\)" "/proc/$pid/cgroup" 2>/dev/null || return 1
	{ stat=$(<"/proc/$pid/stat"); } 2>/dev/null || return 1
	case ${stat##*) } in
	[ZX]*) return 1 ;;
	esac
	echo "$pid"
}

host_power()
{
	if host_pid "$1" >/dev/null; then echo on; else echo off; fi
}

# Switches a host on. Its disk (host/NAME/upper) is kept from before, vmjob is taken anew from the bed's tree.
host_start()
{
	local host=$1 dir=$state/host/$1 source=""
	mkdir -p "$dir"/{upper,root,tree}
	rm -rf "$dir/work" "$dir/tree" "$dir/pid" "$dir/booted"
	mkdir -p "$dir"/{work,tree}
	[ ! -e "$state/tree" ] || source=$(<"$state/tree")
	[ -z "$source" ] || host_copy_tree "$source" "$dir/tree"
	[ -e "$dir/upper/etc/hostname" ] || config_install "$host" "$dir/upper"
	mkfifo "$dir/booted"
	(
		cgroup_join "$host" .
		exec setsid nsenter -t "$(host_pid switch)" -m "$top/scripts/bed.d/power" "$host" "$dir" "$(cgroup_v2_dir "$host")" \
			</dev/null >>"$dir/log" 2>&1 8>&-
	) &
}

# Copies an installed tree so that it may lie over the root, where /bin, /lib and such are links into /usr.
host_copy_tree()
{
	local name
	cp -a "$1/." "$2"
	for name in bin sbin lib lib64; do
		[ ! -d "$2/$name" ] || [ -L "$2/$name" ] || {
			mkdir -p "$2/usr/$name"
			cp -a "$2/$name/." "$2/usr/$name"
			rm -rf "${2:?}/$name"
		}
	done
}

# Waits until all daemons of a host answer.
host_await()
{
	local dir=$state/host/$1 _word end=$((SECONDS + 60 * time_scale))
	exec 7<>"$dir/booted"
	until read -rt 0.5 -u 7 _word; do
		if ((SECONDS > end)) || { [ -e "$dir/pid" ] && [ "$(host_power "$1")" = off ]; }; then
			die "host $1 does not come up: $(tail -n 5 "$dir/log")
see $dir/log and $dir/upper/var/log; '$0 down' removes the bed"
		fi
	done
	exec 7>&-
}

# Waits until Slurm has all its nodes.
cluster_await()
{
	local count
	count=$(state_hosts | grep -c '^n')
	await_until 30 cluster_is_ready "$count" ||
		die "Slurm does not have all nodes: $(host_exec ctl "" sinfo -N -h -o '%N %T %E' 2>&1 | tr '\n' ';')"
}

cluster_is_ready()
{
	[ "$(host_exec ctl "" sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | wc -l)" = "$1" ]
}

# Becomes a command on a host, as USER (empty: root), in all its namespaces and cgroups, on a terminal of the host's
# if we are on one.
host_exec()
{
	local host=$1 user=$2 home=/root pid command
	shift 2
	pid=$(host_pid "$host") || die "host $host is off: '$0 power-on $host'"
	if [ -t 0 ] && [ -t 1 ]; then
		printf -v command '%q ' "$@"
		set -- script --quiet --return --command "$command" /dev/null
	fi
	if [ -n "$user" ]; then
		home=/home/$user
		set -- setpriv --reuid "$user" --regid "$user" --init-groups --reset-env \
			env PATH=/usr/local/bin:/usr/bin:/bin "TERM=${TERM:-dumb}" LANG=C.UTF-8 "$@"
	else
		set -- env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash "TERM=${TERM:-dumb}" LANG=C.UTF-8 \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
	fi
	(
		cgroup_join "$host" init.scope
		cd /
		exec nsenter -t "$pid" --mount --uts --ipc --net --pid --time --cgroup \
			/bin/bash -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$home" "$@"
	)
}
