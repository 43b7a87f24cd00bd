# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Faults, and what shows whether one is in force. Each is as sudden as the real thing; repeating one is harmless.

# The link goes first: a host that is ending must not be heard to say so. Then all ends at once.
fault_power_cut()
{
	switch_ip link set "p-$1" down 2>/dev/null || :
	cgroup_kill "$bed_group/$1"
	await_until 10 host_is_off "$1" || die "host $1 does not end"
	rm -f "$state/host/$1"/storage-cut.*
}

host_is_off()
{
	! host_pid "$1" >/dev/null
}

fault_power_on()
{
	[ "$(host_power "$1")" = off ] || return 0
	cgroup_kill "$bed_group/$1"
	cgroup_reset_host "$1"
	host_start "$1"
	host_await "$1"
}

fault_net_cut()
{
	touch "$state/host/$1/net-cut"
	switch_ip link set "p-$1" down 2>/dev/null || :
}

fault_net_mend()
{
	rm -f "$state/host/$1/net-cut"
	[ "$(host_power "$1")" = off ] || switch_ip link set "p-$1" up
}

fault_link()
{
	if [ -e "$state/host/$1/net-cut" ]; then echo cut; else echo up; fi
}

# Hangs as a hard NFS mount hangs whose server is gone; with -f, fails as a client does that was thrown out: what was open
# stays broken after the mend. Of each domain the daemon that serves it: storage_cut HOST DOMAIN [-f], storage_mend HOST DOMAIN.
fault_storage_cut()
{
	local file=$state/host/$1/storage-cut.$2 daemon
	daemon=$(storage_daemon "$2")
	host_power_needed "$1"
	case $(fault_storage "$1" "$2")${3:-} in
	fails*) ;;
	*-f)
		host_exec "$1" "" bash -c 'touch "/run/bed/$0.stop"; kill -9 "$(<"/run/bed/$0.pid")"' "$daemon"
		echo fails >"$file"
		;;
	*)
		host_exec "$1" "" bash -c 'kill -STOP "$(<"/run/bed/$0.pid")"' "$daemon"
		echo hangs >"$file"
		;;
	esac
}

fault_storage_mend()
{
	local file=$state/host/$1/storage-cut.$2 daemon
	daemon=$(storage_daemon "$2")
	host_power_needed "$1"
	case $(fault_storage "$1" "$2") in
	fails) host_exec "$1" "" /run/bed/svc start "$daemon" ;;
	hangs) host_exec "$1" "" bash -c 'kill -CONT "$(<"/run/bed/$0.pid")"' "$daemon" ;;
	esac
	rm -f "$file"
}

# fault_storage HOST DOMAIN: ok, hangs or fails.
fault_storage()
{
	cat "$state/host/$1/storage-cut.$2" 2>/dev/null || echo ok
}

storage_daemon()
{
	case $1 in
	default) echo storage ;;
	*) echo "$1" ;;
	esac
}

fault_freeze()
{
	host_power_needed "$1"
	fault_set_frozen "$1" 1
	# What waits for storage that hangs cannot be frozen, and does nothing either.
	[[ "$(fault_storage "$1" default) $(fault_storage "$1" small)" == *hangs* ]] || await_while 10 fault_is_freezing "$1" ||
		die "host $1 does not freeze: something on it cannot be stopped"
}

fault_thaw()
{
	fault_set_frozen "$1" 0
}

fault_set_frozen()
{
	local dir
	while read -r dir; do
		cgroup_set_frozen "$dir" "$2"
	done < <(cgroup_dirs "$bed_group/$1")
}

fault_is_freezing()
{
	[ "$(fault_frozen "$1")" = freezing ]
}

fault_frozen()
{
	local dir
	while read -r dir; do
		cgroup_frozen "$dir"
	done < <(cgroup_dirs "$bed_group/$1") | head -n 1
}

host_power_needed()
{
	[ "$(host_power "$1")" = on ] || die "host $1 is off: '$0 power-on $1'"
}
