"""Runs a program without io_uring, as where a container runtime's seccomp profile forbids it: deny-io-uring.py PROGRAM ARGUMENT...

Installs a filter that lets io_uring_setup fail with EPERM, and becomes the program. Done here rather than with
kernel.io_uring_disabled, which would change the whole machine.
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
IO_URING_SETUP = 425  # the same number on every architecture
EPERM = 1

# struct sock_filter (linux/filter.h): code, jump if true, jump if false, operand
LOAD_NUMBER = (0x20, 0, 0, 0)  # offsetof(struct seccomp_data, nr)
IS_SETUP = (0x15, 0, 1, IO_URING_SETUP)
DENY = (0x06, 0, 0, 0x00050000 | EPERM)  # SECCOMP_RET_ERRNO
ALLOW = (0x06, 0, 0, 0x7FFF0000)  # SECCOMP_RET_ALLOW
FILTER = b"".join(struct.pack("HBBI", *instruction) for instruction in (LOAD_NUMBER, IS_SETUP, DENY, ALLOW))


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)
program = Program(4, FILTER)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
