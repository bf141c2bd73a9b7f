"""Work in the background comes last, and goes on where the system does not allow to say so."""

from __future__ import annotations

import os
import subprocess

import pytest

from distserver.registry.priority import LOWEST, come_last


def test_a_process_comes_last() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        come_last(child.pid)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == LOWEST
        child.kill()


def test_a_system_that_refuses_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("seccomp")

    monkeypatch.setattr(os, "setpriority", refuse)
    come_last(os.getpid())
