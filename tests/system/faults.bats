# SPDX-License-Identifier: GPL-2.0-or-later
# Whose fault it is: the user's fails the job and leaves the node alone; the host's drains the node and the job
# starts elsewhere.
load lib

setup_file()
{
	on ctl scontrol update nodename="$(hosts | paste -sd,)" weight=10
	# The host at fault is the one that Slurm takes first.
	keep faulty "$(hosts | head -n 1)"
	on ctl scontrol update nodename="$(kept faulty)" weight=1
	keep faulty-too "$(hosts | sed -n 2p)"
	on ctl scontrol update nodename="$(kept faulty-too)" weight=2
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs || :
	cancel_listed "$BATS_TEST_TMPDIR/jobs"
	mend_host "$(kept faulty)"
	mend_host "$(kept faulty-too)"
}

# Undoes whatever a test here did to a host.
mend_host()
{
	bed storage-mend "$1" >/dev/null 2>&1 || :
	on "$1" ip link set vmj-gone name br0 up 2>/dev/null || :
	! on "$1" mountpoint -q /var/lib/vmjob || on "$1" umount -l /var/lib/vmjob
	start_daemon "$1" libvirtd
	start_daemon "$1" vmjobd
	mend_node "$1"
}

# storage_of: the path of the storage domain, as vmjob.conf has it.
storage_of()
{
	on ctl sed -n 's/^[[:space:]]*path[[:space:]]*=[[:space:]]*"\(.*\)".*/\1/p' /etc/slurm/vmjob.conf | head -n 1
}

# import_blank NAME [USER]: a disk with nothing to boot on it, public or the user's own. Its name is in it, since the same
# content would be the same file, and what a test does to it would be done to others.
import_blank()
{
	# shellcheck disable=SC2016 # for the shell over there
	local make='echo "$1" >~/"$1".raw && truncate -s 16M ~/"$1".raw && vmjob image import ~/"$1".raw --name "$1"'
	if [ -n "${2-}" ]; then
		on_as "$2" ctl bash -c "$make" _ "$1"
	else
		on ctl bash -c "$make --public" _ "$1"
	fi >/dev/null
}

# A held job for an image that is all right at submission; what happens to the image then is the test's.
submit_for_image()
{
	submit "${blank_guest[@]}" --vm-image="$1" --hold
}

# users_fault JOB WORDS: the job fails at once with the sentence in its output; no node suffers.
assert_users_fault()
{
	on ctl scontrol release "$1"
	assert_end "$1" FAILED 1:0
	assert_output "$1" "$2"
	assert_equal "number of lines in the job's output" "$(output_of "$1" | grep -c .)" 1
	node_is "$(host_of "$1")" 'idle|mixed' || fail "the node is $(node_is "$(host_of "$1")" '') after a user's fault"
	assert_nothing_left "$(host_of "$1")" "$1"
}

@test "an image that vanished fails the job" {
	local job
	import_blank vanishes alice
	job=$(submit_for_image vanishes)
	on_as alice ctl vmjob image rm vanishes
	assert_users_fault "$job" vanishes
}

@test "an image that the user cannot read fails the job" {
	local job
	import_blank secret
	job=$(submit_for_image secret)
	on ctl find "$(storage_of)/images/public/secret" -name disk.qcow2 -exec chmod 600 {} +
	assert_users_fault "$job" secret
	on ctl vmjob image rm --public secret
}

@test "a corrupt image fails the job" {
	local job
	import_blank corrupt
	job=$(submit_for_image corrupt)
	on ctl find "$(storage_of)/images/public/corrupt" -name disk.qcow2 -exec sh -c \
		'chmod u+w "$1"; head -c 65536 /dev/urandom >"$1"' _ {} \;
	assert_users_fault "$job" corrupt
	on ctl vmjob image rm --public corrupt
}

@test "an image cut short fails the job" {
	local job
	import_blank short
	job=$(submit_for_image short)
	on ctl find "$(storage_of)/images/public/short" -name disk.qcow2 -exec truncate -s 100 {} +
	assert_users_fault "$job" short
	on ctl vmjob image rm --public short
}

# assert_hosts_fault WORDS [OPTION...]: with the faulty host first in line, a guest still runs, elsewhere and
# soon, and the node is drained with the reason.
assert_hosts_fault()
{
	assert_drained "$(kept faulty)" "$1" "$(submit_blank --vm-grace=0:01 "${@:2}")"
}

# assert_drained HOST WORDS JOB: the host, where the job was to start, is drained with these words; the job runs elsewhere.
assert_drained()
{
	local host=$1 job=$3
	await "$(scaled 60)" node_is "$host" 'drained|draining' >/dev/null || fail "$host is not drained"
	[[ $(node_reason "$host") == *vmjob*"$2"* ]] || fail "the reason of $host lacks '$2': $(node_reason "$host")"
	await_domain "$job" running
	[ "$(host_of "$job")" != "$host" ] || fail "the job runs on the faulty host"
	mend_host "$host"
	assert_nothing_left "$host" "$job"
}

# Both at once, on two hosts: each is waited for half a minute, since it might just be restarting.
@test "libvirtd down, or the agent, drains the node, the job starts elsewhere" {
	local first second
	stop_daemon "$(kept faulty)" libvirtd
	stop_daemon "$(kept faulty-too)" vmjobd
	first=$(submit_blank --vm-grace=0:01 --exclude="$(kept faulty-too)")
	second=$(submit_blank --vm-grace=0:01 --exclude="$(kept faulty)")
	assert_drained "$(kept faulty)" libvirt "$first"
	assert_drained "$(kept faulty-too)" vmjobd "$second"
}

@test "storage that is not mounted drains the node, the job starts elsewhere" {
	local path
	path=$(storage_of)
	bed storage-cut -f "$(kept faulty)"
	assert_hosts_fault "$path"
}

@test "a missing bridge drains the node, the job starts elsewhere" {
	on "$(kept faulty)" bash -c 'ip link set br0 down && ip link set br0 name vmj-gone && ip link set vmj-gone up'
	assert_hosts_fault br0 --vm-net=lan
}

@test "an ordinary job needs none of it: it runs where the agent is down" {
	local job
	stop_daemon "$(kept faulty)" vmjobd
	job=$(submit --nodelist="$(kept faulty)" --wrap='echo ordinary')
	assert_end "$job" COMPLETED 0:0
}

@test "a host without room for disks drains, the job starts elsewhere" {
	local host
	host=$(kept faulty)
	on "$host" mount -t tmpfs -o size=16k,mode=755 tmpfs /var/lib/vmjob
	assert_hosts_fault /var/lib/vmjob
}
