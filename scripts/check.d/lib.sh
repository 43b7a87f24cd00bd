# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the parts of scripts/check share; sourced by them, inside the build root.
set -eu
top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
jobs=${VMJOB_JOBS:-2}
export VERBOSE=1 # make check prints the logs of failed tests
cd "$top"

# configure_in DIR OPTION...: configures a build tree where that is needed, and goes into it.
configure_in()
{
	local dir=$1
	shift
	if [ ! -x configure ] || [ configure.ac -nt configure ]; then
		./autogen.sh
	fi
	mkdir -p "$dir"
	cd "$dir"
	[ config.status -nt ../configure ] || ../configure --enable-werror \
		--prefix=/usr --sysconfdir=/etc --localstatedir=/var --runstatedir=/run --libexecdir=/usr/libexec "$@"
}

# Prints --with-slurm-src=DIR; nothing where Slurm's source cannot be had (job_submit is left out then).
slurm_option()
{
	local dir
	if dir=$("$top/scripts/slurm-src"); then
		echo "--with-slurm-src=$dir"
	fi
}

# ok DESCRIPTION CMD...: one line of TAP for a command, its output as comments when it fails.
tests=0 bad=0
ok()
{
	local what=$1 out
	shift
	tests=$((tests + 1))
	if out=$("$@" 2>&1); then
		echo "ok $tests $what"
	else
		echo "not ok $tests $what"
		printf '%s\n' "$out" | sed 's/^/# /'
		bad=$((bad + 1))
	fi
}

ok_end()
{
	echo "1..$tests"
	[ "$bad" = 0 ]
}
