"""Media loaded ahead of playing. Each item has a controller that holds its bytes until disposed of."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field

import spanwise

log = logging.getLogger("store.preload")

LOADING, READY, FAILED = "loading", "ready", "failed"


class PreloadLimit(Exception):
    """All controllers are still loading, so none can make room."""


@dataclass
class Controller:
    """One item. Changed only by the Preloader, under its lock."""

    track_id: int
    state: str = LOADING
    content: bytes = b""
    seconds: float = 0.0
    error: str | None = None
    disposed: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def as_dict(self) -> dict[str, object]:
        """What the page shows."""
        return {
            "track_id": self.track_id,
            "state": self.state,
            "size": len(self.content),
            "seconds": round(self.seconds, 4),
            "error": self.error,
        }


class Preloader:
    """At most `limit` controllers, loaded by at most `workers` threads, the least recently used go first.

    Above `memory_mb` of the process's memory all that are not loading are given up.
    """

    def __init__(
        self, load: Callable[[int], bytes], workers: int, limit: int, memory_mb: float | None = None
    ) -> None:
        self._load = load
        self._limit = limit
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="preload")  # threads start on first use
        self._controllers: OrderedDict[int, Controller] = OrderedDict()
        self._lock = threading.Lock()
        self._totals = {"loaded": 0, "failed": 0, "disposed": 0}
        spanwise.controllers.limit = limit
        self._reaction = memory_mb and spanwise.on_memory_pressure(memory_mb, lambda _: self.trim(keep=0))

    def preload(self, track_id: int, delay: float = 0.0) -> Controller:
        """The track's controller; begins to load if there is none. `delay` makes loading slower.

        Raises PreloadLimit when there is no room.
        """
        with self._lock:
            controller = self._controllers.get(track_id)
            if controller is not None and controller.state != FAILED:
                self._controllers.move_to_end(track_id)
                return controller
            if controller is not None:
                self._dispose(controller)
            self._make_room()
            controller = self._controllers[track_id] = Controller(track_id)
            spanwise.controllers.track(controller, id=track_id)
            # In a copy of the context, so that the loading belongs to the trace of the request that asked.
            self._pool.submit(copy_context().run, self._run, controller, delay)
        return controller

    def get(self, track_id: int) -> Controller | None:
        """The track's controller, marked as used."""
        with self._lock:
            controller = self._controllers.get(track_id)
            if controller is not None:
                self._controllers.move_to_end(track_id)
            return controller

    def dispose(self, track_id: int) -> bool:
        """Gives up the controller and its bytes. False when there is none."""
        with self._lock:
            controller = self._controllers.get(track_id)
            if controller is None:
                return False
            self._dispose(controller)
            return True

    def trim(self, keep: int) -> int:
        """Disposes of the least recently used until `keep` are left; returns how many. Those loading stay."""
        with self._lock:
            idle = [c for c in self._controllers.values() if c.state != LOADING]
            excess = idle[: max(0, len(self._controllers) - keep)]
            for controller in excess:
                self._dispose(controller)
            return len(excess)

    def snapshot(self) -> dict[str, object]:
        """Counts by state, totals since the start, and every controller."""
        with self._lock:
            items = list(self._controllers.values())
            totals = dict(self._totals)
        states = {state: sum(c.state == state for c in items) for state in (LOADING, READY, FAILED)}
        return {
            "total": len(items),
            **states,
            "limit": self._limit,
            "bytes": sum(len(c.content) for c in items),
            "totals": totals,
            "controllers": [c.as_dict() for c in items],
        }

    def close(self) -> None:
        """Stops the threads and disposes of everything."""
        if self._reaction:
            self._reaction.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for controller in list(self._controllers.values()):
                self._dispose(controller)

    def _make_room(self) -> None:
        if len(self._controllers) < self._limit:
            return
        for controller in self._controllers.values():
            if controller.state != LOADING:
                self._dispose(controller)
                return
        raise PreloadLimit(f"{self._limit} items are loading; try again later")

    def _dispose(self, controller: Controller) -> None:
        with spanwise.controllers.disposal(controller):
            controller.disposed = True
            controller.content = b""
            self._controllers.pop(controller.track_id, None)
            self._totals["disposed"] += 1

    def _run(self, controller: Controller, delay: float) -> None:
        start = time.perf_counter()
        content, error = b"", None
        try:
            with spanwise.preload(controller.track_id) as item, spanwise.controllers.loading(controller):
                time.sleep(delay)
                content = self._load(controller.track_id)
                item.loaded(len(content))
        except Exception as problem:
            error = str(problem)
            log.warning("preload of track %d failed: %s", controller.track_id, problem)
        with self._lock:
            controller.seconds = time.perf_counter() - start
            controller.error = error
            controller.state = READY if error is None else FAILED
            self._totals["loaded" if error is None else "failed"] += 1
            if not controller.disposed:  # disposed of while loading: the bytes must not come back
                controller.content = content
        controller.done.set()
