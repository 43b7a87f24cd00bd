# SPDX-License-Identifier: GPL-2.0-or-later
# Images: every format in and out, interrupted imports, files that are traps, sharing.
load lib

# A disk of which each piece is known, sparse and not: its content is /tmp/disk.raw on the controller, for alice.
setup_file()
{
	on_as alice ctl bash -c 'cd /tmp && truncate -s 8M disk.raw && head -c 1M /dev/urandom | dd of=disk.raw bs=1M seek=2 conv=notrunc status=none &&
		for format in qcow2 vmdk vdi vhdx vpc; do qemu-img convert -O $format disk.raw disk.$format || exit; done'
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs || :
	remove_images
}

teardown_file()
{
	on ctl bash -c 'rm -rf /tmp/disk.* /tmp/back.* /tmp/big.* /tmp/trap*'
}

# All of alice's, bob's and the public ones but the tests' own two.
remove_images()
{
	local user name
	for user in alice bob; do
		for name in $(on_as "$user" ctl vmjob image list --json | on ctl jq -r '.images[] | select(.public | not) | select(.owner == "'"$user"'") | .name' | sort -u); do
			on_as "$user" ctl vmjob image rm "$name"
		done
	done
}

# How many files there are in alice's part of the domain.
files_of_alice()
{
	on ctl bash -c 'find "$1/images/$(id -u alice)" -type f 2>/dev/null | wc -l' _ "$(domain_path)"
}

# image_count [NAME]: of alice's revisions.
image_count()
{
	as_alice vmjob image list --json | on ctl jq --arg name "${1-}" \
		'[.images[] | select(.owner == "alice" and ($name == "" or .name == $name))] | length'
}

@test "each format is imported, and exported again is the same disk" {
	local format
	for format in raw qcow2 vmdk vdi vhdx vpc; do
		as_alice vmjob image import "/tmp/disk.$format" --name "from-$format" >/dev/null
		as_alice vmjob image export "from-$format" /tmp/back.qcow2 --format=qcow2
		as_alice bash -c 'qemu-img compare -q /tmp/disk.raw /tmp/back.qcow2 && rm /tmp/back.qcow2' || fail "$format has another content"
	done
	for format in raw vmdk vdi vhdx vpc; do
		as_alice vmjob image export from-qcow2 "/tmp/back.$format" --format="$format"
		as_alice bash -c 'qemu-img compare -q -F "$1" /tmp/disk.raw "/tmp/back.$1" && rm "/tmp/back.$1"' _ "$format" ||
			fail "exported as $format it has another content"
	done
}

@test "an OVA is imported" {
	as_alice bash -c 'mkdir -p ~/ova && cd ~/ova && qemu-img convert -O vmdk -o subformat=streamOptimized /tmp/disk.raw disk.vmdk &&
		cat >machine.ovf <<EOF && tar -cf machine.ova machine.ovf disk.vmdk
<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
 <References><File ovf:id="file1" ovf:href="disk.vmdk"/></References>
 <DiskSection><Info>disks</Info><Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="8388608"/></DiskSection>
</Envelope>
EOF'
	as_alice bash -c 'vmjob image import ~/ova/machine.ova --name appliance && rm -r ~/ova' >/dev/null
	as_alice vmjob image export appliance /tmp/back.qcow2 --format=qcow2
	as_alice bash -c 'qemu-img compare -q /tmp/disk.raw /tmp/back.qcow2 && rm /tmp/back.qcow2'
}

@test "an image comes from standard input" {
	as_alice bash -c 'vmjob image import - --name piped </tmp/disk.qcow2 >/dev/null && cat /tmp/disk.raw | vmjob image import - --name piped >/dev/null'
	assert_equal "number of revisions" "$(image_count piped)" 2
	as_alice vmjob image export piped@1 /tmp/back.qcow2 --format=qcow2
	as_alice bash -c 'qemu-img compare -q /tmp/disk.raw /tmp/back.qcow2 && rm /tmp/back.qcow2'
}

@test "the same content is stored once, and outlives either name" {
	local used
	as_alice vmjob image import /tmp/disk.qcow2 --name one >/dev/null
	as_alice vmjob image import /tmp/disk.vdi --name two >/dev/null
	used=$(on ctl bash -c 'find "$1/images/$(id -u alice)" -name disk.qcow2 -links +1 -printf "%i\n" | sort -u | wc -l' _ "$(domain_path)")
	assert_equal "files with more than one name" "$used" 1
	as_alice vmjob image rm one
	as_alice vmjob image export two /tmp/back.qcow2 --format=qcow2
	as_alice bash -c 'qemu-img compare -q /tmp/disk.raw /tmp/back.qcow2 && rm /tmp/back.qcow2'
}

# begin_import: as alice from a pipe that stays open: prints nothing, leaves /tmp/import.pid; it has begun to write.
begin_import()
{
	as_alice bash -c 'rm -f /tmp/import.pipe /tmp/import.log && mkfifo /tmp/import.pipe &&
		(vmjob image import - --name interrupted </tmp/import.pipe >/tmp/import.log 2>&1 & echo $! >/tmp/import.pid) &&
		(exec 5>/tmp/import.pipe; dd if=/tmp/disk.raw bs=64k count=32 status=none >&5; sleep 5; :) >/dev/null 2>&1 &' 3>&-
	await "$(scaled 20)" import_has_begun >/dev/null || fail "the import does not begin: $(on ctl cat /tmp/import.log)"
}

import_has_begun()
{
	on ctl bash -c 'ls -A "$1/images/$(id -u alice)" | grep "^\.tmp-"' _ "$(domain_path)"
}

import_has_ended()
{
	! on ctl kill -0 "$(on ctl cat /tmp/import.pid)" 2>/dev/null
}

@test "an interrupted import leaves nothing" {
	local before
	as_alice vmjob image import /tmp/disk.qcow2 --name kept >/dev/null
	before=$(files_of_alice)
	begin_import
	on ctl bash -c 'kill -INT "$(cat /tmp/import.pid)"'
	await "$(scaled 20)" import_has_ended >/dev/null || fail "SIGINT does not end an import"
	assert_equal "files after SIGINT" "$(files_of_alice)" "$before"
	begin_import
	on ctl bash -c 'kill -9 "$(cat /tmp/import.pid)"'
	await "$(scaled 20)" import_has_ended >/dev/null
	assert_equal "images after kill -9" "$(image_count)" 1
	as_alice bash -c 'vmjob image import /tmp/disk.raw --name after && vmjob image rm after' >/dev/null
	assert_equal "files after the next import" "$(files_of_alice)" "$before"
}

@test "an import killed at random moments disturbs nobody" {
	local moment
	as_alice vmjob image import /tmp/disk.raw --name steady >/dev/null
	for moment in 0.005 0.01 0.02 0.03 0.05 0.08 0.12 0.2; do
		as_alice timeout -s KILL "$moment" vmjob image import /tmp/disk.qcow2 --name steady >/dev/null 2>&1 || :
		as_alice vmjob image export steady@1 /tmp/back.qcow2 --format=qcow2 --force
	done
	as_alice bash -c 'qemu-img compare -q /tmp/disk.raw /tmp/back.qcow2 && rm /tmp/back.qcow2'
	as_alice vmjob image import /tmp/disk.raw --name last >/dev/null
	[ -z "$(on ctl bash -c 'ls -A "$1/images/$(id -u alice)" | grep "^\.tmp-"' _ "$(domain_path)")" ] || fail "something of them is left"
}

# refused_import WORD FILE [ARG...]: and nothing changes.
refused_import()
{
	local before
	before=$(files_of_alice)
	refused "$1" as_alice vmjob image import "${@:2}"
	assert_equal "files after a refused import" "$(files_of_alice)" "$before"
}

@test "files that are traps are refused" {
	as_alice bash -c 'cd /tmp && qemu-img create -q -f qcow2 -u -b /etc/shadow -F raw trap-backing.qcow2 8M &&
		cp disk.qcow2 trap-corrupt.qcow2 && dd if=/dev/urandom of=trap-corrupt.qcow2 bs=1k seek=66 count=200 conv=notrunc status=none &&
		qemu-img create -q -f qcow2 -o data_file=trap.data,data_file_raw=on trap-data.qcow2 8M &&
		head -c 1000 disk.vmdk >trap-short.vmdk && : >trap-empty &&
		printf "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 16384 FLAT \"/etc/shadow\" 0\n" >trap-flat.vmdk &&
		ln -s /etc/shadow trap-link && mkfifo trap-fifo'
	refused_import backing /tmp/trap-backing.qcow2 --name trap
	refused_import trap-corrupt /tmp/trap-corrupt.qcow2 --name trap
	refused_import data /tmp/trap-data.qcow2 --name trap
	refused_import trap-short /tmp/trap-short.vmdk --name trap
	refused_import trap-empty /tmp/trap-empty --name trap
	refused_import trap-flat /tmp/trap-flat.vmdk --name trap
	refused_import trap-link /tmp/trap-link --name trap
	refused_import trap-fifo /tmp/trap-fifo --name trap
	refused_import nosuchfile /tmp/nosuchfile --name trap
}

@test "names that are no names are refused, by every verb" {
	local before
	before=$(files_of_alice)
	refused_names vmjob image import /tmp/disk.raw --name @
	refused_names vmjob image rm -- @
	refused_names vmjob image show -- @
	refused_names vmjob image export -- @ /tmp/back.never
	assert_equal "files afterwards" "$(files_of_alice)" "$before"
	on ctl test ! -e /tmp/back.never
}

@test "an image is its owner's until it is shared" {
	as_alice vmjob image import /tmp/disk.qcow2 --name mine >/dev/null
	refused mine on_as bob ctl vmjob image export alice/mine /tmp/back.qcow2
	refused mine on_as bob ctl vmjob image rm alice/mine
	as_alice vmjob image share --all mine
	on_as bob ctl vmjob image export alice/mine /tmp/back.qcow2
	on_as bob ctl bash -c 'qemu-img compare -q /tmp/disk.raw /tmp/back.qcow2; rc=$?; rm /tmp/back.qcow2; exit $rc'
	refused mine on_as bob ctl vmjob image rm alice/mine
	on_as bob ctl vmjob image list --json | on ctl jq -e '.images[] | select(.name == "mine" and .owner == "alice")' >/dev/null ||
		fail "bob does not see what alice shares"
}

@test "another user's shared image starts a guest" {
	local job
	as_alice bash -c 'qemu-img create -q -f qcow2 /tmp/disk.empty 16M && vmjob image import /tmp/disk.empty --name shared && vmjob image share --all shared' >/dev/null
	job=$(submit_as bob "${blank_guest[@]}" --vm-image=alice/shared --vm-grace=0:01)
	await_domain "$job" running
}
