"""Takes from a process what a submitted answer has no use for: network, files, other processes, memory.

The judge starts this file, by `unshare` where there is one; it confines itself and becomes the process that answers.
It needs nothing but the standard library, since nothing else is loaded before.
"""

import ctypes
import errno
import os
import runpy
import shutil
import struct
import subprocess
import sys

# New users, network, mounts, processes and shared memory; all that was started ends with its first process.
UNSHARE = ("unshare", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child")
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000  # the system call's number, on all of Linux
READ_ONLY, NO_SETUID, NO_DEVICES = 1, 2, 4
CLONE_NEWUSER = 0x10000000
BIND = 4096
DEVICES = ("/dev/null", "/dev/urandom")  # which PyTorch opens
SOCKETS = ("/run", "/tmp")  # where other programs of this user listen
PROBE = "import sys; sys.path.insert(0, sys.argv[1]); import confine; confine.seal(sys.argv[2])"


# For each architecture, by the number that the kernel gives it: fork, vfork, execve, execveat; clone.
STARTING = {"x86_64": (0xC000003E, (57, 58, 59, 322), 56), "aarch64": (0xC00000B7, (221, 281), 220)}
CLONE3, CLONE_THREAD, FOREIGN = 435, 0x10000, 0x40000000
ALLOW, REFUSE, NOT_THERE = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # of the filter's language
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_char_p)]


def one_process() -> bytes:
    """The kernel's filter of a process that may have threads, and start no other process or program."""
    number, refused, clone = STARTING[os.uname().machine]
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, number), (RETURN, 0, 0, REFUSE), (LOAD, 0, 0, 0)]
    lines += [(AT_LEAST, 0, 1, FOREIGN), (RETURN, 0, 0, REFUSE)]
    for call, answer in [
        *((call, REFUSE) for call in refused),
        (CLONE3, NOT_THERE),
    ]:  # then clone is taken in its place
        lines += [(EQUAL, 0, 1, call), (RETURN, 0, 0, answer)]
    lines += [(EQUAL, 1, 0, clone), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 16), (ANY_BIT, 0, 1, CLONE_THREAD)]
    lines += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def seal(scratch: str) -> None:
    """All files become read-only, disks can't be opened, other programs' sockets are hidden, no process can be started.

    `scratch` takes 16 MB.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function, *arguments) -> None:
        if function(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def change(place: str, how: int, **attributes: int) -> None:
        wanted = _Attributes(**attributes)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        call(libc.syscall, MOUNT_SETATTR, AT_FDCWD, place.encode(), how, ctypes.byref(wanted), size)

    for device in DEVICES:
        call(libc.mount, device.encode(), device.encode(), None, BIND, None)
    change("/", AT_RECURSIVE, set=READ_ONLY | NO_SETUID | NO_DEVICES)
    for device in DEVICES:
        change(device, 0, clear=NO_DEVICES)
    needed = [os.path.realpath(path) for path in (*sys.path, sys.prefix, sys.base_prefix, scratch) if path]
    hidden = [place for place in SOCKETS if not any(path.startswith(place + "/") for path in needed)]
    for place in (*filter(os.path.isdir, hidden), scratch):
        call(libc.mount, b"none", place.encode(), b"tmpfs", NO_SETUID | NO_DEVICES, b"size=16m")
    call(libc.unshare, CLONE_NEWUSER)  # gives away the right to undo this
    code = one_process()
    program = _Program(len(code) // 8, code)
    call(libc.prctl, NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    call(libc.prctl, SECCOMP, ctypes.c_ulong(FILTER), ctypes.byref(program))


def limit(memory: int) -> None:
    """At most so many bytes more than this process has now."""
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    for what, most in ((resource.RLIMIT_AS, now + memory), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (most, most))


def works(scratch: str) -> bool:
    """Whether this machine lets its users confine a process."""
    if not shutil.which(UNSHARE[0]) or os.uname().machine not in STARTING:
        return False
    probe = [*UNSHARE, sys.executable, "-I", "-c", PROBE, os.path.dirname(__file__), scratch]
    return subprocess.run(probe, capture_output=True).returncode == 0


if __name__ == "__main__":
    if len(sys.argv) > 1:  # the folder that may be written; without one, whoever asks trusts the answers
        seal(sys.argv[1])
    runpy.run_module("course_utils.grading.answer", run_name="__main__")
