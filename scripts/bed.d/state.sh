# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What is known of a bed, in one directory that goes with it:
#   hosts            its hosts, ctl first         tree         where installed vmjob came from (may be missing)
#   etc/             configuration all hosts get  up           exists once `up` was complete; lock: held by `up`
#   shared/ lockd/   the shared storage and its locks          home/    the users' homes, shared too
#   shared-small/    the small shared storage (mounted in the switch's mount namespace)
#   kvm              exists if hosts get /dev/kvm           buildroot  the path of their root
#   host/NAME/       upper (its disk), work, root (mount point), tree (vmjob as it was at power-on), pid, log
# Processes are found by cgroup, never by this directory alone: see cgroup.sh.

bed=${BED:-bed}
[[ $bed =~ ^[a-z][a-z0-9-]{0,31}$ ]] || die "BED=$bed: a bed's name is a letter, then letters, digits and -, in lower case"
state=$cache/bed/$bed

state_hosts()
{
	cat "$state/hosts" 2>/dev/null || :
}

# create HOSTS TREE
state_create()
{
	local index
	mkdir -p "$cache/bed"
	mkdir -m 700 "$state" || die "another 'up' of bed $bed is under way"
	exec 8>"$state/lock"
	flock -n 8
	echo "$$" >"$state/lock"
	mkdir -p "$state"/{etc,shared,shared-small,lockd,home,host}
	# An overlay, as containers have it, cannot be the upper layer of another.
	[ "$(stat -f -c %T "$state")" != overlayfs ] || mount -t tmpfs -o mode=700 "$bed_group" "$state/host"
	[ -z "$2" ] || echo "$2" >"$state/tree"
	"$top/scripts/root" >"$state/buildroot"
	! kvm_works || touch "$state/kvm"
	{
		echo ctl
		for ((index = 1; index <= $1; index++)); do echo "n$index"; done
	} >"$state/hosts"
	cp -a "$(<"$state/buildroot")/home/." "$state/home"
}

# True when guests can run on this machine's KVM. Where a device is there that they cannot start on (as on some
# machines that are virtual themselves), hosts are better without it.
kvm_works()
{
	[ -e /dev/kvm ] && echo quit | "$top/scripts/toolbox" qemu-system-x86_64 -accel kvm -cpu kvm64,enforce \
		-nodefaults -display none -monitor stdio -S >/dev/null 2>&1
}

state_is_up()
{
	[ -e "$state/up" ] && host_pid switch >/dev/null
}

state_has_remains()
{
	[ -d "$state" ] || [ -n "$(cgroup_dirs "$bed_group")" ]
}

# True while an `up` is under way: it holds the lock.
state_is_starting()
{
	[ -e "$state/lock" ] && ! flock -n "$state/lock" true
}

state_stop_up()
{
	local pid
	state_is_starting && read -r pid <"$state/lock" || return 0
	! grep -qs bed "/proc/$pid/cmdline" || kill -9 "$pid"
}

state_need_host()
{
	[ -d "$state" ] || die "bed $bed is not up: start it with '$0 up'"
	state_hosts | grep -qx -- "$1" || die "bed $bed has no host '$1' (hosts: $(state_hosts | tr '\n' ' '))"
}

state_remove()
{
	! grep -qs "^$bed_group $state/host tmpfs " /proc/self/mounts || umount -l "$state/host"
	# A process on its way out may have written there meanwhile.
	await_until 5 rm -rf --one-file-system "$state" 2>/dev/null || rm -rf --one-file-system "$state"
}

# Waits $1 seconds; used between looks at what the kernel gives no event for.
nap()
{
	[ -n "${nap_fd:-}" ] || exec {nap_fd}<> <(:)
	read -rt "$1" -u "$nap_fd" || :
}

# await_until SECONDS CMD..., await_while SECONDS CMD...: look every 50 ms; fail when the time is over.
await_until()
{
	local end=$((SECONDS + $1 * time_scale))
	shift
	until "$@"; do
		((SECONDS <= end)) || return 1
		nap 0.05
	done
}

await_while()
{
	local end=$((SECONDS + $1 * time_scale))
	shift
	while "$@"; do
		((SECONDS <= end)) || return 1
		nap 0.05
	done
}
