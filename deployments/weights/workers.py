"""Tasks side by side; the first that fails stops the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

Task = Callable[[], None]


def run_all(tasks: Iterable[Task], workers: int, stopped: threading.Event) -> None:
    """Run tasks and return when all are done.

    Args:
        tasks: What to do; each looks at ``stopped`` now and then.
        workers: How many run at once.
        stopped: Set when one has failed.

    Raises:
        Exception: That of the first task that failed, when the others have stopped.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="weights") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
