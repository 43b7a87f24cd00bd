# SPDX-License-Identifier: GPL-2.0-or-later
# The guest as such: whose process it is, what confines it, its network and console, and the commands for it.
load lib

setup_file()
{
	keep_guest guest --job-name=guest --cpus-per-task=2 --vm-net=lan
	keep_guest peer --job-name=peer --vm-net=lan --exclude="$(hosts | head -n 1)"
}

# qemu_has FILE: a file of /proc of the guest's QEMU.
qemu_has()
{
	on "$(host_of "$(kept guest)")" cat "/proc/$(qemu_pid "$(kept guest)")/$1"
}

@test "QEMU runs as the job's user and group, sandboxed" {
	await_state "$(kept guest)" RUNNING
	await_domain "$(kept guest)" running
	local alice status
	alice=$(on ctl id -u alice):$(on ctl id -g alice)
	status=$(qemu_has status)
	assert_equal "user and group of QEMU" "$(awk '/^Uid/ { u = $3 } /^Gid/ { print u ":" $3 }' <<<"$status")" "$alice"
	assert_equal "seccomp mode of QEMU" "$(awk '/^Seccomp:/ { print $2 }' <<<"$status")" 2
	assert_equal "capabilities of QEMU" "$(awk '/^CapEff/ { print $2 }' <<<"$status")" 0000000000000000
	assert_equal "new privileges for QEMU" "$(awk '/^NoNewPrivs/ { print $2 }' <<<"$status")" 1
}

@test "QEMU and all its threads are in the job's cgroups" {
	local job
	job=$(kept guest)
	await_domain "$job" running
	assert_confined "$job"
}

# assert_confined JOB: each thread of QEMU is in the memory and CPU cgroups of the job's batch step.
assert_confined()
{
	local groups outside
	groups=$(on "$(host_of "$1")" bash -c 'cat /proc/"$1"/task/*/cgroup' _ "$(qemu_pid "$1")" |
		grep -E '^0::.*/job_|:([a-z,]*,)?(memory|cpuset)(,[a-z,]*)?:')
	[ -n "$groups" ] || fail "QEMU is in no cgroup for memory or CPUs"
	outside=$(grep -v "/job_$1/step_batch" <<<"$groups") || return 0
	fail "threads outside the job: $(sort -u <<<"$outside")"
}

@test "vCPUs are pinned to the job's CPUs, one each" {
	local job host allowed pins
	job=$(kept guest)
	await_domain "$job" running
	host=$(host_of "$job")
	allowed=$(on "$host" awk '/^Cpus_allowed_list/ { print $2 }' "/proc/$(qemu_pid "$job")/status")
	pins=$(on "$host" virsh -q -c qemu:///system vcpupin "vmjob-$job" | awk '{ print $2 }')
	assert_equal "number of vCPUs" "$(on "$host" virsh -q -c qemu:///system vcpucount "vmjob-$job" --live --active)" 2
	there "$host" cpus_within "$pins" "$allowed" || fail "pins $pins are not within $allowed"
}

@test "the guest has the job's CPUs and the memory asked for" {
	local job
	job=$(kept guest)
	await_guest "$job"
	assert_equal "vCPUs seen inside" "$(in_guest "$job" nproc)" 2
	local kib
	kib=$(in_guest "$job" "awk '/^MemTotal/ { print \$2 }' /proc/meminfo")
	[ "$kib" -gt $((48 << 10)) ] && [ "$kib" -le $((96 << 10)) ] || fail "the guest sees $kib KiB of memory; 96 MiB were asked for"
	[ "$(on ctl scontrol show job -o "$job" | grep -o 'MinMemoryNode=[0-9]*' | cut -d= -f2)" -gt 96 ] ||
		fail "the job's memory has no room for QEMU itself"
}

@test "the job's AdminComment says in one line what the guest is" {
	local text
	text=$(on ctl scontrol show job "$(kept guest)" | sed -n 's/^ *AdminComment=//p')
	[[ $text == vm*image=tiny*vcpus=2*memory=96M*net=lan* ]] || fail "it is: $text"
}

@test "guests reach the network and each other" {
	local job peer address
	job=$(kept guest) peer=$(kept peer)
	await_guest "$job"
	await_guest "$peer"
	[ "$(host_of "$job")" != "$(host_of "$peer")" ] || fail "the guests should be on two hosts"
	address=$(guest_address "$job")
	on ctl ping -c 1 -W 5 "$address" >/dev/null || fail "$address does not answer the controller"
	in_guest "$peer" "ping -c 1 -W 5 $address" >/dev/null || fail "$address does not answer the other guest"
}

guest_address()
{
	shown "$1" '.ports[0].address' | cut -d/ -f1
}

@test "a guest cannot speak with another's address or MAC" {
	local job seen
	job=$(kept guest)
	await_guest "$job"
	seen=$(what_arrives "$job")
	grep -q "$(guest_address "$job") >" <<<"$seen" || fail "even what is allowed does not arrive: $seen"
	! grep -q 10.77.200.1 <<<"$seen" || fail "frames with a false address arrive: $seen"
	! grep -q 52:54:00:de:ad:01 <<<"$seen" || fail "frames with a false MAC arrive: $seen"
	# The same without the filter, or the above would say nothing.
	on "$(host_of "$job")" nft delete table bridge vmjob
	seen=$(what_arrives "$job")
	grep -q 10.77.200.1 <<<"$seen" && grep -q 52:54:00:de:ad:01 <<<"$seen" || fail "the guest did not even try: $seen"
}

# what_arrives JOB: lets the guest speak with its own address, with a false one and with a false MAC; prints the
# frames of it that arrive at the controller.
what_arrives()
{
	local address
	address=$(guest_address "$1")
	there ctl start_watching "src host $address or src host 10.77.200.1 or arp or ether src 52:54:00:de:ad:01"
	in_guest "$1" "dev=\$(ls /sys/class/net | grep -v lo)
		ping -c 1 -W 2 10.77.0.1
		ip address add 10.77.200.1/16 dev \$dev
		ping -c 1 -W 1 -I 10.77.200.1 10.77.0.1
		arping -c 1 -w 1 -I \$dev -s 10.77.200.1 10.77.0.1
		ip address del 10.77.200.1/16 dev \$dev
		mac=\$(cat /sys/class/net/\$dev/address)
		ip link set \$dev down && ip link set \$dev address 52:54:00:de:ad:01 && ip link set \$dev up
		ping -c 1 -W 1 10.77.0.1
		ip link set \$dev down && ip link set \$dev address \$mac && ip link set \$dev up" >/dev/null || :
	there ctl stop_watching
}

@test "sacct shows the guest's CPU time and memory, and what it was" {
	local job cpu rss
	job=$(kept guest)
	await_guest "$job"
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	cpu=$(sacct_value "$job.batch" totalcpu)
	rss=$(sacct_value "$job.batch" maxrss)
	[[ $cpu != 00:00.0* && -n $cpu ]] || fail "TotalCPU of the batch step is '$cpu' after a boot of seconds"
	[ "${rss%K}" -gt $((60 << 10)) ] || fail "MaxRSS of the batch step is '$rss'"
	[[ $(sacct_value "$job" admincomment) == vm*image=tiny* ]] || fail "AdminComment is '$(sacct_value "$job" admincomment)'"
}

@test "a hot-plugged vCPU stays inside the job" {
	local job host before
	job=$(submit_tiny --job-name=plugged --vm-net=lan)
	await_guest "$job"
	host=$(host_of "$job")
	before=$(threads_of "$job")
	on "$host" virsh -q -c qemu:///system setvcpus "vmjob-$job" 2 --live || skip "the guest takes no more vCPUs"
	[ "$(threads_of "$job")" -gt "$before" ] || fail "no thread came"
	assert_confined "$job"
}

threads_of()
{
	on "$(host_of "$1")" bash -c 'ls "/proc/$1/task" | wc -l' _ "$(qemu_pid "$1")"
}

@test "a guest's console has a login prompt, takes a login, and is left by a key" {
	local job text
	job=$(kept peer)
	await_guest "$job"
	text=$(at_console "$job" '' login: root '# ' 'echo over-$((40 + 2))' over-42)
	[[ $text == *over-42* ]] || fail "the console showed: $text"
	domain_is "$job" "$(host_of "$job")" running >/dev/null || fail "leaving the console ended the guest"
}

# at_console JOB [TYPE EXPECT]...: see lib/console.py.
at_console()
{
	on_as alice ctl python3 -c "$(<"$top/tests/system/lib/console.py")" "$@"
}

@test "vmjob lists, shows and stops guests, for people and for programs" {
	local job
	job=$(kept peer)
	await_guest "$job"
	on_as alice ctl vmjob list | grep -q "^ *$job "
	assert_equal "job in the list" "$(on_as alice ctl bash -c 'vmjob list --json | jq ".guests[].job"' | grep -x "$job")" "$job"
	assert_equal "phase" "$(shown "$job" .phase)" running
	on_as alice ctl vmjob stop "$job"
	assert_end "$job" COMPLETED 0:0
	assert_nothing_left "$(host_of "$job")" "$job"
}

@test "vmjob start makes a service guest, which lives until it is stopped" {
	local job
	job=$(on_as alice ctl vmjob start blank --wait --vm-memory=32M --vm-grace=0:01)
	echo "$job" >>"$BATS_TEST_TMPDIR/jobs"
	domain_is "$job" "$(host_of "$job")" running || fail "its guest should run by now"
	on_as alice ctl vmjob stop --force "$job"
	assert_end "$job" FAILED 72:0
}

# user_data SIZE: a script for the guest of just so many bytes, which tells of itself on the console.
user_data()
{
	{
		printf '#!/bin/sh\nid -un >/run/user-data-ran; echo user-data-ran\n'
		head -c "$1" /dev/zero | tr '\0' '#'
	} | head -c "$1"
}

ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

@test "user data, ssh keys and the host name reach the guest, and nobody else" {
	local job host seed size=65536
	user_data $size | on_as alice ctl bash -c 'mkdir -p -m 700 ~/.ssh && cat >~/first-boot && echo "$1 alice" >~/.ssh/id_ed25519.pub' _ "$ssh_key"
	job=$(submit_tiny --vm-user-data=/home/alice/first-boot)
	on_as alice ctl rm /home/alice/first-boot
	await_guest "$job"
	host=$(host_of "$job")
	assert_equal "what the script wrote" "$(in_guest "$job" 'cat /run/user-data-ran')" root
	assert_equal "the host name" "$(in_guest "$job" hostname)" "vmjob-$job"
	[[ $(in_guest "$job" 'cat /root/.ssh/authorized_keys') == *"$ssh_key"* ]] || fail "the key is not there"
	seed=$(on "$host" find / -xdev -path "*/guests/$job/seed.img" 2>/dev/null)
	assert_equal "owner and mode of $seed" "$(on "$host" stat -c '%U %a' "$seed")" "alice 600"
	! on_as bob "$host" cat "$seed" >/dev/null 2>&1 || fail "bob reads $seed"
	! on ctl scontrol show job "$job" | grep -i user.data= || fail "scontrol shows user data"
	on ctl scontrol requeue "$job"
	await_state "$job" 'PENDING|CONFIGURING|RUNNING'
	await_guest "$job" 180
	assert_equal "what the script wrote after a requeue" "$(in_guest "$job" 'cat /run/user-data-ran')" root
	cancel "$job"
	assert_nothing_left "$host" "$job"
}

@test "a script beside the guest does not see its user data, nor do jobs that it submits" {
	local job
	on_as alice ctl bash -c 'printf "#!/bin/sh\n" >~/first-boot'
	job=$(submit --vm-image=blank --vm-memory=32M --vm-script=host --vm-grace=0:01 --vm-user-data=/home/alice/first-boot \
		--wrap='env | grep -c -e USER_DATA -e VMJOB_REQUEST; true')
	assert_end "$job" COMPLETED 0:0
	assert_output "$job" 0
}

@test "images: import, list, revisions, remove" {
	local names
	on_as alice ctl bash -c 'qemu-img create -q -f raw ~/a.raw 16M && vmjob image import ~/a.raw --name a && vmjob image import ~/a.raw --name a' >/dev/null
	names=$(on_as alice ctl bash -c 'vmjob image list --json | jq -r ".images[] | select(.name == \"a\") | .revision"' | sort | paste -sd' ')
	assert_equal "revisions of the image" "$names" "1 2"
	on_as alice ctl vmjob image rm a
	[[ $(on_as alice ctl vmjob image list) != *" a "* ]]
}
