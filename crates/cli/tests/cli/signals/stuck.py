"""Stops the one thread of a server that runs its event loop, as a debugger does, and signals twice.

Prints what the server says, and fails unless it ends with status 1."""

import ctypes
import os
import signal
import subprocess
import sys
import time

PTRACE_ATTACH, WALL = 16, 0x40000000
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

program, driver = sys.argv[1:]
arguments = ["serve", "line-echo", "--listen", "127.0.0.1:0", "--driver", driver]
server = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
server.stdout.readline()
server.stderr.readline()
assert ptrace(PTRACE_ATTACH, server.pid, None, None) == 0, os.strerror(ctypes.get_errno())
assert os.WIFSTOPPED(os.waitpid(server.pid, WALL)[1])
for pause in 1.1, 0:
    server.send_signal(signal.SIGTERM)
    time.sleep(pause)
signal.alarm(60)
status = os.waitpid(server.pid, WALL)[1]
print(server.stderr.read().decode())
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1, status
