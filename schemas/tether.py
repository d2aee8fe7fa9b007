"""Run a command that ends when its parent does: `python tether.py PARENT_PID COMMAND [ARG…]`.

What a context manager starts it also stops, but nobody runs its end when the parent is killed
with -9. So a child asks the Linux kernel for a SIGKILL at the death of its parent, and then
becomes the command: the request outlives `exec`. A small program does this rather than
`preexec_fn`, which is unsafe once the parent has threads. The signal follows the *thread* that
started the child: start children in the main thread. Elsewhere than on Linux this only runs the
command. Imports nothing of ours: it is run by its path.

Ctrl-C reaches the command even where the parent ignores it, as Celery's children do.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent's life and become the command."""
    parent, *command = arguments
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != int(parent):  # it died before the call
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the command is ours, and there is no shell


if __name__ == "__main__":
    main(sys.argv[1:])
