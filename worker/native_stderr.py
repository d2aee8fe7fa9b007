"""Takes standard error away from native libraries, which quote what they choke on.

A panic of the tokenizer prints the text it was slicing, past Python and all logging. In the child
of a worker file descriptor 2 becomes a pipe; of what comes through it, lines that name a place
in the code or a fault of the device are logged, and of the others how many there were.
"""

import logging
import os
import re
import select
import threading
import time

logger = logging.getLogger(__name__)

READ_BYTES = 65_536
# What belongs together comes in several writes.
GATHER_SECONDS = 0.2
# A place in Rust code; what CUDA asserts; what C++ and Python say when they end a process.
_HOLDS_NO_ROW = re.compile(
    r"panicked at [\w./-]+:\d+:\d+|CUDA (error|kernel)[\w :]*|[\w./-]+\.cuh?:\d+: \w+|"
    r"terminate called after throwing an instance of '[\w:]+'|Fatal Python error: [\w ]+"
)


def withhold() -> None:
    """Replace standard error of this process for all but its log handlers, for good."""
    reading, writing = os.pipe()
    # Never wait for the reader, which may need what the writer holds: what does not fit is lost.
    os.set_blocking(writing, False)
    os.dup2(writing, 2)
    os.close(writing)
    thread = threading.Thread(target=_read, args=(reading,), name="native-stderr", daemon=True)
    thread.start()


def without_rows(text: str) -> str:
    """Return what of lines on standard error may be told."""
    lines = [line for line in text.splitlines() if line.strip()]
    told = [found[0] for line in lines if (found := _HOLDS_NO_ROW.search(line))]
    withheld = len(lines) - len(told)
    return "; ".join([*told, *([f"{withheld} lines withheld"] if withheld else [])])


def _read(descriptor: int) -> None:
    while select.select([descriptor], [], []):
        time.sleep(GATHER_SECONDS)
        chunk = os.read(descriptor, READ_BYTES)
        if not chunk:
            return
        said = without_rows(chunk.decode(errors="replace"))
        if said:
            logger.warning("a library wrote on stderr: %s", said, extra={"action": "native_stderr"})
