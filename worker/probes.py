"""Whether a worker has come up, is alive and takes chunks, by the files of `worker.run_dir`.

A Redis that does not answer fails no probe: to start healthy workers anew would not bring it back.
"""

from collections.abc import Callable, Mapping

from worker.run_dir import age, is_up

# The main process beats every few seconds; so long without one, and it hangs.
BEAT_SECONDS = 5.0
HUNG_SECONDS = 60.0


def probes(stall_seconds: float) -> Mapping[str, Callable[[], str]]:
    """Return for each path what tells what is wrong, in words, empty when nothing is.

    Args:
        stall_seconds: A chunk that does not advance for longer hangs.
    """

    def live() -> str:
        if not is_up("hub"):
            return "has not come up"
        if is_up("busy") and age("progress") > stall_seconds:
            return f"the chunk has not advanced for {age('progress'):.0f} s"
        # Waiting for Redis, and for the last chunk at the end, the main process does not beat.
        waiting = is_up("offline") or is_up("drain")
        if not waiting and age("hub") > HUNG_SECONDS:
            return f"the main process hangs since {age('hub'):.0f} s"
        return ""

    def ready() -> str:
        if is_up("drain"):
            return "is shutting down"
        if not (is_up("ready") and is_up("child")):
            return "takes no chunks yet"
        return live()

    def started() -> str:
        return "" if is_up("hub") else "has not come up"

    return {"/livez": live, "/readyz": ready, "/startupz": started}
