# SPDX-License-Identifier: GPL-2.0-or-later
"""Creates this host's share of many twins at once.

start_many.py make COUNT            twins of any guest of this host
start_many.py create COUNT TIME     all in parallel, paused, at TIME (seconds since 1970); prints when the last is there
start_many.py destroy COUNT"""
import json
import subprocess
import sys
import time


def main():
    action, numbers = sys.argv[1], range(1, int(sys.argv[2]) + 1)
    if action == "make":
        shown = subprocess.run(["vmjob", "list", "--json"], check=True, text=True, stdout=subprocess.PIPE)
        job = json.loads(shown.stdout)["guests"][0]["job"]
        for number in numbers:
            make_twin(job, number)
    elif action == "create":
        time.sleep(float(sys.argv[3]) - time.time())
        running = [subprocess.Popen(["virsh", "-q", "-c", "qemu:///system", "create", "--paused",
                                     str(FOLDER / str(number) / "domain.xml")], stdout=subprocess.DEVNULL)
                   for number in numbers]
        if any(process.wait() for process in running):
            sys.exit("virsh create failed")
        print(time.time())
    else:
        for number in numbers:
            destroy_twin(number)


main()
