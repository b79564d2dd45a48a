"""The whole of a session in order: Ray, the application, waiting, running, stopping."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from cluster.local import application, diagnosis, haproxy, preflight, processes, ray_node, session
from cluster.local.application import Application
from cluster.local.failure import Interrupted, LaunchFailed
from cluster.local.haproxy import HaProxy
from cluster.local.interrupt import Interrupt
from cluster.local.memory import GIB, used_bytes
from cluster.local.progress import Progress
from cluster.local.serve_file import ServeFile
from cluster.local.session import GRACE_S, Session
from cluster.local.status import Readiness, ServeStatus

_POLL_S = 0.25
_WATCH_S = 1.0
_SERVE_STOP_BOUND_S = 12.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    Attributes:
        file: The Serve configuration.
        state: The folder for logs, secrets and the record of the session.
        start_bound_s: How long the application may take to get ready, seconds.
        greeting: What to print once it is ready.
        environment: Variables for Ray and the application, where the caller's own say nothing.
        proxy: In front of the ingress; None for Ray's own proxy, in Python.
        logical_gpus: That exist in name only, by accelerator type, for simulated engines.
    """

    file: ServeFile
    state: Path
    start_bound_s: float
    greeting: Callable[[], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    proxy: HaProxy | None = None
    logical_gpus: Mapping[str, int] = field(default_factory=dict)


def launch(plan: Plan, progress: Progress) -> None:
    """Start the application, keep it until somebody asks to stop, and leave no process behind.

    Raises:
        LaunchFailed: It cannot start, or has ended by itself.
    """
    tls = plan.proxy.tls.as_config() if plan.proxy and plan.proxy.tls else None
    with Interrupt() as interrupt, session.begin(plan.state, plan.file.port, tls) as current:
        progress.say(f"Logs in {plan.state / 'logs'}; Ctrl-C stops everything.")
        preflight.check(plan.file, current.temp_dir)
        base = {**plan.environment, **os.environ}
        proxy = plan.proxy.prepare(current, plan.file, base) if plan.proxy else haproxy.OFF
        run = _Run(plan, current, progress, interrupt, {**base, **proxy})
        try:
            run.start()
            run.greet()
            run.watch()
        except Interrupted:
            pass
        finally:
            run.stop()


class _Run:
    """One session's steps."""

    def __init__(
        self,
        plan: Plan,
        current: Session,
        progress: Progress,
        interrupt: Interrupt,
        inherited: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._session = current
        self._progress = progress
        self._interrupt = interrupt
        self._inherited = inherited
        self._app: Application | None = None
        self._parts: list[tuple[str, Popen[bytes], Path]] = []

    def start(self) -> None:
        """Ray, then the application; returns when it is ready."""
        file, current = self._plan.file, self._session
        env = ray_node.environment(current, self._inherited, offline=not file.needs_hub)
        self._progress.now("starting Ray")
        node = ray_node.start(current, env, self._interrupt, self._plan.logical_gpus)
        self._parts.append(("Ray", node.process, node.log))
        self._app = application.start(current, node, file, env)
        self._parts.append(("`serve run`", self._app.process, self._app.log))
        self._await_ready(self._app)

    def greet(self) -> None:
        """What it took, and what to do with it."""
        alive = processes.find(self._session.id)
        used = used_bytes(alive) / GIB
        after = self._progress.elapsed_s
        self._progress.say(
            f"\nReady after {after:.0f} s, {used:.1f} GiB of memory in {len(alive)} processes.\n"
        )
        self._progress.say(f"{self._plan.greeting()}\n\nCtrl-C stops everything.")

    def watch(self) -> None:
        """Return when somebody asks to stop; meanwhile certificates may change."""
        certificates = self._plan.proxy.watch(self._session.private_dir) if self._plan.proxy else None
        while not self._interrupt.asked:
            self._check_alive()
            if certificates is not None and (news := certificates.look()):
                self._progress.say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} TLS: {news}")
            self._interrupt.pause(_WATCH_S)

    def stop(self) -> None:
        """The application in order, then everything that is left of the session."""
        self._progress.now("stopping (Ctrl-C again kills at once)")
        begun = time.monotonic()
        if self._app is not None:
            # As Ctrl-C does. Without Ray, `serve run` would try for a minute to reach it: Ray goes last.
            self._ask(self._app.process, signal.SIGINT, _SERVE_STOP_BOUND_S)
        try:
            ending = processes.end(self._session.id, grace_s=GRACE_S, force=lambda: self._interrupt.forced)
        except TimeoutError as error:
            raise LaunchFailed(str(error)) from error
        killed = f" ({ending.killed} were killed)" if ending.killed else ""
        took = time.monotonic() - begun
        self._progress.say(f"Stopped in {took:.0f} s; no process is left{killed}.")

    def _ask(self, process: Popen[bytes], number: signal.Signals, bound_s: float) -> None:
        """Ask a process to end, and wait for that as long as nobody insists."""
        if process.poll() is None:
            process.send_signal(number)
        deadline = time.monotonic() + bound_s
        while process.poll() is None and time.monotonic() < deadline and not self._interrupt.forced:
            time.sleep(_POLL_S)

    def _await_ready(self, app: Application) -> None:
        bound_s, logs = self._plan.start_bound_s, self._session.logs
        deadline = time.monotonic() + bound_s
        while time.monotonic() < deadline:
            self._interrupt.check()
            self._check_alive()
            readiness, status = app.readiness(), app.status()
            if readiness is not None and readiness.ready:
                return
            if status is not None and status.failed:
                raise LaunchFailed(
                    f"the application did not start; all of it is in {logs}",
                    diagnosis.why_failed(status, self._session.ray_logs),
                )
            self._progress.now(describe(readiness, status))
            self._interrupt.pause(_POLL_S)
        raise LaunchFailed(
            f"the application is not ready after {bound_s:.0f} s; the logs are in {logs}",
            diagnosis.last_words(app.log),
        )

    def _check_alive(self) -> None:
        for name, process, log in self._parts:
            if process.poll() is not None and not self._interrupt.asked:
                raise LaunchFailed(
                    f"{name} has ended by itself; the logs are in {self._session.logs}",
                    diagnosis.last_words(log),
                )


def describe(readiness: Readiness | None, status: ServeStatus | None) -> str:
    """One line: which models are up, and what Serve says of a deployment that has trouble."""
    if readiness is None:
        return "starting Serve" if status is None else "starting the ingress and the models"
    models = ", ".join(f"{name} {'up' if up else '...'}" for name, up in readiness.models.items())
    parts = status.deployments if status else ()
    # Serve also notes that a start takes long; only a failed one, which it tries again, is news.
    trouble = next((part for part in parts if "fail" in part.message), None)
    hint = f" ({trouble.name}: {trouble.message.splitlines()[0][:100]})" if trouble else ""
    return f"{sum(readiness.models.values())} of {len(readiness.models)} models up: {models}{hint}"
