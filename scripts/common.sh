# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What every script here shares. Sourced, with $0 the script: sets $top (the checkout), $cache, $prog.

prog=${0##*/}
top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
cache=${VMJOB_CACHE:-/var/cache/vmjob}

# Everything is waited for this many times as long: for slow machines.
time_scale=${VMJOB_TIMEOUT_SCALE:-1}

# Says what went wrong and what to do, ends the script.
die()
{
	echo "$prog: $*" >&2
	exit 1
}

need_root()
{
	[ "$(id -u)" = 0 ] || die "needs root (namespaces and mounts): run it with sudo"
}

# Prints the package sources of this machine that are Debian's own, for release $1, as lines of a sources.list
# with the type $2 (deb or deb-src). Asks apt, so both formats of its files are understood.
debian_sources()
{
	local release=$1 type=$2 origin name uri suite component signed
	apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)' \
		'Created-By: Packages' |
	while IFS='|' read -r origin name uri suite component signed; do
		[ "$origin" = Debian ] || continue
		case $name in
		"$release" | "$release"-updates | "$release"-security) ;;
		*) continue ;;
		esac
		case $signed in
		/*) echo "$type [signed-by=$signed] $uri $suite $component" ;;
		*) echo "$type $uri $suite $component" ;;
		esac
	done
}

# Prints this machine's own settings of apt for fetching (a proxy, checks of dates), as lines of an apt.conf.
apt_fetch_settings()
{
	apt-config dump | grep -E '^Acquire::(Check-|Retries|https?::([^ ]*::)?[Pp]roxy)' || :
}
