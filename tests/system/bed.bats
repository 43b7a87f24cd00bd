# SPDX-License-Identifier: GPL-2.0-or-later
# The bed itself: that its faults are like the real ones, and that nothing of it stays behind. On beds of its own.

top=$(realpath "$BATS_TEST_DIRNAME/../..")
cache=${VMJOB_CACHE:-/var/cache/vmjob}
export BED=selftest-$BATS_ROOT_PID

bed()
{
	"$top/scripts/bed" "$@"
}

on()
{
	bed run "$1" -- "${@:2}"
}

# Prints whatever the machine has of a bed.
remains_of()
{
	find /sys/fs/cgroup -type d -name "vmjob-bed.$1"
	grep -ls "/vmjob-bed.$1\(/\| (deleted)\|$\)" /proc/[0-9]*/cgroup
	grep -s "/bed/$1/" /proc/[0-9]*/mounts
	ls -d "$cache/bed/$1" 2>/dev/null
	true
}

assert_gone()
{
	local remains
	remains=$(remains_of "$1")
	[ -z "$remains" ] || { echo "left of bed $1: $remains"; return 1; }
}

# refute CMD...: it must fail (bats takes no notice of `!`).
refute()
{
	if "$@"; then
		echo "true: $*"
		return 1
	fi
}

# eventually SECONDS CMD...: VMJOB_TIMEOUT_SCALE times as long.
eventually()
{
	local end=$((SECONDS + $1 * ${VMJOB_TIMEOUT_SCALE:-1}))
	shift
	until "$@"; do
		((SECONDS < end)) || { echo "never true: $*"; return 1; }
		sleep 0.1
	done
}

pings()
{
	on "$1" ping -q -c 1 -W 1 "$2" >/dev/null
}

node_state()
{
	on ctl sinfo -h -N -n "$1" -o %T
}

node_is()
{
	[[ $(node_state "$1") == $2 ]]
}

setup_file()
{
	bed up -n 2
}

teardown()
{
	[ -n "$BATS_TEST_COMPLETED" ] || on ctl bash -c 'sinfo -N -o "%N %T %E"; tail -n 5 /var/log/slurm/slurmctld.log' || :
}

teardown_file()
{
	bed down
}

@test "a job of a user runs and is accounted" {
	run bed run -u alice ctl -- srun -N 2 bash -c 'echo "$(hostname) $(id -un) $PWD"'
	[ "$status" = 0 ]
	[ "$(sort <<<"$output")" = $'n1 alice /home/alice\nn2 alice /home/alice' ]
	eventually 10 eval '[ "$(on ctl sacct -X -n -P -u alice -o state | sort -u)" = COMPLETED ]'
}

@test "a job is confined to its memory and its CPUs" {
	local job
	job=$(bed run -u alice ctl -- sbatch --parsable --mem 50M --wrap 'head -c 200M /dev/zero | tr "\0" x | sort >/dev/null')
	eventually 20 eval '[ "$(on ctl sacct -X -n -P -o state -j '"$job"')" = OUT_OF_MEMORY ]'
	run bed run -u alice ctl -- srun -c 1 nproc
	[ "$output" = 1 ]
}

@test "hosts share storage and homes, but neither locks nor disks" {
	on n1 bash -c 'echo first >/srv/vmjob/file'
	[ "$(on n2 cat /srv/vmjob/file)" = first ]
	on n2 bash -c 'echo second >/srv/vmjob/file'
	[ "$(on n1 cat /srv/vmjob/file)" = second ]
	on n1 bash -c 'exec 5</srv/vmjob/file; flock 5; exec sleep 30' 3>&- &
	eventually 5 eval '! on n1 flock -n /srv/vmjob/file true'
	on n2 flock -n /srv/vmjob/file true
	kill $!
	on n1 touch /etc/only-here
	refute on n2 test -e /etc/only-here
}

@test "another user's files are out of reach" {
	on n1 bash -c 'install -o alice -m 600 /dev/null /srv/vmjob/private'
	bed run -u alice n2 -- cat /srv/vmjob/private
	refute bed run -u bob n2 -- cat /srv/vmjob/private
	refute bed run -u bob n2 -- ls /run/bed
}

@test "a killed daemon comes back, a stopped one stays stopped" {
	local old
	old=$(on n1 svc pid libvirtd)
	on n1 svc kill libvirtd
	eventually 5 eval '[ "$(on n1 svc pid libvirtd 2>/dev/null || echo '"$old"')" != '"$old"' ]'
	on n1 svc stop slurmd
	[[ $(on n1 svc list) =~ slurmd\ +stopped ]]
	on n1 svc start slurmd
	eventually 60 node_is n1 idle
}

@test "net-cut: alive, but not heard" {
	pings ctl n1
	bed net-cut n1
	refute pings ctl n1
	on n1 true
	bed net-mend n1
	eventually 10 pings ctl n1
}

@test "storage-cut: I/O of one host hangs and goes on after the mend" {
	on n1 bash -c 'echo kept >/srv/vmjob/cut'
	bed storage-cut n1
	refute on n1 timeout 1 cat /srv/vmjob/cut
	on n2 cat /srv/vmjob/cut
	on n1 bash -c 'cat /srv/vmjob/cut >/tmp/waited; touch /tmp/went-on' 3>&- &
	refute on n1 test -e /tmp/went-on
	bed storage-mend n1
	eventually 5 on n1 test -e /tmp/went-on
	[ "$(on n1 cat /tmp/waited)" = kept ]
}

@test "storage-cut -f: I/O of one host fails, nothing is written below" {
	bed storage-cut -f n1
	run on n1 touch /srv/vmjob/lost
	[ "$status" != 0 ]
	on n2 touch /srv/vmjob/not-lost
	bed storage-mend n1
	on n1 test -e /srv/vmjob/not-lost
	refute on n1 test -e /srv/vmjob/lost
}

@test "storage-cut all: for every host at once, and for one domain only" {
	on n1 bash -c 'echo kept | tee /srv/vmjob/cut >/srv/vmjob-small/cut'
	bed storage-cut -f -s small all
	refute on n1 cat /srv/vmjob-small/cut
	refute on n2 touch /srv/vmjob-small/lost
	on n2 cat /srv/vmjob/cut
	[[ $(bed status) =~ n2\ .*storage\ ok\ +small\ fails ]]
	bed storage-mend -s small all
	on n2 cat /srv/vmjob-small/cut
	bed storage-cut all
	refute on n1 timeout 0.3 cat /srv/vmjob/cut
	refute on n2 timeout 0.3 cat /srv/vmjob/cut
	on n2 cat /srv/vmjob-small/cut
	bed storage-mend all
	on n1 cat /srv/vmjob/cut
	refute bash -c '"$1" status | grep -E "hangs|fails"' _ "$top/scripts/bed"
}

@test "the small storage is small, and shared" {
	run on n1 bash -c 'cat /dev/zero >/srv/vmjob-small/filler'
	[[ $output == *"No space left"* ]]
	refute on n2 bash -c 'echo more >/srv/vmjob-small/more'
	on n2 rm -f /srv/vmjob-small/filler /srv/vmjob-small/more
	on n1 bash -c 'echo again >/srv/vmjob-small/more'
}

@test "freeze: nothing on the host runs until thaw" {
	on n1 bash -c 'while :; do date +%s%N >/tmp/beat.new; mv /tmp/beat.new /tmp/beat; sleep 0.05; done' 3>&- &
	eventually 5 on n1 test -s /tmp/beat
	bed freeze n1
	[[ $(bed status) =~ n1\ .*frozen ]]
	local frozen_at
	frozen_at=$(date +%s%N)
	# Longer than the longest wait of the loop above, or there would be nothing to see.
	sleep 0.5
	bed thaw n1
	eventually 5 eval '(($(on n1 cat /tmp/beat) > '"$frozen_at"' + 500000000))'
	kill $!
}

@test "power-cut: gone at once without a word; power-on: back with its disk" {
	local boot
	boot=$(on n1 cat /proc/sys/kernel/random/boot_id)
	[ "$boot" != "$(on n2 cat /proc/sys/kernel/random/boot_id)" ]
	on n1 bash -c 'touch /var/lib/kept /tmp/lost'
	bed power-cut n1
	refute pings ctl n1
	refute on n1 true
	[[ $(bed status) =~ n1\ +power\ off ]]
	bed power-cut n1
	bed power-on n1
	[ "$boot" != "$(on n1 cat /proc/sys/kernel/random/boot_id)" ]
	on n1 test -e /var/lib/kept
	refute on n1 test -e /tmp/lost
	eventually 60 node_is n1 idle
}

@test "power-cut of a host whose storage hangs and that is frozen" {
	bed storage-cut n2
	on n2 cat /srv/vmjob/cut 3>&- &
	bed freeze n2
	bed power-cut n2
	bed power-on n2
	on n2 touch /srv/vmjob/again
	eventually 60 node_is n2 idle
}

@test "a reboot that Slurm asks for" {
	on ctl scontrol reboot nextstate=RESUME n1
	eventually 10 node_is n1 'reboot^'
	eventually 60 node_is n1 idle
	on n1 svc list
}

@test "two beds side by side do not see each other" {
	BED=$BED-b bed up -n 1
	[ "$(BED=$BED-b bed run ctl -- sinfo -h -N -o %N)" = n1 ]
	BED=$BED-b bed run n1 -- touch /srv/vmjob/other-bed
	refute on n1 test -e /srv/vmjob/other-bed
	BED=$BED-b bed power-cut n1
	pings ctl n1
	BED=$BED-b bed down
	assert_gone "$BED-b"
	pings ctl n1
}

@test "up of a bed that is up is refused, down of one that is not is fine" {
	run bed up
	[ "$status" = 1 ]
	[[ $output == *"is up already"* ]]
	BED=$BED-none bed down
	run env BED="$BED-none" "$top/scripts/bed" run ctl -- true
	[ "$status" = 1 ]
	[[ $output == *"not up"* ]]
}

@test "wrong use is told" {
	run bed up -n 0
	[[ $status == 1 && $output == *"from 1 to"* ]]
	run bed power-cut n9
	[[ $status == 1 && $output == *"no host 'n9'"* ]]
	run bed explode
	[ "$status" = 2 ]
	run bed storage-cut -s nonsense n1
	[[ $status == 1 && $output == *"default and small"* ]]
	run env BED=../x "$top/scripts/bed" up
	[[ $status == 1 && $output == *"BED=../x"* ]]
}

@test "kill -9 of up at any moment: down leaves nothing, up cleans" {
	local moment pid
	for moment in 0.05 0.3 0.5 0.7 0.9 1.2 1.6 2.5; do
		BED=$BED-k "$top/scripts/bed" up -n 2 >/dev/null 2>&1 3>&- &
		pid=$!
		sleep "$moment"
		kill -9 "$pid" || [ "$moment" = 2.5 ] # where nothing else runs, it is up by then
		wait "$pid" || :
		if [ "$moment" = 0.9 ]; then
			BED=$BED-k bed up -n 1
		fi
		BED=$BED-k bed down
		assert_gone "$BED-k"
	done
}

@test "down in the middle of up" {
	BED=$BED-k "$top/scripts/bed" up -n 2 >/dev/null 2>&1 3>&- &
	eventually 10 test -e "$cache/bed/$BED-k/cgroups"
	BED=$BED-k bed down
	assert_gone "$BED-k"
	wait || :
	assert_gone "$BED-k"
}
