#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual pages name every verb, option, key and ending that the program has. Prints TAP, for make check."""
import os
import re
import subprocess
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
VMJOB = os.path.abspath("../../vmjob/cli/vmjob")


def read(path):
    with open(os.path.join(TOP, path)) as f:
        return f.read()


def completed(*words):
    env = {"PATH": "/nonexistent", "VMJOB_CONF": "/nonexistent"}
    return subprocess.run([VMJOB, "--complete", *words], env=env, stdout=subprocess.PIPE, text=True).stdout.split()


def verbs_and_options():
    page = read("doc/man/vmjob.1.rst")
    for verb in completed(""):
        subs = completed(verb, "") if verb in ("image", "storage", "volume", "snapshot") else [""]
        if verb == "host":
            subs.append("confirm-dead")
        for sub in subs:
            name = f"{verb} {sub}".strip()
            if f"**vmjob {name}**" not in page:
                yield f"vmjob.1 has no verb {name}"
            for option in completed(*name.split(), "--"):
                if not option.startswith("--vm-") and option.rstrip("=") not in page:
                    yield f"vmjob.1 has no {option} of {name}"


def options_of_sbatch():
    page, source = read("doc/man/vmjob-options.7.rst"), read("vmjob/model/options.c")
    for name, env in re.findall(r'\.name = "(vm-[a-z-]+)",\s*\.env = "(\w+)"', source):
        for part in f"--{name}", f"*{env}":
            if part not in page:
                yield f"vmjob-options.7 has no {part}"


def keys_of_the_configuration():
    page, source = read("doc/man/vmjob.conf.5.rst"), read("vmjob/model/config-fields.c")
    for section, key in re.findall(r'^\t\{"(\w*)", "(\w+)", read_', source, re.M):
        if not re.search(rf"\b{key}\b", page) or section not in page:
            yield f"vmjob.conf.5 has no {key} of {section}"


def endings():
    page, source = read("doc/man/vmjob-step.8.rst"), read("vmjob/model/guest.c")
    commands = read("doc/man/vmjob.1.rst")
    table = source[source.index("} ends[] = {"):source.index("static_assert(sizeof(ends)")]
    codes = dict(re.findall(r'\{"(\w+)",.*?(\d+)\}', table, re.S))
    if len(codes) < 6:
        yield f"the table of endings is not understood: {codes}"
    for name, code in codes.items():
        if name != "none" and (f"``{name}``" not in commands or not re.search(rf"^{code}$", page, re.M)):
            yield f"the ending {name} with code {code} is not in the pages"


def phases():
    page, source = read("doc/man/vmjob.1.rst"), read("vmjob/model/guest.c")
    for name in re.findall(r'\[VMJ_PHASE_\w+\] = "(\w+)"', source):
        if f"``{name}``" not in page:
            yield f"vmjob.1 has no phase {name}"


TESTS = [verbs_and_options, options_of_sbatch, keys_of_the_configuration, endings, phases]


def main():
    print(f"1..{len(TESTS)}")
    failed = False
    for number, test in enumerate(TESTS, 1):
        missing = list(test())
        failed |= bool(missing)
        for line in missing:
            print(f"# {line}")
        print(f"{'not ok' if missing else 'ok'} {number} - {test.__name__}")
    sys.exit(failed)


main()
